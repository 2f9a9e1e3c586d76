/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What of an open image can change: its options, and whether it is written to. */
#include "qemu/osdep.h"

#include "qcow2.h"

static int64_t cache_cap(const Qcow2OpenOptions *o)
{
    if (o->cache_size >= 0) {
        return o->cache_size;
    }
    if (o->l2_cache_size >= 0 || o->refcount_cache_size >= 0) {
        return MAX(o->l2_cache_size, 0) + MAX(o->refcount_cache_size, 0);
    }
    return -1;
}

bool any_fn qcow2_check_options(BlockDriverState *bs, const Qcow2OpenOptions *o, Error **errp)
{
    if (o->has_lazy_refcounts && o->lazy_refcounts && qcow2_state(bs)->header.version < 3) {
        error_setg(errp, "Cannot open '%s': lazy-refcounts needs an image of version 3",
                   qcow2_name(bs));
        return false;
    }
    if (o->l2_cache_entry_size &&
        (!IS_POWER_OF_2(o->l2_cache_entry_size) || o->l2_cache_entry_size < 512 ||
         o->l2_cache_entry_size > (int64_t)qcow2_state(bs)->g.cluster_size)) {
        error_setg(errp, "L2 cache entry size must be a power of two between 512 and the cluster "
                   "size (%" PRIu64 ")", qcow2_state(bs)->g.cluster_size);
        return false;
    }
    return true;
}

void any_fn qcow2_apply_options(Qcow2State *s, const Qcow2OpenOptions *o, bool discard)
{
    s->opened = *o;
    s->opened.snapshot = NULL;
    qcow2_cache_set_cap(&s->cache, cache_cap(o));
    qcow2_clean_set_interval(s, o->cache_clean_interval);
    /* The image is settled now, so this may change. */
    bool lazy = o->has_lazy_refcounts ? o->lazy_refcounts
                                      : s->header.compatible & QCOW2_COMPAT_LAZY_REFCOUNTS;
    s->lazy_refcounts = s->header.version >= 3 && !s->damaged && lazy;
    s->overlap_checks = o->overlap_checks;
    g_hash_table_remove_all(s->metadata);
    s->overlap_loaded = false;
    s->discard_request = o->has_discard_request ? o->discard_request : discard;
    s->discard_other = o->has_discard_other && o->discard_other;
    s->discard_snapshot = !o->has_discard_snapshot || o->discard_snapshot;
}

bool co_main_fn qcow2_co_reopen_prepare(BlockDriverState *bs, const BdrvReopen *to, Error **errp)
{
    Qcow2State *s = qcow2_state(bs);
    uint64_t incompatible = s->header.incompatible;

    if (s->shows_snapshot && !to->read_only) {
        error_setg(errp, "Cannot make '%s' writable: it shows an internal snapshot",
                   qcow2_name(bs));
        return false;
    }
    if (bs->read_only && !to->read_only && !s->damaged &&
        incompatible & (QCOW2_INCOMPAT_CORRUPT | QCOW2_INCOMPAT_DIRTY)) {
        error_setg(errp, "Cannot make '%s' writable: it is marked as %s", qcow2_name(bs),
                   incompatible & QCOW2_INCOMPAT_CORRUPT ? "corrupt" : "not closed properly");
        return false;
    }
    return !to->options || qcow2_check_options(bs, &to->options->u.qcow2, errp);
}

void main_fn qcow2_reopen_commit(BlockDriverState *bs, const BdrvReopen *to)
{
    if (to->options) {
        qcow2_apply_options(qcow2_state(bs), &to->options->u.qcow2, to->discard);
    }
    if (to->read_only) {
        qcow2_state(bs)->bitmaps_stored = false;        /* as they are: the transaction is done */
    }
}
