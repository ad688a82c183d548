/* SPDX-License-Identifier: Apache-2.0
 *
 * warmup.c - see warmup.h. The thread owns the reader; `lock` guards what
 * both touch and is not held over I/O. */
#include "ingest/warmup.h"

#include "base/log.h"
#include "base/mem.h"
#include "journal/ids.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct block {
    unsigned char *entries; /* owned */
    size_t n;
};

struct warmup {
    int dir; /* borrowed */
    const struct journal_head *head;
    uint64_t last;
    int64_t since_ms;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t moved;

    /* Under lock. */
    struct block ready[WARMUP_AHEAD];
    unsigned n_ready;
    bool stop, ended, failed;
    uint64_t unknown, expected;
};

/* ---- the thread ---- */

/* False when nobody wants more. */
static bool give(struct warmup *w, const unsigned char *entries, size_t n)
{
    struct block b = { xmalloc(n * IDS_ENTRY), n };
    bool stop;

    memcpy(b.entries, entries, n * IDS_ENTRY);
    pthread_mutex_lock(&w->lock);
    while (w->n_ready == WARMUP_AHEAD && !w->stop)
        pthread_cond_wait(&w->moved, &w->lock);
    stop = w->stop;
    if (!stop)
        w->ready[w->n_ready++] = b;
    pthread_cond_broadcast(&w->moved);
    pthread_mutex_unlock(&w->lock);
    if (stop)
        free(b.entries);
    return !stop;
}

/* Whether any of them came at since_ms or later; *hidden is how many of them
 * damage hides. */
static bool late(const unsigned char *entries, size_t n, int64_t since_ms,
                 uint64_t *hidden)
{
    bool any = false;

    *hidden = 0;
    for (size_t i = 0; i < n; i++) {
        struct ids_entry one;

        ids_get(entries + i * IDS_ENTRY, &one);
        *hidden += !one.source && one.flags == IDS_HIDDEN;
        any |= one.source && one.received_ms >= since_ms;
    }
    return any;
}

static void note_unknown(struct warmup *w, uint64_t n)
{
    pthread_mutex_lock(&w->lock);
    w->unknown += n;
    pthread_mutex_unlock(&w->lock);
}

/* 0, or -1 when something could not be read. */
static int read_back(struct warmup *w, struct ids_reader *r, struct err *e)
{
    uint64_t seq = w->last, base, hidden;
    const unsigned char *entries;
    size_t n;
    int rc;

    while (seq && (rc = ids_below(r, seq, &base, &entries, &n, e)) != 0) {
        if (rc < 0)
            return -1;
        if (n > seq + 1 - base) /* more was written since */
            n = (size_t)(seq + 1 - base);
        /* Of nothing but lost numbers no time is known: look on. */
        if (!late(entries, n, w->since_ms, &hidden) && hidden < n)
            return 0;
        note_unknown(w, hidden + (seq + 1 - base - n));
        if (!give(w, entries, n))
            return 0;
        seq = base - 1;
    }
    return 0;
}

static void tell_expected(struct warmup *w, struct ids_reader *r)
{
    uint64_t n = ids_since(r, w->since_ms);

    pthread_mutex_lock(&w->lock);
    w->expected = n;
    pthread_mutex_unlock(&w->lock);
}

static void *main_of(void *arg)
{
    struct warmup *w = arg;
    struct err e = { "" };
    struct ids_reader *r = ids_reader_new(w->dir, w->head, &e);
    int rc = -1;

    if (r) {
        tell_expected(w, r);
        rc = read_back(w, r, &e);
    }
    if (rc != 0)
        log_error("the ids of former events cannot be read: %s; duplicates of"
                  " them will be taken for new", e.text);
    ids_reader_free(r);
    pthread_mutex_lock(&w->lock);
    w->ended = true;
    w->failed = rc != 0;
    pthread_cond_broadcast(&w->moved);
    pthread_mutex_unlock(&w->lock);
    return NULL;
}

/* ---- public ---- */

struct warmup *warmup_start(int dir, const struct journal_head *head,
                            uint64_t last, int64_t since_ms)
{
    struct warmup *w = xcalloc(1, sizeof *w);
    pthread_condattr_t attr;

    w->dir = dir;
    w->head = head;
    w->last = last;
    w->since_ms = since_ms;
    pthread_mutex_init(&w->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&w->moved, &attr);
    pthread_condattr_destroy(&attr);
    ASSERT(pthread_create(&w->thread, NULL, main_of, w) == 0);
    return w;
}

static void wait_ready(struct warmup *w, int64_t wait_ms)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    t.tv_sec += wait_ms / 1000;
    t.tv_nsec += wait_ms % 1000 * 1000000;
    t.tv_sec += t.tv_nsec / 1000000000;
    t.tv_nsec %= 1000000000;
    while (!w->n_ready && !w->ended &&
           pthread_cond_timedwait(&w->moved, &w->lock, &t) != ETIMEDOUT)
        continue;
}

enum warmup_state warmup_take(struct warmup *w, int64_t wait_ms,
                              unsigned char **entries, size_t *n)
{
    enum warmup_state state = WARMUP_WAIT;

    pthread_mutex_lock(&w->lock);
    if (wait_ms > 0)
        wait_ready(w, wait_ms);
    if (w->n_ready) {
        state = WARMUP_MORE;
        *entries = w->ready[0].entries;
        *n = w->ready[0].n;
        w->n_ready--;
        memmove(w->ready, w->ready + 1, w->n_ready * sizeof *w->ready);
        pthread_cond_broadcast(&w->moved);
    } else if (w->ended) {
        state = w->failed ? WARMUP_FAILED : WARMUP_END;
    }
    pthread_mutex_unlock(&w->lock);
    return state;
}

uint64_t warmup_unknown(struct warmup *w)
{
    uint64_t n;

    pthread_mutex_lock(&w->lock);
    n = w->unknown;
    pthread_mutex_unlock(&w->lock);
    return n;
}

uint64_t warmup_expected(struct warmup *w)
{
    uint64_t n;

    pthread_mutex_lock(&w->lock);
    n = w->expected;
    pthread_mutex_unlock(&w->lock);
    return n;
}

void warmup_free(struct warmup *w)
{
    if (!w)
        return;
    pthread_mutex_lock(&w->lock);
    w->stop = true;
    pthread_cond_broadcast(&w->moved);
    pthread_mutex_unlock(&w->lock);
    pthread_join(w->thread, NULL);
    for (unsigned i = 0; i < w->n_ready; i++)
        free(w->ready[i].entries);
    pthread_cond_destroy(&w->moved);
    pthread_mutex_destroy(&w->lock);
    free(w);
}
