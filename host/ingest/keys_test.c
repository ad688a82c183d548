/* SPDX-License-Identifier: Apache-2.0
 *
 * keys_test.c - each loop's copy of the sources: found by write key, counters
 * kept when another configuration comes, and summed over the loops. */
#include "ingest/keys.h"

#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define SOURCE(id, name, key)                                       \
    "{\"id\":" #id ",\"name\":\"" name "\",\"write_key\":\"" key "\"}"
#define CONFIG(sources) "{\"max_event_bytes\":7,\"sources\":[" sources "]}"

static const char both[] =
    CONFIG(SOURCE(1, "web", "k") "," SOURCE(2, "app", "a"));
static const char turned[] =
    CONFIG(SOURCE(2, "app", "other") "," SOURCE(3, "new", "n"));

static void configure(struct keys *k, const char *text)
{
    struct err e = { "" };

    if (keys_update(k, mf_cstr(text), &e) != 0)
        fail_msg("%s", e.text);
}

static void count(struct keys *k, const char *key, uint64_t events,
                  const char *code)
{
    struct source *s = keys_find(k, mf_cstr(key));

    assert_non_null(s);
    s->received += events;
    s->bytes += 10 * events;
    s->duplicates++;
    source_reject(s, code);
}

static uint64_t rejected(const struct source *s, const char *code)
{
    for (size_t i = 0; i < REJECT_CODES_MAX && s->rejected[i].code; i++)
        if (strcmp(s->rejected[i].code, code) == 0)
            return s->rejected[i].n;
    return 0;
}

/* A copy has the sources and no counts; what it counts is its own. */
static void copies(void **state)
{
    struct keys all = { 0 }, one;

    (void)state;
    configure(&all, both);
    count(&all, "k", 5, "bad");
    keys_copy(&one, &all);
    assert_int_equal(one.max_event_bytes, 7);
    assert_int_equal(one.count, 2);
    assert_int_equal(keys_find(&one, MF_STR("k"))->received, 0);
    assert_int_equal(rejected(keys_find(&one, MF_STR("k")), "bad"), 0);
    count(&one, "a", 3, "bad");
    assert_int_equal(keys_find(&all, MF_STR("a"))->received, 0);
    keys_deinit(&all);
    assert_string_equal(keys_find(&one, MF_STR("a"))->name, "app");
    assert_null(keys_find(&one, MF_STR("b")));
    keys_deinit(&one);
}

/* Another configuration: by number, counts stay with their source. */
static void replaces(void **state)
{
    struct keys all = { 0 }, one = { 0 }, next;

    (void)state;
    configure(&all, both);
    keys_copy(&next, &all);
    keys_replace(&one, &next);
    count(&one, "a", 3, "bad");
    configure(&all, turned);
    keys_copy(&next, &all);
    keys_replace(&one, &next);
    assert_null(keys_find(&one, MF_STR("a")));
    assert_int_equal(keys_find(&one, MF_STR("other"))->received, 3);
    assert_int_equal(rejected(keys_find(&one, MF_STR("other")), "bad"), 1);
    assert_int_equal(keys_find(&one, MF_STR("n"))->received, 0);
    keys_deinit(&one);
    keys_deinit(&all);
}

/* Loops may be a configuration apart, and know codes in another order. */
static void sums(void **state)
{
    struct keys all = { 0 }, one = { 0 }, other = { 0 }, told = { 0 };
    const struct source *app;

    (void)state;
    configure(&one, both);
    configure(&other, turned);
    configure(&all, turned);
    keys_copy_counters(&told, &told); /* a loop that has not been told */
    count(&one, "k", 1, "bad");
    count(&one, "a", 2, "bad");
    count(&one, "a", 2, "worse");
    count(&other, "other", 4, "worse");
    for (int round = 0; round < 2; round++) {
        keys_clear_counters(&all);
        keys_copy_counters(&told, &one);
        keys_add_counters(&all, &told);
        keys_copy_counters(&told, &other);
        keys_add_counters(&all, &told);
        app = keys_find(&all, MF_STR("other"));
        assert_int_equal(app->received, 8);
        assert_int_equal(app->bytes, 80);
        assert_int_equal(app->duplicates, 3);
        assert_int_equal(rejected(app, "bad"), 1);
        assert_int_equal(rejected(app, "worse"), 2);
        assert_int_equal(keys_find(&all, MF_STR("n"))->received, 0);
    }
    keys_deinit(&told);
    keys_deinit(&one);
    keys_deinit(&other);
    keys_deinit(&all);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(copies), cmocka_unit_test(replaces),
        cmocka_unit_test(sums),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
