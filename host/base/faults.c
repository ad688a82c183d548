/* SPDX-License-Identifier: Apache-2.0
 *
 * faults.c - see faults.h. */
#include "base/faults.h"

#include "base/mem.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FAULT_TEXT 1024 /* bytes of one fault's text; the rest is cut */

static void add(struct faults *f, bool warning, struct place at,
                const char *format, va_list ap)
{
    char text[FAULT_TEXT];
    struct fault *new;

    f->errors += !warning;
    if (f->count == FAULTS_MAX) {
        f->left_off++;
        return;
    }
    vsnprintf(text, sizeof text, format, ap);
    new = &f->list[f->count++];
    new->warning = warning;
    new->text = xstrdup(text);
    new->at = at;
    new->at.file = xstrdup(at.file ? at.file : "");
}

void faults_init(struct faults *f)
{
    memset(f, 0, sizeof *f);
}

void faults_deinit(struct faults *f)
{
    for (size_t i = 0; i < f->count; i++) {
        free((char *)f->list[i].at.file);
        free(f->list[i].text);
    }
    faults_init(f);
}

void faults_error(struct faults *f, struct place at, const char *format, ...)
{
    va_list ap;

    va_start(ap, format);
    add(f, false, at, format, ap);
    va_end(ap);
}

void faults_warn(struct faults *f, struct place at, const char *format, ...)
{
    va_list ap;

    va_start(ap, format);
    add(f, true, at, format, ap);
    va_end(ap);
}

static bool after(const struct fault *a, const struct fault *b)
{
    int by_file = strcmp(a->at.file, b->at.file);

    if (by_file)
        return by_file > 0;
    if (a->at.line != b->at.line)
        return a->at.line > b->at.line;
    return a->at.column > b->at.column;
}

void faults_sort(struct faults *f)
{
    for (size_t i = 1; i < f->count; i++) { /* short, and stable */
        struct fault moving = f->list[i];
        size_t j = i;

        for (; j > 0 && after(&f->list[j - 1], &moving); j--)
            f->list[j] = f->list[j - 1];
        f->list[j] = moving;
    }
}

void faults_write(const struct faults *f, struct buf *b)
{
    for (size_t i = 0; i < f->count; i++) {
        const struct fault *one = &f->list[i];

        buf_puts(b, one->at.file);
        if (one->at.line)
            buf_printf(b, ":%u", one->at.line);
        if (one->at.line && one->at.column)
            buf_printf(b, ":%u", one->at.column);
        buf_printf(b, ": %s%s\n", one->warning ? "warning: " : "", one->text);
    }
    if (f->left_off)
        buf_printf(b, "%zu more faults are not shown\n", f->left_off);
}
