/* SPDX-License-Identifier: Apache-2.0
 *
 * journal_test.c - the journal from outside: what was acknowledged is there,
 * in order and unchanged, across segments, restarts and retention. Faults are
 * in fault_test.c, power cuts in crash_test.c. */
#include "journal/testbed.h"

static void append_and_read(void **state)
{
    struct bed *b = *state;

    bed_open(b);
    append(b, 1, 1);
    append(b, 99, 10);
    expect_all(b, 1, 100);
    append(b, 2000, 37); /* some twelve segments */
    expect_all(b, 1, 2100);
    expect_all(b, 1234, 2100);
}

static void reopen(void **state)
{
    struct bed *b = *state;

    for (int life = 0; life < 5; life++) {
        bed_open(b);
        append(b, 150, 7);
        journal_close(b->j);
        b->j = NULL;
        memset(&b->head, 0, sizeof b->head);
    }
    bed_open(b);
    assert_int_equal(atomic_load(&b->head.durable), 750);
    expect_all(b, 1, 750);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(append_and_read, bed_new, bed_free),
        cmocka_unit_test_setup_teardown(reopen, bed_new, bed_free),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
