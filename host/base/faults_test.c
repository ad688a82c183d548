/* SPDX-License-Identifier: Apache-2.0 */
#include "base/faults.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct faults faults;
static struct buf text;

static const char *written(void)
{
    buf_clear(&text);
    faults_write(&faults, &text);
    buf_char(&text, 0);
    return text.data;
}

static void places_are_shown_as_far_as_known(void **state)
{
    (void)state;
    faults_init(&faults);
    faults_error(&faults, (struct place){ "b", 2, 3 }, "%s", "wrong");
    faults_warn(&faults, (struct place){ "b", 2, 0 }, "odd");
    faults_error(&faults, (struct place){ "a", 0, 0 }, "gone");
    faults_error(&faults, (struct place){ "b", 2, 3 }, "later");
    assert_int_equal(faults.errors, 3);
    assert_string_equal(written(), "b:2:3: wrong\nb:2: warning: odd\na: gone\n"
                                   "b:2:3: later\n");
    faults_sort(&faults);
    assert_string_equal(written(), "a: gone\nb:2: warning: odd\nb:2:3: wrong\n"
                                   "b:2:3: later\n");
    faults_deinit(&faults);
}

static void the_list_is_bounded(void **state)
{
    (void)state;
    faults_init(&faults);
    for (unsigned i = 0; i < FAULTS_MAX + 7; i++)
        faults_error(&faults, (struct place){ "a", i + 1, 1 }, "x");
    assert_int_equal(faults.count, FAULTS_MAX);
    assert_int_equal(faults.errors, FAULTS_MAX + 7);
    assert_non_null(strstr(written(), "a:200:1: x\n7 more faults"));
    faults_deinit(&faults);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(places_are_shown_as_far_as_known),
        cmocka_unit_test(the_list_is_bounded),
    };
    int failed;

    buf_init(&text, 1 << 16);
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    buf_deinit(&text);
    return failed;
}
