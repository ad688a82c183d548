/* SPDX-License-Identifier: Apache-2.0
 *
 * fixture.h - a server and its clients in one process, for the tests.
 *
 * Clients are plain sockets read by the server's own loop. run_until() turns
 * that loop until a condition holds; a watchdog fails the test instead of
 * letting it hang. The handler goes by the path:
 *   /echo  the body back      /late  kept in `late` until answered
 *   /big   BIG_REPLY bytes    /stream  a stream, kept in `streams`
 * A request with a fault is answered 400 with the fault's code. */
#ifndef HTTP_FIXTURE_H
#define HTTP_FIXTURE_H

#include "http/server.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"
#include "http/gzip.h"

#include <arpa/inet.h>
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#define WATCHDOG_S 60
#define BIG_REPLY  (6u << 20)
#define KEPT_MAX   4096
#define CLIENT_MAX (64u << 20)

struct client {
    int fd;
    struct event *ev;
    struct buf in;
    bool eof, reset;
};

static struct event_base *base;
static struct http_server *server;
static struct event *watchdog;
static int listen_fd, listen_port;
static struct http_request *late[KEPT_MAX], *streams[KEPT_MAX];
static unsigned late_count, stream_count, closed_count, handled;
static char last_peer[64];
static mf_str extra;

/* A pattern without a period that a buffer's size could hide. */
static char big_byte(size_t i)
{
    return (char)('a' + i % 25 + (i >> 16 & 1));
}

static void on_closed(struct http_request *r, void *arg)
{
    (void)r;
    ++*(unsigned *)arg;
}

static void handle(struct http_request *r, void *arg)
{
    (void)arg;
    handled++;
    snprintf(last_peer, sizeof last_peer, "%.*s", (int)r->peer.len,
             r->peer.ptr);
    if (r->fault) {
        assert_int_equal(r->body.len, 0);
        assert_non_null(r->fault_text);
        http_reply(r, 400, "text/plain", extra,
                   mf_cstr(http_fault_code(r->fault)));
    } else if (mf_eq(r->path, MF_STR("/late"))) {
        assert_true(late_count < KEPT_MAX);
        late[late_count++] = r;
    } else if (mf_eq(r->path, MF_STR("/stream"))) {
        assert_true(stream_count < KEPT_MAX);
        streams[stream_count++] = r;
        http_stream_begin(r, 200, "text/event-stream", extra, on_closed,
                          &closed_count);
    } else if (mf_eq(r->path, MF_STR("/big"))) {
        char *big = xmalloc(BIG_REPLY);

        for (size_t i = 0; i < BIG_REPLY; i++)
            big[i] = big_byte(i);
        http_reply(r, 200, "text/plain", extra, (mf_str){ big, BIG_REPLY });
        free(big);
    } else {
        http_reply(r, 200, "text/plain", extra, r->body);
    }
}

static void bark(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    (void)arg;
    fprintf(stderr, "watchdog: what the test waits for does not come\n");
    abort();
}

/* Turns the loop until the condition holds. */
#define run_until(condition)                    \
    do {                                        \
        struct timeval tv_ = { WATCHDOG_S, 0 }; \
                                                \
        event_add(watchdog, &tv_);              \
        while (!(condition))                    \
            event_base_loop(base, EVLOOP_ONCE); \
        event_del(watchdog);                    \
    } while (0)

static int listen_on_loopback(int *port)
{
    struct sockaddr_in a = { .sin_family = AF_INET };
    socklen_t n = sizeof a;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(bind(fd, (struct sockaddr *)&a, n), 0);
    assert_int_equal(listen(fd, 4096), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &n), 0);
    *port = ntohs(a.sin_port);
    return fd;
}

/* limits NULL = the defaults; deadlines are looked at every 5 ms. */
static void start(const struct http_limits *limits)
{
    struct http_limits l = limits ? *limits : http_limits_default;

    l.sweep_ms = 5;
    late_count = stream_count = closed_count = handled = 0;
    extra = MF_STR("");
    clock_mono_skew_ms = 0;
    base = event_base_new();
    watchdog = event_new(base, -1, 0, bark, NULL);
    listen_fd = listen_on_loopback(&listen_port);
    server = http_server_new(base, &l, handle, NULL);
    assert_int_equal(http_server_listen(server, listen_fd), 0);
}

static void stop(void)
{
    http_server_free(server);
    server = NULL;
    close(listen_fd);
    event_free(watchdog);
    event_base_free(base);
    clock_mono_skew_ms = 0;
}

static const struct http_counters *count(void)
{
    return http_server_counters(server);
}

/* ---- clients ---- */

static void client_read(evutil_socket_t fd, short what, void *arg)
{
    struct client *c = arg;
    char *to = buf_room(&c->in, 65536);
    ssize_t n;

    (void)what;
    assert_non_null(to);
    n = read(fd, to, 65536);
    if (n > 0) {
        c->in.len += (size_t)n;
    } else if (n == 0 || errno != EAGAIN) {
        c->eof = true;
        c->reset = n < 0;
        event_del(c->ev);
    }
}

static void client_start(struct client *c, int fd)
{
    memset(c, 0, sizeof *c);
    c->fd = fd;
    buf_init(&c->in, CLIENT_MAX);
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    c->ev = event_new(base, fd, EV_READ | EV_PERSIST, client_read, c);
    event_add(c->ev, NULL);
}

static void client_open(struct client *c)
{
    struct sockaddr_in a = { .sin_family = AF_INET };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    a.sin_port = htons((uint16_t)listen_port);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof a), 0);
    client_start(c, fd);
}

static void client_close(struct client *c)
{
    event_free(c->ev);
    close(c->fd);
    buf_deinit(&c->in);
}

/* All of it, turning the loop while the socket is full. A peer that has gone
 * is left to the reader to notice. */
static void client_send(struct client *c, mf_str s)
{
    size_t at = 0;

    while (at < s.len && !c->eof) {
        ssize_t n = send(c->fd, s.ptr + at, s.len - at, MSG_NOSIGNAL);

        if (n > 0)
            at += (size_t)n;
        else if (errno == EAGAIN)
            event_base_loop(base, EVLOOP_NONBLOCK);
        else
            return;
    }
}

static void client_say(struct client *c, const char *text)
{
    client_send(c, mf_cstr(text));
}

/* A whole POST with a length. */
static void client_post(struct client *c, const char *path, mf_str body,
                        const char *headers)
{
    struct buf b;

    buf_init(&b, CLIENT_MAX);
    buf_printf(&b,
               "POST %s HTTP/1.1\r\nHost: h\r\nContent-Length: %zu\r\n"
               "%s\r\n",
               path, body.len, headers);
    buf_str(&b, body);
    client_send(c, buf_view(&b));
    buf_deinit(&b);
}

/* Size of the head of the answer that is first in the buffer, or 0. */
static size_t answer_head(const struct client *c)
{
    const char *end =
        c->in.len ? memmem(c->in.data, c->in.len, "\r\n\r\n", 4) : NULL;

    return end ? (size_t)(end - c->in.data) + 4 : 0;
}

static bool answer_has(const struct client *c, const char *text)
{
    size_t n = answer_head(c);

    return n && memmem(c->in.data, n, text, strlen(text));
}

static size_t answer_length(const struct client *c)
{
    static const char name[] = "\r\nContent-Length: ";
    size_t n = answer_head(c);
    const char *at = memmem(c->in.data, n, name, sizeof name - 1);

    return at ? strtoul(at + sizeof name - 1, NULL, 10) : 0;
}

static bool answer_whole(const struct client *c, bool with_body)
{
    size_t n = answer_head(c);

    return n && (!with_body || c->in.len >= n + answer_length(c));
}

static int answer_status(const struct client *c)
{
    assert_true(c->in.len > 12 && memcmp(c->in.data, "HTTP/1.1 ", 9) == 0);
    return (int)strtol(c->in.data + 9, NULL, 10);
}

/* Waits for one answer and compares it; it stays first in the buffer. */
static void answer_wait(struct client *c, int status, mf_str body)
{
    size_t n;

    run_until(c->eof || answer_whole(c, true));
    if (!answer_whole(c, true))
        fail_msg("no answer but %.*s", (int)c->in.len, c->in.data);
    n = answer_head(c);
    assert_int_equal(answer_status(c), status);
    if (!mf_eq((mf_str){ c->in.data + n, answer_length(c) }, body))
        fail_msg("%.*s is not %.*s", (int)answer_length(c), c->in.data + n,
                 (int)body.len, body.ptr);
    assert_true(answer_has(c, "\r\nDate: "));
}

static void answer_drop(struct client *c)
{
    buf_drop(&c->in, answer_head(c) + answer_length(c));
}

static void expect_big(struct client *c)
{
    const char *p;

    run_until(c->eof || answer_whole(c, true));
    assert_int_equal(answer_length(c), BIG_REPLY);
    assert_true(answer_whole(c, true));
    p = c->in.data + answer_head(c);
    for (size_t i = 0; i < BIG_REPLY; i++)
        if (p[i] != big_byte(i))
            fail_msg("byte %zu is wrong", i);
    answer_drop(c);
}

static void expect(struct client *c, int status, const char *body)
{
    answer_wait(c, status, mf_cstr(body));
    answer_drop(c);
}

#define expect_end(c)                     \
    do {                                  \
        run_until((c)->eof);              \
        assert_false((c)->reset);         \
        assert_int_equal((c)->in.len, 0); \
    } while (0)

#endif
