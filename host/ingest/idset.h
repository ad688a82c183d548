/* SPDX-License-Identifier: Apache-2.0
 *
 * idset.h - a set of 128-bit hashes that forgets by age and by room.
 *
 * It never says of a hash that was not added that it was: all 128 bits are
 * compared. An entry costs 16 bytes. A bucket is a pair of cache lines with
 * room for eight, a hash may stand in either of two buckets, and one whose
 * buckets are full moves another to its other place. 113 bits of the hash are
 * stored; the bucket's own number tells the rest. The table grows by one
 * bucket at a time, splitting an old one, so no call is ever longer than a few
 * buckets' work.
 *
 * Entries do not carry their time but the number of their generation, a run
 * of entries added one after the other. The oldest generation is forgotten as
 * a whole: when the newest entry in it is older than the window, or when the
 * table has no more room. Its entries are then as good as empty.
 *
 * Owns its memory, does no I/O, knows no clock. One thread. */
#ifndef INGEST_IDSET_H
#define INGEST_IDSET_H

#include <stdbool.h>
#include <stdint.h>

#define IDSET_SLOT 16       /* bytes */
#define IDSET_LEAST_BYTES (4u << 20) /* below it does not shrink */
/* A generation ends at this part of the window, or of the room. So an entry
 * may be known for that part of the window longer. */
#define IDSET_PARTS 1024

struct idset;

struct idset_facts {
    uint64_t count; /* entries that are known */
    uint64_t bytes; /* of memory in use */
    uint64_t evicted; /* entries forgotten for room, so far */
    /* Every entry added with a later time is known, if it is not older than
     * the window. INT64_MIN: nothing was forgotten. */
    int64_t known_since;
};

struct idset *idset_new(uint64_t bytes, int64_t window_ms);
void idset_free(struct idset *s);
/* New limits hold at once for what is known; memory follows with the calls
 * that come. bytes is raised to IDSET_LEAST_BYTES. */
void idset_limits(struct idset *s, uint64_t bytes, int64_t window_ms);
/* Makes room for so many, if nothing is known yet. */
void idset_expect(struct idset *s, uint64_t count);
/* Begins to bring in what idset_has() is about to look at. */
void idset_prefetch(const struct idset *s, const unsigned char hash[16]);
bool idset_has(struct idset *s, const unsigned char hash[16], int64_t now_ms);
/* Does not look whether it is there. */
void idset_add(struct idset *s, const unsigned char hash[16], int64_t at_ms);
/* The same for what is older than all that was added so; false when there is
 * no room, or it is beyond the window. */
bool idset_add_older(struct idset *s, const unsigned char hash[16],
                     int64_t at_ms, int64_t now_ms);
/* The caller sees to it that every entry back to that time was added. */
void idset_known_since(struct idset *s, int64_t since_ms);
/* Forgets what is too old; gives memory back, or takes it, for `steps`
 * buckets. For quiet times. */
void idset_tidy(struct idset *s, int64_t now_ms, unsigned steps);
struct idset_facts idset_facts(const struct idset *s);

#endif
