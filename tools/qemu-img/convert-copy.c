/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What convert does with a piece of the disk: read it, look for zeroes in it, write what is left.
 * All of this runs on the copier's thread.  Pieces are written in turn; -W gives that up.
 */
#include "qemu/osdep.h"

#include "convert.h"

/* ---- what is there ---- */

/* The source that has @offset of the whole; *@ret_offset: where. */
static size_t source_of(const Convert *c, int64_t offset, int64_t *ret_offset)
{
    size_t i = 0;

    while (c->ends[i] <= offset) {
        i++;
    }
    *ret_offset = offset - (i ? c->ends[i - 1] : -c->start);
    return i;
}

/* What the source @blk says of a range of its own. */
static int co_fn ask_source(const Convert *c, BlockBackend *blk, int64_t offset,
                                int64_t bytes, BdrvCopyKind *ret_kind, int64_t *ret_bytes)
{
    bool only_top = c->backing_length >= 0;

    blk_begin(blk);
    int status = bdrv_co_block_status(blk_root(blk), offset, bytes, only_top ? 1 : 0, ret_bytes,
                                      NULL);
    blk_end(blk);
    if (status < 0) {
        return status;
    }
    if (only_top && !(status & BDRV_BLOCK_ALLOCATED)) {
        *ret_kind = BDRV_COPY_NOTHING;
    } else {
        *ret_kind = !(status & BDRV_BLOCK_DECIDED) || status & BDRV_BLOCK_ZERO ? BDRV_COPY_ZERO
                                                                              : BDRV_COPY_DATA;
    }
    return 0;
}

/* The same; where that fails and salvaging is wanted, of a part that is half as long, and so on. */
static int co_fn look_at_source(const Convert *c, BlockBackend *blk, int64_t offset,
                                int64_t bytes, BdrvCopyKind *ret_kind, int64_t *ret_bytes)
{
    int ret = ask_source(c, blk, offset, bytes, ret_kind, ret_bytes);

    while (ret < 0 && c->salvage && bytes > 512) {
        bytes = MAX(ROUND_DOWN(bytes / 2, 512), 512);
        ret = ask_source(c, blk, offset, bytes, ret_kind, ret_bytes);
    }
    if (ret < 0) {
        *ret_bytes = bytes;
    }
    return ret;
}

static int co_fn look(void *opaque, int64_t offset, int64_t bytes, BdrvCopyKind *ret_kind,
                      int64_t *ret_bytes)
{
    Convert *c = opaque;
    int64_t there;
    size_t i = source_of(c, offset, &there);

    bytes = MIN(bytes, c->ends[i] - offset);
    if (c->sparse == 0 && c->backing_length < 0) {
        *ret_kind = BDRV_COPY_DATA;
        *ret_bytes = bytes;
        return 0;
    }
    int ret = look_at_source(c, c->sources[i], there, bytes, ret_kind, ret_bytes);
    if (ret < 0 && c->salvage) {
        if (!c->quiet) {
            g_printerr("%s: warning: error while reading block status at offset %" PRId64 ": %s\n",
                       g_get_prgname(), offset, strerror(-ret));
        }
        *ret_kind = BDRV_COPY_DATA;     /* reading will show what can be had */
        return 0;
    }
    if (ret == 0 && *ret_kind == BDRV_COPY_NOTHING) {
        /* Behind the end of its backing file the target reads as zeroes. */
        if (offset >= c->backing_length) {
            *ret_kind = BDRV_COPY_ZERO;
        } else {
            *ret_bytes = MIN(*ret_bytes, c->backing_length - offset);
        }
    }
    return ret;
}

/* ---- reading ---- */

static int co_fn read_at(const Convert *c, int64_t offset, int64_t bytes, uint8_t *buf)
{
    int ret = 0;

    for (int64_t n, there; ret == 0 && bytes > 0; offset += n, buf += n, bytes -= n) {
        size_t i = source_of(c, offset, &there);
        IoVec v;

        n = MIN(bytes, c->ends[i] - offset);
        iovec_init_buf(&v, buf, n);
        ret = blk_co_preadv(c->sources[i], NULL, there, n, &v);
    }
    return ret;
}

/* Sector by sector what can be had, zeroes for the rest. */
static void co_fn salvage(const Convert *c, int64_t offset, int64_t bytes, uint8_t *buf)
{
    for (int64_t n; bytes > 0; offset += n, buf += n, bytes -= n) {
        n = MIN(bytes, 512 - offset % 512);
        int ret = read_at(c, offset, n, buf);
        if (ret < 0) {
            memset(buf, 0, n);
            if (!c->quiet) {
                g_printerr("%s: warning: error while reading offset %" PRId64 ": %s\n",
                           g_get_prgname(), offset, strerror(-ret));
            }
        }
    }
}

/* ---- writing ---- */

static int co_fn write_data(Convert *c, int64_t offset, int64_t bytes, uint8_t *buf)
{
    IoVec v;

    iovec_init_buf(&v, buf, bytes);
    return blk_co_pwritev(c->target, NULL, offset, bytes, &v,
                          c->compress ? BDRV_REQ_WRITE_COMPRESSED : 0);
}

static int co_fn write_zeroes(Convert *c, int64_t offset, int64_t bytes)
{
    if (c->target_is_zero && offset >= c->backing_length) {
        return 0;                   /* nothing is there, and nothing below */
    }
    return blk_co_pwrite_zeroes(c->target, NULL, offset, bytes, BDRV_REQ_MAY_UNMAP);
}

/* What is compressed as one is zero or data as one. */
static int64_t unit_of(const Convert *c)
{
    return c->compress ? MAX(blk_bs(c->target)->limits.compress_unit, 1) : c->sparse;
}

/* How many bytes from the beginning are of one kind, in units that are aligned on the disk. */
static int64_t run_length(const Convert *c, int64_t offset, int64_t bytes, const uint8_t *buf,
                          bool *ret_zero)
{
    int64_t unit = unit_of(c), n = MIN(bytes, unit - offset % unit);

    *ret_zero = buffer_is_zero(buf, n);
    while (n < bytes) {
        int64_t more = MIN(bytes - n, unit);
        if (buffer_is_zero(buf + n, more) != *ret_zero) {
            break;
        }
        n += more;
    }
    return n;
}

static int co_fn write_piece(Convert *c, int64_t offset, int64_t bytes, uint8_t *buf)
{
    int ret = 0;

    for (int64_t n; ret == 0 && bytes > 0; offset += n, buf += n, bytes -= n) {
        bool zero = false;

        n = c->sparse ? run_length(c, offset, bytes, buf, &zero) : bytes;
        ret = zero ? write_zeroes(c, offset, n) : write_data(c, offset, n, buf);
    }
    return ret;
}

/* ---- a piece ---- */

static int co_fn copy_data(Convert *c, const BdrvCopyPiece *piece, uint64_t ticket,
                           bool *ret_is_write)
{
    uint8_t *buf = img_buffers_get(&c->buffers, piece->bytes);
    int ret = buf ? read_at(c, piece->offset, piece->bytes, buf) : -ENOMEM;

    if (ret < 0 && buf && c->salvage) {
        salvage(c, piece->offset, piece->bytes, buf);
        ret = 0;
    }
    if (!c->any_order) {
        img_turns_pass(&c->turns, ticket);
    }
    if (ret == 0) {
        *ret_is_write = true;
        ret = write_piece(c, piece->offset, piece->bytes, buf);
    }
    img_buffers_put(&c->buffers, buf, piece->bytes);
    return ret;
}

static int co_fn copy_piece(void *opaque, const BdrvCopyPiece *piece, bool *ret_is_write)
{
    Convert *c = opaque;
    uint64_t ticket = img_turns_take(&c->turns);

    if (piece->kind == BDRV_COPY_DATA) {
        return copy_data(c, piece, ticket, ret_is_write);
    }
    if (!c->any_order) {
        img_turns_pass(&c->turns, ticket);
    }
    *ret_is_write = true;
    return piece->kind == BDRV_COPY_ZERO ? write_zeroes(c, piece->offset, piece->bytes) : 0;
}

bool co_main_fn img_convert_copy(Convert *c)
{
    static const BdrvCopyOps ops = { .co_look = look, .co_copy = copy_piece };
    ImgTransfer t = {
        .ops = &ops, .opaque = c, .length = c->length, .parallel = c->parallel,
        .speed = c->speed, .progress = c->progress, .target = c->target_name,
    };

    if (c->compress) {
        t.chunk = ROUND_UP(BDRV_COPY_CHUNK, blk_bs(c->target)->limits.compress_unit);
    }
    bool ok = c->length == 0 || img_transfer(&t);
    img_buffers_clear(&c->buffers);
    return ok;
}
