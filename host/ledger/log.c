/* SPDX-License-Identifier: Apache-2.0
 *
 * log.c - see log.h. */
#include "ledger/log.h"

#include "base/bytes.h"
#include "base/crc32c.h"
#include "base/io.h"
#include "base/mem.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BLOCK_MARK 0x7cb70c1eu

struct ledger_log {
    int dir, fd; /* fd -1: not open */
    struct ledger_segment at;
    struct buf waiting;
    uint64_t least, greatest; /* of what waits */
    bool cut; /* the file may have bytes behind the end */
};

static const unsigned char magic[8] = "MFOUTC\r\n";

void ledger_log_name(char name[LEDGER_NAME], uint64_t n)
{
    snprintf(name, LEDGER_NAME, "%010" PRIu64 ".log", n);
}

static void header_put(unsigned char h[LEDGER_HEADER], uint64_t n)
{
    memset(h, 0, LEDGER_HEADER);
    memcpy(h, magic, sizeof magic);
    put32(h + 8, LEDGER_LOG_VERSION);
    put64(h + 16, n);
    put32(h + 12, crc32c(0, h, LEDGER_HEADER));
}

/* ---- writing ---- */

struct ledger_log *ledger_log_new(int dir, const struct ledger_segment *at)
{
    struct ledger_log *l = xcalloc(1, sizeof *l);

    l->dir = dir;
    l->fd = -1;
    l->at = *at;
    l->least = UINT64_MAX;
    l->cut = true;
    buf_init(&l->waiting, 2 * (size_t)LEDGER_WAITING_MAX);
    return l;
}

void ledger_log_free(struct ledger_log *l)
{
    if (!l)
        return;
    if (l->fd >= 0)
        close(l->fd);
    buf_deinit(&l->waiting);
    free(l);
}

void ledger_log_add(struct ledger_log *l, uint32_t lane,
                     const struct ledger_writer *w)
{
    size_t from = l->waiting.len;
    unsigned char h[LEDGER_BLOCK] = { 0 };

    put32(h + 4, BLOCK_MARK);
    put32(h + 8, (uint32_t)w->bytes.len);
    put32(h + 12, lane);
    put64(h + 16, w->first);
    put32(h + 24, w->count);
    put32(h, crc32c(crc32c(0, h + 4, sizeof h - 4), w->bytes.data,
                    w->bytes.len));
    buf_add(&l->waiting, h, sizeof h);
    buf_str(&l->waiting, buf_view(&w->bytes));
    ASSERT(!l->waiting.full && l->waiting.len > from);
    l->least = w->least < l->least ? w->least : l->least;
    l->greatest = w->greatest > l->greatest ? w->greatest : l->greatest;
}

size_t ledger_log_waiting(const struct ledger_log *l)
{
    return l->waiting.len;
}

static void next_segment(struct ledger_log *l)
{
    if (l->fd >= 0)
        close(l->fd);
    l->fd = -1;
    l->at = (struct ledger_segment){ .n = l->at.n + 1 };
}

/* Opens the segment at its end, which a crash may have left behind more. 1:
 * what was committed is not there; another one must begin. */
static int open_segment(struct ledger_log *l, const char *name,
                        struct err *e)
{
    unsigned char h[LEDGER_HEADER];
    off_t size;

    if (l->at.bytes == 0) {
        l->fd = io.openat(l->dir, name,
                          O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        if (l->fd < 0)
            return err_sys(e, "outcomes/%s cannot be made", name);
        header_put(h, l->at.n);
        if (io_pwrite_all(l->fd, h, sizeof h, 0) != 0)
            return err_sys(e, "outcomes/%s cannot be written", name);
        return 0;
    }
    l->fd = io.openat(l->dir, name, O_RDWR | O_CLOEXEC, 0);
    if (l->fd < 0)
        return errno == ENOENT
                   ? 1
                   : err_sys(e, "outcomes/%s cannot be opened", name);
    size = lseek(l->fd, 0, SEEK_END);
    if (size < (off_t)l->at.bytes)
        return 1;
    if (l->cut && size > (off_t)l->at.bytes &&
        io.ftruncate(l->fd, (off_t)l->at.bytes) != 0)
        return err_sys(e, "outcomes/%s cannot be cut to its end", name);
    l->cut = false;
    return 0;
}

/* A segment that is not there or too short is never written again. */
static int make_open(struct ledger_log *l, char name[LEDGER_NAME],
                     struct err *e)
{
    int rc = 0;

    if (l->fd >= 0)
        return 0;
    ledger_log_name(name, l->at.n);
    rc = open_segment(l, name, e);
    if (rc > 0) {
        next_segment(l);
        ledger_log_name(name, l->at.n);
        rc = open_segment(l, name, e);
    }
    if (rc != 0 && l->fd >= 0) {
        close(l->fd);
        l->fd = -1;
    }
    return rc;
}

int ledger_log_sync(struct ledger_log *l, struct err *e)
{
    uint64_t from = l->at.bytes ? l->at.bytes : LEDGER_HEADER;
    char name[LEDGER_NAME];

    if (l->waiting.len == 0)
        return 0;
    ledger_log_name(name, l->at.n);
    if (make_open(l, name, e) != 0)
        return -1;
    from = l->at.bytes ? l->at.bytes : LEDGER_HEADER;
    if (io_pwrite_all(l->fd, l->waiting.data, l->waiting.len,
                      (off_t)from) != 0)
        return err_sys(e, "outcomes/%s cannot be written", name);
    if (io.fdatasync(l->fd) != 0 ||
        (l->at.bytes == 0 && io.fsync(l->dir) != 0)) {
        err_sys(e, "outcomes/%s cannot be made durable", name);
        next_segment(l);
        return -1;
    }
    l->at.bytes = from + l->waiting.len;
    if (l->at.least == 0 || l->least < l->at.least)
        l->at.least = l->least;
    if (l->greatest > l->at.greatest)
        l->at.greatest = l->greatest;
    buf_clear(&l->waiting);
    l->least = UINT64_MAX;
    l->greatest = 0;
    return 0;
}

struct ledger_segment ledger_log_segment(const struct ledger_log *l)
{
    return l->at;
}

void ledger_log_roll(struct ledger_log *l)
{
    ASSERT(l->waiting.len == 0);
    next_segment(l);
}

void ledger_log_sweep(int dir, bool (*keep)(void *arg, uint64_t n),
                       void *arg)
{
    int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
    struct dirent *f;

    if (!d) {
        if (fd >= 0)
            close(fd);
        return;
    }
    while ((f = readdir(d))) {
        char *end;
        uint64_t n = strtoull(f->d_name, &end, 10);

        if (end != f->d_name && strcmp(end, ".log") == 0 && !keep(arg, n))
            io.unlinkat(dir, f->d_name, 0);
    }
    closedir(d);
}

/* ---- reading ---- */

int ledger_log_load(int fd, const struct ledger_segment *s, char **bytes,
                     struct err *e)
{
    unsigned char h[LEDGER_HEADER];
    char name[LEDGER_NAME];

    ledger_log_name(name, s->n);
    if (s->bytes < LEDGER_HEADER || s->bytes > LEDGER_SEGMENT_MOST)
        return err_set(e, "outcomes/%s: state.db gives it %" PRIu64
                          " bytes, which none can have",
                       name, s->bytes);
    *bytes = xmalloc(s->bytes);
    if (io_pread_all(fd, *bytes, s->bytes, 0) != 0) {
        if (errno)
            err_sys(e, "outcomes/%s cannot be read", name);
        else
            err_set(e, "outcomes/%s is shorter than the %" PRIu64
                       " bytes that were committed",
                    name, s->bytes);
        goto fail;
    }
    header_put(h, s->n);
    if (memcmp(h, *bytes, sizeof h) != 0) {
        err_set(e, "outcomes/%s has no header of an outcome log of format "
                   "%d and number %" PRIu64,
                name, LEDGER_LOG_VERSION, s->n);
        goto fail;
    }
    return 0;
fail:
    free(*bytes);
    *bytes = NULL;
    return -1;
}

static bool block_get(mf_str segment, size_t at, struct ledger_block *b)
{
    const unsigned char *p = (const unsigned char *)segment.ptr + at;
    size_t rest = segment.len - at;
    uint32_t len;

    if (rest < LEDGER_BLOCK || get32(p + 4) != BLOCK_MARK)
        return false;
    len = get32(p + 8);
    if (len > rest - LEDGER_BLOCK ||
        crc32c(0, p + 4, LEDGER_BLOCK - 4 + len) != get32(p))
        return false;
    b->lane = get32(p + 12);
    b->prev = get64(p + 16);
    b->count = get32(p + 24);
    b->at = at;
    b->stream = (mf_str){ segment.ptr + at + LEDGER_BLOCK, len };
    return true;
}

int ledger_block_next(mf_str segment, size_t *at, struct ledger_block *b)
{
    if (*at < LEDGER_HEADER)
        *at = LEDGER_HEADER;
    if (*at >= segment.len)
        return 0;
    if (block_get(segment, *at, b)) {
        *at += LEDGER_BLOCK + b->stream.len;
        return 1;
    }
    do
        ++*at;
    while (*at < segment.len && !block_get(segment, *at, b));
    return -1;
}
