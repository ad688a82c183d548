/* SPDX-License-Identifier: Apache-2.0
 *
 * err.h - an expected failure, told where it was seen.
 *
 * A function that may fail returns 0 or -1 and fills the struct err it was
 * given with what happened, where, and what to do. Whoever decides what
 * follows logs it, once. */
#ifndef BASE_ERR_H
#define BASE_ERR_H

#define ERR_TEXT 1024

struct err {
    char text[ERR_TEXT]; /* "" while there is none */
};

/* Returns -1, so that `return err_set(e, ...)` reads as it acts. e may be
 * NULL. */
int err_set(struct err *e, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* The same, followed by ": " and the text of errno as it was at the call. */
int err_sys(struct err *e, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
