/* SPDX-License-Identifier: Apache-2.0
 *
 * template.c - {{{path}}} and {{path}}.
 *
 * The original replaces in two passes: triple braces first, then double braces
 * in what came out, values included. A template is taken apart beforehand
 * wherever that cannot be told from the real thing; a value that brings braces
 * along into triple ones, or triples that stand inside doubles, are rendered
 * the long way. */
#include "base/unicase.h"
#include "mapping/kit.h"

#define MARK '\x01' /* stands for a triple while doubles are looked for */

struct found {
    size_t from, to; /* of the whole placeholder */
    mf_str path;
};

static mf_str js_trim(mf_str s)
{
    const char *from = s.ptr, *end = s.ptr + s.len, *last, *p;

    while (from < end) {
        p = from;
        if (!js_space(utf8_next(&p, end)))
            break;
        from = p;
    }
    last = p = from;
    while (p < end)
        if (!js_space(utf8_next(&p, end)))
            last = p;
    return (mf_str){ from, (size_t)(last - from) };
}

/* The next `braces` opening ones at or after `at`, something without a closing
 * one, and as many closing ones. */
static bool next_placeholder(mf_str s, size_t at, size_t braces,
                             struct found *f)
{
    static const char open[] = "{{{", close[] = "}}}";
    size_t stop = 0; /* the closing brace last looked up */

    for (; at + 2 * braces < s.len; at++) {
        const char *p;

        if (memcmp(s.ptr + at, open, braces) != 0)
            continue;
        if (stop <= at + braces) { /* one must stand between */
            p = memchr(s.ptr + at + braces, '}', s.len - at - braces);
            if (!p)
                return false;
            stop = (size_t)(p - s.ptr);
        }
        if (stop == at + braces || s.len - stop < braces ||
            memcmp(s.ptr + stop, close, braces) != 0)
            continue;
        f->from = at;
        f->to = stop + braces;
        f->path = js_trim((mf_str){ s.ptr + at + braces, stop - at - braces });
        return true;
    }
    return false;
}

static mf_str replace_all(mf_str text, size_t braces, mf_val root,
                          struct arena *a)
{
    struct found f;
    struct out o;
    size_t at = 0;

    if (!next_placeholder(text, 0, braces, &f))
        return text;
    out_init(&o, a, text.len + 64);
    do {
        mf_val v = path_get(root, f.path, a);

        out_add(&o, text.ptr + at, f.from - at);
        if (v.type != MF_NULL && v.type != MF_ABSENT)
            js_string_to(&o, v, false);
        at = f.to;
    } while (!o.b.full && next_placeholder(text, at, braces, &f));
    out_add(&o, text.ptr + at, text.len - at);
    return out_str(&o);
}

mf_str template_render(mf_str text, mf_val root, struct arena *a)
{
    if (text.len == 0)
        return text;
    return replace_all(replace_all(text, 3, root, a), 2, root, a);
}

/* ---- taken apart ---- */

static mf_str escaped(mf_str s, struct arena *a)
{
    struct out o;

    out_init(&o, a, s.len + 8);
    out_escaped(&o, s);
    return out_str(&o);
}

static void add_piece(struct template *t, mf_str before, uint32_t slot,
                      bool triple, struct arena *a)
{
    if (t->count)
        ASSERT(t->pieces);
    t->pieces[t->count++] = (struct piece){ escaped(before, a), slot, triple };
}

/* Each triple becomes one MARK; slots lists what they name. */
static mf_str mark_triples(mf_str text, struct trie *paths, uint32_t *slots,
                           struct arena *a)
{
    struct found f;
    struct out o;
    size_t at = 0, n = 0;

    out_init(&o, a, text.len + 1);
    while (next_placeholder(text, at, 3, &f)) {
        out_add(&o, text.ptr + at, f.from - at);
        out_char(&o, MARK);
        slots[n++] = trie_add(paths, f.path, a);
        at = f.to;
    }
    out_add(&o, text.ptr + at, text.len - at);
    return out_str(&o);
}

/* Text in which only MARKs are left to be replaced. */
static void marked_pieces(struct template *t, mf_str s, const uint32_t **slots,
                          struct arena *a)
{
    const char *mark;

    while (s.len && (mark = memchr(s.ptr, MARK, s.len))) {
        size_t n = (size_t)(mark - s.ptr);

        add_piece(t, (mf_str){ s.ptr, n }, *(*slots)++, true, a);
        s = (mf_str){ mark + 1, s.len - n - 1 };
    }
    if (s.len)
        add_piece(t, s, SLOT_NONE, false, a);
}

void template_compile(struct template *t, mf_str text, struct trie *paths,
                      struct arena *a)
{
    const uint32_t *slots;
    uint32_t *list;
    struct found f;
    size_t at = 0;
    mf_str marked;

    memset(t, 0, sizeof *t);
    t->text = arena_copy(a, text);
    if (text.len == 0)
        return;
    if (memchr(text.ptr, MARK, text.len)) {
        t->dynamic = true;
        return;
    }
    t->pieces = arena_alloc(a, (text.len + 2) * sizeof *t->pieces);
    slots = list = arena_alloc(a, (text.len / 7 + 1) * sizeof *list);
    marked = mark_triples(t->text, paths, list, a);
    while (next_placeholder(marked, at, 2, &f)) {
        if (memchr(marked.ptr + f.from, MARK, f.to - f.from)) {
            t->dynamic = true;
            return;
        }
        marked_pieces(t, (mf_str){ marked.ptr + at, f.from - at }, &slots, a);
        add_piece(t, MF_STR(""), trie_add(paths, f.path, a), false, a);
        at = f.to;
    }
    marked_pieces(t, (mf_str){ marked.ptr + at, marked.len - at }, &slots, a);
}
