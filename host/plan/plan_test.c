/* SPDX-License-Identifier: Apache-2.0
 *
 * plan_test.c - plans as they are exported and as people write them: what is
 * found in them, and what is told of those that are wrong. */
#include "plan/plan.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct faults faults;
static struct plan *plan;

static int set_up(void **state)
{
    (void)state;
    faults_init(&faults);
    plan = NULL;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    plan_release(plan);
    faults_deinit(&faults);
    return 0;
}

static void compile(const char *text)
{
    plan_release(plan);
    faults_deinit(&faults);
    faults_init(&faults);
    plan = plan_compile(mf_cstr(text), "p.json", &faults);
}

/* All that is told, a line each. */
static void expect(const char *told)
{
    struct buf b;

    buf_init(&b, 1u << 20);
    faults_sort(&faults);
    faults_write(&faults, &b);
    buf_char(&b, 0);
    assert_string_equal(b.data, told);
    buf_deinit(&b);
}

/* The version of the rule that is found, 0 if there is none. */
static int64_t found(enum plan_kind kind, const char *key, int64_t version)
{
    const struct plan_rule *r = plan_find(plan, kind, mf_cstr(key), version);

    return r ? r->version : 0;
}

static void test_public_api(void **state)
{
    (void)state;
    compile("{\"data\":{\"rules\":["
            "{\"key\":\"B\",\"type\":\"TRACK\",\"version\":7,\"jsonSchema\":"
            "{},\"createdAt\":\"2023-01-01\",\"deprecatedAt\":null},"
            "{\"key\":\"A\",\"type\":\"TRACK\",\"version\":2,\"jsonSchema\":"
            "{}},{\"key\":\"A\",\"type\":\"TRACK\",\"version\":1,"
            "\"jsonSchema\":true},"
            "{\"key\":\"\",\"type\":\"IDENTIFY\",\"version\":1,"
            "\"jsonSchema\":{}},{\"key\":null,\"type\":\"COMMON\","
            "\"jsonSchema\":{}}],\"pagination\":{\"current\":\"x\"}}}");
    expect("");
    assert_non_null(plan);
    assert_int_equal(plan_rules(plan), 5);
    assert_int_equal(found(PLAN_TRACK, "A", INT64_MIN), 1);
    assert_int_equal(found(PLAN_TRACK, "A", 2), 2);
    assert_int_equal(found(PLAN_TRACK, "A", 3), 1);
    assert_int_equal(found(PLAN_TRACK, "B", 1), 7);
    assert_int_equal(found(PLAN_TRACK, "a", 1), 0);
    assert_int_equal(found(PLAN_TRACK, "", 1), 0);
    assert_int_equal(found(PLAN_IDENTIFY, "", 1), 1);
    assert_int_equal(found(PLAN_GROUP, "", 1), 0);
    assert_int_equal(found(PLAN_COMMON, "", 1), 1);
}

static void test_config_api(void **state)
{
    (void)state;
    compile("{\"name\":\"workspaces/w/tracking-plans/rs_1\",\"id\":\"rs_1\","
            "\"rules\":{\"global\":{\"type\":\"object\"},\"events\":["
            "{\"name\":\"A\",\"description\":\"\",\"rules\":{},\"version\":1},"
            "{\"name\":\"B\",\"rules\":{}}],\"identify\":{},\"group\":null,"
            "\"identify_traits\":[],\"group_traits\":[]}} // a comment");
    expect("");
    assert_true(mf_eq(plan_id(plan), MF_STR("rs_1")));
    assert_int_equal(plan_rules(plan), 4);
    assert_int_equal(found(PLAN_TRACK, "B", 1), 1);
    assert_int_equal(found(PLAN_COMMON, "", 1), 1);
    assert_int_equal(found(PLAN_GROUP, "", 1), 0);
}

static void test_what_is_wrong(void **state)
{
    static const struct {
        const char *text, *told;
    } cases[] = {
        { "{\"rules\":[1,]}", "p.json:1:12: a comma stands before the closing "
                              "]; remove the comma\n" },
        { "[]", "p.json:1:1: a plan is an object: {\"rules\": [...]}\n" },
        { "{}", "p.json:1:1: a plan has its rules in \"rules\", an array of "
                "{\"key\", \"type\", \"version\", \"jsonSchema\"}\n" },
        { "{\"rules\":[\n1]}",
          "p.json:2:1: a rule must be an object with \"key\", \"type\", "
          "\"version\" and \"jsonSchema\"\n" },
        { "{\"rules\":[{\"type\":\"TRAK\"}]}",
          "p.json:1:19: \"type\" must be TRACK, IDENTIFY, GROUP, PAGE, SCREEN "
          "or COMMON; did you mean TRACK?\n" },
        { "{\"rules\":[{\"type\":\"TRACK\",\"jsonSchema\":{}}]}",
          "p.json:1:11: a rule of type TRACK needs the name of its event; add "
          "\"key\": \"...\"\n" },
        { "{\"rules\":[{\"type\":\"TRACK\",\"key\":\"A\"}]}",
          "p.json:1:11: this rule has no schema; add \"jsonSchema\": "
          "{...}\n" },
        { "{\"rules\":[{\"type\":\"GROUP\",\"version\":\"1\","
          "\"jsonSchema\":{}}]}",
          "p.json:1:37: a version must be a whole number\n" },
        { "{\"rules\":[{\"type\":\"GROUP\",\"jsonSchema\":{}},\n"
          "{\"type\":\"group\",\"jsonSchema\":{}}]}",
          "p.json:2:30: GROUP has version 1 already; give each of its rules a "
          "version of its own\n" },
        { "{\"rules\":{\"events\":[{}]}}",
          "p.json:1:21: an event needs a name; add \"name\": \"...\"\n" },
        { "{\"rules\":{\"events\":[{\"name\":\"A\",\"rules\":\n"
          "{\"pattern\":\"(\"}}]}}",
          "p.json:2:12: this is no regular expression: missing closing "
          "parenthesis\n" },
        { "{\"rules\":[],\"pagination\":{\"next\":\"x\"}}",
          "p.json:1:34: warning: this is one page of several; put the rules "
          "of all into one file\n" },
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        compile(cases[i].text);
        expect(cases[i].told);
        assert_int_equal(plan == NULL, faults.errors > 0);
    }
}

static void test_too_many_rules(void **state)
{
    struct buf b;

    (void)state;
    buf_init(&b, 4u << 20);
    buf_puts(&b, "{\"rules\":[{\"type\":\"GROUP\",\"jsonSchema\":{}}");
    for (int i = 0; i < PLAN_RULES_MAX; i++)
        buf_printf(&b, ",\n{\"type\":\"TRACK\",\"key\":\"E%d\","
                       "\"jsonSchema\":{}}", i);
    buf_puts(&b, "]}");
    buf_char(&b, 0);
    compile(b.data);
    assert_null(plan);
    expect("p.json:10001:1: a plan may have 10000 rules; give some of its "
           "sources one of their own\n");
    buf_deinit(&b);
}

/* Three bytes of text can be a schema of a hundred. */
static void test_too_much_memory(void **state)
{
    struct buf b;

    (void)state;
    buf_init(&b, 16u << 20);
    buf_puts(&b, "{\"rules\":[");
    for (int i = 0; i < 75; i++) {
        buf_printf(&b, "%s{\"type\":\"TRACK\",\"key\":\"E%d\",\"jsonSchema\":"
                       "{\"anyOf\":[{}", i ? "," : "", i);
        for (int k = 0; k < 19000; k++)
            buf_puts(&b, ",{}");
        buf_puts(&b, "]}}");
    }
    buf_puts(&b, "]}");
    buf_char(&b, 0);
    compile(b.data);
    assert_null(plan);
    assert_non_null(strstr(faults.list[0].text,
                           "takes more than 128 MiB of memory"));
    buf_deinit(&b);
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(test_public_api), CASE(test_config_api),
        CASE(test_what_is_wrong), CASE(test_too_many_rules),
        CASE(test_too_much_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
