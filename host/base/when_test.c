/* SPDX-License-Identifier: Apache-2.0
 *
 * Moments as operators write them, and what is none. */
#include "base/when.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define NOW 1768212000000 /* 2026-01-12T10:00:00Z */

static void each_form_is_read(void **state)
{
    static const struct {
        mf_str text;
        int64_t ms;
    } cases[] = {
        { MF_STR("now"), NOW },
        { MF_STR("-2h"), NOW - 7200000 },
        { MF_STR("-90s"), NOW - 90000 },
        { MF_STR("-1d"), NOW - 86400000 },
        { MF_STR("1768212000000"), NOW },
        { MF_STR("2026-01-12T10:00:00Z"), NOW },
        { MF_STR("2026-01-12T10:00:00.250Z"), NOW + 250 },
        { MF_STR("2026-01-12"), NOW - 36000000 },
        { MF_STR(" -0s "), NOW },
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int64_t ms = -1;

        assert_true(when_parse(cases[i].text, NOW, &ms));
        assert_int_equal(ms, cases[i].ms);
    }
}

static void what_is_none_is_refused(void **state)
{
    static const mf_str cases[] = {
        MF_STR(""), MF_STR("-"), MF_STR("yesterday"), MF_STR("2h"),
        MF_STR("-2y"), MF_STR("2026"), MF_STR("20260112"),
        MF_STR("2026-13-01"), MF_STR("--2h"), MF_STR("-999999999d"),
        MF_STR("-1768212000000"),
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int64_t ms;

        assert_false(when_parse(cases[i], NOW, &ms));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_form_is_read),
        cmocka_unit_test(what_is_none_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
