/* SPDX-License-Identifier: Apache-2.0
 *
 * worker.c - see worker.h.
 *
 * The loop: something happens (a commit, an answer, a timer, a message), the
 * destinations are pumped, then the lanes that changed are reported in one
 * go. The eventfd of the wake-up is only written while slot.asleep is set. */
#include "delivery/worker.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/redact.h"
#include "delivery/destination.h"
#include "delivery/strain.h"
#include "delivery/suspects.h"
#include "delivery/teller.h"
#include "delivery/token.h"
#include "ipc/jail.h"
#include "ipc/ipc.h"
#include "plugin/image.h"

#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define DESTINATIONS_MAX   256
#define PUMP_BUDGET        256          /* events of one destination a turn */
#define REPORTS_WAITING    (8u << 20)   /* bytes unsent, then reading stops */
#define STATUS_EVERY_MS    1000
#define CACHE_BLOCKS       16 /* of the journal, 256 KiB each */
#define CONFIG_ARENA_BYTES (256u << 20)

struct worker {
    struct event_base *base;
    struct ipc *ipc;
    struct event *wake, *pump, *timer, *status, *deadline;
    const struct journal_head *head;
    struct journal_cache *cache; /* of all lanes */
    struct slot *slot;
    struct transport *transport;
    struct plugin *plugin;
    struct instance *instances[DESTINATIONS_MAX];
    struct destination *destinations[DESTINATIONS_MAX];
    bool left[DESTINATIONS_MAX]; /* drained, and its lanes given back */
    size_t count, first; /* which is pumped first in the next turn */
    char *config; /* what instances point into */
    struct arena config_arena;
    struct redact *secrets;
    struct suspects suspects;
    struct strain strain;
    struct receipts receipts;
    struct teller teller;
    bool draining, ended;
    int exit_code;
};

/* ---- reports ---- */

/* What is to be kept secret, anew: tokens come and go. */
static void on_secrets(void *arg)
{
    struct worker *w = arg;
    struct redact *old = w->secrets;
    mf_val list = json_get(json_root(mf_cstr(w->config)), MF_STR("secrets"));
    mf_iter it = { { 0 } };
    struct arena a;
    mf_str key;
    mf_val v;

    w->secrets = w->teller.secrets = redact_new();
    arena_init(&a, CONFIG_ARENA_BYTES);
    while (json_next(list, &it, &key, &v))
        redact_add(w->secrets, json_text(v, &a));
    arena_deinit(&a);
    for (size_t i = 0; i < w->count; i++)
        if (destination_token(w->destinations[i]))
            token_secrets(destination_token(w->destinations[i]), w->secrets);
    log_redact(w->secrets);
    redact_free(old);
}

/* Those that have changed and are due; with `all` those that are not too. */
static void report_lanes_of(struct worker *w, struct destination *d, bool all)
{
    int64_t now = clock_mono_ms();

    for (size_t k = 0; k < destination_lane_count(d); k++) {
        struct lane *l = destination_lane_at(d, k);

        if (!lane_dirty(l) || (!all && lane_report_ms(l) > now))
            continue;
        teller_lane(&w->teller, l);
    }
}

static void report_lanes(struct worker *w, bool all)
{
    for (size_t i = 0; i < w->count; i++)
        report_lanes_of(w, w->destinations[i], all);
}

/* When there will be something to report, INT64_MAX: when it changes. */
static int64_t next_report_ms(struct worker *w)
{
    int64_t at = INT64_MAX;

    for (size_t i = 0; i < w->count; i++)
        for (size_t k = 0; k < destination_lane_count(w->destinations[i]);
             k++) {
            struct lane *l = destination_lane_at(w->destinations[i], k);

            if (lane_dirty(l) && lane_report_ms(l) < at)
                at = lane_report_ms(l);
        }
    return at;
}

/* Gives the lanes back as soon as nothing of the destination is in flight: one
 * that hangs must not keep its neighbours from the worker that comes next. */
static void leave(struct worker *w, size_t i)
{
    struct destination *d = w->destinations[i];

    report_lanes_of(w, d, true);
    teller_pace(&w->teller, d);
    for (size_t k = 0; k < destination_lane_count(d); k++)
        teller_left(&w->teller, lane_id(destination_lane_at(d, k)));
    w->left[i] = true;
}

/* ---- the loop ---- */

static void finish(struct worker *w, int code)
{
    if (w->ended)
        return;
    w->ended = true;
    w->exit_code = code;
    report_lanes(w, true);
    for (size_t i = 0; i < w->count; i++)
        if (!w->left[i]) {
            teller_status(&w->teller, w->destinations[i]);
            teller_pace(&w->teller, w->destinations[i]);
        }
    ipc_flush(w->ipc);
    event_base_loopbreak(w->base);
}

static void arm(struct event *timer, int64_t at_ms)
{
    int64_t wait = at_ms - clock_mono_ms();
    struct timeval tv;

    if (at_ms == INT64_MAX) {
        event_del(timer);
        return;
    }
    if (wait < 0)
        wait = 0;
    tv.tv_sec = wait / 1000;
    tv.tv_usec = wait % 1000 * 1000;
    event_add(timer, &tv);
}

static int64_t next_ms(struct worker *w)
{
    int64_t at = next_report_ms(w);

    for (size_t i = 0; i < w->count; i++) {
        int64_t t = destination_next_ms(w->destinations[i]);

        if (t < at)
            at = t;
    }
    return at;
}

static void pump_soon(struct worker *w)
{
    event_active(w->pump, 0, 0);
}

static void pump(evutil_socket_t fd, short what, void *arg)
{
    struct worker *w = arg;
    unsigned in_flight = 0;
    bool more = false, behind;

    (void)fd;
    (void)what;
    if (w->ended)
        return;
    atomic_fetch_add_explicit(&w->slot->beat, 1, memory_order_relaxed);
    atomic_store(&w->slot->asleep, 0);
    if (ipc_backlog(w->ipc) > REPORTS_WAITING) {
        arm(w->timer, clock_mono_ms() + 5);
        return;
    }
    behind = strain_look(&w->strain, clock_mono_ns());
    w->first++; /* where there is too much to do, who comes last gets less */
    for (size_t k = 0; k < w->count; k++) {
        size_t i = (w->first + k) % w->count;

        if (w->left[i])
            continue;
        destination_behind(w->destinations[i], behind);
        more |= destination_pump(w->destinations[i], PUMP_BUDGET);
        in_flight += destination_in_flight(w->destinations[i]);
        if (destination_status_changed(w->destinations[i]))
            teller_status(&w->teller, w->destinations[i]);
        if (w->draining && destination_in_flight(w->destinations[i]) == 0)
            leave(w, i);
    }
    report_lanes(w, false);
    if (w->draining && in_flight == 0) {
        finish(w, WORKER_DRAINED);
        return;
    }
    if (more) {
        pump_soon(w);
        return;
    }
    /* Sleep, but look once more: a commit between the last look and the flag
     * would not wake. */
    atomic_store(&w->slot->asleep, 1);
    arm(w->timer, next_ms(w));
}

static void on_wake(evutil_socket_t fd, short what, void *arg)
{
    uint64_t n;

    (void)what;
    if (read(fd, &n, sizeof n) == (ssize_t)sizeof n)
        pump(-1, 0, arg);
}

static void on_settled(void *arg)
{
    pump_soon(arg);
}

static void on_status(evutil_socket_t fd, short what, void *arg)
{
    struct worker *w = arg;
    int64_t deadline = clock_ms() + 1000;

    (void)fd;
    (void)what;
    atomic_fetch_add_explicit(&w->slot->beat, 1, memory_order_relaxed);
    for (size_t i = 0; i < w->count; i++) {
        if (!w->left[i])
            teller_status(&w->teller, w->destinations[i]);
        if (w->plugin->manifest->kind == PLUGIN_NATIVE)
            instance_idle(w->instances[i], deadline);
    }
}

static void on_deadline(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    finish(arg, WORKER_DRAINED);
}

/* ---- messages ---- */

static int64_t number_of(mf_val o, const char *key, int64_t otherwise)
{
    int64_t v;

    return json_integer(json_get(o, mf_cstr(key)), &v) ? v : otherwise;
}

static int add_destination(struct worker *w, mf_val o, struct arena *a,
                           struct err *e)
{
    struct reports reports = teller_reports(&w->teller);
    mf_str name = json_text(json_get(o, MF_STR("name")), a);
    mf_str copy = arena_copy(a, name);
    struct instance_config c = {
        .name = copy.ptr,
        .settings = json_get(o, MF_STR("settings")),
        .subscriptions = json_get(o, MF_STR("subscriptions")),
        .filter = json_text(json_get(o, MF_STR("filter")), a),
        .endpoint = json_text(json_get(o, MF_STR("endpoint")), a),
    };
    struct destination_options d = {
        .name = copy.ptr,
        .concurrency = (unsigned)number_of(o, "concurrency", 1),
        .rate = json_number(json_get(o, MF_STR("rate")), 0),
        .retry_rate = json_number(json_get(o, MF_STR("retry_rate")), 0),
        .ttl_ms = number_of(o, "ttl_ms", 14400000),
        .timeout_ms = number_of(o, "timeout_ms", 10000),
        .connect_timeout_ms = number_of(o, "connect_timeout_ms", 5000),
        .first_byte_timeout_ms = number_of(o, "first_byte_timeout_ms", 0),
        .batch_wait_ms = number_of(o, "batch_wait_ms", 1000),
        .allow_private = json_is_true(json_get(o, MF_STR("allow_private"))),
        .by_user = mf_eq(json_text(json_get(o, MF_STR("order")), a),
                         MF_STR("user")),
    };
    struct instance_fault fault;
    struct instance *i;

    if (w->count == DESTINATIONS_MAX)
        return err_set(e, "more than %d destinations of one plugin",
                       DESTINATIONS_MAX);
    atomic_store(&w->slot->phase, PHASE_CREATE);
    i = instance_new(w->plugin, &c, &fault);
    atomic_store(&w->slot->phase, PHASE_HOST);
    if (!i)
        return err_set(e, "%s: %s", copy.ptr, fault.err.text);
    w->instances[w->count] = i;
    w->destinations[w->count] = destination_new(i, &d, w->transport, w->slot,
                                                &reports);
    destination_on_settled(w->destinations[w->count], on_settled, w);
    destination_suspect(w->destinations[w->count], &w->suspects);
    w->count++;
    return 0;
}

static int load_plugin(struct worker *w, struct err *e)
{
    struct image image;
    struct stat st;
    char *bytes;
    int rc = -1;

    if (fstat(CHILD_PLUGIN_FD, &st) != 0)
        return err_sys(e, "the plugin cannot be examined");
    bytes = xmalloc((size_t)st.st_size + 1);
    if (pread(CHILD_PLUGIN_FD, bytes, (size_t)st.st_size, 0) !=
        (ssize_t)st.st_size) {
        free(bytes);
        return err_sys(e, "the plugin cannot be read");
    }
    if (image_check(bytes, (size_t)st.st_size, "plugin", &image, e) != 0)
        return -1;
    w->plugin = plugin_load(CHILD_PLUGIN_FD, image.manifest,
                            image.manifest_len, image.hash, e);
    if (w->plugin)
        rc = 0;
    image_free(&image);
    return rc;
}

static int configure(struct worker *w, mf_str text, struct err *e)
{
    struct arena *a = &w->config_arena;
    mf_iter it = { { 0 } };
    mf_val root, item;
    mf_str key;
    int rc = 0;

    if (w->plugin)
        return err_set(e, "configured twice");
    w->config = xstrndup(text.ptr, text.len);
    if (json_check((mf_str){ w->config, text.len }, JSON_DEPTH_MAX, NULL) != 0)
        return err_set(e, "the configuration is not JSON");
    if (load_plugin(w, e) != 0)
        return -1;
    jail_close();
    root = json_root((mf_str){ w->config, text.len });
    while (json_next(json_get(root, MF_STR("secrets")), &it, &key, &item))
        redact_add(w->secrets, json_text(item, a));
    log_redact(w->secrets);
    it = (mf_iter){ { 0 } };
    while (rc == 0 && json_next(json_get(root, MF_STR("destinations")), &it,
                                &key, &item))
        rc = add_destination(w, item, a, e);
    transport_share(w->transport, (unsigned)w->count);
    return rc;
}

static struct destination *find(struct worker *w, mf_str name)
{
    for (size_t i = 0; i < w->count; i++)
        if (mf_eq(mf_cstr(destination_name(w->destinations[i])), name))
            return w->destinations[i];
    return NULL;
}

/* The next `len` bytes at *p. */
static mf_str next_text(const char **p, uint32_t len)
{
    mf_str t = { *p, len };

    *p += len;
    return t;
}

static void know_receipts(struct lane *l, const char *p, uint32_t n)
{
    struct receipt *list = xcalloc(n + 1, sizeof *list);

    memcpy(list, p, n * sizeof *list);
    lane_know(l, list, n);
    free(list);
}

static struct lane *make_lane(struct worker *w, struct destination *d,
                              const struct msg_lane *m, const char *pending,
                              mf_str where)
{
    struct journal_pos *list = xcalloc(m->pending_count + 1, sizeof *list);
    struct lane *l;
    struct err e;

    memcpy(list, pending, m->pending_count * sizeof *list);
    l = lane_new(w->cache, w->head, m, list);
    lane_set_receipts(l, &w->receipts);
    free(list);
    /* It was compiled when the replay was asked for. */
    ASSERT(!m->replay || destination_own(d, l, m, where, &e) == 0);
    destination_add_lane(d, l);
    return l;
}

static void on_lane(struct worker *w, mf_str text)
{
    struct msg_lane m;
    const char *p = text.ptr + sizeof m, *end = text.ptr + text.len;
    struct destination *d;
    struct lane *l;

    ASSERT(text.len >= sizeof m);
    memcpy(&m, text.ptr, sizeof m);
    end -= m.destination_len;
    d = find(w, (mf_str){ end, m.destination_len });
    ASSERT(d);
    l = make_lane(w, d, &m, p, (mf_str){ end - m.where_len, m.where_len });
    lane_set_source(l, (mf_str){ end - m.where_len - m.source_len,
                                 m.source_len });
    p += m.pending_count * sizeof(struct journal_pos);
    destination_pause(d, m.paused);
    for (uint32_t i = 0; i < m.retry_count; i++) {
        struct msg_retry r;

        memcpy(&r, p, sizeof r);
        p += sizeof r + r.error_len;
        destination_restore(d, l, &r, next_text(&p, r.event_len));
    }
    know_receipts(l, p, m.receipt_count);
    if (m.replay)
        destination_replay(d, l, (enum replay_stop)m.stopped);
    pump_soon(w);
}

/* The destination that has the lane, or NULL: it was given back just now. */
static struct destination *holder_of(struct worker *w, uint32_t lane)
{
    for (size_t i = 0; i < w->count; i++)
        if (!w->left[i] && destination_lane(w->destinations[i], lane))
            return w->destinations[i];
    return NULL;
}

static void on_revive(struct worker *w, mf_str text)
{
    struct msg_revive m;
    struct msg_revived told;
    struct destination *d;

    ASSERT(text.len >= sizeof m);
    memcpy(&m, text.ptr, sizeof m);
    d = holder_of(w, m.key.lane);
    if (!d)
        return;
    told = (struct msg_revived){ m.key, m.at, m.letter, m.since_ms };
    ipc_send(w->ipc, MSG_REVIVED, &told, sizeof told, -1);
    destination_revive(d, destination_lane(d, m.key.lane), &m,
                       (mf_str){ text.ptr + sizeof m, m.event_len });
    pump_soon(w);
}

/* A lane that is through. If it is not after all, it stays. */
static void give_back(struct worker *w, struct destination *d, uint32_t id)
{
    report_lanes_of(w, d, true);
    if (destination_drop_lane(d, destination_lane(d, id)))
        teller_left(&w->teller, id);
}

static void on_replay(struct worker *w, mf_str text)
{
    struct msg_replay m;
    struct destination *d;

    ASSERT(text.len >= sizeof m);
    memcpy(&m, text.ptr, sizeof m);
    d = holder_of(w, m.lane);
    if (d && m.stopped == REPLAY_ENDED)
        give_back(w, d, m.lane);
    else if (d)
        destination_replay(d, destination_lane(d, m.lane),
                           (enum replay_stop)m.stopped);
    pump_soon(w);
}

static void on_pace(struct worker *w, mf_str text)
{
    struct destination *d;
    struct msg_pace m;

    ASSERT(text.len >= sizeof m);
    memcpy(&m, text.ptr, sizeof m);
    d = find(w, (mf_str){ text.ptr + sizeof m, text.len - sizeof m });
    if (d)
        destination_pace(d, m.tokens, m.at_ms);
}

static void on_token(struct worker *w, uint32_t type, mf_str text)
{
    struct msg_token m;
    const char *p = text.ptr + sizeof m;
    struct destination *d;

    ASSERT(text.len >= sizeof m);
    memcpy(&m, text.ptr, sizeof m);
    d = find(w, (mf_str){ p, m.name_len });
    if (d && destination_token(d))
        token_message(destination_token(d), (enum message)type, &m,
                      (mf_str){ p + m.name_len + m.origin_len,
                                m.tokens_len });
}

static void drain(struct worker *w, mf_str text)
{
    uint32_t ms = 0;
    struct timeval tv;

    if (text.len == sizeof ms)
        memcpy(&ms, text.ptr, sizeof ms);
    w->draining = true;
    for (size_t i = 0; i < w->count; i++)
        destination_drain(w->destinations[i]);
    tv.tv_sec = ms / 1000;
    tv.tv_usec = ms % 1000 * 1000;
    event_add(w->deadline, &tv);
    pump_soon(w);
}

static void on_message(void *arg, uint32_t type, mf_str text, int fd)
{
    struct worker *w = arg;
    struct destination *d;
    struct err e;

    if (fd >= 0)
        close(fd);
    switch (type) {
    case MSG_WORKER_CONFIG:
        if (configure(w, text, &e) != 0) {
            ipc_send(w->ipc, MSG_REFUSED, e.text, strlen(e.text), -1);
            finish(w, WORKER_REFUSED);
            return;
        }
        ipc_send(w->ipc, MSG_READY, NULL, 0, -1);
        break;
    case MSG_LANE:
        on_lane(w, text);
        break;
    case MSG_PACE:
        on_pace(w, text);
        break;
    case MSG_PAUSE:
        d = find(w, (mf_str){ text.ptr + 4, text.len - 4 });
        if (d)
            destination_pause(d, text.ptr[0] != 0);
        pump_soon(w);
        break;
    case MSG_CAREFUL:
    case MSG_POISON:
        suspects_message(&w->suspects, type, text);
        break;
    case MSG_REVIVE:
        on_revive(w, text);
        break;
    case MSG_REPLAY:
        on_replay(w, text);
        break;
    case MSG_TOKEN:
    case MSG_TOKEN_LEASE:
        on_token(w, type, text);
        break;
    case MSG_DRAIN:
        drain(w, text);
        break;
    }
}

static void on_close(void *arg)
{
    struct worker *w = arg;

    w->ended = true;
    w->exit_code = WORKER_FAILED;
    event_base_loopbreak(w->base);
}

/* ---- life ---- */

static int map_pages(struct worker *w, struct err *e)
{
    w->head = mmap(NULL, sizeof *w->head, PROT_READ, MAP_SHARED,
                   CHILD_HEAD_FD, 0);
    w->slot = mmap(NULL, sizeof *w->slot, PROT_READ | PROT_WRITE, MAP_SHARED,
                   CHILD_SLOT_FD, 0);
    if (w->head == MAP_FAILED || w->slot == MAP_FAILED)
        return err_sys(e, "the shared pages cannot be mapped");
    return 0;
}

static void make_events(struct worker *w)
{
    struct timeval second = { STATUS_EVERY_MS / 1000, 0 };

    w->wake = event_new(w->base, CHILD_WAKE_FD, EV_READ | EV_PERSIST, on_wake,
                        w);
    w->pump = event_new(w->base, -1, EV_PERSIST, pump, w);
    w->timer = evtimer_new(w->base, pump, w);
    w->deadline = evtimer_new(w->base, on_deadline, w);
    w->status = event_new(w->base, -1, EV_PERSIST, on_status, w);
    event_add(w->wake, NULL);
    event_add(w->status, &second);
}

static void tear_down(struct worker *w)
{
    transport_free(w->transport);
    for (size_t i = 0; i < w->count; i++) {
        destination_free(w->destinations[i]);
        instance_free(w->instances[i]);
    }
    journal_cache_free(w->cache);
    plugin_free(w->plugin);
    event_free(w->wake);
    event_free(w->pump);
    event_free(w->timer);
    event_free(w->deadline);
    event_free(w->status);
    ipc_free(w->ipc);
    event_base_free(w->base);
    teller_deinit(&w->teller);
    log_redact(NULL);
    redact_free(w->secrets);
    strain_deinit(&w->strain);
    suspects_deinit(&w->suspects);
    arena_deinit(&w->config_arena);
    free(w->config);
    curl_global_cleanup();
}

/* Sockets are watched and not watched with each request: changes of one turn
 * go to the kernel together. */
static struct event_base *make_base(void)
{
    struct event_config *c = event_config_new();
    struct event_base *base;

    ASSERT(c);
    event_config_set_flag(c, EVENT_BASE_FLAG_EPOLL_USE_CHANGELIST);
    base = event_base_new_with_config(c);
    ASSERT(base);
    event_config_free(c);
    return base;
}

int worker_main(const char *name, uid_t uid, gid_t gid, pid_t parent)
{
    struct worker w = { 0 };
    char role[96];
    struct err e;

    snprintf(role, sizeof role, "worker %s", name);
    log_role(role);
    /* First of all: if there is none, the number will be somebody else's. */
    receipts_init(&w.receipts, CHILD_RECEIPTS_FD);
    curl_global_init(CURL_GLOBAL_ALL);
    if (map_pages(&w, &e) != 0 || jail_child(uid, gid, parent, &e) != 0 ||
        jail_worker(&e) != 0) {
        log_error("%s", e.text);
        return WORKER_FAILED;
    }
    strain_init(&w.strain);
    w.base = make_base();
    teller_init(&w.teller, on_secrets, &w);
    w.secrets = w.teller.secrets = redact_new();
    arena_init(&w.config_arena, CONFIG_ARENA_BYTES);
    w.transport = transport_new(w.base);
    w.cache = journal_cache_new(CHILD_JOURNAL_FD, w.head, CACHE_BLOCKS);
    w.ipc = w.teller.ipc = ipc_new(w.base, CHILD_CONTROL_FD, on_message,
                                   on_close, &w);
    make_events(&w);
    event_base_dispatch(w.base);
    tear_down(&w);
    return w.exit_code;
}
