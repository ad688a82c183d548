/* SPDX-License-Identifier: Apache-2.0
 *
 * ingest.c - see ingest.h: the loop, the sockets, the journal, the wake-ups
 * of sleeping workers. */
#include "ingest/ingest.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "ingest/api.h"
#include "ingest/idset.h"
#include "ipc/ipc.h"
#include "ipc/jail.h"
#include "ipc/proto.h"
#include "journal/ids.h"
#include "json/json.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#define WAKERS         2048
#define STATS_EVERY_MS 100 /* and only when there is something new */
#define LISTENERS_MAX  64
/* How long a start may wait for the ids of former events; connections wait in
 * their sockets meanwhile. After that it goes on beside the traffic, so many
 * ids at a time. */
#define WARM_WAIT_MS 2000
#define WARM_IDS     4096
#define WARM_EVERY_US 1000

struct waker {
    int fd; /* -1: none */
    struct slot *slot;
};

struct listening {
    char address[128];
    int fd;
};

struct ingest {
    struct event_base *base;
    struct ipc *ipc;
    struct http_server *server;
    struct api api;
    struct journal_head *head;
    struct event *durable, *stats, *deadline, *warm;
    int durable_fd;
    struct waker wakers[WAKERS];
    uint32_t waker_end; /* one past the last in use */
    struct listening listening[LISTENERS_MAX];
    size_t listening_count;
    struct buf out;
    uint64_t told; /* requests and events when statistics were told last */
    bool draining;
    int exit_code;
};

/* ---- after a commit ---- */

/* From the commit thread. */
static void wake_loop(void *arg)
{
    struct ingest *g = arg;
    uint64_t one = 1;

    if (write(g->durable_fd, &one, sizeof one) < 0)
        return; /* the counter is full, so the loop is awake */
}

static void wake_workers(struct ingest *g)
{
    uint64_t one = 1;

    for (uint32_t i = 0; i < g->waker_end; i++) {
        struct waker *w = &g->wakers[i];

        if (w->fd < 0 || !w->slot ||
            !atomic_exchange(&w->slot->asleep, 0))
            continue;
        if (write(w->fd, &one, sizeof one) < 0)
            log_warn("a worker cannot be woken: %s", strerror(errno));
    }
}

static void end_if_drained(struct ingest *g)
{
    if (g->draining && !g->api.first && !g->server)
        event_base_loopbreak(g->base);
}

static void on_durable(evutil_socket_t fd, short what, void *arg)
{
    struct ingest *g = arg;
    uint64_t n;

    (void)what;
    if (read(fd, &n, sizeof n) != (ssize_t)sizeof n)
        return;
    wake_workers(g);
    api_on_durable(&g->api);
    end_if_drained(g);
}

/* ---- statistics ---- */

static void write_source(struct json_out *w, const struct source *s)
{
    json_begin_object(w);
    json_kstr(w, "name", mf_cstr(s->name));
    json_kint(w, "received", (int64_t)s->received);
    json_kint(w, "bytes", (int64_t)s->bytes);
    json_kint(w, "duplicates", (int64_t)s->duplicates);
    json_key(w, MF_STR("rejected"));
    json_begin_object(w);
    for (size_t i = 0; i < REJECT_CODES_MAX && s->rejected[i].code; i++) {
        json_key(w, mf_cstr(s->rejected[i].code));
        json_int(w, (int64_t)s->rejected[i].n);
    }
    json_end_object(w);
    if (s->gate)
        gate_write(s->gate, w);
    json_end_object(w);
}

static void write_dedupe(struct ingest *g, struct json_out *w)
{
    static const char *const states[] = { "off", "warming", "whole" };
    struct dedupe_facts f = dedupe_facts(g->api.dedupe);

    json_key(w, MF_STR("dedupe"));
    json_begin_object(w);
    json_kstr(w, "state", mf_cstr(states[f.state]));
    json_kint(w, "warming", f.state == DEDUPE_WARMING);
    json_kint(w, "ids", (int64_t)f.ids);
    json_kint(w, "bytes", (int64_t)f.bytes);
    json_kint(w, "evicted", (int64_t)f.evicted);
    json_key(w, MF_STR("window_seconds"));
    json_num(w, (double)f.window_ms / 1000);
    json_end_object(w);
}

static void tell_stats(struct ingest *g)
{
    struct json_out w;

    buf_clear(&g->out);
    json_out_init(&w, &g->out);
    json_begin_object(&w);
    json_kint(&w, "answered", (int64_t)g->api.answered);
    json_kint(&w, "unknown_write_keys", (int64_t)g->api.unknown_keys);
    json_kint(&w, "bad_requests", (int64_t)g->api.bad_requests);
    json_kint(&w, "overloads", (int64_t)g->api.overloads);
    if (g->server) {
        const struct http_counters *c = http_server_counters(g->server);

        json_kint(&w, "connections", (int64_t)c->open);
        json_kint(&w, "requests", (int64_t)c->requests);
    }
    write_dedupe(g, &w);
    json_key(&w, MF_STR("sources"));
    json_begin_array(&w);
    for (uint32_t i = 0; i < g->api.keys.count; i++)
        write_source(&w, &g->api.keys.sources[i]);
    json_end_array(&w);
    json_end_object(&w);
    if (!g->out.full)
        ipc_send(g->ipc, MSG_INGEST_STATS, g->out.data, g->out.len, -1);
}

static uint64_t progress(const struct ingest *g)
{
    struct dedupe_facts f = dedupe_facts(g->api.dedupe);
    uint64_t n = f.ids + f.evicted + f.state + g->api.answered +
                 g->api.unknown_keys +
                 g->api.bad_requests + g->api.overloads + 1;

    for (uint32_t i = 0; i < g->api.keys.count; i++)
        n += g->api.keys.sources[i].received;
    return n;
}

static void go_on_warming(struct ingest *g)
{
    static const struct timeval soon = { 0, WARM_EVERY_US };

    if (dedupe_facts(g->api.dedupe).state == DEDUPE_WARMING &&
        !evtimer_pending(g->warm, NULL))
        event_add(g->warm, &soon);
}

static void on_warm(evutil_socket_t fd, short what, void *arg)
{
    struct ingest *g = arg;

    (void)fd;
    (void)what;
    if (dedupe_warm_step(g->api.dedupe, WARM_IDS, 0))
        go_on_warming(g);
}

static void on_stats(evutil_socket_t fd, short what, void *arg)
{
    struct ingest *g = arg;
    uint64_t now;

    (void)fd;
    (void)what;
    dedupe_tidy(g->api.dedupe);
    go_on_warming(g);
    now = progress(g);
    if (now == g->told)
        return;
    g->told = now;
    tell_stats(g);
}

static void on_refused(void *arg, const struct source *s, const char *code,
                       mf_str event)
{
    struct ingest *g = arg;
    struct msg_ingest_dead m = { .source = s->id,
                                 .when_ms = clock_ms(),
                                 .code_len = (uint32_t)strlen(code),
                                 .event_len = (uint32_t)event.len };

    buf_clear(&g->out);
    buf_add(&g->out, &m, sizeof m);
    buf_puts(&g->out, code);
    buf_str(&g->out, event);
    ipc_send(g->ipc, MSG_INGEST_DEAD, g->out.data, g->out.len, -1);
}

/* ---- messages ---- */

/* Id files stay for as long as the window needs them, and as many as the
 * memory can hold ids of. */
static int64_t ids_keep_ms(const struct keys *k)
{
    return k->dedupe_window_ms > IDS_KEEP_MS ? k->dedupe_window_ms
                                             : IDS_KEEP_MS;
}

static uint64_t ids_keep_bytes(const struct keys *k)
{
    uint64_t most = k->dedupe_memory / IDSET_SLOT * IDS_ENTRY;

    return most > IDS_KEEP_BYTES ? most : IDS_KEEP_BYTES;
}

static int open_journal(struct ingest *g, struct err *e)
{
    struct journal_options o = { .dir = CHILD_JOURNAL_FD,
                                 .head = g->head,
                                 .retention_ms = g->api.keys.retention_ms,
                                 .max_bytes = g->api.keys.max_bytes,
                                 .ids_keep_ms = ids_keep_ms(&g->api.keys),
                                 .ids_keep_bytes =
                                     ids_keep_bytes(&g->api.keys),
                                 .on_durable = wake_loop,
                                 .arg = g };

    g->api.journal = journal_open(&o, e);
    g->api.head = g->head;
    return g->api.journal ? 0 : -1;
}

/* What is larger is refused by its length; below that, api.c refuses with a
 * reason and a count for the source. */
static void limit_bodies(struct ingest *g)
{
    uint64_t most = http_limits_default.body_bytes;

    if (most < g->api.keys.max_batch_bytes)
        most = g->api.keys.max_batch_bytes;
    http_server_limit_body(g->server, (uint32_t)most, (uint32_t)most);
}

static void configure_dedupe(struct ingest *g)
{
    const struct keys *k = &g->api.keys;

    dedupe_configure(g->api.dedupe, k->dedupe_window_ms, k->dedupe_memory);
    if (!g->api.journal)
        return;
    journal_keep_ids(g->api.journal, ids_keep_ms(k), ids_keep_bytes(k));
    dedupe_warm(g->api.dedupe, CHILD_JOURNAL_FD, g->head);
    go_on_warming(g);
}

/* Duplicates of events before a restart are known before anything is
 * accepted, unless that takes too long. */
static void warm_up(struct ingest *g)
{
    int64_t now = clock_mono_ms(), end = now + WARM_WAIT_MS;
    bool more = true;

    dedupe_warm(g->api.dedupe, CHILD_JOURNAL_FD, g->head);
    for (; more && now < end; now = clock_mono_ms())
        more = dedupe_warm_step(g->api.dedupe, WARM_IDS, end - now);
    if (!more)
        return;
    log_warn("dedupe: warming: %llu ids are known so far; until all are,"
             " a duplicate of an older event is taken for new",
             (unsigned long long)dedupe_facts(g->api.dedupe).ids);
    go_on_warming(g);
}

static void configure(struct ingest *g, mf_str text)
{
    struct err e;

    if (keys_update(&g->api.keys, text, &e) != 0) {
        log_error("%s", e.text);
        return;
    }
    if (g->server)
        limit_bodies(g);
    configure_dedupe(g);
    if (g->api.journal)
        return;
    if (open_journal(g, &e) != 0) {
        log_error("%s", e.text);
        ipc_send(g->ipc, MSG_REFUSED, e.text, strlen(e.text), -1);
        ipc_flush(g->ipc);
        g->exit_code = 1;
        event_base_loopbreak(g->base);
        return;
    }
    warm_up(g);
    for (size_t i = 0; i < g->listening_count; i++)
        http_server_listen(g->server, g->listening[i].fd);
    ipc_send(g->ipc, MSG_READY, NULL, 0, -1);
}

static void take_plan(struct ingest *g, mf_str text, int fd)
{
    uint64_t number;
    struct err e;

    ASSERT(text.len == sizeof number && fd >= 0);
    memcpy(&number, text.ptr, sizeof number);
    if (plans_add(&g->api.keys.plans, number, fd, &e) != 0)
        log_error("%s; the events of its sources are not checked", e.text);
    close(fd);
}

static void listen_on(struct ingest *g, mf_str address, int fd)
{
    struct listening *l;

    if (g->listening_count == LISTENERS_MAX || address.len >= 128) {
        close(fd);
        return;
    }
    l = &g->listening[g->listening_count++];
    snprintf(l->address, sizeof l->address, "%.*s", (int)address.len,
             address.ptr);
    l->fd = fd;
    if (g->api.journal)
        http_server_listen(g->server, fd);
}

static void unlisten(struct ingest *g, mf_str address)
{
    for (size_t i = 0; i < g->listening_count; i++) {
        struct listening *l = &g->listening[i];

        if (!mf_eq(mf_cstr(l->address), address))
            continue;
        http_server_unlisten(g->server, l->fd);
        close(l->fd);
        *l = g->listening[--g->listening_count];
        return;
    }
}

static void drop_waker(struct waker *w)
{
    if (w->fd >= 0)
        close(w->fd);
    if (w->slot)
        munmap(w->slot, sizeof *w->slot);
    w->fd = -1;
    w->slot = NULL;
}

static void on_waker(struct ingest *g, uint32_t type, mf_str text, int fd)
{
    struct waker *w;
    uint32_t n;

    memcpy(&n, text.ptr, sizeof n);
    ASSERT(text.len == sizeof n && n < WAKERS);
    w = &g->wakers[n];
    if (n >= g->waker_end)
        g->waker_end = n + 1;
    if (type == MSG_WAKER_GONE) {
        drop_waker(w);
    } else if (type == MSG_WAKER) {
        if (w->fd >= 0)
            close(w->fd);
        w->fd = fd;
    } else {
        if (w->slot)
            munmap(w->slot, sizeof *w->slot);
        w->slot = mmap(NULL, sizeof *w->slot, PROT_READ | PROT_WRITE,
                       MAP_SHARED, fd, 0);
        close(fd);
        ASSERT(w->slot != MAP_FAILED);
    }
}

static void on_served(void *arg)
{
    struct ingest *g = arg;

    http_server_free(g->server);
    g->server = NULL;
    end_if_drained(g);
}

static void on_deadline(evutil_socket_t fd, short what, void *arg)
{
    struct ingest *g = arg;

    (void)fd;
    (void)what;
    event_base_loopbreak(g->base);
}

static void drain(struct ingest *g, mf_str text)
{
    uint32_t ms = 0;
    struct timeval tv;

    if (g->draining)
        return;
    if (text.len == sizeof ms)
        memcpy(&ms, text.ptr, sizeof ms);
    tv.tv_sec = ms / 1000;
    tv.tv_usec = ms % 1000 * 1000;
    g->draining = true;
    event_add(g->deadline, &tv);
    http_server_drain(g->server, ms, on_served, g);
}

static void on_message(void *arg, uint32_t type, mf_str text, int fd)
{
    struct ingest *g = arg;

    switch (type) {
    case MSG_INGEST_CONFIG:
        configure(g, text);
        break;
    case MSG_INGEST_PLAN:
        take_plan(g, text, fd);
        break;
    case MSG_LISTEN:
        listen_on(g, text, fd);
        break;
    case MSG_UNLISTEN:
        unlisten(g, text);
        break;
    case MSG_WAKER:
    case MSG_WAKER_SLOT:
    case MSG_WAKER_GONE:
        on_waker(g, type, text, fd);
        break;
    case MSG_DRAIN:
        drain(g, text);
        break;
    }
}

static void on_close(void *arg)
{
    struct ingest *g = arg;

    g->exit_code = 1;
    event_base_loopbreak(g->base);
}

/* ---- life ---- */

static void tear_down(struct ingest *g)
{
    if (g->server)
        http_server_free(g->server);
    if (g->api.journal)
        journal_close(g->api.journal);
    api_deinit(&g->api);
    for (uint32_t i = 0; i < WAKERS; i++)
        drop_waker(&g->wakers[i]);
    event_free(g->durable);
    event_free(g->stats);
    event_free(g->deadline);
    event_free(g->warm);
    ipc_free(g->ipc);
    buf_deinit(&g->out);
    event_base_free(g->base);
    munmap(g->head, sizeof *g->head);
    close(g->durable_fd);
}

int ingest_main(uid_t uid, gid_t gid, pid_t parent)
{
    struct ingest *g = xcalloc(1, sizeof *g);
    struct timeval every = { 0, STATS_EVERY_MS * 1000 };
    struct err e;
    int code;

    log_role("ingest");
    for (uint32_t i = 0; i < WAKERS; i++)
        g->wakers[i].fd = -1;
    g->head = mmap(NULL, sizeof *g->head, PROT_READ | PROT_WRITE, MAP_SHARED,
                   CHILD_HEAD_FD, 0);
    if (g->head == MAP_FAILED || jail_child(uid, gid, parent, &e) != 0) {
        log_error("ingest cannot start");
        free(g);
        return 1;
    }
    g->base = event_base_new();
    g->durable_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    ASSERT(g->base && g->durable_fd >= 0);
    buf_init(&g->out, IPC_MESSAGE_MAX);
    api_init(&g->api);
    g->api.refused = on_refused;
    g->api.arg = g;
    g->server = http_server_new(g->base, NULL, api_request, &g->api);
    g->durable = event_new(g->base, g->durable_fd, EV_READ | EV_PERSIST,
                           on_durable, g);
    g->stats = event_new(g->base, -1, EV_PERSIST, on_stats, g);
    g->deadline = evtimer_new(g->base, on_deadline, g);
    g->warm = evtimer_new(g->base, on_warm, g);
    event_add(g->durable, NULL);
    event_add(g->stats, &every);
    g->ipc = ipc_new(g->base, CHILD_CONTROL_FD, on_message, on_close, g);
    event_base_dispatch(g->base);
    tell_stats(g);
    ipc_flush(g->ipc);
    tear_down(g);
    code = g->exit_code;
    free(g);
    return code;
}
