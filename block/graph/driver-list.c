/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The drivers of this program, by name. */
#include "qemu/osdep.h"

#include "block/driver.h"

static GPtrArray *drivers;          /* filled by constructors, constant afterwards */

void any_fn bdrv_register(const BlockDriver *drv)
{
    /* (one entry for every driver) exactly one way to get at data */
    g_assert(!drv->co_preadv != !drv->co_map);
    if (!drivers) {
        drivers = g_ptr_array_new();
    }
    g_ptr_array_add(drivers, (void *)drv);
}

const BlockDriver *any_fn bdrv_find_driver(const char *name)
{
    for (guint i = 0; drivers && i < drivers->len; i++) {
        const BlockDriver *drv = drivers->pdata[i];
        if (strcmp(drv->name, name) == 0) {
            return drv;
        }
    }
    return NULL;
}

const BlockDriver *any_fn bdrv_find_driver_of_name(const char *filename)
{
    size_t n = strcspn(filename, ":/");

    for (guint i = 0; filename[n] == ':' && drivers && i < drivers->len; i++) {
        const BlockDriver *drv = drivers->pdata[i];
        for (const char *const *p = drv->name_prefixes; p && *p; p++) {
            if (strlen(*p) == n && strncmp(*p, filename, n) == 0) {
                return drv;
            }
        }
    }
    return NULL;
}

const BlockDriver *any_fn bdrv_probe(const uint8_t *buf, size_t len)
{
    const BlockDriver *best = NULL;
    int best_score = 0;

    for (guint i = 0; drivers && i < drivers->len; i++) {
        const BlockDriver *drv = drivers->pdata[i];
        int score = drv->probe ? drv->probe(buf, len) : 0;
        if (score > best_score) {
            best = drv;
            best_score = score;
        }
    }
    return best;
}
