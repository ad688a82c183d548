/* SPDX-License-Identifier: Apache-2.0
 *
 * Receipts over kills, wraps of the ring, torn entries and a disk that takes
 * none. */
#include "lane/receipts.h"

#include "base/io.h"
#include "base/mem.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

static int file(void)
{
    int fd = memfd_create("receipts", 0);

    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, (off_t)RECEIPTS_BYTES), 0);
    return fd;
}

static void put(struct receipts *r, uint64_t seq)
{
    receipts_put(r, &(struct receipt){ 77, seq, (uint32_t)seq * 3 });
}

/* The file holds `from` to `to`, in that order. */
static void holds(int fd, uint64_t from, uint64_t to)
{
    size_t n;
    struct receipt *list = receipts_read(fd, &n);

    assert_non_null(list);
    assert_int_equal(n, to - from + 1);
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(list[i].mark, 77);
        assert_int_equal(list[i].seq, from + i);
        assert_int_equal(list[i].key, (uint32_t)(from + i) * 3);
    }
    free(list);
}

static void what_was_flushed_is_read(void **state)
{
    struct receipts r;
    size_t n;
    int fd = file();

    (void)state;
    receipts_init(&r, fd);
    free(receipts_read(fd, &n));
    assert_int_equal(n, 0);
    for (uint64_t i = 1; i <= 10; i++)
        put(&r, i);
    free(receipts_read(fd, &n));
    assert_int_equal(n, 0);
    receipts_flush(&r);
    holds(fd, 1, 10);
    receipts_flush(&r);
    holds(fd, 1, 10);
    close(fd);
}

static void it_flushes_by_itself_when_it_is_full(void **state)
{
    struct receipts r;
    int fd = file();

    (void)state;
    receipts_init(&r, fd);
    for (uint64_t i = 1; i <= RECEIPTS_AHEAD + 5; i++)
        put(&r, i);
    holds(fd, 1, RECEIPTS_AHEAD);
    close(fd);
}

/* Another worker goes on behind the newest, around the ring as often as it
 * takes, with flushes that lie over its end. */
static void the_next_worker_goes_on(void **state)
{
    struct receipts r;
    uint64_t seq = 0;
    int fd = file();

    (void)state;
    while (seq < 3 * RECEIPTS_RING) {
        receipts_init(&r, fd);
        for (unsigned i = 0; i < 1009; i++) {
            put(&r, ++seq);
            if (i % 37 == 0)
                receipts_flush(&r);
        }
        receipts_flush(&r);
        holds(fd, seq > RECEIPTS_RING ? seq - RECEIPTS_RING + 1 : 1, seq);
    }
    close(fd);
}

/* Every byte of an entry counts, and where it stands too. */
static void a_damaged_entry_is_not_believed(void **state)
{
    struct receipts r;
    unsigned char entry[RECEIPT_BYTES];
    size_t n;
    int fd = file();

    (void)state;
    receipts_init(&r, fd);
    for (uint64_t i = 1; i <= 3; i++)
        put(&r, i);
    receipts_flush(&r);
    assert_int_equal(pread(fd, entry, sizeof entry, RECEIPT_BYTES),
                     RECEIPT_BYTES);
    for (size_t i = 0; i < sizeof entry; i++) {
        entry[i] ^= 0x20;
        assert_int_equal(pwrite(fd, entry, sizeof entry, RECEIPT_BYTES),
                         RECEIPT_BYTES);
        free(receipts_read(fd, &n));
        assert_int_equal(n, 2);
        entry[i] ^= 0x20;
    }
    assert_int_equal(pwrite(fd, entry, sizeof entry, RECEIPT_BYTES),
                     RECEIPT_BYTES);
    assert_int_equal(pwrite(fd, entry, sizeof entry, 7 * RECEIPT_BYTES),
                     RECEIPT_BYTES);
    holds(fd, 1, 3);
    close(fd);
}

static ssize_t no_pwrite(int fd, const void *from, size_t n, off_t at)
{
    (void)fd;
    (void)from;
    (void)n;
    (void)at;
    errno = ENOSPC;
    return -1;
}

/* Those are gone; the ones that follow are not. */
static void a_full_disk_does_no_harm(void **state)
{
    struct receipts r;
    int fd = file();

    (void)state;
    receipts_init(&r, fd);
    io.pwrite = no_pwrite;
    for (uint64_t i = 1; i <= 200; i++)
        put(&r, i);
    receipts_flush(&r);
    io = io_real;
    for (uint64_t i = 201; i <= 210; i++)
        put(&r, i);
    receipts_flush(&r);
    holds(fd, 201, 210);
    close(fd);
}

static void without_a_file_there_are_none(void **state)
{
    struct receipts r;
    size_t n;
    int fd = memfd_create("short", 0);

    (void)state;
    assert_true(fd >= 0);
    for (int i = 0; i < 2; i++) {
        receipts_init(&r, i ? fd : -1);
        assert_int_equal(r.fd, -1);
        for (uint64_t k = 1; k < 3 * RECEIPTS_AHEAD; k++)
            put(&r, k);
        receipts_flush(&r);
    }
    assert_null(receipts_read(fd, &n));
    assert_int_equal(lseek(fd, 0, SEEK_END), 0);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_flushed_is_read),
        cmocka_unit_test(it_flushes_by_itself_when_it_is_full),
        cmocka_unit_test(the_next_worker_goes_on),
        cmocka_unit_test(a_damaged_entry_is_not_believed),
        cmocka_unit_test(a_full_disk_does_no_harm),
        cmocka_unit_test(without_a_file_there_are_none),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
