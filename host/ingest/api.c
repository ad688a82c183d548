/* SPDX-License-Identifier: Apache-2.0
 *
 * api.c - see api.h.
 *
 * Requests come in and are told apart here; see inner.h for what becomes of
 * them. */
#include "ingest/inner.h"

#include "base/clock.h"
#include "base/text.h"
#include "http/query.h"
#include "ingest/basic.h"
#include "ingest/client.h"
#include "ingest/cors.h"
#include "ingest/letter.h"
#include "ingest/pixel.h"
#include "ingest/routes.h"
#include "ingest/sdk_settings.h"
#include "json/json.h"

#include <string.h>

#define EVENT_DEPTH_MAX JSON_DEPTH_MAX
#define ANSWER_MAX      (256u << 10)
#define EVENT_ROOM      (1u << 20)  /* normalised: grows a little */
#define REQUEST_ARENA   (64u << 20)

/* ---- write keys ---- */

static void read_body(mf_str text, struct body *b)
{
    mf_iter it = { { 0 } };
    mf_str key;
    mf_val v;

    memset(b, 0, sizeof *b);
    b->root = json_root(text);
    while (json_next(b->root, &it, &key, &v)) {
        if (json_key_is(key, MF_STR("writeKey")))
            b->write_key = v;
        else if (json_key_is(key, MF_STR("batch")))
            b->batch = v;
        else if (json_key_is(key, MF_STR("context")))
            b->context = v;
        else if (json_key_is(key, MF_STR("integrations")))
            b->integrations = v;
        else if (json_key_is(key, MF_STR("sentAt")))
            b->sent_at = v;
    }
}

/* of_query: the parameter writeKey, where it may stand. */
static struct source *source_of(struct api *a, struct http_request *r,
                                mf_val key, bool of_query)
{
    mf_str header = basic_user(http_header(r, HTTP_AUTHORIZATION), &a->arena);
    struct source *s = NULL;
    mf_str told;

    if (header.len)
        s = keys_find(&a->keys, header);
    if (!s && key.type == MF_STRING)
        s = keys_find(&a->keys, json_text(key, &a->arena));
    if (!s && of_query && r->query.ptr) {
        told = http_query_value(r->query, MF_STR("writeKey"), &a->arena);
        s = keys_find(&a->keys, told);
    }
    return s;
}

/* ---- single events ---- */

static const struct refusal *refusal_for(struct api *a,
                                         struct event_fault fault)
{
    struct refusal *f = arena_zalloc(&a->arena, sizeof *f);

    f->status = 400;
    f->code = fault.code;
    f->message = fault.message;
    return f;
}

/* Of an event that its source's gate has blocked. Whoever sends too many of
 * them is not made to wait for it: the rest is counted. */
static void tell_blocked(struct api *a, struct source *s, const char *code,
                         const struct event_envelope *env, mf_val event)
{
    source_reject(s, code);
    if (!api_may_keep_letters(a, s) || !a->refused) {
        gate_not_kept(s->gate);
        return;
    }
    bucket_owe(&s->letters, clock_mono_ms());
    a->envelope = env;
    a->refused(a->arg, s, code, (mf_str){ event.raw, event.len });
    a->envelope = NULL;
}

/* Takes one event of so many bytes. NULL, and *seq is what its answer waits
 * for (0: nothing); or why it is not taken. */
static const struct refusal *take(struct api *a, struct source *s, size_t size,
                                  mf_val body, struct event_envelope *env,
                                  uint64_t *seq)
{
    struct event_fault fault = { "payload_too_large", "Exceed payload limit" };
    const struct refusal *f = api_over_rate(a, s, NULL, 1);
    enum journal_state state;
    const char *blocked;
    mf_str id;

    if (f)
        return f;
    buf_clear(&a->event);
    if (size > a->keys.max_event_bytes ||
        event_normalise(body, env, &a->event, &id, &a->arena, &fault) != 0) {
        source_reject(s, fault.code);
        return refusal_for(a, fault);
    }
    state = api_pass(a, s, env->received_text, env->received_ms, id, seq,
                     &blocked);
    if (state != JOURNAL_OK)
        return api_refusal_of(state);
    if (blocked)
        tell_blocked(a, s, blocked, env, body);
    journal_flush(a->intake.intake->journal);
    return NULL;
}

static void on_single(struct api *a, struct http_request *r, struct source *s,
                      mf_val body, struct event_envelope *env)
{
    uint64_t seq = 0;
    const struct refusal *f = take(a, s, r->body.len, body, env, &seq);

    if (f)
        api_refuse(a, r, f);
    else if (seq == 0)
        api_accept(a, r, (mf_str){ "", 0 });
    else
        api_wait_for(a, r, seq, (mf_str){ "", 0 }, false);
}

/* ---- tried again ---- */

static struct source *source_numbered(struct api *a, uint32_t id)
{
    for (uint32_t i = 0; i < a->keys.count; i++)
        if (a->keys.sources[i].id == id)
            return &a->keys.sources[i];
    return NULL;
}

/* Judged as a fresh event, written as of its first receipt, and in the journal
 * as of now: retention and TTL count from there. */
void api_again(struct api *a, const struct msg_ingest_again *m,
               mf_str envelope, mf_str event)
{
    struct event_fault fault = { "payload_too_large", "" };
    struct source *s = source_numbered(a, m->source);
    struct event_envelope env;
    enum journal_state state;
    const char *blocked;
    uint64_t seq = 0;
    mf_str id;

    arena_reset(&a->arena);
    if (a->room)
        gate_room_reset(a->room);
    buf_clear(&a->event);
    if (!s) {
        a->tried(a->arg, m->job, m->letter, TRIED_NO_SOURCE, "");
        return;
    }
    letter_read_envelope(envelope, &env, &a->arena);
    if (json_check(event, EVENT_DEPTH_MAX, NULL) != 0)
        fault.code = "invalid_json";
    else if (event.len <= a->keys.max_event_bytes &&
             event_normalise(json_root(event), &env, &a->event, &id,
                             &a->arena, &fault) == 0)
        fault.code = NULL;
    if (fault.code) {
        a->tried(a->arg, m->job, m->letter, TRIED_REFUSED, fault.code);
        return;
    }
    state = api_pass(a, s, env.received_text, clock_ms(), id, &seq, &blocked);
    journal_flush(a->intake.intake->journal);
    if (state == JOURNAL_OK && blocked)
        a->tried(a->arg, m->job, m->letter, TRIED_REFUSED, blocked);
    else if (state == JOURNAL_OK && seq > 0)
        api_wait_for_letter(a, m, seq);
    else
        a->tried(a->arg, m->job, m->letter,
                 state == JOURNAL_OK ? TRIED_TAKEN : TRIED_BUSY, "");
}

/* ---- pixels ---- */

/* The event with the type that its path says, as one of a batch has it. */
static mf_str with_type(struct api *a, mf_val event, int type)
{
    mf_str text = { event.raw, event.len };

    if (type < 0 || event.type != MF_OBJECT)
        return text;
    return arena_printf(&a->arena, "%.*s%s\"type\":\"%s\"}",
                        (int)text.len - 1, text.ptr,
                        json_count(event) ? "," : "", event_type_names[type]);
}

/* Keeps what a pixel carries, or says why not. Nobody would send it again, so
 * what is wrong with it is kept too. */
static const struct refusal *take_pixel(struct api *a, struct http_request *r,
                                        struct event_envelope *env,
                                        uint64_t *seq)
{
    mf_str query = r->query.ptr ? r->query : MF_STR(""), text = { "", 0 };
    struct event_fault fault = { "invalid_json", "data is not JSON" };
    const struct refusal *f;
    struct body body = { 0 };
    struct source *s;

    if (pixel_event(query, &a->arena, &text, &fault) != 0 ||
        json_check(text, EVENT_DEPTH_MAX, NULL) != 0) {
        f = refusal_for(a, fault);
    } else {
        f = NULL;
        read_body(text, &body);
    }
    s = source_of(a, r, body.write_key, true);
    if (!s) {
        a->unknown_keys++;
        return f ? f : &refusal_unknown_key;
    }
    if (f) {
        source_reject(s, f->code);
        return f;
    }
    f = take(a, s, text.len, body.root, env, seq);
    if (f && !f->retry_after && a->refused)
        a->refused(a->arg, s, f->code, with_type(a, body.root, env->type));
    return f;
}

static void on_pixel(struct api *a, struct http_request *r, int type)
{
    struct event_envelope env = { .type = type, .received_ms = clock_ms() };
    const struct refusal *f;
    uint64_t seq = 0;

    time_iso(env.received_ms, env.received_text);
    client_of_request(&env, r);
    env.from_page = true;
    f = take_pixel(a, r, &env, &seq);
    if (!f && seq)
        api_wait_for(a, r, seq, (mf_str){ "", 0 }, true);
    else
        api_show_pixel(a, r, f);
}

/* ---- settings ---- */

/* key: of the path, or empty. */
static void on_settings(struct api *a, struct http_request *r,
                        enum route route, mf_str key)
{
    static const struct refusal unknown = {
        404, "invalid_write_key", "there is no source of that write key", 0,
        NULL
    };
    mf_val none = { NULL, 0, MF_ABSENT };
    const struct source *s = key.len ? keys_find(&a->keys, key)
                                     : source_of(a, r, none, true);

    if (!s) {
        api_refuse(a, r, &unknown);
        return;
    }
    buf_clear(&a->answer);
    if (route == ROUTE_SETTINGS)
        settings_of_segment(&a->answer, r, mf_cstr(s->write_key));
    else
        settings_of_rudder(&a->answer, mf_cstr(s->write_key));
    http_reply(r, 200, "application/json", cors_headers(&a->arena, r, 0),
               buf_view(&a->answer));
}

/* ---- routes ---- */

static void on_post(struct api *a, struct http_request *r,
                    const struct route_found *to)
{
    struct event_envelope env = { .type = to->type,
                                  .received_ms = clock_ms() };
    struct refusal f = { 400, NULL, NULL, 0, NULL };
    struct json_fault fault;
    struct source *s;
    struct body body;

    if (r->fault == HTTP_OVERLOADED) {
        api_refuse(a, r, &refusal_busy);
        return;
    }
    if (r->fault) {
        f.code = http_fault_code(r->fault);
        f.message = r->fault == HTTP_TOO_LARGE ? "Exceed payload limit"
                                               : r->fault_text;
        api_refuse(a, r, &f);
        return;
    }
    if (json_check(r->body, EVENT_DEPTH_MAX, &fault) != 0) {
        unsigned line, column;

        json_place(r->body, fault.offset, &line, &column);
        f.code = "invalid_json";
        f.message = arena_printf(&a->arena,
                                 "the body is not JSON: line %u, column %u: "
                                 "%s",
                                 line, column, fault.what)
                        .ptr;
        api_refuse(a, r, &f);
        return;
    }
    read_body(r->body, &body);
    s = source_of(a, r, body.write_key, to->key_in_query);
    if (!s && to->route != ROUTE_BATCH) {
        a->unknown_keys++;
        api_refuse(a, r, &refusal_unknown_key);
        return;
    }
    time_iso(env.received_ms, env.received_text);
    client_of_request(&env, r);
    if (to->route == ROUTE_EVENT)
        on_single(a, r, s, body.root, &env);
    else
        api_batch(a, r, s, &body, &env);
}

static void on_read(struct api *a, struct http_request *r,
                    const struct route_found *to)
{
    bool has_body = !mf_eq(r->method, MF_STR("HEAD"));

    if (to->route == ROUTE_HEALTH)
        http_reply(r, 200, "application/json", cors_headers(&a->arena, r, 0),
                   MF_STR("{\"success\":true}"));
    else if (to->route != ROUTE_PIXEL)
        on_settings(a, r, to->route, to->key);
    else if (has_body)
        on_pixel(a, r, to->type);
    else
        api_show_pixel(a, r, NULL); /* who only looks shows nobody the image */
}

void api_request(struct http_request *r, void *api)
{
    static const struct refusal unknown = {
        404, "not_found", "there is nothing at this path", 0, NULL
    };
    static const struct refusal no_read = {
        405, "method_not_allowed", "events are sent with POST", 0,
        "POST, OPTIONS"
    };
    static const struct refusal no_post = {
        405, "method_not_allowed", "this is read with GET", 0,
        "GET, HEAD, OPTIONS"
    };
    struct api *a = api;
    struct route_found to = route_of(r->path);
    bool sends = to.route == ROUTE_EVENT || to.route == ROUTE_BATCH ||
                 to.route == ROUTE_METRICS;

    arena_reset(&a->arena);
    if (a->room)
        gate_room_reset(a->room);
    if (mf_eq(r->method, MF_STR("OPTIONS")))
        cors_preflight(&a->arena, r);
    else if (to.route == ROUTE_NONE)
        api_refuse(a, r, &unknown);
    else if (!sends && (mf_eq(r->method, MF_STR("GET")) ||
                        mf_eq(r->method, MF_STR("HEAD"))))
        on_read(a, r, &to);
    else if (!sends || !mf_eq(r->method, MF_STR("POST")))
        api_refuse(a, r, sends ? &no_read : &no_post);
    else if (to.route == ROUTE_METRICS)
        api_accept(a, r, (mf_str){ "", 0 });
    else
        on_post(a, r, &to);
}

void api_init(struct api *a)
{
    memset(a, 0, sizeof *a);
    arena_init(&a->arena, REQUEST_ARENA);
    buf_init(&a->event, EVENT_ROOM);
    buf_init(&a->answer, ANSWER_MAX);
    sheaf_init(&a->sheaf);
}

void api_deinit(struct api *a)
{
    api_forget_waiters(a);
    keys_deinit(&a->keys);
    arena_deinit(&a->arena);
    buf_deinit(&a->event);
    buf_deinit(&a->answer);
    gate_room_free(a->room);
    sheaf_deinit(&a->sheaf);
}
