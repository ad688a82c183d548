/* SPDX-License-Identifier: Apache-2.0
 *
 * conn.c - one connection: bytes in, requests to the handler, the end.
 *
 * A request is read into one block and parsed where it lies. The common case
 * is one read(2) and one send(2); nothing is registered, unregistered or put
 * on a list between two requests. Reading stops only when a client sends on
 * while its request is with the handler. */
#include "http/conn.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/text.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define READS_PER_TURN 8
#define GROW_AT_ONCE   (128u << 10) /* a declared length taken at its word */
#define SWALLOW        16384
#define CORK_MAX       65536 /* answers to pipelined requests, gathered */
#define CONTINUE       "HTTP/1.1 100 Continue\r\n\r\n"

enum step {
    STEP_MORE,  /* the request is not whole yet */
    STEP_WHOLE, /* c->end is its end */
    STEP_FAULT  /* c->in->head.fault */
};

/* ---- memory ---- */

static void forget_decoded(struct conn *c)
{
    if (c->server)
        c->server->pool.big -= c->decoded.cap;
    buf_deinit(&c->decoded);
}

static void release(struct conn *c)
{
    forget_decoded(c);
    if (!c->in)
        return;
    if (c->server)
        http_block_put(&c->server->pool, c->in);
    else
        free(c->in);
    c->in = NULL;
    c->start = c->len = 0;
}

/* To the front of the block; the parser's offsets count from the start. */
static void compact(struct conn *c)
{
    if (c->start == 0)
        return;
    c->len -= c->start;
    memmove(c->in->data, c->in->data + c->start, c->len);
    c->start = 0;
}

/* Room for `want` bytes counted from the request's first, or false. */
static bool grow(struct conn *c, size_t want)
{
    struct block *wider;

    compact(c);
    if (c->in->cap >= want)
        return true;
    wider = http_block_grow(&c->server->pool, c->in, want, c->len);
    if (!wider)
        return false;
    c->in = wider;
    return true;
}

/* ---- reading a request ---- */

static void begin_request(struct conn *c)
{
    const struct http_limits *l = &c->server->limits;

    http_head_init(&c->in->head, l->header_bytes, l->header_count);
    c->state = CONN_IDLE;
    c->discarding = false;
    c->head_len = c->body_len = c->end = 0;
    c->left = c->received = 0;
    c->req.fault = HTTP_NO_FAULT;
}

/* Hands the request over though its body is not read; nothing can follow. */
static enum step give_up(struct conn *c)
{
    c->close_after = c->linger = true;
    c->end = c->len;
    return STEP_WHOLE;
}

static void discard_from(struct conn *c, enum http_fault f, uint64_t left)
{
    c->req.fault = f;
    c->discarding = true;
    c->left = left;
}

static enum step fault(struct conn *c, enum http_fault f)
{
    c->in->head.fault = f;
    return STEP_FAULT;
}

/* A body of known length, in place behind the head. */
static enum step read_length(struct conn *c)
{
    size_t have = c->len - c->start - c->head_len;
    uint64_t length = c->in->head.length;
    size_t want = c->head_len + (size_t)length, cap;

    if (have >= length) {
        c->end = c->start + want;
        return STEP_WHOLE;
    }
    cap = c->in->cap - c->start;
    if (cap >= want)
        return STEP_MORE;
    if (want > GROW_AT_ONCE) {
        if (c->len < c->in->cap)
            return STEP_MORE;
        if (want > 4 * c->in->cap)
            want = 4 * c->in->cap;
    }
    if (!grow(c, want)) {
        discard_from(c, HTTP_OVERLOADED, length - have);
        c->len = c->start + c->head_len;
    }
    return STEP_MORE;
}

/* A chunked body, moved together behind the head. */
static enum step read_chunks(struct conn *c)
{
    size_t at = c->start + c->head_len + c->body_len, made, used;
    char *raw = c->in->data + at;
    int rc =
        http_chunks_feed(&c->in->chunks, raw, &made, raw, c->len - at, &used);

    if (rc < 0)
        return fault(c, HTTP_BAD_CHUNK);
    c->body_len += made;
    if (rc > 0) {
        c->end = at + used;
        if (c->body_len > c->server->limits.body_bytes)
            c->req.fault = HTTP_TOO_LARGE;
        return STEP_WHOLE;
    }
    c->len = at + made;
    if (c->body_len > c->server->limits.body_bytes) {
        discard_from(c, HTTP_TOO_LARGE, 0);
        c->len = c->start + c->head_len;
        return STEP_MORE;
    }
    compact(c);
    if (c->in->cap - c->len < c->in->cap / 4 && !grow(c, 2 * c->in->cap)) {
        discard_from(c, HTTP_OVERLOADED, 0);
        c->len = c->start + c->head_len;
    }
    return STEP_MORE;
}

static enum step drop_length(struct conn *c)
{
    size_t at = c->start + c->head_len, have = c->len - at;

    if (have >= c->left) {
        c->end = at + (size_t)c->left;
        return STEP_WHOLE;
    }
    c->left -= have;
    c->len = at;
    return STEP_MORE;
}

static enum step drop_chunks(struct conn *c)
{
    size_t at = c->start + c->head_len, made, used;
    int rc = http_chunks_feed(&c->in->chunks, NULL, &made, c->in->data + at,
                              c->len - at, &used);

    if (rc < 0)
        return fault(c, HTTP_BAD_CHUNK);
    if (rc > 0) {
        c->end = at + used;
        return STEP_WHOLE;
    }
    c->len = at;
    if (c->received > c->server->limits.discard_bytes)
        return give_up(c);
    return STEP_MORE;
}

static enum step read_body(struct conn *c)
{
    if (c->in->head.chunked)
        return c->discarding ? drop_chunks(c) : read_chunks(c);
    return c->discarding ? drop_length(c) : read_length(c);
}

/* The head is whole: is there a body, may it come? */
static enum step begin_body(struct conn *c)
{
    const struct http_limits *l = &c->server->limits;
    const struct http_head *h = &c->in->head;
    bool waits = h->expects_continue && c->len == c->start + c->head_len;
    enum step st;

    if (!h->chunked && h->length == 0) {
        c->end = c->start + c->head_len;
        return STEP_WHOLE;
    }
    http_chunks_init(&c->in->chunks);
    if (!h->chunked && h->length > l->body_bytes) {
        discard_from(c, HTTP_TOO_LARGE, h->length);
        if (waits || h->length > l->discard_bytes)
            return give_up(c);
    }
    c->state = CONN_BODY;
    c->began = clock_mono_ms();
    c->received = c->len - c->start - c->head_len;
    st = read_body(c);
    if (st == STEP_MORE && waits)
        http_out_put(c, MF_STR(CONTINUE), MF_STR(""), false);
    return st;
}

static enum step read_request(struct conn *c)
{
    int32_t n;

    if (c->state == CONN_BODY)
        return read_body(c);
    n = http_head_feed(&c->in->head, c->in->data + c->start, c->len - c->start);
    if (n < 0)
        return STEP_FAULT;
    if (n == 0)
        return STEP_MORE;
    c->head_len = (size_t)n;
    return begin_body(c);
}

/* ---- handing over ---- */

static void decode_gzip(struct conn *c)
{
    struct http_server *s = c->server;
    struct err e;

    if (s->pool.big > s->pool.big_max) {
        c->req.fault = HTTP_OVERLOADED;
        return;
    }
    if (!s->gunzip)
        s->gunzip = gunzip_new();
    buf_init(&c->decoded, s->limits.decoded_bytes);
    if (gunzip_run(s->gunzip, c->req.body, &c->decoded, &e)) {
        c->req.fault = c->decoded.full ? HTTP_TOO_LARGE : HTTP_BAD_GZIP;
        buf_deinit(&c->decoded);
    }
    s->pool.big += c->decoded.cap;
    c->req.body = buf_view(&c->decoded);
}

static void decode(struct conn *c)
{
    const struct http_head *h = &c->in->head;
    mf_str coding = http_header(&c->req, HTTP_CONTENT_ENCODING);

    if (h->several & 1u << HTTP_CONTENT_ENCODING)
        c->req.fault = HTTP_BAD_ENCODING;
    else if (coding.len == 0 || str_ieq(coding, MF_STR("identity")))
        return;
    else if (str_ieq(coding, MF_STR("gzip")) ||
             str_ieq(coding, MF_STR("x-gzip")))
        decode_gzip(c);
    else
        c->req.fault = HTTP_BAD_ENCODING;
}

static void fill_request(struct conn *c)
{
    struct http_request *r = &c->req;
    const struct http_head *h = &c->in->head;
    const char *base = c->in->data + c->start;

    r->head = h;
    r->base = base;
    r->method = http_span_of(base, h->method);
    r->path = h->path.len ? http_span_of(base, h->path) : MF_STR("/");
    r->query = h->query.at ? http_span_of(base, h->query) : (mf_str){ NULL, 0 };
    r->body = (mf_str){ base + c->head_len,
                        h->chunked ? c->body_len : (size_t)h->length };
    r->user = NULL;
    r->client = r->peer;
    r->secure = c->tls != NULL;
    if (c->server->proxy_count && c->addressed &&
        h->known[HTTP_X_FORWARDED_FOR])
        http_forwarded(c);
    if (r->fault == HTTP_NO_FAULT && r->body.len > 0)
        decode(c);
    if (r->fault != HTTP_NO_FAULT) {
        r->body.len = 0;
        c->server->counters.faults[r->fault]++;
    }
    r->fault_text = r->fault ? http_fault_text(r->fault) : NULL;
}

static void hand_over(struct conn *c)
{
    fill_request(c);
    c->server->counters.requests++;
    c->state = CONN_FLIGHT;
    c->answered = false;
    c->in_handler = true;
    c->server->fn(&c->req, c->server->arg);
    c->in_handler = false;
}

/* ---- going on ---- */

static void pause_reading(struct conn *c)
{
    if (c->reading)
        event_del(&c->rd);
    c->reading = false;
}

static void resume_reading(struct conn *c)
{
    if (!c->reading) {
        event_add(&c->rd, NULL);
        if (c->tls && http_tls_waits(c))
            http_server_kick(c->server, c);
    }
    c->reading = true;
}

static void wait_until(struct conn *c, int64_t deadline)
{
    http_wheel_set(&c->server->wheel, c, deadline);
}

/* The last answer has been put: sends what is left of it, then closes so that
 * a client still sending does not lose it to a reset. */
static void end_connection(struct conn *c)
{
    c->state = CONN_CLOSING;
    if (c->tls)
        http_tls_bye(c);
    if (!http_out_flush(c)) {
        pause_reading(c);
        return;
    }
    if (c->broken || !c->linger || c->eof || shutdown(c->fd, SHUT_WR) != 0) {
        http_conn_close(c);
        return;
    }
    release(c);
    c->state = CONN_LINGER;
    wait_until(c, clock_mono_ms() + c->server->limits.linger_ms);
    resume_reading(c);
}

/* After an answer. False when the connection is over. */
static bool settle(struct conn *c)
{
    bool more = c->len > c->end;

    if (c->broken) {
        http_conn_close(c);
        return false;
    }
    if (c->close_after) {
        c->linger = c->linger || more;
        end_connection(c);
        return false;
    }
    forget_decoded(c);
    if (more) {
        c->start = c->end;
        begin_request(c);
    } else {
        release(c);
        c->state = CONN_IDLE;
    }
    return true;
}

static void set_deadline(struct conn *c)
{
    const struct http_limits *l = &c->server->limits;
    int64_t now = clock_mono_ms(), paced;

    switch (c->state) {
    case CONN_IDLE:
        if (!c->in) {
            wait_until(c, now + l->idle_ms);
            break;
        }
        c->state = CONN_HEAD;
        c->began = now;
        wait_until(c, now + l->header_ms);
        break;
    case CONN_BODY:
        paced = c->began + l->body_grace_ms +
                (int64_t)(c->received * 1000 / l->body_rate);
        wait_until(c, paced < now + l->idle_ms ? paced : now + l->idle_ms);
        break;
    default:
        break;
    }
}

/* Nothing more can be done with what is there. False when it is over. */
static bool wait_for_more(struct conn *c)
{
    bool sent = http_out_flush(c);

    if (c->broken || c->eof || (c->server->draining && !c->in)) {
        http_conn_close(c);
        return false;
    }
    if (!sent) {
        pause_reading(c);
        return false;
    }
    set_deadline(c);
    resume_reading(c);
    return true;
}

/* As many requests as the buffer holds. True when the connection waits for
 * more bytes of a request, so that another read may be worth it. */
static bool advance(struct conn *c)
{
    while (c->in && !c->writing && !c->broken) {
        enum step st = read_request(c);

        if (st == STEP_MORE) {
            compact(c); /* so that there is room for the next read */
            break;
        }
        if (st == STEP_FAULT) {
            http_out_fault(c, c->in->head.fault);
            end_connection(c);
            return false;
        }
        hand_over(c);
        if (!c->answered) {
            http_out_flush(c);
            if (c->broken)
                http_conn_close(c);
            return false;
        }
        if (!settle(c))
            return false;
        if (c->out.len > CORK_MAX)
            http_out_flush(c);
    }
    return wait_for_more(c);
}

/* ---- events ---- */

/* Bytes read, 0 when there are none now, -1 at the end of the connection. */
static ssize_t fill(struct conn *c)
{
    ssize_t n;

    if (!c->in) {
        c->in = http_block_get(&c->server->pool);
        c->start = c->len = 0;
        begin_request(c);
    }
    n = conn_read(c, c->in->data + c->len, c->in->cap - c->len);
    if (n > 0) {
        c->len += (size_t)n;
        c->received += (uint64_t)n;
        c->server->counters.bytes_in += (uint64_t)n;
        return n;
    }
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        if (c->state == CONN_IDLE)
            release(c);
        return 0;
    }
    return -1;
}

static void read_on(struct conn *c)
{
    for (int i = 0; i < READS_PER_TURN; i++) {
        bool full = c->in && c->len == c->in->cap;
        ssize_t n = full ? 0 : fill(c);

        if (n < 0)
            http_conn_close(c);
        if (n < 0 || (n == 0 && !full))
            return;
        full = c->len == c->in->cap;
        if (!advance(c) || !full || c->state != CONN_BODY)
            return;
    }
}

/* The client sends on while its request is with the handler: one read, which
 * tells more requests from a half close, and no further interest. */
static void read_ahead(struct conn *c)
{
    size_t room = c->in->cap - c->len;
    ssize_t n;

    if (room > 0) {
        n = conn_read(c, c->in->data + c->len, room);
        if (n > 0) {
            c->len += (size_t)n;
            c->server->counters.bytes_in += (uint64_t)n;
        } else if (n == 0) {
            c->eof = true;
        } else if (errno != EAGAIN && errno != EINTR) {
            http_conn_close(c);
            return;
        }
    }
    pause_reading(c);
}

/* Throws away what comes. A stream's client that ends its side is gone. */
static void swallow(struct conn *c)
{
    char bin[SWALLOW];
    ssize_t n = conn_read(c, bin, sizeof bin);

    if (n > 0)
        c->server->counters.bytes_in += (uint64_t)n;
    else if (n == 0 || (errno != EAGAIN && errno != EINTR))
        http_conn_close(c);
}

/* It is open: the first request may be there already, in part behind a PROXY
 * header. */
static void begin_requests(struct conn *c)
{
    c->state = CONN_IDLE;
    if (c->opening && !c->tls) {
        c->in = http_block_get(&c->server->pool);
        c->start = 0;
        c->len = http_opening_rest(c, c->in->data, c->in->cap);
        begin_request(c);
        if (c->len == 0)
            release(c);
    }
    http_opening_end(c);
    if (c->in) {
        advance(c);
        return;
    }
    set_deadline(c);
    read_on(c);
}

static void readable(evutil_socket_t fd, short what, void *arg)
{
    struct conn *c = arg;

    (void)fd;
    (void)what;
    switch (c->state) {
    case CONN_OPENING:
        if (!http_opening_go_on(c))
            break;
        begin_requests(c);
        break;
    case CONN_IDLE:
    case CONN_HEAD:
    case CONN_BODY:
        read_on(c);
        break;
    case CONN_FLIGHT:
        read_ahead(c);
        break;
    case CONN_STREAM:
    case CONN_LINGER:
        swallow(c);
        break;
    case CONN_CLOSING:
        pause_reading(c);
        break;
    }
}

/* Lost or drained; its owner is told. */
static void end_stream(struct conn *c)
{
    if (c->fd >= 0) {
        http_conn_close(c);
        return;
    }
    c->closed(&c->req, c->closed_arg);
    http_conn_free(c);
}

/* An idle connection may have a request on its way: one look, then it goes. */
static void drain_idle(struct conn *c)
{
    if (fill(c) > 0)
        advance(c);
    else
        http_conn_close(c);
}

static void writable(evutil_socket_t fd, short what, void *arg)
{
    struct conn *c = arg;
    struct http_server *s = c->server;
    size_t before = c->out.len - c->sent;
    bool done = http_out_flush(c);

    (void)fd;
    (void)what;
    if (c->broken) {
        http_conn_close(c);
        return;
    }
    if (!done) {
        if (c->out.len - c->sent < before)
            http_wheel_set(&s->wheel, c, clock_mono_ms() + s->limits.write_ms);
        return;
    }
    if (c->state == CONN_CLOSING)
        end_connection(c);
    else if (c->state == CONN_OPENING)
        http_wheel_set(&s->wheel, c, c->began + s->limits.header_ms);
    else if (c->state != CONN_FLIGHT && c->state != CONN_STREAM)
        advance(c);
}

/* ---- public ---- */

struct conn *http_conn_new(struct http_server *s, int fd)
{
    struct conn *c = xcalloc(1, sizeof *c);

    c->server = s;
    c->fd = fd;
    c->req.connection = ++s->last_id;
    event_assign(&c->rd, s->base, fd, EV_READ | EV_PERSIST, readable, c);
    event_assign(&c->wr, s->base, fd, EV_WRITE | EV_PERSIST, writable, c);
    LIST_INSERT_HEAD(&s->all, c, on_list);
    s->counters.open++;
    resume_reading(c);
    set_deadline(c);
    return c;
}

void http_conn_readable(struct conn *c)
{
    readable(c->fd, EV_READ, c);
}

void http_conn_refuse(struct conn *c, enum http_fault f)
{
    http_out_fault(c, f);
    end_connection(c);
}

void http_conn_free(struct conn *c)
{
    if (c->server) {
        http_server_unqueue(c->server, c);
        LIST_REMOVE(c, on_list);
    }
    release(c);
    buf_deinit(&c->out);
    free(c);
}

void http_conn_close(struct conn *c)
{
    struct http_server *s = c->server;

    ASSERT(c->fd >= 0);
    http_opening_end(c);
    if (c->tls)
        http_tls_end(c);
    pause_reading(c);
    if (c->writing)
        event_del(&c->wr);
    c->writing = false;
    http_wheel_remove(c);
    LIST_REMOVE(c, on_list);
    LIST_INSERT_HEAD(&s->owed, c, on_list);
    close(c->fd);
    c->fd = -1;
    s->counters.open--;
    http_server_left(s, c);
    if (c->state == CONN_FLIGHT && !c->answered)
        return;
    if (c->state == CONN_STREAM) {
        http_closed closed = c->closed;

        closed(&c->req, c->closed_arg);
    }
    http_conn_free(c);
}

void http_conn_answered(struct conn *c)
{
    struct http_server *s = c->server;

    c->answered = true;
    if (c->in_handler)
        return;
    if (!settle(c))
        return;
    if (c->in || c->eof || s->draining || !c->reading)
        http_server_queue(s, c);
    else if (!c->writing)
        set_deadline(c);
}

void http_conn_continue(struct conn *c)
{
    if (c->state == CONN_STREAM)
        end_stream(c);
    else if (c->state == CONN_IDLE && !c->in && !c->writing &&
             c->server->draining)
        drain_idle(c);
    else if (c->state != CONN_FLIGHT && c->state != CONN_CLOSING &&
             c->state != CONN_LINGER && !c->writing)
        advance(c);
}

void http_conn_expire(struct conn *c, int64_t now)
{
    struct http_counters *n = &c->server->counters;
    bool head;

    (void)now;
    if (c->writing) {
        n->write_stalled++;
        http_conn_close(c);
        return;
    }
    switch (c->state) {
    case CONN_OPENING:
        http_opening_expire(c);
        break;
    case CONN_IDLE:
        n->idle_closed++;
        http_conn_close(c);
        break;
    case CONN_HEAD:
    case CONN_BODY:
        head = c->state == CONN_HEAD;
        http_out_fault(c, head ? HTTP_SLOW_HEAD : HTTP_SLOW_BODY);
        end_connection(c);
        break;
    case CONN_CLOSING:
    case CONN_LINGER:
        http_conn_close(c);
        break;
    case CONN_FLIGHT:
    case CONN_STREAM:
        break; /* theirs to end */
    }
}
