/* SPDX-License-Identifier: Apache-2.0
 *
 * contact.c - one contact, by e-mail: updated, and created where there is
 * none. A stage of its life that lies behind its present one is taken only
 * when the present one was cleared before. */
#include "hubspot.h"

enum { EMAIL, STAGE = 11, PROPERTIES };
const char *const hs_contact_paths[HS_CONTACT_PATHS] = {
    "email", "company", "firstname", "lastname", "phone", "address", "city",
    "state", "country", "zip", "website", "lifecyclestage", "properties",
};

mf_val hs_contact_properties(mf_call *c, const mf_event *e)
{
    return hs_properties(c, e, hs_contact_paths, PROPERTIES,
                         mf_field(e, PROPERTIES));
}

mf_str hs_contact_email(mf_call *c, const mf_event *e)
{
    return mf_text(c, mf_field(e, EMAIL));
}

mf_str hs_stage(mf_call *c, mf_val properties)
{
    return mf_text(c, kit_member(c, properties, MF_STR("lifecyclestage")));
}

struct contact {
    mf_str path, stage;
    mf_val properties;
};

static void update(mf_call *c, const struct contact *k, mf_val properties,
                   uint32_t step)
{

    hs_properties_body(hs_send(c, "PATCH", k->path, step, (void *)k),
                       properties, KIT_ABSENT);
}

int32_t hs_contact(const void *self, mf_call *c, const mf_event *e)
{
    struct contact *k = mf_alloc(c, sizeof *k);

    (void)self;
    k->properties = hs_contact_properties(c, e);
    k->stage = hs_stage(c, k->properties);
    k->path = hs_objects(c, MF_STR("contacts"),
                         MF_JOIN(c, hs_segment(c, hs_contact_email(c, e)),
                                 MF_STR("?idProperty=email")));
    update(c, k, k->properties, CONTACT_UPDATE);
    return MF_OK;
}

static int32_t updated(mf_call *c, const struct contact *k,
                       const mf_response *a)
{
    mf_str stage = mf_text(c, mf_get(c, mf_answer_json(a),
                                     "properties.lifecyclestage"));

    if (mf_status(a) == 404) {
        hs_properties_body(hs_send(c, "POST",
                                   MF_STR("/crm/v3/objects/contacts"),
                                   CONTACT_CREATE, (void *)k),
                           k->properties, KIT_ABSENT);
        return MF_CONTINUE;
    }
    if (!kit_ok(a) || !k->stage.len || mf_eq(stage, k->stage))
        return MF_OK;
    update(c, k, mf_parse(c, MF_STR("{\"lifecyclestage\":\"\"}")),
           CONTACT_RESET);
    return MF_CONTINUE;
}

int32_t hs_contact_judge(const void *self, mf_call *c, const mf_request *r,
                         const mf_response *a)
{
    const struct contact *k;
    void *state;

    (void)self;
    switch (mf_step(r, &state)) {
    case CONTACT_UPDATE:
        return updated(c, state, a);
    case CONTACT_CREATE: /* another event made it meanwhile */
        return mf_status(a) == 409 ? kit_settle(c, r, MF_RETRY,
                                                hs_message(c, a))
                                   : MF_OK;
    case CONTACT_RESET:
        k = state;
        if (!kit_ok(a))
            return MF_OK;
        update(c, k, k->properties, CONTACT_AGAIN);
        return MF_CONTINUE;
    case CONTACT_AGAIN:
        return MF_OK;
    default:
        return hs_contacts_judge(c, r, a);
    }
}
