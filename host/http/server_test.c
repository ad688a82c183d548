/* SPDX-License-Identifier: Apache-2.0
 *
 * server_test.c - requests over real sockets: how they may come, what the
 * handler gets and what the client sees. Time, limits and ends are in
 * server_life_test.c. */
#include "http/fixture.h"

#define GET_BIG  "GET /big HTTP/1.1\r\nHost: h\r\n\r\n"
#define GET_ECHO "GET /echo HTTP/1.1\r\nHost: h\r\n\r\n"

static void keep_alive_serves_fifty(void **state)
{
    struct client c;
    char body[32];

    (void)state;
    start(NULL);
    client_open(&c);
    for (int i = 0; i < 50; i++) {
        snprintf(body, sizeof body, "{\"n\":%d}", i);
        client_post(&c, "/echo", mf_cstr(body), "");
        expect(&c, 200, body);
    }
    assert_int_equal(count()->accepted, 1);
    assert_int_equal(count()->requests, 50);
    assert_int_equal(count()->replies, 50);
    assert_string_equal(last_peer, "127.0.0.1");
    client_close(&c);
    run_until(count()->open == 0);
    stop();
}

static void pipelined_requests_keep_their_order(void **state)
{
    struct client c;
    struct buf b;
    char body[16];

    (void)state;
    start(NULL);
    client_open(&c);
    buf_init(&b, 1 << 16);
    for (int i = 0; i < 5; i++)
        buf_printf(&b,
                   "POST /echo HTTP/1.1\r\nHost: h\r\n"
                   "Content-Length: 2\r\n\r\n#%d",
                   i);
    client_send(&c, buf_view(&b));
    for (int i = 0; i < 5; i++) {
        snprintf(body, sizeof body, "#%d", i);
        expect(&c, 200, body);
    }
    buf_deinit(&b);
    client_close(&c);
    stop();
}

/* One at a time is with the handler, whatever waits behind it. */
static void pipelined_requests_wait_for_late_answers(void **state)
{
    struct client c;
    char body[8];

    (void)state;
    start(NULL);
    client_open(&c);
    client_say(&c, "POST /late HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\n"
                   "aPOST /late HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n"
                   "\r\nb");
    run_until(late_count == 1);
    client_say(&c, "POST /late HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\n"
                   "c" GET_ECHO);
    for (unsigned i = 0; i < 3; i++) {
        run_until(late_count == i + 1);
        event_base_loop(base, EVLOOP_NONBLOCK);
        assert_int_equal(late_count, i + 1);
        assert_int_equal(late[i]->body.len, 1);
        assert_int_equal(late[i]->body.ptr[0], 'a' + (int)i);
        snprintf(body, sizeof body, "%u", i);
        http_reply(late[i], 200, NULL, MF_STR(""), mf_cstr(body));
        expect(&c, 200, body);
    }
    expect(&c, 200, "");
    assert_int_equal(handled, 4);
    client_close(&c);
    stop();
}

static void three_byte_writes(void **state)
{
    const mf_str text = MF_STR(
        "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 11\r\n\r\nhello "
        "worldPOST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n"
        "\r\n4;x=y\r\nmore\r\n0\r\nT: t\r\n\r\n");
    struct client c;

    (void)state;
    start(NULL);
    client_open(&c);
    for (size_t i = 0; i < text.len; i += 3) {
        size_t n = text.len - i < 3 ? text.len - i : 3;
        uint64_t in = count()->bytes_in;

        client_send(&c, (mf_str){ text.ptr + i, n });
        run_until(count()->bytes_in == in + n);
    }
    expect(&c, 200, "hello world");
    expect(&c, 200, "more");
    client_close(&c);
    stop();
}

/* Cuts s into chunks of different sizes. */
static void put_chunked(struct buf *b, mf_str s)
{
    size_t at = 0;

    while (at < s.len) {
        size_t n = 1 + (size_t)rand() % (s.len / 3 + 1);

        if (n > s.len - at)
            n = s.len - at;
        buf_printf(b, rand() % 2 ? "%zx\r\n" : "%zX;e\r\n", n);
        buf_add(b, s.ptr + at, n);
        buf_str(b, MF_STR("\r\n"));
        at += n;
    }
    buf_str(b, MF_STR("0\r\n\r\n"));
}

static void gzip_bodies_are_decoded(void **state)
{
    const char *const names[] = { "gzip", "GZIP", "x-gzip", "GzIp" };
    struct client c;
    struct buf packed, b;

    (void)state;
    start(NULL);
    client_open(&c);
    buf_init(&packed, 1 << 16);
    assert_int_equal(gzip(MF_STR("{\"batch\":[]}"), 6, &packed, NULL), 0);
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        char headers[64];

        snprintf(headers, sizeof headers, "Content-Encoding: %s\r\n", names[i]);
        client_post(&c, "/echo", buf_view(&packed), headers);
        expect(&c, 200, "{\"batch\":[]}");
        buf_init(&b, 1 << 16);
        buf_printf(&b,
                   "POST /echo HTTP/1.1\r\nHost: h\r\n%s"
                   "Transfer-Encoding: chunked\r\n\r\n",
                   headers);
        put_chunked(&b, buf_view(&packed));
        client_send(&c, buf_view(&b));
        expect(&c, 200, "{\"batch\":[]}");
        buf_deinit(&b);
    }
    client_post(&c, "/echo", MF_STR("plain"), "Content-Encoding: identity\r\n");
    expect(&c, 200, "plain");
    buf_deinit(&packed);
    client_close(&c);
    stop();
}

/* The handler is told, and the connection goes on. */
static void bad_codings_reach_the_handler(void **state)
{
    struct client c;
    struct buf packed;
    char *zeros = xcalloc(1, 4u << 20);

    (void)state;
    start(NULL);
    client_open(&c);
    client_post(&c, "/echo", MF_STR("{}"), "Content-Encoding: gzip\r\n");
    expect(&c, 400, "invalid_gzip");
    client_post(&c, "/echo", MF_STR("{}"), "Content-Encoding: br\r\n");
    expect(&c, 400, "unsupported_content_encoding");
    client_post(&c, "/echo", MF_STR("{}"), "Content-Encoding: gzip, gzip\r\n");
    expect(&c, 400, "unsupported_content_encoding");
    client_post(&c, "/echo", MF_STR("{}"),
                "Content-Encoding: gzip\r\nContent-Encoding: gzip\r\n");
    expect(&c, 400, "unsupported_content_encoding");
    buf_init(&packed, 8u << 20);
    assert_int_equal(gzip((mf_str){ zeros, 4u << 20 }, 9, &packed, NULL), 0);
    client_post(&c, "/echo", buf_view(&packed), "Content-Encoding: gzip\r\n");
    expect(&c, 400, "payload_too_large");
    packed.len -= 9;
    client_post(&c, "/echo", buf_view(&packed), "Content-Encoding: gzip\r\n");
    expect(&c, 400, "payload_too_large"); /* before the cut is reached */
    client_post(&c, "/echo", MF_STR(""), "Content-Encoding: gzip\r\n");
    expect(&c, 200, "");
    assert_int_equal(count()->faults[HTTP_BAD_ENCODING], 3);
    assert_int_equal(count()->faults[HTTP_BAD_GZIP], 1);
    assert_int_equal(count()->faults[HTTP_TOO_LARGE], 2);
    assert_int_equal(count()->accepted, 1);
    assert_int_equal(count()->body_buffer_bytes, 0);
    buf_deinit(&packed);
    free(zeros);
    client_close(&c);
    stop();
}

static void expect_is_answered_first(void **state)
{
    static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";
    struct client c;

    (void)state;
    start(NULL);
    client_open(&c);
    client_say(&c, "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n"
                   "Expect: 100-continue\r\n\r\n");
    run_until(c.in.len >= sizeof go_on - 1);
    assert_memory_equal(c.in.data, go_on, sizeof go_on - 1);
    buf_drop(&c.in, sizeof go_on - 1);
    client_say(&c, "body");
    expect(&c, 200, "body");
    /* the body is there already: no need to ask */
    client_post(&c, "/echo", MF_STR("body"), "Expect: 100-continue\r\n");
    expect(&c, 200, "body");
    /* too large: refused without asking, and nothing can follow */
    client_say(&c, "POST /echo HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\n"
                   "Content-Length: 9000000\r\n\r\n");
    answer_wait(&c, 400, MF_STR("payload_too_large"));
    assert_true(answer_has(&c, "\r\nConnection: close\r\n"));
    answer_drop(&c);
    expect_end(&c);
    client_close(&c);
    stop();
}

static void http_1_0(void **state)
{
    struct client c;

    (void)state;
    start(NULL);
    client_open(&c);
    client_say(&c, "POST /echo HTTP/1.0\r\nConnection: keep-alive\r\n"
                   "Content-Length: 2\r\n\r\nok");
    answer_wait(&c, 200, MF_STR("ok"));
    assert_true(answer_has(&c, "\r\nConnection: keep-alive\r\n"));
    answer_drop(&c);
    client_say(&c, "POST /echo HTTP/1.0\r\nContent-Length: 2\r\n\r\nok");
    answer_wait(&c, 200, MF_STR("ok"));
    assert_true(answer_has(&c, "\r\nConnection: close\r\n"));
    answer_drop(&c);
    expect_end(&c);
    client_close(&c);
    stop();
}

static void connection_close_is_honoured(void **state)
{
    struct client c;

    (void)state;
    start(NULL);
    client_open(&c);
    client_post(&c, "/echo", MF_STR("x"), "Connection: close\r\n");
    answer_wait(&c, 200, MF_STR("x"));
    assert_true(answer_has(&c, "\r\nConnection: close\r\n"));
    answer_drop(&c);
    expect_end(&c);
    client_close(&c);
    stop();
}

/* What a client sends behind its last request must not cost it the answer. */
static void bytes_after_the_end_do_no_harm(void **state)
{
    static char junk[200000];
    struct client c;
    struct buf b;

    (void)state;
    memset(junk, 'j', sizeof junk);
    start(NULL);
    client_open(&c);
    buf_init(&b, CLIENT_MAX);
    buf_puts(&b, "GET /echo HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    buf_add(&b, junk, sizeof junk);
    client_send(&c, buf_view(&b));
    expect(&c, 200, "");
    expect_end(&c);
    assert_int_equal(handled, 1);
    buf_deinit(&b);
    client_close(&c);
    stop();
}

/* A request that begins in the last bytes of a block and ends elsewhere. */
static void requests_cross_the_end_of_a_block(void **state)
{
    static char body[HTTP_HEAD_MAX + 4096];
    struct client c;

    (void)state;
    memset(body, 'x', sizeof body);
    start(NULL);
    client_open(&c);
    for (size_t tail = 0; tail < 40; tail++) {
        struct buf b;
        size_t first, head;

        buf_init(&b, CLIENT_MAX);
        buf_puts(&b, "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: ");
        head = b.len + 5 + 4;
        first = sizeof body - tail - head;
        buf_printf(&b, "%zu\r\n\r\n", first);
        assert_int_equal(b.len, head);
        buf_add(&b, body, first);
        buf_puts(&b, "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 5"
                     "\r\n\r\nhello");
        client_send(&c, buf_view(&b));
        answer_wait(&c, 200, (mf_str){ body, first });
        answer_drop(&c);
        expect(&c, 200, "hello");
        buf_deinit(&b);
    }
    client_close(&c);
    stop();
}

/* The limit counts for a body that comes in one piece, too. */
static void small_limits_hold(void **state)
{
    struct http_limits l = http_limits_default;
    static char body[3000];
    struct client c;

    (void)state;
    memset(body, 'x', sizeof body);
    l.body_bytes = 1000;
    start(&l);
    client_open(&c);
    for (size_t n = 999; n <= 3000; n += n < 1002 ? 1 : 999) {
        struct buf b;

        buf_init(&b, CLIENT_MAX);
        buf_printf(&b,
                   "POST /echo HTTP/1.1\r\nHost: h\r\n"
                   "Transfer-Encoding: chunked\r\n\r\n%zx\r\n%.*s\r\n"
                   "0\r\n\r\n",
                   n, (int)n, body);
        client_send(&c, buf_view(&b));
        client_post(&c, "/echo", (mf_str){ body, n }, "");
        for (int i = 0; i < 2; i++) {
            if (n <= 1000)
                answer_wait(&c, 200, (mf_str){ body, n });
            else
                answer_wait(&c, 400, MF_STR("payload_too_large"));
            answer_drop(&c);
        }
        buf_deinit(&b);
    }
    client_close(&c);
    stop();
}

static void head_has_no_body(void **state)
{
    struct client c;
    size_t n;

    (void)state;
    start(NULL);
    client_open(&c);
    client_say(&c, "HEAD /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n"
                   "\r\nabc" GET_ECHO);
    run_until(answer_whole(&c, false));
    assert_int_equal(answer_status(&c), 200);
    assert_true(answer_has(&c, "\r\nContent-Length: 3\r\n"));
    n = answer_head(&c);
    buf_drop(&c.in, n);
    expect(&c, 200, "");
    client_close(&c);
    stop();
}

static void answers_without_a_length(void **state)
{
    struct client c;

    (void)state;
    start(NULL);
    client_open(&c);
    client_say(&c, "GET /late HTTP/1.1\r\nHost: h\r\n\r\n" GET_ECHO);
    run_until(late_count == 1);
    http_reply(late[0], 204, NULL, MF_STR("X-A: b\r\n"), MF_STR("ignored"));
    run_until(answer_whole(&c, false));
    assert_int_equal(answer_status(&c), 204);
    assert_false(answer_has(&c, "Content-Length"));
    assert_false(answer_has(&c, "Content-Type"));
    assert_true(answer_has(&c, "\r\nX-A: b\r\n"));
    buf_drop(&c.in, answer_head(&c));
    expect(&c, 200, "");
    client_close(&c);
    stop();
}

/* Read to its end, so that the client sees the answer and no reset. */
static void oversize_bodies_are_read(void **state)
{
    const size_t size = 5u << 20;
    char *body = xmalloc(size);
    struct client c;
    struct buf b;

    (void)state;
    memset(body, 'x', size);
    start(NULL);
    client_open(&c);
    client_post(&c, "/echo", (mf_str){ body, size }, "");
    expect(&c, 400, "payload_too_large");
    assert_true(count()->bytes_in > size);
    client_post(&c, "/echo", MF_STR("next"), "");
    expect(&c, 200, "next");
    buf_init(&b, CLIENT_MAX);
    buf_puts(&b, "POST /echo HTTP/1.1\r\nHost: h\r\n"
                 "Transfer-Encoding: chunked\r\n\r\n");
    put_chunked(&b, (mf_str){ body, size });
    buf_puts(&b, GET_ECHO);
    client_send(&c, buf_view(&b));
    expect(&c, 400, "payload_too_large");
    expect(&c, 200, "");
    /* exactly the limit, and one more */
    client_post(&c, "/echo", (mf_str){ body, 1u << 20 }, "");
    answer_wait(&c, 200, (mf_str){ body, 1u << 20 });
    answer_drop(&c);
    client_post(&c, "/echo", (mf_str){ body, (1u << 20) + 1 }, "");
    expect(&c, 400, "payload_too_large");
    assert_int_equal(count()->accepted, 1);
    assert_int_equal(count()->body_buffer_bytes, 0);
    buf_deinit(&b);
    free(body);
    client_close(&c);
    stop();
}

/* Past what is read for politeness: answered, then closed, without a reset
 * while the client still sends. */
static void endless_bodies_are_cut(void **state)
{
    struct http_limits l = http_limits_default;
    const size_t size = 3u << 20;
    char *body = xmalloc(size);
    struct client c;

    (void)state;
    memset(body, 'x', size);
    l.discard_bytes = 2u << 20;
    start(&l);
    client_open(&c);
    client_post(&c, "/echo", (mf_str){ body, size }, "");
    answer_wait(&c, 400, MF_STR("payload_too_large"));
    assert_true(answer_has(&c, "\r\nConnection: close\r\n"));
    answer_drop(&c);
    expect_end(&c);
    client_close(&c);
    client_open(&c);
    client_say(&c, "POST /echo HTTP/1.1\r\nHost: h\r\n"
                   "Transfer-Encoding: chunked\r\n\r\nfffffff\r\n");
    client_send(&c, (mf_str){ body, size });
    answer_wait(&c, 400, MF_STR("payload_too_large"));
    answer_drop(&c);
    expect_end(&c);
    free(body);
    client_close(&c);
    stop();
}

static void faults_are_answered_in_json(void **state)
{
    const struct {
        const char *text;
        enum http_fault fault;
        const char *code;
    } rows[] = {
        { "HELLO\r\n", HTTP_BAD_LINE, "malformed_request" },
        { "GET / HTTP/1.1\r\n\r\n", HTTP_BAD_HOST, "invalid_host" },
        { "GET / HTTP/1.1\nHost: h\n\n", HTTP_BAD_LINE, "malformed_request" },
        { "GET / HTTP/1.1\r\nHost : h\r\n\r\n", HTTP_BAD_HEADER,
          "malformed_header" },
        { "GET / HTTP/1.1\r\nHost: h\r\nA: b\r\n c\r\n\r\n",
          HTTP_BAD_HEADER, "malformed_header" },
        { "PRI * HTTP/2.0\r\n\r\n", HTTP_BAD_VERSION, "unsupported_version" },
        { "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n"
          "Content-Length: 2\r\n\r\nx",
          HTTP_BAD_LENGTH, "invalid_content_length" },
        { "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n"
          "Transfer-Encoding: chunked\r\n\r\nx",
          HTTP_BAD_TRANSFER, "invalid_transfer_encoding" },
        { "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
          "zz\r\n",
          HTTP_BAD_CHUNK, "malformed_chunk" },
        { "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
          "1000000000000000\r\n",
          HTTP_BAD_CHUNK, "malformed_chunk" },
    };

    (void)state;
    start(NULL);
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        uint64_t before = count()->faults[rows[i].fault];
        struct client c;
        char want[64];

        client_open(&c);
        client_say(&c, GET_ECHO);
        client_say(&c, rows[i].text);
        client_say(&c, GET_ECHO); /* must never be read as a request */
        expect(&c, 200, "");
        run_until(c.eof || answer_whole(&c, true));
        assert_int_equal(answer_status(&c), 400);
        assert_true(answer_has(&c, "Content-Type: application/json\r\n"));
        assert_true(answer_has(&c, "\r\nConnection: close\r\n"));
        snprintf(want, sizeof want, "{\"success\":false,\"code\":\"%s\",",
                 rows[i].code);
        assert_memory_equal(c.in.data + answer_head(&c), want, strlen(want));
        answer_drop(&c);
        expect_end(&c);
        client_close(&c);
        assert_int_equal(handled, i + 1);
        assert_int_equal(count()->faults[rows[i].fault], before + 1);
    }
    stop();
}

static void large_headers_are_refused(void **state)
{
    char text[HTTP_HEAD_MAX + 64];
    struct client c;

    (void)state;
    start(NULL);
    client_open(&c);
    snprintf(text, sizeof text, "GET / HTTP/1.1\r\nHost: h\r\nX: ");
    memset(text + 28, 'x', sizeof text - 28);
    client_send(&c, (mf_str){ text, sizeof text });
    run_until(c.eof || answer_whole(&c, true));
    assert_int_equal(answer_status(&c), 400);
    assert_int_equal(count()->faults[HTTP_HEAD_TOO_LARGE], 1);
    client_close(&c);
    stop();
}

static void late_answers_in_any_order(void **state)
{
    struct client c[8];
    char body[8];

    (void)state;
    start(NULL);
    for (unsigned i = 0; i < COUNT_OF(c); i++) {
        client_open(&c[i]);
        snprintf(body, sizeof body, "b%u", i);
        client_post(&c[i], "/late?q", mf_cstr(body), "X-Own: v\r\n");
    }
    run_until(late_count == COUNT_OF(c));
    for (unsigned i = COUNT_OF(c); i-- > 0;) {
        assert_true(mf_eq(late[i]->query, MF_STR("q")));
        assert_true(
            mf_eq(http_header_named(late[i], MF_STR("x-own")), MF_STR("v")));
        http_reply(late[i], 200, "text/plain", MF_STR(""), late[i]->body);
    }
    for (unsigned i = 0; i < COUNT_OF(c); i++) {
        snprintf(body, sizeof body, "b%u", i);
        expect(&c[i], 200, body);
        client_post(&c[i], "/echo", MF_STR("again"), "");
        expect(&c[i], 200, "again");
        client_close(&c[i]);
    }
    stop();
}

/* A client that has closed its side still gets its answers. */
static void half_closed_clients_are_answered(void **state)
{
    struct client c;

    (void)state;
    start(NULL);
    client_open(&c);
    client_say(&c, "GET /late HTTP/1.1\r\nHost: h\r\n\r\n" GET_ECHO);
    run_until(late_count == 1);
    shutdown(c.fd, SHUT_WR);
    run_until(late_count == 1);
    event_base_loop(base, EVLOOP_NONBLOCK);
    http_reply(late[0], 200, NULL, MF_STR(""), MF_STR("one"));
    answer_wait(&c, 200, MF_STR("one"));
    assert_false(answer_has(&c, "\r\nConnection: close\r\n"));
    answer_drop(&c);
    expect(&c, 200, "");
    expect_end(&c);
    client_close(&c);
    client_open(&c);
    client_say(&c, "GET /late HTTP/1.1\r\nHost: h\r\n\r\n");
    shutdown(c.fd, SHUT_WR);
    run_until(late_count == 2);
    event_base_loop(base, EVLOOP_NONBLOCK);
    http_reply(late[1], 200, NULL, MF_STR(""), MF_STR("two"));
    answer_wait(&c, 200, MF_STR("two"));
    assert_true(answer_has(&c, "\r\nConnection: close\r\n"));
    answer_drop(&c);
    expect_end(&c);
    client_close(&c);
    stop();
}

/* Answers larger than the socket wait for the client to read. */
static void large_answers_arrive_whole(void **state)
{
    struct client c;

    (void)state;
    start(NULL);
    client_open(&c);
    event_del(c.ev);
    client_say(&c, GET_BIG GET_BIG GET_ECHO);
    run_until(handled == 1);
    event_base_loop(base, EVLOOP_NONBLOCK);
    assert_int_equal(handled, 1); /* the next waits for this one to leave */
    event_add(c.ev, NULL);
    expect_big(&c);
    expect_big(&c);
    expect(&c, 200, "");
    client_say(&c, GET_BIG); /* alone, so not gathered with others */
    expect_big(&c);
    client_close(&c);
    stop();
}

/* ---- a random conversation ---- */

#define TALK 120

/* One request with its echo appended to `want`. */
static void put_random(struct buf *b, struct buf *want)
{
    static char text[300000];
    size_t len = (size_t)rand() % (rand() % 8 ? 200 : sizeof text);
    bool gz = rand() % 3 == 0, chunked = rand() % 3 == 0;
    struct buf packed;
    mf_str body = { text, len };

    for (size_t i = 0; i < len; i++)
        text[i] = (char)('a' + rand() % 20);
    buf_add(want, text, len);
    buf_init(&packed, 1 << 20);
    if (gz && len) {
        assert_int_equal(gzip(body, 1, &packed, NULL), 0);
        body = buf_view(&packed);
    }
    buf_printf(b, "POST /%s HTTP/1.1\r\nHost: h\r\n%s",
               rand() % 2 ? "echo" : "late",
               gz && len ? "Content-Encoding: gzip\r\n" : "");
    if (chunked) {
        buf_puts(b, "Transfer-Encoding: chunked\r\n\r\n");
        put_chunked(b, body);
    } else {
        buf_printf(b, "Content-Length: %zu\r\n\r\n", body.len);
        buf_str(b, body);
    }
    buf_deinit(&packed);
}

static void answer_late(void)
{
    if (!late_count)
        return;
    late_count = 0;
    http_reply(late[0], 200, NULL, MF_STR(""), late[0]->body);
}

static void random_talk_is_echoed(void **state)
{
    struct buf b, want, got;
    struct client c;
    size_t at = 0;

    (void)state;
    start(NULL);
    client_open(&c);
    buf_init(&b, CLIENT_MAX);
    buf_init(&want, CLIENT_MAX);
    buf_init(&got, CLIENT_MAX);
    for (int i = 0; i < TALK; i++)
        put_random(&b, &want);
    while (at < b.len) {
        size_t n = 1 + (size_t)rand() % (rand() % 2 ? 300 : 60000);
        ssize_t sent;

        n = n < b.len - at ? n : b.len - at;
        sent = send(c.fd, b.data + at, n, MSG_NOSIGNAL);
        assert_true(sent > 0 || errno == EAGAIN);
        at += sent > 0 ? (size_t)sent : 0;
        event_base_loop(base, EVLOOP_NONBLOCK);
        if (rand() % 3 == 0 || sent < 0)
            answer_late();
    }
    for (int i = 0; i < TALK; i++) {
        while (!answer_whole(&c, true)) {
            run_until(late_count || answer_whole(&c, true));
            answer_late();
        }
        assert_int_equal(answer_status(&c), 200);
        buf_add(&got, c.in.data + answer_head(&c), answer_length(&c));
        answer_drop(&c);
    }
    assert_true(mf_eq(buf_view(&got), buf_view(&want)));
    assert_int_equal(handled, TALK);
    buf_deinit(&b);
    buf_deinit(&want);
    buf_deinit(&got);
    client_close(&c);
    stop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keep_alive_serves_fifty),
        cmocka_unit_test(pipelined_requests_keep_their_order),
        cmocka_unit_test(pipelined_requests_wait_for_late_answers),
        cmocka_unit_test(three_byte_writes),
        cmocka_unit_test(gzip_bodies_are_decoded),
        cmocka_unit_test(bad_codings_reach_the_handler),
        cmocka_unit_test(expect_is_answered_first),
        cmocka_unit_test(http_1_0),
        cmocka_unit_test(connection_close_is_honoured),
        cmocka_unit_test(bytes_after_the_end_do_no_harm),
        cmocka_unit_test(requests_cross_the_end_of_a_block),
        cmocka_unit_test(small_limits_hold),
        cmocka_unit_test(head_has_no_body),
        cmocka_unit_test(answers_without_a_length),
        cmocka_unit_test(oversize_bodies_are_read),
        cmocka_unit_test(endless_bodies_are_cut),
        cmocka_unit_test(faults_are_answered_in_json),
        cmocka_unit_test(large_headers_are_refused),
        cmocka_unit_test(late_answers_in_any_order),
        cmocka_unit_test(half_closed_clients_are_answered),
        cmocka_unit_test(large_answers_arrive_whole),
        cmocka_unit_test(random_talk_is_echoed),
    };

    srand(7);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
