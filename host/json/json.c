/* SPDX-License-Identifier: Apache-2.0
 *
 * json.c - the in-place reader; see json.h. The writer is write.c.
 *
 * json_check() is a single pass with a bit stack for the nesting, no
 * recursion. The walkers trust it and look only for the bytes that matter:
 * the end of a string, the end of a container. */
#include "json/json.h"

#include "base/text.h"
#include "json/scan.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static bool space(char c)
{
    return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

static const char *skip_space(const char *p, const char *end)
{
    while (p < end && space(*p))
        p++;
    return p;
}

/* ---- checking ---- */

struct check {
    const char *p, *end;
    const char *what;
};

static bool fail(struct check *c, const char *what)
{
    c->what = what;
    return false;
}

static int hex4(const char *p)
{
    int v = 0;

    for (int i = 0; i < 4; i++) {
        char c = p[i];
        int d = c >= '0' && c <= '9'   ? c - '0'
                : c >= 'a' && c <= 'f' ? c - 'a' + 10
                : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                       : -1;

        if (d < 0)
            return -1;
        v = v << 4 | d;
    }
    return v;
}

static bool check_escape(struct check *c)
{
    if (c->end - c->p < 2)
        return fail(c, "the text ends inside a string");
    switch (c->p[1]) {
    case '"': case '\\': case '/': case 'b':
    case 'f': case 'n': case 'r': case 't':
        c->p += 2;
        return true;
    case 'u':
        if (c->end - c->p < 6 || hex4(c->p + 2) < 0)
            return fail(c, "\\u must be followed by four hex digits");
        c->p += 6;
        return true;
    default:
        return fail(c, "there is no such escape");
    }
}

static bool check_string(struct check *c)
{
    c->p++;
    for (;;) {
        c->p = scan_plain(c->p, c->end);
        if (c->p == c->end)
            return fail(c, "the text ends inside a string");
        if (*c->p == '"') {
            c->p++;
            return true;
        }
        if (*c->p == '\\') {
            if (!check_escape(c))
                return false;
        } else if ((unsigned char)*c->p < 0x20) {
            return fail(c, "a control character in a string must be escaped");
        } else {
            const char *run = c->p;

            while (c->p < c->end && (unsigned char)*c->p >= 0x80)
                c->p++;
            if (!utf8_valid(run, (size_t)(c->p - run))) {
                c->p = run;
                return fail(c, "this is not UTF-8");
            }
        }
    }
}

static bool some_digits(struct check *c)
{
    const char *from = c->p;

    while (c->p < c->end && *c->p >= '0' && *c->p <= '9')
        c->p++;
    return c->p > from || fail(c, "a digit was expected");
}

static bool check_number(struct check *c)
{
    if (*c->p == '-')
        c->p++;
    if (c->p < c->end && *c->p == '0')
        c->p++;
    else if (!some_digits(c))
        return false;
    if (c->p < c->end && *c->p == '.') {
        c->p++;
        if (!some_digits(c))
            return false;
    }
    if (c->p < c->end && (*c->p == 'e' || *c->p == 'E')) {
        c->p++;
        if (c->p < c->end && (*c->p == '+' || *c->p == '-'))
            c->p++;
        if (!some_digits(c))
            return false;
    }
    return true;
}

static bool check_word(struct check *c, const char *word, size_t n)
{
    if ((size_t)(c->end - c->p) < n || memcmp(c->p, word, n) != 0)
        return fail(c, "a value was expected");
    c->p += n;
    return true;
}

static bool check_scalar(struct check *c)
{
    switch (*c->p) {
    case '"':
        return check_string(c);
    case 't':
        return check_word(c, "true", 4);
    case 'f':
        return check_word(c, "false", 5);
    case 'n':
        return check_word(c, "null", 4);
    default:
        if (*c->p == '-' || (*c->p >= '0' && *c->p <= '9'))
            return check_number(c);
        return fail(c, "a value was expected");
    }
}

static bool check_key(struct check *c)
{
    c->p = skip_space(c->p, c->end);
    if (c->p == c->end || *c->p != '"')
        return fail(c, "a key in double quotes was expected");
    if (!check_string(c))
        return false;
    c->p = skip_space(c->p, c->end);
    if (c->p == c->end || *c->p != ':')
        return fail(c, "a colon was expected");
    c->p++;
    return true;
}

static bool check_value(struct check *c, unsigned depth_max)
{
    uint64_t in_object = 0; /* bit d: what is open at depth d is an object */
    unsigned depth = 0;

    for (;;) {
        c->p = skip_space(c->p, c->end);
        if (c->p == c->end)
            return fail(c, "the text ends where a value was expected");
        if (*c->p == '{' || *c->p == '[') {
            bool object = *c->p == '{';

            if (depth == depth_max)
                return fail(c, "this is nested too deep");
            in_object = object ? in_object | 1ull << depth
                               : in_object & ~(1ull << depth);
            depth++;
            c->p = skip_space(c->p + 1, c->end);
            if (c->p < c->end && *c->p == (object ? '}' : ']')) {
                c->p++;
                depth--;
            } else {
                if (object && !check_key(c))
                    return false;
                continue;
            }
        } else if (!check_scalar(c)) {
            return false;
        }
        for (;;) { /* after a value */
            bool object;

            if (depth == 0)
                return true;
            object = in_object >> (depth - 1) & 1;
            c->p = skip_space(c->p, c->end);
            if (c->p == c->end)
                return fail(c, object ? "the text ends inside an object"
                                      : "the text ends inside an array");
            if (*c->p == ',') {
                c->p++;
                if (object && !check_key(c))
                    return false;
                break;
            }
            if (*c->p != (object ? '}' : ']'))
                return fail(c, object ? "a comma or } was expected"
                                      : "a comma or ] was expected");
            c->p++;
            depth--;
        }
    }
}

int json_check(mf_str text, unsigned depth_max, struct json_fault *fault)
{
    struct check c = { text.ptr, text.ptr + text.len, NULL };

    ASSERT(depth_max <= JSON_DEPTH_MAX);
    if (text.len > UINT32_MAX)
        fail(&c, "the text is longer than 4 GiB");
    else if (check_value(&c, depth_max)) {
        c.p = skip_space(c.p, c.end);
        if (c.p == c.end)
            return 0;
        fail(&c, "something follows the value");
    }
    if (fault) {
        fault->offset = (size_t)(c.p - text.ptr);
        fault->what = c.what;
    }
    return -1;
}

void json_place(mf_str text, size_t offset, unsigned *line, unsigned *column)
{
    *line = *column = 1;
    for (size_t i = 0; i < offset && i < text.len; i++) {
        (*column)++;
        if (text.ptr[i] == '\n') {
            (*line)++;
            *column = 1;
        }
    }
}

/* ---- walking checked text ---- */

/* p is at the opening quote; returns the place after the closing one. */
const char *json_string_end(const char *p, const char *end)
{
    for (p++; p < end; p += 2) {
        p = scan_quote(p, end);
        if (p < end && *p == '"')
            return p + 1;
    }
    return end;
}

/* The value at p, which has no white space before it. */
mf_val json_value_at(const char *p, const char *end)
{
    const char *q = p;
    uint32_t type;

    if (p >= end)
        return (mf_val){ NULL, 0, MF_ABSENT };
    switch (*p) {
    case '"':
        type = MF_STRING;
        q = json_string_end(p, end);
        break;
    case '{':
        type = MF_OBJECT;
        q = scan_container(p, end);
        break;
    case '[':
        type = MF_ARRAY;
        q = scan_container(p, end);
        break;
    case 't': case 'f':
        type = MF_BOOL;
        q = p + (*p == 't' ? 4 : 5);
        break;
    case 'n':
        type = MF_NULL;
        q = p + 4;
        break;
    default:
        type = MF_NUMBER;
        while (q < end && *q != ',' && *q != '}' && *q != ']' && !space(*q))
            q++;
    }
    return (mf_val){ p, (uint32_t)(q - p), type };
}

/* Checked text holds one value and white space, so its end needs no search. */
mf_val json_root(mf_str text)
{
    const char *end = text.ptr + text.len, *p = skip_space(text.ptr, end);

    while (end > p && space(end[-1]))
        end--;
    if (end - p > 1 && (*p == '{' || *p == '['))
        return (mf_val){ p, (uint32_t)(end - p),
                         *p == '{' ? MF_OBJECT : MF_ARRAY };
    return json_value_at(p, end);
}

bool json_next(mf_val v, mf_iter *it, mf_str *raw_key, mf_val *value)
{
    const char *end, *p;

    if (v.type != MF_OBJECT && v.type != MF_ARRAY)
        return false;
    end = v.raw + v.len - 1; /* the closing bracket */
    p = v.raw + (it->opaque[0] ? it->opaque[0] : 1);
    p = skip_space(p, end);
    if (p < end && *p == ',')
        p = skip_space(p + 1, end);
    if (p >= end)
        return false;
    *raw_key = (mf_str){ NULL, 0 };
    if (v.type == MF_OBJECT) {
        const char *q = json_string_end(p, end);

        *raw_key = (mf_str){ p + 1, (size_t)(q - p) - 2 };
        p = skip_space(q, end);
        p = skip_space(p + 1, end);
    }
    *value = json_value_at(p, end);
    it->opaque[0] = (uint64_t)(p + value->len - v.raw);
    return true;
}

bool json_key_is(mf_str raw, mf_str name)
{
    struct arena a;
    bool same;

    if (raw.len <= name.len) /* an escape is longer than what it stands for */
        return mf_eq(raw, name);
    if (!memchr(raw.ptr, '\\', raw.len))
        return false;
    arena_init(&a, SIZE_MAX / 8);
    same = mf_eq(json_unescape(raw, &a), name);
    arena_deinit(&a);
    return same;
}

mf_val json_get(mf_val object, mf_str name)
{
    mf_val found = { NULL, 0, MF_ABSENT }, v;
    mf_iter it = { { 0 } };
    mf_str key;

    if (object.type != MF_OBJECT)
        return found;
    while (json_next(object, &it, &key, &v))
        if (json_key_is(key, name))
            found = v;
    return found;
}

mf_val json_at(mf_val array, size_t index)
{
    mf_iter it = { { 0 } };
    mf_str key;
    mf_val v;

    if (array.type == MF_ARRAY)
        while (json_next(array, &it, &key, &v))
            if (index-- == 0)
                return v;
    return (mf_val){ NULL, 0, MF_ABSENT };
}

size_t json_count(mf_val container)
{
    mf_iter it = { { 0 } };
    size_t n = 0;
    mf_str key;
    mf_val v;

    while (json_next(container, &it, &key, &v))
        n++;
    return n;
}

/* ---- values ---- */

static uint32_t code_point(const char **p, const char *end)
{
    int high = hex4(*p), low;

    *p += 4;
    if (high < 0xD800 || high > 0xDFFF)
        return (uint32_t)high;
    if (high > 0xDBFF || end - *p < 6 || (*p)[0] != '\\' || (*p)[1] != 'u')
        return 0xFFFD;
    low = hex4(*p + 2);
    if (low < 0xDC00 || low > 0xDFFF)
        return 0xFFFD;
    *p += 6;
    return 0x10000 + ((uint32_t)(high - 0xD800) << 10) +
           (uint32_t)(low - 0xDC00);
}

mf_str json_unescape(mf_str raw, struct arena *a)
{
    const char *p = raw.ptr, *end = raw.ptr + raw.len;
    struct buf b;

    if (raw.len == 0 || !memchr(raw.ptr, '\\', raw.len))
        return raw;
    b = (struct buf){ arena_alloc(a, raw.len + 1), 0, raw.len, raw.len, false };
    while (p < end) {
        if (*p != '\\') {
            buf_char(&b, *p++);
            continue;
        }
        p++;
        switch (*p++) {
        case 'b': buf_char(&b, '\b'); break;
        case 'f': buf_char(&b, '\f'); break;
        case 'n': buf_char(&b, '\n'); break;
        case 'r': buf_char(&b, '\r'); break;
        case 't': buf_char(&b, '\t'); break;
        case 'u': utf8_put(&b, code_point(&p, end)); break;
        default: buf_char(&b, p[-1]);
        }
    }
    return buf_view(&b);
}

mf_str json_text(mf_val v, struct arena *a)
{
    if (v.type != MF_STRING)
        return (mf_str){ "", 0 };
    return json_unescape((mf_str){ v.raw + 1, v.len - 2 }, a);
}

double json_number(mf_val v, double otherwise)
{
    char text[64];

    if (v.type != MF_NUMBER)
        return otherwise;
    if (v.len >= sizeof text) { /* hundreds of digits are still a number */
        char *copy = xstrndup(v.raw, v.len);
        double d = strtod(copy, NULL);

        free(copy);
        return d;
    }
    memcpy(text, v.raw, v.len);
    text[v.len] = 0;
    return strtod(text, NULL);
}

bool json_integer(mf_val v, int64_t *out)
{
    double d;

    if (v.type != MF_NUMBER)
        return false;
    if (parse_i64((mf_str){ v.raw, v.len }, out))
        return true;
    d = json_number(v, NAN);
    if (!(fabs(d) < 9007199254740992.0) || d != floor(d))
        return false;
    *out = (int64_t)d;
    return true;
}

/* Every member of a that counts is in b and equal there. */
static bool covers(mf_val a, mf_val b, struct arena *scratch)
{
    mf_iter it = { { 0 } };
    mf_str key;
    mf_val v;

    while (json_next(a, &it, &key, &v)) {
        mf_str name = json_unescape(key, scratch);

        if (!json_equal(json_get(a, name), json_get(b, name), scratch))
            return false;
    }
    return true;
}

/* Of equal keys the last counts, so the members cannot just be counted. */
/* Of equal keys the last counts, on either side. */
static bool equal_objects(mf_val a, mf_val b, struct arena *scratch)
{
    mf_iter it = { { 0 } };
    mf_str key;
    mf_val v;

    if (!covers(a, b, scratch))
        return false;
    while (json_next(b, &it, &key, &v))
        if (json_get(a, json_unescape(key, scratch)).type == MF_ABSENT)
            return false;
    return true;
}

bool json_equal(mf_val a, mf_val b, struct arena *scratch)
{
    mf_iter ia = { { 0 } }, ib = { { 0 } };
    mf_str key;
    mf_val va, vb;

    if (a.type != b.type)
        return false;
    if (a.len == b.len && (a.len == 0 || memcmp(a.raw, b.raw, a.len) == 0))
        return true;
    switch (a.type) {
    case MF_ABSENT:
        return true;
    case MF_NUMBER:
        return json_number(a, 0) == json_number(b, 0);
    case MF_STRING:
        return mf_eq(json_text(a, scratch), json_text(b, scratch));
    case MF_OBJECT:
        return equal_objects(a, b, scratch);
    case MF_ARRAY:
        while (json_next(a, &ia, &key, &va))
            if (!json_next(b, &ib, &key, &vb) || !json_equal(va, vb, scratch))
                return false;
        return !json_next(b, &ib, &key, &vb);
    default:
        return false;
    }
}

mf_val json_from_text(struct arena *a, mf_str s)
{
    struct buf b;
    mf_str copy;

    buf_init(&b, s.len * 6 + 2);
    buf_char(&b, '"');
    json_escape(&b, s);
    buf_char(&b, '"');
    copy = arena_copy(a, buf_view(&b));
    buf_deinit(&b);
    return (mf_val){ copy.ptr, (uint32_t)copy.len, MF_STRING };
}

mf_val json_from_number(struct arena *a, double v)
{
    char text[NUMBER_TEXT];
    mf_str copy;

    if (!isfinite(v))
        return JSON_NULL;
    copy = arena_copy(a, (mf_str){ text, number_text(v, text) });
    return (mf_val){ copy.ptr, (uint32_t)copy.len, MF_NUMBER };
}

mf_val json_from_int(struct arena *a, int64_t v)
{
    mf_str s = arena_printf(a, "%lld", (long long)v);

    return (mf_val){ s.ptr, (uint32_t)s.len, MF_NUMBER };
}
