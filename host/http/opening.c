/* SPDX-License-Identifier: Apache-2.0
 *
 * opening.c - what stands before a connection's first request: the header by
 * which a trusted proxy says whose it is, and the handshake of TLS, in this
 * order.
 *
 * All of it must be over within header_ms, and only so many connections may
 * be at it at a time: one more, and the oldest goes, so that those who never
 * finish cannot keep out those who do. Each that fails is counted by kind; the
 * log tells one of them in a while. */
#include "http/conn.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "http/proxy.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define TELL_EVERY_MS 10000

struct opening {
    bool proxied;   /* the header is still to come */
    size_t len, at; /* bytes read, and of these used */
    char bytes[];   /* PROXY_HEADER_MAX, if there is a header */
};

static const struct {
    const char *code, *text;
} faults[HTTP_OPEN_FAULTS] = {
    [HTTP_OPEN_PROXY] = { "proxy_header", "no valid PROXY header" },
    [HTTP_OPEN_PLAIN] = { "plaintext", "not TLS" },
    [HTTP_OPEN_VERSION] = { "version", "a version of TLS before 1.2" },
    [HTTP_OPEN_CIPHER] = { "cipher", "no cipher in common" },
    [HTTP_OPEN_ALPN] = { "alpn", "the client does not want HTTP/1.1" },
    [HTTP_OPEN_ALERT] = { "alert", "the client refused" },
    [HTTP_OPEN_MALFORMED] = { "malformed", "a malformed handshake" },
    [HTTP_OPEN_GONE] = { "gone", "the client went away" },
    [HTTP_OPEN_SLOW] = { "slow", "it took too long" },
    [HTTP_OPEN_EVICTED] = { "evicted", "too many are under way" },
};

const char *http_opening_code(enum http_opening_fault f)
{
    return faults[f].code;
}

/* Whoever only looks whether the port is open is not worth a line. */
static void tell(struct conn *c, enum http_opening_fault f, const char *why)
{
    struct http_server *s = c->server;
    int64_t now = clock_mono_ms();

    if (f == HTTP_OPEN_GONE)
        return;
    if (s->told_ms && now - s->told_ms < TELL_EVERY_MS) {
        s->untold++;
        return;
    }
    s->told_ms = now;
    log_warn("http: a connection from %s was not opened: %s%s%s (%llu others "
             "since the last such line)",
             c->peer_text, faults[f].text, why ? ": " : "", why ? why : "",
             (unsigned long long)s->untold);
    s->untold = 0;
}

static void fail(struct conn *c, enum http_opening_fault f, const char *why)
{
    c->server->counters.openings[f]++;
    tell(c, f, why);
    http_conn_close(c);
}

/* Plain HTTP is answered in plain HTTP: people see that, and a closed
 * connection says nothing. */
static void fail_shaking(struct conn *c, enum http_opening_fault f,
                         const char *why)
{
    if (f != HTTP_OPEN_PLAIN) {
        fail(c, f, why);
        return;
    }
    c->server->counters.openings[f]++;
    tell(c, f, why);
    http_opening_end(c);
    http_tls_end(c);
    http_conn_refuse(c, HTTP_NOT_TLS);
}

/* True when the header is behind it. */
static bool read_header(struct conn *c)
{
    struct http_server *s = c->server;
    struct opening *o = c->opening;
    ssize_t n = read(c->fd, o->bytes + o->len, PROXY_HEADER_MAX - o->len);
    struct proxy_header h;
    int used;

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return false;
    if (n <= 0) {
        fail(c, HTTP_OPEN_GONE, NULL);
        return false;
    }
    o->len += (size_t)n;
    s->counters.bytes_in += (uint64_t)n;
    used = proxy_header_read(o->bytes, o->len, &h);
    if (used < 0)
        fail(c, HTTP_OPEN_PROXY, h.fault);
    if (used <= 0)
        return false;
    o->at = (size_t)used;
    o->proxied = false;
    s->counters.proxied++;
    if (!h.known || http_server_is_from(s, c, &h.client))
        return true;
    http_conn_close(c);
    return false;
}

/* ---- for the other files ---- */

void http_opening_begin(struct conn *c, bool proxied)
{
    struct http_server *s = c->server;

    c->state = CONN_OPENING;
    c->began = clock_mono_ms();
    c->opening = xmalloc(sizeof *c->opening +
                         (proxied ? PROXY_HEADER_MAX : 0));
    c->opening->proxied = proxied;
    c->opening->len = c->opening->at = 0;
    TAILQ_INSERT_TAIL(&s->opening, c, on_opening);
    s->opening_count++;
    http_wheel_set(&s->wheel, c, c->began + s->limits.header_ms);
    if (s->opening_count > s->limits.openings)
        fail(TAILQ_FIRST(&s->opening), HTTP_OPEN_EVICTED, NULL);
}

bool http_opening_go_on(struct conn *c)
{
    enum http_opening_fault fault = HTTP_OPEN_MALFORMED;
    const char *why = NULL;

    if (c->opening->proxied && !read_header(c))
        return false;
    if (!c->tls)
        return true;
    switch (http_tls_shake(c, &fault, &why)) {
    case HTTP_STEP_DONE:
        return true;
    case HTTP_STEP_FAILED:
        fail_shaking(c, fault, why);
        return false;
    case HTTP_STEP_WAIT:
        break;
    }
    return false;
}

void http_opening_expire(struct conn *c)
{
    fail(c, HTTP_OPEN_SLOW, NULL);
}

size_t http_opening_rest(struct conn *c, void *to, size_t n)
{
    struct opening *o = c->opening;

    if (!o || o->at == o->len)
        return 0;
    if (n > o->len - o->at)
        n = o->len - o->at;
    memcpy(to, o->bytes + o->at, n);
    o->at += n;
    return n;
}

void http_opening_end(struct conn *c)
{
    struct http_server *s = c->server;

    if (!c->opening)
        return;
    TAILQ_REMOVE(&s->opening, c, on_opening);
    s->opening_count--;
    free(c->opening);
    c->opening = NULL;
}
