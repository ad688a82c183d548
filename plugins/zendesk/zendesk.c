/* SPDX-License-Identifier: Apache-2.0
 *
 * zendesk.c - users, organisations and memberships, events in the timeline of
 * a user, comments on tickets. API: developer.zendesk.com, Ticketing. What two
 * events change at the same time is refused with 409 and tried again; 429
 * says with Retry-After when, and the host waits for it. */
#include "zendesk.h"

struct step {
    zd_then *then;
    struct task *task;
};

struct task *zd_task(mf_call *c, const mf_event *e,
                     const struct zd_kind *kind)
{
    struct task *t = mf_alloc(c, sizeof *t);

    t->event = e;
    t->kind = kind;
    return t;
}

static mf_str url(mf_call *c, const char *path)
{
    return MF_JOIN(c, MF_STR("https://"), kit_setting_text(c, "subdomain"),
                   MF_STR(".zendesk.com"), mf_cstr(path));
}

mf_request *zd_send(mf_call *c, const char *method, mf_str path,
                    zd_then *then, struct task *t)
{
    mf_request *r =
        mf_send(c, method, MF_JOIN(c, url(c, "/api/v2/"), path));
    struct step *s = mf_alloc(c, sizeof *s);

    s->then = then;
    s->task = t;
    mf_tag(r, 0, s);
    return r;
}

mf_str zd_path(mf_call *c, const char *of, mf_str id, const char *tail)
{
    return MF_JOIN(c, mf_cstr(of), MF_STR("/"),
                   mf_encode(c, MF_PERCENT, id), mf_cstr(tail));
}

int zd_duplicate(const mf_response *a)
{
    return mf_status(a) == 422 &&
           kit_has(mf_answer_bytes(a), MF_STR("DuplicateValue"));
}

void zd_w_id(mf_call *c, mf_writer *w, const char *key, mf_str id)
{
    mf_val number = mf_parse(c, id);

    if (number.type == MF_NUMBER)
        mf_w_val(w, key, number);
    else if (id.len)
        mf_w_str(w, key, id);
}

void zd_w_fields(mf_writer *w, const mf_event *e, const char *const *paths,
                 size_t from, size_t to)
{
    for (size_t i = from; i < to; i++)
        mf_w_val(w, paths[i], mf_field(e, (uint32_t)i));
}

/* Zendesk's own words for what it refuses, or "":
 *   {"error":"RecordInvalid","description":"Record validation errors",
 *    "details":{"email":[{"description":"Email: x is not ..."}]}}
 * Others have {"errors":[{"title":"..."}]} or {"error":{"message":"..."}}. */
static mf_str words(mf_call *c, const mf_response *a)
{
    static const char *const places[] = { "description", "error.message",
                                          "errors[0].title", "error" };
    mf_val all = mf_answer_json(a), details = mf_get(c, all, "details"), one;
    mf_str why = { "", 0 }, key;
    mf_iter it = { { 0 } };

    if (details.type == MF_OBJECT && mf_next(c, details, &it, &key, &one))
        why = mf_text(c, mf_get(c, one, "[0].description"));
    for (size_t i = 0; i < KIT_N(places) && !why.len; i++)
        why = mf_text(c, mf_get(c, all, places[i]));
    return why;
}

static int32_t judge(const void *self, mf_call *c, const mf_request *r,
                     const mf_response *a)
{
    int32_t result = MF_OK;
    struct step *s;
    void *state;

    (void)self;
    mf_step(r, &state);
    s = state;
    if (mf_status(a) == 409)
        return kit_settle(c, r, MF_RETRY,
                          MF_STR("changed by another at the same time"));
    if (s->then)
        result = s->then(c, s->task, r, a);
    return result == MF_OK ? kit_refuse(c, r, mf_status(a), words(c, a))
                           : result;
}

/* ---- credentials ---- */

static int is_set(mf_call *c, const char *key)
{
    return kit_setting_text(c, key).len != 0;
}

static void *create(mf_call *c)
{
    if (!(is_set(c, "email") && is_set(c, "password")) &&
        !(is_set(c, "clientId") && is_set(c, "clientSecret")) &&
        !is_set(c, "accessToken"))
        mf_fail(c, MF_INVALID,
                MF_STR("set email and password, or clientId and "
                       "clientSecret, or accessToken"));
    return NULL;
}

/* Zendesk wants JSON here, where others have a form. */
static int32_t fetch_token(const void *self, mf_call *c, const mf_event *e)
{
    mf_val auth = mf_meta(c, MF_META_AUTH);
    mf_request *r = mf_send(c, "POST", url(c, "/oauth/tokens"));
    mf_writer *w = mf_json_body(r);

    (void)self;
    (void)e;
    mf_option(r, MF_OPT_NO_AUTH, 1);
    mf_w_object(w, NULL);
    mf_w_str(w, "grant_type", MF_STR("client_credentials"));
    mf_w_val(w, "client_id", mf_get(c, auth, "clientId"));
    mf_w_val(w, "client_secret", mf_get(c, auth, "clientSecret"));
    mf_w_str(w, "scope", MF_STR("read write"));
    mf_w_end(w);
    return MF_OK;
}

#define ACTION(SLUG, NAME, PATHS)                                              \
    { .slug = SLUG, .paths = NAME##_paths, .path_count = PATHS,                \
      .perform = NAME, .judge = judge }
static const mf_action actions[] = {
    ACTION("createOrUpdateUser", zd_user, ZD_USER_PATHS),
    ACTION("createOrUpdateOrganization", zd_organization,
           ZD_ORGANIZATION_PATHS),
    ACTION("trackEvent", zd_event, ZD_EVENT_PATHS),
    ACTION("addTicketComment", zd_ticket, ZD_TICKET_PATHS),
    { .slug = "refreshAccessToken", .perform = fetch_token },
};

MF_EXPORT const mf_destination mf_destination_v1 = {
    MF_HEADER, .actions = actions, .action_count = KIT_N(actions),
    .create = create,
};
