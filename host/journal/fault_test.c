/* SPDX-License-Identifier: Apache-2.0
 *
 * fault_test.c - disks that are full, fail, tear and rot: what the journal
 * answers, and what it must still have afterwards. */
#include "journal/testbed.h"

#include "base/log.h"

#include <sys/stat.h>

/* ---- the seam ---- */

static _Atomic int fail_data_syncs; /* so many fail; -1: all */
static _Atomic int fail_writes;     /* the same, after half of the bytes */
static _Atomic bool disk_full;      /* no file can be made or grow */
static _Atomic int fds_synced_after_failure;
static _Atomic int failed_fd;
static _Atomic uint64_t unreadable_from; /* in any file; 0: nothing is */

static bool spend(_Atomic int *n)
{
    int left = atomic_load(n);

    if (left > 0)
        atomic_store(n, left - 1);
    return left != 0;
}

static int f_fdatasync(int fd)
{
    if (atomic_load(&failed_fd) == fd)
        atomic_fetch_add(&fds_synced_after_failure, 1);
    if (spend(&fail_data_syncs)) {
        atomic_store(&failed_fd, fd);
        errno = EIO;
        return -1;
    }
    return fdatasync(fd);
}

static ssize_t f_pwrite(int fd, const void *from, size_t n, off_t at)
{
    if (disk_full) {
        struct stat st;

        fstat(fd, &st);
        if (at + (off_t)n > st.st_size) {
            errno = ENOSPC;
            return -1;
        }
    }
    if (n > SEGMENT_HEADER || atomic_load(&fail_writes) == 0 ||
        !spend(&fail_writes))
        return pwrite(fd, from, n, at);
    if (n > 1 && pwrite(fd, from, n / 2, at) < 0)
        return -1;
    errno = EIO;
    return -1;
}

static int f_allocate(int fd, off_t size)
{
    if (disk_full) {
        errno = ENOSPC;
        return -1;
    }
    return posix_fallocate(fd, 0, size);
}

static ssize_t f_pread(int fd, void *to, size_t n, off_t at)
{
    uint64_t from = atomic_load(&unreadable_from);

    if (from && at + (off_t)n > (off_t)from) {
        errno = EIO;
        return -1;
    }
    return pread(fd, to, n, at);
}

static int f_openat(int dir, const char *path, int flags, mode_t mode)
{
    int fd = openat(dir, path, flags, mode);

    /* A number that is given again is another file. */
    if (fd >= 0 && atomic_load(&failed_fd) == fd)
        atomic_store(&failed_fd, -1);
    return fd;
}

static int faults_new(void **state)
{
    fail_data_syncs = fail_writes = 0;
    disk_full = false;
    failed_fd = -1;
    unreadable_from = 0;
    fds_synced_after_failure = 0;
    io = io_real;
    io.fdatasync = f_fdatasync;
    io.pwrite = f_pwrite;
    io.openat = f_openat;
    io.pread = f_pread;
    io.allocate = f_allocate;
    return bed_new(state);
}

/* ---- a full disk ---- */

static void wait_not_full(struct bed *b)
{
    pthread_mutex_lock(&b->lock);
    while (atomic_load(&b->head.full)) {
        pthread_mutex_unlock(&b->lock);
        journal_retain(b->j); /* a round of the keeper tries again */
        pthread_mutex_lock(&b->lock);
    }
    pthread_mutex_unlock(&b->lock);
}

/* Appends one at a time until it is refused; what was taken and lost counts
 * as refused. Returns the last durable number. */
static uint64_t append_until_refused(struct bed *b, enum journal_state *s)
{
    for (;;) {
        uint64_t seq = atomic_load(&b->head.durable) + 1, failed = 0;

        *s = add(b, &seq);
        if (*s != JOURNAL_OK)
            return atomic_load(&b->head.durable);
        journal_flush(b->j);
        pthread_mutex_lock(&b->lock);
        while (atomic_load(&b->head.durable) < seq && !failed) {
            failed = journal_failed_from(b->j);
            if (!failed)
                pthread_cond_wait(&b->moved, &b->lock);
        }
        pthread_mutex_unlock(&b->lock);
        if (failed)
            assert_int_equal(failed, seq);
    }
}

static void full_disk(void **state)
{
    struct bed *b = *state;
    uint64_t last = 0;

    bed_open(b);
    append(b, 10, 1);
    for (int episode = 0; episode < 3; episode++) {
        enum journal_state s;

        disk_full = true;
        last = append_until_refused(b, &s);
        assert_int_equal(s, JOURNAL_FULL);
        assert_int_equal(atomic_load(&b->head.full), 1);
        assert_int_equal(atomic_load(&b->head.poisoned), 0);
        expect_all(b, 1, last); /* reading goes on */
        disk_full = false;
        wait_not_full(b);
        append(b, 50, 5);
    }
    expect_all(b, 1, last + 50);
    bed_close(b);
    bed_reopen(b);
    expect_all(b, 1, last + 50);
}

static void remove_spares(struct bed *b)
{
    char name[32];

    for (unsigned i = 1; count_files(b, ".", ".spare"); i++) {
        snprintf(name, sizeof name, "%08u.spare", i);
        unlinkat(b->o.dir, name, 0);
    }
}

/* No segment can be had from the very start; the process must still run. */
static void full_at_open(void **state)
{
    struct bed *b = *state;
    enum journal_state s;

    bed_open(b); /* makes journal.meta */
    bed_close(b);
    remove_spares(b);
    disk_full = true;
    bed_open(b);
    assert_int_equal(append_until_refused(b, &s), 0);
    assert_int_equal(s, JOURNAL_FULL);
    disk_full = false;
    wait_not_full(b);
    append(b, 20, 3);
    expect_all(b, 1, 20);
}

/* ---- failed syncs and writes ---- */

/* A group goes in, its commit fails: told once, with the right number. */
static void lose_group(struct bed *b, unsigned n)
{
    uint64_t first = atomic_load(&b->head.durable) + 1, failed = 0;

    for (uint64_t i = first; i < first + n; i++) {
        uint64_t seq = i;

        assert_int_equal(add(b, &seq), JOURNAL_OK);
        assert_int_equal(seq, i);
    }
    journal_flush(b->j);
    pthread_mutex_lock(&b->lock);
    while (!(failed = journal_failed_from(b->j)))
        pthread_cond_wait(&b->moved, &b->lock);
    pthread_mutex_unlock(&b->lock);
    assert_int_equal(failed, first);
    assert_int_equal(journal_failed_from(b->j), 0);
    assert_int_equal(atomic_load(&b->head.durable), first - 1);
}

static void wait_healthy(struct bed *b)
{
    pthread_mutex_lock(&b->lock);
    while (atomic_load(&b->head.poisoned))
        pthread_cond_wait(&b->moved, &b->lock);
    pthread_mutex_unlock(&b->lock);
}

static void failed_sync(void **state)
{
    struct bed *b = *state;
    struct journal_reader *r;
    struct journal_record rec;
    uint64_t lost[2];

    bed_open(b);
    append(b, 20, 4);
    r = journal_reader_new(b->o.dir, &b->head);
    for (int i = 0; i < 20; i++)
        assert_int_equal(next(r, 0, &rec, lost), JOURNAL_RECORD);
    fail_data_syncs = 1;
    lose_group(b, 5);
    wait_healthy(b);
    append(b, 30, 7);
    expect_all(b, 1, 50);
    /* The reader stood right before the records that never were. */
    for (uint64_t seq = 21; seq <= 50; seq++) {
        assert_int_equal(next(r, 0, &rec, lost), JOURNAL_RECORD);
        expect_record(&rec, seq);
    }
    journal_reader_free(r);
    assert_int_equal(fds_synced_after_failure, 0);
    assert_int_equal(count_files(b, "quarantine", ".bad"), 0);
    bed_kill(b);
    bed_reopen(b);
    assert_int_equal(atomic_load(&b->head.durable), 50);
    expect_all(b, 1, 50);
}

/* A number is not given again before its loss was taken notice of: its first
 * user would take the second one's commit for his own. */
static void loss_is_told_first(void **state)
{
    struct bed *b = *state;
    uint64_t seq = 21;

    bed_open(b);
    append(b, 20, 4);
    fail_data_syncs = 1;
    assert_int_equal(add(b, &seq), JOURNAL_OK);
    journal_flush(b->j);
    wait_tail(b, 21); /* it has recovered */
    wait_healthy(b);
    seq = 21;
    assert_int_equal(add(b, &seq), JOURNAL_FAILED);
    assert_int_equal(journal_failed_from(b->j), 21);
    append(b, 5, 5);
    expect_all(b, 1, 25);
}

/* The first batch of a segment fails: its successor takes its name. A reader
 * that had it open must not read the void file. */
static void failed_first_batch(void **state)
{
    struct bed *b = *state;

    bed_open(b);
    append(b, 1, 1);
    fail_data_syncs = 1;
    lose_group(b, 3); /* 2.. fails, goes on in segment 2 */
    wait_healthy(b);
    fail_data_syncs = 1;
    lose_group(b, 3); /* 2.. fails in segment 2, which is replaced */
    wait_healthy(b);
    append(b, 10, 2);
    expect_all(b, 1, 11);
    bed_close(b);
    bed_reopen(b);
    expect_all(b, 1, 11);
}

static void short_write(void **state)
{
    struct bed *b = *state;

    bed_open(b);
    append(b, 20, 4);
    fail_writes = 1;
    lose_group(b, 4);
    wait_healthy(b);
    append(b, 20, 4);
    expect_all(b, 1, 40);
    assert_int_equal(fds_synced_after_failure, 0);
    bed_kill(b);
    bed_reopen(b);
    expect_all(b, 1, 40);
}

static void sync_fails_for_a_while(void **state)
{
    struct bed *b = *state;
    uint64_t seq = 21;

    bed_open(b);
    append(b, 20, 4);
    fail_data_syncs = -1;
    lose_group(b, 4);
    assert_int_equal(atomic_load(&b->head.poisoned), 1);
    assert_int_equal(add(b, &seq), JOURNAL_FAILED);
    expect_all(b, 1, 20);
    fail_data_syncs = 0;
    wait_healthy(b);
    append(b, 20, 4);
    expect_all(b, 1, 40);
    bed_close(b);
    bed_reopen(b);
    expect_all(b, 1, 40);
}

/* Closing while nothing can be synced ends all the same. What was refused may
 * have reached the disk, and is then found whole. */
static void close_while_failed(void **state)
{
    struct bed *b = *state;

    bed_open(b);
    append(b, 20, 4);
    fail_data_syncs = -1;
    lose_group(b, 4);
    bed_close(b);
    fail_data_syncs = 0;
    bed_reopen(b);
    assert_in_range(atomic_load(&b->head.durable), 20, 24);
    append(b, 20, 4);
    expect_all(b, 1, atomic_load(&b->head.durable));
}

/* ---- torn tails ---- */

/* The file as it is, to be put back. */
static unsigned char *snapshot(struct bed *b, uint64_t base)
{
    unsigned char *bytes = xmalloc(b->o.segment_bytes);
    int fd = bed_file(b, base, O_RDONLY);

    assert_int_equal(pread(fd, bytes, b->o.segment_bytes, 0),
                     (ssize_t)b->o.segment_bytes);
    close(fd);
    return bytes;
}

/* Everything from each byte of the last batch on never arrived: the batch
 * goes, and nothing else, and no damage is claimed. */
static void torn_at_every_byte(void **state)
{
    struct bed *b = *state;
    uint64_t from, to;
    unsigned char *was, *zeros = xcalloc(1, SEGMENT_LEAST);

    b->o.segment_bytes = SEGMENT_LEAST;
    bed_open(b);
    append(b, 12, 4);
    from = atomic_load(&b->head.tail_end);
    append(b, 2, 2);
    to = atomic_load(&b->head.tail_end);
    bed_kill(b);
    was = snapshot(b, 1);
    for (uint64_t at = from; at < to; at++) {
        poke(b, 1, 0, was, SEGMENT_LEAST);
        poke(b, 1, at, zeros, to - at);
        bed_reopen(b);
        /* The padding of the last record is zeros anyway. */
        if (to - at > 7)
            assert_int_equal(atomic_load(&b->head.durable), 12);
        if (at == from || at + 1 == to || (at - from) % 97 == 0)
            expect_all(b, 1, atomic_load(&b->head.durable));
        bed_kill(b);
    }
    assert_int_equal(count_files(b, "quarantine", ".bad"), 0);
    free(was);
    free(zeros);
}

/* ---- rot in acknowledged data ---- */

/* The offset behind the bytes of record `seq` that its sum covers. */
static uint64_t end_of(struct bed *b, uint64_t seq)
{
    char text[1024];

    return place(b, seq).offset + RECORD_HEADER + payload(text, seq);
}

/* One byte at a time, over two records and the batch header between them, in
 * the last segment: each costs the record it is in and no more. */
static void rot_in_the_tail(void **state)
{
    struct bed *b = *state;
    unsigned char *was;
    uint64_t from, end8, begin9, end9;

    b->o.segment_bytes = SEGMENT_LEAST;
    bed_open(b);
    append(b, 16, 4); /* 5 6 7 8 | 9 10 11 12 | ... */
    from = place(b, 8).offset;
    end8 = end_of(b, 8);
    begin9 = place(b, 9).offset;
    end9 = end_of(b, 9);
    bed_kill(b);
    was = snapshot(b, 1);
    for (uint64_t at = from; at < end9; at++) {
        poke(b, 1, 0, was, SEGMENT_LEAST);
        flip(b, 1, at);
        bed_reopen(b);
        assert_int_equal(atomic_load(&b->head.durable), 16);
        if (at < end8)
            expect_but(b, 1, 8, 8, 16);
        else if (at < begin9)
            expect_all(b, 1, 16); /* padding and the batch header */
        else
            expect_but(b, 1, 9, 9, 16);
        append(b, 1, 1); /* and it goes on behind */
        bed_kill(b);
    }
    assert_true(count_files(b, "quarantine", ".bad") >= 2);
    free(was);
}

/* A copy of what was damaged is kept, and a line says why. */
static void quarantine_keeps_a_copy(void **state)
{
    struct bed *b = *state;
    char name[64], text[4096];
    uint64_t at;
    ssize_t n;
    int fd;

    bed_open(b);
    append(b, 16, 4);
    at = place(b, 6).offset;
    bed_kill(b);
    flip(b, 1, at + RECORD_HEADER + 3);
    bed_reopen(b);
    snprintf(name, sizeof name, "quarantine/%020d-%08d.bad", 1, (int)at);
    fd = openat(b->o.dir, name, O_RDONLY);
    assert_true(fd >= 0);
    n = read(fd, text, sizeof text - 1);
    close(fd);
    assert_true(n > 0);
    text[n] = 0;
    assert_non_null(strstr(text, "acknowledged records 6 to 6 are damaged"));
    assert_non_null(memmem(text, (size_t)n, "\"x\":\"g", 6));
}

/* Sealed segments are not scanned at open: the reader finds the damage. */
static void rot_in_a_sealed_segment(void **state)
{
    struct bed *b = *state;
    struct journal_pos a, c;

    bed_open(b);
    append(b, 600, 5);
    a = place(b, 20);
    c = place(b, 24);
    bed_close(b);
    bed_reopen(b);
    flip(b, a.segment, a.offset + 60);
    expect_but(b, 1, 20, 20, 600);
    expect_but(b, 20, 20, 20, 600);
    poke(b, a.segment, a.offset, (char[4096]){ 0 }, c.offset - a.offset);
    expect_but(b, 1, 20, 23, 600);
    expect_all(b, 24, 600);
}

/* A whole end of a segment is gone: told up to the next segment's base. */
static void rot_to_the_end(void **state)
{
    struct bed *b = *state;
    unsigned char *zeros = xcalloc(1, 64 << 10);
    struct journal_pos a, c;
    uint64_t last = 1;

    bed_open(b);
    append(b, 600, 5);
    a = place(b, 20);
    while ((c = place(b, last + 1)).segment == a.segment)
        last++;
    bed_close(b);
    bed_reopen(b);
    poke(b, a.segment, a.offset, zeros, (64 << 10) - a.offset);
    expect_but(b, 1, 20, last, 600);
    /* Without its footer it is scanned at open, with the same result. */
    bed_close(b);
    bed_reopen(b);
    assert_int_equal(count_files(b, "quarantine", ".bad"), 1);
    expect_but(b, 1, 20, last, 600);
    free(zeros);
}

/* The last batch before a clean end is proven by it: rot, not a torn tail. */
static void rot_before_a_clean_end(void **state)
{
    struct bed *b = *state;
    uint64_t at;

    bed_open(b);
    append(b, 16, 4);
    at = place(b, 16).offset;
    bed_close(b);
    flip(b, 1, at + 60);
    bed_reopen(b);
    assert_int_equal(atomic_load(&b->head.durable), 16);
    expect_but(b, 1, 16, 16, 16);
    append(b, 4, 4);
    expect_but(b, 1, 16, 16, 20);
}

/* The writer was killed, the shared page lives on and knows what was durable:
 * numbers that were acknowledged are not given again. */
static void head_proves_the_tail(void **state)
{
    struct bed *b = *state;
    uint64_t at;

    bed_open(b);
    append(b, 16, 4);
    at = place(b, 14).offset;
    bed_kill(b);
    poke(b, 1, at, (char[8192]){ 0 }, 8192);
    bed_open(b);
    assert_int_equal(atomic_load(&b->head.durable), 16);
    append(b, 4, 4);
    expect_but(b, 1, 14, 16, 20);
    bed_close(b);
    bed_reopen(b);
    expect_but(b, 1, 14, 16, 20);
}

/* Blocks that cannot be read at open are not a torn tail: nothing is cut off,
 * no number is used again, and when they can be read, all is there. */
static void unreadable_tail(void **state)
{
    struct bed *b = *state;
    uint64_t next_free, at;

    bed_open(b);
    append(b, 60, 4);
    at = place(b, 40).offset;
    bed_kill(b);
    unreadable_from = at;
    bed_reopen(b);
    next_free = atomic_load(&b->head.durable) + 1;
    assert_true(next_free > 60);
    unreadable_from = 0;
    append(b, 10, 5);
    expect_but(b, 1, 61, next_free - 1, next_free + 9);
    bed_close(b);
    bed_reopen(b);
    expect_but(b, 1, 61, next_free - 1, next_free + 9);
}

/* Another file under a segment's name is told from the one that was there. */
static void exchanged_segment(void **state)
{
    struct bed *b = *state;
    struct segment s;
    struct segment_index ix;
    unsigned char *bytes;
    char text[1024];
    struct err e;
    ssize_t n;
    int fd, err;

    bed_open(b);
    append(b, 900, 5);
    bed_close(b);
    bytes = snapshot(b, 1);
    assert_int_equal(header_get(bytes, &s, &e), 0);
    assert_true(footer_get(bytes + s.end, &s, &ix));
    ix.sum++;
    footer_put(bytes + s.end, &s, &ix);
    index_deinit(&ix);
    poke(b, 1, 0, bytes, b->o.segment_bytes);
    free(bytes);
    fd = openat(b->o.dir, "log", O_RDWR | O_CREAT, 0600);
    err = dup(2);
    dup2(fd, 2);
    bed_reopen(b);
    dup2(err, 2);
    close(err);
    n = pread(fd, text, sizeof text - 1, 0);
    close(fd);
    assert_true(n > 0);
    text[n] = 0;
    assert_non_null(strstr(text, "segment 1 is not the one that stood"));
    expect_all(b, 1, 900);
}

static void damaged_header(void **state)
{
    struct bed *b = *state;
    struct journal_pos a;

    bed_open(b);
    append(b, 600, 5);
    a = place(b, 300);
    bed_close(b);
    flip(b, a.segment, 40);
    bed_reopen(b);
    expect_all(b, 1, 600);
    flip(b, a.segment, 40); /* now while it is open: readers go by its name */
    expect_all(b, 1, 600);
    a.segment = atomic_load(&b->head.tail);
    bed_close(b);
    flip(b, a.segment, 9);
    bed_reopen(b);
    expect_all(b, 1, 600);
    append(b, 10, 5);
    expect_all(b, 1, 610);
}

static uint32_t epoch_now(struct bed *b)
{
    unsigned char bytes[META_BYTES], uuid[16];
    int fd = openat(b->o.dir, "journal.meta", O_RDONLY);
    uint32_t epoch = 0;
    uint64_t seq;

    assert_int_equal(read(fd, bytes, sizeof bytes), META_BYTES);
    close(fd);
    assert_true(meta_get(bytes, uuid, &epoch, &seq));
    return epoch;
}

static void lost_meta(void **state)
{
    struct bed *b = *state;
    uint32_t epoch = 0;

    for (int i = 0; i < 4; i++) {
        bed_reopen(b);
        assert_true(epoch_now(b) > epoch);
        epoch = epoch_now(b);
        append(b, 200, 5);
        bed_close(b);
        if (i == 1)
            unlinkat(b->o.dir, "journal.meta", 0);
        if (i == 2) {
            int fd = openat(b->o.dir, "journal.meta", O_WRONLY | O_TRUNC);

            assert_int_equal(write(fd, "what", 4), 4);
            close(fd);
        }
    }
    bed_reopen(b);
    expect_all(b, 1, 800);
}

/* What is not ours is neither read nor changed. */
static void foreign_files(void **state)
{
    struct bed *b = *state, *other;
    unsigned char *bytes;
    struct err e = { "" };
    int fd;

    bed_open(b);
    append(b, 600, 5);
    bed_close(b);
    bed_new((void **)&other);
    bed_open(other);
    append(other, 10, 5);
    bed_close(other);
    bytes = snapshot(other, 1);
    bed_free((void **)&other);
    poke(b, 1, 0, bytes, b->o.segment_bytes);
    assert_null(journal_open(&b->o, &e));
    assert_non_null(strstr(e.text, "belongs to another journal"));
    fd = bed_file(b, 1, O_RDONLY);
    assert_int_equal(pread(fd, bytes, 16, 0), 16);
    close(fd);
    assert_memory_equal(bytes, "MFJSEG\r\n\1\0\0\0", 12);
    free(bytes);
}

#define T(f) cmocka_unit_test_setup_teardown(f, faults_new, bed_free)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(full_disk),
        T(full_at_open),
        T(failed_sync),
        T(loss_is_told_first),
        T(failed_first_batch),
        T(short_write),
        T(sync_fails_for_a_while),
        T(close_while_failed),
        T(torn_at_every_byte),
        T(rot_in_the_tail),
        T(quarantine_keeps_a_copy),
        T(rot_in_a_sealed_segment),
        T(rot_to_the_end),
        T(rot_before_a_clean_end),
        T(head_proves_the_tail),
        T(unreadable_tail),
        T(exchanged_segment),
        T(damaged_header),
        T(lost_meta),
        T(foreign_files),
    };

    log_level(LOG_L_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
