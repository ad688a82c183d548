/* SPDX-License-Identifier: Apache-2.0
 *
 * replays.c - see replays.h. */
#include "supervisor/replays.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/text.h"
#include "state/letters.h"

#include <stdlib.h>
#include <string.h>

/* ---- lanes of replays ---- */

static struct sup_replay *by_id(const struct supervisor *s, uint32_t id)
{
    struct sup_replay *r = s->replays;

    while (r && r->r.id != id)
        r = r->next;
    return r;
}

static uint64_t unsettled(const struct sup_lane *l)
{
    const struct counters *c = &l->state.counters;

    return c->accepted - c->delivered - c->filtered - c->dead;
}

static bool complete(const struct supervisor *s, const struct sup_lane *l)
{
    const struct sup_replay *r = by_id(s, l->replay);

    return l->state.pending_count == 0 && unsettled(l) == 0 &&
           (!r || r->r.stopped == REPLAY_CANCELLED ||
            l->state.next.seq > l->until);
}

bool replay_wants_holder(const struct supervisor *s, const struct sup_lane *l)
{
    return !l->replay || l->wanted || !complete(s, l);
}

mf_str replay_fill(const struct supervisor *s, const struct sup_lane *l,
                   struct msg_lane *m)
{
    const struct sup_replay *r = by_id(s, l->replay);

    if (!l->replay || !r)
        return (mf_str){ "", 0 };
    m->replay = l->replay;
    m->last = l->until;
    m->stopped = r->r.stopped;
    m->from_ms = r->r.from_ms;
    m->until_ms = r->r.until_ms;
    m->since_ms = r->r.begun_ms;
    m->rate = r->r.rate;
    return r->r.where;
}

void replays_attach(struct supervisor *s, struct sup_destination *d)
{
    for (struct sup_lane *l = s->lanes; l; l = l->next)
        if (l->replay && strcmp(l->destination_name, d->name) == 0)
            l->destination = d;
}

/* ---- progress ---- */

static void put(struct supervisor *s, struct sup_replay *r)
{
    struct err e;

    if (state_replay_put(s->state, &r->r, &e) != 0)
        supervisor_log_state_error(s, &e);
    supervisor_state_changed(s);
}

static void tell(struct sup_lane *l, uint32_t stopped)
{
    struct msg_replay m = { l->id, stopped };

    if (l->holder)
        child_send(l->holder->child, MSG_REPLAY, &m, sizeof m, -1);
}

/* Are all of its lanes through? */
static void check_end(struct supervisor *s, struct sup_replay *r)
{
    for (const struct sup_lane *l = s->lanes; l; l = l->next)
        if (l->replay == r->r.id && !complete(s, l))
            return;
    r->r.ended_ms = clock_ms();
    put(s, r);
    log_info("%s: replay %u %s", r->destination, r->r.id,
             r->r.stopped == REPLAY_CANCELLED ? "is cancelled" : "is done");
}

void replay_progress(struct supervisor *s, struct sup_lane *l)
{
    struct sup_replay *r = l->replay ? by_id(s, l->replay) : NULL;

    if (!l->replay || l->reviving || !complete(s, l))
        return;
    l->wanted = false;
    tell(l, REPLAY_ENDED);
    if (r && !r->r.ended_ms)
        check_end(s, r);
}

/* ---- the list ---- */

static struct sup_replay *add(struct supervisor *s,
                              const struct state_replay *f)
{
    struct sup_replay *r = xcalloc(1, sizeof *r), **at = &s->replays;

    r->r = *f;
    r->destination = xstrndup(f->destination.ptr, f->destination.len);
    r->where = xstrndup(f->where.ptr, f->where.len);
    r->r.destination = mf_cstr(r->destination);
    r->r.where = mf_cstr(r->where);
    while (*at)
        at = &(*at)->next;
    *at = r;
    return r;
}

static void replay_free(struct sup_replay *r)
{
    free(r->destination);
    free(r->where);
    free(r);
}

/* May all about it be forgotten? */
static bool is_idle(struct supervisor *s, const struct sup_replay *r)
{
    if (!r->r.ended_ms)
        return false;
    for (const struct sup_lane *l = s->lanes; l; l = l->next)
        if (l->replay == r->r.id &&
            (l->holder || l->wanted || unsettled(l) ||
             state_lane_letters(s->state, l->id)))
            return false;
    return true;
}

static bool forget(struct supervisor *s, struct sup_replay *r)
{
    struct err e;

    if (state_replay_forget(s->state, r->r.id, &e) != 0) {
        supervisor_log_state_error(s, &e);
        return false;
    }
    for (struct sup_lane **at = &s->lanes; *at;) {
        struct sup_lane *l = *at;

        if (l->replay != r->r.id) {
            at = &l->next;
            continue;
        }
        *at = l->next;
        lane_free_one(l);
    }
    return true;
}

static void forget_ended(struct supervisor *s)
{
    struct sup_replay **at = &s->replays;
    unsigned ended = 0;

    for (struct sup_replay *r = s->replays; r; r = r->next)
        ended += r->r.ended_ms != 0;
    while (*at && ended > REPLAYS_KEPT) {
        struct sup_replay *r = *at;

        if (!is_idle(s, r) || !forget(s, r)) {
            at = &r->next;
            continue;
        }
        *at = r->next;
        replay_free(r);
        ended--;
    }
}

struct sup_replay *replay_find(struct supervisor *s, mf_str destination,
                               uint64_t id)
{
    struct sup_replay *r = id <= UINT32_MAX ? by_id(s, (uint32_t)id) : NULL;

    return r && mf_eq(mf_cstr(r->destination), destination) ? r : NULL;
}

bool replay_stop(struct supervisor *s, struct sup_replay *r,
                 enum replay_stop stop)
{
    if (r->r.ended_ms || r->r.stopped == REPLAY_CANCELLED)
        return false;
    r->r.stopped = stop;
    put(s, r);
    for (struct sup_lane *l = s->lanes; l; l = l->next)
        if (l->replay == r->r.id) {
            tell(l, stop);
            replay_progress(s, l);
        }
    return true;
}

/* ---- beginning one ---- */

/* The journal's reader skips what is gone, so the first record is what is
 * retained. */
int replays_retained(struct supervisor *s, struct retained *out, struct err *e)
{
    struct journal_reader *r = journal_reader_new(s->journal_fd, s->head);
    struct journal_record rec;
    enum journal_read got;
    uint64_t from, to;

    *out = (struct retained){ 0, 0, 0 };
    journal_seek(r, (struct journal_pos){ 0, 0, 0 });
    while ((got = journal_next(r, 0, 0, &rec, &from, &to, e)) ==
           JOURNAL_LOST)
        ;
    if (got == JOURNAL_RECORD)
        *out = (struct retained){ rec.seq, atomic_load(&s->head->durable),
                                  rec.received_ms };
    journal_reader_free(r);
    return got == JOURNAL_ERROR ? -1 : 0;
}

/* The numbers of [from, until), within what is retained. */
static int find_range(struct supervisor *s, int64_t from_ms, int64_t until_ms,
                      struct retained *kept, uint64_t *first, uint64_t *last,
                      struct err *e)
{
    struct journal_reader *r;
    struct journal_pos at;
    int rc;

    if (replays_retained(s, kept, e) != 0)
        return -1;
    *first = kept->first;
    *last = kept->last;
    if (!kept->first)
        return 0;
    r = journal_reader_new(s->journal_fd, s->head);
    rc = from_ms > kept->from_ms ? journal_find_time(r, from_ms, &at, e) : 1;
    if (rc == 0)
        *first = at.seq;
    /* The end is beyond what there is, as a rule: then it is not looked for,
     * which would read all of the segment that is being written. */
    if (rc >= 0 && until_ms < clock_ms()) {
        rc = journal_find_time(r, until_ms, &at, e);
        if (rc == 0)
            *last = at.seq - 1;
    }
    journal_reader_free(r);
    return rc < 0 ? -1 : 0;
}

static int outside(const struct retained *kept, int64_t from_ms,
                   int64_t until_ms, struct err *e)
{
    char from[TIME_TEXT], until[TIME_TEXT], oldest[TIME_TEXT];

    if (!kept->first)
        return err_set(e, "the journal holds no event");
    time_iso(from_ms, from);
    time_iso(until_ms, until);
    time_iso(kept->from_ms, oldest);
    return err_set(e, "no event that is retained was received between %s and "
                      "%s: the journal holds those from %s on",
                   from, until, oldest);
}

/* A lane for each source that is connected and asked for. */
static int open_lanes(struct supervisor *s, struct sup_destination *d,
                      const struct sup_replay *r, mf_str source, struct err *e)
{
    unsigned n = 0;

    for (const char *p = d->sources, *end; p && *p; p = end + 1) {
        char *name;
        uint32_t id;
        bool made;

        end = strchr(p, '\n');
        if (source.len && !mf_eq(source, (mf_str){ p, (size_t)(end - p) }))
            continue;
        name = xstrndup(p, (size_t)(end - p));
        id = state_source(s->state, name, e);
        free(name);
        made = id && lane_open_replay(s, id, d, r->r.id, r->r.first,
                                      r->r.last, e);
        if (!made)
            return -1;
        n++;
    }
    return n ? 0 : err_set(e, "no source of that name is connected");
}

static bool is_connected(const struct sup_destination *d, mf_str source)
{
    for (const char *p = d->sources, *end; p && *p; p = end + 1) {
        end = strchr(p, '\n');
        if (!source.len || mf_eq(source, (mf_str){ p, (size_t)(end - p) }))
            return true;
    }
    return false;
}

static int check(const struct supervisor *s, const struct sup_destination *d,
                 const struct replay_request *q, struct err *e)
{
    unsigned open = 0;

    for (const struct sup_replay *r = s->replays; r; r = r->next)
        open += !r->r.ended_ms;
    if (open >= REPLAYS_MAX)
        return err_set(e, "%d replays are under way; wait for one, or cancel "
                          "one",
                       REPLAYS_MAX);
    if (!is_connected(d, q->source))
        return err_set(e, "no source%s%.*s is connected to %s",
                       q->source.len ? " " : "", (int)q->source.len,
                       q->source.ptr ? q->source.ptr : "", d->name);
    if (q->until_ms && q->until_ms <= q->from_ms)
        return err_set(e, "the end of the range is not after its begin");
    return 0;
}

struct sup_replay *replay_begin(struct supervisor *s,
                                struct sup_destination *d,
                                const struct replay_request *q, struct err *e)
{
    struct state_replay f = { .rate = q->rate, .from_ms = q->from_ms,
                              .until_ms = q->until_ms, .where = q->where,
                              .begun_ms = clock_ms(),
                              .destination = mf_cstr(d->name) };
    struct retained kept;
    struct sup_replay *r;

    if (check(s, d, q, e) != 0)
        return NULL;
    if (!f.until_ms)
        f.until_ms = f.begun_ms + 1;
    if (find_range(s, f.from_ms, f.until_ms, &kept, &f.first, &f.last,
                   e) != 0)
        return NULL;
    if (!f.first || f.first > f.last) {
        outside(&kept, f.from_ms, f.until_ms, e);
        return NULL;
    }
    forget_ended(s);
    if (state_replay_put(s->state, &f, e) != 0)
        return NULL;
    r = add(s, &f);
    if (open_lanes(s, d, r, q->source, e) != 0)
        return NULL; /* it has no lane and so it has ended */
    log_info("%s: replay %u of events %llu to %llu", d->name, r->r.id,
             (unsigned long long)f.first, (unsigned long long)f.last);
    lanes_offer(s);
    return r;
}

/* ---- as JSON ---- */

static const char *state_of(const struct sup_replay *r)
{
    if (r->r.stopped == REPLAY_CANCELLED)
        return r->r.ended_ms ? "cancelled" : "cancelling";
    if (r->r.ended_ms)
        return "done";
    return r->r.stopped == REPLAY_PAUSED ? "paused" : "running";
}

static void write_time(struct json_out *w, const char *key, int64_t ms)
{
    char text[TIME_TEXT];

    time_iso(ms, text);
    json_key(w, mf_cstr(key));
    json_str(w, mf_cstr(text));
}

/* How much of the range its slowest lane has passed. */
static double progress(const struct supervisor *s, const struct sup_replay *r)
{
    double least = 1;

    for (const struct sup_lane *l = s->lanes; l; l = l->next)
        if (l->replay == r->r.id) {
            double part = (double)(l->state.next.seq - r->r.first) /
                          (double)(r->r.last - r->r.first + 1);

            least = part < least ? part : least;
        }
    return least;
}

static void write_counts(struct supervisor *s, const struct sup_replay *r,
                         struct json_out *w)
{
    struct counters sum = { 0 };

    json_key(w, MF_STR("sources"));
    json_begin_array(w);
    for (const struct sup_lane *l = s->lanes; l; l = l->next)
        if (l->replay == r->r.id) {
            const struct counters *c = &l->state.counters;

            sum.accepted += c->accepted;
            sum.delivered += c->delivered;
            sum.filtered += c->filtered;
            sum.dead += c->dead;
            json_str(w, mf_cstr(l->source_name));
        }
    json_end_array(w);
    json_kint(w, "accepted", (int64_t)sum.accepted);
    json_kint(w, "delivered", (int64_t)sum.delivered);
    json_kint(w, "filtered", (int64_t)sum.filtered);
    json_kint(w, "dead", (int64_t)sum.dead);
    json_kint(w, "pending", (int64_t)(sum.accepted - sum.delivered -
                                      sum.filtered - sum.dead));
}

void replay_write(struct supervisor *s, const struct sup_replay *r,
                  struct json_out *w)
{
    json_begin_object(w);
    json_kint(w, "id", r->r.id);
    json_kstr(w, "destination", mf_cstr(r->destination));
    json_kstr(w, "state", mf_cstr(state_of(r)));
    write_time(w, "from", r->r.from_ms);
    write_time(w, "until", r->r.until_ms);
    json_kstr(w, "where", r->r.where);
    json_key(w, MF_STR("rate"));
    json_num(w, r->r.rate);
    json_kint(w, "first", (int64_t)r->r.first);
    json_kint(w, "last", (int64_t)r->r.last);
    json_key(w, MF_STR("progress"));
    json_num(w, progress(s, r));
    write_time(w, "begun", r->r.begun_ms);
    if (r->r.ended_ms)
        write_time(w, "ended", r->r.ended_ms);
    write_counts(s, r, w);
    json_end_object(w);
}

void replays_write(struct supervisor *s, const char *destination,
                   struct json_out *w)
{
    json_begin_array(w);
    for (const struct sup_replay *r = s->replays; r; r = r->next)
        if (!destination || strcmp(r->destination, destination) == 0)
            replay_write(s, r, w);
    json_end_array(w);
}

/* ---- begin and end ---- */

static void load_one(void *arg, const struct state_replay *f)
{
    add(arg, f);
}

int replays_load(struct supervisor *s, struct err *e)
{
    if (state_replays(s->state, load_one, s, e) != 0)
        return -1;
    forget_ended(s);
    return 0;
}

void replays_free(struct supervisor *s)
{
    while (s->replays) {
        struct sup_replay *r = s->replays;

        s->replays = r->next;
        replay_free(r);
    }
}
