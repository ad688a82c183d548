/* SPDX-License-Identifier: Apache-2.0
 *
 * inner.h - what instance, call and host table know of each other and nobody
 * else does. Not included outside this folder.
 *
 * Memory of a call: `in` holds what came from outside (events, payloads,
 * answers), `arena` what the plugin asked for, which alone counts against
 * MF_ARENA_BYTES. Writers keep their buffers when a call is used again, so
 * that an event costs no malloc. */
#ifndef PLUGIN_INNER_H
#define PLUGIN_INNER_H

#include "base/buf.h"
#include "base/text.h"
#include "json/json.h"
#include "mapping/fql.h"
#include "mapping/hashing.h"
#include "plugin/instance.h"

#include <setjmp.h>

#define CALL_INPUT_BYTES  (512u << 20) /* events, payloads, answers */
#define CALLS_KEPT        16           /* free ones, by an instance */
#define WRITER_KEPT_BYTES (256u << 10) /* a larger buffer is given back */
#define WRITER_DEPTH_MAX  60
#define HEADERS_MAX       256 /* of one request */
#define URL_BYTES_MAX     (64u << 10)
#define MESSAGE_BYTES_MAX 1024 /* of one result */

/* ---- payload paths: all of an action's in one pass ---- */

struct path_tree;

struct path_tree *path_tree_new(const char *const *paths, size_t count,
                                struct arena *a);
const mf_val *path_tree_read(const struct path_tree *t, mf_val payload,
                             struct arena *a);
/* What was read at paths[k]. */
mf_val path_tree_get(const struct path_tree *t, const mf_val *read, size_t k);

/* ---- instance ---- */

struct subscription {
    const struct manifest_action *action; /* NULL: a special one */
    const mf_action *code;                /* NULL: declared */
    const struct declared_request *request, *batch_request;
    struct fql *trigger; /* NULL matches nothing */
    struct mapping *mapping;
    char *fault; /* owned; why the mapping does not work: lenient only */
    mf_val json, mapping_json;
    mf_str sync_mode;
    mf_str name; /* unique in the instance */
    bool enabled;
    uint32_t batch_size;
    uint64_t batch_bytes;
    struct path_tree *paths; /* NULL: the action reads none by index */
};

enum host_rule { HOST_ANY, HOST_EXACT, HOST_SUFFIX };

struct host_pattern {
    enum host_rule rule;
    mf_str text; /* lower case; a suffix begins with its dot */
};

enum { SPECIAL_TEST, SPECIAL_DELETE, SPECIAL_REFRESH, SPECIALS };

struct instance {
    struct plugin *plugin;
    const char *name;
    struct arena arena; /* what is made of the configuration */
    mf_val settings, auth, features, metadata, consent;
    char *auth_text; /* owned; auth points into it */
    mf_str endpoint;
    bool fixed, lenient;
    int64_t fixed_now;
    uint64_t *uuid_counter;
    struct fql *filter; /* or NULL */
    mf_str *names;      /* keys in `integrations` that mean this one */
    size_t name_count;
    struct subscription *subs;
    size_t sub_count;
    struct subscription specials[SPECIALS];
    bool special_there[SPECIALS];
    struct host_pattern *hosts;
    size_t host_count;
    void *self;
    char *region; /* create()'s memory, read-only once it returned */
    size_t region_len;
    struct arena own;
    struct call *free_calls;
    unsigned free_count;
    struct kept *kept; /* answers, the newest first; see kept.c */
    unsigned kept_count;
    size_t kept_bytes;
};

/* settings with the manifest's defaults where a key is not given. */
mf_val settings_filled(const struct manifest *m, mf_val settings,
                       struct arena *a);
void hosts_compile(struct instance *i);
bool host_allowed(const struct instance *i, mf_str host);

/* ---- call ---- */

struct call_event {
    mf_event pub;
    struct call *call;
    mf_val event, payload;
    mf_str source;        /* its name, { NULL, 0 } if nobody said */
    const mf_val *fields; /* NULL until one is asked for */
    struct call_result result;
    bool settled;
    int32_t vote;  /* status of the last request that went well, 0: none */
    uint32_t open; /* requests that have yet to be answered */
    uint64_t drawn; /* blocks of chance */
};

struct writer {
    mf_writer pub;
    struct call *call;
    struct json_out out;
    struct buf buf;
    mf_str key; /* of a value still to come */
    bool has_key;
    uint64_t arrays; /* bit d: what is open at depth d is an array */
    struct writer *next;
};

/* Which events of the call a function of the plugin sees as its 0, 1, 2... */
struct scope {
    uint32_t base, count;
};

enum request_state {
    REQUEST_NEW,     /* the plugin is still at it */
    REQUEST_QUEUED,
    REQUEST_REFUSED, /* may not be sent; judge is still to hear of it */
    REQUEST_SENT,
    REQUEST_DONE
};

struct request {
    mf_request pub;
    struct call *call;
    struct call_request out;
    enum request_state state;
    struct scope scope;
    uint32_t *covers; /* absolute; NULL: the whole scope */
    uint32_t cover_count, cover_cap;
    size_t header_cap;
    const char *content_type;
    struct writer *body;
    uint32_t step;
    void *tag;
    bool no_auth, form;
    bool given; /* answered with what was kept */
    mf_str why; /* refused, or wrong: then with its status */
    int32_t why_status;
};

struct answer {
    mf_response pub;
    struct call *call;
    struct call_answer a;
    bool parsed;
    mf_val json;
};

/* What the manifest adds to every request, evaluated once a scope. */
struct standard {
    bool ready;
    uint32_t base;
    mf_val auth;    /* { scheme, username, ... } */
    mf_val headers; /* object */
};

struct call {
    mf_call pub;
    struct instance *instance;
    const struct subscription *sub;
    struct call *next_free;
    struct arena in, arena;
    struct arena *mem; /* where the plugin's memory comes from */
    mf_val auth;
    struct call_event **events;
    uint32_t event_count, event_cap, unsettled;
    size_t payload_bytes;
    struct request **requests;
    uint32_t request_count, request_cap, next_send, next_own, outstanding;
    struct writer *writers, *spare_writers;
    size_t body_bytes;
    struct standard standard;
    int64_t now, deadline;
    uint8_t seed[32], block[32];
    uint32_t seed_base;
    unsigned block_left;
    uint64_t drawn; /* blocks, where there are no events */
    bool seeded;

    /* Of the function of the plugin that runs now. */
    struct scope scope;
    const struct request *answered; /* in judge */
    uint32_t first_new;
    int64_t retry_after_ms;
    int32_t failed; /* what mf_fail() was told, 0: it was not called */
    mf_str failed_message;
    bool batch, may_jump, overflowed;
    jmp_buf jump;

    call_wait_fn *wait; /* NULL: nobody sends while a plugin waits */
    void *wait_arg;
    const struct answer *waited; /* what it has brought */
    struct request *exchanged;   /* the last that was waited for */

    mf_val token;      /* of refreshAccessToken */
    bool whole_failed; /* the call as such failed, not single events */
    const char *fault; /* the plugin broke the contract: how */
};

extern const mf_host host_table;
/* Where a function of the plugin that runs now takes memory from. */
extern _Thread_local struct arena *plugin_memory;
/* Its parts that stand in hostwrite.c and hosthash.c. */
mf_writer *h_value(mf_call *pub);
mf_val h_done(mf_writer *pub);
void h_w_object(mf_writer *w, const char *key);
void h_w_array(mf_writer *w, const char *key);
void h_w_end(mf_writer *pub);
void h_w_key(mf_writer *pub, mf_str key);
void h_w_val(mf_writer *pub, const char *key, mf_val v);
void h_w_str(mf_writer *pub, const char *key, mf_str s);
void h_w_int(mf_writer *pub, const char *key, int64_t v);
void h_w_num(mf_writer *pub, const char *key, double v);
void h_w_bool(mf_writer *pub, const char *key, uint32_t v);
void h_w_raw(mf_writer *pub, mf_str bytes);
mf_request *h_request(mf_call *pub, const char *method, mf_str url);
void h_header(mf_request *r, const char *name, mf_str value);
void h_query(mf_request *r, const char *name, mf_str value);
mf_writer *h_body(mf_request *r, const char *content_type);
void h_body_text(mf_request *r, const char *content_type, mf_str bytes);
void h_form(mf_request *r, const char *name, mf_str value);
void h_covers(mf_request *pub, uint32_t index);
uint32_t h_covered(const mf_request *pub, uint32_t k);
void h_option(mf_request *pub, uint32_t id, int64_t value);
void h_tag(mf_request *pub, uint32_t step, void *state);
uint32_t h_step(const mf_request *pub, void **state);
mf_str h_digest(mf_call *pub, uint32_t algorithm, mf_str data);
mf_str h_hmac(mf_call *pub, uint32_t algorithm, mf_str key, mf_str data);
mf_str h_encode(mf_call *pub, uint32_t how, mf_str data);
mf_str h_decode(mf_call *pub, uint32_t how, mf_str text);
mf_str h_smart_hash(mf_call *pub, uint32_t algorithm, uint32_t how,
                    mf_str text);

const mf_response *h_exchange(mf_request *pub);
/* The answer to r is given to the same requests for so long; 0: no longer. */
void kept_put(struct instance *i, const struct request *r,
              const struct call_answer *a, int64_t ms);
/* False if there is none. *to is good until the next kept_put(). */
bool kept_give(struct instance *i, const struct request *r,
               struct call_answer *to);
void kept_free(struct instance *i);

/* Before and after memory is taken for the plugin: too much ends its call. */
void call_room(struct call *c, size_t size);
void call_checked(struct call *c);

void call_destroy(struct call *c);
/* What a directive of the manifest may look at; see MANIFEST.md. */
unsigned call_parts(const struct call *c,
                    struct mapping_part parts[MAPPING_PARTS_MAX]);
/* The result of one event, absolute index; the first one counts. */
void call_settle(struct call *c, uint32_t index, int32_t status,
                 mf_str message);
/* Ends the function of the plugin that runs: it wants too much. */
void call_overflow(struct call *c) __attribute__((noreturn));
mf_str call_message(struct call *c, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

struct request *request_new(struct call *c, mf_str method, mf_str url);
void request_header(struct request *r, mf_str name, mf_str value);
void request_query(struct request *r, mf_str name, mf_str value);
void request_form(struct request *r, mf_str name, mf_str value);
struct writer *request_body(struct request *r, const char *content_type);
/* Makes it ready to send: 0; -1 with r->why and r->why_status told for its
 * events. The state is REQUEST_REFUSED where the host may not be sent to. */
int request_finish(struct request *r);
uint32_t request_covered(const struct request *r, uint32_t k);
uint32_t request_cover_count(const struct request *r);

/* An http(s) URL as browsers write it, host without port told apart; -1 when
 * it is none. */
int url_normalise(mf_str url, struct arena *a, mf_str *out, mf_str *host);

struct writer *writer_new(struct call *c);
void writer_spare(struct writer *w);

/* Queues the request that the manifest declares: MF_OK, or the status that
 * all events of the scope were given. */
int declared_perform(struct call *c, const struct declared_request *d,
                     bool batch);

/* The token request of a grant that the manifest declares; as above. */
int oauth_perform(struct call *c);
/* What a token server's answer holds, or MF_ABSENT. */
mf_val oauth_tokens(mf_val answer, struct arena *a);
/* True if the answer said so much that the call is settled by it. */
bool oauth_judge(struct call *c, int32_t status, mf_val answer);

size_t hmac_bytes(enum hash_algorithm h, mf_str key, mf_str data,
                  struct arena *a, unsigned char out[HASH_BYTES_MAX]);
/* AWS signature version 4 over a finished request. */
void request_sign_aws(struct request *r, mf_val auth, mf_str host);

#endif
