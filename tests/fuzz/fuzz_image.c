/* SPDX-License-Identifier: Apache-2.0
 *
 * fuzz_image.c - the ELF reader on bytes that mean harm.
 *
 * Whatever it answers, it must stay inside the bytes, end, and say why it
 * refuses. What it accepts must have a manifest inside them. */
#include "plugin/image.h"

#include "base/mem.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    for (int strict = 0; strict < 2; strict++) {
        char *bytes = xmalloc(size ? size : 1);
        struct err e = { "" };
        struct image i;

        if (size)
            memcpy(bytes, data, size);
        if (image_check_as(bytes, size, "x.so", strict, &i, &e) != 0) {
            ASSERT(e.text[0]);
            continue;
        }
        ASSERT(i.manifest >= i.bytes && i.manifest_len <= size &&
               i.manifest + i.manifest_len <= i.bytes + size);
        image_free(&i);
    }
    return 0;
}
