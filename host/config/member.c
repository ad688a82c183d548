/* SPDX-License-Identifier: Apache-2.0
 *
 * member.c - see member.h: walks objects by their tables. */
#include "config/member.h"

#include "base/text.h"
#include "config/kind.h"

#include <stdio.h>
#include <stdlib.h>

static const struct member *find(const struct shape *s, mf_str raw_key)
{
    for (const struct member *m = s->members; m->key; m++)
        if (json_key_is(raw_key, mf_cstr(m->key)))
            return m;
    return NULL;
}

static void unknown_key(struct reader *r, const struct shape *s, mf_str raw)
{
    const char *keys[MEMBERS_MAX + 1] = { NULL }, *meant;
    char word[CONFIG_NAME_MAX + 1];
    struct buf known;
    size_t n = 0;

    buf_init(&known, 512);
    for (const struct member *m = s->members; m->key; m++) {
        buf_printf(&known, "%s%s", n ? ", " : "", m->key);
        keys[n++] = m->key;
    }
    buf_char(&known, 0);
    snprintf(word, sizeof word, "%.*s",
             (int)(raw.len < sizeof word ? raw.len : sizeof word - 1),
             raw.ptr);
    meant = nearest(word, keys);
    if (meant)
        conf_fault(r, raw.ptr - 1,
                     "there is no key \"%s\" in %s; did you mean \"%s\"?",
                     word, s->what, meant);
    else
        conf_fault(r, raw.ptr - 1,
                     "there is no key \"%s\" in %s; remove it, or use one of "
                     "%s",
                     word, s->what, known.data);
    buf_deinit(&known);
}

/* Whether the key is the first; tells of one in another file. Twice in one
 * object was told when the file was read. */
static bool first_time(struct reader *r, const struct member *m, mf_str raw,
                       const char **seen)
{
    struct place first;

    if (!*seen || m->kind == KIND_ENTRIES) {
        *seen = raw.ptr - 1;
        return true;
    }
    if (!conf_file_holds(r->file, *seen)) {
        first = config_place_of(r->c, *seen);
        conf_fault(r, raw.ptr - 1,
                     "\"%s\" stands in %s:%u:%u already; remove one of them",
                     m->key, first.file, first.line, first.column);
    }
    return false;
}

/* Marks what ${} stands for inside v as fit to be shown. */
static void mark_plain(struct reader *r, mf_val v)
{
    struct conf_file *f = r->file;

    for (size_t i = conf_file_segment(f, v.raw); i < f->segment_count; i++) {
        if (f->text.data + f->segments[i].out >= v.raw + v.len)
            break;
        f->segments[i].plain = true;
    }
}

static void note_lists_place(struct reader *r, const struct member *m,
                             const char *at, void *target)
{
    if (m->kind != KIND_OBJECT && m->kind != KIND_ENTRIES)
        member_note_place(r->c, target, at);
}

static void read_one(struct reader *r, const struct member *m, mf_val v,
                     void *base)
{
    void *target = (char *)base + m->offset;
    const struct kind *k = &kinds[m->kind];

    note_lists_place(r, m, v.raw, target);
    if (k->plain)
        mark_plain(r, v);
    if (!k->container && config_is_broken(r->c, v))
        return;
    if (k->read(r, m, v, target) == READ_WRONG)
        kind_fault(r, m, v, "be");
}

void member_read(struct reader *r, const struct shape *s, mf_val object,
                 void *base, const char **seen)
{
    mf_iter it = { { 0 } };
    mf_str raw;
    mf_val v;

    while (json_next(object, &it, &raw, &v)) {
        const struct member *m = find(s, raw);

        if (!m)
            unknown_key(r, s, raw);
        else if (first_time(r, m, raw, &seen[m - s->members]))
            read_one(r, m, v, base);
    }
}

static void put_default(struct reader *r, const struct member *m,
                        const char *at, void *base)
{
    struct reader ours = { r->c, NULL, r->faults };
    void *target = (char *)base + m->offset;
    const struct shape *below = m->more;
    mf_str text = mf_cstr(m->preset);

    note_lists_place(r, m, at, target);
    if (m->kind == KIND_OBJECT) {
        for (const struct member *b = below->members; b->key; b++)
            put_default(r, b, at, target);
    } else if (m->preset) {
        ASSERT(json_check(text, JSON_DEPTH_MAX, NULL) == 0);
        ASSERT(kinds[m->kind].read(&ours, m, json_root(text), target) ==
               READ_OK);
    }
}

void member_finish(struct reader *r, const struct shape *s, const char *at,
                   void *base, const char **seen)
{
    for (const struct member *m = s->members; m->key; m++) {
        if (seen[m - s->members])
            continue;
        if (m->required)
            conf_fault(r, at, "\"%s\" is missing in %s; add it: %s", m->key,
                         s->what, m->help);
        put_default(r, m, at, base);
    }
}

void member_write(struct json_out *w, const struct member *m,
                  const void *base)
{
    kinds[m->kind].write(w, m, (const char *)base + m->offset);
}

void member_write_all(struct json_out *w, const struct shape *s,
                      const void *base)
{
    json_begin_object(w);
    for (const struct member *m = s->members; m->key; m++) {
        json_key(w, mf_cstr(m->key));
        member_write(w, m, base);
    }
    json_end_object(w);
}

static const char *below_name(enum member_kind kind)
{
    return kind == KIND_ENTRIES ? ".NAME" : kind == KIND_OBJECTS ? "[]" : "";
}

void member_describe(struct json_out *w, const struct shape *s,
                     const char *prefix)
{
    for (const struct member *m = s->members; m->key; m++) {
        char *key = xasprintf("%s%s", prefix, m->key);

        json_begin_object(w);
        json_kstr(w, "key", mf_cstr(key));
        json_kstr(w, "type", mf_cstr(kinds[m->kind].type));
        if (m->preset)
            json_kval(w, "default", json_root(mf_cstr(m->preset)));
        json_kbool(w, "required", m->required);
        json_kstr(w, "help", mf_cstr(m->help));
        json_end_object(w);
        if (m->kind == KIND_OBJECT || m->kind == KIND_OBJECTS ||
            m->kind == KIND_ENTRIES) {
            char *below = xasprintf("%s%s.", key, below_name(m->kind));

            member_describe(w, m->more, below);
            free(below);
        }
        free(key);
    }
}
