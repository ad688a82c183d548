/* SPDX-License-Identifier: Apache-2.0
 *
 * admin.c - see admin.h. Each request becomes one question to the supervisor;
 * its answer carries the HTTP status and the body. */
#include "admin/admin.h"

#include "admin/dashboard.h"
#include "admin/metrics.h"
#include "admin/params.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/text.h"
#include "http/server.h"
#include "ipc/ipc.h"
#include "ipc/jail.h"
#include "ipc/proto.h"
#include "json/json.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ASKS_MAX      256 /* questions without an answer yet */
#define REQUEST_ARENA (4u << 20)

enum form { FORM_BODY, FORM_METRICS, FORM_READY };

struct ask {
    uint64_t id; /* 0: free */
    struct http_request *r;
    enum form form;
};

struct admin {
    struct event_base *base;
    struct ipc *ipc;
    struct http_server *server;
    struct ask asks[ASKS_MAX];
    uint64_t next_id;
    char *token; /* NULL: none */
    struct arena arena;
    struct buf out;
};

/* ---- answers ---- */

static void reply_error(struct admin *a, struct http_request *r, int status,
                        const char *code, const char *message)
{
    struct json_out w;

    buf_clear(&a->out);
    json_out_init(&w, &a->out);
    json_begin_object(&w);
    json_kbool(&w, "success", false);
    json_kstr(&w, "code", mf_cstr(code));
    json_kstr(&w, "message", mf_cstr(message));
    json_kstr(&w, "error", mf_cstr(message));
    json_end_object(&w);
    http_reply(r, status, "application/json",
               status == 401 ? MF_STR("WWW-Authenticate: Bearer\r\n")
                             : (mf_str){ "", 0 },
               buf_view(&a->out));
}

static void on_answer(struct admin *a, mf_str text)
{
    struct http_request *r = NULL;
    enum form form = FORM_BODY;
    int64_t status = 500;
    mf_val root, body;
    uint64_t id;

    if (text.len < sizeof id)
        return;
    memcpy(&id, text.ptr, sizeof id);
    for (size_t i = 0; i < ASKS_MAX; i++)
        if (a->asks[i].id == id) {
            r = a->asks[i].r;
            form = a->asks[i].form;
            a->asks[i].id = 0;
        }
    if (!r)
        return;
    root = json_root((mf_str){ text.ptr + sizeof id, text.len - sizeof id });
    json_integer(json_get(root, MF_STR("status")), &status);
    body = json_get(root, MF_STR("body"));
    buf_clear(&a->out);
    switch (form) {
    case FORM_METRICS:
        metrics_write(body, &a->out);
        http_reply(r, (int)status, "text/plain; version=0.0.4",
                   (mf_str){ "", 0 }, buf_view(&a->out));
        break;
    case FORM_READY:
        status = json_is_true(json_get(body, MF_STR("ready"))) ? 200 : 503;
        http_reply(r, (int)status, "text/plain", (mf_str){ "", 0 },
                   status == 200 ? MF_STR("ready\n")
                                 : MF_STR("ingest is not accepting yet\n"));
        break;
    default:
        buf_add(&a->out, body.raw, body.len);
        buf_char(&a->out, '\n');
        http_reply(r, (int)status, "application/json", (mf_str){ "", 0 },
                   buf_view(&a->out));
    }
}

static void ask(struct admin *a, struct http_request *r, enum form form,
                mf_str question)
{
    struct buf b;

    for (size_t i = 0; i < ASKS_MAX; i++) {
        if (a->asks[i].id)
            continue;
        a->asks[i].id = ++a->next_id;
        a->asks[i].r = r;
        a->asks[i].form = form;
        buf_init(&b, IPC_MESSAGE_MAX);
        buf_add(&b, &a->next_id, sizeof a->next_id);
        buf_str(&b, question);
        ipc_send(a->ipc, MSG_ASK, b.data, b.len, -1);
        buf_deinit(&b);
        return;
    }
    reply_error(a, r, 503, "overloaded", "too many questions are open");
}

/* {"verb": verb, key: value}; key NULL for none. */
static void ask_verb(struct admin *a, struct http_request *r, enum form form,
                     mf_str verb, const char *key, mf_str value)
{
    struct json_out w;
    struct buf b;
    uint64_t n;

    buf_init(&b, 65536);
    json_out_init(&w, &b);
    json_begin_object(&w);
    json_kstr(&w, "verb", verb);
    if (key && parse_u64(value, &n)) {
        json_key(&w, mf_cstr(key));
        json_int(&w, (int64_t)n);
    } else if (key) {
        json_key(&w, mf_cstr(key));
        json_str(&w, value);
    }
    if (r->body.len && json_check(r->body, JSON_DEPTH_MAX, NULL) == 0) {
        mf_val force = json_get(json_root(r->body), MF_STR("force"));

        if (force.type == MF_BOOL)
            json_kval(&w, "force", force);
    }
    json_end_object(&w);
    ask(a, r, form, buf_view(&b));
    buf_deinit(&b);
}

/* {"verb", "name", "id"?, "params", "body"}; id "" for none. */
static void ask_about(struct admin *a, struct http_request *r, mf_str verb,
                      mf_str name, mf_str id)
{
    const char *fault;
    struct json_out w;
    struct buf b;
    uint64_t n;

    if (id.len && !parse_u64(id, &n)) {
        reply_error(a, r, 404, "not_found", "there is nothing at this path");
        return;
    }
    buf_init(&b, IPC_MESSAGE_MAX - 64);
    json_out_init(&w, &b);
    json_begin_object(&w);
    json_kstr(&w, "verb", verb);
    json_kstr(&w, "name", name);
    if (id.len)
        json_kint(&w, "id", (int64_t)n);
    fault = params_write(&w, r->query);
    if (!fault)
        fault = params_write_body(&w, r->body);
    json_end_object(&w);
    if (fault)
        reply_error(a, r, 400, "bad_request", fault);
    else
        ask(a, r, FORM_BODY, buf_view(&b));
    buf_deinit(&b);
}

/* ---- routes ---- */

/* Compares in time that does not tell how much was right. */
static bool same_secret(mf_str a, mf_str b)
{
    unsigned char diff = a.len != b.len;

    for (size_t i = 0; i < a.len; i++)
        diff |= (unsigned char)(a.ptr[i] ^ b.ptr[b.len ? i % b.len : 0]);
    return diff == 0;
}

static bool is_allowed(struct admin *a, struct http_request *r)
{
    mf_str h = http_header(r, HTTP_AUTHORIZATION);

    if (!a->token)
        return true;
    if (h.len < 7 || !str_ieq((mf_str){ h.ptr, 7 }, MF_STR("bearer ")))
        return false;
    return same_secret(str_trim((mf_str){ h.ptr + 7, h.len - 7 }),
                       mf_cstr(a->token));
}

/* The n-th segment of a path, percent-decoded. */
static mf_str segment(struct admin *a, mf_str path, unsigned n)
{
    const char *p = path.ptr, *end = path.ptr + path.len;
    struct buf b;
    mf_str s;

    for (; p < end; p++) {
        const char *q = p + 1;

        while (q < end && *q != '/')
            q++;
        if (n-- == 0) {
            buf_init(&b, 4096);
            s = (mf_str){ "", 0 };
            if (percent_decode(&b, (mf_str){ p + 1, (size_t)(q - p) - 1 },
                               false))
                s = arena_copy(&a->arena, buf_view(&b));
            buf_deinit(&b);
            return s;
        }
        p = q - 1;
    }
    return (mf_str){ "", 0 };
}

static bool is_method(struct http_request *r, const char *method)
{
    return mf_eq(r->method, mf_cstr(method));
}

/* What is asked by a path below /v1/destinations/NAME or /v1/sources/NAME:
 * there, then a number, then one more word. */
static const struct about {
    const char *method, *what, *then, *word, *verb;
    bool number;
} abouts[] = {
    { "GET", "destinations", "dead", "", "dead" },
    { "GET", "destinations", "dead", "jobs", "dead_jobs", true },
    { "POST", "destinations", "dead", "replay", "dead_replay" },
    { "POST", "destinations", "dead", "drop", "dead_drop" },
    { "GET", "destinations", "replay", "", "replays" },
    { "POST", "destinations", "replay", "", "replay" },
    { "POST", "destinations", "replay", "cancel", "replay_cancel", true },
    { "POST", "destinations", "replay", "pause", "replay_pause", true },
    { "POST", "destinations", "replay", "resume", "replay_resume", true },
    { "GET", "sources", "dead", "", "source_dead" },
    { "GET", "sources", "dead", "jobs", "source_dead_jobs", true },
    { "POST", "sources", "dead", "replay", "source_dead_replay" },
    { "POST", "sources", "dead", "drop", "source_dead_drop" },
};

/* .../dead/jobs/7 and .../replay/7/cancel: the number may stand on either
 * side of the word. */
static bool on_about(struct admin *a, struct http_request *r)
{
    mf_str what = segment(a, r->path, 1), then = segment(a, r->path, 3);
    mf_str word = segment(a, r->path, 4), id = segment(a, r->path, 5);
    uint64_t n;

    if (parse_u64(word, &n)) {
        mf_str other = id;

        id = word;
        word = other;
    }
    for (size_t i = 0; i < COUNT_OF(abouts); i++) {
        const struct about *b = &abouts[i];

        if (is_method(r, b->method) && mf_eq(what, mf_cstr(b->what)) &&
            mf_eq(then, mf_cstr(b->then)) && mf_eq(word, mf_cstr(b->word)) &&
            (b->number || id.len == 0)) {
            ask_about(a, r, mf_cstr(b->verb), segment(a, r->path, 2), id);
            return true;
        }
    }
    return false;
}

static void on_destination(struct admin *a, struct http_request *r)
{
    mf_str name = segment(a, r->path, 2), verb = segment(a, r->path, 3);
    bool change = mf_eq(verb, MF_STR("pause")) ||
                  mf_eq(verb, MF_STR("resume"));

    if (verb.len == 0 && is_method(r, "GET"))
        ask_verb(a, r, FORM_BODY, MF_STR("destination"), "name", name);
    else if (change && is_method(r, "POST"))
        ask_verb(a, r, FORM_BODY, verb, "name", name);
    else
        reply_error(a, r, 404, "not_found", "there is nothing at this path");
}

/* /v1/events/{messageId}, and ?source=NAME where several may have it. */
static void on_event(struct admin *a, struct http_request *r)
{
    mf_str id = segment(a, r->path, 2);
    const char *fault;
    struct json_out w;
    struct buf b;

    if (id.len == 0) {
        reply_error(a, r, 404, "not_found", "name a messageId");
        return;
    }
    buf_init(&b, IPC_MESSAGE_MAX - 64);
    json_out_init(&w, &b);
    json_begin_object(&w);
    json_kstr(&w, "verb", MF_STR("event"));
    json_kstr(&w, "message_id", id);
    fault = params_write(&w, r->query);
    json_end_object(&w);
    if (fault)
        reply_error(a, r, 400, "bad_request", fault);
    else
        ask(a, r, FORM_BODY, buf_view(&b));
    buf_deinit(&b);
}

static void on_v1(struct admin *a, struct http_request *r)
{
    mf_str what = segment(a, r->path, 1);

    if (mf_eq(what, MF_STR("status")) && is_method(r, "GET"))
        ask_verb(a, r, FORM_BODY, what, NULL, what);
    else if (mf_eq(what, MF_STR("plugins")) && is_method(r, "GET"))
        ask_verb(a, r, FORM_BODY, what, NULL, what);
    else if (mf_eq(what, MF_STR("reload")) && is_method(r, "POST"))
        ask_verb(a, r, FORM_BODY, what, NULL, what);
    else if (mf_eq(what, MF_STR("reloads")) && is_method(r, "GET"))
        ask_verb(a, r, FORM_BODY, MF_STR("reloaded"), "id",
                 segment(a, r->path, 2));
    else if (on_about(a, r))
        return;
    else if (mf_eq(what, MF_STR("destinations")))
        on_destination(a, r);
    else if (mf_eq(what, MF_STR("events")) && is_method(r, "GET"))
        on_event(a, r);
    else
        reply_error(a, r, 404, "not_found", "there is nothing at this path");
}

static void on_request(struct http_request *r, void *arg)
{
    struct admin *a = arg;
    mf_str none = { "", 0 };

    arena_reset(&a->arena);
    if (r->fault) {
        reply_error(a, r, 400, http_fault_code(r->fault), r->fault_text);
    } else if (mf_eq(r->path, MF_STR("/healthz"))) {
        http_reply(r, 200, "text/plain", none, MF_STR("ok\n"));
    } else if (mf_eq(r->path, MF_STR("/readyz"))) {
        ask_verb(a, r, FORM_READY, MF_STR("status"), NULL, none);
    } else if (mf_eq(r->path, MF_STR("/"))) {
        http_reply(r, 200, "text/html; charset=utf-8",
                   MF_STR("Content-Security-Policy: default-src 'self'; "
                          "style-src 'unsafe-inline'; "
                          "script-src 'unsafe-inline'\r\n"
                          "X-Content-Type-Options: nosniff\r\n"),
                   mf_cstr(dashboard_html));
    } else if (!is_allowed(a, r)) {
        reply_error(a, r, 401, "unauthorized",
                    "send the admin token as a bearer token");
    } else if (mf_eq(r->path, MF_STR("/metrics"))) {
        ask_verb(a, r, FORM_METRICS, MF_STR("status"), NULL, none);
    } else if (str_starts(r->path, MF_STR("/v1/"))) {
        on_v1(a, r);
    } else {
        reply_error(a, r, 404, "not_found", "there is nothing at this path");
    }
}

/* ---- life ---- */

static void configure(struct admin *a, mf_str text)
{
    mf_val token;

    free(a->token);
    a->token = NULL;
    if (json_check(text, JSON_DEPTH_MAX, NULL) != 0)
        return;
    token = json_get(json_root(text), MF_STR("token"));
    if (token.type == MF_STRING) {
        mf_str s = json_text(token, &a->arena);

        a->token = xstrndup(s.ptr, s.len);
    }
}

static void on_message(void *arg, uint32_t type, mf_str text, int fd)
{
    struct admin *a = arg;

    switch (type) {
    case MSG_ADMIN_CONFIG:
        configure(a, text);
        break;
    case MSG_LISTEN:
        http_server_listen(a->server, fd);
        return;
    case MSG_ANSWER:
        on_answer(a, text);
        break;
    case MSG_DRAIN:
        event_base_loopbreak(a->base);
        break;
    }
    if (fd >= 0)
        close(fd);
}

static void on_close(void *arg)
{
    struct admin *a = arg;

    event_base_loopbreak(a->base);
}

int admin_main(uid_t uid, gid_t gid, pid_t parent)
{
    struct admin *a = xcalloc(1, sizeof *a);
    struct err e;

    log_role("admin");
    if (jail_child(uid, gid, parent, &e) != 0) {
        log_error("%s", e.text);
        free(a);
        return 1;
    }
    a->base = event_base_new();
    ASSERT(a->base);
    arena_init(&a->arena, REQUEST_ARENA);
    buf_init(&a->out, IPC_MESSAGE_MAX);
    a->server = http_server_new(a->base, NULL, on_request, a);
    a->ipc = ipc_new(a->base, CHILD_CONTROL_FD, on_message, on_close, a);
    event_base_dispatch(a->base);
    http_server_free(a->server);
    ipc_free(a->ipc);
    event_base_free(a->base);
    arena_deinit(&a->arena);
    buf_deinit(&a->out);
    free(a->token);
    free(a);
    return 0;
}
