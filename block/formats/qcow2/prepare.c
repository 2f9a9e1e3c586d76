/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What comes before the first change of an image: finding out where its metadata is, and taking
 * back what autoclear bits promise. */
#include "qemu/osdep.h"

#include "qcow2.h"

/* Under header_lock. */
static int co_fn clear_autoclear_bits(BlockDriverState *bs)
{
    Qcow2State *s = qcow2_state(bs);
    uint64_t clear = s->autoclear_pending;

    if (clear & QCOW2_AUTOCLEAR_BITMAPS) {
        int ret = qcow2_bitmaps_mark_in_use(
            bs, __atomic_load_n(&s->bitmaps_stored, __ATOMIC_SEQ_CST) ? QCOW2_MARK_ALL
                                                                      : QCOW2_MARK_RECORDING,
            NULL);
        if (ret < 0 && ret != -EINVAL) {
            return ret;
        }
        if (ret == 0) {
            clear &= ~QCOW2_AUTOCLEAR_BITMAPS;      /* the directory is right again */
        }
    }
    int ret = clear ? qcow2_header_clear_autoclear(bs, clear) : 0;
    if (ret == 0 && clear & QCOW2_AUTOCLEAR_BITMAPS) {
        /* Without the bit there are none, and their clusters are like any others. */
        qcow2_lock(s);
        s->header.has_bitmaps = false;
        s->header.nb_bitmaps = 0;
        s->header.bitmap_directory_size = 0;
        qcow2_unlock(s);
    }
    return ret;
}

int co_fn qcow2_prepare_change(BlockDriverState *bs)
{
    Qcow2State *s = qcow2_state(bs);
    int ret = qcow2_header_settle(bs);

    if (QEMU_DEBUG_CHECKS) {
        qcow2_assert_order(bs);
    }
    if (ret == 0 && __atomic_load_n(&s->damaged, __ATOMIC_ACQUIRE)) {
        ret = -EIO;
    }
    if (ret < 0 || qcow2_may_change(s)) {
        return ret;
    }
    /* (P2) in bitmaps.c */
    bool bitmaps = __atomic_load_n(&s->autoclear_pending, __ATOMIC_ACQUIRE) &
                   QCOW2_AUTOCLEAR_BITMAPS;
    if (bitmaps) {
        co_mutex_lock(&s->bitmaps_lock);
    }
    co_mutex_lock(&s->header_lock);
    if (!s->overlap_loaded) {
        ret = qcow2_overlap_load(bs);
        __atomic_store_n(&s->overlap_loaded, ret == 0, __ATOMIC_RELEASE);
    }
    if (ret == 0 && s->autoclear_pending) {
        ret = clear_autoclear_bits(bs);
        if (ret == 0) {
            __atomic_store_n(&s->autoclear_pending, 0, __ATOMIC_RELEASE);
        }
    }
    co_mutex_unlock(&s->header_lock);
    if (bitmaps) {
        co_mutex_unlock(&s->bitmaps_lock);
    }
    return ret;
}
