/* SPDX-License-Identifier: Apache-2.0
 *
 * liquid_filter.c - filters of @liquid on text and numbers, and the table.
 *
 * A filter that is not in a table lets its value pass, as liquidjs does; one
 * without a function is disabled and says so. */
#include "base/text.h"
#include "base/unicase.h"
#include "mapping/liquid.h"

#include <math.h>

/* ---- text: helpers ---- */

static mf_str text_arg(struct l_call *c, uint32_t i)
{
    return lv_string(c->r, l_arg(c, i));
}

static mf_str rest_of(mf_str s, size_t from)
{
    return (mf_str){ s.ptr + from, s.len - from };
}

static struct lv finished(struct l_call *c, struct out *o)
{
    if (o->b.full || o->b.len > LIQUID_OUTPUT_MAX)
        liquid_fail(c->r, "memory alloc limit exceeded");
    return lv_text(out_str(o));
}

static struct lv joined(struct l_call *c, mf_str x, mf_str y, mf_str z)
{
    struct out o;

    if (x.len + y.len + z.len > LIQUID_OUTPUT_MAX) {
        liquid_fail(c->r, "memory alloc limit exceeded");
        return LV(LV_UNDEFINED);
    }
    out_init(&o, c->r->a, x.len + y.len + z.len);
    out_add(&o, x.ptr, x.len);
    out_add(&o, y.ptr, y.len);
    out_add(&o, z.ptr, z.len);
    return finished(c, &o);
}

/* Bytes of the first `units` UTF-16 units; a pair is not cut in two. */
static size_t bytes_of(mf_str s, double units)
{
    const char *p = s.ptr, *end = s.ptr + s.len;

    while (p < end && units >= 1) {
        const char *from = p;

        units -= utf8_next(&p, end) > 0xFFFF ? 2 : 1;
        if (units < 0)
            return (size_t)(from - s.ptr);
    }
    return (size_t)(p - s.ptr);
}

/* White space, or one of chars where there are any. */
static bool among(uint32_t c, mf_str chars)
{
    const char *p = chars.ptr, *end = chars.ptr + chars.len;

    if (chars.len == 0)
        return js_space(c);
    while (p < end)
        if (utf8_next(&p, end) == c)
            return true;
    return false;
}

static mf_str strip_left(mf_str s, mf_str chars)
{
    const char *p = s.ptr, *end = s.ptr + s.len;

    while (p < end && among(utf8_next(&p, end), chars))
        s = (mf_str){ p, (size_t)(end - p) };
    return s;
}

static mf_str strip_right(mf_str s, mf_str chars)
{
    const char *p = s.ptr, *end = s.ptr + s.len, *last = p;

    while (p < end)
        if (!among(utf8_next(&p, end), chars))
            last = p;
    return (mf_str){ s.ptr, (size_t)(last - s.ptr) };
}

static const char *find(mf_str s, mf_str what)
{
    return s.len ? memmem(s.ptr, s.len, what.ptr, what.len) : NULL;
}

static const char *find_last(mf_str s, mf_str what)
{
    for (size_t i = s.len + 1; i-- > 0;)
        if (s.len - i >= what.len &&
            memcmp(s.ptr + i, what.ptr, what.len) == 0)
            return s.ptr + i;
    return NULL;
}

/* ---- text ---- */

static struct lv f_append(struct l_call *c, struct lv v)
{
    if (c->count != 1)
        liquid_fail(c->r, "append expect 2 arguments");
    return joined(c, lv_string(c->r, v), text_arg(c, 0), MF_STR(""));
}

static struct lv f_prepend(struct l_call *c, struct lv v)
{
    if (c->count != 1)
        liquid_fail(c->r, "prepend expect 2 arguments");
    return joined(c, text_arg(c, 0), lv_string(c->r, v), MF_STR(""));
}

static struct lv f_lstrip(struct l_call *c, struct lv v)
{
    return lv_text(strip_left(lv_string(c->r, v), text_arg(c, 0)));
}

static struct lv f_rstrip(struct l_call *c, struct lv v)
{
    return lv_text(strip_right(lv_string(c->r, v), text_arg(c, 0)));
}

static struct lv f_strip(struct l_call *c, struct lv v)
{
    mf_str chars = text_arg(c, 0);

    return lv_text(
        strip_right(strip_left(lv_string(c->r, v), chars), chars));
}

static struct lv cased(struct l_call *c, mf_str first, bool upper, mf_str rest)
{
    struct out o;

    out_init(&o, c->r->a, 16);
    if (out_need(&o, (first.len + rest.len) * UNICASE_GROWTH + 4)) {
        (upper ? utf8_upper : utf8_lower)(&o.b, first);
        utf8_lower(&o.b, rest);
    }
    return finished(c, &o);
}

static struct lv f_downcase(struct l_call *c, struct lv v)
{
    return cased(c, lv_string(c->r, v), false, MF_STR(""));
}

static struct lv f_upcase(struct l_call *c, struct lv v)
{
    return cased(c, lv_string(c->r, v), true, MF_STR(""));
}

static struct lv f_capitalize(struct l_call *c, struct lv v)
{
    mf_str s = lv_string(c->r, v);
    size_t n = bytes_of(s, 1);

    return cased(c, (mf_str){ s.ptr, n }, true, rest_of(s, n));
}

/* Every `what` becomes `with`; an empty one stands between characters. */
static struct lv replace_every(struct l_call *c, mf_str s, mf_str what,
                               mf_str with)
{
    struct out o;
    const char *at;

    out_init(&o, c->r->a, s.len + 16);
    while (s.len && !o.b.full && o.b.len <= LIQUID_OUTPUT_MAX) {
        size_t n;

        if (what.len == 0) {
            n = bytes_of(s, 1);
            n = n ? n : bytes_of(s, 2);
            at = n < s.len ? s.ptr + n : NULL;
        } else {
            at = find(s, what);
        }
        if (!at)
            break;
        n = (size_t)(at - s.ptr);
        out_add(&o, s.ptr, n);
        out_add(&o, with.ptr, with.len);
        s = rest_of(s, n + what.len);
    }
    out_add(&o, s.ptr, s.len);
    return finished(c, &o);
}

static struct lv replace_one(struct l_call *c, mf_str s, const char *at,
                             mf_str what, mf_str with)
{
    size_t n;

    if (!at)
        return lv_text(s);
    n = (size_t)(at - s.ptr);
    return joined(c, (mf_str){ s.ptr, n }, with, rest_of(s, n + what.len));
}

static struct lv f_remove(struct l_call *c, struct lv v)
{
    return replace_every(c, lv_string(c->r, v), text_arg(c, 0), MF_STR(""));
}

static struct lv f_remove_first(struct l_call *c, struct lv v)
{
    mf_str s = lv_string(c->r, v), what = text_arg(c, 0);

    return replace_one(c, s, find(s, what), what, MF_STR(""));
}

static struct lv f_remove_last(struct l_call *c, struct lv v)
{
    mf_str s = lv_string(c->r, v), what = text_arg(c, 0);

    return replace_one(c, s, find_last(s, what), what, MF_STR(""));
}

static struct lv f_replace(struct l_call *c, struct lv v)
{
    return replace_every(c, lv_string(c->r, v), text_arg(c, 0),
                         text_arg(c, 1));
}

static struct lv f_replace_first(struct l_call *c, struct lv v)
{
    mf_str s = lv_string(c->r, v), what = text_arg(c, 0);

    return replace_one(c, s, find(s, what), what, text_arg(c, 1));
}

static struct lv f_replace_last(struct l_call *c, struct lv v)
{
    mf_str s = lv_string(c->r, v), what = text_arg(c, 0);

    return replace_one(c, s, find_last(s, what), what, text_arg(c, 1));
}

static struct lv f_strip_newlines(struct l_call *c, struct lv v)
{
    struct lv s = replace_every(c, lv_string(c->r, v), MF_STR("\r\n"),
                                MF_STR(""));

    return replace_every(c, s.u.text, MF_STR("\n"), MF_STR(""));
}

static struct lv f_truncate(struct l_call *c, struct lv v)
{
    mf_str s = lv_string(c->r, v);
    mf_str more = c->count > 1 ? text_arg(c, 1) : MF_STR("...");
    double most = c->count ? lv_or_zero(c->r, c->args[0]) : 50;

    if ((double)utf16_length(s) <= most)
        return lv_text(s);
    s.len = bytes_of(s, most - (double)utf16_length(more));
    return joined(c, s, more, MF_STR(""));
}

/* Length of the run of white space, or of the rest, at the start of s. */
static size_t run(mf_str s, bool spaces)
{
    const char *p = s.ptr, *end = s.ptr + s.len, *from = p;

    for (; p < end; from = p)
        if (js_space(utf8_next(&p, end)) != spaces)
            break;
    return (size_t)(from - s.ptr);
}

static struct lv f_truncatewords(struct l_call *c, struct lv v)
{
    mf_str s = lv_string(c->r, v);
    mf_str more = c->count > 1 ? text_arg(c, 1) : MF_STR("...");
    double most = c->count ? lv_or_zero(c->r, c->args[0]) : 15, words = 0;
    struct out o;
    bool end = false;

    most = most <= 0 ? 1 : most;
    out_init(&o, c->r->a, s.len + more.len);
    while (!end) { /* white space separates, so one at an end gives "" */
        size_t n = run(s, false);

        if (words < most) {
            if (words > 0)
                out_char(&o, ' ');
            out_add(&o, s.ptr, n);
        }
        words++;
        s = rest_of(s, n);
        end = s.len == 0;
        s = rest_of(s, run(s, true));
    }
    if (words >= most)
        out_add(&o, more.ptr, more.len);
    return finished(c, &o);
}

static struct lv f_normalize_whitespace(struct l_call *c, struct lv v)
{
    mf_str s = lv_string(c->r, v);
    struct out o;

    out_init(&o, c->r->a, s.len + 1);
    while (s.len) {
        size_t n = run(s, false), gap = run(rest_of(s, n), true);

        out_add(&o, s.ptr, n);
        if (gap)
            out_char(&o, ' ');
        s = rest_of(s, n + gap);
    }
    return finished(c, &o);
}

static struct lv f_number_of_words(struct l_call *c, struct lv v)
{
    mf_str s = strip_left(lv_string(c->r, v), MF_STR(""));
    double n = 0;

    for (; s.len; n++) {
        s = rest_of(s, run(s, false));
        s = rest_of(s, run(s, true));
    }
    return lv_number(n);
}

static struct lv f_slugify(struct l_call *c, struct lv v)
{
    mf_str s = cased(c, lv_string(c->r, v), false, MF_STR("")).u.text;
    bool gap = false;
    struct out o;

    out_init(&o, c->r->a, s.len + 1);
    for (size_t i = 0; i < s.len; i++) {
        unsigned char x = (unsigned char)s.ptr[i];

        if ((x >= 'a' && x <= 'z') || (x >= '0' && x <= '9') || x >= 0x80) {
            if (gap && o.b.len)
                out_char(&o, '-');
            gap = false;
            out_char(&o, (char)x);
        } else {
            gap = true;
        }
    }
    return finished(c, &o);
}

/* ---- HTML, URLs, base64 ---- */

static const struct {
    char c;
    mf_str entity;
} entities[] = {
    { '&', { "&amp;", 5 } },  { '<', { "&lt;", 4 } },   { '>', { "&gt;", 4 } },
    { '"', { "&#34;", 5 } },  { '\'', { "&#39;", 5 } },
};

static struct lv escape(struct l_call *c, mf_str s, bool once)
{
    struct out o;

    out_init(&o, c->r->a, s.len + 16);
    for (size_t i = 0; i < s.len && !o.b.full; i++) {
        size_t k = 0, e = COUNT_OF(entities);

        while (k < COUNT_OF(entities) && entities[k].c != s.ptr[i])
            k++;
        if (once && k == 0) /* one that is an entity already stays */
            for (e = 0; e < COUNT_OF(entities); e++)
                if (str_starts(rest_of(s, i), entities[e].entity))
                    break;
        if (e < COUNT_OF(entities) || k == COUNT_OF(entities))
            out_char(&o, s.ptr[i]);
        else
            out_add(&o, entities[k].entity.ptr, entities[k].entity.len);
    }
    return finished(c, &o);
}

static struct lv f_escape(struct l_call *c, struct lv v)
{
    return escape(c, lv_string(c->r, v), false);
}

static struct lv f_escape_once(struct l_call *c, struct lv v)
{
    return escape(c, lv_string(c->r, v), true);
}

/* Where the markup at the start of s ends; 0 if it does not. */
static size_t markup_end(mf_str s)
{
    static const struct {
        mf_str open, close;
    } blocks[] = {
        { { "<script", 7 }, { "</script>", 9 } },
        { { "<style", 6 }, { "</style>", 8 } },
        { { "<!--", 4 }, { "-->", 3 } },
    };
    const char *at;

    for (size_t i = 0; i < COUNT_OF(blocks); i++) {
        if (!str_starts(s, blocks[i].open))
            continue;
        at = find(rest_of(s, blocks[i].open.len), blocks[i].close);
        if (at)
            return (size_t)(at - s.ptr) + blocks[i].close.len;
    }
    at = find(s, MF_STR(">"));
    return at ? (size_t)(at - s.ptr) + 1 : 0;
}

static struct lv f_strip_html(struct l_call *c, struct lv v)
{
    mf_str s = lv_string(c->r, v);
    struct out o;

    out_init(&o, c->r->a, s.len + 1);
    while (s.len) {
        const char *at = memchr(s.ptr, '<', s.len);
        size_t n = at ? (size_t)(at - s.ptr) : s.len, markup;

        out_add(&o, s.ptr, n);
        s = rest_of(s, n);
        markup = s.len ? markup_end(s) : 0;
        if (!markup)
            break;
        s = rest_of(s, markup);
    }
    out_add(&o, s.ptr, s.len);
    return finished(c, &o);
}

/* Percent-encodes all but letters, digits and kept. */
static struct lv encode(struct l_call *c, mf_str s, const char *kept,
                        bool plus)
{
    static const char hex[] = "0123456789ABCDEF";
    struct out o;

    out_init(&o, c->r->a, s.len + 16);
    for (size_t i = 0; i < s.len && !o.b.full; i++) {
        unsigned char x = (unsigned char)s.ptr[i];

        if (x == ' ' && plus) {
            out_char(&o, '+');
        } else if ((x >= 'a' && x <= 'z') || (x >= 'A' && x <= 'Z') ||
                   (x >= '0' && x <= '9') || (x && strchr(kept, x))) {
            out_char(&o, (char)x);
        } else {
            out_char(&o, '%');
            out_char(&o, hex[x >> 4]);
            out_char(&o, hex[x & 15]);
        }
    }
    return finished(c, &o);
}

static struct lv f_url_encode(struct l_call *c, struct lv v)
{
    return encode(c, lv_string(c->r, v), "-_.!~*'()", true);
}

static struct lv f_cgi_escape(struct l_call *c, struct lv v)
{
    return encode(c, lv_string(c->r, v), "-_.~", true);
}

static struct lv f_uri_escape(struct l_call *c, struct lv v)
{
    return encode(c, lv_string(c->r, v), "-_.!~*'();/?:@&=+$,#[]", false);
}

static struct lv f_url_decode(struct l_call *c, struct lv v)
{
    mf_str s = lv_string(c->r, v);
    struct out o;

    out_init(&o, c->r->a, s.len + 1);
    if (!percent_decode(&o.b, s, true) ||
        !utf8_valid(o.b.data, o.b.len))
        liquid_fail(c->r, "URI malformed");
    return finished(c, &o);
}

static struct lv f_base64_encode(struct l_call *c, struct lv v)
{
    mf_str s = lv_string(c->r, v);
    struct out o;

    out_init(&o, c->r->a, s.len + 1);
    if (out_need(&o, s.len * 4 / 3 + 8))
        base64_encode(&o.b, s);
    return finished(c, &o);
}

static struct lv f_base64_decode(struct l_call *c, struct lv v)
{
    mf_str s = lv_string(c->r, v);
    struct out o;

    out_init(&o, c->r->a, s.len + 4);
    if (!base64_decode(&o.b, s) || !utf8_valid(o.b.data, o.b.len))
        return lv_text(MF_STR(""));
    return finished(c, &o);
}

/* ---- numbers ---- */

/* The second operand: NaN when it is not given at all. */
static double second(struct l_call *c)
{
    return c->count ? lv_or_zero(c->r, c->args[0]) : NAN;
}

static struct lv f_abs(struct l_call *c, struct lv v)
{
    return lv_number(fabs(lv_or_zero(c->r, v)));
}

static struct lv f_at_least(struct l_call *c, struct lv v)
{
    double x = lv_or_zero(c->r, v);

    return lv_number(c->count ? fmax(x, second(c)) : x);
}

static struct lv f_at_most(struct l_call *c, struct lv v)
{
    double x = lv_or_zero(c->r, v);

    return lv_number(c->count ? fmin(x, second(c)) : x);
}

static struct lv f_ceil(struct l_call *c, struct lv v)
{
    return lv_number(ceil(lv_or_zero(c->r, v)));
}

static struct lv f_floor(struct l_call *c, struct lv v)
{
    return lv_number(floor(lv_or_zero(c->r, v)));
}

static struct lv f_round(struct l_call *c, struct lv v)
{
    double by = pow(10, c->count ? lv_or_zero(c->r, c->args[0]) : 0);

    return lv_number(floor(lv_or_zero(c->r, v) * by + 0.5) / by);
}

static struct lv f_plus(struct l_call *c, struct lv v)
{
    return lv_number(lv_or_zero(c->r, v) + second(c));
}

static struct lv f_minus(struct l_call *c, struct lv v)
{
    return lv_number(lv_or_zero(c->r, v) - second(c));
}

static struct lv f_times(struct l_call *c, struct lv v)
{
    return lv_number(lv_or_zero(c->r, v) * second(c));
}

static struct lv f_divided_by(struct l_call *c, struct lv v)
{
    double by = second(c), n = lv_or_zero(c->r, v);

    n = by != 0 || isnan(by) ? n / by : n > 0 ? INFINITY
                                    : n < 0   ? -INFINITY
                                              : NAN;
    return lv_number(c->count > 1 && lv_or_zero(c->r, c->args[1]) ? floor(n)
                                                                  : n);
}

static struct lv f_modulo(struct l_call *c, struct lv v)
{
    return lv_number(fmod(lv_or_zero(c->r, v), second(c)));
}

static struct lv f_to_integer(struct l_call *c, struct lv v)
{
    return lv_number(lv_to_number(c->r, v));
}

/* ---- anything ---- */

static struct lv f_default(struct l_call *c, struct lv v)
{
    bool allow = false;

    for (uint32_t i = 0; i < c->count; i++)
        if (mf_eq(c->keys[i], MF_STR("allow_false")))
            allow = lv_truthy(c->args[i]);
    if (v.type == LV_STRING || v.type == LV_EMPTY || v.type == LV_BLANK)
        return v.type == LV_STRING && v.u.text.len ? v : l_arg(c, 0);
    if (v.type == LV_ARRAY)
        return v.u.array.count ? v : l_arg(c, 0);
    if (v.type == LV_BOOL && allow)
        return v;
    return lv_truthy(v) ? v : l_arg(c, 0);
}

static struct lv f_json(struct l_call *c, struct lv v)
{
    struct out o;

    if (v.type == LV_UNDEFINED)
        return v;
    out_init(&o, c->r->a, 64);
    lv_write_json(c->r, &o, v);
    return finished(c, &o);
}

static struct lv f_raw(struct l_call *c, struct lv v)
{
    (void)c;
    return v;
}

static const struct l_filter_entry text_filters[] = {
    { "append", f_append },
    { "prepend", f_prepend },
    { "lstrip", f_lstrip },
    { "rstrip", f_rstrip },
    { "strip", f_strip },
    { "downcase", f_downcase },
    { "upcase", f_upcase },
    { "capitalize", f_capitalize },
    { "remove", f_remove },
    { "remove_first", f_remove_first },
    { "remove_last", f_remove_last },
    { "replace", f_replace },
    { "replace_first", f_replace_first },
    { "replace_last", f_replace_last },
    { "strip_newlines", f_strip_newlines },
    { "truncate", f_truncate },
    { "truncatewords", f_truncatewords },
    { "normalize_whitespace", f_normalize_whitespace },
    { "number_of_words", f_number_of_words },
    { "slugify", f_slugify },
    { "escape", f_escape },
    { "xml_escape", f_escape },
    { "escape_once", f_escape_once },
    { "strip_html", f_strip_html },
    { "url_encode", f_url_encode },
    { "url_decode", f_url_decode },
    { "cgi_escape", f_cgi_escape },
    { "uri_escape", f_uri_escape },
    { "base64_encode", f_base64_encode },
    { "base64_decode", f_base64_decode },
    { "abs", f_abs },
    { "at_least", f_at_least },
    { "at_most", f_at_most },
    { "ceil", f_ceil },
    { "floor", f_floor },
    { "round", f_round },
    { "plus", f_plus },
    { "minus", f_minus },
    { "times", f_times },
    { "divided_by", f_divided_by },
    { "modulo", f_modulo },
    { "to_integer", f_to_integer },
    { "default", f_default },
    { "json", f_json },
    { "jsonify", f_json },
    { "inspect", f_json },
    { "raw", f_raw },
    { "newline_to_br", NULL },
    { "type", NULL },
    { NULL, NULL },
};

struct lv liquid_filter(struct l_call *c, mf_str name, struct lv v)
{
    const struct l_filter_entry *const tables[] = {
        text_filters, liquid_list_filters, liquid_date_filters
    };

    for (size_t i = 0; i < COUNT_OF(tables); i++)
        for (const struct l_filter_entry *f = tables[i]; f->name; f++) {
            if (!mf_eq(name, mf_cstr(f->name)))
                continue;
            if (f->run)
                return f->run(c, v);
            liquid_fail(c->r, "filter \"%s\" is disabled", f->name);
        }
    return v;
}
