/* SPDX-License-Identifier: Apache-2.0
 *
 * flight.c - calls of the plugin: batches that fill, calls under way, the
 * requests they make and the answers to them.
 *
 * A flight that is not full waits in `open` for more parts of the same
 * subscription and batch key, at most batch_wait. */
#include "delivery/inner.h"

#include "base/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- rings ---- */

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
                         chance64())) {
    case HEALTH_WELL:
        log_info("%s: answers again", d->name);
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

static void land(struct flight *f)
{
    struct destination *d = f->d;
    bool failed = false, told = false;

    for (unsigned i = 0; i < f->count; i++) {
        const struct call_result *r = call_result(f->call, i);

        if (r->status >= 300) {
            char text[ERROR_TEXT_MAX];

            failed |= status_retryable(r->status);
            if (!told && !part_wants_token(d, f, i)) {
                snprintf(text, sizeof text, "%d: %.*s", r->status,
                         (int)r->message.len, r->message.ptr);
                destination_note_error(d, text);
                told = true;
            }
        }
    }
    judge_health(d, failed, f->probe);
    for (unsigned i = 0; i < f->count; i++)
        part_judge(d, f, i);
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

    f->outstanding--;
    d->delivery_ns += (uint64_t)took_ns;
    d->deliveries++;
    count_class(d, a);
    keep_answer(f, a, why);
    mark(f, PHASE_JUDGE, 0);
    call_answer(f->call, id, a);
    slot_unmark(d->slot);
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
        lane_counters(f->parts[i].ev->lane)->attempts++;
        if (f->parts[i].first_ms == 0)
            f->parts[i].first_ms = now;
    }
    f->probe = health_probing(&d->health);
    ring_add(&d->flying, f);
    d->flying_count++;
    mark(f, native ? PHASE_DELIVER : PHASE_PERFORM,
         native ? d->transport_options.timeout_ms + PLUGIN_GRACE_MS : 0);
    if (native) {
        int64_t began = clock_mono_ns();

        call_on_wait(f->call, send_waiting, f);
        call_deliver(f->call, now + d->transport_options.timeout_ms);
        d->delivery_ns += (uint64_t)(clock_mono_ns() - began);
        d->deliveries++;
    } else {
        call_start(f->call);
    }
    slot_unmark(d->slot);
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
    call_source(f->call, call_add(f->call, event, payload),
                lane_source(p->ev->lane));
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

bool flight_room(const struct destination *d)
{
    return d->flying_count < d->concurrency;
}

bool flights_flush(struct destination *d, int64_t now_ms)
{
    struct flight *next;

    for (struct flight *f = d->open.next; f != &d->open; f = next) {
        next = f->next;
        if (!d->draining && now_ms < f->flush_ms && !batch_full(d, f))
            continue;
        if (!flight_room(d) || (now_ms < d->health.hold_ms && !d->draining) ||
            !bucket_take(&d->bucket, now_ms))
            return true;
        ring_drop(f);
        d->open_count--;
        launch(f);
        next = d->open.next; /* landing may have changed the ring */
    }
    return false;
}

int64_t flights_due_ms(const struct destination *d)
{
    int64_t at = INT64_MAX;

    for (struct flight *f = d->open.next; f != &d->open; f = f->next)
        if (f->flush_ms < at)
            at = f->flush_ms;
    return at;
}

/* ---- taking on ---- */

void flight_take(struct destination *d, const struct part *p, mf_val event,
                 mf_val payload)
{
    unsigned sub = p->subscription;
    struct flight *f;

    if (instance_batch_size(d->instance, sub) > 1 &&
        !suspects_alone(d->suspects, p->ev->at.seq)) {
        mf_str key = instance_batch_key(d->instance, sub, payload,
                                        &d->map_arena);

        f = open_batch(d, sub, key, payload.len);
        board(f, p, event, payload);
        return;
    }
    f = flight_new(d, sub);
    board(f, p, event, payload);
    bucket_take(&d->bucket, clock_mono_ms());
    launch(f);
}

/* ---- life ---- */

void flights_init(struct destination *d)
{
    ring_init(&d->open);
    ring_init(&d->flying);
}

static void free_ring(struct flight *head)
{
    while (head->next != head) {
        struct flight *f = head->next;

        ring_drop(f);
        flight_free(f);
    }
}

void flights_deinit(struct destination *d)
{
    free_ring(&d->open);
    free_ring(&d->flying);
}
