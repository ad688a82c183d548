/* SPDX-License-Identifier: Apache-2.0
 *
 * letters.c - see letters.h. The texts of a letter stand in a table of their
 * own, so that looking for letters reads some 200 bytes of each. */
#include "state/letters.h"

#include "base/clock.h"
#include "base/mem.h"
#include "state/inner.h"

#include <stdlib.h>
#include <string.h>

#define I(v) ((int64_t)(v))

/* ---- adding ---- */

/* What the retry of the part had kept of the event, owned; NULL if nothing. */
static char *kept_event(struct state *s, const struct msg_retry_key *k)
{
    struct query q;
    struct err e;
    char *text = NULL;

    if (query_begin(&q, s,
                    "SELECT event FROM retry WHERE lane = ?1 AND seq = ?2"
                    " AND subscription = ?3 AND event <> ''",
                    &e, "iii", I(k->lane), I(k->seq),
                    I(k->subscription)) != 0)
        return NULL;
    if (query_next(&q)) {
        mf_str t = query_text(&q, 0);

        text = xstrndup(t.ptr, t.len);
    }
    query_end(&q, &e);
    return text;
}

int state_dead_add(struct state *s, const struct dead_letter *d, struct err *e)
{
    const struct msg_retry_key *k = &d->m.key;
    mf_str event = d->event;
    char *kept = event.len ? NULL : kept_event(s, k);
    int rc = -1;

    if (kept)
        event = mf_cstr(kept);
    if (query_run(s, e,
                  "DELETE FROM dead WHERE lane = ?1 AND seq = ?2"
                  " AND subscription = ?3",
                  "iii", I(k->lane), I(k->seq), I(k->subscription)) == 0 &&
        query_run(s, e,
                  "INSERT INTO dead VALUES(NULL, ?1, ?2, ?3, ?4, ?5, ?6, ?7,"
                  " ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19)",
                  "siiiiiiiiiiiissssss", &d->destination, I(k->lane),
                  I(k->seq), I(k->subscription), I(d->source),
                  I(d->m.at.segment), I(d->m.at.offset), d->m.first_ms,
                  d->m.when_ms, I(d->m.attempts), I(d->m.reason),
                  I(d->m.status),
                  I(event.len + d->request.len + d->response.len), &d->error,
                  &d->action, &d->message_id, &d->name, &d->version,
                  &d->hash) == 0 &&
        query_run(s, e,
                  "INSERT INTO dead_text VALUES(last_insert_rowid(), ?1, ?2,"
                  " ?3)",
                  "sss", &event, &d->request, &d->response) == 0)
        /* Its other parts may wait already; whichever ends last must know. */
        rc = state_retry_mark(s, k->lane, k->seq, true, e);
    free(kept);
    return rc;
}

/* ---- looking ---- */

#define LETTER_COLUMNS                                                         \
    "d.id, d.lane, d.seq, d.subscription, d.segment, d.offset, d.first, d.at," \
    " d.attempts, d.reason, d.status, d.source, d.error, d.action,"            \
    " d.message_id, d.name, d.version, d.hash, d.destination"

static void read_letter(const struct query *q, struct dead_letter *d)
{
    *d = (struct dead_letter){ .id = query_int(q, 0) };
    d->m.key.lane = (uint32_t)query_int(q, 1);
    d->m.key.seq = (uint64_t)query_int(q, 2);
    d->m.key.subscription = (uint32_t)query_int(q, 3);
    d->m.at.seq = d->m.key.seq;
    d->m.at.segment = (uint64_t)query_int(q, 4);
    d->m.at.offset = (uint64_t)query_int(q, 5);
    d->m.first_ms = query_int(q, 6);
    d->m.when_ms = query_int(q, 7);
    d->m.attempts = (uint32_t)query_int(q, 8);
    d->m.reason = (uint32_t)query_int(q, 9);
    d->m.status = (int32_t)query_int(q, 10);
    d->source = (uint32_t)query_int(q, 11);
    d->error = query_text(q, 12);
    d->action = query_text(q, 13);
    d->message_id = query_text(q, 14);
    d->name = query_text(q, 15);
    d->version = query_text(q, 16);
    d->hash = query_text(q, 17);
    d->destination = query_text(q, 18);
}

static bool same(mf_str want, mf_str is)
{
    return want.len == 0 || mf_eq(want, is);
}

static bool matches(const struct letter_filter *f, const struct dead_letter *d)
{
    return (f->id == 0 || f->id == d->id) &&
           d->m.when_ms >= f->since_ms &&
           (f->until_ms == 0 || d->m.when_ms < f->until_ms) &&
           (f->reasons == 0 || (f->reasons >> d->m.reason & 1)) &&
           (!f->by_status || f->status == d->m.status) &&
           (f->source == 0 || f->source == d->source) &&
           same(f->action, d->action) && same(f->message_id, d->message_id) &&
           same(f->name, d->name);
}

static int add_texts(struct state *s, struct dead_letter *d, struct query *q,
                     struct err *e)
{
    if (query_begin(q, s,
                    "SELECT event, request, response FROM dead_text"
                    " WHERE id = ?1",
                    e, "i", d->id) != 0)
        return -1;
    if (query_next(q)) {
        d->event = query_text(q, 0);
        d->request = query_text(q, 1);
        d->response = query_text(q, 2);
    }
    return 0;
}

/* True: the page goes on. */
static bool give(struct state *s, const struct letter_query *want,
                 struct dead_letter *d, letter_fn *fn, void *arg, int *rc,
                 struct err *e)
{
    struct query texts;
    bool on;

    if (!want->texts)
        return fn(arg, d);
    *rc = add_texts(s, d, &texts, e);
    if (*rc != 0)
        return false;
    on = fn(arg, d);
    *rc = query_end(&texts, e);
    return on && *rc == 0;
}

int state_letters(struct state *s, const struct letter_query *want,
                  letter_fn *fn, void *arg, int64_t *next, struct err *e)
{
    mf_str destination = mf_cstr(want->destination);
    int64_t from = want->after, to = INT64_MAX;
    unsigned given = 0, seen = 0;
    bool on = true;
    struct query q;
    int rc = 0;

    *next = 0;
    if (want->newest_first) {
        to = from ? from - 1 : INT64_MAX;
        from = 0;
    } else if (want->last) {
        to = want->last;
    }
    if (want->filter.id) { /* at once where it stands */
        from = from < want->filter.id ? want->filter.id - 1 : from;
        to = to > want->filter.id ? want->filter.id : to;
    }
    if (query_begin(&q, s,
                    want->newest_first
                        ? "SELECT " LETTER_COLUMNS " FROM dead d WHERE"
                          " destination = ?1 AND id > ?2 AND id <= ?3"
                          " ORDER BY id DESC"
                        : "SELECT " LETTER_COLUMNS " FROM dead d WHERE"
                          " destination = ?1 AND id > ?2 AND id <= ?3"
                          " ORDER BY id",
                    e, "sii", &destination, from, to) != 0)
        return -1;
    while (on && query_next(&q)) {
        struct dead_letter d;

        read_letter(&q, &d);
        if (matches(&want->filter, &d)) {
            on = give(s, want, &d, fn, arg, &rc, e) && ++given < want->limit;
        }
        on = on && ++seen < want->scan;
        if (!on)
            *next = d.id;
    }
    if (query_end(&q, e) != 0)
        return -1;
    return rc;
}

int64_t state_letter_last(struct state *s)
{
    return query_one(s, 0, "SELECT max(id) FROM dead", "");
}

void state_letter_sums(struct state *s, const char *destination,
                       int64_t *count, int64_t *bytes)
{
    mf_str name = mf_cstr(destination);

    *count = query_one(s, 0,
                       "SELECT sum(letters) FROM lane WHERE destination = ?1",
                       "s", &name);
    *bytes = query_one(s, 0,
                       "SELECT sum(letter_bytes) FROM lane"
                       " WHERE destination = ?1",
                       "s", &name);
}

int64_t state_lane_letters(struct state *s, uint32_t lane)
{
    return query_one(s, 0, "SELECT letters FROM lane WHERE id = ?1", "i",
                     I(lane));
}

unsigned state_letters_of(struct state *s, uint32_t lane, uint64_t seq)
{
    return (unsigned)query_one(s, 0,
                               "SELECT count(*) FROM dead WHERE lane = ?1"
                               " AND seq = ?2",
                               "ii", I(lane), I(seq));
}

/* ---- dropping ---- */

int state_letter_drop(struct state *s, int64_t id, enum letter_drop why,
                      struct err *e)
{
    if (query_run(s, e,
                  "INSERT INTO dead_dropped SELECT destination, ?2, 1, at, at"
                  " FROM dead WHERE id = ?1 ON CONFLICT DO UPDATE SET"
                  " count = count + 1, first = min(first, excluded.first),"
                  " last = max(last, excluded.last)",
                  "ii", id, I(why)) != 0)
        return -1;
    return query_run(s, e, "DELETE FROM dead WHERE id = ?1", "i", id);
}

struct dropped_range state_letter_dropped(struct state *s,
                                          const char *destination,
                                          enum letter_drop why)
{
    struct dropped_range r = { 0, 0, 0 };
    mf_str name = mf_cstr(destination);
    struct query q;
    struct err e;

    if (query_begin(&q, s,
                    "SELECT count, first, last FROM dead_dropped"
                    " WHERE destination = ?1 AND why = ?2",
                    &e, "si", &name, I(why)) != 0)
        return r;
    if (query_next(&q))
        r = (struct dropped_range){ query_int(&q, 0), query_int(&q, 1),
                                    query_int(&q, 2) };
    query_end(&q, &e);
    return r;
}

static int drop_oldest(struct state *s, mf_str destination, int64_t before_ms,
                       unsigned most, unsigned *done, struct err *e)
{
    int64_t *ids = xcalloc(most + 1, sizeof *ids);
    struct query q;
    unsigned n = 0;
    int rc;

    rc = query_begin(&q, s,
                     "SELECT id, at FROM dead WHERE destination = ?1"
                     " ORDER BY id LIMIT ?2",
                     e, "si", &destination, I(most));
    if (rc == 0) {
        while (query_next(&q) && query_int(&q, 1) < before_ms)
            ids[n++] = query_int(&q, 0);
        rc = query_end(&q, e);
    }
    for (unsigned i = 0; i < n && rc == 0; i++)
        rc = state_letter_drop(s, ids[i], DROPPED_LIMIT, e);
    free(ids);
    *done = n;
    return rc;
}

struct over {
    char *destination; /* owned */
    int64_t count, bytes, oldest;
};

/* The first destination that has too many; NULL text if none has. */
static int find_over(struct state *s, int64_t count_max, int64_t bytes_max,
                     int64_t before_ms, struct over *o, struct err *e)
{
    struct query q;

    o->destination = NULL;
    if (query_begin(&q, s,
                    "SELECT destination, sum(letters) AS n,"
                    " sum(letter_bytes) AS b, (SELECT at FROM dead d WHERE"
                    " d.destination = lane.destination ORDER BY id LIMIT 1)"
                    " AS oldest FROM lane GROUP BY destination"
                    " HAVING n > ?1 OR b > ?2 OR oldest < ?3 LIMIT 1",
                    e, "iii", count_max, bytes_max, before_ms) != 0)
        return -1;
    if (query_next(&q)) {
        mf_str name = query_text(&q, 0);

        o->destination = xstrndup(name.ptr, name.len);
        o->count = query_int(&q, 1);
        o->bytes = query_int(&q, 2);
    }
    return query_end(&q, e);
}

int state_letters_trim(struct state *s, int64_t count_max, int64_t bytes_max,
                       int64_t before_ms, unsigned slice, bool *more,
                       struct err *e)
{
    struct over o;
    unsigned most = slice, done = 0;
    bool by_age;
    int rc;

    *more = false;
    if (find_over(s, count_max, bytes_max, before_ms, &o, e) != 0)
        return -1;
    if (!o.destination)
        return 0;
    by_age = o.count <= count_max && o.bytes <= bytes_max;
    if (o.count > count_max && o.count - count_max < most)
        most = (unsigned)(o.count - count_max);
    if (!by_age && o.count <= count_max && o.count) {
        /* By bytes: as many as are over by the mean size. */
        int64_t n = 1 + (o.bytes - bytes_max) / (o.bytes / o.count + 1);

        most = n < most ? (unsigned)n : most;
    }
    rc = drop_oldest(s, mf_cstr(o.destination), by_age ? before_ms : INT64_MAX,
                     most, &done, e);
    free(o.destination);
    *more = done > 0;
    return rc;
}

/* ---- reviving ---- */

#define RETRY_COLUMNS                                                          \
    "lane, seq, subscription, segment, offset, due, first, attempts,"         \
    " status, event_dead, error, since, event"

int state_letter_revive(struct state *s, const struct msg_revived *m,
                        struct err *e)
{
    const struct msg_retry_key *k = &m->key;

    if (query_run(s, e,
                  "INSERT OR REPLACE INTO retry(" RETRY_COLUMNS ")"
                  " SELECT lane, seq,"
                  " subscription, segment, offset, ?2, 0, 0, status, 0, error,"
                  " ?2, t.event FROM dead d"
                  " JOIN dead_text t ON t.id = d.id WHERE d.id = ?1",
                  "ii", m->letter, m->since_ms) != 0 ||
        query_run(s, e, "DELETE FROM dead WHERE id = ?1", "i",
                  m->letter) != 0 ||
        query_run(s, e,
                  "INSERT OR IGNORE INTO retry(" RETRY_COLUMNS ")"
                  " VALUES(?1, ?2, ?3, ?4, ?5, ?6, 0, 0, 0, 0, '', ?6, '')",
                  "iiiiii", I(k->lane), I(k->seq), I(k->subscription),
                  I(m->at.segment), I(m->at.offset), m->since_ms) != 0)
        return -1;
    return state_retry_mark(s, k->lane, k->seq,
                            state_letters_of(s, k->lane, k->seq) > 0, e);
}

static int by_number(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

int state_letters_forget(struct state *s, uint32_t lane,
                         const struct journal_pos *pending, uint32_t count,
                         struct err *e)
{
    uint64_t *seqs = xcalloc(count + 1, sizeof *seqs);
    int64_t *ids = xcalloc(count + 1, sizeof *ids);
    struct query q;
    uint32_t n = 0;
    int rc = 0;

    for (uint32_t i = 0; i < count; i++)
        seqs[i] = pending[i].seq;
    qsort(seqs, count, sizeof *seqs, by_number);
    if (count) {
        rc = query_begin(&q, s,
                         "SELECT id, seq FROM dead WHERE lane = ?1"
                         " AND seq BETWEEN ?2 AND ?3",
                         e, "iii", I(lane), I(seqs[0]), I(seqs[count - 1]));
        while (rc == 0 && n < count && query_next(&q)) {
            uint64_t seq = (uint64_t)query_int(&q, 1);

            if (bsearch(&seq, seqs, count, sizeof seq, by_number))
                ids[n++] = query_int(&q, 0);
        }
        if (rc == 0)
            rc = query_end(&q, e);
    }
    for (uint32_t i = 0; i < n && rc == 0; i++)
        rc = query_run(s, e, "DELETE FROM dead WHERE id = ?1", "i", ids[i]);
    free(seqs);
    free(ids);
    return rc;
}

/* ---- jobs ---- */

int state_letter_job_put(struct state *s, struct letter_job *j, struct err *e)
{
    if (j->id)
        return query_run(s, e,
                         "UPDATE dead_job SET cursor = ?2, count = ?3,"
                         " skipped = ?4, ended = ?5 WHERE id = ?1",
                         "iiiii", j->id, j->cursor, j->count, j->skipped,
                         j->ended_ms);
    if (query_run(s, e,
                  "INSERT INTO dead_job VALUES(NULL, ?1, ?2, ?3, ?4, ?5, ?6,"
                  " ?7, ?8, ?9)",
                  "sisiiiiii", &j->destination, I(j->verb), &j->filter,
                  j->begun_ms, j->cursor, j->last, j->count, j->skipped,
                  j->ended_ms) != 0)
        return -1;
    j->id = sqlite3_last_insert_rowid(state_db(s));
    return 0;
}

int state_letter_jobs(struct state *s,
                      void (*each)(void *arg, const struct letter_job *j),
                      void *arg, struct err *e)
{
    struct query q;

    if (query_begin(&q, s, "SELECT * FROM dead_job ORDER BY id", e, "") != 0)
        return -1;
    while (query_next(&q)) {
        struct letter_job j = { .id = query_int(&q, 0),
                                .destination = query_text(&q, 1),
                                .verb = (enum letter_verb)query_int(&q, 2),
                                .filter = query_text(&q, 3),
                                .begun_ms = query_int(&q, 4),
                                .cursor = query_int(&q, 5),
                                .last = query_int(&q, 6),
                                .count = query_int(&q, 7),
                                .skipped = query_int(&q, 8),
                                .ended_ms = query_int(&q, 9) };

        each(arg, &j);
    }
    return query_end(&q, e);
}

int state_letter_job_forget(struct state *s, int64_t id, struct err *e)
{
    return query_run(s, e, "DELETE FROM dead_job WHERE id = ?1", "i", id);
}

/* ---- lanes that are given up ---- */

int state_lane_forget(struct state *s, uint32_t lane, struct err *e)
{
    if (query_run(s, e, "DELETE FROM retry WHERE lane = ?1", "i",
                  I(lane)) != 0 ||
        query_run(s, e, "DELETE FROM dead WHERE lane = ?1", "i",
                  I(lane)) != 0)
        return -1;
    if (query_run(s, e, "DELETE FROM dead_range WHERE lane = ?1", "i",
                  I(lane)) != 0)
        return -1;
    return query_run(s, e, "DELETE FROM lane WHERE id = ?1", "i", I(lane));
}
