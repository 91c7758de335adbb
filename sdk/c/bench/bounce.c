/* A stateful function that counts and passes each message on to another address: what docs/benchmarks.md measures for C.
 * A message is the state of a random number generator (u64), the number of addresses (u64), and padding. */
#define WEIR_IMPLEMENTATION
#include "../weir.h"

typedef struct { int64_t count; } seen;
WEIR_FIELDS(seen, WEIR_FIELD(seen, 1, count, int64));

static uint64_t load(const unsigned char *p) {
    uint64_t v = 0;
    for (int i = 0; i < 8; i++) v |= (uint64_t)p[i] << 8 * i;
    return v;
}

static void bounce(weir_ctx *c) {
    weir_edit(seen, c, 0)->count++;
    weir_bytes m = weir_str(c, WEIR_MESSAGE_VALUE);
    unsigned char value[256];
    if (m.n < 16 || m.n > sizeof value) {
        weir_fail(c, "a message is 16 to 256 bytes");
        return;
    }
    __builtin_memcpy(value, m.p, m.n);
    uint64_t x = load(value), n = load(value + 8);
    x ^= x << 13, x ^= x >> 7, x ^= x << 17;
    for (int i = 0; i < 8; i++) value[i] = (unsigned char)(x >> 8 * i);
    char id[24];
    uint32_t at = sizeof id;
    for (uint64_t v = n ? x % n : 0;; v /= 10) {
        id[--at] = (char)('0' + v % 10);
        if (v < 10) break;
    }
    weir_send(c, weir_text("bench.weir/bounce"), (weir_bytes){id + at, (uint32_t)sizeof id - at}, weir_text("io.weir/bytes"),
              (weir_bytes){(const char *)value, m.n});
}

WEIR_MODULE({.name = "bounce", .type = "bench.weir/bounce", .doc = "Passes each message on.",
             .inputs = WEIR_INPUTS(WEIR_MESSAGES), .outputs = WEIR_OUTPUTS(WEIR_SENT),
             .state = WEIR_STATES({.name = "seen", WEIR_VALUE(seen)}), .row = bounce});
