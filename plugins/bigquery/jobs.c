/* SPDX-License-Identifier: Apache-2.0
 *
 * jobs.c - rows by load jobs: all are started, then asked after until they
 * are done.
 *
 * A job's name is drawn from what it loads, so that one that was not waited
 * for is found again and not made a second time. A job takes all of its rows
 * or none; where one of them is refused, they are streamed, which tells which
 * it was. */
#include "bigquery.h"

#define POLL_FIRST_MS 500
#define POLL_MAX_MS   8000
#define NAMES_MAX     8 /* of the same rows: one for each job that failed */
#define BOUNDARY      "manifold_part" /* no line of JSON begins so */

struct job {
    struct table *table;
    uint32_t from, to;
    mf_str name;
    unsigned tries;
    bool found; /* somebody has started it before */
    const mf_response *state; /* the last that was heard */
};

static mf_str name_of_job(struct bigquery *b, const struct table *table,
                          uint32_t from, uint32_t to)
{
    b->sql.len = 0;
    out_text(&b->sql, table->key);
    for (; from < to; from++) {
        mf_str key = row_key(b, table, &table->rows[from]);

        out_text(&b->sql, "\n");
        out_add(&b->sql, key.ptr, key.len);
    }
    return MF_JOIN(b->call, MF_STR("manifold_"),
                   mf_encode(b->call, MF_HEX,
                             mf_digest(b->call, MF_SHA256,
                                       (mf_str){ b->sql.data,
                                                 b->sql.len })));
}

static mf_str name_now(struct bigquery *b, const struct job *job)
{
    return MF_JOIN(b->call, job->name, MF_STR("_"),
                   kit_int(b->call, job->tries));
}

/* ---- starting ---- */

static void put_job(struct bigquery *b, const struct job *job)
{
    struct out *o = &b->sql;

    out_text(o, "{\"jobReference\":{\"projectId\":");
    out_json(o, mf_cstr(b->project));
    out_text(o, ",\"location\":");
    out_json(o, mf_cstr(b->location));
    out_text(o, ",\"jobId\":");
    out_json(o, name_now(b, job));
    out_text(o, "},\"configuration\":{\"load\":{\"destinationTable\":");
    api_reference(b, o, job->table->schema, job->table->name);
    out_text(o, ",\"sourceFormat\":\"NEWLINE_DELIMITED_JSON\","
                "\"createDisposition\":\"CREATE_NEVER\","
                "\"writeDisposition\":\"WRITE_APPEND\"}}}");
}

static const mf_response *ask(struct bigquery *b, const struct job *job,
                              int64_t delay)
{
    mf_str name = name_now(b, job);
    mf_request *r = api_request(b, "GET",
                                (const char *const[]){ "", "jobs", name.ptr,
                                                       NULL });

    mf_query(r, "location", mf_cstr(b->location));
    mf_query(r, "fields", MF_STR("status"));
    mf_option(r, MF_OPT_DELAY_MS, delay);
    mf_option(r, MF_OPT_TIMEOUT_MS, api_left(b) - delay);
    return mf_exchange(r);
}

static void start(struct bigquery *b, struct job *job)
{
    mf_request *r = api_request(b, "POST",
                                (const char *const[]){ "/upload", "jobs",
                                                       NULL });

    rows_put(b, job->table, job->from, job->to, false);
    b->sql.len = 0;
    out_text(&b->sql, "--" BOUNDARY "\r\nContent-Type: application/json; "
                      "charset=UTF-8\r\n\r\n");
    put_job(b, job);
    out_text(&b->sql, "\r\n--" BOUNDARY "\r\nContent-Type: "
                      "application/octet-stream\r\n\r\n");
    out_add(&b->sql, b->data.data, b->data.len);
    out_text(&b->sql, "\r\n--" BOUNDARY "--\r\n");
    mf_query(r, "uploadType", MF_STR("multipart"));
    mf_body_text(r, "multipart/related; boundary=" BOUNDARY,
                 (mf_str){ b->sql.data, b->sql.len });
    job->state = api_send(b, r);
    job->found = mf_status(job->state) == 409;
    if (job->found)
        job->state = ask(b, job, 0);
}

/* ---- its end ---- */

static mf_str heard(struct bigquery *b, const struct job *job,
                    const char *path)
{
    return mf_text(b->call, mf_get(b->call, mf_answer_json(job->state), path));
}

static bool is_done(struct bigquery *b, const struct job *job)
{
    return mf_eq(heard(b, job, "status.state"), MF_STR("DONE"));
}

static bool is_running(struct bigquery *b, const struct job *job)
{
    return kit_ok(job->state) && !is_done(b, job);
}

/* Asks after those that run; after the first of them not before `wait`. */
static bool ask_all(struct bigquery *b, struct job *jobs, uint32_t n,
                    int64_t wait)
{
    bool any = false;

    for (uint32_t i = 0; i < n; i++) {
        if (!is_running(b, &jobs[i]))
            continue;
        if (api_left(b) <= 2 * wait)
            return false;
        jobs[i].state = ask(b, &jobs[i], wait);
        wait = 0;
        any = true;
    }
    return any;
}

/* Until they are done, or the time is up, or nobody answers. */
static void await(struct bigquery *b, struct job *jobs, uint32_t n)
{
    int64_t wait = POLL_FIRST_MS;

    while (ask_all(b, jobs, n, wait))
        wait = 2 * wait < POLL_MAX_MS ? 2 * wait : POLL_MAX_MS;
}

/* One that failed before, for no fault of its rows, gets another name. */
static void finish(struct bigquery *b, struct job *job)
{
    mf_str reason, why = MF_STR("the load job is not done yet");
    int32_t status = MF_RETRY;

    reason = heard(b, job, "status.errorResult.reason");
    while (job->found && reason.len && !mf_eq(reason, MF_STR("invalid")) &&
           ++job->tries < NAMES_MAX) {
        start(b, job);
        await(b, job, 1);
        reason = heard(b, job, "status.errorResult.reason");
    }
    if (!kit_ok(job->state))
        status = api_fault(b, job->state, &why);
    else if (is_done(b, job) && !reason.len)
        return;
    else if (mf_eq(reason, MF_STR("invalid"))) {
        insert_rows(b, job->table, job->from, job->to);
        return;
    } else if (reason.len)
        why = MF_JOIN(b->call, reason, MF_STR(": "),
                      heard(b, job, "status.errorResult.message"));
    if (mf_status(job->state) == 404 ||
        mf_eq(reason, MF_STR("notFound")))
        table_unknown(job->table);
    rows_result(b, job->table, job->from, job->to, status, why);
}

/* ---- all of them ---- */

static uint32_t start_table(struct bigquery *b, struct table *table,
                            struct job *jobs)
{
    uint32_t n = 0;

    for (uint32_t at = 0; at < table->row_count; n++) {
        struct job *job = jobs ? &jobs[n] : &(struct job){ 0 };

        job->table = table;
        job->from = at;
        job->to = at = rows_put(b, table, at, table->row_count, false);
        if (!jobs)
            continue;
        job->name = name_of_job(b, table, job->from, job->to);
        start(b, job);
    }
    return n;
}

void jobs_load(struct bigquery *b, struct table *const *list, uint32_t n)
{
    uint32_t count = 0;
    struct job *jobs;

    for (uint32_t i = 0; i < n; i++)
        count += list[i]->failed ? 0 : start_table(b, list[i], NULL);
    jobs = pool_alloc(&b->tables.pool, (count + 1) * sizeof *jobs);
    memset(jobs, 0, (count + 1) * sizeof *jobs);
    count = 0;
    for (uint32_t i = 0; i < n; i++)
        count += list[i]->failed ? 0 : start_table(b, list[i], &jobs[count]);
    await(b, jobs, count);
    for (uint32_t i = 0; i < count; i++)
        finish(b, &jobs[i]);
}
