/* SPDX-License-Identifier: Apache-2.0
 *
 * test.c - `manifold test`: the one harness of all plugins, also of those
 * that live elsewhere.
 *
 * Each plugin is loaded and played in a process of its own, several at a
 * time; it tells its parent of every case as it begins and ends, so that a
 * crash or a hang is laid to the case it happened in, and the rest go on in a
 * new process. Each case runs twice and must come out the same. No network,
 * no clock, no chance. */
#include "cli/commands.h"
#include "cli/harness.h"
#include "cli/options.h"

#include "base/clock.h"
#include "base/text.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define PLUGINS_MAX      4096
#define JOBS_MAX         64
#define CASE_TIMEOUT_S   20
#define CASE_TIMEOUT_MAX_S 86400
#define REPORT_BYTES_MAX (16u << 20) /* from one process */

struct job {
    char *slug, *so, *cases; /* owned */
    pid_t pid;               /* 0: does not run */
    int fd;
    struct buf in;     /* what it told and was not read yet */
    int64_t timeout;   /* of one case, in ms */
    int64_t deadline;  /* by the monotonic clock, of the case it is at */
    size_t next;       /* case to go on with */
    char *at;          /* owned: the case it is at, or NULL */
    size_t passed, failed, skipped, actions, covered;
    struct buf failures; /* as JSON objects, comma between */
    bool done;
};

struct options {
    const char *plugins, *cases;
    bool json, colour;
    long jobs;
    int64_t timeout_ms; /* of one case */
};

static const char usage[] =
    "usage: manifold test [--plugins DIR] [--cases DIR] [--jobs N]\n"
    "                     [--timeout SECONDS] [--json] [PATH ...]\n"
    "\n"
    "Plays the cases of plugins. PATH is a plugin's folder or its .so;\n"
    "without any, all folders in plugins/.\n"
    "\n"
    "  --plugins DIR  where the .so of a folder is (build/plugins)\n"
    "  --cases DIR    where the cases of a .so are (cases/ beside it)\n"
    "  --jobs N       processes at a time (one a processor)\n"
    "  --timeout N    seconds that one case may take (20)\n"
    "  --json         one JSON object instead of the table\n";

/* ---- what is to be tested ---- */

static bool is_dir(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

static char *base_name(const char *path)
{
    size_t len = strlen(path), from;

    while (len && path[len - 1] == '/')
        len--;
    for (from = len; from && path[from - 1] != '/'; from--)
        ;
    return xstrndup(path + from, len - from);
}

static char *dir_name(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? xstrndup(path, (size_t)(slash - path) + (slash == path))
                 : xstrdup(".");
}

static void take_folder(struct job *j, const char *path,
                        const struct options *o)
{
    char real[PATH_MAX];

    j->slug = base_name(realpath(path, real) ? real : path);
    j->so = xasprintf("%s/%s.so", o->plugins, j->slug);
    j->cases = xasprintf("%s/cases", path);
}

static void take_file(struct job *j, const char *path, const struct options *o)
{
    char *dir = dir_name(path), *name = base_name(path);
    char *tries[3];

    j->slug = xstrndup(name, strlen(name) - 3);
    j->so = xstrdup(path);
    tries[0] = o->cases ? xstrdup(o->cases) : xasprintf("%s/cases", dir);
    tries[1] = xasprintf("%s/%s/cases", dir, j->slug);
    tries[2] = xasprintf("plugins/%s/cases", j->slug);
    for (unsigned k = 0; k < 3; k++) {
        if (!j->cases && (is_dir(tries[k]) || (k == 0 && o->cases)))
            j->cases = tries[k];
        else
            free(tries[k]);
    }
    if (!j->cases)
        j->cases = xasprintf("%s/cases", dir);
    free(dir);
    free(name);
}

static int add_path(struct job **jobs, size_t *count, const char *path,
                    const struct options *o)
{
    size_t len = strlen(path);
    struct job *j;

    if (*count == PLUGINS_MAX)
        return -1;
    *jobs = xrealloc(*jobs, (*count + 1) * sizeof **jobs);
    j = &(*jobs)[*count];
    memset(j, 0, sizeof *j);
    if (is_dir(path))
        take_folder(j, path, o);
    else if (len > 3 && strcmp(path + len - 3, ".so") == 0)
        take_file(j, path, o);
    else
        return -1;
    j->fd = -1;
    j->timeout = o->timeout_ms;
    buf_init(&j->in, REPORT_BYTES_MAX);
    buf_init(&j->failures, REPORT_BYTES_MAX);
    (*count)++;
    return 0;
}

static int by_slug(const void *a, const void *b)
{
    return strcmp(((const struct job *)a)->slug, ((const struct job *)b)->slug);
}

static void add_all(struct job **jobs, size_t *count, const struct options *o)
{
    DIR *d = opendir("plugins");
    struct dirent *entry;
    char *path, *manifest;

    while (d && (entry = readdir(d))) {
        if (entry->d_name[0] == '.')
            continue;
        path = xasprintf("plugins/%s", entry->d_name);
        manifest = xasprintf("%s/manifest.json", path);
        if (access(manifest, R_OK) == 0)
            add_path(jobs, count, path, o);
        free(path);
        free(manifest);
    }
    if (d)
        closedir(d);
}

/* ---- children ---- */

static void add_failure(struct job *j, const char *what, const char *text)
{
    struct json_out w;

    if (j->failures.len)
        buf_char(&j->failures, ',');
    json_out_init(&w, &j->failures);
    json_begin_object(&w);
    json_kstr(&w, "case", mf_cstr(what));
    json_kstr(&w, "text", mf_cstr(text));
    json_end_object(&w);
    j->failed++;
}

static int start(struct job *j, struct job *all, size_t count)
{
    int fds[2];

    if (pipe(fds) < 0)
        return -1;
    fflush(stdout);
    j->pid = fork();
    if (j->pid == 0) {
        close(fds[0]);
        for (size_t k = 0; k < count; k++)
            if (all[k].fd >= 0)
                close(all[k].fd);
        harness_child(j->so, j->cases, j->next, fds[1]);
        _exit(0);
    }
    close(fds[1]);
    if (j->pid < 0) {
        close(fds[0]);
        j->pid = 0;
        return -1;
    }
    j->fd = fds[0];
    j->deadline = clock_mono_ms() + j->timeout;
    buf_clear(&j->in);
    return 0;
}

/* One line of what the child tells. */
static void hear(struct job *j, mf_str line, struct arena *a)
{
    mf_val v;
    mf_str text;
    int64_t n;

    if (json_check(line, JSON_DEPTH_MAX, NULL) < 0)
        return;
    v = json_root(line);
    j->deadline = clock_mono_ms() + j->timeout;
    if (json_integer(json_get(v, MF_STR("actions")), &n))
        j->actions = (size_t)n;
    if (json_integer(json_get(v, MF_STR("covered")), &n))
        j->covered = (size_t)n;
    text = json_text(json_get(v, MF_STR("begin")), a);
    if (text.len) {
        free(j->at);
        j->at = xstrndup(text.ptr, text.len);
        j->next++;
        return;
    }
    if (json_is_true(json_get(v, MF_STR("done"))))
        j->done = true;
    if (json_is_true(json_get(v, MF_STR("passed"))))
        j->passed++;
    if (json_is_true(json_get(v, MF_STR("skipped"))))
        j->skipped++;
    text = json_text(json_get(v, MF_STR("failure")), a);
    if (text.len) {
        char *copy = xstrndup(text.ptr, text.len);

        add_failure(j, j->at ? j->at : j->slug, copy);
        free(copy);
    }
    free(j->at);
    j->at = NULL;
}

static void hear_all(struct job *j)
{
    struct arena a;
    char *end;

    arena_init(&a, REPORT_BYTES_MAX);
    while (j->in.len && (end = memchr(j->in.data, '\n', j->in.len))) {
        size_t len = (size_t)(end - j->in.data);

        hear(j, (mf_str){ j->in.data, len }, &a);
        buf_drop(&j->in, len + 1);
        arena_reset(&a);
    }
    arena_deinit(&a);
}

/* It is gone: for good, or for the case it was at. */
static void ended(struct job *j, bool hung)
{
    char text[256];
    int status = 0;

    close(j->fd);
    j->fd = -1;
    while (waitpid(j->pid, &status, 0) < 0 && errno == EINTR)
        ;
    j->pid = 0;
    if (j->done && !hung)
        return;
    if (hung)
        snprintf(text, sizeof text, "no end after %lld s",
                 (long long)j->timeout / 1000);
    else if (WIFSIGNALED(status))
        snprintf(text, sizeof text, "the plugin crashed: signal %d, %s",
                 WTERMSIG(status), strsignal(WTERMSIG(status)));
    else
        snprintf(text, sizeof text, "the process ended with status %d",
                 WEXITSTATUS(status));
    add_failure(j, j->at ? j->at : j->slug, text);
    j->done = !j->at; /* nothing had begun: it would happen again */
    free(j->at);
    j->at = NULL;
}

static void receive(struct job *j)
{
    char *room = buf_room(&j->in, 65536);
    ssize_t got = room ? read(j->fd, room, 65536) : 0;

    if (got < 0 && (errno == EINTR || errno == EAGAIN))
        return;
    if (got > 0) {
        j->in.len += (size_t)got;
        hear_all(j);
        return;
    }
    ended(j, false);
}

/* ---- output ---- */

static void show_failures(const struct job *j, const struct options *o)
{
    struct arena a;
    mf_iter it = { { 0 } };
    struct buf b;
    mf_str key, text;
    mf_val v;

    buf_init(&b, REPORT_BYTES_MAX + 2);
    buf_char(&b, '[');
    buf_str(&b, buf_view(&j->failures));
    buf_char(&b, ']');
    arena_init(&a, REPORT_BYTES_MAX);
    while (json_next(json_root(buf_view(&b)), &it, &key, &v)) {
        text = json_text(json_get(v, MF_STR("case")), &a);
        printf("  %s%.*s%s\n", o->colour ? "\033[1m" : "", (int)text.len,
               text.ptr, o->colour ? "\033[0m" : "");
        text = json_text(json_get(v, MF_STR("text")), &a);
        for (size_t from = 0, k = 0; k <= text.len; k++) {
            if (k < text.len && text.ptr[k] != '\n')
                continue;
            printf("      %.*s\n", (int)(k - from), text.ptr + from);
            from = k + 1;
        }
    }
    arena_deinit(&a);
    buf_deinit(&b);
}

static void show_job(const struct job *j, const struct options *o)
{
    const char *word = j->failed ? "FAIL" : "ok";
    const char *on = !o->colour ? "" : j->failed ? "\033[31m" : "\033[32m";

    printf("%s%-4s%s %-40s %4zu passed", on, word, o->colour ? "\033[0m" : "",
           j->slug, j->passed);
    if (j->failed)
        printf(", %zu failed", j->failed);
    if (j->skipped)
        printf(", %zu skipped", j->skipped);
    if (j->covered < j->actions)
        printf("  (%zu of %zu actions have a case)", j->covered, j->actions);
    putchar('\n');
    if (j->failed)
        show_failures(j, o);
}

static void show_json(const struct job *jobs, size_t count,
                      const size_t sums[3], int64_t ms)
{
    struct json_out w;
    struct buf b;

    buf_init(&b, SIZE_MAX / 2);
    json_out_init(&w, &b);
    json_begin_object(&w);
    json_key(&w, MF_STR("plugins"));
    json_begin_array(&w);
    for (size_t k = 0; k < count; k++) {
        const struct job *j = &jobs[k];

        json_begin_object(&w);
        json_kstr(&w, "plugin", mf_cstr(j->slug));
        json_kint(&w, "passed", (int64_t)j->passed);
        json_kint(&w, "failed", (int64_t)j->failed);
        json_kint(&w, "skipped", (int64_t)j->skipped);
        json_kint(&w, "actions", (int64_t)j->actions);
        json_kint(&w, "covered", (int64_t)j->covered);
        json_key(&w, MF_STR("failures"));
        json_begin_array(&w);
        buf_str(&b, buf_view(&j->failures));
        json_end_array(&w);
        json_end_object(&w);
    }
    json_end_array(&w);
    json_kint(&w, "passed", (int64_t)sums[0]);
    json_kint(&w, "failed", (int64_t)sums[1]);
    json_kint(&w, "skipped", (int64_t)sums[2]);
    json_kint(&w, "milliseconds", ms);
    json_end_object(&w);
    printf("%.*s\n", (int)b.len, b.data);
    buf_deinit(&b);
}

/* ---- the run ---- */

static bool is_over(const struct job *j)
{
    return j->pid == 0 && j->done;
}

static void start_some(struct job *jobs, size_t count, long limit)
{
    long running = 0;

    for (size_t k = 0; k < count; k++)
        running += jobs[k].pid != 0;
    for (size_t k = 0; k < count && running < limit; k++) {
        struct job *j = &jobs[k];

        if (j->pid || j->done)
            continue;
        if (start(j, jobs, count) == 0) {
            running++;
        } else {
            add_failure(j, j->slug, "no process could be started");
            j->done = true;
        }
    }
}

static void wait_some(struct job *jobs, size_t count)
{
    struct pollfd fds[JOBS_MAX];
    struct job *of[JOBS_MAX];
    int64_t now = clock_mono_ms(), wait = CASE_TIMEOUT_S * 1000;
    nfds_t n = 0;

    for (size_t k = 0; k < count && n < JOBS_MAX; k++) {
        if (!jobs[k].pid)
            continue;
        if (jobs[k].deadline - now < wait)
            wait = jobs[k].deadline - now;
        of[n] = &jobs[k];
        fds[n++] = (struct pollfd){ jobs[k].fd, POLLIN, 0 };
    }
    if (n == 0 || poll(fds, n, wait > 0 ? (int)wait : 0) < 0)
        return;
    now = clock_mono_ms();
    for (nfds_t k = 0; k < n; k++) {
        if (fds[k].revents) {
            receive(of[k]);
        } else if (now >= of[k]->deadline) {
            kill(of[k]->pid, SIGKILL);
            ended(of[k], true);
        }
    }
}

static void run_jobs(struct job *jobs, size_t count, const struct options *o)
{
    size_t shown = 0;

    while (shown < count) {
        start_some(jobs, count, o->jobs);
        wait_some(jobs, count);
        for (; shown < count && is_over(&jobs[shown]); shown++)
            if (!o->json)
                show_job(&jobs[shown], o);
    }
}

static int read_options(int argc, char **argv, struct options *o)
{
    static const struct option options[] = {
        OPTION_JSON,
        { "plugins", 1, NULL, 'p' },
        { "cases", 1, NULL, 'c' },
        { "jobs", 1, NULL, 'n' },
        { "timeout", 1, NULL, 't' },
        OPTION_HELP
    };
    uint64_t n = 0;
    int c;

    while ((c = option_next(argc, argv, "", options, usage)) != -1) {
        if ((c == 'n' || c == 't') && (!parse_u64(mf_cstr(optarg), &n) ||
                                       n < 1 || n > CASE_TIMEOUT_MAX_S))
            return usage_error(usage, "test: %s is no number from 1 to %d",
                               optarg, CASE_TIMEOUT_MAX_S);
        if (c == 'n')
            o->jobs = n < JOBS_MAX ? (long)n : JOBS_MAX;
        else if (c == 't')
            o->timeout_ms = 1000 * (int64_t)n;
        else if (c == 'p')
            o->plugins = optarg;
        else if (c == 'c')
            o->cases = optarg;
        o->json |= c == 'j';
    }
    return EXIT_OK;
}

static int finish(struct job *jobs, size_t count, const struct options *o,
                  int64_t started)
{
    size_t sums[3] = { 0 };
    int64_t ms = clock_mono_ms() - started;

    for (size_t k = 0; k < count; k++) {
        sums[0] += jobs[k].passed;
        sums[1] += jobs[k].failed;
        sums[2] += jobs[k].skipped;
    }
    if (o->json) {
        show_json(jobs, count, sums, ms);
    } else {
        printf("%zu plugin%s in %lld ms\n", count, count == 1 ? "" : "s",
               (long long)ms);
        printf("%zu passed, %zu failed", sums[0], sums[1]);
        if (sums[2])
            printf(", %zu skipped", sums[2]);
        putchar('\n');
    }
    for (size_t k = 0; k < count; k++) {
        free(jobs[k].slug);
        free(jobs[k].so);
        free(jobs[k].cases);
        buf_deinit(&jobs[k].in);
        buf_deinit(&jobs[k].failures);
    }
    free(jobs);
    return sums[1] != 0;
}

int cmd_test(int argc, char **argv)
{
    struct options o = { .plugins = "build/plugins",
                         .jobs = sysconf(_SC_NPROCESSORS_ONLN),
                         .timeout_ms = CASE_TIMEOUT_S * 1000,
                         .colour = isatty(1) && !getenv("NO_COLOR") };
    int64_t started = clock_mono_ms();
    struct job *jobs = NULL;
    size_t count = 0;
    int rc = EXIT_USAGE;

    if (read_options(argc, argv, &o) != EXIT_OK)
        goto out;
    for (int k = optind; k < argc; k++)
        if (add_path(&jobs, &count, argv[k], &o) < 0) {
            fprintf(stderr, "manifold test: %s is no plugin folder and no "
                            ".so\n", argv[k]);
            goto out;
        }
    if (optind == argc)
        add_all(&jobs, &count, &o);
    if (count == 0) {
        fprintf(stderr, "manifold test: there is no plugins/*/manifest.json "
                        "here\n");
        rc = 1;
        goto out;
    }
    qsort(jobs, count, sizeof *jobs, by_slug);
    run_jobs(jobs, count, &o);
    rc = finish(jobs, count, &o, started);
    jobs = NULL;
out:
    free(jobs);
    return rc;
}
