/* SPDX-License-Identifier: Apache-2.0 */
#include "delivery/backoff.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void waits_double_under_full_jitter(void **state)
{
    (void)state;
    assert_int_equal(backoff_ms(1, 1000, 300000, 0, 0), 0);
    assert_int_equal(backoff_ms(1, 1000, 300000, 0, UINT64_MAX), 999);
    assert_int_equal(backoff_ms(4, 1000, 300000, 0, UINT64_MAX), 7999);
    assert_int_equal(backoff_ms(60, 1000, 300000, 0, UINT64_MAX), 299999);
    assert_int_equal(backoff_ms(1, 1000, 300000, 0, 1ull << 63), 500);
    assert_int_equal(backoff_ms(1, 1000, 300000, 30000, 0), 30000);
}

static void a_bucket_holds_its_rate(void **state)
{
    struct bucket b;
    unsigned taken = 0;

    (void)state;
    bucket_init(&b, 10, 0);
    for (int64_t ms = 0; ms <= 10000; ms++)
        while (bucket_take(&b, ms))
            taken++;
    assert_in_range(taken, 109, 110); /* the burst, and ten a second */
    assert_in_range(bucket_wait_ms(&b, 10000), 1, 100);
    bucket_init(&b, 0, 0);
    assert_true(bucket_take(&b, 0));
    assert_int_equal(bucket_wait_ms(&b, 0), 0);
}

static void a_clock_that_jumps_back_gives_nothing_away(void **state)
{
    struct bucket b;

    (void)state;
    bucket_init(&b, 1, 5000);
    assert_true(bucket_take(&b, 5000));
    assert_false(bucket_take(&b, 1000));
    assert_true(bucket_take(&b, 2000));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(waits_double_under_full_jitter),
        cmocka_unit_test(a_bucket_holds_its_rate),
        cmocka_unit_test(a_clock_that_jumps_back_gives_nothing_away),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
