/* SPDX-License-Identifier: Apache-2.0 */
#include "delivery/strain.h"

#include "base/clock.h"

#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define MS 1000000ll

static void a_share_of_the_moment_counts(void **state)
{
    struct strain s = { .fd = -1 };

    (void)state;
    assert_false(strain_note(&s, 1000 * MS, 700 * MS)); /* nothing to compare */
    assert_true(strain_note(&s, 1100 * MS, 790 * MS));
    assert_true(strain_note(&s, 1200 * MS, 875 * MS));
    assert_false(strain_note(&s, 1300 * MS, 955 * MS));
    assert_false(strain_note(&s, 1400 * MS, 955 * MS));
    assert_true(strain_note(&s, 1500 * MS, 1055 * MS));
}

/* Of this very thread: turning without rest, then asleep. */
static void the_kernel_keeps_the_account(void **state)
{
    int64_t now = clock_mono_ns(), end = now + 4 * STRAIN_MOMENT_NS;
    bool behind = false;
    struct strain s;

    (void)state;
    strain_init(&s);
    if (s.fd < 0)
        skip();
    strain_look(&s, now);
    while (!behind && now < end)
        behind = strain_look(&s, now = clock_mono_ns());
    assert_true(behind);
    for (int i = 0; behind && i < 100; i++) {
        poll(NULL, 0, (int)(STRAIN_MOMENT_NS / MS));
        behind = strain_look(&s, clock_mono_ns());
    }
    assert_false(behind);
    strain_deinit(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_share_of_the_moment_counts),
        cmocka_unit_test(the_kernel_keeps_the_account),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
