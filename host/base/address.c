/* SPDX-License-Identifier: Apache-2.0
 *
 * address.c - see address.h. */
#include "base/address.h"

#include "base/mem.h"

#include <netinet/in.h>
#include <stdint.h>
#include <string.h>

static bool private_v4(uint32_t a) /* host order */
{
    static const struct {
        uint32_t net;
        int bits;
    } rows[] = {
        { 0x00000000, 8 },  /* this network */
        { 0x0A000000, 8 },  /* RFC 1918 */
        { 0x64400000, 10 }, /* RFC 6598, carrier-grade NAT */
        { 0x7F000000, 8 },  /* loopback */
        { 0xA9FE0000, 16 }, /* link local, cloud metadata */
        { 0xAC100000, 12 }, /* RFC 1918 */
        { 0xC0000000, 24 }, /* IETF assignments */
        { 0xC0A80000, 16 }, /* RFC 1918 */
        { 0xC6120000, 15 }, /* benchmarks */
        { 0xE0000000, 3 },  /* multicast and reserved */
    };

    for (size_t i = 0; i < COUNT_OF(rows); i++)
        if ((a ^ rows[i].net) >> (32 - rows[i].bits) == 0)
            return true;
    return false;
}

bool address_is_private(const struct sockaddr *a)
{
    const unsigned char *b;
    uint32_t v4;

    if (a->sa_family == AF_INET)
        return private_v4(
            ntohl(((const struct sockaddr_in *)(const void *)a)
                      ->sin_addr.s_addr));
    if (a->sa_family != AF_INET6)
        return true;
    b = ((const struct sockaddr_in6 *)(const void *)a)->sin6_addr.s6_addr;
    memcpy(&v4, b + 12, 4);
    if (memcmp(b, "\0\0\0\0\0\0\0\0\0\0\xff\xff", 12) == 0 ||
        memcmp(b, "\0\x64\xff\x9b\0\0\0\0\0\0\0\0", 12) == 0) /* NAT64 */
        return private_v4(ntohl(v4));
    if (b[0] == 0x20 && b[1] == 0x02) { /* 6to4 */
        memcpy(&v4, b + 2, 4);
        return private_v4(ntohl(v4));
    }
    return (b[0] & 0xE0) != 0x20; /* all but global unicast 2000::/3 */
}
