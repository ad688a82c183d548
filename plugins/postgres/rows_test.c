/* SPDX-License-Identifier: Apache-2.0
 *
 * rows_test.c - names, values and rows without a database.
 *
 *   plugin_warehouse_rows          the tests
 *   plugin_warehouse_rows --rows   one event a line in, its rows out
 *
 * The second is what recorded rows are compared with, see tests/harness/rows.
 * Calls of the host are those of the built plugin's instance. */
#include "warehouse.h"

#include "json/json.h"
#include "plugin/inner.h"

#include <netdb.h>
#include <netinet/in.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static struct instance *instance;

static int open_instance(void **state)
{
    static const char text[] =
        "{\"hostname\":\"h\",\"database\":\"d\",\"username\":\"u\","
        "\"password\":\"p\",\"bucket\":\"bucket\",\"region\":\"r\","
        "\"accessKeyId\":\"k\",\"secretAccessKey\":\"s\"}";
    struct instance_config c = { .name = "test" };
    struct instance_fault fault = { 0 };
    struct err e;
    struct plugin *plugin = plugin_open(PLUGIN, &e);

    (void)state;
    if (!plugin) {
        fprintf(stderr, "%s\n", e.text);
        return -1;
    }
    c.settings = (mf_val){ text, sizeof text - 1, MF_OBJECT };
    instance = instance_new(plugin, &c, &fault);
    if (!instance)
        fprintf(stderr, "%s\n", fault.err.text);
    return instance ? 0 : -1;
}

static int close_instance(void **state)
{
    struct plugin *plugin = instance_plugin(instance);

    (void)state;
    instance_free(instance);
    plugin_free(plugin);
    return 0;
}

/* ---- names ---- */

static void test_names(void **state)
{
    static const struct {
        const char *text, *name;
    } rows[] = {
        { "Lesson Booked", "lesson_booked" },
        { "lessonBooked", "lesson_booked" },
        { "lesson___booked", "lesson_booked" },
        { "  $lesson-booked%  ", "lesson_booked" },
        { "LESSON 2 BOOKED", "lesson_2_booked" },
        { "lesson2Booked", "lesson2_booked" },
        { "berth.no", "berth_no" },
        { "3masts", "_3masts" },
        { "\xc3\xa9t\xc3\xa9", "t" },
        { "_hidden", "hidden" },
    };
    char name[NAME_BYTES], other[NAME_BYTES];
    char longer[300];

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        name_of(&warehouse_dialect, mf_cstr(rows[i].text), name);
        assert_string_equal(name, rows[i].name);
    }
    name_of(&warehouse_dialect, MF_STR("\xe6\xb3\xa8\xe6\x96\x87"), name);
    name_of(&warehouse_dialect, MF_STR("\xe6\xb3\xa8"), other);
    assert_int_equal(name[0], '_');
    assert_int_equal(strlen(name), 9);
    assert_string_not_equal(name, other);
    memset(longer, 'x', sizeof longer - 1);
    longer[sizeof longer - 1] = '\0';
    name_of(&warehouse_dialect, mf_cstr(longer), name);
    assert_int_equal(strlen(name), warehouse_dialect.name_max);
    longer[0] = '1';
    name_of(&warehouse_dialect, mf_cstr(longer), name);
    assert_int_equal(strlen(name), warehouse_dialect.name_max);
    name_below(&warehouse_dialect, name, MF_STR("more"), other);
    assert_int_equal(strlen(other), warehouse_dialect.name_max);
}

static void test_taken(void **state)
{
    static const char *const taken[] = { "id" };
    char name[NAME_BYTES] = "id";

    (void)state;
    name_free(&warehouse_dialect, taken, 1, name);
    assert_string_equal(name, "_id");
    name_free(&warehouse_dialect, taken, 1, name);
    assert_string_equal(name, "_id");
    snprintf(name, sizeof name, "order");
    name_free(&warehouse_dialect, taken, 1, name);
    assert_string_equal(name, "_order");
    for (size_t i = 1; i < warehouse_dialect.reserved_count; i++)
        assert_true(strcmp(warehouse_dialect.reserved[i - 1],
                           warehouse_dialect.reserved[i]) < 0);
}

/* ---- values ---- */

static const char *const types[] = {
    [TYPE_BOOL] = "boolean", [TYPE_INT] = "int",     [TYPE_FLOAT] = "float",
    [TYPE_TIME] = "datetime", [TYPE_TEXT] = "string",
};

static struct call *call_begin(void)
{
    struct call *c = call_new(instance, 0);

    c->now = 1787313600000;
    plugin_memory = c->mem;
    return c;
}

static struct value value_from(struct call *c, const char *json)
{
    mf_val v = json_root(arena_copy(&c->in, mf_cstr(json)));
    struct value to;

    assert_true(value_read(&c->pub, v, &to));
    return to;
}

static void test_types(void **state)
{
    static const struct {
        const char *json, *type;
    } rows[] = {
        { "true", "boolean" },
        { "0", "int" },
        { "-9223372036854775808", "int" },
        { "9223372036854775808", "string" },
        { "1.50", "float" },
        { "1e3", "float" },
        { "1e999", "string" },
        { "\"2026-06-01\"", "datetime" },
        { "\"2026-06-01T10:00\"", "datetime" },
        { "\"2026-06-01T10:00:00.123456+05:30\"", "datetime" },
        { "\"2026-06-31\"", "string" },
        { "\"0000-06-01\"", "string" },
        { "\"2026-06\"", "string" },
        { "\"2026-06-01 soon\"", "string" },
        { "\"7\"", "string" },
        { "[1,\"a\"]", "string" },
    };
    struct call *c = call_begin();

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct value v = value_from(c, rows[i].json);

        if (strcmp(types[v.type], rows[i].type) != 0)
            fail_msg("%s is %s", rows[i].json, types[v.type]);
    }
    call_free(c);
}

static void test_fit(void **state)
{
    static const struct {
        const char *json;
        enum type column;
        const char *field; /* NULL: it does not fit */
        bool part;
    } rows[] = {
        { "3", TYPE_FLOAT, "3", false },
        { "3.0", TYPE_INT, "3", false },
        { "-3.9", TYPE_INT, "-3", true },
        { "1e30", TYPE_INT, NULL, false },
        { "\"12\"", TYPE_INT, "12", false },
        { "\"twelve\"", TYPE_INT, NULL, false },
        { "\"1.5\"", TYPE_FLOAT, "1.5", false },
        { "\"nan\"", TYPE_FLOAT, NULL, false },
        { "\"0x10\"", TYPE_INT, NULL, false },
        { "true", TYPE_INT, NULL, false },
        { "true", TYPE_TEXT, "true", false },
        { "\"true\"", TYPE_BOOL, "true", false },
        { "1", TYPE_BOOL, NULL, false },
        { "\"2026-06-01\"", TYPE_TIME, "2026-06-01T00:00:00Z", false },
        { "\"2026-06-01 10:00\"", TYPE_TIME, "2026-06-01T10:00:00Z", false },
        { "\"2026-06-01T10:00:00.5-02\"", TYPE_TIME,
          "2026-06-01T10:00:00.5-02", false },
        { "1780000000", TYPE_TIME, NULL, false },
        { "\"2026-06-01\"", TYPE_TEXT, "2026-06-01", false },
        { "\"a\\u0000\\\\b\"", TYPE_TEXT, "a\\\\b", false },
        { "\"k\"", TYPE_JSON, "\"k\"", false },
    };
    struct call *c = call_begin();

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct value v = value_from(c, rows[i].json);
        enum fit fit = value_fit(rows[i].column, &v);
        struct out to = { 0 };

        out_text(&to, "");
        value_write(&warehouse_dialect, rows[i].column, 0, &v, &to);
        if ((fit == FIT_NOT) != !rows[i].field ||
            (fit == FIT_PART) != rows[i].part ||
            strcmp(to.data, rows[i].field ? rows[i].field : "") != 0)
            fail_msg("%s gives %d, %s", rows[i].json, fit, to.data);
        out_free(&to);
    }
    call_free(c);
}

static void test_cut(void **state)
{
    struct call *c = call_begin();
    struct value v = value_from(c, "\"\xc3\xa9\xc3\xa9\xc3\xa9\"");
    struct dialect d = warehouse_dialect;
    struct out to = { 0 };

    (void)state;
    d.limit_in_bytes = true;
    value_write(&d, TYPE_TEXT, 5, &v, &to);
    assert_string_equal(to.data, "\xc3\xa9\xc3\xa9");
    to.len = 0;
    d.limit_in_bytes = false;
    value_write(&d, TYPE_TEXT, 1, &v, &to);
    assert_string_equal(to.data, "\xc3\xa9");
    out_free(&to);
    call_free(c);
}

/* ---- rows ---- */

static void write_row(struct json_out *w, const struct table *table,
                      const struct row *row)
{
    struct dialect plain = warehouse_dialect;
    struct out text = { 0 };

    json_begin_object(w);
    json_kstr(w, "table", mf_cstr(table->name));
    json_key(w, MF_STR("data"));
    json_begin_object(w);
    for (uint32_t i = 0; i < row->count; i++) {
        const struct column *column = table->columns[row->cells[i].column];
        const struct value *v = &row->cells[i].value;

        if (!v->text.len)
            continue;
        text.len = 0;
        if (v->type == TYPE_TIME)
            value_write(&plain, TYPE_TIME, 0, v, &text);
        else
            out_add(&text, v->text.ptr, v->text.len);
        json_key(w, mf_cstr(column->name));
        json_begin_array(w);
        json_str(w, mf_cstr(types[v->type]));
        json_str(w, (mf_str){ text.data, text.len });
        json_end_array(w);
    }
    json_end_object(w);
    json_end_object(w);
    out_free(&text);
}

static void rows_of_line(mf_str line, struct buf *b)
{
    struct tables t = { 0 };
    struct call *c = call_begin();
    struct json_out w;
    const char *why = "no JSON";

    json_out_init(&w, b);
    json_begin_object(&w);
    tables_begin(&t);
    if (json_check(line, JSON_DEPTH_MAX, NULL) == 0)
        why = rows_of_event(&t, &warehouse_dialect, &c->pub, "s",
                            json_root(line), 0);
    if (why)
        json_kstr(&w, "reject", mf_cstr(why));
    json_key(&w, MF_STR("rows"));
    json_begin_array(&w);
    for (uint32_t i = 0; i < t.count; i++)
        for (uint32_t k = 0; k < t.list[i]->row_count; k++)
            write_row(&w, t.list[i], &t.list[i]->rows[k]);
    json_end_array(&w);
    json_end_object(&w);
    buf_char(b, '\n');
    tables_free(&t);
    call_free(c);
}

static int filter(void)
{
    char *line = NULL;
    size_t cap = 0;
    ssize_t n;
    struct buf b;

    if (open_instance(NULL) != 0)
        return 1;
    buf_init(&b, 64u << 20);
    while ((n = getline(&line, &cap, stdin)) > 0) {
        buf_clear(&b);
        rows_of_line((mf_str){ line, (size_t)n }, &b);
        fwrite(b.data, 1, b.len, stdout);
    }
    buf_deinit(&b);
    free(line);
    close_instance(NULL);
    return 0;
}

static void test_rows(void **state)
{
    static const char *const wrong[] = {
        "{\"type\":\"track\",\"event\":\"E\"}",
        "{\"type\":\"track\",\"messageId\":\"m\"}",
        "{\"type\":\"delete\",\"messageId\":\"m\"}",
        "{\"messageId\":\"m\"}",
    };
    struct buf b;

    (void)state;
    buf_init(&b, 1u << 20);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        buf_clear(&b);
        rows_of_line(mf_cstr(wrong[i]), &b);
        assert_memory_equal(b.data, "{\"reject\":", 10);
    }
    /* Two names that become one: the first counts, the other is kept. */
    buf_clear(&b);
    rows_of_line(MF_STR("{\"type\":\"page\",\"messageId\":\"m\","
                        "\"properties\":{\"aB\":1,\"a_b\":2,\"a-b\":1}}"),
                 &b);
    buf_char(&b, 0);
    assert_non_null(strstr(b.data, "\"a_b\":[\"int\",\"1\"]"));
    assert_non_null(strstr(b.data, "\"column_value\":[\"string\",\"2\"]"));
    assert_null(strstr(b.data, "\"column_value\":[\"string\",\"1\"]"));
    buf_deinit(&b);
}

/* Rows of one user in a batch are one, the newest values in it. */
static void test_newest(void **state)
{
    static const char *const events[] = {
        "{\"type\":\"identify\",\"messageId\":\"1\",\"userId\":\"u\","
        "\"receivedAt\":\"2026-06-01T10:00:00.000Z\","
        "\"traits\":{\"a\":1,\"b\":1}}",
        "{\"type\":\"identify\",\"messageId\":\"2\",\"userId\":\"u\","
        "\"receivedAt\":\"2026-06-01T12:00:00.000Z\",\"traits\":{\"b\":2}}",
        "{\"type\":\"identify\",\"messageId\":\"3\",\"userId\":\"u\","
        "\"receivedAt\":\"2026-06-01T11:00:00.000Z\","
        "\"traits\":{\"b\":3,\"c\":3}}",
    };
    struct tables t = { 0 };
    struct call *c = call_begin();
    struct table *users;

    (void)state;
    tables_begin(&t);
    for (uint32_t i = 0; i < 3; i++)
        assert_null(rows_of_event(&t, &warehouse_dialect, &c->pub, "s",
                                  json_root(mf_cstr(events[i])), i));
    users = table_named(&t, "s", "users");
    assert_int_equal(users->row_count, 1);
    assert_int_equal(users->event_count, 3);
    assert_true(mf_eq(row_value(users, users->rows, "a")->text, MF_STR("1")));
    assert_true(mf_eq(row_value(users, users->rows, "b")->text, MF_STR("2")));
    assert_true(mf_eq(row_value(users, users->rows, "c")->text, MF_STR("3")));
    assert_true(mf_eq(row_value(users, users->rows, "received_at")->text,
                      MF_STR("2026-06-01T12:00:00.000Z")));
    tables_free(&t);
    call_free(c);
}

/* ---- a resolver that hangs ---- */

static pthread_mutex_t stuck = PTHREAD_MUTEX_INITIALIZER;
static unsigned asked;

/* Takes the place of libc's for all of this process. */
int getaddrinfo(const char *name, const char *service,
                const struct addrinfo *hints, struct addrinfo **out)
{
    static const struct sockaddr_in loopback = { .sin_family = AF_INET,
                                                 .sin_addr = { 0x0100007f } };
    struct addrinfo *a = calloc(1, sizeof *a + sizeof loopback);

    (void)name;
    (void)service;
    (void)hints;
    asked++;
    pthread_mutex_lock(&stuck);
    pthread_mutex_unlock(&stuck);
    a->ai_addrlen = sizeof loopback;
    a->ai_addr = memcpy(a + 1, &loopback, sizeof loopback);
    *out = a;
    return 0;
}

void freeaddrinfo(struct addrinfo *a)
{
    free(a);
}

static void test_resolver(void **state)
{
    struct out hosts = { 0 }, addresses = { 0 };
    struct lookup *pending = NULL;

    (void)state;
    pthread_mutex_lock(&stuck);
    for (int i = 0; i < 3; i++)
        assert_string_equal(resolve(&pending, "db.k.example", 10, &hosts,
                                    &addresses),
                            "the resolver does not answer");
    assert_int_equal(asked, 1);
    pthread_mutex_unlock(&stuck);
    assert_null(resolve(&pending, "db.k.example", 60000, &hosts, &addresses));
    assert_null(pending);
    assert_string_equal(hosts.data, "db.k.example");
    assert_string_equal(addresses.data, "127.0.0.1");
    out_free(&hosts);
    out_free(&addresses);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),  cmocka_unit_test(test_taken),
        cmocka_unit_test(test_types),  cmocka_unit_test(test_fit),
        cmocka_unit_test(test_cut),    cmocka_unit_test(test_rows),
        cmocka_unit_test(test_newest), cmocka_unit_test(test_resolver),
    };

    if (argc > 1 && strcmp(argv[1], "--rows") == 0)
        return filter();
    return cmocka_run_group_tests(tests, open_instance, close_instance);
}
