/* SPDX-License-Identifier: Apache-2.0 */
#include "delivery/pacing.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

/* Takes whatever may be taken in these milliseconds. */
static unsigned take(struct pacing *p, bool retry, int64_t from, int64_t to)
{
    unsigned n = 0;

    for (int64_t ms = from; ms < to; ms++)
        while (pacing_may(p, retry, ms)) {
            pacing_take(p, retry, ms);
            n++;
        }
    return n;
}

static void retries_stay_under_the_declared_ceiling(void **state)
{
    struct pacing p;

    (void)state;
    pacing_init(&p, 0, 50, 0);
    assert_in_range(take(&p, true, 0, 10000), 540, 550);
}

/* An hour in which everything fails: nothing but retries wants to go. */
static void in_an_outage_the_floor_holds(void **state)
{
    struct pacing p;
    unsigned n;

    (void)state;
    pacing_init(&p, 0, 0, 0);
    n = take(&p, true, 0, 3600000);
    assert_in_range(n, (unsigned)RETRIES_LEAST * 3590,
                    (unsigned)RETRIES_LEAST * 3601);
}

/* At 1,000 first attempts a second 200 retries may go, and ten seconds after
 * the last of these hardly more than the floor. */
static void the_derived_ceiling_follows_the_load(void **state)
{
    struct pacing p;
    unsigned n = 0;

    (void)state;
    pacing_init(&p, 0, 0, 0);
    for (int64_t ms = 0; ms < 60000; ms++) {
        pacing_take(&p, false, ms);
        if (ms >= 50000)
            n += take(&p, true, ms, ms + 1);
    }
    assert_in_range(n, 1900, 2250); /* with the burst of a second */
    assert_in_range((int)pacing_ceiling(&p, 60000), 195, 201);
    assert_in_range((int)pacing_ceiling(&p, 70000), 70, 76);
    assert_true(pacing_ceiling(&p, 100000) <= RETRIES_LEAST);
}

/* The rate counts calls of either kind, in whatever order they come. */
static void the_rate_is_over_all_calls(void **state)
{
    struct pacing p;
    unsigned first = 0, again = 0;

    (void)state;
    pacing_init(&p, 100, 20, 0);
    for (int64_t ms = 0; ms < 10000; ms++) {
        again += take(&p, true, ms, ms + 1);
        first += take(&p, false, ms, ms + 1);
    }
    assert_in_range(first + again, 1090, 1100);
    assert_in_range(again, 210, 220);
}

static void waiting_as_told_is_enough(void **state)
{
    struct pacing p;
    int64_t now = 0;

    (void)state;
    pacing_init(&p, 7, 3, now);
    for (unsigned i = 0; i < 100; i++) {
        int64_t wait = pacing_wait_ms(&p, true, now);

        assert_int_equal(pacing_may(&p, true, now), wait == 0);
        now += wait;
        assert_true(pacing_may(&p, true, now));
        pacing_take(&p, true, now);
    }
    assert_in_range(now, (100 - 3) * 1000 / 3, (100 - 2) * 1000 / 3 + 100);
}

/* What is owed is paid before anything else goes. */
static void debts_are_paid(void **state)
{
    struct pacing p;

    (void)state;
    pacing_init(&p, 10, 0, 0);
    for (unsigned i = 0; i < 15; i++)
        bucket_owe(&p.calls, 0);
    assert_int_equal(pacing_wait_ms(&p, false, 0), 600);
    assert_int_equal(take(&p, false, 0, 600), 0);
    assert_int_equal(take(&p, false, 600, 1000), 4);
    bucket_set(&p.calls, 1e9, 1000);
    assert_true(bucket_level(&p.calls, 1000) == 10);
    bucket_set(&p.calls, -2, 1000);
    assert_int_equal(pacing_wait_ms(&p, false, 1000), 300);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(retries_stay_under_the_declared_ceiling),
        cmocka_unit_test(in_an_outage_the_floor_holds),
        cmocka_unit_test(the_derived_ceiling_follows_the_load),
        cmocka_unit_test(the_rate_is_over_all_calls),
        cmocka_unit_test(waiting_as_told_is_enough),
        cmocka_unit_test(debts_are_paid),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
