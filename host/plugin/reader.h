/* SPDX-License-Identifier: Apache-2.0
 *
 * reader.h - objects of a manifest read by tables of their members.
 *
 * A table names every member an object may have, its type, and where it goes
 * in a plain struct. Members not in the table, doubled ones, missing ones and
 * those of a wrong type are faults, told as NAME:LINE:COLUMN: what. The first
 * fault ends the reading. */
#ifndef PLUGIN_READER_H
#define PLUGIN_READER_H

#include "base/err.h"
#include "json/json.h"

#include <stdbool.h>
#include <stddef.h>

#define READER_MEMBERS_MAX 32 /* in one table */
#define READER_TEXTS_MAX   256

struct reader {
    const char *name; /* of the file, for errors */
    mf_str text;      /* checked JSON; every value points into it */
    struct arena *arena;
    struct err *err;
};

enum member_kind {
    MEMBER_TEXT,   /* const char *; not "" */
    MEMBER_TEXTS,  /* const char *const *, ends in NULL; array of strings */
    MEMBER_BOOL,   /* bool */
    MEMBER_COUNT,  /* uint64_t, at least 1 */
    MEMBER_NUMBER, /* mf_val */
    MEMBER_ARRAY,  /* mf_val */
    MEMBER_OBJECT, /* mf_val */
    MEMBER_ANY     /* mf_val; null is as good as absent */
};

struct member {
    const char *name;
    size_t offset;
    enum member_kind kind;
    bool required;
};

/* Returns -1 with r->err told. at points into r->text, or is NULL for the
 * file as a whole. */
int reader_fault(struct reader *r, const char *at, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Members that are absent leave what *into holds. what is for errors: "an
 * action", "a preset". */
int reader_object(struct reader *r, mf_val v, const struct member *table,
                  size_t count, void *into, const char *what);
/* A string without NUL, in the arena; "" for other types. */
const char *reader_text(struct reader *r, mf_val v);
/* Where the member of that name stands, or the object itself. */
const char *reader_at(mf_val object, const char *member);
/* The byte of a string value's raw text at which the byte `offset` of its
 * unescaped text begins. */
const char *reader_in(mf_val string, size_t offset);
/* "; did you mean `x`?" or "", in the arena. names ends in NULL. */
const char *reader_hint(struct arena *a, const char *word,
                        const char *const *names);

#endif
