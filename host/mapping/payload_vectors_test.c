/* SPDX-License-Identifier: Apache-2.0
 *
 * payload_vectors_test.c - from an event to a validated payload, for every
 * destination on record: mapping, then field checks, against the payload that
 * reached the original's action, or the fault that kept it from there. Takes
 * actions/ from MANIFOLD_VECTORS; skipped without it.
 *
 * The catalogue has no labels, so faults that begin with one are compared
 * only as being faults. */
#include "base/io.h"
#include "mapping/mapping.h"
#include "mapping/schema.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define FILE_MAX (64u << 20)
#define TOLD_MAX 40

struct tally {
    unsigned passed, total, told;
};

static struct arena arena; /* of the whole run: the catalogue */

static mf_val read_json(const char *dir, mf_str name, char **text)
{
    char *path = xasprintf("%s/actions/%.*s.json", dir, (int)name.len,
                           name.ptr);
    struct err e;
    size_t len;
    mf_val v;
    int rc = io_read_file(AT_FDCWD, path, FILE_MAX, text, &len, &e);

    free(path);
    if (rc != 0) {
        *text = NULL;
        return (mf_val){ NULL, 0, MF_ABSENT };
    }
    assert_int_equal(json_check((mf_str){ *text, len }, JSON_DEPTH_MAX, NULL),
                     0);
    v = json_root((mf_str){ *text, len });
    return v;
}

static mf_val action_of(mf_val destination, mf_str slug)
{
    mf_iter it = { { 0 } };
    mf_str key;
    mf_val v;

    while (json_next(json_get(destination, MF_STR("actions")), &it, &key, &v))
        if (mf_eq(json_text(json_get(v, MF_STR("slug")), &arena), slug))
            return v;
    return (mf_val){ NULL, 0, MF_ABSENT };
}

static void differs(struct tally *t, mf_val vector, mf_val got,
                    const struct err *e)
{
    mf_val id = json_get(vector, MF_STR("id"));
    mf_val want = json_get(vector, MF_STR("payload"));

    if (t->told++ >= TOLD_MAX)
        return;
    if (want.type == MF_ABSENT)
        want = json_get(vector, MF_STR("error"));
    printf("%.*s\n  got  %.*s %s\n  want %.*s\n", (int)id.len, id.raw,
           (int)(got.len < 1500 ? got.len : 1500), got.raw ? got.raw : "",
           e->text, (int)(want.len < 1500 ? want.len : 1500), want.raw);
}

static bool same_fault(mf_val error, const struct err *e, struct arena *a)
{
    mf_str message = json_text(json_get(error, MF_STR("message")), a);
    char *text;
    bool same;

    if (!e->text[0])
        return false;
    if (memmem(e->text, strlen(e->text), "The value at /", 14) ||
        message.len >= ERR_TEXT)
        return true;
    /* Generated vectors join with "; " what the original joins with " ". */
    text = xstrndup(message.ptr, message.len);
    for (char *p = text; (p = strstr(p, ".; ")); p++)
        memmove(p + 1, p + 2, strlen(p + 2) + 1);
    same = strcmp(text, e->text) == 0;
    free(text);
    return same;
}

static void check_one(struct tally *t, const struct schema *s, mf_val vector)
{
    mf_val want = json_get(vector, MF_STR("payload"));
    mf_val error = json_get(vector, MF_STR("error"));
    struct mapping *m;
    struct arena a;
    struct err e;
    mf_val got;
    bool ok;

    arena_init(&a, SIZE_MAX / 8);
    m = mapping_compile(json_get(vector, MF_STR("mapping")), &e);
    if (m) {
        got = mapping_eval(m, json_get(vector, MF_STR("event")), &a, &e);
        if (got.type == MF_OBJECT) {
            e.text[0] = 0;
            got = schema_apply(s, got, false, &a, &e);
        }
        ok = want.type != MF_ABSENT ? json_equal(got, want, &a)
                                    : same_fault(error, &e, &a);
        t->total++;
        t->passed += ok;
        if (!ok)
            differs(t, vector, got, &e);
    }
    mapping_free(m);
    arena_deinit(&a);
}

/* Those events of a batch that pass are the payload; the others are told
 * elsewhere. Events that no subscription wants are not in any vector here. */
static void check_batch(struct tally *t, const struct schema *s, mf_val vector)
{
    mf_val want = json_get(vector, MF_STR("payload")), event, got = { 0 };
    mf_iter it = { { 0 } };
    struct mapping *m;
    struct arena a;
    struct err e;
    bool ok = true;
    size_t n = 0;
    mf_str key;

    m = mapping_compile(json_get(vector, MF_STR("mapping")), &e);
    if (!m)
        return;
    arena_init(&a, SIZE_MAX / 8);
    while (json_next(json_get(vector, MF_STR("events")), &it, &key, &event)) {
        got = mapping_eval(m, event, &a, &e);
        if (got.type == MF_OBJECT)
            got = schema_apply(s, got, true, &a, &e);
        if (got.type != MF_ABSENT)
            ok &= json_equal(got, json_at(want, n++), &a);
    }
    ok &= n == json_count(want);
    t->total++;
    t->passed += ok;
    if (!ok)
        differs(t, vector, got, &e);
    mapping_free(m);
    arena_deinit(&a);
}

static bool is_batch(mf_val vector)
{
    return mf_eq(json_text(json_get(vector, MF_STR("kind")), &arena),
                 MF_STR("batch")) &&
           json_get(vector, MF_STR("mapping")).type == MF_OBJECT &&
           json_get(vector, MF_STR("payload")).type == MF_ARRAY;
}

static bool is_ours(mf_val vector)
{
    mf_str class = json_text(json_get(json_get(vector, MF_STR("error")),
                                      MF_STR("class")),
                             &arena);

    if (!mf_eq(json_text(json_get(vector, MF_STR("kind")), &arena),
               MF_STR("action")) ||
        json_get(vector, MF_STR("mapping")).type != MF_OBJECT)
        return false;
    return json_get(vector, MF_STR("payload")).type == MF_OBJECT ||
           mf_eq(class, MF_STR("AggregateAjvError"));
}

static void check_destination(struct tally *t, const char *dir,
                              mf_val destination)
{
    mf_str name = json_text(json_get(destination, MF_STR("dir")), &arena), key;
    mf_iter it = { { 0 } };
    mf_val file, v, action;
    struct schema *s;
    struct err e;
    char *text;

    s = schema_compile(json_get(destination, MF_STR("settings")), &e);
    assert_non_null(s);
    schema_free(s);
    file = read_json(dir, name, &text);
    if (file.type == MF_OBJECT)
        file = json_get(file, MF_STR("vectors"));
    while (json_next(file, &it, &key, &v)) {
        if (!is_ours(v) && !is_batch(v))
            continue;
        action = action_of(destination,
                           json_text(json_get(v, MF_STR("action")), &arena));
        if (action.type == MF_ABSENT)
            continue;
        s = schema_compile(json_get(action, MF_STR("fields")), &e);
        if (!s)
            printf("%.*s: %s\n", (int)name.len, name.ptr, e.text);
        assert_non_null(s);
        if (is_batch(v))
            check_batch(t, s, v);
        else
            check_one(t, s, v);
        schema_free(s);
    }
    free(text);
}

static void payloads(void **state)
{
    const char *dir = getenv("MANIFOLD_VECTORS");
    struct tally t = { 0, 0, 0 };
    mf_iter it = { { 0 } };
    mf_val catalog, v;
    char *text;
    mf_str key;

    (void)state;
    if (!dir)
        skip();
    arena_init(&arena, SIZE_MAX / 8);
    catalog = read_json(dir, MF_STR("catalog"), &text);
    while (json_next(catalog, &it, &key, &v))
        check_destination(&t, dir, v);
    printf("payloads: %u/%u\n", t.passed, t.total);
    free(text);
    arena_deinit(&arena);
    assert_true(t.total > 0);
    assert_true(t.passed * 100 >= t.total * 99);
}

int main(void)
{
    static const struct CMUnitTest tests[] = { cmocka_unit_test(payloads) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
