/* SPDX-License-Identifier: Apache-2.0
 *
 * fuzz_manifest.c - manifests that anybody may have written.
 *
 * Each is either refused with a place or whole: then what refers to something
 * finds it, and an empty configuration can be checked against it. */
#include "plugin/instance.h"

#include "base/mem.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = xstrndup((const char *)data, size);
    struct instance_config none = { .name = "x" };
    struct instance_fault faults[4];
    struct err e = { "" };
    struct manifest *m = manifest_parse(text, size, "x", &e);

    if (!m) {
        ASSERT(strncmp(e.text, "x:", 2) == 0);
        return 0;
    }
    ASSERT(m->slug && m->name && m->version && m->auth_scheme && m->settings);
    for (size_t i = 0; i < m->action_count; i++) {
        const struct manifest_action *a = &m->actions[i];

        ASSERT(a->fields && a->batch_keys &&
               a->default_mapping.type == MF_OBJECT);
        ASSERT(manifest_action(m, mf_cstr(a->slug)) == a);
    }
    for (size_t i = 0; i < m->preset_count; i++)
        ASSERT(manifest_action(m, mf_cstr(m->presets[i].action)));
    instance_check(m, &none, faults, COUNT_OF(faults));
    manifest_free(m);
    return 0;
}
