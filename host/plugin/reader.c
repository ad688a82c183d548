/* SPDX-License-Identifier: Apache-2.0
 *
 * reader.c - see reader.h. */
#include "plugin/reader.h"

#include "base/text.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const char *const kind_names[] = {
    [MEMBER_TEXT] = "a string",      [MEMBER_TEXTS] = "an array of strings",
    [MEMBER_BOOL] = "true or false", [MEMBER_COUNT] = "a whole number above 0",
    [MEMBER_NUMBER] = "a number",    [MEMBER_ARRAY] = "an array",
    [MEMBER_OBJECT] = "an object",   [MEMBER_ANY] = "a value",
};

int reader_fault(struct reader *r, const char *at, const char *format, ...)
{
    char what[ERR_TEXT];
    unsigned line, column;
    va_list ap;

    va_start(ap, format);
    vsnprintf(what, sizeof what, format, ap);
    va_end(ap);
    if (!at)
        return err_set(r->err, "%s: %s", r->name, what);
    json_place(r->text, (size_t)(at - r->text.ptr), &line, &column);
    return err_set(r->err, "%s:%u:%u: %s", r->name, line, column, what);
}

const char *reader_text(struct reader *r, mf_val v)
{
    return arena_copy(r->arena, json_text(v, r->arena)).ptr;
}

const char *reader_at(mf_val object, const char *member)
{
    mf_val v = json_get(object, mf_cstr(member));

    return v.raw ? v.raw : object.raw;
}

/* Bytes that one escape stands for; *p is behind the backslash and moves on.
 * The text was checked, so the digits are there. */
static size_t escape_bytes(const char **p, const char *end)
{
    unsigned code;

    if (*(*p)++ != 'u')
        return 1;
    sscanf(*p, "%4x", &code);
    *p += 4;
    if (code < 0x80)
        return 1;
    if (code < 0x800)
        return 2;
    if (code >= 0xD800 && code < 0xDC00 && end - *p >= 6 && **p == '\\' &&
        (*p)[1] == 'u' && strchr("dD", (*p)[2]) &&
        strchr("cdefCDEF", (*p)[3])) {
        *p += 6;
        return 4;
    }
    return 3;
}

const char *reader_in(mf_val v, size_t offset)
{
    const char *p = v.raw + 1, *end = v.raw + v.len - 1;

    if (v.type != MF_STRING)
        return v.raw;
    while (p < end && offset) {
        size_t n = 1;

        if (*p++ == '\\')
            n = escape_bytes(&p, end);
        offset -= n < offset ? n : offset;
    }
    return p;
}

const char *reader_hint(struct arena *a, const char *word,
                        const char *const *names)
{
    const char *near = nearest(word, names);

    return near ? arena_printf(a, "; did you mean `%s`?", near).ptr : "";
}

static int unknown(struct reader *r, mf_str raw, const struct member *table,
                   size_t count, const char *what)
{
    const char *names[READER_MEMBERS_MAX + 1];
    const char *key;
    size_t i;

    key = arena_copy(r->arena, json_unescape(raw, r->arena)).ptr;
    for (i = 0; i < count; i++)
        names[i] = table[i].name;
    names[i] = NULL;
    return reader_fault(r, raw.ptr - 1, "%s has no member `%s`%s", what, key,
                        reader_hint(r->arena, key, names));
}

static bool is_text(struct reader *r, mf_val v)
{
    mf_str s = json_text(v, r->arena);

    return v.type == MF_STRING && s.len && !memchr(s.ptr, 0, s.len);
}

static const char *const *texts(struct reader *r, mf_val v)
{
    size_t n = json_count(v), i = 0;
    const char **list;
    mf_iter it = { { 0 } };
    mf_str key;
    mf_val one;

    if (v.type != MF_ARRAY || n > READER_TEXTS_MAX)
        return NULL;
    list = arena_zalloc(r->arena, (n + 1) * sizeof *list);
    while (json_next(v, &it, &key, &one)) {
        if (!is_text(r, one))
            return NULL;
        list[i++] = reader_text(r, one);
    }
    return list;
}

/* False when v is not of the kind. */
static bool store(struct reader *r, const struct member *m, mf_val v,
                  void *into)
{
    char *to = (char *)into + m->offset;
    int64_t n;

    switch (m->kind) {
    case MEMBER_TEXT:
        if (is_text(r, v))
            *(const char **)(void *)to = reader_text(r, v);
        return is_text(r, v);
    case MEMBER_TEXTS:
        return (*(const char *const **)(void *)to = texts(r, v)) != NULL;
    case MEMBER_BOOL:
        *(bool *)to = json_is_true(v);
        return v.type == MF_BOOL;
    case MEMBER_COUNT:
        if (!json_integer(v, &n) || n < 1)
            return false;
        *(uint64_t *)(void *)to = (uint64_t)n;
        return true;
    default:
        *(mf_val *)(void *)to = v;
        return m->kind == MEMBER_ANY ||
               v.type == (m->kind == MEMBER_NUMBER  ? MF_NUMBER
                          : m->kind == MEMBER_ARRAY ? MF_ARRAY
                                                    : MF_OBJECT);
    }
}

static int read_member(struct reader *r, const struct member *m, mf_val v,
                       void *into)
{
    if (m->kind == MEMBER_ANY && v.type == MF_NULL && !m->required)
        return 0;
    if (!store(r, m, v, into))
        return reader_fault(r, v.raw, "`%s` must be %s%s", m->name,
                            kind_names[m->kind],
                            m->kind == MEMBER_TEXT && v.type == MF_STRING
                                ? " that is not empty"
                                : "");
    return 0;
}

int reader_object(struct reader *r, mf_val v, const struct member *table,
                  size_t count, void *into, const char *what)
{
    uint32_t seen = 0;
    mf_iter it = { { 0 } };
    mf_str key;
    mf_val one;
    size_t i;

    ASSERT(count <= READER_MEMBERS_MAX);
    if (v.type != MF_OBJECT)
        return reader_fault(r, v.raw, "%s must be an object", what);
    while (json_next(v, &it, &key, &one)) {
        for (i = 0; i < count; i++)
            if (json_key_is(key, mf_cstr(table[i].name)))
                break;
        if (i == count)
            return unknown(r, key, table, count, what);
        if (seen & 1u << i)
            return reader_fault(r, key.ptr - 1, "`%s` stands here twice",
                                table[i].name);
        seen |= 1u << i;
        if (read_member(r, &table[i], one, into) != 0)
            return -1;
    }
    for (i = 0; i < count; i++)
        if (table[i].required && !(seen & 1u << i))
            return reader_fault(r, v.raw, "%s must have `%s`", what,
                                table[i].name);
    return 0;
}
