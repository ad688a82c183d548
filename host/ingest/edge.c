/* SPDX-License-Identifier: Apache-2.0
 *
 * edge.c - see edge.h. */
#include "ingest/edge.h"

#include "ipc/proto.h"

#include <string.h>

#define CONFIG_ARENA (64u << 10) /* texts of blocks of addresses */

void edge_read_trust(struct edge_trust *t, mf_str json)
{
    mf_val root = json_root(json);
    mf_val list = json_get(root, MF_STR("trusted_proxies")), v;
    mf_iter it = { { 0 } };
    struct arena a;
    mf_str key;

    memset(t, 0, sizeof *t);
    arena_init(&a, CONFIG_ARENA);
    while (t->count < HTTP_PROXIES_MAX && json_next(list, &it, &key, &v))
        if (netblock_parse(json_text(v, &a), &t->blocks[t->count]))
            t->count++;
    arena_deinit(&a);
    t->proxy_protocol = json_is_true(json_get(root,
                                              MF_STR("proxy_protocol")));
}

struct http_tls *edge_tls(mf_str message, struct err *e)
{
    struct http_tls *t = NULL;
    struct msg_tls m;
    mf_str chain, key;

    e->text[0] = 0;
    if (message.len < sizeof m)
        return NULL;
    memcpy(&m, message.ptr, sizeof m);
    ASSERT(message.len == sizeof m + (size_t)m.chain_len + m.key_len);
    chain = (mf_str){ message.ptr + sizeof m, m.chain_len };
    key = (mf_str){ chain.ptr + chain.len, m.key_len };
    t = http_tls_new(chain, key, NULL, NULL, e);
    explicit_bzero((char *)(uintptr_t)message.ptr, message.len);
    return t;
}

void edge_write_stats(struct json_out *w, const struct http_counters *c)
{
    json_kint(w, "opening", (int64_t)c->opening);
    json_kint(w, "handshakes", (int64_t)c->handshakes);
    json_kint(w, "handshakes_resumed", (int64_t)c->handshakes_resumed);
    json_kint(w, "tls_broken", (int64_t)c->records_bad);
    json_kint(w, "proxy_headers", (int64_t)c->proxied);
    json_kint(w, "forwarded_malformed", (int64_t)c->forwarded_bad);
    json_key(w, MF_STR("not_opened"));
    json_begin_object(w);
    for (int i = 0; i < HTTP_OPEN_FAULTS; i++) {
        json_key(w, mf_cstr(http_opening_code((enum http_opening_fault)i)));
        json_int(w, (int64_t)c->openings[i]);
    }
    json_end_object(w);
}
