/* SPDX-License-Identifier: Apache-2.0
 *
 * explain.h - everything that became of one event.
 *
 * Asked by JSON, so that the command and the admin API ask alike:
 *   {message_id, source?, data_dir, plugins_dir, secrets: [...],
 *    destinations: [{plugin, hash?, spec: {name, settings, subscriptions,
 *    filter, endpoint}}]}
 * hash names the host's own copy of the plugin, which is preferred. */
#ifndef CLI_EXPLAIN_H
#define CLI_EXPLAIN_H

#include "base/buf.h"

#include <manifold/types.h>
#include <sys/types.h>

#define EXPLAIN_BYTES (24u << 20) /* of an answer */

/* Appends one JSON object and returns an HTTP status: 200, 404 when there is
 * no such event, 400 or 500 with a message. */
int explain_answer(mf_str question, struct buf *to);
/* The process that answers one question of the supervisor. */
int explain_main(pid_t parent);

#endif
