/* SPDX-License-Identifier: Apache-2.0
 *
 * rows.c - the rows that an event is in a warehouse, as Segment lays them out:
 * one in the table of its type, for a track also one in the table of its name,
 * for identify and group also one in the table of the newest state.
 *
 * What the server decides comes first, then the context, then properties or
 * traits without a prefix. Nested objects are flattened, arrays are text. A
 * property whose name is taken gets an underscore before it. */
#include "rows.h"

#define DISCARDS "manifold_discards"

struct leaf {
    char name[NAME_BYTES];
    struct value value;
};

struct leaves { /* of one object of an event; in the pool */
    struct leaf *list;
    uint32_t count, cap;
};

struct maker {
    struct tables *tables;
    const struct dialect *dialect;
    mf_call *call;
    const char *schema;
    mf_val event;
    uint32_t number;
    struct leaves own, more; /* the columns of every row; properties, traits */
};

/* Columns of ours, and the tables of the types: no property and no event has
 * such a name. */
static const char *const columns_taken[] = {
    "id",         "anonymous_id",       "user_id", "received_at",
    "sent_at",    "original_timestamp", "timestamp", "event",
    "event_text", "uuid",               "uuid_ts",
};
static const char *const tables_taken[] = {
    "identifies", "users",  "groups",  "accounts", "pages",
    "screens",    "tracks", "aliases", DISCARDS,
};

/* The event's members that become columns of every row. */
static const struct {
    const char *member, *column;
} ids[] = {
    { "messageId", "id" },
    { "anonymousId", "anonymous_id" },
    { "userId", "user_id" },
}, times[] = {
    { "receivedAt", "received_at" },
    { "sentAt", "sent_at" },
    { "timestamp", "timestamp" },
    { "originalTimestamp", "original_timestamp" },
};

/* ---- leaves ---- */

static struct leaf *leaf_new(struct maker *m, struct leaves *to)
{
    struct leaf *bigger;

    if (to->count == to->cap) {
        to->cap = to->cap ? 2 * to->cap : 32;
        bigger = pool_alloc(&m->tables->pool, to->cap * sizeof *bigger);
        if (to->count)
            memcpy(bigger, to->list, to->count * sizeof *bigger);
        to->list = bigger;
    }
    return &to->list[to->count++];
}

static void add(struct maker *m, struct leaves *to, const char *name,
                const struct value *v)
{
    struct leaf *leaf = leaf_new(m, to);

    memcpy(leaf->name, name, strlen(name) + 1);
    leaf->value = *v;
}

static void add_val(struct maker *m, struct leaves *to, const char *name,
                    mf_val v)
{
    struct value value;

    if (value_read(m->call, v, &value))
        add(m, to, name, &value);
}

static void flatten(struct maker *m, struct leaves *to, const char *above,
                    mf_val object, unsigned depth)
{
    mf_iter it = { { 0 } };
    char name[NAME_BYTES];
    mf_str key;
    mf_val v;

    while (depth < DEPTH_MAX && mf_next(m->call, object, &it, &key, &v)) {
        if (!mf_given(v))
            continue;
        name_below(m->dialect, above, key, name);
        if (v.type == MF_OBJECT)
            flatten(m, to, name, v, depth + 1);
        else
            add_val(m, to, name, v);
    }
}

/* Properties and traits stand beside our own columns. */
static void flatten_free(struct maker *m, mf_val object)
{
    struct leaves *to = &m->more;

    if (object.type != MF_OBJECT)
        return;
    flatten(m, to, "", object, 0);
    for (uint32_t i = 0; i < to->count; i++) {
        if (kit_starts(mf_cstr(to->list[i].name), MF_STR("context_"))) {
            const char *const name[] = { to->list[i].name };

            name_free(m->dialect, name, 1, to->list[i].name);
        } else {
            name_free(m->dialect, columns_taken, KIT_N(columns_taken),
                      to->list[i].name);
        }
    }
}

static mf_val member(const struct maker *m, const char *name)
{
    return mf_get(m->call, m->event, name);
}

static void text_value(mf_str text, enum type type, struct value *to)
{
    *to = (struct value){ type, text, text };
}

/* An id is text whatever it looks like. */
static void add_text(struct maker *m, struct leaves *to, const char *name,
                     mf_val v)
{
    struct value value;

    if (!mf_given(v))
        return;
    text_value(mf_text(m->call, v), TYPE_TEXT, &value);
    value.raw = kit_raw(v);
    add(m, to, name, &value);
}

/* These columns are times, and hold nothing else. */
static void add_time(struct maker *m, const char *name, mf_val v)
{
    struct value value;

    if (value_read(m->call, v, &value) && value.type == TYPE_TIME)
        add(m, &m->own, name, &value);
}

static void add_common(struct maker *m)
{
    mf_val context = member(m, "context");
    struct value now;

    for (size_t i = 0; i < KIT_N(ids); i++)
        add_text(m, &m->own, ids[i].column, member(m, ids[i].member));
    for (size_t i = 0; i < KIT_N(times); i++)
        add_time(m, times[i].column, member(m, times[i].member));
    text_value(mf_iso(m->call, mf_now(m->call)), TYPE_TIME, &now);
    add(m, &m->own, "uuid_ts", &now);
    if (m->dialect->loaded_at)
        add(m, &m->own, "loaded_at", &now);
    if (!mf_given(member(m, "receivedAt")))
        add(m, &m->own, "received_at", &now);
    if (context.type == MF_OBJECT)
        flatten(m, &m->own, "context", context, 0);
}

/* ---- rows ---- */

static void put_leaves(struct maker *m, struct table *table, struct row *row,
                       const struct leaves *from)
{
    for (uint32_t i = 0; i < from->count; i++)
        row_add(m->tables, table, row, from->list[i].name,
                &from->list[i].value);
}

/* A row of the common columns, and with `more` of the others. */
static void put_row(struct maker *m, const char *name, bool more)
{
    struct table *table = table_named(m->tables, m->schema, name);
    struct row *row = table_row(m->tables, table, m->number,
                                m->own.count + m->more.count + 1);

    put_leaves(m, table, row, &m->own);
    if (more)
        put_leaves(m, table, row, &m->more);
    table_row_done(m->tables, table);
}

/* Columns that the newest state of a user or account has not: they are those
 * of single calls. */
static bool is_of_call(const char *name)
{
    static const char *const names[] = {
        "id",        "anonymous_id",       "user_id", "group_id", "sent_at",
        "timestamp", "original_timestamp",
    };

    return kit_index(mf_cstr(name), names, KIT_N(names)) < KIT_N(names);
}

static void put_state(struct maker *m, const char *name, mf_val id)
{
    struct table *table;
    struct value value;
    struct row *row;
    mf_str text = mf_text(m->call, id);

    if (!text.len)
        return;
    table = table_named(m->tables, m->schema, name);
    table->upsert = true;
    row = table_row(m->tables, table, m->number,
                    m->own.count + m->more.count + 1);
    text_value(text, TYPE_TEXT, &value);
    row_add(m->tables, table, row, "id", &value);
    for (uint32_t i = 0; i < m->own.count; i++)
        if (!is_of_call(m->own.list[i].name))
            row_add(m->tables, table, row, m->own.list[i].name,
                    &m->own.list[i].value);
    put_leaves(m, table, row, &m->more);
    table_row_done(m->tables, table);
}

/* ---- the six types ---- */

static const char *track(struct maker *m)
{
    mf_val event = member(m, "event");
    mf_str text = mf_text(m->call, event);
    char name[NAME_BYTES];
    struct value value;

    if (!text.len || event.type > MF_STRING)
        return "a track without the name of its event";
    name_of(m->dialect, text, name);
    name_free(m->dialect, tables_taken, KIT_N(tables_taken), name);
    text_value(mf_join(m->call, &(mf_str){ name, strlen(name) }, 1), TYPE_TEXT,
               &value);
    add(m, &m->own, "event", &value);
    text_value(text, TYPE_TEXT, &value);
    add(m, &m->own, "event_text", &value);
    flatten_free(m, member(m, "properties"));
    put_row(m, "tracks", false);
    put_row(m, name, true);
    return NULL;
}

static const char *identify(struct maker *m)
{
    flatten_free(m, member(m, "traits"));
    put_row(m, "identifies", true);
    put_state(m, "users", member(m, "userId"));
    return NULL;
}

static const char *group(struct maker *m)
{
    add_text(m, &m->own, "group_id", member(m, "groupId"));
    flatten_free(m, member(m, "traits"));
    put_row(m, "groups", true);
    put_state(m, "accounts", member(m, "groupId"));
    return NULL;
}

static const char *alias(struct maker *m)
{
    add_text(m, &m->own, "previous_id", member(m, "previousId"));
    flatten_free(m, member(m, "traits"));
    put_row(m, "aliases", true);
    return NULL;
}

static const char *view(struct maker *m, const char *table)
{
    add_text(m, &m->own, "name", member(m, "name"));
    add_text(m, &m->own, "category", member(m, "category"));
    flatten_free(m, member(m, "properties"));
    put_row(m, table, true);
    return NULL;
}

static const char *page(struct maker *m)
{
    return view(m, "pages");
}

static const char *screen(struct maker *m)
{
    return view(m, "screens");
}

static const struct {
    const char *name;
    const char *(*rows)(struct maker *m);
} types[] = {
    { "track", track }, { "identify", identify }, { "page", page },
    { "group", group }, { "screen", screen },     { "alias", alias },
};

const char *rows_of_event(struct tables *t, const struct dialect *d,
                          mf_call *c, const char *schema, mf_val event,
                          uint32_t number)
{
    struct maker m = { .tables = t, .dialect = d, .call = c, .schema = schema,
                       .event = event, .number = number };
    mf_str type = mf_text(c, member(&m, "type"));

    if (!mf_text(c, member(&m, "messageId")).len)
        return "an event without messageId: nothing would tell it from its "
               "copies";
    for (size_t i = 0; i < KIT_N(types); i++) {
        if (!mf_eq(type, mf_cstr(types[i].name)))
            continue;
        add_common(&m);
        return types[i].rows(&m);
    }
    return "no event of the type track, identify, page, screen, group, alias";
}

/* ---- events ---- */

static void schema_of(const struct dialect *d, const char *schema,
                      const mf_event *e, char to[NAME_BYTES])
{
    mf_str source = mf_source(e);

    if (schema[0])
        memcpy(to, schema, NAME_BYTES);
    else
        name_of(d, source.len ? source : MF_STR("manifold"), to);
}

void rows_of_events(struct tables *t, const struct dialect *d, mf_call *c,
                    const char *schema, const mf_event *const *events,
                    const uint32_t *list, uint32_t n)
{
    char name[NAME_BYTES];

    tables_begin(t);
    for (uint32_t i = 0; i < n; i++) {
        const char *why;

        schema_of(d, schema, events[list[i]], name);
        why = rows_of_event(t, d, c, name, mf_field(events[list[i]], 0),
                            list[i]);
        if (why)
            mf_result(c, list[i], MF_INVALID, mf_cstr(why));
    }
}

/* ---- what a column could not hold ---- */

static mf_str pool_text(struct tables *t, const char *text)
{
    size_t len = strlen(text);

    return (mf_str){ memcpy(pool_alloc(&t->pool, len + 1), text, len + 1),
                     len };
}

static void put_text(struct tables *t, struct table *table, struct row *row,
                     const char *column, mf_str text)
{
    struct value value;

    text_value(text, TYPE_TEXT, &value);
    row_add(t, table, row, column, &value);
}

void rows_discard(struct tables *t, const struct table *of,
                  const struct row *row, const struct cell *cell)
{
    static const char *const kept[] = { "received_at", "uuid_ts",
                                        "loaded_at" };
    const char *column = of->columns[cell->column]->name;
    const struct value *id = row_value(of, row, "id"), *v;
    struct table *table = table_named(t, of->schema, DISCARDS);
    struct out key = { 0 };
    struct row *to;

    if (!id || of == table)
        return;
    out_add(&key, id->text.ptr, id->text.len);
    out_format(&key, ".%s.%s", of->name, column);
    to = table_row(t, table, MF_ALL, 9);
    to->event = row->event;
    put_text(t, table, to, "id", pool_text(t, key.data));
    out_free(&key);
    for (size_t i = 0; i < KIT_N(kept); i++)
        if ((v = row_value(of, row, kept[i])))
            row_add(t, table, to, kept[i], v);
    put_text(t, table, to, "row_id", id->text);
    put_text(t, table, to, "table_name", pool_text(t, of->name));
    put_text(t, table, to, "column_name", pool_text(t, column));
    put_text(t, table, to, "column_value", cell->value.text);
    table_row_done(t, table);
}

static void discard_from(struct tables *t, const struct table *table)
{
    for (uint32_t i = 0; i < table->row_count; i++) {
        const struct row *row = &table->rows[i];

        for (uint32_t k = 0; k < row->count; k++) {
            const struct cell *cell = &row->cells[k];
            const struct column *column = table->columns[cell->column];

            if (!cell->value.text.len)
                continue;
            if (column->full || value_fit(column->type, &cell->value) != FIT)
                rows_discard(t, table, row, cell);
        }
    }
}

void rows_discard_all(struct tables *t)
{
    uint32_t n = t->count; /* those of discards may be new */

    for (uint32_t i = 0; i < n; i++)
        if (table_in_batch(t, t->list[i]))
            discard_from(t, t->list[i]);
}
