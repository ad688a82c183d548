/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy.c - see proxy.h.
 *
 * Version 2: 12 bytes of signature; version and command; family and transport;
 * u16 length of what follows; source and destination, then TLVs {type, u16
 * length, value}. Numbers are big-endian. */
#include "http/proxy.h"

#include "base/crc32c.h"
#include "base/text.h"

#include <string.h>

#define LINE_MAX_V1  107 /* CRLF included, as the protocol says */
#define HEAD_V2      16
#define TLV_HEAD     3
#define TLV_CRC32C   0x03
#define ADDRESSES_V4 12 /* two addresses and two ports */
#define ADDRESSES_V6 36

static const char signature[12] = "\r\n\r\n\0\r\nQUIT\n";
static const char no_proxy[] = "it does not begin with a PROXY header";

static int fault(struct proxy_header *h, const char *what)
{
    h->fault = what;
    return -1;
}

/* ---- version 1 ---- */

/* The next word of a line and the one space behind it; ptr NULL if there is
 * none. */
static mf_str word(mf_str *line)
{
    const char *space = line->len ? memchr(line->ptr, ' ', line->len) : NULL;
    mf_str w = *line;

    if (space)
        w.len = (size_t)(space - line->ptr);
    if (w.len == 0)
        return (mf_str){ NULL, 0 };
    line->ptr += w.len + (space != NULL);
    line->len -= w.len + (space != NULL);
    return w;
}

static bool is_port(mf_str s)
{
    uint64_t n;

    return s.ptr && parse_u64(s, &n) && n <= 65535 &&
           (s.len == 1 || *s.ptr != '0');
}

static bool is_address(mf_str s, bool v4, struct netaddr *a)
{
    bool colon = s.len && memchr(s.ptr, ':', s.len);

    return s.ptr && colon == !v4 && netaddr_parse(s, a);
}

/* PROXY TCP4 192.0.2.7 198.51.100.1 56324 443 */
static int read_line(mf_str line, struct proxy_header *h)
{
    struct netaddr to;
    mf_str family;
    bool v4;

    word(&line);
    family = word(&line);
    if (family.ptr && mf_eq(family, MF_STR("UNKNOWN")))
        return 0; /* what else stands there does not count */
    v4 = family.ptr && mf_eq(family, MF_STR("TCP4"));
    if (!v4 && !(family.ptr && mf_eq(family, MF_STR("TCP6"))))
        return fault(h, "its family is not TCP4, TCP6 or UNKNOWN");
    if (!is_address(word(&line), v4, &h->client) ||
        !is_address(word(&line), v4, &to))
        return fault(h, "an address in it is malformed");
    if (!is_port(word(&line)) || line.len == 0 || !is_port(line))
        return fault(h, "a port in it is malformed");
    h->known = true;
    return 0;
}

static int read_v1(const char *data, size_t len, struct proxy_header *h)
{
    const char *lf = memchr(data, '\n', len);
    size_t n = lf ? (size_t)(lf - data) + 1 : len;

    if (n > LINE_MAX_V1 || (!lf && n == LINE_MAX_V1))
        return fault(h, "its line is longer than 107 bytes");
    if (!lf)
        return 0;
    if (lf == data || lf[-1] != '\r' || memchr(data, 0, n))
        return fault(h, "its line is malformed");
    return read_line((mf_str){ data, n - 2 }, h) == 0 ? (int)n : -1;
}

/* ---- version 2 ---- */

static unsigned u16_at(const unsigned char *p)
{
    return (unsigned)p[0] << 8 | p[1];
}

/* The checksum is over the whole header with its own four bytes as zeros. */
static bool sum_holds(const unsigned char *head, size_t n, size_t at)
{
    static const unsigned char zeros[4];
    const unsigned char *p = head + at;
    uint32_t told = (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 |
                    (uint32_t)p[2] << 8 | p[3];
    uint32_t sum = crc32c(0, head, at);

    sum = crc32c(sum, zeros, sizeof zeros);
    return crc32c(sum, head + at + 4, n - at - 4) == told;
}

static int check_tlvs(const unsigned char *head, size_t n, size_t at,
                      struct proxy_header *h)
{
    while (at < n) {
        size_t length;

        if (n - at < TLV_HEAD)
            return fault(h, "a TLV in it is cut off");
        length = u16_at(head + at + 1);
        if (n - at - TLV_HEAD < length)
            return fault(h, "a TLV in it is cut off");
        if (head[at] == TLV_CRC32C &&
            (length != 4 || !sum_holds(head, n, at + TLV_HEAD)))
            return fault(h, "its checksum does not hold");
        at += TLV_HEAD + length;
    }
    return 0;
}

/* An address of 4 or 16 bytes, as the kernel would give it. */
static void take_client(struct proxy_header *h, const unsigned char *p,
                        bool v4)
{
    memset(&h->client, 0, sizeof h->client);
    if (v4)
        memset(h->client.bytes + 10, 0xff, 2);
    memcpy(h->client.bytes + (v4 ? 12 : 0), p, v4 ? 4 : 16);
    h->known = true;
}

static int read_body_v2(const unsigned char *p, size_t n,
                        struct proxy_header *h)
{
    bool local = p[12] == 0x20, v4 = p[13] == 0x11, v6 = p[13] == 0x21;
    size_t addresses = v4 ? ADDRESSES_V4 : v6 ? ADDRESSES_V6 : 0;

    if (local)
        return 0; /* the proxy's own: all else in it is to be ignored */
    if (p[12] != 0x21)
        return fault(h, "its version or command is not known");
    if (p[13] == 0x00)
        return 0; /* of no family: likewise */
    if (!addresses)
        return fault(h, "it is not of TCP over IPv4 or IPv6");
    if (n < HEAD_V2 + addresses)
        return fault(h, "its addresses are cut off");
    if (check_tlvs(p, n, HEAD_V2 + addresses, h) != 0)
        return -1;
    take_client(h, p + HEAD_V2, v4);
    return 0;
}

static int read_v2(const char *data, size_t len, struct proxy_header *h)
{
    const unsigned char *p = (const unsigned char *)data;
    size_t n;

    if (len < HEAD_V2)
        return 0;
    n = HEAD_V2 + u16_at(p + 14);
    if (n > PROXY_HEADER_MAX)
        return fault(h, "it is longer than 4096 bytes");
    if (len < n)
        return 0;
    return read_body_v2(p, n, h) == 0 ? (int)n : -1;
}

static bool begins(const char *data, size_t len, const char *with, size_t n)
{
    return memcmp(data, with, len < n ? len : n) == 0;
}

int proxy_header_read(const char *data, size_t len, struct proxy_header *h)
{
    static const char first[6] = "PROXY ";

    memset(h, 0, sizeof *h);
    if (begins(data, len, signature, sizeof signature))
        return len < sizeof signature ? 0 : read_v2(data, len, h);
    if (begins(data, len, first, sizeof first))
        return len < sizeof first ? 0 : read_v1(data, len, h);
    return fault(h, no_proxy);
}
