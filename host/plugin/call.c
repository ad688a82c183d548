/* SPDX-License-Identifier: Apache-2.0
 *
 * call.c - one event or batch on its way through a plugin: perform, answers,
 * judge, follow-ups, until every event has its result.
 *
 * An event is counted open by each request that carries it. It is delivered
 * when the last of them went well and fails with the first that did not. An
 * event that nobody sent and nobody settled is the plugin's fault, and is
 * given a result that says so: none is ever left without. */
#include "plugin/inner.h"

#include "base/clock.h"
#include "base/retry_after.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define SNIPPET_BYTES     300    /* of an answer, in a message */

enum step { STEP_PERFORM, STEP_BATCH, STEP_JUDGE, STEP_DELIVER };

/* ---- writers ---- */

struct writer *writer_new(struct call *c)
{
    struct writer *w = c->spare_writers;

    if (w) {
        c->spare_writers = w->next;
    } else {
        w = xcalloc(1, sizeof *w);
        buf_init(&w->buf, MF_ARENA_BYTES);
    }
    w->pub.h = &host_table;
    w->call = c;
    w->has_key = false;
    w->arrays = 0;
    json_out_init(&w->out, &w->buf);
    w->next = c->writers;
    c->writers = w;
    return w;
}

static void writer_clean(struct writer *w)
{
    if (w->buf.cap > WRITER_KEPT_BYTES)
        buf_deinit(&w->buf);
    buf_clear(&w->buf);
}

void writer_spare(struct writer *w)
{
    struct writer **at = &w->call->writers;

    while (*at && *at != w)
        at = &(*at)->next;
    if (!*at)
        return; /* given back already */
    *at = w->next;
    writer_clean(w);
    w->next = w->call->spare_writers;
    w->call->spare_writers = w;
}

/* ---- life ---- */

static const struct subscription *subscription_of(struct instance *i,
                                                  unsigned subscription)
{
    if (subscription == UINT32_MAX)
        return NULL;
    ASSERT(subscription < i->sub_count);
    return &i->subs[subscription];
}

void call_authorise(struct call *c)
{
    mf_str now = { c->instance->auth.raw, c->instance->auth.len };

    if (mf_eq((mf_str){ c->auth.raw, c->auth.len }, now))
        return;
    c->auth = c->instance->auth;
    c->auth.raw = now.len ? arena_copy(&c->in, now).ptr : NULL;
}

static struct call *call_make(struct instance *i, const struct subscription *s)
{
    struct call *c = i->free_calls;

    if (c) {
        i->free_calls = c->next_free;
        i->free_count--;
    } else {
        c = xcalloc(1, sizeof *c);
        arena_init(&c->in, CALL_INPUT_BYTES);
        arena_init(&c->arena, MF_ARENA_BYTES);
    }
    c->pub.h = &host_table;
    c->instance = i;
    c->sub = s;
    c->batch = s && s->batch_size > 1;
    c->mem = &c->arena;
    call_authorise(c);
    return c;
}

struct call *call_new(struct instance *i, unsigned subscription)
{
    return call_make(i, subscription_of(i, subscription));
}

void call_batch(struct call *c, bool on)
{
    c->batch = on;
}

struct call *call_special(struct instance *i, const char *slug, mf_val event)
{
    static const char *const slugs[SPECIALS] = { "testAuthentication",
                                                 "onDelete",
                                                 "refreshAccessToken" };
    struct call *c;

    for (unsigned k = 0; k < SPECIALS; k++) {
        if (strcmp(slug, slugs[k]) != 0 || !i->special_there[k])
            continue;
        c = call_make(i, &i->specials[k]);
        if (event.type != MF_OBJECT)
            event = (mf_val){ "{}", 2, MF_OBJECT };
        call_add(c, event, event);
        return c;
    }
    return NULL;
}

/* Back to how call_make() would have it, memory kept. */
static void call_clear(struct call *c)
{
    struct call old = *c;

    while (c->writers)
        writer_spare(c->writers);
    old.spare_writers = c->spare_writers;
    memset(c, 0, sizeof *c);
    c->in = old.in;
    c->arena = old.arena;
    c->events = old.events;
    c->event_cap = old.event_cap;
    c->requests = old.requests;
    c->request_cap = old.request_cap;
    c->spare_writers = old.spare_writers;
    arena_reset(&c->in);
    arena_reset(&c->arena);
}

void call_destroy(struct call *c)
{
    while (c->writers)
        writer_spare(c->writers);
    while (c->spare_writers) {
        struct writer *next = c->spare_writers->next;

        buf_deinit(&c->spare_writers->buf);
        free(c->spare_writers);
        c->spare_writers = next;
    }
    arena_deinit(&c->in);
    arena_deinit(&c->arena);
    free(c->events);
    free(c->requests);
    free(c);
}

void call_free(struct call *c)
{
    struct instance *i;

    if (!c)
        return;
    i = c->instance;
    if (i->free_count >= CALLS_KEPT) {
        call_destroy(c);
        return;
    }
    call_clear(c);
    c->next_free = i->free_calls;
    i->free_calls = c;
    i->free_count++;
}

static mf_val copied(struct arena *a, mf_val v)
{
    if (v.type != MF_ABSENT)
        v.raw = arena_copy(a, (mf_str){ v.raw, v.len }).ptr;
    return v;
}

uint32_t call_add(struct call *c, mf_val event, mf_val payload)
{
    struct call_event *e = arena_zalloc(&c->in, sizeof *e);
    bool same = payload.raw == event.raw && payload.len == event.len;

    if (c->event_count == c->event_cap) {
        c->event_cap = c->event_cap ? c->event_cap * 2 : 8;
        c->events = xrealloc(c->events, c->event_cap * sizeof *c->events);
    }
    e->pub.h = &host_table;
    e->call = c;
    e->event = copied(&c->in, event);
    e->payload = same ? e->event : copied(&c->in, payload);
    c->payload_bytes += payload.len;
    c->unsettled++;
    c->events[c->event_count] = e;
    return c->event_count++;
}

void call_source(struct call *c, uint32_t index, mf_str name)
{
    ASSERT(index < c->event_count);
    c->events[index]->source = arena_copy(&c->in, name);
}

uint32_t call_count(const struct call *c)
{
    return c->event_count;
}

size_t call_bytes(const struct call *c)
{
    return c->payload_bytes;
}

/* ---- results ---- */

bool status_retryable(int32_t status)
{
    return status == 408 || status == 423 || status == 425 || status == 429 ||
           (status >= 500 && status != 501);
}

mf_str call_message(struct call *c, const char *format, ...)
{
    char text[MESSAGE_BYTES_MAX];
    va_list ap;

    va_start(ap, format);
    vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    return arena_copy(&c->in, mf_cstr(text));
}

void call_settle(struct call *c, uint32_t index, int32_t status,
                 mf_str message)
{
    struct call_event *e = c->events[index];

    if (e->settled)
        return;
    if (message.len > MESSAGE_BYTES_MAX)
        message.len = MESSAGE_BYTES_MAX;
    if (status == MF_OK)
        status = MF_DELIVERED;
    if (status < 100 && status != MF_SKIP) {
        c->fault = "a result that is no status";
        status = 500;
    }
    e->settled = true;
    c->unsettled--;
    e->result.status = status;
    e->result.message = message.len ? arena_copy(&c->in, message)
                                    : (mf_str){ "", 0 };
    if (status_retryable(status))
        e->result.retry_after_ms = c->retry_after_ms;
}

static void settle_scope(struct call *c, int32_t status, mf_str message)
{
    for (uint32_t k = 0; k < c->scope.count; k++)
        call_settle(c, c->scope.base + k, status, message);
}

/* Events that no request carries any more. */
static void settle_left(struct call *c, uint32_t index, const char *what)
{
    struct call_event *e = c->events[index];

    if (e->settled || e->open)
        return;
    if (e->vote) {
        call_settle(c, index, e->vote, MF_STR(""));
        return;
    }
    c->fault = what;
    call_settle(c, index, 500, mf_cstr(what));
}

/* ---- running the plugin ---- */

void call_overflow(struct call *c)
{
    ASSERT(c->may_jump);
    c->overflowed = true;
    longjmp(c->jump, 1);
}

static int32_t run_step(struct call *c, enum step step,
                        const struct request *r, const struct answer *a)
{
    const mf_event *const *events =
        (const mf_event *const *)(c->events + c->scope.base);
    const mf_action *code = c->sub->code;
    void *self = c->instance->self;

    switch (step) {
    case STEP_PERFORM:
        return code->perform(self, &c->pub, events[0]);
    case STEP_BATCH:
        return code->perform_batch(self, &c->pub, events, c->scope.count);
    case STEP_JUDGE:
        return code->judge(self, &c->pub, &r->pub, &a->pub);
    default:
        return code->deliver(self, &c->pub, events, c->scope.count);
    }
}

/* Separate, so that nothing of the caller lives across the jump. */
static int32_t guarded(struct call *c, enum step step, const struct request *r,
                       const struct answer *a)
{
    plugin_memory = c->mem;
    if (_setjmp(c->jump) != 0)
        return MF_OK;
    return run_step(c, step, r, a);
}

static void drop_new(struct call *c)
{
    for (uint32_t k = c->first_new; k < c->request_count; k++)
        c->requests[k]->state = REQUEST_DONE;
}

/* Runs a function of the plugin within the scope set before. What it returned;
 * MF_OK with everything settled when it was stopped. */
static int32_t run(struct call *c, enum step step, const struct request *r,
                   const struct answer *a)
{
    int32_t rc;

    c->first_new = c->request_count;
    c->failed = 0;
    c->may_jump = step != STEP_DELIVER;
    rc = guarded(c, step, r, a);
    c->may_jump = false;
    if (c->overflowed || (c->arena.overflowed && step != STEP_DELIVER)) {
        drop_new(c);
        c->overflowed = true;
        c->scope = (struct scope){ 0, c->event_count };
        settle_scope(c, MF_INVALID,
                     call_message(c, "%s needs more than %u bytes or %u "
                                     "requests for these events",
                                  c->instance->plugin->manifest->slug,
                                  MF_ARENA_BYTES, MF_REQUESTS_MAX));
        c->whole_failed = true;
        return MF_OK;
    }
    if (c->failed) {
        drop_new(c);
        c->whole_failed |= c->failed != MF_SKIP;
    }
    return rc;
}

/* ---- requests that the plugin has queued ---- */

static void finish_new(struct call *c)
{
    for (uint32_t k = c->first_new; k < c->request_count; k++) {
        struct request *r = c->requests[k];
        uint32_t n = request_cover_count(r);

        if (r->state != REQUEST_NEW)
            continue;
        if (request_finish(r) < 0) {
            c->whole_failed = true;
            for (uint32_t e = 0; e < n; e++)
                call_settle(c, request_covered(r, e), r->why_status,
                            r->why);
            continue;
        }
        for (uint32_t e = 0; e < n; e++)
            c->events[request_covered(r, e)]->open++;
    }
    if (c->body_bytes > MF_ARENA_BYTES) {
        drop_new(c);
        c->whole_failed = true;
        settle_scope(c, MF_INVALID, MF_STR("the requests of one call grew "
                                           "beyond 8 MiB"));
    }
}

static bool all_settled(const struct call *c, const struct request *r)
{
    for (uint32_t k = 0; k < request_cover_count(r); k++)
        if (!c->events[request_covered(r, k)]->settled)
            return false;
    return true;
}

/* ---- judging ---- */

static const char *reason_phrase(int32_t status)
{
    static const struct {
        int32_t status;
        const char *text;
    } table[] = {
        { 400, "Bad Request" },        { 401, "Unauthorized" },
        { 403, "Forbidden" },          { 404, "Not Found" },
        { 405, "Method Not Allowed" }, { 409, "Conflict" },
        { 410, "Gone" },               { 413, "Payload Too Large" },
        { 422, "Unprocessable Entity" }, { 429, "Too Many Requests" },
        { 500, "Internal Server Error" }, { 502, "Bad Gateway" },
        { 503, "Service Unavailable" }, { 504, "Gateway Timeout" },
    };

    for (size_t k = 0; k < COUNT_OF(table); k++)
        if (table[k].status == status)
            return table[k].text;
    return "";
}

/* The start of the answer, control characters as spaces. */
static mf_str failure_text(struct call *c, const struct call_answer *a)
{
    char snippet[SNIPPET_BYTES + 1];
    size_t n = a->body.len < SNIPPET_BYTES ? a->body.len : SNIPPET_BYTES;

    for (size_t k = 0; k < n; k++)
        snippet[k] = (unsigned char)a->body.ptr[k] < ' ' ? ' '
                                                        : a->body.ptr[k];
    while (n && !utf8_valid(snippet, n))
        n--;
    snippet[n] = 0;
    return call_message(c, "HTTP %d%s%s%s%s", a->status,
                        *reason_phrase(a->status) ? " " : "",
                        reason_phrase(a->status), n ? ": " : "", snippet);
}

/* How long the far side asks to be left alone. Some who limit the rate say it
 * under other names; beside other failures these do not mean that. */
static int64_t told_after(const struct answer *a, int64_t now)
{
    static const char *const others[] = { "x-ratelimit-retry-after",
                                          "x-ratelimit-reset" };
    mf_str s = host_table.answer_header(&a->pub, "retry-after");

    if (s.len || a->a.status != 429)
        return retry_after_ms(s, now);
    for (size_t k = 0; k < COUNT_OF(others) && s.len == 0; k++)
        s = host_table.answer_header(&a->pub, others[k]);
    return rate_reset_ms(s, now);
}

static int32_t no_answer(struct call *c, const struct request *r,
                         const struct call_answer *a, mf_str *message)
{
    static const char *const texts[] = {
        [MF_FAIL_NONE] = "no answer",
        [MF_FAIL_RESOLVE] = "the host's name was not found",
        [MF_FAIL_CONNECT] = "no connection",
        [MF_FAIL_TLS] = "no secure connection",
        [MF_FAIL_TIMEOUT] = "no answer in time",
        [MF_FAIL_RESET] = "the connection broke",
        [MF_FAIL_REFUSED] = "the host may not send there",
    };
    const char *text = a->failure < COUNT_OF(texts) ? texts[a->failure]
                                                    : "no answer";

    if (r->why.len)
        *message = r->why;
    else
        *message = call_message(c, "%s: %s %.*s%s%.*s", text, r->out.method,
                                (int)r->out.real_url.len,
                                r->out.real_url.ptr, a->why.len ? ": " : "",
                                (int)a->why.len, a->why.ptr);
    if (a->failure == MF_FAIL_REFUSED)
        return MF_INVALID;
    return a->failure == MF_FAIL_TIMEOUT ? 408 : MF_RETRY;
}

/* What the status says, for the events that are still open. */
static void host_verdict(struct call *c, const struct request *r,
                         const struct answer *a)
{
    uint32_t n = request_cover_count(r);
    int32_t status = a->a.status;
    mf_str message = { "", 0 };
    int64_t said = c->retry_after_ms;

    if (status >= 200 && status < 300) {
        for (uint32_t k = 0; k < n; k++)
            c->events[request_covered(r, k)]->vote = status;
        return;
    }
    if (!all_settled(c, r))
        c->whole_failed = true;
    if (status == 0)
        status = no_answer(c, r, &a->a, &message);
    else
        message = failure_text(c, &a->a);
    if (!c->retry_after_ms)
        c->retry_after_ms = told_after(a, c->now);
    for (uint32_t k = 0; k < n; k++)
        call_settle(c, request_covered(r, k), status, message);
    c->retry_after_ms = said;
}

static bool is_refresh(const struct call *c)
{
    return c->sub == &c->instance->specials[SPECIAL_REFRESH];
}

/* The standard answer of a token endpoint, unless the plugin said better. */
static void take_token(struct call *c, const struct answer *a)
{
    mf_val v;

    if (!is_refresh(c))
        return;
    v = oauth_tokens(host_table.answer_json(&a->pub), &c->in);
    if (v.type != MF_ABSENT)
        c->token = v;
}

/* The answer to a token request of the host's own. */
static int32_t judge_token(struct call *c, const struct answer *a)
{
    c->retry_after_ms = told_after(a, c->now);
    return oauth_judge(c, a->a.status, host_table.answer_json(&a->pub))
               ? MF_CONTINUE
               : MF_OK;
}

static struct answer *answer_copy(struct call *c, const struct call_answer *a)
{
    struct answer *out = arena_zalloc(&c->in, sizeof *out);
    struct call_header *h;

    out->pub.h = &host_table;
    out->call = c;
    out->a = *a;
    out->a.body = arena_copy(&c->in, a->body);
    h = arena_alloc(&c->in, (a->header_count + 1) * sizeof *h);
    for (size_t k = 0; k < a->header_count; k++) {
        h[k].name = arena_copy(&c->in, a->headers[k].name);
        h[k].value = arena_copy(&c->in, a->headers[k].value);
    }
    out->a.headers = h;
    return out;
}

/* It is over, and does not count against those that are queued. Its body is
 * kept until another was sent: that it can be shown. */
static void exchanged(struct call *c, struct request *r)
{
    if (c->exchanged && c->exchanged->body)
        writer_spare(c->exchanged->body);
    c->exchanged = r;
    if (c->requests[c->request_count - 1] == r)
        c->request_count--;
}

/* A native plugin waits: out with it, and back with the answer. */
const mf_response *h_exchange(mf_request *pub)
{
    struct request *r = (struct request *)pub;
    struct call_answer none = { .failure = MF_FAIL_REFUSED };
    struct call *c = r->call;

    c->waited = NULL;
    if (r->state == REQUEST_NEW && request_finish(r) == 0 &&
        r->state == REQUEST_QUEUED && c->wait) {
        c->wait(c->wait_arg, c, &r->out);
        exchanged(c, r);
    }
    r->state = REQUEST_DONE;
    return c->waited ? &c->waited->pub : &answer_copy(c, &none)->pub;
}

/* One request is over, whatever came of it. */
static void answered(struct call *c, struct request *r,
                     const struct call_answer *raw)
{
    const struct answer *a = answer_copy(c, raw);
    bool judge = c->sub->code && c->sub->code->judge;
    uint32_t n = request_cover_count(r);
    int32_t rc = MF_OK;

    r->state = REQUEST_DONE;
    take_token(c, a);
    c->scope = r->scope;
    c->answered = r;
    c->first_new = c->request_count;
    if (judge && !c->overflowed)
        rc = run(c, STEP_JUDGE, r, a);
    else if (is_refresh(c) && !c->sub->code)
        rc = judge_token(c, a);
    c->answered = NULL;
    if (c->overflowed)
        return;
    if (!c->failed || !judge)
        finish_new(c);
    for (uint32_t k = 0; k < n; k++)
        c->events[request_covered(r, k)]->open--;
    if (rc == MF_OK)
        host_verdict(c, r, a);
    else if (rc != MF_CONTINUE)
        for (uint32_t k = 0; k < n; k++)
            call_settle(c, request_covered(r, k), rc, MF_STR(""));
    for (uint32_t k = 0; k < n; k++)
        settle_left(c, request_covered(r, k),
                    "the plugin left the event open and sent nothing more");
}

/* Requests that the host itself refuses, or has an answer to, are judged like
 * others. */
static void drain_own(struct call *c)
{
    struct call_answer a;

    while (c->next_own < c->request_count) {
        struct request *r = c->requests[c->next_own++];

        a = (struct call_answer){ .failure = MF_FAIL_REFUSED };
        r->given = r->state == REQUEST_QUEUED &&
                   kept_give(c->instance, r, &a);
        if (r->given || r->state == REQUEST_REFUSED)
            answered(c, r, &a);
    }
}

/* ---- public ---- */

static bool batches(const struct call *c)
{
    if (!c->sub->code)
        return c->sub->batch_request && (c->batch || !c->sub->request);
    return c->sub->code->perform_batch && (c->batch || !c->sub->code->perform);
}

static void perform(struct call *c, uint32_t base, uint32_t count, bool batch)
{
    int32_t rc = MF_OK;

    c->scope = (struct scope){ base, count };
    c->first_new = c->request_count;
    if (!c->sub->code && !c->sub->request && is_refresh(c))
        rc = oauth_perform(c);
    else if (!c->sub->code)
        rc = declared_perform(c, batch ? c->sub->batch_request
                                       : c->sub->request, batch);
    else
        rc = run(c, batch ? STEP_BATCH : STEP_PERFORM, NULL, NULL);
    if (c->overflowed)
        return;
    if (rc != MF_OK && !c->failed) {
        drop_new(c);
        c->whole_failed |= rc != MF_SKIP;
        settle_scope(c, rc, MF_STR(""));
    }
    finish_new(c);
    for (uint32_t k = 0; k < count; k++)
        settle_left(c, base + k, "the plugin neither sent nor settled it");
}

void call_start(struct call *c)
{
    ASSERT(c->sub && c->event_count);
    c->now = c->instance->fixed ? c->instance->fixed_now : clock_ms();
    if (batches(c))
        perform(c, 0, c->event_count, true);
    else
        for (uint32_t k = 0; k < c->event_count && !c->overflowed; k++)
            perform(c, k, 1, false);
    drain_own(c);
}

const struct call_request *call_next(struct call *c)
{
    while (c->next_send < c->request_count) {
        struct request *r = c->requests[c->next_send++];

        if (r->state != REQUEST_QUEUED)
            continue;
        if (all_settled(c, r)) {
            r->state = REQUEST_DONE;
            continue;
        }
        r->state = REQUEST_SENT;
        c->outstanding++;
        return &r->out;
    }
    return NULL;
}

void call_answer(struct call *c, uint32_t request_id,
                 const struct call_answer *a)
{
    struct request *r;

    ASSERT(request_id < c->request_count);
    r = c->requests[request_id];
    ASSERT(r->state == REQUEST_SENT && c->outstanding > 0);
    c->outstanding--;
    answered(c, r, a);
    drain_own(c);
}

bool call_done(const struct call *c)
{
    return c->outstanding == 0 && c->unsettled == 0;
}

const struct call_result *call_result(const struct call *c, uint32_t index)
{
    ASSERT(index < c->event_count && c->events[index]->settled);
    return &c->events[index]->result;
}

mf_val call_token(const struct call *c)
{
    mf_val none = { NULL, 0, MF_ABSENT };
    mf_str said;

    if (!is_refresh(c) || !c->events[0]->settled ||
        c->events[0]->result.status / 100 != 2)
        return none;
    said = c->events[0]->result.message;
    if (said.len && said.ptr[0] == '{' &&
        json_check(said, JSON_DEPTH_MAX, NULL) == 0)
        return json_root(said);
    return c->token;
}

bool call_failed(const struct call *c)
{
    return c->whole_failed;
}

const char *call_fault(const struct call *c)
{
    return c->fault;
}

void call_on_wait(struct call *c, call_wait_fn *fn, void *arg)
{
    c->wait = fn;
    c->wait_arg = arg;
}

void call_waited(struct call *c, const struct call_answer *a)
{
    c->waited = answer_copy(c, a);
}

void call_deliver(struct call *c, int64_t deadline_ms)
{
    int32_t rc;

    ASSERT(c->sub && c->sub->code && c->sub->code->deliver && c->event_count);
    c->now = c->instance->fixed ? c->instance->fixed_now : clock_ms();
    c->deadline = deadline_ms;
    c->scope = (struct scope){ 0, c->event_count };
    rc = run(c, STEP_DELIVER, NULL, NULL);
    settle_scope(c, rc, MF_STR(""));
}
