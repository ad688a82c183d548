/* SPDX-License-Identifier: Apache-2.0
 *
 * certificate.c - see certificate.h. */
#include "supervisor/certificate.h"

#include "base/clock.h"
#include "base/io.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/text.h"
#include "supervisor/supervisor.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

static int read_one(const struct config *c, const char *const *path,
                    const char *key, char **text, size_t *len,
                    struct faults *f)
{
    struct err e;

    if (io_read_file(AT_FDCWD, *path, CERTIFICATE_BYTES_MAX, text, len, &e) ==
        0)
        return 0;
    faults_error(f, config_place(c, path),
                 "\"%s\": %s; let the user that starts the server read it",
                 key, e.text);
    return -1;
}

static const char *end_text(int64_t seconds, char out[TIME_TEXT])
{
    time_iso(seconds * 1000, out);
    return out;
}

/* What the end of a certificate is worth saying, or NULL. */
static const char *worry(const struct tls_facts *facts, int64_t now_s)
{
    if (facts->not_after <= now_s)
        return "expired";
    return facts->not_after - now_s < CERTIFICATE_WARN_S ? "expires" : NULL;
}

static void warn(const struct config *c, const struct certificate *x,
                 struct faults *f)
{
    struct place at = config_place(c, &c->ingest.tls.certificate);
    int64_t now_s = clock_ms() / 1000;
    const char *what = worry(&x->facts, now_s);
    char text[TIME_TEXT];

    if (what)
        faults_warn(f, at, "\"certificate\": %s %s at %s; renew it", x->path,
                    what, end_text(x->facts.not_after, text));
    if (x->facts.not_before > now_s)
        faults_warn(f, at,
                    "\"certificate\": %s is not valid before %s; until then "
                    "clients refuse it",
                    x->path, end_text(x->facts.not_before, text));
    if (!x->facts.named)
        faults_warn(f, at,
                    "\"certificate\": %s has no subjectAltName, so clients "
                    "refuse it; have it issued for the names they use",
                    x->path);
    if (!x->facts.ordered)
        faults_warn(f, at,
                    "\"certificate\": in %s a certificate is not followed by "
                    "the one that issued it; some clients will not find the "
                    "way to a root",
                    x->path);
}

int certificate_load(const struct config *c, struct certificate *out,
                     struct faults *f)
{
    const struct conf_tls *t = &c->ingest.tls;
    enum tls_blame blame;
    struct http_tls *tls;
    struct err e;

    memset(out, 0, sizeof *out);
    if (!t->certificate || !t->key)
        return 0;
    out->path = xstrdup(t->certificate);
    if (read_one(c, &t->certificate, "certificate", &out->chain,
                 &out->chain_len, f) != 0 ||
        read_one(c, &t->key, "key", &out->key, &out->key_len, f) != 0) {
        certificate_deinit(out);
        return -1;
    }
    tls = http_tls_new((mf_str){ out->chain, out->chain_len },
                       (mf_str){ out->key, out->key_len }, &out->facts, &blame,
                       &e);
    if (!tls) {
        bool key = blame == TLS_BLAME_KEY;

        faults_error(f, config_place(c, key ? &t->key : &t->certificate),
                     "\"%s\": %s: %s", key ? "key" : "certificate",
                     key ? t->key : t->certificate, e.text);
        certificate_deinit(out);
        return -1;
    }
    http_tls_free(tls);
    warn(c, out, f);
    return 0;
}

void certificate_deinit(struct certificate *x)
{
    if (x->key)
        explicit_bzero(x->key, x->key_len);
    free(x->path);
    free(x->chain);
    free(x->key);
    memset(x, 0, sizeof *x);
}

static bool same(const struct certificate *a, const struct certificate *b)
{
    return a->chain_len == b->chain_len && a->key_len == b->key_len &&
           (!a->chain || memcmp(a->chain, b->chain, a->chain_len) == 0) &&
           (!a->key || memcmp(a->key, b->key, a->key_len) == 0);
}

void certificate_use(struct supervisor *s, struct certificate *x)
{
    bool stays = same(&s->certificate, x);

    if (stays && !x->warned_ms) /* nor does the warning come again */
        x->warned_ms = s->certificate.warned_ms;
    certificate_deinit(&s->certificate);
    s->certificate = *x;
    memset(x, 0, sizeof *x);
    if (!stays)
        certificate_tell_ingest(s);
    certificate_watch(s);
}

void certificate_tell_ingest(struct supervisor *s)
{
    const struct certificate *x = &s->certificate;
    struct msg_tls m = { (uint32_t)x->chain_len, (uint32_t)x->key_len };
    struct buf b;

    if (!s->ingest)
        return;
    buf_init(&b, sizeof m + 2 * CERTIFICATE_BYTES_MAX);
    if (x->chain) {
        buf_room(&b, sizeof m + x->chain_len + x->key_len); /* no copies */
        buf_add(&b, &m, sizeof m);
        buf_add(&b, x->chain, x->chain_len);
        buf_add(&b, x->key, x->key_len);
    }
    child_send(s->ingest, MSG_TLS, b.data, b.len, -1);
    if (b.data)
        explicit_bzero(b.data, b.len);
    buf_deinit(&b);
}

void certificate_watch(struct supervisor *s)
{
    struct certificate *x = &s->certificate;
    int64_t now = clock_ms();
    const char *what;
    char text[TIME_TEXT];

    if (!x->chain || (x->warned_ms && now >= x->warned_ms &&
                      now - x->warned_ms < CERTIFICATE_AGAIN_MS))
        return;
    what = worry(&x->facts, now / 1000);
    if (!what)
        return;
    x->warned_ms = now;
    log_warn("certificate: %s %s at %s; renew it and reload", x->path, what,
             end_text(x->facts.not_after, text));
}
