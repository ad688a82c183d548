/* SPDX-License-Identifier: Apache-2.0
 *
 * ingest.c - see ingest.h: the channel to the supervisor, the loops, the
 * journal, the wake-ups of sleeping workers. All of it in the first loop's
 * thread. */
#include "ingest/ingest.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "ingest/connections.h"
#include "ingest/idset.h"
#include "ingest/loop.h"
#include "ipc/ipc.h"
#include "ipc/jail.h"
#include "ipc/proto.h"
#include "journal/ids.h"
#include "json/json.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define WAKERS         2048
#define STATS_EVERY_MS 100 /* and only when there is something new */
#define STATS_BACKLOG  (1u << 20) /* unsent: more of them would be no use */
/* How long a start may wait for the ids of former events; connections wait in
 * their sockets meanwhile. After that it goes on beside the traffic, so many
 * ids at a time. */
#define WARM_WAIT_MS 1000
#define WARM_IDS     4096
#define WARM_EVERY_US 1000
#define MIX 0x9e3779b97f4a7c15u /* odd */

struct waker {
    int fd; /* -1: none */
    struct slot *slot;
};

struct ingest {
    struct event_base *base;
    struct ipc *ipc;
    struct intake intake;
    struct keys keys; /* as told last; the counters are sums of the loops' */
    struct loop *loops[INTAKE_LOOPS_MAX];
    unsigned loop_count, drained;
    uint64_t configured, took; /* times, of the loops together */
    struct mailbox house; /* from the loops */
    _Atomic size_t backlog; /* what the supervisor has not read */
    struct quotas *quotas;
    struct loop_counts counts;
    struct journal_head *head;
    struct event *mail, *stats, *deadline, *warm;
    struct waker wakers[WAKERS];
    uint32_t waker_end; /* one past the last in use */
    struct buf out;
    uint64_t told; /* progress() when statistics were told last */
    bool draining;
    int exit_code;
};

/* ---- after a commit ---- */

/* The first loop was woken, perhaps by a commit. */
static void wake_workers(void *arg)
{
    struct ingest *g = arg;
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
    struct dedupe_facts f = intake_facts(&g->intake);

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

static void sum_up(struct ingest *g)
{
    memset(&g->counts, 0, sizeof g->counts);
    keys_clear_counters(&g->keys);
    for (unsigned i = 0; i < g->loop_count; i++)
        loop_sum(g->loops[i], &g->counts, &g->keys);
}

static void tell_stats(struct ingest *g)
{
    const struct loop_counts *c = &g->counts;
    struct json_out w;

    buf_clear(&g->out);
    json_out_init(&w, &g->out);
    json_begin_object(&w);
    json_kint(&w, "threads", g->loop_count);
    json_kint(&w, "answered", (int64_t)c->answered);
    json_kint(&w, "unknown_write_keys", (int64_t)c->unknown_keys);
    json_kint(&w, "bad_requests", (int64_t)c->bad_requests);
    json_kint(&w, "overloads", (int64_t)c->overloads);
    json_kint(&w, "connections", (int64_t)c->http.open);
    json_kint(&w, "requests", (int64_t)c->http.requests);
    connections_write(&w, &c->http);
    edge_write_stats(&w, &c->http);
    write_dedupe(g, &w);
    json_key(&w, MF_STR("sources"));
    json_begin_array(&w);
    for (uint32_t i = 0; i < g->keys.count; i++)
        write_source(&w, &g->keys.sources[i]);
    json_end_array(&w);
    json_end_object(&w);
    if (!g->out.full)
        ipc_send(g->ipc, MSG_INGEST_STATS, g->out.data, g->out.len, -1);
}

/* Another number when there is something new to tell; not a sum, in which one
 * more of this and one less of that is nothing. */
static uint64_t progress(struct ingest *g)
{
    struct dedupe_facts f = intake_facts(&g->intake);
    const uint64_t *each = (const uint64_t *)&g->counts;
    uint64_t n = (f.ids * MIX + f.evicted) * MIX + f.state + 1;

    for (size_t i = 0; i < sizeof g->counts / sizeof *each; i++)
        n = n * MIX + each[i];
    for (uint32_t i = 0; i < g->keys.count; i++)
        n = n * MIX + g->keys.sources[i].received;
    return n;
}

static void go_on_warming(struct ingest *g)
{
    static const struct timeval soon = { 0, WARM_EVERY_US };

    if (intake_facts(&g->intake).state == DEDUPE_WARMING &&
        !evtimer_pending(g->warm, NULL))
        event_add(g->warm, &soon);
}

static void on_warm(evutil_socket_t fd, short what, void *arg)
{
    struct ingest *g = arg;

    (void)fd;
    (void)what;
    if (intake_warm_step(&g->intake, WARM_IDS, 0))
        go_on_warming(g);
}

static void on_stats(evutil_socket_t fd, short what, void *arg)
{
    struct ingest *g = arg;
    uint64_t now;

    (void)fd;
    (void)what;
    intake_tidy(&g->intake);
    go_on_warming(g);
    sum_up(g);
    now = progress(g);
    atomic_store(&g->backlog, ipc_backlog(g->ipc));
    if (now == g->told || ipc_backlog(g->ipc) > STATS_BACKLOG)
        return;
    g->told = now;
    tell_stats(g);
}

/* When all loops have all that was said, it counts. */
static void on_took(struct ingest *g)
{
    if (++g->took == g->configured)
        ipc_send(g->ipc, MSG_INGEST_TOOK, &g->keys.number,
                 sizeof g->keys.number, -1);
}

/* Mail of the loops. */
static void on_mail(evutil_socket_t fd, short what, void *arg)
{
    struct ingest *g = arg;
    struct mail *m = mailbox_take(&g->house), *next;

    (void)fd;
    (void)what;
    for (; m; m = next) {
        next = m->next;
        if (m->type == MAIL_DRAINED)
            g->drained++;
        else if (m->type == MAIL_TOOK)
            on_took(g);
        else
            ipc_send(g->ipc, m->type, m->data, m->len, -1);
        free(m);
    }
    atomic_store(&g->backlog, ipc_backlog(g->ipc));
    if (g->draining && g->drained == g->loop_count)
        event_base_loopbreak(g->base);
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
                                 .retention_ms = g->keys.retention_ms,
                                 .max_bytes = g->keys.max_bytes,
                                 .ids_keep_ms = ids_keep_ms(&g->keys),
                                 .ids_keep_bytes = ids_keep_bytes(&g->keys) };

    return intake_open(&g->intake, &o, e);
}

static void configure_dedupe(struct ingest *g)
{
    const struct keys *k = &g->keys;

    intake_configure(&g->intake, k->dedupe_window_ms, k->dedupe_memory);
    if (!g->intake.journal)
        return;
    journal_keep(g->intake.journal, k->retention_ms, k->max_bytes);
    journal_keep_ids(g->intake.journal, ids_keep_ms(k), ids_keep_bytes(k));
    intake_warm(&g->intake, CHILD_JOURNAL_FD);
    go_on_warming(g);
}

/* Duplicates of events before a restart are known before anything is
 * accepted, unless that takes too long. */
static void warm_up(struct ingest *g)
{
    int64_t now = clock_mono_ms(), end = now + WARM_WAIT_MS;
    bool more = true;

    intake_warm(&g->intake, CHILD_JOURNAL_FD);
    for (; more && now < end; now = clock_mono_ms())
        more = intake_warm_step(&g->intake, WARM_IDS, end - now);
    if (!more)
        return;
    log_warn("dedupe: warming: %llu ids are known so far; until all are,"
             " a duplicate of an older event is taken for new",
             (unsigned long long)intake_facts(&g->intake).ids);
    go_on_warming(g);
}

/* As many as were asked for first: the sockets are shared out by then. */
static void start_loops(struct ingest *g)
{
    struct loop_options o = { .intake = &g->intake, .house = &g->house,
                              .backlog = &g->backlog, .quotas = g->quotas,
                              .share = g->keys.threads };

    ASSERT(o.share >= 1 && o.share <= INTAKE_LOOPS_MAX);
    while (g->loop_count < o.share) {
        o.base = g->loop_count ? NULL : g->base;
        o.woken = g->loop_count ? NULL : wake_workers;
        o.arg = g;
        o.number = g->loop_count;
        g->loops[g->loop_count++] = loop_new(&o);
    }
}

static int start(struct ingest *g)
{
    struct err e;

    if (open_journal(g, &e) != 0) {
        log_error("%s", e.text);
        ipc_send(g->ipc, MSG_REFUSED, e.text, strlen(e.text), -1);
        ipc_flush(g->ipc);
        g->exit_code = 1;
        event_base_loopbreak(g->base);
        return -1;
    }
    warm_up(g);
    start_loops(g);
    return 0;
}

static void take_plan(struct ingest *g, mf_str text, int fd)
{
    uint64_t number;
    struct err e;

    ASSERT(text.len == sizeof number && fd >= 0);
    memcpy(&number, text.ptr, sizeof number);
    if (plans_add(&g->keys.plans, number, fd, &e) != 0)
        log_error("%s; the events of its sources are not checked", e.text);
    close(fd);
}

static void configure(struct ingest *g, mf_str text)
{
    bool first = !g->intake.journal;
    struct edge_trust trust;
    struct err e;

    if (keys_update(&g->keys, text, &e) != 0) {
        log_error("%s", e.text);
        return;
    }
    connections_fit(&g->keys.connections);
    quotas_configure(g->quotas, json_root(text));
    configure_dedupe(g);
    if (first && start(g) != 0)
        return;
    edge_read_trust(&trust, text);
    g->configured += g->loop_count;
    for (unsigned i = 0; i < g->loop_count; i++) {
        loop_trust(g->loops[i], &trust); /* before what tells that it counts */
        loop_configure(g->loops[i], &g->keys);
    }
    if (first)
        ipc_send(g->ipc, MSG_READY, NULL, 0, -1);
}

/* An address has a socket for each loop; where it has fewer, loops share
 * them, and where it has more, a loop has several: none is left out. */
static void listen_on(struct ingest *g, mf_str text, int fd)
{
    struct msg_listen m;
    unsigned first;

    ASSERT(text.len >= sizeof m && g->loop_count);
    memcpy(&m, text.ptr, sizeof m);
    ASSERT(m.index < m.count);
    text = (mf_str){ text.ptr + sizeof m, text.len - sizeof m };
    first = m.index % g->loop_count;
    for (unsigned i = first + m.count; i < g->loop_count; i += m.count) {
        int too = fcntl(fd, F_DUPFD_CLOEXEC, 0);

        if (too >= 0)
            loop_listen(g->loops[i], text, too, m.tls);
        else
            log_warn("%.*s: thread %u cannot share it: %s", (int)text.len,
                     text.ptr, i, strerror(errno));
    }
    loop_listen(g->loops[first], text, fd, m.tls);
}

/* Before the first configuration there are no loops: then it comes again, with
 * the sockets. */
static void use_tls(struct ingest *g, mf_str message)
{
    struct err e;
    struct http_tls *t = edge_tls(message, &e);

    if (*e.text)
        log_error("the certificate is refused, the former one stays: %s",
                  e.text);
    else
        for (unsigned i = 0; i < g->loop_count; i++)
            loop_use_tls(g->loops[i], t);
    if (t)
        jail_close(); /* there is a key in the memory from now on */
    http_tls_free(t);
}

static void unlisten(struct ingest *g, mf_str address)
{
    for (unsigned i = 0; i < g->loop_count; i++)
        loop_unlisten(g->loops[i], address);
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
    for (unsigned i = 0; i < g->loop_count; i++)
        loop_drain(g->loops[i], ms);
    if (!g->loop_count)
        event_base_loopbreak(g->base);
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
    case MSG_TLS:
        use_tls(g, text);
        break;
    case MSG_UNLISTEN:
        unlisten(g, text);
        break;
    case MSG_WAKER:
    case MSG_WAKER_SLOT:
    case MSG_WAKER_GONE:
        on_waker(g, type, text, fd);
        break;
    case MSG_INGEST_AGAIN:
        if (g->loop_count) /* nothing is asked before MSG_READY */
            loop_try_again(g->loops[0], text);
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

/* The loops end first; what they have counted is told, and the refused events
 * that they have posted. */
static void stop_loops(struct ingest *g)
{
    for (unsigned i = 0; i < g->loop_count; i++)
        loop_stop(g->loops[i]);
    on_mail(-1, 0, g);
    sum_up(g);
    tell_stats(g);
    ipc_flush(g->ipc);
}

static void tear_down(struct ingest *g)
{
    intake_deinit(&g->intake); /* no commit wakes a loop after this */
    for (unsigned i = 0; i < g->loop_count; i++)
        loop_free(g->loops[i]);
    keys_deinit(&g->keys);
    quotas_free(g->quotas);
    for (uint32_t i = 0; i < WAKERS; i++)
        drop_waker(&g->wakers[i]);
    event_free(g->mail);
    event_free(g->stats);
    event_free(g->deadline);
    event_free(g->warm);
    ipc_free(g->ipc);
    mailbox_deinit(&g->house);
    buf_deinit(&g->out);
    event_base_free(g->base);
    munmap(g->head, sizeof *g->head);
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
    ASSERT(g->base);
    buf_init(&g->out, IPC_MESSAGE_MAX);
    intake_init(&g->intake, g->head);
    mailbox_init(&g->house);
    g->quotas = quotas_new();
    g->mail = event_new(g->base, g->house.wake_fd, EV_READ | EV_PERSIST,
                        on_mail, g);
    g->stats = event_new(g->base, -1, EV_PERSIST, on_stats, g);
    g->deadline = evtimer_new(g->base, on_deadline, g);
    g->warm = evtimer_new(g->base, on_warm, g);
    event_add(g->mail, NULL);
    event_add(g->stats, &every);
    g->ipc = ipc_new(g->base, CHILD_CONTROL_FD, on_message, on_close, g);
    event_base_dispatch(g->base);
    stop_loops(g);
    tear_down(g);
    code = g->exit_code;
    free(g);
    return code;
}
