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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(waits_double_under_full_jitter),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
