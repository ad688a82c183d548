/* SPDX-License-Identifier: Apache-2.0 */
#include "base/redact.h"

#include "base/log.h"
#include "base/mem.h"
#include "base/text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static void check(const struct redact *r, const char *text, const char *want)
{
    struct buf b;

    buf_init(&b, 4096);
    buf_puts(&b, text);
    redact_buf(r, &b, 0);
    buf_char(&b, 0);
    assert_string_equal(b.data, want);
    buf_deinit(&b);
}

static void secrets_go_wherever_they_stand(void **state)
{
    static const struct {
        const char *text, *want;
    } rows[] = {
        { "", "" },
        { "nothing here", "nothing here" },
        { "hunter22", "***" },
        { "hunter2", "hunter2" },
        { "hunter22hunter22", "******" },
        { "a=hunter22&b", "a=***&b" },
        { "xhunter22", "x***" },
        /* two secrets that overlap, and one inside another */
        { "-abcdefgh-", "-***-" },
        { "-abcdef-", "-***-" },
        { "-cdefghij-", "-***-" },
        { "-abcdefghij-", "-***-" },
        { "short", "short" },
    };
    struct redact *r = redact_new();

    (void)state;
    assert_true(redact_add(r, MF_STR("hunter22")));
    assert_true(redact_add(r, MF_STR("abcdef")));
    assert_true(redact_add(r, MF_STR("cdefgh")));
    assert_true(redact_add(r, MF_STR("cdefghij")));
    assert_false(redact_add(r, MF_STR("short")));
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        check(r, rows[i].text, rows[i].want);
    check(NULL, "hunter22", "hunter22");
    redact_free(r);
}

static void other_shapes_go_too(void **state)
{
    struct redact *r = redact_new();

    (void)state;
    redact_add(r, MF_STR("line \"one\"\nline/two & \x01"));
    check(r, "{\"k\":\"line \\\"one\\\"\\nline/two & \\u0001\"}",
          "{\"k\":\"***\"}");
    check(r, "\"line \\\\\\\"one\\\\\\\"\\\\nline/two & \\\\u0001\"",
          "\"***\"");
    check(r, "k=line%20%22one%22%0Aline%2Ftwo%20%26%20%01&b=1", "k=***&b=1");
    check(r, "k=line+%22one%22%0Aline%2Ftwo+%26+%01&b=1", "k=***&b=1");
    redact_free(r);
}

static void base64_goes_at_every_alignment(void **state)
{
    static const char *const users[] = { "", "a", "ab", "abc", "abcd" };
    struct redact *r = redact_new();
    struct buf plain, coded;

    (void)state;
    redact_add(r, MF_STR("correct-horse"));
    buf_init(&plain, 100);
    buf_init(&coded, 200);
    for (size_t i = 0; i < COUNT_OF(users); i++) {
        size_t full;

        buf_clear(&plain);
        buf_clear(&coded);
        buf_puts(&plain, users[i]);
        buf_puts(&plain, "correct-horse:x");
        base64_encode(&coded, buf_view(&plain));
        full = coded.len;
        assert_int_equal(redact_buf(r, &coded, 0), 1);
        /* at most a group either side of the secret stays beside the mark */
        assert_true(coded.len <= full - 12 + 3);
    }
    buf_deinit(&plain);
    buf_deinit(&coded);
    redact_free(r);
}

static void only_from_the_offset_on(void **state)
{
    struct redact *r = redact_new();
    struct buf b;
    char raw[] = "keep hunter22";

    (void)state;
    redact_add(r, MF_STR("hunter22"));
    redact_add(r, MF_STR("hunter22"));
    assert_int_equal(redact_count(r), 1);
    assert_true(mf_eq(redact_nth(r, 0), MF_STR("hunter22")));
    buf_init(&b, 100);
    assert_int_equal(redact_buf(r, &b, 0), 0);
    buf_puts(&b, "hunter22 hunter22");
    assert_int_equal(redact_buf(r, &b, 9), 1);
    assert_true(mf_eq(buf_view(&b), MF_STR("hunter22 ***")));
    assert_int_equal(redact_text(r, raw, strlen(raw)), 8);
    assert_memory_equal(raw, "keep ***", 8);
    buf_deinit(&b);
    redact_free(r);
}

static void the_set_is_bounded(void **state)
{
    struct redact *r = redact_new();
    char secret[32];
    char *long_one = xcalloc(1, REDACT_MAX + 1);

    (void)state;
    memset(long_one, 'x', REDACT_MAX + 1);
    assert_false(redact_add(r, (mf_str){ long_one, REDACT_MAX + 1 }));
    assert_true(redact_add(r, (mf_str){ long_one, REDACT_MAX }));
    for (int i = 0; i < 1000; i++) {
        snprintf(secret, sizeof secret, "%x-secret", i * 7919 + 4096);
        assert_true(redact_add(r, mf_cstr(secret)));
    }
    for (int i = 0; i < 1000; i++) {
        snprintf(secret, sizeof secret, "%x-secret", i * 7919 + 4096);
        check(r, secret, "***");
    }
    free(long_one);
    redact_free(r);
}

static void log_lines_are_searched(void **state)
{
    struct redact *r = redact_new();
    int ends[2], kept = dup(2);
    char line[LOG_LINE];
    ssize_t n;

    (void)state;
    redact_add(r, MF_STR("hunter22"));
    assert_int_equal(pipe(ends), 0);
    dup2(ends[1], 2);
    log_redact(r);
    log_error("the password is %s", "hunter22");
    log_redact(NULL);
    dup2(kept, 2);
    n = read(ends[0], line, sizeof line - 1);
    assert_true(n > 0);
    line[n] = 0;
    assert_non_null(strstr(line, ": the password is ***\n"));
    close(ends[0]);
    close(ends[1]);
    close(kept);
    redact_free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(secrets_go_wherever_they_stand),
        cmocka_unit_test(other_shapes_go_too),
        cmocka_unit_test(base64_goes_at_every_alignment),
        cmocka_unit_test(only_from_the_offset_on),
        cmocka_unit_test(the_set_is_bounded),
        cmocka_unit_test(log_lines_are_searched),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
