/* SPDX-License-Identifier: Apache-2.0
 *
 * fql_vectors_test.c - subscriptions against what the original recorded:
 * parseFql, validateFql, generateFql and the probes on whole events. Takes
 * actions/_core.json from MANIFOLD_VECTORS; skipped without it. */
#include "mapping/core_vectors.h"
#include "mapping/fql.h"

static mf_val argument(mf_val vector, size_t i)
{
    return json_at(json_get(vector, MF_STR("args")), i);
}

static void wrong(mf_val vector, mf_str got)
{
    mf_val id = json_get(vector, MF_STR("id"));

    printf("%.*s: got %.*s\n", (int)id.len, id.raw, (int)got.len, got.ptr);
}

static void report(const char *function, unsigned passed, unsigned total)
{
    printf("%s: %u/%u\n", function, passed, total);
    assert_true(total > 0);
    assert_true(passed * 100 >= total * 99);
}

static bool is_error(mf_val tree)
{
    return json_get(tree, MF_STR("error")).type != MF_ABSENT;
}

static mf_val tree_of(mf_str fql, struct buf *b)
{
    struct fql *q = fql_compile(fql, FQL_SUBSCRIPTION, NULL, NULL);
    struct json_out w;

    buf_clear(b);
    json_out_init(&w, b);
    if (q)
        fql_write_tree(q, &w);
    else
        buf_puts(b, "null");
    fql_free(q);
    return json_root(buf_view(b));
}

static void parse_fql(void **state)
{
    mf_val list = vectors("parseFql"), v, expected, got;
    unsigned passed = 0, total = 0;
    mf_iter it = { { 0 } };
    struct buf b;
    mf_str key;
    bool ok;

    (void)state;
    buf_init(&b, 1 << 20);
    while (json_next(list, &it, &key, &v)) {
        expected = json_get(v, MF_STR("out"));
        got = tree_of(json_text(argument(v, 0), &arena), &b);
        ok = is_error(expected) ? got.type == MF_NULL
                                : json_equal(got, expected, &arena);
        total++;
        passed += ok;
        if (!ok)
            wrong(v, buf_view(&b));
    }
    buf_deinit(&b);
    report("parseFql", passed, total);
}

static void validate_fql(void **state)
{
    mf_val list = vectors("validateFql"), v;
    unsigned passed = 0, total = 0;
    mf_iter it = { { 0 } };
    mf_str key;

    (void)state;
    while (json_next(list, &it, &key, &v)) {
        struct fql *q = fql_from_tree(argument(v, 0), NULL);
        bool got = q && fql_match(q, argument(v, 1), &arena);

        total++;
        if (got == json_is_true(json_get(v, MF_STR("out"))))
            passed++;
        else
            wrong(v, got ? MF_STR("true") : MF_STR("false"));
        fql_free(q);
    }
    report("validateFql", passed, total);
}

static void generate_fql(void **state)
{
    mf_val list = vectors("generateFql"), v, out;
    unsigned passed = 0, total = 0;
    mf_iter it = { { 0 } };
    struct buf b;
    mf_str key;
    bool ok;

    (void)state;
    buf_init(&b, 1 << 16);
    while (json_next(list, &it, &key, &v)) {
        struct fql *q = fql_from_tree(argument(v, 0), NULL);

        buf_clear(&b);
        if (q)
            fql_write_text(q, &b);
        out = json_get(v, MF_STR("out"));
        ok = out.type == MF_STRING
                 ? q && mf_eq(buf_view(&b), json_text(out, &arena))
                 : !q;
        total++;
        passed += ok;
        if (!ok)
            wrong(v, buf_view(&b));
        fql_free(q);
    }
    buf_deinit(&b);
    report("generateFql", passed, total);
}

static bool matches_as(mf_val v, mf_val events)
{
    mf_str fql = json_text(json_get(v, MF_STR("fql")), &arena), key;
    struct fql *q = fql_compile(fql, FQL_SUBSCRIPTION, NULL, NULL);
    mf_iter it = { { 0 } };
    bool same = true;
    mf_val expected;
    size_t i = 0;

    while (json_next(json_get(v, MF_STR("matches")), &it, &key, &expected))
        same &= json_is_true(expected) ==
                (q && fql_match(q, json_at(events, i++), &arena));
    fql_free(q);
    return same;
}

static void fql_probe(void **state)
{
    mf_val list = vectors("fql_probe"), v, tree, got;
    mf_val events = json_get(core, MF_STR("fql_events"));
    unsigned passed = 0, total = 0;
    mf_iter it = { { 0 } };
    struct buf b;
    mf_str key;
    bool ok;

    (void)state;
    buf_init(&b, 1 << 20);
    while (json_next(list, &it, &key, &v)) {
        tree = json_get(v, MF_STR("ast"));
        got = tree_of(json_text(json_get(v, MF_STR("fql")), &arena), &b);
        if (tree.type == MF_ABSENT || is_error(tree))
            tree = JSON_NULL;
        ok = json_equal(got, tree, &arena) && matches_as(v, events);
        total++;
        passed += ok;
        if (!ok)
            wrong(v, buf_view(&b));
    }
    buf_deinit(&b);
    report("fql_probe", passed, total);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(parse_fql),
        cmocka_unit_test(validate_fql),
        cmocka_unit_test(generate_fql),
        cmocka_unit_test(fql_probe),
    };

    return cmocka_run_group_tests(tests, load, unload);
}
