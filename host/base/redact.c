/* SPDX-License-Identifier: Apache-2.0
 *
 * redact.c - see redact.h.
 *
 * Every shape of every secret is a needle. Needles hang in chains by a hash
 * of their first four bytes, so a text is scanned once, whatever the number
 * of secrets. Needles that overlap in the text go as one stretch: the rest of
 * the longer one must not stay behind. */
#include "base/redact.h"

#include "base/mem.h"
#include "base/text.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define CHAINS 4096 /* a power of two */
#define NONE   UINT32_MAX
/* A base64 needle must stand for at least six bytes. */
#define BASE64_MIN 8

struct needle {
    char *ptr; /* owned */
    size_t len;
    uint32_t next; /* in its chain */
};

struct redact {
    struct needle *needles;
    size_t count, room;
    uint32_t secrets[REDACT_SECRETS]; /* needles that are whole secrets */
    size_t secret_count;
    uint32_t chain[CHAINS];
};

static uint32_t chain_of(const char *p)
{
    uint32_t v;

    memcpy(&v, p, sizeof v);
    return (v * 2654435761u) >> 20;
}

static uint32_t find(const struct redact *r, mf_str s)
{
    uint32_t i = r->chain[chain_of(s.ptr)];

    while (i != NONE &&
           !(r->needles[i].len == s.len &&
             memcmp(r->needles[i].ptr, s.ptr, s.len) == 0))
        i = r->needles[i].next;
    return i;
}

/* Returns the needle's index, whether it is new or not. */
static uint32_t add_needle(struct redact *r, mf_str s)
{
    uint32_t i = find(r, s), *chain = &r->chain[chain_of(s.ptr)];

    if (i != NONE)
        return i;
    if (r->count == r->room) {
        r->room = r->room ? r->room * 2 : 64;
        r->needles = xrealloc(r->needles, r->room * sizeof *r->needles);
    }
    i = (uint32_t)r->count++;
    r->needles[i].ptr = xstrndup(s.ptr, s.len);
    r->needles[i].len = s.len;
    r->needles[i].next = *chain;
    *chain = i;
    return i;
}

/* What a JSON writer makes of it between the quotes. */
static void escape(struct buf *b, mf_str s)
{
    static const char from[] = "\"\\\b\f\n\r\t", to[] = "\"\\bfnrt";

    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        const char *at = c ? strchr(from, c) : NULL;

        if (at) {
            buf_char(b, '\\');
            buf_char(b, to[at - from]);
        } else if ((unsigned char)c < 0x20) {
            buf_printf(b, "\\u%04x", c);
        } else {
            buf_char(b, c);
        }
    }
}

/* The groups of base64 that are the same whatever stands around the secret,
 * when it begins `shift` bytes into a group. */
static void add_base64(struct redact *r, mf_str s, size_t shift,
                       void (*encode)(struct buf *, mf_str))
{
    size_t skip = (3 - shift) % 3, n;
    struct buf b;

    if (s.len < skip)
        return;
    n = (s.len - skip) / 3 * 3;
    buf_init(&b, n / 3 * 4);
    encode(&b, (mf_str){ s.ptr + skip, n });
    if (b.len >= BASE64_MIN)
        add_needle(r, buf_view(&b));
    if (b.len)
        explicit_bzero(b.data, b.len);
    buf_deinit(&b);
}

static void add_shape(struct redact *r, mf_str s,
                      void (*encode)(struct buf *, mf_str))
{
    struct buf b;

    buf_init(&b, s.len * 6);
    encode(&b, s);
    add_needle(r, buf_view(&b));
    explicit_bzero(b.data, b.len);
    buf_deinit(&b);
}

static void escape_twice(struct buf *b, mf_str s)
{
    struct buf once;

    buf_init(&once, s.len * 6);
    escape(&once, s);
    escape(b, buf_view(&once));
    explicit_bzero(once.data, once.len);
    buf_deinit(&once);
}

struct redact *redact_new(void)
{
    struct redact *r = xcalloc(1, sizeof *r);

    memset(r->chain, 0xff, sizeof r->chain);
    return r;
}

void redact_free(struct redact *r)
{
    if (!r)
        return;
    for (size_t i = 0; i < r->count; i++) {
        explicit_bzero(r->needles[i].ptr, r->needles[i].len);
        free(r->needles[i].ptr);
    }
    free(r->needles);
    free(r);
}

bool redact_add(struct redact *r, mf_str s)
{
    uint32_t i;

    if (s.len < REDACT_MIN || s.len > REDACT_MAX)
        return false;
    i = find(r, s);
    for (size_t k = 0; i != NONE && k < r->secret_count; k++)
        if (r->secrets[k] == i)
            return true;
    if (r->secret_count == REDACT_SECRETS)
        return false;
    r->secrets[r->secret_count++] = add_needle(r, s);
    add_shape(r, s, escape);
    add_shape(r, s, escape_twice);
    add_shape(r, s, percent_encode);
    add_shape(r, s, form_encode);
    for (size_t shift = 0; shift < 3; shift++) {
        add_base64(r, s, shift, base64_encode);
        add_base64(r, s, shift, base64url_encode);
    }
    return true;
}

size_t redact_count(const struct redact *r)
{
    return r->secret_count;
}

mf_str redact_nth(const struct redact *r, size_t n)
{
    const struct needle *needle;

    ASSERT(n < r->secret_count);
    needle = &r->needles[r->secrets[n]];
    return (mf_str){ needle->ptr, needle->len };
}

/* The length of the longest needle at p, 0 if there is none. */
static size_t match(const struct redact *r, const char *p, size_t left)
{
    size_t best = 0;
    uint32_t i;

    if (left < REDACT_MIN)
        return 0;
    for (i = r->chain[chain_of(p)]; i != NONE; i = r->needles[i].next) {
        const struct needle *n = &r->needles[i];

        if (n->len > best && n->len <= left && memcmp(n->ptr, p, n->len) == 0)
            best = n->len;
    }
    return best;
}

static size_t redact_span(const struct redact *r, char *text, size_t len,
                          size_t *stretches)
{
    size_t out = 0, i = 0;

    *stretches = 0;
    if (!r || r->count == 0)
        return len;
    while (i < len) {
        size_t end = i + match(r, text + i, len - i);

        if (end == i) {
            text[out++] = text[i++];
            continue;
        }
        for (size_t j = i + 1; j < end; j++) {
            size_t further = j + match(r, text + j, len - j);

            if (further > end)
                end = further;
        }
        memcpy(text + out, REDACT_MARK, sizeof REDACT_MARK - 1);
        out += sizeof REDACT_MARK - 1;
        i = end;
        ++*stretches;
    }
    return out;
}

size_t redact_buf(const struct redact *r, struct buf *b, size_t from)
{
    size_t stretches;

    ASSERT(from <= b->len);
    if (from == b->len)
        return 0;
    b->len = from + redact_span(r, b->data + from, b->len - from, &stretches);
    return stretches;
}

size_t redact_text(const struct redact *r, char *text, size_t len)
{
    size_t stretches;

    return redact_span(r, text, len, &stretches);
}
