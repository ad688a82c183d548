/* SPDX-License-Identifier: Apache-2.0
 *
 * regex.c - see regex.h.
 *
 * A pattern is rewritten where the two dialects differ: white space is that of
 * Unicode, \v is one character, surrogate pairs are one character, and names
 * of categories are long. Escapes that ECMA-262 does not have are faults. */
#include "schema/regex.h"

#include "base/buf.h"
#include "base/mem.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HEAP_KIB 4096 /* of one match */

struct regex {
    pcre2_code *code;
};

struct regex_room {
    pcre2_match_data *data;
    pcre2_match_context *context;
};

static const struct {
    const char *name, *category;
} categories[] = {
    { "Letter", "L" },           { "Lowercase_Letter", "Ll" },
    { "Uppercase_Letter", "Lu" }, { "Titlecase_Letter", "Lt" },
    { "Modifier_Letter", "Lm" }, { "Other_Letter", "Lo" },
    { "Mark", "M" },             { "Number", "N" },
    { "Decimal_Number", "Nd" },  { "digit", "Nd" },
    { "Letter_Number", "Nl" },   { "Other_Number", "No" },
    { "Punctuation", "P" },      { "punct", "P" },
    { "Symbol", "S" },           { "Currency_Symbol", "Sc" },
    { "Math_Symbol", "Sm" },     { "Separator", "Z" },
    { "Space_Separator", "Zs" }, { "Other", "C" },
    { "Control", "Cc" },
};

static const char space[] = "\\t-\\r \\u{a0}\\u{1680}\\u{2000}-\\u{200a}"
                            "\\u{2028}\\u{2029}\\u{202f}\\u{205f}\\u{3000}"
                            "\\u{feff}";

static int hex_of(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/* The code unit that \uXXXX at p stands for, or -1. */
static int32_t unit_at(const char *p, const char *end)
{
    int32_t v = 0;

    if (end - p < 6 || p[0] != '\\' || p[1] != 'u')
        return -1;
    for (int i = 2; i < 6; i++) {
        if (hex_of(p[i]) < 0)
            return -1;
        v = v * 16 + hex_of(p[i]);
    }
    return v;
}

/* \uD83D\uDC32 as one character; false if that is not what stands at p. */
static bool pair(struct buf *to, const char *p, const char *end)
{
    int32_t high = unit_at(p, end), low;

    if (high < 0xD800 || high > 0xDBFF)
        return false;
    low = unit_at(p + 6, end);
    if (low < 0xDC00 || low > 0xDFFF)
        return false;
    buf_printf(to, "\\u{%x}",
               0x10000 + ((unsigned)(high - 0xD800) << 10) +
                   (unsigned)(low - 0xDC00));
    return true;
}

/* \p{Letter} with the short name; returns how much of p was taken, 0: it
 * stays as it is. */
static size_t category(struct buf *to, const char *p, const char *end)
{
    const char *close;
    mf_str name;

    if (end - p < 4 || p[2] != '{')
        return 0;
    close = memchr(p, '}', (size_t)(end - p));
    if (!close)
        return 0;
    name = (mf_str){ p + 3, (size_t)(close - p) - 3 };
    for (size_t i = 0; i < COUNT_OF(categories); i++)
        if (mf_eq(name, mf_cstr(categories[i].name))) {
            buf_printf(to, "\\%c{%s}", p[1], categories[i].category);
            return (size_t)(close - p) + 1;
        }
    return 0;
}

/* The escape at p; returns its length, or 0 with the reason in why. */
static size_t escape(struct buf *to, const char *p, const char *end,
                     bool in_class, char why[REGEX_WHY])
{
    size_t n;

    if (end - p < 2) {
        snprintf(why, REGEX_WHY, "it ends in a backslash");
        return 0;
    }
    if (pair(to, p, end))
        return 12;
    if ((p[1] == 'p' || p[1] == 'P') && (n = category(to, p, end)) > 0)
        return n;
    if (p[1] == 's') {
        buf_printf(to, in_class ? "%s" : "[%s]", space);
    } else if (p[1] == 'S' && !in_class) {
        buf_printf(to, "[^%s]", space);
    } else if (p[1] == 'v') {
        buf_puts(to, "\\x0b");
    } else if (((p[1] | 0x20) >= 'a' && (p[1] | 0x20) <= 'z') &&
               !strchr("dDwWsSbBnrtfcxupPk", p[1])) {
        snprintf(why, REGEX_WHY, "\\%c is no escape of ECMA-262", p[1]);
        return 0;
    } else {
        buf_add(to, p, 2);
    }
    return 2;
}

static int translate(mf_str pattern, struct buf *to, char why[REGEX_WHY])
{
    const char *p = pattern.ptr, *end = p + pattern.len, *open = NULL;

    while (p < end) {
        if (*p == '\\') {
            size_t n = escape(to, p, end, open != NULL, why);

            if (n == 0)
                return -1;
            p += n;
            continue;
        }
        if (open && *p == ']')
            open = NULL;
        else if (!open && *p == '[')
            open = p;
        if (!open && *p == '(' && p + 1 < end && p[1] == '*') {
            snprintf(why, REGEX_WHY, "(* repeats nothing");
            return -1;
        }
        buf_char(to, *p++);
    }
    return 0;
}

struct regex *regex_compile(mf_str pattern, char why[REGEX_WHY])
{
    uint32_t options = PCRE2_UTF | PCRE2_DOLLAR_ENDONLY |
                       PCRE2_ALLOW_EMPTY_CLASS | PCRE2_MATCH_UNSET_BACKREF |
                       PCRE2_ALT_BSUX;
    pcre2_compile_context *context;
    struct regex *r = NULL;
    pcre2_code *code;
    PCRE2_SIZE at;
    struct buf b;
    int error;

    if (pattern.len > REGEX_PATTERN_MAX) {
        snprintf(why, REGEX_WHY, "it is longer than %d bytes",
                 REGEX_PATTERN_MAX);
        return NULL;
    }
    buf_init(&b, 32 * REGEX_PATTERN_MAX);
    buf_char(&b, ' '); /* so that there is memory */
    buf_clear(&b);
    if (translate(pattern, &b, why) != 0) {
        buf_deinit(&b);
        return NULL;
    }
    context = pcre2_compile_context_create(NULL);
    ASSERT(context);
    pcre2_set_newline(context, PCRE2_NEWLINE_ANYCRLF);
    pcre2_set_compile_extra_options(context, PCRE2_EXTRA_ALT_BSUX);
    code = pcre2_compile((PCRE2_SPTR)b.data, b.len, options, &error, &at,
                         context);
    if (code) {
        r = xmalloc(sizeof *r);
        r->code = code;
    } else {
        pcre2_get_error_message(error, (PCRE2_UCHAR *)why, REGEX_WHY);
    }
    pcre2_compile_context_free(context);
    buf_deinit(&b);
    return r;
}

void regex_free(struct regex *r)
{
    if (!r)
        return;
    pcre2_code_free(r->code);
    free(r);
}

size_t regex_bytes(const struct regex *r)
{
    size_t n = 0;

    pcre2_pattern_info(r->code, PCRE2_INFO_SIZE, &n);
    return n;
}

struct regex_room *regex_room_new(void)
{
    struct regex_room *m = xmalloc(sizeof *m);

    m->data = pcre2_match_data_create(1, NULL);
    m->context = pcre2_match_context_create(NULL);
    ASSERT(m->data && m->context);
    pcre2_set_heap_limit(m->context, HEAP_KIB);
    return m;
}

void regex_room_free(struct regex_room *m)
{
    if (!m)
        return;
    pcre2_match_data_free(m->data);
    pcre2_match_context_free(m->context);
    free(m);
}

enum regex_verdict regex_match(const struct regex *r, mf_str text,
                               struct regex_room *m)
{
    size_t cost = REGEX_COST_BASE + REGEX_COST_BYTE * text.len;
    int rc;

    if (cost > UINT32_MAX)
        return REGEX_GAVE_UP;
    pcre2_set_match_limit(m->context, (uint32_t)cost);
    rc = pcre2_match(r->code, (PCRE2_SPTR)(text.len ? text.ptr : ""),
                     text.len, 0, 0, m->data, m->context);
    return rc >= 0                    ? REGEX_YES
           : rc == PCRE2_ERROR_NOMATCH ? REGEX_NO
                                       : REGEX_GAVE_UP;
}
