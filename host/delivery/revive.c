/* SPDX-License-Identifier: Apache-2.0
 *
 * revive.c - parts that a destination takes up again: retries of before a
 * restart, dead letters that are to be tried once more; and which lane's turn
 * it is, with replays beside the live ones. */
#include "delivery/inner.h"
#include "delivery/replay.h"

#include <stdlib.h>

#define WAIT_MOST_MS 86400000 /* beyond, the clock was turned back */

int destination_subscription(const struct destination *d, uint32_t key)
{
    for (size_t n = 0; n < instance_subscriptions(d->instance); n++)
        if (d->keys[n] == key)
            return (int)n;
    return -1;
}

static struct part part_of(const struct destination *d, uint32_t key)
{
    int sub = destination_subscription(d, key);

    return (struct part){ .subscription = sub < 0 ? UINT32_MAX : (uint32_t)sub,
                          .key = key, .persisted = true };
}

void destination_restore(struct destination *d, struct lane *l,
                         const struct msg_retry *r, mf_str event)
{
    int64_t wait = r->due_ms - clock_ms();
    struct part p = part_of(d, r->key.subscription);

    p.attempts = r->attempts;
    p.first_ms = r->first_ms;
    if (wait < 0 || p.subscription == UINT32_MAX)
        wait = 0;
    if (wait > WAIT_MOST_MS)
        wait = BACKOFF_LAST_MS;
    /* Tried first in what is the future: the clock was turned back, and when
     * it was to be tried again says nothing. */
    if (r->first_ms > clock_ms() && wait > BACKOFF_FIRST_MS)
        wait = BACKOFF_FIRST_MS;
    p.ev = lane_restore(l, r->at, r->event_dead);
    if (d->order && p.subscription != UINT32_MAX)
        p.ticket = order_join(d->order, r->at.seq, r->order);
    if (r->since_ms > p.ev->received_ms)
        p.ev->received_ms = r->since_ms;
    if (event.len)
        lane_keep_copy(p.ev, event);
    if (p.ticket && !order_first(p.ticket)) {
        order_put(d->order, p.ticket, ORDER_ASIDE, &p);
        return;
    }
    retries_push(&d->retries, &p, clock_mono_ms() + wait);
    if (p.ticket)
        order_put(d->order, p.ticket, ORDER_DUE, &p);
}

void destination_revive(struct destination *d, struct lane *l,
                        const struct msg_revive *r, mf_str event)
{
    struct part p = part_of(d, r->key.subscription);

    p.ev = lane_revive(l, r->at, r->key.subscription, r->others > 0);
    if (r->since_ms > p.ev->received_ms)
        p.ev->received_ms = r->since_ms;
    if (event.len)
        lane_keep_copy(p.ev, event);
    lane_set_aside(p.ev);
    retries_push(&d->retries, &p, clock_mono_ms());
}

/* ---- replays ---- */

int destination_own(struct destination *d, struct lane *l,
                    const struct msg_lane *m, mf_str where, struct err *e)
{
    struct replay *r = NULL;

    for (size_t i = 0; i < d->replays.count && !r; i++) {
        struct replay *o = lane_owner(d->replays.list[i].lane);

        if (o->id == m->replay)
            r = replay_share(o);
    }
    if (!r)
        r = replay_new(m, where, clock_mono_ms(), e);
    lane_set_owner(l, r);
    return r ? 0 : -1;
}

bool destination_drop_lane(struct destination *d, struct lane *l)
{
    struct turns *t = &d->replays;
    size_t i = 0;

    if (!lane_owner(l) || lane_open_events(l) || lane_aside_events(l))
        return false;
    while (t->list[i].lane != l)
        i++;
    t->list[i] = t->list[--t->count];
    t->at = 0;
    replay_leave(lane_owner(l));
    lane_free(l);
    return true;
}

void replays_deinit(struct destination *d)
{
    for (size_t i = 0; i < d->replays.count; i++)
        replay_leave(lane_owner(d->replays.list[i].lane));
    turns_deinit(&d->replays);
}

/* Parts of the lane that wait are waited for no more. */
static void drop_waiting(struct destination *d, const struct lane *l)
{
    struct retries kept = { NULL, 0, 0 };

    while (d->retries.count) {
        int64_t due = retries_due_ms(&d->retries);
        struct part p = retries_pop(&d->retries);

        if (p.ev->lane != l) {
            retries_push(&kept, &p, due);
            continue;
        }
        if (p.ticket)
            order_put(d->order, p.ticket, ORDER_HAND, NULL);
        lane_resume(p.ev);
        part_settle(d, &p, PART_SKIPPED);
    }
    retries_deinit(&d->retries);
    d->retries = kept;
}

void destination_replay(struct destination *d, struct lane *l,
                        enum replay_stop stopped)
{
    struct replay *r = lane_owner(l);

    if (!r)
        return;
    if (r->stopped != REPLAY_CANCELLED)
        r->stopped = stopped;
    if (r->stopped != REPLAY_CANCELLED)
        return;
    lane_stop(l);
    drop_waiting(d, l);
}

/* ---- whose turn it is ---- */

static int64_t next_ms(const struct destination *d, const struct lane *l,
                       int64_t now_ms)
{
    const struct replay *r = lane_owner(l);
    int64_t at, enough;

    if (!lane_ready(l))
        return INT64_MAX;
    at = replay_next_ms(r, d->replay_flying, limiter_limit(&d->limiter),
                        now_ms);
    if (at == INT64_MAX || r->stopped == REPLAY_CANCELLED)
        return at;
    enough = now_ms + replay_bucket_wait_ms(&d->pacing.calls, now_ms);
    return at > enough ? at : enough;
}

int64_t replays_next_ms(const struct destination *d, int64_t now_ms)
{
    int64_t first = INT64_MAX;

    for (size_t i = 0; i < d->replays.count && first > now_ms; i++) {
        int64_t at = next_ms(d, d->replays.list[i].lane, now_ms);

        first = at < first ? at : first;
    }
    return first;
}

enum lane_take replays_take(struct destination *d, int64_t now_ms,
                            struct lane_event **ev, struct journal_record *r,
                            struct err *e)
{
    struct turns *t = &d->replays;

    for (size_t tried = 0; tried < t->count; tried++) {
        struct lane *l = t->list[t->at++ % t->count].lane;
        enum lane_take got;

        if (next_ms(d, l, now_ms) > now_ms)
            continue;
        got = lane_take(l, ev, r, e);
        if (got != LANE_EMPTY && got != LANE_FULL)
            return got;
    }
    return LANE_EMPTY;
}

bool replays_due(const struct destination *d)
{
    return d->replays.count && d->live_run >= REPLAY_TURN - 1;
}

bool lane_takes(struct destination *d, struct lane_event *ev,
                const struct journal_record *r)
{
    struct replay *replay = lane_owner(ev->lane);

    d->live_run = replay ? 0 : d->live_run + 1;
    if (!replay)
        return true;
    if (!replay_wants(replay, r)) {
        lane_begin(ev, 0, SELECT_FILTER);
        return false;
    }
    bucket_take(&replay->bucket, clock_mono_ms());
    return true;
}
