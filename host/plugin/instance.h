/* SPDX-License-Identifier: Apache-2.0
 *
 * instance.h - a destination as it works: a loaded plugin, its settings, its
 * subscriptions compiled. What the worker, `map`, `test` and `plan` share:
 * the same code takes an event from here to its requests in all of them. */
#ifndef PLUGIN_INSTANCE_H
#define PLUGIN_INSTANCE_H

#include "base/err.h"
#include "base/mem.h"
#include "plugin/manifest.h"

#include <manifold/destination.h>

/* A plugin in this process. At most one is ever loaded in a worker. */
struct plugin {
    struct manifest *manifest;
    const mf_destination *code;
    char hash[17];
};

/* Maps the shared object behind fd (already checked, see image.h) and verifies
 * that descriptor and manifest agree. Never unmapped. image bytes may be freed
 * afterwards. */
struct plugin *plugin_load(int fd, const char *manifest, size_t manifest_len,
                           const char *hash, struct err *e);
/* Convenience for tools: image_read + plugin_load of a file. */
struct plugin *plugin_open(const char *path, struct err *e);
/* Forgets the plugin; its code stays mapped. After its last instance. NULL is
 * fine. */
void plugin_free(struct plugin *p);

#define SUBSCRIPTIONS_MAX 200

/* What is configured; all mf_val borrowed for the life of the instance. */
struct instance_config {
    const char *name;     /* of the destination, for errors */
    mf_val settings;      /* object, or MF_ABSENT: {} */
    mf_val subscriptions; /* array of {action, subscribe, mapping, enabled?,
                             name?}, or MF_ABSENT: the presets */
    mf_str filter;        /* FQL of destination filters, "" for none */
    mf_val auth;          /* object given instead of a token fetch: tools */
    mf_val features;      /* object, or MF_ABSENT */
    mf_str endpoint;      /* origin to send to instead, "" for the real one */
    mf_val metadata;      /* what MF_META_SUBSCRIPTION gives instead of the
                             subscription itself: tools */
    mf_val consent;       /* array of consent categories, or MF_ABSENT */
    bool lenient;         /* tools: settings may be incomplete; a mapping or
                             trigger that is wrong fails its events */
    bool fixed;           /* fixed clock, seeded chance, counted UUIDs */
    int64_t now;          /* Unix ms, when fixed */
    uint64_t *uuid_counter; /* when fixed */
};

/* A fault in what is configured: where (a pointer into the text of settings
 * or subscriptions, NULL if it concerns the whole) and what. */
struct instance_fault {
    const char *at;
    struct err err;
};

struct instance;

/* Static check only, no plugin code runs: all faults up to max; returns how
 * many. */
size_t instance_check(const struct manifest *m,
                      const struct instance_config *c,
                      struct instance_fault *faults, size_t max);
/* NULL with the first fault. Runs the plugin's create(). */
struct instance *instance_new(struct plugin *p,
                              const struct instance_config *c,
                              struct instance_fault *fault);
void instance_free(struct instance *i);
struct plugin *instance_plugin(const struct instance *i);
/* New tokens; copied. Calls made before keep the old ones. */
void instance_set_auth(struct instance *i, mf_val auth);
/* Native plugins, about once a second when there is nothing to do. */
void instance_idle(struct instance *i, int64_t deadline_ms);
size_t instance_subscriptions(const struct instance *i);
const struct manifest_action *instance_action(const struct instance *i,
                                              unsigned subscription);
/* What names a subscription over reloads that move it: its name if it has one,
 * else its action and trigger; unique within the instance. */
mf_str instance_subscription_name(const struct instance *i,
                                  unsigned subscription);
/* Effective limits after the mapping's batch_size, batch_bytes and
 * enable_batching: 1 means one by one. */
uint32_t instance_batch_size(const struct instance *i, unsigned subscription);
uint64_t instance_batch_bytes(const struct instance *i, unsigned subscription);
const char *instance_serialize_by(const struct instance *i,
                                  unsigned subscription);

/* ---- select ---- */

enum select_reason { /* why nothing matched; names in select_reason_text() */
    SELECT_MATCHED,
    SELECT_CONSENT,
    SELECT_INTEGRATIONS, /* the event's `integrations` object says no */
    SELECT_BUNDLED,      /* already delivered on the device */
    SELECT_FILTER,
    SELECT_NO_MATCH,     /* no subscription's trigger matches */
    SELECT_REASONS
};

/* Which subscriptions want the event: their indexes in subs, count in *n. */
enum select_reason instance_select(const struct instance *i, mf_val event,
                                   uint8_t subs[SUBSCRIPTIONS_MAX], size_t *n,
                                   struct arena *scratch);
const char *select_reason_text(enum select_reason r);

/* ---- map ---- */

/* The payload of one event for one subscription, in the arena; MF_ABSENT with
 * e filled when the event can never be mapped (a dead letter, status 400). */
mf_val instance_map(const struct instance *i, unsigned subscription,
                    mf_val event, bool batch, struct arena *a, struct err *e);
/* Equal texts may share a batch. "" where the action has no batch keys. */
mf_str instance_batch_key(const struct instance *i, unsigned subscription,
                          mf_val payload, struct arena *a);

/* ---- call: from payloads to results, one or several HTTP rounds ---- */

struct call;

struct call_header {
    mf_str name, value;
};

struct call_request {
    const char *method;
    mf_str url;            /* endpoint applied, query complete */
    mf_str real_url;       /* before the endpoint was put in its place */
    struct call_header *headers;
    size_t header_count;
    mf_str body;
    bool has_body, gzip;
    int64_t timeout_ms;    /* 0: the destination's */
    int64_t delay_ms;      /* to be sent not before so long from now */
    uint32_t id;           /* for call_answer */
};

struct call_answer {
    int32_t status;        /* 0: none came */
    uint32_t failure;      /* MF_FAIL_* */
    mf_str why;            /* of a failure, a sentence, may be empty */
    const struct call_header *headers;
    size_t header_count;
    mf_str body;
};

struct call_result {
    int32_t status;        /* see destination.h; never 0 once done */
    mf_str message;
    int64_t retry_after_ms;/* 0: not said */
};

/* A call for one subscription. Everything of it lives in its own arena and
 * goes with call_free(). */
struct call *call_new(struct instance *i, unsigned subscription);
/* Whether it is performed as a batch, be it of one event. Without this: where
 * the subscription batches. */
void call_batch(struct call *c, bool on);
/* A call of one of the special actions (testAuthentication, onDelete,
 * refreshAccessToken); NULL if the plugin has no such. */
struct call *call_special(struct instance *i, const char *slug, mf_val event);
void call_free(struct call *c);
/* It carries the auth of when it was made; from here on that of now. */
void call_authorise(struct call *c);
/* Both are copied into the call's arena. Returns the event's index. */
uint32_t call_add(struct call *c, mf_val event, mf_val payload);
/* The name of the source that an event came from; copied. */
void call_source(struct call *c, uint32_t index, mf_str name);
uint32_t call_count(const struct call *c);
size_t call_bytes(const struct call *c); /* payload bytes so far */
/* Performs; afterwards call_next() gives requests, or call_done() is true. */
void call_start(struct call *c);
/* The next request to send, or NULL. Valid until call_free(). */
const struct call_request *call_next(struct call *c);
/* The answer to one of them; runs judge, which may queue more. */
void call_answer(struct call *c, uint32_t request_id,
                 const struct call_answer *a);
/* No request is outstanding or queued and every event has a result. */
bool call_done(const struct call *c);
/* A special call has the one result 0. */
const struct call_result *call_result(const struct call *c, uint32_t index);
/* What a refreshAccessToken that was answered gave: {accessToken,
 * refreshToken?, expiresIn?}. MF_ABSENT for other calls. It is the message of
 * the plugin's result where that is a JSON object, else what OAuth 2.0 calls
 * access_token, refresh_token and expires_in in the last answer. */
mf_val call_token(const struct call *c);
/* True when the call failed as one: mf_fail(), or the host's own judgement
 * of an answer. False when each event was given its result. */
bool call_failed(const struct call *c);
/* NULL, or in which way the plugin broke its contract (tools tell it). */
const char *call_fault(const struct call *c);
/* Who sends what a native plugin waits for in deliver(): it hands the answer
 * to call_waited() before it returns. */
typedef void call_wait_fn(void *arg, struct call *c,
                          const struct call_request *r);
void call_on_wait(struct call *c, call_wait_fn *fn, void *arg);
void call_waited(struct call *c, const struct call_answer *a);
/* Native plugins: runs deliver() to its end; then call_done() holds. */
void call_deliver(struct call *c, int64_t deadline_ms);

/* Whether a status is to be tried again: 408 423 425 429, 5xx but 501. */
bool status_retryable(int32_t status);

#endif
