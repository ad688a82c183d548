/* SPDX-License-Identifier: Apache-2.0
 *
 * kept.c - answers that a plugin asked to be kept: the same GET is answered
 * with them instead of being sent, until their time is over. An instance keeps
 * few, and no large ones; what is in the way is forgotten, the oldest first. */
#include "plugin/inner.h"

#include "base/clock.h"

#include <stdlib.h>

#define KEPT_MAX       64
#define KEPT_BYTES_MAX (1u << 20) /* of one answer's body */
#define KEPT_BYTES_ALL (8u << 20)

struct kept {
    struct kept *next; /* older */
    int64_t end_ms;    /* monotonic */
    int32_t status;
    mf_str url, body; /* behind the struct */
};

static void drop(struct instance *i, struct kept **at)
{
    struct kept *k = *at;

    *at = k->next;
    i->kept_count--;
    i->kept_bytes -= k->url.len + k->body.len;
    free(k);
}

static struct kept **find(struct instance *i, mf_str url)
{
    struct kept **at = &i->kept;

    while (*at && !mf_eq((*at)->url, url))
        at = &(*at)->next;
    return at;
}

static void drop_oldest(struct instance *i)
{
    struct kept **at = &i->kept;

    while ((*at)->next)
        at = &(*at)->next;
    drop(i, at);
}

static bool may_keep(const struct request *r)
{
    return strcmp(r->out.method, "GET") == 0 && !r->out.has_body;
}

void kept_put(struct instance *i, const struct request *r,
              const struct call_answer *a, int64_t ms)
{
    mf_str url = r->out.real_url;
    struct kept **old = find(i, url), *k;
    char *text;

    if (*old)
        drop(i, old);
    if (ms <= 0 || !may_keep(r) || a->status / 100 != 2 ||
        a->body.len > KEPT_BYTES_MAX)
        return;
    while (i->kept_count == KEPT_MAX ||
           (i->kept && i->kept_bytes + url.len + a->body.len > KEPT_BYTES_ALL))
        drop_oldest(i);
    k = xcalloc(1, sizeof *k + url.len + a->body.len);
    text = (char *)(k + 1);
    memcpy(text, url.ptr, url.len);
    if (a->body.len)
        memcpy(text + url.len, a->body.ptr, a->body.len);
    k->url = (mf_str){ text, url.len };
    k->body = (mf_str){ text + url.len, a->body.len };
    k->status = a->status;
    k->end_ms = clock_mono_ms() + (ms < MF_KEEP_MAX_MS ? ms : MF_KEEP_MAX_MS);
    k->next = i->kept;
    i->kept = k;
    i->kept_count++;
    i->kept_bytes += url.len + a->body.len;
}

bool kept_give(struct instance *i, const struct request *r,
               struct call_answer *to)
{
    struct kept **at;

    if (!i->kept || !may_keep(r))
        return false;
    at = find(i, r->out.real_url);
    if (!*at)
        return false;
    if ((*at)->end_ms <= clock_mono_ms()) {
        drop(i, at);
        return false;
    }
    *to = (struct call_answer){ .status = (*at)->status, .body = (*at)->body };
    return true;
}

void kept_free(struct instance *i)
{
    while (i->kept)
        drop(i, &i->kept);
}
