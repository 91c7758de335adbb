/* The header compiled natively, driven by lines on stdin and answering each with a line, so that a test in another language
 * can hold it to vectors: "describe HEX", "open HEX", "call HANDLE HEX" answer in hex; "row HEX" decodes a state row and
 * encodes it again; "i64 N", "f64 BITS", "text HEX", "decimal SCALE HI LO" answer a map key's canonical bytes; "block SCHEMA HEX"
 * prints a column block's values. Every message stands in memory of exactly its length, so that the sanitizer sees a read past it. */
#define WEIR_IMPLEMENTATION
#include "../weir.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* ---- functions to call ---- */

typedef struct {
    int64_t count, sum;
    weir_bytes last;
    bool has_last;
} account;
WEIR_FIELDS(account, WEIR_FIELD(account, 1, count, int64), WEIR_FIELD(account, 2, sum, int64), WEIR_NULLABLE(account, 3, last, utf8, has_last));

enum { KEY, OP, N };
enum { MAIN, SIDE };
enum { ACCOUNT, NOTE };

static bool is(weir_bytes b, const char *s) { return weir_eq(b, weir_text(s)); }

static void act(weir_ctx *c) {
    weir_bytes op = weir_str(c, OP);
    int64_t n = weir_null(c, N) ? 0 : weir_i64(c, N);
    int64_t few = n < 0 ? 0 : n > 70000 ? 70000 : n; /* a garbled frame may ask for anything */
    if (is(op, "clear")) {
        weir_clear(c, ACCOUNT);
    } else if (is(op, "set") || is(op, "unset")) {
        is(op, "set") ? weir_timer_set(c, 0, n) : weir_timer_delete(c, 0, n);
    } else if (is(op, "misread")) {
        weir_f64(c, N);
    } else if (is(op, "many")) {
        for (int64_t i = 0; i < few; i++) weir_set_str(weir_emit(c, MAIN), 0, weir_str(c, KEY));
    } else if (is(op, "note")) {
        weir_bytes *note = weir_edit(weir_bytes, c, NOTE);
        static char filler[70000];
        memset(filler, 'n', sizeof filler);
        *note = weir_keep(c, weirp_span(filler, (uint32_t)few));
    } else {
        account *a = weir_edit(account, c, ACCOUNT);
        a->count++;
        a->sum += n;
        a->last = op;
        a->has_last = true;
        weir_row r = weir_emit(c, MAIN);
        weir_set_str(r, 0, weir_key_str(c, 0));
        weir_set_i64(r, 1, a->count);
        if (n) weir_set_i64(r, 2, a->sum);
        if (is(op, "late")) weir_set_time(r, n);
        weir_timer_set(c, 1, n);
        if (is(op, "fail")) weir_fail(c, "asked to fail");
    }
}

static void fire(weir_ctx *c) {
    const account *a = weir_get(account, c, ACCOUNT);
    weir_row r = weir_emit(c, SIDE);
    weir_set_str(r, 0, weir_key_str(c, 0));
    weir_set_i64(r, 1, c->time);
    weir_set_bool(r, 2, a != NULL);
}

static void echo(weir_ctx *c) {
    weir_row r = weir_emit(c, 0);
    weir_set_bool(r, 0, weir_bool(c, 0));
    weir_set_i8(r, 1, weir_i8(c, 1));
    weir_set_i16(r, 2, weir_i16(c, 2));
    weir_set_i32(r, 3, weir_i32(c, 3));
    weir_set_i64(r, 4, weir_i64(c, 4));
    weir_set_f32(r, 5, weir_f32(c, 5));
    weir_set_f64(r, 6, weir_f64(c, 6));
    weir_set_decimal(r, 7, weir_decimal(c, 7));
    weir_set_str(r, 8, weir_str(c, 8));
    weir_set_str(r, 9, weir_str(c, 9));
    weir_set_i32(r, 10, weir_i32(c, 10));
    weir_set_i64(r, 11, weir_i64(c, 11));
    for (uint32_t i = 0; i < 12; i++)
        if (weir_null(c, i)) weir_set_null(r, i);
}

#define ALL_TYPES "a:bool?,b:int8?,c:int16?,d:int32?,e:int64?,f:float32?,g:float64?,h:decimal(38,3)?,i:utf8?,j:binary?,k:date32?,l:timestamp?"

static void twice(weir_ctx *c) {
    for (uint32_t n; (n = weir_bulk(c, 0));) {
        const int64_t *in = weir_i64s(c, 0);
        int64_t *out = weir_out_i64s(c, 0, 0);
        for (uint32_t i = 0; in && out && i < n; i++) out[i] = (int64_t)((uint64_t)in[c->row + i] * 2);
    }
}

static const char *open_configured(weir_open_info *o) {
    int64_t n;
    return weir_config_int(o, "n", &n) && n > 0 ? NULL : "config: n must be a number above 0";
}

/* The functions behind the golden calls. */
typedef struct { int64_t total; } sum;
WEIR_FIELDS(sum, WEIR_FIELD(sum, 1, total, int64));

static void emit_total(weir_ctx *c, int64_t total) {
    weir_row r = weir_emit(c, 0);
    weir_set_str(r, 0, weir_str(c, 0));
    weir_set_i64(r, 1, total);
}

static void golden(weir_ctx *c) {
    sum *s = weir_edit(sum, c, 0);
    emit_total(c, s->total += weir_i32(c, 1));
    if (weir_i32(c, 1) == 1) weir_timer_set(c, 0, 900);
    if (weir_i32(c, 1) == 3) weir_timer_delete(c, 0, 900);
}

static void golden_failing(weir_ctx *c) {
    const sum *s = weir_get(sum, c, 0);
    if (!s) weir_fail(c, "no such n");
    else emit_total(c, s->total + weir_i32(c, 1));
}

static void golden_fire(weir_ctx *c) { weir_clear(c, 0); }

#define GOLDEN(function) \
    {.name = #function, .row = function, .fire = golden_fire, .inputs = WEIR_INPUTS({.name = "in", .columns = "k:utf8,n:int32", .key = "k"}), \
     .outputs = WEIR_OUTPUTS({.name = "out", .columns = "k:utf8,total:int64"}), .state = WEIR_STATES({.name = "sum", WEIR_VALUE(sum)}), \
     .timers = WEIR_TIMERS({.name = "event"})}

WEIR_MODULE(
    GOLDEN(golden), GOLDEN(golden_failing),
    {.name = "act", .row = act, .fire = fire,
     .inputs = WEIR_INPUTS({.name = "in", .columns = "key:utf8,op:utf8,n:int64?", .key = "key"}),
     .outputs = WEIR_OUTPUTS({.name = "out", .columns = "key:utf8,count:int64,sum:int64?"}, {.name = "side", .columns = "key:utf8,at:timestamp,known:bool"}),
     .state = WEIR_STATES({.name = "account", WEIR_VALUE(account)}, {.name = "note", .codec = "bytes"}),
     .timers = WEIR_TIMERS({.name = "event"}, {.name = "clock", .kind = WEIR_PROCESSING_TIME})},
    {.name = "echo", .row = echo, .inputs = WEIR_INPUTS({.name = "in", .columns = ALL_TYPES}), .outputs = WEIR_OUTPUTS({.name = "out", .columns = ALL_TYPES})},
    {.name = "twice", .batch = twice, .open = open_configured,
     .inputs = WEIR_INPUTS({.name = "in", .columns = "n:int64"}), .outputs = WEIR_OUTPUTS({.name = "out", .columns = "n:int64"})});

/* ---- rows with every type ---- */

typedef struct {
    bool a, has_g;
    int8_t b;
    int16_t c;
    int32_t d;
    int64_t e;
    float f;
    double g;
    weir_dec128 h;
    weir_bytes i;
} every;
WEIR_FIELDS(every, WEIR_FIELD(every, 1, a, bool), WEIR_FIELD(every, 2, b, int8), WEIR_FIELD(every, 3, c, int16), WEIR_FIELD(every, 4, d, int32),
            WEIR_FIELD(every, 5, e, int64), WEIR_FIELD(every, 6, f, float32), WEIR_NULLABLE(every, 7, g, float64, has_g),
            WEIR_FIELD_DECIMAL(every, 8, h, 38, 3), WEIR_FIELD(every, 300, i, utf8));

/* ---- lines ---- */

static void answer(const void *p, uint32_t n) {
    for (uint32_t i = 0; i < n; i++) printf("%02x", ((const unsigned char *)p)[i]);
    printf("\n");
}

/* The bytes of a hex text in memory of exactly that size. */
static unsigned char *unhex(const char *s, uint32_t *n) {
    *n = (uint32_t)strlen(s) / 2;
    unsigned char *p = (unsigned char *)malloc(*n ? *n : 1);
    for (uint32_t i = 0; p && i < *n; i++) {
        unsigned v = 0;
        sscanf(s + 2 * i, "%2x", &v);
        p[i] = (unsigned char)v;
    }
    return p;
}

static void print_cell(weir_ctx *c, const weirp_table *t, uint32_t col, uint32_t i) {
    const weir_col *k = &t->nodes[t->top[col]];
    if (weirp_is_null(c, t, col, i)) {
        printf("null");
        return;
    }
    const unsigned char *p = k->values + (size_t)i * k->width;
    uint32_t from, to;
    double d;
    float f;
    switch (k->type) {
    case WEIR_BOOL: printf(weirp_bit(c, t, col, i) ? "true" : "false"); break;
    case WEIR_FLOAT32: memcpy(&f, p, 4); printf("%.9g", (double)f); break;
    case WEIR_FLOAT64: memcpy(&d, p, 8); printf("%.17g", d); break;
    case WEIR_DECIMAL: printf("%016" PRIx64 "%016" PRIx64, weirp_u64(p + 8), weirp_u64(p)); break;
    case WEIR_UTF8:
    case WEIR_BINARY: {
        weir_bytes b = weirp_var(c, t, col, i);
        for (uint32_t n = 0; n < b.n; n++) printf("%02x", (unsigned char)b.p[n]);
        break;
    }
    case WEIR_LIST:
    case WEIR_MAP:
        if (weir_range(k, i, &from, &to)) printf("[%u,%u)", from, to);
        else printf("bad range");
        break;
    case WEIR_STRUCT: printf("struct"); break;
    default: printf("%" PRId64, weirp_integer(c, t, col, i));
    }
}

static void print_block(const char *schema, const char *hex) {
    static weir_ctx c;
    static const weir_function none = {.name = "none"};
    c.fn = &none;
    c.failed = false;
    weirp_table t = {0};
    uint32_t n;
    unsigned char *p = unhex(hex, &n);
    const char *wrong = weirp_schema(&t, schema);
    if (!wrong) wrong = weirp_block(&t, p, n, UINT32_MAX);
    printf(wrong ? "error: %s" : "%s", wrong ? wrong : "");
    for (uint32_t row = 0; !wrong && row < t.rows; row++)
        for (uint32_t col = 0; col < t.columns; col++) {
            printf(col ? "," : row ? ";" : "");
            print_cell(&c, &t, col, row);
        }
    printf("\n");
    weirp_table_free(&t);
    free(p);
}

static void print_row(const char *hex) {
    uint32_t n;
    unsigned char *p = unhex(hex, &n);
    every e;
    memset(&e, 0, sizeof e);
    weir_buf b = {NULL, 0, 0, false};
    if (!weir_row_decode(every_fields, &e, weirp_span(p, n))) printf("error\n");
    else {
        weir_row_encode(every_fields, &e, &b);
        answer(b.p, b.n);
    }
    weir_buf_free(&b);
    free(p);
}

int main(void) {
    static char line[4 << 20], verb[16], arg[1 << 16], hex[4 << 20];
    static weir_mapkey key;
    while (fgets(line, sizeof line, stdin)) {
        verb[0] = arg[0] = hex[0] = 0;
        uint32_t n = 0, handle = 0;
        int words = sscanf(line, "%15s %65535s %4194303s", verb, arg, hex);
        (void)words;
        if (!strcmp(verb, "block")) print_block(arg, hex);
        else if (!strcmp(verb, "row")) print_row(arg);
        else if (!strcmp(verb, "i64")) {
            weir_mapkey_i64(&key, strtoll(arg, NULL, 10));
            answer(key.b, key.n);
        } else if (!strcmp(verb, "f64")) {
            uint64_t bits = strtoull(arg, NULL, 16);
            double d;
            memcpy(&d, &bits, 8);
            weir_mapkey_f64(&key, d);
            answer(key.b, key.n);
        } else if (!strcmp(verb, "text")) {
            unsigned char *p = unhex(arg, &n);
            weir_mapkey_bytes(&key, weirp_span(p, n));
            answer(key.b, key.n);
            free(p);
        } else if (!strcmp(verb, "decimal")) {
            char *at = strchr(line + 8, ' ') + 1;
            weir_dec128 v;
            v.hi = strtoll(at, &at, 10);
            v.lo = strtoull(at, NULL, 10);
            weir_mapkey_decimal(&key, v, (uint32_t)atoi(arg));
            answer(key.b, key.n);
        } else {
            char *space = strchr(line, ' '), *from = space ? space + 1 : line + strlen(line);
            if (!strcmp(verb, "call")) handle = (uint32_t)strtoul(from, &from, 10);
            while (*from == ' ') from++;
            from[strcspn(from, "\n")] = 0;
            unsigned char *p = unhex(from, &n);
            weir_bytes b = !strcmp(verb, "describe") ? weir_native_describe(p, n) : !strcmp(verb, "open") ? weir_native_open(p, n) : weir_native_call(handle, p, n);
            answer(b.p, b.n);
            free(p);
        }
        fflush(stdout);
    }
    return 0;
}
