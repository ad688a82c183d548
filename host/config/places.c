/* SPDX-License-Identifier: Apache-2.0
 *
 * places.c - from a member of the configuration back to its file.
 *
 * While a configuration is read, each member's address is noted beside the
 * byte it came from. When all is read the notes are sorted once. */
#include "config/member.h"

#include <stdlib.h>

static int by_member(const void *left, const void *right)
{
    const struct member_place *a = left, *b = right;

    return a->member < b->member ? -1 : a->member > b->member;
}

void member_note_place(struct config *c, const void *member, const char *at)
{
    struct config_private *p = c->private;

    if (p->place_count == p->place_room) {
        p->place_room = p->place_room ? p->place_room * 2 : 256;
        p->places = xrealloc(p->places, p->place_room * sizeof *p->places);
    }
    p->places[p->place_count++] = (struct member_place){ member, at };
    p->sorted = false;
}

void member_sort_places(struct config *c)
{
    struct config_private *p = c->private;

    if (p->place_count)
        qsort(p->places, p->place_count, sizeof *p->places, by_member);
    p->sorted = true;
}

static const struct member_place *find(const struct config_private *p,
                                       const void *member)
{
    struct member_place key = { member, NULL };

    if (p->sorted)
        return p->place_count ? bsearch(&key, p->places, p->place_count,
                                        sizeof *p->places, by_member)
                              : NULL;
    for (size_t i = p->place_count; i-- > 0;)
        if (p->places[i].member == member)
            return &p->places[i];
    return NULL;
}

static const struct conf_file *file_of(const struct config *c, const char *at)
{
    for (size_t i = 0; i < c->private->file_count; i++)
        if (conf_file_holds(&c->private->files[i], at))
            return &c->private->files[i];
    return NULL;
}

struct place config_place(const struct config *c, const void *member)
{
    const struct member_place *found = find(c->private, member);

    return config_place_of(c, found ? found->at : NULL);
}

struct place config_place_of(const struct config *c, const char *at)
{
    const struct conf_file *f = at ? file_of(c, at) : NULL;

    return f ? conf_file_place(f, at) : (struct place){ c->path, 0, 0 };
}

const char *member_quote(const struct config *c, const void *member,
                         char out[CONF_QUOTE])
{
    const struct member_place *found = find(c->private, member);
    const struct conf_file *f = found ? file_of(c, found->at) : NULL;

    ASSERT(f);
    return conf_file_quote(
        f,
        json_root((mf_str){ found->at, (size_t)(f->text.data + f->text.len -
                                                found->at) }),
        out);
}

/* How many bytes of raw text the character at p takes, and how many it is
 * unescaped. A surrogate pair is one character. */
static size_t step(const char *p, const char *end, size_t *text)
{
    static const char zeros[] = "0123456789abcdefABCDEF";
    unsigned code = 0;

    *text = 1;
    if (*p != '\\')
        return 1;
    if (p[1] != 'u')
        return 2;
    for (int i = 2; i < 6; i++) {
        unsigned digit = (unsigned)(strchr(zeros, p[i]) - zeros);

        code = code * 16 + (digit > 15 ? digit - 6 : digit);
    }
    *text = code < 0x80 ? 1 : code < 0x800 ? 2 : 3;
    if (code >= 0xD800 && code < 0xDC00 && end - p >= 12 && p[6] == '\\' &&
        p[7] == 'u' && strchr("dD", p[8]) && strchr("cdefCDEF", p[9])) {
        *text = 4;
        return 12;
    }
    return 6;
}

struct place config_place_in(const struct config *c, mf_val string,
                             size_t offset)
{
    const char *p = string.raw + 1, *end = string.raw + string.len - 1;
    size_t text;

    ASSERT(string.type == MF_STRING);
    while (p < end) {
        size_t raw = step(p, end, &text);

        if (offset < text)
            break;
        offset -= text;
        p += raw;
    }
    return config_place_of(c, p);
}

bool config_is_broken(const struct config *c, mf_val v)
{
    const struct conf_file *f = file_of(c, v.raw);

    for (size_t i = f ? conf_file_segment(f, v.raw) : 0;
         f && i < f->segment_count; i++) {
        if (f->text.data + f->segments[i].out >= v.raw + v.len)
            break;
        if (f->segments[i].kind == SEGMENT_BROKEN)
            return true;
    }
    return false;
}
