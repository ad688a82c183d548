/* SPDX-License-Identifier: Apache-2.0
 *
 * tls.c - the bytes of a connection that speaks TLS.
 *
 * OpenSSL reads from the socket and writes into the connection, through a BIO
 * of its own: what it writes goes the way of every answer, sent at once or
 * kept in conn.out until the socket takes it. So a write never waits inside
 * OpenSSL, nothing is written twice, and deadlines, back-pressure and limits
 * are those of plain connections. A read may leave bytes inside OpenSSL that
 * the descriptor does not tell of; then the server is asked to look again. */
#include "http/conn.h"

#include "base/mem.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#define EMPTY_MAX 8 /* reads in a row, of a record or many, without a byte */

struct tls_conn {
    SSL *ssl;
    bool cork;    /* of the write in hand */
    bool starved; /* the socket had nothing more for the read in hand */
    bool eof;     /* the client has closed its side */
    bool ended;   /* so OpenSSL says, or it is broken: no read will tell more */
    bool bye;
    unsigned empty;
    char why[160]; /* the handshake failed */
};

/* ---- below OpenSSL ---- */

static int bio_write(BIO *b, const char *bytes, size_t n, size_t *took)
{
    struct conn *c = BIO_get_data(b);

    BIO_clear_retry_flags(b);
    http_out_raw(c, (mf_str){ bytes, n }, MF_STR(""), c->tls->cork);
    *took = n;
    return !c->broken;
}

static int bio_read(BIO *b, char *to, size_t n, size_t *got)
{
    struct conn *c = BIO_get_data(b);
    ssize_t r;

    BIO_clear_retry_flags(b);
    *got = http_opening_rest(c, to, n);
    if (*got)
        return 1;
    r = recv(c->fd, to, n, 0);
    if (r > 0) {
        *got = (size_t)r;
        return 1;
    }
    if (r < 0 && (errno == EAGAIN || errno == EINTR)) {
        c->tls->starved = true;
        BIO_set_retry_read(b);
    } else {
        c->tls->eof = true;
    }
    return 0;
}

static long bio_ctrl(BIO *b, int what, long number, void *pointer)
{
    (void)b;
    (void)number;
    (void)pointer;
    return what == BIO_CTRL_FLUSH;
}

static int bio_create(BIO *b)
{
    BIO_set_init(b, 1);
    return 1;
}

/* One for the process, never freed. */
static const BIO_METHOD *bio_method(void)
{
    static _Atomic(BIO_METHOD *) made;
    BIO_METHOD *m = made, *none = NULL;

    if (m)
        return m;
    m = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "connection");
    ASSERT(m && BIO_meth_set_write_ex(m, bio_write) &&
           BIO_meth_set_read_ex(m, bio_read) &&
           BIO_meth_set_ctrl(m, bio_ctrl) &&
           BIO_meth_set_create(m, bio_create));
    if (atomic_compare_exchange_strong(&made, &none, m))
        return m;
    BIO_meth_free(m);
    return none;
}

/* ---- the handshake ---- */

void http_tls_begin(struct conn *c, struct http_tls *t)
{
    struct tls_conn *k = xcalloc(1, sizeof *k);
    BIO *b = BIO_new(bio_method());

    k->ssl = SSL_new((SSL_CTX *)t);
    ASSERT(k->ssl && b);
    BIO_set_data(b, c);
    SSL_set_bio(k->ssl, b, b);
    SSL_set_accept_state(k->ssl);
    c->tls = k;
}

static enum http_opening_fault fault_of(int reason)
{
    switch (reason) {
    case SSL_R_HTTP_REQUEST:
    case SSL_R_HTTPS_PROXY_REQUEST:
        return HTTP_OPEN_PLAIN;
    case SSL_R_UNSUPPORTED_PROTOCOL:
    case SSL_R_UNKNOWN_PROTOCOL:
    case SSL_R_VERSION_TOO_LOW:
    case SSL_R_WRONG_SSL_VERSION:
        return HTTP_OPEN_VERSION;
    case SSL_R_NO_SHARED_CIPHER:
    case SSL_R_NO_SUITABLE_SIGNATURE_ALGORITHM:
    case SSL_R_NO_SHARED_SIGNATURE_ALGORITHMS:
    case SSL_R_NO_SUITABLE_KEY_SHARE:
        return HTTP_OPEN_CIPHER;
    case SSL_R_NO_APPLICATION_PROTOCOL:
        return HTTP_OPEN_ALPN;
    default:
        /* Alerts have the numbers of the protocol from here on. */
        return reason >= SSL_AD_REASON_OFFSET ? HTTP_OPEN_ALERT
                                              : HTTP_OPEN_MALFORMED;
    }
}

enum http_step http_tls_shake(struct conn *c, enum http_opening_fault *fault,
                              const char **why)
{
    struct tls_conn *k = c->tls;
    unsigned long code;
    const char *text;
    int rc, error;

    ERR_clear_error();
    do {
        k->starved = false;
        rc = SSL_accept(k->ssl);
        error = rc == 1 ? SSL_ERROR_NONE : SSL_get_error(k->ssl, rc);
    } while (error == SSL_ERROR_WANT_READ && !k->starved && !k->eof);
    if (rc == 1) {
        c->server->counters.handshakes++;
        c->server->counters.handshakes_resumed +=
            SSL_session_reused(k->ssl) != 0;
        return HTTP_STEP_DONE;
    }
    if (error == SSL_ERROR_WANT_READ && !k->eof)
        return HTTP_STEP_WAIT;
    k->ended = k->bye = true;
    code = ERR_peek_error();
    if (k->eof || c->broken || !code) {
        *fault = HTTP_OPEN_GONE;
        return HTTP_STEP_FAILED;
    }
    *fault = fault_of(ERR_GET_REASON(code));
    text = ERR_reason_error_string(code);
    snprintf(k->why, sizeof k->why, "%s", text ? text : "unknown");
    *why = k->why;
    ERR_clear_error();
    return HTTP_STEP_FAILED;
}

/* ---- requests and answers ---- */

bool http_tls_waits(const struct conn *c)
{
    return c->tls->ended || SSL_has_pending(c->tls->ssl);
}

/* A read brought nothing. 0 at the end, -1 with errno. */
static ssize_t nothing(struct conn *c, int error)
{
    struct tls_conn *k = c->tls;

    if (error == SSL_ERROR_WANT_READ && !k->eof) {
        if (!k->starved && ++k->empty > EMPTY_MAX)
            goto broken;
        if (!k->starved)
            http_server_kick(c->server, c);
        errno = EAGAIN;
        return -1;
    }
    /* The end of the connection will do for the end of TLS: HTTP says itself
     * where a request ends. */
    if (error == SSL_ERROR_ZERO_RETURN || k->eof) {
        k->ended = true;
        return 0;
    }
broken:
    if (!k->ended)
        c->server->counters.records_bad++;
    k->ended = k->bye = true;
    errno = ECONNRESET;
    return -1;
}

ssize_t http_tls_read(struct conn *c, void *to, size_t n)
{
    struct tls_conn *k = c->tls;
    size_t got = 0, more;
    int rc = 1;

    ERR_clear_error();
    while (got < n) {
        k->starved = false;
        rc = SSL_read_ex(k->ssl, (char *)to + got, n - got, &more);
        if (rc != 1)
            break;
        got += more;
        k->empty = 0;
        if (!SSL_has_pending(k->ssl))
            return (ssize_t)got;
    }
    if (rc != 1) {
        ssize_t none = nothing(c, SSL_get_error(k->ssl, rc));

        ERR_clear_error();
        if (got == 0)
            return none;
    }
    /* There is more, or an end to be told the next time. */
    if (!k->starved)
        http_server_kick(c->server, c);
    return (ssize_t)got;
}

static void put(struct conn *c, mf_str s)
{
    size_t took;

    ERR_clear_error();
    if (s.len && !c->broken &&
        SSL_write_ex(c->tls->ssl, s.ptr, s.len, &took) != 1) {
        ERR_clear_error();
        c->broken = true;
    }
}

void http_tls_put(struct conn *c, mf_str a, mf_str b, bool cork)
{
    c->tls->cork = cork;
    put(c, a);
    put(c, b);
    c->tls->cork = false;
}

void http_tls_bye(struct conn *c)
{
    struct tls_conn *k = c->tls;

    if (k->bye || c->broken || !SSL_is_init_finished(k->ssl))
        return;
    k->bye = true;
    ERR_clear_error();
    if (SSL_shutdown(k->ssl) < 0)
        ERR_clear_error();
}

void http_tls_end(struct conn *c)
{
    /* What waits to be sent before it would come too late anyway. */
    if (c->sent == c->out.len)
        http_tls_bye(c);
    SSL_free(c->tls->ssl);
    free(c->tls);
    c->tls = NULL;
    http_server_unkick(c->server, c);
}
