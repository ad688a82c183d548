/* SPDX-License-Identifier: Apache-2.0
 *
 * draft7_cases.c - the validator against files of cases, in the form of the
 * official test suite: [{description, schema, tests: [{description, data,
 * valid}]}].
 *
 *   draft7_cases FILE ...              what differs; 1 if anything does
 *   draft7_cases --verdicts FILE ...   every verdict, a line each
 *
 * A schema that refers to another document is refused: such cases are counted
 * apart. */
#include "base/io.h"
#include "json/json.h"
#include "schema/draft7.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FILE_MAX (32u << 20)

static size_t run_count, wrong_count, remote_count;
static bool verdicts;
static char last_fault[400];

static void tell(void *arg, const char *at, const char *text)
{
    (void)arg;
    (void)at;
    snprintf(last_fault, sizeof last_fault, "%s", text);
}

static void compare(const char *line, bool expected, const char *verdict,
                    const char *why)
{
    run_count++;
    if (verdicts) {
        printf("%s\t%s\t%s\n", line, verdict, why);
        return;
    }
    if (strcmp(verdict, expected ? "valid" : "invalid") == 0)
        return;
    if (strstr(why, "another document")) {
        remote_count++;
        return;
    }
    wrong_count++;
    printf("%s\n    is %s, should be %s%s%s\n", line, verdict,
           expected ? "valid" : "invalid", *why ? ": " : "", why);
}

static void run_group(const char *file, mf_val group, struct arena *a,
                      struct draft7_scratch *k)
{
    mf_val tests = json_get(group, MF_STR("tests")), test;
    mf_str of = json_text(json_get(group, MF_STR("description")), a), key;
    struct draft7 *s;
    mf_iter it = { { 0 } };

    last_fault[0] = 0;
    s = draft7_compile(json_get(group, MF_STR("schema")), a, tell, NULL);
    while (json_next(tests, &it, &key, &test)) {
        mf_str what = json_text(json_get(test, MF_STR("description")), a);
        struct draft7_report r = { .count = 0 };
        const char *why = last_fault, *verdict = "refused";
        mf_str line = arena_printf(a, "%s: %.*s: %.*s", file, (int)of.len,
                                   of.ptr, (int)what.len, what.ptr);

        if (s) {
            bool ok = draft7_validate(s, json_get(test, MF_STR("data")), k,
                                      &r);

            verdict = ok ? "valid" : "invalid";
            why = r.count ? arena_copy(a, r.errors[0].text).ptr : "";
            if (ok != (r.count == 0))
                verdict = "of two minds";
        }
        compare(line.ptr, json_is_true(json_get(test, MF_STR("valid"))),
                verdict, why);
        draft7_scratch_reset(k);
    }
    draft7_free(s);
}

static int run_file(const char *path, struct draft7_scratch *k)
{
    const char *name = strrchr(path, '/');
    mf_iter it = { { 0 } };
    struct arena a;
    struct err e;
    size_t len;
    char *text;
    mf_str key;
    mf_val group;

    if (io_read_file(AT_FDCWD, path, FILE_MAX, &text, &len, &e) != 0 ||
        json_check((mf_str){ text, len }, JSON_DEPTH_MAX, NULL) != 0) {
        fprintf(stderr, "%s cannot be read, or is not JSON\n", path);
        return -1;
    }
    arena_init(&a, 256u << 20);
    while (json_next(json_root((mf_str){ text, len }), &it, &key, &group))
        run_group(name ? name + 1 : path, group, &a, k);
    arena_deinit(&a);
    free(text);
    return 0;
}

int main(int argc, char **argv)
{
    struct draft7_scratch *k = draft7_scratch_new();
    int i = 1, rc = 0;

    verdicts = argc > 1 && strcmp(argv[1], "--verdicts") == 0;
    for (i += verdicts; i < argc; i++)
        if (run_file(argv[i], k) != 0)
            rc = -1;
    draft7_scratch_free(k);
    if (!verdicts)
        printf("%zu cases, %zu wrong, %zu of other documents\n", run_count,
               wrong_count, remote_count);
    return rc != 0 || wrong_count || !run_count;
}
