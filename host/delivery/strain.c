/* SPDX-License-Identifier: Apache-2.0
 *
 * strain.c - see strain.h. */
#include "delivery/strain.h"

#include <fcntl.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

/* Nanoseconds on a processor, nanoseconds waiting for one, and more. */
static const char account[] = "/proc/thread-self/schedstat";

void strain_init(struct strain *s)
{
    *s = (struct strain){ .fd = open(account, O_RDONLY | O_CLOEXEC) };
}

void strain_deinit(struct strain *s)
{
    if (s->fd >= 0)
        close(s->fd);
    s->fd = -1;
}

/* Without the account what was waited is not known; then a busy machine may
 * be mistaken for slow far sides. */
static int64_t used_so_far(const struct strain *s)
{
    char text[96];
    ssize_t n = s->fd >= 0 ? pread(s->fd, text, sizeof text - 1, 0) : -1;
    struct timespec t;
    char *rest;
    int64_t ran;

    if (n > 0) {
        text[n] = 0;
        ran = strtoll(text, &rest, 10);
        return ran + strtoll(rest, NULL, 10);
    }
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return t.tv_sec * 1000000000ll + t.tv_nsec;
}

bool strain_note(struct strain *s, int64_t now_ns, int64_t used_ns)
{
    int64_t took = now_ns - s->at_ns;

    if (s->at_ns && took > 0)
        s->behind = (double)(used_ns - s->used_ns) >=
                    STRAIN_SHARE * (double)took;
    s->at_ns = now_ns;
    s->used_ns = used_ns;
    return s->behind;
}

bool strain_look(struct strain *s, int64_t now_ns)
{
    if (s->at_ns && now_ns - s->at_ns < STRAIN_MOMENT_NS)
        return s->behind;
    return strain_note(s, now_ns, used_so_far(s));
}
