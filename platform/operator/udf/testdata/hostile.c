// A guest that answers what its rows tell it to, however wrong. It reads calls
// and writes effects by hand, without an SDK.
//
// A row's column `answer` is empty: the row's key is put out. It begins with
// "WRC1": the bytes are the answer to a call that begins with the row. Else:
//
//	T t..   sets the timer to the 8 bytes that follow
//	P       traps, with the progress word set
//	Q       traps, without
//	C       traps while others are in the call, naming cause 0
//	S       spins while others are in the call
//	R       fails the row as an SDK does that cannot read the call
//	i...    asks of an import what is not allowed; the second byte says what
//
// A firing sets its timer again, a microsecond later. Built by build.sh; the
// binary is committed, because clang is not needed to run the tests.
#include <stdint.h>
#include <stddef.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int64_t i64;

#define EXPORT(n) __attribute__((export_name(#n)))
#define IMPORT(n) __attribute__((import_module("weir"), import_name(#n)))

IMPORT(state_get) i64 state_get(u32 state, u32 slot, const void *k, u32 klen, void *v, u32 cap);
IMPORT(state_put) void state_put(u32 state, u32 slot, const void *k, u32 klen, const void *v, u32 len);
IMPORT(state_append) void state_append(u32 state, u32 slot, const void *v, u32 len);

#define PACK(p, n) ((u64)(u32)(uintptr_t)(p) << 32 | (u32)(n))
enum { NONE = 0xffffffff, ROOM = 1 << 20 };

static _Alignas(8) u8 in[9 << 20], out[ROOM];
static volatile u32 progress = NONE;
static u32 used;
static volatile u32 sink;

EXPORT(weir_abi_v1) u32 weir_abi_v1(void) { return 0; }
EXPORT(weir_alloc) void *weir_alloc(u32 size) { return size <= sizeof in ? in : NULL; }

EXPORT(weir_describe) u64 weir_describe(void *p, u32 n) {
  static const char manifest[] =
      "{\"abi\":{\"major\":1,\"minor\":0},\"sdk\":\"none/0\",\"requires\":[\"hosted_state\"],\"functions\":[{\"name\":\"puppet\","
      "\"inputs\":[{\"name\":\"in\",\"columns\":\"key:int64,answer:binary\",\"key\":[\"key\"]}],"
      "\"outputs\":[{\"name\":\"out\",\"columns\":\"key:int64,text:utf8\"}],"
      "\"state\":[{\"name\":\"framed\",\"kind\":\"value\",\"form\":\"framed\",\"codec\":\"bytes\",\"version\":1,\"max_bytes\":16},"
      "{\"name\":\"hosted\",\"kind\":\"map\",\"form\":\"hosted\",\"codec\":\"bytes\",\"key\":\"int64\",\"version\":1},"
      "{\"name\":\"log\",\"kind\":\"list\",\"form\":\"hosted\",\"codec\":\"bytes\",\"version\":1}],"
      "\"timers\":[{\"name\":\"tick\",\"kind\":\"event\"}],\"requires\":[]}]}";
  return PACK(manifest, sizeof manifest - 1);
}

EXPORT(weir_open) u64 weir_open(void *p, u32 n) {
  static u32 opened[] = {0x31435257, 40, 4 | 1 << 16, 0, 1 | 1 << 16, 0, 32, 8, 1, 0};
  opened[9] = (u32)(uintptr_t)&progress;
  return PACK(opened, sizeof opened);
}

static const u8 *section(const u8 *c, u32 id) {
  u32 n = *(const u16 *)(c + 10);
  for (u32 i = 0; i < n; i++) {
    const u8 *e = c + 16 + 16 * i;
    if (*(const u16 *)e == id) return c + *(const u32 *)(e + 8);
  }
  return NULL;
}

// The answer: a table for up to 8 sections, then their bodies.
static void begin(void) {
  for (u32 i = 0; i < 16 + 8 * 16; i++) out[i] = 0;
  *(u32 *)out = 0x31435257;
  *(u32 *)(out + 8) = 2;
  used = 16 + 8 * 16;
}

static void *add(u32 id, u32 length) {
  u32 n = *(u16 *)(out + 10);
  u32 *e = (u32 *)(out + 16 + 16 * n);
  *(u16 *)(out + 10) = n + 1;
  e[0] = id | 1 << 16, e[1] = 0, e[2] = used, e[3] = length;
  void *body = out + used;
  u32 end = used + ((length + 7) & ~7u);
  for (u32 i = used; i < end; i++) out[i] = 0;
  used = end;
  return body;
}

static u64 finish(void) {
  *(u32 *)(out + 4) = used;
  progress = NONE;
  return PACK(out, used);
}

static void result(u32 consumed, u32 status) {
  u32 *r = add(1, 16);
  r[0] = consumed, r[1] = status;
}

static u32 column(u8 *block, u32 node, u32 at, u32 rows, u32 bytes) {
  u32 *n = (u32 *)(block + 16 + 24 * node);
  n[0] = rows, n[2] = at;
  return (at + bytes + 7) & ~7u;
}

// timers sets the timer for n causes; it gives the columns to fill.
static void timers(u32 n, int32_t **cause, int32_t **slot, i64 **time) {
  u32 a = (4 * n + 7) & ~7u, b = (n + 7) & ~7u, c = (2 * n + 7) & ~7u, at = 16 + 6 * 24;
  u32 size = at + 2 * a + 2 * b + c + 8 * n;
  u8 *block = add(8, size);
  *(u32 *)block = n, *(u32 *)(block + 4) = 6, *(u32 *)(block + 8) = size;
  *cause = (int32_t *)(block + at), at = column(block, 0, at, n, 4 * n);
  *slot = (int32_t *)(block + at), at = column(block, 1, at, n, 4 * n);
  for (u32 i = 0; i < n; i++) block[at + i] = 2;
  at = column(block, 2, at, n, n);
  at = column(block, 3, at, n, n);
  at = column(block, 4, at, n, 2 * n);
  *time = (i64 *)(block + at), column(block, 5, at, n, 8 * n);
}

static u64 firings(const u8 *causes, u32 n) {
  int32_t *cause, *slot;
  i64 *time;
  result(n, 0);
  timers(n, &cause, &slot, &time);
  for (u32 i = 0; i < n; i++) {
    cause[i] = i, slot[i] = *(const u32 *)(causes + 24 * i + 4);
    time[i] = *(const i64 *)(causes + 24 * i + 16) + 1;
  }
  return finish();
}

// echo puts the keys of the first n rows out.
static u64 echo(const i64 *keys, u32 n, u32 all) {
  result(n, n == all ? 0 : 1);
  u32 at = 16 + 2 * 24, offsets = ((n + 1) * 4 + 7) & ~7u, size = at + 8 * n + offsets;
  u8 *block = add(3, size);
  *(u32 *)block = n, *(u32 *)(block + 4) = 2, *(u32 *)(block + 8) = size;
  for (u32 i = 0; i < n; i++) ((i64 *)(block + at))[i] = keys[i];
  at = column(block, 0, at, n, 8 * n);
  column(block, 1, at, n, 0);
  u32 *causes = add(4, 4 * n);
  for (u32 i = 0; i < n; i++) causes[i] = i;
  return finish();
}

enum { FRAMED, MAP, LIST };

static void import(u8 what) {
  progress = what == 'o' ? NONE : 0;
  switch (what) {
  case 'a': state_append(MAP, 0, "v", 1); break;
  case 'p': state_put(LIST, 0, "k", 1, "v", 1); break;
  case 'g': state_get(LIST, 0, "k", 1, out, 8); break;
  case 'f': state_put(FRAMED, 0, "k", 1, "v", 1); break;
  case 'n': state_put(9, 0, "k", 1, "v", 1); break;
  case 's': state_put(MAP, 7777, "k", 1, "v", 1); break;
  case 'o': state_put(MAP, 0, "k", 1, "v", 1); break;
  case 'm': progress = 7777, state_put(MAP, 0, "k", 1, "v", 1); break;
  }
}

static u64 told(const u8 *answer, u32 n, u32 all, i64 key) {
  int32_t *cause, *slot;
  i64 *time;
  switch (answer[0]) {
  case 'W':
    for (u32 i = 0; i < n && i < ROOM; i++) out[i] = answer[i];
    return PACK(out, n);
  case 'T':
    result(1, all == 1 ? 0 : 1);
    timers(1, &cause, &slot, &time);
    for (u32 i = 0; i < 8; i++) ((u8 *)time)[i] = answer[1 + i];
    *slot = 0; // the first row's key is the first slot
    return finish();
  case 'i':
    import(answer[1]);
    return echo(&key, 1, all);
  case 'P':
    progress = 0;
    __builtin_trap();
  case 'Q':
    progress = NONE;
    __builtin_trap();
  case 'C':
    progress = 0;
    if (all > 1) __builtin_trap();
    return echo(&key, 1, 1);
  case 'S':
    progress = 0;
    if (all > 1) for (;;) sink++;
    return echo(&key, 1, 1);
  }
  static const char text[] = "cannot read the call: no rows";
  result(0, 2);
  u8 *t = add(2, sizeof text - 1);
  for (u32 i = 0; i < sizeof text - 1; i++) t[i] = text[i];
  return finish();
}

EXPORT(weir_call) u64 weir_call(u32 handle, const u8 *call, u32 size) {
  u32 n = *(const u32 *)(section(call, 1) + 24);
  begin();
  const u8 *rows = section(call, 2);
  if (!rows) return firings(section(call, 3), n);
  const i64 *keys = (const i64 *)(rows + *(const u32 *)(rows + 16 + 8));
  const u32 *node = (const u32 *)(rows + 16 + 24);
  const u32 *offsets = (const u32 *)(rows + node[2]);
  for (u32 i = 0; i < n; i++) {
    u32 length = offsets[i + 1] - offsets[i];
    if (length == 0) continue;
    return i ? echo(keys, i, n) : told(rows + node[3] + offsets[0], length, n, keys[0]);
  }
  return echo(keys, n, n);
}
