/* SPDX-License-Identifier: Apache-2.0
 *
 * audit.c - see audit.h.
 *
 * For each stretch of sequence numbers the log is read and a bit set for each
 * event that ended (and cleared where it was opened again); then the journal
 * is read, and each event of it takes its bit away. Bits that stay are of
 * events that are none. */
#include "books/audit.h"

#include "base/mem.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LOST_MAX 4096 /* stretches lost of a lane that are kept apart */
#define STRETCH_LEAST 64 /* numbers that are looked at at a time */

struct stretch {
    uint64_t from, to;
};

struct look { /* at one lane */
    const struct books_lane *lane;
    struct audit_lane *to;
    uint64_t *bits; /* of [w->from, w->to] */
    size_t open_at; /* of lane->open, the next to be met */
    struct stretch *lost; /* what the log says retention or damage took */
    size_t lost_count;
};

struct work {
    struct books *b;
    struct audit *a;
    struct look *looks; /* by source, id */
    size_t *by_source;  /* index of the first, SIZE_MAX: none */
    size_t *by_lane;    /* index of that of b->lanes[i] */
    uint32_t sources;
    uint64_t from, to; /* the stretch at hand */
    size_t bitmap_bytes;
    bool sums_done;
};

__attribute__((format(printf, 4, 5)))
static void fault(struct work *w, struct look *l, uint64_t seq,
                  const char *format, ...)
{
    const struct books_lane *lane = l ? l->lane : NULL;
    struct audit_fault *f;
    unsigned same = 0;
    va_list ap;

    w->a->difference++;
    if (l)
        l->to->faults++;
    for (size_t i = 0; i < w->a->fault_count; i++)
        same += w->a->faults[i].lane == lane &&
                w->a->faults[i].kind == format;
    if (w->a->fault_count == AUDIT_FAULTS_MAX || same == AUDIT_FAULTS_ALIKE)
        return;
    f = &w->a->faults[w->a->fault_count++];
    f->lane = lane;
    f->kind = format;
    f->seq = seq;
    va_start(ap, format);
    vsnprintf(f->text, sizeof f->text, format, ap);
    va_end(ap);
}

/* ---- lanes ---- */

static int by_source(const void *a, const void *b)
{
    const struct look *x = a, *y = b;

    if (x->lane->source != y->lane->source)
        return x->lane->source < y->lane->source ? -1 : 1;
    return (x->lane->id > y->lane->id) - (x->lane->id < y->lane->id);
}

static void make_looks(struct work *w)
{
    size_t n = w->b->lane_count;

    w->looks = xcalloc(n + 1, sizeof *w->looks);
    w->a->lanes = xcalloc(n + 1, sizeof *w->a->lanes);
    w->a->lane_count = n;
    for (size_t i = 0; i < n; i++) {
        w->a->lanes[i].lane = w->looks[i].lane = &w->b->lanes[i];
        w->looks[i].to = &w->a->lanes[i];
        if (w->b->lanes[i].source >= w->sources)
            w->sources = w->b->lanes[i].source + 1;
    }
    if (n)
        qsort(w->looks, n, sizeof *w->looks, by_source);
    w->by_source = xmalloc((w->sources + 1) * sizeof *w->by_source);
    for (uint32_t i = 0; i <= w->sources; i++)
        w->by_source[i] = SIZE_MAX;
    w->by_lane = xmalloc((n + 1) * sizeof *w->by_lane);
    for (size_t i = n; i-- > 0;) {
        w->by_source[w->looks[i].lane->source] = i;
        w->by_lane[w->looks[i].lane - w->b->lanes] = i;
    }
}

static struct look *look_at(struct work *w, uint32_t lane)
{
    const struct books_lane *l = books_lane(w->b, lane);

    return l ? &w->looks[w->by_lane[l - w->b->lanes]] : NULL;
}

/* ---- the log ---- */

static void note_lost(struct look *l, const struct ledger_entry *o)
{
    if (l->lost_count && l->lost[l->lost_count - 1].to + 1 == o->from) {
        l->lost[l->lost_count - 1].to = o->to;
        return;
    }
    if (l->lost_count == LOST_MAX)
        return;
    if (!l->lost)
        l->lost = xcalloc(LOST_MAX, sizeof *l->lost);
    l->lost[l->lost_count++] = (struct stretch){ o->from, o->to };
}

static bool is_lost(const struct look *l, uint64_t seq)
{
    for (size_t i = 0; i < l->lost_count; i++)
        if (seq >= l->lost[i].from && seq <= l->lost[i].to)
            return true;
    return false;
}

/* What can be said of a record without the journal; once, not a stretch. */
static void check_record(struct work *w, struct look *l,
                         const struct ledger_entry *o)
{
    ledger_add(&l->to->logged, o);
    if (o->is_range)
        note_lost(l, o);
    if (o->to >= l->lane->next)
        fault(w, l, o->to, "it ended, says the log, and the lane has not read "
                           "it: its cursor stands at %" PRIu64,
              l->lane->next);
    if (o->from < l->lane->start)
        fault(w, l, o->from, "it ended, says the log, and the lane begins "
                             "only at %" PRIu64,
              l->lane->start);
}

static void mark(struct work *w, struct look *l, const struct ledger_entry *o)
{
    uint64_t at, *word, bit;

    if (o->is_range || o->class == LEDGER_PARTIAL || o->from < w->from ||
        o->from > w->to || o->from >= l->lane->next)
        return;
    at = o->from - w->from;
    word = &l->bits[at / 64];
    bit = 1ull << at % 64;
    if (o->class == LEDGER_REOPENED) {
        if (!(*word & bit))
            fault(w, l, o->from, "it was opened again and had not ended");
        *word &= ~bit;
        return;
    }
    if (*word & bit)
        fault(w, l, o->from, "it ended twice, says the log");
    *word |= bit;
}

static void read_block(struct work *w, const struct ledger_segment *g,
                       const struct ledger_block *b)
{
    struct look *l = look_at(w, b->lane);
    struct ledger_reader r;
    struct ledger_entry o;
    uint32_t n = 0;
    int rc;

    if (!l) /* the lane was given up and its records live on */
        return;
    ledger_read(&r, b->stream, b->prev);
    while ((rc = ledger_next(&r, &o)) > 0) {
        n++;
        if (!w->sums_done)
            check_record(w, l, &o);
        mark(w, l, &o);
    }
    if (!w->sums_done && (rc < 0 || n != b->count))
        fault(w, l, 0, "outcomes/%010" PRIu64 ".log, byte %zu: a block whose "
                       "records cannot be read",
              g->n, b->at);
}

static bool same_sums(const struct ledger_sums *a, const struct ledger_sums *b)
{
    return a->delivered == b->delivered && a->filtered == b->filtered &&
           a->dead == b->dead && a->lost == b->lost;
}

/* The counters were kept when the segment began: up to there the log must
 * agree. Where it does not, what follows is counted from there, so that each
 * difference is told where it is. */
static void check_base(struct work *w, const struct ledger_segment *g,
                       bool oldest)
{
    for (size_t i = 0; i < w->b->lane_count; i++) {
        struct look *l = &w->looks[i];
        const struct books_base *b = books_base(w->b, g->n, l->lane->id);
        struct ledger_sums none = { 0 };
        const struct ledger_sums *base = b ? &b->sums : &none;

        if (!oldest && !b && l->to->logged.delivered +
                                     l->to->logged.filtered +
                                     l->to->logged.dead == 0)
            continue;
        if (!oldest && !same_sums(base, &l->to->logged))
            fault(w, l, 0, "the log of before outcomes/%010" PRIu64
                           ".log adds up to %" PRIu64 " delivered, %" PRIu64
                           " filtered, %" PRIu64 " dead; when that began the "
                           "counters said %" PRIu64 ", %" PRIu64 ", %" PRIu64,
                  g->n, l->to->logged.delivered, l->to->logged.filtered,
                  l->to->logged.dead, base->delivered, base->filtered,
                  base->dead);
        l->to->logged = *base;
    }
}

static void read_segment(struct work *w, size_t i)
{
    const struct ledger_segment *g = &w->b->segments[i];
    struct ledger_block b;
    char *bytes = NULL;
    size_t at = 0, was = 0;
    struct err e;
    int rc;

    if (!w->sums_done)
        check_base(w, g, i == 0);
    if (w->b->fds[i] < 0 || ledger_log_load(w->b->fds[i], g, &bytes, &e)) {
        if (w->b->fds[i] < 0)
            err_set(&e, "outcomes/%010" PRIu64 ".log is not there", g->n);
        if (!w->sums_done)
            fault(w, NULL, 0, "%s", e.text);
        return;
    }
    while ((rc = ledger_block_next((mf_str){ bytes, g->bytes }, &at, &b)) !=
           0) {
        if (rc > 0)
            read_block(w, g, &b);
        else if (!w->sums_done)
            fault(w, NULL, 0, "outcomes/%010" PRIu64 ".log, bytes %zu to %zu "
                              "are damaged",
                  g->n, was, at);
        was = at;
    }
    free(bytes);
}

static void check_counter(struct work *w, struct look *l, const char *name,
                          uint64_t says, uint64_t is)
{
    if (says != is)
        fault(w, l, 0, "its counter says %" PRIu64 " %s, the log %" PRIu64
                       ": %+" PRId64,
              says, name, is, (int64_t)(says - is));
}

static void check_counters(struct work *w, struct look *l)
{
    const struct counters *c = &l->lane->counters;
    uint64_t all = c->delivered + c->filtered + c->dead + l->lane->open_count;

    check_counter(w, l, "delivered", c->delivered, l->to->logged.delivered);
    check_counter(w, l, "filtered", c->filtered, l->to->logged.filtered);
    check_counter(w, l, "dead", c->dead, l->to->logged.dead);
    check_counter(w, l, "lost", c->lost, l->to->logged.lost);
    if (c->accepted != all)
        fault(w, l, 0, "it accepted %" PRIu64 ", and %" PRIu64 " delivered, %"
                       PRIu64 " filtered, %" PRIu64 " dead and %zu pending "
                       "are %" PRIu64 ": %+" PRId64,
              c->accepted, c->delivered, c->filtered, c->dead,
              l->lane->open_count, all, (int64_t)(c->accepted - all));
    for (size_t i = 0; i < l->lane->open_count; i++)
        if (l->lane->open[i] >= l->lane->next)
            fault(w, l, l->lane->open[i],
                  "it is listed as pending, and the lane has not read it: its "
                  "cursor stands at %" PRIu64,
                  l->lane->next);
}

static void read_log(struct work *w)
{
    for (size_t i = 0; i < w->b->segment_count; i++)
        read_segment(w, i);
    for (size_t i = 0; !w->sums_done && i < w->b->lane_count; i++)
        check_counters(w, &w->looks[i]);
    w->sums_done = true;
}

/* ---- the journal ---- */

static bool take_bit(const struct work *w, struct look *l, uint64_t seq)
{
    uint64_t at = seq - w->from, bit = 1ull << at % 64;
    bool was = (l->bits[at / 64] & bit) != 0;

    l->bits[at / 64] &= ~bit;
    return was;
}

/* Up to `seq` nothing of the lane's was met: what it lists there is none. */
static void pass_open(struct work *w, struct look *l, uint64_t seq)
{
    const struct books_lane *n = l->lane;

    for (; l->open_at < n->open_count && n->open[l->open_at] < seq;
         l->open_at++)
        if (n->open[l->open_at] >= w->from && n->open[l->open_at] < n->next)
            fault(w, l, n->open[l->open_at],
                  "it is listed as pending and is no event of source %s in "
                  "the journal",
                  n->source_name);
}

static void meet(struct work *w, struct look *l, uint64_t seq)
{
    const struct books_lane *n = l->lane;
    bool ended, open;

    if (seq < n->start || seq >= n->next)
        return;
    l->to->checked++;
    pass_open(w, l, seq);
    open = l->open_at < n->open_count && n->open[l->open_at] == seq;
    l->open_at += open;
    ended = take_bit(w, l, seq);
    if (ended && open)
        fault(w, l, seq, "it ended, says the log, and is listed as pending");
    else if (!ended && !open && !is_lost(l, seq))
        fault(w, l, seq, "the lane has read it, and it neither ended nor is "
                         "pending");
}

/* Says anything that the lane has read of these? */
static bool knows_of(const struct work *w, const struct look *l,
                     uint64_t from, uint64_t to)
{
    for (uint64_t seq = from; seq <= to; seq++)
        if (is_lost(l, seq) ||
            (seq <= w->to && l->bits[(seq - w->from) / 64] >>
                                 (seq - w->from) % 64 & 1))
            return true;
    for (size_t i = l->open_at; i < l->lane->open_count; i++)
        if (l->lane->open[i] >= from && l->lane->open[i] <= to)
            return true;
    return false;
}

/* The journal ends before a cursor. Damage does not explain it where the lane
 * knows of nothing that it read there. */
static void check_end(struct work *w, uint64_t from)
{
    for (size_t i = 0; i < w->b->lane_count; i++) {
        struct look *l = &w->looks[i];
        uint64_t begin = from > l->lane->start ? from : l->lane->start;

        if (l->lane->next > begin &&
            !knows_of(w, l, begin, l->lane->next - 1))
            fault(w, l, begin, "the lane has read it, says its cursor, and "
                               "the journal ends before it");
    }
}

/* Nothing can be said of these events. */
static void pass(struct work *w, uint64_t from, uint64_t to)
{
    if (to > w->to)
        to = w->to;
    for (size_t i = 0; i < w->b->lane_count; i++) {
        struct look *l = &w->looks[i];

        pass_open(w, l, from);
        while (l->open_at < l->lane->open_count &&
               l->lane->open[l->open_at] <= to)
            l->open_at++;
        for (uint64_t seq = from; seq <= to; seq++)
            take_bit(w, l, seq);
    }
}

/* What cannot be read was taken by retention while the audit ran, or it is
 * damage. */
static void pass_lost(struct work *w, uint64_t from, uint64_t to)
{
    uint64_t first;
    bool gone = books_first(w->b, &first) == 0 && first > to;

    if (!gone && to >= w->a->last)
        check_end(w, from);
    pass(w, from, to);
    if (!gone)
        w->a->unreadable += to - from + 1;
}

/* The file that was being read may have been taken away. */
static int after_error(struct work *w, struct journal_reader *r)
{
    uint64_t seq = journal_tell(r).seq, first;

    if (books_first(w->b, &first) != 0 || first <= seq)
        return -1;
    pass(w, seq, first - 1);
    journal_seek(r, (struct journal_pos){ first, 0, 0 });
    return 0;
}

static void meet_all(struct work *w, const struct journal_record *rec)
{
    size_t i = rec->source < w->sources ? w->by_source[rec->source]
                                        : SIZE_MAX;

    w->a->events++;
    for (; i < w->b->lane_count && w->looks[i].lane->source == rec->source;
         i++)
        meet(w, &w->looks[i], rec->seq);
}

static int read_journal(struct work *w, struct journal_reader *r,
                        struct err *e)
{
    uint64_t from, to, at = journal_tell(r).seq;
    struct journal_record rec;

    if (at > w->from) /* what was passed reaches into this stretch */
        pass(w, w->from, at - 1);
    while (journal_tell(r).seq <= w->to)
        switch (journal_next(r, 0, 0, &rec, &from, &to, e)) {
        case JOURNAL_RECORD:
            meet_all(w, &rec);
            break;
        case JOURNAL_LOST:
            pass_lost(w, from, to);
            break;
        case JOURNAL_END:
            return 0;
        default:
            if (after_error(w, r) != 0)
                return -1;
        }
    return 0;
}

/* Bits that no event took. */
static void check_left(struct work *w, struct look *l)
{
    size_t words = (size_t)((w->to - w->from) / 64 + 1);

    pass_open(w, l, w->to + 1);
    for (size_t i = 0; i < words; i++)
        for (uint64_t left = l->bits[i]; left; left &= left - 1)
            fault(w, l, w->from + 64 * i + (uint64_t)__builtin_ctzll(left),
                  "it ended, says the log, and is no event of source %s in "
                  "the journal",
                  l->lane->source_name);
}

/* ---- all of it ---- */

static int one_stretch(struct work *w, struct journal_reader *r,
                       struct err *e)
{
    size_t words = (size_t)((w->to - w->from) / 64 + 1);

    for (size_t i = 0; i < w->b->lane_count; i++)
        memset(w->looks[i].bits, 0, words * sizeof(uint64_t));
    read_log(w);
    if (read_journal(w, r, e) != 0)
        return -1;
    for (size_t i = 0; i < w->b->lane_count; i++)
        check_left(w, &w->looks[i]);
    return 0;
}

static int run(struct work *w, struct err *e)
{
    uint64_t first = atomic_load(&w->b->head.first);
    uint64_t last = atomic_load(&w->b->head.durable);
    uint64_t room = w->bitmap_bytes / (w->b->lane_count + 1) * 8, n;
    struct journal_reader *r;
    int rc = 0;

    if (first == 0 || first > last) { /* nothing of it is in the journal */
        w->from = w->to = 0;
        read_log(w);
        return 0;
    }
    w->a->first = first;
    w->a->last = last;
    if (room < STRETCH_LEAST)
        room = STRETCH_LEAST;
    n = last - first + 1 < room ? last - first + 1 : room;
    for (size_t i = 0; i < w->b->lane_count; i++) {
        w->looks[i].bits = xcalloc(n / 64 + 1, sizeof(uint64_t));
        w->from = first;
        while (w->looks[i].open_at < w->looks[i].lane->open_count &&
               w->looks[i].lane->open[w->looks[i].open_at] < first)
            w->looks[i].open_at++;
    }
    r = journal_reader_new(w->b->journal, &w->b->head);
    journal_seek(r, (struct journal_pos){ first, 0, 0 });
    for (w->from = first; rc == 0 && w->from <= last; w->from = w->to + 1) {
        w->to = last - w->from < n ? last : w->from + n - 1;
        rc = one_stretch(w, r, e);
    }
    journal_reader_free(r);
    return rc;
}

int audit_run(struct books *b, size_t bitmap_bytes, struct audit *a,
              struct err *e)
{
    struct work w = { .b = b, .a = a, .bitmap_bytes = bitmap_bytes };
    int rc;

    memset(a, 0, sizeof *a);
    make_looks(&w);
    rc = run(&w, e);
    for (size_t i = 0; i < b->lane_count; i++) {
        free(w.looks[i].bits);
        free(w.looks[i].lost);
    }
    free(w.looks);
    free(w.by_source);
    free(w.by_lane);
    return rc;
}

void audit_deinit(struct audit *a)
{
    free(a->lanes);
    a->lanes = NULL;
}
