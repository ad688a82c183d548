/* SPDX-License-Identifier: Apache-2.0
 *
 * words.c - what numbers of proto.h are called where people read them. */
#include "ipc/proto.h"

const char *dead_reason_text(uint32_t reason)
{
    static const char *const texts[DEAD_REASONS] = {
        [DEAD_REJECTED] = "rejected", [DEAD_EXPIRED] = "expired",
        [DEAD_MAPPING] = "mapping",   [DEAD_PLUGIN] = "plugin",
        [DEAD_GONE] = "gone",         [DEAD_LOST] = "lost",
    };

    return reason < DEAD_REASONS ? texts[reason] : "unknown";
}
