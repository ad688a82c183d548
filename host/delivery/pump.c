/* SPDX-License-Identifier: Apache-2.0
 *
 * pump.c - what a destination takes next, and when: events of its lanes,
 * retries that are due. Nothing is taken that could not leave at once, but
 * for batches, so that what waits waits in the journal. */
#include "delivery/inner.h"
#include "delivery/replay.h"

#include "base/crc32c.h"
#include "base/log.h"
#include "delivery/replay.h"

#include <string.h>

#define PUMP_TURN_MS    5    /* of a turn: the worker has other destinations */
#define PUMP_LOOK       16   /* events between looks at the clock */

/* ---- turns ---- */

static void note_waited(void *arg, struct flight *f)
{
    (void)arg;
    f->waited_for = true;
}

static uint64_t user_key(mf_val event, struct arena *a)
{
    mf_str user = json_text(json_get(event, MF_STR("userId")), a);

    if (user.len == 0)
        user = json_text(json_get(event, MF_STR("anonymousId")), a);
    return user.len ? order_key(0, user) : 0;
}

static uint64_t field_key(const char *field, mf_val payload, struct arena *a)
{
    mf_val v = json_get(payload, mf_cstr(field));
    mf_str text = json_text(v, a);

    if (v.type == MF_ABSENT || v.type == MF_NULL)
        return 0;
    return order_key(crc32c(0, field, strlen(field)),
                     v.type == MF_STRING ? text
                                         : (mf_str){ v.raw, v.len });
}

/* True if the part may go now. Otherwise it awaits its turn: open in its lane,
 * or set aside if it would have to wait for a retry. */
static bool await_turn(struct destination *d, struct part *p, mf_val event,
                       mf_val payload)
{
    const struct replay *replay = lane_owner(p->ev->lane);
    const char *field = instance_serialize_by(d->instance, p->subscription);
    uint64_t keys[ORDER_KEYS] = {
        d->by_user ? user_key(event, &d->map_arena) : 0,
        field ? field_key(field, payload, &d->map_arena) : 0
    };

    if (replay) /* ordered among its own events: live ones do not wait */
        for (int k = 0; k < ORDER_KEYS; k++)
            keys[k] = keys[k] ? keys[k] ^ (uint64_t)replay->id << 32 : 0;
    p->ticket = order_join(d->order, p->ev->at.seq, keys);
    if (!p->ticket)
        return true;
    if (order_first(p->ticket)) {
        order_put(d->order, p->ticket, ORDER_HAND, NULL);
        return true;
    }
    order_put(d->order, p->ticket, ORDER_WAITING, p);
    if (p->persisted || order_waits_for_retry(p->ticket)) {
        part_wait_aside(d, p->ticket);
        return false;
    }
    lane_wait(p->ev, 1);
    order_before(p->ticket, note_waited, NULL);
    return false;
}

/* ---- starting ---- */

static void mark_event(struct destination *d, const struct lane_event *ev)
{
    slot_mark(d->slot, PHASE_MAP, lane_id(ev->lane), ev->at.seq, ev->at.seq,
              0);
}

bool part_map(struct destination *d, struct part *p, mf_str event,
              mf_val *payload)
{
    bool batch = instance_batch_size(d->instance, p->subscription) > 1;
    struct err e;

    arena_reset(&d->map_arena);
    mark_event(d, p->ev);
    *payload = instance_map(d->instance, p->subscription, json_root(event),
                            batch, &d->map_arena, &e);
    slot_unmark(d->slot);
    if (payload->type != MF_ABSENT)
        return true;
    part_bury(d, p, DEAD_MAPPING, MF_INVALID, mf_cstr(e.text), NULL, event);
    return false;
}

/* Maps one part and sends it off, if it is its turn. One that was delivered
 * by a worker that could not report it any more has ended. */
static void start_part(struct destination *d, struct part *p, mf_str event)
{
    mf_val root = json_root(event), payload;

    if (lane_was_delivered(p->ev, p->key)) {
        part_settle(d, p, PART_DELIVERED);
        return;
    }
    if (!part_map(d, p, event, &payload))
        return;
    if (!d->order || p->ticket || await_turn(d, p, root, payload))
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

static bool expired(const struct destination *d, const struct part *p)
{
    return clock_ms() - p->ev->received_ms > d->ttl_ms;
}

/* The parts of an event that has begun. */
static void start_parts(struct destination *d, struct lane_event *ev,
                        const uint8_t *subs, size_t n, mf_str event)
{
    for (size_t i = 0; i < n; i++) {
        struct part p = { .ev = ev, .subscription = subs[i],
                          .key = d->keys[subs[i]] };

        if (expired(d, &p) && !lane_was_delivered(ev, p.key))
            part_settle(d, &p, PART_LAPSED); /* it lags: no letters */
        else
            start_part(d, &p, event);
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

/* A part that is in hand again: its event is read and mapped anew. */
static void start_again(struct destination *d, struct part *p)
{
    struct journal_record r;
    struct err e;

    if (replay_is_cancelled(lane_owner(p->ev->lane))) {
        part_settle(d, p, PART_SKIPPED);
        return;
    }
    switch (lane_reread(p->ev->lane, p->ev, &r, &e)) {
    case LANE_EVENT:
        break;
    case LANE_BROKEN:
        note_broken(d, &e);
        if (!p->persisted) {
            part_set_aside(d, p, NULL, 0, mf_cstr(e.text), BROKEN_PAUSE_MS);
            return;
        }
        lane_set_aside(p->ev); /* as it was: its row has not changed */
        part_put_due(d, p, d->broken_ms);
        return;
    default:
        part_bury(d, p, DEAD_GONE, 0, mf_cstr(e.text), NULL,
                  (mf_str){ "", 0 });
        return;
    }
    if (p->ev->received_ms == 0)
        p->ev->received_ms = r.received_ms;
    if (bury_poison(d, p, r.payload))
        return;
    if (p->subscription == UINT32_MAX)
        start_whole(d, p, r.payload);
    else if (p->attempts == 0 && expired(d, p))
        part_settle(d, p, PART_LAPSED);
    else
        start_part(d, p, r.payload);
}

static void start_retry(struct destination *d)
{
    struct part p = retries_pop(&d->retries);

    if (p.ticket && !order_first(p.ticket)) { /* it was found in state.db */
        order_put(d->order, p.ticket, ORDER_ASIDE, &p);
        return;
    }
    if (p.ticket)
        order_put(d->order, p.ticket, ORDER_HAND, NULL);
    lane_resume(p.ev);
    if (p.subscription == UINT32_MAX && p.key)
        part_bury(d, &p, DEAD_GONE, 0,
                  MF_STR("the subscription it waited for is no longer "
                         "configured"),
                  NULL, (mf_str){ "", 0 });
    else
        start_again(d, &p);
}

/* A part whose turn has come. */
static void start_turn(struct destination *d)
{
    struct ticket *t = order_next(d->order);
    struct part p;

    if (!t)
        return;
    p = t->part;
    if (t->waited == ORDER_ASIDE)
        lane_resume(p.ev);
    else
        lane_wait(p.ev, -1);
    start_again(d, &p);
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
           (d->order && order_has_next(d->order)) ||
           (!d->draining && readable_ms(d, now_ms) <= now_ms);
}

/* While the far side is only probed, one call at a time is made up. */
static bool may_take(struct destination *d, int64_t now_ms)
{
    if (health_probing(&d->health) && (d->open.count || d->ready.count))
        return false;
    return flight_start_ms(d, false, now_ms) <= now_ms;
}

/* Where order matters, an ill far side is probed with the retry that is due
 * first, due or not: fresh events would have to be set aside behind those that
 * failed, and an outage must not fill state.db. */
static bool probes_with_retries(const struct destination *d)
{
    return d->order && d->retries.count && health_probing(&d->health);
}

static bool take_next(struct destination *d, int64_t now_ms)
{
    if (d->order && d->rereading) /* those are the oldest */
        d->rereading = turns_rereading(&d->turns);
    if (d->order && d->rereading)
        return take_one(d);
    if (d->order && order_has_next(d->order)) {
        start_turn(d);
        return true;
    }
    if (probes_with_retries(d)) {
        if (!may_retry(d, now_ms))
            return false;
        start_retry(d);
        return true;
    }
    if (retry_is_due(d, now_ms) && may_retry(d, now_ms)) {
        start_retry(d);
        return true;
    }
    return take_one(d);
}

/* As with what waits in a batch: where other parts of the event may be settled
 * it needs a row of its own. */
static void give_back_waiting(void *arg, struct ticket *t)
{
    if (t->part.ev->total > 1) {
        lane_wait(t->part.ev, -1);
        part_wait_aside(arg, t);
    }
}

static void pump_drain(struct destination *d, int64_t now_ms)
{
    if (!d->paused && !(d->token && !token_good(d->token)))
        flights_flush(d, now_ms);
    flights_give_back(d);
    if (d->order)
        order_all_waiting(d->order, give_back_waiting, d);
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
        if (flights_flush(d, now) || !may_take(d, now))
            return false;
        if (!take_next(d, now)) {
            flights_hurry(d);
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
    if (probes_with_retries(d))
        due = now_ms;
    if (due != INT64_MAX && d->late < LATE_RETRIES_MAX) {
        t = flight_start_ms(d, true, now_ms);
        at = t > due ? t : due;
    }
    readable = d->order && order_has_next(d->order) ? now_ms
                                                    : readable_ms(d, now_ms);
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
