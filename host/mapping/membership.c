/* SPDX-License-Identifier: Apache-2.0
 *
 * membership.c - see membership.h. */
#include "mapping/membership.h"

#include "base/mem.h"

/* With this flag set, a step of an old journey that says nothing about its
 * user lets the user in: those journeys have no way out. */
#define LEGACY_JOURNEYS MF_STR("actions-legacy-journeys-audience-membership")

static mf_str text_of(mf_val v, mf_str name, struct arena *a)
{
    return json_text(json_get(v, name), a);
}

enum membership membership_engage(mf_val event, mf_val features,
                                  struct arena *scratch)
{
    mf_val personas = json_get(json_get(event, MF_STR("context")),
                               MF_STR("personas"));
    mf_str class = text_of(personas, MF_STR("computation_class"), scratch);
    mf_str key = text_of(personas, MF_STR("computation_key"), scratch);
    mf_str type = text_of(event, MF_STR("type"), scratch);
    bool journey = mf_eq(class, MF_STR("journey_step"));
    mf_val v = { NULL, 0, MF_ABSENT };

    if (!journey && !mf_eq(class, MF_STR("audience")))
        return MEMBERSHIP_NONE;
    if (key.len && mf_eq(type, MF_STR("identify")))
        v = json_get(json_get(event, MF_STR("traits")), key);
    else if (key.len && mf_eq(type, MF_STR("track")))
        v = json_get(json_get(event, MF_STR("properties")), key);
    if (v.type == MF_BOOL)
        return json_is_true(v) ? MEMBERSHIP_IN : MEMBERSHIP_OUT;
    if (journey && json_is_true(json_get(features, LEGACY_JOURNEYS)))
        return MEMBERSHIP_IN;
    return MEMBERSHIP_NONE;
}

enum membership membership_retl(mf_val event, mf_str sync_mode,
                                struct arena *scratch)
{
    static const struct {
        const char *mode, *event;
        enum membership membership;
    } rules[] = {
        { "add", "new", MEMBERSHIP_IN },
        { "update", "updated", MEMBERSHIP_IN },
        { "upsert", "new", MEMBERSHIP_IN },
        { "upsert", "updated", MEMBERSHIP_IN },
        { "mirror", "new", MEMBERSHIP_IN },
        { "mirror", "updated", MEMBERSHIP_IN },
        { "mirror", "deleted", MEMBERSHIP_OUT },
        { "delete", "deleted", MEMBERSHIP_OUT },
    };
    mf_str name;

    if (sync_mode.len == 0 || !mf_eq(text_of(event, MF_STR("type"), scratch),
                                     MF_STR("track")))
        return MEMBERSHIP_NONE;
    name = text_of(event, MF_STR("event"), scratch);
    for (size_t i = 0; i < COUNT_OF(rules); i++)
        if (mf_eq(sync_mode, mf_cstr(rules[i].mode)) &&
            mf_eq(name, mf_cstr(rules[i].event)))
            return rules[i].membership;
    return MEMBERSHIP_NONE;
}

enum membership membership_of(mf_val event, mf_str sync_mode, mf_val features,
                              struct arena *scratch)
{
    enum membership m = membership_engage(event, features, scratch);

    if (m != MEMBERSHIP_NONE)
        return m;
    return membership_retl(event, sync_mode, scratch);
}
