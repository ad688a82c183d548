/* SPDX-License-Identifier: Apache-2.0
 *
 * token.h - the access token of one destination, inside its worker.
 *
 * While there is none that is good, the destination starts no calls. One that
 * is missing, near its end or refused with a 401 is asked for at the
 * supervisor, which has another one or gives the lease to fetch it. Fetching
 * is a call of the plugin (oauth.h) over the worker's transport: the same
 * hosts, endpoint and addresses hold as for events. What was fetched goes to
 * the supervisor first and is used when that has it: a refresh token that was
 * replaced is durable before anything depends on it. */
#ifndef DELIVERY_TOKEN_H
#define DELIVERY_TOKEN_H

#include "base/redact.h"
#include "delivery/transport.h"
#include "ipc/proto.h"
#include "plugin/instance.h"

#include <stdbool.h>
#include <stdint.h>

#define TOKEN_FINAL_MS 30000 /* after a refusal that trying cannot mend */

struct token;

/* What a token needs of the worker. */
struct token_ways {
    void (*tell)(void *arg, enum message type, const struct msg_token *m,
                 mf_str name, mf_str origin, mf_str tokens);
    void (*changed)(void *arg); /* there is one, or a time to try again */
    void *arg;
};

/* NULL if the instance needs none. All borrowed for its life. */
struct token *token_new(struct instance *i, const char *name,
                        struct transport *t, const struct transport_options *o,
                        struct slot *slot, const struct token_ways *ways);
void token_free(struct token *t);
/* May a call start? Sets off what it takes to get or renew the token. */
bool token_ready(struct token *t);
/* The same without setting anything off. */
bool token_good(const struct token *t);
/* When token_ready() is to be asked again, monotonic; INT64_MAX: `changed`
 * will tell. */
int64_t token_next_ms(const struct token *t);
/* Being fetched: the worker must not end meanwhile. */
bool token_busy(const struct token *t);
/* Which one calls made now carry. */
uint64_t token_version(const struct token *t);
/* A call that carried this version was answered with 401. True if the next
 * token will be one that is fetched because of it; false if another is there
 * or under way: what was revoked may be that one too. */
bool token_refused(struct token *t, uint64_t version);
/* A call went well. */
void token_worked(struct token *t);
/* Why there is none, "" while all is well. */
const char *token_error(const struct token *t);
/* MSG_TOKEN or MSG_TOKEN_LEASE. */
void token_message(struct token *t, enum message type,
                   const struct msg_token *m, mf_str tokens);
/* What must not be shown, of this token and the one before it. */
void token_secrets(const struct token *t, struct redact *to);

#endif
