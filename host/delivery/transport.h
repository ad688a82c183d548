/* SPDX-License-Identifier: Apache-2.0
 *
 * transport.h - requests out, answers back: the one door to the network that
 * a worker has. libcurl stands behind it; another client could.
 *
 * What it refuses: schemes other than http and https, redirects (an answer of
 * 3xx is an answer), answers longer than ANSWER_BYTES_MAX (cut, and said so),
 * and private or loopback addresses unless the destination allows them. The
 * address is checked when the socket is made, after the name was resolved, and
 * once more before each request: connections are shared by the destinations
 * of a worker. */
#ifndef DELIVERY_TRANSPORT_H
#define DELIVERY_TRANSPORT_H

#include "plugin/instance.h"

#include <event2/event.h>
#include <stdbool.h>
#include <sys/socket.h>

#define ANSWER_BYTES_MAX   (4u << 20)
#define ANSWER_HEADERS_MAX 100
#define CONNECT_TIMEOUT_MS 5000

struct transport;

typedef void transport_fn(void *arg, uint32_t id, const struct call_answer *a,
                          const char *error, int64_t took_ns);

struct transport_options {
    int64_t timeout_ms; /* of a whole request that names none */
    bool allow_private;
};

struct transport *transport_new(struct event_base *base);
void transport_free(struct transport *t); /* drops what is in flight */
/* r and its bytes are borrowed until done is called; o too. done gets the
 * request's own id, the answer (status 0 if none came) and, where there was
 * none, a sentence about why. */
void transport_send(struct transport *t, const struct call_request *r,
                    const struct transport_options *o, transport_fn *done,
                    void *arg);
/* The same, but it is over when this returns. For native plugins, which block
 * their worker anyway; what is under way besides waits as well. */
void transport_wait(struct transport *t, const struct call_request *r,
                    const struct transport_options *o, transport_fn *done,
                    void *arg);
unsigned transport_in_flight(const struct transport *t);
/* Requests that wait for their time go at once, and later ones do not wait. */
void transport_hurry(struct transport *t);

/* Loopback, private, link-local, unspecified, multicast and the like, in
 * either family, v4 mapped into v6 included. */
bool address_is_private(const struct sockaddr *a);

#endif
