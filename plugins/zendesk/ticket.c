/* SPDX-License-Identifier: Apache-2.0
 *
 * ticket.c - a comment on a ticket: the one of that number, else the newest of
 * that external id, else the open one of the user that changed last. Zendesk
 * takes no comment on a closed ticket. */
#include "zendesk.h"

enum { TICKET, TICKET_EXTERNAL_ID, EXTERNAL_ID, EMAIL, BODY, PUBLIC, STATUS };
const char *const zd_ticket_paths[ZD_TICKET_PATHS] = {
    [TICKET] = "ticket_id",
    [TICKET_EXTERNAL_ID] = "ticket_external_id",
    [EXTERNAL_ID] = "external_id",
    [EMAIL] = "email",
    [BODY] = "body",
    [PUBLIC] = "public",
    [STATUS] = "status",
};

static void comment(mf_call *c, struct task *t, mf_str ticket)
{
    mf_writer *w = mf_json_body(
        zd_send(c, "PUT", zd_path(c, "tickets", ticket, ""), NULL, t));

    mf_w_object(w, NULL);
    mf_w_object(w, "ticket");
    mf_w_object(w, "comment");
    mf_w_val(w, "body", mf_field(t->event, BODY));
    mf_w_bool(w, "public", mf_is_true(mf_field(t->event, PUBLIC)));
    mf_w_end(w);
    mf_w_val(w, "status", mf_field(t->event, STATUS));
    mf_w_end(w);
    mf_w_end(w);
}

/* The first ticket that is in none of these states, or "". */
static mf_str first_but(mf_call *c, const mf_response *a,
                        const char *const *states, size_t count)
{
    mf_val all = mf_get(c, mf_answer_json(a), "tickets"), one;
    mf_iter it = { { 0 } };
    mf_str index;

    while (all.type == MF_ARRAY && mf_next(c, all, &it, &index, &one)) {
        if (kit_index(mf_text(c, mf_get(c, one, "status")), states, count) ==
            count)
            return mf_text(c, mf_get(c, one, "id"));
    }
    return (mf_str){ "", 0 };
}

static int32_t of_id(mf_call *c, struct task *t, const mf_request *r,
                     const mf_response *a)
{
    static const char *const shut[] = { "closed" };
    mf_str ticket = first_but(c, a, shut, KIT_N(shut));

    if (!kit_ok(a))
        return MF_OK;
    if (!ticket.len)
        return kit_settle(c, r, ZD_NOT_FOUND,
                          MF_STR("no ticket of this ticket_external_id takes "
                                 "comments"));
    comment(c, t, ticket);
    return MF_CONTINUE;
}

static int32_t of_user(mf_call *c, struct task *t, const mf_request *r,
                       const mf_response *a)
{
    static const char *const shut[] = { "solved", "closed" };
    mf_str ticket = first_but(c, a, shut, KIT_N(shut));

    if (!kit_ok(a))
        return MF_OK;
    if (!ticket.len)
        return kit_settle(c, r, MF_SKIP,
                          MF_STR("the user has no open ticket"));
    comment(c, t, ticket);
    return MF_CONTINUE;
}

static void ask(mf_call *c, struct task *t, mf_str path, zd_then *then,
                const char *by, mf_str id)
{
    mf_request *r = zd_send(c, "GET", path, then, t);

    if (id.len)
        mf_query(r, "external_id", id);
    mf_query(r, "sort_by", mf_cstr(by));
    mf_query(r, "sort_order", MF_STR("desc"));
}

static int32_t found(mf_call *c, struct task *t, const mf_request *r,
                     mf_val user)
{
    mf_str id = mf_text(c, mf_get(c, user, "id"));

    if (!id.len)
        return kit_settle(c, r, MF_SKIP, MF_STR("Zendesk has no such user"));
    ask(c, t, zd_path(c, "users", id, "/tickets/requested"), of_user,
        "updated_at", MF_STR(""));
    return MF_CONTINUE;
}

int32_t zd_ticket(const void *self, mf_call *c, const mf_event *e)
{
    mf_str ticket = mf_text(c, mf_field(e, TICKET));
    mf_str its_id = mf_text(c, mf_field(e, TICKET_EXTERNAL_ID));
    mf_str user = mf_text(c, mf_field(e, EXTERNAL_ID));
    mf_str email = mf_text(c, mf_field(e, EMAIL));
    struct task *t = zd_task(c, e, NULL);

    (void)self;
    if (ticket.len)
        comment(c, t, ticket);
    else if (its_id.len)
        ask(c, t, MF_STR("tickets"), of_id, "created_at", its_id);
    else if (user.len || email.len)
        zd_find_user(c, t, user, email, found);
    else
        return mf_fail(c, MF_INVALID,
                       MF_STR("nothing says which ticket is meant"));
    return MF_OK;
}
