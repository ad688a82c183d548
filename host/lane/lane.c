/* SPDX-License-Identifier: Apache-2.0
 *
 * lane.c - see lane.h. */
#include "lane/lane.h"

#include "base/clock.h"
#include "base/mem.h"
#include "journal/cache.h"
#include "journal/ids.h"

#include <stdlib.h>
#include <string.h>

#define SCAN_AT_ONCE 4096 /* records of other sources passed in one take */
#define LOSS_AT_ONCE (1u << 18) /* numbers looked at in one take */
#define OUTCOMES_MAX (16u << 20) /* bytes of them between two reports */
#define REPORT_EVENTS_MS 64 /* open events listed in a millisecond */
#define OUTCOMES_MANY (1u << 20) /* at which nothing more is taken */

struct lane {
    uint32_t id, source;
    uint64_t mark;             /* names it in receipts */
    struct receipts *receipts; /* NULL: none are written */
    struct receipt *known;     /* delivered before, in order; owned */
    size_t known_count;
    char *source_name;               /* owned; NULL: "" */
    struct journal_reader *reader;   /* at `next` */
    struct journal_reader *rereader; /* for single records */
    const struct journal_head *head;
    struct journal_pos *again; /* listed before the restart, to read again */
    uint32_t again_count, again_at;
    struct lane_event open;  /* head of the ring of open events */
    struct lane_event aside; /* head of the ring of those set aside */
    unsigned open_count, aside_count;
    unsigned waiting; /* parts, for their turn */
    struct counters counters;
    struct ledger_writer outcomes; /* since the last report */
    struct ids_reader *ids; /* while it counts what it lost, else NULL */
    int dir;                /* of the journal */
    uint64_t lost_from, lost_to; /* yet to be counted; from 0: nothing is */
    int64_t last_ms; /* received_ms of the event read last */
    int64_t reported_ms;
    uint64_t last;   /* number that is read, UINT64_MAX: no end */
    int64_t since_ms; /* of a replay: no event is older than that */
    void *owner;
    bool dirty;
};

/* ---- rings ---- */

static void ring_init(struct lane_event *head)
{
    head->prev = head->next = head;
}

static void ring_add(struct lane_event *head, struct lane_event *ev)
{
    ev->prev = head->prev;
    ev->next = head;
    head->prev->next = ev;
    head->prev = ev;
}

static void ring_drop(struct lane_event *ev)
{
    ev->prev->next = ev->next;
    ev->next->prev = ev->prev;
}

static struct lane_event *event_new(struct lane *l, struct journal_pos at,
                                    int64_t received_ms)
{
    struct lane_event *ev = xcalloc(1, sizeof *ev);

    ev->lane = l;
    ev->at = at;
    ev->received_ms = received_ms;
    return ev;
}

static void put_open(struct lane_event *ev)
{
    struct lane *l = ev->lane;

    ev->opened = true;
    ring_add(&l->open, ev);
    l->open_count++;
}

static void put_aside(struct lane_event *ev)
{
    struct lane *l = ev->lane;

    ev->opened = false;
    ring_add(&l->aside, ev);
    l->aside_count++;
}

static void take_out(struct lane_event *ev)
{
    ring_drop(ev);
    if (ev->opened)
        ev->lane->open_count--;
    else
        ev->lane->aside_count--;
}

/* ---- outcomes ---- */

static void note_part(struct lane_event *ev, uint32_t key, uint8_t code)
{
    struct ledger_part p = { key, code };

    if (ev->noted == 0) {
        ev->first = p;
    } else {
        ev->more = xrealloc(ev->more, ev->noted * sizeof *ev->more);
        ev->more[ev->noted - 1] = p;
    }
    ev->noted++;
}

/* Tells what is noted of the event, as belonging to `class`. */
static void tell(struct lane_event *ev, enum ledger_class class)
{
    struct ledger_part parts[LEDGER_PARTS_MAX];

    ASSERT(ev->noted <= LEDGER_PARTS_MAX);
    parts[0] = ev->first;
    if (ev->noted > 1)
        memcpy(parts + 1, ev->more, (ev->noted - 1) * sizeof *parts);
    ledger_put(&ev->lane->outcomes, ev->at.seq, class, parts, ev->noted);
    ev->noted = 0;
}

static void event_free(struct lane_event *ev)
{
    free(ev->more);
    free((char *)(uintptr_t)ev->copy.ptr);
    free(ev);
}

static void end_event(struct lane_event *ev)
{
    struct counters *c = &ev->lane->counters;

    if (ev->dead)
        c->dead++;
    else if (ev->delivered)
        c->delivered++;
    else
        c->filtered++;
    tell(ev, ev->dead        ? LEDGER_DEAD
             : ev->delivered ? LEDGER_DELIVERED
                             : LEDGER_FILTERED);
    take_out(ev);
    event_free(ev);
}

/* Moves the event to where its parts say it belongs, or ends it. What is
 * settled of one that is listed as open need not be told before it is listed
 * no more: after a crash it begins anew. */
static void place(struct lane_event *ev)
{
    bool open = ev->parts > ev->aside;

    ev->lane->dirty = true;
    if (ev->parts == 0) {
        end_event(ev);
        return;
    }
    if (open != ev->opened) {
        take_out(ev);
        if (open)
            put_open(ev);
        else
            put_aside(ev);
    }
    if (!open && ev->noted)
        tell(ev, LEDGER_PARTIAL);
}

/* ---- life ---- */

struct lane *lane_new(struct journal_cache *cache,
                      const struct journal_head *head,
                      const struct msg_lane *m,
                      const struct journal_pos *pending)
{
    struct lane *l = xcalloc(1, sizeof *l);

    l->id = m->lane;
    l->source = m->source;
    l->mark = m->mark;
    l->head = head;
    l->dir = cache->dir;
    l->counters = m->counters;
    l->last = m->replay ? m->last : UINT64_MAX;
    l->since_ms = m->since_ms;
    l->reader = journal_reader_shared(cache);
    l->rereader = journal_reader_shared(cache);
    journal_seek(l->reader, m->next);
    l->again_count = m->pending_count;
    if (l->again_count) {
        l->again = xcalloc(l->again_count, sizeof *l->again);
        memcpy(l->again, pending, l->again_count * sizeof *l->again);
    }
    ring_init(&l->open);
    ring_init(&l->aside);
    ledger_init(&l->outcomes, OUTCOMES_MAX);
    return l;
}

static void free_ring(struct lane_event *head)
{
    while (head->next != head) {
        struct lane_event *ev = head->next;

        ring_drop(ev);
        event_free(ev);
    }
}

void lane_free(struct lane *l)
{
    if (!l)
        return;
    free_ring(&l->open);
    free_ring(&l->aside);
    ledger_deinit(&l->outcomes);
    ids_reader_free(l->ids);
    journal_reader_free(l->reader);
    journal_reader_free(l->rereader);
    free(l->again);
    free(l->known);
    free(l->source_name);
    free(l);
}

void lane_set_source(struct lane *l, mf_str name)
{
    free(l->source_name);
    l->source_name = xstrndup(name.ptr, name.len);
}

mf_str lane_source(const struct lane *l)
{
    return mf_cstr(l->source_name ? l->source_name : "");
}

uint32_t lane_id(const struct lane *l)
{
    return l->id;
}

void lane_set_owner(struct lane *l, void *owner)
{
    l->owner = owner;
}

void *lane_owner(const struct lane *l)
{
    return l->owner;
}

/* ---- receipts ---- */

static int by_part(const void *left, const void *right)
{
    const struct receipt *a = left, *b = right;

    if (a->seq != b->seq)
        return a->seq < b->seq ? -1 : 1;
    return (a->key > b->key) - (a->key < b->key);
}

void lane_set_receipts(struct lane *l, struct receipts *r)
{
    l->receipts = r;
}

void lane_flush_receipts(struct lane *l)
{
    if (l->receipts)
        receipts_flush(l->receipts);
}

void lane_know(struct lane *l, const struct receipt *list, size_t n)
{
    l->known = xrealloc(l->known, (l->known_count + n + 1) * sizeof *list);
    for (size_t i = 0; i < n; i++)
        if (list[i].mark == l->mark)
            l->known[l->known_count++] = list[i];
    qsort(l->known, l->known_count, sizeof *l->known, by_part);
}

bool lane_was_delivered(const struct lane_event *ev, uint32_t key)
{
    const struct lane *l = ev->lane;
    struct receipt part = { l->mark, ev->at.seq, key };

    return l->known_count &&
           bsearch(&part, l->known, l->known_count, sizeof part, by_part);
}

void lane_stop(struct lane *l)
{
    l->last = journal_tell(l->reader).seq - 1;
    l->dirty = true;
}

bool lane_has_more(const struct lane *l)
{
    uint64_t durable = atomic_load_explicit(&l->head->durable,
                                            memory_order_acquire);

    if (durable > l->last)
        durable = l->last;
    return l->again_at < l->again_count || l->lost_from ||
           journal_tell(l->reader).seq <= durable;
}

bool lane_rereading(const struct lane *l)
{
    return l->again_at < l->again_count;
}

/* What is listed is read again whatever waits for retries: it is older. */
static bool full(const struct lane *l)
{
    return l->open_count >= LANE_PENDING_MAX ||
           l->outcomes.bytes.len >= OUTCOMES_MANY ||
           (!lane_rereading(l) &&
            l->aside_count + l->waiting >= LANE_RETRIES_MAX);
}

bool lane_ready(const struct lane *l)
{
    return !full(l) && lane_has_more(l);
}

unsigned lane_open_events(const struct lane *l)
{
    return l->open_count;
}

unsigned lane_aside_events(const struct lane *l)
{
    return l->aside_count;
}

struct counters *lane_counters(struct lane *l)
{
    return &l->counters;
}

int64_t lane_oldest_ms(const struct lane *l)
{
    int64_t oldest = INT64_MAX;

    for (int i = 0; i < 2; i++) {
        const struct lane_event *head = i ? &l->aside : &l->open;

        for (const struct lane_event *ev = head->next; ev != head;
             ev = ev->next)
            if (ev->received_ms && ev->received_ms < oldest)
                oldest = ev->received_ms;
    }
    if (oldest == INT64_MAX && lane_has_more(l))
        oldest = l->last_ms;
    return oldest == INT64_MAX ? 0 : oldest;
}

/* ---- reading ---- */

static enum lane_take read_at(struct lane *l, struct journal_pos at,
                              struct journal_record *r, struct err *e)
{
    uint64_t from, to;

    journal_seek(l->rereader, at);
    switch (journal_next(l->rereader, 0, 1, r, &from, &to, e)) {
    case JOURNAL_RECORD:
        if (r->seq == at.seq)
            return LANE_EVENT;
        err_set(e, "the journal gave event %llu in place of %llu",
                (unsigned long long)r->seq, (unsigned long long)at.seq);
        return LANE_EMPTY;
    case JOURNAL_LOST:
        err_set(e, "the journal no longer holds event %llu: retention or "
                   "damage took it",
                (unsigned long long)at.seq);
        return LANE_EMPTY;
    case JOURNAL_END:
        err_set(e, "event %llu is past the journal's durable end",
                (unsigned long long)at.seq);
        return LANE_EMPTY;
    default:
        return LANE_BROKEN;
    }
}

void lane_keep_copy(struct lane_event *ev, mf_str text)
{
    free((char *)(uintptr_t)ev->copy.ptr);
    ev->copy = (mf_str){ xstrndup(text.ptr, text.len), text.len };
}

enum lane_take lane_reread(struct lane *l, const struct lane_event *ev,
                           struct journal_record *r, struct err *e)
{
    if (ev->copy.ptr) {
        *r = (struct journal_record){ .seq = ev->at.seq, .source = l->source,
                                      .received_ms = ev->received_ms,
                                      .payload = ev->copy };
        return LANE_EVENT;
    }
    return read_at(l, ev->at, r, e);
}

static void lose(struct lane *l, uint64_t from, uint64_t to, uint64_t n,
                 enum lost_reason why)
{
    if (n == 0)
        return;
    l->counters.dead += n;
    l->counters.lost += n;
    ledger_put_range(&l->outcomes, from, to, n, why);
}

/* Retention took what is older than the oldest kept, damage the rest. */
static enum lost_reason who_took(const struct lane *l, uint64_t to)
{
    return to < atomic_load(&l->head->first) ? LOST_RETENTION : LOST_DAMAGE;
}

/* How many of a stretch were the lane's own say the id files. */
static void count_lost(struct lane *l)
{
    uint64_t from = l->lost_from, to = l->lost_to, n;
    struct ids_count c = { 0 };
    struct err ignored;

    if (to - from >= LOSS_AT_ONCE)
        to = from + LOSS_AT_ONCE - 1;
    n = to - from + 1;
    if (!l->ids)
        l->ids = ids_reader_new(l->dir, l->head, &ignored);
    if (!l->ids ||
        ids_count(l->ids, l->source, from, to, &c, &ignored) != 0)
        c = (struct ids_count){ .unknown = n };
    l->counters.accepted += c.count + c.lost + c.unknown;
    lose(l, from, to, c.count, who_took(l, to));
    lose(l, from, to, c.lost, LOST_DAMAGE);
    lose(l, from, to, c.unknown, LOST_UNKNOWN);
    l->dirty = true;
    l->lost_from = to + 1;
    if (to < l->lost_to)
        return;
    l->lost_from = l->lost_to = 0;
    ids_reader_free(l->ids);
    l->ids = NULL;
}

static int64_t age_from(const struct lane *l, int64_t received_ms)
{
    return received_ms > l->since_ms ? received_ms : l->since_ms;
}

/* One of those listed as open before the restart. It was counted as accepted
 * when it was first read. */
static enum lane_take take_again(struct lane *l, struct lane_event **ev,
                                 struct journal_record *r, struct err *e)
{
    struct journal_pos at = l->again[l->again_at];
    enum lane_take got = read_at(l, at, r, e);

    if (got == LANE_BROKEN)
        return got;
    l->again_at++;
    l->dirty = true;
    if (got != LANE_EVENT) {
        lose(l, at.seq, at.seq, 1, who_took(l, at.seq));
        return LANE_MORE;
    }
    *ev = event_new(l, at, age_from(l, r->received_ms));
    put_open(*ev);
    return LANE_EVENT;
}

/* A replay passes what lies behind its end. */
static void stay_in_range(struct lane *l)
{
    if (journal_tell(l->reader).seq > l->last + 1 && l->last != UINT64_MAX)
        journal_seek(l->reader, (struct journal_pos){ l->last + 1, 0, 0 });
}

enum lane_take lane_take(struct lane *l, struct lane_event **ev,
                         struct journal_record *r, struct err *e)
{
    uint64_t from, to, before;

    if (full(l))
        return LANE_FULL;
    if (lane_rereading(l))
        return take_again(l, ev, r, e);
    if (l->lost_from) {
        count_lost(l);
        return LANE_MORE;
    }
    before = journal_tell(l->reader).seq;
    if (before > l->last)
        return LANE_EMPTY;
    switch (journal_next(l->reader, l->source, SCAN_AT_ONCE, r, &from, &to,
                         e)) {
    case JOURNAL_RECORD:
        l->dirty = true;
        if (r->seq > l->last) {
            stay_in_range(l);
            return LANE_EMPTY;
        }
        l->counters.accepted++;
        l->last_ms = age_from(l, r->received_ms);
        *ev = event_new(l, journal_last(l->reader), l->last_ms);
        put_open(*ev);
        return LANE_EVENT;
    case JOURNAL_LOST:
        l->lost_from = from;
        l->lost_to = to < l->last ? to : l->last;
        stay_in_range(l);
        count_lost(l);
        return LANE_MORE;
    case JOURNAL_END:
        stay_in_range(l);
        if (journal_tell(l->reader).seq != before)
            l->dirty = true;
        return lane_has_more(l) && journal_tell(l->reader).seq != before
                   ? LANE_MORE
                   : LANE_EMPTY;
    default:
        return LANE_BROKEN;
    }
}

/* ---- settling ---- */

void lane_begin(struct lane_event *ev, unsigned parts, uint8_t why)
{
    ev->parts = ev->total = (uint16_t)parts;
    if (parts)
        return;
    note_part(ev, 0, (uint8_t)(PART_FILTERED + why));
    place(ev);
}

void lane_settle(struct lane_event *ev, uint32_t key, uint8_t code)
{
    struct lane *l = ev->lane;

    ASSERT(ev->parts > ev->aside);
    ev->delivered |= code == PART_DELIVERED;
    if (code == PART_DELIVERED && l->receipts)
        receipts_put(l->receipts,
                     &(struct receipt){ l->mark, ev->at.seq, key });
    if (code >= PART_DEAD) {
        ev->dead = ev->died = true;
        ev->died_key = key;
    }
    note_part(ev, key, code);
    ev->parts--;
    place(ev);
}

void lane_set_aside(struct lane_event *ev)
{
    ASSERT(ev->parts > ev->aside);
    ev->aside++;
    place(ev);
}

void lane_resume(struct lane_event *ev)
{
    /* It stays in the ring of those set aside: state.db still knows it, so a
     * crash now loses nothing and it need not be listed. */
    ASSERT(ev->aside > 0);
    ev->aside--;
}

void lane_wait(struct lane_event *ev, int change)
{
    struct lane *l = ev->lane;

    ASSERT(change > 0 || l->waiting > 0);
    l->waiting += (unsigned)change;
}

struct lane_event *lane_restore(struct lane *l, struct journal_pos at,
                                bool dead)
{
    struct lane_event *ev = l->aside.prev; /* they come ordered by seq */

    if (ev == &l->aside || ev->at.seq != at.seq) {
        ev = event_new(l, at, l->since_ms);
        put_aside(ev);
    }
    ev->dead |= dead;
    ev->parts++;
    ev->aside++;
    return ev;
}

static struct lane_event *find(struct lane *l, uint64_t seq)
{
    for (int i = 0; i < 2; i++) {
        struct lane_event *head = i ? &l->aside : &l->open;

        for (struct lane_event *ev = head->next; ev != head; ev = ev->next)
            if (ev->at.seq == seq)
                return ev;
    }
    return NULL;
}

struct lane_event *lane_revive(struct lane *l, struct journal_pos at,
                               uint32_t key, bool dead)
{
    struct lane_event *ev = find(l, at.seq);

    if (!ev) {
        ev = event_new(l, at, l->since_ms);
        put_open(ev);
        note_part(ev, key, PART_REOPENED);
        tell(ev, LEDGER_REOPENED);
        l->counters.dead--;
    }
    /* One that died just now may be a letter that is not known yet. */
    ev->dead = dead || (ev->dead && ev->died && ev->died_key != key);
    ev->parts++;
    place(ev);
    return ev;
}

void lane_begin_whole(struct lane_event *ev, unsigned parts, uint8_t why)
{
    ASSERT(ev->parts > ev->aside);
    if (parts == 0)
        note_part(ev, 0, (uint8_t)(PART_FILTERED + why));
    ev->parts = ev->total = (uint16_t)(ev->parts - 1 + parts);
    place(ev);
}

/* ---- reporting ---- */

bool lane_dirty(const struct lane *l)
{
    return l->dirty;
}

void lane_report(struct lane *l, struct buf *to)
{
    struct msg_lane_state m = { .lane = l->id,
                                .next = journal_tell(l->reader),
                                .counters = l->counters };
    uint32_t left = l->again_count - l->again_at;

    m.pending_count = l->open_count + left;
    if (l->lost_from) /* not counted yet */
        m.next = (struct journal_pos){ l->lost_from, 0, 0 };
    m.outcome_bytes = (uint32_t)l->outcomes.bytes.len;
    ASSERT(!l->outcomes.bytes.full);
    buf_add(to, &m, sizeof m);
    for (struct lane_event *ev = l->open.next; ev != &l->open; ev = ev->next)
        buf_add(to, &ev->at, sizeof ev->at);
    if (left)
        buf_add(to, l->again + l->again_at, left * sizeof *l->again);
    buf_str(to, buf_view(&l->outcomes.bytes));
    ledger_begin(&l->outcomes, 0);
    l->dirty = false;
    l->reported_ms = clock_mono_ms();
}

int64_t lane_report_ms(const struct lane *l)
{
    if (l->outcomes.bytes.len >= OUTCOMES_MANY / 2)
        return 0;
    return l->reported_ms + l->open_count / REPORT_EVENTS_MS;
}
