/* SPDX-License-Identifier: Apache-2.0
 *
 * crc32c.c - see crc32c.h.
 *
 * The instruction has a latency of three cycles and a throughput of one, so
 * three stretches of LANE bytes are summed side by side and joined: the sum
 * of a followed by n bytes is the sum of a moved over n zero bytes, which is
 * linear and stands in a table, combined with the sum of those n bytes. */
#include "base/crc32c.h"

#include <stdbool.h>
#include <string.h>

#define POLY 0x82f63b78u
#define LANE 256

static uint32_t byte_table[8][256];
static uint32_t lane_table[4][256];
static bool have_instruction;

/* Eight bytes at a time; the state is inverted on both sides by the caller. */
static uint32_t by_table(uint32_t state, const unsigned char *p, size_t n)
{
    for (; n >= 8; n -= 8, p += 8) {
        uint32_t a, b;

        memcpy(&a, p, 4);
        memcpy(&b, p + 4, 4);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
        a = __builtin_bswap32(a);
        b = __builtin_bswap32(b);
#endif
        a ^= state;
        state = byte_table[7][a & 255] ^ byte_table[6][a >> 8 & 255] ^
                byte_table[5][a >> 16 & 255] ^ byte_table[4][a >> 24] ^
                byte_table[3][b & 255] ^ byte_table[2][b >> 8 & 255] ^
                byte_table[1][b >> 16 & 255] ^ byte_table[0][b >> 24];
    }
    for (; n; n--, p++)
        state = state >> 8 ^ byte_table[0][(state ^ *p) & 255];
    return state;
}

__attribute__((constructor)) static void fill_tables(void)
{
    static const unsigned char zeros[LANE];

    for (unsigned i = 0; i < 256; i++) {
        uint32_t s = i;

        for (int bit = 0; bit < 8; bit++)
            s = s & 1 ? s >> 1 ^ POLY : s >> 1;
        byte_table[0][i] = s;
    }
    for (int k = 1; k < 8; k++)
        for (unsigned i = 0; i < 256; i++)
            byte_table[k][i] = byte_table[k - 1][i] >> 8 ^
                               byte_table[0][byte_table[k - 1][i] & 255];
    for (int k = 0; k < 4; k++)
        for (uint32_t i = 0; i < 256; i++)
            lane_table[k][i] = by_table(i << 8 * k, zeros, LANE);
#if defined(__x86_64__)
    __builtin_cpu_init();
    have_instruction = __builtin_cpu_supports("sse4.2");
#endif
}

uint32_t crc32c_table(uint32_t crc, const void *bytes, size_t n)
{
    return ~by_table(~crc, bytes, n);
}

#if defined(__x86_64__)

static uint32_t past_lane(uint32_t s)
{
    return lane_table[0][s & 255] ^ lane_table[1][s >> 8 & 255] ^
           lane_table[2][s >> 16 & 255] ^ lane_table[3][s >> 24];
}

static uint64_t word(const unsigned char *p)
{
    uint64_t w;

    memcpy(&w, p, 8);
    return w;
}

__attribute__((target("sse4.2"))) static uint32_t
by_instruction(uint32_t state, const unsigned char *p, size_t n)
{
    uint64_t a = state, b, c;

    for (; n >= 3 * LANE; n -= 3 * LANE, p += 3 * LANE) {
        b = c = 0;
        for (size_t i = 0; i < LANE; i += 8) {
            a = __builtin_ia32_crc32di(a, word(p + i));
            b = __builtin_ia32_crc32di(b, word(p + LANE + i));
            c = __builtin_ia32_crc32di(c, word(p + 2 * LANE + i));
        }
        a = past_lane((uint32_t)a) ^ b;
        a = past_lane((uint32_t)a) ^ c;
    }
    for (; n >= 8; n -= 8, p += 8)
        a = __builtin_ia32_crc32di(a, word(p));
    for (; n; n--, p++)
        a = __builtin_ia32_crc32qi((uint32_t)a, *p);
    return (uint32_t)a;
}

uint32_t crc32c(uint32_t crc, const void *bytes, size_t n)
{
    return have_instruction ? ~by_instruction(~crc, bytes, n)
                            : crc32c_table(crc, bytes, n);
}

#else

uint32_t crc32c(uint32_t crc, const void *bytes, size_t n)
{
    return crc32c_table(crc, bytes, n);
}

#endif
