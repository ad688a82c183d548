/* SPDX-License-Identifier: Apache-2.0
 *
 * company.c - a company, by the group id that is kept in a property of its
 * own; where no company has it, by the search fields; else a new one. Up to
 * seven calls: update by group id, search, write, make the property, write
 * again, find the contact, associate. */
#include "hubspot.h"

#define KEY "segment_group_id"

enum { BY_KEY = 1, SEARCH, WRITE, MAKE_KEY, MAKE_KEY_LATER, CONTACT, JOIN };

/* Those before PROPERTIES are HubSpot's names of properties too. */
enum { PROPERTIES = 11, GROUP, SEARCH_FIELDS, MAY_CREATE, ASSOCIATE, EMAIL };
const char *const hs_company_paths[HS_COMPANY_PATHS] = {
    "name", "description", "address", "city", "state", "zip", "domain",
    "phone", "numberofemployees", "industry", "lifecyclestage",
    [PROPERTIES] = "properties",
    [GROUP] = "groupid",
    [SEARCH_FIELDS] = "companysearchfields",
    [MAY_CREATE] = "createNewCompany",
    [ASSOCIATE] = "associateContact",
    [EMAIL] = "contactEmail",
};

struct company {
    const mf_event *event;
    mf_val properties;
    mf_str id; /* "" for one that is to be made */
    int key_made;
};

static void write_company(mf_call *c, struct company *k)
{
    mf_str path = MF_STR("/crm/v3/objects/companies");

    if (k->id.len)
        hs_properties_body(hs_send(c, "PATCH",
                                   MF_JOIN(c, path, hs_segment(c, k->id)),
                                   WRITE, k),
                           k->properties, KIT_ABSENT);
    else
        hs_properties_body(hs_send(c, "POST", path, WRITE, k), k->properties,
                           mf_parse(c, MF_STR("[]")));
}

int32_t hs_company(const void *self, mf_call *c, const mf_event *e)
{
    struct company *k = mf_alloc(c, sizeof *k);
    mf_val group = mf_field(e, GROUP);
    mf_writer *w = mf_value(c);
    mf_str path;

    (void)self;
    if (mf_is_true(mf_field(e, ASSOCIATE)) &&
        !mf_truthy(c, mf_field(e, EMAIL)))
        return mf_fail(c, MF_INVALID,
                       MF_STR("associateContact is on, and contactEmail does "
                              "not say which contact"));
    k->event = e;
    mf_w_object(w, NULL);
    mf_w_val(w, KEY, hs_flat(c, group));
    mf_w_end(w);
    k->properties =
        kit_merge(c, mf_done(w),
                  hs_properties(c, e, hs_company_paths, PROPERTIES,
                                mf_field(e, PROPERTIES)));
    path = MF_JOIN(c, MF_STR("/crm/v3/objects/companies"),
                   hs_segment(c, mf_text(c, group)),
                   MF_STR("?idProperty=" KEY));
    hs_properties_body(hs_send(c, "PATCH", path, BY_KEY, k), k->properties,
                       KIT_ABSENT);
    return MF_OK;
}

/* ---- the property that holds the group id ---- */

static int32_t make_key(mf_call *c, struct company *k, uint32_t step)
{
    mf_request *r = hs_send(c, "POST", MF_STR("/crm/v3/properties/companies"),
                            step, k);
    mf_writer *w = mf_json_body(r);

    mf_w_object(w, NULL);
    mf_w_str(w, "name", MF_STR(KEY));
    mf_w_str(w, "label", MF_STR("Segment Group ID"));
    mf_w_str(w, "description",
             MF_STR("The groupId of the events that tell of this company"));
    mf_w_str(w, "groupName", MF_STR("companyinformation"));
    mf_w_str(w, "type", MF_STR("string"));
    mf_w_str(w, "fieldType", MF_STR("text"));
    mf_w_bool(w, "hidden", 1);
    mf_w_int(w, "displayOrder", -1);
    mf_w_bool(w, "hasUniqueValue", 1);
    mf_w_bool(w, "formField", 0);
    mf_w_end(w);
    return MF_CONTINUE;
}

static int made(const mf_response *a)
{
    return kit_ok(a) || mf_status(a) == 409; /* another event was faster */
}

/* ---- after the company is written ---- */

static int32_t find_contact(mf_call *c, struct company *k)
{
    mf_str email = mf_text(c, mf_field(k->event, EMAIL));

    if (!mf_is_true(mf_field(k->event, ASSOCIATE)))
        return MF_OK;
    hs_send(c, "GET",
            hs_objects(c, MF_STR("contacts"),
                       MF_JOIN(c, hs_segment(c, email),
                               MF_STR("?idProperty=email"))),
            CONTACT, k);
    return MF_CONTINUE;
}

static int32_t associate(mf_call *c, struct company *k, const mf_request *r,
                         const mf_response *a)
{
    mf_str contact = mf_text(c, mf_get(c, mf_answer_json(a), "id"));

    if (mf_status(a) == 404) /* its own event may still be on its way */
        return kit_settle(c, r, MF_RETRY,
                          MF_STR("no contact has this contactEmail yet"));
    if (!kit_ok(a))
        return MF_OK;
    hs_send(c, "PUT",
            hs_objects(c, MF_STR("companies"),
                       MF_JOIN(c, hs_segment(c, k->id),
                               MF_STR("/associations/contacts"),
                               hs_segment(c, contact),
                               MF_STR("/company_to_contact"))),
            JOIN, k);
    return MF_CONTINUE;
}

/* ---- finding the company ---- */

static int32_t create(mf_call *c, struct company *k, const mf_request *r)
{
    if (!mf_is_true(mf_field(k->event, MAY_CREATE)))
        return kit_settle(c, r, MF_DELIVERED,
                          MF_STR("there is no such company, and "
                                 "createNewCompany is off"));
    write_company(c, k);
    return MF_CONTINUE;
}

static int32_t by_key(mf_call *c, struct company *k, const mf_request *r,
                      const mf_response *a)
{
    static const char *const wanted[] = { "name", "domain", "lifecyclestage",
                                          KEY };
    mf_val fields = mf_field(k->event, SEARCH_FIELDS);

    if (hs_unknown_property(c, a, MF_STR(KEY)))
        return make_key(c, k, MAKE_KEY_LATER);
    if (kit_ok(a)) {
        k->id = mf_text(c, mf_get(c, mf_answer_json(a), "id"));
        return find_contact(c, k);
    }
    if (mf_status(a) != 404)
        return MF_OK;
    if (fields.type != MF_OBJECT || fields.len <= 2)
        return create(c, k, r);
    hs_search(c, MF_STR("companies"), fields, MF_STR("name"), wanted,
              KIT_N(wanted), SEARCH, k);
    return MF_CONTINUE;
}

static int32_t searched(mf_call *c, struct company *k, const mf_request *r,
                        const mf_response *a)
{
    int64_t total = hs_found(c, a, &k->id);

    if (!kit_ok(a))
        return MF_OK;
    if (total > 1)
        return kit_settle(c, r, MF_INVALID,
                          MF_STR("companysearchfields fit more than one "
                                 "company"));
    if (total < 1)
        return create(c, k, r);
    write_company(c, k);
    return MF_CONTINUE;
}

static int32_t written(mf_call *c, struct company *k, const mf_response *a)
{
    if (!k->key_made && hs_unknown_property(c, a, MF_STR(KEY)))
        return make_key(c, k, MAKE_KEY);
    if (!kit_ok(a))
        return MF_OK;
    if (!k->id.len)
        k->id = mf_text(c, mf_get(c, mf_answer_json(a), "id"));
    return find_contact(c, k);
}

int32_t hs_company_judge(const void *self, mf_call *c, const mf_request *r,
                         const mf_response *a)
{
    struct company *k;
    void *state;
    uint32_t step = mf_step(r, &state);

    (void)self;
    k = state;
    switch (step) {
    case BY_KEY:
        return by_key(c, k, r, a);
    case SEARCH:
        return searched(c, k, r, a);
    case WRITE:
        return written(c, k, a);
    case MAKE_KEY:
        if (!made(a))
            return MF_OK;
        k->key_made = 1;
        write_company(c, k);
        return MF_CONTINUE;
    case MAKE_KEY_LATER: /* from the start, once HubSpot knows it */
        return made(a) ? kit_settle(c, r, 500,
                                    MF_STR("the property " KEY " was missing "
                                           "and has been made"))
                       : MF_OK;
    case CONTACT:
        return associate(c, k, r, a);
    default:
        return MF_OK;
    }
}
