/* SPDX-License-Identifier: Apache-2.0
 *
 * preload.c - manifold-faults.so: faults for whole, real processes.
 *
 * Interposes the calls through which a process changes files, sends to the
 * network and reads clocks, of the program and of every library in it, SQLite
 * and libcurl among them. Does what page.h is told to: a full disk, failing,
 * short and slow writes, clocks that jump or run fast, and a record of every
 * change in its order. Campaigns load it; the program itself has no way to be
 * told to fail, so there is none to misuse: whoever can set LD_PRELOAD for a
 * process can do everything in it anyway.
 *
 * Does not see changes through mmap() (SQLite's shared memory, which is made
 * anew after a crash) or system calls made without libc. */
#include "faults/page.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define BILLION 1000000000ll

static struct faults_page *page;
static int trace = -1;

static void *next(void **found, const char *name)
{
    if (!*found)
        *found = dlsym(RTLD_NEXT, name);
    if (!*found)
        abort();
    return *found;
}

/* `real` is the function that this one hides. */
#define REAL(type, name, ...)                                                  \
    static void *found_;                                                       \
    type (*real)(__VA_ARGS__) = (type (*)(__VA_ARGS__))next(&found_, name)

__attribute__((constructor)) static void begin(void)
{
    const char *path = getenv(FAULTS_ENV);
    const char *to = getenv(FAULTS_ENV "_TRACE");
    int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    void *at;

    if (fd < 0)
        return;
    at = mmap(NULL, FAULTS_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (at == MAP_FAILED)
        return;
    if (to)
        trace = open(to, O_WRONLY | O_APPEND | O_CLOEXEC);
    if (((struct faults_page *)at)->magic == FAULTS_MAGIC)
        page = at;
}

/* ---- chance ---- */

static uint64_t random_below(uint64_t n)
{
    static _Thread_local uint64_t x;

    if (!x)
        x = (uint64_t)syscall(SYS_gettid) * 0x9e3779b97f4a7c15ull | 1;
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    return (x >> 11) % n;
}

static bool strikes(faults_word *per_million)
{
    uint64_t n = atomic_load_explicit(per_million, memory_order_relaxed);

    return n && random_below(1000000) < n;
}

static int fail(int error, faults_word *count)
{
    atomic_fetch_add(count, 1);
    errno = error;
    return -1;
}

/* ---- which files are meant ---- */

static bool meant(int fd, struct stat *st)
{
    return page && page->device && fd > 2 && fstat(fd, st) == 0 &&
           S_ISREG(st->st_mode) && st->st_dev == page->device;
}

static bool meant_dir(int dir, const char *path)
{
    char parent[PATH_MAX];
    char *slash;
    struct stat st;

    if (!page || !page->device)
        return false;
    snprintf(parent, sizeof parent, "%s", path);
    slash = strrchr(parent, '/');
    if (slash == parent)
        slash++;
    if (slash)
        *slash = 0;
    else
        snprintf(parent, sizeof parent, ".");
    return fstatat(dir, parent, &st, 0) == 0 && st.st_dev == page->device;
}

/* ---- the recorder ---- */

static bool recording(void)
{
    return page && trace >= 0;
}

static void take(void)
{
    uint64_t free_now = 0;

    while (!atomic_compare_exchange_weak(&page->lock, &free_now, 1)) {
        free_now = 0;
        sched_yield();
    }
}

static void give(void)
{
    int was = errno;

    atomic_store(&page->lock, 0);
    errno = was;
}

static bool all_zeros(const char *p, size_t n)
{
    return n > 0 && p[0] == 0 && memcmp(p, p + 1, n - 1) == 0;
}

static void put(int kind, const char *path, size_t path_len, uint64_t at,
                const void *bytes, size_t len)
{
    REAL(ssize_t, "writev", int, const struct iovec *, int);
    bool zeros = kind == FAULTS_WRITE && all_zeros(bytes, len);
    struct faults_record r = { .kind = (uint8_t)kind, .zeros = zeros,
                               .path = (uint16_t)path_len, .at = at,
                               .len = len };
    struct iovec v[3] = { { &r, sizeof r },
                          { (void *)(uintptr_t)path, path_len },
                          { (void *)(uintptr_t)bytes,
                            kind == FAULTS_WRITE && !zeros ? len : 0 } };

    r.bytes = (uint32_t)(sizeof r + path_len + v[2].iov_len);
    if (real(trace, v, 3) != (ssize_t)r.bytes)
        abort(); /* a record with a hole proves nothing */
    atomic_fetch_add(&page->operations, 1);
}

/* The path of an open file; false for what is none of ours. */
static bool path_of(int fd, char out[PATH_MAX], size_t *len)
{
    char link[64];
    ssize_t n;

    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    n = readlink(link, out, PATH_MAX - 1);
    if (n <= 0 || out[0] != '/')
        return false;
    out[n] = 0;
    *len = (size_t)n;
    return true;
}

static void record_fd(int kind, int fd, uint64_t at, const void *bytes,
                      size_t len)
{
    char path[PATH_MAX];
    size_t n;

    if (path_of(fd, path, &n))
        put(kind, path, n, at, bytes, len);
}

/* Directory and name, made one path. */
static size_t whole_path(int dir, const char *name, char *out, size_t size)
{
    size_t n = 0;
    char at[PATH_MAX];

    if (name[0] == '/')
        return (size_t)snprintf(out, size, "%s", name);
    if (dir == AT_FDCWD) {
        if (!getcwd(at, sizeof at))
            return 0;
    } else if (!path_of(dir, at, &n)) {
        return 0;
    }
    return (size_t)snprintf(out, size, "%s/%s", at, name);
}

static void record_name(int kind, int dir, const char *name, uint64_t at)
{
    char path[2 * PATH_MAX];
    size_t n = whole_path(dir, name, path, sizeof path);

    if (n && n < PATH_MAX)
        put(kind, path, n, at, NULL, 0);
}

/* ---- files ---- */

typedef int open_fn(int dir, const char *path, int flags, mode_t mode);

static int opened(open_fn *real, int dir, const char *path, int flags,
                  mode_t mode)
{
    bool makes = (flags & O_CREAT) && page && meant_dir(dir, path);
    bool was, records;
    int fd;

    if (!makes)
        return real(dir, path, flags, mode);
    was = faccessat(dir, path, F_OK, 0) == 0;
    if (page->full && !was)
        return fail(ENOSPC, &page->done_enospc);
    records = recording() && (!was || (flags & O_TRUNC));
    if (records)
        take();
    fd = real(dir, path, flags, mode);
    if (records) {
        if (fd >= 0)
            record_name(FAULTS_CREATE, dir, path, was);
        give();
    }
    return fd;
}

static mode_t mode_of(int flags, va_list ap)
{
    return flags & (O_CREAT | O_TMPFILE) ? va_arg(ap, mode_t) : 0;
}

static int real_openat(int dir, const char *path, int flags, mode_t mode)
{
    REAL(int, "openat", int, const char *, int, ...);

    return real(dir, path, flags, mode);
}

#define OPENAT(name)                                                           \
    int name(int dir, const char *path, int flags, ...)                        \
    {                                                                          \
        va_list ap;                                                            \
        mode_t mode;                                                           \
                                                                               \
        va_start(ap, flags);                                                   \
        mode = mode_of(flags, ap);                                             \
        va_end(ap);                                                            \
        return opened(real_openat, dir, path, flags, mode);                    \
    }
#define OPEN(name)                                                             \
    int name(const char *path, int flags, ...)                                 \
    {                                                                          \
        va_list ap;                                                            \
        mode_t mode;                                                           \
                                                                               \
        va_start(ap, flags);                                                   \
        mode = mode_of(flags, ap);                                             \
        va_end(ap);                                                            \
        return opened(real_openat, AT_FDCWD, path, flags, mode);               \
    }
OPENAT(openat)
OPEN(open)
#ifndef __USE_FILE_OFFSET64
OPENAT(openat64)
OPEN(open64)
#endif

/* What remains of a write: n, less, or -1 with errno. */
static ssize_t allowed(int fd, size_t n, off_t at)
{
    struct stat st;

    if (!page || !meant(fd, &st))
        return (ssize_t)n;
    if (page->full && at + (off_t)n > st.st_size)
        return fail(ENOSPC, &page->done_enospc);
    if (strikes(&page->write_fails))
        return fail(EIO, &page->done_eio);
    if (n > 1 && strikes(&page->short_writes)) {
        atomic_fetch_add(&page->done_short, 1);
        return (ssize_t)(1 + random_below(n - 1));
    }
    return (ssize_t)n;
}

static ssize_t written(int fd, const void *from, size_t n, off_t at,
                       bool append)
{
    REAL(ssize_t, "pwrite64", int, const void *, size_t, off64_t);
    static void *found_write;
    ssize_t (*real_write)(int, const void *, size_t) =
        (ssize_t (*)(int, const void *, size_t))next(&found_write, "write");
    struct stat st;
    ssize_t may, got;
    bool records;

    may = allowed(fd, n, at);
    if (may < 0)
        return -1;
    records = recording() && fd != trace && meant(fd, &st);
    if (records)
        take();
    got = append ? real_write(fd, from, (size_t)may)
                 : real(fd, from, (size_t)may, at);
    if (records) {
        if (got > 0)
            record_fd(FAULTS_WRITE, fd, (uint64_t)at, from, (size_t)got);
        give();
    }
    return got;
}

#define PWRITE(name, type)                                                     \
    ssize_t name(int fd, const void *from, size_t n, type at)                  \
    {                                                                          \
        return written(fd, from, n, at, false);                                \
    }
PWRITE(pwrite, off_t)
PWRITE(pwrite64, off64_t)

static bool network(int fd)
{
    struct sockaddr_storage a;
    socklen_t len = sizeof a;
    int type = 0;
    socklen_t size = sizeof type;

    return getsockname(fd, (struct sockaddr *)&a, &len) == 0 &&
           (a.ss_family == AF_INET || a.ss_family == AF_INET6) &&
           getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0 &&
           type == SOCK_STREAM;
}

static bool shortened(int fd, size_t n)
{
    if (!page || n < 2 || !strikes(&page->short_writes) || !network(fd))
        return false;
    atomic_fetch_add(&page->done_short, 1);
    return true;
}

ssize_t write(int fd, const void *from, size_t n)
{
    REAL(ssize_t, "write", int, const void *, size_t);
    struct stat st;
    off_t at;

    if (!page || fd == trace)
        return real(fd, from, n);
    if (meant(fd, &st)) {
        at = fcntl(fd, F_GETFL) & O_APPEND ? st.st_size
                                           : lseek(fd, 0, SEEK_CUR);
        return written(fd, from, n, at, true);
    }
    if (shortened(fd, n))
        n = 1 + random_below(n - 1);
    return real(fd, from, n);
}

ssize_t send(int fd, const void *from, size_t n, int flags)
{
    REAL(ssize_t, "send", int, const void *, size_t, int);

    if (shortened(fd, n))
        n = 1 + random_below(n - 1);
    return real(fd, from, n, flags);
}

ssize_t writev(int fd, const struct iovec *v, int count)
{
    REAL(ssize_t, "writev", int, const struct iovec *, int);

    if (count > 0 && shortened(fd, v[0].iov_len + (count > 1)))
        return send(fd, v[0].iov_base, v[0].iov_len, MSG_NOSIGNAL);
    return real(fd, v, count);
}

ssize_t sendmsg(int fd, const struct msghdr *m, int flags)
{
    REAL(ssize_t, "sendmsg", int, const struct msghdr *, int);

    if (m->msg_iovlen > 0 && !m->msg_controllen &&
        shortened(fd, m->msg_iov[0].iov_len + (m->msg_iovlen > 1)))
        return send(fd, m->msg_iov[0].iov_base, m->msg_iov[0].iov_len, flags);
    return real(fd, m, flags);
}

static void delay_sync(void)
{
    uint64_t us = page->sync_delay_us;

    if (!us)
        return;
    atomic_fetch_add(&page->done_delays, 1);
    syscall(SYS_nanosleep, &(struct timespec){ (time_t)(us / 1000000),
                                               (long)(us % 1000000) * 1000 },
            NULL);
}

static int synced(int (*real)(int), int fd)
{
    struct stat st;
    bool records;
    int rc;

    if (!page || !page->device || fstat(fd, &st) != 0 ||
        st.st_dev != page->device)
        return real(fd);
    delay_sync();
    if (strikes(&page->sync_fails))
        return fail(EIO, &page->done_eio);
    records = recording();
    if (records)
        take();
    rc = real(fd);
    if (records) {
        if (rc == 0)
            record_fd(S_ISDIR(st.st_mode) ? FAULTS_SYNC_DIR : FAULTS_SYNC, fd,
                      0, NULL, 0);
        give();
    }
    return rc;
}

int fdatasync(int fd)
{
    REAL(int, "fdatasync", int);

    return synced(real, fd);
}

int fsync(int fd)
{
    REAL(int, "fsync", int);

    return synced(real, fd);
}

static int truncated(int fd, off_t size)
{
    REAL(int, "ftruncate64", int, off64_t);
    struct stat st;
    bool ours = meant(fd, &st);
    int rc;

    if (ours && page->full && size > st.st_size)
        return fail(ENOSPC, &page->done_enospc);
    if (!ours || !recording())
        return real(fd, size);
    take();
    rc = real(fd, size);
    if (rc == 0)
        record_fd(FAULTS_TRUNCATE, fd, 0, NULL, (size_t)size);
    give();
    return rc;
}

int ftruncate(int fd, off_t size)
{
    return truncated(fd, size);
}

int ftruncate64(int fd, off64_t size)
{
    return truncated(fd, size);
}

#define FALLOCATE(name, type)                                                  \
    int name(int fd, int mode, type at, type n)                                \
    {                                                                          \
        REAL(int, "fallocate64", int, int, off64_t, off64_t);                  \
        struct stat st;                                                        \
                                                                               \
        if (meant(fd, &st) && page->full && at + n > st.st_size)               \
            return fail(ENOSPC, &page->done_enospc);                           \
        return real(fd, mode, at, n);                                          \
    }
FALLOCATE(fallocate, off_t)
FALLOCATE(fallocate64, off64_t)

int renameat(int from_dir, const char *from, int to_dir, const char *to)
{
    REAL(int, "renameat", int, const char *, int, const char *);
    char both[4 * PATH_MAX];
    size_t n, m;
    int rc;

    if (!recording() || !meant_dir(from_dir, from))
        return real(from_dir, from, to_dir, to);
    take();
    n = whole_path(from_dir, from, both, 2 * PATH_MAX);
    m = whole_path(to_dir, to, both + n + 1, 2 * PATH_MAX);
    rc = real(from_dir, from, to_dir, to);
    if (rc == 0)
        put(FAULTS_RENAME, both, n + 1 + m, 0, NULL, 0);
    give();
    return rc;
}

int rename(const char *from, const char *to)
{
    return renameat(AT_FDCWD, from, AT_FDCWD, to);
}

int unlinkat(int dir, const char *path, int flags)
{
    REAL(int, "unlinkat", int, const char *, int);
    int rc;

    if (!recording() || !meant_dir(dir, path))
        return real(dir, path, flags);
    take();
    rc = real(dir, path, flags);
    if (rc == 0)
        record_name(FAULTS_UNLINK, dir, path, 0);
    give();
    return rc;
}

int unlink(const char *path)
{
    return unlinkat(AT_FDCWD, path, 0);
}

int mkdirat(int dir, const char *path, mode_t mode)
{
    REAL(int, "mkdirat", int, const char *, mode_t);

    if (page && page->full && meant_dir(dir, path) &&
        faccessat(dir, path, F_OK, 0) != 0)
        return fail(ENOSPC, &page->done_enospc);
    return real(dir, path, mode);
}

int mkdir(const char *path, mode_t mode)
{
    return mkdirat(AT_FDCWD, path, mode);
}

/* ---- clocks ---- */

static int64_t rate(void)
{
    return page && page->rate > 1 ? (int64_t)page->rate : 1;
}

static int64_t in_ns(const struct timespec *t)
{
    return t->tv_sec * BILLION + t->tv_nsec;
}

static struct timespec of_ns(int64_t ns)
{
    if (ns < 0)
        ns = 0;
    return (struct timespec){ ns / BILLION, ns % BILLION };
}

int clock_gettime(clockid_t id, struct timespec *out)
{
    REAL(int, "clock_gettime", clockid_t, struct timespec *);
    int rc = real(id, out);
    bool wall = id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE;
    bool mono = id == CLOCK_MONOTONIC || id == CLOCK_MONOTONIC_COARSE ||
                id == CLOCK_MONOTONIC_RAW || id == CLOCK_BOOTTIME;
    int64_t ns, base;

    if (!page || rc != 0 || !(wall || mono))
        return rc;
    base = (int64_t)(wall ? page->base_wall_ns : page->base_ns);
    ns = in_ns(out);
    ns = base + (ns - base) * rate();
    ns += (wall ? page->wall_ms : (int64_t)page->mono_ms) * 1000000;
    *out = of_ns(ns);
    return 0;
}

int gettimeofday(struct timeval *restrict out, void *restrict zone)
{
    struct timespec t;

    (void)zone;
    clock_gettime(CLOCK_REALTIME, &t);
    *out = (struct timeval){ t.tv_sec, t.tv_nsec / 1000 };
    return 0;
}

time_t time(time_t *out)
{
    struct timespec t;

    clock_gettime(CLOCK_REALTIME, &t);
    if (out)
        *out = t.tv_sec;
    return t.tv_sec;
}

/* A wait of the fast clock in real milliseconds, never none for some. */
static int real_ms(int ms)
{
    if (ms > 0)
        ms = (int)((ms + rate() - 1) / rate());
    return page && ms > FAULTS_WAIT_MOST_MS ? FAULTS_WAIT_MOST_MS : ms;
}

int epoll_wait(int fd, struct epoll_event *out, int most, int ms)
{
    REAL(int, "epoll_wait", int, struct epoll_event *, int, int);

    return real(fd, out, most, real_ms(ms));
}

int poll(struct pollfd *fds, nfds_t n, int ms)
{
    REAL(int, "poll", struct pollfd *, nfds_t, int);

    return real(fds, n, ms <= 0 ? ms : (int)((ms + rate() - 1) / rate()));
}

int nanosleep(const struct timespec *t, struct timespec *left)
{
    REAL(int, "nanosleep", const struct timespec *, struct timespec *);
    struct timespec shorter = of_ns(in_ns(t) / rate());

    return real(&shorter, left);
}

int usleep(useconds_t us)
{
    struct timespec t = of_ns((int64_t)us * 1000);

    return nanosleep(&t, NULL);
}

/* The deadline is given in the fast clock; the journal waits by the
 * monotonic one, others by the wall. Which is told by which it is near. */
int pthread_cond_timedwait(pthread_cond_t *restrict c,
                           pthread_mutex_t *restrict m,
                           const struct timespec *restrict until)
{
    REAL(int, "pthread_cond_timedwait", pthread_cond_t *, pthread_mutex_t *,
         const struct timespec *);
    struct timespec at;
    int64_t ns = in_ns(until), mono, base;

    if (!page || (rate() == 1 && !page->wall_ms && !page->mono_ms))
        return real(c, m, until);
    clock_gettime(CLOCK_MONOTONIC, &at);
    mono = in_ns(&at);
    clock_gettime(CLOCK_REALTIME, &at);
    if (llabs(ns - mono) < llabs(ns - in_ns(&at))) {
        base = (int64_t)page->base_ns;
        ns -= (int64_t)page->mono_ms * 1000000;
    } else {
        base = (int64_t)page->base_wall_ns;
        ns -= page->wall_ms * 1000000;
    }
    at = of_ns(base + (ns - base) / rate());
    return real(c, m, &at);
}
