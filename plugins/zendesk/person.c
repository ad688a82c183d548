/* SPDX-License-Identifier: Apache-2.0
 *
 * person.c - who a user is in Zendesk. The list by external id is exact and
 * knows a user at once. The search by e-mail address finds more than was
 * asked for, and new users only after a while: it comes second. */
#include "zendesk.h"

int zd_same(mf_call *c, mf_val one, mf_str other)
{
    return mf_eq(kit_lower(c, mf_text(c, one)), kit_lower(c, other));
}

static int32_t by_email(mf_call *c, struct task *t, const mf_request *r,
                        const mf_response *a)
{
    mf_val users = mf_get(c, mf_answer_json(a), "users"), one;
    mf_val user = KIT_ABSENT;
    mf_iter it = { { 0 } };
    mf_str index;

    if (!kit_ok(a))
        return MF_OK;
    while (users.type == MF_ARRAY && mf_next(c, users, &it, &index, &one)) {
        if (!zd_same(c, mf_get(c, one, "email"), t->email))
            continue;
        if (user.type != MF_ABSENT)
            return kit_settle(c, r, MF_INVALID,
                              MF_STR("several users have this e-mail "
                                     "address"));
        user = one;
    }
    return t->found(c, t, r, user);
}

static void ask_by_email(mf_call *c, struct task *t)
{
    mf_request *r = zd_send(c, "GET", MF_STR("users/search"), by_email, t);

    mf_query(r, "query",
             MF_JOIN(c, MF_STR("email:\""), t->email, MF_STR("\"")));
}

static int32_t by_id(mf_call *c, struct task *t, const mf_request *r,
                     const mf_response *a)
{
    mf_val user = mf_get(c, mf_answer_json(a), "users[0]");

    if (!kit_ok(a))
        return MF_OK;
    if (user.type != MF_ABSENT || !t->email.len)
        return t->found(c, t, r, user);
    ask_by_email(c, t);
    return MF_CONTINUE;
}

void zd_find_user(mf_call *c, struct task *t, mf_str external_id,
                  mf_str email, zd_found *found)
{
    t->email = email;
    t->found = found;
    if (external_id.len)
        mf_query(zd_send(c, "GET", MF_STR("users/search"), by_id, t),
                 "external_id", external_id);
    else
        ask_by_email(c, t);
}
