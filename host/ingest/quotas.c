/* SPDX-License-Identifier: Apache-2.0
 *
 * quotas.c - see quotas.h. Quotas stand sorted by their source's number. */
#include "ingest/quotas.h"

#include "base/bucket.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

struct quota {
    uint32_t source;
    struct bucket bucket;
    uint64_t refused; /* events since the log was told last */
    int64_t told_ms;
    char *name; /* owned */
};

struct quotas {
    pthread_mutex_t lock; /* guards all but `any` */
    struct quota *list;
    size_t count;
    _Atomic bool any;
};

struct quotas *quotas_new(void)
{
    struct quotas *q = xcalloc(1, sizeof *q);

    pthread_mutex_init(&q->lock, NULL);
    return q;
}

void quotas_free(struct quotas *q)
{
    if (!q)
        return;
    for (size_t i = 0; i < q->count; i++)
        free(q->list[i].name);
    free(q->list);
    pthread_mutex_destroy(&q->lock);
    free(q);
}

bool quotas_any(struct quotas *q)
{
    return atomic_load_explicit(&q->any, memory_order_relaxed);
}

/* Where it is, or would be. */
static size_t place(const struct quotas *q, uint32_t source)
{
    size_t from = 0, to = q->count;

    while (from < to) {
        size_t mid = from + (to - from) / 2;

        if (q->list[mid].source < source)
            from = mid + 1;
        else
            to = mid;
    }
    return from;
}

static struct quota *find(struct quotas *q, uint32_t source)
{
    size_t at = place(q, source);

    return at < q->count && q->list[at].source == source ? &q->list[at] : NULL;
}

static struct quota *find_or_make(struct quotas *q, uint32_t source,
                                  double rate, int64_t now_ms)
{
    struct quota *u = find(q, source);
    size_t at;

    if (u)
        return u;
    at = place(q, source);
    q->list = xrealloc(q->list, (q->count + 1) * sizeof *q->list);
    u = &q->list[at];
    memmove(u + 1, u, (q->count - at) * sizeof *u);
    q->count++;
    memset(u, 0, sizeof *u);
    u->source = source;
    bucket_init(&u->bucket, rate, now_ms);
    return u;
}

/* A bucket of another rate keeps its level, but for one that had no limit:
 * that begins full. */
static void set(struct quotas *q, mf_val o, struct arena *a, int64_t now_ms)
{
    double rate = json_number(json_get(o, MF_STR("rate")), 0);
    mf_str name = json_text(json_get(o, MF_STR("name")), a);
    int64_t source = 0, burst = 0;
    struct quota *u;
    bool fresh;

    json_integer(json_get(o, MF_STR("id")), &source);
    json_integer(json_get(o, MF_STR("burst")), &burst);
    if (rate <= 0)
        return;
    fresh = !find(q, (uint32_t)source);
    u = find_or_make(q, (uint32_t)source, rate, now_ms);
    fresh = fresh || u->bucket.rate <= 0;
    bucket_change(&u->bucket, rate, (double)burst, now_ms);
    if (fresh)
        bucket_set(&u->bucket, 1e18, now_ms);
    free(u->name);
    u->name = xstrndup(name.ptr, name.len);
}

/* Sources that are there, and have no rate any more. */
static void let_go(struct quotas *q, mf_val sources)
{
    mf_iter it = { { 0 } };
    mf_str key;
    mf_val o;

    while (json_next(sources, &it, &key, &o)) {
        int64_t id = 0;
        struct quota *u;

        json_integer(json_get(o, MF_STR("id")), &id);
        u = find(q, (uint32_t)id);
        if (u && json_number(json_get(o, MF_STR("rate")), 0) <= 0)
            u->bucket.rate = 0;
    }
}

void quotas_configure(struct quotas *q, mf_val config)
{
    mf_val sources = json_get(config, MF_STR("sources")), o;
    int64_t now_ms = clock_mono_ms();
    mf_iter it = { { 0 } };
    struct arena a;
    mf_str key;

    arena_init(&a, 1u << 20);
    pthread_mutex_lock(&q->lock);
    let_go(q, sources);
    while (json_next(sources, &it, &key, &o)) {
        arena_reset(&a);
        set(q, o, &a, now_ms);
    }
    atomic_store(&q->any, q->count > 0);
    pthread_mutex_unlock(&q->lock);
    arena_deinit(&a);
}

/* ---- taking ---- */

static void refuse(struct quota *u, size_t n, int64_t now_ms)
{
    u->refused += n;
    if (u->told_ms && now_ms - u->told_ms < QUOTA_LOG_MS)
        return;
    log_warn("source %s sends more than its rate allows: %" PRIu64
             " events were answered with 429, and will come again",
             u->name, u->refused);
    u->refused = 0;
    u->told_ms = now_ms;
}

/* Milliseconds that the n events at sources[at] must wait. */
static int64_t take(struct quotas *q, uint32_t source, size_t n,
                    int64_t now_ms)
{
    struct quota *u = find(q, source);
    int64_t wait;

    if (!u || bucket_take_many(&u->bucket, (double)n, now_ms))
        return 0;
    wait = bucket_wait_many_ms(&u->bucket, (double)n, now_ms);
    refuse(u, n, now_ms);
    return wait > 0 ? wait : 1;
}

static size_t run_of(const uint32_t *sources, size_t at, size_t n)
{
    size_t end = at + 1;

    while (end < n && sources[end] == sources[at])
        end++;
    return end - at;
}

static void give_back(struct quotas *q, const uint32_t *sources, size_t n,
                      int64_t now_ms)
{
    for (size_t at = 0, run; at < n; at += run) {
        struct quota *u = find(q, sources[at]);

        run = run_of(sources, at, n);
        if (u)
            bucket_owe_many(&u->bucket, -(double)run, now_ms);
    }
}

static int by_number(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return (x > y) - (x < y);
}

int64_t quotas_take(struct quotas *q, uint32_t *sources, size_t n)
{
    int64_t now_ms = clock_mono_ms(), wait = 0;

    if (n)
        qsort(sources, n, sizeof *sources, by_number);
    pthread_mutex_lock(&q->lock);
    for (size_t at = 0, run; at < n && wait == 0; at += run) {
        run = run_of(sources, at, n);
        wait = take(q, sources[at], run, now_ms);
        if (wait)
            give_back(q, sources, at, now_ms);
    }
    pthread_mutex_unlock(&q->lock);
    return wait;
}

int64_t quotas_take_of(struct quotas *q, uint32_t source, size_t n)
{
    int64_t wait;

    pthread_mutex_lock(&q->lock);
    wait = take(q, source, n, clock_mono_ms());
    pthread_mutex_unlock(&q->lock);
    return wait;
}
