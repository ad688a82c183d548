/* SPDX-License-Identifier: Apache-2.0
 *
 * postgres.c - what is PostgreSQL's own: types, keys, words, and COPY from
 * the connection itself.
 *
 * Words: appendix C of its manual, those that are reserved. */
#include "warehouse.h"

static const char *const reserved[] = {
    "all",               "analyse",         "analyze",
    "and",               "any",             "array",
    "as",                "asc",             "asymmetric",
    "authorization",     "binary",          "both",
    "case",              "cast",            "check",
    "collate",           "collation",       "column",
    "concurrently",      "constraint",      "create",
    "cross",             "current_catalog", "current_date",
    "current_role",      "current_schema",  "current_time",
    "current_timestamp", "current_user",    "default",
    "deferrable",        "desc",            "distinct",
    "do",                "else",            "end",
    "except",            "false",           "fetch",
    "for",               "foreign",         "freeze",
    "from",              "full",            "grant",
    "group",             "having",          "ilike",
    "in",                "initially",       "inner",
    "intersect",         "into",            "is",
    "isnull",            "join",            "lateral",
    "leading",           "left",            "like",
    "limit",             "localtime",       "localtimestamp",
    "natural",           "not",             "notnull",
    "null",              "offset",          "on",
    "only",              "or",              "order",
    "outer",             "overlaps",        "placing",
    "primary",           "references",      "returning",
    "right",             "select",          "session_user",
    "similar",           "some",            "symmetric",
    "system_user",       "table",           "tablesample",
    "then",              "to",              "trailing",
    "true",              "union",           "unique",
    "user",              "using",           "variadic",
    "verbose",           "when",            "where",
    "window",            "with",
};

const struct dialect warehouse_dialect = {
    .name_max = 63,
    .keys = true,
    .types = { [TYPE_BOOL] = "boolean",
               [TYPE_INT] = "bigint",
               [TYPE_FLOAT] = "double precision",
               [TYPE_TIME] = "timestamp with time zone",
               [TYPE_TEXT] = "varchar(%u)" },
    .table_end = ", PRIMARY KEY (\"id\"))",
    .lock_end = " IN SHARE ROW EXCLUSIVE MODE",
    .stage_end = ") ON COMMIT DELETE ROWS",
    .reserved = reserved,
    .reserved_count = sizeof reserved / sizeof *reserved,
};
