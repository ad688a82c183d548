/* SPDX-License-Identifier: Apache-2.0
 *
 * kind.h - what a member may hold: one row for each enum member_kind. */
#ifndef CONFIG_KIND_H
#define CONFIG_KIND_H

#include "config/member.h"

enum kind_read {
    READ_OK,
    READ_WRONG, /* not such a value; the caller says so */
    READ_TOLD   /* wrong, and the fault is told already */
};

enum kind_range {
    RANGE_NONE,
    RANGE_NUMBER,
    RANGE_DURATION,
    RANGE_SIZE,
    RANGE_LENGTH
};

struct kind {
    const char *type; /* for config_describe() */
    const char *noun; /* "a duration such as ..."; NULL: the words of more */
    enum kind_range range;
    /* What a ${} in it stands for may be shown. */
    bool plain;
    /* Has values inside that are read, and may be broken, one by one. */
    bool container;
    enum kind_read (*read)(struct reader *r, const struct member *m, mf_val v,
                           void *target);
    void (*write)(struct json_out *w, const struct member *m,
                  const void *target);
};

extern const struct kind kinds[KIND_ENTRIES + 1];

/* `"timeout" cannot be the string "soon"; write a duration such as ...` */
void kind_fault(struct reader *r, const struct member *m, mf_val v,
                const char *verb);
/* A fault at a value: place and all. */
void conf_fault(struct reader *r, const char *at, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
