/* SPDX-License-Identifier: Apache-2.0 */
#include "mapping/schema.h"

#include "base/mem.h"
#include "mapping/format.h"
#include "mapping/jsvalue.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct arena arena;

static mf_val parse(const char *text)
{
    if (json_check(mf_cstr(text), JSON_DEPTH_MAX, NULL) != 0)
        printf("not JSON: %s\n", text);
    assert_int_equal(json_check(mf_cstr(text), JSON_DEPTH_MAX, NULL), 0);
    return json_root(mf_cstr(text));
}

/* want is the payload that comes out, or the text of the fault. */
static void gives(const char *fields, const char *payload, bool batch,
                  const char *want)
{
    struct schema *s;
    struct err e;
    mf_val got;

    s = schema_compile(parse(fields), &e);
    if (!s)
        printf("%s\n", e.text);
    assert_non_null(s);
    got = schema_apply(s, parse(payload), batch, &arena, &e);
    if (got.type == MF_ABSENT) {
        assert_string_equal(e.text, want);
    } else {
        if (got.len != strlen(want) || memcmp(got.raw, want, got.len) != 0)
            printf("%s with %s: %.*s\n", fields, payload, (int)got.len,
                   got.raw);
        assert_int_equal(got.len, strlen(want));
        assert_memory_equal(got.raw, want, got.len);
        assert_string_equal(e.text, "");
    }
    schema_free(s);
}

static void values_are_coerced(void **state)
{
    static const struct {
        const char *type, *value, *want; /* NULL: does not fit */
    } rows[] = {
        { "string", "12", "\"12\"" },
        { "string", "1.50", "\"1.5\"" },
        { "string", "1e21", "\"1e+21\"" },
        { "string", "9007199254740993", "\"9007199254740993\"" },
        { "string", "true", "\"true\"" },
        { "string", "[\"a\"]", "\"a\"" },
        { "string", "[7]", "\"7\"" },
        { "string", "[null, 7]", "\"7\"" },
        { "string", "[1, 2]", NULL },
        { "string", "{}", NULL },
        { "number", "\"12.50\"", "12.5" },
        { "number", "\" 0x1f \"", "31" },
        { "number", "\"9007199254740993\"", "9007199254740993" },
        { "number", "\" \"", "0" },
        { "number", "\"1e3\"", "1000" },
        { "number", "true", "1" },
        { "number", "[\"4\"]", "4" },
        { "number", "\"12px\"", NULL },
        { "number", "{}", NULL },
        { "integer", "\"12\"", "12" },
        { "integer", "12.0", "12.0" },
        { "integer", "12.5", NULL },
        { "integer", "\"12.5\"", NULL },
        { "integer", "false", "0" },
        { "boolean", "\"true\"", "true" },
        { "boolean", "1", "true" },
        { "boolean", "0.0", "false" },
        { "boolean", "\"yes\"", NULL },
        { "boolean", "2", NULL },
        { "object", "{ \"a\" : [ 1 ] }", "{ \"a\" : [ 1 ] }" },
        { "object", "[{}]", NULL },
        { "object", "\"{}\"", NULL },
        { "datetime", "1700000000", "1700000000" },
        { "datetime", "\"1700000000\"", "\"1700000000\"" },
        { "datetime", "\"2024-02-30\"", "\"2024-02-30\"" },
        { "datetime", "\"soon\"", NULL },
        { "datetime", "true", NULL },
    };
    char fields[100], payload[100], want[100];

    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct schema *s;
        struct err e;
        mf_val got;

        snprintf(fields, sizeof fields, "[{\"key\":\"k\",\"type\":\"%s\"}]",
                 rows[i].type);
        snprintf(payload, sizeof payload, "{\"k\":%s}", rows[i].value);
        s = schema_compile(parse(fields), &e);
        got = schema_apply(s, parse(payload), false, &arena, &e);
        snprintf(want, sizeof want, "{\"k\":%s}",
                 rows[i].want ? rows[i].want : "");
        if (!rows[i].want)
            assert_int_equal(got.type, MF_ABSENT);
        else if (got.len != strlen(want) || memcmp(got.raw, want, got.len))
            fail_msg("%s %s: %.*s %s", rows[i].type, rows[i].value,
                     (int)got.len, got.raw ? got.raw : "", e.text);
        schema_free(s);
    }
}

static void empty_values_go(void **state)
{
    const char *fields =
        "[{\"key\":\"s\",\"type\":\"string\"},"
        "{\"key\":\"n\",\"type\":\"number\"},"
        "{\"key\":\"z\",\"type\":\"string\",\"allow_null\":true},"
        "{\"key\":\"m\",\"type\":\"string\",\"multiple\":true},"
        "{\"key\":\"o\",\"type\":\"object\",\"properties\":["
        "{\"key\":\"s\",\"type\":\"string\"},"
        "{\"key\":\"n\",\"type\":\"number\"}]},"
        "{\"key\":\"free\",\"type\":\"object\"}]";

    (void)state;
    gives(fields, "{\"s\":\"\",\"n\":\"\",\"z\":null,\"m\":null}", false,
          "{\"z\":null}");
    gives(fields, "{\"s\":\"\",\"n\":\"\",\"z\":\"\"}", true,
          "{\"s\":\"\",\"z\":\"\"}");
    gives(fields, "{\"o\":{\"s\":\"\",\"n\":\"\"},\"s\":null}", false,
          "{\"o\":{\"s\":\"\"}}");
    gives(fields, "{\"free\":{\"x\":null,\"y\":\"\"}}", false,
          "{\"free\":{\"x\":null,\"y\":\"\"}}");
    gives(fields, "{\"m\":[null,\"a\",\"\",1]}", false,
          "{\"m\":[\"a\",\"1\"]}");
    gives(fields, "{}", false, "{}");
}

static void members_are_kept_or_dropped(void **state)
{
    const char *fields =
        "[{\"key\":\"a\",\"type\":\"string\"},"
        "{\"key\":\"open\",\"type\":\"object\",\"additional_properties\":true,"
        "\"properties\":[{\"key\":\"n\",\"type\":\"number\"}]},"
        "{\"key\":\"shut\",\"type\":\"object\",\"properties\":["
        "{\"key\":\"n\",\"type\":\"number\"}]},"
        "{\"key\":\"list\",\"type\":\"object\",\"multiple\":true,"
        "\"properties\":[{\"key\":\"n\",\"type\":\"number\"}]}]";

    (void)state;
    gives(fields, "{\"x\":1,\"a\":\"1\",\"y\":{}}", false, "{\"a\":\"1\"}");
    gives(fields, "{\"open\":{\"x\":[1, 2],\"n\":\"3\"}}", false,
          "{\"open\":{\"x\":[1, 2],\"n\":3}}");
    gives(fields, "{\"shut\":{\"x\":1,\"n\":\"3\"}}", false,
          "{\"shut\":{\"n\":3}}");
    gives(fields, "{\"list\":{\"n\":\"3\"},\"shut\":{}}", false,
          "{\"list\":[{\"n\":3}],\"shut\":{}}");
    gives(fields, "{\"list\":[{\"x\":1},{\"n\":4}]}", false,
          "{\"list\":[{},{\"n\":4}]}");
    gives(fields, "{\"\\u0061\":\"first\",\"shut\":{},\"a\":\"last\"}", false,
          "{\"\\u0061\":\"last\",\"shut\":{}}");
}

static void faults_are_told_in_order(void **state)
{
    const char *fields =
        "[{\"key\":\"z\",\"label\":\"Zed\",\"type\":\"string\"},"
        "{\"key\":\"n\",\"label\":\"count\",\"type\":\"integer\","
        "\"required\":true},"
        "{\"key\":\"e\",\"label\":\"Mail\",\"type\":\"string\","
        "\"format\":\"email\",\"max\":12},"
        "{\"key\":\"c\",\"type\":\"string\",\"choices\":[\"x\","
        "{\"label\":\"Y\",\"value\":\"y\"}],\"allow_null\":true},"
        "{\"key\":\"b\",\"type\":\"number\",\"min\":2,\"max\":5},"
        "{\"key\":\"a/b\",\"type\":\"object\",\"multiple\":true,"
        "\"properties\":[{\"key\":\"id\",\"type\":\"string\","
        "\"required\":true}]}]";

    (void)state;
    gives(fields, "{}", false,
          "The root value is missing the required field 'n'.");
    gives(fields, "{\"n\":1.5,\"z\":{}}", false,
          "Zed must be a string but it was an object. "
          "Count must be an integer but it was a number.");
    gives(fields, "{\"n\":1,\"e\":\"not an address\"}", false,
          "Mail must be 12 characters or fewer but it was 14 characters. "
          "Mail must be a valid email address string but it was not.");
    gives(fields, "{\"n\":1,\"c\":\"q\"}", false,
          "The value at /c must be one of: \"x\", \"y\", or null.");
    gives(fields, "{\"n\":1,\"c\":null,\"b\":\"5\"}", false,
          "{\"n\":1,\"c\":null,\"b\":5}");
    gives(fields, "{\"n\":1,\"b\":6}", false,
          "The value at /b must be equal to or less than 5.");
    gives(fields, "{\"n\":1,\"b\":1.5}", false,
          "The value at /b must be equal to or greater than 2.");
    gives(fields, "{\"n\":1,\"a/b\":[{\"id\":1},{},\"s\"]}", false,
          "The value at /a~1b/1 is missing the required field 'id'. "
          "The value at /a~1b/2 must be an object but it was a string.");
    gives(fields, "[]", false,
          "The root value must be an object but it was an array.");
    gives("[{\"key\":\"d\",\"type\":\"datetime\",\"allow_null\":true}]",
          "{\"d\":{}}", false,
          "The value at /d must be a string, number, or null but it was an "
          "object.");
}

static void faults_do_not_overflow(void **state)
{
    char fields[64 * 80], *to = fields, *end = fields + sizeof fields;
    struct schema *s;
    struct err e;
    mf_val got;

    (void)state;
    to += snprintf(to, (size_t)(end - to), "[");
    for (int i = 0; i < 60; i++)
        to += snprintf(to, (size_t)(end - to),
                       "%s{\"key\":\"a_rather_long_key_%d\",\"type\":"
                       "\"string\",\"required\":true}",
                       i ? "," : "", i);
    snprintf(to, (size_t)(end - to), "]");
    s = schema_compile(parse(fields), &e);
    assert_non_null(s);
    got = schema_apply(s, parse("{}"), false, &arena, &e);
    assert_int_equal(got.type, MF_ABSENT);
    assert_true(strlen(e.text) < ERR_TEXT);
    got = schema_apply(s, parse("{}"), false, &arena, NULL);
    assert_int_equal(got.type, MF_ABSENT);
    schema_free(s);
}

static void a_label_of_any_length_can_be_told(void **state)
{
    char *label = xcalloc(1, ERR_TEXT + 1), *fields;
    struct schema *s;
    struct err e;

    (void)state;
    memset(label, 'x', ERR_TEXT);
    fields = xasprintf("[{\"key\":\"a\",\"label\":\"%s\",\"type\":"
                       "\"number\"}]", label);
    s = schema_compile(parse(fields), &e);
    assert_non_null(s);
    assert_int_equal(schema_apply(s, parse("{\"a\":{}}"), false, &arena,
                                  &e).type,
                     MF_ABSENT);
    assert_memory_equal(e.text, "Xxx", 3);
    assert_non_null(strstr(e.text, "x must be a number"));
    schema_free(s);
    free(fields);
    free(label);
}

#define FIELD_A "{\"key\":\"a\",\"type\":\"string\"},"
#define IF(match, conditions)                                                  \
    "[" FIELD_A "{\"key\":\"b\",\"type\":\"number\"},"                         \
    "{\"key\":\"c\",\"type\":\"string\",\"required_if\":{\"match\":\"" match   \
    "\",\"conditions\":[" conditions "]}}]"
#define IS(key, value)                                                         \
    "{\"fieldKey\":\"" key "\",\"operator\":\"is\",\"value\":" value "}"
#define IS_NOT(key, value)                                                     \
    "{\"fieldKey\":\"" key "\",\"operator\":\"is_not\",\"value\":" value "}"
#define GONE(key) "{\"fieldKey\":\"" key "\",\"operator\":\"is\"}"
#define THERE(key) "{\"fieldKey\":\"" key "\",\"operator\":\"is_not\"}"
#define MISSING_C                                                              \
    "The root value is missing the required field 'c'. "                      \
    "The root value must match \"then\" schema."

static void requirements_depend(void **state)
{
    const char *all = IF("all", IS("a", "\"x\"") "," IS("b", "1"));
    const char *any = IF("any", IS("a", "\"x\"") "," IS("b", "1"));

    (void)state;
    gives(all, "{\"a\":\"x\",\"b\":1}", false, MISSING_C);
    gives(all, "{\"a\":\"x\",\"b\":1,\"c\":\"c\"}", false,
          "{\"a\":\"x\",\"b\":1,\"c\":\"c\"}");
    gives(all, "{\"a\":\"x\"}", false, "{\"a\":\"x\"}");
    gives(any, "{\"a\":\"x\"}", false, MISSING_C);
    gives(any, "{\"a\":\"y\"}", false, "{\"a\":\"y\"}");
    /* asked before anything is coerced */
    gives(any, "{\"b\":\"1\"}", false, "{\"b\":1}");
    gives(IF("all", IS_NOT("a", "\"x\"")), "{\"a\":\"y\"}", false, MISSING_C);
    gives(IF("all", IS_NOT("a", "\"x\"")), "{}", false, "{}");
    gives(IF("all", GONE("a")), "{}", false, MISSING_C);
    gives(IF("all", GONE("a")), "{\"a\":\"\"}", false, MISSING_C);
    gives(IF("all", GONE("a")), "{\"a\":\"1\"}", false, "{\"a\":\"1\"}");
    gives(IF("all", THERE("a")), "{\"a\":\"1\"}", false, MISSING_C);
    gives(IF("any", GONE("a") "," GONE("b")), "{\"a\":\"1\",\"b\":2}", false,
          "{\"a\":\"1\",\"b\":2}");
    gives(IF("all", IS("__segment_internal_sync_mode", "\"add\"")),
          "{\"__segment_internal_sync_mode\":\"add\"}", false, MISSING_C);
    gives("[" FIELD_A "{\"key\":\"o\",\"type\":\"object\",\"properties\":["
          "{\"key\":\"p\",\"type\":\"string\",\"required_if\":{\"conditions\":["
          IS("a", "\"x\"") "]}},"
          "{\"key\":\"q\",\"type\":\"string\",\"required\":true}]},"
          "{\"key\":\"r\",\"type\":\"string\",\"required_if\":{\"conditions\":["
          IS("o.p", "\"go\"") "]}}]",
          "{\"a\":\"x\",\"o\":{}}", false,
          "The value at /o is missing the required field 'p'. "
          "The root value must match \"then\" schema.");
    gives("[{\"key\":\"o\",\"type\":\"object\"},"
          "{\"key\":\"r\",\"type\":\"string\",\"required_if\":{\"conditions\":["
          IS("o.p", "\"go\"") "]}}]",
          "{\"o\":{\"p\":\"go\"}}", false,
          "The root value is missing the required field 'r'. "
          "The root value must match \"then\" schema.");
}

static void bad_fields_are_refused(void **state)
{
    static const char *const rows[] = {
        "{}",
        "[{\"type\":\"string\"}]",
        "[{\"key\":\"a\",\"type\":\"text/html\"}]",
        "[{\"key\":\"a\"}]",
        "[{\"key\":\"a\",\"type\":\"string\",\"format\":\"colour\"}]",
        "[{\"key\":\"a\",\"type\":\"string\"},{\"key\":\"a\",\"type\":"
        "\"number\"}]",
        "[{\"key\":\"a\",\"type\":\"string\",\"required_if\":{}}]",
        "[{\"key\":\"a\",\"type\":\"string\",\"required_if\":{\"conditions\":["
        "{\"fieldKey\":\"b\",\"operator\":\"like\"}]}}]",
        "[{\"key\":\"a\",\"type\":\"object\",\"properties\":{}}]",
    };
    char deep[1000];
    size_t len = 0;
    struct err e;

    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        e.text[0] = 0;
        assert_null(schema_compile(parse(rows[i]), &e));
        assert_true(e.text[0] != 0);
    }
    for (int i = 0; i <= SCHEMA_DEPTH_MAX; i++)
        len += (size_t)snprintf(deep + len, sizeof deep - len,
                                "[{\"key\":\"a\",\"type\":\"object\","
                                "\"properties\":");
    len += (size_t)snprintf(deep + len, sizeof deep - len, "[]");
    for (int i = 0; i <= SCHEMA_DEPTH_MAX; i++)
        len += (size_t)snprintf(deep + len, sizeof deep - len, "}]");
    assert_null(schema_compile(parse(deep), &e));
    assert_non_null(strstr(e.text, "nested"));
}

static void formats_hold(void **state)
{
    static const struct {
        const char *format, *text;
        bool want;
    } rows[] = {
        { "email", "a.b+c@x-y.example.com", true },
        { "email", "a@localhost", false },
        { "email", "a..b@x.com", false },
        { "email", ".a@x.com", false },
        { "email", "a@-x.com", false },
        { "email", "a b@x.com", false },
        { "email", "@x.com", false },
        { "email", "", false },
        { "date", "2024-02-29", true },
        { "date", "2023-02-29", false },
        { "date", "2024-13-01", false },
        { "date", "2024-1-01", false },
        { "time", "23:59:60Z", true },
        { "time", "22:59:60Z", false },
        { "time", "10:00:00.", false },
        { "date-time", "2024-02-29T10:00:00.123+01:00", true },
        { "date-time", "2024-02-29t10:00:00z", true },
        { "date-time", "2024-02-29 10:00:00", true },
        { "date-time", "2024-02-29T10:00", false },
        { "date-time", "2024-02-29", false },
        { "uri", "https://u:p@x.example:80/a/b?c=d#e", true },
        { "uri", "https://[2001:db8::1]/", true },
        { "uri", "https://[2001:db8]/", false },
        { "uri", "mailto:a@b.c", true },
        { "uri", "x.example/path", false },
        { "uri", "http://x.example/a b", false },
        { "uri", "http://x.example/%zz", false },
        { "uri", "http:", false },
        { "uri", "", false },
        { "uri-reference", "/a/b?c", true },
        { "uri-reference", "", true },
        { "uri-reference", "a\\b", false },
        { "uuid", "123e4567-e89b-12d3-a456-426614174000", true },
        { "uuid", "urn:uuid:123e4567-e89b-12d3-a456-426614174000", true },
        { "uuid", "123e4567e89b12d3a456426614174000", false },
        { "ipv4", "192.168.0.1", true },
        { "ipv4", "192.168.0.256", false },
        { "ipv4", "1.2.3", false },
        { "ipv4", "1.2.3.4.", false },
        { "ipv6", "::", true },
        { "ipv6", "::ffff:1.2.3.4", true },
        { "ipv6", "1:2:3:4:5:6:7:8", true },
        { "ipv6", "1:2:3:4:5:6:7:8:9", false },
        { "ipv6", "1::2::3", false },
        { "ipv6", "1:2:3:", false },
        { "hostname", "a-b.example.", true },
        { "hostname", "a_b.example", false },
        { "hostname", "", false },
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        const struct format *f = format_named(mf_cstr(rows[i].format));

        assert_non_null(f);
        if (f->holds(mf_cstr(rows[i].text)) != rows[i].want)
            fail_msg("%s %s", rows[i].format, rows[i].text);
    }
    assert_null(format_named(MF_STR("datum")));
    assert_null(format_named(MF_STR("text"))->holds);
}

static void dates_are_told_from_words(void **state)
{
    static const struct {
        const char *text;
        bool want;
    } rows[] = {
        { "2024-01-02T03:04:05.678Z", true },
        { "2024-01-02T03:04:05+0100", true },
        { "2024-01-02T03:04:05.678901234+01:00", true },
        { "2024-01-02", true },
        { "2024/1/2", true },
        { "20240102", true },
        { "2024-01-02 03:04", true },
        { "2024", true },
        { "1700000000", true },
        { "1700000000000", true },
        { "1700000000.5", true },
        { "-5", true },
        { "+012024-01-02T00:00:00Z", true },
        { "Tue, 02 Jan 2024 03:04:05 GMT", true },
        { "Jan 2, 2024", true },
        { "2 January 2024 3:04 PM", true },
        { "01/02/2024", true },
        { "1/2/24 10:00 PST", true },
        { "Tue Jan 02 2024 03:04:05 GMT+0100 (CET)", true },
        { "2024-01-02T24:00:00Z", true },
        { "", false },
        { "soon", false },
        { "Infinity", false },
        { "NaN", false },
        { "99999999999999", false },
        { "2024-13-02T00:00:00Z", false },
        { "2024-01-02T25:00:00Z", false },
        { "13/13/2024", false },
        { "Jan 2 2024 noon", false },
        { "{\"a\":1}", false },
        { "user-1", true }, /* as V8 has it: January 2001 */
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        if (js_date_like(mf_cstr(rows[i].text)) != rows[i].want)
            fail_msg("%s", rows[i].text);
}

static void numbers_are_read_as_javascript_does(void **state)
{
    static const struct {
        const char *text;
        double want;
    } rows[] = {
        { "12", 12 },      { " -1.5e1\n", -15 }, { ".5", 0.5 },
        { "5.", 5 },       { "", 0 },            { "\xc2\xa0", 0 },
        { "0x1F", 31 },    { "0b11", 3 },        { "0o17", 15 },
        { "+7", 7 },       { "-Infinity", -INFINITY },
        { "1_000", NAN },  { "0x", NAN },        { "-0x1", NAN },
        { "infinity", NAN }, { "1e", NAN },      { ".", NAN },
        { "12 3", NAN },   { "0b12", NAN },      { "nan", NAN },
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        double got = js_to_number(mf_cstr(rows[i].text));

        assert_true(isnan(rows[i].want) ? isnan(got) : got == rows[i].want);
    }
    assert_int_equal(js_code_points(MF_STR("a\xc3\xa9\xf0\x9f\x98\x80")), 3);
    assert_true(mf_eq(js_trim(MF_STR(" \xe3\x80\x80" "a b\xef\xbb\xbf")),
                      MF_STR("a b")));
}

static int set_up(void **state)
{
    (void)state;
    arena_init(&arena, 1 << 20);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    arena_deinit(&arena);
    return 0;
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_are_coerced),
        cmocka_unit_test(empty_values_go),
        cmocka_unit_test(members_are_kept_or_dropped),
        cmocka_unit_test(faults_are_told_in_order),
        cmocka_unit_test(faults_do_not_overflow),
        cmocka_unit_test(a_label_of_any_length_can_be_told),
        cmocka_unit_test(requirements_depend),
        cmocka_unit_test(bad_fields_are_refused),
        cmocka_unit_test(formats_hold),
        cmocka_unit_test(dates_are_told_from_words),
        cmocka_unit_test(numbers_are_read_as_javascript_does),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
