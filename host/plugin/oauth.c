/* SPDX-License-Identifier: Apache-2.0
 *
 * oauth.c - see oauth.h: the token requests of RFC 6749 (client_credentials,
 * refresh_token) and RFC 7523 (a JWT as the grant, signed with RS256), and
 * what their answers mean.
 *
 * private_key is a PEM text, its line ends perhaps written as \n by an
 * environment that has none, or the JSON of a Google service account, which
 * brings issuer and key_id with it. */
#include "plugin/oauth.h"

#include "plugin/inner.h"

#include <openssl/evp.h>
#include <openssl/pem.h>

#define ASSERTION_SECONDS 180 /* the strictest of the big servers allows so */
#define TOKENS_BYTES_MAX  65536
#define EXPIRES_S_MAX     315360000 /* ten years; no longer is believed */
#define JWT_GRANT         "urn:ietf:params:oauth:grant-type:jwt-bearer"

/* ---- what the manifest says ---- */

/* `auth` with its directives carried out; `known` is what they see as auth. */
static mf_val evaluated(struct instance *i, mf_val known, struct arena *a)
{
    const struct manifest *m = i->plugin->manifest;
    struct mapping_part parts[] = {
        { MF_STR("settings"), i->settings },
        { MF_STR("auth"), known },
    };
    struct err ignored;

    if (!m->auth)
        return (mf_val){ NULL, 0, MF_ABSENT };
    return mapping_eval_parts(m->auth, parts, COUNT_OF(parts), a, &ignored);
}

static mf_str member(mf_val auth, const char *name, struct arena *a)
{
    mf_val v = json_get(auth, mf_cstr(name));

    return v.type <= MF_NULL ? (mf_str){ "", 0 } : js_string(v, a);
}

bool oauth_needed(struct instance *i)
{
    mf_val none = { "{}", 2, MF_OBJECT };
    struct arena a;
    mf_val auth;
    bool given;

    if (strcmp(i->plugin->manifest->auth_scheme, "oauth2") != 0 ||
        !i->special_there[SPECIAL_REFRESH])
        return false;
    arena_init(&a, CALL_INPUT_BYTES);
    auth = evaluated(i, none, &a);
    given = member(auth, "access_token", &a).len != 0 ||
            member(auth, "username", &a).len != 0;
    arena_deinit(&a);
    return !given;
}

mf_str oauth_origin(struct instance *i, struct arena *a)
{
    const char *const *key = i->plugin->manifest->secret_settings;
    mf_val none = { "{}", 2, MF_OBJECT }, auth = evaluated(i, none, a);
    struct buf b;
    mf_str text;

    buf_init(&b, MANIFEST_BYTES_MAX + CALL_INPUT_BYTES);
    buf_add(&b, auth.raw, auth.len);
    for (; key && *key; key++) {
        mf_val v = json_get(i->settings, mf_cstr(*key));

        buf_printf(&b, "\n%s ", *key);
        buf_add(&b, v.raw, v.len);
    }
    text = hash_text(HASH_SHA256, HASH_HEX, buf_view(&b), a);
    buf_deinit(&b);
    return text;
}

/* ---- objects of tokens ---- */

/* Writes the members of v that are not in `over`. A lifetime is that of the
 * one answer that told it. */
static void put_members(struct json_out *w, mf_val v, mf_val over,
                        struct arena *a)
{
    mf_iter it = { { 0 } };
    mf_str key;
    mf_val one;

    while (json_next(v, &it, &key, &one))
        if (over.type == MF_ABSENT ||
            (json_get(over, json_unescape(key, a)).type == MF_ABSENT &&
             !json_key_is(key, MF_STR("expiresIn")))) {
            json_key_raw(w, key);
            json_val(w, one);
        }
}

mf_val oauth_merged(mf_val old, mf_val given, struct arena *a)
{
    mf_val none = { NULL, 0, MF_ABSENT };
    struct json_out w;
    struct buf b;
    mf_val v;

    buf_init(&b, CALL_INPUT_BYTES);
    json_out_init(&w, &b);
    json_begin_object(&w);
    put_members(&w, old, given, a);
    put_members(&w, given, none, a);
    json_end_object(&w);
    v = json_root(arena_copy(a, buf_view(&b)));
    buf_deinit(&b);
    return v;
}

mf_val oauth_auth(struct instance *i, mf_val tokens, struct arena *a)
{
    static const char *const names[][2] = {
        { "client_id", "clientId" },
        { "client_secret", "clientSecret" },
        { "refresh_token", "refreshToken" },
    };
    mf_val none = { "{}", 2, MF_OBJECT }, auth = evaluated(i, none, a), v;
    struct json_out w;
    struct buf b;

    buf_init(&b, CALL_INPUT_BYTES);
    json_out_init(&w, &b);
    json_begin_object(&w);
    for (size_t k = 0; k < COUNT_OF(names); k++) {
        mf_str text = member(auth, names[k][0], a);

        if (text.len) {
            json_key(&w, mf_cstr(names[k][1]));
            json_str(&w, text);
        }
    }
    json_end_object(&w);
    v = json_root(arena_copy(a, buf_view(&b)));
    buf_deinit(&b);
    return oauth_merged(v, tokens, a);
}

void oauth_times(mf_val tokens, int64_t now_ms, int64_t *expires_ms,
                 int64_t *renew_ms)
{
    mf_val v = json_get(tokens, MF_STR("expiresIn"));
    double said = json_number(v, 0);
    int64_t seconds = 0, margin;

    if (v.type == MF_STRING && v.len > 2 && /* against the book, but done */
        !parse_i64((mf_str){ v.raw + 1, v.len - 2 }, &seconds))
        seconds = 0;
    if (said >= 1)
        seconds = said < EXPIRES_S_MAX ? (int64_t)said : EXPIRES_S_MAX;
    if (seconds <= 0 || seconds > EXPIRES_S_MAX) {
        *expires_ms = *renew_ms = INT64_MAX;
        return;
    }
    margin = seconds * 1000 / OAUTH_MARGIN_DIV;
    *expires_ms = now_ms + seconds * 1000;
    *renew_ms = *expires_ms -
                (margin < OAUTH_MARGIN_MS ? margin : OAUTH_MARGIN_MS);
}

/* ---- the assertion ---- */

struct key_source {
    mf_str pem, issuer, key_id;
};

/* "\n" written as two characters is a line's end: base64 has no backslash. */
static mf_str real_lines(mf_str s, struct arena *a)
{
    char *out = arena_alloc(a, s.len + 1);
    size_t n = 0;

    for (size_t k = 0; k < s.len; k++) {
        if (s.ptr[k] == '\\' && k + 1 < s.len && s.ptr[k + 1] == 'n') {
            out[n++] = '\n';
            k++;
        } else {
            out[n++] = s.ptr[k];
        }
    }
    out[n] = 0;
    return (mf_str){ out, n };
}

static struct key_source key_source(mf_val auth, struct arena *a)
{
    mf_val v = json_get(auth, MF_STR("private_key"));
    struct key_source k = { member(auth, "private_key", a),
                            member(auth, "issuer", a),
                            member(auth, "key_id", a) };
    mf_str text = str_trim(k.pem);

    if (v.type == MF_STRING && text.len && text.ptr[0] == '{' &&
        json_check(text, JSON_DEPTH_MAX, NULL) == 0)
        v = json_root(text);
    if (v.type == MF_OBJECT) {
        k.pem = member(v, "private_key", a);
        if (!k.issuer.len)
            k.issuer = member(v, "client_email", a);
        if (!k.key_id.len)
            k.key_id = member(v, "private_key_id", a);
    }
    if (!k.issuer.len)
        k.issuer = member(auth, "client_id", a);
    k.pem = real_lines(k.pem, a);
    return k;
}

static void put_text(struct json_out *w, const char *key, mf_str value)
{
    if (value.len == 0)
        return;
    json_key(w, mf_cstr(key));
    json_str(w, value);
}

/* base64url(header) "." base64url(claims) */
static mf_str unsigned_jwt(struct call *c, mf_val auth,
                           const struct key_source *k, mf_str url)
{
    mf_str audience = member(auth, "audience", &c->in), text;
    struct buf one, all;
    struct json_out w;

    buf_init(&one, TOKENS_BYTES_MAX);
    buf_init(&all, 2 * TOKENS_BYTES_MAX);
    json_out_init(&w, &one);
    json_begin_object(&w);
    json_kstr(&w, "alg", MF_STR("RS256"));
    json_kstr(&w, "typ", MF_STR("JWT"));
    put_text(&w, "kid", k->key_id);
    json_end_object(&w);
    base64url_encode(&all, buf_view(&one));
    buf_char(&all, '.');
    buf_clear(&one);
    json_out_init(&w, &one);
    json_begin_object(&w);
    put_text(&w, "iss", k->issuer);
    put_text(&w, "sub", member(auth, "subject", &c->in));
    put_text(&w, "aud", audience.len ? audience : url);
    put_text(&w, "scope", member(auth, "scope", &c->in));
    json_kint(&w, "iat", c->now / 1000);
    json_kint(&w, "exp", c->now / 1000 + ASSERTION_SECONDS);
    json_end_object(&w);
    base64url_encode(&all, buf_view(&one));
    text = all.full || one.full ? (mf_str){ NULL, 0 }
                                : arena_copy(&c->in, buf_view(&all));
    buf_deinit(&one);
    buf_deinit(&all);
    return text;
}

/* A key with a passphrase is refused: nobody is there to be asked for it. */
static int no_passphrase(char *to, int size, int writing, void *arg)
{
    (void)to;
    (void)size;
    (void)writing;
    (void)arg;
    return -1;
}

/* RSASSA-PKCS1-v1_5 with SHA-256, in the arena; empty if the key is none. */
static mf_str rs256(mf_str pem, mf_str data, struct arena *a)
{
    BIO *bio = BIO_new_mem_buf(pem.ptr, (int)pem.len);
    EVP_PKEY *key = PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL);
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    mf_str out = { NULL, 0 };
    size_t n = 0;

    ASSERT(bio && md);
    if (key && EVP_PKEY_get_base_id(key) == EVP_PKEY_RSA &&
        EVP_DigestSignInit(md, NULL, EVP_sha256(), NULL, key) == 1 &&
        EVP_DigestSign(md, NULL, &n, (const unsigned char *)data.ptr,
                       data.len) == 1) {
        unsigned char *signature = arena_alloc(a, n);

        if (EVP_DigestSign(md, signature, &n,
                           (const unsigned char *)data.ptr, data.len) == 1)
            out = (mf_str){ (char *)signature, n };
    }
    EVP_MD_CTX_free(md);
    EVP_PKEY_free(key);
    BIO_free(bio);
    return out;
}

static mf_str assertion(struct call *c, mf_val auth, mf_str url,
                        const char **why)
{
    struct key_source k = key_source(auth, &c->in);
    mf_str text, signature;
    struct buf b;

    *why = "private_key is no RSA key in PEM, nor a service account's JSON";
    if (k.pem.len == 0 || k.pem.len > TOKENS_BYTES_MAX)
        return (mf_str){ NULL, 0 };
    text = unsigned_jwt(c, auth, &k, url);
    if (text.len == 0) {
        *why = "the members of auth are too long for an assertion";
        return text;
    }
    signature = rs256(k.pem, text, &c->in);
    if (signature.len == 0)
        return signature;
    buf_init(&b, 4 * TOKENS_BYTES_MAX);
    buf_str(&b, text);
    buf_char(&b, '.');
    base64url_encode(&b, signature);
    text = arena_copy(&c->in, buf_view(&b));
    buf_deinit(&b);
    return text;
}

/* ---- the request ---- */

static int refuse(struct call *c, const char *why)
{
    host_table.fail(&c->pub, MF_INVALID, mf_cstr(why));
    c->whole_failed = true;
    return MF_INVALID;
}

static void form_member(struct request *r, mf_val auth, const char *name)
{
    mf_str value = member(auth, name, &r->call->in);

    if (value.len)
        request_form(r, mf_cstr(name), value);
}

/* Who asks: in the form, or in a header where the server wants it there (each
 * escaped first: RFC 6749, 2.3.1). */
static void add_client(struct request *r, mf_val auth)
{
    struct arena *a = &r->call->in;
    struct buf pair, header;

    if (!mf_eq(member(auth, "client_auth", a), MF_STR("basic"))) {
        form_member(r, auth, "client_id");
        form_member(r, auth, "client_secret");
        return;
    }
    buf_init(&pair, TOKENS_BYTES_MAX);
    buf_init(&header, 2 * TOKENS_BYTES_MAX);
    form_encode(&pair, member(auth, "client_id", a));
    buf_char(&pair, ':');
    form_encode(&pair, member(auth, "client_secret", a));
    buf_puts(&header, "Basic ");
    base64_encode(&header, buf_view(&pair));
    request_header(r, MF_STR("authorization"), buf_view(&header));
    buf_deinit(&pair);
    buf_deinit(&header);
}

static int fill_refresh(struct request *r, mf_val auth)
{
    struct call *c = r->call;
    mf_str token = member(c->auth, "refreshToken", &c->in);

    if (token.len == 0)
        token = member(auth, "refresh_token", &c->in);
    if (token.len == 0)
        return refuse(c, "auth has no refresh_token to get a token with");
    request_form(r, MF_STR("refresh_token"), token);
    add_client(r, auth);
    form_member(r, auth, "scope");
    return MF_OK;
}

static int fill_client(struct request *r, mf_val auth)
{
    add_client(r, auth);
    form_member(r, auth, "scope");
    form_member(r, auth, "audience");
    return MF_OK;
}

static int fill_jwt(struct request *r, mf_val auth, mf_str url)
{
    const char *why;
    mf_str jwt = assertion(r->call, auth, url, &why);

    if (jwt.len == 0)
        return refuse(r->call, why);
    request_form(r, MF_STR("assertion"), jwt);
    return MF_OK;
}

int oauth_perform(struct call *c)
{
    const char *grant = c->instance->plugin->manifest->auth_grant;
    mf_val auth = evaluated(c->instance, c->auth, &c->in);
    mf_str url = member(auth, "token_url", &c->in);
    bool jwt = strcmp(grant, "jwt_bearer") == 0;
    struct request *r;

    if (url.len == 0)
        return refuse(c, "auth has no token_url");
    r = request_new(c, MF_STR("POST"), url);
    r->no_auth = true;
    request_header(r, MF_STR("accept"), MF_STR("application/json"));
    request_form(r, MF_STR("grant_type"),
                 jwt ? MF_STR(JWT_GRANT) : mf_cstr(grant));
    if (jwt)
        return fill_jwt(r, auth, url);
    if (strcmp(grant, "refresh_token") == 0)
        return fill_refresh(r, auth);
    return fill_client(r, auth);
}

/* ---- the answer ---- */

mf_val oauth_tokens(mf_val answer, struct arena *a)
{
    static const char *const names[][2] = {
        { "access_token", "accessToken" },
        { "refresh_token", "refreshToken" },
        { "expires_in", "expiresIn" },
    };
    mf_iter it = { { 0 } };
    struct json_out w;
    struct buf b;
    mf_str key;
    mf_val v;

    if (json_get(answer, MF_STR("access_token")).type != MF_STRING)
        return (mf_val){ NULL, 0, MF_ABSENT };
    buf_init(&b, CALL_INPUT_BYTES);
    json_out_init(&w, &b);
    json_begin_object(&w);
    while (json_next(answer, &it, &key, &v)) {
        size_t k = 0;

        while (k < COUNT_OF(names) && !json_key_is(key, mf_cstr(names[k][0])))
            k++;
        if (k < COUNT_OF(names))
            json_key(&w, mf_cstr(names[k][1]));
        else if (v.type == MF_STRING)
            json_key_raw(&w, key);
        else
            continue;
        json_val(&w, v);
    }
    json_end_object(&w);
    v = json_root(arena_copy(a, buf_view(&b)));
    buf_deinit(&b);
    return v;
}

/* Errors by which a server says that it is its own fault, whatever status it
 * gave: RFC 6749, 4.1.2.1, and slow_down of RFC 8628. */
static bool passes(mf_str error)
{
    return mf_eq(error, MF_STR("temporarily_unavailable")) ||
           mf_eq(error, MF_STR("server_error")) ||
           mf_eq(error, MF_STR("slow_down"));
}

bool oauth_judge(struct call *c, int32_t status, mf_val answer)
{
    mf_str error = member(answer, "error", &c->in);
    mf_str more = member(answer, "error_description", &c->in);
    bool good = status >= 200 && status < 300;

    if (status == 0 || (good && c->token.type == MF_OBJECT) ||
        (!good && error.len == 0))
        return false; /* as any other answer */
    if (passes(error))
        status = 503;
    else if (good)
        status = 401;
    if (error.len == 0)
        error = MF_STR("its answer has no access_token");
    call_settle(c, 0, status,
                call_message(c, "the token server refuses: %.*s%s%.*s",
                             (int)error.len, error.ptr, more.len ? ": " : "",
                             (int)more.len, more.ptr));
    c->whole_failed = true;
    return true;
}
