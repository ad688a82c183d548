/* SPDX-License-Identifier: Apache-2.0
 *
 * client.h - whose address the sender's is: a person's, whose browser or phone
 * sends by itself, or a server's, which is nobody's.
 *
 * A person's address is kept with the event (context.ip) where the event says
 * none. As with Segment only IPv4 is, and an address that is not a public one
 * tells where a proxy stands, so it is not kept either. */
#ifndef INGEST_CLIENT_H
#define INGEST_CLIENT_H

#include "http/server.h"
#include "ingest/event.h"

/* The request's part: fills env->client_ip and env->from_page. */
void client_of_request(struct event_envelope *env,
                       const struct http_request *r);
/* The event's: direct, or a phone's SDK as its library. */
bool client_sends_itself(mf_val direct, mf_val library, struct arena *a);

#endif
