/* SPDX-License-Identifier: Apache-2.0
 *
 * mixpanel.c - events, profiles and groups for Mixpanel.
 *
 * API: https://developer.mixpanel.com/reference/import-events. Events go
 * to /import in batches of at most 2,000 records. Under strict=1 it takes the
 * good ones of a batch and answers 400 with the index of each bad one:
 *   {"code":400,"failed_records":[{"index":1,"message":"..."}]}
 * Profiles, groups and aliases go to /engage, /groups and /track one by one,
 * as a form with one member, `data`. */
#include <manifold/kit.h>

#define RECORDS_MAX 2000 /* in one request to /import */
#define INSERT_ID 16     /* letters of an insert id made here */

struct mixpanel {
    mf_str origin, token, source, import_url, authorization;
};

/* Payload fields that are copied, and Mixpanel's names for them. */
#define COPIED(X)                                                              \
    X("ip", "ip")                                                              \
    X("distinct_id", "id")                                                     \
    X("anonymous_id", "$anon_id")                                              \
    X("app_build", "$app_build_number")                                        \
    X("app_version", "$app_version_string")                                    \
    X("app_namespace", "$app_namespace")                                       \
    X("app_name", "$app_name")                                                 \
    X("bluetooth", "$bluetooth_enabled")                                       \
    X("cellular", "$cellular_enabled")                                         \
    X("carrier", "$carrier")                                                   \
    X("url", "$current_url")                                                   \
    X("device_name", "$device")                                                \
    X("device_name", "$device_name")                                           \
    X("device_type", "$device_type")                                           \
    X("group_id", "$group_id")                                                 \
    X("user_id", "$identified_id")                                             \
    X("user_id", "$user_id")                                                   \
    X("idfa", "$ios_ifa")                                                      \
    X("library_version", "$lib_version")                                       \
    X("language", "$locale")                                                   \
    X("device_manufacturer", "$manufacturer")                                  \
    X("device_model", "$model")                                                \
    X("os_name", "$os")                                                        \
    X("os_version", "$os_version")                                             \
    X("referrer", "$referrer")                                                 \
    X("screen_height", "$screen_height")                                       \
    X("screen_width", "$screen_width")                                         \
    X("screen_density", "$screen_density")                                     \
    X("wifi", "$wifi_enabled")                                                 \
    X("country", "mp_country_code")                                            \
    X("utm_properties.utm_campaign", "utm_campaign")                           \
    X("utm_properties.utm_content", "utm_content")                             \
    X("utm_properties.utm_medium", "utm_medium")                               \
    X("utm_properties.utm_source", "utm_source")                               \
    X("utm_properties.utm_term", "utm_term")                                   \
    X("advertising_id", "advertising_id")                                      \
    X("ad_tracking_enabled", "ad_tracking_enabled")                            \
    X("timezone", "timezone")                                                  \
    X("app_platform", "app_platform")                                          \
    X("name", "event_original_name")                                           \
    X("userAgentData.mobile", "$mobile")                                       \
    X("userAgentData.platform", "$platform")                                   \
    X("userAgentData.bitness", "$bitness")                                     \
    X("userAgentData.platformVersion", "$platformVersion")                     \
    X("userAgentData.uaFullVersion", "$uaFullVersion")                         \
    X("userAgentData.wow64", "$wow64")

/* Fields that take more than copying come first. */
enum {
    EVENT, TIME, DISTINCT_ID, ANONYMOUS_ID, DEVICE_ID, INSERT, LIBRARY, AGENT,
    PROPERTIES, PER_PRODUCT, PRODUCTS, SPECIAL
};

#define PATH(path, name) path,
#define NAME(path, name) name,
static const char *const event_paths[] = {
    [EVENT] = "event",
    [TIME] = "time",
    [DISTINCT_ID] = "distinct_id",
    [ANONYMOUS_ID] = "anonymous_id",
    [DEVICE_ID] = "device_id",
    [INSERT] = "insert_id",
    [LIBRARY] = "library_name",
    [AGENT] = "userAgent",
    [PROPERTIES] = "event_properties",
    [PER_PRODUCT] = "generatePurchaseEventPerProduct",
    [PRODUCTS] = "products",
    COPIED(PATH)
};

/* Mixpanel's names of all that; a property of the event that has one of them
 * takes its place. */
enum {
    N_TIME, N_DISTINCT_ID, N_DEVICE_ID, N_INSERT_ID, N_SOURCE, N_LIB,
    N_SOURCE_NAME, N_BROWSER, N_VERSION, N_COPIED
};
static const char *const names[] = {
    [N_TIME] = "time",
    [N_DISTINCT_ID] = "distinct_id",
    [N_DEVICE_ID] = "$device_id",
    [N_INSERT_ID] = "$insert_id",
    [N_SOURCE] = "$source",
    [N_LIB] = "mp_lib",
    [N_SOURCE_NAME] = "segment_source_name",
    [N_BROWSER] = "$browser",
    [N_VERSION] = "$browser_version",
    COPIED(NAME)
};
_Static_assert(KIT_N(names) <= 64, "a bit each in struct record");

/* What an order says of itself and not of each of its products. */
static const char *const order_only[] = {
    "affiliation", "total", "subtotal", "revenue", "shipping", "tax",
    "discount", "coupon", "currency", "products",
};

/* Marks in a user agent, in the order in which they decide, and the mark
 * before the version. Much as Mixpanel's own JavaScript library has them. */
static const struct {
    const char *mark, *browser, *version;
} browsers[] = {
    { " OPR/", "Opera", "OPR/" },
    { "BlackBerry", "BlackBerry", "BlackBerry " },
    { "PlayBook", "BlackBerry", "BlackBerry " },
    { "BB10", "BlackBerry", "BlackBerry " },
    { "IEMobile", "Internet Explorer Mobile", "rv:" },
    { "WPDesktop", "Internet Explorer Mobile", "rv:" },
    { "SamsungBrowser/", "Samsung Internet", "SamsungBrowser/" },
    { "Edge/", "Microsoft Edge", "Edge/" },
    { "Edg/", "Microsoft Edge", "Edg/" },
    { "FBIOS", "Facebook Mobile", NULL },
    { "Whale/", "Whale Browser", "Whale/" },
    { "Chrome", "Chrome", "Chrome/" },
    { "CriOS", "Chrome iOS", "CriOS/" },
    { "UCWEB", "UC Browser", "UCWEB/" },
    { "UCBrowser", "UC Browser", "UCBrowser/" },
    { "FxiOS", "Firefox iOS", "FxiOS/" },
    { "Android", "Android Mobile", "Android " },
    { "Konqueror", "Konqueror", "Konqueror:" },
    { "Firefox", "Firefox", "Firefox/" },
    { "MSIE", "Internet Explorer", "MSIE " },
    { "Trident/", "Internet Explorer", "rv:" },
    { "Safari", "Safari", "Version/" },
    { "Gecko", "Mozilla", "rv:" },
};

struct rename {
    const char *trait, *property;
};

static const struct rename user_traits[] = {
    { "created", "$created" },      { "createdAt", "$created" },
    { "email", "$email" },          { "firstName", "$first_name" },
    { "lastName", "$last_name" },   { "name", "$name" },
    { "username", "$username" },    { "phone", "$phone" },
};
static const struct rename group_traits[] = {
    { "name", "$name" }, { "created", "$created" }, { "createdAt", "$created" },
    { "created_at", "$created" },
};
static void *create(mf_call *c)
{
    struct mixpanel *m = mf_alloc(c, sizeof *m);
    mf_str region = kit_setting_text(c, "apiRegion");
    mf_str secret = kit_setting_text(c, "apiSecret");
    mf_val strict = kit_setting(c, "strictMode");

    m->token = kit_setting_text(c, "projectToken");
    m->source = kit_setting_text(c, "sourceName");
    m->origin = MF_STR("https://api.mixpanel.com");
    if (kit_starts(region, MF_STR("EU")))
        m->origin = MF_STR("https://api-eu.mixpanel.com");
    if (kit_starts(region, MF_STR("IN")))
        m->origin = MF_STR("https://api-in.mixpanel.com");
    m->import_url = MF_JOIN(c, m->origin, MF_STR("/import?strict="),
                            mf_given(strict)
                                ? mf_encode(c, MF_PERCENT, mf_text(c, strict))
                                : MF_STR("1"));
    if (!secret.len || kit_feature(c, "actions-mixpanel-project-token-auth"))
        secret = m->token;
    secret = MF_JOIN(c, secret, MF_STR(":"));
    m->authorization = MF_JOIN(c, MF_STR("Basic "),
                               mf_encode(c, MF_BASE64, secret));
    return m;
}

/* ---- events ---- */

/* Stable for an event, so that a retry does not count twice. */
static mf_str insert_id(mf_call *c, const mf_event *e)
{
    mf_val given = mf_field(e, INSERT);
    mf_str id;

    if (mf_given(given))
        return mf_text(c, given);
    id = mf_encode(c, MF_HEX, mf_digest(c, MF_SHA256,
                                        kit_raw(mf_event_json(e))));
    id.len = INSERT_ID;
    return id;
}

/* One record as it is written: names in `taken` are left to the properties. */
struct record {
    mf_writer *w;
    uint64_t taken;
};

static void put(const struct record *r, size_t name, mf_val v)
{
    if (!(r->taken >> name & 1))
        mf_w_val(r->w, names[name], v);
}

static void put_text(const struct record *r, size_t name, mf_str s)
{
    if (!(r->taken >> name & 1))
        mf_w_str(r->w, names[name], s);
}

static uint64_t names_in(mf_call *c, mf_val object)
{
    mf_iter it = { { 0 } };
    uint64_t taken = 0;
    mf_val value;
    mf_str key;

    while (mf_next(c, object, &it, &key, &value)) {
        size_t name = kit_index(key, names, KIT_N(names));

        if (name < KIT_N(names))
            taken |= UINT64_C(1) << name;
    }
    return taken;
}

static mf_str version_after(mf_str agent, const char *mark)
{
    mf_str what = mf_cstr(mark), v = { NULL, 0 };
    size_t at = what.len ? kit_find(agent, what) : agent.len;

    if (at == agent.len)
        return v;
    v.ptr = agent.ptr + at + what.len;
    while (v.ptr + v.len < agent.ptr + agent.len && v.ptr[v.len] &&
           strchr("0123456789.", v.ptr[v.len]))
        v.len++;
    return v;
}

static void put_browser(mf_call *c, const struct record *r, const mf_event *e)
{
    mf_str agent = mf_text(c, mf_field(e, AGENT)), version;
    const char *name = "", *mark = NULL;

    if (!agent.len)
        return;
    for (size_t i = 0; i < KIT_N(browsers) && !mark; i++) {
        if (!kit_has(agent, mf_cstr(browsers[i].mark)))
            continue;
        name = browsers[i].browser;
        mark = browsers[i].version ? browsers[i].version : "";
    }
    if (strcmp(name, "Opera") == 0 && kit_has(agent, MF_STR("Mini")))
        name = "Opera Mini";
    if (strcmp(name, "Safari") == 0 && kit_has(agent, MF_STR("Mobile")))
        name = "Mobile Safari";
    put_text(r, N_BROWSER, mf_cstr(name));
    version = version_after(agent, mark);
    if (version.len)
        put_text(r, N_VERSION, version);
}

/* What is said of the user and the device. */
static void put_context(const struct mixpanel *m, mf_call *c,
                        const struct record *r, const mf_event *e)
{
    mf_val device = mf_field(e, DEVICE_ID), library = mf_field(e, LIBRARY);

    put_text(r, N_DISTINCT_ID, mf_text(c, mf_field(e, DISTINCT_ID)));
    put(r, N_DEVICE_ID, mf_given(device) ? device : mf_field(e, ANONYMOUS_ID));
    put_text(r, N_SOURCE, MF_STR("segment"));
    if (mf_truthy(c, library))
        put_text(r, N_LIB, MF_JOIN(c, MF_STR("Segment Actions: "),
                                   mf_text(c, library)));
    if (m->source.len)
        put_text(r, N_SOURCE_NAME, m->source);
    put_browser(c, r, e);
    for (size_t i = N_COPIED; i < KIT_N(names); i++)
        put(r, i, mf_field(e, (uint32_t)(i - N_COPIED + SPECIAL)));
}

/* The event itself, or its nth product (from 1) as an event of its own, a
 * millisecond apart so that the order stays. */
static void write_record(const struct mixpanel *m, mf_call *c, mf_writer *w,
                         const mf_event *e, mf_val product, int64_t nth)
{
    mf_val properties = mf_field(e, PROPERTIES);
    struct record r = { w, names_in(c, properties) | names_in(c, product) };
    mf_str id = insert_id(c, e);

    if (nth)
        id = MF_JOIN(c, kit_int(c, nth - 1), id);
    mf_w_object(w, NULL);
    if (nth)
        mf_w_str(w, "event", MF_STR("Product Purchased"));
    else
        mf_w_val(w, "event", mf_field(e, EVENT));
    mf_w_object(w, "properties");
    if (!(r.taken >> N_TIME & 1))
        mf_w_int(w, "time", mf_time(c, mf_field(e, TIME), mf_now(c)) - nth);
    put_text(&r, N_INSERT_ID, id);
    put_context(m, c, &r, e);
    kit_w_others(c, w, properties, order_only, nth ? KIT_N(order_only) : 0,
                 product);
    kit_w_others(c, w, product, NULL, 0, KIT_ABSENT);
    mf_w_end(w);
    mf_w_end(w);
}

/* Where record of event i goes: the request at hand, or another when it is
 * full. */
static kit_records *import_next(const struct mixpanel *m, mf_call *c,
                                kit_records *at, uint32_t i)
{
    if (!at || at->count == at->max) {
        mf_request *r = mf_send(c, "POST", m->import_url);

        if (at)
            mf_w_end(at->w);
        mf_header(r, "authorization", m->authorization);
        at = kit_records_of(c, r, mf_json_body(r), RECORDS_MAX);
        mf_w_array(at->w, NULL);
    }
    kit_record(at, i);
    return at;
}

static int32_t import_batch(const void *self, mf_call *c,
                            const mf_event *const *events, uint32_t n)
{
    const struct mixpanel *m = self;
    kit_records *at = NULL;

    for (uint32_t i = 0; i < n; i++) {
        mf_val product = KIT_ABSENT;
        mf_iter it = { { 0 } };
        int64_t nth = 0;
        mf_str index;

        at = import_next(m, c, at, i);
        write_record(m, c, at->w, events[i], product, 0);
        if (!mf_is_true(mf_field(events[i], PER_PRODUCT)))
            continue;
        while (mf_next(c, mf_field(events[i], PRODUCTS), &it, &index,
                       &product)) {
            at = import_next(m, c, at, i);
            write_record(m, c, at->w, events[i], product, ++nth);
        }
    }
    if (at)
        mf_w_end(at->w);
    return MF_OK;
}

static int32_t import_one(const void *self, mf_call *c, const mf_event *e)
{
    return import_batch(self, c, &e, 1);
}

/* With failed_records in the answer all others were taken. */
static int32_t import_judge(const void *self, mf_call *c, const mf_request *r,
                            const mf_response *a)
{
    mf_val failed = mf_get(c, mf_answer_json(a), "failed_records"), record;
    mf_iter it = { { 0 } };
    mf_str key;

    (void)self;
    if (mf_status(a) != 400 || !mf_next(c, failed, &it, &key, &record))
        return kit_refuse(c, r, mf_status(a),
                          mf_text(c, mf_get(c, mf_answer_json(a), "error")));
    do {
        uint32_t event = kit_record_event(
            r, mf_integer(c, mf_get(c, record, "index"), -1));

        if (event != MF_ALL)
            mf_result(c, event, MF_INVALID,
                      MF_JOIN(c, mf_text(c, mf_get(c, record, "field")),
                              MF_STR(": "),
                              mf_text(c, mf_get(c, record, "message"))));
    } while (mf_next(c, failed, &it, &key, &record));
    return MF_DELIVERED;
}

/* ---- profiles, groups, aliases ---- */

enum {
    USER, ANONYMOUS, IP, TRAITS, INCREMENT, GROUP_KEY, GROUP, ALIAS, DISTINCT
};
static const char *const user_paths[] = {
    [USER] = "user_id",
    [ANONYMOUS] = "anonymous_id",
    [IP] = "ip",
    [TRAITS] = "traits",
    [INCREMENT] = "increment",
    [GROUP_KEY] = "group_key",
    [GROUP] = "group_id",
    [ALIAS] = "alias",
    [DISTINCT] = "distinct_id",
};

static void send_form(const struct mixpanel *m, mf_call *c, mf_str path,
                      mf_writer *data)
{
    mf_request *r = mf_send(c, "POST", MF_JOIN(c, m->origin, path));

    mf_form(r, "data", kit_raw(mf_done(data)));
}

/* The end of a $identify or $create_alias. */
static void end_track(const struct mixpanel *m, mf_call *c, mf_writer *w)
{
    mf_w_str(w, "token", m->token);
    if (m->source.len)
        mf_w_str(w, "segment_source_name", m->source);
    mf_w_end(w);
    mf_w_end(w);
    send_form(m, c, MF_STR("/track"), w);
}

static mf_writer *start_engage(const struct mixpanel *m, mf_call *c,
                               const mf_event *e)
{
    mf_val user = mf_field(e, USER);
    mf_writer *w = mf_value(c);

    mf_w_object(w, NULL);
    mf_w_str(w, "$token", m->token);
    mf_w_val(w, "$distinct_id",
             mf_given(user) ? user : mf_field(e, ANONYMOUS));
    mf_w_val(w, "$ip", mf_field(e, IP));
    return w;
}

/* A trait that is sent under another name, or whose place such a one takes. */
static int is_renamed(mf_call *c, mf_val traits, mf_str key,
                      const struct rename *to, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (mf_eq(key, mf_cstr(to[i].trait)))
            return 1;
        if (mf_eq(key, mf_cstr(to[i].property)) &&
            kit_member(c, traits, mf_cstr(to[i].trait)).type != MF_ABSENT)
            return 1;
    }
    return 0;
}

/* Traits with the names that Mixpanel shows specially. Of several that have
 * the same the first counts; equal ones stand together in the table. */
static void write_traits(mf_call *c, mf_writer *w, mf_val traits,
                         const struct rename *to, size_t n)
{
    const char *last = "";
    mf_iter it = { { 0 } };
    mf_val value;
    mf_str key;

    while (mf_next(c, traits, &it, &key, &value)) {
        if (is_renamed(c, traits, key, to, n))
            continue;
        mf_w_key(w, key);
        mf_w_val(w, NULL, value);
    }
    for (size_t i = 0; i < n; i++) {
        value = kit_member(c, traits, mf_cstr(to[i].trait));
        if (value.type == MF_ABSENT || strcmp(last, to[i].property) == 0)
            continue;
        mf_w_val(w, to[i].property, value);
        last = to[i].property;
    }
}

static int32_t identify(const void *self, mf_call *c, const mf_event *e)
{
    const struct mixpanel *m = self;
    mf_val traits = mf_field(e, TRAITS);
    mf_val first = kit_member(c, traits, MF_STR("firstName"));
    mf_val last = kit_member(c, traits, MF_STR("lastName"));
    int merge = mf_truthy(c, mf_field(e, USER)) &&
                mf_truthy(c, mf_field(e, ANONYMOUS));
    int set = traits.type == MF_OBJECT && traits.len > 2;
    mf_writer *w;

    if (merge) {
        w = mf_value(c);
        mf_w_object(w, NULL);
        mf_w_str(w, "event", MF_STR("$identify"));
        mf_w_object(w, "properties");
        mf_w_val(w, "$identified_id", mf_field(e, USER));
        mf_w_val(w, "$anon_id", mf_field(e, ANONYMOUS));
        end_track(m, c, w);
    }
    if (set) {
        w = start_engage(m, c, e);
        mf_w_object(w, "$set");
        write_traits(c, w, traits, user_traits, KIT_N(user_traits));
        if (mf_truthy(c, first) && mf_truthy(c, last) &&
            kit_member(c, traits, MF_STR("name")).type == MF_ABSENT &&
            kit_member(c, traits, MF_STR("$name")).type == MF_ABSENT)
            mf_w_str(w, "$name", MF_JOIN(c, mf_text(c, first), MF_STR(" "),
                                         mf_text(c, last)));
        mf_w_end(w);
        mf_w_end(w);
        send_form(m, c, MF_STR("/engage"), w);
    }
    return merge || set ? MF_OK : MF_SKIP;
}

static int32_t identify_group(const void *self, mf_call *c, const mf_event *e)
{
    const struct mixpanel *m = self;
    mf_val traits = mf_field(e, TRAITS), id;
    mf_str key = mf_text(c, mf_field(e, GROUP_KEY));
    mf_writer *w = mf_value(c);

    id = kit_member(c, traits, key);
    mf_w_object(w, NULL);
    mf_w_str(w, "$token", m->token);
    mf_w_str(w, "$group_key", key.len ? key : MF_STR("$group_id"));
    mf_w_val(w, "$group_id", mf_truthy(c, id) ? id : mf_field(e, GROUP));
    mf_w_object(w, "$set");
    write_traits(c, w, traits, group_traits, KIT_N(group_traits));
    mf_w_end(w);
    mf_w_end(w);
    send_form(m, c, MF_STR("/groups"), w);
    return MF_OK;
}

static int32_t alias(const void *self, mf_call *c, const mf_event *e)
{
    mf_writer *w = mf_value(c);

    mf_w_object(w, NULL);
    mf_w_str(w, "event", MF_STR("$create_alias"));
    mf_w_object(w, "properties");
    mf_w_val(w, "distinct_id", mf_field(e, DISTINCT));
    mf_w_val(w, "alias", mf_field(e, ALIAS));
    end_track(self, c, w);
    return MF_OK;
}

/* Numbers, and strings that are one. */
static int32_t increment(const void *self, mf_call *c, const mf_event *e)
{
    mf_writer *w = start_engage(self, c, e);
    mf_iter it = { { 0 } };
    uint32_t count = 0;
    mf_val value;
    mf_str key;

    mf_w_object(w, "$add");
    while (mf_next(c, mf_field(e, INCREMENT), &it, &key, &value)) {
        if (value.type == MF_STRING)
            value = mf_parse(c, mf_text(c, value));
        if (value.type != MF_NUMBER)
            return mf_fail(c, MF_INVALID,
                           MF_JOIN(c, MF_STR("The key \""), key,
                                   MF_STR("\" was not numeric")));
        mf_w_key(w, key);
        mf_w_val(w, NULL, value);
        count++;
    }
    mf_w_end(w);
    mf_w_end(w);
    if (!count)
        return MF_SKIP;
    send_form(self, c, MF_STR("/engage"), w);
    return MF_OK;
}

#define IMPORT(SLUG)                                                           \
    { .slug = SLUG, .paths = event_paths, .path_count = KIT_N(event_paths),    \
      .perform = import_one, .perform_batch = import_batch,                    \
      .judge = import_judge }
#define PROFILE(SLUG, FUNCTION)                                                \
    { .slug = SLUG, .paths = user_paths, .path_count = KIT_N(user_paths),      \
      .perform = FUNCTION }

static const mf_action actions[] = {
    IMPORT("trackEvent"),
    IMPORT("trackPurchase"),
    PROFILE("identifyUser", identify),
    PROFILE("groupIdentifyUser", identify_group),
    PROFILE("alias", alias),
    PROFILE("incrementProperties", increment),
};

MF_EXPORT const mf_destination mf_destination_v1 = {
    MF_HEADER, .actions = actions, .action_count = KIT_N(actions),
    .create = create,
};
