/* SPDX-License-Identifier: Apache-2.0
 *
 * proto.h - what supervisor and children say to each other.
 *
 * Both are the same binary, so structs travel as they are in memory. The
 * supervisor treats what a worker sends as hostile all the same: lengths and
 * numbers are checked where they are read. Configuration travels as JSON. */
#ifndef IPC_PROTO_H
#define IPC_PROTO_H

#include "base/histogram.h"
#include "journal/journal.h"

#include <stdatomic.h>
#include <stdint.h>

/* Descriptors a child finds open, by number. */
enum {
    CHILD_CONTROL_FD = 3, /* the channel */
    CHILD_HEAD_FD = 4,    /* memfd: struct journal_head */
    CHILD_JOURNAL_FD = 5, /* the journal's directory */
    CHILD_SLOT_FD = 6,    /* worker: memfd, struct slot */
    CHILD_WAKE_FD = 7,    /* worker: eventfd, written after a commit */
    CHILD_PLUGIN_FD = 8,  /* worker: the stored copy of the .so */
    CHILD_RECEIPTS_FD = 9, /* worker: a file for receipts, or closed */
    CHILD_FDS_END = 10
};

enum message {
    /* to any child */
    MSG_DRAIN = 1,      /* u32: milliseconds it may take; then exit 0 */
    /* from any child */
    MSG_READY,          /* text, may be empty */
    MSG_REFUSED,        /* text: why it cannot start; exit follows */

    /* to ingest */
    MSG_INGEST_CONFIG,  /* JSON: ingest_config in ingest.h */
    MSG_LISTEN,         /* struct msg_listen + address; descriptor: a socket */
    MSG_UNLISTEN,       /* text: the address */
    MSG_TLS,            /* struct msg_tls + texts, for new connections; empty:
                           none */
    MSG_WAKER,          /* u32 slot; descriptor: eventfd of a worker */
    MSG_WAKER_SLOT,     /* u32 slot; descriptor: its struct slot */
    MSG_WAKER_GONE,     /* u32 slot */
    MSG_INGEST_PLAN,    /* u64 number; descriptor: its text. Before the
                           configuration that names it */
    /* from ingest */
    MSG_INGEST_STATS,   /* JSON: counters per source since its start */
    MSG_INGEST_DEAD,    /* struct msg_ingest_dead + texts */
    MSG_INGEST_TOOK,    /* u64: the configuration of that number, and those
                           before it, count for every request from now on */
    MSG_INGEST_AGAIN,   /* to ingest: struct msg_ingest_again + texts */
    MSG_INGEST_TRIED,   /* from ingest: struct msg_ingest_tried + text */

    /* to a worker */
    MSG_WORKER_CONFIG,  /* JSON: destinations, settings included */
    MSG_LANE,           /* struct msg_lane, and what it says of the rest */
    MSG_PAUSE,          /* u32 0|1, then the destination's name */
    MSG_CAREFUL,        /* struct msg_careful: events to be tried alone */
    MSG_POISON,         /* struct msg_poison + text: one not to be tried */
    MSG_REVIVE,         /* struct msg_revive + text: a dead part lives again */
    MSG_REPLAY,         /* struct msg_replay: how a replay goes on */
    /* from a worker */
    MSG_LANE_STATE,     /* struct msg_lane_state, pending, outcomes */
    MSG_LANE_LEFT,      /* u32 lane: drained, its last state was sent */
    MSG_RETRY,          /* struct msg_retry + texts: put or replace */
    MSG_RETRY_DONE,     /* struct msg_retry_key */
    MSG_DEAD,           /* struct msg_dead + texts */
    MSG_DESTINATION,    /* struct msg_destination + name + last error */
    MSG_REVIVED,        /* struct msg_revived: the next state has it */
    MSG_PAUSED,         /* u32 length of the name, name, why: by itself */
    /* to a worker before it gets lanes, and back before it leaves them */
    MSG_PACE,           /* struct msg_pace + name: of a declared rate */

    /* Access tokens: a worker asks, and is told one or given the lease to
     * fetch one. One lease a destination: nobody fetches beside it. All are
     * struct msg_token + texts. */
    MSG_TOKEN_ASK,      /* from a worker: one of another version */
    MSG_TOKEN,          /* to a worker: this one, for now */
    MSG_TOKEN_LEASE,    /* to a worker: fetch one; with what is known */
    MSG_TOKEN_PUT,      /* from a worker: fetched; version 0: it was not */

    /* admin and supervisor: JSON, first eight bytes are the request's number */
    MSG_ASK,            /* u64 id, then {"verb": ..., ...} */
    MSG_ANSWER,         /* u64 id, then {"status": HTTP status, ...} */
    MSG_ADMIN_CONFIG,   /* JSON: token */

    /* explain and supervisor: JSON, see explain.h; then it exits */
    MSG_EXPLAIN,
    MSG_EXPLAINED       /* u32 HTTP status; then another: the body */
};

#define LANE_PENDING_MAX 16384 /* events of a lane read and not yet settled */
#define LANE_RETRIES_MAX 10000 /* of a lane, held in memory and in state.db */
#define ORDER_KEYS       2     /* that one part may have to wait for */
#define ERROR_TEXT_MAX   1000  /* of a last error that is kept */

struct msg_listen { /* one of the sockets of an address */
    uint32_t index, count, tls; /* tls: spoken there */
};

struct counters { /* of a lane since it was made; they only grow */
    uint64_t accepted;  /* events of the source read by the lane */
    uint64_t delivered, filtered, dead;
    uint64_t attempts, retries; /* calls made; those after the first */
    uint64_t lost;      /* taken by retention or damage; part of dead */
};

struct msg_lane {
    uint32_t lane, source;
    uint64_t mark;      /* names it in receipts */
    struct journal_pos next;
    struct counters counters;
    uint32_t pending_count, retry_count;
    uint32_t destination_len; /* bytes of its name, last of all */
    uint32_t paused;
    uint32_t replay;     /* 0: the live lane; else the following counts */
    uint32_t where_len;  /* of the filter (FQL) before the name */
    uint32_t source_len; /* of the source's name before that */
    uint32_t stopped;    /* enum replay_stop */
    uint32_t receipt_count;
    uint64_t last;       /* number that it reads */
    int64_t from_ms, until_ms; /* received within; until is beyond the last */
    int64_t since_ms;    /* TTL counts from there */
    double rate;         /* events a second, 0: no limit of its own */
    /* struct journal_pos pending[]; then retry_count times struct msg_retry
     * with its texts behind it; then struct receipt receipts[]; then source,
     * where, and the name. */
};

enum replay_stop {
    REPLAY_RUNS,
    REPLAY_PAUSED,
    REPLAY_CANCELLED,
    REPLAY_ENDED /* only in a message: the lane is to be given back */
};

struct msg_replay { /* to the holder of its lane */
    uint32_t lane, stopped;
};

struct msg_lane_state {
    uint32_t lane, pending_count;
    struct journal_pos next;
    struct counters counters;
    uint32_t outcome_bytes, reserved;
    /* struct journal_pos pending[]; then what ended since the last report, a
     * stream of ledger.h that begins with P = 0 */
};

/* A worker died over a batch of events in this range of numbers: which of them
 * did it is found by trying each alone. */
struct msg_careful {
    uint64_t from, to;
};

struct msg_poison {
    uint32_t lane, why_len;
    uint64_t seq;
    /* text: why it is a dead letter */
};

struct msg_retry_key {
    uint32_t lane, subscription; /* subscription: its key, see worker.h */
    uint64_t seq;
};

struct msg_retry {
    struct msg_retry_key key;
    struct journal_pos at;
    int64_t due_ms, first_ms; /* Unix time: next attempt, first attempt */
    uint64_t order[ORDER_KEYS]; /* see delivery/order.h; 0: none */
    uint32_t attempts;
    int32_t status;
    uint32_t event_dead; /* another subscription's part is dead already */
    uint32_t error_len, request_len, response_len; /* texts behind it, of
                            the attempt; the last two not to a worker */
    uint32_t event_len;  /* behind error, to a worker only: a copy of it, for
                            when the journal has it no longer */
    int64_t since_ms;    /* TTL counts from there; 0: from the receipt */
};

/* A dead part is to be tried again. The holder of the lane takes it up as one
 * that waits for a retry and answers MSG_REVIVED, with the lane's state behind
 * it; both change state.db together. */
struct msg_revive {
    struct msg_retry_key key; /* subscription 0: the event as a whole */
    struct journal_pos at;
    int64_t letter, since_ms;
    uint32_t others;    /* parts of the event that stay dead */
    uint32_t event_len; /* text behind the struct, as in msg_retry */
};

struct msg_revived {
    struct msg_retry_key key;
    struct journal_pos at;
    int64_t letter, since_ms;
};

enum dead_reason {
    DEAD_REJECTED, /* the destination will never accept it */
    DEAD_EXPIRED,  /* outlived its TTL */
    DEAD_MAPPING,  /* the mapping or the field's rules refused it */
    DEAD_PLUGIN,   /* the plugin crashed, hung, or broke its contract on it */
    DEAD_GONE,     /* its subscription or its bytes are gone */
    DEAD_LOST,     /* taken from the lane by retention or damage */
    DEAD_REASONS
};

/* "rejected", "expired", ...; "unknown" beyond. In words.c. */
const char *dead_reason_text(uint32_t reason);

struct msg_dead {
    struct msg_retry_key key;
    struct journal_pos at;
    int64_t first_ms, when_ms;
    uint32_t attempts, reason; /* enum dead_reason */
    int32_t status;
    uint32_t error_len, action_len, message_id_len, event_len, request_len,
        response_len, name_len; /* texts behind the struct, in this order;
                                   name: of a track event, page or screen */
};

struct msg_destination { /* about once a second, and at a change of state */
    uint32_t state;      /* enum destination_state */
    uint32_t in_flight, waiting_retries, name_len, error_len;
    double concurrency_limit;
    int64_t error_ms;    /* when the last error was, 0: never */
    int64_t oldest_ms;   /* Unix time of the oldest unsettled event, 0: none */
    uint64_t classes[6]; /* answers: 2xx 3xx 4xx 5xx none refused */
    struct histogram requests;   /* how long they took */
    struct histogram end_to_end; /* from received to delivered, of parts */
};

struct msg_pace {
    double tokens;   /* what was left of it, */
    int64_t at_ms;   /* at that Unix time */
};

enum destination_state {
    DEST_ACTIVE,
    DEST_PAUSED,
    DEST_BACKING_OFF, /* its answers fail; probing */
    DEST_STATES
};

struct msg_token {
    uint64_t version;   /* told by the supervisor; asked: the one of no use */
    int64_t expires_ms, renew_ms; /* Unix time */
    uint32_t durable;   /* put: it must survive a restart */
    uint32_t name_len, origin_len, tokens_len; /* the destination; what tokens
                           were got with (oauth.h); the tokens, JSON */
};

struct msg_tls {
    uint32_t chain_len, key_len; /* PEM behind the struct, in this order */
};

struct msg_ingest_dead { /* texts in the order of their lengths */
    uint32_t source;
    int64_t when_ms;
    uint32_t code_len, message_id_len, envelope_len, event_len;
};

/* Such an event is to be tried once more. */
struct msg_ingest_again {
    int64_t job, letter;
    uint32_t source, envelope_len, event_len;
};

enum ingest_tried {
    TRIED_TAKEN,   /* it is durable, or had been before */
    TRIED_REFUSED, /* text: the code */
    TRIED_BUSY,    /* not now */
    TRIED_NO_SOURCE /* its source accepts nothing */
};

struct msg_ingest_tried {
    int64_t job, letter;
    uint32_t outcome; /* enum ingest_tried */
};

/* One page shared by supervisor, ingest and one worker. Written by the
 * worker, but for nothing. The supervisor reads it when the worker dies. */
struct slot {
    _Atomic uint32_t asleep; /* 1: wants its eventfd written */
    _Atomic uint32_t phase;  /* enum slot_phase */
    _Atomic uint32_t lane;   /* of the event in hand */
    _Atomic uint64_t seq;    /* of the event in hand, 0: none */
    _Atomic uint64_t last;   /* of several in hand the highest, else as seq */
    _Atomic uint64_t beat;   /* turns of the loop */
    _Atomic int64_t entered_ms; /* into the plugin; monotonic */
    _Atomic int64_t limit_ms;   /* how long it may stay there, 0: the default */
};

enum slot_phase {
    PHASE_HOST,
    PHASE_MAP,    /* choosing and mapping: the host's code, an event's data */
    PHASE_CREATE,
    PHASE_PERFORM,
    PHASE_JUDGE,
    PHASE_DELIVER
};

#endif
