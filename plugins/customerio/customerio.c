/* SPDX-License-Identifier: Apache-2.0
 *
 * customerio.c - people, objects, devices and events for Customer.io.
 *
 * API: https://docs.customer.io/integrations/api/track/tag/track_v2/. One
 * change of a person or an object is an entity; /api/v2/entity takes one,
 * /api/v2/batch an array of them. It takes the good ones, and names the others
 * under 207:
 *   {"errors":[{"batch_index":1,"reason":"invalid","field":"identifiers.id",
 *               "message":"..."}]} */
#include <manifold/kit.h>

enum {
    PERSON_ID, ID, EMAIL, ANONYMOUS_ID, TIMESTAMP, CONVERT, NAME, URL, EVENT_ID,
    DATA, CUSTOM, CREATED, GROUP, OBJECT, OBJECT_TYPE, USER, RELATIONSHIP,
    DEVICE, PLATFORM, LAST_USED, APP_VERSION, ATTRIBUTES, PRIMARY, SECONDARY,
    CONTENT_ACTION, DELIVERY, METRIC, RECIPIENT, REASON, LINK, ACTION_NAME,
    ACTION_VALUE
};
static const char *const paths[] = {
    [PERSON_ID] = "person_id",
    [ID] = "id",
    [EMAIL] = "email",
    [ANONYMOUS_ID] = "anonymous_id",
    [TIMESTAMP] = "timestamp",
    [CONVERT] = "convert_timestamp",
    [NAME] = "name",
    [URL] = "url",
    [EVENT_ID] = "event_id",
    [DATA] = "data",
    [CUSTOM] = "custom_attributes",
    [CREATED] = "created_at",
    [GROUP] = "group_id",
    [OBJECT] = "object_id",
    [OBJECT_TYPE] = "object_type_id",
    [USER] = "user_id",
    [RELATIONSHIP] = "relationship_attributes",
    [DEVICE] = "device_id",
    [PLATFORM] = "platform",
    [LAST_USED] = "last_used",
    [APP_VERSION] = "app_version",
    [ATTRIBUTES] = "attributes",
    [PRIMARY] = "primary",
    [SECONDARY] = "secondary",
    [CONTENT_ACTION] = "actionType",
    [DELIVERY] = "delivery_id",
    [METRIC] = "metric",
    [RECIPIENT] = "recipient",
    [REASON] = "reason",
    [LINK] = "href",
    [ACTION_NAME] = "action_name",
    [ACTION_VALUE] = "action_value",
};

struct cio_action {
    mf_action base;
    const char *type, *action; /* of the entity */
    uint32_t who;              /* the field that names the person */
    void (*write)(mf_call *, mf_writer *, const mf_event *);
};

static const struct cio_action *action_of(const mf_call *c)
{
    return (const struct cio_action *)mf_action_of(c);
}

static mf_str url_of(mf_call *c, mf_str path)
{
    mf_str region = kit_setting_text(c, "accountRegion");

    return MF_JOIN(c, kit_starts(region, MF_STR("EU"))
                          ? MF_STR("https://track-eu.customer.io")
                          : MF_STR("https://track.customer.io"),
                   path);
}

/* ---- dates ----
 * They go out as Unix seconds. Only ISO 8601 is taken for a date, no number in a
 * string and nothing written otherwise. */

static int is_date(mf_call *c, mf_val v, int64_t *seconds)
{
    int64_t ms = v.type == MF_STRING ? mf_time(c, v, INT64_MIN) : INT64_MIN;

    if (ms == INT64_MIN || (v.len > 12 && v.raw[11] != 'T'))
        return 0;
    *seconds = ms / 1000 - (ms % 1000 < 0);
    return 1;
}

static void put_date(mf_call *c, mf_writer *w, const char *key, mf_val v,
                     int convert)
{
    int64_t seconds;

    if (convert && is_date(c, v, &seconds))
        mf_w_int(w, key, seconds);
    else
        mf_w_val(w, key, v);
}

static int converts(const mf_event *e)
{
    mf_val convert = mf_field(e, CONVERT);

    return !mf_given(convert) || mf_is_true(convert);
}

/* The members of an object but those in names; dates as seconds, also in
 * objects within, if it is to be so. */
static void put_members(mf_call *c, mf_writer *w, mf_val from,
                        const char *const *names, size_t count, int convert)
{
    mf_iter it = { { 0 } };
    mf_val value;
    mf_str key;

    while (from.type == MF_OBJECT && mf_next(c, from, &it, &key, &value)) {
        if (kit_index(key, names, count) < count)
            continue;
        mf_w_key(w, key);
        if (value.type == MF_OBJECT && convert) {
            mf_w_object(w, NULL);
            put_members(c, w, value, NULL, 0, convert);
            mf_w_end(w);
        } else {
            put_date(c, w, NULL, value, convert);
        }
    }
}

/* The field under that name, or else what the attributes have there. */
static void put_either(mf_call *c, mf_writer *w, const mf_event *e,
                       uint32_t field, mf_val attributes)
{
    mf_val v = mf_field(e, field);

    if (!mf_truthy(c, v))
        v = kit_member(c, attributes, mf_cstr(paths[field]));
    put_date(c, w, paths[field], v, field == CREATED && converts(e));
}

/* ---- who ---- */

/* Something before one @, and something with a dot in it behind. */
static int is_email(mf_str s)
{
    size_t at = kit_find(s, MF_STR("@")), dot;
    mf_str domain;

    if (at == 0 || at == s.len || kit_has(s, MF_STR(" ")))
        return 0;
    domain = (mf_str){ s.ptr + at + 1, s.len - at - 1 };
    dot = kit_find(domain, MF_STR("."));
    return dot > 0 && dot + 1 < domain.len && !kit_has(domain, MF_STR("@"));
}

static void put_person(mf_call *c, mf_writer *w, const char *key, mf_val id)
{
    mf_str text = mf_text(c, id);

    mf_w_object(w, key);
    if (kit_starts(text, MF_STR("cio_")))
        mf_w_str(w, "cio_id", (mf_str){ text.ptr + 4, text.len - 4 });
    else
        mf_w_str(w, is_email(text) ? "email" : "id", text);
    mf_w_end(w);
}

/* Whether it is known who, and not by the anonymous id alone. */
static int is_known(mf_call *c, const mf_event *e)
{
    return mf_truthy(c, mf_field(e, action_of(c)->who));
}

/* By the first that is given: an id, an address, an anonymous id. */
static void put_identifiers(mf_call *c, mf_writer *w, const mf_event *e)
{
    uint32_t k = mf_truthy(c, mf_field(e, EMAIL)) ? EMAIL : ANONYMOUS_ID;

    if (is_known(c, e)) {
        put_person(c, w, "identifiers", mf_field(e, action_of(c)->who));
    } else if (mf_truthy(c, mf_field(e, k))) {
        mf_w_object(w, "identifiers");
        mf_w_val(w, paths[k], mf_field(e, k));
        mf_w_end(w);
    }
}

static void put_object(mf_call *c, mf_writer *w, mf_val id, mf_val type)
{
    if (!mf_truthy(c, id))
        return;
    mf_w_object(w, "identifiers");
    mf_w_val(w, "object_id", id);
    mf_w_str(w, "object_type_id",
             mf_truthy(c, type) ? mf_text(c, type) : MF_STR("1"));
    mf_w_end(w);
}

static void put_relationship_attributes(mf_call *c, mf_writer *w,
                                        const mf_event *e)
{
    if (!mf_given(mf_field(e, RELATIONSHIP)))
        return;
    mf_w_object(w, paths[RELATIONSHIP]);
    put_members(c, w, mf_field(e, RELATIONSHIP), NULL, 0, converts(e));
    mf_w_end(w);
}

/* ---- entities: what follows type and action ---- */

static void write_person(mf_call *c, mf_writer *w, const mf_event *e)
{
    static const char *const own[] = { "createdAt", "created_at", "email",
                                       "anonymous_id", "object_type_id",
                                       "relationshipAttributes" };
    mf_val custom = mf_field(e, CUSTOM), group = mf_field(e, GROUP);

    mf_w_object(w, "attributes");
    put_members(c, w, custom, own, KIT_N(own), converts(e));
    if (mf_truthy(c, mf_field(e, CREATED)))
        put_either(c, w, e, CREATED, KIT_ABSENT);
    put_either(c, w, e, EMAIL, custom);
    put_either(c, w, e, ANONYMOUS_ID, custom);
    mf_w_end(w);
    if (mf_truthy(c, group)) {
        mf_w_array(w, "cio_relationships");
        mf_w_object(w, NULL);
        put_object(c, w, group, mf_field(e, OBJECT_TYPE));
        put_relationship_attributes(c, w, e);
        mf_w_end(w);
        mf_w_end(w);
    }
    put_identifiers(c, w, e);
}

/* Events, pages, screens, and what was done with content. */
static void write_event(mf_call *c, mf_writer *w, const mf_event *e)
{
    mf_val data = mf_field(e, DATA), content = mf_field(e, CONTENT_ACTION);
    int known = is_known(c, e) && mf_truthy(c, mf_field(e, ANONYMOUS_ID));
    const char *own[2];
    size_t count = 0;

    if (known)
        own[count++] = "anonymous_id";
    if (mf_given(content))
        own[count++] = "actionType";
    mf_w_val(w, "name", mf_field(e, NAME));
    mf_w_val(w, "name", mf_field(e, URL));
    mf_w_val(w, "name", content);
    mf_w_val(w, "id", mf_field(e, EVENT_ID));
    if (mf_given(data) || known) {
        mf_w_object(w, "attributes");
        put_members(c, w, data, own, count, converts(e));
        if (known)
            mf_w_val(w, "anonymous_id", mf_field(e, ANONYMOUS_ID));
        mf_w_end(w);
    }
    put_identifiers(c, w, e);
}

static void write_device(mf_call *c, mf_writer *w, const mf_event *e)
{
    static const char *const own[] = { "app_version" };
    mf_val version = mf_field(e, APP_VERSION);

    mf_w_object(w, "device");
    mf_w_val(w, "token", mf_field(e, DEVICE));
    if (mf_given(mf_field(e, PLATFORM))) {
        mf_w_val(w, "platform", mf_field(e, PLATFORM));
        put_date(c, w, "last_used", mf_field(e, LAST_USED), converts(e));
        mf_w_object(w, "attributes");
        put_members(c, w, mf_field(e, ATTRIBUTES), own,
                    (size_t)mf_given(version), converts(e));
        mf_w_val(w, "app_version", version);
        mf_w_end(w);
    }
    mf_w_end(w);
    put_identifiers(c, w, e);
}

/* An object, and the person who belongs to it or is to be parted from it. */
static void write_object(mf_call *c, mf_writer *w, const mf_event *e)
{
    static const char *const own[] = { "created_at", "anonymous_id" };
    int identify = action_of(c)->who == USER;
    int anonymous = mf_truthy(c, mf_field(e, ANONYMOUS_ID));
    mf_val custom = mf_field(e, CUSTOM);

    if (identify || anonymous) {
        mf_w_object(w, "attributes");
        put_members(c, w, custom, own, KIT_N(own), converts(e));
        put_either(c, w, e, CREATED, custom);
        put_either(c, w, e, ANONYMOUS_ID, custom);
        mf_w_end(w);
    }
    if (is_known(c, e) || anonymous) {
        mf_w_array(w, "cio_relationships");
        mf_w_object(w, NULL);
        put_identifiers(c, w, e);
        put_relationship_attributes(c, w, e);
        mf_w_end(w);
        mf_w_end(w);
    }
    put_object(c, w, mf_field(e, identify ? ID : OBJECT),
               mf_field(e, OBJECT_TYPE));
}

static void write_object_id(mf_call *c, mf_writer *w, const mf_event *e)
{
    put_object(c, w, mf_field(e, OBJECT), mf_field(e, OBJECT_TYPE));
}

static void write_merge(mf_call *c, mf_writer *w, const mf_event *e)
{
    put_person(c, w, "primary", mf_field(e, PRIMARY));
    put_person(c, w, "secondary", mf_field(e, SECONDARY));
}

static void put_entity(mf_call *c, mf_writer *w, const mf_event *e)
{
    const struct cio_action *a = action_of(c);
    mf_val content = mf_field(e, CONTENT_ACTION);

    mf_w_object(w, NULL);
    mf_w_str(w, "type", mf_cstr(a->type));
    if (mf_given(content))
        mf_w_val(w, "action", content);
    else if (a->who == USER && !is_known(c, e) &&
             mf_truthy(c, mf_field(e, ANONYMOUS_ID)))
        mf_w_str(w, "action", MF_STR("identify_anonymous"));
    else
        mf_w_str(w, "action", mf_cstr(a->action));
    a->write(c, w, e);
    put_date(c, w, "timestamp", mf_field(e, TIMESTAMP), 1);
    mf_w_end(w);
}

static int32_t change(const void *self, mf_call *c, const mf_event *e)
{
    mf_request *r = mf_send(c, "POST", url_of(c, MF_STR("/api/v2/entity")));

    (void)self;
    put_entity(c, mf_json_body(r), e);
    return MF_OK;
}

static int32_t change_many(const void *self, mf_call *c,
                           const mf_event *const *events, uint32_t n)
{
    mf_request *r = mf_send(c, "POST", url_of(c, MF_STR("/api/v2/batch")));
    mf_writer *w = mf_json_body(r);

    (void)self;
    mf_w_object(w, NULL);
    mf_w_array(w, "batch");
    for (uint32_t i = 0; i < n; i++)
        put_entity(c, w, events[i]);
    mf_w_end(w);
    mf_w_end(w);
    return MF_OK;
}

/* Under a 2xx all were taken but those in `errors`. */
static int32_t judge(const void *self, mf_call *c, const mf_request *r,
                     const mf_response *a)
{
    mf_val errors = mf_get(c, mf_answer_json(a), "errors"), error;
    mf_iter it = { { 0 } };
    mf_str key;

    (void)self;
    if (mf_status(a) / 100 != 2 || errors.type != MF_ARRAY)
        return MF_OK;
    while (mf_next(c, errors, &it, &key, &error)) {
        int64_t k = mf_integer(c, mf_get(c, error, "batch_index"), -1);
        uint32_t event = k < 0 || k >= MF_ALL ? MF_ALL
                                              : mf_covered(r, (uint32_t)k);

        if (event != MF_ALL)
            mf_result(c, event, MF_INVALID,
                      MF_JOIN(c, mf_text(c, mf_get(c, error, "reason")),
                              MF_STR(" "),
                              mf_text(c, mf_get(c, error, "field")),
                              MF_STR(": "),
                              mf_text(c, mf_get(c, error, "message"))));
    }
    return MF_DELIVERED;
}

/* ---- what is no entity ---- */

static int32_t report_delivery(const void *self, mf_call *c, const mf_event *e)
{
    mf_request *r = mf_send(c, "POST", url_of(c, MF_STR("/api/v1/metrics")));
    mf_writer *w = mf_json_body(r);

    (void)self;
    mf_w_object(w, NULL);
    for (uint32_t k = DELIVERY; k <= LINK; k++)
        mf_w_val(w, paths[k], mf_field(e, k));
    put_date(c, w, "timestamp", mf_field(e, TIMESTAMP), 1);
    if (mf_given(mf_field(e, ACTION_NAME)) ||
        mf_given(mf_field(e, ACTION_VALUE))) {
        mf_w_object(w, "metadata");
        mf_w_val(w, "action_name", mf_field(e, ACTION_NAME));
        mf_w_val(w, "action_value", mf_field(e, ACTION_VALUE));
        mf_w_end(w);
    }
    mf_w_end(w);
    return MF_OK;
}

static int32_t forget(const void *self, mf_call *c, const mf_event *e)
{
    mf_str id = mf_text(c, mf_get(c, mf_event_json(e), "userId"));

    (void)self;
    if (!id.len)
        return MF_SKIP; /* Customer.io has nobody under another id */
    mf_send(c, "DELETE",
            url_of(c, MF_JOIN(c, MF_STR("/api/v1/customers/"),
                              mf_encode(c, MF_PERCENT, id))));
    return MF_OK;
}

static int32_t test_authentication(const void *self, mf_call *c,
                                   const mf_event *e)
{
    (void)self;
    (void)e;
    mf_send(c, "GET", url_of(c, MF_STR("/auth")));
    return MF_OK;
}

/* ---- */

#define BASE(SLUG, ...)                                                        \
    .base = { .slug = SLUG, .paths = paths, .path_count = KIT_N(paths),        \
              __VA_ARGS__ }
#define ENTITY(SLUG, TYPE, ACTION, WHO, WRITE)                                 \
    { BASE(SLUG, .perform = change, .perform_batch = change_many,              \
           .judge = judge),                                                    \
      .type = TYPE, .action = ACTION, .who = WHO, .write = WRITE }

static const struct cio_action actions[] = {
    ENTITY("createUpdatePerson", "person", "identify", ID, write_person),
    ENTITY("deletePerson", "person", "delete", PERSON_ID, put_identifiers),
    ENTITY("suppressPerson", "person", "suppress", PERSON_ID, put_identifiers),
    ENTITY("unsuppressPerson", "person", "unsuppress", PERSON_ID,
           put_identifiers),
    ENTITY("mergePeople", "person", "merge", PRIMARY, write_merge),
    ENTITY("trackEvent", "person", "event", ID, write_event),
    ENTITY("trackPageView", "person", "page", ID, write_event),
    ENTITY("trackScreenView", "person", "screen", ID, write_event),
    ENTITY("reportContentEvent", "person", "viewed_content", ID, write_event),
    ENTITY("createUpdateDevice", "person", "add_device", PERSON_ID,
           write_device),
    ENTITY("deleteDevice", "person", "delete_device", PERSON_ID, write_device),
    ENTITY("createUpdateObject", "object", "identify", USER, write_object),
    ENTITY("deleteObject", "object", "delete", OBJECT, write_object_id),
    ENTITY("deleteRelationship", "object", "delete_relationships", PERSON_ID,
           write_object),
    { BASE("reportDeliveryEvent", .perform = report_delivery) },
    { BASE("onDelete", .perform = forget) },
    { BASE("testAuthentication", .perform = test_authentication) },
};

MF_EXPORT const mf_destination mf_destination_v1 = {
    .size = sizeof(mf_destination), .abi_minor = MF_ABI_MINOR,
    .action_size = sizeof(struct cio_action), .actions = &actions[0].base,
    .action_count = KIT_N(actions),
};
