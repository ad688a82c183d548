/* SPDX-License-Identifier: Apache-2.0
 *
 * compile.c - from the text of a schema to nodes.
 *
 * Every place of the text that a schema stands at becomes one node, whoever
 * refers to it. What they refer to is found by refs.c, when all is read. */
#include "schema/compile.h"

#include "base/text.h"
#include "schema/uri.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TEXT_MAX 320

/* Keywords, in the order of word_names. */
enum word {
    K_TYPE, K_ENUM, K_CONST, K_MINIMUM, K_MAXIMUM, K_EXCLUSIVE_MINIMUM,
    K_EXCLUSIVE_MAXIMUM, K_MULTIPLE_OF, K_MIN_LENGTH, K_MAX_LENGTH, K_PATTERN,
    K_FORMAT, K_ITEMS, K_ADDITIONAL_ITEMS, K_CONTAINS, K_MIN_ITEMS,
    K_MAX_ITEMS, K_UNIQUE_ITEMS, K_PROPERTIES, K_REQUIRED,
    K_PATTERN_PROPERTIES, K_ADDITIONAL_PROPERTIES, K_PROPERTY_NAMES,
    K_MIN_PROPERTIES, K_MAX_PROPERTIES, K_DEPENDENCIES, K_ALL_OF, K_ANY_OF,
    K_ONE_OF, K_NOT, K_IF, K_THEN, K_ELSE, K_DEFINITIONS, K_ID, K_REF, WORDS
};

static const mf_str word_names[WORDS] = {
    { "type", 4 }, { "enum", 4 }, { "const", 5 }, { "minimum", 7 },
    { "maximum", 7 }, { "exclusiveMinimum", 16 }, { "exclusiveMaximum", 16 },
    { "multipleOf", 10 }, { "minLength", 9 }, { "maxLength", 9 },
    { "pattern", 7 }, { "format", 6 }, { "items", 5 },
    { "additionalItems", 15 }, { "contains", 8 }, { "minItems", 8 },
    { "maxItems", 8 }, { "uniqueItems", 11 }, { "properties", 10 },
    { "required", 8 }, { "patternProperties", 17 },
    { "additionalProperties", 20 }, { "propertyNames", 13 },
    { "minProperties", 13 }, { "maxProperties", 13 }, { "dependencies", 12 },
    { "allOf", 5 }, { "anyOf", 5 }, { "oneOf", 5 }, { "not", 3 }, { "if", 2 },
    { "then", 4 }, { "else", 4 }, { "definitions", 11 }, { "$id", 3 },
    { "$ref", 4 },
};

struct words { /* one schema's keywords */
    mf_val v[WORDS];
};

void compile_fault(struct compiler *c, const char *at, const char *format, ...)
{
    char text[TEXT_MAX];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    c->faults++;
    c->tell(c->arg, at, text);
}

/* ---- nodes by place ---- */

uint32_t node_hash(mf_str key) /* FNV-1a */
{
    uint32_t h = 2166136261u;

    for (size_t i = 0; i < key.len; i++)
        h = (h ^ (unsigned char)key.ptr[i]) * 16777619u;
    return h;
}

static uint32_t place_hash(const char *at)
{
    return (uint32_t)(((uintptr_t)at * 0x9E3779B97F4A7C15u) >> 32);
}

static struct draft7_node **memo_slot(const struct compiler *c,
                                      const char *at)
{
    uint32_t i = place_hash(at) & (c->memo_size - 1);

    while (c->memo[i] && c->memo[i]->at != at)
        i = (i + 1) & (c->memo_size - 1);
    return &c->memo[i];
}

static void memo_grow(struct compiler *c)
{
    struct draft7_node **old = c->memo;
    uint32_t size = c->memo_size;

    c->memo_size = size ? size * 2 : 64;
    c->memo = xcalloc(c->memo_size, sizeof *c->memo);
    for (uint32_t i = 0; i < size; i++)
        if (old[i])
            *memo_slot(c, old[i]->at) = old[i];
    free(old);
}

static void *one_more(void *list, size_t count, size_t *room, size_t size)
{
    if (count < *room)
        return list;
    *room = *room ? *room * 2 : 16;
    return xrealloc(list, *room * size);
}

/* ---- values of keywords ---- */

static mf_val keyword(const struct words *k, enum word w)
{
    return k->v[w];
}

static void read_words(mf_val schema, struct words *k)
{
    mf_iter it = { { 0 } };
    mf_str key;
    mf_val v;

    memset(k, 0, sizeof *k);
    while (json_next(schema, &it, &key, &v))
        for (unsigned w = 0; w < WORDS; w++)
            if (json_key_is(key, word_names[w])) {
                k->v[w] = v;
                break;
            }
}

static uint64_t read_count(struct compiler *c, const struct words *k,
                           enum word w, uint64_t otherwise)
{
    mf_val v = keyword(k, w);
    int64_t n;

    if (v.type == MF_ABSENT)
        return otherwise;
    if (v.type != MF_NUMBER || !json_integer(v, &n) || n < 0) {
        compile_fault(c, v.raw, "\"%s\" must be a whole number, not below 0",
              word_names[w].ptr);
        return otherwise;
    }
    return (uint64_t)n;
}

static bool read_number(struct compiler *c, const struct words *k,
                        enum word w, struct number *to, mf_str *words)
{
    mf_val v = keyword(k, w);

    if (v.type == MF_ABSENT)
        return false;
    if (v.type != MF_NUMBER) {
        compile_fault(c, v.raw, "\"%s\" must be a number%s", word_names[w].ptr,
              v.type == MF_BOOL
                  ? "; true and false are of older drafts: write the bound"
                  : "");
        return false;
    }
    *to = number_of(v);
    *words = (mf_str){ v.raw, v.len };
    return true;
}

static const struct regex *read_regex(struct compiler *c, mf_str text,
                                      const char *at)
{
    struct regex_held *held;
    char why[REGEX_WHY];
    struct regex *r = regex_compile(text, why);

    if (!r) {
        compile_fault(c, at, "this is no regular expression: %s", why);
        return NULL;
    }
    held = arena_alloc(c->a, sizeof *held);
    *held = (struct regex_held){ r, c->s->regexes };
    c->s->regexes = held;
    c->s->regex_bytes += regex_bytes(r);
    if (c->s->regex_bytes > DRAFT7_REGEX_BYTES_MAX && c->faults == 0)
        compile_fault(c, at, "the patterns up to this one take more than %u "
                             "MiB of memory; make them simpler",
                      DRAFT7_REGEX_BYTES_MAX >> 20);
    return r;
}

static const char *const type_words[] = { "null",   "boolean", "number",
                                          "integer", "string", "array",
                                          "object", NULL };

static unsigned type_named(struct compiler *c, mf_val v)
{
    mf_str word = json_text(v, c->a);
    const char *near;

    for (unsigned i = 0; type_words[i]; i++)
        if (v.type == MF_STRING && mf_eq(word, mf_cstr(type_words[i])))
            return 1u << i;
    near = v.type == MF_STRING
               ? nearest(arena_copy(c->a, word).ptr, type_words)
               : NULL;
    compile_fault(c, v.raw, "there is no such type; write %s%s%s",
          near ? "\"" : "null, boolean, number, integer, string, array or ",
          near ? near : "object", near ? "\"" : "");
    return 0;
}

static void read_type(struct compiler *c, const struct words *k,
                      struct draft7_node *n)
{
    mf_val v = keyword(k, K_TYPE), one;
    mf_iter it = { { 0 } };
    mf_str key;

    if (v.type == MF_ARRAY)
        while (json_next(v, &it, &key, &one))
            n->types |= type_named(c, one);
    else if (v.type != MF_ABSENT)
        n->types = type_named(c, v);
    if (v.type == MF_ARRAY && json_count(v) == 0)
        compile_fault(c, v.raw, "\"type\" must name a type");
}

static void read_choices(struct compiler *c, const struct words *k,
                         struct draft7_node *n)
{
    mf_val list = keyword(k, K_ENUM), one = keyword(k, K_CONST), v;
    mf_iter it = { { 0 } };
    mf_str key;

    if (one.type != MF_ABSENT && list.type == MF_ABSENT) {
        n->choices = arena_alloc(c->a, sizeof *n->choices);
        n->choices[0] = one;
        n->choice_count = 1;
        n->constant = true;
    }
    if (list.type == MF_ABSENT)
        return;
    if (list.type != MF_ARRAY) {
        compile_fault(c, list.raw, "\"enum\" must be an array of values");
        return;
    }
    n->choices = arena_alloc(c->a, (json_count(list) + 1) *
                                       sizeof *n->choices);
    while (json_next(list, &it, &key, &v))
        if (one.type == MF_ABSENT || json_equal(one, v, c->a))
            n->choices[n->choice_count++] = v;
    if (n->choice_count == 0)
        n->never = true; /* as no value is among none */
}

static void read_numbers(struct compiler *c, const struct words *k,
                         struct draft7_node *n)
{
    struct number_rules r = { 0 };

    r.has_minimum = read_number(c, k, K_MINIMUM, &r.minimum,
                                &r.words[0]);
    r.has_maximum = read_number(c, k, K_MAXIMUM, &r.maximum,
                                &r.words[1]);
    r.has_above = read_number(c, k, K_EXCLUSIVE_MINIMUM, &r.above,
                              &r.words[2]);
    r.has_below = read_number(c, k, K_EXCLUSIVE_MAXIMUM, &r.below,
                              &r.words[3]);
    r.has_multiple = read_number(c, k, K_MULTIPLE_OF, &r.multiple,
                                 &r.words[4]);
    if (r.has_multiple && (r.multiple.negative || r.multiple.value <= 0)) {
        compile_fault(c, r.words[4].ptr, "\"multipleOf\" must be above 0");
        return;
    }
    if (r.has_minimum || r.has_maximum || r.has_above || r.has_below ||
        r.has_multiple) {
        n->number = arena_alloc(c->a, sizeof *n->number);
        *n->number = r;
    }
}

static void read_strings(struct compiler *c, const struct words *k,
                         struct draft7_node *n)
{
    mf_val pattern = keyword(k, K_PATTERN);
    mf_val format = keyword(k, K_FORMAT);
    struct string_rules r = { 0 };

    r.shortest = read_count(c, k, K_MIN_LENGTH, 0);
    r.longest = read_count(c, k, K_MAX_LENGTH, NO_LIMIT);
    if (pattern.type == MF_STRING) {
        r.pattern_text = json_text(pattern, c->a);
        r.pattern = read_regex(c, r.pattern_text, pattern.raw);
    } else if (pattern.type != MF_ABSENT) {
        compile_fault(c, pattern.raw, "\"pattern\" must be a string");
    }
    if (format.type == MF_STRING)
        r.format = string_format_named(json_text(format, c->a));
    else if (format.type != MF_ABSENT)
        compile_fault(c, format.raw, "\"format\" must be a string");
    if (r.shortest || r.longest != NO_LIMIT || r.pattern || r.format) {
        n->string = arena_alloc(c->a, sizeof *n->string);
        *n->string = r;
    }
}

/* ---- schemas inside ---- */

/* NULL when the keyword is not there. */
static struct draft7_node *read_schema(struct compiler *c,
                                       const struct words *k, enum word w,
                                       mf_str base)
{
    mf_val v = keyword(k, w);

    return v.type == MF_ABSENT ? NULL : compile_node(c, v, base);
}

static void read_list(struct compiler *c, const struct words *k, enum word w,
                      mf_str base, struct nodes *to)
{
    mf_val list = keyword(k, w);
    mf_iter it = { { 0 } };
    mf_str key;
    mf_val v;

    if (list.type == MF_ABSENT)
        return;
    if (list.type != MF_ARRAY || json_count(list) == 0) {
        compile_fault(c, list.raw, "\"%s\" must be an array of schemas",
                      word_names[w].ptr);
        return;
    }
    to->list = arena_alloc(c->a, json_count(list) * sizeof *to->list);
    while (json_next(list, &it, &key, &v))
        to->list[to->count++] = compile_node(c, v, base);
}

static void read_arrays(struct compiler *c, const struct words *k, mf_str base,
                        struct draft7_node *n)
{
    mf_val items = keyword(k, K_ITEMS);
    mf_val unique = keyword(k, K_UNIQUE_ITEMS);
    struct array_rules r = { 0 };

    if (items.type == MF_ARRAY) {
        if (json_count(items))
            read_list(c, k, K_ITEMS, base, &r.first);
        r.others = read_schema(c, k, K_ADDITIONAL_ITEMS, base);
    } else if (items.type != MF_ABSENT) {
        r.items = compile_node(c, items, base);
    }
    r.contains = read_schema(c, k, K_CONTAINS, base);
    r.fewest = read_count(c, k, K_MIN_ITEMS, 0);
    r.most = read_count(c, k, K_MAX_ITEMS, NO_LIMIT);
    r.unique = json_is_true(unique);
    if (unique.type != MF_ABSENT && unique.type != MF_BOOL)
        compile_fault(c, unique.raw, "\"uniqueItems\" must be true or false");
    if (r.items || r.first.count || r.others || r.contains || r.fewest ||
        r.most != NO_LIMIT || r.unique) {
        n->array = arena_alloc(c->a, sizeof *n->array);
        *n->array = r;
    }
}

const struct property *object_property(const struct object_rules *o,
                                       mf_str key)
{
    if (!o->slots)
        return NULL;
    for (uint32_t i = node_hash(key) & o->mask; o->slots[i];
         i = (i + 1) & o->mask)
        if (mf_eq(o->properties[o->slots[i] - 1].key, key))
            return &o->properties[o->slots[i] - 1];
    return NULL;
}

/* There is room in the table for every key that can come. */
static struct property *add_property(struct object_rules *o, mf_str key)
{
    struct property *p =
        (struct property *)(uintptr_t)object_property(o, key);
    uint32_t i = node_hash(key) & o->mask;

    if (p)
        return p;
    while (o->slots[i])
        i = (i + 1) & o->mask;
    o->slots[i] = ++o->count;
    p = &o->properties[o->count - 1];
    *p = (struct property){ .key = key };
    return p;
}

static mf_val object_of(struct compiler *c, const struct words *k, enum word w)
{
    mf_val v = keyword(k, w);

    if (v.type != MF_ABSENT && v.type != MF_OBJECT)
        compile_fault(c, v.raw, "\"%s\" must be an object", word_names[w].ptr);
    return v;
}

static void read_required(struct compiler *c, mf_val list,
                          struct object_rules *o)
{
    mf_iter it = { { 0 } };
    mf_str key;
    mf_val v;

    if (list.type != MF_ABSENT && list.type != MF_ARRAY)
        compile_fault(c, list.raw, "\"required\" must be an array of keys%s",
              list.type == MF_BOOL
                  ? ", beside \"properties\" and not inside of them"
                  : "");
    while (list.type == MF_ARRAY && json_next(list, &it, &key, &v)) {
        struct property *p;

        if (v.type != MF_STRING) {
            compile_fault(c, v.raw, "\"required\" names keys: write strings");
            continue;
        }
        p = add_property(o, json_text(v, c->a));
        if (!p->required)
            p->required = ++o->required;
    }
}

static void read_properties(struct compiler *c, const struct words *k,
                            mf_str base, struct object_rules *o)
{
    mf_val list = object_of(c, k, K_PROPERTIES), v;
    mf_val required = keyword(k, K_REQUIRED);
    size_t most = json_count(list) +
                  (required.type == MF_ARRAY ? json_count(required) : 0);
    mf_iter it = { { 0 } };
    uint32_t size = 4;
    mf_str key;

    if (most) {
        while (size < most * 2)
            size *= 2;
        o->mask = size - 1;
        o->slots = arena_zalloc(c->a, size * sizeof *o->slots);
        o->properties = arena_alloc(c->a, most * sizeof *o->properties);
    }
    while (list.type == MF_OBJECT && json_next(list, &it, &key, &v))
        add_property(o, json_unescape(key, c->a))->node =
            compile_node(c, v, base);
    read_required(c, required, o);
}

static void read_patterns(struct compiler *c, const struct words *k,
                          mf_str base, struct object_rules *o)
{
    mf_val list = object_of(c, k, K_PATTERN_PROPERTIES), v;
    mf_iter it = { { 0 } };
    mf_str key;

    if (list.type != MF_OBJECT || json_count(list) == 0)
        return;
    o->patterns = arena_alloc(c->a,
                              json_count(list) * sizeof *o->patterns);
    while (json_next(list, &it, &key, &v)) {
        struct pattern_property p;

        p.regex = read_regex(c, json_unescape(key, c->a), key.ptr);
        p.node = compile_node(c, v, base);
        if (p.regex)
            o->patterns[o->pattern_count++] = p;
    }
}

static void read_keys(struct compiler *c, mf_val list, struct dependency *d)
{
    mf_iter it = { { 0 } };
    mf_str key;
    mf_val v;

    d->keys = arena_alloc(c->a, (json_count(list) + 1) * sizeof *d->keys);
    while (json_next(list, &it, &key, &v)) {
        if (v.type != MF_STRING)
            compile_fault(c, v.raw, "a dependency names keys: write strings");
        else
            d->keys[d->key_count++] = json_text(v, c->a);
    }
}

static void read_dependencies(struct compiler *c, const struct words *k,
                              mf_str base, struct object_rules *o)
{
    mf_val list = object_of(c, k, K_DEPENDENCIES), v;
    mf_iter it = { { 0 } };
    mf_str key;

    if (list.type != MF_OBJECT || json_count(list) == 0)
        return;
    o->dependencies = arena_alloc(c->a, json_count(list) *
                                            sizeof *o->dependencies);
    while (json_next(list, &it, &key, &v)) {
        struct dependency *d = &o->dependencies[o->dependency_count++];

        *d = (struct dependency){ .key = json_unescape(key, c->a) };
        if (v.type == MF_ARRAY)
            read_keys(c, v, d);
        else
            d->node = compile_node(c, v, base);
    }
}

static void read_objects(struct compiler *c, const struct words *k, mf_str base,
                         struct draft7_node *n)
{
    struct object_rules r = { 0 };

    read_properties(c, k, base, &r);
    read_patterns(c, k, base, &r);
    read_dependencies(c, k, base, &r);
    r.additional = read_schema(c, k, K_ADDITIONAL_PROPERTIES, base);
    r.names = read_schema(c, k, K_PROPERTY_NAMES, base);
    r.fewest = read_count(c, k, K_MIN_PROPERTIES, 0);
    r.most = read_count(c, k, K_MAX_PROPERTIES, NO_LIMIT);
    if (r.count || r.pattern_count || r.dependency_count || r.additional ||
        r.names || r.fewest || r.most != NO_LIMIT) {
        n->object = arena_alloc(c->a, sizeof *n->object);
        *n->object = r;
    }
}

static void read_combined(struct compiler *c, const struct words *k,
                          mf_str base, struct draft7_node *n)
{
    struct combined r = { 0 };

    read_list(c, k, K_ALL_OF, base, &r.all);
    read_list(c, k, K_ANY_OF, base, &r.any);
    read_list(c, k, K_ONE_OF, base, &r.one);
    r.none = read_schema(c, k, K_NOT, base);
    r.condition = read_schema(c, k, K_IF, base);
    r.then = read_schema(c, k, K_THEN, base);
    r.otherwise = read_schema(c, k, K_ELSE, base);
    if (r.all.count || r.any.count || r.one.count || r.none || r.condition) {
        n->combined = arena_alloc(c->a, sizeof *n->combined);
        *n->combined = r;
    }
}

/* Schemas that only references reach. */
static void read_definitions(struct compiler *c, const struct words *k,
                             mf_str base)
{
    mf_val list = object_of(c, k, K_DEFINITIONS), v;
    mf_iter it = { { 0 } };
    mf_str key;

    while (list.type == MF_OBJECT && json_next(list, &it, &key, &v))
        compile_node(c, v, base);
}

static mf_str read_id(struct compiler *c, const struct words *k,
                      mf_val schema, mf_str base)
{
    mf_val id = keyword(k, K_ID);
    mf_str fragment, document, uri;

    if (id.type != MF_STRING)
        return base;
    uri = uri_resolve(base, json_text(id, c->a), c->a);
    document = uri_split(uri, &fragment);
    if (fragment.len == 0)
        uri = document;
    c->named = one_more(c->named, c->named_count, &c->named_room,
                        sizeof *c->named);
    c->named[c->named_count++] = (struct named){ uri, schema };
    return fragment.len ? base : document;
}

static void note_ref(struct compiler *c, struct draft7_node *n, mf_val ref,
                     mf_str base)
{
    c->pending = one_more(c->pending, c->pending_count, &c->pending_room,
                          sizeof *c->pending);
    c->pending[c->pending_count++] = (struct pending){ n, ref, base };
}

static void fill(struct compiler *c, struct draft7_node *n, mf_val schema,
                 mf_str base)
{
    struct words all, *k = &all;
    mf_val ref;

    read_words(schema, k);
    ref = keyword(k, K_REF);
    if (ref.type == MF_STRING) {
        read_definitions(c, k, base);
        note_ref(c, n, ref, base);
        return;
    }
    base = read_id(c, k, schema, base);
    read_type(c, k, n);
    read_choices(c, k, n);
    read_numbers(c, k, n);
    read_strings(c, k, n);
    read_arrays(c, k, base, n);
    read_objects(c, k, base, n);
    read_combined(c, k, base, n);
    read_definitions(c, k, base);
}

struct draft7_node *compile_node(struct compiler *c, mf_val schema,
                                 mf_str base)
{
    struct draft7_node *n;

    if (c->node_count * 2 >= c->memo_size)
        memo_grow(c);
    n = *memo_slot(c, schema.raw);
    if (n)
        return n;
    n = arena_zalloc(c->a, sizeof *n);
    n->at = schema.raw;
    *memo_slot(c, schema.raw) = n;
    *c->end = n;
    c->end = &n->next;
    if (++c->node_count > DRAFT7_NODES_MAX) {
        if (c->node_count == DRAFT7_NODES_MAX + 1)
            compile_fault(c, schema.raw,
                          "there are more than %d schemas in this; make it "
                          "smaller", DRAFT7_NODES_MAX);
        return n;
    }
    if (schema.type == MF_OBJECT)
        fill(c, n, schema, base);
    else if (schema.type == MF_BOOL)
        n->never = !json_is_true(schema);
    else
        compile_fault(c, schema.raw,
                      "a schema must be an object, true or false");
    return n;
}

/* ---- the whole ---- */

struct draft7 *draft7_compile(mf_val schema, struct arena *a,
                              draft7_tell *tell, void *arg)
{
    struct compiler c = { .a = a, .tell = tell, .arg = arg, .root = schema };
    mf_val id = json_get(schema, MF_STR("$id"));
    mf_str ignored;

    c.end = &c.first;
    c.s = arena_zalloc(a, sizeof *c.s);
    c.root_uri = MF_STR("");
    if (id.type == MF_STRING &&
        json_get(schema, MF_STR("$ref")).type != MF_STRING)
        c.root_uri = uri_split(json_text(id, a), &ignored);
    c.s->root = compile_node(&c, schema, MF_STR(""));
    refs_follow(&c);
    if (c.faults == 0)
        refs_find_loops(&c);
    free(c.memo);
    free(c.named);
    free(c.pending);
    if (c.faults == 0)
        return c.s;
    draft7_free(c.s);
    return NULL;
}

void draft7_free(struct draft7 *s)
{
    for (struct regex_held *h = s ? s->regexes : NULL; h; h = h->next)
        regex_free(h->regex);
}

size_t draft7_regex_bytes(const struct draft7 *s)
{
    return s->regex_bytes;
}
