/* SPDX-License-Identifier: Apache-2.0 */
#include "base/bucket.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void a_bucket_holds_its_rate(void **state)
{
    struct bucket b;
    int taken = 0;

    (void)state;
    bucket_init(&b, 10, 0);
    for (int64_t ms = 0; ms <= 10000; ms++)
        while (bucket_take(&b, ms))
            taken++;
    assert_in_range(taken, 109, 110); /* a second's worth, and ten seconds */
    assert_in_range(bucket_wait_ms(&b, 10000), 1, 100);
    bucket_init(&b, 0, 0);
    assert_true(bucket_take(&b, 0));
    assert_int_equal(bucket_wait_ms(&b, 0), 0);
}

static void a_clock_that_goes_back_gives_nothing(void **state)
{
    struct bucket b;

    (void)state;
    bucket_init(&b, 1, 5000);
    assert_true(bucket_take(&b, 5000));
    assert_false(bucket_take(&b, 1000));
    assert_true(bucket_take(&b, 2000));
}

/* Batches of more than it holds, as soon as they may: the rate holds all the
 * same, and none waits for ever. */
static void what_is_too_much_goes_when_it_is_full(void **state)
{
    struct bucket b;
    int64_t now = 0;

    (void)state;
    bucket_init(&b, 100, now);
    assert_true(bucket_take_many(&b, 250, now));
    assert_false(bucket_take(&b, now));
    assert_int_equal(bucket_wait_ms(&b, now), 1510);
    for (int i = 0; i < 10; i++) {
        int64_t wait = bucket_wait_many_ms(&b, 250, now);

        assert_int_equal(wait, 2500);
        assert_false(bucket_take_many(&b, 250, now + wait - 1));
        now += wait;
        assert_true(bucket_take_many(&b, 250, now));
    }
}

static void a_burst_of_its_own(void **state)
{
    struct bucket b;

    (void)state;
    bucket_init(&b, 10, 0);
    bucket_change(&b, 10, 500, 0);
    assert_true(bucket_level(&b, 0) == 10); /* what was there stays */
    assert_true(bucket_level(&b, 49000) == 500);
    assert_true(bucket_level(&b, 999000) == 500);
    assert_true(bucket_take_many(&b, 400, 999000));
    assert_int_equal(bucket_wait_many_ms(&b, 101, 999000), 100);
    bucket_change(&b, 10, 20, 999000);
    assert_true(bucket_level(&b, 999000) == 20);
    bucket_owe_many(&b, 50, 999000);
    bucket_change(&b, 1, 0, 999000); /* a debt stays too */
    assert_int_equal(bucket_wait_ms(&b, 999000), 31000);
    bucket_owe_many(&b, -50, 999000);
    assert_true(bucket_level(&b, 999000) == 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_bucket_holds_its_rate),
        cmocka_unit_test(a_clock_that_goes_back_gives_nothing),
        cmocka_unit_test(what_is_too_much_goes_when_it_is_full),
        cmocka_unit_test(a_burst_of_its_own),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
