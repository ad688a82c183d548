/* SPDX-License-Identifier: Apache-2.0
 *
 * mailbox.h - messages from any thread to the one that turns a loop.
 *
 * Types are those of proto.h where the message is the supervisor's or for it,
 * and those below between the loops and the one that has them. */
#ifndef INGEST_MAILBOX_H
#define INGEST_MAILBOX_H

#include <manifold/types.h>
#include <pthread.h>
#include <stdint.h>

#define MAILBOX_BYTES_MAX (256u << 20) /* more is a bug: see ipc.h */

enum mail_type {
    MAIL_KEYS = 1000, /* struct keys, owned: how it is configured now */
    MAIL_TRUST,       /* struct edge_trust */
    MAIL_LISTEN_TLS,  /* as MSG_LISTEN; TLS is spoken there */
    MAIL_TLS,         /* struct http_tls *, owned; NULL: none */
    MAIL_STOP,        /* the loop ends */
    MAIL_DRAINED,     /* from a loop: it has answered everybody */
    MAIL_TOOK         /* from a loop: what MAIL_KEYS said counts */
};

struct mail {
    struct mail *next;
    uint32_t type;
    int fd; /* owned, -1: none */
    size_t len;
    char data[];
};

struct mailbox {
    pthread_mutex_t lock;
    struct mail *first, **end; /* under lock */
    size_t bytes;              /* the same */
    int wake_fd;               /* an eventfd, to be read by the owner */
};

void mailbox_init(struct mailbox *m);
/* Drops what was not taken, but for what a message points to. */
void mailbox_deinit(struct mailbox *m);
void mailbox_wake(struct mailbox *m);
/* fd is the mail's from now on. */
void mailbox_post(struct mailbox *m, uint32_t type, const void *bytes,
                  size_t len, int fd);
/* All there is, oldest first; free() each. Clears wake_fd. */
struct mail *mailbox_take(struct mailbox *m);
size_t mailbox_bytes(struct mailbox *m);

static inline mf_str mail_text(const struct mail *m)
{
    return (mf_str){ m->data, m->len };
}

#endif
