/* SPDX-License-Identifier: Apache-2.0
 *
 * destinations.c - what state.db keeps of a destination as a whole: its
 * tokens, whether it is paused, what is left of its rate. See state.h. */
#include "state/state.h"

#include "state/inner.h"

#include <stdio.h>

#define MILLION 1e6
#define I(v)    ((int64_t)(v))

int state_token_put(struct state *s, mf_str destination, mf_str origin,
                    mf_str tokens, int64_t expires_ms, struct err *e)
{
    if (tokens.len == 0)
        return query_run(s, e, "DELETE FROM token WHERE destination = ?1", "s",
                         &destination);
    return query_run(s, e,
                     "INSERT OR REPLACE INTO token VALUES(?1, ?2, ?3, ?4)",
                     "sssi", &destination, &origin, &tokens, expires_ms);
}

int state_tokens(struct state *s,
                 void (*each)(void *arg, mf_str destination, mf_str origin,
                              mf_str tokens, int64_t expires_ms),
                 void *arg, struct err *e)
{
    struct query q;

    if (query_begin(&q, s, "SELECT * FROM token", e, "") != 0)
        return -1;
    while (query_next(&q))
        each(arg, query_text(&q, 0), query_text(&q, 1), query_text(&q, 2),
             query_int(&q, 3));
    return query_end(&q, e);
}

int state_pause(struct state *s, const char *destination, bool on,
                const char *why, struct err *e)
{
    mf_str name = mf_cstr(destination), text = mf_cstr(why ? why : "");

    if (!on)
        return query_run(s, e, "DELETE FROM paused WHERE destination = ?1",
                         "s", &name);
    return query_run(s, e, "INSERT OR REPLACE INTO paused VALUES(?1, ?2)",
                     "ss", &name, &text);
}

bool state_paused(struct state *s, const char *destination, char *why,
                  size_t size)
{
    mf_str name = mf_cstr(destination);
    struct query q;
    struct err e;
    bool found;

    *why = 0;
    if (query_begin(&q, s, "SELECT why FROM paused WHERE destination = ?1", &e,
                    "s", &name) != 0)
        return false;
    found = query_next(&q);
    if (found)
        snprintf(why, size, "%.*s", (int)query_text(&q, 0).len,
                 query_text(&q, 0).ptr);
    query_end(&q, &e);
    return found;
}

int state_pace_put(struct state *s, const char *destination,
                   const struct state_pace *p, struct err *e)
{
    mf_str name = mf_cstr(destination);

    return query_run(s, e,
                     "INSERT OR REPLACE INTO pace VALUES(?1, ?2, ?3, ?4)",
                     "siii", &name, I(p->tokens * MILLION), p->at_ms,
                     I(p->out));
}

bool state_pace(struct state *s, const char *destination,
                struct state_pace *p)
{
    mf_str name = mf_cstr(destination);
    struct query q;
    struct err e;
    bool found;

    if (query_begin(&q, s,
                    "SELECT tokens, at, out FROM pace WHERE destination = ?1",
                    &e, "s", &name) != 0)
        return false;
    found = query_next(&q);
    if (found)
        *p = (struct state_pace){ (double)query_int(&q, 0) / MILLION,
                                  query_int(&q, 1), query_int(&q, 2) != 0 };
    query_end(&q, &e);
    return found;
}
