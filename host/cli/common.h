/* SPDX-License-Identifier: Apache-2.0
 *
 * common.h - what several commands need: the configuration's place, the
 * running server's addresses, one HTTP exchange with it. */
#ifndef CLI_COMMON_H
#define CLI_COMMON_H

#include "base/buf.h"
#include "base/err.h"
#include "config/config.h"

#define CONFIG_DEFAULT "/etc/manifold/manifold.json"

/* -c, else MANIFOLD_CONFIG, else CONFIG_DEFAULT. */
const char *config_path(const char *option);
/* Loads, and prints faults to standard error. NULL after a fault: exit 78. */
struct config *config_or_complain(const char *path);
/* The same, but faults are left to the running server to tell: enough is read
 * to find it. NULL, with the faults printed, when even that cannot be. */
struct config *config_readable(const char *path);

/* Where the running server listens, from data_dir/run/addresses.json. */
struct server_address {
    char admin[128], ingest[128];
    bool tls; /* spoken at ingest; plain HTTP is preferred */
};
int server_find(const struct config *c, struct server_address *out,
                struct err *e);

/* One request to http://ADDRESS/path; body NULL: GET, else POST. auth is a
 * whole header line or NULL. 0 with *status and the answer in `answer`. */
int http_exchange(const char *address, const char *path, const char *auth,
                  const char *body, long *status, struct buf *answer,
                  struct err *e);
/* The same over TLS, with a server that has this certificate (a file), under
 * whatever names. */
int https_exchange(const char *address, const char *certificate,
                   const char *path, const char *auth, const char *body,
                   long *status, struct buf *answer, struct err *e);
/* The same at the admin address, with its token. Anything but a 2xx is a
 * failure, told by the answer's message. */
int admin_exchange(const struct config *c, const char *path, const char *body,
                   struct buf *answer, struct err *e);

/* A batch of one, {"batch":[EVENT]}, to the ingest address with the source's
 * key. 0 with *taken when there was an answer, which is in `answer`. */
int ingest_post(const struct config *c, const struct conf_source *src,
                const char *body, struct buf *answer, bool *taken,
                struct err *e);

/* Bold, red, ... only on a terminal and without NO_COLOR: else "". */
const char *colour(const char *sequence);

#endif
