/* SPDX-License-Identifier: Apache-2.0
 *
 * check.c - what is wrong with a mapping before any event is seen.
 *
 * The rules and words are the original's, down to where it does not look:
 * arrays and the content of @literal are taken as they are. Inside an object
 * every member is looked at, so one mapping can have many faults. A function
 * here returns whether its value was good, having told of what was not. */
#include "base/unicase.h"
#include "mapping/kit.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#define SHORT_MAX 10 /* UTF-16 units of @replace's pattern and replacement */

/* Where we are: the keys from the root down. NULL is the root. */
struct stack {
    const struct stack *up;
    mf_str key; /* raw */
};

struct checking {
    struct arena *a;
    struct fault_list *faults;
    bool seen; /* what stands below was good; not again, or depth doubles it */
};

typedef bool rule_fn(struct checking *c, mf_val v, const struct stack *at);

struct field_rule {
    const char *name;
    rule_fn *rule;
    bool required;
};

struct directive_rule {
    const char *name;
    rule_fn *rule;
};

/* ---- helpers ---- */

static void put_stack(struct buf *b, const struct stack *at, struct arena *a)
{
    if (!at)
        return;
    if (at->up) {
        put_stack(b, at->up, a);
        buf_char(b, '/');
    }
    buf_str(b, json_unescape(at->key, a));
}

/* Tells of a fault; false, so that `return fault(...)` reads as it acts. */
static __attribute__((format(printf, 4, 5))) bool
fault(struct checking *c, const struct stack *at, const char *where,
      const char *format, ...)
{
    char text[MAPPING_FAULT_TEXT], *whole;
    struct buf stack;
    va_list ap;

    va_start(ap, format);
    vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    buf_init(&stack, MAPPING_FAULT_TEXT);
    put_stack(&stack, at, c->a);
    whole = xasprintf("/%.*s %s.", (int)stack.len,
                      stack.len ? stack.data : "", text);
    c->faults->tell(c->faults->context, where, whole);
    c->faults->count++;
    free(whole);
    buf_deinit(&stack);
    return false;
}

/* The key as it stands; '@' is rarely escaped, but may be. */
static bool at_key(mf_str raw_key)
{
    return raw_key.len > 0 && raw_key.ptr[0] == '@';
}

/* realTypeOf(), and "directive" for an object with an @key. */
static const char *kind_of(struct checking *c, mf_val v)
{
    struct members m;

    if (v.type == MF_OBJECT) {
        members_of(&m, c->a, v);
        for (uint32_t i = 0; i < m.count; i++)
            if (at_key(m.list[i].key))
                return "directive";
    }
    return type_name(v);
}

static bool is(const char *kind, const char *name)
{
    return strcmp(kind, name) == 0;
}

static const char *article(const char *kind)
{
    return strchr("aeiou", kind[0]) ? "an" : "a";
}

static mf_val member(struct checking *c, mf_val object, const char *name)
{
    struct members m;
    struct member *x;

    members_of(&m, c->a, object);
    x = members_find(&m, mf_cstr(name));
    return x ? x->value : ABSENT;
}

/* ---- rules ---- */

static bool want_string(struct checking *c, mf_val v, const struct stack *at)
{
    const char *kind = kind_of(c, v);

    if (is(kind, "string"))
        return true;
    return fault(c, at, v.raw, "should be a string but it is %s %s",
                 article(kind), kind);
}

static bool want_boolean(struct checking *c, mf_val v, const struct stack *at)
{
    const char *kind = kind_of(c, v);

    if (is(kind, "boolean"))
        return true;
    return fault(c, at, v.raw, "should be a boolean but it is %s %s",
                 article(kind), kind);
}

static bool want_array(struct checking *c, mf_val v, const struct stack *at)
{
    const char *kind = type_name(v);

    if (is(kind, "array"))
        return true;
    return fault(c, at, v.raw, "should be an array but it is %s %s",
                 article(kind), kind);
}

static bool want_length(struct checking *c, mf_val v, const struct stack *at,
                        size_t least)
{
    size_t n;

    if (!want_string(c, v, at))
        return false;
    n = utf16_length(json_text(v, c->a));
    if (n < least)
        return fault(c, at, v.raw,
                     "should be a string of length %zu or greater", least);
    if (n > SHORT_MAX)
        return fault(c, at, v.raw, "should be a string of length %d or less",
                     SHORT_MAX);
    return true;
}

static bool want_pattern(struct checking *c, mf_val v, const struct stack *at)
{
    return want_length(c, v, at, 1);
}

static bool want_replacement(struct checking *c, mf_val v,
                             const struct stack *at)
{
    return want_length(c, v, at, 0);
}

static bool want_one_of(struct checking *c, mf_val v, const struct stack *at,
                        const char *x, const char *y)
{
    mf_str s;

    if (!want_string(c, v, at))
        return false;
    s = json_text(v, c->a);
    if ((s.len == strlen(x) && strncasecmp(s.ptr, x, s.len) == 0) ||
        (s.len == strlen(y) && strncasecmp(s.ptr, y, s.len) == 0))
        return true;
    return fault(c, at, v.raw, "should be one of %s, %s but it is %.*s", x, y,
                 (int)v.len, v.raw);
}

static bool want_mode(struct checking *c, mf_val v, const struct stack *at)
{
    return want_one_of(c, v, at, "encode", "decode");
}

static bool want_direction(struct checking *c, mf_val v,
                           const struct stack *at)
{
    return want_one_of(c, v, at, "left", "right");
}

static bool want_directive_or_string(struct checking *c, mf_val v,
                                     const struct stack *at)
{
    const char *kind = kind_of(c, v);

    if (is(kind, "directive"))
        return c->seen || check_value(c, v, at);
    if (is(kind, "string"))
        return true;
    return fault(c, at, v.raw,
                 "should be a string or a mapping directive but it is %s %s",
                 article(kind), kind);
}

static bool want_directive_or_raw(struct checking *c, mf_val v,
                                  const struct stack *at)
{
    return c->seen || !is(kind_of(c, v), "directive") ||
           check_value(c, v, at);
}

static bool want_directive_or_object(struct checking *c, mf_val v,
                                     const struct stack *at)
{
    const char *kind = kind_of(c, v);

    if (is(kind, "directive") || is(kind, "object"))
        return c->seen || check_value(c, v, at);
    return fault(c, at, v.raw,
                 "should be a object or a mapping directive but it is %s %s",
                 article(kind), kind);
}

static bool want_object(struct checking *c, mf_val v, const struct stack *at)
{
    const char *kind = kind_of(c, v);
    struct members m;
    bool good = true;

    if (!is(kind, "object"))
        return fault(c, at, v.raw, "should be an object but it is %s %s",
                     article(kind), kind);
    members_of(&m, c->a, v);
    for (uint32_t i = 0; i < m.count; i++) {
        struct stack here = { at, m.list[i].key };

        good &= check_value(c, m.list[i].value, &here);
    }
    return good;
}

static bool want_fields(struct checking *c, mf_val v, const struct stack *at,
                        const struct field_rule *rules, size_t count)
{
    bool good = true;

    if (!want_object(c, v, at))
        return false;
    c->seen = true;
    for (size_t i = 0; i < count; i++) {
        struct stack here = { at, mf_cstr(rules[i].name) };
        mf_val x = member(c, v, rules[i].name);

        if (x.type != MF_ABSENT)
            good &= rules[i].rule(c, x, &here);
        else if (rules[i].required)
            good = fault(c, at, v.raw,
                         "should have field \"%s\" but it doesn't",
                         rules[i].name);
    }
    c->seen = false;
    return good;
}

/* ---- directives ---- */

static bool rule_if(struct checking *c, mf_val v, const struct stack *at)
{
    return want_fields(c, v, at, NULL, 0); /* members are seen in any case */
}

static bool rule_case(struct checking *c, mf_val v, const struct stack *at)
{
    static const struct field_rule rules[] = {
        { "operator", want_string, false },
        { "value", want_directive_or_string, false },
    };

    return want_fields(c, v, at, rules, COUNT_OF(rules));
}

static bool rule_replace(struct checking *c, mf_val v, const struct stack *at)
{
    static const struct field_rule rules[] = {
        { "pattern", want_pattern, true },
        { "replacement", want_replacement, false },
        { "pattern2", want_pattern, false },
        { "replacement2", want_replacement, false },
        { "value", want_directive_or_string, true },
        { "ignorecase", want_boolean, false },
        { "global", want_boolean, false },
    };

    return want_fields(c, v, at, rules, COUNT_OF(rules));
}

static bool rule_array_path(struct checking *c, mf_val v,
                            const struct stack *at)
{
    if (!want_array(c, v, at))
        return false;
    return want_directive_or_string(c, json_at(v, 0), at) &&
           check_value(c, json_at(v, 1), at);
}

static bool rule_json(struct checking *c, mf_val v, const struct stack *at)
{
    static const struct field_rule rules[] = {
        { "value", want_directive_or_raw, true },
        { "mode", want_mode, true },
    };

    return want_fields(c, v, at, rules, COUNT_OF(rules));
}

static bool rule_flatten(struct checking *c, mf_val v, const struct stack *at)
{
    static const struct field_rule rules[] = {
        { "separator", want_string, false },
        { "value", want_directive_or_raw, true },
    };

    return want_fields(c, v, at, rules, COUNT_OF(rules));
}

static bool rule_merge(struct checking *c, mf_val v, const struct stack *at)
{
    static const struct field_rule rules[] = {
        { "direction", want_direction, false },
        { "objects", want_array, true },
    };
    mf_iter it = { { 0 } };
    mf_str key;
    mf_val x;

    if (!want_fields(c, v, at, rules, COUNT_OF(rules)))
        return false;
    v = member(c, v, "objects");
    while (json_next(v, &it, &key, &x)) /* the original forgets where it is */
        if (!want_directive_or_object(c, x, NULL))
            return false;
    return true;
}

static bool rule_transform(struct checking *c, mf_val v,
                           const struct stack *at)
{
    static const struct field_rule rules[] = {
        { "apply", want_directive_or_object, true },
        { "mapping", want_directive_or_object, true },
    };

    return want_fields(c, v, at, rules, COUNT_OF(rules));
}

static const struct directive_rule directives[] = {
    { "@if", rule_if },
    { "@case", rule_case },
    { "@replace", rule_replace },
    { "@arrayPath", rule_array_path },
    { "@path", want_directive_or_string },
    { "@json", rule_json },
    { "@flatten", rule_flatten },
    { "@merge", rule_merge },
    { "@template", want_directive_or_string },
    { "@literal", want_directive_or_raw },
    { "@transform", rule_transform },
    { "@excludeWhenNull", want_directive_or_raw },
    { "@liquid", want_string },
};

static bool check_directive(struct checking *c, mf_val v,
                            const struct members *m, const struct stack *at)
{
    const struct member *first = NULL;
    unsigned at_keys = 0, others = 0;
    struct stack here;

    for (uint32_t i = 0; i < m->count; i++) {
        if (at_key(m->list[i].key)) {
            at_keys++;
            if (!first)
                first = &m->list[i];
        } else if (!mf_eq(m->list[i].key, MF_STR("_metadata"))) {
            others++;
        }
    }
    if (at_keys > 1 || others)
        return fault(c, at, v.raw,
                     "should only have one @-prefixed key but it has %u keys",
                     at_keys > 1 ? at_keys : m->count);
    here = (struct stack){ at, first->key };
    for (size_t i = 0; i < COUNT_OF(directives); i++)
        if (mf_eq(first->key, mf_cstr(directives[i].name)))
            return directives[i].rule(c, first->value, &here);
    return fault(c, at, v.raw, "has an invalid directive: %.*s",
                 (int)first->key.len, first->key.ptr);
}

/* ---- the root directive ---- */

static void note_move(struct moved *m, struct out *o, mf_val v)
{
    m->list[m->count++] =
        (struct piece_of){ o->b.data + o->b.len, v.raw, v.len };
    out_add(o, v.raw, v.len);
}

static void put_member(struct moved *moved, struct out *o, bool *first,
                       const struct member *x)
{
    if (!*first)
        out_char(o, ',');
    *first = false;
    out_char(o, '"');
    out_add(o, x->key.ptr, x->key.len);
    out_add(o, "\":", 2);
    note_move(moved, o, x->value);
}

/* {"@transform":{its members, "mapping":{all others of the mapping}}} */
static mf_val moved_text(const struct members *all, const struct member *root,
                         const struct members *options, struct moved *moved,
                         struct out *o)
{
    bool first = true, inner = true;

    out_add(o, "{\"", 2);
    out_add(o, root->key.ptr, root->key.len);
    out_add(o, "\":{", 3);
    for (uint32_t i = 0; i < options->count; i++)
        if (!mf_eq(options->list[i].key, MF_STR("mapping")))
            put_member(moved, o, &first, &options->list[i]);
    if (!first)
        out_char(o, ',');
    out_add(o, "\"mapping\":{", 11);
    for (uint32_t i = 0; i < all->count; i++)
        if (!mf_eq(all->list[i].key, MF_STR(ROOT_DIRECTIVE)))
            put_member(moved, o, &inner, &all->list[i]);
    out_add(o, "}}}", 3);
    return out_val(o);
}

static bool root_fault(struct fault_list *f, mf_val v, const char *text)
{
    f->tell(f->context, v.raw, text);
    f->count++;
    return false;
}

bool root_directive(mf_val json, mf_val *result, struct moved *moved,
                    struct arena *a, struct fault_list *f)
{
    struct members all, outer, options;
    struct member *root;
    struct out o;

    *result = json;
    memset(moved, 0, sizeof *moved);
    if (json.type != MF_OBJECT)
        return true;
    members_of(&all, a, json);
    root = members_find(&all, MF_STR(ROOT_DIRECTIVE));
    if (!root)
        return true;
    if (root->value.type == MF_NULL)
        return root_fault(f, root->value,
                          "Cannot convert undefined or null to object");
    members_of(&outer, a, root->value.type == MF_OBJECT ? root->value : ABSENT);
    if (outer.count > 1)
        return root_fault(f, root->value, "The root mapping must only have a "
                                          "single directive object");
    if (outer.count == 0 || (outer.list[0].value.type != MF_OBJECT &&
                             outer.list[0].value.type != MF_ARRAY))
        return root_fault(f, root->value,
                          "The root directive must be an object");
    if (outer.list[0].value.type == MF_ARRAY) {
        *result = root->value; /* no directive takes one; it will be told */
        return true;
    }
    members_of(&options, a, outer.list[0].value);
    moved->list =
        arena_alloc(a, (all.count + options.count) * sizeof *moved->list);
    out_init(&o, a, json.len + 64);
    *result = moved_text(&all, &outer.list[0], &options, moved, &o);
    return true;
}

bool check_value(struct checking *c, mf_val v, const struct stack *at)
{
    struct members m;

    if (v.type != MF_OBJECT)
        return true;
    members_of(&m, c->a, v);
    for (uint32_t i = 0; i < m.count; i++)
        if (at_key(m.list[i].key))
            return check_directive(c, v, &m, at);
    return want_object(c, v, at);
}

void check_mapping(mf_val v, struct arena *a, struct fault_list *f)
{
    struct checking c = { a, f, false };
    mf_iter it = { { 0 } };
    mf_str key;
    mf_val x;

    if (v.type == MF_ARRAY) { /* spread into an object by the original */
        char place[16];

        for (unsigned i = 0; json_next(v, &it, &key, &x); i++) {
            struct stack here = { NULL, { place, 0 } };

            here.key.len = (size_t)snprintf(place, sizeof place, "%u", i);
            check_value(&c, x, &here);
        }
        return;
    }
    check_value(&c, v, NULL);
}

/* ---- what is only seen when an event comes ---- */

static bool lint_liquid(struct checking *c, mf_val v, const struct stack *at)
{
    struct err e = { "" };
    mf_str text = json_text(v, c->a);

    if (utf16_length(text) > LIQUID_TEMPLATE_MAX)
        return fault(c, at, v.raw, "should be a string of length %d or less",
                     LIQUID_TEMPLATE_MAX);
    if (text.len == 0 || liquid_parse(text, c->a, &e))
        return true;
    return fault(c, at, v.raw, "cannot be read: %s", e.text);
}

/* taken: check_mapping() took this value as it is. */
static void lint(struct checking *c, mf_val v, const struct stack *up,
                 bool taken)
{
    mf_iter it = { { 0 } };
    unsigned i = 0;
    mf_str key;
    mf_val x;

    if (taken && v.type == MF_OBJECT && !check_value(c, v, up))
        return;
    while (json_next(v, &it, &key, &x)) {
        char place[16];
        struct stack here = { up, key };

        if (v.type == MF_ARRAY)
            here.key = (mf_str){ place, (size_t)snprintf(place, sizeof place,
                                                         "%u", i++) };
        if (v.type == MF_OBJECT && x.type == MF_STRING &&
            mf_eq(key, MF_STR("@liquid")))
            lint_liquid(c, x, &here);
        else
            lint(c, x, &here,
                 v.type == MF_ARRAY || mf_eq(key, MF_STR("@literal")));
    }
}

/* ---- public ---- */

struct relay {
    mapping_fault_fn *tell;
    void *context;
    struct moved moved;
    const char *otherwise;
    mf_val json;
};

/* Where a byte of the text that was put together stood in the source. */
static void relay_fault(void *context, const char *at, const char *text)
{
    struct relay *r = context;

    for (uint32_t i = 0; i < r->moved.count; i++) {
        const struct piece_of *p = &r->moved.list[i];

        if (at >= p->to && at < p->to + p->len) {
            r->tell(r->context, p->from + (at - p->to), text);
            return;
        }
    }
    if (!at || at < r->json.raw || at >= r->json.raw + r->json.len)
        at = r->otherwise;
    r->tell(r->context, at, text);
}

static unsigned judge(mf_val json, mapping_fault_fn *tell, void *context,
                      bool late)
{
    struct relay r = { tell, context, { NULL, 0 }, json.raw, json };
    struct fault_list f = { relay_fault, &r, 0 };
    struct arena a;
    mf_val v;

    arena_init(&a, SIZE_MAX / 8);
    if (root_directive(json, &v, &r.moved, &a, &f)) {
        if (late)
            lint(&(struct checking){ &a, &f, false }, v, NULL, false);
        else
            check_mapping(v, &a, &f);
    }
    arena_deinit(&a);
    return f.count;
}

unsigned mapping_check(mf_val json, mapping_fault_fn *tell, void *context)
{
    return judge(json, tell, context, false);
}

unsigned mapping_lint(mf_val json, mapping_fault_fn *tell, void *context)
{
    return judge(json, tell, context, true);
}
