/* SPDX-License-Identifier: Apache-2.0
 *
 * values.c - what type a value has, whether a column of another type can hold
 * it, and how it is written for COPY.
 *
 * Times are strings in the shape of ISO 8601 with a whole date; one without
 * zone is UTC. Numbers keep their digits: an integer beyond 64 bits is text. */
#include "rows.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define NUMBER_BYTES 64 /* longer ones are text */
#define TIME_BYTES   48

/* ---- text that grows ---- */

static void out_room(struct out *o, size_t more)
{
    size_t cap = o->cap ? o->cap : 256;
    char *p;

    while (cap - o->len < more)
        cap *= 2;
    if (cap == o->cap)
        return;
    p = realloc(o->data, cap);
    if (!p)
        abort(); /* the worker is the unit of failure */
    o->data = p;
    o->cap = cap;
}

void out_add(struct out *o, const char *bytes, size_t len)
{
    out_room(o, len + 1);
    if (len)
        memcpy(o->data + o->len, bytes, len);
    o->len += len;
    o->data[o->len] = '\0';
}

void out_text(struct out *o, const char *text)
{
    out_add(o, text, strlen(text));
}

void out_name(struct out *o, const char *name)
{
    out_add(o, "\"", 1);
    for (; *name; name++)
        out_add(o, *name == '"' ? "\"\"" : name, *name == '"' ? 2 : 1);
    out_add(o, "\"", 1);
}

/* For text of ours: it has no backslash, which servers read differently. */
void out_quoted(struct out *o, const char *text)
{
    out_add(o, "'", 1);
    for (; *text; text++)
        out_add(o, *text == '\'' ? "''" : text, *text == '\'' ? 2 : 1);
    out_add(o, "'", 1);
}

void out_format(struct out *o, const char *format, ...)
{
    va_list ap;
    int n;

    va_start(ap, format);
    n = vsnprintf(NULL, 0, format, ap);
    va_end(ap);
    out_room(o, (size_t)n + 1);
    va_start(ap, format);
    vsnprintf(o->data + o->len, (size_t)n + 1, format, ap);
    va_end(ap);
    o->len += (size_t)n;
}

void out_free(struct out *o)
{
    free(o->data);
    *o = (struct out){ 0 };
}

/* ---- times ---- */

static bool digits(const char **p, const char *end, int n)
{
    for (; n; n--, (*p)++)
        if (*p == end || **p < '0' || **p > '9')
            return false;
    return true;
}

static bool is_one(const char **p, const char *end, const char *of)
{
    if (*p == end || !**p || !strchr(of, **p))
        return false;
    (*p)++;
    return true;
}

/* Nothing, Z, or an offset such as +05:30, to the end. */
static bool zone(const char *p, const char *end)
{
    if (p == end)
        return true;
    if (is_one(&p, end, "Zz"))
        return p == end;
    if (!is_one(&p, end, "+-") || !digits(&p, end, 2))
        return false;
    if (p == end)
        return true;
    is_one(&p, end, ":");
    return digits(&p, end, 2) && p == end;
}

/* YYYY-MM-DD, and perhaps T or a blank, HH:MM, :SS, a fraction and a zone.
 * *clock is where the time of day begins, *rest what is behind the seconds. */
static bool shape(mf_str s, const char **clock, const char **rest)
{
    const char *p = s.ptr, *end = p + s.len;

    if (!digits(&p, end, 4) || !is_one(&p, end, "-") || !digits(&p, end, 2) ||
        !is_one(&p, end, "-") || !digits(&p, end, 2))
        return false;
    *clock = *rest = end;
    if (p == end)
        return true;
    if (!is_one(&p, end, "Tt ") || !digits(&p, end, 2) ||
        !is_one(&p, end, ":") || !digits(&p, end, 2))
        return false;
    *clock = s.ptr + 11;
    if (is_one(&p, end, ":") && !digits(&p, end, 2))
        return false;
    if (is_one(&p, end, ".")) {
        if (!digits(&p, end, 1))
            return false;
        while (digits(&p, end, 1))
            ;
    }
    *rest = p;
    return zone(p, end);
}

static bool is_time(mf_call *c, mf_val v, mf_str text)
{
    const char *clock, *rest;

    return text.len >= 10 && text.len < TIME_BYTES &&
           shape(text, &clock, &rest) && memcmp(text.ptr, "0000", 4) != 0 &&
           mf_time(c, v, INT64_MIN) != INT64_MIN;
}

static void write_time(mf_str s, struct out *to)
{
    const char *clock = NULL, *rest = NULL, *end = s.ptr + s.len;

    shape(s, &clock, &rest);
    out_add(to, s.ptr, 10);
    out_text(to, "T");
    if (clock == end)
        out_text(to, "00:00");
    else
        out_add(to, clock, (size_t)(rest - clock));
    if (rest - clock <= 5)
        out_text(to, ":00");
    if (rest == end || *rest == 'z')
        out_text(to, "Z");
    else
        out_add(to, rest, (size_t)(end - rest));
}

/* ---- numbers ---- */

/* Digits with a sign perhaps, within 64 bits. */
static bool is_int(mf_str s)
{
    char copy[NUMBER_BYTES], *end;

    if (!s.len || s.len > 20 || (s.ptr[0] != '-' &&
                                 (s.ptr[0] < '0' || s.ptr[0] > '9')))
        return false;
    memcpy(copy, s.ptr, s.len);
    copy[s.len] = '\0';
    errno = 0;
    (void)strtoll(copy, &end, 10);
    return *end == '\0' && errno == 0 && end != copy;
}

/* A number as JSON writes it that a double holds. */
static bool is_float(mf_str s, double *to)
{
    char copy[NUMBER_BYTES], *end;

    if (!s.len || s.len >= sizeof copy ||
        (s.ptr[0] != '-' && (s.ptr[0] < '0' || s.ptr[0] > '9')))
        return false;
    memcpy(copy, s.ptr, s.len);
    copy[s.len] = '\0';
    if (strspn(copy, "0123456789+-.eE") != s.len)
        return false;
    errno = 0;
    *to = strtod(copy, &end);
    return *end == '\0' && errno == 0;
}

static enum type type_of_number(mf_str raw)
{
    double n;

    if (is_int(raw))
        return TYPE_INT;
    if (memchr(raw.ptr, '.', raw.len) || memchr(raw.ptr, 'e', raw.len) ||
        memchr(raw.ptr, 'E', raw.len))
        return is_float(raw, &n) ? TYPE_FLOAT : TYPE_TEXT;
    return TYPE_TEXT; /* a whole number that would lose its last digits */
}

/* ---- values ---- */

bool value_read(mf_call *c, mf_val v, struct value *to)
{
    to->raw = to->text = kit_raw(v);
    switch (v.type) {
    case MF_BOOL:
        to->type = TYPE_BOOL;
        return true;
    case MF_NUMBER:
        to->type = type_of_number(to->raw);
        return true;
    case MF_STRING:
        to->text = mf_text(c, v);
        to->type = is_time(c, v, to->text) ? TYPE_TIME : TYPE_TEXT;
        return true;
    case MF_ARRAY:
        to->raw = to->text = mf_stringify(c, v);
        to->type = TYPE_TEXT;
        return true;
    default:
        return false;
    }
}

static enum fit fit_int(const struct value *v)
{
    double n;

    if (v->type == TYPE_BOOL || v->type == TYPE_TIME)
        return FIT_NOT;
    if (is_int(v->text))
        return FIT;
    if (!is_float(v->text, &n) || fabs(n) >= 9.2e18)
        return FIT_NOT;
    return n == (double)(int64_t)n ? FIT : FIT_PART;
}

static enum fit fit_bool(const struct value *v)
{
    if (v->type == TYPE_BOOL || mf_eq(v->text, MF_STR("true")) ||
        mf_eq(v->text, MF_STR("false")))
        return FIT;
    return FIT_NOT;
}

enum fit value_fit(enum type column, const struct value *v)
{
    double n;

    switch (column) {
    case TYPE_BOOL:
        return fit_bool(v);
    case TYPE_INT:
        return fit_int(v);
    case TYPE_FLOAT:
        return is_float(v->text, &n) && v->type != TYPE_TIME ? FIT : FIT_NOT;
    case TYPE_TIME:
        return v->type == TYPE_TIME ? FIT : FIT_NOT;
    default:
        return FIT;
    }
}

/* How many bytes of text a limited column takes, whole characters. */
static size_t cut(const struct dialect *d, mf_str s, uint32_t limit)
{
    size_t at = 0, count = 0;

    if (!limit || s.len <= limit)
        return s.len;
    while (at < s.len) {
        size_t next = at + 1;

        while (next < s.len && ((unsigned char)s.ptr[next] & 0xc0) == 0x80)
            next++;
        count += d->limit_in_bytes ? next - at : 1;
        if (count > limit)
            break;
        at = next;
    }
    return at;
}

static void write_special(const struct dialect *d, char c, struct out *to)
{
    char escaped[2] = { '\\', c };

    if (!d->plain_escapes && c == '\n')
        escaped[1] = 'n';
    else if (!d->plain_escapes && c == '\r')
        escaped[1] = 'r';
    else if (!d->plain_escapes && c == '\t')
        escaped[1] = 't';
    out_add(to, escaped, 2);
}

/* No server takes a NUL in text; it is left out. */
static void write_text(const struct dialect *d, mf_str s, struct out *to)
{
    size_t from = 0;

    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];

        if (c != '\\' && c != '\n' && c != '\r' && c != '\t' && c)
            continue;
        out_add(to, s.ptr + from, i - from);
        if (c)
            write_special(d, c, to);
        from = i + 1;
    }
    out_add(to, s.ptr + from, s.len - from);
}

void value_write(const struct dialect *d, enum type column, uint32_t limit,
                 const struct value *v, struct out *to)
{
    mf_str s = column == TYPE_JSON ? v->raw : v->text;
    double n;

    if (value_fit(column, v) == FIT_NOT)
        return;
    if (column == TYPE_TIME) {
        write_time(s, to);
        return;
    }
    if (column == TYPE_INT && !is_int(s) && is_float(s, &n)) {
        out_format(to, "%lld", (long long)n);
        return;
    }
    if (column == TYPE_TEXT)
        s.len = cut(d, s, limit);
    write_text(d, s, to);
}
