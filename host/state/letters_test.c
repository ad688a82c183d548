/* SPDX-License-Identifier: Apache-2.0
 *
 * Dead letters in state.db: found by what they say and by pages, counted,
 * dropped into a range, bounded, made retries again and dead once more, and
 * after a process that ended in the middle either one or the other. */
#include "state/letters.h"

#include "base/mem.h"
#include "state/inner.h"
#include "state/replays.h"

#include <setjmp.h>
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
    uint32_t lane, other; /* web -> hook, app -> hook */
    uint32_t source, second;
};

static void reopen(struct fixture *f)
{
    struct err e = { "" };

    state_close(f->s);
    f->s = state_open(f->path, &e);
    if (!f->s)
        fail_msg("%s", e.text);
}

static uint32_t make_lane(struct fixture *f, const char *source,
                          const char *destination, uint32_t *id)
{
    struct journal_pos start = { 1, 0, 0 };
    struct state_lane l;
    struct err e;
    bool made;

    *id = state_source(f->s, source, &e);
    assert_int_equal(state_lane_open(f->s, *id, destination, 0, 0, start, &l,
                                     &made, &e),
                     0);
    return l.id;
}

static int setup(void **state)
{
    struct fixture *f = xcalloc(1, sizeof *f);
    uint32_t ignored;

    snprintf(f->dir, sizeof f->dir, "/tmp/letters-test-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    snprintf(f->path, sizeof f->path, "%s/state.db", f->dir);
    reopen(f);
    f->lane = make_lane(f, "web", "hook", &f->source);
    f->other = make_lane(f, "app", "hook", &f->second);
    make_lane(f, "web", "else", &ignored);
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

/* ---- letters ---- */

static struct dead_letter letter(const struct fixture *f, uint64_t seq)
{
    return (struct dead_letter){
        .m = { .key = { f->lane, 7, seq }, .at = { seq, 1, 64 },
               .when_ms = 1000 + (int64_t)seq, .reason = DEAD_REJECTED,
               .status = 400, .attempts = 1 },
        .source = f->source, .destination = MF_STR("hook"),
        .error = MF_STR("not wanted"), .action = MF_STR("send"),
        .message_id = MF_STR("m-1"), .name = MF_STR("Paid"),
        .version = MF_STR("1.0"), .hash = MF_STR("abcd"),
        .event = MF_STR("{\"n\":1}"), .request = MF_STR("POST /"),
        .response = MF_STR("400"),
    };
}

static void add(struct fixture *f, const struct dead_letter *d)
{
    struct err e;

    if (state_dead_add(f->s, d, &e) != 0)
        fail_msg("%s", e.text);
}

static void add_many(struct fixture *f, uint64_t from, uint64_t to)
{
    for (uint64_t seq = from; seq <= to; seq++) {
        struct dead_letter d = letter(f, seq);

        add(f, &d);
    }
}

struct seen {
    unsigned count;
    uint64_t seqs[64];
    int64_t ids[64];
    char text[256];
};

static bool see(void *arg, const struct dead_letter *d)
{
    struct seen *s = arg;

    assert_true(s->count < COUNT_OF(s->seqs));
    s->seqs[s->count] = d->m.key.seq;
    s->ids[s->count++] = d->id;
    snprintf(s->text, sizeof s->text, "%.*s|%.*s|%.*s|%.*s|%.*s",
             (int)d->error.len, d->error.ptr, (int)d->name.len, d->name.ptr,
             (int)d->event.len, d->event.ptr, (int)d->request.len,
             d->request.ptr, (int)d->response.len, d->response.ptr);
    return true;
}

static int64_t look(struct fixture *f, const struct letter_query *q,
                    struct seen *seen)
{
    int64_t next;
    struct err e;

    memset(seen, 0, sizeof *seen);
    assert_int_equal(state_letters(f->s, q, see, seen, &next, &e), 0);
    return next;
}

static struct letter_query all(void)
{
    return (struct letter_query){ .destination = "hook", .newest_first = true,
                                  .limit = 50, .scan = 1000 };
}

static void sums_are(struct fixture *f, int64_t count)
{
    int64_t n, bytes;

    state_letter_sums(f->s, "hook", &n, &bytes);
    assert_int_equal(n, count);
    assert_int_equal(bytes, count * 16); /* of the three texts */
}

/* ---- looking ---- */

static void they_are_listed_newest_first(void **state)
{
    struct fixture *f = *state;
    struct letter_query q = all();
    struct dead_letter d = letter(f, 3);
    struct seen seen;

    add_many(f, 1, 2);
    d.m.key.lane = f->other;
    d.source = f->second;
    add(f, &d);
    d = letter(f, 9);
    d.destination = MF_STR("else");
    add(f, &d);
    assert_int_equal(look(f, &q, &seen), 0);
    assert_int_equal(seen.count, 3);
    assert_int_equal(seen.seqs[0], 3);
    assert_int_equal(seen.seqs[2], 1);
    assert_string_equal(seen.text, "not wanted|Paid|||");
    q.texts = true;
    look(f, &q, &seen);
    assert_string_equal(seen.text, "not wanted|Paid|{\"n\":1}|POST /|400");
    q.filter.source = f->second;
    look(f, &q, &seen);
    assert_int_equal(seen.count, 1);
    assert_int_equal(seen.seqs[0], 3);
}

static void pages_hold_all_of_them_once(void **state)
{
    struct fixture *f = *state;
    struct letter_query q = all();
    struct seen seen;
    uint64_t last = 31;
    unsigned count = 0;

    add_many(f, 1, 30);
    q.limit = 7;
    do {
        q.after = look(f, &q, &seen);
        for (unsigned i = 0; i < seen.count; i++, count++)
            assert_int_equal(seen.seqs[i], --last);
    } while (q.after);
    assert_int_equal(count, 30);
    /* A filter that nothing matches looks at no more than it may. */
    q = all();
    q.filter.message_id = MF_STR("nobody");
    q.scan = 10;
    assert_int_not_equal(look(f, &q, &seen), 0);
    assert_int_equal(seen.count, 0);
    /* Oldest first, up to one that is named. */
    q = all();
    q.newest_first = false;
    q.after = 4;
    q.last = 6;
    look(f, &q, &seen);
    assert_int_equal(seen.count, 2);
    assert_int_equal(seen.ids[0], 5);
}

static void filters_tell_them_apart(void **state)
{
    struct fixture *f = *state;
    struct letter_query q = all();
    struct dead_letter d = letter(f, 2);
    struct seen seen;

    add_many(f, 1, 1);
    d.m.reason = DEAD_EXPIRED;
    d.m.status = 503;
    d.m.when_ms = 5000;
    d.action = MF_STR("identify");
    d.message_id = MF_STR("m-2");
    d.name = MF_STR("Seen");
    add(f, &d);
#define FINDS(seq, ...)                                                        \
    do {                                                                       \
        q.filter = (struct letter_filter){ __VA_ARGS__ };                      \
        look(f, &q, &seen);                                                    \
        assert_int_equal(seen.count, 1);                                       \
        assert_int_equal(seen.seqs[0], seq);                                   \
    } while (0)
    FINDS(2, .reasons = 1u << DEAD_EXPIRED);
    FINDS(1, .reasons = 1u << DEAD_REJECTED | 1u << DEAD_GONE);
    FINDS(2, .by_status = true, .status = 503);
    FINDS(2, .since_ms = 5000);
    FINDS(1, .until_ms = 5000);
    FINDS(2, .action = MF_STR("identify"));
    FINDS(2, .message_id = MF_STR("m-2"));
    FINDS(1, .name = MF_STR("Paid"));
    FINDS(2, .id = seen.ids[0] + 1);
}

/* ---- dropping ---- */

static void dropped_ones_are_counted(void **state)
{
    struct fixture *f = *state;
    struct letter_query q = all();
    struct dropped_range r;
    struct seen seen;
    struct err e;

    add_many(f, 1, 5);
    sums_are(f, 5);
    look(f, &q, &seen);
    for (unsigned i = 1; i < 4; i++)
        assert_int_equal(state_letter_drop(f->s, seen.ids[i], DROPPED_BY_HAND,
                                           &e),
                         0);
    /* One that is gone already counts no more. */
    assert_int_equal(state_letter_drop(f->s, seen.ids[1], DROPPED_BY_HAND, &e),
                     0);
    reopen(f);
    sums_are(f, 2);
    r = state_letter_dropped(f->s, "hook", DROPPED_BY_HAND);
    assert_int_equal(r.count, 3);
    assert_int_equal(r.first_ms, 1002);
    assert_int_equal(r.last_ms, 1004);
    assert_int_equal(state_letter_dropped(f->s, "hook", DROPPED_LIMIT).count,
                     0);
    assert_int_equal(query_one(f->s, -1, "SELECT count(*) FROM dead_text", ""),
                     2);
}

static unsigned trim(struct fixture *f, int64_t count, int64_t bytes,
                     int64_t before)
{
    unsigned turns = 0;
    bool more = true;
    struct err e;

    while (more && turns < 100) {
        assert_int_equal(state_letters_trim(f->s, count, bytes, before, 4,
                                            &more, &e),
                         0);
        turns += more;
    }
    return turns;
}

static void the_oldest_go_when_there_are_too_many(void **state)
{
    struct fixture *f = *state;
    struct letter_query q = all();
    struct seen seen;

    add_many(f, 1, 30);
    assert_int_equal(trim(f, 30, 1000, 0), 0);
    assert_int_equal(trim(f, 21, 1000, 0), 3); /* 4, 4 and 1 */
    look(f, &q, &seen);
    assert_int_equal(seen.count, 21);
    assert_int_equal(seen.seqs[20], 10);
    trim(f, 100, 15 * 16, 0); /* by bytes */
    sums_are(f, 15);
    trim(f, 100, 1000, 1000 + 20); /* by age */
    look(f, &q, &seen);
    assert_int_equal(seen.count, 11);
    assert_int_equal(seen.seqs[10], 20);
    assert_int_equal(state_letter_dropped(f->s, "hook", DROPPED_LIMIT).count,
                     19);
}

/* ---- reviving ---- */

struct retries {
    unsigned count;
    struct msg_retry r[8];
    char event[8][64];
};

static void see_retry(void *arg, const struct msg_retry *r, mf_str error,
                      mf_str event)
{
    struct retries *s = arg;

    (void)error;
    assert_true(s->count < COUNT_OF(s->r));
    s->r[s->count] = *r;
    snprintf(s->event[s->count++], 64, "%.*s", (int)event.len, event.ptr);
}

static struct retries retries(struct fixture *f)
{
    struct retries s = { 0 };
    struct err e;

    assert_int_equal(state_retries(f->s, f->lane, see_retry, &s, &e), 0);
    return s;
}

static void revive(struct fixture *f, uint64_t seq, uint32_t sub, int64_t id)
{
    struct msg_revived m = { { f->lane, sub, seq }, { seq, 1, 64 }, id, 777 };
    struct err e;

    assert_int_equal(state_letter_revive(f->s, &m, &e), 0);
}

static void a_letter_becomes_a_retry_and_a_letter_again(void **state)
{
    struct fixture *f = *state;
    struct letter_query q = all();
    struct dead_letter d = letter(f, 1);
    struct msg_retry later = { .key = d.m.key, .at = d.m.at, .due_ms = 99,
                               .attempts = 1, .status = 503 };
    struct retries r;
    struct seen seen;
    struct err e;

    add(f, &d);
    look(f, &q, &seen);
    revive(f, 1, 7, seen.ids[0]);
    sums_are(f, 0);
    r = retries(f);
    assert_int_equal(r.count, 1);
    assert_int_equal(r.r[0].due_ms, 777);
    assert_int_equal(r.r[0].since_ms, 777);
    assert_int_equal(r.r[0].attempts, 0);
    assert_int_equal(r.r[0].event_dead, 0);
    assert_string_equal(r.event[0], "{\"n\":1}");
    /* Another attempt fails: what is kept of the event stays. */
    assert_int_equal(state_retry_put(f->s, &later, MF_STR("busy"), &e), 0);
    r = retries(f);
    assert_int_equal(r.r[0].due_ms, 99);
    assert_int_equal(r.r[0].since_ms, 777);
    assert_string_equal(r.event[0], "{\"n\":1}");
    /* And it dies again, when the journal has it no more. */
    d.event = (mf_str){ "", 0 };
    add(f, &d);
    assert_int_equal(state_retry_drop(f->s, &d.m.key, &e), 0);
    assert_int_equal(retries(f).count, 0);
    q.texts = true;
    look(f, &q, &seen);
    assert_int_equal(seen.count, 1);
    assert_string_equal(seen.text, "not wanted|Paid|{\"n\":1}|POST /|400");
}

static void a_letter_that_went_meanwhile_is_a_retry_all_the_same(void **state)
{
    struct fixture *f = *state;
    struct retries r;

    revive(f, 5, 7, 4711);
    r = retries(f);
    assert_int_equal(r.count, 1);
    assert_int_equal(r.r[0].key.seq, 5);
    assert_int_equal(r.r[0].at.offset, 64);
    assert_int_equal(r.r[0].since_ms, 777);
}

/* An event is dead while one of its parts is: the others must know. */
static void parts_know_of_each_other(void **state)
{
    struct fixture *f = *state;
    struct letter_query q = all();
    struct dead_letter d = letter(f, 1);
    struct msg_retry waits = { .key = { f->lane, 9, 1 }, .at = d.m.at };
    struct retries r;
    struct seen seen;
    struct err e;

    assert_int_equal(state_retry_put(f->s, &waits, MF_STR(""), &e), 0);
    add(f, &d);
    d.m.key.subscription = 8;
    add(f, &d);
    assert_int_equal(retries(f).r[0].event_dead, 1);
    look(f, &q, &seen);
    assert_int_equal(state_letters_of(f->s, f->lane, 1), 2);
    revive(f, 1, 8, seen.ids[0]);
    r = retries(f);
    assert_int_equal(r.count, 2);
    assert_int_equal(r.r[0].event_dead + r.r[1].event_dead, 2);
    revive(f, 1, 7, seen.ids[1]);
    r = retries(f);
    assert_int_equal(r.count, 3);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(r.r[i].event_dead, 0);
}

static void of_a_part_there_is_one_letter(void **state)
{
    struct fixture *f = *state;
    struct letter_query q = all();
    struct dead_letter d = letter(f, 1);
    struct seen seen;

    add(f, &d);
    d.error = MF_STR("again");
    add(f, &d);
    look(f, &q, &seen);
    assert_int_equal(seen.count, 1);
    assert_string_equal(seen.text, "again|Paid|||");
    sums_are(f, 1);
}

static void letters_of_what_begins_anew_go(void **state)
{
    struct fixture *f = *state;
    struct journal_pos pending[] = { { 7, 1, 1 }, { 2, 1, 1 }, { 4, 1, 1 },
                                     { 90, 1, 1 } };
    struct letter_query q = all();
    struct seen seen;
    struct err e;

    add_many(f, 1, 8);
    assert_int_equal(state_letters_forget(f->s, f->lane, NULL, 0, &e), 0);
    sums_are(f, 8);
    assert_int_equal(state_letters_forget(f->s, f->lane, pending, 4, &e), 0);
    look(f, &q, &seen);
    assert_int_equal(seen.count, 5);
    for (unsigned i = 0; i < seen.count; i++)
        assert_false(seen.seqs[i] == 7 || seen.seqs[i] == 2 ||
                     seen.seqs[i] == 4);
}

/* A process that ends in the middle of a slice: each letter is one, or a
 * retry, and none is both or neither. */
static void a_crash_leaves_letter_or_retry(void **state)
{
    struct fixture *f = *state;
    struct letter_query q = all();
    struct seen seen;
    pid_t child;
    int status;

    add_many(f, 1, 6);
    look(f, &q, &seen);
    state_close(f->s);
    f->s = NULL;
    child = fork();
    if (child == 0) {
        struct err e;

        f->s = state_open(f->path, &e);
        for (unsigned i = 0; i < 4; i++) {
            revive(f, seen.seqs[i], 7, seen.ids[i]);
            if (i == 1 && state_commit(f->s, &e) != 0)
                _exit(1);
        }
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    reopen(f);
    sums_are(f, 4);
    assert_int_equal(retries(f).count, 2);
}

/* ---- jobs, replays, what ingest refused ---- */

static void see_job(void *arg, const struct letter_job *j)
{
    struct letter_job *out = arg;

    *out = *j;
    assert_true(mf_eq(j->destination, MF_STR("hook")));
    assert_true(mf_eq(j->filter, MF_STR("{\"all\":true}")));
}

static void jobs_go_on_where_they_stood(void **state)
{
    struct fixture *f = *state;
    struct letter_job j = { .destination = MF_STR("hook"),
                            .filter = MF_STR("{\"all\":true}"),
                            .verb = LETTER_DROP, .last = 90, .begun_ms = 5 };
    struct letter_job out = { 0 };
    struct err e;

    assert_int_equal(state_letter_job_put(f->s, &j, &e), 0);
    assert_int_not_equal(j.id, 0);
    j.cursor = 40;
    j.count = 39;
    assert_int_equal(state_letter_job_put(f->s, &j, &e), 0);
    reopen(f);
    assert_int_equal(state_letter_jobs(f->s, see_job, &out, &e), 0);
    assert_int_equal(out.id, j.id);
    assert_int_equal(out.verb, LETTER_DROP);
    assert_int_equal(out.cursor, 40);
    assert_int_equal(out.last, 90);
    assert_int_equal(out.count, 39);
    assert_int_equal(state_letter_job_forget(f->s, j.id, &e), 0);
    out.id = 0;
    assert_int_equal(state_letter_jobs(f->s, see_job, &out, &e), 0);
    assert_int_equal(out.id, 0);
}

static void see_replay(void *arg, const struct state_replay *r)
{
    struct state_replay *out = arg;

    *out = *r;
    assert_true(mf_eq(r->destination, MF_STR("hook")));
    assert_true(mf_eq(r->where, MF_STR("type = \"track\"")));
}

static void replays_have_lanes_of_their_own(void **state)
{
    struct fixture *f = *state;
    struct state_replay r = { .destination = MF_STR("hook"),
                              .where = MF_STR("type = \"track\""),
                              .rate = 12.5, .from_ms = 1, .until_ms = 9,
                              .first = 3, .last = 8, .begun_ms = 10 };
    struct state_replay out = { 0 };
    struct journal_pos at = { 3, 0, 0 };
    struct state_lane l;
    struct err e;
    bool made;

    assert_int_equal(state_replay_put(f->s, &r, &e), 0);
    assert_int_equal(state_lane_open(f->s, f->source, "hook", r.id, 8, at, &l,
                                     &made, &e),
                     0);
    assert_true(made);
    assert_int_not_equal(l.id, f->lane);
    r.stopped = REPLAY_PAUSED;
    assert_int_equal(state_replay_put(f->s, &r, &e), 0);
    reopen(f);
    assert_int_equal(state_replays(f->s, see_replay, &out, &e), 0);
    assert_int_equal(out.id, r.id);
    assert_int_equal(out.last, 8);
    assert_true(out.rate > 12.4 && out.rate < 12.6);
    assert_int_equal(out.stopped, REPLAY_PAUSED);
    assert_int_equal(state_lane_open(f->s, f->source, "hook", r.id, 8, at, &l,
                                     &made, &e),
                     0);
    assert_false(made);
    assert_int_equal(l.replay, r.id);
    assert_int_equal(l.until, 8);
    assert_int_equal(state_replay_forget(f->s, r.id, &e), 0);
    assert_int_equal(query_one(f->s, -1, "SELECT count(*) FROM lane"
                                         " WHERE replay <> 0", ""),
                     0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(they_are_listed_newest_first),
        TEST(pages_hold_all_of_them_once),
        TEST(filters_tell_them_apart),
        TEST(dropped_ones_are_counted),
        TEST(the_oldest_go_when_there_are_too_many),
        TEST(a_letter_becomes_a_retry_and_a_letter_again),
        TEST(a_letter_that_went_meanwhile_is_a_retry_all_the_same),
        TEST(parts_know_of_each_other),
        TEST(of_a_part_there_is_one_letter),
        TEST(letters_of_what_begins_anew_go),
        TEST(a_crash_leaves_letter_or_retry),
        TEST(jobs_go_on_where_they_stood),
        TEST(replays_have_lanes_of_their_own),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
