/* SPDX-License-Identifier: Apache-2.0
 *
 * format.c - see format.h. Each check reads its text once, left to right. */
#include "mapping/format.h"

#include "base/mem.h"
#include "mapping/jsvalue.h"

/* ---- letters ---- */

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_alpha(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_alnum(char c)
{
    return is_digit(c) || is_alpha(c);
}

static bool is_hex(char c)
{
    return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

static bool is_among(char c, const char *set)
{
    return c && strchr(set, c);
}

/* Takes n digits at *i as a number. */
static bool digits(mf_str s, size_t *i, size_t n, int *value)
{
    *value = 0;
    if (s.len - *i < n)
        return false;
    for (size_t end = *i + n; *i < end; ++*i) {
        if (!is_digit(s.ptr[*i]))
            return false;
        *value = *value * 10 + (s.ptr[*i] - '0');
    }
    return true;
}

static bool take(mf_str s, size_t *i, char c)
{
    if (*i == s.len || s.ptr[*i] != c)
        return false;
    ++*i;
    return true;
}

/* ---- dates ---- */

static bool is_date(mf_str s)
{
    static const int days[] = { 31, 28, 31, 30, 31, 30,
                                31, 31, 30, 31, 30, 31 };
    size_t i = 0;
    int y, m, d;
    bool leap;

    if (!digits(s, &i, 4, &y) || !take(s, &i, '-') || !digits(s, &i, 2, &m) ||
        !take(s, &i, '-') || !digits(s, &i, 2, &d) || i != s.len)
        return false;
    leap = y % 4 == 0 && (y % 100 != 0 || y % 400 == 0);
    return m >= 1 && m <= 12 && d >= 1 &&
           d <= (m == 2 && leap ? 29 : days[m - 1]);
}

/* Z or an offset; also none: the original means to require one after a date
 * and does not. */
static bool is_zone(mf_str s, size_t i)
{
    int n;

    if (i == s.len)
        return true;
    if (s.ptr[i] == 'Z' || s.ptr[i] == 'z')
        return i + 1 == s.len;
    if (s.ptr[i] != '+' && s.ptr[i] != '-')
        return false;
    i++;
    if (!digits(s, &i, 2, &n))
        return false;
    if (i == s.len)
        return true;
    take(s, &i, ':');
    return digits(s, &i, 2, &n) && i == s.len;
}

static bool is_time(mf_str s)
{
    size_t i = 0, from;
    int h, m, sec;

    if (!digits(s, &i, 2, &h) || !take(s, &i, ':') || !digits(s, &i, 2, &m) ||
        !take(s, &i, ':') || !digits(s, &i, 2, &sec))
        return false;
    if (take(s, &i, '.')) {
        for (from = i; i < s.len && is_digit(s.ptr[i]);)
            i++;
        if (i == from)
            return false;
    }
    if (!is_zone(s, i))
        return false;
    return (h <= 23 && m <= 59 && sec <= 59) ||
           (h == 23 && m == 59 && sec == 60);
}

static bool is_date_time(mf_str s)
{
    if (s.len < 12 || !is_among(s.ptr[10], "tT \t\n\v\f\r"))
        return false;
    return is_date((mf_str){ s.ptr, 10 }) &&
           is_time((mf_str){ s.ptr + 11, s.len - 11 });
}

/* ---- addresses of hosts ---- */

static bool dotted(mf_str s, bool zeros)
{
    size_t i = 0;

    for (int part = 0; part < 4; part++) {
        size_t from = i;
        int v = 0;

        if (part && !take(s, &i, '.'))
            return false;
        from = i;
        while (i < s.len && is_digit(s.ptr[i]) && i - from < 3)
            v = v * 10 + (s.ptr[i++] - '0');
        if (i == from || v > 255 ||
            (!zeros && s.ptr[from] == '0' && i - from > 1))
            return false;
    }
    return i == s.len;
}

static bool is_ipv4(mf_str s)
{
    return dotted(s, true);
}

/* Eight groups, "::" for one or more of them, the last two perhaps written
 * as an IPv4 address; zeros: whose parts may begin with 0. */
static bool groups_of_hex(mf_str s, bool zeros)
{
    int groups = 0;
    bool gap = false;
    size_t i = 0, from;

    if (s.len >= 2 && s.ptr[0] == ':' && s.ptr[1] == ':') {
        gap = true;
        i = 2;
    }
    while (i < s.len) {
        for (from = i; i < s.len && is_hex(s.ptr[i]);)
            i++;
        if (i < s.len && s.ptr[i] == '.') {
            groups += 2;
            i = s.len;
            if (!dotted((mf_str){ s.ptr + from, s.len - from }, zeros))
                return false;
            break;
        }
        if (i == from || i - from > 4)
            return false;
        groups++;
        if (i == s.len)
            break;
        if (s.ptr[i++] != ':' || i == s.len)
            return false;
        if (s.ptr[i] == ':') {
            if (gap)
                return false;
            gap = true;
            i++;
        }
    }
    return gap ? groups < 8 : groups == 8;
}

static bool is_ipv6(mf_str s)
{
    return groups_of_hex(s, false);
}

/* One label of a host's name; longest 0: any length. */
static bool is_label(mf_str s, size_t longest)
{
    if (s.len == 0 || (longest && s.len > longest) || !is_alnum(s.ptr[0]) ||
        !is_alnum(s.ptr[s.len - 1]))
        return false;
    for (size_t i = 0; i < s.len; i++)
        if (!is_alnum(s.ptr[i]) && s.ptr[i] != '-')
            return false;
    return true;
}

static bool are_labels(mf_str s, size_t longest, size_t least)
{
    size_t from = 0, n = 0;

    for (size_t i = 0; i <= s.len; i++)
        if (i == s.len || s.ptr[i] == '.') {
            if (!is_label((mf_str){ s.ptr + from, i - from }, longest))
                return false;
            from = i + 1;
            n++;
        }
    return n >= least;
}

static bool is_hostname(mf_str s)
{
    if (s.len && s.ptr[s.len - 1] == '.')
        s.len--;
    return s.len <= 253 && are_labels(s, 63, 1);
}

static bool is_email(mf_str s)
{
    const char *at = s.len ? memchr(s.ptr, '@', s.len) : NULL;
    size_t local = at ? (size_t)(at - s.ptr) : 0;

    if (local == 0 || s.ptr[0] == '.' || s.ptr[local - 1] == '.')
        return false;
    for (size_t i = 0; i < local; i++) {
        if (s.ptr[i] == '.' && s.ptr[i + 1] == '.')
            return false;
        if (!is_alnum(s.ptr[i]) && !is_among(s.ptr[i], ".!#$%&'*+/=?^_`{|}~-"))
            return false;
    }
    return are_labels((mf_str){ at + 1, s.len - local - 1 }, 0, 2);
}

/* ---- URIs (RFC 3986) ---- */

static bool is_escape(mf_str s, size_t i)
{
    return s.len - i >= 3 && s.ptr[i] == '%' && is_hex(s.ptr[i + 1]) &&
           is_hex(s.ptr[i + 2]);
}

/* Moves *i over letters, digits, escapes and what is in set. */
static void run_of(mf_str s, size_t *i, const char *set)
{
    while (*i < s.len) {
        if (is_alnum(s.ptr[*i]) || is_among(s.ptr[*i], set))
            ++*i;
        else if (is_escape(s, *i))
            *i += 3;
        else
            break;
    }
}

static bool is_bracketed_host(mf_str s, size_t *i)
{
    const char *close = memchr(s.ptr + *i, ']', s.len - *i);
    mf_str inside;
    size_t j = 1;

    if (!close)
        return false;
    inside = (mf_str){ s.ptr + *i + 1, (size_t)(close - s.ptr) - *i - 1 };
    *i = (size_t)(close - s.ptr) + 1;
    if (inside.len == 0 || (inside.ptr[0] | 0x20) != 'v')
        return groups_of_hex(inside, true);
    while (j < inside.len && is_hex(inside.ptr[j]))
        j++;
    if (j == 1 || !take(inside, &j, '.') || j == inside.len)
        return false;
    for (; j < inside.len; j++)
        if (!is_alnum(inside.ptr[j]) &&
            !is_among(inside.ptr[j], "-._~!$&'()*+,;=:"))
            return false;
    return true;
}

/* [?query][#fragment] and the end. */
static bool tail(mf_str s, size_t i, const char *set)
{
    if (take(s, &i, '?'))
        run_of(s, &i, set);
    if (take(s, &i, '#'))
        run_of(s, &i, set);
    return i == s.len;
}

/* What follows the scheme. A name as host and its port look like any path, so
 * that only a host in brackets needs to be told apart: one slash or two,
 * [user@], the host, [:port], then a path that begins with a slash. set is
 * what may stand beside letters and digits, / and ? first. */
static bool rest_of_uri(mf_str s, size_t i, const char *set, bool empty)
{
    const char *path = set + 1;
    size_t from = i;

    run_of(s, &i, path);
    if (tail(s, i, set))
        return empty || i > from;
    i = from;
    if (!take(s, &i, '/'))
        return false;
    take(s, &i, '/');
    from = i;
    run_of(s, &from, "-._~!$&'()*+,;=:");
    if (take(s, &from, '@'))
        i = from;
    if (i == s.len || s.ptr[i] != '[' || !is_bracketed_host(s, &i))
        return false;
    if (take(s, &i, ':'))
        while (i < s.len && is_digit(s.ptr[i]))
            i++;
    if (i < s.len && s.ptr[i] == '/')
        run_of(s, &i, path);
    return tail(s, i, set);
}

/* The length of "scheme:", 0 if there is none. */
static size_t scheme(mf_str s)
{
    size_t i = 0;

    if (s.len == 0 || !is_alpha(s.ptr[0]))
        return 0;
    while (i < s.len && (is_alnum(s.ptr[i]) || is_among(s.ptr[i], "+-.")))
        i++;
    return i < s.len && s.ptr[i] == ':' ? i + 1 : 0;
}

static bool is_uri(mf_str s)
{
    size_t i = scheme(s);

    return i > 0 && rest_of_uri(s, i, "?/-._~!$&'()*+,;=:@", false);
}

static bool is_uri_reference(mf_str s)
{
    static const char *const set = "?/-._~!$&'\"()*+,;=:@";
    size_t i = scheme(s);

    return (i > 0 && rest_of_uri(s, i, set, true)) ||
           rest_of_uri(s, 0, set, true);
}

/* ---- identifiers ---- */

static bool is_uuid(mf_str s)
{
    if (s.len == 45 && memcmp(s.ptr, "urn:uuid:", 9) == 0) {
        s.ptr += 9;
        s.len -= 9;
    }
    if (s.len != 36)
        return false;
    for (size_t i = 0; i < s.len; i++) {
        bool dash = i == 8 || i == 13 || i == 18 || i == 23;

        if (dash ? s.ptr[i] != '-' : !is_hex(s.ptr[i]))
            return false;
    }
    return true;
}

const struct format *format_named(mf_str name)
{
    static const struct format list[] = {
        { "text", "text", NULL },
        { "password", "password", NULL },
        { "binary", "binary", NULL },
        { "date-like", "date-like", js_date_like },
        { "date", "date", is_date },
        { "time", "time", is_time },
        { "date-time", "date and time", is_date_time },
        { "email", "email address", is_email },
        { "hostname", "hostname", is_hostname },
        { "ipv4", "IPv4 address", is_ipv4 },
        { "ipv6", "IPv6 address", is_ipv6 },
        { "uri", "URI", is_uri },
        { "uri-reference", "URI Reference", is_uri_reference },
        { "uuid", "uuid", is_uuid },
    };

    for (size_t i = 0; i < COUNT_OF(list); i++)
        if (mf_eq(name, mf_cstr(list[i].name)))
            return &list[i];
    return NULL;
}
