/* SPDX-License-Identifier: Apache-2.0
 *
 * gate_test.c - what a gate makes of events, by plan and controls. */
#include "ingest/gate.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define TIMES                                                                  \
    ",\"timestamp\":\"2026-01-12T10:00:00.000Z\",\"originalTimestamp\":"       \
    "\"2026-01-12T09:59:59.000Z\",\"receivedAt\":\"2026-01-12T10:00:01.000Z\"}"
#define TRACK(event, rest)                                                     \
    "{\"type\":\"track\",\"messageId\":\"m\",\"userId\":\"u\",\"event\":\""    \
    event "\"" rest TIMES
#define CALL(type, rest)                                                       \
    "{\"type\":\"" type "\",\"messageId\":\"m\",\"userId\":\"u\"" rest TIMES
#define PROPERTIES(p)                                                          \
    "{\"properties\":{\"properties\":{\"type\":\"object\",\"properties\":{" p  \
    "}}}}"

struct fixture {
    struct gate *gate;
    struct gate_room *room;
    struct gate_verdict v;
    struct buf event, stats;
    struct arena arena;
};

static const char plan_text[] =
    "{\"name\":\"Shop\",\"id\":\"tp_1\",\"rules\":["
    "{\"key\":\"Paid\",\"type\":\"TRACK\",\"version\":2,\"jsonSchema\":"
    PROPERTIES("\"v2\":{\"type\":\"string\"}") "},"
    "{\"key\":\"Paid\",\"type\":\"TRACK\",\"version\":1,\"jsonSchema\":"
    "{\"required\":[\"properties\"],\"properties\":{\"properties\":{"
    "\"properties\":{\"id\":{\"type\":\"string\"},\"a\":{\"properties\":{"
    "\"b\":{\"items\":{\"properties\":{\"c\":{\"type\":\"number\"}}}}}},"
    "\"tags\":{\"items\":{\"type\":\"string\"}}},\"required\":[\"id\"],"
    "\"patternProperties\":{\"^x_\":{}}}}}},"
    "{\"key\":\"Home\",\"type\":\"PAGE\",\"jsonSchema\":"
    PROPERTIES("\"h\":{\"type\":\"string\"}") "},"
    "{\"key\":\"Screen Viewed\",\"type\":\"TRACK\",\"jsonSchema\":"
    PROPERTIES("\"s\":{\"type\":\"string\"}") "},"
    "{\"key\":null,\"type\":\"IDENTIFY\",\"jsonSchema\":{\"properties\":{"
    "\"traits\":{\"properties\":{\"age\":{\"type\":\"number\"}}}}}},"
    "{\"key\":null,\"type\":\"COMMON\",\"jsonSchema\":{\"properties\":{"
    "\"userId\":{\"pattern\":\"^[^!]\"},\"properties\":{\"properties\":{"
    "\"x_bad\":false}}}}}]}";

static struct plan *plan_of(const char *text)
{
    struct faults *f = xcalloc(1, sizeof *f);
    struct plan *p;

    faults_init(f);
    p = plan_compile(mf_cstr(text), "plan", f);
    if (!p)
        fail_msg("%s", f->list[0].text);
    faults_deinit(f);
    free(f);
    return p;
}

/* controls: the members of "schema". */
static void make(struct fixture *f, const char *plan, const char *controls)
{
    struct gate *old = f->gate;
    char *json = xasprintf("{%s}", controls);

    assert_int_equal(json_check(mf_cstr(json), JSON_DEPTH_MAX, NULL), 0);
    f->gate = gate_new(MF_STR("web"), json_root(mf_cstr(json)),
                       plan ? plan_of(plan) : NULL, old);
    gate_release(old);
    free(json);
}

static int set_up(void **state)
{
    struct fixture *f = xcalloc(1, sizeof *f);

    f->room = gate_room_new();
    buf_init(&f->event, 1u << 20);
    buf_init(&f->stats, 1u << 20);
    arena_init(&f->arena, 1u << 20);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    gate_release(f->gate);
    gate_room_free(f->room);
    buf_deinit(&f->event);
    buf_deinit(&f->stats);
    arena_deinit(&f->arena);
    free(f);
    return 0;
}

static void judge(struct fixture *f, const char *event)
{
    buf_clear(&f->event);
    buf_puts(&f->event, event);
    assert_int_equal(json_check(buf_view(&f->event), JSON_DEPTH_MAX, NULL),
                     0);
    gate_judge(f->gate, f->room, &f->event, &f->v);
    assert_int_equal(json_check(buf_view(&f->event), JSON_DEPTH_MAX, NULL),
                     0);
}

static void passes(struct fixture *f, const char *event)
{
    judge(f, event);
    assert_null(f->v.blocked);
    assert_int_equal(f->event.len, strlen(event));
    assert_memory_equal(f->event.data, event, f->event.len);
}

static void is_blocked(struct fixture *f, const char *event, const char *code)
{
    judge(f, event);
    assert_non_null(f->v.blocked);
    assert_string_equal(f->v.blocked, code);
}

static mf_val in(struct fixture *f, const char *path)
{
    mf_val v = json_root(buf_view(&f->event));
    char copy[100], *part = copy, *dot;

    snprintf(copy, sizeof copy, "%s", path);
    for (; part; part = dot) {
        dot = strchr(part, '.');
        if (dot)
            *dot++ = 0;
        v = json_get(v, mf_cstr(part));
    }
    return v;
}

/* A member is exactly this JSON; NULL: it is not there. */
static void holds(struct fixture *f, const char *path, const char *json)
{
    mf_val v = in(f, path);

    if (!json) {
        assert_int_equal(v.type, MF_ABSENT);
        return;
    }
    if (v.len != strlen(json) || memcmp(v.raw, json, v.len) != 0)
        fail_msg("%s is %.*s, not %s", path, (int)v.len, v.raw, json);
}

static int64_t counted(struct fixture *f, const char *action)
{
    struct json_out w;
    int64_t n = -1;

    buf_clear(&f->stats);
    json_out_init(&w, &f->stats);
    json_begin_object(&w);
    gate_write(f->gate, &w);
    json_end_object(&w);
    assert_int_equal(json_check(buf_view(&f->stats), JSON_DEPTH_MAX, NULL),
                     0);
    json_integer(json_get(json_get(json_root(buf_view(&f->stats)),
                                   MF_STR("violations")), mf_cstr(action)),
                 &n);
    return n;
}

static void test_as_planned(void **state)
{
    struct fixture *f = *state;

    make(f, plan_text, "\"track\":{\"allow_unplanned_events\":false,"
                       "\"allow_unplanned_event_properties\":false,"
                       "\"allow_event_on_violations\":false,"
                       "\"common_event_on_violations\":\"block\"}");
    passes(f, TRACK("Paid", ",\"properties\":{\"id\":\"1\",\"x_1\":2}"));
    passes(f, TRACK("Paid", ",\"properties\":{\"v2\":\"1\"},\"context\":{"
                            "\"protocols\":{\"event_version\":2}}"));
    passes(f, CALL("page", ",\"name\":\"Home\",\"properties\":{\"h\":\"\"}"));
    passes(f, CALL("page", ",\"name\":\"Else\",\"properties\":{\"h\":1}"));
    passes(f, CALL("alias", ",\"previousId\":\"p\""));
    passes(f, CALL("group", ",\"groupId\":\"g\",\"traits\":{\"n\":1}"));
    assert_int_equal(counted(f, "allowed"), 0);
    assert_int_equal(counted(f, "blocked"), 0);
}

static void test_which_rule(void **state)
{
    struct fixture *f = *state;

    make(f, plan_text, "\"track\":{\"allow_event_on_violations\":false}");
    is_blocked(f, TRACK("Paid", ",\"properties\":{\"v2\":\"1\"}"),
               "plan_violation"); /* the oldest */
    is_blocked(f, TRACK("Paid", ",\"properties\":{\"v2\":1},\"context\":{"
                                "\"protocols\":{\"event_version\":2}}"),
               "plan_violation");
    is_blocked(f, TRACK("Paid", ",\"properties\":{\"v2\":1},\"context\":{"
                                "\"protocols\":{\"event_version\":3}}"),
               "plan_violation"); /* there is none: the oldest */
    is_blocked(f, CALL("page", ",\"name\":\"Home\",\"properties\":{\"h\":1}"),
               "plan_violation");
    is_blocked(f, CALL("screen", ",\"name\":\"Any\",\"properties\":{"
                                 "\"s\":1}"),
               "plan_violation");
    judge(f, TRACK("paid", ""));
    assert_null(f->v.blocked);
    assert_int_equal(counted(f, "allowed"), 1);
    assert_int_equal(counted(f, "blocked"), 5);
}

static void test_told_of(void **state)
{
    struct fixture *f = *state;

    make(f, plan_text, "");
    judge(f, TRACK("Paid", ",\"properties\":{\"id\":1},\"context\":{\"ip\":"
                           "\"1\",\"protocols\":{\"event_version\":1,"
                           "\"violations\":[9],\"own\":2}}"));
    assert_null(f->v.blocked);
    holds(f, "properties", "{\"id\":1}");
    holds(f, "context",
          "{\"ip\":\"1\",\"protocols\":{\"event_version\":1,\"own\":2,"
          "\"sourceId\":\"web\",\"violations\":[{\"type\":\"Invalid Type\","
          "\"field\":\"properties.id\",\"description\":\"properties.id must "
          "be string, and is integer\"}],\"omitted\":[]}}");
    holds(f, "timestamp", "\"2026-01-12T10:00:00.000Z\"");
    judge(f, TRACK("Paid", ""));
    holds(f, "context.protocols.sourceId", "\"web\"");
    assert_int_equal(counted(f, "allowed"), 2);
}

static void test_taken_out(void **state)
{
    struct fixture *f = *state;

    make(f, plan_text, "\"track\":{\"allow_unplanned_event_properties\":false,"
                       "\"allow_properties_on_violations\":false},"
                       "\"identify\":{\"allow_traits_on_violations\":false,"
                       "\"blocked_traits\":[\"zip\",\"email\"]},"
                       "\"group\":{\"allow_unplanned_traits\":false}");
    judge(f, TRACK("Paid", ",\"properties\":{\"un\":{\"a\":1},\"a\":{\"b\":["
                           "{\"c\":\"x\",\"d\":1},{\"c\":2},{\"c\":null}]},"
                           "\"tags\":[\"a\",1],\"x_1\":1}"));
    holds(f, "properties",
          "{\"a\":{\"b\":[{\"d\":1},{\"c\":2},{}]},\"x_1\":1}");
    holds(f, "context.protocols.omitted",
          "[\"properties.un\",\"properties.a.b[0].c\","
          "\"properties.a.b[2].c\",\"properties.tags\"]");
    judge(f, CALL("identify", ",\"traits\":{\"age\":\"4\",\"email\":\"e\","
                              "\"more\":1}"));
    holds(f, "traits", "{\"more\":1}");
    holds(f, "context.protocols.omitted",
          "[\"traits.email\",\"traits.age\"]");
    judge(f, CALL("group", ",\"groupId\":\"g\",\"traits\":{\"n\":1}"));
    holds(f, "traits", "{}");
    assert_int_equal(counted(f, "omitted"), 3);
}

/* The second stage sees what the first has left; who it blocks is whole. */
static void test_common_comes_second(void **state)
{
    struct fixture *f = *state;

    make(f, plan_text, "\"track\":{\"common_event_on_violations\":\"omit\"}");
    judge(f, TRACK("Paid", ",\"properties\":{\"id\":\"1\",\"x_bad\":1}"));
    holds(f, "properties", "{\"id\":\"1\"}");
    judge(f, CALL("alias", ",\"previousId\":\"p\",\"userId\":\"!\""));
    holds(f, "userId", "\"!\""); /* not a member that can go */
    make(f, plan_text, "\"track\":{\"common_event_on_violations\":\"block\","
                       "\"allow_unplanned_event_properties\":false,"
                       "\"allow_properties_on_violations\":false}");
    is_blocked(f, TRACK("Paid", ",\"properties\":{\"id\":1,\"x_bad\":1,"
                                "\"un\":2}"),
               "common_schema_violation");
    holds(f, "properties", "{\"id\":1,\"x_bad\":1,\"un\":2}");
    holds(f, "context.protocols.omitted", "[]");
}

static void test_lists_need_no_plan(void **state)
{
    struct fixture *f = *state;

    make(f, NULL, "\"track\":{\"blocked_events\":[\"b\",\"\",\"a\",\"aa\"]},"
                  "\"group\":{\"blocked_traits\":[\"n\"]}");
    is_blocked(f, TRACK("aa", ""), "blocked_event");
    is_blocked(f, TRACK("a", ""), "blocked_event");
    passes(f, TRACK("A", ",\"properties\":{}"));
    passes(f, CALL("page", ",\"name\":\"a\""));
    passes(f, CALL("identify", ",\"traits\":{\"n\":1}"));
    judge(f, CALL("group", ",\"groupId\":\"g\",\"traits\":{\"n\":1,\"m\":2}"));
    holds(f, "traits", "{\"m\":2}");
}

static void test_violations_as_events(void **state)
{
    struct fixture *f = *state;
    mf_str id, again, event;

    make(f, plan_text, "");
    judge(f, TRACK("Paid", ",\"properties\":{\"x_bad\":1},\"sentAt\":\"s\""));
    assert_int_equal(f->v.violations, 2);
    event = gate_forward(f->gate, f->room, 0, "2026-01-12T10:00:01.000Z",
                         &id);
    assert_int_equal(json_check(event, JSON_DEPTH_MAX, NULL), 0);
    assert_non_null(memmem(event.ptr, event.len,
                           "\"violationField\":\"properties.id\"", 32));
    assert_non_null(memmem(event.ptr, event.len, "\"eventSentAt\":\"s\"", 17));
    id = arena_copy(&f->arena, id);
    gate_forward(f->gate, f->room, 1, "", &again);
    assert_false(mf_eq(id, again));
    gate_forward(f->gate, f->room, 0, "", &again);
    assert_true(mf_eq(id, again));
}

/* What violations add to a request has an end; the events are kept. */
static void test_room_of_a_request(void **state)
{
    struct fixture *f = *state;
    unsigned told = 0, forwarded = 0;
    mf_str id;

    make(f, plan_text, "\"track\":{\"allow_properties_on_violations\":"
                       "false}");
    for (int i = 0; i < 20000; i++) {
        judge(f, TRACK("Paid", ",\"properties\":{\"tags\":[1]}"));
        holds(f, "properties", "{}");
        told += in(f, "context").type != MF_ABSENT;
        forwarded += gate_forward(f->gate, f->room, 0, "", &id).len > 0;
    }
    assert_in_range(told, 500, 19999);
    assert_in_range(forwarded, 500, 19999);
    gate_room_reset(f->room);
    judge(f, TRACK("Paid", ",\"properties\":{\"tags\":[1]}"));
    holds(f, "context.protocols.omitted", "[\"properties.tags\"]");
    assert_int_equal(counted(f, "omitted"), 20001);
    assert_non_null(memmem(f->stats.data, f->stats.len,
                           "\"not_forwarded\":1", 17));
}

static void test_many_kinds_are_counted_together(void **state)
{
    struct fixture *f = *state;
    char event[400];

    make(f, plan_text, "");
    for (int i = 0; i < TALLY_ROWS_MAX + 7; i++) {
        snprintf(event, sizeof event, TRACK("E%d", ""), i);
        judge(f, event);
    }
    assert_int_equal(counted(f, "allowed"), TALLY_ROWS_MAX + 7);
    assert_non_null(memmem(f->stats.data, f->stats.len,
                           "\"other_violations\":7}", 21));
    make(f, plan_text, ""); /* a reload: the tally goes on */
    assert_int_equal(counted(f, "allowed"), TALLY_ROWS_MAX + 7);
}

/* A report tells of 16 violations; all of them go, however many. */
static void test_many_wrong_members(void **state)
{
    static const char plan[] =
        "{\"rules\":[{\"key\":\"Paid\",\"type\":\"TRACK\",\"jsonSchema\":{"
        "\"properties\":{\"properties\":{\"properties\":{\"ok\":{},"
        "\"list\":{\"items\":{\"required\":[\"a\"],\"properties\":{\"b\":{"
        "\"type\":\"string\"}}}},\"deep\":{\"$ref\":\"#/definitions/d\"}},"
        "\"patternProperties\":{\"^n\":{\"type\":\"number\"}}}},"
        "\"definitions\":{\"d\":{\"anyOf\":[{\"items\":{\"$ref\":"
        "\"#/definitions/d\"},\"maxItems\":0},{\"items\":{\"$ref\":"
        "\"#/definitions/d\"},\"maxItems\":0}]}}}}]}";
    struct fixture *f = *state;
    static const int counts[] = { 3, 16, 40, 1000, 2000 };
    struct buf b;

    buf_init(&b, 1u << 20);
    make(f, plan, "\"track\":{\"allow_properties_on_violations\":false}");
    for (size_t c = 0; c < COUNT_OF(counts); c++) {
        buf_clear(&b);
        buf_puts(&b, "{\"type\":\"track\",\"messageId\":\"m\",\"userId\":\"u\","
                     "\"event\":\"Paid\",\"properties\":{\"ok\":1");
        for (int i = 0; i < counts[c]; i++)
            buf_printf(&b, ",\"n%d\":\"x\",\"g%d\":%d", i, i, i);
        buf_puts(&b, "}" TIMES);
        buf_char(&b, 0);
        judge(f, b.data);
        assert_null(f->v.blocked);
        assert_null(memmem(f->event.data, f->event.len, ":\"x\"", 4));
        assert_int_equal(json_count(in(f, "properties")),
                         counts[c] < 2000 ? counts[c] + 1 : 0);
    }
    /* What is missing is not in the way of what is wrong. */
    buf_clear(&b);
    buf_puts(&b, "{\"type\":\"track\",\"messageId\":\"m\",\"userId\":\"u\","
                 "\"event\":\"Paid\",\"properties\":{\"list\":[{}");
    for (int i = 0; i < 30; i++)
        buf_puts(&b, ",{\"c\":1}");
    buf_puts(&b, ",{\"b\":9}]}" TIMES);
    buf_char(&b, 0);
    judge(f, b.data);
    assert_int_equal(json_count(in(f, "properties.list")), 32);
    assert_null(memmem(f->event.data, f->event.len, "\"b\":9", 5));
    /* Who cannot be judged in time keeps nothing. */
    buf_clear(&b);
    buf_puts(&b, "{\"type\":\"track\",\"messageId\":\"m\",\"userId\":\"u\","
                 "\"event\":\"Paid\",\"properties\":{\"ok\":1,\"deep\":");
    for (int i = 0; i < 40; i++)
        buf_puts(&b, "[");
    for (int i = 0; i < 40; i++)
        buf_puts(&b, "]");
    buf_puts(&b, "}" TIMES);
    buf_char(&b, 0);
    judge(f, b.data);
    holds(f, "properties", "{}");
    assert_non_null(memmem(f->event.data, f->event.len, "\"Limit\"", 7));
    buf_deinit(&b);
}

#define THREADS 4
#define EACH    2000

static void *many(void *gate)
{
    static const char event[] = TRACK("Paid", ",\"properties\":{\"tags\":[1]}");
    struct gate_room *room = gate_room_new();
    struct gate_verdict v;
    struct buf b;

    buf_init(&b, 1u << 20);
    for (int i = 0; i < EACH; i++) {
        buf_clear(&b);
        buf_puts(&b, event);
        gate_room_reset(room);
        gate_judge(gate, room, &b, &v);
        ASSERT(v.violations == 2 && b.len > sizeof event);
    }
    buf_deinit(&b);
    gate_room_free(room);
    gate_release(gate);
    return NULL;
}

/* One gate, a room for each; the last to let go frees it. */
static void test_threads_share_a_gate(void **state)
{
    struct fixture *f = *state;
    pthread_t threads[THREADS];

    make(f, plan_text, "");
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, many,
                                        gate_hold(f->gate)), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(counted(f, "allowed"), THREADS * EACH);
    assert_non_null(memmem(f->stats.data, f->stats.len,
                           "\"type\":\"Required\",\"field\":\"properties.id\","
                           "\"count\":8000", 54));
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(test_as_planned),
        CASE(test_which_rule),
        CASE(test_told_of),
        CASE(test_taken_out),
        CASE(test_common_comes_second),
        CASE(test_lists_need_no_plan),
        CASE(test_violations_as_events),
        CASE(test_room_of_a_request),
        CASE(test_many_kinds_are_counted_together),
        CASE(test_many_wrong_members),
        CASE(test_threads_share_a_gate),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
