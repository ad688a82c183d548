/* SPDX-License-Identifier: Apache-2.0
 *
 * poison.c - which events workers die over, by what the dead one's slot says,
 * and plugins that do not come back.
 *
 * Two deaths over one event make it a dead letter. A run of such events with
 * no delivery between holds the destination instead: a plugin that dies over
 * everything must not eat the lane. Counted in memory alone: after a restart
 * of the host both begin anew. */
#include "supervisor/supervisor.h"

#include "base/clock.h"
#include "base/log.h"
#include "delivery/suspects.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

static const char *doing(uint32_t phase)
{
    switch (phase) {
    case PHASE_MAP:
        return "choosing and mapping";
    case PHASE_JUDGE:
        return "judging the answer to";
    case PHASE_DELIVER:
        return "delivering";
    default:
        return "performing";
    }
}

static struct strike *strike_at(struct group *g, uint32_t lane, uint64_t seq)
{
    struct strike *s;

    for (unsigned i = 0; i < STRIKES_MAX; i++)
        if (g->strikes[i].seq == seq && g->strikes[i].lane == lane)
            return &g->strikes[i];
    s = &g->strikes[g->next_strike++ % STRIKES_MAX];
    memset(s, 0, sizeof *s);
    s->lane = lane;
    s->seq = seq;
    return s;
}

static uint64_t delivered_by(const struct supervisor *s,
                             const struct sup_destination *d)
{
    uint64_t n = 0;

    for (const struct sup_lane *l = s->lanes; l; l = l->next)
        if (l->destination == d)
            n += l->state.counters.delivered;
    return n;
}

static struct sup_destination *destination_of(struct supervisor *s,
                                              uint32_t lane)
{
    for (struct sup_lane *l = s->lanes; l; l = l->next)
        if (l->id == lane)
            return l->destination;
    return NULL;
}

/* Whether one more event may be given up. Where others were delivered since
 * the last such one, the fault is the event's. Where none was over a run of
 * them, it is the plugin's or its settings', and the next ones would all go
 * the same way: they are kept. */
static bool may_strike_out(struct supervisor *s, struct sup_destination *d)
{
    uint64_t delivered = delivered_by(s, d);

    if (delivered != d->delivered_at_out)
        d->outs = 0;
    d->delivered_at_out = delivered;
    if (d->outs == STRIKES_RUN) {
        d->held = true;
        snprintf(d->held_why, sizeof d->held_why,
                 "held: its plugin died over %u events in a row and delivered "
                 "none between; replace the plugin, or resume it for another "
                 "%u", STRIKES_RUN, STRIKES_RUN);
        log_error("destination %s is %s", d->name, d->held_why);
        return false;
    }
    d->outs++;
    return true;
}

void poison_release(struct sup_destination *d)
{
    d->held = false;
    d->outs = 0;
}

void poison_forget(struct group *g)
{
    memset(g->strikes, 0, sizeof g->strikes);
    g->careful = (struct msg_careful){ 0, 0 };
    for (struct sup_destination *d = g->s->destinations; d; d = d->next)
        if (d->group == g)
            poison_release(d);
}

void poison_note(struct group *g, const struct generation *n, const char *how)
{
    uint32_t phase = atomic_load_explicit(&n->slot->phase,
                                          memory_order_acquire);
    uint64_t seq = atomic_load(&n->slot->seq);
    uint64_t last = atomic_load(&n->slot->last);
    uint32_t lane = atomic_load(&n->slot->lane);
    struct sup_destination *d;
    struct strike *s;

    if (phase == PHASE_HOST || seq == 0)
        return;
    if (last > seq) {
        log_error("worker %s: %s, %s one of the events %llu to %llu; each of "
                  "them is tried alone",
                  g->key, how, doing(phase), (unsigned long long)seq,
                  (unsigned long long)last);
        g->careful = (struct msg_careful){ seq, last };
        return;
    }
    s = strike_at(g, lane, seq);
    s->count++;
    d = destination_of(g->s, lane);
    if (s->count == STRIKES_OUT && d && !may_strike_out(g->s, d))
        s->count = 0; /* it waits with the others, and begins anew */
    if (s->count == STRIKES_OUT || !s->count)
        g->restarts.failures = 0; /* the next worker is spared it */
    snprintf(s->why, sizeof s->why,
             "the worker ended twice, last by %s, %s this event; plugin %s, "
             "content %s",
             how, doing(phase), g->plugin, n->hash);
    log_error("worker %s: %s, %s event %llu%s", g->key, how, doing(phase),
              (unsigned long long)seq,
              s->count < STRIKES_OUT ? "" : "; it becomes a dead letter");
}

void poison_tell(struct group *g, struct generation *to)
{
    if (g->careful.to)
        child_send(to->child, MSG_CAREFUL, &g->careful, sizeof g->careful,
                   -1);
    for (unsigned i = 0; i < STRIKES_MAX; i++) {
        struct strike *s = &g->strikes[i];
        struct msg_poison m = { s->lane, (uint32_t)strlen(s->why), s->seq };
        char text[sizeof m + sizeof s->why];

        if (s->count < STRIKES_OUT)
            continue;
        memcpy(text, &m, sizeof m);
        memcpy(text + sizeof m, s->why, m.why_len);
        child_send(to->child, MSG_POISON, text, sizeof m + m.why_len, -1);
    }
}

static void watch(struct generation *n)
{
    int64_t limit, inside;

    if (!n || !n->ready || n->hung ||
        atomic_load_explicit(&n->slot->phase, memory_order_acquire) ==
            PHASE_HOST)
        return;
    limit = atomic_load(&n->slot->limit_ms);
    if (limit <= 0)
        limit = PLUGIN_WITHIN_MS;
    inside = clock_mono_ms() - atomic_load(&n->slot->entered_ms);
    if (inside <= limit)
        return;
    n->hung = true;
    log_error("worker %s: the plugin has not come back for %lld ms; it is "
              "killed",
              n->group->key, (long long)inside);
    child_kill(n->child, SIGKILL);
}

void groups_watch(struct supervisor *s)
{
    for (struct group *g = s->groups; g; g = g->next) {
        watch(g->current);
        watch(g->coming);
    }
}
