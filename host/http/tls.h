/* SPDX-License-Identifier: Apache-2.0
 *
 * tls.h - what a server shows its clients: a certificate with its chain, its
 * key, and how TLS is spoken with them.
 *
 * TLS 1.2 and 1.3, forward secret ciphers with authentication, HTTP/1.1 by
 * ALPN, no renegotiation, no compression; sessions are resumed by tickets,
 * whose keys live as long as the http_tls. It never changes and is counted, by
 * any number of threads: a connection holds the one it began with. */
#ifndef HTTP_TLS_H
#define HTTP_TLS_H

#include "base/err.h"

#include <manifold/types.h>
#include <stdbool.h>
#include <stdint.h>

#define TLS_CHAIN_MAX 16 /* certificates, the server's own included */

struct http_tls;

struct tls_facts {
    int64_t not_before, not_after; /* Unix seconds; the nearest end in the
                                      chain */
    unsigned certificates;
    bool named;   /* the certificate has names that clients look for */
    bool ordered; /* each certificate was issued by the next */
};

/* What is wrong with a pair, so that its teller knows which file to blame. */
enum tls_blame { TLS_NO_BLAME, TLS_BLAME_CHAIN, TLS_BLAME_KEY };

/* PEM: the server's certificate and then those between it and a root; its
 * private key, without a pass phrase. NULL with *e and *blame. The texts are
 * only read; facts may be NULL. */
struct http_tls *http_tls_new(mf_str chain, mf_str key,
                              struct tls_facts *facts, enum tls_blame *blame,
                              struct err *e);
struct http_tls *http_tls_ref(struct http_tls *t);
void http_tls_free(struct http_tls *t); /* NULL is fine */

#endif
