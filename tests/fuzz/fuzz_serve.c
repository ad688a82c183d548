/* SPDX-License-Identifier: Apache-2.0
 *
 * fuzz_serve.c - what a client sends, through the server itself: heads,
 * bodies of every framing, gzip, requests behind one another.
 *
 * The input is sent twice over a socket, at once and cut at places that its
 * first byte seeds. Answers must not depend on the cuts, and when the client
 * is gone nothing of it may be left: no connection, no memory of bodies. The
 * handler gives the body back, at once or, below /l, a turn later. */
#include "base/buf.h"
#include "base/mem.h"
#include "base/text.h"
#include "http/server.h"

#include <errno.h>
#include <event2/event.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define ANSWERS_MAX (8u << 20)
#define TURNS_MAX   100000 /* of the loop, for one input */
#define LATE_MAX    4
#define DATE_LINE   37 /* "\r\nDate: Mon, 12 Jan 2026 10:00:00 GMT" */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct event_base *base;
static struct http_server *server;
static struct sockaddr_un address = { .sun_family = AF_UNIX };
static socklen_t address_len;
static struct http_request *late[LATE_MAX];
static unsigned late_count;

/* ---- the server ---- */

static void answer(struct http_request *r)
{
    if (r->fault)
        http_reply(r, 400, "text/plain", MF_STR(""),
                   mf_cstr(http_fault_code(r->fault)));
    else
        http_reply(r, 200, "text/plain", MF_STR(""), r->body);
}

static void handle(struct http_request *r, void *arg)
{
    (void)arg;
    ASSERT(r->method.len > 0 && r->path.len > 0);
    ASSERT(r->fault == HTTP_NO_FAULT || r->fault >= HTTP_TOO_LARGE);
    ASSERT(r->fault == HTTP_NO_FAULT || r->body.len == 0);
    for (size_t i = 0; i < r->body.len; i += 64)
        ASSERT(*(const volatile char *)(r->body.ptr + i) || true);
    if (str_starts(r->path, MF_STR("/l")) && late_count < LATE_MAX)
        late[late_count++] = r;
    else
        answer(r);
}

static void begin(void)
{
    struct http_limits l = http_limits_default;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int n;

    l.header_bytes = 1024;
    l.header_count = 16;
    l.body_bytes = 8192;
    l.decoded_bytes = 32768;
    base = event_base_new();
    server = http_server_new(base, &l, handle, NULL);
    /* A name in no directory: its first byte is 0. */
    n = snprintf(address.sun_path + 1, sizeof address.sun_path - 1,
                 "manifold-fuzz-%d", (int)getpid());
    address_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 +
                              (size_t)n);
    ASSERT(fd >= 0 && bind(fd, (void *)&address, address_len) == 0);
    ASSERT(listen(fd, 16) == 0 && http_server_listen(server, fd) == 0);
}

/* ---- a client ---- */

static void turn(void)
{
    struct http_request *now[LATE_MAX];
    unsigned n = late_count;

    memcpy(now, late, sizeof now);
    late_count = 0;
    event_base_loop(base, EVLOOP_NONBLOCK);
    for (unsigned i = 0; i < n; i++)
        answer(now[i]);
}

/* Whatever is there. False at the end of the connection. */
static bool take(int fd, struct buf *to)
{
    char text[16384];
    ssize_t n;

    while ((n = recv(fd, text, sizeof text, MSG_DONTWAIT)) > 0)
        buf_add(to, text, (size_t)n);
    return n < 0 && errno == EAGAIN;
}

/* Turns the loop until the server has nothing more to do or to say. */
static bool settle(int fd, struct buf *to)
{
    const struct http_counters *c = http_server_counters(server);
    uint64_t before;
    size_t len;

    do {
        before = c->bytes_in + c->bytes_out + c->replies + c->accepted;
        len = to->len;
        turn();
        if (!take(fd, to))
            return false;
        c = http_server_counters(server);
    } while (late_count || to->len > len ||
             before != c->bytes_in + c->bytes_out + c->replies + c->accepted);
    return true;
}

static size_t piece(uint32_t *seed)
{
    *seed = *seed * 1664525u + 1013904223u;
    return 1 + (*seed >> 24) % ((*seed >> 20) % 2 ? 3 : 200);
}

/* seed 0: all at once. */
static void play(mf_str in, uint32_t seed, struct buf *to)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const struct http_counters *c;
    bool open = true;
    size_t at = 0;

    ASSERT(fd >= 0 && connect(fd, (void *)&address, address_len) == 0);
    while (open && at < in.len) {
        size_t n = seed ? piece(&seed) : in.len;
        ssize_t sent;

        n = n < in.len - at ? n : in.len - at;
        sent = send(fd, in.ptr + at, n, MSG_NOSIGNAL | MSG_DONTWAIT);
        open = settle(fd, to) && (sent > 0 || errno == EAGAIN);
        at += sent > 0 ? (size_t)sent : 0;
    }
    shutdown(fd, SHUT_WR);
    for (unsigned i = 0; open && i < TURNS_MAX; i++) {
        turn();
        open = take(fd, to);
    }
    ASSERT(!open); /* the last byte was answered, and then it ends */
    close(fd);
    c = http_server_counters(server);
    for (unsigned i = 0; (c->open || late_count) && i < TURNS_MAX; i++) {
        turn();
        c = http_server_counters(server);
    }
    ASSERT(c->open == 0 && c->body_buffer_bytes == 0);
}

/* ---- comparing ---- */

/* The clock may move on between the two. */
static void without_dates(struct buf *b)
{
    static const char name[] = "\r\nDate: ";
    size_t from = 0, to = 0;

    while (from < b->len) {
        if (b->len - from >= DATE_LINE &&
            memcmp(b->data + from, name, sizeof name - 1) == 0)
            from += DATE_LINE;
        else
            b->data[to++] = b->data[from++];
    }
    b->len = to;
}

/* Who asks before he sends a body is answered by what has come so far. */
static bool asks_first(mf_str in)
{
    for (size_t i = 0; i + 6 <= in.len; i++)
        if (strncasecmp(in.ptr + i, "expect", 6) == 0)
            return true;
    return false;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf whole, pieces;
    mf_str in;

    if (size < 2)
        return 0;
    if (!base)
        begin();
    in = (mf_str){ (const char *)data + 1, size - 1 };
    buf_init(&whole, ANSWERS_MAX);
    buf_init(&pieces, ANSWERS_MAX);
    play(in, 0, &whole);
    play(in, data[0] + 1u, &pieces);
    without_dates(&whole);
    without_dates(&pieces);
    if (!whole.full && !asks_first(in))
        ASSERT(mf_eq(buf_view(&whole), buf_view(&pieces)));
    buf_deinit(&whole);
    buf_deinit(&pieces);
    return 0;
}
