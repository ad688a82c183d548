/* SPDX-License-Identifier: Apache-2.0
 *
 * inherited.h - listening sockets that a service manager made before this
 * process was started and passed to it: LISTEN_PID, LISTEN_FDS and
 * LISTEN_FDNAMES, as systemd has it for its .socket units.
 *
 * They stay open for as long as the process lives, also while no listener uses
 * them: one that a reload gave up can be used again by the next. */
#ifndef SUPERVISOR_INHERITED_H
#define SUPERVISOR_INHERITED_H

#include "base/err.h"
#include "base/netaddr.h"
#include "config/config.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define INHERITED_MAX 16

struct inherited_socket {
    int fd;
    char name[CONFIG_NAME_MAX + 1];
    struct netaddr address;
    uint16_t port;
    bool used; /* by a listener, once at least */
};

struct inherited {
    struct inherited_socket list[INHERITED_MAX];
    size_t count;
};

/* Takes over what was passed to this process, and takes the variables away.
 * -1 when that is no use. */
int inherited_take(struct inherited *in, struct err *e);
/* The n-th socket that the configured address means: by its name, or by where
 * it is bound. A descriptor of the caller's own, or -1. */
int inherited_open(struct inherited *in, const struct conf_address *a,
                   size_t n);
/* Logs those that nobody uses. */
void inherited_warn(const struct inherited *in);
void inherited_close(struct inherited *in);

#endif
