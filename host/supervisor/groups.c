/* SPDX-License-Identifier: Apache-2.0
 *
 * groups.c - worker processes and their generations.
 *
 * A group is the destinations that share a worker: all of one plugin, or one
 * alone where the plugin is native or `isolate` is set. What the worker should
 * run is a text, the group's spec; when it differs from what the current
 * generation was started with, a coming one is started on the new spec. Only
 * when that is ready does the current one drain; it gives its lanes back one
 * destination after the other, as nothing of that is in flight any more, and
 * the coming one gets them. One that is refused changes nothing. */
#include "supervisor/supervisor.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "delivery/worker.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- wakers: what ingest writes to after a commit ---- */

static uint32_t waker_take(struct supervisor *s)
{
    for (uint32_t i = 0; i < WAKERS_MAX; i++)
        if (!s->wakers[i]) {
            s->wakers[i] = true;
            return i;
        }
    ASSERT(!"more workers than wakers");
    return 0;
}

static void waker_tell(struct supervisor *s, const struct generation *g)
{
    if (!s->ingest)
        return;
    child_send(s->ingest, MSG_WAKER_SLOT, &g->waker, sizeof g->waker,
               g->slot_fd);
    child_send(s->ingest, MSG_WAKER, &g->waker, sizeof g->waker, g->wake_fd);
}

void groups_tell_ingest(struct supervisor *s)
{
    for (struct group *g = s->groups; g; g = g->next) {
        if (g->current)
            waker_tell(s, g->current);
        if (g->coming)
            waker_tell(s, g->coming);
    }
}

/* ---- one generation ---- */

static void generation_free(struct generation *n, bool kill)
{
    struct supervisor *s = n->group->s;

    delivered_gather(s, n);
    lanes_release(s, n);
    pace_release(s, n);
    tokens_release(s, n);
    if (s->ingest)
        child_send(s->ingest, MSG_WAKER_GONE, &n->waker, sizeof n->waker, -1);
    s->wakers[n->waker] = false;
    if (kill)
        child_free(n->child);
    event_free(n->timer);
    munmap(n->slot, sizeof *n->slot);
    close(n->slot_fd);
    close(n->wake_fd);
    free(n->spec);
    free(n);
}

static void for_destinations(struct group *g,
                             void (*each)(struct sup_destination *d))
{
    for (struct sup_destination *d = g->s->destinations; d; d = d->next)
        if (d->group == g)
            each(d);
}

static void set_running(struct sup_destination *d)
{
    d->condition = COND_RUNNING;
}

static void set_crashing(struct sup_destination *d)
{
    d->condition = COND_CRASHING;
}

static void drain(struct generation *n)
{
    uint32_t ms = DRAIN_WITHIN_MS;
    struct timeval tv = { DRAIN_WITHIN_MS / 1000 + 2, 0 };

    if (n->draining)
        return;
    n->draining = true;
    child_send(n->child, MSG_DRAIN, &ms, sizeof ms, -1);
    event_add(n->timer, &tv);
}

static void set_timer(struct generation *n, int64_t ms)
{
    struct timeval tv = { ms / 1000, ms % 1000 * 1000 };

    event_add(n->timer, &tv);
}

/* Not ready or not drained in time. */
static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    struct generation *n = arg;

    (void)fd;
    (void)what;
    if (n->ready && !n->draining)
        return;
    log_warn("worker %s: not %s in time; it is killed", n->group->key,
             n->draining ? "drained" : "ready");
    child_kill(n->child, SIGKILL);
}

static void refuse(struct group *g, struct generation *n, const char *why)
{
    struct outcome *o = g->s->reloading;

    log_error("worker %s: refused: %s", g->key, why);
    free(g->refused);
    g->refused = xstrdup(n->spec);
    snprintf(g->cause, sizeof g->cause, "refused");
    for (struct sup_destination *d = g->s->destinations; d; d = d->next)
        if (d->group == g) {
            free(d->problem);
            d->problem = xstrdup(why);
            if (!g->current)
                d->condition = COND_REFUSED;
            if (o)
                outcome_add(o, "destination", d->name, "refused", why);
        }
}

/* A destination that has paused itself. */
static void on_paused(struct group *g, mf_str text)
{
    char why[ERROR_TEXT_MAX + 1];
    mf_str name, rest;
    uint32_t len;

    if (text.len < sizeof len)
        return;
    memcpy(&len, text.ptr, sizeof len);
    if (len > text.len - sizeof len)
        return;
    name = (mf_str){ text.ptr + sizeof len, len };
    rest = (mf_str){ name.ptr + len, text.len - sizeof len - len };
    snprintf(why, sizeof why, "%.*s", (int)rest.len, rest.ptr);
    for (struct sup_destination *d = g->s->destinations; d; d = d->next)
        if (d->group == g && mf_eq(mf_cstr(d->name), name)) {
            log_warn("%s: paused until it is resumed: %s", d->name, why);
            destination_set_paused(g->s, d, true, why);
        }
}

static void on_message(void *arg, uint32_t type, mf_str text, int fd)
{
    struct generation *n = arg;
    struct group *g = n->group;

    if (fd >= 0)
        close(fd);
    switch (type) {
    case MSG_READY:
        n->ready = true;
        event_del(n->timer);
        for (struct sup_destination *d = g->s->destinations; d; d = d->next)
            if (d->group == g && d->problem && d->condition != COND_REFUSED) {
                free(d->problem);
                d->problem = NULL;
            }
        group_settle(g);
        break;
    case MSG_REFUSED: {
        char *why = xstrndup(text.ptr, text.len);

        refuse(g, n, why);
        free(why);
        break;
    }
    case MSG_LANE_LEFT:
        lane_left(g->s, n, text);
        break;
    case MSG_LANE_STATE:
    case MSG_RETRY:
    case MSG_RETRY_DONE:
    case MSG_DEAD:
    case MSG_REVIVED:
        lanes_message(g->s, n, type, text);
        break;
    case MSG_PACE:
        pace_message(g->s, n, text);
        break;
    case MSG_PAUSED:
        on_paused(g, text);
        break;
    case MSG_TOKEN_ASK:
    case MSG_TOKEN_PUT:
        tokens_message(g->s, n, type, text);
        break;
    case MSG_DESTINATION: {
        struct msg_destination m;

        if (text.len < sizeof m)
            return;
        memcpy(&m, text.ptr, sizeof m);
        if (text.len - sizeof m != (size_t)m.name_len + m.error_len)
            return;
        for (struct sup_destination *d = g->s->destinations; d; d = d->next)
            if (d->group == g &&
                mf_eq(mf_cstr(d->name),
                      (mf_str){ text.ptr + sizeof m, m.name_len })) {
                d->status = m;
                snprintf(d->last_error, sizeof d->last_error, "%.*s",
                         (int)m.error_len, text.ptr + sizeof m + m.name_len);
            }
        break;
    }
    }
}

static void on_restart(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    group_settle(arg);
}

/* A worker that ended without being asked to. */
static void crashed(struct group *g, int status)
{
    int64_t wait = restarts_next_ms(&g->restarts);
    struct timeval tv = { wait / 1000, wait % 1000 * 1000 };

    child_status_text(status, g->cause, sizeof g->cause);
    log_error("worker %s: ended by %s; again in %lld ms", g->key, g->cause,
              (long long)wait);
    for_destinations(g, set_crashing);
    event_add(g->restart, &tv);
}

static void on_ended(void *arg, int status)
{
    struct generation *n = arg;
    struct group *g = n->group;
    bool was_current = n == g->current, draining = n->draining;
    bool was_ready = n->ready;
    bool refused = WIFEXITED(status) &&
                   WEXITSTATUS(status) == WORKER_REFUSED;

    if (was_current)
        g->current = NULL;
    else
        g->coming = NULL;
    if (status != 0 && !refused) {
        char how[64];

        child_status_text(status, how, sizeof how);
        poison_note(g, n, n->hung ? "hanging" : how);
    }
    if (!was_current && !refused && !draining && !n->ready) {
        char text[64], why[128];

        child_status_text(status, text, sizeof text);
        snprintf(why, sizeof why, "its worker ended by %s before it was ready",
                 text);
        refuse(g, n, why);
    }
    generation_free(n, false);
    if ((was_current || was_ready) && !draining && !refused &&
        !g->s->stopping)
        crashed(g, status);
    else
        group_settle(g);
}

static bool was_refused(const struct group *g)
{
    return g->refused && g->spec && strcmp(g->refused, g->spec) == 0;
}

/* What should run now: the wanted, or while that is refused what ran before;
 * NULL when there is neither. */
static const char *due_spec(const struct group *g)
{
    if (!g->wanted || !g->spec || g->s->stopping)
        return NULL;
    return was_refused(g) ? g->good : g->spec;
}

static bool runs(const struct generation *n, const char *spec)
{
    return n && spec && strcmp(n->spec, spec) == 0;
}

static bool runs_due(const struct group *g)
{
    return runs(g->current, due_spec(g));
}

struct generation *group_live(const struct group *g)
{
    struct generation *n = g->current;

    if (n && n->draining)
        n = g->coming;
    return runs(n, due_spec(g)) && n->ready && !n->draining ? n : NULL;
}

static int share(struct generation *n, struct err *e)
{
    n->slot_fd = memfd_create("manifold-slot", MFD_CLOEXEC);
    n->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (n->slot_fd < 0 || n->wake_fd < 0 ||
        ftruncate(n->slot_fd, sizeof *n->slot) != 0)
        return err_sys(e, "no shared page can be made");
    n->slot = mmap(NULL, sizeof *n->slot, PROT_READ | PROT_WRITE, MAP_SHARED,
                   n->slot_fd, 0);
    if (n->slot == MAP_FAILED)
        return err_sys(e, "no shared page can be mapped");
    return 0;
}

static void close_given(int fd)
{
    if (fd >= 0)
        close(fd);
}

static struct generation *generation_start(struct group *g, struct err *e)
{
    struct supervisor *s = g->s;
    struct generation *n = xcalloc(1, sizeof *n);
    bool fall_back = was_refused(g);
    const char *hash = fall_back ? g->good_hash : g->hash;
    struct child_events events = { on_message, on_ended, n };
    struct child_spec spec = { .role = "worker", .name = g->key,
                               .uid = s->uid, .gid = s->gid };
    int plugin_fd, receipts_fd;

    n->group = g;
    n->slot_fd = n->wake_fd = -1;
    n->waker = waker_take(s);
    receipts_fd = delivered_file(s, n->waker);
    plugin_fd = store_open(s->store, g->plugin, hash, e);
    if (plugin_fd < 0 || share(n, e) != 0)
        goto fail;
    for (int i = 0; i < CHILD_FDS_END; i++)
        spec.fds[i] = -1;
    spec.fds[CHILD_HEAD_FD] = s->head_fd;
    spec.fds[CHILD_JOURNAL_FD] = s->journal_fd;
    spec.fds[CHILD_SLOT_FD] = n->slot_fd;
    spec.fds[CHILD_WAKE_FD] = n->wake_fd;
    spec.fds[CHILD_PLUGIN_FD] = plugin_fd;
    spec.fds[CHILD_RECEIPTS_FD] = receipts_fd;
    n->child = child_start(s->base, &spec, &events, e);
    if (!n->child)
        goto fail;
    close(plugin_fd);
    close_given(receipts_fd);
    n->spec = xstrdup(fall_back ? g->good : g->spec);
    snprintf(n->hash, sizeof n->hash, "%s", hash);
    waker_tell(s, n);
    n->timer = evtimer_new(s->base, on_timer, n);
    set_timer(n, READY_WITHIN_MS);
    child_send(n->child, MSG_WORKER_CONFIG, n->spec, strlen(n->spec), -1);
    poison_tell(g, n);
    return n;
fail:
    s->wakers[n->waker] = false;
    close_given(receipts_fd);
    close_given(plugin_fd);
    close_given(n->slot_fd);
    close_given(n->wake_fd);
    free(n);
    return NULL;
}

/* ---- groups ---- */

struct group *group_find(struct supervisor *s, const char *key, bool make)
{
    struct group *g;

    for (g = s->groups; g; g = g->next)
        if (strcmp(g->key, key) == 0)
            return g;
    if (!make)
        return NULL;
    g = xcalloc(1, sizeof *g);
    g->s = s;
    snprintf(g->key, sizeof g->key, "%s", key);
    g->restart = evtimer_new(s->base, on_restart, g);
    g->next = s->groups;
    s->groups = g;
    return g;
}

/* Copies in the store that no worker needs any more go, but for a few. */
static void prune(struct group *g)
{
    struct version *v = version_find(g->s, g->plugin);
    const char *in_use[2 * GROUPS_MAX + 2];
    size_t n = 0;
    struct err e;

    for (struct group *o = g->s->groups; o; o = o->next)
        if (strcmp(o->plugin, g->plugin) == 0 && n < 2 * GROUPS_MAX) {
            in_use[n++] = o->good_hash;
            in_use[n++] = o->hash;
        }
    if (v)
        in_use[n++] = v->hash;
    in_use[n] = NULL;
    if (store_prune(g->s->store, g->plugin, in_use, &e) != 0)
        log_warn("%s", e.text);
}

/* The coming one is ready: hand over, or step in at once. */
static void promote(struct group *g)
{
    if (g->current) {
        drain(g->current);
        return;
    }
    g->current = g->coming;
    g->coming = NULL;
    g->restarts.started_ms = clock_mono_ms();
    free(g->good);
    g->good = xstrdup(g->current->spec);
    memcpy(g->good_hash, g->current->hash, sizeof g->good_hash);
    for_destinations(g, set_running);
    prune(g);
    log_info("worker %s: live, plugin %s", g->key, g->current->hash);
}

static void start_coming(struct group *g)
{
    struct err e;

    g->coming = generation_start(g, &e);
    if (!g->coming) {
        int64_t wait = restarts_next_ms(&g->restarts);
        struct timeval tv = { wait / 1000, wait % 1000 * 1000 };

        log_error("worker %s: %s", g->key, e.text);
        event_add(g->restart, &tv);
    }
}

void group_settle(struct group *g)
{
    const char *due = due_spec(g);

    if (g->coming && (!due || strcmp(g->coming->spec, due) != 0)) {
        drain(g->coming);
    } else if (g->coming) {
        if (g->coming->ready)
            promote(g);
    } else if (!due) {
        if (g->current)
            drain(g->current);
    } else if (!runs_due(g) && !evtimer_pending(g->restart, NULL)) {
        start_coming(g);
    }
    lanes_offer(g->s);
    reload_check(g->s);
}

bool group_is_settled(const struct group *g)
{
    if (g->coming)
        return false;
    if (!due_spec(g))
        return !g->current;
    return (group_live(g) && group_live(g) == g->current) ||
           evtimer_pending(g->restart, NULL);
}

void group_tell(struct group *g, enum message type, const void *bytes,
                size_t len)
{
    if (g->current)
        child_send(g->current->child, type, bytes, len, -1);
    if (g->coming)
        child_send(g->coming->child, type, bytes, len, -1);
}

void groups_hold(struct supervisor *s, bool on)
{
    for (struct group *g = s->groups; g; g = g->next) {
        if (g->coming)
            child_hold(g->coming->child, on);
        if (g->current)
            child_hold(g->current->child, on);
    }
}

void groups_stop(struct supervisor *s)
{
    for (struct group *g = s->groups; g; g = g->next) {
        event_del(g->restart);
        if (g->coming)
            drain(g->coming);
        if (g->current)
            drain(g->current);
    }
}

bool groups_running(const struct supervisor *s)
{
    for (const struct group *g = s->groups; g; g = g->next)
        if (g->current || g->coming)
            return true;
    return false;
}

void groups_free(struct supervisor *s)
{
    while (s->groups) {
        struct group *g = s->groups;

        s->groups = g->next;
        if (g->current)
            generation_free(g->current, true);
        if (g->coming)
            generation_free(g->coming, true);
        event_free(g->restart);
        free(g->spec);
        free(g->refused);
        free(g->good);
        free(g);
    }
}
