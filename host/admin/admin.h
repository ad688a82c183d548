/* SPDX-License-Identifier: Apache-2.0
 *
 * admin.h - the role that people and scrapers talk to: HTTP on the admin
 * address, answered from what the supervisor tells. It holds no state but the
 * bearer token and writes nothing but questions. */
#ifndef ADMIN_ADMIN_H
#define ADMIN_ADMIN_H

#include <sys/types.h>

int admin_main(uid_t uid, gid_t gid, pid_t parent);

#endif
