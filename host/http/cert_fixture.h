/* SPDX-License-Identifier: Apache-2.0
 *
 * cert_fixture.h - certificates and keys made as a test needs them. */
#ifndef HTTP_CERT_FIXTURE_H
#define HTTP_CERT_FIXTURE_H

#include "http/tls.h"

#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#define DAY_S 86400

struct made {
    X509 *cert;
    EVP_PKEY *key;
};

struct wish {
    const char *name; /* NULL: no subjectAltName */
    int64_t from_s, until_s; /* from now */
    const struct made *issuer; /* NULL: itself */
    unsigned rsa_bits; /* 0: P-256 */
};

static struct made make(struct wish w)
{
    static long serial = 1;
    struct made m = { X509_new(), NULL };
    X509_NAME *name = X509_get_subject_name(m.cert);
    const char *text = w.name ? w.name : "nameless";

    m.key = w.rsa_bits ? EVP_RSA_gen(w.rsa_bits) : EVP_EC_gen("P-256");
    assert_non_null(m.key);
    X509_set_version(m.cert, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(m.cert), serial++);
    X509_gmtime_adj(X509_getm_notBefore(m.cert), (long)w.from_s);
    X509_gmtime_adj(X509_getm_notAfter(m.cert), (long)w.until_s);
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
                               (const unsigned char *)text, -1, -1, 0);
    X509_set_issuer_name(m.cert, w.issuer ? X509_get_subject_name(
                                                w.issuer->cert)
                                          : name);
    X509_set_pubkey(m.cert, m.key);
    if (w.name) {
        char san[128];
        X509_EXTENSION *x;

        snprintf(san, sizeof san, "DNS:%s", w.name);
        x = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, san);
        assert_non_null(x);
        X509_add_ext(m.cert, x, -1);
        X509_EXTENSION_free(x);
    }
    assert_true(X509_sign(m.cert, w.issuer ? w.issuer->key : m.key,
                          EVP_sha256()) > 0);
    return m;
}

static void unmake(struct made *m)
{
    X509_free(m->cert);
    EVP_PKEY_free(m->key);
}

static char *text_of(BIO *b)
{
    char *at, *text;
    long n = BIO_get_mem_data(b, &at);

    text = malloc((size_t)n + 1);
    assert_non_null(text);
    memcpy(text, at, (size_t)n);
    text[n] = 0;
    BIO_free(b);
    return text;
}

/* Both are the caller's to free. */
static char *cert_pem(const struct made *m)
{
    BIO *b = BIO_new(BIO_s_mem());

    PEM_write_bio_X509(b, m->cert);
    return text_of(b);
}

static char *key_pem(const struct made *m, const char *pass)
{
    BIO *b = BIO_new(BIO_s_mem());

    PEM_write_bio_PrivateKey(b, m->key, pass ? EVP_aes_256_cbc() : NULL,
                             (const unsigned char *)pass,
                             pass ? (int)strlen(pass) : 0, NULL, NULL);
    return text_of(b);
}

#endif
