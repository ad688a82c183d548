/* SPDX-License-Identifier: Apache-2.0
 *
 * fields.c - see fields.h. */
#include "plugin/fields.h"

#include "base/text.h"
#include "mapping/mapping.h"

#include <regex.h>
#include <string.h>

#define INTERNAL     "__segment_internal_"
#define KEY_MAX      128
#define EXPANDED_MAX (4u << 20) /* an action's fields, written out */

struct field {
    const char *key, *label, *type, *description, *format, *pattern;
    bool required, multiple, hidden, allow_null, additional_properties;
    bool dynamic, required_to_deliver;
    mf_val fallback, choices, min, max, properties, required_if, depends_on;
};

#define AT(member) offsetof(struct field, member)

static const struct member action_table[] = {
    { "key", AT(key), MEMBER_TEXT },
    { "type", AT(type), MEMBER_TEXT, true },
    { "label", AT(label), MEMBER_TEXT },
    { "description", AT(description), MEMBER_TEXT },
    { "required", AT(required), MEMBER_BOOL },
    { "required_if", AT(required_if), MEMBER_OBJECT },
    { "depends_on", AT(depends_on), MEMBER_OBJECT },
    { "default", AT(fallback), MEMBER_ANY },
    { "multiple", AT(multiple), MEMBER_BOOL },
    { "choices", AT(choices), MEMBER_ARRAY },
    { "format", AT(format), MEMBER_TEXT },
    { "pattern", AT(pattern), MEMBER_TEXT },
    { "min", AT(min), MEMBER_NUMBER },
    { "max", AT(max), MEMBER_NUMBER },
    { "allow_null", AT(allow_null), MEMBER_BOOL },
    { "additional_properties", AT(additional_properties), MEMBER_BOOL },
    { "hidden", AT(hidden), MEMBER_BOOL },
    { "dynamic", AT(dynamic), MEMBER_BOOL },
    { "properties", AT(properties), MEMBER_ARRAY },
};

static const struct member setting_table[] = {
    { "key", AT(key), MEMBER_TEXT, true },
    { "type", AT(type), MEMBER_TEXT, true },
    { "label", AT(label), MEMBER_TEXT },
    { "description", AT(description), MEMBER_TEXT },
    { "required", AT(required), MEMBER_BOOL },
    { "required_to_deliver", AT(required_to_deliver), MEMBER_BOOL },
    { "required_if", AT(required_if), MEMBER_OBJECT },
    { "depends_on", AT(depends_on), MEMBER_OBJECT },
    { "default", AT(fallback), MEMBER_ANY },
    { "multiple", AT(multiple), MEMBER_BOOL },
    { "choices", AT(choices), MEMBER_ARRAY },
    { "format", AT(format), MEMBER_TEXT },
    { "pattern", AT(pattern), MEMBER_TEXT },
    { "min", AT(min), MEMBER_NUMBER },
    { "max", AT(max), MEMBER_NUMBER },
    { "additional_properties", AT(additional_properties), MEMBER_BOOL },
    { "hidden", AT(hidden), MEMBER_BOOL },
    { "properties", AT(properties), MEMBER_ARRAY },
};

static const char *const field_types[] = {
    "string",  "text",     "password", "number", "integer",
    "boolean", "datetime", "object",   NULL,
};

/* ---- checking ---- */

struct condition {
    const char *match;
    mf_val conditions;
};

static const struct member condition_table[] = {
    { "match", offsetof(struct condition, match), MEMBER_TEXT },
    { "conditions", offsetof(struct condition, conditions), MEMBER_ARRAY,
      true },
};

/* Fields that a condition may name: those of the root and those beside it.
 * root absent: which there will be is not known yet. */
struct scope {
    mf_val root, beside;
};

static bool in_scope(const struct scope *s, const char *name)
{
    return strchr(name, '.') || /* inside another: not followed */
           str_starts(mf_cstr(name), MF_STR(INTERNAL)) ||
           fields_find(s->beside, mf_cstr(name)).type != MF_ABSENT ||
           fields_find(s->root, mf_cstr(name)).type != MF_ABSENT;
}

static int check_names(struct reader *r, mf_val list, const struct scope *s)
{
    mf_iter it = { { 0 } };
    mf_str key;
    mf_val one;

    while (json_next(list, &it, &key, &one)) {
        mf_val name = json_get(one, MF_STR("fieldKey"));
        const char *text = reader_text(r, name);

        if (name.type == MF_STRING && !in_scope(s, text))
            return reader_fault(r, name.raw, "no field `%s` is here%s", text,
                                reader_hint(r->arena, text,
                                            fields_keys(r->arena, s->root,
                                                        NULL)));
    }
    return 0;
}

/* s NULL: the names do not matter, as where only forms look at them. */
static int check_rule(struct reader *r, mf_val rule, const struct scope *s)
{
    struct condition c = { 0 };

    if (rule.type == MF_ABSENT)
        return 0;
    if (reader_object(r, rule, condition_table, COUNT_OF(condition_table), &c,
                      "a condition") != 0)
        return -1;
    if (c.match && strcmp(c.match, "all") != 0 && strcmp(c.match, "any") != 0)
        return reader_fault(r, reader_at(rule, "match"),
                            "`match` must be all or any");
    return s && s->root.type != MF_ABSENT ? check_names(r, c.conditions, s)
                                          : 0;
}

static int check_choices(struct reader *r, mf_val choices)
{
    mf_iter it = { { 0 } };
    mf_str key;
    mf_val one;

    while (json_next(choices, &it, &key, &one)) {
        mf_val v = one.type == MF_OBJECT ? json_get(one, MF_STR("value")) : one;

        if (v.type < MF_BOOL || v.type > MF_STRING)
            return reader_fault(r, one.raw,
                                "a choice must be a value or {label, value}");
    }
    return 0;
}

static int check_pattern(struct reader *r, mf_val field, const char *pattern)
{
    char why[200];
    regex_t compiled;
    int rc = regcomp(&compiled, pattern, REG_EXTENDED | REG_NOSUB);

    if (rc == 0) {
        regfree(&compiled);
        return 0;
    }
    regerror(rc, &compiled, why, sizeof why);
    return reader_fault(r, reader_at(field, "pattern"),
                        "`pattern` is not a POSIX extended expression: %s",
                        why);
}

static int check_schema(struct reader *r, mf_val field, struct schema **out)
{
    mf_str list = arena_printf(r->arena, "[%.*s]", (int)field.len, field.raw);
    struct err why;

    *out = schema_compile(json_root(list), &why);
    return *out ? 0 : reader_fault(r, field.raw, "%s", why.text);
}

/* A default of a field is a mapping; one of a setting is a plain value that
 * the setting itself would take. */
static int check_default(struct reader *r, const struct field *f, mf_val field,
                         enum fields_use use)
{
    struct mapping *m;
    struct schema *s;
    struct err why;
    mf_str object;
    mf_val out;

    if (use == FIELDS_ACTION) {
        m = mapping_compile(f->fallback, &why);
        mapping_free(m);
        return m ? 0
                 : reader_fault(r, f->fallback.raw, "`default`: %s", why.text);
    }
    if (check_schema(r, field, &s) != 0)
        return -1;
    object = arena_printf(r->arena, "{\"%s\":%.*s}", f->key,
                          (int)f->fallback.len, f->fallback.raw);
    out = schema_apply(s, json_root(object), true, r->arena, &why);
    schema_free(s);
    return out.type != MF_ABSENT
               ? 0
               : reader_fault(r, f->fallback.raw, "`default`: %s", why.text);
}

static bool good_key(const char *key)
{
    for (const char *p = key; *p; p++)
        if ((unsigned char)*p < ' ' || *p == '"' || *p == '\\')
            return false;
    return strlen(key) <= KEY_MAX;
}

/* Everything but its properties, which are left to the caller, and whether it
 * stands twice. */
static int check_field(struct reader *r, mf_val v, const struct scope *scope,
                       enum fields_use use, struct field *f)
{
    bool action = use != FIELDS_SETTINGS;

    if (reader_object(r, v, action ? action_table : setting_table,
                      action ? COUNT_OF(action_table)
                             : COUNT_OF(setting_table),
                      f, action ? "a field" : "a setting") != 0)
        return -1;
    if (!f->key)
        return reader_fault(r, v.raw, "a field must have `key`");
    if (!good_key(f->key))
        return reader_fault(r, reader_at(v, "key"), "`%s` cannot be a key",
                            f->key);
    if (!text_among(f->type, field_types))
        return reader_fault(r, reader_at(v, "type"), "no such type `%s`%s",
                            f->type,
                            reader_hint(r->arena, f->type, field_types));
    if (f->properties.type && strcmp(f->type, "object") != 0)
        return reader_fault(r, f->properties.raw,
                            "only a field of type object has `properties`");
    if (check_rule(r, f->required_if, scope) != 0 ||
        check_rule(r, f->depends_on, NULL) != 0 ||
        check_choices(r, f->choices) != 0 ||
        (f->pattern && check_pattern(r, v, f->pattern) != 0))
        return -1;
    return f->fallback.type ? check_default(r, f, v, use) : 0;
}

/* seen ends in NULL and has room for one more. */
static int check_twins(struct reader *r, const char **seen, mf_val v,
                       const char *key)
{
    while (*seen && strcmp(*seen, key) != 0)
        seen++;
    if (*seen)
        return reader_fault(r,
                            v.type == MF_OBJECT ? reader_at(v, "key") : v.raw,
                            "the key `%s` stands here twice", key);
    *seen = key;
    return 0;
}

static const char **room_for_keys(struct reader *r, mf_val array)
{
    return arena_zalloc(r->arena, (json_count(array) + 1) * sizeof(char *));
}

static int check_properties(struct reader *r, mf_val array, mf_val root,
                            unsigned depth)
{
    const struct scope scope = { root, array };
    mf_iter it = { { 0 } };
    const char **seen;
    mf_str key;
    mf_val v;

    if (array.type == MF_ABSENT)
        return 0;
    if (json_count(array) > FIELDS_MAX)
        return reader_fault(r, array.raw, "more than %d fields", FIELDS_MAX);
    if (depth > SCHEMA_DEPTH_MAX)
        return reader_fault(r, array.raw, "`properties` nest deeper than %d",
                            SCHEMA_DEPTH_MAX);
    seen = room_for_keys(r, array);
    while (json_next(array, &it, &key, &v)) {
        struct field f = { 0 };

        if (check_field(r, v, &scope, FIELDS_ACTION, &f) != 0 ||
            check_twins(r, seen, v, f.key) != 0 ||
            check_properties(r, f.properties, root, depth + 1) != 0)
            return -1;
    }
    return 0;
}

/* ---- fields that several actions share ---- */

/* Its key is its name unless it has one of its own. */
static mf_str write_out(struct reader *r, mf_str raw_name, mf_val field)
{
    if (json_get(field, MF_STR("key")).type != MF_ABSENT)
        return (mf_str){ field.raw, field.len };
    return arena_printf(r->arena, "{\"key\":\"%.*s\",%.*s", (int)raw_name.len,
                        raw_name.ptr, (int)field.len - 1, field.raw + 1);
}

static const char *const *member_names(struct reader *r, mf_val object)
{
    const char **list =
        arena_zalloc(r->arena, (json_count(object) + 1) * sizeof *list);
    mf_iter it = { { 0 } };
    size_t n = 0;
    mf_str key;
    mf_val v;

    while (json_next(object, &it, &key, &v))
        list[n++] =
            arena_copy(r->arena, json_unescape(key, r->arena)).ptr;
    return list;
}

static int expand_one(struct reader *r, mf_val v, mf_val shared, mf_str *out)
{
    const char *name;
    mf_val field;

    *out = (mf_str){ v.raw, v.len };
    if (v.type != MF_STRING)
        return 0;
    name = reader_text(r, v);
    field = json_get(shared, mf_cstr(name));
    if (field.type == MF_ABSENT)
        return reader_fault(r, v.raw, "no field `%s` stands in `fields`%s",
                            name,
                            reader_hint(r->arena, name,
                                        member_names(r, shared)));
    *out = write_out(r, (mf_str){ v.raw + 1, v.len - 2 }, field);
    return 0;
}

static int expand(struct reader *r, mf_val array, mf_val shared, mf_val *whole)
{
    mf_iter it = { { 0 } };
    mf_str key, text;
    struct buf b;
    int rc = 0;
    mf_val v;

    buf_init(&b, EXPANDED_MAX);
    buf_char(&b, '[');
    while (rc == 0 && json_next(array, &it, &key, &v)) {
        rc = expand_one(r, v, shared, &text);
        if (b.len > 1)
            buf_char(&b, ',');
        buf_str(&b, text);
    }
    buf_char(&b, ']');
    if (rc == 0 && b.full)
        rc = reader_fault(r, array.raw, "more than %u bytes of fields",
                          EXPANDED_MAX);
    if (rc == 0)
        *whole = json_root(arena_copy(r->arena, buf_view(&b)));
    buf_deinit(&b);
    return rc;
}

static bool has_names(mf_val array)
{
    mf_iter it = { { 0 } };
    mf_str key;
    mf_val v;

    while (json_next(array, &it, &key, &v))
        if (v.type == MF_STRING)
            return true;
    return false;
}

/* A shared field was checked where it stands; what its condition names must
 * be in this action. */
static int check_use(struct reader *r, mf_val v, mf_val field,
                     const struct scope *scope)
{
    mf_val rule = json_get(field, MF_STR("required_if"));
    struct reader quiet = *r;

    quiet.err = NULL;
    if (check_names(&quiet, json_get(rule, MF_STR("conditions")), scope) == 0)
        return 0;
    return reader_fault(r, v.raw, "`required_if` of this field names a field "
                                  "that the action has not");
}

static int check_fields(struct reader *r, mf_val array, mf_val whole,
                        enum fields_use use)
{
    const struct scope scope = { whole, whole };
    mf_iter it = { { 0 } }, written_out = { { 0 } };
    mf_str key;
    mf_val v, field;
    const char **seen;

    if (json_count(array) > FIELDS_MAX)
        return reader_fault(r, array.raw, "more than %d fields", FIELDS_MAX);
    seen = room_for_keys(r, array);
    while (json_next(array, &it, &key, &v)) {
        struct field f = { 0 };

        json_next(whole, &written_out, &key, &field);
        if (v.type == MF_STRING) {
            f.key = reader_text(r, json_get(field, MF_STR("key")));
            if (check_use(r, v, field, &scope) != 0)
                return -1;
        } else if (check_field(r, v, &scope, use, &f) != 0 ||
                   check_properties(r, f.properties, whole, 2) != 0) {
            return -1;
        }
        if (check_twins(r, seen, v, f.key) != 0)
            return -1;
    }
    return 0;
}

/* The place of the field that no schema of its own can be made of. */
static int tell_culprit(struct reader *r, mf_val array, const char *why)
{
    mf_iter it = { { 0 } };
    struct schema *s;
    mf_str key;
    mf_val v;

    while (json_next(array, &it, &key, &v)) {
        if (v.type != MF_OBJECT)
            continue;
        if (check_schema(r, v, &s) != 0)
            return -1;
        schema_free(s);
    }
    return reader_fault(r, array.raw, "%s", why);
}

/* ---- public ---- */

int fields_check_shared(struct reader *r, mf_val shared)
{
    mf_val none = { NULL, 0, MF_ABSENT };
    mf_iter it = { { 0 } };
    mf_str name;
    mf_val v;

    if (json_count(shared) > FIELDS_MAX)
        return reader_fault(r, shared.raw, "more than %d fields", FIELDS_MAX);
    while (json_next(shared, &it, &name, &v)) {
        struct field f = { .key = "-" };

        if (check_field(r, v, NULL, FIELDS_ACTION, &f) != 0 ||
            check_properties(r, f.properties, none, 2) != 0)
            return -1;
    }
    return 0;
}

int fields_compile(struct reader *r, mf_val array, mf_val shared,
                   enum fields_use use, mf_val *whole, struct schema **schema)
{
    struct err why;

    *schema = NULL;
    *whole = array;
    if ((has_names(array) && expand(r, array, shared, whole) != 0) ||
        check_fields(r, array, *whole, use) != 0)
        return -1;
    *schema = schema_compile(*whole, &why);
    return *schema ? 0 : tell_culprit(r, array, why.text);
}

mf_val fields_defaults(struct arena *a, mf_val array, const char *extra_key,
                       mf_val extra)
{
    mf_iter it = { { 0 } };
    struct json_out w;
    struct buf b;
    mf_str key, text;
    mf_val field, v;

    buf_init(&b, (size_t)array.len + extra.len + 128);
    json_out_init(&w, &b);
    json_begin_object(&w);
    while (json_next(array, &it, &key, &field)) {
        v = json_get(field, MF_STR("default"));
        if (v.type <= MF_NULL)
            continue;
        v = json_get(field, MF_STR("key"));
        json_key_raw(&w, (mf_str){ v.raw + 1, v.len - 2 });
        json_val(&w, json_get(field, MF_STR("default")));
    }
    if (extra.type != MF_ABSENT) {
        json_key(&w, mf_cstr(extra_key));
        json_val(&w, extra);
    }
    json_end_object(&w);
    ASSERT(!b.full);
    text = arena_copy(a, buf_view(&b));
    buf_deinit(&b);
    return json_root(text);
}

mf_val fields_over(struct arena *a, mf_val defaults, mf_val mapping)
{
    mf_iter all = { { 0 } }, own = { { 0 } };
    struct json_out w;
    struct buf b;
    mf_str key, text;
    mf_val v;

    buf_init(&b, (size_t)defaults.len + mapping.len + 2);
    json_out_init(&w, &b);
    json_begin_object(&w);
    while (json_next(defaults, &all, &key, &v)) {
        if (json_get(mapping, json_unescape(key, a)).type != MF_ABSENT)
            continue;
        json_key_raw(&w, key);
        json_val(&w, v);
    }
    while (json_next(mapping, &own, &key, &v)) {
        json_key_raw(&w, key);
        json_val(&w, v);
    }
    json_end_object(&w);
    ASSERT(!b.full);
    text = arena_copy(a, buf_view(&b));
    buf_deinit(&b);
    return json_root(text);
}

mf_val fields_find(mf_val array, mf_str key)
{
    mf_iter it = { { 0 } };
    mf_str unused;
    mf_val v, name;

    while (json_next(array, &it, &unused, &v)) {
        name = json_get(v, MF_STR("key"));
        if (name.type == MF_STRING &&
            json_key_is((mf_str){ name.raw + 1, name.len - 2 }, key))
            return v;
    }
    return (mf_val){ NULL, 0, MF_ABSENT };
}

const char *const *fields_keys(struct arena *a, mf_val array,
                               const char *type)
{
    const char **list =
        arena_zalloc(a, (json_count(array) + 1) * sizeof *list);
    mf_iter it = { { 0 } };
    size_t n = 0;
    mf_str key;
    mf_val v;

    while (json_next(array, &it, &key, &v)) {
        mf_str is = json_text(json_get(v, MF_STR("type")), a);

        if (!type || mf_eq(is, mf_cstr(type)))
            list[n++] =
                arena_copy(a, json_text(json_get(v, MF_STR("key")), a)).ptr;
    }
    return list;
}
