/* SPDX-License-Identifier: Apache-2.0
 *
 * letters.c - see letters.h. */
#include "supervisor/letters.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/text.h"
#include "base/when.h"

#include <stdlib.h>
#include <string.h>

#define FILTER_TEXT_MAX (64u << 10)
#define COPIES_MAX      (8u << 20) /* bytes of events sent along in a turn */

/* ---- what is meant ---- */

static int read_reasons(mf_str text, uint32_t *bits, struct err *e)
{
    while (text.len) {
        const char *comma = memchr(text.ptr, ',', text.len);
        mf_str one = { text.ptr,
                       comma ? (size_t)(comma - text.ptr) : text.len };
        uint32_t i = 0;

        while (i < DEAD_REASONS && !mf_eq(mf_cstr(dead_reason_text(i)), one))
            i++;
        if (i == DEAD_REASONS)
            return err_set(e, "reason: there is no `%.*s`; there are "
                              "rejected, expired, mapping, plugin, gone",
                           (int)one.len, one.ptr);
        *bits |= 1u << i;
        text.ptr += one.len + (comma != NULL);
        text.len -= one.len + (comma != NULL);
    }
    return 0;
}

static int read_source(struct supervisor *s, mf_str name, uint32_t *id,
                       struct err *e)
{
    for (struct sup_lane *l = s->lanes; l; l = l->next)
        if (mf_eq(mf_cstr(l->source_name), name)) {
            *id = l->source;
            return 0;
        }
    return err_set(e, "source: there is no connection of `%.*s`",
                   (int)name.len, name.ptr);
}

int letter_when_read(mf_str text, const char *key, int64_t *ms, struct err *e)
{
    return when_parse(text, clock_ms(), ms)
               ? 0
               : err_set(e, "%s: `%.*s` is not " WHEN_FORMS, key,
                         (int)text.len, text.ptr);
}

static int by_size(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return (x > y) - (x < y);
}

int letter_ids_read(mf_val v, int64_t **ids, size_t *count, struct err *e)
{
    size_t n = json_count(v);

    if (v.type != MF_ARRAY || n == 0 || n > LETTER_IDS_MAX)
        return err_set(e, "ids: an array of 1 to %d numbers was expected",
                       LETTER_IDS_MAX);
    free(*ids);
    *ids = xcalloc(n, sizeof **ids);
    *count = n;
    for (size_t i = 0; i < n; i++)
        if (!json_integer(json_at(v, i), &(*ids)[i]))
            return err_set(e, "ids: an array of numbers was expected");
    qsort(*ids, n, sizeof **ids, by_size);
    return 0;
}

bool letter_ids_have(const int64_t *ids, size_t n, int64_t id)
{
    return !ids || bsearch(&id, ids, n, sizeof *ids, by_size);
}

bool letter_page_option(void *page, mf_str key, mf_str value)
{
    struct letter_page *p = page;

    if (mf_eq(key, MF_STR("before")))
        return parse_i64(value, &p->before) && p->before >= 0;
    if (mf_eq(key, MF_STR("limit")))
        return parse_i64(value, &p->limit) && p->limit > 0;
    if (mf_eq(key, MF_STR("brief"))) {
        p->brief = !mf_eq(value, MF_STR("false"));
        return true;
    }
    return false;
}

static int read_status(mf_str text, struct letter_filter *f, struct err *e)
{
    int64_t n;

    if (!parse_i64(text, &n) || n < INT32_MIN || n > INT32_MAX)
        return err_set(e, "status: `%.*s` is not a number", (int)text.len,
                       text.ptr);
    f->by_status = true;
    f->status = (int32_t)n;
    return 0;
}

/* One member. 1: not one of these. */
static int read_member(struct supervisor *s, struct letter_want *w,
                       mf_str key, mf_val v, mf_str text, struct err *e)
{
    struct letter_filter *f = &w->f;
    uint64_t id;

    if (mf_eq(key, MF_STR("reason")))
        return read_reasons(text, &f->reasons, e);
    if (mf_eq(key, MF_STR("status")))
        return read_status(text, f, e);
    if (mf_eq(key, MF_STR("since")))
        return letter_when_read(text, "since", &f->since_ms, e);
    if (mf_eq(key, MF_STR("until")))
        return letter_when_read(text, "until", &f->until_ms, e);
    if (mf_eq(key, MF_STR("source")))
        return read_source(s, text, &f->source, e);
    if (mf_eq(key, MF_STR("ids")))
        return letter_ids_read(v, &w->ids, &w->id_count, e);
    if (mf_eq(key, MF_STR("id"))) {
        if (!parse_u64(text, &id) || id == 0 || id > INT64_MAX)
            return err_set(e, "id: `%.*s` is not a letter's number",
                           (int)text.len, text.ptr);
        f->id = (int64_t)id;
    } else if (mf_eq(key, MF_STR("action"))) {
        f->action = arena_copy(&w->texts, text);
    } else if (mf_eq(key, MF_STR("messageId"))) {
        f->message_id = arena_copy(&w->texts, text);
    } else if (mf_eq(key, MF_STR("event"))) {
        f->name = arena_copy(&w->texts, text);
    } else if (mf_eq(key, MF_STR("all"))) {
        w->all = json_is_true(v) || mf_eq(text, MF_STR("true"));
        return 0;
    } else {
        return 1;
    }
    return 0;
}

int letter_want_read(struct supervisor *s, mf_val o, struct letter_want *w,
                     bool (*other)(void *arg, mf_str key, mf_str value),
                     void *arg, struct err *e)
{
    mf_iter it = { { 0 } };
    mf_str key;
    mf_val v;

    while (json_next(o, &it, &key, &v)) {
        mf_str text = v.type == MF_NUMBER ? (mf_str){ v.raw, v.len }
                                          : json_text(v, &w->texts);
        int rc = read_member(s, w, key, v, text, e);

        if (rc < 0)
            return -1;
        if (rc == 0 && !mf_eq(key, MF_STR("all")))
            w->any = true;
        if (rc > 0 && !(other && other(arg, key, text)))
            return err_set(e, "%.*s: there is no such filter; there are "
                              "reason, status, action, since, until, "
                              "messageId, event, source, id, ids, all",
                           (int)key.len, key.ptr);
    }
    return 0;
}

void letter_want_deinit(struct letter_want *w)
{
    free(w->ids);
    arena_deinit(&w->texts);
}

bool letter_wanted(const struct letter_want *w, const struct dead_letter *d)
{
    return letter_ids_have(w->ids, w->id_count, d->id);
}

/* What state.db keeps of it: read again by letter_want_read(). */
static void write_want(const struct supervisor *s, const struct letter_want *w,
                       struct buf *to)
{
    const struct letter_filter *f = &w->f;
    struct json_out o;
    struct buf reasons;

    json_out_init(&o, to);
    json_begin_object(&o);
    buf_init(&reasons, 256);
    for (unsigned i = 0; i < DEAD_REASONS; i++)
        if (f->reasons >> i & 1)
            buf_printf(&reasons, "%s%s", reasons.len ? "," : "",
                       dead_reason_text(i));
    if (reasons.len)
        json_kstr(&o, "reason", buf_view(&reasons));
    buf_deinit(&reasons);
    if (f->by_status)
        json_kint(&o, "status", f->status);
    if (f->since_ms)
        json_kint(&o, "since", f->since_ms);
    if (f->until_ms)
        json_kint(&o, "until", f->until_ms);
    if (f->id)
        json_kint(&o, "id", f->id);
    if (f->action.len)
        json_kstr(&o, "action", f->action);
    if (f->message_id.len)
        json_kstr(&o, "messageId", f->message_id);
    if (f->name.len)
        json_kstr(&o, "event", f->name);
    for (struct sup_lane *l = s->lanes; l && f->source; l = l->next)
        if (l->source == f->source) {
            json_kstr(&o, "source", mf_cstr(l->source_name));
            break;
        }
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

bool letters_known(const struct supervisor *s, mf_str destination)
{
    for (const struct sup_destination *d = s->destinations; d; d = d->next)
        if (mf_eq(mf_cstr(d->name), destination))
            return true;
    for (const struct sup_lane *l = s->lanes; l; l = l->next)
        if (mf_eq(mf_cstr(l->destination_name), destination))
            return true;
    return false;
}

static void release(struct sup_job *k)
{
    letter_want_deinit(&((struct sup_letter_job *)k)->want);
    free(k);
}

static struct sup_letter_job *job_add(struct supervisor *s,
                                      const struct letter_job *j,
                                      const struct letter_want *w)
{
    struct sup_letter_job *k = xcalloc(1, sizeof *k);

    k->want = *w;
    jobs_add(&s->letter_jobs, &k->job, j);
    return k;
}

static void free_detached(struct supervisor *s, const char *destination)
{
    for (struct sup_lane **at = &s->lanes; *at;) {
        struct sup_lane *l = *at;
        struct err e;

        if (l->destination || l->holder ||
            strcmp(l->destination_name, destination) != 0) {
            at = &l->next;
            continue;
        }
        if (state_lane_forget(s->state, l->id, &e) != 0) {
            supervisor_log_state_error(s, &e);
            return;
        }
        log_info("the detached connection %s -> %s is forgotten, with its "
                 "events",
                 l->source_name, destination);
        *at = l->next;
        lane_free_one(l);
    }
}

static void end_job(struct supervisor *s, struct sup_letter_job *k)
{
    if (k->job.j.verb == LETTER_DROP && k->want.all && !k->want.any)
        free_detached(s, k->job.name);
    log_info("%s: %lld dead letters %s", k->job.name,
             (long long)k->job.j.count,
             k->job.j.verb == LETTER_DROP ? "dropped" : "are tried again");
    jobs_end(s, &s->letter_jobs, &k->job);
}

/* ---- a turn ---- */

struct slice {
    struct supervisor *s;
    struct sup_letter_job *k;
    struct {
        int64_t id;
        struct msg_retry_key key;
        struct journal_pos at;
    } letters[DROP_AT_ONCE];
    unsigned count;
};

static bool collect(void *arg, const struct dead_letter *d)
{
    struct slice *c = arg;

    if (letter_wanted(&c->k->want, d)) {
        c->letters[c->count].id = d->id;
        c->letters[c->count].key = d->m.key;
        c->letters[c->count].at = d->m.at;
        c->count++;
    }
    return c->count < COUNT_OF(c->letters);
}

/* *next: where the job goes on, 0: at its end. */
static int look(struct slice *c, unsigned limit, int64_t *next, struct err *e)
{
    const struct letter_want *w = &c->k->want;
    struct letter_query q = { .destination = c->k->job.name,
                              .filter = w->f,
                              .after = c->k->job.j.cursor,
                              .last = c->k->job.j.last,
                              .limit = limit,
                              .scan = LETTERS_SCAN };

    if (w->ids) { /* no need to look at what lies around them */
        if (q.after < w->ids[0] - 1)
            q.after = w->ids[0] - 1;
        if (q.last > w->ids[w->id_count - 1])
            q.last = w->ids[w->id_count - 1];
    }
    return state_letters(c->s->state, &q, collect, c, next, e);
}

static int drop_turn(struct slice *c, struct err *e)
{
    struct sup_letter_job *k = c->k;
    int64_t next;

    if (look(c, DROP_AT_ONCE, &next, e) != 0)
        return -1;
    for (unsigned i = 0; i < c->count; i++)
        if (state_letter_drop(c->s->state, c->letters[i].id, DROPPED_BY_HAND,
                              e) != 0)
            return -1;
    k->job.j.count += c->count;
    k->job.j.cursor = next;
    if (next)
        jobs_put(c->s, &k->job);
    else
        end_job(c->s, k);
    return 0;
}

struct copy {
    struct buf *to;
    size_t before;
};

static bool add_copy(void *arg, const struct dead_letter *d)
{
    struct copy *c = arg;

    buf_str(c->to, d->event);
    return false;
}

/* Bytes of the event, where the journal does not have it any more. */
static void add_event(struct slice *c, unsigned i, struct buf *to,
                      struct err *e)
{
    struct letter_query q = { .destination = c->k->job.name,
                              .filter.id = c->letters[i].id,
                              .limit = 1, .scan = 1, .texts = true };
    struct copy copy = { to, to->len };
    int64_t next;

    if (c->letters[i].key.seq < atomic_load(&c->s->head->first) &&
        state_letters(c->s->state, &q, add_copy, &copy, &next, e) != 0)
        supervisor_log_state_error(c->s, e);
}

/* How many letters of the same event, up to this one, are in the slice. */
static unsigned siblings(const struct slice *c, unsigned i)
{
    unsigned n = 0;

    for (unsigned k = 0; k <= i; k++)
        n += c->letters[k].key.seq == c->letters[i].key.seq &&
             c->letters[k].key.lane == c->letters[i].key.lane;
    return n;
}

static size_t send_one(struct slice *c, unsigned i, struct sup_lane *l)
{
    unsigned all = state_letters_of(c->s->state, l->id, c->letters[i].key.seq);
    unsigned taken = siblings(c, i);
    struct msg_revive m = { .key = c->letters[i].key, .at = c->letters[i].at,
                            .letter = c->letters[i].id,
                            .since_ms = clock_ms(),
                            .others = all > taken ? all - taken : 0 };
    size_t len;
    struct buf b;
    struct err e;

    buf_init(&b, sizeof m + (1u << 20));
    buf_add(&b, &m, sizeof m);
    add_event(c, i, &b, &e);
    m.event_len = (uint32_t)(b.len - sizeof m);
    memcpy(b.data, &m, sizeof m);
    child_send(l->holder->child, MSG_REVIVE, b.data, b.len, -1);
    len = b.len;
    buf_deinit(&b);
    return len;
}

/* Sends the slice out. False: it must wait for room or for a worker at the
 * letter *done. */
static bool send_slice(struct slice *c, unsigned *done)
{
    size_t bytes = 0;

    for (unsigned i = 0; i < c->count; i++) {
        struct sup_lane *l = lane_find(c->s, c->letters[i].key.lane);

        *done = i;
        if (!l || !l->destination) {
            c->k->skipping++;
            continue;
        }
        if (!l->holder) {
            l->wanted = true;
            lanes_offer(c->s);
            return false;
        }
        if (lane_aside(l) + l->reviving >= REVIVE_ROOM || bytes > COPIES_MAX)
            return false;
        bytes += send_one(c, i, l);
        l->reviving++;
        c->k->job.out++;
    }
    *done = c->count;
    return true;
}

/* All that was sent is told. What the job goes on with is what it has not
 * sent; or, where a worker ended in between, the same stretch again, in which
 * those that were told are letters no more. */
static void settle_turn(struct supervisor *s, struct sup_letter_job *k)
{
    if (k->job.out)
        return;
    if (k->job.again) {
        k->job.again = false;
        k->skipping = 0;
        return;
    }
    k->job.j.skipped += k->skipping;
    k->skipping = 0;
    if (k->job.whole) {
        end_job(s, k);
    } else {
        k->job.j.cursor = k->job.ahead;
        jobs_put(s, &k->job);
    }
}

/* Milliseconds until the next turn, -1: none before something happens. */
static int64_t revive_turn(struct slice *c, struct err *e)
{
    struct sup_letter_job *k = c->k;
    unsigned done = 0;
    int64_t next;
    bool all;

    if (k->job.out)
        return -1;
    k->skipping = 0;
    if (look(c, REVIVE_AT_ONCE, &next, e) != 0) {
        supervisor_log_state_error(c->s, e);
        return JOBS_WAIT_MS;
    }
    all = send_slice(c, &done);
    k->job.whole = all && next == 0;
    k->job.ahead = all        ? next
               : done > 0 ? c->letters[done - 1].id
                          : k->job.j.cursor;
    if (k->job.out)
        return -1;
    if (!all && done == 0)
        return JOBS_WAIT_MS;
    settle_turn(c->s, k);
    return k->job.j.ended_ms ? -1 : JOBS_TURN_MS;
}

/* Of the replays of a destination one goes on at a time: no letter is with a
 * worker twice. */
static bool is_first(const struct supervisor *s,
                     const struct sup_letter_job *k)
{
    const struct sup_job *o;

    for (o = s->letter_jobs.first; o != &k->job; o = o->next)
        if (!o->j.ended_ms && o->j.verb == LETTER_REPLAY &&
            strcmp(o->name, k->job.name) == 0)
            return false;
    return true;
}

static int64_t take_turn(struct supervisor *s, struct sup_letter_job *k)
{
    struct slice *c;
    int64_t wait = -1;
    struct err e;

    if (k->job.j.ended_ms ||
        (k->job.j.verb == LETTER_REPLAY && !is_first(s, k)))
        return -1;
    c = xcalloc(1, sizeof *c);
    c->s = s;
    c->k = k;
    if (k->job.j.verb == LETTER_REPLAY) {
        wait = revive_turn(c, &e);
    } else if (drop_turn(c, &e) != 0) {
        supervisor_log_state_error(s, &e);
        wait = JOBS_WAIT_MS;
    } else if (!k->job.j.ended_ms) {
        wait = JOBS_TURN_MS;
    }
    free(c);
    return wait;
}

static bool trim(struct supervisor *s)
{
    bool more = false;
    struct err e;

    if (state_letters_trim(s->state, LETTERS_MAX, (int64_t)LETTER_BYTES_MAX,
                           clock_ms() - LETTER_AGE_MS, DROP_AT_ONCE, &more,
                           &e) != 0)
        supervisor_log_state_error(s, &e);
    if (more)
        supervisor_state_changed(s);
    return more;
}

static int64_t turn(struct supervisor *s)
{
    int64_t wait = trim(s) ? JOBS_TURN_MS : -1;

    if (s->reloads == 0) /* no connection is attached yet */
        return JOBS_WAIT_MS;
    for (struct sup_job *k = s->letter_jobs.first, *next; k; k = next) {
        int64_t ms;

        next = k->next;
        ms = take_turn(s, (struct sup_letter_job *)k);
        if (ms >= 0 && (wait < 0 || ms < wait))
            wait = ms;
    }
    return wait;
}

void letters_kick(struct supervisor *s)
{
    jobs_kick(s, &s->letter_jobs);
}

/* ---- from workers ---- */

/* The job that has letters of the lane with its worker, or NULL. */
static struct sup_letter_job *job_of(struct supervisor *s,
                                     const struct sup_lane *l)
{
    struct sup_job *k = s->letter_jobs.first;

    while (k && !(k->out && strcmp(k->name, l->destination_name) == 0))
        k = k->next;
    return (struct sup_letter_job *)k;
}

int letters_revived(struct supervisor *s, struct sup_lane *l, mf_str text,
                    struct err *e)
{
    struct sup_letter_job *k = job_of(s, l);
    struct msg_revived m;
    int rc;

    memcpy(&m, text.ptr, sizeof m);
    rc = state_letter_revive(s->state, &m, e);
    if (k && l->reviving) {
        l->reviving--;
        k->job.out--;
        k->job.j.count++;
        settle_turn(s, k);
        letters_kick(s);
    }
    return rc;
}

void letters_release(struct supervisor *s, struct sup_lane *l)
{
    struct sup_letter_job *k = job_of(s, l);

    if (!k || !l->reviving)
        return;
    k->job.out -= l->reviving;
    l->reviving = 0;
    k->job.again = true;
    settle_turn(s, k);
    letters_kick(s);
}

/* ---- begin and end ---- */

struct sup_letter_job *letters_begin(struct supervisor *s, mf_str destination,
                                     enum letter_verb verb,
                                     struct letter_want *w, struct err *e)
{
    struct letter_job j = { .verb = verb,
                            .last = state_letter_last(s->state),
                            .destination = destination };
    struct sup_letter_job *k;
    struct buf b;
    int rc;

    buf_init(&b, FILTER_TEXT_MAX);
    write_want(s, w, &b);
    j.filter = buf_view(&b);
    rc = jobs_begin(s, &s->letter_jobs, &j, "dead letters", e);
    buf_deinit(&b);
    if (rc != 0)
        return NULL;
    k = job_add(s, &j, w);
    supervisor_state_changed(s);
    if (take_turn(s, k) >= 0)
        letters_kick(s);
    return k;
}

static void load_job(void *arg, const struct letter_job *j)
{
    struct supervisor *s = arg;
    struct letter_want w = { .ids = NULL };
    struct err e;

    if (j->verb == REFUSED_REPLAY || j->verb == REFUSED_DROP) {
        refused_load(s, j);
        return;
    }
    arena_init(&w.texts, FILTER_TEXT_MAX);
    if (json_check(j->filter, JSON_DEPTH_MAX, NULL) != 0 ||
        letter_want_read(s, json_root(j->filter), &w, NULL, NULL, &e) != 0) {
        log_error("the job %lld on dead letters cannot be read and is left "
                  "out",
                  (long long)j->id);
        letter_want_deinit(&w);
        return;
    }
    job_add(s, j, &w);
}

int letters_load(struct supervisor *s, struct err *e)
{
    s->letter_jobs.turn = turn;
    s->letter_jobs.release = release;
    refused_prepare(s);
    if (state_letter_jobs(s->state, load_job, s, e) != 0)
        return -1;
    letters_kick(s);
    return 0;
}

void letters_free(struct supervisor *s)
{
    jobs_free(&s->letter_jobs);
}
