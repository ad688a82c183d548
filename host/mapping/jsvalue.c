/* SPDX-License-Identifier: Apache-2.0
 *
 * jsvalue.c - see jsvalue.h. */
#include "mapping/jsvalue.h"

#include "base/mem.h"

#include <math.h>
#include <stdlib.h>

/* Length of the white space character at p, as JavaScript counts white space
 * and line ends: 0 if there is none. */
static size_t space_at(const char *p, const char *end)
{
    const unsigned char *u = (const unsigned char *)p;

    if (p >= end)
        return 0;
    if (*u == ' ' || (*u >= '\t' && *u <= '\r'))
        return 1;
    if (end - p >= 2 && u[0] == 0xC2 && u[1] == 0xA0)
        return 2;
    if (end - p < 3)
        return 0;
    if (u[0] == 0xEF && u[1] == 0xBB && u[2] == 0xBF) /* U+FEFF */
        return 3;
    if (u[0] == 0xE1 && u[1] == 0x9A && u[2] == 0x80) /* U+1680 */
        return 3;
    if (u[0] == 0xE3 && u[1] == 0x80 && u[2] == 0x80) /* U+3000 */
        return 3;
    if (u[0] == 0xE2 && u[1] == 0x80 &&
        ((u[2] >= 0x80 && u[2] <= 0x8A) || u[2] == 0xA8 || u[2] == 0xA9 ||
         u[2] == 0xAF))
        return 3;
    if (u[0] == 0xE2 && u[1] == 0x81 && u[2] == 0x9F) /* U+205F */
        return 3;
    return 0;
}

static mf_str trim(mf_str s)
{
    const char *p = s.ptr, *end = s.ptr + s.len, *last;
    size_t n;

    while ((n = space_at(p, end)) > 0)
        p += n;
    for (last = end; last > p; last -= n) {
        for (n = 1; n <= 3 && (size_t)(last - p) >= n; n++)
            if (space_at(last - n, last) == n)
                break;
        if (n > 3 || (size_t)(last - p) < n)
            break;
    }
    return (mf_str){ p, (size_t)(last - p) };
}

static int digit_of(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : 99;
}

static double in_base(mf_str digits, int base)
{
    double v = 0;

    if (digits.len == 0)
        return NAN;
    for (size_t i = 0; i < digits.len; i++) {
        int d = digit_of(digits.ptr[i]);

        if (d >= base)
            return NAN;
        v = v * base + d;
    }
    return v;
}

/* [+-] digits [. digits] [e [+-] digits], with a digit somewhere before e. */
static bool is_decimal(mf_str s)
{
    size_t i = 0, digits = 0, from;

    if (i < s.len && (s.ptr[i] == '+' || s.ptr[i] == '-'))
        i++;
    for (; i < s.len && digit_of(s.ptr[i]) < 10; i++)
        digits++;
    if (i < s.len && s.ptr[i] == '.')
        for (i++; i < s.len && digit_of(s.ptr[i]) < 10; i++)
            digits++;
    if (digits == 0)
        return false;
    if (i < s.len && (s.ptr[i] == 'e' || s.ptr[i] == 'E')) {
        i++;
        if (i < s.len && (s.ptr[i] == '+' || s.ptr[i] == '-'))
            i++;
        from = i;
        while (i < s.len && digit_of(s.ptr[i]) < 10)
            i++;
        if (i == from)
            return false;
    }
    return i == s.len;
}

double js_to_number(mf_str text)
{
    mf_str s = trim(text);
    char small[64], *copy = small;
    double v;

    if (s.len == 0)
        return 0;
    if (s.len > 2 && s.ptr[0] == '0') {
        char c = (char)(s.ptr[1] | 0x20);
        int base = c == 'x' ? 16 : c == 'o' ? 8 : c == 'b' ? 2 : 0;

        if (base)
            return in_base((mf_str){ s.ptr + 2, s.len - 2 }, base);
    }
    if (mf_eq(s, MF_STR("Infinity")) || mf_eq(s, MF_STR("+Infinity")))
        return INFINITY;
    if (mf_eq(s, MF_STR("-Infinity")))
        return -INFINITY;
    if (!is_decimal(s))
        return NAN;
    if (s.len >= sizeof small)
        copy = xmalloc(s.len + 1);
    memcpy(copy, s.ptr, s.len);
    copy[s.len] = 0;
    v = strtod(copy, NULL);
    if (copy != small)
        free(copy);
    return v;
}

size_t js_code_points(mf_str text)
{
    size_t n = 0;

    for (size_t i = 0; i < text.len; i++)
        n += ((unsigned char)text.ptr[i] & 0xC0) != 0x80;
    return n;
}

size_t js_length(mf_str text)
{
    size_t n = js_code_points(text);

    for (size_t i = 0; i < text.len; i++)
        n += (unsigned char)text.ptr[i] >= 0xF0;
    return n;
}
