/* SPDX-License-Identifier: Apache-2.0 */
#include "delivery/retries.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void they_come_in_the_order_of_their_times(void **state)
{
    struct retries r = { 0 };
    uint32_t seed = 12345;
    int64_t last = -1;

    (void)state;
    assert_true(retries_due_ms(&r) == INT64_MAX);
    for (uint32_t i = 0; i < 1000; i++) {
        struct part p = { .key = i };

        seed = seed * 1664525 + 1013904223;
        p.first_ms = seed % 500;
        retries_push(&r, &p, p.first_ms);
        if (i % 3 == 2) /* some leave between */
            retries_pop(&r);
    }
    while (r.count) {
        int64_t due = retries_due_ms(&r);
        struct part p = retries_pop(&r);

        assert_true(due >= last);
        assert_int_equal(p.first_ms, due);
        last = due;
    }
    retries_deinit(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(they_come_in_the_order_of_their_times),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
