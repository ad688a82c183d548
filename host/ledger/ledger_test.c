/* SPDX-License-Identifier: Apache-2.0
 *
 * The ledger: what is written is read again, whatever a stranger sends is
 * refused or read within its bytes, and the log holds what was committed
 * through faults of the disk and crashes between its steps. */
#include "ledger/log.h"

#include "base/io.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define RECORDS 5000

static uint32_t seed = 1;

static uint32_t chance(uint32_t n)
{
    seed = seed * 1664525 + 1013904223;
    return (seed >> 8) % n;
}

/* ---- streams ---- */

static void put_any(struct ledger_writer *w, uint64_t *seq)
{
    struct ledger_part parts[3];
    unsigned n = 1 + chance(3);

    *seq = chance(10) ? *seq + chance(5) : 1 + chance(1u << 20);
    if (chance(50) == 0) {
        ledger_put_range(w, *seq, *seq + 9, chance(11), LOST_RETENTION);
        return;
    }
    for (unsigned i = 0; i < n; i++)
        parts[i] = (struct ledger_part){ chance(8) * 0x1234567,
                                         (uint8_t)chance(70) };
    ledger_put(w, *seq, (enum ledger_class)chance(LEDGER_CLASSES), parts, n);
}

static bool same(const struct ledger_entry *a, const struct ledger_entry *b)
{
    return a->from == b->from && a->to == b->to && a->count == b->count &&
           a->class == b->class && a->parts == b->parts &&
           a->is_range == b->is_range && a->body_len == b->body_len &&
           memcmp(a->body ? a->body : (const unsigned char *)"",
                  b->body ? b->body : (const unsigned char *)"",
                  a->body_len) == 0;
}

/* Also with more patterns than are known at one time. */
static void a_stream_is_read_as_it_was_written(void **state)
{
    struct ledger_writer w, again;
    struct ledger_reader r, r2;
    struct ledger_entry o, o2;
    uint64_t seq = 1;
    unsigned n = 0;

    (void)state;
    ledger_init(&w, 1 << 20);
    ledger_init(&again, 1 << 20);
    for (unsigned i = 0; i < RECORDS; i++)
        put_any(&w, &seq);
    assert_int_equal(w.count, RECORDS);
    ledger_begin(&again, 77);
    ledger_read(&r, buf_view(&w.bytes), 0);
    while (ledger_next(&r, &o) > 0)
        ledger_copy(&again, &o);
    assert_int_equal(again.count, RECORDS);
    assert_int_equal(again.least, w.least);
    assert_int_equal(again.greatest, w.greatest);
    ledger_read(&r, buf_view(&w.bytes), 0);
    ledger_read(&r2, buf_view(&again.bytes), 77);
    while (ledger_next(&r, &o) > 0) {
        assert_int_equal(ledger_next(&r2, &o2), 1);
        assert_true(same(&o, &o2));
        n++;
    }
    assert_int_equal(n, RECORDS);
    assert_int_equal(ledger_next(&r2, &o2), 0);
    ledger_deinit(&w);
    ledger_deinit(&again);
}

static void an_event_costs_two_bytes(void **state)
{
    struct ledger_writer w;

    (void)state;
    ledger_init(&w, 1 << 20);
    for (unsigned i = 0; i < 10000; i++) {
        struct ledger_part p = { 0xdeadbeef, PART_DELIVERED };

        ledger_put(&w, 1000000 + 10 * i + chance(10), LEDGER_DELIVERED, &p,
                   1);
    }
    assert_true(w.bytes.len < 21000);
    ledger_deinit(&w);
}

static void parts_come_by_their_keys(void **state)
{
    struct ledger_part parts[] = { { 9, PART_DELIVERED },
                                   { 2, PART_DEAD + 1 } };
    struct ledger_writer w;
    struct ledger_reader r;
    struct ledger_entry o;

    (void)state;
    ledger_init(&w, 1 << 20);
    ledger_put(&w, 7, LEDGER_DEAD, parts, 2);
    ledger_read(&r, buf_view(&w.bytes), 0);
    assert_int_equal(ledger_next(&r, &o), 1);
    assert_int_equal(o.parts, 2);
    assert_int_equal(ledger_part(&o, 0).key, 2);
    assert_int_equal(ledger_part(&o, 0).code, PART_DEAD + 1);
    assert_int_equal(ledger_part(&o, 1).key, 9);
    ledger_deinit(&w);
}

/* Bytes of a stranger: each is copied to memory of its exact size, so that a
 * sanitizer sees a read beyond. */
static void strangers_are_read_within_their_bytes(void **state)
{
    struct ledger_writer w;
    uint64_t seq = 1;

    (void)state;
    ledger_init(&w, 1 << 20);
    for (unsigned i = 0; i < 100; i++)
        put_any(&w, &seq);
    for (unsigned turn = 0; turn < 20000; turn++) {
        size_t len = chance((uint32_t)w.bytes.len + 1);
        char *bytes = xmalloc(len + 1);
        struct ledger_reader r;
        struct ledger_entry o;
        char *tight;

        memcpy(bytes, w.bytes.data, len);
        for (unsigned k = chance(4); len && k > 0; k--)
            bytes[chance((uint32_t)len)] = (char)chance(256);
        tight = xmalloc(len ? len : 1);
        memcpy(tight, bytes, len);
        ledger_read(&r, (mf_str){ tight, len }, chance(2) ? 0 : UINT64_MAX);
        while (ledger_next(&r, &o) > 0) {
            assert_true(o.from >= 1 && o.to >= o.from && o.to <= INT64_MAX);
            assert_true(o.count <= o.to - o.from + 1);
            for (unsigned i = 0; i < o.parts; i++)
                (void)ledger_part(&o, i);
        }
        free(bytes);
        free(tight);
    }
    ledger_deinit(&w);
}

/* ---- the log ---- */

struct fixture {
    char path[64];
    int dir;
    struct ledger_log *log;
    struct ledger_segment at; /* as state.db would say */
};

static int setup(void **state)
{
    struct fixture *f = xcalloc(1, sizeof *f);

    snprintf(f->path, sizeof f->path, "/tmp/ledger-test-XXXXXX");
    assert_non_null(mkdtemp(f->path));
    f->dir = open(f->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    f->at.n = 1;
    f->log = ledger_log_new(f->dir, &f->at);
    *state = f;
    return 0;
}

static bool keep_none(void *arg, uint64_t n)
{
    (void)arg;
    (void)n;
    return false;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    io = io_real;
    ledger_log_free(f->log);
    ledger_log_sweep(f->dir, keep_none, NULL);
    close(f->dir);
    assert_int_equal(rmdir(f->path), 0);
    free(f);
    return 0;
}

static void add(struct fixture *f, uint64_t seq)
{
    struct ledger_part p = { 5, PART_DELIVERED };
    struct ledger_writer w;

    ledger_init(&w, 4096);
    ledger_begin(&w, seq);
    ledger_put(&w, seq, LEDGER_DELIVERED, &p, 1);
    ledger_log_add(f->log, 3, &w);
    ledger_deinit(&w);
}

static int commit(struct fixture *f)
{
    struct err e;

    if (ledger_log_sync(f->log, &e) != 0)
        return -1;
    f->at = ledger_log_segment(f->log);
    return 0;
}

/* The process ends; another begins where the state says. */
static void crash(struct fixture *f)
{
    ledger_log_free(f->log);
    f->log = ledger_log_new(f->dir, &f->at);
}

/* The numbers in a segment as far as it was committed, as one text. */
static void expect(struct fixture *f, const struct ledger_segment *g,
                   const char *want)
{
    char name[LEDGER_NAME], got[256] = "", *bytes = NULL;
    struct ledger_block b;
    size_t at = 0;
    struct err e = { "" };
    int fd, rc;

    ledger_log_name(name, g->n);
    fd = openat(f->dir, name, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    rc = ledger_log_load(fd, g, &bytes, &e);
    assert_string_equal(e.text, "");
    close(fd);
    while ((rc = ledger_block_next((mf_str){ bytes, g->bytes }, &at, &b)) !=
           0) {
        struct ledger_reader r;
        struct ledger_entry o;
        size_t n = strlen(got);

        if (rc < 0) {
            snprintf(got + n, sizeof got - n, "damage ");
            continue;
        }
        assert_int_equal(b.lane, 3);
        ledger_read(&r, b.stream, b.prev);
        while (ledger_next(&r, &o) > 0)
            n += (size_t)snprintf(got + n, sizeof got - n, "%d ",
                                  (int)o.from);
    }
    free(bytes);
    assert_string_equal(got, want);
}

static void what_was_not_committed_is_cut_off(void **state)
{
    struct fixture *f = *state;
    char name[LEDGER_NAME];
    struct stat st;
    struct err e;

    add(f, 10);
    add(f, 11);
    assert_int_equal(commit(f), 0);
    add(f, 12);
    add(f, 13);
    assert_int_equal(ledger_log_sync(f->log, &e), 0); /* and not told */
    crash(f);
    add(f, 20);
    assert_int_equal(commit(f), 0);
    expect(f, &f->at, "10 11 20 ");
    ledger_log_name(name, 1);
    assert_int_equal(fstatat(f->dir, name, &st, 0), 0);
    assert_int_equal(st.st_size, f->at.bytes);
    assert_int_equal(f->at.least, 10);
    assert_int_equal(f->at.greatest, 20);
}

static unsigned faults_left;
static int fault_errno;

static ssize_t bad_pwrite(int fd, const void *from, size_t n, off_t at)
{
    if (faults_left && faults_left--) {
        (void)!io_real.pwrite(fd, from, n / 2, at); /* half arrives */
        errno = fault_errno;
        return -1;
    }
    return io_real.pwrite(fd, from, n, at);
}

static int bad_fdatasync(int fd)
{
    if (faults_left && faults_left--) {
        errno = EIO;
        return -1;
    }
    return io_real.fdatasync(fd);
}

static void a_full_disk_is_tried_again_at_the_same_place(void **state)
{
    struct fixture *f = *state;

    add(f, 10);
    assert_int_equal(commit(f), 0);
    io.pwrite = bad_pwrite;
    fault_errno = ENOSPC;
    faults_left = 2;
    add(f, 11);
    assert_int_equal(commit(f), -1);
    add(f, 12);
    assert_int_equal(commit(f), -1);
    assert_int_equal(commit(f), 0);
    assert_int_equal(f->at.n, 1);
    assert_int_equal(ledger_log_waiting(f->log), 0);
    expect(f, &f->at, "10 11 12 ");
}

static void after_a_failed_sync_another_segment_begins(void **state)
{
    struct fixture *f = *state;
    struct ledger_segment first;

    add(f, 10);
    assert_int_equal(commit(f), 0);
    first = f->at;
    io.fdatasync = bad_fdatasync;
    faults_left = 1;
    add(f, 11);
    assert_int_equal(commit(f), -1);
    crash(f); /* the same, whether the process lives on or not */
    faults_left = 1;
    add(f, 11);
    assert_int_equal(commit(f), -1);
    add(f, 12);
    assert_int_equal(commit(f), 0);
    assert_int_equal(f->at.n, 2);
    expect(f, &first, "10 ");
    expect(f, &f->at, "11 12 ");
}

static void a_segment_that_is_gone_is_not_written_again(void **state)
{
    struct fixture *f = *state;
    char name[LEDGER_NAME];

    add(f, 10);
    assert_int_equal(commit(f), 0);
    ledger_log_name(name, 1);
    assert_int_equal(unlinkat(f->dir, name, 0), 0);
    crash(f);
    add(f, 11);
    assert_int_equal(commit(f), 0);
    assert_int_equal(f->at.n, 2);
    expect(f, &f->at, "11 ");
}

static void damage_is_told_and_passed(void **state)
{
    struct fixture *f = *state;
    char name[LEDGER_NAME];
    size_t second;
    int fd;

    add(f, 10);
    assert_int_equal(commit(f), 0);
    second = f->at.bytes;
    add(f, 11);
    add(f, 12);
    assert_int_equal(commit(f), 0);
    ledger_log_name(name, 1);
    fd = openat(f->dir, name, O_WRONLY | O_CLOEXEC);
    assert_int_equal(pwrite(fd, "X", 1, (off_t)second + 33), 1);
    close(fd);
    expect(f, &f->at, "10 damage 12 ");
}

static void segments_follow_each_other(void **state)
{
    struct fixture *f = *state;
    struct ledger_segment first;

    add(f, 10);
    assert_int_equal(commit(f), 0);
    first = f->at;
    ledger_log_roll(f->log);
    add(f, 11);
    assert_int_equal(commit(f), 0);
    assert_int_equal(f->at.n, 2);
    assert_int_equal(f->at.least, 11);
    expect(f, &first, "10 ");
    expect(f, &f->at, "11 ");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_stream_is_read_as_it_was_written),
        cmocka_unit_test(an_event_costs_two_bytes),
        cmocka_unit_test(parts_come_by_their_keys),
        cmocka_unit_test(strangers_are_read_within_their_bytes),
        TEST(what_was_not_committed_is_cut_off),
        TEST(a_full_disk_is_tried_again_at_the_same_place),
        TEST(after_a_failed_sync_another_segment_begins),
        TEST(a_segment_that_is_gone_is_not_written_again),
        TEST(damage_is_told_and_passed),
        TEST(segments_follow_each_other),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
