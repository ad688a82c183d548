/* SPDX-License-Identifier: Apache-2.0
 *
 * open_test.c - what an open costs: the last segment is read, of the others
 * only what they begin and end with, however many there are; and a disk that
 * is full does not keep a journal shut. */
#include "journal/testbed.h"

#include <sys/stat.h>

/* By the thread that opens; the keeper may have reading of its own to do. */
static _Thread_local uint64_t bytes_read;
static bool full;

static ssize_t f_pread(int fd, void *to, size_t n, off_t at)
{
    bytes_read += n;
    return pread(fd, to, n, at);
}

static int f_openat(int dir, const char *path, int flags, mode_t mode)
{
    if (full && (flags & O_CREAT) && faccessat(dir, path, F_OK, 0) != 0) {
        errno = ENOSPC;
        return -1;
    }
    return openat(dir, path, flags, mode);
}

static ssize_t f_pwrite(int fd, const void *from, size_t n, off_t at)
{
    struct stat st;

    if (full && fstat(fd, &st) == 0 && at + (off_t)n > st.st_size) {
        errno = ENOSPC;
        return -1;
    }
    return pwrite(fd, from, n, at);
}

static int setup(void **state)
{
    io = io_real;
    io.pread = f_pread;
    io.openat = f_openat;
    io.pwrite = f_pwrite;
    full = false;
    return bed_new(state);
}

static uint64_t cost_of_open(struct bed *b)
{
    uint64_t before;

    bed_close(b);
    before = bytes_read;
    bed_reopen(b);
    return bytes_read - before;
}

static unsigned segments(struct bed *b)
{
    return count_files(b, ".", ".seg");
}

static void many_segments_cost_little(void **state)
{
    struct bed *b = *state;
    uint64_t one, many;
    unsigned n;

    bed_open(b);
    append(b, 10, 5);
    assert_int_equal(segments(b), 1);
    one = cost_of_open(b);
    while ((n = segments(b)) < 100)
        append(b, 100, 20);
    many = cost_of_open(b);
    print_message("open reads %llu bytes of 1 segment, %llu of %u\n",
                  (unsigned long long)one, (unsigned long long)many, n);
    /* A header and the fixed part of a footer each. */
    assert_true(many - one <= n * (SEGMENT_HEADER + FOOTER_FIXED));
    assert_true(one >= b->o.segment_bytes);
}

static void opens_on_a_full_disk(void **state)
{
    struct bed *b = *state;
    enum journal_state s;
    uint64_t seq = 51;

    bed_open(b);
    append(b, 50, 5);
    bed_kill(b);
    unlinkat(b->o.dir, "00000001.spare", 0);
    unlinkat(b->o.dir, "00000002.spare", 0);
    unlinkat(b->o.dir, "00000003.spare", 0);
    full = true;
    bed_reopen(b);
    expect_all(b, 1, 50);
    s = add(b, &seq); /* there is room in the last segment */
    assert_int_equal(s, JOURNAL_OK);
    journal_flush(b->j);
    wait_durable(b, 51);
    full = false;
    append(b, 100, 5);
    expect_all(b, 1, 151);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(many_segments_cost_little, setup,
                                        bed_free),
        cmocka_unit_test_setup_teardown(opens_on_a_full_disk, setup,
                                        bed_free),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
