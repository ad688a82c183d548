/* SPDX-License-Identifier: Apache-2.0
 *
 * Who a client is: PROXY headers, X-Forwarded-For, and the server's use of
 * both. Clients on loopback play the proxy. */
#include "http/fixture.h"

#include "base/crc32c.h"
#include "http/proxy.h"

#define SIGNATURE "\r\n\r\n\0\r\nQUIT\n"

static struct netblock blocks[2];

static void trust(const char *one, const char *two, bool proxy_protocol)
{
    assert_true(netblock_parse(mf_cstr(one), &blocks[0]));
    assert_true(netblock_parse(mf_cstr(two), &blocks[1]));
    http_server_trust(server, blocks, 2, proxy_protocol);
}

/* ---- the parser ---- */

struct row {
    mf_str text;
    int used; /* -1: refused */
    const char *client; /* NULL: not known */
};

#define S(text) { (text), sizeof(text) - 1 }
#define V2(rest) S(SIGNATURE rest)
#define V4_BODY "\xc0\0\2\7\xc6\x33\x64\1\xdc\4\1\xbb"
#define V6_BODY                                                               \
    "\x20\1\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\7"                                  \
    "\x20\1\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\1\xdc\4\1\xbb"

static const struct row rows[] = {
    { S("PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\r\nGET"), 45,
      "192.0.2.7" },
    { S("PROXY TCP6 2001:db8::7 2001:db8::1 1 65535\r\n"), 44,
      "2001:db8::7" },
    { S("PROXY UNKNOWN\r\n"), 15, NULL },
    { S("PROXY UNKNOWN ffff::1 whatever 1 2\r\n"), 36, NULL },
    { S("PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\n"), -1, NULL },
    { S("PROXY TCP4 192.0.2.7 198.51.100.1 56324\r\n"), -1, NULL },
    { S("PROXY TCP4 192.0.2.7 198.51.100.1 56324 \r\n"), -1, NULL },
    { S("PROXY TCP4 192.0.2.7 198.51.100.1 56324 443 \r\n"), -1, NULL },
    { S("PROXY TCP4 192.0.2.7 198.51.100.1 56324 65536\r\n"), -1, NULL },
    { S("PROXY TCP4 192.0.2.7 198.51.100.1 56324 0443\r\n"), -1, NULL },
    { S("PROXY TCP4 192.0.2.7 198.51.100.1 -1 443\r\n"), -1, NULL },
    { S("PROXY TCP4 192.0.2.7  198.51.100.1 56324 443\r\n"), -1, NULL },
    { S("PROXY TCP4 192.0.2.777 198.51.100.1 56324 443\r\n"), -1, NULL },
    { S("PROXY TCP4 192.0.2.7 x 56324 443\r\n"), -1, NULL },
    { S("PROXY TCP4 ::1 ::2 56324 443\r\n"), -1, NULL },
    { S("PROXY TCP6 192.0.2.7 198.51.100.1 56324 443\r\n"), -1, NULL },
    { S("PROXY TCP5 192.0.2.7 198.51.100.1 56324 443\r\n"), -1, NULL },
    { S("PROXY  TCP4 192.0.2.7 198.51.100.1 56324 443\r\n"), -1, NULL },
    { S("PROXY TCP4\0" "192.0.2.7 198.51.100.1 1 2\r\n"), -1, NULL },
    { S("PROXY \r\n"), -1, NULL },
    { S("proxy TCP4 192.0.2.7 198.51.100.1 56324 443\r\n"), -1, NULL },
    { S("GET / HTTP/1.1\r\n"), -1, NULL },
    { S("PROXY UNKNOWN 0123456789012345678901234567890123456789012345678901"
        "2345678901234567890123456789012345678901\r\n"), -1, NULL },
    { V2("\x21\x11\0\x0c" V4_BODY "more"), 28, "192.0.2.7" },
    { V2("\x21\x21\0\x24" V6_BODY), 52, "2001:db8::7" },
    { V2("\x21\x11\0\x13" V4_BODY "\4\0\4\0\0\0\0"), 35, "192.0.2.7" },
    { V2("\x21\x11\0\x0f" V4_BODY "\5\0\0"), 31, "192.0.2.7" },
    { V2("\x20\0\0\0"), 16, NULL },
    { V2("\x20\x11\0\x0c" V4_BODY), 28, NULL },
    { V2("\x21\0\0\3abc"), 19, NULL },
    { V2("\x21\x11\0\x0b" V4_BODY), -1, NULL },
    { V2("\x21\x21\0\x0c" V4_BODY), -1, NULL },
    { V2("\x22\x11\0\x0c" V4_BODY), -1, NULL },
    { V2("\x11\x11\0\x0c" V4_BODY), -1, NULL },
    { V2("\x21\x12\0\x0c" V4_BODY), -1, NULL },
    { V2("\x21\x31\0\x0c" V4_BODY), -1, NULL },
    { V2("\x21\x11\0\x0e" V4_BODY "\4\0"), -1, NULL },
    { V2("\x21\x11\0\x0f" V4_BODY "\4\0\1"), -1, NULL },
    { V2("\x21\x11\0\x13" V4_BODY "\3\0\4abcd"), -1, NULL },
    { V2("\x21\x11\xff\xff" V4_BODY), -1, NULL },
};

static void test_headers_are_read_strictly(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct proxy_header h;
        char text[NETADDR_TEXT];
        int used = proxy_header_read(rows[i].text.ptr, rows[i].text.len, &h);

        if (used != rows[i].used)
            fail_msg("row %zu: %d (%s)", i, used, h.fault ? h.fault : "");
        assert_int_equal(used < 0, h.fault != NULL);
        if (used < 0)
            continue;
        assert_int_equal(h.known, rows[i].client != NULL);
        if (!h.known)
            continue;
        netaddr_text(&h.client, text);
        assert_string_equal(text, rows[i].client);
    }
}

/* Whatever is cut off: never another verdict than "more". The copy ends where
 * the bytes do, for the sanitizer to see a step beyond. */
static void test_cut_headers_wait(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        for (int n = 0; n < rows[i].used; n++) {
            char *copy = xmalloc((size_t)n + (n == 0));
            struct proxy_header h;

            memcpy(copy, rows[i].text.ptr, (size_t)n);
            if (proxy_header_read(copy, (size_t)n, &h) != 0)
                fail_msg("row %zu, %d bytes", i, n);
            free(copy);
        }
}

static void test_checksums_are_checked(void **state)
{
    char bytes[] = SIGNATURE "\x21\x11\0\x13" V4_BODY "\3\0\4\0\0\0\0";
    size_t n = sizeof bytes - 1;
    uint32_t sum = crc32c(0, bytes, n);
    struct proxy_header h;

    (void)state;
    for (int i = 0; i < 4; i++)
        bytes[n - 4 + (size_t)i] = (char)(sum >> (24 - 8 * i));
    assert_int_equal(proxy_header_read(bytes, n, &h), n);
    bytes[17] ^= 1;
    assert_int_equal(proxy_header_read(bytes, n, &h), -1);
    assert_string_equal(h.fault, "its checksum does not hold");
}

/* ---- connections ---- */

static void test_a_proxys_clients_have_their_own_address(void **state)
{
    struct client c;

    (void)state;
    start(NULL);
    trust("127.0.0.0/8", "::1", true);
    client_open(&c);
    client_say(&c, "PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\r\n"
                   "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n"
                   "\r\na");
    expect(&c, 200, "a");
    assert_string_equal(last_peer, "192.0.2.7");
    client_post(&c, "/echo", MF_STR("b"), "");
    expect(&c, 200, "b");
    assert_string_equal(last_peer, "192.0.2.7");
    client_post(&c, "/big", MF_STR("b"), "");
    expect_big(&c);
    client_close(&c);
    client_open(&c);
    client_send(&c, (mf_str)V2("\x20\0\0\0"));
    run_until(count()->proxied == 2);
    client_post(&c, "/echo", MF_STR("c"), "");
    expect(&c, 200, "c");
    assert_string_equal(last_peer, "127.0.0.1");
    client_close(&c);
    run_until(count()->open == 0);
    stop();
}

static void test_headers_in_pieces(void **state)
{
    static const char text[] =
        "PROXY TCP6 2001:db8::7 2001:db8::1 1 2\r\nPOST /echo HTTP/1.1\r\n"
        "Host: h\r\nContent-Length: 1\r\n\r\na";
    struct client c;

    (void)state;
    start(NULL);
    trust("127.0.0.0/8", "::1", true);
    client_open(&c);
    for (size_t i = 0; i < sizeof text - 1; i++) {
        client_send(&c, (mf_str){ text + i, 1 });
        event_base_loop(base, EVLOOP_NONBLOCK);
    }
    expect(&c, 200, "a");
    assert_string_equal(last_peer, "2001:db8::7");
    client_close(&c);
    stop();
}

static void test_a_header_must_be_there_and_only_there(void **state)
{
    struct client c;

    (void)state;
    start(NULL);
    trust("127.0.0.0/8", "::1", true);
    client_open(&c);
    client_post(&c, "/echo", MF_STR("a"), "");
    run_until(c.eof);
    assert_int_equal(c.in.len, 0);
    assert_int_equal(count()->openings[HTTP_OPEN_PROXY], 1);
    client_close(&c);
    client_open(&c); /* never says a word */
    run_until(count()->opening == 1);
    clock_mono_skew_ms += http_limits_default.header_ms + 1000;
    run_until(c.eof);
    assert_int_equal(count()->openings[HTTP_OPEN_SLOW], 1);
    client_close(&c);
    trust("192.0.2.0/24", "::1", true);
    client_open(&c); /* trusted no longer, so it is no proxy */
    client_say(&c, "PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\r\n\r\n");
    run_until(answer_whole(&c, true));
    assert_int_equal(answer_status(&c), 400);
    client_close(&c);
    client_open(&c);
    client_post(&c, "/echo", MF_STR("a"), "");
    expect(&c, 200, "a");
    assert_string_equal(last_peer, "127.0.0.1");
    client_close(&c);
    stop();
}

/* By the client's address, not by the proxy's. */
static void test_limits_of_a_peer_count_clients(void **state)
{
    struct http_limits l = http_limits_default;
    struct client c[6];

    (void)state;
    l.connections_per_peer = 2;
    start(&l);
    trust("127.0.0.0/8", "::1", true);
    for (int i = 0; i < 5; i++) {
        char text[64];

        client_open(&c[i]);
        snprintf(text, sizeof text, "PROXY TCP4 192.0.2.%d 10.0.0.1 1 2\r\n",
                 i < 3 ? 7 : i);
        client_say(&c[i], text);
        run_until(count()->proxied == (uint64_t)i + 1);
    }
    run_until(c[2].eof);
    assert_int_equal(count()->refused_peer, 1);
    assert_int_equal(count()->open, 4);
    for (int i = 0; i < 5; i++)
        client_close(&c[i]);
    run_until(count()->open == 0);
    client_open(&c[0]);
    client_say(&c[0], "PROXY TCP4 192.0.2.7 10.0.0.1 1 2\r\n");
    client_post(&c[0], "/echo", MF_STR("a"), "");
    expect(&c[0], 200, "a");
    client_close(&c[0]);
    stop();
}

/* ---- X-Forwarded-For ---- */

static char told[64];

static void tell_client(struct http_request *r, void *arg)
{
    (void)arg;
    assert_false(r->secure);
    snprintf(told, sizeof told, "%.*s", (int)r->client.len, r->client.ptr);
    http_reply(r, 200, NULL, MF_STR(""), MF_STR(""));
}

static const char *client_by(const char *headers)
{
    struct client c;

    client_open(&c);
    client_post(&c, "/", MF_STR(""), headers);
    run_until(answer_whole(&c, true));
    assert_int_equal(answer_status(&c), 200);
    client_close(&c);
    return told;
}

static void test_the_last_address_that_is_not_trusted(void **state)
{
    static const struct {
        const char *headers, *client;
        unsigned bad;
    } table[] = {
        { "", "127.0.0.1", 0 },
        { "X-Forwarded-For: 192.0.2.7\r\n", "192.0.2.7", 0 },
        { "X-Forwarded-For: 1.1.1.1, 192.0.2.7\r\n", "192.0.2.7", 0 },
        { "X-Forwarded-For: 192.0.2.7, 10.1.2.3\r\n", "192.0.2.7", 0 },
        { "X-Forwarded-For: 1.1.1.1,192.0.2.7 ,10.1.2.3,\t10.9.9.9\r\n",
          "192.0.2.7", 0 },
        { "X-Forwarded-For: 10.1.1.1, 10.1.2.3\r\n", "10.1.1.1", 0 },
        { "x-forwarded-for: 192.0.2.7:5555\r\n", "192.0.2.7", 0 },
        { "X-Forwarded-For: [2001:db8::7]:5555\r\n", "2001:db8::7", 0 },
        { "X-Forwarded-For: [2001:db8::7]\r\n", "2001:db8::7", 0 },
        { "X-Forwarded-For: 2001:db8::7\r\n", "2001:db8::7", 0 },
        { "X-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 192.0.2.7\r\n",
          "192.0.2.7", 0 },
        { "X-Forwarded-For: 192.0.2.7\r\nA: b\r\nX-Forwarded-For: "
          "10.0.0.1\r\n", "192.0.2.7", 0 },
        { "X-Forwarded-For: 192.0.2.7, , 10.0.0.1,\r\n", "192.0.2.7", 0 },
        { "X-Forwarded-For:\r\n", "127.0.0.1", 0 },
        { "X-Forwarded-For: unknown\r\n", "127.0.0.1", 1 },
        { "X-Forwarded-For: 192.0.2.7, unknown\r\n", "127.0.0.1", 1 },
        { "X-Forwarded-For: bad, 10.0.0.1\r\n", "10.0.0.1", 1 },
        { "X-Forwarded-For: bad, 192.0.2.7\r\n", "192.0.2.7", 0 },
        { "X-Forwarded-For: 192.0.2.7:port\r\n", "127.0.0.1", 1 },
        { "X-Forwarded-For: 192.0.2.7:\r\n", "127.0.0.1", 1 },
        { "X-Forwarded-For: [192.0.2.7]\r\n", "127.0.0.1", 1 },
        { "X-Forwarded-For: [::1\r\n", "127.0.0.1", 1 },
        { "X-Forwarded-For: 192.0.2.7 192.0.2.8\r\n", "127.0.0.1", 1 },
    };

    (void)state;
    start(NULL);
    http_server_free(server);
    server = http_server_new(base, NULL, tell_client, NULL);
    http_server_listen(server, listen_fd);
    trust("127.0.0.0/8", "10.0.0.0/8", false);
    for (size_t i = 0; i < COUNT_OF(table); i++) {
        uint64_t bad = count()->forwarded_bad;

        if (strcmp(client_by(table[i].headers), table[i].client) != 0)
            fail_msg("%s: %s", table[i].headers, told);
        if (count()->forwarded_bad != bad + table[i].bad)
            fail_msg("%s: counted wrongly", table[i].headers);
    }
    trust("10.0.0.0/8", "::1", false);
    assert_string_equal(client_by("X-Forwarded-For: 192.0.2.7\r\n"),
                        "127.0.0.1");
    stop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_headers_are_read_strictly),
        cmocka_unit_test(test_cut_headers_wait),
        cmocka_unit_test(test_checksums_are_checked),
        cmocka_unit_test(test_a_proxys_clients_have_their_own_address),
        cmocka_unit_test(test_headers_in_pieces),
        cmocka_unit_test(test_a_header_must_be_there_and_only_there),
        cmocka_unit_test(test_limits_of_a_peer_count_clients),
        cmocka_unit_test(test_the_last_address_that_is_not_trusted),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
