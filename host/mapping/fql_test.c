/* SPDX-License-Identifier: Apache-2.0 */
#include "mapping/fql.h"
#include "mapping/glob.h"

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

/* One letter a verdict: n, y, f; x when the text does not compile. */
static char verdict(const char *text, enum fql_dialect dialect, mf_val event)
{
    struct fql *q = fql_compile(mf_cstr(text), dialect, NULL, NULL);
    char c = 'x';

    if (q)
        c = "nyf"[fql_eval(q, event, &arena)];
    fql_free(q);
    return c;
}

struct row {
    const char *text;
    char want;
};

static void rows_hold(const struct row *rows, size_t n,
                      enum fql_dialect dialect, const char *event)
{
    mf_val v = parse(event);

    for (size_t i = 0; i < n; i++) {
        char got = verdict(rows[i].text, dialect, v);

        if (got != rows[i].want)
            printf("%s: %c\n", rows[i].text, got);
        assert_int_equal(got, rows[i].want);
    }
}

static const char event[] =
    "{\"type\":\"track\",\"event\":\"Bill \\u00e9\\\"t\\\"\",\"userId\":\"u7\","
    "\"anonymousId\":\"a1\",\"sent\":\"2024-03-01T10:00:00Z\","
    "\"properties\":{\"total\":12.5,\"n\":\"12.5\",\"on\":true,\"off\":false,"
    "\"none\":null,\"zero\":0,\"tags\":[\"x\",\"y z\",3],"
    "\"o\":{\"a\":{\"b\":1}},"
    "\"two words\":\"yes\",\"a-b_c\":1,\"empty\":\"\",\"and\":5},"
    "\"context\":{\"ip\":\"1.2.3.4\"},\"ty\\u0070e\":\"track\"}";

static void subscriptions_match(void **state)
{
    static const struct row rows[] = {
        { "type = \"track\"", 'y' },
        { "type=track", 'y' },
        { "\n\ttype = \"track\"\n", 'y' },
        { "event = \"Bill \xc3\xa9\\\"t\\\"\"", 'n' },
        { "match(event, \"Bill*\")", 'y' },
        { "match(event, \"*t\\\")", 'n' },
        { "contains(event, \"l \xc3\xa9\")", 'y' },
        { "contains(event, \"\")", 'y' },
        { "properties.total = 12.5", 'y' },
        { "properties.n = 12.5", 'n' },
        { "properties.n = \"12.5\"", 'y' },
        { "properties.n != 12.5", 'n' },
        { "properties.total != \"12.5\"", 'y' },
        { "properties.total > 12 and properties.total < 13", 'y' },
        { "properties.n > 12", 'n' },
        { "properties.on = true", 'y' },
        { "properties.off = false", 'y' },
        { "properties.off != true", 'y' },
        { "properties.none = null", 'y' },
        { "properties.gone = null", 'y' },
        { "properties.zero != null", 'y' },
        { "properties.zero.deeper = 0", 'y' },
        { "properties.o.a.b >= 1", 'y' },
        { "properties.two\\ words = \"yes\"", 'y' },
        { "properties.a-b_c = 1", 'y' },
        { "properties.tags.length > 2", 'y' },
        { "traits.x != null", 'n' },
        { "context.ip = \"1.2.3.4\"", 'y' },
        { "event != null", 'y' },
        { "name = null", 'y' },
        /* the operator seen last is everybody's */
        { "type = \"x\" or event = \"y\" and userId = \"u7\"", 'n' },
        { "type = \"track\" and event = \"y\" or userId = \"z\"", 'y' },
        { "type = \"track\" and (event = \"y\" or userId = \"u7\")", 'y' },
        /* what is not known is skipped */
        { "not type = \"track\"", 'y' },
        { "!(type = \"track\")", 'y' },
        { "type = \"track\" ) ]", 'y' },
        { "type = \"track\" and(event = \"y\")", 'n' },
        { "type = \"track\" , userId = \"u8\"", 'n' },
        { "!contains(properties.total, \"1\")", 'n' },
        { "!match(userId, \"v*\")", 'y' },
        { "type = \"track\" and ()", 'f' },
        { "type ~ \"track\"", 'x' },
        { "type !=\"track\"", 'x' },
        { "anonymousId = \"a1\"", 'x' },
        { "type = \"track", 'x' },
        { "((type = \"track\"))", 'x' },
        { "(type = \"track\"", 'x' },
        { "length(event) > 3", 'x' },
        { "contains(event", 'x' },
        { "", 'x' },
    };

    (void)state;
    rows_hold(rows, COUNT_OF(rows), FQL_SUBSCRIPTION, event);
}

static void filters_match(void **state)
{
    static const struct row rows[] = {
        { "all", 'y' },
        { " all\n", 'y' },
        { "type = 'track' and ( event = 'Click' or match( event, 'Bill *' ) )",
          'y' },
        { "!( type in ['track','identify'] )", 'n' },
        { "'y z' in properties.tags", 'y' },
        { "3 in properties.tags", 'y' },
        { "'3' in properties.tags", 'n' },
        { "properties.total in [1, 12.5]", 'y' },
        { "properties.total in [1, properties.total]", 'y' },
        { "properties.gone in [null]", 'y' },
        { "'x' in properties.gone", 'n' },
        { "'x' in properties.n", 'f' },
        { "'x' in []", 'n' },
        { "properties.two\\ words = \"yes\"", 'y' },
        { "length( userId ) < 3", 'y' },
        { "length(properties.tags) = 3", 'y' },
        { "length(['a', userId]) = 2", 'y' },
        { "length(properties.gone) = 0", 'y' },
        { "length(properties.total) = 0", 'f' },
        /* and binds before or */
        { "type = 'track' or type = 'a' and type = 'b'", 'y' },
        { "(type = 'track' or type = 'a') and type = 'b'", 'n' },
        { "type = 'a' and type = 'b' or type = 'track'", 'y' },
        { "((type = 'track'))", 'y' },
        { "!(!(type = 'track'))", 'y' },
        { "!properties.on", 'n' },
        { "!properties.gone", 'y' },
        { "properties.on", 'y' },
        { "properties.gone", 'n' },
        { "properties.n", 'f' },
        { "properties.off and properties.n", 'n' },
        { "properties.on or properties.n", 'y' },
        { "properties.on and properties.n", 'f' },
        /* types must agree */
        { "properties.total = 12.50", 'y' },
        { "properties.total = '12.5'", 'n' },
        { "properties.total != '12.5'", 'y' },
        { "properties.gone = null", 'y' },
        { "properties.none = properties.gone", 'y' },
        { "properties.gone != 'x'", 'y' },
        { "properties.empty = null", 'n' },
        { "properties.tags = ['x', 'y z', 3]", 'y' },
        { "properties.tags != ['x']", 'y' },
        { "properties.total > 12 and properties.total >= 12.5", 'y' },
        { "properties.total <= -1", 'n' },
        { "properties.total < +13", 'y' },
        { "properties.n > 12", 'f' },
        { "properties.gone > 12", 'n' },
        { "sent >= '2024-03-01' and sent < '2024-03-02'", 'y' },
        { "anonymousId = 'a1'", 'y' },
        { "context.ip = '1.2.3.4'", 'y' },
        { "properties.o.a.b = 1", 'y' },
        { "properties.o.a.b.c = null", 'y' },
        { "properties.and = 5", 'y' },
        /* functions */
        { "contains(event, 'Bill')", 'y' },
        { "contains(properties.gone, 'x')", 'n' },
        { "contains(properties.total, '1')", 'f' },
        { "lowercase(userId) = 'u7' and uppercase(userId) = 'U7'", 'y' },
        { "lowercase(properties.gone) = null", 'y' },
        { "uppercase(event) = 'BILL \xc3\x89\"T\"'", 'y' },
        { "snakecase('a b c') = 'a_b_c' and kebabcase('a b') = 'a-b'", 'y' },
        { "titlecase('one two-three') = 'One Two-Three'", 'y' },
        { "typeof(properties.total) = 'number' and typeof(type) = 'string'",
          'y' },
        { "typeof(properties.tags) = 'list' and typeof(properties.on) = 'bool'",
          'y' },
        { "typeof(properties.gone) = 'null'", 'y' },
        { "number(properties.n) = properties.total", 'y' },
        { "string(properties.total) = properties.n", 'y' },
        { "bool('true') and bool(1) and !bool(properties.zero)", 'y' },
        { "number(userId) = 1", 'f' },
        { "match(properties.gone, '*')", 'n' },
        { "match('', '*')", 'y' },
        { "match(userId, properties.tags)", 'f' },
        { "contains(lowercase(event), 'bill')", 'y' },
        { "typeof(type = 'x') = 'bool'", 'y' },
    };

    (void)state;
    rows_hold(rows, COUNT_OF(rows), FQL_FILTER, event);
}

static void faults_say_where(void **state)
{
    static const struct {
        const char *text;
        size_t offset;
    } rows[] = {
        { "", 0 },
        { "   ", 3 },
        { "type = 'a' type = 'b'", 11 },
        { "type = 'a", 7 },
        { "type = ", 7 },
        { "type = 'a' and", 14 },
        { "(type = 'a'", 11 },
        { "lenght(event) > 3", 0 },
        { "type = 'a' and length() = 1", 15 },
        { "contains(event) ", 0 },
        { "type in ['a' 'b']", 13 },
        { "! type = 'a'", 1 },
        { "properties.$x = 1", 11 },
        { "properties.x = 1.", 17 },
        { "properties.x = 12a", 17 },
        { "match(event, '[a') = true", 0 },
        { "type == 'a'", 6 },
        { "type\\", 5 },
        { "event = 'A' && type = 'b'", 12 },
        { "all or none", 7 },
    };
    struct fql *q;
    struct err e;
    size_t offset;

    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        e.text[0] = 0;
        q = fql_compile(mf_cstr(rows[i].text), FQL_FILTER, &e, &offset);
        if (i == COUNT_OF(rows) - 1) { /* a field named all, well said */
            assert_non_null(q);
            fql_free(q);
            continue;
        }
        assert_null(q);
        if (offset != rows[i].offset)
            printf("%s: %zu %s\n", rows[i].text, offset, e.text);
        assert_int_equal(offset, rows[i].offset);
        assert_true(e.text[0] != 0);
    }
    assert_null(fql_compile(MF_STR("lenght(event) > 3"), FQL_FILTER, &e, NULL));
    assert_non_null(strstr(e.text, "\"length\""));
    assert_null(fql_compile(MF_STR("type = $"), FQL_SUBSCRIPTION, &e, &offset));
    assert_int_equal(offset, 7);
    assert_null(fql_compile((mf_str){ "a\0b", 3 }, FQL_FILTER, &e, &offset));
    assert_int_equal(offset, 1);
}

static void sizes_are_bounded(void **state)
{
    char text[FQL_LENGTH_MAX + 2];
    struct err e;

    (void)state;
    memset(text, ' ', sizeof text);
    memcpy(text, "type = 'a'", 10);
    assert_null(fql_compile((mf_str){ text, FQL_LENGTH_MAX + 1 }, FQL_FILTER,
                            &e, NULL));
    memset(text, '(', 100);
    assert_null(fql_compile((mf_str){ text, FQL_LENGTH_MAX }, FQL_FILTER, &e,
                            NULL));
    assert_non_null(strstr(e.text, "deep"));
    memset(text, '[', 100);
    assert_null(fql_compile((mf_str){ text, FQL_LENGTH_MAX }, FQL_FILTER, &e,
                            NULL));
    assert_non_null(strstr(e.text, "deep"));
    memset(text, 'a', FQL_LENGTH_MAX);
    for (size_t i = 1; i < FQL_LENGTH_MAX; i += 2)
        text[i] = '.';
    text[FQL_LENGTH_MAX - 1] = 'a';
    fql_free(fql_compile((mf_str){ text, FQL_LENGTH_MAX }, FQL_FILTER, &e,
                         NULL));
    fql_free(fql_compile((mf_str){ text, FQL_LENGTH_MAX }, FQL_SUBSCRIPTION,
                         &e, NULL));
    for (size_t i = 0; i + 10 <= FQL_LENGTH_MAX; i += 10)
        memcpy(text + i, "type = 1  ", 10);
    fql_free(fql_compile((mf_str){ text, FQL_LENGTH_MAX }, FQL_SUBSCRIPTION,
                         &e, NULL));
}

static void globs_match_whole_texts(void **state)
{
    static const struct {
        const char *pattern, *text;
        int want;
    } rows[] = {
        { "*", "", 1 },          { "ab", "abc", 0 },
        { "ab\\*d", "ab*d", 1 },  { "ab\\*d", "abxd", 0 },
        { "a*c", "abbc", 1 },    { "a*c", "abb", 0 },
        { "*a*b", "xaybzab", 1 }, { "?", "\xc3\xa9", 1 },
        { "?", "", 0 },          { "[abc]x", "bx", 1 },
        { "[a-c]", "d", 0 },     { "[a-c-]", "-", 1 },
        { "[]]", "]", 1 },       { "[\\]]", "]", 1 },
        { "[\xc3\xa0-\xc3\xbf]", "\xc3\xa9", 1 },
        { "[c-a]", "b", -1 },    { "[a", "a", -1 },
        { "a\\", "a", -1 },       { "", "", 1 },
        { "", "a", 0 },          { "**", "ab", 1 },
    };
    char many[40001];
    mf_str text = { many, sizeof many - 1 };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        assert_int_equal(glob_match(mf_cstr(rows[i].pattern),
                                    mf_cstr(rows[i].text)),
                         rows[i].want);
    memset(many, 'a', sizeof many);
    assert_int_equal(glob_match(MF_STR("*aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab"),
                                text),
                     -1); /* gives up */
}

static void trees_go_there_and_back(void **state)
{
    static const char *const texts[] = {
        "type = \"track\"",
        "type = \"track\" and (event = \"A\" or properties.a\\ b != null)",
        "!match(traits.x, \"*y\") or contains(userId, \"z\")",
        "properties.n = 5 and properties.m < 3 and context.on = true",
    };
    struct json_out w;
    struct fql *q, *again;
    struct buf tree, text;

    (void)state;
    buf_init(&tree, 1 << 16);
    buf_init(&text, 1 << 16);
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        q = fql_compile(mf_cstr(texts[i]), FQL_SUBSCRIPTION, NULL, NULL);
        assert_non_null(q);
        buf_clear(&tree);
        buf_clear(&text);
        json_out_init(&w, &tree);
        fql_write_tree(q, &w);
        again = fql_from_tree(json_root(buf_view(&tree)), NULL);
        assert_non_null(again);
        fql_write_text(again, &text);
        assert_int_equal(text.len, strlen(texts[i]));
        assert_memory_equal(text.data, texts[i], text.len);
        fql_free(q);
        fql_free(again);
    }
    buf_deinit(&tree);
    buf_deinit(&text);
    assert_null(fql_from_tree(parse("{\"type\":\"group\"}"), NULL));
    assert_null(fql_from_tree(parse("{\"children\":[{\"type\":\"x\"}]}"),
                              NULL));
    assert_null(fql_from_tree(parse("[]"), NULL));
}

/* What a filter decides it must decide when it is written anew, however odd
 * it was. want is what it decides on `seen`. */
static void odd_texts_keep_their_meaning(void **state)
{
    static const char seen[] =
        "{\"type\":\"track\",\"event\":\"Say \\\"hi\\\"\",\"properties\":"
        "{\"and\":1,\"1a\":1e21,\"x y\":\"5\",\"\":3}}";
    static const struct {
        const char *text;
        enum fql_verdict want;
    } rows[] = {
        { "event contains \"Say\"", FQL_YES },
        { "event not_contains \"Say\"", FQL_NO },
        { "event ends_with \\\"hi\\\"", FQL_YES },
        { "match(event, '\"hi\"')", FQL_NO },
        { "properties.none exists and and type = \"page\"", FQL_NO },
        { "properties.\\and exists \"\"", FQL_YES },
        { "properties.\\and is_true 1", FQL_NO },
        { "type starts_with \"tr\"", FQL_YES },
        { "properties.\\1a = 1000000000000000000000", FQL_YES },
        { "properties.\\1a >= 1000000000000000000000", FQL_YES },
        { "properties.x\\ y number_equals 5", FQL_NO },
        { "properties\\. = null", FQL_YES },
        { "properties.a\\.\\.b != null", FQL_NO },
        { "(contains . event , \"Say\" . and type = \"page\") or "
          "type = \"track\"",
          FQL_YES },
        { "type = \"track\" or ()", FQL_YES },
        { "type = \"track\" and ()", FQL_FAULT },
        { "event ( \"x\"", FQL_NO },
    };
    struct buf tree, text;
    struct json_out w;

    (void)state;
    buf_init(&tree, 1 << 16);
    buf_init(&text, 1 << 16);
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct fql *q = fql_compile(mf_cstr(rows[i].text), FQL_SUBSCRIPTION,
                                    NULL, NULL);
        struct fql *again;

        assert_non_null(q);
        assert_int_equal(fql_eval(q, parse(seen), &arena), rows[i].want);
        buf_clear(&tree);
        buf_clear(&text);
        json_out_init(&w, &tree);
        fql_write_tree(q, &w);
        again = fql_from_tree(json_root(buf_view(&tree)), NULL);
        assert_non_null(again);
        assert_int_equal(fql_eval(again, parse(seen), &arena), rows[i].want);
        fql_write_text(again, &text);
        fql_free(again);
        again = fql_compile(buf_view(&text), FQL_SUBSCRIPTION, NULL, NULL);
        if (!again)
            fail_msg("%s became %.*s", rows[i].text, (int)text.len, text.data);
        assert_int_equal(fql_eval(again, parse(seen), &arena), rows[i].want);
        fql_free(again);
        fql_free(q);
    }
    buf_deinit(&tree);
    buf_deinit(&text);
}

static void one_view_serves_many(void **state)
{
    struct fql *a = fql_compile(MF_STR("type = \"track\""), FQL_SUBSCRIPTION,
                                NULL, NULL);
    struct fql *b = fql_compile(MF_STR("context.ip = '1.2.3.4'"), FQL_FILTER,
                                NULL, NULL);
    struct fql_view view;

    (void)state;
    fql_view_init(&view, parse(event));
    assert_int_equal(fql_eval_view(a, &view, &arena), FQL_YES);
    assert_int_equal(fql_eval_view(b, &view, &arena), FQL_YES);
    fql_view_init(&view, parse("[1]"));
    assert_int_equal(fql_eval_view(a, &view, &arena), FQL_NO);
    assert_int_equal(fql_eval_view(b, &view, &arena), FQL_NO);
    fql_view_init(&view, parse("{\"type\":\"page\",\"type\":\"track\"}"));
    assert_int_equal(fql_eval_view(a, &view, &arena), FQL_YES);
    fql_free(a);
    fql_free(b);
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
        cmocka_unit_test(subscriptions_match),
        cmocka_unit_test(filters_match),
        cmocka_unit_test(faults_say_where),
        cmocka_unit_test(sizes_are_bounded),
        cmocka_unit_test(globs_match_whole_texts),
        cmocka_unit_test(trees_go_there_and_back),
        cmocka_unit_test(odd_texts_keep_their_meaning),
        cmocka_unit_test(one_view_serves_many),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
