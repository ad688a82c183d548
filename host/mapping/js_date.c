/* SPDX-License-Identifier: Apache-2.0
 *
 * js_date.c - whether a text is a date to the original: see jsvalue.h.
 *
 * Three readers in turn, as there: a number of seconds; the pattern of dayjs,
 * whose every match is a date; else V8's Date parser, which reads ISO 8601 and
 * falls back on a lenient hunt for numbers, month names and zones. Only
 * validity is asked, so no time is ever computed. */
#include "mapping/jsvalue.h"

#include "base/mem.h"
#include "base/text.h"
#include "base/unicase.h"

#include <math.h>

#define SECONDS_MAX 8.64e12 /* the last second a Date can hold */
#define YEAR_MAX 275760     /* and the year it falls into */

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/* ---- dayjs ---- */

/* Up to n digits; true if there were at least `least`. */
static bool digits(mf_str s, size_t *i, size_t least, size_t n)
{
    size_t from = *i;

    while (*i < s.len && *i - from < n && is_digit(s.ptr[*i]))
        ++*i;
    return *i - from >= least;
}

static void maybe(mf_str s, size_t *i, const char *set)
{
    if (*i < s.len && s.ptr[*i] && strchr(set, s.ptr[*i]))
        ++*i;
}

/* yyyy [-/] m [-/] d [T ] h : m : s [.:] fraction, all but the year optional.
 * Taking as much as possible at each step is enough: no part can use what an
 * earlier one took too much of. */
static bool is_dayjs(mf_str s)
{
    const char *p, *next, *end = s.ptr + s.len;
    size_t i = 0;
    uint32_t c;

    if (s.len == 0 || (s.ptr[s.len - 1] | 0x20) == 'z' || !digits(s, &i, 4, 4))
        return false;
    maybe(s, &i, "-/");
    digits(s, &i, 0, 2);
    maybe(s, &i, "-/");
    digits(s, &i, 0, 2);
    p = s.ptr + i;
    while (p < end) {
        next = p;
        c = utf8_next(&next, end);
        if (!js_is_space(c) && c != 't' && c != 'T')
            break;
        p = next;
    }
    i = (size_t)(p - s.ptr);
    digits(s, &i, 0, 2);
    maybe(s, &i, ":");
    digits(s, &i, 0, 2);
    maybe(s, &i, ":");
    digits(s, &i, 0, 2);
    maybe(s, &i, ".:");
    digits(s, &i, 0, s.len);
    return i == s.len;
}

/* ---- V8 ---- */

enum { AM_PM = 1, MONTH, ZONE, GARBAGE };

#define NONE (-1)
#define DAY_PARTS 3
#define TIME_PARTS 4
#define DIGITS_KEPT 9

struct date {
    mf_str s;
    size_t i;
    int day[DAY_PARTS], time[TIME_PARTS];
    int days, times;
    int month;        /* a name, or NONE */
    int hour_offset;  /* of AM and PM, or NONE */
    bool iso;
    int zone_hour, zone_minute; /* without sign; NONE: not told */
    bool number_read;
};

static bool at_end(const struct date *d)
{
    return d->i == d->s.len;
}

static char peek(const struct date *d)
{
    return at_end(d) ? 0 : d->s.ptr[d->i];
}

static bool skip(struct date *d, char c)
{
    if (at_end(d) || d->s.ptr[d->i] != c)
        return false;
    d->i++;
    return true;
}

static bool between(int v, int low, int high)
{
    return v >= low && v <= high;
}

/* Digits past the ninth that counts change nothing. */
static int number(struct date *d)
{
    int v = 0, kept = 0;

    for (; is_digit(peek(d)); d->i++) {
        if (kept < DIGITS_KEPT)
            v = v * 10 + (peek(d) - '0');
        kept += v > 0;
    }
    return v;
}

static bool add_day(struct date *d, int n)
{
    if (d->days == DAY_PARTS)
        return false;
    d->day[d->days++] = n;
    return true;
}

static bool add_time(struct date *d, int n)
{
    if (d->times == TIME_PARTS)
        return false;
    d->time[d->times++] = n;
    return true;
}

static bool finish_time(struct date *d, int n)
{
    if (!add_time(d, n))
        return false;
    while (d->times < TIME_PARTS)
        d->time[d->times++] = 0;
    return true;
}

static bool expects_time(const struct date *d, int n)
{
    return (d->times == 1 && between(n, 0, 59)) ||
           (d->times == 2 && between(n, 0, 59)) ||
           (d->times == 3 && between(n, 0, 999));
}

static bool fixed(struct date *d, size_t n, int *v)
{
    size_t from = d->i;

    *v = number(d);
    if (d->i - from == n)
        return true;
    d->i = from;
    return false;
}

/* [+-]yyyyyy or yyyy, then -mm, then -dd. Leaves what it could not read. */
static bool iso_date(struct date *d)
{
    bool long_year = peek(d) == '+' || peek(d) == '-';
    size_t from = d->i;
    int v;

    d->i += long_year;
    if (!fixed(d, long_year ? 6 : 4, &v) ||
        (long_year && d->s.ptr[from] == '-' && v == 0)) {
        d->i = from;
        return false;
    }
    add_day(d, long_year && d->s.ptr[from] == '-' ? -v : v);
    for (int part = 0; part < 2 && skip(d, '-'); part++) {
        from = d->i;
        if (!fixed(d, 2, &v) || !between(v, 1, part ? 31 : 12)) {
            d->i = from;
            return false;
        }
        add_day(d, v);
    }
    return true;
}

static bool iso_zone(struct date *d)
{
    int v;

    if ((peek(d) | 0x20) == 'z') {
        d->i++;
        d->zone_hour = d->zone_minute = 0;
        return true;
    }
    if (peek(d) != '+' && peek(d) != '-')
        return true;
    d->i++;
    if (fixed(d, 4, &v)) {
        d->zone_hour = v / 100;
        d->zone_minute = v % 100;
        return true;
    }
    return fixed(d, 2, &d->zone_hour) && skip(d, ':') &&
           fixed(d, 2, &d->zone_minute);
}

static bool iso_time(struct date *d)
{
    int h, m, s;

    if (!fixed(d, 2, &h) || !between(h, 0, 24) || !skip(d, ':') ||
        !fixed(d, 2, &m) || !between(m, 0, 59))
        return false;
    add_time(d, h);
    add_time(d, m);
    if (skip(d, ':')) {
        if (!fixed(d, 2, &s) || !between(s, 0, 59))
            return false;
        add_time(d, s);
        if (skip(d, '.')) {
            if (!is_digit(peek(d)))
                return false;
            number(d);
        }
    }
    finish_time(d, 0);
    return iso_zone(d);
}

/* False: this can be no date at all. Otherwise what is left is for the
 * lenient reader, which goes on from what was found. */
static bool read_iso(struct date *d)
{
    if (!iso_date(d)) {
        d->number_read = d->days > 0;
        return true;
    }
    d->number_read = true;
    if (at_end(d)) {
        d->iso = true;
        return true;
    }
    if ((peek(d) | 0x20) != 't')
        return true;
    d->i++;
    d->iso = true;
    return iso_time(d) && at_end(d);
}

static int keyword(struct date *d, int *value)
{
    static const char words[][4] = { "jan", "feb", "mar", "apr", "may", "jun",
                                     "jul", "aug", "sep", "oct", "nov", "dec",
                                     "am",  "pm",  "ut",  "utc", "z",   "gmt",
                                     "cdt", "cst", "edt", "est", "mdt", "mst",
                                     "pdt", "pst" };
    static const signed char values[COUNT_OF(words)] = {
        1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, /* months */
        0, 12,                                 /* hours to add */
        0, 0, 0, 0, 5, 6, 4, 5, 6, 7, 7, 8     /* hours behind UTC */
    };
    size_t from = d->i, n, k;

    while (!at_end(d) && (unsigned char)peek(d) >= 'A')
        d->i++;
    n = d->i - from;
    for (size_t w = 0; w < COUNT_OF(words); w++) {
        for (k = 0; k < 3 && words[w][k]; k++)
            if (k >= n || (d->s.ptr[from + k] | 0x20) != words[w][k])
                break;
        if (k < 3 && (words[w][k] || n > k))
            continue;
        if (n > 3 && w >= 12)
            continue;
        *value = values[w];
        return w < 12 ? MONTH : w < 14 ? AM_PM : ZONE;
    }
    return GARBAGE;
}

static bool read_word(struct date *d)
{
    int value, type = keyword(d, &value);

    if (type == AM_PM && d->times > 0) {
        d->hour_offset = value;
    } else if (type == MONTH) {
        d->month = value;
        skip(d, '-');
    } else if (type == ZONE && d->number_read) {
        d->zone_hour = value;
        d->zone_minute = 0;
    } else if (d->number_read || is_digit(peek(d))) {
        return false;
    }
    return true;
}

/* The digits of a fraction, as thousandths. */
static int milliseconds(struct date *d)
{
    size_t from = d->i, n;
    int v = number(d);

    n = d->i - from < DIGITS_KEPT ? d->i - from : DIGITS_KEPT;
    for (; n < 3; n++)
        v *= 10;
    for (; n > 3; n--)
        v /= 10;
    return v;
}

static bool read_number(struct date *d)
{
    int n = number(d);
    char after;

    d->number_read = true;
    if (skip(d, ':')) {
        if (!skip(d, ':')) {
            if (!add_time(d, n))
                return false;
            skip(d, '.');
            return true;
        }
        if (d->times > 0)
            return false;
        return add_time(d, n) && add_time(d, 0);
    }
    if (skip(d, '.') && expects_time(d, n)) {
        add_time(d, n);
        return is_digit(peek(d)) && finish_time(d, milliseconds(d));
    }
    if (d->zone_hour != NONE && d->zone_minute == NONE && between(n, 0, 59)) {
        d->zone_minute = n;
        return true;
    }
    if (expects_time(d, n)) {
        finish_time(d, n);
        after = peek(d);
        return after == 0 || is_space(after) || after == '+' || after == '-' ||
               (after | 0x20) == 'z';
    }
    if (!add_day(d, n))
        return false;
    skip(d, '-');
    return true;
}

static bool read_offset(struct date *d)
{
    size_t from = ++d->i, n;
    int v = number(d);

    n = d->i - from;
    d->number_read = true;
    if (peek(d) == ':') {
        d->zone_hour = v;
        d->zone_minute = NONE;
        return true;
    }
    if (n == 0 || n > 4)
        return false;
    d->zone_hour = n > 2 ? v / 100 : v;
    d->zone_minute = n > 2 ? v % 100 : 0;
    return true;
}

/* Nested, and forgiven when the text ends first. */
static void skip_parentheses(struct date *d)
{
    int depth = 0;

    do {
        depth += peek(d) == '(';
        depth -= peek(d) == ')';
        d->i++;
    } while (depth > 0 && !at_end(d));
}

static bool is_utc(const struct date *d)
{
    return d->zone_hour == 0 && d->zone_minute == 0;
}

static bool read_rest(struct date *d)
{
    while (!at_end(d)) {
        char c = peek(d);
        bool sign = c == '+' || c == '-';
        bool ok = true;

        if (is_digit(c))
            ok = read_number(d);
        else if ((unsigned char)c >= 'A')
            ok = read_word(d);
        else if (sign && (is_utc(d) || d->times > 0))
            ok = read_offset(d);
        else if ((sign || c == ')') && d->number_read)
            ok = false;
        else if (c == '(')
            skip_parentheses(d);
        else
            d->i++;
        if (!ok)
            return false;
    }
    return true;
}

/* Parts that are missing are 1; a first part that can be no day is a year. */
static bool day_holds(const struct date *d)
{
    int part[DAY_PARTS] = { 1, 1, 1 }, year, month, day;
    bool year_first;

    if (d->days < 1)
        return false;
    memcpy(part, d->day, (size_t)d->days * sizeof *part);
    year_first = d->iso || !between(part[0], 1, 31);
    if (d->month != NONE) {
        year = part[year_first ? 0 : 1];
        month = d->month;
        day = part[year_first ? 1 : 0];
    } else {
        year = part[year_first ? 0 : 2];
        month = part[year_first ? 1 : 0];
        day = part[year_first ? 2 : 1];
    }
    return between(year, -YEAR_MAX, YEAR_MAX) && between(month, 1, 12) &&
           between(day, 1, 31);
}

static bool time_holds(const struct date *d)
{
    int part[TIME_PARTS] = { 0 }, hour;

    memcpy(part, d->time, (size_t)d->times * sizeof *part);
    hour = part[0];
    if (d->hour_offset != NONE) {
        if (!between(hour, 0, 12))
            return false;
        hour = hour % 12 + d->hour_offset;
    }
    if (hour == 24 && !part[1] && !part[2] && !part[3])
        return true;
    return between(hour, 0, 23) && between(part[1], 0, 59) &&
           between(part[2], 0, 59) && between(part[3], 0, 999);
}

static bool is_v8(mf_str s)
{
    struct date d = { .s = s, .month = NONE, .hour_offset = NONE,
                      .zone_hour = NONE, .zone_minute = NONE };

    return read_iso(&d) && read_rest(&d) && day_holds(&d) && time_holds(&d);
}

bool js_date_like(mf_str s)
{
    double v = js_to_number(s);
    char text[NUMBER_TEXT];

    if (mf_eq((mf_str){ text, number_text(v, text) }, s))
        return fabs(v) <= SECONDS_MAX; /* not of NaN or Infinity */
    return is_dayjs(s) || is_v8(s);
}
