/* SPDX-License-Identifier: Apache-2.0
 *
 * strain.h - whether this thread is itself at its limit: of the last moment it
 * was running, or waiting for a processor, nearly all. How long calls take
 * then says nothing of the far sides: they are slow because of us. */
#ifndef DELIVERY_STRAIN_H
#define DELIVERY_STRAIN_H

#include <stdbool.h>
#include <stdint.h>

#define STRAIN_MOMENT_NS 50000000 /* that is looked at, at the least */
#define STRAIN_SHARE     0.85     /* of it without rest */

struct strain {
    int fd;          /* the kernel's account of the thread, -1: none */
    int64_t at_ns;   /* when was looked last, 0: never */
    int64_t used_ns; /* what it had run and waited by then */
    bool behind;
};

void strain_init(struct strain *s); /* in the thread that is meant */
void strain_deinit(struct strain *s);
/* Looks, if a moment has passed; true while it is at its limit. */
bool strain_look(struct strain *s, int64_t now_ns);
/* The arithmetic of it: used_ns is what it has run and waited so far. */
bool strain_note(struct strain *s, int64_t now_ns, int64_t used_ns);

#endif
