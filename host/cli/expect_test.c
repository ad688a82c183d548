/* SPDX-License-Identifier: Apache-2.0
 *
 * expect_test.c - what the harness takes for equal, and where it says that
 * two things part. */
#include "cli/expect.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct arena arena;

static mf_val value(const char *text)
{
    mf_str s = mf_cstr(text);

    if (json_check(s, JSON_DEPTH_MAX, NULL) != 0)
        fail_msg("no JSON: %s", text);
    return json_root(s);
}

/* path NULL: they agree. */
static void held(const char *expect, const char *out, const char *path)
{
    struct diff d;
    bool ok = expect_holds(value(expect), value(out), &arena, &d);

    if (!path && !ok)
        fail_msg("%s: want %s, got %s %s", d.path, d.want, d.got, d.why);
    if (path) {
        assert_false(ok);
        assert_string_equal(d.path, path);
    }
    arena_reset(&arena);
}

#define REQUEST(more)                                                          \
    "{\"requests\":[{\"method\":\"POST\","                                     \
    "\"url\":\"https://a.example/p?x=1&y=2\"" more "}]}"
#define GOT(body)                                                              \
    REQUEST(",\"headers\":{\"content-type\":\"t\",\"x-a\":\"1\"},"             \
            "\"body\":" body)

static void test_requests(void **state)
{
    (void)state;
    held("{}", "{\"requests\":[]}", NULL);
    held("{}", GOT("\"\""), "requests[0]");
    held(REQUEST(""), "{\"requests\":[]}", "requests[0]");
    held(REQUEST(""), REQUEST(""), NULL);
    held(REQUEST(""), GOT("\"x\""), "requests[0].body");
    held(REQUEST(",\"body\":\"x\""), GOT("\"x\""), NULL);
    held(REQUEST(",\"body\":\"\""), REQUEST(""), NULL);
    held(REQUEST(",\"body\":\"y\""), GOT("\"x\""), "requests[0].body");
    held("{\"requests\":[{\"url\":\"https://a.example/p?y=2&x=1\"}]}",
         REQUEST(""), NULL);
    held("{\"requests\":[{\"url\":\"https://a.example/p?y=2\"}]}", REQUEST(""),
         "requests[0].url");
    held("{\"requests\":[{\"url\":\"https://a.example/q?x=1&y=2\"}]}",
         REQUEST(""), "requests[0].url");
    held("{\"requests\":[{\"method\":\"PUT\",\"url\":\"\"}]}", REQUEST(""),
         "requests[0].method");
    held("{\"requests\":[{\"URL\":\"\"}]}", REQUEST(""), "requests[0]");
}

static void test_headers(void **state)
{
    (void)state;
    held(REQUEST(",\"body\":\"x\",\"headers\":{\"X-A\":\"1\"}"), GOT("\"x\""),
         NULL);
    held(REQUEST(",\"body\":\"x\",\"headers\":{\"x-a\":\"2\"}"), GOT("\"x\""),
         "requests[0].headers.x-a");
    held(REQUEST(",\"body\":\"x\",\"headers\":{\"x-b\":null}"), GOT("\"x\""),
         NULL);
    held(REQUEST(",\"body\":\"x\",\"headers\":{\"x-a\":null}"), GOT("\"x\""),
         "requests[0].headers.x-a");
}

static void test_bodies(void **state)
{
    (void)state;
    held(REQUEST(",\"json\":{\"a\":[1,{\"b\":2.0}]}"),
         GOT("\"{ \\\"a\\\": [1, {\\\"b\\\":2}] }\""), NULL);
    held(REQUEST(",\"json\":{\"a\":[1,{\"b\":3}]}"),
         GOT("\"{\\\"a\\\":[1,{\\\"b\\\":2}]}\""),
         "requests[0].json.a[1].b");
    held(REQUEST(",\"json\":{\"a\":[1]}"), GOT("\"{\\\"a\\\":[1,2]}\""),
         "requests[0].json.a[1]");
    held(REQUEST(",\"json\":{\"a\":1}"), GOT("\"{\\\"a\\\":1,\\\"b\\\":2}\""),
         "requests[0].json.b");
    held(REQUEST(",\"json\":{\"a\":1,\"b\":null}"), GOT("\"{\\\"a\\\":1}\""),
         "requests[0].json.b");
    held(REQUEST(",\"json\":1"), GOT("\"{\""), "requests[0].json");
    held(REQUEST(",\"form\":{\"a b\":\"c&d\",\"e\":\"\"}"),
         GOT("\"e=&a+b=c%26d\""), NULL);
    held(REQUEST(",\"form\":{\"a\":\"1\"}"), GOT("\"a=2\""),
         "requests[0].form.a");
    held(REQUEST(",\"form\":{\"a\":\"1\"}"), GOT("\"a=1&b=2\""),
         "requests[0].form");
}

static void test_outcomes(void **state)
{
#define ERROR                                                                  \
    "{\"requests\":[],\"error\":{\"status\":400,\"message\":\"no id\"}}"
    (void)state;
    held("{\"error\":{\"status\":400}}", ERROR, NULL);
    held("{\"error\":true}", ERROR, NULL);
    held("{\"error\":{\"message\":\"id\"}}", ERROR, NULL);
    held("{\"error\":{\"message\":\"x\"}}", ERROR, "error.message");
    held("{\"error\":{\"status\":500}}", ERROR, "error");
    held("{}", ERROR, "error");
    held("{\"error\":true}", "{\"requests\":[]}", "error");
    held("{\"results\":[{\"status\":200},{\"status\":400,\"message\":\"b\"}]}",
         "{\"requests\":[],\"error\":{\"status\":400},\"results\":"
         "[{\"status\":200},{\"status\":400,\"message\":\"abc\"}]}",
         NULL);
    held("{\"results\":[{\"status\":200}]}",
         "{\"requests\":[],\"results\":[{\"status\":201}]}", "results[0]");
    held("{\"results\":[{\"status\":200}]}",
         "{\"requests\":[],\"results\":[]}", "results");
    held("{\"filtered\":true}", "{\"requests\":[],\"filtered\":true}", NULL);
    held("{}", "{\"requests\":[],\"filtered\":true}", "filtered");
    held("{\"filtered\":true}", "{\"requests\":[]}", "filtered");
#undef ERROR
}

static int begin(void **state)
{
    (void)state;
    arena_init(&arena, 1u << 20);
    return 0;
}

static int end(void **state)
{
    (void)state;
    arena_deinit(&arena);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_requests),
        cmocka_unit_test(test_headers),
        cmocka_unit_test(test_bodies),
        cmocka_unit_test(test_outcomes),
    };

    return cmocka_run_group_tests(tests, begin, end);
}
