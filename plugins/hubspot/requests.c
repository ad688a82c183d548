/* SPDX-License-Identifier: Apache-2.0
 *
 * requests.c - the requests that several actions make, and what is read out of
 * HubSpot's answers. */
#include "hubspot.h"

#define ORIGIN "https://api.hubapi.com"

mf_request *hs_send(mf_call *c, const char *method, mf_str path, uint32_t step,
                    void *state)
{
    mf_request *r = mf_send(c, method, MF_JOIN(c, MF_STR(ORIGIN), path));

    mf_tag(r, step, state);
    return r;
}

mf_str hs_segment(mf_call *c, mf_str segment)
{
    return MF_JOIN(c, MF_STR("/"), mf_encode(c, MF_PERCENT, segment));
}

mf_str hs_objects(mf_call *c, mf_str type, mf_str tail)
{
    return MF_JOIN(c, MF_STR("/crm/v3/objects"), hs_segment(c, type), tail);
}

void hs_properties_body(mf_request *r, mf_val properties, mf_val associations)
{
    mf_writer *w = mf_json_body(r);

    mf_w_object(w, NULL);
    mf_w_val(w, "properties", properties);
    mf_w_val(w, "associations", associations);
    mf_w_end(w);
}

void hs_search(mf_call *c, mf_str type, mf_val fields, mf_str sort,
               const char *const *properties, size_t count, uint32_t step,
               void *state)
{
    mf_request *r = hs_send(c, "POST", hs_objects(c, type, MF_STR("/search")),
                            step, state);
    mf_writer *w = mf_json_body(r);
    mf_iter it = { { 0 } };
    mf_val value;
    mf_str key;

    mf_w_object(w, NULL);
    mf_w_array(w, "filterGroups");
    while (mf_next(c, fields, &it, &key, &value)) {
        mf_w_object(w, NULL);
        mf_w_array(w, "filters");
        mf_w_object(w, NULL);
        mf_w_str(w, "propertyName", key);
        mf_w_str(w, "operator", MF_STR("EQ"));
        mf_w_val(w, "value", value);
        mf_w_end(w);
        mf_w_end(w);
        mf_w_end(w);
    }
    mf_w_end(w);
    mf_w_array(w, "properties");
    for (size_t i = 0; i < count; i++)
        mf_w_str(w, NULL, mf_cstr(properties[i]));
    mf_w_end(w);
    mf_w_array(w, "sorts");
    if (sort.len)
        mf_w_str(w, NULL, sort);
    mf_w_end(w);
    mf_w_end(w);
}

int64_t hs_found(mf_call *c, const mf_response *a, mf_str *id)
{
    *id = mf_text(c, mf_get(c, mf_answer_json(a), "results[0].id"));
    return mf_integer(c, mf_get(c, mf_answer_json(a), "total"), 0);
}

void hs_association(mf_call *c, mf_writer *w, const char *key, mf_str label,
                    int as_text)
{
    size_t colon = kit_find(label, MF_STR(":")), end = colon;
    mf_str id;
    mf_val number;

    end += end < label.len;
    id = (mf_str){ label.ptr + end, label.len - end };
    number = mf_parse(c, id);
    mf_w_array(w, key);
    mf_w_object(w, NULL);
    mf_w_str(w, "associationCategory", (mf_str){ label.ptr, colon });
    if (as_text || number.type != MF_NUMBER)
        mf_w_str(w, "associationTypeId", id);
    else
        mf_w_val(w, "associationTypeId", number);
    mf_w_end(w);
    mf_w_end(w);
}

int hs_bad_input(const mf_response *a)
{
    switch (mf_status(a)) {
    case 400:
    case 404:
    case 409:
    case 413:
    case 422:
        return 1;
    default:
        return 0;
    }
}

mf_str hs_message(mf_call *c, const mf_response *a)
{
    return mf_text(c, mf_get(c, mf_answer_json(a), "message"));
}

mf_str hs_other_error(mf_call *c, const mf_response *a)
{
    mf_val errors = mf_get(c, mf_answer_json(a), "errors"), one;
    mf_iter it = { { 0 } };
    mf_str index;

    while (mf_next(c, errors, &it, &index, &one)) {
        mf_str why = mf_text(c, mf_get(c, one, "message"));

        if (!mf_eq(mf_text(c, mf_get(c, one, "category")),
                   MF_STR("OBJECT_NOT_FOUND")))
            return why.len ? why : MF_STR("refused without a word");
    }
    return (mf_str){ "", 0 };
}

int hs_same_id(mf_call *c, mf_str property, mf_str one, mf_str other)
{
    if (mf_eq(property, MF_STR("email"))) {
        one = kit_lower(c, one);
        other = kit_lower(c, other);
    }
    return mf_eq(one, other);
}

int hs_unknown_property(mf_call *c, const mf_response *a, mf_str name)
{
    mf_str why = hs_message(c, a);

    return mf_status(a) == 400 && kit_has(why, name) &&
           kit_has(why, MF_STR("PROPERTY_DOESNT_EXIST"));
}
