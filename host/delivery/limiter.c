/* SPDX-License-Identifier: Apache-2.0
 *
 * limiter.c - see limiter.h. */
#include "delivery/limiter.h"

#include <stdlib.h>
#include <string.h>

#define CUT_BUSY   0.7  /* what a cut leaves */
#define CUT_SIGN   0.8
#define SLOW_TIMES 3    /* the usual time: more is slow */
#define SLOW_QUICK 1.5  /* the same, to end the doubling */
#define ILL_MORE   0.1  /* share that may fail beyond twice the usual one */
#define CALM_MAX   8    /* rounds until a round adds twice as much */
#define STEP_MAX   64.0

static void set_limit(struct limiter *l, double limit)
{
    if (limit > l->most)
        limit = l->most;
    l->limit = limit < 1 ? 1 : limit;
}

static void new_round(struct limiter *l)
{
    l->calls = 0;
    l->round = l->limit > LIMITER_ROUND ? (unsigned)l->limit : LIMITER_ROUND;
}

/* When a sign has led to a limit of one part in `part`, it has helped if less
 * than `left` of the sign remains. Refusals are quick, so that they are more
 * than their part of the calls: failures are given a longer trial. */
struct trial {
    double part, left;
};

static const struct trial slow_trial = { 2, 0.7 }, ill_trial = { 8, 0.5 };

void limiter_init(struct limiter *l, unsigned most)
{
    memset(l, 0, sizeof *l);
    l->most = most ? most : 1;
    l->limit = l->most < LIMITER_START ? l->most : LIMITER_START;
    l->step = 1;
    l->quick = true;
    l->cut_ns = INT64_MIN;
    new_round(l);
}

unsigned limiter_limit(const struct limiter *l)
{
    return (unsigned)l->limit;
}

static void cut(struct limiter *l, double leaves, int64_t now_ns)
{
    set_limit(l, l->limit * leaves);
    l->quick = false;
    l->step = 1;
    l->calm = 0;
    l->cut_ns = now_ns;
    l->tried = l->failed = 0;
    new_round(l);
}

static void begin_cutting(struct limiter *l, struct limiter_sign *s)
{
    s->cutting = true;
    s->limit = l->limit;
    s->from = 0;
}

/* A sign stands at `value`, which is more than is usual: cut, or see that
 * cutting is no remedy. What it stood at before the first cut is of no use to
 * compare with: the limit was growing. */
static void bad(struct limiter *l, struct limiter_sign *s, double value,
                const struct trial *t, int64_t now_ns)
{
    bool tried = s->cutting && s->from > 0 &&
                 l->limit <= s->from_limit / t->part;

    if (s->cutting && s->from <= 0) {
        s->from = value;
        s->from_limit = l->limit;
    }
    if (tried && value >= t->left * s->from) {
        set_limit(l, s->limit);
        l->slow.cutting = l->ill.cutting = false;
        s->usual = value;
    } else if (l->limit <= 1) { /* alone it is not our doing */
        s->cutting = false;
        s->usual = value;
    } else {
        if (tried || !s->cutting)
            begin_cutting(l, s);
        cut(l, CUT_SIGN, now_ns);
    }
}

static int by_value(const void *left, const void *right)
{
    const int64_t *a = left, *b = right;

    return *a < *b ? -1 : *a > *b;
}

static double median(struct limiter *l)
{
    unsigned n = l->calls < LIMITER_SAMPLES ? l->calls : LIMITER_SAMPLES;

    qsort(l->samples, n, sizeof *l->samples, by_value);
    return (double)l->samples[n / 2];
}

static void end_round(struct limiter *l, int64_t now_ns)
{
    double took = median(l), usual = l->slow.usual;

    new_round(l);
    if (l->behind) {
        l->slow_ns = 0;
        return;
    }
    if (usual > 0 && took > SLOW_QUICK * usual + LIMITER_SLACK_NS)
        l->quick = false;
    if (usual > 0 && took > SLOW_TIMES * usual + LIMITER_SLACK_NS) {
        if (!l->slow_ns)
            l->slow_ns = now_ns;
        else if (now_ns - l->slow_ns >= LIMITER_MOMENT_NS)
            bad(l, &l->slow, took, &slow_trial, now_ns);
        return;
    }
    l->slow_ns = 0;
    l->slow.cutting = false;
    if (usual <= 0 || took < usual)
        l->slow.usual = took;
    if (++l->calm == CALM_MAX) {
        l->calm = 0;
        l->step = l->step * 2 < STEP_MAX ? l->step * 2 : STEP_MAX;
    }
}

void limiter_behind(struct limiter *l, bool behind)
{
    l->behind = behind;
}

static void judge_failures(struct limiter *l, int64_t now_ns)
{
    double share = (double)l->failed / l->tried;

    l->tried = l->failed = 0;
    if (share > 2 * l->ill.usual + ILL_MORE) {
        bad(l, &l->ill, share, &ill_trial, now_ns);
        return;
    }
    l->ill.cutting = false;
    if (share < l->ill.usual) /* chance alone would soon find the least */
        l->ill.usual = (3 * l->ill.usual + share) / 4;
}

void limiter_done(struct limiter *l, enum limiter_result result,
                  int64_t began_ns, int64_t now_ns, unsigned under_way)
{
    if (began_ns < l->cut_ns)
        return;
    if (result == LIMITER_BUSY) {
        l->slow.cutting = l->ill.cutting = false;
        cut(l, CUT_BUSY, now_ns);
        return;
    }
    if (l->calls < LIMITER_SAMPLES)
        l->samples[l->calls] = now_ns - began_ns;
    l->calls++;
    l->tried++;
    l->failed += result == LIMITER_ILL;
    if (!l->slow.cutting && !l->ill.cutting && 2 * under_way >= l->limit)
        set_limit(l, l->limit + (l->quick ? 1 : l->step / l->limit));
    if (l->calls >= l->round)
        end_round(l, now_ns);
    if (l->tried >= LIMITER_TRIED && l->tried >= l->limit)
        judge_failures(l, now_ns);
}

void limiter_revive(struct limiter *l)
{
    l->quick = true;
    l->slow.cutting = l->ill.cutting = false;
    new_round(l);
}
