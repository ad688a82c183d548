/* SPDX-License-Identifier: Apache-2.0
 *
 * siphash.h - SipHash-2-4 with 128 bits (Aumasson and Bernstein): a keyed
 * hash for tables whose keys strangers choose. Without the key nobody can
 * make two texts meet. Not for signatures. */
#ifndef BASE_SIPHASH_H
#define BASE_SIPHASH_H

#include <stddef.h>

void siphash128(const unsigned char key[16], const void *bytes, size_t n,
                unsigned char out[16]);

#endif
