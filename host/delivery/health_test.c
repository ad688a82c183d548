/* SPDX-License-Identifier: Apache-2.0 */
#include "delivery/health.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define MOST UINT64_MAX /* chance that makes the longest wait */

static void fail_until_ill(struct health *h, int64_t now)
{
    for (unsigned i = 0; i < BREAKER_FAILURES - 1; i++)
        assert_int_equal(health_judge(h, true, false, now, MOST),
                         HEALTH_SAME);
    assert_int_equal(health_judge(h, true, false, now, MOST), HEALTH_ILL);
    assert_true(health_probing(h));
}

static void one_success_between_is_enough(void **state)
{
    struct health h = { 0 };

    (void)state;
    for (unsigned i = 0; i < 100; i++)
        assert_int_equal(health_judge(&h, i % BREAKER_FAILURES != 0, false, 0,
                                      MOST),
                         HEALTH_SAME);
    assert_false(health_probing(&h));
}

/* Four hours of being down: how many probes go out, how far apart. */
static void an_outage_is_probed_gently(void **state)
{
    struct health h = { 0 };
    int64_t now = 1000000, end = now + 4 * 3600000, last = now;
    unsigned probes = 0;

    (void)state;
    fail_until_ill(&h, now);
    while (h.probe_ms < end) {
        assert_true(h.probe_ms - last >= PROBE_FIRST_MS);
        assert_true(h.probe_ms - last <= PROBE_LAST_MS);
        last = now = h.probe_ms;
        assert_int_equal(health_judge(&h, true, true, now, MOST),
                         HEALTH_SAME);
        probes++;
    }
    assert_in_range(probes, 240, 250);
    assert_int_equal(health_judge(&h, false, true, now, 0), HEALTH_WELL);
    assert_false(health_probing(&h));
    fail_until_ill(&h, now); /* and it begins anew, */
    assert_true(h.probe_ms - now <= 1000); /* from the shortest wait */
}

/* Sixty-four calls that were under way when it went down are one failure. */
static void calls_of_before_do_not_delay_the_probe(void **state)
{
    struct health h = { 0 };
    int64_t probe;

    (void)state;
    fail_until_ill(&h, 5000);
    probe = h.probe_ms;
    for (unsigned i = 0; i < 64; i++)
        health_judge(&h, true, false, 6000, MOST);
    assert_int_equal(h.probe_ms, probe);
}

static void quiet_is_kept_and_has_an_end(void **state)
{
    struct health h = { 0 };

    (void)state;
    health_hold(&h, 7000, 1000);
    assert_int_equal(h.hold_ms, 8000);
    health_hold(&h, 1000, 1500); /* a shorter one takes nothing back */
    assert_int_equal(h.hold_ms, 8000);
    health_hold(&h, 86400000, 2000);
    assert_int_equal(h.hold_ms, 2000 + HOLD_MAX_MS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_success_between_is_enough),
        cmocka_unit_test(an_outage_is_probed_gently),
        cmocka_unit_test(calls_of_before_do_not_delay_the_probe),
        cmocka_unit_test(quiet_is_kept_and_has_an_end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
