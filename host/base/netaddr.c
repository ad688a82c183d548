/* SPDX-License-Identifier: Apache-2.0
 *
 * netaddr.c - see netaddr.h. */
#include "base/netaddr.h"

#include "base/text.h"

#include <arpa/inet.h>
#include <string.h>

#define V4_BITS 96 /* before the four bytes of IPv4 */

static const unsigned char mapped[12] = { [10] = 0xff, [11] = 0xff };

static void put_v4(struct netaddr *to, const void *four)
{
    memcpy(to->bytes, mapped, sizeof mapped);
    memcpy(to->bytes + sizeof mapped, four, 4);
}

bool netaddr_parse(mf_str text, struct netaddr *out)
{
    char copy[NETADDR_TEXT];
    unsigned char four[4];

    if (text.len == 0 || text.len >= sizeof copy ||
        memchr(text.ptr, 0, text.len))
        return false;
    memcpy(copy, text.ptr, text.len);
    copy[text.len] = 0;
    if (inet_pton(AF_INET, copy, four) == 1) {
        put_v4(out, four);
        return true;
    }
    return inet_pton(AF_INET6, copy, out->bytes) == 1;
}

bool netaddr_of(const struct sockaddr_storage *ss, struct netaddr *out)
{
    const struct sockaddr_in *v4 = (const void *)ss;
    const struct sockaddr_in6 *v6 = (const void *)ss;

    if (ss->ss_family == AF_INET)
        put_v4(out, &v4->sin_addr);
    else if (ss->ss_family == AF_INET6)
        memcpy(out->bytes, &v6->sin6_addr, sizeof out->bytes);
    else
        return false;
    return true;
}

bool netaddr_is_v4(const struct netaddr *a)
{
    return memcmp(a->bytes, mapped, sizeof mapped) == 0;
}

void netaddr_text(const struct netaddr *a, char out[NETADDR_TEXT])
{
    bool v4 = netaddr_is_v4(a);

    inet_ntop(v4 ? AF_INET : AF_INET6,
              v4 ? a->bytes + sizeof mapped : a->bytes, out, NETADDR_TEXT);
}

/* Whether all bits from `from` on are 0. */
static bool is_zero_from(const struct netaddr *a, unsigned from)
{
    for (unsigned i = from; i < 128; i++)
        if (a->bytes[i / 8] & 0x80 >> i % 8)
            return false;
    return true;
}

bool netblock_parse(mf_str text, struct netblock *out)
{
    const char *slash = text.len ? memchr(text.ptr, '/', text.len) : NULL;
    mf_str address = text;
    uint64_t bits;

    if (slash)
        address.len = (size_t)(slash - text.ptr);
    if (!netaddr_parse(address, &out->first))
        return false;
    out->bits = 128;
    if (!slash)
        return true;
    if (!parse_u64((mf_str){ slash + 1, text.len - address.len - 1 }, &bits) ||
        bits > 128)
        return false;
    if (!memchr(address.ptr, ':', address.len))
        bits += V4_BITS;
    out->bits = (unsigned)bits;
    return bits <= 128 && is_zero_from(&out->first, out->bits);
}

bool netblock_has(const struct netblock *b, const struct netaddr *a)
{
    unsigned whole = b->bits / 8, rest = b->bits % 8;

    if (memcmp(a->bytes, b->first.bytes, whole) != 0)
        return false;
    return rest == 0 ||
           (a->bytes[whole] ^ b->first.bytes[whole]) >> (8 - rest) == 0;
}
