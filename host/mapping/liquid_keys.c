/* SPDX-License-Identifier: Apache-2.0
 *
 * liquid_keys.c - which members of the event a template of @liquid names. */
#include "mapping/liquid.h"

struct collecting {
    struct members seen;  /* keys are the paths */
    struct members local; /* what the template assigns itself */
    struct arena *a;
};

static void add(struct members *m, struct arena *a, mf_str s)
{
    mf_val key = text_val(a, s);

    members_set(m, (mf_str){ key.raw + 1, key.len - 2 }, JSON_NULL);
}

static bool has(struct members *m, struct arena *a, mf_str s)
{
    mf_val key = text_val(a, s);

    return members_find(m, (mf_str){ key.raw + 1, key.len - 2 });
}

static mf_str name_of(const struct lx *x)
{
    return x->value.type == LV_STRING ? x->value.u.text : MF_STR("");
}

static void from_token(struct collecting *c, const struct lx *x)
{
    struct out o;

    if (!x || x->kind == LX_VALUE || x->kind == LX_NAME)
        return;
    if (x->kind == LX_RANGE) {
        from_token(c, x->base);
        from_token(c, x->to);
        return;
    }
    out_init(&o, c->a, 64);
    for (uint32_t i = 0; i < x->count; i++) {
        const struct lx *p = x->path[i];

        from_token(c, p);
        if (p->kind == LX_ACCESS || p->kind == LX_RANGE)
            break;
        if (p->value.type == LV_NUMBER) {
            mf_str n = arena_printf(c->a, "[%.0f]", p->value.u.number.value);

            out_add(&o, n.ptr, n.len);
            continue;
        }
        if (i)
            out_char(&o, '.');
        out_add(&o, name_of(p).ptr, name_of(p).len);
    }
    if (!x->base && o.b.len && !has(&c->local, c->a, name_of(x->path[0])))
        add(&c->seen, c->a, out_str(&o));
}

static void from_value(struct collecting *c, const struct l_value *v)
{
    for (uint32_t i = 0; i < v->count; i++)
        from_token(c, v->steps[i].operand);
    for (const struct l_filter *f = v->filters; f; f = f->next)
        for (uint32_t i = 0; i < f->count; i++)
            from_token(c, f->args[i].value);
}

static void from_nodes(struct collecting *c, const struct l_node *n)
{
    for (; n; n = n->next) {
        from_value(c, &n->value);
        from_token(c, n->group);
        for (uint32_t i = 0; i < n->count; i++)
            from_token(c, n->list[i]);
        for (const struct l_branch *b = n->branches; b; b = b->next) {
            from_value(c, &b->when);
            from_nodes(c, b->nodes);
        }
        from_nodes(c, n->inner);
        if (n->kind == LN_ASSIGN || n->kind == LN_CAPTURE)
            add(&c->local, c->a, n->text);
    }
}

void liquid_keys(mf_str text, mapping_key_fn *tell, void *context)
{
    struct collecting c;
    struct liquid *l;
    struct arena a;

    arena_init(&a, SIZE_MAX / 8);
    c.a = &a;
    members_init(&c.seen, &a);
    members_init(&c.local, &a);
    l = liquid_parse(text, &a, NULL);
    if (l)
        from_nodes(&c, l->nodes);
    for (uint32_t i = 0; i < c.seen.count; i++)
        tell(context, json_unescape(c.seen.list[i].key, &a));
    arena_deinit(&a);
}
