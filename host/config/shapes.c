/* SPDX-License-Identifier: Apache-2.0
 *
 * shapes.c - see shapes.h. A new key is one row here and one field in
 * config.h. */
#include "config/shapes.h"

#define AT(type, field) offsetof(struct type, field)
#define SECOND    1000.0
#define HOUR      3600000.0
#define DAY       86400000.0
#define KIB       1024.0
#define MIB       (1024.0 * KIB)
#define TIB       (1024.0 * 1024.0 * MIB)

static const char *const engines[] = { "local", "kafka", NULL };
static const char *const orders[] = { "none", "user", NULL };
static const char *const commons[] = { "allow", "omit", "block", NULL };
static const char *const levels[] = { "error", "warn", "info", "debug", NULL };

static const struct member tls_members[] = {
    { "certificate", KIND_FILE, AT(conf_tls, certificate), .required = true,
      .help = "the certificate and its chain, PEM" },
    { "key", KIND_FILE, AT(conf_tls, key), .required = true,
      .help = "the private key, PEM" },
    { "listen", KIND_ADDRESSES, AT(conf_tls, listen), .min = 1, .max = 16,
      .help = "where HTTPS is spoken, beside HTTP at \"listen\" of "
              "\"ingest\"; without it all of those speak HTTPS" },
    { NULL },
};
static const struct shape shape_tls = { "\"tls\"", tls_members,
                                        sizeof(struct conf_tls) };

static const struct member ingest_members[] = {
    { "listen", KIND_ADDRESSES, AT(conf_ingest, listen),
      "[\"127.0.0.1:8080\"]", .min = 1, .max = 16,
      .help = "where sources send to; port 0 takes a free one" },
    { "tls", KIND_OBJECT, AT(conf_ingest, tls), .more = &shape_tls,
      .help = "serve HTTPS; without it HTTP" },
    { "trusted_proxies", KIND_BLOCKS, AT(conf_ingest, trusted_proxies),
      .min = 1, .max = 256,
      .help = "who is believed when it tells whose requests it passes on" },
    { "proxy_protocol", KIND_BOOL, AT(conf_ingest, proxy_protocol), "false",
      .help = "connections of trusted_proxies begin with a PROXY header" },
    { "max_event_bytes", KIND_SIZE, AT(conf_ingest, max_event_bytes), "32768",
      .min = KIB, .max = MIB, /* as large as a record of the journal */
      .help = "the largest event accepted" },
    { "max_batch_bytes", KIND_SIZE, AT(conf_ingest, max_batch_bytes),
      "513000", .min = KIB, .max = 4 * MIB, /* see BATCH_KEPT_MAX */
      .help = "the largest request body accepted, decoded" },
    { "dedupe_window", KIND_DURATION, AT(conf_ingest, dedupe_window_ms),
      "\"24h\"", .min = 0, .max = 30 * DAY,
      .help = "how long a messageId is remembered; 0 keeps duplicates" },
    { "dedupe_memory", KIND_SIZE, AT(conf_ingest, dedupe_memory),
      "\"256MiB\"", .min = 8 * MIB, .max = 65536 * MIB,
      .help = "the most that messageIds may take; the oldest go first" },
    { "max_connections", KIND_INT, AT(conf_ingest, max_connections), "16384",
      .min = 16, .max = 1000000,
      .help = "the most connections; more are answered 503" },
    { "max_connections_per_peer", KIND_INT,
      AT(conf_ingest, max_connections_per_peer), "8192", .min = 1,
      .max = 1000000,
      .help = "of those from one address, an IPv4 one or an IPv6 /64" },
    { "header_timeout", KIND_DURATION, AT(conf_ingest, header_timeout_ms),
      "\"10s\"", .min = SECOND, .max = 600 * SECOND,
      .help = "how long a request's headers may take to come; after as long "
              "again its body must come at 10 KB a second" },
    { "idle_timeout", KIND_DURATION, AT(conf_ingest, idle_timeout_ms),
      "\"60s\"", .min = SECOND, .max = HOUR,
      .help = "how long a connection may wait between two requests" },
    { "threads", KIND_INT, AT(conf_ingest, threads), "1",
      .min = 1, .max = 64, /* INTAKE_LOOPS_MAX */
      .help = "how many threads take requests" },
    { NULL },
};
static const struct shape shape_ingest = { "\"ingest\"", ingest_members,
                                           sizeof(struct conf_ingest) };

static const struct member admin_members[] = {
    { "listen", KIND_ADDRESS, AT(conf_admin, listen), "\"127.0.0.1:8081\"",
      .help = "where dashboard, status and metrics are served" },
    { "token", KIND_TOKEN, AT(conf_admin, token), .min = 1, .max = 1024,
      .help = "the bearer token to ask for; needed off loopback" },
    { NULL },
};
static const struct shape shape_admin = { "\"admin\"", admin_members,
                                          sizeof(struct conf_admin) };

static const struct member kafka_members[] = {
    { "brokers", KIND_BROKERS, AT(conf_kafka, brokers), .required = true,
      .min = 1, .max = 100, .help = "brokers to begin with, [\"host:9092\"]" },
    { "topic", KIND_TEXT, AT(conf_kafka, topic), .required = true, .min = 1,
      .max = 249, .help = "the topic that holds the events" },
    { "properties", KIND_TEXT_MAP, AT(conf_kafka, properties),
      .help = "librdkafka's own settings, as strings" },
    { NULL },
};
static const struct shape shape_kafka = { "\"kafka\"", kafka_members,
                                          sizeof(struct conf_kafka) };

static const struct member journal_members[] = {
    { "engine", KIND_CHOICE, AT(conf_journal, engine), "\"local\"",
      .more = engines, .help = "where accepted events are kept" },
    { "retention", KIND_DURATION, AT(conf_journal, retention_ms), "\"72h\"",
      .min = SECOND, .max = 3650 * DAY,
      .help = "how long events are kept, delivered or not" },
    { "max_bytes", KIND_SIZE, AT(conf_journal, max_bytes), "\"20GiB\"",
      .min = MIB, .max = 1024 * TIB,
      .help = "the most the journal may take; the oldest go first" },
    { "kafka", KIND_OBJECT, AT(conf_journal, kafka), .more = &shape_kafka,
      .help = "with engine \"kafka\": the cluster" },
    { NULL },
};
static const struct shape shape_journal = { "\"journal\"", journal_members,
                                            sizeof(struct conf_journal) };

static const struct member track_members[] = {
    { "allow_unplanned_events", KIND_BOOL,
      AT(conf_track_controls, allow_unplanned_events), "true",
      .help = "false blocks track events that the plan does not know" },
    { "allow_unplanned_event_properties", KIND_BOOL,
      AT(conf_track_controls, allow_unplanned_properties), "true",
      .help = "false takes out properties that the plan does not know" },
    { "allow_event_on_violations", KIND_BOOL,
      AT(conf_track_controls, allow_event_on_violations), "true",
      .help = "false blocks events that violate their schema" },
    { "allow_properties_on_violations", KIND_BOOL,
      AT(conf_track_controls, allow_properties_on_violations), "true",
      .help = "false takes out properties that violate their schema" },
    { "common_event_on_violations", KIND_CHOICE,
      AT(conf_track_controls, common), "\"allow\"", .more = commons,
      .help = "what becomes of events that violate the common schema" },
    { "blocked_events", KIND_TEXTS, AT(conf_track_controls, blocked),
      .help = "names of track events that are blocked, plan or none" },
    { NULL },
};
static const struct shape shape_track = {
    "\"track\"", track_members, sizeof(struct conf_track_controls)
};

static const struct member traits_members[] = {
    { "allow_unplanned_traits", KIND_BOOL,
      AT(conf_traits_controls, allow_unplanned_traits), "true",
      .help = "false takes out traits that the plan does not know" },
    { "allow_traits_on_violations", KIND_BOOL,
      AT(conf_traits_controls, allow_traits_on_violations), "true",
      .help = "false takes out traits that violate their schema" },
    { "common_event_on_violations", KIND_CHOICE,
      AT(conf_traits_controls, common), "\"allow\"", .more = commons,
      .help = "what becomes of calls that violate the common schema" },
    { "blocked_traits", KIND_TEXTS, AT(conf_traits_controls, blocked),
      .help = "names of traits that are taken out, plan or none" },
    { NULL },
};
static const struct shape shape_identify = {
    "\"identify\"", traits_members, sizeof(struct conf_traits_controls)
};
static const struct shape shape_group = {
    "\"group\"", traits_members, sizeof(struct conf_traits_controls)
};

static const struct member schema_members[] = {
    { "track", KIND_OBJECT, AT(conf_schema, track), .more = &shape_track,
      .help = "of track events; also of pages and screens" },
    { "identify", KIND_OBJECT, AT(conf_schema, identify),
      .more = &shape_identify, .help = "of identify calls" },
    { "group", KIND_OBJECT, AT(conf_schema, group), .more = &shape_group,
      .help = "of group calls" },
    { "forwarding_violations_to", KIND_NAME, AT(conf_schema, violations_to),
      .help = "a source that gets an event for each violation" },
    { "forwarding_blocked_events_to", KIND_NAME, AT(conf_schema, blocked_to),
      .help = "a source that gets the events that are blocked" },
    { NULL },
};
const struct shape shape_schema = { "\"schema\"", schema_members,
                                    sizeof(struct conf_schema) };

static const struct member source_members[] = {
    { "write_key", KIND_WRITE_KEY, AT(conf_source, write_key),
      .required = true, .min = 1, .max = 256,
      .help = "what senders name themselves with" },
    { "destinations", KIND_NAMES, AT(conf_source, destination_names),
      .help = "names of the destinations its events go to" },
    { "tracking_plan", KIND_FILE, AT(conf_source, tracking_plan),
      .help = "a file that says which events are valid" },
    { "schema", KIND_OBJECT, AT(conf_source, schema), .more = &shape_schema,
      .help = "what becomes of events that are not as the plan says" },
    { "enabled", KIND_BOOL, AT(conf_source, enabled), "true",
      .help = "false refuses its events" },
    { "rate", KIND_RATE, AT(conf_source, rate),
      .help = "the most events in a time, more are answered 429; else no "
              "limit" },
    { "burst", KIND_INT, AT(conf_source, burst), .min = 1, .max = 1e9,
      .help = "events that may come at once; else a second's worth" },
    { NULL },
};
const struct shape shape_source = { "a source", source_members,
                                    sizeof(struct conf_source) };

static const struct member subscription_members[] = {
    { "action", KIND_TEXT, AT(conf_subscription, action), .required = true,
      .min = 1, .max = 128, .help = "the slug of the plugin's action" },
    { "name", KIND_TEXT, AT(conf_subscription, name), .min = 1, .max = 256,
      .help = "what people call it" },
    { "subscribe", KIND_SUBSCRIBE, AT(conf_subscription, subscribe),
      .help = "FQL: the events that start it; else the action's own" },
    { "mapping", KIND_MAPPING, AT(conf_subscription, mapping),
      .help = "from event to payload; else the fields' defaults" },
    { "enabled", KIND_BOOL, AT(conf_subscription, enabled), "true",
      .help = "false leaves it out" },
    { NULL },
};
static const struct shape shape_subscription = {
    "a subscription", subscription_members, sizeof(struct conf_subscription)
};

static const struct member destination_members[] = {
    { "plugin", KIND_NAME, AT(conf_destination, plugin), .required = true,
      .help = "the plugin's slug, as `manifold plugins` lists it" },
    { "settings", KIND_JSON, AT(conf_destination, settings), "{}",
      .help = "what the plugin asks for" },
    { "subscriptions", KIND_OBJECTS, AT(conf_destination, subscriptions),
      .min = 1, .max = 200, .more = &shape_subscription,
      .help = "which events become which action; else the plugin's presets" },
    { "filter", KIND_FILTER, AT(conf_destination, filter),
      .help = "FQL: the only events it gets" },
    { "concurrency", KIND_INT, AT(conf_destination, concurrency), "64",
      .min = 1, .max = 4096, .help = "the most requests under way at a time" },
    { "rate", KIND_RATE, AT(conf_destination, rate),
      .help = "the most requests in a time; else no limit" },
    { "retry_rate", KIND_RATE, AT(conf_destination, retry_rate),
      .help = "the most repeated requests in a time; else a fifth of the "
              "first ones, or 10 a second if that is more" },
    { "order", KIND_CHOICE, AT(conf_destination, order), "\"none\"",
      .more = orders, .help = "\"user\" keeps each user's events in order" },
    { "ttl", KIND_DURATION, AT(conf_destination, ttl_ms), "\"4h\"", .min = 1,
      .max = 365 * DAY,
      .help = "how long to try an event before it is dead" },
    { "timeout", KIND_DURATION, AT(conf_destination, timeout_ms), "\"10s\"",
      .min = 1, .max = HOUR, .help = "how long to wait for an answer" },
    { "connect_timeout", KIND_DURATION,
      AT(conf_destination, connect_timeout_ms),
      "\"5s\"", .min = 1, .max = HOUR,
      .help = "of that, for the connection, TLS included" },
    { "first_byte_timeout", KIND_DURATION,
      AT(conf_destination, first_byte_timeout_ms), .min = 1, .max = HOUR,
      .help = "of that, until the answer begins; else no limit of its own" },
    { "batch_wait", KIND_DURATION, AT(conf_destination, batch_wait_ms),
      "\"1s\"", .min = 0, .max = HOUR,
      .help = "how long a batch may wait to be filled" },
    { "endpoint", KIND_ORIGIN, AT(conf_destination, endpoint),
      .help = "send to this origin instead of the real one" },
    { "allow_private", KIND_BOOL, AT(conf_destination, allow_private),
      "false", .help = "may it reach private and loopback addresses" },
    { "isolate", KIND_BOOL, AT(conf_destination, isolate), "false",
      .help = "give it a worker process of its own" },
    { NULL },
};
const struct shape shape_destination = {
    "a destination", destination_members, sizeof(struct conf_destination)
};

static const struct member top_members[] = {
    { "data_dir", KIND_PATH, AT(config, data_dir), "\"/var/lib/manifold\"",
      .help = "where journal and state are kept" },
    { "plugins_dir", KIND_PATH, AT(config, plugins_dir),
      "\"/usr/lib/manifold/plugins\"", .help = "where plugins are found" },
    { "ingest", KIND_OBJECT, AT(config, ingest), .more = &shape_ingest,
      .help = "how events come in" },
    { "admin", KIND_OBJECT, AT(config, admin), .more = &shape_admin,
      .help = "how people look in" },
    { "journal", KIND_OBJECT, AT(config, journal), .more = &shape_journal,
      .help = "how accepted events are kept" },
    { "shutdown_seconds", KIND_SECONDS, AT(config, shutdown_ms), "30",
      .min = 0, .max = 3600, .help = "how long a stop may take to drain" },
    { "log_level", KIND_CHOICE, AT(config, log_level), "\"info\"",
      .more = levels, .help = "the least that is logged" },
    { "sources", KIND_ENTRIES, AT(config, sources), .more = &shape_source,
      .help = "who sends events" },
    { "destinations", KIND_ENTRIES, AT(config, destinations),
      .more = &shape_destination, .help = "where events go" },
    { NULL },
};
const struct shape shape_top = { "the configuration", top_members,
                                 sizeof(struct config) };
