/* SPDX-License-Identifier: Apache-2.0
 *
 * event.c - custom events. HubSpot takes one only if its definition has all
 * the properties, of fitting types: so the definition is asked for first, and
 * made or extended as far as the sync mode allows. */
#include "hubspot.h"

enum { ASK = 1, DEFINE, EXTEND, SEND };

enum { NAME, OBJECT, OBJECT_ID, EMAIL, UTK, PROPERTIES, TIME };
const char *const hs_event_paths[HS_EVENT_PATHS] = {
    [NAME] = "event_name",
    [OBJECT] = "record_details.object_type",
    [OBJECT_ID] = "record_details.object_id",
    [EMAIL] = "record_details.email",
    [UTK] = "record_details.utk",
    [PROPERTIES] = "properties",
    [TIME] = "occurred_at",
};

struct event {
    const mf_event *event;
    mf_str name, full_name; /* as HubSpot knows it */
    mf_val defined;         /* array of properties; absent: no definition */
    uint32_t pending;       /* properties that are being made */
};

/* Lower case letters, digits, _ and - are what HubSpot's names may have. */
static mf_str clean(mf_call *c, mf_str name)
{
    mf_str s = kit_lower(c, kit_trim(name));
    char *at = (char *)s.ptr;

    for (size_t i = 0; i < s.len; i++)
        if (!((at[i] >= 'a' && at[i] <= 'z') ||
              (at[i] >= '0' && at[i] <= '9') || at[i] == '-'))
            at[i] = '_';
    return s;
}

static int is_contact(mf_call *c, const mf_event *e)
{
    return mf_eq(mf_text(c, mf_field(e, OBJECT)), MF_STR("contact"));
}

static int32_t check(mf_call *c, const mf_event *e)
{
    int id = mf_given(mf_field(e, OBJECT_ID));

    if (!is_contact(c, e) && !id)
        return mf_fail(c, MF_INVALID,
                       MF_STR("record_details.object_id must be a number, "
                              "unless the record is a contact"));
    if (!id && !mf_truthy(c, mf_field(e, EMAIL)) &&
        !mf_truthy(c, mf_field(e, UTK)))
        return mf_fail(c, MF_INVALID,
                       MF_STR("a contact needs one of object_id, email and "
                              "utk in record_details"));
    if (!kit_sync_mode(c).len)
        return mf_fail(c, MF_INVALID, MF_STR("no sync mode is set"));
    return MF_OK;
}

int32_t hs_event(const void *self, mf_call *c, const mf_event *e)
{
    struct event *k = mf_alloc(c, sizeof *k);
    int32_t refused = check(c, e);

    (void)self;
    if (refused)
        return refused;
    k->event = e;
    k->name = clean(c, mf_text(c, mf_field(e, NAME)));
    hs_send(c, "GET",
            MF_JOIN(c, MF_STR("/events/v3/event-definitions"),
                    hs_segment(c, k->name),
                    MF_STR("/?includeProperties=true")),
            ASK, k);
    return MF_OK;
}

/* ---- the definition ---- */

static enum hs_kind kind_of(mf_call *c, mf_val value)
{
    return hs_number(c, value).type == MF_NUMBER ? HS_NUMBER
                                                 : hs_kind_of(c, value);
}

static void write_definition(mf_call *c, mf_writer *w, mf_str name,
                             mf_val value)
{
    static const char *const types[] = {
        [HS_TEXT] = "string", [HS_NUMBER] = "number",
        [HS_FLAG] = "enumeration", [HS_DATE] = "datetime",
        [HS_TIME] = "datetime",
    };
    enum hs_kind kind = kind_of(c, value);

    mf_w_object(w, NULL);
    mf_w_str(w, "name", name);
    mf_w_str(w, "label", name);
    mf_w_str(w, "type", mf_cstr(types[kind]));
    mf_w_str(w, "description",
             MF_JOIN(c, name, MF_STR(" - (created by Segment)")));
    if (kind == HS_FLAG)
        hs_flag_options(w, 0);
    mf_w_end(w);
}

static mf_val defined(mf_call *c, const struct event *k, mf_str name)
{
    mf_val one;
    mf_iter it = { { 0 } };
    mf_str index;

    while (mf_next(c, k->defined, &it, &index, &one))
        if (mf_eq(mf_text(c, mf_get(c, one, "name")), name) &&
            !mf_is_true(mf_get(c, one, "archived")))
            return one;
    return KIT_ABSENT;
}

static void define(mf_call *c, struct event *k)
{
    mf_writer *w = mf_json_body(
        hs_send(c, "POST", MF_STR("/events/v3/event-definitions"), DEFINE, k));
    mf_iter it = { { 0 } };
    mf_val value;
    mf_str key;

    mf_w_object(w, NULL);
    mf_w_str(w, "label", k->name);
    mf_w_str(w, "name", k->name);
    mf_w_str(w, "description",
             MF_JOIN(c, k->name, MF_STR(" - (created by Segment)")));
    mf_w_val(w, "primaryObject", mf_field(k->event, OBJECT));
    mf_w_array(w, "propertyDefinitions");
    while (mf_next(c, mf_field(k->event, PROPERTIES), &it, &key, &value))
        write_definition(c, w, clean(c, key), value);
    mf_w_end(w);
    mf_w_end(w);
}

/* One request for each property that the definition lacks. */
static void extend(mf_call *c, struct event *k)
{
    mf_str path = MF_JOIN(c, MF_STR("/events/v3/event-definitions"),
                          hs_segment(c, k->full_name), MF_STR("/property"));
    mf_iter it = { { 0 } };
    mf_val value;
    mf_str key;

    while (mf_next(c, mf_field(k->event, PROPERTIES), &it, &key, &value)) {
        mf_str name = clean(c, key);

        if (mf_given(defined(c, k, name)))
            continue;
        write_definition(c, mf_json_body(hs_send(c, "POST", path, EXTEND, k)),
                         name, value);
        k->pending++;
    }
}

/* ---- the event ---- */

/* The value as its type wants it; absent if it cannot be. */
static mf_val fitting(mf_call *c, mf_val value, mf_str type)
{
    mf_val number = hs_number(c, value);

    if (mf_eq(type, MF_STR("number"))) {
        if (value.type == MF_STRING && !kit_trim(mf_text(c, value)).len)
            return mf_parse(c, MF_STR("0"));
        return value.type == MF_STRING ? number : value;
    }
    if (mf_eq(type, MF_STR("string")) || value.type == MF_OBJECT ||
        value.type == MF_ARRAY)
        return hs_text(c, hs_plain(c, value));
    if (!type.len && number.type == MF_NUMBER)
        return number;
    if (hs_kind_of(c, value) == HS_FLAG)
        return mf_parse(c, mf_text(c, value));
    return value;
}

static int32_t write_properties(mf_call *c, mf_writer *w,
                                const struct event *k)
{
    mf_iter it = { { 0 } };
    mf_val value, as;
    mf_str key;

    mf_w_object(w, "properties");
    while (mf_next(c, mf_field(k->event, PROPERTIES), &it, &key, &value)) {
        mf_val one = defined(c, k, clean(c, key));

        as = fitting(c, value, mf_text(c, mf_get(c, one, "type")));
        if (as.type == MF_ABSENT)
            return mf_fail(c, MF_INVALID,
                           MF_JOIN(c, key, MF_STR(" is a number in HubSpot, "
                                                  "and its value is none")));
        mf_w_key(w, clean(c, key));
        mf_w_val(w, NULL, as);
    }
    mf_w_end(w);
    return MF_CONTINUE;
}

static int32_t send(mf_call *c, struct event *k)
{
    mf_val id = mf_field(k->event, OBJECT_ID);
    mf_writer *w = mf_json_body(
        hs_send(c, "POST", MF_STR("/events/v3/send"), SEND, k));
    int32_t refused;

    mf_w_object(w, NULL);
    mf_w_str(w, "eventName", k->full_name);
    if (mf_given(id))
        mf_w_str(w, "objectId", mf_text(c, id));
    if (is_contact(c, k->event)) {
        mf_w_val(w, "email", mf_field(k->event, EMAIL));
        mf_w_val(w, "utk", mf_field(k->event, UTK));
    }
    mf_w_val(w, "occurredAt", mf_field(k->event, TIME));
    refused = write_properties(c, w, k);
    if (refused == MF_CONTINUE)
        mf_w_end(w);
    return refused;
}

/* ---- answers ---- */

/* HubSpot tells a missing definition by 404, or by 400 and in words. */
static int is_missing(const mf_response *a)
{
    return mf_status(a) == 404 ||
           (mf_status(a) == 400 && kit_has(mf_answer_bytes(a),
                                           MF_STR("does not exist")));
}

static int32_t asked(mf_call *c, struct event *k, const mf_request *r,
                     const mf_response *a)
{
    mf_str mode = kit_sync_mode(c);

    if (is_missing(a)) {
        if (mf_eq(mode, MF_STR("update")))
            return kit_settle(c, r, MF_INVALID,
                              MF_STR("HubSpot has no definition of this event, "
                                     "and the sync mode `update` makes none"));
        define(c, k);
        return MF_CONTINUE;
    }
    if (!kit_ok(a))
        return MF_OK;
    k->full_name = mf_text(c, mf_get(c, mf_answer_json(a),
                                     "fullyQualifiedName"));
    k->defined = mf_get(c, mf_answer_json(a), "properties");
    extend(c, k);
    mf_keep(a, k->pending ? 0 : HS_KEEP_MS);
    if (!k->pending)
        return send(c, k);
    if (mf_eq(mode, MF_STR("add")))
        return mf_fail(c, MF_INVALID,
                       MF_STR("HubSpot's definition of this event lacks a "
                              "property, and the sync mode `add` makes none"));
    return MF_CONTINUE;
}

int32_t hs_event_judge(const void *self, mf_call *c, const mf_request *r,
                       const mf_response *a)
{
    struct event *k;
    void *state;
    uint32_t step = mf_step(r, &state);

    (void)self;
    k = state;
    switch (step) {
    case ASK:
        return asked(c, k, r, a);
    case DEFINE:
        if (!kit_ok(a)) /* 409: another event made it meanwhile */
            return mf_status(a) == 409 ? kit_settle(c, r, MF_RETRY,
                                                    hs_message(c, a))
                                       : MF_OK;
        k->full_name = mf_text(c, mf_get(c, mf_answer_json(a),
                                         "fullyQualifiedName"));
        return send(c, k);
    case EXTEND:
        if (!kit_ok(a) && mf_status(a) != 409)
            return MF_OK;
        return --k->pending ? MF_CONTINUE : send(c, k);
    default:
        return MF_OK;
    }
}
