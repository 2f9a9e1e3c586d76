/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reading compressed clusters.  The last one is kept: small sequential reads come back to it. */
#include "qemu/osdep.h"

#include <zlib.h>

#include "config-host.h"
#if CONFIG_ZSTD
#include <zstd.h>
#endif

#include "qcow2.h"
#include "qemu/aio.h"

/* Clusters from this size on are decompressed on another thread. */
#define THREAD_MIN_BYTES (16 * KiB)
/* Largest window of a zstd frame: bounds the memory that an image can ask for. */
#define ZSTD_MAX_WINDOW_LOG 23

typedef struct InflateTask {
    unsigned type;                  /* Qcow2Header.compression_type */
    uint8_t *in;
    size_t in_bytes;                /* at most: the stream ends where it ends */
    uint8_t *out;
    size_t out_bytes;               /* exactly */
} InflateTask;

static int inflate_zlib(InflateTask *t)
{
    z_stream z = {
        .next_in = t->in, .avail_in = t->in_bytes, .next_out = t->out, .avail_out = t->out_bytes,
    };

    /* Raw deflate; any window size is accepted. */
    if (inflateInit2(&z, -15) != Z_OK) {
        return -ENOMEM;
    }
    int ret = inflate(&z, Z_FINISH);
    bool whole = z.avail_out == 0 && (ret == Z_STREAM_END || ret == Z_BUF_ERROR || ret == Z_OK);
    inflateEnd(&z);
    return whole ? 0 : -EIO;
}

#if CONFIG_ZSTD
static int inflate_zstd(InflateTask *t)
{
    ZSTD_inBuffer in = { t->in, t->in_bytes, 0 };
    ZSTD_outBuffer out = { t->out, t->out_bytes, 0 };
    ZSTD_DCtx *d = ZSTD_createDCtx();
    int ret = d ? 0 : -ENOMEM;

    if (d) {
        ZSTD_DCtx_setParameter(d, ZSTD_d_windowLogMax, ZSTD_MAX_WINDOW_LOG);
    }
    while (ret == 0 && out.pos < out.size) {
        size_t in_before = in.pos, out_before = out.pos;
        size_t r = ZSTD_decompressStream(d, &out, &in);

        if (ZSTD_isError(r) || (in.pos == in_before && out.pos == out_before)) {
            ret = -EIO;             /* damaged, or it ends too early */
        }
    }
    ZSTD_freeDCtx(d);
    return ret;
}
#else
static int inflate_zstd(InflateTask *t)
{
    return -ENOTSUP;                /* such an image is not opened */
}
#endif

static int inflate_task(void *opaque)
{
    InflateTask *t = opaque;

    return t->type == 1 ? inflate_zstd(t) : inflate_zlib(t);
}

/* ---- the last cluster ---- */

void any_fn qcow2_inflated_unref(Qcow2Inflated *z)
{
    if (z && __atomic_fetch_sub(&z->refs, 1, __ATOMIC_ACQ_REL) == 1) {
        free(z->data);
        g_free(z);
    }
}

/* Compressed clusters are never written here: what a descriptor stands for does not change. */
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

/* Read the stream of @desc and make a cluster of it. */
static int co_fn inflate_cluster(BlockDriverState *bs, uint64_t desc, uint8_t *out)
{
    Qcow2State *s = qcow2_state(bs);
    uint64_t offset, bytes;

    qcow2_compressed_range(&s->g, desc, &offset, &bytes);
    InflateTask t = {
        .type = s->header.compression_type, .in = bdrv_try_blockalign(bytes), .in_bytes = bytes,
        .out = out, .out_bytes = s->g.cluster_size,
    };
    if (!t.in) {
        return -ENOMEM;
    }
    bdrv_debug_event(bs->file, "read_compressed");
    int ret = qcow2_read_table(bs, host_offset(offset), t.in, bytes);
    if (ret == 0) {
        ret = s->g.cluster_size >= THREAD_MIN_BYTES ? thread_pool_co_run(inflate_task, &t)
                                                    : inflate_task(&t);
    }
    free(t.in);
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
