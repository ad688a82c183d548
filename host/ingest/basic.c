/* SPDX-License-Identifier: Apache-2.0
 *
 * basic.c - see basic.h. */
#include "ingest/basic.h"

#include "base/buf.h"
#include "base/text.h"

#include <string.h>

mf_str basic_user(mf_str header, struct arena *a)
{
    struct buf b;
    mf_str user;
    char *colon;

    if (header.len < 6 ||
        !str_ieq((mf_str){ header.ptr, 6 }, MF_STR("basic ")))
        return (mf_str){ NULL, 0 };
    buf_init(&b, 4096);
    user = str_trim((mf_str){ header.ptr + 6, header.len - 6 });
    if (!base64_decode(&b, user) || b.full) {
        buf_deinit(&b);
        return (mf_str){ NULL, 0 };
    }
    user = arena_copy(a, buf_view(&b));
    buf_deinit(&b);
    colon = user.len ? memchr(user.ptr, ':', user.len) : NULL;
    if (colon)
        user.len = (size_t)(colon - user.ptr);
    return user;
}
