/* SPDX-License-Identifier: Apache-2.0
 *
 * settle.c - what becomes of a part once its result is known: settled, set
 * aside for another attempt, or a dead letter.
 *
 * A part that is set aside leaves its lane's window for a row in state.db, so
 * that the lane goes on; the row goes with the part's end. */
#include "delivery/inner.h"
#include "delivery/replay.h"

#include <stdio.h>
#include <string.h>

void part_settle(struct destination *d, struct part *p, uint8_t code)
{
    struct msg_retry_key key = { lane_id(p->ev->lane), p->key, p->ev->at.seq };

    if (p->persisted)
        d->reports.retry_done(d->reports.arg, &key);
    if (code == PART_DELIVERED && p->ev->received_ms)
        histogram_add(&d->end_to_end,
                      (clock_ms() - p->ev->received_ms) * 1000000);
    lane_settle(p->ev, p->key, code);
    if (p->ticket) {
        order_leave(d->order, p->ticket);
        p->ticket = NULL;
    }
}

/* Method, URL and body of the request that was answered last, at most so many
 * bytes of the body. Headers stay out: they carry the credentials. */
static mf_str request_text(const struct flight *f, size_t most,
                           struct arena *a)
{
    const struct call_request *r = f ? f->last : NULL;

    if (!r)
        return (mf_str){ "", 0 };
    return arena_printf(a, "%s %.*s\n\n%.*s", r->method,
                        (int)r->real_url.len, r->real_url.ptr,
                        (int)text_cut(r->body, most).len,
                        r->body.ptr ? r->body.ptr : "");
}

static mf_str member_text(mf_str event, mf_str key, struct arena *a)
{
    return event.len ? json_text(json_get(json_root(event), key), a)
                     : (mf_str){ "", 0 };
}

static mf_str answer_text(const struct flight *f)
{
    return f && f->last_answer ? mf_cstr(f->last_answer) : (mf_str){ "", 0 };
}

void part_bury(struct destination *d, struct part *p, enum dead_reason why,
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
    mf_str id, name;

    arena_init(&a, 1 << 20);
    if (event.len == 0 &&
        lane_reread(p->ev->lane, p->ev, &r, &e) == LANE_EVENT)
        event = r.payload;
    bucket_owe(&d->records, clock_mono_ms());
    id = member_text(event, MF_STR("messageId"), &a);
    name = member_text(event, MF_STR("event"), &a);
    if (name.len == 0)
        name = member_text(event, MF_STR("name"), &a);
    d->reports.dead(d->reports.arg, &m, text_cut(error, ERROR_TEXT_MAX),
                    mf_cstr(action ? action->slug : ""), id,
                    event.len <= DEAD_EVENT_BYTES ? event : (mf_str){ "", 0 },
                    request_text(f, DEAD_EXCHANGE_BYTES, &a), answer_text(f),
                    text_cut(name, DEAD_NAME_BYTES));
    arena_deinit(&a);
    part_settle(d, p, (uint8_t)(PART_DEAD + why));
}

/* A row in state.db, before the part is set aside in its lane. */
static void put_row(struct destination *d, struct part *p, int32_t status,
                    mf_str error, const struct flight *f, int64_t wait_ms)
{
    mf_str text = text_cut(error, ERROR_TEXT_MAX);
    struct msg_retry m = { .key = { lane_id(p->ev->lane), p->key,
                                    p->ev->at.seq },
                           .at = p->ev->at,
                           .due_ms = clock_ms() + wait_ms,
                           .first_ms = p->first_ms,
                           .attempts = p->attempts,
                           .status = status,
                           .event_dead = p->ev->dead,
                           .error_len = (uint32_t)text.len };
    struct arena a;

    if (p->ticket)
        order_keys(p->ticket, m.order);
    arena_init(&a, 1 << 20);
    bucket_owe(&d->records, clock_mono_ms());
    d->reports.retry(d->reports.arg, &m, text,
                     text_cut(request_text(f, ATTEMPT_BYTES, &a),
                              ATTEMPT_BYTES),
                     text_cut(answer_text(f), ATTEMPT_BYTES));
    arena_deinit(&a);
    p->persisted = true;
    lane_set_aside(p->ev);
}

void part_wait_aside(struct destination *d, struct ticket *t)
{
    struct part p = t->part;

    put_row(d, &p, 0, MF_STR("it waits for an earlier event's retry"), NULL,
            0);
    order_put(d->order, t, ORDER_ASIDE, &p);
}

static void step_aside(void *arg, struct ticket *t)
{
    lane_wait(t->part.ev, -1);
    part_wait_aside(arg, t);
}

void part_set_aside(struct destination *d, struct part *p,
                    const struct flight *f, int32_t status, mf_str error,
                    int64_t wait_ms)
{
    put_row(d, p, status, error, f, wait_ms);
    part_put_due(d, p, clock_mono_ms() + wait_ms);
}

void part_put_due(struct destination *d, struct part *p, int64_t due_ms)
{
    retries_push(&d->retries, p, due_ms);
    if (!p->ticket)
        return;
    order_put(d->order, p->ticket, ORDER_DUE, p);
    order_behind(p->ticket, step_aside, d);
}

static void try_again(struct destination *d, struct part *p,
                      const struct call_result *r, const struct flight *f)
{
    if (replay_is_cancelled(lane_owner(p->ev->lane))) {
        part_settle(d, p, PART_SKIPPED);
        return;
    }
    if (clock_ms() - p->ev->received_ms > d->ttl_ms) {
        part_bury(d, p, DEAD_EXPIRED, r->status, r->message, f,
                  (mf_str){ "", 0 });
        return;
    }
    part_set_aside(d, p, f, r->status, r->message,
                   backoff_ms(p->attempts, BACKOFF_FIRST_MS, BACKOFF_LAST_MS,
                              r->retry_after_ms, chance64()));
}

/* Retry-After is about the far side, not about the one event. */
static void hold(struct destination *d, int64_t wait_ms)
{
    health_hold(&d->health, wait_ms, clock_mono_ms());
}

bool part_wants_token(const struct destination *d, const struct flight *f,
                      unsigned i)
{
    return d->token && !f->parts[i].refused &&
           call_result(f->call, i)->status == 401;
}

/* The far side wants none of it any more, so nobody is served by trying, nor
 * by as many dead letters as there are events: it is for people to look at.
 * The event is kept and goes first when they resume. */
static void pause_gone(struct destination *d, struct part *p,
                       const struct call_result *r, const struct flight *f)
{
    char why[ERROR_TEXT_MAX];

    part_set_aside(d, p, f, r->status, r->message, 0);
    if (d->paused)
        return;
    snprintf(why, sizeof why, "410 Gone: %.*s", (int)r->message.len,
             r->message.ptr);
    d->paused = d->changed = true;
    d->reports.paused(d->reports.arg, d->name, mf_cstr(why));
}

void part_judge(struct destination *d, struct flight *f, unsigned i)
{
    const struct call_result *r = call_result(f->call, i);
    struct part *p = &f->parts[i];

    if (part_wants_token(d, f, i)) {
        p->refused = token_refused(d->token, f->token);
        part_set_aside(d, p, f, r->status, r->message, 0);
        return;
    }
    p->refused = false;
    if (d->token && r->status >= 200 && r->status < 300)
        token_worked(d->token);
    p->attempts++;
    if (r->status == MF_SKIP)
        part_settle(d, p, PART_SKIPPED);
    else if (r->status >= 200 && r->status < 300)
        part_settle(d, p, PART_DELIVERED);
    else if (r->status == 410 && d->pauses_on_gone)
        pause_gone(d, p, r, f);
    else if (status_retryable(r->status)) {
        if (r->retry_after_ms > 0)
            hold(d, r->retry_after_ms);
        try_again(d, p, r, f);
    } else
        part_bury(d, p, DEAD_REJECTED, r->status, r->message, f,
                  (mf_str){ "", 0 });
}

