/* SPDX-License-Identifier: Apache-2.0
 *
 * jobs.c - see jobs.h. */
#include "supervisor/jobs.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/text.h"

#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void jobs_add(struct sup_jobs *l, struct sup_job *k,
              const struct letter_job *j)
{
    struct sup_job **at = &l->first;

    k->j = *j;
    k->name = xstrndup(j->destination.ptr, j->destination.len);
    k->j.destination = mf_cstr(k->name);
    k->j.filter = (mf_str){ "", 0 };
    while (*at)
        at = &(*at)->next;
    *at = k;
}

struct sup_job *jobs_find(const struct sup_jobs *l, int64_t id)
{
    struct sup_job *k = l->first;

    while (k && k->j.id != id)
        k = k->next;
    return k;
}

int jobs_begin(struct supervisor *s, const struct sup_jobs *l,
               struct letter_job *j, const char *what, struct err *e)
{
    unsigned open = 0;

    for (const struct sup_job *k = l->first; k; k = k->next)
        open += !k->j.ended_ms;
    if (open >= JOBS_MAX)
        return err_set(e, "%d jobs on %s are under way; wait for one",
                       JOBS_MAX, what);
    j->begun_ms = clock_ms();
    return state_letter_job_put(s->state, j, e);
}

void jobs_put(struct supervisor *s, struct sup_job *k)
{
    struct err e;

    if (state_letter_job_put(s->state, &k->j, &e) != 0)
        supervisor_log_state_error(s, &e);
    supervisor_state_changed(s);
}

static void job_free(struct sup_jobs *l, struct sup_job *k)
{
    free(k->name);
    l->release(k);
}

static void forget(struct supervisor *s, struct sup_jobs *l,
                   const struct sup_job *but)
{
    struct sup_job **at = &l->first;
    unsigned ended = 0;
    struct err e;

    for (struct sup_job *k = l->first; k; k = k->next)
        ended += k->j.ended_ms != 0;
    while (*at && ended > JOBS_KEPT) {
        struct sup_job *k = *at;

        if (!k->j.ended_ms || k == but) {
            at = &k->next;
            continue;
        }
        if (state_letter_job_forget(s->state, k->j.id, &e) != 0)
            supervisor_log_state_error(s, &e);
        *at = k->next;
        job_free(l, k);
        ended--;
    }
}

void jobs_end(struct supervisor *s, struct sup_jobs *l, struct sup_job *k)
{
    k->j.cursor = k->j.last;
    k->j.ended_ms = clock_ms();
    jobs_put(s, k);
    forget(s, l, k);
}

/* ---- turns ---- */

static void on_turn(evutil_socket_t fd, short what, void *arg)
{
    struct sup_jobs *l = arg;
    int64_t wait = l->turn(l->s);

    (void)fd;
    (void)what;
    if (wait >= 0)
        jobs_turn_in(l->s, l, wait);
}

void jobs_turn_in(struct supervisor *s, struct sup_jobs *l, int64_t ms)
{
    struct timeval tv = { ms / 1000, ms % 1000 * 1000 };

    l->s = s;
    if (!l->timer)
        l->timer = evtimer_new(s->base, on_turn, l);
    if (!s->stopping)
        event_add(l->timer, &tv);
}

void jobs_kick(struct supervisor *s, struct sup_jobs *l)
{
    if (!l->timer || !evtimer_pending(l->timer, NULL))
        jobs_turn_in(s, l, JOBS_TURN_MS);
}

void jobs_free(struct sup_jobs *l)
{
    while (l->first) {
        struct sup_job *k = l->first;

        l->first = k->next;
        job_free(l, k);
    }
    if (l->timer)
        event_free(l->timer);
}

/* ---- for people ---- */

void job_write(struct json_out *w, const struct sup_job *k)
{
    bool drop = k->j.verb == LETTER_DROP || k->j.verb == REFUSED_DROP;
    char text[TIME_TEXT];

    json_kint(w, "id", k->j.id);
    json_kstr(w, "verb", drop ? MF_STR("drop") : MF_STR("replay"));
    json_kbool(w, "done", k->j.ended_ms != 0);
    json_kint(w, "count", k->j.count);
    json_kint(w, "skipped", k->j.skipped);
    time_iso(k->j.begun_ms, text);
    json_kstr(w, "begun", mf_cstr(text));
    if (k->j.ended_ms) {
        time_iso(k->j.ended_ms, text);
        json_kstr(w, "ended", mf_cstr(text));
    }
}

static void answer_one(struct json_out *w, const struct sup_job *k,
                       mf_str name, const char *what)
{
    char text[80];

    if (k && mf_eq(mf_cstr(k->name), name)) {
        status_body(w, 200);
        job_write(w, k);
        json_end_object(w);
        return;
    }
    snprintf(text, sizeof text, "no such job on %s is remembered", what);
    status_refuse(w, 404, "unknown_job", text);
}

void jobs_answer(struct json_out *w, const struct sup_jobs *l, mf_str name,
                 mf_val q, const char *what)
{
    int64_t id = 0;

    if (json_integer(json_get(q, MF_STR("id")), &id)) {
        answer_one(w, jobs_find(l, id), name, what);
        return;
    }
    status_body(w, 200);
    json_key(w, MF_STR("jobs"));
    json_begin_array(w);
    for (const struct sup_job *k = l->first; k; k = k->next)
        if (mf_eq(mf_cstr(k->name), name)) {
            json_begin_object(w);
            job_write(w, k);
            json_end_object(w);
        }
    json_end_array(w);
    json_end_object(w);
}
