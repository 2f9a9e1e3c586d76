/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Storing persistent bitmaps while nobody writes to the disk (P2 in bitmaps.c).
 *
 * Nothing that is on disk is overwritten: data, tables and a new directory go to new clusters;
 * these, and their refcounts, are durable before the header, one sector, goes over to the new
 * directory (header-bitmaps.c); what only the old one refers to is freed after that.  So a power
 * cut leaves the old bitmaps, marked, or the new ones, and leaks at worst.
 *
 * A bitmap whose entry is valid on disk has not changed (P1): its entry is taken over with all that
 * it refers to.
 */
#include "qemu/osdep.h"

#include "bitmap-dir.h"
#include "qemu/log.h"

typedef struct Range {
    HostOffset offset;
    uint64_t clusters;
} Range;

typedef struct Store {
    BlockDriverState *bs;
    GPtrArray *old, *new;           /* directories: of Qcow2BitmapEntry */
    GHashTable *by_name;            /* of @old */
    bool all;                       /* (P1) is not true of what is on disk */
    GArray *made;                   /* of Range: new clusters */
    uint8_t *buf;                   /* a cluster */
} Store;

static uint64_t clusters_for(const Store *st, uint64_t bytes)
{
    return DIV_ROUND_UP(bytes, qcow2_state(st->bs)->g.cluster_size);
}

/* Write @bytes of @data to new clusters. */
static int co_fn put(Store *st, const void *data, uint64_t bytes, HostOffset *ret_offset)
{
    uint64_t clusters = clusters_for(st, bytes), cluster = qcow2_state(st->bs)->g.cluster_size;
    bool zero;
    int ret = qcow2_alloc_contiguous(st->bs, clusters, ret_offset, &zero);

    if (ret < 0) {
        return ret;
    }
    Range r = { *ret_offset, clusters };
    g_array_append_val(st->made, r);
    ret = qcow2_write_table(st->bs, *ret_offset, data, bytes);
    uint64_t tail = clusters * cluster - bytes;
    if (ret == 0 && tail) {
        ret = bdrv_co_pwrite_zeroes(st->bs->file, ret_offset->v + bytes, tail, 0);
    }
    return ret;
}

/* The bits of @h in new clusters, and a table of them. */
static int co_fn put_bits(Store *st, const HBitmap *h, HostOffset *ret_table,
                          uint32_t *ret_entries)
{
    int64_t cluster = qcow2_state(st->bs)->g.cluster_size;
    int64_t granules = DIV_ROUND_UP((uint64_t)hbitmap_length(h),
                                    (uint64_t)hbitmap_granularity(h));
    uint64_t n = MAX(clusters_for(st, DIV_ROUND_UP(granules, 8)), 1);
    g_autofree uint64_t *table = g_try_new0(uint64_t, n);
    int ret = table ? 0 : -ENOMEM;

    for (uint64_t i = 0; ret == 0 && i < n; i++) {
        HostOffset data;

        if (hbitmap_serial_is_zero(h, i * cluster, cluster)) {
            continue;
        }
        hbitmap_serialize(h, i * cluster, cluster, st->buf);
        ret = put(st, st->buf, cluster, &data);
        if (ret == 0) {
            be64_store(&table[i], data.v);
        }
    }
    *ret_entries = n;
    return ret == 0 ? put(st, table, n * sizeof(uint64_t), ret_table) : ret;
}

/* The entry for @b in the new directory. */
static int co_main_fn store_one(Store *st, BdrvDirtyBitmap *b)
{
    const char *name = bdrv_dirty_bitmap_name(b);
    const HBitmap *h = bdrv_dirty_bitmap_hbitmap(b);
    const Qcow2BitmapEntry *e = g_hash_table_lookup(st->by_name, name);
    bool inconsistent = bdrv_dirty_bitmap_inconsistent(b);
    uint32_t flags = (inconsistent || bdrv_dirty_bitmap_taken(b) ? QCOW2_BITMAP_IN_USE : 0) |
                     (bdrv_dirty_bitmap_enabled(b) ? QCOW2_BITMAP_AUTO : 0);
    HostOffset table;
    uint32_t entries;

    if (e && (inconsistent || (!st->all && e->flags == flags))) {
        g_ptr_array_add(st->new, qcow2_bitmap_entry_copy(e));
        return 0;
    }
    int ret = put_bits(st, h, &table, &entries);
    if (ret == 0) {
        g_ptr_array_add(st->new, qcow2_bitmap_entry_new(
            name, __builtin_ctzll(hbitmap_granularity(h)), table, entries, flags));
    }
    return ret;
}

/* Those that the image has keep their places, as other programs do it: who lists bitmaps finds them
 * in the same order again. */
static int co_main_fn store_all(Store *st)
{
    int ret = 0;

    for (guint i = 0; i < st->old->len && ret == 0; i++) {
        const Qcow2BitmapEntry *e = st->old->pdata[i];

        if (!e->name) {                                         /* (P3) */
            g_ptr_array_add(st->new, qcow2_bitmap_entry_copy(e));
            continue;
        }
        BdrvDirtyBitmap *b = bdrv_find_dirty_bitmap(st->bs, e->name);
        if (b && bdrv_dirty_bitmap_persistent(b)) {
            ret = store_one(st, b);
        }
    }
    for (BdrvDirtyBitmap *b = bdrv_next_dirty_bitmap(st->bs, NULL); b && ret == 0;
         b = bdrv_next_dirty_bitmap(st->bs, b)) {
        if (bdrv_dirty_bitmap_persistent(b) &&
            !g_hash_table_contains(st->by_name, bdrv_dirty_bitmap_name(b))) {
            ret = store_one(st, b);
        }
    }
    return ret;
}

/* ---- the change of the directory ---- */

static void co_fn free_ranges(BlockDriverState *bs, const GArray *ranges)
{
    for (guint i = 0; i < ranges->len; i++) {
        const Range *r = &g_array_index(ranges, Range, i);

        qcow2_free_now(bs, r->offset, r->clusters);     /* what fails is a leak */
    }
}

/* What @e refers to is added to @ranges; what cannot be read is leaked. */
static void co_fn collect_bitmap(Store *st, const Qcow2BitmapEntry *e, GArray *ranges)
{
    int ret;
    g_autofree uint64_t *table = qcow2_bitmap_table_read(st->bs, e, &ret);

    for (uint32_t i = 0; table && i < e->table_entries; i++) {
        if (QCOW2_BITMAP_DATA(table[i])) {
            Range r = { host_offset(QCOW2_BITMAP_DATA(table[i])), 1 };
            g_array_append_val(ranges, r);
        }
    }
    if (table && e->table_entries) {
        Range r = { e->table, clusters_for(st, e->table_entries * sizeof(uint64_t)) };
        g_array_append_val(ranges, r);
    }
}

/* Clusters that only the old directory refers to. */
static GArray *co_fn collect_old(Store *st)
{
    const Qcow2Header *h = &qcow2_state(st->bs)->header;
    g_autoptr(GHashTable) kept = g_hash_table_new(g_int64_hash, g_int64_equal);
    GArray *ranges = g_array_new(FALSE, FALSE, sizeof(Range));

    if (!h->has_bitmaps) {
        return ranges;
    }
    for (guint i = 0; i < st->new->len; i++) {
        g_hash_table_add(kept, &((Qcow2BitmapEntry *)st->new->pdata[i])->table.v);
    }
    for (guint i = 0; i < st->old->len; i++) {
        const Qcow2BitmapEntry *e = st->old->pdata[i];

        if (e->name && !g_hash_table_contains(kept, &e->table.v)) {
            collect_bitmap(st, e, ranges);
        }
    }
    Range r = { h->bitmap_directory, clusters_for(st, h->bitmap_directory_size) };
    g_array_append_val(ranges, r);
    return ranges;
}

/* The header goes over to what @st has made, all of which is on disk. */
static int co_fn go_over(Store *st, HostOffset directory, size_t bytes)
{
    BlockDriverState *bs = st->bs;
    Qcow2State *s = qcow2_state(bs);
    g_autoptr(GArray) old = collect_old(st);
    int ret = qcow2_header_set_bitmaps(bs, st->new->len, directory, bytes);

    if (ret < 0) {
        return ret;
    }
    qcow2_lock(s);
    s->header.has_bitmaps = st->new->len > 0;
    s->header.nb_bitmaps = st->new->len;
    s->header.bitmap_directory = directory;
    s->header.bitmap_directory_size = bytes;
    qcow2_unlock(s);
    g_array_set_size(st->made, 0);
    free_ranges(bs, old);
    return 0;
}

static int co_main_fn store(Store *st)
{
    HostOffset directory = host_offset(0);
    size_t bytes;
    int ret = store_all(st);

    if (ret < 0 || (st->new->len == 0 && !qcow2_state(st->bs)->header.has_bitmaps)) {
        return ret;
    }
    g_autofree uint8_t *buf = qcow2_bitmap_dir_format(st->new, &bytes);
    if (st->new->len) {
        ret = put(st, buf, bytes, &directory);
    }
    if (ret == 0) {
        ret = qcow2_write_dirty(st->bs, QCOW2_WRITEBACK_SETTLE);
    }
    return ret < 0 ? ret : go_over(st, directory, bytes);
}

/* Under bitmaps_lock. */
static int co_main_fn store_locked(BlockDriverState *bs)
{
    Qcow2State *s = qcow2_state(bs);
    Store st = { .bs = bs, .buf = bdrv_try_blockalign(s->g.cluster_size) };
    int ret = -ENOMEM;

    /* (P2): what comes now has to mark them. */
    __atomic_store_n(&s->bitmaps_stale, false, __ATOMIC_SEQ_CST);
    __atomic_store_n(&s->bitmaps_stored, true, __ATOMIC_SEQ_CST);
    st.all = __atomic_exchange_n(&s->bitmaps_undone, false, __ATOMIC_SEQ_CST);
    __atomic_fetch_or(&s->autoclear_pending, QCOW2_AUTOCLEAR_BITMAPS, __ATOMIC_SEQ_CST);
    st.old = st.buf ? qcow2_bitmap_dir_read(bs, &ret) : NULL;
    if (st.old) {
        st.by_name = qcow2_bitmap_dir_by_name(st.old);
        st.new = qcow2_bitmap_dir_new();
        st.made = g_array_new(FALSE, FALSE, sizeof(Range));
        ret = store(&st);
        if (ret < 0 && !__atomic_load_n(&s->header_unknown, __ATOMIC_ACQUIRE)) {
            free_ranges(bs, st.made);
        }
        g_hash_table_unref(st.by_name);
        g_ptr_array_unref(st.old);
        g_ptr_array_unref(st.new);
        g_array_unref(st.made);
    }
    free(st.buf);
    if (!s->header.has_bitmaps) {
        __atomic_fetch_and(&s->autoclear_pending, ~QCOW2_AUTOCLEAR_BITMAPS, __ATOMIC_SEQ_CST);
    }
    if (ret < 0) {
        __atomic_store_n(&s->bitmaps_stale, true, __ATOMIC_SEQ_CST);
        if (st.all) {
            __atomic_store_n(&s->bitmaps_undone, true, __ATOMIC_SEQ_CST);
        }
    }
    return ret;
}

/* A reason to go on without: the disk itself is complete, and a snapshot may be what gets it off a
 * file system that is full. */
static bool is_tolerated(BlockDriverState *bs, int ret)
{
    return ret == -ENOSPC || ret == -EDQUOT || ret == -EFBIG ||
           __atomic_load_n(&qcow2_state(bs)->damaged, __ATOMIC_ACQUIRE);
}

int co_main_fn qcow2_bitmaps_store(BlockDriverState *bs)
{
    Qcow2State *s = qcow2_state(bs);

    if (bs->read_only || !s->bitmaps_loaded ||
        !__atomic_load_n(&s->bitmaps_stale, __ATOMIC_SEQ_CST)) {
        return 0;
    }
    int ret = qcow2_prepare_change(bs);
    if (ret == 0) {
        co_mutex_lock(&s->bitmaps_lock);
        ret = store_locked(bs);
        co_mutex_unlock(&s->bitmaps_lock);
    }
    if (ret < 0 && is_tolerated(bs, ret)) {
        log_line("cannot store the bitmaps of node '%s' (%s): %s; they will be inconsistent when "
                 "it is opened next", bs->node_name, qcow2_name(bs), g_strerror(-ret));
        ret = 0;
    }
    return ret;
}

/* ---- changes by commands ---- */

int co_fn qcow2_co_bitmap_changing(BlockDriverState *bs, const char *name)
{
    Qcow2State *s = qcow2_state(bs);
    int ret = 0;

    if (bs->read_only || !s->bitmaps_loaded) {
        return 0;
    }
    __atomic_store_n(&s->bitmaps_stale, true, __ATOMIC_SEQ_CST);
    if (!s->header.has_bitmaps) {
        return 0;
    }
    ret = qcow2_prepare_change(bs);
    co_mutex_lock(&s->bitmaps_lock);
    if (ret == 0 && s->header.has_bitmaps) {
        ret = qcow2_bitmaps_mark_in_use(bs, QCOW2_MARK_NAMED, name);
    }
    co_mutex_unlock(&s->bitmaps_lock);
    return qcow2_end(bs, ret);
}
