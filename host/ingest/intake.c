/* SPDX-License-Identifier: Apache-2.0
 *
 * intake.c - see intake.h. */
#include "ingest/intake.h"

#include "base/mem.h"

#include <string.h>

/* Ids that go into the set while nobody else may: some 20 microseconds. */
#define SETTLE_AT_ONCE 128

void intake_init(struct intake *in, const struct journal_head *head)
{
    pthread_mutexattr_t attr;

    memset(in, 0, sizeof *in);
    in->head = head;
    in->dedupe = dedupe_new();
    /* It is held for less than a thread takes to fall asleep. */
    pthread_mutexattr_init(&attr);
    pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_ADAPTIVE_NP);
    pthread_mutex_init(&in->lock, &attr);
    pthread_mutexattr_destroy(&attr);
}

void intake_deinit(struct intake *in)
{
    if (in->journal)
        journal_close(in->journal);
    dedupe_free(in->dedupe);
    pthread_mutex_destroy(&in->lock);
}

/* From the commit thread. The first loop has others to wake, and looks what a
 * failure has lost even if nobody waits. */
static void committed(void *arg)
{
    struct intake *in = arg;

    for (unsigned i = 0; i < in->loop_count; i++)
        if (i == 0 || atomic_load(&in->loops[i]->waiting))
            in->loops[i]->wake(in->loops[i]->arg);
}

int intake_open(struct intake *in, struct journal_options *o, struct err *e)
{
    o->on_durable = committed;
    o->arg = in;
    in->journal = journal_open(o, e);
    return in->journal ? 0 : -1;
}

void intake_join(struct intake *in, struct intake_loop *l,
                 void (*wake)(void *arg), void *arg)
{
    l->intake = in;
    l->wake = wake;
    l->arg = arg;
    atomic_store(&l->waiting, false);
    pthread_mutex_lock(&in->lock);
    ASSERT(in->loop_count < INTAKE_LOOPS_MAX);
    l->losses_seen = in->losses;
    in->loops[in->loop_count] = l;
    in->loop_count++;
    pthread_mutex_unlock(&in->lock);
}

/* ---- for a loop ---- */

/* The commit of a number in flight may be over, and its loop woken and not
 * here yet: who would wait for it might wait for ever. */
static bool is_durable(const struct intake *in, uint64_t seq)
{
    return seq <= atomic_load(&in->head->durable);
}

static enum journal_state keep(struct intake *in, struct journal_record *r,
                               uint64_t *seq, bool *duplicate)
{
    enum journal_state state;
    uint64_t first = 0;

    *duplicate = dedupe_find(in->dedupe, r->id_hash, r->received_ms,
                             &first) != DEDUPE_NEW;
    if (*duplicate) {
        if (first > *seq && !is_durable(in, first))
            *seq = first;
        return JOURNAL_OK;
    }
    if (in->lost)
        return JOURNAL_FAILED;
    state = journal_append(in->journal, r);
    if (state == JOURNAL_OK) {
        *seq = r->seq;
        dedupe_note(in->dedupe, r->id_hash, r->seq, r->received_ms);
    }
    return state;
}

enum journal_state intake_keep(struct intake_loop *l,
                               struct journal_record *r, unsigned n,
                               uint64_t *seq, bool *duplicate,
                               unsigned *kept)
{
    struct intake *in = l->intake;
    enum journal_state state = JOURNAL_OK;

    /* Only this loop's thread writes it. In one order with what `durable`
     * becomes: either that is seen here, or this by committed(). */
    if (!atomic_load_explicit(&l->waiting, memory_order_relaxed))
        atomic_store(&l->waiting, true);
    pthread_mutex_lock(&in->lock);
    for (unsigned i = 1; i < n; i++)
        dedupe_prefetch(in->dedupe, r[i].id_hash);
    for (*kept = 0; *kept < n; ++*kept) {
        state = keep(in, &r[*kept], seq, &duplicate[*kept]);
        if (state != JOURNAL_OK)
            break;
    }
    pthread_mutex_unlock(&in->lock);
    return state;
}

/* With the lock, and not let go of since the journal told of it. */
static void begin_loss(struct intake *in, uint64_t from, uint64_t durable)
{
    dedupe_durable(in->dedupe, durable);
    if (!in->lost || from < in->lost)
        in->lost = from;
    in->losses++;
    in->unaware = in->loop_count;
    dedupe_forget(in->dedupe);
    for (unsigned i = 0; i < in->loop_count; i++)
        in->loops[i]->wake(in->loops[i]->arg);
}

struct intake_news intake_news(struct intake_loop *l)
{
    struct intake *in = l->intake;
    struct intake_news n = { 0 };
    uint64_t from;

    pthread_mutex_lock(&in->lock);
    from = journal_failed_from(in->journal);
    n.durable = atomic_load_explicit(&in->head->durable,
                                     memory_order_acquire);
    if (from)
        begin_loss(in, from, n.durable);
    n.losses = in->losses;
    if (l->losses_seen != in->losses)
        n.lost = in->lost;
    while (dedupe_durable_some(in->dedupe, n.durable, SETTLE_AT_ONCE)) {
        pthread_mutex_unlock(&in->lock);
        pthread_mutex_lock(&in->lock);
    }
    pthread_mutex_unlock(&in->lock);
    return n;
}

void intake_told(struct intake_loop *l, const struct intake_news *n,
                 bool more)
{
    struct intake *in = l->intake;

    if (!more)
        atomic_store(&l->waiting, false);
    if (!n->lost)
        return;
    pthread_mutex_lock(&in->lock);
    l->losses_seen = n->losses;
    if (n->losses == in->losses && --in->unaware == 0)
        in->lost = 0;
    pthread_mutex_unlock(&in->lock);
}

/* ---- for the one who looks after it ---- */

void intake_configure(struct intake *in, int64_t window_ms, uint64_t memory)
{
    pthread_mutex_lock(&in->lock);
    dedupe_configure(in->dedupe, window_ms, memory);
    pthread_mutex_unlock(&in->lock);
}

void intake_warm(struct intake *in, int dir)
{
    pthread_mutex_lock(&in->lock);
    dedupe_warm(in->dedupe, dir, in->head);
    pthread_mutex_unlock(&in->lock);
}

bool intake_warm_step(struct intake *in, uint64_t most, int64_t wait_ms)
{
    bool more;

    pthread_mutex_lock(&in->lock);
    more = dedupe_warm_step(in->dedupe, most, wait_ms);
    pthread_mutex_unlock(&in->lock);
    return more;
}

void intake_tidy(struct intake *in)
{
    pthread_mutex_lock(&in->lock);
    dedupe_tidy(in->dedupe);
    pthread_mutex_unlock(&in->lock);
}

struct dedupe_facts intake_facts(struct intake *in)
{
    struct dedupe_facts f;

    pthread_mutex_lock(&in->lock);
    f = dedupe_facts(in->dedupe);
    pthread_mutex_unlock(&in->lock);
    return f;
}
