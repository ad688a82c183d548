/* SPDX-License-Identifier: Apache-2.0
 *
 * bench_map.h - the part of `manifold bench` that needs no server. */
#ifndef CLI_BENCH_MAP_H
#define CLI_BENCH_MAP_H

/* Measures the plugins of a directory for at least so long each. Returns the
 * exit status. */
int bench_map(const char *plugins, double seconds);

#endif
