/* SPDX-License-Identifier: Apache-2.0
 *
 * gzip.h - gzip bodies decoded up to a limit.
 *
 * Several members one after another are one text, as RFC 1952 has it. A cut
 * stream, a wrong checksum, bytes behind the last member or an output past
 * out->max are refused; a bomb costs no more than out->max. */
#ifndef HTTP_GZIP_H
#define HTTP_GZIP_H

#include "base/buf.h"
#include "base/err.h"

/* A decoder that keeps its memory between two uses. */
struct gunzip;

struct gunzip *gunzip_new(void);
void gunzip_free(struct gunzip *g);
/* Appends the decoded bytes to out. On -1 out->full tells a text over the
 * limit from a broken one. */
int gunzip_run(struct gunzip *g, mf_str in, struct buf *out, struct err *e);

/* The same with a decoder of its own. */
int gunzip(mf_str in, struct buf *out, struct err *e);
/* One gzip member at the given level (1..9), for answers and tests. */
int gzip(mf_str in, int level, struct buf *out, struct err *e);

#endif
