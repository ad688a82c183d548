/* SPDX-License-Identifier: Apache-2.0
 *
 * file.c - events into a file of this machine, one JSON object a line.
 *
 * A batch is one write. What a full disk cuts off is taken back to the last
 * whole line; the lines before it count as delivered, the others are tried
 * again. A torn line that a crash left at the end is cut off at the next
 * opening, since its event was never reported as delivered.
 *
 * The file is rotated by renaming it to <path>.<UTC time>. One that somebody
 * else moved away is noticed before the next write and made anew. Several
 * processes may write to one file: each locks it for the time of a batch.
 *
 * Refused: anything but a regular file, and paths that are not absolute. */
#include <manifold/kit.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define LINE_MAX_BYTES (1 << 20) /* how far back a torn line is looked for */
#define STAMP          16        /* letters of 20260112T100000Z and a NUL */
#define NAMES_MAX      1000      /* files rotated within one second */
#define KEEP_MAX       10000     /* rotated files that are counted */
#define REOPEN_MAX     5         /* times the file may move while we open it */

enum sync_when { SYNC_EACH, SYNC_SECOND, SYNC_NEVER };

struct file {
    char path[PATH_MAX];
    int64_t rotate_bytes; /* 0: never for its size */
    int64_t rotate_age;   /* ms, 0: never for its age */
    int64_t keep;         /* rotated files, 0: all */
    enum sync_when sync;
    int fd;               /* -1: not open */
    int dirty;            /* written since the last fsync */
    int64_t synced_at;    /* Unix ms */
    int64_t period;       /* of rotate_age in which it was last written */
};

enum { DATA };
static const char *const paths[] = { "data" };

/* ---- settings ---- */

/* "30s" "15m" "24h" "7d" to ms; -1 if it is none of these. */
static int64_t duration(const char *text)
{
    static const char units[] = "smhd";
    static const int64_t length[] = { 1000, 60000, 3600000, 86400000 };
    const char *unit;
    char *end;
    long n;

    errno = 0;
    n = strtol(text, &end, 10);
    unit = *end ? strchr(units, *end) : NULL;
    if (errno || n < 0 || n > 1000000 || !unit || end[1])
        return -1;
    return n * length[unit - units];
}

static void *create(mf_call *c)
{
    struct file *f = mf_alloc(c, sizeof *f);
    mf_str path = kit_setting_text(c, "path");
    mf_str age = kit_setting_text(c, "rotate_age");
    mf_str sync = kit_setting_text(c, "fsync");

    f->fd = -1;
    if (!path.len || path.ptr[0] != '/' ||
        path.len + STAMP + 8 > sizeof f->path ||
        path.ptr[path.len - 1] == '/' || memchr(path.ptr, 0, path.len)) {
        mf_fail(c, MF_INVALID,
                MF_STR("path must be the absolute path of a file"));
        return NULL;
    }
    memcpy(f->path, path.ptr, path.len);
    if (age.len)
        f->rotate_age = duration(kit_cstr(c, age));
    if (f->rotate_age < 0) {
        mf_fail(c, MF_INVALID,
                MF_STR("rotate_age must be a number and one of s, m, h, d"));
        return NULL;
    }
    f->rotate_bytes = mf_integer(c, kit_setting(c, "rotate_bytes"), 0);
    f->keep = mf_integer(c, kit_setting(c, "keep"), 0);
    if (mf_eq(sync, MF_STR("second")))
        f->sync = SYNC_SECOND;
    else if (mf_eq(sync, MF_STR("never")))
        f->sync = SYNC_NEVER;
    return f;
}

/* ---- the file ---- */

static mf_str fault(mf_call *c, const struct file *f, const char *doing)
{
    return MF_JOIN(c, mf_cstr(doing), MF_STR(" "), mf_cstr(f->path),
                   MF_STR(": "), mf_cstr(strerror(errno)));
}

static void drop(struct file *f)
{
    if (f->fd >= 0)
        close(f->fd);
    f->fd = -1;
    f->dirty = 0;
}

static int64_t period_of(const struct file *f, int64_t ms)
{
    return f->rotate_age ? ms / f->rotate_age : 0;
}

/* The directory of path, opened; *base is the name in it. */
static int open_dir(const char *path, const char **base)
{
    const char *slash = strrchr(path, '/');
    char dir[PATH_MAX];
    size_t len = (size_t)(slash - path);

    *base = slash + 1;
    memcpy(dir, path, len ? len : 1);
    dir[len ? len : 1] = '\0';
    return open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

/* A name that was made or moved must outlive a power failure too. */
static int sync_dir(const struct file *f)
{
    const char *base;
    int rc, fd;

    if (f->sync == SYNC_NEVER)
        return 0;
    fd = open_dir(f->path, &base);
    if (fd < 0)
        return -1;
    rc = fsync(fd);
    close(fd);
    return rc;
}

static int sync_now(struct file *f, int64_t now)
{
    if (!f->dirty || f->sync == SYNC_NEVER)
        return 0;
    if (f->sync == SYNC_SECOND && now - f->synced_at < 1000)
        return 0;
    f->synced_at = now;
    f->dirty = 0;
    return fdatasync(f->fd);
}

/* Puts the end of the file at the end of a line. A tail that begins as our
 * lines do is a torn one and goes; another is somebody's and is ended. */
static int mend(int fd, int64_t size)
{
    static const char newline = '\n';
    int64_t from = size > LINE_MAX_BYTES ? size - LINE_MAX_BYTES : 0;
    int64_t keep = size;
    ssize_t got;
    char *tail, *cut;
    int rc = -1;

    if (size == 0)
        return 0;
    tail = malloc((size_t)(size - from));
    got = tail ? pread(fd, tail, (size_t)(size - from), from) : -1;
    if (got != size - from)
        goto out;
    cut = memrchr(tail, '\n', (size_t)got);
    keep = cut ? from + (cut - tail) + 1 : from;
    if (keep == size)
        rc = 0;
    else if ((cut || from == 0) && tail[keep - from] == '{')
        rc = ftruncate(fd, keep);
    else
        rc = write(fd, &newline, 1) == 1 ? 0 : -1;
out:
    free(tail);
    return rc;
}

/* Opens path unless the open one still is what path names. Locked at 0. */
static int open_locked(struct file *f, struct stat *at)
{
    struct stat named;

    for (int i = 0; i < REOPEN_MAX; i++) {
        int fresh = f->fd < 0;

        if (fresh)
            f->fd = open(f->path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC |
                                      O_NOCTTY | O_NONBLOCK, 0640);
        if (f->fd < 0 || flock(f->fd, LOCK_EX) != 0 || fstat(f->fd, at) != 0)
            return -1;
        if (!S_ISREG(at->st_mode)) {
            errno = ENOTSUP;
            return -1;
        }
        if (stat(f->path, &named) != 0 || named.st_ino != at->st_ino ||
            named.st_dev != at->st_dev) {
            drop(f);
            continue;
        }
        if (!fresh)
            return 0;
        if (mend(f->fd, at->st_size) != 0 || fstat(f->fd, at) != 0)
            return -1;
        f->period = period_of(f, (int64_t)at->st_mtime * 1000);
        return sync_dir(f);
    }
    errno = ESTALE;
    return -1;
}

/* ---- rotation ---- */

static int is_rotated(const char *name, const char *base)
{
    size_t len = strlen(base);

    if (strncmp(name, base, len) != 0 || name[len] != '.')
        return 0;
    name += len + 1;
    return strlen(name) >= STAMP && strspn(name, "0123456789") == 8 &&
           name[8] == 'T' && strspn(name + 9, "0123456789") == 6 &&
           name[15] == 'Z';
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Removes the oldest rotated files beyond `keep`. That one stays behind is no
 * reason to hold events up. */
static void thin_out(const struct file *f)
{
    char **names = calloc(KEEP_MAX, sizeof *names);
    const char *base;
    int fd = open_dir(f->path, &base);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    struct dirent *entry;
    size_t n = 0;

    while (names && dir && n < KEEP_MAX && (entry = readdir(dir))) {
        if (is_rotated(entry->d_name, base) &&
            (names[n] = strdup(entry->d_name)))
            n++;
    }
    if (n)
        qsort(names, n, sizeof *names, by_name);
    for (size_t i = 0; i < n; i++) {
        if ((int64_t)(n - i) > f->keep)
            unlinkat(fd, names[i], 0);
        free(names[i]);
    }
    free(names);
    if (dir)
        closedir(dir);
    else if (fd >= 0)
        close(fd);
}

static int rotate(struct file *f, int64_t now)
{
    char to[PATH_MAX + STAMP + 8], stamp[STAMP + 1];
    time_t seconds = (time_t)(now / 1000);
    struct stat taken;
    struct tm utc;
    int i = 0;

    gmtime_r(&seconds, &utc);
    strftime(stamp, sizeof stamp, "%Y%m%dT%H%M%SZ", &utc);
    do
        snprintf(to, sizeof to, i ? "%s.%s-%03d" : "%s.%s", f->path, stamp, i);
    while (lstat(to, &taken) == 0 && ++i < NAMES_MAX);
    if (i == NAMES_MAX) {
        errno = EEXIST;
        return -1;
    }
    f->synced_at = 0;
    if (sync_now(f, now) != 0 || rename(f->path, to) != 0)
        return -1;
    drop(f);
    if (f->keep)
        thin_out(f);
    return 0;
}

/* Is it time to rotate before `more` bytes are added? */
static int is_due(const struct file *f, int64_t size, int64_t more, int64_t now)
{
    if (size == 0)
        return 0;
    if (f->rotate_bytes > 0 && size + more > f->rotate_bytes)
        return 1;
    return period_of(f, now) != f->period;
}

/* ---- delivery ---- */

/* Writes all of it or tells how much went; errno then says why not more. */
static size_t write_all(int fd, mf_str text)
{
    size_t done = 0;

    while (done < text.len) {
        ssize_t n = write(fd, text.ptr + done, text.len - done);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        done += (size_t)n;
    }
    return done;
}

/* The lines, and in ends[i] where event i's ends; an event without data is
 * refused and takes no room. */
static mf_str lines_of(mf_call *c, const mf_event *const *events, uint32_t n,
                       size_t *ends)
{
    mf_str *parts = mf_alloc(c, 2 * n * sizeof *parts);
    size_t len = 0, count = 0;

    for (uint32_t i = 0; i < n; i++) {
        mf_str line = mf_stringify(c, mf_field(events[i], DATA));

        if (line.len) {
            parts[count++] = line;
            parts[count++] = MF_STR("\n");
            len += line.len + 1;
        } else {
            mf_result(c, i, MF_INVALID, MF_STR("nothing is mapped to data"));
        }
        ends[i] = len;
    }
    return mf_join(c, parts, count);
}

/* How much of `done` bytes is whole lines; the rest is taken back. */
static size_t whole_lines(struct file *f, int64_t size, size_t done,
                          const size_t *ends, uint32_t n)
{
    size_t whole = 0;

    for (uint32_t i = 0; i < n && ends[i] <= done; i++)
        whole = ends[i];
    if (whole < done && ftruncate(f->fd, size + (int64_t)whole) != 0)
        drop(f); /* mended at the next opening */
    return whole;
}

static int32_t deliver(void *self, mf_call *c, const mf_event *const *events,
                       uint32_t n)
{
    size_t *ends = mf_alloc(c, n * sizeof *ends), whole;
    mf_str lines = lines_of(c, events, n, ends), why = MF_STR("");
    const char *doing = "open";
    int64_t now = mf_now(c);
    struct file *f = self;
    struct stat at;

    if (!lines.len)
        return MF_OK;
    if (open_locked(f, &at) != 0)
        goto failed;
    doing = "rotate";
    if (is_due(f, at.st_size, (int64_t)lines.len, now) &&
        (rotate(f, now) != 0 || open_locked(f, &at) != 0))
        goto failed;
    whole = write_all(f->fd, lines);
    f->dirty = 1;
    f->period = period_of(f, now);
    if (whole < lines.len) {
        why = fault(c, f, "write");
        whole = whole_lines(f, at.st_size, whole, ends, n);
    }
    doing = "sync";
    if (f->fd >= 0 && sync_now(f, now) != 0)
        goto failed;
    if (f->fd >= 0)
        flock(f->fd, LOCK_UN);
    for (uint32_t i = 0; i < n; i++) {
        if (ends[i] > whole)
            mf_result(c, i, MF_RETRY, why);
    }
    return MF_OK;
failed:
    why = fault(c, f, doing);
    drop(f);
    return mf_fail(c, MF_RETRY, why);
}

static void idle(void *self, mf_call *c)
{
    struct file *f = self;
    int64_t now = mf_now(c);
    struct stat at;

    if (f->fd < 0)
        return;
    if (sync_now(f, now) != 0 || open_locked(f, &at) != 0 ||
        (is_due(f, at.st_size, 0, now) && rotate(f, now) != 0)) {
        mf_log(c, MF_LOG_ERROR, fault(c, f, "sync or rotate"));
        drop(f);
        return;
    }
    if (f->fd >= 0)
        flock(f->fd, LOCK_UN);
}

static void close_file(void *self, mf_call *c)
{
    struct file *f = self;

    if (f->fd >= 0 && f->dirty && f->sync != SYNC_NEVER &&
        fdatasync(f->fd) != 0)
        mf_log(c, MF_LOG_ERROR, fault(c, f, "sync"));
    drop(f);
}

static const mf_action actions[] = {
    { .slug = "write", .paths = paths, .path_count = 1, .deliver = deliver },
};

MF_EXPORT const mf_destination mf_destination_v1 = {
    MF_HEADER, .actions = actions, .action_count = 1,
    .create = create, .idle = idle, .close = close_file,
};
