/* SPDX-License-Identifier: Apache-2.0
 *
 * schema_vectors_test.c - field checks against what the original recorded:
 * validateSchema and removeEmptyValues. Those take JSON schemas; as ours are
 * compiled from fields, each is first turned back into the fields it came
 * from. No JSON schema is ever made here, so of fieldsToJsonSchema it is the
 * meaning that is held against the record: the fields as their author wrote
 * them, and those turned back from the recorded schema, must do the same to
 * every payload of a set. Takes actions/_core.json from MANIFOLD_VECTORS;
 * skipped without it. */
#include "schema.c"

#include "mapping/core_vectors.h"

static mf_val argument(mf_val vector, size_t i)
{
    return json_at(json_get(vector, MF_STR("args")), i);
}

static void report(const char *function, unsigned passed, unsigned total)
{
    printf("%s: %u/%u\n", function, passed, total);
    assert_true(total > 0);
    assert_true(passed * 100 >= total * 99);
}

/* ---- from a JSON schema back to fields ---- */

static mf_val get2(mf_val v, const char *a, const char *b)
{
    return json_get(json_get(v, mf_cstr(a)), mf_cstr(b));
}

static bool lists(mf_val array, mf_str name)
{
    mf_iter it = { { 0 } };
    mf_str key;
    mf_val v;

    while (json_next(array, &it, &key, &v))
        if (mf_eq(json_text(v, &arena), name))
            return true;
    return false;
}

static mf_val first_member(mf_val object, mf_str *key)
{
    mf_iter it = { { 0 } };
    mf_val v = ABSENT;

    json_next(object, &it, key, &v);
    return v;
}

/* {"properties":{k:{"const":v}}} and its relatives. */
static void condition(struct json_out *w, mf_val test)
{
    mf_val not = json_get(test, MF_STR("not")), rule, inner, value;
    mf_str key = { "", 0 }, inner_key = { "", 0 };
    const char *op = "is";
    char path[200];

    if (not.type != MF_ABSENT) /* {"not":{"required":[k]}} */
        key = json_text(json_at(json_get(not, MF_STR("required")), 0), &arena);
    rule = first_member(json_get(test, MF_STR("properties")), &key);
    inner = first_member(json_get(rule, MF_STR("properties")), &inner_key);
    if (inner.type != MF_ABSENT)
        rule = inner;
    if (json_get(rule, MF_STR("not")).type != MF_ABSENT) {
        rule = json_get(rule, MF_STR("not"));
        op = "is_not";
    }
    value = json_get(rule, MF_STR("const"));
    snprintf(path, sizeof path, "%.*s%s%.*s", (int)key.len, key.ptr,
             inner_key.len ? "." : "", (int)inner_key.len, inner_key.ptr);
    json_begin_object(w);
    json_kstr(w, "fieldKey", mf_cstr(path));
    json_kstr(w, "operator", mf_cstr(op));
    if (value.type != MF_ABSENT)
        json_kval(w, "value", value);
    json_end_object(w);
}

/* The two forms that ask whether k is there at all, null aside. */
static bool presence(struct json_out *w, mf_val test)
{
    mf_val any = json_get(test, MF_STR("anyOf"));
    mf_val all = json_get(test, MF_STR("allOf"));
    bool is = json_count(any) == 2 &&
              get2(json_at(any, 0), "not", "required").type == MF_ARRAY &&
              json_get(json_at(any, 1), MF_STR("properties")).type ==
                  MF_OBJECT;
    bool is_not = json_count(all) == 2 &&
                  get2(json_at(all, 1), "not", "properties").type == MF_OBJECT;
    mf_val names = is ? get2(json_at(any, 0), "not", "required")
                      : json_get(json_at(all, 0), MF_STR("required"));

    if (!is && !is_not)
        return false;
    json_begin_object(w);
    json_kval(w, "fieldKey", json_at(names, 0));
    json_kstr(w, "operator", is ? MF_STR("is") : MF_STR("is_not"));
    json_end_object(w);
    return true;
}

static void required_if(struct json_out *w, mf_val test)
{
    mf_val any = json_get(test, MF_STR("anyOf")), v;
    mf_val all = json_get(test, MF_STR("allOf"));
    mf_iter it = { { 0 } };
    mf_str key;

    json_key(w, MF_STR("required_if"));
    json_begin_object(w);
    json_kstr(w, "match", any.type == MF_ARRAY ? MF_STR("any")
                                               : MF_STR("all"));
    json_key(w, MF_STR("conditions"));
    json_begin_array(w);
    if (!presence(w, test)) {
        if (any.type != MF_ARRAY && all.type != MF_ARRAY)
            condition(w, test);
        while (json_next(any.type == MF_ARRAY ? any : all, &it, &key, &v))
            condition(w, v);
    }
    json_end_array(w);
    json_end_object(w);
}

/* The demand of schema whose `then` names outer (and inner in it). */
static void find_demand(struct json_out *w, mf_val schema, mf_str outer,
                        mf_str inner)
{
    mf_iter it = { { 0 } };
    mf_str key;
    mf_val v;

    while (json_next(json_get(schema, MF_STR("allOf")), &it, &key, &v)) {
        mf_val then = json_get(v, MF_STR("then"));
        mf_val rule = json_get(json_get(then, MF_STR("properties")), outer);
        bool deep = rule.type != MF_ABSENT;

        if (lists(json_get(then, MF_STR("required")), outer) &&
            deep == (inner.len > 0) &&
            (!deep || lists(json_get(rule, MF_STR("required")), inner)))
            required_if(w, json_get(v, MF_STR("if")));
    }
}

static void copy_as(struct json_out *w, mf_val from, const char *name,
                    const char *as)
{
    mf_val v = json_get(from, mf_cstr(name));

    if (v.type == MF_ABSENT)
        return;
    json_key(w, mf_cstr(as));
    json_val(w, v);
}

static void field_type(struct json_out *w, mf_val type)
{
    mf_str name = json_text(type, &arena), key;
    mf_iter it = { { 0 } };
    mf_val v;

    if (type.type == MF_ARRAY && lists(type, MF_STR("number")) &&
        lists(type, MF_STR("string")))
        name = MF_STR("datetime");
    else
        while (json_next(type, &it, &key, &v))
            if (!mf_eq(json_text(v, &arena), MF_STR("null")))
                name = json_text(v, &arena);
    if (lists(type, MF_STR("null")) || mf_eq(name, MF_STR("null")))
        json_kbool(w, "allow_null", true);
    json_kstr(w, "type", mf_eq(name, MF_STR("null")) ? MF_STR("string") : name);
}

/* Walks `properties` of schema, or of the object under outer. */
static void fields(struct json_out *w, mf_val top, mf_val schema, mf_str outer)
{
    mf_iter it = { { 0 } };
    mf_str key;
    mf_val v;

    json_begin_array(w);
    while (json_next(json_get(schema, MF_STR("properties")), &it, &key, &v)) {
        mf_val items = json_get(v, MF_STR("items"));
        mf_val one = items.type == MF_OBJECT ? items : v;

        json_begin_object(w);
        json_kstr(w, "key", key);
        copy_as(w, v, "title", "label");
        if (items.type == MF_OBJECT)
            json_kbool(w, "multiple", true);
        field_type(w, json_get(one, MF_STR("type")));
        copy_as(w, one, "enum", "choices");
        copy_as(w, v, "minimum", "min");
        copy_as(w, v, "maximum", "max");
        copy_as(w, v, "minLength", "min");
        copy_as(w, v, "maxLength", "max");
        if (lists(json_get(schema, MF_STR("required")), key))
            json_kbool(w, "required", true);
        if (outer.len)
            find_demand(w, top, outer, key);
        else
            find_demand(w, top, key, outer);
        if (json_get(one, MF_STR("properties")).type == MF_OBJECT) {
            copy_as(w, one, "additionalProperties", "additional_properties");
            json_key(w, MF_STR("properties"));
            fields(w, top, one, outer.len ? outer : key);
        }
        json_end_object(w);
    }
    json_end_array(w);
}

static struct schema *schema_of(mf_val json_schema, struct err *e)
{
    struct schema *s;
    struct json_out w;
    struct buf b;

    buf_init(&b, 1 << 20);
    json_out_init(&w, &b);
    fields(&w, json_schema, json_schema, (mf_str){ "", 0 });
    s = schema_compile(json_root(buf_view(&b)), e);
    if (!s)
        printf("%.*s: %s\n", (int)b.len, b.data, e->text);
    assert_non_null(s);
    buf_deinit(&b);
    return s;
}

/* ---- the vectors ---- */

/* The schema that a schemaKey was first compiled with is the one that counts,
 * as in the original's cache. */
static mf_val cached(mf_val list, mf_val vector)
{
    mf_val name;
    mf_iter it = { { 0 } };
    mf_str key;
    mf_val v;

    name = json_get(argument(vector, 2), MF_STR("schemaKey"));
    while (name.type == MF_STRING && json_next(list, &it, &key, &v))
        if (json_equal(json_get(argument(v, 2), MF_STR("schemaKey")), name,
                       &arena) &&
            json_equal(json_get(v, MF_STR("file")),
                       json_get(vector, MF_STR("file")), &arena))
            return argument(v, 1);
    return argument(vector, 1);
}

static bool as_recorded(mf_val v, mf_val got, const struct err *e)
{
    mf_val message = get2(v, "error", "message");

    if (message.type == MF_STRING)
        return got.type == MF_ABSENT &&
               mf_eq(json_text(message, &arena), mf_cstr(e->text));
    if (!json_is_true(json_get(v, MF_STR("out"))))
        return got.type == MF_ABSENT && e->text[0];
    return json_equal(got, json_get(v, MF_STR("obj_after")), &arena);
}

static void validate_schema(void **state)
{
    mf_val list = vectors("validateSchema"), v, got;
    unsigned passed = 0, total = 0;
    mf_iter it = { { 0 } };
    mf_str key;
    struct err e;

    (void)state;
    while (json_next(list, &it, &key, &v)) {
        struct schema *s = schema_of(cached(list, v), &e);

        got = apply(s, argument(v, 0), DO_CHECK | IN_BATCH, &arena, &e);
        total++;
        if (as_recorded(v, got, &e)) {
            passed++;
        } else {
            mf_val id = json_get(v, MF_STR("id"));

            printf("%.*s: %.*s [%s]\n", (int)id.len, id.raw, (int)got.len,
                   got.raw, e.text);
        }
        schema_free(s);
    }
    report("validateSchema", passed, total);
}

static void remove_empty_values(void **state)
{
    mf_val list = vectors("removeEmptyValues"), v, got;
    unsigned passed = 0, total = 0;
    mf_iter it = { { 0 } };
    mf_str key;
    struct err e;

    (void)state;
    while (json_next(list, &it, &key, &v)) {
        struct schema *s = schema_of(argument(v, 1), &e);
        bool root = json_is_true(argument(v, 2));

        got = apply(s, argument(v, 0), DO_CLEAN | (root ? 0 : IN_BATCH),
                    &arena, &e);
        total++;
        if (json_equal(got, json_get(v, MF_STR("out")), &arena)) {
            passed++;
        } else {
            mf_val id = json_get(v, MF_STR("id"));

            printf("%.*s: %.*s [%s]\n", (int)id.len, id.raw, (int)got.len,
                   got.raw, e.text);
        }
        schema_free(s);
    }
    report("removeEmptyValues", passed, total);
}

/* ---- fields and the JSON schema they are to mean ---- */

/* A definition of the original, as a manifest writes it. */
static void written_fields(struct json_out *w, mf_val definition)
{
    static const char *const same[] = { "label", "type", "multiple",
                                        "choices", "format" };
    mf_iter it = { { 0 } };
    mf_str key;
    mf_val v;

    json_begin_array(w);
    while (json_next(definition, &it, &key, &v)) {
        mf_val required = json_get(v, MF_STR("required"));

        json_begin_object(w);
        json_kstr(w, "key", key);
        for (size_t i = 0; i < COUNT_OF(same); i++)
            copy_as(w, v, same[i], same[i]);
        copy_as(w, v, "minimum", "min");
        copy_as(w, v, "maximum", "max");
        copy_as(w, v, "allowNull", "allow_null");
        copy_as(w, v, "additionalProperties", "additional_properties");
        copy_as(w, v, "required",
                required.type == MF_OBJECT ? "required_if" : "required");
        if (json_get(v, MF_STR("properties")).type == MF_OBJECT) {
            json_key(w, MF_STR("properties"));
            written_fields(w, json_get(v, MF_STR("properties")));
        }
        json_end_object(w);
    }
    json_end_array(w);
}

static struct schema *schema_written(mf_val definition)
{
    struct schema *s;
    struct json_out w;
    struct buf b;
    struct err e = { "" };

    buf_init(&b, 1 << 20);
    json_out_init(&w, &b);
    written_fields(&w, definition);
    s = schema_compile(json_root(buf_view(&b)), &e);
    if (!s)
        fail_msg("%.*s: %s", (int)b.len, b.data, e.text);
    buf_deinit(&b);
    return s;
}

/* Both take the payload the same way, with the same words. */
static bool agree(struct schema *a, struct schema *b, mf_str payload)
{
    struct err ea = { "" }, eb = { "" };
    mf_val va = schema_apply(a, json_root(payload), true, &arena, &ea);
    mf_val vb = schema_apply(b, json_root(payload), true, &arena, &eb);

    if (va.type == vb.type && strcmp(ea.text, eb.text) == 0 &&
        (va.type == MF_ABSENT || json_equal(va, vb, &arena)))
        return true;
    printf("%.*s: %.*s [%s] and %.*s [%s]\n", (int)payload.len, payload.ptr,
           (int)va.len, va.raw, ea.text, (int)vb.len, vb.raw, eb.text);
    return false;
}

/* Every pair of fields, each with every one of the values. */
static bool agree_on_all(struct schema *a, struct schema *b,
                         mf_val definition)
{
    static const char *const values[] = {
        "\"\"", "\"x\"", "\"a_value\"", "\"c_value\"", "\"true\"", "0", "7",
        "9007199254740993", "true", "false", "null", "[]", "[\"a_value\",1]",
        "{}", "{\"b\":\"b_value\"}", "{\"c\":\"c_value\",\"z\":1}",
        "{\"testDynamicSubfield\":\"s\"}"
    };
    mf_str one, two, payload;
    mf_iter it = { { 0 } };
    bool same = agree(a, b, MF_STR("{}"));
    mf_val v;

    while (json_next(definition, &it, &one, &v)) {
        mf_iter inner = { { 0 } };

        while (json_next(definition, &inner, &two, &v))
            for (size_t i = 0; i < COUNT_OF(values) * COUNT_OF(values); i++) {
                payload = arena_printf(&arena, "{\"%.*s\":%s,\"%.*s\":%s}",
                                       (int)one.len, one.ptr,
                                       values[i % COUNT_OF(values)],
                                       (int)two.len, two.ptr,
                                       values[i / COUNT_OF(values)]);
                same = agree(a, b, payload) && same;
            }
    }
    return same;
}

static void fields_mean_their_schema(void **state)
{
    mf_val list = vectors("fieldsToJsonSchema"), v;
    unsigned passed = 0, total = 0;
    mf_iter it = { { 0 } };
    mf_str key;
    struct err e;

    (void)state;
    while (json_next(list, &it, &key, &v)) {
        struct schema *written = schema_written(argument(v, 0));
        struct schema *back = schema_of(json_get(v, MF_STR("out")), &e);

        total++;
        passed += agree_on_all(written, back, argument(v, 0));
        schema_free(written);
        schema_free(back);
    }
    report("fieldsToJsonSchema", passed, total);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(validate_schema),
        cmocka_unit_test(fields_mean_their_schema),
        cmocka_unit_test(remove_empty_values),
    };

    return cmocka_run_group_tests(tests, load, unload);
}
