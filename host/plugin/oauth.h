/* SPDX-License-Identifier: Apache-2.0
 *
 * oauth.h - access tokens that the host fetches for a plugin.
 *
 * What stands here knows no network: a token is fetched by a call like any
 * other, call_special(i, "refreshAccessToken"), be its request put together
 * from the manifest's `auth` (a grant) or by the plugin's own code. Who runs
 * that call, and when, is the worker's affair.
 *
 * Tokens travel as one object, what `auth` of a directive is: { accessToken,
 * refreshToken?, expiresIn?, ... }, with every other member of the answer
 * that is a string under its own name. */
#ifndef PLUGIN_OAUTH_H
#define PLUGIN_OAUTH_H

#include "plugin/instance.h"

#include <stdint.h>

#define OAUTH_MARGIN_MS  60000 /* a token is renewed so long before its end, */
#define OAUTH_MARGIN_DIV 5     /* but in the last fifth of a short life */

/* True if calls of this instance need a token, and there is a way to one. */
bool oauth_needed(struct instance *i);
/* Digest of what tokens are got with. Those got with anything else are not to
 * be used: the operator has changed client, key or refresh token. */
mf_str oauth_origin(struct instance *i, struct arena *a);
/* For instance_set_auth(): clientId, clientSecret and refreshToken as the
 * manifest's `auth` has them, under the tokens known so far. */
mf_val oauth_auth(struct instance *i, mf_val tokens, struct arena *a);
/* The tokens after an answer: the new over the old, for an answer need not
 * repeat the refresh token. */
mf_val oauth_merged(mf_val old, mf_val given, struct arena *a);
/* When a token just given ends and when it is to be renewed, Unix ms;
 * INT64_MAX where expiresIn is not told. */
void oauth_times(mf_val tokens, int64_t now_ms, int64_t *expires_ms,
                 int64_t *renew_ms);

#endif
