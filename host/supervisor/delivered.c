/* SPDX-License-Identifier: Apache-2.0
 *
 * delivered.c - receipts (lane/receipts.h) on their way from a worker that
 * ended to the next one: each worker has a file of data_dir/receipts, by its
 * number with ingest; what those of the last run say is read at the start,
 * what a dead worker's says when its lanes are released, and each lane is
 * given with the receipts that its state does not cover.
 *
 * Without the directory, or a file, workers run all the same. */
#include "supervisor/supervisor.h"

#include "base/io.h"
#include "base/log.h"
#include "base/mem.h"
#include "lane/receipts.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define KNOWN_MAX (4 * RECEIPTS_RING) /* of a lane; the oldest go first */

static int open_file(struct supervisor *s, uint32_t number, int flags)
{
    char name[16];

    snprintf(name, sizeof name, "%u", number);
    return io.openat(s->receipts_fd, name, flags | O_CLOEXEC, 0600);
}

int delivered_file(struct supervisor *s, uint32_t number)
{
    int fd = s->receipts_fd < 0 ? -1
                                : open_file(s, number, O_RDWR | O_CREAT);

    if (fd >= 0 && io.ftruncate(fd, (off_t)RECEIPTS_BYTES) == 0)
        return fd;
    log_warn("data_dir/receipts/%u cannot be made (%s): after a kill, what "
             "its worker just delivered will be delivered again",
             number, strerror(errno));
    if (fd >= 0)
        close(fd);
    return -1;
}

static struct sup_lane *marked(struct supervisor *s, uint64_t mark)
{
    for (struct sup_lane *l = s->lanes; l; l = l->next)
        if (l->mark == mark)
            return l;
    return NULL;
}

static void add(struct sup_lane *l, const struct receipt *r)
{
    if (l->known_count == KNOWN_MAX) {
        l->known_count /= 2;
        memmove(l->known, l->known + l->known_count,
                l->known_count * sizeof *r);
    }
    if (l->known_count == l->known_cap) {
        l->known_cap = l->known_cap ? 2 * l->known_cap : 64;
        l->known = xrealloc(l->known, l->known_cap * sizeof *r);
    }
    l->known[l->known_count++] = *r;
}

/* What the file says of lanes that `from` has; NULL: of any. */
static void gather(struct supervisor *s, int fd, const struct generation *from)
{
    struct sup_lane *l = NULL;
    size_t n;
    struct receipt *list = receipts_read(fd, &n);

    for (size_t i = 0; i < n; i++) {
        if (!l || l->mark != list[i].mark)
            l = marked(s, list[i].mark);
        if (l && (!from || l->holder == from))
            add(l, &list[i]);
    }
    free(list);
}

static void gather_file(struct supervisor *s, uint32_t number,
                        const struct generation *from)
{
    int fd = s->receipts_fd < 0 ? -1 : open_file(s, number, O_RDONLY);

    if (fd < 0)
        return;
    gather(s, fd, from);
    close(fd);
}

void delivered_load(struct supervisor *s)
{
    for (uint32_t i = 0; i < WAKERS_MAX; i++)
        gather_file(s, i, NULL);
}

void delivered_gather(struct supervisor *s, const struct generation *n)
{
    for (const struct sup_lane *l = s->lanes; l; l = l->next)
        if (l->holder == n) {
            gather_file(s, n->waker, n);
            return;
        }
}

uint32_t delivered_give(struct sup_lane *l, uint64_t least, struct buf *to)
{
    size_t kept = 0;

    for (size_t i = 0; i < l->known_count; i++)
        if (l->known[i].seq >= least)
            l->known[kept++] = l->known[i];
    l->known_count = kept;
    if (kept)
        buf_add(to, l->known, kept * sizeof *l->known);
    return (uint32_t)kept;
}
