/* SPDX-License-Identifier: Apache-2.0
 *
 * image.c - reading what a segment's file really holds, damage and all. */
#include "journal/segment.h"

#include "base/io.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define PIECE (1u << 20)

int segment_open_truth(int dir, const char *name)
{
    int fd = io.openat(dir, name, O_RDONLY | O_DIRECT | O_CLOEXEC, 0);

    if (fd >= 0)
        return fd;
    fd = io.openat(dir, name, O_RDONLY | O_CLOEXEC, 0);
    if (fd >= 0)
        posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    return fd;
}

static size_t read_piece(int fd, unsigned char *to, size_t n, uint64_t at)
{
    size_t part, bad = 0;

    if (io_pread_all(fd, to, n, (off_t)at) == 0)
        return 0;
    for (size_t k = 0; k < n; k += part) {
        part = SEGMENT_BLOCK - (at + k) % SEGMENT_BLOCK;
        if (part > n - k)
            part = n - k;
        if (io_pread_all(fd, to + k, part, (off_t)(at + k)) != 0) {
            memset(to + k, 0, part);
            bad += part;
        }
    }
    return bad;
}

size_t segment_read(int fd, unsigned char *to, size_t n, uint64_t at)
{
    size_t bad = 0;

    for (size_t k = 0; k < n; k += PIECE)
        bad += read_piece(fd, to + k, n - k < PIECE ? n - k : PIECE, at + k);
    return bad;
}

int segment_neighbours(int dir, uint64_t seq, uint64_t *below,
                       uint64_t *above)
{
    int fd = io.openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    struct dirent *entry;
    uint64_t n;

    *below = *above = 0;
    if (!d)
        return -1;
    while ((entry = readdir(d))) {
        if (!segment_parse(entry->d_name, ".seg", &n))
            continue;
        if (n <= seq && n > *below)
            *below = n;
        if (n > seq && (n < *above || !*above))
            *above = n;
    }
    closedir(d);
    return 0;
}
