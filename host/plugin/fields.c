/* SPDX-License-Identifier: Apache-2.0
 *
 * fields.c - see fields.h. */
#include "plugin/fields.h"

#include "base/text.h"
#include "mapping/mapping.h"

#include <regex.h>
#include <string.h>

#define KEY_MAX 128

struct field {
    const char *key, *label, *type, *description, *format, *pattern;
    bool required, multiple, hidden, allow_null, additional_properties;
    bool dynamic;
    mf_val fallback, choices, min, max, properties, required_if, depends_on;
};

#define AT(member) offsetof(struct field, member)

static const struct member action_table[] = {
    { "key", AT(key), MEMBER_TEXT, true },
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

/* From a member of the manifest to the one of the schema. */
static const struct {
    const char *from, *to;
} renames[] = {
    { "key", "key" },
    { "type", "type" },
    { "multiple", "multiple" },
    { "choices", "choices" },
    { "format", "format" },
    { "min", "minimum" },
    { "max", "maximum" },
    { "allow_null", "allowNull" },
    { "additional_properties", "additionalProperties" },
};

/* ---- checking ---- */

static int check_conditions(struct reader *r, mf_val rule, mf_val fields)
{
    struct {
        const char *match;
        mf_val conditions;
    } c = { 0 };
    static const struct member table[] = {
        { "match", 0, MEMBER_TEXT },
        { "conditions", sizeof(const char *), MEMBER_ARRAY, true },
    };
    mf_iter it = { { 0 } };
    mf_str key;
    mf_val one;

    if (reader_object(r, rule, table, COUNT_OF(table), &c, "a condition") != 0)
        return -1;
    if (c.match && strcmp(c.match, "all") != 0 && strcmp(c.match, "any") != 0)
        return reader_fault(r, reader_at(rule, "match"),
                            "`match` must be all or any");
    while (json_next(c.conditions, &it, &key, &one)) {
        mf_val name = json_get(one, MF_STR("fieldKey"));
        mf_str text = json_text(name, r->arena);

        if (name.type == MF_STRING && !memchr(text.ptr, '.', text.len) &&
            fields_find(fields, text).type == MF_ABSENT)
            return reader_fault(r, name.raw, "no field `%.*s` is here%s",
                                (int)text.len, text.ptr,
                                reader_hint(r->arena, reader_text(r, name),
                                            fields_keys(r->arena, fields,
                                                        NULL)));
    }
    return 0;
}

static int check_choices(struct reader *r, mf_val choices)
{
    mf_iter it = { { 0 } };
    mf_str key;
    mf_val one;

    while (json_next(choices, &it, &key, &one)) {
        if (one.type == MF_OBJECT)
            one = json_get(one, MF_STR("value"));
        if (one.type != MF_STRING && one.type != MF_NUMBER &&
            one.type != MF_BOOL)
            return reader_fault(r, one.raw ? one.raw : choices.raw,
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

/* A default of a field is a mapping; one of a setting is a plain value that
 * the setting itself would take. */
static int check_default(struct reader *r, const struct field *f, mf_val field,
                         enum fields_use use)
{
    mf_str list = { field.raw, field.len }, object;
    struct schema *s;
    struct mapping *m;
    struct err why;
    mf_val out;

    if (use == FIELDS_ACTION) {
        m = mapping_compile(f->fallback, &why);
        mapping_free(m);
        return m ? 0
                 : reader_fault(r, f->fallback.raw, "`default`: %s", why.text);
    }
    list = arena_printf(r->arena, "[%.*s]", (int)list.len, list.ptr);
    s = schema_compile(fields_translate(r->arena, json_root(list), false), &why);
    if (!s)
        return reader_fault(r, field.raw, "%s", why.text);
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
    return strlen(key) <= KEY_MAX &&
           !str_starts(mf_cstr(key), MF_STR("__segment_internal_"));
}

static bool one_of(const char *const *list, const char *word)
{
    while (*list && strcmp(*list, word) != 0)
        list++;
    return *list != NULL;
}

/* Its properties are left to the caller. */
static int check_field(struct reader *r, mf_val v, mf_val all,
                       enum fields_use use, mf_val *properties)
{
    bool action = use == FIELDS_ACTION;
    struct field f = { 0 };

    if (reader_object(r, v, action ? action_table : setting_table,
                      action ? COUNT_OF(action_table)
                             : COUNT_OF(setting_table),
                      &f, action ? "a field" : "a setting") != 0)
        return -1;
    if (!good_key(f.key))
        return reader_fault(r, reader_at(v, "key"), "`%s` cannot be a key",
                            f.key);
    if (fields_find(all, mf_cstr(f.key)).raw != v.raw)
        return reader_fault(r, reader_at(v, "key"),
                            "the key `%s` stands here twice", f.key);
    if (!one_of(field_types, f.type))
        return reader_fault(r, reader_at(v, "type"), "no such type `%s`%s",
                            f.type,
                            reader_hint(r->arena, f.type, field_types));
    if (f.properties.type && strcmp(f.type, "object") != 0)
        return reader_fault(r, f.properties.raw,
                            "only a field of type object has `properties`");
    if ((f.required_if.type && check_conditions(r, f.required_if, all) != 0) ||
        check_choices(r, f.choices) != 0 ||
        (f.pattern && check_pattern(r, v, f.pattern) != 0) ||
        (f.fallback.type && check_default(r, &f, v, use) != 0))
        return -1;
    *properties = f.properties;
    return 0;
}

static int check_fields(struct reader *r, mf_val array, enum fields_use use,
                        unsigned depth)
{
    mf_iter it = { { 0 } };
    mf_str key;
    mf_val v, properties;

    if (json_count(array) > FIELDS_MAX)
        return reader_fault(r, array.raw, "more than %d fields", FIELDS_MAX);
    if (depth > SCHEMA_DEPTH_MAX)
        return reader_fault(r, array.raw, "`properties` nest deeper than %d",
                            SCHEMA_DEPTH_MAX);
    while (json_next(array, &it, &key, &v))
        if (check_field(r, v, array, use, &properties) != 0 ||
            check_fields(r, properties, FIELDS_ACTION, depth + 1) != 0)
            return -1;
    return 0;
}

/* ---- translating ---- */

static void translate_members(struct json_out *w, mf_val field,
                              bool required)
{
    mf_val rule = json_get(field, MF_STR("required_if"));
    mf_val label = json_get(field, MF_STR("label"));
    mf_val v;

    for (size_t i = 0; i < COUNT_OF(renames); i++) {
        v = json_get(field, mf_cstr(renames[i].from));
        if (v.type == MF_ABSENT)
            continue;
        json_key(w, mf_cstr(renames[i].to));
        json_val(w, v);
    }
    json_key(w, MF_STR("label"));
    json_val(w, label.type ? label : json_get(field, MF_STR("key")));
    json_key(w, MF_STR("required"));
    if (!required)
        json_bool(w, false);
    else if (rule.type == MF_OBJECT)
        json_val(w, rule);
    else
        json_bool(w, json_is_true(json_get(field, MF_STR("required"))));
}

static void translate_array(struct json_out *w, mf_val array, bool required)
{
    mf_iter it = { { 0 } };
    mf_str key;
    mf_val v;

    json_begin_array(w);
    while (json_next(array, &it, &key, &v)) {
        mf_val properties = json_get(v, MF_STR("properties"));

        json_begin_object(w);
        translate_members(w, v, required);
        if (properties.type == MF_ARRAY) {
            json_key(w, MF_STR("properties"));
            translate_array(w, properties, required);
        }
        json_end_object(w);
    }
    json_end_array(w);
}

mf_val fields_translate(struct arena *a, mf_val array, bool required)
{
    struct json_out w;
    struct buf b;
    mf_str text;

    buf_init(&b, (size_t)array.len * 4 + 64);
    json_out_init(&w, &b);
    translate_array(&w, array, required);
    ASSERT(!b.full);
    text = arena_copy(a, buf_view(&b));
    buf_deinit(&b);
    return json_root(text);
}

/* ---- public ---- */

int fields_compile(struct reader *r, mf_val array, enum fields_use use,
                   struct schema **schema)
{
    struct err why;

    *schema = NULL;
    if (check_fields(r, array, use, 1) != 0)
        return -1;
    *schema = schema_compile(fields_translate(r->arena, array, true), &why);
    return *schema ? 0 : reader_fault(r, array.raw, "%s", why.text);
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
