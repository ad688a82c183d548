/* SPDX-License-Identifier: Apache-2.0
 *
 * The audit over books made for it: a journal of three sources in several
 * segments, lanes whose events end, wait, die and are opened again, in a log
 * of several segments. Right books show no difference however little memory
 * there is; wrong ones do, also where two stretches or segments meet; and
 * what retention takes before or during the audit is no difference. */
#include "books/audit.h"

#include "base/clock.h"
#include "journal/testbed.h"

#include <sqlite3.h>
#include <sys/stat.h>

#define EVENTS 2500
#define LANES  4 /* of sources 1, 2, 3, 1; the last begins late */
#define LATE   1200
#define SMALL  (64 * (LANES + 1) / 8) /* stretches of 64 events */

struct lane {
    uint32_t source;
    uint64_t start, next;
    struct counters c;
    uint64_t open[64];
    size_t open_count;
    struct ledger_writer w;
};

struct fixture {
    struct bed *bed; /* its directory is data_dir/journal */
    char dir[64];
    sqlite3 *db;
    struct ledger_log *log;
    int outcomes;
    struct lane lanes[LANES + 1]; /* by id, from 1 */
    uint32_t seed;
};

static uint32_t chance(struct fixture *f, uint32_t n)
{
    f->seed = f->seed * 1664525 + 1013904223;
    return (f->seed >> 8) % n;
}

static void sql(struct fixture *f, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void sql(struct fixture *f, const char *format, ...)
{
    char text[1024];
    va_list ap;

    va_start(ap, format);
    vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    if (sqlite3_exec(f->db, text, NULL, NULL, NULL) != SQLITE_OK)
        fail_msg("%s: %s", text, sqlite3_errmsg(f->db));
}

/* ---- books are kept ---- */

/* The columns that are read, as state.c has them. */
static const char schema[] =
    "CREATE TABLE source(id INTEGER PRIMARY KEY, name TEXT);"
    "CREATE TABLE lane(id INTEGER PRIMARY KEY, source INTEGER,"
    " destination TEXT, start INTEGER, seq INTEGER, accepted INTEGER,"
    " delivered INTEGER, filtered INTEGER, dead INTEGER, attempts INTEGER,"
    " retries INTEGER, lost INTEGER, pending BLOB);"
    "CREATE TABLE retry(lane INTEGER, seq INTEGER, subscription INTEGER);"
    "CREATE TABLE outcome_segment(n INTEGER PRIMARY KEY, bytes INTEGER,"
    " least INTEGER, greatest INTEGER);"
    "CREATE TABLE outcome_base(segment INTEGER, lane INTEGER,"
    " delivered INTEGER, filtered INTEGER, dead INTEGER, lost INTEGER);"
    "INSERT INTO source VALUES(1, 'a'), (2, 'b'), (3, 'c');";

static void end(struct lane *l, uint64_t seq, enum ledger_class class)
{
    struct ledger_part p = { 7, PART_DELIVERED };

    if (class == LEDGER_FILTERED)
        p = (struct ledger_part){ 0, PART_FILTERED + 1 };
    if (class == LEDGER_DEAD)
        p.code = PART_DEAD;
    ledger_put(&l->w, seq, class, &p, 1);
    l->c.delivered += class == LEDGER_DELIVERED;
    l->c.filtered += class == LEDGER_FILTERED;
    l->c.dead += class == LEDGER_DEAD;
    l->c.dead -= class == LEDGER_REOPENED;
}

/* What becomes of an event when it is read; a few stay open for long. */
static void take(struct fixture *f, struct lane *l, uint64_t seq)
{
    l->c.accepted++;
    switch (chance(f, 12)) {
    case 0:
        end(l, seq, LEDGER_FILTERED);
        break;
    case 1:
        end(l, seq, LEDGER_DEAD);
        if (chance(f, 2)) {
            end(l, seq, LEDGER_REOPENED);
            end(l, seq, LEDGER_DELIVERED);
        }
        break;
    case 2:
        if (l->open_count < COUNT_OF(l->open)) {
            l->open[l->open_count++] = seq;
            break;
        }
        /* fall through */
    default:
        end(l, seq, LEDGER_DELIVERED);
    }
    if (l->open_count && chance(f, 20) == 0) {
        size_t i = chance(f, (uint32_t)l->open_count);

        end(l, l->open[i], LEDGER_DELIVERED);
        l->open[i] = l->open[--l->open_count];
    }
}

static void commit(struct fixture *f)
{
    struct ledger_segment g;
    struct err e;

    for (uint32_t i = 1; i <= LANES; i++) {
        struct lane *l = &f->lanes[i];

        if (l->w.count)
            ledger_log_add(f->log, i, &l->w);
        ledger_begin(&l->w, 0);
    }
    assert_int_equal(ledger_log_sync(f->log, &e), 0);
    g = ledger_log_segment(f->log);
    sql(f, "INSERT OR REPLACE INTO outcome_segment VALUES(%d, %d, %d, %d)",
        (int)g.n, (int)g.bytes, (int)g.least, (int)g.greatest);
}

static void roll(struct fixture *f)
{
    int n = (int)ledger_log_segment(f->log).n + 1;

    ledger_log_roll(f->log);
    for (uint32_t i = 1; i <= LANES; i++) {
        const struct counters *c = &f->lanes[i].c;

        sql(f, "INSERT INTO outcome_base VALUES(%d, %d, %d, %d, %d, %d)", n,
            (int)i, (int)c->delivered, (int)c->filtered, (int)c->dead,
            (int)c->lost);
    }
}

static void put_lanes(struct fixture *f)
{
    for (uint32_t i = 1; i <= LANES; i++) {
        const struct lane *l = &f->lanes[i];

        sql(f, "INSERT INTO lane VALUES(%d, %d, 'd%d', %d, %d, %d, %d, %d, %d,"
               " 0, 0, %d, NULL)",
            (int)i, (int)l->source, (int)i, (int)l->start, (int)l->next,
            (int)l->c.accepted, (int)l->c.delivered, (int)l->c.filtered,
            (int)l->c.dead, (int)l->c.lost);
        for (size_t k = 0; k < l->open_count; k++)
            sql(f, "INSERT INTO retry VALUES(%d, %d, %d)", (int)i,
                (int)l->open[k], (int)(k % 3));
    }
}

static void live(struct fixture *f)
{
    for (uint64_t seq = 1; seq <= EVENTS; seq++) {
        uint32_t source = (uint32_t)(seq % 3 + 1);

        for (uint32_t i = 1; i <= LANES; i++) {
            struct lane *l = &f->lanes[i];

            l->next = seq + 1;
            if (l->source == source && seq >= l->start)
                take(f, l, seq);
        }
        if (seq % 100 == 0)
            commit(f);
        if (seq % 900 == 0)
            roll(f);
    }
    commit(f);
    put_lanes(f);
}

/* ---- a directory ---- */

static void fill_journal(struct fixture *f)
{
    uint64_t seq = 0;

    for (unsigned i = 1; i <= EVENTS; i++) {
        struct journal_record r = { .source = i % 3 + 1,
                                    .received_ms = clock_ms(),
                                    .payload = MF_STR("{\"type\":\"track\","
                                                      "\"pad\":\"0123456789"
                                                      "0123456789\"}") };

        while (journal_append(f->bed->j, &r) != JOURNAL_OK)
            journal_flush(f->bed->j);
        seq = r.seq;
        if (i % 50 == 0) {
            journal_flush(f->bed->j);
            wait_durable(f->bed, seq);
        }
    }
    journal_flush(f->bed->j);
    wait_durable(f->bed, seq);
}

static int setup(void **state)
{
    static const uint32_t sources[LANES + 1] = { 0, 1, 2, 3, 1 };
    struct fixture *f = xcalloc(1, sizeof *f);
    struct ledger_segment first = { .n = 1 };
    char path[128];
    void *bed;

    snprintf(f->dir, sizeof f->dir, "/tmp/audit-test-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    bed_new(&bed);
    f->bed = bed;
    f->seed = 4;
    snprintf(path, sizeof path, "%s/journal", f->dir);
    assert_int_equal(symlink(f->bed->path, path), 0);
    bed_open(f->bed);
    fill_journal(f);
    snprintf(path, sizeof path, "%s/outcomes", f->dir);
    assert_int_equal(mkdir(path, 0700), 0);
    f->outcomes = open(path, O_RDONLY | O_DIRECTORY);
    f->log = ledger_log_new(f->outcomes, &first);
    snprintf(path, sizeof path, "%s/state.db", f->dir);
    assert_int_equal(sqlite3_open(path, &f->db), SQLITE_OK);
    sql(f, "%s", schema);
    for (uint32_t i = 1; i <= LANES; i++) {
        f->lanes[i].source = sources[i];
        f->lanes[i].start = i == LANES ? LATE : 1;
        ledger_init(&f->lanes[i].w, 1 << 20);
    }
    live(f);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    void *bed = f->bed;
    char command[128];

    for (uint32_t i = 1; i <= LANES; i++)
        ledger_deinit(&f->lanes[i].w);
    ledger_log_free(f->log);
    close(f->outcomes);
    sqlite3_close(f->db);
    bed_free(&bed);
    snprintf(command, sizeof command, "rm -rf '%s'", f->dir);
    assert_int_equal(system(command), 0);
    free(f);
    return 0;
}

/* ---- the audit ---- */

static struct books *open_books(struct fixture *f)
{
    struct err e = { "" };
    struct books *b = books_open(f->dir, &e);

    if (!b)
        fail_msg("%s", e.text);
    return b;
}

static uint64_t audit_with(struct books *b, size_t bytes, struct audit *a)
{
    struct err e = { "" };

    if (audit_run(b, bytes, a, &e) != 0)
        fail_msg("%s", e.text);
    audit_deinit(a);
    return a->difference;
}

/* The same is seen with much memory and with little. */
static void expect_none(struct fixture *f)
{
    static const size_t memory[] = { 1 << 20, SMALL, 3 * SMALL };
    struct audit a;

    for (size_t i = 0; i < COUNT_OF(memory); i++) {
        struct books *b = open_books(f);

        if (audit_with(b, memory[i], &a))
            fail_msg("with %zu bytes: %s", memory[i], a.faults[0].text);
        assert_int_equal(a.events, EVENTS + 1 - a.first);
        books_free(b);
    }
}

/* A fault of that event, or of none for 0, with these words. */
static void expect_fault(struct fixture *f, uint64_t seq, const char *words)
{
    static const size_t memory[] = { 1 << 20, SMALL };
    struct audit a;

    for (size_t i = 0; i < COUNT_OF(memory); i++) {
        struct books *b = open_books(f);
        bool seen = false;

        assert_true(audit_with(b, memory[i], &a) > 0);
        for (size_t k = 0; k < a.fault_count; k++)
            seen |= a.faults[k].seq == seq &&
                    strstr(a.faults[k].text, words) != NULL;
        if (!seen)
            fail_msg("with %zu bytes it says of %d: %s", memory[i],
                     (int)a.faults[0].seq, a.faults[0].text);
        books_free(b);
    }
}

static void right_books_show_no_difference(void **state)
{
    expect_none(*state);
}

static void each_event_is_looked_at(void **state)
{
    struct fixture *f = *state;
    struct books *b = open_books(f);
    struct audit a;
    struct err e;

    assert_int_equal(audit_run(b, SMALL, &a, &e), 0);
    assert_int_equal(a.lanes[0].checked, f->lanes[1].c.accepted);
    assert_int_equal(a.lanes[3].checked, f->lanes[4].c.accepted);
    assert_int_equal(a.lanes[0].logged.delivered, f->lanes[1].c.delivered);
    audit_deinit(&a);
    books_free(b);
}

static bool is_open(const struct lane *l, uint64_t seq)
{
    for (size_t i = 0; i < l->open_count; i++)
        if (l->open[i] == seq)
            return true;
    return false;
}

/* The lane of source 3 is 3; its events are 2, 5, 8, ... */
static void one_that_ends_twice_is_seen(void **state)
{
    struct fixture *f = *state;
    uint64_t seq = 65; /* the first of the second stretch */

    while (is_open(&f->lanes[3], seq))
        seq += 3;
    end(&f->lanes[3], seq, LEDGER_DELIVERED);
    commit(f);
    sql(f, "UPDATE lane SET delivered = delivered + 1,"
           " accepted = accepted + 1 WHERE id = 3");
    expect_fault(f, seq, "ended twice");
}

static void one_of_another_source_is_seen(void **state)
{
    struct fixture *f = *state;

    end(&f->lanes[3], 64, LEDGER_FILTERED);
    commit(f);
    expect_fault(f, 64, "is no event of source c");
}

static void one_that_waits_no_more_is_seen(void **state)
{
    struct fixture *f = *state;
    uint64_t seq = f->lanes[1].open[0];

    assert_true(f->lanes[1].open_count > 0);
    sql(f, "DELETE FROM retry WHERE lane = 1 AND seq = %d", (int)seq);
    expect_fault(f, seq, "neither ended nor is pending");
}

static void one_that_waits_and_ended_is_seen(void **state)
{
    struct fixture *f = *state;
    uint64_t seq = f->lanes[2].open[0];

    assert_true(f->lanes[2].open_count > 0);
    end(&f->lanes[2], seq, LEDGER_DELIVERED);
    commit(f);
    expect_fault(f, seq, "is listed as pending");
}

static void one_that_is_no_event_waits_in_vain(void **state)
{
    struct fixture *f = *state;

    sql(f, "INSERT INTO retry VALUES(1, 1, 9)"); /* of source 2 */
    expect_fault(f, 1, "is no event of source a");
}

static void one_reopened_that_was_not_dead_is_seen(void **state)
{
    struct fixture *f = *state;
    uint64_t seq = f->lanes[1].open[0];

    end(&f->lanes[1], seq, LEDGER_REOPENED);
    commit(f);
    expect_fault(f, seq, "had not ended");
}

/* What the counters were when a segment began tells where it went wrong. */
static void the_segment_with_the_difference_is_told(void **state)
{
    struct fixture *f = *state;

    sql(f, "UPDATE outcome_base SET delivered = delivered - 1"
           " WHERE segment >= 2 AND lane = 2");
    sql(f, "UPDATE lane SET delivered = delivered - 1 WHERE id = 2");
    expect_fault(f, 0, "the log of before outcomes/0000000002.log");
}

static void a_lane_of_the_future_is_seen(void **state)
{
    struct fixture *f = *state;

    sql(f, "UPDATE lane SET seq = seq + 1 WHERE id = 4");
    expect_fault(f, EVENTS + 1, "the journal ends before it");
}

/* ---- retention ---- */

static void let_retention_take(struct fixture *f)
{
    bed_close(f->bed);
    f->bed->o.max_bytes = 2 * f->bed->o.segment_bytes;
    bed_open(f->bed);
    journal_retain(f->bed->j);
    assert_true(atomic_load(&f->bed->head.first) > 500);
}

static void what_retention_took_is_no_difference(void **state)
{
    struct fixture *f = *state;

    let_retention_take(f);
    expect_none(f);
}

static void what_it_takes_meanwhile_is_none(void **state)
{
    struct fixture *f = *state;
    struct books *b = open_books(f);
    struct audit a;

    let_retention_take(f);
    if (audit_with(b, SMALL, &a))
        fail_msg("%d: %s", (int)a.faults[0].seq, a.faults[0].text);
    assert_true(a.events < EVENTS);
    assert_int_equal(a.unreadable, 0);
    books_free(b);
}

/* Segments of the log that speak of gone events only, without them. */
static void a_shortened_log_adds_up(void **state)
{
    struct fixture *f = *state;
    char name[LEDGER_NAME];

    let_retention_take(f);
    if (atomic_load(&f->bed->head.first) <= 900)
        skip();
    sql(f, "DELETE FROM outcome_segment WHERE n = 1");
    ledger_log_name(name, 1);
    assert_int_equal(unlinkat(f->outcomes, name, 0), 0);
    expect_none(f);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(right_books_show_no_difference),
        TEST(each_event_is_looked_at),
        TEST(one_that_ends_twice_is_seen),
        TEST(one_of_another_source_is_seen),
        TEST(one_that_waits_no_more_is_seen),
        TEST(one_that_waits_and_ended_is_seen),
        TEST(one_that_is_no_event_waits_in_vain),
        TEST(one_reopened_that_was_not_dead_is_seen),
        TEST(the_segment_with_the_difference_is_told),
        TEST(a_lane_of_the_future_is_seen),
        TEST(what_retention_took_is_no_difference),
        TEST(what_it_takes_meanwhile_is_none),
        TEST(a_shortened_log_adds_up),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
