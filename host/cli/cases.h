/* SPDX-License-Identifier: Apache-2.0
 *
 * cases.h - one line of `manifold map`, one case of `manifold test`: the same
 * JSON, the same run. No network: the answers stand in the input.
 *
 * In:  { id, kind, action, settings, auth, oauth, mapping, event | events,
 *        features, subscriptionMetadata, source, now,
 *        responses: [{ method, url, status, headers, json | body | error }] }
 * Out: { id, requests: [{ method, url, headers, body | body_base64 }],
 *        error: { status, message }, results: [{ status, message }],
 *        filtered: true }
 * Beside those: `payloads` of a native plugin, which sends no requests that
 * could be shown, and `token` for the kind refreshAccessToken. */
#ifndef CLI_CASES_H
#define CLI_CASES_H

#include "json/json.h"
#include "plugin/instance.h"

#define CASE_BYTES_MAX     (64u << 20) /* of one line, and of its answer */
#define CASE_RESPONSES_MAX 4096
#define CASE_ROUNDS_MAX    MF_REQUESTS_MAX

struct case_options {
    bool fixed;   /* clock, chance and UUIDs of the case, not of the day */
    bool deliver; /* run a native plugin's deliver() for good, as is done for
                     an input with responses */
};

/* input is an object of checked JSON. Writes one object. *fault is NULL, or
 * how the plugin broke its contract (a literal). */
void case_run(struct plugin *p, mf_val input, const struct case_options *o,
              struct json_out *w, const char **fault);

/* {method, url, headers, body | body_base64} */
void case_write_request(struct json_out *w, const struct call_request *r);

#endif
