/* SPDX-License-Identifier: Apache-2.0
 *
 * liquid_date.c - date filters of @liquid.
 *
 * A date is seconds, ISO 8601, or what mails and people write ("14 Mar 2026
 * 10:00:00 GMT", "March 14, 2026"). Times are UTC unless an offset is given,
 * in minutes west as JavaScript counts or as "+05:30"; zones by name are not
 * known here. What is no date passes as it is. */
#include "base/clock.h"
#include "base/text.h"
#include "base/unicase.h"
#include "mapping/liquid.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#define DATE_FORMAT "%A, %B %-e, %Y at %-l:%M %P %z"
#define MS_MAX      8.64e15 /* the range of a JavaScript date */
#define WIDTH_MAX   99
#define DAY_MS      86400000

static const char *const months[] = {
    "January", "February", "March",     "April",   "May",      "June",
    "July",    "August",   "September", "October", "November", "December"
};
static const char *const days[] = { "Sunday",    "Monday",   "Tuesday",
                                    "Wednesday", "Thursday", "Friday",
                                    "Saturday" };

struct moment {
    int64_t ms;      /* UTC */
    int offset;      /* minutes east */
    int year, month, day, hour, minute, second, milli, weekday, yearday;
};

/* ---- reading ---- */

static int month_named(mf_str s)
{
    for (int i = 0; i < 12; i++)
        if (s.len >= 3 && s.len <= strlen(months[i]) &&
            strncasecmp(s.ptr, months[i], s.len) == 0)
            return i + 1;
    return 0;
}

static bool letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool digit(char c)
{
    return c >= '0' && c <= '9';
}

struct loose {
    int year, month, day, clock[3], clocks, numbers;
    int offset; /* minutes east */
};

static bool loose_number(struct loose *d, const char **p, const char *end)
{
    char sign = (*p)[0] == '+' || (*p)[0] == '-' ? *(*p)++ : 0;
    const char *from = *p;
    int n = 0;

    while (*p < end && digit(**p) && *p - from < 6)
        n = n * 10 + (*(*p)++ - '0');
    if (*p == from)
        return sign != 0; /* a dash between parts */
    if (sign && d->clocks) { /* +hhmm, +hh:mm */
        if (*p < end && **p == ':' && *p - from <= 2) {
            ++*p;
            n = n * 100 + (int)strtol(*p, NULL, 10) % 100;
            *p += *p + 2 <= end ? 2 : end - *p;
        } else if (*p - from <= 2) {
            n *= 100;
        }
        d->offset = (n / 100 * 60 + n % 100) * (sign == '-' ? -1 : 1);
        return true;
    }
    if ((*p < end && **p == ':') || (d->clocks && from[-1] == ':'))
        return d->clocks < 3 && (d->clock[d->clocks++] = n, true);
    if (*p - from > 2 || n > 31)
        return d->year == 0 && (d->year = n, true);
    if (d->day == 0)
        return (d->day = n, n > 0);
    return d->year == 0 && (d->year = n < 50 ? 2000 + n : 1900 + n, true);
}

static bool parse_loose(mf_str s, int64_t *ms)
{
    const char *p = s.ptr, *end = s.ptr + s.len;
    struct loose d = { 0 };
    bool pm = false, am = false;

    while (p < end) {
        const char *from = p;

        while (p < end && letter(*p))
            p++;
        if (p > from) {
            mf_str word = { from, (size_t)(p - from) };

            if (!d.month)
                d.month = month_named(word);
            pm |= str_ieq(word, MF_STR("pm"));
            am |= str_ieq(word, MF_STR("am"));
        } else if (digit(*p) || *p == '+' || *p == '-') {
            if (!loose_number(&d, &p, end))
                return false;
        } else {
            p++;
        }
    }
    if (!d.month || !d.day || !d.year || d.clock[0] > 24)
        return false;
    if (pm && d.clock[0] < 12)
        d.clock[0] += 12;
    if (am && d.clock[0] == 12)
        d.clock[0] = 0;
    *ms = days_from_civil(d.year, d.month, d.day) * DAY_MS +
          ((d.clock[0] * 60 + d.clock[1] - d.offset) * 60 + d.clock[2]) *
              (int64_t)1000;
    return true;
}

static bool all_digits(mf_str s)
{
    for (size_t i = 0; i < s.len; i++)
        if (!digit(s.ptr[i]))
            return false;
    return s.len > 0 && s.len < 16;
}

static bool read_date(struct l_call *c, struct lv v, int64_t *ms)
{
    double n;

    if (v.type == LV_STRING) {
        if (mf_eq(v.u.text, MF_STR("now")) || mf_eq(v.u.text, MF_STR("today")))
            return *ms = clock_ms(), true;
        if (!all_digits(v.u.text))
            return time_parse(v.u.text, ms) || parse_loose(v.u.text, ms);
    } else if (v.type != LV_NUMBER) {
        return false;
    }
    n = trunc(lv_to_number(c->r, v) * 1000);
    if (!(fabs(n) <= MS_MAX))
        return false;
    *ms = (int64_t)n;
    return true;
}

/* Minutes east of an argument; false if it names a zone. */
static bool read_offset(struct l_call *c, struct lv v, int *minutes)
{
    mf_str s = lv_string(c->r, v);
    int sign, h, m;

    *minutes = 0;
    if (lv_nil(v) || str_ieq(s, MF_STR("utc")) || str_ieq(s, MF_STR("gmt")) ||
        mf_eq(s, MF_STR("Z")))
        return true;
    if (v.type == LV_NUMBER && fabs(v.u.number.value) <= 24 * 60) {
        *minutes = -(int)v.u.number.value;
        return true;
    }
    if (s.len != 6 || s.ptr[3] != ':' || (s.ptr[0] != '+' && s.ptr[0] != '-'))
        return false;
    for (int i = 1; i < 6; i++)
        if (i != 3 && !digit(s.ptr[i]))
            return false;
    sign = s.ptr[0] == '-' ? -1 : 1;
    h = (s.ptr[1] - '0') * 10 + s.ptr[2] - '0';
    m = (s.ptr[4] - '0') * 10 + s.ptr[5] - '0';
    *minutes = sign * (h * 60 + m);
    return true;
}

static struct moment moment_of(int64_t ms, int offset)
{
    int64_t local = ms + (int64_t)offset * 60000;
    int64_t day = local / DAY_MS, rest = local % DAY_MS;
    struct moment m = { .ms = ms, .offset = offset };

    if (rest < 0) {
        rest += DAY_MS;
        day--;
    }
    civil_from_days(day, &m.year, &m.month, &m.day);
    m.hour = (int)(rest / 3600000);
    m.minute = (int)(rest / 60000 % 60);
    m.second = (int)(rest / 1000 % 60);
    m.milli = (int)(rest % 1000);
    m.weekday = (int)(((day + 4) % 7 + 7) % 7);
    m.yearday = (int)(day - days_from_civil(m.year, 1, 1)) + 1;
    return m;
}

/* ---- writing ---- */

static int hour12(const struct moment *m)
{
    return m->hour % 12 ? m->hour % 12 : 12;
}

static int week(const struct moment *m, int start)
{
    int now = m->yearday + start - m->weekday;
    int first = (int)((days_from_civil(m->year, 1, 1) + 4) % 7 + 7) % 7;

    return (int)floor((now - (7 - first + start)) / 7.0) + 1;
}

static const char *suffix(int day)
{
    if (day / 10 == 1)
        return "th";
    return day % 10 == 1 ? "st" : day % 10 == 2 ? "nd"
                              : day % 10 == 3   ? "rd"
                                                : "th";
}

/* The number a letter stands for and how wide it is by default. */
static bool number_of(const struct moment *m, char letter_, int64_t *n,
                      int *width, char *pad)
{
    static const char letters[] = "deHIjklLmMSUWCsuwYy";
    static const char widths[] = "2222322322222000002";
    const int64_t values[] = {
        m->day,     m->day,    m->hour,
        hour12(m),  m->yearday, m->hour,
        hour12(m),  m->milli,  m->month,
        m->minute,  m->second, week(m, 0),
        week(m, 1), m->year / 100, (int64_t)floor((double)m->ms / 1000 + 0.5),
        m->weekday ? m->weekday : 7, m->weekday, m->year, m->year % 100,
    };
    const char *at = letter_ ? strchr(letters, letter_) : NULL;

    if (!at)
        return false;
    *n = values[at - letters];
    *width = widths[at - letters] - '0';
    *pad = strchr("ekl", letter_) ? ' ' : '0';
    return true;
}

static const char *word_of(const struct moment *m, char letter_, bool colon,
                           char *room, size_t size)
{
    int off = abs(m->offset);

    switch (letter_) {
    case 'a': case 'A':
        snprintf(room, size, letter_ == 'a' ? "%.3s" : "%s", days[m->weekday]);
        return room;
    case 'b': case 'h': case 'B':
        snprintf(room, size, letter_ == 'B' ? "%s" : "%.3s",
                 months[m->month - 1]);
        return room;
    case 'p':
        return m->hour < 12 ? "AM" : "PM";
    case 'P':
        return m->hour < 12 ? "am" : "pm";
    case 'q':
        return suffix(m->day);
    case 't':
        return "\t";
    case 'n':
        return "\n";
    case '%':
        return "%";
    case 'z':
        snprintf(room, size, "%c%02d%s%02d", m->offset < 0 ? '-' : '+',
                 off / 60, colon ? ":" : "", off % 60);
        return room;
    case 'c':
        snprintf(room, size, "%d/%d/%d, %d:%02d:%02d %s", m->month, m->day,
                 m->year, hour12(m), m->minute, m->second,
                 m->hour < 12 ? "AM" : "PM");
        return room;
    case 'x':
        snprintf(room, size, "%d/%d/%d", m->month, m->day, m->year);
        return room;
    case 'X':
        snprintf(room, size, "%d:%02d:%02d %s", hour12(m), m->minute,
                 m->second, m->hour < 12 ? "AM" : "PM");
        return room;
    default:
        return NULL;
    }
}

struct flags {
    bool none, space, zero, upper, change, colon;
    int width; /* 0: not given */
};

static size_t read_flags(mf_str s, size_t i, struct flags *f)
{
    memset(f, 0, sizeof *f);
    for (; i < s.len && s.ptr[i] && strchr("-_0^#:", s.ptr[i]); i++) {
        f->none |= s.ptr[i] == '-';
        f->space |= s.ptr[i] == '_';
        f->zero |= s.ptr[i] == '0';
        f->upper |= s.ptr[i] == '^';
        f->change |= s.ptr[i] == '#';
        f->colon |= s.ptr[i] == ':';
    }
    for (; i < s.len && digit(s.ptr[i]); i++)
        if (f->width < WIDTH_MAX)
            f->width = f->width * 10 + s.ptr[i] - '0';
    if (f->width > WIDTH_MAX)
        f->width = WIDTH_MAX;
    if (i < s.len && (s.ptr[i] == 'E' || s.ptr[i] == 'O'))
        i++;
    return i;
}

static void put_padded(struct out *o, const char *text, const struct flags *f,
                       int width, char pad)
{
    bool lower = false;
    int n = (int)strlen(text);

    for (int i = 0; i < n; i++)
        lower |= text[i] >= 'a' && text[i] <= 'z';
    if (f->width)
        width = f->width;
    if (f->space || f->zero)
        pad = f->space ? ' ' : '0';
    for (; !f->none && width > n; width--)
        out_char(o, pad);
    for (int i = 0; i < n; i++) {
        uint32_t c = (unsigned char)text[i];

        if (f->upper || (f->change && lower))
            c = unicase_upper(c);
        else if (f->change)
            c = unicase_lower(c);
        out_char(o, (char)c);
    }
}

static void put_conversion(struct out *o, const struct moment *m,
                           const struct flags *f, char letter_, mf_str as_is)
{
    char room[64], pad = '0';
    const char *word;
    int width = 0;
    int64_t n;

    if (letter_ == 'N') { /* fraction of a second, filled at the right */
        snprintf(room, sizeof room, "%d", m->milli);
        width = f->width ? f->width : 9;
        for (int i = 0; i < width; i++)
            out_char(o, i < (int)strlen(room) ? room[i] : '0');
        return;
    }
    if (number_of(m, letter_, &n, &width, &pad)) {
        snprintf(room, sizeof room, letter_ == 'y' ? "%02lld" : "%lld",
                 (long long)n);
        put_padded(o, room, f, width, pad);
        return;
    }
    word = word_of(m, letter_, f->colon, room, sizeof room);
    if (word)
        put_padded(o, word, f, 0, strchr("aAbBcpP", letter_) ? ' ' : '0');
    else
        out_add(o, as_is.ptr, as_is.len);
}

static struct lv format(struct l_call *c, const struct moment *m, mf_str f)
{
    struct flags flags;
    struct out o;

    out_init(&o, c->r->a, f.len * 4 + 32);
    for (size_t i = 0; i < f.len && !o.b.full; i++) {
        size_t at = i, end;

        if (f.ptr[i] != '%') {
            out_char(&o, f.ptr[i]);
            continue;
        }
        end = read_flags(f, i + 1, &flags);
        if (end >= f.len) {
            out_add(&o, f.ptr + at, f.len - at);
            break;
        }
        i = end;
        put_conversion(&o, m, &flags, f.ptr[end],
                       (mf_str){ f.ptr + at, end + 1 - at });
    }
    return lv_text(out_str(&o));
}

/* ---- filters ---- */

static struct lv dated(struct l_call *c, struct lv v, mf_str f,
                       struct lv zone)
{
    struct moment m;
    int64_t ms;
    int offset;

    if (!read_date(c, v, &ms))
        return v;
    if (!read_offset(c, zone, &offset)) {
        liquid_fail(c->r, "Invalid time zone specified");
        return v;
    }
    m = moment_of(ms, offset);
    return format(c, &m, f);
}

static struct lv f_date(struct l_call *c, struct lv v)
{
    struct lv f = l_arg(c, 0);

    return dated(c, v, lv_nil(f) ? MF_STR(DATE_FORMAT) : lv_string(c->r, f),
                 l_arg(c, 1));
}

static struct lv f_xmlschema(struct l_call *c, struct lv v)
{
    return dated(c, v, MF_STR("%Y-%m-%dT%H:%M:%S%:z"), LV(LV_UNDEFINED));
}

static struct lv f_rfc822(struct l_call *c, struct lv v)
{
    return dated(c, v, MF_STR("%a, %d %b %Y %H:%M:%S %z"), LV(LV_UNDEFINED));
}

static struct lv worded(struct l_call *c, struct lv v, char month)
{
    bool ordinal = mf_eq(lv_string(c->r, l_arg(c, 0)), MF_STR("ordinal"));
    bool us = mf_eq(lv_string(c->r, l_arg(c, 1)), MF_STR("US"));
    mf_str f = arena_printf(c->r->a, !ordinal ? "%%d %%%c %%Y"
                                     : us     ? "%%%c %%-d%%q, %%Y"
                                              : "%%-d%%q %%%c %%Y", month);

    return dated(c, v, f, LV(LV_UNDEFINED));
}

static struct lv f_to_string(struct l_call *c, struct lv v)
{
    return worded(c, v, 'b');
}

static struct lv f_to_long_string(struct l_call *c, struct lv v)
{
    return worded(c, v, 'B');
}

const struct l_filter_entry liquid_date_filters[] = {
    { "date", f_date },
    { "date_to_xmlschema", f_xmlschema },
    { "date_to_rfc822", f_rfc822 },
    { "date_to_string", f_to_string },
    { "date_to_long_string", f_to_long_string },
    { NULL, NULL },
};
