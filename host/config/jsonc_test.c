/* SPDX-License-Identifier: Apache-2.0 */
#include "config/jsonc.h"

#include "base/mem.h"
#include "json/json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void comments_become_spaces(void **state)
{
    static const struct {
        const char *text, *want;
    } rows[] = {
        { "{} // end", "{}       " },
        { "// a\n{}", "    \n{}" },
        { "// a\r\n{}", "    \r\n{}" },
        { "/* a\n * b */ {}", "    \n        {}" },
        { "{\"a\":/**/1}", "{\"a\":    1}" },
        { "[\"// no\",\"/* no */\"]", "[\"// no\",\"/* no */\"]" },
        { "[\"\\\" // no\"] // \"yes\"", "[\"\\\" // no\"]         " },
        { "\xEF\xBB\xBF{}", "   {}" },
        { "[1/* \xff\x01 */]", "[1        ]" },
        { "[1] // \"\n", "[1]     \n" },
        { "/* // */[]", "        []" },
        { "// /*\n[]", "     \n[]" },
    };
    struct jsonc_fault fault;

    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        char *text = xstrdup(rows[i].text);

        assert_int_equal(jsonc_read(text, strlen(text), &fault), 0);
        assert_string_equal(text, rows[i].want);
        free(text);
    }
}

static void faults_say_where_and_what_to_do(void **state)
{
    static const struct {
        const char *text;
        size_t offset;
        const char *want;
    } rows[] = {
        { "{\"a\":1,}", 6,
          "a comma stands before the closing }; remove the comma" },
        { "[1, // last\n ]", 2,
          "a comma stands before the closing ]; remove the comma" },
        { "{\"a\":1 /* x", 7,
          "this comment is never closed; end it with */" },
        { "{ /*/ }", 2, "this comment is never closed; end it with */" },
        { "{\"a\":{\"b\":[1]", 5,
          "this { is never closed; add the missing }" },
        { "{\"a\":[1,", 5, "this [ is never closed; add the missing ]" },
        { "", 0,
          "the text ends where a value was expected; the file must hold one "
          "object: { ... }" },
        { "{} x", 3,
          "something follows the value; remove what stands after the last }" },
        { "{'a':1}", 1,
          "a key in double quotes was expected; write it like \"key\": "
          "value" },
        { "{\"a\" 1}", 5,
          "a colon was expected; put : between a key and its value" },
        { "{\"a\":1 \"b\":2}", 7,
          "a comma or } was expected; put a comma between members, or close "
          "the object" },
        { "{\"a\":\"x\n\"}", 7,
          "a control character in a string must be escaped; close the string "
          "on its line, or write \\n for a line break and \\t for a tab" },
        { "{\"a\":\"x", 7,
          "the text ends inside a string; close it with a double quote" },
        { "{\"a\":\"C:\\dir\"}", 8,
          "there is no such escape; write \\\\ for a backslash" },
        { "{\"a\":yes}", 5,
          "a value was expected; write a string in double quotes, a number, "
          "true, false, null, [...] or {...}" },
        { "{\"a\":\"\xe9\"}", 6, "this is not UTF-8; save the file as UTF-8" },
        { "[,]", 1, NULL },
        { "/", 0, NULL },
    };
    struct jsonc_fault fault;

    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        char *text = xstrdup(rows[i].text);

        assert_int_equal(jsonc_read(text, strlen(text), &fault), -1);
        assert_int_equal(fault.offset, rows[i].offset);
        if (rows[i].want)
            assert_string_equal(fault.text, rows[i].want);
        free(text);
    }
}

static void every_fault_of_the_reader_has_a_remedy(void **state)
{
    static const char *const texts[] = {
        "", "[", "{", "{}x", "[1 2]", "{\"a\":1 2}", "{1", "{\"a\" 1", "[x]",
        "[01]", "[1.]", "[\"\\u12\"]", "[\"\\x\"]", "[\"\t\"]", "[\"\xc0\"]",
        "[\"",
    };
    struct jsonc_fault fault;

    (void)state;
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        char *text = xstrdup(texts[i]);

        assert_int_equal(jsonc_read(text, strlen(text), &fault), -1);
        assert_non_null(strstr(fault.text, "; "));
        assert_null(strstr(fault.text, "; correct it"));
        free(text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(comments_become_spaces),
        cmocka_unit_test(faults_say_where_and_what_to_do),
        cmocka_unit_test(every_fault_of_the_reader_has_a_remedy),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
