/* SPDX-License-Identifier: Apache-2.0
 *
 * client.h - what a request tells of the device it comes from. */
#ifndef INGEST_CLIENT_H
#define INGEST_CLIENT_H

#include "base/netaddr.h"
#include "http/server.h"
#include "ingest/event.h"

/* Fills in client_ip and client_side of the envelope, whose context is that
 * of the batch, if any. The text lives in `room` or in the request. */
void client_describe(struct http_request *r, struct event_envelope *env,
                     char room[NETADDR_TEXT]);

#endif
