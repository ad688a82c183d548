/* SPDX-License-Identifier: Apache-2.0
 *
 * bulk.c - batches of records as jobs of Salesforce's Bulk API 2.0.
 *
 * API: https://developer.salesforce.com/docs/atlas.en-us.api_asynch.meta. A
 * job is opened, gets its records as CSV, is closed, and then carried out when
 * Salesforce finds the time. How it ended is asked for at growing intervals;
 * the records it refused come back as CSV, with sf__Id and sf__Error before
 * their own fields, in any order. They are known again by their values.
 *
 * An empty cell leaves a field alone, #N/A empties it.
 *
 * The events of a batch go to one job for each object, operation and external
 * id, and to more where their fields differ so much that the table would be
 * mostly empty. Events of the same record share a row, in which the later ones
 * win: of two rows of a record Salesforce would refuse both.
 *
 * What cannot be learned of a job in two minutes is logged, and its records
 * count as delivered: Salesforce has them. */
#include "salesforce.h"

#define CELLS_MAX    200000 /* of one job */
#define HEAD_MAX     32000  /* bytes of its first line; Salesforce's limit */
#define JOBS_MAX     20     /* of one batch; the other events come again */
#define ASKED_MAX    8      /* times that a job is asked about */
#define DOUBLED      5      /* of these after 1, 2, 4, 8 and 16 s */
#define STEADY_MS    30000  /* before each of the others */
#define NONE         UINT32_MAX

struct row {
    struct row *next;
    struct row *later; /* the next event of the same record */
    const mf_event *event;
    uint64_t mark; /* of its id, and of its values once a result is read */
    uint32_t index;
    uint32_t done; /* 1: the result said what became of it */
};

struct job {
    struct job *next;
    struct order order;
    mf_str id_field; /* column by which records are found; "" for none */
    mf_str url;      /* of the job, once it is open */
    mf_str *columns;
    uint32_t column_count, column_room, row_count;
    size_t head_bytes;
    struct row *first, *last;
    uint32_t asked;  /* what became of it, so many times */
    int64_t missing; /* records it did not take and whose rows are not found */
    int32_t status;  /* what becomes of an aborted job's rows */
    mf_str why;      /* it was aborted, or failed */
};

/* ---- what goes into a job ---- */

/* A column's number; the one expected is tried first, as events are alike. */
static uint32_t column(const struct job *j, mf_str name, uint32_t expected)
{
    if (expected < j->column_count && mf_eq(j->columns[expected], name))
        return expected;
    for (uint32_t i = 0; i < j->column_count; i++)
        if (mf_eq(j->columns[i], name))
            return i;
    return NONE;
}

static void add_column(mf_call *c, struct job *j, mf_str name)
{
    if (j->column_count == j->column_room) {
        mf_str *more;

        j->column_room = j->column_room ? 2 * j->column_room : 32;
        more = mf_alloc(c, j->column_room * sizeof *more);
        if (j->column_count)
            memcpy(more, j->columns, j->column_count * sizeof *more);
        j->columns = more;
    }
    j->columns[j->column_count++] = mf_join(c, &name, 1);
}

/* A number for a value in a column. A row's is their sum, so that the order
 * of the columns does not matter, nor do empty cells. */
static uint64_t mark_of(uint32_t at, mf_str s)
{
    uint64_t mark = UINT64_C(14695981039346656037) + at;

    if (!s.len || mf_eq(s, MF_STR("#N/A")))
        return 0;
    for (size_t i = 0; i < s.len; i++)
        if (s.ptr[i] != '\r')
            mark = (mark ^ (unsigned char)s.ptr[i]) * UINT64_C(1099511628211);
    return mark;
}

/* The value that tells which record is meant. */
static mf_val id_of(const struct job *j, const mf_event *e)
{
    return mf_field(e, j->order.op == OP_UPDATE ? RECORD_ID : EXTERNAL_VALUE);
}

/* As sf_next(), with the id's column at the end. */
static uint32_t next_cell(mf_call *c, const struct job *j, const mf_event *e,
                          struct fields *f, mf_str *name, mf_val *value)
{
    while (f->in_custom < 2) {
        if (!sf_next(c, f, name, value))
            f->in_custom = 2;
        else if (!mf_eq(*name, j->id_field))
            return 1;
    }
    if (f->in_custom > 2 || !j->id_field.len)
        return 0;
    f->in_custom = 3;
    *name = j->id_field;
    *value = id_of(j, e);
    return 1;
}

/* Gives the event's fields columns, unless the table would grow too large: 0
 * then. */
static int widen(mf_call *c, struct job *j, const mf_event *e)
{
    struct fields f = sf_fields(e), pass = f;
    uint32_t at = NONE, added = 0;
    size_t head = j->head_bytes;
    mf_val value;
    mf_str name;

    while (next_cell(c, j, e, &f, &name, &value)) {
        at = column(j, name, at + 1);
        added += at == NONE;
        head += at == NONE ? name.len + 1 : 0;
    }
    if (j->row_count &&
        (head > HEAD_MAX || (uint64_t)(j->column_count + added) *
                                    (j->row_count + 1) > CELLS_MAX))
        return 0;
    j->head_bytes = head;
    while (added && next_cell(c, j, e, &pass, &name, &value))
        if (column(j, name, NONE) == NONE)
            add_column(c, j, name);
    return 1;
}

/* Why the event cannot be part of a job, "" if it can. */
static mf_str refusal(mf_call *c, const mf_event *e, const struct job *head)
{
    struct fields f = sf_fields(e);
    mf_val value;
    mf_str name;

    if (head->order.why.len)
        return head->order.why;
    if (head->order.op == OP_DELETE)
        return MF_STR("records are not deleted in batches; switch "
                      "enable_batching off");
    if (head->order.op == OP_UPSERT && !sf_is_name(head->id_field))
        return MF_STR("an upsert in batches needs "
                      "bulkUpsertExternalId.externalIdName");
    if (head->order.op == OP_CREATE && !sf_next(c, &f, &name, &value))
        return MF_STR("there is no field to write");
    if (head->id_field.len && !mf_text(c, id_of(head, e)).len)
        return head->order.op == OP_UPDATE
                   ? MF_STR("an update in batches needs bulkUpdateRecordId")
                   : MF_STR("an upsert in batches needs "
                            "bulkUpsertExternalId.externalIdValue");
    return (mf_str){ NULL, 0 };
}

static int same_head(const struct job *a, const struct job *b)
{
    return a->order.op == b->order.op &&
           mf_eq(a->order.object, b->order.object) &&
           mf_eq(a->id_field, b->id_field);
}

/* The job that takes the event: the last one of its kind, or a new one. NULL
 * if there are too many. */
static struct job *job_for(mf_call *c, struct job **at, const struct job *head,
                           const mf_event *e)
{
    struct job *last = NULL;
    uint32_t jobs = 0;

    for (; *at; at = &(*at)->next, jobs++)
        if (same_head(*at, head))
            last = *at;
    if (last && widen(c, last, e))
        return last;
    if (jobs == JOBS_MAX)
        return NULL;
    *at = mf_alloc(c, sizeof **at);
    **at = *head;
    widen(c, *at, e);
    return *at;
}

/* The row of the same record, NULL if there is none yet. */
static struct row *same_record(mf_call *c, const struct job *j,
                               const struct row *row)
{
    mf_str id = mf_text(c, id_of(j, row->event));
    struct row *at = j->first;

    while (at && (at->mark != row->mark ||
                  !mf_eq(mf_text(c, id_of(j, at->event)), id)))
        at = at->next;
    return at;
}

static void add_row(mf_call *c, struct job *j, struct row *row)
{
    struct row *same = NULL;

    if (j->id_field.len) {
        row->mark = mark_of(0, mf_text(c, id_of(j, row->event)));
        same = same_record(c, j, row);
    }
    if (same) {
        while (same->later)
            same = same->later;
        same->later = row;
        return;
    }
    if (j->last)
        j->last->next = row;
    else
        j->first = row;
    j->last = row;
    j->row_count++;
}

/* Puts an event into a job, or gives it its result. */
static mf_str board(mf_call *c, struct job **jobs, struct row *row)
{
    struct job head = { .order = sf_order(c, row->event) }, *j;
    mf_str why;

    if (head.order.op == OP_UPSERT)
        head.id_field = mf_text(c, mf_field(row->event, EXTERNAL_ID));
    else if (head.order.op == OP_UPDATE)
        head.id_field = MF_STR("Id");
    why = refusal(c, row->event, &head);
    if (why.len) {
        mf_result(c, row->index, MF_INVALID, why);
        return why;
    }
    j = job_for(c, jobs, &head, row->event);
    if (!j) {
        mf_result(c, row->index, MF_RETRY,
                  MF_STR("its batch had too many kinds of records"));
        return why;
    }
    add_row(c, j, row);
    return why;
}

/* ---- requests ---- */

static mf_request *ask(mf_call *c, struct job *j, const char *method,
                       mf_str of, uint32_t step)
{
    mf_request *r = mf_send(c, method, MF_JOIN(c, j->url, of));

    mf_tag(r, step, j);
    return r;
}

static void set_state(mf_call *c, struct job *j, mf_str state, uint32_t step)
{
    mf_writer *w = mf_json_body(ask(c, j, "PATCH", MF_STR(""), step));

    mf_w_object(w, NULL);
    mf_w_str(w, "state", state);
    mf_w_end(w);
}

static void open_job(const struct sf *sf, mf_call *c, struct job *j)
{
    static const char *const names[] = {
        [OP_CREATE] = "insert", [OP_UPDATE] = "update", [OP_UPSERT] = "upsert",
    };
    mf_request *r;
    mf_writer *w;

    j->url = MF_JOIN(c, sf->api, MF_STR("/jobs/ingest"));
    r = ask(c, j, "POST", MF_STR(""), STEP_OPEN);
    for (const struct row *row = j->first; row; row = row->next)
        for (const struct row *e = row; e; e = e->later)
            mf_covers(r, e->index);
    w = mf_json_body(r);
    mf_w_object(w, NULL);
    mf_w_str(w, "object", j->order.object);
    mf_w_str(w, "contentType", MF_STR("CSV"));
    mf_w_str(w, "operation", mf_cstr(names[j->order.op]));
    if (j->order.op == OP_UPSERT)
        mf_w_str(w, "externalIdFieldName", j->id_field);
    mf_w_end(w);
}

static int is_empty(mf_val v)
{
    return v.type == MF_NULL || (v.type == MF_STRING && v.len == 2);
}

static void write_quoted(mf_writer *w, mf_str s)
{
    mf_w_raw(w, MF_STR("\""));
    while (s.len) {
        const char *quote = memchr(s.ptr, '"', s.len);
        size_t n = quote ? (size_t)(quote - s.ptr) + 1 : s.len;

        mf_w_raw(w, (mf_str){ s.ptr, n });
        if (quote)
            mf_w_raw(w, MF_STR("\""));
        s.ptr += n;
        s.len -= n;
    }
    mf_w_raw(w, MF_STR("\""));
}

/* The values of a row where their columns are; none in the others. */
static void place(mf_call *c, const struct job *j, const struct row *row,
                  mf_val *cells)
{
    mf_val value;
    mf_str name;

    memset(cells, 0, j->column_count * sizeof *cells);
    for (; row; row = row->later) {
        struct fields f = sf_fields(row->event);
        uint32_t at = NONE;

        while (next_cell(c, j, row->event, &f, &name, &value)) {
            at = column(j, name, at + 1);
            cells[at] = value;
        }
    }
}

static void upload(mf_call *c, struct job *j)
{
    mf_request *r = ask(c, j, "PUT", MF_STR("/batches"), STEP_UPLOAD);
    mf_val *cells = mf_alloc(c, j->column_count * sizeof *cells);
    mf_writer *w = mf_body(r, "text/csv");

    for (uint32_t i = 0; i < j->column_count; i++) {
        mf_w_raw(w, i ? MF_STR(",") : MF_STR(""));
        if (sf_is_name(j->columns[i]))
            mf_w_raw(w, j->columns[i]);
        else
            write_quoted(w, j->columns[i]);
    }
    mf_w_raw(w, MF_STR("\n"));
    for (const struct row *row = j->first; row; row = row->next) {
        place(c, j, row, cells);
        for (uint32_t i = 0; i < j->column_count; i++) {
            mf_w_raw(w, i ? MF_STR(",") : MF_STR(""));
            if (is_empty(cells[i]))
                mf_w_raw(w, MF_STR("#N/A"));
            else if (mf_given(cells[i]))
                write_quoted(w, mf_text(c, cells[i]));
        }
        mf_w_raw(w, MF_STR("\n"));
    }
}

int32_t bulk_perform(const void *self, mf_call *c,
                     const mf_event *const *events, uint32_t n)
{
    struct row *rows = mf_alloc(c, n * sizeof *rows);
    mf_str why = { NULL, 0 };
    struct job *jobs = NULL;

    for (uint32_t i = 0; i < n; i++) {
        mf_str refused;

        rows[i] = (struct row){ .event = events[i], .index = i };
        refused = board(c, &jobs, &rows[i]);
        if (refused.len)
            why = refused;
    }
    if (!jobs)
        return mf_fail(c, MF_INVALID, why);
    for (struct job *j = jobs; j; j = j->next)
        open_job(self, c, j);
    return MF_OK;
}

/* ---- what came of it ---- */

/* CSV as it is read: a cell at a time. */
struct csv {
    const char *at, *end;
    uint32_t row_ended;
};

/* From behind the opening quote to behind the closing one. */
static mf_str unquoted(mf_call *c, struct csv *t)
{
    mf_str s = { t->at, 0 };
    size_t doubled = 0, n = 0;
    char *out;

    for (; t->at < t->end; t->at++) {
        if (*t->at != '"')
            continue;
        if (t->at + 1 == t->end || t->at[1] != '"')
            break;
        doubled++;
        t->at++;
    }
    s.len = (size_t)(t->at - s.ptr);
    if (!doubled)
        return s;
    out = mf_alloc(c, s.len);
    for (size_t i = 0; i < s.len; i++) {
        out[n++] = s.ptr[i];
        i += s.ptr[i] == '"';
    }
    return (mf_str){ out, n };
}

static mf_str next_text(mf_call *c, struct csv *t)
{
    int is_quoted = t->at < t->end && *t->at == '"';
    mf_str s;

    t->at += is_quoted;
    s = is_quoted ? unquoted(c, t) : (mf_str){ t->at, 0 };
    while (t->at < t->end && *t->at != ',' && *t->at != '\n')
        t->at++;
    if (!is_quoted)
        s.len = (size_t)(t->at - s.ptr);
    t->row_ended = t->at >= t->end || *t->at == '\n';
    t->at++;
    return s;
}

static int same_name(mf_str a, mf_str b)
{
    size_t i = 0;

    while (i < a.len && i < b.len && (a.ptr[i] | 32) == (b.ptr[i] | 32))
        i++;
    return a.len == b.len && i == a.len;
}

/* A table of records that were not taken, as it is read. */
struct refused {
    struct csv csv;
    uint32_t *columns; /* the job's, for each of the table's; or NONE */
    uint32_t count, error; /* how many; the one that says why, or NONE */
    struct row *from;      /* where the next one is looked for first */
};

static void read_head(mf_call *c, const struct job *j, struct refused *t,
                      uint32_t *there)
{
    const char *line = memchr(t->csv.at, '\n', (size_t)(t->csv.end -
                                                        t->csv.at));
    size_t most = (size_t)((line ? line : t->csv.end) - t->csv.at) + 1;

    t->columns = mf_alloc(c, most * sizeof *t->columns);
    t->error = NONE;
    do {
        mf_str name = next_text(c, &t->csv);
        uint32_t i = 0;

        if (name.len && name.ptr[name.len - 1] == '\r')
            name.len--;
        if (mf_eq(name, MF_STR("sf__Error")))
            t->error = t->count;
        while (i < j->column_count && !same_name(name, j->columns[i]))
            i++;
        if (i < j->column_count)
            there[i] = 1;
        t->columns[t->count++] = i < j->column_count ? i : NONE;
    } while (!t->csv.row_ended);
}

/* Marks the job's rows by the columns that the table has. */
static void mark_rows(mf_call *c, const struct job *j, const uint32_t *there)
{
    mf_val *cells = mf_alloc(c, j->column_count * sizeof *cells);

    for (struct row *row = j->first; row; row = row->next) {
        row->mark = 0;
        if (row->done)
            continue;
        place(c, j, row, cells);
        for (uint32_t i = 0; i < j->column_count; i++)
            if (there[i])
                row->mark += mark_of(i, mf_text(c, cells[i]));
    }
}

static struct row *row_marked(const struct job *j, struct refused *t,
                              uint64_t mark)
{
    struct row *row = t->from;

    for (uint32_t i = 0; i < j->row_count; i++) {
        struct row *next = row->next ? row->next : j->first;

        if (!row->done && row->mark == mark) {
            t->from = next;
            row->done = 1;
            return row;
        }
        row = next;
    }
    return NULL;
}

/* Each record of the table gets its result. */
static void read_refused(mf_call *c, struct job *j, mf_str bytes)
{
    struct refused t = { .csv = { bytes.ptr, bytes.ptr + bytes.len, 0 },
                         .from = j->first };
    uint32_t *there = mf_alloc(c, j->column_count * sizeof *there);

    if (!bytes.len)
        return;
    read_head(c, j, &t, there);
    mark_rows(c, j, there);
    while (t.csv.at < t.csv.end) {
        mf_str why = j->why;
        uint64_t mark = 0;
        struct row *row;

        t.csv.row_ended = 0;
        for (uint32_t i = 0; !t.csv.row_ended; i++) {
            mf_str s = next_text(c, &t.csv);

            if (i < t.count && i == t.error)
                why = s;
            else if (i < t.count && t.columns[i] != NONE)
                mark += mark_of(t.columns[i], s);
        }
        row = row_marked(j, &t, mark);
        if (t.error == NONE)
            j->missing += !row;
        else
            j->missing -= row != NULL;
        for (; row; row = row->later)
            mf_result(c, row->index, sf_class(why), why);
    }
}

/* ---- judging ---- */

/* Asks for what comes of the job, later each time. */
static int32_t again(mf_call *c, struct job *j, uint32_t step)
{
    static const char *const of[] = {
        [STEP_WAIT] = "", [STEP_FAILED] = "/failedResults/",
        [STEP_UNPROCESSED] = "/unprocessedrecords/",
    };
    mf_request *r;

    if (j->asked == ASKED_MAX) {
        mf_log(c, MF_LOG_ERROR,
               MF_JOIN(c, j->url, MF_STR(" has not ended yet; records that it "
                                         "refuses will be known to Salesforce "
                                         "alone")));
        return MF_DELIVERED;
    }
    r = ask(c, j, "GET", mf_cstr(of[step]), step);
    mf_option(r, MF_OPT_DELAY_MS,
              j->asked < DOUBLED ? 1000 << j->asked : STEADY_MS);
    j->asked++;
    return MF_CONTINUE;
}

/* The job is not to be carried out, or it would be twice. */
static int32_t abort_job(mf_call *c, struct job *j, int32_t status, mf_str why)
{
    j->status = status;
    j->why = why;
    set_state(c, j, MF_STR("Aborted"), STEP_ABORT);
    return MF_CONTINUE;
}

static int32_t opened(mf_call *c, struct job *j, const mf_request *r,
                      mf_val answer)
{
    mf_str id = mf_text(c, mf_get(c, answer, "id"));

    if (!id.len)
        return kit_settle(c, r, 500, MF_STR("the job that was opened has no "
                                            "id"));
    j->url = MF_JOIN(c, j->url, MF_STR("/"), mf_encode(c, MF_PERCENT, id));
    upload(c, j);
    return MF_CONTINUE;
}

/* A far side that says nothing of a state leaves nothing to wait for. */
static int32_t closed(mf_call *c, struct job *j, const mf_response *a)
{
    int32_t status = mf_status(a);
    mf_str why;

    if (status / 100 == 2 &&
        !mf_given(mf_get(c, mf_answer_json(a), "state")))
        return MF_OK;
    if (status / 100 != 2 && status != 0 && status < 500) {
        status = sf_verdict(c, a, &why);
        return abort_job(c, j, status, why);
    }
    return again(c, j, STEP_WAIT);
}

static int32_t ended(mf_call *c, struct job *j)
{
    if (j->missing > 0)
        mf_log(c, MF_LOG_ERROR,
               MF_JOIN(c, j->url, MF_STR(" refused records that are not known "
                                         "again: "), kit_int(c, j->missing)));
    return MF_DELIVERED;
}

static int32_t waited(mf_call *c, struct job *j, mf_val answer)
{
    mf_str state = mf_text(c, mf_get(c, answer, "state"));
    int failed = mf_eq(state, MF_STR("Failed")) ||
                 mf_eq(state, MF_STR("Aborted"));

    if (mf_eq(state, MF_STR("Open")))
        return abort_job(c, j, MF_RETRY, MF_STR("the job was not closed"));
    if (!failed && !mf_eq(state, MF_STR("JobComplete")))
        return again(c, j, STEP_WAIT);
    j->missing = mf_integer(c, mf_get(c, answer, "numberRecordsFailed"), 0);
    if (!failed && !j->missing)
        return MF_DELIVERED;
    if (failed) {
        j->why = mf_text(c, mf_get(c, answer, "errorMessage"));
        if (!j->why.len)
            j->why = MF_JOIN(c, MF_STR("the job is "), state);
    }
    ask(c, j, "GET", MF_STR("/failedResults/"), STEP_FAILED);
    return MF_CONTINUE;
}

static int32_t read_result(mf_call *c, struct job *j, uint32_t step,
                           const mf_response *a)
{
    read_refused(c, j, mf_answer_bytes(a));
    if (step == STEP_UNPROCESSED || !j->why.len)
        return ended(c, j);
    ask(c, j, "GET", MF_STR("/unprocessedrecords/"), STEP_UNPROCESSED);
    return MF_CONTINUE;
}

int32_t bulk_judge(mf_call *c, const mf_request *r, const mf_response *a)
{
    int ok = kit_ok(a);
    uint32_t step;
    struct job *j;
    void *state;
    int32_t status;
    mf_str why;

    step = mf_step(r, &state);
    j = state;
    if (step >= STEP_WAIT && mf_status(a) == MF_UNAUTHORIZED)
        j->asked = ASKED_MAX; /* this call's token will not serve any more */
    switch (step) {
    case STEP_OPEN:
        return ok ? opened(c, j, r, mf_answer_json(a)) : sf_failed(c, r, a);
    case STEP_UPLOAD:
        if (!ok) {
            status = sf_verdict(c, a, &why);
            return abort_job(c, j, status, why);
        }
        set_state(c, j, MF_STR("UploadComplete"), STEP_CLOSE);
        return MF_CONTINUE;
    case STEP_CLOSE:
        return closed(c, j, a);
    case STEP_WAIT:
        return ok ? waited(c, j, mf_answer_json(a)) : again(c, j, step);
    case STEP_ABORT:
        return kit_settle(c, r, j->status, j->why);
    default:
        return ok ? read_result(c, j, step, a) : again(c, j, step);
    }
}
