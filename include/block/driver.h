/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a driver is, and what it sees of the node it drives.  A driver includes
 * this header and never learns of backends.
 *
 * There are two kinds.  A *protocol* (file, null-co, blkdebug) moves bytes: it has
 * co_preadv and co_pwritev.  A *format* (raw, qcow2) says where bytes are: it has
 * co_map, and if it can be written co_map_write; the core (block/io/) moves
 * the data, splits, zero-fills, copies on write and runs pieces in parallel.
 *
 * Every operation has one caller, the trampoline of its name in
 * block/io/driver-calls.c, which checks both sides of the contract: a driver may
 * rely on ranges being inside the node and aligned to its limits, on writes
 * coming only to writable nodes, and must return 0 or a real -errno.
 */
#ifndef BLOCK_DRIVER_H
#define BLOCK_DRIVER_H

#include "block/amend.h"
#include "block/check.h"
#include "block/internal-snapshot.h"
#include "block/io.h"
#include "block/options.h"
#include "block/qcow2.h"
#include "block/types.h"
#include "qapi/error.h"
#include "qemu/coroutine.h"
#include "qemu/iov.h"

typedef enum BdrvExtentKind {
    BDRV_EXTENT_DATA,       /* bytes lie at link[host_offset] */
    BDRV_EXTENT_ZERO,       /* reads as zeroes */
    BDRV_EXTENT_BACKING,    /* not in this image: in its backing file, else zeroes */
    BDRV_EXTENT_SPECIAL,    /* only the driver can read it (compressed): co_read_special */
} BdrvExtentKind;

/* Where a range of a node is. */
typedef struct BdrvExtent {
    BdrvExtentKind kind;
    int64_t bytes;          /* >= 1; length for which the answer holds, at most what was asked */
    BdrvLink *link;         /* DATA, or ZERO with a preallocated cluster: the child; else NULL */
    int64_t host_offset;    /* offset in @link of the first byte */
    bool writable;          /* DATA: may be overwritten where it is */
    unsigned write_flags;   /* DATA: BdrvReqFlags that every write there gets as well */
    uint64_t special;       /* SPECIAL: the driver's own */
} BdrvExtent;

/*
 * An allocation for a write.  The driver reserved it; nothing of the image's map refers to it until
 * co_map_commit().  [@offset, @offset + @bytes) contains the requested range; what lies in it
 * but outside of the request has to be copied from what the node reads as now.
 */
typedef struct BdrvAlloc {
    int64_t offset;         /* of this node, aligned to the driver's allocation unit */
    int64_t bytes;
    BdrvLink *link;
    int64_t host_offset;    /* in @link, of the byte @offset */
    bool host_is_zero;      /* it reads as zeroes already: zero parts need not be written */
    bool copied;            /* out: set by the core before commit: data other than the request's
                             * was copied into it, and must be durable before the map refers to it
                             */
    void *opaque;           /* the driver's own */
} BdrvAlloc;

typedef struct BdrvLimits {
    uint32_t request_alignment;     /* bytes, power of two; of offsets and lengths; >= 1 */
    uint32_t mem_alignment;         /* bytes, power of two; of buffers; >= 1 */
    int64_t max_transfer;           /* bytes; 0: no limit */
    int64_t alloc_unit;             /* formats: what one map entry covers, bytes (cluster); 0:
                                     * none */
    int64_t zero_unit;              /* granularity of zeroing and discarding, bytes, power of two;
                                     * formats: subcluster or cluster; protocols: 0: any */
    bool native_fua;                /* protocols: co_pwritev takes BDRV_REQ_FUA; else the core
                                     * flushes */
    int64_t compress_unit;          /* what is compressed as one, bytes, power of two; 0: the node
                                     * cannot hold compressed data */
} BdrvLimits;

/* The first bytes of an image, by which its format is found out. */
#define BDRV_PROBED_BYTES 512

/* block_status of a protocol: flags of the answer. */
#define BDRV_STATUS_DATA  1         /* occupies space */
#define BDRV_STATUS_ZERO  2         /* reads as zeroes */

/* co_flush flags */
typedef enum BdrvFlushFlags {
    /* Also finish what a later flush would have to (deferred frees, dirty marks), so that the
     * image on disk is what a clean close leaves: it is about to become read-only. */
    BDRV_FLUSH_SETTLE = 1 << 0,
    /* On the main thread: nobody writes to the node and to what stores it, and it is going to be
     * closed, or become read-only, unless something fails.  So persistent bitmaps are stored. */
    BDRV_FLUSH_BITMAPS = 1 << 1,
} BdrvFlushFlags;

/* A local file, whatever it is called.  For block devices the device, not its name in /dev. */
typedef struct BdrvFileId {
    dev_t dev;                      /* block devices: st_rdev */
    ino_t ino;                      /* block devices: 0 */
} BdrvFileId;

/* Another child in the place of the one that an open node has. */
typedef struct BdrvChildChange {
    bool replaces;                  /* false: the child stays */
    BlockDriverState *bs;           /* the new one; NULL: none (backing only) */
    BdrvLink *link;                 /* core: to the new one until the commit, then to the old one */
} BdrvChildChange;

/*
 * What of a node can change while it is open, with its new values.  A driver looks at what concerns
 * it and updates only its own state; the core sets the node's fields of the same names in the
 * commit.
 */
typedef struct BdrvReopen {
    bool read_only;
    bool cache_direct, cache_no_flush;
    bool discard;
    BdrvDetectZeroes detect_zeroes;
    const BdrvOpenOptions *options; /* the driver's own, of the same driver; borrowed until the
                                     * clean. NULL: they stay as they are */
    BdrvChildChange file, backing;  /* the new file has the same content as the old one */
} BdrvReopen;

/* What clients may want to know of an image.  Strings are borrowed from the node. */
typedef struct BdrvInfo {
    int64_t cluster_size;           /* bytes; 0: it has none */
    bool has_dirty_flag, dirty;
    enum { BDRV_INFO_PLAIN, BDRV_INFO_QCOW2 } kind;     /* which of the structs below */
    Qcow2ImageInfo qcow2;
} BdrvInfo;

/* Breakpoints; see bdrv_debug_breakpoint() and its like for what they do. */
typedef struct BdrvBreakOps {
    int (*set)(BlockDriverState *bs, const char *event, const char *tag);
    int (*remove)(BlockDriverState *bs, const char *tag);
    int (*resume)(BlockDriverState *bs, const char *tag);
    int (*co_wait)(BlockDriverState *bs, const char *tag);
    void (*clear)(BlockDriverState *bs);
} BdrvBreakOps;

struct BlockDriver {
    const char *name;               /* on the wire: "qcow2" */
    size_t instance_size;           /* bytes of BlockDriverState.opaque, zeroed before co_open */
    bool is_protocol;
    bool is_filter;                 /* data is the file child's, one to one (blkdebug, compress) */
    bool shows_file;                /* no filter, but the data is a part of the file child's and
                                     * nothing of its own is stored there (raw): its link follows
                                     * pivots, too */
    /* With shows_file: is it all of the file now? */
    bool (*shows_whole_file)(const BlockDriverState *bs);
    bool settles;                   /* a filter: its co_flush does something for
                                     * BDRV_FLUSH_SETTLE, also when nothing is dirty */
    bool has_file;                  /* a protocol that is no filter and has a file all the same */
    bool supports_backing;
    bool cannot_write;              /* a format that is only read: its nodes are read-only */

    /* Defaults of the driver's own options, in a zeroed struct, and freeing what they own; NULL:
     * there is nothing to do. */
    void (*options_init)(BdrvOpenOptions *opts);
    void (*options_clear)(BdrvOpenOptions *opts);

    /* Protocols that names may begin with ("nbd" for "nbd://host/export"), up to a NULL, and what
     * such a name says, filled into @opts, which are at their defaults; NULL: none. */
    const char *const *name_prefixes;
    bool (*options_from_name)(const char *name, BdrvOpenOptions *opts, Error **errp);

    /* 0..100: how sure this driver is that @buf (the first @len bytes) is its format. */
    int (*probe)(const uint8_t *buf, size_t len);

    /* ---- life.  All run in a coroutine of the main thread ---- */

    /*
     * Children are open and linked (bs->file ...) before a format is.  Fills bs->length, limits,
     * backing_file and backing_format (recorded names, may stay NULL) and the opaque.  A node
     * opened with bs->read_only set must not write.  After failure close is not called.
     */
    bool (*co_open)(BlockDriverState *bs, const BdrvOpenOptions *opts, Error **errp);
    /* Flush has been done; releases everything.  Errors can only be logged by the caller. */
    int (*co_close)(BlockDriverState *bs);

    /*
     * Change while open, become read-only for instance.  prepare runs while guests write, with the
     * claims on what is below that the new state needs, and gets what can fail out of the way;
     * commit runs while all backends are quiesced, after a settling flush: it cannot fail and does
     * not yield; clean runs afterwards (closing descriptors).  abort undoes prepare.  A driver
     * without them has no options of its own.
     */
    bool (*co_reopen_prepare)(BlockDriverState *bs, const BdrvReopen *to, Error **errp);
    void (*reopen_commit)(BlockDriverState *bs, const BdrvReopen *to);
    void (*co_reopen_abort)(BlockDriverState *bs);
    void (*co_reopen_clean)(BlockDriverState *bs);

    /*
     * The claims that users of @bs put on it changed to @needs / @allows (cumulative).  prepare
     * takes what has to be taken outside the process (file locks) and may fail; the others cannot.
     * All may yield.
     */
    bool (*co_claims_prepare)(BlockDriverState *bs, unsigned needs, unsigned allows, Error **errp);
    void (*co_claims_commit)(BlockDriverState *bs);
    void (*co_claims_abort)(BlockDriverState *bs);

    /* ---- protocols ---- */
    int (*co_preadv)(BlockDriverState *bs, int64_t offset, int64_t bytes, IoVec *qiov);
    /* Ends at a multiple of the alignment, or at the end of a node whose length is none, which must
     * stay. */
    int (*co_pwritev)(BlockDriverState *bs, int64_t offset, int64_t bytes, IoVec *qiov,
                      unsigned flags);                  /* BDRV_REQ_FUA if limits.native_fua */
    /* -ENOTSUP: the core writes buffers (unless NO_FALLBACK). */
    int (*co_pwrite_zeroes)(BlockDriverState *bs, int64_t offset, int64_t bytes, unsigned flags);
    int (*co_pdiscard)(BlockDriverState *bs, int64_t offset, int64_t bytes);
    /* *ret_bytes >= 1 bytes from @offset have the returned BDRV_STATUS_ flags. */
    int (*co_block_status)(BlockDriverState *bs, int64_t offset, int64_t bytes, int64_t *ret_bytes);

    /* ---- formats ---- */
    int (*co_map)(BlockDriverState *bs, int64_t offset, int64_t bytes, BdrvExtent *ret_extent);
    /* Reserve an allocation for [@offset, @offset + some of @bytes).  The core holds the range
     * (widened to limits.alloc_unit) exclusively until commit or abort. */
    int (*co_map_write)(BlockDriverState *bs, int64_t offset, int64_t bytes, BdrvAlloc *ret_alloc);
    /* The data is written: make the map refer to it.  After a failure the allocation is given back.
     */
    int (*co_map_commit)(BlockDriverState *bs, BdrvAlloc *alloc);
    void (*co_map_abort)(BlockDriverState *bs, BdrvAlloc *alloc);
    /* Ranges aligned to limits.zero_unit (or ending at the end of the image), held exclusively.
     * -ENOTSUP: the core writes zeroes. */
    int (*co_zero)(BlockDriverState *bs, int64_t offset, int64_t bytes, unsigned flags);
    int (*co_discard)(BlockDriverState *bs, int64_t offset, int64_t bytes);
    /* Nothing is in this image any more: it reads as its backing file.  The whole node is held
     * exclusively. */
    int (*co_make_empty)(BlockDriverState *bs);
    int (*co_read_special)(BlockDriverState *bs, const BdrvExtent *extent, int64_t offset,
                           int64_t bytes, IoVec *qiov);
    /* Store one compress_unit (the last of the image: what there is of it) compressed and make the
     * map refer to that; the unit is held exclusively.  *@ret_stored is false if it does not get
     * smaller or cannot be addressed: then nothing has changed. */
    int (*co_write_compressed)(BlockDriverState *bs, int64_t offset, int64_t bytes,
                               const void *buf, bool *ret_stored);

    /* A request met a file system that is full: give back at once what only waits to be given
     * back. */
    void (*co_reclaim)(BlockDriverState *bs);

    /* ---- both ---- */
    /* Everything written so far is on stable storage on return, children included, with metadata in
     * its order.  Calls do not overlap for one node. */
    int (*co_flush)(BlockDriverState *bs, unsigned flags);
    /* Current length in bytes or -errno (protocols; formats keep bs->length). */
    int64_t (*co_getlength)(BlockDriverState *bs);
    /* Another process has written to the image, which is read-only here: nothing in memory is
     * believed any more.  False: all is as before. */
    bool (*co_reload)(BlockDriverState *bs, Error **errp);
    /* New length in bytes, durable on return for a format with a map of its own; grown space
     * reads as zeroes, whatever a backing file has there, at every moment that a power cut can
     * come. The node is held exclusively. Updates nothing in bs; the core sets bs->length
     * afterwards. */
    bool (*co_truncate)(BlockDriverState *bs, int64_t length, BdrvPrealloc prealloc, Error **errp);
    /* Protocols: is the node's length its own, so that truncated to 0 it is empty, and what it
     * grows by reads as zeroes? NULL: no. A device's is not: it stays as long as it is, with
     * what is on it. */
    bool (*truncated_is_zero)(const BlockDriverState *bs);
    /* Protocols: preallocations by co_truncate end soon with -ECANCELED, until this is called with
     * false. */
    void (*interrupt)(BlockDriverState *bs, bool on);
    /* Protocols, and what passes on: at least @length bytes from now on, zeroes where nothing was.
     * Writes are under way: what they add behind @length stays.  -ENOSPC: it is not to be longer;
     * -ENOTSUP: cannot be done safely. */
    int (*co_extend)(BlockDriverState *bs, int64_t length);

    /* Record @name (NULL: none), of the format @format, as the backing file, durably: after a power
     * cut the old one is recorded or the new one.  Fields of bs are the core's to change. */
    bool (*co_set_backing)(BlockDriverState *bs, const char *name, const char *format,
                           Error **errp);

    /*
     * Internal snapshots (block/internal-snapshot.h); a driver has all of these or none.  A new one
     * is made in steps, one snapshot at a time:
     *
     * begin takes note of @sn, whose id it chooses; then, once or more, freeze with nobody inside
     * of the node, and raise while requests are under way: what the disk had at the freeze gets its
     * references.  freeze returns how much raise has to do, as a number of tables.  Last of all
     * freeze and take, both with nobody inside of the node; @flushed: all that was written is on
     * disk.  end undoes everything if take was not called or failed.
     */
    /*
     * The state of a machine that internal snapshots save lies in the map behind the disk, from
     * this offset on.  NULL: the format has no place for it.
     */
    int64_t (*vmstate_offset)(const BlockDriverState *bs);
    /* How far the map reaches. */
    int64_t (*vmstate_end)(const BlockDriverState *bs);
    /* The node is held exclusively.  The map reaches to @end, an offset behind vmstate_offset(). */
    int (*co_vmstate_extend)(BlockDriverState *bs, int64_t end);
    /* The same; nothing is mapped there any more. */
    int (*co_vmstate_drop)(BlockDriverState *bs);

    bool (*co_snapshot_list)(BlockDriverState *bs, GPtrArray *ret_list, Error **errp);
    int (*co_snapshot_begin)(BlockDriverState *bs, const BdrvSnapshot *sn);
    uint64_t (*snapshot_freeze)(BlockDriverState *bs);
    int (*co_snapshot_raise)(BlockDriverState *bs);
    int (*co_snapshot_take)(BlockDriverState *bs, bool flushed);
    void (*co_snapshot_end)(BlockDriverState *bs);
    const char *(*snapshot_id)(BlockDriverState *bs);
    /* The node is held exclusively; the core sets bs->length to *@ret_length afterwards, also where
     * it fails. */
    bool (*co_snapshot_apply)(BlockDriverState *bs, const char *id, int64_t *ret_length,
                              Error **errp);
    bool (*co_snapshot_delete)(BlockDriverState *bs, const char *id, Error **errp);

    /* See bdrv_co_check(); NULL: there is nothing to check. */
    bool (*co_check)(BlockDriverState *bs, BdrvFix fix, BdrvCheckProgress *progress,
                     BdrvCheckResult *res, Error **errp);

    /* See bdrv_co_amend(), but for the size, with the node held exclusively.  @only_check: could it
     * be done? NULL: nothing can be changed. */
    bool (*co_amend)(BlockDriverState *bs, const BdrvAmendOptions *opts, bool only_check,
                     BdrvCheckProgress *progress, Error **errp);

    /* Lay a new, empty image out on @file, an open writable link that may hold anything.  The
     * caller has made sure that it may be overwritten, flushes afterwards and removes it on
     * failure. */
    bool (*co_create)(BdrvLink *file, const BdrvCreateOptions *opts, Error **errp);

    /* Can the image store a bitmap of that name and @granularity (bytes), beside the persistent ones
     * that the node has? NULL: it cannot store any. */
    bool (*can_store_bitmap)(BlockDriverState *bs, const char *name, int64_t granularity,
                             Error **errp);
    /* A command is about to change, add or remove the persistent bitmap of that name: what the image
     * has of it must not be taken for valid if the process dies.  0 or -errno. */
    int (*co_bitmap_changing)(BlockDriverState *bs, const char *name);
    /* Bitmaps may have been stored in a state that they were taken back from. */
    void (*bitmaps_undone)(BlockDriverState *bs);

    /* A node that guards its first bytes: may they become @sector, of BDRV_PROBED_BYTES? */
    bool (*may_begin_with)(BlockDriverState *bs, const uint8_t *sector);

    /* What clients may want to know of an open image; fills what it has in @ret, which is zeroed.
     */
    void (*get_info)(BlockDriverState *bs, BdrvInfo *ret);

    /* Drivers at which requests wait for their turn: while @on they do not, for somebody waits
     * until all that are in flight have ended.  Main thread. */
    void (*set_unlimited)(BlockDriverState *bs, bool on);

    /* Protocols whose requests wait for a server that is gone: these fail now, and further ones do
     * until it is back.  Main thread. */
    void (*give_up_waiting)(BlockDriverState *bs);

    /* Protocols on local files: which file this is. False: not a local file. */
    bool (*get_identity)(BlockDriverState *bs, BdrvFileId *ret_id);

    /* Bytes that it occupies, as known last, or -1; asking anew, which goes on for a while where
     * that may take one: true, if the answer is still to come and may be worth waiting for.
     * @begin: else only that. */
    int64_t (*get_allocated)(BlockDriverState *bs);
    bool (*refresh_allocated)(BlockDriverState *bs, bool begin);

    /* Protocols on local files: the claims that locks hold against other processes. False: there
     * are none. */
    bool (*get_locks)(BlockDriverState *bs, unsigned *ret_needs, unsigned *ret_refuses);

    /* Claims to put on @link, a child of @bs, given the cumulative claims of bs's users.  NULL: the
     * defaults for its role (block/graph/claims.c). */
    void (*child_claims)(BlockDriverState *bs, BdrvLink *link, unsigned needs, unsigned allows,
                         unsigned *ret_needs, unsigned *ret_allows);

    /* blkdebug-style named events from the format above; @event is a static string. */
    void (*debug_event)(BlockDriverState *bs, const char *event);
    /* NULL: it has no breakpoints. */
    const struct BdrvBreakOps *break_ops;
};

/*
 * Somebody who learns of every change of a node's content: dirty bitmaps, thresholds.  @written is
 * called from any thread when a change of [@offset, @offset + @bytes) is complete or has failed
 * (the content is undefined then); it does not yield.  Functions other than @written and @release
 * may be NULL.
 */
typedef struct BdrvWriteTracker BdrvWriteTracker;
struct BdrvWriteTracker {
    void (*written)(BdrvWriteTracker *tracker, BlockDriverState *bs, int64_t offset, int64_t bytes);
    /* The node may become @length bytes long: get what that takes.  False: it stays as it is. */
    bool (*reserve)(BdrvWriteTracker *tracker, BlockDriverState *bs, int64_t length, Error **errp);
    /* It has another length now; no write to what it grew by has begun.  Any thread. */
    void (*resized)(BdrvWriteTracker *tracker, BlockDriverState *bs, int64_t length);
    /* On the main thread: it is not called any more, by nobody.  It was removed, or the node goes.
     */
    void (*release)(BdrvWriteTracker *tracker);
    /* The core's own. */
    BlockDriverState *bs;
    BdrvWriteTracker *next;         /* atomic */
    BdrvWriteTracker *next_removed;
};

/* A driver whose image names an external data file opens it with this: sets bs->data_file.  @name
 * as recorded, relative to bs->filename; a path and nothing else: an image does not say "json:". */
bool co_main_fn bdrv_open_data_file(BlockDriverState *bs, const char *name, Error **errp);

/*
 * A driver opens a child other than those of its node with this, in its co_open, and keeps the
 * link.  Its child_claims says what the child is used for.  Not to be freed: the node does that,
 * after co_close.
 */
BdrvLink *co_main_fn bdrv_open_own_child(BlockDriverState *bs, const BdrvLinkRole *role,
                                         const BdrvChildOption *child, Error **errp);

/*
 * For a format's co_truncate, which the core calls with the whole node held: what moves bytes.
 * Ranges may lie behind the node's end, up to the end of the unit (limits.alloc_unit) that the new
 * one is in.
 */
/* The range reads as zeroes afterwards; what is mapped stays mapped. */
int co_fn bdrv_resize_zero(BlockDriverState *bs, int64_t offset, int64_t bytes);
/* [@offset, @end), which is mapped nowhere, has zeroes allocated to it, as @prealloc says. */
int co_fn bdrv_resize_allocate(BlockDriverState *bs, int64_t offset, int64_t end,
                               BdrvPrealloc prealloc);

/* "consistent read, write": for messages; caller frees. */
char *any_fn bdrv_claims_to_text(unsigned claims);

/* Called by each driver's constructor function; block/graph/driver-list.c. */
void any_fn bdrv_register(const BlockDriver *drv);
#define block_init(fn) static void __attribute__((constructor)) block_init_##fn(void) { fn(); }

/* NULL if there is none of that name. */
const BlockDriver *any_fn bdrv_find_driver(const char *name);
/* That of a protocol that @filename begins with ("nbd://host"), or NULL. */
const BlockDriver *any_fn bdrv_find_driver_of_name(const char *filename);
/* The format that the first @len bytes of a file look most like; never NULL in a program that has
 * raw. */
const BlockDriver *any_fn bdrv_probe(const uint8_t *buf, size_t len);

/*
 * An opened image.  Fields belong to the image and stay with it for life; whatever belongs to
 * its user is in the BlockBackend.  Drivers may use every field up to the line.
 */
struct BlockDriverState {
    const BlockDriver *drv;
    void *opaque;                   /* the driver's state, drv->instance_size bytes */
    char *node_name;
    char *filename;                 /* how a user would name it; never NULL once open ("" if
                                     * none) */
    char *path;                     /* protocols on local files: absolute name, as it was given and
                                     * not through its links; else NULL */
    bool read_only;                 /* changes only in commits, while quiesced */
    bool cache_direct, cache_no_flush;
    bool discard;                   /* pass discards on */
    bool force_share;
    bool inactive;                  /* see include/block/activity.h; it is read-only then */
    bool guards_first_sector;       /* writes go by the driver's may_begin_with */
    BdrvDetectZeroes detect_zeroes;
    int64_t length;                 /* bytes; atomic: read anywhere (bdrv_length()) */
    BdrvLimits limits;
    char *backing_file, *backing_format;    /* as recorded in the image; NULL: none */
    /* Children by their role, NULL: none; @children has the same ones.  Change while held, by
     * bdrv_add_child() and its like. */
    BdrvLink *file, *backing, *data_file;
    BdrvLink *target;               /* filters that copy: where to */

    /* ------------ below: the core's own, drivers do not read or write it ------------ */

    GQueue children;                /* of BdrvLink: see BDRV_FOREACH_CHILD */
    GQueue followers;               /* of BdrvLink: users that a pivot takes along */
    GQueue others;                  /* of BdrvLink: users that stay */
    struct BdrvRangeSet *ranges;    /* requests under way that must not overlap */
    CoMutex flush_lock;
    int64_t resize_end;             /* bytes; atomic; how far the map may be used during a resize */
    uint64_t write_gen;             /* atomic: +1 after every completed change */
    uint64_t flushed_gen;           /* atomic; <= write_gen; set under flush_lock */
    int64_t unflushed_bytes;        /* atomic: written since the last flush, overwrites counted
                                     * again */
    BdrvWriteTracker *trackers;     /* atomic: who learns of writes; see bdrv_add_write_tracker() */
    int tracker_walks;              /* atomic: threads that go through @trackers just now */
    GSList *bitmaps;                /* of BdrvDirtyBitmap, the newest first; theirs */
    uint64_t wr_highest_offset;     /* atomic, bytes: end of the highest write or zeroing; 0: none
                                     * yet */
    unsigned needs, allows;         /* cumulative claims of all users, as committed */
    unsigned new_needs, new_allows; /* valid while claims_change is set */
    const void *claims_change;      /* the change that has set new_*; NULL: none (graph/claims.c) */
    bool claims_stale;              /* they could not be refreshed after a commit: somebody else's
                                     * stand in the way, or a lock */
    int nesting;                    /* of files below it: (D1) in block/graph/nesting.c */
    BdrvReopen *reopen;             /* owned; from the prepare of a change to its abort or clean */
    bool asked_read_only;           /* its user wanted it so; else only a snapshot or a missing
                                     * permission made it read-only */
    bool looked_for_overlays;       /* protocols: and said what was found (overlay-warning.c) */
    bool backing_as_recorded;       /* its backing file was opened by what the image records of
                                     * it */
    int backing_frozen;             /* > 0: jobs count on its backing link leading where it does:
                                     * nobody gives it another one; main thread */
    BdrvLink *monitor_link;         /* blockdev-add owns it; NULL: no */
    bool closing;                    /* closing: no requests */
    bool hidden;                    /* being made by somebody: nobody else finds it by its name */
    bool implicit;                  /* a filter of a job, which users need not know of */
    const void *changed_by;         /* owner of its mark, see bdrv_change_begin(); NULL: unmarked */
    /* The options it was opened with that an overlay inherits. */
    FileAio aio;
    FileLocking locking;
    BlockDriverState *prev, *next;  /* in the list of all nodes, oldest first */
};

/* Is the content of @bs that of its file, neither more nor less? */
static inline bool bdrv_is_same_as_file(const BlockDriverState *bs)
{
    return bs->drv->is_filter || (bs->drv->shows_whole_file && bs->drv->shows_whole_file(bs));
}

#endif
