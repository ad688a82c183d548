/* SPDX-License-Identifier: Apache-2.0
 *
 * names.c - from what people call their events and properties to names that a
 * database takes.
 *
 * A name is made of words: runs of capitals and digits with the small letters
 * and digits behind them, ASCII only, joined by underscores. That is what the
 * go-snakecase package does that Segment's warehouses use. A text with no such
 * letter in it still gets a name, from its digest. */
#include "rows.h"

#include <stdio.h>

static bool is_lower(char c)
{
    return c >= 'a' && c <= 'z';
}

static bool is_upper(char c)
{
    return c >= 'A' && c <= 'Z';
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

struct maker {
    char *to;
    size_t len, max;
};

static void put(struct maker *m, char c)
{
    if (m->len < m->max)
        m->to[m->len++] = c;
}

/* One word from p on; returns its end, p if there is none. */
static const char *word(struct maker *m, const char *p, const char *end)
{
    if (m->len)
        put(m, '_');
    for (; p < end && (is_upper(*p) || is_digit(*p)); p++)
        put(m, is_upper(*p) ? (char)(*p | 0x20) : *p);
    for (; p < end && (is_lower(*p) || is_digit(*p)); p++)
        put(m, *p);
    return p;
}

static void words(struct maker *m, mf_str text)
{
    const char *p = text.ptr, *end = p + text.len;

    while (p < end) {
        if (is_lower(*p) || is_upper(*p) || is_digit(*p))
            p = word(m, p, end);
        else
            p++;
    }
}

/* FNV-1a: the same text always has the same name. */
static void from_digest(struct maker *m, mf_str text)
{
    uint32_t sum = 2166136261u;
    char name[16];

    for (size_t i = 0; i < text.len; i++)
        sum = (sum ^ (unsigned char)text.ptr[i]) * 16777619u;
    snprintf(name, sizeof name, "_%08x", (unsigned)sum);
    for (const char *p = name; *p; p++)
        put(m, *p);
}

static void finish(struct maker *m, size_t before, mf_str text)
{
    if (m->len == before)
        from_digest(m, text);
    while (m->len > 1 && m->to[m->len - 1] == '_')
        m->len--;
    m->to[m->len] = '\0';
}

void name_of(const struct dialect *d, mf_str text, char to[NAME_BYTES])
{
    struct maker m = { to, 0, d->name_max };

    words(&m, text);
    finish(&m, 0, text);
    if (is_digit(to[0])) {
        size_t keep = m.len < d->name_max ? m.len : d->name_max - 1;

        memmove(to + 1, to, keep);
        to[0] = '_';
        to[keep + 1] = '\0';
    }
}

void name_below(const struct dialect *d, const char *above, mf_str text,
                char to[NAME_BYTES])
{
    struct maker m = { to, strlen(above), d->name_max };
    size_t before = m.len;

    if (!before) {
        name_of(d, text, to);
        return;
    }
    memmove(to, above, before);
    words(&m, text);
    finish(&m, before, text);
}

static bool is_reserved(const struct dialect *d, const char *name)
{
    size_t from = 0, to = d->reserved_count;

    while (from < to) {
        size_t mid = (from + to) / 2;
        int order = strcmp(name, d->reserved[mid]);

        if (order == 0)
            return true;
        if (order < 0)
            to = mid;
        else
            from = mid + 1;
    }
    return false;
}

void name_free(const struct dialect *d, const char *const *taken, size_t n,
               char name[NAME_BYTES])
{
    size_t len = strlen(name);

    if (kit_index(mf_cstr(name), taken, n) == n && !is_reserved(d, name))
        return;
    len = len < d->name_max ? len : d->name_max - 1;
    memmove(name + 1, name, len);
    name[0] = '_';
    name[len + 1] = '\0';
}
