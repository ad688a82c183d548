/* SPDX-License-Identifier: Apache-2.0
 *
 * replays.c - see replays.h. */
#include "state/replays.h"

#include "state/inner.h"

#define I(v) ((int64_t)(v))

int state_replay_put(struct state *s, struct state_replay *r, struct err *e)
{
    if (r->id)
        return query_run(s, e,
                         "UPDATE replay SET ended = ?2, stopped = ?3"
                         " WHERE id = ?1",
                         "iii", I(r->id), r->ended_ms, I(r->stopped));
    if (query_run(s, e,
                  "INSERT INTO replay VALUES(NULL, ?1, ?2, ?3, ?4, ?5, ?6, ?7,"
                  " ?8, ?9, ?10)",
                  "ssdiiiiiii", &r->destination, &r->where, r->rate,
                  r->from_ms, r->until_ms, I(r->first), I(r->last),
                  r->begun_ms, r->ended_ms, I(r->stopped)) != 0)
        return -1;
    r->id = (uint32_t)sqlite3_last_insert_rowid(state_db(s));
    return 0;
}

int state_replays(struct state *s,
                  void (*each)(void *arg, const struct state_replay *r),
                  void *arg, struct err *e)
{
    struct query q;

    if (query_begin(&q, s,
                    "SELECT id, destination, filter, rate, from_ms, until_ms,"
                    " first, last, begun, ended, stopped FROM replay"
                    " ORDER BY id",
                    e, "") != 0)
        return -1;
    while (query_next(&q)) {
        struct state_replay r = {
            .id = (uint32_t)query_int(&q, 0),
            .destination = query_text(&q, 1),
            .where = query_text(&q, 2),
            .rate = sqlite3_column_double(q.q, 3),
            .from_ms = query_int(&q, 4),
            .until_ms = query_int(&q, 5),
            .first = (uint64_t)query_int(&q, 6),
            .last = (uint64_t)query_int(&q, 7),
            .begun_ms = query_int(&q, 8),
            .ended_ms = query_int(&q, 9),
            .stopped = (enum replay_stop)query_int(&q, 10),
        };

        each(arg, &r);
    }
    return query_end(&q, e);
}

int state_replay_forget(struct state *s, uint32_t id, struct err *e)
{
    if (query_run(s, e,
                  "DELETE FROM retry WHERE lane IN"
                  " (SELECT id FROM lane WHERE replay = ?1)",
                  "i", I(id)) != 0 ||
        query_run(s, e,
                  "DELETE FROM dead WHERE lane IN"
                  " (SELECT id FROM lane WHERE replay = ?1)",
                  "i", I(id)) != 0 ||
        query_run(s, e,
                  "DELETE FROM dead_range WHERE lane IN"
                  " (SELECT id FROM lane WHERE replay = ?1)",
                  "i", I(id)) != 0 ||
        query_run(s, e, "DELETE FROM lane WHERE replay = ?1", "i",
                  I(id)) != 0)
        return -1;
    return query_run(s, e, "DELETE FROM replay WHERE id = ?1", "i", I(id));
}
