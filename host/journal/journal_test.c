/* SPDX-License-Identifier: Apache-2.0
 *
 * journal_test.c - the journal from outside: what was acknowledged is there,
 * in order and unchanged, across segments, restarts and retention. Faults are
 * in fault_test.c, power cuts in crash_test.c. */
#include "journal/testbed.h"

#include "base/clock.h"

static void append_and_read(void **state)
{
    struct bed *b = *state;

    bed_open(b);
    append(b, 1, 1);
    append(b, 99, 10);
    expect_all(b, 1, 100);
    append(b, 2000, 37); /* some twelve segments */
    expect_all(b, 1, 2100);
    expect_all(b, 1234, 2100);
}

static void reopen(void **state)
{
    struct bed *b = *state;

    for (int life = 0; life < 5; life++) {
        bed_open(b);
        append(b, 150, 7);
        journal_close(b->j);
        b->j = NULL;
        memset(&b->head, 0, sizeof b->head);
    }
    bed_open(b);
    assert_int_equal(atomic_load(&b->head.durable), 750);
    expect_all(b, 1, 750);
}

/* ---- reading ---- */

static void by_source(void **state)
{
    struct bed *b = *state;
    struct journal_record rec;
    uint64_t lost[2];

    bed_open(b);
    append(b, 1500, 20);
    for (uint32_t source = 1; source <= 3; source++) {
        struct journal_reader *r = journal_reader_new(b->o.dir, &b->head);

        for (uint64_t seq = 1; seq <= 1500; seq++) {
            if (seq % 3 + 1 != source)
                continue;
            assert_int_equal(next(r, source, &rec, lost), JOURNAL_RECORD);
            expect_record(&rec, seq);
        }
        assert_int_equal(next(r, source, &rec, lost), JOURNAL_END);
        /* It stands behind all that is foreign too. */
        assert_int_equal(journal_tell(r).seq, 1501);
        journal_reader_free(r);
    }
}

static _Atomic unsigned long bytes_read;

static ssize_t counting_pread(int fd, void *to, size_t n, off_t at)
{
    ssize_t got = pread(fd, to, n, at);

    if (got > 0)
        atomic_fetch_add(&bytes_read, (unsigned long)got);
    return got;
}

static void put_source(struct bed *b, uint32_t source)
{
    char text[300] = { 0 };
    struct journal_record r = { .source = source, .payload = { text, 300 } };

    assert_int_equal(journal_append(b->j, &r), JOURNAL_OK);
}

/* A source with three records in megabytes of another's: the index leads to
 * them, and most bytes are never read. */
static void rare_source(void **state)
{
    struct bed *b = *state;
    uint64_t rare[3] = { 400, 9000, 9001 }, lost[2];
    struct journal_reader *r;
    struct journal_record rec;

    b->o.segment_bytes = 2 << 20;
    io.pread = counting_pread;
    bed_open(b);
    for (unsigned i = 0, k = 0; i < 20000; i++) {
        bool is = k < 3 && rare[k] == i + 1;

        put_source(b, is ? 5 : 6);
        k += is;
        if (i % 1000 == 999) {
            journal_flush(b->j);
            wait_durable(b, i + 1);
        }
    }
    journal_retain(b->j); /* the footers are there */
    bytes_read = 0;
    r = journal_reader_new(b->o.dir, &b->head);
    for (int k = 0; k < 3; k++) {
        assert_int_equal(next(r, 5, &rec, lost), JOURNAL_RECORD);
        assert_int_equal(rec.seq, rare[k]);
    }
    assert_int_equal(next(r, 5, &rec, lost), JOURNAL_END);
    assert_int_equal(journal_tell(r).seq, 20001);
    journal_reader_free(r);
    /* Some 7 MB; the last segment has no index yet. */
    assert_in_range(bytes_read, 1, 4 << 20);
}

static void scan_limit(void **state)
{
    struct bed *b = *state;
    struct journal_reader *r;
    struct journal_record rec;
    uint64_t from, to;
    unsigned ends = 0, got = 0;
    struct err e;

    bed_open(b);
    append(b, 100, 20);
    r = journal_reader_new(b->o.dir, &b->head);
    while (journal_tell(r).seq <= 100) {
        if (journal_next(r, 9, 7, &rec, &from, &to, &e) == JOURNAL_END)
            ends++;
        else
            got++;
    }
    assert_int_equal(got, 0);
    assert_int_equal(ends, 15);
    journal_reader_free(r);
}

static void seek(void **state)
{
    struct bed *b = *state;
    struct journal_pos at[701] = { { 0 } }, wrong;
    struct journal_reader *r;
    struct journal_record rec;
    uint64_t lost[2];

    bed_open(b);
    append(b, 700, 13);
    r = journal_reader_new(b->o.dir, &b->head);
    for (uint64_t seq = 1; seq <= 700; seq++) {
        struct journal_pos told = journal_tell(r);

        if (seq > 1)
            assert_int_equal(told.seq, seq);
        assert_int_equal(next(r, 0, &rec, lost), JOURNAL_RECORD);
        at[seq] = journal_last(r);
        assert_int_equal(at[seq].seq, seq);
    }
    for (uint64_t k = 0; k < 700; k++) {
        uint64_t seq = k * 271 % 700 + 1;

        journal_seek(r, k % 2 ? at[seq] : (struct journal_pos){ seq, 0, 0 });
        assert_int_equal(next(r, 0, &rec, lost), JOURNAL_RECORD);
        expect_record(&rec, seq);
        journal_seek(r, journal_tell(r));
        if (seq < 700) {
            assert_int_equal(next(r, 0, &rec, lost), JOURNAL_RECORD);
            expect_record(&rec, seq + 1);
        }
    }
    /* Hints from elsewhere cost time, not truth. */
    for (uint64_t k = 8; k < 4096; k += 88) {
        wrong = at[500];
        wrong.offset += k % 2 ? k : 8 * k;
        if (k % 3 == 0)
            wrong.segment = at[100].segment;
        if (k % 5 == 0)
            wrong.segment = 12345;
        journal_seek(r, wrong);
        assert_int_equal(next(r, 0, &rec, lost), JOURNAL_RECORD);
        expect_record(&rec, 500);
    }
    journal_seek(r, (struct journal_pos){ 701, 0, 0 });
    assert_int_equal(next(r, 0, &rec, lost), JOURNAL_END);
    append(b, 1, 1);
    assert_int_equal(next(r, 0, &rec, lost), JOURNAL_RECORD);
    expect_record(&rec, 701);
    journal_reader_free(r);
}

static void find_time(void **state)
{
    struct bed *b = *state;
    struct journal_reader *r;
    struct journal_record rec;
    struct journal_pos at;
    struct err e = { "" };
    uint64_t lost[2];

    bed_open(b);
    append(b, 700, 13); /* received at 10, 20, ... */
    r = journal_reader_new(b->o.dir, &b->head);
    for (int64_t ms = -5; ms <= 7000; ms += 37) {
        uint64_t seq = ms <= 10 ? 1 : (uint64_t)(ms + 9) / 10;

        assert_int_equal(journal_find_time(r, ms, &at, &e), 0);
        assert_int_equal(at.seq, seq);
        journal_seek(r, at);
        assert_int_equal(next(r, 0, &rec, lost), JOURNAL_RECORD);
        expect_record(&rec, seq);
    }
    assert_int_equal(journal_find_time(r, 7001, &at, &e), 0);
    assert_int_equal(at.seq, 701);
    journal_reader_free(r);
}

/* Lanes at several paces over one cache read what each would alone. */
static void shared_cache(void **state)
{
    struct bed *b = *state;
    struct journal_cache *c;
    struct journal_reader *r[7];
    uint64_t seq[7] = { 0 }, lost[2];
    struct journal_record rec, others;
    unsigned done = 0;

    b->o.segment_bytes = 2 << 20; /* several blocks, records across them */
    bed_open(b);
    append(b, 6000, 100);
    c = journal_cache_new(b->o.dir, &b->head, 2);
    for (int i = 0; i < 7; i++) {
        r[i] = journal_reader_shared(c);
        seq[i] = (uint64_t)i * 800;
        journal_seek(r[i], (struct journal_pos){ seq[i] + 1, 0, 0 });
    }
    for (unsigned round = 0; done < 7; round++)
        for (int i = 0; i < 7; i++) {
            int other = (i + 1) % 7;

            if (seq[i] == 6000)
                continue;
            for (unsigned k = 0; k <= round % (unsigned)(i + 2) &&
                                 seq[i] < 6000; k++) {
                assert_int_equal(next(r[i], 0, &rec, lost), JOURNAL_RECORD);
                expect_record(&rec, ++seq[i]);
            }
            done += seq[i] == 6000;
            /* Another's step leaves what this one holds alone. */
            if (seq[other] < 5999) {
                assert_int_equal(next(r[other], 0, &others, lost),
                                 JOURNAL_RECORD);
                expect_record(&others, ++seq[other]);
                expect_record(&rec, seq[i]);
            }
        }
    for (int i = 0; i < 7; i++)
        journal_reader_free(r[i]);
    journal_cache_free(c);
}

/* ---- limits ---- */

static void large_records(void **state)
{
    struct bed *b = *state;
    char *text = xmalloc(JOURNAL_PAYLOAD_MAX);
    struct journal_reader *r;
    struct journal_record rec = { .source = 4 };
    uint64_t lost[2];

    b->o.segment_bytes = 4 << 20;
    bed_open(b);
    for (unsigned i = 0; i < 12; i++) {
        memset(text, 'A' + (int)i, JOURNAL_PAYLOAD_MAX);
        rec.payload = (mf_str){ text, i % 3 ? JOURNAL_PAYLOAD_MAX - i : i };
        while (journal_append(b->j, &rec) == JOURNAL_BUSY)
            wait_durable(b, i); /* the staging buffer is full of them */
        journal_flush(b->j);
    }
    wait_durable(b, 12);
    r = journal_reader_new(b->o.dir, &b->head);
    for (unsigned i = 0; i < 12; i++) {
        assert_int_equal(next(r, 0, &rec, lost), JOURNAL_RECORD);
        assert_int_equal(rec.payload.len,
                         i % 3 ? JOURNAL_PAYLOAD_MAX - i : i);
        memset(text, 'A' + (int)i, JOURNAL_PAYLOAD_MAX);
        assert_memory_equal(rec.payload.ptr, text, rec.payload.len);
    }
    journal_reader_free(r);
    free(text);
}

static pthread_mutex_t hold = PTHREAD_MUTEX_INITIALIZER;

static int held_fdatasync(int fd)
{
    pthread_mutex_lock(&hold);
    pthread_mutex_unlock(&hold);
    return fdatasync(fd);
}

/* While a sync takes its time, appends go on until 8 MiB wait. */
static void busy(void **state)
{
    struct bed *b = *state;
    uint64_t n = 0, refused = 0, seq;

    b->o.segment_bytes = 16 << 20;
    io.fdatasync = held_fdatasync;
    bed_open(b);
    pthread_mutex_lock(&hold);
    while (!refused) {
        seq = n + 1;
        if (add(b, &seq) == JOURNAL_BUSY)
            refused = n + 1;
        else
            assert_int_equal(seq, ++n);
        if (n == 1)
            journal_flush(b->j);
    }
    assert_in_range(n, 8 << 20 >> 10, 8 << 20 >> 5);
    assert_int_equal(atomic_load(&b->head.durable), 0);
    pthread_mutex_unlock(&hold);
    journal_flush(b->j);
    wait_durable(b, n);
    append(b, 10, 5);
    expect_all(b, 1, n + 10);
}

static void one_writer(void **state)
{
    struct bed *b = *state;
    struct err e = { "" };

    bed_open(b);
    assert_null(journal_open(&b->o, &e));
    assert_non_null(strstr(e.text, "another process"));
}

/* ---- retention ---- */

static void by_bytes(void **state)
{
    struct bed *b = *state;
    struct journal_reader *r;
    struct journal_record rec;
    uint64_t lost[2], first;

    b->o.max_bytes = 5 * (64 << 10);
    bed_open(b);
    append(b, 10, 5);
    r = journal_reader_new(b->o.dir, &b->head);
    for (uint64_t seq = 1; seq <= 5; seq++)
        assert_int_equal(next(r, 0, &rec, lost), JOURNAL_RECORD);
    append(b, 3000, 50);
    journal_retain(b->j);
    first = atomic_load(&b->head.first);
    assert_true(first > 2000);
    assert_true(atomic_load(&b->head.bytes) <= b->o.max_bytes);
    assert_int_equal(count_files(b, ".", ".seg"),
                     atomic_load(&b->head.bytes) / (64 << 10));
    assert_in_range(count_files(b, ".", ".spare"), 2, 4);
    /* Its file has had two other lives since. */
    assert_int_equal(next(r, 0, &rec, lost), JOURNAL_LOST);
    assert_int_equal(lost[0], 6);
    assert_int_equal(lost[1], first - 1);
    for (uint64_t seq = first; seq <= 3010; seq++) {
        assert_int_equal(next(r, 0, &rec, lost), JOURNAL_RECORD);
        expect_record(&rec, seq);
    }
    journal_seek(r, (struct journal_pos){ 0 });
    assert_int_equal(next(r, 0, &rec, lost), JOURNAL_RECORD);
    assert_int_equal(rec.seq, first);
    journal_reader_free(r);
    bed_close(b);
    bed_reopen(b);
    assert_int_equal(atomic_load(&b->head.first), first);
    expect_all(b, first, 3010);
}

/* By a reload of the configuration: what is due goes without being asked
 * for. */
static void by_limits_that_change(void **state)
{
    struct bed *b = *state;
    uint64_t most = 5 * (64 << 10);

    bed_open(b);
    append(b, 3000, 50);
    journal_retain(b->j);
    assert_int_equal(atomic_load(&b->head.first), 1);
    journal_keep(b->j, 0, most);
    while (atomic_load(&b->head.bytes) > most)
        usleep(1000);
    assert_true(atomic_load(&b->head.first) > 2000);
    journal_keep(b->j, 0, 0);
    append(b, 3000, 50);
    journal_retain(b->j);
    assert_true(atomic_load(&b->head.bytes) > most);
    expect_all(b, atomic_load(&b->head.first), 6000);
}

/* The clock belongs to all threads: it is turned while there are none. */
static void later(struct bed *b, int64_t ms)
{
    bed_close(b);
    clock_skew_ms += ms;
    bed_reopen(b);
}

static void by_age(void **state)
{
    struct bed *b = *state;
    uint64_t due;

    b->o.retention_ms = 1000;
    clock_skew_ms = 3000 - clock_ms();
    bed_open(b); /* records say 10, 20, ... ms after the epoch */
    append(b, 700, 20);
    later(b, 1500); /* now 4500 or later: 3500 and older is due */
    journal_retain(b->j);
    due = (uint64_t)(clock_ms() - b->o.retention_ms) / 10;
    assert_in_range(atomic_load(&b->head.first), 200, due + 1);
    expect_all(b, atomic_load(&b->head.first), 700);
    later(b, 1000000);
    journal_retain(b->j);
    assert_in_range(atomic_load(&b->head.first), 600, 701);
    bed_close(b);
    clock_skew_ms = 0;
}

/* A journal too slow to fill a segment forgets in time as well. */
static void slow_journal_forgets(void **state)
{
    struct bed *b = *state;

    b->o.retention_ms = 4000000;
    clock_skew_ms = 100 - clock_ms();
    bed_open(b);
    append(b, 10, 5); /* at 10 .. 100 ms */
    later(b, 1500000);
    journal_retain(b->j);
    wait_tail(b, 11);
    expect_all(b, 1, 10);
    later(b, 3000000);
    journal_retain(b->j);
    assert_int_equal(atomic_load(&b->head.first), 11);
    append(b, 5, 5);
    expect_all(b, 11, 15);
    bed_close(b);
    clock_skew_ms = 0;
}

/* A reader of its own thread against a writer that recycles under it. */
struct chase {
    struct bed *b;
    _Atomic bool began, stop;
    uint64_t read, lost;
};

static void *chase(void *arg)
{
    struct chase *c = arg;
    struct journal_reader *r = journal_reader_new(c->b->o.dir, &c->b->head);
    uint64_t seq = 0, lost[2];
    struct journal_record rec;

    for (;;) {
        bool stop = c->stop;
        enum journal_read got = next(r, 0, &rec, lost);

        if (got == JOURNAL_END && stop)
            break;
        if (got == JOURNAL_LOST) {
            ASSERT(lost[0] == seq + 1 && lost[1] >= lost[0]);
            ASSERT(lost[1] < atomic_load(&c->b->head.first));
            c->lost += lost[1] + 1 - lost[0];
            seq = lost[1];
        }
        if (got != JOURNAL_RECORD)
            continue;
        ASSERT(seq == 0 || rec.seq == seq + 1);
        seq = rec.seq;
        expect_record(&rec, seq);
        c->read++;
        c->began = true;
        if (seq % 5000 == 0)
            usleep(20000); /* falls behind, so that it is overtaken */
    }
    journal_reader_free(r);
    return NULL;
}

static void read_while_recycled(void **state)
{
    struct bed *b = *state;
    struct chase c[2] = { { b }, { b } };
    pthread_t t[2];

    b->o.max_bytes = 4 * (64 << 10);
    bed_open(b);
    append(b, 1, 1);
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&t[i], NULL, chase, &c[i]), 0);
    for (int i = 0; i < 2; i++)
        while (!c[i].began) /* one that begins later misses the first */
            usleep(1000);
    append(b, 40000, 60);
    for (int i = 0; i < 2; i++) {
        c[i].stop = true;
        pthread_join(t[i], NULL);
        assert_true(c[i].read > 0);
        assert_in_range(c[i].read + c[i].lost, 39000, 40001);
    }
}

/* ---- old journals ---- */

static void copy_file(struct bed *b, const char *name)
{
    char path[512], *text;
    struct err e = { "" };
    size_t n;
    int fd;

    snprintf(path, sizeof path, TEST_DATA "/v1/%s", name);
    if (io_read_file(AT_FDCWD, path, SEGMENT_MOST, &text, &n, &e) != 0)
        fail_msg("%s", e.text);
    fd = openat(b->o.dir, name, O_WRONLY | O_CREAT | O_EXCL, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, n), (ssize_t)n);
    close(fd);
    free(text);
}

/* testdata/v1 was written by version 1: append(100, 7) to segments of 32 KiB
 * in two lives. */
static void version_1(void **state)
{
    struct bed *b = *state;

    copy_file(b, "journal.meta");
    copy_file(b, "00000000000000000001.seg");
    copy_file(b, "00000000000000000155.seg");
    b->o.segment_bytes = SEGMENT_LEAST;
    bed_open(b);
    assert_int_equal(atomic_load(&b->head.durable), 200);
    expect_all(b, 1, 200);
    append(b, 10, 2);
    expect_all(b, 1, 210);
}

#define T(f) cmocka_unit_test_setup_teardown(f, bed_new, bed_free)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(append_and_read),
        T(reopen),
        T(by_source),
        T(rare_source),
        T(scan_limit),
        T(seek),
        T(find_time),
        T(shared_cache),
        T(large_records),
        T(busy),
        T(one_writer),
        T(by_bytes),
        T(by_limits_that_change),
        T(by_age),
        T(slow_journal_forgets),
        T(read_while_recycled),
        T(version_1),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
