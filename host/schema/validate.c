/* SPDX-License-Identifier: Apache-2.0
 *
 * validate.c - a compiled schema applied to a value, where both stand.
 *
 * Loud, every error is told; quiet, the first one ends it: so inside of not,
 * anyOf and the like, where an error means nothing by itself. The way to the
 * value is a chain on the stack, written out only for an error. Each thing
 * done takes steps from a purse, so that no schema and no value can make it
 * last; with an empty one, every check fails at once. */
#include "schema/node.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SCRATCH_SOFT (64u << 20)
#define QUOTE_MAX    80 /* bytes of a value in an error */
#define NAMES_TRIES  1000 /* schemas asked for one name */
#define REGEX_STEP   REGEX_COST_BYTE /* of the engine's, for one of ours */

struct draft7_scratch {
    struct arena arena;
    struct regex_room *regex;
};

struct way { /* to the value in hand, from the end */
    const struct way *up;
    mf_str key; /* raw; ptr NULL: an element */
    size_t index;
    bool unescaped;
};

struct run {
    struct arena *a;
    struct regex_room *regex;
    struct draft7_report *out;
    uint64_t steps;
    unsigned depth;
    bool quiet, empty; /* empty: the purse */
};

struct draft7_scratch *draft7_scratch_new(void)
{
    struct draft7_scratch *k = xmalloc(sizeof *k);

    arena_init(&k->arena, SCRATCH_SOFT);
    k->regex = regex_room_new();
    return k;
}

void draft7_scratch_free(struct draft7_scratch *k)
{
    if (!k)
        return;
    arena_deinit(&k->arena);
    regex_room_free(k->regex);
    free(k);
}

void draft7_scratch_reset(struct draft7_scratch *k)
{
    arena_reset(&k->arena);
}

struct arena *draft7_scratch_arena(struct draft7_scratch *k)
{
    return &k->arena;
}

/* False: there are none left. */
static bool spend(struct run *r, uint64_t steps)
{
    if (r->steps < steps) {
        r->empty = true;
        r->steps = 0;
        return false;
    }
    r->steps -= steps;
    return true;
}

/* ---- errors ---- */

static mf_str key_text(struct run *r, const struct way *w)
{
    return w->unescaped ? w->key : json_unescape(w->key, r->a);
}

static const struct draft7_step *write_way(struct run *r, const struct way *w,
                                           unsigned *len)
{
    struct draft7_step *path;
    unsigned n = 0;

    for (const struct way *i = w; i->up; i = i->up)
        n++;
    *len = n;
    path = arena_alloc(r->a, (n + 1) * sizeof *path);
    for (const struct way *i = w; i->up; i = i->up) {
        path[--n].index = i->index;
        path[n].key = (mf_str){ NULL, 0 };
        if (i->key.ptr)
            path[n].key = key_text(r, i);
    }
    return path;
}

static mf_str write_field(struct run *r, const struct draft7_step *path,
                          unsigned len)
{
    mf_str text = { "", 0 };

    for (unsigned i = 0; i < len; i++) {
        int n = (int)text.len;

        text = path[i].key.ptr
                   ? arena_printf(r->a, "%.*s%s%.*s", n, text.ptr,
                                  i ? "." : "", (int)path[i].key.len,
                                  path[i].key.ptr)
                   : arena_printf(r->a, "%.*s[%zu]", n, text.ptr,
                                  path[i].index);
    }
    return len ? text : MF_STR("(root)");
}

/* Returns false, as the check that failed does. The text is the field and
 * what the format says. */
static bool fail(struct run *r, const struct way *w, const char *type,
                 const char *format, ...)
    __attribute__((format(printf, 4, 5)));

static bool fail(struct run *r, const struct way *w, const char *type,
                 const char *format, ...)
{
    struct draft7_error *e;
    char text[400];
    va_list args;

    if (r->quiet || r->empty)
        return false;
    if (r->out->count == DRAFT7_ERRORS_MAX) {
        r->out->left_off++;
        return false;
    }
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    e = &r->out->errors[r->out->count++];
    e->type = type;
    e->path = write_way(r, w, &e->path_len);
    e->field = write_field(r, e->path, e->path_len);
    e->text = arena_printf(r->a, "%.*s %s", (int)e->field.len, e->field.ptr,
                           text);
    return false;
}

/* A member that is wrong, or missing, by its key. */
static struct way below(const struct way *up, mf_str key)
{
    return (struct way){ up, key, 0, true };
}

/* ---- the simple ones ---- */

static unsigned type_of(mf_val v)
{
    struct number n;

    switch (v.type) {
    case MF_NULL:
        return T_NULL;
    case MF_BOOL:
        return T_BOOLEAN;
    case MF_STRING:
        return T_STRING;
    case MF_ARRAY:
        return T_ARRAY;
    case MF_OBJECT:
        return T_OBJECT;
    default:
        n = number_of(v);
        return number_is_whole(&n) ? T_NUMBER | T_INTEGER : T_NUMBER;
    }
}

/* "string or null". */
static const char *types_text(unsigned types, char out[64])
{
    static const char *const words[] = { "null",    "boolean", "number",
                                         "integer", "string",  "array",
                                         "object" };
    size_t len = 0;

    out[0] = 0;
    for (unsigned k = 1; k <= COUNT_OF(words); k++) { /* null last */
        unsigned i = k % COUNT_OF(words);

        if (types & 1u << i) {
            const char *or = len ? " or " : "";
            int n = snprintf(out + len, 64 - len, "%s%s", or, words[i]);

            len += (size_t)n;
            if (len >= 64)
                break;
        }
    }
    return out;
}

static bool check_type(struct run *r, const struct draft7_node *n, mf_val v,
                       const struct way *w)
{
    unsigned is = type_of(v);
    char wanted[64], there[64];

    if (is & n->types)
        return true;
    if (r->quiet)
        return false;
    if (is & T_INTEGER)
        is = T_INTEGER;
    return fail(r, w, "Invalid Type", "must be %s, and is %s",
                types_text(n->types, wanted), types_text(is, there));
}

static bool same(struct run *r, mf_val a, mf_val b)
{
    struct number x, y;

    if (a.type != b.type || !spend(r, 1 + a.len / 64))
        return false;
    if (a.len == b.len && memcmp(a.raw, b.raw, a.len) == 0)
        return true;
    switch (a.type) {
    case MF_NUMBER:
        x = number_of(a);
        y = number_of(b);
        return number_compare(&x, &y) == 0;
    case MF_STRING:
        return mf_eq(json_text(a, r->a), json_text(b, r->a));
    case MF_ARRAY:
    case MF_OBJECT:
        return spend(r, a.len / 8) && json_equal(a, b, r->a);
    default:
        return a.type == MF_NULL || json_is_true(a) == json_is_true(b);
    }
}

static bool check_choices(struct run *r, const struct draft7_node *n,
                          mf_val v, const struct way *w)
{
    int len = n->choice_count && n->choices[0].len < QUOTE_MAX
                  ? (int)n->choices[0].len
                  : 0;

    for (uint32_t i = 0; i < n->choice_count; i++)
        if (same(r, v, n->choices[i]))
            return true;
    if (n->constant)
        return fail(r, w, "Const", "must be %.*s%s", len,
                    n->choices[0].raw, len ? "" : "the one value allowed");
    return fail(r, w, "Enum", "must be one of the %u values allowed",
                n->choice_count);
}

static bool bound(struct run *r, const struct way *w, const char *type,
                  const char *what, mf_str words)
{
    return fail(r, w, type, "must be %s %.*s", what, (int)words.len,
                words.ptr);
}

static bool check_number(struct run *r, const struct number_rules *n,
                         mf_val v, const struct way *w)
{
    struct number x = number_of(v);
    bool ok = true;

    if (n->has_minimum && number_compare(&x, &n->minimum) < 0)
        ok = bound(r, w, "Minimum", "at least", n->words[0]);
    if (n->has_maximum && number_compare(&x, &n->maximum) > 0)
        ok = bound(r, w, "Maximum", "at most", n->words[1]);
    if (n->has_above && number_compare(&x, &n->above) <= 0)
        ok = bound(r, w, "Exclusive Minimum", "above", n->words[2]);
    if (n->has_below && number_compare(&x, &n->below) >= 0)
        ok = bound(r, w, "Exclusive Maximum", "below", n->words[3]);
    if (n->has_multiple && !number_is_multiple(&x, &n->multiple))
        ok = bound(r, w, "Multiple Of", "a multiple of", n->words[4]);
    return ok;
}

static uint64_t characters(mf_str s)
{
    uint64_t n = 0;

    for (size_t i = 0; i < s.len; i++)
        n += ((unsigned char)s.ptr[i] & 0xC0) != 0x80;
    return n;
}

static bool matches(struct run *r, const struct regex *regex, mf_str text)
{
    enum regex_verdict v;

    if (!spend(r, REGEX_COST_BASE / REGEX_STEP + text.len))
        return false;
    v = regex_match(regex, text, r->regex);
    if (v == REGEX_GAVE_UP)
        spend(r, UINT64_MAX);
    return v == REGEX_YES;
}

/* key: a name of a property, with its quotes gone already. */
static bool check_text(struct run *r, const struct string_rules *n, mf_str s,
                       const struct way *w)
{
    uint64_t len = n->shortest || n->longest != NO_LIMIT ? characters(s) : 0;
    bool ok = true;

    if (!spend(r, s.len / 16))
        return false;
    if (len < n->shortest)
        ok = fail(r, w, "Min Length", "must have %llu characters at least",
                  (unsigned long long)n->shortest);
    if (len > n->longest)
        ok = fail(r, w, "Max Length", "must have %llu characters at most",
                  (unsigned long long)n->longest);
    if (n->pattern && !matches(r, n->pattern, s))
        ok = fail(r, w, "Pattern", "must match %.*s",
                  (int)(n->pattern_text.len < 200 ? n->pattern_text.len : 200),
                  n->pattern_text.ptr);
    if (n->format && (!spend(r, 4 + s.len / 4) ||
                      !string_format_holds(n->format, s)))
        ok = fail(r, w, "Format", "must be a %s", n->format->name);
    return ok;
}

/* ---- several schemas ---- */

static bool check(struct run *r, const struct draft7_node *n, mf_val v,
                  const struct way *w);

static bool check_quietly(struct run *r, const struct draft7_node *n,
                          mf_val v, const struct way *w)
{
    bool was = r->quiet, ok;

    r->quiet = true;
    ok = check(r, n, v, w);
    r->quiet = was;
    return ok && !r->empty;
}

static bool check_any(struct run *r, const struct nodes *any, mf_val v,
                      const struct way *w)
{
    for (uint32_t i = 0; i < any->count; i++)
        if (check_quietly(r, any->list[i], v, w))
            return true;
    return fail(r, w, "Any Of", "must be valid by one of the schemas of anyOf "
                                "at least");
}

static bool check_one(struct run *r, const struct nodes *one, mf_val v,
                      const struct way *w)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < one->count && n < 2; i++)
        n += check_quietly(r, one->list[i], v, w);
    return n == 1 ||
           fail(r, w, "One Of", "must be valid by one of the schemas of "
                                "oneOf, and is by %s", n ? "two" : "none");
}

static bool check_combined(struct run *r, const struct combined *m, mf_val v,
                           const struct way *w)
{
    bool ok = true;

    for (uint32_t i = 0; i < m->all.count; i++)
        if (!check(r, m->all.list[i], v, w)) {
            ok = false;
            if (r->quiet)
                return false;
        }
    if (m->any.count && !check_any(r, &m->any, v, w))
        ok = false;
    if (m->one.count && !check_one(r, &m->one, v, w))
        ok = false;
    if (m->none && check_quietly(r, m->none, v, w))
        ok = fail(r, w, "Not", "must not be what \"not\" describes");
    if (m->condition) {
        const struct draft7_node *next =
            check_quietly(r, m->condition, v, w) ? m->then : m->otherwise;

        if (next && !check(r, next, v, w))
            ok = false;
    }
    return ok;
}

/* ---- arrays ---- */

struct hashed {
    uint64_t hash;
    mf_val v;
};

static uint64_t bytes_hash(mf_str s, uint64_t seed)
{
    uint64_t h = 14695981039346656037u ^ seed;

    for (size_t i = 0; i < s.len; i++)
        h = (h ^ (unsigned char)s.ptr[i]) * 1099511628211u;
    return h ^ h >> 31;
}

/* Equal values have equal hashes, however they are written. */
static uint64_t hash_of(struct run *r, mf_val v, unsigned depth)
{
    mf_iter it = { { 0 } };
    uint64_t h = (uint64_t)v.type * 0x9E3779B97F4A7C15u;
    struct number n;
    mf_str key;
    mf_val one;

    switch (v.type) {
    case MF_NUMBER:
        n = number_of(v);
        return h ^ number_hash(&n);
    case MF_STRING:
        return bytes_hash(json_text(v, r->a), h);
    case MF_BOOL:
        return h + json_is_true(v);
    case MF_ARRAY:
    case MF_OBJECT:
        if (depth == JSON_DEPTH_MAX)
            return h;
        while (json_next(v, &it, &key, &one)) {
            uint64_t x = hash_of(r, one, depth + 1);

            if (v.type == MF_OBJECT) /* in any order */
                h += bytes_hash(json_unescape(key, r->a), x);
            else
                h = (h ^ x) * 1099511628211u;
        }
        return h;
    default:
        return h;
    }
}

static int by_hash(const void *a, const void *b)
{
    const struct hashed *x = a, *y = b;

    return x->hash < y->hash ? -1 : x->hash > y->hash;
}

static bool check_unique(struct run *r, mf_val v, size_t count,
                         const struct way *w)
{
    struct hashed *list;
    mf_iter it = { { 0 } };
    size_t n = 0;
    mf_str key;

    if (count < 2)
        return true;
    if (!spend(r, count + v.len / 8))
        return false;
    list = arena_alloc(r->a, count * sizeof *list);
    while (n < count && json_next(v, &it, &key, &list[n].v)) {
        list[n].hash = hash_of(r, list[n].v, 0);
        n++;
    }
    qsort(list, n, sizeof *list, by_hash);
    for (size_t i = 1; i < n; i++)
        for (size_t k = i; k > 0 && list[k - 1].hash == list[i].hash; k--)
            if (same(r, list[k - 1].v, list[i].v))
                return fail(r, w, "Unique", "must not hold a value twice");
    return true;
}

static bool check_array(struct run *r, const struct array_rules *n, mf_val v,
                        const struct way *w)
{
    bool ok = true, found = n->contains == NULL;
    mf_iter it = { { 0 } };
    size_t count = 0;
    mf_str key;
    mf_val item;

    for (; json_next(v, &it, &key, &item); count++) {
        struct way at = { w, { NULL, 0 }, count, true };
        const struct draft7_node *rule = n->items;

        if (!spend(r, 1))
            return false;
        if (!rule)
            rule = count < n->first.count ? n->first.list[count] : n->others;
        if (rule && !check(r, rule, item, &at)) {
            ok = false;
            if (r->quiet)
                return false;
        }
        if (!found && check_quietly(r, n->contains, item, &at))
            found = true;
    }
    if (!found)
        ok = fail(r, w, "Contains", "must contain what \"contains\" "
                                    "describes");
    if (count < n->fewest)
        ok = fail(r, w, "Min Items", "must have %llu elements at least",
                  (unsigned long long)n->fewest);
    if (count > n->most)
        ok = fail(r, w, "Max Items", "must have %llu elements at most",
                  (unsigned long long)n->most);
    if (n->unique && !check_unique(r, v, count, w))
        ok = false;
    return ok;
}

/* ---- objects ---- */

static bool check_name(struct run *r, const struct draft7_node *n, mf_str name,
                       const struct way *w)
{
    mf_val v = json_from_text(r->a, name);

    if (!spend(r, 2 + name.len / 16) || check_quietly(r, n, v, w))
        return !r->empty;
    return fail(r, w, "Property Name", "is no name that is allowed");
}

/* What says of a member: by its name, by patterns, else what is left. */
static bool check_member(struct run *r, const struct object_rules *o,
                         const struct property *p, mf_str name, mf_val v,
                         const struct way *w)
{
    bool ok = true, known = p && p->node;

    if (o->names && !check_name(r, o->names, name, w))
        ok = false;
    if (known && !check(r, p->node, v, w))
        ok = false;
    for (uint32_t i = 0; i < o->pattern_count; i++)
        if (matches(r, o->patterns[i].regex, name)) {
            known = true;
            if (!check(r, o->patterns[i].node, v, w))
                ok = false;
        }
    if (known || !o->additional)
        return ok;
    if (o->additional->never)
        return fail(r, w, "Additional Property", "is not allowed");
    return check(r, o->additional, v, w) && ok;
}

static bool check_required(struct run *r, const struct object_rules *o,
                           const bool *seen, const struct way *w)
{
    bool ok = true;

    for (uint32_t i = 0; i < o->count; i++) {
        const struct property *p = &o->properties[i];
        struct way at = below(w, p->key);

        if (p->required && !seen[p->required - 1])
            ok = !r->out->only_there && fail(r, &at, "Required",
                                             "is required");
    }
    return ok;
}

static bool check_dependency(struct run *r, const struct dependency *d,
                             mf_val v, const struct way *w)
{
    bool ok = true;

    if (!spend(r, 1 + v.len / 64) ||
        json_get(v, d->key).type == MF_ABSENT)
        return !r->empty;
    if (d->node)
        return check(r, d->node, v, w);
    for (uint32_t i = 0; i < d->key_count; i++) {
        struct way at = below(w, d->keys[i]);

        if (!spend(r, 1 + v.len / 64))
            return false;
        if (json_get(v, d->keys[i]).type == MF_ABSENT)
            ok = !r->out->only_there &&
                 fail(r, &at, "Missing Dependency",
                      "is required beside %.*s", (int)d->key.len,
                      d->key.ptr);
    }
    return ok;
}

static bool check_object(struct run *r, const struct object_rules *o,
                         mf_val v, const struct way *w)
{
    bool few[64] = { false }, *seen = few, ok = true;
    mf_iter it = { { 0 } };
    uint64_t count = 0;
    mf_str key;
    mf_val member;

    if (o->required > COUNT_OF(few))
        seen = arena_zalloc(r->a, o->required * sizeof *seen);
    for (; json_next(v, &it, &key, &member); count++) {
        mf_str name = json_unescape(key, r->a);
        struct way at = { w, name, 0, true };
        const struct property *p = object_property(o, name);

        if (!spend(r, 1 + name.len / 32))
            return false;
        if (p && p->required)
            seen[p->required - 1] = true;
        if (!check_member(r, o, p, name, member, &at)) {
            ok = false;
            if (r->quiet || r->empty)
                return false;
        }
    }
    if (o->required &&
        (!spend(r, o->count / 8) || !check_required(r, o, seen, w)))
        ok = false;
    for (uint32_t i = 0; i < o->dependency_count; i++)
        if (!check_dependency(r, &o->dependencies[i], v, w))
            ok = false;
    if (count < o->fewest)
        ok = fail(r, w, "Min Properties", "must have %llu members at least",
                  (unsigned long long)o->fewest);
    if (count > o->most)
        ok = fail(r, w, "Max Properties", "must have %llu members at most",
                  (unsigned long long)o->most);
    return ok;
}

/* ---- one schema ---- */

static bool check_rules(struct run *r, const struct draft7_node *n, mf_val v,
                        const struct way *w)
{
    bool ok = true;

    if (n->types && !check_type(r, n, v, w))
        ok = false;
    if (n->choice_count && (ok || !r->quiet) && !check_choices(r, n, v, w))
        ok = false;
    if (!ok && r->quiet)
        return false;
    if (n->number && v.type == MF_NUMBER && !check_number(r, n->number, v, w))
        ok = false;
    if (n->string && v.type == MF_STRING &&
        !check_text(r, n->string, json_text(v, r->a), w))
        ok = false;
    if (n->array && v.type == MF_ARRAY && !check_array(r, n->array, v, w))
        ok = false;
    if (n->object && v.type == MF_OBJECT && !check_object(r, n->object, v, w))
        ok = false;
    if (n->combined && (ok || !r->quiet) &&
        !check_combined(r, n->combined, v, w))
        ok = false;
    return ok;
}

static bool check(struct run *r, const struct draft7_node *n, mf_val v,
                  const struct way *w)
{
    bool ok;

    if (!spend(r, 1))
        return false;
    if (r->depth == DRAFT7_DEPTH_MAX)
        return spend(r, UINT64_MAX);
    r->depth++;
    if (n->never)
        ok = fail(r, w, "False", "is not allowed");
    else if (n->ref)
        ok = check(r, n->ref, v, w);
    else
        ok = check_rules(r, n, v, w);
    r->depth--;
    return ok && !r->empty;
}

bool draft7_validate(const struct draft7 *s, mf_val value,
                     struct draft7_scratch *k, struct draft7_report *out)
{
    struct run r = { .a = &k->arena, .regex = k->regex, .out = out,
                     .steps = DRAFT7_STEPS_MAX };
    struct way root = { NULL };
    bool ok = check(&r, s->root, value, &root);

    if (!r.empty)
        return ok;
    r.empty = false;
    out->gave_up = true;
    return fail(&r, &root, "Limit", "takes more than %d steps to validate, or "
                                    "one of its patterns too long",
                DRAFT7_STEPS_MAX);
}

/* ---- what a schema names ---- */

static const struct draft7_node *target(const struct draft7_node *n)
{
    for (unsigned i = 0; n && n->ref && i < DRAFT7_NEST_MAX; i++)
        n = n->ref;
    return n;
}

const struct draft7_node *draft7_member(const struct draft7 *s, mf_str key)
{
    const struct draft7_node *n = target(s->root);
    const struct property *p = n->object ? object_property(n->object, key)
                                         : NULL;

    return p ? p->node : NULL;
}

/* tries: of one question; past them the answer is no. */
static bool names(const struct draft7_node *n, mf_str key,
                  struct regex_room *room, unsigned *tries)
{
    const struct property *p;

    n = target(n);
    if (!n || *tries == 0)
        return false;
    --*tries;
    if (n->object) {
        p = object_property(n->object, key);
        if (p && p->node)
            return true;
        for (uint32_t i = 0; i < n->object->pattern_count; i++)
            if (regex_match(n->object->patterns[i].regex, key, room) ==
                REGEX_YES)
                return true;
    }
    for (uint32_t i = 0; n->combined && i < n->combined->all.count; i++)
        if (names(n->combined->all.list[i], key, room, tries))
            return true;
    return false;
}

bool draft7_names(const struct draft7_node *n, mf_str key,
                  struct draft7_scratch *k)
{
    unsigned tries = NAMES_TRIES;

    return names(n, key, k->regex, &tries);
}
