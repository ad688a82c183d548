/* SPDX-License-Identifier: Apache-2.0
 *
 * pump.c - what a destination takes next, and when: events of its lanes,
 * retries that are due. Nothing is taken that could not leave at once, but
 * for batches, so that what waits waits in the journal. */
#include "delivery/inner.h"

#include "base/log.h"

#include <string.h>

#define BROKEN_PAUSE_MS 1000 /* after the journal could not be read */
#define PUMP_TURN_MS    5    /* of a turn: the worker has other destinations */
#define PUMP_LOOK       16   /* events between looks at the clock */

/* ---- starting ---- */

static void mark_event(struct destination *d, const struct lane_event *ev)
{
    slot_mark(d->slot, PHASE_MAP, lane_id(ev->lane), ev->at.seq, ev->at.seq,
              0);
}

void part_start(struct destination *d, struct part *p, mf_str event)
{
    unsigned sub = p->subscription;
    bool batch = instance_batch_size(d->instance, sub) > 1;
    mf_val root = json_root(event), payload;
    struct err e;

    arena_reset(&d->map_arena);
    mark_event(d, p->ev);
    payload = instance_map(d->instance, sub, root, batch, &d->map_arena, &e);
    slot_unmark(d->slot);
    if (payload.type == MF_ABSENT) {
        part_bury(d, p, DEAD_MAPPING, MF_INVALID, mf_cstr(e.text), NULL,
                  event);
        return;
    }
    flight_take(d, p, root, payload);
}

/* An event that two workers died over is not shown to a third. */
static bool bury_poison(struct destination *d, struct part *p, mf_str event)
{
    mf_str why = suspects_why(d->suspects, lane_id(p->ev->lane),
                              p->ev->at.seq);

    if (why.len)
        part_bury(d, p, DEAD_PLUGIN, 0, why, NULL, event);
    return why.len > 0;
}

/* The parts of an event that has begun. */
static void start_parts(struct destination *d, struct lane_event *ev,
                        const uint8_t *subs, size_t n, mf_str event)
{
    for (size_t i = 0; i < n; i++) {
        struct part p = { .ev = ev, .subscription = subs[i],
                          .key = d->keys[subs[i]] };

        if (clock_ms() - ev->received_ms > d->ttl_ms)
            part_settle(d, &p, PART_LAPSED); /* a lane that lags: no letters */
        else
            part_start(d, &p, event);
    }
}

static size_t choose(struct destination *d, const struct lane_event *ev,
                     mf_str event, uint8_t subs[SUBSCRIPTIONS_MAX],
                     uint8_t *why)
{
    size_t n = 0;

    arena_reset(&d->map_arena);
    mark_event(d, ev);
    *why = (uint8_t)instance_select(d->instance, json_root(event), subs, &n,
                                    &d->map_arena);
    slot_unmark(d->slot);
    return n;
}

static void start_event(struct destination *d, struct lane_event *ev,
                        const struct journal_record *r)
{
    struct part whole = { .ev = ev, .subscription = UINT32_MAX };
    uint8_t subs[SUBSCRIPTIONS_MAX], why;
    size_t n;

    if (!lane_takes(d, ev, r))
        return;
    if (suspects_why(d->suspects, lane_id(ev->lane), ev->at.seq).len) {
        lane_begin(ev, 1, 0);
        bury_poison(d, &whole, r->payload);
        return;
    }
    n = choose(d, ev, r->payload, subs, &why);
    lane_begin(ev, (unsigned)n, why);
    start_parts(d, ev, subs, n, r->payload);
}

/* A dead letter about an event as a whole, taken up again: what its parts are
 * is known now. */
static void start_whole(struct destination *d, struct part *p, mf_str event)
{
    struct msg_retry_key key = { lane_id(p->ev->lane), p->key, p->ev->at.seq };
    uint8_t subs[SUBSCRIPTIONS_MAX], why;
    size_t n = choose(d, p->ev, event, subs, &why);

    d->reports.retry_done(d->reports.arg, &key);
    lane_begin_whole(p->ev, (unsigned)n, why);
    start_parts(d, p->ev, subs, n, event);
}

static void note_broken(struct destination *d, const struct err *e)
{
    if (strcmp(e->text, d->last_error) != 0)
        log_error("%s: %s", d->name, e->text);
    destination_note_error(d, e->text);
    d->broken_ms = clock_mono_ms() + BROKEN_PAUSE_MS;
}

static void start_retry(struct destination *d)
{
    struct part p = retries_pop(&d->retries);
    struct journal_record r;
    struct err e;

    lane_resume(p.ev);
    if (p.subscription == UINT32_MAX && p.key) {
        part_bury(d, &p, DEAD_GONE, 0,
                  MF_STR("the subscription it waited for is no longer "
                         "configured"),
                  NULL, (mf_str){ "", 0 });
        return;
    }
    switch (lane_reread(p.ev->lane, p.ev, &r, &e)) {
    case LANE_EVENT:
        break;
    case LANE_BROKEN:
        note_broken(d, &e);
        lane_set_aside(p.ev); /* as it was: state.db has not changed */
        retries_push(&d->retries, &p, d->broken_ms);
        return;
    default:
        part_bury(d, &p, DEAD_GONE, 0, mf_cstr(e.text), NULL,
                  (mf_str){ "", 0 });
        return;
    }
    if (p.ev->received_ms == 0)
        p.ev->received_ms = r.received_ms;
    if (bury_poison(d, &p, r.payload))
        return;
    if (p.subscription == UINT32_MAX)
        start_whole(d, &p, r.payload);
    else
        part_start(d, &p, r.payload);
}

/* ---- taking ---- */

/* Of the lane whose turn it is; of a replay where no live one has any. */
static enum lane_take next_event(struct destination *d, struct lane_event **ev,
                                 struct journal_record *r, struct err *e)
{
    bool replay = replays_due(d);
    enum lane_take got = LANE_EMPTY;
    int64_t now = clock_mono_ms();

    if (replay)
        got = replays_take(d, now, ev, r, e);
    if (got == LANE_EMPTY)
        got = turns_take(&d->turns, ev, r, e);
    if (got == LANE_EMPTY && !replay)
        got = replays_take(d, now, ev, r, e);
    return got;
}

/* One event. False if there is none. */
static bool take_one(struct destination *d)
{
    struct lane_event *ev;
    struct journal_record r;
    struct err e;

    if (clock_mono_ms() < d->broken_ms)
        return false;
    switch (next_event(d, &ev, &r, &e)) {
    case LANE_EVENT:
        start_event(d, ev, &r);
        return true;
    case LANE_MORE:
        return true;
    case LANE_BROKEN:
        note_broken(d, &e);
        return false;
    default:
        return false;
    }
}

static bool retry_is_due(const struct destination *d, int64_t now_ms)
{
    return retries_due_ms(&d->retries) <= now_ms;
}

/* A retry that is due may be taken: the ceiling allows one, and there are not
 * too many already that it stopped. */
static bool may_retry(struct destination *d, int64_t now_ms)
{
    return d->late < LATE_RETRIES_MAX &&
           flight_start_ms(d, true, now_ms) <= now_ms;
}

/* When a lane may be read, monotonic; INT64_MAX: none has anything. */
static int64_t readable_ms(const struct destination *d, int64_t now_ms)
{
    return turns_ready(&d->turns) ? now_ms : replays_next_ms(d, now_ms);
}

static bool has_work(const struct destination *d, int64_t now_ms)
{
    return d->open.count || d->ready.count || retry_is_due(d, now_ms) ||
           (!d->draining && readable_ms(d, now_ms) <= now_ms);
}

/* While the far side is only probed, one call at a time is made up. */
static bool may_take(struct destination *d, int64_t now_ms)
{
    if (health_probing(&d->health) && (d->open.count || d->ready.count))
        return false;
    return flight_start_ms(d, false, now_ms) <= now_ms;
}

static bool take_next(struct destination *d, int64_t now_ms)
{
    if (retry_is_due(d, now_ms) && may_retry(d, now_ms)) {
        start_retry(d);
        return true;
    }
    return take_one(d);
}

static void pump_drain(struct destination *d, int64_t now_ms)
{
    if (!d->paused && !(d->token && !token_good(d->token)))
        flights_flush(d, now_ms);
    flights_give_back(d);
}

static bool pump(struct destination *d, unsigned budget)
{
    int64_t began = clock_mono_ms(), now = began;

    for (unsigned n = 0; n < budget; n++) {
        if (n % PUMP_LOOK == PUMP_LOOK - 1) {
            now = clock_mono_ms();
            if (now - began >= PUMP_TURN_MS)
                return true;
        }
        if (flights_flush(d, now) || !may_take(d, now) || !take_next(d, now)) {
            flights_flush(d, now);
            return false;
        }
    }
    flights_flush(d, now);
    return true;
}

bool destination_pump(struct destination *d, unsigned budget)
{
    int64_t now = clock_mono_ms();
    bool more = false;

    if (d->paused && !d->draining)
        return false;
    if (d->token && !d->draining && has_work(d, now) && !token_ready(d->token))
        return false;
    d->pumping = true;
    if (d->draining)
        pump_drain(d, now);
    else
        more = pump(d, budget);
    d->pumping = false;
    return more;
}

/* When the next event may be taken, or retry begun; INT64_MAX for not before
 * a flight has ended or a batch has left. */
static int64_t next_start_ms(struct destination *d, int64_t now_ms)
{
    int64_t at = INT64_MAX, due = retries_due_ms(&d->retries), t, readable;

    if (health_probing(&d->health) && (d->open.count || d->ready.count))
        return INT64_MAX;
    if (due != INT64_MAX && d->late < LATE_RETRIES_MAX) {
        t = flight_start_ms(d, true, now_ms);
        at = t > due ? t : due;
    }
    readable = readable_ms(d, now_ms);
    if (readable != INT64_MAX) {
        t = flight_start_ms(d, false, now_ms);
        if (t < readable)
            t = readable;
        if (t < d->broken_ms)
            t = d->broken_ms;
        if (t < at)
            at = t;
    }
    return at;
}

int64_t destination_next_ms(struct destination *d)
{
    int64_t now = clock_mono_ms(), at, wait;

    if (d->paused || d->draining)
        return INT64_MAX; /* the end of a flight will pump */
    at = next_start_ms(d, now);
    wait = flights_due_ms(d, now);
    if (wait < at)
        at = wait;
    if (at != INT64_MAX && d->token && !token_good(d->token)) {
        wait = token_next_ms(d->token);
        if (at < wait)
            at = wait;
    }
    return at;
}
