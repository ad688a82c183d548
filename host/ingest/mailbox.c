/* SPDX-License-Identifier: Apache-2.0
 *
 * mailbox.c - see mailbox.h. */
#include "ingest/mailbox.h"

#include "base/mem.h"

#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

void mailbox_init(struct mailbox *m)
{
    pthread_mutex_init(&m->lock, NULL);
    m->first = NULL;
    m->end = &m->first;
    m->bytes = 0;
    m->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    ASSERT(m->wake_fd >= 0);
}

void mailbox_deinit(struct mailbox *m)
{
    struct mail *one, *next;

    for (one = mailbox_take(m); one; one = next) {
        next = one->next;
        if (one->fd >= 0)
            close(one->fd);
        free(one);
    }
    close(m->wake_fd);
    pthread_mutex_destroy(&m->lock);
}

void mailbox_wake(struct mailbox *m)
{
    uint64_t one = 1;

    if (write(m->wake_fd, &one, sizeof one) < 0)
        return; /* the counter is full, so its owner is awake */
}

void mailbox_post(struct mailbox *m, uint32_t type, const void *bytes,
                  size_t len, int fd)
{
    struct mail *one = xmalloc(sizeof *one + len);

    *one = (struct mail){ .type = type, .fd = fd, .len = len };
    if (len)
        memcpy(one->data, bytes, len);
    pthread_mutex_lock(&m->lock);
    m->bytes += len;
    ASSERT(m->bytes <= MAILBOX_BYTES_MAX);
    *m->end = one;
    m->end = &one->next;
    pthread_mutex_unlock(&m->lock);
    mailbox_wake(m);
}

struct mail *mailbox_take(struct mailbox *m)
{
    struct mail *all;
    uint64_t n;

    /* First, so that nothing posted from here on goes unseen. */
    if (read(m->wake_fd, &n, sizeof n) < 0)
        n = 0; /* nobody was woken: there may be mail all the same */
    pthread_mutex_lock(&m->lock);
    all = m->first;
    m->first = NULL;
    m->end = &m->first;
    m->bytes = 0;
    pthread_mutex_unlock(&m->lock);
    return all;
}

size_t mailbox_bytes(struct mailbox *m)
{
    size_t n;

    pthread_mutex_lock(&m->lock);
    n = m->bytes;
    pthread_mutex_unlock(&m->lock);
    return n;
}
