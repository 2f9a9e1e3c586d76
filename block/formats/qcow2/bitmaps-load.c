/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Persistent bitmaps read into memory when the image is opened.  The disk can be used whatever they
 * are: one that cannot be read becomes inconsistent, and can be removed; a directory that makes no
 * sense is left alone, and what the first change does to it is in prepare.c.  Where one cannot even
 * be in memory none is stored, and on disk those that record become inconsistent.
 */
#include "qemu/osdep.h"

#include "bitmap-dir.h"
#include "qemu/log.h"

/* Of all bitmaps of an image: an image does not decide how long its opening takes. */
#define MAX_LOADED_BYTES (1 * GiB)

/* Bits that one cluster of a bitmap has, as serial bytes, to @bits. */
static int co_fn load_cluster(BlockDriverState *bs, HBitmap *bits, uint64_t entry, int64_t pos,
                              uint8_t *buf)
{
    int64_t n = qcow2_state(bs)->g.cluster_size;

    if (QCOW2_BITMAP_DATA(entry)) {
        int ret = qcow2_read_table(bs, host_offset(QCOW2_BITMAP_DATA(entry)), buf, n);
        if (ret < 0) {
            return ret;
        }
        hbitmap_deserialize(bits, pos, n, buf);
    } else if (QCOW2_BITMAP_ONES(entry)) {
        hbitmap_deserialize_ones(bits, pos, n);
    }
    return 0;
}

/* *@left: bytes that may still be loaded. */
static int co_fn load_bits(BlockDriverState *bs, HBitmap *bits, const Qcow2BitmapEntry *e,
                           int64_t *left)
{
    int64_t cluster = qcow2_state(bs)->g.cluster_size, total = hbitmap_serial_bytes(bits);
    g_autofree uint8_t *buf = NULL;
    int ret;
    g_autofree uint64_t *table = qcow2_bitmap_table_read(bs, e, &ret);

    if (!table) {
        return ret;
    }
    if (e->table_entries * cluster < hbitmap_length(bits) / hbitmap_granularity(bits) / 8) {
        return -EINVAL;
    }
    buf = g_try_malloc(cluster);
    if (!buf) {
        return -ENOMEM;
    }
    for (uint32_t i = 0; ret == 0 && i < e->table_entries && i * cluster < total; i++) {
        *left -= table[i] ? cluster : 0;
        ret = *left < 0 ? -EFBIG : load_cluster(bs, bits, table[i], i * cluster, buf);
    }
    return ret;
}

/* False: it cannot be in memory. */
static bool co_main_fn load_one(BlockDriverState *bs, const Qcow2BitmapEntry *e, int64_t *left)
{
    Error *err = NULL;
    BdrvDirtyBitmap *b = bdrv_create_dirty_bitmap(bs, INT64_C(1) << e->granularity_bits, e->name,
                                                  &err);
    int ret = 0;

    if (!b) {
        log_line("cannot load a bitmap of '%s': %s", qcow2_name(bs), error_get_pretty(err));
        error_free(err);
        return false;
    }
    bdrv_dirty_bitmap_set_persistent(b, true);
    if (!(e->flags & QCOW2_BITMAP_AUTO)) {
        bdrv_disable_dirty_bitmap(b);
    }
    if (!(e->flags & QCOW2_BITMAP_IN_USE)) {
        ret = load_bits(bs, bdrv_dirty_bitmap_hbitmap(b), e, left);
    }
    if (ret < 0) {
        log_line("cannot load bitmap '%s' of '%s': %s", e->name, qcow2_name(bs),
                 g_strerror(-ret));
    }
    if (ret < 0 || e->flags & QCOW2_BITMAP_IN_USE) {
        bdrv_reset_dirty_bitmap(b, 0, INT64_MAX);
        bdrv_dirty_bitmap_set_inconsistent(b);
    }
    return true;
}

void co_main_fn qcow2_bitmaps_load(BlockDriverState *bs)
{
    Qcow2State *s = qcow2_state(bs);
    int64_t left = MAX_LOADED_BYTES;
    int ret;
    g_autoptr(GPtrArray) dir = qcow2_bitmap_dir_read(bs, &ret);

    if (!dir) {
        log_line("cannot read the directory of bitmaps of '%s': %s", qcow2_name(bs),
                 g_strerror(-ret));
        return;
    }
    bool all = true;
    for (guint i = 0; i < dir->len; i++) {
        const Qcow2BitmapEntry *e = dir->pdata[i];

        all = all && (!e->name || load_one(bs, e, &left));
    }
    /* Else storing those in memory would lose the others. */
    s->bitmaps_loaded = all;
}
