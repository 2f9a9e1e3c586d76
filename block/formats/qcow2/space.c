/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Space in the file for metadata, taken before a request that needs it is acknowledged.
 *
 * (S1) A page is made dirty only if its place in the file has space: what it was read from is not
 *      all zero, so it was no hole, or zeroes were written there.
 *
 * So a file system (or quota, or limit of the file's size) that has no space left fails the request
 * that needs a table, and never the flush of requests that were acknowledged. A new table costs one
 * request to write zeroes, which a file system does without writing; that of a page which was a
 * hole is made when it changes for the first time. Pages have space once they have it: freeing
 * clusters, which decrements refcounts, needs none.
 *
 * Not promised where overwriting takes space (copy on write below).
 */
#include "qemu/osdep.h"

#include "qcow2.h"

/* New tables that are remembered, about 1 MiB. One that was forgotten has zeroes written once
 * more. */
#define MAX_KNOWN 16384

void any_fn qcow2_space_note(Qcow2State *s, HostOffset offset, uint64_t clusters)
{
    uint64_t first = offset.v >> s->g.cluster_bits;

    for (uint64_t i = first; i < first + clusters; i++) {
        if (g_hash_table_size(s->with_space) >= MAX_KNOWN) {
            g_hash_table_remove_all(s->with_space);
        }
        g_hash_table_add(s->with_space, GSIZE_TO_POINTER(i));
    }
}

int co_fn qcow2_space_take(BlockDriverState *bs, HostOffset table, uint64_t clusters)
{
    Qcow2State *s = qcow2_state(bs);
    int ret = bdrv_co_pwrite_zeroes(bs->file, table.v, clusters << s->g.cluster_bits, 0);

    if (ret == 0) {
        qcow2_lock(s);
        qcow2_space_note(s, table, clusters);
        qcow2_unlock(s);
    }
    return ret;
}

/* Under space_lock and cache.lock: until the page has space nobody changes it, so that zeroes
 * are what it is. */
static int co_fn page_take(BlockDriverState *bs, Qcow2Page *page)
{
    Qcow2State *s = qcow2_state(bs);
    int ret = qcow2_overlap_check(bs, qcow2_page_kind(page->cls), host_offset(page->offset),
                                  s->g.page_size, "metadata");

    if (ret < 0 || page->has_space || page->stale) {
        return ret;
    }
    assert(!page->dirty);
    qcow2_unlock(s);
    ret = bdrv_co_pwrite_zeroes(bs->file, page->offset, s->g.page_size, 0);
    qcow2_lock(s);
    page->has_space = ret == 0;
    return ret;
}

int co_fn qcow2_page_change_try(BlockDriverState *bs, Qcow2Walk *w, Qcow2Page *page)
{
    Qcow2State *s = qcow2_state(bs);

    if (page->has_space) {
        return 0;
    }
    qcow2_walk_pin(s, w, page);
    qcow2_unlock(s);
    co_mutex_lock(&s->space_lock);
    qcow2_lock(s);
    int ret = page_take(bs, page);
    qcow2_unlock(s);
    co_mutex_unlock(&s->space_lock);
    qcow2_lock(s);
    return ret < 0 ? ret : -EAGAIN;
}
