/* SPDX-License-Identifier: Apache-2.0
 *
 * lanes.c - the cursors: what state.db says of them, what workers report.
 *
 * A worker sends retries and dead letters first and the lane's new state
 * after them. They are kept until that state comes and then change state.db
 * together: at no moment does the file hold a retry that is also counted, or
 * a cursor past an event that nothing else knows of. */
#include "supervisor/supervisor.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "state/letters.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

#define WAITING_MAX (128u << 20) /* reports without their lane's state */
#define COPIES_MAX  (8u << 20)   /* bytes of events that the journal lacks,
                                    given with a lane */

struct sup_lane *lane_find(struct supervisor *s, uint32_t id)
{
    for (struct sup_lane *l = s->lanes; l; l = l->next)
        if (l->id == id)
            return l;
    return NULL;
}

static struct sup_lane *add(struct supervisor *s, const struct state_lane *f)
{
    struct sup_lane *l = xcalloc(1, sizeof *l);

    l->id = f->id;
    l->mark = f->mark;
    l->source = f->source;
    l->replay = f->replay;
    l->until = f->until;
    snprintf(l->destination_name, sizeof l->destination_name, "%s",
             f->destination);
    snprintf(l->source_name, sizeof l->source_name, "%s", f->source_name);
    l->state.lane = f->id;
    l->state.next = f->next;
    l->state.counters = f->counters;
    l->state.pending_count = f->pending_count;
    l->pending = xcalloc(f->pending_count + 1, sizeof *l->pending);
    if (f->pending_count)
        memcpy(l->pending, f->pending, f->pending_count * sizeof *l->pending);
    buf_init(&l->waiting, WAITING_MAX);
    ledger_init(&l->outcomes, LEDGER_BLOCK_MOST);
    l->next = s->lanes;
    s->lanes = l;
    return l;
}

static void add_loaded(void *arg, const struct state_lane *f)
{
    add(arg, f);
}

int lanes_load(struct supervisor *s, struct err *e)
{
    return state_lanes(s->state, add_loaded, s, e);
}

struct sup_lane *lane_open(struct supervisor *s, const char *source,
                           struct sup_destination *d, struct err *e)
{
    uint32_t number = state_source(s->state, source, e);
    struct journal_pos start = { atomic_load(&s->head->durable) + 1, 0, 0 };
    struct state_lane f;
    struct sup_lane *l;
    bool made;

    if (number == 0 || state_lane_open(s->state, number, d->name, 0, 0, start,
                                       &f, &made, e) != 0)
        return NULL;
    l = lane_find(s, f.id);
    if (!l)
        l = add(s, &f);
    free(f.pending);
    l->destination = d;
    if (made)
        log_info("new connection %s -> %s begins at event %llu", source,
                 d->name, (unsigned long long)start.seq);
    supervisor_state_changed(s);
    return l;
}

struct sup_lane *lane_open_replay(struct supervisor *s, uint32_t source,
                                  struct sup_destination *d, uint32_t replay,
                                  uint64_t first, uint64_t until,
                                  struct err *e)
{
    struct journal_pos start = { first, 0, 0 };
    struct state_lane f;
    struct sup_lane *l;
    bool made;

    if (state_lane_open(s->state, source, d->name, replay, until, start, &f,
                        &made, e) != 0)
        return NULL;
    l = add(s, &f);
    free(f.pending);
    l->destination = d;
    supervisor_state_changed(s);
    return l;
}

unsigned lane_aside(const struct sup_lane *l)
{
    const struct counters *n = &l->state.counters;
    uint64_t open = n->accepted - n->delivered - n->filtered - n->dead;

    return open > l->state.pending_count
               ? (unsigned)(open - l->state.pending_count)
               : 0;
}

void lanes_detach(struct supervisor *s, struct sup_destination *d)
{
    for (struct sup_lane *l = s->lanes; l; l = l->next)
        if (l->destination == d)
            l->destination = NULL;
}

/* ---- to a worker ---- */

struct collect {
    struct supervisor *s;
    struct sup_lane *lane;
    struct buf *to;
    size_t copied; /* bytes of events */
    struct msg_retry_key *drop;
    size_t drop_count, drop_cap;
    uint32_t count;
    uint64_t least; /* number of an event that has not ended */
};

static bool is_pending(const struct sup_lane *l, uint64_t seq)
{
    for (uint32_t i = 0; i < l->state.pending_count; i++)
        if (l->pending[i].seq == seq)
            return true;
    return false;
}

/* An event that is listed as open begins anew with all its parts, so a retry
 * of one of them must not be there besides. */
static void add_retry(void *arg, const struct msg_retry *r, mf_str error,
                      mf_str event)
{
    struct collect *c = arg;

    if (r->key.seq < c->least)
        c->least = r->key.seq;
    if (!is_pending(c->lane, r->key.seq)) {
        struct msg_retry m = *r;
        bool gone = r->key.seq < atomic_load(&c->s->head->first);

        if (gone && c->copied + event.len <= COPIES_MAX)
            m.event_len = (uint32_t)event.len;
        c->copied += m.event_len;
        buf_add(c->to, &m, sizeof m);
        buf_str(c->to, error);
        buf_add(c->to, event.ptr, m.event_len);
        c->count++;
        return;
    }
    if (c->drop_count == c->drop_cap) {
        c->drop_cap = c->drop_cap ? c->drop_cap * 2 : 16;
        c->drop = xrealloc(c->drop, c->drop_cap * sizeof *c->drop);
    }
    c->drop[c->drop_count++] = r->key;
}

static void give(struct supervisor *s, struct generation *to,
                 struct sup_lane *l)
{
    struct buf b;
    struct collect c = { .s = s, .lane = l, .to = &b,
                         .least = l->state.next.seq };
    struct msg_lane m = { .lane = l->id,
                          .mark = l->mark,
                          .source = l->source,
                          .next = l->state.next,
                          .counters = l->state.counters,
                          .pending_count = l->state.pending_count,
                          .paused = l->destination->paused ||
                                    l->destination->held };
    struct err e;
    mf_str where = replay_fill(s, l, &m);

    if (state_letters_forget(s->state, l->id, l->pending,
                             l->state.pending_count, &e) != 0)
        supervisor_log_state_error(s, &e);
    buf_init(&b, IPC_MESSAGE_MAX);
    buf_add(&b, &m, sizeof m);
    buf_add(&b, l->pending, m.pending_count * sizeof *l->pending);
    for (uint32_t i = 0; i < m.pending_count; i++)
        if (l->pending[i].seq < c.least)
            c.least = l->pending[i].seq;
    if (state_retries(s->state, l->id, add_retry, &c, &e) != 0)
        supervisor_log_state_error(s, &e);
    for (size_t i = 0; i < c.drop_count; i++)
        if (state_retry_drop(s->state, &c.drop[i], &e) != 0)
            supervisor_log_state_error(s, &e);
    free(c.drop);
    m.receipt_count = delivered_give(l, c.least, &b);
    buf_puts(&b, l->source_name);
    buf_str(&b, where);
    buf_puts(&b, l->destination->name);
    m.where_len = (uint32_t)where.len;
    m.retry_count = c.count;
    m.source_len = (uint32_t)strlen(l->source_name);
    m.destination_len = (uint32_t)strlen(l->destination->name);
    ASSERT(!b.full);
    memcpy(b.data, &m, sizeof m);
    pace_send(l->destination, to);
    child_send(to->child, MSG_LANE, b.data, b.len, -1);
    buf_deinit(&b);
    l->holder = to;
}

/* Nor is a destination: its rate, and the order of its events, are one
 * worker's at a time. */
static bool held_elsewhere(struct supervisor *s, const struct sup_lane *lane,
                           const struct generation *to)
{
    for (struct sup_lane *l = s->lanes; l; l = l->next)
        if (l->destination == lane->destination && l->holder &&
            l->holder != to)
            return true;
    return false;
}

static struct generation *taker(struct supervisor *s, const struct sup_lane *l)
{
    struct generation *to = NULL;

    if (!l->holder && l->destination && l->destination->group &&
        replay_wants_holder(s, l))
        to = group_live(l->destination->group);
    return to && !held_elsewhere(s, l, to) ? to : NULL;
}

void lanes_offer(struct supervisor *s)
{
    struct generation *to;
    bool first = false;
    struct err e;

    for (struct sup_lane *l = s->lanes; l; l = l->next)
        if ((to = taker(s, l)))
            first |= pace_take(s, l->destination, to);
    if (first && supervisor_commit(s, &e) != 0)
        supervisor_log_state_error(s, &e);
    for (struct sup_lane *l = s->lanes; l; l = l->next)
        if ((to = taker(s, l)))
            give(s, to, l);
}

static void release(struct supervisor *s, struct sup_lane *l)
{
    l->holder = NULL;
    buf_clear(&l->waiting); /* the state they belong to will not come */
    letters_release(s, l);
}

void lanes_release(struct supervisor *s, const struct generation *n)
{
    for (struct sup_lane *l = s->lanes; l; l = l->next)
        if (l->holder == n)
            release(s, l);
}

void lane_left(struct supervisor *s, const struct generation *n, mf_str text)
{
    struct sup_lane *l;
    uint32_t id;

    if (text.len != sizeof id)
        return;
    memcpy(&id, text.ptr, sizeof id);
    l = lane_find(s, id);
    if (!l || l->holder != n)
        return;
    release(s, l);
    lanes_offer(s);
}

/* ---- from a worker ---- */

/* The next `len` bytes at *p, or false when there are fewer. */
static bool cut(const char **p, const char *end, uint32_t len, mf_str *out)
{
    if ((size_t)(end - *p) < len)
        return false;
    *out = (mf_str){ *p, len };
    *p += len;
    return true;
}

static int apply_dead(struct supervisor *s, struct sup_lane *l, mf_str text,
                      struct err *e)
{
    struct version *v = version_find(s, l->holder->group->plugin);
    struct dead_letter d = { .source = l->source,
                             .destination = mf_cstr(l->destination_name),
                             .hash = mf_cstr(l->holder->hash) };
    const char *p = text.ptr + sizeof d.m, *end = text.ptr + text.len;

    memcpy(&d.m, text.ptr, sizeof d.m);
    if (!cut(&p, end, d.m.error_len, &d.error) ||
        !cut(&p, end, d.m.action_len, &d.action) ||
        !cut(&p, end, d.m.message_id_len, &d.message_id) ||
        !cut(&p, end, d.m.event_len, &d.event) ||
        !cut(&p, end, d.m.request_len, &d.request) ||
        !cut(&p, end, d.m.response_len, &d.response) ||
        !cut(&p, end, d.m.name_len, &d.name))
        return err_set(e, "a worker sent a dead letter that is cut");
    if (l->destination && d.m.reason < DEAD_REASONS)
        l->destination->dead_reasons[d.m.reason]++;
    /* Of an old generation the version is not known any more. */
    if (v && v->manifest && strcmp(v->hash, l->holder->hash) == 0)
        d.version = mf_cstr(v->manifest->version);
    letters_kick(s);
    return state_dead_add(s->state, &d, e);
}

static int apply_retry(struct supervisor *s, mf_str text, struct err *e)
{
    struct msg_retry r;
    const char *p = text.ptr + sizeof r, *end = text.ptr + text.len;
    struct attempt a = { .when_ms = clock_ms() };

    memcpy(&r, text.ptr, sizeof r);
    if (!cut(&p, end, r.error_len, &a.error) ||
        !cut(&p, end, r.request_len, &a.request) ||
        !cut(&p, end, r.response_len, &a.response))
        return err_set(e, "a worker sent a retry that is cut");
    if (state_retry_put(s->state, &r, a.error, e) != 0)
        return -1;
    return r.attempts ? state_attempt_add(s->state, &r, &a, e) : 0;
}

struct waiting { /* before each report kept in lane.waiting */
    uint32_t type, len;
};

static void apply_waiting(struct supervisor *s, struct sup_lane *l)
{
    size_t at = 0;
    struct err e;

    while (at < l->waiting.len) {
        struct waiting w;
        mf_str text;
        int rc;

        memcpy(&w, l->waiting.data + at, sizeof w);
        at += sizeof w;
        text = (mf_str){ l->waiting.data + at, w.len };
        at += w.len;
        if (w.type == MSG_RETRY) {
            rc = apply_retry(s, text, &e);
        } else if (w.type == MSG_DEAD) {
            rc = apply_dead(s, l, text, &e);
        } else if (w.type == MSG_REVIVED) {
            rc = letters_revived(s, l, text, &e);
        } else {
            struct msg_retry_key k;

            memcpy(&k, text.ptr, sizeof k);
            rc = state_retry_drop(s->state, &k, &e);
        }
        if (rc != 0)
            supervisor_log_state_error(s, &e);
    }
    buf_clear(&l->waiting);
}

static void on_lane_state(struct supervisor *s, struct sup_lane *l,
                          mf_str text)
{
    struct msg_lane_state m;
    size_t listed;
    struct err e;

    memcpy(&m, text.ptr, sizeof m);
    listed = m.pending_count * sizeof *l->pending;
    if (m.pending_count > 2 * LANE_PENDING_MAX ||
        text.len != sizeof m + listed + m.outcome_bytes) {
        log_error("a worker reported lane %u with %zu bytes; not taken", l->id,
                  text.len);
        return;
    }
    if (records_note(s, l, (mf_str){ text.ptr + sizeof m + listed,
                                      m.outcome_bytes },
                      &e) != 0) {
        log_error("lane %u: %s; its worker is ended, and what it reported "
                  "will come again",
                  l->id, e.text);
        child_kill(l->holder->child, SIGKILL);
        return;
    }
    l->pending = xrealloc(l->pending,
                          (m.pending_count + 1) * sizeof *l->pending);
    memcpy(l->pending, text.ptr + sizeof m, listed);
    l->state = m;
    apply_waiting(s, l);
    if (state_lane_put(s->state, &l->state, l->pending, &e) != 0)
        supervisor_log_state_error(s, &e);
    supervisor_state_changed(s);
    replay_progress(s, l);
}

/* A worker that reports without end, and never a state, is out of its mind:
 * the plugin in it may have written over anything. */
static void keep(struct sup_lane *l, const struct generation *from,
                 uint32_t type, mf_str text)
{
    struct waiting w = { type, (uint32_t)text.len };

    if (l->waiting.len + sizeof w + text.len > WAITING_MAX) {
        log_error("worker %s sent %zu bytes of lane %u without a state; it is "
                  "killed",
                  from->group->key, l->waiting.len, l->id);
        child_kill(from->child, SIGKILL);
        return;
    }
    buf_add(&l->waiting, &w, sizeof w);
    buf_str(&l->waiting, text);
}

void lanes_message(struct supervisor *s, const struct generation *from,
                   uint32_t type, mf_str text)
{
    size_t least = type == MSG_LANE_STATE ? sizeof(struct msg_lane_state)
                   : type == MSG_RETRY    ? sizeof(struct msg_retry)
                   : type == MSG_DEAD     ? sizeof(struct msg_dead)
                   : type == MSG_REVIVED  ? sizeof(struct msg_revived)
                                          : sizeof(struct msg_retry_key);
    struct sup_lane *l;
    uint32_t id;

    if (text.len < least) {
        log_error("worker %s sent message %u with %zu bytes", from->group->key,
                  type, text.len);
        return;
    }
    memcpy(&id, text.ptr, sizeof id); /* every one of them begins with it */
    l = lane_find(s, id);
    if (!l || l->holder != from) {
        log_error("worker %s speaks of lane %u, which is not with it",
                  from->group->key, id);
        return;
    }
    if (type == MSG_LANE_STATE)
        on_lane_state(s, l, text);
    else
        keep(l, from, type, text);
}

void lane_free_one(struct sup_lane *l)
{
    free(l->pending);
    free(l->known);
    buf_deinit(&l->waiting);
    ledger_deinit(&l->outcomes);
    free(l);
}

void lanes_free(struct supervisor *s)
{
    while (s->lanes) {
        struct sup_lane *l = s->lanes;

        s->lanes = l->next;
        lane_free_one(l);
    }
}
