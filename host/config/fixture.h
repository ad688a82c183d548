/* SPDX-License-Identifier: Apache-2.0
 *
 * fixture.h - for the unit tests of this folder: a directory of small files,
 * an environment of their own, and what a load of them told. */
#ifndef CONFIG_FIXTURE_H
#define CONFIG_FIXTURE_H

#include "base/io.h"
#include "config/config.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static char fixture_dir[64];
static struct faults fixture_faults;
static struct config *fixture_config;
static struct buf fixture_text;

static const char *fixture_lookup(void *context, const char *name)
{
    static const char *const set[][2] = {
        { "TOKEN", "t0ken-of-the-admin" },
        { "SECRET", "s3cr3t \"quoted\"\\\n" },
        { "SHORT", "ab" },
        { "PORT", "8099" },
        { "EMPTY", "" },
        { "BINARY", "\xff\xfe" },
        { "DOLLAR", "${TOKEN}" },
        { "WEB_KEY", "web-key-from-outside" },
    };

    (void)context;
    for (size_t i = 0; i < COUNT_OF(set); i++)
        if (strcmp(set[i][0], name) == 0)
            return set[i][1];
    return NULL;
}

static inline void fixture_write(const char *name, const char *text)
{
    char path[512];
    struct err e;

    snprintf(path, sizeof path, "%s/%s", fixture_dir, name);
    if (io_replace_file(AT_FDCWD, path, text, strlen(text), 0600, &e) != 0)
        fail_msg("%s", e.text);
}

static inline void fixture_remove(const char *name)
{
    char path[512];

    snprintf(path, sizeof path, "%s/%s", fixture_dir, name);
    unlink(path);
}

static int fixture_start(void **state)
{
    char parts[128];

    (void)state;
    snprintf(fixture_dir, sizeof fixture_dir, "/tmp/manifold-config-XXXXXX");
    if (!mkdtemp(fixture_dir))
        return -1;
    snprintf(parts, sizeof parts, "%s/conf.d", fixture_dir);
    buf_init(&fixture_text, 1 << 20);
    faults_init(&fixture_faults);
    return io_make_dirs(parts, 0700, NULL);
}

static int fixture_stop(void **state)
{
    char command[128];

    (void)state;
    config_free(fixture_config);
    faults_deinit(&fixture_faults);
    buf_deinit(&fixture_text);
    snprintf(command, sizeof command, "rm -r %s", fixture_dir);
    return system(command);
}

/* Loads what is written. Returns the rc; the faults stand in the text that
 * fixture_told() gives, with the directory taken out of the paths. */
static inline int fixture_reload(void)
{
    const struct config_env env = { fixture_lookup, NULL };
    char path[128];
    int rc;

    config_free(fixture_config);
    faults_deinit(&fixture_faults);
    snprintf(path, sizeof path, "%s/m.json", fixture_dir);
    rc = config_load_env(path, &env, &fixture_config, &fixture_faults);
    assert_int_equal(rc, fixture_faults.errors ? -1 : 0);
    return rc;
}

static inline int fixture_load(const char *text)
{
    fixture_write("m.json", text);
    return fixture_reload();
}

static inline const char *fixture_told(void)
{
    size_t n = strlen(fixture_dir) + 1;
    char *at;

    buf_clear(&fixture_text);
    faults_write(&fixture_faults, &fixture_text);
    buf_char(&fixture_text, 0);
    while ((at = strstr(fixture_text.data, fixture_dir))) {
        size_t rest = fixture_text.len - (size_t)(at - fixture_text.data);

        memmove(at, at + n, rest - n);
        fixture_text.len -= n;
    }
    return fixture_text.data;
}

static inline void fixture_place(struct place at, const char *want)
{
    char text[600];

    snprintf(text, sizeof text, "%s:%u:%u",
             at.file + (strncmp(at.file, fixture_dir, strlen(fixture_dir)) == 0
                            ? strlen(fixture_dir) + 1
                            : 0),
             at.line, at.column);
    assert_string_equal(text, want);
}

#endif
