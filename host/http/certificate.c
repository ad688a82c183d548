/* SPDX-License-Identifier: Apache-2.0
 *
 * certificate.c - from PEM texts to what a server speaks TLS with; see tls.h.
 *
 * Everything that could make a handshake fail later is tried here: whoever
 * gets an http_tls can serve with it. */
#include "http/tls.h"

#include "base/mem.h"

#include <limits.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

/* Forward secret and with authentication of every record; TLS 1.3 has no
 * others. */
#define CIPHERS "ECDHE+AESGCM:ECDHE+CHACHA20:!aNULL"
#define TICKETS 1 /* for one connection */

static const char session_context[] = "manifold";

struct pair {
    X509 *certs[TLS_CHAIN_MAX];
    unsigned count;
    EVP_PKEY *key;
    enum tls_blame blame;
    struct err *e;
};

static int wrong(struct pair *p, enum tls_blame blame, const char *what)
{
    p->blame = blame;
    return err_set(p->e, "%s", what);
}

/* What OpenSSL says, behind what could not be done. */
static int wrong_because(struct pair *p, enum tls_blame blame,
                         const char *what)
{
    unsigned long code = ERR_peek_last_error();
    const char *text = code ? ERR_reason_error_string(code) : NULL;

    p->blame = blame;
    ERR_clear_error();
    return err_set(p->e, "%s: %s", what, text ? text : "unknown reason");
}

/* ---- reading ---- */

static BIO *reader_of(mf_str s)
{
    BIO *b = BIO_new_mem_buf(s.ptr, s.len > INT_MAX ? INT_MAX : (int)s.len);

    ASSERT(b);
    return b;
}

/* There is nobody to ask: a terminal may even be there. */
static int no_pass_phrase(char *to, int size, int writing, void *asked)
{
    (void)to;
    (void)size;
    (void)writing;
    *(bool *)asked = true;
    return -1;
}

static int read_chain(struct pair *p, mf_str text)
{
    BIO *b = reader_of(text);
    bool end = false;
    int rc = 0;

    while (rc == 0 && !end) {
        bool asked = false;
        X509 *x = PEM_read_bio_X509(b, NULL, no_pass_phrase, &asked);

        if (x && p->count == TLS_CHAIN_MAX) {
            X509_free(x);
            rc = wrong(p, TLS_BLAME_CHAIN,
                       "it holds more than 16 certificates; leave those that "
                       "lead from the server's to a root");
        } else if (x) {
            p->certs[p->count++] = x;
        } else {
            end = ERR_GET_REASON(ERR_peek_last_error()) ==
                  PEM_R_NO_START_LINE;
            if (!end)
                rc = wrong_because(p, TLS_BLAME_CHAIN,
                                   "a certificate in it is malformed");
        }
    }
    ERR_clear_error();
    BIO_free(b);
    if (rc == 0 && p->count == 0)
        rc = wrong(p, TLS_BLAME_CHAIN,
                   "it holds no certificate in PEM; the file begins with "
                   "-----BEGIN CERTIFICATE-----");
    return rc;
}

static int read_key(struct pair *p, mf_str text)
{
    BIO *b = reader_of(text);
    bool asked = false, none;

    p->key = PEM_read_bio_PrivateKey(b, NULL, no_pass_phrase, &asked);
    BIO_free(b);
    if (p->key)
        return 0;
    /* The last error is the decoder's; a text without a key has no other. */
    none = !memmem(text.ptr, text.len, "PRIVATE KEY-----", 16);
    if (asked) {
        ERR_clear_error();
        return wrong(p, TLS_BLAME_KEY,
                     "it is encrypted, and nobody is there to type its pass "
                     "phrase; write it without: openssl pkey -in KEY -out "
                     "NEW");
    }
    if (none) {
        ERR_clear_error();
        return wrong(p, TLS_BLAME_KEY,
                     "it holds no private key in PEM; the file begins with "
                     "-----BEGIN PRIVATE KEY-----");
    }
    return wrong_because(p, TLS_BLAME_KEY, "the key in it is malformed");
}

static int match(struct pair *p)
{
    if (X509_check_private_key(p->certs[0], p->key) == 1)
        return 0;
    ERR_clear_error();
    for (unsigned i = 1; i < p->count; i++)
        if (X509_check_private_key(p->certs[i], p->key) == 1) {
            ERR_clear_error();
            return wrong(p, TLS_BLAME_CHAIN,
                         "the certificate that the key belongs to is not the "
                         "first in it; put it first, then the one that issued "
                         "it, and so on");
        }
    ERR_clear_error();
    return wrong(p, TLS_BLAME_KEY,
                 "it is not the key of the certificate; name the two files "
                 "that were made together");
}

/* ---- what is told of it ---- */

static int64_t seconds_of(const ASN1_TIME *t)
{
    struct tm tm;

    return ASN1_TIME_to_tm(t, &tm) == 1 ? (int64_t)timegm(&tm) : 0;
}

static bool has_names(X509 *x)
{
    GENERAL_NAMES *names = X509_get_ext_d2i(x, NID_subject_alt_name, NULL,
                                            NULL);
    bool any = names && sk_GENERAL_NAME_num(names) > 0;

    GENERAL_NAMES_free(names);
    ERR_clear_error();
    return any;
}

static void tell_facts(const struct pair *p, struct tls_facts *f)
{
    f->certificates = p->count;
    f->named = has_names(p->certs[0]);
    f->ordered = true;
    f->not_before = INT64_MIN;
    f->not_after = INT64_MAX;
    for (unsigned i = 0; i < p->count; i++) {
        int64_t from = seconds_of(X509_get0_notBefore(p->certs[i]));
        int64_t until = seconds_of(X509_get0_notAfter(p->certs[i]));

        if (from > f->not_before)
            f->not_before = from;
        if (until < f->not_after)
            f->not_after = until;
        if (i > 0 && X509_check_issued(p->certs[i], p->certs[i - 1]) !=
                         X509_V_OK)
            f->ordered = false;
    }
}

/* ---- how it is used ---- */

static int choose_http(SSL *ssl, const unsigned char **out,
                       unsigned char *out_len, const unsigned char *in,
                       unsigned in_len, void *arg)
{
    static const char http[] = "http/1.1";

    (void)ssl;
    (void)arg;
    for (unsigned i = 0; i < in_len; i += 1u + in[i])
        if (in[i] == sizeof http - 1 && i + in[i] < in_len &&
            memcmp(in + i + 1, http, sizeof http - 1) == 0) {
            *out = in + i + 1;
            *out_len = in[i];
            return SSL_TLSEXT_ERR_OK;
        }
    return SSL_TLSEXT_ERR_ALERT_FATAL;
}

/* The system's configuration of OpenSSL may ask for more, never for less. */
static void set_options(SSL_CTX *ctx)
{
    if (SSL_CTX_get_min_proto_version(ctx) < TLS1_2_VERSION)
        SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
    SSL_CTX_set_options(ctx, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION);
    SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_clear_mode(ctx, SSL_MODE_AUTO_RETRY); /* tls.c counts records */
    SSL_CTX_set_read_ahead(ctx, 1);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_num_tickets(ctx, TICKETS);
    SSL_CTX_set_session_id_context(ctx, (const unsigned char *)session_context,
                                   sizeof session_context - 1);
    SSL_CTX_set_alpn_select_cb(ctx, choose_http, NULL);
    ASSERT(SSL_CTX_set_cipher_list(ctx, CIPHERS) == 1);
}

static int use_pair(struct pair *p, SSL_CTX *ctx)
{
    static const char refused[] = "OpenSSL does not accept it";

    if (SSL_CTX_use_certificate(ctx, p->certs[0]) != 1)
        return wrong_because(p, TLS_BLAME_CHAIN, refused);
    for (unsigned i = 1; i < p->count; i++)
        if (SSL_CTX_add1_chain_cert(ctx, p->certs[i]) != 1)
            return wrong_because(p, TLS_BLAME_CHAIN, refused);
    if (SSL_CTX_use_PrivateKey(ctx, p->key) != 1)
        return wrong_because(p, TLS_BLAME_KEY, refused);
    return 0;
}

struct http_tls *http_tls_new(mf_str chain, mf_str key,
                              struct tls_facts *facts, enum tls_blame *blame,
                              struct err *e)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    struct pair p = { .e = e };
    int rc;

    ASSERT(ctx);
    ERR_clear_error();
    set_options(ctx);
    rc = read_chain(&p, chain);
    if (rc == 0)
        rc = read_key(&p, key);
    if (rc == 0)
        rc = match(&p);
    if (rc == 0)
        rc = use_pair(&p, ctx);
    if (rc == 0 && facts)
        tell_facts(&p, facts);
    for (unsigned i = 0; i < p.count; i++)
        X509_free(p.certs[i]);
    EVP_PKEY_free(p.key);
    if (blame)
        *blame = p.blame;
    if (rc == 0)
        return (struct http_tls *)ctx;
    SSL_CTX_free(ctx);
    return NULL;
}

struct http_tls *http_tls_ref(struct http_tls *t)
{
    SSL_CTX_up_ref((SSL_CTX *)t);
    return t;
}

void http_tls_free(struct http_tls *t)
{
    SSL_CTX_free((SSL_CTX *)t);
}
