/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Backends that -drive has made: which they are, and what they were made for. */
#include "qemu/osdep.h"

#include "hw/device.h"

static GQueue drives;               /* of Drive */

const GQueue *main_fn drive_list(void)
{
    return &drives;
}

void main_fn drive_register(Drive *drive)
{
    g_queue_push_tail(&drives, drive);
}

Drive *main_fn drive_of_backend(const BlockBackend *blk)
{
    for (GList *e = drives.head; e; e = e->next) {
        if (((Drive *)e->data)->blk == blk) {
            return e->data;
        }
    }
    return NULL;
}

static void main_fn forget(Drive *drive)
{
    g_queue_remove(&drives, drive);
    g_free(drive->text);
    g_free(drive);
}

void co_main_fn drive_remove(Drive *drive)
{
    BlockBackend *blk = drive->blk;

    forget(drive);
    blk_free(blk);
}

void main_fn drive_forget_all(void)
{
    while (!g_queue_is_empty(&drives)) {
        forget(g_queue_peek_head(&drives));
    }
}
