/* SPDX-License-Identifier: Apache-2.0
 *
 * status.c - everything that is known, as JSON, and the questions of the
 * admin process. */
#include "supervisor/supervisor.h"

#include "base/clock.h"
#include "base/mem.h"
#include "supervisor/letters.h"
#include "supervisor/replays.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ANSWER_ARENA (1u << 20)

/* ---- status ---- */

static const char *state_text(const struct sup_destination *d)
{
    static const char *const live[DEST_STATES] = { "active", "paused",
                                                   "backing off" };

    switch (d->condition) {
    case COND_STARTING:
        return "starting";
    case COND_MISSING_PLUGIN:
        return "missing plugin";
    case COND_REFUSED:
        return "refused";
    case COND_CRASHING:
        return "crashing";
    default:
        return d->paused ? "paused"
               : d->held ? "held"
               : d->status.state < DEST_STATES ? live[d->status.state]
                                               : "active";
    }
}

/* What of the lane's source lies between its cursor and the durable end. An
 * upper bound where several sources share the journal. */
static uint64_t unread(const struct supervisor *s, const struct sup_lane *l)
{
    uint64_t durable = atomic_load(&s->head->durable);

    if (l->replay && durable > l->until)
        durable = l->until;
    return durable >= l->state.next.seq ? durable - l->state.next.seq + 1 : 0;
}

static uint64_t settled(const struct counters *c)
{
    return c->delivered + c->filtered + c->dead;
}

/* Is unread() the lane's own? One source has the journal to itself, or there
 * is nothing unread. */
static bool is_exact(const struct supervisor *s, const struct sup_lane *l)
{
    if (unread(s, l) == 0)
        return true;
    for (const struct sup_lane *o = s->lanes; o; o = o->next)
        if (o->source != l->source)
            return false;
    return s->config->sources.count == 1;
}

static void write_counters(struct json_out *w, const struct counters *c,
                           uint64_t backlog, bool exact)
{
    json_kint(w, "accepted", (int64_t)(c->accepted + backlog));
    json_kint(w, "delivered", (int64_t)c->delivered);
    json_kint(w, "filtered", (int64_t)c->filtered);
    json_kint(w, "dead", (int64_t)c->dead);
    json_kint(w, "pending", (int64_t)(c->accepted - settled(c) + backlog));
    json_kbool(w, "pending_exact", exact); /* else it is at most that */
    json_kint(w, "attempts", (int64_t)c->attempts);
    json_kint(w, "retries", (int64_t)c->retries);
    json_kint(w, "lost", (int64_t)c->lost);
}

static void add_counters(struct counters *to, const struct counters *c)
{
    to->accepted += c->accepted;
    to->delivered += c->delivered;
    to->filtered += c->filtered;
    to->dead += c->dead;
    to->attempts += c->attempts;
    to->retries += c->retries;
    to->lost += c->lost;
}

/* {"count", "sum", "counts": [...]}, the bounds beside it in the status. */
static void write_histogram(struct json_out *w, const char *name,
                            const uint64_t *counts, uint64_t sum_ns)
{
    uint64_t n = 0;

    json_key(w, mf_cstr(name));
    json_begin_object(w);
    json_key(w, MF_STR("counts"));
    json_begin_array(w);
    for (size_t i = 0; i <= HISTOGRAM_BOUNDS; i++) {
        json_int(w, (int64_t)counts[i]);
        n += counts[i];
    }
    json_end_array(w);
    json_kint(w, "count", (int64_t)n);
    json_key(w, MF_STR("sum"));
    json_num(w, (double)sum_ns / 1e9);
    json_end_object(w);
}

static void write_bounds(struct json_out *w)
{
    json_key(w, MF_STR("histogram_bounds_seconds"));
    json_begin_array(w);
    for (size_t i = 0; i < HISTOGRAM_BOUNDS; i++)
        json_num(w, histogram_bounds_ms[i] / 1000);
    json_end_array(w);
}

static void write_answers(struct json_out *w, const struct msg_destination *m)
{
    static const char *const names[] = { "2xx", "3xx", "4xx", "5xx", "none",
                                         "refused" };

    json_key(w, MF_STR("answers"));
    json_begin_object(w);
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        json_key(w, mf_cstr(names[i]));
        json_int(w, (int64_t)m->classes[i]);
    }
    json_end_object(w);
    write_histogram(w, "delivery_seconds", m->requests.counts,
                    m->requests.sum_ns);
    write_histogram(w, "end_to_end_seconds", m->end_to_end.counts,
                    m->end_to_end.sum_ns);
}

static void write_destination(struct supervisor *s, struct json_out *w,
                              const struct sup_destination *d)
{
    struct version *v = version_find(s, d->plugin);
    const char *error = d->problem ? d->problem
                        : d->held  ? d->held_why
                                   : d->last_error;
    struct counters sum = { 0 };
    bool exact = true, near = false;
    uint64_t backlog = 0;
    int64_t age = 0;

    json_begin_object(w);
    json_kstr(w, "name", mf_cstr(d->name));
    json_kstr(w, "plugin", mf_cstr(d->plugin));
    json_kstr(w, "plugin_version",
              mf_cstr(v && v->manifest ? v->manifest->version : ""));
    json_kstr(w, "plugin_hash",
              mf_cstr(d->group && d->group->current ? d->group->current->hash
                                                    : ""));
    json_kstr(w, "state", mf_cstr(state_text(d)));
    for (struct sup_lane *l = s->lanes; l; l = l->next)
        if (l->destination == d && !l->replay) {
            add_counters(&sum, &l->state.counters);
            backlog += unread(s, l);
            exact &= is_exact(s, l);
            near |= l->near_retention;
        }
    if (d->paused && *d->pause_why)
        json_kstr(w, "paused_because", mf_cstr(d->pause_why));
    write_counters(w, &sum, backlog, exact);
    json_kbool(w, "near_retention", near);
    json_kint(w, "in_flight", d->status.in_flight);
    json_kint(w, "waiting_retries", d->status.waiting_retries);
    if (d->status.oldest_ms && sum.accepted - settled(&sum) + backlog)
        age = clock_ms() - d->status.oldest_ms;
    json_key(w, MF_STR("oldest_pending_seconds"));
    json_num(w, (double)(age > 0 ? age : 0) / 1000);
    json_key(w, MF_STR("concurrency_limit"));
    json_num(w, d->status.concurrency_limit);
    if (*error)
        json_kstr(w, "last_error", mf_cstr(error));
    else
        json_kval(w, "last_error", JSON_NULL);
    json_kint(w, "last_error_ms", d->status.error_ms);
    write_answers(w, &d->status);
    json_key(w, MF_STR("dead_reasons"));
    json_begin_object(w);
    for (size_t i = 0; i < DEAD_REASONS; i++) {
        json_key(w, mf_cstr(dead_reason_text((uint32_t)i)));
        json_int(w, (int64_t)d->dead_reasons[i]);
    }
    json_end_object(w);
    if (d->group) {
        json_kint(w, "worker_restarts", (int64_t)d->group->restarts.total);
        json_kstr(w, "worker_last_end", mf_cstr(d->group->cause));
        json_kint(w, "worker_pid",
                  d->group->current ? child_pid(d->group->current->child) : 0);
    }
    json_end_object(w);
}

static void write_lanes(struct supervisor *s, struct json_out *w)
{
    json_key(w, MF_STR("lanes"));
    json_begin_array(w);
    for (struct sup_lane *l = s->lanes; l; l = l->next) {
        json_begin_object(w);
        json_kstr(w, "source", mf_cstr(l->source_name));
        json_kstr(w, "destination", mf_cstr(l->destination_name));
        if (l->replay)
            json_kint(w, "replay", l->replay);
        json_kbool(w, "detached", !l->destination);
        json_kint(w, "lane", l->id);
        json_kint(w, "source_id", l->source);
        json_kint(w, "next", (int64_t)l->state.next.seq);
        write_counters(w, &l->state.counters,
                       l->destination ? unread(s, l) : 0, is_exact(s, l));
        json_kbool(w, "near_retention", l->near_retention);
        json_end_object(w);
    }
    json_end_array(w);
}

static void write_plugins(struct supervisor *s, struct json_out *w)
{
    json_begin_array(w);
    for (size_t i = 0; i < s->version_count; i++) {
        const struct version *v = &s->versions[i];

        json_begin_object(w);
        json_kstr(w, "slug", mf_cstr(v->slug));
        if (v->manifest) {
            json_kstr(w, "name", mf_cstr(v->manifest->name));
            json_kstr(w, "version", mf_cstr(v->manifest->version));
            json_kstr(w, "kind", v->manifest->kind == PLUGIN_NATIVE
                                     ? MF_STR("native")
                                     : MF_STR("http"));
        }
        json_kstr(w, "hash", mf_cstr(v->hash));
        json_kstr(w, "abi", MF_STR("1.0"));
        json_kbool(w, "present", v->present);
        json_kstr(w, "state",
                  v->problem    ? MF_STR("refused")
                  : !v->present ? MF_STR("missing")
                                : MF_STR("ok"));
        if (v->problem)
            json_kstr(w, "problem", mf_cstr(v->problem));
        json_end_object(w);
    }
    json_end_array(w);
}

static void write_journal(struct supervisor *s, struct json_out *w)
{
    struct journal_head *h = s->head;
    uint64_t commits[HISTOGRAM_BOUNDS + 1];

    json_key(w, MF_STR("journal"));
    json_begin_object(w);
    json_kint(w, "durable", (int64_t)atomic_load(&h->durable));
    json_kint(w, "first", (int64_t)atomic_load(&h->first));
    json_kint(w, "bytes", (int64_t)atomic_load(&h->bytes));
    json_kint(w, "tail", (int64_t)atomic_load(&h->tail));
    json_kint(w, "tail_end", (int64_t)atomic_load(&h->tail_end));
    json_kint(w, "tail_epoch", atomic_load(&h->tail_epoch));
    json_kint(w, "commits", (int64_t)atomic_load(&h->commits));
    for (size_t i = 0; i <= HISTOGRAM_BOUNDS; i++)
        commits[i] = atomic_load(&h->commit_counts[i]);
    write_histogram(w, "commit_seconds", commits, atomic_load(&h->commit_ns));
    json_kbool(w, "full", atomic_load(&h->full) != 0);
    json_kbool(w, "poisoned", atomic_load(&h->poisoned) != 0);
    json_end_object(w);
}

void status_write(struct supervisor *s, struct buf *to)
{
    struct json_out w;

    json_out_init(&w, to);
    json_begin_object(&w);
    json_kstr(&w, "version", MF_STR(MANIFOLD_VERSION));
    json_kint(&w, "pid", getpid());
    json_kbool(&w, "ready", s->ingest_ready);
    json_kint(&w, "uptime_seconds", (clock_mono_ms() - s->started_ms) / 1000);
    json_kint(&w, "reloads", (int64_t)s->reloads);
    json_kbool(&w, "reloading", s->reloading != NULL);
    json_key(&w, MF_STR("reload_outcomes"));
    json_begin_array(&w);
    json_begin_object(&w);
    json_kstr(&w, "name", MF_STR("reload"));
    json_key(&w, MF_STR("outcomes"));
    json_begin_object(&w);
    json_kint(&w, "ok", (int64_t)s->reloads_ok);
    json_kint(&w, "refused", (int64_t)s->reloads_refused);
    json_end_object(&w);
    json_end_object(&w);
    json_end_array(&w);
    json_kint(&w, "ingest_restarts", (int64_t)s->ingest_restarts.total);
    write_bounds(&w);
    write_journal(s, &w);
    json_key(&w, MF_STR("ingest"));
    if (s->ingest_stats)
        json_val(&w, json_root(mf_cstr(s->ingest_stats)));
    else
        json_null(&w);
    if (s->certificate.chain) {
        json_key(&w, MF_STR("certificate"));
        json_begin_object(&w);
        json_kstr(&w, "file", mf_cstr(s->certificate.path));
        json_kint(&w, "not_after", s->certificate.facts.not_after);
        json_end_object(&w);
    }
    json_key(&w, MF_STR("sources"));
    json_begin_array(&w);
    for (size_t i = 0; i < s->config->sources.count; i++) {
        json_begin_object(&w);
        json_kstr(&w, "name", mf_cstr(s->config->sources.list[i].name));
        json_kbool(&w, "enabled", s->config->sources.list[i].enabled);
        json_end_object(&w);
    }
    json_end_array(&w);
    refused_write(s, &w);
    json_key(&w, MF_STR("destinations"));
    json_begin_array(&w);
    for (struct sup_destination *d = s->destinations; d; d = d->next)
        write_destination(s, &w, d);
    json_end_array(&w);
    write_lanes(s, &w);
    json_key(&w, MF_STR("replays"));
    replays_write(s, NULL, &w);
    json_key(&w, MF_STR("plugins"));
    write_plugins(s, &w);
    json_end_object(&w);
}

/* ---- answers ---- */

static struct sup_destination *find(struct supervisor *s, mf_str name)
{
    for (struct sup_destination *d = s->destinations; d; d = d->next)
        if (mf_eq(mf_cstr(d->name), name))
            return d;
    return NULL;
}

void status_body(struct json_out *w, int status)
{
    json_kint(w, "status", status);
    json_key(w, MF_STR("body"));
    json_begin_object(w);
}

void status_refuse(struct json_out *w, int status, const char *code,
                   const char *message)
{
    status_body(w, status);
    json_kbool(w, "success", false);
    json_kstr(w, "code", mf_cstr(code));
    json_kstr(w, "message", mf_cstr(message));
    json_kstr(w, "error", mf_cstr(message));
    json_end_object(w);
}

static void answer_outcome(struct json_out *w, const struct outcome *o)
{
    json_kint(w, "status", 200);
    json_key(w, MF_STR("body"));
    json_begin_object(w);
    json_kint(w, "id", (int64_t)o->id);
    json_kbool(w, "done", o->done);
    json_kbool(w, "refused", o->failed);
    json_kint(w, "milliseconds",
              (o->done ? o->ended_ms : clock_ms()) - o->began_ms);
    json_key(w, MF_STR("changes"));
    json_begin_array(w);
    for (size_t i = 0; i < o->count; i++) {
        const struct outcome_line *l = &o->lines[i];

        json_begin_object(w);
        json_kstr(w, "kind", mf_cstr(l->kind));
        json_kstr(w, "name", mf_cstr(l->name));
        json_kstr(w, "change", mf_cstr(l->change));
        if (l->why)
            json_kstr(w, "why", mf_cstr(l->why));
        json_end_object(w);
    }
    json_end_array(w);
    json_end_object(w);
}

/* Paused for good before it is said so. */
void destination_set_paused(struct supervisor *s, struct sup_destination *d,
                            bool on, const char *why)
{
    char bytes[80] = { (char)on };
    size_t len = strlen(d->name);
    struct err e;

    memcpy(bytes + 4, d->name, len);
    d->paused = on;
    poison_release(d);
    snprintf(d->pause_why, sizeof d->pause_why, "%s", on ? why : "");
    if (state_pause(s->state, d->name, on, d->pause_why, &e) != 0 ||
        supervisor_commit(s, &e) != 0)
        supervisor_log_state_error(s, &e);
    supervisor_state_changed(s);
    if (d->group)
        group_tell(d->group, MSG_PAUSE, bytes, 4 + len);
}

static void answer_destination(struct supervisor *s, struct json_out *w,
                               mf_str verb, mf_val q, struct arena *a)
{
    struct sup_destination *d =
        find(s, json_text(json_get(q, MF_STR("name")), a));

    if (!d) {
        status_refuse(w, 404, "unknown_destination",
               "there is no destination of that name");
        return;
    }
    if (mf_eq(verb, MF_STR("pause")) || mf_eq(verb, MF_STR("resume")))
        destination_set_paused(s, d, mf_eq(verb, MF_STR("pause")), "");
    json_kint(w, "status", 200);
    json_key(w, MF_STR("body"));
    write_destination(s, w, d);
}

static void answer_reload(struct supervisor *s, struct json_out *w, mf_val q)
{
    uint64_t id = reload_begin(s, json_is_true(json_get(q, MF_STR("force"))));

    json_kint(w, "status", 202);
    json_key(w, MF_STR("body"));
    json_begin_object(w);
    json_kint(w, "id", (int64_t)id);
    json_end_object(w);
}

static void answer_reloaded(struct supervisor *s, struct json_out *w, mf_val q)
{
    int64_t id = 0;
    const struct outcome *o;

    json_integer(json_get(q, MF_STR("id")), &id);
    o = outcome_find(s, (uint64_t)id);
    if (o)
        answer_outcome(w, o);
    else if ((uint64_t)id == s->reloads + 1 && s->reload_again) {
        struct outcome waiting = { .id = (uint64_t)id,
                                   .began_ms = clock_ms() };

        answer_outcome(w, &waiting);
    } else {
        status_refuse(w, 404, "unknown_reload",
               "no reload of that number is remembered");
    }
}

void status_answer(struct supervisor *s, mf_str question, struct buf *to)
{
    struct json_out w;
    struct arena a;
    mf_val q;
    mf_str verb;

    arena_init(&a, ANSWER_ARENA);
    json_out_init(&w, to);
    json_begin_object(&w);
    if (json_check(question, JSON_DEPTH_MAX, NULL) != 0) {
        status_refuse(&w, 400, "bad_request", "the question is not JSON");
        goto out;
    }
    q = json_root(question);
    verb = json_text(json_get(q, MF_STR("verb")), &a);
    if (mf_eq(verb, MF_STR("status")) || mf_eq(verb, MF_STR("plugins"))) {
        json_kint(&w, "status", 200);
        json_key(&w, MF_STR("body"));
        if (mf_eq(verb, MF_STR("plugins"))) {
            write_plugins(s, &w);
        } else {
            struct buf b;

            buf_init(&b, IPC_MESSAGE_MAX);
            status_write(s, &b);
            json_val(&w, json_root(buf_view(&b)));
            buf_deinit(&b);
        }
    } else if (mf_eq(verb, MF_STR("reload"))) {
        answer_reload(s, &w, q);
    } else if (mf_eq(verb, MF_STR("reloaded"))) {
        answer_reloaded(s, &w, q);
    } else if (mf_eq(verb, MF_STR("destination")) ||
               mf_eq(verb, MF_STR("pause")) ||
               mf_eq(verb, MF_STR("resume"))) {
        answer_destination(s, &w, verb, q, &a);
    } else if (!ask_letters(s, verb, q, &w, &a) &&
               !ask_refused(s, verb, q, &w, &a) &&
               !ask_replays(s, verb, q, &w, &a)) {
        status_refuse(&w, 404, "unknown_verb", "there is no such question");
    }
out:
    json_end_object(&w);
    arena_deinit(&a);
}
