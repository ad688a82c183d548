/* SPDX-License-Identifier: Apache-2.0
 *
 * ids_test.c - id files: that they say what the segments say, whatever became
 * of either, and that nothing waits for them. */
#include "journal/ids.h"
#include "journal/testbed.h"

#include "base/clock.h"

#include <stdlib.h>
#include <sys/stat.h>

#define FOR_EVER (INT64_MAX / 2)
#define ROUNDS 2000 /* of the keeper, at most, until something is so */

/* ---- the seam: faults in ids/ alone ---- */

enum fault { NONE, NO_FILE, TORN, NO_SYNC, NO_NAME };

static _Atomic int fault;
static _Atomic int ids_fd;

static int f_openat(int dir, const char *path, int flags, mode_t mode)
{
    bool ours = strncmp(path, "ids/", 4) == 0 && (flags & O_CREAT);
    int fd;

    if (ours && fault == NO_FILE) {
        errno = ENOSPC;
        return -1;
    }
    fd = openat(dir, path, flags, mode);
    if (ours)
        atomic_store(&ids_fd, fd);
    else if (fd >= 0 && atomic_load(&ids_fd) == fd)
        atomic_store(&ids_fd, -1);
    return fd;
}

static ssize_t f_write(int fd, const void *from, size_t n)
{
    static _Atomic bool half;

    if (fault != TORN || fd != atomic_load(&ids_fd))
        return write(fd, from, n);
    half = !half;
    if (half)
        return write(fd, from, n / 2);
    errno = ENOSPC;
    return -1;
}

static int f_fsync(int fd)
{
    if (fault == NO_SYNC && fd == atomic_load(&ids_fd)) {
        errno = EIO;
        return -1;
    }
    return fsync(fd);
}

static int f_renameat(int dir, const char *from, int to_dir, const char *to)
{
    if (fault == NO_NAME && strncmp(to, "ids/", 4) == 0) {
        errno = EIO;
        return -1;
    }
    return renameat(dir, from, to_dir, to);
}

static int ids_new(void **state)
{
    fault = NONE;
    ids_fd = -1;
    clock_mono_skew_ms = 0;
    io = io_real;
    io.openat = f_openat;
    io.write = f_write;
    io.fsync = f_fsync;
    io.renameat = f_renameat;
    return bed_new(state);
}

/* ---- helpers ---- */

static unsigned sealed(struct bed *b)
{
    return count_files(b, ".", ".seg") - 1;
}

/* Rounds of the keeper until there are n id files. */
static void wait_files(struct bed *b, unsigned n)
{
    for (int i = 0; i < ROUNDS; i++) {
        journal_retain(b->j);
        if (count_files(b, "ids", ".ids") == n)
            return;
    }
    fail_msg("%u id files, not %u", count_files(b, "ids", ".ids"), n);
}

static struct ids_reader *reader(struct bed *b, bool alone)
{
    struct err e = { "" };
    struct ids_reader *r = ids_reader_new(b->o.dir, alone ? NULL : &b->head,
                                          &e);

    if (!r)
        fail_msg("%s", e.text);
    return r;
}

static void expect_entry(const struct ids_entry *one, uint64_t seq)
{
    unsigned char hash[16];

    memset(hash, (int)seq, sizeof hash);
    assert_memory_equal(one->hash, hash, 16);
    assert_int_equal(one->source, seq % 3 + 1);
    assert_int_equal(one->received_ms, seq * 10);
    assert_int_equal(one->flags, (uint16_t)seq);
}

static enum ids_read step(struct ids_reader *r, uint64_t *seq, uint64_t *to,
                          struct ids_entry *one)
{
    struct err e = { "" };
    enum ids_read got = ids_next(r, seq, to, one, &e);

    if (got == IDS_ERROR)
        fail_msg("%s", e.text);
    return got;
}

static void expect_ids(struct ids_reader *r, uint64_t from, uint64_t last)
{
    struct ids_entry one;
    uint64_t seq, to;

    ids_seek(r, from, 0);
    for (uint64_t i = from; i <= last; i++) {
        assert_int_equal(step(r, &seq, &to, &one), IDS_ENTRY_READ);
        assert_int_equal(seq, i);
        expect_entry(&one, i);
    }
    assert_int_equal(step(r, &seq, &to, &one), IDS_END);
}

static void expect_all_ids(struct bed *b, uint64_t last)
{
    struct ids_reader *r = reader(b, false);

    expect_ids(r, 1, last);
    ids_reader_free(r);
    r = reader(b, true);
    expect_ids(r, 1, last);
    ids_reader_free(r);
}

static uint64_t of_source(uint32_t source, uint64_t from, uint64_t to)
{
    uint64_t n = 0;

    for (uint64_t i = from; i <= to; i++)
        n += i % 3 + 1 == source;
    return n;
}

static struct ids_count count(struct ids_reader *r, uint32_t source,
                              uint64_t from, uint64_t to)
{
    struct ids_count c;
    struct err e = { "" };

    if (ids_count(r, source, from, to, &c, &e) != 0)
        fail_msg("%s", e.text);
    return c;
}

static char *slurp(struct bed *b, uint64_t base, size_t *n)
{
    char name[IDS_NAME], *bytes;
    struct err e = { "" };

    ids_name(name, base);
    if (io_read_file(b->o.dir, name, 1 << 20, &bytes, n, &e) != 0)
        fail_msg("%s", e.text);
    return bytes;
}

static void flip_ids(struct bed *b, uint64_t base, off_t at)
{
    char name[IDS_NAME];
    unsigned char c;
    int fd;

    ids_name(name, base);
    fd = openat(b->o.dir, name, O_RDWR);
    assert_int_equal(pread(fd, &c, 1, at), 1);
    c ^= 1;
    assert_int_equal(pwrite(fd, &c, 1, at), 1);
    close(fd);
}

static void remove_files(struct bed *b)
{
    char command[128];

    snprintf(command, sizeof command, "rm -rf '%s/ids'", b->path);
    assert_int_equal(system(command), 0);
}

/* The base of the second segment. */
static uint64_t second(struct bed *b)
{
    uint64_t below, above;

    assert_int_equal(segment_neighbours(b->o.dir, 1, &below, &above), 0);
    assert_int_equal(below, 1);
    return above;
}

/* ---- bytes ---- */

static void bytes_of_a_file(void **state)
{
    static const unsigned char header[48] = {
        'M', 'F', 'J', 'I', 'D', 'S', '\r', '\n', 1, 0, 0, 0, 0, 0, 0, 0,
        7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
        0x39, 0x30, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 3, 0, 0, 0
    };
    struct ids_file f = { .base = 12345, .epoch = 5, .count = 3 }, got;
    struct journal_record r = { .seq = 12345, .source = 0x01020304,
                                .flags = 9, .received_ms = 1000 };
    struct ids_list l = { 0 };
    unsigned char *p;
    uint32_t damaged;

    (void)state;
    memset(f.uuid, 7, 16);
    memset(r.id_hash, 0xab, 16);
    ids_list_add(&l, 12345, &r);
    r.seq += 2;
    r.received_ms = 900;
    ids_list_add(&l, 12345, &r);
    p = ids_file_make(&f, &l);
    assert_int_equal(ids_file_bytes(3), 64 + 32 + 3 * 32);
    assert_memory_equal(p, header, 12);
    assert_memory_equal(p + 16, header + 16, 32);
    assert_int_equal(p[48], 900 & 255);
    assert_int_equal(p[56], 1000 & 255);
    assert_int_equal(p[96], 0xab);
    assert_int_equal(p[96 + 16], 1000 & 255);
    assert_int_equal(p[96 + 24], 4);
    assert_int_equal(p[96 + 28], 9);
    assert_int_equal(p[96 + 32 + 24], 0); /* the number between was lost */
    assert_true(ids_file_check(p, ids_file_bytes(3), &got, &damaged));
    assert_int_equal(damaged, 0);
    assert_memory_equal(&got, &f, sizeof f);
    assert_false(ids_file_check(p, ids_file_bytes(3) - 1, &got, &damaged));
    for (size_t i = 0; i < 96; i++) { /* any byte of header and sums */
        p[i] ^= 0x40;
        assert_false(ids_file_check(p, ids_file_bytes(3), &got, &damaged));
        p[i] ^= 0x40;
    }
    free(p);
    ids_list_free(&l);
}

/* Damage hides its own block and no other entry. */
static void damaged_block(void **state)
{
    struct ids_file f = { .base = 1, .count = 3000 };
    struct ids_list l = { 0 };
    struct ids_entry one;
    unsigned char *p;
    uint32_t damaged;

    (void)state;
    for (uint64_t seq = 1; seq <= 3000; seq++) {
        struct journal_record r = { .seq = seq, .source = 1 };

        ids_list_add(&l, 1, &r);
    }
    p = ids_file_make(&f, &l);
    p[ids_file_entries(3000) + 1500 * IDS_ENTRY + 3] ^= 1;
    assert_true(ids_file_check(p, ids_file_bytes(3000), &f, &damaged));
    assert_int_equal(damaged, IDS_BLOCK);
    for (uint32_t i = 0; i < 3000; i++) {
        bool hidden = i >= IDS_BLOCK && i < 2 * IDS_BLOCK;

        ids_get(p + ids_file_entries(3000) + i * IDS_ENTRY, &one);
        assert_int_equal(one.source, hidden ? 0 : 1);
        assert_int_equal(one.flags == IDS_HIDDEN, hidden);
    }
    free(p);
    ids_list_free(&l);
}

static void hash_of_an_id(void **state)
{
    unsigned char uuid[16] = { 1 }, other[16] = { 2 }, a[16], b[16];
    char text[2000];

    (void)state;
    memset(text, 'x', sizeof text);
    for (size_t n = 0; n < sizeof text; n += n < 20 ? 1 : 97) {
        mf_str id = { text, n };

        ids_hash(uuid, 1, id, a);
        ids_hash(uuid, 1, id, b);
        assert_memory_equal(a, b, 16);
        ids_hash(uuid, 2, id, b);
        assert_memory_not_equal(a, b, 16);
        ids_hash(other, 1, id, b);
        assert_memory_not_equal(a, b, 16);
        id.len++;
        ids_hash(uuid, 1, id, b);
        assert_memory_not_equal(a, b, 16);
    }
}

/* ---- a good life ---- */

static void follows_segments(void **state)
{
    struct bed *b = *state;
    unsigned n;

    bed_open(b);
    append(b, 1000, 9);
    n = sealed(b);
    assert_true(n > 4);
    wait_files(b, n);
    expect_all_ids(b, 1000);
    append(b, 100, 7);
    expect_all_ids(b, 1100);
    bed_close(b);
    expect_all_ids(b, 1100);
    bed_reopen(b);
    expect_all_ids(b, 1100);
}

/* The tail is read on from where it was left, over the end of a segment. */
static void reader_follows(void **state)
{
    struct bed *b = *state;
    struct ids_reader *r;
    struct ids_entry one;
    uint64_t seq, to;

    bed_open(b);
    append(b, 1, 1);
    r = reader(b, false);
    ids_seek(r, 0, 0);
    for (uint64_t i = 1; i < 500; i++) {
        assert_int_equal(step(r, &seq, &to, &one), IDS_ENTRY_READ);
        assert_int_equal(seq, i);
        expect_entry(&one, i);
        assert_int_equal(step(r, &seq, &to, &one), IDS_END);
        append(b, 1, 1);
    }
    ids_reader_free(r);
}

static void finds_newest_first(void **state)
{
    struct bed *b = *state;
    struct ids_reader *r;
    unsigned char hash[16];
    struct err e = { "" };
    uint64_t seqs[8];
    size_t n;

    bed_open(b);
    append(b, 1000, 9);
    r = reader(b, false);
    memset(hash, 5, sizeof hash); /* the bed's ids repeat after 256 */
    assert_int_equal(ids_find(r, hash, seqs, 8, &n, &e), 0);
    assert_int_equal(n, 4);
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(seqs[i], 5 + 256 * (3 - i));
    assert_int_equal(ids_find(r, hash, seqs, 2, &n, &e), 0);
    assert_int_equal(n, 2);
    assert_int_equal(seqs[0], 5 + 256 * 3);
    hash[3] = 6;
    assert_int_equal(ids_find(r, hash, seqs, 8, &n, &e), 0);
    assert_int_equal(n, 0);
    ids_reader_free(r);
}

/* ---- retention ---- */

/* What a lane lost to retention can be counted for each source. */
static void counts_what_is_gone(void **state)
{
    struct bed *b = *state;
    struct ids_reader *r;
    uint64_t first;

    b->o.max_bytes = 4 * b->o.segment_bytes;
    b->o.ids_keep_ms = FOR_EVER;
    bed_open(b);
    append(b, 3000, 9);
    journal_retain(b->j);
    first = atomic_load(&b->head.first);
    assert_true(first > 1000);
    r = reader(b, false);
    for (uint32_t source = 1; source <= 4; source++) {
        struct ids_count c = count(r, source, 1, first - 1);

        assert_int_equal(c.count, of_source(source, 1, first - 1));
        assert_int_equal(c.lost + c.unknown, 0);
        c = count(r, source, 17, 2999);
        assert_int_equal(c.count, of_source(source, 17, 2999));
    }
    expect_ids(r, 1, 3000);
    ids_reader_free(r);
    bed_close(b);
    bed_reopen(b); /* finds them again, and their limits hold */
    journal_keep_ids(b->j, FOR_EVER, 20000);
    wait_files(b, sealed(b) + 20000 / (unsigned)ids_file_bytes(130));
    journal_keep_ids(b->j, 1, 0);
    wait_files(b, sealed(b));
    r = reader(b, false);
    assert_int_equal(count(r, 1, 1, 3000).unknown,
                     atomic_load(&b->head.first) - 1);
    ids_reader_free(r);
}

/* ---- damage ---- */

static void missing_files(void **state)
{
    struct bed *b = *state;
    size_t n, n_again;
    char *old, *again;
    unsigned files;

    bed_open(b);
    append(b, 1000, 9);
    files = sealed(b);
    wait_files(b, files);
    old = slurp(b, second(b), &n);
    bed_close(b);
    remove_files(b);
    expect_all_ids(b, 1000);
    bed_reopen(b);
    expect_all_ids(b, 1000);
    wait_files(b, files);
    again = slurp(b, second(b), &n_again);
    assert_int_equal(n, n_again);
    assert_memory_equal(old, again, n);
    free(old);
    free(again);
}

/* One way to spoil the second segment's file. */
static void spoil(struct bed *b, int kind, size_t size)
{
    static const char zeros[100];
    char path[128], name[IDS_NAME];
    int fd;

    ids_name(name, second(b));
    snprintf(path, sizeof path, "%s/%s", b->path, name);
    if (kind == 0)
        assert_int_equal(truncate(path, (off_t)size / 2), 0);
    else if (kind == 1)
        flip_ids(b, second(b), 45); /* the header */
    else if (kind == 2)
        flip_ids(b, second(b), (off_t)size - 40); /* an entry */
    else if (kind == 3)
        assert_int_equal(truncate(path, 0), 0);
    if (kind < 4)
        return;
    fd = openat(b->o.dir, name, O_RDWR | O_TRUNC);
    assert_int_equal(write(fd, zeros, sizeof zeros), (ssize_t)sizeof zeros);
    close(fd);
}

/* Rounds of the keeper until the file has these bytes. */
static void wait_bytes(struct bed *b, uint64_t base, const char *want,
                       size_t size)
{
    for (int i = 0; i < ROUNDS; i++) {
        size_t n;
        char *bytes;
        bool same;

        journal_retain(b->j);
        bytes = slurp(b, base, &n);
        same = n == size && memcmp(bytes, want, n) == 0;
        free(bytes);
        if (same)
            return;
    }
    fail_msg("the file of segment %llu was not made again",
             (unsigned long long)base);
}

static void damaged_files(void **state)
{
    struct bed *b = *state;
    char *old;
    size_t n;

    bed_open(b);
    append(b, 1000, 9);
    wait_files(b, sealed(b));
    old = slurp(b, second(b), &n);
    for (int kind = 0; kind <= 4; kind++) {
        spoil(b, kind, n);
        expect_all_ids(b, 1000); /* by the segment */
        bed_close(b);
        bed_reopen(b);
        wait_bytes(b, second(b), old, n);
    }
    free(old);
}

/* A file of another life of the number, as after a restored backup. */
static void foreign_file(void **state)
{
    struct bed *b = *state;
    struct ids_file f = { .base = 0 };
    struct ids_list l = { 0 };
    char name[IDS_NAME], *old;
    unsigned char *bytes;
    struct err e;
    size_t n;

    bed_open(b);
    append(b, 1000, 9);
    wait_files(b, sealed(b));
    old = slurp(b, second(b), &n);
    assert_true(ids_file_header((unsigned char *)old, n, &f));
    f.epoch++;
    bytes = ids_file_make(&f, &l);
    ids_name(name, f.base);
    assert_int_equal(io_replace_file(b->o.dir, name, bytes, n, 0600, &e), 0);
    free(bytes);
    f.base = 5000; /* the journal has not come so far */
    bytes = ids_file_make(&f, &l);
    ids_name(name, f.base);
    assert_int_equal(io_replace_file(b->o.dir, name, bytes, n, 0600, &e), 0);
    free(bytes);
    expect_all_ids(b, 1000);
    bed_close(b);
    bed_reopen(b);
    wait_files(b, sealed(b)); /* one was removed, */
    wait_bytes(b, second(b), old, n); /* the other made again */
    expect_all_ids(b, 1000);
    free(old);
}

/* With the segment gone, what a damaged block hid is told as unknown. */
static void damage_without_segment(void **state)
{
    struct bed *b = *state;
    struct ids_reader *r;
    struct ids_entry one;
    struct ids_count c;
    uint64_t seq, to, base;
    size_t n;

    bed_open(b);
    append(b, 1000, 9);
    wait_files(b, sealed(b));
    base = second(b);
    free(slurp(b, base, &n));
    bed_close(b);
    b->o.max_bytes = 2 * b->o.segment_bytes;
    b->o.ids_keep_ms = FOR_EVER;
    bed_reopen(b);
    append(b, 1, 1);
    journal_retain(b->j);
    assert_true(atomic_load(&b->head.first) > base);
    flip_ids(b, base, (off_t)n - 40);
    r = reader(b, false);
    c = count(r, 1, 1, 1000);
    assert_int_equal(c.unknown, (n - ids_file_entries(1)) / IDS_ENTRY);
    assert_int_equal(c.count, of_source(1, 1, base - 1) +
                                  of_source(1, base + c.unknown, 1000));
    ids_seek(r, base - 1, base + 5);
    assert_int_equal(step(r, &seq, &to, &one), IDS_ENTRY_READ);
    assert_int_equal(step(r, &seq, &to, &one), IDS_UNKNOWN);
    assert_int_equal(seq, base);
    assert_int_equal(to, base + 5);
    assert_int_equal(step(r, &seq, &to, &one), IDS_END);
    ids_reader_free(r);
}

/* Numbers that damage took from a segment are lost, not unknown. */
static void lost_numbers(void **state)
{
    struct bed *b = *state;
    struct ids_reader *r;
    struct ids_count c;
    uint64_t seq;

    bed_open(b);
    append(b, 1000, 9);
    seq = second(b) + 20;
    flip(b, second(b), place(b, seq).offset + RECORD_HEADER + 3);
    bed_close(b);
    remove_files(b);
    for (int i = 0; i < 2; i++) {
        r = reader(b, i == 0);
        c = count(r, (uint32_t)(seq % 3 + 1), 1, 1000);
        assert_int_equal(c.count,
                         of_source((uint32_t)(seq % 3 + 1), 1, 1000) - 1);
        assert_int_equal(c.lost, 1);
        assert_int_equal(c.unknown, 0);
        ids_reader_free(r);
        if (i == 0) {
            bed_reopen(b);
            wait_files(b, sealed(b));
        }
    }
}

/* ---- a disk that will not have it ---- */

static void disk_faults(void **state)
{
    struct bed *b = *state;
    uint64_t last = 0;

    bed_open(b);
    for (enum fault f = NO_FILE; f <= NO_NAME; f++) {
        unsigned before = count_files(b, "ids", ".ids");

        fault = f;
        append(b, 500, 9); /* ingest does not notice */
        last += 500;
        journal_retain(b->j);
        assert_int_equal(count_files(b, "ids", ".ids"), before);
        expect_all_ids(b, last);
        fault = NONE;
        clock_mono_skew_ms += 11000; /* then it is tried again */
        wait_files(b, sealed(b));
        assert_int_equal(count_files(b, "ids", ".new"), 0);
        expect_all_ids(b, last);
    }
}

/* What cannot be written when retention takes the segment is told. */
static void full_disk_and_retention(void **state)
{
    struct bed *b = *state;
    struct ids_reader *r;
    uint64_t first;

    fault = NO_FILE;
    b->o.max_bytes = 3 * b->o.segment_bytes;
    bed_open(b);
    append(b, 1000, 9);
    journal_retain(b->j);
    first = atomic_load(&b->head.first);
    assert_true(first > 100);
    r = reader(b, false);
    assert_int_equal(count(r, 2, 1, 1000).unknown, first - 1);
    assert_int_equal(count(r, 2, 1, 1000).count, of_source(2, first, 1000));
    ids_reader_free(r);
}

/* The last chance: retention takes what has no file at open. */
static void written_before_retention(void **state)
{
    struct bed *b = *state;
    struct ids_reader *r;

    bed_open(b);
    append(b, 1000, 9);
    bed_close(b);
    remove_files(b);
    b->o.max_bytes = 3 * b->o.segment_bytes;
    b->o.ids_keep_ms = FOR_EVER;
    bed_reopen(b);
    journal_retain(b->j);
    assert_true(atomic_load(&b->head.first) > 300);
    r = reader(b, false);
    assert_int_equal(count(r, 2, 1, 1000).count, of_source(2, 1, 1000));
    ids_reader_free(r);
}

/* ---- a reader beside the keeper ---- */

struct racer {
    struct bed *b;
    _Atomic bool stop;
    uint64_t looks;
};

static void *race(void *arg)
{
    struct racer *x = arg;
    struct ids_reader *r = reader(x->b, false);

    while (!x->stop || x->looks < 3) {
        uint64_t to = atomic_load(&x->b->head.durable);
        struct ids_count c = count(r, 2, 1, to);

        assert_int_equal(c.lost + c.unknown, 0);
        assert_int_equal(c.count, of_source(2, 1, to));
        x->looks++;
    }
    ids_reader_free(r);
    return NULL;
}

static void reader_races_keeper(void **state)
{
    struct bed *b = *state;
    struct racer x = { .b = b };
    pthread_t t;

    b->o.max_bytes = 3 * b->o.segment_bytes;
    b->o.ids_keep_ms = FOR_EVER;
    bed_open(b);
    append(b, 10, 1);
    assert_int_equal(pthread_create(&t, NULL, race, &x), 0);
    for (int i = 0; i < 60; i++) {
        append(b, 100, 20);
        journal_retain(b->j);
    }
    x.stop = true;
    pthread_join(t, NULL);
    assert_true(atomic_load(&b->head.first) > 5000);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, ids_new, bed_free)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_of_a_file), cmocka_unit_test(damaged_block),
        cmocka_unit_test(hash_of_an_id),   TEST(follows_segments),
        TEST(reader_follows),              TEST(finds_newest_first),
        TEST(counts_what_is_gone),         TEST(missing_files),
        TEST(damaged_files),               TEST(foreign_file),
        TEST(damage_without_segment),      TEST(lost_numbers),
        TEST(disk_faults),                 TEST(full_disk_and_retention),
        TEST(written_before_retention),
        TEST(reader_races_keeper),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
