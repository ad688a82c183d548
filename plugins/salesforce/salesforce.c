/* SPDX-License-Identifier: Apache-2.0
 *
 * salesforce.c - records of Salesforce, one at a time: created, or found by
 * the values of some fields and then updated, created or deleted.
 *
 * API: https://developer.salesforce.com/docs/atlas.en-us.api_rest.meta. A
 * record is looked for with a SOQL query, {"totalSize":1,"records":[{"Id"}]}.
 * Errors are [{"errorCode":"CODE","message":"..."}]; some that pass come with
 * a status that says otherwise: see `passing`. Batches are in bulk.c.
 *
 * All actions share one function. Names of fields are Salesforce's own in
 * small letters: last_name is LastName, billing_city is BillingCity. */
#include "salesforce.h"

#define VERSION      "/services/data/v53.0"
#define LIMIT_MS     300000 /* of quiet when the day's requests are used up */

static const char *const paths[PATHS] = {
    [TRAITS] = "traits",
    [MATCHER] = "recordMatcherOperator",
    [EXTERNAL_ID] = "bulkUpsertExternalId.externalIdName",
    [EXTERNAL_VALUE] = "bulkUpsertExternalId.externalIdValue",
    [RECORD_ID] = "bulkUpdateRecordId",
    [OBJECT] = "customObjectName",
    [CUSTOM] = "customFields",
    [OPERATION] = "operation",
};

/* Fields of an action that are no fields of a record. */
static const char *const not_fields[] = {
    "traits", "recordMatcherOperator", "bulkUpsertExternalId",
    "bulkUpdateRecordId", "customObjectName", "customFields", "operation",
    "enable_batching", "batch_size",
};

static const char *const operations[] = {
    [OP_NONE] = "", [OP_CREATE] = "create", [OP_UPDATE] = "update",
    [OP_UPSERT] = "upsert", [OP_DELETE] = "delete",
};

static const char *const methods[] = {
    [OP_CREATE] = "POST", [OP_UPDATE] = "PATCH", [OP_UPSERT] = "PATCH",
    [OP_DELETE] = "DELETE",
};

/* Errors that pass, whatever status they come with. */
static const struct {
    const char *code;
    int32_t status;
} passing[] = {
    { "REQUEST_LIMIT_EXCEEDED", 429 },
    { "UNABLE_TO_LOCK_ROW", MF_RETRY },
    { "SERVER_UNAVAILABLE", MF_RETRY },
    { "QUERY_TIMEOUT", MF_RETRY },
};

static void *create(mf_call *c)
{
    struct sf *sf = mf_alloc(c, sizeof *sf);
    mf_str url = kit_setting_text(c, "instanceUrl");

    while (url.len && url.ptr[url.len - 1] == '/')
        url.len--;
    sf->api = MF_JOIN(c, url, MF_STR(VERSION));
    return sf;
}

/* ---- what is asked ---- */

int sf_is_name(mf_str s)
{
    for (size_t i = 0; i < s.len; i++) {
        char ch = s.ptr[i];

        if (!((ch | 32) >= 'a' && (ch | 32) <= 'z') && ch != '_' &&
            !(ch >= '0' && ch <= '9'))
            return 0;
    }
    return s.len > 0;
}

static enum operation operation_of(mf_call *c, const mf_event *e, int sync)
{
    mf_str said = sync ? kit_sync_mode(c) : mf_text(c, mf_field(e, OPERATION));
    size_t op;

    if (sync && mf_eq(said, MF_STR("add")))
        return OP_CREATE;
    op = said.len ? kit_index(said, operations, KIT_N(operations)) : OP_NONE;
    return op < KIT_N(operations) ? (enum operation)op : OP_NONE;
}

/* A new record without these would be refused, and an upsert may have to make
 * one. */
static mf_str missing(mf_call *c, const struct sf_action *a, const mf_event *e)
{
    for (size_t i = 0; i < KIT_N(a->needed) && a->needed[i]; i++)
        if (!mf_truthy(c, mf_get(c, mf_payload(e), a->needed[i])))
            return mf_cstr(a->needed[i]);
    return (mf_str){ NULL, 0 };
}

struct order sf_order(mf_call *c, const mf_event *e)
{
    const struct sf_action *a = (const struct sf_action *)mf_action_of(c);
    struct order o = { .op = operation_of(c, e, (int)a->sync_mode) };
    mf_str lacks = { NULL, 0 };

    o.object = a->object ? mf_cstr(a->object) : mf_text(c, mf_field(e, OBJECT));
    if (o.op == OP_CREATE || o.op == OP_UPSERT)
        lacks = missing(c, a, e);
    if (o.op == OP_NONE)
        o.why = a->sync_mode ? MF_STR("the mapping has no sync mode that this "
                                      "action knows")
                             : MF_STR("no such operation");
    else if (!sf_is_name(o.object))
        o.why = MF_JOIN(c, MF_STR("no object can have the name "), o.object);
    else if (lacks.len)
        o.why = MF_JOIN(c, MF_STR("a new "), o.object, MF_STR(" needs "),
                        lacks);
    else if (!a->object && o.op != OP_DELETE && !mf_given(mf_field(e, CUSTOM)))
        o.why = MF_STR("customFields has nothing to write");
    return o;
}

/* ---- records ---- */

struct fields sf_fields(const mf_event *e)
{
    return (struct fields){ .payload = mf_payload(e),
                            .custom = mf_field(e, CUSTOM) };
}

/* "billing_city" is BillingCity; too long for a field of ours is as it is. */
static mf_str camel(struct fields *f, mf_str key)
{
    size_t n = 0;
    int upper = 1;

    if (key.len > sizeof f->name)
        return key;
    for (size_t i = 0; i < key.len; i++) {
        char ch = key.ptr[i];

        if (ch != '_')
            f->name[n++] = upper && ch >= 'a' && ch <= 'z' ? ch - 32 : ch;
        upper = ch == '_';
    }
    return (mf_str){ f->name, n };
}

/* A custom field takes the place of a field of the same name. */
uint32_t sf_next(mf_call *c, struct fields *f, mf_str *name, mf_val *value)
{
    while (!f->in_custom && mf_next(c, f->payload, &f->it, name, value)) {
        if (kit_index(*name, not_fields, KIT_N(not_fields)) <
                KIT_N(not_fields) ||
            (value->type == MF_STRING && value->len == 2))
            continue;
        *name = camel(f, *name);
        if (kit_member(c, f->custom, *name).type == MF_ABSENT)
            return 1;
    }
    if (!f->in_custom)
        f->it = (mf_iter){ { 0 } };
    f->in_custom = 1;
    return mf_next(c, f->custom, &f->it, name, value);
}

/* One request about one record. of: what follows the object in its URL; but:
 * a field that stands in the URL already. */
static void send_record(const struct sf *sf, mf_call *c, const mf_event *e,
                        struct order o, mf_str of, mf_str but)
{
    mf_str url = MF_JOIN(c, sf->api, MF_STR("/sobjects/"), o.object, of);
    mf_request *r = mf_send(c, methods[o.op], url);
    struct fields f = sf_fields(e);
    mf_val value;
    mf_writer *w;
    mf_str name;

    mf_tag(r, o.op == OP_DELETE ? STEP_DELETE : STEP_WRITE, NULL);
    if (o.op == OP_DELETE)
        return;
    w = mf_json_body(r);
    mf_w_object(w, NULL);
    while (sf_next(c, &f, &name, &value)) {
        if (mf_eq(name, but))
            continue;
        mf_w_key(w, name);
        mf_w_val(w, NULL, value);
    }
    mf_w_end(w);
}

static mf_str segment(mf_call *c, mf_str s)
{
    return MF_JOIN(c, MF_STR("/"), mf_encode(c, MF_PERCENT, s));
}

/* ---- looking for a record ---- */

struct search {
    const mf_event *event;
    struct order order;
};

/* Text between single quotes, with SOQL's escapes. */
static mf_str quoted(mf_call *c, mf_str s)
{
    static const char from[] = "\\'\n\r\t\b\f", to[] = "\\'nrtbf";
    char *out = mf_alloc(c, 2 * s.len + 2);
    size_t n = 0;

    out[n++] = '\'';
    for (size_t i = 0; i < s.len; i++) {
        const char *at = s.ptr[i] ? strchr(from, s.ptr[i]) : NULL;

        if (at)
            out[n++] = '\\';
        out[n++] = at ? to[at - from] : s.ptr[i];
    }
    out[n++] = '\'';
    return (mf_str){ out, n };
}

/* Names of fields have letters, digits and _ only; all else is left out. */
static mf_str field_name(mf_call *c, mf_str s)
{
    char *out = mf_alloc(c, s.len + 1);
    size_t n = 0;

    for (size_t i = 0; i < s.len; i++)
        if (sf_is_name((mf_str){ s.ptr + i, 1 }))
            out[n++] = s.ptr[i];
    return (mf_str){ out, n };
}

/* The query for a record whose fields have the values of the traits, or one
 * of them; "" where there is none. An empty value finds nothing: to Salesforce
 * it would be any record that has none. */
static mf_str query_for(mf_call *c, const mf_event *e, mf_str object)
{
    int all = mf_eq(mf_text(c, mf_field(e, MATCHER)), MF_STR("AND"));
    mf_val traits = mf_field(e, TRAITS), value;
    mf_str *part = mf_alloc(c, (4 * kit_count(c, traits) + 3) * sizeof *part);
    mf_iter it = { { 0 } };
    size_t n = 0;
    mf_str name;

    part[n++] = MF_STR("SELECT Id FROM ");
    part[n++] = object;
    while (mf_next(c, traits, &it, &name, &value)) {
        if (value.type < MF_BOOL || value.type > MF_STRING)
            return (mf_str){ NULL, 0 };
        if (value.type == MF_STRING && value.len == 2) {
            if (all)
                return (mf_str){ NULL, 0 };
            continue;
        }
        part[n] = n == 2 ? MF_STR(" WHERE ") : all ? MF_STR(" AND ")
                                                   : MF_STR(" OR ");
        part[n + 1] = field_name(c, name);
        part[n + 2] = MF_STR(" = ");
        part[n + 3] = value.type == MF_STRING ? quoted(c, mf_text(c, value))
                                              : kit_raw(value);
        n += 4;
    }
    return n == 2 ? (mf_str){ NULL, 0 } : mf_join(c, part, n);
}

static int32_t search(const struct sf *sf, mf_call *c, const mf_event *e,
                      struct order o)
{
    mf_str soql = query_for(c, e, o.object);
    struct search *s;
    mf_request *r;

    if (!soql.len)
        return mf_fail(c, MF_INVALID,
                       MF_STR("traits have no value that a record could be "
                              "found by"));
    s = mf_alloc(c, sizeof *s);
    *s = (struct search){ e, o };
    r = mf_send(c, "GET", MF_JOIN(c, sf->api, MF_STR("/query/")));
    mf_query(r, "q", soql);
    mf_tag(r, STEP_FIND, s);
    return MF_OK;
}

/* Without traits, what batches go by will do. */
static int32_t by_id(const struct sf *sf, mf_call *c, const mf_event *e,
                     struct order o)
{
    mf_str name = mf_text(c, mf_field(e, EXTERNAL_ID));
    mf_str value = mf_text(c, mf_field(e, EXTERNAL_VALUE));
    mf_str id = mf_text(c, mf_field(e, RECORD_ID));

    if (o.op == OP_UPSERT && sf_is_name(name) && value.len)
        send_record(sf, c, e, o, MF_JOIN(c, segment(c, name),
                                         segment(c, value)), name);
    else if (o.op == OP_UPDATE && id.len)
        send_record(sf, c, e, o, segment(c, id), MF_STR("Id"));
    else
        return mf_fail(c, MF_INVALID,
                       MF_JOIN(c, MF_STR("no traits to find the record of "
                                         "this "), mf_cstr(operations[o.op]),
                               MF_STR(" by")));
    return MF_OK;
}

static int32_t perform(const void *self, mf_call *c, const mf_event *e)
{
    const struct sf *sf = self;
    struct order o = sf_order(c, e);
    mf_val traits = mf_field(e, TRAITS);
    mf_val id = mf_get(c, traits, "Id");

    if (o.why.len)
        return mf_fail(c, MF_INVALID, o.why);
    if (o.op == OP_CREATE) {
        send_record(sf, c, e, o, MF_STR(""), MF_STR(""));
        return MF_OK;
    }
    if (traits.type != MF_OBJECT || kit_count(c, traits) == 0)
        return by_id(sf, c, e, o);
    if (o.op == OP_UPSERT || !mf_truthy(c, id))
        return search(sf, c, e, o);
    send_record(sf, c, e, o, segment(c, mf_text(c, id)), MF_STR(""));
    return MF_OK;
}

/* ---- answers ---- */

int32_t sf_class(mf_str error)
{
    for (size_t i = 0; i < KIT_N(passing); i++)
        if (kit_starts(error, mf_cstr(passing[i].code)))
            return passing[i].status;
    return MF_INVALID;
}

int32_t sf_verdict(mf_call *c, const mf_response *a, mf_str *why)
{
    mf_val error = mf_get(c, mf_answer_json(a), "[0]");
    mf_str code = mf_text(c, mf_get(c, error, "errorCode"));
    int32_t status = sf_class(code);

    if (code.len)
        *why = MF_JOIN(c, code, MF_STR(": "),
                       mf_text(c, mf_get(c, error, "message")));
    else
        *why = mf_status(a) ? MF_JOIN(c, MF_STR("HTTP "),
                                      kit_int(c, mf_status(a)))
                            : MF_STR("no answer");
    if (status == 429)
        mf_retry_after(c, LIMIT_MS);
    if (status != MF_INVALID)
        return status;
    return mf_status(a) ? mf_status(a) : MF_RETRY;
}

int32_t sf_failed(mf_call *c, const mf_request *r, const mf_response *a)
{
    mf_str why;
    int32_t verdict = sf_verdict(c, a, &why);

    return verdict == mf_status(a) || !mf_status(a)
               ? MF_OK
               : kit_settle(c, r, verdict, why);
}

/* The record that was looked for, or that there is none. */
static int32_t found(const struct sf *sf, mf_call *c, const mf_request *r,
                     const struct search *s, mf_val answer)
{
    int64_t n = mf_integer(c, mf_get(c, answer, "totalSize"), -1);
    mf_str id = mf_text(c, mf_get(c, answer, "records[0].Id"));

    if (n == 0 && s->order.op == OP_UPSERT) {
        struct order o = { .op = OP_CREATE, .object = s->order.object };

        send_record(sf, c, s->event, o, MF_STR(""), MF_STR(""));
        return MF_CONTINUE;
    }
    if (n == 0)
        return kit_settle(c, r, 404, MF_STR("no record has these traits"));
    if (n > 1)
        return kit_settle(c, r, 300,
                          MF_STR("several records have these traits"));
    if (n < 0 || !id.len)
        return kit_settle(c, r, MF_INVALID,
                          MF_STR("the answer to the query has no record"));
    send_record(sf, c, s->event, s->order, segment(c, id), MF_STR(""));
    return MF_CONTINUE;
}

/* What was to be deleted is gone: an earlier answer did not come through. */
static int is_gone(mf_call *c, const mf_response *a)
{
    return mf_eq(mf_text(c, mf_get(c, mf_answer_json(a), "[0].errorCode")),
                 MF_STR("ENTITY_IS_DELETED"));
}

static int32_t judge(const void *self, mf_call *c, const mf_request *r,
                     const mf_response *a)
{
    uint32_t step;
    void *state;

    step = mf_step(r, &state);
    if (step >= STEP_OPEN)
        return bulk_judge(c, r, a);
    if (kit_ok(a))
        return step == STEP_FIND ? found(self, c, r, state, mf_answer_json(a))
                                 : MF_OK;
    if (step == STEP_DELETE && is_gone(c, a))
        return MF_DELIVERED;
    return sf_failed(c, r, a);
}

/* ---- credentials ---- */

static int32_t test_authentication(const void *self, mf_call *c,
                                   const mf_event *e)
{
    const struct sf *sf = self;

    (void)e;
    mf_send(c, "GET", MF_JOIN(c, sf->api, MF_STR("/limits")));
    return MF_OK;
}

/* A user's name and password stand for a refresh token where they are set;
 * the security token of the user follows the password. */
static int32_t refresh(const void *self, mf_call *c, const mf_event *e)
{
    int test = (int)mf_truthy(c, kit_setting(c, "isSandbox"));
    mf_str user = kit_setting_text(c, "username");
    mf_str password = kit_setting_text(c, "auth_password");
    mf_val auth = mf_meta(c, MF_META_AUTH);
    mf_str secret = mf_text(c, mf_get(c, auth, "clientSecret"));
    mf_request *r =
        mf_send(c, "POST",
                MF_JOIN(c, MF_STR("https://"),
                        test ? MF_STR("test") : MF_STR("login"),
                        MF_STR(".salesforce.com/services/oauth2/token")));

    (void)self;
    (void)e;
    mf_option(r, MF_OPT_NO_AUTH, 1);
    mf_form(r, "client_id", mf_text(c, mf_get(c, auth, "clientId")));
    if (secret.len)
        mf_form(r, "client_secret", secret);
    if (user.len && password.len) {
        mf_form(r, "grant_type", MF_STR("password"));
        mf_form(r, "username", user);
        mf_form(r, "password",
                MF_JOIN(c, password, kit_setting_text(c, "security_token")));
    } else {
        mf_form(r, "grant_type", MF_STR("refresh_token"));
        mf_form(r, "refresh_token",
                mf_text(c, mf_get(c, auth, "refreshToken")));
    }
    return MF_OK;
}

/* Salesforce refuses a refresh token that is just being used elsewhere. */
static int32_t judge_refresh(const void *self, mf_call *c, const mf_request *r,
                             const mf_response *a)
{
    mf_str why = mf_text(c, mf_get(c, mf_answer_json(a), "error_description"));

    (void)self;
    if (mf_status(a) != 400 ||
        !kit_has(why, MF_STR("already being processed")))
        return MF_OK;
    return kit_settle(c, r, 500, why);
}

#define ACTION(SLUG, OBJECT_NAME, SYNC, ...)                                   \
    { .base = { .slug = SLUG, .paths = paths, .path_count = PATHS,             \
                .perform = perform, .perform_batch = bulk_perform,             \
                .judge = judge },                                              \
      .object = OBJECT_NAME, .needed = { __VA_ARGS__ }, .sync_mode = SYNC }
static const struct sf_action actions[] = {
    ACTION("lead", "Lead", 0, "last_name"),
    ACTION("lead2", "Lead", 1, "last_name"),
    ACTION("contact", "Contact", 0, "last_name"),
    ACTION("contact2", "Contact", 1, "last_name"),
    ACTION("account", "Account", 0, "name"),
    ACTION("account2", "Account", 1, "name"),
    ACTION("opportunity", "Opportunity", 0, "close_date", "name",
           "stage_name"),
    ACTION("opportunity2", "Opportunity", 1, "close_date", "name",
           "stage_name"),
    ACTION("cases", "Case", 0, NULL),
    ACTION("cases2", "Case", 1, NULL),
    ACTION("customObject", NULL, 0, NULL),
    ACTION("customObject2", NULL, 1, NULL),
    { .base = { .slug = "testAuthentication",
                .perform = test_authentication } },
    { .base = { .slug = "refreshAccessToken", .perform = refresh,
                .judge = judge_refresh } },
};

MF_EXPORT const mf_destination mf_destination_v1 = {
    .size = sizeof(mf_destination), .abi_minor = MF_ABI_MINOR,
    .action_size = sizeof(struct sf_action), .actions = &actions[0].base,
    .action_count = sizeof actions / sizeof *actions, .create = create,
};
