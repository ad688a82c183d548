/* SPDX-License-Identifier: Apache-2.0
 *
 * event_bench.c - what an event costs ingest, step by step, without a network:
 *
 *   event_bench [SECONDS [IDS]]
 *
 * Nanoseconds an event of 850 bytes, of the best of several rounds: the check
 * of the JSON, finding the events of a batch, the normalised form, the hash of
 * its id; then what is done under the intake's lock: whether the id is known
 * (among IDS, a million by default), the copy into the journal's staging with
 * its checksum, and the id's way into the set. */
#include "base/clock.h"
#include "base/mem.h"
#include "base/text.h"
#include "ingest/dedupe.h"
#include "ingest/event.h"
#include "journal/ids.h"
#include "journal/segment.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BATCH  100
#define ROUNDS 20 /* each as long as the others; the best counts */
#define ID_AT  29 /* where the event's id stands in its text */

static const char event[] =
    "{\"type\":\"track\",\"messageId\":\"0000000000000000\",\"event\":"
    "\"Order Completed\",\"userId\":\"user-0001\",\"anonymousId\":"
    "\"5f2e6d1c-8f0e-4f55-9d5e-000000000001\",\"timestamp\":"
    "\"2026-01-12T10:00:00.000Z\",\"properties\":{\"order_id\":\"ord-1001\","
    "\"total\":49.98,\"revenue\":44.98,\"shipping\":3,"
    "\"tax\":2,\"currency\":\"EUR\",\"products\":[{\"product_id\":\"p-1\","
    "\"sku\":\"SKU-1\",\"name\":\"Red Hat\",\"price\":19.99,\"quantity\":"
    "2},{\"product_id\":\"p-2\",\"sku\":\"SKU-2\",\"name\":\"Blue Cap\","
    "\"price\":5,\"quantity\":1}]},\"context\":{\"ip\":\"203.0.113.7\","
    "\"locale\":\"en-GB\",\"library\":{\"name\":\"bench\",\"version\":"
    "\"1.0.0\"},\"page\":{\"path\":\"/checkout/thanks\",\"referrer\":\"\","
    "\"title\":\"Thanks\",\"url\":\"https://shop.example.com/checkout/"
    "thanks?utm_source=news\"},\"userAgent\":\"Mozilla/5.0 (X11; Linux "
    "x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0\"}}";

struct bench {
    struct buf batch;
    mf_val events[BATCH];
    struct event_envelope env;
    struct arena arena;
    struct buf normalised[BATCH];
    mf_str ids[BATCH];
    unsigned char hashes[BATCH][16];
    unsigned char *staging;
    struct dedupe *dedupe;
    uint64_t seq;
    uint64_t serial; /* of ids */
    int64_t now;
};

/* ---- the steps, each of a whole batch ---- */

static void check(struct bench *b)
{
    ASSERT(json_check(buf_view(&b->batch), JSON_DEPTH_MAX, NULL) == 0);
}

static void find(struct bench *b)
{
    mf_val list = json_get(json_root(buf_view(&b->batch)), MF_STR("batch"));
    mf_iter it = { { 0 } };
    mf_str key;
    size_t n = 0;

    while (n < BATCH && json_next(list, &it, &key, &b->events[n]))
        n++;
    ASSERT(n == BATCH);
}

static void normalise(struct bench *b)
{
    struct event_fault f;

    arena_reset(&b->arena);
    for (unsigned i = 0; i < BATCH; i++) {
        buf_clear(&b->normalised[i]);
        ASSERT(event_normalise(b->events[i], &b->env, &b->normalised[i],
                               &b->ids[i], &b->arena, &f) == 0);
    }
}

static void hash(struct bench *b)
{
    static const unsigned char uuid[16] = { 1, 2, 3 };

    for (unsigned i = 0; i < BATCH; i++)
        ids_hash(uuid, 1, b->ids[i], b->hashes[i]);
}

static void find_id(struct bench *b)
{
    uint64_t seq;

    for (unsigned i = 0; i < BATCH; i++)
        ASSERT(dedupe_find(b->dedupe, b->hashes[i], b->now, &seq) ==
               DEDUPE_NEW);
}

static void copy(struct bench *b)
{
    size_t at = 0;

    for (unsigned i = 0; i < BATCH; i++) {
        struct journal_record r = { .seq = b->seq + i, .source = 1,
                                    .received_ms = b->now,
                                    .payload = buf_view(&b->normalised[i]) };

        memcpy(r.id_hash, b->hashes[i], 16);
        record_put(b->staging + at, &r, 1, 7);
        at += record_bytes(r.payload.len);
    }
}

static void note(struct bench *b)
{
    for (unsigned i = 0; i < BATCH; i++)
        dedupe_note(b->dedupe, b->hashes[i], ++b->seq, b->now);
}

static void settle(struct bench *b)
{
    dedupe_durable(b->dedupe, b->seq);
}

/* ---- the whole ---- */

/* Other ids in the next round. */
static void renumber(struct bench *b)
{
    size_t each = sizeof event; /* with its comma */

    for (unsigned i = 0; i < BATCH; i++) {
        char *to = b->batch.data + 10 + i * each + ID_AT;
        uint64_t n = ++b->serial;

        for (unsigned at = 16; at-- > 0; n /= 10)
            to[at] = (char)('0' + n % 10);
    }
}

static const struct {
    const char *name;
    void (*run)(struct bench *b);
} steps[] = {
    { "check the JSON", check },
    { "find the events", find },
    { "normalise", normalise },
    { "hash the id", hash },
    { "look the id up", find_id },
    { "copy, with checksum", copy },
    { "note it in flight", note },
    { "into the set", settle },
};

static void measure(struct bench *b, double seconds)
{
    int64_t best[COUNT_OF(steps)];
    double sum = 0;

    for (size_t s = 0; s < COUNT_OF(steps); s++)
        best[s] = INT64_MAX;
    for (unsigned round = 0; round < ROUNDS; round++) {
        int64_t took[COUNT_OF(steps)] = { 0 };
        int64_t until = clock_mono_ns() + (int64_t)(seconds * 1e9 / ROUNDS);
        unsigned times = 0;

        for (; times == 0 || clock_mono_ns() < until; times++) {
            renumber(b);
            for (size_t s = 0; s < COUNT_OF(steps); s++) {
                int64_t began = clock_mono_ns();

                steps[s].run(b);
                took[s] += clock_mono_ns() - began;
            }
        }
        for (size_t s = 0; s < COUNT_OF(steps); s++)
            if (took[s] / times < best[s])
                best[s] = took[s] / times;
    }
    for (size_t s = 0; s < COUNT_OF(steps); s++) {
        printf("%-22s %6.0f ns\n", steps[s].name, (double)best[s] / BATCH);
        sum += (double)best[s] / BATCH;
    }
    printf("%-22s %6.0f ns\n", "together", sum);
}

static void fill_set(struct bench *b, uint64_t ids)
{
    unsigned char h[16] = { 0 };

    dedupe_configure(b->dedupe, 86400000, 1ull << 30);
    for (uint64_t i = 1; i <= ids; i++) {
        ids_hash((const unsigned char *)"0123456789abcdef", 2,
                 (mf_str){ (const char *)&i, sizeof i }, h);
        dedupe_note(b->dedupe, h, i, b->now);
        if (i % 1000 == 0)
            dedupe_durable(b->dedupe, i);
    }
    b->seq = ids;
    dedupe_durable(b->dedupe, ids);
}

int main(int argc, char **argv)
{
    static struct bench b;
    double seconds = argc > 1 ? strtod(argv[1], NULL) : 4;

    buf_init(&b.batch, 1 << 20);
    buf_puts(&b.batch, "{\"batch\":[");
    for (unsigned i = 0; i < BATCH; i++) {
        buf_puts(&b.batch, event);
        buf_char(&b.batch, i < BATCH - 1 ? ',' : ']');
        buf_init(&b.normalised[i], 1 << 16);
    }
    buf_puts(&b.batch, "}");
    arena_init(&b.arena, 1 << 24);
    b.staging = xmalloc(1 << 20);
    b.now = b.env.received_ms = clock_ms();
    b.env.type = -1;
    time_iso(b.now, b.env.received_text);
    b.dedupe = dedupe_new();
    fill_set(&b, argc > 2 ? strtoull(argv[2], NULL, 10) : 1000000);
    measure(&b, seconds);
    dedupe_free(b.dedupe);
    return 0;
}
