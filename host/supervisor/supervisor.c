/* SPDX-License-Identifier: Apache-2.0
 *
 * supervisor.c - start, signals, stop; ingest and admin as children.
 *
 * Order at the start: directories and lock, state.db, shared page, sockets,
 * ingest. Only when ingest has recovered the journal are lanes opened and
 * workers started, since a new lane begins at the journal's head. */
#include "supervisor/supervisor.h"

#include "base/clock.h"
#include "base/io.h"
#include "base/log.h"
#include "base/mem.h"
#include "ipc/jail.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define STATE_ERROR_EVERY_MS 5000
#define BAD_CONFIG 78 /* exit status */

/* ---- systemd ---- */

void supervisor_notify(const char *format, ...)
{
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un a = { .sun_family = AF_UNIX };
    char text[1024];
    va_list ap;
    size_t len;
    int fd, n;

    if (!path || (len = strlen(path)) >= sizeof a.sun_path || len == 0)
        return;
    va_start(ap, format);
    n = vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    memcpy(a.sun_path, path, len);
    if (a.sun_path[0] == '@')
        a.sun_path[0] = 0;
    fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return;
    if (sendto(fd, text, (size_t)n, MSG_NOSIGNAL, (struct sockaddr *)&a,
               (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len)) < 0)
        log_warn("the service manager cannot be told: %s", strerror(errno));
    close(fd);
}

/* ---- state.db ---- */

void supervisor_log_state_error(struct supervisor *s, const struct err *e)
{
    static int64_t last_ms;
    int64_t now = clock_mono_ms();

    s->commit_failing = true;
    if (last_ms && now - last_ms < STATE_ERROR_EVERY_MS)
        return;
    last_ms = now;
    log_error("%s", e->text);
}

int supervisor_commit(struct supervisor *s, struct err *e)
{
    if (records_flush(s, e) != 0 || state_commit(s->state, e) != 0)
        return -1;
    records_committed(s);
    return 0;
}

/* Takes no more of what would have to be written down, or takes it again. */
static void hold_reports(struct supervisor *s, bool on)
{
    groups_hold(s, on);
    if (s->ingest && s->ingest_ready)
        child_hold(s->ingest, on);
}

static void on_commit(evutil_socket_t fd, short what, void *arg)
{
    struct supervisor *s = arg;
    struct err e;

    (void)fd;
    (void)what;
    if (supervisor_commit(s, &e) != 0) {
        supervisor_log_state_error(s, &e);
        hold_reports(s, state_strained(s->state) || records_strained(s));
        supervisor_state_changed(s);
    } else if (s->commit_failing) {
        s->commit_failing = false;
        hold_reports(s, false);
        log_info("state.db and the outcome log take changes");
    }
}

void supervisor_state_changed(struct supervisor *s)
{
    struct timeval tv = {
        0, (s->commit_failing ? COMMIT_AGAIN_MS : COMMIT_EVERY_MS) * 1000
    };

    if (!evtimer_pending(s->commit, NULL))
        event_add(s->commit, &tv);
    if (s->commit_failing && state_strained(s->state))
        hold_reports(s, true); /* the next attempt may be far off */
}

/* ---- stopping ---- */

static void check_stopped(struct supervisor *s)
{
    if (!s->stopping || groups_running(s) || s->ingest)
        return;
    event_base_loopbreak(s->base);
}

static void on_stop_deadline(evutil_socket_t fd, short what, void *arg)
{
    struct supervisor *s = arg;

    (void)fd;
    (void)what;
    log_warn("not drained within shutdown_seconds; what is in flight will be "
             "sent again after the next start");
    event_base_loopbreak(s->base);
}

static void stop(struct supervisor *s)
{
    struct timeval tv = { s->config->shutdown_ms / 1000,
                          s->config->shutdown_ms % 1000 * 1000 };
    uint32_t ms = (uint32_t)s->config->shutdown_ms;

    if (s->stopping)
        return;
    s->stopping = true;
    log_info("stopping");
    supervisor_notify("STOPPING=1");
    event_add(s->stop_deadline, &tv);
    if (s->ingest)
        child_send(s->ingest, MSG_DRAIN, &ms, sizeof ms, -1);
    groups_stop(s);
    check_stopped(s);
}

/* ---- ingest and admin ---- */

static void first_reload(struct supervisor *s)
{
    struct outcome *o;

    s->reloads = 1;
    o = &s->outcomes[1];
    o->id = 1;
    o->began_ms = clock_ms();
    s->reloading = o;
    reload_apply(s, s->config, false, o);
    reload_check(s);
}

static void ingest_message(void *arg, uint32_t type, mf_str text, int fd)
{
    struct supervisor *s = arg;

    if (fd >= 0)
        close(fd);
    switch (type) {
    case MSG_READY:
        s->ingest_ready = true;
        s->ingest_restarts.started_ms = clock_mono_ms();
        if (s->reloads == 0)
            first_reload(s);
        /* Only now, with the lanes of what it will accept in state.db. */
        listen_tell_ingest(s);
        log_info("accepting events");
        break;
    case MSG_REFUSED:
        log_error("ingest: %.*s", (int)text.len, text.ptr);
        break;
    case MSG_INGEST_TOOK:
        if (text.len == sizeof s->ingest_took)
            memcpy(&s->ingest_took, text.ptr, sizeof s->ingest_took);
        reload_check(s);
        break;
    case MSG_INGEST_STATS:
        if (json_check(text, JSON_DEPTH_MAX, NULL) == 0) {
            free(s->ingest_stats);
            s->ingest_stats = xstrndup(text.ptr, text.len);
        }
        break;
    case MSG_INGEST_DEAD:
    case MSG_INGEST_TRIED:
        refused_message(s, type, text);
        break;
    }
}

static void start_ingest(struct supervisor *s);
static void start_admin(struct supervisor *s);

static void again(struct supervisor *s, struct restarts *r, struct event *timer,
                  const char *name, int status)
{
    int64_t wait = restarts_next_ms(r);
    struct timeval tv = { wait / 1000, wait % 1000 * 1000 };
    char text[64];

    child_status_text(status, text, sizeof text);
    log_error("%s ended by %s; again in %lld ms", name, text,
              (long long)wait);
    event_add(timer, &tv);
    (void)s;
}

static void ingest_ended(void *arg, int status)
{
    struct supervisor *s = arg;

    s->ingest = NULL;
    s->ingest_ready = false;
    refused_release(s);
    if (!s->stopping) {
        again(s, &s->ingest_restarts, s->ingest_restart, "ingest", status);
        reload_check(s);
    }
    check_stopped(s);
}

static void on_ingest_restart(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    start_ingest(arg);
}

static void start_ingest(struct supervisor *s)
{
    struct child_events events = { ingest_message, ingest_ended, s };
    struct child_spec spec = { .role = "ingest", .name = "ingest",
                               .uid = s->uid, .gid = s->gid };
    struct err e;

    for (int i = 0; i < CHILD_FDS_END; i++)
        spec.fds[i] = -1;
    spec.fds[CHILD_HEAD_FD] = s->head_fd;
    spec.fds[CHILD_JOURNAL_FD] = s->journal_fd;
    s->ingest = child_start(s->base, &spec, &events, &e);
    if (!s->ingest) {
        struct timeval tv = { 1, 0 };

        log_error("%s", e.text);
        event_add(s->ingest_restart, &tv);
        return;
    }
    reload_tell_children(s);
    groups_tell_ingest(s);
}

static void admin_message(void *arg, uint32_t type, mf_str text, int fd)
{
    struct supervisor *s = arg;
    struct buf b;
    uint64_t id;

    if (fd >= 0)
        close(fd);
    if (type != MSG_ASK || text.len < sizeof id)
        return;
    memcpy(&id, text.ptr, sizeof id);
    if (explain_ask(s, id, (mf_str){ text.ptr + 8, text.len - 8 }))
        return;
    buf_init(&b, IPC_MESSAGE_MAX);
    buf_add(&b, text.ptr, sizeof(uint64_t));
    status_answer(s, (mf_str){ text.ptr + 8, text.len - 8 }, &b);
    child_send(s->admin, MSG_ANSWER, b.data, b.len, -1);
    buf_deinit(&b);
}

static void admin_ended(void *arg, int status)
{
    struct supervisor *s = arg;

    s->admin = NULL;
    if (!s->stopping)
        again(s, &s->admin_restarts, s->admin_restart, "admin", status);
}

static void on_admin_restart(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    start_admin(arg);
}

static void start_admin(struct supervisor *s)
{
    struct child_events events = { admin_message, admin_ended, s };
    struct child_spec spec = { .role = "admin", .name = "admin",
                               .uid = s->uid, .gid = s->gid };
    struct err e;

    for (int i = 0; i < CHILD_FDS_END; i++)
        spec.fds[i] = -1;
    s->admin = child_start(s->base, &spec, &events, &e);
    if (!s->admin) {
        struct timeval tv = { 1, 0 };

        log_error("%s", e.text);
        event_add(s->admin_restart, &tv);
        return;
    }
    s->admin_restarts.started_ms = clock_mono_ms();
    reload_tell_children(s);
    child_send(s->admin, MSG_LISTEN, s->admin_listener->bound,
               strlen(s->admin_listener->bound), s->admin_listener->fds[0]);
}

/* ---- signals ---- */

static void on_hangup(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    reload_begin(arg, false);
}

static void on_second_look(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    reload_begin(arg, false);
}

static void on_term(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    stop(arg);
}

static void on_reopen(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    (void)arg; /* logs go to standard error, which has nothing to reopen */
}

static void on_watchdog(evutil_socket_t fd, short what, void *arg)
{
    struct supervisor *s = arg;

    (void)fd;
    (void)what;
    supervisor_notify("WATCHDOG=1");
    groups_watch(s);
    letters_kick(s);
    refused_kick(s);
    records_retain(s);
    records_watch(s);
    certificate_watch(s);
    for (struct group *g = s->groups; g; g = g->next)
        if (g->wanted && !g->coming)
            group_settle(g);
    check_stopped(s);
}

static void make_events(struct supervisor *s)
{
    static const int numbers[] = { SIGHUP, SIGTERM, SIGINT, SIGUSR1 };
    static const event_callback_fn callbacks[] = { on_hangup, on_term, on_term,
                                                   on_reopen };
    struct timeval second = { 1, 0 };

    for (size_t i = 0; i < COUNT_OF(numbers); i++) {
        s->signals[i] = evsignal_new(s->base, numbers[i], callbacks[i], s);
        event_add(s->signals[i], NULL);
    }
    signal(SIGPIPE, SIG_IGN);
    s->commit = evtimer_new(s->base, on_commit, s);
    s->stop_deadline = evtimer_new(s->base, on_stop_deadline, s);
    s->ingest_restart = evtimer_new(s->base, on_ingest_restart, s);
    s->admin_restart = evtimer_new(s->base, on_admin_restart, s);
    s->second_look = evtimer_new(s->base, on_second_look, s);
    s->watchdog = event_new(s->base, -1, EV_PERSIST, on_watchdog, s);
    event_add(s->watchdog, &second);
}

/* ---- start ---- */

static int open_dir(const char *parent, const char *name, mode_t mode,
                    struct err *e)
{
    char path[4096];
    int fd;

    if (snprintf(path, sizeof path, "%s/%s", parent, name) >=
        (int)sizeof path)
        return err_set(e, "%s: the path is too long", parent);
    if (io_make_dirs(path, mode, e) != 0)
        return -1;
    fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return err_sys(e, "%s cannot be opened", path);
    return fd;
}

static int take_lock(struct supervisor *s, const char *dir, struct err *e)
{
    s->lock_fd = openat(s->data_fd, "lock", O_RDWR | O_CREAT | O_CLOEXEC,
                        0600);
    if (s->lock_fd < 0)
        return err_sys(e, "%s/lock cannot be made", dir);
    if (flock(s->lock_fd, LOCK_EX | LOCK_NB) != 0)
        return err_set(e, "%s is in use by another manifold; stop that one, "
                          "or give this one a data_dir of its own",
                       dir);
    return 0;
}

static int share_head(struct supervisor *s, struct err *e)
{
    s->head_fd = memfd_create("manifold-head", MFD_CLOEXEC);
    if (s->head_fd < 0 || ftruncate(s->head_fd, sizeof *s->head) != 0)
        return err_sys(e, "no shared page can be made");
    s->head = mmap(NULL, sizeof *s->head, PROT_READ | PROT_WRITE, MAP_SHARED,
                   s->head_fd, 0);
    if (s->head == MAP_FAILED)
        return err_sys(e, "no shared page can be mapped");
    return 0;
}

static int open_all(struct supervisor *s, struct err *e)
{
    const char *dir = s->config->data_dir;
    char path[4096];
    int run;

    if (io_make_dirs(dir, 0755, e) != 0)
        return -1;
    s->data_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (s->data_fd < 0)
        return err_sys(e, "data_dir %s cannot be opened", dir);
    if (take_lock(s, dir, e) != 0)
        return -1;
    jail_user(s->data_fd, &s->uid, &s->gid);
    s->journal_fd = open_dir(dir, "journal", 0750, e);
    if (s->journal_fd < 0)
        return -1;
    if (geteuid() == 0 && fchown(s->journal_fd, s->uid, s->gid) != 0)
        return err_sys(e, "%s/journal cannot be given to user %u", dir,
                       (unsigned)s->uid);
    run = open_dir(dir, "run", 0755, e);
    if (run < 0)
        return -1;
    close(run);
    s->store = store_new(s->data_fd, e);
    if (!s->store)
        return -1;
    snprintf(path, sizeof path, "%s/state.db", dir);
    s->state = state_open(path, e);
    s->ledger_fd = open_dir(dir, "outcomes", 0750, e);
    if (!s->state || s->ledger_fd < 0 || lanes_load(s, e) != 0 ||
        records_load(s, e) != 0 || replays_load(s, e) != 0 ||
        letters_load(s, e) != 0 || tokens_load(s, e) != 0)
        return -1;
    s->receipts_fd = open_dir(dir, "receipts", 0700, e);
    if (s->receipts_fd < 0)
        return -1;
    delivered_load(s);
    return share_head(s, e);
}

static void close_state(struct supervisor *s)
{
    struct err e;

    if (s->ledger && supervisor_commit(s, &e) != 0)
        log_error("%s; the last events will come again", e.text);
    state_abandon(s->state);
    records_free(s);
}

static void close_all(struct supervisor *s)
{
    groups_free(s);
    child_free(s->ingest);
    child_free(s->admin);
    while (s->destinations) {
        struct sup_destination *d = s->destinations;

        s->destinations = d->next;
        free(d->spec);
        free(d->sources);
        free(d->problem);
        free(d);
    }
    letters_free(s);
    refused_free(s);
    replays_free(s);
    close_state(s);
    lanes_free(s);
    if (s->receipts_fd >= 0)
        close(s->receipts_fd);
    tokens_free(s);
    tracking_free(s);
    listen_close(s);
    versions_free(s);
    outcomes_free(s);
    store_free(s->store);
    unlinkat(s->data_fd, "run/addresses.json", 0);
    free(s->ingest_stats);
}

static void free_events(struct supervisor *s)
{
    for (size_t i = 0; i < COUNT_OF(s->signals); i++)
        if (s->signals[i])
            event_free(s->signals[i]);
    event_free(s->commit);
    event_free(s->stop_deadline);
    event_free(s->ingest_restart);
    event_free(s->admin_restart);
    event_free(s->watchdog);
    event_free(s->second_look);
}

/* Told like any other fault of the configuration. */
static int load_certificate(struct supervisor *s)
{
    struct faults *f = xcalloc(1, sizeof *f);
    struct certificate shown;
    struct buf b;
    int rc;

    faults_init(f);
    rc = certificate_load(s->config, &shown, f);
    buf_init(&b, 1u << 20);
    faults_write(f, &b);
    if (b.len)
        fwrite(b.data, 1, b.len, stderr);
    buf_deinit(&b);
    if (rc == 0) {
        shown.warned_ms = f->count ? clock_ms() : 0;
        certificate_use(s, &shown);
    }
    faults_deinit(f);
    free(f);
    return rc;
}

int supervisor_run(const char *config_path, struct config *config)
{
    static const struct rlimit no_core;
    struct supervisor *s = xcalloc(1, sizeof *s);
    struct err e;
    int code;

    log_role("manifold");
    log_level((enum log_level)config->log_level);
    setrlimit(RLIMIT_CORE, &no_core); /* secrets are in the memory */
    s->config_path = xstrdup(config_path);
    s->config = config;
    s->threads = (unsigned)config->ingest.threads;
    s->data_fd = s->journal_fd = s->head_fd = s->lock_fd = -1;
    s->ledger_fd = s->receipts_fd = -1;
    s->started_ms = clock_mono_ms();
    s->base = event_base_new();
    ASSERT(s->base);
    make_events(s);
    if (load_certificate(s) != 0) {
        s->exit_code = BAD_CONFIG;
    } else if (inherited_take(&s->inherited, &e) != 0 ||
               open_all(s, &e) != 0 || listen_update(s, config, &e) != 0) {
        log_error("%s", e.text);
        s->exit_code = 1;
    } else {
        inherited_warn(&s->inherited);
        start_admin(s);
        start_ingest(s);
        event_base_dispatch(s->base);
        log_info("stopped");
    }
    if (s->state)
        close_all(s);
    certificate_deinit(&s->certificate);
    free_events(s);
    event_base_free(s->base);
    config_free(s->config);
    free(s->config_path);
    code = s->exit_code;
    free(s);
    return code;
}
