/* SPDX-License-Identifier: Apache-2.0
 *
 * liquid_value.c - values of @liquid: what they are, equal, print as. */
#include "base/text.h"
#include "base/unicase.h"
#include "mapping/jsvalue.h"
#include "mapping/liquid.h"

#include <math.h>

struct lv lv_text(mf_str s)
{
    struct lv v = LV(LV_STRING);

    v.u.text = s;
    return v;
}

struct lv lv_number(double n)
{
    struct lv v = LV(LV_NUMBER);

    v.u.number.value = n;
    v.u.number.digits = MF_STR("");
    return v;
}

struct lv lv_bool(bool truth)
{
    struct lv v = LV(LV_BOOL);

    v.u.truth = truth;
    return v;
}

struct lv lv_json(struct l_run *r, mf_val j)
{
    struct lv v = LV(LV_UNDEFINED);

    switch (j.type) {
    case MF_NULL:
        v.type = LV_NULL;
        break;
    case MF_BOOL:
        v = lv_bool(json_is_true(j));
        break;
    case MF_NUMBER:
        v = lv_number(json_number(j, 0));
        v.u.number.digits = (mf_str){ j.raw, j.len };
        break;
    case MF_STRING:
        v = lv_text(json_text(j, r->a));
        break;
    case MF_ARRAY:
        v.type = LV_ARRAY;
        v.u.array.list = NULL;
        v.u.array.json = j;
        v.u.array.count = (uint32_t)json_count(j);
        break;
    case MF_OBJECT:
        v.type = LV_OBJECT;
        v.u.object = j;
        break;
    }
    return v;
}

struct lv lv_array(struct l_run *r, uint32_t count, struct lv **list)
{
    struct lv v = LV(LV_ARRAY);

    *list = NULL;
    if (count > LIQUID_LIST_MAX)
        liquid_fail(r, "memory alloc limit exceeded");
    else
        *list = liquid_alloc(r, (count ? count : 1) * sizeof **list);
    v.u.array.list = *list;
    v.u.array.json = (mf_val){ "[]", 2, MF_ARRAY };
    v.u.array.count = *list ? count : 0;
    return v;
}

const struct lv *lv_list(struct l_run *r, const struct lv *v, uint32_t *count)
{
    mf_iter it = { { 0 } };
    struct lv *list, *to;
    mf_str key;
    mf_val x;

    *count = lv_nil(*v) ? 0 : 1;
    if (v->type != LV_ARRAY)
        return v;
    *count = v->u.array.count;
    if (v->u.array.list)
        return v->u.array.list;
    lv_array(r, *count, &list);
    if (!list) {
        *count = 0;
        return v;
    }
    for (to = list; json_next(v->u.array.json, &it, &key, &x);)
        *to++ = lv_json(r, x);
    return list;
}

bool lv_nil(struct lv v)
{
    return v.type == LV_UNDEFINED || v.type == LV_NULL || v.type == LV_NIL;
}

bool lv_truthy(struct lv v)
{
    return !lv_nil(v) && !(v.type == LV_BOOL && !v.u.truth);
}

/* ---- members ---- */

static struct lv element(struct l_run *r, struct lv v, double index)
{
    if (index < 0)
        index += v.u.array.count;
    if (!(index >= 0) || index >= v.u.array.count || index != floor(index))
        return LV(LV_UNDEFINED);
    if (v.u.array.list)
        return v.u.array.list[(uint32_t)index];
    return lv_json(r, json_at(v.u.array.json, (size_t)index));
}

static struct lv of_object(struct l_run *r, mf_val object, mf_str key)
{
    mf_val v = json_get(object, key);
    struct members m;

    if (v.type != MF_ABSENT || !mf_eq(key, MF_STR("size")))
        return lv_json(r, v);
    members_of(&m, r->a, object);
    return lv_number(m.count);
}

static struct lv of_array(struct l_run *r, struct lv v, mf_str key)
{
    int64_t index;

    if (mf_eq(key, MF_STR("size")) || mf_eq(key, MF_STR("length")))
        return lv_number(v.u.array.count);
    if (mf_eq(key, MF_STR("first")))
        return element(r, v, 0);
    if (mf_eq(key, MF_STR("last")))
        return element(r, v, (double)v.u.array.count - 1);
    return parse_i64(key, &index) ? element(r, v, (double)index)
                                  : LV(LV_UNDEFINED);
}

static struct lv of_text(struct l_run *r, mf_str s, mf_str key)
{
    mf_val v;

    if (mf_eq(key, MF_STR("size")))
        key = MF_STR("length");
    if (s.len == 0 && !mf_eq(key, MF_STR("length")))
        return LV(LV_UNDEFINED);
    if (s.len == 0)
        return lv_number(0);
    v = text_val(r->a, s);
    return v.type == MF_ABSENT ? LV(LV_UNDEFINED)
                               : lv_json(r, path_step(v, key, r->a));
}

struct lv lv_member(struct l_run *r, struct lv v, struct lv key)
{
    mf_str name;

    if (lv_nil(v))
        return v;
    name = key.type == LV_UNDEFINED ? MF_STR("undefined") : lv_string(r, key);
    switch (v.type) {
    case LV_OBJECT:
        return of_object(r, v.u.object, name);
    case LV_ARRAY:
        return of_array(r, v, name);
    case LV_STRING:
        return of_text(r, v.u.text, name);
    default:
        return LV(LV_UNDEFINED);
    }
}

/* ---- printing ---- */

static void print(struct l_run *r, struct out *o, struct lv v)
{
    char text[NUMBER_TEXT];
    const struct lv *list;
    uint32_t n;

    switch (v.type) {
    case LV_BOOL:
        out_add(o, v.u.truth ? "true" : "false", v.u.truth ? 4 : 5);
        break;
    case LV_NUMBER:
        if (v.u.number.digits.len)
            js_number(o, (mf_val){ v.u.number.digits.ptr,
                                   (uint32_t)v.u.number.digits.len,
                                   MF_NUMBER });
        else
            out_add(o, text, number_text(v.u.number.value, text));
        break;
    case LV_STRING:
        out_add(o, v.u.text.ptr, v.u.text.len);
        break;
    case LV_ARRAY:
        list = lv_list(r, &v, &n);
        for (uint32_t i = 0; i < n; i++)
            print(r, o, list[i]);
        break;
    case LV_OBJECT:
        out_add(o, "[object Object]", 15);
        break;
    default:
        break;
    }
}

mf_str lv_string(struct l_run *r, struct lv v)
{
    struct out o;

    if (v.type == LV_STRING)
        return v.u.text;
    out_init(&o, r->a, NUMBER_TEXT);
    print(r, &o, v);
    return out_str(&o);
}

void lv_write_json(struct l_run *r, struct out *o, struct lv v)
{
    const struct lv *list;
    uint32_t n;

    switch (v.type) {
    case LV_STRING:
        out_char(o, '"');
        out_escaped(o, v.u.text);
        out_char(o, '"');
        break;
    case LV_OBJECT:
        js_stringify_to(o, v.u.object);
        break;
    case LV_ARRAY:
        list = lv_list(r, &v, &n);
        out_char(o, '[');
        for (uint32_t i = 0; i < n; i++) {
            if (i)
                out_char(o, ',');
            lv_write_json(r, o, list[i]);
        }
        out_char(o, ']');
        break;
    case LV_BOOL:
        print(r, o, v);
        break;
    case LV_NUMBER:
        if (isfinite(v.u.number.value)) {
            print(r, o, v);
            break;
        } /* fall through */
    default:
        out_add(o, "null", 4);
    }
}

/* ---- comparing ---- */

double lv_to_number(struct l_run *r, struct lv v)
{
    double n = NAN;
    struct out o;

    switch (v.type) {
    case LV_NUMBER:
        n = v.u.number.value;
        break;
    case LV_BOOL:
        n = v.u.truth;
        break;
    case LV_STRING:
        n = js_to_number(v.u.text);
        break;
    case LV_ARRAY: /* of its elements joined by commas */
        out_init(&o, r->a, 64);
        if (v.u.array.count == 1)
            print(r, &o, lv_list(r, &v, &(uint32_t){ 0 })[0]);
        n = v.u.array.count < 2 ? js_to_number(out_str(&o)) : NAN;
        break;
    case LV_UNDEFINED:
    case LV_OBJECT:
        break;
    default:
        n = 0;
    }
    return n;
}

double lv_or_zero(struct l_run *r, struct lv v)
{
    double n = lv_to_number(r, v);

    return isnan(n) ? 0 : n;
}

static bool equal_to_word(struct l_run *r, enum lv_type word, struct lv v)
{
    struct members m;

    if (word == LV_NIL)
        return lv_nil(v);
    if (word == LV_BLANK && (lv_nil(v) || (v.type == LV_BOOL && !v.u.truth)))
        return true;
    if (v.type == LV_STRING)
        return (word == LV_BLANK ? str_trim(v.u.text) : v.u.text).len == 0;
    if (v.type == LV_ARRAY)
        return v.u.array.count == 0;
    if (v.type != LV_OBJECT)
        return false;
    members_of(&m, r->a, v.u.object);
    return m.count == 0;
}

bool lv_equal(struct l_run *r, struct lv x, struct lv y)
{
    const struct lv *a, *b;
    uint32_t n, m;

    if (x.type >= LV_NIL)
        return equal_to_word(r, x.type, y);
    if (y.type >= LV_NIL)
        return equal_to_word(r, y.type, x);
    if (x.type != y.type)
        return false;
    switch (x.type) {
    case LV_BOOL:
        return x.u.truth == y.u.truth;
    case LV_NUMBER:
        return x.u.number.value == y.u.number.value;
    case LV_STRING:
        return mf_eq(x.u.text, y.u.text);
    case LV_ARRAY:
        a = lv_list(r, &x, &n);
        b = lv_list(r, &y, &m);
        for (uint32_t i = 0; n == m && i < n; i++)
            if (!lv_equal(r, a[i], b[i]))
                return false;
        return n == m;
    case LV_OBJECT: /* the same object, not the same content */
        return x.u.object.raw == y.u.object.raw;
    default:
        return true;
    }
}
