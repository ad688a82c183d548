/* SPDX-License-Identifier: Apache-2.0
 *
 * cors.c - see cors.h.
 *
 * An origin is echoed, not "*": a page that sends cookies (credentials
 * 'include', and every beacon) is refused "*", and "*" for headers does not
 * cover Authorization, which SDKs send. */
#include "ingest/cors.h"

#define PREFLIGHT_AGE 86400 /* seconds; browsers cut it to 2 h or so */

mf_str cors_headers(struct arena *a, const struct http_request *r,
                    int retry_after)
{
    mf_str origin = http_header(r, HTTP_ORIGIN);
    mf_str base = { "", 0 };

    if (origin.ptr)
        base = arena_printf(a,
                            "Access-Control-Allow-Origin: %.*s\r\n"
                            "Access-Control-Allow-Credentials: true\r\n"
                            "Access-Control-Expose-Headers: Retry-After, "
                            "X-RateLimit-Reset\r\n"
                            "Vary: Origin\r\n",
                            (int)origin.len, origin.ptr);
    if (retry_after)
        base = arena_printf(a,
                            "%.*sRetry-After: %d\r\n"
                            "X-RateLimit-Reset: %d\r\n",
                            (int)base.len, base.ptr, retry_after, retry_after);
    return base;
}

void cors_preflight(struct arena *a, struct http_request *r)
{
    mf_str asked = http_header(r, HTTP_ACCESS_CONTROL_REQUEST_HEADERS);
    mf_str origin = http_header(r, HTTP_ORIGIN), headers;

    if (!asked.ptr)
        asked = MF_STR("authorization, content-type, x-retry-count");
    if (!origin.ptr)
        origin = MF_STR("*");
    headers = arena_printf(a,
                           "Access-Control-Allow-Origin: %.*s\r\n"
                           "Access-Control-Allow-Credentials: true\r\n"
                           "Access-Control-Allow-Methods: POST, GET, "
                           "OPTIONS\r\n"
                           "Access-Control-Allow-Headers: %.*s\r\n"
                           "Access-Control-Max-Age: %d\r\n"
                           "Vary: Origin\r\n",
                           (int)origin.len, origin.ptr, (int)asked.len,
                           asked.ptr, PREFLIGHT_AGE);
    http_reply(r, 200, "application/json", headers, MF_STR("{}"));
}
