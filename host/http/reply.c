/* SPDX-License-Identifier: Apache-2.0
 *
 * reply.c - answers on their way out; see server.h.
 *
 * A small answer is put together in the server's scratch buffer and leaves in
 * one send(2). What the socket does not take is copied to the connection and
 * follows when it is writable. */
#include "http/conn.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/text.h"

#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/uio.h>

#define OUT_MAX     (64u << 20) /* of one connection's unsent answers */
#define SCRATCH_MAX (64u << 20)
#define JOIN_MAX    16384 /* bodies up to this are copied behind their head */
#define FAULT_BODY  512

static const struct {
    int status;
    const char *text;
} reasons[] = {
    { 200, "OK" },
    { 201, "Created" },
    { 202, "Accepted" },
    { 204, "No Content" },
    { 304, "Not Modified" },
    { 400, "Bad Request" },
    { 401, "Unauthorized" },
    { 403, "Forbidden" },
    { 404, "Not Found" },
    { 405, "Method Not Allowed" },
    { 408, "Request Timeout" },
    { 409, "Conflict" },
    { 413, "Content Too Large" },
    { 415, "Unsupported Media Type" },
    { 422, "Unprocessable Content" },
    { 429, "Too Many Requests" },
    { 500, "Internal Server Error" },
    { 501, "Not Implemented" },
    { 502, "Bad Gateway" },
    { 503, "Service Unavailable" },
    { 504, "Gateway Timeout" },
};

static const char *reason(int status)
{
    for (size_t i = 0; i < COUNT_OF(reasons); i++)
        if (reasons[i].status == status)
            return reasons[i].text;
    return "Status";
}

static mf_str date_now(struct http_server *s)
{
    static const char days[] = "ThuFriSatSunMonTueWed";
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    int64_t second = clock_ms() / 1000, day = second / 86400;
    unsigned rest = (unsigned)(second % 86400);
    int y, m, d;

    if (second != s->date_second) {
        s->date_second = second;
        civil_from_days(day, &y, &m, &d);
        snprintf(s->date, sizeof s->date,
                 "%.3s, %02u %.3s %04u %02u:%02u:%02u GMT", days + day % 7 * 3,
                 (unsigned)d % 100, months + (m - 1) * 3, (unsigned)y % 10000,
                 rest / 3600 % 24, rest / 60 % 60, rest % 60);
    }
    return (mf_str){ s->date, DATE_TEXT - 1 };
}

static void put_number(struct buf *b, size_t n)
{
    char text[24], *p = text + sizeof text;

    do
        *--p = (char)('0' + n % 10);
    while (n /= 10);
    buf_add(b, p, (size_t)(text + sizeof text - p));
}

/* 1xx, 204 and 304 have no body and no length. */
static bool bodiless(int status)
{
    return status < 200 || status == 204 || status == 304;
}

static void put_status(struct http_server *s, struct buf *b, int status)
{
    buf_str(b, MF_STR("HTTP/1.1 "));
    if (status == 200) {
        buf_str(b, MF_STR("200 OK\r\nDate: "));
    } else {
        put_number(b, (size_t)status);
        buf_char(b, ' ');
        buf_puts(b, reason(status));
        buf_str(b, MF_STR("\r\nDate: "));
    }
    buf_str(b, date_now(s));
    buf_str(b, MF_STR("\r\n"));
}

static void put_fields(struct conn *c, struct buf *b, const char *type,
                       mf_str extra)
{
    if (type) {
        buf_str(b, MF_STR("Content-Type: "));
        buf_puts(b, type);
        buf_str(b, MF_STR("\r\n"));
    }
    buf_str(b, extra);
    if (c->close_after)
        buf_str(b, MF_STR("Connection: close\r\n"));
    else if (c->in && c->in->head.minor == 0)
        buf_str(b, MF_STR("Connection: keep-alive\r\n"));
}

static ssize_t send_two(int fd, mf_str a, mf_str b)
{
    struct iovec v[2] = { { (void *)a.ptr, a.len }, { (void *)b.ptr, b.len } };
    struct msghdr m = { .msg_iov = v, .msg_iovlen = 2 };

    if (b.len == 0)
        return send(fd, a.ptr, a.len, MSG_NOSIGNAL);
    return sendmsg(fd, &m, MSG_NOSIGNAL);
}

static bool would_block(void)
{
    return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR;
}

/* What was sent is dropped once it is the greater part, so a stream that is
 * always a little behind does not grow. */
static void keep(struct conn *c, mf_str s, size_t from)
{
    if (c->sent > JOIN_MAX && c->sent > c->out.len / 2) {
        buf_drop(&c->out, c->sent);
        c->sent = 0;
    }
    if (from < s.len)
        buf_add(&c->out, s.ptr + from, s.len - from);
    if (c->out.full)
        c->broken = true;
}

/* The write event is added while something waits for the socket. */
static void want_write(struct conn *c, bool on)
{
    struct http_server *s = c->server;

    if (on && !c->writing) {
        event_add(&c->wr, NULL);
        http_wheel_set(&s->wheel, c, clock_mono_ms() + s->limits.write_ms);
    } else if (!on && c->writing) {
        event_del(&c->wr);
    }
    c->writing = on;
}

/* After the last byte of a client, what it sent before is still answered. */
static bool going_to_close(const struct conn *c)
{
    return c->close_after || (c->eof && c->len <= c->end) ||
           c->server->draining || !c->in->head.keep_alive;
}

static struct buf *scratch(struct http_server *s)
{
    buf_clear(&s->scratch);
    s->scratch.max = SCRATCH_MAX;
    return &s->scratch;
}

/* Chunk framing around bytes of a stream. */
static void put_chunk(struct conn *c, mf_str bytes)
{
    struct buf *b = scratch(c->server);

    if (!c->chunked_out) {
        http_out_put(c, bytes, MF_STR(""), false);
        return;
    }
    buf_printf(b, "%zx\r\n", bytes.len);
    buf_str(b, bytes);
    buf_str(b, MF_STR("\r\n"));
    http_out_put(c, buf_view(b), MF_STR(""), false);
}

void http_out_raw(struct conn *c, mf_str a, mf_str b, bool cork)
{
    size_t took = 0;

    c->out.max = OUT_MAX;
    if (c->broken)
        return;
    if (!cork && c->sent == c->out.len) {
        ssize_t n = send_two(c->fd, a, b);

        if (n < 0 && !would_block()) {
            c->broken = true;
            return;
        }
        took = n > 0 ? (size_t)n : 0;
        c->server->counters.bytes_out += took;
        if (took == a.len + b.len)
            return;
    }
    keep(c, a, took);
    keep(c, b, took > a.len ? took - a.len : 0);
    if (!cork)
        want_write(c, true);
}

void http_out_put(struct conn *c, mf_str a, mf_str b, bool cork)
{
    if (c->tls)
        http_tls_put(c, a, b, cork);
    else
        http_out_raw(c, a, b, cork);
}

bool http_out_flush(struct conn *c)
{
    while (c->sent < c->out.len && !c->broken) {
        ssize_t n = send(c->fd, c->out.data + c->sent, c->out.len - c->sent,
                         MSG_NOSIGNAL);

        if (n < 0 && would_block()) {
            want_write(c, true);
            return false;
        }
        if (n <= 0) {
            c->broken = true;
            break;
        }
        c->sent += (size_t)n;
        c->server->counters.bytes_out += (uint64_t)n;
    }
    want_write(c, false);
    c->sent = 0;
    buf_deinit(&c->out);
    return true;
}

void http_out_fault(struct conn *c, enum http_fault f)
{
    bool slow = f == HTTP_SLOW_HEAD || f == HTTP_SLOW_BODY;
    int status = slow ? 408 : 400;
    char body[FAULT_BODY];
    struct buf *b = scratch(c->server);
    int n;

    c->server->counters.faults[f]++;
    c->close_after = c->linger = true;
    n = snprintf(body, sizeof body,
                 "{\"success\":false,\"code\":\"%s\",\"message\":\"%s\","
                 "\"error\":\"%s\"}",
                 http_fault_code(f), http_fault_text(f), http_fault_text(f));
    put_status(c->server, b, status);
    put_fields(c, b, "application/json", MF_STR(""));
    buf_printf(b, "Content-Length: %d\r\n\r\n%s", n, body);
    http_out_put(c, buf_view(b), MF_STR(""), false);
}

void http_reply(struct http_request *r, int status, const char *content_type,
                mf_str extra_headers, mf_str body)
{
    struct conn *c = (struct conn *)r;
    struct http_server *s = c->server;
    struct buf *b;
    bool cork;

    if (c->fd < 0) {
        if (s)
            s->counters.replies_lost++;
        http_conn_free(c);
        return;
    }
    ASSERT(c->state == CONN_FLIGHT && !c->answered);
    c->close_after = going_to_close(c);
    cork = c->in_handler && c->len > c->end;
    b = scratch(s);
    put_status(s, b, status);
    put_fields(c, b, content_type, extra_headers);
    if (!bodiless(status)) {
        buf_str(b, MF_STR("Content-Length: "));
        put_number(b, body.len);
        buf_str(b, MF_STR("\r\n"));
    }
    buf_str(b, MF_STR("\r\n"));
    if (bodiless(status) || mf_eq(r->method, MF_STR("HEAD")))
        body.len = 0;
    if (body.len <= JOIN_MAX) {
        buf_str(b, body);
        body.len = 0;
    }
    s->counters.replies++;
    c->broken = c->broken || b->full;
    http_out_put(c, buf_view(b), body, cork);
    http_conn_answered(c);
}

void http_close_after(struct http_request *r)
{
    ((struct conn *)r)->close_after = true;
}

void http_stream_begin(struct http_request *r, int status,
                       const char *content_type, mf_str extra_headers,
                       http_closed closed, void *arg)
{
    struct conn *c = (struct conn *)r;
    struct http_server *s = c->server;
    struct buf *b;

    ASSERT(!c->closed && closed);
    c->closed = closed;
    c->closed_arg = arg;
    if (c->fd < 0) {
        c->state = CONN_STREAM;
        if (s)
            http_server_queue(s, c);
        return;
    }
    ASSERT(c->state == CONN_FLIGHT && !c->answered);
    c->state = CONN_STREAM;
    c->no_body = mf_eq(r->method, MF_STR("HEAD")) || bodiless(status);
    c->chunked_out = c->in->head.minor == 1 && !bodiless(status);
    c->close_after = going_to_close(c) || c->in->head.minor == 0;
    b = scratch(s);
    put_status(s, b, status);
    put_fields(c, b, content_type, extra_headers);
    if (c->chunked_out)
        buf_str(b, MF_STR("Transfer-Encoding: chunked\r\n"));
    buf_str(b, MF_STR("\r\n"));
    c->broken = c->broken || b->full;
    http_out_put(c, buf_view(b), MF_STR(""), false);
    if (c->broken || s->draining)
        http_server_queue(s, c);
}

int http_stream_send(struct http_request *r, mf_str bytes)
{
    struct conn *c = (struct conn *)r;

    ASSERT(c->state == CONN_STREAM);
    if (c->fd < 0 || c->broken)
        return -1;
    if (bytes.len == 0 || c->no_body)
        return 0;
    put_chunk(c, bytes);
    if (c->out.len - c->sent > c->server->limits.stream_backlog) {
        c->server->counters.write_stalled++;
        c->broken = true;
    }
    if (!c->broken)
        return 0;
    http_server_queue(c->server, c);
    return -1;
}

void http_stream_end(struct http_request *r)
{
    struct conn *c = (struct conn *)r;

    ASSERT(c->state == CONN_STREAM);
    if (c->fd < 0) {
        http_conn_free(c);
        return;
    }
    if (c->chunked_out && !c->no_body)
        http_out_put(c, MF_STR("0\r\n\r\n"), MF_STR(""), false);
    c->closed = NULL;
    c->state = CONN_FLIGHT;
    c->server->counters.replies++;
    http_conn_answered(c);
}
