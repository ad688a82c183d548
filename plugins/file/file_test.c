/* SPDX-License-Identifier: Apache-2.0
 *
 * file_test.c - what is on the disk after writes, rotations and faults.
 *
 * The plugin runs as built, under the host's own loader and calls; time is
 * given to each instance. Each test has an empty directory of its own. */
#include "base/err.h"
#include "json/json.h"
#include "plugin/instance.h"

#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define NOON 1768212000000 /* 2026-01-12T10:00:00Z */
#define HOUR 3600000

static struct plugin *plugin;
static char dir[64], path[96];

/* ---- helpers ---- */

static int fresh_dir(void **state)
{
    (void)state;
    snprintf(dir, sizeof dir, "/tmp/manifold-file-XXXXXX");
    if (!mkdtemp(dir))
        return -1;
    snprintf(path, sizeof path, "%s/out.ndjson", dir);
    return 0;
}

/* How many files of the directory begin with `prefix`; removes all of them if
 * told so. */
static int files(const char *prefix, int remove_them)
{
    char name[512];
    struct dirent *entry;
    DIR *d = opendir(dir);
    int n = 0;

    while (d && (entry = readdir(d))) {
        if (entry->d_name[0] == '.' ||
            strncmp(entry->d_name, prefix, strlen(prefix)) != 0)
            continue;
        snprintf(name, sizeof name, "%s/%s", dir, entry->d_name);
        if (remove_them)
            unlink(name);
        n++;
    }
    if (d)
        closedir(d);
    return n;
}

static int clean_dir(void **state)
{
    (void)state;
    files("", 1);
    return rmdir(dir);
}

/* more is the rest of the settings, beginning with a comma, or "". */
static struct instance *open_at(int64_t now, const char *more)
{
    static char text[512];
    struct instance_fault fault = { 0 };
    struct instance_config c = { .name = "test", .fixed = true, .now = now };
    struct instance *i;

    snprintf(text, sizeof text, "{\"path\":\"%s\"%s}", path, more);
    c.settings = (mf_val){ text, (uint32_t)strlen(text), MF_OBJECT };
    i = instance_new(plugin, &c, &fault);
    if (!i)
        fail_msg("%s", fault.err.text);
    return i;
}

/* Delivers events {"n":from} and so on in one batch; returns the results'
 * statuses as a text such as "200 503". */
static const char *deliver(struct instance *i, int from, int count)
{
    static char statuses[256];
    struct call *call = call_new(i, 0);
    size_t len = 0;

    for (int k = 0; k < count; k++) {
        char event[32], data[64];

        snprintf(event, sizeof event, "{\"n\":%d}", from + k);
        snprintf(data, sizeof data, "{\"data\":%s}", event);
        call_add(call, (mf_val){ event, (uint32_t)strlen(event), MF_OBJECT },
                 (mf_val){ data, (uint32_t)strlen(data), MF_OBJECT });
    }
    call_deliver(call, NOON + HOUR);
    assert_true(call_done(call));
    for (int k = 0; k < count; k++)
        len += (size_t)snprintf(statuses + len, sizeof statuses - len, "%s%d",
                                k ? " " : "",
                                call_result(call, (uint32_t)k)->status);
    call_free(call);
    return statuses;
}

static const char *read_file(const char *name)
{
    static char text[4096];
    FILE *f = fopen(name, "r");
    size_t n;

    if (!f)
        return "(none)";
    n = fread(text, 1, sizeof text - 1, f);
    fclose(f);
    text[n] = '\0';
    return text;
}

static void write_file(const char *text)
{
    FILE *f = fopen(path, "w");

    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

/* ---- tests ---- */

static void batches_are_appended(void **state)
{
    struct instance *i = open_at(NOON, "");

    (void)state;
    assert_string_equal(deliver(i, 1, 2), "200 200");
    assert_string_equal(deliver(i, 3, 1), "200");
    assert_string_equal(read_file(path), "{\"n\":1}\n{\"n\":2}\n{\"n\":3}\n");
    instance_free(i);
    i = open_at(NOON, ",\"fsync\":\"never\"");
    deliver(i, 4, 1);
    instance_free(i);
    assert_string_equal(read_file(path),
                        "{\"n\":1}\n{\"n\":2}\n{\"n\":3}\n{\"n\":4}\n");
}

static void a_file_moved_away_is_made_anew(void **state)
{
    struct instance *i = open_at(NOON, ",\"fsync\":\"second\"");
    char moved[128];

    (void)state;
    deliver(i, 1, 1);
    snprintf(moved, sizeof moved, "%s/moved", dir);
    assert_int_equal(rename(path, moved), 0);
    assert_string_equal(deliver(i, 2, 1), "200");
    assert_string_equal(read_file(moved), "{\"n\":1}\n");
    assert_string_equal(read_file(path), "{\"n\":2}\n");
    assert_int_equal(unlink(path), 0);
    assert_string_equal(deliver(i, 3, 1), "200");
    assert_string_equal(read_file(path), "{\"n\":3}\n");
    instance_idle(i, NOON + HOUR);
    instance_free(i);
}

/* Three lines fit into 24 bytes, the fourth makes a new file. */
static void size_rotates_and_old_files_go(void **state)
{
    struct instance *i = open_at(NOON, ",\"rotate_bytes\":24,\"keep\":2");
    char first[160];

    (void)state;
    for (int n = 1; n <= 4; n++)
        assert_string_equal(deliver(i, n, 1), "200");
    assert_string_equal(read_file(path), "{\"n\":4}\n");
    snprintf(first, sizeof first, "%s.20260112T100000Z", path);
    assert_string_equal(read_file(first), "{\"n\":1}\n{\"n\":2}\n{\"n\":3}\n");
    for (int n = 5; n <= 12; n++)
        deliver(i, n % 10, 1);
    assert_int_equal(files("out.ndjson.", 0), 2);
    assert_string_equal(read_file(first), "(none)");
    instance_free(i);
}

static void a_batch_larger_than_the_limit_is_still_written(void **state)
{
    struct instance *i = open_at(NOON, ",\"rotate_bytes\":10");

    (void)state;
    assert_string_equal(deliver(i, 1, 3), "200 200 200");
    assert_int_equal(files("", 0), 1);
    assert_string_equal(deliver(i, 4, 1), "200");
    assert_int_equal(files("", 0), 2);
    instance_free(i);
}

static void set_mtime(int64_t ms)
{
    struct timespec t[2] = { { .tv_sec = ms / 1000 }, { .tv_sec = ms / 1000 } };

    assert_int_equal(utimensat(AT_FDCWD, path, t, 0), 0);
}

static void age_rotates_at_full_periods(void **state)
{
    struct instance *i = open_at(NOON, ",\"rotate_age\":\"1h\"");

    (void)state;
    deliver(i, 1, 1);
    deliver(i, 2, 1);
    instance_free(i);
    assert_int_equal(files("", 0), 1);
    set_mtime(NOON);
    i = open_at(NOON + HOUR - 1, ",\"rotate_age\":\"1h\"");
    deliver(i, 3, 1);
    instance_free(i);
    assert_int_equal(files("", 0), 1);
    set_mtime(NOON);
    i = open_at(NOON + HOUR, ",\"rotate_age\":\"1h\"");
    deliver(i, 4, 1);
    instance_free(i);
    assert_string_equal(read_file(path), "{\"n\":4}\n");
    assert_int_equal(files("out.ndjson.20260112T110000Z", 0), 1);
}

static void a_torn_line_goes_and_a_foreign_one_is_ended(void **state)
{
    struct instance *i;

    (void)state;
    write_file("{\"n\":0}\n{\"n\":");
    i = open_at(NOON, "");
    deliver(i, 1, 1);
    instance_free(i);
    assert_string_equal(read_file(path), "{\"n\":0}\n{\"n\":1}\n");
    write_file("{\"torn");
    i = open_at(NOON, "");
    deliver(i, 1, 1);
    instance_free(i);
    assert_string_equal(read_file(path), "{\"n\":1}\n");
    write_file("# a remark");
    i = open_at(NOON, "");
    deliver(i, 1, 1);
    instance_free(i);
    assert_string_equal(read_file(path), "# a remark\n{\"n\":1}\n");
}

/* The limit on a file's size cuts a write short as a full disk does. */
static void a_full_disk_keeps_whole_lines(void **state)
{
    struct rlimit old, tight = { 20, 20 };
    struct instance *i = open_at(NOON, "");
    const char *statuses;

    (void)state;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    tight.rlim_max = old.rlim_max;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &tight), 0);
    statuses = deliver(i, 1, 4);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    assert_string_equal(statuses, "200 200 503 503");
    assert_string_equal(read_file(path), "{\"n\":1}\n{\"n\":2}\n");
    assert_string_equal(deliver(i, 3, 2), "200 200");
    assert_string_equal(read_file(path),
                        "{\"n\":1}\n{\"n\":2}\n{\"n\":3}\n{\"n\":4}\n");
    instance_free(i);
}

static void what_cannot_be_opened_is_tried_again(void **state)
{
    struct instance *i = open_at(NOON, "");
    char away[96];

    (void)state;
    snprintf(away, sizeof away, "%s-away", dir);
    assert_int_equal(rename(dir, away), 0);
    assert_string_equal(deliver(i, 1, 2), "503 503");
    assert_int_equal(rename(away, dir), 0);
    assert_string_equal(deliver(i, 1, 1), "200");
    instance_free(i);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkfifo(path, 0600), 0);
    i = open_at(NOON, "");
    assert_string_equal(deliver(i, 1, 1), "503");
    instance_free(i);
}

static void settings_that_make_no_sense(void **state)
{
    static const char *const wrong[] = {
        "{\"path\":\"out\"}", "{\"path\":\"/tmp/\"}",
        "{\"path\":\"/tmp/x\",\"rotate_age\":\"soon\"}",
        "{\"path\":\"/tmp/x\",\"rotate_age\":\"5\"}",
    };

    (void)state;
    for (size_t k = 0; k < COUNT_OF(wrong); k++) {
        struct instance_fault fault = { 0 };
        struct instance_config c = { .name = "test", .lenient = true };

        c.settings = (mf_val){ wrong[k], (uint32_t)strlen(wrong[k]),
                               MF_OBJECT };
        assert_null(instance_new(plugin, &c, &fault));
        assert_true(fault.err.text[0]);
    }
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, fresh_dir, clean_dir)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(batches_are_appended),
        TEST(a_file_moved_away_is_made_anew),
        TEST(size_rotates_and_old_files_go),
        TEST(a_batch_larger_than_the_limit_is_still_written),
        TEST(age_rotates_at_full_periods),
        TEST(a_torn_line_goes_and_a_foreign_one_is_ended),
        TEST(a_full_disk_keeps_whole_lines),
        TEST(what_cannot_be_opened_is_tried_again),
        TEST(settings_that_make_no_sense),
    };
    struct err e = { "" };

    plugin = plugin_open(PLUGIN, &e);
    if (!plugin) {
        fprintf(stderr, "%s\n", e.text);
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
