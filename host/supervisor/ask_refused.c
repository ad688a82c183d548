/* SPDX-License-Identifier: Apache-2.0
 *
 * ask_refused.c - questions about letters of events that ingest refused.
 * {"verb", "name", "id"?, "params", "body"}, the name being the source's. */
#include "supervisor/refused.h"

#include "base/mem.h"
#include "base/text.h"
#include "supervisor/letters.h"

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
    struct json_out *w;
    const struct refused_want *want;
    size_t began; /* bytes of the answer before the letters */
    struct letter_page which;
};

static void write_json(struct json_out *w, const char *key, const char *other,
                       mf_str text)
{
    bool is_json = text.len && json_check(text, JSON_DEPTH_MAX, NULL) == 0;

    json_key(w, mf_cstr(is_json ? key : other));
    if (is_json)
        json_val(w, json_root(text));
    else
        json_str(w, text);
}

static bool add_letter(void *arg, const struct refused_letter *l)
{
    struct page *p = arg;
    struct json_out *w = p->w;

    if (refused_wanted(p->want, l)) {
        json_begin_object(w);
        json_kint(w, "id", l->id);
        json_kint(w, "when_ms", l->when_ms);
        json_kstr(w, "code", l->code);
        json_kstr(w, "message_id", l->message_id);
        if (!p->which.brief) {
            write_json(w, "event", "text", l->event);
            write_json(w, "envelope", "envelope_text", l->envelope);
        }
        json_end_object(w);
    }
    return w->b->len - p->began < PAGE_BYTES;
}

static void write_page(struct supervisor *s, struct page *p, uint32_t source)
{
    int64_t most = p->which.limit < LETTERS_PAGE ? p->which.limit
                                                 : LETTERS_PAGE;
    struct refused_query q = { .source = source,
                               .filter = p->want->f,
                               .after = p->which.before,
                               .newest_first = true,
                               .texts = !p->which.brief,
                               .limit = (unsigned)most,
                               .scan = LETTERS_SCAN };
    struct refused_sums sums = state_refused_sums(s->state, source);
    int64_t next = 0;
    struct err e;

    status_body(p->w, 200);
    p->began = p->w->b->len;
    json_key(p->w, MF_STR("dead"));
    json_begin_array(p->w);
    if (state_refused(s->state, &q, add_letter, p, &next, &e) != 0)
        supervisor_log_state_error(s, &e);
    json_end_array(p->w);
    if (next)
        json_kint(p->w, "next", next);
    else
        json_kval(p->w, "next", JSON_NULL);
    json_kint(p->w, "letters", sums.letters);
    json_kint(p->w, "bytes", sums.bytes);
    json_kint(p->w, "dropped", sums.dropped);
    json_end_object(p->w);
}

static void answer_page(struct supervisor *s, struct json_out *w,
                        const struct conf_source *src, mf_val q)
{
    struct refused_want want = { .ids = NULL };
    struct page p = { .w = w, .want = &want,
                      .which.limit = PAGE };
    struct err e;

    arena_init(&want.texts, WANT_TEXTS);
    if (refused_want_read(json_get(q, MF_STR("params")), &want,
                          letter_page_option, &p.which, &e) != 0)
        bad(w, &e);
    else
        write_page(s, &p, state_source(s->state, src->name, &e));
    refused_want_deinit(&want);
}

/* ---- jobs ---- */

static void answer_begin(struct supervisor *s, struct json_out *w,
                         const struct conf_source *src, enum letter_verb verb,
                         mf_val q)
{
    struct refused_want want = { .ids = NULL };
    struct sup_refused_job *k = NULL;
    struct err e;

    arena_init(&want.texts, WANT_TEXTS);
    if (refused_want_read(json_get(q, MF_STR("params")), &want, NULL, NULL,
                          &e) != 0 ||
        refused_want_read(json_get(q, MF_STR("body")), &want, NULL, NULL,
                          &e) != 0) {
        bad(w, &e);
    } else if (!want.any && !want.all) {
        status_refuse(w, 400, "no_filter",
                      "say which letters, or all=true for all of them");
    } else if (verb == REFUSED_REPLAY && !src->enabled) {
        status_refuse(w, 409, "source_disabled",
                      "the source is not enabled, so it would take nothing");
    } else if (!(k = refused_begin(s, src, verb, &want, &e)) ||
               supervisor_commit(s, &e) != 0) {
        status_refuse(w, 503, "state_failed", e.text);
    } else {
        status_body(w, 200);
        job_write(w, &k->job);
        json_end_object(w);
    }
    if (!k)
        refused_want_deinit(&want);
}

bool ask_refused(struct supervisor *s, mf_str verb, mf_val q,
                 struct json_out *w, struct arena *a)
{
    const struct conf_source *src;

    if (!str_starts(verb, MF_STR("source_dead")))
        return false;
    src = config_source(s->config,
                        json_text(json_get(q, MF_STR("name")), a));
    if (!src)
        status_refuse(w, 404, "unknown_source",
                      "there is no source of that name");
    else if (mf_eq(verb, MF_STR("source_dead")))
        answer_page(s, w, src, q);
    else if (mf_eq(verb, MF_STR("source_dead_replay")))
        answer_begin(s, w, src, REFUSED_REPLAY, q);
    else if (mf_eq(verb, MF_STR("source_dead_drop")))
        answer_begin(s, w, src, REFUSED_DROP, q);
    else
        jobs_answer(w, &s->refused_jobs, mf_cstr(src->name), q,
                    "refused events");
    return true;
}
