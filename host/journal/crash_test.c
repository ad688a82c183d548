/* SPDX-License-Identifier: Apache-2.0
 *
 * crash_test.c - power cuts, simulated at the I/O seam.
 *
 * A recorder keeps, beside the real files, what a disk must still have: bytes
 * count once their file was synced, names once the directory was. At a random
 * call the power goes: of what was not synced each write arrives whole, not
 * at all, or in some of its sectors; of the renames a random first part. The
 * journal is opened on that and must hold every acknowledged record and no
 * ghost; then it goes on from there until the next cut, so that epochs, reused
 * numbers and recycled segments pile up. One life in five ends by a mere kill:
 * then everything written stays, and so does the shared head. In one in three
 * syncs fail: then some of what was to be synced never arrives, though the
 * page cache keeps showing it; only what is opened with O_DIRECT shows the
 * truth.
 *
 * JOURNAL_CRASH_POINTS sets the number of cuts, JOURNAL_CRASH_SEED the start.
 */
#include "journal/journal.h"
#include "journal/segment.h"

#include "base/io.h"
#include "base/log.h"
#include "base/mem.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define FILES 512
#define NAMES 64
#define OPS 256
#define SECTOR 512
#define IMAGE SEGMENT_LEAST
#define RECORDS 4000000
#define FDS 256

struct write_op {
    struct write_op *next;
    size_t at, n;
    unsigned char bytes[];
};

/* A file as the disk must have it, and what is on its way there. */
struct file {
    ino_t ino;
    unsigned char bytes[IMAGE];
    size_t size;
    struct write_op *pending, **last;
};

struct name {
    char text[SEGMENT_NAME + 16];
    struct file *file;
};

struct name_op {
    char from[SEGMENT_NAME + 16], to[SEGMENT_NAME + 16]; /* to "": unlink */
    struct file *file;                                   /* from "": create */
};

static struct {
    pthread_mutex_t lock;
    pthread_cond_t moved;
    uint64_t random;
    struct file *files[FILES];
    unsigned n_files;
    struct name names[NAMES];
    unsigned n_names;
    struct name_op ops[OPS];
    unsigned n_ops;
    long fuse;     /* calls until the cut */
    _Atomic bool dead;
    bool kill_only;
    bool faults;
    long failed;   /* syncs so far */
    bool direct[FDS];
    _Atomic uint64_t acked;
    struct journal_head head;
    char path[64], next_path[64];
} disk = { .lock = PTHREAD_MUTEX_INITIALIZER,
           .moved = PTHREAD_COND_INITIALIZER };

static uint64_t chance(uint64_t n)
{
    disk.random ^= disk.random << 13;
    disk.random ^= disk.random >> 7;
    disk.random ^= disk.random << 17;
    return (disk.random >> 11) % n;
}

/* ---- the disk ---- */

static struct file *file_of(int fd)
{
    struct stat st;

    assert_int_equal(fstat(fd, &st), 0);
    for (unsigned i = 0; i < disk.n_files; i++)
        if (disk.files[i]->ino == st.st_ino)
            return disk.files[i];
    return NULL;
}

static void drop_pending(struct file *f)
{
    while (f->pending) {
        struct write_op *w = f->pending;

        f->pending = w->next;
        free(w);
    }
    f->last = &f->pending;
}

static struct file *new_file(int fd)
{
    struct file *f = file_of(fd);
    struct stat st;

    if (!f) {
        assert_true(disk.n_files < FILES);
        f = xcalloc(1, sizeof *f);
        disk.files[disk.n_files++] = f;
        f->last = &f->pending;
    }
    drop_pending(f);
    memset(f->bytes, 0, sizeof f->bytes);
    f->size = 0;
    assert_int_equal(fstat(fd, &st), 0);
    f->ino = st.st_ino;
    return f;
}

static void put_bytes(struct file *f, size_t at, const void *from, size_t n)
{
    assert_true(at + n <= IMAGE);
    memcpy(f->bytes + at, from, n);
    if (at + n > f->size)
        f->size = at + n;
}

static void settle_bytes(struct file *f)
{
    for (struct write_op *w = f->pending; w; w = w->next)
        put_bytes(f, w->at, w->bytes, w->n);
    drop_pending(f);
}

static void tear_bytes(struct file *f)
{
    for (struct write_op *w = f->pending; w; w = w->next) {
        unsigned fate = (unsigned)chance(3);

        if (fate == 0)
            continue;
        for (size_t k = 0, n; k < w->n; k += n) {
            n = SECTOR - (w->at + k) % SECTOR;
            if (n > w->n - k)
                n = w->n - k;
            if (fate == 1 || chance(2))
                put_bytes(f, w->at + k, w->bytes + k, n);
        }
    }
    drop_pending(f);
}

static void set_name(const char *text, struct file *f)
{
    unsigned i = 0;

    while (i < disk.n_names && strcmp(disk.names[i].text, text) != 0)
        i++;
    if (!f) {
        if (i < disk.n_names)
            disk.names[i] = disk.names[--disk.n_names];
        return;
    }
    assert_true(i < NAMES);
    if (i == disk.n_names)
        disk.n_names++;
    snprintf(disk.names[i].text, sizeof disk.names[i].text, "%s", text);
    disk.names[i].file = f;
}

static void settle_names(unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        struct name_op *op = &disk.ops[i];

        if (op->from[0])
            set_name(op->from, NULL);
        if (op->to[0])
            set_name(op->to, op->file);
    }
    disk.n_ops = 0;
}

static void name_op(const char *from, const char *to, struct file *f)
{
    struct name_op *op = &disk.ops[disk.n_ops++];

    assert_true(disk.n_ops <= OPS);
    snprintf(op->from, sizeof op->from, "%s", from);
    snprintf(op->to, sizeof op->to, "%s", to);
    op->file = f;
}

/* Makes the directory that the next life finds. */
static void write_out(void)
{
    assert_int_equal(mkdir(disk.next_path, 0700), 0);
    for (unsigned i = 0; i < disk.n_names; i++) {
        char path[256];
        struct name *n = &disk.names[i];
        struct stat st;
        int fd;

        snprintf(path, sizeof path, "%s/%s", disk.next_path, n->text);
        fd = open(path, O_RDWR | O_CREAT | O_EXCL, 0600);
        assert_true(fd >= 0);
        assert_int_equal(write(fd, n->file->bytes, n->file->size),
                         (ssize_t)n->file->size);
        assert_int_equal(fstat(fd, &st), 0);
        n->file->ino = st.st_ino;
        close(fd);
    }
}

/* Files without a name in the new directory are gone. */
static void forget_nameless(void)
{
    for (unsigned i = 0; i < disk.n_files;) {
        bool named = false;

        for (unsigned k = 0; k < disk.n_names; k++)
            named |= disk.names[k].file == disk.files[i];
        if (named) {
            i++;
            continue;
        }
        drop_pending(disk.files[i]);
        free(disk.files[i]);
        disk.files[i] = disk.files[--disk.n_files];
    }
}

/* True once the power is gone; called with the lock held by every call that
 * changes something. */
static bool cut(void)
{
    if (disk.dead || disk.fuse-- > 0)
        return disk.dead;
    disk.dead = true;
    if (atomic_load(&disk.head.durable) > disk.acked)
        disk.acked = atomic_load(&disk.head.durable);
    if (!disk.kill_only) {
        settle_names((unsigned)chance(disk.n_ops + 1));
        forget_nameless();
        for (unsigned i = 0; i < disk.n_files; i++)
            tear_bytes(disk.files[i]);
        write_out();
    }
    pthread_cond_broadcast(&disk.moved);
    return true;
}

/* ---- the seam ---- */

static bool plain(const char *path)
{
    return strcmp(path, ".") != 0 && !strchr(path, '/');
}

static int t_openat(int dir, const char *path, int flags, mode_t mode)
{
    int fd = -1;

    pthread_mutex_lock(&disk.lock);
    if ((flags & O_CREAT) && plain(path) && cut()) {
        errno = EIO;
    } else {
        bool was = faccessat(dir, path, F_OK, 0) == 0;

        fd = openat(dir, path, flags & ~O_DIRECT, mode);
        assert_true(fd < FDS);
        if (fd >= 0)
            disk.direct[fd] = flags & O_DIRECT;
        if (fd >= 0 && plain(path) && (flags & O_CREAT) && !was)
            name_op("", path, new_file(fd));
        else if (fd >= 0 && plain(path) && (flags & O_TRUNC))
            new_file(fd);
    }
    pthread_mutex_unlock(&disk.lock);
    return fd;
}

static ssize_t t_pread(int fd, void *to, size_t n, off_t at)
{
    ssize_t got;

    pthread_mutex_lock(&disk.lock);
    got = pread(fd, to, n, at);
    if (got > 0 && !disk.dead && disk.direct[fd]) {
        struct file *f = file_of(fd);

        ASSERT(f);
        memcpy(to, f->bytes + at, (size_t)got);
        for (struct write_op *w = f->pending; w; w = w->next)
            for (size_t k = 0; k < w->n; k++)
                if (w->at + k >= (size_t)at && w->at + k < (size_t)(at + got))
                    ((unsigned char *)to)[w->at + k - (size_t)at] =
                        w->bytes[k];
    }
    pthread_mutex_unlock(&disk.lock);
    return got;
}

static ssize_t note_write(int fd, const void *from, size_t n, off_t at)
{
    struct file *f = file_of(fd);
    struct write_op *w;

    if (!f)
        return (ssize_t)n;
    w = xmalloc(sizeof *w + n);
    *w = (struct write_op){ NULL, (size_t)at, n };
    memcpy(w->bytes, from, n);
    *f->last = w;
    f->last = &w->next;
    return (ssize_t)n;
}

/* The write the power goes in has begun: it is among those that tear. One
 * that a kill prevents never was. */
static ssize_t t_pwrite(int fd, const void *from, size_t n, off_t at)
{
    ssize_t got = -1;

    pthread_mutex_lock(&disk.lock);
    errno = EIO;
    if (!disk.dead) {
        if (disk.fuse > 0 || !disk.kill_only)
            note_write(fd, from, n, at);
        if (!cut())
            got = pwrite(fd, from, n, at);
    }
    pthread_mutex_unlock(&disk.lock);
    return got;
}

static ssize_t t_write(int fd, const void *from, size_t n)
{
    off_t at = lseek(fd, 0, SEEK_CUR);
    ssize_t got = t_pwrite(fd, from, n, at);

    if (got > 0)
        lseek(fd, at + got, SEEK_SET);
    return got;
}

static int t_sync(int fd)
{
    int rc = -1;
    struct stat st;

    pthread_mutex_lock(&disk.lock);
    errno = EIO;
    if (!cut()) {
        struct file *f = file_of(fd);

        fstat(fd, &st);
        if (disk.faults && chance(60) == 0) {
            disk.failed++;
            if (f)
                tear_bytes(f);
        } else {
            if (S_ISDIR(st.st_mode))
                settle_names(disk.n_ops);
            else if (f)
                settle_bytes(f);
            rc = 0;
        }
    }
    pthread_mutex_unlock(&disk.lock);
    return rc;
}

/* The number of a file that goes may be given to the next one: keep them
 * apart. */
static void forget_number(int dir, const char *path)
{
    int fd = openat(dir, path, O_RDONLY);
    struct file *f = fd >= 0 ? file_of(fd) : NULL;

    if (f)
        f->ino = 0;
    if (fd >= 0)
        close(fd);
}

static int t_renameat(int dir, const char *from, int to_dir, const char *to)
{
    int rc = -1, fd;

    pthread_mutex_lock(&disk.lock);
    errno = EIO;
    if (!cut()) {
        fd = openat(dir, from, O_RDONLY);
        assert_true(fd >= 0);
        name_op(from, to, file_of(fd));
        close(fd);
        forget_number(dir, to);
        rc = renameat(dir, from, to_dir, to);
    }
    pthread_mutex_unlock(&disk.lock);
    return rc;
}

static int t_unlinkat(int dir, const char *path, int flags)
{
    int rc = -1;

    pthread_mutex_lock(&disk.lock);
    errno = EIO;
    if (!cut()) {
        forget_number(dir, path);
        name_op(path, "", NULL);
        rc = unlinkat(dir, path, flags);
    }
    pthread_mutex_unlock(&disk.lock);
    return rc;
}

/* ---- the lives ---- */

/* ids[seq] is what the record of that number must carry. Up to disk.acked it
 * must be there; behind that it may. */
static uint32_t ids[RECORDS];
static uint32_t last_id;

static void on_moved(void *arg)
{
    (void)arg;
    pthread_mutex_lock(&disk.lock);
    pthread_cond_broadcast(&disk.moved);
    pthread_mutex_unlock(&disk.lock);
}

static void check(int dir)
{
    struct journal_reader *r = journal_reader_new(dir, &disk.head);
    uint64_t end = atomic_load(&disk.head.durable), seq = 0, from, to;
    struct journal_record rec;
    struct err e = { "" };
    char text[32];

    if (end < disk.acked)
        fail_msg("acknowledged %" PRIu64 ", found %" PRIu64,
                 atomic_load(&disk.acked), end);
    for (;;) {
        enum journal_read got = journal_next(r, 0, 0, &rec, &from, &to, &e);

        if (got == JOURNAL_END)
            break;
        if (got == JOURNAL_LOST && to < atomic_load(&disk.head.first))
            continue;
        if (got != JOURNAL_RECORD)
            fail_msg("after %" PRIu64 ": outcome %d, %s", seq, got, e.text);
        if (seq && rec.seq != seq + 1 &&
            rec.seq != atomic_load(&disk.head.first))
            fail_msg("%" PRIu64 " follows %" PRIu64, rec.seq, seq);
        seq = rec.seq;
        snprintf(text, sizeof text, "%u ", ids[seq]);
        if (rec.payload.len < strlen(text) ||
            memcmp(rec.payload.ptr, text, strlen(text)) != 0)
            fail_msg("record %" PRIu64 " is a ghost: %.10s, not %s", seq,
                     rec.payload.ptr, text);
    }
    if (seq < end)
        fail_msg("the last record read is %" PRIu64 " of %" PRIu64, seq, end);
    journal_reader_free(r);
    assert_int_equal(faccessat(dir, "quarantine", F_OK, 0), -1);
}

static bool append_one(struct journal *j)
{
    static char text[800];
    struct journal_record r = { .source = 1, .received_ms = last_id + 1 };
    size_t n = (size_t)snprintf(text, sizeof text, "%u ", ++last_id);

    memset(text + n, '.', sizeof text - n);
    r.payload = (mf_str){ text, n + last_id * 2654435761u % 700 };
    if (journal_append(j, &r) != JOURNAL_OK)
        return false;
    assert_true(r.seq < RECORDS);
    ids[r.seq] = last_id;
    return true;
}

/* Waits until the group is durable, was lost, or the power goes. Called with
 * the lock of the disk. */
static void wait_group(struct journal *j)
{
    while (!disk.dead && ids[atomic_load(&disk.head.durable)] != last_id &&
           journal_failed_from(j) == 0)
        pthread_cond_wait(&disk.moved, &disk.lock);
}

/* The journal refuses: it takes notice and waits for a sign. */
static void wait_recovery(struct journal *j)
{
    struct timespec t;

    journal_failed_from(j);
    clock_gettime(CLOCK_REALTIME, &t);
    t.tv_nsec += 2000000; /* a spare that is ready gives no sign */
    t.tv_sec += t.tv_nsec / 1000000000;
    t.tv_nsec %= 1000000000;
    if (!disk.dead)
        pthread_cond_timedwait(&disk.moved, &disk.lock, &t);
}

/* Groups of records, each waited for, until the power goes. */
static void run_until_cut(struct journal *j)
{
    pthread_mutex_lock(&disk.lock);
    while (!disk.dead) {
        uint64_t n = 1 + chance(8);
        bool all = true;

        pthread_mutex_unlock(&disk.lock);
        for (uint64_t i = 0; i < n && all; i++)
            all = append_one(j);
        journal_flush(j);
        pthread_mutex_lock(&disk.lock);
        if (all)
            wait_group(j);
        else
            wait_recovery(j);
    }
    pthread_mutex_unlock(&disk.lock);
}

static void one_life(uint64_t segments)
{
    int dir = open(disk.path, O_RDONLY | O_DIRECTORY);
    struct journal_options o = { .dir = dir, .head = &disk.head,
                                 .segment_bytes = SEGMENT_LEAST,
                                 .max_bytes = segments * SEGMENT_LEAST,
                                 .on_durable = on_moved };
    struct err e = { "" };
    struct journal *j;

    assert_true(dir >= 0);
    j = journal_open(&o, &e);
    if (!j && !disk.dead && !disk.faults)
        fail_msg("open: %s", e.text);
    if (j) {
        check(dir);
        run_until_cut(j);
        journal_close(j);
    }
    pthread_mutex_lock(&disk.lock);
    disk.fuse = 0;
    cut(); /* unless it was: a failed sync ended this life in open */
    pthread_mutex_unlock(&disk.lock);
    close(dir);
}

static void remove_dir(const char *path)
{
    char command[128];

    snprintf(command, sizeof command, "rm -rf '%s'", path);
    assert_int_equal(system(command), 0);
}

static long setting(const char *name, long otherwise)
{
    const char *text = getenv(name);

    return text ? strtol(text, NULL, 10) : otherwise;
}

static void power_cuts(void **state)
{
    long points = setting("JOURNAL_CRASH_POINTS", 300);
    char top[32] = "/tmp/journal-crash-XXXXXX";
    long kills = 0;

    (void)state;
    disk.random = (uint64_t)setting("JOURNAL_CRASH_SEED", 20260112);
    assert_non_null(mkdtemp(top));
    io = (struct io_calls){ t_openat, t_pread, t_pwrite, t_write, t_sync,
                            t_sync, ftruncate, t_renameat, t_unlinkat };
    snprintf(disk.path, sizeof disk.path, "%s/0", top);
    assert_int_equal(mkdir(disk.path, 0700), 0);
    for (long i = 1; i <= points; i++) {
        snprintf(disk.next_path, sizeof disk.next_path, "%s/%ld", top, i);
        disk.kill_only = chance(5) == 0;
        disk.dead = false;
        disk.faults = chance(3) == 0;
        /* Mostly short; some long enough to recycle what they wrote. */
        disk.fuse = (long)chance(chance(2) ? 24 : chance(5) ? 100 : 500);
        one_life(4 + chance(3));
        kills += disk.kill_only;
        if (disk.kill_only)
            continue;
        remove_dir(disk.path);
        snprintf(disk.path, sizeof disk.path, "%s", disk.next_path);
        memset(&disk.head, 0, sizeof disk.head);
    }
    io = io_real;
    remove_dir(top);
    print_message("%ld cuts, %ld of them kills, %ld failed syncs; %" PRIu64
                  " records acknowledged\n", points, kills, disk.failed,
                  atomic_load(&disk.acked));
    assert_true(disk.acked > (uint64_t)points);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(power_cuts),
    };

    log_level(LOG_L_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
