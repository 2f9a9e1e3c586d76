/* SPDX-License-Identifier: GPL-2.0-or-later */
/* zlib and zstd, as qcow2 uses them. */
#include "qemu/osdep.h"

#include <zlib.h>

#include "config-host.h"
#if CONFIG_ZSTD
#include <zstd.h>
#include <zstd_errors.h>
#endif

#include "compress-codec.h"

/* The window of our streams: QEMU's programs read no larger one. */
#define DEFLATE_WINDOW_BITS 12
/* Largest window of a zstd frame: bounds the memory that an image can ask for. */
#define ZSTD_MAX_WINDOW_LOG 23

/* ---- zlib: a raw deflate stream ---- */

static int inflate_zlib(Qcow2Codec *c)
{
    z_stream z = {
        .next_in = (uint8_t *)c->in, .avail_in = c->in_bytes,
        .next_out = c->out, .avail_out = c->out_bytes,
    };

    /* Any window size is accepted. */
    if (inflateInit2(&z, -15) != Z_OK) {
        return -ENOMEM;
    }
    int ret = inflate(&z, Z_FINISH);
    bool whole = z.avail_out == 0 && (ret == Z_STREAM_END || ret == Z_BUF_ERROR || ret == Z_OK);
    inflateEnd(&z);
    return whole ? 0 : -EIO;
}

/*
 * How much a stream remembers (2 to the power of level + 6 symbols, and twice as many hashes, which
 * are cleared for each cluster): just enough for one of @bytes.  With the most for all, a cluster
 * of 512 bytes would cost a quarter of a megabyte.
 */
static int memory_level(size_t bytes)
{
    int level = 1;

    while (level < MAX_MEM_LEVEL && (size_t)1 << (level + 6) < bytes) {
        level++;
    }
    return level;
}

static int deflate_zlib(Qcow2Codec *c)
{
    z_stream z = {
        .next_in = (uint8_t *)c->in, .avail_in = c->in_bytes,
        .next_out = c->out, .avail_out = c->out_bytes,
    };

    if (deflateInit2(&z, Z_DEFAULT_COMPRESSION, Z_DEFLATED, -DEFLATE_WINDOW_BITS,
                     memory_level(c->in_bytes), Z_DEFAULT_STRATEGY) != Z_OK) {
        return -ENOMEM;
    }
    int ret = deflate(&z, Z_FINISH);
    c->out_bytes -= z.avail_out;
    deflateEnd(&z);
    return ret == Z_STREAM_END ? 0 : -ENOSPC;
}

/* ---- zstd: one frame ---- */

#if CONFIG_ZSTD
static int inflate_zstd(Qcow2Codec *c)
{
    ZSTD_inBuffer in = { c->in, c->in_bytes, 0 };
    ZSTD_outBuffer out = { c->out, c->out_bytes, 0 };
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

static int deflate_zstd(Qcow2Codec *c)
{
    size_t r = ZSTD_compress(c->out, c->out_bytes, c->in, c->in_bytes, ZSTD_CLEVEL_DEFAULT);

    if (ZSTD_isError(r)) {
        return ZSTD_getErrorCode(r) == ZSTD_error_memory_allocation ? -ENOMEM : -ENOSPC;
    }
    c->out_bytes = r;
    return 0;
}
#else
static int inflate_zstd(Qcow2Codec *c)
{
    return -ENOTSUP;                /* such an image is not opened */
}

static int deflate_zstd(Qcow2Codec *c)
{
    return -ENOTSUP;
}
#endif

/* ---- either ---- */

int any_fn qcow2_inflate(void *opaque)
{
    Qcow2Codec *c = opaque;

    return c->type == QCOW2_COMPRESSION_ZSTD ? inflate_zstd(c) : inflate_zlib(c);
}

int any_fn qcow2_deflate(void *opaque)
{
    Qcow2Codec *c = opaque;

    return c->type == QCOW2_COMPRESSION_ZSTD ? deflate_zstd(c) : deflate_zlib(c);
}
