/* SPDX-License-Identifier: Apache-2.0 */
#include "ingest/event.h"

#include "base/text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct arena arena;
static struct buf out;

static struct event_envelope envelope(int type)
{
    struct event_envelope env = { .type = type,
                                  .received_ms = 1768212060000 };

    time_iso(env.received_ms, env.received_text);
    return env;
}

static mf_val parse(const char *text)
{
    assert_int_equal(json_check(mf_cstr(text), JSON_DEPTH_MAX, NULL), 0);
    return json_root(mf_cstr(text));
}

static mf_val normalise_with(const char *text, struct event_envelope *env)
{
    struct event_fault fault = { 0 };
    mf_str id;

    buf_clear(&out);
    assert_int_equal(event_normalise(parse(text), env, &out, &id, &arena,
                                     &fault),
                     0);
    assert_int_equal(json_check(buf_view(&out), JSON_DEPTH_MAX, NULL), 0);
    return json_root(buf_view(&out));
}

static mf_val normalise(const char *text)
{
    struct event_envelope env = envelope(-1);

    return normalise_with(text, &env);
}

static void expect(mf_val v, const char *json)
{
    if (!json_equal(v, parse(json), &arena))
        fail_msg("want %s\n got %.*s", json, (int)v.len, v.raw);
}

static void an_event_keeps_its_members_and_gains_the_servers(void **state)
{
    (void)state;
    expect(normalise("{\"type\":\"track\",\"event\":\"Paid\",\"userId\":\"u\","
                     "\"messageId\":\"m\",\"properties\":{\"id\":"
                     "9007199254740993},\"email\":\"a@b.example\","
                     "\"writeKey\":\"w\"}"),
           "{\"type\":\"track\",\"messageId\":\"m\",\"userId\":\"u\","
           "\"event\":\"Paid\",\"email\":\"a@b.example\","
           "\"properties\":{\"id\":9007199254740993},"
           "\"timestamp\":\"2026-01-12T10:01:00.000Z\","
           "\"originalTimestamp\":\"2026-01-12T10:01:00.000Z\","
           "\"receivedAt\":\"2026-01-12T10:01:00.000Z\"}");
}

static void a_wrong_clock_is_put_right(void **state)
{
    mf_val v = normalise("{\"type\":\"page\",\"anonymousId\":\"a\","
                         "\"timestamp\":\"2020-01-01T00:00:00.017Z\","
                         "\"sentAt\":\"2020-01-01T00:00:10.017Z\"}");

    (void)state;
    assert_true(mf_eq(json_text(json_get(v, MF_STR("timestamp")), &arena),
                      MF_STR("2026-01-12T10:00:50.000Z")));
    assert_true(
        mf_eq(json_text(json_get(v, MF_STR("originalTimestamp")), &arena),
              MF_STR("2020-01-01T00:00:00.017Z")));
    assert_true(mf_eq(json_text(json_get(v, MF_STR("sentAt")), &arena),
                      MF_STR("2020-01-01T00:00:10.017Z")));
}

/* Also when the clock is so wrong that the sum has no four-digit year. */
static void times_stay_in_the_calendar(void **state)
{
    static const struct {
        const char *original, *sent, *want;
    } rows[] = {
        { "9999-12-31T23:59:59Z", "0001-01-01", "9999-12-31T23:59:59.000Z" },
        { "0001-01-01", "9999-12-31", "0001-01-01T00:00:00.000Z" },
        { "0000-01-01T00:00:00+01:00", "2026-01-12",
          "2026-01-12T10:01:00.000Z" },
    };
    char text[300];

    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        mf_val v;

        snprintf(text, sizeof text,
                 "{\"type\":\"page\",\"userId\":\"u\",\"timestamp\":\"%s\","
                 "\"sentAt\":\"%s\"}",
                 rows[i].original, rows[i].sent);
        v = json_get(normalise(text), MF_STR("timestamp"));
        assert_true(mf_eq(json_text(v, &arena), mf_cstr(rows[i].want)));
    }
}

static void a_batch_lends_context_and_time(void **state)
{
    struct event_envelope env = envelope(-1);
    mf_val v;

    (void)state;
    env.context = parse("{\"library\":{\"name\":\"go\"},\"ip\":\"1.1.1.1\"}");
    env.integrations = parse("{\"All\":false}");
    env.sent_at = parse("\"2026-01-12T10:01:00.000Z\"");
    v = normalise_with("{\"type\":\"track\",\"event\":\"E\",\"userId\":\"u\","
                       "\"context\":{\"ip\":\"2.2.2.2\"},"
                       "\"timestamp\":\"2026-01-12T10:00:00Z\"}",
                       &env);
    expect(json_get(v, MF_STR("context")),
           "{\"library\":{\"name\":\"go\"},\"ip\":\"2.2.2.2\"}");
    expect(json_get(v, MF_STR("integrations")), "{\"All\":false}");
    expect(json_get(v, MF_STR("timestamp")), "\"2026-01-12T10:00:00.000Z\"");
}

static void a_name_is_merged_however_it_is_written(void **state)
{
    struct event_envelope env = envelope(-1);
    mf_val v;

    (void)state;
    env.context = parse("{\"ip\":1,\"\\u0061\":2,\"c\":3}");
    env.integrations = parse("{}");
    v = normalise_with("{\"type\":\"track\",\"event\":\"E\",\"userId\":\"u\","
                       "\"context\":{\"\\u0069p\":4,\"a\":5}}",
                       &env);
    assert_int_equal(json_count(json_get(v, MF_STR("context"))), 3);
    expect(json_get(v, MF_STR("context")), "{\"c\":3,\"ip\":4,\"a\":5}");
    assert_int_equal(json_get(v, MF_STR("integrations")).type, MF_ABSENT);
}

static void a_persons_address_is_kept(void **state)
{
    static const struct {
        bool from_page;
        const char *outer, *own, *want; /* contexts */
    } rows[] = {
        { true, NULL, NULL, "{\"ip\":\"8.8.8.8\"}" },
        { true, NULL, "null", "{\"ip\":\"8.8.8.8\"}" },
        { true, NULL, "[]", "{\"ip\":\"8.8.8.8\"}" },
        { true, NULL, "{\"a\":1}", "{\"a\":1,\"ip\":\"8.8.8.8\"}" },
        { true, NULL, "{\"ip\":null,\"a\":1}",
          "{\"a\":1,\"ip\":\"8.8.8.8\"}" },
        { true, NULL, "{\"ip\":\"0.0.0.0\"}", "{\"ip\":\"0.0.0.0\"}" },
        { true, "{\"ip\":\"1.1.1.1\",\"b\":2}", "{\"a\":1}",
          "{\"ip\":\"1.1.1.1\",\"b\":2,\"a\":1}" },
        { true, "{\"b\":2}", "{\"a\":1}",
          "{\"b\":2,\"a\":1,\"ip\":\"8.8.8.8\"}" },
        { false, NULL, "{\"a\":1}", "{\"a\":1}" },
        { false, NULL, "{\"direct\":true}",
          "{\"direct\":true,\"ip\":\"8.8.8.8\"}" },
        { false, "{\"direct\":true}", "{\"direct\":false}",
          "{\"direct\":false}" },
        { false, "{\"library\":{\"name\":\"analytics-ios\"}}", "{}",
          "{\"library\":{\"name\":\"analytics-ios\"},"
          "\"ip\":\"8.8.8.8\"}" },
        { false, "{\"library\":{\"name\":\"analytics-go\"}}", "{}",
          "{\"library\":{\"name\":\"analytics-go\"}}" },
    };
    char text[300];

    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct event_envelope env = envelope(EVENT_PAGE);
        const char *own = rows[i].own;
        mf_val v;

        if (rows[i].outer)
            env.context = parse(rows[i].outer);
        env.client_ip = MF_STR("8.8.8.8");
        env.from_page = rows[i].from_page;
        snprintf(text, sizeof text, "{\"userId\":\"u\"%s%s}",
                 own ? ",\"context\":" : "", own ? own : "");
        expect(json_get(normalise_with(text, &env), MF_STR("context")),
               rows[i].want);
        env.client_ip = MF_STR("");
        v = normalise_with(text, &env);
        assert_null(memmem(v.raw, v.len, "8.8.8.8", 7));
    }
}

#define CONSENT(context)                                                     \
    "{\"type\":\"track\",\"userId\":\"u\",\"event\":"                    \
    "\"Segment Consent Preference Updated\",\"context\":" context "}"

/* Also from the batch around it. */
static void a_choice_of_consent_says_what_it_is(void **state)
{
    struct event_envelope env = envelope(-1);

    (void)state;
    normalise(CONSENT("{\"consent\":{\"version\":2,\"categoryPreferences\":"
                      "{\"ads\":false,\"use\":true}},\"device\":"
                      "{\"advertisingId\":\"x\"}}"));
    normalise(CONSENT("{\"consent\":{\"categoryPreferences\":{}}}"));
    env.context = parse("{\"consent\":{\"categoryPreferences\":"
                        "{\"ads\":true}}}");
    normalise_with(CONSENT("{}"), &env);
}

static void an_event_without_room_leaves_none_of_it(void **state)
{
    struct event_envelope env = envelope(EVENT_TRACK);
    struct event_fault fault = { 0 };
    struct buf little;
    mf_str id;
    mf_val v;

    (void)state;
    buf_init(&little, 100);
    buf_puts(&little, "before");
    v = parse("{\"event\":\"E\",\"userId\":\"u\"}");
    assert_int_equal(
        event_normalise(v, &env, &little, &id, &arena, &fault), -1);
    assert_string_equal(fault.code, "payload_too_large");
    assert_int_equal(little.len, 6);
    assert_false(little.full);
    buf_deinit(&little);
}

static void forms_that_clients_really_send(void **state)
{
    mf_val v;

    (void)state;
    v = normalise("{\"type\":\"identify\",\"userId\":12,\"anonymousId\":null,"
                  "\"traits\":[],\"context\":[],\"integrations\":{}}");
    expect(json_get(v, MF_STR("userId")), "\"12\"");
    expect(json_get(v, MF_STR("anonymousId")), "null");
    expect(json_get(v, MF_STR("traits")), "{}");
    expect(json_get(v, MF_STR("context")), "{}");
    assert_int_equal(
        json_text(json_get(v, MF_STR("messageId")), &arena).len, 36);
}

static void faults_name_their_code(void **state)
{
    static const struct {
        const char *text, *code;
    } rows[] = {
        { "3", "event_not_object" },
        { "{\"type\":\"tracks\",\"userId\":\"u\"}", "invalid_type" },
        { "{\"userId\":\"u\"}", "invalid_type" },
        { "{\"type\":\"track\",\"event\":\"E\"}", "no_user_anon_id" },
        { "{\"type\":\"track\",\"event\":\"E\",\"userId\":\"\"}",
          "no_user_anon_id" },
        { "{\"type\":\"track\",\"event\":\"E\",\"userId\":{}}",
          "id_not_string" },
        { "{\"type\":\"track\",\"userId\":\"u\"}", "event_not_defined" },
        { "{\"type\":\"track\",\"userId\":\"u\",\"event\":7}",
          "event_not_string" },
        { "{\"type\":\"track\",\"userId\":\"u\",\"event\":\"E\","
          "\"properties\":[1]}",
          "properties_not_object" },
        { "{\"type\":\"identify\",\"userId\":\"u\",\"traits\":\"x\"}",
          "traits_not_object" },
        { "{\"type\":\"group\",\"userId\":\"u\"}", "group_id_required" },
        { "{\"type\":\"alias\",\"userId\":\"u\"}", "previous_id_required" },
        { "{\"type\":\"page\",\"userId\":\"u\",\"name\":7}",
          "name_not_string" },
        { "{\"type\":\"page\",\"userId\":\"u\",\"context\":7}",
          "context_not_object" },
        { "{\"type\":\"page\",\"userId\":\"u\",\"messageId\":{}}",
          "message_id_not_string" },
        { CONSENT("{}"), "consent_categorypreferences_should_exist" },
        { CONSENT("null"), "consent_categorypreferences_should_exist" },
        { CONSENT("{\"consent\":{\"categoryPreferences\":null}}"),
          "consent_categorypreferences_should_exist" },
        { CONSENT("{\"consent\":{\"categoryPreferences\":\"ads\"}}"),
          "consent_categorypreferences_fields_should_be_object" },
        { CONSENT("{\"consent\":{\"categoryPreferences\":{\"a\":1}}}"),
          "consent_categorypreferences_fields_should_be_bool" },
        { CONSENT("{\"consent\":{\"version\":\"2\","
                  "\"categoryPreferences\":{}}}"),
          "consent_version_should_be_number" },
        { CONSENT("{\"consent\":{\"categoryPreferences\":{}},"
                  "\"device\":{\"advertisingId\":7}}"),
          "device_advertisingid_should_be_string" },
    };
    struct event_envelope env = envelope(-1);

    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct event_fault fault = { 0 };
        mf_str id;

        buf_clear(&out);
        assert_int_equal(event_normalise(parse(rows[i].text), &env, &out, &id,
                                         &arena, &fault),
                         -1);
        assert_string_equal(fault.code, rows[i].code);
        assert_int_equal(out.len, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_event_keeps_its_members_and_gains_the_servers),
        cmocka_unit_test(a_wrong_clock_is_put_right),
        cmocka_unit_test(times_stay_in_the_calendar),
        cmocka_unit_test(a_batch_lends_context_and_time),
        cmocka_unit_test(a_name_is_merged_however_it_is_written),
        cmocka_unit_test(a_persons_address_is_kept),
        cmocka_unit_test(a_choice_of_consent_says_what_it_is),
        cmocka_unit_test(an_event_without_room_leaves_none_of_it),
        cmocka_unit_test(forms_that_clients_really_send),
        cmocka_unit_test(faults_name_their_code),
    };
    int rc;

    arena_init(&arena, 1 << 20);
    buf_init(&out, 1 << 20);
    rc = cmocka_run_group_tests(tests, NULL, NULL);
    buf_deinit(&out);
    arena_deinit(&arena);
    return rc;
}
