/* SPDX-License-Identifier: Apache-2.0
 *
 * destination.c - see destination.h.
 *
 * The way of an event: take (from a lane, or a retry that is due) → select →
 * a *part* for each matching subscription → map → a *flight*, one call of the
 * plugin for one part, or for many where the action batches → requests out,
 * answers in → each part is settled by its own result. */
#include "delivery/destination.h"

#include "base/crc32c.h"
#include "base/log.h"
#include "delivery/inner.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAP_ARENA_BYTES (8u << 20)
#define BROKEN_PAUSE_MS 1000 /* after the journal could not be read */

/* ---- small ones ---- */

uint64_t chance64(void)
{
    uint64_t v;

    random_bytes(&v, sizeof v);
    return v;
}

mf_str text_cut(mf_str s, size_t most)
{
    if (s.len > most)
        s.len = most;
    while (s.len && !utf8_valid(s.ptr, s.len) && s.len > most - 4)
        s.len--;
    return s;
}

void destination_note_error(struct destination *d, const char *what)
{
    snprintf(d->last_error, sizeof d->last_error, "%.*s",
             (int)sizeof d->last_error - 1, what);
    d->last_error_ms = clock_ms();
    d->changed = true;
}

/* A subscription must keep its retries over a reload that moves it in the
 * list, so it is named by what it says, not by where it stands. */
static uint32_t subscription_key(const struct instance *i, unsigned n)
{
    mf_str name = instance_subscription_name(i, n);

    return crc32c(0, name.ptr, name.len);
}

static int find_subscription(const struct destination *d, uint32_t key)
{
    for (size_t n = 0; n < instance_subscriptions(d->instance); n++)
        if (d->keys[n] == key)
            return (int)n;
    return -1;
}

/* ---- taking ---- */

static void mark_event(struct destination *d, const struct lane_event *ev)
{
    slot_mark(d->slot, PHASE_MAP, lane_id(ev->lane), ev->at.seq, ev->at.seq,
              0);
}

/* Maps one part and sends it off, alone or in a batch. */
static void start_part(struct destination *d, struct part *p, mf_str event)
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

static void start_event(struct destination *d, struct lane_event *ev,
                        const struct journal_record *r)
{
    struct part whole = { .ev = ev, .subscription = UINT32_MAX };
    uint8_t subs[SUBSCRIPTIONS_MAX];
    enum select_reason why;
    size_t n = 0;

    if (suspects_why(d->suspects, lane_id(ev->lane), ev->at.seq).len) {
        lane_begin(ev, 1, 0);
        bury_poison(d, &whole, r->payload);
        return;
    }
    arena_reset(&d->map_arena);
    mark_event(d, ev);
    why = instance_select(d->instance, json_root(r->payload), subs, &n,
                          &d->map_arena);
    slot_unmark(d->slot);
    lane_begin(ev, (unsigned)n, (uint8_t)why);
    for (size_t i = 0; i < n; i++) {
        struct part p = { .ev = ev, .subscription = subs[i],
                          .key = d->keys[subs[i]] };

        if (clock_ms() - ev->received_ms > d->ttl_ms)
            part_settle(d, &p, PART_LAPSED); /* a lane that lags: no letters */
        else
            start_part(d, &p, r->payload);
    }
}

static void start_retry(struct destination *d)
{
    struct part p = retries_pop(&d->retries);
    struct journal_record r;
    struct err e;

    lane_resume(p.ev);
    if (p.subscription == UINT32_MAX) {
        part_bury(d, &p, DEAD_GONE, 0,
                  MF_STR("the subscription it waited for is no longer "
                         "configured"),
                  NULL, (mf_str){ "", 0 });
        return;
    }
    if (lane_reread(p.ev->lane, p.ev, &r, &e) != 0) {
        part_bury(d, &p, DEAD_GONE, 0, mf_cstr(e.text), NULL,
                  (mf_str){ "", 0 });
        return;
    }
    if (p.ev->received_ms == 0)
        p.ev->received_ms = r.received_ms;
    if (bury_poison(d, &p, r.payload))
        return;
    start_part(d, &p, r.payload);
}

/* One event from the next lane that has one. False if none has. */
static bool take_one(struct destination *d)
{
    if (clock_mono_ms() < d->broken_ms)
        return false;
    for (size_t tried = 0; tried < d->lane_count;) {
        struct lane *l = d->lanes[d->turn % d->lane_count];
        struct lane_event *ev;
        struct journal_record r;
        struct err e;

        switch (lane_take(l, &ev, &r, &e)) {
        case LANE_EVENT:
            d->turn++;
            start_event(d, ev, &r);
            return true;
        case LANE_MORE:
            d->turn++;
            return true;
        case LANE_BROKEN:
            if (strcmp(e.text, d->last_error) != 0)
                log_error("%s: %s", d->name, e.text);
            destination_note_error(d, e.text);
            d->broken_ms = clock_mono_ms() + BROKEN_PAUSE_MS;
            d->turn++;
            tried++;
            break;
        default:
            d->turn++;
            tried++;
        }
    }
    return false;
}

static bool retry_is_due(const struct destination *d, int64_t now_ms)
{
    return retries_due_ms(&d->retries) <= now_ms;
}

static bool has_work(const struct destination *d, int64_t now_ms)
{
    bool work = d->open_count || retry_is_due(d, now_ms);

    for (size_t i = 0; i < d->lane_count && !work && !d->draining; i++)
        work = lane_ready(d->lanes[i]);
    return work;
}

bool destination_pump(struct destination *d, unsigned budget)
{
    int64_t now = clock_mono_ms();
    bool more = false;

    if (d->paused && !d->draining)
        return false;
    if (d->token && has_work(d, now) && !token_ready(d->token))
        return false;
    d->pumping = true;
    for (; budget > 0; budget--) {
        if (flights_flush(d, now) || d->draining || !flight_room(d))
            break;
        if (now < d->health.hold_ms ||
            (health_probing(&d->health) &&
             (now < d->health.probe_ms || d->flying_count || d->open_count)))
            break;
        if (bucket_wait_ms(&d->bucket, now) > 0)
            break;
        if (retry_is_due(d, now))
            start_retry(d);
        else if (!take_one(d))
            break;
    }
    more = budget == 0;
    flights_flush(d, now);
    d->pumping = false;
    return more;
}

/* When the next event may be taken, or retry begun; INT64_MAX for not before
 * a flight has ended or a batch has left. */
static int64_t next_start_ms(const struct destination *d, int64_t now_ms)
{
    int64_t at = retries_due_ms(&d->retries);
    bool readable = false;

    for (size_t i = 0; i < d->lane_count && !readable; i++)
        readable = lane_ready(d->lanes[i]);
    if (readable && at > now_ms)
        at = d->broken_ms > now_ms ? d->broken_ms : now_ms;
    if (at == INT64_MAX || !health_probing(&d->health))
        return at;
    if (d->flying_count || d->open_count)
        return INT64_MAX;
    return at < d->health.probe_ms ? d->health.probe_ms : at;
}

int64_t destination_next_ms(const struct destination *d)
{
    int64_t now = clock_mono_ms(), at, wait;

    if (d->paused || d->draining || !flight_room(d))
        return INT64_MAX; /* the end of a flight will pump */
    at = next_start_ms(d, now);
    if (flights_due_ms(d) < at)
        at = flights_due_ms(d);
    if (at == INT64_MAX)
        return at;
    wait = bucket_wait_ms(&d->bucket, now);
    if (wait > 0 && at < now + wait)
        at = now + wait;
    if (at < d->health.hold_ms)
        at = d->health.hold_ms;
    if (d->token && !token_good(d->token)) {
        wait = token_next_ms(d->token);
        if (at < wait)
            at = wait;
    }
    return at;
}

/* ---- life ---- */

static void on_token_tell(void *arg, enum message type,
                          const struct msg_token *m, mf_str name,
                          mf_str origin, mf_str tokens)
{
    struct destination *d = arg;

    d->reports.token(d->reports.arg, type, m, name, origin, tokens);
}

static void on_token_changed(void *arg)
{
    struct destination *d = arg;
    const char *error = token_error(d->token);

    d->reports.secrets(d->reports.arg);
    if (*error && strcmp(error, d->last_error) != 0)
        log_warn("%s: %s", d->name, error);
    if (*error)
        destination_note_error(d, error);
    d->changed = true;
    if (!d->pumping && d->settled)
        d->settled(d->settled_arg);
}

struct destination *destination_new(struct instance *i,
                                    const struct destination_options *o,
                                    struct transport *t, struct slot *slot,
                                    const struct reports *reports)
{
    struct destination *d = xcalloc(1, sizeof *d);
    size_t n = instance_subscriptions(i);

    d->name = xstrdup(o->name);
    d->instance = i;
    d->transport = t;
    d->slot = slot;
    d->reports = *reports;
    d->concurrency = o->concurrency ? o->concurrency : 1;
    d->ttl_ms = o->ttl_ms;
    d->batch_wait_ms = o->batch_wait_ms;
    d->transport_options.timeout_ms = o->timeout_ms;
    d->transport_options.allow_private = o->allow_private;
    bucket_init(&d->bucket, o->rate, clock_mono_ms());
    if (reports->token)
        d->token = token_new(i, d->name, t, &d->transport_options, slot,
                             &(struct token_ways){ on_token_tell,
                                                   on_token_changed, d });
    flights_init(d);
    arena_init(&d->map_arena, MAP_ARENA_BYTES);
    d->keys = xcalloc(n + 1, sizeof *d->keys);
    for (size_t s = 0; s < n; s++)
        d->keys[s] = subscription_key(i, (unsigned)s);
    d->changed = true;
    return d;
}

void destination_free(struct destination *d)
{
    if (!d)
        return;
    flights_deinit(d);
    for (size_t i = 0; i < d->lane_count; i++)
        lane_free(d->lanes[i]);
    arena_deinit(&d->map_arena);
    retries_deinit(&d->retries);
    token_free(d->token);
    free(d->keys);
    free(d->name);
    free(d);
}

const char *destination_name(const struct destination *d)
{
    return d->name;
}

void destination_suspect(struct destination *d, const struct suspects *s)
{
    d->suspects = s;
}

void destination_add_lane(struct destination *d, struct lane *l)
{
    ASSERT(d->lane_count < LANES_MAX);
    d->lanes[d->lane_count++] = l;
}

struct lane *destination_lane(struct destination *d, uint32_t id)
{
    for (size_t i = 0; i < d->lane_count; i++)
        if (lane_id(d->lanes[i]) == id)
            return d->lanes[i];
    return NULL;
}

size_t destination_lane_count(const struct destination *d)
{
    return d->lane_count;
}

struct lane *destination_lane_at(struct destination *d, size_t i)
{
    return d->lanes[i];
}

void destination_restore(struct destination *d, struct lane *l,
                         const struct msg_retry *r, mf_str error)
{
    int sub = find_subscription(d, r->key.subscription);
    int64_t wait = r->due_ms - clock_ms();
    struct part p = { .subscription = sub < 0 ? UINT32_MAX : (uint32_t)sub,
                      .key = r->key.subscription,
                      .attempts = r->attempts,
                      .first_ms = r->first_ms,
                      .persisted = true };

    (void)error;
    if (wait < 0 || sub < 0)
        wait = 0;
    if (wait > 86400000)
        wait = BACKOFF_LAST_MS;
    /* Tried first in what is the future: the clock was turned back, and when
     * it was to be tried again says nothing. */
    if (r->first_ms > clock_ms() && wait > BACKOFF_FIRST_MS)
        wait = BACKOFF_FIRST_MS;
    p.ev = lane_restore(l, r->at, r->event_dead);
    retries_push(&d->retries, &p, clock_mono_ms() + wait);
}

void destination_drain(struct destination *d)
{
    d->draining = true;
    transport_hurry(d->transport);
}

void destination_pause(struct destination *d, bool on)
{
    d->paused = on;
    d->changed = true;
}

unsigned destination_in_flight(const struct destination *d)
{
    return d->flying_count + d->open_count +
           (d->token && token_busy(d->token));
}

struct token *destination_token(struct destination *d)
{
    return d->token;
}

void destination_status(struct destination *d, struct msg_destination *m,
                        const char **error)
{
    memset(m, 0, sizeof *m);
    for (size_t i = 0; i < d->lane_count; i++) {
        int64_t oldest = lane_oldest_ms(d->lanes[i]);

        if (oldest && (!m->oldest_ms || oldest < m->oldest_ms))
            m->oldest_ms = oldest;
    }
    m->state = d->paused ? DEST_PAUSED
               : health_probing(&d->health) ||
                       (d->token && *token_error(d->token))
                   ? DEST_BACKING_OFF
                   : DEST_ACTIVE;
    m->in_flight = d->flying_count;
    m->waiting_retries = (uint32_t)d->retries.count;
    m->concurrency_limit = d->concurrency;
    m->error_ms = d->last_error_ms;
    memcpy(m->classes, d->classes, sizeof m->classes);
    m->delivery_ns = d->delivery_ns;
    m->deliveries = d->deliveries;
    *error = d->last_error;
    d->changed = false;
}

bool destination_status_changed(struct destination *d)
{
    return d->changed;
}

void destination_on_settled(struct destination *d, void (*fn)(void *arg),
                            void *arg)
{
    d->settled = fn;
    d->settled_arg = arg;
}
