/* SPDX-License-Identifier: Apache-2.0
 *
 * letter.h - an event of a batch that was refused, on its way to the
 * supervisor, which keeps it; and on its way back, to be tried again.
 *
 * With the event goes what the batch said for all of its events, the
 * envelope: {"receivedAt", "type"?, "sentAt"?, "context"?, "integrations"?}.
 * Tried again it is judged as a fresh event, and then written as it would have
 * been when it came. */
#ifndef INGEST_LETTER_H
#define INGEST_LETTER_H

#include "base/buf.h"
#include "ingest/event.h"

/* MSG_INGEST_DEAD. env NULL: nothing is known. */
void letter_write(struct buf *to, uint32_t source, const char *code,
                  const struct event_envelope *env, mf_str event);
/* As the envelope says; what it does not say is as of now. */
void letter_read_envelope(mf_str text, struct event_envelope *env,
                          struct arena *a);

#endif
