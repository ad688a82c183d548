/* SPDX-License-Identifier: Apache-2.0
 *
 * routes.h - what a path of the Tracking API asks for. The paths are those of
 * Segment's HTTP and pixel APIs, of the settings that its browser and mobile
 * SDKs fetch, and of RudderStack where that differs. */
#ifndef INGEST_ROUTES_H
#define INGEST_ROUTES_H

#include <manifold/types.h>
#include <stdbool.h>

enum route {
    ROUTE_NONE,
    ROUTE_EVENT,         /* /v1/track, /v1/t ... */
    ROUTE_BATCH,         /* /v1/batch, /v1/b, /v1/import, /beacon/v1/batch */
    ROUTE_METRICS,       /* /v1/m */
    ROUTE_PIXEL,         /* /v1/pixel/track, /pixel/v1/track ... */
    ROUTE_SETTINGS,      /* /v1/projects/KEY/settings */
    ROUTE_SOURCE_CONFIG, /* /sourceConfig */
    ROUTE_HEALTH
};

struct route_found {
    enum route route;
    int type;   /* of a single event, or -1: not told, or none that is known */
    mf_str key; /* the write key in the path, or empty */
    bool key_in_query; /* writeKey may be a parameter */
};

/* path is raw, as in struct http_request. One slash at the end, and several
 * at its beginning, are as good as none and one. */
struct route_found route_of(mf_str path);

#endif
