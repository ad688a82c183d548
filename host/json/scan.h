/* SPDX-License-Identifier: Apache-2.0
 *
 * scan.h - the searches that reading JSON consists of, sixteen bytes at a time
 * and more where the processor has SSE2 (all of x86-64), else one by one.
 *
 * Nothing at or past `end` is read. */
#ifndef JSON_SCAN_H
#define JSON_SCAN_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#ifdef __SSE2__
#include <emmintrin.h>

static inline __m128i scan_load(const char *p)
{
    return _mm_loadu_si128((const __m128i *)(const void *)p);
}

static inline __m128i scan_is(__m128i v, char c)
{
    return _mm_cmpeq_epi8(v, _mm_set1_epi8(c));
}
#endif

/* The next '"' or '\\'. */
static inline const char *scan_quote(const char *p, const char *end)
{
#ifdef __SSE2__
    for (; end - p >= 16; p += 16) {
        __m128i v = scan_load(p);
        int hit = _mm_movemask_epi8(
            _mm_or_si128(scan_is(v, '"'), scan_is(v, '\\')));

        if (hit)
            return p + __builtin_ctz((unsigned)hit);
    }
#endif
    while (p < end && *p != '"' && *p != '\\')
        p++;
    return p;
}

/* The next byte that a checker must look at inside a string: '"', '\\', a
 * control, or one past ASCII. */
static inline const char *scan_plain(const char *p, const char *end)
{
#ifdef __SSE2__
    for (; end - p >= 16; p += 16) {
        __m128i v = scan_load(p);
        /* As signed bytes, controls and those past ASCII are below 0x20. */
        __m128i odd = _mm_cmplt_epi8(v, _mm_set1_epi8(0x20));
        int hit = _mm_movemask_epi8(_mm_or_si128(
            odd, _mm_or_si128(scan_is(v, '"'), scan_is(v, '\\'))));

        if (hit)
            return p + __builtin_ctz((unsigned)hit);
    }
#endif
    while (p < end && (unsigned char)*p >= 0x20 && (unsigned char)*p < 0x80 &&
           *p != '"' && *p != '\\')
        p++;
    return p;
}

#ifdef __SSE2__

#define SCAN_BLOCK 64

/* One bit for each byte of a block. */
struct scan_bits {
    uint64_t quotes, escapes, opens, closes;
};

static inline uint64_t scan_where(__m128i v[4], char c)
{
    uint64_t a = (uint32_t)_mm_movemask_epi8(scan_is(v[0], c));
    uint64_t b = (uint32_t)_mm_movemask_epi8(scan_is(v[1], c));
    uint64_t d = (uint32_t)_mm_movemask_epi8(scan_is(v[2], c));
    uint64_t e = (uint32_t)_mm_movemask_epi8(scan_is(v[3], c));

    return a | b << 16 | d << 32 | e << 48;
}

static inline struct scan_bits scan_block(const char *p)
{
    __m128i v[4] = { scan_load(p), scan_load(p + 16), scan_load(p + 32),
                     scan_load(p + 48) };
    /* '[' and ']' differ from '{' and '}' in this bit alone. */
    __m128i bit = _mm_set1_epi8(0x20);
    __m128i folded[4] = { _mm_or_si128(v[0], bit), _mm_or_si128(v[1], bit),
                          _mm_or_si128(v[2], bit), _mm_or_si128(v[3], bit) };

    return (struct scan_bits){ scan_where(v, '"'), scan_where(v, '\\'),
                               scan_where(folded, '{'),
                               scan_where(folded, '}') };
}

/* Those bytes that a backslash before them escapes. *carry: the last byte was
 * a backslash that escapes the first of the next block. */
static inline uint64_t scan_escaped(uint64_t backslashes, uint64_t *carry)
{
    uint64_t escaped = *carry, bit;

    *carry = 0;
    for (backslashes &= ~escaped; backslashes; backslashes &= backslashes - 1) {
        bit = backslashes & -backslashes;
        *carry = bit >> (SCAN_BLOCK - 1);
        escaped |= bit << 1;
        backslashes &= ~(bit << 1);
    }
    return escaped;
}

/* Each bit becomes the parity of those up to it: what is inside a string. */
static inline uint64_t scan_parity(uint64_t bits)
{
    bits ^= bits << 1;
    bits ^= bits << 2;
    bits ^= bits << 4;
    bits ^= bits << 8;
    bits ^= bits << 16;
    return bits ^ bits << 32;
}

/* p is at the opening bracket; returns the place after the closing one. */
static inline const char *scan_container(const char *p, const char *end)
{
    uint64_t carry = 0, inside = 0, hits, strings;
    unsigned depth = 0;

    while (p < end) {
        char last[SCAN_BLOCK] = "";
        bool whole = end - p >= SCAN_BLOCK;
        struct scan_bits b;

        if (!whole)
            memcpy(last, p, (size_t)(end - p));
        b = scan_block(whole ? p : last);
        if (b.escapes | carry)
            b.quotes &= ~scan_escaped(b.escapes, &carry);
        strings = scan_parity(b.quotes) ^ inside;
        inside = 0 - (strings >> (SCAN_BLOCK - 1));
        for (hits = (b.opens | b.closes) & ~strings; hits; hits &= hits - 1) {
            if (b.opens & hits & -hits)
                depth++;
            else if (--depth == 0)
                return p + __builtin_ctzll(hits) + 1;
        }
        if (!whole)
            break;
        p += SCAN_BLOCK;
    }
    return end;
}

#else

/* p is at the opening bracket; returns the place after the closing one. */
static inline const char *scan_container(const char *p, const char *end)
{
    unsigned depth = 0;

    for (; p < end; p++) {
        if (*p == '"') {
            for (p++; p < end && *p != '"'; p++)
                p += *p == '\\';
        } else if (*p == '{' || *p == '[') {
            depth++;
        } else if (*p == '}' || *p == ']') {
            if (--depth == 0)
                return p + 1;
        }
    }
    return end;
}

#endif

#endif
