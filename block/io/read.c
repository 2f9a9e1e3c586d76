/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reading: the format says where, this file moves the bytes. */
#include "qemu/osdep.h"

#include "block/io/io-internal.h"

/* Pieces of one request that are read at the same time. */
#define MAX_PARALLEL 16

bool any_fn bdrv_range_in_node(const BlockDriverState *bs, int64_t offset, int64_t bytes)
{
    return offset >= 0 && bytes >= 0 && bytes <= BDRV_MAX_LENGTH &&
           offset <= bdrv_length(bs) - bytes;
}

void *any_fn bdrv_try_blockalign(size_t bytes)
{
    void *p;

    return posix_memalign(&p, 4096, bytes ?: 1) == 0 ? p : NULL;
}

/* ---- protocols ---- */

static int co_fn read_bounced(BlockDriverState *bs, int64_t offset, int64_t bytes, IoVec *qiov)
{
    int64_t align = bs->limits.request_alignment;
    int64_t start = ROUND_DOWN(offset, align), end = ROUND_UP(offset + bytes, align);
    void *buf = bdrv_try_blockalign(end - start);
    IoVec v;

    if (!buf) {
        return -ENOMEM;
    }
    iovec_init_buf(&v, buf, end - start);
    int ret = bdrv_drv_preadv(bs, start, end - start, &v);
    if (ret == 0) {
        iovec_from_buf(qiov, 0, (char *)buf + (offset - start), bytes);
    }
    free(buf);
    return ret;
}

static int co_fn read_inside(BlockDriverState *bs, int64_t offset, int64_t bytes, IoVec *qiov)
{
    const BdrvLimits *l = &bs->limits;

    if ((offset | bytes) & (l->request_alignment - 1) ||
        (l->mem_alignment > 1 && !iovec_is_aligned(qiov, l->mem_alignment))) {
        return read_bounced(bs, offset, bytes, qiov);
    }
    return bdrv_drv_preadv(bs, offset, bytes, qiov);
}

/* What lies past the end of a file reads as zeroes, as in a file that was just grown. */
static int co_fn read_protocol(BlockDriverState *bs, int64_t offset, int64_t bytes, IoVec *qiov)
{
    /* Looked at once, also by the macros: others make the file longer meanwhile. */
    int64_t length = bdrv_length(bs);
    int64_t inside = MIN(bytes, MAX(0, length - offset));

    if (inside == bytes) {
        return read_inside(bs, offset, bytes, qiov);
    }
    iovec_memset(qiov, inside, 0, bytes - inside);
    if (inside == 0) {
        return 0;
    }
    g_auto(IoVec) part;
    iovec_init_slice(&part, qiov, 0, inside);
    return read_inside(bs, offset, inside, &part);
}

/* ---- formats ---- */

int co_fn bdrv_map_chain(BlockDriverState *bs, int64_t offset, int64_t bytes, int max_depth,
                         BdrvExtent *ret_extent, BlockDriverState **ret_layer, int *ret_depth)
{
    BdrvLink *via = NULL;
    int depth = 0;

    for (;; depth++) {
        int64_t length = bdrv_length(bs);
        bool behind = offset >= length;     /* what is mapped there is no part of the disk */

        if (behind && depth == 0) {
            length = __atomic_load_n(&bs->resize_end, __ATOMIC_RELAXED);
        }
        *ret_layer = bs;
        if (offset >= length) {     /* a backing file that is shorter than its overlay */
            *ret_extent = (BdrvExtent){ .kind = BDRV_EXTENT_ZERO, .bytes = bytes };
            depth = -1;
            break;
        }
        bytes = MIN(bytes, length - offset);
        /* Where somebody writes to an image below (fleecing), its map changes: it is read as its
         * users read it. */
        if (!bdrv_is_mapped(bs) || (via && bdrv_needs_ranges(bs))) {
            *ret_extent = (BdrvExtent){
                .kind = BDRV_EXTENT_DATA, .bytes = bytes, .link = via, .host_offset = offset,
            };
            break;
        }
        int ret = bdrv_drv_map(bs, offset, bytes, ret_extent);
        if (ret < 0) {
            return ret;
        }
        if (ret_extent->kind != BDRV_EXTENT_BACKING) {
            break;
        }
        bytes = ret_extent->bytes;
        if (!bs->backing || behind || (max_depth && depth + 1 == max_depth)) {
            ret_extent->kind = BDRV_EXTENT_ZERO;
            ret_extent->link = NULL;
            depth = -1;
            break;
        }
        via = bs->backing;
        bs = via->bs;
    }
    if (ret_depth) {
        *ret_depth = depth;
    }
    return 0;
}

static int co_fn read_extent(BlockDriverState *layer, const BdrvExtent *e, int64_t offset,
                             IoVec *qiov)
{
    switch (e->kind) {
    case BDRV_EXTENT_DATA:
        bdrv_debug_event(layer->file, "read_aio");
        return bdrv_co_preadv(e->link, e->host_offset, e->bytes, qiov);
    case BDRV_EXTENT_SPECIAL:
        return bdrv_drv_read_special(layer, e, offset, e->bytes, qiov);
    default:
        iovec_memset(qiov, 0, 0, e->bytes);
        return 0;
    }
}

/* Pieces of one request, read side by side. */
typedef struct ReadGroup {
    CoGroup group;
    int ret;                        /* the first failure */
    int pieces;
} ReadGroup;

typedef struct ReadPiece {
    ReadGroup *parent;
    BlockDriverState *layer;
    BdrvExtent extent;
    int64_t offset;
    IoVec qiov;
} ReadPiece;

static void co_fn read_piece_entry(void *opaque)
{
    ReadPiece *p = opaque;
    int ret = read_extent(p->layer, &p->extent, p->offset, &p->qiov);

    if (ret < 0 && p->parent->ret == 0) {
        p->parent->ret = ret;
    }
    iovec_destroy(&p->qiov);
    g_free(p);
}

static void co_fn read_piece_start(ReadGroup *rg, BlockDriverState *layer, const BdrvExtent *e,
                                   int64_t offset, IoVec *qiov, size_t qiov_offset)
{
    ReadPiece *p = g_new(ReadPiece, 1);

    p->parent = rg;
    p->layer = layer;
    p->extent = *e;
    p->offset = offset;
    iovec_init_slice(&p->qiov, qiov, qiov_offset, e->bytes);
    if (++rg->pieces % MAX_PARALLEL == 0) {
        co_group_wait(&rg->group);
    }
    co_group_start(&rg->group, read_piece_entry, p);
}

int co_fn bdrv_read_mapped(BlockDriverState *bs, int64_t offset, int64_t bytes, IoVec *qiov)
{
    ReadGroup rg = { CO_GROUP_INIT, 0, 0 };

    for (int64_t done = 0; done < bytes && rg.ret == 0; ) {
        BlockDriverState *layer;
        BdrvExtent e;
        int ret = bdrv_map_chain(bs, offset + done, bytes - done, 0, &e, &layer, NULL);

        if (ret < 0) {
            rg.ret = ret;
            break;
        }
        if (layer != bs) {
            bdrv_debug_event(bs->file, "read_backing_aio");
        }
        if (e.bytes == bytes) {
            return read_extent(layer, &e, offset, qiov);
        }
        if (e.kind == BDRV_EXTENT_ZERO) {
            iovec_memset(qiov, done, 0, e.bytes);
        } else {
            read_piece_start(&rg, layer, &e, offset + done, qiov, done);
        }
        done += e.bytes;
    }
    co_group_wait(&rg.group);
    return rg.ret;
}

/* ---- both ---- */

/* Behind the end of what grows by being written there are zeroes, as in a file. */
static int co_fn read_past_end(BdrvLink *link, int64_t offset, int64_t bytes, IoVec *qiov)
{
    int64_t length = bdrv_length(link->bs);
    int64_t inside = CLAMP(length - offset, 0, bytes);
    g_auto(IoVec) part;

    iovec_memset(qiov, inside, 0, bytes - inside);
    iovec_init_slice(&part, qiov, 0, inside);
    return bdrv_co_preadv(link, offset, inside, &part);
}

int co_fn bdrv_co_preadv(BdrvLink *link, int64_t offset, int64_t bytes, IoVec *qiov)
{
    BlockDriverState *bs = link->bs;

    if (bytes == 0) {
        return 0;
    }
    if (!bdrv_is_mapped(bs)) {
        if (offset < 0 || bytes < 0 || offset > BDRV_MAX_LENGTH - bytes) {
            return -EIO;
        }
        return read_protocol(bs, offset, bytes, qiov);
    }
    if (!bdrv_range_in_node(bs, offset, bytes)) {
        bool grows = bs->drv->co_extend && offset >= 0 && bytes > 0 && bytes <= BDRV_MAX_LENGTH;
        return grows ? read_past_end(link, offset, bytes, qiov) : -EIO;
    }
    if (!bdrv_needs_ranges(bs)) {
        return bdrv_read_mapped(bs, offset, bytes, qiov);
    }
    BdrvRange range;
    bdrv_range_lock(bs->ranges, &range, offset, offset + bytes, false);
    int ret = bdrv_read_mapped(bs, offset, bytes, qiov);
    bdrv_range_unlock(bs->ranges, &range);
    return ret;
}

int co_fn bdrv_co_pread(BdrvLink *link, int64_t offset, int64_t bytes, void *buf)
{
    IoVec v;

    iovec_init_buf(&v, buf, bytes);
    return bdrv_co_preadv(link, offset, bytes, &v);
}

uint8_t *co_fn bdrv_co_read_header(BdrvLink *file, size_t bytes, size_t *ret_len, Error **errp)
{
    uint64_t length = bdrv_length(file->bs);
    size_t len = MIN(length, bytes);
    uint8_t *buf = bdrv_try_blockalign(bytes);
    int ret = buf ? bdrv_co_pread(file, 0, len, buf) : -ENOMEM;

    if (ret < 0) {
        error_setg_errno(errp, -ret, "Cannot read the header of '%s'", file->bs->filename);
        free(buf);
        return NULL;
    }
    memset(buf + len, 0, bytes - len);
    *ret_len = len;
    return buf;
}
