/* SPDX-License-Identifier: Apache-2.0
 *
 * One file: that every byte of the expanded text leads back to the byte it
 * came from, and that damaged files are refused without harm. */
#include "config/conf_file.h"

#include "config/fixture.h"

static const char whole[] =
    "{ // a comment with ${TOKEN}\n"
    "  \"a\": \"plain\", \"${TOKEN}\": [\"${TOKEN}\", 1, /* ${x */ true],\n"
    "  \"b\": { \"c\": \"<${SECRET}|$${TOKEN}|${EMPTY}>\\n\\u0041\" },\n"
    "  \"d\": \"${SHORT}${SHORT}\", \"e\": null, \"f\": \"$ $$ ${file:f}\"\n"
    "}\n";

static int read_text(struct conf_file *f, const char *text, size_t len)
{
    const struct config_env env = { fixture_lookup, NULL };
    char path[200];
    int fd;

    snprintf(path, sizeof path, "%s/one.json", fixture_dir);
    fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(io_write_all(fd, text, len), 0);
    close(fd);
    memset(f, 0, sizeof *f);
    faults_deinit(&fixture_faults);
    return conf_file_read(f, path, &env, &fixture_faults);
}

/* The offset of a place in the file, by counting. */
static size_t offset_of(const char *text, struct place at)
{
    unsigned line = 1;
    size_t i = 0;

    while (line < at.line)
        line += text[i++] == '\n';
    return i + at.column - 1;
}

static void every_byte_leads_back(void **state)
{
    struct conf_file f;
    size_t in_segments = 0;

    (void)state;
    fixture_write("f", "content\n");
    assert_int_equal(read_text(&f, whole, sizeof whole - 1), 0);
    assert_int_equal(fixture_faults.count, 0);
    assert_int_equal(f.segment_count, 7);
    for (size_t i = 0; i < f.text.len; i++) {
        size_t s = conf_file_segment(&f, f.text.data + i);
        size_t back = offset_of(whole, conf_file_place(&f, f.text.data + i));

        if (s < f.segment_count && f.segments[s].out <= i) {
            in_segments++;
            assert_int_equal(whole[back], '$');
        } else {
            assert_int_equal(f.source[back], f.text.data[i]);
            if (f.source[back] != ' ')
                assert_int_equal(whole[back], f.text.data[i]);
        }
    }
    assert_true(in_segments > 40);
    conf_file_deinit(&f);
}

static void the_text_is_what_was_meant(void **state)
{
    static const char want[] =
        "{\"a\":\"plain\",\"${TOKEN}\":[\"t0ken-of-the-admin\",1,true],"
        "\"b\":{\"c\":\"<s3cr3t \\\"quoted\\\"\\\\\\n|${TOKEN}|>\\nA\"},"
        "\"d\":\"abab\",\"e\":null,\"f\":\"$ $$ content\"}";
    struct conf_file f;
    struct arena a;

    (void)state;
    arena_init(&a, 1 << 20);
    assert_int_equal(read_text(&f, whole, sizeof whole - 1), 0);
    assert_int_equal(json_check(mf_cstr(want), 8, NULL), 0);
    assert_int_equal(json_check(buf_view(&f.text), 8, NULL), 0);
    assert_true(json_equal(json_root(buf_view(&f.text)),
                           json_root(mf_cstr(want)), &a));
    conf_file_deinit(&f);
    arena_deinit(&a);
}

/* Whatever is cut or changed: either a fault, or text that is JSON. */
static void damage_is_refused_without_harm(void **state)
{
    static const char puts[] = "\"\\{}[]:,$/*\n\x01\xff" "0x";
    char text[sizeof whole];
    unsigned refused = 0;
    struct conf_file f;

    (void)state;
    for (size_t i = 0; i < sizeof whole - 1; i++) {
        for (size_t k = 0; k <= sizeof puts; k++) {
            size_t len = k < sizeof puts ? sizeof whole - 1 : i;

            memcpy(text, whole, sizeof whole);
            if (k < sizeof puts)
                text[i] = puts[k];
            else if (i % 3) /* a cut is dear: a third of them is enough */
                continue;
            if (read_text(&f, text, len) == 0) {
                assert_int_equal(json_check(buf_view(&f.text), 64, NULL), 0);
            } else {
                refused++;
                assert_true(fixture_faults.errors > 0);
                assert_true(fixture_faults.list[0].at.line <= 6);
            }
            conf_file_deinit(&f);
        }
    }
    assert_true(refused > 1000);
}

static void values_are_quoted_as_written(void **state)
{
    char quote[CONF_QUOTE], text[300], longer[200];
    struct conf_file f;
    mf_val root;

    (void)state;
    memset(longer, 'x', sizeof longer);
    memcpy(longer + 57, "\xc3\xa9\xc3\xa9\xc3\xa9", 6);
    longer[sizeof longer - 1] = 0;
    snprintf(text, sizeof text, "{\"a\":\"${TOKEN}!\",\"b\":\"%s\",\"c\":1}",
             longer);
    assert_int_equal(read_text(&f, text, strlen(text)), 0);
    root = json_root(buf_view(&f.text));
    assert_string_equal(conf_file_quote(&f, json_get(root, MF_STR("a")),
                                        quote),
                        "\"${TOKEN}!\"");
    conf_file_quote(&f, json_get(root, MF_STR("b")), quote);
    assert_true(strlen(quote) < CONF_QUOTE);
    assert_memory_equal(quote + strlen(quote) - 5, "\xc3\xa9...", 5);
    assert_string_equal(conf_file_quote(&f, json_get(root, MF_STR("c")),
                                        quote),
                        "1");
    conf_file_deinit(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_byte_leads_back),
        cmocka_unit_test(the_text_is_what_was_meant),
        cmocka_unit_test(damage_is_refused_without_harm),
        cmocka_unit_test(values_are_quoted_as_written),
    };

    return cmocka_run_group_tests(tests, fixture_start, fixture_stop);
}
