/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The lock of the graph, (G1) in block.c. */
#include "qemu/osdep.h"

#include "block/block.h"

static CoMutex graph_mutex;

static void __attribute__((constructor)) graph_lock_init(void)
{
    co_mutex_init(&graph_mutex);
}

void co_main_fn bdrv_graph_lock(void)
{
    context_assert_main();
    co_mutex_lock(&graph_mutex);
}

void co_main_fn bdrv_graph_unlock(void)
{
    co_mutex_unlock(&graph_mutex);
}

bool co_main_fn bdrv_graph_is_locked_by_self(void)
{
    return co_mutex_held_by_self(&graph_mutex);
}
