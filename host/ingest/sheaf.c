/* SPDX-License-Identifier: Apache-2.0
 *
 * sheaf.c - see sheaf.h. */
#include "ingest/sheaf.h"

void sheaf_init(struct sheaf *s)
{
    s->count = 0;
    buf_init(&s->text, SHEAF_BYTES + JOURNAL_PAYLOAD_MAX);
}

void sheaf_deinit(struct sheaf *s)
{
    buf_deinit(&s->text);
}

void sheaf_clear(struct sheaf *s)
{
    s->count = 0;
    buf_clear(&s->text);
}

enum journal_state sheaf_add(struct sheaf *s, struct intake_loop *l,
                             struct source *source,
                             const struct journal_record *r, uint64_t *seq)
{
    enum journal_state state = JOURNAL_OK;

    if (s->count == INTAKE_TOGETHER || s->text.len > SHEAF_BYTES)
        state = sheaf_put(s, l, seq);
    if (state != JOURNAL_OK)
        return state;
    s->records[s->count] = *r;
    s->sources[s->count] = source;
    s->at[s->count++] = s->text.len;
    buf_str(&s->text, r->payload);
    return JOURNAL_OK;
}

enum journal_state sheaf_put(struct sheaf *s, struct intake_loop *l,
                             uint64_t *seq)
{
    bool duplicate[INTAKE_TOGETHER];
    enum journal_state state = JOURNAL_OK;
    unsigned kept = 0;

    for (unsigned i = 0; i < s->count; i++)
        s->records[i].payload.ptr = s->text.data + s->at[i];
    if (s->count)
        state = intake_keep(l, s->records, s->count, seq, duplicate, &kept);
    for (unsigned i = 0; i < kept; i++)
        source_kept(s->sources[i], s->records[i].payload.len, duplicate[i]);
    sheaf_clear(s);
    return state;
}
