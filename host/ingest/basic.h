/* SPDX-License-Identifier: Apache-2.0
 *
 * basic.h - the user of Basic authorization, as which a write key comes. */
#ifndef INGEST_BASIC_H
#define INGEST_BASIC_H

#include "base/mem.h"

/* Of the header's value, in the arena; ptr NULL: there is none. */
mf_str basic_user(mf_str header, struct arena *a);

#endif
