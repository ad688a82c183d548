/* SPDX-License-Identifier: Apache-2.0
 *
 * tokens.c - access tokens of destinations, and who may fetch one.
 *
 * The supervisor keeps what workers bring and reads none of it. A token lives
 * as long as the host, so that a worker that is replaced or retired need not
 * fetch anew; one with a refresh token goes to state.db before it is given
 * out. Of a destination one worker at a time holds the lease to fetch; at most
 * two generations ask, so one more can wait for it. */
#include "supervisor/supervisor.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

#define TOKENS_BYTES_MAX 65536 /* of one destination */
#define ORIGIN_BYTES     64

struct sup_token {
    struct sup_token *next;
    char name[72], origin[ORIGIN_BYTES + 1];
    uint64_t version; /* 0: none */
    int64_t expires_ms, renew_ms;
    char *tokens; /* JSON, "" if none */
    struct generation *lease, *waiter; /* or NULL */
};

static struct sup_token *find(struct supervisor *s, mf_str name)
{
    for (struct sup_token *t = s->tokens; t; t = t->next)
        if (mf_eq(mf_cstr(t->name), name))
            return t;
    return NULL;
}

static struct sup_token *find_or_make(struct supervisor *s, mf_str name)
{
    struct sup_token *t = find(s, name);

    if (t)
        return t;
    t = xcalloc(1, sizeof *t);
    snprintf(t->name, sizeof t->name, "%.*s", (int)name.len, name.ptr);
    t->tokens = xstrdup("");
    t->next = s->tokens;
    s->tokens = t;
    return t;
}

static void set_tokens(struct sup_token *t, mf_str tokens)
{
    free(t->tokens);
    t->tokens = xstrndup(tokens.len ? tokens.ptr : "", tokens.len);
}

static void set_origin(struct sup_token *t, mf_str origin)
{
    snprintf(t->origin, sizeof t->origin, "%.*s", (int)origin.len,
             origin.ptr);
}

static void tell(const struct sup_token *t, struct generation *to,
                 enum message type)
{
    struct msg_token m = { .version = t->version,
                           .expires_ms = t->expires_ms,
                           .renew_ms = t->renew_ms,
                           .name_len = (uint32_t)strlen(t->name),
                           .origin_len = (uint32_t)strlen(t->origin),
                           .tokens_len = (uint32_t)strlen(t->tokens) };
    struct buf b;

    buf_init(&b, IPC_MESSAGE_MAX);
    buf_add(&b, &m, sizeof m);
    buf_puts(&b, t->name);
    buf_puts(&b, t->origin);
    buf_puts(&b, t->tokens);
    child_send(to->child, type, b.data, b.len, -1);
    buf_deinit(&b);
}

static void lend(struct sup_token *t, struct generation *to)
{
    t->lease = to;
    if (t->waiter == to)
        t->waiter = NULL;
    tell(t, to, MSG_TOKEN_LEASE);
}

/* The lease is free. */
static void pass_on(struct sup_token *t)
{
    struct generation *next = t->waiter;

    t->lease = t->waiter = NULL;
    if (next)
        lend(t, next);
}

static void keep(struct supervisor *s, const struct sup_token *t)
{
    struct err e;

    if (state_token_put(s->state, mf_cstr(t->name), mf_cstr(t->origin),
                        mf_cstr(t->tokens), t->expires_ms, &e) != 0 ||
        supervisor_commit(s, &e) != 0) {
        supervisor_log_state_error(s, &e);
        supervisor_state_changed(s);
    }
}

/* Tokens got with other credentials are of no use any more. */
static void forget(struct supervisor *s, struct sup_token *t)
{
    t->version = 0;
    set_tokens(t, (mf_str){ "", 0 });
    keep(s, t);
}

static void ask(struct supervisor *s, struct sup_token *t,
                struct generation *from, const struct msg_token *m,
                mf_str origin)
{
    if (!mf_eq(mf_cstr(t->origin), origin)) {
        if (t->version)
            forget(s, t);
        set_origin(t, origin);
    }
    if (t->version && t->version != m->version && clock_ms() < t->renew_ms)
        tell(t, from, MSG_TOKEN);
    else if (!t->lease || t->lease == from)
        lend(t, from);
    else
        t->waiter = from;
}

static void put(struct supervisor *s, struct sup_token *t,
                struct generation *from, const struct msg_token *m,
                mf_str origin, mf_str tokens)
{
    if (t->lease != from)
        return;
    if (tokens.len == 0 || !mf_eq(mf_cstr(t->origin), origin)) {
        pass_on(t);
        return;
    }
    t->version = ++s->token_version;
    t->expires_ms = m->expires_ms;
    t->renew_ms = m->renew_ms;
    set_tokens(t, tokens);
    if (m->durable)
        keep(s, t);
    t->lease = NULL;
    tell(t, from, MSG_TOKEN);
    if (t->waiter)
        tell(t, t->waiter, MSG_TOKEN);
    t->waiter = NULL;
}

/* A worker is told of its own destinations and no others. */
static bool owns(const struct supervisor *s, const struct generation *n,
                 mf_str name)
{
    for (const struct sup_destination *d = s->destinations; d; d = d->next)
        if (mf_eq(mf_cstr(d->name), name))
            return d->group == n->group;
    return false;
}

void tokens_message(struct supervisor *s, struct generation *from,
                    uint32_t type, mf_str text)
{
    struct msg_token m;
    mf_str name, origin, tokens;

    if (text.len < sizeof m)
        return;
    memcpy(&m, text.ptr, sizeof m);
    if (m.origin_len > ORIGIN_BYTES || m.tokens_len > TOKENS_BYTES_MAX ||
        text.len - sizeof m !=
            (size_t)m.name_len + m.origin_len + m.tokens_len)
        return;
    name = (mf_str){ text.ptr + sizeof m, m.name_len };
    origin = (mf_str){ name.ptr + m.name_len, m.origin_len };
    tokens = (mf_str){ origin.ptr + m.origin_len, m.tokens_len };
    if (!owns(s, from, name))
        return;
    if (type == MSG_TOKEN_ASK)
        ask(s, find_or_make(s, name), from, &m, origin);
    else
        put(s, find_or_make(s, name), from, &m, origin, tokens);
}

void tokens_release(struct supervisor *s, const struct generation *n)
{
    for (struct sup_token *t = s->tokens; t; t = t->next) {
        if (t->waiter == n)
            t->waiter = NULL;
        if (t->lease == n)
            pass_on(t);
    }
}

static void loaded(void *arg, mf_str name, mf_str origin, mf_str tokens,
                   int64_t expires_ms)
{
    struct supervisor *s = arg;
    struct sup_token *t = find_or_make(s, name);

    set_origin(t, origin);
    set_tokens(t, tokens);
    t->version = ++s->token_version;
    t->expires_ms = t->renew_ms = expires_ms;
}

int tokens_load(struct supervisor *s, struct err *e)
{
    return state_tokens(s->state, loaded, s, e);
}

void tokens_free(struct supervisor *s)
{
    while (s->tokens) {
        struct sup_token *t = s->tokens;

        s->tokens = t->next;
        free(t->tokens);
        free(t);
    }
}
