/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reading compressed clusters.  The last one is kept: small sequential reads come back to it. */
#include "qemu/osdep.h"

#include "compress-codec.h"
#include "qcow2.h"
#include "qemu/aio.h"

/* Clusters from this size on are decompressed on another thread. */
#define THREAD_MIN_BYTES (16 * KiB)

/* ---- the last cluster ---- */

void any_fn qcow2_inflated_unref(Qcow2Inflated *z)
{
    if (z && __atomic_fetch_sub(&z->refs, 1, __ATOMIC_ACQ_REL) == 1) {
        free(z->data);
        g_free(z);
    }
}

/* What a descriptor stands for changes only when its space is used again: see
 * qcow2_inflated_forget(). */
static Qcow2Inflated *inflated_get(Qcow2State *s, uint64_t desc)
{
    Qcow2Inflated *z = NULL;

    qcow2_lock(s);
    if (s->inflated && s->inflated->desc == desc) {
        z = s->inflated;
        __atomic_fetch_add(&z->refs, 1, __ATOMIC_RELAXED);
    }
    qcow2_unlock(s);
    return z;
}

static void inflated_put(Qcow2State *s, Qcow2Inflated *z)
{
    qcow2_lock(s);
    Qcow2Inflated *old = s->inflated;
    s->inflated = z;
    __atomic_fetch_add(&z->refs, 1, __ATOMIC_RELAXED);
    qcow2_unlock(s);
    qcow2_inflated_unref(old);
}

void any_fn qcow2_inflated_forget(Qcow2State *s, uint64_t desc)
{
    if (s->inflated && s->inflated->desc == desc) {
        qcow2_inflated_unref(g_steal_pointer(&s->inflated));
    }
}

/* Read the stream of @desc and make a cluster of it. */
static int co_fn inflate_cluster(BlockDriverState *bs, uint64_t desc, uint8_t *out)
{
    Qcow2State *s = qcow2_state(bs);
    uint64_t offset, bytes;

    qcow2_compressed_range(&s->g, desc, &offset, &bytes);
    uint8_t *in = bdrv_try_blockalign(bytes);
    Qcow2Codec c = {
        .type = s->header.compression_type, .in = in, .in_bytes = bytes,
        .out = out, .out_bytes = s->g.cluster_size,
    };
    if (!in) {
        return -ENOMEM;
    }
    bdrv_debug_event(bs->file, "read_compressed");
    int ret = qcow2_read_table(bs, host_offset(offset), in, bytes);
    if (ret == 0) {
        ret = s->g.cluster_size >= THREAD_MIN_BYTES ? thread_pool_co_run(qcow2_inflate, &c)
                                                    : qcow2_inflate(&c);
    }
    free(in);
    return ret;
}

int co_fn qcow2_co_read_special(BlockDriverState *bs, const BdrvExtent *extent, int64_t offset,
                                int64_t bytes, IoVec *qiov)
{
    Qcow2State *s = qcow2_state(bs);
    Qcow2Inflated *z = inflated_get(s, extent->special);
    size_t in_cluster = offset & (s->g.cluster_size - 1);
    int ret = 0;

    if (!z) {
        uint8_t *data = bdrv_try_blockalign(s->g.cluster_size);

        ret = data ? inflate_cluster(bs, extent->special, data) : -ENOMEM;
        if (ret < 0) {
            free(data);
            return ret;
        }
        z = g_new(Qcow2Inflated, 1);
        *z = (Qcow2Inflated){ .refs = 1, .desc = extent->special, .data = data };
        inflated_put(s, z);
    }
    iovec_from_buf(qiov, 0, z->data + in_cluster, bytes);
    qcow2_inflated_unref(z);
    return 0;
}
