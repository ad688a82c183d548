/* SPDX-License-Identifier: Apache-2.0
 *
 * quotas_test.c - rates of sources, by a clock that the test turns. */
#include "ingest/quotas.h"

#include "base/clock.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define CONFIG(sources) json_root(MF_STR("{\"sources\":[" sources "]}"))
#define ALL                                                     \
    "{\"id\":7,\"name\":\"web\",\"rate\":100,\"burst\":0},"     \
    "{\"id\":2,\"name\":\"app\",\"rate\":0.5,\"burst\":10},"    \
    "{\"id\":5,\"name\":\"free\"}"

static struct quotas *q;

static int begin(void **state)
{
    (void)state;
    clock_mono_skew_ms = 0;
    q = quotas_new();
    return 0;
}

static int end(void **state)
{
    (void)state;
    quotas_free(q);
    clock_mono_skew_ms = 0;
    return 0;
}

/* Milliseconds of the machine's own pass while the test runs. */
#define assert_about(got, want) assert_in_range(got, (want) - 400, (want) + 5)

static void rates_hold(void **state)
{
    size_t taken = 0;

    (void)state;
    assert_false(quotas_any(q));
    quotas_configure(q, CONFIG(ALL));
    assert_true(quotas_any(q));
    for (int i = 0; i < 100000; i++)
        assert_int_equal(quotas_take_of(q, 5, 1000), 0);
    for (int s = 0; s < 60; s++) {
        while (quotas_take_of(q, 7, 10) == 0)
            taken += 10;
        clock_mono_skew_ms += 1000;
    }
    assert_in_range(taken, 6000, 6200);
    assert_int_equal(quotas_take_of(q, 2, 10), 0); /* its burst */
    assert_about(quotas_take_of(q, 2, 1), 2000);
    clock_mono_skew_ms += 2000;
    assert_int_equal(quotas_take_of(q, 2, 1), 0);
}

/* It goes when the bucket is full, and what follows waits for its debt. */
static void large_batches_go_once(void **state)
{
    int64_t wait;

    (void)state;
    quotas_configure(q, CONFIG(ALL));
    assert_int_equal(quotas_take_of(q, 7, 1), 0);
    wait = quotas_take_of(q, 7, 2500);
    assert_in_range(wait, 1, 10); /* until it is full again */
    clock_mono_skew_ms += wait;
    assert_int_equal(quotas_take_of(q, 7, 2500), 0);
    assert_about(quotas_take_of(q, 7, 1), 24010);
    clock_mono_skew_ms += 24010;
    assert_int_equal(quotas_take_of(q, 7, 1), 0);
}

/* Of a batch with events of several sources none is taken when one may not. */
static void all_or_nothing(void **state)
{
    uint32_t mixed[] = { 7, 2, 5, 2, 7, 9 };
    uint32_t many[40], i;

    (void)state;
    quotas_configure(q, CONFIG(ALL));
    assert_int_equal(quotas_take_of(q, 7, 98), 0);
    assert_int_equal(quotas_take_of(q, 2, 8), 0);
    assert_int_equal(quotas_take(q, mixed, 6), 0); /* exactly what is left */
    assert_true(quotas_take(q, mixed, 6) > 0);
    clock_mono_skew_ms += 1000; /* 100 for one, half a one for the other */
    assert_true(quotas_take(q, mixed, 6) > 0);
    for (i = 0; i < 40; i++)
        many[i] = i < 39 ? 2 : 7; /* nothing is taken of the first, either */
    assert_true(quotas_take(q, many, 40) > 0);
    assert_int_equal(quotas_take_of(q, 7, 99), 0);
    assert_int_equal(quotas_take(q, many, 0), 0);
    clock_mono_skew_ms += 60000; /* both are full: 10 and 100 */
    for (i = 0; i < 40; i++)
        many[i] = i < 10 ? 2 : 7;
    assert_int_equal(quotas_take_of(q, 7, 90), 0);
    assert_true(quotas_take(q, many, 40) > 0); /* for want of the second */
    assert_int_equal(quotas_take_of(q, 2, 10), 0);
}

static void reloads_keep_what_is_left(void **state)
{
    (void)state;
    quotas_configure(q, CONFIG(ALL));
    assert_int_equal(quotas_take_of(q, 7, 100), 0);
    for (int i = 0; i < 10; i++)
        quotas_configure(q, CONFIG(ALL));
    assert_about(quotas_take_of(q, 7, 100), 1000);
    quotas_configure(q, CONFIG("{\"id\":5,\"name\":\"free\"}"));
    quotas_configure(q, CONFIG(ALL)); /* it was gone, and is back */
    assert_about(quotas_take_of(q, 7, 100), 1000);
    quotas_configure(q, CONFIG("{\"id\":7,\"name\":\"web\",\"rate\":1000,"
                               "\"burst\":0}"));
    assert_about(quotas_take_of(q, 7, 1000), 1000);
    quotas_configure(q, CONFIG("{\"id\":7,\"name\":\"web\"}"));
    assert_int_equal(quotas_take_of(q, 7, 100000), 0); /* no limit any more */
    quotas_configure(q, CONFIG(ALL));
    assert_int_equal(quotas_take_of(q, 7, 100), 0); /* and a new one is full */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(rates_hold, begin, end),
        cmocka_unit_test_setup_teardown(large_batches_go_once, begin, end),
        cmocka_unit_test_setup_teardown(all_or_nothing, begin, end),
        cmocka_unit_test_setup_teardown(reloads_keep_what_is_left, begin, end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
