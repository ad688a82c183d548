/* SPDX-License-Identifier: Apache-2.0
 *
 * bigquery.h - what the parts of the plugin know of each other.
 *
 * ../postgres/rows.h   events as rows, as for other warehouses
 * api.c                requests to the service, and what its answers mean
 * schema.c             which tables and columns there are, making those
 *                      missing, and the views without copies
 * insert.c             rows by streaming
 * jobs.c               rows by load jobs
 * bigquery.c           the destination: settings, batches
 *
 * The plugin is native for one reason: it keeps in memory what it knows of
 * the tables. All its I/O are requests that the host sends. */
#ifndef PLUGINS_BIGQUERY_H
#define PLUGINS_BIGQUERY_H

#include "../postgres/rows.h"

struct bigquery {
    struct tables tables;
    struct out data, sql;
    const char *project, *location;
    char dataset[NAME_BYTES]; /* "": one for each source */
    bool jobs;                /* load jobs instead of streaming */

    /* of the call that is on */
    mf_call *call;
    const mf_event *const *events;
    int64_t deadline; /* Unix ms */
};

extern const struct dialect bigquery_dialect;

/* ---- api.c ---- */

void out_json(struct out *o, mf_str text); /* quoted and escaped */
/* To /projects/P and what follows; the parts end with a NULL. */
mf_request *api_request(struct bigquery *b, const char *method,
                        const char *const *parts);
/* Waits for the answer, not beyond the deadline. */
const mf_response *api_send(struct bigquery *b, mf_request *r);
const mf_response *api_send_json(struct bigquery *b, mf_request *r,
                                 const struct out *body);
int64_t api_left(const struct bigquery *b); /* ms until the deadline, >= 1 */
/* A dataset, or a table of it, as the service wants it named. */
void api_reference(const struct bigquery *b, struct out *o,
                   const char *dataset, const char *table);
/* What came of a request that failed: the status for its events, and why. It
 * is one to try again whatever the status was, but for a bad token. */
int32_t api_fault(struct bigquery *b, const mf_response *a, mf_str *why);

/* The events of those rows have that result. */
void rows_result(struct bigquery *b, const struct table *table, uint32_t from,
                 uint32_t to, int32_t status, mf_str why);
/* The same of all its rows: the table has failed. */
void table_result(struct bigquery *b, struct table *table, int32_t status,
                  mf_str why);
/* A request for that table failed. */
void table_fault(struct bigquery *b, struct table *table,
                 const mf_response *a);
/* What is known of it is no longer so. */
void table_unknown(struct table *table);

/* ---- schema.c ---- */

/* Learns what there is of the batch's tables, and makes what is missing. A
 * table that cannot be used has failed, and its events have their results. */
void schema_ready(struct bigquery *b);

/* ---- insert.c ---- */

/* The rows in b->data, from that one on: as many as a request takes, of those
 * before `to`. As the body of a streaming insert, or one a line. Returns the
 * first that is not in it. */
uint32_t rows_put(struct bigquery *b, const struct table *table, uint32_t from,
                  uint32_t to, bool stream);
/* What tells a row from others, and stays the same when it is tried again. */
mf_str row_key(struct bigquery *b, const struct table *table,
               const struct row *row);
/* Those rows, each with its result; also all from `from` on if one request
 * shows that others would fail too. */
void insert_rows(struct bigquery *b, struct table *table, uint32_t from,
                 uint32_t to);

/* ---- jobs.c ---- */

void jobs_load(struct bigquery *b, struct table *const *list, uint32_t n);

#endif
