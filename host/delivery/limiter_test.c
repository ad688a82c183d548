/* SPDX-License-Identifier: Apache-2.0
 *
 * The limiter against far sides that are simulated: as many calls as it
 * allows are under way all the time, and each takes what the far side says. */
#include "delivery/limiter.h"

#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define MOST 64
#define MS   1000000ll

struct far_side {
    int64_t work_ns;   /* of one call, when nothing is in its way */
    unsigned workers;  /* calls it works on at a time; the others queue */
    unsigned admits;   /* calls it takes; more get 429. 0: all */
    double failing;    /* share of calls that get 500, whatever the load */
    bool down;         /* answers 503 to everything, at once */
    bool silent;       /* answers nothing; the call ends after a second */
};

struct call_sim {
    int64_t began, ends;
    enum limiter_result result;
};

struct sim {
    struct limiter l;
    struct far_side far;
    struct call_sim calls[4096];
    unsigned under_way, peak;
    int64_t now, free_at[4096]; /* of each worker */
    uint64_t good, ill, busy;
    uint32_t seed;
};

static double chance(struct sim *s)
{
    s->seed = s->seed * 1664525 + 1013904223;
    return (s->seed >> 8) / 16777216.0;
}

static int64_t queue(struct sim *s)
{
    unsigned best = 0;

    for (unsigned i = 1; i < s->far.workers; i++)
        if (s->free_at[i] < s->free_at[best])
            best = i;
    if (s->free_at[best] < s->now)
        s->free_at[best] = s->now;
    return s->free_at[best] += s->far.work_ns;
}

static void begin(struct sim *s)
{
    struct call_sim *c = &s->calls[s->under_way];
    double noise = 0.9 + 0.2 * chance(s);

    c->began = s->now;
    c->result = chance(s) < s->far.failing ? LIMITER_ILL : LIMITER_GOOD;
    if (s->far.silent || s->far.down) {
        c->ends = s->now + (s->far.silent ? 1000 * MS : 5 * MS);
        c->result = LIMITER_BUSY;
    } else if (s->far.admits && s->under_way >= s->far.admits) {
        c->ends = s->now + 2 * MS;
        c->result = LIMITER_BUSY;
    } else if (s->far.workers) {
        c->ends = queue(s);
    } else {
        c->ends = s->now + (int64_t)((double)s->far.work_ns * noise);
    }
    s->under_way++;
}

static void end_first(struct sim *s)
{
    unsigned first = 0;
    struct call_sim c;

    for (unsigned i = 1; i < s->under_way; i++)
        if (s->calls[i].ends < s->calls[first].ends)
            first = i;
    c = s->calls[first];
    if (c.ends > s->now)
        s->now = c.ends;
    limiter_done(&s->l, c.result, c.began, s->now, s->under_way);
    s->calls[first] = s->calls[--s->under_way];
    s->good += c.result == LIMITER_GOOD;
    s->ill += c.result == LIMITER_ILL;
    s->busy += c.result == LIMITER_BUSY;
    assert_true(limiter_limit(&s->l) >= 1);
    assert_true(limiter_limit(&s->l) <= s->l.most);
    if (limiter_limit(&s->l) > s->peak)
        s->peak = limiter_limit(&s->l);
}

/* Counts anew, and runs for so long. */
static void go_on(struct sim *s, int64_t ms)
{
    int64_t end = s->now + ms * MS;

    s->good = s->ill = s->busy = s->peak = 0;
    while (s->now < end) {
        while (s->under_way < limiter_limit(&s->l))
            begin(s);
        end_first(s);
    }
}

static struct sim *sim_new(unsigned most, struct far_side far)
{
    struct sim *s = xcalloc(1, sizeof *s);

    limiter_init(&s->l, most);
    s->far = far;
    s->seed = 7;
    s->now = 1000 * MS;
    return s;
}

static void it_starts_quickly(void **state)
{
    struct sim *s = sim_new(256, (struct far_side){ .work_ns = 20 * MS });

    (void)state;
    assert_int_equal(limiter_limit(&s->l), LIMITER_START);
    go_on(s, 150); /* 8, 16, 32, 64, 128, 256: five rounds of 20 ms */
    assert_int_equal(limiter_limit(&s->l), 256);
    free(s);
}

/* What is not used does not grow. */
static void it_grows_only_when_used(void **state)
{
    struct limiter l;

    (void)state;
    limiter_init(&l, MOST);
    for (int i = 0; i < 1000; i++)
        limiter_done(&l, LIMITER_GOOD, i * MS, (i + 1) * MS, 1);
    assert_int_equal(limiter_limit(&l), LIMITER_START);
}

static void a_hidden_queue_is_found(void **state)
{
    struct far_side far = { .work_ns = 50 * MS, .workers = 12 };
    struct sim *s = sim_new(256, far);
    uint64_t most;

    (void)state;
    go_on(s, 3000);
    go_on(s, 20000);
    most = 20000 / 50 * 12;
    assert_true(s->good > most * 95 / 100); /* it is kept busy, */
    assert_true(s->peak <= 12 * 5);         /* not buried */
    free(s);
}

static void a_hidden_limit_with_429_is_found(void **state)
{
    struct far_side far = { .work_ns = 50 * MS, .admits = 30 };
    struct sim *s = sim_new(256, far);

    (void)state;
    go_on(s, 3000);
    go_on(s, 20000);
    assert_true(s->good > 20000 / 50 * 30 * 75 / 100);
    assert_true(s->busy < s->good / 20);
    assert_true(s->peak <= 40);
    free(s);
}

/* Its capacity falls to a fourth: the limit follows, and comes back. */
static void one_that_weakens_is_not_beaten(void **state)
{
    struct far_side far = { .work_ns = 50 * MS, .workers = 40 };
    struct sim *s = sim_new(256, far);

    (void)state;
    go_on(s, 10000);
    assert_true(limiter_limit(&s->l) >= 40);
    s->far.workers = 10;
    go_on(s, 10000);
    go_on(s, 10000);
    assert_true(s->peak <= 10 * 4);
    s->far.workers = 40;
    memset(s->free_at, 0, sizeof s->free_at);
    go_on(s, 3000);
    go_on(s, 10000);
    assert_true(s->good > 10000 / 50 * 40 * 90 / 100);
    free(s);
}

/* Ten times slower for a reason that is not the load: cutting would only
 * make it worse. */
static void one_that_is_merely_slow_is_used_fully(void **state)
{
    struct sim *s = sim_new(MOST, (struct far_side){ .work_ns = 50 * MS });

    (void)state;
    go_on(s, 3000);
    s->far.work_ns = 500 * MS;
    go_on(s, 15000);
    go_on(s, 20000);
    assert_true(s->good > 20000 / 500 * MOST * 95 / 100);
    s->far.work_ns = 50 * MS;
    go_on(s, 20000);
    assert_true(s->good > 20000 / 50 * MOST * 95 / 100);
    free(s);
}

/* A machine that was busy with something else for a moment. */
static void a_hiccup_is_no_reason(void **state)
{
    struct sim *s = sim_new(MOST, (struct far_side){ .work_ns = 5 * MS });

    (void)state;
    go_on(s, 2000);
    for (unsigned n = 0; n < 20; n++) {
        for (unsigned i = 0; i < s->under_way; i++)
            s->calls[i].ends += 80 * MS;
        go_on(s, 300);
        assert_int_equal(limiter_limit(&s->l), MOST);
    }
    free(s);
}

/* A fifth of the events always gets 500, at any load. */
/* Calls take ten times as long because our own loop is late: whoever the
 * limit was cut for would get less than its neighbours. */
static void our_own_lag_is_no_reason(void **state)
{
    struct sim *s = sim_new(MOST, (struct far_side){ .work_ns = 5 * MS });

    (void)state;
    go_on(s, 2000);
    assert_int_equal(limiter_limit(&s->l), MOST);
    limiter_behind(&s->l, true);
    s->far.work_ns = 50 * MS;
    go_on(s, 5000);
    assert_int_equal(limiter_limit(&s->l), MOST);
    limiter_behind(&s->l, false);
    s->far.work_ns = 5 * MS;
    go_on(s, 1000);
    assert_int_equal(limiter_limit(&s->l), MOST);
    free(s);
}

static void events_that_always_fail_do_not_end_it(void **state)
{
    struct far_side far = { .work_ns = 20 * MS, .failing = 0.2 };
    struct sim *s = sim_new(MOST, far);

    (void)state;
    go_on(s, 10000);
    go_on(s, 20000);
    assert_true(s->good + s->ill > 20000 / 20 * MOST * 80 / 100);
    free(s);
}

/* 429 to whatever comes is never taken for what is usual. */
static void one_that_is_busy_gets_one_call_at_a_time(void **state)
{
    struct sim *s = sim_new(MOST, (struct far_side){ .work_ns = 20 * MS });

    (void)state;
    go_on(s, 2000);
    assert_int_equal(limiter_limit(&s->l), MOST);
    s->far.down = true;
    go_on(s, 5000);
    assert_int_equal(limiter_limit(&s->l), 1);
    go_on(s, 60000);
    assert_int_equal(s->peak, 1);
    free(s);
}

static void recovery_is_quick(void **state)
{
    struct sim *s = sim_new(MOST, (struct far_side){ .work_ns = 20 * MS });

    (void)state;
    go_on(s, 2000);
    s->far.silent = true;
    go_on(s, 30000);
    assert_int_equal(limiter_limit(&s->l), 1);
    s->far.silent = false;
    limiter_revive(&s->l); /* as when the breaker closes */
    go_on(s, 1000 + 200);  /* the call that hung is over first */
    assert_int_equal(limiter_limit(&s->l), MOST);
    free(s);
}

/* Without the breaker's help: a few rounds of more and more. */
static void it_climbs_faster_the_calmer_it_is(void **state)
{
    struct sim *s = sim_new(256, (struct far_side){ .work_ns = 20 * MS });

    (void)state;
    s->l.limit = 1;
    s->l.quick = false;
    go_on(s, 20 * 60);
    assert_int_equal(limiter_limit(&s->l), 256);
    free(s);
}

static void calls_of_before_a_cut_do_not_cut_again(void **state)
{
    struct limiter l;

    (void)state;
    limiter_init(&l, MOST);
    l.limit = MOST;
    for (int i = 0; i < MOST; i++) /* one breath of 64 failures */
        limiter_done(&l, LIMITER_BUSY, 10 * MS, 20 * MS + i, MOST);
    assert_int_equal(limiter_limit(&l), (unsigned)(MOST * 0.7));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_starts_quickly),
        cmocka_unit_test(it_grows_only_when_used),
        cmocka_unit_test(a_hidden_queue_is_found),
        cmocka_unit_test(a_hidden_limit_with_429_is_found),
        cmocka_unit_test(one_that_weakens_is_not_beaten),
        cmocka_unit_test(one_that_is_merely_slow_is_used_fully),
        cmocka_unit_test(a_hiccup_is_no_reason),
        cmocka_unit_test(our_own_lag_is_no_reason),
        cmocka_unit_test(events_that_always_fail_do_not_end_it),
        cmocka_unit_test(one_that_is_busy_gets_one_call_at_a_time),
        cmocka_unit_test(recovery_is_quick),
        cmocka_unit_test(it_climbs_faster_the_calmer_it_is),
        cmocka_unit_test(calls_of_before_a_cut_do_not_cut_again),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
