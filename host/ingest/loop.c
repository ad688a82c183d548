/* SPDX-License-Identifier: Apache-2.0
 *
 * loop.c - see loop.h. */
#include "ingest/loop.h"

#include "base/clock.h"
#include "base/mem.h"
#include "ingest/letter.h"
#include "ipc/proto.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TELL_EVERY_MS 100 /* and only when there is something new */
#define LETTER_BYTES  (16u << 20) /* of a refused event with its envelope */
#define CODE_BYTES    256
#define THREAD_NAME   16  /* as many bytes as the kernel keeps */

struct listening {
    char address[128];
    int fd; /* owned */
};

struct loop {
    struct intake *intake;
    struct mailbox *house, in;
    struct event_base *base;
    const _Atomic size_t *backlog;
    unsigned share;
    bool own_thread, stopped;
    pthread_t thread;
    struct http_server *server; /* NULL once it has drained */
    struct api api;
    struct event *woken, *tell;
    void (*on_woken)(void *arg);
    void *on_woken_arg;
    struct listening listening[HTTP_LISTENERS_MAX];
    size_t listening_count;
    struct http_limits limits;
    bool draining, drained;
    bool reconfigured; /* since it told */

    /* What others may read. */
    pthread_mutex_t told_lock;
    struct loop_counts told;
    struct keys told_sources;
};

/* ---- what it has counted ---- */

static void counts_of(struct loop *l, struct loop_counts *c)
{
    c->answered = l->api.answered;
    c->unknown_keys = l->api.unknown_keys;
    c->bad_requests = l->api.bad_requests;
    c->overloads = l->api.overloads;
    if (l->server)
        c->http = *http_server_counters(l->server);
    else
        c->http.open = c->http.opening = c->http.busy =
            c->http.buffer_bytes = 0;
}

static void tell(struct loop *l)
{
    struct loop_counts now = l->told; /* written here alone */

    counts_of(l, &now);
    if (!l->reconfigured && memcmp(&now, &l->told, sizeof now) == 0)
        return;
    l->reconfigured = false;
    pthread_mutex_lock(&l->told_lock);
    l->told = now;
    keys_copy_counters(&l->told_sources, &l->api.keys);
    pthread_mutex_unlock(&l->told_lock);
}

static void on_tell(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    tell(arg);
}

static void add_http(struct http_counters *to, const struct http_counters *c)
{
    uint64_t *sum = (uint64_t *)to;
    const uint64_t *one = (const uint64_t *)c;

    for (size_t i = 0; i < sizeof *c / sizeof *one; i++)
        sum[i] += one[i];
}

void loop_sum(struct loop *l, struct loop_counts *to, struct keys *sources)
{
    pthread_mutex_lock(&l->told_lock);
    to->answered += l->told.answered;
    to->unknown_keys += l->told.unknown_keys;
    to->bad_requests += l->told.bad_requests;
    to->overloads += l->told.overloads;
    add_http(&to->http, &l->told.http);
    keys_add_counters(sources, &l->told_sources);
    pthread_mutex_unlock(&l->told_lock);
}

/* An event refused inside a batch: to the supervisor, by way of the one that
 * talks with it. */
static void on_refused(void *arg, const struct source *s, const char *code,
                       mf_str event)
{
    struct loop *l = arg;
    struct buf b;

    buf_init(&b, LETTER_BYTES);
    letter_write(&b, s->id, code, l->api.envelope, event);
    ASSERT(!b.full);
    mailbox_post(l->house, MSG_INGEST_DEAD, b.data, b.len, -1);
    buf_deinit(&b);
}

/* The supervisor writes them down; while it does not keep up, whoever sends
 * more is told to wait. */
static bool on_crowded(void *arg)
{
    struct loop *l = arg;

    return mailbox_bytes(l->house) + atomic_load(l->backlog) >
           LETTERS_BACKLOG;
}

static void on_tried(void *arg, int64_t job, int64_t letter,
                     enum ingest_tried outcome, const char *code)
{
    struct loop *l = arg;
    struct msg_ingest_tried m = { job, letter, outcome };
    struct buf b;

    buf_init(&b, sizeof m + CODE_BYTES);
    buf_add(&b, &m, sizeof m);
    buf_puts(&b, code);
    mailbox_post(l->house, MSG_INGEST_TRIED, b.data, b.len, -1);
    buf_deinit(&b);
}

/* ---- mail ---- */

static void end_if_drained(struct loop *l)
{
    if (!l->draining || l->drained || l->api.first || l->server)
        return;
    l->drained = true;
    mailbox_post(l->house, MAIL_DRAINED, NULL, 0, -1);
}

/* What is larger is refused by its length; below that, api.c refuses with a
 * reason and a count for the source. */
static void limit_bodies(struct loop *l)
{
    uint64_t most = http_limits_default.body_bytes;

    if (most < l->api.keys.max_batch_bytes)
        most = l->api.keys.max_batch_bytes;
    if (l->server)
        http_server_limit_body(l->server, (uint32_t)most, (uint32_t)most);
}

/* An equal part for each loop, so that all together keep to the whole. */
static uint32_t part_of(const struct loop *l, uint32_t whole)
{
    return (whole + l->share - 1) / l->share;
}

static void limit_connections(struct loop *l)
{
    const struct connection_limits *c = &l->api.keys.connections;

    if (l->server)
        http_server_limit_connections(l->server, part_of(l, c->connections),
                                      part_of(l, c->per_peer), c->header_ms,
                                      c->idle_ms);
}

static void take_keys(struct loop *l, mf_str text)
{
    struct keys k;

    ASSERT(text.len == sizeof k);
    memcpy(&k, text.ptr, sizeof k);
    keys_replace(&l->api.keys, &k);
    l->reconfigured = true;
    limit_bodies(l);
    limit_connections(l);
    mailbox_post(l->house, MAIL_TOOK, NULL, 0, -1);
}

static void try_again(struct loop *l, mf_str text)
{
    struct msg_ingest_again m;

    memcpy(&m, text.ptr, sizeof m);
    ASSERT(text.len == sizeof m + (size_t)m.envelope_len + m.event_len);
    text.ptr += sizeof m;
    if (l->draining)
        on_tried(l, m.job, m.letter, TRIED_BUSY, "");
    else
        api_again(&l->api, &m, (mf_str){ text.ptr, m.envelope_len },
                  (mf_str){ text.ptr + m.envelope_len, m.event_len });
}

static void listen_on(struct loop *l, mf_str address, int fd, bool tls)
{
    struct listening *one;

    if (!l->server) { /* drained */
        close(fd);
        return;
    }
    /* One that nobody accepts from would be given connections all the same. */
    ASSERT(l->listening_count < HTTP_LISTENERS_MAX &&
           address.len < sizeof one->address);
    one = &l->listening[l->listening_count++];
    memcpy(one->address, address.ptr, address.len);
    one->address[address.len] = 0;
    one->fd = fd;
    if (tls)
        http_server_listen_tls(l->server, fd);
    else
        http_server_listen(l->server, fd);
}

static void stop_listening(struct loop *l, size_t i)
{
    struct listening *one = &l->listening[i];

    if (l->server)
        http_server_unlisten(l->server, one->fd);
    close(one->fd);
    *one = l->listening[--l->listening_count];
}

static void unlisten(struct loop *l, mf_str address)
{
    for (size_t i = l->listening_count; i-- > 0;)
        if (mf_eq(mf_cstr(l->listening[i].address), address))
            stop_listening(l, i);
}

static void on_served(void *arg)
{
    struct loop *l = arg;

    tell(l);
    http_server_free(l->server);
    l->server = NULL;
    end_if_drained(l);
}

static void drain(struct loop *l, mf_str text)
{
    uint32_t ms;

    ASSERT(text.len == sizeof ms);
    memcpy(&ms, text.ptr, sizeof ms);
    if (l->draining)
        return;
    l->draining = true;
    http_server_drain(l->server, ms, on_served, l);
}

static void take_trust(struct loop *l, mf_str text)
{
    struct edge_trust t;

    ASSERT(text.len == sizeof t);
    memcpy(&t, text.ptr, sizeof t);
    if (l->server)
        http_server_trust(l->server, t.blocks, t.count, t.proxy_protocol);
}

static void take_tls(struct loop *l, mf_str text)
{
    struct http_tls *t;

    ASSERT(text.len == sizeof t);
    memcpy(&t, text.ptr, sizeof t);
    if (l->server)
        http_server_use_tls(l->server, t);
    http_tls_free(t);
}

static void take_mail(struct loop *l, const struct mail *m)
{
    switch (m->type) {
    case MAIL_KEYS:
        take_keys(l, mail_text(m));
        break;
    case MSG_LISTEN:
    case MAIL_LISTEN_TLS:
        listen_on(l, mail_text(m), m->fd, m->type == MAIL_LISTEN_TLS);
        break;
    case MAIL_TRUST:
        take_trust(l, mail_text(m));
        break;
    case MAIL_TLS:
        take_tls(l, mail_text(m));
        break;
    case MSG_UNLISTEN:
        unlisten(l, mail_text(m));
        break;
    case MSG_INGEST_AGAIN:
        try_again(l, mail_text(m));
        break;
    case MSG_DRAIN:
        drain(l, mail_text(m));
        break;
    case MAIL_STOP:
        event_base_loopbreak(l->base);
        break;
    }
}

static void take_all_mail(struct loop *l)
{
    struct mail *m = mailbox_take(&l->in), *next;

    for (; m; m = next) {
        next = m->next;
        take_mail(l, m);
        free(m);
    }
}

/* There is mail, or something became durable. */
static void on_woken(evutil_socket_t fd, short what, void *arg)
{
    struct loop *l = arg;

    (void)fd;
    (void)what;
    take_all_mail(l);
    if (l->on_woken)
        l->on_woken(l->on_woken_arg);
    api_on_durable(&l->api);
    end_if_drained(l);
}

static void wake(void *arg)
{
    struct loop *l = arg;

    mailbox_wake(&l->in);
}

void loop_configure(struct loop *l, const struct keys *k)
{
    struct keys copy;

    keys_copy(&copy, k);
    mailbox_post(&l->in, MAIL_KEYS, &copy, sizeof copy, -1);
}

void loop_trust(struct loop *l, const struct edge_trust *t)
{
    mailbox_post(&l->in, MAIL_TRUST, t, sizeof *t, -1);
}

void loop_use_tls(struct loop *l, struct http_tls *t)
{
    if (t)
        http_tls_ref(t);
    mailbox_post(&l->in, MAIL_TLS, &t, sizeof t, -1);
}

void loop_listen(struct loop *l, mf_str address, int fd, bool tls)
{
    mailbox_post(&l->in, tls ? MAIL_LISTEN_TLS : MSG_LISTEN, address.ptr,
                 address.len, fd);
}

void loop_unlisten(struct loop *l, mf_str address)
{
    mailbox_post(&l->in, MSG_UNLISTEN, address.ptr, address.len, -1);
}

void loop_drain(struct loop *l, uint32_t ms)
{
    mailbox_post(&l->in, MSG_DRAIN, &ms, sizeof ms, -1);
}

void loop_try_again(struct loop *l, mf_str text)
{
    mailbox_post(&l->in, MSG_INGEST_AGAIN, text.ptr, text.len, -1);
}

/* ---- life ---- */

static void *turn(void *arg)
{
    struct loop *l = arg;

    event_base_dispatch(l->base);
    return NULL;
}

static void start_thread(struct loop *l, unsigned number)
{
    char name[THREAD_NAME];

    ASSERT(pthread_create(&l->thread, NULL, turn, l) == 0);
    snprintf(name, sizeof name, "loop %u", number);
    pthread_setname_np(l->thread, name); /* for who looks at /proc */
}

/* An equal part for each loop, so that all together keep to the whole. */
static struct http_limits limits_of(unsigned share)
{
    struct http_limits l = http_limits_default;

    l.connections = (l.connections + share - 1) / share;
    l.connections_per_peer = (l.connections_per_peer + share - 1) / share;
    l.openings = (l.openings + share - 1) / share;
    l.buffer_bytes /= share;
    return l;
}

struct loop *loop_new(const struct loop_options *o)
{
    struct timeval every = { 0, TELL_EVERY_MS * 1000 };
    struct loop *l = xcalloc(1, sizeof *l);

    l->intake = o->intake;
    l->house = o->house;
    l->backlog = o->backlog;
    l->share = o->share;
    l->own_thread = !o->base;
    l->on_woken = o->woken;
    l->on_woken_arg = o->arg;
    l->base = o->base ? o->base : event_base_new();
    ASSERT(l->base);
    mailbox_init(&l->in);
    pthread_mutex_init(&l->told_lock, NULL);
    api_init(&l->api);
    intake_join(o->intake, &l->api.intake, wake, l);
    l->api.refused = on_refused;
    l->api.crowded = on_crowded;
    l->api.tried = on_tried;
    l->api.quotas = o->quotas;
    l->api.arg = l;
    l->limits = limits_of(o->share);
    l->server = http_server_new(l->base, &l->limits, api_request, &l->api);
    l->woken = event_new(l->base, l->in.wake_fd, EV_READ | EV_PERSIST,
                         on_woken, l);
    l->tell = event_new(l->base, -1, EV_PERSIST, on_tell, l);
    ASSERT(l->server && l->woken && l->tell);
    event_add(l->woken, NULL);
    event_add(l->tell, &every);
    if (l->own_thread)
        start_thread(l, o->number);
    return l;
}

void loop_stop(struct loop *l)
{
    if (l->own_thread) {
        mailbox_post(&l->in, MAIL_STOP, NULL, 0, -1);
        pthread_join(l->thread, NULL);
    }
    take_all_mail(l); /* some of it owns what must be given back */
    while (l->listening_count)
        stop_listening(l, 0);
    if (l->server)
        on_served(l);
    tell(l);
}

void loop_free(struct loop *l)
{
    event_free(l->woken);
    event_free(l->tell);
    api_deinit(&l->api);
    keys_deinit(&l->told_sources);
    mailbox_deinit(&l->in);
    pthread_mutex_destroy(&l->told_lock);
    if (l->own_thread)
        event_base_free(l->base);
    free(l);
}
