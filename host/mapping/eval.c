/* SPDX-License-Identifier: Apache-2.0
 *
 * eval.c - from nodes and an event to a payload.
 *
 * A payload is written front to back into one buffer in the arena. Values that
 * stand in the event are copied as text and never taken apart. What a
 * directive needs as a value of its own is written aside. */
#include "mapping/kit.h"

#include <stdarg.h>
#include <stdio.h>

#define ASIDE_FIRST 256

mf_val eval_fail(struct eval *c, const char *format, ...)
{
    char text[ERR_TEXT];
    va_list ap;

    if (c->failed)
        return ABSENT; /* the first one is the cause */
    va_start(ap, format);
    vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    err_set(c->e, "%s", text);
    c->failed = true;
    return ABSENT;
}

bool eval_room(struct eval *c)
{
    if (c->a->used > c->a->soft || c->out.b.full)
        c->a->overflowed = true;
    if (c->a->overflowed)
        eval_fail(c, "the payload is larger than one event may be");
    return !c->a->overflowed;
}

/* ---- frames ---- */

void frame_init(struct eval *c, struct frame *f, const struct trie *paths)
{
    memset(f, 0, sizeof *f);
    f->paths = paths;
    f->slots = arena_alloc(c->a, paths->count * sizeof *f->slots);
}

void frame_read(struct eval *c, struct frame *f, mf_val root)
{
    memset(f->slots, 0, f->paths->count * sizeof *f->slots);
    f->root = root;
    trie_read(f->paths, root, f->slots, c->a);
}

static mf_val parts_object(struct eval *c, const struct frame *f)
{
    struct members m;

    members_init(&m, c->a);
    for (unsigned i = 0; i < f->count; i++) {
        mf_val key = text_val(c->a, f->parts[i].name);

        members_set(&m, (mf_str){ key.raw + 1, key.len - 2 },
                    f->parts[i].value);
    }
    return members_object(&m);
}

mf_val frame_root(struct eval *c, const struct frame *f)
{
    return f->parts && f->root.type == MF_ABSENT ? parts_object(c, f)
                                                 : f->root;
}

const char *frame_type(const struct frame *f)
{
    return f->parts ? "object" : type_name(f->root);
}

/* ---- writing ---- */

static bool braces(mf_val v, struct arena *a)
{
    mf_str s;

    if (v.type != MF_STRING && v.type != MF_ARRAY)
        return false;
    s = js_string(v, a);
    return s.len && (memchr(s.ptr, '{', s.len) || memchr(s.ptr, '}', s.len));
}

static bool write_template(struct eval *c, const struct frame *f,
                           const struct template *t)
{
    bool apart = !t->dynamic;
    mf_val v;

    for (uint32_t i = 0; apart && i < t->count; i++)
        if (t->pieces[i].triple && braces(f->slots[t->pieces[i].slot], c->a))
            apart = false;
    out_char(&c->out, '"');
    for (uint32_t i = 0; apart && i < t->count; i++) {
        const struct piece *p = &t->pieces[i];

        out_add(&c->out, p->text.ptr, p->text.len);
        if (p->slot == SLOT_NONE)
            continue;
        v = f->slots[p->slot];
        if (v.type != MF_NULL && v.type != MF_ABSENT)
            js_string_to(&c->out, v, true);
    }
    if (!apart)
        out_escaped(&c->out,
                    template_render(t->text, frame_root(c, f), c->a));
    out_char(&c->out, '"');
    return true;
}

static bool write_object(struct eval *c, const struct frame *f,
                         const struct node *n)
{
    const struct field *x = n->u.fields.list, *end = x + n->u.fields.count;
    size_t start = c->out.b.len + 1;

    out_char(&c->out, '{');
    for (; x < end && !c->failed; x++) {
        size_t mark = c->out.b.len, skip = mark == start;

        out_add(&c->out, x->head.ptr + skip, x->head.len - skip);
        if (!write_node(c, f, x->value))
            c->out.b.len = mark;
    }
    out_char(&c->out, '}');
    return true;
}

static bool write_array(struct eval *c, const struct frame *f,
                        const struct node *n)
{
    out_char(&c->out, '[');
    for (uint32_t i = 0; i < n->u.items.count && !c->failed; i++) {
        if (i)
            out_char(&c->out, ',');
        if (!write_node(c, f, n->u.items.list[i]))
            out_add(&c->out, "null", 4);
    }
    out_char(&c->out, ']');
    return true;
}

bool write_node(struct eval *c, const struct frame *f, const struct node *n)
{
    mf_val v;

    switch (n->kind) {
    case N_OBJECT:
        return write_object(c, f, n);
    case N_ARRAY:
        return write_array(c, f, n);
    case N_TEMPLATE:
        return write_template(c, f, &n->u.template);
    default:
        v = value_of(c, f, n);
        out_add(&c->out, v.raw, v.len);
        return v.type != MF_ABSENT;
    }
}

static mf_val written_aside(struct eval *c, const struct frame *f,
                            const struct node *n)
{
    struct out outer = c->out;
    mf_val v = ABSENT;

    out_init(&c->out, c->a, ASIDE_FIRST);
    if (write_node(c, f, n) && !c->out.b.full)
        v = out_val(&c->out);
    c->out = outer;
    return v;
}

mf_val value_of(struct eval *c, const struct frame *f, const struct node *n)
{
    if (c->failed || n->kind == N_NOTHING)
        return ABSENT;
    switch (n->kind) {
    case N_RAW:
        return n->u.raw;
    case N_PATH:
        return f->slots[n->u.slot];
    case N_DIRECTIVE:
        if (!eval_room(c))
            return ABSENT;
        return n->u.directive.run(c, f, n->u.directive.rule);
    case N_THROW:
        return eval_fail(c, "%s", n->u.message.ptr);
    default:
        return written_aside(c, f, n);
    }
}

/* ---- public ---- */

static mf_val evaluate(struct eval *c, const struct mapping *m,
                       const struct frame *f, size_t expect)
{
    mf_val v;

    out_init(&c->out, c->a, m->constants + expect);
    if (m->root->kind == N_OBJECT && write_node(c, f, m->root))
        v = (mf_val){ c->out.b.data, (uint32_t)c->out.b.len, MF_OBJECT };
    else
        v = value_of(c, f, m->root);
    return eval_room(c) && !c->failed ? v : ABSENT;
}

mf_val mapping_eval(const struct mapping *m, mf_val event, struct arena *a,
                    struct err *e)
{
    struct eval c = { .a = a, .e = e };
    struct frame f;

    if (e)
        e->text[0] = 0;
    if (event.type != MF_OBJECT)
        return eval_fail(&c, "data must be an object, got %s",
                         type_name(event));
    frame_init(&c, &f, &m->paths);
    frame_read(&c, &f, event);
    return evaluate(&c, m, &f, event.len / 2 + 64);
}

mf_val mapping_eval_parts(const struct mapping *m,
                          const struct mapping_part *parts, unsigned count,
                          struct arena *a, struct err *e)
{
    struct eval c = { .a = a, .e = e };
    struct frame f;
    size_t expect = 64;

    ASSERT(count <= MAPPING_PARTS_MAX);
    if (e)
        e->text[0] = 0;
    frame_init(&c, &f, &m->paths);
    memset(f.slots, 0, m->paths.count * sizeof *f.slots);
    f.parts = parts;
    f.count = count;
    if (m->paths.whole)
        frame_read(&c, &f, parts_object(&c, &f));
    else
        for (unsigned i = 0; i < count; i++)
            trie_read_part(&m->paths, parts[i].name, parts[i].value, f.slots,
                           a);
    for (unsigned i = 0; i < count; i++)
        expect += parts[i].value.len / 4;
    return evaluate(&c, m, &f, expect);
}
