/* SPDX-License-Identifier: Apache-2.0
 *
 * ask_letters.c - questions about dead letters of destinations.
 * {"verb", "name", "id"?, "params", "body"} */
#include "supervisor/letters.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/text.h"

#include <string.h>

#define PAGE       100        /* letters, unless asked otherwise */
#define PAGE_BYTES (8u << 20) /* of an answer, about */
#define WANT_TEXTS (64u << 10)

static void bad(struct json_out *w, const struct err *e)
{
    status_refuse(w, 400, "bad_request", e->text);
}

/* ---- a page of letters ---- */

struct page {
    struct supervisor *s;
    struct json_out *w;
    const struct letter_want *want;
    size_t began; /* bytes of the answer before the letters */
    struct letter_page which;
};

static void write_letter(struct json_out *w, struct supervisor *s,
                         const struct dead_letter *d, bool brief)
{
    const struct sup_lane *l = lane_find(s, d->m.key.lane);

    json_begin_object(w);
    json_kint(w, "id", d->id);
    json_kint(w, "seq", (int64_t)d->m.key.seq);
    json_kstr(w, "source", mf_cstr(l ? l->source_name : ""));
    json_kstr(w, "message_id", d->message_id);
    json_kstr(w, "event_name", d->name);
    json_kstr(w, "action", d->action);
    json_kstr(w, "reason",
              mf_cstr(dead_reason_text(d->m.reason)));
    json_kint(w, "result", d->m.status);
    json_kstr(w, "error", d->error);
    json_kint(w, "attempts", d->m.attempts);
    json_kint(w, "first_ms", d->m.first_ms);
    json_kint(w, "when_ms", d->m.when_ms);
    json_kstr(w, "plugin_version", d->version);
    json_kstr(w, "plugin_hash", d->hash);
    if (l && l->replay)
        json_kint(w, "replay", l->replay);
    if (!brief) {
        if (json_check(d->event, JSON_DEPTH_MAX, NULL) == 0)
            json_kval(w, "event", json_root(d->event));
        json_kstr(w, "request", d->request);
        json_kstr(w, "response", d->response);
    }
    json_end_object(w);
}

static bool add_letter(void *arg, const struct dead_letter *d)
{
    struct page *p = arg;

    if (letter_wanted(p->want, d))
        write_letter(p->w, p->s, d, p->which.brief);
    return p->w->b->len - p->began < PAGE_BYTES;
}

/* What is dead without a letter. */
static void write_range(void *arg, const struct dead_range *r)
{
    struct json_out *w = arg;

    json_begin_object(w);
    json_kint(w, "lane", r->lane);
    json_kint(w, "from", (int64_t)r->from);
    json_kint(w, "to", (int64_t)r->to);
    json_kint(w, "count", (int64_t)r->count);
    json_kstr(w, "reason", mf_cstr(range_reason_text(r->reason)));
    json_kint(w, "when_ms", r->when_ms);
    json_end_object(w);
}

static void write_ranges(struct supervisor *s, struct json_out *w,
                         const char *destination)
{
    struct err e;

    json_key(w, MF_STR("ranges"));
    json_begin_array(w);
    if (state_ranges(s->state, destination, PAGE, write_range, w, &e) != 0)
        supervisor_log_state_error(s, &e);
    json_end_array(w);
}

static void write_dropped(struct supervisor *s, struct json_out *w,
                          const char *destination)
{
    static const char *const names[DROP_KINDS] = { "limit", "by_hand" };

    json_key(w, MF_STR("dropped"));
    json_begin_object(w);
    for (int i = 0; i < DROP_KINDS; i++) {
        struct dropped_range r = state_letter_dropped(s->state, destination,
                                                      (enum letter_drop)i);

        json_key(w, mf_cstr(names[i]));
        json_begin_object(w);
        json_kint(w, "count", r.count);
        json_kint(w, "first_ms", r.first_ms);
        json_kint(w, "last_ms", r.last_ms);
        json_end_object(w);
    }
    json_end_object(w);
}

static void write_page(struct page *p, const char *destination)
{
    struct letter_query q = {
        .destination = destination,
        .filter = p->want->f,
        .after = p->which.before,
        .newest_first = true,
        .texts = !p->which.brief,
        .limit = (unsigned)(p->which.limit < LETTERS_PAGE ? p->which.limit
                                                    : LETTERS_PAGE),
        .scan = LETTERS_SCAN,
    };
    int64_t next = 0, count, bytes;
    struct err e;

    status_body(p->w, 200);
    p->began = p->w->b->len;
    json_key(p->w, MF_STR("dead"));
    json_begin_array(p->w);
    if (state_letters(p->s->state, &q, add_letter, p, &next, &e) != 0)
        supervisor_log_state_error(p->s, &e);
    json_end_array(p->w);
    if (next)
        json_kint(p->w, "next", next);
    else
        json_kval(p->w, "next", JSON_NULL);
    state_letter_sums(p->s->state, destination, &count, &bytes);
    json_kint(p->w, "letters", count);
    json_kint(p->w, "bytes", bytes);
    write_dropped(p->s, p->w, destination);
    write_ranges(p->s, p->w, destination);
    json_end_object(p->w);
}

static void answer_page(struct supervisor *s, struct json_out *w, mf_str name,
                        mf_val q)
{
    struct letter_want want = { .ids = NULL };
    struct page p = { .s = s, .w = w, .want = &want,
                      .which.limit = PAGE };
    struct arena a;
    struct err e;

    arena_init(&a, 4096);
    arena_init(&want.texts, WANT_TEXTS);
    if (letter_want_read(s, json_get(q, MF_STR("params")), &want,
                         letter_page_option, &p.which, &e) != 0)
        bad(w, &e);
    else
        write_page(&p, arena_copy(&a, name).ptr);
    letter_want_deinit(&want);
    arena_deinit(&a);
}

/* ---- jobs ---- */

static bool no_filter(const struct letter_want *w)
{
    return !w->any && !w->all;
}

static void answer_begin(struct supervisor *s, struct json_out *w, mf_str name,
                         enum letter_verb verb, mf_val q)
{
    struct letter_want want = { .ids = NULL };
    struct sup_letter_job *k = NULL;
    struct err e;

    arena_init(&want.texts, WANT_TEXTS);
    if (letter_want_read(s, json_get(q, MF_STR("params")), &want, NULL, NULL,
                         &e) != 0 ||
        letter_want_read(s, json_get(q, MF_STR("body")), &want, NULL, NULL,
                         &e) != 0) {
        bad(w, &e);
    } else if (no_filter(&want)) {
        status_refuse(w, 400, "no_filter",
                      "say which letters, or all=true for all of them");
    } else if (!(k = letters_begin(s, name, verb, &want, &e)) ||
               supervisor_commit(s, &e) != 0) {
        status_refuse(w, 503, "state_failed", e.text);
    } else {
        status_body(w, 200);
        job_write(w, &k->job);
        json_end_object(w);
    }
    if (!k)
        letter_want_deinit(&want);
}

/* ---- all of it ---- */

bool ask_letters(struct supervisor *s, mf_str verb, mf_val q,
                 struct json_out *w, struct arena *a)
{
    mf_str name = json_text(json_get(q, MF_STR("name")), a);

    if (!str_starts(verb, MF_STR("dead")))
        return false;
    if (!letters_known(s, name))
        status_refuse(w, 404, "unknown_destination",
                      "there is no destination of that name");
    else if (mf_eq(verb, MF_STR("dead")))
        answer_page(s, w, name, q);
    else if (mf_eq(verb, MF_STR("dead_replay")))
        answer_begin(s, w, name, LETTER_REPLAY, q);
    else if (mf_eq(verb, MF_STR("dead_drop")))
        answer_begin(s, w, name, LETTER_DROP, q);
    else
        jobs_answer(w, &s->letter_jobs, name, q, "dead letters");
    return true;
}
