/* SPDX-License-Identifier: Apache-2.0
 *
 * destination.h - the only header a destination plugin must include.
 *
 * A plugin is a folder: manifest.json says what the destination is (settings,
 * actions, fields, presets, hosts it may send to); this header is for what
 * data cannot say. An action that only sends a mapped payload somewhere is
 * declared in the manifest (`request`) and needs no C at all.
 *
 * The .so exports one constant, mf_destination_v1. It keeps no mutable
 * globals, frees nothing and starts nothing. The host calls it in a worker
 * process that loads no other plugin, one call at a time.
 *
 * Tags on each function say what it may assume:
 *   [pure]   the result depends on the arguments alone; clock and chance are
 *            lent by the host. It may be called again for the same events,
 *            after a retry or a crash, and must then do the same.
 *   [block]  may block until mf_deadline(); past it the worker is killed.
 *
 * Memory: what is reached through a call lives until its events are settled
 * and then goes at once. Nothing returned by the host is ever NULL. A call
 * that outgrows its arena (MF_ARENA_BYTES) has its events rejected.
 * Text is UTF-8; an mf_str need not end in NUL; a const char * does.
 *
 * Growth: the rules are at the end of this file. */
#ifndef MANIFOLD_DESTINATION_H
#define MANIFOLD_DESTINATION_H

#include <manifold/types.h>

#define MF_ABI_MAJOR 1 /* is part of the symbol's name */
#define MF_ABI_MINOR 0 /* members are only ever appended */

#define MF_ARENA_BYTES (8u << 20) /* of one call */
#define MF_REQUESTS_MAX 1024      /* of one call, follow-ups included */
#define MF_KEEP_MAX_MS 600000     /* see mf_keep() */

typedef struct mf_host mf_host;
typedef struct mf_action mf_action;

/* Each begins with the host's table, so that the inline functions below need
 * no other argument; the rest belongs to the host. */
typedef struct mf_call {
    const mf_host *h;
} mf_call; /* one event or batch, from perform to its last result */
typedef struct mf_event {
    const mf_host *h;
} mf_event;
typedef struct mf_request {
    const mf_host *h;
} mf_request;
typedef struct mf_response {
    const mf_host *h;
} mf_response;
typedef struct mf_writer {
    const mf_host *h;
} mf_writer;

/* ---- results ----
 * The result of an event is a status as in HTTP, whoever it comes from:
 *   2xx                              delivered
 *   408 423 425 429, 5xx but 501     to be tried again, up to the TTL
 *   401                              once more after fetching a new token,
 *                                    where the manifest's auth has one
 *   all others                       dead letter, with the message
 *   MF_SKIP                          not meant for this destination: counted
 *                                    as filtered, not kept */
enum {
    MF_OK = 0,        /* perform: requests are queued, or results given.
                         judge: let the host judge by the status */
    MF_SKIP = 1,
    MF_CONTINUE = 2,  /* judge: follow-ups are queued, or another request of
                         these events decides; leave them open */
    MF_DELIVERED = 200,
    MF_INVALID = 400, /* the payload will never be accepted */
    MF_UNAUTHORIZED = 401,
    MF_RETRY = 503
};
#define MF_ALL UINT32_MAX /* as an index: every event not yet settled */

/* Why there was no answer: mf_failure(). */
enum {
    MF_FAIL_NONE,    /* there was one */
    MF_FAIL_RESOLVE,
    MF_FAIL_CONNECT,
    MF_FAIL_TLS,
    MF_FAIL_TIMEOUT,
    MF_FAIL_RESET,   /* the connection broke after the request was sent */
    MF_FAIL_REFUSED  /* the host may not send there: manifest `hosts`, or a
                        private address */
};

/* What mf_meta() gives. */
enum {
    MF_META_SETTINGS,     /* object: validated, defaults filled in */
    MF_META_AUTH,         /* object: accessToken, refreshToken, ... */
    MF_META_FEATURES,     /* object of flags, name to true or false */
    MF_META_SUBSCRIPTION, /* object: what configured this action */
    MF_META_MAPPING       /* object: the mapping as configured */
};

enum { MF_SHA256 = 1, MF_SHA1, MF_MD5, MF_SHA512 };
enum { MF_HEX = 1, MF_BASE64, MF_BASE64URL, MF_PERCENT, MF_FORM };
enum { MF_LOG_ERROR = 3, MF_LOG_WARNING = 4, MF_LOG_INFO = 6, MF_LOG_DEBUG = 7 };

enum {
    MF_OPT_TIMEOUT_MS = 1, /* whole request; at most the destination's */
    MF_OPT_NO_AUTH,        /* 1: without the manifest's auth and headers */
    MF_OPT_GZIP,           /* 1: compress the body */
    MF_OPT_DELAY_MS        /* not before so long from now, MF_DELAY_MAX_MS at
                              most: to ask how something goes that the far
                              side does in its own time. A host that is asked
                              to end does not wait */
};
#define MF_DELAY_MAX_MS 60000

/* ---- what the host lends; call it through the functions below ---- */

struct mf_host {
    uint32_t size; /* sizeof(mf_host) as the host knows it */
    uint32_t abi_minor;

    void *(*alloc)(mf_call *, size_t);
    mf_str (*join)(mf_call *, const mf_str *parts, size_t n);
    mf_val (*meta)(const mf_call *, uint32_t what);
    int64_t (*now)(const mf_call *);
    int64_t (*deadline)(const mf_call *);
    void (*chance)(mf_call *, void *to, size_t n);
    mf_str (*uuid)(mf_call *);
    void (*log)(mf_call *, int32_t level, mf_str message);
    const mf_action *(*action)(const mf_call *);

    mf_val (*event)(const mf_event *);
    mf_val (*payload)(const mf_event *);
    mf_val (*field)(const mf_event *, uint32_t path);
    int32_t (*membership)(const mf_event *);

    mf_val (*get)(mf_val, mf_str path);
    uint32_t (*next)(mf_call *, mf_val, mf_iter *, mf_str *key, mf_val *value);
    mf_str (*text)(mf_call *, mf_val);
    int64_t (*integer)(mf_val, int64_t otherwise);
    double (*number)(mf_val, double otherwise);
    mf_val (*parse)(mf_call *, mf_str json);
    mf_str (*stringify)(mf_call *, mf_val);
    int64_t (*time_of)(mf_val, int64_t otherwise);
    mf_str (*iso)(mf_call *, int64_t ms);

    mf_writer *(*value)(mf_call *);
    mf_val (*done)(mf_writer *);
    void (*w_object)(mf_writer *, const char *key);
    void (*w_array)(mf_writer *, const char *key);
    void (*w_end)(mf_writer *);
    void (*w_key)(mf_writer *, mf_str key);
    void (*w_val)(mf_writer *, const char *key, mf_val);
    void (*w_str)(mf_writer *, const char *key, mf_str);
    void (*w_int)(mf_writer *, const char *key, int64_t);
    void (*w_num)(mf_writer *, const char *key, double);
    void (*w_bool)(mf_writer *, const char *key, uint32_t);
    void (*w_raw)(mf_writer *, mf_str bytes);

    mf_request *(*request)(mf_call *, const char *method, mf_str url);
    void (*header)(mf_request *, const char *name, mf_str value);
    void (*query)(mf_request *, const char *name, mf_str value);
    mf_writer *(*body)(mf_request *, const char *content_type);
    void (*body_text)(mf_request *, const char *content_type, mf_str bytes);
    void (*form)(mf_request *, const char *name, mf_str value);
    void (*covers)(mf_request *, uint32_t index);
    uint32_t (*covered)(const mf_request *, uint32_t k);
    void (*option)(mf_request *, uint32_t id, int64_t value);
    void (*tag)(mf_request *, uint32_t step, void *state);
    uint32_t (*step)(const mf_request *, void **state);

    int32_t (*status)(const mf_response *);
    uint32_t (*failure)(const mf_response *);
    mf_str (*answer_header)(const mf_response *, const char *name);
    mf_val (*answer_json)(const mf_response *);
    mf_str (*answer_bytes)(const mf_response *);

    void (*result)(mf_call *, uint32_t index, int32_t status, mf_str message);
    int32_t (*fail)(mf_call *, int32_t status, mf_str message);
    void (*retry_after)(mf_call *, int64_t ms);

    mf_str (*digest)(mf_call *, uint32_t algorithm, mf_str data);
    mf_str (*hmac)(mf_call *, uint32_t algorithm, mf_str key, mf_str data);
    mf_str (*encode)(mf_call *, uint32_t how, mf_str data);
    mf_str (*decode)(mf_call *, uint32_t how, mf_str text);
    mf_str (*smart_hash)(mf_call *, uint32_t algorithm, uint32_t how,
                         mf_str text);
    void (*keep)(const mf_response *, int64_t ms);
    mf_str (*source)(const mf_event *);
    const mf_response *(*exchange)(mf_request *);
    /* 1.0 ends here */
};

/* A member newer than needs_minor may be missing: ask first. */
#define MF_HAS(host, member)                                                   \
    ((host)->size >= offsetof(mf_host, member) + sizeof((host)->member))

/* ---- call ---- */

/* Aligned for anything, cleared, alive until the call's events are settled. */
static inline void *mf_alloc(mf_call *c, size_t size)
{
    return c->h->alloc(c, size);
}

/* One text from several. The copy ends in a NUL. */
static inline mf_str mf_join(mf_call *c, const mf_str *parts, size_t n)
{
    return c->h->join(c, parts, n);
}
#define MF_JOIN(c, ...)                                                        \
    mf_join((c), (const mf_str[]){ __VA_ARGS__ },                              \
            sizeof((const mf_str[]){ __VA_ARGS__ }) / sizeof(mf_str))

static inline mf_val mf_meta(const mf_call *c, uint32_t what)
{
    return c->h->meta(c, what);
}

/* Unix time in ms. Holds still for the length of a call. */
static inline int64_t mf_now(const mf_call *c)
{
    return c->h->now(c);
}

/* Unix time in ms at which a [block] function must have returned. */
static inline int64_t mf_deadline(const mf_call *c)
{
    return c->h->deadline(c);
}

/* Bytes seeded by the destination and the events in hand: the same events
 * draw the same bytes on a retry, others draw others. Fit for an idempotency
 * key, not for a secret. */
static inline void mf_chance(mf_call *c, void *to, size_t n)
{
    c->h->chance(c, to, n);
}

/* A version 4 UUID drawn from mf_chance. */
static inline mf_str mf_uuid(mf_call *c)
{
    return c->h->uuid(c);
}

static inline void mf_log(mf_call *c, int32_t level, mf_str message)
{
    c->h->log(c, level, message);
}

/* The entry of the plugin's own array that is being run: one function may
 * serve many actions and read what differs from behind the entry, see
 * action_size. NULL in create. */
static inline const mf_action *mf_action_of(const mf_call *c)
{
    return c->h->action(c);
}

/* ---- event and payload ---- */

/* The event as it was accepted. */
static inline mf_val mf_event_json(const mf_event *e)
{
    return e->h->event(e);
}

/* What the mapping made of it: validated against the action's fields. */
static inline mf_val mf_payload(const mf_event *e)
{
    return e->h->payload(e);
}

/* The value at the action's paths[path] in the payload: the fast way. */
static inline mf_val mf_field(const mf_event *e, uint32_t path)
{
    return e->h->field(e, path);
}

/* The name of the source that it came from, as configured; "" if nobody said.
 * A batch may have events of several. */
static inline mf_str mf_source(const mf_event *e)
{
    return e->h->source(e);
}

/* 1 joins the audience, 0 leaves it, -1 the event does not say. */
static inline int32_t mf_membership(const mf_event *e)
{
    return e->h->membership(e);
}

/* ---- values ---- */

/* By a path such as "a.b[0]"; the slow way, for paths not known before. */
static inline mf_val mf_get(const mf_call *c, mf_val v, const char *path)
{
    return c->h->get(v, mf_cstr(path));
}

/* The next member or element; 0 past the end. key is unescaped, "" in an
 * array. */
static inline uint32_t mf_next(mf_call *c, mf_val v, mf_iter *it, mf_str *key,
                               mf_val *value)
{
    return c->h->next(c, v, it, key, value);
}

/* A string unescaped; a number or boolean as JavaScript prints it; "" for
 * null and absent; other values as their JSON text. */
static inline mf_str mf_text(mf_call *c, mf_val v)
{
    return c->h->text(c, v);
}

static inline int64_t mf_integer(const mf_call *c, mf_val v, int64_t otherwise)
{
    return c->h->integer(v, otherwise);
}

static inline double mf_number(const mf_call *c, mf_val v, double otherwise)
{
    return c->h->number(v, otherwise);
}

static inline uint32_t mf_is_true(mf_val v)
{
    return v.type == MF_BOOL && v.raw[0] == 't';
}

/* Neither absent nor null. */
static inline uint32_t mf_given(mf_val v)
{
    return v.type > MF_NULL;
}

/* As JavaScript's if(v): absent, null, false, 0 and "" are not. */
static inline uint32_t mf_truthy(const mf_call *c, mf_val v)
{
    switch (v.type) {
    case MF_ABSENT:
    case MF_NULL:
        return 0;
    case MF_BOOL:
        return v.raw[0] == 't';
    case MF_NUMBER:
        return c->h->number(v, 0) != 0;
    case MF_STRING:
        return v.len > 2;
    default:
        return 1;
    }
}

/* Text read as JSON; MF_ABSENT if it is not. */
static inline mf_val mf_parse(mf_call *c, mf_str json)
{
    return c->h->parse(c, json);
}

/* As JSON.stringify writes the value: no white space, the shortest escapes and
 * numbers; integers keep all their digits. "" if absent. */
static inline mf_str mf_stringify(mf_call *c, mf_val v)
{
    return c->h->stringify(c, v);
}

/* Unix ms of an ISO 8601 string, or of a number of seconds or ms. */
static inline int64_t mf_time(const mf_call *c, mf_val v, int64_t otherwise)
{
    return c->h->time_of(v, otherwise);
}

/* "2026-01-12T10:00:00.000Z" */
static inline mf_str mf_iso(mf_call *c, int64_t ms)
{
    return c->h->iso(c, ms);
}

/* ---- writing JSON ----
 * key is NULL at the root, inside an array, and after w_key(). */

/* Starts a value of its own; mf_done() ends it. */
static inline mf_writer *mf_value(mf_call *c)
{
    return c->h->value(c);
}

static inline mf_val mf_done(mf_writer *w)
{
    return w->h->done(w);
}

static inline void mf_w_object(mf_writer *w, const char *key)
{
    w->h->w_object(w, key);
}

static inline void mf_w_array(mf_writer *w, const char *key)
{
    w->h->w_array(w, key);
}

static inline void mf_w_end(mf_writer *w)
{
    w->h->w_end(w);
}

static inline void mf_w_key(mf_writer *w, mf_str key)
{
    w->h->w_key(w, key);
}

/* Copies a value as it stands. Absent writes nothing, not even the key. */
static inline void mf_w_val(mf_writer *w, const char *key, mf_val v)
{
    w->h->w_val(w, key, v);
}

static inline void mf_w_str(mf_writer *w, const char *key, mf_str s)
{
    w->h->w_str(w, key, s);
}

static inline void mf_w_int(mf_writer *w, const char *key, int64_t v)
{
    w->h->w_int(w, key, v);
}

/* As JavaScript prints it; NaN and infinities are null. */
static inline void mf_w_num(mf_writer *w, const char *key, double v)
{
    w->h->w_num(w, key, v);
}

static inline void mf_w_bool(mf_writer *w, const char *key, uint32_t v)
{
    w->h->w_bool(w, key, v);
}

/* Bytes as they are, for a body that is no JSON; no comma, no check. */
static inline void mf_w_raw(mf_writer *w, mf_str bytes)
{
    w->h->w_raw(w, bytes);
}

/* ---- requests ----
 * All requests queued by one call of perform or judge go out at once; what
 * must wait for an answer is queued by judge. */

static inline mf_request *mf_send(mf_call *c, const char *method, mf_str url)
{
    return c->h->request(c, method, url);
}

/* Replaces an earlier one of that name. A value that HTTP does not allow
 * rejects the events. */
static inline void mf_header(mf_request *r, const char *name, mf_str value)
{
    r->h->header(r, name, value);
}

/* Appends name=value to the URL's query, percent-encoded. */
static inline void mf_query(mf_request *r, const char *name, mf_str value)
{
    r->h->query(r, name, value);
}

static inline mf_writer *mf_body(mf_request *r, const char *content_type)
{
    return r->h->body(r, content_type);
}

static inline mf_writer *mf_json_body(mf_request *r)
{
    return r->h->body(r, "application/json");
}

/* The body as given; copied. */
static inline void mf_body_text(mf_request *r, const char *content_type,
                                mf_str bytes)
{
    r->h->body_text(r, content_type, bytes);
}

/* Appends to an application/x-www-form-urlencoded body. */
static inline void mf_form(mf_request *r, const char *name, mf_str value)
{
    r->h->form(r, name, value);
}

/* Which of the call's events the request carries; all of them if never
 * called. A follow-up covers what its predecessor did, unless it says. */
static inline void mf_covers(mf_request *r, uint32_t index)
{
    r->h->covers(r, index);
}

/* Index of the k-th event covered, MF_ALL past the end. */
static inline uint32_t mf_covered(const mf_request *r, uint32_t k)
{
    return r->h->covered(r, k);
}

static inline void mf_option(mf_request *r, uint32_t id, int64_t value)
{
    r->h->option(r, id, value);
}

/* What judge is to know when the answer comes. state is arena memory. */
static inline void mf_tag(mf_request *r, uint32_t step, void *state)
{
    r->h->tag(r, step, state);
}

static inline uint32_t mf_step(const mf_request *r, void **state)
{
    return r->h->step(r, state);
}

/* [block] Native plugins, in deliver: sends the request now and waits for its
 * answer, as long as the destination's timeout or MF_OPT_TIMEOUT_MS allows;
 * MF_OPT_DELAY_MS is waited for before that.
 * The host adds and refuses what it does for others: auth and signatures,
 * headers, `hosts`, private addresses. It does not count against
 * MF_REQUESTS_MAX. What is not sent so is not sent at all. */
static inline const mf_response *mf_exchange(mf_request *r)
{
    return r->h->exchange(r);
}

/* ---- answers ---- */

static inline int32_t mf_status(const mf_response *a) /* 0: none came */
{
    return a->h->status(a);
}

static inline uint32_t mf_failure(const mf_response *a)
{
    return a->h->failure(a);
}

static inline mf_str mf_answer_header(const mf_response *a, const char *name)
{
    return a->h->answer_header(a, name);
}

/* MF_ABSENT if the body is not JSON. */
static inline mf_val mf_answer_json(const mf_response *a)
{
    return a->h->answer_json(a);
}

static inline mf_str mf_answer_bytes(const mf_response *a)
{
    return a->h->answer_bytes(a);
}

/* In judge: for so long, MF_KEEP_MAX_MS at most, the answer may be given again
 * to a GET of the same URL of this destination, which is then not sent; its
 * headers are not kept. For what changes seldom and is asked for with each
 * event, once it is known to serve. 0: ask again the next time. Only an answer
 * of 2xx to a GET without a body is kept, and the host may forget it. */
static inline void mf_keep(const mf_response *a, int64_t ms)
{
    a->h->keep(a, ms);
}

/* ---- settling ---- */

/* The result of one event of the call, or of MF_ALL. The first one counts. */
static inline void mf_result(mf_call *c, uint32_t index, int32_t status,
                             mf_str message)
{
    c->h->result(c, index, status, message);
}

/* All events not yet settled get this result; returns status, so that
 * `return mf_fail(c, MF_INVALID, MF_STR("..."))` reads as it acts. Requests
 * queued by the same call are not sent. */
static inline int32_t mf_fail(mf_call *c, int32_t status, mf_str message)
{
    return c->h->fail(c, status, message);
}

/* Not before this many ms from now; for results that are to be retried. */
static inline void mf_retry_after(mf_call *c, int64_t ms)
{
    c->h->retry_after(c, ms);
}

/* ---- digests and encodings; binary results are plain mf_str ---- */

static inline mf_str mf_digest(mf_call *c, uint32_t algorithm, mf_str data)
{
    return c->h->digest(c, algorithm, data);
}

static inline mf_str mf_hmac(mf_call *c, uint32_t algorithm, mf_str key,
                             mf_str data)
{
    return c->h->hmac(c, algorithm, key, data);
}

static inline mf_str mf_encode(mf_call *c, uint32_t how, mf_str data)
{
    return c->h->encode(c, how, data);
}

/* "" with ptr NULL when the text is not so encoded. */
static inline mf_str mf_decode(mf_call *c, uint32_t how, mf_str text)
{
    return c->h->decode(c, how, text);
}

/* Hashes text unless it already looks like such a digest. */
static inline mf_str mf_smart_hash(mf_call *c, uint32_t algorithm,
                                   uint32_t how, mf_str text)
{
    return c->h->smart_hash(c, algorithm, how, text);
}

/* ---- what the plugin offers ---- */

struct mf_action {
    /* As in the manifest; or one of "testAuthentication", "onDelete" and
     * "refreshAccessToken", whose event carries only what those have. */
    const char *slug;
    /* Payload paths that mf_field() reads by index. May be NULL. */
    const char *const *paths;
    uint64_t path_count;

    /* [pure] One event: queue requests, or give a result. Returns MF_OK,
     * MF_SKIP, or what mf_fail() returned. */
    int32_t (*perform)(const void *self, mf_call *, const mf_event *);
    /* [pure] Optional. Several events of one batch (the manifest's batch
     * limits and keys); each must end up covered by a request or be given a
     * result. Without it a batch is performed one by one. */
    int32_t (*perform_batch)(const void *self, mf_call *,
                             const mf_event *const *, uint32_t n);
    /* [pure] Optional. An answer, or none (status 0). May queue follow-ups
     * and return MF_CONTINUE; MF_OK lets the host judge by the status;
     * another value is the result of the events covered. */
    int32_t (*judge)(const void *self, mf_call *, const mf_request *,
                     const mf_response *);
    /* [block] Native plugins, instead of the three above: do the I/O and give
     * each event its result; MF_OK means all others are delivered, and that
     * the far side said so. */
    int32_t (*deliver)(void *self, mf_call *, const mf_event *const *,
                       uint32_t n);
    /* 1.0 ends here */
};

typedef struct mf_destination {
    uint32_t size;        /* sizeof(mf_destination) */
    uint32_t abi_minor;   /* MF_ABI_MINOR it was built with */
    uint32_t needs_minor; /* oldest host it can live with */
    /* The array's stride: sizeof(mf_action), or of a struct of the plugin's
     * own that begins with one. The host reads no further than mf_action
     * reached in abi_minor. */
    uint32_t action_size;
    const mf_action *actions;
    uint64_t action_count;

    /* [pure] Optional. An instance, kept for as long as the settings hold;
     * what it allocates lives as long and is read-only from then on, but for
     * native plugins. Bad settings: mf_fail() and NULL. NULL without a
     * failure is a fine instance. */
    void *(*create)(mf_call *);
    /* [block] Native, optional. About once a second when idle. */
    void (*idle)(void *self, mf_call *);
    /* [block] Native, optional. The last call. */
    void (*close)(void *self, mf_call *);
    /* 1.0 ends here */
} mf_destination;

#define MF_EXPORT __attribute__((visibility("default")))
extern MF_EXPORT const mf_destination mf_destination_v1;

#define MF_HEADER                                                              \
    .size = sizeof(mf_destination), .abi_minor = MF_ABI_MINOR,                 \
    .action_size = sizeof(mf_action)

/* The whole descriptor of a plugin that has nothing but actions. */
#define MF_DESTINATION(array)                                                  \
    MF_EXPORT const mf_destination mf_destination_v1 = {                       \
        MF_HEADER, .actions = (array),                                         \
        .action_count = sizeof(array) / sizeof *(array)                        \
    }

/* ---- growth ----
 * 1. Members are appended; none is moved, removed, retyped or given new sense.
 * 2. A reader looks at a member only if the writer's size reaches past it.
 *    Missing means zero, and zero means what the older version did.
 * 3. A new status, option or meta goes only to a side whose minor has it.
 * 4. Structs hold no bit-fields, enums, longs, or packing.
 * 5. What these cannot express is major 2: a second symbol, which a .so may
 *    export beside the first. Version 1 keeps loading.
 * 1.0 is a candidate, not frozen: its version number stays 1.0 until it is. */
#if UINTPTR_MAX == UINT64_MAX
_Static_assert(sizeof(mf_str) == 16 && sizeof(mf_val) == 16, "1.0 layout");
_Static_assert(sizeof(mf_action) == 56, "1.0 layout");
_Static_assert(offsetof(mf_destination, close) == 48, "1.0 layout");
#endif
#endif
