/* The time between START and END, and a timer that gives up after four hours. The rules, with their numbers, stand in
 * ../README.md. */
#define WEIR_IMPLEMENTATION
#include "weir.h"

#define LIMIT (4 * WEIR_HOUR)

enum { ID, KIND, AT };        /* columns of events */
enum { OUT, GAVE_UP };        /* outputs */
enum { GIVE_UP, SETTLE };     /* timers */

typedef struct {
    int64_t start, waiting, closed;
    bool has_start, has_waiting, has_closed;
} run;
WEIR_FIELDS(run, WEIR_NULLABLE(run, 1, start, timestamp, has_start), WEIR_NULLABLE(run, 2, waiting, timestamp, has_waiting),
            WEIR_NULLABLE(run, 3, closed, timestamp, has_closed));

static void completed(weir_ctx *c, int64_t start, int64_t end) {
    weir_row out = weir_emit(c, OUT);
    weir_set_str(out, 0, weir_key_str(c, 0));
    weir_set_i64(out, 1, start);
    weir_set_i64(out, 2, end);
    weir_set_i64(out, 3, (end - start) / WEIR_SECOND);
    weir_set_time(out, end);
}

static void give_up(weir_ctx *c, run *r) {
    weir_row out = weir_emit(c, GAVE_UP);
    weir_set_str(out, 0, weir_key_str(c, 0));
    weir_set_i64(out, 1, r->start);
    weir_set_time(out, r->start + LIMIT);
    weir_timer_delete(c, GIVE_UP, r->start + LIMIT);
    r->has_start = false;
}

static void open_run(weir_ctx *c, run *r, int64_t t) {
    r->start = t;
    r->has_start = true;
    weir_timer_set(c, GIVE_UP, t + LIMIT);
}

static void started(weir_ctx *c, run *r, int64_t t) {
    if (r->has_closed && t <= r->closed) return; /* 1 */
    if (r->has_waiting) {                        /* 2 */
        r->has_waiting = false;
        if (t <= r->waiting && r->waiting - t < LIMIT) {
            completed(c, t, r->waiting);
            r->closed = r->waiting;
            r->has_closed = true;
            return;
        }
    }
    if (r->has_start && t >= r->start + LIMIT) give_up(c, r); /* 4 */
    if (!r->has_start) {                                      /* 3 */
        open_run(c, r, t);
    } else if (t < r->start) { /* 5 */
        weir_timer_delete(c, GIVE_UP, r->start + LIMIT);
        open_run(c, r, t);
    } /* 6 */
}

static void ended(weir_ctx *c, run *r, int64_t t) {
    if (r->has_closed && t <= r->closed) return; /* 7 */
    if (r->has_start && t < r->start) return;    /* 8 */
    if (r->has_start && t - r->start < LIMIT) {  /* 9 */
        completed(c, r->start, t);
        weir_timer_delete(c, GIVE_UP, r->start + LIMIT);
        r->has_start = false;
        r->closed = t;
        r->has_closed = true;
        weir_timer_set(c, SETTLE, t);
        return;
    }
    if (r->has_start) give_up(c, r); /* 10 */
    if (!r->has_waiting || t < r->waiting) r->waiting = t; /* 11 */
    r->has_waiting = true;
    weir_timer_set(c, SETTLE, t);
}

static void clear_if_empty(weir_ctx *c, const run *r) {
    if (!r->has_start && !r->has_waiting && !r->has_closed) weir_clear(c, 0);
}

static void refuse(weir_ctx *c, weir_bytes kind) {
    weir_buf text = {0};
    weir_put_text(&text, "kind \"");
    weir_put(&text, kind.p, kind.n);
    weir_put_text(&text, "\": want START or END");
    weir_fail_bytes(c, weir_buf_bytes(&text));
    weir_buf_free(&text);
}

static void on_event(weir_ctx *c) {
    weir_bytes kind = weir_str(c, KIND);
    bool start = weir_eq(kind, weir_lit("START"));
    if (!start && !weir_eq(kind, weir_lit("END"))) {
        refuse(c, kind);
        return;
    }
    run *r = weir_edit(run, c, 0);
    (start ? started : ended)(c, r, weir_i64(c, AT));
    clear_if_empty(c, r);
}

static void on_give_up(weir_ctx *c) {
    const run *have = weir_get(run, c, 0);
    if (!have || !have->has_start || have->start + LIMIT != c->time) return;
    run *r = weir_edit(run, c, 0);
    give_up(c, r);
    clear_if_empty(c, r);
}

static void on_settle(weir_ctx *c) {
    if (!weir_get(run, c, 0)) return;
    run *r = weir_edit(run, c, 0);
    if (r->has_waiting && r->waiting <= c->time) r->has_waiting = false;
    if (r->has_closed && r->closed <= c->time) r->has_closed = false;
    clear_if_empty(c, r);
}

WEIR_MODULE({.name = "durations", .doc = "The time between START and END; gives up after four hours.",
             .inputs = WEIR_INPUTS({.name = "events", .columns = "id:utf8,kind:utf8,at:timestamp", .key = "id"}),
             .outputs = WEIR_OUTPUTS({.name = "out", .columns = "id:utf8,start:timestamp,end:timestamp,seconds:int64"},
                                     {.name = "gave_up", .columns = "id:utf8,start:timestamp"}),
             .state = WEIR_STATES({.name = "run", WEIR_VALUE(run)}),
             .timers = WEIR_TIMERS({.name = "give_up", .fire = on_give_up}, {.name = "settle", .fire = on_settle}),
             .row = on_event});
