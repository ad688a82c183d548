/* SPDX-License-Identifier: Apache-2.0
 *
 * manifest.h - what a plugin says of itself, read from the .so without
 * running it. plugin-api/MANIFEST.md describes the text; everything in it is
 * compiled here once: field schemas, declared requests, presets. */
#ifndef PLUGIN_MANIFEST_H
#define PLUGIN_MANIFEST_H

#include "base/err.h"
#include "mapping/mapping.h"
#include "mapping/schema.h"

#include <manifold/types.h>
#include <stdbool.h>
#include <stdint.h>

#define MANIFEST_BYTES_MAX (4u << 20)

enum plugin_kind { PLUGIN_HTTP, PLUGIN_NATIVE };

/* All evaluated over { payload, payloads, settings, event, auth }. */
struct declared_request {
    struct mapping *parts; /* { method, url, headers, query, body, form } */
};

struct manifest_action {
    const char *slug, *title;
    const char *subscribe;         /* suggested trigger, or NULL */
    struct schema *fields;
    mf_val fields_json;            /* as written, for docs and suggestions */
    mf_val default_mapping;        /* { key: default } of all fields */
    uint32_t batch_size;           /* 0: the action does not batch */
    uint64_t batch_bytes;          /* 0: no limit of its own */
    const char *const *batch_keys; /* ends in NULL */
    bool batch_default;            /* enable_batching when not mapped */
    const char *serialize_by;      /* or NULL */
    struct declared_request *request, *batch_request; /* or NULL */
};

struct manifest_preset {
    const char *name, *action, *subscribe;
    bool automatic;
    mf_val mapping;
};

struct manifest {
    char *text; /* owned; every mf_val below points into it */
    size_t text_len;
    const char *slug, *name, *version, *docs;
    const char *const *integrations_names; /* ends in NULL; may be empty */
    const char *const *hosts;              /* ends in NULL */
    enum plugin_kind kind;
    bool pauses_on_gone;                   /* a 410 pauses the destination */
    const char *auth_scheme;               /* "none" if there is no auth */
    const char *auth_grant;                /* of oauth2, or NULL */
    struct mapping *auth, *headers;        /* or NULL */
    mf_val auth_json;
    struct schema *settings;
    mf_val settings_json;
    const char *const *secret_settings;    /* keys of type password */
    struct manifest_action *actions;
    size_t action_count;
    struct manifest_preset *presets;
    size_t preset_count;
    struct declared_request *test;         /* testAuthentication, or NULL */
    struct declared_request *on_delete;    /* or NULL */
    struct arena *arena;                   /* owns all of the above */
};

/* Takes text over whatever the outcome (heap). name is for errors, which say
 * NAME:LINE:COLUMN. NULL on a fault. */
struct manifest *manifest_parse(char *text, size_t len, const char *name,
                                struct err *e);
void manifest_free(struct manifest *m);
const struct manifest_action *manifest_action(const struct manifest *m,
                                              mf_str slug);

#endif
