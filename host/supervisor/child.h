/* SPDX-License-Identifier: Apache-2.0
 *
 * child.h - one child process: started from this same binary, spoken to over
 * a channel, waited for by pidfd.
 *
 * posix_spawn, never fork: a copy of the supervisor's memory would hand every
 * child every secret. A child finds its descriptors by number (proto.h) and
 * all others closed; its standard error stays the supervisor's. */
#ifndef SUPERVISOR_CHILD_H
#define SUPERVISOR_CHILD_H

#include "base/err.h"
#include "ipc/ipc.h"
#include "ipc/proto.h"

#include <event2/event.h>
#include <stdbool.h>
#include <sys/types.h>

struct child;

struct child_spec {
    const char *role; /* "ingest", "admin", "worker" */
    const char *name; /* shown in logs and process lists */
    uid_t uid;        /* to be taken on by the child itself */
    gid_t gid;
    int fds[CHILD_FDS_END]; /* by number; -1: none. [0..3] are not looked at */
};

struct child_events {
    ipc_message_fn *message;
    /* status as waitpid gives it. The child is freed after the call. */
    void (*ended)(void *arg, int status);
    void *arg;
};

/* fds stay the caller's. NULL if the process cannot be started. */
struct child *child_start(struct event_base *base, const struct child_spec *s,
                          const struct child_events *events, struct err *e);
void child_send(struct child *c, enum message type, const void *bytes,
                size_t len, int fd);
/* Takes no more of its messages, or takes them again. */
void child_hold(struct child *c, bool on);
void child_kill(struct child *c, int signal);
pid_t child_pid(const struct child *c);
/* Kills and waits; no `ended`. */
void child_free(struct child *c);
/* "exit 64", "signal 11 (Segmentation fault)" */
void child_status_text(int status, char *out, size_t size);

/* 0.1 s doubled by each failure, to 60 s; back to 0.1 s after ten minutes of
 * life. */
struct restarts {
    unsigned failures;
    int64_t started_ms; /* monotonic */
    uint64_t total;
};
int64_t restarts_next_ms(struct restarts *r); /* how long to wait now */

#endif
