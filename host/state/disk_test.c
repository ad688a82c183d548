/* SPDX-License-Identifier: Apache-2.0
 *
 * disk_test.c - state.db on a disk that is full or fails. A step puts a lane
 * on by one and adds the retry of that number, so that in every file that can
 * be found the two must agree; and whatever was told as durable must be
 * there. Faults are put under SQLite, where it calls the kernel. */
#include "state/letters.h"
#include "state/state.h"

#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static bool full;          /* no file grows */
static unsigned fail_one_in; /* writes end with EIO; 0: none */
static uint64_t random_state = 20260112;

static uint64_t chance(uint64_t n)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (random_state >> 11) % n;
}

static ssize_t f_pwrite(int fd, const void *from, size_t n, off64_t at)
{
    struct stat st;

    if (full && fstat(fd, &st) == 0 && at + (off64_t)n > st.st_size) {
        errno = ENOSPC;
        return -1;
    }
    if (fail_one_in && chance(fail_one_in) == 0) {
        errno = EIO;
        return -1;
    }
    return pwrite64(fd, from, n, at);
}

static void set_call(sqlite3_syscall_ptr f)
{
    sqlite3_vfs *vfs = sqlite3_vfs_find(NULL);

    assert_int_equal(vfs->xSetSystemCall(vfs, "pwrite", f), SQLITE_OK);
    vfs->xSetSystemCall(vfs, "pwrite64", f); /* where it has that */
}

struct fixture {
    char dir[64], path[96];
    struct state *s;
    struct state_lane lane;
    uint64_t made, durable; /* steps; those told as durable */
};

static struct state *open_or_fail(const char *path)
{
    struct err e = { "" };
    struct state *s = state_open(path, &e);

    if (!s)
        fail_msg("%s", e.text);
    return s;
}

static int setup(void **state)
{
    struct fixture *f = xcalloc(1, sizeof *f);
    struct journal_pos start = { 1, 0, 0 };
    struct err e = { "" };
    bool made;
    uint32_t source;

    full = false;
    fail_one_in = 0;
    set_call((sqlite3_syscall_ptr)f_pwrite);
    snprintf(f->dir, sizeof f->dir, "/tmp/state-disk-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    snprintf(f->path, sizeof f->path, "%s/state.db", f->dir);
    f->s = open_or_fail(f->path);
    source = state_source(f->s, "web", &e);
    assert_int_equal(state_lane_open(f->s, source, "hook", 0, 0, start,
                                     &f->lane, &made, &e), 0);
    assert_int_equal(state_commit(f->s, &e), 0);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    char command[128];

    full = false;
    fail_one_in = 0;
    state_close(f->s);
    set_call(NULL);
    snprintf(command, sizeof command, "rm -rf '%s'", f->dir);
    assert_int_equal(system(command), 0);
    free(f);
    return 0;
}

/* A failure here is none of the change, which is kept. */
static void step(struct fixture *f)
{
    char text[1500];
    struct msg_lane_state m = { .lane = f->lane.id };
    struct msg_retry r = { .key = { f->lane.id, 0, ++f->made } };
    struct dead_letter d = { .destination = MF_STR("hook"),
                             .event = MF_STR("{}") };
    struct err e = { "" };

    memset(text, 'e', sizeof text);
    m.next.seq = f->made + 1;
    m.counters.accepted = f->made;
    state_retry_put(f->s, &r, (mf_str){ text, sizeof text }, &e);
    state_lane_put(f->s, &m, NULL, &e);
    d.m.key = r.key;
    state_dead_add(f->s, &d, &e);
}

static int commit(struct fixture *f)
{
    struct err e = { "" };

    if (state_commit(f->s, &e) != 0)
        return -1;
    f->durable = f->made;
    return 0;
}

static void count(void *arg, const struct msg_retry *r, mf_str error,
                  mf_str event)
{
    uint64_t *n = arg;

    (void)event;
    assert_int_equal(error.len, 1500);
    assert_int_equal(r->key.seq, ++*n);
}

static void take_lane(void *arg, const struct state_lane *l)
{
    *(uint64_t *)arg = l->counters.accepted;
}

static bool take_letter(void *arg, const struct dead_letter *d)
{
    uint64_t *n = arg;

    assert_int_equal(d->event.len, 2); /* its texts are in another table */
    ++*n;
    return true;
}

static uint64_t letters_of(struct state *s)
{
    struct letter_query q = { .destination = "hook",
                              .limit = LETTERS_PAGE,
                              .scan = LETTERS_SCAN, .texts = true };
    uint64_t n = 0;
    int64_t next = 0;
    struct err e = { "" };

    do {
        q.after = next;
        assert_int_equal(state_letters(s, &q, take_letter, &n, &next, &e), 0);
    } while (next);
    return n;
}

/* The number of steps that a state holds, whole ones only. */
static uint64_t steps_of(struct state *s, uint32_t lane)
{
    uint64_t rows = 0, moved = 0;
    struct err e = { "" };

    assert_int_equal(state_retries(s, lane, count, &rows, &e), 0);
    assert_int_equal(state_lanes(s, take_lane, &moved, &e), 0);
    assert_int_equal(rows, moved);
    assert_int_equal(letters_of(s), moved);
    return rows;
}

/* What a process that starts after a kill now would find. */
static uint64_t steps_after_kill(struct fixture *f)
{
    char command[512], path[128];
    struct state *s;
    uint64_t n;
    bool was_full = full;
    unsigned was = fail_one_in;

    snprintf(command, sizeof command, "mkdir '%s/x' && cp '%s' '%s/x/' && "
             "{ cp '%s-wal' '%s/x/' || true; }", f->dir, f->path, f->dir,
             f->path, f->dir);
    assert_int_equal(system(command), 0);
    full = false;
    fail_one_in = 0;
    snprintf(path, sizeof path, "%s/x/state.db", f->dir);
    s = open_or_fail(path);
    n = steps_of(s, f->lane.id);
    state_close(s);
    full = was_full;
    fail_one_in = was;
    snprintf(command, sizeof command, "rm -r '%s/x'", f->dir);
    assert_int_equal(system(command), 0);
    return n;
}

static void a_full_disk_loses_nothing(void **state)
{
    struct fixture *f = *state;
    unsigned failed = 0;

    for (int episode = 0; episode < 5; episode++) {
        for (int i = 0; i < 20; i++)
            step(f);
        assert_int_equal(commit(f), 0);
        full = true;
        for (int tries = 0; tries < 4; tries++) {
            for (int i = 0; i < 200; i++)
                step(f);
            /* It may still fit into what the log has of old. */
            failed += commit(f) != 0;
            assert_int_equal(state_dirty(f->s), f->durable != f->made);
            assert_int_equal(steps_of(f->s, f->lane.id), f->made);
            assert_int_equal(steps_after_kill(f), f->durable);
        }
        full = false;
        assert_int_equal(commit(f), 0);
        assert_int_equal(steps_after_kill(f), f->made);
    }
    assert_true(failed > 5);
}

static void a_failing_disk_loses_nothing(void **state)
{
    struct fixture *f = *state;
    unsigned failed = 0;

    for (int i = 0; i < 300; i++) {
        uint64_t found;

        fail_one_in = chance(2) ? 0 : 2 + (unsigned)chance(30);
        for (uint64_t n = chance(10); n-- > 0;)
            step(f);
        failed += commit(f) != 0;
        if (i % 10)
            continue;
        found = steps_after_kill(f);
        assert_true(found >= f->durable && found <= f->made);
    }
    fail_one_in = 0;
    assert_int_equal(commit(f), 0);
    assert_int_equal(steps_after_kill(f), f->made);
    assert_true(failed > 20);
}

/* It says when to stop before memory does. */
static void more_than_is_good_is_told(void **state)
{
    struct fixture *f = *state;

    full = true;
    assert_false(state_strained(f->s));
    for (size_t i = 0; i < STATE_STRAINED / 1500 + 1; i++)
        step(f);
    assert_int_equal(commit(f), -1);
    assert_true(state_strained(f->s));
    full = false;
    assert_int_equal(commit(f), 0);
    assert_false(state_strained(f->s));
    assert_int_equal(steps_after_kill(f), f->made);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_full_disk_loses_nothing, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_failing_disk_loses_nothing, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(more_than_is_good_is_told, setup,
                                        teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
