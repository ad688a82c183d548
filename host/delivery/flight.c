/* SPDX-License-Identifier: Apache-2.0
 *
 * flight.c - calls of the plugin: batches that fill, calls that wait to be
 * allowed, calls under way, the requests they make and the answers to them.
 *
 * A batch waits in `open` for more parts of the same subscription and batch
 * key, at most batch_wait. What is complete waits in `ready` until limiter,
 * breaker, rate and ceiling let it go. Only calls that repeat earlier ones may
 * be overtaken there, when it is the ceiling on these that they wait for. */
#include "delivery/inner.h"

#include "base/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- rings ---- */

static void ring_init(struct ring *r)
{
    r->head.prev = r->head.next = &r->head;
    r->count = 0;
}

static struct flight *ring_first(const struct ring *r)
{
    return r->head.next == &r->head ? NULL : r->head.next;
}

static struct flight *ring_after(const struct ring *r, const struct flight *f)
{
    return f->next == &r->head ? NULL : f->next;
}

static void ring_add(struct ring *r, struct flight *f)
{
    f->prev = r->head.prev;
    f->next = &r->head;
    r->head.prev->next = f;
    r->head.prev = f;
    r->count++;
}

static void ring_drop(struct ring *r, struct flight *f)
{
    f->prev->next = f->next;
    f->next->prev = f->prev;
    r->count--;
}

void flight_make_ready(struct destination *d, struct flight *f)
{
    ring_add(&d->ready, f);
    d->late += f->retry;
}

/* ---- landing ---- */

static void flight_free(struct flight *f)
{
    call_free(f->call);
    free(f->parts);
    free(f->last_answer);
    free((char *)(uintptr_t)f->key.ptr);
    free(f);
}

/* The breaker: a run of failures turns to probing, one success ends it. */
static void judge_health(struct destination *d, bool failed, bool probe)
{
    switch (health_judge(&d->health, failed, probe, clock_mono_ms(),
                         failed ? chance64() : 0)) {
    case HEALTH_WELL:
        log_info("%s: answers again", d->name);
        limiter_revive(&d->limiter);
        d->changed = true;
        break;
    case HEALTH_ILL:
        log_warn("%s: %u failures in a row, the last: %s; probing until it "
                 "answers",
                 d->name, d->health.failures, d->last_error);
        d->changed = true;
        break;
    case HEALTH_SAME:
        break;
    }
}

/* What the call says of the far side's load. */
static void judge_load(struct destination *d, const struct flight *f)
{
    enum limiter_result result = f->unanswered ? LIMITER_BUSY : LIMITER_GOOD;

    for (unsigned i = 0; i < f->count && result != LIMITER_BUSY; i++) {
        int32_t status = call_result(f->call, i)->status;

        if (status == 429 || status == 503 || status == 408)
            result = LIMITER_BUSY;
        else if (status_retryable(status))
            result = LIMITER_ILL;
    }
    if (f->answered || f->unanswered)
        limiter_done(&d->limiter, result, f->began_ns, clock_mono_ns(),
                     d->flying.count);
}

/* The first result that is no success is told. True if the call failed and
 * may go well another time; one event that went well says that it may now. */
static bool tell_failure(struct destination *d, const struct flight *f)
{
    bool failed = false, good = false, told = false;

    for (unsigned i = 0; i < f->count; i++) {
        const struct call_result *r = call_result(f->call, i);
        char text[ERROR_TEXT_MAX];

        good |= r->status >= 200 && r->status < 300;
        if (r->status < 300)
            continue;
        failed |= status_retryable(r->status);
        if (!told && !part_wants_token(d, f, i)) {
            snprintf(text, sizeof text, "%d: %.*s", r->status,
                     (int)r->message.len, r->message.ptr);
            destination_note_error(d, text);
            told = true;
        }
    }
    return failed && !good;
}

static void land(struct flight *f)
{
    struct destination *d = f->d;
    struct lane *lane = f->parts[0].ev->lane;

    judge_health(d, tell_failure(d, f), f->probe);
    judge_load(d, f);
    batch_learn(d, f);
    split_flight(d, f);
    for (unsigned i = 0; i < f->count; i++)
        if (!split_wanted(f, i))
            part_judge(d, f, i);
    lane_flush_receipts(lane);
    ring_drop(&d->flying, f);
    d->replay_flying -= f->replay;
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
                              (int)text_cut(a->body, DEAD_EXCHANGE_BYTES).len,
                              a->body.ptr ? a->body.ptr : "")
                  : xstrdup(why ? why : "no answer");
}

static void send_queued(struct flight *f);

static void on_answer(void *arg, uint32_t id, const struct call_answer *a,
                      const char *why, int64_t took_ns)
{
    struct flight *f = arg;
    struct destination *d = f->d;
    struct call_answer told = *a;

    told.why = mf_cstr(why);
    f->outstanding--;
    f->answered |= a->status != 0;
    f->unanswered |= a->status == 0 && a->failure != MF_FAIL_REFUSED;
    histogram_add(&d->requests, took_ns);
    count_class(d, a);
    keep_answer(f, a, why);
    mark(f, PHASE_JUDGE, 0);
    call_answer(f->call, id, &told);
    slot_unmark(d->slot);
    send_queued(f);
}

static void send_queued(struct flight *f)
{
    struct destination *d = f->d;
    const struct call_request *r;

    while ((r = call_next(f->call))) {
        if (f->last) /* one was paid for when the call left */
            bucket_owe(&d->pacing.calls, clock_mono_ms());
        f->outstanding++;
        f->last = r;
        transport_send(d->transport, r, &d->transport_options, on_answer, f);
    }
    if (f->outstanding == 0) {
        ASSERT(call_done(f->call));
        land(f);
    }
}

static void on_waited(void *arg, uint32_t id, const struct call_answer *a,
                      const char *why, int64_t took_ns)
{
    struct flight *f = arg;

    (void)id;
    (void)took_ns; /* within that of the whole */
    count_class(f->d, a);
    keep_answer(f, a, why);
    call_waited(f->call, a);
}

/* A native plugin waits for this one. */
static void send_waiting(void *arg, struct call *c,
                         const struct call_request *r)
{
    struct flight *f = arg;

    (void)c;
    f->last = r;
    transport_wait(f->d->transport, r, &f->d->transport_options, on_waited, f);
}

/* Off it goes: the plugin performs, its requests are sent. */
static void launch(struct flight *f)
{
    struct destination *d = f->d;
    bool native = instance_plugin(d->instance)->manifest->kind ==
                  PLUGIN_NATIVE;
    int64_t now = clock_ms();

    for (unsigned i = 0; i < f->count; i++) {
        struct counters *c = lane_counters(f->parts[i].ev->lane);

        c->attempts++;
        c->retries += f->parts[i].attempts > 0;
        if (f->parts[i].first_ms == 0)
            f->parts[i].first_ms = now;
    }
    f->probe = health_probing(&d->health);
    f->began_ns = clock_mono_ns();
    call_authorise(f->call); /* it may have waited, for a token even */
    f->token = d->token ? token_version(d->token) : 0;
    ring_add(&d->flying, f);
    f->replay = lane_owner(f->parts[0].ev->lane) != NULL;
    d->replay_flying += f->replay;
    mark(f, native ? PHASE_DELIVER : PHASE_PERFORM,
         native ? d->transport_options.timeout_ms + PLUGIN_GRACE_MS : 0);
    if (native) {
        call_on_wait(f->call, send_waiting, f);
        call_deliver(f->call, now + d->transport_options.timeout_ms);
        histogram_add(&d->requests, clock_mono_ns() - f->began_ns);
    } else {
        call_start(f->call);
    }
    slot_unmark(d->slot);
    send_queued(f);
}

struct flight *flight_new(struct destination *d, const struct part *p)
{
    struct flight *f = xcalloc(1, sizeof *f);

    f->d = d;
    f->call = call_new(d->instance, p->subscription);
    f->retry = p->attempts > 0;
    return f;
}

void flight_board(struct flight *f, const struct part *p, mf_val event,
                  mf_val payload)
{
    if (f->count == f->cap) {
        f->cap = f->cap ? f->cap * 2 : 1;
        f->parts = xrealloc(f->parts, f->cap * sizeof *f->parts);
    }
    f->parts[f->count++] = *p;
    call_source(f->call, call_add(f->call, event, payload),
                lane_source(p->ev->lane));
}

/* ---- batches ---- */

static bool batch_full(const struct destination *d, const struct flight *f)
{
    unsigned sub = f->parts[0].subscription;
    uint64_t bytes = instance_batch_bytes(d->instance, sub);

    return f->count >= batch_most(d, sub) ||
           (bytes && call_bytes(f->call) >= bytes);
}

static void close_batch(struct destination *d, struct flight *f)
{
    for (unsigned i = 0; i < f->count; i++)
        if (f->parts[i].ticket)
            f->parts[i].ticket->flight = NULL;
    ring_drop(&d->open, f);
    flight_make_ready(d, f);
}

/* The open batch that has room for the part, or a new one. Retries keep to
 * themselves: they may have to wait for the ceiling. */
static struct flight *open_batch(struct destination *d, const struct part *p,
                                 mf_str key, size_t more)
{
    uint64_t bytes = instance_batch_bytes(d->instance, p->subscription);
    struct flight *f;

    for (f = ring_first(&d->open); f; f = ring_after(&d->open, f))
        if (f->parts[0].subscription == p->subscription &&
            f->retry == (p->attempts > 0) && mf_eq(f->key, key)) {
            if (!bytes || call_bytes(f->call) + more <= bytes)
                return f;
            close_batch(d, f);
            break;
        }
    if (d->open.count == OPEN_BATCHES_MAX)
        close_batch(d, ring_first(&d->open));
    f = flight_new(d, p);
    f->key = (mf_str){ xstrndup(key.ptr ? key.ptr : "", key.len), key.len };
    f->flush_ms = clock_mono_ms() + d->batch_wait_ms;
    ring_add(&d->open, f);
    return f;
}

void flight_take(struct destination *d, const struct part *p, mf_val event,
                 mf_val payload)
{
    struct flight *f;

    if (instance_batch_size(d->instance, p->subscription) > 1 &&
        !suspects_alone(d->suspects, p->ev->at.seq)) {
        mf_str key = instance_batch_key(d->instance, p->subscription, payload,
                                        &d->map_arena);

        f = open_batch(d, p, key, payload.len);
        flight_board(f, p, event, payload);
        if (p->ticket) {
            p->ticket->flight = f;
            f->waited_for |= order_is_waited_for(p->ticket);
        }
        if (batch_full(d, f))
            close_batch(d, f);
        return;
    }
    f = flight_new(d, p);
    flight_board(f, p, event, payload);
    flight_make_ready(d, f);
}

/* ---- who may go ---- */

bool flight_room(const struct destination *d)
{
    return d->flying.count < limiter_limit(&d->limiter) &&
           transport_room(d->transport, &d->account);
}

int64_t flight_start_ms(struct destination *d, bool retry, int64_t now_ms)
{
    int64_t at = now_ms + pacing_wait_ms(&d->pacing, retry, now_ms);
    int64_t records = now_ms + bucket_wait_ms(&d->records, now_ms);

    if (at < records) /* one that refuses all must not fill disk and queue */
        at = records;
    if (!flight_room(d))
        return INT64_MAX;
    if (health_probing(&d->health)) {
        if (d->flying.count)
            return INT64_MAX;
        if (at < d->health.probe_ms)
            at = d->health.probe_ms;
    }
    return at < d->health.hold_ms ? d->health.hold_ms : at;
}

static void close_due(struct destination *d, int64_t now_ms)
{
    struct flight *f;

    while ((f = ring_first(&d->open)) &&
           (d->draining || now_ms >= f->flush_ms))
        close_batch(d, f);
}

bool flights_flush(struct destination *d, int64_t now_ms)
{
    struct flight *f, *next;

    close_due(d, now_ms);
    for (f = ring_first(&d->ready); f; f = next) {
        next = ring_after(&d->ready, f);
        if (flight_start_ms(d, f->retry, now_ms) > now_ms) {
            if (!f->retry || flight_start_ms(d, false, now_ms) > now_ms)
                return true;
            continue;
        }
        ring_drop(&d->ready, f);
        d->late -= f->retry;
        pacing_take(&d->pacing, f->retry, now_ms);
        launch(f);
        next = ring_first(&d->ready); /* landing may have changed the ring */
    }
    return false;
}

void flights_hurry(struct destination *d)
{
    struct flight *f, *next;

    for (f = ring_first(&d->open); f; f = next) {
        next = ring_after(&d->open, f);
        if (f->waited_for)
            close_batch(d, f);
    }
}

int64_t flights_due_ms(struct destination *d, int64_t now_ms)
{
    int64_t at = INT64_MAX, t;

    if (ring_first(&d->open))
        at = ring_first(&d->open)->flush_ms;
    if (d->late && (t = flight_start_ms(d, true, now_ms)) < at)
        at = t;
    if (d->ready.count > d->late &&
        (t = flight_start_ms(d, false, now_ms)) < at)
        at = t;
    return at;
}

/* ---- life ---- */

/* An event of which this is the only part begins anew with the next worker.
 * Where others of it may be settled, this one needs a row of its own, or they
 * would be sent again with it. */
static void give_back(struct destination *d, struct flight *f)
{
    for (unsigned i = 0; i < f->count; i++) {
        struct part *p = &f->parts[i];

        if (!p->persisted && p->ev->total > 1)
            part_set_aside(d, p, NULL, 0, MF_STR("its worker was replaced"), 0);
    }
    flight_free(f);
}

void flights_give_back(struct destination *d)
{
    struct flight *f;

    while ((f = ring_first(&d->open)))
        close_batch(d, f);
    while ((f = ring_first(&d->ready))) {
        ring_drop(&d->ready, f);
        give_back(d, f);
    }
    d->late = 0;
}

void flights_init(struct destination *d)
{
    ring_init(&d->open);
    ring_init(&d->ready);
    ring_init(&d->flying);
}

static void free_ring(struct ring *r)
{
    struct flight *f;

    while ((f = ring_first(r))) {
        ring_drop(r, f);
        flight_free(f);
    }
}

void flights_deinit(struct destination *d)
{
    free_ring(&d->open);
    free_ring(&d->ready);
    free_ring(&d->flying);
}
