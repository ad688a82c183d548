/* SPDX-License-Identifier: Apache-2.0
 *
 * fuzz_config.c - any text as the configuration file.
 *
 * Comments go and nothing moves; faults have a place in the file and never a
 * secret in their text; what has none differs in nothing from itself. */
#include "fuzz.h"

#include "base/io.h"
#include "config/config.h"
#include "config/jsonc.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#define SECRET "hidden-7Zq4"

static char dir[64], path[80];

static void leave(void)
{
    unlink(path);
    rmdir(dir);
}

static void start(void)
{
    bool memory = access("/dev/shm", W_OK) == 0; /* thousands of writes */

    snprintf(dir, sizeof dir, "%s/manifold-fuzz-XXXXXX",
             memory ? "/dev/shm" : "/tmp");
    ASSERT(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/m.json", dir);
    atexit(leave);
}

static const char *lookup(void *context, const char *name)
{
    (void)context;
    if (strcmp(name, "KEY") == 0)
        return SECRET;
    return strcmp(name, "EMPTY") == 0 ? "" : NULL;
}

static void comments(mf_str text)
{
    char *copy = fuzz_copy(text);
    struct jsonc_fault f = { 0, "" };

    if (jsonc_read(copy, text.len, &f) == 0)
        ASSERT(json_check((mf_str){ copy, text.len }, JSON_DEPTH_MAX, NULL) ==
               0);
    else
        ASSERT(f.offset <= text.len && f.text[0]);
    for (size_t i = 0; i < text.len; i++)
        ASSERT(copy[i] == text.ptr[i] ||
               (copy[i] == ' ' && text.ptr[i] != '\n'));
    free(copy);
}

static void unchanged(void *context, const char *kind, const char *name,
                      enum config_change change)
{
    (void)context;
    ASSERT(kind && name && change == CONFIG_UNCHANGED);
}

static void check_faults(const struct faults *f, mf_str text)
{
    struct buf b;

    buf_init(&b, 1u << 20);
    for (size_t i = 0; i < f->count; i++)
        ASSERT(f->list[i].text[0] && f->list[i].at.file);
    faults_write(f, &b);
    if (b.len && !memmem(text.ptr, text.len, SECRET, strlen(SECRET)))
        ASSERT(!memmem(b.data, b.len, SECRET, strlen(SECRET)));
    buf_deinit(&b);
}

static void load(mf_str text)
{
    const struct config_env env = { lookup, NULL };
    struct config *c = NULL;
    struct faults f;
    int fd, rc;

    fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    ASSERT(fd >= 0 && io_write_all(fd, text.ptr, text.len) == 0);
    close(fd);
    faults_init(&f);
    rc = config_load_env(path, &env, &c, &f);
    ASSERT(rc == (f.errors ? -1 : 0));
    ASSERT(rc != 0 || c);
    check_faults(&f, text);
    if (rc == 0)
        config_diff(c, c, unchanged, NULL);
    config_free(c);
    faults_deinit(&f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    mf_str text;

    if (!dir[0])
        start();
    fuzz_split(data, size, &text, 1);
    comments(text);
    load(text);
    fuzz_join(&text, 1);
    return 0;
}
