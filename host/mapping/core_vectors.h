/* SPDX-License-Identifier: Apache-2.0
 *
 * core_vectors.h - for tests: what the original recorded of its engine,
 * actions/_core.json of MANIFOLD_VECTORS. load() and unload() are a group's
 * set-up and tear-down; without the variable vectors() skips the test. */
#ifndef MAPPING_CORE_VECTORS_H
#define MAPPING_CORE_VECTORS_H

#include "base/io.h"
#include "json/json.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define FILE_MAX (64u << 20)

static char *text;
static mf_val core;
static struct arena arena;

static int load(void **state)
{
    const char *dir = getenv("MANIFOLD_VECTORS");
    struct err e;
    size_t len;
    char *path;

    (void)state;
    arena_init(&arena, SIZE_MAX / 8);
    if (!dir)
        return 0;
    path = xasprintf("%s/actions/_core.json", dir);
    assert_int_equal(io_read_file(AT_FDCWD, path, FILE_MAX, &text, &len, &e),
                     0);
    free(path);
    assert_int_equal(json_check((mf_str){ text, len }, JSON_DEPTH_MAX, NULL),
                     0);
    core = json_root((mf_str){ text, len });
    return 0;
}

static int unload(void **state)
{
    (void)state;
    free(text);
    arena_deinit(&arena);
    return 0;
}

/* The vectors of one function; skips the test when there are none to read. */
static mf_val vectors(const char *function)
{
    if (!text)
        skip();
    return json_get(json_get(core, MF_STR("functions")), mf_cstr(function));
}

#endif
