/* SPDX-License-Identifier: Apache-2.0
 *
 * full_test.c - a disk that fills up and has space again at the worst moment:
 * between the commit thread's finding that there is no spare segment and its
 * saying so. The journal is compiled in here with its talk replaced, since
 * that is what stands between the two. */
#include "base/log.h"

#include <pthread.h>
#include <stdatomic.h>

static void talk(const char *format);
#undef log_error
#define log_error(format, ...) talk(format)
#include "journal.c"
#undef log_error

#include "journal/testbed.h"

static _Atomic bool disk_full;
static struct bed *now; /* the bed whose disk has space again in talk() */

static ssize_t f_pwrite(int fd, const void *from, size_t n, off_t at)
{
    if (disk_full && n > SEGMENT_HEADER) {
        errno = ENOSPC;
        return -1;
    }
    return pwrite(fd, from, n, at);
}

static int f_allocate(int fd, off_t size)
{
    if (disk_full) {
        errno = ENOSPC;
        return -1;
    }
    return posix_fallocate(fd, 0, size);
}

/* The commit thread: it has seen that there is none. Here space returns, and
 * the keeper makes all the spares it wants before the other thread goes on. */
static void talk(const char *format)
{
    struct bed *b = now;

    if (!strstr(format, "is acknowledged") || !b)
        return;
    now = NULL;
    disk_full = false;
    while (atomic_load(&b->head.full) || b->j->n_spares < SPARES_WANTED)
        journal_retain(b->j);
}

static void fill(struct bed *b)
{
    uint64_t failed = 0;

    for (uint64_t seq; !failed;) {
        seq = atomic_load(&b->head.durable) + 1;
        assert_int_equal(add(b, &seq), JOURNAL_OK);
        journal_flush(b->j);
        pthread_mutex_lock(&b->lock);
        while (atomic_load(&b->head.durable) < seq && !failed) {
            failed = journal_failed_from(b->j);
            if (!failed)
                pthread_cond_wait(&b->moved, &b->lock);
        }
        pthread_mutex_unlock(&b->lock);
    }
    assert_int_equal(failed, atomic_load(&b->head.durable) + 1);
}

/* The loss is told; but there is space, so the very next event is taken.
 * Nothing else would ever wake the journal: nobody takes a spare from a
 * journal that refuses, and the keeper has all it wants. */
static void space_returns_first(void **state)
{
    struct bed *b = *state;
    uint64_t last;

    bed_open(b);
    append(b, 10, 1);
    for (int i = 0; i < 3; i++) {
        disk_full = true;
        now = b;
        fill(b);
        last = atomic_load(&b->head.durable);
        append(b, 20, 5);
        expect_all(b, 1, last + 20);
    }
}

static int setup(void **state)
{
    io = io_real;
    io.pwrite = f_pwrite;
    io.allocate = f_allocate;
    disk_full = false;
    return bed_new(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(space_returns_first, setup, bed_free),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
