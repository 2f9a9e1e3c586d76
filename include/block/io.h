/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Data requests to a node through a link.  Offsets and lengths are bytes of any alignment; the
 * core pads to what the node needs.  Inside a request bracket (blk_begin ... blk_end) or on the
 * main thread under the graph mutex.  All return 0 or -errno; after a failed write the range's
 * content is undefined (old, new or a mix, per block).  @qiov is borrowed until return and its size
 * is @bytes.
 */
#ifndef BLOCK_IO_H
#define BLOCK_IO_H

#include "block/types.h"
#include "qapi/error.h"
#include "qemu/iov.h"

int co_fn bdrv_co_preadv(BdrvLink *link, int64_t offset, int64_t bytes, IoVec *qiov);
/* @flags: BDRV_REQ_FUA, BDRV_REQ_WRITE_COMPRESSED */
int co_fn bdrv_co_pwritev(BdrvLink *link, int64_t offset, int64_t bytes, IoVec *qiov,
                          unsigned flags);
/* @flags: FUA, MAY_UNMAP, NO_FALLBACK */
int co_fn bdrv_co_pwrite_zeroes(BdrvLink *link, int64_t offset, int64_t bytes, unsigned flags);
/* Advisory: the range may read as anything consistent afterwards; succeeds if not supported. */
int co_fn bdrv_co_pdiscard(BdrvLink *link, int64_t offset, int64_t bytes);
/* Nothing is in the image any more: it reads as its backing file does.  -ENOTSUP: it cannot be made
 * so.  Bitmaps of it know nothing of that. */
int co_fn bdrv_co_make_empty(BdrvLink *link);
/* Everything acknowledged before the call is on stable storage. @flags: BdrvFlushFlags */
int co_fn bdrv_co_flush(BdrvLink *link, unsigned flags);

/* One buffer instead of a vector. */
int co_fn bdrv_co_pread(BdrvLink *link, int64_t offset, int64_t bytes, void *buf);
int co_fn bdrv_co_pwrite(BdrvLink *link, int64_t offset, int64_t bytes, const void *buf,
                         unsigned flags);

/* Flags of bdrv_co_block_status(). */
#define BDRV_BLOCK_DATA      (1 << 0)   /* occupies space somewhere in the chain */
#define BDRV_BLOCK_ZERO      (1 << 1)   /* reads as zeroes */
#define BDRV_BLOCK_ALLOCATED (1 << 2)   /* decided by this very layer */
#define BDRV_BLOCK_DECIDED   (1 << 3)   /* decided by some layer; else nothing was ever written */

/*
 * What [@offset, @offset + *@ret_bytes), *@ret_bytes in 1..@bytes, is, looking through at most
 * @max_depth layers (0: all).  *@ret_depth (may be NULL): the layer that decided, 0 = the link's
 * node. Returns BDRV_BLOCK_ flags or -errno.
 */
int co_fn bdrv_co_block_status(BdrvLink *link, int64_t offset, int64_t bytes, int max_depth,
                               int64_t *ret_bytes, int *ret_depth);

/* Where the bytes of a range are. */
typedef struct BdrvPlace {
    BlockDriverState *file;         /* the protocol node that they lie in; NULL: nowhere that could
                                     * be read byte by byte */
    int64_t host_offset;            /* there, of the first one */
    bool compressed;
} BdrvPlace;

/* The same, and where that is. */
int co_fn bdrv_co_block_place(BdrvLink *link, int64_t offset, int64_t bytes, int64_t *ret_bytes,
                              int *ret_depth, BdrvPlace *ret_place);

/*
 * Does one of the images from @link's on down its chain, above @base (NULL: the whole chain), decide
 * what the first *@ret_bytes of [@offset, @offset + @bytes) are?  1, 0 or -errno.
 */
int co_fn bdrv_co_is_allocated_above(BdrvLink *link, const BlockDriverState *base, int64_t offset,
                                     int64_t bytes, int64_t *ret_bytes);

/* Virtual length in bytes. */
int64_t any_fn bdrv_length(const BlockDriverState *bs);
/* For its driver: @bs is at least @length bytes long now. */
void any_fn bdrv_note_longer(BlockDriverState *bs, int64_t length);
/* Asks the driver of a protocol again (a file may have grown); bytes or -errno. */
int64_t co_fn bdrv_co_getlength(BdrvLink *link);
/* Truncate the node below @link, which needs CLAIM_RESIZE. */
bool co_fn bdrv_co_truncate(BdrvLink *link, int64_t length, int prealloc, Error **errp);
/* Would @bs, truncated to 0 and grown again, read as zeroes? That a truncation succeeds does not
 * say so. */
bool any_fn bdrv_truncated_is_zero(const BlockDriverState *bs);
/* Is a new length of @bs durable when bdrv_co_truncate() returns? */
bool any_fn bdrv_truncate_is_durable(const BlockDriverState *bs);
/* Make the protocol node below @link at least @length bytes long while others write to it: never
 * cuts off what they add.  0 or -errno, -ENOTSUP among them. */
int co_fn bdrv_co_extend(BdrvLink *link, int64_t length);

/*
 * The state of a machine that an internal snapshot of @bs saves: bytes from 0 on, in the map behind
 * the disk.  Nobody resizes @bs meanwhile.  -ENOTSUP: the image has no place for it.  What was never
 * saved reads as zeroes.
 */
int co_fn bdrv_co_save_vmstate(BlockDriverState *bs, int64_t pos, int64_t bytes, IoVec *qiov);
int co_fn bdrv_co_load_vmstate(BlockDriverState *bs, int64_t pos, int64_t bytes, IoVec *qiov);
/* A snapshot has it by now, or nobody wants it. */
int co_fn bdrv_co_drop_vmstate(BlockDriverState *bs);

/* Named event of a format for a blkdebug below it; costs nothing if there is none. */
void co_fn bdrv_debug_event(BdrvLink *link, const char *event);

/*
 * Breakpoints, in the first node from @bs on down that has them (blkdebug).  A request that comes
 * to the event @event stops there, once for each breakpoint, and is known by @tag until it is
 * resumed.  0; -ENOTSUP: there is no such node; -ENOENT: no event, breakpoint or stopped request of
 * that name.
 */
int main_fn bdrv_debug_breakpoint(BlockDriverState *bs, const char *event, const char *tag);
/* Requests that it has stopped go on. */
int main_fn bdrv_debug_remove_breakpoint(BlockDriverState *bs, const char *tag);
/* The one that stopped first. */
int main_fn bdrv_debug_resume(BlockDriverState *bs, const char *tag);
/* Returns once a request has been stopped by the breakpoint @tag. */
int co_main_fn bdrv_debug_wait(BlockDriverState *bs, const char *tag);
/* All breakpoints of @bs and below are removed. */
void main_fn bdrv_debug_resume_all(BlockDriverState *bs);
/* Told, by any thread, when a request stops and goes on; @text is a line.  NULL: nobody is. */
extern void (*bdrv_debug_note)(const char *text);

/*
 * The first @bytes of @file (what there is of them: *@ret_len), for a format that reads its header;
 * an error names the file.  Caller releases with free(); the memory is at least @bytes long, zeroed
 * behind *@ret_len.
 */
uint8_t *co_fn bdrv_co_read_header(BdrvLink *file, size_t bytes, size_t *ret_len, Error **errp);

/* Memory for I/O on any node: page-aligned, to be released with free(); NULL if there is none.
 * For sizes that an image or a client decides. */
void *any_fn bdrv_try_blockalign(size_t bytes);

#endif
