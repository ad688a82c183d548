/* SPDX-License-Identifier: Apache-2.0
 *
 * io.c - see io.h. */
#include "base/io.h"

#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int real_openat(int dir, const char *path, int flags, mode_t mode)
{
    return openat(dir, path, flags, mode);
}

static int real_allocate(int fd, off_t size)
{
    return fallocate(fd, 0, 0, size);
}

#define REAL                                                                   \
    { real_openat, pread, pwrite, write, fdatasync, fsync, ftruncate,          \
      renameat, unlinkat, real_allocate }

struct io_calls io = REAL;
const struct io_calls io_real = REAL;

int io_pread_all(int fd, void *to, size_t n, off_t at)
{
    char *p = to;

    while (n) {
        ssize_t got = io.pread(fd, p, n, at);

        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0) {
            if (got == 0)
                errno = 0;
            return -1;
        }
        p += got;
        at += got;
        n -= (size_t)got;
    }
    return 0;
}

int io_pwrite_all(int fd, const void *from, size_t n, off_t at)
{
    const char *p = from;

    while (n) {
        ssize_t put = io.pwrite(fd, p, n, at);

        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0)
            return -1;
        p += put;
        at += put;
        n -= (size_t)put;
    }
    return 0;
}

int io_write_all(int fd, const void *from, size_t n)
{
    const char *p = from;

    while (n) {
        ssize_t put = io.write(fd, p, n);

        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0)
            return -1;
        p += put;
        n -= (size_t)put;
    }
    return 0;
}

int io_read_file(int dir, const char *path, size_t max, char **text,
                 size_t *len, struct err *e)
{
    int fd = io.openat(dir, path, O_RDONLY | O_CLOEXEC, 0), rc = -1;
    struct stat st;
    char *data = NULL;

    if (fd < 0)
        return err_sys(e, "%s cannot be opened", path);
    if (fstat(fd, &st) != 0) {
        err_sys(e, "%s cannot be examined", path);
        goto out;
    }
    if (!S_ISREG(st.st_mode)) {
        err_set(e, "%s is not a regular file", path);
        goto out;
    }
    if ((unsigned long long)st.st_size > max) {
        err_set(e, "%s is larger than %zu bytes", path, max);
        goto out;
    }
    data = xmalloc((size_t)st.st_size + 1);
    if (io_pread_all(fd, data, (size_t)st.st_size, 0) != 0) {
        err_sys(e, "%s cannot be read", path);
        goto out;
    }
    data[st.st_size] = 0;
    *text = data;
    *len = (size_t)st.st_size;
    data = NULL;
    rc = 0;
out:
    free(data);
    close(fd);
    return rc;
}

static int sync_dir_of(int dir, const char *path)
{
    char parent[4096];
    char *slash;
    int fd, rc;

    snprintf(parent, sizeof parent, "%s", path);
    slash = strrchr(parent, '/');
    if (slash == parent)
        slash++;
    if (slash)
        *slash = 0;
    else
        snprintf(parent, sizeof parent, ".");
    fd = io.openat(dir, parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    rc = io.fsync(fd);
    close(fd);
    return rc;
}

int io_replace_file(int dir, const char *path, const void *data, size_t len,
                    mode_t mode, struct err *e)
{
    char beside[4096];
    int fd;

    if (snprintf(beside, sizeof beside, "%s.new", path) >=
        (int)sizeof beside)
        return err_set(e, "%s: the path is too long", path);
    fd = io.openat(dir, beside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC,
                   mode);
    if (fd < 0)
        return err_sys(e, "%s cannot be made", beside);
    if (io_write_all(fd, data, len) != 0 || io.fsync(fd) != 0) {
        err_sys(e, "%s cannot be written", beside);
        close(fd);
        io.unlinkat(dir, beside, 0);
        return -1;
    }
    close(fd);
    if (io.renameat(dir, beside, dir, path) != 0 ||
        sync_dir_of(dir, path) != 0)
        return err_sys(e, "%s cannot be put in place", path);
    return 0;
}

int io_make_dirs(const char *path, mode_t mode, struct err *e)
{
    char part[4096];

    if (snprintf(part, sizeof part, "%s", path) >= (int)sizeof part)
        return err_set(e, "%s: the path is too long", path);
    for (char *p = part + 1;; p++) {
        char c = *p;

        if (c != '/' && c != 0)
            continue;
        *p = 0;
        if (mkdir(part, mode) != 0 && errno != EEXIST)
            return err_sys(e, "the directory %s cannot be made", part);
        *p = c;
        if (c == 0)
            return 0;
    }
}
