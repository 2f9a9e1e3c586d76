/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Lists of internal snapshots. */
#include "qemu/osdep.h"

#include "block/internal-snapshot.h"

BdrvSnapshot *any_fn bdrv_snapshot_copy(const BdrvSnapshot *sn)
{
    BdrvSnapshot *copy = g_memdup2(sn, sizeof(*sn));

    copy->id = g_strdup(sn->id);
    copy->name = g_strdup(sn->name);
    return copy;
}

void any_fn bdrv_snapshot_free(void *snapshot)
{
    BdrvSnapshot *sn = snapshot;

    if (sn) {
        g_free(sn->id);
        g_free(sn->name);
        g_free(sn);
    }
}

const BdrvSnapshot *any_fn bdrv_snapshot_find(const GPtrArray *list, const char *id,
                                              const char *name)
{
    for (guint i = 0; i < list->len; i++) {
        const BdrvSnapshot *sn = list->pdata[i];

        if ((!id || g_str_equal(sn->id, id)) && (!name || g_str_equal(sn->name, name))) {
            return sn;
        }
    }
    return NULL;
}

const BdrvSnapshot *any_fn bdrv_snapshot_find_any(const GPtrArray *list, const char *what)
{
    return bdrv_snapshot_find(list, what, NULL) ?: bdrv_snapshot_find(list, NULL, what);
}
