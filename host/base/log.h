/* SPDX-License-Identifier: Apache-2.0
 *
 * log.h - lines on standard error: time, level, role, text.
 *
 * A line is one write(2) of at most LOG_LINE bytes, so lines of different
 * processes do not mix. Nothing secret may be passed here; as a last line of
 * defence each line is searched for the secrets of log_redact(). */
#ifndef BASE_LOG_H
#define BASE_LOG_H

enum log_level { LOG_L_ERROR, LOG_L_WARN, LOG_L_INFO, LOG_L_DEBUG };

#define LOG_LINE 2048

/* What stands behind the level, for example "ingest" or "worker webhook".
 * Copied. */
void log_role(const char *role);
void log_level(enum log_level least);
/* Borrowed until the next call: a set that is replaced may be freed once no
 * other thread can be inside log_at(). NULL for none. */
struct redact;
void log_redact(const struct redact *secrets);
void log_at(enum log_level level, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#define log_error(...) log_at(LOG_L_ERROR, __VA_ARGS__)
#define log_warn(...)  log_at(LOG_L_WARN, __VA_ARGS__)
#define log_info(...)  log_at(LOG_L_INFO, __VA_ARGS__)
#define log_debug(...) log_at(LOG_L_DEBUG, __VA_ARGS__)

#endif
