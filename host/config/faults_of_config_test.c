/* SPDX-License-Identifier: Apache-2.0
 *
 * Every fault a configuration may have, with the exact line that tells it. */
#include "config/fixture.h"

/* In a text, ~ marks a place; in what is wanted, ~N is the line and column of
 * the N-th mark. */
struct row {
    const char *text, *want;
};

static void check_row(const char *text, const char *want)
{
    char places[10][16];
    struct buf plain, told;
    unsigned line = 1, column = 1, marks = 0;

    buf_init(&plain, 4096);
    buf_init(&told, 4096);
    for (; *text; text++) {
        if (*text == '~') {
            snprintf(places[++marks], sizeof places[0], "%u:%u", line, column);
            continue;
        }
        buf_char(&plain, *text);
        column = *text == '\n' ? 1 : column + 1;
        line += *text == '\n';
    }
    buf_char(&plain, 0);
    for (; *want; want++)
        if (*want == '~')
            buf_puts(&told, places[*++want - '0']);
        else
            buf_char(&told, *want);
    buf_char(&told, 0);
    fixture_load(plain.data);
    assert_string_equal(fixture_told(), told.data);
    buf_deinit(&plain);
    buf_deinit(&told);
}

static void check_rows(const struct row *rows, size_t n)
{
    for (size_t i = 0; i < n; i++)
        check_row(rows[i].text, rows[i].want);
}

/* Around one destination, so that rows stay short. */
#define DEST(members)                                                          \
    "{\"sources\":{\"s\":{\"write_key\":\"k\",\"destinations\":[\"d\"]}},\n"   \
    "\"destinations\":{\n"                                                     \
    "\"d\":{\"plugin\":\"p\"" members "}}}"
#define SOURCE(members)                                                        \
    "{\"sources\":{\n\"s\":{" members "}}}"
#define ONE "\"sources\":{\"s\":{\"write_key\":\"k\"}}"

static void what_is_not_json(void **state)
{
    static const struct row rows[] = {
        { "{\"sources\":{},}",
          "m.json:1:14: a comma stands before the closing }; remove the "
          "comma\n" },
        { "[]", "m.json:1:1: the configuration must be one object; write "
                "{ ... }\n" },
        { " 1", "m.json:1:2: the configuration must be one object; write "
                "{ ... }\n" },
        { "", "m.json:1:1: the text ends where a value was expected; the file "
              "must hold one object: { ... }\n" },
        { "{\n  \"a\": tru\n}",
          "m.json:2:8: a value was expected; write a string in double quotes, "
          "a number, true, false, null, [...] or {...}\n" },
        { "{\n /* \n", "m.json:2:2: this comment is never closed; end it with "
                       "*/\n" },
        { "{ // \xc3\xa4\n  \"\xc3\xa4\" 1}",
          "m.json:2:8: a colon was expected; put : between a key and its "
          "value\n" },
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        assert_int_equal(fixture_load(rows[i].text), -1);
        assert_null(fixture_config);
        assert_string_equal(fixture_told(), rows[i].want);
    }
    fixture_remove("m.json");
    assert_int_equal(fixture_reload(), -1);
    assert_string_equal(fixture_told(),
                        "m.json: cannot be opened: No such file or directory; "
                        "name a file that this user can read\n");
}

static void keys(void **state)
{
    static const struct row rows[] = {
        { "{" ONE ",~\"injest\":{}}",
          "m.json:~1: there is no key \"injest\" in the configuration; did "
          "you mean \"ingest\"?\n" },
        { "{" ONE ",\n\"admin\":{~\"port\":1}}",
          "m.json:~1: there is no key \"port\" in \"admin\"; remove it, or "
          "use one of listen, token\n" },
        { "{\"sources\":{\n\"s\":~{~\"writeKey\":\"k\"}}}",
          "m.json:~1: \"write_key\" is missing in a source; add it: what "
          "senders name themselves with\n"
          "m.json:~2: there is no key \"writeKey\" in a source; did you mean "
          "\"write_key\"?\n" },
        { DEST(",~\"partnerAction\":1"),
          "m.json:~1: there is no key \"partnerAction\" in a destination; "
          "remove it, or use one of plugin, settings, subscriptions, filter, "
          "concurrency, rate, retry_rate, order, ttl, timeout, "
          "connect_timeout, first_byte_timeout, batch_wait, endpoint, "
          "allow_private, isolate\n" },
        { DEST(",~\"ttl\":\"1h\",\n\"timeout\":\"1s\",~\"t\\u0074l\":\"2h\""),
          "m.json:~2: the key \"t\\u0074l\" stands twice in this object, first "
          "at ~1; remove one of them\n" },
        { DEST(",\"settings\":{\"a\":{~\"x\":1,\n~\"x\":2}}"),
          "m.json:~2: the key \"x\" stands twice in this object, first at "
          "~1; remove one of them\n" },
        { "{" ONE ",\n\"destinations\":{~\"d\":~{}}}",
          "m.json:~1: warning: no source sends to \"d\"; name it in the "
          "\"destinations\" of a source\n"
          "m.json:~2: \"plugin\" is missing in a destination; add it: the "
          "plugin's slug, as `manifold plugins` lists it\n" },
        { SOURCE("\"write_key\":\"k\",\"destinations\":[]}, ~\"a b\":{}, "
                 "~\"..\":{}, ~\"\":{}, \"x\":~1, ~\"s\":{"),
          "m.json:~1: \"a b\" cannot be the name of a source; use 1 to 64 "
          "of letters, digits, _ . and -\n"
          "m.json:~2: \"..\" cannot be the name of a source; use 1 to 64 of "
          "letters, digits, _ . and -\n"
          "m.json:~3: \"\" cannot be the name of a source; use 1 to 64 of "
          "letters, digits, _ . and -\n"
          "m.json:~4: \"sources\" cannot hold the number 1; write an object "
          "of objects by name\n"
          "m.json:~5: the key \"s\" stands twice in this object, first at "
          "2:1; remove one of them\n" },
    };

    (void)state;
    check_rows(rows, COUNT_OF(rows));
}

static void types_and_ranges(void **state)
{
    static const struct row rows[] = {
        { "~{\"sources\":~[]}",
          "m.json:~1: warning: there are no sources, so nothing will be "
          "accepted; add \"sources\": {\"NAME\": {\"write_key\": \"...\"}}\n"
          "m.json:~2: \"sources\" cannot be an array; write an object of "
          "objects by name\n" },
        { "{" ONE ",\"shutdown_seconds\":~-1,\"log_level\":~\"loud\"}",
          "m.json:~1: \"shutdown_seconds\" cannot be the number -1; write a "
          "whole number of seconds, from 0 to 3600\n"
          "m.json:~2: \"log_level\" cannot be the string \"loud\"; write "
          "\"error\", \"warn\", \"info\" or \"debug\"\n" },
        { "{" ONE ",\"data_dir\":~\"\",\"plugins_dir\":~null}",
          "m.json:~1: \"data_dir\" cannot be the string \"\"; write a path\n"
          "m.json:~2: \"plugins_dir\" cannot be null; write a path\n" },
        { DEST(",\"concurrency\":~0"),
          "m.json:~1: \"concurrency\" cannot be the number 0; write a whole "
          "number, from 1 to 4096\n" },
        { DEST(",\"concurrency\":~1.5"),
          "m.json:~1: \"concurrency\" cannot be the number 1.5; write a "
          "whole number, from 1 to 4096\n" },
        { DEST(",\"concurrency\":~\"64\""),
          "m.json:~1: \"concurrency\" cannot be the string \"64\"; write a "
          "whole number, from 1 to 4096\n" },
        { DEST(",\"ttl\":~\"soon\""),
          "m.json:~1: \"ttl\" cannot be the string \"soon\"; write a "
          "duration such as \"500ms\", \"10s\", \"5m\", \"4h\" or \"3d\", "
          "from 1ms to 365d\n" },
        { DEST(",\"timeout\":~\"2h\""),
          "m.json:~1: \"timeout\" cannot be the string \"2h\"; write a "
          "duration such as \"500ms\", \"10s\", \"5m\", \"4h\" or \"3d\", "
          "from 1ms to 1h\n" },
        { DEST(",\"batch_wait\":~[\"1s\"]"),
          "m.json:~1: \"batch_wait\" cannot be an array; write a duration "
          "such as \"500ms\", \"10s\", \"5m\", \"4h\" or \"3d\", from 0ms to "
          "1h\n" },
        { DEST(",\"rate\":~500"),
          "m.json:~1: \"rate\" cannot be the number 500; write a rate such "
          "as \"500/s\", \"30/m\" or \"1000/h\"\n" },
        { DEST(",\"rate\":~\"0/s\""),
          "m.json:~1: \"rate\" cannot be the string \"0/s\"; write a rate "
          "such as \"500/s\", \"30/m\" or \"1000/h\"\n" },
        { DEST(",\"order\":~\"users\""),
          "m.json:~1: \"order\" cannot be the string \"users\"; write "
          "\"none\" or \"user\"\n" },
        { DEST(",\"isolate\":~\"yes\",\"settings\":~[]"),
          "m.json:~1: \"isolate\" cannot be the string \"yes\"; write true "
          "or false\n"
          "m.json:~2: \"settings\" cannot be an array; write an object\n" },
        { "{" ONE ",\"journal\":{\"max_bytes\":~\"20 GiB\",\"retention\":~0}}",
          "m.json:~1: \"max_bytes\" cannot be the string \"20 GiB\"; write "
          "a number of bytes or a size such as \"512KB\" or \"20GiB\", from "
          "1MiB to 1024TiB\n"
          "m.json:~2: \"retention\" cannot be the number 0; write a "
          "duration such as \"500ms\", \"10s\", \"5m\", \"4h\" or \"3d\", "
          "from 1s to 3650d\n" },
        { "{\"sources\":{\"a\":{\"write_key\":~\"a:b\"},"
          "\"b\":{\"write_key\":~\"\"},\n\"c\":{\"write_key\":~7}}}",
          "m.json:~1: \"write_key\" cannot be this string; write a string "
          "of printable ASCII without space and colon of 1 to 256 bytes\n"
          "m.json:~2: \"write_key\" cannot be this string; write a string "
          "of printable ASCII without space and colon of 1 to 256 bytes\n"
          "m.json:~3: \"write_key\" cannot be the number 7; write a string "
          "of printable ASCII without space and colon of 1 to 256 bytes\n" },
        { SOURCE("\"write_key\":\"k\",\"destinations\":~\"d\""),
          "m.json:~1: \"destinations\" cannot be the string \"d\"; write an "
          "array of names in double quotes\n" },
        { SOURCE("\"write_key\":\"k\",\"destinations\":[~\"a\\u001b\"]"),
          "m.json:~1: \"destinations\" cannot hold the string "
          "\"a\\u001b\"; write an array of names in double quotes\n" },
        { DEST(",\"filter\":~\"x\\u0000\""),
          "m.json:~1: \"filter\" cannot be this string; write a condition "
          "such as \"type = \\\"track\\\"\"\n" },
        { SOURCE("\"write_key\":\"k\",\"destinations\":[~{}]"),
          "m.json:~1: \"destinations\" cannot hold an object; write an "
          "array of names in double quotes\n" },
    };

    (void)state;
    check_rows(rows, COUNT_OF(rows));
}

static void addresses(void **state)
{
#define ADDRESS                                                                \
    "write an array of addresses such as [\"127.0.0.1:8080\", "                \
    "\"[::1]:8080\"]\n"
#define INGEST(list) "{" ONE ",\"ingest\":{\"listen\":" list "}}"
    static const struct row rows[] = {
        { INGEST("~[]"), "m.json:~1: \"listen\" cannot be an array; "
                        ADDRESS },
        { INGEST("~\"127.0.0.1:1\""),
          "m.json:~1: \"listen\" cannot be the string \"127.0.0.1:1\"; "
          ADDRESS },
        { INGEST("[~\"8080\"]"),
          "m.json:~1: \"listen\" cannot hold the string \"8080\"; "
          ADDRESS },
        { INGEST("[~\"::1:8080\"]"),
          "m.json:~1: \"listen\" cannot hold the string \"::1:8080\"; "
          ADDRESS },
        { INGEST("[~\"*:70000\"]"),
          "m.json:~1: \"listen\" cannot hold the string \"*:70000\"; "
          ADDRESS },
        { INGEST("[\"*:0\",~\"[::1]:x\"]"),
          "m.json:~1: \"listen\" cannot hold the string \"[::1]:x\"; "
          ADDRESS },
        { INGEST("[\"*:90\",\"*:0\",\"*:0\",\n~\"127.0.0.1:90\"]"),
          "m.json:~1: *:90 and 127.0.0.1:90 cannot both be listened on; "
          "remove one or change its port\n" },
        { INGEST("[\"fd:a\",~\"fd:a\"]"),
          "m.json:~1: fd:a and fd:a cannot both be listened on; remove one "
          "or change its port\n" },
        { INGEST("[~\"fd:a b\"]"),
          "m.json:~1: \"listen\" cannot hold the string \"fd:a b\"; write an "
          "array of addresses such as [\"127.0.0.1:8080\", "
          "\"[::1]:8080\"]\n" },
        { "{" ONE ",\"ingest\":{\"listen\":[\"*:90\"],\"tls\":{"
          "\"certificate\":\"m.json\",\"key\":\"m.json\",\"listen\":"
          "[~\"[::1]:90\"]}}}",
          "m.json:~1: *:90 and [::1]:90 cannot both be listened on; remove "
          "one or change its port\n" },
        { "{" ONE ",\"ingest\":{\"proxy_protocol\":~true}}",
          "m.json:~1: \"proxy_protocol\" is of those in \"trusted_proxies\", "
          "and there are none; name the proxies, or take it away\n" },
        { "{" ONE ",\"ingest\":{\"trusted_proxies\":[~\"10.0.0.1/8\"]}}",
          "m.json:~1: \"trusted_proxies\" cannot hold the string "
          "\"10.0.0.1/8\"; write an array of addresses or blocks of them "
          "such as [\"10.0.0.0/8\", \"2001:db8::7\"]\n" },
        { "{" ONE ",\"ingest\":{\"listen\":[\"*:90\"]},\n"
          "\"admin\":{\"listen\":~\"localhost:90\"}}",
          "m.json:~1: \"admin\" listens on localhost:90 and \"ingest\" on "
          "*:90; give them different ports\n" },
        { "{" ONE ",\n\"admin\":{\"listen\":~\"0.0.0.0:1\"}}",
          "m.json:~1: \"admin\" can be reached from other machines at "
          "0.0.0.0:1 and asks for no token; add \"token\", or listen on "
          "127.0.0.1\n" },
        { "{" ONE ",\n\"admin\":{\"listen\":~\"[2001:db8::1]:1\"}}",
          "m.json:~1: \"admin\" can be reached from other machines at "
          "[2001:db8::1]:1 and asks for no token; add \"token\", or listen "
          "on 127.0.0.1\n" },
        { "{" ONE ",\"admin\":{\"listen\":\"*:1\",\"token\":\"x\"}}", "" },
        { "{" ONE ",\"admin\":{\"listen\":\"*:1\",\n\"token\":~\"${EMPTY}\"}}",
          "m.json:~1: \"token\" cannot be this string; write a string of "
          "printable ASCII without space of 1 to 1024 bytes\n" },
        { "{" ONE ",\"admin\":{\"listen\":\"[::1]:1\"}}", "" },
        { "{" ONE ",\"admin\":{\"listen\":\"[::ffff:127.0.0.9]:1\"}}", "" },
        { "{" ONE ",\"admin\":{\"listen\":\"127.9.9.9:1\"}}", "" },
    };

    (void)state;
    check_rows(rows, COUNT_OF(rows));
}

static void endpoints(void **state)
{
    static const char *const wrong[] = {
        "",
        "127.0.0.1:9000",
        "ftp://127.0.0.1",
        "http://",
        "http://:80",
        "http://h:0",
        "http://h:99999",
        "http://h/path",
        "http://u:p@h",
        "http://h?q",
        "http://[::1",
        "http://a b",
    };
    static const char *const right[][2] = {
        { "http://127.0.0.1:9000", "http://127.0.0.1:9000" },
        { "https://example.com/", "https://example.com" },
        { "http://[::1]:80/", "http://[::1]:80" },
    };
    char text[400], want[400];

    (void)state;
    for (size_t i = 0; i < COUNT_OF(wrong); i++) {
        snprintf(text, sizeof text, DEST(",\"endpoint\":~\"%s\""), wrong[i]);
        snprintf(want, sizeof want,
                 "m.json:~1: \"endpoint\" cannot be the string \"%s\"; "
                 "write an origin such as \"http://127.0.0.1:9000\", without "
                 "a path\n",
                 wrong[i]);
        check_row(text, want);
    }
    for (size_t i = 0; i < COUNT_OF(right); i++) {
        snprintf(text, sizeof text, DEST(",\"endpoint\":\"%s\""),
                 right[i][0]);
        assert_int_equal(fixture_load(text), 0);
        assert_string_equal(fixture_config->destinations.list[0].endpoint,
                            right[i][1]);
    }
}

static void what_concerns_several_members(void **state)
{
    static const struct row rows[] = {
        { "{\"sources\":{\"s\":{\"write_key\":\"k\",\"destinations\":\n"
          "[~\"hok\",~\"zzzzzz\",\"hook\",~\"hook\"]}},\n"
          "\"destinations\":{\"hook\":{\"plugin\":\"webhook\"}}}",
          "m.json:~1: the source \"s\" sends to \"hok\", and there is no "
          "such destination; did you mean \"hook\"?\n"
          "m.json:~2: the source \"s\" sends to \"zzzzzz\", and there is no "
          "such destination; add it to \"destinations\", or take the name "
          "away\n"
          "m.json:~3: the source \"s\" names \"hook\" twice; remove one of "
          "them\n" },
        { "{\"sources\":{\"s\":{\"write_key\":\"k\",\"destinations\":\n"
          "[~\"x${TOKEN}\"]}}}",
          "m.json:~1: the source \"s\" sends to \"x${TOKEN}\", and there is "
          "no such destination; add it to \"destinations\", or take the name "
          "away\n" },
        { "{\"sources\":{\"a\":{\"write_key\":~\"same\"},\n"
          "\"b\":{\"write_key\":\"other\"},\n\"c\":{\"write_key\":~\"same\"},\n"
          "\"d\":{\"write_key\":~\"s\\u0061me\"}}}",
          "m.json:~2: the source \"c\" has the write key of \"a\" at "
          "m.json:~1; give each source its own\n"
          "m.json:~3: the source \"d\" has the write key of \"a\" at "
          "m.json:~1; give each source its own\n" },
        { "{" ONE ",\"ingest\":{\n\"max_event_bytes\":~\"1MB\"}}",
          "m.json:~1: an event of 1000000 bytes would not fit into a "
          "request of 513000; raise \"max_batch_bytes\"\n" },
        { DEST(",\"ttl\":~\"4d\""),
          "m.json:~1: warning: \"d\" tries for longer than the journal "
          "keeps events; raise \"retention\" or lower \"ttl\"\n" },
        { "{" ONE ",\n\"journal\":{\"engine\":~\"kafka\"}}",
          "m.json:~1: the engine \"kafka\" needs its cluster; add "
          "\"kafka\": {\"brokers\": [...], \"topic\": \"...\"}\n" },
        { "{" ONE ",\n\"journal\":{\"kafka\":{\"brokers\":~[\"b:9092\"],"
          "\"topic\":\"t\"}}}",
          "m.json:~1: warning: \"kafka\" is not used with the engine "
          "\"local\"; remove it or set \"engine\": \"kafka\"\n" },
        { "{" ONE ",\n\"journal\":{\"engine\":\"kafka\",\"kafka\":~{"
          "\"brokers\":[~1],\"properties\":{\"a\":~1}}}}",
          "m.json:~1: \"topic\" is missing in \"kafka\"; add it: the topic "
          "that holds the events\n"
          "m.json:~2: \"brokers\" cannot hold the number 1; write an array "
          "of addresses such as [\"kafka-1:9092\"]\n"
          "m.json:~3: \"properties\" cannot hold the number 1; write an "
          "object of strings\n" },
    };

    (void)state;
    check_rows(rows, COUNT_OF(rows));
}

static void files_must_be_there(void **state)
{
    static const struct row rows[] = {
        { SOURCE("\"write_key\":\"k\",\n\"tracking_plan\":~\"plans/x.json\""),
          "m.json:~1: \"tracking_plan\": plans/x.json cannot be read: No "
          "such file or directory; correct the path, or let this user read "
          "the file\n" },
        { SOURCE("\"write_key\":\"k\",\n\"tracking_plan\":~\"conf.d\""),
          "m.json:~1: \"tracking_plan\": conf.d is not a file; name a "
          "file\n" },
        { "{" ONE ",\"ingest\":{\"tls\":~{\"certificate\":\"m.json\"}}}",
          "m.json:~1: \"key\" is missing in \"tls\"; add it: the private "
          "key, PEM\n" },
    };

    (void)state;
    check_rows(rows, COUNT_OF(rows));
}

static void schema_controls(void **state)
{
#define SCHEMA(text) SOURCE("\"write_key\":\"k\",\n\"schema\":{" text "}")
    static const struct row rows[] = {
        { SCHEMA("\"forwarding_violations_to\":~\"t\""),
          "m.json:~1: the source \"s\" forwards to \"t\", and there is no "
          "such source; add it to \"sources\", or take this away\n" },
        { SCHEMA("\"forwarding_blocked_events_to\":~\"s\""),
          "m.json:~1: the source \"s\" forwards to itself; name another\n" },
        { SOURCE("\"write_key\":\"k\",\n\"schema\":{"
                 "\"forwarding_blocked_events_to\":~\"t\"}},\"t\":{"
                 "\"write_key\":\"l\",\"enabled\":false"),
          "m.json:~1: the source \"s\" forwards to \"t\", which is not "
          "enabled; enable it, or name another\n" },
        { SCHEMA("\"track\":{~\"allow_unplanned_traits\":true}"),
          "m.json:~1: there is no key \"allow_unplanned_traits\" in \"track\"; "
          "did you mean \"allow_unplanned_events\"?\n" },
        { SCHEMA("\"group\":{\"common_event_on_violations\":~\"OMIT\"}"),
          "m.json:~1: \"common_event_on_violations\" cannot be the string "
          "\"OMIT\"; write \"allow\", \"omit\" or \"block\"\n" },
        { SCHEMA("\"track\":{\"blocked_events\":[\"a\",~1]}"),
          "m.json:~1: \"blocked_events\" cannot hold the number 1; write an "
          "array of strings\n" },
    };

    (void)state;
    check_rows(rows, COUNT_OF(rows));
}

static void subscriptions(void **state)
{
#define SUBS(text) DEST(",\"subscriptions\":" text)
    static const struct row rows[] = {
        { SUBS("~[]"), "m.json:~1: \"subscriptions\" cannot be an array; "
                      "write an array of objects, at least one\n" },
        { SUBS("~{}"), "m.json:~1: \"subscriptions\" cannot be an object; "
                      "write an array of objects, at least one\n" },
        { SUBS("[{\"action\":\"a\"},~3]"),
          "m.json:~1: \"subscriptions\" cannot hold the number 3; write an "
          "array of objects, at least one\n" },
        { SUBS("[\n~{\"mapping\":~1}]"),
          "m.json:~1: \"action\" is missing in a subscription; add it: the "
          "slug of the plugin's action\n"
          "m.json:~2: \"mapping\" cannot be the number 1; write an object "
          "such as {\"name\": {\"@path\": \"$.event\"}}\n" },
        { SUBS("[{\"action\":\"a\",\n~\"partnerAction\":\"a\"}]"),
          "m.json:~1: there is no key \"partnerAction\" in a subscription; "
          "remove it, or use one of action, name, subscribe, mapping, "
          "enabled\n" },
        { SUBS("[{\"action\":~\"\",\"subscribe\":~\"\"}]"),
          "m.json:~1: \"action\" cannot be the string \"\"; write a string "
          "of 1 to 128 bytes\n"
          "m.json:~2: \"subscribe\" cannot be this string; write a "
          "condition such as \"type = \\\"track\\\"\"\n" },
    };

    (void)state;
    check_rows(rows, COUNT_OF(rows));
}

/* What is wrong is told by another folder; only the place is ours. */
static void conditions_and_mappings_are_placed(void **state)
{
    static const struct {
        const char *text, *place, *part;
    } rows[] = {
        { DEST(",\"filter\":\"type = \\\"track\\\" and ((\""), "m.json:3:52: ",
          "\"filter\" is not valid FQL here: " },
        { DEST(",\"filter\":\"type & x\""), "m.json:3:34: ",
          "\"filter\" is not valid FQL here: " },
        { DEST(",\"subscriptions\":[{\"action\":\"a\",\n"
               "\"mapping\":{\"x\":1,\n\"y\":{\"@nope\":1}}}]"),
          "m.json:5:5: ", "the mapping is wrong here: " },
        { DEST(",\"subscriptions\":[{\"action\":\"a\",\n"
               "\"subscribe\":\"type = \\\"track\\\" & x\"}]"),
          "m.json:4:31: ", "\"subscribe\" is not valid FQL here: " },
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        assert_int_equal(fixture_load(rows[i].text), -1);
        assert_int_equal(fixture_faults.count, 1);
        assert_memory_equal(fixture_told(), rows[i].place,
                            strlen(rows[i].place));
        assert_non_null(strstr(fixture_told(), rows[i].part));
    }
}

static void entries_are_bounded(void **state)
{
    struct buf b;

    (void)state;
    buf_init(&b, 1 << 20);
    buf_puts(&b, "{\"sources\":{");
    for (int i = 0; i <= 5000; i++)
        buf_printf(&b, "%s\n\"s%d\":{\"write_key\":\"k%d\"}", i ? "," : "", i,
                   i);
    buf_puts(&b, "}}");
    buf_char(&b, 0);
    assert_int_equal(fixture_load(b.data), -1);
    assert_string_equal(fixture_told(),
                        "m.json:5002:1: \"sources\" has more than 5000 "
                        "entries; remove some\n");
    assert_int_equal(fixture_config->sources.count, 5000);
    buf_deinit(&b);
}

static void all_faults_are_told_in_order(void **state)
{
    (void)state;
    fixture_load("{\"sources\":{\"s\":{\"destinations\":[\"x\"]}},\n"
                 "\"admin\":{\"listen\":\"*:1\"},\n"
                 "\"destinations\":{\"d\":{\"plugin\":1,\"ttl\":\"x\"}},\n"
                 "\"what\":1}");
    assert_int_equal(fixture_faults.errors, 6);
    assert_int_equal(fixture_faults.count, 7);
    for (size_t i = 1; i < fixture_faults.count; i++)
        assert_true(fixture_faults.list[i - 1].at.line <=
                    fixture_faults.list[i].at.line);
    assert_non_null(fixture_config);
    assert_null(fixture_config->destinations.list[0].plugin);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_not_json),
        cmocka_unit_test(keys),
        cmocka_unit_test(types_and_ranges),
        cmocka_unit_test(addresses),
        cmocka_unit_test(endpoints),
        cmocka_unit_test(what_concerns_several_members),
        cmocka_unit_test(files_must_be_there),
        cmocka_unit_test(schema_controls),
        cmocka_unit_test(subscriptions),
        cmocka_unit_test(conditions_and_mappings_are_placed),
        cmocka_unit_test(entries_are_bounded),
        cmocka_unit_test(all_faults_are_told_in_order),
    };

    return cmocka_run_group_tests(tests, fixture_start, fixture_stop);
}
