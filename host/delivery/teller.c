/* SPDX-License-Identifier: Apache-2.0
 *
 * teller.c - see teller.h. */
#include "delivery/teller.h"

#include "base/clock.h"

#include <string.h>

#define REPORT_MAX IPC_MESSAGE_MAX

void teller_init(struct teller *t, void (*on_secrets)(void *arg), void *arg)
{
    memset(t, 0, sizeof *t);
    buf_init(&t->out, REPORT_MAX);
    t->on_secrets = on_secrets;
    t->arg = arg;
}

void teller_deinit(struct teller *t)
{
    buf_deinit(&t->out);
}

static void add_clean(struct teller *t, mf_str text)
{
    size_t from = t->out.len;

    buf_str(&t->out, text);
    redact_buf(t->secrets, &t->out, from);
}

static uint32_t add_part(struct teller *t, mf_str text, bool clean)
{
    size_t from = t->out.len;

    if (clean)
        add_clean(t, text);
    else
        buf_str(&t->out, text);
    return (uint32_t)(t->out.len - from);
}

static void report_retry(void *arg, const struct msg_retry *r, mf_str error,
                         mf_str request, mf_str response)
{
    struct teller *t = arg;
    struct msg_retry m = *r;

    buf_clear(&t->out);
    buf_add(&t->out, &m, sizeof m);
    m.error_len = add_part(t, error, true);
    m.request_len = add_part(t, request, true);
    m.response_len = add_part(t, response, true);
    memcpy(t->out.data, &m, sizeof m);
    ipc_send(t->ipc, MSG_RETRY, t->out.data, t->out.len, -1);
}

static void report_retry_done(void *arg, const struct msg_retry_key *k)
{
    struct teller *t = arg;

    ipc_send(t->ipc, MSG_RETRY_DONE, k, sizeof *k, -1);
}

static void report_dead(void *arg, const struct msg_dead *d, mf_str error,
                        mf_str action, mf_str message_id, mf_str event,
                        mf_str request, mf_str response, mf_str name)
{
    struct teller *t = arg;
    struct msg_dead m = *d;

    buf_clear(&t->out);
    buf_add(&t->out, &m, sizeof m);
    m.error_len = add_part(t, error, true);
    m.action_len = add_part(t, action, false);
    m.message_id_len = add_part(t, message_id, false);
    m.event_len = add_part(t, event, false);
    m.request_len = add_part(t, request, true);
    m.response_len = add_part(t, response, true);
    m.name_len = add_part(t, name, false);
    memcpy(t->out.data, &m, sizeof m);
    ipc_send(t->ipc, MSG_DEAD, t->out.data, t->out.len, -1);
}

static void report_token(void *arg, enum message type,
                         const struct msg_token *token, mf_str name,
                         mf_str origin, mf_str tokens)
{
    struct teller *t = arg;
    struct msg_token m = *token;

    buf_clear(&t->out);
    buf_add(&t->out, &m, sizeof m);
    m.name_len = add_part(t, name, false);
    m.origin_len = add_part(t, origin, false);
    m.tokens_len = add_part(t, tokens, false);
    memcpy(t->out.data, &m, sizeof m);
    ipc_send(t->ipc, type, t->out.data, t->out.len, -1);
}

static void report_paused(void *arg, const char *name, mf_str why)
{
    struct teller *t = arg;
    uint32_t len = (uint32_t)strlen(name);

    buf_clear(&t->out);
    buf_add(&t->out, &len, sizeof len);
    buf_puts(&t->out, name);
    add_clean(t, why);
    ipc_send(t->ipc, MSG_PAUSED, t->out.data, t->out.len, -1);
}

void teller_pace(struct teller *t, const struct destination *d)
{
    struct msg_pace m = { destination_pace_left(d), clock_ms() };

    buf_clear(&t->out);
    buf_add(&t->out, &m, sizeof m);
    buf_puts(&t->out, destination_name(d));
    ipc_send(t->ipc, MSG_PACE, t->out.data, t->out.len, -1);
}

void teller_status(struct teller *t, struct destination *d)
{
    struct msg_destination m;
    const char *error;

    destination_status(d, &m, &error);
    buf_clear(&t->out);
    buf_add(&t->out, &m, sizeof m);
    buf_puts(&t->out, destination_name(d));
    m.name_len = (uint32_t)strlen(destination_name(d));
    m.error_len = add_part(t, mf_cstr(error), true);
    memcpy(t->out.data, &m, sizeof m);
    ipc_send(t->ipc, MSG_DESTINATION, t->out.data, t->out.len, -1);
}

static void report_secrets(void *arg)
{
    struct teller *t = arg;

    t->on_secrets(t->arg);
}

struct reports teller_reports(struct teller *t)
{
    return (struct reports){ report_retry, report_retry_done, report_dead,
                             report_token, report_secrets, report_paused, t };
}

void teller_lane(struct teller *t, struct lane *l)
{
    buf_clear(&t->out);
    lane_report(l, &t->out);
    ASSERT(!t->out.full);
    ipc_send(t->ipc, MSG_LANE_STATE, t->out.data, t->out.len, -1);
}

void teller_left(struct teller *t, uint32_t lane)
{
    ipc_send(t->ipc, MSG_LANE_LEFT, &lane, sizeof lane, -1);
}
