/* SPDX-License-Identifier: Apache-2.0
 *
 * record.c - a record of a custom object, found by its search fields, and
 * associated with another record that is searched for. */
#include "hubspot.h"

enum { SEARCH = 1, SEARCH_OTHER, WRITE, JOIN };

enum { TYPE, PROPERTIES, SEARCH_FIELDS, MAY_CREATE, OTHER_TYPE, OTHER_FIELDS,
       LABEL };
const char *const hs_record_paths[HS_RECORD_PATHS] = {
    [TYPE] = "objectType",
    [PROPERTIES] = "properties",
    [SEARCH_FIELDS] = "customObjectSearchFields",
    [MAY_CREATE] = "createNewCustomRecord",
    [OTHER_TYPE] = "toObjectType",
    [OTHER_FIELDS] = "searchFieldsToAssociateCustomObjects",
    [LABEL] = "associationLabel",
};

struct record {
    const mf_event *event;
    mf_str type, id, other; /* "" where there is none */
    int ambiguous;          /* the other is not one but several */
};

static int has_members(mf_val v)
{
    return v.type == MF_OBJECT && v.len > 2;
}

static void create(mf_call *c, struct record *k, mf_val properties)
{
    mf_str label = mf_text(c, mf_field(k->event, LABEL));
    mf_writer *w = mf_value(c);

    mf_w_array(w, NULL);
    if (k->other.len && !k->ambiguous) {
        mf_w_object(w, NULL);
        mf_w_object(w, "to");
        mf_w_str(w, "id", k->other);
        mf_w_end(w);
        hs_association(c, w, "types", label, 0);
        mf_w_end(w);
    }
    mf_w_end(w);
    hs_properties_body(hs_send(c, "POST",
                               hs_objects(c, k->type, MF_STR("")), WRITE, k),
                       properties, mf_done(w));
}

static int32_t nothing_done(mf_call *c)
{
    mf_result(c, MF_ALL, MF_DELIVERED,
              MF_STR("there is no such record, and createNewCustomRecord is "
                     "off"));
    return MF_DELIVERED;
}

static int32_t write_record(mf_call *c, struct record *k)
{
    mf_val properties = hs_flat_members(c, mf_field(k->event, PROPERTIES));
    mf_val may_create = mf_field(k->event, MAY_CREATE);

    if (k->id.len)
        hs_properties_body(hs_send(c, "PATCH",
                                   hs_objects(c, k->type,
                                              hs_segment(c, k->id)),
                                   WRITE, k),
                           properties, KIT_ABSENT);
    else if (!mf_given(may_create) || mf_is_true(may_create))
        create(c, k, properties);
    else
        return nothing_done(c);
    return MF_CONTINUE;
}

/* Looks for the other record where all is said of it, else writes. */
static int32_t find_other(mf_call *c, struct record *k)
{
    mf_val fields = mf_field(k->event, OTHER_FIELDS);
    mf_val type = mf_field(k->event, OTHER_TYPE);
    mf_str unsorted = { "", 0 };

    if (!has_members(fields) || !mf_truthy(c, type) ||
        !mf_truthy(c, mf_field(k->event, LABEL)))
        return write_record(c, k);
    hs_search(c, mf_text(c, type), fields, unsorted, NULL, 0, SEARCH_OTHER, k);
    return MF_CONTINUE;
}

int32_t hs_record(const void *self, mf_call *c, const mf_event *e)
{
    struct record *k = mf_alloc(c, sizeof *k);
    mf_val fields = mf_field(e, SEARCH_FIELDS);
    mf_str unsorted = { "", 0 };
    int32_t said;

    (void)self;
    k->event = e;
    k->type = mf_text(c, mf_field(e, TYPE));
    if (has_members(fields)) {
        hs_search(c, k->type, fields, unsorted, NULL, 0, SEARCH, k);
        return MF_OK;
    }
    said = find_other(c, k);
    return said == MF_CONTINUE ? MF_OK : said;
}

static int32_t ambiguous(mf_call *c, const mf_request *r, const char *fields)
{
    return kit_settle(c, r, MF_INVALID,
                      MF_JOIN(c, mf_cstr(fields),
                              MF_STR(" fit more than one record")));
}

static int32_t associate(mf_call *c, struct record *k, const mf_request *r)
{
    mf_str type = mf_text(c, mf_field(k->event, OTHER_TYPE));
    mf_writer *w;

    if (k->ambiguous)
        return kit_settle(c, r, MF_INVALID,
                          MF_STR("the record was written, but not associated: "
                                 "searchFieldsToAssociateCustomObjects fit "
                                 "more than one record"));
    if (!k->other.len || !k->id.len)
        return MF_OK;
    w = mf_json_body(hs_send(
        c, "PUT",
        MF_JOIN(c, MF_STR("/crm/v4/objects"), hs_segment(c, k->type),
                hs_segment(c, k->id), MF_STR("/associations"),
                hs_segment(c, type), hs_segment(c, k->other)),
        JOIN, k));
    hs_association(c, w, NULL, mf_text(c, mf_field(k->event, LABEL)), 0);
    return MF_CONTINUE;
}

int32_t hs_record_judge(const void *self, mf_call *c, const mf_request *r,
                        const mf_response *a)
{
    struct record *k;
    void *state;
    uint32_t step = mf_step(r, &state);

    (void)self;
    k = state;
    if (!kit_ok(a))
        return MF_OK;
    switch (step) {
    case SEARCH:
        if (hs_found(c, a, &k->id) > 1)
            return ambiguous(c, r, "customObjectSearchFields");
        return find_other(c, k);
    case SEARCH_OTHER:
        k->ambiguous = hs_found(c, a, &k->other) > 1;
        return write_record(c, k);
    case WRITE:
        return associate(c, k, r);
    default:
        return MF_OK;
    }
}
