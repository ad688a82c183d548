/* SPDX-License-Identifier: Apache-2.0
 *
 * explain.c - questions about one event, each answered by a process of its
 * own: it reads the whole journal's ids and runs plugins, and neither the
 * supervisor nor admin may wait for that. */
#include "supervisor/supervisor.h"

#include "base/log.h"
#include "base/mem.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

#define EXPLAINS_MAX      4 /* at a time; more are told to come again */
#define EXPLAIN_SECONDS   60
#define QUESTION_MAX      (24u << 20)
#define QUESTION_ARENA    (1u << 20)

struct explain {
    struct supervisor *s;
    struct child *child;
    struct event *timer;
    uint64_t id;    /* of the question */
    uint64_t admin; /* which admin process asked */
    uint32_t status; /* 0: not told yet */
    bool answered;
};

static unsigned explains; /* under way; one supervisor a process */

/* ---- answers ---- */

static void answer(struct explain *x, uint32_t status, mf_str body)
{
    struct supervisor *s = x->s;
    struct json_out w;
    struct buf b;

    x->answered = true;
    if (!s->admin || s->admin_restarts.total != x->admin)
        return; /* whoever asked is gone */
    buf_init(&b, IPC_MESSAGE_MAX);
    buf_add(&b, &x->id, sizeof x->id);
    json_out_init(&w, &b);
    json_begin_object(&w);
    json_kint(&w, "status", status);
    json_kval(&w, "body", json_root(body));
    json_end_object(&w);
    child_send(s->admin, MSG_ANSWER, b.data, b.len, -1);
    buf_deinit(&b);
}

static void refuse(struct explain *x, uint32_t status, const char *code,
                   const char *message)
{
    struct json_out w;
    struct buf b;

    buf_init(&b, 4096);
    json_out_init(&w, &b);
    json_begin_object(&w);
    json_kbool(&w, "success", false);
    json_kstr(&w, "code", mf_cstr(code));
    json_kstr(&w, "message", mf_cstr(message));
    json_kstr(&w, "error", mf_cstr(message));
    json_end_object(&w);
    answer(x, status, buf_view(&b));
    buf_deinit(&b);
}

static void on_message(void *arg, uint32_t type, mf_str text, int fd)
{
    struct explain *x = arg;

    (void)fd;
    if (type != MSG_EXPLAINED || x->answered)
        return;
    if (x->status == 0 && text.len == sizeof x->status)
        memcpy(&x->status, text.ptr, sizeof x->status);
    else if (json_check(text, JSON_DEPTH_MAX, NULL) == 0)
        answer(x, x->status, text);
}

static void on_ended(void *arg, int status)
{
    struct explain *x = arg;
    char text[64];

    child_status_text(status, text, sizeof text);
    if (!x->answered) {
        log_error("explain ended by %s without an answer", text);
        refuse(x, 500, "failed", "the event could not be explained; see the "
                                 "log");
    }
    event_free(x->timer);
    free(x);
    explains--;
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    struct explain *x = arg;

    (void)fd;
    (void)what;
    if (!x->answered)
        refuse(x, 504, "too_slow", "the event could not be explained in time");
    child_kill(x->child, SIGKILL);
}

/* ---- questions ---- */

static void write_destinations(struct supervisor *s, struct json_out *w)
{
    json_key(w, MF_STR("destinations"));
    json_begin_array(w);
    for (struct sup_destination *d = s->destinations; d; d = d->next) {
        struct version *v = version_find(s, d->plugin);

        if (!d->spec)
            continue;
        json_begin_object(w);
        json_kstr(w, "plugin", mf_cstr(d->plugin));
        json_kstr(w, "hash", mf_cstr(v ? v->hash : ""));
        json_kval(w, "spec", json_root(mf_cstr(d->spec)));
        json_end_object(w);
    }
    json_end_array(w);
}

static void write_question(struct supervisor *s, mf_val q, struct buf *to)
{
    const struct redact *secrets = s->config->secrets;
    mf_val source = json_get(json_get(q, MF_STR("params")), MF_STR("source"));
    struct json_out w;

    json_out_init(&w, to);
    json_begin_object(&w);
    json_kval(&w, "message_id", json_get(q, MF_STR("message_id")));
    if (source.type == MF_STRING)
        json_kval(&w, "source", source);
    json_kstr(&w, "data_dir", mf_cstr(s->config->data_dir));
    json_kstr(&w, "plugins_dir", mf_cstr(s->config->plugins_dir));
    json_key(&w, MF_STR("secrets"));
    json_begin_array(&w);
    for (size_t i = 0; i < redact_count(secrets); i++)
        json_str(&w, redact_nth(secrets, i));
    json_end_array(&w);
    write_destinations(s, &w);
    json_end_object(&w);
}

static void begin(struct supervisor *s, struct explain *x, mf_val q)
{
    struct child_events events = { on_message, on_ended, x };
    struct child_spec spec = { .role = "explain", .name = "explain",
                               .uid = s->uid, .gid = s->gid };
    struct timeval tv = { EXPLAIN_SECONDS, 0 };
    struct err e;
    struct buf b;

    for (int i = 0; i < CHILD_FDS_END; i++)
        spec.fds[i] = -1;
    x->child = child_start(s->base, &spec, &events, &e);
    if (!x->child) {
        log_error("%s", e.text);
        refuse(x, 500, "failed", "no process could be started");
        free(x);
        return;
    }
    explains++;
    x->timer = evtimer_new(s->base, on_timer, x);
    event_add(x->timer, &tv);
    buf_init(&b, QUESTION_MAX);
    write_question(s, q, &b);
    ASSERT(!b.full);
    child_send(x->child, MSG_EXPLAIN, b.data, b.len, -1);
    buf_deinit(&b);
}

bool explain_ask(struct supervisor *s, uint64_t id, mf_str question)
{
    struct explain *x;
    struct arena a;
    bool ours;
    mf_val q;

    if (json_check(question, JSON_DEPTH_MAX, NULL) != 0)
        return false;
    q = json_root(question);
    arena_init(&a, QUESTION_ARENA);
    ours = mf_eq(json_text(json_get(q, MF_STR("verb")), &a), MF_STR("event"));
    arena_deinit(&a);
    if (!ours)
        return false;
    x = xcalloc(1, sizeof *x);
    x->s = s;
    x->id = id;
    x->admin = s->admin_restarts.total;
    if (explains < EXPLAINS_MAX && !s->stopping) {
        begin(s, x, q);
        return true;
    }
    refuse(x, 503, "overloaded", "other events are being explained; ask "
                                 "again in a moment");
    free(x);
    return true;
}
