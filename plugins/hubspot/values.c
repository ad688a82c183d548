/* SPDX-License-Identifier: Apache-2.0
 *
 * values.c - HubSpot's properties are flat: text, numbers, true and false,
 * dates, and choices joined by semicolons. */
#include "hubspot.h"

#define STAGE "lifecyclestage"

mf_val hs_text(mf_call *c, mf_str text)
{
    mf_writer *w = mf_value(c);

    mf_w_str(w, NULL, text);
    return mf_done(w);
}

mf_str hs_plain(mf_call *c, mf_val value)
{
    return value.type == MF_OBJECT || value.type == MF_ARRAY
               ? mf_stringify(c, value)
               : mf_text(c, value);
}

static mf_str joined(mf_call *c, mf_val list)
{
    mf_iter it = { { 0 } };
    mf_str all = { "", 0 }, key;
    int first = 1;
    mf_val one;

    for (; mf_next(c, list, &it, &key, &one); first = 0)
        all = MF_JOIN(c, all, first ? MF_STR("") : MF_STR(";"),
                      hs_plain(c, one));
    return all;
}

mf_val hs_flat(mf_call *c, mf_val value)
{
    switch (value.type) {
    case MF_STRING:
        return hs_text(c, kit_trim(mf_text(c, value)));
    case MF_ARRAY:
        return hs_text(c, joined(c, value));
    case MF_OBJECT:
        return hs_text(c, hs_plain(c, value));
    default:
        return value;
    }
}

mf_val hs_flat_members(mf_call *c, mf_val object)
{
    mf_writer *w = mf_value(c);
    mf_iter it = { { 0 } };
    mf_val value;
    mf_str key;

    mf_w_object(w, NULL);
    while (mf_next(c, object, &it, &key, &value)) {
        mf_w_key(w, key);
        mf_w_val(w, NULL, hs_flat(c, value));
    }
    mf_w_end(w);
    return mf_done(w);
}

mf_val hs_properties(mf_call *c, const mf_event *e, const char *const *paths,
                     size_t count, mf_val more)
{
    mf_writer *w = mf_value(c);

    mf_w_object(w, NULL);
    for (size_t i = 0; i < count; i++) {
        mf_val value;

        if (!paths[i])
            continue;
        value = hs_flat(c, mf_field(e, (uint32_t)i));
        if (strcmp(paths[i], STAGE) == 0 && value.type == MF_STRING)
            value = hs_text(c, kit_lower(c, mf_text(c, value)));
        mf_w_val(w, paths[i], value);
    }
    mf_w_end(w);
    return kit_merge(c, mf_done(w), hs_flat_members(c, more));
}

/* "2026-01-12", perhaps with a time behind it. */
static enum hs_kind date_kind(mf_call *c, mf_val value, mf_str text)
{
    static const char form[] = "dddd-dd-dd";

    if (text.len < sizeof form - 1)
        return HS_TEXT;
    for (size_t i = 0; form[i]; i++) {
        int digit = text.ptr[i] >= '0' && text.ptr[i] <= '9';

        if (form[i] == 'd' ? !digit : text.ptr[i] != form[i])
            return HS_TEXT;
    }
    if (mf_time(c, value, INT64_MIN) == INT64_MIN)
        return HS_TEXT;
    return text.len == sizeof form - 1 ? HS_DATE : HS_TIME;
}

enum hs_kind hs_kind_of(mf_call *c, mf_val value)
{
    mf_str text;

    if (value.type == MF_BOOL)
        return HS_FLAG;
    if (value.type == MF_NUMBER)
        return HS_NUMBER;
    if (value.type != MF_STRING)
        return HS_TEXT;
    text = mf_text(c, value);
    if (mf_eq(text, MF_STR("true")) || mf_eq(text, MF_STR("false")))
        return HS_FLAG;
    return date_kind(c, value, text);
}

mf_val hs_number(mf_call *c, mf_val value)
{

    if (value.type == MF_STRING)
        value = mf_parse(c, kit_trim(mf_text(c, value)));
    return value.type == MF_NUMBER ? value : KIT_ABSENT;
}

void hs_flag_options(mf_writer *w, int as_text)
{
    static const char *const names[2][2] = { { "true", "True" },
                                             { "false", "False" } };

    mf_w_array(w, "options");
    for (int i = 0; i < 2; i++) {
        mf_w_object(w, NULL);
        mf_w_str(w, "label", mf_cstr(names[i][0]));
        if (as_text)
            mf_w_str(w, "value", mf_cstr(names[i][0]));
        else
            mf_w_bool(w, "value", i == 0);
        mf_w_bool(w, "hidden", 0);
        mf_w_str(w, "description", mf_cstr(names[i][1]));
        mf_w_int(w, "displayOrder", i + 1);
        mf_w_end(w);
    }
    mf_w_end(w);
}
