/* SPDX-License-Identifier: Apache-2.0
 *
 * routes.c - see routes.h. */
#include "ingest/routes.h"

#include "base/text.h"
#include "ingest/event.h"

static bool take(mf_str *path, mf_str prefix)
{
    if (!str_starts(*path, prefix))
        return false;
    path->ptr += prefix.len;
    path->len -= prefix.len;
    return true;
}

/* Without slashes around it. An SDK whose host was given with a slash at its
 * end asks for "//v1/batch". */
static mf_str bare(mf_str path)
{
    while (path.len && *path.ptr == '/') {
        path.ptr++;
        path.len--;
    }
    if (path.len && path.ptr[path.len - 1] == '/')
        path.len--;
    return path;
}

static int type_of(mf_str name)
{
    static const char letters[EVENT_TYPES] = { 't', 'i', 'p', 's', 'g', 'a' };

    if (name.len != 1)
        return event_type_named(name);
    for (int i = 0; i < EVENT_TYPES; i++)
        if (*name.ptr == letters[i])
            return i;
    return -1;
}

/* "projects/KEY/settings" */
static bool takes_key(mf_str path, mf_str *key)
{
    mf_str end = MF_STR("/settings");

    if (!take(&path, MF_STR("projects/")) || !str_ends(path, end) ||
        path.len == end.len)
        return false;
    *key = (mf_str){ path.ptr, path.len - end.len };
    return true;
}

struct route_found route_of(mf_str path)
{
    static const struct {
        mf_str name;
        enum route route;
    } names[] = {
        { { "batch", 5 }, ROUTE_BATCH },    { { "b", 1 }, ROUTE_BATCH },
        { { "import", 6 }, ROUTE_BATCH },   { { "m", 1 }, ROUTE_METRICS },
        { { "health", 6 }, ROUTE_HEALTH },  { { "healthz", 7 }, ROUTE_HEALTH },
        { { "sourceConfig", 12 }, ROUTE_SOURCE_CONFIG },
    };
    struct route_found f = { ROUTE_NONE, -1, { "", 0 }, false };

    path = bare(path);
    if (mf_eq(path, MF_STR("beacon/v1/batch"))) {
        f.route = ROUTE_BATCH;
        f.key_in_query = true;
        return f;
    }
    take(&path, MF_STR("v1/"));
    if (take(&path, MF_STR("pixel/"))) {
        take(&path, MF_STR("v1/"));
        f.route = ROUTE_PIXEL;
        f.type = event_type_named(path);
        f.key_in_query = true;
        return f;
    }
    f.type = type_of(path);
    if (f.type >= 0)
        f.route = ROUTE_EVENT;
    else if (takes_key(path, &f.key))
        f.route = ROUTE_SETTINGS;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (mf_eq(path, names[i].name))
            f.route = names[i].route;
    f.key_in_query = f.route == ROUTE_SOURCE_CONFIG;
    return f;
}
