/* SPDX-License-Identifier: GPL-2.0-or-later */
/* `-device help` and `-device MODEL,help`. */
#include "qemu/osdep.h"

#include "system.h"

static const char *const category_titles[DEVICE_CATEGORY__MAX] = {
    [DEVICE_CATEGORY_BRIDGE] = "Controller/Bridge/Hub", [DEVICE_CATEGORY_USB] = "USB",
    [DEVICE_CATEGORY_STORAGE] = "Storage", [DEVICE_CATEGORY_NETWORK] = "Network",
    [DEVICE_CATEGORY_INPUT] = "Input", [DEVICE_CATEGORY_DISPLAY] = "Display",
    [DEVICE_CATEGORY_MISC] = "Misc",
};

void system_print_models(void)
{
    int category = -1;

    for (const DeviceModel *m = device_models; m->name; m++) {
        if (m->not_by_user) {
            continue;
        }
        if ((int)m->category != category) {
            printf("%s%s devices:\n", category < 0 ? "" : "\n", category_titles[m->category]);
            category = m->category;
        }
        printf("name \"%s\", bus %s", m->name, m->bus);
        if (m->alias) {
            printf(", alias \"%s\"", m->alias);
        }
        if (m->desc) {
            printf(", desc \"%s\"", m->desc);
        }
        putchar('\n');
    }
}

bool system_print_properties(const char *name)
{
    const DeviceModel *m = device_find_model(name);

    if (!m) {
        return false;
    }
    g_auto(GStrv) properties = device_model_properties(m);
    printf("%s options:\n", m->name);
    for (char **p = properties; *p; p++) {
        printf("  %s\n", *p);
    }
    return true;
}
