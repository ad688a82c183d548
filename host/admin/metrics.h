/* SPDX-License-Identifier: Apache-2.0
 *
 * metrics.h - the supervisor's status as Prometheus text. */
#ifndef ADMIN_METRICS_H
#define ADMIN_METRICS_H

#include "base/buf.h"

#include <manifold/types.h>

void metrics_write(mf_val status, struct buf *to);

#endif
