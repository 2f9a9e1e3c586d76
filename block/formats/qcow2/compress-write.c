/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Writing compressed clusters.  As with other writes (alloc.c): reserve, write, link; (A1) and (A2)
 * hold.
 *
 * Several compressed clusters share a host cluster, which has a reference from each: see (Z1) and
 * (Z2) in allocator.c.
 */
#include "qemu/osdep.h"

#include "compress-codec.h"
#include "qcow2.h"
#include "qemu/aio.h"

/* ---- an allocation ---- */

/* Room for @bytes that the cluster at @guest is going to have, whose L2 entry can be changed. */
static int co_fn reserve_try(BlockDriverState *bs, Qcow2Walk *w, uint64_t guest, uint64_t bytes,
                              uint64_t *ret_offset)
{
    Qcow2State *s = qcow2_state(bs);
    Qcow2L2Ref ref;
    Qcow2Entry e;
    int r = qcow2_l2_writable_try(bs, w, guest, &ref);

    if (r < 0) {
        return r;
    }
    if (!qcow2_entry_decode(&s->g, qcow2_l2_entry(&s->g, &ref, 0), guest, &e)) {
        qcow2_note_damage(bs, 0, 0, "the L2 entry of guest offset %" PRIu64 " is invalid", guest);
        return -EIO;
    }
    return qcow2_pack_try(bs, w, bytes, ret_offset);
}

static int co_fn reserve(BlockDriverState *bs, uint64_t guest, uint64_t bytes, uint64_t *ret_offset)
{
    int r = qcow2_prepare_reserve(bs);

    if (r < 0) {
        return r;
    }
    bdrv_debug_event(bs->file, "cluster_alloc_bytes");
    return QCOW2_WALK(bs, w, reserve_try(bs, &w, guest, bytes, ret_offset));
}

/* Drop the references that reserve() added for @bytes at @offset. */
static void co_fn unreserve(BlockDriverState *bs, uint64_t offset, uint64_t bytes)
{
    const Qcow2Geometry *g = &qcow2_state(bs)->g;
    uint64_t first = offset >> g->cluster_bits, last = (offset + bytes - 1) >> g->cluster_bits;

    qcow2_free_now(bs, host_offset(first << g->cluster_bits), last - first + 1);
}

/* ---- the entry ---- */

static int co_fn link_try(BlockDriverState *bs, Qcow2Walk *w, uint64_t guest, uint64_t desc)
{
    Qcow2State *s = qcow2_state(bs);
    const Qcow2Entry e = { .compressed = true, .desc = desc };
    Qcow2L2Ref ref;
    Qcow2Entry old;
    int r = qcow2_l2_try(bs, w, guest, &ref);

    if (r < 0) {
        return r;
    }
    /* By (A2) always true; but what a disk says is not to be trusted. */
    if (!ref.page || !ref.writable ||
        !qcow2_entry_decode(&s->g, qcow2_l2_entry(&s->g, &ref, 0), guest, &old)) {
        return -EIO;
    }
    r = qcow2_page_change_try(bs, w, ref.page);
    if (r < 0) {
        return r;
    }
    qcow2_cache_touch(&s->cache, ref.page);
    qcow2_entry_encode(&s->g, &e, qcow2_l2_entry(&s->g, &ref, 0));
    qcow2_free_entry_later(s, &old, s->discard_other);
    qcow2_inflated_forget(s, desc);
    return 0;
}

/* ---- the operation ---- */

/* Put the compressed cluster somewhere and link it. */
static int co_fn store(BlockDriverState *bs, uint64_t guest, const void *buf, uint64_t bytes,
                       bool *ret_stored)
{
    uint64_t offset;
    int r = reserve(bs, guest, bytes, &offset);

    if (r < 0) {
        return r;
    }
    uint64_t desc = qcow2_compressed_desc(&qcow2_state(bs)->g, offset, bytes);
    if (desc == 0) {
        unreserve(bs, offset, bytes);
        return 0;
    }
    bdrv_debug_event(bs->file, "write_compressed");
    r = bdrv_co_pwrite(bs->file, offset, bytes, buf, 0);
    if (r == 0) {
        r = QCOW2_WALK(bs, w, link_try(bs, &w, guest, desc));
    }
    if (r < 0) {
        unreserve(bs, offset, bytes);
    }
    *ret_stored = r == 0;
    return r;
}

int co_fn qcow2_co_write_compressed(BlockDriverState *bs, int64_t offset, int64_t bytes,
                                    const void *buf, bool *ret_stored)
{
    Qcow2State *s = qcow2_state(bs);
    size_t size = s->g.cluster_size;
    uint8_t *out = bdrv_try_blockalign(size);
    /* The image's last cluster may end behind the disk: the stream has it whole. */
    uint8_t *padded = (size_t)bytes < size ? bdrv_try_blockalign(size) : NULL;
    Qcow2Codec c = {
        .type = s->header.compression_type, .in = padded ?: buf, .in_bytes = size,
        .out = out, .out_bytes = size - 1,
    };
    int r = -ENOMEM;

    if (padded) {
        memcpy(padded, buf, bytes);
        memset(padded + bytes, 0, size - bytes);
    }
    if (out && (padded || (size_t)bytes == size)) {
        r = thread_pool_co_run(qcow2_deflate, &c);
    }
    if (r == 0) {
        r = store(bs, offset, out, c.out_bytes, ret_stored);
    } else if (r == -ENOSPC) {
        r = 0;                      /* it does not get smaller */
    }
    free(padded);
    free(out);
    return qcow2_end(bs, r);
}
