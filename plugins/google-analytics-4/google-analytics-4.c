/* SPDX-License-Identifier: Apache-2.0
 *
 * google-analytics-4.c - events for the GA4 Measurement Protocol.
 *
 * API: developers.google.com/analytics/devguides/collection/protocol/ga4. Its
 * answer is not known to tell what is dropped, so what must be there is
 * checked here, as Segment does, and refused with a reason.
 *
 * All actions share one function: every mapped field that is not part of the
 * envelope becomes a parameter of the event. */
#include <manifold/kit.h>

enum {
    VALUE_NEEDS_CURRENCY = 1,
    ITEMS_NEED_CURRENCY = 2, /* in the item or in the event */
    ITEMS_ALWAYS = 4         /* an empty list when there are none */
};

struct ga_action {
    mf_action base;
    const char *event; /* Google's name for it; NULL: the payload says */
    uint32_t rules;
};

enum {
    STREAM, APP_INSTANCE, CLIENT, CLIENT_ID, USER, TIME, CURRENCY, VALUE,
    ITEMS, USER_PROPERTIES, PARAMS, AD_DATA, AD_PERSONAL, NAME, LOWERCASE, PATHS
};
static const char *const paths[PATHS] = {
    [STREAM] = "data_stream_type",
    [APP_INSTANCE] = "app_instance_id",
    [CLIENT] = "client_id",
    [CLIENT_ID] = "clientId",
    [USER] = "user_id",
    [TIME] = "timestamp_micros",
    [CURRENCY] = "currency",
    [VALUE] = "value",
    [ITEMS] = "items",
    [USER_PROPERTIES] = "user_properties",
    [PARAMS] = "params",
    [AD_DATA] = "ad_user_data_consent",
    [AD_PERSONAL] = "ad_personalization_consent",
    [NAME] = "name",
    [LOWERCASE] = "lowercase",
};

/* Fields that are no parameters of the event. */
static const char *const envelope[] = {
    "data_stream_type", "app_instance_id", "client_id", "clientId", "user_id",
    "timestamp_micros", "user_properties", "params", "ad_user_data_consent",
    "ad_personalization_consent", "name", "lowercase",
};
#define ENVELOPE (sizeof envelope / sizeof *envelope)

static int is_mobile(mf_call *c, const mf_event *e)
{
    return mf_eq(mf_text(c, mf_field(e, STREAM)), MF_STR("Mobile App"));
}

static mf_val client_of(const mf_call *c, const mf_event *e)
{
    mf_val id = mf_field(e, CLIENT);

    return mf_truthy(c, id) ? id : mf_field(e, CLIENT_ID);
}

static int32_t check_stream(mf_call *c, const mf_event *e)
{
    if (is_mobile(c, e)) {
        if (!mf_truthy(c, kit_setting(c, "firebaseAppId")))
            return mf_fail(c, MF_INVALID,
                           MF_STR("Firebase App ID is required for mobile app "
                                  "streams"));
        if (!mf_truthy(c, mf_field(e, APP_INSTANCE)))
            return mf_fail(c, MF_INVALID,
                           MF_STR("Firebase App Instance ID is required for "
                                  "mobile app streams"));
        return MF_OK;
    }
    if (!mf_truthy(c, kit_setting(c, "measurementId")))
        return mf_fail(c, MF_INVALID,
                       MF_STR("Measurement ID is required for web streams"));
    if (!mf_truthy(c, client_of(c, e)))
        return mf_fail(c, MF_INVALID,
                       MF_STR("Client ID is required for web streams"));
    return MF_OK;
}

/* Three letters, as in ISO 4217; the list itself is Google's to keep. */
static int32_t check_currency(mf_call *c, mf_val currency)
{
    mf_str code = mf_text(c, currency);
    uint32_t letters = 0;

    for (size_t i = 0; i < code.len; i++)
        letters += (code.ptr[i] | 32) >= 'a' && (code.ptr[i] | 32) <= 'z';
    if (code.len == 0 || (code.len == 3 && letters == 3))
        return MF_OK;
    return mf_fail(c, MF_INVALID,
                   MF_JOIN(c, code, MF_STR(" is not a valid currency code.")));
}

static int32_t check_items(mf_call *c, const mf_event *e, uint32_t rules)
{
    int given = mf_given(mf_field(e, CURRENCY));
    mf_iter it = { { 0 } };
    mf_str index;
    mf_val item;

    while (mf_next(c, mf_field(e, ITEMS), &it, &index, &item)) {
        mf_val currency = mf_get(c, item, "currency");
        int32_t refused;

        if (!mf_given(mf_get(c, item, "item_id")) &&
            !mf_given(mf_get(c, item, "item_name")))
            return mf_fail(c, MF_INVALID,
                           MF_STR("One of product name or product id is "
                                  "required for product or impression data."));
        if ((rules & ITEMS_NEED_CURRENCY) && !given && !mf_given(currency))
            return mf_fail(c, MF_INVALID,
                           MF_STR("One of item-level currency or top-level "
                                  "currency is required."));
        refused = check_currency(c, currency);
        if (refused)
            return refused;
    }
    return MF_OK;
}

/* Google takes strings, numbers and booleans. A parameter `items` is the list
 * of products that a custom event may carry; a user property may be null,
 * which clears it. */
static int32_t check_values(mf_call *c, mf_val object, int params)
{
    mf_iter it = { { 0 } };
    mf_str key, type;
    mf_val value;

    while (mf_next(c, object, &it, &key, &value)) {
        if (value.type == MF_NULL && params)
            type = MF_STR("NULL");
        else if (value.type == MF_ARRAY)
            type = MF_STR("Array");
        else if (value.type == MF_OBJECT)
            type = MF_STR("object");
        else
            continue;
        if (params && mf_eq(key, MF_STR("items")))
            continue;
        return mf_fail(
            c, MF_INVALID,
            MF_JOIN(c, MF_STR("Param ["), key,
                    MF_STR("] has unsupported value of type ["), type,
                    params ? MF_STR("]. GA4 does not accept null, array, or "
                                    "object values for event parameters and "
                                    "item parameters.")
                           : MF_STR("]. GA4 does not accept array or object "
                                    "values for user properties.")));
    }
    return MF_OK;
}

static int32_t check(mf_call *c, const mf_event *e, uint32_t rules)
{
    mf_val currency = mf_field(e, CURRENCY);
    int32_t refused = check_stream(c, e);

    if (!refused)
        refused = check_currency(c, currency);
    if (!refused && (rules & VALUE_NEEDS_CURRENCY) && !mf_given(currency) &&
        mf_truthy(c, mf_field(e, VALUE)))
        refused = mf_fail(c, MF_INVALID,
                          MF_STR("Currency is required if value is set."));
    if (!refused)
        refused = check_items(c, e, rules);
    if (!refused)
        refused = check_values(c, mf_field(e, PARAMS), 1);
    if (!refused)
        refused = check_values(c, mf_field(e, USER_PROPERTIES), 0);
    return refused;
}

/* Event names have no spaces: " Signed Up" is "Signed_Up". */
static mf_str event_name(mf_call *c, const mf_event *e)
{
    int lower = mf_is_true(mf_field(e, LOWERCASE));
    mf_str from = kit_trim(mf_text(c, mf_field(e, NAME)));
    char *to = mf_alloc(c, from.len + 1);

    for (size_t i = 0; i < from.len; i++) {
        char ch = from.ptr[i];

        if (ch && strchr(" \t\r\n\f\v", ch))
            ch = '_';
        else if (lower && ch >= 'A' && ch <= 'Z')
            ch |= 32;
        to[i] = ch;
    }
    return (mf_str){ to, from.len };
}

static void write_params(mf_call *c, mf_writer *w, const mf_event *e,
                         uint32_t rules)
{
    mf_val params = mf_field(e, PARAMS), value;
    mf_iter fields = { { 0 } }, more = { { 0 } };
    mf_str key;

    mf_w_object(w, "params");
    while (mf_next(c, mf_payload(e), &fields, &key, &value)) {
        if (kit_index(key, envelope, ENVELOPE) < ENVELOPE ||
            kit_member(c, params, key).type != MF_ABSENT)
            continue;
        mf_w_key(w, key);
        mf_w_val(w, NULL, value);
    }
    if ((rules & ITEMS_ALWAYS) && !mf_given(mf_field(e, ITEMS))) {
        mf_w_array(w, "items");
        mf_w_end(w);
    }
    while (mf_next(c, params, &more, &key, &value)) {
        mf_w_key(w, key);
        mf_w_val(w, NULL, value);
    }
    mf_w_end(w);
}

static void write_user_properties(mf_call *c, mf_writer *w, mf_val properties)
{
    mf_iter it = { { 0 } };
    mf_val value;
    mf_str key;

    if (!mf_given(properties))
        return;
    mf_w_object(w, "user_properties");
    while (mf_next(c, properties, &it, &key, &value)) {
        mf_w_key(w, key);
        mf_w_object(w, NULL);
        mf_w_val(w, "value", value);
        mf_w_end(w);
    }
    mf_w_end(w);
}

static void write_consent(mf_writer *w, mf_val data, mf_val personal)
{
    if (!mf_given(data) && !mf_given(personal))
        return;
    mf_w_object(w, "consent");
    mf_w_val(w, "ad_user_data", data);
    mf_w_val(w, "ad_personalization", personal);
    mf_w_end(w);
}

/* A date, or digits: microseconds as they are, else milliseconds or seconds. */
static int32_t micros_of(mf_call *c, mf_val time, int64_t *micros)
{
    mf_val digits = mf_parse(c, mf_text(c, time));
    int64_t n = mf_integer(c, digits, 0);

    *micros = n;
    if (n >= 100000000000000)
        return MF_OK;
    n = mf_time(c, digits.type == MF_NUMBER ? digits : time, INT64_MIN);
    if (n == INT64_MIN)
        return mf_fail(c, MF_INVALID,
                       MF_STR("timestamp_micros is neither a date nor a Unix "
                              "time"));
    *micros = n * 1000;
    return MF_OK;
}

static int32_t perform(const void *self, mf_call *c, const mf_event *e)
{
    const struct ga_action *a = (const struct ga_action *)mf_action_of(c);
    int mobile = is_mobile(c, e);
    int32_t refused = check(c, e, a->rules);
    mf_val time = mf_field(e, TIME);
    int64_t micros = 0;
    mf_request *r;
    mf_writer *w;

    (void)self;
    if (!refused && mf_truthy(c, time))
        refused = micros_of(c, time, &micros);
    if (refused)
        return refused;
    r = mf_send(c, "POST",
                MF_STR("https://www.google-analytics.com/mp/collect"));
    mf_query(r, "api_secret", kit_setting_text(c, "apiSecret"));
    mf_query(r, mobile ? "firebase_app_id" : "measurement_id",
             kit_setting_text(c, mobile ? "firebaseAppId" : "measurementId"));
    w = mf_json_body(r);
    mf_w_object(w, NULL);
    if (mobile)
        mf_w_val(w, "app_instance_id", mf_field(e, APP_INSTANCE));
    else
        mf_w_val(w, "client_id", client_of(c, e));
    mf_w_val(w, "user_id", mf_field(e, USER));
    mf_w_array(w, "events");
    mf_w_object(w, NULL);
    mf_w_str(w, "name", a->event ? mf_cstr(a->event) : event_name(c, e));
    write_params(c, w, e, a->rules);
    mf_w_end(w);
    mf_w_end(w);
    write_user_properties(c, w, mf_field(e, USER_PROPERTIES));
    if (mf_truthy(c, time))
        mf_w_int(w, "timestamp_micros", micros);
    write_consent(w, mf_field(e, AD_DATA), mf_field(e, AD_PERSONAL));
    mf_w_end(w);
    return MF_OK;
}

/* Google has no call that tells whether a secret is right. */
static int32_t test_authentication(const void *self, mf_call *c,
                                   const mf_event *e)
{
    (void)self;
    (void)e;
    if (!mf_truthy(c, kit_setting(c, "measurementId")) &&
        !mf_truthy(c, kit_setting(c, "firebaseAppId")))
        return mf_fail(c, MF_INVALID,
                       MF_STR("Set measurementId for a web stream or "
                              "firebaseAppId for an app stream"));
    mf_result(c, MF_ALL, MF_DELIVERED, MF_STR(""));
    return MF_OK;
}

#define ACTION(SLUG, EVENT, RULES)                                             \
    { .base = { .slug = SLUG, .paths = paths, .path_count = PATHS,             \
                .perform = perform },                                          \
      .event = EVENT, .rules = RULES }

static const struct ga_action actions[] = {
    ACTION("purchase", "purchase", 0),
    ACTION("addToCart", "add_to_cart", 0),
    ACTION("pageView", "page_view", 0),
    ACTION("customEvent", NULL, 0),
    ACTION("selectItem", "select_item", 0),
    ACTION("beginCheckout", "begin_checkout", VALUE_NEEDS_CURRENCY),
    ACTION("selectPromotion", "select_promotion", ITEMS_ALWAYS),
    ACTION("viewItem", "view_item", VALUE_NEEDS_CURRENCY),
    ACTION("removeFromCart", "remove_from_cart",
           VALUE_NEEDS_CURRENCY | ITEMS_NEED_CURRENCY),
    ACTION("viewCart", "view_cart", VALUE_NEEDS_CURRENCY | ITEMS_NEED_CURRENCY),
    ACTION("search", "search", 0),
    ACTION("viewItemList", "view_item_list", 0),
    ACTION("signUp", "sign_up", 0),
    ACTION("viewPromotion", "view_promotion", 0),
    ACTION("addPaymentInfo", "add_payment_info",
           VALUE_NEEDS_CURRENCY | ITEMS_NEED_CURRENCY),
    ACTION("refund", "refund", VALUE_NEEDS_CURRENCY | ITEMS_ALWAYS),
    ACTION("login", "login", 0),
    ACTION("generateLead", "generate_lead", VALUE_NEEDS_CURRENCY),
    ACTION("addToWishlist", "add_to_wishlist",
           VALUE_NEEDS_CURRENCY | ITEMS_NEED_CURRENCY),
    { .base = { .slug = "testAuthentication",
                .perform = test_authentication } },
};

MF_EXPORT const mf_destination mf_destination_v1 = {
    .size = sizeof(mf_destination), .abi_minor = MF_ABI_MINOR,
    .action_size = sizeof(struct ga_action), .actions = &actions[0].base,
    .action_count = sizeof actions / sizeof *actions,
};
