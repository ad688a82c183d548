/* SPDX-License-Identifier: Apache-2.0
 *
 * explain_answer.c - see explain.h. What is recorded comes from the books;
 * what would be sent is computed anew and marked so. */
#include "cli/explain.h"

#include "base/mem.h"
#include "base/redact.h"
#include "base/text.h"
#include "books/trace.h"
#include "cli/recompute.h"
#include "ipc/ipc.h"
#include "ipc/jail.h"
#include "journal/segment.h"
#include "plugin/instance.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define QUESTION_ARENA (64u << 20)

struct asked {
    mf_val question;
    struct arena arena;
    struct books *books;
    struct redact *secrets;
    struct json_out w;
    const char *data_dir, *plugins_dir;
    uid_t uid;
    gid_t gid;
};

static const char *text_of(struct asked *a, mf_val o, const char *key)
{
    return arena_copy(&a->arena, json_text(json_get(o, mf_cstr(key)),
                                           &a->arena)).ptr;
}

static int refuse(struct buf *to, int status, const char *code,
                  const char *message)
{
    struct json_out w;

    buf_clear(to);
    json_out_init(&w, to);
    json_begin_object(&w);
    json_kbool(&w, "success", false);
    json_kstr(&w, "code", mf_cstr(code));
    json_kstr(&w, "message", mf_cstr(message));
    json_kstr(&w, "error", mf_cstr(message));
    json_end_object(&w);
    return status;
}

static const char *select_words(unsigned reason)
{
    return reason < SELECT_REASONS
               ? select_reason_text((enum select_reason)reason)
               : "unknown";
}

/* ---- what would be sent ---- */

static mf_val destination_of(struct asked *a, const char *name)
{
    mf_val list = json_get(a->question, MF_STR("destinations")), v;
    mf_val none = { NULL, 0, MF_ABSENT };
    mf_iter it = { { 0 } };
    mf_str key;

    while (json_next(list, &it, &key, &v))
        if (mf_eq(json_text(json_get(json_get(v, MF_STR("spec")),
                                     MF_STR("name")),
                            &a->arena),
                  mf_cstr(name)))
            return v;
    return none;
}

static const char *plugin_file(struct asked *a, mf_val destination)
{
    const char *slug = text_of(a, destination, "plugin");
    const char *hash = text_of(a, destination, "hash");
    const char *path = arena_printf(&a->arena, "%s/plugins/%s-%s.so",
                                    a->data_dir, slug, hash).ptr;

    if (*hash && access(path, R_OK) == 0)
        return path;
    return arena_printf(&a->arena, "%s/%s.so", a->plugins_dir, slug).ptr;
}

static void write_recomputed(struct asked *a, mf_val destination,
                             const struct trace_found *f)
{
    struct recompute r = { .plugin_file = plugin_file(a, destination),
                           .spec = json_get(destination, MF_STR("spec")),
                           .secrets = json_get(a->question,
                                               MF_STR("secrets")),
                           .event = { f->event, f->event_len },
                           .now = f->received_ms,
                           .uid = a->uid,
                           .gid = a->gid };
    struct buf b;
    struct err e;

    buf_init(&b, RECOMPUTE_BYTES);
    json_key(&a->w, MF_STR("recomputed"));
    if (recompute(&r, &b, &e) == 0) {
        json_val(&a->w, json_root(buf_view(&b)));
    } else {
        json_begin_object(&a->w);
        json_kstr(&a->w, "error", mf_cstr(e.text));
        json_end_object(&a->w);
    }
    buf_deinit(&b);
}

/* ---- what is recorded ---- */

static int write_lane(struct asked *a, struct trace *t,
                      const struct books_lane *l, const struct trace_found *f,
                      struct err *e)
{
    mf_val d = destination_of(a, l->destination);

    json_begin_object(&a->w);
    json_kstr(&a->w, "destination", mf_cstr(l->destination));
    json_kbool(&a->w, "configured", d.type == MF_OBJECT);
    if (trace_lane(t, l, &a->w, e) != 0)
        return -1;
    if (d.type == MF_OBJECT && f->event)
        write_recomputed(a, d, f);
    json_end_object(&a->w);
    return 0;
}

static void write_event_text(struct asked *a, const struct trace_found *f)
{
    struct buf b;

    buf_init(&b, JOURNAL_PAYLOAD_MAX + 1);
    buf_add(&b, f->event, f->event_len);
    redact_buf(a->secrets, &b, 0);
    if (json_check(buf_view(&b), JSON_DEPTH_MAX, NULL) == 0)
        json_kval(&a->w, "event", json_root(buf_view(&b)));
    buf_deinit(&b);
}

static int write_found(struct asked *a, const struct trace_found *f,
                       struct err *e)
{
    struct trace *t = trace_new(a->books, f->source, f->seq, select_words);
    char name[SEGMENT_NAME], time[TIME_TEXT];
    int rc = 0;

    time_iso(f->received_ms, time);
    json_begin_object(&a->w);
    json_kint(&a->w, "sequence", (int64_t)f->seq);
    json_kstr(&a->w, "source", mf_cstr(f->source_name));
    json_kstr(&a->w, "received_at", mf_cstr(time));
    if (f->event) {
        segment_name(name, f->segment);
        json_kstr(&a->w, "segment", mf_cstr(name));
        write_event_text(a, f);
    }
    json_key(&a->w, MF_STR("destinations"));
    json_begin_array(&a->w);
    for (size_t i = 0; i < a->books->lane_count && rc == 0; i++)
        if (a->books->lanes[i].source == f->source)
            rc = write_lane(a, t, &a->books->lanes[i], f, e);
    json_end_array(&a->w);
    json_end_object(&a->w);
    trace_free(t);
    return rc;
}

static int write_answer(struct asked *a, mf_str id, size_t *n, struct err *e)
{
    mf_str source = json_text(json_get(a->question, MF_STR("source")),
                              &a->arena);
    struct trace_found found[TRACE_FOUND_MAX];
    size_t count = 0, letters = 0;
    int rc;

    rc = trace_find(a->books, id, source, found, &count, e);
    json_kstr(&a->w, "message_id", id);
    json_key(&a->w, MF_STR("events"));
    json_begin_array(&a->w);
    for (size_t i = 0; i < count && rc == 0; i++)
        rc = write_found(a, &found[i], e);
    json_end_array(&a->w);
    if (rc == 0 && count == 0) {
        json_key(&a->w, MF_STR("letters"));
        json_begin_array(&a->w);
        rc = trace_letters(a->books, id, source, &a->w, &letters, e);
        json_end_array(&a->w);
    }
    trace_found_free(found, count);
    *n = count + letters;
    return rc;
}

static void take_question(struct asked *a)
{
    mf_iter it = { { 0 } };
    mf_str key;
    mf_val v;

    a->data_dir = text_of(a, a->question, "data_dir");
    a->plugins_dir = text_of(a, a->question, "plugins_dir");
    a->secrets = redact_new();
    while (json_next(json_get(a->question, MF_STR("secrets")), &it, &key, &v))
        redact_add(a->secrets, json_text(v, &a->arena));
}

int explain_answer(mf_str question, struct buf *to)
{
    struct asked a = { .books = NULL };
    struct err e = { "" };
    int status = 200;
    mf_str id;
    size_t n;

    if (json_check(question, JSON_DEPTH_MAX, NULL) != 0)
        return refuse(to, 400, "bad_request", "the question is not JSON");
    a.question = json_root(question);
    arena_init(&a.arena, QUESTION_ARENA);
    take_question(&a);
    id = json_text(json_get(a.question, MF_STR("message_id")), &a.arena);
    json_out_init(&a.w, to);
    json_begin_object(&a.w);
    if (id.len == 0)
        status = refuse(to, 400, "bad_request", "the messageId is missing");
    else if (!(a.books = books_open(a.data_dir, &e)))
        status = refuse(to, 500, "unreadable", e.text);
    else {
        jail_user(a.books->data, &a.uid, &a.gid);
        if (write_answer(&a, id, &n, &e) != 0)
            status = refuse(to, 500, "unreadable", e.text);
        else if (n == 0)
            status = refuse(to, 404, "unknown_event",
                            "neither the journal nor a dead letter has an "
                            "event of that messageId");
        else
            json_end_object(&a.w);
    }
    if (to->full)
        status = refuse(to, 500, "too_large", "the answer is too large");
    books_free(a.books);
    redact_free(a.secrets);
    arena_deinit(&a.arena);
    return status;
}

/* ---- the process ---- */

struct role {
    struct event_base *base;
    struct ipc *ipc;
};

static void on_message(void *arg, uint32_t type, mf_str text, int fd)
{
    struct role *r = arg;
    uint32_t status;
    struct buf b;

    if (fd >= 0)
        close(fd);
    if (type != MSG_EXPLAIN)
        return;
    buf_init(&b, EXPLAIN_BYTES);
    status = (uint32_t)explain_answer(text, &b);
    ipc_send(r->ipc, MSG_EXPLAINED, &status, sizeof status, -1);
    ipc_send(r->ipc, MSG_EXPLAINED, b.data, b.len, -1);
    ipc_flush(r->ipc);
    buf_deinit(&b);
    event_base_loopbreak(r->base);
}

static void on_close(void *arg)
{
    struct role *r = arg;

    event_base_loopbreak(r->base);
}

/* As the supervisor's user: state.db is its own. Plugins run in processes that
 * are not. */
int explain_main(pid_t parent)
{
    struct role r;
    struct err e;

    if (jail_child(geteuid(), getegid(), parent, &e) != 0)
        return 1;
    r.base = event_base_new();
    ASSERT(r.base);
    r.ipc = ipc_new(r.base, CHILD_CONTROL_FD, on_message, on_close, &r);
    event_base_dispatch(r.base);
    ipc_free(r.ipc);
    event_base_free(r.base);
    return 0;
}
