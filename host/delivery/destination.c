/* SPDX-License-Identifier: Apache-2.0
 *
 * destination.c - see destination.h.
 *
 * The way of an event: take (from a lane, or a retry that is due) → select →
 * a *part* for each matching subscription → map → a *flight*, one call of the
 * plugin for one part, or for many where the action batches → requests out,
 * answers in → each part is settled by its own result.
 *
 * A flight that is not full waits in `open` for more parts of the same
 * subscription and batch key, at most batch_wait. */
#include "delivery/destination.h"

#include "base/clock.h"
#include "base/crc32c.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/text.h"
#include "delivery/backoff.h"
#include "delivery/retries.h"
#include "delivery/suspects.h"
#include "delivery/token.h"

#include <stdlib.h>
#include <string.h>

#define MAP_ARENA_BYTES (8u << 20)
#define LANES_MAX       4096
#define BROKEN_PAUSE_MS 1000 /* after the journal could not be read */

struct flight {
    struct destination *d;
    struct flight *prev, *next; /* in d->open or d->flying */
    struct call *call;
    struct part *parts;
    unsigned count, cap, outstanding;
    bool probe; /* left while the breaker was open */
    int64_t flush_ms;  /* monotonic; open ones */
    mf_str key;        /* batch key; owned */
    uint64_t token;    /* version of the token it carries */
    const struct call_request *last; /* of the last answer; lives in call */
    char *last_answer; /* owned text of the last answer that was no success */
    char error[256];   /* why the last request got no answer */
};

struct destination {
    char *name;
    struct instance *instance;
    struct transport *transport;
    struct slot *slot;
    const struct suspects *suspects; /* NULL: none */
    struct reports reports;
    unsigned concurrency;
    int64_t ttl_ms, batch_wait_ms;
    struct transport_options transport_options;
    struct bucket bucket;
    struct token *token; /* NULL: calls need none */
    uint32_t *keys; /* of the subscriptions */

    struct lane *lanes[LANES_MAX];
    size_t lane_count, turn;
    struct flight open, flying; /* heads of rings */
    unsigned open_count, flying_count;
    struct retries retries;
    struct arena map_arena;

    bool paused, draining, pumping, changed;
    int64_t broken_ms; /* monotonic; not read again before */
    unsigned failures; /* retryable ones in a row */
    unsigned probes;   /* of these, since they reached the breaker */
    int64_t probe_ms;  /* monotonic; when the next one may go */
    int64_t hold_ms;   /* monotonic; the far side asked for quiet until then */
    char last_error[ERROR_TEXT_MAX];
    int64_t last_error_ms;
    uint64_t classes[6], delivery_ns, deliveries;
    void (*settled)(void *arg);
    void *settled_arg;
};

/* ---- small ones ---- */

static uint64_t chance64(void)
{
    uint64_t v;

    random_bytes(&v, sizeof v);
    return v;
}

static void ring_init(struct flight *head)
{
    head->prev = head->next = head;
}

static void ring_add(struct flight *head, struct flight *f)
{
    f->prev = head->prev;
    f->next = head;
    head->prev->next = f;
    head->prev = f;
}

static void ring_drop(struct flight *f)
{
    f->prev->next = f->next;
    f->next->prev = f->prev;
}

static void note_error(struct destination *d, const char *what)
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

/* ---- settling ---- */

static void settle(struct destination *d, struct part *p,
                   enum lane_outcome outcome)
{
    struct msg_retry_key key = { lane_id(p->ev->lane), p->key, p->ev->at.seq };

    if (p->persisted)
        d->reports.retry_done(d->reports.arg, &key);
    lane_settle(p->ev, outcome);
}

static mf_str cut(mf_str s, size_t most)
{
    if (s.len > most)
        s.len = most;
    while (s.len && !utf8_valid(s.ptr, s.len) && s.len > most - 4)
        s.len--;
    return s;
}

/* Method, URL and body of the request that was answered last. Headers stay
 * out: they carry the credentials. */
static mf_str request_text(const struct flight *f, struct arena *a)
{
    const struct call_request *r = f ? f->last : NULL;

    if (!r)
        return (mf_str){ "", 0 };
    return arena_printf(a, "%s %.*s\n\n%.*s", r->method,
                        (int)r->real_url.len, r->real_url.ptr,
                        (int)cut(r->body, DEAD_EXCHANGE_BYTES).len,
                        r->body.ptr ? r->body.ptr : "");
}

static void bury(struct destination *d, struct part *p, enum dead_reason why,
                 int32_t status, mf_str error, const struct flight *f,
                 mf_str event)
{
    const struct manifest_action *action =
        p->subscription == UINT32_MAX
            ? NULL
            : instance_action(d->instance, p->subscription);
    struct msg_dead m = { .key = { lane_id(p->ev->lane), p->key,
                                   p->ev->at.seq },
                          .at = p->ev->at,
                          .first_ms = p->first_ms,
                          .when_ms = clock_ms(),
                          .attempts = p->attempts,
                          .reason = why,
                          .status = status };
    struct journal_record r;
    struct arena a;
    struct err e;
    mf_str id;

    arena_init(&a, 1 << 20);
    if (event.len == 0 && why != DEAD_GONE &&
        lane_reread(p->ev->lane, p->ev, &r, &e) == 0)
        event = r.payload;
    id = event.len ? json_text(json_get(json_root(event), MF_STR("messageId")),
                               &a)
                   : (mf_str){ "", 0 };
    d->reports.dead(d->reports.arg, &m, cut(error, ERROR_TEXT_MAX),
                    mf_cstr(action ? action->slug : ""), id,
                    event.len <= DEAD_EVENT_BYTES ? event : (mf_str){ "", 0 },
                    request_text(f, &a),
                    f && f->last_answer ? mf_cstr(f->last_answer)
                                        : (mf_str){ "", 0 });
    arena_deinit(&a);
    settle(d, p, LANE_DEAD);
}

/* The part leaves the lane's window for a row in state.db. */
static void set_aside(struct destination *d, struct part *p,
                      const struct call_result *r, int64_t wait_ms)
{
    mf_str error = cut(r->message, ERROR_TEXT_MAX);
    struct msg_retry m = { .key = { lane_id(p->ev->lane), p->key,
                                    p->ev->at.seq },
                           .at = p->ev->at,
                           .due_ms = clock_ms() + wait_ms,
                           .first_ms = p->first_ms,
                           .attempts = p->attempts,
                           .status = r->status,
                           .event_dead = p->ev->dead,
                           .error_len = (uint32_t)error.len };

    d->reports.retry(d->reports.arg, &m, error);
    p->persisted = true;
    lane_counters(p->ev->lane)->retries++;
    lane_set_aside(p->ev);
    retries_push(&d->retries, p, clock_mono_ms() + wait_ms);
}

static void try_again(struct destination *d, struct part *p,
                      const struct call_result *r, const struct flight *f)
{
    if (clock_ms() - p->ev->received_ms > d->ttl_ms) {
        bury(d, p, DEAD_EXPIRED, r->status, r->message, f, (mf_str){ "", 0 });
        return;
    }
    set_aside(d, p, r,
              backoff_ms(p->attempts, BACKOFF_FIRST_MS, BACKOFF_LAST_MS,
                         r->retry_after_ms, chance64()));
}

static bool is_probing(const struct destination *d)
{
    return d->failures >= BREAKER_FAILURES;
}

/* The breaker: a run of failures turns to probing, one success ends it. Only
 * a probe's failure makes the next one wait longer: those that were already
 * under way say nothing new. */
static void judge_health(struct destination *d, bool failed, bool probe)
{
    bool was_probing = is_probing(d);

    if (!failed) {
        if (was_probing) {
            log_info("%s: answers again", d->name);
            d->changed = true;
        }
        d->failures = d->probes = 0;
        return;
    }
    if (d->failures < BREAKER_FAILURES)
        d->failures++;
    if (!is_probing(d) || (was_probing && !probe))
        return;
    if (!was_probing) {
        log_warn("%s: %u failures in a row, the last: %s; probing until it "
                 "answers",
                 d->name, d->failures, d->last_error);
        d->changed = true;
    }
    if (d->probes < UINT32_MAX)
        d->probes++;
    d->probe_ms = clock_mono_ms() + backoff_ms(d->probes, BACKOFF_FIRST_MS,
                                               PROBE_LAST_MS, PROBE_FIRST_MS,
                                               chance64());
}

/* Retry-After is about the far side, not about the one event. */
static void hold(struct destination *d, int64_t wait_ms)
{
    int64_t until = clock_mono_ms() +
                    (wait_ms < HOLD_MAX_MS ? wait_ms : HOLD_MAX_MS);

    if (until > d->hold_ms)
        d->hold_ms = until;
}

/* A 401 that a new token may mend. One after that is a result. */
static bool wants_token(const struct destination *d, const struct flight *f,
                        unsigned i)
{
    return d->token && !f->parts[i].refused &&
           call_result(f->call, i)->status == 401;
}

static void settle_part(struct destination *d, struct flight *f, unsigned i)
{
    const struct call_result *r = call_result(f->call, i);
    struct part *p = &f->parts[i];

    if (wants_token(d, f, i)) {
        p->refused = token_refused(d->token, f->token);
        set_aside(d, p, r, 0);
        return;
    }
    p->refused = false;
    if (d->token && r->status >= 200 && r->status < 300)
        token_worked(d->token);
    p->attempts++;
    if (r->status == MF_SKIP)
        settle(d, p, LANE_FILTERED);
    else if (r->status >= 200 && r->status < 300)
        settle(d, p, LANE_DELIVERED);
    else if (status_retryable(r->status)) {
        if (r->retry_after_ms > 0)
            hold(d, r->retry_after_ms);
        try_again(d, p, r, f);
    } else
        bury(d, p, DEAD_REJECTED, r->status, r->message, f,
             (mf_str){ "", 0 });
}

static void flight_free(struct flight *f)
{
    call_free(f->call);
    free(f->parts);
    free(f->last_answer);
    free((char *)(uintptr_t)f->key.ptr);
    free(f);
}

static void land(struct flight *f)
{
    struct destination *d = f->d;
    bool failed = false, told = false;

    for (unsigned i = 0; i < f->count; i++) {
        const struct call_result *r = call_result(f->call, i);

        if (r->status >= 300) {
            char text[ERROR_TEXT_MAX];

            failed |= status_retryable(r->status);
            if (!told && !wants_token(d, f, i)) {
                snprintf(text, sizeof text, "%d: %.*s", r->status,
                         (int)r->message.len, r->message.ptr);
                note_error(d, text);
                told = true;
            }
        }
    }
    judge_health(d, failed, f->probe);
    for (unsigned i = 0; i < f->count; i++)
        settle_part(d, f, i);
    ring_drop(f);
    d->flying_count--;
    flight_free(f);
    if (!d->pumping && d->settled)
        d->settled(d->settled_arg);
}

/* ---- flying ---- */

/* The flight is in the plugin's hands. */
static void mark(struct flight *f, enum slot_phase phase, int64_t limit_ms)
{
    uint64_t from = UINT64_MAX, to = 0;

    for (unsigned i = 0; i < f->count; i++) {
        uint64_t seq = f->parts[i].ev->at.seq;

        from = seq < from ? seq : from;
        to = seq > to ? seq : to;
    }
    slot_mark(f->d->slot, phase, lane_id(f->parts[0].ev->lane), from, to,
              limit_ms);
}

static void unmark(struct destination *d)
{
    slot_mark(d->slot, PHASE_HOST, 0, 0, 0, 0);
}

static void count_class(struct destination *d, const struct call_answer *a)
{
    int at = a->status >= 200 && a->status < 600 ? a->status / 100 - 2
             : a->failure == MF_FAIL_REFUSED     ? 5
                                                 : 4;

    d->classes[at]++;
}

static void keep_answer(struct flight *f, const struct call_answer *a,
                        const char *why)
{
    if (a->status >= 200 && a->status < 300)
        return;
    free(f->last_answer);
    f->last_answer =
        a->status ? xasprintf("%d\n\n%.*s", a->status,
                              (int)cut(a->body, DEAD_EXCHANGE_BYTES).len,
                              a->body.ptr ? a->body.ptr : "")
                  : xstrdup(why ? why : "no answer");
}

static void send_queued(struct flight *f);

static void on_answer(void *arg, uint32_t id, const struct call_answer *a,
                      const char *why, int64_t took_ns)
{
    struct flight *f = arg;
    struct destination *d = f->d;

    f->outstanding--;
    d->delivery_ns += (uint64_t)took_ns;
    d->deliveries++;
    count_class(d, a);
    keep_answer(f, a, why);
    mark(f, PHASE_JUDGE, 0);
    call_answer(f->call, id, a);
    unmark(d);
    send_queued(f);
}

static void send_queued(struct flight *f)
{
    struct destination *d = f->d;
    const struct call_request *r;

    while ((r = call_next(f->call))) {
        f->outstanding++;
        f->last = r;
        transport_send(d->transport, r, &d->transport_options, on_answer, f);
    }
    if (f->outstanding == 0) {
        ASSERT(call_done(f->call));
        land(f);
    }
}

/* Off it goes: the plugin performs, its requests are sent. */
static void launch(struct flight *f)
{
    struct destination *d = f->d;
    bool native = instance_plugin(d->instance)->manifest->kind ==
                  PLUGIN_NATIVE;
    int64_t now = clock_ms();

    for (unsigned i = 0; i < f->count; i++) {
        lane_counters(f->parts[i].ev->lane)->attempts++;
        if (f->parts[i].first_ms == 0)
            f->parts[i].first_ms = now;
    }
    f->probe = is_probing(d);
    ring_add(&d->flying, f);
    d->flying_count++;
    mark(f, native ? PHASE_DELIVER : PHASE_PERFORM,
         native ? d->transport_options.timeout_ms + PLUGIN_GRACE_MS : 0);
    if (native) {
        int64_t began = clock_mono_ns();

        call_deliver(f->call, now + d->transport_options.timeout_ms);
        d->delivery_ns += (uint64_t)(clock_mono_ns() - began);
        d->deliveries++;
    } else {
        call_start(f->call);
    }
    unmark(d);
    send_queued(f);
}

static struct flight *flight_new(struct destination *d, unsigned subscription)
{
    struct flight *f = xcalloc(1, sizeof *f);

    f->d = d;
    f->call = call_new(d->instance, subscription);
    f->token = d->token ? token_version(d->token) : 0;
    return f;
}

static void board(struct flight *f, const struct part *p, mf_val event,
                  mf_val payload)
{
    if (f->count == f->cap) {
        f->cap = f->cap ? f->cap * 2 : 1;
        f->parts = xrealloc(f->parts, f->cap * sizeof *f->parts);
    }
    f->parts[f->count++] = *p;
    call_add(f->call, event, payload);
}

/* ---- batches ---- */

static bool batch_full(const struct destination *d, const struct flight *f)
{
    unsigned sub = f->parts[0].subscription;
    uint64_t bytes = instance_batch_bytes(d->instance, sub);

    return f->count >= instance_batch_size(d->instance, sub) ||
           (bytes && call_bytes(f->call) >= bytes);
}

static struct flight *open_batch(struct destination *d, unsigned subscription,
                                 mf_str key, size_t more)
{
    uint64_t bytes = instance_batch_bytes(d->instance, subscription);
    struct flight *f;

    for (f = d->open.next; f != &d->open; f = f->next)
        if (f->parts[0].subscription == subscription && mf_eq(f->key, key) &&
            !batch_full(d, f) &&
            (!bytes || call_bytes(f->call) + more <= bytes))
            return f;
    f = flight_new(d, subscription);
    f->key = (mf_str){ xstrndup(key.ptr ? key.ptr : "", key.len), key.len };
    f->flush_ms = clock_mono_ms() + d->batch_wait_ms;
    ring_add(&d->open, f);
    d->open_count++;
    return f;
}

static bool has_room(const struct destination *d)
{
    return d->flying_count < d->concurrency;
}

/* Launches what is full or has waited long enough. True if a due batch must
 * wait for room: then nothing new may be taken. */
static bool flush_batches(struct destination *d, int64_t now_ms)
{
    struct flight *next;

    for (struct flight *f = d->open.next; f != &d->open; f = next) {
        next = f->next;
        if (!d->draining && now_ms < f->flush_ms && !batch_full(d, f))
            continue;
        if (!has_room(d) || (now_ms < d->hold_ms && !d->draining) ||
            !bucket_take(&d->bucket, now_ms))
            return true;
        ring_drop(f);
        d->open_count--;
        launch(f);
        next = d->open.next; /* landing may have changed the ring */
    }
    return false;
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
    struct flight *f;
    struct err e;

    arena_reset(&d->map_arena);
    mark_event(d, p->ev);
    payload = instance_map(d->instance, sub, root, batch, &d->map_arena, &e);
    unmark(d);
    if (payload.type == MF_ABSENT) {
        bury(d, p, DEAD_MAPPING, MF_INVALID, mf_cstr(e.text), NULL, event);
        return;
    }
    if (batch && !suspects_alone(d->suspects, p->ev->at.seq)) {
        mf_str key = instance_batch_key(d->instance, sub, payload,
                                        &d->map_arena);

        f = open_batch(d, sub, key, payload.len);
        board(f, p, root, payload);
        return;
    }
    f = flight_new(d, sub);
    board(f, p, root, payload);
    bucket_take(&d->bucket, clock_mono_ms());
    launch(f);
}

/* An event that two workers died over is not shown to a third. */
static bool bury_poison(struct destination *d, struct part *p, mf_str event)
{
    mf_str why = suspects_why(d->suspects, lane_id(p->ev->lane),
                              p->ev->at.seq);

    if (why.len)
        bury(d, p, DEAD_PLUGIN, 0, why, NULL, event);
    return why.len > 0;
}

static void start_event(struct destination *d, struct lane_event *ev,
                        const struct journal_record *r)
{
    struct part whole = { .ev = ev, .subscription = UINT32_MAX };
    uint8_t subs[SUBSCRIPTIONS_MAX];
    size_t n = 0;

    if (suspects_why(d->suspects, lane_id(ev->lane), ev->at.seq).len) {
        lane_begin(ev, 1);
        bury_poison(d, &whole, r->payload);
        return;
    }
    arena_reset(&d->map_arena);
    mark_event(d, ev);
    instance_select(d->instance, json_root(r->payload), subs, &n,
                    &d->map_arena);
    unmark(d);
    lane_begin(ev, (unsigned)n);
    for (size_t i = 0; i < n; i++) {
        struct part p = { .ev = ev, .subscription = subs[i],
                          .key = d->keys[subs[i]] };

        if (clock_ms() - ev->received_ms > d->ttl_ms)
            bury(d, &p, DEAD_EXPIRED, 0,
                 MF_STR("it outlived its ttl before it could be tried"), NULL,
                 r->payload);
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
        bury(d, &p, DEAD_GONE, 0,
             MF_STR("the subscription it waited for is no longer configured"),
             NULL, (mf_str){ "", 0 });
        return;
    }
    if (lane_reread(p.ev->lane, p.ev, &r, &e) != 0) {
        bury(d, &p, DEAD_GONE, 0, mf_cstr(e.text), NULL, (mf_str){ "", 0 });
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
            note_error(d, e.text);
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
        if (flush_batches(d, now) || d->draining || !has_room(d))
            break;
        if (now < d->hold_ms ||
            (is_probing(d) &&
             (now < d->probe_ms || d->flying_count || d->open_count)))
            break;
        if (bucket_wait_ms(&d->bucket, now) > 0)
            break;
        if (retry_is_due(d, now))
            start_retry(d);
        else if (!take_one(d))
            break;
    }
    more = budget == 0;
    flush_batches(d, now);
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
    if (at == INT64_MAX || (is_probing(d) && (d->flying_count ||
                                              d->open_count)))
        return INT64_MAX;
    return is_probing(d) && at < d->probe_ms ? d->probe_ms : at;
}

int64_t destination_next_ms(const struct destination *d)
{
    int64_t now = clock_mono_ms(), at, wait;

    if (d->paused || d->draining || !has_room(d))
        return INT64_MAX; /* the end of a flight will pump */
    at = next_start_ms(d, now);
    for (struct flight *f = d->open.next; f != &d->open; f = f->next)
        if (f->flush_ms < at)
            at = f->flush_ms;
    if (at == INT64_MAX)
        return at;
    wait = bucket_wait_ms(&d->bucket, now);
    if (wait > 0 && at < now + wait)
        at = now + wait;
    if (at < d->hold_ms)
        at = d->hold_ms;
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
        note_error(d, error);
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
    ring_init(&d->open);
    ring_init(&d->flying);
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
    while (d->open.next != &d->open) {
        struct flight *f = d->open.next;

        ring_drop(f);
        flight_free(f);
    }
    while (d->flying.next != &d->flying) {
        struct flight *f = d->flying.next;

        ring_drop(f);
        flight_free(f);
    }
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
    if (wait > 86400000) /* the clock was turned back */
        wait = BACKOFF_LAST_MS;
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
    m->state = d->paused       ? DEST_PAUSED
               : is_probing(d) || (d->token && *token_error(d->token))
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
