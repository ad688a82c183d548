/* SPDX-License-Identifier: Apache-2.0
 *
 * client.c - see client.h. */
#include "ingest/client.h"

#include "base/address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

static bool is_public_v4(mf_str peer)
{
    struct sockaddr_in a = { .sin_family = AF_INET };
    char text[INET_ADDRSTRLEN];

    if (peer.len >= sizeof text)
        return false;
    memcpy(text, peer.ptr, peer.len);
    text[peer.len] = 0;
    return inet_pton(AF_INET, text, &a.sin_addr) == 1 &&
           !address_is_private((const struct sockaddr *)&a);
}

void client_of_request(struct event_envelope *env,
                       const struct http_request *r)
{
    env->client_ip = (mf_str){ "", 0 };
    if (!is_public_v4(r->client))
        return;
    env->client_ip = r->client;
    env->from_page = http_header(r, HTTP_ORIGIN).ptr ||
                     http_header_named(r, MF_STR("Sec-Fetch-Site")).ptr;
}

bool client_sends_itself(mf_val direct, mf_val library, struct arena *a)
{
    static const char *const phones[] = {
        "analytics-android",
        "analytics-ios",
        "analytics-kotlin",
        "analytics-swift",
        "@segment/analytics-react-native",
        "analytics_flutter",
    };
    mf_str name = json_text(json_get(library, MF_STR("name")), a);

    if (json_is_true(direct))
        return true;
    for (size_t i = 0; i < COUNT_OF(phones); i++)
        if (mf_eq(name, mf_cstr(phones[i])))
            return true;
    return false;
}
