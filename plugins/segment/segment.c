/* SPDX-License-Identifier: Apache-2.0
 *
 * segment.c - events for another workspace, by Segment's Tracking API or any
 * that speaks it. A batch is one request to /v1/batch. It answers 200 for all
 * that it can read; a server of this kind names beside that what it refuses:
 *   200 {"success":true,"rejected":[{"index":1,"code":"..."}]} */
#include <manifold/kit.h>

#define EVENT_BYTES_MAX 32768

struct kind {
    mf_action base;
    const char *type;
    const char *members; /* where properties or traits stand */
};

enum {
    USER, ANONYMOUS, GROUP, TIME, MESSAGE, EVENT, PAGE_NAME, CATEGORY, SCREEN,
    PAGE, TRAITS, PROPERTIES, ADDRESS, CONSENT, CONTEXT
};
static const char *const paths[] = {
    [USER] = "user_id",
    [ANONYMOUS] = "anonymous_id",
    [GROUP] = "group_id",
    [TIME] = "timestamp",
    [MESSAGE] = "message_id",
    [EVENT] = "event_name",
    [PAGE_NAME] = "page_name",
    [CATEGORY] = "page_category",
    [SCREEN] = "screen_name",
    [PAGE] = "page",
    [TRAITS] = "traits",
    [PROPERTIES] = "properties",
    [ADDRESS] = "address",
    [CONSENT] = "consent",
    [CONTEXT] = "application", "campaign_parameters", "device", "ip_address",
    "locale", "location", "network", "operating_system", "page", "screen",
    "user_agent", "timezone",
};
static const char *const context_names[] = {
    "app", "campaign", "device", "ip", "locale", "location", "network", "os",
    "page", "screen", "userAgent", "timezone",
};
_Static_assert(CONTEXT + KIT_N(context_names) == KIT_N(paths), "a name each");

static int is(const struct kind *k, const char *type)
{
    return strcmp(k->type, type) == 0;
}

/* ---- events made of fields ---- */

static void write_context(mf_call *c, mf_writer *w, const struct kind *k,
                          const mf_event *e)
{
    mf_w_object(w, "context");
    if (is(k, "track"))
        mf_w_val(w, "traits", kit_merge(c, KIT_ABSENT, mf_field(e, TRAITS)));
    for (uint32_t i = 0; i < KIT_N(context_names); i++)
        mf_w_val(w, context_names[i], mf_field(e, CONTEXT + i));
    mf_w_val(w, "consent", kit_merge(c, KIT_ABSENT, mf_field(e, CONSENT)));
    if (!is(k, "group"))
        mf_w_val(w, "groupId", mf_field(e, GROUP));
    mf_w_end(w);
}

/* What the API wants among the properties or traits besides. */
static mf_val more_members(mf_call *c, const struct kind *k, const mf_event *e)
{
    mf_writer *w = mf_value(c);

    mf_w_object(w, NULL);
    mf_w_val(w, "address", mf_field(e, ADDRESS));
    mf_w_val(w, "name", mf_field(e, is(k, "page") ? PAGE_NAME : SCREEN));
    mf_w_val(w, "category", mf_field(e, CATEGORY));
    if (is(k, "page"))
        kit_w_others(c, w, mf_field(e, PAGE), NULL, 0, KIT_ABSENT);
    mf_w_end(w);
    return mf_done(w);
}

static mf_val made(mf_call *c, const struct kind *k, const mf_event *e)
{
    mf_val given = mf_field(e, strcmp(k->members, "traits") == 0 ? TRAITS
                                                                : PROPERTIES);
    mf_writer *w = mf_value(c);

    mf_w_object(w, NULL);
    mf_w_val(w, "userId", mf_field(e, USER));
    mf_w_val(w, "anonymousId", mf_field(e, ANONYMOUS));
    mf_w_val(w, "timestamp", mf_field(e, TIME));
    mf_w_val(w, "messageId", mf_field(e, MESSAGE));
    mf_w_val(w, "event", mf_field(e, EVENT));
    mf_w_val(w, "name", mf_field(e, is(k, "page") ? PAGE_NAME : SCREEN));
    if (is(k, "group"))
        mf_w_val(w, "groupId", mf_field(e, GROUP));
    write_context(c, w, k, e);
    mf_w_val(w, k->members, kit_merge(c, more_members(c, k, e), given));
    mf_w_str(w, "type", mf_cstr(k->type));
    mf_w_end(w);
    return mf_done(w);
}

/* ---- events as they are ---- */

/* What the server that takes an event sets itself. sentAt would have it correct
 * a clock that was corrected already. */
static const char *const servers_own[] = {
    "sentAt", "receivedAt", "originalTimestamp", "writeKey", "projectId",
    "version", "_metadata",
};

static mf_val unchanged(mf_call *c, const mf_event *e)
{
    mf_writer *w = mf_value(c);

    mf_w_object(w, NULL);
    kit_w_others(c, w, mf_field(e, 0), servers_own, KIT_N(servers_own),
                 KIT_ABSENT);
    mf_w_end(w);
    return mf_done(w);
}

/* ---- requests and answers ---- */

static const char *fault_of(mf_call *c, mf_val event)
{
    if (!mf_truthy(c, mf_get(c, event, "userId")) &&
        !mf_truthy(c, mf_get(c, event, "anonymousId")))
        return "an event needs a user id or an anonymous id";
    if (event.len > EVENT_BYTES_MAX)
        return "the Tracking API takes events of 32 KB at most";
    return NULL;
}

static int32_t send_batch(const void *self, mf_call *c,
                          const mf_event *const *events, uint32_t n)
{
    const struct kind *k = (const struct kind *)mf_action_of(c);
    mf_str region = kit_setting_text(c, "region");
    mf_request *r = NULL;
    mf_writer *w = NULL;

    (void)self;
    for (uint32_t i = 0; i < n; i++) {
        mf_val event = k->type ? made(c, k, events[i])
                               : unchanged(c, events[i]);
        const char *fault = fault_of(c, event);

        if (fault) {
            mf_result(c, i, MF_INVALID, mf_cstr(fault));
            continue;
        }
        if (!region.len) { /* no destination runs so: it is required */
            mf_result(c, i, MF_SKIP, MF_STR("no region is set"));
            continue;
        }
        if (!r) {
            r = mf_send(c, "POST", MF_JOIN(c, MF_STR("https://"), region,
                                           MF_STR("/v1/batch")));
            w = mf_json_body(r);
            mf_w_object(w, NULL);
            mf_w_array(w, "batch");
        }
        mf_covers(r, i);
        mf_w_val(w, NULL, event);
    }
    if (r) {
        mf_w_end(w);
        mf_w_end(w);
    }
    return MF_OK;
}

static int32_t send_one(const void *self, mf_call *c, const mf_event *e)
{
    return send_batch(self, c, &e, 1);
}

static int32_t judge(const void *self, mf_call *c, const mf_request *r,
                     const mf_response *a)
{
    mf_val rejected = mf_get(c, mf_answer_json(a), "rejected"), one;
    mf_iter it = { { 0 } };
    mf_str index;

    (void)self;
    while (mf_status(a) == 200 && mf_next(c, rejected, &it, &index, &one)) {
        int64_t k = mf_integer(c, mf_get(c, one, "index"), -1);
        uint32_t event = k < 0 || k >= MF_ALL ? MF_ALL
                                              : mf_covered(r, (uint32_t)k);

        if (event != MF_ALL)
            mf_result(c, event, MF_INVALID,
                      mf_text(c, mf_get(c, one, "code")));
    }
    return MF_OK;
}

static const char *const event_path[] = { "event" };

#define KIND(SLUG, PATHS, TYPE, MEMBERS)                                       \
    { .base = { .slug = SLUG, .paths = PATHS, .path_count = KIT_N(PATHS),      \
                .perform = send_one, .perform_batch = send_batch,              \
                .judge = judge },                                              \
      .type = TYPE, .members = MEMBERS }

static const struct kind kinds[] = {
    KIND("forward", event_path, NULL, NULL),
    KIND("sendIdentify", paths, "identify", "traits"),
    KIND("sendGroup", paths, "group", "traits"),
    KIND("sendTrack", paths, "track", "properties"),
    KIND("sendPage", paths, "page", "properties"),
    KIND("sendScreen", paths, "screen", "properties"),
};

MF_EXPORT const mf_destination mf_destination_v1 = {
    .size = sizeof(mf_destination), .abi_minor = MF_ABI_MINOR,
    .action_size = sizeof(struct kind), .actions = &kinds[0].base,
    .action_count = KIT_N(kinds),
};
