/* SPDX-License-Identifier: Apache-2.0
 *
 * resolve.c - the addresses of a server, within the deadline.
 *
 * libpq asks the system's resolver itself, and would not come back while that
 * waits for a name server that is gone: the host takes a plugin that is late
 * for one that hangs. So a thread asks, at most one at a time; one that is late
 * is waited for again at the next try. */
#include "warehouse.h"

#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define ADDRESSES_MAX 8

struct lookup {
    char name[NI_MAXHOST];
    int ends[2]; /* of a pipe; the thread closes the second when it is done */
    pthread_t thread;
    struct addrinfo *found;
    int failure;
};

static void *look_up(void *arg)
{
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM };
    struct lookup *l = arg;

    l->failure = getaddrinfo(l->name, NULL, &hints, &l->found);
    close(l->ends[1]);
    return NULL;
}

static struct lookup *begin(const char *name)
{
    struct lookup *l = calloc(1, sizeof *l);

    if (!l || pipe(l->ends) != 0) {
        free(l);
        return NULL;
    }
    snprintf(l->name, sizeof l->name, "%s", name);
    if (pthread_create(&l->thread, NULL, look_up, l) == 0)
        return l;
    close(l->ends[0]);
    close(l->ends[1]);
    free(l);
    return NULL;
}

static void end(struct lookup *l)
{
    pthread_join(l->thread, NULL);
    close(l->ends[0]);
    if (l->found)
        freeaddrinfo(l->found);
    free(l);
}

/* "host,host" and "address,address": as many as there are. */
static void put_found(const struct lookup *l, struct out *hosts,
                      struct out *addresses)
{
    char text[NI_MAXHOST];
    unsigned n = 0;

    for (struct addrinfo *a = l->found; a && n < ADDRESSES_MAX;
         a = a->ai_next) {
        if (getnameinfo(a->ai_addr, a->ai_addrlen, text, sizeof text, NULL, 0,
                        NI_NUMERICHOST) != 0)
            continue;
        out_text(hosts, n ? "," : "");
        out_text(hosts, l->name);
        out_text(addresses, n++ ? "," : "");
        out_text(addresses, text);
    }
}

const char *resolve(struct lookup **pending, const char *host,
                    int64_t wait_ms, struct out *hosts, struct out *addresses)
{
    struct lookup *l = *pending ? *pending : begin(host);
    const char *why = NULL;
    struct pollfd p;

    *pending = l;
    if (!l)
        return "no thread can be made that looks up the host";
    p = (struct pollfd){ l->ends[0], POLLIN, 0 };
    if (poll(&p, 1, wait_ms < 3600000 ? (int)wait_ms : 3600000) <= 0)
        return "the resolver does not answer";
    if (l->failure)
        why = gai_strerror(l->failure);
    else
        put_found(l, hosts, addresses);
    *pending = NULL;
    end(l);
    return why ? why : addresses->len ? NULL : "the host has no address";
}
