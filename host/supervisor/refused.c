/* SPDX-License-Identifier: Apache-2.0
 *
 * refused.c - see refused.h. */
#include "supervisor/refused.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/text.h"
#include "supervisor/letters.h"

#include <stdlib.h>
#include <string.h>

#define FILTER_TEXT_MAX (64u << 10)

/* ---- what is meant ---- */

/* One member. 1: not one of these. */
static int read_member(struct refused_want *w, mf_str key, mf_val v,
                       mf_str text, struct err *e)
{
    struct refused_filter *f = &w->f;

    if (mf_eq(key, MF_STR("code"))) {
        f->codes = arena_copy(&w->texts, text);
    } else if (mf_eq(key, MF_STR("since"))) {
        return letter_when_read(text, "since", &f->since_ms, e);
    } else if (mf_eq(key, MF_STR("until"))) {
        return letter_when_read(text, "until", &f->until_ms, e);
    } else if (mf_eq(key, MF_STR("messageId"))) {
        f->message_id = arena_copy(&w->texts, text);
    } else if (mf_eq(key, MF_STR("ids"))) {
        return letter_ids_read(v, &w->ids, &w->id_count, e);
    } else if (mf_eq(key, MF_STR("id"))) {
        if (!parse_i64(text, &f->id) || f->id <= 0)
            return err_set(e, "id: `%.*s` is not a letter's number",
                           (int)text.len, text.ptr);
    } else if (mf_eq(key, MF_STR("all"))) {
        w->all = json_is_true(v) || mf_eq(text, MF_STR("true"));
    } else {
        return 1;
    }
    return 0;
}

int refused_want_read(mf_val o, struct refused_want *w,
                      bool (*other)(void *arg, mf_str key, mf_str value),
                      void *arg, struct err *e)
{
    mf_iter it = { { 0 } };
    mf_str key;
    mf_val v;

    while (json_next(o, &it, &key, &v)) {
        mf_str text = v.type == MF_NUMBER ? (mf_str){ v.raw, v.len }
                                          : json_text(v, &w->texts);
        int rc = read_member(w, key, v, text, e);

        if (rc < 0)
            return -1;
        if (rc == 0 && !mf_eq(key, MF_STR("all")))
            w->any = true;
        if (rc > 0 && !(other && other(arg, key, text)))
            return err_set(e, "%.*s: there is no such filter, or not with "
                              "this value; there are code, since, until, "
                              "messageId, id, ids, all",
                           (int)key.len, key.ptr);
    }
    return 0;
}

void refused_want_deinit(struct refused_want *w)
{
    free(w->ids);
    arena_deinit(&w->texts);
}

bool refused_wanted(const struct refused_want *w,
                    const struct refused_letter *l)
{
    return letter_ids_have(w->ids, w->id_count, l->id);
}

/* What state.db keeps of it: read again by refused_want_read(). */
static void write_want(const struct refused_want *w, struct buf *to)
{
    const struct refused_filter *f = &w->f;
    struct json_out o;

    json_out_init(&o, to);
    json_begin_object(&o);
    if (f->codes.len)
        json_kstr(&o, "code", f->codes);
    if (f->since_ms)
        json_kint(&o, "since", f->since_ms);
    if (f->until_ms)
        json_kint(&o, "until", f->until_ms);
    if (f->message_id.len)
        json_kstr(&o, "messageId", f->message_id);
    if (f->id)
        json_kint(&o, "id", f->id);
    if (w->ids) {
        json_key(&o, MF_STR("ids"));
        json_begin_array(&o);
        for (size_t i = 0; i < w->id_count; i++)
            json_int(&o, w->ids[i]);
        json_end_array(&o);
    }
    if (w->all)
        json_kbool(&o, "all", true);
    json_end_object(&o);
}

/* ---- jobs ---- */

static void release(struct sup_job *k)
{
    refused_want_deinit(&((struct sup_refused_job *)k)->want);
    free(k);
}

static struct sup_refused_job *job_add(struct supervisor *s,
                                       const struct letter_job *j,
                                       uint32_t number,
                                       const struct refused_want *w)
{
    struct sup_refused_job *k = xcalloc(1, sizeof *k);

    k->want = *w;
    k->number = number;
    jobs_add(&s->refused_jobs, &k->job, j);
    return k;
}

static void end_job(struct supervisor *s, struct sup_refused_job *k)
{
    log_info("%s: of the events that were refused %lld %s", k->job.name,
             (long long)k->job.j.count,
             k->job.j.verb == REFUSED_DROP ? "are dropped" : "were taken now");
    jobs_end(s, &s->refused_jobs, &k->job);
}

/* ---- a turn ---- */

struct slice {
    struct supervisor *s;
    struct sup_refused_job *k;
    int64_t ids[AGAIN_AT_ONCE];
    unsigned count;
    size_t bytes;
    struct buf out; /* a message being put together */
};

/* To ingest, as it is read. */
static void send_one(struct slice *c, const struct refused_letter *l)
{
    struct msg_ingest_again m = { .job = c->k->job.j.id, .letter = l->id,
                                  .source = c->k->number,
                                  .envelope_len = (uint32_t)l->envelope.len,
                                  .event_len = (uint32_t)l->event.len };

    buf_clear(&c->out);
    buf_add(&c->out, &m, sizeof m);
    buf_str(&c->out, l->envelope);
    buf_str(&c->out, l->event);
    child_send(c->s->ingest, MSG_INGEST_AGAIN, c->out.data, c->out.len, -1);
    c->bytes += c->out.len;
    c->k->job.out++;
}

static bool collect(void *arg, const struct refused_letter *l)
{
    struct slice *c = arg;

    if (!refused_wanted(&c->k->want, l))
        return true;
    c->ids[c->count++] = l->id;
    if (c->k->job.j.verb == REFUSED_REPLAY)
        send_one(c, l);
    return c->count < COUNT_OF(c->ids) && c->bytes < AGAIN_BYTES;
}

static int look(struct slice *c, int64_t *next, struct err *e)
{
    const struct refused_want *w = &c->k->want;
    struct refused_query q = { .source = c->k->number,
                               .filter = w->f,
                               .after = c->k->job.j.cursor,
                               .last = c->k->job.j.last,
                               .texts = c->k->job.j.verb == REFUSED_REPLAY,
                               .limit = LETTERS_PAGE,
                               .scan = LETTERS_SCAN };

    if (w->ids) { /* no need to look at what lies around them */
        if (q.after < w->ids[0] - 1)
            q.after = w->ids[0] - 1;
        if (q.last > w->ids[w->id_count - 1])
            q.last = w->ids[w->id_count - 1];
    }
    return state_refused(c->s->state, &q, collect, c, next, e);
}

static int64_t drop_turn(struct slice *c)
{
    struct sup_refused_job *k = c->k;
    int64_t next;
    struct err e;

    if (look(c, &next, &e) != 0)
        goto failed;
    for (unsigned i = 0; i < c->count; i++)
        if (state_refused_drop(c->s->state, c->ids[i], &e) != 0)
            goto failed;
    k->job.j.count += c->count;
    k->job.j.cursor = next;
    if (next)
        jobs_put(c->s, &k->job);
    else
        end_job(c->s, k);
    return JOBS_TURN_MS;
failed:
    supervisor_log_state_error(c->s, &e);
    return JOBS_WAIT_MS;
}

/* All that ingest was given is told: the job goes on behind that, or with the
 * first for which there was no room, or, where ingest ended in between, with
 * the same stretch once more: what was taken of it is a letter no more.
 * Returns how long the next turn may wait. The job may be gone. */
static int64_t settle(struct supervisor *s, struct sup_refused_job *k)
{
    bool whole = k->job.whole && !k->busy && !k->job.again;
    int64_t wait = k->busy || k->job.again ? JOBS_WAIT_MS : JOBS_TURN_MS;

    if (k->busy)
        k->job.j.cursor = k->busy - 1;
    else if (!k->job.again)
        k->job.j.cursor = k->job.ahead;
    if (whole)
        end_job(s, k);
    else
        jobs_put(s, &k->job);
    return wait;
}

/* Milliseconds until the next turn, -1: none before something happens. */
static int64_t replay_turn(struct slice *c)
{
    struct sup_refused_job *k = c->k;
    int64_t next;
    struct err e;

    if (k->job.out)
        return -1;
    if (!c->s->ingest || !c->s->ingest_ready)
        return JOBS_WAIT_MS;
    k->busy = 0;
    k->job.again = false;
    if (look(c, &next, &e) != 0) {
        supervisor_log_state_error(c->s, &e);
        next = k->job.j.cursor;
        k->job.again = true;
    }
    k->job.ahead = next;
    k->job.whole = next == 0;
    return k->job.out ? -1 : settle(c->s, k);
}

/* Of the jobs on a source one goes on at a time, and one that has ingest try
 * letters: what waits for ingest is one slice. */
static bool is_first(const struct supervisor *s,
                     const struct sup_refused_job *k)
{
    bool replays = k->job.j.verb == REFUSED_REPLAY;
    const struct sup_job *o;

    for (o = s->refused_jobs.first; o != &k->job; o = o->next)
        if (!o->j.ended_ms && (strcmp(o->name, k->job.name) == 0 ||
                               (replays && o->j.verb == REFUSED_REPLAY)))
            return false;
    return true;
}

static int64_t take_turn(struct supervisor *s, struct sup_refused_job *k)
{
    struct slice *c;
    int64_t wait;

    if (k->job.j.ended_ms || !is_first(s, k))
        return -1;
    c = xcalloc(1, sizeof *c);
    c->s = s;
    c->k = k;
    buf_init(&c->out, IPC_MESSAGE_MAX);
    wait = k->job.j.verb == REFUSED_DROP ? drop_turn(c) : replay_turn(c);
    buf_deinit(&c->out);
    free(c);
    return wait;
}

static bool trim(struct supervisor *s)
{
    bool more = false;
    struct err e;

    if (state_refused_trim(s->state, INGEST_DEAD_MAX, INGEST_DEAD_BYTES_MAX,
                           clock_ms() - INGEST_DEAD_AGE_MS, REFUSED_TRIM,
                           &more, &e) != 0)
        supervisor_log_state_error(s, &e);
    if (more)
        supervisor_state_changed(s);
    return more;
}

static int64_t turn(struct supervisor *s)
{
    int64_t wait = trim(s) ? JOBS_TURN_MS : -1;

    for (struct sup_job *k = s->refused_jobs.first, *next; k; k = next) {
        int64_t ms;

        next = k->next;
        ms = take_turn(s, (struct sup_refused_job *)k);
        if (ms >= 0 && (wait < 0 || ms < wait))
            wait = ms;
    }
    return wait;
}

void refused_kick(struct supervisor *s)
{
    jobs_kick(s, &s->refused_jobs);
}

/* ---- from ingest ---- */

static void on_dead(struct supervisor *s, mf_str text)
{
    struct msg_ingest_dead m;
    struct refused_letter l;
    const char *p = text.ptr + sizeof m;
    struct err e;

    if (text.len < sizeof m)
        return;
    memcpy(&m, text.ptr, sizeof m);
    if (text.len != sizeof m + (size_t)m.code_len + m.message_id_len +
                        m.envelope_len + m.event_len)
        return;
    l.when_ms = m.when_ms;
    l.code = (mf_str){ p, m.code_len };
    l.message_id = (mf_str){ l.code.ptr + m.code_len, m.message_id_len };
    l.envelope = (mf_str){ l.message_id.ptr + m.message_id_len,
                           m.envelope_len };
    l.event = (mf_str){ l.envelope.ptr + m.envelope_len, m.event_len };
    if (state_refused_add(s->state, m.source, &l, &e) != 0)
        supervisor_log_state_error(s, &e);
    supervisor_state_changed(s);
}

static int note(struct supervisor *s, struct sup_refused_job *k,
                const struct msg_ingest_tried *m, mf_str code, struct err *e)
{
    switch (m->outcome) {
    case TRIED_TAKEN:
        k->job.j.count++;
        return state_refused_taken(s->state, m->letter, e);
    case TRIED_REFUSED:
        k->job.j.skipped++;
        return state_refused_again(s->state, m->letter, code, e);
    case TRIED_NO_SOURCE:
        k->job.j.skipped++;
        return 0;
    default:
        if (!k->busy || m->letter < k->busy)
            k->busy = m->letter;
        return 0;
    }
}

static void on_tried(struct supervisor *s, mf_str text)
{
    struct sup_refused_job *k;
    struct msg_ingest_tried m;
    struct err e;

    if (text.len < sizeof m)
        return;
    memcpy(&m, text.ptr, sizeof m);
    k = (struct sup_refused_job *)jobs_find(&s->refused_jobs, m.job);
    if (!k || !k->job.out)
        return;
    k->job.out--;
    if (note(s, k, &m, (mf_str){ text.ptr + sizeof m, text.len - sizeof m },
             &e) != 0)
        supervisor_log_state_error(s, &e);
    supervisor_state_changed(s);
    if (k->job.out == 0)
        jobs_turn_in(s, &s->refused_jobs, settle(s, k));
}

void refused_message(struct supervisor *s, uint32_t type, mf_str text)
{
    if (type == MSG_INGEST_DEAD)
        on_dead(s, text);
    else
        on_tried(s, text);
}

void refused_release(struct supervisor *s)
{
    for (struct sup_job *k = s->refused_jobs.first; k; k = k->next)
        if (k->out) {
            k->out = 0;
            k->again = true;
            settle(s, (struct sup_refused_job *)k);
        }
    if (s->refused_jobs.first)
        jobs_turn_in(s, &s->refused_jobs, JOBS_WAIT_MS);
}

/* ---- begin and end ---- */

struct sup_refused_job *refused_begin(struct supervisor *s,
                                      const struct conf_source *source,
                                      enum letter_verb verb,
                                      struct refused_want *w, struct err *e)
{
    struct letter_job j = { .verb = verb,
                            .last = state_refused_last(s->state),
                            .destination = mf_cstr(source->name) };
    struct sup_refused_job *k;
    struct buf b;
    int rc;

    buf_init(&b, FILTER_TEXT_MAX);
    write_want(w, &b);
    j.filter = buf_view(&b);
    rc = jobs_begin(s, &s->refused_jobs, &j, "refused events", e);
    buf_deinit(&b);
    if (rc != 0)
        return NULL;
    k = job_add(s, &j, state_source(s->state, source->name, e), w);
    supervisor_state_changed(s);
    refused_kick(s);
    return k;
}

void refused_prepare(struct supervisor *s)
{
    s->refused_jobs.turn = turn;
    s->refused_jobs.release = release;
}

void refused_load(struct supervisor *s, const struct letter_job *j)
{
    struct refused_want w = { .ids = NULL };
    struct err e;
    char *name;

    arena_init(&w.texts, FILTER_TEXT_MAX);
    if (json_check(j->filter, JSON_DEPTH_MAX, NULL) != 0 ||
        refused_want_read(json_root(j->filter), &w, NULL, NULL, &e) != 0) {
        log_error("the job %lld on refused events cannot be read and is left "
                  "out",
                  (long long)j->id);
        refused_want_deinit(&w);
        return;
    }
    name = xstrndup(j->destination.ptr, j->destination.len);
    job_add(s, j, state_source(s->state, name, &e), &w);
    free(name);
}

static void write_sums(void *arg, mf_str source,
                       const struct refused_sums *sums)
{
    struct json_out *w = arg;

    json_begin_object(w);
    json_kstr(w, "name", source);
    json_kint(w, "letters", sums->letters);
    json_kint(w, "bytes", sums->bytes);
    json_kint(w, "dropped", sums->dropped);
    json_end_object(w);
}

void refused_write(struct supervisor *s, struct json_out *w)
{
    struct err e;

    json_key(w, MF_STR("source_letters"));
    json_begin_array(w);
    if (state_refused_all(s->state, write_sums, w, &e) != 0)
        supervisor_log_state_error(s, &e);
    json_end_array(w);
}

void refused_free(struct supervisor *s)
{
    jobs_free(&s->refused_jobs);
}
