/* SPDX-License-Identifier: Apache-2.0
 *
 * siphash.c - see siphash.h. */
#include "base/siphash.h"

#include "base/bytes.h"

#include <stdint.h>
#include <string.h>

struct sip {
    uint64_t a, b, c, d;
};

static uint64_t left(uint64_t x, int by)
{
    return x << by | x >> (64 - by);
}

static void round_of(struct sip *s)
{
    s->a += s->b;
    s->b = left(s->b, 13) ^ s->a;
    s->a = left(s->a, 32);
    s->c += s->d;
    s->d = left(s->d, 16) ^ s->c;
    s->a += s->d;
    s->d = left(s->d, 21) ^ s->a;
    s->c += s->b;
    s->b = left(s->b, 17) ^ s->c;
    s->c = left(s->c, 32);
}

static void mix(struct sip *s, uint64_t m)
{
    s->d ^= m;
    round_of(s);
    round_of(s);
    s->a ^= m;
}

static uint64_t finish(struct sip *s)
{
    for (int i = 0; i < 4; i++)
        round_of(s);
    return s->a ^ s->b ^ s->c ^ s->d;
}

void siphash128(const unsigned char key[16], const void *bytes, size_t n,
                unsigned char out[16])
{
    uint64_t k0 = get64(key), k1 = get64(key + 8);
    struct sip s = { k0 ^ 0x736f6d6570736575u, k1 ^ 0x646f72616e646f83u,
                     k0 ^ 0x6c7967656e657261u, k1 ^ 0x7465646279746573u };
    const unsigned char *p = bytes;
    unsigned char rest[8] = { 0 };
    size_t left_over = n % 8;

    for (size_t k = n / 8; k; k--, p += 8)
        mix(&s, get64(p));
    if (left_over)
        memcpy(rest, p, left_over);
    rest[7] = (unsigned char)n;
    mix(&s, get64(rest));
    s.c ^= 0xee;
    put64(out, finish(&s));
    s.b ^= 0xdd;
    put64(out + 8, finish(&s));
}
