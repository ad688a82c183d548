/* SPDX-License-Identifier: Apache-2.0
 *
 * braze.c - users, events, purchases, messages and catalogs for Braze.
 *
 * API: https://www.braze.com/docs/api/home. Users, events and purchases go to
 * /users/track, 75 objects a request. It takes the good ones and names the
 * others by their place:
 *   201 {"message":"success","errors":[{"type":"...","input_array":"events",
 *        "index":1}]}
 * while a 4xx refuses them all. createAlias, identifyUser and onDelete are
 * declared in the manifest. */
#include <manifold/kit.h>

#define OBJECTS_MAX 75 /* in one request to /users/track */

enum {
    EXTERNAL_ID, BRAZE_ID, EMAIL, PHONE, ALIAS_NAME, ALIAS_LABEL, NAME, TIME,
    PROPERTIES, EXISTING_ONLY, CUSTOM, PRODUCTS, PRODUCT, CART_CHANGE,
    TOTAL, FIRST_PRIORITY, SECOND_PRIORITY, EMAIL_TO_IDENTIFY, MERGE,
    RECIPIENTS, BROADCAST, ITEM, ITEM_ID, NEW_NAME, NEW_LABEL
};
static const char *const paths[] = {
    [EXTERNAL_ID] = "external_id",
    [BRAZE_ID] = "braze_id",
    [EMAIL] = "email",
    [PHONE] = "phone",
    [ALIAS_NAME] = "user_alias.alias_name",
    [ALIAS_LABEL] = "user_alias.alias_label",
    [NAME] = "name",
    [TIME] = "time",
    [PROPERTIES] = "properties",
    [EXISTING_ONLY] = "_update_existing_only",
    [CUSTOM] = "custom_attributes",
    [PRODUCTS] = "products",
    [PRODUCT] = "product",
    [CART_CHANGE] = "action",
    [TOTAL] = "total_value",
    [FIRST_PRIORITY] = "prioritization.first_priority",
    [SECOND_PRIORITY] = "prioritization.second_priority",
    [EMAIL_TO_IDENTIFY] = "email_to_identify",
    [MERGE] = "merge_behavior",
    [RECIPIENTS] = "recipients",
    [BROADCAST] = "broadcast",
    [ITEM] = "item",
    [ITEM_ID] = "item_id",
    [NEW_NAME] = "alias_name",
    [NEW_LABEL] = "alias_label",
};

/* Who says that only users are touched whom Braze knows: a field; the sync
 * mode; or the sync mode, which may be missing, and an alias. */
enum { FIELD_SAYS, MODE_SAYS, ALIAS_SAYS_TOO };

struct braze_action {
    mf_action base;
    const char *modes[2]; /* the sync modes it has; none: it heeds none */
    /* Of the actions that go to /users/track: */
    const char *array;  /* of the request's body */
    uint32_t existing;
    uint32_t last_name; /* EXTERNAL_ID up to this field name the user */
    /* What keeps an event from being sent, if anything but that; and how many
     * objects it will be, 1 unless this says. Optional. */
    int32_t (*check)(mf_call *, const mf_event *, uint32_t *objects,
                     mf_str *why);
    void (*write)(mf_call *, kit_records *, const mf_event *, uint32_t i);
};

static const struct braze_action *action_of(const mf_call *c)
{
    return (const struct braze_action *)mf_action_of(c);
}

static mf_request *send_to(mf_call *c, const char *method, mf_str path)
{
    return mf_send(c, method,
                   MF_JOIN(c, kit_setting_text(c, "endpoint"), path));
}

/* What is wrong with the mapping's sync mode, or "". */
static mf_str mode_fault(mf_call *c)
{
    const struct braze_action *a = action_of(c);
    mf_str mode = kit_sync_mode(c);

    if (!a->modes[0] || (a->existing == ALIAS_SAYS_TOO && !mode.len))
        return MF_STR("");
    for (size_t k = 0; k < KIT_N(a->modes) && a->modes[k]; k++)
        if (mf_eq(mode, mf_cstr(a->modes[k])))
            return MF_STR("");
    return MF_JOIN(c, MF_STR("the mapping's sync mode must be "),
                   mf_cstr(a->modes[0]),
                   a->modes[1] ? MF_STR(" or ") : MF_STR(""),
                   mf_cstr(a->modes[1]));
}

/* ---- what objects of /users/track have in common ---- */

static int has_alias(mf_call *c, const mf_event *e)
{
    return mf_truthy(c, mf_field(e, ALIAS_NAME)) &&
           mf_truthy(c, mf_field(e, ALIAS_LABEL));
}

static void put_alias(mf_call *c, mf_writer *w, const mf_event *e)
{
    if (!has_alias(c, e))
        return;
    mf_w_object(w, "user_alias");
    mf_w_val(w, "alias_name", mf_field(e, ALIAS_NAME));
    mf_w_val(w, "alias_label", mf_field(e, ALIAS_LABEL));
    mf_w_end(w);
}

/* A time as Braze writes it, or the day alone; what is no time stays. */
static void put_time(mf_call *c, mf_writer *w, const char *key, mf_val time,
                     int day)
{
    int64_t ms = mf_given(time) ? mf_time(c, time, INT64_MIN) : INT64_MIN;
    mf_str text;

    if (ms == INT64_MIN) {
        mf_w_val(w, key, time);
        return;
    }
    text = mf_iso(c, ms);
    if (day)
        text.len = kit_find(text, MF_STR("T"));
    mf_w_str(w, key, text);
}

static void put_existing_only(mf_call *c, mf_writer *w, const mf_event *e)
{
    uint32_t existing = action_of(c)->existing;
    int update = mf_eq(kit_sync_mode(c), MF_STR("update"));

    if (existing == FIELD_SAYS)
        mf_w_val(w, paths[EXISTING_ONLY], mf_field(e, EXISTING_ONLY));
    else if (existing == MODE_SAYS)
        mf_w_bool(w, paths[EXISTING_ONLY], update);
    else if (update || has_alias(c, e))
        mf_w_bool(w, paths[EXISTING_ONLY], 1);
}

/* The beginning of an event or a purchase. */
static void start_object(mf_call *c, mf_writer *w, const mf_event *e)
{
    mf_w_object(w, NULL);
    for (uint32_t k = EXTERNAL_ID; k <= PHONE; k++)
        mf_w_val(w, paths[k], mf_field(e, k));
    put_alias(c, w, e);
    mf_w_val(w, "app_id", kit_setting(c, "app_id"));
    put_time(c, w, "time", mf_field(e, TIME), 0);
    put_existing_only(c, w, e);
}

static int32_t refuse(mf_str *why, int32_t status, mf_str message)
{
    *why = message;
    return status;
}

/* ---- events ---- */

static void write_event(mf_call *c, kit_records *at, const mf_event *e,
                        uint32_t i)
{
    kit_record(at, i);
    start_object(c, at->w, e);
    mf_w_val(at->w, "name", mf_field(e, NAME));
    mf_w_val(at->w, "properties", mf_field(e, PROPERTIES));
    mf_w_end(at->w);
}

/* ---- purchases: one for each product ---- */

static int32_t check_order(mf_call *c, const mf_event *e, uint32_t *objects,
                           mf_str *why)
{
    *objects = kit_count(c, mf_field(e, PRODUCTS));
    if (!*objects)
        return refuse(why, MF_INVALID, MF_STR("the order has no products"));
    if (*objects > OBJECTS_MAX)
        return refuse(why, 413,
                      MF_STR("Braze takes 75 purchases at once, and the order "
                             "has more"));
    return MF_OK;
}

static void write_purchases(mf_call *c, kit_records *at, const mf_event *e,
                            uint32_t i)
{
    static const char *const own[] = { "product_id", "price", "quantity",
                                       "currency" };
    static const char *const not_of_order[] = { "products" };
    mf_val order = mf_field(e, PROPERTIES), product, currency;
    mf_iter it = { { 0 } };
    mf_str index;

    while (mf_next(c, mf_field(e, PRODUCTS), &it, &index, &product)) {
        kit_record(at, i);
        start_object(c, at->w, e);
        for (size_t k = 0; k < 3; k++)
            mf_w_val(at->w, own[k], mf_get(c, product, own[k]));
        currency = mf_get(c, product, "currency");
        mf_w_str(at->w, "currency", mf_given(currency) ? mf_text(c, currency)
                                                       : MF_STR("USD"));
        mf_w_object(at->w, "properties");
        kit_w_others(c, at->w, product, own, KIT_N(own), order);
        kit_w_others(c, at->w, order, not_of_order, 1, KIT_ABSENT);
        mf_w_end(at->w);
        mf_w_end(at->w);
    }
}

/* ---- users ---- */

/* All fields of a user. Custom attributes that have the name of one are left
 * out, so that a field that is mapped to nothing stays so. */
enum {
    P_ALIAS, P_CUSTOM, P_BATCH, P_BATCH_SIZE, P_EXISTING, /* not copied */
    P_FIRST_SESSION, P_LAST_SESSION, P_SPAM, P_BIRTH,     /* times */
    P_GENDER, P_GROUPS, P_LOCATION, P_COPIED
};
static const char *const profile[] = {
    [P_ALIAS] = "user_alias",
    [P_CUSTOM] = "custom_attributes",
    [P_BATCH] = "enable_batching",
    [P_BATCH_SIZE] = "batch_size",
    [P_EXISTING] = "_update_existing_only",
    [P_FIRST_SESSION] = "date_of_first_session",
    [P_LAST_SESSION] = "date_of_last_session",
    [P_SPAM] = "marked_email_as_spam_at",
    [P_BIRTH] = "dob",
    [P_GENDER] = "gender",
    [P_GROUPS] = "subscription_groups",
    [P_LOCATION] = "current_location",
    [P_COPIED] = "external_id",
    "braze_id",
    "country",
    "email",
    "email_subscribe",
    "email_open_tracking_disabled",
    "email_click_tracking_disabled",
    "facebook",
    "first_name",
    "home_city",
    "image_url",
    "language",
    "last_name",
    "phone",
    "push_subscribe",
    "push_tokens",
    "time_zone",
    "twitter",
    /* traits that fields stand for by default */
    "firstName",
    "lastName",
    "avatar",
};

/* Braze's letter for a word, in whatever case; other words stay. */
static void put_gender(mf_call *c, mf_writer *w, mf_val gender)
{
    static const struct {
        const char *word, *letter;
    } genders[] = {
        { "man", "M" },   { "male", "M" },           { "m", "M" },
        { "woman", "F" }, { "female", "F" },         { "w", "F" },
        { "f", "F" },     { "other", "O" },          { "o", "O" },
        { "n", "N" },     { "not applicable", "N" }, { "p", "P" },
        { "prefer not to say", "P" },
    };
    mf_str word = kit_lower(c, mf_text(c, gender));

    for (size_t k = 0; k < KIT_N(genders); k++)
        if (mf_eq(word, mf_cstr(genders[k].word))) {
            mf_w_str(w, "gender", mf_cstr(genders[k].letter));
            return;
        }
    mf_w_val(w, "gender", gender);
}

static void put_attribute(mf_call *c, mf_writer *w, mf_str key, mf_val v)
{
    size_t k = kit_index(key, profile, KIT_N(profile));

    if (k <= P_EXISTING ||
        ((k == P_GROUPS || k == P_LOCATION) && v.len == 2)) /* [] or {} */
        return;
    if (k <= P_BIRTH) {
        put_time(c, w, profile[k], v, k == P_BIRTH);
    } else if (k == P_GENDER) {
        put_gender(c, w, v);
    } else {
        mf_w_key(w, key);
        mf_w_val(w, NULL, v);
    }
}

static void write_attributes(mf_call *c, kit_records *at, const mf_event *e,
                             uint32_t i)
{
    mf_iter it = { { 0 } };
    mf_val value;
    mf_str key;

    kit_record(at, i);
    mf_w_object(at->w, NULL);
    kit_w_others(c, at->w, mf_field(e, CUSTOM), profile, KIT_N(profile),
                 KIT_ABSENT);
    while (mf_next(c, mf_payload(e), &it, &key, &value))
        put_attribute(c, at->w, key, value);
    put_alias(c, at->w, e);
    put_existing_only(c, at->w, e);
    mf_w_end(at->w);
}

/* ---- events of a shop ---- */

enum {
    VIEWED = 1, CART = 2, CHECKOUT = 4, PLACED = 8, CANCELLED = 16,
    REFUNDED = 32
};
static const char *const shop_events[] = {
    "ecommerce.product_viewed",   "ecommerce.cart_updated",
    "ecommerce.checkout_started", "ecommerce.order_placed",
    "ecommerce.order_cancelled",  "ecommerce.order_refunded",
};

/* Which events have a property. */
static const struct {
    const char *field, *name;
    uint32_t events;
} shop_properties[] = {
    { "catalog_type", "type", VIEWED },
    { "total_value", "total_value", ~(uint32_t)VIEWED },
    { "action", "action", CART },
    { "checkout_id", "checkout_id", CHECKOUT },
    { "order_id", "order_id", PLACED | CANCELLED | REFUNDED },
    { "cart_id", "cart_id", CART | CHECKOUT | PLACED },
    { "cancel_reason", "cancel_reason", CANCELLED },
    { "subtotal_value", "subtotal_value",
      CART | CHECKOUT | PLACED | CANCELLED },
    { "tax", "tax", CART | CHECKOUT | PLACED | CANCELLED },
    { "shipping", "shipping", CART | CHECKOUT | PLACED | CANCELLED },
    { "total_discounts", "total_discounts", PLACED | CANCELLED | REFUNDED },
    { "discounts", "discounts", PLACED | CANCELLED | REFUNDED },
};

static uint32_t shop_event(mf_call *c, const mf_event *e)
{
    return 1u << kit_index(mf_text(c, mf_field(e, NAME)), shop_events,
                           KIT_N(shop_events));
}

static int32_t check_cart(mf_call *c, const mf_event *e, uint32_t *objects,
                          mf_str *why)
{
    mf_str change = mf_text(c, mf_field(e, CART_CHANGE));

    (void)objects;
    if (shop_event(c, e) == CART && !mf_given(mf_field(e, TOTAL)) &&
        !mf_eq(change, MF_STR("add")) && !mf_eq(change, MF_STR("remove")))
        return refuse(why, MF_INVALID,
                      MF_STR("a cart needs its total_value, unless a product "
                             "is added or removed"));
    return MF_OK;
}

/* A product of a list; what Braze has no name for is its metadata. */
static void write_product(mf_call *c, mf_writer *w, mf_val product)
{
    static const char *const own[] = { "product_id", "product_name",
                                       "variant_id", "image_url",
                                       "product_url", "quantity", "price" };
    mf_iter it = { { 0 } };
    int more = 0;
    mf_val value;
    mf_str key;

    mf_w_object(w, NULL);
    while (mf_next(c, product, &it, &key, &value)) {
        size_t k = kit_index(key, own, KIT_N(own));

        if (k < KIT_N(own))
            mf_w_val(w, own[k], value);
        else
            more = 1;
    }
    if (more) {
        mf_w_object(w, "metadata");
        kit_w_others(c, w, product, own, KIT_N(own), KIT_ABSENT);
        mf_w_end(w);
    }
    mf_w_end(w);
}

static void write_shop_event(mf_call *c, kit_records *at, const mf_event *e,
                             uint32_t i)
{
    uint32_t event = shop_event(c, e);
    mf_iter it = { { 0 } };
    mf_writer *w = at->w;
    mf_val product;
    mf_str index;

    kit_record(at, i);
    start_object(c, w, e);
    mf_w_val(w, "name", mf_field(e, NAME));
    mf_w_object(w, "properties");
    mf_w_val(w, "currency", mf_get(c, mf_payload(e), "currency"));
    mf_w_val(w, "source", mf_get(c, mf_payload(e), "source"));
    mf_w_val(w, "metadata", mf_get(c, mf_payload(e), "metadata"));
    for (size_t k = 0; k < KIT_N(shop_properties); k++)
        if (shop_properties[k].events & event)
            mf_w_val(w, shop_properties[k].name,
                     mf_get(c, mf_payload(e), shop_properties[k].field));
    kit_w_others(c, w, mf_field(e, PRODUCT), NULL, 0, KIT_ABSENT);
    if (mf_field(e, PRODUCTS).type == MF_ARRAY) {
        mf_w_array(w, "products");
        while (mf_next(c, mf_field(e, PRODUCTS), &it, &index, &product))
            write_product(c, w, product);
        mf_w_end(w);
    }
    mf_w_end(w);
    mf_w_end(w);
}

/* ---- /users/track ---- */

static int32_t check_object(mf_call *c, const mf_event *e, uint32_t *objects,
                            mf_str *why)
{
    const struct braze_action *a = action_of(c);
    int named = has_alias(c, e);

    for (uint32_t k = EXTERNAL_ID; k <= a->last_name && !named; k++)
        named = mf_truthy(c, mf_field(e, k));
    if (!named)
        return refuse(why, MF_INVALID,
                      MF_STR("no external_id, user_alias, braze_id or email "
                             "says whose it is"));
    *objects = 1;
    return a->check ? a->check(c, e, objects, why) : MF_OK;
}

static kit_records *start_request(mf_call *c)
{
    mf_request *r = send_to(c, "POST", MF_STR("/users/track"));
    mf_writer *w = mf_json_body(r);

    mf_w_object(w, NULL);
    mf_w_array(w, action_of(c)->array);
    return kit_records_of(c, r, w, OBJECTS_MAX);
}

static void end_request(kit_records *at)
{
    if (!at)
        return;
    mf_w_end(at->w);
    mf_w_end(at->w);
    if (at->count > 1)
        mf_header(at->request, "x-braze-batch", MF_STR("true"));
}

static int32_t track(const void *self, mf_call *c,
                     const mf_event *const *events, uint32_t n)
{
    mf_str why = mode_fault(c);
    kit_records *at = NULL;
    uint32_t objects;

    (void)self;
    if (why.len)
        mf_result(c, MF_ALL, MF_INVALID, why);
    for (uint32_t i = 0; i < n && !why.len; i++) {
        mf_str message;
        int32_t refused = check_object(c, events[i], &objects, &message);

        if (refused) {
            mf_result(c, i, refused, message);
            continue;
        }
        if (at && at->count + objects > OBJECTS_MAX) {
            end_request(at);
            at = NULL;
        }
        if (!at)
            at = start_request(c);
        action_of(c)->write(c, at, events[i], i);
    }
    end_request(at);
    return MF_OK;
}

/* As in a batch, but that an order without products is passed over. */
static int32_t track_one(const void *self, mf_call *c, const mf_event *e)
{
    if (action_of(c)->check == check_order &&
        !kit_count(c, mf_field(e, PRODUCTS)))
        return MF_SKIP;
    return track(self, c, &e, 1);
}

/* The event that an error is about; MF_ALL if it does not say. */
static uint32_t event_of(mf_call *c, const mf_request *r, mf_val error)
{
    const char *array = action_of(c)->array;
    mf_str of = mf_text(c, mf_get(c, error, "input_array"));

    if (!array || !of.len)
        return mf_covered(r, 1) == MF_ALL ? mf_covered(r, 0) : MF_ALL;
    if (!mf_eq(of, mf_cstr(array)))
        return MF_ALL;
    return kit_record_event(r, mf_integer(c, mf_get(c, error, "index"), -1));
}

/* Under a 2xx `errors` says what was not taken, else why nothing was. */
static int32_t judge(const void *self, mf_call *c, const mf_request *r,
                     const mf_response *a)
{
    mf_val errors = mf_get(c, mf_answer_json(a), "errors"), error;
    mf_iter it = { { 0 } };
    mf_str key, why;

    (void)self;
    if (mf_status(a) / 100 != 2)
        return kit_refuse(c, r, mf_status(a),
                          mf_text(c, mf_get(c, mf_answer_json(a), "message")));
    while (errors.type == MF_ARRAY &&
           mf_next(c, errors, &it, &key, &error)) {
        uint32_t event = event_of(c, r, error);

        why = mf_text(c, mf_get(c, error, "type"));
        if (event != MF_ALL)
            mf_result(c, event, MF_INVALID, why.len ? why : mf_text(c, error));
    }
    return MF_DELIVERED;
}

/* ---- aliases ---- */

static int32_t create_alias(const void *self, mf_call *c, const mf_event *e)
{
    mf_str fault = mode_fault(c);
    mf_writer *w;

    (void)self;
    if (fault.len)
        return mf_fail(c, MF_INVALID, fault);
    w = mf_json_body(send_to(c, "POST", MF_STR("/users/alias/new")));
    mf_w_object(w, NULL);
    mf_w_array(w, "user_aliases");
    mf_w_object(w, NULL);
    mf_w_val(w, "external_id", mf_field(e, EXTERNAL_ID));
    mf_w_val(w, "alias_name", mf_field(e, NEW_NAME));
    mf_w_val(w, "alias_label", mf_field(e, NEW_LABEL));
    mf_w_end(w);
    mf_w_end(w);
    mf_w_end(w);
    return MF_OK;
}

static void put_priorities(mf_writer *w, const mf_event *e)
{
    mf_val first = mf_field(e, FIRST_PRIORITY);

    mf_w_array(w, "prioritization");
    mf_w_val(w, NULL, mf_given(first) ? first : KIT_NULL);
    mf_w_val(w, NULL, mf_field(e, SECOND_PRIORITY));
    mf_w_end(w);
}

static int32_t identify(const void *self, mf_call *c, const mf_event *e)
{
    mf_val email = mf_field(e, EMAIL_TO_IDENTIFY), id;
    mf_str fault = mode_fault(c);
    mf_writer *w;

    (void)self;
    if (fault.len)
        return mf_fail(c, MF_INVALID, fault);
    id = mf_field(e, EXTERNAL_ID);
    w = mf_json_body(send_to(c, "POST", MF_STR("/users/identify")));
    mf_w_object(w, NULL);
    if (has_alias(c, e)) {
        mf_w_array(w, "aliases_to_identify");
        mf_w_object(w, NULL);
        mf_w_val(w, "external_id", id);
        put_alias(c, w, e);
        mf_w_end(w);
        mf_w_end(w);
    }
    if (mf_given(email)) {
        mf_w_array(w, "emails_to_identify");
        mf_w_object(w, NULL);
        mf_w_val(w, "external_id", id);
        mf_w_val(w, "email", email);
        put_priorities(w, e);
        mf_w_end(w);
        mf_w_end(w);
    }
    mf_w_val(w, "merge_behavior", mf_field(e, MERGE));
    mf_w_end(w);
    return MF_OK;
}

/* ---- messages ---- */

static void write_recipients(mf_call *c, mf_writer *w, const mf_event *e)
{
    mf_iter it = { { 0 } };
    mf_val recipient;
    mf_str index;

    mf_w_array(w, "recipients");
    while (mf_next(c, mf_field(e, RECIPIENTS), &it, &index, &recipient)) {
        mf_w_object(w, NULL);
        kit_w_others(c, w, recipient, NULL, 0, KIT_ABSENT);
        if (mf_given(mf_field(e, FIRST_PRIORITY)) ||
            mf_given(mf_field(e, SECOND_PRIORITY)))
            put_priorities(w, e);
        mf_w_end(w);
    }
    mf_w_end(w);
}

static int32_t trigger(mf_call *c, const mf_event *e, mf_str path)
{
    static const char *const own[] = { "recipients", "prioritization" };
    int broadcast = mf_is_true(mf_field(e, BROADCAST));
    mf_val list = mf_field(e, RECIPIENTS);
    int recipients = list.type == MF_ARRAY && list.len > 2;
    mf_writer *w;

    if (broadcast == recipients)
        return mf_fail(c, MF_INVALID,
                       broadcast ? MF_STR("a broadcast has no recipients")
                                 : MF_STR("no broadcast and no recipients"));
    w = mf_json_body(send_to(c, "POST", path));
    mf_w_object(w, NULL);
    kit_w_others(c, w, mf_payload(e), own, recipients ? KIT_N(own) : 1,
                 KIT_ABSENT);
    if (recipients)
        write_recipients(c, w, e);
    mf_w_end(w);
    return MF_OK;
}

static int32_t trigger_campaign(const void *self, mf_call *c,
                                const mf_event *e)
{
    (void)self;
    return trigger(c, e, MF_STR("/campaigns/trigger/send"));
}

static int32_t trigger_canvas(const void *self, mf_call *c, const mf_event *e)
{
    (void)self;
    return trigger(c, e, MF_STR("/canvas/trigger/send"));
}

/* ---- catalogs ---- */

/* The catalog's items, or one of them; NULL if it cannot be: then the events
 * have the reason. */
static mf_request *send_items(mf_call *c, mf_str item_id)
{
    mf_str catalog = mf_text(c, mf_get(c, mf_meta(c, MF_META_MAPPING),
                                       "onMappingSave.outputs.catalog_name"));
    mf_str fault = mode_fault(c);

    if (!fault.len && !catalog.len)
        fault = MF_STR("the mapping names no catalog in "
                       "onMappingSave.outputs.catalog_name");
    if (fault.len) {
        mf_result(c, MF_ALL, MF_INVALID, fault);
        return NULL;
    }
    return send_to(c, mf_eq(kit_sync_mode(c), MF_STR("delete")) ? "DELETE"
                                                                : "PUT",
                   MF_JOIN(c, MF_STR("/catalogs/"),
                           mf_encode(c, MF_PERCENT, catalog),
                           MF_STR("/items/"),
                           mf_encode(c, MF_PERCENT, item_id)));
}

static int32_t catalog_item(const void *self, mf_call *c, const mf_event *e)
{
    mf_request *r = send_items(c, mf_text(c, mf_field(e, ITEM_ID)));
    mf_writer *w;

    (void)self;
    if (!r || !mf_given(mf_field(e, ITEM)))
        return MF_OK;
    w = mf_json_body(r);
    mf_w_object(w, NULL);
    mf_w_array(w, "items");
    mf_w_val(w, NULL, mf_field(e, ITEM));
    mf_w_end(w);
    mf_w_end(w);
    return MF_OK;
}

/* Why event i cannot stand in a request with those before it, or "". */
static mf_str item_fault(mf_call *c, const mf_event *const *events, uint32_t i)
{
    mf_val item = mf_field(events[i], ITEM);
    mf_str id = mf_text(c, mf_field(events[i], ITEM_ID));

    if (item.len <= 2 && !mf_eq(kit_sync_mode(c), MF_STR("delete")))
        return MF_STR("the item has no values");
    for (uint32_t k = 0; k < i; k++)
        if (mf_eq(id, mf_text(c, mf_field(events[k], ITEM_ID))))
            return MF_STR("another event of the batch has the same item_id");
    return MF_STR("");
}

static int32_t catalog_items(const void *self, mf_call *c,
                             const mf_event *const *events, uint32_t n)
{
    static const char *const id[] = { "id" };
    mf_str *ids = mf_alloc(c, (n + 1) * sizeof *ids);
    mf_request *r = send_items(c, MF_STR(""));
    size_t count = 0;
    mf_writer *w;

    (void)self;
    if (!r)
        return MF_OK;
    mf_tag(r, 0, ids);
    w = mf_json_body(r);
    mf_w_object(w, NULL);
    mf_w_array(w, "items");
    for (uint32_t i = 0; i < n; i++) {
        mf_str fault = item_fault(c, events, i);

        if (fault.len) {
            mf_result(c, i, MF_INVALID, fault);
            continue;
        }
        mf_covers(r, i);
        ids[count++] = mf_text(c, mf_field(events[i], ITEM_ID));
        mf_w_object(w, NULL);
        kit_w_others(c, w, mf_field(events[i], ITEM), id, 1, KIT_ABSENT);
        mf_w_val(w, "id", mf_field(events[i], ITEM_ID));
        mf_w_end(w);
    }
    mf_w_end(w);
    mf_w_end(w);
    return MF_OK;
}

/* Whether errors name the item; then why. */
static int blamed(mf_call *c, mf_val errors, mf_str id, mf_str *why)
{
    mf_iter it = { { 0 } };
    mf_val error, value;
    mf_str index;

    while (mf_next(c, errors, &it, &index, &error)) {
        mf_iter values = { { 0 } };

        *why = mf_text(c, mf_get(c, error, "message"));
        while (mf_next(c, mf_get(c, error, "parameter_values"), &values,
                       &index, &value))
            if (mf_eq(id, mf_text(c, value)))
                return 1;
    }
    return 0;
}

/* A batch that is refused for some of its items goes again without them. */
static int32_t refuse_items(mf_call *c, const mf_request *r, int32_t status,
                            mf_val errors)
{
    mf_str why, *ids;
    int some = 0;
    void *state;

    mf_step(r, &state);
    ids = state;
    for (uint32_t k = 0; ids && mf_covered(r, k) != MF_ALL; k++)
        if (blamed(c, errors, ids[k], &why)) {
            mf_result(c, mf_covered(r, k), status, why);
            some = 1;
        }
    if (!some)
        return kit_refuse(c, r, status,
                          mf_text(c, mf_get(c, errors, "[0].message")));
    return kit_settle(c, r, MF_RETRY,
                      MF_STR("refused for another item of the batch"));
}

/* A catalog that is not there is Not Found, whatever the status was. */
static int32_t judge_catalog(const void *self, mf_call *c, const mf_request *r,
                             const mf_response *a)
{
    mf_val errors = mf_get(c, mf_answer_json(a), "errors");
    mf_str id = mf_text(c, mf_get(c, errors, "[0].id"));

    (void)self;
    if (mf_status(a) / 100 != 4 || errors.type != MF_ARRAY)
        return MF_OK;
    if (mf_eq(id, MF_STR("catalog-not-found")))
        return kit_refuse(c, r, 404, MF_STR("Braze has no such catalog"));
    return refuse_items(c, r, mf_status(a), errors);
}

/* ---- */

#define BASE(SLUG, ...)                                                        \
    .base = { .slug = SLUG, .paths = paths, .path_count = KIT_N(paths),        \
              __VA_ARGS__ }
#define TRACK(SLUG, ARRAY, WRITE, CHECK, LAST, EXISTING, MODE, OTHER_MODE)     \
    { BASE(SLUG, .perform = track_one, .perform_batch = track,                 \
           .judge = judge),                                                    \
      .array = ARRAY, .write = WRITE, .check = CHECK, .last_name = LAST,       \
      .existing = EXISTING, .modes = { MODE, OTHER_MODE } }
#define USER(SLUG, ...)                                                        \
    TRACK(SLUG, "attributes", write_attributes, NULL, EMAIL, __VA_ARGS__)
#define EVENT(SLUG, ...)                                                       \
    TRACK(SLUG, "events", write_event, NULL, EMAIL, __VA_ARGS__)
#define ORDER(SLUG, ...)                                                       \
    TRACK(SLUG, "purchases", write_purchases, check_order, EMAIL, __VA_ARGS__)
#define SHOP(SLUG)                                                             \
    TRACK(SLUG, "events", write_shop_event, check_cart, PHONE,                 \
          ALIAS_SAYS_TOO, "add", "update")

static const struct braze_action actions[] = {
    USER("updateUserProfile", FIELD_SAYS, NULL, NULL),
    USER("updateUserProfile2", MODE_SAYS, "update", NULL),
    EVENT("trackEvent", FIELD_SAYS, NULL, NULL),
    EVENT("trackEvent2", MODE_SAYS, "add", "update"),
    ORDER("trackPurchase", FIELD_SAYS, NULL, NULL),
    ORDER("trackPurchase2", MODE_SAYS, "add", "update"),
    SHOP("ecommerce"),
    SHOP("ecommerceSingleProduct"),
    { BASE("createAlias2", .perform = create_alias), .modes = { "add" } },
    { BASE("identifyUser2", .perform = identify, .judge = judge),
      .modes = { "add", "upsert" } },
    { BASE("triggerCampaign", .perform = trigger_campaign) },
    { BASE("triggerCanvas", .perform = trigger_canvas) },
    { BASE("upsertCatalogItem", .perform = catalog_item,
           .perform_batch = catalog_items, .judge = judge_catalog),
      .modes = { "upsert", "delete" } },
};

MF_EXPORT const mf_destination mf_destination_v1 = {
    .size = sizeof(mf_destination), .abi_minor = MF_ABI_MINOR,
    .action_size = sizeof(struct braze_action), .actions = &actions[0].base,
    .action_count = KIT_N(actions),
};
