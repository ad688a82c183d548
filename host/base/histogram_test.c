/* SPDX-License-Identifier: Apache-2.0 */
#include "base/histogram.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define US 1000ll
#define MS 1000000ll

static void each_time_has_its_place(void **state)
{
    static const struct {
        int64_t ns;
        unsigned place;
    } rows[] = {
        { 0, 0 },           { 250 * US, 0 }, { 250 * US + 1, 1 },
        { 1 * MS, 2 },      { 3 * MS, 4 },   { 10000 * MS, 13 },
        { 14400000 * MS, HISTOGRAM_BOUNDS - 1 },
        { 14400001 * MS, HISTOGRAM_BOUNDS }, { INT64_MAX, HISTOGRAM_BOUNDS },
    };
    struct histogram h = { { 0 }, 0 };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_int_equal(histogram_place(rows[i].ns), rows[i].place);
    for (unsigned i = 1; i < HISTOGRAM_BOUNDS; i++)
        assert_true(histogram_bounds_ms[i] > histogram_bounds_ms[i - 1]);
    histogram_add(&h, 2 * MS);
    histogram_add(&h, 2 * MS);
    histogram_add(&h, -5);
    assert_int_equal(h.counts[3], 2);
    assert_int_equal(h.counts[0], 1);
    assert_int_equal(h.sum_ns, 4 * MS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_time_has_its_place),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
