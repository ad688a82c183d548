/* SPDX-License-Identifier: Apache-2.0
 *
 * redshift.c - what is Redshift's own: types, keys, words, and COPY from S3.
 * All else is that of the postgres plugin.
 *
 * Documents: Amazon Redshift Database Developer Guide, of COPY, its time
 * formats, ALTER TABLE and the reserved words excerpts read 2026-11-28; S3 API
 * Reference, PutObject and DeleteObject.
 *
 * A table's rows are one object, whose name is drawn from the events: a batch
 * that comes again writes the same one. It is deleted once it was copied, or
 * was not; what a crash leaves behind is for the bucket's lifecycle rule. */
#include "../postgres/warehouse.h"

#include <stdio.h>

static const char *const reserved[] = {
    "aes128",           "aes256",          "all",
    "allowoverwrite",   "analyse",         "analyze",
    "and",              "any",             "array",
    "as",               "asc",             "authorization",
    "az64",             "backup",          "between",
    "binary",           "blanksasnull",    "both",
    "bytedict",         "bzip2",           "case",
    "cast",             "check",           "collate",
    "column",           "constraint",      "create",
    "credentials",      "cross",           "current_date",
    "current_time",     "current_timestamp", "current_user",
    "current_user_id",  "default",         "deferrable",
    "deflate",          "defrag",          "delta",
    "delta32k",         "desc",            "disable",
    "distinct",         "do",              "else",
    "emptyasnull",      "enable",          "encode",
    "encrypt",          "encryption",      "end",
    "except",           "explicit",        "false",
    "for",              "foreign",         "freeze",
    "from",             "full",            "globaldict256",
    "globaldict64k",    "grant",           "group",
    "gzip",             "having",          "identity",
    "ignore",           "ilike",           "in",
    "initially",        "inner",           "intersect",
    "interval",         "into",            "is",
    "isnull",           "join",            "language",
    "leading",          "left",            "like",
    "limit",            "localtime",       "localtimestamp",
    "lun",              "luns",            "lzo",
    "lzop",             "minus",           "mostly16",
    "mostly32",         "mostly8",         "natural",
    "new",              "not",             "notnull",
    "null",             "nulls",           "off",
    "offline",          "offset",          "oid",
    "old",              "on",              "only",
    "open",             "or",              "order",
    "outer",            "overlaps",        "parallel",
    "partition",        "percent",         "permissions",
    "pivot",            "placing",         "primary",
    "raw",              "readratio",       "recover",
    "references",       "rejectlog",       "resort",
    "respect",          "restore",         "right",
    "select",           "session_user",    "similar",
    "snapshot",         "some",            "sysdate",
    "system",           "table",           "tag",
    "tdes",             "text255",         "text32k",
    "then",             "timestamp",       "to",
    "top",              "trailing",        "true",
    "truncatecolumns",  "union",           "unique",
    "unnest",           "unpivot",         "user",
    "using",            "verbose",         "wallet",
    "when",             "where",           "with",
    "without",
};

struct bucket {
    const char *name, *region, *prefix;
    struct out access; /* how Redshift may read it, as COPY says it */
};

static void settings(struct warehouse *w, mf_call *c)
{
    struct bucket *b = mf_alloc(c, sizeof *b);
    mf_str role = kit_setting_text(c, "iamRole");
    mf_str session = kit_setting_text(c, "sessionToken");
    mf_str prefix = kit_setting_text(c, "prefix");

    b->name = kit_cstr(c, kit_setting_text(c, "bucket"));
    b->region = kit_cstr(c, kit_setting_text(c, "region"));
    if (prefix.len && prefix.ptr[prefix.len - 1] != '/')
        prefix = MF_JOIN(c, prefix, MF_STR("/"));
    b->prefix = kit_cstr(c, prefix);
    out_text(&b->access, role.len ? "IAM_ROLE " : "ACCESS_KEY_ID ");
    out_quoted(&b->access,
               kit_cstr(c, role.len ? role
                                    : kit_setting_text(c, "accessKeyId")));
    if (!role.len) {
        out_text(&b->access, " SECRET_ACCESS_KEY ");
        out_quoted(&b->access,
                   kit_cstr(c, kit_setting_text(c, "secretAccessKey")));
    }
    if (!role.len && session.len) {
        out_text(&b->access, " SESSION_TOKEN ");
        out_quoted(&b->access, kit_cstr(c, session));
    }
    w->own = b;
}

static void forget(struct warehouse *w)
{
    struct bucket *b = w->own;

    out_free(&b->access);
}

static mf_str url_of(mf_call *c, const struct bucket *b, mf_str key)
{
    return MF_JOIN(c, MF_STR("https://"), mf_cstr(b->name), MF_STR(".s3."),
                   mf_cstr(b->region), MF_STR(".amazonaws.com/"), key);
}

/* A failure of S3's is told as the server's would be: one of its state. */
static int refuse(struct warehouse *w, const mf_response *a)
{
    mf_str body = mf_answer_bytes(a);

    w->db.lost = false;
    snprintf(w->db.state, sizeof w->db.state, "58030"); /* io_error */
    if (!mf_status(a))
        snprintf(w->db.error, sizeof w->db.error,
                 "S3 gave no answer (%s)",
                 mf_failure(a) == MF_FAIL_REFUSED ? "it may not be asked"
                                                  : "no connection");
    else
        snprintf(w->db.error, sizeof w->db.error, "S3 answered %d: %.*s",
                 (int)mf_status(a), (int)(body.len < 200 ? body.len : 200),
                 body.ptr);
    return -1;
}

static const mf_response *ask(struct warehouse *w, mf_call *c,
                              const char *method, mf_str key,
                              const struct out *rows)
{
    mf_request *r = mf_send(c, method, url_of(c, w->own, key));

    if (rows)
        mf_body_text(r, "text/plain", (mf_str){ rows->data, rows->len });
    mf_option(r, MF_OPT_TIMEOUT_MS, db_left(&w->db));
    return mf_exchange(r);
}

static int copy(struct warehouse *w, const struct table *table,
                const char *columns, mf_str key)
{
    const struct bucket *b = w->own;

    w->sql.len = 0;
    out_text(&w->sql, "COPY ");
    out_stage(&w->sql, table);
    out_format(&w->sql, " (%s) FROM 's3://%s/%.*s' %s REGION '%s' "
                        "DELIMITER '\\t' ESCAPE NULL AS '\\\\N' "
                        "TIMEFORMAT 'auto' COMPUPDATE OFF STATUPDATE OFF",
               columns, b->name, (int)key.len, key.ptr, b->access.data,
               b->region);
    if (db_exec(&w->db, w->sql.data) == 0)
        return 0;
    /* A row that cannot be loaded is told as a fault within the server; it is
     * one of the data (22000). */
    if (!w->db.lost && strstr(w->db.error, "load_error"))
        snprintf(w->db.state, sizeof w->db.state, "22000");
    return -1;
}

static int fill(struct warehouse *w, mf_call *c, const struct table *table,
                const char *columns, const struct out *rows)
{
    const struct bucket *b = w->own;
    mf_str key = MF_JOIN(c, mf_cstr(b->prefix), mf_cstr(table->schema),
                         MF_STR("/"),
                         mf_cstr(table->name), MF_STR("/"), mf_uuid(c));
    const mf_response *a = ask(w, c, "PUT", key, rows);
    int rc;

    if (mf_status(a) != 200)
        return refuse(w, a);
    rc = copy(w, table, columns, key);
    a = ask(w, c, "DELETE", key, NULL);
    if (mf_status(a) / 100 != 2)
        mf_log(c, MF_LOG_WARNING,
               MF_JOIN(c, MF_STR("could not be deleted from the bucket: "),
                       key));
    return rc;
}

const struct dialect warehouse_dialect = {
    .name_max = 127,
    .limit_in_bytes = true,
    .plain_escapes = true,
    .one_column = true,
    .types = { [TYPE_BOOL] = "boolean",
               [TYPE_INT] = "bigint",
               [TYPE_FLOAT] = "double precision",
               [TYPE_TIME] = "timestamptz",
               [TYPE_TEXT] = "varchar(%u)" },
    .table_end = ", PRIMARY KEY (\"id\")) DISTKEY (\"id\") "
                 "SORTKEY (\"received_at\")",
    .lock_end = "",
    .stage_end = ")",
    .reserved = reserved,
    .reserved_count = sizeof reserved / sizeof *reserved,
    .settings = settings,
    .forget = forget,
    .fill = fill,
};
