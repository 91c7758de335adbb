/* Runs durations natively over the shared input, one event a call, and compares with ../testdata/day/expected.jsonl.
 *     cc -std=gnu11 -I../../../sdk/c -o test test.c && ./test ../testdata/day
 * It keeps state and timers as the host would, and lets event time follow ten minutes behind the newest event. */
#include "durations.c"

#include <stdio.h>
#include <string.h>
#include <time.h>

#define MAX_KEYS 4096
#define MAX_LINES 8192
#define MAX_TIMERS 64
#define LATENESS (10 * WEIR_MINUTE)

typedef struct {
    char id[64], state[256];
    uint32_t state_n;
    bool present;
    struct { uint32_t timer; int64_t time; } timers[MAX_TIMERS];
    uint32_t timer_count;
} key;

static key keys[MAX_KEYS];
static uint32_t key_count;
static char *got[MAX_LINES], *wanted[MAX_LINES];
static uint32_t got_count, wanted_count;
static int64_t watermark = INT64_MIN;
static uint64_t frame_words[1024];

static void die(const char *why) {
    fprintf(stderr, "%s\n", why);
    exit(1);
}

static int64_t parse_time(const char *s) {
    struct tm tm = {0};
    if (sscanf(s, "%d-%d-%dT%d:%d:%dZ", &tm.tm_year, &tm.tm_mon, &tm.tm_mday, &tm.tm_hour, &tm.tm_min, &tm.tm_sec) != 6) die("bad time");
    int64_t y = tm.tm_year - (tm.tm_mon <= 2), era = y / 400, yoe = y - era * 400;
    int64_t doy = (153 * (tm.tm_mon + (tm.tm_mon > 2 ? -3 : 9)) + 2) / 5 + tm.tm_mday - 1;
    int64_t days = era * 146097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719468;
    return (((days * 24 + tm.tm_hour) * 60 + tm.tm_min) * 60 + tm.tm_sec) * WEIR_SECOND;
}

static void format_time(int64_t t, char out[32]) {
    time_t s = (time_t)(t / WEIR_SECOND);
    strftime(out, 32, "%Y-%m-%dT%H:%M:%SZ", gmtime(&s));
}

/* ---- frames, through the header's own writer ---- */

static void put_column(uint32_t from, uint32_t node, const char *text, const void *value, uint32_t n) {
    if (!text) {
        weirp_node(from, node, 8, weirp_block_put(from, value, n));
        return;
    }
    uint32_t offsets[2] = {0, n};
    weirp_node(from, node, 8, weirp_block_put(from, offsets, 8));
    weirp_node(from, node, 12, weirp_block_put(from, text, n));
    weirp_node(from, node, 16, n);
}

static void put_text_block(uint16_t id, const char *text, uint32_t n, bool present) {
    uint32_t s = weirp_section_begin(id, 0), from = weirp_block_begin(1, 1);
    uint8_t bit = present;
    if (id == WEIR_CALL_STATE) weirp_node(from, 0, 4, weirp_block_put(from, &bit, 1));
    put_column(from, 0, text, NULL, n);
    weirp_block_end(from);
    weirp_section_end(s);
}

static void take_effects(key *k, const unsigned char *p, bool *bad) {
    weirp_table out[2] = {{0}, {0}}, writes = {0}, timers = {0};
    weirp_schema(&out[0], "id:utf8,start:timestamp,end:timestamp,seconds:int64");
    weirp_schema(&out[1], "id:utf8,start:timestamp");
    weirp_schema(&writes, "cause:int32,slot:int32,value:binary?");
    weirp_schema(&timers, "cause:int32,slot:int32,kind:int8,op:int8,timer:int16,time:int64");
    weir_ctx *c = weirp_handles[0];
    for (uint32_t i = 0; i < weirp_sections(p); i++) {
        weirp_section s = weirp_section_at(p, i);
        if (s.id == WEIR_EFFECTS_RESULT && weirp_u32(s.p + 4) != WEIR_STATUS_DONE) *bad = true;
        if (s.id == WEIR_EFFECTS_OUTPUT) {
            weirp_table *t = &out[s.index];
            if (weirp_block(t, s.p, s.n, UINT32_MAX)) die("bad output");
            for (uint32_t row = 0; row < t->rows; row++) {
                char start[32], end[32], *line = (char *)malloc(256);
                format_time(weirp_integer(c, t, 1, row), start);
                int n = snprintf(line, 256, "{\"@output\":\"%s\",\"id\":\"%s\",\"start\":\"%s\"", s.index ? "gave_up" : "out", k->id, start);
                if (!s.index) {
                    format_time(weirp_integer(c, t, 2, row), end);
                    n += snprintf(line + n, 256 - (size_t)n, ",\"end\":\"%s\",\"seconds\":%lld", end, (long long)weirp_integer(c, t, 3, row));
                }
                snprintf(line + n, 256 - (size_t)n, "}");
                got[got_count++] = line;
            }
        }
        if (s.id == WEIR_EFFECTS_STATE) {
            if (weirp_block(&writes, s.p, s.n, 1)) die("bad writes");
            k->present = !weirp_is_null(c, &writes, 2, 0);
            weir_bytes v = k->present ? weirp_var(c, &writes, 2, 0) : weir_lit("");
            memcpy(k->state, v.p, v.n);
            k->state_n = v.n;
        }
        if (s.id != WEIR_EFFECTS_TIMERS) continue;
        if (weirp_block(&timers, s.p, s.n, UINT32_MAX)) die("bad timers");
        for (uint32_t row = 0; row < timers.rows; row++) {
            uint32_t timer = (uint32_t)weirp_integer(c, &timers, 4, row), at = 0;
            int64_t time = weirp_integer(c, &timers, 5, row);
            while (at < k->timer_count && (k->timers[at].timer != timer || k->timers[at].time != time)) at++;
            if (weirp_integer(c, &timers, 3, row) == WEIR_TIMER_OP_DELETE) {
                if (at < k->timer_count) k->timers[at] = k->timers[--k->timer_count];
            } else if (at == k->timer_count) {
                k->timers[k->timer_count].timer = timer;
                k->timers[k->timer_count++].time = time;
            }
        }
    }
    for (int i = 0; i < 2; i++) weirp_table_free(&out[i]);
    weirp_table_free(&writes);
    weirp_table_free(&timers);
}

/* One cause: a row if `kind` is given, else the firing of `timer`. */
static bool call(key *k, const char *kind, uint32_t timer, int64_t time) {
    unsigned char header[WEIR_CALL_SIZE] = {0}, cause[WEIR_CAUSE_SIZE] = {0};
    uint32_t zero = 0;
    memcpy(header + 8, &watermark, 8);
    weirp_w32(header + 24, 1);
    weirp_w32(header + 28, 1);
    weirp_w32(header + 44, 1 << 20);
    weirp_begin(WEIR_KIND_CALL, 6);
    weirp_section_put(WEIR_CALL_CALL, 0, header, sizeof header);
    if (kind) {
        uint32_t s = weirp_section_begin(WEIR_CALL_ROWS, 0), from = weirp_block_begin(1, 3);
        put_column(from, 0, k->id, NULL, (uint32_t)strlen(k->id));
        put_column(from, 1, kind, NULL, (uint32_t)strlen(kind));
        put_column(from, 2, NULL, &time, 8);
        weirp_block_end(from);
        weirp_section_end(s);
        weirp_section_put(WEIR_CALL_SLOTS, 0, &zero, 4);
        weirp_section_put(WEIR_CALL_TIMES, 0, &time, 8);
    } else {
        cause[0] = WEIR_CAUSE_EVENT_TIMER;
        weirp_w16(cause + 2, (uint16_t)timer);
        memcpy(cause + 16, &time, 8);
        weirp_section_put(WEIR_CALL_CAUSES, 0, cause, sizeof cause);
    }
    put_text_block(WEIR_CALL_KEYS, k->id, (uint32_t)strlen(k->id), true);
    put_text_block(WEIR_CALL_STATE, k->state, k->state_n, k->present);
    uint32_t n = weirp_answer.n;
    if (n > sizeof frame_words) die("frame too long");
    memcpy(frame_words, weirp_answer.p, n);
    bool bad = false;
    take_effects(k, (const unsigned char *)weir_native_call(0, frame_words, n).p, &bad);
    return !bad;
}

static void advance(int64_t to) {
    if (to <= watermark) return;
    watermark = to;
    for (uint32_t i = 0; i < key_count; i++)
        for (key *k = &keys[i];;) {
            uint32_t first = 0;
            for (uint32_t t = 1; t < k->timer_count; t++)
                if (k->timers[t].time < k->timers[first].time) first = t;
            if (!k->timer_count || k->timers[first].time > watermark) break;
            uint32_t timer = k->timers[first].timer;
            int64_t time = k->timers[first].time;
            k->timers[first] = k->timers[--k->timer_count];
            if (!call(k, NULL, timer, time)) die("a firing failed");
        }
}

static int by_text(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

static FILE *input(const char *dir, const char *name) {
    char path[1024];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *f = fopen(path, "r");
    if (!f) die(path);
    return f;
}

int main(int argc, char **argv) {
    char line[512], id[64], kind[64], at[64];
    const char *dir = argc > 1 ? argv[1] : "../testdata/day";
    weirp_begin(WEIR_KIND_OPEN, 1);
    weirp_section_put(WEIR_OPEN_FUNCTION, 0, "durations", 9);
    memcpy(frame_words, weirp_answer.p, weirp_answer.n);
    weir_native_open(frame_words, weirp_answer.n);
    if (weirp_handle_count != 1) die("durations does not open");
    FILE *f = input(dir, "input.jsonl");
    int64_t newest = INT64_MIN + LATENESS;
    while (fgets(line, sizeof line, f)) {
        if (sscanf(line, "{\"id\":\"%63[^\"]\",\"kind\":\"%63[^\"]\",\"at\":\"%63[^\"]\"}", id, kind, at) != 3) die(line);
        uint32_t i = 0;
        while (i < key_count && strcmp(keys[i].id, id)) i++;
        if (i == MAX_KEYS) die("too many keys");
        if (i == key_count) strcpy(keys[key_count++].id, id);
        int64_t t = parse_time(at);
        if (!call(&keys[i], kind, 0, t)) die("a row failed");
        if (t > newest) newest = t;
        advance(newest - LATENESS);
    }
    fclose(f);
    advance(INT64_MAX);
    f = input(dir, "expected.jsonl");
    while (fgets(line, sizeof line, f)) {
        line[strcspn(line, "\n")] = 0;
        wanted[wanted_count++] = strdup(line);
    }
    fclose(f);
    qsort(got, got_count, sizeof *got, by_text);
    qsort(wanted, wanted_count, sizeof *wanted, by_text);
    for (uint32_t i = 0; i < got_count || i < wanted_count; i++)
        if (i >= got_count || i >= wanted_count || strcmp(got[i], wanted[i])) {
            fprintf(stderr, "line %u: got %s, want %s\n", i, i < got_count ? got[i] : "nothing", i < wanted_count ? wanted[i] : "nothing");
            return 1;
        }
    printf("%u lines as expected\n", got_count);
    return 0;
}
