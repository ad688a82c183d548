/* SPDX-License-Identifier: Apache-2.0
 *
 * receipts.c - see receipts.h. */
#include "lane/receipts.h"

#include "base/bytes.h"
#include "base/crc32c.h"
#include "base/io.h"
#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

#define AT_CHECK (RECEIPT_BYTES - 4)

struct entry {
    struct receipt what;
    uint64_t serial; /* 0: it does not hold */
};

static void encode(unsigned char *p, const struct receipt *what,
                   uint64_t serial)
{
    put64(p, what->mark);
    put64(p + 8, what->seq);
    put64(p + 16, serial);
    put32(p + 24, what->key);
    put32(p + AT_CHECK, crc32c(0, p, AT_CHECK));
}

/* The one that stands at `at`; none of it is believed before its check. */
static struct entry decode(const unsigned char *p, size_t at)
{
    struct entry e = { .serial = 0 };
    uint64_t serial = get64(p + 16);

    if (serial == 0 || (serial - 1) % RECEIPTS_RING != at ||
        get32(p + AT_CHECK) != crc32c(0, p, AT_CHECK))
        return e;
    e.serial = serial;
    e.what = (struct receipt){ get64(p), get64(p + 8), get32(p + 24) };
    return e;
}

/* RECEIPTS_RING entries, by where they stand; NULL: it cannot be read. */
static struct entry *load(int fd)
{
    unsigned char *bytes = xmalloc(RECEIPTS_BYTES);
    struct entry *list = NULL;

    if (io_pread_all(fd, bytes, RECEIPTS_BYTES, 0) == 0) {
        list = xcalloc(RECEIPTS_RING, sizeof *list);
        for (size_t i = 0; i < RECEIPTS_RING; i++)
            list[i] = decode(bytes + i * RECEIPT_BYTES, i);
    }
    free(bytes);
    return list;
}

void receipts_init(struct receipts *r, int fd)
{
    struct entry *list = fd < 0 ? NULL : load(fd);

    memset(r, 0, sizeof *r);
    r->fd = list ? fd : -1;
    for (size_t i = 0; list && i < RECEIPTS_RING; i++)
        if (list[i].serial > r->serial)
            r->serial = list[i].serial;
    free(list);
}

void receipts_put(struct receipts *r, const struct receipt *what)
{
    if (r->fd < 0)
        return;
    encode(r->bytes + r->waiting * RECEIPT_BYTES, what, ++r->serial);
    if (++r->waiting == RECEIPTS_AHEAD)
        receipts_flush(r);
}

void receipts_flush(struct receipts *r)
{
    uint64_t first = r->serial - r->waiting; /* serials before it */
    size_t at = first % RECEIPTS_RING, n = r->waiting;
    size_t here = RECEIPTS_RING - at < n ? RECEIPTS_RING - at : n;

    r->waiting = 0;
    if (n == 0)
        return;
    if (io_pwrite_all(r->fd, r->bytes, here * RECEIPT_BYTES,
                      (off_t)(at * RECEIPT_BYTES)) == 0 && n > here)
        io_pwrite_all(r->fd, r->bytes + here * RECEIPT_BYTES,
                      (n - here) * RECEIPT_BYTES, 0);
}

static int by_serial(const void *a, const void *b)
{
    uint64_t x = ((const struct entry *)a)->serial;
    uint64_t y = ((const struct entry *)b)->serial;

    return (x > y) - (x < y);
}

struct receipt *receipts_read(int fd, size_t *n)
{
    struct entry *list = load(fd);
    struct receipt *out;

    *n = 0;
    if (!list)
        return NULL;
    qsort(list, RECEIPTS_RING, sizeof *list, by_serial);
    out = xcalloc(RECEIPTS_RING, sizeof *out);
    for (size_t i = 0; i < RECEIPTS_RING; i++)
        if (list[i].serial)
            out[(*n)++] = list[i].what;
    free(list);
    return out;
}
