/* SPDX-License-Identifier: Apache-2.0
 *
 * bigquery.c - the destination: its settings and its batches.
 *
 * Documents: excerpts of BigQuery's REST reference (tabledata.insertAll,
 * jobs.insert), "Error messages" and quotas; Segment's "BigQuery"; read
 * 2026-11-28.
 *
 * What is known of the tables is kept from batch to batch, and is doubted as
 * soon as the service says otherwise. */
#include "bigquery.h"

static const char *const paths[] = { "data" };

/* Reserved words but partition, as no column may begin with _partition; the
 * column of our own; the views of the tables that everybody has. */
static const char *const reserved[] = {
    "accounts_view", "aliases_view", "all", "and", "any", "array", "as",
    "asc", "assert_rows_modified", "at", "between", "by", "case", "cast",
    "collate", "contains", "create", "cross", "cube", "current", "default",
    "define", "desc", "distinct", "else", "end", "enum", "escape", "except",
    "exclude", "exists", "extract", "false", "fetch", "following", "for",
    "from", "full", "group", "grouping", "groups", "groups_view", "hash",
    "having", "identifies_view", "if", "ignore", "in", "inner", "intersect",
    "interval", "into", "is", "join", "lateral", "left", "like", "limit",
    "loaded_at", "lookup", "manifold_copy", "manifold_discards_view", "merge",
    "natural", "new", "no", "not", "null", "nulls", "of", "on", "or", "order",
    "outer", "over", "pages_view", "preceding", "proto", "qualify", "range",
    "recursive", "respect", "right", "rollup", "rows", "screens_view",
    "select", "set", "some", "struct", "tablesample", "then", "to",
    "tracks_view", "treat", "true", "unbounded", "union", "unnest",
    "users_view", "using", "when", "where", "window", "with", "within",
};

const struct dialect bigquery_dialect = {
    .name_max = NAME_BYTES - 1,
    .loaded_at = true,
    .reserved = reserved,
    .reserved_count = KIT_N(reserved),
};

static void *create(mf_call *c)
{
    struct bigquery *b = mf_alloc(c, sizeof *b);
    mf_str dataset = kit_setting_text(c, "dataset");

    b->project = kit_cstr(c, kit_setting_text(c, "project"));
    b->location = kit_cstr(c, kit_setting_text(c, "location"));
    b->jobs = mf_eq(kit_setting_text(c, "method"), MF_STR("load"));
    b->tables.append = true;
    if (dataset.len)
        name_of(&bigquery_dialect, dataset, b->dataset);
    return b;
}

static void deliver_all(struct bigquery *b, uint32_t n)
{
    uint32_t *list = mf_alloc(b->call, n * sizeof *list), count;
    struct table **tables;

    for (uint32_t i = 0; i < n; i++)
        list[i] = i;
    rows_of_events(&b->tables, &bigquery_dialect, b->call, b->dataset,
                   b->events, list, n);
    schema_ready(b);
    tables = tables_sorted(&b->tables, &count);
    if (b->jobs) {
        jobs_load(b, tables, count);
        return;
    }
    for (uint32_t i = 0; i < count; i++)
        insert_rows(b, tables[i], 0, tables[i]->row_count);
}

static int32_t deliver(void *self, mf_call *c, const mf_event *const *events,
                       uint32_t n)
{
    struct bigquery *b = self;

    b->call = c;
    b->events = events;
    b->deadline = mf_deadline(c);
    if (tables_too_many(&b->tables)) {
        tables_free(&b->tables);
        b->tables.append = true;
    }
    deliver_all(b, n);
    return MF_OK;
}

static void stop(void *self, mf_call *c)
{
    struct bigquery *b = self;

    (void)c;
    tables_free(&b->tables);
    out_free(&b->data);
    out_free(&b->sql);
}

static const mf_action actions[] = {
    { .slug = "load", .paths = paths, .path_count = 1, .deliver = deliver },
};

MF_EXPORT const mf_destination mf_destination_v1 = {
    MF_HEADER, .actions = actions, .action_count = KIT_N(actions),
    .create = create, .close = stop,
};
