/* SPDX-License-Identifier: Apache-2.0
 *
 * state.db: what is put there is found again after it was closed, and after a
 * process that did not close it. */
#include "state/letters.h"

#include "base/mem.h"

#include <setjmp.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

struct fixture {
    char dir[64], path[96];
    struct state *s;
};

static void reopen(struct fixture *f)
{
    struct err e = { "" };

    state_close(f->s);
    f->s = state_open(f->path, &e);
    if (!f->s)
        fail_msg("%s", e.text);
}

static int setup(void **state)
{
    struct fixture *f = xcalloc(1, sizeof *f);

    snprintf(f->dir, sizeof f->dir, "/tmp/state-test-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    snprintf(f->path, sizeof f->path, "%s/state.db", f->dir);
    reopen(f);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    static const char *const suffixes[] = { "", "-wal", "-shm" };
    struct fixture *f = *state;
    char path[128];

    state_close(f->s);
    for (size_t i = 0; i < COUNT_OF(suffixes); i++) {
        snprintf(path, sizeof path, "%s%s", f->path, suffixes[i]);
        unlink(path);
    }
    rmdir(f->dir);
    free(f);
    return 0;
}

static struct state_lane make_lane(struct fixture *f, const char *source,
                                   const char *destination, bool *made)
{
    struct journal_pos start = { 41, 2, 300 };
    struct state_lane l;
    struct err e;
    uint32_t id = state_source(f->s, source, &e);

    assert_true(id > 0);
    assert_int_equal(state_lane_open(f->s, id, destination, 0, 0, start, &l,
                                     made, &e),
                     0);
    return l;
}

static void names_keep_their_numbers(void **state)
{
    struct fixture *f = *state;
    struct err e;
    uint32_t web = state_source(f->s, "web", &e);
    uint32_t app = state_source(f->s, "app", &e);

    assert_int_not_equal(web, app);
    assert_int_equal(state_source(f->s, "web", &e), web);
    reopen(f);
    assert_int_equal(state_source(f->s, "app", &e), app);
    assert_int_equal(state_source(f->s, "web", &e), web);
}

static void a_lane_is_made_once(void **state)
{
    struct fixture *f = *state;
    struct journal_pos pending[2] = { { 50, 2, 700 }, { 52, 2, 900 } };
    struct state_lane l, again;
    struct msg_lane_state m = { .pending_count = 2, .next = { 60, 3, 64 },
                                .counters = { 19, 10, 4, 3, 30, 11, 1 } };
    struct err e;
    bool made;

    l = make_lane(f, "web", "hook", &made);
    assert_true(made);
    assert_int_equal(l.next.seq, 41);
    assert_int_equal(l.next.offset, 300);
    assert_null(l.pending);
    m.lane = l.id;
    assert_int_equal(state_lane_put(f->s, &m, pending, &e), 0);
    reopen(f);
    again = make_lane(f, "web", "hook", &made);
    assert_false(made);
    assert_int_equal(again.id, l.id);
    assert_string_equal(again.destination, "hook");
    assert_string_equal(again.source_name, "web");
    assert_memory_equal(&again.next, &m.next, sizeof m.next);
    assert_memory_equal(&again.counters, &m.counters, sizeof m.counters);
    assert_int_equal(again.pending_count, 2);
    assert_memory_equal(again.pending, pending, sizeof pending);
    free(again.pending);
    l = make_lane(f, "web", "other", &made);
    assert_true(made);
    assert_int_not_equal(l.id, again.id);
}

struct seen {
    unsigned count;
    uint64_t seqs[8];
    uint32_t dead[8];
    char text[64];
};

static void see_retry(void *arg, const struct msg_retry *r, mf_str error,
                      mf_str event)
{
    struct seen *s = arg;

    (void)event;
    s->dead[s->count] = r->event_dead;
    s->seqs[s->count++] = r->at.seq;
    snprintf(s->text, sizeof s->text, "%.*s %lld %lld %u %d",
             (int)error.len, error.ptr, (long long)r->due_ms,
             (long long)r->first_ms, r->attempts, r->status);
}

static void put_retry(struct fixture *f, uint32_t lane, uint64_t seq,
                      uint32_t sub, uint32_t attempts)
{
    struct msg_retry r = { .key = { lane, sub, seq }, .at = { seq, 1, 64 },
                           .due_ms = 1700000000000, .first_ms = 1600000000000,
                           .attempts = attempts, .status = 503 };
    struct err e;

    assert_int_equal(state_retry_put(f->s, &r, MF_STR("no \"room\""), &e), 0);
}

static void retries_come_in_order(void **state)
{
    struct fixture *f = *state;
    struct msg_retry_key gone = { 1, 7, 30 };
    struct seen seen = { 0 };
    struct err e;

    put_retry(f, 1, 20, 7, 1);
    put_retry(f, 1, 10, 7, 1);
    put_retry(f, 1, 30, 7, 1);
    put_retry(f, 2, 15, 7, 1);          /* another lane's */
    put_retry(f, 1, 10, 0xffffffff, 4); /* another part of the same event */
    put_retry(f, 1, 20, 7, 2);          /* the same part again */
    assert_int_equal(state_retry_drop(f->s, &gone, &e), 0);
    reopen(f);
    assert_int_equal(state_retries(f->s, 1, see_retry, &seen, &e), 0);
    assert_int_equal(seen.count, 3);
    assert_int_equal(seen.seqs[0], 10);
    assert_int_equal(seen.seqs[1], 10);
    assert_int_equal(seen.seqs[2], 20);
    assert_string_equal(seen.text,
                        "no \"room\" 1700000000000 1600000000000 2 503");
}

static void see_range(void *arg, const struct dead_range *r)
{
    struct seen *s = arg;

    s->count++;
    snprintf(s->text, sizeof s->text, "%d-%d %d", (int)r->from, (int)r->to,
             (int)r->count);
}

/* One that grows stays one; too many of them become fewer, and the counts add
 * up. */
static void ranges_grow_and_are_bounded(void **state)
{
    struct fixture *f = *state;
    bool made;
    struct state_lane l = make_lane(f, "web", "hook", &made);
    struct dead_range r = { .lane = l.id, .from = 1, .to = 9, .count = 5 };
    struct seen seen = { 0 };
    struct err e;

    assert_int_equal(state_range_put(f->s, &r, &e), 0);
    r.to = 12;
    r.count = 7;
    assert_int_equal(state_range_put(f->s, &r, &e), 0);
    assert_int_equal(state_ranges(f->s, "hook", 10, see_range, &seen, &e), 0);
    assert_int_equal(seen.count, 1);
    assert_string_equal(seen.text, "1-12 7");
    for (unsigned i = 0; i < DEAD_RANGES_MAX + 9; i++) {
        r.from = 100 + 10 * i;
        r.to = r.from + 3;
        r.count = 2;
        assert_int_equal(state_range_put(f->s, &r, &e), 0);
    }
    seen.count = 0;
    assert_int_equal(state_ranges(f->s, "hook", 5000, see_range, &seen, &e),
                     0);
    assert_int_equal(seen.count, DEAD_RANGES_MAX);
    assert_string_equal(seen.text, "1-193 27"); /* newest first: the oldest */
}

/* The numbers of the attempts kept of event 10, part 7, as one text. */
static void expect_attempts(struct fixture *f, const char *want)
{
    char got[64] = "";
    sqlite3_stmt *q;
    struct err e;
    sqlite3 *db;

    assert_int_equal(state_commit(f->s, &e), 0);
    assert_int_equal(sqlite3_open(f->path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(db, "SELECT n FROM attempt WHERE "
                                            "lane = 1 AND seq = 10 AND "
                                            "subscription = 7 ORDER BY n",
                                        -1, &q, NULL),
                     SQLITE_OK);
    while (sqlite3_step(q) == SQLITE_ROW)
        snprintf(got + strlen(got), sizeof got - strlen(got), "%d ",
                 sqlite3_column_int(q, 0));
    sqlite3_finalize(q);
    sqlite3_close(db);
    assert_string_equal(got, want);
}

static void try_in_vain(struct fixture *f, uint32_t sub, uint32_t attempts)
{
    struct msg_retry r = { .key = { 1, sub, 10 }, .attempts = attempts };
    struct attempt a = { 1, MF_STR("503"), MF_STR("POST /"), MF_STR("no") };
    struct err e;

    put_retry(f, 1, 10, sub, attempts);
    assert_int_equal(state_attempt_add(f->s, &r, &a, &e), 0);
}

/* The last few, as long as the part waits, and then as long as its letter. */
static void attempts_are_kept_with_what_they_were_for(void **state)
{
    struct fixture *f = *state;
    struct msg_retry_key key = { 1, 7, 10 };
    struct dead_letter d = { .m = { .key = key, .reason = DEAD_EXPIRED },
                             .destination = MF_STR("hook") };
    struct err e;
    bool made;

    assert_int_equal(make_lane(f, "web", "hook", &made).id, 1);
    for (uint32_t i = 1; i <= 5; i++)
        try_in_vain(f, 7, i);
    try_in_vain(f, 8, 1);
    expect_attempts(f, "3 4 5 ");
    assert_int_equal(state_retry_drop(f->s, &key, &e), 0);
    expect_attempts(f, "");
    try_in_vain(f, 7, 1);
    assert_int_equal(state_dead_add(f->s, &d, &e), 0);
    assert_int_equal(state_retry_drop(f->s, &key, &e), 0);
    expect_attempts(f, "1 ");
    assert_int_equal(state_letter_drop(f->s, state_letter_last(f->s),
                                       DROPPED_BY_HAND, &e),
                     0);
    expect_attempts(f, "");
}

static void paused_ones_stay_so(void **state)
{
    struct fixture *f = *state;
    char why[64];
    struct err e;

    assert_int_equal(state_pause(f->s, "hook", true, "", &e), 0);
    assert_int_equal(state_pause(f->s, "hook", true, "410 Gone", &e), 0);
    reopen(f);
    assert_true(state_paused(f->s, "hook", why, sizeof why));
    assert_string_equal(why, "410 Gone");
    assert_false(state_paused(f->s, "other", why, sizeof why));
    assert_string_equal(why, "");
    assert_int_equal(state_pause(f->s, "hook", false, NULL, &e), 0);
    reopen(f);
    assert_false(state_paused(f->s, "hook", why, sizeof why));
}

static void a_pace_is_kept(void **state)
{
    struct fixture *f = *state;
    struct state_pace p = { 2.5, 1700000000000, true };
    struct err e;

    assert_int_equal(state_pace_put(f->s, "hook", &p, &e), 0);
    p.tokens = -1.5;
    p.out = false;
    assert_int_equal(state_pace_put(f->s, "hook", &p, &e), 0);
    reopen(f);
    p = (struct state_pace){ 0 };
    assert_true(state_pace(f->s, "hook", &p));
    assert_true(p.tokens == -1.5);
    assert_int_equal(p.at_ms, 1700000000000);
    assert_false(p.out);
    assert_false(state_pace(f->s, "other", &p));
}

/* A child that ends without closing: what it committed is there, what it did
 * not is not, all of it or nothing. */
static void a_commit_holds_and_the_rest_does_not(void **state)
{
    struct fixture *f = *state;
    struct err e;
    pid_t child;
    int status;

    state_close(f->s);
    f->s = NULL;
    child = fork();
    if (child == 0) {
        f->s = state_open(f->path, &e);
        put_retry(f, 1, 10, 7, 1);
        put_retry(f, 1, 11, 7, 1);
        if (!state_dirty(f->s) || state_commit(f->s, &e) != 0 ||
            state_dirty(f->s))
            _exit(1);
        put_retry(f, 1, 12, 7, 1);
        put_retry(f, 1, 13, 7, 1);
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    reopen(f);
    {
        struct seen seen = { 0 };

        assert_int_equal(state_retries(f->s, 1, see_retry, &seen, &e), 0);
        assert_int_equal(seen.count, 2);
        assert_int_equal(seen.seqs[1], 11);
    }
}

static void what_is_no_state_is_refused(void **state)
{
    struct fixture *f = *state;
    struct err e = { "" };
    FILE *file;

    state_close(f->s);
    file = fopen(f->path, "w");
    fputs("this is a text of some length and no database at all, not one", file);
    fclose(file);
    f->s = state_open(f->path, &e);
    assert_null(f->s);
    assert_non_null(strstr(e.text, "state.db"));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(names_keep_their_numbers),
        TEST(a_lane_is_made_once),
        TEST(retries_come_in_order),
        TEST(ranges_grow_and_are_bounded),
        TEST(attempts_are_kept_with_what_they_were_for),
        TEST(paused_ones_stay_so),
        TEST(a_pace_is_kept),
        TEST(a_commit_holds_and_the_rest_does_not),
        TEST(what_is_no_state_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
