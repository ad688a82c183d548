/* SPDX-License-Identifier: Apache-2.0
 *
 * fields.c - custom fields of users and organisations. Zendesk passes over
 * values of fields that it does not have, so they are looked up, page by page,
 * and made before the record is written. What it said is believed for a
 * minute; a page that lacked something is asked for again. */
#include "zendesk.h"

#define KEEP_MS 60000
#define PAGE    "100"

/* ---- names: planName and "Plan name" are plan_name ---- */

static int is_upper(char ch)
{
    return ch >= 'A' && ch <= 'Z';
}

static int is_digit(char ch)
{
    return ch >= '0' && ch <= '9';
}

static int is_lower(char ch)
{
    return ch >= 'a' && ch <= 'z';
}

/* A word begins at s[i]: a capital after a small letter or digit, or the last
 * of several capitals before a small letter. */
static int begins_word(mf_str s, size_t i)
{
    if (!i || !is_upper(s.ptr[i]))
        return 0;
    return is_lower(s.ptr[i - 1]) || is_digit(s.ptr[i - 1]) ||
           (is_upper(s.ptr[i - 1]) && i + 1 < s.len && is_lower(s.ptr[i + 1]));
}

/* "" for a name that Zendesk could not have: one of digits, or of none of its
 * letters. */
static mf_str snake(mf_call *c, mf_str s)
{
    char *to = mf_alloc(c, 2 * s.len + 1);
    size_t n = 0, letters = 0;

    for (size_t i = 0; i < s.len; i++) {
        char ch = s.ptr[i];
        int part = is_upper(ch) || is_lower(ch) || is_digit(ch);

        if ((!part || begins_word(s, i)) && n && to[n - 1] != '_')
            to[n++] = '_';
        if (part)
            to[n++] = is_upper(ch) ? (char)(ch | 32) : ch;
        letters += part && !is_digit(ch);
    }
    while (n && to[n - 1] == '_')
        n--;
    return (mf_str){ to, letters ? n : 0 };
}

mf_val zd_custom(mf_call *c, mf_val object, const char *const *known,
                 size_t count)
{
    mf_val all = ZD_NOTHING, value;
    mf_iter it = { { 0 } };
    mf_str key;

    while (object.type == MF_OBJECT && mf_next(c, object, &it, &key, &value)) {
        mf_str name = snake(c, key);
        mf_writer *w;

        if (!name.len || kit_index(name, known, count) < count)
            continue;
        w = mf_value(c);
        mf_w_object(w, NULL);
        mf_w_key(w, name);
        mf_w_val(w, NULL, value);
        mf_w_end(w);
        all = kit_merge(c, all, mf_done(w)); /* the last of two spellings */
    }
    return all;
}

/* ---- values ---- */

static int is_empty(mf_val object)
{
    return object.len <= 2;
}

/* Numbers and flags stay what they are in fields for them; all other fields
 * hold text. */
static void w_value(mf_call *c, mf_writer *w, mf_val value, mf_str type)
{
    static const char *const as_is[] = { "checkbox", "integer", "decimal",
                                         "multiselect", "lookup" };

    if (!mf_given(value) || kit_index(type, as_is, KIT_N(as_is)) < KIT_N(as_is))
        mf_w_val(w, NULL, value);
    else if (value.type == MF_ARRAY || value.type == MF_OBJECT)
        mf_w_str(w, NULL, mf_stringify(c, value));
    else
        mf_w_str(w, NULL, mf_text(c, value));
}

/* The field of that key in a list of fields, or absent. */
static mf_val find_field(mf_call *c, mf_val list, mf_str key)
{
    mf_iter it = { { 0 } };
    mf_val field;
    mf_str index;

    while (list.type == MF_ARRAY && mf_next(c, list, &it, &index, &field)) {
        if (mf_eq(mf_text(c, mf_get(c, field, "key")), key))
            return field;
    }
    return KIT_ABSENT;
}

/* Takes those that the list has over from t->left to t->custom. A null clears
 * a field that is there, and makes none. */
static void sort_out(mf_call *c, struct task *t, mf_val list)
{
    mf_writer *there = mf_value(c), *left = mf_value(c);
    mf_iter it = { { 0 } };
    mf_val value;
    mf_str key;

    mf_w_object(there, NULL);
    mf_w_object(left, NULL);
    while (mf_next(c, t->left, &it, &key, &value)) {
        mf_val field = find_field(c, list, key);

        if (field.type != MF_ABSENT) {
            mf_w_key(there, key);
            w_value(c, there, value, mf_text(c, mf_get(c, field, "type")));
        } else if (mf_given(value)) {
            mf_w_key(left, key);
            mf_w_val(left, NULL, value);
        }
    }
    mf_w_end(there);
    mf_w_end(left);
    t->custom = kit_merge(c, t->custom, mf_done(there));
    t->left = mf_done(left);
}

/* ---- making fields ---- */

static int32_t made(mf_call *c, struct task *t, const mf_request *r,
                    const mf_response *a)
{
    if (mf_status(a) == 403)
        return kit_settle(c, r, 403,
                          MF_STR("only admins may make custom fields: let one "
                                 "make them, or turn off create_fields"));
    if (!kit_ok(a) && !zd_duplicate(a)) /* another event was faster */
        return MF_OK;
    return --t->making ? MF_CONTINUE : t->write(c, t);
}

static void make(mf_call *c, struct task *t, mf_str key)
{
    mf_request *r = zd_send(c, "POST", mf_cstr(t->kind->fields), made, t);
    mf_writer *w = mf_json_body(r);

    t->making++;
    mf_w_object(w, NULL);
    mf_w_object(w, t->kind->field);
    mf_w_str(w, "key", key);
    mf_w_str(w, "title", key);
    mf_w_str(w, "type", MF_STR("text"));
    mf_w_end(w);
    mf_w_end(w);
}

static int32_t make_missing(mf_call *c, struct task *t)
{
    mf_writer *w = mf_value(c);
    mf_iter it = { { 0 } };
    mf_val value;
    mf_str key;

    mf_w_object(w, NULL);
    while (mf_next(c, t->left, &it, &key, &value)) {
        make(c, t, key);
        mf_w_key(w, key);
        w_value(c, w, value, MF_STR("text"));
    }
    mf_w_end(w);
    t->custom = kit_merge(c, t->custom, mf_done(w));
    return MF_CONTINUE;
}

/* ---- looking fields up ---- */

static void ask(mf_call *c, struct task *t, zd_then *then, mf_str after)
{
    mf_request *r = zd_send(c, "GET", mf_cstr(t->kind->fields), then, t);

    mf_query(r, "page[size]", MF_STR(PAGE));
    if (after.len)
        mf_query(r, "page[after]", after);
}

static int32_t page(mf_call *c, struct task *t, const mf_request *r,
                    const mf_response *a)
{
    mf_val all = mf_answer_json(a);
    mf_str after = { "", 0 };
    int served;

    (void)r;
    if (!kit_ok(a))
        return MF_OK;
    sort_out(c, t, mf_get(c, all, t->kind->fields));
    served = is_empty(t->left);
    if (mf_is_true(mf_get(c, all, "meta.has_more")))
        after = mf_text(c, mf_get(c, all, "meta.after_cursor"));
    mf_keep(a, served || after.len || !t->may_make ? KEEP_MS : 0);
    if (!served && after.len) {
        ask(c, t, page, after);
        return MF_CONTINUE;
    }
    return served || !t->may_make ? t->write(c, t) : make_missing(c, t);
}

int32_t zd_with_fields(mf_call *c, struct task *t, uint32_t may_make,
                       zd_write *write)
{
    t->custom = ZD_NOTHING;
    t->may_make = may_make;
    t->write = write;
    if (is_empty(t->left))
        write(c, t);
    else
        ask(c, t, page, MF_STR(""));
    return MF_OK;
}
