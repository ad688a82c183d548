/* SPDX-License-Identifier: Apache-2.0
 *
 * text.c - see text.h. */
#include "base/text.h"

#include "base/mem.h"

#include <errno.h>
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

/* ---- times ---- */

/* Days and civil dates: the era arithmetic of Howard Hinnant's public
 * description, exact for every year a signed 64-bit day count can name. */
int64_t days_from_civil(int y, int m, int d)
{
    int64_t yy = (int64_t)y - (m <= 2), era = (yy >= 0 ? yy : yy - 399) / 400;
    int64_t yoe = yy - era * 400;
    int64_t doy = (153 * (m + (m > 2 ? -3 : 9)) + 2) / 5 + d - 1;
    int64_t doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;

    return era * 146097 + doe - 719468;
}

void civil_from_days(int64_t days, int *y, int *m, int *d)
{
    int64_t z = days + 719468, era = (z >= 0 ? z : z - 146096) / 146097;
    int64_t doe = z - era * 146097;
    int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    int64_t mp = (5 * doy + 2) / 153;

    *d = (int)(doy - (153 * mp + 2) / 5 + 1);
    *m = (int)(mp + (mp < 10 ? 3 : -9));
    *y = (int)(yoe + era * 400 + (*m <= 2));
}

static char *put_digits(char *to, int v, int width)
{
    for (int i = width - 1; i >= 0; i--, v /= 10)
        to[i] = (char)('0' + v % 10);
    return to + width;
}

/* On the path of every event, so without printf. */
void time_iso(int64_t ms, char out[TIME_TEXT])
{
    int64_t days = ms / 86400000, left = ms % 86400000;
    int y, m, d;

    if (left < 0) {
        left += 86400000;
        days--;
    }
    civil_from_days(days, &y, &m, &d);
    if (y < 0 || y > 9999) { /* as JavaScript's expanded years */
        *out++ = y < 0 ? '-' : '+';
        out = put_digits(out, abs(y) % 1000000, 6);
    } else {
        out = put_digits(out, y, 4);
    }
    *out++ = '-';
    out = put_digits(out, m, 2);
    *out++ = '-';
    out = put_digits(out, d, 2);
    *out++ = 'T';
    out = put_digits(out, (int)(left / 3600000), 2);
    *out++ = ':';
    out = put_digits(out, (int)(left / 60000 % 60), 2);
    *out++ = ':';
    out = put_digits(out, (int)(left / 1000 % 60), 2);
    *out++ = '.';
    out = put_digits(out, (int)(left % 1000), 3);
    *out++ = 'Z';
    *out = 0;
}

/* Reads exactly n digits at *p. */
static bool digits(const char **p, const char *end, int n, int *out)
{
    int v = 0;

    for (int i = 0; i < n; i++, (*p)++) {
        if (*p >= end || **p < '0' || **p > '9')
            return false;
        v = v * 10 + (**p - '0');
    }
    *out = v;
    return true;
}

static bool zone(const char **p, const char *end, int64_t *offset_ms)
{
    int sign, h, m = 0;

    *offset_ms = 0;
    if (*p == end)
        return true;
    if (**p == 'Z' || **p == 'z') {
        (*p)++;
        return *p == end;
    }
    if (**p != '+' && **p != '-')
        return false;
    sign = *(*p)++ == '-' ? -1 : 1;
    if (!digits(p, end, 2, &h))
        return false;
    if (*p < end && **p == ':')
        (*p)++;
    if (*p < end && !digits(p, end, 2, &m))
        return false;
    *offset_ms = sign * (h * 3600000LL + m * 60000LL);
    return *p == end && h <= 23 && m <= 59;
}

bool time_parse(mf_str s, int64_t *ms)
{
    static const int month_days[] = { 31, 29, 31, 30, 31, 30,
                                      31, 31, 30, 31, 30, 31 };
    const char *p = s.ptr, *end = s.ptr + s.len;
    int y, mo, d, h = 0, mi = 0, sec = 0, frac = 0, places = 0;
    int64_t offset = 0;

    if (s.len == 0 || !digits(&p, end, 4, &y) || p == end || *p++ != '-' ||
        !digits(&p, end, 2, &mo) || p == end || *p++ != '-' ||
        !digits(&p, end, 2, &d))
        return false;
    if (mo < 1 || mo > 12 || d < 1 || d > month_days[mo - 1] ||
        (mo == 2 && d == 29 && (y % 4 || (y % 100 == 0 && y % 400))))
        return false;
    if (p < end) {
        if (*p != 'T' && *p != 't' && *p != ' ')
            return false;
        p++;
        if (!digits(&p, end, 2, &h) || p == end || *p++ != ':' ||
            !digits(&p, end, 2, &mi))
            return false;
        if (p < end && *p == ':') {
            p++;
            if (!digits(&p, end, 2, &sec))
                return false;
            if (p < end && (*p == '.' || *p == ',')) {
                p++;
                for (; p < end && *p >= '0' && *p <= '9'; p++, places++)
                    if (places < 3)
                        frac = frac * 10 + (*p - '0');
                if (places == 0 || places > 9)
                    return false;
                for (; places < 3; places++)
                    frac *= 10;
            }
        }
        if (h > 24 || mi > 59 || sec > 60 || (h == 24 && (mi || sec || frac)))
            return false;
        if (!zone(&p, end, &offset))
            return false;
    }
    *ms = days_from_civil(y, mo, d) * 86400000 + h * 3600000LL +
          mi * 60000LL + sec * 1000LL + frac - offset;
    return true;
}

/* ---- encodings ---- */

void hex_encode(struct buf *b, const void *bytes, size_t n)
{
    static const char set[] = "0123456789abcdef";
    const unsigned char *from = bytes;
    char *to = buf_room(b, n * 2);

    if (!to)
        return;
    for (size_t i = 0; i < n; i++) {
        to[i * 2] = set[from[i] >> 4];
        to[i * 2 + 1] = set[from[i] & 15];
    }
    b->len += n * 2;
}

static void base64_with(struct buf *b, mf_str in, const char *set, bool pad)
{
    const unsigned char *p = (const unsigned char *)in.ptr;
    size_t n = in.len;

    for (; n >= 3; n -= 3, p += 3) {
        char four[4] = { set[p[0] >> 2], set[(p[0] & 3) << 4 | p[1] >> 4],
                         set[(p[1] & 15) << 2 | p[2] >> 6], set[p[2] & 63] };

        buf_add(b, four, 4);
    }
    if (n) {
        char four[4] = { set[p[0] >> 2], 0, '=', '=' };

        four[1] = set[(p[0] & 3) << 4 | (n == 2 ? p[1] >> 4 : 0)];
        if (n == 2)
            four[2] = set[(p[1] & 15) << 2];
        buf_add(b, four, pad ? 4 : n + 1);
    }
}

#define BASE64_COMMON                                                          \
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

void base64_encode(struct buf *b, mf_str bytes)
{
    base64_with(b, bytes, BASE64_COMMON "+/", true);
}

void base64url_encode(struct buf *b, mf_str bytes)
{
    base64_with(b, bytes, BASE64_COMMON "-_", false);
}

static int base64_value(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    if (c == '+' || c == '-')
        return 62;
    if (c == '/' || c == '_')
        return 63;
    return -1;
}

bool base64_decode(struct buf *b, mf_str text)
{
    uint32_t bits = 0;
    int have = 0;

    while (text.len && text.ptr[text.len - 1] == '=')
        text.len--;
    if (text.len % 4 == 1)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        int v = base64_value(text.ptr[i]);

        if (v < 0)
            return false;
        bits = bits << 6 | (uint32_t)v;
        have += 6;
        if (have >= 8) {
            have -= 8;
            buf_char(b, (char)(bits >> have & 255));
        }
    }
    return true;
}

static void escape_but(struct buf *b, mf_str s, const char *also, bool plus)
{
    static const char set[] = "0123456789ABCDEF";

    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.ptr[i];

        if ((c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
            (c >= '0' && c <= '9') || (c && strchr(also, c))) {
            buf_char(b, (char)c);
        } else if (c == ' ' && plus) {
            buf_char(b, '+');
        } else {
            char three[3] = { '%', set[c >> 4], set[c & 15] };

            buf_add(b, three, 3);
        }
    }
}

void percent_encode(struct buf *b, mf_str s)
{
    escape_but(b, s, "-_.!~*'()", false);
}

void form_encode(struct buf *b, mf_str s)
{
    escape_but(b, s, "*-._", true);
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

bool percent_decode(struct buf *b, mf_str s, bool plus_is_space)
{
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];

        if (c == '%') {
            int hi, lo;

            if (i + 2 >= s.len || (hi = hex_value(s.ptr[i + 1])) < 0 ||
                (lo = hex_value(s.ptr[i + 2])) < 0)
                return false;
            c = (char)(hi << 4 | lo);
            i += 2;
        } else if (c == '+' && plus_is_space) {
            c = ' ';
        }
        buf_char(b, c);
    }
    return true;
}

/* ---- numbers ---- */

bool parse_u64(mf_str s, uint64_t *out)
{
    uint64_t v = 0;

    if (s.len == 0 || s.len > 20)
        return false;
    for (size_t i = 0; i < s.len; i++) {
        unsigned digit = (unsigned)(s.ptr[i] - '0');

        if (digit > 9 || v > (UINT64_MAX - digit) / 10)
            return false;
        v = v * 10 + digit;
    }
    *out = v;
    return true;
}

bool parse_i64(mf_str s, int64_t *out)
{
    bool minus = s.len && s.ptr[0] == '-';
    uint64_t v;

    if (minus) {
        s.ptr++;
        s.len--;
    }
    if (!parse_u64(s, &v) || v > (uint64_t)INT64_MAX + minus)
        return false;
    *out = minus ? (int64_t)(0 - v) : (int64_t)v;
    return true;
}

/* Splits "12.5GiB" into 12.5 and "GiB". */
static bool number_and_unit(mf_str s, double *v, mf_str *unit)
{
    char text[32];
    size_t n = 0;
    char *end;

    while (n < s.len && ((s.ptr[n] >= '0' && s.ptr[n] <= '9') ||
                         s.ptr[n] == '.'))
        n++;
    if (n == 0 || n >= sizeof text || s.ptr[0] == '.')
        return false;
    memcpy(text, s.ptr, n);
    text[n] = 0;
    *v = strtod(text, &end);
    *unit = (mf_str){ s.ptr + n, s.len - n };
    return *end == 0;
}

bool parse_duration(mf_str s, int64_t *ms)
{
    static const struct {
        mf_str unit;
        double ms;
    } units[] = {
        { { "ms", 2 }, 1 },       { { "s", 1 }, 1000 },
        { { "", 0 }, 1000 },      { { "m", 1 }, 60000 },
        { { "h", 1 }, 3600000 },  { { "d", 1 }, 86400000 },
    };
    mf_str unit;
    double v;

    if (!number_and_unit(s, &v, &unit))
        return false;
    for (size_t i = 0; i < COUNT_OF(units); i++)
        if (mf_eq(unit, units[i].unit) && v * units[i].ms < 9e15) {
            *ms = (int64_t)(v * units[i].ms);
            return true;
        }
    return false;
}

bool parse_size(mf_str s, uint64_t *bytes)
{
    static const char letters[] = "KMGTP";
    double v, scale = 1, base;
    mf_str unit;
    const char *at;

    if (!number_and_unit(s, &v, &unit))
        return false;
    if (unit.len && unit.ptr[0] != 'B') {
        at = memchr(letters, unit.ptr[0], sizeof letters - 1);
        if (!at)
            return false;
        unit.ptr++;
        unit.len--;
        base = unit.len && unit.ptr[0] == 'i' ? 1024 : 1000;
        if (base > 1000) {
            unit.ptr++;
            unit.len--;
        }
        for (int i = 0; i <= at - letters; i++)
            scale *= base;
    }
    if (!(unit.len == 0 || mf_eq(unit, MF_STR("B"))) || v * scale >= 9e18)
        return false;
    *bytes = (uint64_t)(v * scale);
    return true;
}

bool parse_rate(mf_str s, double *per_second)
{
    mf_str unit;
    double v;

    if (!number_and_unit(s, &v, &unit) || v <= 0)
        return false;
    if (mf_eq(unit, MF_STR("/s")))
        *per_second = v;
    else if (mf_eq(unit, MF_STR("/m")))
        *per_second = v / 60;
    else if (mf_eq(unit, MF_STR("/h")))
        *per_second = v / 3600;
    else
        return false;
    return true;
}

/* The shortest decimal digits that read back as v > 0, in digit[] without the
 * point; returns where the point stands. A normal number that fifteen digits
 * carry needs no search: its shortest form is those without trailing zeros. */
static int shortest(double v, char digit[32])
{
    int precision = v < DBL_MIN ? 0 : 14, point;
    size_t n;
    char *e;

    do
        snprintf(digit, 32, "%.*e", precision, v);
    while (strtod(digit, NULL) != v && ++precision < 17);
    e = strchr(digit, 'e');
    point = (int)strtol(e + 1, NULL, 10) + 1;
    *e = 0;
    if (digit[1] == '.')
        memmove(digit + 1, digit + 2, strlen(digit + 2) + 1);
    for (n = strlen(digit); n > 1 && digit[n - 1] == '0'; n--)
        digit[n - 1] = 0;
    return point;
}

/* Laid out by ECMAScript's Number::toString. */
size_t number_text(double v, char out[NUMBER_TEXT])
{
    char digit[32];
    int point, n;
    size_t len = 0;

    if (isnan(v))
        return (size_t)snprintf(out, NUMBER_TEXT, "NaN");
    if (isinf(v))
        return (size_t)snprintf(out, NUMBER_TEXT, v < 0 ? "-Infinity"
                                                        : "Infinity");
    if (v == 0)
        return (size_t)snprintf(out, NUMBER_TEXT, "0");
    if (fabs(v) < 1e15 && v == (double)(int64_t)v)
        return (size_t)snprintf(out, NUMBER_TEXT, "%lld", (long long)v);
    if (v < 0)
        out[len++] = '-';
    point = shortest(fabs(v), digit);
    n = (int)strlen(digit);
    if (n <= point && point <= 21)
        len += (size_t)snprintf(out + len, NUMBER_TEXT - len, "%s%.*s", digit,
                                point - n, "000000000000000000000");
    else if (0 < point && point <= 21)
        len += (size_t)snprintf(out + len, NUMBER_TEXT - len, "%.*s.%s",
                                point, digit, digit + point);
    else if (-6 < point && point <= 0)
        len += (size_t)snprintf(out + len, NUMBER_TEXT - len, "0.%.*s%s",
                                -point, "000000", digit);
    else
        len += (size_t)snprintf(out + len, NUMBER_TEXT - len,
                                n > 1 ? "%c.%se%c%d" : "%c%se%c%d", digit[0],
                                digit + 1, point > 0 ? '+' : '-',
                                abs(point - 1));
    return len;
}

/* ---- chance ---- */

void random_bytes(void *out, size_t n)
{
    char *p = out;

    while (n) {
        ssize_t got = getrandom(p, n > 256 ? 256 : n, 0);

        if (got < 0 && errno == EINTR)
            continue;
        ASSERT(got > 0);
        p += got;
        n -= (size_t)got;
    }
}

#define UUID_POOL 64 /* UUIDs drawn from the system at once */

void uuid4(char out[UUID_TEXT])
{
    static _Thread_local unsigned char pool[UUID_POOL][16];
    static _Thread_local unsigned left;
    static const char set[] = "0123456789abcdef";
    unsigned char *b;

    if (left == 0) {
        random_bytes(pool, sizeof pool);
        left = UUID_POOL;
    }
    b = pool[--left];
    b[6] = (b[6] & 15) | 64;
    b[8] = (b[8] & 63) | 128;
    for (int i = 0; i < 16; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            *out++ = '-';
        *out++ = set[b[i] >> 4];
        *out++ = set[b[i] & 15];
    }
    *out = 0;
}

/* ---- UTF-8 ---- */

/* Length of the well-formed sequence at p, 0 if there is none: Unicode 15,
 * table 3-7. */
static size_t utf8_one(const unsigned char *p, size_t left)
{
    unsigned char c = p[0], low = 0x80, high = 0xBF;
    size_t n;

    if (c < 0x80)
        return 1;
    if (c < 0xC2 || c > 0xF4)
        return 0;
    n = c < 0xE0 ? 2 : c < 0xF0 ? 3 : 4;
    if (left < n)
        return 0;
    if (c == 0xE0)
        low = 0xA0;
    else if (c == 0xED)
        high = 0x9F;
    else if (c == 0xF0)
        low = 0x90;
    else if (c == 0xF4)
        high = 0x8F;
    if (p[1] < low || p[1] > high)
        return 0;
    for (size_t i = 2; i < n; i++)
        if ((p[i] & 0xC0) != 0x80)
            return 0;
    return n;
}

bool utf8_valid(const char *p, size_t len)
{
    const unsigned char *u = (const unsigned char *)p;
    size_t n;

    while (len) {
        uint64_t eight;

        if (len >= 8) { /* eight ASCII bytes at a time */
            memcpy(&eight, u, 8);
            if (!(eight & 0x8080808080808080u)) {
                u += 8;
                len -= 8;
                continue;
            }
        }
        n = utf8_one(u, len);
        if (n == 0)
            return false;
        u += n;
        len -= n;
    }
    return true;
}

mf_str utf8_cut(mf_str s, size_t most)
{
    if (s.len <= most)
        return s;
    while (most && ((unsigned char)s.ptr[most] & 0xC0) == 0x80)
        most--;
    return (mf_str){ s.ptr, most };
}

void utf8_put(struct buf *b, uint32_t c)
{
    char s[4];
    size_t n;

    if (c < 0x80) {
        s[0] = (char)c;
        n = 1;
    } else if (c < 0x800) {
        s[0] = (char)(0xC0 | c >> 6);
        s[1] = (char)(0x80 | (c & 63));
        n = 2;
    } else if (c < 0x10000) {
        s[0] = (char)(0xE0 | c >> 12);
        s[1] = (char)(0x80 | (c >> 6 & 63));
        s[2] = (char)(0x80 | (c & 63));
        n = 3;
    } else {
        s[0] = (char)(0xF0 | c >> 18);
        s[1] = (char)(0x80 | (c >> 12 & 63));
        s[2] = (char)(0x80 | (c >> 6 & 63));
        s[3] = (char)(0x80 | (c & 63));
        n = 4;
    }
    buf_add(b, s, n);
}

/* ---- comparing ---- */

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}

bool str_ieq(mf_str a, mf_str b)
{
    if (a.len != b.len)
        return false;
    for (size_t i = 0; i < a.len; i++)
        if (lower(a.ptr[i]) != lower(b.ptr[i]))
            return false;
    return true;
}

bool str_starts(mf_str s, mf_str prefix)
{
    return s.len >= prefix.len &&
           mf_eq((mf_str){ s.ptr, prefix.len }, prefix);
}

bool str_ends(mf_str s, mf_str suffix)
{
    return s.len >= suffix.len &&
           mf_eq((mf_str){ s.ptr + (s.len - suffix.len), suffix.len }, suffix);
}

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

mf_str str_trim(mf_str s)
{
    while (s.len && is_space(s.ptr[0])) {
        s.ptr++;
        s.len--;
    }
    while (s.len && is_space(s.ptr[s.len - 1]))
        s.len--;
    return s;
}

#define NEAREST_MAX 64 /* longer words are not compared */

static size_t edit_distance(const char *a, size_t n, const char *b, size_t m)
{
    size_t row[NEAREST_MAX + 1];

    for (size_t j = 0; j <= m; j++)
        row[j] = j;
    for (size_t i = 1; i <= n; i++) {
        size_t diagonal = row[0];

        row[0] = i;
        for (size_t j = 1; j <= m; j++) {
            size_t up = row[j], best = diagonal;

            if (lower(a[i - 1]) != lower(b[j - 1])) {
                best = diagonal < up ? diagonal : up;
                best = (best < row[j - 1] ? best : row[j - 1]) + 1;
            }
            diagonal = up;
            row[j] = best;
        }
    }
    return row[m];
}

bool text_among(const char *word, const char *const *list)
{
    while (*list && strcmp(*list, word) != 0)
        list++;
    return *list != NULL;
}

const char *nearest(const char *word, const char *const *list)
{
    size_t n = strlen(word), best = n / 3 + 1;
    const char *found = NULL;

    if (n > NEAREST_MAX)
        return NULL;
    for (; *list; list++) {
        size_t m = strlen(*list), d;

        if (m > NEAREST_MAX)
            continue;
        d = edit_distance(word, n, *list, m);
        if (d <= best && (!found || d < best)) {
            best = d;
            found = *list;
        }
    }
    return found;
}
