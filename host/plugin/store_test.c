/* SPDX-License-Identifier: Apache-2.0
 *
 * store_test.c - copies of plugins, their life, and looking at a directory of
 * files that come, change and go. */
#include "plugin/store.h"

#include "base/clock.h"
#include "base/io.h"
#include "base/mem.h"
#include "plugin/fixture.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

struct place {
    char path[64], plugins[80];
    int dir;
    struct plugin_store *store;
};

static int setup(void **state)
{
    struct place *p = xcalloc(1, sizeof *p);
    struct err e;

    snprintf(p->path, sizeof p->path, "/tmp/store_test.XXXXXX");
    assert_non_null(mkdtemp(p->path));
    snprintf(p->plugins, sizeof p->plugins, "%s/in", p->path);
    assert_int_equal(mkdir(p->plugins, 0755), 0);
    p->dir = open(p->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    p->store = store_new(p->dir, &e);
    assert_non_null(p->store);
    *state = p;
    return 0;
}

static void empty_dir(int dir, const char *name)
{
    int fd = openat(dir, name, O_RDONLY | O_DIRECTORY);
    DIR *d = fdopendir(fd);
    struct dirent *one;

    while ((one = readdir(d)))
        if (one->d_name[0] != '.' || strlen(one->d_name) > 2)
            unlinkat(fd, one->d_name, 0);
    closedir(d);
    unlinkat(dir, name, AT_REMOVEDIR);
}

static int teardown(void **state)
{
    struct place *p = *state;

    io = io_real;
    store_free(p->store);
    empty_dir(p->dir, "plugins");
    empty_dir(p->dir, "in");
    close(p->dir);
    assert_int_equal(rmdir(p->path), 0);
    free(p);
    return 0;
}

/* A plugin file of that slug; extra bytes behind it make another version. */
static size_t make(struct fake *f, const char *slug, const char *version)
{
    char *manifest = xasprintf(
        "{\"slug\":\"%s\",\"name\":\"N\",\"version\":\"%s\",\"docs\":"
        "\"https://x\",\"hosts\":[\"*\"],\"actions\":[{\"slug\":\"a\","
        "\"fields\":[]}]}",
        slug, version);

    fake_make(f, manifest);
    free(manifest);
    return f->len;
}

static struct image image_of(const char *version)
{
    struct image i;
    struct fake f;
    struct err e;
    size_t len = make(&f, "acme", version);
    char *copy = xmalloc(len);

    memcpy(copy, f.bytes, len);
    if (image_check_as(copy, len, "acme.so", true, &i, &e) != 0)
        fail_msg("%s", e.text);
    return i;
}

static void lay(const struct place *p, const char *name, const void *bytes,
                size_t len)
{
    char path[200];
    struct err e;
    int dir = open(p->plugins, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    snprintf(path, sizeof path, "%s", name);
    assert_int_equal(io_replace_file(dir, path, bytes, len, 0644, &e), 0);
    close(dir);
}

static void lay_plugin(const struct place *p, const char *name,
                       const char *slug, const char *version)
{
    struct fake f;
    size_t len = make(&f, slug, version);

    lay(p, name, f.bytes, len);
}

static unsigned files_in(const struct place *p, const char *name)
{
    int fd = openat(p->dir, name, O_RDONLY | O_DIRECTORY);
    DIR *d = fdopendir(fd);
    struct dirent *one;
    unsigned n = 0;

    while ((one = readdir(d)))
        n += strcmp(one->d_name, ".") != 0 && strcmp(one->d_name, "..") != 0;
    closedir(d);
    return n;
}

/* ---- copies ---- */

static void test_put_and_open(void **state)
{
    struct place *p = *state;
    struct image i = image_of("1.0");
    char bytes[FAKE_SIZE];
    struct stat st, again;
    struct err e;
    int fd;

    assert_int_equal(store_open(p->store, "acme", i.hash, &e), -1);
    assert_int_equal(store_put(p->store, &i, "acme", &e), 0);
    fd = store_open(p->store, "acme", i.hash, &e);
    assert_true(fd >= 0);
    assert_int_equal(fstat(fd, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0444);
    assert_int_equal(st.st_size, i.len);
    assert_int_equal(io_pread_all(fd, bytes, i.len, 0), 0);
    assert_memory_equal(bytes, i.bytes, i.len);
    close(fd);

    /* Once more: the same file, not a new one. */
    assert_int_equal(store_put(p->store, &i, "acme", &e), 0);
    fd = store_open(p->store, "acme", i.hash, &e);
    assert_int_equal(fstat(fd, &again), 0);
    assert_int_equal(st.st_ino, again.st_ino);
    close(fd);
    assert_int_equal(files_in(p, "plugins"), 1);
    image_free(&i);
}

/* A copy whose bytes are not what its name says is written again. */
static void test_damaged_copy(void **state)
{
    struct place *p = *state;
    struct image i = image_of("1.0");
    char name[100], bytes[FAKE_SIZE];
    struct err e;
    int fd;

    snprintf(name, sizeof name, "plugins/acme-%s.so", i.hash);
    fd = openat(p->dir, name, O_WRONLY | O_CREAT, 0444);
    assert_int_equal(io_write_all(fd, i.bytes, i.len - 1), 0);
    close(fd);
    assert_int_equal(store_put(p->store, &i, "acme", &e), 0);
    fd = store_open(p->store, "acme", i.hash, &e);
    assert_int_equal(io_pread_all(fd, bytes, i.len, 0), 0);
    assert_memory_equal(bytes, i.bytes, i.len);
    close(fd);
    image_free(&i);
}

static void test_names(void **state)
{
    static const char *const bad[] = { "", "-a", "../a", "A", "a.b", "a/b" };
    struct place *p = *state;
    struct image i = image_of("1.0");
    struct err e;

    for (size_t k = 0; k < COUNT_OF(bad); k++) {
        assert_int_equal(store_put(p->store, &i, bad[k], &e), -1);
        assert_int_equal(store_open(p->store, bad[k], i.hash, &e), -1);
    }
    assert_int_equal(store_open(p->store, "acme", "../../../etc/pas", &e), -1);
    assert_int_equal(store_open(p->store, "acme", "", &e), -1);
    assert_int_equal(files_in(p, "plugins"), 0);
    image_free(&i);
}

static ssize_t no_space(int fd, const void *from, size_t n)
{
    (void)fd, (void)from, (void)n;
    errno = ENOSPC;
    return -1;
}

static int no_sync(int fd)
{
    (void)fd;
    errno = EIO;
    return -1;
}

static int no_rename(int a, const char *b, int c, const char *d)
{
    (void)a, (void)b, (void)c, (void)d;
    errno = EROFS;
    return -1;
}

/* Whatever goes wrong: no copy has the name, nothing is left lying about. */
static void test_failing_disk(void **state)
{
    struct place *p = *state;
    struct image i = image_of("1.0");
    struct err e;

    for (int way = 0; way < 3; way++) {
        if (way == 0)
            io.write = no_space;
        if (way == 1)
            io.fsync = no_sync;
        if (way == 2)
            io.renameat = no_rename;
        assert_int_equal(store_put(p->store, &i, "acme", &e), -1);
        assert_non_null(strstr(e.text, "cannot be "));
        io = io_real;
        assert_int_equal(files_in(p, "plugins"), 0);
    }
    assert_int_equal(store_put(p->store, &i, "acme", &e), 0);
    image_free(&i);
}

static void test_leftovers(void **state)
{
    struct place *p = *state;
    struct err e;
    int fd = openat(p->dir, "plugins/.acme-0123.new", O_CREAT | O_WRONLY, 0600);

    assert_true(fd >= 0);
    close(fd);
    store_free(p->store);
    p->store = store_new(p->dir, &e);
    assert_non_null(p->store);
    assert_int_equal(files_in(p, "plugins"), 0);
}

/* Puts version n and gives its copy a time n seconds into the epoch. */
static void put_at(struct place *p, int n, char hash[IMAGE_HASH_TEXT])
{
    struct timespec times[2] = { { n, 0 }, { n, 0 } };
    char version[16], name[100];
    struct image i;
    struct err e;

    snprintf(version, sizeof version, "1.%d", n);
    i = image_of(version);
    assert_int_equal(store_put(p->store, &i, "acme", &e), 0);
    memcpy(hash, i.hash, sizeof i.hash);
    snprintf(name, sizeof name, "plugins/acme-%s.so", i.hash);
    assert_int_equal(utimensat(p->dir, name, times, 0), 0);
    image_free(&i);
}

static void test_prune(void **state)
{
    struct place *p = *state;
    char hash[6][IMAGE_HASH_TEXT];
    const char *in_use[] = { hash[1], NULL };
    struct store_copy copies[10];
    struct image other = image_of("2.0");
    struct err e;

    for (int n = 0; n < 6; n++)
        put_at(p, n, hash[n]);
    assert_int_equal(store_put(p->store, &other, "acme-two", &e), 0);
    assert_int_equal(store_list(p->store, "acme", copies, 10, &e), 6);
    for (int n = 0; n < 6; n++)
        assert_string_equal(copies[n].hash, hash[5 - n]);
    assert_int_equal(copies[0].put_ms, 5000);

    assert_int_equal(store_prune(p->store, "acme", in_use, &e), 0);
    assert_int_equal(store_list(p->store, "acme", copies, 10, &e), 4);
    assert_string_equal(copies[2].hash, hash[3]);
    assert_string_equal(copies[3].hash, hash[1]);
    assert_int_equal(store_list(p->store, "acme-two", copies, 10, &e), 1);

    /* An old content put again is a new one: a rollback keeps it. */
    image_free(&other);
    other = image_of("1.1");
    assert_int_equal(store_put(p->store, &other, "acme", &e), 0);
    assert_int_equal(store_prune(p->store, "acme", NULL, &e), 0);
    assert_int_equal(store_list(p->store, "acme", copies, 10, &e), 3);
    assert_string_equal(copies[0].hash, hash[1]);
    assert_string_equal(copies[1].hash, hash[5]);
    assert_string_equal(copies[2].hash, hash[4]);
    image_free(&other);
}

/* ---- the plugins directory ---- */

static void expect(const struct plugin_files *f, const char *slug,
                   const char *refused)
{
    const struct plugin_file *one = plugins_find(f, slug);

    if (!one)
        fail_msg("%s is not there", slug);
    if (!refused != !one->refused ||
        (refused && !strstr(one->refused, refused)))
        fail_msg("%s: refused \"%s\", expected \"%s\"", slug,
                 one->refused ? one->refused : "", refused ? refused : "");
    assert_int_equal(one->hash[0] != 0, !refused);
    assert_int_equal(one->manifest != NULL, !refused);
}

static void test_scan(void **state)
{
    struct place *p = *state;
    struct plugin_files f;
    struct err e;
    int fd;

    lay_plugin(p, "acme.so", "acme", "1.0");
    lay_plugin(p, "zeta.so", "acme", "1.0");
    lay_plugin(p, ".hidden.so", "acme", "1.0");
    lay_plugin(p, "Upper.so", "acme", "1.0");
    lay(p, "text.so", "hello\n", 6);
    lay(p, "readme.txt", "hello\n", 6);
    lay(p, "cut.so", "\x7f" "ELF", 4);
    assert_int_equal(plugins_scan(p->plugins, p->store, NULL, &f, &e), 0);
    assert_int_equal(f.count, 5);
    expect(&f, "acme", NULL);
    expect(&f, "zeta", "zeta.so: its manifest says it is acme; name the file "
                       "acme.so");
    expect(&f, "Upper", "the name of a plugin's file is its slug");
    expect(&f, "text", "text.so: not a plugin: a text file");
    expect(&f, "cut", "still being copied?");
    assert_true(plugins_find(&f, "cut")->fresh);
    assert_false(plugins_find(&f, "acme")->fresh);
    assert_null(plugins_find(&f, "readme"));
    for (size_t i = 1; i < f.count; i++)
        assert_true(strcmp(f.list[i - 1].slug, f.list[i].slug) < 0);
    fd = store_open(p->store, "acme", plugins_find(&f, "acme")->hash, &e);
    assert_true(fd >= 0);
    close(fd);
    assert_int_equal(files_in(p, "plugins"), 1);
    plugins_free(&f);

    assert_int_equal(plugins_scan("/nowhere", p->store, NULL, &f, &e), -1);
    assert_non_null(strstr(e.text, "the plugins directory /nowhere"));
    assert_int_equal(f.count, 0);
}

static ssize_t never_read(int fd, void *to, size_t n, off_t at)
{
    (void)fd, (void)to, (void)n, (void)at;
    fail_msg("a file that did not change was read");
    return -1;
}

static void test_rescan(void **state)
{
    struct place *p = *state;
    struct plugin_files first, second, third;
    struct err e;

    lay_plugin(p, "acme.so", "acme", "1.0");
    lay_plugin(p, "beta.so", "beta", "1.0");
    assert_int_equal(plugins_scan(p->plugins, p->store, NULL, &first, &e), 0);
    assert_true(first.list[0].reread && first.list[1].reread);

    io.pread = never_read;
    assert_int_equal(plugins_scan(p->plugins, p->store, &first, &second, &e),
                     0);
    io = io_real;
    expect(&second, "acme", NULL);
    assert_false(second.list[0].reread || second.list[1].reread);
    assert_string_equal(first.list[0].hash, second.list[0].hash);
    assert_int_equal(second.list[0].abi_major, 1);

    lay_plugin(p, "acme.so", "acme", "1.1");
    assert_int_equal(unlinkat(p->dir, "in/beta.so", 0), 0);
    assert_int_equal(plugins_scan(p->plugins, p->store, &second, &third, &e),
                     0);
    assert_int_equal(third.count, 1);
    assert_true(third.list[0].reread);
    assert_string_not_equal(third.list[0].hash, first.list[0].hash);
    plugins_free(&first);
    plugins_free(&second);
    plugins_free(&third);
}

/* A copy that somebody removed is put there again, and a refusal is looked at
 * again as long as the file is fresh. */
static void test_rescan_doubts(void **state)
{
    struct place *p = *state;
    struct plugin_files first, second;
    struct err e;
    char name[100];

    lay_plugin(p, "acme.so", "acme", "1.0");
    lay(p, "bad.so", "x", 1);
    assert_int_equal(plugins_scan(p->plugins, p->store, NULL, &first, &e), 0);
    snprintf(name, sizeof name, "plugins/acme-%s.so", first.list[0].hash);
    assert_int_equal(unlinkat(p->dir, name, 0), 0);
    assert_int_equal(plugins_scan(p->plugins, p->store, &first, &second, &e),
                     0);
    assert_true(plugins_find(&second, "acme")->reread);
    assert_true(plugins_find(&second, "bad")->reread);
    assert_int_equal(faccessat(p->dir, name, R_OK, 0), 0);
    plugins_free(&first);

    clock_skew_ms = PLUGIN_FRESH_MS + 1000;
    assert_int_equal(plugins_scan(p->plugins, p->store, NULL, &first, &e), 0);
    clock_skew_ms = 0;
    assert_false(plugins_find(&first, "bad")->fresh);
    plugins_free(&first);
    plugins_free(&second);
}

#define WITH_PLACE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_PLACE(test_put_and_open), WITH_PLACE(test_damaged_copy),
        WITH_PLACE(test_names),        WITH_PLACE(test_failing_disk),
        WITH_PLACE(test_leftovers),    WITH_PLACE(test_prune),
        WITH_PLACE(test_scan),         WITH_PLACE(test_rescan),
        WITH_PLACE(test_rescan_doubts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
