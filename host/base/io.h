/* SPDX-License-Identifier: Apache-2.0
 *
 * io.h - the one seam between the durable parts and the kernel.
 *
 * The journal, the state and the file destination make their calls through
 * `io`, a table that holds the real functions unless a test has put its own
 * in: ENOSPC, EIO on fsync, short and torn writes are injected there. */
#ifndef BASE_IO_H
#define BASE_IO_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct io_calls {
    int (*openat)(int dir, const char *path, int flags, mode_t mode);
    ssize_t (*pread)(int fd, void *to, size_t n, off_t at);
    ssize_t (*pwrite)(int fd, const void *from, size_t n, off_t at);
    ssize_t (*write)(int fd, const void *from, size_t n);
    int (*fdatasync)(int fd);
    int (*fsync)(int fd);
    int (*ftruncate)(int fd, off_t size);
    int (*renameat)(int dir, const char *from, int to_dir, const char *to);
    int (*unlinkat)(int dir, const char *path, int flags);
    /* Blocks for a new file of so many bytes, which read as zeros, without
     * writing them. NULL, or -1 with EOPNOTSUPP: not here. */
    int (*allocate)(int fd, off_t size);
};

extern struct io_calls io;       /* what everybody calls */
extern const struct io_calls io_real;

/* Whole transfers over short ones and EINTR. 0, or -1 with errno; a short
 * read at the end of a file is -1 with errno 0. */
int io_pread_all(int fd, void *to, size_t n, off_t at);
int io_pwrite_all(int fd, const void *from, size_t n, off_t at);
int io_write_all(int fd, const void *from, size_t n);

/* Reads a whole file of at most max bytes; *text is owned by the caller and
 * has a NUL after its *len bytes. dir may be AT_FDCWD. */
int io_read_file(int dir, const char *path, size_t max, char **text,
                 size_t *len, struct err *e);
/* Replaces a file so that a crash leaves the old or the new one: write beside,
 * fsync, rename, fsync the directory. */
int io_replace_file(int dir, const char *path, const void *data, size_t len,
                    mode_t mode, struct err *e);
/* mkdir -p; existing directories are fine. */
int io_make_dirs(const char *path, mode_t mode, struct err *e);

#endif
