/* SPDX-License-Identifier: Apache-2.0
 *
 * number.c - see number.h. */
#include "schema/number.h"

#include "base/mem.h"
#include "json/json.h"

#include <math.h>
#include <string.h>

#define EXPONENT_MAX 1000000

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* What follows the e; held within bounds that no value reaches. */
static int64_t exponent_of(const char *p, const char *end)
{
    bool negative = p < end && *p == '-';
    int64_t e = 0;

    if (p < end && (*p == '-' || *p == '+'))
        p++;
    for (; p < end && e < EXPONENT_MAX; p++)
        e = e * 10 + (*p - '0');
    return negative ? -e : e;
}

struct number number_of(mf_val v)
{
    struct number n = { .exact = true, .value = json_number(v, 0) };
    const char *p = v.raw, *end = v.raw + v.len;
    unsigned digits = 0;
    bool point = false;

    if (p < end && *p == '-') {
        n.negative = true;
        p++;
    }
    for (; p < end && (is_digit(*p) || *p == '.'); p++) {
        if (*p == '.') {
            point = true;
            continue;
        }
        if (n.mantissa || *p != '0')
            digits++;
        if (digits > NUMBER_DIGITS) {
            n.exact = false;
            break;
        }
        n.mantissa = n.mantissa * 10 + (unsigned)(*p - '0');
        n.exponent -= point;
    }
    if (n.exact && p < end)
        n.exponent += exponent_of(p + 1, end);
    while (n.mantissa && n.mantissa % 10 == 0) {
        n.mantissa /= 10;
        n.exponent++;
    }
    if (n.mantissa == 0 && n.exact) {
        n.negative = false;
        n.exponent = 0;
    }
    return n;
}

/* Multiplies by ten so often; false when it does not fit. */
static bool scale(unsigned __int128 *m, int64_t times)
{
    unsigned __int128 most = ~(unsigned __int128)0 / 10;

    for (; times > 0; times--) {
        if (*m > most)
            return false;
        *m *= 10;
    }
    return true;
}

static int sign_of(const struct number *n)
{
    return n->mantissa == 0 ? 0 : n->negative ? -1 : 1;
}

/* Of two that are above 0 and exact. */
static int compare_sizes(const struct number *a, const struct number *b)
{
    unsigned __int128 x = a->mantissa, y = b->mantissa;
    int64_t d = a->exponent - b->exponent;

    if (x == 0 || y == 0)
        return x == y ? 0 : x ? 1 : -1;
    if (d > 0 && !scale(&x, d))
        return 1;
    if (d < 0 && !scale(&y, -d))
        return -1;
    return x == y ? 0 : x > y ? 1 : -1;
}

int number_compare(const struct number *a, const struct number *b)
{
    int s = sign_of(a), t = sign_of(b);

    if (!a->exact || !b->exact)
        return a->value == b->value ? 0 : a->value > b->value ? 1 : -1;
    if (s != t)
        return s > t ? 1 : -1;
    return s < 0 ? compare_sizes(b, a) : compare_sizes(a, b);
}

bool number_is_whole(const struct number *n)
{
    if (n->exact)
        return n->exponent >= 0;
    return isinf(n->value) || floor(n->value) == n->value;
}

/* a * b modulo m, without a wider type: by doubling. */
static unsigned __int128 times_modulo(unsigned __int128 a, unsigned __int128 b,
                                      unsigned __int128 m)
{
    unsigned __int128 sum = 0;

    for (a %= m; b; b >>= 1) {
        if (b & 1)
            sum = sum >= m - a ? sum - (m - a) : sum + a;
        a = a >= m - a ? a - (m - a) : a + a;
    }
    return sum;
}

static unsigned __int128 ten_to(int64_t e, unsigned __int128 m)
{
    unsigned __int128 result = 1 % m, base = 10 % m;

    for (; e; e >>= 1) {
        if (e & 1)
            result = times_modulo(result, base, m);
        base = times_modulo(base, base, m);
    }
    return result;
}

bool number_is_multiple(const struct number *n, const struct number *by)
{
    unsigned __int128 m = by->mantissa;
    int64_t d = n->exponent - by->exponent;

    if (!n->exact || !by->exact)
        return fmod(n->value, by->value) == 0;
    if (n->mantissa == 0)
        return true;
    /* A mantissa has no factor of ten, which it would need if `by` had more
     * of them. */
    return d >= 0 && times_modulo(n->mantissa, ten_to(d, m), m) == 0;
}

uint64_t number_hash(const struct number *n)
{
    uint64_t bits;

    if (!n->exact) {
        memcpy(&bits, &n->value, sizeof bits);
        return bits * 0x9E3779B97F4A7C15u;
    }
    bits = (uint64_t)n->mantissa ^ (uint64_t)(n->mantissa >> 64);
    bits = (bits ^ (uint64_t)n->exponent * 31 ^ n->negative) *
           0x9E3779B97F4A7C15u;
    return bits ^ bits >> 29;
}
