/* SPDX-License-Identifier: Apache-2.0
 *
 * certificate.h - the certificate that ingest shows, and its key.
 *
 * The supervisor reads both, so that the key may be root's alone, tries them,
 * and hands them to ingest; it keeps them for an ingest that has to be started
 * again. A pair that cannot be served with never takes the place of one that
 * can. The key goes nowhere else. */
#ifndef SUPERVISOR_CERTIFICATE_H
#define SUPERVISOR_CERTIFICATE_H

#include "base/faults.h"
#include "config/config.h"
#include "http/tls.h"

#define CERTIFICATE_BYTES_MAX (1u << 20) /* of either file */
#define CERTIFICATE_WARN_S    1209600    /* before its end: 14 days */
#define CERTIFICATE_AGAIN_MS  86400000   /* between two warnings */

struct supervisor;

struct certificate {
    char *path, *chain, *key; /* owned; all NULL: no TLS */
    size_t chain_len, key_len;
    struct tls_facts facts;
    int64_t warned_ms; /* 0: not yet */
};

/* What the configuration names. 0, also without TLS; -1 with at least one
 * error in f. What is odd and can be served with is a warning there. */
int certificate_load(const struct config *c, struct certificate *out,
                     struct faults *f);
void certificate_deinit(struct certificate *x); /* wipes */

/* Takes it over, and tells ingest if it is another one. */
void certificate_use(struct supervisor *s, struct certificate *x);
void certificate_tell_ingest(struct supervisor *s);
/* Warns of its end, once a day. */
void certificate_watch(struct supervisor *s);

#endif
