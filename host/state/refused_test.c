/* SPDX-License-Identifier: Apache-2.0
 *
 * Letters of events that ingest refused: found by what they say and by pages,
 * tried again, dropped, bounded by count, bytes and age with the oldest
 * leaving first, and the sums right over all of it and over a restart. */
#include "state/refused.h"

#include "base/mem.h"
#include "state/inner.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define WEB 1
#define APP 2

static char dir[64], path[96];
static struct state *s;

static void reopen(void)
{
    struct err e = { "" };

    state_close(s);
    s = state_open(path, &e);
    if (!s)
        fail_msg("%s", e.text);
}

static int setup(void **state)
{
    struct err e;

    (void)state;
    s = NULL;
    snprintf(dir, sizeof dir, "/tmp/refused-test-XXXXXX");
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/state.db", dir);
    reopen();
    assert_int_equal(state_source(s, "web", &e), WEB);
    assert_int_equal(state_source(s, "app", &e), APP);
    return 0;
}

static int teardown(void **state)
{
    static const char *const suffixes[] = { "", "-wal", "-shm" };
    char name[128];

    (void)state;
    state_close(s);
    for (size_t i = 0; i < COUNT_OF(suffixes); i++) {
        snprintf(name, sizeof name, "%s%s", path, suffixes[i]);
        unlink(name);
    }
    rmdir(dir);
    return 0;
}

static void add(uint32_t source, int64_t when_ms, const char *code,
                const char *id, mf_str event)
{
    struct refused_letter l = { .when_ms = when_ms, .code = mf_cstr(code),
                                .message_id = mf_cstr(id),
                                .envelope = MF_STR("{}"), .event = event };
    struct err e;

    if (state_refused_add(s, source, &l, &e) != 0)
        fail_msg("%s", e.text);
}

struct seen {
    int64_t ids[32];
    unsigned count;
    char last[128];
};

static bool see(void *arg, const struct refused_letter *l)
{
    struct seen *n = arg;

    if (n->count < COUNT_OF(n->ids))
        n->ids[n->count] = l->id;
    n->count++;
    snprintf(n->last, sizeof n->last, "%.*s %.*s %.*s", (int)l->code.len,
             l->code.ptr, (int)l->message_id.len, l->message_id.ptr,
             (int)l->event.len, l->event.ptr);
    return true;
}

static int64_t look(struct seen *n, const struct refused_query *asked)
{
    struct refused_query q = *asked;
    int64_t next;
    struct err e;

    memset(n, 0, sizeof *n);
    q.source = q.source ? q.source : WEB;
    q.limit = q.limit ? q.limit : 100;
    q.scan = LETTERS_SCAN;
    q.texts = true;
    if (state_refused(s, &q, see, n, &next, &e) != 0)
        fail_msg("%s", e.text);
    return next;
}

static unsigned found(const struct refused_filter *f)
{
    struct seen n;

    look(&n, &(struct refused_query){ .filter = *f });
    return n.count;
}

static void assert_sums(uint32_t source, int64_t letters, int64_t bytes,
                        int64_t dropped)
{
    struct refused_sums sums = state_refused_sums(s, source);

    assert_int_equal(sums.letters, letters);
    assert_int_equal(sums.bytes, bytes);
    assert_int_equal(sums.dropped, dropped);
}

static void they_are_found(void **state)
{
    struct seen n;
    int64_t next;

    (void)state;
    add(WEB, 1000, "no_event", "a", MF_STR("{\"n\":1}"));
    add(APP, 1500, "no_event", "b", MF_STR("{\"n\":2}"));
    add(WEB, 2000, "payload_too_large", "c", MF_STR("{\"n\":3}"));
    add(WEB, 3000, "no_user", "d", MF_STR("{\"n\":4}"));
    next = look(&n, &(struct refused_query){ .newest_first = true,
                                             .limit = 2 });
    assert_int_equal(n.count, 2);
    assert_true(n.ids[0] > n.ids[1] && next == n.ids[1]);
    assert_string_equal(n.last, "payload_too_large c {\"n\":3}");
    next = look(&n, &(struct refused_query){ .newest_first = true,
                                             .after = next });
    assert_int_equal(n.count, 1);
    assert_int_equal(next, 0);
    assert_string_equal(n.last, "no_event a {\"n\":1}");
#define FOUND(...) found(&(struct refused_filter){ __VA_ARGS__ })
    assert_int_equal(FOUND(.since_ms = 2000), 2);
    assert_int_equal(FOUND(.until_ms = 2000), 1);
    assert_int_equal(FOUND(.codes = MF_STR("no_user")), 1);
    assert_int_equal(FOUND(.codes = MF_STR("no_user,no_event")), 2);
    assert_int_equal(FOUND(.codes = MF_STR("no_")), 0);
    assert_int_equal(FOUND(.message_id = MF_STR("c")), 1);
    assert_int_equal(FOUND(.message_id = MF_STR("b")), 0);
    assert_int_equal(FOUND(.id = n.ids[0]), 1);
    assert_int_equal(FOUND(.id = n.ids[0] + 1), 0); /* another source's */
    assert_sums(WEB, 3, 3 * 9, 0);
    assert_sums(APP, 1, 9, 0);
}

static void they_end_in_three_ways(void **state)
{
    struct seen n;
    struct err e;

    (void)state;
    for (int i = 0; i < 3; i++)
        add(WEB, 1000, "no_event", "m", MF_STR("{}"));
    look(&n, &(struct refused_query){ .limit = 10 });
    assert_int_equal(state_refused_again(s, n.ids[0], MF_STR("no_user"), &e),
                     0);
    assert_int_equal(state_refused_taken(s, n.ids[1], &e), 0);
    assert_int_equal(state_refused_drop(s, n.ids[2], &e), 0);
    assert_int_equal(state_refused_drop(s, n.ids[2], &e), 0); /* it is gone */
    assert_sums(WEB, 1, 4, 1);
    reopen();
    look(&n, &(struct refused_query){ .limit = 10 });
    assert_int_equal(n.count, 1);
    assert_string_equal(n.last, "no_user m {}");
    assert_sums(WEB, 1, 4, 1);
}

/* Returns how many calls it took. */
static unsigned trim(int64_t count_max, int64_t bytes_max, int64_t before_ms)
{
    bool more = true;
    unsigned n = 0;
    struct err e;

    for (; more && n < 1000; n++)
        assert_int_equal(state_refused_trim(s, count_max, bytes_max, before_ms,
                                            10, &more, &e),
                         0);
    return n;
}

static void the_oldest_go(void **state)
{
    struct seen n;

    (void)state;
    for (int i = 0; i < 100; i++) {
        add(WEB, i, "x", "m", MF_STR("0123456789")); /* 12 bytes with {} */
        add(APP, i, "x", "m", MF_STR("0123456789"));
    }
    trim(1000, 100000, 0);
    assert_sums(WEB, 100, 1200, 0);
    trim(75, 100000, 0);
    assert_sums(WEB, 75, 900, 25);
    assert_sums(APP, 75, 900, 25);
    trim(75, 601, 0);
    assert_sums(WEB, 50, 600, 50);
    trim(75, 601, 90);
    assert_sums(WEB, 10, 120, 90);
    look(&n, &(struct refused_query){ .limit = 30 });
    assert_int_equal(n.count, 10);
    assert_int_equal(n.ids[0], 2 * 90 + 1);
    assert_in_range(trim(0, 0, 0), 2, 4); /* in slices, and then it ends */
    assert_sums(WEB, 0, 0, 100);
    assert_sums(APP, 0, 0, 100);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(they_are_found),
        TEST(they_end_in_three_ways),
        TEST(the_oldest_go),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
