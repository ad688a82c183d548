/* SPDX-License-Identifier: Apache-2.0
 *
 * lane.h - the queue of one connection: a cursor into the journal and the
 * events before it that are not settled.
 *
 * An event that a lane has read is *open* until each of its parts (one per
 * matching subscription) is delivered, dead, skipped, or set aside for a
 * retry that state.db knows of. The state of a lane is then just: everything
 * of its source before `next` is settled or set aside, but the open ones,
 * which are listed. That is what lane_report() writes and lane_new() reads;
 * after a crash the listed ones are read again, so nothing is lost and only
 * what was open can come twice. What became of each event that ended travels
 * with it (ledger.h): the counters are the sums of just that.
 *
 * A lane with a last number to read is a replay: it reads a stretch of the
 * journal beside the live lane of the same connection, and ends.
 *
 * Memory: open events are bounded by LANE_PENDING_MAX, those set aside or
 * waiting for their turn by LANE_RETRIES_MAX, whatever the backlog. */
#ifndef LANE_LANE_H
#define LANE_LANE_H

#include "base/buf.h"
#include "ipc/proto.h"
#include "journal/journal.h"
#include "lane/receipts.h"
#include "ledger/ledger.h"

#include <stdbool.h>

struct lane;

struct lane_event {
    struct lane *lane;
    struct journal_pos at;
    int64_t received_ms;
    uint16_t total;    /* parts it began with; 0: known from a retry */
    uint16_t parts;    /* not yet settled */
    uint16_t aside;    /* of these, set aside for a retry */
    bool delivered;    /* at least one part was */
    bool dead;         /* at least one part is */
    bool died;         /* a part became a dead letter in this process */
    uint32_t died_key; /* the last such */
    bool opened;       /* linked into the list of open events */
    uint16_t noted;    /* parts settled that no outcome tells of yet */
    struct ledger_part first, *more; /* these; more is owned, beyond one */
    mf_str copy;       /* of its text, owned: what the journal has no more */
    struct lane_event *prev, *next;
};

enum lane_take {
    LANE_EVENT, /* *ev, *r filled; r's payload lives until the next take */
    LANE_EMPTY, /* nothing more is durable */
    LANE_FULL,  /* too many open or set aside: settle some first */
    LANE_MORE,  /* a stretch of other sources' events was passed; call again */
    LANE_BROKEN /* the journal cannot be read: see err */
};

/* m and pending as in MSG_LANE. head and cache, which the lanes of a process
 * share, are borrowed. */
struct lane *lane_new(struct journal_cache *cache,
                      const struct journal_head *head,
                      const struct msg_lane *m,
                      const struct journal_pos *pending);
void lane_free(struct lane *l); /* and its events */
uint32_t lane_id(const struct lane *l);
/* The name of the source whose events it has; copied. "" until it is set. */
void lane_set_source(struct lane *l, mf_str name);
mf_str lane_source(const struct lane *l);
/* Whatever the user keeps for the lane, NULL at first. Borrowed. */
void lane_set_owner(struct lane *l, void *owner);
void *lane_owner(const struct lane *l);
/* Where it writes a receipt of each part that is delivered, as soon as it is
 * told to; borrowed. Without: none are written. */
void lane_set_receipts(struct lane *l, struct receipts *r);
void lane_flush_receipts(struct lane *l);
/* What receipts say was delivered before; copied, others' are not looked
 * at. */
void lane_know(struct lane *l, const struct receipt *list, size_t n);
/* That part is known so: it needs no more than to be settled. */
bool lane_was_delivered(const struct lane_event *ev, uint32_t key);
/* Reads no further than it has. */
void lane_stop(struct lane *l);
/* Anything durable that it has not read, or a listed event to read again? */
bool lane_has_more(const struct lane *l);
/* The same, and room for it: lane_take() would give something. */
bool lane_ready(const struct lane *l);
/* Are there listed events that it has not read again? These go before all
 * else, whatever else there is no room for. */
bool lane_rereading(const struct lane *l);
unsigned lane_open_events(const struct lane *l);
unsigned lane_aside_events(const struct lane *l);
struct counters *lane_counters(struct lane *l);
/* When the oldest event that is not settled was received (Unix ms; for one not
 * read yet, when the one before it was), 0 if there is none. */
int64_t lane_oldest_ms(const struct lane *l);

enum lane_take lane_take(struct lane *l, struct lane_event **ev,
                         struct journal_record *r, struct err *e);
/* The event has this many parts to settle; 0 means it was filtered, for the
 * reason `why` (an enum select_reason). The event may be gone after this call
 * when parts is 0. */
void lane_begin(struct lane_event *ev, unsigned parts, uint8_t why);
/* One part that is not set aside, of the subscription `key`, has ended as
 * `code` says: PART_DELIVERED, PART_SKIPPED, or PART_DEAD and an enum
 * dead_reason. The event may be gone after. */
void lane_settle(struct lane_event *ev, uint32_t key, uint8_t code);
/* One part is now known to state.db and will be tried again. */
void lane_set_aside(struct lane_event *ev);
/* A part set aside is in hand again: what follows is lane_settle() or
 * lane_set_aside(). */
void lane_resume(struct lane_event *ev);
/* +1: a part waits for its turn, -1: no more. Those that wait are bounded as
 * those set aside are, which is what they become when they have to wait for a
 * retry. */
void lane_wait(struct lane_event *ev, int change);
/* An event known from a retry of before a restart, with one part set aside
 * for each call with the same position. */
struct lane_event *lane_restore(struct lane *l, struct journal_pos at,
                                bool dead);
/* A part that is a dead letter is to be tried again. If the event had ended it
 * counts as dead no more and is pending; `dead` says whether another part of
 * it stays a dead letter. What is returned has that part in hand: what follows
 * is lane_settle() or lane_set_aside(). */
struct lane_event *lane_revive(struct lane *l, struct journal_pos at,
                               uint32_t key, bool dead);
/* An event whose parts are not known yet, known by one, in hand, gets as many
 * as it has, to be settled one by one; see lane_begin(). */
void lane_begin_whole(struct lane_event *ev, unsigned parts, uint8_t why);
/* What lane_reread() is to give, copied. */
void lane_keep_copy(struct lane_event *ev, mf_str text);
/* Reads the record of an event again: LANE_EVENT; LANE_BROKEN: not now; any
 * other: its bytes are gone (retention, damage). */
enum lane_take lane_reread(struct lane *l, const struct lane_event *ev,
                           struct journal_record *r, struct err *e);

/* True if the state changed since the last report. */
bool lane_dirty(const struct lane *l);
/* When it is to be reported, monotonic: at once, but for a long list of open
 * events, most of which stand in the next report too. */
int64_t lane_report_ms(const struct lane *l);
/* Appends a struct msg_lane_state, its pending list and its outcomes. */
void lane_report(struct lane *l, struct buf *to);

#endif
