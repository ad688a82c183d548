/* SPDX-License-Identifier: Apache-2.0
 *
 * child.c - see child.h. */
#include "supervisor/child.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/text.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#define RESTART_FIRST_MS 100
#define RESTART_LAST_MS  60000
#define RESTART_FORGET_MS 600000

extern char **environ;

struct child {
    pid_t pid;
    int pidfd;
    struct event *exited;
    struct ipc *ipc;
    struct child_events events;
    bool in_ended;
};

static void on_message(void *arg, uint32_t type, mf_str text, int fd)
{
    struct child *c = arg;

    c->events.message(c->events.arg, type, text, fd);
}

/* The channel ends a little before the process does; pidfd tells the end. */
static void on_close(void *arg)
{
    (void)arg;
}

static void release(struct child *c)
{
    ipc_free(c->ipc);
    event_free(c->exited);
    close(c->pidfd);
    free(c);
}

static void on_exit_of(evutil_socket_t fd, short what, void *arg)
{
    struct child *c = arg;
    int status = 0;

    (void)fd;
    (void)what;
    if (waitpid(c->pid, &status, WNOHANG) != c->pid)
        return;
    ipc_drain(c->ipc);
    c->events.ended(c->events.arg, status);
    release(c);
}

/* What the kernel may show of the child: no secrets stand in it. */
static char *const *clean_environment(void)
{
    static const char *const kept[] = { "PATH=",         "LANG=",
                                        "TZ=",           "SSL_CERT_FILE=",
                                        "SSL_CERT_DIR=", "ASAN_OPTIONS=",
                                        "UBSAN_OPTIONS=", "TSAN_OPTIONS=",
                                        "LSAN_OPTIONS=", "LD_PRELOAD=",
                                        "MANIFOLD_FAULTS=",
                                        "MANIFOLD_FAULTS_TRACE=" };
    static char *out[COUNT_OF(kept) + 1];
    size_t n = 0;

    for (char **v = environ; *v && n < COUNT_OF(kept); v++)
        for (size_t i = 0; i < COUNT_OF(kept); i++)
            if (strncmp(*v, kept[i], strlen(kept[i])) == 0) {
                out[n++] = *v;
                break;
            }
    out[n] = NULL;
    return out;
}

static int spawn(const struct child_spec *s, int control, pid_t *pid,
                 struct err *e)
{
    char user[32], group[32], parent[32];
    const char *argv[] = { "manifold", "role", s->role, s->name, user, group,
                           parent, NULL };
    int moved[CHILD_FDS_END], rc;
    posix_spawn_file_actions_t a;
    posix_spawnattr_t attr;
    sigset_t none, all;

    snprintf(user, sizeof user, "%u", (unsigned)s->uid);
    snprintf(group, sizeof group, "%u", (unsigned)s->gid);
    snprintf(parent, sizeof parent, "%d", (int)getpid());
    posix_spawn_file_actions_init(&a);
    posix_spawnattr_init(&attr);
    /* First out of the way of the target numbers, then into place. */
    for (int i = CHILD_CONTROL_FD; i < CHILD_FDS_END; i++) {
        int from = i == CHILD_CONTROL_FD ? control : s->fds[i];

        moved[i] = from < 0 ? -1 : fcntl(from, F_DUPFD_CLOEXEC,
                                         CHILD_FDS_END);
        if (moved[i] >= 0)
            posix_spawn_file_actions_adddup2(&a, moved[i], i);
    }
    posix_spawn_file_actions_addclosefrom_np(&a, CHILD_FDS_END);
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawnattr_setsigmask(&attr, &none);
    posix_spawnattr_setsigdefault(&attr, &all);
    posix_spawnattr_setpgroup(&attr, 0);
    posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK |
                                        POSIX_SPAWN_SETSIGDEF |
                                        POSIX_SPAWN_SETPGROUP);
    rc = posix_spawn(pid, "/proc/self/exe", &a, &attr,
                     (char *const *)(uintptr_t)argv, clean_environment());
    for (int i = CHILD_CONTROL_FD; i < CHILD_FDS_END; i++)
        if (moved[i] >= 0)
            close(moved[i]);
    posix_spawn_file_actions_destroy(&a);
    posix_spawnattr_destroy(&attr);
    if (rc != 0) {
        errno = rc;
        return err_sys(e, "%s %s cannot be started", s->role, s->name);
    }
    return 0;
}

struct child *child_start(struct event_base *base, const struct child_spec *s,
                          const struct child_events *events, struct err *e)
{
    struct child *c;
    int pair[2];
    pid_t pid;

    if (ipc_pair(pair) != 0) {
        err_sys(e, "no channel to %s can be made", s->name);
        return NULL;
    }
    if (spawn(s, pair[1], &pid, e) != 0) {
        close(pair[0]);
        close(pair[1]);
        return NULL;
    }
    close(pair[1]);
    c = xcalloc(1, sizeof *c);
    c->pid = pid;
    c->events = *events;
    c->pidfd = pidfd_open(pid, 0);
    ASSERT(c->pidfd >= 0);
    fcntl(c->pidfd, F_SETFD, FD_CLOEXEC);
    c->exited = event_new(base, c->pidfd, EV_READ | EV_PERSIST, on_exit_of, c);
    event_add(c->exited, NULL);
    c->ipc = ipc_new(base, pair[0], on_message, on_close, c);
    return c;
}

void child_send(struct child *c, enum message type, const void *bytes,
                size_t len, int fd)
{
    ipc_send(c->ipc, type, bytes, len, fd);
}

void child_hold(struct child *c, bool on)
{
    ipc_hold(c->ipc, on);
}

void child_kill(struct child *c, int signal)
{
    pidfd_send_signal(c->pidfd, signal, NULL, 0);
}

pid_t child_pid(const struct child *c)
{
    return c->pid;
}

void child_free(struct child *c)
{
    int status;

    if (!c)
        return;
    child_kill(c, SIGKILL);
    while (waitpid(c->pid, &status, 0) < 0 && errno == EINTR)
        ;
    release(c);
}

void child_status_text(int status, char *out, size_t size)
{
    if (WIFSIGNALED(status))
        snprintf(out, size, "signal %d (%s)", WTERMSIG(status),
                 strsignal(WTERMSIG(status)));
    else
        snprintf(out, size, "exit %d", WEXITSTATUS(status));
}

int64_t restarts_next_ms(struct restarts *r)
{
    int64_t wait = RESTART_FIRST_MS;

    if (clock_mono_ms() - r->started_ms > RESTART_FORGET_MS)
        r->failures = 0;
    for (unsigned i = 0; i < r->failures && wait < RESTART_LAST_MS; i++)
        wait *= 2;
    r->failures++;
    r->total++;
    return wait < RESTART_LAST_MS ? wait : RESTART_LAST_MS;
}
