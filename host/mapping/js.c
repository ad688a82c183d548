/* SPDX-License-Identifier: Apache-2.0
 *
 * js.c - the pieces of JavaScript that mappings lean on: String(),
 * JSON.stringify() and truth. See mapping.h. */
#include "base/text.h"
#include "mapping/kit.h"

#include <math.h>

#define INTEGER_DIGITS 21 /* longer ones JavaScript prints with an exponent */

/* An integer in plain digits keeps all of them: where JavaScript would round
 * a 64-bit id, the id is worth more than the rounding. */
static bool plain_integer(mf_val v)
{
    uint32_t i = v.raw[0] == '-';

    if (v.len - i > INTEGER_DIGITS || (i && v.raw[1] == '0'))
        return false;
    for (; i < v.len; i++)
        if (v.raw[i] < '0' || v.raw[i] > '9')
            return false;
    return true;
}

static void join(struct out *o, mf_val array, bool escaped)
{
    mf_iter it = { { 0 } };
    bool first = true;
    mf_str key;
    mf_val v;

    while (json_next(array, &it, &key, &v)) {
        if (!first)
            out_char(o, ',');
        first = false;
        if (v.type != MF_NULL)
            js_string_to(o, v, escaped);
    }
}

static void stringify_array(struct out *o, mf_val v)
{
    mf_iter it = { { 0 } };
    bool first = true;
    mf_str key;
    mf_val x;

    out_char(o, '[');
    while (json_next(v, &it, &key, &x)) {
        if (!first)
            out_char(o, ',');
        first = false;
        js_stringify_to(o, x);
    }
    out_char(o, ']');
}

static void stringify_object(struct out *o, mf_val v)
{
    struct members m;

    members_of(&m, o->a, v);
    out_char(o, '{');
    for (uint32_t i = 0; i < m.count && !o->b.full; i++) {
        if (i)
            out_char(o, ',');
        out_char(o, '"');
        out_add(o, m.list[i].key.ptr, m.list[i].key.len);
        out_add(o, "\":", 2);
        js_stringify_to(o, m.list[i].value);
    }
    out_char(o, '}');
}

static void stringify_string(struct out *o, mf_val v)
{
    if (!memchr(v.raw, '\\', v.len)) {
        out_add(o, v.raw, v.len);
        return;
    }
    out_char(o, '"');
    out_escaped(o, json_text(v, o->a));
    out_char(o, '"');
}

void js_number(struct out *o, mf_val v)
{
    char text[NUMBER_TEXT];

    if (plain_integer(v))
        out_add(o, v.raw, v.len);
    else
        out_add(o, text, number_text(json_number(v, 0), text));
}

void js_string_to(struct out *o, mf_val v, bool escaped)
{
    mf_str s;

    switch (v.type) {
    case MF_ABSENT:
        out_add(o, "undefined", 9);
        break;
    case MF_NUMBER:
        js_number(o, v);
        break;
    case MF_STRING:
        s = escaped ? (mf_str){ v.raw + 1, v.len - 2 } : json_text(v, o->a);
        out_add(o, s.ptr, s.len);
        break;
    case MF_ARRAY:
        join(o, v, escaped);
        break;
    case MF_OBJECT:
        out_add(o, "[object Object]", 15);
        break;
    default:
        out_add(o, v.raw, v.len);
    }
}

mf_str js_string(mf_val v, struct arena *a)
{
    struct out o;

    if (v.type == MF_STRING)
        return json_text(v, a);
    out_init(&o, a, 64);
    js_string_to(&o, v, false);
    return out_str(&o);
}

void js_stringify_to(struct out *o, mf_val v)
{
    switch (v.type) {
    case MF_ABSENT:
        out_add(o, "null", 4);
        break;
    case MF_NUMBER:
        if (isfinite(json_number(v, 0)))
            js_number(o, v);
        else
            out_add(o, "null", 4);
        break;
    case MF_STRING:
        stringify_string(o, v);
        break;
    case MF_ARRAY:
        stringify_array(o, v);
        break;
    case MF_OBJECT:
        stringify_object(o, v);
        break;
    default:
        out_add(o, v.raw, v.len);
    }
}

mf_val js_stringify(mf_val v, struct arena *a)
{
    struct out o;

    if (v.type == MF_ABSENT)
        return v;
    out_init(&o, a, v.len + 16);
    js_stringify_to(&o, v);
    return o.b.full ? ABSENT : out_val(&o);
}

bool js_space(uint32_t c)
{
    return (c >= 9 && c <= 13) || c == ' ' || c == 0xA0 || c == 0x1680 ||
           (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 ||
           c == 0x202F || c == 0x205F || c == 0x3000 || c == 0xFEFF;
}

bool js_falsy(mf_val v)
{
    switch (v.type) {
    case MF_ABSENT:
    case MF_NULL:
        return true;
    case MF_BOOL:
        return v.raw[0] == 'f';
    case MF_STRING:
        return v.len == 2;
    case MF_NUMBER:
        if (v.raw[0] >= '1' && v.raw[0] <= '9')
            return false;
        return json_number(v, 1) == 0;
    default:
        return false;
    }
}

const char *type_name(mf_val v)
{
    static const char *const names[] = { "undefined", "null",  "boolean",
                                         "number",    "string", "array",
                                         "object" };

    ASSERT(v.type < COUNT_OF(names));
    return names[v.type];
}
