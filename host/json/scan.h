/* SPDX-License-Identifier: Apache-2.0
 *
 * scan.h - the three searches that reading JSON consists of, sixteen bytes at
 * a time where the processor has SSE2 (all of x86-64), else one by one.
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

/* The next '"', or bracket of either kind. */
static inline const char *scan_structure(const char *p, const char *end)
{
#ifdef __SSE2__
    for (; end - p >= 16; p += 16) {
        __m128i v = scan_load(p);
        __m128i folded = _mm_or_si128(v, _mm_set1_epi8(0x20));
        int hit = _mm_movemask_epi8(_mm_or_si128(
            scan_is(v, '"'),
            _mm_or_si128(scan_is(folded, '{'), scan_is(folded, '}'))));

        if (hit)
            return p + __builtin_ctz((unsigned)hit);
    }
#endif
    while (p < end && *p != '"' && *p != '{' && *p != '}' && *p != '[' &&
           *p != ']')
        p++;
    return p;
}

#endif
