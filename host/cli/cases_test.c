/* SPDX-License-Identifier: Apache-2.0
 *
 * cases_test.c - what comes out of one line of `manifold map`. */
#include "cli/cases.h"
#include "plugin/testplugin.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define BASIC                                                                  \
    "{\"scheme\":\"basic\",\"username\":{\"@path\":\"$.settings.key\"},"       \
    "\"password\":\"\"}"

static struct plugin plugin, oauth;
static struct buf out;

/* The test plugin with tokens instead of a password. */
static void open_oauth(struct plugin *p)
{
    const char *at = strstr(test_manifest, BASIC);
    size_t from = (size_t)(at - test_manifest);
    char *text = xmalloc(sizeof test_manifest);
    struct err e = { "" };

    assert_non_null(at);
    memcpy(text, test_manifest, from);
    memcpy(text + from, "{\"scheme\":\"oauth2\"}", 19);
    memcpy(text + from + 19, at + strlen(BASIC), strlen(at + strlen(BASIC)));
    p->manifest = manifest_parse(text, from + 19 + strlen(at + strlen(BASIC)),
                                 "oauth", &e);
    if (!p->manifest)
        fail_msg("%s", e.text);
    p->code = &test_code;
}

static int begin(void **state)
{
    (void)state;
    test_plugin_open(&plugin);
    open_oauth(&oauth);
    buf_init(&out, CASE_BYTES_MAX);
    return 0;
}

static int end(void **state)
{
    (void)state;
    manifest_free(plugin.manifest);
    manifest_free(oauth.manifest);
    buf_deinit(&out);
    return 0;
}

static mf_val run(struct plugin *p, const char *input)
{
    struct case_options o = { .fixed = true };
    struct json_out w;
    const char *fault;

    assert_int_equal(json_check(mf_cstr(input), JSON_DEPTH_MAX, NULL), 0);
    buf_clear(&out);
    json_out_init(&w, &out);
    case_run(p, json_root(mf_cstr(input)), &o, &w, &fault);
    assert_int_equal(json_check(buf_view(&out), JSON_DEPTH_MAX, NULL), 0);
    return json_root(buf_view(&out));
}

/* The member of what came out, as its exact text; "" when it is not there. */
static void member_is(mf_val got, const char *name, const char *want)
{
    mf_val v = json_get(got, mf_cstr(name));

    assert_int_equal(v.len, strlen(want));
    if (v.len)
        assert_memory_equal(v.raw, want, v.len);
}

static void test_one(void **state)
{
    mf_val got = run(&plugin, "{\"id\":[7],\"action\":\"steps\","
                              "\"event\":{\"userId\":\"u\"},\"responses\":["
                              "{\"method\":\"put\",\"url\":\"" API "/put\","
                              "\"status\":418,\"body\":\"tea\"}]}");
    mf_val list = json_get(got, MF_STR("requests"));

    (void)state;
    member_is(got, "id", "[7]");
    /* The first answer is for another request; it serves all the same. */
    assert_int_equal(json_count(list), 1);
    member_is(got, "error", "{\"status\":418,\"message\":\"HTTP 418: tea\"}");
    member_is(got, "filtered", "");
    member_is(got, "results", "");
}

static void test_answers_find_their_requests(void **state)
{
    mf_val got = run(&plugin, "{\"action\":\"steps\",\"event\":{\"userId\":"
                              "\"u\"},\"responses\":["
                              "{\"method\":\"PUT\",\"url\":\"" API "/put\","
                              "\"status\":500},"
                              "{\"method\":\"GET\",\"url\":\"" API
                              "/find?id=u\",\"json\":{}}]}");

    (void)state;
    assert_int_equal(json_count(json_get(got, MF_STR("requests"))), 2);
    member_is(got, "error",
              "{\"status\":500,\"message\":"
              "\"HTTP 500 Internal Server Error\"}");
}

static void test_presets(void **state)
{
    mf_val got = run(&plugin, "{\"event\":{\"type\":\"track\",\"event\":"
                              "\"Paid\",\"userId\":\"u\"}}");

    (void)state;
    assert_int_equal(json_count(json_get(got, MF_STR("requests"))), 2);
    member_is(got, "error", "");
    got = run(&plugin, "{\"event\":{\"type\":\"page\"}}");
    member_is(got, "requests", "[]");
    member_is(got, "filtered", "true");
    got = run(&plugin, "{\"action\":\"skips\",\"event\":{}}");
    member_is(got, "filtered", "true");
}

static void test_wrong_input(void **state)
{
    (void)state;
    member_is(run(&plugin, "{\"action\":\"none\",\"event\":{}}"), "error",
              "{\"status\":400,\"message\":"
              "\"acme has no action \\\"none\\\"\"}");
    member_is(run(&plugin, "{\"action\":\"one\"}"), "error",
              "{\"status\":400,\"message\":\"`event` is missing\"}");
    member_is(run(&plugin, "{\"kind\":\"poll\"}"), "error",
              "{\"status\":400,\"message\":\"kind \\\"poll\\\" is not "
              "known\"}");
    member_is(run(&plugin, "{\"action\":\"one\",\"event\":{},\"mapping\":"
                           "{\"n\":{\"@literal\":\"x\"}}}"),
              "error",
              "{\"status\":400,\"message\":\"N must be an integer but it was "
              "a string.\"}");
}

static void test_batch(void **state)
{
    mf_val got = run(&plugin,
                     "{\"kind\":\"batch\",\"action\":\"batch\",\"mapping\":{"
                     "\"id\":{\"@path\":\"$.u\"},\"n\":{\"@path\":\"$.n\"}},"
                     "\"events\":[{\"u\":\"a\"},{\"u\":\"b\",\"n\":\"x\"},{},"
                     "{\"u\":\"c\"}],\"responses\":[{\"json\":{\"bad\":[1]}}]"
                     "}");
    mf_val results = json_get(got, MF_STR("results"));
    static const int want[] = { 200, 400, 400, 422 };
    int64_t status;

    (void)state;
    assert_int_equal(json_count(json_get(got, MF_STR("requests"))), 1);
    assert_int_equal(json_count(results), 4);
    for (size_t k = 0; k < 4; k++) {
        assert_true(json_integer(json_get(json_at(results, k),
                                          MF_STR("status")),
                                 &status));
        assert_int_equal(status, want[k]);
    }
    member_is(got, "error", ""); /* each event tells for itself */

    got = run(&plugin, "{\"kind\":\"batch\",\"action\":\"batch\",\"events\":["
                       "{\"userId\":\"a\"},{\"userId\":\"b\"}],"
                       "\"responses\":[{\"status\":503}]}");
    member_is(got, "error",
              "{\"status\":503,\"message\":"
              "\"HTTP 503 Service Unavailable\"}");
    assert_int_equal(json_count(json_get(got, MF_STR("results"))), 2);
}

/* A 401 fetches a token once where there is something to fetch it with. */
static void test_new_token(void **state)
{
    static const char input[] =
        "{\"action\":\"one\",\"event\":{\"userId\":\"u\"},"
        "\"auth\":{\"accessToken\":\"old\"},"
        "\"oauth\":{\"refreshToken\":\"r\"},"
        "\"responses\":[{\"status\":401},"
        "{\"json\":{\"access_token\":\"new\"}},{\"status\":%s}]}";
    char text[512];
    mf_val got, list, headers;

    (void)state;
    snprintf(text, sizeof text, input, "200");
    got = run(&oauth, text);
    list = json_get(got, MF_STR("requests"));
    assert_int_equal(json_count(list), 3);
    headers = json_get(json_at(list, 0), MF_STR("headers"));
    member_is(headers, "authorization", "\"Bearer old\"");
    member_is(json_at(list, 1), "body", "\"refresh_token=r\"");
    headers = json_get(json_at(list, 2), MF_STR("headers"));
    member_is(headers, "authorization", "\"Bearer new\"");
    member_is(got, "error", "");

    snprintf(text, sizeof text, input, "401");
    got = run(&oauth, text); /* not for ever */
    assert_int_equal(json_count(json_get(got, MF_STR("requests"))), 3);
    member_is(got, "error", "{\"status\":401,\"message\":"
                            "\"HTTP 401 Unauthorized\"}");
}

static void test_no_answer(void **state)
{
    mf_val got = run(&plugin, "{\"action\":\"one\",\"event\":{\"userId\":"
                              "\"u\"},\"responses\":[{\"error\":\"x\","
                              "\"code\":\"ETIMEDOUT\"}]}");

    (void)state;
    member_is(got, "error",
              "{\"status\":408,\"message\":\"no answer in time: POST " API
              "/one\"}");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one),
        cmocka_unit_test(test_answers_find_their_requests),
        cmocka_unit_test(test_presets),
        cmocka_unit_test(test_wrong_input),
        cmocka_unit_test(test_batch),
        cmocka_unit_test(test_new_token),
        cmocka_unit_test(test_no_answer),
    };

    return cmocka_run_group_tests(tests, begin, end);
}
