/* SPDX-License-Identifier: Apache-2.0
 *
 * plan_bench.c - what a tracking plan costs an event: normalising alone, and
 * with a gate of 200 rules whose schema is as Segment exports it; for an event
 * that is as planned, one with violations, and one that loses members.
 *
 *   build/release/plan_bench [EVENTS]     microseconds for one event */
#include "base/clock.h"
#include "ingest/event.h"
#include "ingest/gate.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RULES  200
#define EVENTS 200000

static const char properties[] =
    "\"order_id\":{\"type\":\"string\",\"pattern\":\"^[A-Z]{2}-[0-9]+$\"},"
    "\"affiliation\":{\"type\":[\"string\",\"null\"]},"
    "\"total\":{\"type\":\"number\",\"minimum\":0},"
    "\"revenue\":{\"type\":\"number\"},\"tax\":{\"type\":\"number\"},"
    "\"discount\":{\"type\":[\"number\",\"null\"]},"
    "\"coupon\":{\"type\":\"string\",\"maxLength\":40},"
    "\"currency\":{\"type\":\"string\",\"enum\":[\"EUR\",\"USD\",\"GBP\"]},"
    "\"ordered_at\":{\"type\":\"string\",\"format\":\"date-time\"},"
    "\"products\":{\"type\":\"array\",\"items\":{\"type\":\"object\","
    "\"properties\":{\"product_id\":{\"type\":\"string\"},\"sku\":{\"type\":"
    "\"string\"},\"name\":{\"type\":\"string\"},\"price\":{\"type\":"
    "\"number\"},\"quantity\":{\"type\":\"integer\"}},\"required\":["
    "\"product_id\",\"price\"]}}";

static const char event[] =
    "{\"type\":\"track\",\"event\":\"Event 117\",\"userId\":\"user-4711\","
    "\"messageId\":\"ajs-next-1768212000000-1b9d6bcd\",\"timestamp\":"
    "\"2026-01-12T10:00:00.000Z\",\"properties\":{\"order_id\":%s,"
    "\"affiliation\":\"Shop\",\"total\":49.9,\"revenue\":41.93,\"tax\":7.97,"
    "\"discount\":null,\"coupon\":\"WINTER\",\"currency\":\"EUR\","
    "\"ordered_at\":\"2026-01-12T09:59:58.123Z\",%s\"products\":[{"
    "\"product_id\":\"p1\",\"sku\":\"S-1\",\"name\":\"Lamp\",\"price\":19.95,"
    "\"quantity\":2},{\"product_id\":\"p2\",\"sku\":\"S-2\",\"name\":"
    "\"Bulb\",\"price\":10,\"quantity\":1}]},\"context\":{\"ip\":"
    "\"203.0.113.7\",\"library\":{\"name\":\"analytics.js\",\"version\":"
    "\"next-1.84.1\"},\"locale\":\"de-DE\",\"page\":{\"path\":\"/thanks\","
    "\"referrer\":\"https://shop.example.com/cart\",\"title\":\"Thanks\","
    "\"url\":\"https://shop.example.com/thanks\"},\"userAgent\":\"Mozilla/5.0 "
    "(X11; Linux x86_64) AppleWebKit/537.36 Chrome/143.0 Safari/537.36\"}}";

static struct arena arena;
static struct buf kept;
static unsigned rounds = EVENTS;

static struct gate *make_gate(const char *controls)
{
    struct faults *f = xcalloc(1, sizeof *f);
    struct plan *plan;
    struct buf b;

    buf_init(&b, 8u << 20);
    buf_puts(&b, "{\"rules\":[{\"type\":\"COMMON\",\"jsonSchema\":{"
                 "\"required\":[\"userId\",\"context\"]}}");
    for (int i = 0; i < RULES; i++)
        buf_printf(&b, ",{\"key\":\"Event %d\",\"type\":\"TRACK\",\"version\":"
                       "1,\"jsonSchema\":{\"type\":\"object\",\"properties\":"
                       "{\"context\":{},\"traits\":{},\"properties\":{"
                       "\"type\":\"object\",\"properties\":{%s},\"required\":"
                       "[\"order_id\",\"total\"]}},\"required\":["
                       "\"properties\"]}}", i, properties);
    buf_puts(&b, "]}");
    faults_init(f);
    plan = plan_compile(buf_view(&b), "plan", f);
    ASSERT(plan);
    faults_deinit(f);
    free(f);
    buf_deinit(&b);
    return gate_new(MF_STR("web"), json_root(mf_cstr(controls)), plan, NULL);
}

static double measure(struct gate *g, struct gate_room *k, mf_str text)
{
    struct event_envelope env = { .type = -1, .received_ms = 1768212000000,
                                  .received_text =
                                      "2026-01-12T10:00:00.000Z" };
    struct event_fault fault;
    struct gate_verdict v;
    int64_t began = clock_mono_ns();
    mf_str id;

    for (unsigned i = 0; i < rounds; i++) {
        arena_reset(&arena);
        buf_clear(&kept);
        ASSERT(event_normalise(json_root(text), &env, &kept, &id, &arena,
                               &fault) == 0);
        if (g) {
            gate_room_reset(k);
            gate_judge(g, k, &kept, &v);
        }
    }
    return (double)(clock_mono_ns() - began) / 1000 / rounds;
}

int main(int argc, char **argv)
{
    struct gate *told = make_gate("{}");
    struct gate *omits = make_gate(
        "{\"track\":{\"allow_unplanned_event_properties\":false}}");
    struct gate_room *k = gate_room_new();
    char *good = xasprintf(event, "\"AB-1234\"", "");
    char *bad = xasprintf(event, "1234", "");
    char *more = xasprintf(event, "\"AB-1234\"", "\"un\":\"planned\",");

    if (argc > 1)
        rounds = (unsigned)strtoul(argv[1], NULL, 10);
    arena_init(&arena, 1u << 20);
    buf_init(&kept, 1u << 20);
    printf("%zu bytes of event, %d rules\n", strlen(good), RULES);
    printf("normalised alone     %.2f us\n", measure(NULL, k, mf_cstr(good)));
    printf("as planned           %.2f us\n", measure(told, k, mf_cstr(good)));
    printf("as planned, omitting %.2f us\n", measure(omits, k, mf_cstr(good)));
    printf("a violation          %.2f us\n", measure(told, k, mf_cstr(bad)));
    printf("a member taken out   %.2f us\n", measure(omits, k, mf_cstr(more)));
    gate_release(told);
    gate_release(omits);
    gate_room_free(k);
    arena_deinit(&arena);
    buf_deinit(&kept);
    free(good);
    free(bad);
    free(more);
    return 0;
}
