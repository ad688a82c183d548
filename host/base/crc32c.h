/* SPDX-License-Identifier: Apache-2.0
 *
 * crc32c.h - the Castagnoli checksum, by the processor where it can.
 *
 * crc32c(0, "123456789", 9) is 0xe3069283. Chained by giving the sum so far
 * as `crc`: crc32c(crc32c(0, a, n), b, m) is the sum of a followed by b. */
#ifndef BASE_CRC32C_H
#define BASE_CRC32C_H

#include <stddef.h>
#include <stdint.h>

uint32_t crc32c(uint32_t crc, const void *bytes, size_t n);
/* The same by tables alone, for machines without the instruction. */
uint32_t crc32c_table(uint32_t crc, const void *bytes, size_t n);

#endif
