/* SPDX-License-Identifier: Apache-2.0
 *
 * own.h - a server of a command's own, in a temporary directory on free
 * ports: what `bench` measures and `chaos` mistreats. */
#ifndef CLI_OWN_H
#define CLI_OWN_H

#include "cli/common.h"

#include <stdbool.h>
#include <sys/types.h>

/* Starts this very program with other arguments, what it says appended to
 * `log`,
 * and `environment` in place of its own unless that is NULL. -1 on failure. */
pid_t own_start(const char *const *argv, const char *log,
                char *const *environment, struct err *e);
/* TERM, and waits; 0 for a process that is not there. */
void own_end(pid_t pid);
/* A port of loopback that is free now, or -1. */
int own_port(void);
/* Waits until it accepts events. *server becomes 0 when it has ended. */
int own_await(const struct config *c, pid_t *server, struct server_address *at,
              const char *log, struct err *e);
/* CPU time in microseconds of the children of `parent` in whose command line
 * `role` stands. */
int64_t own_cpu_us(pid_t parent, const char *role);
/* Calls `each` with every child of `parent` and its command line, whose words
 * end with a 0 each. */
void own_children(pid_t parent,
                  void (*each)(void *arg, pid_t pid, const char *words,
                               size_t len),
                  void *arg);
/* rm -rf */
void own_remove(const char *dir);
/* The plugins beside the program, as in a build directory; and any file
 * there. */
void own_beside(const char *name, char *out, size_t size);

#endif
