/* SPDX-License-Identifier: Apache-2.0
 *
 * jsvalue.c - see jsvalue.h. */
#include "mapping/jsvalue.h"

#include "base/mem.h"
#include "base/unicase.h"

#include <math.h>
#include <stdlib.h>

bool js_is_space(uint32_t c)
{
    return (c >= 9 && c <= 13) || c == ' ' || c == 0xA0 || c == 0x1680 ||
           (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 ||
           c == 0x202F || c == 0x205F || c == 0x3000 || c == 0xFEFF;
}

mf_str js_trim(mf_str s)
{
    const char *p = s.ptr, *end = s.ptr + s.len, *from = NULL, *to = s.ptr;

    while (p < end) {
        const char *at = p;

        if (js_is_space(utf8_next(&p, end)))
            continue;
        if (!from)
            from = at;
        to = p;
    }
    return from ? (mf_str){ from, (size_t)(to - from) } : (mf_str){ "", 0 };
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
    mf_str s = js_trim(text);
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
