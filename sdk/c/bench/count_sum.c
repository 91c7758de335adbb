/* Count and sum per key, and a stateless map: what docs/benchmarks.md measures for C. */
#define WEIR_IMPLEMENTATION
#include "../weir.h"

typedef struct { int64_t count, sum; } total;
WEIR_FIELDS(total, WEIR_FIELD(total, 1, count, int64), WEIR_FIELD(total, 2, sum, int64));

enum { KEY, VALUE, PAD };

static void count_sum(weir_ctx *c) {
    total *t = weir_edit(total, c, 0);
    t->count++;
    t->sum += weir_i64(c, VALUE);
    weir_row out = weir_emit(c, 0);
    weir_set_i64(out, 0, weir_key_i64(c, 0));
    weir_set_i64(out, 1, t->count);
    weir_set_i64(out, 2, t->sum);
}

static void map(weir_ctx *c) {
    for (uint32_t n; (n = weir_bulk(c, 0));) {
        const int64_t *key = weir_i64s(c, KEY), *value = weir_i64s(c, VALUE);
        int64_t *out_key = weir_out_i64s(c, 0, 0), *out_value = weir_out_i64s(c, 0, 1);
        if (!key || !value || !out_key || !out_value) return;
        for (uint32_t i = 0; i < n; i++) {
            out_key[i] = key[c->row + i];
            out_value[i] = (int64_t)((uint64_t)value[c->row + i] * 2 + 1);
        }
    }
}

WEIR_MODULE(
    {.name = "count_sum", .doc = "Counts the rows of a key and sums their values.",
     .inputs = WEIR_INPUTS({.name = "in", .columns = "key:int64,value:int64,pad:utf8", .key = "key"}),
     .outputs = WEIR_OUTPUTS({.name = "out", .columns = "key:int64,count:int64,sum:int64"}),
     .state = WEIR_STATES({.name = "total", WEIR_VALUE(total)}),
     .row = count_sum},
    {.name = "map", .doc = "value * 2 + 1, without state.",
     .inputs = WEIR_INPUTS({.name = "in", .columns = "key:int64,value:int64,pad:utf8"}),
     .outputs = WEIR_OUTPUTS({.name = "out", .columns = "key:int64,value:int64"}),
     .batch = map});
