/* SPDX-License-Identifier: Apache-2.0
 *
 * object.c - records of any type: checked against HubSpot's properties,
 * written, put into a list or taken out of it, linked with other records. See
 * object.h for the chain; its phases are in the table below. */
#include "object.h"

const char *const hs_object_paths[HS_OBJECT_PATHS] = {
    [OBJECT_TYPE] = "object_details.object_type",
    [ID_NAME] = "object_details.id_field_name",
    [ID_VALUE] = "object_details.id_field_value",
    [GROUP] = "object_details.property_group",
    [PROPERTIES] = "properties",
    [SENSITIVE] = "sensitive_properties",
    [FIND_MODE] = "association_sync_mode",
    [ASSOCIATIONS] = "associations",
    [DISSOCIATIONS] = "dissociations",
    [AUDIENCE] = "list_details.connected_to_engage_audience",
    [LIST_NAME] = "list_details.list_name",
    [LIST_ACTION] = "list_details.list_action",
    [MAKE_LIST] = "list_details.should_create_list",
    [TRAITS] = "traits_or_props",
    [AUDIENCE_NAME] = "computation_key",
};

mf_request *object_send(mf_call *c, struct chain *k, const char *method,
                        mf_str path, uint32_t step, void *state)
{
    mf_request *r = hs_send(c, method, path, step, state);

    for (uint32_t i = 0; i < k->member_count; i++)
        mf_covers(r, k->members[i].index);
    k->pending++;
    return r;
}

void object_drop(mf_call *c, struct member *m, int32_t status, mf_str why)
{
    mf_result(c, m->index, status, why);
    m->out = 1;
}

void object_drop_all(mf_call *c, struct chain *k, int32_t status, mf_str why)
{
    for (uint32_t i = 0; i < k->member_count; i++)
        if (!k->members[i].out)
            object_drop(c, &k->members[i], status, why);
}

/* ---- lists ---- */

static mf_str list_of(mf_call *c, const mf_event *e)
{
    return mf_text(c, mf_field(e, mf_is_true(mf_field(e, AUDIENCE))
                                      ? AUDIENCE_NAME
                                      : LIST_NAME));
}

/* True or false: into the list or out of it; absent: neither. */
static mf_val list_action(mf_call *c, const mf_event *e)
{
    return mf_is_true(mf_field(e, AUDIENCE))
               ? kit_member(c, mf_field(e, TRAITS), list_of(c, e))
               : mf_field(e, LIST_ACTION);
}

static void find_list(mf_call *c, struct chain *k)
{
    if (k->list.len)
        object_send(c, k, "GET",
                    MF_JOIN(c, MF_STR("/crm/v3/lists/object-type-id"),
                            hs_segment(c, k->type), MF_STR("/name"),
                            hs_segment(c, k->list)),
                    FIND_LIST, k);
}

static void make_list(mf_call *c, struct chain *k)
{
    mf_writer *w;

    if (!k->list.len || k->list_id.len)
        return;
    if (!mf_is_true(mf_field(k->members[0].event, MAKE_LIST))) {
        object_drop_all(c, k, MF_INVALID,
                        MF_JOIN(c, MF_STR("there is no list "), k->list,
                                MF_STR(", and should_create_list is off")));
        return;
    }
    w = mf_json_body(object_send(c, k, "POST", MF_STR("/crm/v3/lists"),
                                 CREATE_LIST, k));
    mf_w_object(w, NULL);
    mf_w_str(w, "name", k->list);
    mf_w_str(w, "objectTypeId", k->type);
    mf_w_str(w, "processingType", MF_STR("MANUAL"));
    mf_w_end(w);
}

/* Each record once, as its last event says. */
static uint32_t write_members(mf_call *c, mf_writer *w, const char *key,
                              const struct chain *k, uint32_t in)
{
    uint32_t n = 0;

    mf_w_array(w, key);
    for (uint32_t r = 0; r < k->record_count; r++) {
        mf_val last = { NULL, 0, MF_ABSENT };

        for (uint32_t i = 0; i < k->member_count; i++)
            if (!k->members[i].out && k->members[i].record == &k->records[r])
                last = list_action(c, k->members[i].event);
        if (last.type != MF_BOOL || mf_is_true(last) != in ||
            !k->records[r].found.len)
            continue;
        mf_w_str(w, NULL, k->records[r].found);
        n++;
    }
    mf_w_end(w);
    return n;
}

static void change_list(mf_call *c, struct chain *k)
{
    mf_writer *w = mf_value(c);
    uint32_t n;

    mf_w_object(w, NULL);
    n = write_members(c, w, "recordIdsToAdd", k, 1);
    n += write_members(c, w, "recordIdsToRemove", k, 0);
    mf_w_end(w);
    if (k->list_id.len && n)
        mf_body_text(object_send(c, k, "PUT",
                                 MF_JOIN(c, MF_STR("/crm/v3/lists"),
                                         hs_segment(c, k->list_id),
                                         MF_STR("/memberships/"
                                                "add-and-remove")),
                                 MEMBERS, k),
                     "application/json", kit_raw(mf_done(w)));
}

/* ---- records ---- */

/* True and false for the words, JSON text for what has members. */
static void write_values(mf_call *c, mf_writer *w, mf_val object)
{
    mf_iter it = { { 0 } };
    mf_val v;
    mf_str name;

    while (mf_next(c, object, &it, &name, &v)) {
        if (v.type == MF_OBJECT || v.type == MF_ARRAY)
            v = hs_text(c, hs_plain(c, v));
        else if (hs_kind_of(c, v) == HS_FLAG)
            v = mf_parse(c, mf_text(c, v));
        mf_w_key(w, name);
        mf_w_val(w, NULL, v);
    }
}

static mf_val values_of(mf_call *c, const mf_event *e)
{
    mf_writer *w = mf_value(c);

    mf_w_object(w, NULL);
    write_values(c, w, mf_field(e, PROPERTIES));
    write_values(c, w, mf_field(e, SENSITIVE));
    mf_w_end(w);
    return mf_done(w);
}

/* Events of the same record become one, later values over earlier ones. */
static void make_records(mf_call *c, struct chain *k)
{
    k->record_count = 0;
    k->records = mf_alloc(c, k->member_count * sizeof *k->records);
    for (uint32_t i = 0; i < k->member_count; i++) {
        struct member *m = &k->members[i];
        mf_str id = mf_text(c, mf_field(m->event, ID_VALUE));
        const struct record *before = m->record;
        uint32_t at = 0;

        while (at < k->record_count &&
               !hs_same_id(c, k->id_name, k->records[at].id, id))
            at++;
        m->record = &k->records[at];
        if (m->out)
            continue;
        m->record->id = id;
        if (before)
            m->record->found = before->found;
        m->record->properties = kit_merge(c, m->record->properties,
                                          values_of(c, m->event));
        k->record_count += at == k->record_count;
    }
}

static int is_object_id(const struct chain *k)
{
    return mf_eq(k->id_name, MF_STR("hs_object_id"));
}

static void read_records(mf_call *c, struct chain *k)
{
    mf_writer *w;

    if (mf_eq(k->mode, MF_STR("upsert")) || !k->record_count)
        return;
    w = mf_json_body(object_send(c, k, "POST",
                                 hs_objects(c, k->type,
                                            MF_STR("/batch/read")),
                                 READ, k));
    mf_w_object(w, NULL);
    mf_w_array(w, "properties");
    mf_w_str(w, NULL, k->id_name);
    mf_w_end(w);
    mf_w_str(w, "idProperty", k->id_name);
    mf_w_array(w, "inputs");
    for (uint32_t i = 0; i < k->record_count; i++) {
        mf_w_object(w, NULL);
        mf_w_str(w, "id", k->records[i].id);
        mf_w_end(w);
    }
    mf_w_end(w);
    mf_w_end(w);
}

/* Which records the sync mode leaves to be written. */
static int is_wanted(const struct chain *k, const struct record *r)
{
    if (mf_eq(k->mode, MF_STR("update")))
        return r->found.len != 0;
    return mf_eq(k->mode, MF_STR("upsert")) || !r->found.len;
}

/* HubSpot refuses an update of nothing. */
static int is_empty(const struct chain *k, const struct record *r)
{
    return mf_eq(k->mode, MF_STR("update")) && r->properties.len <= 2;
}

static void write_record(mf_call *c, mf_writer *w, const struct chain *k,
                         const struct record *r)
{
    int create = mf_eq(k->mode, MF_STR("add"));

    mf_w_object(w, NULL);
    if (!create && !is_object_id(k))
        mf_w_str(w, "idProperty", k->id_name);
    if (!create)
        mf_w_str(w, "id", r->id);
    mf_w_object(w, "properties");
    kit_w_others(c, w, r->properties, NULL, 0, KIT_ABSENT);
    if (!mf_eq(k->mode, MF_STR("update")) && !is_object_id(k)) {
        mf_w_key(w, k->id_name);
        mf_w_str(w, NULL, r->id);
    }
    mf_w_end(w);
    mf_w_end(w);
}

/* What an event asked for is not to be done: there is no such record, or
 * there is one already. */
static void pass_over(mf_call *c, struct chain *k)
{
    for (uint32_t i = 0; i < k->member_count; i++)
        if (!k->members[i].out && !is_wanted(k, k->members[i].record))
            object_drop(c, &k->members[i], MF_DELIVERED,
                        MF_JOIN(c, MF_STR("nothing to "), k->mode));
}

static void write_records(mf_call *c, struct chain *k)
{
    mf_str tail = MF_JOIN(c, MF_STR("/batch/"),
                          mf_eq(k->mode, MF_STR("add")) ? MF_STR("create")
                                                        : k->mode);
    mf_writer *w = NULL;

    for (uint32_t i = 0; i < k->record_count; i++) {
        if (!is_wanted(k, &k->records[i]) || is_empty(k, &k->records[i]))
            continue;
        if (!w) {
            w = mf_json_body(object_send(c, k, "POST",
                                         hs_objects(c, k->type, tail), WRITE,
                                         k));
            mf_w_object(w, NULL);
            mf_w_array(w, "inputs");
        }
        write_record(c, w, k, &k->records[i]);
    }
    if (w) {
        mf_w_end(w);
        mf_w_end(w);
    }
    pass_over(c, k);
}

/* HubSpot's ids, by the property that the events name. */
static void take_records(mf_call *c, struct chain *k, mf_val results)
{
    mf_iter it = { { 0 } };
    mf_str index;
    mf_val one;

    for (uint32_t i = 0; i < k->record_count; i++)
        k->records[i].seen = 0;
    while (mf_next(c, results, &it, &index, &one)) {
        mf_val property = kit_member(c, mf_get(c, one, "properties"),
                                     k->id_name);
        mf_str id = mf_text(c, mf_get(c, one, "id"));

        for (uint32_t i = 0; i < k->record_count; i++) {
            struct record *r = &k->records[i];

            if (!mf_eq(r->found, id) &&
                !hs_same_id(c, k->id_name, r->id, mf_text(c, property)))
                continue;
            r->found = id;
            r->seen = 1;
        }
    }
}

/* 207: some records were refused, and HubSpot says why. */
static void take_errors(mf_call *c, struct chain *k, const mf_response *a)
{
    mf_str why = hs_other_error(c, a);

    for (uint32_t i = 0; why.len && i < k->member_count; i++)
        if (!k->members[i].out && !k->members[i].record->seen)
            object_drop(c, &k->members[i], MF_INVALID, why);
}

/* ---- the chain ---- */

static void check_and_make_records(mf_call *c, struct chain *k)
{
    schema_check(c, k);
    make_records(c, k);
}

static void (*const phases[])(mf_call *c, struct chain *k) = {
    schema_ask, schema_make, check_and_make_records, find_list, make_list,
    read_records, write_records, change_list, link_find, link_cut,
};
enum { WRITE_PHASE = 6 };

static int has_work(const struct chain *k)
{
    uint32_t i = 0;

    while (i < k->member_count && k->members[i].out)
        i++;
    return i < k->member_count && k->phase < KIT_N(phases);
}

/* On to the next phase that has something to send. */
static int32_t advance(mf_call *c, struct chain *k)
{
    while (!k->pending && has_work(k))
        phases[k->phase++](c, k);
    return k->pending ? MF_CONTINUE : MF_DELIVERED;
}

/* A write that was refused is tried again as two, until each record that is
 * refused stands alone. */
static int32_t halve(mf_call *c, const struct chain *k)
{
    for (uint32_t h = 0; h < 2; h++) {
        struct chain *half = mf_alloc(c, sizeof *half);
        const struct record *middle = &k->records[k->record_count / 2];

        *half = *k;
        half->members = mf_alloc(c, k->member_count * sizeof *half->members);
        half->member_count = 0;
        for (uint32_t i = 0; i < k->member_count; i++)
            if (!k->members[i].out && (k->members[i].record >= middle) == h)
                half->members[half->member_count++] = k->members[i];
        if (!half->member_count)
            continue;
        half->pending = 0;
        half->phase = WRITE_PHASE;
        make_records(c, half);
        advance(c, half);
    }
    return MF_CONTINUE;
}

/* The chain of the first event and of all that go with it. */
static void start(mf_call *c, const mf_event *const *events, uint32_t n,
                  uint32_t first, uint8_t *taken)
{
    struct chain *k = mf_alloc(c, sizeof *k);

    k->members = mf_alloc(c, n * sizeof *k->members);
    k->type = mf_text(c, mf_field(events[first], OBJECT_TYPE));
    k->id_name = mf_text(c, mf_field(events[first], ID_NAME));
    k->mode = kit_sync_mode(c);
    for (uint32_t i = first; i < n; i++) {
        const mf_event *e = events[i];

        if (!mf_eq(k->type, mf_text(c, mf_field(e, OBJECT_TYPE))) ||
            !mf_eq(k->id_name, mf_text(c, mf_field(e, ID_NAME))))
            continue;
        taken[i] = 1;
        k->members[k->member_count++] =
            (struct member){ .event = e, .index = i };
        if (!k->list.len)
            k->list = list_of(c, e);
    }
    advance(c, k);
}

/* Batches are made by list and audience, so that this is a fault of a
 * caller. */
static int32_t check_lists(mf_call *c, const mf_event *const *events,
                           uint32_t n)
{
    mf_str first = { "", 0 };

    for (uint32_t i = 0; i < n; i++) {
        mf_str list = list_of(c, events[i]);

        if (!first.len)
            first = list;
        if (list.len && !mf_eq(list, first))
            return mf_fail(c, MF_INVALID,
                           MF_JOIN(c, MF_STR("one batch has two lists: "),
                                   first, MF_STR(", "), list));
    }
    return MF_OK;
}

int32_t hs_objects_batch(const void *self, mf_call *c,
                         const mf_event *const *e, uint32_t n)
{
    static const char *const modes[] = { "add", "update", "upsert" };
    uint8_t *taken = mf_alloc(c, n);
    int32_t refused = check_lists(c, e, n);

    (void)self;
    if (refused)
        return refused;
    if (kit_index(kit_sync_mode(c), modes, KIT_N(modes)) == KIT_N(modes))
        return mf_fail(c, MF_INVALID,
                       MF_STR("the sync mode must be add, update or upsert"));
    for (uint32_t i = 0; i < n; i++)
        if (!taken[i])
            start(c, e, n, i, taken);
    return MF_OK;
}

int32_t hs_object(const void *self, mf_call *c, const mf_event *e)
{
    return hs_objects_batch(self, c, &e, 1);
}

/* ---- answers ---- */

/* Whether the chain can go on after an answer that is not 2xx. */
static int is_bearable(mf_call *c, uint32_t step, const mf_response *a)
{
    switch (step) {
    case MAKE_PROPERTIES: /* another event made them meanwhile */
        return mf_status(a) == 409;
    case FIND_LIST:
        return mf_status(a) == 404 ||
               (mf_status(a) == 400 && kit_has(hs_message(c, a),
                                               MF_STR("does not exist")));
    default:
        return 0;
    }
}

static void take(mf_call *c, struct chain *k, uint32_t step, void *state,
                 const mf_response *a)
{
    mf_val answer = mf_answer_json(a);
    mf_val results = mf_get(c, answer, "results");

    switch (step) {
    case SCHEMA:
    case SCHEMA_SENSITIVE:
        schema_take(c, k, step == SCHEMA_SENSITIVE, a);
        return;
    case FIND_LIST:
    case CREATE_LIST:
        k->list_id = mf_text(c, mf_get(c, answer, "list.listId"));
        return;
    case READ:
    case WRITE:
        take_records(c, k, results);
        take_errors(c, k, a);
        return;
    case FIND_OTHERS:
        link_write(c, state, a);
        return;
    default:
        return;
    }
}

int32_t hs_object_judge(const void *self, mf_call *c, const mf_request *r,
                        const mf_response *a)
{
    void *state;
    uint32_t step = mf_step(r, &state);
    int link = step == FIND_OTHERS || step == LINK;
    struct chain *k = link ? ((struct link *)state)->chain : state;

    (void)self;
    k->pending--;
    if (kit_ok(a) || is_bearable(c, step, a))
        take(c, k, step, state, a);
    else if (step == WRITE && hs_bad_input(a) && k->record_count > 1)
        return halve(c, k);
    else if (link && k->member_count > 1)
        link_refused(c, state, a);
    else
        return MF_OK;
    return advance(c, k);
}
