/* SPDX-License-Identifier: Apache-2.0
 *
 * limiter.h - how many calls to a far side may be under way at a time, found
 * out by trying. Pure arithmetic over times handed in.
 *
 * It grows while calls go well and all that is allowed is used: quickly at
 * the start (double for each round of calls), later by one a round, by more
 * the longer nothing happens. It is cut
 *   - at once, at most once in the time of a call, when the far side says
 *     that it is busy (429, 503, 408) or does not answer;
 *   - when rounds of calls take much longer than is usual there, and not for
 *     a moment only, in which a machine was busy, nor while we ourselves are
 *     behind (strain.h);
 *   - when of the last calls more failed than is usual there.
 * What is usual is learned. When a much lower limit did not make the calls
 * quicker, or fail less, they are not slow or failing because of us: then
 * that is what is usual from now on, and the limit is what it was before.
 * Without this a far side that is merely slow, or a few events that always
 * fail, would end in one call at a time. */
#ifndef DELIVERY_LIMITER_H
#define DELIVERY_LIMITER_H

#include <stdbool.h>
#include <stdint.h>

#define LIMITER_START    8        /* calls at a time, to begin with */
#define LIMITER_SAMPLES  64       /* of a round, for its median time */
#define LIMITER_ROUND    8        /* calls of a round, at the least */
#define LIMITER_TRIED    64       /* calls to judge failures by, at the least */
#define LIMITER_SLACK_NS 20000000 /* that a call may take longer, whatever is
                                     usual: our own turns of the loop */

#define LIMITER_MOMENT_NS 100000000 /* for which they may be slow */

enum limiter_result {
    LIMITER_GOOD, /* also: refused for what the event is */
    LIMITER_ILL,  /* failed, for whatever reason */
    LIMITER_BUSY  /* said that it is too much, or nothing */
};

/* One thing that is watched: how long calls take, or how many fail. */
struct limiter_sign {
    double usual;
    bool cutting; /* there were cuts that are still to show what they help */
    double limit; /* of before them */
    double from, from_limit; /* what the first left; 0: not known yet */
};

struct limiter {
    double limit, step; /* step: what a round adds */
    unsigned most;
    bool quick;         /* doubling, until the first cut */
    bool behind;        /* we are: times say nothing of the far side */
    unsigned calm;      /* rounds since the last cut */
    int64_t cut_ns;     /* when that was; calls begun before do not count */
    struct limiter_sign slow, ill;
    int64_t slow_ns;       /* since when rounds are slow, 0: they are not */
    unsigned calls, round; /* of the round under way; of how many it is */
    int64_t samples[LIMITER_SAMPLES]; /* how long they took */
    unsigned tried, failed; /* calls since failures were last looked at */
};

void limiter_init(struct limiter *l, unsigned most);
unsigned limiter_limit(const struct limiter *l);
/* A call has ended. under_way: how many there were, itself included. */
void limiter_done(struct limiter *l, enum limiter_result result,
                  int64_t began_ns, int64_t now_ns, unsigned under_way);
void limiter_behind(struct limiter *l, bool behind);
/* The far side is back: find the limit quickly again. */
void limiter_revive(struct limiter *l);

#endif
