/* SPDX-License-Identifier: Apache-2.0
 *
 * keys.h - what ingest is configured with: sources by write key, limits.
 *
 * Each loop has a copy of its own, so that it reads and counts without asking
 * anybody; the counters of all are summed when they are told. */
#ifndef INGEST_KEYS_H
#define INGEST_KEYS_H

#include "base/bucket.h"
#include "base/err.h"
#include "ingest/gate.h"
#include "ingest/plans.h"
#include "ingest/connections.h"

#include <manifold/types.h>
#include <stdbool.h>
#include <stdint.h>

#define REJECT_CODES_MAX 64 /* different codes counted for a source */

struct reject_count {
    const char *code; /* a literal */
    uint64_t n;
};

struct source {
    uint32_t id;
    char *name, *write_key;
    uint64_t hash;
    uint64_t received, bytes, duplicates;
    struct reject_count rejected[REJECT_CODES_MAX];
    struct gate *gate; /* held; NULL: every event passes */
    /* Where the gate forwards to, as number + 1 of a source; 0: nowhere. */
    uint32_t violations_to, blocked_to;
    struct bucket letters; /* see LETTERS_A_SECOND; rate 0: not begun */
};

struct keys {
    struct source *sources;
    uint32_t count, mask;
    uint32_t *table; /* index + 1 by hash, open addressing */
    uint64_t max_event_bytes, max_batch_bytes;
    int64_t dedupe_window_ms, retention_ms;
    uint64_t dedupe_memory, max_bytes;
    struct connection_limits connections;
    unsigned threads;
    uint64_t number; /* of this configuration */
    struct plans plans;
};

/* Replaces what is there; counters of sources that stay are kept. */
int keys_update(struct keys *k, mf_str json, struct err *e);
/* The same from a copy, which k owns afterwards. */
void keys_replace(struct keys *k, struct keys *with);
void keys_copy(struct keys *to, const struct keys *from);
/* Of `to` only numbers and counters of the sources are of use. */
void keys_copy_counters(struct keys *to, const struct keys *from);
void keys_clear_counters(struct keys *k);
/* Source by source; those that k has not are left out. */
void keys_add_counters(struct keys *k, const struct keys *from);
void keys_deinit(struct keys *k);
struct source *keys_find(struct keys *k, mf_str write_key);
/* By violations_to or blocked_to; NULL for 0. */
struct source *keys_nth(struct keys *k, uint32_t number);
void source_reject(struct source *s, const char *code);
void source_reject_many(struct source *s, const char *code, uint64_t n);
void source_kept(struct source *s, size_t bytes, bool duplicate);

#endif
