/* SPDX-License-Identifier: Apache-2.0
 *
 * event.c - an event in the timeline of a user, who is looked up first: told
 * of somebody it does not know, Zendesk would make a user without a name. */
#include "zendesk.h"

enum {
    TYPE, SOURCE, DESCRIPTION, CREATED, PROPERTIES, EXTERNAL_ID, EMAIL,
    PROFILE_TYPE, PROFILE_NAME
};
const char *const zd_event_paths[ZD_EVENT_PATHS] = {
    [TYPE] = "type",
    [SOURCE] = "source",
    [DESCRIPTION] = "description",
    [CREATED] = "created_at",
    [PROPERTIES] = "properties",
    [EXTERNAL_ID] = "external_id",
    [EMAIL] = "email",
    [PROFILE_TYPE] = "profile_type",
    [PROFILE_NAME] = "profile_name",
};

/* Without the setting all are. */
static int is_wanted(mf_call *c, mf_val type)
{
    mf_val events = kit_setting(c, "events"), one;
    mf_iter it = { { 0 } };
    mf_str index, name = mf_text(c, type);

    if (events.type != MF_ARRAY)
        return 1;
    while (mf_next(c, events, &it, &index, &one)) {
        if (mf_eq(mf_text(c, one), name))
            return 1;
    }
    return 0;
}

static void w_profile(mf_writer *w, const mf_event *e)
{
    mf_val email = mf_field(e, EMAIL);
    int by_email = mf_given(email);

    mf_w_object(w, "profile");
    mf_w_val(w, "type", mf_field(e, PROFILE_TYPE));
    mf_w_val(w, "source", mf_field(e, SOURCE));
    mf_w_val(w, "name", mf_field(e, PROFILE_NAME));
    mf_w_array(w, "identifiers");
    mf_w_object(w, NULL);
    mf_w_str(w, "type", by_email ? MF_STR("email") : MF_STR("external_id"));
    mf_w_val(w, "value", by_email ? email : mf_field(e, EXTERNAL_ID));
    mf_w_end(w);
    mf_w_end(w);
    mf_w_end(w);
}

static int32_t found(mf_call *c, struct task *t, const mf_request *r,
                     mf_val user)
{
    mf_val properties = mf_field(t->event, PROPERTIES);
    mf_str id = mf_text(c, mf_get(c, user, "id"));
    mf_writer *w;

    if (!id.len)
        return kit_settle(c, r, ZD_NOT_FOUND,
                          MF_STR("Zendesk has no such user"));
    w = mf_json_body(zd_send(c, "POST", zd_path(c, "users", id, "/events"),
                             NULL, t));
    mf_w_object(w, NULL);
    mf_w_object(w, "event");
    zd_w_fields(w, t->event, zd_event_paths, TYPE, PROPERTIES);
    mf_w_val(w, "properties",
             mf_given(properties) ? properties : ZD_NOTHING);
    mf_w_end(w);
    w_profile(w, t->event);
    mf_w_end(w);
    return MF_CONTINUE;
}

int32_t zd_event(const void *self, mf_call *c, const mf_event *e)
{
    mf_str id = mf_text(c, mf_field(e, EXTERNAL_ID));
    mf_str email = mf_text(c, mf_field(e, EMAIL));

    (void)self;
    if (!is_wanted(c, mf_field(e, TYPE)) || (!id.len && !email.len))
        return MF_SKIP;
    zd_find_user(c, zd_task(c, e, NULL), id, email, found);
    return MF_OK;
}
