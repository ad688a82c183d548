/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy.h - the header by which a proxy says whose connection it passes on:
 * PROXY protocol, version 1 (a line) and 2 (binary).
 *
 * Pure: no allocation, no descriptors. Read strictly, since it stands before
 * everything else and decides who a client is. */
#ifndef HTTP_PROXY_H
#define HTTP_PROXY_H

#include "base/netaddr.h"

#include <stdint.h>

#define PROXY_HEADER_MAX 4096 /* bytes; version 2 allows 65551 */

struct proxy_header {
    bool known; /* else the connection is the proxy's own, or not of IP */
    struct netaddr client;
    const char *fault; /* what is wrong, a literal */
};

/* Bytes of the header at the front of data, 0 when it is not whole, or -1
 * with h->fault. A header over PROXY_HEADER_MAX is a fault. */
int proxy_header_read(const char *data, size_t len, struct proxy_header *h);

#endif
