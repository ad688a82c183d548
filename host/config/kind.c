/* SPDX-License-Identifier: Apache-2.0
 *
 * kind.c - see kind.h: faults of values, readers of what holds other values,
 * and the table of kinds. Single values are read in scalar.c. */
#include "config/kind.h"

#include "base/text.h"
#include "config/scalar.h"
#include "mapping/fql.h"
#include "mapping/mapping.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>

#define FAULT_TEXT     900 /* bytes of one fault before its place */
#define MAPPING_FAULTS 20  /* told of one mapping */

/* ---- faults ---- */

void conf_fault(struct reader *r, const char *at, const char *format, ...)
{
    char text[FAULT_TEXT];
    va_list ap;

    ASSERT(r->file);
    va_start(ap, format);
    vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    faults_error(r->faults, conf_file_place(r->file, at), "%s", text);
}

static void put_duration(struct buf *b, double ms)
{
    static const struct {
        double ms;
        const char *unit;
    } units[] = { { 86400000, "d" }, { 3600000, "h" }, { 60000, "m" },
                  { 1000, "s" },     { 1, "ms" } };

    for (size_t i = 0; i < COUNT_OF(units); i++)
        if ((ms > 0 && fmod(ms, units[i].ms) == 0) || units[i].ms == 1) {
            buf_printf(b, "%.0f%s", ms / units[i].ms, units[i].unit);
            return;
        }
}

static void put_size(struct buf *b, double bytes)
{
    static const char *const units[] = { "", "KiB", "MiB", "GiB", "TiB" };
    size_t i = 0;

    while (i + 1 < COUNT_OF(units) && bytes >= 1024 && fmod(bytes, 1024) == 0) {
        bytes /= 1024;
        i++;
    }
    buf_printf(b, "%.0f%s", bytes, units[i]);
}

static void put_bound(struct buf *b, enum kind_range range, double v)
{
    if (range == RANGE_DURATION)
        put_duration(b, v);
    else if (range == RANGE_SIZE)
        put_size(b, v);
    else
        buf_printf(b, "%.0f", v);
}

static void put_wanted(struct buf *b, const struct member *m)
{
    const struct kind *k = &kinds[m->kind];
    const char *const *word = m->more;

    if (k->noun) {
        buf_puts(b, k->noun);
    } else {
        for (; *word; word++) {
            if (word != m->more)
                buf_puts(b, word[1] ? ", " : " or ");
            buf_printf(b, "\"%s\"", *word);
        }
    }
    if (k->range == RANGE_NONE || (m->min == 0 && m->max == 0))
        return;
    buf_puts(b, k->range == RANGE_LENGTH ? " of " : ", from ");
    put_bound(b, k->range, m->min);
    buf_puts(b, " to ");
    put_bound(b, k->range, m->max);
    if (k->range == RANGE_LENGTH)
        buf_puts(b, " bytes");
}

/* What may be secret is not quoted. */
static const char *describe(struct reader *r, const struct member *m, mf_val v,
                            char *out, size_t size)
{
    char quote[CONF_QUOTE];

    if (!kinds[m->kind].plain && v.type == MF_STRING)
        return "this string";
    switch (v.type) {
    case MF_STRING:
        snprintf(out, size, "the string %s",
                 conf_file_quote(r->file, v, quote));
        break;
    case MF_NUMBER:
        snprintf(out, size, "the number %s",
                 conf_file_quote(r->file, v, quote));
        break;
    case MF_ARRAY:
        snprintf(out, size, "an array");
        break;
    case MF_OBJECT:
        snprintf(out, size, "an object");
        break;
    default:
        snprintf(out, size, "%.*s", (int)v.len, v.raw);
    }
    return out;
}

void kind_fault(struct reader *r, const struct member *m, mf_val v,
                const char *verb)
{
    char found[CONF_QUOTE + 32];
    struct buf wanted;

    buf_init(&wanted, FAULT_TEXT / 2);
    put_wanted(&wanted, m);
    buf_char(&wanted, 0);
    conf_fault(r, v.raw, "\"%s\" cannot %s %s; write %s", m->key, verb,
                 describe(r, m, v, found, sizeof found), wanted.data);
    buf_deinit(&wanted);
}

/* ---- lists ---- */

/* Reads each element of an array with `read` into elements of `size`. */
static enum kind_read read_list(struct reader *r, const struct member *m,
                                mf_val v, void *target, size_t size,
                                enum kind_read (*read)(struct reader *,
                                                       const struct member *,
                                                       mf_val, void *))
{
    struct member_list *list = target;
    struct member one = *m;
    mf_iter it = { { 0 } };
    size_t n = json_count(v);
    mf_str key;
    mf_val e;

    if (v.type != MF_ARRAY || !scalar_in_range(m, (double)n) || n > LIST_MAX)
        return READ_WRONG;
    one.min = one.max = 0; /* they are the list's */
    list->list = arena_zalloc(&r->c->private->arena, n * size);
    while (json_next(v, &it, &key, &e)) {
        char *to = (char *)list->list + list->count * size;
        enum kind_read got = READ_TOLD;

        if (!r->file || e.type != MF_STRING || !config_is_broken(r->c, e))
            got = read(r, &one, e, to);
        if (got == READ_WRONG)
            kind_fault(r, &one, e, "hold");
        if (got != READ_OK)
            continue;
        if (r->file && m->kind != KIND_OBJECTS)
            member_note_place(r->c, to, e.raw); /* else its members' */
        list->count++;
    }
    return READ_OK;
}

static enum kind_read read_addresses(struct reader *r, const struct member *m,
                                     mf_val v, void *target)
{
    return read_list(r, m, v, target, sizeof(struct conf_address),
                     scalar_read_address);
}

static void write_addresses(struct json_out *w, const struct member *m,
                            const void *target)
{
    const struct conf_addresses *list = target;

    json_begin_array(w);
    for (size_t i = 0; i < list->count; i++)
        scalar_write_address(w, m, &list->list[i]);
    json_end_array(w);
}

static enum kind_read read_texts(struct reader *r, const struct member *m,
                                 mf_val v, void *target)
{
    return read_list(r, m, v, target, sizeof(char *), scalar_read_text);
}

static void write_texts(struct json_out *w, const struct member *m,
                        const void *target)
{
    const struct conf_texts *list = target;

    json_begin_array(w);
    for (size_t i = 0; i < list->count; i++)
        scalar_write_text(w, m, &list->list[i]);
    json_end_array(w);
}

static enum kind_read read_blocks(struct reader *r, const struct member *m,
                                  mf_val v, void *target)
{
    return read_list(r, m, v, target, sizeof(char *), scalar_read_block);
}

/* ---- FQL, mappings, JSON ---- */

static enum kind_read read_fql(struct reader *r, const struct member *m,
                               mf_val v, void *target)
{
    enum fql_dialect dialect = m->kind == KIND_FILTER ? FQL_FILTER
                                                      : FQL_SUBSCRIPTION;
    const char *text = scalar_text(r, m, v);
    struct err e = { "" };
    struct fql *compiled;
    size_t offset = 0;

    if (!text)
        return READ_WRONG;
    compiled = fql_compile(mf_cstr(text), dialect, &e, &offset);
    if (!compiled) {
        faults_error(r->faults, config_place_in(r->c, v, offset),
                     "\"%s\" is not valid FQL here: %s; correct the "
                     "condition",
                     m->key, e.text);
        return READ_TOLD;
    }
    fql_free(compiled);
    *(mf_str *)target = mf_cstr(text);
    return READ_OK;
}

static void write_fql(struct json_out *w, const struct member *m,
                      const void *target)
{
    const mf_str *s = target;

    (void)m;
    if (s->ptr)
        json_str(w, *s);
    else
        json_null(w);
}

static enum kind_read read_json(struct reader *r, const struct member *m,
                                mf_val v, void *target)
{
    (void)r;
    (void)m;
    if (v.type != MF_OBJECT)
        return READ_WRONG;
    *(mf_val *)target = v;
    return READ_OK;
}

static enum kind_read read_text_map(struct reader *r, const struct member *m,
                                    mf_val v, void *target)
{
    mf_iter it = { { 0 } };
    mf_str key;
    mf_val e;

    if (v.type != MF_OBJECT)
        return READ_WRONG;
    while (json_next(v, &it, &key, &e))
        if (e.type != MF_STRING)
            kind_fault(r, m, e, "hold");
    *(mf_val *)target = v;
    return READ_OK;
}

struct mapping_faults {
    struct reader *r;
    unsigned told;
};

static void tell_mapping(void *context, const char *at, const char *text)
{
    struct mapping_faults *f = context;

    int len = (int)strlen(text);

    while (len > 0 && text[len - 1] == '.')
        len--; /* the sentence goes on */
    if (f->told++ < MAPPING_FAULTS)
        conf_fault(f->r, at, "the mapping is wrong here: %.*s; correct it",
                     len, text);
}

static enum kind_read read_mapping(struct reader *r, const struct member *m,
                                   mf_val v, void *target)
{
    struct mapping_faults f = { r, 0 };

    (void)m;
    if (v.type != MF_OBJECT)
        return READ_WRONG;
    mapping_check(v, tell_mapping, &f);
    *(mf_val *)target = v;
    return f.told ? READ_TOLD : READ_OK;
}

static void write_json(struct json_out *w, const struct member *m,
                       const void *target)
{
    (void)m;
    canon_write(w, *(const mf_val *)target);
}

/* ---- objects ---- */

static enum kind_read read_object(struct reader *r, const struct member *m,
                                  mf_val v, void *target)
{
    const char *seen[MEMBERS_MAX] = { NULL };

    if (v.type != MF_OBJECT)
        return READ_WRONG;
    member_read(r, m->more, v, target, seen);
    member_finish(r, m->more, v.raw, target, seen);
    return READ_OK;
}

static void write_object(struct json_out *w, const struct member *m,
                         const void *target)
{
    member_write_all(w, m->more, target);
}

static enum kind_read read_objects(struct reader *r, const struct member *m,
                                   mf_val v, void *target)
{
    const struct shape *s = m->more;
    struct member_objects *o = target;

    o->json = v;
    return read_list(r, m, v, &o->objects, s->size, read_object);
}

static void write_objects(struct json_out *w, const struct member *m,
                          const void *target)
{
    const struct member_list *list = target;
    const struct shape *s = m->more;

    json_begin_array(w);
    for (size_t i = 0; i < list->count; i++)
        member_write_all(w, s, (const char *)list->list + i * s->size);
    json_end_array(w);
}

/* Whether the entry is to be read: its name is one, and new. */
static bool entry_is_new(struct reader *r, const struct member *m,
                         mf_str name, mf_str raw_key, void *target)
{
    const struct shape *s = m->more;
    struct member_list *list = target;
    const char *copy = arena_copy(&r->c->private->arena, name).ptr;

    if (name.len != strlen(copy) || !scalar_is_name(copy)) {
        conf_fault(r, raw_key.ptr - 1,
                     "\"%.*s\" cannot be the name of %s; use 1 to %d of "
                     "letters, digits, _ . and -",
                     (int)(raw_key.len < 100 ? raw_key.len : 100),
                     raw_key.ptr, s->what, CONFIG_NAME_MAX);
        return false;
    }
    for (size_t i = 0; i < list->count; i++) {
        const char *const *entry = (const void *)((char *)list->list +
                                                  i * s->size);
        struct place first;

        if (strcmp(*entry, copy) != 0)
            continue;
        first = config_place(r->c, entry);
        if (strcmp(first.file, r->file->path) != 0)
            conf_fault(r, raw_key.ptr - 1,
                         "there is %s \"%s\" already at %s:%u:%u; rename or "
                         "remove one of them",
                         s->what, copy, first.file, first.line, first.column);
        return false; /* twice in one object was told by the file */
    }
    return true;
}

/* target has room for every entry of every file. */
static enum kind_read read_entries(struct reader *r, const struct member *m,
                                   mf_val v, void *target)
{
    struct arena *a = &r->c->private->arena;
    const struct shape *s = m->more;
    struct member_list *list = target;
    mf_iter it = { { 0 } };
    mf_str raw;
    mf_val e;

    if (v.type != MF_OBJECT)
        return READ_WRONG;
    while (json_next(v, &it, &raw, &e)) {
        mf_str name = json_unescape(raw, a);
        char *to = (char *)list->list + list->count * s->size;

        if (list->count == ENTRIES_MAX) {
            conf_fault(r, raw.ptr - 1,
                         "\"%s\" has more than %d entries; remove some",
                         m->key, ENTRIES_MAX);
            break;
        }
        if (!entry_is_new(r, m, name, raw, target))
            continue;
        if (e.type != MF_OBJECT) {
            kind_fault(r, m, e, "hold");
            continue;
        }
        *(const char **)to = arena_copy(a, name).ptr;
        member_note_place(r->c, to, raw.ptr - 1);
        list->count++;
        read_object(r, m, e, to);
    }
    return READ_OK;
}

static void write_nothing(struct json_out *w, const struct member *m,
                          const void *target)
{
    (void)m;
    (void)target;
    json_null(w); /* entries have fingerprints of their own */
}

/* ---- the table ---- */

/* Of one value or of many; what ${} stands for in it may be shown or not. */
#define SHOWN       true, false
#define SECRET      false, false
#define SHOWN_MANY   true, true
#define SECRET_MANY  false, true

const struct kind kinds[KIND_ENTRIES + 1] = {
    [KIND_TEXT] = { "string", "a string", RANGE_LENGTH, SHOWN,
                    scalar_read_text, scalar_write_text },
    [KIND_NAME] = { "name", "a name of 1 to 64 letters, digits, _ . and -",
                    RANGE_NONE, SHOWN, scalar_read_name, scalar_write_text },
    [KIND_WRITE_KEY] = { "string",
                         "a string of printable ASCII without space and colon",
                         RANGE_LENGTH, SECRET, scalar_read_secret,
                         scalar_write_text },
    [KIND_TOKEN] = { "string", "a string of printable ASCII without space",
                     RANGE_LENGTH, SECRET, scalar_read_secret,
                     scalar_write_text },
    [KIND_PATH] = { "path", "a path", RANGE_NONE, SHOWN, scalar_read_path,
                    scalar_write_text },
    [KIND_FILE] = { "path", "the path of a file", RANGE_NONE, SHOWN,
                    scalar_read_file, scalar_write_file },
    [KIND_ORIGIN] = { "origin",
                      "an origin such as \"http://127.0.0.1:9000\", without a "
                      "path",
                      RANGE_NONE, SHOWN, scalar_read_origin,
                      scalar_write_text },
    [KIND_BOOL] = { "true or false", "true or false", RANGE_NONE, SHOWN,
                    scalar_read_bool, scalar_write_bool },
    [KIND_INT] = { "number", "a whole number", RANGE_NUMBER, SHOWN,
                   scalar_read_int, scalar_write_int },
    [KIND_SECONDS] = { "number", "a whole number of seconds", RANGE_NUMBER,
                       SHOWN, scalar_read_int, scalar_write_int },
    [KIND_DURATION] = { "duration",
                        "a duration such as \"500ms\", \"10s\", \"5m\", "
                        "\"4h\" or \"3d\"",
                        RANGE_DURATION, SHOWN, scalar_read_duration,
                        scalar_write_int },
    [KIND_SIZE] = { "size",
                    "a number of bytes or a size such as \"512KB\" or "
                    "\"20GiB\"",
                    RANGE_SIZE, SHOWN, scalar_read_size, scalar_write_int },
    [KIND_RATE] = { "rate",
                    "a rate such as \"500/s\", \"30/m\" or \"1000/h\"",
                    RANGE_NONE, SHOWN, scalar_read_rate, scalar_write_rate },
    [KIND_CHOICE] = { "choice", NULL, RANGE_NONE, SHOWN, scalar_read_choice,
                      scalar_write_choice },
    [KIND_ADDRESS] = { "address",
                       "an address such as \"127.0.0.1:8080\", \"[::1]:8080\" "
                       "or \"*:8080\"",
                       RANGE_NONE, SHOWN, scalar_read_address,
                       scalar_write_address },
    [KIND_ADDRESSES] = { "addresses",
                         "an array of addresses such as [\"127.0.0.1:8080\", "
                         "\"[::1]:8080\"]",
                         RANGE_NONE, SHOWN_MANY, read_addresses,
                         write_addresses },
    [KIND_NAMES] = { "names", "an array of names in double quotes", RANGE_NONE,
                     SHOWN_MANY, read_texts, write_texts },
    [KIND_BROKERS] = { "addresses",
                       "an array of addresses such as [\"kafka-1:9092\"]",
                       RANGE_NONE, SHOWN_MANY, read_texts, write_texts },
    [KIND_TEXTS] = { "strings", "an array of strings", RANGE_NONE,
                     SHOWN_MANY, read_texts, write_texts },
    [KIND_BLOCKS] = { "addresses",
                      "an array of addresses or blocks of them such as "
                      "[\"10.0.0.0/8\", \"2001:db8::7\"]",
                      RANGE_NONE, SHOWN_MANY, read_blocks, write_texts },
    [KIND_FILTER] = { "FQL", "a condition such as \"type = \\\"track\\\"\"",
                      RANGE_NONE, SECRET, read_fql, write_fql },
    [KIND_SUBSCRIBE] = { "FQL", "a condition such as \"type = \\\"track\\\"\"",
                         RANGE_NONE, SECRET, read_fql, write_fql },
    [KIND_JSON] = { "object", "an object", RANGE_NONE, SECRET_MANY, read_json,
                    write_json },
    [KIND_TEXT_MAP] = { "object", "an object of strings", RANGE_NONE,
                        SECRET_MANY, read_text_map, write_json },
    [KIND_MAPPING] = { "mapping",
                       "an object such as {\"name\": {\"@path\": "
                       "\"$.event\"}}",
                       RANGE_NONE, SECRET_MANY, read_mapping, write_json },
    [KIND_OBJECT] = { "object", "an object", RANGE_NONE, SECRET_MANY,
                      read_object, write_object },
    [KIND_OBJECTS] = { "objects", "an array of objects, at least one",
                       RANGE_NONE, SECRET_MANY, read_objects, write_objects },
    [KIND_ENTRIES] = { "objects by name", "an object of objects by name",
                       RANGE_NONE, SECRET_MANY, read_entries, write_nothing },
};
