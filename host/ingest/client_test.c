/* SPDX-License-Identifier: Apache-2.0
 *
 * client_test.c - whose events get the address they came from: requests over
 * real sockets, as SDKs make them. */
#pragma GCC diagnostic ignored "-Wunused-function" /* the fixture has more */
#include "http/fixture.h"

#include "ingest/client.h"
#include "json/json.h"

static struct event_envelope env;
static char room[NETADDR_TEXT];
static const char *context;

static void describe(struct http_request *r, void *arg)
{
    (void)arg;
    memset(&env, 0, sizeof env);
    if (context)
        env.context = json_root(mf_cstr(context));
    client_describe(r, &env, room);
    http_reply(r, 200, NULL, MF_STR(""), MF_STR(""));
}

static int begin(void **state)
{
    (void)state;
    start(NULL);
    http_server_free(server);
    server = http_server_new(base, NULL, describe, NULL);
    http_server_listen(server, listen_fd);
    context = NULL;
    return 0;
}

static int end(void **state)
{
    (void)state;
    stop();
    return 0;
}

static void ask(const char *headers)
{
    struct client c;

    client_open(&c);
    client_post(&c, "/v1/track", MF_STR("{}"), headers);
    run_until(answer_whole(&c, true));
    client_close(&c);
}

static void is(bool device, const char *ip)
{
    assert_int_equal(env.client_side, device);
    if (!mf_eq(env.client_ip, mf_cstr(ip)))
        fail_msg("%.*s is not %s", (int)env.client_ip.len, env.client_ip.ptr,
                 ip);
}

static void test_devices_are_told_from_servers(void **state)
{
    (void)state;
    ask("");
    is(false, "127.0.0.1");
    ask("User-Agent: analytics-python/2.3.2\r\n");
    is(false, "127.0.0.1");
    ask("Origin: https://shop.example.com\r\n");
    is(true, "127.0.0.1");
    ask("User-Agent: analytics-kotlin/1.25.0\r\n");
    is(true, "127.0.0.1");
    ask("User-Agent: analytics-ios/1.7.3\r\n");
    is(true, "127.0.0.1");
}

static void test_the_batch_may_say_so(void **state)
{
    (void)state;
    context = "{\"direct\":true}";
    ask("");
    is(true, "127.0.0.1");
    context = "{\"ip\":\"192.0.2.1\"}";
    ask("Origin: https://shop.example.com\r\n");
    is(false, "");
}

static void test_behind_a_proxy(void **state)
{
    struct netblock b;

    (void)state;
    assert_true(netblock_parse(MF_STR("127.0.0.1"), &b));
    http_server_trust(server, &b, 1, false);
    ask("Origin: https://a.example\r\nX-Forwarded-For: 1.1.1.1, "
        "192.0.2.7\r\n");
    is(true, "192.0.2.7");
    ask("Origin: https://a.example\r\nX-Forwarded-For: 2001:db8::7\r\n");
    is(false, ""); /* IPv6 is not collected */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_devices_are_told_from_servers,
                                        begin, end),
        cmocka_unit_test_setup_teardown(test_the_batch_may_say_so, begin, end),
        cmocka_unit_test_setup_teardown(test_behind_a_proxy, begin, end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
