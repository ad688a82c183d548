/* SPDX-License-Identifier: Apache-2.0 */
#include "json/json.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct arena arena;

static mf_val parse(const char *text)
{
    assert_int_equal(json_check(mf_cstr(text), JSON_DEPTH_MAX, NULL), 0);
    return json_root(mf_cstr(text));
}

static void faults_say_where(void **state)
{
    static const struct {
        const char *text;
        size_t offset;
    } rows[] = {
        { "", 0 },         { "{\"a\":1,}", 7 }, { "[1 2]", 3 },
        { "{\"a\" 1}", 5 }, { "01", 1 },         { "\"\\x\"", 1 },
        { "nul", 0 },      { "1.", 2 },         { "[1]x", 3 },
        { "\"\x01\"", 1 },  { "\"\xff\"", 1 },   { "[", 1 },
    };
    struct json_fault fault;
    unsigned line, column;

    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        assert_int_equal(json_check(mf_cstr(rows[i].text), 8, &fault), -1);
        assert_int_equal(fault.offset, rows[i].offset);
        assert_non_null(fault.what);
    }
    assert_int_equal(json_check(MF_STR("[[[[1]]]]"), 3, &fault), -1);
    assert_int_equal(fault.offset, 3);
    json_place(MF_STR("{\n  \"a\": x}"), 9, &line, &column);
    assert_int_equal(line, 2);
    assert_int_equal(column, 8);
}

static void walks(void **state)
{
    mf_val v = parse(" { \"a\" : [ 1, {\"b\":\"x\\\"]}\"} , [] ],\"n\":-1.5e3,"
                     "\"a\\u0062\":true, \"n\": 2 } ");
    mf_val inner;

    (void)state;
    assert_int_equal(json_count(v), 4);
    assert_int_equal(json_count(json_get(v, MF_STR("a"))), 3);
    inner = json_get(json_at(json_get(v, MF_STR("a")), 1), MF_STR("b"));
    assert_true(mf_eq(json_text(inner, &arena), MF_STR("x\"]}")));
    assert_true(json_number(json_get(v, MF_STR("n")), 0) == 2);
    assert_true(json_is_true(json_get(v, MF_STR("ab"))));
    assert_int_equal(json_get(v, MF_STR("zz")).type, MF_ABSENT);
    assert_int_equal(json_at(json_get(v, MF_STR("a")), 3).type, MF_ABSENT);
}

/* The search for an end goes in blocks of 64 bytes: quotes, backslashes and
 * brackets stand at every place of one, and over the edge of one. */
static void containers_end_where_they_end(void **state)
{
    static const char *const insides[] = {
        "\"\\\\\"", "\"\\\"]}\"", "\"\\\\\\\\\\\"[{\"", "[[{}],\"}\"]",
        "{\"]\":\"\\\\\"}", "\"[\",\"\\u005b\\\\\"", "[{\"a\":[{}]}]",
    };
    char text[400];

    (void)state;
    for (size_t i = 0; i < COUNT_OF(insides); i++)
        for (int pad = 0; pad < 140; pad++) {
            int n = snprintf(text, sizeof text, "[[\"%*s\",%s,\"\"],7]", pad,
                             "", insides[i]);
            mf_val v = parse(text), inner = json_at(v, 0);

            assert_int_equal(v.len, n);
            assert_int_equal(inner.len, n - 4);
            assert_int_equal(json_at(inner, json_count(inner) - 1).len, 2);
            assert_true(json_number(json_at(v, 1), 0) == 7);
        }
}

static void strings_unescape(void **state)
{
    mf_val v = parse("\"\\u00e9\\ud83d\\ude80\\n\\/\\ud800x\"");

    (void)state;
    assert_true(mf_eq(json_text(v, &arena),
                      MF_STR("\xc3\xa9\xf0\x9f\x9a\x80\n/\xef\xbf\xbdx")));
}

static void integers_are_exact(void **state)
{
    int64_t n;

    (void)state;
    assert_true(json_integer(parse("9007199254740993"), &n));
    assert_true(n == 9007199254740993);
    assert_true(json_integer(parse("5.0"), &n) && n == 5);
    assert_true(json_integer(parse("1e3"), &n) && n == 1000);
    assert_false(json_integer(parse("1.5"), &n));
    assert_false(json_integer(parse("1e300"), &n));
    assert_false(json_integer(parse("\"5\""), &n));
}

static void equality_is_by_value(void **state)
{
    (void)state;
    assert_true(json_equal(parse("{\"a\":1,\"b\":[\"\\u0041\"]}"),
                           parse("{\"b\":[\"A\"],\"a\":1.0}"), &arena));
    assert_true(json_equal(parse("{\"a\":1,\"\\u0061\":2}"),
                           parse("{\"a\":2}"), &arena));
    assert_true(json_equal(parse("{\"a\":2}"),
                           parse("{\"a\":1, \"a\":2}"), &arena));
    assert_false(json_equal(parse("{\"a\":1,\"a\":1}"),
                            parse("{\"a\":1,\"b\":1}"), &arena));
    assert_false(json_equal(parse("[1,2]"), parse("[1]"), &arena));
    assert_true(json_equal(parse("{\"a\":1,\"a\":2}"), parse("{\"a\":2}"),
                           &arena));
    assert_false(json_equal(parse("{\"a\":2}"), parse("{\"a\":2,\"b\":1}"),
                            &arena));
    assert_false(json_equal(parse("{\"a\":null}"), parse("{\"b\":null}"),
                            &arena));
}

static void the_writer_keeps_commas(void **state)
{
    struct json_out w;
    struct buf b;

    (void)state;
    buf_init(&b, 4096);
    json_out_init(&w, &b);
    json_begin_object(&w);
    json_kstr(&w, "a\"", MF_STR("x\ny\x01\xff"));
    json_key(&w, MF_STR("b"));
    json_begin_array(&w);
    json_int(&w, -5);
    json_num(&w, 0.5);
    json_begin_object(&w);
    json_end_object(&w);
    json_null(&w);
    json_end_array(&w);
    json_kbool(&w, "c", true);
    json_end_object(&w);
    assert_true(mf_eq(buf_view(&b),
                      MF_STR("{\"a\\\"\":\"x\\ny\\u0001\xef\xbf\xbd\","
                             "\"b\":[-5,0.5,{},null],\"c\":true}")));
    buf_deinit(&b);
}

/* Writes the value again member by member. */
static void copy(struct json_out *w, mf_val v)
{
    mf_iter it = { { 0 } };
    mf_str key;
    mf_val item;

    if (v.type == MF_OBJECT)
        json_begin_object(w);
    else if (v.type == MF_ARRAY)
        json_begin_array(w);
    else {
        json_val(w, v);
        return;
    }
    while (json_next(v, &it, &key, &item)) {
        if (v.type == MF_OBJECT)
            json_key_raw(w, key);
        copy(w, item);
    }
    if (v.type == MF_OBJECT)
        json_end_object(w);
    else
        json_end_array(w);
}

static size_t read_file(const char *dir, const char *name, char *to, size_t max)
{
    char path[1024];
    FILE *f;
    size_t n;

    snprintf(path, sizeof path, "%s/%s", dir, name);
    f = fopen(path, "rb");
    assert_non_null(f);
    n = fread(to, 1, max, f);
    fclose(f);
    return n;
}

/* The torture set: y_ is accepted and survives a copy, n_ is refused, i_ may
 * be either. */
static void torture(void **state)
{
    static char text[1 << 20];
    const char *vectors = getenv("MANIFOLD_VECTORS");
    unsigned yes = 0, no = 0;
    struct dirent *e;
    char dir[512];
    DIR *d;

    (void)state;
    if (!vectors)
        skip();
    snprintf(dir, sizeof dir, "%s/json", vectors);
    d = opendir(dir);
    assert_non_null(d);
    while ((e = readdir(d))) {
        struct json_out w;
        struct buf b;
        mf_str s;
        int rc;

        if (!strchr("yni", e->d_name[0]) || e->d_name[1] != '_')
            continue;
        s = (mf_str){ text, read_file(dir, e->d_name, text, sizeof text) };
        rc = json_check(s, JSON_DEPTH_MAX, NULL);
        if ((e->d_name[0] == 'y' && rc) || (e->d_name[0] == 'n' && !rc))
            fail_msg("%s: json_check gave %d", e->d_name, rc);
        yes += e->d_name[0] == 'y';
        no += e->d_name[0] == 'n';
        if (rc)
            continue;
        buf_init(&b, sizeof text);
        json_out_init(&w, &b);
        copy(&w, json_root(s));
        assert_int_equal(json_check(buf_view(&b), JSON_DEPTH_MAX, NULL), 0);
        assert_true(json_equal(json_root(s), json_root(buf_view(&b)), &arena));
        buf_deinit(&b);
    }
    closedir(d);
    assert_true(yes > 90 && no > 180);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(faults_say_where),
        cmocka_unit_test(walks),
        cmocka_unit_test(containers_end_where_they_end),
        cmocka_unit_test(strings_unescape),
        cmocka_unit_test(integers_are_exact),
        cmocka_unit_test(equality_is_by_value),
        cmocka_unit_test(the_writer_keeps_commas),
        cmocka_unit_test(torture),
    };
    int rc;

    arena_init(&arena, 64 << 20);
    rc = cmocka_run_group_tests(tests, NULL, NULL);
    arena_deinit(&arena);
    return rc;
}
