/* SPDX-License-Identifier: Apache-2.0
 *
 * err.c - see err.h. */
#include "base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int err_set(struct err *e, const char *format, ...)
{
    va_list ap;

    if (!e)
        return -1;
    va_start(ap, format);
    vsnprintf(e->text, sizeof e->text, format, ap);
    va_end(ap);
    return -1;
}

int err_sys(struct err *e, const char *format, ...)
{
    int number = errno;
    va_list ap;
    size_t len;

    if (!e)
        return -1;
    va_start(ap, format);
    vsnprintf(e->text, sizeof e->text, format, ap);
    va_end(ap);
    len = strlen(e->text);
    snprintf(e->text + len, sizeof e->text - len, ": %s", strerror(number));
    return -1;
}
