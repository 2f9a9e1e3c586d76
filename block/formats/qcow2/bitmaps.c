/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Persistent bitmaps.  They are not kept up to date here, so before the first change of the disk
 * those that record changes are marked as being in use, which they stay: whoever opens the image
 * next knows that they are not to be trusted.  Disabled ones record nothing and stay valid,
 * unless the disk's size changes.
 */
#include "qemu/osdep.h"

#include "qcow2.h"

#define ENTRY_BYTES 24
#define FLAG_IN_USE (UINT32_C(1) << 0)
#define FLAG_AUTO   (UINT32_C(1) << 1)

/* Set the flags in @dir; false: it is not a directory. */
static bool mark_entries(const Qcow2Header *h, uint8_t *dir, bool all, bool *ret_changed)
{
    uint64_t size = h->bitmap_directory_size, pos = 0;

    for (uint32_t i = 0; i < h->nb_bitmaps; i++) {
        if (size - pos < ENTRY_BYTES) {
            return false;
        }
        uint8_t *e = dir + pos;
        uint32_t flags = be32_load(e + 12);
        uint64_t len = ROUND_UP(ENTRY_BYTES + (uint64_t)be16_load(e + 18) + be32_load(e + 20), 8);

        if (len > size - pos) {
            return false;
        }
        if ((all || flags & FLAG_AUTO) && !(flags & FLAG_IN_USE)) {
            be32_store(e + 12, flags | FLAG_IN_USE);
            *ret_changed = true;
        }
        pos += len;
    }
    return true;
}

int co_fn qcow2_bitmaps_mark_in_use(BlockDriverState *bs, bool all)
{
    const Qcow2Header *h = &qcow2_state(bs)->header;
    bool changed = false;
    int ret;

    if (!h->has_bitmaps) {
        return -EINVAL;
    }
    g_autofree uint8_t *dir = g_try_malloc(MAX(h->bitmap_directory_size, 1));
    if (!dir) {
        return -ENOMEM;
    }
    ret = qcow2_read_table(bs, h->bitmap_directory, dir, h->bitmap_directory_size);
    if (ret < 0) {
        return ret;
    }
    if (!mark_entries(h, dir, all, &changed)) {
        return -EINVAL;
    }
    if (changed) {
        ret = qcow2_write_table(bs, h->bitmap_directory, dir, h->bitmap_directory_size);
        if (ret == 0) {
            ret = bdrv_co_flush(bs->file, 0);
        }
    }
    return ret;
}
