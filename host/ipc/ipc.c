/* SPDX-License-Identifier: Apache-2.0
 *
 * ipc.c - see ipc.h.
 *
 * Descriptors travel with the first byte of their message. Since a stream
 * may be cut anywhere, a sender never lets bytes of a message with a
 * descriptor go out behind others in one call: it starts a sendmsg() of its
 * own. The receiver queues descriptors in order of arrival and hands the next
 * one out with the next message whose header says that it carries one. */
#include "ipc/ipc.h"

#include "base/buf.h"
#include "base/log.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define IPC_READ 65536
#define IPC_FDS_MAX 64 /* received and not yet asked for, or yet to be sent */

struct header {
    uint32_t len;
    uint32_t type; /* top bit: a descriptor belongs to it */
};

#define HAS_FD 0x80000000u

struct outgoing_fd {
    uint64_t at; /* stream offset of its message's first byte */
    int fd;
};

struct ipc {
    struct event_base *base;
    struct event *readable, *writable;
    int fd;
    ipc_message_fn *message;
    ipc_close_fn *closed;
    void *arg;
    struct buf in, out;
    size_t out_sent;         /* bytes of out already written */
    uint64_t out_offset;     /* stream offset of out.data[0] */
    struct outgoing_fd to_send[IPC_FDS_MAX];
    size_t to_send_count;
    int received[IPC_FDS_MAX];
    size_t received_count;
    bool dead, writing, *freed;
};

static void shut(struct ipc *c)
{
    if (c->dead)
        return;
    c->dead = true;
    event_del(c->readable);
    if (c->writing)
        event_del(c->writable);
    c->closed(c->arg);
}

static int take_fd(struct ipc *c)
{
    int fd;

    if (c->received_count == 0)
        return -1;
    fd = c->received[0];
    c->received_count--;
    memmove(c->received, c->received + 1,
            c->received_count * sizeof *c->received);
    return fd;
}

/* Hands out every whole message. False if the channel is gone. */
static bool dispatch(struct ipc *c)
{
    size_t at = 0;
    bool freed = false;

    c->freed = &freed;
    while (c->in.len - at >= sizeof(struct header)) {
        struct header h;
        int fd = -1;

        memcpy(&h, c->in.data + at, sizeof h);
        if (h.len > IPC_MESSAGE_MAX) {
            log_error("a message of %u bytes came from a child; closing it",
                      h.len);
            c->freed = NULL;
            shut(c);
            return false;
        }
        if (c->in.len - at - sizeof h < h.len)
            break;
        if (h.type & HAS_FD)
            fd = take_fd(c);
        c->message(c->arg, h.type & ~HAS_FD,
                   (mf_str){ c->in.data + at + sizeof h, h.len }, fd);
        if (freed)
            return false;
        at += sizeof h + h.len;
        if (c->dead)
            break;
    }
    c->freed = NULL;
    buf_drop(&c->in, at);
    return !c->dead;
}

static void keep_fds(struct ipc *c, struct msghdr *m)
{
    for (struct cmsghdr *h = CMSG_FIRSTHDR(m); h; h = CMSG_NXTHDR(m, h)) {
        size_t n = (h->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        int fds[IPC_FDS_MAX];

        if (h->cmsg_level != SOL_SOCKET || h->cmsg_type != SCM_RIGHTS)
            continue;
        memcpy(fds, CMSG_DATA(h), n * sizeof(int));
        for (size_t i = 0; i < n; i++) {
            if (c->received_count < IPC_FDS_MAX)
                c->received[c->received_count++] = fds[i];
            else
                close(fds[i]);
        }
    }
}

/* One read and what it completes. False when there is nothing more now. */
static bool read_some(struct ipc *c)
{
    char control[CMSG_SPACE(sizeof(int) * IPC_FDS_MAX)];
    struct iovec v = { buf_room(&c->in, IPC_READ), IPC_READ };
    struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1,
                        .msg_control = control,
                        .msg_controllen = sizeof control };
    ssize_t n;

    ASSERT(v.iov_base);
    n = recvmsg(c->fd, &m, MSG_CMSG_CLOEXEC);
    if (n < 0 && errno == EINTR)
        return true;
    if (n < 0 && errno == EAGAIN)
        return false;
    if (n <= 0) {
        shut(c);
        return false;
    }
    keep_fds(c, &m);
    c->in.len += (size_t)n;
    return dispatch(c);
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    read_some(arg);
}

void ipc_drain(struct ipc *c)
{
    while (!c->dead && read_some(c))
        ;
}

/* Writes what may go in one piece: up to the next message with a descriptor,
 * or that descriptor with the first byte of its message. */
static ssize_t write_piece(struct ipc *c)
{
    char control[CMSG_SPACE(sizeof(int))] = { 0 };
    struct iovec v = { c->out.data + c->out_sent, c->out.len - c->out_sent };
    struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1 };
    uint64_t here = c->out_offset + c->out_sent;
    ssize_t n;

    if (c->to_send_count && c->to_send[0].at == here) {
        struct cmsghdr *h;

        m.msg_control = control;
        m.msg_controllen = sizeof control;
        h = CMSG_FIRSTHDR(&m);
        h->cmsg_level = SOL_SOCKET;
        h->cmsg_type = SCM_RIGHTS;
        h->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(h), &c->to_send[0].fd, sizeof(int));
        v.iov_len = 1;
    } else if (c->to_send_count && c->to_send[0].at - here < v.iov_len) {
        v.iov_len = c->to_send[0].at - here;
    }
    n = sendmsg(c->fd, &m, MSG_NOSIGNAL);
    if (n > 0 && m.msg_controllen) {
        close(c->to_send[0].fd);
        c->to_send_count--;
        memmove(c->to_send, c->to_send + 1,
                c->to_send_count * sizeof *c->to_send);
    }
    return n;
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
    struct ipc *c = arg;

    (void)fd;
    (void)what;
    while (c->out_sent < c->out.len) {
        ssize_t n = write_piece(c);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            break;
        if (n < 0) { /* the reader will see the end and say so */
            c->out_sent = c->out.len;
            break;
        }
        c->out_sent += (size_t)n;
    }
    if (c->out_sent == c->out.len) {
        c->out_offset += c->out.len;
        c->out_sent = 0;
        buf_clear(&c->out);
        if (c->writing) {
            event_del(c->writable);
            c->writing = false;
        }
    } else if (!c->writing) {
        event_add(c->writable, NULL);
        c->writing = true;
    }
}

struct ipc *ipc_new(struct event_base *base, int fd, ipc_message_fn *message,
                    ipc_close_fn *closed, void *arg)
{
    struct ipc *c = xcalloc(1, sizeof *c);

    c->base = base;
    c->fd = fd;
    c->message = message;
    c->closed = closed;
    c->arg = arg;
    buf_init(&c->in, IPC_MESSAGE_MAX + IPC_READ + sizeof(struct header));
    buf_init(&c->out, IPC_BACKLOG_MAX);
    evutil_make_socket_nonblocking(fd);
    c->readable = event_new(base, fd, EV_READ | EV_PERSIST, on_readable, c);
    c->writable = event_new(base, fd, EV_WRITE | EV_PERSIST, on_writable, c);
    ASSERT(c->readable && c->writable);
    event_add(c->readable, NULL);
    return c;
}

void ipc_free(struct ipc *c)
{
    if (!c)
        return;
    if (c->freed)
        *c->freed = true;
    event_free(c->readable);
    event_free(c->writable);
    for (size_t i = 0; i < c->received_count; i++)
        close(c->received[i]);
    for (size_t i = 0; i < c->to_send_count; i++)
        close(c->to_send[i].fd);
    buf_deinit(&c->in);
    buf_deinit(&c->out);
    close(c->fd);
    free(c);
}

void ipc_send(struct ipc *c, uint32_t type, const void *bytes, size_t len,
              int fd)
{
    struct header h = { (uint32_t)len, type };

    ASSERT(len <= IPC_MESSAGE_MAX && !(type & HAS_FD));
    if (c->dead)
        return;
    if (fd >= 0) {
        ASSERT(c->to_send_count < IPC_FDS_MAX);
        h.type |= HAS_FD;
        c->to_send[c->to_send_count].at = c->out_offset + c->out.len;
        c->to_send[c->to_send_count].fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
        ASSERT(c->to_send[c->to_send_count].fd >= 0);
        c->to_send_count++;
    }
    buf_add(&c->out, &h, sizeof h);
    buf_add(&c->out, bytes, len);
    ASSERT(!c->out.full);
    if (!c->writing)
        on_writable(c->fd, 0, c);
}

void ipc_hold(struct ipc *c, bool on)
{
    if (c->dead)
        return;
    if (on)
        event_del(c->readable);
    else
        event_add(c->readable, NULL);
}

size_t ipc_backlog(const struct ipc *c)
{
    return c->out.len - c->out_sent;
}

void ipc_flush(struct ipc *c)
{
    while (!c->dead && ipc_backlog(c)) {
        struct pollfd p = { c->fd, POLLOUT, 0 };

        if (poll(&p, 1, 1000) < 0 && errno != EINTR)
            return;
        if (p.revents & (POLLERR | POLLHUP))
            return;
        on_writable(c->fd, 0, c);
    }
}

int ipc_pair(int out[2])
{
    return socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, out);
}
