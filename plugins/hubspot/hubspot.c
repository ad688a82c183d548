/* SPDX-License-Identifier: Apache-2.0
 *
 * hubspot.c - contacts, companies, records of any object, and events for
 * HubSpot. API: developers.hubspot.com, CRM objects v3, associations v4, lists
 * v3, events v3. Batches of at most 100 inputs; a 4xx refuses a batch as a
 * whole, so that such a batch is halved and sent again. */
#include "hubspot.h"

enum { NAME, TIME, EMAIL, UTK, OBJECT_ID, PROPERTIES };
static const char *const behavioral_paths[] = {
    [NAME] = "eventName",
    [TIME] = "occurredAt",
    [EMAIL] = "email",
    [UTK] = "utk",
    [OBJECT_ID] = "objectId",
    [PROPERTIES] = "properties",
};

/* An event that was defined in HubSpot: "pe" and the account's id come before
 * its name. */
static int32_t behavioral(const void *self, mf_call *c, const mf_event *e)
{
    mf_str portal = kit_setting_text(c, "portalId");
    mf_str prefix = MF_JOIN(c, MF_STR("pe"), portal, MF_STR("_"));
    mf_writer *w;

    (void)self;
    if (portal.len && !kit_starts(mf_text(c, mf_field(e, NAME)), prefix))
        return mf_fail(c, MF_INVALID,
                       MF_JOIN(c, MF_STR("eventName must begin with "),
                               prefix));
    if (!mf_truthy(c, mf_field(e, EMAIL)) && !mf_truthy(c, mf_field(e, UTK)) &&
        !mf_truthy(c, mf_field(e, OBJECT_ID)))
        return mf_fail(c, MF_INVALID,
                       MF_STR("one of email, utk and objectId is needed"));
    w = mf_json_body(hs_send(c, "POST", MF_STR("/events/v3/send"), 0, NULL));
    mf_w_object(w, NULL);
    for (uint32_t i = NAME; i < PROPERTIES; i++)
        mf_w_val(w, behavioral_paths[i], mf_field(e, i));
    mf_w_val(w, "properties", hs_flat_members(c, mf_field(e, PROPERTIES)));
    mf_w_end(w);
    return MF_OK;
}

static const mf_action actions[] = {
    { .slug = "sendCustomBehavioralEvent", .paths = behavioral_paths,
      .path_count = KIT_N(behavioral_paths), .perform = behavioral },
    { .slug = "upsertContact", .paths = hs_contact_paths,
      .path_count = HS_CONTACT_PATHS, .perform = hs_contact,
      .perform_batch = hs_contacts, .judge = hs_contact_judge },
    { .slug = "upsertCompany", .paths = hs_company_paths,
      .path_count = HS_COMPANY_PATHS, .perform = hs_company,
      .judge = hs_company_judge },
    { .slug = "upsertCustomObjectRecord", .paths = hs_record_paths,
      .path_count = HS_RECORD_PATHS, .perform = hs_record,
      .judge = hs_record_judge },
    { .slug = "upsertObject", .paths = hs_object_paths,
      .path_count = HS_OBJECT_PATHS, .perform = hs_object,
      .perform_batch = hs_objects_batch, .judge = hs_object_judge },
    { .slug = "customEvent", .paths = hs_event_paths,
      .path_count = HS_EVENT_PATHS, .perform = hs_event,
      .judge = hs_event_judge },
};

MF_DESTINATION(actions);
