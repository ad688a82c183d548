/* SPDX-License-Identifier: Apache-2.0
 *
 * store.c - see store.h.
 *
 * data_dir/plugins holds
 *   <slug>-<hash>.so      a copy, mode 0444; its modification time is when it
 *                         was last put, which orders copies for pruning
 *   .<slug>-<hash>.new    one being written; a crash may leave it
 * A slug has no dot and a hash no dash, so names read back without doubt. */
#include "plugin/store.h"

#include "base/clock.h"
#include "base/io.h"
#include "base/mem.h"
#include "base/text.h"
#include "plugin/manifest.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#ifndef MFD_EXEC
#define MFD_EXEC 0x0010U
#endif

#define NAME_BYTES 128
#define HASH_LEN   (IMAGE_HASH_TEXT - 1)
#define TEMPORARY  ".new"
#define SUFFIX     ".so"

struct plugin_store {
    int dir;
    bool noexec;
};

/* ---- names ---- */

static bool good_slug(const char *slug)
{
    size_t n = strspn(slug, "abcdefghijklmnopqrstuvwxyz0123456789-");

    return n && slug[n] == 0 && slug[0] != '-' && n < PLUGIN_SLUG;
}

static bool good_hash(const char *hash)
{
    return strspn(hash, "0123456789abcdef") == HASH_LEN && !hash[HASH_LEN];
}

static int copy_name(const char *slug, const char *hash, char out[NAME_BYTES],
                     struct err *e)
{
    if (!good_slug(slug) || !good_hash(hash))
        return err_set(e, "%s-%s is no name of a plugin's copy", slug, hash);
    snprintf(out, NAME_BYTES, "%s-%s" SUFFIX, slug, hash);
    return 0;
}

/* True if name is a copy of the slug; its hash then is in out. */
static bool is_copy(const char *name, const char *slug,
                    char out[IMAGE_HASH_TEXT])
{
    size_t n = strlen(slug);

    if (strlen(name) != n + 1 + HASH_LEN + sizeof SUFFIX - 1 ||
        strncmp(name, slug, n) != 0 || name[n] != '-' ||
        strcmp(name + n + 1 + HASH_LEN, SUFFIX) != 0)
        return false;
    memcpy(out, name + n + 1, HASH_LEN);
    out[HASH_LEN] = 0;
    return good_hash(out);
}

/* ---- the directory ---- */

/* A stream over an open directory that leaves its descriptor alone. */
static DIR *list_dir(int dir)
{
    int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);

    if (!d && fd >= 0)
        close(fd);
    return d;
}

static void remove_leftovers(struct plugin_store *s)
{
    DIR *d = list_dir(s->dir);
    struct dirent *one;

    while (d && (one = readdir(d)))
        if (one->d_name[0] == '.' &&
            str_ends(mf_cstr(one->d_name), MF_STR(TEMPORARY)))
            io.unlinkat(s->dir, one->d_name, 0);
    if (d)
        closedir(d);
}

struct plugin_store *store_new(int data_dir, struct err *e)
{
    struct plugin_store *s;
    struct statvfs fs;
    int dir;

    if (mkdirat(data_dir, "plugins", 0755) != 0 && errno != EEXIST) {
        err_sys(e, "the directory plugins cannot be made in data_dir");
        return NULL;
    }
    dir = io.openat(data_dir, "plugins", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    if (dir < 0) {
        err_sys(e, "data_dir/plugins cannot be opened");
        return NULL;
    }
    s = xcalloc(1, sizeof *s);
    s->dir = dir;
    s->noexec = fstatvfs(dir, &fs) == 0 && fs.f_flag & ST_NOEXEC;
    remove_leftovers(s);
    return s;
}

void store_free(struct plugin_store *s)
{
    if (!s)
        return;
    close(s->dir);
    free(s);
}

/* ---- putting ---- */

/* Whether the copy is there with just these bytes; then its time is now. */
static bool already_there(struct plugin_store *s, const char *name,
                          const struct image *image)
{
    int fd = io.openat(s->dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW, 0);
    bool same = false;
    struct stat st;
    char *bytes;

    if (fd < 0)
        return false;
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) &&
        (uint64_t)st.st_size == image->len) {
        bytes = xmalloc(image->len);
        same = io_pread_all(fd, bytes, image->len, 0) == 0 &&
               memcmp(bytes, image->bytes, image->len) == 0;
        free(bytes);
    }
    if (same)
        futimens(fd, NULL);
    close(fd);
    return same;
}

static int write_copy(struct plugin_store *s, const char *beside,
                      const struct image *image, struct err *e)
{
    int fd = io.openat(s->dir, beside,
                       O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

    if (fd < 0)
        return err_sys(e, "data_dir/plugins/%s cannot be made", beside);
    if (io_write_all(fd, image->bytes, image->len) != 0 ||
        fchmod(fd, 0444) != 0 || io.fsync(fd) != 0) {
        err_sys(e, "data_dir/plugins/%s cannot be written", beside);
        close(fd);
        return -1;
    }
    close(fd);
    return 0;
}

int store_put(struct plugin_store *s, const struct image *image,
              const char *slug, struct err *e)
{
    char name[NAME_BYTES], beside[NAME_BYTES + 8];

    if (copy_name(slug, image->hash, name, e) != 0)
        return -1;
    if (already_there(s, name, image))
        return 0;
    snprintf(beside, sizeof beside, ".%.*s" TEMPORARY,
             (int)(strlen(name) - sizeof SUFFIX + 1), name);
    io.unlinkat(s->dir, beside, 0);
    if (write_copy(s, beside, image, e) != 0) {
        io.unlinkat(s->dir, beside, 0);
        return -1;
    }
    if (io.renameat(s->dir, beside, s->dir, name) != 0 ||
        io.fsync(s->dir) != 0) {
        err_sys(e, "data_dir/plugins/%s cannot be put in place", name);
        io.unlinkat(s->dir, beside, 0);
        return -1;
    }
    return 0;
}

/* ---- opening ---- */

/* Older kernels do not know MFD_EXEC, newer ones may demand it. */
static int memory_file(const char *name)
{
    unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
    int fd = memfd_create(name, flags | MFD_EXEC);

    return fd < 0 && errno == EINVAL ? memfd_create(name, flags) : fd;
}

static int copy_into_memory(int from, const char *name, struct err *e)
{
    int fd = -1, seals = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW |
                         F_SEAL_WRITE;
    struct stat st;
    char *bytes;

    if (fstat(from, &st) != 0 || (uint64_t)st.st_size > IMAGE_BYTES_MAX)
        return err_set(e, "data_dir/plugins/%s cannot be examined", name);
    bytes = xmalloc((size_t)st.st_size + 1);
    if (io_pread_all(from, bytes, (size_t)st.st_size, 0) != 0) {
        err_sys(e, "data_dir/plugins/%s cannot be read", name);
        goto out;
    }
    fd = memory_file(name);
    if (fd < 0 || io_write_all(fd, bytes, (size_t)st.st_size) != 0 ||
        fcntl(fd, F_ADD_SEALS, seals) != 0) {
        err_sys(e, "no memory file can be made for %s (data_dir is mounted "
                   "noexec)",
                name);
        if (fd >= 0)
            close(fd);
        fd = -1;
    }
out:
    free(bytes);
    return fd;
}

int store_open(struct plugin_store *s, const char *slug, const char *hash,
               struct err *e)
{
    char name[NAME_BYTES];
    int fd, copy;

    if (copy_name(slug, hash, name, e) != 0)
        return -1;
    fd = io.openat(s->dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW, 0);
    if (fd < 0)
        return err_sys(e, "data_dir/plugins/%s cannot be opened", name);
    if (!s->noexec)
        return fd;
    copy = copy_into_memory(fd, name, e);
    close(fd);
    return copy;
}

/* ---- listing and pruning ---- */

static int newer_first(const void *a, const void *b)
{
    const struct store_copy *x = a, *y = b;

    if (x->put_ms != y->put_ms)
        return x->put_ms < y->put_ms ? 1 : -1;
    return strcmp(x->hash, y->hash);
}

static int64_t time_ms(const struct timespec *t)
{
    return (int64_t)t->tv_sec * 1000 + t->tv_nsec / 1000000;
}

int store_list(struct plugin_store *s, const char *slug,
               struct store_copy out[], size_t max, struct err *e)
{
    DIR *d = list_dir(s->dir);
    struct dirent *one;
    struct stat st;
    size_t n = 0;

    if (!d)
        return err_sys(e, "data_dir/plugins cannot be listed");
    while (n < max && (one = readdir(d))) {
        if (!is_copy(one->d_name, slug, out[n].hash) ||
            fstatat(s->dir, one->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0 ||
            !S_ISREG(st.st_mode))
            continue;
        out[n].put_ms = time_ms(&st.st_mtim);
        out[n++].bytes = (uint64_t)st.st_size;
    }
    closedir(d);
    qsort(out, n, sizeof *out, newer_first);
    return (int)n;
}

int store_prune(struct plugin_store *s, const char *slug,
                const char *const *in_use, struct err *e)
{
    struct store_copy *copies = xcalloc(STORE_COPIES_MAX, sizeof *copies);
    int n = store_list(s, slug, copies, STORE_COPIES_MAX, e);
    char name[NAME_BYTES];
    int rc = n < 0 ? -1 : 0;

    for (int i = STORE_KEEP; i < n; i++) {
        if (in_use && text_among(copies[i].hash, in_use))
            continue;
        if (copy_name(slug, copies[i].hash, name, e) != 0 ||
            (io.unlinkat(s->dir, name, 0) != 0 && errno != ENOENT))
            rc = err_sys(e, "data_dir/plugins/%s cannot be removed", name);
    }
    free(copies);
    return rc;
}

/* ---- the plugins directory ---- */

bool plugin_stamp_same(const struct plugin_stamp *a,
                       const struct plugin_stamp *b)
{
    return a->device == b->device && a->inode == b->inode &&
           a->bytes == b->bytes && a->modified.tv_sec == b->modified.tv_sec &&
           a->modified.tv_nsec == b->modified.tv_nsec &&
           a->changed.tv_sec == b->changed.tv_sec &&
           a->changed.tv_nsec == b->changed.tv_nsec;
}

static void stamp(const struct stat *st, struct plugin_stamp *out)
{
    *out = (struct plugin_stamp){ st->st_dev, st->st_ino,
                                  (uint64_t)st->st_size, st->st_mtim,
                                  st->st_ctim };
}

static int refuse(struct plugin_file *f, const char *why)
{
    f->refused = xstrdup(why);
    f->hash[0] = 0;
    return -1;
}

/* The manifest must be one, and name the plugin as the file does. */
static int take_manifest(struct plugin_file *f, const struct image *image,
                         struct err *e)
{
    const char *name = strrchr(f->path, '/');
    struct manifest *m;
    char *in;
    int rc = 0;

    name = name ? name + 1 : f->path;
    in = xasprintf("%s: manifest.json", name);
    m = manifest_parse(xstrndup(image->manifest, image->manifest_len),
                       image->manifest_len, in, e);
    free(in);
    if (!m)
        return -1;
    if (strcmp(m->slug, f->slug) != 0)
        rc = err_set(e, "%s: its manifest says it is %s; name the file %s.so",
                     name, m->slug, m->slug);
    manifest_free(m);
    return rc;
}

static int read_plugin(int dir, const char *name, struct plugin_store *store,
                       struct plugin_file *f)
{
    struct image image;
    struct err e;
    int rc;

    f->reread = true;
    if (image_read(dir, name, &image, &e) != 0)
        return refuse(f, e.text);
    rc = take_manifest(f, &image, &e);
    if (rc == 0 && store)
        rc = store_put(store, &image, f->slug, &e);
    if (rc == 0) {
        memcpy(f->hash, image.hash, sizeof f->hash);
        f->abi_major = image.abi_major;
        f->abi_minor = image.abi_minor;
        f->manifest = xstrndup(image.manifest, image.manifest_len);
        f->manifest_len = image.manifest_len;
    } else {
        refuse(f, e.text);
    }
    image_free(&image);
    return rc;
}

static void keep(struct plugin_file *f, const struct plugin_file *was)
{
    memcpy(f->hash, was->hash, sizeof f->hash);
    f->abi_major = was->abi_major;
    f->abi_minor = was->abi_minor;
    f->manifest_len = was->manifest_len;
    if (was->manifest)
        f->manifest = xstrndup(was->manifest, was->manifest_len);
    if (was->refused)
        f->refused = xstrdup(was->refused);
}

/* A copy of it may have been taken away since it was put there. */
static bool still_stored(struct plugin_store *store,
                         const struct plugin_file *was)
{
    char name[NAME_BYTES];

    return !store || was->refused ||
           (copy_name(was->slug, was->hash, name, NULL) == 0 &&
            faccessat(store->dir, name, R_OK, 0) == 0);
}

static void look_at(int dir, const char *name, struct plugin_store *store,
                    const struct plugin_files *before, struct plugin_file *f)
{
    const struct plugin_file *was;
    struct stat st;

    if (fstatat(dir, name, &st, 0) != 0) {
        refuse(f, strerror(errno));
        return;
    }
    stamp(&st, &f->stamp);
    was = before ? plugins_find(before, f->slug) : NULL;
    if (was && plugin_stamp_same(&was->stamp, &f->stamp) && !was->fresh &&
        still_stored(store, was))
        keep(f, was);
    else if (!good_slug(f->slug) ||
             strlen(name) != strlen(f->slug) + sizeof SUFFIX - 1)
        refuse(f, "the name of a plugin's file is its slug, "
                  "[a-z0-9][a-z0-9-]{0,63}, and .so");
    else
        read_plugin(dir, name, store, f);
    f->fresh = f->refused && clock_ms() - time_ms(&f->stamp.changed) <
                                 PLUGIN_FRESH_MS;
}

static int by_slug(const void *a, const void *b)
{
    return strcmp(((const struct plugin_file *)a)->slug,
                  ((const struct plugin_file *)b)->slug);
}

static bool is_plugin_name(const char *name)
{
    return name[0] != '.' && strlen(name) > sizeof SUFFIX - 1 &&
           str_ends(mf_cstr(name), MF_STR(SUFFIX));
}

int plugins_scan(const char *dir, struct plugin_store *store,
                 const struct plugin_files *before, struct plugin_files *out,
                 struct err *e)
{
    DIR *d = opendir(dir);
    struct dirent *one;

    *out = (struct plugin_files){ 0 };
    if (!d)
        return err_sys(e, "the plugins directory %s cannot be read", dir);
    out->list = xcalloc(PLUGIN_FILES_MAX, sizeof *out->list);
    while ((one = readdir(d))) {
        struct plugin_file *f = &out->list[out->count];

        if (!is_plugin_name(one->d_name))
            continue;
        if (out->count == PLUGIN_FILES_MAX) {
            plugins_free(out);
            closedir(d);
            return err_set(e, "the plugins directory %s holds more than %d "
                              "plugins",
                           dir, PLUGIN_FILES_MAX);
        }
        out->count++;
        snprintf(f->slug, sizeof f->slug, "%.*s",
                 (int)(strlen(one->d_name) - sizeof SUFFIX + 1), one->d_name);
        f->path = xasprintf("%s/%s", dir, one->d_name);
        look_at(dirfd(d), one->d_name, store, before, f);
    }
    closedir(d);
    qsort(out->list, out->count, sizeof *out->list, by_slug);
    return 0;
}

void plugins_free(struct plugin_files *f)
{
    for (size_t i = 0; i < f->count; i++) {
        free(f->list[i].path);
        free(f->list[i].refused);
        free(f->list[i].manifest);
    }
    free(f->list);
    *f = (struct plugin_files){ 0 };
}

const struct plugin_file *plugins_find(const struct plugin_files *f,
                                       const char *slug)
{
    for (size_t i = 0; i < f->count; i++)
        if (strcmp(f->list[i].slug, slug) == 0)
            return &f->list[i];
    return NULL;
}
