/* SPDX-License-Identifier: Apache-2.0
 *
 * server.c - listeners, the count of peers, deadlines, drain; see server.h. */
#include "http/conn.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/text.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define ACCEPTS_PER_TURN 64
#define WARN_EVERY_MS    10000
#define EVICT_LOOK       256 /* connections looked at to make room */
#define EVICT_SLOW_MS    250 /* that a request may take before it is slow */

/* How many connections one address has; gone at 0. */
struct peer {
    struct peer *next;
    uint64_t address; /* IPv4, or the first half of IPv6 */
    int family;
    uint32_t count;
};

const struct http_limits http_limits_default = {
    .header_bytes = HTTP_HEAD_MAX,
    .header_count = HTTP_FIELDS_MAX,
    .body_bytes = 1u << 20,
    .decoded_bytes = 1u << 20,
    .discard_bytes = 64u << 20,
    .buffer_bytes = 256u << 20,
    .connections = 16384,
    .connections_per_peer = 8192,
    .openings = 1024,
    .header_ms = 10000,
    .body_grace_ms = 10000,
    .body_rate = 10000,
    .idle_ms = 60000,
    .write_ms = 30000,
    .linger_ms = 2000,
    .stream_backlog = 1u << 20,
    .sweep_ms = 1000,
};

static const char busy[] =
    "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\n"
    "Retry-After: 1\r\nContent-Length: 101\r\nConnection: close\r\n\r\n"
    "{\"success\":false,\"code\":\"overloaded\","
    "\"message\":\"Too many connections\",\"error\":\"Too many connections\"}";

/* ---- peers ---- */

static struct peer **peer_place(struct http_server *s, int family,
                                uint64_t address)
{
    uint64_t h = (address ^ s->peer_seed) * 0x9e3779b97f4a7c15u;
    struct peer **p = &s->peers[(h >> 32) & (PEER_BUCKETS - 1)];

    while (*p && ((*p)->address != address || (*p)->family != family))
        p = &(*p)->next;
    return p;
}

/* The peer with one more connection, or NULL when it has enough. */
static struct peer *peer_enter(struct http_server *s, const struct netaddr *a)
{
    bool v4 = netaddr_is_v4(a);
    int family = v4 ? AF_INET : AF_INET6;
    struct peer **place, *p;
    uint64_t address = 0;

    memcpy(&address, a->bytes + (v4 ? 12 : 0), v4 ? 4 : 8);
    place = peer_place(s, family, address);
    p = *place;

    if (!p) {
        p = *place = xcalloc(1, sizeof *p);
        p->family = family;
        p->address = address;
    }
    if (p->count >= s->limits.connections_per_peer)
        return NULL;
    p->count++;
    return p;
}

static void peer_leave(struct http_server *s, struct peer *p)
{
    struct peer **place;

    if (--p->count > 0)
        return;
    place = peer_place(s, p->family, p->address);
    *place = p->next;
    free(p);
}

/* ---- accepting ---- */

static void listeners_add(struct http_server *s, bool on)
{
    for (unsigned i = 0; i < s->listener_count; i++) {
        if (on)
            event_add(&s->listeners[i]->ev, NULL);
        else
            event_del(&s->listeners[i]->ev);
    }
}

static void start_sweeping(struct http_server *s)
{
    uint32_t ms = s->limits.sweep_ms;
    struct timeval tv = { ms / 1000, ms % 1000 * 1000 };

    event_add(&s->sweep_ev, &tv);
}

/* Until a connection goes or the next sweep; the kernel keeps the queue. */
static void pause_accepting(struct http_server *s)
{
    if (s->accepting && !s->paused)
        listeners_add(s, false);
    s->paused = true;
    start_sweeping(s);
}

static void resume_accepting(struct http_server *s)
{
    if (s->accepting && s->paused)
        listeners_add(s, true);
    s->paused = false;
}

/* Between two requests. */
static bool is_idle(const struct conn *c, int64_t now)
{
    (void)now;
    return c->state == CONN_IDLE && !c->in && !c->writing;
}

/* In the middle of a request that comes more slowly than it must in the end,
 * though its time is not over yet. */
static bool is_slow(const struct conn *c, int64_t now)
{
    int64_t took = now - c->began;

    if (c->writing || took < EVICT_SLOW_MS)
        return false;
    return c->state == CONN_HEAD ||
           (c->state == CONN_BODY &&
            (int64_t)c->received * 1000 <
                took * (int64_t)c->server->limits.body_rate);
}

/* Of such connections the one whose time is nearest, as far as it looks, or
 * NULL: of idle ones that is not the one that came just now, whose request may
 * be on its way. */
static struct conn *find_victim(struct http_server *s,
                                bool (*fits)(const struct conn *c,
                                             int64_t now))
{
    int64_t now = clock_mono_ms();
    unsigned looked = 0;

    for (unsigned i = 1; i <= WHEEL_SLOTS && looked < EVICT_LOOK; i++) {
        uint64_t slot = (uint64_t)(s->wheel.tick + i) & (WHEEL_SLOTS - 1);
        struct conn *c, *found = NULL;

        LIST_FOREACH(c, &s->wheel.slot[slot], on_wheel)
        {
            if (fits(c, now) && (!found || c->deadline <= found->deadline))
                found = c;
            if (++looked == EVICT_LOOK)
                break;
        }
        if (found)
            return found;
    }
    return NULL;
}

/* Makes room for one: a slow one goes before one that did nothing wrong. */
static bool evict(struct http_server *s)
{
    struct conn *c = find_victim(s, is_slow);

    if (c) {
        s->counters.evicted_slow++;
    } else {
        c = find_victim(s, is_idle);
        if (!c)
            return false;
        s->counters.evicted_idle++;
    }
    http_conn_close(c);
    return true;
}

/* Says 503 as far as the socket takes it. What the client has sent already is
 * read first, or closing would reset the answer away. Over TLS it would cost a
 * handshake: there the connection just ends. */
static void turn_away(int fd, bool tls)
{
    char bin[4096];

    if (!tls) {
        (void)!recv(fd, bin, sizeof bin, MSG_DONTWAIT);
        (void)!send(fd, busy, sizeof busy - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
    }
    close(fd);
}

static void set_address(struct conn *c, const struct netaddr *a)
{
    c->addressed = a != NULL;
    if (a) {
        c->address = *a;
        netaddr_text(a, c->peer_text);
    } else {
        memcpy(c->peer_text, "unix", 5);
    }
    c->req.peer = mf_cstr(c->peer_text);
}

static void take(struct listener *l, int fd, const struct sockaddr_storage *ss)
{
    struct http_server *s = l->server;
    struct peer *p = NULL;
    struct netaddr address;
    bool addressed = netaddr_of(ss, &address), proxied;
    struct conn *c;

    if (addressed) {
        p = peer_enter(s, &address);
        if (!p) {
            s->counters.refused_peer++;
            turn_away(fd, l->tls);
            return;
        }
    }
    s->counters.accepted++;
    if (s->counters.open == 0)
        start_sweeping(s);
    c = http_conn_new(s, fd);
    c->peer = p;
    set_address(c, addressed ? &address : NULL);
    proxied = s->proxy_protocol && addressed &&
              http_server_trusts(s, &address);
    if (l->tls)
        http_tls_begin(c, s->tls);
    if (l->tls || proxied)
        http_opening_begin(c, proxied);
}

static void warn_waiting(struct http_server *s, int why)
{
    int64_t now = clock_mono_ms();

    if (s->warned && now - s->warned < WARN_EVERY_MS)
        return;
    s->warned = now;
    log_warn("http: accept: %s; clients wait in the kernel's queue",
             strerror(why));
}

/* False when this turn shall accept no more. Without descriptors accept fails
 * even when nobody waits; only a turn's first try knows that somebody does. */
static bool accept_failed(struct http_server *s, bool first)
{
    switch (errno) {
    case EINTR:
    case ECONNABORTED:
        return true;
    case EAGAIN:
        return false;
    case EMFILE:
    case ENFILE:
    case ENOBUFS:
    case ENOMEM:
        if (!first)
            return false;
        s->counters.accept_errors++;
        if (evict(s))
            return true;
        warn_waiting(s, errno);
        pause_accepting(s);
        return false;
    default: /* errors of the new connection's own network */
        s->counters.accept_errors++;
        return false;
    }
}

static void acceptable(evutil_socket_t fd, short what, void *arg)
{
    struct listener *l = arg;
    struct http_server *s = l->server;

    (void)what;
    for (int i = 0; i < ACCEPTS_PER_TURN; i++) {
        struct sockaddr_storage ss = { 0 };
        socklen_t n = sizeof ss;
        int got;

        got = accept4(fd, (struct sockaddr *)&ss, &n,
                      SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (got < 0) {
            if (!accept_failed(s, i == 0))
                return;
        } else if (s->counters.open >= s->limits.connections &&
                   !evict(s)) {
            s->counters.refused_full++;
            turn_away(got, l->tls);
        } else if (l->tls && !s->tls) {
            s->counters.accept_errors++;
            close(got);
        } else {
            take(l, got, &ss);
        }
    }
}

/* ---- events of the whole ---- */

static void sweep(evutil_socket_t fd, short what, void *arg)
{
    struct http_server *s = arg;

    (void)fd;
    (void)what;
    http_wheel_sweep(&s->wheel, clock_mono_ms(), http_conn_expire);
    resume_accepting(s);
    if (s->counters.open == 0)
        event_del(&s->sweep_ev);
}

static void go_on(evutil_socket_t fd, short what, void *arg)
{
    struct http_server *s = arg;
    struct conn *c;

    (void)fd;
    (void)what;
    for (unsigned n = s->ready_count; n && (c = TAILQ_FIRST(&s->ready)); n--) {
        http_server_unqueue(s, c);
        http_conn_continue(c);
    }
}

/* A timer of no time, and not an event made active, so that others have
 * their turn before. */
static void on_kick(evutil_socket_t fd, short what, void *arg)
{
    static const struct timeval none;
    struct http_server *s = arg;
    unsigned n = s->kicked_count;
    struct conn *c;

    (void)fd;
    (void)what;
    for (; n && (c = TAILQ_FIRST(&s->kicked)); n--) {
        http_server_unkick(s, c);
        if (c->reading)
            http_conn_readable(c);
    }
    if (s->kicked_count)
        event_add(&s->kick_ev, &none);
}

static void close_all(struct http_server *s)
{
    struct conn *c;

    while ((c = LIST_FIRST(&s->all)))
        http_conn_close(c);
}

static void drained(evutil_socket_t fd, short what, void *arg)
{
    struct http_server *s = arg;
    void (*done)(void *) = s->done;

    (void)fd;
    (void)what;
    close_all(s);
    event_del(&s->drain_ev);
    s->done = NULL;
    if (done)
        done(s->done_arg);
}

/* ---- inside ---- */

void http_server_kick(struct http_server *s, struct conn *c)
{
    static const struct timeval none;

    if (c->kicked)
        return;
    c->kicked = true;
    s->kicked_count++;
    TAILQ_INSERT_TAIL(&s->kicked, c, on_kicked);
    if (!evtimer_pending(&s->kick_ev, NULL))
        event_add(&s->kick_ev, &none);
}

void http_server_unkick(struct http_server *s, struct conn *c)
{
    if (!c->kicked)
        return;
    c->kicked = false;
    s->kicked_count--;
    TAILQ_REMOVE(&s->kicked, c, on_kicked);
}

bool http_server_is_from(struct http_server *s, struct conn *c,
                         const struct netaddr *client)
{
    struct peer *p = peer_enter(s, client);

    if (!p) {
        s->counters.refused_peer++;
        return false;
    }
    if (c->peer)
        peer_leave(s, c->peer);
    c->peer = p;
    set_address(c, client);
    return true;
}

bool http_server_trusts(const struct http_server *s,
                        const struct netaddr *address)
{
    for (size_t i = 0; i < s->proxy_count; i++)
        if (netblock_has(&s->proxies[i], address))
            return true;
    return false;
}

void http_server_queue(struct http_server *s, struct conn *c)
{
    if (c->queued)
        return;
    c->queued = true;
    s->ready_count++;
    TAILQ_INSERT_TAIL(&s->ready, c, on_ready);
    event_active(&s->ready_ev, EV_TIMEOUT, 0);
}

void http_server_unqueue(struct http_server *s, struct conn *c)
{
    if (!c->queued)
        return;
    c->queued = false;
    s->ready_count--;
    TAILQ_REMOVE(&s->ready, c, on_ready);
}

void http_server_left(struct http_server *s, struct conn *c)
{
    if (c->peer)
        peer_leave(s, c->peer);
    c->peer = NULL;
    resume_accepting(s);
    if (s->counters.open > 0)
        return;
    event_del(&s->sweep_ev);
    if (s->draining)
        event_active(&s->drain_ev, EV_TIMEOUT, 0);
}

/* ---- public ---- */

struct http_server *http_server_new(struct event_base *base,
                                    const struct http_limits *limits,
                                    http_handler fn, void *arg)
{
    struct http_server *s = xcalloc(1, sizeof *s);
    size_t least;

    s->base = base;
    s->limits = limits ? *limits : http_limits_default;
    ASSERT(s->limits.header_bytes >= 64 &&
           s->limits.header_bytes <= UINT16_MAX);
    ASSERT(s->limits.body_rate > 0 && s->limits.sweep_ms > 0);
    s->fn = fn;
    s->arg = arg;
    s->accepting = true;
    s->date_second = -1;
    random_bytes(&s->peer_seed, sizeof s->peer_seed);
    LIST_INIT(&s->all);
    LIST_INIT(&s->owed);
    TAILQ_INIT(&s->ready);
    TAILQ_INIT(&s->opening);
    TAILQ_INIT(&s->kicked);
    http_wheel_init(&s->wheel, clock_mono_ms());
    least = s->limits.header_bytes + BLOCK_HEAD_ROOM;
    http_pool_init(&s->pool, least, s->limits.buffer_bytes);
    event_assign(&s->sweep_ev, base, -1, EV_PERSIST, sweep, s);
    event_assign(&s->ready_ev, base, -1, 0, go_on, s);
    event_assign(&s->drain_ev, base, -1, 0, drained, s);
    evtimer_assign(&s->kick_ev, base, on_kick, s);
    return s;
}

void http_server_limit_body(struct http_server *s, uint32_t body_bytes,
                            uint32_t decoded_bytes)
{
    s->limits.body_bytes = body_bytes;
    s->limits.decoded_bytes = decoded_bytes;
}

void http_server_limit_connections(struct http_server *s, uint32_t connections,
                                   uint32_t per_peer, uint32_t header_ms,
                                   uint32_t idle_ms)
{
    s->limits.connections = connections;
    s->limits.connections_per_peer = per_peer;
    s->limits.header_ms = header_ms;
    s->limits.body_grace_ms = header_ms;
    s->limits.idle_ms = idle_ms;
}

static int listen_on(struct http_server *s, int listen_fd, bool tls)
{
    struct listener *l;
    int on = 1;

    if (s->listener_count == HTTP_LISTENERS_MAX)
        return -1;
    /* Inherited by what is accepted; a Unix socket has no such option. */
    setsockopt(listen_fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    l = xcalloc(1, sizeof *l);
    l->server = s;
    l->fd = listen_fd;
    l->tls = tls;
    event_assign(&l->ev, s->base, listen_fd, EV_READ | EV_PERSIST, acceptable,
                 l);
    s->listeners[s->listener_count++] = l;
    if (s->accepting && !s->paused)
        event_add(&l->ev, NULL);
    return 0;
}

int http_server_listen(struct http_server *s, int listen_fd)
{
    return listen_on(s, listen_fd, false);
}

int http_server_listen_tls(struct http_server *s, int listen_fd)
{
    return listen_on(s, listen_fd, true);
}

void http_server_use_tls(struct http_server *s, struct http_tls *t)
{
    struct http_tls *before = s->tls;

    s->tls = t ? http_tls_ref(t) : NULL;
    http_tls_free(before);
}

void http_server_trust(struct http_server *s, const struct netblock *proxies,
                       size_t count, bool proxy_protocol)
{
    ASSERT(count <= HTTP_PROXIES_MAX);
    free(s->proxies);
    s->proxies = xcalloc(count + 1, sizeof *s->proxies);
    if (count)
        memcpy(s->proxies, proxies, count * sizeof *proxies);
    s->proxy_count = count;
    s->proxy_protocol = proxy_protocol;
}

void http_server_unlisten(struct http_server *s, int listen_fd)
{
    for (unsigned i = 0; i < s->listener_count; i++) {
        struct listener *l = s->listeners[i];

        if (event_get_fd(&l->ev) != listen_fd)
            continue;
        event_del(&l->ev);
        s->listeners[i] = s->listeners[--s->listener_count];
        free(l);
        return;
    }
}

void http_server_stop_accepting(struct http_server *s)
{
    if (s->accepting && !s->paused)
        listeners_add(s, false);
    s->accepting = false;
}

void http_server_drain(struct http_server *s, uint32_t deadline_ms,
                       void (*done)(void *arg), void *arg)
{
    struct timeval tv = { deadline_ms / 1000, deadline_ms % 1000 * 1000 };
    struct conn *c;

    ASSERT(!s->draining);
    http_server_stop_accepting(s);
    s->draining = true;
    s->done = done;
    s->done_arg = arg;
    LIST_FOREACH(c, &s->all, on_list)
    {
        if (c->state == CONN_IDLE || c->state == CONN_STREAM)
            http_server_queue(s, c);
    }
    event_add(&s->drain_ev, &tv);
    while ((c = TAILQ_FIRST(&s->opening))) /* none has sent a request yet */
        http_conn_close(c);
    if (s->counters.open == 0)
        event_active(&s->drain_ev, EV_TIMEOUT, 0);
}

void http_server_free(struct http_server *s)
{
    struct conn *c;

    if (!s)
        return;
    http_server_stop_accepting(s);
    s->done = NULL;
    close_all(s);
    event_del(&s->sweep_ev);
    event_del(&s->ready_ev);
    event_del(&s->drain_ev);
    event_del(&s->kick_ev);
    while (s->listener_count)
        free(s->listeners[--s->listener_count]);
    while ((c = LIST_FIRST(&s->owed))) {
        if (c->state == CONN_STREAM) {
            http_conn_continue(c); /* not told yet */
            continue;
        }
        http_server_unqueue(s, c);
        LIST_REMOVE(c, on_list);
        c->server = NULL;
    }
    http_pool_deinit(&s->pool);
    gunzip_free(s->gunzip);
    http_tls_free(s->tls);
    free(s->proxies);
    buf_deinit(&s->scratch);
    free(s);
}

const struct http_counters *http_server_counters(struct http_server *s)
{
    s->counters.body_buffer_bytes = s->pool.big;
    s->counters.buffer_bytes = s->pool.big + s->pool.small;
    s->counters.busy = s->pool.used;
    s->counters.opening = s->opening_count;
    return &s->counters;
}
