/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The state of a machine that an internal snapshot saves beside the disk: in the map behind it, from
 * the first guest offset that an L1 entry of its own maps.
 *
 * The map there is the snapshot's: once one was made it is dropped from the disk, which is what keeps
 * (N2) of resize.c simple.  The node is held exclusively.
 */
#include "qemu/osdep.h"

#include "qcow2.h"

int64_t any_fn qcow2_vmstate_offset(const BlockDriverState *bs)
{
    const Qcow2State *s = bs->opaque;

    return (int64_t)(qcow2_l1_entries_for(&s->g, s->header.size)
                     << (s->g.cluster_bits + s->g.l2_bits));
}

int64_t any_fn qcow2_vmstate_end(const BlockDriverState *bs)
{
    const Qcow2State *s = bs->opaque;

    return (int64_t)s->l1_size << (s->g.cluster_bits + s->g.l2_bits);
}

int co_fn qcow2_co_vmstate_extend(BlockDriverState *bs, int64_t end)
{
    Qcow2State *s = qcow2_state(bs);
    uint64_t entries = qcow2_l1_entries_for(&s->g, end);

    if (s->g.has_data_file) {
        return -ENOTSUP;            /* what is there is the disk, and nothing else */
    }
    if (s->snapshot_busy) {
        return -EBUSY;
    }
    if (entries > QCOW2_MAX_L1_BYTES / 8) {
        return -EFBIG;
    }
    int ret = qcow2_prepare_change(bs);
    if (ret == 0 && entries > s->l1_size) {
        ret = qcow2_grow_l1(bs, entries);
    }
    return qcow2_end(bs, ret);
}

int co_fn qcow2_co_vmstate_drop(BlockDriverState *bs)
{
    int64_t from = qcow2_vmstate_offset(bs), end = qcow2_vmstate_end(bs);

    if (from >= end) {
        return 0;
    }
    int ret = qcow2_prepare_change(bs);
    if (ret == 0) {
        ret = qcow2_unmap(bs, from, end);
    }
    return qcow2_end(bs, ret);
}
