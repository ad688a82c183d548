/* SPDX-License-Identifier: Apache-2.0
 *
 * load.c - a checked plugin file becomes code of this process.
 *
 * The loader is given the open file by number, never a path: glibc answers a
 * path it has seen before with what it mapped then. The descriptor stays open
 * so that its number, and with it the name, is not used again; and nothing is
 * ever unmapped, since dlclose() cannot be made safe. */
#include "plugin/image.h"
#include "plugin/instance.h"

#include "base/io.h"
#include "base/text.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CODED_MAX   256  /* actions in a descriptor */
#define STRIDE_MAX  4096 /* bytes of one action */
#define SIZE_1_0    (offsetof(mf_destination, close) + sizeof(void *))
#define ACTION_1_0  (offsetof(mf_action, deliver) + sizeof(void *))

static const char *const special[] = {
    "testAuthentication", "onDelete", "refreshAccessToken", NULL,
};

static const mf_action *coded(const mf_destination *d, uint64_t i)
{
    return (const void *)((const char *)d->actions + i * d->action_size);
}

/* Sizes first: nothing else of the descriptor may be read before. */
static int check_versions(const mf_destination *d, const char *slug,
                          struct err *e)
{
    if (d->size < SIZE_1_0)
        return err_set(e, "%s: its descriptor has %u bytes, ABI 1.0 has %zu",
                       slug, d->size, SIZE_1_0);
    if (d->needs_minor > MF_ABI_MINOR)
        return err_set(e, "%s: needs a host of ABI %d.%u, this one speaks "
                          "%d.%d",
                       slug, MF_ABI_MAJOR, d->needs_minor, MF_ABI_MAJOR,
                       MF_ABI_MINOR);
    if (d->action_count == 0)
        return 0;
    if (!d->actions || d->action_count > CODED_MAX ||
        d->action_size < ACTION_1_0 || d->action_size > STRIDE_MAX ||
        d->action_size % sizeof(void *))
        return err_set(e, "%s: its table of actions makes no sense (%llu of "
                          "%u bytes)",
                       slug, (unsigned long long)d->action_count,
                       d->action_size);
    return 0;
}

static int check_coded(const struct manifest *m, const mf_destination *d,
                       uint64_t i, struct err *e)
{
    const mf_action *a = coded(d, i);
    const struct manifest_action *declared;
    bool native = m->kind == PLUGIN_NATIVE;

    if (!a->slug || (a->path_count && !a->paths))
        return err_set(e, "%s: action %llu of its code is incomplete", m->slug,
                       (unsigned long long)i);
    for (uint64_t k = 0; k < i; k++)
        if (strcmp(coded(d, k)->slug, a->slug) == 0)
            return err_set(e, "%s: its code has the action %s twice", m->slug,
                           a->slug);
    declared = manifest_action(m, mf_cstr(a->slug));
    if (!declared && !text_among(a->slug, special))
        return err_set(e, "%s: its code has an action %s that its manifest "
                          "has not",
                       m->slug, a->slug);
    if ((declared && declared->request) ||
        (!declared && m->test && strcmp(a->slug, special[0]) == 0) ||
        (!declared && m->on_delete && strcmp(a->slug, special[1]) == 0))
        return err_set(e, "%s: %s is declared by `request` and coded as well; "
                          "remove one",
                       m->slug, a->slug);
    if (native ? !a->deliver : !a->perform)
        return err_set(e, "%s: the action %s has no %s()", m->slug, a->slug,
                       native ? "deliver" : "perform");
    return 0;
}

static int check_agreement(const struct manifest *m, const mf_destination *d,
                           struct err *e)
{
    for (uint64_t i = 0; i < d->action_count; i++)
        if (check_coded(m, d, i, e) != 0)
            return -1;
    for (size_t i = 0; i < m->action_count; i++) {
        bool found = m->actions[i].request != NULL;

        for (uint64_t k = 0; k < d->action_count && !found; k++)
            found = strcmp(coded(d, k)->slug, m->actions[i].slug) == 0;
        if (!found)
            return err_set(e, "%s: the action %s has neither a `request` in "
                              "the manifest nor code",
                           m->slug, m->actions[i].slug);
    }
    return 0;
}

/* glibc's text begins with the name it was given, which helps nobody. */
static const char *loader_text(const char *name)
{
    const char *text = dlerror();
    size_t n = strlen(name);

    if (!text)
        return "unknown error";
    if (strncmp(text, name, n) == 0 && text[n] == ':')
        text += n + 1 + (text[n + 1] == ' ');
    return text;
}

static const mf_destination *map(int fd, const char *slug, struct err *e)
{
    const mf_destination *d;
    char name[64];
    void *handle;

    snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
    handle = dlopen(name, RTLD_NOW | RTLD_LOCAL);
    if (!handle) {
        err_set(e, "%s: cannot be loaded: %s", slug, loader_text(name));
        return NULL;
    }
    d = dlsym(handle, "mf_destination_v1");
    if (!d)
        err_set(e, "%s: cannot be loaded: %s", slug, loader_text(name));
    return d;
}

struct plugin *plugin_load(int fd, const char *manifest, size_t manifest_len,
                           const char *hash, struct err *e)
{
    char *text = xstrndup(manifest, manifest_len);
    struct manifest *m =
        manifest_parse(text, manifest_len, "manifest.json", e);
    const mf_destination *d;
    struct plugin *p;

    if (!m)
        return NULL;
    d = map(fd, m->slug, e);
    if (!d || check_versions(d, m->slug, e) != 0 ||
        check_agreement(m, d, e) != 0) {
        manifest_free(m);
        return NULL;
    }
    p = xcalloc(1, sizeof *p);
    p->manifest = m;
    p->code = d;
    snprintf(p->hash, sizeof p->hash, "%s", hash);
    return p;
}

void plugin_free(struct plugin *p)
{
    if (!p)
        return;
    manifest_free(p->manifest);
    free(p);
}

/* Tools are short-lived and map the file itself, so that backtraces name it;
 * the host maps copies from its store (store.h). */
struct plugin *plugin_open(const char *path, struct err *e)
{
    int fd = io.openat(AT_FDCWD, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK, 0);
    struct image image;
    struct plugin *p;

    if (fd < 0) {
        err_sys(e, "%s: cannot be opened", path);
        return NULL;
    }
    if (image_read_fd(fd, path, &image, e) != 0) {
        close(fd);
        return NULL;
    }
    p = plugin_load(fd, image.manifest, image.manifest_len, image.hash, e);
    image_free(&image);
    return p;
}
