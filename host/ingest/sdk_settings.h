/* SPDX-License-Identifier: Apache-2.0
 *
 * sdk_settings.h - what SDKs in browsers and phones fetch before they send
 * anything: which host takes the events, and that all integrations are the
 * server's. */
#ifndef INGEST_SDK_SETTINGS_H
#define INGEST_SDK_SETTINGS_H

#include "base/buf.h"
#include "http/server.h"

/* The answer for Segment's SDKs; the host is the one that the request named. */
void settings_of_segment(struct buf *to, const struct http_request *r,
                         mf_str write_key);
/* For RudderStack's, which are told their host by the page. */
void settings_of_rudder(struct buf *to, mf_str write_key);

#endif
