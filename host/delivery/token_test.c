/* SPDX-License-Identifier: Apache-2.0
 *
 * token_test.c - when a token is asked for, what a refusal proves, and how long
 * failures wait. The supervisor is a record of what it was told; nothing is
 * sent, for the token request of this plugin lacks its refresh token. */
#include "delivery/token.h"

#include "base/clock.h"
#include "base/mem.h"
#include "json/json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char manifest_text[] =
    "{\"slug\":\"a\",\"name\":\"A\",\"version\":\"1.0.0\","
    "\"docs\":\"https://docs.example/\",\"kind\":\"http\","
    "\"hosts\":[\"a.example\"],\"auth\":{\"scheme\":\"oauth2\","
    "\"grant\":\"refresh_token\",\"token_url\":\"https://a.example/t\","
    "\"refresh_token\":{\"@path\":\"$.settings.token\"}},"
    "\"settings\":[],\"actions\":[{\"slug\":\"g\",\"title\":\"G\","
    "\"description\":\"G\",\"fields\":[],\"request\":{\"method\":\"GET\","
    "\"url\":\"https://a.example/\"}}]}";

static struct plugin plugin;
static struct instance *instance;
static struct token *token;
static unsigned asks, brought, changes;
static struct msg_token last;

static void on_tell(void *arg, enum message type, const struct msg_token *m,
                    mf_str name, mf_str origin, mf_str tokens)
{
    (void)arg;
    (void)tokens;
    assert_true(mf_eq(name, MF_STR("d")));
    assert_int_equal(origin.len, 64);
    last = *m;
    if (type == MSG_TOKEN_ASK)
        asks++;
    else
        brought++;
}

static void on_changed(void *arg)
{
    (void)arg;
    changes++;
}

static int begin(void **state)
{
    struct instance_config c = { .name = "d", .lenient = true };
    struct token_ways ways = { on_tell, on_changed, NULL };
    struct err e = { "" };

    (void)state;
    plugin.manifest = manifest_parse(xstrdup(manifest_text),
                                     sizeof manifest_text - 1, "test", &e);
    if (!plugin.manifest)
        fail_msg("%s", e.text);
    instance = instance_new(&plugin, &c, NULL);
    token = token_new(instance, "d", NULL, NULL, NULL, &ways);
    assert_non_null(token);
    asks = brought = changes = 0;
    return 0;
}

static int end(void **state)
{
    (void)state;
    token_free(token);
    instance_free(instance);
    manifest_free(plugin.manifest);
    clock_skew_ms = clock_mono_skew_ms = 0;
    return 0;
}

static void give(uint64_t version, int64_t life_ms)
{
    struct msg_token m = { .version = version,
                           .expires_ms = clock_ms() + life_ms,
                           .renew_ms = clock_ms() + life_ms / 2 };
    char text[80];

    snprintf(text, sizeof text, "{\"accessToken\":\"access-%u\"}",
             (unsigned)version);
    token_message(token, MSG_TOKEN, &m, mf_cstr(text));
}

static void test_asks_once(void **state)
{
    (void)state;
    assert_false(token_ready(token));
    assert_false(token_ready(token));
    assert_int_equal(asks, 1);
    assert_int_equal(last.version, 0);
    assert_true(token_next_ms(token) == INT64_MAX);
    give(1, 60000);
    assert_int_equal(changes, 1);
    assert_true(token_ready(token));
    assert_int_equal(asks, 1);
    assert_int_equal(token_version(token), 1);
}

/* Calls go on while a token near its end is renewed, and stop at its end. */
static void test_renews(void **state)
{
    (void)state;
    token_ready(token);
    give(1, 60000);
    clock_skew_ms = 40000;
    assert_true(token_ready(token));
    assert_int_equal(asks, 2);
    assert_int_equal(last.version, 1);
    clock_skew_ms = 70000;
    assert_false(token_ready(token));
    give(2, 60000);
    assert_true(token_ready(token));
}

static void test_refused(void **state)
{
    (void)state;
    token_ready(token);
    give(1, 60000);
    assert_true(token_refused(token, 1));
    assert_true(token_refused(token, 1)); /* another call that carried it */
    assert_false(token_good(token));
    assert_false(token_ready(token));
    assert_int_equal(asks, 2);
    give(2, 60000);
    assert_true(token_good(token));
    assert_false(token_refused(token, 1)); /* a late answer */
    assert_true(token_good(token));
}

/* A 401 while another token is under way says nothing of that. */
static void test_refused_while_renewing(void **state)
{
    (void)state;
    token_ready(token);
    give(1, 60000);
    clock_skew_ms = 40000;
    assert_true(token_ready(token));
    assert_false(token_refused(token, 1));
    assert_false(token_good(token));
    give(2, 60000);
    assert_true(token_good(token));
}

/* New tokens that are refused as well are not fetched in a circle. */
static void test_refusals_wait(void **state)
{
    (void)state;
    token_ready(token);
    for (uint64_t n = 1; n <= 12; n++) {
        give(n, 60000);
        token_refused(token, n);
        clock_mono_skew_ms += 300001;
        assert_false(token_ready(token));
    }
    give(13, 60000);
    token_refused(token, 13);
    assert_true(token_next_ms(token) >= clock_mono_ms());
    clock_mono_skew_ms += 300001;
    token_ready(token);
    give(14, 60000);
    token_worked(token);
    token_refused(token, 14);
    assert_true(token_next_ms(token) <= clock_mono_ms());
}

static void test_fails(void **state)
{
    struct msg_token m = { 0 };

    (void)state;
    token_ready(token);
    token_message(token, MSG_TOKEN_LEASE, &m, MF_STR(""));
    assert_int_equal(brought, 1);
    assert_int_equal(last.version, 0);
    assert_int_equal(changes, 1);
    assert_non_null(strstr(token_error(token), "refresh_token"));
    assert_true(token_next_ms(token) >=
                clock_mono_ms() + TOKEN_FINAL_MS - 1000);
    assert_false(token_ready(token));
    assert_int_equal(asks, 1); /* not before its time */
    clock_mono_skew_ms = 300001;
    assert_false(token_ready(token));
    assert_int_equal(asks, 2);
    give(1, 60000);
    assert_string_equal(token_error(token), "");
}

static void test_secrets(void **state)
{
    struct redact *r = redact_new();

    (void)state;
    for (uint64_t n = 1; n <= 3; n++) {
        clock_skew_ms += 70000;
        token_ready(token);
        give(n, 60000);
    }
    token_secrets(token, r);
    assert_int_equal(redact_count(r), 2); /* the last two */
    assert_true(mf_eq(redact_nth(r, 0), MF_STR("access-3")));
    redact_free(r);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, begin, end)
    const struct CMUnitTest tests[] = {
        T(test_asks_once), T(test_renews), T(test_refused),
        T(test_refused_while_renewing), T(test_refusals_wait), T(test_fails),
        T(test_secrets),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
