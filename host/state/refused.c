/* SPDX-License-Identifier: Apache-2.0
 *
 * refused.c - see refused.h. Triggers keep the sums of a source. */
#include "state/refused.h"

#include "base/mem.h"
#include "state/inner.h"

#include <stdlib.h>
#include <string.h>

#define I(v) ((int64_t)(v))

int state_refused_add(struct state *s, uint32_t source,
                      const struct refused_letter *l, struct err *e)
{
    int64_t bytes = I(l->envelope.len + l->event.len);

    return query_run(s, e,
                     "INSERT INTO ingest_dead VALUES(NULL, ?1, ?2, ?3, ?4,"
                     " ?5, ?6, ?7)",
                     "iississ", I(source), l->when_ms, &l->code,
                     &l->message_id, bytes, &l->envelope, &l->event);
}

/* ---- looking ---- */

static bool among(mf_str list, mf_str word)
{
    while (list.len) {
        const char *comma = memchr(list.ptr, ',', list.len);
        size_t n = comma ? (size_t)(comma - list.ptr) : list.len;

        if (mf_eq((mf_str){ list.ptr, n }, word))
            return true;
        n += comma != NULL;
        list.ptr += n;
        list.len -= n;
    }
    return false;
}

static bool matches(const struct refused_filter *f,
                    const struct refused_letter *l)
{
    return (f->id == 0 || f->id == l->id) && l->when_ms >= f->since_ms &&
           (f->until_ms == 0 || l->when_ms < f->until_ms) &&
           (f->codes.len == 0 || among(f->codes, l->code)) &&
           (f->message_id.len == 0 || mf_eq(f->message_id, l->message_id));
}

/* Columns behind the fourth are read only where they are asked for: they may
 * stand on many pages of their own. */
static void read_letter(const struct query *q, bool texts,
                        struct refused_letter *l)
{
    l->id = query_int(q, 0);
    l->when_ms = query_int(q, 1);
    l->code = query_text(q, 2);
    l->message_id = query_text(q, 3);
    l->envelope = texts ? query_text(q, 4) : (mf_str){ "", 0 };
    l->event = texts ? query_text(q, 5) : (mf_str){ "", 0 };
}

#define LOOK                                                     \
    "SELECT id, at, code, message_id, envelope, event"           \
    " FROM ingest_dead WHERE source = ?1 AND id > ?2 AND id <= ?3"

int state_refused(struct state *s, const struct refused_query *want,
                  refused_fn *fn, void *arg, int64_t *next, struct err *e)
{
    int64_t from = want->after, to = want->last ? want->last : INT64_MAX;
    unsigned given = 0, seen = 0;
    bool on = true;
    struct query q;

    *next = 0;
    if (want->newest_first) {
        to = from ? from - 1 : INT64_MAX;
        from = 0;
    }
    if (want->filter.id) { /* at once where it stands */
        from = from < want->filter.id ? want->filter.id - 1 : from;
        to = to > want->filter.id ? want->filter.id : to;
    }
    if (query_begin(&q, s,
                    want->newest_first ? LOOK " ORDER BY id DESC"
                                       : LOOK " ORDER BY id",
                    e, "iii", I(want->source), from, to) != 0)
        return -1;
    while (on && query_next(&q)) {
        struct refused_letter l;

        read_letter(&q, want->texts, &l);
        if (matches(&want->filter, &l))
            on = fn(arg, &l) && ++given < want->limit;
        on = on && ++seen < want->scan;
        if (!on)
            *next = l.id;
    }
    return query_end(&q, e);
}

int64_t state_refused_last(struct state *s)
{
    return query_one(s, 0, "SELECT max(id) FROM ingest_dead", "");
}

struct refused_sums state_refused_sums(struct state *s, uint32_t source)
{
    struct refused_sums sums = { 0, 0, 0 };
    struct query q;
    struct err e;

    if (query_begin(&q, s,
                    "SELECT letters, bytes, dropped FROM ingest_dead_sum"
                    " WHERE source = ?1",
                    &e, "i", I(source)) != 0)
        return sums;
    if (query_next(&q))
        sums = (struct refused_sums){ query_int(&q, 0), query_int(&q, 1),
                                      query_int(&q, 2) };
    query_end(&q, &e);
    return sums;
}

int state_refused_all(struct state *s,
                      void (*each)(void *arg, mf_str source,
                                   const struct refused_sums *sums),
                      void *arg, struct err *e)
{
    struct query q;

    if (query_begin(&q, s,
                    "SELECT s.name, d.letters, d.bytes, d.dropped"
                    " FROM ingest_dead_sum d JOIN source s ON s.id = d.source",
                    e, "") != 0)
        return -1;
    while (query_next(&q)) {
        struct refused_sums sums = { query_int(&q, 1), query_int(&q, 2),
                                     query_int(&q, 3) };

        each(arg, query_text(&q, 0), &sums);
    }
    return query_end(&q, e);
}

/* ---- changing ---- */

int state_refused_again(struct state *s, int64_t id, mf_str code,
                        struct err *e)
{
    return query_run(s, e, "UPDATE ingest_dead SET code = ?2 WHERE id = ?1",
                     "is", id, &code);
}

int state_refused_taken(struct state *s, int64_t id, struct err *e)
{
    return query_run(s, e, "DELETE FROM ingest_dead WHERE id = ?1", "i", id);
}

int state_refused_drop(struct state *s, int64_t id, struct err *e)
{
    if (query_run(s, e,
                  "UPDATE ingest_dead_sum SET dropped = dropped + 1 WHERE"
                  " source = (SELECT source FROM ingest_dead WHERE id = ?1)",
                  "i", id) != 0)
        return -1;
    return state_refused_taken(s, id, e);
}

/* ---- limits ---- */

struct over {
    int64_t source, letters, bytes; /* source 0: nobody */
};

static int find_over(struct state *s, int64_t count_max, int64_t bytes_max,
                     int64_t before_ms, struct over *o, struct err *e)
{
    struct query q;

    *o = (struct over){ 0, 0, 0 };
    if (query_begin(&q, s,
                    "SELECT source, letters, bytes FROM ingest_dead_sum s"
                    " WHERE letters > ?1 OR (bytes > ?2 AND letters > 0) OR"
                    " (SELECT at FROM ingest_dead d WHERE d.source = s.source"
                    " ORDER BY id LIMIT 1) < ?3 LIMIT 1",
                    e, "iii", count_max, bytes_max, before_ms) != 0)
        return -1;
    if (query_next(&q))
        *o = (struct over){ query_int(&q, 0), query_int(&q, 1),
                            query_int(&q, 2) };
    return query_end(&q, e);
}

struct oldest {
    int64_t *ids;
    unsigned count;
    int64_t letters, bytes; /* that are too many; both 0: by age */
    int64_t before_ms;
};

/* As many as are too many by count, by bytes, or by age. */
static int list_oldest(struct state *s, uint32_t source, struct oldest *o,
                       unsigned slice, struct err *e)
{
    bool by_age = o->letters <= 0 && o->bytes <= 0;
    struct query q;

    if (query_begin(&q, s,
                    "SELECT id, at, bytes FROM ingest_dead WHERE source = ?1"
                    " ORDER BY id LIMIT ?2",
                    e, "ii", I(source), I(slice)) != 0)
        return -1;
    while (query_next(&q)) {
        if (by_age ? query_int(&q, 1) >= o->before_ms
                   : o->letters <= 0 && o->bytes <= 0)
            break;
        o->letters--;
        o->bytes -= query_int(&q, 2);
        o->ids[o->count++] = query_int(&q, 0);
    }
    return query_end(&q, e);
}

int state_refused_trim(struct state *s, int64_t count_max, int64_t bytes_max,
                       int64_t before_ms, unsigned slice, bool *more,
                       struct err *e)
{
    struct oldest list = { .before_ms = before_ms };
    struct over o;
    int rc;

    *more = false;
    if (find_over(s, count_max, bytes_max, before_ms, &o, e) != 0)
        return -1;
    if (!o.source)
        return 0;
    list.ids = xcalloc(slice, sizeof *list.ids);
    list.letters = o.letters - count_max;
    list.bytes = o.bytes - bytes_max;
    rc = list_oldest(s, (uint32_t)o.source, &list, slice, e);
    for (unsigned i = 0; i < list.count && rc == 0; i++)
        rc = state_refused_drop(s, list.ids[i], e);
    *more = list.count > 0;
    free(list.ids);
    return rc;
}
