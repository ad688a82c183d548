/* SPDX-License-Identifier: Apache-2.0
 *
 * fuzz_json.c - the JSON reader and writer, held against json-c in its strict
 * mode at the same depth.
 *
 * What one accepts the other must accept, and both must see the same value.
 * Differences that are meant, each for its reason:
 *   - json-c ends at a NUL byte, here it is a byte like others, and wrong;
 *   - json-c reads NaN, Infinity and -Infinity, which are no JSON (RFC 8259);
 *   - json-c lets bare control characters stand in strings (0.16), RFC 8259
 *     does not;
 *   - json-c takes 1. and 1.e5 and -.5 and 007 for numbers, RFC 8259 does not;
 *   - json-c counts the bytes of a character and no more: overlong forms,
 *     surrogates and what is past U+10FFFF are let through there;
 *   - json-c ends integers at 64 bits;
 *   - keys are C strings there: one with \u0000 in it ends early;
 *   - json-c refuses a number whose double is not finite, or that strtod()
 *     cannot tell from the text next to it: here a number is its digits. */
#include "fuzz.h"

#include "base/text.h"

#define json_bool json_c_bool /* a type there, a function here */
#include <json-c/json.h>
#undef json_bool
#include <math.h>

#define SOFT (8u << 20)

static struct arena arena;

/* ---- the other side ---- */

static struct json_object *other_parse(mf_str text, bool *ok)
{
    struct json_tokener *t = json_tokener_new_ex(JSON_DEPTH_MAX + 1);
    struct json_object *o;

    ASSERT(t);
    json_tokener_set_flags(t, JSON_TOKENER_STRICT |
                                  JSON_TOKENER_VALIDATE_UTF8);
    o = json_tokener_parse_ex(t, text.ptr, (int)text.len);
    if (json_tokener_get_error(t) == json_tokener_continue)
        o = json_tokener_parse_ex(t, " ", 1); /* ends a number */
    *ok = json_tokener_get_error(t) == json_tokener_success;
    json_tokener_free(t);
    return o;
}

/* ---- the same value ---- */

static bool key_has_nul(mf_val object)
{
    mf_iter it = { { 0 } };
    mf_str key, plain;
    mf_val v;

    while (json_next(object, &it, &key, &v)) {
        plain = json_unescape(key, &arena);
        if (plain.len && memchr(plain.ptr, 0, plain.len))
            return true;
    }
    return false;
}

static bool same_number(mf_val v, struct json_object *o)
{
    double ours = json_number(v, NAN), theirs = json_object_get_double(o);
    int64_t n;

    if (json_object_get_type(o) == json_type_int && json_integer(v, &n))
        return n == json_object_get_int64(o);
    if (json_object_get_type(o) == json_type_int &&
        (ours > (double)UINT64_MAX || ours < (double)INT64_MIN))
        return true;
    return ours == theirs;
}

static bool same(mf_val v, struct json_object *o);

static bool same_members(mf_val v, struct json_object *o)
{
    size_t n = 0;

    if (key_has_nul(v))
        return true;
    json_object_object_foreach(o, key, member) {
        if (!same(json_get(v, mf_cstr(key)), member))
            return false;
        n++;
    }
    return n <= json_count(v);
}

static bool same_elements(mf_val v, struct json_object *o)
{
    mf_iter it = { { 0 } };
    mf_val element;
    size_t n = 0;
    mf_str key;

    while (json_next(v, &it, &key, &element))
        if (!same(element, json_object_array_get_idx(o, n++)))
            return false;
    return n == json_object_array_length(o) && n == json_count(v);
}

static bool same(mf_val v, struct json_object *o)
{
    mf_str text;

    switch (json_object_get_type(o)) {
    case json_type_null:
        return v.type == MF_NULL;
    case json_type_boolean:
        return v.type == MF_BOOL &&
               json_is_true(v) == !!json_object_get_boolean(o);
    case json_type_int:
    case json_type_double:
        return v.type == MF_NUMBER && same_number(v, o);
    case json_type_string:
        text = json_text(v, &arena);
        return v.type == MF_STRING &&
               mf_eq(text, (mf_str){ json_object_get_string(o),
                                     (size_t)json_object_get_string_len(o) });
    case json_type_array:
        return v.type == MF_ARRAY && same_elements(v, o);
    default:
        return v.type == MF_OBJECT && same_members(v, o);
    }
}

/* ---- differences that are meant ---- */

static bool has(mf_str text, const char *word)
{
    return text.len && memmem(text.ptr, text.len, word, strlen(word));
}

/* A finite double of which json-c could know the end. */
static bool all_finite(mf_val v)
{
    mf_iter it = { { 0 } };
    mf_str key;
    mf_val inner;

    if (v.type == MF_NUMBER)
        return isfinite(json_number(v, NAN));
    while (json_next(v, &it, &key, &inner))
        if (!all_finite(inner))
            return false;
    return true;
}

static bool may_accept_more(mf_str text, const struct json_fault *f)
{
    const char *at = text.ptr + f->offset;
    size_t left = text.len - f->offset;

    if (memchr(text.ptr, 0, text.len) || has(text, "NaN") ||
        has(text, "Infinity"))
        return true;
    if (strcmp(f->what, "a control character in a string must be escaped") == 0)
        return left && (unsigned char)*at < 0x20;
    if (strcmp(f->what, "this is not UTF-8") == 0)
        return true;
    if (left && f->offset && at[-1] == '0' && *at >= '0' && *at <= '9')
        return true;
    return strcmp(f->what, "a digit was expected") == 0 && f->offset &&
           (at[-1] == '.' || at[-1] == '-');
}

static void differ(mf_str text)
{
    struct json_fault f = { 0, NULL };
    bool ours = json_check(text, JSON_DEPTH_MAX, &f) == 0, theirs;
    struct json_object *o = other_parse(text, &theirs);

    if (ours && !theirs)
        ASSERT(!all_finite(json_root(text)));
    if (ours && theirs)
        ASSERT(same(json_root(text), o));
    if (!ours) {
        ASSERT(f.what && f.offset <= text.len);
        ASSERT(!theirs || may_accept_more(text, &f));
    }
    json_object_put(o);
}

/* ---- read, and written again from what was read ---- */

static void rewrite(struct json_out *w, mf_val v)
{
    mf_iter it = { { 0 } };
    mf_str key;
    mf_val inner;
    int64_t n;

    switch (v.type) {
    case MF_OBJECT:
        json_begin_object(w);
        while (json_next(v, &it, &key, &inner)) {
            ASSERT(key.ptr > v.raw && key.ptr + key.len < inner.raw);
            ASSERT(inner.raw + inner.len < v.raw + v.len);
            json_key(w, json_unescape(key, &arena));
            rewrite(w, inner);
        }
        json_end_object(w);
        break;
    case MF_ARRAY:
        json_begin_array(w);
        while (json_next(v, &it, &key, &inner)) {
            ASSERT(inner.raw > v.raw &&
                   inner.raw + inner.len < v.raw + v.len);
            rewrite(w, inner);
        }
        json_end_array(w);
        break;
    case MF_STRING:
        json_str(w, json_text(v, &arena));
        break;
    case MF_NUMBER:
        if (json_integer(v, &n))
            json_int(w, n);
        else if (isfinite(json_number(v, NAN)))
            json_num(w, json_number(v, NAN));
        else
            json_val(w, v);
        break;
    default:
        json_val(w, v);
    }
}

static void round_trip(mf_val v)
{
    struct json_out w;
    struct buf b;

    buf_init(&b, 1u << 20);
    json_out_init(&w, &b);
    rewrite(&w, v);
    ASSERT(json_check(buf_view(&b), JSON_DEPTH_MAX, NULL) == 0);
    ASSERT(utf8_valid(b.data, b.len));
    ASSERT(json_equal(v, v, &arena));
    ASSERT(json_equal(v, json_root(buf_view(&b)), &arena));
    ASSERT(json_equal(json_root(buf_view(&b)), v, &arena));
    buf_deinit(&b);
}

/* Any bytes can be a text to write. */
static void any_text(mf_str s)
{
    mf_val v = json_from_text(&arena, s);
    mf_str back;

    fuzz_is_json(v);
    back = json_text(v, &arena);
    ASSERT(!utf8_valid(s.ptr, s.len) || mf_eq(back, s));
    ASSERT(utf8_valid(back.ptr ? back.ptr : "", back.len));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    unsigned line, column;
    struct json_fault f;
    mf_str text;

    if (!arena.soft)
        arena_init(&arena, SOFT);
    arena_reset(&arena);
    fuzz_split(data, size, &text, 1);
    differ(text);
    if (json_check(text, JSON_DEPTH_MAX, &f) == 0) {
        round_trip(json_root(text));
    } else {
        json_place(text, f.offset, &line, &column);
        ASSERT(line >= 1 && column >= 1);
    }
    any_text(text);
    fuzz_join(&text, 1);
    return 0;
}
