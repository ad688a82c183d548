/* SPDX-License-Identifier: Apache-2.0
 *
 * parse_test.c - requests to take and to refuse, as tables.
 *
 * Each is fed at once, byte by byte, and in random pieces, in a buffer that
 * moves between two pieces: the verdict and what was read must not differ. */
#include "http/parse.h"

#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define SPLITS 40
#define H      "Host: a\r\n"

struct good {
    mf_str text;
    const char *method, *path, *query; /* query NULL = none */
    int64_t length;                    /* -1 chunked */
    int keep_alive, minor;
};

#define G(text, ...)              \
    {                             \
        MF_STR(text), __VA_ARGS__ \
    }

static const struct good goods[] = {
    G("GET / HTTP/1.1\r\nHost: a\r\n\r\n", "GET", "/", NULL, 0, 1, 1),
    G("GET / HTTP/1.1\r\nHost:\r\n\r\n", "GET", "/", NULL, 0, 1, 1),
    G("GET / HTTP/1.1\r\nHost:a\r\n\r\n", "GET", "/", NULL, 0, 1, 1),
    G("GET / HTTP/1.1\r\nHost: \t a:80 \t\r\n\r\n", "GET", "/", NULL, 0, 1, 1),
    G("GET / HTTP/1.1\r\nHost: [::1]:8080\r\n\r\n", "GET", "/", NULL, 0, 1, 1),
    G("\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", "GET", "/", NULL, 0, 1, 1),
    G("GET /a?b HTTP/1.1\r\n" H "\r\n", "GET", "/a", "b", 0, 1, 1),
    G("GET /a? HTTP/1.1\r\n" H "\r\n", "GET", "/a", "", 0, 1, 1),
    G("GET /a?b?c HTTP/1.1\r\n" H "\r\n", "GET", "/a", "b?c", 0, 1, 1),
    G("GET /%7Ea/../b HTTP/1.1\r\n" H "\r\n", "GET", "/%7Ea/../b", NULL, 0, 1,
      1),
    G("GET //a//b HTTP/1.1\r\n" H "\r\n", "GET", "//a//b", NULL, 0, 1, 1),
    G("GET /{a}|\"<b>\\^` HTTP/1.1\r\n" H "\r\n", "GET", "/{a}|\"<b>\\^`", NULL,
      0, 1, 1),
    G("GET http://h.example/p?q HTTP/1.1\r\n" H "\r\n", "GET", "/p", "q", 0, 1,
      1),
    G("GET HTTP://h.example:80 HTTP/1.1\r\n" H "\r\n", "GET", "", NULL, 0, 1,
      1),
    G("GET https://h.example?q HTTP/1.1\r\n" H "\r\n", "GET", "", "q", 0, 1, 1),
    G("OPTIONS * HTTP/1.1\r\n" H "\r\n", "OPTIONS", "*", NULL, 0, 1, 1),
    G("M-SEARCH / HTTP/1.1\r\n" H "\r\n", "M-SEARCH", "/", NULL, 0, 1, 1),
    G("x!#$%&'*+-.^_`|~0 / HTTP/1.1\r\n" H "\r\n", "x!#$%&'*+-.^_`|~0", "/",
      NULL, 0, 1, 1),
    G("GET / HTTP/1.0\r\n\r\n", "GET", "/", NULL, 0, 0, 0),
    G("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", "GET", "/", NULL, 0,
      1, 0),
    G("GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n", "GET", "/",
      NULL, 0, 0, 0),
    G("GET / HTTP/1.1\r\n" H "Connection: close\r\n\r\n", "GET", "/", NULL, 0,
      0, 1),
    G("GET / HTTP/1.1\r\n" H "Connection: a, CLOSE ,b\r\n\r\n", "GET", "/",
      NULL, 0, 0, 1),
    G("GET / HTTP/1.1\r\n" H "Connection: a\r\nX: y\r\nConnection: close\r\n"
      "\r\n",
      "GET", "/", NULL, 0, 0, 1),
    G("GET / HTTP/1.1\r\n" H "Connection: closed\r\n\r\n", "GET", "/", NULL, 0,
      1, 1),
    G("POST / HTTP/1.1\r\n" H "Content-Length: 0\r\n\r\n", "POST", "/", NULL, 0,
      1, 1),
    G("POST / HTTP/1.1\r\n" H "CONTENT-LENGTH:5\r\n\r\n", "POST", "/", NULL, 5,
      1, 1),
    G("POST / HTTP/1.1\r\n" H "Content-Length: 0005 \r\n\r\n", "POST", "/",
      NULL, 5, 1, 1),
    G("POST / HTTP/1.1\r\n" H "Content-Length: 999999999999999999\r\n\r\n",
      "POST", "/", NULL, 999999999999999999, 1, 1),
    G("POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n", "POST", "/",
      NULL, -1, 1, 1),
    G("POST / HTTP/1.1\r\n" H "transfer-encoding:\tChunked \r\n\r\n", "POST",
      "/", NULL, -1, 1, 1),
    G("GET / HTTP/1.1\r\n" H "X:\r\nY: \r\nZ:\ta\tb\t\r\n\r\n", "GET", "/",
      NULL, 0, 1, 1),
    G("GET / HTTP/1.1\r\n" H "X: caf\xc3\xa9 \xff\x80\r\n\r\n", "GET", "/",
      NULL, 0, 1, 1),
    G("GET / HTTP/1.1\r\n" H "X: a: b: c\r\n\r\n", "GET", "/", NULL, 0, 1, 1),
};

struct bad {
    mf_str text;
    enum http_fault fault;
};

#define L "GET / HTTP/1.1\r\n"
#define P "POST / HTTP/1.1\r\nHost: a\r\n"
#define B(t, f)      \
    {                \
        MF_STR(t), f \
    }

static const struct bad bads[] = {
    /* request lines */
    B("GET / HTTP/1.1\nHost: a\n\n", HTTP_BAD_LINE),
    B("\nGET / HTTP/1.1\r\n", HTTP_BAD_LINE),
    B("\r\n\r\nGET / HTTP/1.1\r\n", HTTP_BAD_LINE),
    B("GET /\r\n", HTTP_BAD_LINE),
    B("GET\r\n", HTTP_BAD_LINE),
    B("GET \r\n", HTTP_BAD_LINE),
    B("GET  / HTTP/1.1\r\n", HTTP_BAD_LINE),
    B("GET /  HTTP/1.1\r\n", HTTP_BAD_LINE),
    B("GET / HTTP/1.1 \r\n", HTTP_BAD_LINE),
    B(" GET / HTTP/1.1\r\n", HTTP_BAD_LINE),
    B("GET\t/ HTTP/1.1\r\n", HTTP_BAD_LINE),
    B("GET /\tHTTP/1.1\r\n", HTTP_BAD_LINE),
    B("GET / a HTTP/1.1\r\n", HTTP_BAD_LINE),
    B("G(T / HTTP/1.1\r\n", HTTP_BAD_LINE),
    B("G\0T / HTTP/1.1\r\n", HTTP_BAD_LINE),
    B("GET /\0 HTTP/1.1\r\n", HTTP_BAD_LINE),
    B("GET /\x7f HTTP/1.1\r\n", HTTP_BAD_LINE),
    B("GET /\xc3\xa9 HTTP/1.1\r\n", HTTP_BAD_LINE),
    B("GET /a#b HTTP/1.1\r\n", HTTP_BAD_LINE),
    B("GET /a\rb HTTP/1.1\r\n", HTTP_BAD_LINE),
    B("GET a HTTP/1.1\r\n", HTTP_BAD_LINE),
    B("GET ?a HTTP/1.1\r\n", HTTP_BAD_LINE),
    B("GET *a HTTP/1.1\r\n", HTTP_BAD_LINE),
    B("GET http:// HTTP/1.1\r\n", HTTP_BAD_LINE),
    B("GET http:///a HTTP/1.1\r\n", HTTP_BAD_LINE),
    B("GET ftp://a/ HTTP/1.1\r\n", HTTP_BAD_LINE),
    B("CONNECT a:443 HTTP/1.1\r\n", HTTP_BAD_LINE),
    B("GET / http/1.1\r\n", HTTP_BAD_LINE),
    B("GET / HTTP/11\r\n", HTTP_BAD_LINE),
    B("GET / HTTP/1.10\r\n", HTTP_BAD_LINE),
    B("GET / HTTP/2.0\r\n", HTTP_BAD_VERSION),
    B("GET / HTTP/1.2\r\n", HTTP_BAD_VERSION),
    B("GET / HTTP/0.9\r\n", HTTP_BAD_VERSION),
    B("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", HTTP_BAD_VERSION),
    B("\x16\x03\x01\x02\r\n", HTTP_BAD_LINE),
    /* header lines */
    B(L "Host: a\nX: y\r\n\r\n", HTTP_BAD_HEADER),
    B(L "Host: a\r\nX: y\n\r\n", HTTP_BAD_HEADER),
    B(L "Host: a\r\n\n", HTTP_BAD_HEADER),
    B(L "Host : a\r\n\r\n", HTTP_BAD_HEADER),
    B(L "Host\t: a\r\n\r\n", HTTP_BAD_HEADER),
    B(L H "Content-Length : 5\r\n\r\n", HTTP_BAD_HEADER),
    B(L H " X: y\r\n\r\n", HTTP_BAD_HEADER),
    B(L H "X: y\r\n z\r\n\r\n", HTTP_BAD_HEADER),
    B(L H "X: y\r\n\tz\r\n\r\n", HTTP_BAD_HEADER),
    B(L H ": y\r\n\r\n", HTTP_BAD_HEADER),
    B(L H "X\r\n\r\n", HTTP_BAD_HEADER),
    B(L H "X y: z\r\n\r\n", HTTP_BAD_HEADER),
    B(L H "X\xc3: z\r\n\r\n", HTTP_BAD_HEADER),
    B(L H "X: a\0b\r\n\r\n", HTTP_BAD_HEADER),
    B(L H "X: a\x01"
          "b\r\n\r\n",
      HTTP_BAD_HEADER),
    B(L H "X: a\x7f\r\n\r\n", HTTP_BAD_HEADER),
    B(L H "X: 0123456789\x1f"
          "0123456789\r\n\r\n",
      HTTP_BAD_HEADER),
    B(L H "X: 01234567\x7f"
          "0123456789\r\n\r\n",
      HTTP_BAD_HEADER),
    B(L H "X: a\rb\r\n\r\n", HTTP_BAD_HEADER),
    B(L H "X: a\r\r\n\r\n", HTTP_BAD_HEADER),
    B(L H "X\0: a\r\n\r\n", HTTP_BAD_HEADER),
    /* host */
    B(L "\r\n", HTTP_BAD_HOST),
    B(L "X: y\r\n\r\n", HTTP_BAD_HOST),
    B(L H H "\r\n", HTTP_BAD_HOST),
    B(L H "host: b\r\n\r\n", HTTP_BAD_HOST),
    B("GET / HTTP/1.0\r\n" H H "\r\n", HTTP_BAD_HOST),
    B(L "Host: a b\r\n\r\n", HTTP_BAD_HOST),
    B(L "Host: a,b\r\n\r\n", HTTP_BAD_HOST),
    B(L "Host: u@a\r\n\r\n", HTTP_BAD_HOST),
    B(L "Host: a/b\r\n\r\n", HTTP_BAD_HOST),
    B(L "Host: \xc3\xa9\r\n\r\n", HTTP_BAD_HOST),
    /* lengths */
    B(P "Content-Length: 5\r\nContent-Length: 5\r\n\r\n", HTTP_BAD_LENGTH),
    B(P "Content-Length: 5\r\nContent-Length: 6\r\n\r\n", HTTP_BAD_LENGTH),
    B(P "Content-Length: 5, 5\r\n\r\n", HTTP_BAD_LENGTH),
    B(P "Content-Length: 5,6\r\n\r\n", HTTP_BAD_LENGTH),
    B(P "Content-Length: +5\r\n\r\n", HTTP_BAD_LENGTH),
    B(P "Content-Length: -5\r\n\r\n", HTTP_BAD_LENGTH),
    B(P "Content-Length: 5abc\r\n\r\n", HTTP_BAD_LENGTH),
    B(P "Content-Length: 0x5\r\n\r\n", HTTP_BAD_LENGTH),
    B(P "Content-Length: 5 5\r\n\r\n", HTTP_BAD_LENGTH),
    B(P "Content-Length: 1.5\r\n\r\n", HTTP_BAD_LENGTH),
    B(P "Content-Length: \r\n\r\n", HTTP_BAD_LENGTH),
    B(P "Content-Length: 9999999999999999999\r\n\r\n", HTTP_BAD_LENGTH),
    B(P "Content-Length: 18446744073709551621\r\n\r\n", HTTP_BAD_LENGTH),
    /* transfer codings */
    B(P "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n",
      HTTP_BAD_TRANSFER),
    B(P "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
      HTTP_BAD_TRANSFER),
    B(P "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
      HTTP_BAD_TRANSFER),
    B(P "Transfer-Encoding: gzip, chunked\r\n\r\n", HTTP_BAD_TRANSFER),
    B(P "Transfer-Encoding: chunked, identity\r\n\r\n", HTTP_BAD_TRANSFER),
    B(P "Transfer-Encoding: chunked,\r\n\r\n", HTTP_BAD_TRANSFER),
    B(P "Transfer-Encoding: identity\r\n\r\n", HTTP_BAD_TRANSFER),
    B(P "Transfer-Encoding: xchunked\r\n\r\n", HTTP_BAD_TRANSFER),
    B(P "Transfer-Encoding: chunked;a=b\r\n\r\n", HTTP_BAD_TRANSFER),
    B(P "Transfer-Encoding: \"chunked\"\r\n\r\n", HTTP_BAD_TRANSFER),
    B(P "Transfer-Encoding:\r\n\r\n", HTTP_BAD_TRANSFER),
    B(P "Transfer-Encoding: \x0b"
        "chunked\r\n\r\n",
      HTTP_BAD_HEADER),
    B(P "Transfer-Encoding : chunked\r\n\r\n", HTTP_BAD_HEADER),
    B("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
      HTTP_BAD_TRANSFER),
};

/* Feeds text in pieces of the sizes that next() gives, each time from memory
 * that has just moved. Returns the parser's last answer. */
static int32_t feed(struct http_head *h, mf_str text, char **base,
                    size_t (*next)(void))
{
    size_t len = 0;
    int32_t rc = 0;

    *base = NULL;
    while (rc == 0 && len < text.len) {
        size_t n = next();
        char *moved;

        len = n < text.len - len ? len + n : text.len;
        moved = xmalloc(len);
        memcpy(moved, text.ptr, len);
        free(*base);
        *base = moved;
        rc = http_head_feed(h, moved, len);
    }
    return rc;
}

static size_t all_at_once(void)
{
    return 1 << 20;
}

static size_t one_byte(void)
{
    return 1;
}

static size_t random_piece(void)
{
    return 1 + (size_t)rand() % 23;
}

static size_t (*const ways[])(void) = { all_at_once, one_byte, random_piece };

static void assert_text(mf_str got, const char *want)
{
    if (!mf_eq(got, mf_cstr(want)))
        fail_msg("%.*s is not %s", (int)got.len, got.ptr, want);
}

static void check_good(const struct good *g, size_t (*next)(void), bool behind)
{
    char text[1024], *base;
    struct http_head h;
    size_t len = g->text.len;
    int32_t rc;

    memcpy(text, g->text.ptr, len);
    if (behind) /* bytes of what follows must not matter */
        memcpy(text + len, "\r\n\0\n", 4);
    http_head_init(&h, HTTP_HEAD_MAX, HTTP_FIELDS_MAX);
    rc = feed(&h, (mf_str){ text, len + (behind ? 4 : 0) }, &base, next);
    if (rc != (int32_t)len)
        fail_msg("%.*s gave %d, %s", (int)len, text, rc,
                 http_fault_code(h.fault));
    assert_text(http_span_of(base, h.method), g->method);
    assert_text(http_span_of(base, h.path), g->path);
    assert_int_equal(h.query.at != 0, g->query != NULL);
    assert_text(http_span_of(base, h.query), g->query ? g->query : "");
    assert_int_equal(h.chunked, g->length < 0);
    assert_true(h.length == (uint64_t)(g->length < 0 ? 0 : g->length));
    assert_int_equal(h.keep_alive, g->keep_alive);
    assert_int_equal(h.minor, g->minor);
    free(base);
}

static void good_requests(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(goods); i++)
        for (int n = 0; n < SPLITS; n++)
            check_good(&goods[i], ways[n < 3 ? n : 2], n & 1);
}

static void bad_requests(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(bads); i++)
        for (int n = 0; n < SPLITS; n++) {
            struct http_head h;
            char *base;
            int32_t rc;

            http_head_init(&h, HTTP_HEAD_MAX, HTTP_FIELDS_MAX);
            rc = feed(&h, bads[i].text, &base, ways[n < 3 ? n : 2]);
            if (rc != -1 || h.fault != bads[i].fault)
                fail_msg("%.*s gave %d, %s", (int)bads[i].text.len,
                         bads[i].text.ptr, rc, http_fault_code(h.fault));
            free(base);
        }
}

/* Every good request cut short anywhere asks for more. */
static void prefixes_are_not_requests(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(goods); i++)
        for (size_t n = 0; n < goods[i].text.len; n++) {
            struct http_head h;

            http_head_init(&h, HTTP_HEAD_MAX, HTTP_FIELDS_MAX);
            assert_int_equal(http_head_feed(&h, goods[i].text.ptr, n), 0);
        }
}

static void headers_are_found(void **state)
{
    const mf_str text = MF_STR(
        "POST /v1/batch HTTP/1.1\r\nhOST: h\r\nContent-type: text/plain\r\n"
        "AUTHORIZATION: Basic eA==\r\nX-Own: 1\r\nx-own: 2\r\n"
        "Origin: https://o\r\nX-Retry-Count: 3\r\nUser-Agent: u\r\n"
        "X-Forwarded-For: 1.2.3.4\r\nAccept-Encoding: gzip\r\n"
        "Access-Control-Request-Headers: authorization\r\n"
        "Content-Encoding: GZIP\r\nExpect: 100-Continue\r\n"
        "Authorization: Basic eQ==\r\n\r\n");
    const struct {
        enum http_known k;
        const char *value;
    } want[] = {
        { HTTP_HOST, "h" },
        { HTTP_CONTENT_TYPE, "text/plain" },
        { HTTP_AUTHORIZATION, "Basic eA==" },
        { HTTP_ORIGIN, "https://o" },
        { HTTP_X_RETRY_COUNT, "3" },
        { HTTP_USER_AGENT, "u" },
        { HTTP_X_FORWARDED_FOR, "1.2.3.4" },
        { HTTP_ACCEPT_ENCODING, "gzip" },
        { HTTP_ACCESS_CONTROL_REQUEST_HEADERS, "authorization" },
        { HTTP_CONTENT_ENCODING, "GZIP" },
        { HTTP_EXPECT, "100-Continue" },
    };
    struct http_head h;

    (void)state;
    http_head_init(&h, HTTP_HEAD_MAX, HTTP_FIELDS_MAX);
    assert_int_equal(http_head_feed(&h, text.ptr, text.len), text.len);
    for (size_t i = 0; i < COUNT_OF(want); i++)
        assert_text(http_head_known(&h, text.ptr, want[i].k), want[i].value);
    assert_null(http_head_known(&h, text.ptr, HTTP_CONNECTION).ptr);
    assert_text(http_head_named(&h, text.ptr, MF_STR("x-OWN")), "1");
    assert_null(http_head_named(&h, text.ptr, MF_STR("x-ow")).ptr);
    assert_true(h.expects_continue);
    assert_true(h.several == 1u << HTTP_AUTHORIZATION);
    assert_int_equal(h.count, 14);
}

static int32_t feed_many(unsigned fields, uint32_t max, size_t value)
{
    static char text[70000];
    struct http_head h;
    size_t n;
    int32_t rc;

    n = (size_t)snprintf(text, sizeof text, L "Host: a\r\n");
    for (unsigned i = 1; i < fields; i++) {
        n += (size_t)snprintf(text + n, 8, "X: ");
        memset(text + n, 'v', value);
        n += value;
        n += (size_t)snprintf(text + n, 8, "\r\n");
    }
    n += (size_t)snprintf(text + n, 8, "\r\n");
    http_head_init(&h, max, HTTP_FIELDS_MAX);
    rc = http_head_feed(&h, text, n);
    assert_int_equal(rc < 0, h.fault != HTTP_NO_FAULT);
    return rc < 0 ? -(int32_t)h.fault : rc;
}

static void limits_hold(void **state)
{
    static char flood[HTTP_HEAD_MAX + 1];
    struct http_head h;

    (void)state;
    assert_true(feed_many(64, HTTP_HEAD_MAX, 1) > 0);
    assert_int_equal(feed_many(65, HTTP_HEAD_MAX, 1), -HTTP_HEAD_TOO_LARGE);
    /* 16 + 9 + 5 + value + 2 bytes: exactly the limit, and one more. */
    assert_int_equal(feed_many(2, 132, 100), 132);
    assert_int_equal(feed_many(2, 131, 100), -HTTP_HEAD_TOO_LARGE);
    assert_int_equal(feed_many(2, UINT16_MAX, UINT16_MAX - 32), UINT16_MAX);
    memset(flood, 'a', sizeof flood);
    http_head_init(&h, HTTP_HEAD_MAX, HTTP_FIELDS_MAX);
    assert_int_equal(http_head_feed(&h, flood, HTTP_HEAD_MAX), 0);
    assert_int_equal(http_head_feed(&h, flood, HTTP_HEAD_MAX + 1), -1);
    assert_int_equal(h.fault, HTTP_HEAD_TOO_LARGE);
}

static void another_protocol_is_told_by_its_first_byte(void **state)
{
    static const char hello[] = "\x16\x03\x01";
    struct http_head h;

    (void)state;
    http_head_init(&h, HTTP_HEAD_MAX, HTTP_FIELDS_MAX);
    assert_int_equal(http_head_feed(&h, hello, 1), -1);
    assert_int_equal(h.fault, HTTP_BAD_LINE);
    http_head_init(&h, HTTP_HEAD_MAX, HTTP_FIELDS_MAX);
    assert_int_equal(http_head_feed(&h, "\r\n", 1), 0);
    assert_int_equal(http_head_feed(&h, "\r\n", 2), 0);
    assert_int_equal(http_head_feed(&h, "\r\n{", 3), -1);
    assert_int_equal(h.fault, HTTP_BAD_LINE);
}

static void lists(void **state)
{
    (void)state;
    assert_true(http_list_has(MF_STR("close"), MF_STR("close")));
    assert_true(http_list_has(MF_STR(" a ,\tClose\t, b"), MF_STR("close")));
    assert_true(http_list_has(MF_STR(",,close"), MF_STR("close")));
    assert_false(http_list_has(MF_STR("closex"), MF_STR("close")));
    assert_false(http_list_has(MF_STR("x close"), MF_STR("close")));
    assert_false(http_list_has(MF_STR(""), MF_STR("close")));
    assert_false(http_list_has((mf_str){ NULL, 0 }, MF_STR("close")));
}

/* ---- chunks ---- */

struct chunked {
    mf_str text;
    const char *data; /* NULL = a fault */
};

static const struct chunked chunked[] = {
    { MF_STR("0\r\n\r\n"), "" },
    { MF_STR("5\r\nhello\r\n0\r\n\r\n"), "hello" },
    { MF_STR("5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n"), "hello world" },
    { MF_STR("00000A\r\n0123456789\r\n000\r\n\r\n"), "0123456789" },
    { MF_STR("a\r\n01234\r\n789\r\n0\r\n\r\n"), "01234\r\n789" },
    { MF_STR("1;a\r\nx\r\n0;b=c;d=\"e;f\"\r\n\r\n"), "x" },
    { MF_STR("1 ;a\r\nx\r\n0\t; b\r\n\r\n"), "x" },
    { MF_STR("1\r\nx\r\n0\r\nA: b\r\nC:\r\n\r\n"), "x" },
    { MF_STR("\r\n"), NULL },
    { MF_STR(";a\r\n"), NULL },
    { MF_STR("0x5\r\nhello\r\n"), NULL },
    { MF_STR("+5\r\nhello\r\n"), NULL },
    { MF_STR("-1\r\n"), NULL },
    { MF_STR(" 5\r\nhello\r\n"), NULL },
    { MF_STR("5 \r\nhello\r\n"), NULL },
    { MF_STR("5 5\r\nhello\r\n"), NULL },
    { MF_STR("5\nhello\r\n"), NULL },
    { MF_STR("5\r\rhello\r\n"), NULL },
    { MF_STR("5\r\nhello\n0\r\n\r\n"), NULL },
    { MF_STR("5\r\nhelloo\r\n0\r\n\r\n"), NULL },
    { MF_STR("5\r\nhell\r\n0\r\n\r\n"), NULL },
    { MF_STR("g\r\n"), NULL },
    { MF_STR("1000000000000000\r\n"), NULL },
    { MF_STR("ffffffffffffffff1\r\n"), NULL },
    { MF_STR("1;a\nx\r\n0\r\n\r\n"), NULL },
    { MF_STR("1;a\0\r\nx\r\n0\r\n\r\n"), NULL },
    { MF_STR("1;a\rb\r\nx\r\n0\r\n\r\n"), NULL },
    { MF_STR("0\r\n\n"), NULL },
    { MF_STR("0\r\n\rX"), NULL },
    { MF_STR("0\r\n A: b\r\n\r\n"), NULL },
    { MF_STR("0\r\nA : b\r\n\r\n"), NULL },
    { MF_STR("0\r\nA\r\n\r\n"), NULL },
    { MF_STR("0\r\n: b\r\n\r\n"), NULL },
    { MF_STR("0\r\nA: b\n\r\n"), NULL },
    { MF_STR("0\r\nA: b\0\r\n\r\n"), NULL },
};

/* In place, as the server does: read data follows made data. */
static int chunk_feed_all(mf_str text, char *to, size_t *made, size_t *used,
                          size_t (*next)(void))
{
    struct http_chunks c;
    int rc = 0;

    http_chunks_init(&c);
    *made = *used = 0;
    while (rc == 0 && *used < text.len) {
        size_t n = next(), m, u;

        if (n > text.len - *used)
            n = text.len - *used;
        memcpy(to + *made, text.ptr + *used, n);
        rc = http_chunks_feed(&c, to + *made, &m, to + *made, n, &u);
        *made += m;
        *used += u;
        assert_true(rc != 0 || u == n);
    }
    return rc;
}

static void chunked_bodies(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(chunked); i++)
        for (int n = 0; n < SPLITS; n++) {
            const struct chunked *c = &chunked[i];
            char text[256], to[256];
            size_t made, used, len = c->text.len;
            int rc;

            memcpy(text, c->text.ptr, len);
            memcpy(text + len, "GET", 3);
            rc = chunk_feed_all((mf_str){ text, len + (c->data ? 3 : 0) }, to,
                                &made, &used, ways[n < 3 ? n : 2]);
            if (rc != (c->data ? 1 : -1))
                fail_msg("%.*s gave %d", (int)len, text, rc);
            if (!c->data)
                continue;
            assert_int_equal(used, len);
            assert_text((mf_str){ to, made }, c->data);
        }
}

static void chunk_limits_hold(void **state)
{
    static char text[40000];
    static char to[40000];
    size_t made, used, n = 0;

    (void)state;
    /* extensions of many chunks together */
    while (n < HTTP_CHUNK_EXT_MAX * 2)
        n += (size_t)snprintf(text + n, 128, "1;%060d\r\nx\r\n", 0);
    assert_int_equal(
        chunk_feed_all((mf_str){ text, n }, to, &made, &used, all_at_once), -1);
    assert_true(used > HTTP_CHUNK_EXT_MAX);
    /* trailers: too many, too long */
    n = (size_t)snprintf(text, 8, "0\r\n");
    for (int i = 0; i < HTTP_TRAILERS_MAX; i++)
        n += (size_t)snprintf(text + n, 8, "A: b\r\n");
    memcpy(text + n, "\r\nA: b\r\n", 8);
    assert_int_equal(
        chunk_feed_all((mf_str){ text, n + 2 }, to, &made, &used, all_at_once),
        1);
    assert_int_equal(
        chunk_feed_all((mf_str){ text + 0, n }, to, &made, &used, all_at_once),
        0);
    memcpy(text + n, "A: b\r\n\r\n", 8);
    assert_int_equal(
        chunk_feed_all((mf_str){ text, n + 8 }, to, &made, &used, all_at_once),
        -1);
    memset(text, 'A', sizeof text);
    memcpy(text, "0\r\n", 3);
    assert_int_equal(chunk_feed_all((mf_str){ text, sizeof text }, to, &made,
                                    &used, random_piece),
                     -1);
    assert_int_equal(used, 3 + HTTP_TRAILER_MAX + 1);
}

static void chunks_can_be_thrown_away(void **state)
{
    const mf_str text = MF_STR("5\r\nhello\r\n0\r\n\r\nrest");
    struct http_chunks c;
    size_t made, used;

    (void)state;
    http_chunks_init(&c);
    assert_int_equal(
        http_chunks_feed(&c, NULL, &made, text.ptr, text.len, &used), 1);
    assert_int_equal(made, 5);
    assert_int_equal(used, text.len - 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_requests),
        cmocka_unit_test(bad_requests),
        cmocka_unit_test(prefixes_are_not_requests),
        cmocka_unit_test(headers_are_found),
        cmocka_unit_test(limits_hold),
        cmocka_unit_test(another_protocol_is_told_by_its_first_byte),
        cmocka_unit_test(lists),
        cmocka_unit_test(chunked_bodies),
        cmocka_unit_test(chunk_limits_hold),
        cmocka_unit_test(chunks_can_be_thrown_away),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
