/* SPDX-License-Identifier: Apache-2.0
 *
 * Every path that is known, and some that are not. */
#include "ingest/routes.h"

#include "ingest/event.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static struct route_found find(const char *path)
{
    return route_of(mf_cstr(path));
}

static void every_path_leads_somewhere(void **state)
{
    static const struct {
        const char *path;
        enum route route;
        int type;
        const char *key;
        bool in_query;
    } rows[] = {
        { "/v1/track", ROUTE_EVENT, EVENT_TRACK, "", false },
        { "/v1/track/", ROUTE_EVENT, EVENT_TRACK, "", false },
        { "/track", ROUTE_EVENT, EVENT_TRACK, "", false },
        { "//v1/track", ROUTE_EVENT, EVENT_TRACK, "", false },
        { "/v1/i", ROUTE_EVENT, EVENT_IDENTIFY, "", false },
        { "/v1/p/", ROUTE_EVENT, EVENT_PAGE, "", false },
        { "/v1/s", ROUTE_EVENT, EVENT_SCREEN, "", false },
        { "/v1/g", ROUTE_EVENT, EVENT_GROUP, "", false },
        { "/a", ROUTE_EVENT, EVENT_ALIAS, "", false },
        { "/v1/batch", ROUTE_BATCH, -1, "", false },
        { "//v1/batch", ROUTE_BATCH, -1, "", false },
        { "/v1/b", ROUTE_BATCH, -1, "", false },
        { "/v1/import/", ROUTE_BATCH, -1, "", false },
        { "/beacon/v1/batch", ROUTE_BATCH, -1, "", true },
        { "/v1/m", ROUTE_METRICS, -1, "", false },
        { "/v1/pixel/track", ROUTE_PIXEL, EVENT_TRACK, "", true },
        { "/v1/pixel/group/", ROUTE_PIXEL, EVENT_GROUP, "", true },
        { "/pixel/v1/page", ROUTE_PIXEL, EVENT_PAGE, "", true },
        { "/v1/pixel/t", ROUTE_PIXEL, -1, "", true },
        { "/v1/pixel/nothing", ROUTE_PIXEL, -1, "", true },
        { "/v1/projects/k/settings", ROUTE_SETTINGS, -1, "k", false },
        { "/projects/a/b/settings", ROUTE_SETTINGS, -1, "a/b", false },
        { "/sourceConfig/", ROUTE_SOURCE_CONFIG, -1, "", true },
        { "/health", ROUTE_HEALTH, -1, "", false },
        { "/healthz", ROUTE_HEALTH, -1, "", false },
        { "/", ROUTE_NONE, -1, "", false },
        { "//", ROUTE_NONE, -1, "", false },
        { "", ROUTE_NONE, -1, "", false },
        { "/v1", ROUTE_NONE, -1, "", false },
        { "/v1/", ROUTE_NONE, -1, "", false },
        { "/v1//track", ROUTE_NONE, -1, "", false },
        { "/v1/v1/track", ROUTE_NONE, -1, "", false },
        { "/v1/track//", ROUTE_NONE, -1, "", false },
        { "/v2/track", ROUTE_NONE, -1, "", false },
        { "/v1/TRACK", ROUTE_NONE, -1, "", false },
        { "/v1/tracks", ROUTE_NONE, -1, "", false },
        { "/v1/x", ROUTE_NONE, -1, "", false },
        { "/v1/pixel", ROUTE_NONE, -1, "", false },
        { "/v1/projects//settings", ROUTE_NONE, -1, "", false },
        { "/v1/projects/settings", ROUTE_NONE, -1, "", false },
        { "/beacon/v1/track", ROUTE_NONE, -1, "", false },
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct route_found f = find(rows[i].path);

        if (f.route != rows[i].route || f.type != rows[i].type ||
            f.key_in_query != rows[i].in_query ||
            !mf_eq(f.key, mf_cstr(rows[i].key)))
            fail_msg("%s: route %d, type %d, key %.*s, %s", rows[i].path,
                     f.route, f.type, (int)f.key.len, f.key.ptr,
                     f.key_in_query ? "in the query" : "not in the query");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_path_leads_somewhere),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
