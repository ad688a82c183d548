/* SPDX-License-Identifier: Apache-2.0
 *
 * user.c - a user, made or updated in one call, so that Zendesk itself looks
 * whether there is one of that external id or e-mail address. Then, where
 * wanted, a new e-mail address is made the first one, and the user leaves an
 * organisation. */
#include "zendesk.h"

static const struct zd_kind kind = { "user", "users/create_or_update",
                                     "user_fields", "user_field" };

/* Those before ORGANIZATION are Zendesk's names too. */
enum {
    EXTERNAL_ID, EMAIL, PHONE, TIME_ZONE, ORGANIZATION, NAME,
    FIRST_NAME, LAST_NAME, CUSTOM, MAKE, SILENT, PRIMARY, LEAVE, LEAVE_ID
};
const char *const zd_user_paths[ZD_USER_PATHS] = {
    [EXTERNAL_ID] = "external_id",
    [EMAIL] = "email",
    [PHONE] = "phone",
    [TIME_ZONE] = "time_zone",
    [ORGANIZATION] = "organization_id",
    [NAME] = "name",
    [FIRST_NAME] = "first_name",
    [LAST_NAME] = "last_name",
    [CUSTOM] = "user_fields",
    [MAKE] = "create_fields",
    [SILENT] = "skip_verify_email",
    [PRIMARY] = "make_email_primary",
    [LEAVE] = "leave_organization",
    [LEAVE_ID] = "organization_to_leave",
};

/* Traits that are no custom fields, as zd_custom() spells them. */
static const char *const known[] = {
    "id", "user_id", "external_id", "email", "name", "first_name",
    "last_name", "organization_id", "timezone", "time_zone", "phone",
    "company",
};

static mf_str text(mf_call *c, struct task *t, uint32_t field)
{
    return mf_text(c, mf_field(t->event, field));
}

/* ---- leaving an organisation ---- */

static int leaves(mf_call *c, struct task *t)
{
    return mf_is_true(kit_setting(c, "removeUsersFromOrganizations")) &&
           mf_is_true(mf_field(t->event, LEAVE)) &&
           text(c, t, LEAVE_ID).len;
}

static int32_t left(mf_call *c, struct task *t, const mf_request *r,
                    const mf_response *a)
{
    (void)t;
    if (mf_status(a) == 404) /* the user was not in it */
        return kit_settle(c, r, MF_DELIVERED, MF_STR(""));
    return MF_OK;
}

/* The id is that of the events, or else Zendesk's own. */
static int32_t organization(mf_call *c, struct task *t, const mf_request *r,
                            const mf_response *a)
{
    mf_str id = mf_text(c, mf_get(c, mf_answer_json(a),
                                  "organizations[0].id"));

    if (!kit_ok(a))
        return MF_OK;
    if (!id.len)
        id = text(c, t, LEAVE_ID);
    if (mf_parse(c, id).type != MF_NUMBER)
        return kit_settle(c, r, MF_DELIVERED,
                          MF_STR("there is no such organisation to leave"));
    zd_send(c, "DELETE",
            MF_JOIN(c, zd_path(c, "users", t->user, "/"),
                    zd_path(c, "organizations", id, "")),
            left, t);
    return MF_CONTINUE;
}

static int32_t leave(mf_call *c, struct task *t)
{
    if (!leaves(c, t))
        return MF_OK;
    mf_query(zd_send(c, "GET", MF_STR("organizations/search"), organization,
                     t),
             "external_id", text(c, t, LEAVE_ID));
    return MF_CONTINUE;
}

/* ---- the first e-mail address ---- */

static int32_t made_primary(mf_call *c, struct task *t, const mf_request *r,
                            const mf_response *a)
{
    (void)r;
    return kit_ok(a) ? leave(c, t) : MF_OK;
}

static int32_t identities(mf_call *c, struct task *t, const mf_request *r,
                          const mf_response *a)
{
    mf_val all = mf_get(c, mf_answer_json(a), "identities"), one;
    mf_iter it = { { 0 } };
    mf_str index;

    (void)r;
    if (!kit_ok(a))
        return MF_OK;
    while (all.type == MF_ARRAY && mf_next(c, all, &it, &index, &one)) {
        mf_str id = mf_text(c, mf_get(c, one, "id"));

        if (!zd_same(c, mf_get(c, one, "type"), MF_STR("email")) ||
            !zd_same(c, mf_get(c, one, "value"), text(c, t, EMAIL)))
            continue;
        zd_send(c, "PUT",
                MF_JOIN(c, zd_path(c, "users", t->user, "/"),
                        zd_path(c, "identities", id, "/make_primary")),
                made_primary, t);
        return MF_CONTINUE;
    }
    return leave(c, t);
}

/* ---- writing ---- */

static int32_t written(mf_call *c, struct task *t, const mf_request *r,
                       const mf_response *a)
{
    mf_val user = mf_get(c, mf_answer_json(a), "user");
    int other = mf_is_true(mf_field(t->event, PRIMARY)) &&
                text(c, t, EMAIL).len &&
                !zd_same(c, mf_get(c, user, "email"), text(c, t, EMAIL));

    t->user = mf_text(c, mf_get(c, user, "id"));
    if (!kit_ok(a))
        return MF_OK;
    if (!other && !leaves(c, t))
        return MF_OK;
    if (!t->user.len)
        return kit_settle(c, r, MF_RETRY,
                          MF_STR("Zendesk did not say which user it is"));
    if (!other)
        return leave(c, t);
    zd_send(c, "GET", zd_path(c, "users", t->user, "/identities"), identities,
            t);
    return MF_CONTINUE;
}

static mf_str full_name(mf_call *c, struct task *t)
{
    mf_str name = text(c, t, NAME);

    return name.len ? name
                    : kit_trim(MF_JOIN(c, text(c, t, FIRST_NAME), MF_STR(" "),
                                       text(c, t, LAST_NAME)));
}

static int32_t write_user(mf_call *c, struct task *t)
{
    mf_request *r = zd_send(c, "POST", mf_cstr(kind.upsert), written, t);
    mf_str organization_id = text(c, t, ORGANIZATION);
    mf_str name = full_name(c, t);
    mf_writer *w = mf_json_body(r);

    if (leaves(c, t) && mf_eq(organization_id, text(c, t, LEAVE_ID)))
        organization_id.len = 0;
    mf_w_object(w, NULL);
    mf_w_object(w, kind.name);
    zd_w_fields(w, t->event, zd_user_paths, 0, ORGANIZATION);
    zd_w_id(c, w, "organization_id", organization_id);
    if (name.len)
        mf_w_str(w, "name", name);
    mf_w_bool(w, "verified", mf_is_true(kit_setting(c, "verified")));
    if (t->custom.len > 2)
        mf_w_val(w, "user_fields", t->custom);
    mf_w_end(w);
    mf_w_val(w, "skip_verify_email", mf_field(t->event, SILENT));
    mf_w_end(w);
    return MF_CONTINUE;
}

int32_t zd_user(const void *self, mf_call *c, const mf_event *e)
{
    struct task *t = zd_task(c, e, &kind);

    (void)self;
    if (!text(c, t, EXTERNAL_ID).len && !text(c, t, EMAIL).len)
        return mf_fail(c, MF_INVALID,
                       MF_STR("one of external_id and email is needed"));
    t->left = zd_custom(c, mf_field(e, CUSTOM), known, KIT_N(known));
    return zd_with_fields(c, t, mf_is_true(mf_field(e, MAKE)), write_user);
}
