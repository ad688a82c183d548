/* SPDX-License-Identifier: Apache-2.0
 *
 * log.c - see log.h. */
#include "base/log.h"

#include "base/clock.h"
#include "base/redact.h"
#include "base/text.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static char role_name[64] = "manifold";
static enum log_level least_level = LOG_L_INFO;
static const struct redact *_Atomic secrets;

void log_role(const char *role)
{
    snprintf(role_name, sizeof role_name, "%s", role);
}

void log_level(enum log_level least)
{
    least_level = least;
}

void log_redact(const struct redact *set)
{
    atomic_store(&secrets, set);
}

void log_at(enum log_level level, const char *format, ...)
{
    static const char *const names[] = { "error", "warn", "info", "debug" };
    char line[LOG_LINE], when[TIME_TEXT];
    va_list ap;
    int at, n;

    if (level > least_level)
        return;
    time_iso(clock_ms(), when);
    at = snprintf(line, sizeof line, "%s %-5s %s: ", when, names[level],
                  role_name);
    va_start(ap, format);
    n = vsnprintf(line + at, sizeof line - (size_t)at - 1, format, ap);
    va_end(ap);
    at = n < 0 ? at : at + n;
    if (at > (int)sizeof line - 2)
        at = (int)sizeof line - 2;
    at = (int)redact_text(atomic_load(&secrets), line, (size_t)at);
    line[at++] = '\n';
    if (write(2, line, (size_t)at) < 0)
        return; /* there is nobody left to tell */
}
