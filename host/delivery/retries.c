/* SPDX-License-Identifier: Apache-2.0
 *
 * retries.c - see retries.h. */
#include "delivery/retries.h"

#include "base/mem.h"

#include <stdlib.h>

static void swap(struct retry *a, struct retry *b)
{
    struct retry t = *a;

    *a = *b;
    *b = t;
}

void retries_deinit(struct retries *r)
{
    free(r->heap);
    *r = (struct retries){ 0 };
}

void retries_push(struct retries *r, const struct part *p, int64_t due_ms)
{
    size_t i = r->count++;

    if (i == r->cap) {
        r->cap = r->cap ? r->cap * 2 : 64;
        r->heap = xrealloc(r->heap, r->cap * sizeof *r->heap);
    }
    r->heap[i] = (struct retry){ *p, due_ms };
    while (i > 0 && r->heap[i].due_ms < r->heap[(i - 1) / 2].due_ms) {
        swap(&r->heap[i], &r->heap[(i - 1) / 2]);
        i = (i - 1) / 2;
    }
}

struct part retries_pop(struct retries *r)
{
    struct part first;
    size_t i = 0;

    ASSERT(r->count > 0);
    first = r->heap[0].part;
    r->heap[0] = r->heap[--r->count];
    for (;;) {
        size_t least = i, left = i * 2 + 1;

        if (left < r->count && r->heap[left].due_ms < r->heap[least].due_ms)
            least = left;
        if (left + 1 < r->count &&
            r->heap[left + 1].due_ms < r->heap[least].due_ms)
            least = left + 1;
        if (least == i)
            return first;
        swap(&r->heap[i], &r->heap[least]);
        i = least;
    }
}

int64_t retries_due_ms(const struct retries *r)
{
    return r->count ? r->heap[0].due_ms : INT64_MAX;
}
