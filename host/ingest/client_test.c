/* SPDX-License-Identifier: Apache-2.0
 *
 * Whose address is kept: by the request, and by the event. */
#include "ingest/client.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct arena arena;

static struct event_envelope ask(const char *peer, const char *headers)
{
    struct event_envelope env = { 0 };
    struct http_request r = { .client = mf_cstr(peer) };
    struct http_head head;
    static char text[512];

    snprintf(text, sizeof text, "POST / HTTP/1.1\r\nHost: h\r\n%s\r\n",
             headers);
    http_head_init(&head, HTTP_HEAD_MAX, HTTP_FIELDS_MAX);
    assert_true(http_head_feed(&head, text, strlen(text)) > 0);
    r.head = &head;
    r.base = text;
    client_of_request(&env, &r);
    return env;
}

static void only_public_addresses_are_kept(void **state)
{
    static const struct {
        const char *peer;
        bool kept;
    } rows[] = {
        { "203.0.113.7", true },   { "8.8.8.8", true },
        { "127.0.0.1", false },    { "10.0.0.1", false },
        { "172.16.3.4", false },   { "192.168.1.1", false },
        { "100.64.0.1", false },   { "169.254.1.1", false },
        { "2001:db8::1", false },  { "2a00:1450:4001:81b::200e", false },
        { "::1", false },          { "unix", false },
        { "", false },             { "8.8.8.8.8", false },
        { "8.8.8.8, 1.1", false }, { "255.255.255.2550", false },
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct event_envelope env = ask(rows[i].peer, "");

        assert_false(env.from_page);
        if (!mf_eq(env.client_ip, mf_cstr(rows[i].kept ? rows[i].peer : "")))
            fail_msg("%s is kept as %.*s", rows[i].peer,
                     (int)env.client_ip.len, env.client_ip.ptr);
    }
}

static void a_browser_is_known_by_its_headers(void **state)
{
    (void)state;
    assert_true(ask("8.8.8.8", "Origin: https://a.example\r\n").from_page);
    assert_true(ask("8.8.8.8", "Origin: null\r\n").from_page);
    assert_true(ask("8.8.8.8", "sec-fetch-site: cross-site\r\n").from_page);
    assert_false(ask("8.8.8.8", "User-Agent: Mozilla/5.0\r\n").from_page);
}

static bool sends(const char *direct, const char *library)
{
    return client_sends_itself(json_root(mf_cstr(direct)),
                               json_root(mf_cstr(library)), &arena);
}

static void a_phone_is_known_by_its_library(void **state)
{
    (void)state;
    assert_true(sends("null", "{\"name\":\"analytics-swift\"}"));
    assert_true(sends("null", "{\"name\":\"analytics-kotlin\"}"));
    assert_true(sends("true", "{\"name\":\"analytics-go\"}"));
    assert_true(sends("true", "null"));
    assert_false(sends("false", "{\"name\":\"analytics-go\"}"));
    assert_false(sends("\"true\"", "{\"name\":\"analytics-node\"}"));
    assert_false(sends("null", "\"analytics-swift\""));
    assert_false(sends("1", "{\"name\":7}"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_public_addresses_are_kept),
        cmocka_unit_test(a_browser_is_known_by_its_headers),
        cmocka_unit_test(a_phone_is_known_by_its_library),
    };
    int rc;

    arena_init(&arena, 1 << 20);
    rc = cmocka_run_group_tests(tests, NULL, NULL);
    arena_deinit(&arena);
    return rc;
}
