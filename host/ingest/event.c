/* SPDX-License-Identifier: Apache-2.0
 *
 * event.c - see event.h.
 *
 * One walk over the members picks out those that have rules and remembers the
 * others, which are copied as they stand. */
#include "ingest/event.h"

#include "base/clock.h"
#include "base/text.h"
#include "ingest/client.h"

#include <string.h>

const char *const event_type_names[EVENT_TYPES] = {
    "track", "identify", "page", "screen", "group", "alias"
};

/* Members with rules, in the order of `members` below. */
enum member {
    M_TYPE,
    M_WRITE_KEY,
    M_MESSAGE_ID,
    M_USER_ID,
    M_ANONYMOUS_ID,
    M_PREVIOUS_ID,
    M_GROUP_ID,
    M_EVENT,
    M_NAME,
    M_CATEGORY,
    M_PROPERTIES,
    M_TRAITS,
    M_CONTEXT,
    M_INTEGRATIONS,
    M_TIMESTAMP,
    M_ORIGINAL_TIMESTAMP,
    M_SENT_AT,
    M_RECEIVED_AT,
    MEMBERS
};

static const mf_str members[MEMBERS] = {
    { "type", 4 },           { "writeKey", 8 },
    { "messageId", 9 },      { "userId", 6 },
    { "anonymousId", 11 },   { "previousId", 10 },
    { "groupId", 7 },        { "event", 5 },
    { "name", 4 },           { "category", 8 },
    { "properties", 10 },    { "traits", 6 },
    { "context", 7 },        { "integrations", 12 },
    { "timestamp", 9 },      { "originalTimestamp", 17 },
    { "sentAt", 6 },         { "receivedAt", 10 },
};

#define DAY_MS   86400000
struct other {
    mf_str key;
    mf_val v;
};

struct parts {
    mf_val v[MEMBERS];
    int type;
    unsigned rest_count;
    struct other rest[EVENT_MEMBERS_MAX]; /* copied as they stand */
};

#define FAULT(c, m)                                                            \
    (*fault = (struct event_fault){ (c), (m) }, -1)

int event_type_named(mf_str name)
{
    for (int i = 0; i < EVENT_TYPES; i++)
        if (mf_eq(name, mf_cstr(event_type_names[i])))
            return i;
    return -1;
}

static int member_named(mf_str raw_key)
{
    bool escapes = raw_key.len && memchr(raw_key.ptr, '\\', raw_key.len);

    for (int i = 0; i < MEMBERS; i++)
        if (escapes ? json_key_is(raw_key, members[i])
                    : mf_eq(raw_key, members[i]))
            return i;
    return -1;
}

static bool has_rules(int m)
{
    return m >= 0 && m != M_EVENT && m != M_NAME && m != M_CATEGORY;
}

/* The one walk over the event. False when it has too many members. */
static bool pick(mf_val event, struct parts *p)
{
    mf_iter it = { { 0 } };
    mf_str key;
    mf_val v;

    memset(p->v, 0, sizeof p->v);
    p->rest_count = 0;
    while (json_next(event, &it, &key, &v)) {
        int m = member_named(key);

        if (m >= 0)
            p->v[m] = v;
        if (has_rules(m))
            continue;
        if (p->rest_count == EVENT_MEMBERS_MAX)
            return false;
        p->rest[p->rest_count++] = (struct other){ key, v };
    }
    return true;
}

static bool given(mf_val v)
{
    return v.type > MF_NULL;
}

static bool empty_array(mf_val v)
{
    return v.type == MF_ARRAY && json_count(v) == 0;
}

/* A non-empty string, or a number that will be written as one. */
static bool is_id(mf_val v)
{
    return (v.type == MF_STRING && v.len > 2) || v.type == MF_NUMBER;
}

static bool bad_id(mf_val v)
{
    return given(v) && v.type != MF_STRING && v.type != MF_NUMBER;
}

static bool bad_object(mf_val v)
{
    return given(v) && v.type != MF_OBJECT && !empty_array(v);
}

static bool bad_text(mf_val v)
{
    return given(v) && v.type != MF_STRING;
}

static int check_ids(const struct parts *p, struct event_fault *fault)
{
    if (bad_id(p->v[M_USER_ID]) || bad_id(p->v[M_ANONYMOUS_ID]))
        return FAULT("id_not_string",
                     "userId and anonymousId must be strings");
    if (p->type == EVENT_ALIAS) {
        if (!is_id(p->v[M_USER_ID]))
            return FAULT("id_required", "an alias needs a userId");
        if (!is_id(p->v[M_PREVIOUS_ID]))
            return FAULT("previous_id_required",
                         "an alias needs a previousId");
        return 0;
    }
    if (!is_id(p->v[M_USER_ID]) && !is_id(p->v[M_ANONYMOUS_ID]))
        return FAULT("no_user_anon_id",
                     "an event needs a userId or an anonymousId");
    if (p->type == EVENT_GROUP && !is_id(p->v[M_GROUP_ID]))
        return FAULT("group_id_required", "a group call needs a groupId");
    return 0;
}

static int check_message_id(mf_val v, struct arena *a, mf_str *id,
                            struct event_fault *fault)
{
    size_t characters = 0;

    if (v.type == MF_NUMBER) {
        *id = (mf_str){ v.raw, v.len };
    } else if (v.type == MF_STRING) {
        *id = json_text(v, a);
    } else if (given(v)) {
        return FAULT("message_id_not_string", "messageId must be a string");
    } else {
        *id = (mf_str){ "", 0 };
    }
    for (size_t i = 0; i < id->len; i++)
        characters += ((unsigned char)id->ptr[i] & 0xC0) != 0x80;
    if (characters > MESSAGE_ID_MAX)
        return FAULT("message_id_too_long",
                     "messageId is longer than 100 characters");
    if (id->len == 0) {
        char *uuid = arena_alloc(a, UUID_TEXT);

        uuid4(uuid);
        *id = mf_cstr(uuid);
    }
    return 0;
}

/* What the event says, else what its batch says. */
static mf_val member_of(mf_val outer, mf_val own, mf_str name)
{
    mf_val v = json_get(own, name);

    return v.type == MF_ABSENT ? json_get(outer, name) : v;
}

/* Of the event that tells a consent manager's choice: without its categories
 * it would say nothing, and be taken for "all". */
static int check_consent(mf_val outer, mf_val own, struct event_fault *fault)
{
    mf_val consent = member_of(outer, own, MF_STR("consent"));
    mf_val list = json_get(consent, MF_STR("categoryPreferences"));
    mf_val version = json_get(consent, MF_STR("version"));
    mf_iter it = { { 0 } };
    mf_str key;
    mf_val v;

    if (!given(list))
        return FAULT("consent_categorypreferences_should_exist",
                     "context.consent.categoryPreferences is required");
    if (bad_object(list))
        return FAULT("consent_categorypreferences_fields_should_be_object",
                     "context.consent.categoryPreferences must be an object");
    while (json_next(list, &it, &key, &v))
        if (v.type != MF_BOOL)
            return FAULT("consent_categorypreferences_fields_should_be_bool",
                         "context.consent.categoryPreferences may hold true "
                         "and false alone");
    if (given(version) && version.type != MF_NUMBER)
        return FAULT("consent_version_should_be_number",
                     "context.consent.version must be a number");
    v = json_get(member_of(outer, own, MF_STR("device")),
                 MF_STR("advertisingId"));
    if (bad_text(v))
        return FAULT("device_advertisingid_should_be_string",
                     "context.device.advertisingId must be a string");
    return 0;
}

static bool tells_consent(const struct parts *p)
{
    mf_val event = p->v[M_EVENT];

    return p->type == EVENT_TRACK && event.type == MF_STRING &&
           json_key_is((mf_str){ event.raw + 1, event.len - 2 },
                       MF_STR("Segment Consent Preference Updated"));
}

static int check(const struct parts *p, const struct event_envelope *env,
                 struct event_fault *fault)
{
    if (check_ids(p, fault) != 0)
        return -1;
    if (p->type == EVENT_TRACK) {
        if (bad_text(p->v[M_EVENT]))
            return FAULT("event_not_string", "event must be a string");
        if (p->v[M_EVENT].type != MF_STRING || p->v[M_EVENT].len == 2)
            return FAULT("event_not_defined",
                         "a track call needs the name of its event");
    }
    if (bad_object(p->v[M_PROPERTIES]))
        return FAULT("properties_not_object", "properties must be an object");
    if (bad_object(p->v[M_TRAITS]))
        return FAULT("traits_not_object", "traits must be an object");
    if (bad_object(p->v[M_CONTEXT]))
        return FAULT("context_not_object", "context must be an object");
    if (bad_object(p->v[M_INTEGRATIONS]))
        return FAULT("integrations_not_object",
                     "integrations must be an object");
    if (p->type == EVENT_PAGE || p->type == EVENT_SCREEN) {
        if (bad_text(p->v[M_NAME]))
            return FAULT("name_not_string", "name must be a string");
        if (bad_text(p->v[M_CATEGORY]))
            return FAULT("category_not_string", "category must be a string");
    }
    if (tells_consent(p))
        return check_consent(env->context, p->v[M_CONTEXT], fault);
    return 0;
}

static int find_type(struct parts *p, const struct event_envelope *env,
                     struct arena *a, struct event_fault *fault)
{
    mf_val v = p->v[M_TYPE];

    p->type = env->type;
    if (p->type >= 0)
        return 0;
    if (v.type == MF_STRING)
        p->type = event_type_named(json_text(v, a));
    if (p->type < 0)
        return FAULT("invalid_type",
                     "type must be track, identify, page, screen, group or "
                     "alias");
    return 0;
}

/* ---- writing ---- */

static void write_text(struct json_out *w, enum member m, mf_str text)
{
    json_key_raw(w, members[m]); /* none of them has anything to escape */
    json_str(w, text);
}

static bool read_time(mf_val v, struct arena *a, int64_t *ms)
{
    return v.type == MF_STRING && time_parse(json_text(v, a), ms);
}

/* Whether its year has four digits, as every reader expects. */
static bool writable(int64_t ms)
{
    return ms >= days_from_civil(0, 1, 1) * DAY_MS &&
           ms < days_from_civil(10000, 1, 1) * DAY_MS;
}

/* timestamp = receivedAt - (sentAt - originalTimestamp): the client's clock
 * may be wrong, the time between two of its readings is not. Readings that
 * would lead out of the calendar are not believed. */
static void write_times(struct json_out *w, const struct parts *p,
                        const struct event_envelope *env, struct arena *a)
{
    mf_val original = p->v[M_TIMESTAMP], sent = p->v[M_SENT_AT];
    int64_t original_ms, sent_ms, ms = env->received_ms;
    char text[TIME_TEXT];
    bool has_original;

    if (!given(original))
        original = p->v[M_ORIGINAL_TIMESTAMP];
    if (!given(sent))
        sent = env->sent_at;
    has_original = read_time(original, a, &original_ms) &&
                   writable(original_ms);
    if (has_original && read_time(sent, a, &sent_ms) &&
        writable(env->received_ms - (sent_ms - original_ms)))
        ms = env->received_ms - (sent_ms - original_ms);
    else if (has_original)
        ms = original_ms;
    time_iso(ms, text);
    write_text(w, M_TIMESTAMP, mf_cstr(text));
    json_key_raw(w, members[M_ORIGINAL_TIMESTAMP]);
    if (given(original))
        json_val(w, original);
    else
        json_str(w, mf_cstr(env->received_text));
    if (given(sent)) {
        json_key_raw(w, members[M_SENT_AT]);
        json_val(w, sent);
    }
    write_text(w, M_RECEIVED_AT, mf_cstr(env->received_text));
}

static void write_id(struct json_out *w, enum member m, mf_val v)
{
    if (v.type == MF_ABSENT)
        return;
    json_key_raw(w, members[m]);
    if (v.type == MF_NUMBER)
        json_str(w, (mf_str){ v.raw, v.len });
    else
        json_val(w, v);
}

/* The address that the context is to have and has not, or "". */
static mf_str missing_ip(const struct event_envelope *env, mf_val own,
                         struct arena *a)
{
    mf_val outer = env->context;

    if (env->client_ip.len == 0 ||
        given(member_of(outer, own, MF_STR("ip"))))
        return MF_STR("");
    if (!env->from_page &&
        !client_sends_itself(member_of(outer, own, MF_STR("direct")),
                             member_of(outer, own, MF_STR("library")), a))
        return MF_STR("");
    return env->client_ip;
}

static void write_members(struct json_out *w, mf_val from, mf_val hiding,
                          bool has_ip, struct arena *a)
{
    mf_iter it = { { 0 } };
    mf_str key;
    mf_val v;

    while (from.type == MF_OBJECT && json_next(from, &it, &key, &v)) {
        mf_iter other = { { 0 } };
        bool hidden = has_ip && json_key_is(key, MF_STR("ip"));
        mf_val ignored;
        mf_str name = { "", 0 }, k;

        if (hiding.type == MF_OBJECT)
            name = json_unescape(key, a);
        while (hiding.type == MF_OBJECT && !hidden &&
               json_next(hiding, &other, &k, &ignored))
            hidden = json_key_is(k, name);
        if (hidden)
            continue;
        json_key_raw(w, key);
        json_val(w, v);
    }
}

/* The batch's members, then the event's own, which win, then the client's
 * address where it is missing (there may be a null in its place). */
static void write_merged(struct json_out *w, mf_val outer, mf_val own,
                         mf_str ip, struct arena *a)
{
    mf_val none = { NULL, 0, MF_ABSENT };

    json_begin_object(w);
    write_members(w, outer, own, ip.len, a);
    write_members(w, own, none, ip.len, a);
    if (ip.len)
        json_kstr(w, "ip", ip);
    json_end_object(w);
}

static void write_object(struct json_out *w, enum member m, mf_val outer,
                         mf_val own, mf_str ip, struct arena *a)
{
    bool merges = (outer.type == MF_OBJECT && json_count(outer)) || ip.len;

    if (own.type == MF_ABSENT && !merges)
        return;
    json_key_raw(w, members[m]);
    if (merges)
        write_merged(w, outer, own, ip, a);
    else if (own.type == MF_OBJECT || own.type == MF_NULL)
        json_val(w, own);
    else
        write_merged(w, outer, own, ip, a);
}

int event_normalise(mf_val event, const struct event_envelope *env,
                    struct buf *to, mf_str *message_id, struct arena *a,
                    struct event_fault *fault)
{
    mf_val none = { NULL, 0, MF_ABSENT };
    mf_str no_ip = { "", 0 };
    size_t before = to->len;
    struct json_out w;
    struct parts p;

    if (event.type != MF_OBJECT)
        return FAULT("event_not_object", "an event must be an object");
    if (!pick(event, &p))
        return FAULT("too_many_members",
                     "an event may have 128 members at its top level");
    if (find_type(&p, env, a, fault) != 0 || check(&p, env, fault) != 0 ||
        check_message_id(p.v[M_MESSAGE_ID], a, message_id, fault) != 0)
        return -1;
    json_out_init(&w, to);
    json_begin_object(&w);
    write_text(&w, M_TYPE, mf_cstr(event_type_names[p.type]));
    write_text(&w, M_MESSAGE_ID, *message_id);
    write_id(&w, M_USER_ID, p.v[M_USER_ID]);
    write_id(&w, M_ANONYMOUS_ID, p.v[M_ANONYMOUS_ID]);
    write_id(&w, M_PREVIOUS_ID, p.v[M_PREVIOUS_ID]);
    write_id(&w, M_GROUP_ID, p.v[M_GROUP_ID]);
    for (unsigned i = 0; i < p.rest_count; i++) {
        json_key_raw(&w, p.rest[i].key);
        json_val(&w, p.rest[i].v);
    }
    write_object(&w, M_PROPERTIES, none, p.v[M_PROPERTIES], no_ip, a);
    write_object(&w, M_TRAITS, none, p.v[M_TRAITS], no_ip, a);
    write_object(&w, M_CONTEXT, env->context, p.v[M_CONTEXT],
                 missing_ip(env, p.v[M_CONTEXT], a), a);
    write_object(&w, M_INTEGRATIONS, env->integrations,
                 p.v[M_INTEGRATIONS], no_ip, a);
    write_times(&w, &p, env, a);
    json_end_object(&w);
    if (to->full) {
        to->len = before;
        to->full = false;
        return FAULT("payload_too_large", "Exceed payload limit");
    }
    return 0;
}
