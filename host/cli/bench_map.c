/* SPDX-License-Identifier: Apache-2.0
 *
 * bench_map.c - `manifold bench map`: what a destination's own work on an
 * event costs: choosing its subscriptions, mapping, and writing the requests.
 * No network, one thread, processor time.
 *
 * Events are of all six kinds, 850 bytes or so, as the journal holds them;
 * the mappings are the defaults of the plugins. Where MANIFOLD_VECTORS names a
 * directory of recordings, those of the two plugins are played as well, each
 * as one line of `manifold map`: with its mapping compiled and its settings
 * checked for it alone. */
#include "cli/bench_map.h"

#include "cli/cases.h"
#include "cli/commands.h"

#include "base/io.h"
#include "base/text.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define RUNS           5 /* the median counts */
#define ROUND_EVENTS   200
#define ARENA_BYTES    (4u << 20)
#define VECTORS_BYTES  (64u << 20)
#define VECTORS_MAX    2000
#define CONTEXT                                                                \
    "\"context\":{\"ip\":\"203.0.113.7\",\"locale\":\"en-GB\",\"timezone\":"   \
    "\"Europe/Berlin\",\"library\":{\"name\":\"bench\",\"version\":\"1.0.0\"}" \
    ",\"page\":{\"path\":\"/checkout/thanks\",\"referrer\":\"https://news."    \
    "example.com/\",\"search\":\"?utm_source=news\",\"title\":\"Thanks\","     \
    "\"url\":\"https://shop.example.com/checkout/thanks?utm_source=news\"},"   \
    "\"campaign\":{\"name\":\"spring\",\"source\":\"news\"},\"userAgent\":"    \
    "\"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko)" \
    " Chrome/126.0\"}"
#define TIMES                                                                  \
    ",\"timestamp\":\"2026-01-12T10:00:00.000Z\",\"originalTimestamp\":"       \
    "\"2026-01-12T10:00:00.000Z\",\"sentAt\":\"2026-01-12T10:00:01.000Z\","    \
    "\"receivedAt\":\"2026-01-12T10:00:01.000Z\"}"
#define HEAD(type, id)                                                         \
    "{\"type\":\"" type "\",\"messageId\":\"b3c1f0de-0000-4000-8000-00000000"  \
    "000" id "\",\"userId\":\"user-0001\",\"anonymousId\":\"5f2e6d1c-8f0e-"    \
    "4f55-9d5e-000000000001\","

static const char *const events[] = {
    HEAD("track", "1") "\"event\":\"Order Completed\",\"properties\":{"
    "\"order_id\":\"ord-1001\",\"total\":49.98,\"revenue\":44.98,\"shipping\":"
    "3,\"tax\":2,\"currency\":\"EUR\",\"products\":[{\"product_id\":\"p-1\","
    "\"sku\":\"SKU-1\",\"name\":\"Red Hat\",\"price\":19.99,\"quantity\":2},"
    "{\"product_id\":\"p-2\",\"sku\":\"SKU-2\",\"name\":\"Blue Cap\","
    "\"price\":5,\"quantity\":1}]}," CONTEXT TIMES,
    HEAD("identify", "2") "\"traits\":{\"email\":\"ada@shop.example.com\","
    "\"firstName\":\"Ada\",\"lastName\":\"Example\",\"phone\":\"+49301234567\""
    ",\"plan\":\"gold\",\"createdAt\":\"2024-05-01T08:00:00Z\",\"address\":{"
    "\"city\":\"Berlin\",\"country\":\"DE\",\"postalCode\":\"10115\"}},"
    CONTEXT TIMES,
    HEAD("page", "3") "\"name\":\"Thanks\",\"category\":\"Checkout\","
    "\"properties\":{\"path\":\"/checkout/thanks\",\"referrer\":\"https://"
    "news.example.com/\",\"title\":\"Thanks\",\"url\":\"https://shop.example."
    "com/checkout/thanks?utm_source=news\"}," CONTEXT TIMES,
    HEAD("screen", "4") "\"name\":\"Basket\",\"properties\":{\"items\":3,"
    "\"currency\":\"EUR\",\"variation\":\"blue\"}," CONTEXT TIMES,
    HEAD("group", "5") "\"groupId\":\"company-17\",\"traits\":{\"name\":"
    "\"Example Ltd\",\"industry\":\"Retail\",\"employees\":42,\"plan\":"
    "\"business\"}," CONTEXT TIMES,
    HEAD("alias", "6") "\"previousId\":\"visitor-0001\"," CONTEXT TIMES,
};

/* What is loaded, and how it is set up. No subscriptions: the presets. */
static const struct target {
    const char *slug, *settings, *subscriptions;
} targets[] = {
    { "google-analytics-4",
      "{\"measurementId\":\"G-BENCH\",\"apiSecret\":\"bench\"}",
      "[{\"action\":\"purchase\",\"subscribe\":\"type = \\\"track\\\" and "
      "event = \\\"Order Completed\\\"\"},"
      "{\"action\":\"addToCart\",\"subscribe\":\"type = \\\"track\\\" and "
      "event = \\\"Product Added\\\"\"},"
      "{\"action\":\"signUp\",\"subscribe\":\"type = \\\"track\\\" and "
      "event = \\\"Signed Up\\\"\"},"
      "{\"action\":\"login\",\"subscribe\":\"type = \\\"track\\\" and "
      "event = \\\"Signed In\\\"\"},"
      "{\"action\":\"pageView\",\"subscribe\":\"type = \\\"page\\\"\"}]" },
    { "mixpanel",
      "{\"projectToken\":\"bench\",\"apiSecret\":\"bench\","
      "\"apiRegion\":\"US \\ud83c\\uddfa\\ud83c\\uddf8\"}",
      NULL },
};

enum stage { SELECT, MAP, PERFORM, STAGES };

struct bench {
    struct instance *instance;
    struct arena arena;
    uint64_t deliveries, requests; /* of one round of the events */
};

static int64_t cpu_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return t.tv_sec * 1000000000ll + t.tv_nsec;
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return x < y ? -1 : x > y;
}

static double median(double values[RUNS])
{
    qsort(values, RUNS, sizeof *values, by_size);
    return values[RUNS / 2];
}

/* ---- events ---- */

static void perform(struct bench *b, unsigned sub, mf_val event,
                    mf_val payload)
{
    struct call *c = call_new(b->instance, sub);

    call_batch(c, false);
    call_add(c, event, payload);
    call_start(c);
    while (call_next(c))
        b->requests++;
    call_free(c);
}

static void one_event(struct bench *b, mf_val event, enum stage last)
{
    uint8_t subs[SUBSCRIPTIONS_MAX];
    struct err e;
    mf_val payload;
    size_t n;

    arena_reset(&b->arena);
    instance_select(b->instance, event, subs, &n, &b->arena);
    for (size_t k = 0; k < n && last >= MAP; k++) {
        payload = instance_map(b->instance, subs[k], event, false, &b->arena,
                               &e);
        b->deliveries++;
        if (last == PERFORM && payload.type != MF_ABSENT)
            perform(b, subs[k], event, payload);
    }
}

static void round_of(struct bench *b, enum stage last)
{
    b->deliveries = b->requests = 0;
    for (size_t k = 0; k < COUNT_OF(events); k++)
        one_event(b, json_root(mf_cstr(events[k])), last);
}

/* Microseconds an event, up to and with a stage. */
static double time_stage(struct bench *b, enum stage last, double seconds)
{
    int64_t wanted = (int64_t)(seconds * 1e9 / RUNS), began, took;
    double us[RUNS];

    for (unsigned run = 0; run < RUNS; run++) {
        uint64_t n = 0;

        began = cpu_ns();
        do {
            for (unsigned k = 0; k < ROUND_EVENTS; k += COUNT_OF(events)) {
                round_of(b, last);
                n += COUNT_OF(events);
            }
            took = cpu_ns() - began;
        } while (took < wanted);
        us[run] = (double)took / 1000 / (double)n;
    }
    return median(us);
}

static int bench_events(struct plugin *p, const struct target *t,
                        double seconds, struct err *e)
{
    struct instance_config c = {
        .name = t->slug, .settings = json_root(mf_cstr(t->settings))
    };
    struct instance_fault fault;
    struct bench b = { NULL };
    double us[STAGES];

    if (t->subscriptions)
        c.subscriptions = json_root(mf_cstr(t->subscriptions));
    b.instance = instance_new(p, &c, &fault);
    if (!b.instance)
        return err_set(e, "%s: %s", t->slug, fault.err.text);
    arena_init(&b.arena, ARENA_BYTES);
    for (int s = 0; s < STAGES; s++)
        us[s] = time_stage(&b, (enum stage)s, seconds / STAGES);
    printf("%-20s %9.0f events/s/core  %6.2f us/event = select %.2f + map "
           "%.2f + requests %.2f  (%zu events: %llu deliveries, %llu "
           "requests)\n",
           t->slug, 1e6 / us[PERFORM], us[PERFORM], us[SELECT],
           us[MAP] - us[SELECT], us[PERFORM] - us[MAP], COUNT_OF(events),
           (unsigned long long)b.deliveries, (unsigned long long)b.requests);
    arena_deinit(&b.arena);
    instance_free(b.instance);
    return 0;
}

/* ---- recordings ---- */

static void write_answer(struct json_out *w, mf_val request)
{
    mf_iter it = { { 0 } };
    mf_str key;
    mf_val v;

    json_begin_object(w);
    json_kval(w, "method", json_get(request, MF_STR("method")));
    json_kval(w, "url", json_get(request, MF_STR("url")));
    while (json_next(json_get(request, MF_STR("response")), &it, &key, &v)) {
        json_key_raw(w, key);
        json_val(w, v);
    }
    json_end_object(w);
}

/* A recording as a line of `manifold map`. */
static mf_val line_of(mf_val vector, struct arena *a)
{
    static const char *const taken[] = {
        "id", "kind", "action", "settings", "auth", "oauth", "mapping",
        "event", "events", "features", "subscriptionMetadata", "now"
    };
    mf_iter it = { { 0 } };
    struct json_out w;
    struct buf b;
    mf_str key;
    mf_val v;

    buf_init(&b, CASE_BYTES_MAX);
    json_out_init(&w, &b);
    json_begin_object(&w);
    for (size_t k = 0; k < COUNT_OF(taken); k++) {
        v = json_get(vector, mf_cstr(taken[k]));
        if (v.type != MF_ABSENT) {
            json_key(&w, mf_cstr(taken[k]));
            json_val(&w, v);
        }
    }
    json_key(&w, MF_STR("responses"));
    json_begin_array(&w);
    while (json_next(json_get(vector, MF_STR("requests")), &it, &key, &v))
        write_answer(&w, v);
    json_end_array(&w);
    json_end_object(&w);
    key = arena_copy(a, buf_view(&b));
    buf_deinit(&b);
    return json_root(key);
}

static void play(struct plugin *p, const mf_val *lines, size_t count,
                 struct buf *out)
{
    struct case_options o = { .fixed = true };
    const char *fault;
    struct json_out w;

    for (size_t k = 0; k < count; k++) {
        buf_clear(out);
        json_out_init(&w, out);
        case_run(p, lines[k], &o, &w, &fault);
    }
}

/* Microseconds a recording. */
static double time_lines(struct plugin *p, const mf_val *lines, size_t count,
                         double seconds)
{
    int64_t wanted = (int64_t)(seconds * 1e9 / RUNS), began, took;
    double us[RUNS];
    struct buf out;

    buf_init(&out, CASE_BYTES_MAX);
    for (unsigned run = 0; run < RUNS; run++) {
        uint64_t n = 0;

        began = cpu_ns();
        do {
            play(p, lines, count, &out);
            n += count;
            took = cpu_ns() - began;
        } while (took < wanted);
        us[run] = (double)took / 1000 / (double)n;
    }
    buf_deinit(&out);
    return median(us);
}

static int bench_vectors(struct plugin *p, const char *slug, double seconds,
                         struct err *e)
{
    char *path = xasprintf("%s/actions/%s.json", getenv("MANIFOLD_VECTORS"),
                           slug);
    mf_val *lines = xcalloc(VECTORS_MAX, sizeof *lines), v;
    mf_iter it = { { 0 } };
    struct arena arena;
    size_t len, n = 0;
    char *text = NULL;
    mf_str key;
    int rc;

    arena_init(&arena, 2ull * VECTORS_BYTES);
    rc = io_read_file(AT_FDCWD, path, VECTORS_BYTES, &text, &len, e);
    if (rc == 0 && json_check((mf_str){ text, len }, JSON_DEPTH_MAX, NULL) != 0)
        rc = err_set(e, "%s is no JSON", path);
    if (rc == 0) {
        v = json_get(json_root((mf_str){ text, len }), MF_STR("vectors"));
        for (mf_val vector; n < VECTORS_MAX &&
                            json_next(v, &it, &key, &vector);)
            lines[n++] = line_of(vector, &arena);
    }
    if (rc == 0 && n == 0)
        rc = err_set(e, "%s has no vectors", path);
    if (rc == 0)
        printf("%-20s %6.2f us/vector  (%zu recordings, each compiled, "
               "checked and performed)\n",
               slug, time_lines(p, lines, n, seconds), n);
    arena_deinit(&arena);
    free(lines);
    free(text);
    free(path);
    return rc;
}

/* ---- the command ---- */

static int bench_target(const struct target *t, const char *plugins,
                        double seconds, struct err *e)
{
    char *path = xasprintf("%s/%s.so", plugins, t->slug);
    struct plugin *p = plugin_open(path, e);
    int rc = -1;

    free(path);
    if (!p)
        return -1;
    rc = bench_events(p, t, seconds, e);
    if (rc == 0 && getenv("MANIFOLD_VECTORS"))
        rc = bench_vectors(p, t->slug, seconds, e);
    plugin_free(p);
    return rc;
}

int bench_map(const char *plugins, double seconds)
{
    struct err e = { "" };

    for (size_t k = 0; k < COUNT_OF(targets); k++)
        if (bench_target(&targets[k], plugins, seconds, &e) != 0) {
            fprintf(stderr, "manifold bench: %s\n", e.text);
            return EXIT_FAILED;
        }
    return EXIT_OK;
}
