/* SPDX-License-Identifier: Apache-2.0 */
#include "base/retry_after.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define NOW 784111777000 /* Sun, 06 Nov 1994 08:49:37 GMT */

static const struct {
    const char *value;
    int64_t ms;
} cases[] = {
    { "120", 120000 },
    { " 2 ", 2000 },
    { "0", 0 },
    { "86400", 86400000 },
    { "86401", RETRY_AFTER_MAX_MS },
    { "99999999999", RETRY_AFTER_MAX_MS },
    { "18446744073709551615", RETRY_AFTER_MAX_MS },
    { "99999999999999999999999", 0 }, /* no number that there is */
    { "Sun, 06 Nov 1994 08:50:07 GMT", 30000 },
    { "Sunday, 06-Nov-94 08:50:07 GMT", 30000 },
    { "Sun Nov  6 08:50:07 1994", 30000 },
    { "Sun, 06 Nov 1994 08:49:37 GMT", 0 }, /* now */
    { "Sun, 06 Nov 1994 08:00:00 GMT", 0 },
    { "Thu, 01 Jan 1970 00:00:00 GMT", 0 },
    { "Mon, 07 Nov 1994 08:49:36 GMT", 86399000 },
    { "Fri, 31 Dec 9999 23:59:59 GMT", RETRY_AFTER_MAX_MS },
    { "Fri, 31 Dec 99999 23:59:59 GMT", 0 },
    { "Sun, 32 Nov 1994 08:50:07 GMT", 0 },
    { "Sun, 06 Nov 1994 08:50:07 GMT and a day", 0 },
    { "Sun, 06 Nov 1994 08:50:07 CET", 0 },
    { "soon", 0 },
    { "-5", 0 },
    { "1.5", 0 },
    { "", 0 },
    { "          ", 0 },
    { "Sunday, the sixth of November in the year nineteen hundred and "
      "ninety-four",
      0 },
};

static void it_takes_seconds_and_dates(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int64_t ms = retry_after_ms(mf_cstr(cases[i].value), NOW);

        if (ms != cases[i].ms)
            fail_msg("\"%s\" gives %lld", cases[i].value, (long long)ms);
    }
}

static void a_limit_may_be_lifted_at_a_time(void **state)
{
    static const struct {
        const char *value;
        int64_t ms;
    } rows[] = {
        { "8", 8000 },
        { " 86400 ", RETRY_AFTER_MAX_MS },
        { "784111787", 10000 }, /* ten seconds after NOW */
        { "784111777", 0 },
        { "784111700", 0 },
        { "784198177", 0 }, /* a day after NOW */
        { "99999999999", 0 },
        { "18446744073709551615", 0 },
        { "Sun, 06 Nov 1994 08:50:07 GMT", 30000 },
        { "", 0 },
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        int64_t ms = rate_reset_ms(mf_cstr(rows[i].value), NOW);

        if (ms != rows[i].ms)
            fail_msg("\"%s\" gives %lld", rows[i].value, (long long)ms);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_takes_seconds_and_dates),
        cmocka_unit_test(a_limit_may_be_lifted_at_a_time),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
