/* SPDX-License-Identifier: Apache-2.0
 *
 * teller.h - what a worker tells the supervisor of its destinations and lanes.
 *
 * Whatever came from a far side or a plugin is redacted here, before it leaves
 * the process that knows the secrets. */
#ifndef DELIVERY_TELLER_H
#define DELIVERY_TELLER_H

#include "base/buf.h"
#include "base/redact.h"
#include "delivery/destination.h"
#include "ipc/ipc.h"

struct teller {
    struct ipc *ipc;        /* borrowed; set before anything is told */
    struct redact *secrets; /* borrowed; may change between calls */
    struct buf out;
    void (*on_secrets)(void *arg); /* others are to be kept secret */
    void *arg;
};

void teller_init(struct teller *t, void (*on_secrets)(void *arg), void *arg);
void teller_deinit(struct teller *t);
/* What a destination tells goes through t, which must outlive it. */
struct reports teller_reports(struct teller *t);
void teller_pace(struct teller *t, const struct destination *d);
void teller_status(struct teller *t, struct destination *d);
void teller_lane(struct teller *t, struct lane *l);
void teller_left(struct teller *t, uint32_t lane);

#endif
