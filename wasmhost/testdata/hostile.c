// A guest that does, on command, each thing that a guest must not get away with.
// The first u32 of a call is the command, the second its argument.
//
// Built into hostile.wasm by build.sh; the binary is committed, because clang is
// not needed to run the tests.
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define EXPORT(n) __attribute__((export_name(#n)))
#define IMPORT(n) __attribute__((import_module("weir"), import_name(#n)))
#define NOINLINE __attribute__((noinline))

IMPORT(log) void host_log(uint32_t level, const void *ptr, uint32_t len);
IMPORT(state_get) int64_t host_state_get(uint32_t state, uint32_t slot, const void *k, uint32_t klen, void *v, uint32_t cap);
IMPORT(state_put) void host_state_put(uint32_t state, uint32_t slot, const void *k, uint32_t klen, const void *v, uint32_t len);

IMPORT(metric) void host_metric(uint32_t kind, const void *name, uint32_t len, double value);
IMPORT(state_delete) void host_state_delete(uint32_t state, uint32_t slot, const void *k, uint32_t klen);
IMPORT(state_append) void host_state_append(uint32_t state, uint32_t slot, const void *v, uint32_t len);
IMPORT(state_clear) void host_state_clear(uint32_t state, uint32_t slot);
IMPORT(state_scan) int64_t host_state_scan(uint32_t state, uint32_t slot, const void *k, uint32_t klen, void *v, uint32_t cap);

typedef uint64_t packed;
static packed pack(const void *p, uint32_t n) { return (uint64_t)(uintptr_t)p << 32 | n; }

static uint32_t progress = 0xffffffff;
static volatile uint32_t sink;
static uint8_t *in_buf;
static uint32_t in_cap, alloc_mode;

EXPORT(weir_abi_v1) uint32_t weir_abi_v1(void) { return 0; }

EXPORT(weir_alloc) void *weir_alloc(uint32_t size) {
  if (alloc_mode == 1) return (void *)0xfffffff0;
  if (alloc_mode == 2) return (void *)12345;
  if (alloc_mode == 3) for (;;) sink++;
  if (size > in_cap) {
    free(in_buf);
    in_cap = (size + 65535) & ~65535u;
    in_buf = malloc(in_cap);
    if (!in_buf) in_cap = 0;
  }
  return in_buf;
}

EXPORT(weir_describe) packed weir_describe(void *p, uint32_t n) {
  static const char manifest[] = "{\"abi\":{\"major\":1,\"minor\":0}}";
  return pack(manifest, sizeof manifest - 1);
}

static struct { uint32_t magic, size, kind_sections, zero, id_flags, index, offset, length, handle, progress; } opened = {
    0x31435257, 40, 4 | 1 << 16, 0, 1 | 1 << 16, 0, 32, 8, 1, 0};

EXPORT(weir_open) packed weir_open(const uint32_t *p, uint32_t n) {
  opened.progress = (uint32_t)(uintptr_t)&progress;
  if (n >= 4 && p[0] == 1) opened.progress = 0xfffffffc;
  if (n >= 4 && p[0] == 2) return pack("nonsense", 8);
  if (n >= 4 && p[0] == 3) {
    static struct { uint32_t h[8]; char text[8]; } no = {{0x31435257, 40, 4 | 1 << 16, 0, 2, 0, 32, 8}, "not now!"};
    return pack(&no, sizeof no);
  }
  return pack(&opened, sizeof opened);
}

// Commands. Each keeps the compiler from knowing what it does.
#define X4(x) x x x x
#define X64(x) X4(X4(X4(x)))
#define X1024(x) X4(X4(X64(x)))

static NOINLINE void endless(void) { for (;;) sink++; }
static NOINLINE void endless_registers(uint32_t x) { do { x = x * 1664525 + 1013904223; } while (x != 77 || sink != 12345); }
static NOINLINE void fat(void) { for (;;) { X1024(sink = sink * 3 + 1;) } }
static NOINLINE void divides(uint64_t x) { for (;;) { X64(x = x / (sink | 1) + 0x123456789abcdef;) sink = (uint32_t)x; } }
static NOINLINE uint32_t deep(uint32_t n) { return deep(n + 1) + sink; }
static NOINLINE uint32_t nested(uint32_t n) { return n == 0 ? sink : nested(n - 1) + sink; }
static NOINLINE uint64_t wide(uint64_t n) { // 64 values live across each call
  uint64_t v[64];
#pragma clang loop unroll(full)
  for (int i = 0; i < 64; i++) v[i] = *(volatile uint32_t *)&sink * n + i;
  uint64_t r = wide(n + 1);
#pragma clang loop unroll(full)
  for (int i = 0; i < 64; i++) r = r * 31 + v[i];
  return r;
}
static NOINLINE uint32_t twice(uint32_t n) { return n == 0 ? sink : twice(n - 1) + twice(n - 1); }
#define LEVEL(a, b) static NOINLINE void level##a(void) { level##b(); level##b(); }
static NOINLINE void level0(void) { sink++; }
LEVEL(1, 0) LEVEL(2, 1) LEVEL(3, 2) LEVEL(4, 3) LEVEL(5, 4) LEVEL(6, 5) LEVEL(7, 6) LEVEL(8, 7) LEVEL(9, 8) LEVEL(10, 9)
LEVEL(11, 10) LEVEL(12, 11) LEVEL(13, 12) LEVEL(14, 13) LEVEL(15, 14) LEVEL(16, 15) LEVEL(17, 16) LEVEL(18, 17) LEVEL(19, 18) LEVEL(20, 19)
LEVEL(21, 20) LEVEL(22, 21) LEVEL(23, 22) LEVEL(24, 23) LEVEL(25, 24) LEVEL(26, 25) LEVEL(27, 26) LEVEL(28, 27) LEVEL(29, 28) LEVEL(30, 29)
LEVEL(31, 30) LEVEL(32, 31) LEVEL(33, 32) LEVEL(34, 33) LEVEL(35, 34) LEVEL(36, 35) LEVEL(37, 36) LEVEL(38, 37) LEVEL(39, 38) LEVEL(40, 39)

static NOINLINE void bomb(void) {
  for (;;) {
    char *p = malloc(1 << 20);
    if (!p) abort();
    memset(p, 1, 1 << 20);
    *(char *volatile *)&in_buf = p;
  }
}

static uint8_t *grow_to(uint32_t pages) {
  uint32_t have = __builtin_wasm_memory_size(0);
  if (have < pages) __builtin_wasm_memory_grow(0, pages - have);
  return (uint8_t *)(uintptr_t)(have << 16);
}

static NOINLINE void fills(uint32_t n) { uint8_t *p = grow_to(900); for (;;) { memset(p, (int)sink, n); sink++; } }
static NOINLINE void copies(uint32_t n) { uint8_t *p = grow_to(900); for (;;) { memmove(p + 4096, p, n); sink++; } }
static NOINLINE void faults(void) { // touches a fresh page with each turn
  uint8_t *p = grow_to(1000);
  for (uint32_t i = 0;; i += 4096) p[i % (50u << 20)]++;
}
static NOINLINE void strides(void) { // misses the cache with each turn
  uint8_t *p = grow_to(900);
  for (uint32_t i = 0;; i = i * 1664525 + 1013904223) sink += p[i % (50u << 20)];
}
static NOINLINE void logs(void) { for (;;) host_log(1, "busy", 4); }

static __externref_t table[0];
static NOINLINE void tables(void) {
  for (;;) {
    if (__builtin_wasm_table_grow(table, __builtin_wasm_ref_null_extern(), 100000) < 0) sink++;
    __builtin_wasm_table_fill(table, 0, __builtin_wasm_ref_null_extern(), __builtin_wasm_table_size(table));
  }
}

EXPORT(weir_call) packed weir_call(uint32_t handle, const uint32_t *p, uint32_t n) {
  uint32_t arg = p[1];
  progress = 7;
  switch (p[0]) {
  case 0: progress = 0xffffffff; return pack(p, n); // behaves
  case 1: endless(); break;
  case 2: endless_registers(arg); break;
  case 3: fat(); break;
  case 4: sink = deep(0); break;
  case 5: sink = twice(60); break;
  case 6: level40(); break;
  case 7: bomb(); break;
  case 8: fills(arg); break;
  case 9: copies(arg); break;
  case 10: tables(); break;
  case 11: return pack((void *)0xffff0000, 4096);
  case 12: return pack((void *)8, 0xffffffff);
  case 13: return pack((void *)0, arg);
  case 14: alloc_mode = arg; break;
  case 15: host_log(1, (void *)0xfffffff0, 100); break;
  case 16: host_state_get(0, 0, "k", 1, (void *)0xfffffff0, 100); break;
  case 17: host_state_put(0, 0, "k", 1, "v", 1); break;
  case 18: sleep(1); break;
  case 19: _exit(3);
  case 20: host_log(3, "about to fail", 13); __builtin_trap();
  case 21: sink = *(volatile uint32_t *)0xfffffff0; break;
  case 22: logs(); break;
  case 23: divides(p[1]); break;
  case 24: faults(); break;
  case 25: strides(); break;
  case 26: host_state_put(0, 0, (void *)0, 5000, "v", 1); break;
  case 27: host_log(1, (void *)0, arg); break;
  case 28: host_metric(0, "rows", 4, 2.5); break;
  case 29: host_metric(0, "no name", 7, 1); break;
  case 31: sink = nested(arg); break;
  case 32: sink = wide(arg); break;
  case 30: { // each of the state imports; the answer holds what they returned
    static struct { int64_t before, after, gone, page, next; char value[8], entry[24]; } r;
    r.before = host_state_get(0, 1, "key", 3, r.value, 8);
    host_state_put(0, 1, "key", 3, "value", 5);
    r.after = host_state_get(0, 1, "key", 3, r.value, 8);
    r.page = host_state_scan(0, 1, 0, -1, r.entry, sizeof r.entry);
    r.next = host_state_scan(0, 1, "key", 3, r.entry, sizeof r.entry);
    host_state_delete(0, 1, "key", 3);
    r.gone = host_state_get(0, 1, "key", 3, r.value, 8);
    host_state_append(2, 1, "item", 4);
    host_state_clear(2, 1);
    return pack(&r, sizeof r);
  }
  }
  progress = 0xffffffff;
  return 0;
}
