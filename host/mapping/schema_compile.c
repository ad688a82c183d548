/* SPDX-License-Identifier: Apache-2.0
 *
 * schema_compile.c - from the fields of a manifest to the form schema.c runs.
 *
 * It keeps to what the original makes of the same fields: minimum and maximum
 * of 0 mean none; a format or a bound on a `multiple` field binds nothing;
 * null is allowed neither in a `multiple` field nor in an object that names
 * its properties. */
#include "mapping/schema_node.h"

#include <stdlib.h>

#define KEY_TOLD 80 /* bytes of a key in an error */

struct compiler {
    struct schema *s;
    struct arena *a;
    struct err *e;
    uint32_t demand_room;
};

static int fault(const struct compiler *c, mf_str key, const char *what)
{
    return err_set(c->e, "field \"%.*s\": %s",
                   (int)(key.len < KEY_TOLD ? key.len : KEY_TOLD), key.ptr,
                   what);
}

static mf_str keep(const struct compiler *c, mf_str text)
{
    return arena_copy(c->a, text);
}

static mf_val keep_val(const struct compiler *c, mf_val v)
{
    if (v.type == MF_ABSENT)
        return v;
    return (mf_val){ arena_copy(c->a, (mf_str){ v.raw, v.len }).ptr, v.len,
                     v.type };
}

static mf_str text_of(const struct compiler *c, mf_val v, mf_str name)
{
    return json_text(json_get(v, name), c->a);
}

static bool flag(mf_val v, mf_str name)
{
    return json_is_true(json_get(v, name));
}

uint32_t schema_hash(mf_str key)
{
    uint32_t h = 2166136261u;

    for (size_t i = 0; i < key.len; i++)
        h = (h ^ (unsigned char)key.ptr[i]) * 16777619u;
    return h ^ h >> 15;
}

/* ---- one field ---- */

static unsigned types_named(mf_str type)
{
    static const struct {
        const char *name;
        unsigned types;
    } list[] = {
        { "string", TYPE_STRING },   { "text", TYPE_STRING },
        { "password", TYPE_STRING }, { "number", TYPE_NUMBER },
        { "integer", TYPE_INTEGER }, { "boolean", TYPE_BOOLEAN },
        { "object", TYPE_OBJECT },   { "datetime", TYPE_STRING | TYPE_NUMBER },
    };

    for (size_t i = 0; i < COUNT_OF(list); i++)
        if (mf_eq(type, mf_cstr(list[i].name)))
            return list[i].types;
    return 0;
}

static int read_format(const struct compiler *c, struct schema_field *f,
                       mf_val field, mf_str type)
{
    mf_str name = text_of(c, field, MF_STR("format"));

    if (mf_eq(type, MF_STR("datetime")))
        name = MF_STR("date-like");
    if (name.len == 0)
        return 0;
    f->rule.format = format_named(name);
    if (!f->rule.format)
        return fault(c, f->key, "there is no such format");
    return 0;
}

/* POSIX extended, against the whole of the string. */
static int read_pattern(const struct compiler *c, struct schema_field *f,
                        mf_val field)
{
    mf_str text = text_of(c, field, MF_STR("pattern"));
    struct schema_pattern *p;
    mf_str whole;

    if (text.len == 0)
        return 0;
    p = arena_zalloc(c->a, sizeof *p);
    p->text = text;
    whole = arena_printf(c->a, "^(%.*s)$", (int)text.len, text.ptr);
    if (regcomp(&p->compiled, whole.ptr, REG_EXTENDED | REG_NOSUB) != 0)
        return fault(c, f->key, "its pattern is no extended expression");
    p->next = c->s->patterns;
    c->s->patterns = p;
    f->rule.pattern = p;
    return 0;
}

static void read_bounds(struct schema_rule *r, mf_val field)
{
    r->minimum = json_number(json_get(field, MF_STR("min")), 0);
    r->maximum = json_number(json_get(field, MF_STR("max")), 0);
    r->has_minimum = r->minimum != 0;
    r->has_maximum = r->maximum != 0;
}

static void read_choices(const struct compiler *c, struct schema_rule *r,
                         mf_val field, bool null_too)
{
    mf_val list = json_get(field, MF_STR("choices")), v;
    mf_iter it = { { 0 } };
    mf_str key;

    if (list.type != MF_ARRAY)
        return;
    r->choices = arena_alloc(c->a, (json_count(list) + 1) * sizeof *r->choices);
    while (json_next(list, &it, &key, &v))
        r->choices[r->choice_count++] = keep_val(
            c, v.type == MF_OBJECT ? json_get(v, MF_STR("value")) : v);
    if (null_too)
        r->choices[r->choice_count++] = JSON_NULL;
}

/* `multiple` moves the rule to the items; their format and bounds go. */
static void make_multiple(struct schema_field *f, unsigned item_types)
{
    f->items = f->rule;
    f->items.types = item_types;
    f->items.format = NULL;
    f->items.has_minimum = f->items.has_maximum = false;
    memset(&f->rule, 0, sizeof f->rule);
    f->rule.types = TYPE_ARRAY;
}

/* ---- conditional requirements ---- */

static int read_condition(const struct compiler *c,
                          struct schema_condition *cond, mf_str key, mf_val v)
{
    mf_str path = text_of(c, v, MF_STR("fieldKey"));
    mf_str op = text_of(c, v, MF_STR("operator"));
    const char *dot = path.len ? memchr(path.ptr, '.', path.len) : NULL;
    size_t first = dot ? (size_t)(dot - path.ptr) : path.len;

    cond->negated = mf_eq(op, MF_STR("is_not"));
    if (path.len == 0 || (!cond->negated && !mf_eq(op, MF_STR("is"))))
        return fault(c, key, "a condition has a fieldKey, and an operator "
                             "that is \"is\" or \"is_not\"");
    cond->path_len = dot ? 2 : 1;
    cond->path = arena_alloc(c->a, 2 * sizeof *cond->path);
    cond->path[0] = keep(c, (mf_str){ path.ptr, first });
    if (dot)
        cond->path[1] = keep(c, (mf_str){ dot + 1, path.len - first - 1 });
    cond->value = keep_val(c, json_get(v, MF_STR("value")));
    return 0;
}

static int read_demand(struct compiler *c, mf_val rule, mf_str outer,
                       mf_str key)
{
    mf_val list = json_get(rule, MF_STR("conditions")), v;
    struct schema_demand *d;
    mf_iter it = { { 0 } };
    mf_str ignored;

    if (list.type != MF_ARRAY || json_count(list) == 0)
        return fault(c, key, "required_if has an array of conditions");
    if (c->s->demand_count == c->demand_room) {
        struct schema_demand *more;

        c->demand_room = c->demand_room * 2 + 4;
        more = arena_alloc(c->a, c->demand_room * sizeof *more);
        if (c->s->demand_count)
            memcpy(more, c->s->demands, c->s->demand_count * sizeof *more);
        c->s->demands = more;
    }
    d = &c->s->demands[c->s->demand_count++];
    memset(d, 0, sizeof *d);
    d->field = outer.len ? outer : key;
    d->inner = outer.len ? key : (mf_str){ "", 0 };
    d->any = mf_eq(text_of(c, rule, MF_STR("match")), MF_STR("any"));
    d->conditions = arena_zalloc(c->a, json_count(list) *
                                           sizeof *d->conditions);
    while (json_next(list, &it, &ignored, &v))
        if (read_condition(c, &d->conditions[d->count++], key, v) != 0)
            return -1;
    for (uint32_t i = 0; i < d->count; i++)
        d->conditions[i].strict = d->count > 1;
    return 0;
}

/* ---- objects ---- */

static void index_fields(const struct compiler *c, struct schema_object *o)
{
    uint32_t size = 4;

    while (size < o->count * 2)
        size *= 2;
    o->mask = size - 1;
    o->slots = arena_zalloc(c->a, size * sizeof *o->slots);
    for (uint32_t i = 0; i < o->count; i++) {
        uint32_t at = schema_hash(o->fields[i].key) & o->mask;

        while (o->slots[at])
            at = (at + 1) & o->mask;
        o->slots[at] = i + 1;
    }
}

static int read_scalars(struct compiler *c, struct schema_field *f,
                        mf_val field, mf_str outer, unsigned depth)
{
    mf_str type = text_of(c, field, MF_STR("type"));
    mf_val condition = json_get(field, MF_STR("required_if"));
    bool null_too = flag(field, MF_STR("allow_null"));
    unsigned types = types_named(type);

    f->key = keep(c, text_of(c, field, MF_STR("key")));
    f->label = keep(c, text_of(c, field, MF_STR("label")));
    f->required = flag(field, MF_STR("required"));
    if (f->key.len == 0)
        return err_set(c->e, "a field has no key");
    if (!types)
        return fault(c, f->key, "there is no such type");
    f->rule.types = types | (null_too ? TYPE_NULL : 0);
    if (read_format(c, f, field, type) != 0 || read_pattern(c, f, field) != 0)
        return -1;
    read_bounds(&f->rule, field);
    read_choices(c, &f->rule, field, null_too);
    if (flag(field, MF_STR("multiple")))
        make_multiple(f, types);
    if (condition.type != MF_ABSENT && depth > 1)
        return fault(c, f->key, "required_if has no effect this deep");
    if (condition.type != MF_ABSENT && !f->required)
        return read_demand(c, condition, outer, f->key);
    return 0;
}

static int check_twins(const struct compiler *c, const struct schema_object *o)
{
    for (uint32_t i = 0; i < o->count; i++)
        for (uint32_t j = 0; j < i; j++)
            if (mf_eq(o->fields[i].key, o->fields[j].key))
                return fault(c, o->fields[i].key, "this key stands twice");
    return 0;
}

/* In an object below the root, one member that is required conditionally
 * makes the original forget which are required always. */
static void forget_required(struct schema_object *o, mf_val fields)
{
    mf_iter it = { { 0 } };
    bool conditional = false;
    mf_str key;
    mf_val v;

    while (json_next(fields, &it, &key, &v))
        conditional |= json_get(v, MF_STR("required_if")).type != MF_ABSENT;
    for (uint32_t i = 0; conditional && i < o->count; i++)
        o->fields[i].required = false;
}

/* outer is the key of the root's field that the object belongs to. Only its
 * own members may be required conditionally: deeper ones have no place in
 * the original either. */
static int read_object(struct compiler *c, struct schema_object *o,
                       mf_val fields, mf_str outer, unsigned depth)
{
    size_t count = json_count(fields);
    mf_iter it = { { 0 } };
    mf_str key;
    mf_val v;

    if (fields.type != MF_ARRAY)
        return err_set(c->e, "fields are an array of objects");
    if (count > SCHEMA_FIELDS_MAX)
        return err_set(c->e, "an object may have %d fields at most",
                       SCHEMA_FIELDS_MAX);
    if (depth == SCHEMA_DEPTH_MAX)
        return err_set(c->e, "properties are nested more than %d deep",
                       SCHEMA_DEPTH_MAX);
    o->fields = arena_zalloc(c->a, (count + 1) * sizeof *o->fields);
    while (json_next(fields, &it, &key, &v)) {
        struct schema_field *f = &o->fields[o->count++];
        mf_val inner = json_get(v, MF_STR("properties"));
        struct schema_object *object;

        if (read_scalars(c, f, v, outer, depth) != 0)
            return -1;
        if (inner.type == MF_ABSENT)
            continue;
        object = arena_zalloc(c->a, sizeof *object);
        object->open = flag(v, MF_STR("additional_properties"));
        if (f->rule.types & TYPE_ARRAY) {
            f->items.object = object;
        } else {
            f->rule.object = object;
            f->rule.types = TYPE_OBJECT;
        }
        if (read_object(c, object, inner, f->key, depth + 1) != 0)
            return -1;
    }
    if (depth > 0)
        forget_required(o, fields);
    index_fields(c, o);
    return check_twins(c, o);
}

struct schema *schema_compile(mf_val fields, struct err *e)
{
    struct schema *s = xcalloc(1, sizeof *s);
    struct compiler c = { s, &s->arena, e, 0 };

    arena_init(&s->arena, SIZE_MAX / 8);
    if (read_object(&c, &s->root, fields, (mf_str){ "", 0 }, 0) == 0)
        return s;
    schema_free(s);
    return NULL;
}

void schema_free(struct schema *s)
{
    if (!s)
        return;
    for (struct schema_pattern *p = s->patterns; p; p = p->next)
        regfree(&p->compiled);
    arena_deinit(&s->arena);
    free(s);
}
