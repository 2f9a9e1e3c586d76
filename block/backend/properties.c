/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a backend is and has: its name, what it holds, its settings, its memory. */
#include "qemu/osdep.h"

#include "block/backend/backend-internal.h"

void main_fn blk_ref(BlockBackend *blk)
{
    blk->refs++;
}

void main_fn blk_unref(BlockBackend *blk)
{
    if (--blk->refs > 0) {
        return;
    }
    g_assert(blk->freed && !blk->throttle && !blk->root);
    co_mutex_destroy(&blk->throttle_lock);
    pthread_mutex_destroy(&blk->lock);
    g_free(blk->name);
    g_free(blk->user);
    g_free(blk->iothread);
    g_free(blk);
}

const char *any_fn blk_name(const BlockBackend *blk)
{
    return blk->name ?: "";
}

BlockDriverState *any_fn blk_bs(const BlockBackend *blk)
{
    return blk->root ? blk->root->bs : NULL;
}

BdrvLink *any_fn blk_root(const BlockBackend *blk)
{
    return blk->root;
}

bool any_fn blk_is_writable(const BlockBackend *blk)
{
    return blk->needs & CLAIM_WRITE;
}

unsigned any_fn blk_needs(const BlockBackend *blk)
{
    return blk->needs;
}

unsigned any_fn blk_allows(const BlockBackend *blk)
{
    return blk->allows;
}

bool main_fn blk_set_visitor(BlockBackend *blk, void (*co_leave)(void *opaque), void *opaque)
{
    if (co_leave && blk->visits_ended) {
        return false;
    }
    blk->co_leave = co_leave;
    blk->visitor = opaque;
    return true;
}

void co_main_fn blk_end_visits(BlockBackend *blk)
{
    blk->visits_ended = true;
    if (blk->co_leave) {
        blk->co_leave(blk->visitor);
    }
}

void main_fn blk_set_user(BlockBackend *blk, const char *user)
{
    g_free(blk->user);
    blk->user = g_strdup(user);
}

void main_fn blk_set_device(BlockBackend *blk, const BlkDevice *dev)
{
    blk->device = dev;
}

const BlkDevice *main_fn blk_device(const BlockBackend *blk)
{
    return blk->device;
}

void main_fn blk_set_quiet(BlockBackend *blk)
{
    blk->quiet = true;
}

const char *main_fn blk_user(const BlockBackend *blk)
{
    return blk->user;
}

void main_fn blk_set_write_cache(BlockBackend *blk, bool enabled)
{
    blk->write_cache = enabled;
}

bool any_fn blk_write_cache(const BlockBackend *blk)
{
    return blk->write_cache;
}

void main_fn blk_set_iothread(BlockBackend *blk, const char *iothread_id)
{
    g_free(blk->iothread);
    blk->iothread = g_strdup(iothread_id);
}

const char *main_fn blk_iothread(const BlockBackend *blk)
{
    return blk->iothread;
}

BlkStats *any_fn blk_stats(BlockBackend *blk)
{
    return &blk->stats;
}

int64_t any_fn blk_length(BlockBackend *blk)
{
    BlockDriverState *bs = blk_bs(blk);
    return bs ? bdrv_length(bs) : 0;
}
