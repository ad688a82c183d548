/* SPDX-License-Identifier: Apache-2.0
 *
 * mapping_vectors_test.c - the recorded vectors of the original's mapping-kit.
 *
 * Runs every vector of the functions below that MANIFOLD_VECTORS holds, prints
 * how many came out equal (members in the same order), and fails where more
 * than one in a hundred did not. Left out is only what our types do not let
 * in. */
#include "base/io.h"
#include "mapping/mapping.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define FILE_MAX (64u << 20)
#define PASS_PERCENT 99

/* One vector: what went in and what must come out, in the case's arena. */
struct vector {
    mf_val whole, args, expected;
    bool undefined; /* the outcome is undefined */
    struct arena *a;
    mf_str got;     /* set by the function under test */
    struct err e;   /* "" unless it failed */
    bool skipped;
};

static mf_val functions;
static char *file;

static mf_str member_text(mf_val v, const char *name, struct arena *a)
{
    return json_text(json_get(v, mf_cstr(name)), a);
}

/* undefined is written {"$undefined":true} in the file. */
static bool is_undefined(mf_val v)
{
    return v.type == MF_ABSENT ||
           (v.type == MF_OBJECT &&
            json_is_true(json_get(v, MF_STR("$undefined"))));
}

static mf_val arg(const struct vector *v, size_t i)
{
    mf_val x = json_at(v->args, i);

    return is_undefined(x) ? (mf_val){ NULL, 0, MF_ABSENT } : x;
}

static void got_value(struct vector *v, mf_val value)
{
    mf_val s = js_stringify(value, v->a);

    v->got = value.type == MF_ABSENT ? MF_STR("undefined")
                                     : (mf_str){ s.raw, s.len };
}

/* ---- the functions ---- */

static void run_mapping(struct vector *v, mf_val mapping, mf_val event)
{
    struct mapping *m;

    if (event.type == MF_ABSENT)
        event = (mf_val){ "{}", 2, MF_OBJECT };
    m = mapping_compile(mapping, &v->e);
    if (!m)
        return;
    got_value(v, mapping_eval(m, event, v->a, &v->e));
    mapping_free(m);
}

static void test_transform(struct vector *v)
{
    run_mapping(v, arg(v, 0), arg(v, 1));
}

static void test_transform_probe(struct vector *v)
{
    run_mapping(v, json_get(v->whole, MF_STR("mapping")),
                json_get(v->whole, MF_STR("payload")));
}

static void test_transform_batch(struct vector *v)
{
    struct mapping *m = mapping_compile(arg(v, 0), &v->e);
    mf_iter it = { { 0 } };
    struct json_out w;
    struct buf b;
    mf_str key;
    mf_val x;

    if (!m)
        return;
    buf_init(&b, FILE_MAX);
    json_out_init(&w, &b);
    json_begin_array(&w);
    while (json_next(arg(v, 1), &it, &key, &x))
        json_val(&w, mapping_eval(m, x, v->a, &v->e));
    json_end_array(&w);
    got_value(v, json_root(arena_copy(v->a, buf_view(&b))));
    buf_deinit(&b);
    mapping_free(m);
}

static void add_fault(void *context, const char *at, const char *text)
{
    struct vector *v = context;
    size_t n = strlen(v->e.text);

    assert_true(at >= v->args.raw && at < v->args.raw + v->args.len);
    snprintf(v->e.text + n, sizeof v->e.text - n, "%s%s", n ? "; " : "", text);
}

static void test_validate_mapping(struct vector *v)
{
    mf_val mapping = arg(v, 0);

    if (mapping_check(mapping, add_fault, v) == 0)
        v->got = mapping.type == MF_OBJECT || mapping.type == MF_ARRAY
                     ? MF_STR("undefined")
                     : MF_STR("null");
}

static void test_get(struct vector *v)
{
    mf_val path = arg(v, 1), value = arg(v, 0), x;
    mf_iter it = { { 0 } };
    mf_str key;

    if (path.type == MF_STRING) {
        value = path_get(value, json_text(path, v->a), v->a);
    } else if (path.type == MF_ARRAY) { /* ours takes one segment at a time */
        while (json_next(path, &it, &key, &x))
            value = path_get(value, json_text(x, v->a), v->a);
    } else {
        value = (mf_val){ NULL, 0, MF_ABSENT };
    }
    got_value(v, value);
}

static void test_flatten(struct vector *v)
{
    mf_val separator = arg(v, 2);

    got_value(v, flatten(arg(v, 0), json_text(arg(v, 1), v->a),
                         separator.type == MF_STRING
                             ? json_text(separator, v->a)
                             : MF_STR("."),
                         json_is_true(arg(v, 3)), v->a));
}

static void test_render(struct vector *v)
{
    mf_val text = arg(v, 0);

    if (text.type != MF_STRING) {
        v->skipped = true;
        return;
    }
    got_value(v, json_from_text(v->a, template_render(json_text(text, v->a),
                                                      arg(v, 1), v->a)));
}

static void add_key(void *context, mf_str key)
{
    struct json_out *w = context;

    json_str(w, key);
}

static void test_keys(struct vector *v)
{
    struct json_out w;
    struct buf b;

    buf_init(&b, FILE_MAX);
    json_out_init(&w, &b);
    json_begin_array(&w);
    mapping_keys(arg(v, 0), add_key, &w);
    json_end_array(&w);
    got_value(v, json_root(arena_copy(v->a, buf_view(&b))));
    buf_deinit(&b);
}

/* ---- the runner ---- */

/* Messages of an error, as mapping_compile() puts them together. */
static mf_str expected_error(mf_val error, struct arena *a)
{
    mf_val list = json_get(error, MF_STR("errors"));
    mf_str s = member_text(error, "message", a), key;
    mf_str prefix = MF_STR("ValidationError: ");
    mf_iter it = { { 0 } };
    struct buf b;
    mf_val v;

    if (s.len > prefix.len && memcmp(s.ptr, prefix.ptr, prefix.len) == 0)
        s = (mf_str){ s.ptr + prefix.len, s.len - prefix.len };
    if (list.type != MF_ARRAY)
        return s;
    buf_init(&b, ERR_TEXT);
    while (json_next(list, &it, &key, &v)) {
        if (b.len)
            buf_puts(&b, "; ");
        buf_str(&b, json_text(v, a));
    }
    s = arena_copy(a, buf_view(&b));
    buf_deinit(&b);
    return s;
}

static bool equal(struct vector *v)
{
    mf_val error = json_get(v->whole, MF_STR("error"));
    mf_val out = json_get(v->whole, MF_STR("out")), s;
    mf_str want;

    if (error.type != MF_ABSENT) {
        want = expected_error(error, v->a);
        if (mf_eq(want, mf_cstr(v->e.text)))
            return true;
    } else {
        s = js_stringify(out, v->a);
        want = is_undefined(out) ? MF_STR("undefined")
                                 : (mf_str){ s.raw, s.len };
        if (!v->e.text[0] && mf_eq(want, v->got))
            return true;
    }
    print_message("%.*s\n  want %.*s\n  got  %.*s %s\n",
                  (int)json_get(v->whole, MF_STR("id")).len,
                  json_get(v->whole, MF_STR("id")).raw, (int)want.len, want.ptr,
                  (int)v->got.len, v->got.ptr ? v->got.ptr : "", v->e.text);
    return false;
}

static void run(const char *name, void (*function)(struct vector *))
{
    mf_val list = json_get(functions, mf_cstr(name)), x;
    unsigned passed = 0, total = 0, left_out = 0;
    mf_iter it = { { 0 } };
    struct arena a;
    mf_str key;

    if (list.type != MF_ARRAY)
        skip();
    arena_init(&a, 64u << 20);
    while (json_next(list, &it, &key, &x)) {
        struct vector v = { .whole = x, .a = &a };

        v.args = json_get(x, MF_STR("args"));
        arena_reset(&a);
        function(&v);
        left_out += v.skipped;
        total += !v.skipped;
        passed += !v.skipped && equal(&v);
    }
    arena_deinit(&a);
    print_message("%-16s %u/%u, %u left out\n", name, passed, total, left_out);
    assert_true(total > 0);
    assert_true(passed * 100 >= total * PASS_PERCENT);
}

#define CASE(id, name, function)     \
    static void id(void **state)     \
    {                                \
        (void)state;                 \
        run(name, function);         \
    }

CASE(transform, "transform", test_transform)
CASE(probe, "transform_probe", test_transform_probe)
CASE(batch, "transformBatch", test_transform_batch)
CASE(validate, "validateMapping", test_validate_mapping)
CASE(get, "get", test_get)
CASE(flat, "flattenObject", test_flatten)
CASE(render, "render", test_render)
CASE(keys, "getFieldValueKeys", test_keys)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(transform), cmocka_unit_test(probe),
        cmocka_unit_test(batch),     cmocka_unit_test(validate),
        cmocka_unit_test(get),       cmocka_unit_test(flat),
        cmocka_unit_test(render),    cmocka_unit_test(keys),
    };
    const char *dir = getenv("MANIFOLD_VECTORS");
    struct err e = { "" };
    char *path;
    size_t len;
    int failed;

    if (!dir)
        return 77;
    path = xasprintf("%s/actions/_core.json", dir);
    if (io_read_file(AT_FDCWD, path, FILE_MAX, &file, &len, &e) != 0 ||
        json_check((mf_str){ file, len }, JSON_DEPTH_MAX, NULL) != 0) {
        fprintf(stderr, "%s: %s\n", path, e.text);
        return 1;
    }
    free(path);
    functions = json_get(json_root((mf_str){ file, len }), MF_STR("functions"));
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    free(file);
    return failed;
}
