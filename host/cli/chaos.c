/* SPDX-License-Identifier: Apache-2.0
 *
 * chaos.c - `manifold chaos`: faults on this very machine, and proof at the
 * end that nothing was lost.
 *
 * A server of its own in a temporary directory, with a load that writes down
 * every event that was acknowledged and receivers that write down every event
 * that arrived (tally.h). For the time asked for, one fault after the other
 * is drawn: receivers that are dead, slow, full or talk nonsense; kill -9 of
 * the whole tree, of a worker, of ingest; processes that are stopped for a
 * while; plugins replaced under load; and, where manifold-faults.so is there
 * to be preloaded, a full disk, failing, slow and short writes, and clocks
 * that jump by hours. Then all is healed, everything must arrive, and the
 * server's own audit must agree. Exit 1 when an event was lost, the server
 * ended by itself, or the audit found a difference. */
#include "cli/chaos.h"
#include "cli/commands.h"
#include "cli/load.h"
#include "cli/options.h"
#include "cli/own.h"
#include "cli/target.h"

#include "base/clock.h"
#include "base/io.h"
#include "base/mem.h"
#include "base/text.h"
#include "faults/page.h"
#include "json/json.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define DESTINATIONS  6
#define EVENTS_MAX    20000000
#define RATE_DEFAULT  500
#define CLOCK_MOST_MS (6 * 3600 * 1000ll) /* the wall clock is off, at most */
#define HEAL_WITHIN_S 300
#define HEAL_JUMP_MS  (10 * 60 * 1000) /* longer than any pause of a retry */
#define HEAL_JUMP_EVERY 5              /* seconds */
#define ENVIRONMENT_MAX 256

extern char **environ;

enum action {
    FAR_SIDE, KILL_TREE, KILL_WORKER, KILL_INGEST, STOP_CHILD, RELOAD,
    /* From here on with the preloaded library alone. */
    FULL_DISK, FAILING_DISK, SLOW_DISK, SHORT_WRITES, CLOCK_JUMP, ACTIONS
};

static const char *const action_names[ACTIONS] = {
    [FAR_SIDE] = "a receiver fails, or is mended",
    [KILL_TREE] = "kill -9 of the whole tree",
    [KILL_WORKER] = "kill -9 of a worker",
    [KILL_INGEST] = "kill -9 of ingest",
    [STOP_CHILD] = "a process stopped for a while",
    [RELOAD] = "a plugin replaced",
    [FULL_DISK] = "a full disk",
    [FAILING_DISK] = "syncs that fail",
    [SLOW_DISK] = "a slow disk",
    [SHORT_WRITES] = "short writes",
    [CLOCK_JUMP] = "the clock jumps",
};

struct chaos {
    char dir[64], config[96], log[96], tally_path[96], page_path[96];
    char plugins[PATH_MAX], library[PATH_MAX];
    double minutes, rate;
    uint64_t seed, random;
    bool json, keep;
    struct config *c;
    struct server_address at;
    int ingest_port, sink_port;
    pid_t server, load, sink;
    struct tally_file tally;
    struct faults_page *page; /* NULL: without the library */
    uint64_t done[ACTIONS];
    unsigned versions;        /* of the plugin so far */
};

static uint64_t chance(struct chaos *x, uint64_t n)
{
    x->random ^= x->random << 13;
    x->random ^= x->random >> 7;
    x->random ^= x->random << 17;
    return (x->random >> 11) % n;
}

static void pause_ms(uint64_t ms)
{
    struct timespec t = { (time_t)(ms / 1000), (long)(ms % 1000) * 1000000 };

    nanosleep(&t, NULL); /* cut short by a signal: the loop looks */
}

/* ---- making it ---- */

static int make_page(struct chaos *x, struct err *e)
{
    int fd = open(x->page_path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    struct stat st;

    if (access(x->library, R_OK) != 0) {
        fprintf(stderr, "%s is not there: no full disk, no jumping clock\n",
                x->library);
        if (fd >= 0)
            close(fd);
        return 0;
    }
    if (fd < 0 || ftruncate(fd, FAULTS_BYTES) != 0 || fstat(fd, &st) != 0)
        return err_sys(e, "%s cannot be made", x->page_path);
    x->page = mmap(NULL, FAULTS_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED,
                   fd, 0);
    close(fd);
    if (x->page == MAP_FAILED)
        return err_sys(e, "%s cannot be mapped", x->page_path);
    x->page->device = st.st_dev;
    x->page->magic = FAULTS_MAGIC;
    return 0;
}

static void write_destination(struct chaos *x, struct buf *to, int i)
{
    buf_printf(to,
               "%s\"d%d\":{\"plugin\":\"webhook\",\"allow_private\":true,"
               "\"concurrency\":32,\"timeout\":\"2s\",\"ttl\":\"720h\","
               "\"isolate\":%s,\"subscriptions\":[{\"action\":"
               "\"send\",\"subscribe\":\"type = \\\"track\\\"\","
               "\"mapping\":{\"url\":\"http://127.0.0.1:%d/d%d\","
               "\"method\":\"POST\",\"data\":{\"@path\":\"$.\"}}}]}",
               i ? "," : "", i, i % 2 ? "true" : "false", x->sink_port, i);
}

static int write_config(struct chaos *x, struct err *e)
{
    struct buf to;
    int rc;

    buf_init(&to, 65536);
    buf_printf(&to,
               "{\"data_dir\":\"data\",\"plugins_dir\":\"plugins\","
               "\"ingest\":{\"listen\":[\"127.0.0.1:%d\"]},"
               "\"admin\":{\"listen\":\"127.0.0.1:0\"},"
               "\"journal\":{\"retention\":\"720h\"},"
               "\"sources\":{\"load\":{\"write_key\":\"chaos\","
               "\"destinations\":[",
               x->ingest_port);
    for (int i = 0; i < DESTINATIONS; i++)
        buf_printf(&to, "%s\"d%d\"", i ? "," : "", i);
    buf_puts(&to, "]}},\"destinations\":{");
    for (int i = 0; i < DESTINATIONS; i++)
        write_destination(x, &to, i);
    buf_puts(&to, "}}\n");
    rc = io_replace_file(AT_FDCWD, x->config, to.data, to.len, 0644, e);
    buf_deinit(&to);
    return rc;
}

/* The plugin with so many bytes behind it: a new content each time. */
static int put_plugin(struct chaos *x, struct err *e)
{
    char from[PATH_MAX + 16], to[128];
    size_t len;
    char *bytes;
    int rc;

    snprintf(from, sizeof from, "%s/webhook.so", x->plugins);
    snprintf(to, sizeof to, "%s/plugins/webhook.so", x->dir);
    if (io_read_file(AT_FDCWD, from, 64u << 20, &bytes, &len, e) != 0)
        return -1;
    bytes = xrealloc(bytes, len + x->versions);
    memset(bytes + len, 'v', x->versions);
    rc = io_replace_file(AT_FDCWD, to, bytes, len + x->versions, 0755, e);
    free(bytes);
    x->versions++;
    return rc;
}

static int make_all(struct chaos *x, struct err *e)
{
    struct buf plugins;
    int rc;

    snprintf(x->dir, sizeof x->dir, "/tmp/manifold-chaos-XXXXXX");
    if (!mkdtemp(x->dir) || chmod(x->dir, 0755) != 0)
        return err_sys(e, "%s cannot be made", x->dir);
    snprintf(x->config, sizeof x->config, "%s/chaos.json", x->dir);
    snprintf(x->log, sizeof x->log, "%s/server.log", x->dir);
    snprintf(x->tally_path, sizeof x->tally_path, "%s/tally", x->dir);
    snprintf(x->page_path, sizeof x->page_path, "%s/faults", x->dir);
    buf_init(&plugins, sizeof x->dir + 16);
    buf_printf(&plugins, "%s/plugins%c", x->dir, 0);
    rc = io_make_dirs(plugins.data, 0755, e);
    buf_deinit(&plugins);
    x->ingest_port = own_port();
    x->sink_port = own_port();
    if (rc != 0 || put_plugin(x, e) != 0 || write_config(x, e) != 0 ||
        make_page(x, e) != 0 ||
        tally_create(&x->tally, x->tally_path, EVENTS_MAX, e) != 0)
        return -1;
    for (int i = 0; i < DESTINATIONS; i++) {
        char name[8];

        tally_path(&x->tally, name, (size_t)snprintf(name, sizeof name, "d%d",
                                                     i));
    }
    x->c = config_or_complain(x->config);
    return x->c ? 0 : err_set(e, "the configuration made for it has faults");
}

/* ---- processes ---- */

static int start_server(struct chaos *x, struct err *e)
{
    const char *run[] = { "manifold", "run", "-c", x->config, NULL };
    char *with[ENVIRONMENT_MAX];
    char library[PATH_MAX + 16], page[128];
    size_t n = 0;

    for (char **v = environ; *v && n < ENVIRONMENT_MAX - 3; v++)
        with[n++] = *v;
    snprintf(library, sizeof library, "LD_PRELOAD=%s", x->library);
    snprintf(page, sizeof page, FAULTS_ENV "=%s", x->page_path);
    if (x->page) {
        with[n++] = library;
        with[n++] = page;
    }
    with[n] = NULL;
    x->server = own_start(run, x->log, with, e);
    if (x->server < 0)
        return -1;
    return own_await(x->c, &x->server, &x->at, x->log, e);
}

/* A child of this process that does not need another program. */
static pid_t branch(struct chaos *x, bool load, struct err *e)
{
    struct load_options o = { .connections = 16, .batch = 1,
                              .write_key = "chaos", .rate = x->rate,
                              .tally = &x->tally, .stop = &chaos_stop };
    char address[32];
    struct load_result r;
    struct err why = { "" };
    pid_t pid = fork();
    int rc;

    if (pid < 0)
        err_sys(e, "no process can be made");
    if (pid != 0)
        return pid;
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    snprintf(address, sizeof address, "127.0.0.1:%d", x->ingest_port);
    o.address = address;
    rc = load ? load_run(&o, &r, &why)
              : target_run(x->sink_port, &x->tally, &chaos_stop, &why);
    if (rc != 0)
        fprintf(stderr, "manifold chaos: %s\n", why.text);
    _exit(rc == 0 ? 0 : 1);
}

struct choice {
    struct chaos *x;
    const char *role;
    pid_t pid;
    uint64_t seen;
};

/* Any one of those of the role, all equally likely. */
static void choose(void *arg, pid_t pid, const char *words, size_t len)
{
    struct choice *c = arg;

    if (memmem(words, len, c->role, strlen(c->role)) &&
        chance(c->x, ++c->seen) == 0)
        c->pid = pid;
}

static pid_t child_of(struct chaos *x, const char *role)
{
    struct choice c = { x, role, 0, 0 };

    own_children(x->server, choose, &c);
    return c.pid;
}

static void kill_one(void *arg, pid_t pid, const char *words, size_t len)
{
    (void)arg;
    (void)words;
    (void)len;
    kill(pid, SIGKILL);
}

static int kill_tree(struct chaos *x, struct err *e)
{
    kill(x->server, SIGSTOP); /* so that it starts nobody meanwhile */
    own_children(x->server, kill_one, NULL);
    kill(x->server, SIGKILL);
    waitpid(x->server, NULL, 0);
    x->server = 0;
    pause_ms(chance(x, 300));
    return start_server(x, e);
}

/* ---- what is done ---- */

static void far_side(struct chaos *x)
{
    struct tally_path *p = &x->tally.t->paths[chance(x, DESTINATIONS)];

    if (chance(x, 3) == 0) {
        p->mode = TALLY_OK;
        return;
    }
    p->delay_ms = 500 + chance(x, 3000);
    p->status = chance(x, 2) ? 503 : 429;
    p->retry_after = chance(x, 2) ? 1 + chance(x, 3) : 0;
    p->mode = 1 + chance(x, TALLY_MODES - 1);
}

static void stop_child(struct chaos *x)
{
    static const char *const roles[] = { "worker", "ingest", "admin" };
    pid_t pid = child_of(x, roles[chance(x, COUNT_OF(roles))]);

    if (!pid)
        return;
    kill(pid, SIGSTOP);
    pause_ms(100 + chance(x, 1500));
    kill(pid, SIGCONT);
}

static int replace_plugin(struct chaos *x, struct err *e)
{
    if (put_plugin(x, e) != 0)
        return -1;
    kill(x->server, SIGHUP);
    return 0;
}

static void for_a_while(struct chaos *x, faults_word *what, uint64_t value)
{
    *what = value;
    pause_ms(200 + chance(x, 1500));
    *what = 0;
}

static void jump(struct chaos *x)
{
    int64_t ms = (int64_t)chance(x, 2 * CLOCK_MOST_MS) - CLOCK_MOST_MS;

    x->page->wall_ms = ms;
}

static int act(struct chaos *x, enum action what, struct err *e)
{
    pid_t pid;

    x->done[what]++;
    switch (what) {
    case FAR_SIDE:
        far_side(x);
        return 0;
    case KILL_TREE:
        return kill_tree(x, e);
    case KILL_WORKER:
    case KILL_INGEST:
        pid = child_of(x, what == KILL_WORKER ? "worker" : "ingest");
        if (pid)
            kill(pid, SIGKILL);
        return 0;
    case STOP_CHILD:
        stop_child(x);
        return 0;
    case RELOAD:
        return replace_plugin(x, e);
    case FULL_DISK:
        for_a_while(x, &x->page->full, 1);
        return 0;
    case FAILING_DISK:
        for_a_while(x, &x->page->sync_fails, 200000);
        return 0;
    case SLOW_DISK:
        for_a_while(x, &x->page->sync_delay_us, 1000 + chance(x, 50000));
        return 0;
    case SHORT_WRITES:
        for_a_while(x, &x->page->short_writes, 300000);
        return 0;
    default:
        jump(x);
        return 0;
    }
}

static int still_there(struct chaos *x, struct err *e)
{
    int status;

    if (waitpid(x->server, &status, WNOHANG) != x->server)
        return 0;
    x->server = 0;
    return err_set(e, "the server ended by itself (%s %d); see %s",
                   WIFSIGNALED(status) ? "signal" : "exit",
                   WIFSIGNALED(status) ? WTERMSIG(status)
                                       : WEXITSTATUS(status),
                   x->log);
}

static int campaign(struct chaos *x, struct err *e)
{
    int64_t until = clock_mono_ms() + (int64_t)(x->minutes * 60000);

    while (clock_mono_ms() < until && !chaos_stop) {
        uint64_t n = x->page ? ACTIONS : FULL_DISK;

        pause_ms(200 + chance(x, 1200));
        if (still_there(x, e) != 0 ||
            act(x, (enum action)chance(x, n), e) != 0)
            return -1;
    }
    return 0;
}

/* ---- the end ---- */

static uint64_t missing(struct chaos *x)
{
    uint64_t n = 0;

    for (int i = 0; i < DESTINATIONS; i++)
        n += tally_judge(&x->tally, &x->tally.t->paths[i]).missing;
    return n;
}

/* Pending of all destinations; -1 while the server does not say. */
static int64_t pending(struct chaos *x)
{
    struct buf answer;
    mf_iter it = { 0 };
    mf_val all, one;
    mf_str key;
    struct err e;
    int64_t n = 0, sum = -1;

    buf_init(&answer, 4u << 20);
    if (admin_exchange(x->c, "/v1/status", NULL, &answer, &e) == 0) {
        all = json_get(json_root(buf_view(&answer)), MF_STR("destinations"));
        sum = 0;
        while (json_next(all, &it, &key, &one))
            if (json_integer(json_get(one, MF_STR("pending")), &n))
                sum += n;
    }
    buf_deinit(&answer);
    return sum;
}

/* Everything works again; whatever waits for its next attempt is helped by a
 * clocks that move on. */
static int heal(struct chaos *x, struct err *e)
{
    int64_t began = clock_mono_ms(), jumped = began, now;

    for (int i = 0; i < DESTINATIONS; i++)
        x->tally.t->paths[i].mode = TALLY_OK;
    while ((now = clock_mono_ms()) - began < HEAL_WITHIN_S * 1000) {
        if (still_there(x, e) != 0)
            return -1;
        if (missing(x) == 0 && pending(x) == 0)
            return 0;
        if (chaos_stop)
            return err_set(e, "it was ended before all had arrived");
        if (x->page && now - jumped > HEAL_JUMP_EVERY * 1000) {
            atomic_fetch_add(&x->page->wall_ms, HEAL_JUMP_MS);
            atomic_fetch_add(&x->page->mono_ms, HEAL_JUMP_MS);
            jumped = now;
        }
        pause_ms(100);
    }
    return err_set(e, "not everything arrived within %d s of being healed; "
                      "see %s", HEAL_WITHIN_S, x->log);
}

/* 0: it agrees. */
static int audit(struct chaos *x, struct err *e)
{
    const char *run[] = { "manifold", "audit", "-c", x->config, NULL };
    pid_t pid = own_start(run, x->log, NULL, e);
    int status = 0;

    if (pid < 0)
        return -1;
    waitpid(pid, &status, 0);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != EXIT_OK)
        return err_set(e, "the audit found a difference; see %s", x->log);
    return 0;
}

static void print_table(struct chaos *x)
{
    struct tally *t = x->tally.t;

    printf("\n%-32s %8s\n", "what was done", "times");
    for (int i = 0; i < ACTIONS; i++)
        printf("%-32s %8" PRIu64 "\n", action_names[i], x->done[i]);
    if (x->page)
        printf("%-32s %8" PRIu64 "\n%-32s %8" PRIu64 "\n%-32s %8" PRIu64 "\n",
               "  writes refused, no space", x->page->done_enospc,
               "  syncs failed", x->page->done_eio,
               "  writes cut short", x->page->done_short);
    printf("\nevents made %" PRIu64 ", acknowledged %" PRIu64
           ", answers 429 and 503 %" PRIu64 ", connections broken %" PRIu64
           "\n\n%-8s %10s %10s %8s %10s\n",
           t->made, t->acked, t->busy, t->broken, "", "requests", "arrived",
           "missing", "twice");
    for (int i = 0; i < DESTINATIONS; i++) {
        struct tally_verdict v = tally_judge(&x->tally, &t->paths[i]);

        printf("%-8s %10" PRIu64 " %10" PRIu64 " %8" PRIu64 " %10" PRIu64
               "\n", t->paths[i].name, t->paths[i].requests,
               t->paths[i].delivered, v.missing, v.extra);
    }
}

static void print_json(struct chaos *x, const char *verdict)
{
    struct tally *t = x->tally.t;
    struct json_out w;
    struct buf text;

    buf_init(&text, 65536);
    json_out_init(&w, &text);
    json_begin_object(&w);
    json_kint(&w, "seed", (int64_t)x->seed);
    json_kstr(&w, "verdict", mf_cstr(verdict));
    json_kint(&w, "made", (int64_t)t->made);
    json_kint(&w, "acknowledged", (int64_t)t->acked);
    json_kint(&w, "busy", (int64_t)t->busy);
    json_kint(&w, "busy_without_retry_after", (int64_t)t->without_retry);
    json_kint(&w, "missing", (int64_t)missing(x));
    json_key(&w, MF_STR("done"));
    json_begin_object(&w);
    for (int i = 0; i < ACTIONS; i++) {
        json_key(&w, mf_cstr(action_names[i]));
        json_int(&w, (int64_t)x->done[i]);
    }
    json_end_object(&w);
    json_end_object(&w);
    printf("%.*s\n", (int)text.len, text.data);
    buf_deinit(&text);
}

static int run(struct chaos *x, struct err *e)
{
    if (make_all(x, e) != 0)
        return -1;
    x->sink = branch(x, false, e);
    if (x->sink < 0 || start_server(x, e) != 0)
        return -1;
    x->load = branch(x, true, e);
    if (x->load < 0 || campaign(x, e) != 0)
        return -1;
    own_end(x->load);
    x->load = 0;
    if (heal(x, e) != 0 || audit(x, e) != 0)
        return -1;
    if (x->tally.t->without_retry)
        return err_set(e, "%" PRIu64 " answers 429 or 503 had no Retry-After",
                       x->tally.t->without_retry);
    if (x->tally.t->refused)
        return err_set(e, "%" PRIu64 " good events were refused for ever",
                       x->tally.t->refused);
    return 0;
}

static void end_all(struct chaos *x)
{
    own_end(x->load);
    own_end(x->server);
    own_end(x->sink);
    config_free(x->c);
    tally_close(&x->tally);
}

static const char usage[] =
    "usage: manifold chaos [--minutes N] [--seed N] [--rate N] "
    "[--plugins DIR] [--json] [--keep]\n"
    "       manifold chaos load|sink|tally ...\n";

static bool parse(struct chaos *x, int argc, char **argv)
{
    static const struct option options[] = {
        { "minutes", 1, NULL, 'm' }, { "seed", 1, NULL, 's' },
        { "rate", 1, NULL, 'r' }, { "plugins", 1, NULL, 'p' },
        OPTION_JSON, { "keep", 0, NULL, 'k' },
        OPTION_HELP
    };
    uint64_t n;
    char *end;
    int o;

    while ((o = option_next(argc, argv, "", options, usage)) != -1) {
        if (o == 'm') {
            x->minutes = strtod(optarg, &end);
            if (*end || !(x->minutes > 0 && x->minutes <= 10000))
                return false;
        } else if (o == 's' && parse_u64(mf_cstr(optarg), &n)) {
            x->seed = n;
        } else if (o == 'r' && parse_u64(mf_cstr(optarg), &n) && n) {
            x->rate = (double)n;
        } else if (o == 'p' && realpath(optarg, x->plugins)) {
            continue;
        } else if (o == 'j') {
            x->json = true;
        } else if (o == 'k') {
            x->keep = true;
        } else {
            return false;
        }
    }
    return optind == argc;
}

/* In a build directory beside the program, installed in lib/manifold. */
static void find_library(struct chaos *x)
{
    own_beside("manifold-faults.so", x->library, sizeof x->library);
    if (access(x->library, R_OK) != 0)
        own_beside("../lib/manifold/manifold-faults.so", x->library,
                   sizeof x->library);
}

int cmd_chaos(int argc, char **argv)
{
    static const char *const tools[] = { "load", "sink", "tally", NULL };
    struct chaos x = { .minutes = 5, .rate = RATE_DEFAULT,
                       .seed = (uint64_t)time(NULL) };
    struct err e = { "" };
    int rc;

    if (argc > 1 && text_among(argv[1], tools))
        return chaos_tool(argc - 1, argv + 1);
    own_beside("plugins", x.plugins, sizeof x.plugins);
    if (!parse(&x, argc, argv)) {
        fputs(usage, stderr);
        return EXIT_USAGE;
    }
    find_library(&x);
    x.random = x.seed * 0x9e3779b97f4a7c15ull | 1;
    chaos_catch();
    fprintf(stderr, "seed %" PRIu64 ", %g minutes\n", x.seed, x.minutes);
    rc = run(&x, &e);
    if (x.tally.t && x.json)
        print_json(&x, rc == 0 ? "nothing was lost" : e.text);
    else if (x.tally.t)
        print_table(&x);
    if (rc != 0)
        fprintf(stderr, "manifold chaos: %s; seed %" PRIu64 "\n", e.text,
                x.seed);
    else if (!x.json)
        printf("\nnothing was lost\n");
    end_all(&x);
    if (rc == 0 && !x.keep)
        own_remove(x.dir);
    else
        fprintf(stderr, "left: %s\n", x.dir);
    return rc == 0 ? EXIT_OK : EXIT_FAILED;
}
