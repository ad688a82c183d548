/* SPDX-License-Identifier: Apache-2.0
 *
 * letter.c - see letter.h. */
#include "ingest/letter.h"

#include "base/clock.h"
#include "base/text.h"
#include "ipc/proto.h"

#include <stdio.h>
#include <string.h>

#define ID_KEPT_MAX 400 /* bytes of a messageId that letters are found by */

static void put(struct json_out *w, const char *key, mf_val v)
{
    if (v.type == MF_ABSENT)
        return;
    json_key(w, mf_cstr(key));
    json_val(w, v);
}

static void write_envelope(struct buf *to, const struct event_envelope *env)
{
    struct json_out w;

    json_out_init(&w, to);
    json_begin_object(&w);
    json_kstr(&w, "receivedAt", mf_cstr(env->received_text));
    if (env->type >= 0)
        json_kstr(&w, "type", mf_cstr(event_type_names[env->type]));
    put(&w, "sentAt", env->sent_at);
    put(&w, "context", env->context);
    put(&w, "integrations", env->integrations);
    json_end_object(&w);
}

static mf_str message_id(mf_str event, struct arena *a)
{
    mf_val v = json_get(json_root(event), MF_STR("messageId"));
    mf_str id = v.type == MF_STRING ? json_text(v, a) : (mf_str){ "", 0 };

    return id.len <= ID_KEPT_MAX ? id : (mf_str){ "", 0 };
}

void letter_write(struct buf *to, uint32_t source, const char *code,
                  const struct event_envelope *env, mf_str event)
{
    struct msg_ingest_dead m = { .source = source, .when_ms = clock_ms(),
                                 .code_len = (uint32_t)strlen(code),
                                 .event_len = (uint32_t)event.len };
    size_t at = to->len, from;
    struct arena a;
    mf_str id;

    arena_init(&a, 1u << 20);
    id = message_id(event, &a);
    m.message_id_len = (uint32_t)id.len;
    buf_add(to, &m, sizeof m);
    buf_puts(to, code);
    buf_str(to, id);
    from = to->len;
    if (env)
        write_envelope(to, env);
    m.envelope_len = (uint32_t)(to->len - from);
    buf_str(to, event);
    if (!to->full)
        memcpy(to->data + at, &m, sizeof m);
    arena_deinit(&a);
}

void letter_read_envelope(mf_str text, struct event_envelope *env,
                          struct arena *a)
{
    mf_val o = { .type = MF_ABSENT };
    int64_t ms;

    *env = (struct event_envelope){ .type = -1, .received_ms = clock_ms() };
    if (json_check(text, JSON_DEPTH_MAX, NULL) == 0)
        o = json_root(text);
    if (time_parse(json_text(json_get(o, MF_STR("receivedAt")), a), &ms))
        env->received_ms = ms;
    env->type = event_type_named(json_text(json_get(o, MF_STR("type")), a));
    env->sent_at = json_get(o, MF_STR("sentAt"));
    env->context = json_get(o, MF_STR("context"));
    env->integrations = json_get(o, MF_STR("integrations"));
    time_iso(env->received_ms, env->received_text);
}
