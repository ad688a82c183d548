/* SPDX-License-Identifier: Apache-2.0
 *
 * forwarded.c - whose request it is, where a trusted proxy passes it on.
 *
 * Each proxy adds the address it got the request from at the end of
 * X-Forwarded-For, so the list is read from its end: as long as whoever wrote
 * an entry is trusted, the entry is believed. What a client wrote itself
 * stands before the first address that is not trusted, and is never read. */
#include "http/conn.h"

#include "base/text.h"

#include <string.h>

/* An address, and a port behind it as some proxies write it. */
static bool read_hop(mf_str s, struct netaddr *out)
{
    const char *at = s.len ? memchr(s.ptr, ':', s.len) : NULL;
    mf_str port = { NULL, 0 };
    uint64_t n;

    if (s.len && *s.ptr == '[') {
        const char *close = memchr(s.ptr, ']', s.len);

        if (!close)
            return false;
        port = (mf_str){ close + 1, (size_t)(s.ptr + s.len - close) - 1 };
        s = (mf_str){ s.ptr + 1, (size_t)(close - s.ptr) - 1 };
        if (!memchr(s.ptr, ':', s.len))
            return false;
    } else if (at && !memchr(at + 1, ':', (size_t)(s.ptr + s.len - at) - 1)) {
        port = (mf_str){ at, (size_t)(s.ptr + s.len - at) };
        s.len = (size_t)(at - s.ptr);
    }
    if (port.len && (*port.ptr != ':' ||
                     !parse_u64((mf_str){ port.ptr + 1, port.len - 1 }, &n) ||
                     n > 65535))
        return false;
    return netaddr_parse(s, out);
}

/* Takes the last element off the list. Empty ones are passed over. */
static bool last_hop(mf_str *list, mf_str *hop)
{
    while (list->len) {
        size_t from = list->len;

        while (from > 0 && list->ptr[from - 1] != ',')
            from--;
        *hop = str_trim((mf_str){ list->ptr + from, list->len - from });
        list->len = from ? from - 1 : 0;
        if (hop->len)
            return true;
    }
    return false;
}

/* Goes on with one header's list. False when the search is over. */
static bool walk(struct conn *c, mf_str list, struct netaddr *client)
{
    mf_str text;

    while (http_server_trusts(c->server, client)) {
        struct netaddr hop;

        if (!last_hop(&list, &text))
            return true; /* the header before it */
        if (!read_hop(text, &hop)) {
            c->server->counters.forwarded_bad++;
            return false;
        }
        *client = hop;
    }
    return false;
}

static bool is_named(const struct http_request *r, unsigned i, mf_str name)
{
    return str_ieq(http_span_of(r->base, r->head->field[i].name), name);
}

void http_forwarded(struct conn *c)
{
    struct http_request *r = &c->req;
    struct netaddr client = c->address;

    for (unsigned i = r->head->count; i-- > 0;)
        if (is_named(r, i, MF_STR("x-forwarded-for")) &&
            !walk(c, http_span_of(r->base, r->head->field[i].value), &client))
            break;
    netaddr_text(&client, c->client_text);
    r->client = mf_cstr(c->client_text);
}
