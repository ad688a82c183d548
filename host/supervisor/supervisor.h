/* SPDX-License-Identifier: Apache-2.0
 *
 * supervisor.h - the process that owns the others.
 *
 * It holds the listening sockets, the plugin store, state.db and the shared
 * pages; it starts, watches, replaces and stops ingest, admin and a worker
 * for each plugin in use; it changes all of that on reload. It never parses a
 * byte from the network and never maps a plugin.
 *
 * supervisor.c   start, signals, stop
 * listen.c       the sockets
 * inherited.c    sockets that a service manager passed in
 * certificate.c  what ingest shows to whom it speaks TLS with
 * versions.c     which plugins there are, in which version
 * groups.c       worker processes and their generations
 * poison.c       events that workers die over
 * lanes.c        cursors and what workers report
 * pace.c         what is left of declared rates
 * records.c      the log of what became of events
 * letters.c      dead letters that are sent again or dropped
 * refused.c      events that ingest refused, likewise
 * replays.c      stretches of the journal that are sent again
 * tokens.c       access tokens, and who may fetch one
 * tracking.c     the tracking plans of the sources
 * reload.c       from a configuration to the changes it means
 * explain.c      questions about one event
 * status.c       all of it as JSON
 * ask_letters.c  questions about dead letters
 * ask_refused.c  questions about events that ingest refused
 * ask_replays.c  questions about replays */
#ifndef SUPERVISOR_SUPERVISOR_H
#define SUPERVISOR_SUPERVISOR_H

#include "config/config.h"
#include "plugin/manifest.h"
#include "plugin/store.h"
#include "state/letters.h"
#include "state/state.h"
#include "supervisor/certificate.h"
#include "supervisor/child.h"
#include "supervisor/inherited.h"

#include <event2/event.h>
#include <stdbool.h>
#include <stdint.h>

#define VERSIONS_MAX     1024  /* plugins in the directory */
#define GROUPS_MAX       1024  /* worker processes */
#define WAKERS_MAX       (2 * GROUPS_MAX)
#define COMMIT_AGAIN_MS  500   /* after one that failed */
#define COMMIT_EVERY_MS  50    /* how old a change may be that state.db has not */
#define READY_WITHIN_MS  20000 /* a worker that is not by then is refused */
#define DRAIN_WITHIN_MS  15000 /* for a generation that is replaced */
#define PLUGIN_WITHIN_MS 10000 /* for one call of plugin code */
#define STRIKES_OUT      2     /* deaths over an event that make it dead */
#define STRIKES_RUN 5 /* such events in a row that hold a destination */
#define STRIKES_MAX      64    /* events of a group that are remembered */
#define SECOND_LOOK_MS  2500  /* after a refused file that had just changed */
#define LISTEN_SOCKETS_MAX 64 /* of an address, one a thread of ingest */
#define OUTCOMES_KEPT    32    /* reloads whose outcome can be asked for */

/* A plugin as found in the directory. */
struct version {
    char slug[PLUGIN_SLUG];
    char hash[IMAGE_HASH_TEXT];   /* the version in use, "" if none */
    struct manifest *manifest;    /* of that */
    char *problem;                /* why the file is not in use, or NULL */
    bool present;                 /* the file is there */
};

enum destination_condition {
    COND_STARTING,
    COND_RUNNING,
    COND_MISSING_PLUGIN,
    COND_REFUSED,
    COND_CRASHING
};

struct sup_lane {
    struct sup_lane *next;
    uint32_t id, source;
    char source_name[72], destination_name[72];
    uint32_t replay;           /* the job it is of, 0: the live lane */
    uint64_t until;            /* of a replay: the last number it reads */
    bool wanted;               /* for a letter, though its replay has ended */
    unsigned reviving;         /* letters that its holder has not told of */
    struct sup_destination *destination; /* NULL: detached */
    struct generation *holder; /* the one worker that has it, or NULL */
    struct msg_lane_state state;
    struct journal_pos *pending;         /* state.pending_count of them */
    struct buf waiting; /* reports that go with the next MSG_LANE_STATE */
    struct ledger_writer outcomes; /* since the last commit */
    struct ledger_sums logged;     /* the counters as the log has them */
    struct dead_range range;       /* the last one, as long as it can grow */
    bool range_grew;
    int64_t unread_ms; /* when its oldest unread event came; 0: not known */
    bool near_retention; /* it is about to lose what it has not read */
    uint64_t mark;       /* names it in receipts */
    struct receipt *known; /* delivered.c: parts its state may not know of */
    size_t known_count, known_cap;
};

struct sup_destination {
    struct sup_destination *next;
    char name[72], plugin[72];
    char *spec;       /* what the worker is told, JSON; NULL: never valid */
    char *sources;    /* names, one a line, of its connections */
    bool isolate, paused;
    char pause_why[ERROR_TEXT_MAX + 1]; /* it paused itself; "": people did */
    double rate;              /* declared, 0: none */
    struct state_pace pace;   /* what is left of that, when a worker had it */
    bool pace_known;          /* false: it never had one */
    const struct generation *pacer; /* the worker that has it, or NULL */
    bool held;        /* after a run of events that its plugin died over */
    char held_why[160];
    unsigned outs;    /* dead letters of that kind without a delivery */
    uint64_t delivered_at_out; /* when the last of them was made */
    enum destination_condition condition;
    char *problem;    /* why it is refused or missing, or NULL */
    struct msg_destination status;
    uint64_t dead_reasons[DEAD_REASONS]; /* since the start */
    char last_error[ERROR_TEXT_MAX + 1];
    struct group *group;
};

/* A worker process and, while it is being replaced, the one after it. */
struct generation {
    struct child *child;
    struct slot *slot;
    int slot_fd, wake_fd;
    uint32_t waker;   /* its number with ingest */
    char *spec;       /* of the group, when it was started */
    char hash[IMAGE_HASH_TEXT];
    bool ready, draining;
    bool hung;        /* killed because the plugin did not come back */
    struct event *timer; /* ready or drained by then */
    struct group *group;
};

/* How often workers of a group died over one event. */
struct strike {
    uint32_t lane;
    unsigned count;
    uint64_t seq; /* 0: free */
    char why[320];
};

struct group {
    struct group *next;
    char key[160]; /* plugin, or plugin/destination */
    char plugin[72];
    char *spec;    /* what the worker should be running */
    char hash[IMAGE_HASH_TEXT]; /* with which content of the plugin */
    char *refused; /* spec text that a worker refused, so as not to loop */
    char *good;    /* the spec that ran last, with its content: what runs */
    char good_hash[IMAGE_HASH_TEXT]; /* again while `spec` is refused */
    struct generation *current, *coming;
    struct restarts restarts;
    struct strike strikes[STRIKES_MAX];
    unsigned next_strike;
    struct msg_careful careful;
    struct event *restart;
    struct supervisor *s;
    bool wanted;   /* by the configuration */
    char cause[64];/* why the last one ended */
};

struct listener {
    struct listener *next;
    char configured[128], bound[128];
    int fds[LISTEN_SOCKETS_MAX]; /* of one address and port */
    unsigned count;
    bool keep, tls;
};

struct outcome_line {
    char kind[16], name[72], change[12]; /* added replaced removed ... */
    char *why;                           /* or NULL */
};

struct outcome {
    uint64_t id;
    bool done, failed;
    int64_t began_ms, ended_ms;
    struct outcome_line *lines;
    size_t count, cap;
};

struct sup_job;

struct sup_jobs { /* jobs.h */
    struct sup_job *first; /* oldest first */
    struct supervisor *s;
    struct event *timer;
    /* Does some of it; milliseconds until there is more, -1: something must
     * happen first. */
    int64_t (*turn)(struct supervisor *s);
    void (*release)(struct sup_job *k); /* frees it, but for the name */
};

struct supervisor {
    struct event_base *base;
    char *config_path;
    struct config *config;
    struct state *state;
    struct ledger_log *ledger;
    struct ledger_segment *segments; /* of that, oldest first */
    size_t segment_count, segment_cap;
    int64_t records_watch_ms; /* monotonic; not before */
    bool segment_untold; /* it is longer than state.db says */
    bool segments_gone;  /* rows were dropped: their files go after a commit */
    int ledger_fd, receipts_fd;
    struct plugin_store *store;
    int data_fd, journal_fd, head_fd, lock_fd;
    struct journal_head *head;
    uid_t uid;
    gid_t gid;
    int64_t started_ms;

    struct child *ingest, *admin;
    bool ingest_ready;
    uint64_t ingest_told, ingest_took; /* numbers of its configurations */
    struct restarts ingest_restarts, admin_restarts;
    struct event *ingest_restart, *admin_restart;
    char *ingest_stats; /* JSON as last told, or NULL */
    struct listener *listeners, *admin_listener;
    struct inherited inherited;
    struct certificate certificate;
    unsigned threads; /* of ingest, as the first configuration said */

    struct plugin_files files; /* as the last scan found them */
    struct version versions[VERSIONS_MAX];
    size_t version_count;
    struct sup_destination *destinations;
    struct group *groups;
    struct sup_lane *lanes;
    struct sup_jobs letter_jobs;  /* letters.h */
    struct sup_jobs refused_jobs; /* refused.h */
    struct sup_replay *replays; /* replays.h, oldest first */
    struct sup_token *tokens;
    uint64_t token_version; /* the last given */
    struct sup_plan *plans;
    uint64_t plan_number; /* the last given */
    bool wakers[WAKERS_MAX];

    struct event *commit;
    bool commit_failing;
    struct event *signals[5];
    struct event *watchdog, *stop_deadline;
    struct event *second_look; /* at a file that was still being copied */

    struct outcome outcomes[OUTCOMES_KEPT];
    uint64_t reloads; /* begun so far */
    uint64_t reloads_ok, reloads_refused;
    struct outcome *reloading; /* NULL: none */
    bool reload_again, force_again, stopping, ingest_drained;
    int exit_code;
};

/* Runs until told to stop. config was loaded without a fault and is taken
 * over. */
int supervisor_run(const char *config_path, struct config *config);

/* ---- listen.c ---- */
int listen_update(struct supervisor *s, const struct config *c,
                  struct err *e);
void listen_tell_ingest(struct supervisor *s);
int listen_write_addresses(struct supervisor *s, struct err *e);
void listen_close(struct supervisor *s);

/* ---- versions.c ---- */
/* Looks at the directory again and tells what changed. `fits` says whether the
 * destinations there are can live with a manifest: NULL, or owned text on why
 * not; then the version in use stays. force: refused contents too. */
void versions_scan(struct supervisor *s, const char *dir, bool force,
                   char *(*fits)(struct supervisor *s,
                                 const struct manifest *m),
                   struct outcome *o);
struct version *version_find(struct supervisor *s, const char *slug);
void versions_free(struct supervisor *s);

/* ---- lanes.c ---- */
int lanes_load(struct supervisor *s, struct err *e);
/* The lane of a connection, made at the journal's head if it is new. */
struct sup_lane *lane_open(struct supervisor *s, const char *source,
                           struct sup_destination *d, struct err *e);
void lanes_detach(struct supervisor *s, struct sup_destination *d);
struct sup_lane *lane_find(struct supervisor *s, uint32_t id);
/* The lane of a replay; `first` to `until` are the numbers it reads. */
struct sup_lane *lane_open_replay(struct supervisor *s, uint32_t source,
                                  struct sup_destination *d, uint32_t replay,
                                  uint64_t first, uint64_t until,
                                  struct err *e);
/* Read, and neither settled nor open: what waits for a retry. */
unsigned lane_aside(const struct sup_lane *l);
/* Forgets one that nobody holds. It is out of the list already. */
void lane_free_one(struct sup_lane *l);
/* Gives every lane that nobody holds to the worker that should have it, if
 * that is ready. A lane is never with two workers. */
void lanes_offer(struct supervisor *s);
/* The worker has ended, or will not touch the lane again: it is free. */
void lane_left(struct supervisor *s, const struct generation *n, mf_str text);
void lanes_release(struct supervisor *s, const struct generation *n);
/* Messages of a worker about its lanes. */
void lanes_message(struct supervisor *s, const struct generation *from,
                   uint32_t type, mf_str text);
void lanes_free(struct supervisor *s);

/* ---- pace.c ---- */
void pace_load(struct supervisor *s, struct sup_destination *d);
/* It is the worker's from now on. True if that must be durable before it is
 * sent. */
bool pace_take(struct supervisor *s, struct sup_destination *d,
               const struct generation *to);
void pace_send(struct sup_destination *d, struct generation *to);
/* MSG_PACE of a worker. */
void pace_message(struct supervisor *s, const struct generation *from,
                  mf_str text);
/* The worker has ended. */
void pace_release(struct supervisor *s, const struct generation *n);

/* ---- delivered.c ---- */
/* What the last run left. After lanes_load(). */
void delivered_load(struct supervisor *s);
/* The file of the worker with that number with ingest; -1: it has none. */
int delivered_file(struct supervisor *s, uint32_t number);
/* The worker is gone: what it delivered and could not report of the lanes it
 * still has. */
void delivered_gather(struct supervisor *s, const struct generation *n);
/* Appends struct receipt of events from `least` on, the oldest that the lane's
 * state does not count as ended; forgets others. How many. */
uint32_t delivered_give(struct sup_lane *l, uint64_t least, struct buf *to);

/* ---- records.c ---- */
/* After lanes_load(). */
int records_load(struct supervisor *s, struct err *e);
/* Takes over what a worker says of the lane's events. -1: it is no such thing,
 * or the log cannot be written and too much waits: do not take the report. */
int records_note(struct supervisor *s, struct sup_lane *l, mf_str stream,
                  struct err *e);
/* Makes the log durable and tells state.db its end. Nothing of state.db may be
 * committed without. */
int records_flush(struct supervisor *s, struct err *e);
/* So much waits for the disk that workers must not say more. */
bool records_strained(const struct supervisor *s);
void records_committed(struct supervisor *s);
/* Drops what the journal has no event of any more. */
void records_retain(struct supervisor *s);
/* Looks which lanes are about to lose events; about every ten seconds. */
void records_watch(struct supervisor *s);
void records_free(struct supervisor *s);

/* ---- letters.c ---- */
int letters_load(struct supervisor *s, struct err *e);
/* There may be work: letters over their limits, or a job. */
void letters_kick(struct supervisor *s);
/* MSG_REVIVED, with the lane's state that followed it. */
int letters_revived(struct supervisor *s, struct sup_lane *l, mf_str text,
                    struct err *e);
/* The lane's holder is gone. */
void letters_release(struct supervisor *s, struct sup_lane *l);
void letters_free(struct supervisor *s);

/* ---- refused.c ---- */
/* One job that state.db knows. */
/* Before the first of those. */
void refused_prepare(struct supervisor *s);
void refused_load(struct supervisor *s, const struct letter_job *j);
/* MSG_INGEST_DEAD and MSG_INGEST_TRIED. */
void refused_message(struct supervisor *s, uint32_t type, mf_str text);
/* There may be work: letters over their limits, or a job. */
void refused_kick(struct supervisor *s);
/* Ingest has ended: what it was to try, another may. */
void refused_release(struct supervisor *s);
/* "source_letters": [...] */
void refused_write(struct supervisor *s, struct json_out *w);
void refused_free(struct supervisor *s);

/* ---- replays.c ---- */
int replays_load(struct supervisor *s, struct err *e);
/* The lanes of replays of a destination are its own again. */
void replays_attach(struct supervisor *s, struct sup_destination *d);
/* Must a worker have the lane? */
bool replay_wants_holder(const struct supervisor *s, const struct sup_lane *l);
/* Fills in what a worker is told of the lane's replay; the filter. */
mf_str replay_fill(const struct supervisor *s, const struct sup_lane *l,
                   struct msg_lane *m);
/* The lane has a new state. */
void replay_progress(struct supervisor *s, struct sup_lane *l);
void replays_free(struct supervisor *s);

/* ---- tokens.c ---- */
int tokens_load(struct supervisor *s, struct err *e);
/* MSG_TOKEN_ASK or MSG_TOKEN_PUT of a worker. */
void tokens_message(struct supervisor *s, struct generation *from,
                    uint32_t type, mf_str text);
/* The worker has ended: what it was to fetch, another may. */
void tokens_release(struct supervisor *s, const struct generation *n);
void tokens_free(struct supervisor *s);

/* ---- tracking.c ---- */
/* Takes over the plans that the configuration names. */
void tracking_update(struct supervisor *s, const struct config *c,
                     struct outcome *o);
/* Hands all of them to ingest, before it is configured. */
void tracking_tell(struct supervisor *s);
/* Members of a source in what ingest is told: its plan and controls. */
void tracking_write(struct supervisor *s, struct json_out *w,
                    const struct conf_source *src);
void tracking_free(struct supervisor *s);

/* ---- groups.c ---- */
struct group *group_find(struct supervisor *s, const char *key, bool make);
/* Starts, replaces or drains until what runs is what group->spec says. */
void group_settle(struct group *g);
/* The worker that is live on what the group should run now, or NULL. While the
 * one before it drains that is the coming one. */
struct generation *group_live(const struct group *g);
/* Is everything as wanted, or given up? */
bool group_is_settled(const struct group *g);
void group_tell(struct group *g, enum message type, const void *bytes,
                size_t len);
void groups_stop(struct supervisor *s); /* drains all */
/* Takes no more reports of workers, or takes them again: they wait with them,
 * and stop reading when many do. */
void groups_hold(struct supervisor *s, bool on);
bool groups_running(const struct supervisor *s);
void groups_tell_ingest(struct supervisor *s);
void groups_free(struct supervisor *s);

/* ---- poison.c ---- */
/* A worker of the group has died, `how`: counts it against what it had in
 * hand, if that was an event. */
void poison_note(struct group *g, const struct generation *n, const char *how);
void poison_forget(struct group *g); /* for another version or settings */
/* The destination is given another run. */
void poison_release(struct sup_destination *d);
/* Before it gets lanes. */
void poison_tell(struct group *g, struct generation *to);
/* Kills workers whose plugin does not come back. */
void groups_watch(struct supervisor *s);

/* ---- reload.c ---- */
/* The number under which the outcome can be asked for. One at a time; more
 * are coalesced into one that follows. */
uint64_t reload_begin(struct supervisor *s, bool force);
void reload_apply(struct supervisor *s, struct config *c, bool force,
                  struct outcome *o);
/* Called when a group settles. */
void reload_check(struct supervisor *s);
/* Configuration to ingest and admin, for instance after they restarted. */
void reload_tell_children(struct supervisor *s);
void outcome_add(struct outcome *o, const char *kind, const char *name,
                 const char *change, const char *why);
const struct outcome *outcome_find(const struct supervisor *s, uint64_t id);
void outcomes_free(struct supervisor *s);

/* ---- explain.c ---- */
/* False: it is another question. Else the answer will go to admin. */
bool explain_ask(struct supervisor *s, uint64_t id, mf_str question);

/* ---- status.c ---- */
void status_write(struct supervisor *s, struct buf *to);
/* A destination pauses, or goes on. why: "" if people want it. */
void destination_set_paused(struct supervisor *s, struct sup_destination *d,
                            bool on, const char *why);
/* Members of an answer that refuses. */
/* Begins the body of an answer, an object; the caller ends it. */
void status_body(struct json_out *w, int status);
void status_refuse(struct json_out *w, int status, const char *code,
                   const char *message);
/* One question of the admin process; the answer is JSON with "status". */
void status_answer(struct supervisor *s, mf_str question, struct buf *to);

/* ---- ask_letters.c, ask_refused.c, ask_replays.c ---- */
/* False: the verb is none of theirs. */
bool ask_letters(struct supervisor *s, mf_str verb, mf_val q,
                 struct json_out *w, struct arena *a);
bool ask_refused(struct supervisor *s, mf_str verb, mf_val q,
                 struct json_out *w, struct arena *a);
bool ask_replays(struct supervisor *s, mf_str verb, mf_val q,
                 struct json_out *w, struct arena *a);

/* ---- supervisor.c ---- */
void supervisor_state_changed(struct supervisor *s);
/* The one way to commit: the outcome log first. */
int supervisor_commit(struct supervisor *s, struct err *e);
void supervisor_log_state_error(struct supervisor *s, const struct err *e);
void supervisor_notify(const char *format, ...)
    __attribute__((format(printf, 1, 2)));

#endif
