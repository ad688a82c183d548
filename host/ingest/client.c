/* SPDX-License-Identifier: Apache-2.0
 *
 * client.c - see client.h.
 *
 * Segment fills context.ip for sources on people's devices, and for others
 * only where context.direct is true; never with IPv6. Here a request is of a
 * device when a browser made it, which sends Origin, or one of the mobile
 * SDKs by its User-Agent. */
#include "ingest/client.h"

#include "base/mem.h"
#include "base/text.h"

#include <string.h>

static const mf_str mobile[] = {
    { "analytics-ios/", 14 },     { "analytics-swift/", 16 },
    { "analytics-android/", 18 }, { "analytics-kotlin/", 17 },
};

static bool is_mobile(mf_str agent)
{
    for (size_t i = 0; i < COUNT_OF(mobile); i++)
        if (str_starts(agent, mobile[i]))
            return true;
    return false;
}

void client_describe(struct http_request *r, struct event_envelope *env,
                     char room[NETADDR_TEXT])
{
    struct netaddr a;

    env->client_ip = (mf_str){ "", 0 };
    env->client_side = false;
    if (!http_client_address(r, &a) || !netaddr_is_v4(&a) ||
        json_get(env->context, MF_STR("ip")).type != MF_ABSENT)
        return;
    netaddr_text(&a, room);
    env->client_ip = mf_cstr(room);
    env->client_side =
        http_header(r, HTTP_ORIGIN).ptr ||
        is_mobile(http_header(r, HTTP_USER_AGENT)) ||
        json_is_true(json_get(env->context, MF_STR("direct")));
}
