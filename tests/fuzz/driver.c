/* SPDX-License-Identifier: Apache-2.0
 *
 * driver.c - runs a fuzz target where there is no libFuzzer: over the files
 * it is given (or those of a directory), then over mutations of them.
 *
 *   fuzz_NAME FILE|DIRECTORY ...
 *
 * The mutations are the same in every run; MANIFOLD_FUZZ_RUNS says how many.
 * The input at hand when a target dies is left behind as crash-NUMBER. */
#include "base/io.h"
#include "base/mem.h"
#include "base/text.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SEEDS_MAX    1000
#define INPUT_MAX    (64u << 10) /* of a seed, and of what is made of it */
#define CHANGES_MAX  8           /* to one input */
#define RUNS_DEFAULT 10000

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
/* There where a sanitizer is. */
void __sanitizer_set_death_callback(void (*callback)(void))
    __attribute__((weak));

static mf_str seeds[SEEDS_MAX];
static size_t seed_count;
static char input[INPUT_MAX];
static size_t input_len;
static char crash_name[40];

/* Bytes that mean something to one parser or another. */
static const char *const words[] = {
    "{", "}", "[", "]", "\"", ":", ",", "\\", "\\u0000", "\\ud83d", "\xff",
    "\xe2\x80\xa8", "null", "true", "-1", "1e999", "9223372036854775808",
    "0.1", "{}", "[]", "\"\"", "(", ")", "!", "$.", "@path", "{{", "}}", "|",
    "\n", "\r\n", "\n--\n", "${", "\x7f", " ", "//", "/*", "*/",
};

static uint64_t draw(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static size_t below(uint64_t *state, size_t n)
{
    return n ? (size_t)(draw(state) % n) : 0;
}

/* ---- when it dies ---- */

static void leave_input(void)
{
    int fd = open(crash_name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

    if (fd < 0 || io_write_all(fd, input, input_len) != 0)
        return;
    io_write_all(2, crash_name, strlen(crash_name));
    io_write_all(2, " holds the input\n", 17);
}

static void on_death(int sig)
{
    leave_input();
    signal(sig, SIG_DFL);
    raise(sig);
}

/* ---- mutations ---- */

static void insert(size_t at, const char *bytes, size_t n)
{
    if (n > INPUT_MAX - input_len)
        n = INPUT_MAX - input_len;
    memmove(input + at + n, input + at, input_len - at);
    memmove(input + at, bytes, n);
    input_len += n;
}

static void cut(size_t at, size_t n)
{
    if (n > input_len - at)
        n = input_len - at;
    memmove(input + at, input + at + n, input_len - at - n);
    input_len -= n;
}

static void change(uint64_t *r)
{
    size_t at = below(r, input_len + 1), n = below(r, 32), from;
    const char *word = words[below(r, COUNT_OF(words))];
    char piece[512];
    mf_str other = seeds[below(r, seed_count)];

    switch (draw(r) % 8) {
    case 0:
    case 1:
        if (at < input_len)
            input[at] ^= (char)(1 << (draw(r) % 8));
        break;
    case 2:
        if (at < input_len)
            input[at] = (char)draw(r);
        break;
    case 3:
        cut(at, n);
        break;
    case 4:
        insert(at, word, strlen(word));
        break;
    case 5: /* a word in place of as many bytes */
        cut(at, strlen(word));
        insert(at, word, strlen(word));
        break;
    case 6: /* a piece of it once more */
        from = below(r, input_len);
        n = n < input_len - from ? n : input_len - from;
        memcpy(piece, input + from, n);
        insert(at, piece, n);
        break;
    default: /* a piece of another seed */
        from = below(r, other.len);
        n = 1 + below(r, sizeof piece);
        n = n < other.len - from ? n : other.len - from;
        insert(at, other.ptr + from, n);
    }
}

/* ---- running ---- */

static void take(mf_str seed)
{
    input_len = seed.len;
    memcpy(input, seed.ptr, seed.len);
}

static void run_one(size_t number)
{
    uint8_t *exact = xmalloc(input_len ? input_len : 1);

    snprintf(crash_name, sizeof crash_name, "crash-%zu", number);
    memcpy(exact, input, input_len);
    LLVMFuzzerTestOneInput(exact, input_len);
    free(exact);
}

static size_t run_all(size_t runs)
{
    uint64_t r = 0x9e3779b97f4a7c15u;
    size_t n = 0;

    input_len = 0;
    run_one(n++);
    for (size_t k = 0; k < seed_count; k++) {
        take(seeds[k]);
        run_one(n++);
    }
    for (size_t k = 0; seed_count && k < runs; k++) {
        size_t changes = 1 + below(&r, CHANGES_MAX);

        take(seeds[k % seed_count]);
        while (changes--)
            change(&r);
        run_one(n++);
    }
    return n;
}

/* ---- seeds ---- */

static void read_seed(int dir, const char *name)
{
    struct err e;
    char *text;
    size_t len;

    if (seed_count == SEEDS_MAX)
        return;
    if (io_read_file(dir, name, INPUT_MAX, &text, &len, &e) != 0) {
        fprintf(stderr, "%s\n", e.text);
        exit(2);
    }
    seeds[seed_count++] = (mf_str){ text, len };
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void read_seeds(const char *path)
{
    char *names[SEEDS_MAX];
    struct dirent *entry;
    DIR *d = opendir(path);
    size_t n = 0;

    if (!d) {
        read_seed(AT_FDCWD, path);
        return;
    }
    while (n < SEEDS_MAX && (entry = readdir(d)))
        if (entry->d_name[0] != '.')
            names[n++] = xstrdup(entry->d_name);
    qsort(names, n, sizeof *names, by_name);
    for (size_t k = 0; k < n; k++) {
        read_seed(dirfd(d), names[k]);
        free(names[k]);
    }
    closedir(d);
}

int main(int argc, char **argv)
{
    static const int deadly[] = { SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL };
    size_t ours = COUNT_OF(deadly);
    const char *text = getenv("MANIFOLD_FUZZ_RUNS");
    uint64_t runs = RUNS_DEFAULT;

    if (text && !parse_u64(mf_cstr(text), &runs)) {
        fputs("MANIFOLD_FUZZ_RUNS must be a number\n", stderr);
        return 2;
    }
    for (int k = 1; k < argc; k++)
        read_seeds(argv[k]);
    if (__sanitizer_set_death_callback) {
        __sanitizer_set_death_callback(leave_input);
        ours = 1; /* a sanitizer lets an abort() be */
    }
    for (size_t k = 0; k < ours; k++)
        signal(deadly[k], on_death);
    printf("%zu runs\n", run_all(runs));
    for (size_t k = 0; k < seed_count; k++)
        free((char *)(uintptr_t)seeds[k].ptr);
    return 0;
}
