/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Dirty bitmaps of a node: trackers of its writes that set bits.
 *
 * (B1) A change is marked after its data is written, before it is acknowledged, and whether it
 *      succeeded or not.  Somebody resets a bit and then reads the data, while a write is under
 *      way.  Marked before the reset, the write's data was there before it, and is read.  Marked
 *      after the reset, the bit is set again, and the data is read once more.  (A mark before the
 *      data alone would be lost: marked, reset, old data read, new data written.  A second one
 *      would add nothing.)
 * (B2) So a clean bitmap says nothing of writes that are under way.  While all backends that reach
 *      the node are held there are none, and the bitmap is exact: that is when bitmaps are
 *      enabled, disabled, cleared and copied.
 * (B3) A bitmap that could not record a change (no memory, for a file that grew under a write) is
 *      inconsistent and stays so.
 * (B4) What a node grows by is dirty in those that record: after a shrinking it does not hold any
 *      more what a copy has there.
 */
#include "qemu/osdep.h"

#include "block/block.h"
#include "block/dirty-bitmap.h"
#include "block/driver-calls.h"

#define MIN_GRANULARITY 512
#define MAX_GRANULARITY (2 * GiB)
/* What a bitmap has if nothing is asked for: a cluster of the image within these. */
#define MIN_DEFAULT_GRANULARITY (4 * KiB)
#define MAX_DEFAULT_GRANULARITY (64 * KiB)

struct BdrvDirtyBitmap {
    BdrvWriteTracker tracker;
    BlockDriverState *bs;
    char *name;                     /* NULL: anonymous */
    HBitmap *bits;
    bool enabled;                   /* atomic */
    bool inconsistent;              /* atomic */
    bool recorded;                  /* before it became that; set once */
    bool persistent;
    const HBitmap *taken;           /* by a job, whose they are; NULL: it has all of its bits */
    const char *owner;              /* who uses it; NULL: nobody */
    const void *hidden_by;          /* NULL: it is not hidden */
};

/* ---- the tracker ---- */

static BdrvDirtyBitmap *of(BdrvWriteTracker *tracker)
{
    return container_of(tracker, BdrvDirtyBitmap, tracker);
}

static void any_fn bitmap_written(BdrvWriteTracker *tracker, BlockDriverState *bs, int64_t offset,
                                  int64_t bytes)
{
    BdrvDirtyBitmap *b = of(tracker);

    if (bytes <= 0 || !bdrv_dirty_bitmap_enabled(b)) {
        return;
    }
    /* A file grows by being written to. */
    if (offset + bytes > hbitmap_length(b->bits) && !hbitmap_extend(b->bits, offset + bytes)) {
        bdrv_dirty_bitmap_set_inconsistent(b);          /* (B3) */
        return;
    }
    hbitmap_set(b->bits, offset, bytes);
}

static bool any_fn bitmap_reserve(BdrvWriteTracker *tracker, BlockDriverState *bs, int64_t length,
                                  Error **errp)
{
    BdrvDirtyBitmap *b = of(tracker);

    if (hbitmap_reserve(b->bits, length)) {
        return true;
    }
    error_setg(errp, "Cannot resize node '%s' to %" PRId64 " bytes: no memory for its bitmap%s%s%s",
               bs->node_name, length, b->name ? " '" : "", b->name ? b->name : "",
               b->name ? "'" : "");
    return false;
}

static void any_fn bitmap_resized(BdrvWriteTracker *tracker, BlockDriverState *bs, int64_t length)
{
    BdrvDirtyBitmap *b = of(tracker);

    if (!(bdrv_dirty_bitmap_enabled(b) ? hbitmap_truncate(b->bits, length)
                                       : hbitmap_truncate_clean(b->bits, length))) {
        bdrv_dirty_bitmap_set_inconsistent(b);
    }
}

static void main_fn bitmap_release(BdrvWriteTracker *tracker)
{
    BdrvDirtyBitmap *b = of(tracker);

    /* The node may be gone, or be going with what it has left. */
    hbitmap_free(b->bits);
    g_free(b->name);
    g_free(b);
}

/* ---- life ---- */

int64_t main_fn bdrv_default_bitmap_granularity(const BlockDriverState *bs)
{
    BdrvInfo info = { 0 };

    if (bs->drv->get_info) {
        bs->drv->get_info((BlockDriverState *)bs, &info);
    }
    return info.cluster_size > 0
           ? MIN(MAX(info.cluster_size, MIN_DEFAULT_GRANULARITY), MAX_DEFAULT_GRANULARITY)
           : MAX_DEFAULT_GRANULARITY;
}

static bool main_fn check_new(BlockDriverState *bs, int64_t granularity, const char *name,
                              Error **errp)
{
    if (!IS_POWER_OF_2(granularity) || granularity < MIN_GRANULARITY) {
        error_setg(errp, "Granularity must be power of 2 and at least %d", MIN_GRANULARITY);
        return false;
    }
    if (granularity > MAX_GRANULARITY) {
        error_setg(errp, "Granularity must not be more than %" PRId64, MAX_GRANULARITY);
        return false;
    }
    if (name && !name[0]) {
        error_setg(errp, "Bitmap name cannot be empty");
        return false;
    }
    if (name && bdrv_find_any_dirty_bitmap(bs, name)) {
        error_setg(errp, "Bitmap already exists: %s", name);
        return false;
    }
    if (g_slist_length(bs->bitmaps) >= BDRV_BITMAP_MAX_COUNT) {
        error_setg(errp, "Node '%s' has %d bitmaps already", bs->node_name,
                   BDRV_BITMAP_MAX_COUNT);
        return false;
    }
    if (name && strlen(name) > BDRV_BITMAP_MAX_NAME) {
        error_setg(errp, "Bitmap name too long: %s", name);
        return false;
    }
    return true;
}

BdrvDirtyBitmap *main_fn bdrv_create_dirty_bitmap(BlockDriverState *bs, int64_t granularity,
                                                  const char *name, Error **errp)
{
    if (granularity == 0) {
        granularity = bdrv_default_bitmap_granularity(bs);
    }
    if (!check_new(bs, granularity, name, errp)) {
        return NULL;
    }
    HBitmap *bits = hbitmap_new(bdrv_length(bs), granularity);
    if (!bits) {
        error_setg(errp, "No memory for a bitmap of node '%s' with a granularity of %" PRId64
                   " bytes: choose a larger one", bs->node_name, granularity);
        return NULL;
    }
    BdrvDirtyBitmap *b = g_new0(BdrvDirtyBitmap, 1);
    *b = (BdrvDirtyBitmap){
        .tracker = { .written = bitmap_written, .reserve = bitmap_reserve,
                     .resized = bitmap_resized, .release = bitmap_release },
        .bs = bs, .name = g_strdup(name), .bits = bits, .enabled = true,
    };
    bs->bitmaps = g_slist_prepend(bs->bitmaps, b);
    bdrv_add_write_tracker(bs, &b->tracker);
    return b;
}

void main_fn bdrv_release_dirty_bitmap(BdrvDirtyBitmap *b)
{
    if (!b) {
        return;
    }
    g_assert(!b->owner);
    b->bs->bitmaps = g_slist_remove(b->bs->bitmaps, b);
    bdrv_remove_write_tracker(&b->tracker);
}

/* ---- finding ---- */

BdrvDirtyBitmap *main_fn bdrv_find_any_dirty_bitmap(BlockDriverState *bs, const char *name)
{
    for (GSList *l = bs->bitmaps; l; l = l->next) {
        BdrvDirtyBitmap *b = l->data;

        if (g_strcmp0(b->name, name) == 0) {
            return b;
        }
    }
    return NULL;
}

BdrvDirtyBitmap *main_fn bdrv_find_dirty_bitmap(BlockDriverState *bs, const char *name)
{
    BdrvDirtyBitmap *b = bdrv_find_any_dirty_bitmap(bs, name);

    return b && !b->hidden_by ? b : NULL;
}

BdrvDirtyBitmap *main_fn bdrv_next_dirty_bitmap(BlockDriverState *bs, BdrvDirtyBitmap *prev)
{
    GSList *l = prev ? g_slist_find(bs->bitmaps, prev)->next : bs->bitmaps;

    for (; l; l = l->next) {
        BdrvDirtyBitmap *b = l->data;

        if (b->name && !b->hidden_by) {
            return b;
        }
    }
    return NULL;
}

const char *main_fn bdrv_dirty_bitmap_name(const BdrvDirtyBitmap *b)
{
    return b->name;
}

BlockDriverState *main_fn bdrv_dirty_bitmap_node(const BdrvDirtyBitmap *b)
{
    return b->bs;
}

/* ---- bits ---- */

HBitmap *any_fn bdrv_dirty_bitmap_hbitmap(BdrvDirtyBitmap *b)
{
    return b->bits;
}

int64_t any_fn bdrv_set_dirty_bitmap(BdrvDirtyBitmap *b, int64_t offset, int64_t bytes)
{
    return hbitmap_set(b->bits, offset, bytes);
}

int64_t any_fn bdrv_reset_dirty_bitmap(BdrvDirtyBitmap *b, int64_t offset, int64_t bytes)
{
    return hbitmap_reset(b->bits, offset, bytes);
}

int64_t any_fn bdrv_dirty_bitmap_count(const BdrvDirtyBitmap *b)
{
    return hbitmap_count(b->bits);
}

int64_t main_fn bdrv_dirty_bitmap_shown_count(const BdrvDirtyBitmap *b)
{
    return hbitmap_count(b->taken ?: b->bits);
}

int64_t any_fn bdrv_dirty_bitmap_granularity(const BdrvDirtyBitmap *b)
{
    return hbitmap_granularity(b->bits);
}

bool any_fn bdrv_dirty_bitmap_next_area(const BdrvDirtyBitmap *b, int64_t start, int64_t end,
                                        int64_t max_bytes, int64_t *ret_offset,
                                        int64_t *ret_bytes)
{
    return hbitmap_next_dirty_area(b->bits, start, end, max_bytes, ret_offset, ret_bytes);
}

/* ---- state ---- */

bool any_fn bdrv_dirty_bitmap_enabled(const BdrvDirtyBitmap *b)
{
    return __atomic_load_n(&b->enabled, __ATOMIC_SEQ_CST);
}

void main_fn bdrv_enable_dirty_bitmap(BdrvDirtyBitmap *b)
{
    if (!bdrv_dirty_bitmap_inconsistent(b)) {
        __atomic_store_n(&b->enabled, true, __ATOMIC_SEQ_CST);
    }
}

void main_fn bdrv_disable_dirty_bitmap(BdrvDirtyBitmap *b)
{
    __atomic_store_n(&b->enabled, false, __ATOMIC_SEQ_CST);
}

void main_fn bdrv_dirty_bitmap_set_busy(BdrvDirtyBitmap *b, const char *owner)
{
    g_assert(!owner || !b->owner);
    b->owner = owner;
}

const char *main_fn bdrv_dirty_bitmap_owner(const BdrvDirtyBitmap *b)
{
    return b->owner;
}

void main_fn bdrv_dirty_bitmap_set_taken(BdrvDirtyBitmap *b, const HBitmap *taken)
{
    b->taken = taken;
}

bool main_fn bdrv_dirty_bitmap_taken(const BdrvDirtyBitmap *b)
{
    return b->taken != NULL;
}

void main_fn bdrv_dirty_bitmap_set_hidden(BdrvDirtyBitmap *b, const void *owner)
{
    b->hidden_by = owner;
}

const void *main_fn bdrv_dirty_bitmap_hidden_by(const BdrvDirtyBitmap *b)
{
    return b->hidden_by;
}

bool main_fn bdrv_dirty_bitmap_readonly(const BdrvDirtyBitmap *b)
{
    return b->persistent && b->bs->read_only;
}

void main_fn bdrv_dirty_bitmap_set_persistent(BdrvDirtyBitmap *b, bool persistent)
{
    b->persistent = persistent;
}

bool main_fn bdrv_dirty_bitmap_persistent(const BdrvDirtyBitmap *b)
{
    return b->persistent;
}

bool co_main_fn bdrv_dirty_bitmap_changing(BlockDriverState *bs, const char *name, Error **errp)
{
    int ret = bdrv_drv_bitmap_changing(bs, name);

    if (ret < 0) {
        error_setg_errno(errp, -ret, "Cannot change bitmap '%s' of node '%s' in its image '%s'",
                         name, bs->node_name, bs->filename);
    }
    return ret == 0;
}

void main_fn bdrv_dirty_bitmaps_undone(BlockDriverState *bs)
{
    if (bs->drv->bitmaps_undone) {
        bs->drv->bitmaps_undone(bs);
    }
}

bool main_fn bdrv_can_store_bitmap(BlockDriverState *bs, const char *name, int64_t granularity,
                                   Error **errp)
{
    if (!bs->drv->can_store_bitmap) {
        error_setg(errp, "Can't store persistent bitmaps to %s: %s", bs->node_name,
                   g_strerror(ENOTSUP));
        return false;
    }
    if (granularity == 0) {
        granularity = bdrv_default_bitmap_granularity(bs);
    }
    return bs->drv->can_store_bitmap(bs, name, granularity, errp);
}

void any_fn bdrv_dirty_bitmap_set_inconsistent(BdrvDirtyBitmap *b)
{
    if (!__atomic_exchange_n(&b->inconsistent, true, __ATOMIC_SEQ_CST)) {
        b->recorded = __atomic_exchange_n(&b->enabled, false, __ATOMIC_SEQ_CST);
    }
}

bool main_fn bdrv_dirty_bitmap_recorded(const BdrvDirtyBitmap *b)
{
    return bdrv_dirty_bitmap_inconsistent(b) && b->recorded;
}

bool any_fn bdrv_dirty_bitmap_inconsistent(const BdrvDirtyBitmap *b)
{
    return __atomic_load_n(&b->inconsistent, __ATOMIC_SEQ_CST);
}

bool main_fn bdrv_dirty_bitmap_check(const BdrvDirtyBitmap *b, unsigned uses, Error **errp)
{
    if (uses & BDRV_BITMAP_NOT_BUSY && b->owner) {
        error_setg(errp, "Bitmap '%s' is currently in use by another operation and cannot be used",
                   b->name);
        return false;
    }
    if (uses & BDRV_BITMAP_NOT_READONLY && bdrv_dirty_bitmap_readonly(b)) {
        error_setg(errp, "Bitmap '%s' is readonly and cannot be modified", b->name);
        return false;
    }
    if (uses & BDRV_BITMAP_NOT_INCONSISTENT && bdrv_dirty_bitmap_inconsistent(b)) {
        error_setg(errp, "Bitmap '%s' is inconsistent and cannot be used", b->name);
        return false;
    }
    return true;
}
