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
#include <sys/mman.h>
#include <unistd.h>

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

/* ---- gates ---- */

#define GATED(id, key, rest)                                                   \
    "{\"id\":" #id ",\"name\":\"" key "\",\"write_key\":\"" key "\"," rest "}"

static const char gated[] = CONFIG(
    GATED(5, "w", "\"schema\":{},\"plan\":9,\"violations_to\":7,"
                  "\"blocked_to\":6")
    "," GATED(6, "b", "\"schema\":{\"track\":{\"blocked_events\":[\"x\"]}}")
    "," SOURCE(7, "v", "v"));

/* A plan as it comes from the supervisor. */
static int plan_file(const char *text)
{
    int fd = memfd_create("plan", MFD_CLOEXEC);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    return fd;
}

static void hand_over(struct keys *k, uint64_t number, const char *text)
{
    int fd = plan_file(text);
    struct err e = { "" };

    if (plans_add(&k->plans, number, fd, &e) != 0)
        fail_msg("%s", e.text);
    close(fd);
}

static const char *name_of(struct keys *k, uint32_t number)
{
    const struct source *s = keys_nth(k, number);

    return s ? s->name : "";
}

/* Copies share a gate with its source, and keep it when that is gone. */
static void gates(void **state)
{
    struct keys all = { 0 }, one = { 0 }, next, told = { 0 };
    struct source *w;

    (void)state;
    hand_over(&all, 9, "{\"rules\":[]}");
    configure(&all, gated);
    w = keys_find(&all, MF_STR("w"));
    assert_non_null(w->gate);
    assert_string_equal(name_of(&all, w->violations_to), "v");
    assert_string_equal(name_of(&all, w->blocked_to), "b");
    assert_non_null(keys_find(&all, MF_STR("b"))->gate);
    assert_null(keys_find(&all, MF_STR("v"))->gate);
    keys_copy(&next, &all);
    keys_replace(&one, &next);
    assert_ptr_equal(keys_find(&one, MF_STR("w"))->gate, w->gate);
    assert_string_equal(name_of(&one, keys_find(&one, MF_STR("w"))->blocked_to),
                        "b");
    keys_copy_counters(&told, &one);
    configure(&all, both); /* without any */
    assert_null(keys_find(&all, MF_STR("k"))->gate);
    assert_non_null(keys_find(&one, MF_STR("w"))->gate);
    keys_deinit(&told);
    keys_deinit(&all);
    keys_deinit(&one);
}

/* Plans stay for as long as a configuration names them. */
static void plans(void **state)
{
    struct keys all = { 0 };
    struct err e = { "" };
    int fd;

    (void)state;
    hand_over(&all, 9, "{\"rules\":[]}");
    hand_over(&all, 9, "known: it is not read");
    hand_over(&all, 10, "{\"rules\":[]}");
    configure(&all, gated);
    assert_int_equal(all.plans.count, 1);
    configure(&all, gated);
    assert_int_equal(all.plans.count, 1);
    assert_int_equal(all.plans.list[0].number, 9);
    configure(&all, both);
    assert_int_equal(all.plans.count, 0);
    fd = plan_file("{\"rules\":1}");
    assert_int_equal(plans_add(&all.plans, 11, fd, &e), -1);
    assert_non_null(strstr(e.text, "a tracking plan cannot be used: a plan "
                                   "has its rules in"));
    close(fd);
    keys_deinit(&all);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(copies), cmocka_unit_test(replaces),
        cmocka_unit_test(sums),   cmocka_unit_test(gates),
        cmocka_unit_test(plans),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
