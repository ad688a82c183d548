/* SPDX-License-Identifier: Apache-2.0
 *
 * schema.c - applies a compiled schema to a payload in one pass.
 *
 * The payload is read in place and written out once, member by member, in the
 * order it came in. The first fault ends that pass; a second one then walks
 * the payload in the order of the fields, as the original's validator does,
 * only to tell every fault. So a good payload pays nothing for the words. */
#include "mapping/schema_node.h"

#include "base/text.h"
#include "base/unicase.h"
#include "mapping/jsvalue.h"
#include "mapping/kit.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>

/* What is done: everything, or, for tests, one half of it. */
enum { DO_CLEAN = 1, DO_CHECK = 2, IN_BATCH = 4 };

/* Where a value stands, for the texts of faults. */
struct place {
    const struct place *up; /* NULL: the root */
    mf_str key;             /* NULL text: an element */
    size_t index;
};

struct run {
    /* Objects hold values that hold objects: the way down the file. */
    bool (*put_object)(struct run *r, const struct schema_object *o, mf_val v,
                       const struct place *p, mf_str label);
    struct arena *a;
    struct out o;
    unsigned flags;
    bool telling;
    struct err *e;
    size_t told_len;
    unsigned told;
};

struct entry {
    mf_str raw_key;
    mf_val v;
    uint32_t field; /* place in the object's fields, or FIELD_NONE */
};

#define FIELD_NONE UINT32_MAX
#define LABEL_TOLD 200 /* bytes of a label in a fault */

struct entries {
    struct entry *list;
    uint32_t count, room;
    uint32_t *of_field; /* entry + 1 of each field, 0: not there */
};

/* ---- words ---- */

static const char *const type_words[] = { "string", "number",  "integer",
                                          "boolean", "object", "array",
                                          "null" };

static void add_place(struct buf *b, const struct place *p)
{
    if (!p)
        return;
    add_place(b, p->up);
    buf_char(b, '/');
    if (!p->key.ptr)
        buf_printf(b, "%zu", p->index);
    for (size_t i = 0; i < p->key.len; i++) {
        if (p->key.ptr[i] == '~')
            buf_puts(b, "~0");
        else if (p->key.ptr[i] == '/')
            buf_puts(b, "~1");
        else
            buf_char(b, p->key.ptr[i]);
    }
}

static void add_subject(struct buf *b, const struct place *p, mf_str label)
{
    if (label.len) {
        buf_str(b, utf8_cut(label, LABEL_TOLD));
        if (b->data[0] >= 'a' && b->data[0] <= 'z')
            b->data[0] = (char)(b->data[0] - 'a' + 'A');
    } else if (!p) {
        buf_puts(b, "The root value");
    } else {
        buf_puts(b, "The value at ");
        add_place(b, p);
    }
    buf_char(b, ' ');
}

/* Appends one sentence: who, and what about it. Always false, so that a check
 * can end with it. */
__attribute__((format(printf, 4, 5))) static bool
tell(struct run *r, const struct place *p, mf_str label, const char *format,
     ...)
{
    char what[ERR_TEXT];
    struct buf b;
    va_list ap;
    int n;

    if (!r->telling || !r->e || r->told++ >= SCHEMA_ERRORS_MAX)
        return false;
    va_start(ap, format);
    vsnprintf(what, sizeof what, format, ap);
    va_end(ap);
    buf_init(&b, ERR_TEXT);
    add_subject(&b, p, label);
    buf_puts(&b, what);
    n = snprintf(r->e->text + r->told_len, ERR_TEXT - r->told_len, "%s%.*s.",
                 r->told_len ? " " : "", (int)b.len, b.data);
    buf_deinit(&b);
    r->told_len += (size_t)n;
    if (r->told_len >= ERR_TEXT)
        r->told_len = ERR_TEXT - 1;
    return false;
}

static const char *article(const char *word)
{
    return strchr("aeiou", word[0]) ? "an" : "a";
}

/* Word i of n in "a, b, or c". */
static void add_listed(struct buf *b, const char *word, unsigned i, unsigned n)
{
    if (i > 0)
        buf_puts(b, n > 2 ? ", " : " ");
    if (i > 0 && i == n - 1)
        buf_puts(b, "or ");
    buf_puts(b, word);
}

static bool tell_type(struct run *r, const struct place *p, mf_str label,
                      unsigned types, mf_val v)
{
    static const char *const got[] = { "undefined", "null",     "a boolean",
                                       "a number",  "a string", "an array",
                                       "an object" };
    unsigned n = (unsigned)__builtin_popcount(types), i = 0;
    const char *first = NULL;
    struct buf b;

    if (!r->telling)
        return false;
    buf_init(&b, ERR_TEXT);
    for (unsigned bit = 0; bit < COUNT_OF(type_words); bit++)
        if (types & 1u << bit) {
            if (!first)
                first = type_words[bit];
            add_listed(&b, type_words[bit], i++, n);
        }
    buf_char(&b, 0);
    tell(r, p, label, "must be %s %s but it was %s", article(first), b.data,
         got[v.type]);
    buf_deinit(&b);
    return false;
}

static bool tell_choices(struct run *r, const struct place *p, mf_str label,
                         const struct schema_rule *rule)
{
    struct buf b;

    if (!r->telling)
        return false;
    buf_init(&b, ERR_TEXT * 4);
    for (uint32_t i = 0; i < rule->choice_count; i++) {
        mf_str raw = { rule->choices[i].raw, rule->choices[i].len };

        add_listed(&b, "", i, rule->choice_count);
        buf_str(&b, raw);
    }
    buf_char(&b, 0);
    tell(r, p, label, "must be one of: %s", b.data);
    buf_deinit(&b);
    return false;
}

static bool tell_length(struct run *r, const struct place *p, mf_str label,
                        double limit, const char *bound, mf_str s)
{
    char number[NUMBER_TEXT];
    size_t units = r->telling ? utf16_length(s) : 0;

    number[number_text(limit, number)] = 0;
    return tell(r, p, label,
                "must be %s %s or %s but it was %zu %s", number,
                limit == 1 ? "character" : "characters", bound, units,
                units == 1 ? "character" : "characters");
}

static bool tell_bound(struct run *r, const struct place *p, mf_str label,
                       const char *bound, double limit)
{
    char number[NUMBER_TEXT];

    number[number_text(limit, number)] = 0;
    return tell(r, p, label, "must be equal to or %s than %s", bound, number);
}

static bool tell_missing(struct run *r, const struct place *p, mf_str label,
                         mf_str key)
{
    return tell(r, p, label, "is missing the required field '%.*s'",
                (int)key.len, key.ptr);
}

/* ---- cleaning ---- */

/* True of what is dropped before anything is checked: a null or "" that the
 * type has no use for, and "" right below the root of a single event. */
static bool is_empty(const struct run *r, unsigned types, mf_val v, bool root)
{
    if (!(r->flags & DO_CLEAN))
        return false;
    if (v.type == MF_NULL)
        return !(types & TYPE_NULL);
    if (v.type != MF_STRING || v.len != 2)
        return false;
    return !(types & TYPE_STRING) || (root && !(r->flags & IN_BATCH));
}

/* ---- coercion ---- */

static bool is_whole(mf_val v)
{
    double d;

    for (uint32_t i = 0; i < v.len; i++)
        if (v.raw[i] == '.' || v.raw[i] == 'e' || v.raw[i] == 'E') {
            d = json_number(v, 0);
            return isfinite(d) && d == floor(d);
        }
    return true;
}

static bool is_finite(mf_val v)
{
    return v.len < 300 && !memchr(v.raw, 'e', v.len) &&
                   !memchr(v.raw, 'E', v.len)
               ? true
               : isfinite(json_number(v, 0));
}

static bool fits(unsigned types, mf_val v)
{
    switch (v.type) {
    case MF_STRING:
        return types & TYPE_STRING;
    case MF_BOOL:
        return types & TYPE_BOOLEAN;
    case MF_NULL:
        return types & TYPE_NULL;
    case MF_OBJECT:
        return types & TYPE_OBJECT;
    case MF_ARRAY:
        return types & TYPE_ARRAY;
    default:
        return ((types & TYPE_NUMBER) && is_finite(v)) ||
               ((types & TYPE_INTEGER) && is_whole(v));
    }
}

static bool to_string(mf_val *v, struct arena *a)
{
    if (v->type == MF_NULL)
        *v = (mf_val){ "\"\"", 2, MF_STRING };
    else if (v->type == MF_NUMBER || v->type == MF_BOOL)
        *v = text_val(a, js_string(*v, a));
    else
        return false;
    return true;
}

/* Plain integers keep all their digits, even those past 2^53. */
static bool plain_digits(mf_str s)
{
    size_t i = s.len > 1 && s.ptr[0] == '-';

    if (s.len - i > 21 || s.len == i || (s.ptr[i] == '0' && s.len > i + 1) ||
        (i && s.ptr[i] == '0'))
        return false;
    for (; i < s.len; i++)
        if (s.ptr[i] < '0' || s.ptr[i] > '9')
            return false;
    return true;
}

static bool to_number(mf_val *v, struct arena *a, bool whole)
{
    mf_str s;
    double d;

    if (v->type == MF_NULL || v->type == MF_BOOL) {
        *v = (mf_val){ json_is_true(*v) ? "1" : "0", 1, MF_NUMBER };
        return true;
    }
    if (v->type != MF_STRING || v->len == 2)
        return false;
    s = json_text(*v, a);
    if (plain_digits(s)) {
        *v = (mf_val){ s.ptr, (uint32_t)s.len, MF_NUMBER };
        return true;
    }
    d = js_to_number(s);
    if (isnan(d) || (whole && isfinite(d) && d != floor(d)))
        return false;
    *v = json_from_number(a, d); /* null for Infinity, as JSON has it */
    return true;
}

static bool is_number(mf_val v, double d)
{
    return v.type == MF_NUMBER && json_number(v, d + 1) == d;
}

static bool to_boolean(mf_val *v, struct arena *a)
{
    mf_str s = json_text(*v, a);

    if (v->type == MF_NULL || is_number(*v, 0) ||
        (v->type == MF_STRING && mf_eq(s, MF_STR("false"))))
        *v = JSON_FALSE;
    else if (is_number(*v, 1) ||
             (v->type == MF_STRING && mf_eq(s, MF_STR("true"))))
        *v = JSON_TRUE;
    else
        return false;
    return true;
}

static bool is_nullish(mf_val v)
{
    return v.type == MF_NULL || is_number(v, 0) ||
           (v.type == MF_STRING && v.len == 2) ||
           (v.type == MF_BOOL && !json_is_true(v));
}

/* The only element of an array of one, empty ones not counted. */
static bool only_element(const struct run *r, unsigned types, mf_val *v)
{
    mf_iter it = { { 0 } };
    unsigned n = 0;
    mf_str key;
    mf_val x, one = *v;

    while (n < 2 && json_next(*v, &it, &key, &x))
        if (!is_empty(r, types, x, false)) {
            one = x;
            n++;
        }
    if (n != 1)
        return false;
    *v = one;
    return true;
}

/* Makes *v fit, in the order the original tries its types. What cannot be
 * taken back is kept as there: an array of one has been opened. */
static bool coerce(const struct run *r, const struct schema_rule *rule,
                   mf_val *v)
{
    unsigned t = rule->types;

    if (fits(t, *v))
        return true;
    if (!(t & ~(unsigned)(TYPE_OBJECT | TYPE_ARRAY)))
        return false;
    if (v->type == MF_ARRAY && only_element(r, t, v) && fits(t, *v))
        return true;
    if ((t & TYPE_STRING) && to_string(v, r->a))
        return true;
    if ((t & TYPE_NUMBER) && to_number(v, r->a, false))
        return true;
    if ((t & TYPE_INTEGER) && to_number(v, r->a, true))
        return true;
    if ((t & TYPE_BOOLEAN) && to_boolean(v, r->a))
        return true;
    if ((t & TYPE_NULL) && is_nullish(*v)) {
        *v = JSON_NULL;
        return true;
    }
    return false;
}

/* ---- checks of one value ---- */

static bool check_number(struct run *r, const struct schema_rule *rule,
                         mf_val v, const struct place *p, mf_str label)
{
    double d;

    if (!rule->has_minimum && !rule->has_maximum)
        return true;
    d = json_number(v, 0);
    if (rule->has_maximum && d > rule->maximum)
        return tell_bound(r, p, label, "less", rule->maximum);
    if (rule->has_minimum && d < rule->minimum)
        return tell_bound(r, p, label, "greater", rule->minimum);
    return true;
}

static bool matches(struct run *r, const struct schema_pattern *p, mf_str s)
{
    mf_str copy = arena_copy(r->a, s); /* regexec wants a NUL */

    return memchr(copy.ptr, 0, copy.len) == NULL &&
           regexec(&p->compiled, copy.ptr, 0, NULL, 0) == 0;
}

static bool check_string(struct run *r, const struct schema_rule *rule,
                         mf_val v, const struct place *p, mf_str label)
{
    const struct format *f = rule->format;
    bool ok = true;
    double length;
    mf_str s;

    if (!rule->has_minimum && !rule->has_maximum && (!f || !f->holds) &&
        !rule->pattern)
        return true;
    s = json_text(v, r->a);
    length = rule->has_minimum || rule->has_maximum
                 ? (double)js_code_points(s)
                 : 0;
    if (rule->has_maximum && length > rule->maximum)
        ok = tell_length(r, p, label, rule->maximum, "fewer", s);
    if (rule->has_minimum && length < rule->minimum)
        ok = tell_length(r, p, label, rule->minimum, "more", s);
    if (f && f->holds && !f->holds(s))
        ok = tell(r, p, label, "must be a valid %s string but it was not",
                  f->label);
    if (rule->pattern && !matches(r, rule->pattern, s))
        ok = tell(r, p, label, "must match the pattern %.*s but it did not",
                  (int)rule->pattern->text.len, rule->pattern->text.ptr);
    return ok;
}

static bool check_choice(struct run *r, const struct schema_rule *rule,
                         mf_val v, const struct place *p, mf_str label)
{
    if (!rule->choices)
        return true;
    for (uint32_t i = 0; i < rule->choice_count; i++)
        if (json_equal(v, rule->choices[i], r->a))
            return true;
    return tell_choices(r, p, label, rule);
}

/* ---- members ---- */

static uint32_t find_field(const struct schema_object *o, mf_str key)
{
    uint32_t at = schema_hash(key) & o->mask;

    for (; o->slots[at]; at = (at + 1) & o->mask)
        if (mf_eq(o->fields[o->slots[at] - 1].key, key))
            return o->slots[at] - 1;
    return FIELD_NONE;
}

static void add_entry(struct run *r, struct entries *m, struct entry e)
{
    if (m->count == m->room) {
        struct entry *more;

        m->room = m->room ? m->room * 2 : 16;
        more = arena_alloc(r->a, m->room * sizeof *more);
        if (m->count)
            memcpy(more, m->list, m->count * sizeof *more);
        m->list = more;
    }
    m->list[m->count++] = e;
}

/* The members that stay, in the order they stand; of two equal keys the last
 * value at the first place. */
static void gather(struct run *r, const struct schema_object *o, mf_val v,
                   bool root, struct entries *m)
{
    bool all = o->open || !(r->flags & DO_CHECK);
    mf_iter it = { { 0 } };
    struct entry e;

    memset(m, 0, sizeof *m);
    m->of_field = arena_zalloc(r->a, (o->count + 1) * sizeof *m->of_field);
    while (json_next(v, &it, &e.raw_key, &e.v)) {
        e.field = find_field(o, json_unescape(e.raw_key, r->a));
        if (e.field == FIELD_NONE) {
            if (all && !(root && is_empty(r, ~0u, e.v, true)))
                add_entry(r, m, e);
        } else if (m->of_field[e.field]) {
            m->list[m->of_field[e.field] - 1].v = e.v;
        } else {
            add_entry(r, m, e);
            m->of_field[e.field] = m->count;
        }
    }
    for (uint32_t i = 0; i < m->count; i++)
        if (m->list[i].field != FIELD_NONE &&
            is_empty(r, o->fields[m->list[i].field].rule.types, m->list[i].v,
                     root)) {
            m->of_field[m->list[i].field] = 0;
            m->list[i].v.type = MF_ABSENT;
        }
}

static mf_val member(const struct schema_object *o, const struct entries *m,
                     mf_str key)
{
    uint32_t field = find_field(o, key);

    if (field == FIELD_NONE || !m->of_field[field])
        return ABSENT;
    return m->list[m->of_field[field] - 1].v;
}

static bool check_required(struct run *r, const struct schema_object *o,
                           const struct entries *m, const struct place *p,
                           mf_str label)
{
    bool ok = true;

    for (uint32_t i = 0; i < o->count && (ok || r->telling); i++)
        if (o->fields[i].required && !m->of_field[i])
            ok = tell_missing(r, p, label, o->fields[i].key);
    return ok;
}

/* ---- requirements that depend on other members ---- */

struct root {
    const struct schema_object *o;
    const struct entries *m;
    mf_val payload;
};

static mf_val inner_member(const struct run *r, const struct root *root,
                           mf_str outer, mf_val v, mf_str key)
{
    uint32_t at = find_field(root->o, outer);
    const struct schema_object *o =
        at == FIELD_NONE ? NULL : root->o->fields[at].rule.object;

    v = json_get(v, key);
    at = o ? find_field(o, key) : FIELD_NONE;
    if (v.type != MF_ABSENT && at != FIELD_NONE &&
        is_empty(r, o->fields[at].rule.types, v, false))
        return ABSENT;
    return v;
}

static bool holds(const struct run *r, const struct root *root,
                  const struct schema_condition *c)
{
    mf_val v = member(root->o, root->m, c->path[0]);
    bool gone;

    /* What is no field may still be asked about, such as the sync mode. */
    if (find_field(root->o, c->path[0]) == FIELD_NONE)
        v = json_get(root->payload, c->path[0]);
    if (c->path_len == 2 && v.type == MF_OBJECT)
        v = inner_member(r, root, c->path[0], v, c->path[1]);
    else if (c->path_len == 2 && v.type != MF_ABSENT)
        return true; /* rules of objects bind nothing else */
    if (c->value.type == MF_ABSENT) {
        gone = v.type == MF_ABSENT || (!c->strict && is_nullish(v));
        return gone != c->negated;
    }
    return v.type != MF_ABSENT &&
           json_equal(v, c->value, r->a) != c->negated;
}

static bool is_demanded(const struct run *r, const struct root *root,
                        const struct schema_demand *d)
{
    for (uint32_t i = 0; i < d->count; i++)
        if (holds(r, root, &d->conditions[i]) == d->any)
            return d->any;
    return !d->any;
}

static bool check_demand(struct run *r, const struct root *root,
                         const struct schema_demand *d)
{
    struct place p = { NULL, d->field, 0 };
    mf_val v = member(root->o, root->m, d->field);
    bool ok = true;

    if (v.type == MF_ABSENT)
        ok = tell_missing(r, NULL, MF_STR(""), d->field);
    else if (d->inner.len && v.type == MF_OBJECT &&
             inner_member(r, root, d->field, v, d->inner).type == MF_ABSENT)
        ok = tell_missing(r, &p, MF_STR(""), d->inner);
    if (!ok)
        tell(r, NULL, MF_STR(""), "must match \"then\" schema");
    return ok;
}

static bool check_demands(struct run *r, const struct schema *s,
                          const struct root *root)
{
    bool ok = true;

    for (uint32_t i = 0; i < s->demand_count && (ok || r->telling); i++)
        if (is_demanded(r, root, &s->demands[i]) &&
            !check_demand(r, root, &s->demands[i]))
            ok = false;
    return ok;
}

/* ---- writing ---- */

static void put(struct run *r, mf_val v)
{
    out_add(&r->o, v.raw, v.len);
}

/* One value that is no member of a `multiple` field. */
static bool put_one(struct run *r, const struct schema_rule *rule, mf_val v,
                    const struct place *p, mf_str label)
{
    bool ok = true;

    if (r->flags & DO_CHECK) {
        if (!coerce(r, rule, &v))
            ok = tell_type(r, p, label, rule->types, v);
        if (v.type == MF_NUMBER && !check_number(r, rule, v, p, label))
            ok = false;
        if (v.type == MF_STRING && !check_string(r, rule, v, p, label))
            ok = false;
        if (!check_choice(r, rule, v, p, label))
            ok = false;
        if (!ok && !r->telling)
            return false;
    }
    if (v.type == MF_OBJECT && rule->object)
        return r->put_object(r, rule->object, v, p, label) && ok;
    put(r, v);
    return ok;
}

/* The elements of a `multiple` field; v may be the only one of them. */
static bool put_items(struct run *r, const struct schema_field *f, mf_val v,
                      const struct place *p)
{
    struct place at = { p, { NULL, 0 }, 0 };
    mf_iter it = { { 0 } };
    bool ok = true;
    mf_str key;
    mf_val x = v;

    out_char(&r->o, '[');
    while (v.type == MF_ARRAY ? json_next(v, &it, &key, &x) : at.index == 0) {
        if (v.type == MF_ARRAY && is_empty(r, TYPE_ARRAY, x, false))
            continue;
        if (at.index)
            out_char(&r->o, ',');
        if (!put_one(r, &f->items, x, &at, MF_STR("")))
            ok = false;
        if (!ok && !r->telling)
            return false;
        at.index++;
    }
    out_char(&r->o, ']');
    return ok;
}

static bool put_field(struct run *r, const struct schema_field *f, mf_val v,
                      const struct place *up)
{
    struct place p = { up, f->key, 0 };

    if (!(f->rule.types & TYPE_ARRAY))
        return put_one(r, &f->rule, v, &p, f->label);
    if (!(r->flags & DO_CHECK) && v.type != MF_ARRAY) {
        put(r, v);
        return true;
    }
    /* Objects become arrays only right below the root. */
    if (v.type == MF_OBJECT && up)
        return tell_type(r, &p, f->label, f->rule.types, v);
    return put_items(r, f, v, &p);
}

static void put_key(struct run *r, mf_str raw, bool *first)
{
    out_char(&r->o, *first ? '{' : ',');
    *first = false;
    out_char(&r->o, '"');
    out_add(&r->o, raw.ptr, raw.len);
    out_add(&r->o, "\":", 2);
}

static bool put_members(struct run *r, const struct schema_object *o,
                        const struct entries *m, const struct place *p)
{
    bool first = true;

    for (uint32_t i = 0; i < m->count; i++) {
        const struct entry *e = &m->list[i];

        if (e->v.type == MF_ABSENT)
            continue;
        put_key(r, e->raw_key, &first);
        if (e->field == FIELD_NONE)
            put(r, e->v);
        else if (!put_field(r, &o->fields[e->field], e->v, p))
            return false;
    }
    out_add(&r->o, first ? "{}" : "}", first ? 2 : 1);
    return true;
}

/* Faults come in the order of the fields; what is written is of no use. */
static bool tell_members(struct run *r, const struct schema_object *o,
                         const struct entries *m, const struct place *p)
{
    bool ok = true;

    for (uint32_t i = 0; i < o->count; i++)
        if (m->of_field[i] &&
            !put_field(r, &o->fields[i], m->list[m->of_field[i] - 1].v, p))
            ok = false;
    return ok;
}

static bool put_object(struct run *r, const struct schema_object *o, mf_val v,
                       const struct place *p, mf_str label)
{
    struct entries m;
    bool ok = true;

    gather(r, o, v, false, &m);
    if (r->flags & DO_CHECK)
        ok = check_required(r, o, &m, p, label);
    if (r->telling)
        return tell_members(r, o, &m, p) && ok;
    return ok && put_members(r, o, &m, p);
}

static bool put_root(struct run *r, const struct schema *s, mf_val payload)
{
    struct entries m;
    struct root root = { &s->root, &m, payload };
    bool ok = true;

    gather(r, &s->root, payload, true, &m);
    if (r->flags & DO_CHECK) {
        ok = check_demands(r, s, &root);
        if (ok || r->telling)
            ok = check_required(r, &s->root, &m, NULL, MF_STR("")) && ok;
    }
    if (r->telling)
        return tell_members(r, &s->root, &m, NULL) && ok;
    return ok && put_members(r, &s->root, &m, NULL);
}

static mf_val apply(const struct schema *s, mf_val payload, unsigned flags,
                    struct arena *a, struct err *e)
{
    struct run r = { .put_object = put_object, .a = a, .flags = flags,
                     .e = e };

    if (e)
        e->text[0] = 0;
    if (payload.type != MF_OBJECT) {
        r.telling = true;
        tell_type(&r, NULL, MF_STR(""), TYPE_OBJECT, payload);
        return ABSENT;
    }
    out_init(&r.o, a, payload.len + 32);
    if (put_root(&r, s, payload)) {
        if (!r.o.b.full)
            return out_val(&r.o);
        err_set(e, "the payload does not fit into the memory of its event");
        return ABSENT;
    }
    r.telling = true;
    r.o.b.len = 0;
    put_root(&r, s, payload);
    return ABSENT;
}

mf_val schema_apply(const struct schema *s, mf_val payload, bool batch,
                    struct arena *a, struct err *e)
{
    return apply(s, payload, DO_CLEAN | DO_CHECK | (batch ? IN_BATCH : 0), a,
                 e);
}
