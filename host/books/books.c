/* SPDX-License-Identifier: Apache-2.0
 *
 * books.c - see books.h. */
#include "books/books.h"

#include "base/io.h"
#include "base/mem.h"
#include "journal/segment.h"

#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define BUSY_MS     5000
#define TRIES       16 /* while segments go as they are opened */
#define FILES_SPARE 64 /* descriptors beside those of segments */

static int failed(struct books *b, const char *what, struct err *e)
{
    return err_set(e, "state.db: %s: %s", what, sqlite3_errmsg(b->db));
}

/* ---- rows ---- */

typedef int row_fn(struct books *b, sqlite3_stmt *q, struct err *e);

static int rows(struct books *b, const char *sql, row_fn *each, struct err *e)
{
    sqlite3_stmt *q;
    int rc;

    if (sqlite3_prepare_v2(b->db, sql, -1, &q, NULL) != SQLITE_OK)
        return failed(b, "it is not of this version", e);
    while ((rc = sqlite3_step(q)) == SQLITE_ROW)
        if (each(b, q, e) != 0)
            break;
    sqlite3_finalize(q);
    if (rc == SQLITE_DONE)
        return 0;
    return rc == SQLITE_ROW ? -1 : failed(b, "it cannot be read", e);
}

static uint64_t number(sqlite3_stmt *q, int column)
{
    return (uint64_t)sqlite3_column_int64(q, column);
}

static void *grow(void *list, size_t count, size_t size)
{
    if (count & (count - 1)) /* grows at each power of two */
        return list;
    return xrealloc(list, (count ? 2 * count : 1) * size);
}

static void add_open(struct books_lane *l, uint64_t seq)
{
    l->open = grow(l->open, l->open_count, sizeof *l->open);
    l->open[l->open_count++] = seq;
}

static int lane_row(struct books *b, sqlite3_stmt *q, struct err *e)
{
    size_t bytes = (size_t)sqlite3_column_bytes(q, 13);
    const char *pending = sqlite3_column_blob(q, 13);
    struct books_lane *l;

    if (b->lane_count == BOOKS_LANES_MAX)
        return err_set(e, "state.db has more than %d lanes", BOOKS_LANES_MAX);
    b->lanes = grow(b->lanes, b->lane_count, sizeof *b->lanes);
    l = &b->lanes[b->lane_count++];
    memset(l, 0, sizeof *l);
    l->id = (uint32_t)number(q, 0);
    l->source = (uint32_t)number(q, 1);
    snprintf(l->source_name, sizeof l->source_name, "%s",
             (const char *)sqlite3_column_text(q, 2));
    snprintf(l->destination, sizeof l->destination, "%s",
             (const char *)sqlite3_column_text(q, 3));
    l->start = number(q, 4);
    l->next = number(q, 5);
    l->counters = (struct counters){ number(q, 6), number(q, 7), number(q, 8),
                                     number(q, 9), number(q, 10),
                                     number(q, 11), number(q, 12) };
    if (l->source >= BOOKS_SOURCES_MAX ||
        bytes % sizeof(struct journal_pos) ||
        bytes / sizeof(struct journal_pos) > BOOKS_OPEN_MAX)
        return err_set(e, "state.db: the row of lane %u is damaged", l->id);
    for (size_t i = 0; i < bytes; i += sizeof(struct journal_pos)) {
        struct journal_pos at;

        memcpy(&at, pending + i, sizeof at);
        add_open(l, at.seq);
    }
    l->listed = l->open_count;
    return 0;
}

static int retry_row(struct books *b, sqlite3_stmt *q, struct err *e)
{
    struct books_lane *l = books_lane(b, (uint32_t)number(q, 0));

    if (!l)
        return 0;
    if (l->open_count == BOOKS_OPEN_MAX)
        return err_set(e, "lane %u has more than %u events open", l->id,
                       BOOKS_OPEN_MAX);
    add_open(l, number(q, 1));
    l->waiting++;
    return 0;
}

static int segment_row(struct books *b, sqlite3_stmt *q, struct err *e)
{
    (void)e;
    b->segments = grow(b->segments, b->segment_count, sizeof *b->segments);
    b->segments[b->segment_count++] = (struct ledger_segment){
        number(q, 0), number(q, 1), number(q, 2), number(q, 3)
    };
    return 0;
}

static int base_row(struct books *b, sqlite3_stmt *q, struct err *e)
{
    (void)e;
    b->bases = grow(b->bases, b->base_count, sizeof *b->bases);
    b->bases[b->base_count++] = (struct books_base){
        number(q, 0), (uint32_t)number(q, 1),
        { number(q, 2), number(q, 3), number(q, 4), number(q, 5) }
    };
    return 0;
}

static int by_number(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b;

    return (*x > *y) - (*x < *y);
}

static void sort_open(struct books_lane *l)
{
    size_t n = 0;

    if (l->open_count)
        qsort(l->open, l->open_count, sizeof *l->open, by_number);
    for (size_t i = 0; i < l->open_count; i++)
        if (n == 0 || l->open[i] != l->open[n - 1])
            l->open[n++] = l->open[i];
    l->open_count = n;
}

static int read_rows(struct books *b, struct err *e)
{
    if (rows(b, "SELECT l.id, l.source, s.name, l.destination, l.start, l.seq,"
                " l.accepted, l.delivered, l.filtered, l.dead, l.attempts,"
                " l.retries, l.lost, l.pending"
                " FROM lane l JOIN source s ON s.id = l.source ORDER BY l.id",
             lane_row, e) != 0 ||
        rows(b, "SELECT DISTINCT lane, seq FROM retry ORDER BY lane, seq",
             retry_row, e) != 0 ||
        rows(b, "SELECT n, bytes, least, greatest FROM outcome_segment"
                " ORDER BY n",
             segment_row, e) != 0 ||
        rows(b, "SELECT segment, lane, delivered, filtered, dead, lost"
                " FROM outcome_base ORDER BY segment, lane",
             base_row, e) != 0)
        return -1;
    for (size_t i = 0; i < b->lane_count; i++)
        sort_open(&b->lanes[i]);
    return 0;
}

/* ---- one moment ---- */

static void forget(struct books *b)
{
    for (size_t i = 0; i < b->lane_count; i++)
        free(b->lanes[i].open);
    for (size_t i = 0; b->fds && i < b->segment_count; i++)
        if (b->fds[i] >= 0)
            close(b->fds[i]);
    free(b->lanes);
    free(b->segments);
    free(b->fds);
    free(b->bases);
    b->lanes = NULL;
    b->segments = NULL;
    b->fds = NULL;
    b->bases = NULL;
    b->lane_count = b->segment_count = b->base_count = 0;
}

/* As many descriptors as there are segments, where that is allowed. */
static void allow_files(size_t count)
{
    rlim_t wanted = count + FILES_SPARE;
    struct rlimit l;

    if (getrlimit(RLIMIT_NOFILE, &l) != 0 || l.rlim_cur >= wanted)
        return;
    l.rlim_cur = l.rlim_max < wanted ? l.rlim_max : wanted;
    setrlimit(RLIMIT_NOFILE, &l);
}

/* How many segments are not there, in *missing. */
static int open_segments(struct books *b, size_t *missing, struct err *e)
{
    *missing = 0;
    allow_files(b->segment_count);
    b->fds = xcalloc(b->segment_count + 1, sizeof *b->fds);
    for (size_t i = 0; i < b->segment_count; i++) {
        char name[LEDGER_NAME + 16];

        memcpy(name, "outcomes/", 9);
        ledger_log_name(name + 9, b->segments[i].n);
        b->fds[i] = io.openat(b->data, name, O_RDONLY | O_CLOEXEC, 0);
        if (b->fds[i] < 0 && errno != ENOENT) {
            b->segment_count = i; /* what forget() closes */
            return err_sys(e, "%s cannot be opened", name);
        }
        *missing += b->fds[i] < 0;
    }
    return 0;
}

/* The rows and the files of one moment. A file that is missing twice in a row
 * was not taken away by retention: it is missing. */
static int take_moment(struct books *b, struct err *e)
{
    size_t missing = 0, before = SIZE_MAX;

    for (int i = 0; i < TRIES; i++) {
        char *why = NULL;
        int rc;

        forget(b);
        if (sqlite3_exec(b->db, "BEGIN", NULL, NULL, &why) != SQLITE_OK) {
            sqlite3_free(why);
            return failed(b, "it cannot be read", e);
        }
        rc = read_rows(b, e);
        sqlite3_exec(b->db, "ROLLBACK", NULL, NULL, NULL);
        if (rc != 0 || open_segments(b, &missing, e) != 0)
            return -1;
        if (missing == 0 || missing == before)
            break;
        before = missing;
    }
    return 0;
}

static int open_dirs(struct books *b, const char *dir, struct err *e)
{
    b->data = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (b->data < 0)
        return err_sys(e, "data_dir %s cannot be opened", dir);
    b->journal = openat(b->data, "journal",
                        O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (b->journal < 0)
        return err_sys(e, "%s/journal cannot be opened", dir);
    return 0;
}

static int open_state(struct books *b, const char *dir, struct err *e)
{
    char *path = xasprintf("%s/state.db", dir);
    int rc;

    rc = sqlite3_open_v2(path, &b->db,
                         SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX, NULL);
    free(path);
    if (rc != SQLITE_OK)
        return failed(b, "it cannot be opened", e);
    sqlite3_busy_timeout(b->db, BUSY_MS);
    return 0;
}

/* What the journal must hold: all that lanes have read was durable before
 * state.db was told. */
static int make_head(struct books *b, struct err *e)
{
    uint64_t first, durable = 0;

    if (books_first(b, &first) != 0)
        return err_sys(e, "the journal's directory cannot be read");
    for (size_t i = 0; i < b->lane_count; i++)
        if (b->lanes[i].next > durable + 1)
            durable = b->lanes[i].next - 1;
    atomic_store(&b->head.first, first);
    atomic_store(&b->head.durable, durable);
    return 0;
}

struct books *books_open(const char *data_dir, struct err *e)
{
    struct books *b = xcalloc(1, sizeof *b);

    b->data = b->journal = -1;
    if (open_dirs(b, data_dir, e) != 0 || open_state(b, data_dir, e) != 0 ||
        take_moment(b, e) != 0 || make_head(b, e) != 0) {
        books_free(b);
        return NULL;
    }
    return b;
}

void books_free(struct books *b)
{
    if (!b)
        return;
    forget(b);
    sqlite3_close(b->db);
    if (b->data >= 0)
        close(b->data);
    if (b->journal >= 0)
        close(b->journal);
    free(b);
}

struct books_lane *books_lane(struct books *b, uint32_t id)
{
    size_t from = 0, to = b->lane_count;

    while (from < to) {
        size_t mid = (from + to) / 2;

        if (b->lanes[mid].id == id)
            return &b->lanes[mid];
        if (b->lanes[mid].id < id)
            from = mid + 1;
        else
            to = mid;
    }
    return NULL;
}

const struct books_base *books_base(const struct books *b, uint64_t segment,
                                    uint32_t lane)
{
    size_t from = 0, to = b->base_count;

    while (from < to) {
        size_t mid = (from + to) / 2;
        const struct books_base *m = &b->bases[mid];

        if (m->segment == segment && m->lane == lane)
            return m;
        if (m->segment < segment || (m->segment == segment && m->lane < lane))
            from = mid + 1;
        else
            to = mid;
    }
    return NULL;
}

int books_first(const struct books *b, uint64_t *first)
{
    uint64_t below;

    *first = 0;
    return segment_neighbours(b->journal, 0, &below, first);
}
