/* SPDX-License-Identifier: Apache-2.0
 *
 * The parameters of a query, as they stand and decoded. */
#include "http/query.h"

#include "base/buf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static struct arena arena;

/* "name=value|" for each parameter. */
static void splits_into(const char *query, const char *want)
{
    mf_str rest = mf_cstr(query), name, value;
    struct buf b;

    buf_init(&b, 1000);
    while (http_query_next(&rest, &name, &value)) {
        buf_str(&b, name);
        buf_char(&b, '=');
        buf_str(&b, value);
        buf_char(&b, '|');
    }
    buf_char(&b, 0);
    assert_string_equal(b.data, want);
    buf_deinit(&b);
}

static void parameters_come_one_by_one(void **state)
{
    (void)state;
    splits_into("", "");
    splits_into("&", "");
    splits_into("a", "a=|");
    splits_into("a=1&b=2", "a=1|b=2|");
    splits_into("a=1=2&&=3&b", "a=1=2|b=|");
    splits_into("a%3D=%26&", "a%3D=%26|");
}

static void values_are_decoded(void **state)
{
    mf_str q = MF_STR("a=1&b=x%20y+z&b=2&c=%&d");

    (void)state;
    assert_true(mf_eq(http_query_value(q, MF_STR("b"), &arena),
                      MF_STR("x y z")));
    assert_true(mf_eq(http_query_value(q, MF_STR("d"), &arena), MF_STR("")));
    assert_non_null(http_query_value(q, MF_STR("d"), &arena).ptr);
    assert_null(http_query_value(q, MF_STR("c"), &arena).ptr);
    assert_null(http_query_value(q, MF_STR("e"), &arena).ptr);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parameters_come_one_by_one),
        cmocka_unit_test(values_are_decoded),
    };
    int rc;

    arena_init(&arena, 1 << 20);
    rc = cmocka_run_group_tests(tests, NULL, NULL);
    arena_deinit(&arena);
    return rc;
}
