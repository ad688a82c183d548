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
 * of a worker.
 *
 * What destinations share is dealt out: each has a number of requests that it
 * may always have under way, and a limit on the answers it can make us hold,
 * so that one that hangs, or floods, leaves the others theirs. */
#ifndef DELIVERY_TRANSPORT_H
#define DELIVERY_TRANSPORT_H

#include "plugin/instance.h"

#include <event2/event.h>
#include <stdbool.h>

#define ANSWER_BYTES_MAX   (4u << 20)
#define ANSWER_HEADERS_MAX 100
#define IN_FLIGHT_MAX      1280 /* requests: a socket each, and two more
                                   descriptors while a name is resolved */
#define ANSWERS_HELD_MAX   (32u << 20) /* bytes of a destination at a time */

struct transport;

typedef void transport_fn(void *arg, uint32_t id, const struct call_answer *a,
                          const char *error, int64_t took_ns);

/* What a destination has under way. */
struct transport_account {
    unsigned in_flight;
    size_t held; /* bytes of answers */
};

struct transport_options {
    int64_t timeout_ms; /* of a whole request that names none */
    int64_t connect_ms; /* of it, until there is a connection; 0: no limit */
    int64_t first_byte_ms; /* until the answer begins; 0: no limit */
    bool allow_private;
    struct transport_account *account; /* NULL: not counted */
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
/* Among how many destinations IN_FLIGHT_MAX is dealt out: half of it to all in
 * equal parts, half to whoever comes. */
void transport_share(struct transport *t, unsigned destinations);
bool transport_room(const struct transport *t,
                    const struct transport_account *a);
/* Requests that wait for their time go at once, and later ones do not wait. */
void transport_hurry(struct transport *t);

#endif
