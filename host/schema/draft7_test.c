/* SPDX-License-Identifier: Apache-2.0
 *
 * draft7_test.c - what a compiled schema says and where, what is no schema,
 * and that nothing makes it last. Which values are valid is the matter of
 * tests/schema. */
#include "schema/draft7.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct fixture {
    struct arena arena;
    struct draft7_scratch *scratch;
    struct draft7 *s;
    const char *text;
    char told[1000]; /* "OFFSET: fault\n" each */
    struct draft7_report r;
};

static void tell(void *arg, const char *at, const char *text)
{
    struct fixture *f = arg;
    size_t n = strlen(f->told);

    snprintf(f->told + n, sizeof f->told - n, "%d: %s\n",
             (int)(at - f->text), text);
}

static int set_up(void **state)
{
    struct fixture *f = xcalloc(1, sizeof *f);

    arena_init(&f->arena, 64u << 20);
    f->scratch = draft7_scratch_new();
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    draft7_free(f->s);
    draft7_scratch_free(f->scratch);
    arena_deinit(&f->arena);
    free(f);
    return 0;
}

static mf_val value(const char *text)
{
    assert_int_equal(json_check(mf_cstr(text), JSON_DEPTH_MAX, NULL), 0);
    return json_root(mf_cstr(text));
}

static void compile(struct fixture *f, const char *schema)
{
    draft7_free(f->s);
    f->told[0] = 0;
    f->text = schema;
    f->s = draft7_compile(value(schema), &f->arena, tell, f);
}

static bool holds(struct fixture *f, const char *v)
{
    assert_non_null(f->s);
    memset(&f->r, 0, sizeof f->r);
    return draft7_validate(f->s, value(v), f->scratch, &f->r);
}

/* Exactly these errors, "type: text" each. */
static void errors(struct fixture *f, const char *v, const char *first, ...)
{
    unsigned n = 0;
    va_list args;

    assert_false(holds(f, v));
    va_start(args, first);
    for (const char *e = first; e; e = va_arg(args, const char *), n++) {
        char text[600];

        assert_true(n < f->r.count);
        snprintf(text, sizeof text, "%s: %.*s", f->r.errors[n].type,
                 (int)f->r.errors[n].text.len, f->r.errors[n].text.ptr);
        assert_string_equal(text, e);
    }
    va_end(args);
    assert_int_equal(f->r.count, n);
}

static void test_errors_say_where_and_what(void **state)
{
    struct fixture *f = *state;

    compile(f, "{\"type\":\"object\",\"required\":[\"properties\"],"
               "\"properties\":{\"properties\":{\"required\":[\"id\"],"
               "\"properties\":{\"total\":{\"type\":[\"number\",\"null\"],"
               "\"minimum\":0},\"products\":{\"maxItems\":1,\"items\":{"
               "\"properties\":{\"a.b\":{\"pattern\":\"^x\"}},"
               "\"additionalProperties\":false}}}}}}");
    assert_string_equal(f->told, "");
    assert_true(holds(f, "{\"properties\":{\"id\":1,\"total\":null}}"));
    errors(f, "{}", "Required: properties is required", NULL);
    errors(f, "[]", "Invalid Type: (root) must be object, and is array",
           NULL);
    errors(f, "{\"properties\":{\"total\":\"1\",\"products\":[{\"a.b\":\"y\","
              "\"c\":1},2]}}",
           "Invalid Type: properties.total must be number or null, and is "
           "string",
           "Pattern: properties.products[0].a.b must match ^x",
           "Additional Property: properties.products[0].c is not allowed",
           "Max Items: properties.products must have 1 elements at most",
           "Required: properties.id is required", NULL);
    assert_int_equal(f->r.errors[2].path_len, 4);
    assert_true(mf_eq(f->r.errors[2].path[1].key, MF_STR("products")));
    assert_null(f->r.errors[2].path[2].key.ptr);
    assert_int_equal(f->r.errors[2].path[2].index, 0);
    errors(f, "{\"properties\":{\"id\":1,\"total\":-1}}",
           "Minimum: properties.total must be at least 0", NULL);
}

static void test_errors_past_the_limit_are_counted(void **state)
{
    struct fixture *f = *state;

    compile(f, "{\"items\":{\"type\":\"string\"}}");
    assert_false(holds(f, "[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18]"));
    assert_int_equal(f->r.count, DRAFT7_ERRORS_MAX);
    assert_int_equal(f->r.left_off, 2);
    assert_false(f->r.gave_up);
}

static void test_inside_of_choices_nothing_is_told(void **state)
{
    struct fixture *f = *state;

    compile(f, "{\"anyOf\":[{\"type\":\"string\"},{\"minimum\":3}],"
               "\"not\":{\"const\":4},\"if\":{\"maximum\":9},"
               "\"else\":{\"multipleOf\":10}}");
    assert_true(holds(f, "\"x\""));
    errors(f, "2", "Any Of: (root) must be valid by one of the schemas of "
                   "anyOf at least", NULL);
    errors(f, "4", "Not: (root) must not be what \"not\" describes", NULL);
    errors(f, "15", "Multiple Of: (root) must be a multiple of 10", NULL);
}

static void test_what_is_no_schema(void **state)
{
    static const struct {
        const char *schema, *told;
    } cases[] = {
        { "[]", "0: a schema must be an object, true or false\n" },
        { "{\"type\":\"strng\"}",
          "8: there is no such type; write \"string\"\n" },
        { "{\"type\":[]}", "8: \"type\" must name a type\n" },
        { "{\"enum\":1}", "8: \"enum\" must be an array of values\n" },
        { "{\"minimum\":\"1\",\"maxLength\":-1}",
          "11: \"minimum\" must be a number\n"
          "27: \"maxLength\" must be a whole number, not below 0\n" },
        { "{\"exclusiveMinimum\":true}",
          "20: \"exclusiveMinimum\" must be a number; true and false are of "
          "older drafts: write the bound\n" },
        { "{\"multipleOf\":0}", "14: \"multipleOf\" must be above 0\n" },
        { "{\"properties\":{\"a\":{\"required\":true}}}",
          "31: \"required\" must be an array of keys, beside \"properties\" "
          "and not inside of them\n" },
        { "{\"pattern\":\"(a\"}",
          "11: this is no regular expression: missing closing parenthesis\n" },
        { "{\"patternProperties\":{\"\\\\Z\":true}}",
          "23: this is no regular expression: \\Z is no escape of "
          "ECMA-262\n" },
        { "{\"pattern\":\"(*LIMIT_MATCH=9)a\"}",
          "11: this is no regular expression: (* repeats nothing\n" },
        { "{\"anyOf\":[]}", "9: \"anyOf\" must be an array of schemas\n" },
        { "{\"not\":{\"$ref\":\"#/definitions/x\"}}",
          "15: there is nothing at this place\n" },
        { "{\"$ref\":\"http://example.com/a.json\"}",
          "8: this names another document, and nothing is fetched; put it "
          "under \"definitions\" here\n" },
        { "{\"$ref\":\"#\"}", "0: this schema applies itself to the same "
                              "value again, without end\n" },
        { "{\"definitions\":{\"a\":{\"anyOf\":[true,{\"not\":"
          "{\"$ref\":\"#/definitions/a\"}}]}}}",
          "20: this schema applies itself to the same value again, without "
          "end\n" },
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        compile(f, cases[i].schema);
        assert_null(f->s);
        assert_string_equal(f->told, cases[i].told);
    }
}

/* Each schema applies the one before twice: 2 to the 40 in all. */
static void test_doubling_ends(void **state)
{
    struct fixture *f = *state;
    struct buf b;

    buf_init(&b, 1u << 20);
    buf_puts(&b, "{\"$ref\":\"#/definitions/s40\",\"definitions\":{"
                 "\"s0\":{\"type\":[\"number\",\"string\"]}");
    for (int i = 1; i <= 40; i++)
        buf_printf(&b, ",\"s%d\":{\"%s\":[{\"$ref\":\"#/definitions/s%d\"},"
                       "{\"$ref\":\"#/definitions/s%d\"}]}",
                   i, i % 2 ? "allOf" : "oneOf", i - 1, i - 1);
    buf_puts(&b, "}}");
    buf_char(&b, 0);
    compile(f, b.data);
    assert_null(f->s); /* 81 in a row */
    assert_non_null(strstr(f->told, "more than 64 schemas in a row"));
    buf_deinit(&b);

    buf_init(&b, 1u << 20);
    buf_puts(&b, "{\"properties\":{\"v\":{\"$ref\":\"#/definitions/s30\"}},"
                 "\"definitions\":{\"s0\":{\"type\":\"number\"}");
    for (int i = 1; i <= 30; i++)
        buf_printf(&b, ",\"s%d\":{\"allOf\":[{\"$ref\":\"#/definitions/s%d\"},"
                       "{\"$ref\":\"#/definitions/s%d\"}]}",
                   i, i - 1, i - 1);
    buf_puts(&b, "}}");
    buf_char(&b, 0);
    compile(f, b.data);
    assert_string_equal(f->told, "");
    assert_false(holds(f, "{\"v\":1}"));
    assert_true(f->r.gave_up);
    assert_string_equal(f->r.errors[f->r.count - 1].type, "Limit");
    assert_true(holds(f, "{\"w\":1}"));
    buf_deinit(&b);
}

/* Doubling with the depth of the value instead. */
static void test_doubling_with_the_value_ends(void **state)
{
    struct fixture *f = *state;
    struct buf v;

    compile(f, "{\"type\":\"object\",\"anyOf\":[{\"properties\":{\"a\":"
               "{\"$ref\":\"#\"}},\"required\":[\"x\"]},{\"properties\":{"
               "\"a\":{\"$ref\":\"#\"}},\"required\":[\"x\"]}]}");
    buf_init(&v, 1000);
    for (int i = 0; i < 60; i++)
        buf_puts(&v, "{\"a\":");
    buf_puts(&v, "{}");
    for (int i = 0; i < 60; i++)
        buf_puts(&v, "}");
    buf_char(&v, 0);
    assert_false(holds(f, v.data));
    assert_true(f->r.gave_up);
    buf_deinit(&v);
}

static void test_bad_patterns_end(void **state)
{
    struct fixture *f = *state;
    struct buf b;

    compile(f, "{\"items\":{\"not\":{\"pattern\":\"^(a+)+$\"}}}");
    buf_init(&b, 1u << 20);
    for (int i = 0; i < 2000; i++)
        buf_printf(&b, "%c\"aaaaaaaaaaaaaaaaaaaaab%d\"",
                   i ? ',' : '[', i);
    buf_puts(&b, "]");
    buf_char(&b, 0);
    assert_false(holds(f, b.data));
    assert_true(f->r.gave_up);
    buf_deinit(&b);
}

static void test_lists_of_many_are_told_apart_at_once(void **state)
{
    struct fixture *f = *state;
    struct buf b;

    compile(f, "{\"uniqueItems\":true}");
    buf_init(&b, 1u << 20);
    for (int i = 0; i < 8000; i++)
        buf_printf(&b, "%c%d", i ? ',' : '[', i);
    buf_puts(&b, "]");
    buf_char(&b, 0);
    assert_true(holds(f, b.data));
    memcpy(strstr(b.data, ",7999]"), ",7998]", 6);
    errors(f, b.data, "Unique: (root) must not hold a value twice", NULL);
    buf_deinit(&b);
}

static void test_too_many_schemas(void **state)
{
    struct fixture *f = *state;
    struct buf b;

    buf_init(&b, 1u << 20);
    buf_puts(&b, "{\"allOf\":[true");
    for (int i = 0; i < DRAFT7_NODES_MAX; i++)
        buf_puts(&b, ",true");
    buf_puts(&b, "]}");
    buf_char(&b, 0);
    compile(f, b.data);
    assert_null(f->s);
    assert_non_null(strstr(f->told, "there are more than 20000 schemas"));
    buf_deinit(&b);
}

static void test_names_of_members(void **state)
{
    struct fixture *f = *state;
    const struct draft7_node *n;

    compile(f, "{\"properties\":{\"properties\":{\"$ref\":"
               "\"#/definitions/p\"}},\"definitions\":{\"p\":{"
               "\"properties\":{\"a\":{}},\"required\":[\"r\"],\"allOf\":["
               "{\"properties\":{\"b\":true}}],\"patternProperties\":{"
               "\"^x_\":{}}}}}");
    n = draft7_member(f->s, MF_STR("properties"));
    assert_non_null(n);
    assert_null(draft7_member(f->s, MF_STR("traits")));
    assert_true(draft7_names(n, MF_STR("a"), f->scratch));
    assert_true(draft7_names(n, MF_STR("b"), f->scratch));
    assert_true(draft7_names(n, MF_STR("x_1"), f->scratch));
    assert_false(draft7_names(n, MF_STR("r"), f->scratch));
    assert_false(draft7_names(n, MF_STR("A"), f->scratch));
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(test_errors_say_where_and_what),
        CASE(test_errors_past_the_limit_are_counted),
        CASE(test_inside_of_choices_nothing_is_told),
        CASE(test_what_is_no_schema),
        CASE(test_doubling_ends),
        CASE(test_doubling_with_the_value_ends),
        CASE(test_bad_patterns_end),
        CASE(test_lists_of_many_are_told_apart_at_once),
        CASE(test_too_many_schemas),
        CASE(test_names_of_members),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
