/* SPDX-License-Identifier: Apache-2.0
 *
 * ask_replays.c - questions about replays: {"verb", "name", "id"?, "body"} */
#include "supervisor/replays.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/text.h"
#include "base/when.h"

#include <string.h>

static struct sup_destination *find(struct supervisor *s, mf_str name)
{
    for (struct sup_destination *d = s->destinations; d; d = d->next)
        if (mf_eq(mf_cstr(d->name), name))
            return d;
    return NULL;
}

/* ---- what is asked for ---- */

static int read_where(mf_str text, struct err *e)
{
    struct err why;
    size_t at = 0;
    struct fql *q = fql_compile(text, FQL_FILTER, &why, &at);

    if (!q)
        return err_set(e, "where: byte %zu: %s", at + 1, why.text);
    fql_free(q);
    return 0;
}

static int read_rate(mf_val v, mf_str text, double *rate, struct err *e)
{
    if (v.type == MF_NUMBER)
        *rate = json_number(v, 0);
    else if (!parse_rate(text, rate))
        *rate = -1;
    return *rate > 0 ? 0
                     : err_set(e, "rate: `%.*s` is not a rate such as 500/s",
                               (int)text.len, text.ptr);
}

static int read_time(mf_str text, const char *key, int64_t *ms, struct err *e)
{
    return when_parse(text, clock_ms(), ms)
               ? 0
               : err_set(e, "%s: `%.*s` is not " WHEN_FORMS, key,
                         (int)text.len, text.ptr);
}

static int read_request(mf_val body, struct replay_request *q, struct arena *a,
                        struct err *e)
{
    mf_iter it = { { 0 } };
    mf_str key;
    mf_val v;
    int rc = 0;

    q->from_ms = -1;
    while (rc == 0 && json_next(body, &it, &key, &v)) {
        mf_str text = v.type == MF_NUMBER ? (mf_str){ v.raw, v.len }
                                          : json_text(v, a);

        if (mf_eq(key, MF_STR("from"))) {
            rc = read_time(text, "from", &q->from_ms, e);
        } else if (mf_eq(key, MF_STR("until"))) {
            rc = read_time(text, "until", &q->until_ms, e);
        } else if (mf_eq(key, MF_STR("where"))) {
            q->where = text;
            rc = text.len ? read_where(text, e) : 0;
        } else if (mf_eq(key, MF_STR("rate"))) {
            rc = read_rate(v, text, &q->rate, e);
        } else if (mf_eq(key, MF_STR("source"))) {
            q->source = text;
        } else {
            rc = err_set(e, "%.*s: a replay has no such member; there are "
                            "from, until, where, rate, source",
                         (int)key.len, key.ptr);
        }
    }
    if (rc == 0 && q->from_ms < 0)
        rc = err_set(e, "from is missing: since when is it to be sent again?");
    return rc;
}

static void write_retained(struct supervisor *s, struct json_out *w)
{
    struct retained kept;
    char text[TIME_TEXT];
    struct err e;

    if (replays_retained(s, &kept, &e) != 0 || !kept.first)
        return;
    time_iso(kept.from_ms, text);
    json_kstr(w, "retained_from", mf_cstr(text));
}

static void answer_begin(struct supervisor *s, struct sup_destination *d,
                         struct json_out *w, mf_val q, struct arena *a)
{
    struct replay_request request = { .until_ms = 0 };
    struct sup_replay *r = NULL;
    struct err e;

    if (read_request(json_get(q, MF_STR("body")), &request, a, &e) != 0) {
        status_refuse(w, 400, "bad_request", e.text);
        return;
    }
    r = replay_begin(s, d, &request, &e);
    if (!r) {
        status_refuse(w, 400, "no_replay", e.text);
        return;
    }
    if (supervisor_commit(s, &e) != 0) {
        status_refuse(w, 503, "state_failed", e.text);
        return;
    }
    json_kint(w, "status", 200);
    json_key(w, MF_STR("body"));
    json_begin_object(w);
    write_retained(s, w);
    json_key(w, MF_STR("replay"));
    replay_write(s, r, w);
    json_end_object(w);
}

static void answer_list(struct supervisor *s, const struct sup_destination *d,
                        struct json_out *w)
{
    json_kint(w, "status", 200);
    json_key(w, MF_STR("body"));
    json_begin_object(w);
    write_retained(s, w);
    json_key(w, MF_STR("replays"));
    replays_write(s, d->name, w);
    json_end_object(w);
}

static void answer_stop(struct supervisor *s, const struct sup_destination *d,
                        struct json_out *w, mf_str verb, mf_val q)
{
    enum replay_stop stop = mf_eq(verb, MF_STR("replay_cancel"))
                                ? REPLAY_CANCELLED
                            : mf_eq(verb, MF_STR("replay_pause"))
                                ? REPLAY_PAUSED
                                : REPLAY_RUNS;
    struct sup_replay *r;
    int64_t id = 0;
    struct err e;

    json_integer(json_get(q, MF_STR("id")), &id);
    r = replay_find(s, mf_cstr(d->name), (uint64_t)id);
    if (!r) {
        status_refuse(w, 404, "unknown_replay",
                      "no replay of that number is remembered");
    } else if (!replay_stop(s, r, stop)) {
        status_refuse(w, 409, "replay_ended", "that replay has ended");
    } else if (supervisor_commit(s, &e) != 0) {
        status_refuse(w, 503, "state_failed", e.text);
    } else {
        json_kint(w, "status", 200);
        json_key(w, MF_STR("body"));
        replay_write(s, r, w);
    }
}

bool ask_replays(struct supervisor *s, mf_str verb, mf_val q,
                 struct json_out *w, struct arena *a)
{
    mf_str name = json_text(json_get(q, MF_STR("name")), a);
    struct sup_destination *d;

    if (!str_starts(verb, MF_STR("replay")))
        return false;
    d = find(s, name);
    if (!d)
        status_refuse(w, 404, "unknown_destination",
                      "there is no destination of that name");
    else if (mf_eq(verb, MF_STR("replay")))
        answer_begin(s, d, w, q, a);
    else if (mf_eq(verb, MF_STR("replays")))
        answer_list(s, d, w);
    else
        answer_stop(s, d, w, verb, q);
    return true;
}
