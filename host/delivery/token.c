/* SPDX-License-Identifier: Apache-2.0
 *
 * token.c - see token.h. */
#include "delivery/token.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/text.h"
#include "delivery/backoff.h"
#include "delivery/destination.h"
#include "delivery/suspects.h"
#include "json/json.h"
#include "plugin/oauth.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TOKEN_ARENA_BYTES (4u << 20)

enum errand { ERRAND_NONE, ERRAND_ASKED, ERRAND_FETCHING };

struct token {
    struct instance *instance;
    const char *name;
    struct transport *transport;
    const struct transport_options *options;
    struct slot *slot;
    struct token_ways ways;
    char *origin;
    struct arena arena; /* for one errand */

    enum errand errand;
    struct call *call; /* while fetching */
    unsigned outstanding;
    char *known; /* tokens as told last, JSON, or NULL */
    char *before; /* those before them, for token_secrets() */
    uint64_t version; /* 0: none yet */
    bool refused; /* that one, with a 401 */
    int64_t expires_ms, renew_ms; /* Unix time */
    int64_t again_ms; /* monotonic; no errand before */
    uint32_t failures, refusals; /* in a row */
    char error[ERROR_TEXT_MAX];
};

struct token *token_new(struct instance *i, const char *name,
                        struct transport *t, const struct transport_options *o,
                        struct slot *slot, const struct token_ways *ways)
{
    struct token *k;
    mf_str origin;

    if (!oauth_needed(i))
        return NULL;
    k = xcalloc(1, sizeof *k);
    k->instance = i;
    k->name = name;
    k->transport = t;
    k->options = o;
    k->slot = slot;
    k->ways = *ways;
    arena_init(&k->arena, TOKEN_ARENA_BYTES);
    origin = oauth_origin(i, &k->arena);
    k->origin = xstrndup(origin.ptr, origin.len);
    return k;
}

void token_free(struct token *t)
{
    if (!t)
        return;
    call_free(t->call);
    arena_deinit(&t->arena);
    free(t->known);
    free(t->before);
    free(t->origin);
    free(t);
}

static mf_val known(const struct token *t)
{
    return t->known ? json_root(mf_cstr(t->known))
                    : (mf_val){ NULL, 0, MF_ABSENT };
}

static void tell(struct token *t, enum message type,
                 const struct msg_token *m, mf_str tokens)
{
    t->ways.tell(t->ways.arg, type, m, mf_cstr(t->name), mf_cstr(t->origin),
                 tokens);
}

/* ---- fetching ---- */

static uint64_t chance64(void)
{
    uint64_t v;

    random_bytes(&v, sizeof v);
    return v;
}

static void mark(struct token *t, enum slot_phase phase)
{
    slot_mark(t->slot, phase, 0, 0, 0, 0);
}

/* The lease goes back, and it is tried again later; what trying alone will
 * hardly mend, not so soon. */
static void failed(struct token *t, int32_t status, mf_str why,
                   int64_t retry_after)
{
    struct msg_token m = { 0 };

    if (!status_retryable(status) && retry_after < TOKEN_FINAL_MS)
        retry_after = TOKEN_FINAL_MS;
    if (t->failures < UINT32_MAX)
        t->failures++;
    t->again_ms = clock_mono_ms() + backoff_ms(t->failures, BACKOFF_FIRST_MS,
                                               BACKOFF_LAST_MS, retry_after,
                                               chance64());
    snprintf(t->error, sizeof t->error, "no access token: %d: %.*s", status,
             (int)why.len, why.ptr ? why.ptr : "");
    tell(t, MSG_TOKEN_PUT, &m, (mf_str){ "", 0 });
}

static void fetched(struct token *t, mf_val given)
{
    mf_val all = oauth_merged(known(t), given, &t->arena);
    struct msg_token m = { .version = 1 };

    oauth_times(given, clock_ms(), &m.expires_ms, &m.renew_ms);
    m.durable = json_get(all, MF_STR("refreshToken")).type == MF_STRING;
    t->errand = ERRAND_ASKED; /* MSG_TOKEN comes when it is kept */
    tell(t, MSG_TOKEN_PUT, &m, (mf_str){ all.raw, all.len });
}

static void settle(struct token *t)
{
    const struct call_result *r = call_result(t->call, 0);
    struct call *c = t->call;
    mf_val given = call_token(c);

    t->call = NULL;
    t->errand = ERRAND_NONE;
    if (given.type == MF_OBJECT)
        fetched(t, given);
    else if (r->status >= 200 && r->status < 300)
        failed(t, 401, MF_STR("the answer held none"), 0);
    else
        failed(t, r->status, r->message, r->retry_after_ms);
    call_free(c);
    t->ways.changed(t->ways.arg);
}

static void on_answer(void *arg, uint32_t id, const struct call_answer *a,
                      const char *why, int64_t took_ns);

static void send_queued(struct token *t)
{
    const struct call_request *r;

    while ((r = call_next(t->call))) {
        t->outstanding++;
        transport_send(t->transport, r, t->options, on_answer, t);
    }
    if (t->outstanding == 0) {
        ASSERT(call_done(t->call));
        settle(t);
    }
}

static void on_answer(void *arg, uint32_t id, const struct call_answer *a,
                      const char *why, int64_t took_ns)
{
    struct token *t = arg;

    (void)why;
    (void)took_ns;
    t->outstanding--;
    mark(t, PHASE_JUDGE);
    call_answer(t->call, id, a);
    mark(t, PHASE_HOST);
    send_queued(t);
}

static void fetch(struct token *t)
{
    mf_val none = { NULL, 0, MF_ABSENT };

    t->errand = ERRAND_FETCHING;
    t->call = call_special(t->instance, "refreshAccessToken", none);
    ASSERT(t->call);
    mark(t, PHASE_PERFORM);
    call_start(t->call);
    mark(t, PHASE_HOST);
    send_queued(t);
}

/* ---- what the supervisor says ---- */

/* Takes over tokens as told; the instance's next calls carry them. */
static void take(struct token *t, mf_str tokens)
{
    arena_reset(&t->arena);
    if (tokens.len && json_check(tokens, JSON_DEPTH_MAX, NULL) == 0 &&
        !(t->known && mf_eq(mf_cstr(t->known), tokens))) {
        free(t->before);
        t->before = t->known;
        t->known = xstrndup(tokens.ptr, tokens.len);
    }
    instance_set_auth(t->instance,
                      oauth_auth(t->instance, known(t), &t->arena));
}

void token_message(struct token *t, enum message type,
                   const struct msg_token *m, mf_str tokens)
{
    if (t->errand != ERRAND_ASKED)
        return;
    t->errand = ERRAND_NONE;
    take(t, tokens);
    if (type == MSG_TOKEN_LEASE) {
        fetch(t);
        return;
    }
    t->version = m->version;
    t->expires_ms = m->expires_ms;
    t->renew_ms = m->renew_ms;
    t->refused = false;
    t->failures = 0;
    t->error[0] = 0;
    t->ways.changed(t->ways.arg);
}

/* ---- what the destination asks ---- */

bool token_good(const struct token *t)
{
    return t->version && !t->refused && clock_ms() < t->expires_ms;
}

bool token_ready(struct token *t)
{
    struct msg_token m = { .version = t->version };

    if ((!token_good(t) || clock_ms() >= t->renew_ms) &&
        t->errand == ERRAND_NONE && clock_mono_ms() >= t->again_ms) {
        t->errand = ERRAND_ASKED;
        tell(t, MSG_TOKEN_ASK, &m, (mf_str){ "", 0 });
    }
    return token_good(t);
}

int64_t token_next_ms(const struct token *t)
{
    return t->errand == ERRAND_NONE ? t->again_ms : INT64_MAX;
}

bool token_busy(const struct token *t)
{
    return t->errand == ERRAND_FETCHING;
}

uint64_t token_version(const struct token *t)
{
    return t->version;
}

/* The first time a new one is fetched at once. Where that is refused too, the
 * fault lies elsewhere, and fetching waits longer and longer. */
bool token_refused(struct token *t, uint64_t version)
{
    bool fresh = version == t->version && t->errand == ERRAND_NONE;

    if (version != t->version || t->refused)
        return fresh;
    t->refused = true;
    if (fresh && t->refusals++ > 0)
        t->again_ms = clock_mono_ms() +
                      backoff_ms(t->refusals - 1, BACKOFF_FIRST_MS,
                                 BACKOFF_LAST_MS, 0, chance64());
    return fresh;
}

void token_worked(struct token *t)
{
    t->refusals = 0;
}

const char *token_error(const struct token *t)
{
    return token_good(t) ? "" : t->error;
}

static void add_secrets(const char *tokens, struct redact *to)
{
    static const char *const names[] = { "accessToken", "refreshToken",
                                         "id_token" };
    struct arena a;

    if (!tokens)
        return;
    arena_init(&a, TOKEN_ARENA_BYTES);
    for (size_t k = 0; k < COUNT_OF(names); k++)
        redact_add(to, json_text(json_get(json_root(mf_cstr(tokens)),
                                          mf_cstr(names[k])), &a));
    arena_deinit(&a);
}

void token_secrets(const struct token *t, struct redact *to)
{
    add_secrets(t->known, to);
    add_secrets(t->before, to);
}
