/* SPDX-License-Identifier: Apache-2.0
 *
 * pixel.h - events that come as the address of an image, where nothing but an
 * image can be shown: newsletters, pages without scripts.
 *
 * Whatever becomes of the event, the answer is the image: a broken one would
 * be seen, and nobody would send it again. */
#ifndef INGEST_PIXEL_H
#define INGEST_PIXEL_H

#include "http/server.h"
#include "ingest/event.h"

#define PIXEL_PARAMS_MAX 256
#define PIXEL_DEPTH_MAX  16 /* of names with dots in them */

/* The event that a query holds, in the arena: what `data` says, base64 of JSON
 * in either alphabet; without it an object of all parameters, a dot in whose
 * name leads into an object. 0, or -1 with *fault. What data holds is not
 * checked to be JSON. */
int pixel_event(mf_str query, struct arena *a, mf_str *text,
                struct event_fault *fault);
/* One transparent dot, never cached. extra is whole header lines or empty. */
void pixel_reply(struct http_request *r, struct arena *a, mf_str extra);

#endif
