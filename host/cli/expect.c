/* SPDX-License-Identifier: Apache-2.0
 *
 * expect.c - see expect.h. */
#include "cli/expect.h"

#include "base/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PAIRS_MAX 1024

struct check {
    struct diff *d;
    struct arena *a;
    char path[DIFF_PATH_MAX];
};

static const mf_val absent = { NULL, 0, MF_ABSENT };

/* ---- telling ---- */

static void shorten(char out[DIFF_TEXT_MAX], mf_str s)
{
    size_t n = s.len < DIFF_TEXT_MAX - 4 ? s.len : DIFF_TEXT_MAX - 4;

    while (n < s.len && n && ((unsigned char)s.ptr[n] & 0xc0) == 0x80)
        n--;
    memcpy(out, s.ptr ? s.ptr : "", s.ptr ? n : 0);
    memcpy(out + n, n < s.len ? "..." : "", n < s.len ? 4 : 1);
}

static mf_str shown(mf_val v)
{
    return v.type == MF_ABSENT ? MF_STR("nothing") : (mf_str){ v.raw, v.len };
}

static bool differ(struct check *c, mf_str want, mf_str got)
{
    snprintf(c->d->path, sizeof c->d->path, "%s", c->path);
    shorten(c->d->want, want);
    shorten(c->d->got, got);
    c->d->why[0] = 0;
    return false;
}

static bool wrong(struct check *c, const char *why)
{
    snprintf(c->d->path, sizeof c->d->path, "%s", c->path);
    snprintf(c->d->why, sizeof c->d->why, "%s", why);
    return false;
}

/* Goes one step down; what it returns is given to back(). */
static size_t down(struct check *c, const char *format, mf_str name, size_t k)
{
    size_t len = strlen(c->path);

    if (format)
        snprintf(c->path + len, sizeof c->path - len, format, k);
    else
        snprintf(c->path + len, sizeof c->path - len, "%s%.*s",
                 len ? "." : "", (int)name.len, name.ptr);
    return len;
}

static void back(struct check *c, size_t len)
{
    c->path[len] = 0;
}

/* ---- values ---- */

static bool same_text(struct check *c, mf_str want, mf_str got)
{
    return mf_eq(want, got) || differ(c, want, got);
}

static bool no_more(struct check *c, mf_val want, mf_val got)
{
    mf_iter it = { { 0 } };
    mf_str key, name;
    size_t at;
    mf_val v;

    while (json_next(got, &it, &key, &v)) {
        name = json_unescape(key, c->a);
        if (json_get(want, name).type != MF_ABSENT)
            continue;
        at = down(c, NULL, name, 0);
        differ(c, MF_STR("nothing"), shown(v));
        back(c, at);
        return false;
    }
    return true;
}

static bool same(struct check *c, mf_val want, mf_val got)
{
    mf_iter it = { { 0 } };
    mf_str key, name;
    size_t at, k = 0;
    bool ok = true;
    mf_val v;

    if (json_equal(want, got, c->a))
        return true;
    if (want.type != got.type ||
        (want.type != MF_OBJECT && want.type != MF_ARRAY))
        return differ(c, shown(want), shown(got));
    while (ok && json_next(want, &it, &key, &v)) {
        if (want.type == MF_OBJECT) {
            name = json_unescape(key, c->a);
            at = down(c, NULL, name, 0);
            ok = same(c, json_get(want, name), json_get(got, name));
        } else {
            at = down(c, "[%zu]", key, k);
            ok = same(c, v, json_at(got, k++));
        }
        back(c, at);
    }
    if (!ok)
        return false;
    if (want.type == MF_OBJECT)
        return no_more(c, want, got);
    at = down(c, "[%zu]", key, k);
    ok = json_count(got) == k ||
         differ(c, MF_STR("nothing"), shown(json_at(got, k)));
    back(c, at);
    return ok;
}

/* ---- requests ---- */

struct pairs {
    mf_str list[PAIRS_MAX];
    size_t count;
};

static int by_text(const void *a, const void *b)
{
    const mf_str *x = a, *y = b;
    size_t n = x->len < y->len ? x->len : y->len;
    int d = n ? memcmp(x->ptr, y->ptr, n) : 0;

    return d ? d : (x->len > y->len) - (x->len < y->len);
}

static void split(mf_str s, struct pairs *out, bool sorted)
{
    size_t from = 0;

    out->count = 0;
    for (size_t k = 0; k <= s.len && out->count < PAIRS_MAX; k++) {
        if (k < s.len && s.ptr[k] != '&')
            continue;
        if (k > from)
            out->list[out->count++] = (mf_str){ s.ptr + from, k - from };
        from = k + 1;
    }
    if (sorted)
        qsort(out->list, out->count, sizeof *out->list, by_text);
}

static bool same_url(struct check *c, mf_str want, mf_str got)
{
    const char *wq = memchr(want.ptr, '?', want.len);
    const char *gq = memchr(got.ptr, '?', got.len);
    size_t wl = wq ? (size_t)(wq - want.ptr) : want.len;
    size_t gl = gq ? (size_t)(gq - got.ptr) : got.len;
    struct pairs w, g;

    if (!mf_eq((mf_str){ want.ptr, wl }, (mf_str){ got.ptr, gl }) ||
        !wq != !gq)
        return differ(c, want, got);
    if (!wq)
        return true;
    split((mf_str){ wq + 1, want.len - wl - 1 }, &w, true);
    split((mf_str){ gq + 1, got.len - gl - 1 }, &g, true);
    if (w.count != g.count)
        return differ(c, want, got);
    for (size_t k = 0; k < w.count; k++)
        if (!mf_eq(w.list[k], g.list[k]))
            return differ(c, want, got);
    return true;
}

static mf_val header(mf_val headers, mf_str name, struct arena *a)
{
    mf_iter it = { { 0 } };
    mf_str key;
    mf_val v;

    while (json_next(headers, &it, &key, &v))
        if (str_ieq(json_unescape(key, a), name))
            return v;
    return absent;
}

static bool same_headers(struct check *c, mf_val want, mf_val got)
{
    mf_iter it = { { 0 } };
    mf_str key, name;
    bool ok = true;
    mf_val v, mine;
    size_t at;

    while (ok && json_next(want, &it, &key, &v)) {
        name = json_unescape(key, c->a);
        mine = header(got, name, c->a);
        at = down(c, NULL, name, 0);
        if (v.type == MF_NULL)
            ok = mine.type == MF_ABSENT ||
                 differ(c, MF_STR("nothing"), shown(mine));
        else
            ok = same(c, v, mine);
        back(c, at);
    }
    return ok;
}

/* The value of a form's member, decoded; absent unless there is just one. */
static mf_val form_member(struct check *c, mf_str body, mf_str name)
{
    struct pairs p;
    mf_val found = absent;
    struct buf b;

    split(body, &p, false);
    buf_init(&b, DIFF_PATH_MAX + body.len * 2);
    for (size_t k = 0; k < p.count; k++) {
        const char *eq = memchr(p.list[k].ptr, '=', p.list[k].len);
        size_t n = eq ? (size_t)(eq - p.list[k].ptr) : p.list[k].len;

        buf_clear(&b);
        if (!percent_decode(&b, (mf_str){ p.list[k].ptr, n }, true) ||
            !mf_eq(buf_view(&b), name))
            continue;
        buf_clear(&b);
        n += eq != NULL;
        percent_decode(&b, (mf_str){ p.list[k].ptr + n, p.list[k].len - n },
                       true);
        found = json_from_text(c->a, buf_view(&b));
    }
    buf_deinit(&b);
    return found;
}

static bool same_form(struct check *c, mf_val want, mf_str body)
{
    mf_iter it = { { 0 } };
    struct pairs p;
    mf_str key, name;
    bool ok = true;
    mf_val v;
    size_t at;

    while (ok && json_next(want, &it, &key, &v)) {
        name = json_unescape(key, c->a);
        at = down(c, NULL, name, 0);
        ok = same(c, v, form_member(c, body, name));
        back(c, at);
    }
    split(body, &p, false);
    if (ok && p.count != json_count(want))
        return differ(c, shown(want), body);
    return ok;
}

static bool same_body(struct check *c, mf_val want, mf_val got)
{
    static const char *const kinds[] = { "json", "form", "body",
                                         "body_base64" };
    mf_val body = json_get(got, MF_STR("body")), v = absent;
    mf_str text = json_text(body, c->a);
    const char *kind = NULL;
    size_t at;
    bool ok;

    for (size_t k = 0; k < COUNT_OF(kinds) && v.type == MF_ABSENT; k++) {
        v = json_get(want, mf_cstr(kinds[k]));
        kind = kinds[k];
    }
    at = down(c, NULL, mf_cstr(v.type == MF_ABSENT ? "body" : kind), 0);
    if (v.type == MF_ABSENT) {
        if (body.type == MF_ABSENT)
            body = json_get(got, MF_STR("body_base64"));
        ok = body.type == MF_ABSENT ||
             differ(c, MF_STR("no body"), shown(body));
    } else if (strcmp(kind, "json") == 0) {
        ok = json_check(text, JSON_DEPTH_MAX, NULL) == 0
                 ? same(c, v, json_root(text))
                 : differ(c, shown(v), shown(body));
    } else if (strcmp(kind, "form") == 0) {
        ok = same_form(c, v, text);
    } else {
        body = json_get(got, mf_cstr(kind));
        ok = (v.type == MF_STRING && v.len == 2 && body.type == MF_ABSENT) ||
             same(c, v, body);
    }
    back(c, at);
    return ok;
}

static bool same_request(struct check *c, mf_val want, mf_val got)
{
    static const char *const known[] = { "method", "url",  "headers", "json",
                                         "form",   "body", "body_base64",
                                         NULL };
    mf_val v = json_get(want, MF_STR("method"));
    size_t at;
    bool ok;

    if (expect_unknown(want, known, c->a).len)
        return wrong(c, "a request expected has a member that is not known");
    at = down(c, NULL, MF_STR("method"), 0);
    ok = same_text(c, v.type == MF_ABSENT ? MF_STR("POST")
                                          : json_text(v, c->a),
                   json_text(json_get(got, MF_STR("method")), c->a));
    back(c, at);
    if (!ok)
        return false;
    at = down(c, NULL, MF_STR("url"), 0);
    ok = same_url(c, json_text(json_get(want, MF_STR("url")), c->a),
                  json_text(json_get(got, MF_STR("url")), c->a));
    back(c, at);
    if (!ok)
        return false;
    at = down(c, NULL, MF_STR("headers"), 0);
    ok = same_headers(c, json_get(want, MF_STR("headers")),
                      json_get(got, MF_STR("headers")));
    back(c, at);
    return ok && same_body(c, want, got);
}

static bool same_requests(struct check *c, mf_val want, mf_val got)
{
    size_t n = json_count(want), have = json_count(got), at;
    bool ok = true;

    at = down(c, NULL, MF_STR("requests"), 0);
    for (size_t k = 0; ok && k < n && k < have; k++) {
        size_t deeper = down(c, "[%zu]", MF_STR(""), k);

        ok = same_request(c, json_at(want, k), json_at(got, k));
        back(c, deeper);
    }
    if (ok && n != have) {
        mf_val first = n < have ? json_at(got, n) : json_at(want, have);

        down(c, "[%zu]", MF_STR(""), n < have ? n : have);
        ok = n < have ? differ(c, MF_STR("nothing"), shown(first))
                      : differ(c, shown(first), MF_STR("nothing"));
    }
    back(c, at);
    return ok;
}

/* ---- outcomes ---- */

/* { status, message }: only what is listed; the message must be contained. */
static bool same_outcome(struct check *c, mf_val want, mf_val got)
{
    mf_val status = json_get(want, MF_STR("status"));
    mf_str message = json_text(json_get(want, MF_STR("message")), c->a);
    mf_str have = json_text(json_get(got, MF_STR("message")), c->a);
    size_t at;
    bool ok = true;

    if (got.type != MF_OBJECT)
        return differ(c, shown(want), shown(got));
    if (status.type != MF_ABSENT &&
        !json_equal(status, json_get(got, MF_STR("status")), c->a))
        return differ(c, shown(want), shown(got));
    if (message.len) {
        at = down(c, NULL, MF_STR("message"), 0);
        ok = (have.len &&
              memmem(have.ptr, have.len, message.ptr, message.len)) ||
             differ(c, message, have);
        back(c, at);
    }
    return ok;
}

static bool same_error(struct check *c, mf_val want, mf_val got, bool results)
{
    size_t at = down(c, NULL, MF_STR("error"), 0);
    bool ok;

    if (want.type == MF_ABSENT && results)
        ok = true; /* each event tells for itself */
    else if (want.type == MF_ABSENT)
        ok = got.type == MF_ABSENT ||
             differ(c, MF_STR("no error"), shown(got));
    else if (want.type == MF_BOOL)
        ok = json_is_true(want) == (got.type == MF_OBJECT) ||
             differ(c, shown(want), shown(got));
    else
        ok = same_outcome(c, want, got);
    back(c, at);
    return ok;
}

static bool same_results(struct check *c, mf_val want, mf_val got)
{
    size_t at = down(c, NULL, MF_STR("results"), 0);
    size_t n = json_count(want);
    bool ok = true;

    if (want.type != MF_ABSENT && n != json_count(got))
        ok = differ(c, shown(want), shown(got));
    for (size_t k = 0; ok && k < n; k++) {
        size_t deeper = down(c, "[%zu]", MF_STR(""), k);

        ok = same_outcome(c, json_at(want, k), json_at(got, k));
        back(c, deeper);
    }
    back(c, at);
    return ok;
}

static bool same_member(struct check *c, mf_val expect, mf_val out,
                        const char *name)
{
    mf_val want = json_get(expect, mf_cstr(name));
    size_t at = down(c, NULL, mf_cstr(name), 0);
    bool ok = want.type == MF_ABSENT ||
              same(c, want, json_get(out, mf_cstr(name)));

    back(c, at);
    return ok;
}

/* ---- public ---- */

mf_str expect_unknown(mf_val object, const char *const *known, struct arena *a)
{
    mf_iter it = { { 0 } };
    mf_str key, name;
    size_t k;
    mf_val v;

    while (json_next(object, &it, &key, &v)) {
        name = json_unescape(key, a);
        for (k = 0; known[k] && !mf_eq(name, mf_cstr(known[k])); k++)
            ;
        if (!known[k])
            return name;
    }
    return (mf_str){ "", 0 };
}

bool expect_holds(mf_val expect, mf_val out, struct arena *a, struct diff *d)
{
    struct check c = { .d = d, .a = a };
    bool filtered = json_is_true(json_get(out, MF_STR("filtered")));

    memset(d, 0, sizeof *d);
    if (!same_error(&c, json_get(expect, MF_STR("error")),
                    json_get(out, MF_STR("error")),
                    json_get(expect, MF_STR("results")).type == MF_ARRAY) ||
        !same_requests(&c, json_get(expect, MF_STR("requests")),
                       json_get(out, MF_STR("requests"))) ||
        !same_results(&c, json_get(expect, MF_STR("results")),
                      json_get(out, MF_STR("results"))) ||
        !same_member(&c, expect, out, "payloads") ||
        !same_member(&c, expect, out, "token") ||
        !same_member(&c, expect, out, "files"))
        return false;
    if (json_is_true(json_get(expect, MF_STR("filtered"))) == filtered)
        return true;
    down(&c, NULL, MF_STR("filtered"), 0);
    return filtered ? differ(&c, MF_STR("not filtered"), MF_STR("filtered"))
                    : differ(&c, MF_STR("filtered"), MF_STR("not filtered"));
}
