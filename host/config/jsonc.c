/* SPDX-License-Identifier: Apache-2.0
 *
 * jsonc.c - see jsonc.h.
 *
 * A fault of json_check() says what is wrong; the table here adds what to do
 * about it. Two faults are worth more than that: a comma before a closing
 * bracket is told at the comma, and a bracket or comment that is never closed
 * is told where it was opened. */
#include "config/jsonc.h"

#include "json/json.h"

#include <stdio.h>

static const struct {
    const char *what, *remedy;
} remedies[] = {
    { "the text ends inside a string", "close it with a double quote" },
    { "a control character in a string must be escaped",
      "close the string on its line, or write \\n for a line break and \\t "
      "for a tab" },
    { "there is no such escape", "write \\\\ for a backslash" },
    { "\\u must be followed by four hex digits", "write it like \\u00e9" },
    { "this is not UTF-8", "save the file as UTF-8" },
    { "a digit was expected", "write numbers like 12, -0.5 or 1e3" },
    { "a value was expected",
      "write a string in double quotes, a number, true, false, null, [...] "
      "or {...}" },
    { "a key in double quotes was expected", "write it like \"key\": value" },
    { "a colon was expected", "put : between a key and its value" },
    { "a comma or } was expected",
      "put a comma between members, or close the object" },
    { "a comma or ] was expected",
      "put a comma between elements, or close the array" },
    { "this is nested too deep", "use fewer levels of [ and {" },
    { "something follows the value", "remove what stands after the last }" },
    { "the text ends where a value was expected",
      "the file must hold one object: { ... }" },
};

static const char *remedy(const char *what)
{
    for (size_t i = 0; i < COUNT_OF(remedies); i++)
        if (strcmp(remedies[i].what, what) == 0)
            return remedies[i].remedy;
    return "correct it";
}

static size_t after_string(const char *text, size_t len, size_t i)
{
    for (i++; i < len && text[i] != '"' && text[i] != '\n'; i++)
        if (text[i] == '\\')
            i++;
    return i < len ? i + 1 : len;
}

static void blank(char *text, size_t from, size_t to)
{
    for (size_t i = from; i < to; i++)
        if (text[i] != '\n' && text[i] != '\r')
            text[i] = ' ';
}

static size_t comment_end(const char *text, size_t len, size_t i)
{
    if (text[i + 1] == '/') {
        while (i < len && text[i] != '\n' && text[i] != '\r')
            i++;
        return i;
    }
    for (i += 2; i + 1 < len; i++)
        if (text[i] == '*' && text[i + 1] == '/')
            return i + 2;
    return 0; /* not closed */
}

static int blank_comments(char *text, size_t len, struct jsonc_fault *fault)
{
    size_t i = 0, end;

    if (len >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0)
        blank(text, 0, 3);
    while (i < len) {
        if (text[i] == '"') {
            i = after_string(text, len, i);
        } else if (text[i] == '/' && i + 1 < len &&
                   (text[i + 1] == '/' || text[i + 1] == '*')) {
            end = comment_end(text, len, i);
            if (!end) {
                fault->offset = i;
                snprintf(fault->text, sizeof fault->text,
                         "this comment is never closed; end it with */");
                return -1;
            }
            blank(text, i, end);
            i = end;
        } else {
            i++;
        }
    }
    return 0;
}

/* The innermost bracket that is still open at the end, or len. The text has
 * no other fault before its end. */
static size_t open_bracket(const char *text, size_t len)
{
    size_t stack[JSONC_DEPTH_MAX + 1], depth = 0, i = 0;

    while (i < len) {
        char c = text[i];

        if (c == '"') {
            i = after_string(text, len, i);
            continue;
        }
        if ((c == '{' || c == '[') && depth < COUNT_OF(stack))
            stack[depth++] = i;
        else if ((c == '}' || c == ']') && depth > 0)
            depth--;
        i++;
    }
    return depth ? stack[depth - 1] : len;
}

/* The comma that stands before the closing bracket at `at`, or at. */
static size_t comma_before(const char *text, size_t len, size_t at)
{
    size_t i = at;

    if (at >= len || (text[at] != '}' && text[at] != ']'))
        return at;
    while (i > 0 && (text[i - 1] == ' ' || text[i - 1] == '\n' ||
                     text[i - 1] == '\r' || text[i - 1] == '\t'))
        i--;
    return i > 0 && text[i - 1] == ',' ? i - 1 : at;
}

static void explain(const char *text, size_t len, const struct json_fault *bad,
                    struct jsonc_fault *fault)
{
    size_t comma = comma_before(text, len, bad->offset), bracket = len;

    fault->offset = bad->offset;
    if (comma != bad->offset) {
        fault->offset = comma;
        snprintf(fault->text, sizeof fault->text,
                 "a comma stands before the closing %c; remove the comma",
                 text[bad->offset]);
        return;
    }
    if (bad->offset >= len && strcmp(bad->what, "the text ends inside a "
                                                "string") != 0)
        bracket = open_bracket(text, len);
    if (bracket < len) {
        fault->offset = bracket;
        snprintf(fault->text, sizeof fault->text,
                 "this %c is never closed; add the missing %c", text[bracket],
                 text[bracket] == '{' ? '}' : ']');
        return;
    }
    snprintf(fault->text, sizeof fault->text, "%s; %s", bad->what,
             remedy(bad->what));
}

int jsonc_read(char *text, size_t len, struct jsonc_fault *fault)
{
    struct json_fault bad;

    if (blank_comments(text, len, fault) != 0)
        return -1;
    if (json_check((mf_str){ text, len }, JSONC_DEPTH_MAX, &bad) == 0)
        return 0;
    explain(text, len, &bad, fault);
    return -1;
}
