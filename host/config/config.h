/* SPDX-License-Identifier: Apache-2.0
 *
 * config.h - the configuration, read into plain structs with exact places.
 *
 * config_load() reads the main file and conf.d/?*.json beside it, replaces
 * ${NAME} and ${file:PATH}, checks everything that can be known without a
 * plugin, and tells all faults at once. What a destination's settings and
 * subscriptions must hold is its manifest's to say: they stay JSON here, with
 * a way back from any byte of them to FILE:LINE:COLUMN.
 *
 * Everything in a struct config belongs to it and ends with config_free(). A
 * loaded config never changes; any number of threads may read it. */
#ifndef CONFIG_CONFIG_H
#define CONFIG_CONFIG_H

#include "base/faults.h"
#include "base/log.h"
#include "base/redact.h"
#include "json/json.h"

#include <manifold/types.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CONFIG_FILE_MAX   (16u << 20) /* bytes of one file */
#define CONFIG_TEXT_MAX   (64u << 20) /* of one file after replacement */
#define CONFIG_SECRET_MAX 65536       /* of what one ${} stands for */
#define CONFIG_FILES_MAX  256         /* in conf.d */
#define CONFIG_NAME_MAX   64          /* of a source's or destination's name */
#define CONFIG_PRINT      33          /* a fingerprint: 128 bits in hex */

struct conf_address {
    const char *text; /* as configured: "127.0.0.1:8080", "[::1]:0", "*:80" */
    const char *host; /* a numeric address; NULL: all addresses */
    uint16_t port;    /* 0: whatever is free */
    const char *socket; /* "fd:NAME": the NAME of one that is passed in */
    bool loopback;
};

struct conf_addresses {
    struct conf_address *list;
    size_t count;
};

struct conf_texts {
    const char **list;
    size_t count;
};

struct conf_tls {
    const char *certificate, *key; /* absolute; both NULL: no TLS */
    struct conf_addresses listen; /* none: all of ingest's */
};

struct conf_ingest {
    struct conf_addresses listen; /* at least one */
    struct conf_tls tls;
    struct conf_texts trusted_proxies; /* blocks of addresses */
    bool proxy_protocol;
    uint64_t max_event_bytes, max_batch_bytes;
    int64_t dedupe_window_ms;
    uint64_t dedupe_memory;
    int64_t max_connections, max_connections_per_peer;
    int64_t header_timeout_ms, idle_timeout_ms;
    int64_t threads;
};

struct conf_admin {
    struct conf_address listen;
    const char *token; /* NULL: none */
};

enum conf_engine { CONF_ENGINE_LOCAL, CONF_ENGINE_KAFKA };

struct conf_kafka {
    struct conf_texts brokers;
    const char *topic;
    mf_val properties; /* object of strings, or MF_ABSENT */
};

struct conf_journal {
    int engine; /* enum conf_engine */
    int64_t retention_ms;
    uint64_t max_bytes;
    struct conf_kafka kafka;
};

enum conf_common { CONF_COMMON_ALLOW, CONF_COMMON_OMIT, CONF_COMMON_BLOCK };

/* What becomes of track events, pages and screens that are not planned. */
struct conf_track_controls {
    bool allow_unplanned_events, allow_unplanned_properties;
    bool allow_event_on_violations, allow_properties_on_violations;
    int common; /* enum conf_common */
    struct conf_texts blocked;
};

struct conf_traits_controls { /* of identify or group calls */
    bool allow_unplanned_traits, allow_traits_on_violations;
    int common; /* enum conf_common */
    struct conf_texts blocked;
};

struct conf_schema {
    struct conf_track_controls track;
    struct conf_traits_controls identify, group;
    const char *violations_to, *blocked_to; /* other sources, or NULL */
};

struct conf_source {
    const char *name;
    const char *write_key;
    bool enabled; /* false: its write key is not accepted */
    double rate;   /* events a second; 0: no limit */
    int64_t burst; /* events at once; 0: a second's worth */
    struct conf_texts destination_names; /* as written */
    size_t *destinations; /* indexes into config.destinations.list, each once */
    size_t destination_count;
    const char *tracking_plan; /* absolute path, or NULL */
    struct conf_schema schema;
    char fingerprint[CONFIG_PRINT];
};

struct conf_subscription {
    const char *action;
    const char *name; /* NULL: not given */
    mf_str subscribe; /* FQL that compiles; ptr NULL: the action's default */
    mf_val mapping;   /* object; MF_ABSENT: the fields' defaults */
    bool enabled;
};

struct conf_subscriptions {
    struct conf_subscription *list;
    size_t count;
    mf_val json; /* the array as it stands; MF_ABSENT when not given */
};

enum conf_order { CONF_ORDER_NONE, CONF_ORDER_USER };

struct conf_destination {
    const char *name;
    const char *plugin; /* NULL only after a fault */
    mf_val settings;    /* an object, expanded; "{}" when not given */
    /* count 0: none given, so the plugin's presets */
    struct conf_subscriptions subscriptions;
    mf_str filter; /* FQL that compiles; ptr NULL: none */
    int64_t concurrency;
    double rate; /* requests a second; 0: no limit */
    double retry_rate; /* of repeated ones; 0: the worker's own choice */
    int order;   /* enum conf_order */
    int64_t ttl_ms, timeout_ms, batch_wait_ms;
    int64_t connect_timeout_ms, first_byte_timeout_ms; /* 0: no limit */
    const char *endpoint; /* "http://host:port", no slash at the end, or NULL */
    bool allow_private, isolate;
    char fingerprint[CONFIG_PRINT];
};

struct conf_sources {
    struct conf_source *list;
    size_t count;
};

struct conf_destinations {
    struct conf_destination *list;
    size_t count;
};

struct config {
    const char *path;                   /* the main file, as given */
    const char *data_dir, *plugins_dir; /* absolute */
    struct conf_ingest ingest;
    struct conf_admin admin;
    struct conf_journal journal;
    int64_t shutdown_ms;
    int log_level; /* enum log_level */
    struct conf_sources sources; /* in the order of files and in them */
    struct conf_destinations destinations;
    struct redact *secrets; /* what came out of ${}, tokens, write keys */
    struct config_private *private;
};

/* Where ${NAME} looks: NULL when there is no such variable. */
struct config_env {
    const char *(*lookup)(void *context, const char *name);
    void *context;
};

/* 0, or -1 when f holds at least one error. *out is set whenever the main
 * file is JSON, also beside -1, so that a checker can go on to the plugins;
 * then only what has no fault may be relied on. Otherwise *out is NULL. No
 * side effect. Texts of faults hold no secrets. */
int config_load(const char *path, struct config **out, struct faults *f);
int config_load_env(const char *path, const struct config_env *env,
                    struct config **out, struct faults *f);
void config_free(struct config *c); /* wipes what was secret; NULL is fine */

/* ---- places ---- */

/* Of a member, by its address in the struct: config_place(c, &d->timeout_ms).
 * A member that has its default has the place of the object it is missing
 * from. Also of an entry: config_place(c, &c->destinations.list[i]), and of one
 * element of a list: config_place(c, &s->destination_names.list[i]). */
struct place config_place(const struct config *c, const void *member);
/* Of a byte of the expanded JSON that an mf_val of this config points to:
 * config_place_of(c, v.raw). Inside what a ${} stands for: the place of ${}. */
struct place config_place_of(const struct config *c, const char *at);
/* Of a byte of the text of a string value, counted after unescaping. */
struct place config_place_in(const struct config *c, mf_val string,
                             size_t offset);
/* Whether a ${} could not be replaced inside v; that was told already. */
bool config_is_broken(const struct config *c, mf_val v);

/* ---- comparing, for reload ---- */

enum config_change {
    CONFIG_ADDED,
    CONFIG_REMOVED,
    CONFIG_CHANGED,
    CONFIG_UNCHANGED
};

/* kind is "source", "destination" or "section"; the sections are data_dir,
 * plugins_dir, ingest, admin, journal, shutdown_seconds and log_level. */
typedef void config_diff_fn(void *context, const char *kind, const char *name,
                            enum config_change change);
/* By fingerprints of what is configured: white space, comments, order of keys
 * and the files things stand in do not count; the content of files that are
 * named (certificates, tracking plans) does. */
void config_diff(const struct config *before, const struct config *after,
                 config_diff_fn *tell, void *context);

/* The n-th address that ingest listens on, and whether TLS is spoken there;
 * NULL when there are no more. */
const struct conf_address *config_listen(const struct config *c, size_t n,
                                         bool *tls);
struct conf_source *config_source(const struct config *c, mf_str name);
struct conf_destination *config_destination(const struct config *c,
                                            mf_str name);

/* Every key there is, as an array of {key, type, default, required, help},
 * for help, manual and tests. */
void config_describe(struct json_out *w);

#endif
