/* SPDX-License-Identifier: Apache-2.0
 *
 * fuzz_proxy.c - PROXY headers, whole and cut, in memory that ends with the
 * bytes given: a header that is taken is waited for until its last byte, and
 * what follows it does not change the verdict. */
#include "http/proxy.h"

#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int read_copy(const uint8_t *data, size_t size, struct proxy_header *h)
{
    char *copy = xmalloc(size + (size == 0));
    int used;

    if (size)
        memcpy(copy, data, size);
    used = proxy_header_read(copy, size, h);
    free(copy);
    return used;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct proxy_header whole, part;
    char text[NETADDR_TEXT];
    struct netaddr again;
    int used = read_copy(data, size, &whole);

    ASSERT(used <= (int)size && used <= PROXY_HEADER_MAX);
    ASSERT((used < 0) == (whole.fault != NULL));
    if (used == 0)
        ASSERT(size < PROXY_HEADER_MAX);
    if (used <= 0)
        return 0;
    for (int n = 0; n < used; n += n < 64 ? 1 : 61)
        ASSERT(read_copy(data, (size_t)n, &part) == 0);
    ASSERT(read_copy(data, (size_t)used, &part) == used);
    ASSERT(part.known == whole.known);
    if (!whole.known)
        return 0;
    ASSERT(memcmp(&part.client, &whole.client, sizeof part.client) == 0);
    netaddr_text(&whole.client, text);
    ASSERT(netaddr_parse(mf_cstr(text), &again));
    ASSERT(memcmp(&again, &whole.client, sizeof again) == 0);
    return 0;
}
