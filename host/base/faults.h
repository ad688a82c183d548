/* SPDX-License-Identifier: Apache-2.0
 *
 * faults.h - many expected failures at once, each with its place in a file.
 *
 * struct err tells one failure; a configuration or a manifest may have many
 * and its author wants all of them. The list is bounded: past FAULTS_MAX only
 * their number is kept. */
#ifndef BASE_FAULTS_H
#define BASE_FAULTS_H

#include "base/buf.h"

#include <stdbool.h>
#include <stddef.h>

#define FAULTS_MAX 200

/* line 0: the file as a whole; column 0: the line as a whole. */
struct place {
    const char *file; /* borrowed; as its user wrote it */
    unsigned line, column;
};

struct fault {
    struct place at; /* file is owned here */
    bool warning;
    char *text; /* owned: what, and what to do */
};

struct faults {
    struct fault list[FAULTS_MAX];
    size_t count, errors, left_off; /* errors counts those left off too */
};

void faults_init(struct faults *f);
void faults_deinit(struct faults *f);
void faults_error(struct faults *f, struct place at, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void faults_warn(struct faults *f, struct place at, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* By file, line and column; equals stay in the order they were told. */
void faults_sort(struct faults *f);
/* "FILE:LINE:COLUMN: text\n" each, with "warning: " before the text of one,
 * and a last line when some were left off. */
void faults_write(const struct faults *f, struct buf *b);

#endif
