/* SPDX-License-Identifier: Apache-2.0
 *
 * cases.c - see cases.h. Plays the part of the worker and of the far side:
 * select, map, call, and the answers that the input holds. */
#include "cli/cases.h"

#include "base/clock.h"
#include "base/text.h"

#include <stdlib.h>
#include <string.h>

#define CASE_ARENA_BYTES (1u << 30)
#define DELIVER_MS       10000
#define NOW_DEFAULT      1787313600000 /* 2026-08-21T12:00:00Z */

struct canned {
    mf_str method, url;
    mf_val v;
    bool used;
};

struct outcome { /* of one event */
    int32_t status;
    mf_str message;
};

struct play {
    struct plugin *plugin;
    struct instance *instance;
    mf_val input;
    struct arena arena;
    struct canned *canned;
    size_t canned_count;
    struct buf requests, payloads; /* JSON arrays, still open */
    struct json_out rw, pw;
    struct outcome error; /* status 0: none */
    struct outcome *results;
    size_t result_count;
    bool is_batch, filtered, deliver;
    bool named; /* the input says which action; asked for each event */
    mf_val token;
    uint64_t uuids;
    const char *fault;
};

static mf_val get(const struct play *p, const char *name)
{
    return json_get(p->input, mf_cstr(name));
}

static mf_str get_text(struct play *p, const char *name)
{
    return json_text(get(p, name), &p->arena);
}

/* ---- the far side ---- */

static void read_canned(struct play *p)
{
    mf_val list = get(p, "responses"), v;
    size_t n = json_count(list);
    mf_iter it = { { 0 } };
    mf_str key;

    if (n > CASE_RESPONSES_MAX)
        n = CASE_RESPONSES_MAX;
    p->canned = arena_zalloc(&p->arena, (n + 1) * sizeof *p->canned);
    while (p->canned_count < n && json_next(list, &it, &key, &v)) {
        struct canned *c = &p->canned[p->canned_count++];

        c->v = v;
        c->method = json_text(json_get(v, MF_STR("method")), &p->arena);
        c->url = json_text(json_get(v, MF_STR("url")), &p->arena);
    }
}

/* The first unused one with the same method and URL, else the next. */
static struct canned *pick(struct play *p, const struct call_request *r)
{
    struct canned *next = NULL;

    for (size_t k = 0; k < p->canned_count; k++) {
        struct canned *c = &p->canned[k];

        if (c->used)
            continue;
        if (!next)
            next = c;
        if (str_ieq(c->method, mf_cstr(r->method)) &&
            mf_eq(c->url, r->real_url))
            return c;
    }
    return next;
}

static uint32_t failure_of(mf_str text)
{
    static const struct {
        const char *word;
        uint32_t failure;
    } words[] = {
        { "ENOTFOUND", MF_FAIL_RESOLVE },   { "EAI_AGAIN", MF_FAIL_RESOLVE },
        { "ECONNREFUSED", MF_FAIL_CONNECT }, { "ETIMEDOUT", MF_FAIL_TIMEOUT },
        { "timeout", MF_FAIL_TIMEOUT },     { "timed out", MF_FAIL_TIMEOUT },
        { "certificate", MF_FAIL_TLS },     { "REFUSED", MF_FAIL_REFUSED },
    };

    for (size_t k = 0; k < COUNT_OF(words); k++)
        if (text.len && memmem(text.ptr, text.len, words[k].word,
                               strlen(words[k].word)))
            return words[k].failure;
    return MF_FAIL_RESET;
}

static void answer_headers(struct play *p, mf_val headers,
                           struct call_answer *a)
{
    struct call_header *h = arena_alloc(&p->arena, (json_count(headers) + 1) *
                                                       sizeof *h);
    mf_iter it = { { 0 } };
    mf_str key;
    mf_val v;

    a->headers = h;
    while (json_next(headers, &it, &key, &v)) {
        h->name = json_unescape(key, &p->arena);
        h->value = js_string(v, &p->arena);
        h++;
        a->header_count++;
    }
}

static void answer_body(struct play *p, mf_val canned, struct call_answer *a)
{
    mf_val json = json_get(canned, MF_STR("json"));
    mf_val body = json_get(canned, MF_STR("body"));
    struct buf b;

    if (json.type != MF_ABSENT) {
        a->body = (mf_str){ json.raw, json.len };
        return;
    }
    if (body.type != MF_ABSENT) {
        a->body = json_text(body, &p->arena);
        return;
    }
    body = json_get(canned, MF_STR("body_base64"));
    buf_init(&b, CASE_BYTES_MAX);
    if (body.type == MF_STRING &&
        base64_decode(&b, json_text(body, &p->arena)))
        a->body = arena_copy(&p->arena, buf_view(&b));
    buf_deinit(&b);
}

typedef void answer_fn(struct call *c, const struct call_request *r,
                       const struct call_answer *a);

static void to_judge(struct call *c, const struct call_request *r,
                     const struct call_answer *a)
{
    call_answer(c, r->id, a);
}

static void to_waiting(struct call *c, const struct call_request *r,
                       const struct call_answer *a)
{
    (void)r;
    call_waited(c, a);
}

static void reply(struct play *p, struct call *c, const struct call_request *r,
                  answer_fn *give)
{
    static const struct call_header json_type = {
        { "content-type", 12 }, { "application/json", 16 }
    };
    struct canned *canned = pick(p, r);
    struct call_answer a = { .status = 200 };
    mf_val v, none = { NULL, 0, MF_ABSENT };
    int64_t status;

    if (!canned) {
        a.body = MF_STR("{}");
        a.headers = &json_type;
        a.header_count = 1;
        give(c, r, &a);
        return;
    }
    canned->used = true;
    v = json_get(canned->v, MF_STR("error"));
    if (json_integer(json_get(canned->v, MF_STR("status")), &status) &&
        status >= 100 && status <= 999) {
        a.status = (int32_t)status;
    } else if (v.type != MF_ABSENT) {
        a.status = 0;
        v = json_get(canned->v, MF_STR("code")).type == MF_STRING
                ? json_get(canned->v, MF_STR("code"))
                : v;
        a.failure = failure_of(js_string(v, &p->arena));
    }
    v = json_get(canned->v, MF_STR("headers"));
    if (v.type == MF_OBJECT) {
        answer_headers(p, v, &a);
    } else if (json_get(canned->v, MF_STR("json")).type != MF_ABSENT) {
        a.headers = &json_type;
        a.header_count = 1;
    } else {
        answer_headers(p, none, &a);
    }
    answer_body(p, canned->v, &a);
    give(c, r, &a);
}

/* ---- what comes out ---- */

void case_write_request(struct json_out *w, const struct call_request *r)
{
    struct buf b;

    json_begin_object(w);
    json_kstr(w, "method", mf_cstr(r->method));
    json_kstr(w, "url", r->url);
    json_key(w, MF_STR("headers"));
    json_begin_object(w);
    for (size_t k = 0; k < r->header_count; k++) {
        json_key(w, r->headers[k].name);
        json_str(w, r->headers[k].value);
    }
    json_end_object(w);
    if (r->has_body && utf8_valid(r->body.ptr ? r->body.ptr : "",
                                  r->body.len)) {
        json_kstr(w, "body", r->body);
    } else if (r->has_body) {
        buf_init(&b, CASE_BYTES_MAX);
        base64_encode(&b, r->body);
        json_kstr(w, "body_base64", buf_view(&b));
        buf_deinit(&b);
    }
    json_end_object(w);
}

static struct outcome outcome_of(struct play *p, const struct call *c,
                                 uint32_t index)
{
    const struct call_result *r = call_result(c, index);

    return (struct outcome){ r->status, arena_copy(&p->arena, r->message) };
}

static void fail(struct play *p, int32_t status, mf_str message)
{
    if (!p->error.status)
        p->error = (struct outcome){ status,
                                     arena_copy(&p->arena, message) };
}

static void write_outcome(struct json_out *w, struct outcome o)
{
    json_begin_object(w);
    json_kint(w, "status", o.status);
    if (o.message.len)
        json_kstr(w, "message", o.message);
    json_end_object(w);
}

/* ---- the worker's side ---- */

static void exchange(void *arg, struct call *c, const struct call_request *r)
{
    struct play *p = arg;

    case_write_request(&p->rw, r);
    reply(p, c, r, to_waiting);
}

static void drive(struct play *p, struct call *c)
{
    const struct call_request *round[MF_REQUESTS_MAX];
    size_t n;

    if (p->plugin->manifest->kind == PLUGIN_NATIVE) {
        call_on_wait(c, exchange, p);
        call_deliver(c, clock_ms() + DELIVER_MS);
        return;
    }
    call_start(c);
    do {
        for (n = 0; n < MF_REQUESTS_MAX && (round[n] = call_next(c)); n++)
            case_write_request(&p->rw, round[n]);
        for (size_t k = 0; k < n; k++)
            reply(p, c, round[k], to_judge);
    } while (n);
    if (call_fault(c))
        p->fault = call_fault(c);
    ASSERT(call_done(c));
}

static bool is_native(const struct play *p)
{
    return p->plugin->manifest->kind == PLUGIN_NATIVE;
}

static void run_special(struct play *p, const char *slug)
{
    struct call *c = call_special(p->instance, slug, get(p, "event"));
    struct outcome o;

    if (!c)
        return;
    if (is_native(p)) {
        call_free(c);
        return;
    }
    drive(p, c);
    o = outcome_of(p, c, 0);
    if (o.status != MF_SKIP && o.status / 100 != 2)
        fail(p, o.status, o.message);
    p->token = call_token(c);
    if (p->token.type == MF_OBJECT) {
        mf_str text = { p->token.raw, p->token.len };

        p->token.raw = arena_copy(&p->arena, text).ptr;
    }
    call_free(c);
}

/* The members of both; those of b count. */
static mf_val merged(struct play *p, mf_val a, mf_val b)
{
    mf_val both[2] = { a, b };
    struct json_out w;
    struct buf text;
    mf_iter it;
    mf_str key;
    mf_val v;

    buf_init(&text, CASE_BYTES_MAX);
    json_out_init(&w, &text);
    json_begin_object(&w);
    for (unsigned k = 0; k < 2; k++) {
        it = (mf_iter){ { 0 } };
        while (json_next(both[k], &it, &key, &v)) {
            if (k == 0 && json_get(b, json_unescape(key, &p->arena)).type)
                continue;
            json_key_raw(&w, key);
            json_val(&w, v);
        }
    }
    json_end_object(&w);
    key = arena_copy(&p->arena, buf_view(&text));
    buf_deinit(&text);
    return json_root(key);
}

/* True when a 401 was answered with a new token: once more, then. */
static bool reauthorised(struct play *p, int32_t status)
{
    mf_val auth;

    if (status != 401 || get(p, "oauth").type != MF_OBJECT ||
        strncmp(p->plugin->manifest->auth_scheme, "oauth2", 6) != 0)
        return false;
    auth = merged(p, get(p, "auth"), get(p, "oauth"));
    instance_set_auth(p->instance, auth);
    run_special(p, "refreshAccessToken");
    if (p->token.type != MF_OBJECT)
        return false;
    instance_set_auth(p->instance, merged(p, auth, p->token));
    return true;
}

static void add_event(struct play *p, struct call *c, mf_val event,
                      mf_val payload)
{
    call_source(c, call_add(c, event, payload), get_text(p, "source"));
}

static struct outcome send_one(struct play *p, unsigned sub, mf_val event,
                               mf_val payload)
{
    struct outcome o = { MF_SKIP, { "", 0 } };
    struct call *c;

    if (is_native(p))
        json_val(&p->pw, payload);
    if (is_native(p) && !p->deliver) {
        o.status = MF_DELIVERED;
        return o;
    }
    for (unsigned attempt = 0; attempt < 2; attempt++) {
        c = call_new(p->instance, sub);
        call_batch(c, false);
        add_event(p, c, event, payload);
        drive(p, c);
        o = outcome_of(p, c, 0);
        call_free(c);
        if (attempt || !reauthorised(p, o.status))
            break;
    }
    return o;
}

static struct outcome run_one(struct play *p, unsigned sub, mf_val event)
{
    struct err e = { "" };
    mf_val payload = instance_map(p->instance, sub, event, false, &p->arena,
                                  &e);

    if (payload.type == MF_ABSENT)
        return (struct outcome){ MF_INVALID,
                                 arena_copy(&p->arena, mf_cstr(e.text)) };
    return send_one(p, sub, event, payload);
}

/* Which subscriptions an event goes to: the one given, or what selects it. */
static size_t subs_of(struct play *p, mf_val event,
                      uint8_t subs[SUBSCRIPTIONS_MAX])
{
    size_t n = 0;

    if (p->named) {
        subs[0] = 0;
        return 1;
    }
    instance_select(p->instance, event, subs, &n, &p->arena);
    return n;
}

static void run_action(struct play *p)
{
    uint8_t subs[SUBSCRIPTIONS_MAX];
    mf_val event = get(p, "event");
    size_t n, skipped = 0;
    struct outcome o;

    if (event.type != MF_OBJECT) {
        fail(p, 400, MF_STR("`event` is missing"));
        return;
    }
    n = subs_of(p, event, subs);
    for (size_t k = 0; k < n; k++) {
        o = run_one(p, subs[k], event);
        if (o.status == MF_SKIP)
            skipped++;
        else if (o.status / 100 != 2)
            fail(p, o.status, o.message);
    }
    p->filtered = skipped == n;
}

/* ---- batches ---- */

static void note(struct play *p, size_t index, struct outcome o)
{
    struct outcome *old = &p->results[index];
    bool good = o.status / 100 == 2 || o.status == MF_SKIP;

    if (!old->status || old->status == MF_SKIP || !good)
        *old = o;
}

static void send_batch(struct play *p, unsigned sub, mf_val *events,
                       mf_val *payloads, const size_t *index, size_t n)
{
    int32_t unauthorised = 0;
    struct call *c;

    for (unsigned attempt = 0; n && attempt < 2; attempt++) {
        c = call_new(p->instance, sub);
        call_batch(c, true);
        for (size_t k = 0; k < n; k++)
            add_event(p, c, events[k], payloads[k]);
        drive(p, c);
        for (uint32_t k = 0; k < n; k++)
            if (call_result(c, k)->status == 401)
                unauthorised = 401;
        if (attempt == 0 && reauthorised(p, unauthorised)) {
            call_free(c);
            continue;
        }
        for (uint32_t k = 0; k < n; k++) {
            struct outcome o = outcome_of(p, c, k);

            note(p, index[k], o);
            if (call_failed(c) && o.status / 100 != 2 && o.status != MF_SKIP)
                fail(p, o.status, o.message);
        }
        call_free(c);
        break;
    }
}

static void run_batch_of(struct play *p, unsigned sub, const bool *wanted)
{
    mf_val list = get(p, "events"), v;
    size_t count = p->result_count, n = 0, at = 0;
    mf_val *events = arena_alloc(&p->arena, (count + 1) * sizeof *events);
    mf_val *payloads = arena_alloc(&p->arena, (count + 1) * sizeof *payloads);
    size_t *index = arena_alloc(&p->arena, (count + 1) * sizeof *index);
    mf_iter it = { { 0 } };
    struct err e;
    mf_str key;

    for (; json_next(list, &it, &key, &v); at++) {
        if (!wanted[at])
            continue;
        e.text[0] = 0;
        payloads[n] = instance_map(p->instance, sub, v, true, &p->arena, &e);
        if (payloads[n].type == MF_ABSENT) {
            note(p, at, (struct outcome){
                            MF_INVALID,
                            arena_copy(&p->arena, mf_cstr(e.text)) });
            continue;
        }
        if (is_native(p))
            json_val(&p->pw, payloads[n]);
        if (is_native(p) && !p->deliver) {
            note(p, at, (struct outcome){ MF_DELIVERED, { "", 0 } });
            continue;
        }
        events[n] = v;
        index[n++] = at;
    }
    send_batch(p, sub, events, payloads, index, n);
}

static void run_batch(struct play *p)
{
    mf_val list = get(p, "events"), v;
    uint8_t subs[SUBSCRIPTIONS_MAX];
    size_t at, n, all = instance_subscriptions(p->instance);
    mf_iter it;
    mf_str key;
    bool *wanted;

    if (list.type != MF_ARRAY) {
        fail(p, 400, MF_STR("`events` is missing"));
        return;
    }
    p->is_batch = true;
    p->result_count = json_count(list);
    p->results = arena_zalloc(&p->arena,
                              (p->result_count + 1) * sizeof *p->results);
    wanted = arena_alloc(&p->arena, p->result_count + 1);
    for (unsigned sub = 0; sub < all; sub++) {
        bool any = false;

        memset(wanted, 0, p->result_count + 1);
        it = (mf_iter){ { 0 } };
        for (at = 0; json_next(list, &it, &key, &v); at++) {
            n = subs_of(p, v, subs);
            for (size_t k = 0; k < n; k++)
                if (subs[k] == sub)
                    any = wanted[at] = true;
        }
        if (any)
            run_batch_of(p, sub, wanted);
    }
    for (at = 0; at < p->result_count; at++)
        if (!p->results[at].status)
            p->results[at].status = MF_SKIP;
}

/* ---- kinds ---- */

static void run_test(struct play *p)
{
    const struct manifest *m = p->plugin->manifest;
    struct err e = { "" };
    mf_val settings = get(p, "settings");

    if (settings.type != MF_OBJECT)
        settings = (mf_val){ "{}", 2, MF_OBJECT };
    if (schema_apply(m->settings, settings, false, &p->arena, &e).type !=
        MF_OBJECT) {
        fail(p, 400, arena_printf(&p->arena, "Credentials are invalid: %s",
                                  e.text));
        return;
    }
    run_special(p, "testAuthentication");
}

static void run_kind(struct play *p)
{
    mf_str kind = get_text(p, "kind");

    if (kind.len == 0 || mf_eq(kind, MF_STR("action")))
        run_action(p);
    else if (mf_eq(kind, MF_STR("batch")))
        run_batch(p);
    else if (mf_eq(kind, MF_STR("testAuthentication")))
        run_test(p);
    else if (mf_eq(kind, MF_STR("onDelete")))
        run_special(p, "onDelete");
    else if (mf_eq(kind, MF_STR("refreshAccessToken")))
        run_special(p, "refreshAccessToken");
    else
        fail(p, 400, arena_printf(&p->arena, "kind \"%.*s\" is not known",
                                  (int)kind.len, kind.ptr));
}

/* The one subscription of a case that names its action. */
static mf_val subscription(struct play *p)
{
    mf_val none = { NULL, 0, MF_ABSENT }, mapping = get(p, "mapping");
    struct json_out w;
    struct buf b;
    mf_str text;

    if (!p->named)
        return none;
    buf_init(&b, CASE_BYTES_MAX);
    json_out_init(&w, &b);
    json_begin_array(&w);
    json_begin_object(&w);
    json_kval(&w, "action", get(p, "action"));
    if (mapping.type != MF_ABSENT)
        json_kval(&w, "mapping", mapping);
    json_end_object(&w);
    json_end_array(&w);
    text = arena_copy(&p->arena, buf_view(&b));
    buf_deinit(&b);
    return json_root(text);
}

static void run(struct play *p, const struct case_options *o)
{
    struct instance_config c = {
        .name = p->plugin->manifest->slug,
        .settings = get(p, "settings"),
        .subscriptions = subscription(p),
        .auth = get(p, "auth"),
        .features = get(p, "features"),
        .metadata = get(p, "subscriptionMetadata"),
        .lenient = true,
        .fixed = o->fixed,
        .now = NOW_DEFAULT,
        .uuid_counter = &p->uuids,
    };
    struct instance_fault fault;
    mf_val kind = get(p, "kind");

    json_integer(get(p, "now"), &c.now);
    if (get(p, "oauth").type == MF_OBJECT && kind.type == MF_STRING &&
        json_key_is((mf_str){ kind.raw + 1, kind.len - 2 },
                    MF_STR("refreshAccessToken")))
        c.auth = merged(p, c.auth, get(p, "oauth"));
    p->instance = instance_new(p->plugin, &c, &fault);
    if (!p->instance) {
        fail(p, 400, mf_cstr(fault.err.text));
        return;
    }
    read_canned(p);
    run_kind(p);
    instance_free(p->instance);
}

static void write_play(struct play *p, struct json_out *w)
{
    json_begin_object(w);
    if (get(p, "id").type != MF_ABSENT)
        json_kval(w, "id", get(p, "id"));
    json_key(w, MF_STR("requests"));
    json_val(w, json_root(buf_view(&p->requests)));
    if (is_native(p)) {
        json_key(w, MF_STR("payloads"));
        json_val(w, json_root(buf_view(&p->payloads)));
    }
    if (p->error.status) {
        json_key(w, MF_STR("error"));
        write_outcome(w, p->error);
    }
    if (p->is_batch) {
        json_key(w, MF_STR("results"));
        json_begin_array(w);
        for (size_t k = 0; k < p->result_count; k++)
            write_outcome(w, p->results[k]);
        json_end_array(w);
    }
    if (p->token.type == MF_OBJECT)
        json_kval(w, "token", p->token);
    if (p->filtered)
        json_kbool(w, "filtered", true);
    json_end_object(w);
}

void case_run(struct plugin *plugin, mf_val input,
              const struct case_options *o, struct json_out *w,
              const char **fault)
{
    struct play p = { .plugin = plugin, .input = input, .uuids = 1 };

    arena_init(&p.arena, CASE_ARENA_BYTES);
    buf_init(&p.requests, CASE_BYTES_MAX);
    buf_init(&p.payloads, CASE_BYTES_MAX);
    json_out_init(&p.rw, &p.requests);
    json_out_init(&p.pw, &p.payloads);
    json_begin_array(&p.rw);
    json_begin_array(&p.pw);
    p.deliver = o->deliver || get(&p, "responses").type == MF_ARRAY;
    p.named = get(&p, "action").type == MF_STRING;
    run(&p, o);
    json_end_array(&p.rw);
    json_end_array(&p.pw);
    write_play(&p, w);
    *fault = p.fault;
    buf_deinit(&p.requests);
    buf_deinit(&p.payloads);
    arena_deinit(&p.arena);
}
