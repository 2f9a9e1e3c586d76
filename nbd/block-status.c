/* SPDX-License-Identifier: GPL-2.0-or-later */
/* NBD_CMD_BLOCK_STATUS: runs of equal state, a chunk for each context that the client selected. */
#include "qemu/osdep.h"

#include "nbd/nbd-internal.h"

/* Extents of one answer; the client asks again for the rest. */
#define MAX_EXTENTS 8192

static guint payload_max(const NbdRequest *req)
{
    return 4 + 8 * (req->flags & NBD_CMD_FLAG_REQ_ONE ? 1 : MAX_EXTENTS);
}

size_t any_fn nbd_block_status_bytes(const NbdRequest *req)
{
    return payload_max(req) * __builtin_popcountll(req->conn->meta);
}

static uint32_t allocation_flags(int status)
{
    return (status & BDRV_BLOCK_DATA ? 0 : NBD_STATE_HOLE) |
           (status & BDRV_BLOCK_ZERO ? NBD_STATE_ZERO : 0);
}

/* 0: nowhere in the chain, 1: in the top image, 2: in its backing file, ... */
static uint32_t depth_flags(int depth, bool decided)
{
    return decided ? depth + 1 : 0;
}

/* The run at @at of a bitmap, which may be changing meanwhile. */
static uint32_t bitmap_flags(const BdrvDirtyBitmap *b, int64_t at, int64_t bytes,
                             int64_t *ret_bytes)
{
    int64_t start, n;

    if (!bdrv_dirty_bitmap_next_area(b, at, at + bytes, bytes, &start, &n)) {
        *ret_bytes = bytes;
        return 0;
    }
    *ret_bytes = start > at ? start - at : n;
    return start > at ? 0 : NBD_STATE_DIRTY;
}

/* State of the run at @at for context @id; *@ret_bytes its length. 0 or -errno. */
static int co_fn query(NbdRequest *req, uint32_t id, uint64_t at, uint64_t bytes,
                       int64_t *ret_bytes, uint32_t *ret_flags)
{
    int depth;

    if (id >= NBD_META_BITMAP) {
        *ret_flags = bitmap_flags(req->conn->exp->bitmaps->pdata[id - NBD_META_BITMAP], at, bytes,
                                  ret_bytes);
        return 0;
    }
    int status = blk_co_block_status(req->conn->exp->blk, &req->conn->client, at, bytes,
                                     ret_bytes, &depth);

    if (status < 0) {
        return status;
    }
    *ret_flags = id == NBD_META_ALLOCATION
                 ? allocation_flags(status)
                 : depth_flags(depth, status & BDRV_BLOCK_DECIDED);
    return 0;
}

/* Appends (length, flags) to @out, joining it with an equal one before it. */
static void add_extent(GByteArray *out, uint32_t bytes, uint32_t flags)
{
    uint8_t e[8];

    if (out->len >= 12) {
        uint8_t *last = out->data + out->len - 8;
        if (be32_load(last + 4) == flags) {
            be32_store(last, be32_load(last) + bytes);
            return;
        }
    }
    be32_store(e, bytes);
    be32_store(e + 4, flags);
    g_byte_array_append(out, e, 8);
}

/* Payload of the chunk for context @id, or NULL with *@ret set. */
static GByteArray *co_fn collect(NbdRequest *req, uint32_t id, int *ret)
{
    GByteArray *out = g_byte_array_new();
    uint64_t at = req->from, end = req->from + req->len;
    guint max = payload_max(req);
    uint8_t head[4];

    be32_store(head, id);
    g_byte_array_append(out, head, 4);
    while (at < end) {
        int64_t n;
        uint32_t flags;
        guint before = out->len;

        *ret = query(req, id, at, end - at, &n, &flags);
        if (*ret < 0) {
            g_byte_array_unref(out);
            return NULL;
        }
        add_extent(out, n, flags);
        if (out->len > max) {
            g_byte_array_set_size(out, before);
            break;
        }
        at += n;
    }
    return out;
}

void co_fn nbd_block_status(NbdRequest *req)
{
    uint64_t left = req->conn->meta;

    while (left) {
        uint32_t id = __builtin_ctzll(left);
        int ret;

        left &= left - 1;
        GByteArray *payload = collect(req, id, &ret);
        if (!payload) {
            nbd_reply_error(req, nbd_errno(req, ret), "cannot look up the block status");
            return;
        }
        gsize len;
        uint8_t *data = g_byte_array_steal(payload, &len);
        data = g_realloc(data, len);    /* it grew by doubling */
        g_byte_array_unref(payload);
        req->memory = g_slist_prepend(req->memory, data);
        nbd_reply_chunk(req, left == 0, NBD_REPLY_TYPE_BLOCK_STATUS, NULL, 0, data, len);
    }
}
