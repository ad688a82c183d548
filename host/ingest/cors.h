/* SPDX-License-Identifier: Apache-2.0
 *
 * cors.h - what a page of another origin has to be told before it may send,
 * and before its SDK may read an answer. Any origin may: a write key says who
 * sends, not a page's address. */
#ifndef INGEST_CORS_H
#define INGEST_CORS_H

#include "base/mem.h"
#include "http/server.h"

/* Header lines in the arena, none where no page asks. Retry-After, which is
 * one of them, is not readable to a page unless it is exposed. 0: none. */
mf_str cors_headers(struct arena *a, const struct http_request *r,
                    int retry_after);
/* Answers OPTIONS. */
void cors_preflight(struct arena *a, struct http_request *r);

#endif
