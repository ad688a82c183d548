/* SPDX-License-Identifier: Apache-2.0
 *
 * common.c - see common.h. */
#include "cli/common.h"

#include "base/io.h"
#include "base/mem.h"
#include "base/text.h"
#include "json/json.h"

#include <curl/curl.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ANSWER_WITHIN_S 60

const char *config_path(const char *option)
{
    const char *env = getenv("MANIFOLD_CONFIG");

    return option ? option : env && *env ? env : CONFIG_DEFAULT;
}

struct config *config_or_complain(const char *path)
{
    struct faults *f = xcalloc(1, sizeof *f);
    struct config *c = NULL;
    struct buf b;

    faults_init(f);
    if (config_load(path, &c, f) != 0) {
        config_free(c);
        c = NULL;
    }
    buf_init(&b, 1u << 20);
    faults_write(f, &b);
    if (b.len)
        fwrite(b.data, 1, b.len, stderr);
    buf_deinit(&b);
    faults_deinit(f);
    free(f);
    return c;
}

struct config *config_readable(const char *path)
{
    struct faults *f = xcalloc(1, sizeof *f);
    struct config *c = NULL;
    struct buf b;

    faults_init(f);
    config_load(path, &c, f);
    if (!c || !c->data_dir) {
        buf_init(&b, 1u << 20);
        faults_write(f, &b);
        fwrite(b.data, 1, b.len, stderr);
        buf_deinit(&b);
        config_free(c);
        c = NULL;
    }
    faults_deinit(f);
    free(f);
    return c;
}

static bool list_has(mf_val list, mf_str text, struct arena *a)
{
    mf_iter it = { { 0 } };
    mf_str key;
    mf_val v;

    while (json_next(list, &it, &key, &v))
        if (mf_eq(json_text(v, a), text))
            return true;
    return false;
}

/* The first where plain HTTP is spoken, else the first. */
static mf_str pick_ingest(mf_val root, struct arena *a, bool *tls)
{
    mf_val list = json_get(root, MF_STR("ingest")), v;
    mf_iter it = { { 0 } };
    mf_str key;

    *tls = false;
    while (json_next(list, &it, &key, &v))
        if (!list_has(json_get(root, MF_STR("tls")), json_text(v, a), a))
            return json_text(v, a);
    *tls = json_count(list) > 0;
    return json_text(json_at(list, 0), a);
}

int server_find(const struct config *c, struct server_address *out,
                struct err *e)
{
    struct arena a;
    mf_str ingest, admin;
    char path[4096], *text;
    size_t len;
    mf_val root;
    int rc = 0;

    snprintf(path, sizeof path, "%s/run/addresses.json", c->data_dir);
    if (io_read_file(AT_FDCWD, path, 65536, &text, &len, e) != 0)
        return err_set(e, "no server is running on %s: %s is not there",
                       c->data_dir, path);
    arena_init(&a, 1 << 20);
    if (json_check((mf_str){ text, len }, JSON_DEPTH_MAX, NULL) != 0) {
        rc = err_set(e, "%s is not JSON", path);
        goto out;
    }
    root = json_root((mf_str){ text, len });
    admin = json_text(json_get(root, MF_STR("admin")), &a);
    ingest = pick_ingest(root, &a, &out->tls);
    snprintf(out->admin, sizeof out->admin, "%.*s", (int)admin.len,
             admin.ptr);
    snprintf(out->ingest, sizeof out->ingest, "%.*s", (int)ingest.len,
             ingest.ptr);
out:
    arena_deinit(&a);
    free(text);
    return rc;
}

static size_t collect(char *data, size_t size, size_t n, void *arg)
{
    buf_add(arg, data, size * n);
    return size * n;
}

/* An address bound to "any" is reached through loopback. */
static void reachable(const char *address, char *out, size_t size)
{
    if (strncmp(address, "0.0.0.0:", 8) == 0)
        snprintf(out, size, "127.0.0.1:%s", address + 8);
    else if (strncmp(address, "[::]:", 5) == 0)
        snprintf(out, size, "[::1]:%s", address + 5);
    else
        snprintf(out, size, "%s", address);
}

int http_exchange(const char *address, const char *path, const char *auth,
                  const char *body, long *status, struct buf *answer,
                  struct err *e)
{
    return https_exchange(address, NULL, path, auth, body, status, answer, e);
}

int https_exchange(const char *address, const char *certificate,
                   const char *path, const char *auth, const char *body,
                   long *status, struct buf *answer, struct err *e)
{
    CURL *curl = curl_easy_init();
    struct curl_slist *headers = NULL;
    char host[160], url[4096], text[CURL_ERROR_SIZE] = "";
    CURLcode code;

    ASSERT(curl);
    reachable(address, host, sizeof host);
    snprintf(url, sizeof url, "http%s://%s%s", certificate ? "s" : "", host,
             path);
    if (certificate) {
        curl_easy_setopt(curl, CURLOPT_CAINFO, certificate);
        curl_easy_setopt(curl, CURLOPT_CAPATH, NULL);
        curl_easy_setopt(curl, CURLOPT_SSL_VERIFYHOST, 0L);
    }
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_PROXY, "");
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT, (long)ANSWER_WITHIN_S);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, text);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, collect);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, answer);
    headers = curl_slist_append(headers, "Expect:");
    if (auth)
        headers = curl_slist_append(headers, auth);
    if (body) {
        headers = curl_slist_append(headers, "Content-Type: application/json");
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body);
    }
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    code = curl_easy_perform(curl);
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, status);
    curl_slist_free_all(headers);
    curl_easy_cleanup(curl);
    if (code != CURLE_OK)
        return err_set(e, "%s: %s", url,
                       *text ? text : curl_easy_strerror(code));
    return 0;
}

int admin_exchange(const struct config *c, const char *path, const char *body,
                   struct buf *answer, struct err *e)
{
    struct server_address at;
    char *auth = NULL;
    long status = 0;
    int rc;

    if (server_find(c, &at, e) != 0)
        return -1;
    if (c->admin.token)
        auth = xasprintf("Authorization: Bearer %s", c->admin.token);
    rc = http_exchange(at.admin, path, auth, body, &status, answer, e);
    free(auth);
    if (rc != 0)
        return -1;
    if (status < 200 || status > 299) {
        struct arena a;
        mf_str why = { "", 0 };

        arena_init(&a, 1 << 20);
        if (json_check(buf_view(answer), JSON_DEPTH_MAX, NULL) == 0)
            why = json_text(json_get(json_root(buf_view(answer)),
                                     MF_STR("message")),
                            &a);
        err_set(e, "the server answered %ld: %.*s", status, (int)why.len,
                why.ptr);
        arena_deinit(&a);
        return -1;
    }
    return json_check(buf_view(answer), JSON_DEPTH_MAX, NULL) == 0
               ? 0
               : err_set(e, "the server's answer is not JSON");
}

int ingest_post(const struct config *c, const struct conf_source *src,
                const char *body, struct buf *answer, bool *taken,
                struct err *e)
{
    struct server_address at;
    char *auth, *credentials;
    struct buf basic;
    long status = 0;
    int rc;

    *taken = false;
    if (server_find(c, &at, e) != 0)
        return -1;
    buf_init(&basic, 4096);
    credentials = xasprintf("%s:", src->write_key);
    base64_encode(&basic, mf_cstr(credentials));
    auth = xasprintf("Authorization: Basic %.*s", (int)basic.len, basic.data);
    buf_clear(answer);
    rc = https_exchange(at.ingest,
                        at.tls ? c->ingest.tls.certificate : NULL,
                        "/v1/batch", auth, body, &status, answer, e);
    if (rc == 0)
        *taken = status == 200 &&
                 !memmem(answer->data, answer->len, "rejected", 8);
    free(credentials);
    free(auth);
    buf_deinit(&basic);
    return rc;
}

const char *colour(const char *sequence)
{
    const char *no = getenv("NO_COLOR");

    return isatty(1) && !(no && *no) ? sequence : "";
}
