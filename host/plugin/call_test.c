/* SPDX-License-Identifier: Apache-2.0
 *
 * call_test.c - what becomes of an event, whatever the plugin does with it. */
#include "plugin/testplugin.h"

#include "base/clock.h"
#include "json/json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <time.h>

#include <cmocka.h>


static struct plugin plugin;
static struct instance *instance;
static struct call *call;
static uint64_t uuids;

static mf_val value(const char *text)
{
    mf_str s = mf_cstr(text);

    assert_int_equal(json_check(s, JSON_DEPTH_MAX, NULL), 0);
    return json_root(s);
}

static int begin(void **state)
{
    (void)state;
    test_plugin_open(&plugin);
    return 0;
}

static int end(void **state)
{
    (void)state;
    manifest_free(plugin.manifest);
    return 0;
}

static int after(void **state)
{
    (void)state;
    call_free(call);
    call = NULL;
    instance_free(instance);
    instance = NULL;
    return 0;
}

static struct instance_config config(const char *settings, char subs[256],
                                     const char *action)
{
    struct instance_config c = { .name = "dest", .lenient = true };

    snprintf(subs, 256, "[{\"action\":\"%s\"}]", action);
    c.settings = value(settings);
    c.subscriptions = value(subs);
    return c;
}

static void open_with(const char *action, const char *settings,
                      const char *endpoint)
{
    static char subs[256];
    struct instance_config c = config(settings, subs, action);
    struct instance_fault fault;

    c.endpoint = mf_cstr(endpoint);
    instance = instance_new(&plugin, &c, &fault);
    if (!instance)
        fail_msg("%s", fault.err.text);
    call = call_new(instance, 0);
    call_batch(call, true);
}

static void open_call(const char *action)
{
    open_with(action, "{\"key\":\"k1\"}", "");
}

/* One event for each id; NULL is an event without one. */
static void add(const char *id)
{
    char event[256], payload[256];

    snprintf(event, sizeof event, "{\"messageId\":\"m-%s\"}", id ? id : "");
    snprintf(payload, sizeof payload, id ? "{\"id\":\"%s\"}" : "{}", id);
    call_add(call, value(event), value(payload));
}

static void start(const char *action, const char *id)
{
    open_call(action);
    add(id);
    call_start(call);
}

static const struct call_request *next(const char *method, const char *url)
{
    const struct call_request *r = call_next(call);

    assert_non_null(r);
    assert_string_equal(r->method, method);
    assert_int_equal(r->url.len, strlen(url));
    assert_memory_equal(r->url.ptr, url, r->url.len);
    return r;
}

static void answer(const struct call_request *r, int status, const char *body)
{
    struct call_answer a = { .status = status, .body = mf_cstr(body) };

    call_answer(call, r->id, &a);
}

static void result_is(uint32_t index, int status, const char *message)
{
    const struct call_result *r = call_result(call, index);

    assert_int_equal(r->status, status);
    if (message)
        assert_non_null(memmem(r->message.len ? r->message.ptr : "",
                               r->message.len, message, strlen(message)));
}

static void nothing_more(void)
{
    assert_null(call_next(call));
    assert_true(call_done(call));
}

static const char *header(const struct call_request *r, const char *name)
{
    for (size_t k = 0; k < r->header_count; k++)
        if (mf_eq(r->headers[k].name, mf_cstr(name)))
            return r->headers[k].value.ptr;
    return NULL;
}

/* ---- one event ---- */

static void test_delivers(void **state)
{
    const struct call_request *r;

    (void)state;
    start("one", "u1");
    r = next("POST", API "/one");
    assert_true(r->has_body);
    assert_int_equal(r->body.len, strlen("{\"id\":\"u1\"}"));
    assert_memory_equal(r->body.ptr, "{\"id\":\"u1\"}", r->body.len);
    assert_string_equal(header(r, "content-type"), "application/json");
    assert_string_equal(header(r, "authorization"), "Basic azE6");
    assert_string_equal(header(r, "x-version"), "2");
    assert_string_equal(header(r, "x-key"), "k1");
    assert_false(call_done(call));
    answer(r, 202, "");
    nothing_more();
    result_is(0, 202, NULL);
    assert_false(call_failed(call));
    assert_null(call_fault(call));
}

static void test_fails_by_status(void **state)
{
    struct call_header again = { MF_STR("Retry-After"), MF_STR("7") };
    struct call_answer a = { .status = 429, .headers = &again,
                             .header_count = 1, .body = MF_STR("no\nmore") };

    (void)state;
    start("one", "u1");
    call_answer(call, next("POST", API "/one")->id, &a);
    nothing_more();
    result_is(0, 429, "HTTP 429 Too Many Requests: no more");
    assert_int_equal(call_result(call, 0)->retry_after_ms, 7000);
    assert_true(call_failed(call));
}

static int64_t pause_of(int status, const char *name, const char *value)
{
    struct call_header h = { mf_cstr(name), mf_cstr(value) };
    struct call_answer a = { .status = status, .headers = &h,
                             .header_count = 1 };
    int64_t ms;

    start("one", "u1");
    call_answer(call, next("POST", API "/one")->id, &a);
    nothing_more();
    ms = call_result(call, 0)->retry_after_ms;
    after(NULL);
    return ms;
}

/* When a rate that is limited begins anew: seconds, or a Unix time. */
static void test_rate_limit_reset(void **state)
{
    static const char reset[] = "X-RateLimit-Reset";
    char soon[24];
    int64_t ms;

    (void)state;
    assert_int_equal(pause_of(429, reset, "9"), 9000);
    assert_int_equal(pause_of(500, reset, "9"), 0);
    assert_int_equal(pause_of(429, "X-RateLimit-Retry-After", "8"), 8000);
    assert_int_equal(pause_of(503, "Retry-After", "7"), 7000);
    snprintf(soon, sizeof soon, "%lld", (long long)time(NULL) + 30);
    ms = pause_of(429, reset, soon);
    assert_in_range(ms, 25000, 30000);
    assert_int_equal(pause_of(429, reset, "1600000000"), 0);
    assert_int_equal(pause_of(429, reset, "9999999999"), 0);
    assert_int_equal(pause_of(429, reset, "99999999999999999"), 0);
    assert_int_equal(pause_of(429, reset, "soon"), 0);
}

static void test_no_answer(void **state)
{
    static const struct {
        uint32_t failure;
        int status;
    } table[] = {
        { MF_FAIL_TIMEOUT, 408 }, { MF_FAIL_CONNECT, 503 },
        { MF_FAIL_RESOLVE, 503 }, { MF_FAIL_RESET, 503 },
        { MF_FAIL_REFUSED, 400 },
    };
    struct call_answer a = { 0 };

    (void)state;
    for (size_t k = 0; k < COUNT_OF(table); k++) {
        start("one", "u1");
        a.failure = table[k].failure;
        call_answer(call, next("POST", API "/one")->id, &a);
        nothing_more();
        result_is(0, table[k].status, API "/one");
        after(NULL);
    }
}

static void test_follow_up(void **state)
{
    (void)state;
    start("steps", "u 1");
    answer(next("GET", API "/find?id=u%201"), 200, "{}");
    assert_false(call_done(call));
    answer(next("PUT", API "/put"), 201, "");
    nothing_more();
    result_is(0, 201, NULL);
}

/* The next event of the same destination, and what it sends first. */
static void next_is(const char *id, const char *method, const char *url,
                    const char *body)
{
    const struct call_request *r;

    call_free(call);
    call = call_new(instance, 0);
    add(id);
    call_start(call);
    r = next(method, url);
    if (body)
        answer(r, 200, body);
}

/* Kept for five seconds, and not for longer by being used meanwhile. */
static void test_kept(void **state)
{
    (void)state;
    start("steps", "u1");
    answer(next("GET", API "/find?id=u1"), 200, "{\"keep\":5000}");
    answer(next("PUT", API "/put"), 200, "");
    nothing_more();
    next_is("u2", "GET", API "/find?id=u2", "{\"keep\":0}");
    clock_mono_skew_ms += 3000;
    next_is("u1", "PUT", API "/put", "");
    nothing_more();
    result_is(0, 200, NULL);
    next_is("u2", "GET", API "/find?id=u2", NULL);
    clock_mono_skew_ms += 3000;
    next_is("u1", "GET", API "/find?id=u1", "{\"keep\":5000}");
    next_is("u1", "PUT", API "/put", NULL);
    clock_mono_skew_ms = 0;
}

/* Neither failures nor what is large; of many the last. */
static void test_kept_limits(void **state)
{
    static char large[(1 << 20) + 64];
    char id[16], url[64];

    (void)state;
    memset(large, ' ', sizeof large - 1);
    memcpy(large, "{\"keep\":5000}", strlen("{\"keep\":5000}"));
    start("steps", "u1");
    answer(next("GET", API "/find?id=u1"), 500, "{\"keep\":5000}");
    next_is("u1", "GET", API "/find?id=u1", large);
    next_is("u1", "GET", API "/find?id=u1", "{\"keep\":5000}");
    for (int k = 0; k < 64; k++) {
        snprintf(id, sizeof id, "v%d", k);
        snprintf(url, sizeof url, API "/find?id=v%d", k);
        next_is(id, "GET", url, "{\"keep\":5000}");
    }
    next_is("v0", "PUT", API "/put", NULL);
    next_is("u1", "GET", API "/find?id=u1", NULL);
}

static void test_follow_up_fails(void **state)
{
    (void)state;
    start("steps", "u1");
    answer(next("GET", API "/find?id=u1"), 200, "{}");
    answer(next("PUT", API "/put"), 500, "");
    nothing_more();
    result_is(0, 500, "HTTP 500");
}

static void test_judge_fails(void **state)
{
    (void)state;
    start("steps", "u1");
    answer(next("GET", API "/find?id=u1"), 200, "{\"gone\":true}");
    nothing_more();
    result_is(0, 410, "gone");
}

static void test_perform_fails(void **state)
{
    (void)state;
    start("fails", "u1");
    nothing_more();
    result_is(0, 429, "slow down");
    assert_int_equal(call_result(call, 0)->retry_after_ms, 5000);
    assert_true(call_failed(call));
}

static void test_skip(void **state)
{
    (void)state;
    start("skips", "u1");
    nothing_more();
    result_is(0, MF_SKIP, NULL);
    assert_false(call_failed(call));
}

static void test_lost_event_is_told(void **state)
{
    (void)state;
    start("lost", "u1");
    nothing_more();
    result_is(0, 500, "neither sent nor settled");
    assert_non_null(call_fault(call));
}

static void test_shrugging_judge(void **state)
{
    const struct call_request *a, *b;

    (void)state;
    start("shrugs", "u1");
    a = next("GET", API "/1");
    b = next("GET", API "/2");
    answer(a, 200, "");
    assert_false(call_done(call));
    answer(b, 204, "");
    nothing_more();
    result_is(0, 204, NULL);
    after(NULL);

    start("shrugs", "u1");
    a = next("GET", API "/1");
    b = next("GET", API "/2");
    answer(b, 200, "");
    answer(a, 200, "");
    nothing_more();
    result_is(0, 500, "left the event open");
    assert_non_null(call_fault(call));
}

static void test_unfinished_body(void **state)
{
    (void)state;
    start("unfinished", "u1");
    nothing_more();
    result_is(0, 500, "mf_w_end");
}

static void test_overflow(void **state)
{
    (void)state;
    start("greedy", "u1");
    nothing_more();
    result_is(0, MF_INVALID, "8388608 bytes");
    after(NULL);
    start("flood", "u1");
    nothing_more();
    result_is(0, MF_INVALID, "1024 requests");
}

/* A call that overflowed leaves nothing behind for the next. */
static void test_used_again(void **state)
{
    (void)state;
    open_call("one");
    for (int k = 0; k < 100; k++) {
        add("u1");
        call_start(call);
        answer(next("POST", API "/one"), 200, "{}");
        nothing_more();
        result_is(0, 200, NULL);
        call_free(call);
        call = call_new(instance, 0);
    }
}

/* ---- batches ---- */

static void test_partial_results(void **state)
{
    const struct call_request *r;

    (void)state;
    open_call("batch");
    add("a");
    add(NULL);
    add("c");
    add("d");
    assert_int_equal(call_count(call), 4);
    call_start(call);
    r = next("POST", API "/batch");
    assert_memory_equal(r->body.ptr,
                        "[{\"id\":\"a\"},{\"id\":\"c\"},{\"id\":\"d\"}]",
                        r->body.len);
    answer(r, 200, "{\"bad\":[1]}");
    nothing_more();
    result_is(0, 200, NULL);
    result_is(1, MF_INVALID, "no id");
    result_is(2, 422, "bad");
    result_is(3, 200, NULL);
    assert_false(call_failed(call));
}

static void test_halves_fail_alone(void **state)
{
    const struct call_request *a, *b;

    (void)state;
    open_call("halves");
    for (int k = 0; k < 4; k++)
        add("u");
    call_start(call);
    a = next("POST", API "/1");
    b = next("POST", API "/2");
    answer(b, 503, "");
    answer(a, 200, "");
    nothing_more();
    for (uint32_t k = 0; k < 4; k++)
        result_is(k, k < 2 ? 200 : 503, NULL);
}

static void test_one_by_one(void **state)
{
    const struct call_request *r[3];

    (void)state;
    open_call("one");
    for (int k = 0; k < 3; k++)
        add("u");
    call_start(call);
    for (int k = 0; k < 3; k++)
        r[k] = next("POST", API "/one");
    answer(r[1], 400, "");
    answer(r[2], 200, "");
    answer(r[0], 201, "");
    nothing_more();
    result_is(0, 201, NULL);
    result_is(1, 400, NULL);
    result_is(2, 200, NULL);
}

/* ---- requests ---- */

static void host_case(const char *host, bool allowed)
{
    char url[128];

    open_with("elsewhere", "{\"host\":\"https://me.example:8443/x\"}", "");
    add(host);
    call_start(call);
    if (allowed) {
        snprintf(url, sizeof url, "https://%s/x", host);
        answer(next("GET", url), 200, "");
        result_is(0, 200, NULL);
    } else {
        assert_null(call_next(call));
        result_is(0, MF_INVALID, "add it to manifest hosts");
    }
    nothing_more();
    after(NULL);
}

static void test_hosts(void **state)
{
    (void)state;
    host_case("api.acme.example", true);
    host_case("a.eu.acme.example", true);
    host_case("eu.acme.example", false);
    host_case("us.acme.example", true); /* the setting's default */
    host_case("me.example", true);      /* out of a setting that is a URL */
    host_case("me.example:444", true);
    host_case("other.example", false);
    host_case("api.acme.example.other.example", false);
    host_case("xapi.acme.example", false);
}

static void test_endpoint(void **state)
{
    const struct call_request *r;

    (void)state;
    open_with("steps", "{}", "http://127.0.0.1:9000");
    add("u1");
    call_start(call);
    r = next("GET", "http://127.0.0.1:9000/find?id=u1");
    assert_memory_equal(r->real_url.ptr, API "/find?id=u1", r->real_url.len);
    answer(r, 404, "");
    result_is(0, 404, NULL);
}

static void test_headers(void **state)
{
    const struct call_request *r;

    (void)state;
    start("header", "caf\xc3\xa9");
    r = next("GET", API "/h");
    assert_string_equal(header(r, "x-version"), "3");
    answer(r, 200, "");
    after(NULL);
    start("header", "\xe2\x82\xac");
    nothing_more();
    result_is(0, MF_INVALID, "is not a legal HTTP header value");
    after(NULL);
    start("header", "a\\nb");
    nothing_more();
    result_is(0, MF_INVALID, "is not a legal HTTP header value");
}

static void url_case(const char *in, const char *out)
{
    start("url", in);
    if (out) {
        answer(next("GET", out), 200, "");
    } else {
        assert_null(call_next(call));
        result_is(0, MF_INVALID, "Invalid URL");
    }
    nothing_more();
    after(NULL);
}

static void test_urls(void **state)
{
    (void)state;
    url_case("HTTPS://API.Acme.Example", API "/");
    url_case(" https://api.acme.example:443/a ", API "/a");
    url_case("http://api.acme.example:80", "http://api.acme.example/");
    url_case("https://api.acme.example:8443?x",
             "https://api.acme.example:8443/?x");
    url_case("https://api.acme.example/a b/\xc3\xa9?q=c d\xc3\xa9'#frag",
             API "/a%20b/%C3%A9?q=c%20d%C3%A9%27");
    url_case("https://api.acme.example/a/./b/../c", API "/a/c");
    url_case("https://api.acme.example/a/%2e%2e/..", API "/");
    url_case("https://api.acme.example/..a", API "/..a");
    url_case("https:/api.acme.example\\\\x", API "/x");
    url_case("https://%61pi.acme.example/", API "/");
    url_case("", NULL);
    url_case("api.acme.example/x", NULL);
    url_case("/x", NULL);
    url_case("ftp://api.acme.example/", NULL);
    url_case("https://", NULL);
    url_case("https:///", NULL);
    url_case("https://a b/", NULL);
    url_case("https://api.acme.example:99999/", NULL);
    url_case("https://api.acme.example:x/", NULL);
}

/* ---- clock and chance ---- */

static void ids_of(const char *id, char out[256])
{
    const struct call_request *r;

    open_call("chance");
    add(id);
    call_start(call);
    r = call_next(call);
    assert_non_null(r);
    snprintf(out, 256, "%.*s", (int)r->url.len, r->url.ptr);
    answer(r, 200, "");
    after(NULL);
}

static void test_chance_is_of_the_events(void **state)
{
    char first[256], again[256], other[256];
    size_t at = strlen(API "/");

    (void)state;
    ids_of("a", first);
    ids_of("a", again);
    ids_of("b", other);
    assert_string_equal(first, again);
    assert_string_not_equal(first, other);
    assert_memory_not_equal(first + at, first + at + 37, 36);
    assert_int_equal(first[at + 14], '4');
}

static void test_fixed_uuids(void **state)
{
    static char subs[256];
    struct instance_config c = config("{}", subs, "chance");
    struct instance_fault fault;

    (void)state;
    uuids = 1;
    c.fixed = true;
    c.uuid_counter = &uuids;
    instance = instance_new(&plugin, &c, &fault);
    assert_non_null(instance);
    call = call_new(instance, 0);
    add("a");
    call_start(call);
    answer(next("GET", API "/00000000-0000-4000-8000-000000000001/"
                           "00000000-0000-4000-8000-000000000002"),
           200, "");
}

/* ---- declared ---- */

static void test_declared(void **state)
{
    const struct call_request *r;

    (void)state;
    start("declared", "u1");
    r = next("POST", API "/d?k=k1");
    assert_memory_equal(r->body.ptr, "{\"id\":\"u1\"}", r->body.len);
    assert_string_equal(header(r, "content-type"), "application/json");
    answer(r, 200, "");
    result_is(0, 200, NULL);
    after(NULL);
    start("form", "x&y");
    r = next("PUT", API "/f");
    assert_int_equal(r->body.len, strlen("a+b=x%26y"));
    assert_memory_equal(r->body.ptr, "a+b=x%26y", r->body.len);
    answer(r, 200, "");
}

static void test_create_refuses(void **state)
{
    static char subs[256];
    struct instance_config c = config("{\"key\":\"bad\"}", subs, "one");
    struct instance_fault fault;

    (void)state;
    assert_null(instance_new(&plugin, &c, &fault));
    assert_string_equal(fault.err.text, "the key is bad");
}

/* ---- special calls ---- */

static void open_special(const char *slug, const char *event)
{
    struct instance_config c = { .name = "dest", .lenient = true };
    struct instance_fault fault;

    c.auth = value("{\"refreshToken\":\"r 1\"}");
    instance = instance_new(&plugin, &c, &fault);
    assert_non_null(instance);
    call = call_special(instance, slug, value(event));
}

static void token_is(const char *body, const char *token)
{
    const struct call_request *r;
    mf_val v;

    open_special("refreshAccessToken", "{}");
    call_start(call);
    r = next("POST", API "/token");
    assert_null(header(r, "authorization"));
    assert_memory_equal(r->body.ptr, "refresh_token=r+1", r->body.len);
    answer(r, token ? 200 : 400, body);
    nothing_more();
    v = call_token(call);
    if (token)
        assert_true(mf_eq((mf_str){ v.raw, v.len }, mf_cstr(token)));
    else
        assert_int_equal(v.type, MF_ABSENT);
    after(NULL);
}

static void test_tokens(void **state)
{
    (void)state;
    token_is("{\"access_token\":\"a\",\"expires_in\":60,\"x\":1}",
             "{\"accessToken\":\"a\",\"expiresIn\":60}");
    token_is("{\"ticket\":\"t\"}", "{\"accessToken\":\"t\"}");
    token_is("{\"access_token\":\"a\"}", NULL); /* under a 400 */
}

static void test_special(void **state)
{
    (void)state;
    open_special("onDelete", "{\"userId\":\"u1\"}");
    assert_non_null(call);
    call_start(call);
    answer(next("DELETE", API "/users/u1"), 204, "");
    nothing_more();
    result_is(0, 204, NULL);
    assert_int_equal(call_token(call).type, MF_ABSENT);
    after(NULL);
    open_special("testAuthentication", "{}");
    assert_null(call); /* it has none */
}

/* A token that came meanwhile is for the calls made after it. */
static void test_new_token(void **state)
{
    struct call *old;

    (void)state;
    open_special("refreshAccessToken", "{}");
    old = call;
    instance_set_auth(instance, value("{\"refreshToken\":\"r2\"}"));
    call = call_special(instance, "refreshAccessToken", value("{}"));
    call_start(call);
    assert_memory_equal(next("POST", API "/token")->body.ptr,
                        "refresh_token=r2", 16);
    call_free(call);
    call = old;
    call_start(call);
    assert_memory_equal(next("POST", API "/token")->body.ptr,
                        "refresh_token=r+1", 17);
    call_free(call);
    call = call_special(instance, "refreshAccessToken", value("{}"));
    instance_set_auth(instance, value("{\"refreshToken\":\"r3\"}"));
    call_authorise(call);
    call_start(call);
    assert_memory_equal(next("POST", API "/token")->body.ptr,
                        "refresh_token=r3", 16);
}

int main(void)
{
#define T(f) cmocka_unit_test_teardown(f, after)
    const struct CMUnitTest tests[] = {
        T(test_delivers), T(test_fails_by_status), T(test_no_answer),
        T(test_follow_up), T(test_kept), T(test_kept_limits),
        T(test_follow_up_fails), T(test_judge_fails),
        T(test_perform_fails), T(test_skip), T(test_lost_event_is_told),
        T(test_shrugging_judge), T(test_unfinished_body), T(test_overflow),
        T(test_used_again), T(test_partial_results),
        T(test_halves_fail_alone), T(test_one_by_one), T(test_hosts),
        T(test_rate_limit_reset), T(test_endpoint), T(test_headers),
        T(test_urls),
        T(test_chance_is_of_the_events), T(test_fixed_uuids),
        T(test_declared), T(test_create_refuses), T(test_tokens),
        T(test_special), T(test_new_token),
    };

    return cmocka_run_group_tests(tests, begin, end);
}
