/* weir.h: write a Weir function in C11 (or C++20). One header, no dependencies.
 *
 * Include it wherever you need it; in exactly one file write
 *
 *     #define WEIR_IMPLEMENTATION
 *     #include "weir.h"
 *
 * and list your functions there with WEIR_MODULE. README.md beside this file has a hello world.
 *
 * How it works: the host calls a function with a frame of causes (rows, or timer firings) and the state they need; the
 * header walks the causes, hands each to your handler, gathers what the handler does, and answers with a frame of effects.
 * A handler that calls weir_fail loses its own effects only. Reads are in place: strings point into the frame and live as
 * long as the call. Nothing survives a call but state and timers: globals are a cache that the host may drop at any time.
 *
 * The header needs no libc: memory comes from memory.grow, and copies compile to bulk memory instructions (-mbulk-memory).
 * It lives beside wasi-libc without sharing its heap. Compiled natively it uses malloc, so that tests and sanitizers see
 * every buffer. It must not know pipelines, tasks, or anything of the platform beyond the contract in abi/README.md.
 *
 * Names beginning with weirp_ or WEIRP_ are private. SPDX-License-Identifier: Apache-2.0
 */
#ifndef WEIR_H
#define WEIR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Constants of the contract ------------------------------------------------------------------------------------ */

/* weir:constants begin */
enum {
    WEIR_ABI_MAJOR = 1,
    WEIR_ABI_MINOR = 0,

    WEIR_CONTAINER_MAGIC = 0x31435257, /* "WRC1" */
    WEIR_CONTAINER_HEADER_SIZE = 16,
    WEIR_SECTION_SIZE = 16,
    WEIR_MAX_SECTIONS = 256,
    WEIR_SECTION_MUST = 1,

    WEIR_KIND_CALL = 1,
    WEIR_KIND_EFFECTS = 2,
    WEIR_KIND_OPEN = 3,
    WEIR_KIND_OPENED = 4,
    WEIR_KIND_DESCRIBE = 5,
    WEIR_KIND_STORED = 6,

    WEIR_DESCRIBE_PARAMS = 1,

    WEIR_OPEN_FUNCTION = 1,
    WEIR_OPEN_CONFIG = 2,
    WEIR_OPEN_CAPABILITIES = 3,
    WEIR_OPEN_SCHEMAS = 4,
    WEIR_OPEN_ASSET = 5,

    WEIR_OPENED_HANDLE = 1,
    WEIR_OPENED_ERROR = 2,

    WEIR_CALL_CALL = 1,
    WEIR_CALL_ROWS = 2,
    WEIR_CALL_CAUSES = 3,
    WEIR_CALL_SLOTS = 4,
    WEIR_CALL_TIMES = 5,
    WEIR_CALL_KEYS = 6,
    WEIR_CALL_STATE = 7,
    WEIR_CALL_META = 8,
    WEIR_CALL_KINDS = 9,
    WEIR_CALL_SIZE = 64,
    WEIR_CAUSE_SIZE = 24,

    WEIR_EFFECTS_RESULT = 1,
    WEIR_EFFECTS_TEXT = 2,
    WEIR_EFFECTS_OUTPUT = 3,
    WEIR_EFFECTS_CAUSES = 4,
    WEIR_EFFECTS_TIMES = 5,
    WEIR_EFFECTS_KINDS = 6,
    WEIR_EFFECTS_STATE = 7,
    WEIR_EFFECTS_TIMERS = 8,
    WEIR_RESULT_SIZE = 16,

    WEIR_CAUSE_ROW = 1,
    WEIR_CAUSE_EVENT_TIMER = 2,
    WEIR_CAUSE_PROCESSING_TIMER = 3,
    WEIR_CAUSE_END = 6,

    WEIR_STATUS_DONE = 0,
    WEIR_STATUS_MORE = 1,
    WEIR_STATUS_FAILED = 2,

    WEIR_CODE_USER = 0,
    WEIR_CODE_STATE_SIZE = 1,
    WEIR_CODE_STATE_DECODE = 2,

    WEIR_TIMER_EVENT = 2,
    WEIR_TIMER_PROCESSING = 3,
    WEIR_TIMER_OP_SET = 0,
    WEIR_TIMER_OP_DELETE = 1,

    WEIR_ROW_INSERT = 0,
    WEIR_ROW_UPDATE_BEFORE = 1,
    WEIR_ROW_UPDATE_AFTER = 2,
    WEIR_ROW_DELETE = 3,

    WEIR_LOG_DEBUG = 0,
    WEIR_LOG_INFO = 1,
    WEIR_LOG_WARN = 2,
    WEIR_LOG_ERROR = 3,

    WEIR_METRIC_COUNTER = 0,
    WEIR_METRIC_GAUGE = 1,

    WEIR_WIRE_VARINT = 0,
    WEIR_WIRE_FIXED64 = 1,
    WEIR_WIRE_BYTES = 2,
    WEIR_WIRE_DECIMAL = 3,
    WEIR_WIRE_FIXED32 = 5,

    WEIR_MAX_FIELDS = 1024,
    WEIR_MAX_LEVELS = 16,
    WEIR_MAX_FIELD_NAME_BYTES = 255,
    WEIR_MAX_NAME_BYTES = 63,
    WEIR_MAX_FIELD_ID = 65535,
    WEIR_MAX_KEY_BYTES = 4096,
    WEIR_DEFAULT_STATE_BYTES = 65536,
    WEIR_MAX_STATE_BYTES = 1048576,
    WEIR_MAX_MANIFEST_BYTES = 1048576,
    WEIR_MAX_FUNCTIONS = 256,
    WEIR_MAX_PORTS = 64
};
/* weir:constants end */

/* No event time. */
#define WEIR_NO_TIME INT64_MIN

/* No slot: the function is not keyed. */
#define WEIR_NO_SLOT UINT32_MAX

/* Times are microseconds since the Unix epoch. */
#define WEIR_SECOND INT64_C(1000000)
#define WEIR_MINUTE (60 * WEIR_SECOND)
#define WEIR_HOUR (60 * WEIR_MINUTE)

/* Text of a failure longer than this is cut. */
#define WEIR_MAX_TEXT_BYTES 1024

/* ---- Values ------------------------------------------------------------------------------------------------------- */

typedef enum weir_type {
    WEIR_BOOL = 1,
    WEIR_INT8,
    WEIR_INT16,
    WEIR_INT32,
    WEIR_INT64,
    WEIR_FLOAT32,
    WEIR_FLOAT64,
    WEIR_DECIMAL,
    WEIR_UTF8,
    WEIR_BINARY,
    WEIR_DATE32,
    WEIR_TIMESTAMP,
    WEIR_LIST,
    WEIR_STRUCT,
    WEIR_MAP
} weir_type;

/* Text or bytes, not ended by a zero. One that you read lives until the call ends; one that you store in state must live
 * as long, so copy what stands on the stack with weir_keep. */
typedef struct weir_bytes {
    const char *p;
    uint32_t n;
} weir_bytes;

/* 128 bits, two's complement; the scale is the column's. */
typedef struct weir_dec128 {
    uint64_t lo;
    int64_t hi;
} weir_dec128;

/* A buffer that grows and is reused. Zero is an empty one. `failed` says that memory ran out and bytes are missing. */
typedef struct weir_buf {
    unsigned char *p;
    uint32_t n, cap;
    bool failed;
} weir_buf;

/* weir_lit("abc") is the text abc; weir_text takes a zero-ended string. */
static inline uint32_t weirp_length(const char *s) {
    uint32_t n = 0;
    if (__builtin_constant_p(__builtin_strlen(s))) return (uint32_t)__builtin_strlen(s);
    while (s[n]) {
        n++;
        __asm__ volatile(""); /* keeps the loop from becoming a call of a strlen that may not be there */
    }
    return n;
}
static inline weir_bytes weirp_span(const void *p, uint32_t n) {
    weir_bytes b;
    b.p = (const char *)p;
    b.n = n;
    return b;
}
static inline weir_bytes weir_text(const char *s) { return weirp_span(s, weirp_length(s)); }
#define weir_lit(s) weirp_span("" s "", (uint32_t)sizeof(s) - 1)

static inline bool weir_eq(weir_bytes a, weir_bytes b) {
    if (a.n != b.n) return false;
    for (uint32_t i = 0; i < a.n; i++)
        if (a.p[i] != b.p[i]) return false;
    return true;
}

/* ---- What a module declares --------------------------------------------------------------------------------------- */

typedef struct weir_ctx weir_ctx;
typedef struct weir_open_info weir_open_info;

/* A handler takes the current cause: weir_fail inside it drops the effects of this cause alone. A batch handler takes
 * them all and walks them with weir_next; what it does before the first weir_next must have no effects. */
typedef void (*weir_handler)(weir_ctx *c);

typedef struct weir_input {
    const char *name;
    const char *columns; /* a schema: "key:int64,value:int64?" */
    const char *key;     /* names of key columns, parted by commas; NULL = not keyed */
    weir_handler row;    /* instead of the function's own, for this input */
} weir_input;

typedef struct weir_output {
    const char *name;
    const char *columns;
} weir_output;

/* A member of a C struct and its id in stored state. Made by WEIR_FIELD and WEIR_NULLABLE. */
typedef struct weir_field {
    uint32_t id;
    const char *name;
    const char *type_text;
    uint8_t type, precision, scale;
    bool nullable;
    uint16_t offset, present_offset;
} weir_field;

typedef struct weir_state {
    const char *name;
    const weir_field *fields; /* with WEIR_VALUE: the struct's fields; NULL: the value is a weir_bytes */
    uint32_t size;            /* of the struct */
    const char *kind;         /* "value" (default), "reducing", "aggregating", "list", "map" */
    const char *form;         /* "framed", "hosted"; default: hosted for map, else framed */
    const char *codec;        /* default "row"; "bytes", "json", "protobuf:Type" for opaque values */
    const char *value;        /* codec row without fields: "1:value:list<int64>" */
    const char *key;          /* map: type of the key */
    uint32_t version;         /* 0 counts as 1 */
    int64_t ttl_ms;           /* 0 = kept for ever */
    const char *ttl_on;       /* "write" (default), "read_write" */
    uint32_t max_bytes;       /* framed; 0 = 64 KiB */
} weir_state;

typedef enum weir_timer_kind { WEIR_EVENT_TIME = 0, WEIR_PROCESSING_TIME = 1 } weir_timer_kind;

typedef struct weir_timer {
    const char *name;
    weir_timer_kind kind;
    weir_handler fire; /* instead of the function's own, for this timer */
} weir_timer;

/* Lists end with an entry without a name; the macros below put it there. */
typedef struct weir_function {
    const char *name;
    const char *type; /* of a stateful function: "namespace/name"; then WEIR_MESSAGES are its input and output 0 */
    const char *doc;
    const weir_input *inputs;
    const weir_output *outputs;
    const weir_state *state;
    const weir_timer *timers;
    weir_handler row;     /* once for each row */
    weir_handler batch;   /* or: once for each call with rows */
    weir_handler fire;    /* once for each timer firing */
    weir_handler end;     /* once when an input has ended; may be NULL */
    const char *requires_; /* capabilities beyond those that follow from the state, parted by commas */
    const char *(*open)(weir_open_info *o); /* returns NULL, or why the config will not do; may be NULL */
} weir_function;

/* A stateful function has the input WEIR_MESSAGES, the output WEIR_SENT and, after it, maybe WEIR_EGRESS and WEIR_REQUESTS.
 * Its key is the id of its address; the columns of its input are weir_message_column, those it sends are weir_sent_column. */
#define WEIR_MESSAGES {.name = "messages", .columns = "id:utf8,caller_type:utf8?,caller_id:utf8?,typename:utf8,value:binary?", .key = "id"}
#define WEIR_SENT {.name = "messages", .columns = "type:utf8,id:utf8,typename:utf8,value:binary?,op:int8,delay_ms:int64,token:utf8?"}
#define WEIR_EGRESS {.name = "egress", .columns = "egress:utf8,typename:utf8,key:binary?,value:binary?"}
#define WEIR_REQUESTS \
    {.name = "requests", \
     .columns = "method:utf8,url:utf8,headers:utf8?,body:binary?,handler:utf8,payload:binary?,timeout_ms:int64,attempts:int32"}
enum weir_message_column { WEIR_MESSAGE_ID, WEIR_MESSAGE_CALLER_TYPE, WEIR_MESSAGE_CALLER_ID, WEIR_MESSAGE_TYPENAME, WEIR_MESSAGE_VALUE };
enum weir_sent_column {
    WEIR_SENT_TYPE, WEIR_SENT_ID, WEIR_SENT_TYPENAME, WEIR_SENT_VALUE, WEIR_SENT_OP, WEIR_SENT_DELAY_MS, WEIR_SENT_TOKEN,
};
enum weir_sent_op { WEIR_SEND, WEIR_SEND_AFTER, WEIR_CANCEL };

/* What weir_open was told. Valid until `open` returns; keep what you need (globals are fine: they are set again by
 * every open) and leave a pointer in *user for weir_user. */
struct weir_open_info {
    const weir_function *function;
    weir_bytes config;       /* a JSON object */
    weir_bytes capabilities; /* granted ones, one a line */
    void *user;
    const unsigned char *weirp_container;
};

/* The module's functions. Write it once, in the file with WEIR_IMPLEMENTATION. */
extern const weir_function weir_functions[];
#define WEIR_MODULE(...) const weir_function weir_functions[] = {__VA_ARGS__, WEIRP_END}

/* Optional: a dataflow in JSON, the fields of a pipeline file: WEIR_GRAPH("{\"...\":...}"); */
extern const char *const weir_graph __attribute__((weak));
#define WEIR_GRAPH(json) const char *const weir_graph = json

#ifdef __cplusplus
#define WEIRP_END {}
#define WEIRP_LIST(T, ...) ([]() -> const T * { static const T list[] = {__VA_ARGS__, WEIRP_END}; return list; }())
#else
#define WEIRP_END {0}
#define WEIRP_LIST(T, ...) ((const T[]){__VA_ARGS__, WEIRP_END})
#endif
#define WEIR_INPUTS(...) WEIRP_LIST(weir_input, __VA_ARGS__)
#define WEIR_OUTPUTS(...) WEIRP_LIST(weir_output, __VA_ARGS__)
#define WEIR_STATES(...) WEIRP_LIST(weir_state, __VA_ARGS__)
#define WEIR_TIMERS(...) WEIRP_LIST(weir_timer, __VA_ARGS__)

/* WEIR_FIELDS(acc, WEIR_FIELD(acc, 1, count, int64), WEIR_NULLABLE(acc, 2, last, timestamp, has_last));
 * maps struct acc to stored fields, by id: reorder and rename members as you like, never reuse an id. A member whose C type
 * is not the one of its column type does not compile. Ids ascend. */
#define WEIR_FIELDS(T, ...) static const weir_field T##_fields[] = {__VA_ARGS__, WEIRP_END}
#define WEIR_FIELD(T, id, member, type) \
    {id, #member, #type, WEIRP_T_##type, 0, 0, false, WEIRP_OFFSET(T, member, weirp_c_##type), 0}
#define WEIR_NULLABLE(T, id, member, type, present) \
    {id, #member, #type "?", WEIRP_T_##type, 0, 0, true, WEIRP_OFFSET(T, member, weirp_c_##type), WEIRP_OFFSET(T, present, bool)}
#define WEIR_FIELD_DECIMAL(T, id, member, precision, scale) \
    {id, #member, "decimal(" #precision "," #scale ")", WEIR_DECIMAL, precision, scale, false, WEIRP_OFFSET(T, member, weir_dec128), 0}
/* In a state: {.name = "acc", WEIR_VALUE(acc)} */
#define WEIR_VALUE(T) .fields = T##_fields, .size = sizeof(T)

typedef bool weirp_c_bool;
typedef int8_t weirp_c_int8;
typedef int16_t weirp_c_int16;
typedef int32_t weirp_c_int32, weirp_c_date32;
typedef int64_t weirp_c_int64, weirp_c_timestamp;
typedef float weirp_c_float32;
typedef double weirp_c_float64;
typedef weir_bytes weirp_c_utf8, weirp_c_binary;
#define WEIRP_T_bool WEIR_BOOL
#define WEIRP_T__Bool WEIR_BOOL
#define WEIRP_T_int8 WEIR_INT8
#define WEIRP_T_int16 WEIR_INT16
#define WEIRP_T_int32 WEIR_INT32
#define WEIRP_T_int64 WEIR_INT64
#define WEIRP_T_float32 WEIR_FLOAT32
#define WEIRP_T_float64 WEIR_FLOAT64
#define WEIRP_T_utf8 WEIR_UTF8
#define WEIRP_T_binary WEIR_BINARY
#define WEIRP_T_date32 WEIR_DATE32
#define WEIRP_T_timestamp WEIR_TIMESTAMP
#ifdef __cplusplus
} /* templates have no C linkage */
template <class A, class B> struct weirp_same { enum { v = 0 }; };
template <class A> struct weirp_same<A, A> { enum { v = 1 }; };
extern "C" {
#define WEIRP_SAME(T, m, C) weirp_same<decltype(((T *)0)->m), C>::v
#else
#define WEIRP_SAME(T, m, C) __builtin_types_compatible_p(__typeof__(((T *)0)->m), C)
#endif
/* The negative array size is the compiler's way of saying: this member has not the C type of its column type. */
#define WEIRP_OFFSET(T, m, C) ((uint16_t)(offsetof(T, m) + 0 * sizeof(char[WEIRP_SAME(T, m, C) ? 1 : -1])))

/* ---- The call ----------------------------------------------------------------------------------------------------- */

/* A column of a frame, in place. Children of a list, struct or map follow it in preorder. */
typedef struct weir_col {
    uint8_t type, width, precision, scale;
    bool nullable;
    uint8_t level;
    uint16_t span; /* this node and all below it */
    uint16_t name_len;
    uint32_t length;
    uint32_t bytes_size;
    const char *name;
    const unsigned char *validity; /* NULL = no nulls */
    const unsigned char *values;
    const unsigned char *bytes;
} weir_col;

typedef struct weirp_table { /* a schema and its columns */
    weir_col *nodes;
    uint32_t count;  /* nodes */
    uint16_t *top;   /* node index of each column */
    uint32_t columns;
    uint32_t rows;
} weirp_table;

typedef struct weirp_ocol {
    uint8_t type, width;
    bool nullable, text;
    weir_buf values, bytes, validity;
} weirp_ocol;

typedef struct weirp_out {
    weir_ctx *c;
    weirp_table schema;
    weirp_ocol *cols;
    uint32_t columns, rows, cap, row_size, texts;
    uint16_t *text_cols; /* the columns of varying width */
    uint32_t *causes;
    int64_t *times; /* used if has_times */
    uint8_t *kinds;
    bool has_times, has_kinds;
} weirp_out;

typedef struct weirp_slot {
    uint32_t last;   /* cause of the last write */
    uint32_t stored; /* bytes counted for it */
    uint8_t flags;
} weirp_slot;

typedef struct weirp_held { /* a framed state during a call */
    const weir_state *decl;
    uint32_t size, stride, max_bytes, bound; /* bound: encoded size of all fixed-width fields */
    bool variable;
    weirp_table frame; /* value:binary? */
    const unsigned char *section; /* of this call */
    uint32_t section_n;
    unsigned char *values; /* slots * size */
    weirp_slot *slots;
    uint32_t slots_cap;
    uint32_t *touched; /* pairs (cause, slot), ascending by cause */
    uint32_t touches, touched_cap, values_cap;
    uint32_t edited; /* the cause that `undo` belongs to */
    weirp_slot undo_slot;
    unsigned char *undo;
    bool hosted;
} weirp_held;

typedef struct weirp_timer_op {
    uint32_t cause, slot;
    int64_t time;
    int16_t timer;
    int8_t kind, op;
} weirp_timer_op;

struct weir_ctx {
    /* The current cause; read freely, never write. */
    uint32_t cause; /* its index in this call */
    uint32_t kind;  /* WEIR_CAUSE_ROW, ... */
    uint32_t row;   /* of the frame */
    uint32_t slot;  /* of its key, in this call; WEIR_NO_SLOT if the function is not keyed */
    uint32_t input; /* of a row or an end of input */
    uint32_t timer; /* of a firing */
    int64_t time;   /* the row's event time (WEIR_NO_TIME if unknown), or the timer's */

    /* The call. */
    int64_t clock, watermark;
    uint64_t seed;
    uint32_t causes, slots, rows, attempt, first_group, last_group, max_output, flags;
    void *user; /* what `open` left */

    /* Private. */
    const weir_function *fn;
    weirp_table *in;   /* the current input's columns; an empty table in a firing */
    weirp_table *ins;
    weirp_table keys, empty, meta;
    const uint32_t *slot_of;
    const int64_t *times;
    const uint8_t *kinds;
    const unsigned char *cause_list;
    weirp_out *outs;
    uint32_t inputs, outputs, states, timers;
    weirp_held *held;
    weirp_timer_op *timer_ops;
    uint32_t timer_count, timer_cap;
    uint32_t base, used, used_before;
    uint32_t first; /* of the causes in hand: more than one only after weir_bulk */
    bool keyed, active, done, failed, overflow;
    bool attention; /* the cause that ends must be looked at: it failed, passed the cap, or wrote state of varying size */
    uint32_t consumed, status, code;
    unsigned char *spare; /* what a wrong state index gets to write on */
    uint32_t spare_size, text_n;
    char text[WEIR_MAX_TEXT_BYTES];
    weir_buf *kept; /* chunks of weir_keep */
    uint32_t kept_count, kept_cap, kept_used;
    uint64_t random;
};

/* A row being emitted. */
typedef struct weir_row {
    weirp_out *o;
    uint32_t i;
} weir_row;

#define WEIRP_IS(type) (1u << (type))

/* Refuses the current cause: its effects are dropped and its row goes where the pipeline sends bad rows. Return after it. */
void weir_fail(weir_ctx *c, const char *text);
void weir_fail_bytes(weir_ctx *c, weir_bytes text);

void weirp_misread(weir_ctx *c, const weirp_table *t, uint32_t col, uint32_t mask);
void weirp_miswrite(weirp_out *o, uint32_t col, uint32_t mask);
void weirp_bad_frame(weir_ctx *c, const char *what);
bool weirp_advance(weir_ctx *c);
bool weirp_finish_cause(weir_ctx *c);
extern volatile uint32_t weirp_progress;

/* Moves to the next cause; false when there is none, or this one failed, or the frame of effects is full. For batch
 * handlers; a row handler is called once for each. */
static inline bool weir_next(weir_ctx *c) {
    if (c->active && (c->attention || c->used > c->max_output) && !weirp_finish_cause(c)) return false;
    return weirp_advance(c);
}

/* ---- Reading ------------------------------------------------------------------------------------------------------ */

extern const unsigned char weirp_zero[16];

static inline bool weirp_valid(const weir_col *k, uint32_t i) {
    return !k->validity || (k->validity[i >> 3] >> (i & 7) & 1);
}

static inline const unsigned char *weirp_cell(weir_ctx *c, const weirp_table *t, uint32_t col, uint32_t i, uint32_t mask) {
    if (__builtin_expect(col >= t->columns || i >= t->rows, 0)) {
        weirp_misread(c, t, col, mask);
        return weirp_zero;
    }
    const weir_col *k = &t->nodes[t->top[col]];
    if (__builtin_expect(!(WEIRP_IS(k->type) & mask), 0)) {
        weirp_misread(c, t, col, mask);
        return weirp_zero;
    }
    return k->values + (size_t)i * k->width;
}

static inline weir_bytes weirp_var(weir_ctx *c, const weirp_table *t, uint32_t col, uint32_t i) {
    weir_bytes b = {"", 0};
    const unsigned char *cell = weirp_cell(c, t, col, i, WEIRP_IS(WEIR_UTF8) | WEIRP_IS(WEIR_BINARY));
    if (cell == weirp_zero) return b;
    const weir_col *k = &t->nodes[t->top[col]];
    uint32_t from = ((const uint32_t *)(const void *)cell)[0], to = ((const uint32_t *)(const void *)cell)[1];
    if (__builtin_expect(from > to || to > k->bytes_size, 0)) {
        weirp_bad_frame(c, "offsets of a text column do not ascend");
        return b;
    }
    b.p = (const char *)k->bytes + from;
    b.n = to - from;
    return b;
}

static inline bool weirp_is_null(weir_ctx *c, const weirp_table *t, uint32_t col, uint32_t i) {
    if (col >= t->columns || i >= t->rows) {
        weirp_misread(c, t, col, ~0u);
        return true;
    }
    return !weirp_valid(&t->nodes[t->top[col]], i);
}

int64_t weirp_integer(weir_ctx *c, const weirp_table *t, uint32_t col, uint32_t i);
bool weirp_bit(weir_ctx *c, const weirp_table *t, uint32_t col, uint32_t i);

#define WEIRP_READERS(prefix, table, index) \
    static inline bool weir_##prefix##null(weir_ctx *c, uint32_t col) { return weirp_is_null(c, table, col, index); } \
    static inline bool weir_##prefix##bool(weir_ctx *c, uint32_t col) { return weirp_bit(c, table, col, index); } \
    static inline int8_t weir_##prefix##i8(weir_ctx *c, uint32_t col) { \
        return *(const int8_t *)weirp_cell(c, table, col, index, WEIRP_IS(WEIR_INT8)); } \
    static inline int16_t weir_##prefix##i16(weir_ctx *c, uint32_t col) { \
        return *(const int16_t *)(const void *)weirp_cell(c, table, col, index, WEIRP_IS(WEIR_INT16)); } \
    static inline int32_t weir_##prefix##i32(weir_ctx *c, uint32_t col) { \
        return *(const int32_t *)(const void *)weirp_cell(c, table, col, index, WEIRP_IS(WEIR_INT32) | WEIRP_IS(WEIR_DATE32)); } \
    static inline int64_t weir_##prefix##i64(weir_ctx *c, uint32_t col) { \
        return *(const int64_t *)(const void *)weirp_cell(c, table, col, index, WEIRP_IS(WEIR_INT64) | WEIRP_IS(WEIR_TIMESTAMP)); } \
    static inline float weir_##prefix##f32(weir_ctx *c, uint32_t col) { \
        return *(const float *)(const void *)weirp_cell(c, table, col, index, WEIRP_IS(WEIR_FLOAT32)); } \
    static inline double weir_##prefix##f64(weir_ctx *c, uint32_t col) { \
        return *(const double *)(const void *)weirp_cell(c, table, col, index, WEIRP_IS(WEIR_FLOAT64)); } \
    static inline weir_dec128 weir_##prefix##decimal(weir_ctx *c, uint32_t col) { \
        return *(const weir_dec128 *)(const void *)weirp_cell(c, table, col, index, WEIRP_IS(WEIR_DECIMAL)); } \
    static inline weir_bytes weir_##prefix##str(weir_ctx *c, uint32_t col) { return weirp_var(c, table, col, index); } \
    static inline int64_t weir_##prefix##int(weir_ctx *c, uint32_t col) { return weirp_integer(c, table, col, index); }

/* weir_null, weir_bool, weir_i8 ... weir_i64 (also timestamp), weir_f32, weir_f64, weir_decimal, weir_str (utf8 and binary),
 * weir_int (any integer, widened): the current row's columns, by their position among the declared ones. A column read as
 * what it is not fails the cause and says so. The value under a null is zero or rubbish: ask weir_null first. */
WEIRP_READERS(, c->in, c->row)
/* weir_key_i64 ...: the current key's columns, by their position in the key; for rows and firings alike. */
WEIRP_READERS(key_, (&c->keys), c->slot)
/* weir_meta_int(c, 0 partition, 1 sequence, 2 row of the message): with the capability "positions". */
WEIRP_READERS(meta_, (&c->meta), c->row)

/* The whole column for batch handlers: weir_i64s(c, col)[c->row]. NULL and a failed cause if it is of another type. */
const void *weirp_column(weir_ctx *c, uint32_t col, uint32_t mask);
static inline const int32_t *weir_i32s(weir_ctx *c, uint32_t col) {
    return (const int32_t *)weirp_column(c, col, WEIRP_IS(WEIR_INT32) | WEIRP_IS(WEIR_DATE32)); }
static inline const int64_t *weir_i64s(weir_ctx *c, uint32_t col) {
    return (const int64_t *)weirp_column(c, col, WEIRP_IS(WEIR_INT64) | WEIRP_IS(WEIR_TIMESTAMP)); }
static inline const double *weir_f64s(weir_ctx *c, uint32_t col) {
    return (const double *)weirp_column(c, col, WEIRP_IS(WEIR_FLOAT64)); }

/* Nested columns (with the capability "nested"): the column itself, its children, and a list's or map's range in them. */
static inline const weir_col *weir_column(weir_ctx *c, uint32_t col) {
    return col < c->in->columns ? &c->in->nodes[c->in->top[col]] : NULL; }
const weir_col *weir_child(const weir_col *k, uint32_t n);
bool weir_range(const weir_col *k, uint32_t i, uint32_t *from, uint32_t *to);

/* Row kind with the capability "changelog": WEIR_ROW_INSERT, ... */
static inline uint32_t weir_kind(weir_ctx *c) { return c->kinds && c->row < c->rows ? c->kinds[c->row] : WEIR_ROW_INSERT; }

static inline void *weir_user(weir_ctx *c) { return c->user; }
/* The same sequence for the same call: randomness and the clock come from the host alone. */
uint64_t weir_random(weir_ctx *c);

/* ---- Writing ------------------------------------------------------------------------------------------------------ */

/* Adds a row to an output: null where the column may be null, zero (or empty) elsewhere, until set. Its event time is the
 * cause's unless weir_set_time says another. */
static inline weir_row weir_emit(weir_ctx *c, uint32_t output);

static inline weirp_ocol *weirp_ocell(weir_row r, uint32_t col, uint32_t mask) {
    if (__builtin_expect(!r.o, 0)) return NULL;
    if (__builtin_expect(col >= r.o->columns || !(WEIRP_IS(r.o->cols[col].type) & mask), 0)) {
        weirp_miswrite(r.o, col, mask);
        return NULL;
    }
    weirp_ocol *k = &r.o->cols[col];
    if (k->nullable) k->validity.p[r.i >> 3] |= (unsigned char)(1u << (r.i & 7));
    return k;
}
weir_row weirp_emit_slowly(weir_ctx *c, uint32_t output);
static inline weir_row weir_emit(weir_ctx *c, uint32_t output) {
    weirp_out *o = &c->outs[output];
    if (__builtin_expect(output >= c->outputs || o->rows >= o->cap || !c->active || c->overflow || c->used + o->row_size > c->max_output, 0))
        return weirp_emit_slowly(c, output);
    weir_row r = {o, o->rows++};
    c->used += o->row_size;
    o->causes[r.i] = c->cause;
    if (__builtin_expect(o->has_times, 0)) o->times[r.i] = c->time;
    if (__builtin_expect(o->has_kinds, 0)) o->kinds[r.i] = WEIR_ROW_INSERT;
    for (uint32_t n = 0; n < o->texts; n++) {
        weirp_ocol *k = &o->cols[o->text_cols[n]];
        ((uint32_t *)(void *)k->values.p)[r.i + 1] = k->bytes.n;
    }
    return r;
}

#define WEIRP_SETTER(name, C, mask) \
    static inline void weir_set_##name(weir_row r, uint32_t col, C v) { \
        weirp_ocol *k = weirp_ocell(r, col, mask); \
        if (k) ((C *)(void *)k->values.p)[r.i] = v; }
WEIRP_SETTER(i8, int8_t, WEIRP_IS(WEIR_INT8))
WEIRP_SETTER(i16, int16_t, WEIRP_IS(WEIR_INT16))
WEIRP_SETTER(i32, int32_t, WEIRP_IS(WEIR_INT32) | WEIRP_IS(WEIR_DATE32))
WEIRP_SETTER(i64, int64_t, WEIRP_IS(WEIR_INT64) | WEIRP_IS(WEIR_TIMESTAMP))
WEIRP_SETTER(f32, float, WEIRP_IS(WEIR_FLOAT32))
WEIRP_SETTER(f64, double, WEIRP_IS(WEIR_FLOAT64))
WEIRP_SETTER(decimal, weir_dec128, WEIRP_IS(WEIR_DECIMAL))
void weir_set_bool(weir_row r, uint32_t col, bool v);
void weir_set_str(weir_row r, uint32_t col, weir_bytes v); /* copies; utf8 must be UTF-8: the host checks */
void weir_set_null(weir_row r, uint32_t col);
void weir_set_time(weir_row r, int64_t time);
void weir_set_kind(weir_row r, uint32_t kind); /* with "changelog" */

/* ---- Messages of stateful functions ------------------------------------------------------------------------------- */

/* Sends a message; output 0 is WEIR_SENT. Everything is copied. */
static inline weir_row weir_send(weir_ctx *c, weir_bytes type, weir_bytes id, weir_bytes typename_, weir_bytes value) {
    weir_row r = weir_emit(c, 0);
    weir_set_str(r, WEIR_SENT_TYPE, type);
    weir_set_str(r, WEIR_SENT_ID, id);
    weir_set_str(r, WEIR_SENT_TYPENAME, typename_);
    weir_set_str(r, WEIR_SENT_VALUE, value);
    return r;
}

/* Sends a message later. weir_set_str(row, WEIR_SENT_TOKEN, ...) gives it a token, by which weir_cancel drops it. */
static inline weir_row weir_send_after(weir_ctx *c, int64_t delay_ms, weir_bytes type, weir_bytes id, weir_bytes typename_, weir_bytes value) {
    weir_row r = weir_send(c, type, id, typename_, value);
    weir_set_i8(r, WEIR_SENT_OP, WEIR_SEND_AFTER);
    weir_set_i64(r, WEIR_SENT_DELAY_MS, delay_ms);
    return r;
}

/* Drops what this address sent with the token and is not delivered yet. */
static inline void weir_cancel(weir_ctx *c, weir_bytes token) {
    weir_row r = weir_emit(c, 0);
    weir_set_i8(r, WEIR_SENT_OP, WEIR_CANCEL);
    weir_set_str(r, WEIR_SENT_TOKEN, token);
}

/* The fast way for a stateless row-for-row function, in a batch handler: takes all rows that are left (fewer if the cap of
 * output comes first; call again until it returns 0) and adds one output row for each. c->row is the first of them.
 * Fill every column through weir_out_i64s and its like, whose [0] belongs to c->row; nullable columns hold no nulls. */
uint32_t weir_bulk(weir_ctx *c, uint32_t output);
void *weirp_out_column(weir_ctx *c, uint32_t output, uint32_t col, uint32_t mask);
static inline int32_t *weir_out_i32s(weir_ctx *c, uint32_t output, uint32_t col) {
    return (int32_t *)weirp_out_column(c, output, col, WEIRP_IS(WEIR_INT32) | WEIRP_IS(WEIR_DATE32)); }
static inline int64_t *weir_out_i64s(weir_ctx *c, uint32_t output, uint32_t col) {
    return (int64_t *)weirp_out_column(c, output, col, WEIRP_IS(WEIR_INT64) | WEIRP_IS(WEIR_TIMESTAMP)); }
static inline double *weir_out_f64s(weir_ctx *c, uint32_t output, uint32_t col) {
    return (double *)weirp_out_column(c, output, col, WEIRP_IS(WEIR_FLOAT64)); }

/* ---- State and timers of the current key ---------------------------------------------------------------------------*/

enum { WEIRP_LOADED = 1, WEIRP_PRESENT = 2, WEIRP_DIRTY = 4 };

const void *weirp_get(weir_ctx *c, uint32_t state);
void *weirp_edit_slowly(weir_ctx *c, uint32_t state, uint32_t size);

static inline void *weirp_edit(weir_ctx *c, uint32_t state, uint32_t size) {
    if (__builtin_expect(state >= c->states || c->slot >= c->slots || c->held[state].size != size || !c->active, 0))
        return weirp_edit_slowly(c, state, size);
    weirp_held *h = &c->held[state];
    weirp_slot *s = &h->slots[c->slot];
    unsigned char *value = h->values + (size_t)c->slot * h->stride;
    if (h->edited != c->cause) {
        if (__builtin_expect(!(s->flags & WEIRP_LOADED) || h->touches >= h->touched_cap, 0)) return weirp_edit_slowly(c, state, size);
        h->edited = c->cause;
        h->undo_slot = *s;
        __builtin_memcpy(h->undo, value, size);
        h->touched[2 * h->touches] = c->cause;
        h->touched[2 * h->touches + 1] = c->slot;
        h->touches++;
        if (!(s->flags & WEIRP_DIRTY)) c->used += 13 + h->bound;
        s->last = c->cause;
        c->attention |= h->variable;
    }
    s->flags |= WEIRP_DIRTY | WEIRP_PRESENT;
    return value;
}

/* The struct stored for this key, or NULL. */
#define weir_get(T, c, state) ((const T *)weirp_get((c), (state)))
/* The struct stored for this key to change in place, all zero if there was none; writing it is what happens when the
 * handler returns without weir_fail. For a state without fields T is weir_bytes. */
#define weir_edit(T, c, state) ((T *)weirp_edit((c), (state), sizeof(T)))
void weir_clear(weir_ctx *c, uint32_t state);
/* A copy that lives until the call ends. */
weir_bytes weir_keep(weir_ctx *c, weir_bytes b);

void weir_timer_set(weir_ctx *c, uint32_t timer, int64_t time);
void weir_timer_delete(weir_ctx *c, uint32_t timer, int64_t time);

/* ---- Hosted state: maps and lists that do not travel in the frame -------------------------------------------------- */

/* A map key in canonical bytes. */
typedef struct weir_mapkey {
    uint32_t n;
    bool bad;
    unsigned char b[WEIR_MAX_KEY_BYTES];
} weir_mapkey;
void weir_mapkey_i64(weir_mapkey *k, int64_t v); /* every integer type, date32, timestamp */
void weir_mapkey_bool(weir_mapkey *k, bool v);
void weir_mapkey_f64(weir_mapkey *k, double v); /* float32 as well */
void weir_mapkey_decimal(weir_mapkey *k, weir_dec128 v, uint32_t scale);
void weir_mapkey_bytes(weir_mapkey *k, weir_bytes v); /* utf8, binary */

/* Values are bytes in the state's codec: weir_row_encode and weir_row_decode turn them from and to structs. What get and scan
 * return lives until the call ends. Errors of the host end the call. */
bool weir_map_get(weir_ctx *c, uint32_t state, const weir_mapkey *k, weir_bytes *value);
void weir_map_put(weir_ctx *c, uint32_t state, const weir_mapkey *k, weir_bytes value);
void weir_map_delete(weir_ctx *c, uint32_t state, const weir_mapkey *k);
void weir_list_append(weir_ctx *c, uint32_t state, weir_bytes value);
void weir_hosted_clear(weir_ctx *c, uint32_t state);

/* for (weir_scan s = weir_scan_begin(c, ITEMS); weir_scan_next(&s);) use(s.key, s.value);
 * Entries come in canonical key order (a list's in the order of its indices) and live until the next page is read. */
typedef struct weir_scan {
    weir_bytes key, value;
    weir_ctx *weirp_c;
    uint32_t weirp_state, weirp_left, weirp_at;
    bool weirp_begun;
    weir_buf weirp_page;
} weir_scan;
weir_scan weir_scan_begin(weir_ctx *c, uint32_t state);
bool weir_scan_next(weir_scan *s);
/* Only if you leave the loop before its end. */
void weir_scan_end(weir_scan *s);

/* ---- Rows of state, for values that are not one struct -------------------------------------------------------------- */

bool weir_row_decode(const weir_field *fields, void *out, weir_bytes row); /* `out` must be zero before */
void weir_row_encode(const weir_field *fields, const void *in, weir_buf *to);

void weir_put(weir_buf *b, const void *p, uint32_t n);
void weir_put_uvarint(weir_buf *b, uint64_t v);
void weir_put_tag(weir_buf *b, uint32_t id, uint32_t wire);
static inline void weir_put_int(weir_buf *b, int64_t v) { weir_put_uvarint(b, (uint64_t)v << 1 ^ (uint64_t)(v >> 63)); }
void weir_put_text(weir_buf *b, const char *s);
/* Reads advance *at; false at the end or on rubbish, which leaves *at where it was. */
bool weir_take_uvarint(weir_bytes *at, uint64_t *v);
bool weir_take_int(weir_bytes *at, int64_t *v);
bool weir_take_tag(weir_bytes *at, uint32_t *id, uint32_t *wire);
bool weir_take_bytes(weir_bytes *at, weir_bytes *v); /* uvarint length and bytes */
bool weir_take_skip(weir_bytes *at, uint32_t wire);
static inline weir_bytes weir_buf_bytes(const weir_buf *b) {
    weir_bytes v = {(const char *)b->p, b->n};
    return v;
}
void weir_buf_free(weir_buf *b);

/* ---- Logs, metrics, config -------------------------------------------------------------------------------------------*/

void weir_log(uint32_t level, const char *text);
void weir_log_bytes(uint32_t level, weir_bytes text);
void weir_count(const char *name, double add); /* [a-z_][a-z0-9_]*, at most 64 bytes */
void weir_gauge(const char *name, double value);

/* A member of the config's top level; false if it is not there or of another type. Text is taken as it stands: one with
 * escapes is not found. */
bool weir_config_str(const weir_open_info *o, const char *name, weir_bytes *v);
bool weir_config_int(const weir_open_info *o, const char *name, int64_t *v);
/* An asset of the bundle, by its name. */
bool weir_asset(const weir_open_info *o, const char *name, weir_bytes *v);

/* ---- Without Wasm: the same dispatcher for tests --------------------------------------------------------------------- */

#ifndef __wasm__
typedef struct weir_native_host { /* any may be NULL: log and metric then go nowhere, state is empty */
    void *arg;
    void (*log)(void *arg, uint32_t level, weir_bytes text);
    void (*metric)(void *arg, uint32_t kind, weir_bytes name, double value);
    int64_t (*state_get)(void *arg, uint32_t state, uint32_t slot, weir_bytes key, void *p, uint32_t cap);
    void (*state_put)(void *arg, uint32_t state, uint32_t slot, weir_bytes key, weir_bytes value);
    void (*state_delete)(void *arg, uint32_t state, uint32_t slot, weir_bytes key);
    void (*state_append)(void *arg, uint32_t state, uint32_t slot, weir_bytes value);
    void (*state_clear)(void *arg, uint32_t state, uint32_t slot);
    int64_t (*state_scan)(void *arg, uint32_t state, uint32_t slot, const weir_bytes *after, void *p, uint32_t cap);
} weir_native_host;
extern weir_native_host weir_host;
/* Arguments at addresses divisible by 8. Results live until the next of these calls. */
weir_bytes weir_native_describe(const void *p, uint32_t n);
weir_bytes weir_native_open(const void *p, uint32_t n);
weir_bytes weir_native_call(uint32_t handle, const void *p, uint32_t n);
#endif

#ifdef __cplusplus
}
#endif
#endif /* WEIR_H */

/* ==== Implementation ================================================================================================= */

#if defined(WEIR_IMPLEMENTATION) && !defined(WEIRP_IMPLEMENTED)
#define WEIRP_IMPLEMENTED

#ifdef __cplusplus
extern "C" {
#endif

/* Off the hot path: one copy is enough. */
#define WEIRP_APART __attribute__((noinline))

#define WEIRP_SDK "c/0.1.0"
#define WEIRP_ROWS_PAGE 256            /* rows an output has room for at first */
#define WEIRP_KEEP_CHUNK 65536         /* weir_keep takes memory in such pieces */
#define WEIRP_SCAN_PAGE 16384          /* first buffer of a scan, doubled as entries need */
#define WEIRP_DEFAULT_OUTPUT 8388608   /* if the host names no cap */
#define WEIRP_MAX_HANDLES 1024         /* functions opened in one instance */

volatile uint32_t weirp_progress = UINT32_MAX;
const unsigned char weirp_zero[16] __attribute__((aligned(16))) = {0};

/* ---- Memory ---- */

#ifdef __wasm__
/* Power-of-two pieces of whole pages from memory.grow, with a free list a size. It never gives pages back, and takes no part
 * in wasi-libc's heap, which copes with others growing the memory. */
static unsigned char *weirp_free_list[32];
static uintptr_t weirp_brk, weirp_end;

static WEIRP_APART void *weirp_alloc(uint32_t n) {
    uint32_t class_ = 5;
    while (class_ < 31 && (1u << class_) < n) class_++;
    uint32_t size = 1u << class_;
    if (size < n) return NULL;
    unsigned char *p = weirp_free_list[class_];
    if (p) {
        weirp_free_list[class_] = *(unsigned char **)(void *)p;
        return p;
    }
    if (weirp_end - weirp_brk < size) {
        uint32_t pages = (size + 65535) >> 16;
        size_t old = __builtin_wasm_memory_grow(0, pages);
        if (old == (size_t)-1) return NULL;
        if (old << 16 != weirp_end) weirp_brk = old << 16;
        weirp_end = (old + pages) << 16;
    }
    p = (unsigned char *)weirp_brk;
    weirp_brk += size;
    return p;
}

static WEIRP_APART void weirp_free(void *p, uint32_t n) {
    if (!p) return;
    uint32_t class_ = 5;
    while ((1u << class_) < n) class_++;
    *(unsigned char **)p = weirp_free_list[class_];
    weirp_free_list[class_] = (unsigned char *)p;
}
#else
#ifdef __cplusplus
}
#include <stdlib.h>
extern "C" {
#else
#include <stdlib.h>
#endif
static void *weirp_alloc(uint32_t n) { return malloc(n ? n : 1); }
static void weirp_free(void *p, uint32_t n) {
    (void)n;
    free(p);
}
#endif

static void *weirp_new(uint32_t n) {
    void *p = weirp_alloc(n);
    if (p) __builtin_memset(p, 0, n);
    return p;
}

/* Short pieces by hand: a call of memory.copy costs more than the copy. The empty asm keeps the compiler from turning the
 * loop back into one. */
static inline void weirp_copy(void *to, const void *from, uint32_t n) {
    if (n > 128) {
        __builtin_memcpy(to, from, n);
        return;
    }
    unsigned char *d = (unsigned char *)to;
    const unsigned char *s = (const unsigned char *)from;
    for (; n >= 8; n -= 8, d += 8, s += 8) {
        __builtin_memcpy(d, s, 8);
        __asm__ volatile("" ::: "memory");
    }
    for (; n; n--) {
        *d++ = *s++;
        __asm__ volatile("" ::: "memory");
    }
}

static inline void weirp_clear_words(void *p, uint32_t n) { /* n divisible by 8 */
    uint64_t zero = 0;
    for (unsigned char *d = (unsigned char *)p; n; n -= 8, d += 8) {
        __builtin_memcpy(d, &zero, 8);
        __asm__ volatile("" ::: "memory");
    }
}

/* Room for `cap` bytes in all; what is there stays. */
static WEIRP_APART bool weirp_enlarge(weir_buf *b, uint64_t cap) {
    if (cap > 0x7fffffff) {
        b->failed = true;
        return false;
    }
    uint32_t size = b->cap < 64 ? 64 : b->cap;
    while (size < cap) size = size > 0x3fffffff ? 0x7fffffff : size * 2;
    unsigned char *p = (unsigned char *)weirp_alloc(size);
    if (!p) {
        b->failed = true;
        return false;
    }
    if (b->n) __builtin_memcpy(p, b->p, b->n);
    weirp_free(b->p, b->cap);
    b->p = p;
    b->cap = size;
    return true;
}

static inline bool weirp_reserve(weir_buf *b, uint64_t cap) { return cap <= b->cap || weirp_enlarge(b, cap); }

WEIRP_APART void weir_buf_free(weir_buf *b) {
    weirp_free(b->p, b->cap);
    b->p = NULL;
    b->n = b->cap = 0;
    b->failed = false;
}

WEIRP_APART void weir_put(weir_buf *b, const void *p, uint32_t n) {
    if (!n || !weirp_reserve(b, (uint64_t)b->n + n)) return;
    weirp_copy(b->p + b->n, p, n);
    b->n += n;
}

WEIRP_APART void weir_put_text(weir_buf *b, const char *s) { weir_put(b, s, weirp_length(s)); }

static WEIRP_APART void weirp_put_byte(weir_buf *b, unsigned char v) { weir_put(b, &v, 1); }

/* `n` zero bytes at the end, their position or UINT32_MAX. */
static WEIRP_APART uint32_t weirp_put_zero(weir_buf *b, uint64_t n) {
    if (!weirp_reserve(b, b->n + n)) return UINT32_MAX;
    uint32_t at = b->n;
    if (n) __builtin_memset(b->p + at, 0, (size_t)n);
    b->n += (uint32_t)n;
    return at;
}

static WEIRP_APART void weirp_pad8(weir_buf *b) { weirp_put_zero(b, (8 - (b->n & 7)) & 7); }

static WEIRP_APART void weirp_put_number(weir_buf *b, int64_t v) {
    char t[24];
    uint32_t i = sizeof t;
    uint64_t u = v < 0 ? 0 - (uint64_t)v : (uint64_t)v;
    do {
        t[--i] = (char)('0' + u % 10);
        u /= 10;
    } while (u);
    if (v < 0) t[--i] = '-';
    weir_put(b, t + i, (uint32_t)sizeof t - i);
}

static inline uint32_t weirp_u32(const unsigned char *p) {
    uint32_t v;
    __builtin_memcpy(&v, p, 4);
    return v;
}
static inline uint64_t weirp_u64(const unsigned char *p) {
    uint64_t v;
    __builtin_memcpy(&v, p, 8);
    return v;
}
static inline uint16_t weirp_u16(const unsigned char *p) {
    uint16_t v;
    __builtin_memcpy(&v, p, 2);
    return v;
}
static inline void weirp_w32(unsigned char *p, uint32_t v) { __builtin_memcpy(p, &v, 4); }
static inline void weirp_w16(unsigned char *p, uint16_t v) { __builtin_memcpy(p, &v, 2); }
static inline uint64_t weirp_align8(uint64_t n) { return (n + 7) & ~(uint64_t)7; }

/* ---- Rows of state ---- */

void weir_put_uvarint(weir_buf *b, uint64_t v) {
    if (!weirp_reserve(b, (uint64_t)b->n + 10)) return;
    unsigned char *p = b->p + b->n;
    while (v >= 0x80) {
        *p++ = (unsigned char)(v | 0x80);
        v >>= 7;
    }
    *p++ = (unsigned char)v;
    b->n = (uint32_t)(p - b->p);
}

void weir_put_tag(weir_buf *b, uint32_t id, uint32_t wire) { weir_put_uvarint(b, (uint64_t)id << 3 | wire); }

bool weir_take_uvarint(weir_bytes *at, uint64_t *v) {
    uint64_t u = 0;
    for (uint32_t i = 0; i < at->n && i < 10; i++) {
        unsigned char byte = (unsigned char)at->p[i];
        if (i == 9 && byte > 1) return false; /* passes 64 bits */
        u |= (uint64_t)(byte & 0x7f) << (7 * i);
        if (byte < 0x80) {
            at->p += i + 1;
            at->n -= i + 1;
            *v = u;
            return true;
        }
    }
    return false;
}

bool weir_take_int(weir_bytes *at, int64_t *v) {
    uint64_t u;
    if (!weir_take_uvarint(at, &u)) return false;
    *v = (int64_t)(u >> 1 ^ (0 - (u & 1)));
    return true;
}

bool weir_take_tag(weir_bytes *at, uint32_t *id, uint32_t *wire) {
    weir_bytes from = *at;
    uint64_t u;
    if (!weir_take_uvarint(at, &u)) return false;
    *id = (uint32_t)(u >> 3);
    *wire = (uint32_t)(u & 7);
    if (u >> 3 >= 1 && u >> 3 <= WEIR_MAX_FIELD_ID) return true;
    *at = from;
    return false;
}

static bool weirp_take_raw(weir_bytes *at, void *to, uint32_t n) {
    if (at->n < n) return false;
    if (to) __builtin_memcpy(to, at->p, n);
    at->p += n;
    at->n -= n;
    return true;
}

bool weir_take_bytes(weir_bytes *at, weir_bytes *v) {
    weir_bytes from = *at;
    uint64_t n;
    if (weir_take_uvarint(at, &n) && n <= at->n) {
        v->p = at->p;
        v->n = (uint32_t)n;
        at->p += n;
        at->n -= (uint32_t)n;
        return true;
    }
    *at = from;
    return false;
}

bool weir_take_skip(weir_bytes *at, uint32_t wire) {
    weir_bytes from = *at, b;
    uint64_t u;
    bool ok = false;
    switch (wire) {
    case WEIR_WIRE_VARINT: ok = weir_take_uvarint(at, &u); break;
    case WEIR_WIRE_FIXED64: ok = weirp_take_raw(at, NULL, 8); break;
    case WEIR_WIRE_BYTES: ok = weir_take_bytes(at, &b); break;
    case WEIR_WIRE_DECIMAL: ok = weir_take_uvarint(at, &u) && weirp_take_raw(at, NULL, 16); break;
    case WEIR_WIRE_FIXED32: ok = weirp_take_raw(at, NULL, 4); break;
    default: break;
    }
    if (!ok) *at = from;
    return ok;
}

static inline bool weirp_is_i64(uint32_t type) { return type == WEIR_INT64 || type == WEIR_TIMESTAMP; }

static WEIRP_APART bool weirp_store_int(const weir_field *f, unsigned char *to, int64_t v) {
    switch (f->type) {
    case WEIR_BOOL:
        if (v < 0 || v > 1) return false;
        *(bool *)to = v != 0;
        return true;
    case WEIR_INT8:
        if (v != (int8_t)v) return false;
        *(int8_t *)to = (int8_t)v;
        return true;
    case WEIR_INT16:
        if (v != (int16_t)v) return false;
        *(int16_t *)(void *)to = (int16_t)v;
        return true;
    case WEIR_INT32:
    case WEIR_DATE32:
        if (v != (int32_t)v) return false;
        *(int32_t *)(void *)to = (int32_t)v;
        return true;
    case WEIR_INT64:
    case WEIR_TIMESTAMP: *(int64_t *)(void *)to = v; return true;
    default: return false;
    }
}

static WEIRP_APART bool weirp_decode_field(const weir_field *f, unsigned char *to, uint32_t wire, weir_bytes *at) {
    switch (wire) {
    case WEIR_WIRE_FIXED64: return f->type == WEIR_FLOAT64 && weirp_take_raw(at, to, 8);
    case WEIR_WIRE_BYTES: {
        weir_bytes b;
        if ((f->type != WEIR_UTF8 && f->type != WEIR_BINARY) || !weir_take_bytes(at, &b)) return false;
        *(weir_bytes *)(void *)to = b;
        return true;
    }
    case WEIR_WIRE_DECIMAL: {
        uint64_t scale;
        return f->type == WEIR_DECIMAL && weir_take_uvarint(at, &scale) && scale == f->scale && weirp_take_raw(at, to, 16);
    }
    case WEIR_WIRE_FIXED32: {
        float v;
        if (!weirp_take_raw(at, &v, 4)) return false;
        if (f->type == WEIR_FLOAT32) *(float *)(void *)to = v;
        else if (f->type == WEIR_FLOAT64) *(double *)(void *)to = (double)v;
        else return false;
        return true;
    }
    default: return false;
    }
}

/* One byte takes the short way; up to eight are gathered at once where eight can be read before `limit`, because the lengths
 * of numbers in state vary and a loop would be mispredicted. The caller checks the result against the row's own end. */
static inline const unsigned char *weirp_uvarint(const unsigned char *p, const unsigned char *limit, uint64_t *v) {
    if (p < limit && *p < 0x80) {
        *v = *p;
        return p + 1;
    }
    if (limit - p >= 8) {
        uint64_t x = weirp_u64(p), stop = ~x & UINT64_C(0x8080808080808080);
        if (stop) {
            uint64_t last = stop & (0 - stop); /* the top bit of the last byte */
            x &= last | (last - 1);
            x &= UINT64_C(0x7f7f7f7f7f7f7f7f);
            x = (x & UINT64_C(0x007f007f007f007f)) | (x & UINT64_C(0x7f007f007f007f00)) >> 1;
            x = (x & UINT64_C(0x00003fff00003fff)) | (x & UINT64_C(0x3fff00003fff0000)) >> 2;
            *v = (x & UINT64_C(0x0fffffff)) | (x & UINT64_C(0x0fffffff00000000)) >> 4;
            return p + ((uint32_t)__builtin_ctzll(stop) >> 3) + 1;
        }
    }
    uint64_t u = 0;
    for (uint32_t shift = 0; p < limit && shift < 64; shift += 7) {
        unsigned char byte = *p++;
        if (shift == 63 && byte > 1) return NULL; /* passes 64 bits */
        u |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) {
            *v = u;
            return p;
        }
    }
    return NULL;
}

static bool weirp_read_row(const weir_field *fields, void *out, weir_bytes row, const unsigned char *limit) {
    const weir_field *f = fields;
    const unsigned char *p = (const unsigned char *)row.p, *end = p + row.n;
    uint64_t tag, v;
    uint32_t before = 0;
    while (p < end) {
        p = weirp_uvarint(p, limit, &tag);
        if (!p || p > end || tag >> 3 <= before || tag >> 3 > WEIR_MAX_FIELD_ID) return false;
        uint32_t id = (uint32_t)(tag >> 3), wire = (uint32_t)(tag & 7);
        before = id;
        while (f->name && f->id < id) f++;
        bool known = f->name && f->id == id;
        if (known && wire == WEIR_WIRE_VARINT) {
            p = weirp_uvarint(p, limit, &v);
            int64_t i = (int64_t)(v >> 1 ^ (0 - (v & 1)));
            if (!p || p > end) return false;
            if (weirp_is_i64(f->type)) *(int64_t *)(void *)((unsigned char *)out + f->offset) = i;
            else if (!weirp_store_int(f, (unsigned char *)out + f->offset, i)) return false;
        } else {
            weir_bytes at = weirp_span(p, (uint32_t)(end - p));
            if (!(known ? weirp_decode_field(f, (unsigned char *)out + f->offset, wire, &at) : weir_take_skip(&at, wire))) return false;
            p = (const unsigned char *)at.p;
        }
        if (known && f->nullable) *((bool *)out + f->present_offset) = true;
    }
    return true;
}

bool weir_row_decode(const weir_field *fields, void *out, weir_bytes row) {
    return weirp_read_row(fields, out, row, (const unsigned char *)row.p + row.n);
}

/* By type. A table, because a switch in the middle of the hot loop costs more than all the rest of it. */
static const uint8_t weirp_wires[16] = {
    0, WEIR_WIRE_VARINT, WEIR_WIRE_VARINT, WEIR_WIRE_VARINT, WEIR_WIRE_VARINT, WEIR_WIRE_VARINT, WEIR_WIRE_FIXED32, WEIR_WIRE_FIXED64,
    WEIR_WIRE_DECIMAL, WEIR_WIRE_BYTES, WEIR_WIRE_BYTES, WEIR_WIRE_VARINT, WEIR_WIRE_VARINT, WEIR_WIRE_BYTES, WEIR_WIRE_BYTES, WEIR_WIRE_BYTES};
static inline uint32_t weirp_wire(uint32_t type) { return weirp_wires[type & 15]; }

static WEIRP_APART int64_t weirp_load_int(uint32_t type, const unsigned char *p) {
    switch (type) {
    case WEIR_BOOL: return *(const bool *)p;
    case WEIR_INT8: return *(const int8_t *)p;
    case WEIR_INT16: return *(const int16_t *)(const void *)p;
    case WEIR_INT32:
    case WEIR_DATE32: return *(const int32_t *)(const void *)p;
    default: return *(const int64_t *)(const void *)p;
    }
}

/* Upper bound of a row without its texts, which `texts` counts. */
static uint32_t weirp_row_bound(const weir_field *fields, bool *variable) {
    uint32_t n = 0;
    for (const weir_field *f = fields; f->name; f++) {
        uint32_t wire = weirp_wire(f->type);
        if (wire == WEIR_WIRE_BYTES) *variable = true;
        n += 3 + (wire == WEIR_WIRE_DECIMAL ? 18 : 10);
    }
    return n;
}

static uint64_t weirp_row_texts(const weir_field *fields, const unsigned char *in) {
    uint64_t n = 0;
    for (const weir_field *f = fields; f->name; f++)
        if ((f->type == WEIR_UTF8 || f->type == WEIR_BINARY) && !(f->nullable && !*((const bool *)(const void *)in + f->present_offset)))
            n += ((const weir_bytes *)(const void *)(in + f->offset))->n;
    return n;
}

/* `p` has room for ten bytes. */
static inline unsigned char *weirp_write_uvarint(unsigned char *p, uint64_t v) {
    if (v >= 0x80 && v >> 56 == 0) { /* spread over eight bytes, all stored, as many kept as there are */
        uint32_t n = (70u - (uint32_t)__builtin_clzll(v)) / 7;
        v = (v & UINT64_C(0x0fffffff)) | (v & UINT64_C(0x00fffffff0000000)) << 4;
        v = (v & UINT64_C(0x00003fff00003fff)) | (v & UINT64_C(0x0fffc0000fffc000)) << 2;
        v = (v & UINT64_C(0x007f007f007f007f)) | (v & UINT64_C(0x3f803f803f803f80)) << 1;
        v |= UINT64_C(0x8080808080808080) & ((UINT64_C(1) << (8 * (n - 1))) - 1);
        __builtin_memcpy(p, &v, 8);
        return p + n;
    }
    while (v >= 0x80) {
        *p++ = (unsigned char)(v | 0x80);
        v >>= 7;
    }
    *p++ = (unsigned char)v;
    return p;
}

/* `w` has room for the bound of the row and its texts. */
static unsigned char *weirp_write_row(const weir_field *fields, const unsigned char *in, unsigned char *w) {
    for (const weir_field *f = fields; f->name; f++) {
        const unsigned char *p = in + f->offset;
        if (f->nullable && !*(const bool *)(in + f->present_offset)) continue;
        uint32_t wire = weirp_wire(f->type);
        w = weirp_write_uvarint(w, (uint64_t)f->id << 3 | wire);
        if (wire == WEIR_WIRE_VARINT) {
            int64_t v = weirp_is_i64(f->type) ? *(const int64_t *)(const void *)p : weirp_load_int(f->type, p);
            w = weirp_write_uvarint(w, (uint64_t)v << 1 ^ (uint64_t)(v >> 63));
            continue;
        }
        switch (wire) {
        case WEIR_WIRE_FIXED64:
            __builtin_memcpy(w, p, 8);
            w += 8;
            break;
        case WEIR_WIRE_FIXED32:
            __builtin_memcpy(w, p, 4);
            w += 4;
            break;
        case WEIR_WIRE_DECIMAL:
            w = weirp_write_uvarint(w, f->scale);
            __builtin_memcpy(w, p, 16);
            w += 16;
            break;
        default: {
            const weir_bytes *b = (const weir_bytes *)(const void *)p;
            w = weirp_write_uvarint(w, b->n);
            weirp_copy(w, b->p, b->n);
            w += b->n;
        }
        }
    }
    return w;
}

void weir_row_encode(const weir_field *fields, const void *in, weir_buf *to) {
    bool variable = false;
    uint64_t bound = weirp_row_bound(fields, &variable);
    if (variable) bound += weirp_row_texts(fields, (const unsigned char *)in);
    if (!weirp_reserve(to, to->n + bound)) return;
    to->n = (uint32_t)(weirp_write_row(fields, (const unsigned char *)in, to->p + to->n) - to->p);
}

/* ---- Schemas ---- */

typedef struct weirp_parse {
    const char *at;
    weir_col *nodes; /* NULL: only count */
    uint32_t count;
    const char *error;
} weirp_parse;

static bool weirp_name_start(char ch) {
    return (ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z') || ch == '_' || ch == '.' || ch == '-' || ch == '$';
}
static bool weirp_name_char(char ch) { return weirp_name_start(ch) || (ch >= '0' && ch <= '9'); }

static WEIRP_APART bool weirp_word(weirp_parse *s, const char *word) {
    uint32_t n = weirp_length(word);
    for (uint32_t i = 0; i < n; i++)
        if (s->at[i] != word[i]) return false;
    if (weirp_name_char(s->at[n])) return false;
    s->at += n;
    return true;
}

static WEIRP_APART bool weirp_char(weirp_parse *s, char ch, const char *otherwise) {
    if (*s->at == ch) {
        s->at++;
        return true;
    }
    s->error = otherwise;
    return false;
}

static uint32_t weirp_digits(weirp_parse *s) {
    uint32_t v = 0, n = 0;
    const char *from = s->at;
    while (*s->at >= '0' && *s->at <= '9' && n < 3) {
        v = v * 10 + (uint32_t)(*s->at++ - '0');
        n++;
    }
    if (!n || (n > 1 && *from == '0')) s->error = "a number without leading zeros expected";
    return v;
}

static bool weirp_parse_type(weirp_parse *s, uint32_t level, const char *name, uint32_t name_len);

static bool weirp_parse_field(weirp_parse *s, uint32_t level) {
    const char *name = s->at;
    uint32_t n = 0;
    if (*s->at == '`') { /* the name keeps its backquotes: nothing here compares such names */
        s->at++;
        while (*s->at && (*s->at != '`' || s->at[1] == '`')) s->at += *s->at == '`' ? 2 : 1;
        if (!weirp_char(s, '`', "a closing ` expected")) return false;
        n = (uint32_t)(s->at - name) - 2;
    } else {
        if (!weirp_name_start(*s->at)) {
            s->error = "a column name expected";
            return false;
        }
        while (weirp_name_char(*s->at)) s->at++;
        n = (uint32_t)(s->at - name);
    }
    if (n < 1 || n > WEIR_MAX_FIELD_NAME_BYTES) {
        s->error = "a column name has 1 to 255 bytes";
        return false;
    }
    return weirp_char(s, ':', "\":\" and a type expected after the column name") && weirp_parse_type(s, level, name, (uint32_t)(s->at - 1 - name));
}

static bool weirp_parse_fields(weirp_parse *s, uint32_t level) {
    do {
        if (!weirp_parse_field(s, level)) return false;
    } while (*s->at == ',' && s->at++);
    return true;
}

static WEIRP_APART bool weirp_parse_type(weirp_parse *s, uint32_t level, const char *name, uint32_t name_len) {
    static const struct { const char *word; uint8_t type, width; } types[] = {
        {"bool", WEIR_BOOL, 0}, {"int8", WEIR_INT8, 1}, {"int16", WEIR_INT16, 2}, {"int32", WEIR_INT32, 4},
        {"int64", WEIR_INT64, 8}, {"float32", WEIR_FLOAT32, 4}, {"float64", WEIR_FLOAT64, 8}, {"utf8", WEIR_UTF8, 4},
        {"binary", WEIR_BINARY, 4}, {"date32", WEIR_DATE32, 4}, {"timestamp", WEIR_TIMESTAMP, 8}, {"decimal", WEIR_DECIMAL, 16},
        {"list", WEIR_LIST, 4}, {"struct", WEIR_STRUCT, 0}, {"map", WEIR_MAP, 4},
    };
    if (level >= WEIR_MAX_LEVELS) {
        s->error = "more than 16 levels";
        return false;
    }
    if (s->count >= WEIR_MAX_FIELDS) {
        s->error = "more than 1024 columns, all levels together";
        return false;
    }
    uint32_t index = s->count++, k = 0;
    weir_col node;
    __builtin_memset(&node, 0, sizeof node);
    while (k < sizeof types / sizeof *types && !weirp_word(s, types[k].word)) k++;
    if (k == sizeof types / sizeof *types) {
        s->error = "a type expected: bool, int8, int16, int32, int64, float32, float64, decimal(p,s), utf8, binary, date32, timestamp, list, struct, map";
        return false;
    }
    node.type = types[k].type;
    node.width = types[k].width;
    node.level = (uint8_t)level;
    node.name = name;
    node.name_len = (uint16_t)name_len;
    switch (node.type) {
    case WEIR_DECIMAL: {
        if (!weirp_char(s, '(', "(precision,scale) expected")) return false;
        uint32_t precision = weirp_digits(s);
        if (s->error || !weirp_char(s, ',', "a scale expected")) return false;
        uint32_t scale = weirp_digits(s);
        if (s->error || !weirp_char(s, ')', "\")\" expected")) return false;
        if (precision < 1 || precision > 38 || scale > precision) {
            s->error = "precision is 1 to 38, and scale no more";
            return false;
        }
        node.precision = (uint8_t)precision;
        node.scale = (uint8_t)scale;
        break;
    }
    case WEIR_LIST:
        if (!weirp_char(s, '<', "\"<\" expected") || !weirp_parse_type(s, level + 1, "", 0) || !weirp_char(s, '>', "\">\" expected")) return false;
        break;
    case WEIR_STRUCT:
        if (!weirp_char(s, '<', "\"<\" expected") || !weirp_parse_fields(s, level + 1) || !weirp_char(s, '>', "\">\" expected")) return false;
        break;
    case WEIR_MAP: {
        uint32_t entry = s->count++;
        if (entry >= WEIR_MAX_FIELDS) {
            s->error = "more than 1024 columns, all levels together";
            return false;
        }
        if (s->nodes) {
            __builtin_memset(&s->nodes[entry], 0, sizeof node);
            s->nodes[entry].type = WEIR_STRUCT;
            s->nodes[entry].level = (uint8_t)(level + 1);
            s->nodes[entry].name = "";
        }
        const char *key;
        if (!weirp_char(s, '<', "\"<\" expected")) return false;
        key = s->at;
        if (!weirp_parse_type(s, level + 2, "key", 3)) return false;
        if (s->at[-1] == '?' && s->at > key) {
            s->error = "a map's key is not nullable";
            return false;
        }
        if (!weirp_char(s, ',', "a value type expected") || !weirp_parse_type(s, level + 2, "value", 5) || !weirp_char(s, '>', "\">\" expected")) return false;
        if (s->nodes) s->nodes[entry].span = (uint16_t)(s->count - entry);
        break;
    }
    default: break;
    }
    if (*s->at == '?') {
        s->at++;
        node.nullable = true;
    }
    node.span = (uint16_t)(s->count - index);
    if (s->nodes) s->nodes[index] = node;
    return true;
}

/* NULL, or what is wrong with the text. */
static WEIRP_APART const char *weirp_schema(weirp_table *t, const char *text) {
    weirp_parse s = {text, NULL, 0, NULL};
    if (!weirp_parse_fields(&s, 0)) return s.error;
    if (*s.at) return "\",\" or the end expected";
    t->count = s.count;
    t->nodes = (weir_col *)weirp_new(s.count * (uint32_t)sizeof(weir_col));
    t->top = (uint16_t *)weirp_new(s.count * 2);
    if (!t->nodes || !t->top) return "out of memory";
    weirp_parse again = {text, t->nodes, 0, NULL};
    weirp_parse_fields(&again, 0);
    for (uint32_t i = 0; i < t->count; i += t->nodes[i].span) t->top[t->columns++] = (uint16_t)i;
    for (uint32_t i = 0; i < t->columns; i++)
        for (uint32_t j = 0; j < i; j++) {
            const weir_col *a = &t->nodes[t->top[i]], *b = &t->nodes[t->top[j]];
            weir_bytes an = {a->name, a->name_len}, bn = {b->name, b->name_len};
            if (weir_eq(an, bn)) return "two columns have the same name";
        }
    return NULL;
}

static WEIRP_APART void weirp_table_free(weirp_table *t) {
    weirp_free(t->nodes, t->count * (uint32_t)sizeof(weir_col));
    weirp_free(t->top, t->count * 2);
    __builtin_memset(t, 0, sizeof *t);
}

/* ---- Column blocks ---- */

/* The node's buffer, or weirp_zero for an empty one; NULL if it leaves the block. */
static WEIRP_APART const unsigned char *weirp_buffer(const unsigned char *p, uint32_t size, uint32_t head, uint32_t offset, uint64_t n) {
    if (!n) return weirp_zero;
    if (offset & 7 || offset < head || offset > size || n > size - offset) return NULL;
    return p + offset;
}

/* NULL, or what is wrong with the block. `rows` is what the frame says; UINT32_MAX takes any. */
static WEIRP_APART const char *weirp_block(weirp_table *t, const unsigned char *p, uint32_t n, uint32_t rows) {
    t->rows = 0;
    if (n < 16) return "a block shorter than its header";
    uint32_t size = weirp_u32(p + 8), head = 16 + 24 * t->count;
    if (weirp_u32(p + 4) != t->count) return "a block whose columns are not the declared ones";
    if (size & 7 || size > n || size < head) return "a block with a wrong size";
    if (rows != UINT32_MAX && weirp_u32(p) != rows) return "a block with a wrong number of rows";
    uint32_t due[WEIR_MAX_LEVELS + 3]; /* length that a child at this level must have */
    rows = weirp_u32(p);
    due[0] = rows;
    for (uint32_t i = 0; i < t->count; i++) {
        const unsigned char *d = p + 16 + 24 * (size_t)i;
        weir_col *k = &t->nodes[i];
        k->length = weirp_u32(d);
        k->bytes_size = 0;
        k->bytes = k->values = weirp_zero;
        if (k->length != due[k->level]) return "a column with a wrong length";
        k->validity = NULL;
        if (weirp_u32(d + 4)) {
            if (!k->nullable) return "nulls in a column that has none";
            k->validity = weirp_buffer(p, size, head, weirp_u32(d + 4), ((uint64_t)k->length + 7) / 8);
            if (!k->validity) return "a validity buffer outside its block";
            if (k->validity == weirp_zero) k->validity = NULL;
        }
        uint64_t bytes = (uint64_t)k->length * k->width;
        bool offsets = k->type == WEIR_UTF8 || k->type == WEIR_BINARY || k->type == WEIR_LIST || k->type == WEIR_MAP;
        if (k->type == WEIR_BOOL) bytes = ((uint64_t)k->length + 7) / 8;
        if (offsets) bytes = k->length ? ((uint64_t)k->length + 1) * 4 : 0;
        k->values = weirp_buffer(p, size, head, weirp_u32(d + 8), bytes);
        if (!k->values) return "a values buffer outside its block";
        uint32_t last = offsets && k->length ? weirp_u32(k->values + (size_t)k->length * 4) : 0;
        if (offsets && k->length && weirp_u32(k->values)) return "offsets that do not begin at 0";
        if (k->type == WEIR_UTF8 || k->type == WEIR_BINARY) {
            k->bytes_size = weirp_u32(d + 16);
            if (last != k->bytes_size) return "offsets that do not end with the bytes";
            k->bytes = weirp_buffer(p, size, head, weirp_u32(d + 12), k->bytes_size);
            if (!k->bytes) return "bytes outside their block";
        }
        due[k->level + 1] = k->type == WEIR_STRUCT ? k->length : last;
    }
    t->rows = rows;
    return NULL;
}

const weir_col *weir_child(const weir_col *k, uint32_t n) {
    const weir_col *end = k + k->span;
    for (k++; k < end; k += k->span)
        if (!n--) return k;
    return NULL;
}

bool weir_range(const weir_col *k, uint32_t i, uint32_t *from, uint32_t *to) {
    *from = *to = 0;
    if ((k->type != WEIR_LIST && k->type != WEIR_MAP) || i >= k->length || !weirp_valid(k, i)) return false;
    uint32_t a = weirp_u32(k->values + (size_t)i * 4), b = weirp_u32(k->values + (size_t)i * 4 + 4);
    if (a > b || b > k[1].length) return false;
    *from = a;
    *to = b;
    return true;
}

int64_t weirp_integer(weir_ctx *c, const weirp_table *t, uint32_t col, uint32_t i) {
    const uint32_t mask = WEIRP_IS(WEIR_INT8) | WEIRP_IS(WEIR_INT16) | WEIRP_IS(WEIR_INT32) | WEIRP_IS(WEIR_INT64) | WEIRP_IS(WEIR_DATE32) | WEIRP_IS(WEIR_TIMESTAMP);
    const unsigned char *p = weirp_cell(c, t, col, i, mask);
    return p == weirp_zero ? 0 : weirp_load_int(t->nodes[t->top[col]].type, p);
}

bool weirp_bit(weir_ctx *c, const weirp_table *t, uint32_t col, uint32_t i) {
    const unsigned char *p = weirp_cell(c, t, col, i, WEIRP_IS(WEIR_BOOL)); /* width 0: the column's first byte */
    return p[p == weirp_zero ? 0 : i >> 3] >> (i & 7) & 1;
}

const void *weirp_column(weir_ctx *c, uint32_t col, uint32_t mask) {
    if (col < c->in->columns && WEIRP_IS(c->in->nodes[c->in->top[col]].type) & mask) return c->in->nodes[c->in->top[col]].values;
    weirp_misread(c, c->in, col, mask);
    return NULL;
}

/* ---- Failures ---- */

WEIRP_APART void weir_fail_bytes(weir_ctx *c, weir_bytes text) {
    if (c->failed) return;
    c->failed = c->attention = true;
    uint32_t n = text.n < WEIR_MAX_TEXT_BYTES ? text.n : WEIR_MAX_TEXT_BYTES;
    while (n && n < text.n && (text.p[n] & 0xc0) == 0x80) n--; /* no half characters */
    if (n) __builtin_memcpy(c->text, text.p, n);
    c->text_n = n;
}

WEIRP_APART void weir_fail(weir_ctx *c, const char *text) { weir_fail_bytes(c, weir_text(text)); }

static WEIRP_APART void weirp_fail_code(weir_ctx *c, uint32_t code, const char *a, const char *b, const char *d) {
    if (c->failed) return;
    weir_buf t = {NULL, 0, 0, false};
    weir_put_text(&t, a);
    weir_put_text(&t, b);
    weir_put_text(&t, d);
    weir_fail_bytes(c, weir_buf_bytes(&t));
    c->code = code;
    weir_buf_free(&t);
}

WEIRP_APART void weirp_bad_frame(weir_ctx *c, const char *what) { weirp_fail_code(c, WEIR_CODE_USER, "cannot read the call: ", what, ""); }

static WEIRP_APART void weirp_misuse(weir_ctx *c, const char *does, uint32_t index, const char *why) {
    if (c->failed) return;
    weir_buf t = {NULL, 0, 0, false};
    weir_put_text(&t, "function ");
    weir_put_text(&t, c->fn->name);
    weir_put_text(&t, " ");
    weir_put_text(&t, does);
    weir_put_text(&t, " ");
    weirp_put_number(&t, index);
    weir_put_text(&t, why);
    weir_fail_bytes(c, weir_buf_bytes(&t));
    weir_buf_free(&t);
}

WEIRP_APART void weirp_misread(weir_ctx *c, const weirp_table *t, uint32_t col, uint32_t mask) {
    (void)mask;
    if (col < t->columns && t->rows) weirp_misuse(c, "reads column", col, " as a type it does not have");
    else if (!t->columns) weirp_misuse(c, "reads column", col, ", but there are no columns here: a firing has no row, and only a keyed function has a key");
    else weirp_misuse(c, "reads column", col, ", which is not there");
}

WEIRP_APART void weirp_miswrite(weirp_out *o, uint32_t col, uint32_t mask) {
    (void)mask;
    weirp_misuse(o->c, "sets column", col, col < o->columns ? " of an output as a type it does not have" : " of an output, which has not so many");
}

/* ---- Causes ---- */

uint64_t weir_random(weir_ctx *c) { /* SplitMix64 */
    uint64_t z = (c->random += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

/* A list of causes stands for firings, or for rows in another order than theirs. */
static WEIRP_APART bool weirp_listed_cause(weir_ctx *c) {
    const unsigned char *p = c->cause_list + (size_t)c->cause * WEIR_CAUSE_SIZE;
    uint32_t number = weirp_u16(p + 2);
    c->kind = p[0];
    c->slot = c->keyed ? weirp_u32(p + 4) : WEIR_NO_SLOT;
    c->row = weirp_u32(p + 8);
    c->time = (int64_t)weirp_u64(p + 16);
    switch (c->kind) {
    case WEIR_CAUSE_ROW:
        if (c->row >= c->rows || number != c->input) {
            weirp_bad_frame(c, "a cause names a row that is not there");
            return false;
        }
        if (c->slot_of) c->slot = c->slot_of[c->row];
        break;
    case WEIR_CAUSE_EVENT_TIMER:
    case WEIR_CAUSE_PROCESSING_TIMER:
        if (number >= c->timers || (c->fn->timers[number].kind == WEIR_EVENT_TIME) != (c->kind == WEIR_CAUSE_EVENT_TIMER)) {
            weirp_bad_frame(c, "a firing names a timer that is not there");
            return false;
        }
        c->timer = number;
        break;
    case WEIR_CAUSE_END:
        if (number >= c->inputs) {
            weirp_bad_frame(c, "an end names an input that is not there");
            return false;
        }
        c->input = number;
        if (c->slot >= c->slots) c->slot = WEIR_NO_SLOT; /* an end belongs to no key */
        return true;
    default: weirp_bad_frame(c, "a cause of a kind this guest does not know: upgrade the guest"); return false;
    }
    if (c->keyed && c->slot >= c->slots) {
        weirp_bad_frame(c, "a cause names a slot that is not there");
        return false;
    }
    return true;
}

bool weirp_advance(weir_ctx *c) {
    if (c->done) return false;
    if (c->active) c->consumed = c->cause + 1;
    if (c->consumed >= c->causes) {
        c->active = false;
        c->done = true;
        return false;
    }
    uint32_t i = c->consumed;
    weirp_progress = i;
    c->cause = c->first = i;
    c->active = true;
    c->used_before = c->used;
    if (!c->cause_list) {
        c->row = i;
        c->time = c->times ? c->times[i] : WEIR_NO_TIME;
        if (!c->keyed) return true;
        c->slot = c->slot_of[i];
        if (c->slot < c->slots) return true;
        weirp_bad_frame(c, "a row names a slot that is not there");
    } else if (weirp_listed_cause(c)) {
        return true;
    }
    return weirp_finish_cause(c);
}

static void weirp_out_cut(weirp_out *o, uint32_t rows);

static void weirp_rollback(weir_ctx *c) {
    for (uint32_t i = 0; i < c->outputs; i++) {
        weirp_out *o = &c->outs[i];
        uint32_t rows = o->rows;
        while (rows && o->causes[rows - 1] >= c->first) rows--;
        weirp_out_cut(o, rows);
    }
    for (uint32_t i = 0; i < c->states; i++) {
        weirp_held *h = &c->held[i];
        if (h->edited != c->cause) continue;
        h->edited = UINT32_MAX;
        h->slots[c->slot] = h->undo_slot;
        weirp_copy(h->values + (size_t)c->slot * h->stride, h->undo, h->stride);
        if (h->touches && h->touched[2 * h->touches - 2] == c->cause) h->touches--;
    }
    while (c->timer_count && c->timer_ops[c->timer_count - 1].cause == c->cause) c->timer_count--;
    c->used = c->used_before;
}

static uint64_t weirp_value_texts(const weirp_held *h, uint32_t slot) {
    const unsigned char *p = h->values + (size_t)slot * h->stride;
    return h->decl->fields ? weirp_row_texts(h->decl->fields, p) : ((const weir_bytes *)(const void *)p)->n;
}

/* Counts the texts of what this cause wrote, and refuses a value over its limit. */
static void weirp_settle(weir_ctx *c) {
    for (uint32_t i = 0; i < c->states; i++) {
        weirp_held *h = &c->held[i];
        if (!h->variable || h->edited != c->cause) continue;
        weirp_slot *s = &h->slots[c->slot];
        uint64_t n = s->flags & WEIRP_PRESENT ? weirp_value_texts(h, c->slot) : 0;
        if (n > h->max_bytes || n + h->bound > h->max_bytes) {
            weir_buf exact = {NULL, 0, 0, false};
            if (n <= h->max_bytes && h->decl->fields) weir_row_encode(h->decl->fields, h->values + (size_t)c->slot * h->stride, &exact);
            bool over = n > h->max_bytes || exact.n > h->max_bytes;
            weir_buf_free(&exact);
            if (over) {
                weirp_fail_code(c, WEIR_CODE_STATE_SIZE, "the value of state ", h->decl->name,
                                " is longer than its max_bytes: raise it, or use a hosted map or list");
                return;
            }
        }
        uint64_t used = c->used - s->stored + n;
        c->used = used > UINT32_MAX ? UINT32_MAX : (uint32_t)used;
        s->stored = (uint32_t)n;
    }
}

/* Looks at the cause that has just run; false ends the call. */
WEIRP_APART bool weirp_finish_cause(weir_ctx *c) {
    c->attention = false;
    if (!c->failed && !c->overflow) weirp_settle(c);
    if (!c->failed && !c->overflow && c->used <= c->max_output) return true;
    weirp_rollback(c);
    c->active = false;
    c->done = true;
    c->consumed = c->first;
    if (!c->failed && c->first > 0) {
        c->status = WEIR_STATUS_MORE;
        return false;
    }
    if (!c->failed) weir_fail(c, "the effects of this one cause pass the cap of the call's effects: emit less for one row, or raise the limit");
    c->status = WEIR_STATUS_FAILED;
    return false;
}

/* ---- Outputs ---- */

static bool weirp_buf_room(weir_buf *b, uint32_t keep, uint64_t cap) {
    b->n = keep;
    if (!weirp_reserve(b, cap)) return false;
    __builtin_memset(b->p + keep, 0, b->cap - keep);
    return true;
}

static WEIRP_APART bool weirp_out_grow(weirp_out *o, uint64_t rows) {
    if (rows <= o->cap) return true;
    uint64_t cap = o->cap ? o->cap : WEIRP_ROWS_PAGE;
    while (cap < rows) cap *= 2;
    if (cap > 0x3fffff8) return false;
    uint32_t have = o->rows;
    for (uint32_t i = 0; i < o->columns; i++) {
        weirp_ocol *k = &o->cols[i];
        bool var = k->text, bits = k->type == WEIR_BOOL;
        uint32_t keep = bits ? (have + 7) / 8 : var ? (have + 1) * 4 : have * k->width;
        if (!weirp_buf_room(&k->values, o->cap ? keep : 0, bits ? cap / 8 : var ? (cap + 1) * 4 : cap * k->width)) return false;
        if (k->nullable && !weirp_buf_room(&k->validity, (have + 7) / 8, cap / 8)) return false;
    }
    weir_buf b[3] = {{(unsigned char *)o->causes, have * 4, o->cap * 4, false},
                     {(unsigned char *)o->times, have * 8, o->cap * 8, false},
                     {(unsigned char *)o->kinds, have, o->cap, false}};
    bool ok = weirp_reserve(&b[0], cap * 4);
    o->causes = (uint32_t *)(void *)b[0].p;
    ok = ok && weirp_reserve(&b[1], cap * 8);
    o->times = (int64_t *)(void *)b[1].p;
    ok = ok && weirp_reserve(&b[2], cap);
    o->kinds = b[2].p;
    if (ok) o->cap = (uint32_t)cap;
    return ok;
}

weir_row weirp_emit_slowly(weir_ctx *c, uint32_t output) {
    weir_row r = {NULL, 0};
    if (output >= c->outputs) {
        weirp_misuse(c, "emits to output", output, ", which is not there");
        return r;
    }
    weirp_out *o = &c->outs[output];
    if (!c->active || c->used + o->row_size > c->max_output || c->overflow) {
        c->overflow = c->attention = true;
        return r;
    }
    if (weirp_out_grow(o, (uint64_t)o->rows + 1)) return weir_emit(c, output);
    weir_fail(c, "out of memory: emit less for one row, or raise the limit of the guest's memory");
    return r;
}

/* Columns are zero past the last row, so that an emit need not clear; taking rows back clears them. */
static WEIRP_APART void weirp_out_cut(weirp_out *o, uint32_t rows) {
    for (uint32_t i = 0; i < o->columns; i++) {
        weirp_ocol *k = &o->cols[i];
        for (uint32_t bits = k->nullable + (k->type == WEIR_BOOL); bits; bits--) {
            unsigned char *p = bits == 1 && k->nullable ? k->validity.p : k->values.p;
            uint32_t whole = (rows + 7) / 8, end = (o->rows + 7) / 8;
            if (o->rows && rows & 7) p[rows / 8] &= (unsigned char)((1u << (rows & 7)) - 1);
            if (end > whole) __builtin_memset(p + whole, 0, end - whole);
        }
        if (k->text) k->bytes.n = rows ? ((const uint32_t *)(const void *)k->values.p)[rows] : 0;
        else if (k->width && o->rows > rows) __builtin_memset(k->values.p + (size_t)rows * k->width, 0, (size_t)(o->rows - rows) * k->width);
    }
    o->rows = rows;
}

void weir_set_bool(weir_row r, uint32_t col, bool v) {
    weirp_ocol *k = weirp_ocell(r, col, WEIRP_IS(WEIR_BOOL));
    if (!k) return;
    unsigned char bit = (unsigned char)(1u << (r.i & 7)), *p = &k->values.p[r.i >> 3];
    *p = (unsigned char)(v ? *p | bit : *p & ~bit);
}

void weir_set_str(weir_row r, uint32_t col, weir_bytes v) {
    weirp_ocol *k = weirp_ocell(r, col, WEIRP_IS(WEIR_UTF8) | WEIRP_IS(WEIR_BINARY));
    if (!k) return;
    weir_ctx *c = r.o->c;
    uint32_t *offsets = (uint32_t *)(void *)k->values.p;
    if (r.i + 1 != r.o->rows) {
        weir_fail(c, "a text is set in a row that is not the output's last one: set texts before the next weir_emit");
        return;
    }
    c->used -= k->bytes.n - offsets[r.i];
    k->bytes.n = offsets[r.i];
    offsets[r.i + 1] = k->bytes.n;
    if (c->used > c->max_output || v.n > c->max_output - c->used) {
        c->overflow = c->attention = true;
        return;
    }
    c->used += v.n;
    weir_put(&k->bytes, v.p, v.n);
    if (k->bytes.failed) {
        k->bytes.failed = false;
        c->used -= v.n;
        weir_fail(c, "out of memory: emit less for one row, or raise the limit of the guest's memory");
        return;
    }
    offsets[r.i + 1] = k->bytes.n;
}

void weir_set_null(weir_row r, uint32_t col) {
    if (!r.o) return;
    if (col >= r.o->columns || !r.o->cols[col].nullable) {
        weirp_misuse(r.o->c, "sets to null column", col, ", which is not nullable: write ? after its type");
        return;
    }
    weirp_ocol *k = &r.o->cols[col];
    unsigned char bit = (unsigned char)(1u << (r.i & 7));
    weir_bytes none = {"", 0};
    weir_dec128 zero = {0, 0};
    switch (k->type) { /* the value under a null is zero */
    case WEIR_BOOL: weir_set_bool(r, col, false); break;
    case WEIR_UTF8:
    case WEIR_BINARY: weir_set_str(r, col, none); break;
    case WEIR_DECIMAL: weir_set_decimal(r, col, zero); break;
    default: __builtin_memset(k->values.p + (size_t)r.i * k->width, 0, k->width);
    }
    k->validity.p[r.i >> 3] &= (unsigned char)~bit;
}

static int64_t weirp_time_of(const weir_ctx *c, uint32_t cause) {
    if (c->cause_list) return (int64_t)weirp_u64(c->cause_list + (size_t)cause * WEIR_CAUSE_SIZE + 16);
    return c->times ? c->times[cause] : WEIR_NO_TIME;
}

void weir_set_time(weir_row r, int64_t time) {
    if (!r.o) return;
    if (!r.o->has_times) {
        for (uint32_t i = 0; i < r.o->rows; i++) r.o->times[i] = weirp_time_of(r.o->c, r.o->causes[i]);
        r.o->has_times = true;
    }
    r.o->times[r.i] = time;
}

void weir_set_kind(weir_row r, uint32_t kind) {
    if (!r.o) return;
    if (!r.o->has_kinds) {
        __builtin_memset(r.o->kinds, 0, r.o->rows);
        r.o->has_kinds = true;
    }
    r.o->kinds[r.i] = (uint8_t)kind;
}

uint32_t weir_bulk(weir_ctx *c, uint32_t output) {
    if (output >= c->outputs || c->cause_list) {
        weirp_misuse(c, "takes rows in bulk for output", output, ": there is no such output, or these are no rows");
        return 0;
    }
    if (!weir_next(c)) return 0;
    weirp_out *o = &c->outs[output];
    uint32_t n = c->causes - c->cause, room = c->used < c->max_output ? (c->max_output - c->used) / o->row_size : 0;
    if (n > room) n = room;
    if (!n) {
        c->overflow = c->attention = true;
        weirp_finish_cause(c);
        return 0;
    }
    if (!weirp_out_grow(o, (uint64_t)o->rows + n)) {
        weir_fail(c, "out of memory: raise the limit of the guest's memory");
        weirp_finish_cause(c);
        return 0;
    }
    uint32_t at = o->rows;
    for (uint32_t i = 0; i < n; i++) o->causes[at + i] = c->cause + i;
    for (uint32_t i = 0; o->has_times && i < n; i++) o->times[at + i] = weirp_time_of(c, c->cause + i);
    if (o->has_kinds) __builtin_memset(o->kinds + at, 0, n);
    for (uint32_t m = 0; m < o->columns; m++) {
        weirp_ocol *k = &o->cols[m];
        for (uint32_t i = at; k->nullable && i < at + n; i++) k->validity.p[i >> 3] |= (unsigned char)(1u << (i & 7));
        for (uint32_t i = at; k->text && i < at + n; i++) ((uint32_t *)(void *)k->values.p)[i + 1] = k->bytes.n;
    }
    o->rows += n;
    c->used += n * o->row_size;
    c->row = c->cause;
    c->cause += n - 1; /* weir_next goes on behind the last; a failure takes back all from c->first */
    return n;
}

void *weirp_out_column(weir_ctx *c, uint32_t output, uint32_t col, uint32_t mask) {
    if (output >= c->outputs) return NULL;
    weirp_out *o = &c->outs[output];
    uint32_t at = o->rows - (c->cause - c->first + 1); /* a bulk's rows are the last ones */
    if (!c->active || at > o->rows) return NULL;
    if (col >= o->columns || !(WEIRP_IS(o->cols[col].type) & mask)) {
        weirp_miswrite(o, col, mask);
        return NULL;
    }
    return o->cols[col].values.p + (size_t)at * o->cols[col].width;
}

/* ---- Framed state ---- */

static weirp_held *weirp_state_of(weir_ctx *c, uint32_t state, bool hosted) {
    if (state >= c->states || c->held[state].hosted != hosted || c->slot >= c->slots) {
        weirp_misuse(c, "uses state", state, hosted ? ", which is not a hosted one of a key" : ", which is not a framed one of a key");
        return NULL;
    }
    return &c->held[state];
}

static WEIRP_APART bool weirp_load(weir_ctx *c, weirp_held *h) {
    weirp_slot *s = &h->slots[c->slot];
    unsigned char *value = h->values + (size_t)c->slot * h->stride;
    weirp_clear_words(value, h->stride);
    s->flags = WEIRP_LOADED;
    if (!weirp_valid(&h->frame.nodes[0], c->slot)) return true;
    weir_bytes stored = weirp_var(c, &h->frame, 0, c->slot);
    s->flags |= WEIRP_PRESENT;
    if (!h->decl->fields) {
        *(weir_bytes *)(void *)value = stored;
        return true;
    }
    if (weirp_read_row(h->decl->fields, value, stored, h->frame.nodes[0].bytes + h->frame.nodes[0].bytes_size)) return true;
    weirp_clear_words(value, h->stride);
    weirp_fail_code(c, WEIR_CODE_STATE_DECODE, "cannot decode state ", h->decl->name,
                    ": it was stored with another shape; give changed fields new ids");
    return false;
}

const void *weirp_get(weir_ctx *c, uint32_t state) {
    weirp_held *h = weirp_state_of(c, state, false);
    if (!h) return NULL;
    weirp_slot *s = &h->slots[c->slot];
    if (!(s->flags & WEIRP_LOADED) && !weirp_load(c, h)) return NULL;
    return s->flags & WEIRP_PRESENT ? h->values + (size_t)c->slot * h->stride : NULL;
}

/* What the short way does not do: reading the value, growing, refusing. */
WEIRP_APART void *weirp_edit_slowly(weir_ctx *c, uint32_t state, uint32_t size) {
    weirp_held *h = weirp_state_of(c, state, false);
    if (h && h->size != size) weirp_misuse(c, "edits as another struct than the declared one state", state, "");
    else if (h && !c->active) weir_fail(c, "state is written outside a cause");
    else if (h && ((h->slots[c->slot].flags & WEIRP_LOADED) || weirp_load(c, h))) {
        weir_buf b = {(unsigned char *)h->touched, h->touches * 8, h->touched_cap * 8, false};
        if (h->touches < h->touched_cap || weirp_reserve(&b, h->touched_cap ? (uint64_t)h->touched_cap * 16 : 4096)) {
            h->touched = (uint32_t *)(void *)b.p;
            h->touched_cap = b.cap / 8;
            return weirp_edit(c, state, size);
        }
        weir_fail(c, "out of memory: raise the limit of the guest's memory");
    }
    /* The cause has failed; give it something to write on, however large. */
    if (size > c->spare_size) {
        weirp_free(c->spare, c->spare_size);
        c->spare = (unsigned char *)weirp_alloc(size);
        c->spare_size = size;
        if (!c->spare) __builtin_trap();
    }
    __builtin_memset(c->spare, 0, size);
    return c->spare;
}

void weir_clear(weir_ctx *c, uint32_t state) {
    weirp_held *h = weirp_state_of(c, state, false);
    if (!h) return;
    weirp_slot *s = &h->slots[c->slot];
    if (!(s->flags & WEIRP_LOADED)) { /* what is cleared need not be readable */
        s->flags = WEIRP_LOADED;
        if (weirp_valid(&h->frame.nodes[0], c->slot)) s->flags |= WEIRP_PRESENT;
        weirp_clear_words(h->values + (size_t)c->slot * h->stride, h->stride);
    }
    weirp_edit(c, state, h->size);
    if (c->failed) return;
    s->flags &= (uint8_t)~WEIRP_PRESENT;
    weirp_clear_words(h->values + (size_t)c->slot * h->stride, h->stride);
}

weir_bytes weir_keep(weir_ctx *c, weir_bytes b) {
    weir_bytes none = {"", 0};
    if (!b.n) return none;
    while (c->kept_used < c->kept_count && c->kept[c->kept_used].cap - c->kept[c->kept_used].n < b.n) c->kept_used++;
    if (c->kept_used == c->kept_count) {
        if (c->kept_count == c->kept_cap) {
            weir_buf list = {(unsigned char *)c->kept, c->kept_count * (uint32_t)sizeof(weir_buf), c->kept_cap * (uint32_t)sizeof(weir_buf), false};
            uint32_t cap = c->kept_cap ? c->kept_cap * 2 : 16;
            if (!weirp_reserve(&list, (uint64_t)cap * sizeof(weir_buf))) goto out;
            c->kept = (weir_buf *)(void *)list.p;
            c->kept_cap = list.cap / (uint32_t)sizeof(weir_buf);
        }
        weir_buf chunk = {NULL, 0, 0, false};
        if (!weirp_reserve(&chunk, b.n > WEIRP_KEEP_CHUNK ? b.n : WEIRP_KEEP_CHUNK)) goto out;
        c->kept[c->kept_count++] = chunk;
    }
    {
        weir_buf *k = &c->kept[c->kept_used];
        weir_bytes v = {(const char *)k->p + k->n, b.n};
        weir_put(k, b.p, b.n);
        return v;
    }
out:
    weir_fail(c, "out of memory: raise the limit of the guest's memory");
    return none;
}

/* ---- Timers ---- */

static void weirp_timer(weir_ctx *c, uint32_t timer, int64_t time, int8_t op) {
    if (timer >= c->timers || c->slot >= c->slots || !c->active) {
        weirp_misuse(c, "sets or deletes timer", timer, ", which is not there or has no key");
        return;
    }
    if (c->used + 40 > c->max_output) {
        c->overflow = c->attention = true;
        return;
    }
    if (c->timer_count >= c->timer_cap) {
        weir_buf b = {(unsigned char *)c->timer_ops, c->timer_count * (uint32_t)sizeof(weirp_timer_op), c->timer_cap * (uint32_t)sizeof(weirp_timer_op), false};
        if (!weirp_reserve(&b, ((uint64_t)c->timer_count + 64) * 2 * sizeof(weirp_timer_op))) {
            weir_fail(c, "out of memory: raise the limit of the guest's memory");
            return;
        }
        c->timer_ops = (weirp_timer_op *)(void *)b.p;
        c->timer_cap = b.cap / (uint32_t)sizeof(weirp_timer_op);
    }
    weirp_timer_op *t = &c->timer_ops[c->timer_count++];
    t->cause = c->cause;
    t->slot = c->slot;
    t->time = time;
    t->timer = (int16_t)timer;
    t->kind = c->fn->timers[timer].kind == WEIR_EVENT_TIME ? WEIR_TIMER_EVENT : WEIR_TIMER_PROCESSING;
    t->op = op;
    c->used += 24; /* 4 + 4 + 1 + 1 + 2 + 8, rounded up */
}

void weir_timer_set(weir_ctx *c, uint32_t timer, int64_t time) { weirp_timer(c, timer, time, WEIR_TIMER_OP_SET); }
void weir_timer_delete(weir_ctx *c, uint32_t timer, int64_t time) { weirp_timer(c, timer, time, WEIR_TIMER_OP_DELETE); }

/* ---- Imports ---- */

#ifdef __wasm__
#define WEIRP_IMPORT(name) __attribute__((import_module("weir"), import_name(#name))) extern
WEIRP_IMPORT(log) void weirp_import_log(uint32_t level, const void *p, uint32_t n);
WEIRP_IMPORT(metric) void weirp_import_metric(uint32_t kind, const void *p, uint32_t n, double value);
WEIRP_IMPORT(state_get) int64_t weirp_import_get(uint32_t state, uint32_t slot, const void *k, uint32_t kn, void *p, uint32_t cap);
WEIRP_IMPORT(state_put) void weirp_import_put(uint32_t state, uint32_t slot, const void *k, uint32_t kn, const void *p, uint32_t n);
WEIRP_IMPORT(state_delete) void weirp_import_delete(uint32_t state, uint32_t slot, const void *k, uint32_t kn);
WEIRP_IMPORT(state_append) void weirp_import_append(uint32_t state, uint32_t slot, const void *p, uint32_t n);
WEIRP_IMPORT(state_clear) void weirp_import_clear(uint32_t state, uint32_t slot);
WEIRP_IMPORT(state_scan) int64_t weirp_import_scan(uint32_t state, uint32_t slot, const void *k, uint32_t kn, void *p, uint32_t cap);
#else
weir_native_host weir_host;
static void weirp_import_log(uint32_t level, const void *p, uint32_t n) {
    if (weir_host.log) weir_host.log(weir_host.arg, level, weirp_span(p, n));
}
static void weirp_import_metric(uint32_t kind, const void *p, uint32_t n, double value) {
    if (weir_host.metric) weir_host.metric(weir_host.arg, kind, weirp_span(p, n), value);
}
static int64_t weirp_import_get(uint32_t state, uint32_t slot, const void *k, uint32_t kn, void *p, uint32_t cap) {
    return weir_host.state_get ? weir_host.state_get(weir_host.arg, state, slot, weirp_span(k, kn), p, cap) : -1;
}
static void weirp_import_put(uint32_t state, uint32_t slot, const void *k, uint32_t kn, const void *p, uint32_t n) {
    if (weir_host.state_put) weir_host.state_put(weir_host.arg, state, slot, weirp_span(k, kn), weirp_span(p, n));
}
static void weirp_import_delete(uint32_t state, uint32_t slot, const void *k, uint32_t kn) {
    if (weir_host.state_delete) weir_host.state_delete(weir_host.arg, state, slot, weirp_span(k, kn));
}
static void weirp_import_append(uint32_t state, uint32_t slot, const void *p, uint32_t n) {
    if (weir_host.state_append) weir_host.state_append(weir_host.arg, state, slot, weirp_span(p, n));
}
static void weirp_import_clear(uint32_t state, uint32_t slot) {
    if (weir_host.state_clear) weir_host.state_clear(weir_host.arg, state, slot);
}
static int64_t weirp_import_scan(uint32_t state, uint32_t slot, const void *k, uint32_t kn, void *p, uint32_t cap) {
    weir_bytes after = weirp_span(k, kn);
    return weir_host.state_scan ? weir_host.state_scan(weir_host.arg, state, slot, kn == UINT32_MAX ? NULL : &after, p, cap) : 0;
}
#endif

void weir_log_bytes(uint32_t level, weir_bytes text) { weirp_import_log(level, text.p, text.n); }
void weir_log(uint32_t level, const char *text) { weir_log_bytes(level, weir_text(text)); }
void weir_count(const char *name, double add) { weirp_import_metric(WEIR_METRIC_COUNTER, name, weir_text(name).n, add); }
void weir_gauge(const char *name, double value) { weirp_import_metric(WEIR_METRIC_GAUGE, name, weir_text(name).n, value); }

/* ---- Hosted state ---- */

static void weirp_mapkey_be(weir_mapkey *k, uint64_t v) {
    k->bad = false;
    k->n = 9;
    k->b[0] = 2;
    for (uint32_t i = 0; i < 8; i++) k->b[1 + i] = (unsigned char)(v >> (56 - 8 * i));
}

void weir_mapkey_i64(weir_mapkey *k, int64_t v) { weirp_mapkey_be(k, (uint64_t)v ^ UINT64_C(1) << 63); }

void weir_mapkey_bool(weir_mapkey *k, bool v) {
    k->bad = false;
    k->n = 2;
    k->b[0] = 2;
    k->b[1] = v;
}

void weir_mapkey_f64(weir_mapkey *k, double v) {
    uint64_t u;
    if (v == 0) v = 0; /* -0 */
    __builtin_memcpy(&u, &v, 8);
    if (v != v) u = UINT64_C(0x7ff8000000000000);
    weirp_mapkey_be(k, u >> 63 ? ~u : u | UINT64_C(1) << 63);
}

/* Divides in place by ten; the remainder. */
static uint32_t weirp_tenth(uint32_t w[4]) {
    uint64_t r = 0;
    for (int i = 3; i >= 0; i--) {
        r = r << 32 | w[i];
        w[i] = (uint32_t)(r / 10);
        r %= 10;
    }
    return (uint32_t)r;
}

void weir_mapkey_decimal(weir_mapkey *k, weir_dec128 v, uint32_t scale) {
    bool negative = v.hi < 0;
    uint64_t lo = v.lo, hi = (uint64_t)v.hi;
    if (negative) {
        lo = 0 - lo;
        hi = ~hi + (lo == 0);
    }
    uint32_t w[4] = {(uint32_t)lo, (uint32_t)(lo >> 32), (uint32_t)hi, (uint32_t)(hi >> 32)};
    unsigned char digits[40]; /* least first */
    uint32_t n = 0, low = 0;
    while (w[0] | w[1] | w[2] | w[3]) digits[n++] = (unsigned char)weirp_tenth(w);
    k->bad = false;
    k->b[0] = 2;
    k->n = 2;
    k->b[1] = n ? negative ? 0 : 2 : 1;
    if (!n) return;
    k->b[k->n++] = (unsigned char)((int32_t)n - (int32_t)scale + 128);
    while (!digits[low]) low++;
    for (uint32_t i = n; i > low;) {
        uint32_t d1 = digits[--i], d2 = i > low ? digits[--i] : 0;
        k->b[k->n++] = (unsigned char)(1 + 10 * d1 + d2);
    }
    k->b[k->n++] = 0;
    for (uint32_t i = 2; negative && i < k->n; i++) k->b[i] = (unsigned char)~k->b[i];
}

void weir_mapkey_bytes(weir_mapkey *k, weir_bytes v) {
    k->bad = v.n > WEIR_MAX_KEY_BYTES - 1;
    k->n = 1;
    k->b[0] = 2;
    if (k->bad) return;
    if (v.n) __builtin_memcpy(k->b + 1, v.p, v.n);
    k->n += v.n;
}

static bool weirp_map_of(weir_ctx *c, uint32_t state, const weir_mapkey *k) {
    if (k->bad) weir_fail(c, "a map key passes 4096 bytes: shorten it");
    return weirp_state_of(c, state, true) && !k->bad && c->active && !c->failed;
}

bool weir_map_get(weir_ctx *c, uint32_t state, const weir_mapkey *k, weir_bytes *value) {
    value->p = "";
    value->n = 0;
    if (!weirp_map_of(c, state, k)) return false;
    char small[512];
    int64_t n = weirp_import_get(state, c->slot, k->b, k->n, small, sizeof small);
    if (n < 0 || n > WEIR_MAX_STATE_BYTES) return false;
    weir_bytes here = {small, (uint32_t)n};
    if (n <= (int64_t)sizeof small) {
        *value = weir_keep(c, here);
        return true;
    }
    weir_buf whole = {NULL, 0, 0, false};
    if (!weirp_reserve(&whole, (uint64_t)n)) {
        weir_fail(c, "out of memory: raise the limit of the guest's memory");
        return false;
    }
    weirp_import_get(state, c->slot, k->b, k->n, whole.p, (uint32_t)n);
    whole.n = (uint32_t)n;
    *value = weir_keep(c, weir_buf_bytes(&whole));
    weir_buf_free(&whole);
    return true;
}

void weir_map_put(weir_ctx *c, uint32_t state, const weir_mapkey *k, weir_bytes value) {
    if (value.n > WEIR_MAX_STATE_BYTES) weir_fail(c, "a value of a map passes 1 MiB: split it");
    if (weirp_map_of(c, state, k)) weirp_import_put(state, c->slot, k->b, k->n, value.p, value.n);
}

void weir_map_delete(weir_ctx *c, uint32_t state, const weir_mapkey *k) {
    if (weirp_map_of(c, state, k)) weirp_import_delete(state, c->slot, k->b, k->n);
}

void weir_list_append(weir_ctx *c, uint32_t state, weir_bytes value) {
    if (value.n > WEIR_MAX_STATE_BYTES) weir_fail(c, "a value of a list passes 1 MiB: split it");
    if (weirp_state_of(c, state, true) && c->active && !c->failed) weirp_import_append(state, c->slot, value.p, value.n);
}

void weir_hosted_clear(weir_ctx *c, uint32_t state) {
    if (weirp_state_of(c, state, true) && c->active && !c->failed) weirp_import_clear(state, c->slot);
}

weir_scan weir_scan_begin(weir_ctx *c, uint32_t state) {
    weir_scan s;
    __builtin_memset(&s, 0, sizeof s);
    s.weirp_c = c;
    s.weirp_state = state;
    return s;
}

void weir_scan_end(weir_scan *s) {
    weir_buf_free(&s->weirp_page);
    s->weirp_c = NULL;
}

/* Reads the page after the last key into the buffer; false at the end. */
static bool weirp_scan_page(weir_scan *s) {
    weir_ctx *c = s->weirp_c;
    unsigned char after[WEIR_MAX_KEY_BYTES];
    uint32_t kn = UINT32_MAX, cap = s->weirp_page.cap ? s->weirp_page.cap : WEIRP_SCAN_PAGE;
    if (!weirp_state_of(c, s->weirp_state, true) || c->failed) return false;
    if (s->weirp_begun) {
        kn = s->key.n;
        __builtin_memcpy(after, s->key.p, kn); /* the key stands in the page that is read over */
    }
    for (;;) {
        s->weirp_page.n = 0;
        if (!weirp_reserve(&s->weirp_page, cap)) {
            weir_fail(c, "out of memory: raise the limit of the guest's memory");
            return false;
        }
        uint64_t r = (uint64_t)weirp_import_scan(s->weirp_state, c->slot, after, kn, s->weirp_page.p, s->weirp_page.cap);
        s->weirp_left = (uint32_t)(r >> 32);
        s->weirp_page.n = (uint32_t)r;
        s->weirp_at = 0;
        if (s->weirp_left) return s->weirp_page.n <= s->weirp_page.cap;
        if (!s->weirp_page.n || s->weirp_page.n <= s->weirp_page.cap) return false;
        cap = s->weirp_page.n;
    }
}

bool weir_scan_next(weir_scan *s) {
    if (!s->weirp_c) return false;
    if (!s->weirp_left && !weirp_scan_page(s)) {
        weir_scan_end(s);
        return false;
    }
    weir_buf *page = &s->weirp_page;
    const unsigned char *p = page->p + s->weirp_at;
    uint64_t left = page->n - s->weirp_at;
    uint32_t kn = left >= 8 ? weirp_u32(p) : 0, vn = left >= 8 ? weirp_u32(p + 4) : 0;
    uint64_t size = weirp_align8(8 + (uint64_t)kn + vn);
    if (left < 8 || size > left || kn > WEIR_MAX_KEY_BYTES) {
        weirp_bad_frame(s->weirp_c, "a page of a scan ends in mid-entry");
        weir_scan_end(s);
        return false;
    }
    s->key.p = (const char *)p + 8;
    s->key.n = kn;
    s->value.p = s->key.p + kn;
    s->value.n = vn;
    s->weirp_at += (uint32_t)size;
    s->weirp_left--;
    s->weirp_begun = true;
    return true;
}

/* ---- Containers ---- */

typedef struct weirp_section {
    uint16_t id, flags;
    uint32_t index, n;
    const unsigned char *p;
} weirp_section;

/* NULL, or what is wrong with the container's head. */
static WEIRP_APART const char *weirp_container(const unsigned char *p, uint32_t n, uint32_t kind) {
    if (n < WEIR_CONTAINER_HEADER_SIZE) return "shorter than its header";
    if (weirp_u32(p) != WEIR_CONTAINER_MAGIC) return "wrong magic";
    uint32_t size = weirp_u32(p + 4), sections = weirp_u16(p + 10);
    if (size > n || size & 7) return "wrong size";
    if (weirp_u16(p + 8) != kind) return "wrong kind";
    if (sections > WEIR_MAX_SECTIONS) return "more than 256 sections";
    if (WEIR_CONTAINER_HEADER_SIZE + WEIR_SECTION_SIZE * sections > size) return "a table of sections past the end";
    for (uint32_t i = 0; i < sections; i++) {
        const unsigned char *d = p + WEIR_CONTAINER_HEADER_SIZE + WEIR_SECTION_SIZE * (size_t)i;
        uint32_t offset = weirp_u32(d + 8), length = weirp_u32(d + 12);
        if (offset & 7 || offset > size || length > size - offset) return "a section outside the container";
        if (offset < WEIR_CONTAINER_HEADER_SIZE + WEIR_SECTION_SIZE * sections && length) return "a section inside the table of sections";
        for (const unsigned char *e = p + WEIR_CONTAINER_HEADER_SIZE; e < d; e += WEIR_SECTION_SIZE)
            if (weirp_u16(e) == weirp_u16(d) && weirp_u32(e + 4) == weirp_u32(d + 4)) return "a section that stands twice";
    }
    return NULL;
}

static uint32_t weirp_sections(const unsigned char *p) { return weirp_u16(p + 10); }

static weirp_section weirp_section_at(const unsigned char *p, uint32_t i) {
    const unsigned char *d = p + WEIR_CONTAINER_HEADER_SIZE + WEIR_SECTION_SIZE * (size_t)i;
    weirp_section s = {weirp_u16(d), weirp_u16(d + 2), weirp_u32(d + 4), weirp_u32(d + 12), p + weirp_u32(d + 8)};
    return s;
}

/* What the last export answered; valid until the next one. */
static weir_buf weirp_answer;

static WEIRP_APART void weirp_begin(uint32_t kind, uint32_t sections) {
    weirp_answer.n = 0;
    weirp_answer.failed = false;
    if (weirp_put_zero(&weirp_answer, WEIR_CONTAINER_HEADER_SIZE + WEIR_SECTION_SIZE * (uint64_t)sections) == UINT32_MAX) return;
    weirp_w32(weirp_answer.p, WEIR_CONTAINER_MAGIC);
    weirp_w16(weirp_answer.p + 8, (uint16_t)kind);
}

/* Opens a section at the end; its place in the table is the next. */
static WEIRP_APART uint32_t weirp_section_begin(uint16_t id, uint32_t index) {
    if (weirp_answer.failed) return 0;
    uint32_t i = weirp_sections(weirp_answer.p);
    unsigned char *d = weirp_answer.p + WEIR_CONTAINER_HEADER_SIZE + WEIR_SECTION_SIZE * (size_t)i;
    weirp_w16(weirp_answer.p + 10, (uint16_t)(i + 1));
    weirp_w16(d, id);
    weirp_w16(d + 2, weirp_u16(weirp_answer.p + 8) == WEIR_KIND_EFFECTS && id == WEIR_EFFECTS_TEXT ? 0 : WEIR_SECTION_MUST);
    weirp_w32(d + 4, index);
    weirp_w32(d + 8, weirp_answer.n);
    return i;
}

static WEIRP_APART void weirp_section_end(uint32_t i) {
    if (weirp_answer.failed) return;
    unsigned char *d = weirp_answer.p + WEIR_CONTAINER_HEADER_SIZE + WEIR_SECTION_SIZE * (size_t)i;
    weirp_w32(d + 12, weirp_answer.n - weirp_u32(d + 8));
    weirp_pad8(&weirp_answer);
    if (!weirp_answer.failed) weirp_w32(weirp_answer.p + 4, weirp_answer.n);
}

static WEIRP_APART void weirp_section_put(uint16_t id, uint32_t index, const void *p, uint32_t n) {
    uint32_t s = weirp_section_begin(id, index);
    weir_put(&weirp_answer, p, n);
    weirp_section_end(s);
}

/* ---- Effects ---- */

/* A buffer of a block: pads, appends, and returns its offset in the block that begins at `from`. */
static WEIRP_APART uint32_t weirp_block_put(uint32_t from, const void *p, uint64_t n) {
    weirp_pad8(&weirp_answer);
    uint32_t at = weirp_answer.n - from;
    if (n) weir_put(&weirp_answer, p, (uint32_t)n);
    return at;
}

static WEIRP_APART void weirp_block_end(uint32_t from) {
    weirp_pad8(&weirp_answer);
    if (!weirp_answer.failed) weirp_w32(weirp_answer.p + from + 8, weirp_answer.n - from);
}

static WEIRP_APART uint32_t weirp_block_begin(uint32_t rows, uint32_t nodes) {
    uint32_t from = weirp_put_zero(&weirp_answer, 16 + 24 * (uint64_t)nodes);
    if (from == UINT32_MAX) return 0;
    weirp_w32(weirp_answer.p + from, rows);
    weirp_w32(weirp_answer.p + from + 4, nodes);
    for (uint32_t i = 0; i < nodes; i++) weirp_w32(weirp_answer.p + from + 16 + 24 * i, rows);
    return from;
}

static WEIRP_APART void weirp_node(uint32_t from, uint32_t node, uint32_t field, uint32_t v) {
    if (!weirp_answer.failed) weirp_w32(weirp_answer.p + from + 16 + 24 * node + field, v);
}

/* Bits past the end are zero; false if all bits are set, so that the buffer can be left out. */
static bool weirp_trim_bits(unsigned char *p, uint32_t n) {
    bool all = true;
    for (uint32_t i = 0; i < n / 8; i++) all &= p[i] == 0xff;
    if (n & 7) {
        p[n / 8] &= (unsigned char)((1u << (n & 7)) - 1);
        all &= p[n / 8] == (1u << (n & 7)) - 1;
    }
    return !all;
}

static void weirp_put_output(weirp_out *o) {
    uint32_t n = o->rows, from = weirp_block_begin(n, o->columns);
    for (uint32_t i = 0; i < o->columns; i++) {
        weirp_ocol *k = &o->cols[i];
        bool var = k->text;
        if (k->nullable && weirp_trim_bits(k->validity.p, n)) weirp_node(from, i, 4, weirp_block_put(from, k->validity.p, (n + 7) / 8));
        if (k->type == WEIR_BOOL) weirp_trim_bits(k->values.p, n);
        weirp_node(from, i, 8, weirp_block_put(from, k->values.p, k->type == WEIR_BOOL ? (n + 7) / 8 : ((uint64_t)n + var) * k->width));
        if (!var || !k->bytes.n) continue;
        weirp_node(from, i, 12, weirp_block_put(from, k->bytes.p, k->bytes.n));
        weirp_node(from, i, 16, k->bytes.n);
    }
    weirp_block_end(from);
}

/* Only the last write of each slot goes out, under the cause of that write. */
static uint32_t weirp_fold(weirp_held *h) {
    uint32_t n = 0;
    for (uint32_t i = 0; i < h->touches; i++) {
        uint32_t cause = h->touched[2 * i], slot = h->touched[2 * i + 1];
        if (h->slots[slot].last != cause) continue;
        h->touched[2 * n] = cause;
        h->touched[2 * n + 1] = slot;
        n++;
    }
    return h->touches = n;
}

static void weirp_put_state(weirp_held *h) {
    uint32_t n = h->touches, from = weirp_block_begin(n, 3), nulls = 0;
    const uint32_t *touched = h->touched;
    const weirp_slot *slots = h->slots;
    uint64_t bound = 0;
    for (uint32_t col = 0; col < 2; col++) {
        weirp_node(from, col, 8, weirp_block_put(from, NULL, 0));
        uint32_t at = weirp_put_zero(&weirp_answer, 4 * (uint64_t)n);
        if (at == UINT32_MAX) return;
        uint32_t *to = (uint32_t *)(void *)(weirp_answer.p + at);
        for (uint32_t i = 0; i < n; i++) to[i] = touched[2 * i + col];
    }
    for (uint32_t i = 0; i < n; i++) {
        nulls += !(slots[touched[2 * i + 1]].flags & WEIRP_PRESENT);
        bound += h->bound + slots[touched[2 * i + 1]].stored;
    }
    if (nulls) {
        weirp_node(from, 2, 4, weirp_block_put(from, NULL, 0));
        uint32_t at = weirp_put_zero(&weirp_answer, (n + 7) / 8);
        if (at == UINT32_MAX) return;
        for (uint32_t i = 0; i < n; i++)
            if (slots[touched[2 * i + 1]].flags & WEIRP_PRESENT) weirp_answer.p[at + i / 8] |= (unsigned char)(1u << (i & 7));
    }
    weirp_node(from, 2, 8, weirp_block_put(from, NULL, 0));
    uint32_t at = weirp_put_zero(&weirp_answer, 4 * ((uint64_t)n + 1));
    weirp_node(from, 2, 12, weirp_block_put(from, NULL, 0));
    if (at == UINT32_MAX || !weirp_reserve(&weirp_answer, weirp_answer.n + bound)) return;
    uint32_t *offsets = (uint32_t *)(void *)(weirp_answer.p + at);
    unsigned char *begin = weirp_answer.p + weirp_answer.n, *w = begin;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t slot = touched[2 * i + 1];
        const unsigned char *value = h->values + (size_t)slot * h->stride;
        if (!(slots[slot].flags & WEIRP_PRESENT)) {
        } else if (h->decl->fields) {
            w = weirp_write_row(h->decl->fields, value, w);
        } else {
            const weir_bytes *raw = (const weir_bytes *)(const void *)value;
            weirp_copy(w, raw->p, raw->n);
            w += raw->n;
        }
        offsets[i + 1] = (uint32_t)(w - begin);
    }
    weirp_answer.n += (uint32_t)(w - begin);
    weirp_node(from, 2, 16, (uint32_t)(w - begin));
    if (w == begin) weirp_node(from, 2, 12, 0);
    weirp_block_end(from);
}

static void weirp_put_timers(const weir_ctx *c) {
    uint32_t n = c->timer_count, from = weirp_block_begin(n, 6);
    static const uint8_t width[6] = {4, 4, 1, 1, 2, 8};
    for (uint32_t col = 0; col < 6; col++) {
        weirp_node(from, col, 8, weirp_block_put(from, NULL, 0));
        uint32_t to = weirp_put_zero(&weirp_answer, (uint64_t)n * width[col]);
        if (to == UINT32_MAX) return;
        for (uint32_t i = 0; i < n; i++) {
            const weirp_timer_op *t = &c->timer_ops[i];
            unsigned char *p = weirp_answer.p + to + (size_t)i * width[col];
            switch (col) {
            case 0: weirp_w32(p, t->cause); break;
            case 1: weirp_w32(p, t->slot); break;
            case 2: *p = (unsigned char)t->kind; break;
            case 3: *p = (unsigned char)t->op; break;
            case 4: weirp_w16(p, (uint16_t)t->timer); break;
            default: __builtin_memcpy(p, &t->time, 8);
            }
        }
    }
    weirp_block_end(from);
}

static void weirp_put_result(const weir_ctx *c, uint32_t consumed, uint32_t status, uint32_t code) {
    unsigned char result[WEIR_RESULT_SIZE] = {0};
    (void)c;
    weirp_w32(result, consumed);
    weirp_w32(result + 4, status);
    weirp_w32(result + 8, code);
    weirp_section_put(WEIR_EFFECTS_RESULT, 0, result, sizeof result);
}

/* Nothing but a failure, for a call that cannot be read or answered. */
static WEIRP_APART void weirp_refuse(const weir_ctx *c, const char *a, const char *b) {
    weirp_begin(WEIR_KIND_EFFECTS, 2);
    weirp_put_result(c, 0, WEIR_STATUS_FAILED, WEIR_CODE_USER);
    uint32_t s = weirp_section_begin(WEIR_EFFECTS_TEXT, 0);
    weir_put_text(&weirp_answer, a);
    weir_put_text(&weirp_answer, b);
    weirp_section_end(s);
}

static void weirp_effects(weir_ctx *c) {
    uint32_t sections = 1 + (c->status == WEIR_STATUS_FAILED) + (c->timer_count > 0);
    for (uint32_t i = 0; i < c->outputs; i++)
        if (c->outs[i].rows) sections += 2u + c->outs[i].has_times + c->outs[i].has_kinds;
    for (uint32_t i = 0; i < c->states; i++) sections += weirp_fold(&c->held[i]) > 0;
    if (sections > WEIR_MAX_SECTIONS) {
        weirp_refuse(c, "the effects of this call need more than 256 sections: use fewer outputs in one call", "");
        return;
    }
    weirp_begin(WEIR_KIND_EFFECTS, sections);
    weirp_put_result(c, c->consumed, c->status, c->code);
    if (c->status == WEIR_STATUS_FAILED) weirp_section_put(WEIR_EFFECTS_TEXT, 0, c->text, c->text_n);
    for (uint32_t i = 0; i < c->outputs; i++) {
        weirp_out *o = &c->outs[i];
        if (!o->rows) continue;
        uint32_t s = weirp_section_begin(WEIR_EFFECTS_OUTPUT, i);
        weirp_put_output(o);
        weirp_section_end(s);
        weirp_section_put(WEIR_EFFECTS_CAUSES, i, o->causes, o->rows * 4);
        if (o->has_times) weirp_section_put(WEIR_EFFECTS_TIMES, i, o->times, o->rows * 8);
        if (o->has_kinds) weirp_section_put(WEIR_EFFECTS_KINDS, i, o->kinds, o->rows);
    }
    for (uint32_t i = 0; i < c->states; i++) {
        if (!c->held[i].touches) continue;
        uint32_t s = weirp_section_begin(WEIR_EFFECTS_STATE, i);
        weirp_put_state(&c->held[i]);
        weirp_section_end(s);
    }
    if (c->timer_count) {
        uint32_t s = weirp_section_begin(WEIR_EFFECTS_TIMERS, 0);
        weirp_put_timers(c);
        weirp_section_end(s);
    }
    if (weirp_answer.failed) {
        weir_buf_free(&weirp_answer);
        weirp_refuse(c, "out of memory: raise the limit of the guest's memory", "");
    }
}

/* ---- A call ---- */

static void weirp_reset(weir_ctx *c) {
    c->cause_list = NULL;
    c->slot_of = NULL;
    c->times = NULL;
    c->kinds = NULL;
    c->in = &c->empty;
    c->input = c->timer = c->row = c->cause = c->first = 0;
    c->slot = WEIR_NO_SLOT;
    c->rows = c->slots = c->causes = c->consumed = c->status = c->code = c->text_n = 0;
    c->active = c->done = c->failed = c->overflow = c->attention = false;
    c->timer_count = c->kept_used = 0;
    c->used = c->used_before = c->base;
    for (uint32_t i = 0; i < c->outputs; i++) {
        weirp_out_cut(&c->outs[i], 0);
        c->outs[i].has_times = c->outs[i].has_kinds = false;
    }
    for (uint32_t i = 0; i < c->states; i++) {
        c->held[i].touches = 0;
        c->held[i].edited = UINT32_MAX;
        c->held[i].section = NULL;
    }
    for (uint32_t i = 0; i < c->kept_count; i++) c->kept[i].n = 0;
    c->keys.rows = c->meta.rows = 0;
}

typedef struct weirp_frame {
    weirp_section call, rows, causes, slots, times, keys, meta, kinds;
} weirp_frame;

/* Sorts the sections; NULL, or what is wrong. */
static const char *weirp_sort(weir_ctx *c, const unsigned char *p, weirp_frame *f) {
    __builtin_memset(f, 0, sizeof *f);
    for (uint32_t i = 0; i < weirp_sections(p); i++) {
        weirp_section s = weirp_section_at(p, i);
        switch (s.id) {
        case WEIR_CALL_CALL: f->call = s; break;
        case WEIR_CALL_ROWS:
            if (f->rows.p) return "rows of two inputs";
            f->rows = s;
            break;
        case WEIR_CALL_CAUSES: f->causes = s; break;
        case WEIR_CALL_SLOTS: f->slots = s; break;
        case WEIR_CALL_TIMES: f->times = s; break;
        case WEIR_CALL_KEYS: f->keys = s; break;
        case WEIR_CALL_STATE:
            if (s.index >= c->states || c->held[s.index].hosted) return "state that is not declared as framed";
            c->held[s.index].section = s.p;
            c->held[s.index].section_n = s.n;
            break;
        case WEIR_CALL_META: f->meta = s; break;
        case WEIR_CALL_KINDS: f->kinds = s; break;
        default:
            if (s.flags & WEIR_SECTION_MUST) return "it has a section this guest does not know: upgrade the guest";
        }
    }
    return f->call.n < WEIR_CALL_SIZE ? "no call section" : NULL;
}

static const char *weirp_bind_state(weir_ctx *c, weirp_held *h) {
    const char *wrong;
    if (h->hosted) return NULL;
    if (!h->section) return "a framed state is missing";
    if ((wrong = weirp_block(&h->frame, h->section, h->section_n, c->slots))) return wrong;
    if (c->slots > h->slots_cap) {
        uint32_t cap = h->slots_cap ? h->slots_cap : 64;
        while (cap < c->slots) cap *= 2;
        weirp_free(h->slots, h->slots_cap * (uint32_t)sizeof(weirp_slot));
        weirp_free(h->values, h->values_cap);
        h->slots_cap = h->values_cap = 0;
        h->slots = NULL;
        h->values = NULL;
        if ((uint64_t)cap * h->stride > 0x7fffffff) return "out of memory";
        h->slots = (weirp_slot *)weirp_alloc(cap * (uint32_t)sizeof(weirp_slot));
        h->values = (unsigned char *)weirp_alloc(cap * h->stride);
        if (!h->slots || !h->values) return "out of memory";
        h->slots_cap = cap;
        h->values_cap = cap * h->stride;
    }
    if (c->slots) __builtin_memset(h->slots, 0, c->slots * sizeof(weirp_slot));
    return NULL;
}

static const char *weirp_bind(weir_ctx *c, const unsigned char *p) {
    weirp_frame f;
    const char *wrong = weirp_sort(c, p, &f);
    if (wrong) return wrong;
    const unsigned char *h = f.call.p;
    c->clock = (int64_t)weirp_u64(h);
    c->watermark = (int64_t)weirp_u64(h + 8);
    c->seed = c->random = weirp_u64(h + 16);
    c->causes = weirp_u32(h + 24);
    c->slots = weirp_u32(h + 28);
    c->attempt = weirp_u32(h + 32);
    c->first_group = weirp_u32(h + 36);
    c->last_group = weirp_u32(h + 40);
    c->max_output = weirp_u32(h + 44);
    c->flags = weirp_u32(h + 48);
    if (!c->max_output || c->max_output > 0x70000000) c->max_output = WEIRP_DEFAULT_OUTPUT;
    if (c->slots > c->causes) return "more slots than causes";
    if (f.rows.p) {
        if (f.rows.index >= c->inputs) return "rows of an input that is not there";
        c->input = f.rows.index;
        c->in = &c->ins[c->input];
        if ((wrong = weirp_block(c->in, f.rows.p, f.rows.n, UINT32_MAX))) return wrong;
        c->rows = c->in->rows;
    }
    if (f.causes.p) {
        if (f.causes.n / WEIR_CAUSE_SIZE < c->causes) return "a list of causes that is too short";
        c->cause_list = f.causes.p;
    } else if (c->causes != c->rows) {
        return "not as many causes as rows";
    }
    if (c->keyed) {
        if (c->rows && (!f.slots.p || f.slots.n / 4 < c->rows)) return "slots of rows are missing";
        c->slot_of = c->rows ? (const uint32_t *)(const void *)f.slots.p : NULL;
        if (!f.keys.p && c->slots) return "keys are missing";
        if (f.keys.p && (wrong = weirp_block(&c->keys, f.keys.p, f.keys.n, c->slots))) return wrong;
        for (uint32_t i = 0; i < c->states; i++)
            if (c->slots && (wrong = weirp_bind_state(c, &c->held[i]))) return wrong;
    } else if (c->slots) {
        return "slots for a function without keys";
    }
    if (f.times.p) {
        if (f.times.n / 8 < c->rows) return "event times that are too few";
        c->times = (const int64_t *)(const void *)f.times.p;
    }
    if (f.kinds.p) {
        if (f.kinds.n < c->rows) return "row kinds that are too few";
        c->kinds = f.kinds.p;
    }
    if (f.meta.p) {
        if (!c->meta.nodes && (wrong = weirp_schema(&c->meta, "partition:int32,sequence:int64,row:int32"))) return wrong;
        if ((wrong = weirp_block(&c->meta, f.meta.p, f.meta.n, c->rows))) return wrong;
    }
    return NULL;
}

static void weirp_run(weir_ctx *c) {
    if (!c->cause_list && c->rows) {
        weir_handler row = c->fn->inputs[c->input].row ? c->fn->inputs[c->input].row : c->fn->row;
        if (!row && c->fn->batch) c->fn->batch(c);
        else while (weir_next(c)) row(c);
    } else {
        while (weir_next(c)) {
            weir_handler handler = NULL;
            if (c->kind == WEIR_CAUSE_END) handler = c->fn->end;
            else if (c->kind != WEIR_CAUSE_ROW) handler = c->fn->timers[c->timer].fire ? c->fn->timers[c->timer].fire : c->fn->fire;
            else handler = c->fn->inputs[c->input].row ? c->fn->inputs[c->input].row : c->fn->row;
            if (!handler && c->kind == WEIR_CAUSE_ROW && c->fn->batch) {
                weirp_misuse(c, "takes batches, and cannot take listed causes of input", c->input, "");
            } else if (handler) {
                handler(c);
            }
        }
    }
    if (c->done) return;
    /* A batch handler that left its loop: what it has walked counts. */
    if (c->failed && !c->active) weirp_advance(c);
    if (c->active && !weirp_finish_cause(c)) return;
    if (c->active) c->consumed = c->cause + 1;
    c->done = true;
    if (c->consumed == c->causes) return;
    c->status = WEIR_STATUS_MORE;
    if (c->consumed) return;
    weir_fail(c, "the batch handler took no row: walk them with weir_next");
    c->status = WEIR_STATUS_FAILED;
}

/* ---- Opening ---- */

static weir_ctx *weirp_handles[WEIRP_MAX_HANDLES];
static uint32_t weirp_handle_count;

static bool weirp_blank(char ch) { return ch == ' ' || ch == '\t' || ch == '\n' || ch == '\r'; }

/* The next item of a list parted by commas, trimmed; false at the end. */
static WEIRP_APART bool weirp_item(const char **at, weir_bytes *item) {
    if (!*at) return false;
    while (weirp_blank(**at) || **at == ',') (*at)++;
    if (!**at) return false;
    item->p = *at;
    while (**at && **at != ',') (*at)++;
    item->n = (uint32_t)(*at - item->p);
    while (item->n && weirp_blank(item->p[item->n - 1])) item->n--;
    return true;
}

static bool weirp_in_lines(weir_bytes lines, weir_bytes name) {
    for (uint32_t i = 0; i < lines.n;) {
        uint32_t from = i;
        while (i < lines.n && lines.p[i] != '\n') i++;
        weir_bytes line = {lines.p + from, i - from};
        if (weir_eq(line, name)) return true;
        i++;
    }
    return false;
}

static bool weirp_is_hosted(const weir_state *s) {
    if (s->form) return weir_eq(weir_text(s->form), weir_lit("hosted"));
    return s->kind && weir_eq(weir_text(s->kind), weir_lit("map"));
}

static int32_t weirp_find_column(const weirp_table *t, weir_bytes name) {
    for (uint32_t i = 0; i < t->columns; i++) {
        const weir_col *k = &t->nodes[t->top[i]];
        weir_bytes n = {k->name, k->name_len};
        if (weir_eq(n, name)) return (int32_t)i;
    }
    return -1;
}

/* The table of an input's key columns; NULL, or what is wrong. */
static const char *weirp_key_table(weirp_table *keys, const weirp_table *in, const char *list) {
    weir_bytes name;
    const char *at = list;
    uint32_t n = 0;
    while (weirp_item(&at, &name)) n++;
    if (!n) return "a key without columns: leave it NULL";
    keys->nodes = (weir_col *)weirp_new(n * (uint32_t)sizeof(weir_col));
    keys->top = (uint16_t *)weirp_new(n * 2);
    if (!keys->nodes || !keys->top) return "out of memory";
    at = list;
    keys->count = n;
    while (weirp_item(&at, &name)) {
        int32_t i = weirp_find_column(in, name);
        if (i < 0) return "a key column that is not among the columns";
        const weir_col *k = &in->nodes[in->top[i]];
        if (k->type >= WEIR_LIST) return "a key column of type list, struct or map";
        keys->nodes[keys->columns] = *k;
        keys->top[keys->columns] = (uint16_t)keys->columns;
        keys->columns++;
    }
    return NULL;
}

static const char *weirp_open_output(weir_ctx *c, weirp_out *o, const char *columns) {
    const char *wrong = weirp_schema(&o->schema, columns);
    if (wrong) return wrong;
    o->c = c;
    o->columns = o->schema.columns;
    o->cols = (weirp_ocol *)weirp_new(o->columns * (uint32_t)sizeof(weirp_ocol));
    o->text_cols = (uint16_t *)weirp_new(o->columns * 2);
    if (!o->cols || !o->text_cols) return "out of memory";
    o->row_size = 4 + 8 + 1; /* cause, time, kind */
    c->base += 16 + 4 * WEIR_SECTION_SIZE + 24;
    for (uint32_t i = 0; i < o->columns; i++) {
        const weir_col *k = &o->schema.nodes[o->schema.top[i]];
        o->cols[i].type = k->type;
        o->cols[i].width = k->width;
        o->cols[i].nullable = k->nullable;
        o->cols[i].text = k->type == WEIR_UTF8 || k->type == WEIR_BINARY;
        if (o->cols[i].text) o->text_cols[o->texts++] = (uint16_t)i;
        o->row_size += k->width + 1u; /* the bit of a bool or of validity, rounded up */
        c->base += 24 + 4 + 3 * 8;
    }
    return NULL;
}

static const char *weirp_open_state(weir_ctx *c, weirp_held *h, const weir_state *s) {
    h->decl = s;
    h->hosted = weirp_is_hosted(s);
    if (h->hosted) return NULL;
    const char *wrong = weirp_schema(&h->frame, "value:binary?");
    if (wrong) return wrong;
    h->size = s->fields ? s->size : (uint32_t)sizeof(weir_bytes);
    h->stride = (uint32_t)weirp_align8(h->size);
    h->max_bytes = s->max_bytes ? s->max_bytes : WEIR_DEFAULT_STATE_BYTES;
    h->variable = !s->fields;
    if (s->fields) h->bound = weirp_row_bound(s->fields, &h->variable);
    if (h->bound > h->max_bytes) h->variable = true;
    h->undo = (unsigned char *)weirp_new(h->stride);
    c->base += WEIR_SECTION_SIZE + 16 + 3 * 24 + 5 * 8 + 4;
    return h->undo ? NULL : "out of memory";
}

static const char *weirp_open_function(weir_ctx *c, const weir_function *fn) {
    const char *wrong = NULL;
    c->fn = fn;
    c->base = WEIR_CONTAINER_HEADER_SIZE + 3 * WEIR_SECTION_SIZE + WEIR_RESULT_SIZE + 16 + 6 * 24 + 6 * 8;
    while (fn->inputs && fn->inputs[c->inputs].name) c->inputs++;
    while (fn->outputs && fn->outputs[c->outputs].name) c->outputs++;
    while (fn->state && fn->state[c->states].name) c->states++;
    while (fn->timers && fn->timers[c->timers].name) c->timers++;
    c->ins = (weirp_table *)weirp_new(c->inputs * (uint32_t)sizeof(weirp_table));
    c->outs = (weirp_out *)weirp_new(c->outputs * (uint32_t)sizeof(weirp_out));
    c->held = (weirp_held *)weirp_new(c->states * (uint32_t)sizeof(weirp_held));
    if (!c->ins || !c->outs || !c->held) return "out of memory";
    for (uint32_t i = 0; i < c->inputs && !wrong; i++) wrong = weirp_schema(&c->ins[i], fn->inputs[i].columns);
    for (uint32_t i = 0; i < c->outputs && !wrong; i++) wrong = weirp_open_output(c, &c->outs[i], fn->outputs[i].columns);
    for (uint32_t i = 0; i < c->states && !wrong; i++) wrong = weirp_open_state(c, &c->held[i], &fn->state[i]);
    if (!wrong && c->inputs && fn->inputs[0].key) {
        c->keyed = true;
        wrong = weirp_key_table(&c->keys, &c->ins[0], fn->inputs[0].key);
    }
    return wrong;
}

static void weirp_close(weir_ctx *c) {
    for (uint32_t i = 0; c->ins && i < c->inputs; i++) weirp_table_free(&c->ins[i]);
    for (uint32_t i = 0; c->outs && i < c->outputs; i++) {
        weirp_free(c->outs[i].cols, c->outs[i].columns * (uint32_t)sizeof(weirp_ocol));
        weirp_free(c->outs[i].text_cols, c->outs[i].columns * 2);
        weirp_table_free(&c->outs[i].schema);
    }
    for (uint32_t i = 0; c->held && i < c->states; i++) {
        weirp_free(c->held[i].undo, c->held[i].stride);
        weirp_table_free(&c->held[i].frame);
    }
    weirp_free(c->ins, c->inputs * (uint32_t)sizeof(weirp_table));
    weirp_free(c->outs, c->outputs * (uint32_t)sizeof(weirp_out));
    weirp_free(c->held, c->states * (uint32_t)sizeof(weirp_held));
    weirp_table_free(&c->keys);
    weirp_free(c, (uint32_t)sizeof *c);
}

static bool weirp_lacks(weir_bytes granted, const char *list, weir_bytes *missing) {
    while (weirp_item(&list, missing))
        if (!weirp_in_lines(granted, *missing)) return true;
    return false;
}

static WEIRP_APART void weirp_open_error(const char *a, weir_bytes b, const char *d) {
    weirp_begin(WEIR_KIND_OPENED, 1);
    uint32_t s = weirp_section_begin(WEIR_OPENED_ERROR, 0);
    weir_put_text(&weirp_answer, a);
    weir_put(&weirp_answer, b.p, b.n);
    weir_put_text(&weirp_answer, d);
    weirp_section_end(s);
}

static weir_bytes weirp_body(weirp_section s) {
    weir_bytes b = {(const char *)s.p, s.n};
    return b;
}

static void weirp_do_open(const unsigned char *p, uint32_t n) {
    weir_bytes none = {"", 0}, name = none, missing = none;
    const char *wrong = weirp_container(p, n, WEIR_KIND_OPEN);
    if (wrong) {
        weirp_open_error("cannot read the open container: ", weir_text(wrong), "");
        return;
    }
    weir_open_info info;
    __builtin_memset(&info, 0, sizeof info);
    info.config = weir_lit("{}");
    info.capabilities = none;
    info.weirp_container = p;
    for (uint32_t i = 0; i < weirp_sections(p); i++) {
        weirp_section s = weirp_section_at(p, i);
        switch (s.id) {
        case WEIR_OPEN_FUNCTION: name = weirp_body(s); break;
        case WEIR_OPEN_CONFIG: info.config = weirp_body(s); break;
        case WEIR_OPEN_CAPABILITIES: info.capabilities = weirp_body(s); break;
        case WEIR_OPEN_SCHEMAS:
        case WEIR_OPEN_ASSET: break;
        default:
            if (!(s.flags & WEIR_SECTION_MUST)) break;
            weirp_open_error("the open container has a section this guest does not know: upgrade the guest", none, "");
            return;
        }
    }
    const weir_function *fn = weir_functions;
    while (fn->name && !weir_eq(weir_text(fn->name), name)) fn++;
    if (!fn->name) {
        weirp_open_error("this module has no function ", name, "");
        return;
    }
    info.function = fn;
    bool lacks = weirp_lacks(info.capabilities, fn->requires_, &missing);
    for (const weir_state *s = fn->state; !lacks && s && s->name; s++) lacks = weirp_is_hosted(s) && weirp_lacks(info.capabilities, "hosted_state", &missing);
    if (lacks) {
        weirp_open_error("the function needs the capability ", missing, ", which was not granted: upgrade the host");
        return;
    }
    if (weirp_handle_count == WEIRP_MAX_HANDLES) {
        weirp_open_error("more than 1024 functions are open in this instance: use another", none, "");
        return;
    }
    weir_ctx *c = (weir_ctx *)weirp_new((uint32_t)sizeof(weir_ctx));
    wrong = c ? weirp_open_function(c, fn) : "out of memory";
    if (!wrong && fn->open) wrong = fn->open(&info);
    if (wrong) {
        weirp_open_error("", weir_text(wrong), "");
        if (c) weirp_close(c);
        return;
    }
    c->user = info.user;
    weirp_handles[weirp_handle_count++] = c;
    unsigned char body[8];
    weirp_w32(body, weirp_handle_count - 1);
    weirp_w32(body + 4, (uint32_t)(uintptr_t)&weirp_progress);
    weirp_begin(WEIR_KIND_OPENED, 1);
    weirp_section_put(WEIR_OPENED_HANDLE, 0, body, sizeof body);
}

static void weirp_do_call(uint32_t handle, const unsigned char *p, uint32_t n) {
    const char *wrong = weirp_container(p, n, WEIR_KIND_CALL);
    if (handle >= weirp_handle_count) {
        weirp_refuse(NULL, "cannot read the call: ", "no function is open under this handle");
        return;
    }
    weir_ctx *c = weirp_handles[handle];
    weirp_reset(c);
    if (!wrong) wrong = weirp_bind(c, p);
    if (wrong) {
        weirp_refuse(c, "cannot read the call: ", wrong);
        return;
    }
    c->kind = WEIR_CAUSE_ROW;
    weirp_run(c);
    weirp_progress = UINT32_MAX;
    weirp_effects(c);
}

/* ---- Config and assets ---- */

/* Steps over a JSON value; NULL if it is none. */
static const char *weirp_json_skip(const char *p, const char *end) {
    uint32_t depth = 0;
    for (; p < end; p++) {
        if (*p == '"') {
            for (p++; p < end && *p != '"'; p++)
                if (*p == '\\') p++;
            if (p >= end) return NULL;
        } else if (*p == '{' || *p == '[') {
            depth++;
        } else if (*p == '}' || *p == ']') {
            if (!depth) return p;
            depth--;
        } else if (*p == ',' && !depth) {
            return p;
        }
    }
    return depth ? NULL : p;
}

static bool weirp_config(const weir_open_info *o, const char *name, weir_bytes *v) {
    const char *p = o->config.p, *end = p + o->config.n;
    weir_bytes wanted = weir_text(name);
    while (p < end && weirp_blank(*p)) p++;
    if (p >= end || *p++ != '{') return false;
    for (;;) {
        while (p < end && (weirp_blank(*p) || *p == ',')) p++;
        if (p >= end || *p++ != '"') return false;
        const char *from = p;
        while (p < end && *p != '"') p += *p == '\\' ? 2 : 1;
        if (p >= end) return false;
        weir_bytes key = {from, (uint32_t)(p++ - from)};
        while (p < end && (weirp_blank(*p) || *p == ':')) p++;
        v->p = p;
        p = weirp_json_skip(p, end);
        if (!p) return false;
        v->n = (uint32_t)(p - v->p);
        while (v->n && weirp_blank(v->p[v->n - 1])) v->n--;
        if (weir_eq(key, wanted)) return v->n > 0;
    }
}

bool weir_config_str(const weir_open_info *o, const char *name, weir_bytes *v) {
    weir_bytes raw;
    if (!weirp_config(o, name, &raw) || raw.n < 2 || raw.p[0] != '"') return false;
    for (uint32_t i = 0; i < raw.n; i++)
        if (raw.p[i] == '\\') return false;
    v->p = raw.p + 1;
    v->n = raw.n - 2;
    return true;
}

bool weir_config_int(const weir_open_info *o, const char *name, int64_t *v) {
    weir_bytes raw;
    if (!weirp_config(o, name, &raw)) return false;
    uint32_t i = raw.p[0] == '-' ? 1 : 0;
    if (i == raw.n || raw.n > 19) return false;
    uint64_t u = 0;
    for (; i < raw.n; i++) {
        if (raw.p[i] < '0' || raw.p[i] > '9') return false;
        u = u * 10 + (uint64_t)(raw.p[i] - '0');
    }
    if (u > INT64_MAX) return false;
    *v = raw.p[0] == '-' ? -(int64_t)u : (int64_t)u;
    return true;
}

bool weir_asset(const weir_open_info *o, const char *name, weir_bytes *v) {
    for (uint32_t i = 0; i < weirp_sections(o->weirp_container); i++) {
        weirp_section s = weirp_section_at(o->weirp_container, i);
        if (s.id != WEIR_OPEN_ASSET || s.n < 4) continue;
        uint64_t n = weirp_u32(s.p), at = weirp_align8(4 + n);
        weir_bytes have = {(const char *)s.p + 4, (uint32_t)n};
        if (at > s.n || !weir_eq(have, weir_text(name))) continue;
        v->p = (const char *)s.p + at;
        v->n = s.n - (uint32_t)at;
        return true;
    }
    return false;
}

/* ---- The manifest ---- */

typedef struct weirp_describe { /* where in the module a refusal points */
    const weir_function *fn;
    const char *what, *name;
} weirp_describe;

static WEIRP_APART void weirp_json(weir_buf *b, weir_bytes s) {
    static const char hex[] = "0123456789abcdef";
    weirp_put_byte(b, '"');
    for (uint32_t i = 0; i < s.n; i++) {
        unsigned char ch = (unsigned char)s.p[i];
        if (ch == '"' || ch == '\\') {
            weirp_put_byte(b, '\\');
            weirp_put_byte(b, ch);
        } else if (ch < 0x20) {
            weir_put_text(b, "\\u00");
            weirp_put_byte(b, (unsigned char)hex[ch >> 4]);
            weirp_put_byte(b, (unsigned char)hex[ch & 15]);
        } else {
            weirp_put_byte(b, ch);
        }
    }
    weirp_put_byte(b, '"');
}

static WEIRP_APART void weirp_member(weir_buf *b, const char *name, const char *value) {
    weir_put_text(b, ",\"");
    weir_put_text(b, name);
    weir_put_text(b, "\":");
    weirp_json(b, weir_text(value));
}

static WEIRP_APART void weirp_number_member(weir_buf *b, const char *name, int64_t v) {
    weir_put_text(b, ",\"");
    weir_put_text(b, name);
    weir_put_text(b, "\":");
    weirp_put_number(b, v);
}

static WEIRP_APART void weirp_name_member(weir_buf *b, const char *name) {
    weir_put_text(b, "{\"name\":");
    weirp_json(b, weir_text(name));
}

/* `"a","b"` of a list parted by commas. */
static WEIRP_APART void weirp_strings(weir_buf *b, const char *list) {
    weir_bytes item;
    for (bool first = true; weirp_item(&list, &item); first = false) {
        if (!first) weirp_put_byte(b, ',');
        weirp_json(b, item);
    }
}

static WEIRP_APART bool weirp_one_of(const char *s, const char *list) {
    weir_bytes item;
    while (weirp_item(&list, &item))
        if (weir_eq(item, weir_text(s))) return true;
    return false;
}

static WEIRP_APART const char *weirp_check_name(const char *name) {
    weir_bytes n = weir_text(name);
    for (uint32_t i = 0; i < n.n; i++)
        if (!weirp_name_char(n.p[i]) || n.p[i] == '.' || n.p[i] == '$') return "a name is letters, digits, _ and -";
    return n.n < 1 || n.n > WEIR_MAX_NAME_BYTES ? "a name has 1 to 63 bytes" : NULL;
}

static bool weirp_requires(const weir_function *fn, const char *capability) { return fn->requires_ && weirp_one_of(capability, fn->requires_); }

static bool weirp_has_hosted(const weir_function *fn) {
    for (const weir_state *s = fn->state; s && s->name; s++)
        if (weirp_is_hosted(s)) return true;
    return false;
}

static const char *weirp_nested(const weirp_table *t) {
    return t->count > t->columns ? "a list, struct or map" : NULL;
}

/* `keys` is the first input's, to compare the others with. */
static const char *weirp_describe_input(weir_buf *b, const weir_function *fn, const weir_input *in, weirp_table *keys) {
    weirp_table t, k;
    __builtin_memset(&t, 0, sizeof t);
    __builtin_memset(&k, 0, sizeof k);
    if (!in->columns) return "no columns";
    const char *wrong = weirp_schema(&t, in->columns);
    if (!wrong && weirp_nested(&t) && !weirp_requires(fn, "nested")) wrong = "a list, struct or map column needs .requires_ = \"nested\"; without it read JSON from a utf8 column";
    if (!wrong && !in->row && !fn->row && !fn->batch) wrong = "no handler: give .row or .batch";
    weirp_name_member(b, in->name);
    weirp_member(b, "columns", in->columns);
    if (!wrong && in->key) {
        wrong = weirp_key_table(&k, &t, in->key);
        weir_put_text(b, ",\"key\":[");
        weirp_strings(b, in->key);
        weirp_put_byte(b, ']');
    }
    weirp_put_byte(b, '}');
    bool first = in == fn->inputs;
    if (!wrong && !first && k.columns != keys->columns) wrong = "inputs have keys of different types: all have the same, or none has one";
    for (uint32_t i = 0; !wrong && !first && i < k.columns; i++)
        if (k.nodes[i].type != keys->nodes[i].type || k.nodes[i].scale != keys->nodes[i].scale || k.nodes[i].precision != keys->nodes[i].precision)
            wrong = "inputs have keys of different types: all have the same, or none has one";
    weirp_table_free(&t);
    if (first) *keys = k;
    else weirp_table_free(&k);
    return wrong;
}

static const char *weirp_describe_output(weir_buf *b, const weir_output *out) {
    weirp_table t;
    __builtin_memset(&t, 0, sizeof t);
    if (!out->columns) return "no columns";
    const char *wrong = weirp_schema(&t, out->columns);
    if (!wrong && weirp_nested(&t)) wrong = "this SDK writes no list, struct or map columns: write JSON to a utf8 column";
    weirp_table_free(&t);
    weirp_name_member(b, out->name);
    weirp_member(b, "columns", out->columns);
    weirp_put_byte(b, '}');
    return wrong;
}

static const char *weirp_describe_state(weir_buf *b, const weir_state *s) {
    const char *kind = s->kind ? s->kind : "value", *codec = s->codec ? s->codec : "row";
    bool hosted = weirp_is_hosted(s), row = weir_eq(weir_text(codec), weir_lit("row"));
    if (!weirp_one_of(kind, "value,reducing,aggregating,list,map")) return "a kind is value, reducing, aggregating, list or map";
    if (s->form && !weirp_one_of(s->form, "framed,hosted")) return "a form is framed or hosted";
    if (hosted && !weirp_one_of(kind, "list,map")) return "only a list or a map is hosted";
    if (!hosted && weirp_one_of(kind, "map")) return "a map is hosted";
    if (weirp_one_of(kind, "map") != (s->key != NULL)) return "a map has a key type, and nothing else has";
    if (s->ttl_on && !weirp_one_of(s->ttl_on, "write,read_write")) return "ttl_on is write or read_write";
    if (s->ttl_ms < 0) return "a ttl below 0";
    if (s->max_bytes > WEIR_MAX_STATE_BYTES) return "max_bytes over 1 MiB: use a hosted map or list";
    if (row != (s->fields || s->value)) return "codec row needs WEIR_VALUE(struct) or .value; other codecs have neither";
    weirp_name_member(b, s->name);
    weirp_member(b, "kind", kind);
    weirp_member(b, "form", hosted ? "hosted" : "framed");
    weirp_member(b, "codec", codec);
    weir_buf value = {NULL, 0, 0, false};
    uint32_t before = 0;
    bool ascending = true;
    for (const weir_field *f = s->fields; f && f->name; f++) {
        if (f != s->fields) weirp_put_byte(&value, ',');
        weirp_put_number(&value, f->id);
        weirp_put_byte(&value, ':');
        weir_put_text(&value, f->name);
        weirp_put_byte(&value, ':');
        weir_put_text(&value, f->type_text);
        ascending &= f->id > before && f->id <= WEIR_MAX_FIELD_ID;
        before = f->id;
    }
    if (!s->fields && s->value) weir_put_text(&value, s->value);
    weir_put_text(b, ",\"value\":");
    weirp_json(b, weir_buf_bytes(&value));
    weir_buf_free(&value);
    if (s->key) weirp_member(b, "key", s->key);
    weirp_number_member(b, "version", s->version ? s->version : 1);
    weirp_number_member(b, "ttl_ms", s->ttl_ms);
    weirp_member(b, "ttl_on", s->ttl_on ? s->ttl_on : "write");
    if (!hosted) weirp_number_member(b, "max_bytes", s->max_bytes ? s->max_bytes : WEIR_DEFAULT_STATE_BYTES);
    weirp_put_byte(b, '}');
    return ascending ? NULL : "field ids ascend, from 1 to 65535";
}

/* Writes one list of a function: names are checked alike, the rest by the list's own rule. */
#define WEIRP_EACH(T, list, word, json, statement) \
    weir_put_text(b, ",\"" json "\":["); \
    for (const T *e = (list); e && e->name; e++) { \
        at->what = word; \
        at->name = e->name; \
        if ((wrong = weirp_check_name(e->name))) return wrong; \
        for (const T *f = (list); f < e; f++) \
            if (weir_eq(weir_text(f->name), weir_text(e->name))) return "the name stands twice"; \
        if (e - (list) >= WEIR_MAX_PORTS) return "more than 64"; \
        if (e != (list)) weirp_put_byte(b, ','); \
        statement \
    } \
    weirp_put_byte(b, ']');

static const char *weirp_describe_function(weir_buf *b, weirp_describe *at, weirp_table *keys) {
    const weir_function *fn = at->fn;
    const char *wrong = weirp_check_name(fn->name);
    if (wrong) return wrong;
    for (const weir_function *f = weir_functions; f < fn; f++)
        if (weir_eq(weir_text(f->name), weir_text(fn->name))) return "the name stands twice";
    weirp_name_member(b, fn->name);
    if (fn->type) weirp_member(b, "type", fn->type);
    if (fn->doc) weirp_member(b, "doc", fn->doc);
    if (!fn->inputs || !fn->inputs[0].name) return "no inputs";
    bool keyed = fn->inputs[0].key != NULL;
    WEIRP_EACH(weir_input, fn->inputs, "input", "inputs", if ((wrong = weirp_describe_input(b, fn, e, keys))) return wrong;)
    WEIRP_EACH(weir_output, fn->outputs, "output", "outputs", if ((wrong = weirp_describe_output(b, e))) return wrong;)
    WEIRP_EACH(weir_state, fn->state, "state", "state",
        if (!keyed) return "only a keyed function has state: give its inputs a .key";
        if ((wrong = weirp_describe_state(b, e))) return wrong;)
    WEIRP_EACH(weir_timer, fn->timers, "timer", "timers",
        if (!keyed) return "only a keyed function has timers: give its inputs a .key";
        if (!e->fire && !fn->fire) return "no handler: give .fire";
        weirp_name_member(b, e->name);
        weirp_member(b, "kind", e->kind == WEIR_EVENT_TIME ? "event" : "processing");
        weirp_put_byte(b, '}');)
    at->what = NULL;
    weir_put_text(b, ",\"requires\":[");
    bool hosted = weirp_has_hosted(fn) && !weirp_requires(fn, "hosted_state");
    weir_bytes item;
    const char *list = fn->requires_;
    if (hosted) weir_put_text(b, "\"hosted_state\"");
    if (hosted && weirp_item(&list, &item)) weirp_put_byte(b, ',');
    weirp_strings(b, fn->requires_);
    weir_put_text(b, "]}");
    return NULL;
}

/* Capabilities that any function needs. */
static void weirp_describe_requires(weir_buf *b) {
    static const char *const known[] = {"hosted_state", "positions", "changelog", "nested"};
    bool first = true;
    for (uint32_t i = 0; i < sizeof known / sizeof *known; i++) {
        bool needed = false;
        for (const weir_function *fn = weir_functions; fn->name; fn++) needed |= weirp_requires(fn, known[i]) || (i == 0 && weirp_has_hosted(fn));
        if (!needed) continue;
        if (!first) weirp_put_byte(b, ',');
        first = false;
        weirp_json(b, weir_text(known[i]));
    }
}

static void weirp_describe_error(const weirp_describe *at, const char *why) {
    weir_buf t = {NULL, 0, 0, false};
    if (at->fn) {
        weir_put_text(&t, "function ");
        weir_put_text(&t, at->fn->name);
        weir_put_text(&t, ": ");
    }
    if (at->fn && at->what) {
        weir_put_text(&t, at->what);
        weir_put_text(&t, " ");
        weir_put_text(&t, at->name);
        weir_put_text(&t, ": ");
    }
    weir_put_text(&t, why);
    weirp_answer.n = 0;
    weir_put_text(&weirp_answer, "{\"error\":");
    weirp_json(&weirp_answer, weir_buf_bytes(&t));
    weirp_put_byte(&weirp_answer, '}');
    weir_buf_free(&t);
}

static void weirp_do_describe(const unsigned char *p, uint32_t n) {
    weirp_describe at = {NULL, NULL, NULL};
    weirp_answer.n = 0;
    weirp_answer.failed = false;
    const char *wrong = weirp_container(p, n, WEIR_KIND_DESCRIBE);
    for (uint32_t i = 0; !wrong && i < weirp_sections(p); i++)
        if (weirp_section_at(p, i).id != WEIR_DESCRIBE_PARAMS && weirp_section_at(p, i).flags & WEIR_SECTION_MUST)
            wrong = "the describe container has a section this guest does not know: upgrade the guest";
    if (wrong) {
        weirp_describe_error(&at, wrong);
        return;
    }
    weir_buf *b = &weirp_answer;
    weir_put_text(b, "{\"abi\":{\"major\":");
    weirp_put_number(b, WEIR_ABI_MAJOR);
    weirp_number_member(b, "minor", WEIR_ABI_MINOR);
    weir_put_text(b, "}");
    weirp_member(b, "sdk", WEIRP_SDK);
    weir_put_text(b, ",\"requires\":[");
    weirp_describe_requires(b);
    weir_put_text(b, "],\"functions\":[");
    for (const weir_function *fn = weir_functions; fn->name && !wrong; fn++) {
        weirp_table keys;
        __builtin_memset(&keys, 0, sizeof keys);
        at.fn = fn;
        at.what = NULL;
        if (fn != weir_functions) weirp_put_byte(b, ',');
        wrong = fn - weir_functions >= WEIR_MAX_FUNCTIONS ? "more than 256 functions" : weirp_describe_function(b, &at, &keys);
        weirp_table_free(&keys);
    }
    weirp_put_byte(b, ']');
    if (&weir_graph && weir_graph) {
        weir_put_text(b, ",\"graph\":");
        weir_put_text(b, weir_graph);
    }
    weirp_put_byte(b, '}');
    if (!wrong && b->failed) wrong = "out of memory: raise the limit of the guest's memory";
    if (!wrong && b->n > WEIR_MAX_MANIFEST_BYTES) {
        at.fn = NULL;
        wrong = "the manifest passes 1 MiB: split the module";
    }
    if (wrong) {
        b->failed = false;
        weirp_describe_error(&at, wrong);
    }
}

/* ---- Exports ---- */

#ifdef __wasm__
static weir_buf weirp_argument;

static uint64_t weirp_packed(void) { return (uint64_t)(uintptr_t)weirp_answer.p << 32 | weirp_answer.n; }

__attribute__((export_name("weir_abi_v1"))) int32_t weir_abi_v1(void) { return WEIR_ABI_MINOR; }

__attribute__((export_name("weir_alloc"))) uint32_t weir_alloc(uint32_t size) {
    weirp_argument.n = 0;
    if (size < 16) size = 16;
    return weirp_reserve(&weirp_argument, size) ? (uint32_t)(uintptr_t)weirp_argument.p : 0;
}

__attribute__((export_name("weir_describe"))) uint64_t weir_describe(uint32_t p, uint32_t n) {
    weirp_do_describe((const unsigned char *)(uintptr_t)p, n);
    return weirp_packed();
}

__attribute__((export_name("weir_open"))) uint64_t weir_open(uint32_t p, uint32_t n) {
    weirp_do_open((const unsigned char *)(uintptr_t)p, n);
    return weirp_packed();
}

__attribute__((export_name("weir_call"))) uint64_t weir_call(uint32_t handle, uint32_t p, uint32_t n) {
    weirp_do_call(handle, (const unsigned char *)(uintptr_t)p, n);
    return weirp_packed();
}
#else
weir_bytes weir_native_describe(const void *p, uint32_t n) {
    weirp_do_describe((const unsigned char *)p, n);
    return weir_buf_bytes(&weirp_answer);
}
weir_bytes weir_native_open(const void *p, uint32_t n) {
    weirp_do_open((const unsigned char *)p, n);
    return weir_buf_bytes(&weirp_answer);
}
weir_bytes weir_native_call(uint32_t handle, const void *p, uint32_t n) {
    weirp_do_call(handle, (const unsigned char *)p, n);
    return weir_buf_bytes(&weirp_answer);
}
#endif

#ifdef __cplusplus
}
#endif
#endif /* WEIR_IMPLEMENTATION */
