/* SPDX-License-Identifier: Apache-2.0
 *
 * api.c - requests to the service, and what its answers mean.
 *
 * Quotas are told by 403, as is a right that is missing; both can be better
 * the next time, and no event is worth less for it. Only what is said of a
 * single row is about that row. */
#include "bigquery.h"

#include <time.h>

#define API "https://bigquery.googleapis.com"

void out_json(struct out *o, mf_str text)
{
    size_t from = 0;

    out_text(o, "\"");
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];

        if (c >= 0x20 && c != '"' && c != '\\')
            continue;
        out_add(o, text.ptr + from, i - from);
        out_format(o, c < 0x20 ? "\\u%04x" : "\\%c", c);
        from = i + 1;
    }
    out_add(o, text.ptr + from, text.len - from);
    out_text(o, "\"");
}

int64_t api_left(const struct bigquery *b)
{
    struct timespec t;
    int64_t left;

    clock_gettime(CLOCK_REALTIME, &t); /* mf_now() stands still */
    left = b->deadline - (t.tv_sec * 1000 + t.tv_nsec / 1000000);
    return left > 1 ? left : 1;
}

mf_request *api_request(struct bigquery *b, const char *method,
                        const char *const *parts)
{
    mf_str url = MF_JOIN(b->call, MF_STR(API), mf_cstr(*parts++),
                         MF_STR("/bigquery/v2/projects/"),
                         mf_cstr(b->project));

    for (; *parts; parts++)
        url = MF_JOIN(b->call, url, MF_STR("/"), mf_cstr(*parts));
    return mf_send(b->call, method, url);
}

const mf_response *api_send(struct bigquery *b, mf_request *r)
{
    mf_option(r, MF_OPT_TIMEOUT_MS, api_left(b));
    return mf_exchange(r);
}

const mf_response *api_send_json(struct bigquery *b, mf_request *r,
                                 const struct out *body)
{
    mf_body_text(r, "application/json", (mf_str){ body->data, body->len });
    return api_send(b, r);
}

void api_reference(const struct bigquery *b, struct out *o,
                   const char *dataset, const char *table)
{
    out_text(o, "{\"projectId\":");
    out_json(o, mf_cstr(b->project));
    out_text(o, ",\"datasetId\":");
    out_json(o, mf_cstr(dataset));
    if (table) {
        out_text(o, ",\"tableId\":");
        out_json(o, mf_cstr(table));
    }
    out_text(o, "}");
}

int32_t api_fault(struct bigquery *b, const mf_response *a, mf_str *why)
{
    mf_str said = mf_text(b->call, mf_get(b->call, mf_answer_json(a),
                                          "error.message"));

    if (mf_status(a) && said.len)
        *why = MF_JOIN(b->call, kit_int(b->call, mf_status(a)), MF_STR(", "),
                       said);
    else if (mf_status(a))
        *why = MF_JOIN(b->call, MF_STR("answered "),
                       kit_int(b->call, mf_status(a)));
    else
        *why = MF_STR("no answer came");
    return mf_status(a) == MF_UNAUTHORIZED ? MF_UNAUTHORIZED : MF_RETRY;
}

void rows_result(struct bigquery *b, const struct table *table, uint32_t from,
                 uint32_t to, int32_t status, mf_str why)
{
    why = MF_JOIN(b->call, mf_cstr(table->key), MF_STR(": "), why);
    for (; from < to; from++)
        if (table->rows[from].event != MF_ALL)
            mf_result(b->call, table->rows[from].event, status, why);
}

void table_result(struct bigquery *b, struct table *table, int32_t status,
                  mf_str why)
{
    rows_result(b, table, 0, table->row_count, status, why);
    table->failed = true;
}

void table_fault(struct bigquery *b, struct table *table,
                 const mf_response *a)
{
    mf_str why;
    int32_t status = api_fault(b, a, &why);

    table_result(b, table, status, why);
    table_unknown(table);
}

void table_unknown(struct table *table)
{
    table->looked = table->known = false;
    for (uint32_t i = 0; i < table->column_count; i++)
        table->columns[i]->known = table->columns[i]->full = false;
}
