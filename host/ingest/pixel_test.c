/* SPDX-License-Identifier: Apache-2.0
 *
 * What queries of pixels say, in either form, and what they fail to say. */
#include "ingest/pixel.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct arena arena;

static void says(const char *query, const char *json)
{
    struct event_fault fault = { "", "" };
    mf_str text;

    if (pixel_event(mf_cstr(query), &arena, &text, &fault) != 0)
        fail_msg("%s: %s", query, fault.code);
    if (!mf_eq(text, mf_cstr(json)))
        fail_msg("%s\n says %.*s\n not  %s", query, (int)text.len, text.ptr,
                 json);
    assert_int_equal(json_check(text, JSON_DEPTH_MAX, NULL), 0);
    arena_reset(&arena);
}

static void faults(const char *query, const char *code)
{
    struct event_fault fault = { "", "" };
    mf_str text;

    assert_int_equal(pixel_event(mf_cstr(query), &arena, &text, &fault), -1);
    assert_string_equal(fault.code, code);
    assert_true(strlen(fault.message) > 0);
    arena_reset(&arena);
}

static void parameters_become_an_object(void **state)
{
    (void)state;
    says("", "{}");
    says("&&", "{}");
    says("event=Email%20Opened&userId=u+1", "{\"event\":\"Email Opened\","
                                            "\"userId\":\"u 1\"}");
    says("a&b=&=c&d=e=f", "{\"a\":\"\",\"b\":\"\",\"d\":\"e=f\"}");
    says("a=1&a=2", "{\"a\":\"2\"}");
    says("%22=%5C&%01=%C3%A9", "{\"\\\"\":\"\\\\\",\"\\u0001\":\"é\"}");
    says("a=%FF", "{\"a\":\"\xEF\xBF\xBD\"}");
}

static void dots_lead_into_objects(void **state)
{
    (void)state;
    says("properties.a=1&userId=u&properties.b.c=2&properties.b.d=3",
         "{\"properties\":{\"a\":\"1\",\"b\":{\"c\":\"2\",\"d\":\"3\"}},"
         "\"userId\":\"u\"}");
    says("a%2Eb=1", "{\"a\":{\"b\":\"1\"}}");
    says("a.=1&.a=2&.=3&..=4",
         "{\"a\":{\"\":\"1\"},\"\":{\"a\":\"2\",\"\":{\"\":\"4\"}}}");
    /* The object wins over the text, wherever it stands. */
    says("a=1&a.b=2", "{\"a\":{\"b\":\"2\"}}");
    says("a.b=2&a=1", "{\"a\":{\"b\":\"2\"}}");
    says("...............=1", "{\"\":{\"\":{\"\":{\"\":{\"\":{\"\":{\"\":"
                              "{\"\":{\"\":{\"\":{\"\":{\"\":{\"\":{\"\":"
                              "{\"\":{\"\":\"1\"}}}}}}}}}}}}}}}}");
}

static void data_is_what_it_says(void **state)
{
    (void)state;
    says("data=eyJhIjoxfQ", "{\"a\":1}");
    says("data=eyJhIjoxfQ==", "{\"a\":1}");
    says("data=eyJhIjoxfQ%3D%3D", "{\"a\":1}");
    says("x=y&data=eyJhIjoxfQ==&z", "{\"a\":1}");
    /* "~~~???" has both signs in which the alphabets differ. */
    says("data=In5+fj8/PyI=", "\"~~~???\"");
    says("data=In5%2Bfj8%2FPyI%3D", "\"~~~???\"");
    says("data=In5-fj8_PyI", "\"~~~???\"");
}

static void what_is_wrong_is_told(void **state)
{
    char many[PIXEL_PARAMS_MAX * 4 + 8] = "";

    (void)state;
    faults("data=!", "invalid_base64");
    faults("data=eyJ hIjoxfQ", "invalid_base64");
    faults("data=eyJhIjox%", "invalid_base64");
    faults("data=e", "invalid_base64");
    faults("a=%", "invalid_query");
    faults("%zz=1", "invalid_query");
    faults("................=1", "invalid_query");
    for (int i = 0; i < PIXEL_PARAMS_MAX; i++)
        strcat(many, "a=1&");
    says(many, "{\"a\":\"1\"}");
    strcat(many, "b=2");
    faults(many, "too_many_members");
}

/* The widest and deepest that fit: nothing of it is cut off. */
static void none_is_too_long(void **state)
{
    struct event_fault fault;
    char query[16384] = "";
    mf_str text;

    (void)state;
    for (int i = 0; i < PIXEL_PARAMS_MAX; i++)
        snprintf(query + strlen(query), sizeof query - strlen(query),
                 "%x...............=%%01%%01&", i);
    assert_int_equal(pixel_event(mf_cstr(query), &arena, &text, &fault), 0);
    assert_int_equal(json_check(text, JSON_DEPTH_MAX, NULL), 0);
    assert_int_equal(json_count(json_root(text)), PIXEL_PARAMS_MAX);
    arena_reset(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parameters_become_an_object),
        cmocka_unit_test(dots_lead_into_objects),
        cmocka_unit_test(data_is_what_it_says),
        cmocka_unit_test(what_is_wrong_is_told),
        cmocka_unit_test(none_is_too_long),
    };
    int rc;

    arena_init(&arena, 4 << 20);
    rc = cmocka_run_group_tests(tests, NULL, NULL);
    arena_deinit(&arena);
    return rc;
}
