/* SPDX-License-Identifier: Apache-2.0
 *
 * shapes.h - the tables of everything a configuration may hold. */
#ifndef CONFIG_SHAPES_H
#define CONFIG_SHAPES_H

#include "config/member.h"

extern const struct shape shape_top;
extern const struct shape shape_source;
extern const struct shape shape_destination;
extern const struct shape shape_schema; /* of a source, as ingest reads it */

#endif
