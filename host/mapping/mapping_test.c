/* SPDX-License-Identifier: Apache-2.0
 *
 * mapping_test.c - every directive, and the oddities that people rely on. */
#include "mapping/mapping.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define SOFT (1u << 20)

/* Mapping, event, payload. "undefined", or "! text" for an error. */
struct row {
    const char *mapping, *event, *want;
};

static mf_val value(const char *text)
{
    mf_str s = mf_cstr(text);

    if (json_check(s, JSON_DEPTH_MAX, NULL) != 0)
        fail_msg("not JSON: %s", text);
    return json_root(s);
}

static void expect(const struct row *row, mf_val got, const char *error)
{
    char text[4096];

    if (error[0])
        snprintf(text, sizeof text, "! %s", error);
    else if (got.type == MF_ABSENT)
        snprintf(text, sizeof text, "undefined");
    else
        snprintf(text, sizeof text, "%.*s", (int)got.len, got.raw);
    if (strcmp(text, row->want) != 0)
        fail_msg("%s\n  of   %s\n  want %s\n  got  %s", row->mapping,
                 row->event, row->want, text);
}

static void check_rows(const struct row *rows, size_t count)
{
    struct arena a;

    arena_init(&a, SOFT);
    for (size_t i = 0; i < count; i++) {
        struct err e = { "" };
        struct mapping *m = mapping_compile(value(rows[i].mapping), &e);
        mf_val got = { NULL, 0, MF_ABSENT };

        arena_reset(&a);
        if (m)
            got = mapping_eval(m, value(rows[i].event), &a, &e);
        expect(&rows[i], got, e.text);
        mapping_free(m);
    }
    arena_deinit(&a);
}

#define ROWS(name, ...)                            \
    static void name(void **state)                 \
    {                                              \
        static const struct row rows[] = { __VA_ARGS__ }; \
                                                   \
        (void)state;                               \
        check_rows(rows, COUNT_OF(rows));          \
    }

#define EVENT                                                               \
    "{\"type\":\"track\",\"n\":null,\"z\":0,\"f\":false,\"e\":\"\","        \
    "\"s\":\"Gr\\u00fc\\u00dfe\",\"id\":9007199254740993,\"r\":1.50,"       \
    "\"p\":{\"a\":{\"b\":[{\"c\":1},{\"c\":\"two\"}],\"k.x\":5},"           \
    "\"a b\":7,\"list\":[1,[2,null],\"x\"],\"q\":\"say \\\"hi\\\"\"}}"

ROWS(paths,
    { "{\"@path\":\"$.type\"}", EVENT, "\"track\"" },
    { "{\"@path\":\"type\"}", EVENT, "\"track\"" },
    { "{\"@path\":\"$.p.a.b[1].c\"}", EVENT, "\"two\"" },
    { "{\"@path\":\"$.p.a.b.0.c\"}", EVENT, "1" },
    { "{\"@path\":\"$.p['a']['b'][0]\"}", EVENT, "{\"c\":1}" },
    { "{\"@path\":\"$.p['a b']\"}", EVENT, "7" },
    { "{\"@path\":\"$.p.a['k.x']\"}", EVENT, "undefined" },
    { "{\"@path\":\"$.p.a.b[2].c\"}", EVENT, "undefined" },
    { "{\"@path\":\"$.p.a.b.length\"}", EVENT, "2" },
    { "{\"@path\":\"$.l.length.x\"}", "{\"l\":[]}", "0" },
    { "{\"@path\":\"$.s.length\"}", EVENT, "5" },
    { "{\"@path\":\"$.s[2]\"}", EVENT, "\"\xc3\xbc\"" },
    { "{\"@path\":\"$\"}", EVENT, "undefined" },
    { "{\"@path\":\"$.x.y.z\"}", EVENT, "undefined" },
    { "{\"@path\":\"$.type.y.z\"}", EVENT, "undefined" },
    { "{\"@path\":\"p.$.a.k\"}", "{\"p\":{\"a\":{\"k\":3}}}", "3" },
    { "{\"@path\":\"a[b]\"}", "{\"a[b]\":4}", "4" },
    { "{\"@path\":\"$.\"}", "{\"a\" : 1}", "{\"a\" : 1}" },
    { "{\"@path\":{\"@path\":\"$.which\"}}", "{\"which\":\"$.v\",\"v\":[1]}",
      "[1]" },
    { "{\"@path\":{\"@path\":\"$.v\"}}", "{\"v\":[1]}",
      "! @path: expected string, got array" })

ROWS(falsy_stop,
    { "[{\"@path\":\"$.n.x.y\"},{\"@path\":\"$.z.x\"},{\"@path\":\"$.f.x\"},"
      "{\"@path\":\"$.e.x\"},{\"@path\":\"$.e.length\"}]", EVENT,
      "{\"0\":null,\"1\":0,\"2\":false,\"3\":\"\",\"4\":\"\"}" },
    { "{\"a\":{\"@path\":\"$.r.x\"},\"b\":{\"@path\":\"$.v.x\"}}",
      "{\"r\":1.5,\"v\":-0.0e3}", "{\"b\":-0.0e3}" })

ROWS(last_key_wins,
    { "{\"a\":{\"@path\":\"$.x\"}}", "{\"x\":1,\"x\":2}", "{\"a\":2}" },
    { "{\"a\":{\"@path\":\"$.x.y\"},\"b\":{\"@path\":\"$.x.z\"}}",
      "{\"x\":{\"y\":1,\"z\":2},\"x\":{\"z\":3}}", "{\"b\":3}" },
    { "{\"a\":{\"@path\":\"$.x.y\"}}", "{\"x\":null,\"x\":{}}", "{}" },
    { "{\"a\":{\"@path\":\"$.x\"}}", "{\"\\u0078\":1}", "{\"a\":1}" },
    { "{\"\\u0061\":1,\"b\":2,\"a\":3}", "{}", "{\"a\":3,\"b\":2}" })

ROWS(raw_values,
    { "{\"a\":{\"@path\":\"$.id\"},\"b\":{\"@path\":\"$.r\"}}", EVENT,
      "{\"a\":9007199254740993,\"b\":1.50}" },
    { "{\"x\":null,\"y\":\"\",\"z\":[{\"@path\":\"$.no\"},1.0]}", EVENT,
      "{\"x\":null,\"y\":\"\",\"z\":[null,1]}" },
    { "{\"b\":1,\"10\":2,\"9\":{\"@path\":\"$.z\"}}", EVENT,
      "{\"9\":0,\"10\":2,\"b\":1}" },
    { "\"hi\"", EVENT, "{\"0\":\"h\",\"1\":\"i\"}" },
    { "12", EVENT, "{}" },
    { "{\"o\":{\"p\":{\"q\":{\"@path\":\"$.no\"}}}}", EVENT,
      "{\"o\":{\"p\":{}}}" },
    { "{}", "[]", "! data must be an object, got array" })

ROWS(templates,
    { "{\"@template\":\"{{type}}/{{ p.a.b[0].c }}\"}", EVENT, "\"track/1\"" },
    { "{\"@template\":\"<{{n}}{{no}}{{z}}{{f}}>\"}", EVENT, "\"<0false>\"" },
    { "{\"@template\":\"{{p.a}} {{p.list}}\"}", EVENT,
      "\"[object Object] 1,2,,x\"" },
    { "{\"@template\":\"{{$.type}}|{{p.q}}|{{s}}\"}", EVENT,
      "\"|say \\\"hi\\\"|Gr\\u00fc\\u00dfe\"" },
    { "{\"@template\":\"{{{type}}} {{}} {{ }\"}", EVENT,
      "\"track {{}} {{ }\"" },
    { "{\"@template\":\"\\\"{{r}}\\n\"}", EVENT, "\"\\\"1.5\\n\"" },
    { "{\"@template\":\"{{{a}}}\"}", "{\"a\":\"{{b}}\",\"b\":\"in\"}",
      "\"in\"" },
    { "{\"@template\":\"{{a}}\"}", "{\"a\":\"{{b}}\",\"b\":\"in\"}",
      "\"{{b}}\"" },
    { "{\"@template\":\"{{ {{{a}}} }}\"}", "{\"a\":\"b\",\"b\":\"in\"}",
      "\"in\"" },
    { "{\"@template\":\"{{{{a}}}}\"}", "{\"a\":1,\"{a\":2}", "\"2}\"" },
    { "{\"@template\":{\"@path\":\"$.t\"}}", "{\"t\":\"<{{v}}>\",\"v\":[1,2]}",
      "\"<1,2>\"" },
    { "{\"@template\":{\"@path\":\"$.t\"}}", "{\"t\":null}",
      "! @template: expected string, got null" })

ROWS(conditions,
    { "{\"@if\":{\"exists\":{\"@path\":\"$.z\"},\"then\":1,\"else\":2}}",
      EVENT, "1" },
    { "{\"@if\":{\"exists\":{\"@path\":\"$.n\"},\"then\":1,\"else\":2}}",
      EVENT, "2" },
    { "{\"@if\":{\"blank\":{\"@path\":\"$.z\"},\"then\":1,\"else\":2}}",
      EVENT, "2" },
    { "{\"@if\":{\"blank\":{\"@path\":\"$.l\"},\"then\":1,\"else\":2}}",
      "{\"l\":[null]}", "2" },
    { "{\"@if\":{\"blank\":{\"@path\":\"$.p\"},\"then\":1,\"else\":2}}",
      EVENT, "1" },
    { "{\"@if\":{\"exists\":{\"@path\":\"$.no\"},\"then\":1,\"else\":0}}",
      EVENT, "undefined" },
    { "{\"@if\":{\"exists\":true,\"then\":0}}", EVENT, "0" },
    { "{\"@if\":{\"exists\":true}}", EVENT, "undefined" },
    { "{\"@if\":{\"exists\":\"\",\"blank\":1,\"then\":3}}", EVENT, "3" },
    { "{\"@if\":{\"exists\":\"\",\"then\":1}}", EVENT,
      "! @if requires an \"exists\" key or a \"blank\" key" },
    { "{\"@if\":{\"exists\":true,\"then\":7,\"else\":{\"@if\":{}}}}", EVENT,
      "7" })

ROWS(letters,
    { "{\"@case\":{\"operator\":\"upper\",\"value\":{\"@path\":\"$.s\"}}}",
      EVENT, "\"GR\xc3\x9cSSE\"" },
    { "{\"@case\":{\"operator\":\"lower\",\"value\":{\"@path\":\"$.s\"}}}",
      "{\"s\":\"\xce\xa3\xce\x91\xce\xa3 \xc4\xb0\"}",
      "\"\xcf\x83\xce\xb1\xcf\x82 i\xcc\x87\"" },
    { "{\"@case\":{\"operator\":\"odd\",\"value\":{\"@path\":\"$.id\"}}}",
      EVENT, "9007199254740993" },
    { "{\"@case\":{\"value\":\"x\"}}", EVENT,
      "! @case requires a \"operator\" key" })

#define REPLACE(options) \
    "{\"@replace\":{\"value\":{\"@path\":\"$.v\"}," options "}}"

ROWS(replacing,
    { REPLACE("\"pattern\":\"a.\",\"replacement\":\"-\""),
      "{\"v\":\"aba.a.\"}", "\"ab--\"" },
    { REPLACE("\"pattern\":\"a\",\"replacement\":\"[$&$$$`$']\""),
      "{\"v\":\"xay\"}", "\"x[a$xy]y\"" },
    { REPLACE("\"pattern\":\"a\",\"replacement\":\"$1$\""),
      "{\"v\":\"xay\"}", "\"x$1$y\"" },
    { REPLACE("\"pattern\":\"A\",\"ignorecase\":true,\"global\":false"),
      "{\"v\":\"banana\"}", "\"bnana\"" },
    { REPLACE("\"pattern\":\"\xc3\x84\",\"ignorecase\":true"),
      "{\"v\":\"x\xc3\xa4y\"}", "\"xy\"" },
    { REPLACE("\"pattern\":\"1\",\"pattern2\":\"2\",\"replacement2\":\"3\""),
      "{\"v\":12.5}", "\"3.5\"" },
    { REPLACE("\"pattern\":\"1\""), "{\"v\":{}}", "\"\"" },
    { REPLACE("\"pattern\":\"1\""), "{}", "\"\"" },
    { REPLACE("\"pattern\":\"\""), "{}",
      "! /@replace/pattern should be a string of length 1 or greater." })

ROWS(arrays,
    { "{\"@arrayPath\":[\"$.p.a.b\",{\"d\":{\"@path\":\"$.c\"},\"one\":1}]}",
      EVENT, "[{\"d\":1,\"one\":1},{\"d\":\"two\",\"one\":1}]" },
    { "{\"@arrayPath\":[\"$.p\",{\"@path\":\"$.q\"}]}", EVENT,
      "[\"say \\\"hi\\\"\"]" },
    { "{\"@arrayPath\":[\"$.l\",{\"v\":{\"@path\":\"$.x\"}}]}",
      "{\"l\":[null,0,{\"x\":{}},[]]}",
      "[{\"v\":null},{\"v\":0},{\"v\":{}},{}]" },
    { "{\"@arrayPath\":[\"$.type\",{\"v\":1}]}", EVENT, "\"track\"" },
    { "{\"@arrayPath\":[\"$.no\",{\"v\":1}]}", EVENT, "undefined" },
    { "{\"@arrayPath\":[{\"@path\":\"$.p.a\"},{\"n\":{\"@arrayPath\":"
      "[\"$.b\",{\"c\":{\"@template\":\"{{c}}!\"}}]}}]}", EVENT,
      "[{\"n\":[{\"c\":\"1!\"},{\"c\":\"two!\"}]}]" })

ROWS(flattening,
    { "{\"@flatten\":{\"separator\":\"_\",\"value\":{\"@path\":\"$.p\"}}}",
      EVENT,
      "{\"a_b_0_c\":1,\"a_b_1_c\":\"two\",\"a_k.x\":5,\"a b\":7,"
      "\"list_0\":1,\"list_1_0\":2,\"list_1_1\":null,\"list_2\":\"x\","
      "\"q\":\"say \\\"hi\\\"\"}" },
    { "{\"@flatten\":{\"separator\":\"_\",\"omitArrays\":true,\"value\":"
      "{\"@path\":\"$.p.a\"}}}", EVENT,
      "{\"b\":[{\"c\":1},{\"c\":\"two\"}],\"k.x\":5}" },
    { "{\"@flatten\":{\"separator\":\".\",\"value\":{\"@path\":\"$.v\"}}}",
      "{\"v\":{\"a.b\":1,\"x\":{},\"a\":{\"b\":2}}}", "{\"a.b\":2}" },
    { "{\"@flatten\":{\"separator\":\".\",\"value\":{\"@path\":\"$.v\"}}}",
      "{}", "{}" })

ROWS(json_texts,
    { "{\"@json\":{\"mode\":\"encode\",\"value\":{\"@path\":\"$.v\"}}}",
      "{\"v\":{ \"b\" : 1.0, \"a\":[1e2, \"\\u0041\\/\"],\"1\":-0,\"b\":2}}",
      "\"{\\\"1\\\":0,\\\"b\\\":2,\\\"a\\\":[100,\\\"A/\\\"]}\"" },
    { "{\"@json\":{\"mode\":\"decode\",\"value\":{\"@path\":\"$.v\"}}}",
      "{\"v\":\" {\\\"a\\\": [1]} \"}", "{\"a\": [1]}" },
    { "{\"@json\":{\"mode\":\"decode\",\"value\":{\"@path\":\"$.v\"}}}",
      "{\"v\":\"{oops\"}", "\"{oops\"" },
    { "{\"@json\":{\"mode\":\"ENCODE\",\"value\":{\"@path\":\"$.v\"}}}",
      "{\"v\":1}", "undefined" },
    { "{\"@json\":{\"mode\":\"encode\",\"value\":0}}", "{}",
      "! @json requires a \"value\" key" })

ROWS(merging,
    { "{\"@merge\":{\"direction\":\"right\",\"objects\":[{\"a\":1,\"b\":1},"
      "{\"b\":{\"@path\":\"$.no\"},\"c\":2}]}}", EVENT,
      "{\"a\":1,\"c\":2}" },
    { "{\"@merge\":{\"direction\":\"left\",\"objects\":[{\"a\":1},"
      "{\"@path\":\"$.type\"},{\"@path\":\"$.no\"},{\"@path\":\"$.p.a.b\"},"
      "{\"a\":2,\"z\":3}]}}", EVENT,
      "{\"0\":\"t\",\"1\":\"r\",\"2\":\"a\",\"3\":\"c\",\"4\":\"k\","
      "\"a\":1,\"z\":3}" },
    { "{\"@merge\":{\"direction\":\"left\",\"objects\":[{\"@merge\":"
      "{\"direction\":\"right\",\"objects\":[{\"a\":{\"@path\":\"$.no\"}}]}},"
      "{\"a\":1,\"b\":\"\xf0\x9f\x98\x80\"}]}}", EVENT,
      "{\"b\":\"\xf0\x9f\x98\x80\"}" },
    { "{\"@merge\":{\"objects\":[]}}", EVENT,
      "! @merge requires a \"direction\" key" })

ROWS(transforming,
    { "{\"@transform\":{\"apply\":{\"x\":{\"@path\":\"$.z\"}},\"mapping\":"
      "{\"y\":{\"@path\":\"$.x\"},\"gone\":{\"@path\":\"$.z\"}}}}", EVENT,
      "{\"y\":0}" },
    { "{\"k\":{\"@path\":\"$.x\"},\"__segment_internal_directive\":"
      "{\"@transform\":{\"apply\":{\"x\":{\"@path\":\"$.type\"}}}},"
      "\"l\":{\"@path\":\"$.type\"}}", EVENT, "{\"k\":\"track\"}" },
    { "{\"@literal\":{\"@transform\":{\"apply\":{\"@no\":1},"
      "\"mapping\":{\"a\":1}}}}", EVENT,
      "! /@literal/@transform/apply has an invalid directive: @no." },
    { "{\"__segment_internal_directive\":{\"@transform\":1}}", EVENT,
      "! The root directive must be an object" })

ROWS(leaving_out,
    { "{\"a\":{\"@excludeWhenNull\":{\"@path\":\"$.n\"}},\"b\":"
      "{\"@excludeWhenNull\":{\"@path\":\"$.v\"}}}",
      "{\"n\":null,\"v\":{\"x\":null,\"y\":{\"z\":null},\"l\":[null]}}",
      "{\"b\":{\"y\":{},\"l\":[null]}}" },
    { "{\"@literal\":[{\"@path\":\"$.z\"},{\"@nope\":1}]}", EVENT,
      "! @nope is not a valid directive, got undefined" })

/* ---- check ---- */

struct told {
    mf_str text;
    struct buf b;
};

static void tell(void *context, const char *at, const char *text)
{
    struct told *t = context;

    assert_true(at >= t->text.ptr && at < t->text.ptr + t->text.len);
    buf_printf(&t->b, "%zu %s\n", (size_t)(at - t->text.ptr), text);
}

typedef unsigned judge_fn(mf_val json, mapping_fault_fn *fn, void *context);

static void check_faults(judge_fn *judge, const char *mapping,
                         const char *want)
{
    struct told t = { .text = mf_cstr(mapping) };
    unsigned lines = 0;

    buf_init(&t.b, 4096);
    for (const char *p = want; *p; p++)
        lines += *p == '\n';
    assert_int_equal(judge(value(mapping), tell, &t), lines);
    buf_char(&t.b, 0);
    assert_string_equal(t.b.data, want);
    buf_deinit(&t.b);
}

static void faults(void **state)
{
    (void)state;
    check_faults(
        mapping_check, "{\"a\":{\"@path\":\"$.x\",\"_metadata\":{}}}", "");
    check_faults(
        mapping_check,
        "{\"a\":{\"@pith\":1},\"b\":{\"c\":{\"@replace\":{\"global\":1}}},"
        "\"d\":[{\"@x\":1}]}",
        "5 /a has an invalid directive: @pith.\n"
        "38 /b/c/@replace should have field \"pattern\" but it doesn't.\n"
        "38 /b/c/@replace should have field \"value\" but it doesn't.\n"
        "48 /b/c/@replace/global should be a boolean but it is a number.\n");
    check_faults(
        mapping_check,
        "{\"__segment_internal_directive\":{\"@transform\":{\"apply\":{}}},"
        "\"name\":{\"@path\":7}}",
        "76 /@transform/mapping/name/@path should be a string or a mapping "
        "directive but it is a number.\n");
}

static void late_faults(void **state)
{
    (void)state;
    check_faults(mapping_lint, "{\"a\":{\"@liquid\":\"{{ x }}\"}}", "");
    check_faults(
        mapping_lint,
        "{\"a\":{\"@liquid\":\"{% for %}\"},\"b\":[{\"@x\":1}],"
        "\"c\":{\"@literal\":{\"d\":{\"@path\":1}}}}",
        "16 /a/@liquid cannot be read: tag \"for\" is disabled, line:1, "
        "col:1.\n"
        "34 /b/0 has an invalid directive: @x.\n"
        "74 /c/@literal/d/@path should be a string or a mapping directive but "
        "it is a number.\n");
}

/* ---- parts, limits, accessors ---- */

static void parts(void **state)
{
    const struct mapping_part list[] = {
        { MF_STR("payload"), value("{\"id\":7,\"l\":[1,2]}") },
        { MF_STR("settings"), value("{\"key\":\"k\"}") },
    };
    const struct row rows[] = {
        { "{\"a\":{\"@path\":\"$.payload.id\"},"
          "\"b\":{\"@template\":\"{{settings.key}}-{{event.x}}\"}}",
          "parts", "{\"a\":7,\"b\":\"k-\"}" },
        { "{\"@path\":\"$.\"}", "parts",
          "{\"payload\":{\"id\":7,\"l\":[1,2]},"
          "\"settings\":{\"key\":\"k\"}}" },
        { "{\"@path\":{\"@literal\":\"$.settings.key\"}}", "parts", "\"k\"" },
    };
    struct arena a;

    (void)state;
    arena_init(&a, SOFT);
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct err e = { "" };
        struct mapping *m = mapping_compile(value(rows[i].mapping), &e);

        assert_non_null(m);
        expect(&rows[i], mapping_eval_parts(m, list, 2, &a, &e), e.text);
        mapping_free(m);
    }
    arena_deinit(&a);
}

/* Doubles what it is given at every level; must be refused, not abort. */
static void too_large(void **state)
{
    const char *twice = "{\"@template\":\"{{v}}{{v}}\"}";
    char *text = xstrdup(twice);
    struct err e = { "" };
    struct mapping *m;
    struct arena a;
    mf_val got;

    (void)state;
    for (int i = 0; i < 20; i++) {
        char *more = xasprintf("{\"@transform\":{\"apply\":{\"v\":%s},"
                               "\"mapping\":%s}}", twice, text);

        free(text);
        text = more;
    }
    m = mapping_compile(value(text), &e);
    assert_non_null(m);
    arena_init(&a, 64 * 1024);
    got = mapping_eval(m, value("{\"v\":\"0123456789\"}"), &a, &e);
    assert_int_equal(got.type, MF_ABSENT);
    assert_string_equal(e.text, "the payload is larger than one event may be");
    arena_deinit(&a);
    mapping_free(m);
    free(text);
}

static void accessors(void **state)
{
    struct err e = { "" };
    struct mapping *m = mapping_compile(
        value("{\"__segment_internal_sync_mode\":\"upsert\",\"a\":1}"), &e);

    (void)state;
    assert_non_null(m);
    assert_true(mf_eq(mapping_sync_mode(m), MF_STR("upsert")));
    assert_int_equal(mapping_matching_key(m).len, 0);
    mapping_free(m);
}

static void add_key(void *context, mf_str key)
{
    struct buf *b = context;

    buf_str(b, key);
    buf_char(b, ' ');
}

static void keys(void **state)
{
    struct buf b;

    (void)state;
    buf_init(&b, 1000);
    mapping_keys(value("{\"a\":{\"@if\":{\"then\":{\"@path\":\"$.t\"},"
                       "\"exists\":{\"@path\":\"$.e\"}}},\"b\":[{\"@template\":"
                       "\"{{ x }}{{{y}}}\"}],\"c\":{\"@liquid\":"
                       "\"{% assign q = p.r %}{{ q | append: s['t u'] }}\"}}"),
                 add_key, &b);
    buf_char(&b, 0);
    assert_string_equal(b.data, "$.e $.t x {y p.r s.t u ");
    buf_deinit(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(paths),       cmocka_unit_test(falsy_stop),
        cmocka_unit_test(last_key_wins), cmocka_unit_test(raw_values),
        cmocka_unit_test(templates),   cmocka_unit_test(conditions),
        cmocka_unit_test(letters),     cmocka_unit_test(replacing),
        cmocka_unit_test(arrays),      cmocka_unit_test(flattening),
        cmocka_unit_test(json_texts),  cmocka_unit_test(merging),
        cmocka_unit_test(transforming), cmocka_unit_test(leaving_out),
        cmocka_unit_test(faults),      cmocka_unit_test(late_faults),
        cmocka_unit_test(parts),
        cmocka_unit_test(too_large),   cmocka_unit_test(accessors),
        cmocka_unit_test(keys),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
