/* SPDX-License-Identifier: Apache-2.0
 *
 * organization.c - an organisation by its external id, and the membership of
 * the user who told of it. Names are unique in Zendesk: where the name is
 * taken by an organisation that has no external id yet, it is that one. */
#include "zendesk.h"

static const struct zd_kind kind = {
    "organization", "organizations/create_or_update", "organization_fields",
    "organization_field"
};

/* Those before CUSTOM are Zendesk's names too. */
enum {
    EXTERNAL_ID, NAME, DOMAINS, TAGS, URL, DELETED, CUSTOM, MAKE, USER_ID,
    USER_EMAIL
};
const char *const zd_organization_paths[ZD_ORGANIZATION_PATHS] = {
    [EXTERNAL_ID] = "external_id",
    [NAME] = "name",
    [DOMAINS] = "domain_names",
    [TAGS] = "tags",
    [URL] = "url",
    [DELETED] = "deleted",
    [CUSTOM] = "organization_fields",
    [MAKE] = "create_fields",
    [USER_ID] = "user_id",
    [USER_EMAIL] = "user_email",
};

/* Traits that are no custom fields, as zd_custom() spells them. */
static const char *const known[] = {
    "id", "group_id", "external_id", "name", "domain_names", "tags", "url",
    "deleted",
};

/* ---- membership ---- */

static int32_t joined(mf_call *c, struct task *t, const mf_request *r,
                      const mf_response *a)
{
    (void)t;
    if (zd_duplicate(a)) /* another event was faster */
        return kit_settle(c, r, MF_DELIVERED, MF_STR(""));
    return MF_OK;
}

static int32_t memberships(mf_call *c, struct task *t, const mf_request *r,
                           const mf_response *a)
{
    mf_val all = mf_get(c, mf_answer_json(a), "organization_memberships"), one;
    mf_iter it = { { 0 } };
    mf_writer *w;
    mf_str index;

    (void)r;
    if (!kit_ok(a))
        return MF_OK;
    while (all.type == MF_ARRAY && mf_next(c, all, &it, &index, &one)) {
        if (zd_same(c, mf_get(c, one, "organization_id"), t->id))
            return MF_OK;
    }
    w = mf_json_body(zd_send(c, "POST", MF_STR("organization_memberships"),
                             joined, t));
    mf_w_object(w, NULL);
    mf_w_object(w, "organization_membership");
    zd_w_id(c, w, "user_id", t->user);
    zd_w_id(c, w, "organization_id", t->id);
    mf_w_end(w);
    mf_w_end(w);
    return MF_CONTINUE;
}

static int32_t found(mf_call *c, struct task *t, const mf_request *r,
                     mf_val user)
{
    if (user.type == MF_ABSENT) /* its own event may still be on its way */
        return kit_settle(c, r, MF_RETRY,
                          MF_STR("Zendesk has no such user yet"));
    if (zd_same(c, mf_get(c, user, "organization_id"), t->id))
        return MF_OK;
    t->user = mf_text(c, mf_get(c, user, "id"));
    mf_query(zd_send(c, "GET",
                     zd_path(c, "users", t->user, "/organization_memberships"),
                     memberships, t),
             "page[size]", MF_STR("100"));
    return MF_CONTINUE;
}

/* ---- the organisation ---- */

static int32_t link_user(mf_call *c, struct task *t, const mf_request *r,
                         const mf_response *a)
{
    mf_str user = mf_text(c, mf_field(t->event, USER_ID));

    if (!kit_ok(a) || !user.len)
        return MF_OK;
    t->id = mf_text(c, mf_get(c, mf_answer_json(a), "organization.id"));
    if (!t->id.len)
        return kit_settle(c, r, MF_RETRY,
                          MF_STR("Zendesk did not say which organisation it "
                                 "is"));
    zd_find_user(c, t, user, mf_text(c, mf_field(t->event, USER_EMAIL)),
                 found);
    return MF_CONTINUE;
}

static void send(mf_call *c, struct task *t, const char *method, mf_str path,
                 zd_then *then)
{
    mf_writer *w = mf_json_body(zd_send(c, method, path, then, t));

    mf_w_object(w, NULL);
    mf_w_object(w, kind.name);
    zd_w_fields(w, t->event, zd_organization_paths, 0, CUSTOM);
    if (t->custom.len > 2)
        mf_w_val(w, "organization_fields", t->custom);
    mf_w_end(w);
    mf_w_end(w);
}

static int32_t namesake(mf_call *c, struct task *t, const mf_request *r,
                        const mf_response *a)
{
    mf_val all = mf_answer_json(a);
    mf_val one = mf_get(c, all, "organizations[0]");

    if (!kit_ok(a))
        return MF_OK;
    if (one.type == MF_ABSENT ||
        mf_given(mf_get(c, all, "organizations[1]")) ||
        mf_text(c, mf_get(c, one, "external_id")).len)
        return kit_settle(c, r, MF_INVALID,
                          MF_STR("another organisation has this name"));
    send(c, t, "PUT",
         zd_path(c, "organizations", mf_text(c, mf_get(c, one, "id")), ""),
         link_user);
    return MF_CONTINUE;
}

static int32_t written(mf_call *c, struct task *t, const mf_request *r,
                       const mf_response *a)
{
    mf_val name = mf_field(t->event, NAME);

    if (!zd_duplicate(a) || !mf_truthy(c, name) ||
        mf_get(c, mf_answer_json(a), "details.name").type == MF_ABSENT)
        return link_user(c, t, r, a);
    mf_query(zd_send(c, "GET", MF_STR("organizations/search"), namesake, t),
             "name", kit_trim(mf_text(c, name)));
    return MF_CONTINUE;
}

static int32_t write_organization(mf_call *c, struct task *t)
{
    send(c, t, "POST", mf_cstr(kind.upsert), written);
    return MF_CONTINUE;
}

int32_t zd_organization(const void *self, mf_call *c, const mf_event *e)
{
    struct task *t = zd_task(c, e, &kind);

    (void)self;
    if (!mf_truthy(c, mf_field(e, USER_ID)) &&
        !mf_is_true(kit_setting(c, "allowGroupWithoutUserId")))
        return mf_fail(c, MF_INVALID,
                       MF_STR("no user_id, and allowGroupWithoutUserId is "
                              "off"));
    t->left = zd_custom(c, mf_field(e, CUSTOM), known, KIT_N(known));
    return zd_with_fields(c, t, mf_is_true(mf_field(e, MAKE)),
                          write_organization);
}
