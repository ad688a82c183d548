/* SPDX-License-Identifier: Apache-2.0
 *
 * The server's own loop turns; the client's OpenSSL works in memory, so that a
 * test decides when which bytes go over the socket. */
#include "http/fixture.h"

#include "http/cert_fixture.h"

#include <openssl/err.h>
#include <openssl/ssl.h>

static struct made one, two;
static struct http_tls *tls_one, *tls_two;

struct tclient {
    struct client raw, plain; /* plain: what it was decrypted to */
    SSL_CTX *ctx;
    SSL *ssl;
    BIO *in, *out;
    bool shaken, failed;
    int error; /* reason, when failed */
    SSL_SESSION *session;
};

static struct http_tls *tls_of(const struct made *m)
{
    char *cert = cert_pem(m), *key = key_pem(m, NULL);
    struct err e = { "" };
    struct http_tls *t = http_tls_new(mf_cstr(cert), mf_cstr(key), NULL, NULL,
                                      &e);

    if (!t)
        fail_msg("%s", e.text);
    free(cert);
    free(key);
    return t;
}

static int setup(void **state)
{
    (void)state;
    one = make((struct wish){ "one.test", -DAY_S, DAY_S, NULL, 0 });
    two = make((struct wish){ "two.test", -DAY_S, DAY_S, NULL, 2048 });
    tls_one = tls_of(&one);
    tls_two = tls_of(&two);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    http_tls_free(tls_one);
    http_tls_free(tls_two);
    unmake(&one);
    unmake(&two);
    return 0;
}

static void start_tls(const struct http_limits *limits)
{
    start(limits);
    http_server_unlisten(server, listen_fd);
    http_server_use_tls(server, tls_one);
    assert_int_equal(http_server_listen_tls(server, listen_fd), 0);
}

/* ---- the client ---- */

static int keep_session(SSL *ssl, SSL_SESSION *session)
{
    struct tclient *t = SSL_get_app_data(ssl);

    SSL_SESSION_free(t->session);
    t->session = session;
    return 1;
}

static void topen(struct tclient *t)
{
    memset(t, 0, sizeof *t);
    t->ctx = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_verify(t->ctx, SSL_VERIFY_NONE, NULL);
    SSL_CTX_set_session_cache_mode(t->ctx, SSL_SESS_CACHE_CLIENT |
                                               SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(t->ctx, keep_session);
    client_open(&t->raw);
    buf_init(&t->plain.in, CLIENT_MAX);
}

/* After what the test wants of ctx. */
static void tbegin(struct tclient *t)
{
    t->ssl = SSL_new(t->ctx);
    t->in = BIO_new(BIO_s_mem());
    t->out = BIO_new(BIO_s_mem());
    BIO_set_mem_eof_return(t->in, -1);
    SSL_set_bio(t->ssl, t->in, t->out);
    SSL_set_app_data(t->ssl, t);
    SSL_set_connect_state(t->ssl);
}

/* Sends what OpenSSL has written, in pieces of so many bytes. */
static void tsend_out(struct tclient *t, size_t piece)
{
    char *at;
    size_t n = (size_t)BIO_get_mem_data(t->out, &at);

    for (size_t i = 0; i < n; i += piece) {
        client_send(&t->raw, (mf_str){ at + i, n - i < piece ? n - i : piece });
        if (piece < n)
            event_base_loop(base, EVLOOP_NONBLOCK);
    }
    (void)BIO_reset(t->out);
}

static void tread(struct tclient *t)
{
    for (;;) {
        char *to = buf_room(&t->plain.in, 16384);
        int n;

        assert_non_null(to);
        ERR_clear_error();
        n = SSL_read(t->ssl, to, 16384);
        if (n <= 0)
            break;
        t->plain.in.len += (size_t)n;
    }
    if (SSL_get_shutdown(t->ssl) & SSL_RECEIVED_SHUTDOWN)
        t->plain.eof = true;
}

/* Goes on as far as the bytes that are there allow. True, to stand in a
 * condition. */
static bool pump(struct tclient *t)
{
    if (t->raw.in.len) {
        BIO_write(t->in, t->raw.in.data, (int)t->raw.in.len);
        buf_clear(&t->raw.in);
    }
    if (!t->shaken && !t->failed) {
        int rc;

        ERR_clear_error();
        rc = SSL_do_handshake(t->ssl);
        t->shaken = rc == 1;
        if (rc != 1 && SSL_get_error(t->ssl, rc) == SSL_ERROR_SSL) {
            t->failed = true;
            t->error = ERR_GET_REASON(ERR_peek_error());
        }
    }
    if (t->shaken)
        tread(t);
    tsend_out(t, SIZE_MAX);
    return true;
}

static void tshake(struct tclient *t)
{
    run_until(pump(t) && (t->shaken || t->failed || t->raw.eof));
    if (!t->shaken)
        fail_msg("no handshake: %d", t->error);
}

static void tconnect(struct tclient *t)
{
    topen(t);
    tbegin(t);
    tshake(t);
}

static void tclose(struct tclient *t)
{
    SSL_free(t->ssl);
    SSL_CTX_free(t->ctx);
    SSL_SESSION_free(t->session);
    client_close(&t->raw);
    buf_deinit(&t->plain.in);
}

static void tsay(struct tclient *t, mf_str s)
{
    if (s.len)
        assert_int_equal(SSL_write(t->ssl, s.ptr, (int)s.len), s.len);
    tsend_out(t, SIZE_MAX);
}

static void tpost(struct tclient *t, const char *path, mf_str body)
{
    struct buf b;

    buf_init(&b, CLIENT_MAX);
    buf_printf(&b, "POST %s HTTP/1.1\r\nHost: h\r\nContent-Length: %zu\r\n\r\n",
               path, body.len);
    buf_str(&b, body);
    tsay(t, buf_view(&b));
    buf_deinit(&b);
}

static void texpect(struct tclient *t, int status, const char *body)
{
    run_until(pump(t) && (t->plain.eof || t->raw.eof ||
                          answer_whole(&t->plain, true)));
    if (!answer_whole(&t->plain, true))
        fail_msg("no answer");
    expect(&t->plain, status, body);
}

/* close_notify and then the end. */
static void texpect_end(struct tclient *t)
{
    run_until(pump(t) && t->raw.eof);
    pump(t);
    assert_true(t->plain.eof);
    assert_int_equal(t->plain.in.len, 0);
}

static const char *shown_name(struct tclient *t)
{
    static char name[64];
    X509 *x = SSL_get1_peer_certificate(t->ssl);

    assert_non_null(x);
    X509_NAME_get_text_by_NID(X509_get_subject_name(x), NID_commonName, name,
                              sizeof name);
    X509_free(x);
    return name;
}

/* ---- the good ways ---- */

static void talk_with(int version, const char *expected)
{
    struct tclient t;

    topen(&t);
    SSL_CTX_set_max_proto_version(t.ctx, version);
    SSL_CTX_set_alpn_protos(t.ctx, (const unsigned char *)"\2h2\10http/1.1",
                            12);
    tbegin(&t);
    tshake(&t);
    assert_string_equal(SSL_get_version(t.ssl), expected);
    {
        const unsigned char *chosen;
        unsigned n;

        SSL_get0_alpn_selected(t.ssl, &chosen, &n);
        assert_true(n == 8 && memcmp(chosen, "http/1.1", 8) == 0);
    }
    for (int i = 0; i < 3; i++) {
        tpost(&t, "/echo", MF_STR("hello"));
        texpect(&t, 200, "hello");
    }
    tclose(&t);
}

static void test_requests_are_answered(void **state)
{
    (void)state;
    start_tls(NULL);
    talk_with(TLS1_3_VERSION, "TLSv1.3");
    talk_with(TLS1_2_VERSION, "TLSv1.2");
    assert_int_equal(count()->handshakes, 2);
    assert_int_equal(count()->requests, 6);
    assert_int_equal(count()->opening, 0);
    run_until(count()->open == 0);
    stop();
}

static void test_late_answers_and_pipelining(void **state)
{
    struct tclient t;

    (void)state;
    start_tls(NULL);
    tconnect(&t);
    tpost(&t, "/late", MF_STR("x"));
    run_until(pump(&t) && late_count == 1);
    tpost(&t, "/echo", MF_STR("second"));
    tpost(&t, "/echo", MF_STR("third"));
    http_reply(late[0], 200, NULL, MF_STR(""), MF_STR("first"));
    texpect(&t, 200, "first");
    texpect(&t, 200, "second");
    texpect(&t, 200, "third");
    tclose(&t);
    stop();
}

/* A big body and what follows it in the same records: bytes stay inside
 * OpenSSL when the buffer is full, and no descriptor tells of them. */
static void test_nothing_is_left_inside(void **state)
{
    static char body[300000];
    struct tclient t;
    struct buf b;

    (void)state;
    memset(body, 'b', sizeof body - 1);
    start_tls(NULL);
    tconnect(&t);
    buf_init(&b, CLIENT_MAX);
    for (int i = 0; i < 3; i++) {
        buf_printf(&b,
                   "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: %zu\r\n"
                   "\r\n%s", sizeof body - 1, body);
        for (int k = 0; k < 200; k++)
            buf_puts(&b, "POST /echo HTTP/1.1\r\nHost: h\r\n"
                         "Content-Length: 3\r\n\r\nabc");
    }
    tsay(&t, buf_view(&b));
    for (int i = 0; i < 3; i++) {
        texpect(&t, 200, body);
        for (int k = 0; k < 200; k++)
            texpect(&t, 200, "abc");
    }
    buf_deinit(&b);
    tclose(&t);
    stop();
}

/* Requests that wait behind one that is with the handler. */
static void test_what_waits_inside_is_found_again(void **state)
{
    struct tclient t;
    struct buf b;
    uint64_t before;
    int n = 0;

    (void)state;
    start_tls(NULL);
    tconnect(&t);
    tpost(&t, "/late", MF_STR("x"));
    run_until(pump(&t) && late_count == 1);
    buf_init(&b, CLIENT_MAX);
    /* Two records: more than a block, and the socket is empty after them. */
    for (; b.len < 30000; n++)
        buf_puts(&b, "POST /echo HTTP/1.1\r\nHost: h\r\n"
                     "Content-Length: 3\r\n\r\nabc");
    before = count()->bytes_in;
    tsay(&t, buf_view(&b));
    run_until(count()->bytes_in > before); /* as much as there is room for */
    event_base_loop(base, EVLOOP_ONCE); /* and nobody looks for more now */
    event_base_loop(base, EVLOOP_ONCE);
    assert_int_equal(handled, 1);
    http_reply(late[0], 200, NULL, MF_STR(""), MF_STR("ok"));
    texpect(&t, 200, "ok");
    for (; n > 0; n--)
        texpect(&t, 200, "abc");
    buf_deinit(&b);
    tclose(&t);
    stop();
}

static void test_records_in_pieces(void **state)
{
    struct tclient t;

    (void)state;
    start_tls(NULL);
    topen(&t);
    tbegin(&t);
    SSL_do_handshake(t.ssl);
    tsend_out(&t, 1);
    tshake(&t);
    SSL_write(t.ssl, "POST /echo HTTP/1.1\r\nHost: h\r\n", 30);
    SSL_write(t.ssl, "Content-Length: 4\r\n\r\nab", 23);
    SSL_write(t.ssl, "cd", 2);
    tsend_out(&t, 1);
    texpect(&t, 200, "abcd");
    tclose(&t);
    stop();
}

/* The header, and the hello behind it, in pieces of so many bytes. */
static void talk_by_proxy(const char *header, size_t piece, const char *peer)
{
    struct tclient t;
    struct buf b;
    char *at;
    size_t n;

    topen(&t);
    tbegin(&t);
    SSL_do_handshake(t.ssl);
    n = (size_t)BIO_get_mem_data(t.out, &at);
    buf_init(&b, CLIENT_MAX);
    buf_puts(&b, header);
    buf_add(&b, at, n);
    (void)BIO_reset(t.out);
    for (size_t i = 0; i < b.len; i += n) {
        n = b.len - i < piece ? b.len - i : piece;
        client_send(&t.raw, (mf_str){ b.data + i, n });
        event_base_loop(base, EVLOOP_NONBLOCK);
    }
    buf_deinit(&b);
    tshake(&t);
    tpost(&t, "/echo", MF_STR("hello"));
    texpect(&t, 200, "hello");
    assert_string_equal(last_peer, peer);
    tclose(&t);
}

static void test_a_proxys_header_comes_before_tls(void **state)
{
    struct netblock loopback;
    struct tclient t;

    (void)state;
    start_tls(NULL);
    assert_true(netblock_parse(MF_STR("127.0.0.0/8"), &loopback));
    http_server_trust(server, &loopback, 1, true);
    talk_by_proxy("PROXY TCP4 192.0.2.7 198.51.100.1 1 443\r\n", SIZE_MAX,
                  "192.0.2.7");
    talk_by_proxy("PROXY TCP6 2001:db8::7 ::1 1 443\r\n", 1, "2001:db8::7");
    talk_by_proxy("PROXY UNKNOWN\r\n", 20, "127.0.0.1");
    assert_int_equal(count()->proxied, 3);
    topen(&t);
    tbegin(&t);
    run_until(pump(&t) && t.raw.eof);
    assert_int_equal(count()->openings[HTTP_OPEN_PROXY], 1);
    tclose(&t);
    run_until(count()->open == 0);
    stop();
}

/* The socket is full for a while; then all of it comes, in order. */
static void test_a_slow_reader_gets_all(void **state)
{
    struct tclient t;

    (void)state;
    start_tls(NULL);
    tconnect(&t);
    event_del(t.raw.ev);
    tpost(&t, "/big", MF_STR("x"));
    run_until(handled == 1);
    tpost(&t, "/echo", MF_STR("after"));
    for (int i = 0; i < 50; i++)
        event_base_loop(base, EVLOOP_NONBLOCK);
    assert_int_equal(handled, 1);
    event_add(t.raw.ev, NULL);
    run_until(pump(&t) && answer_whole(&t.plain, true));
    expect_big(&t.plain);
    texpect(&t, 200, "after");
    tclose(&t);
    stop();
}

static void test_sessions_are_resumed(void **state)
{
    struct tclient t, u;

    (void)state;
    start_tls(NULL);
    tconnect(&t);
    tpost(&t, "/echo", MF_STR("a"));
    texpect(&t, 200, "a");
    assert_non_null(t.session);
    topen(&u);
    SSL_CTX_free(u.ctx);
    u.ctx = t.ctx;
    SSL_CTX_up_ref(t.ctx);
    tbegin(&u);
    SSL_set_session(u.ssl, t.session);
    tshake(&u);
    assert_true(SSL_session_reused(u.ssl));
    tpost(&u, "/echo", MF_STR("b"));
    texpect(&u, 200, "b");
    assert_int_equal(count()->handshakes_resumed, 1);
    tclose(&t);
    tclose(&u);
    stop();
}

static void test_another_certificate(void **state)
{
    struct tclient old, new;

    (void)state;
    start_tls(NULL);
    tconnect(&old);
    assert_string_equal(shown_name(&old), "one.test");
    http_server_use_tls(server, tls_two);
    tconnect(&new);
    assert_string_equal(shown_name(&new), "two.test");
    tpost(&old, "/echo", MF_STR("old"));
    texpect(&old, 200, "old");
    tpost(&new, "/echo", MF_STR("new"));
    texpect(&new, 200, "new");
    tclose(&old);
    tclose(&new);
    stop();
}

/* ---- ends ---- */

static void test_every_end_is_said(void **state)
{
    struct tclient t;

    (void)state;
    start_tls(NULL);
    tconnect(&t);
    tsay(&t, MF_STR("POST /echo HTTP/1.1\r\nHost: h\r\nConnection: close\r\n"
                    "Content-Length: 2\r\n\r\nhi"));
    texpect(&t, 200, "hi");
    texpect_end(&t);
    tclose(&t);
    tconnect(&t);
    tpost(&t, "/echo", MF_STR("a"));
    texpect(&t, 200, "a");
    clock_mono_skew_ms += http_limits_default.idle_ms + 1000;
    texpect_end(&t);
    assert_int_equal(count()->idle_closed, 1);
    tclose(&t);
    tconnect(&t);
    tsay(&t, MF_STR("nonsense\r\n\r\n"));
    texpect(&t, 400, "{\"success\":false,\"code\":\"malformed_request\","
                     "\"message\":\"The request line is not that of HTTP/1.x\""
                     ",\"error\":\"The request line is not that of HTTP/1.x\""
                     "}");
    texpect_end(&t);
    tclose(&t);
    stop();
}

/* The client's last byte does not take away its answers. */
static void test_half_closed_clients_are_answered(void **state)
{
    struct tclient t;

    (void)state;
    start_tls(NULL);
    tconnect(&t);
    tpost(&t, "/late", MF_STR("x"));
    SSL_shutdown(t.ssl);
    tsend_out(&t, SIZE_MAX);
    run_until(late_count == 1);
    for (int i = 0; i < 20; i++)
        event_base_loop(base, EVLOOP_NONBLOCK);
    http_reply(late[0], 200, NULL, MF_STR(""), MF_STR("ok"));
    texpect(&t, 200, "ok");
    texpect_end(&t);
    tclose(&t);
    run_until(count()->open == 0);
    stop();
}

static void test_an_idle_client_says_good_bye(void **state)
{
    struct tclient t;

    (void)state;
    start_tls(NULL);
    tconnect(&t);
    SSL_shutdown(t.ssl);
    tsend_out(&t, SIZE_MAX);
    texpect_end(&t);
    assert_int_equal(count()->open, 0);
    assert_int_equal(count()->records_bad, 0);
    tclose(&t);
    stop();
}

static void test_a_lost_client_costs_its_answer_only(void **state)
{
    struct tclient t;

    (void)state;
    start_tls(NULL);
    tconnect(&t);
    tpost(&t, "/late", MF_STR("x"));
    run_until(late_count == 1);
    tpost(&t, "/echo", MF_STR("more")); /* so that closing resets */
    tclose(&t);
    run_until(count()->open == 0 || (event_base_loop(base, EVLOOP_NONBLOCK),
                                     true));
    http_reply(late[0], 200, NULL, MF_STR(""), MF_STR("late"));
    run_until(count()->open == 0);
    stop();
}

/* ---- the bad ways ---- */

static void test_plain_http_is_told(void **state)
{
    struct client c;

    (void)state;
    start_tls(NULL);
    client_open(&c);
    client_post(&c, "/v1/track", MF_STR("{}"), "");
    expect(&c, 400, "{\"success\":false,\"code\":\"https_required\","
                    "\"message\":\"HTTPS is spoken here; send to https:// "
                    "instead of http://\",\"error\":\"HTTPS is spoken here; "
                    "send to https:// instead of http://\"}");
    expect_end(&c);
    client_close(&c);
    client_open(&c);
    client_say(&c, "what is this");
    run_until(c.eof);
    client_close(&c);
    assert_int_equal(count()->openings[HTTP_OPEN_PLAIN], 1);
    assert_int_equal(count()->openings[HTTP_OPEN_MALFORMED], 1);
    assert_int_equal(handled, 0);
    run_until(count()->open == 0);
    stop();
}

static void tfails(struct tclient *t, enum http_opening_fault f)
{
    uint64_t before = count()->openings[f];

    tbegin(t);
    run_until(pump(t) && t->raw.eof);
    if (count()->openings[f] != before + 1)
        fail_msg("not counted as %s", http_opening_code(f));
    assert_int_equal(count()->open, 0);
    tclose(t);
}

static int refuse_all(int ok, X509_STORE_CTX *ctx)
{
    (void)ok;
    (void)ctx;
    return 0;
}

static void test_handshakes_that_fail_are_counted_by_kind(void **state)
{
    struct tclient t;

    (void)state;
    start_tls(NULL);
    topen(&t);
    SSL_CTX_set_security_level(t.ctx, 0);
    SSL_CTX_set_min_proto_version(t.ctx, TLS1_1_VERSION);
    SSL_CTX_set_max_proto_version(t.ctx, TLS1_1_VERSION);
    tfails(&t, HTTP_OPEN_VERSION);
    topen(&t);
    SSL_CTX_set_max_proto_version(t.ctx, TLS1_2_VERSION);
    SSL_CTX_set_cipher_list(t.ctx, "AES128-SHA");
    tfails(&t, HTTP_OPEN_CIPHER);
    topen(&t);
    SSL_CTX_set_alpn_protos(t.ctx, (const unsigned char *)"\2h2", 3);
    tfails(&t, HTTP_OPEN_ALPN);
    topen(&t);
    SSL_CTX_set_verify(t.ctx, SSL_VERIFY_PEER, refuse_all);
    SSL_CTX_set_max_proto_version(t.ctx, TLS1_2_VERSION);
    tfails(&t, HTTP_OPEN_ALERT);
    stop();
}

static void test_clients_that_vanish(void **state)
{
    struct tclient t;
    struct client c;

    (void)state;
    start_tls(NULL);
    client_open(&c);
    run_until(count()->opening == 1);
    client_close(&c);
    run_until(count()->open == 0);
    topen(&t);
    tbegin(&t);
    SSL_do_handshake(t.ssl);
    tsend_out(&t, SIZE_MAX);
    run_until(t.raw.in.len > 0); /* the server's part of it */
    tclose(&t);
    run_until(count()->open == 0);
    assert_int_equal(count()->openings[HTTP_OPEN_GONE], 2);
    stop();
}

/* Bytes now and then do not move the end. */
static void test_slow_handshakes_end(void **state)
{
    struct tclient t;
    struct client c;

    (void)state;
    start_tls(NULL);
    client_open(&c);
    topen(&t);
    tbegin(&t);
    SSL_do_handshake(t.ssl);
    run_until(count()->opening == 2);
    for (int i = 0; i < 9; i++) {
        char *at;

        clock_mono_skew_ms += 1000;
        BIO_get_mem_data(t.out, &at);
        client_send(&t.raw, (mf_str){ at + i, 1 });
        event_base_loop(base, EVLOOP_NONBLOCK);
    }
    assert_int_equal(count()->opening, 2);
    clock_mono_skew_ms += 2000;
    run_until(c.eof && t.raw.eof);
    assert_int_equal(count()->openings[HTTP_OPEN_SLOW], 2);
    assert_int_equal(count()->open, 0);
    client_close(&c);
    tclose(&t);
    stop();
}

static void test_stuck_handshakes_are_bounded(void **state)
{
    struct http_limits l = http_limits_default;
    struct client stuck[40];
    struct tclient t;

    (void)state;
    l.openings = 8;
    start_tls(&l);
    for (int i = 0; i < 40; i++)
        client_open(&stuck[i]);
    run_until(count()->accepted == 40);
    assert_int_equal(count()->opening, 8);
    assert_int_equal(count()->openings[HTTP_OPEN_EVICTED], 32);
    tconnect(&t);
    tpost(&t, "/echo", MF_STR("a"));
    texpect(&t, 200, "a");
    assert_int_equal(count()->openings[HTTP_OPEN_EVICTED], 33);
    assert_int_equal(count()->opening, 7);
    run_until(stuck[0].eof && stuck[32].eof);
    assert_false(stuck[33].eof);
    for (int i = 0; i < 40; i++)
        client_close(&stuck[i]);
    tclose(&t);
    stop();
}

static void test_broken_records_end_a_connection(void **state)
{
    struct tclient t;
    char *at;
    size_t n;

    (void)state;
    start_tls(NULL);
    tconnect(&t);
    tpost(&t, "/echo", MF_STR("a"));
    texpect(&t, 200, "a");
    SSL_write(t.ssl, "POST /echo HTTP/1.1\r\n", 21);
    n = (size_t)BIO_get_mem_data(t.out, &at);
    at[n - 1] ^= 1;
    tsend_out(&t, SIZE_MAX);
    run_until(t.raw.eof);
    assert_int_equal(count()->records_bad, 1);
    assert_int_equal(count()->open, 0);
    tclose(&t);
    stop();
}

static void test_key_updates(void **state)
{
    struct tclient t;

    (void)state;
    start_tls(NULL);
    tconnect(&t);
    for (int i = 0; i < 5; i++) {
        SSL_key_update(t.ssl, SSL_KEY_UPDATE_REQUESTED);
        tpost(&t, "/echo", MF_STR("a"));
        texpect(&t, 200, "a");
    }
    /* OpenSSL takes all of them that it has read at once. */
    for (int i = 0; i < 8000; i++) {
        SSL_key_update(t.ssl, SSL_KEY_UPDATE_NOT_REQUESTED);
        assert_int_equal(SSL_do_handshake(t.ssl), 1);
    }
    tsend_out(&t, SIZE_MAX);
    run_until(t.raw.eof);
    assert_int_equal(count()->records_bad, 1);
    tclose(&t);
    stop();
}

static void test_renegotiation_is_refused(void **state)
{
    struct tclient t;

    (void)state;
    start_tls(NULL);
    topen(&t);
    SSL_CTX_set_max_proto_version(t.ctx, TLS1_2_VERSION);
    tbegin(&t);
    tshake(&t);
    SSL_renegotiate(t.ssl);
    SSL_do_handshake(t.ssl);
    tsend_out(&t, SIZE_MAX);
    run_until(t.raw.in.len > 0);
    BIO_write(t.in, t.raw.in.data, (int)t.raw.in.len);
    ERR_clear_error();
    assert_int_equal(SSL_do_handshake(t.ssl), -1);
    assert_int_equal(ERR_GET_REASON(ERR_peek_error()),
                     SSL_R_NO_RENEGOTIATION);
    tclose(&t);
    run_until(count()->open == 0);
    stop();
}

static bool drained;

static void on_drained(void *arg)
{
    (void)arg;
    drained = true;
}

static void test_a_drain_does_not_wait_for_handshakes(void **state)
{
    struct client stuck;
    struct tclient t;

    (void)state;
    start_tls(NULL);
    client_open(&stuck);
    tconnect(&t);
    tpost(&t, "/late", MF_STR("x"));
    run_until(late_count == 1);
    drained = false;
    http_server_drain(server, 60000, on_drained, NULL);
    run_until(stuck.eof);
    assert_false(drained);
    http_reply(late[0], 200, NULL, MF_STR(""), MF_STR("ok"));
    texpect(&t, 200, "ok");
    texpect_end(&t);
    run_until(drained);
    client_close(&stuck);
    tclose(&t);
    stop();
}

/* Without a certificate nothing is served, least of all in plain. */
static void test_without_a_certificate(void **state)
{
    struct client c;

    (void)state;
    start_tls(NULL);
    http_server_use_tls(server, NULL);
    client_open(&c);
    run_until(c.eof);
    assert_int_equal(count()->accept_errors, 1);
    client_close(&c);
    stop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_requests_are_answered),
        cmocka_unit_test(test_late_answers_and_pipelining),
        cmocka_unit_test(test_nothing_is_left_inside),
        cmocka_unit_test(test_what_waits_inside_is_found_again),
        cmocka_unit_test(test_records_in_pieces),
        cmocka_unit_test(test_a_proxys_header_comes_before_tls),
        cmocka_unit_test(test_a_slow_reader_gets_all),
        cmocka_unit_test(test_sessions_are_resumed),
        cmocka_unit_test(test_another_certificate),
        cmocka_unit_test(test_every_end_is_said),
        cmocka_unit_test(test_half_closed_clients_are_answered),
        cmocka_unit_test(test_an_idle_client_says_good_bye),
        cmocka_unit_test(test_a_lost_client_costs_its_answer_only),
        cmocka_unit_test(test_plain_http_is_told),
        cmocka_unit_test(test_handshakes_that_fail_are_counted_by_kind),
        cmocka_unit_test(test_clients_that_vanish),
        cmocka_unit_test(test_slow_handshakes_end),
        cmocka_unit_test(test_stuck_handshakes_are_bounded),
        cmocka_unit_test(test_broken_records_end_a_connection),
        cmocka_unit_test(test_key_updates),
        cmocka_unit_test(test_renegotiation_is_refused),
        cmocka_unit_test(test_a_drain_does_not_wait_for_handshakes),
        cmocka_unit_test(test_without_a_certificate),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
