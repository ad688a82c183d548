/* SPDX-License-Identifier: Apache-2.0
 *
 * destination.c - see destination.h.
 *
 * The way of an event: take (from a lane, or a retry that is due) → select →
 * a *part* for each matching subscription → map → a *flight*, one call of the
 * plugin for one part, or for many where the action batches → requests out,
 * answers in → each part is settled by its own result. */
#include "delivery/destination.h"

#include "base/crc32c.h"
#include "base/log.h"
#include "delivery/inner.h"
#include "delivery/replay.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAP_ARENA_BYTES (8u << 20)

/* ---- small ones ---- */

uint64_t chance64(void)
{
    uint64_t v;

    random_bytes(&v, sizeof v);
    return v;
}

mf_str text_cut(mf_str s, size_t most)
{
    if (s.len > most)
        s.len = most;
    while (s.len && !utf8_valid(s.ptr, s.len) && s.len > most - 4)
        s.len--;
    return s;
}

void destination_note_error(struct destination *d, const char *what)
{
    snprintf(d->last_error, sizeof d->last_error, "%.*s",
             (int)sizeof d->last_error - 1, what);
    d->last_error_ms = clock_ms();
    d->changed = true;
}

/* A subscription must keep its retries over a reload that moves it in the
 * list, so it is named by what it says, not by where it stands. */
static uint32_t subscription_key(const struct instance *i, unsigned n)
{
    mf_str name = instance_subscription_name(i, n);

    return crc32c(0, name.ptr, name.len);
}

/* ---- life ---- */

static void on_token_tell(void *arg, enum message type,
                          const struct msg_token *m, mf_str name,
                          mf_str origin, mf_str tokens)
{
    struct destination *d = arg;

    d->reports.token(d->reports.arg, type, m, name, origin, tokens);
}

static void on_token_changed(void *arg)
{
    struct destination *d = arg;
    const char *error = token_error(d->token);

    d->reports.secrets(d->reports.arg);
    if (*error && strcmp(error, d->last_error) != 0)
        log_warn("%s: %s", d->name, error);
    if (*error)
        destination_note_error(d, error);
    d->changed = true;
    if (!d->pumping && d->settled)
        d->settled(d->settled_arg);
}

static bool needs_order(const struct destination *d)
{
    bool needs = d->by_user;

    for (size_t s = 0; s < instance_subscriptions(d->instance); s++)
        needs |= instance_serialize_by(d->instance, (unsigned)s) != NULL;
    return needs;
}

struct destination *destination_new(struct instance *i,
                                    const struct destination_options *o,
                                    struct transport *t, struct slot *slot,
                                    const struct reports *reports)
{
    struct destination *d = xcalloc(1, sizeof *d);
    size_t n = instance_subscriptions(i);

    d->name = xstrdup(o->name);
    d->instance = i;
    d->transport = t;
    d->slot = slot;
    d->reports = *reports;
    limiter_init(&d->limiter, o->concurrency);
    d->ttl_ms = o->ttl_ms;
    d->batch_wait_ms = o->batch_wait_ms;
    d->transport_options.timeout_ms = o->timeout_ms;
    d->transport_options.connect_ms = o->connect_timeout_ms;
    d->transport_options.first_byte_ms = o->first_byte_timeout_ms;
    d->transport_options.allow_private = o->allow_private;
    pacing_init(&d->pacing, o->rate, o->retry_rate, clock_mono_ms());
    bucket_init(&d->records, RECORDS_A_SECOND, clock_mono_ms());
    d->transport_options.account = &d->account;
    if (reports->token)
        d->token = token_new(i, d->name, t, &d->transport_options, slot,
                             &(struct token_ways){ on_token_tell,
                                                   on_token_changed, d });
    flights_init(d);
    arena_init(&d->map_arena, MAP_ARENA_BYTES);
    d->keys = xcalloc(n + 1, sizeof *d->keys);
    d->batches = xcalloc(n + 1, sizeof *d->batches);
    d->pauses_on_gone = instance_plugin(i)->manifest->pauses_on_gone;
    for (size_t s = 0; s < n; s++)
        d->keys[s] = subscription_key(i, (unsigned)s);
    d->by_user = o->by_user;
    if (needs_order(d))
        d->order = order_new(chance64());
    d->changed = true;
    return d;
}

void destination_free(struct destination *d)
{
    if (!d)
        return;
    flights_deinit(d);
    turns_deinit(&d->turns);
    replays_deinit(d);
    arena_deinit(&d->map_arena);
    retries_deinit(&d->retries);
    order_free(d->order);
    token_free(d->token);
    free(d->keys);
    free(d->batches);
    free(d->name);
    free(d);
}

const char *destination_name(const struct destination *d)
{
    return d->name;
}

void destination_suspect(struct destination *d, const struct suspects *s)
{
    d->suspects = s;
}

void destination_add_lane(struct destination *d, struct lane *l)
{
    if (lane_owner(l)) {
        turns_add(&d->replays, l);
        return;
    }
    turns_add(&d->turns, l);
    d->rereading = true;
}

size_t destination_lane_count(const struct destination *d)
{
    return d->turns.count + d->replays.count;
}

struct lane *destination_lane_at(struct destination *d, size_t i)
{
    return i < d->turns.count ? d->turns.list[i].lane
                              : d->replays.list[i - d->turns.count].lane;
}

struct lane *destination_lane(struct destination *d, uint32_t id)
{
    for (size_t i = 0; i < destination_lane_count(d); i++)
        if (lane_id(destination_lane_at(d, i)) == id)
            return destination_lane_at(d, i);
    return NULL;
}

void destination_pace(struct destination *d, double tokens, int64_t at_ms)
{
    int64_t passed = clock_ms() - at_ms, now = clock_mono_ms();

    bucket_set(&d->pacing.calls, tokens, now - (passed > 0 ? passed : 0));
}

double destination_pace_left(const struct destination *d)
{
    return bucket_level(&d->pacing.calls, clock_mono_ms());
}

void destination_behind(struct destination *d, bool behind)
{
    limiter_behind(&d->limiter, behind);
}

void destination_drain(struct destination *d)
{
    d->draining = true;
    transport_hurry(d->transport);
}

void destination_pause(struct destination *d, bool on)
{
    d->paused = on;
    d->changed = true;
}

unsigned destination_in_flight(const struct destination *d)
{
    return d->flying.count + d->ready.count + d->open.count +
           (d->token && token_busy(d->token));
}

struct token *destination_token(struct destination *d)
{
    return d->token;
}

void destination_status(struct destination *d, struct msg_destination *m,
                        const char **error)
{
    memset(m, 0, sizeof *m);
    for (size_t i = 0; i < destination_lane_count(d); i++) {
        int64_t oldest = lane_oldest_ms(destination_lane_at(d, i));

        if (oldest && (!m->oldest_ms || oldest < m->oldest_ms))
            m->oldest_ms = oldest;
    }
    m->state = d->paused ? DEST_PAUSED
               : health_probing(&d->health) ||
                       (d->token && *token_error(d->token))
                   ? DEST_BACKING_OFF
                   : DEST_ACTIVE;
    m->in_flight = d->flying.count;
    m->waiting_retries = (uint32_t)d->retries.count;
    if (d->order)
        m->waiting_retries += order_aside(d->order);
    m->concurrency_limit = limiter_limit(&d->limiter);
    m->error_ms = d->last_error_ms;
    memcpy(m->classes, d->classes, sizeof m->classes);
    m->requests = d->requests;
    m->end_to_end = d->end_to_end;
    *error = d->last_error;
    d->changed = false;
}

bool destination_status_changed(struct destination *d)
{
    return d->changed;
}

void destination_on_settled(struct destination *d, void (*fn)(void *arg),
                            void *arg)
{
    d->settled = fn;
    d->settled_arg = arg;
}
