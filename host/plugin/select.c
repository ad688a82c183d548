/* SPDX-License-Identifier: Apache-2.0
 *
 * select.c - does this destination want this event, and for what?
 *
 * In the order in which the originals decide: consent, the event's
 * `integrations` object, delivery on the device, the destination's filter,
 * and then the trigger of each subscription. */
#include "plugin/inner.h"

struct outline { /* the members that matter here, found in one pass */
    mf_val integrations, metadata, context;
};

static struct outline outline_of(mf_val event)
{
    struct outline o = { 0 };
    mf_iter it = { { 0 } };
    mf_str key;
    mf_val v;

    while (json_next(event, &it, &key, &v)) {
        if (json_key_is(key, MF_STR("integrations")))
            o.integrations = v;
        else if (json_key_is(key, MF_STR("_metadata")))
            o.metadata = v;
        else if (json_key_is(key, MF_STR("context")))
            o.context = v;
    }
    return o;
}

/* No consent object: flows everywhere. Otherwise every category that the
 * destination is put into must have been agreed to. */
static bool consented(const struct instance *i, mf_val context,
                      struct arena *scratch)
{
    mf_iter it = { { 0 } };
    mf_val agreed, v;
    mf_str key;

    if (i->consent.type != MF_ARRAY)
        return true;
    agreed = json_get(json_get(context, MF_STR("consent")),
                      MF_STR("categoryPreferences"));
    if (agreed.type != MF_OBJECT)
        return true;
    while (json_next(i->consent, &it, &key, &v))
        if (!json_is_true(json_get(agreed, json_text(v, scratch))))
            return false;
    return true;
}

/* Warehouses have a key of their own and do not listen to All. */
static bool warehouse_wanted(const struct instance *i, mf_val v,
                             struct arena *scratch)
{
    mf_val all = json_get(v, MF_STR("all"));
    mf_val ids = json_get(v, MF_STR("warehouseIds"));
    mf_iter it = { { 0 } };
    mf_str key;
    mf_val id;

    if (v.type == MF_BOOL)
        return json_is_true(v);
    if (ids.type != MF_ARRAY)
        return all.type != MF_BOOL || json_is_true(all);
    while (json_next(ids, &it, &key, &id))
        if (mf_eq(json_text(id, scratch), mf_cstr(i->name)))
            return true;
    return false;
}

static bool integrated(const struct instance *i, mf_val integrations,
                       struct arena *scratch)
{
    bool warehouse = false;
    mf_val v;

    if (integrations.type != MF_OBJECT)
        return true;
    for (size_t k = 0; k < i->name_count; k++) {
        bool own = mf_eq(i->names[k], MF_STR("Warehouses"));

        warehouse |= own;
        v = json_get(integrations, i->names[k]);
        if (v.type <= MF_NULL)
            continue;
        if (own)
            return warehouse_wanted(i, v, scratch);
        return v.type != MF_BOOL || json_is_true(v);
    }
    if (warehouse)
        return true;
    v = json_get(integrations, MF_STR("All"));
    return v.type != MF_BOOL || json_is_true(v);
}

static bool bundled(const struct instance *i, mf_val metadata,
                    struct arena *scratch)
{
    mf_val list = json_get(metadata, MF_STR("bundled"));
    mf_iter it = { { 0 } };
    mf_str key, name;
    mf_val v;

    if (list.type != MF_ARRAY)
        return false;
    while (json_next(list, &it, &key, &v)) {
        name = json_text(v, scratch);
        for (size_t k = 0; k < i->name_count; k++)
            if (name.len && mf_eq(name, i->names[k]))
                return true;
    }
    return false;
}

enum select_reason instance_select(const struct instance *i, mf_val event,
                                   uint8_t subs[SUBSCRIPTIONS_MAX], size_t *n,
                                   struct arena *scratch)
{
    struct outline o = outline_of(event);
    struct fql_view view;

    *n = 0;
    if (!consented(i, o.context, scratch))
        return SELECT_CONSENT;
    if (!integrated(i, o.integrations, scratch))
        return SELECT_INTEGRATIONS;
    if (bundled(i, o.metadata, scratch))
        return SELECT_BUNDLED;
    fql_view_init(&view, event);
    if (i->filter && fql_eval_view(i->filter, &view, scratch) != FQL_YES)
        return SELECT_FILTER;
    for (size_t k = 0; k < i->sub_count; k++) {
        const struct subscription *s = &i->subs[k];

        if (s->enabled && s->trigger &&
            fql_eval_view(s->trigger, &view, scratch) == FQL_YES)
            subs[(*n)++] = (uint8_t)k;
    }
    return *n ? SELECT_MATCHED : SELECT_NO_MATCH;
}

const char *select_reason_text(enum select_reason r)
{
    static const char *const texts[SELECT_REASONS] = {
        [SELECT_MATCHED] = "matched",
        [SELECT_CONSENT] = "no consent for its categories",
        [SELECT_INTEGRATIONS] = "the event's integrations object says no",
        [SELECT_BUNDLED] = "already delivered on the device",
        [SELECT_FILTER] = "the destination's filter",
        [SELECT_NO_MATCH] = "no subscription's trigger matches",
    };

    ASSERT((unsigned)r < SELECT_REASONS);
    return texts[r];
}
