/* SPDX-License-Identifier: Apache-2.0
 *
 * sdk_settings.c - see sdk_settings.h.
 *
 * Segment's SDKs merge the options of load() only into integrations that stand
 * here, so "Segment.io" must; a second one would make them load code that is
 * nowhere. Their own metrics are switched off. */
#include "ingest/sdk_settings.h"

#include "base/text.h"
#include "json/json.h"

#define SECURE MF_STR("https")

/* A proxy that ends TLS says so; without it a secure page would be sent to
 * http:// and its browser would refuse. */
static mf_str protocol_of(const struct http_request *r)
{
    mf_str told = http_header_named(r, MF_STR("X-Forwarded-Proto"));

    return r->secure || str_ieq(told, SECURE) ? SECURE : MF_STR("http");
}

void settings_of_segment(struct buf *to, const struct http_request *r,
                         mf_str write_key)
{
    mf_str host = http_header(r, HTTP_HOST);
    struct buf api_host;
    struct json_out w;

    buf_init(&api_host, host.len + 8);
    buf_str(&api_host, host);
    buf_puts(&api_host, "/v1");
    json_out_init(&w, to);
    json_begin_object(&w);
    json_key(&w, MF_STR("integrations"));
    json_begin_object(&w);
    json_key(&w, MF_STR("Segment.io"));
    json_begin_object(&w);
    json_kstr(&w, "apiKey", write_key);
    json_kstr(&w, "apiHost", buf_view(&api_host));
    json_kstr(&w, "protocol", protocol_of(r));
    json_end_object(&w);
    json_end_object(&w);
    buf_puts(to, ",\"plan\":{\"track\":{\"__default\":{\"enabled\":true,"
                 "\"integrations\":{}}},\"identify\":{\"__default\":"
                 "{\"enabled\":true}},\"group\":{\"__default\":"
                 "{\"enabled\":true}}},\"metrics\":{\"sampleRate\":0},"
                 "\"analyticsNextEnabled\":true}");
    buf_deinit(&api_host);
}

void settings_of_rudder(struct buf *to, mf_str write_key)
{
    struct json_out w;

    json_out_init(&w, to);
    json_begin_object(&w);
    json_key(&w, MF_STR("source"));
    json_begin_object(&w);
    json_kstr(&w, "id", write_key);
    json_kstr(&w, "name", MF_STR("manifold"));
    json_kstr(&w, "writeKey", write_key);
    json_kstr(&w, "workspaceId", MF_STR("manifold"));
    json_kstr(&w, "updatedAt", MF_STR("1970-01-01T00:00:00.000Z"));
    json_kbool(&w, "enabled", true);
    json_key(&w, MF_STR("destinations"));
    json_begin_array(&w);
    json_end_array(&w);
    buf_puts(to, ",\"connections\":[],\"dataplanes\":{},\"config\":"
                 "{\"statsCollection\":{\"errors\":{\"enabled\":false},"
                 "\"metrics\":{\"enabled\":false}}}},\"isHosted\":false}");
}
