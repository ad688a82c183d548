/* SPDX-License-Identifier: Apache-2.0
 *
 * scalar.h - readers and writers of single values, for the table in kind.c. */
#ifndef CONFIG_SCALAR_H
#define CONFIG_SCALAR_H

#include "config/kind.h"

bool scalar_in_range(const struct member *m, double v);
bool scalar_is_name(const char *s);
/* A copy that ends in NUL, or NULL when v is no string, empty, shorter or
 * longer than the table allows, or has control characters; conditions may
 * have all of them but NUL. */
const char *scalar_text(struct reader *r, const struct member *m, mf_val v);

typedef enum kind_read scalar_reader(struct reader *r, const struct member *m,
                                     mf_val v, void *target);
typedef void scalar_writer(struct json_out *w, const struct member *m,
                           const void *target);

scalar_reader scalar_read_text, scalar_read_name, scalar_read_secret,
    scalar_read_path, scalar_read_file, scalar_read_origin, scalar_read_bool,
    scalar_read_int, scalar_read_duration, scalar_read_size, scalar_read_rate,
    scalar_read_choice, scalar_read_address, scalar_read_block;
scalar_writer scalar_write_text, scalar_write_file, scalar_write_bool,
    scalar_write_int, scalar_write_rate, scalar_write_choice,
    scalar_write_address;

#endif
