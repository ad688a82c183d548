/* SPDX-License-Identifier: Apache-2.0
 *
 * formats.c - see formats.h. */
#include "schema/formats.h"

#include "base/mem.h"
#include "mapping/format.h"
#include "schema/regex.h"

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool named(const char *name, mf_str s)
{
    const struct format *f = format_named(mf_cstr(name));

    return !f || !f->holds || f->holds(s);
}

/* Two digits up to most; -1 if they are not. */
static int pair_of(mf_str s, size_t at, int most)
{
    int n;

    if (s.len < at + 2 || !is_digit(s.ptr[at]) || !is_digit(s.ptr[at + 1]))
        return -1;
    n = (s.ptr[at] - '0') * 10 + (s.ptr[at + 1] - '0');
    return n <= most ? n : -1;
}

/* hh:mm:ss[.fraction] and Z or an offset. A leap second is the last of a day
 * of UTC. */
static bool is_full_time(mf_str s)
{
    int hour = pair_of(s, 0, 23), minute = pair_of(s, 3, 59);
    int second = pair_of(s, 6, 60), oh, om, of_day;
    size_t i = 8;

    if (hour < 0 || minute < 0 || second < 0 || s.ptr[2] != ':' ||
        s.ptr[5] != ':')
        return false;
    if (i < s.len && s.ptr[i] == '.') {
        size_t from = ++i;

        while (i < s.len && is_digit(s.ptr[i]))
            i++;
        if (i == from)
            return false;
    }
    of_day = hour * 60 + minute;
    if (i + 1 == s.len && (s.ptr[i] == 'Z' || s.ptr[i] == 'z'))
        return second < 60 || of_day == 1439;
    oh = pair_of(s, i + 1, 23);
    om = pair_of(s, i + 4, 59);
    if (i + 6 != s.len || (s.ptr[i] != '+' && s.ptr[i] != '-') || oh < 0 ||
        om < 0 || s.ptr[i + 3] != ':')
        return false;
    of_day += (s.ptr[i] == '+' ? -1 : 1) * (oh * 60 + om);
    return second < 60 || (of_day + 2880) % 1440 == 1439;
}

static bool is_date_time(mf_str s)
{
    return s.len > 11 && (s.ptr[10] == 'T' || s.ptr[10] == 't') &&
           named("date", (mf_str){ s.ptr, 10 }) &&
           is_full_time((mf_str){ s.ptr + 11, s.len - 11 });
}

/* Without zeros in front, which some readers take for octal. */
static bool is_ipv4(mf_str s)
{
    for (size_t i = 0; i + 1 < s.len; i++)
        if (s.ptr[i] == '0' && is_digit(s.ptr[i + 1]) &&
            (i == 0 || s.ptr[i - 1] == '.'))
            return false;
    return named("ipv4", s);
}

static bool is_pointer(mf_str s)
{
    if (s.len && s.ptr[0] != '/')
        return false;
    for (size_t i = 0; i < s.len; i++)
        if (s.ptr[i] == '~' &&
            (i + 1 == s.len || (s.ptr[i + 1] != '0' && s.ptr[i + 1] != '1')))
            return false;
    return true;
}

/* A number without zeros in front, then a pointer or #. */
static bool is_relative_pointer(mf_str s)
{
    size_t i = 0;

    while (i < s.len && is_digit(s.ptr[i]))
        i++;
    if (i == 0 || (s.ptr[0] == '0' && i > 1))
        return false;
    if (i + 1 == s.len && s.ptr[i] == '#')
        return true;
    return is_pointer((mf_str){ s.ptr + i, s.len - i });
}

static bool is_regex(mf_str s)
{
    char why[REGEX_WHY];
    struct regex *r = regex_compile(s, why);

    regex_free(r);
    return r != NULL;
}

/* A local part and a domain; what either may hold is not looked at past
 * ASCII. */
static bool is_idn_email(mf_str s)
{
    const char *at = s.len ? memchr(s.ptr, '@', s.len) : NULL;

    for (size_t i = 0; i < s.len; i++)
        if ((unsigned char)s.ptr[i] >= 0x80)
            return at && at > s.ptr && at + 1 < s.ptr + s.len;
    return named("email", s);
}

const struct string_format *string_format_named(mf_str name)
{
    static const struct string_format list[] = {
        { "date-time", is_date_time, NULL },
        { "date", NULL, "date" },
        { "time", is_full_time, NULL },
        { "email", NULL, "email" },
        { "idn-email", is_idn_email, NULL },
        { "hostname", NULL, "hostname" },
        { "ipv4", is_ipv4, NULL },
        { "ipv6", NULL, "ipv6" },
        { "uri", NULL, "uri" },
        { "uri-reference", NULL, "uri-reference" },
        { "uuid", NULL, "uuid" },
        { "json-pointer", is_pointer, NULL },
        { "relative-json-pointer", is_relative_pointer, NULL },
        { "regex", is_regex, NULL },
    };

    for (size_t i = 0; i < COUNT_OF(list); i++)
        if (mf_eq(name, mf_cstr(list[i].name)))
            return &list[i];
    return NULL;
}

bool string_format_holds(const struct string_format *f, mf_str s)
{
    return f->holds ? f->holds(s) : named(f->other, s);
}
