/* SPDX-License-Identifier: Apache-2.0
 *
 * oauth_test.c - token requests of the three grants, the assertion checked
 * with the public key, and what answers mean. The RSA key is made anew. */
#include "plugin/inner.h"
#include "plugin/oauth.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define NOW 1440938160000 /* 2015-08-30T12:36:00Z */
#define URL "https://id.acme.example/token"

static const char head[] =
    "{\"slug\":\"acme\",\"name\":\"Acme\",\"version\":\"1.0.0\","
    "\"docs\":\"https://docs.example/\",\"kind\":\"http\","
    "\"hosts\":[\"*.acme.example\"],\"auth\":{\"scheme\":\"oauth2\","
    "\"token_url\":{\"@path\":\"$.settings.url\"},";
static const char tail[] =
    "},\"settings\":["
#define SETTING(key)                                                           \
    "{\"key\":\"" key "\",\"label\":\"L\",\"description\":\"D\","             \
    "\"type\":\"password\"}"
    SETTING("url") "," SETTING("secret") "," SETTING("token")
    "],\"actions\":[{\"slug\":\"get\",\"title\":\"G\",\"description\":\"G\","
    "\"fields\":[],\"request\":{\"method\":\"GET\","
    "\"url\":\"https://api.acme.example/\"}}]}";

static const char client_grant[] =
    "\"grant\":\"client_credentials\",\"client_id\":\"me\","
    "\"client_secret\":{\"@path\":\"$.settings.secret\"},\"scope\":\"a b\"";
static const char refresh_grant[] =
    "\"grant\":\"refresh_token\",\"client_id\":\"me\","
    "\"client_secret\":{\"@path\":\"$.settings.secret\"},"
    "\"refresh_token\":{\"@path\":\"$.settings.token\"}";
static const char jwt_grant[] =
    "\"grant\":\"jwt_bearer\",\"scope\":\"s\",\"subject\":\"u@acme.example\","
    "\"private_key\":{\"@path\":\"$.settings.secret\"}";

static struct plugin plugin;
static struct instance *instance;
static struct call *call;
static const struct call_request *request;
static struct arena arena;
static EVP_PKEY *key;
static char pem[8192];

static int make_key(void **state)
{
    BIO *bio = BIO_new(BIO_s_mem());
    int n;

    (void)state;
    key = EVP_RSA_gen(2048);
    assert_int_equal(PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL,
                                              NULL), 1);
    n = BIO_read(bio, pem, sizeof pem - 1);
    assert_true(n > 0);
    BIO_free(bio);
    return 0;
}

static int drop_key(void **state)
{
    (void)state;
    EVP_PKEY_free(key);
    return 0;
}

/* Opens an instance of a plugin with this grant. */
static void open_instance(const char *grant, const char *settings,
                          const char *auth)
{
    struct instance_config c = { .name = "a", .fixed = true, .now = NOW,
                                 .settings = json_root(mf_cstr(settings)) };
    char *text = xasprintf("%s%s%s", head, grant, tail);
    struct err e = { "" };

    call = NULL;
    arena_init(&arena, 1u << 20);
    c.lenient = true;
    if (auth)
        c.auth = json_root(mf_cstr(auth));
    plugin.manifest = manifest_parse(text, strlen(text), "test", &e);
    if (!plugin.manifest)
        fail_msg("%s", e.text);
    instance = instance_new(&plugin, &c, NULL);
    assert_non_null(instance);
}

/* And asks for a token. */
static void begin(const char *grant, const char *settings, const char *auth)
{
    open_instance(grant, settings, auth);
    assert_true(oauth_needed(instance));
    call = call_special(instance, "refreshAccessToken",
                        json_root(MF_STR("{}")));
    assert_non_null(call);
    call_start(call);
    request = call_next(call);
}

static void answer(int status, const char *body)
{
    struct call_answer a = { .status = status, .body = mf_cstr(body) };

    call_answer(call, request->id, &a);
    assert_null(call_next(call));
    assert_true(call_done(call));
}

static int end(void **state)
{
    (void)state;
    call_free(call);
    instance_free(instance);
    manifest_free(plugin.manifest);
    arena_deinit(&arena);
    return 0;
}

static void body_is(const char *want)
{
    assert_non_null(request);
    assert_string_equal(request->method, "POST");
    assert_true(mf_eq(request->url, MF_STR(URL)));
    for (size_t k = 0; k < request->header_count; k++)
        assert_false(mf_eq(request->headers[k].name,
                           MF_STR("authorization")));
    if (!mf_eq(request->body, mf_cstr(want)))
        fail_msg("%.*s", (int)request->body.len, request->body.ptr);
}

static void test_client_credentials(void **state)
{
    (void)state;
    begin(client_grant, "{\"url\":\"" URL "\",\"secret\":\"s&1\"}", NULL);
    body_is("grant_type=client_credentials&client_id=me&client_secret=s%261"
            "&scope=a+b");
    answer(200, "{\"access_token\":\"t\",\"expires_in\":3600,"
                "\"instance_url\":\"https://x\",\"n\":1}");
    assert_int_equal(call_result(call, 0)->status, 200);
    assert_true(mf_eq((mf_str){ call_token(call).raw, call_token(call).len },
                      MF_STR("{\"accessToken\":\"t\",\"expiresIn\":3600,"
                             "\"instance_url\":\"https://x\"}")));
}

static void test_basic(void **state)
{
    char grant[512];
    mf_str got = { NULL, 0 };

    (void)state;
    snprintf(grant, sizeof grant, "%s,\"client_auth\":\"basic\"",
             client_grant);
    begin(grant, "{\"url\":\"" URL "\",\"secret\":\"s:1\"}", NULL);
    assert_non_null(request);
    assert_true(mf_eq(request->body,
                      MF_STR("grant_type=client_credentials&scope=a+b")));
    for (size_t k = 0; k < request->header_count; k++)
        if (mf_eq(request->headers[k].name, MF_STR("authorization")))
            got = request->headers[k].value;
    assert_true(mf_eq(got, MF_STR("Basic bWU6cyUzQTE="))); /* me:s%3A1 */
}

/* Retry-After holds for tokens too, whatever the body says. */
static void test_retry_after(void **state)
{
    struct call_header h = { MF_STR("retry-after"), MF_STR("7") };
    struct call_answer a = { .status = 429, .headers = &h, .header_count = 1,
                             .body = MF_STR("{\"error\":\"slow_down\"}") };

    (void)state;
    begin(client_grant, "{\"url\":\"" URL "\",\"secret\":\"s\"}", NULL);
    call_answer(call, request->id, &a);
    assert_int_equal(call_result(call, 0)->status, 503);
    assert_int_equal(call_result(call, 0)->retry_after_ms, 7000);
}

static void test_refresh(void **state)
{
    (void)state;
    begin(refresh_grant,
          "{\"url\":\"" URL "\",\"secret\":\"s\",\"token\":\"r0\"}", NULL);
    body_is("grant_type=refresh_token&refresh_token=r0&client_id=me"
            "&client_secret=s");
}

/* A refresh token that the server has replaced counts, not the setting. */
static void test_rotated(void **state)
{
    mf_val old, tokens;

    (void)state;
    begin(refresh_grant,
          "{\"url\":\"" URL "\",\"secret\":\"s\",\"token\":\"r0\"}",
          "{\"refreshToken\":\"r1\"}");
    body_is("grant_type=refresh_token&refresh_token=r1&client_id=me"
            "&client_secret=s");
    answer(200, "{\"access_token\":\"t\"}");
    old = json_root(MF_STR("{\"accessToken\":\"o\",\"refreshToken\":\"r1\"}"));
    tokens = oauth_merged(old, call_token(call), &arena);
    assert_true(mf_eq((mf_str){ tokens.raw, tokens.len },
                      MF_STR("{\"refreshToken\":\"r1\","
                             "\"accessToken\":\"t\"}")));
    tokens = oauth_auth(instance, tokens, &arena);
    assert_true(mf_eq((mf_str){ tokens.raw, tokens.len },
                      MF_STR("{\"clientId\":\"me\",\"clientSecret\":\"s\","
                             "\"refreshToken\":\"r1\","
                             "\"accessToken\":\"t\"}")));
}

/* The part of a JWT between two dots, decoded. */
static mf_str jwt_part(mf_str jwt, unsigned n)
{
    struct buf b;
    mf_str text;
    size_t len;

    while (n--) {
        const char *dot = memchr(jwt.ptr, '.', jwt.len);

        assert_non_null(dot);
        jwt.len -= (size_t)(dot + 1 - jwt.ptr);
        jwt.ptr = dot + 1;
    }
    len = memchr(jwt.ptr, '.', jwt.len)
              ? (size_t)((const char *)memchr(jwt.ptr, '.', jwt.len) - jwt.ptr)
              : jwt.len;
    buf_init(&b, 65536);
    assert_true(base64_decode(&b, (mf_str){ jwt.ptr, len }));
    text = arena_copy(&arena, buf_view(&b));
    buf_deinit(&b);
    return text;
}

static void assertion_is(const char *header, const char *claims)
{
    static const char form[] =
        "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer"
        "&assertion=";
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    mf_str jwt, part;
    size_t signed_len;

    assert_non_null(request);
    assert_true(str_starts(request->body, mf_cstr(form)));
    jwt = (mf_str){ request->body.ptr + strlen(form),
                    request->body.len - strlen(form) };
    part = jwt_part(jwt, 0);
    assert_string_equal(part.ptr, header);
    part = jwt_part(jwt, 1);
    assert_string_equal(part.ptr, claims);
    part = jwt_part(jwt, 2);
    signed_len = (size_t)((const char *)memrchr(jwt.ptr, '.', jwt.len) -
                          jwt.ptr);
    assert_int_equal(EVP_DigestVerifyInit(md, NULL, EVP_sha256(), NULL, key),
                     1);
    assert_int_equal(EVP_DigestVerify(md, (const unsigned char *)part.ptr,
                                      part.len,
                                      (const unsigned char *)jwt.ptr,
                                      signed_len), 1);
    EVP_MD_CTX_free(md);
}

#define CLAIMS                                                                 \
    "\"sub\":\"u@acme.example\",\"aud\":\"" URL "\",\"scope\":\"s\","         \
    "\"iat\":1440938160,\"exp\":1440938340}"

/* settings with the key as text, or inside a service account's JSON. */
static mf_str settings_of(const char *account)
{
    struct buf b;
    mf_str text;

    buf_init(&b, 65536);
    buf_puts(&b, "{\"url\":\"" URL "\",\"secret\":\"");
    json_escape(&b, mf_cstr(account));
    buf_puts(&b, "\"}");
    buf_char(&b, 0);
    text = (mf_str){ xstrdup(b.data), b.len - 1 };
    buf_deinit(&b);
    return text;
}

static void test_jwt(void **state)
{
    mf_str s = settings_of(pem);
    char grant[512];

    (void)state;
    snprintf(grant, sizeof grant, "%s,\"issuer\":\"iss1\"", jwt_grant);
    begin(grant, s.ptr, NULL);
    assertion_is("{\"alg\":\"RS256\",\"typ\":\"JWT\"}",
                 "{\"iss\":\"iss1\"," CLAIMS);
    free((char *)(uintptr_t)s.ptr);
}

static void test_service_account(void **state)
{
    struct buf b;
    mf_str s;

    (void)state;
    buf_init(&b, 65536);
    buf_puts(&b, "{\"type\":\"service_account\",\"private_key_id\":\"k1\","
                 "\"client_email\":\"robot@acme.example\",\"private_key\":\"");
    json_escape(&b, mf_cstr(pem));
    buf_puts(&b, "\"}");
    buf_char(&b, 0);
    s = settings_of(b.data);
    buf_deinit(&b);
    begin(jwt_grant, s.ptr, NULL);
    assertion_is("{\"alg\":\"RS256\",\"typ\":\"JWT\",\"kid\":\"k1\"}",
                 "{\"iss\":\"robot@acme.example\"," CLAIMS);
    free((char *)(uintptr_t)s.ptr);
}

static void test_bad_key(void **state)
{
    (void)state;
    begin(jwt_grant, "{\"url\":\"" URL "\",\"secret\":\"no key\"}", NULL);
    assert_null(request);
    assert_true(call_done(call));
    assert_true(call_failed(call));
    assert_int_equal(call_result(call, 0)->status, MF_INVALID);
    assert_non_null(strstr(call_result(call, 0)->message.ptr, "private_key"));
}

/* Elsewhere than where the plugin may send, no secret is told. */
static void test_wrong_host(void **state)
{
    (void)state;
    begin(client_grant, "{\"url\":\"https://evil.example/\"}", NULL);
    assert_null(request);
    assert_int_equal(call_result(call, 0)->status, MF_INVALID);
}

static void judged(int status, const char *body, int want, const char *text)
{
    const struct call_result *r;
    void *unused = NULL;

    begin(client_grant, "{\"url\":\"" URL "\",\"secret\":\"s\"}", NULL);
    answer(status, body);
    r = call_result(call, 0);
    assert_int_equal(r->status, want);
    assert_non_null(strstr(r->message.ptr, text));
    assert_int_equal(call_token(call).type, MF_ABSENT);
    end(&unused);
}

static void test_refused(void **state)
{
    (void)state;
    judged(400, "{\"error\":\"invalid_grant\",\"error_description\":\"old\"}",
           400, "invalid_grant: old");
    judged(200, "{\"error\":\"invalid_grant\"}", 401, "invalid_grant");
    judged(400, "{\"error\":\"temporarily_unavailable\"}", 503, "temporar");
    judged(200, "{}", 401, "no access_token");
    judged(200, "<html>", 401, "no access_token");
    judged(503, "busy", 503, "HTTP 503");
    judged(429, "{\"error\":{\"code\":1}}", 429, "");
}

static void test_times(void **state)
{
    int64_t end_ms, renew_ms;

    (void)state;
    oauth_times(json_root(MF_STR("{\"expiresIn\":3600}")), NOW, &end_ms,
                &renew_ms);
    assert_int_equal(end_ms, NOW + 3600000);
    assert_int_equal(renew_ms, NOW + 3540000);
    oauth_times(json_root(MF_STR("{\"expiresIn\":\"10\"}")), NOW, &end_ms,
                &renew_ms);
    assert_int_equal(end_ms, NOW + 10000);
    assert_int_equal(renew_ms, NOW + 8000);
    oauth_times(json_root(MF_STR("{\"accessToken\":\"a\"}")), NOW, &end_ms,
                &renew_ms);
    assert_true(end_ms == INT64_MAX && renew_ms == INT64_MAX);
    oauth_times(json_root(MF_STR("{\"expiresIn\":1e300}")), NOW, &end_ms,
                &renew_ms);
    assert_int_equal(end_ms, NOW + 315360000000);
}

static mf_str origin_with(const char *settings)
{
    static char texts[2][80];
    static unsigned turn;
    char *to = texts[turn++ % 2];
    void *unused = NULL;
    mf_str text;

    begin(refresh_grant, settings, NULL);
    text = oauth_origin(instance, &arena);
    snprintf(to, sizeof texts[0], "%.*s", (int)text.len, text.ptr);
    end(&unused);
    return mf_cstr(to);
}

static void test_origin(void **state)
{
    (void)state;
    assert_true(mf_eq(origin_with("{\"url\":\"" URL "\",\"token\":\"r0\"}"),
                      origin_with("{\"token\":\"r0\",\"url\":\"" URL "\"}")));
    assert_false(mf_eq(origin_with("{\"url\":\"" URL "\",\"token\":\"r0\"}"),
                       origin_with("{\"url\":\"" URL "\",\"token\":\"r9\"}")));
}

/* A token that the settings hold is used as it is. */
static void test_given(void **state)
{
    static const char given_grant[] =
        "\"grant\":\"client_credentials\",\"client_id\":\"me\","
        "\"access_token\":{\"@path\":\"$.settings.token\"}";
    void *unused = NULL;

    (void)state;
    open_instance(given_grant, "{\"url\":\"" URL "\",\"token\":\"t-1\"}",
                  NULL);
    assert_false(oauth_needed(instance));
    end(&unused);
    begin(given_grant, "{\"url\":\"" URL "\",\"token\":\"\"}", NULL);
    end(&unused);
}

/* Nothing is fetched for a user's name and password; the request has them. */
static void test_user(void **state)
{
    static const char user_grant[] =
        "\"grant\":\"client_credentials\",\"client_id\":\"me\","
        "\"username\":{\"@path\":\"$.settings.token\"},"
        "\"password\":{\"@path\":\"$.settings.secret\"}";
    void *unused = NULL;

    (void)state;
    open_instance(user_grant,
                  "{\"url\":\"" URL "\",\"token\":\"u\",\"secret\":\"p\"}",
                  NULL);
    assert_false(oauth_needed(instance));
    end(&unused);
    begin(user_grant, "{\"url\":\"" URL "\",\"token\":\"\"}", NULL);
    end(&unused);
}

int main(void)
{
#define T(f) cmocka_unit_test_teardown(f, end)
    const struct CMUnitTest tests[] = {
        T(test_client_credentials), T(test_basic), T(test_refresh),
        T(test_rotated), T(test_retry_after),
        T(test_jwt), T(test_service_account), T(test_bad_key),
        T(test_wrong_host), cmocka_unit_test(test_refused),
        cmocka_unit_test(test_times), cmocka_unit_test(test_origin),
        cmocka_unit_test(test_given), cmocka_unit_test(test_user),
    };

    return cmocka_run_group_tests(tests, make_key, drop_key);
}
