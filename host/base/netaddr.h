/* SPDX-License-Identifier: Apache-2.0
 *
 * netaddr.h - addresses of hosts, and blocks of them in CIDR notation.
 *
 * One form for both families: IPv4 is IPv4 inside IPv6 (::ffff:a.b.c.d), as
 * the kernel gives it on a socket that takes both, so that one address never
 * has two values. Names are not looked up. */
#ifndef BASE_NETADDR_H
#define BASE_NETADDR_H

#include <manifold/types.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

#define NETADDR_TEXT INET6_ADDRSTRLEN

struct netaddr {
    unsigned char bytes[16];
};

struct netblock {
    struct netaddr first;
    unsigned bits; /* of the 128 that count */
};

/* "192.0.2.7" or "2001:db8::7" and nothing beside it. */
bool netaddr_parse(mf_str text, struct netaddr *out);
/* False for what is neither IPv4 nor IPv6. */
bool netaddr_of(const struct sockaddr_storage *ss, struct netaddr *out);
bool netaddr_is_v4(const struct netaddr *a);
void netaddr_text(const struct netaddr *a, char out[NETADDR_TEXT]);

/* "10.0.0.0/8", "2001:db8::/32", or an address, which is a block of one. Bits
 * behind the prefix must be 0: "10.0.0.1/8" is taken for a mistake. */
bool netblock_parse(mf_str text, struct netblock *out);
bool netblock_has(const struct netblock *b, const struct netaddr *a);

#endif
