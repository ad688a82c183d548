/* SPDX-License-Identifier: Apache-2.0
 *
 * directive.c - each directive: its options compiled, then what it does.
 *
 * A pair of functions a directive, compile_x and run_x, in the order of the
 * table at the end. Options are judged when they are compiled, in the order in
 * which the original would; what it would throw becomes a node that throws. */
#include "base/unicase.h"
#include "mapping/kit.h"

#include <stdlib.h>

#define SHORT_MAX 10 /* UTF-16 units of @replace's texts */

struct if_rule {
    struct node *operand, *yes, *no; /* yes, no: NULL gives undefined */
    bool blank;
};

struct case_rule {
    struct node *value;
    mf_str operator;
};

struct replace_rule {
    struct node *value;
    mf_str pattern[2], replacement[2]; /* the second pattern may be "" */
    bool ignore_case, global;
    bool typed; /* every option has the type it must have */
};

struct array_path_rule {
    struct node *from, *shape; /* shape: NULL for none */
    struct trie paths;         /* of the shape */
};

struct flatten_rule {
    struct node *value, *separator;
    bool omit_arrays;
};

struct json_rule {
    struct node *value;
    bool encode, decode;
};

struct merge_rule {
    struct node *direction, **objects;
    uint32_t count;
};

struct transform_rule {
    struct node *apply, *mapping;
    struct trie paths; /* of mapping, over what apply gives */
};

struct liquid_rule {
    struct liquid *parsed;
    const char *fault; /* instead */
};

struct directive {
    const char *name;
    struct node *(*compile)(struct compiling *c, mf_val options);
};

static struct node *directive_node(struct compiling *c, directive_run *run,
                                   const void *rule)
{
    struct node *n = node_new(c, N_DIRECTIVE);

    n->u.directive.run = run;
    n->u.directive.rule = rule;
    return n;
}

static mf_str text_option(struct compiling *c, mf_val v)
{
    return arena_copy(c->a, json_text(v, c->a));
}

/* ---- @if ---- */

static bool exists(mf_val v)
{
    return v.type != MF_ABSENT && v.type != MF_NULL;
}

/* v == '' as JavaScript's loose comparison has it. */
static bool loosely_empty(mf_val v, struct arena *a)
{
    switch (v.type) {
    case MF_STRING:
    case MF_NUMBER:
    case MF_BOOL:
        return js_falsy(v);
    case MF_ARRAY:
        return js_string(v, a).len == 0;
    default:
        return false;
    }
}

static const struct node *chosen(struct eval *c, const struct frame *f,
                                 const struct if_rule *r)
{
    mf_val v = value_of(c, f, r->operand);
    bool yes = exists(v) && !(r->blank && loosely_empty(v, c->a));

    if (c->failed)
        return NULL;
    return yes ? r->yes : r->no;
}

static mf_val run_if(struct eval *c, const struct frame *f, const void *rule)
{
    const struct node *n = chosen(c, f, rule);

    return n ? value_of(c, f, n) : ABSENT;
}

static struct node *compile_if(struct compiling *c, mf_val o)
{
    mf_val exist = option(o, "exists"), blank = option(o, "blank");
    mf_val yes = option(o, "then"), no = option(o, "else");
    struct if_rule *r;

    if (o.type != MF_OBJECT)
        return node_throw(c, "@if requires an object with an \"exists\" key");
    if (js_falsy(exist) && js_falsy(blank))
        return node_throw(
            c, "@if requires an \"exists\" key or a \"blank\" key");
    r = arena_zalloc(c->a, sizeof *r);
    r->blank = exist.type == MF_ABSENT;
    r->operand = compile_value(c, r->blank ? blank : exist);
    r->yes = yes.type == MF_ABSENT ? NULL : compile_value(c, yes);
    /* A falsy else gives undefined, a falsy then itself. Without a then, a
     * true condition gives undefined too. */
    r->no = js_falsy(no) ? NULL : compile_value(c, no);
    return directive_node(c, run_if, r);
}

/* ---- @case ---- */

static mf_val run_case(struct eval *c, const struct frame *f, const void *rule)
{
    const struct case_rule *r = rule;
    mf_val v = value_of(c, f, r->value);
    struct out o;
    mf_str s;

    if (v.type != MF_STRING)
        return v;
    s = json_text(v, c->a);
    out_init(&o, c->a, s.len * UNICASE_GROWTH + 4);
    if (mf_eq(r->operator, MF_STR("lower")))
        utf8_lower(&o.b, s);
    else if (mf_eq(r->operator, MF_STR("upper")))
        utf8_upper(&o.b, s);
    else
        return eval_fail(c, "operator key should have a value of \"lower\" or "
                            "\"upper\"");
    return text_val(c->a, out_str(&o));
}

static struct node *compile_case(struct compiling *c, mf_val o)
{
    mf_val operator = option(o, "operator"), value = option(o, "value");
    struct case_rule *r;

    if (o.type != MF_OBJECT)
        return node_throw(c,
                          "@case requires an object with a \"operator\" key");
    if (js_falsy(operator))
        return node_throw(c, "@case requires a \"operator\" key");
    if (js_falsy(value))
        return node_new(c, N_NOTHING);
    r = arena_zalloc(c->a, sizeof *r);
    r->operator = text_option(c, operator);
    r->value = compile_value(c, value);
    return directive_node(c, run_case, r);
}

/* ---- @replace ---- */

/* What a regular expression without the u flag compares under the i flag. */
static uint32_t folded(uint32_t c)
{
    uint32_t up = unicase_upper(c);

    return c >= 0x80 && up < 0x80 ? c : up;
}

/* Length of what stands at s and says pattern; 0 if it does not. */
static size_t match_at(mf_str s, mf_str pattern, bool ignore_case)
{
    const char *p = s.ptr, *end = s.ptr + s.len;
    const char *q = pattern.ptr, *stop = pattern.ptr + pattern.len;

    if (((unsigned char)*p & 0xC0) == 0x80)
        return 0; /* in the middle of a character */
    if (!ignore_case)
        return s.len >= pattern.len &&
                       memcmp(s.ptr, pattern.ptr, pattern.len) == 0
                   ? pattern.len
                   : 0;
    while (q < stop) {
        if (p == end ||
            folded(utf8_next(&p, end)) != folded(utf8_next(&q, stop)))
            return 0;
    }
    return (size_t)(p - s.ptr);
}

/* The replacement with $$, $&, $` and $' filled in; there are no groups. */
static void put_replacement(struct out *o, mf_str r, mf_str s, size_t at,
                            size_t len)
{
    for (size_t i = 0; i < r.len; i++) {
        char next = r.ptr[i] == '$' && i + 1 < r.len ? r.ptr[i + 1] : 0;

        i += next == '$' || next == '&' || next == '`' || next == '\'';
        if (next == '$')
            out_char(o, '$');
        else if (next == '&')
            out_add(o, s.ptr + at, len);
        else if (next == '`')
            out_add(o, s.ptr, at);
        else if (next == '\'')
            out_add(o, s.ptr + at + len, s.len - at - len);
        else
            out_char(o, r.ptr[i]);
    }
}

static mf_str replaced(struct eval *c, const struct replace_rule *r, int which,
                       mf_str s)
{
    mf_str pattern = r->pattern[which];
    struct out o;
    size_t at = 0;
    bool done = false;

    out_init(&o, c->a, s.len + 64);
    while (at < s.len && !o.b.full) {
        mf_str rest = { s.ptr + at, s.len - at };
        size_t n = done ? 0 : match_at(rest, pattern, r->ignore_case);

        if (n == 0) {
            out_char(&o, s.ptr[at++]);
            continue;
        }
        put_replacement(&o, r->replacement[which], s, at, n);
        at += n;
        done = !r->global;
    }
    return out_str(&o);
}

static mf_val run_replace(struct eval *c, const struct frame *f,
                          const void *rule)
{
    const struct replace_rule *r = rule;
    mf_val v = value_of(c, f, r->value);
    mf_str s;

    if (!r->typed || (v.type != MF_STRING && v.type != MF_BOOL &&
                      v.type != MF_NUMBER))
        return c->failed ? ABSENT : text_val(c->a, MF_STR(""));
    s = js_string(v, c->a);
    for (int i = 0; i < 2 && r->pattern[i].len; i++) {
        if (utf16_length(r->pattern[i]) > SHORT_MAX)
            return eval_fail(c, "@replace requires a \"pattern\" less than %d "
                                "characters", SHORT_MAX);
        if (utf16_length(r->replacement[i]) > SHORT_MAX)
            return eval_fail(c, "@replace requires a \"replacement\" less than "
                                "%d characters", SHORT_MAX);
        s = replaced(c, r, i, s);
    }
    return text_val(c->a, s);
}

static struct node *compile_replace(struct compiling *c, mf_val o)
{
    mf_val pattern = option(o, "pattern"), with = option(o, "replacement");
    mf_val pattern2 = option(o, "pattern2"), with2 = option(o, "replacement2");
    mf_val fold = option(o, "ignorecase"), global = option(o, "global");
    mf_val value = option(o, "value");
    struct replace_rule *r;

    if (o.type != MF_OBJECT)
        return node_throw(c,
                          "@replace requires an object with a \"pattern\" key");
    if (js_falsy(pattern))
        return node_throw(c, "@replace requires a \"pattern\" key");
    if (js_falsy(value))
        return node_new(c, N_NOTHING);
    r = arena_zalloc(c->a, sizeof *r);
    r->value = compile_value(c, value);
    r->pattern[0] = text_option(c, pattern);
    r->replacement[0] = text_option(c, with);
    if (!exists(with2) || with2.type == MF_STRING)
        r->pattern[1] = text_option(c, pattern2);
    r->replacement[1] = text_option(c, with2);
    r->ignore_case = json_is_true(fold);
    r->global = !exists(global) || json_is_true(global);
    r->typed = pattern.type == MF_STRING &&
               (!exists(with) || with.type == MF_STRING) &&
               (!exists(fold) || fold.type == MF_BOOL) &&
               (!exists(global) || global.type == MF_BOOL);
    return directive_node(c, run_replace, r);
}

/* ---- @arrayPath ---- */

static void write_item(struct eval *c, struct frame *in,
                       const struct array_path_rule *r, mf_val item)
{
    if (!eval_room(c))
        return;
    frame_read(c, in, item);
    if (!write_node(c, in, r->shape))
        out_add(&c->out, "null", 4);
}

static mf_val shaped(struct eval *c, const struct array_path_rule *r,
                     mf_val root)
{
    struct out outer = c->out;
    mf_iter it = { { 0 } };
    struct frame in;
    mf_str key;
    mf_val v;

    frame_init(c, &in, &r->paths);
    out_init(&c->out, c->a, root.len + 16);
    out_char(&c->out, '[');
    if (root.type == MF_OBJECT)
        write_item(c, &in, r, root);
    for (bool first = true; root.type == MF_ARRAY && !c->failed &&
                            json_next(root, &it, &key, &v);
         first = false) {
        if (!first)
            out_char(&c->out, ',');
        write_item(c, &in, r, v);
    }
    out_char(&c->out, ']');
    v = c->out.b.full ? ABSENT : out_val(&c->out);
    c->out = outer;
    return v;
}

static mf_val run_array_path(struct eval *c, const struct frame *f,
                             const void *rule)
{
    const struct array_path_rule *r = rule;
    mf_val root = value_of(c, f, r->from);

    if (!r->shape || (root.type != MF_OBJECT && root.type != MF_ARRAY))
        return root;
    return shaped(c, r, root);
}

static struct node *compile_array_path(struct compiling *c, mf_val o)
{
    mf_val path = json_at(o, 0), shape = json_at(o, 1);
    struct trie *outer = c->paths;
    struct array_path_rule *r;

    if (o.type != MF_ARRAY)
        return node_throw(c, "@arrayPath expected array, got %s", type_name(o));
    r = arena_zalloc(c->a, sizeof *r);
    r->from = path.type == MF_STRING
                  ? node_path(c, path_plain(json_text(path, c->a), c->a))
                  : compile_value(c, path);
    if (shape.type == MF_OBJECT && json_count(shape)) {
        trie_init(&r->paths, c->a);
        c->paths = &r->paths;
        r->shape = compile_value(c, shape);
        c->paths = outer;
        trie_seal(&r->paths, c->a);
    }
    return directive_node(c, run_array_path, r);
}

/* ---- @path, @template: of a text that another directive gives ---- */

static mf_val run_path(struct eval *c, const struct frame *f, const void *rule)
{
    mf_val v = value_of(c, f, rule);

    if (v.type != MF_STRING)
        return eval_fail(c, "@path: expected string, got %s", type_name(v));
    return path_get_dollar(frame_root(c, f), json_text(v, c->a), c->a);
}

static struct node *compile_path(struct compiling *c, mf_val o)
{
    if (o.type == MF_STRING)
        return node_path(c, path_plain(json_text(o, c->a), c->a));
    return directive_node(c, run_path, compile_value(c, o));
}

static mf_val run_template(struct eval *c, const struct frame *f,
                           const void *rule)
{
    mf_val v = value_of(c, f, rule);

    if (v.type != MF_STRING)
        return eval_fail(c, "@template: expected string, got %s",
                         type_name(v));
    return text_val(c->a, template_render(json_text(v, c->a),
                                          frame_root(c, f), c->a));
}

static struct node *compile_template(struct compiling *c, mf_val o)
{
    struct node *n;

    if (o.type != MF_STRING)
        return directive_node(c, run_template, compile_value(c, o));
    n = node_new(c, N_TEMPLATE);
    template_compile(&n->u.template, json_text(o, c->a), c->paths, c->a);
    return n;
}

/* ---- @flatten ---- */

static mf_val run_flatten(struct eval *c, const struct frame *f,
                          const void *rule)
{
    const struct flatten_rule *r = rule;
    mf_val separator = value_of(c, f, r->separator), v;

    if (separator.type != MF_STRING)
        return eval_fail(c, "@flatten requires a string separator");
    v = value_of(c, f, r->value);
    if (c->failed)
        return ABSENT;
    return flatten(v, MF_STR(""), json_text(separator, c->a), r->omit_arrays,
                   c->a);
}

static struct node *compile_flatten(struct compiling *c, mf_val o)
{
    mf_val separator = option(o, "separator");
    struct flatten_rule *r;

    if (o.type != MF_OBJECT)
        return node_throw(
            c, "@flatten requires an object with a \"separator\" key");
    if (js_falsy(separator))
        return node_throw(c, "@flatten requires a \"separator\" key");
    r = arena_zalloc(c->a, sizeof *r);
    r->separator = compile_value(c, separator);
    r->value = compile_value(c, option(o, "value"));
    r->omit_arrays = !js_falsy(option(o, "omitArrays"));
    return directive_node(c, run_flatten, r);
}

/* ---- @json ---- */

static mf_val run_json(struct eval *c, const struct frame *f, const void *rule)
{
    const struct json_rule *r = rule;
    mf_val v = value_of(c, f, r->value);
    mf_str s;

    if (r->encode && v.type != MF_ABSENT) {
        v = js_stringify(v, c->a);
        return text_val(c->a, (mf_str){ v.raw, v.len });
    }
    if (!r->decode || v.type != MF_STRING)
        return r->decode ? v : ABSENT;
    s = json_text(v, c->a);
    if (json_check(s, JSON_DEPTH_MAX, NULL) != 0)
        return v;
    return json_root(s);
}

static struct node *compile_json(struct compiling *c, mf_val o)
{
    mf_val mode = option(o, "mode"), value = option(o, "value");
    struct json_rule *r;

    if (o.type != MF_OBJECT)
        return node_throw(c, "@json requires an object with a \"value\" key");
    if (js_falsy(mode))
        return node_throw(c, "@json requires a \"mode\" key");
    if (js_falsy(value))
        return node_throw(c, "@json requires a \"value\" key");
    r = arena_zalloc(c->a, sizeof *r);
    r->encode = mf_eq(json_text(mode, c->a), MF_STR("encode"));
    r->decode = mf_eq(json_text(mode, c->a), MF_STR("decode"));
    r->value = compile_value(c, value);
    return directive_node(c, run_json, r);
}

/* ---- @transform ---- */

/* Frame of what apply gives; false after a failure. */
static bool applied(struct eval *c, const struct frame *f,
                    const struct transform_rule *r, struct frame *in)
{
    mf_val v;

    if (strcmp(frame_type(f), "object") != 0) {
        eval_fail(c, "data must be an object, got %s", frame_type(f));
        return false;
    }
    v = value_of(c, f, r->apply);
    if (c->failed)
        return false;
    frame_init(c, in, &r->paths);
    frame_read(c, in, v);
    return true;
}

static mf_val run_transform(struct eval *c, const struct frame *f,
                            const void *rule)
{
    const struct transform_rule *r = rule;
    struct frame in;

    return applied(c, f, r, &in) ? value_of(c, &in, r->mapping) : ABSENT;
}

/* apply is a mapping of its own: checked as one, with its own root directive.
 */
static struct node *compile_apply(struct compiling *c, mf_val apply)
{
    const char *fault = faults_text(&apply, c->a);

    return fault ? node_throw(c, "%s", fault) : compile_value(c, apply);
}

static struct node *compile_transform(struct compiling *c, mf_val o)
{
    mf_val apply = option(o, "apply"), mapping = option(o, "mapping");
    struct trie *outer = c->paths;
    struct transform_rule *r;

    if (o.type != MF_OBJECT)
        return node_throw(c, "@transform requires an object with an \"apply\" "
                             "key and a \"mapping\" key");
    if (js_falsy(mapping))
        return node_throw(c, "@transform requires a \"mapping\" key");
    if (js_falsy(apply))
        return node_throw(c, "@transform requires a \"apply\" key");
    if (apply.type != MF_OBJECT)
        return node_throw(c, "@transform \"apply\" key should be an object");
    r = arena_zalloc(c->a, sizeof *r);
    r->apply = compile_apply(c, apply);
    trie_init(&r->paths, c->a);
    c->paths = &r->paths;
    r->mapping = compile_value(c, mapping);
    c->paths = outer;
    trie_seal(&r->paths, c->a);
    return directive_node(c, run_transform, r);
}

/* ---- @merge ---- */

static bool from_left(struct eval *c, const struct frame *f,
                      const struct merge_rule *r)
{
    mf_val v = value_of(c, f, r->direction);

    return mf_eq(json_text(v, c->a), MF_STR("left"));
}

/* Adds the members of what n gives. One whose value is undefined hides what
 * an earlier object gave, so it must be seen: objects are merged member by
 * member, also those that @if, @transform or another @merge lead to. */
static void merge_node(struct eval *c, const struct frame *f,
                       struct members *m, const struct node *n)
{
    directive_run *run =
        n && n->kind == N_DIRECTIVE ? n->u.directive.run : NULL;
    struct members own;
    struct frame in;

    if (!n || !eval_room(c))
        return;
    if (run == run_if) {
        merge_node(c, f, m, chosen(c, f, n->u.directive.rule));
    } else if (run == run_transform) {
        const struct transform_rule *r = n->u.directive.rule;

        if (applied(c, f, r, &in))
            merge_node(c, &in, m, r->mapping);
    } else if (run && n->u.directive.merges) {
        const struct merge_rule *r = n->u.directive.rule;
        bool left = from_left(c, f, r);

        members_init(&own, c->a);
        for (uint32_t i = 0; i < r->count && !c->failed; i++)
            merge_node(c, f, &own, r->objects[left ? r->count - 1 - i : i]);
        members_order(&own);
        for (uint32_t i = 0; i < own.count; i++)
            members_set(m, own.list[i].key, own.list[i].value);
    } else if (n->kind == N_OBJECT) {
        for (uint32_t i = 0; i < n->u.fields.count && !c->failed; i++) {
            mf_str head = n->u.fields.list[i].head;

            members_set(m, (mf_str){ head.ptr + 2, head.len - 4 },
                        value_of(c, f, n->u.fields.list[i].value));
        }
    } else {
        members_spread(m, value_of(c, f, n));
    }
}

static mf_val run_merge(struct eval *c, const struct frame *f, const void *rule)
{
    const struct merge_rule *r = rule;
    bool left = from_left(c, f, r);
    struct members m;

    members_init(&m, c->a);
    for (uint32_t i = 0; i < r->count && !c->failed; i++)
        merge_node(c, f, &m, r->objects[left ? r->count - 1 - i : i]);
    return c->failed ? ABSENT : members_object(&m);
}

static struct node *compile_merge(struct compiling *c, mf_val o)
{
    mf_val direction = option(o, "direction"), objects = option(o, "objects");
    mf_iter it = { { 0 } };
    struct merge_rule *r;
    struct node *n;
    mf_str key;
    mf_val v;

    if (o.type != MF_OBJECT)
        return node_throw(c, "@merge requires an object with an \"objects\" "
                             "key and a \"direction\" key");
    if (js_falsy(direction))
        return node_throw(c, "@merge requires a \"direction\" key");
    if (js_falsy(objects))
        return node_throw(c, "@merge requires a \"objects\" key");
    if (objects.type != MF_ARRAY)
        return node_throw(c, "@merge: expected opts.array, got %s",
                          type_name(objects));
    r = arena_zalloc(c->a, sizeof *r);
    r->direction = compile_value(c, direction);
    r->objects = arena_alloc(c->a, json_count(objects) * sizeof *r->objects);
    while (json_next(objects, &it, &key, &v))
        r->objects[r->count++] = compile_value(c, v);
    n = directive_node(c, run_merge, r);
    n->u.directive.merges = true;
    return n;
}

/* ---- @excludeWhenNull ---- */

static void without_nulls(struct out *o, mf_val v)
{
    struct members m;
    bool first = true;

    if (v.type != MF_OBJECT) {
        out_add(o, v.raw, v.len);
        return;
    }
    members_of(&m, o->a, v);
    out_char(o, '{');
    for (uint32_t i = 0; i < m.count && !o->b.full; i++) {
        if (m.list[i].value.type == MF_NULL)
            continue;
        if (!first)
            out_char(o, ',');
        first = false;
        out_char(o, '"');
        out_add(o, m.list[i].key.ptr, m.list[i].key.len);
        out_add(o, "\":", 2);
        without_nulls(o, m.list[i].value);
    }
    out_char(o, '}');
}

static mf_val run_exclude(struct eval *c, const struct frame *f,
                          const void *rule)
{
    mf_val v = value_of(c, f, rule);
    struct out o;

    if (v.type == MF_NULL)
        return ABSENT;
    if (v.type != MF_OBJECT)
        return v;
    out_init(&o, c->a, v.len);
    without_nulls(&o, v);
    return o.b.full ? ABSENT : out_val(&o);
}

static struct node *compile_exclude(struct compiling *c, mf_val o)
{
    return directive_node(c, run_exclude, compile_value(c, o));
}

/* ---- @liquid ---- */

static mf_val run_liquid(struct eval *c, const struct frame *f,
                         const void *rule)
{
    const struct liquid_rule *r = rule;
    struct err e;
    mf_str out;

    if (r->fault)
        return eval_fail(c, "%s", r->fault);
    if (liquid_run(r->parsed, frame_root(c, f), c->a, &out, &e) != 0)
        return eval_fail(c, "%s", e.text);
    return text_val(c->a, out);
}

static struct node *compile_liquid(struct compiling *c, mf_val o)
{
    struct liquid_rule *r;
    mf_str text = text_option(c, o);
    struct err e;

    if (o.type != MF_STRING)
        return node_throw(c, "liquid template value must be a string");
    if (utf16_length(text) > LIQUID_TEMPLATE_MAX)
        return node_throw(c, "liquid template values are limited to %d "
                             "characters", LIQUID_TEMPLATE_MAX);
    r = arena_zalloc(c->a, sizeof *r);
    r->parsed = liquid_parse(text, c->a, &e);
    if (!r->parsed)
        r->fault = arena_copy(c->a, mf_cstr(e.text)).ptr;
    return directive_node(c, run_liquid, r);
}

static const struct directive directives[] = {
    { "@if", compile_if },
    { "@case", compile_case },
    { "@replace", compile_replace },
    { "@arrayPath", compile_array_path },
    { "@path", compile_path },
    { "@template", compile_template },
    { "@literal", compile_value },
    { "@flatten", compile_flatten },
    { "@json", compile_json },
    { "@merge", compile_merge },
    { "@transform", compile_transform },
    { "@excludeWhenNull", compile_exclude },
    { "@liquid", compile_liquid },
};

struct node *compile_directive(struct compiling *c, mf_str name, mf_val value)
{
    for (size_t i = 0; i < COUNT_OF(directives); i++)
        if (mf_eq(name, mf_cstr(directives[i].name)))
            return directives[i].compile(c, value);
    return node_throw(c, "%.*s is not a valid directive, got undefined",
                      (int)name.len, name.ptr);
}
