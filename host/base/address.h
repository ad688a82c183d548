/* SPDX-License-Identifier: Apache-2.0
 *
 * address.h - what an IP address says of where its host stands. */
#ifndef BASE_ADDRESS_H
#define BASE_ADDRESS_H

#include <stdbool.h>
#include <sys/socket.h>

/* Loopback, private, link-local, unspecified, multicast and the like, in
 * either family, v4 mapped into v6 included. */
bool address_is_private(const struct sockaddr *a);

#endif
