/* SPDX-License-Identifier: Apache-2.0
 *
 * ipc.h - messages between the supervisor and its children, over a stream
 * socket pair on the event loop.
 *
 * A message is a header {u32 length, u32 type} and bytes; at most one file
 * descriptor rides along. Sending never blocks: what the socket does not take
 * waits in a buffer whose size the sender can ask for, to slow down at the
 * source. A message over IPC_MESSAGE_MAX or a full buffer is a bug of the
 * sender (ASSERT) or a broken peer (the channel closes). */
#ifndef IPC_IPC_H
#define IPC_IPC_H

#include <event2/event.h>
#include <manifold/types.h>
#include <stdbool.h>
#include <stdint.h>

#define IPC_MESSAGE_MAX (32u << 20)
#define IPC_BACKLOG_MAX (256u << 20)

struct ipc;

/* text is borrowed for the call; fd is owned by the receiver, -1 if none. */
typedef void ipc_message_fn(void *arg, uint32_t type, mf_str text, int fd);
typedef void ipc_close_fn(void *arg);

/* Takes the socket over and makes it non-blocking. closed is called once,
 * when the peer is gone; the channel may be freed from inside either. */
struct ipc *ipc_new(struct event_base *base, int fd, ipc_message_fn *message,
                    ipc_close_fn *closed, void *arg);
void ipc_free(struct ipc *c);
/* fd is duplicated; the caller keeps its own. -1 for none. */
void ipc_send(struct ipc *c, uint32_t type, const void *bytes, size_t len,
              int fd);
/* Reads no more, or reads again: the other side's messages wait with it. */
void ipc_hold(struct ipc *c, bool on);
size_t ipc_backlog(const struct ipc *c);
/* Blocks until all is written or the peer is gone: for last words. */
void ipc_flush(struct ipc *c);
/* Hands out everything that has arrived already, without waiting: the last
 * words of a peer that is gone. */
void ipc_drain(struct ipc *c);
/* A pair of connected close-on-exec sockets. */
int ipc_pair(int out[2]);

#endif
