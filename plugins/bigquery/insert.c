/* SPDX-License-Identifier: Apache-2.0
 *
 * insert.c - rows by streaming.
 *
 * Each row has an insertId, by which the service leaves out copies that come
 * within a minute or so; for all others there are the views. What a row is
 * refused for is told of it alone, the others of its request are in. */
#include "bigquery.h"

#define ROWS_MAX  500       /* of a streaming request, as is recommended */
#define BYTES_MAX (4 << 20) /* of any; the service ends at 10 MB */
#define ID_MAX    128       /* bytes of an insertId */

/* ---- a row as JSON ---- */

/* The service takes six digits behind the second, and a zone as +hh:mm. */
static void put_time(struct bigquery *b, const struct value *v)
{
    struct out t = { 0 };
    char *dot, *zone;

    value_write(&bigquery_dialect, TYPE_TIME, 0, v, &t);
    zone = t.data + 19 + strspn(t.data + 19, ".0123456789");
    dot = t.data + 19;
    out_text(&b->data, "\"");
    out_add(&b->data, t.data, 19);
    out_add(&b->data, dot, zone - dot > 7 ? 7 : (size_t)(zone - dot));
    out_add(&b->data, zone, *zone == 'Z' ? 1 : 3);
    if (*zone != 'Z') {
        out_text(&b->data, ":");
        out_text(&b->data, zone[3] ? t.data + t.len - 2 : "00");
    }
    out_text(&b->data, "\"");
    out_free(&t);
}

/* A number is text, so that none of its digits is lost on the way. */
static void put_number(struct bigquery *b, enum type type,
                       const struct value *v)
{
    out_text(&b->data, "\"");
    value_write(&bigquery_dialect, type, 0, v, &b->data);
    out_text(&b->data, "\"");
}

static void put_value(struct bigquery *b, enum type type,
                      const struct value *v)
{
    switch (type) {
    case TYPE_BOOL:
        out_add(&b->data, v->text.ptr, v->text.len);
        break;
    case TYPE_INT:
    case TYPE_FLOAT:
        put_number(b, type, v);
        break;
    case TYPE_TIME:
        put_time(b, v);
        break;
    case TYPE_JSON:
        out_json(&b->data, v->raw);
        break;
    default:
        out_json(&b->data, v->text);
        break;
    }
}

static void put_row(struct bigquery *b, const struct table *table,
                    const struct row *row)
{
    const char *before = "{\"";

    for (uint32_t i = 0; i < row->count; i++) {
        const struct column *column = table->columns[row->cells[i].column];
        const struct value *v = &row->cells[i].value;

        if (!column->known || value_fit(column->type, v) == FIT_NOT)
            continue;
        out_text(&b->data, before);
        out_text(&b->data, column->name);
        out_text(&b->data, "\":");
        put_value(b, column->type, v);
        before = ",\"";
    }
    out_text(&b->data, "}");
}

mf_str row_key(struct bigquery *b, const struct table *table,
               const struct row *row)
{
    const struct value *id = row_value(table, row, "id");
    mf_str key = table->upsert || !id
                     ? mf_text(b->call, mf_get(b->call,
                                               mf_field(b->events[row->event],
                                                        0),
                                               "messageId"))
                     : id->text;

    if (key.len <= ID_MAX)
        return key;
    return mf_encode(b->call, MF_HEX, mf_digest(b->call, MF_SHA256, key));
}

uint32_t rows_put(struct bigquery *b, const struct table *table, uint32_t from,
                  uint32_t to, bool stream)
{
    uint32_t i = from;

    b->data.len = 0;
    out_text(&b->data,
             stream ? "{\"skipInvalidRows\":true,\"rows\":[" : "");
    for (; i < to && b->data.len < BYTES_MAX; i++) {
        if (stream && i - from == ROWS_MAX)
            break;
        if (stream) {
            out_text(&b->data, i > from ? ",{\"insertId\":"
                                        : "{\"insertId\":");
            out_json(&b->data, row_key(b, table, &table->rows[i]));
            out_text(&b->data, ",\"json\":");
        }
        put_row(b, table, &table->rows[i]);
        out_text(&b->data, stream ? "}" : "\n");
    }
    out_text(&b->data, stream ? "]}" : "");
    return i;
}

/* ---- answers ---- */

/* Streaming learns late of a table that is new and of columns that are: such
 * a row is not at fault. */
static void judge_row(struct bigquery *b, struct table *table, uint32_t row,
                      mf_val error)
{
    mf_call *c = b->call;
    mf_str reason = mf_text(c, mf_get(c, error, "reason"));
    mf_str said = mf_text(c, mf_get(c, error, "message"));
    mf_str where = mf_text(c, mf_get(c, error, "location"));
    bool late = kit_has(said, MF_STR("no such field"));

    if (late)
        table_unknown(table);
    rows_result(b, table, row, row + 1,
                late || !mf_eq(reason, MF_STR("invalid")) ? MF_RETRY
                                                          : MF_INVALID,
                MF_JOIN(c, reason, where.len ? MF_STR(", ") : MF_STR(""),
                        where, MF_STR(": "), said));
}

static void judge(struct bigquery *b, struct table *table, uint32_t from,
                  uint32_t to, const mf_response *a)
{
    mf_val errors = mf_get(b->call, mf_answer_json(a), "insertErrors"), one;
    mf_iter it = { { 0 } };

    while (errors.type == MF_ARRAY &&
           mf_next(b->call, errors, &it, NULL, &one)) {
        int64_t i = mf_integer(b->call, mf_get(b->call, one, "index"), -1);

        if (i >= 0 && i < to - from)
            judge_row(b, table, from + (uint32_t)i,
                      mf_get(b->call, one, "errors[0]"));
    }
}

static const mf_response *send(struct bigquery *b, const struct table *table)
{
    const char *const parts[] = { "",          "datasets",  table->schema,
                                  "tables",    table->name, "insertAll",
                                  NULL };

    return api_send_json(b, api_request(b, "POST", parts), &b->data);
}

/* The request as such is refused: it is halved until the row is alone. */
static void halve(struct bigquery *b, struct table *table, uint32_t from,
                  uint32_t to, const mf_response *a)
{
    mf_str why;

    if (to - from == 1) {
        api_fault(b, a, &why);
        rows_result(b, table, from, to, MF_INVALID, why);
        return;
    }
    insert_rows(b, table, from, from + (to - from) / 2);
    insert_rows(b, table, from + (to - from) / 2, to);
}

static void fail_from(struct bigquery *b, struct table *table, uint32_t from,
                      const mf_response *a)
{
    mf_str why;
    int32_t status = api_fault(b, a, &why);

    rows_result(b, table, from, table->row_count, status, why);
    table->failed = true;
    if (mf_status(a) == 404)
        table_unknown(table);
}

void insert_rows(struct bigquery *b, struct table *table, uint32_t from,
                 uint32_t to)
{
    while (from < to && !table->failed) {
        uint32_t end = rows_put(b, table, from, to, true);
        const mf_response *a = send(b, table);

        if (kit_ok(a))
            judge(b, table, from, end, a);
        else if (mf_status(a) == 400 || mf_status(a) == 413)
            halve(b, table, from, end, a);
        else
            fail_from(b, table, from, a);
        from = end;
    }
}
