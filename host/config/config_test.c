/* SPDX-License-Identifier: Apache-2.0
 *
 * What a configuration means once it is read: values, defaults, replacement,
 * several files, places, fingerprints. Its faults have a test of their own. */
#include "config/fixture.h"

#define DEST(members)                                                          \
    "{\"sources\":{\"s\":{\"write_key\":\"k\",\"destinations\":[\"d\"]}},\n"   \
    "\"destinations\":{\n"                                                     \
    "\"d\":{\"plugin\":\"p\"" members "}}}"

static void load(const char *text)
{
    fixture_load(text);
    assert_string_equal(fixture_told(), "");
}

static void defaults(void **state)
{
    const struct config *c;
    const struct conf_destination *d;

    (void)state;
    load(DEST(""));
    c = fixture_config;
    assert_string_equal(c->data_dir, "/var/lib/manifold");
    assert_string_equal(c->plugins_dir, "/usr/lib/manifold/plugins");
    assert_int_equal(c->ingest.listen.count, 1);
    assert_string_equal(c->ingest.listen.list[0].text, "127.0.0.1:8080");
    assert_null(c->ingest.tls.certificate);
    assert_int_equal(c->ingest.max_event_bytes, 32768);
    assert_int_equal(c->ingest.max_batch_bytes, 513000);
    assert_int_equal(c->ingest.dedupe_window_ms, 86400000);
    assert_int_equal(c->ingest.dedupe_memory, 256 << 20);
    assert_int_equal(c->ingest.threads, 1);
    assert_string_equal(c->admin.listen.host, "127.0.0.1");
    assert_int_equal(c->admin.listen.port, 8081);
    assert_true(c->admin.listen.loopback);
    assert_null(c->admin.token);
    assert_int_equal(c->journal.engine, CONF_ENGINE_LOCAL);
    assert_int_equal(c->journal.retention_ms, 72 * 3600000);
    assert_true(c->journal.max_bytes == 20ull << 30);
    assert_int_equal(c->shutdown_ms, 30000);
    assert_int_equal(c->log_level, LOG_L_INFO);
    assert_true(c->sources.list[0].enabled);
    assert_null(c->sources.list[0].tracking_plan);
    assert_true(c->sources.list[0].schema.track.allow_unplanned_events);
    assert_true(c->sources.list[0].schema.group.allow_traits_on_violations);
    assert_int_equal(c->sources.list[0].schema.identify.common,
                     CONF_COMMON_ALLOW);
    d = &c->destinations.list[0];
    assert_true(mf_eq((mf_str){ d->settings.raw, d->settings.len },
                      MF_STR("{}")));
    assert_int_equal(d->subscriptions.count, 0);
    assert_null(d->filter.ptr);
    assert_int_equal(d->concurrency, 64);
    assert_true(d->rate == 0);
    assert_int_equal(d->order, CONF_ORDER_NONE);
    assert_int_equal(d->ttl_ms, 4 * 3600000);
    assert_int_equal(d->timeout_ms, 10000);
    assert_int_equal(d->batch_wait_ms, 1000);
    assert_null(d->endpoint);
    assert_false(d->allow_private || d->isolate);
}

static void values(void **state)
{
    const struct conf_destination *d;
    const struct config *c;
    char path[200];
    bool tls;

    (void)state;
    fixture_write("cert.pem", "x");
    load("{\"data_dir\":\"data\",\"plugins_dir\":\"/opt/p\",\n"
         "\"log_level\":\"debug\",\"shutdown_seconds\":0,\n"
         "\"ingest\":{\"listen\":[\"*:0\",\"[::1]:80\",\":81\"],\n"
         "\"tls\":{\"certificate\":\"cert.pem\",\"key\":\"cert.pem\",\n"
         "\"listen\":[\"*:443\",\"fd:tls-1\"]},\"proxy_protocol\":true,\n"
         "\"trusted_proxies\":[\"10.0.0.0/8\",\"::1\"],\n"
         "\"max_event_bytes\":\"64KiB\",\"dedupe_window\":\"90s\",\n"
         "\"dedupe_memory\":\"64MiB\",\"threads\":3},\n"
         "\"admin\":{\"token\":\"${TOKEN}\",\"listen\":\"0.0.0.0:0\"},\n"
         "\"journal\":{\"engine\":\"kafka\",\"kafka\":{\"brokers\":[\"a:1\","
         "\"b:2\"],\"topic\":\"t\"},\"max_bytes\":1048576},\n"
         "\"sources\":{\"s\":{\"write_key\":\"${WEB_KEY}\",\"enabled\":false,"
         "\"tracking_plan\":\"cert.pem\",\"destinations\":[\"d2\",\"d1\"],"
         "\"schema\":{\"track\":{\"allow_unplanned_events\":false,"
         "\"blocked_events\":[\"a b\",\"c\"]},\"identify\":{"
         "\"common_event_on_violations\":\"block\"}}}},\n"
         "\"destinations\":{\"d1\":{\"plugin\":\"p-1\"},\n"
         "\"d2\":{\"plugin\":\"p-2\",\"rate\":\"30/m\",\"order\":\"user\",\n"
         "\"ttl\":60,\"allow_private\":true,\"isolate\":true,\n"
         "\"subscriptions\":[{\"action\":\"a\"},{\"action\":\"b\",\n"
         "\"name\":\"n\",\"subscribe\":\"type = \\\"track\\\"\",\n"
         "\"mapping\":{\"x\":1},\"enabled\":false}]}}}");
    c = fixture_config;
    snprintf(path, sizeof path, "%s/data", fixture_dir);
    assert_string_equal(c->data_dir, path);
    assert_string_equal(c->plugins_dir, "/opt/p");
    assert_int_equal(c->log_level, LOG_L_DEBUG);
    assert_int_equal(c->shutdown_ms, 0);
    assert_int_equal(c->ingest.listen.count, 3);
    assert_null(c->ingest.listen.list[0].host);
    assert_false(c->ingest.listen.list[0].loopback);
    assert_string_equal(c->ingest.listen.list[1].host, "::1");
    assert_true(c->ingest.listen.list[1].loopback);
    assert_int_equal(c->ingest.listen.list[1].port, 80);
    assert_null(c->ingest.listen.list[2].host);
    assert_int_equal(c->ingest.tls.listen.count, 2);
    assert_string_equal(c->ingest.tls.listen.list[1].socket, "tls-1");
    assert_true(c->ingest.proxy_protocol);
    assert_int_equal(c->ingest.trusted_proxies.count, 2);
    assert_string_equal(c->ingest.trusted_proxies.list[0], "10.0.0.0/8");
    assert_string_equal(config_listen(c, 0, &tls)->text, "*:0");
    assert_false(tls);
    assert_string_equal(config_listen(c, 3, &tls)->text, "*:443");
    assert_true(tls);
    assert_null(config_listen(c, 5, &tls));
    assert_int_equal(c->ingest.max_event_bytes, 65536);
    assert_int_equal(c->ingest.dedupe_window_ms, 90000);
    assert_int_equal(c->ingest.dedupe_memory, 64 << 20);
    assert_int_equal(c->ingest.threads, 3);
    snprintf(path, sizeof path, "%s/cert.pem", fixture_dir);
    assert_string_equal(c->ingest.tls.key, path);
    assert_string_equal(c->sources.list[0].tracking_plan, path);
    assert_false(c->sources.list[0].schema.track.allow_unplanned_events);
    assert_true(c->sources.list[0].schema.track.allow_event_on_violations);
    assert_int_equal(c->sources.list[0].schema.track.blocked.count, 2);
    assert_string_equal(c->sources.list[0].schema.track.blocked.list[0],
                        "a b");
    assert_int_equal(c->sources.list[0].schema.identify.common,
                     CONF_COMMON_BLOCK);
    assert_string_equal(c->admin.token, "t0ken-of-the-admin");
    assert_int_equal(c->journal.kafka.brokers.count, 2);
    assert_string_equal(c->journal.kafka.brokers.list[1], "b:2");
    assert_string_equal(c->sources.list[0].write_key, "web-key-from-outside");
    assert_false(c->sources.list[0].enabled);
    assert_int_equal(c->sources.list[0].destination_count, 2);
    assert_int_equal(c->sources.list[0].destinations[0], 1);
    assert_int_equal(c->sources.list[0].destinations[1], 0);
    d = config_destination(c, MF_STR("d2"));
    assert_ptr_equal(d, &c->destinations.list[1]);
    assert_true(d->rate == 0.5);
    assert_int_equal(d->order, CONF_ORDER_USER);
    assert_int_equal(d->ttl_ms, 60000);
    assert_true(d->allow_private && d->isolate);
    assert_int_equal(d->subscriptions.count, 2);
    assert_null(d->subscriptions.list[0].subscribe.ptr);
    assert_int_equal(d->subscriptions.list[0].mapping.type, MF_ABSENT);
    assert_true(d->subscriptions.list[0].enabled);
    assert_true(mf_eq(d->subscriptions.list[1].subscribe,
                      MF_STR("type = \"track\"")));
    assert_false(d->subscriptions.list[1].enabled);
    assert_null(config_destination(c, MF_STR("d")));
    assert_null(config_source(c, MF_STR("s2")));
    assert_non_null(config_source(c, MF_STR("s")));
}

static const char *setting(const char *name, struct arena *a)
{
    mf_val settings = fixture_config->destinations.list[0].settings;

    return arena_copy(a, json_text(json_get(settings, mf_cstr(name)), a)).ptr;
}

static void replacement(void **state)
{
    struct arena a;

    (void)state;
    arena_init(&a, 1 << 20);
    fixture_write("secret", "line 1\nline 2\n\n");
    fixture_write("crlf", "x\r\n");
    fixture_write("none", "");
    load(DEST(",\"settings\":{\"${TOKEN}\":\"key\",\n"
              "\"whole\":\"${SECRET}\",\"two\":\"<${SHORT}|${SHORT}>\",\n"
              "\"plain\":\"$${TOKEN} $x $ $$ {} \\\\${SHORT}\",\n"
              "\"three\":\"$$${SHORT}\",\"again\":\"${DOLLAR}\",\n"
              "\"file\":\"${file:secret}\",\"crlf\":\"${file:crlf}\",\n"
              "\"slash\":\"${file:.\\/crlf}\",\"none\":\"[${file:none}]\",\n"
              "\"deep\":[{\"a\":[\"${EMPTY}x\"]}]}"));
    assert_string_equal(setting("${TOKEN}", &a), "key");
    assert_string_equal(setting("whole", &a), "s3cr3t \"quoted\"\\\n");
    assert_string_equal(setting("two", &a), "<ab|ab>");
    assert_string_equal(setting("plain", &a), "${TOKEN} $x $ $$ {} \\ab");
    assert_string_equal(setting("three", &a), "$${SHORT}");
    assert_string_equal(setting("again", &a), "${TOKEN}");
    assert_string_equal(setting("file", &a), "line 1\nline 2\n");
    assert_string_equal(setting("crlf", &a), "x");
    assert_string_equal(setting("slash", &a), "x");
    assert_string_equal(setting("none", &a), "[]");
    arena_deinit(&a);
}

static void replacement_faults(void **state)
{
    static const struct {
        const char *value, *want;
    } rows[] = {
        { "\"${NOPE}\"",
          "m.json:3:36: the variable NOPE is not set; set it in the "
          "environment, or write $${NOPE} where the text itself is meant\n" },
        { "[\"\\u00e9\\n\xc3\xa9 ${SHORT} ${SHORT} ${NO}\"]",
          "m.json:3:66: the variable NO is not set; set it in the "
          "environment, or write $${NO} where the text itself is meant\n" },
        { "\"a${SHORT\"",
          "m.json:3:37: this ${ is never closed; add the missing }, or write "
          "$${ where ${ itself is meant\n" },
        { "\"${}\"",
          "m.json:3:36: \"\" cannot be the name of a variable; write ${NAME} "
          "with letters, digits and _, ${file:PATH}, or $${ where ${ itself "
          "is meant\n" },
        { "\"${A-B}${2}\"",
          "m.json:3:36: \"A-B\" cannot be the name of a variable; write "
          "${NAME} with letters, digits and _, ${file:PATH}, or $${ where ${ "
          "itself is meant\n"
          "m.json:3:42: \"2\" cannot be the name of a variable; write "
          "${NAME} with letters, digits and _, ${file:PATH}, or $${ where ${ "
          "itself is meant\n" },
        { "\"${BINARY}\"",
          "m.json:3:36: what BINARY stands for is not UTF-8; encode it, for "
          "example as base64\n" },
        { "\"${file:}\"",
          "m.json:3:36: ${file:} names no file; write ${file:PATH}\n" },
        { "\"${file:gone}\"",
          "m.json:3:36: gone cannot be opened: No such file or directory; "
          "correct the path, or let this user read the file\n" },
        { "\"${file:conf.d}\"",
          "m.json:3:36: conf.d is not a regular file; correct the path, or "
          "let this user read the file\n" },
    };
    char text[500];

    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        snprintf(text, sizeof text, DEST(",\"settings\":{\"a\":%s}"),
                 rows[i].value);
        assert_int_equal(fixture_load(text), -1);
        assert_string_equal(fixture_told(), rows[i].want);
        assert_true(config_is_broken(
            fixture_config, fixture_config->destinations.list[0].settings));
    }
}

static void a_large_secret_is_refused(void **state)
{
    char *large = xcalloc(1, CONFIG_SECRET_MAX + 2);

    (void)state;
    memset(large, 'x', CONFIG_SECRET_MAX + 1);
    fixture_write("large", large);
    assert_int_equal(fixture_load(DEST(",\"settings\":{\"a\":\""
                                       "${file:large}\"}")), -1);
    assert_string_equal(fixture_told(),
                        "m.json:3:36: large is larger than 65536 bytes; "
                        "correct the path, or let this user read the file\n");
    large[CONFIG_SECRET_MAX] = 0;
    fixture_write("large", large);
    assert_int_equal(fixture_load(DEST(",\"settings\":{\"a\":\""
                                       "${file:large}\"}")), 0);
    free(large);
}

/* One mistake is told once: what hangs on a broken value is left alone. */
static void broken_values_have_no_aftermath(void **state)
{
    (void)state;
    assert_int_equal(
        fixture_load("{\"admin\":{\"listen\":\"*:1\",\"token\":\"${NO}\"},\n"
                     "\"sources\":{\"s\":{\"write_key\":\"${NO}\","
                     "\"destinations\":[\"${NO}\",\"d\"]},\n"
                     "\"t\":{\"write_key\":\"${NO}\"}},\n"
                     "\"destinations\":{\"d\":{\"plugin\":\"p${NO}\","
                     "\"ttl\":\"${NO}\",\"filter\":\"${NO}\"}}}"),
        -1);
    assert_int_equal(fixture_faults.count, 7);
    for (size_t i = 0; i < fixture_faults.count; i++)
        assert_non_null(strstr(fixture_faults.list[i].text, "NO is not set"));
}

static void places_survive_replacement(void **state)
{
    const struct conf_destination *d;
    const struct config *c;
    mf_val v, odd;

    (void)state;
    load(DEST(",\"ttl\":\"1h\", // ${SECRET}\n"
              "\"settings\": {\"a\":\"${SECRET}\", \"b\": [1,\n"
              "  \"x${SECRET}y\", \"$${z\", {\"c\":true}]},\n"
              "\"subscriptions\":[{\"action\":\"a\"}]"));
    c = fixture_config;
    d = &c->destinations.list[0];
    fixture_place(config_place(c, d), "m.json:3:1");
    fixture_place(config_place(c, &d->plugin), "m.json:3:15");
    fixture_place(config_place(c, &d->ttl_ms), "m.json:3:25");
    fixture_place(config_place(c, &d->timeout_ms), "m.json:3:5");
    fixture_place(config_place(c, &d->settings), "m.json:4:13");
    fixture_place(config_place_of(c, d->settings.raw), "m.json:4:13");
    fixture_place(config_place(c, &c->sources.list[0].write_key),
                  "m.json:1:30");
    fixture_place(config_place(c, &c->sources.list[0].destination_names
                                       .list[0]),
                  "m.json:1:50");
    fixture_place(config_place(c, &c->journal.retention_ms), "m.json:1:1");
    fixture_place(config_place(c, &d->subscriptions.list[0].action),
                  "m.json:6:28");
    v = json_get(d->settings, MF_STR("b"));
    fixture_place(config_place_of(c, v.raw), "m.json:4:36");
    odd = json_at(v, 1);
    fixture_place(config_place_of(c, odd.raw), "m.json:5:3");
    fixture_place(config_place_in(c, odd, 0), "m.json:5:4");
    fixture_place(config_place_in(c, odd, 1), "m.json:5:5");
    fixture_place(config_place_in(c, odd, 10), "m.json:5:5");
    fixture_place(config_place_in(c, odd, 18), "m.json:5:14");
    fixture_place(config_place_in(c, odd, 19), "m.json:5:15");
    fixture_place(config_place_in(c, json_at(v, 2), 2), "m.json:5:22");
    fixture_place(config_place_of(c, json_get(json_at(v, 3), MF_STR("c")).raw),
                  "m.json:5:31");
}

static void places_inside_escapes(void **state)
{
    static const struct {
        size_t offset;
        const char *want;
    } rows[] = {
        { 0, "m.json:3:36" }, { 1, "m.json:3:37" },  { 2, "m.json:3:39" },
        { 3, "m.json:3:39" }, { 4, "m.json:3:45" },  { 7, "m.json:3:45" },
        { 8, "m.json:3:57" }, { 11, "m.json:3:63" }, { 12, "m.json:3:64" },
    };
    mf_val v;

    (void)state;
    load(DEST(",\"settings\":{\"a\":"
              "\"x\\n\\u00e9\\ud83d\\ude80\\ud800y\"}"));
    v = json_get(fixture_config->destinations.list[0].settings, MF_STR("a"));
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        fixture_place(config_place_in(fixture_config, v, rows[i].offset),
                      rows[i].want);
}

static void several_files(void **state)
{
    const struct config *c;
    char path[200];

    (void)state;
    fixture_write("conf.d/10-hook.json",
                  "// more\n{\"destinations\":{\"hook\":{\"plugin\":\"h\","
                  "\"settings\":{\"k\":\"${file:key}\"}}},\n"
                  "\"data_dir\":\"here\"}");
    fixture_write("conf.d/20-web.json",
                  "{\"sources\":{\"web\":{\"write_key\":\"w\","
                  "\"destinations\":[\"hook\",\"d\"]}}}");
    fixture_write("conf.d/key", "from-conf.d\n");
    fixture_write("conf.d/.hidden.json", "{");
    fixture_write("conf.d/old.json.bak", "{");
    load(DEST(""));
    c = fixture_config;
    assert_int_equal(c->sources.count, 2);
    assert_int_equal(c->destinations.count, 2);
    assert_string_equal(c->destinations.list[0].name, "d");
    assert_string_equal(c->destinations.list[1].name, "hook");
    assert_true(mf_eq((mf_str){ c->destinations.list[1].settings.raw,
                                c->destinations.list[1].settings.len },
                      MF_STR("{\"k\":\"from-conf.d\"}")));
    snprintf(path, sizeof path, "%s/conf.d/here", fixture_dir);
    assert_string_equal(c->data_dir, path);
    fixture_place(config_place(c, &c->data_dir), "conf.d/10-hook.json:3:12");
    fixture_place(config_place(c, &c->destinations.list[1]),
                  "conf.d/10-hook.json:2:18");
    fixture_place(config_place(c, &c->destinations.list[1].ttl_ms),
                  "conf.d/10-hook.json:2:25");
}

static void names_in_two_files(void **state)
{
    char want[900];

    (void)state;
    fixture_write("conf.d/20-web.json",
                  "{\"sources\":{\"s\":{\"write_key\":\"w\"},\"web\":"
                  "{\"write_key\":\"k\",\"destinations\":[\"hook\"]}},\n"
                  "\"data_dir\":\"/x\",\"ingest\":{},\"what\":1}");
    fixture_write("conf.d/30-bad.json", "{,}");
    assert_int_equal(fixture_load(DEST("")), -1);
    snprintf(want, sizeof want,
             "conf.d/20-web.json:1:13: there is a source \"s\" already at "
             "m.json:1:13; rename or remove one of them\n"
             "conf.d/20-web.json:1:54: the source \"web\" has the write key "
             "of \"s\" at m.json:1:30; give each source its own\n"
             "conf.d/20-web.json:2:1: \"data_dir\" stands in "
             "conf.d/10-hook.json:3:1 already; remove one of them\n"
             "conf.d/20-web.json:2:29: there is no key \"what\" in the "
             "configuration; remove it, or use one of data_dir, plugins_dir, "
             "ingest, admin, journal, shutdown_seconds, log_level, sources, "
             "destinations\n"
             "conf.d/30-bad.json:1:2: a key in double quotes was expected; "
             "write it like \"key\": value\n");
    assert_string_equal(fixture_told(), want);
    fixture_remove("conf.d/10-hook.json");
    fixture_remove("conf.d/20-web.json");
    fixture_remove("conf.d/30-bad.json");
    fixture_remove("conf.d/.hidden.json");
}

static void secrets_are_known_and_not_told(void **state)
{
    char text[200] = "t0ken-of-the-admin s3cr3t \"quoted\"\\\n 127.0.0.1 ab";
    size_t len;

    (void)state;
    fixture_load("{\"admin\":{\"token\":\"${TOKEN}\"},\"sources\":{},\n"
                 "\"destinations\":{\"d\":{\"plugin\":\"p\",\"settings\":"
                 "{\"a\":[\"x-${SECRET}\",\"${SHORT}\"]},"
                 "\"filter\":\"?? ${TOKEN} ((\","
                 "\"endpoint\":\"http://127.0.0.1:${PORT}/${WEB_KEY}\"}}}");
    len = redact_text(fixture_config->secrets, text, strlen(text));
    text[len] = 0;
    assert_string_equal(text, "*** *** 127.0.0.1 ab");
    assert_null(strstr(fixture_told(), "t0ken"));
    assert_null(strstr(fixture_told(), "web-key-from"));
    assert_non_null(strstr(fixture_told(),
                           "cannot be the string \"http://127.0.0.1:${PORT}/"
                           "${WEB_KEY}\"; "));
    /* what is no secret by its place may be shown */
    assert_int_equal(redact_count(fixture_config->secrets), 2);
}

struct changes {
    struct buf b;
};

static void note_change(void *context, const char *kind, const char *name,
                        enum config_change change)
{
    struct changes *c = context;

    if (change != CONFIG_UNCHANGED)
        buf_printf(&c->b, "%c%c:%s ", "+-~="[change], *kind, name);
}

/* What changes between the two, in one line. */
static void check_diff(const char *before, const char *after,
                       const char *want)
{
    struct config *old;
    struct changes c;

    buf_init(&c.b, 1000);
    load(before);
    old = fixture_config;
    fixture_config = NULL;
    load(after);
    config_diff(old, fixture_config, note_change, &c);
    buf_char(&c.b, 0);
    assert_string_equal(c.b.data, want);
    buf_deinit(&c.b);
    config_free(old);
}

static void changes_are_found(void **state)
{
    static const char base[] = DEST(",\"settings\":{\"a\":1,\"b\":[\"x\"]},"
                                    "\"ttl\":\"4h\"");

    (void)state;
    check_diff(base, base, "");
    check_diff(base,
               "{\"destinations\":{/* same */\"d\":{\"settings\":\n"
               "{\"b\":[\"\\u0078\"],\"a\":1},\"plugin\":\"p\","
               "\"ttl\":\"240m\",\"concurrency\":64}},\"data_dir\":"
               "\"/var/lib/manifold\",\"sources\":{\"s\":{\"destinations\":"
               "[\"d\"],\"write_key\":\"k\"}}}",
               "");
    check_diff(base, DEST(",\"settings\":{\"a\":2,\"b\":[\"x\"]}"), "~d:d ");
    check_diff(base, DEST(",\"settings\":{\"a\":\"1\",\"b\":[\"x\"]}"),
               "~d:d ");
    check_diff(base,
               "{\"journal\":{\"retention\":\"1d\"},\"sources\":{\"t\":{"
               "\"write_key\":\"k\",\"destinations\":[\"e\"]}},"
               "\"destinations\":{\"e\":{\"plugin\":\"p\"}}}",
               "~s:journal +s:t -s:s +d:e -d:d ");
}

static void content_of_files_counts(void **state)
{
    static const char text[] = "{\"sources\":{\"s\":{\"write_key\":\"k\","
                               "\"tracking_plan\":\"plan\"}}}";
    char before[CONFIG_PRINT];

    (void)state;
    fixture_write("plan", "one");
    load(text);
    snprintf(before, sizeof before, "%s",
             fixture_config->sources.list[0].fingerprint);
    load(text);
    assert_string_equal(before, fixture_config->sources.list[0].fingerprint);
    fixture_write("plan", "two");
    load(text);
    assert_string_not_equal(before,
                            fixture_config->sources.list[0].fingerprint);
}

/* ---- the example ---- */

static const char *any_value(void *context, const char *name)
{
    (void)context;
    return name;
}

static void load_example(const char *text)
{
    const struct config_env env = { any_value, NULL };
    char path[200];

    fixture_write("m.json", text);
    snprintf(path, sizeof path, "%s/m.json", fixture_dir);
    config_free(fixture_config);
    faults_deinit(&fixture_faults);
    config_load_env(path, &env, &fixture_config, &fixture_faults);
}

/* Takes the // from lines whose comment begins with a key. */
static void uncomment(char *text)
{
    char *at = text;

    while ((at = strstr(at, "\n    "))) {
        at += 1 + strspn(at + 1, " ");
        if (strncmp(at, "// \"", 4) == 0)
            memset(at, ' ', 3);
    }
}

static void check_key_stands(mf_val row, const char *text)
{
    struct arena a;
    mf_str key;
    char *quoted;

    arena_init(&a, 4096);
    key = json_text(json_get(row, MF_STR("key")), &a);
    for (size_t i = key.len; i-- > 0;)
        if (key.ptr[i] == '.') {
            key.ptr += i + 1;
            key.len -= i + 1;
            break;
        }
    quoted = xasprintf("\"%.*s\":", (int)key.len, key.ptr);
    if (!strstr(text, quoted))
        fail_msg("the example does not have %s", quoted);
    free(quoted);
    arena_deinit(&a);
}

static void the_example_has_every_key(void **state)
{
    mf_iter it = { { 0 } };
    struct json_out w;
    char path[1024], *text;
    struct buf b;
    size_t len;
    mf_str key;
    mf_val row;

    (void)state;
    snprintf(path, sizeof path, "%.*s/../manifold.example.json",
             (int)(strrchr(TEST_DATA, '/') - TEST_DATA), TEST_DATA);
    assert_int_equal(io_read_file(AT_FDCWD, path, 1 << 20, &text, &len, NULL),
                     0);
    load_example(text);
    assert_string_equal(fixture_told(), "");
    buf_init(&b, 1 << 20);
    json_out_init(&w, &b);
    config_describe(&w);
    assert_int_equal(json_check(buf_view(&b), 8, NULL), 0);
    assert_true(json_count(json_root(buf_view(&b))) > 40);
    while (json_next(json_root(buf_view(&b)), &it, &key, &row))
        check_key_stands(row, text);
    buf_deinit(&b);
    fixture_write("fullchain.pem", "x");
    uncomment(text);
    load_example(text);
    assert_int_equal(fixture_faults.errors, 3); /* files that are not there */
    for (size_t i = 0; i < fixture_faults.count; i++)
        if (!fixture_faults.list[i].warning)
            assert_non_null(strstr(fixture_faults.list[i].text,
                                   "cannot be read: No such file"));
    free(text);
}

static void the_environment_is_the_default(void **state)
{
    char path[200];

    (void)state;
    setenv("MANIFOLD_CONFIG_TEST", "/from/outside", 1);
    fixture_write("m.json", "{\"data_dir\":\"${MANIFOLD_CONFIG_TEST}\","
                            "\"sources\":{\"s\":{\"write_key\":\"k\"}}}");
    snprintf(path, sizeof path, "%s/m.json", fixture_dir);
    config_free(fixture_config);
    faults_deinit(&fixture_faults);
    assert_int_equal(config_load(path, &fixture_config, &fixture_faults), 0);
    assert_string_equal(fixture_config->data_dir, "/from/outside");
}

static void relative_to_the_working_directory(void **state)
{
    char path[200], before[4096];

    (void)state;
    assert_non_null(getcwd(before, sizeof before));
    assert_int_equal(chdir(fixture_dir), 0);
    fixture_write("m.json", "{\"data_dir\":\"x\",\"sources\":{\"s\":"
                            "{\"write_key\":\"k\"}}}");
    config_free(fixture_config);
    faults_deinit(&fixture_faults);
    assert_int_equal(config_load("m.json", &fixture_config, &fixture_faults),
                     0);
    snprintf(path, sizeof path, "%s/x", fixture_dir);
    assert_string_equal(fixture_config->data_dir, path);
    assert_string_equal(config_place(fixture_config,
                                     &fixture_config->data_dir).file,
                        "m.json");
    assert_int_equal(chdir(before), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults),
        cmocka_unit_test(values),
        cmocka_unit_test(replacement),
        cmocka_unit_test(replacement_faults),
        cmocka_unit_test(a_large_secret_is_refused),
        cmocka_unit_test(broken_values_have_no_aftermath),
        cmocka_unit_test(places_survive_replacement),
        cmocka_unit_test(places_inside_escapes),
        cmocka_unit_test(several_files),
        cmocka_unit_test(names_in_two_files),
        cmocka_unit_test(secrets_are_known_and_not_told),
        cmocka_unit_test(changes_are_found),
        cmocka_unit_test(content_of_files_counts),
        cmocka_unit_test(the_example_has_every_key),
        cmocka_unit_test(the_environment_is_the_default),
        cmocka_unit_test(relative_to_the_working_directory),
    };

    return cmocka_run_group_tests(tests, fixture_start, fixture_stop);
}
