/* SPDX-License-Identifier: Apache-2.0
 *
 * contacts.c - a batch of contacts: looked up by e-mail, then those there are
 * updated and the others created, each with one request. Events of the same
 * contact become one input, later values over earlier ones. A request that is
 * refused for what is in it is halved and sent again, so that in the end only
 * what is wrong is refused. */
#include "hubspot.h"

struct contact {
    mf_str email, stage, id; /* id: "" until HubSpot told it */
    mf_val properties;
};

struct batch {
    struct contact *contacts;
    uint32_t count, events;
    uint32_t *of; /* the contact of each event */
};

/* What one request carries. */
struct part {
    const struct batch *all;
    struct contact **list;
    uint32_t count;
};

static struct contact *contact_of(const struct batch *b, mf_str email)
{
    for (uint32_t i = 0; i < b->count; i++)
        if (mf_eq(b->contacts[i].email, email))
            return &b->contacts[i];
    return NULL;
}

static struct batch *collect(mf_call *c, const mf_event *const *events,
                             uint32_t n)
{
    struct batch *b = mf_alloc(c, sizeof *b);

    b->contacts = mf_alloc(c, n * sizeof *b->contacts);
    b->of = mf_alloc(c, n * sizeof *b->of);
    b->events = n;
    for (uint32_t i = 0; i < n; i++) {
        mf_str email = kit_lower(c, hs_contact_email(c, events[i]));
        mf_val properties = hs_contact_properties(c, events[i]);
        struct contact *k = contact_of(b, email);

        if (!k) {
            k = &b->contacts[b->count++];
            k->email = email;
        }
        k->properties = kit_merge(c, k->properties, properties);
        k->stage = hs_stage(c, k->properties);
        b->of[i] = (uint32_t)(k - b->contacts);
    }
    return b;
}

int32_t hs_contacts(const void *self, mf_call *c, const mf_event *const *e,
                    uint32_t n)
{
    struct batch *b = collect(c, e, n);
    mf_request *r = hs_send(c, "POST",
                            MF_STR("/crm/v3/objects/contacts/batch/read"),
                            CONTACTS_READ, b);
    mf_writer *w = mf_json_body(r);

    (void)self;
    mf_w_object(w, NULL);
    mf_w_array(w, "properties");
    mf_w_str(w, NULL, MF_STR("email"));
    mf_w_str(w, NULL, MF_STR("lifecyclestage"));
    mf_w_str(w, NULL, MF_STR("hs_additional_emails"));
    mf_w_end(w);
    mf_w_str(w, "idProperty", MF_STR("email"));
    mf_w_array(w, "inputs");
    for (uint32_t i = 0; i < b->count; i++) {
        mf_w_object(w, NULL);
        mf_w_str(w, "id", b->contacts[i].email);
        mf_w_end(w);
    }
    mf_w_end(w);
    mf_w_end(w);
    return MF_OK;
}

/* ---- writing ---- */

static void write_input(mf_call *c, mf_writer *w, const struct contact *k,
                        uint32_t step)
{
    static const char *const email[] = { "email" };

    mf_w_object(w, NULL);
    if (step != CONTACTS_CREATE)
        mf_w_str(w, "id", k->id);
    mf_w_object(w, "properties");
    if (step == CONTACTS_RESET)
        mf_w_str(w, "lifecyclestage", MF_STR(""));
    else if (step == CONTACTS_AGAIN)
        mf_w_str(w, "lifecyclestage", k->stage);
    else /* one known by another address keeps its own */
        kit_w_others(c, w, k->properties, email, step == CONTACTS_UPDATE,
                     KIT_ABSENT);
    mf_w_end(w);
    mf_w_end(w);
}

static void cover(mf_request *r, const struct part *p)
{
    for (uint32_t i = 0; i < p->all->events; i++)
        for (uint32_t k = 0; k < p->count; k++)
            if (p->list[k] == &p->all->contacts[p->all->of[i]])
                mf_covers(r, i);
}

static void send_part(mf_call *c, const struct part *p, uint32_t step)
{
    mf_request *r;
    mf_writer *w;

    if (!p->count)
        return;
    r = hs_send(c, "POST",
                step == CONTACTS_CREATE
                    ? MF_STR("/crm/v3/objects/contacts/batch/create")
                    : MF_STR("/crm/v3/objects/contacts/batch/update"),
                step, (void *)p);
    cover(r, p);
    w = mf_json_body(r);
    mf_w_object(w, NULL);
    mf_w_array(w, "inputs");
    for (uint32_t i = 0; i < p->count; i++)
        write_input(c, w, p->list[i], step);
    mf_w_end(w);
    mf_w_end(w);
}

static struct part *part_new(mf_call *c, const struct batch *b, uint32_t count)
{
    struct part *p = mf_alloc(c, sizeof *p);

    p->all = b;
    p->list = mf_alloc(c, count * sizeof *p->list);
    return p;
}

static void halve(mf_call *c, const struct part *p, uint32_t step)
{
    struct part *half[2];

    for (uint32_t h = 0; h < 2; h++)
        half[h] = part_new(c, p->all, p->count);
    for (uint32_t i = 0; i < p->count; i++) {
        struct part *to = half[i >= p->count / 2];

        to->list[to->count++] = p->list[i];
    }
    for (uint32_t h = 0; h < 2; h++)
        send_part(c, half[h], step);
}

/* ---- answers ---- */

static void found(mf_call *c, struct batch *b, mf_val result)
{
    mf_str id = mf_text(c, mf_get(c, result, "id")), rest;
    mf_val properties = mf_get(c, result, "properties");

    rest = MF_JOIN(c, mf_text(c, mf_get(c, properties, "email")), MF_STR(";"),
                   mf_text(c, mf_get(c, properties, "hs_additional_emails")));
    rest = kit_lower(c, rest);
    while (rest.len) {
        size_t end = kit_find(rest, MF_STR(";"));
        struct contact *k = contact_of(b, (mf_str){ rest.ptr, end });

        if (k)
            k->id = id;
        end += end < rest.len;
        rest.ptr += end, rest.len -= end;
    }
}

/* HubSpot refuses an update of nothing. */
static int is_update(mf_call *c, const struct contact *k)
{
    mf_iter it = { { 0 } };
    mf_val value;
    mf_str name;

    while (mf_next(c, k->properties, &it, &name, &value))
        if (!mf_eq(name, MF_STR("email")))
            return 1;
    return 0;
}

static void settle(mf_call *c, const struct batch *b, const struct contact *k)
{
    for (uint32_t i = 0; i < b->events; i++)
        if (&b->contacts[b->of[i]] == k)
            mf_result(c, i, MF_DELIVERED, MF_STR("nothing to update"));
}

static int32_t read_answer(mf_call *c, struct batch *b, const mf_response *a)
{
    struct part *old = part_new(c, b, b->count);
    struct part *fresh = part_new(c, b, b->count);
    mf_str index, why = hs_other_error(c, a);
    mf_iter it = { { 0 } };
    mf_val one;

    if (!kit_ok(a))
        return MF_OK;
    if (why.len)
        return mf_fail(c, MF_INVALID, why);
    while (mf_next(c, mf_get(c, mf_answer_json(a), "results"), &it, &index,
                   &one))
        found(c, b, one);
    for (uint32_t i = 0; i < b->count; i++) {
        struct contact *k = &b->contacts[i];
        struct part *to = k->id.len ? old : fresh;

        if (k->id.len && !is_update(c, k))
            settle(c, b, k);
        else
            to->list[to->count++] = k;
    }
    send_part(c, fresh, CONTACTS_CREATE);
    send_part(c, old, CONTACTS_UPDATE);
    return MF_CONTINUE;
}

/* Those whose present stage is not the one that was sent. */
static void reset_stages(mf_call *c, const struct part *p,
                         const mf_response *a)
{
    struct part *back = part_new(c, p->all, p->count);
    mf_iter it = { { 0 } };
    mf_str index;
    mf_val one;

    while (mf_next(c, mf_get(c, mf_answer_json(a), "results"), &it, &index,
                   &one)) {
        mf_str id = mf_text(c, mf_get(c, one, "id"));
        mf_str stage = mf_text(c, mf_get(c, one, "properties.lifecyclestage"));

        for (uint32_t i = 0; i < p->count; i++)
            if (p->list[i]->stage.len && mf_eq(p->list[i]->id, id) &&
                !mf_eq(p->list[i]->stage, stage))
                back->list[back->count++] = p->list[i];
    }
    send_part(c, back, CONTACTS_RESET);
}

int32_t hs_contacts_judge(mf_call *c, const mf_request *r,
                          const mf_response *a)
{
    const struct part *p;
    void *state;
    uint32_t step = mf_step(r, &state);

    if (step == CONTACTS_READ)
        return read_answer(c, state, a);
    p = state;
    if (hs_bad_input(a) && p->count > 1) {
        halve(c, p, step);
        return MF_CONTINUE;
    }
    if (step == CONTACTS_CREATE && mf_status(a) == 409)
        return kit_settle(c, r, MF_RETRY, hs_message(c, a));
    if (step == CONTACTS_UPDATE && kit_ok(a))
        reset_stages(c, p, a);
    if (step == CONTACTS_RESET && kit_ok(a))
        send_part(c, p, CONTACTS_AGAIN);
    return kit_ok(a) && step == CONTACTS_CREATE ? MF_DELIVERED : MF_OK;
}
