/* SPDX-License-Identifier: Apache-2.0
 *
 * records.c - the supervisor's side of the outcome log: what workers report
 * is read, written anew as one block a lane and commit, made durable before
 * state.db is told, and dropped when the journal has none of it left.
 *
 * A log that cannot be written holds up every commit, and nothing else before
 * half of LEDGER_WAITING_MAX waits in memory: then no more reports are taken
 * until it can be. */
#include "supervisor/supervisor.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "journal/ids.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define OUTCOME_MUCH   (256u << 10) /* of a lane that waits: look closer */
#define NEAR_PERCENT   80 /* of the retention: what is older is in danger */
#define WATCH_EVERY_MS 10000

static struct ledger_sums sums_of(const struct counters *c)
{
    return (struct ledger_sums){ c->delivered, c->filtered, c->dead,
                                  c->lost };
}

/* ---- segments ---- */

static void add_segment(void *arg, const struct ledger_segment *g)
{
    struct supervisor *s = arg;

    if (s->segment_count == s->segment_cap) {
        s->segment_cap = s->segment_cap ? s->segment_cap * 2 : 16;
        s->segments = xrealloc(s->segments,
                               s->segment_cap * sizeof *s->segments);
    }
    s->segments[s->segment_count++] = *g;
}

static bool is_kept(void *arg, uint64_t n)
{
    const struct supervisor *s = arg;

    for (size_t i = 0; i < s->segment_count; i++)
        if (s->segments[i].n == n)
            return true;
    return false;
}

int records_load(struct supervisor *s, struct err *e)
{
    struct ledger_segment newest = { .n = 1 };

    if (state_segments(s->state, add_segment, s, e) != 0)
        return -1;
    if (s->segment_count)
        newest = s->segments[s->segment_count - 1];
    s->ledger = ledger_log_new(s->ledger_fd, &newest);
    ledger_log_sweep(s->ledger_fd, is_kept, s);
    for (struct sup_lane *l = s->lanes; l; l = l->next)
        l->logged = sums_of(&l->state.counters);
    return 0;
}

/* ---- dead without a letter ---- */

static void put_range(struct supervisor *s, struct sup_lane *l)
{
    struct err e;

    if (l->range_grew && state_range_put(s->state, &l->range, &e) != 0)
        supervisor_log_state_error(s, &e);
    l->range_grew = false;
}

/* What is adjacent becomes one range: there is nothing between that the lane
 * got rid of in another way, but for what was filtered. */
static void grow_range(struct supervisor *s, struct sup_lane *l,
                       uint32_t reason, const struct ledger_entry *o)
{
    struct dead_range *r = &l->range;

    if (l->destination)
        l->destination->dead_reasons[reason == RANGE_EXPIRED ? DEAD_EXPIRED
                                                             : DEAD_LOST] +=
            o->count;
    if (r->count == 0 || r->reason != reason || o->from < r->from) {
        put_range(s, l);
        *r = (struct dead_range){ l->id, reason, o->from, o->to, 0, 0 };
    }
    r->to = o->to > r->to ? o->to : r->to;
    r->count += o->count;
    r->when_ms = clock_ms();
    l->range_grew = true;
}

static bool is_lapsed(const struct ledger_entry *o)
{
    for (unsigned i = 0; i < o->parts; i++)
        if (ledger_part(o, i).code == PART_LAPSED)
            return true;
    return false;
}

static void note_range(struct supervisor *s, struct sup_lane *l,
                       const struct ledger_entry *o)
{
    bool ended = o->class == LEDGER_DELIVERED || o->class == LEDGER_DEAD;

    if (o->is_range) {
        grow_range(s, l, o->reason, o);
    } else if (o->class == LEDGER_DEAD && is_lapsed(o)) {
        grow_range(s, l, RANGE_EXPIRED, o);
    } else if (ended && l->range.count && o->from > l->range.to) {
        put_range(s, l);
        l->range.count = 0; /* it grows no more */
    }
}

/* ---- from a worker ---- */

static size_t waiting(const struct supervisor *s)
{
    size_t all = ledger_log_waiting(s->ledger);

    for (const struct sup_lane *l = s->lanes; l; l = l->next)
        all += l->outcomes.bytes.len;
    return all;
}

bool records_strained(const struct supervisor *s)
{
    return waiting(s) > LEDGER_WAITING_MAX / 2;
}

/* More than workers can say after they were held: one of them does not keep
 * to it. */
static bool too_much(const struct supervisor *s, const struct sup_lane *l,
                     size_t more)
{
    return l->outcomes.bytes.len + more > OUTCOME_MUCH &&
           waiting(s) + more > LEDGER_WAITING_MAX;
}

int records_note(struct supervisor *s, struct sup_lane *l, mf_str stream,
                 struct err *e)
{
    struct ledger_reader r;
    struct ledger_entry o;
    int rc;

    if (stream.len == 0)
        return 0;
    if (too_much(s, l, stream.len))
        return err_set(e, "the outcome log cannot be written and too much "
                          "waits for it");
    ledger_read(&r, stream, 0);
    while ((rc = ledger_next(&r, &o)) > 0)
        ;
    if (rc < 0)
        return err_set(e, "what it says of its events is malformed");
    ledger_read(&r, stream, 0);
    while (ledger_next(&r, &o) > 0) {
        if (l->outcomes.count == 0)
            ledger_begin(&l->outcomes, o.from);
        ledger_copy(&l->outcomes, &o);
        note_range(s, l, &o);
    }
    put_range(s, l);
    return 0;
}

/* ---- commit ---- */

/* A segment begins: what the counters are without what is not in the log. */
static int put_bases(struct supervisor *s, uint64_t n, struct err *e)
{
    for (struct sup_lane *l = s->lanes; l; l = l->next)
        if (state_base_put(s->state, n, l->id, &l->logged, e) != 0)
            return -1;
    return 0;
}

static void gather(struct supervisor *s)
{
    for (struct sup_lane *l = s->lanes; l; l = l->next) {
        if (l->outcomes.count == 0 ||
            ledger_log_waiting(s->ledger) > LEDGER_WAITING_MAX)
            continue;
        ledger_log_add(s->ledger, l->id, &l->outcomes);
        ledger_begin(&l->outcomes, 0);
    }
}

static bool all_gathered(const struct supervisor *s)
{
    for (const struct sup_lane *l = s->lanes; l; l = l->next)
        if (l->outcomes.count)
            return false;
    return true;
}

/* The rows of state.db for what has just been made durable. */
static int tell_state(struct supervisor *s, struct err *e)
{
    struct ledger_segment now = ledger_log_segment(s->ledger);
    struct ledger_segment *newest =
        s->segment_count ? &s->segments[s->segment_count - 1] : NULL;

    if (newest && newest->n == now.n) {
        *newest = now;
    } else {
        if (put_bases(s, now.n, e) != 0)
            return -1;
        add_segment(s, &now);
    }
    if (state_segment_put(s->state, &now, e) != 0)
        return -1;
    for (struct sup_lane *l = s->lanes; l; l = l->next)
        l->logged = sums_of(&l->state.counters);
    if (now.bytes >= LEDGER_SEGMENT_BYTES)
        ledger_log_roll(s->ledger);
    return 0;
}

int records_flush(struct supervisor *s, struct err *e)
{
    do {
        gather(s);
        if (ledger_log_waiting(s->ledger) == 0)
            break;
        if (ledger_log_sync(s->ledger, e) != 0)
            return -1;
        s->segment_untold = true;
    } while (!all_gathered(s));
    if (!s->segment_untold)
        return 0;
    if (tell_state(s, e) != 0)
        return -1;
    s->segment_untold = false;
    return 0;
}

void records_committed(struct supervisor *s)
{
    if (s->segments_gone)
        ledger_log_sweep(s->ledger_fd, is_kept, s);
    s->segments_gone = false;
}

/* ---- retention ---- */

void records_retain(struct supervisor *s)
{
    uint64_t first = atomic_load(&s->head->first);
    size_t gone = 0;
    struct err e;

    while (gone + 1 < s->segment_count && s->segments[gone].greatest < first) {
        if (state_segment_drop(s->state, s->segments[gone].n, &e) != 0) {
            supervisor_log_state_error(s, &e);
            break;
        }
        gone++;
    }
    if (gone == 0)
        return;
    s->segment_count -= gone;
    memmove(s->segments, s->segments + gone,
            s->segment_count * sizeof *s->segments);
    s->segments_gone = true;
    supervisor_state_changed(s);
}

/* When the lane's oldest unread event came, by the id files; 0: it is not
 * known, or still in the segment being written, which nothing takes. */
static int64_t unread_ms(struct supervisor *s, const struct sup_lane *l)
{
    uint64_t seq = l->state.next.seq, to, tail = atomic_load(&s->head->tail);
    struct ids_entry entry = { .received_ms = 0 };
    struct ids_reader *r;
    struct err e;

    if (seq >= tail || seq < atomic_load(&s->head->first) || tail == 0)
        return 0;
    r = ids_reader_new(s->journal_fd, s->head, &e);
    if (!r)
        return 0;
    ids_seek(r, seq, seq);
    if (ids_next(r, &seq, &to, &entry, &e) != IDS_ENTRY_READ)
        entry.received_ms = 0;
    ids_reader_free(r);
    return entry.received_ms;
}

/* Retention by age takes what is older than that, retention by bytes what
 * stands in the oldest segments. */
static bool is_near(struct supervisor *s, struct sup_lane *l)
{
    const struct conf_journal *c = &s->config->journal;
    uint64_t first = atomic_load(&s->head->first);
    uint64_t durable = atomic_load(&s->head->durable);
    uint64_t bytes = atomic_load(&s->head->bytes);
    uint64_t at = l->state.next.seq;

    l->unread_ms = at > durable ? 0 : unread_ms(s, l);
    if (at > durable || at < first)
        return at < first && at <= durable;
    if (c->retention_ms && l->unread_ms &&
        clock_ms() - l->unread_ms > c->retention_ms / 100 * NEAR_PERCENT)
        return true;
    return c->max_bytes && bytes > c->max_bytes / 100 * NEAR_PERCENT &&
           (at - first) < (durable - first) / 100 * (100 - NEAR_PERCENT);
}

void records_watch(struct supervisor *s)
{
    int64_t now = clock_mono_ms();

    if (now < s->records_watch_ms || !s->ingest_ready)
        return;
    s->records_watch_ms = now + WATCH_EVERY_MS;
    for (struct sup_lane *l = s->lanes; l; l = l->next) {
        bool near = is_near(s, l);

        if (near == l->near_retention)
            continue;
        l->near_retention = near;
        if (near)
            log_warn("%s -> %s: what it has not read is about to be taken by "
                     "retention, from event %llu on; let it catch up, or "
                     "raise journal.retention or journal.max_bytes",
                     l->source_name,
                     l->destination ? l->destination->name : "(detached)",
                     (unsigned long long)l->state.next.seq);
        else
            log_info("%s -> %s: retention is not near any more",
                     l->source_name,
                     l->destination ? l->destination->name : "(detached)");
    }
}

void records_free(struct supervisor *s)
{
    ledger_log_free(s->ledger);
    free(s->segments);
    if (s->ledger_fd >= 0)
        close(s->ledger_fd);
}
