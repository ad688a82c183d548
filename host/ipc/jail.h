/* SPDX-License-Identifier: Apache-2.0
 *
 * jail.h - what a process gives up before it touches what others made. */
#ifndef IPC_JAIL_H
#define IPC_JAIL_H

#include "base/err.h"

#include <sys/types.h>

#define JAIL_DATA_BYTES (1ull << 30) /* private memory of a worker */
#define JAIL_FILES      4096         /* open descriptors of a worker */

/* Whom the children of root run as: the owner of data_dir, an open directory,
 * else user `manifold`, else `nobody`. Those of anybody else: as they are. */
void jail_user(int data_dir, uid_t *uid, gid_t *gid);
/* For every child: takes uid and gid on (when the process is root and uid is
 * not 0), forgets supplementary groups, sets no_new_privs, forbids core
 * files, asks for SIGKILL when the parent dies. parent: its pid as it was
 * before the spawn. */
int jail_child(uid_t uid, gid_t gid, pid_t parent, struct err *e);
/* For a worker, after jail_child and before dlopen: limits and the system
 * calls no plugin needs (a deny list; they fail with EPERM). */
int jail_worker(struct err *e);
/* After dlopen: nobody may look into the memory, which now holds secrets. */
void jail_close(void);

#endif
