/* SPDX-License-Identifier: Apache-2.0
 *
 * schema.c - the properties that HubSpot knows of a type of object, beside
 * those that the events set: what is missing is made, and an event whose value
 * cannot fit is refused before anything is written. */
#include "object.h"

static struct property *property_of(const struct chain *k, mf_str name)
{
    for (uint32_t i = 0; i < k->property_count; i++)
        if (mf_eq(k->properties[i].name, name))
            return &k->properties[i];
    return NULL;
}

static uint32_t members_of(mf_call *c, mf_val object)
{
    mf_iter it = { { 0 } };
    uint32_t n = 0;
    mf_str key;
    mf_val v;

    while (mf_next(c, object, &it, &key, &v))
        n++;
    return n;
}

/* Where values of one property differ in kind, it is text. */
static void collect(mf_call *c, struct chain *k, mf_val object, int sensitive)
{
    mf_iter it = { { 0 } };
    mf_str name;
    mf_val v;

    while (mf_next(c, object, &it, &name, &v)) {
        struct property *p = property_of(k, name);
        enum hs_kind kind = hs_kind_of(c, v);

        if (!p) {
            p = &k->properties[k->property_count++];
            p->name = name;
            p->kind = kind;
            p->sensitive = sensitive;
        } else if (p->kind != kind) {
            p->kind = HS_TEXT;
        }
    }
}

void schema_ask(mf_call *c, struct chain *k)
{
    mf_str path = MF_JOIN(c, MF_STR("/crm/v3/properties"),
                          hs_segment(c, k->type));
    uint32_t most = 0, plain;

    for (uint32_t i = 0; i < k->member_count; i++)
        most += members_of(c, mf_field(k->members[i].event, PROPERTIES)) +
                members_of(c, mf_field(k->members[i].event, SENSITIVE));
    k->properties = mf_alloc(c, most * sizeof *k->properties);
    for (uint32_t i = 0; i < k->member_count; i++)
        collect(c, k, mf_field(k->members[i].event, PROPERTIES), 0);
    plain = k->property_count;
    for (uint32_t i = 0; i < k->member_count; i++)
        collect(c, k, mf_field(k->members[i].event, SENSITIVE), 1);
    if (plain)
        object_send(c, k, "GET", path, SCHEMA, k);
    if (k->property_count > plain)
        object_send(c, k, "GET",
                    MF_JOIN(c, path, MF_STR("?dataSensitivity=sensitive")),
                    SCHEMA_SENSITIVE, k);
}

static int is_complete(const struct chain *k, int sensitive)
{
    for (uint32_t i = 0; i < k->property_count; i++)
        if (k->properties[i].sensitive == sensitive &&
            !k->properties[i].type.len)
            return 0;
    return 1;
}

void schema_take(mf_call *c, struct chain *k, int sensitive,
                 const mf_response *a)
{
    mf_iter it = { { 0 } };
    mf_str index;
    mf_val one;

    while (mf_next(c, mf_get(c, mf_answer_json(a), "results"), &it, &index,
                   &one)) {
        struct property *p =
            property_of(k, mf_text(c, mf_get(c, one, "name")));

        if (!p || p->sensitive != sensitive)
            continue;
        p->type = mf_text(c, mf_get(c, one, "type"));
        p->field_type = mf_text(c, mf_get(c, one, "fieldType"));
    }
    mf_keep(a, is_complete(k, sensitive) ? HS_KEEP_MS : 0);
}

/* ---- making what is missing ---- */

static const char *const types[][2] = {
    [HS_TEXT] = { "string", "text" },
    [HS_NUMBER] = { "number", "number" },
    [HS_FLAG] = { "enumeration", "booleancheckbox" },
    [HS_DATE] = { "date", "date" },
    [HS_TIME] = { "datetime", "date" },
};

static void write_property(mf_writer *w, const struct property *p,
                           mf_str group)
{
    mf_w_object(w, NULL);
    mf_w_str(w, "name", p->name);
    mf_w_str(w, "label", p->name);
    mf_w_str(w, "groupName", group);
    mf_w_str(w, "type", mf_cstr(types[p->kind][0]));
    if (p->sensitive)
        mf_w_str(w, "dataSensitivity", MF_STR("sensitive"));
    mf_w_str(w, "fieldType", mf_cstr(types[p->kind][1]));
    if (p->kind == HS_FLAG)
        hs_flag_options(w, 1);
    mf_w_end(w);
}

void schema_make(mf_call *c, struct chain *k)
{
    mf_str group = mf_text(c, mf_field(k->members[0].event, GROUP));
    mf_writer *w = NULL;

    for (uint32_t i = 0; i < k->property_count; i++) {
        struct property *p = &k->properties[i];

        if (p->type.len)
            continue;
        if (!group.len) {
            object_drop_all(c, k, MF_INVALID,
                            MF_JOIN(c, MF_STR("HubSpot has no property "),
                                    p->name,
                                    MF_STR(", and object_details.property_"
                                           "group does not say where to make "
                                           "it")));
            return;
        }
        if (!w) {
            w = mf_json_body(object_send(
                c, k, "POST",
                MF_JOIN(c, MF_STR("/crm/v3/properties"),
                        hs_segment(c, k->type), MF_STR("/batch/create")),
                MAKE_PROPERTIES, k));
            mf_w_object(w, NULL);
            mf_w_array(w, "inputs");
        }
        write_property(w, p, group);
        p->type = mf_cstr(types[p->kind][0]);
        p->field_type = mf_cstr(types[p->kind][1]);
    }
    if (w) {
        mf_w_end(w);
        mf_w_end(w);
    }
}

/* ---- checking values ---- */

static int fits(mf_call *c, mf_val v, const struct property *p)
{
    enum hs_kind kind = hs_kind_of(c, v);

    if (v.type == MF_STRING && v.len == 2)
        return 1; /* clears it */
    if (mf_eq(p->type, MF_STR("number")))
        return hs_number(c, v).type == MF_NUMBER;
    if (mf_eq(p->type, MF_STR("date")) || mf_eq(p->type, MF_STR("datetime")))
        return kind == HS_DATE || kind == HS_TIME ||
               hs_number(c, v).type == MF_NUMBER;
    if (mf_eq(p->field_type, MF_STR("booleancheckbox")))
        return kind == HS_FLAG;
    return 1;
}

static void check(mf_call *c, struct chain *k, struct member *m, mf_val object)
{
    mf_iter it = { { 0 } };
    mf_str name;
    mf_val v;

    while (!m->out && mf_next(c, object, &it, &name, &v)) {
        const struct property *p = property_of(k, name);

        if (!fits(c, v, p))
            object_drop(c, m, MF_INVALID,
                        MF_JOIN(c, MF_STR("the value of "), name,
                                MF_STR(" does not fit: in HubSpot its type "
                                       "is "), p->type));
    }
}

void schema_check(mf_call *c, struct chain *k)
{
    for (uint32_t i = 0; i < k->member_count; i++) {
        check(c, k, &k->members[i], mf_field(k->members[i].event, PROPERTIES));
        check(c, k, &k->members[i], mf_field(k->members[i].event, SENSITIVE));
    }
}
