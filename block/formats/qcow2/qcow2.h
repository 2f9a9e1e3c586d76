/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The state of an open image, and what the files of this folder offer each other.
 * docs/design/qcow2.md has the picture.
 *
 * Locks, in the order in which they are taken:
 *   free_lock       freeing what was unlinked (refcount.c)
 *   l2_lock         making an L2 table writable (l2.c)
 *   refcount_lock   making room for refcounts (refgrow.c)
 *   space_lock      taking space for a page (space.c)
 *   writeback_lock  writing dirty metadata (flush.c)
 *   bitmaps_lock    storing persistent bitmaps, and marking them as in use (bitmaps.c)
 *   header_lock     writing the header
 *   cache.lock      everything else; a plain mutex that is never held across a yield
 * All but the last are CoMutexes that are held over I/O; requests that find what they need in the
 * cache take cache.lock only.
 *
 * Functions named _try run under cache.lock.  Where they need something that is not in
 * memory they release it, get that, take the lock again and return -EAGAIN: whatever was looked at
 * before may have changed, and the caller starts over.
 */
#ifndef QCOW2_H
#define QCOW2_H

#include "block/block.h"
#include "block/check.h"
#include "block/dirty-bitmap.h"
#include "block/driver.h"
#include "cache.h"
#include "header.h"
#include "qemu/aio.h"
#include "qemu/debug-checks.h"
#include "util/sanitizer.h"

/* Clusters that are referenced no longer, once the tables in memory are on disk. */
typedef struct Qcow2Free {
    HostOffset offset;
    uint64_t clusters;
    bool discard;                   /* give the space back to the file system */
} Qcow2Free;

/* The last compressed cluster that was read; shared by reference. */
typedef struct Qcow2Inflated {
    int refs;                       /* atomic */
    uint64_t desc;
    uint8_t *data;                  /* cluster_size bytes */
} Qcow2Inflated;

typedef struct Qcow2Draft Qcow2Draft;     /* of an internal snapshot: snapshot.h */

typedef struct Qcow2State {
    /* ---- constant while open ---- */
    Qcow2Geometry g;
    Qcow2Header header;             /* as opened; fields that change are below */
    uint64_t snapshots_bytes;       /* length of the snapshot table */
    bool shows_snapshot;            /* the disk is an internal snapshot */
    bool raw_data;                  /* the external data file is a raw image of the disk */
    unsigned overlap_checks;        /* QCOW2_OL_ bits */
    Qcow2OpenOptions opened;        /* without a snapshot */
    bool lazy_refcounts;            /* flushes may leave refcounts in memory */
    bool discard_request;           /* pass on what a guest discarded ... */
    bool discard_other;             /* ... and what we freed ourselves */
    bool discard_snapshot;          /* ... with an internal snapshot */

    CoMutex free_lock, l2_lock, refcount_lock, space_lock, header_lock, writeback_lock;
    bool writeback_running;         /* atomic */
    /* whole ones begun so far; atomic, changes under writeback_lock */
    uint64_t writebacks;
    int writeback_ret;              /* of the last one of any kind; guarded by writeback_lock */
    bool marked_dirty;              /* by us (flush.c); guarded by writeback_lock */
    unsigned unsettled;             /* operations that want the mark; guarded by writeback_lock */
    /* An internal snapshot is being made or deleted; main thread. */
    bool snapshot_busy;
    GPtrArray *snapshots;           /* of BdrvSnapshot, as in the header's table; main thread */

    CoMutex bitmaps_lock;
    bool bitmaps_loaded;            /* those on disk are the node's, and can be stored */
    bool bitmaps_stale;             /* those on disk are not what is in memory; atomic */
    bool bitmaps_stored;            /* since the image was opened or made read-only; atomic */
    bool bitmaps_undone;            /* changes were taken back since they were stored; atomic */

    /* ---- guarded by header_lock ---- */
    uint8_t header_sector[512];     /* the first bytes of the file as they are on disk */

    /* A header write failed, and so did putting the old one back: nobody knows which is on disk,
     * and nothing may change before it is known again; atomic, changes under header_lock. */
    bool header_unknown;

    /* Its metadata is known to make no sense: nothing may change until it was repaired; atomic. */
    bool damaged;
    struct {
        bool noted;                 /* and nobody was told yet; atomic */
        char *text;                 /* NULL: nothing was found. Guarded by cache.lock until noted */
        uint64_t offset, bytes;
    } damage;                       /* damage.c */

    /* Autoclear bits whose promise must be dealt with before anything changes; atomic, cleared
     * under header_lock. */
    uint64_t autoclear_pending;

    /* @metadata is complete; atomic, changes under header_lock */
    bool overlap_loaded;

    /* ---- guarded by cache.lock ---- */
    Qcow2Cache cache;
    GHashTable *with_space;         /* space.c: numbers of clusters */
    GHashTable *metadata;           /* overlap.c: number of a cluster -> QCOW2_OL_ bits */
    Qcow2Draft *draft;              /* or NULL */
    HostOffset l1_offset;           /* changes under a node-wide exclusive range only */
    uint32_t l1_size;
    HostOffset reftable_offset;     /* changes under refcount_lock */
    uint32_t reftable_entries;
    uint64_t hole_cursor;           /* cluster index: below it nothing is known to be free */
    bool scarce;                    /* no space: all holes are looked for before the file grows */
    uint64_t tail_cursor;           /* cluster index: from here on nothing is known to be used */
    bool tail_known;                /* @tail_cursor is valid: looked for at the first allocation */
    uint64_t fresh_from;            /* bytes: host offsets from here on were never written */
    AioTimer clean_timer;           /* of the main thread, like the next one */
    int64_t clean_interval_ns;      /* cache-clean.c; 0: never */
    AioBh free_bh;                  /* of the main thread, like the next three: free-timer.c */
    AioTimer free_timer;
    bool free_timer_armed;
    int64_t free_delay_ns;
    CoMutex free_timer_lock;
    unsigned assert_calls;          /* assert.c */
    GArray *frees;                  /* of Qcow2Free: wait for the next writeback */
    uint64_t free_clusters;         /* in @frees */
    GArray *unlinked;               /* of Qcow2Free: nothing on disk refers to them any more */
    Qcow2Inflated *inflated;        /* or NULL */
    /* bytes: where in a cluster that has compressed data already there is room for more, up to its
     * end; 0: nowhere */
    uint64_t pack_at;
} Qcow2State;

static inline Qcow2State *qcow2_state(BlockDriverState *bs)
{
    return bs->opaque;
}

static inline void qcow2_lock(Qcow2State *s)
{
    guard_lock(&s->cache.lock);
}

static inline void qcow2_unlock(Qcow2State *s)
{
    guard_unlock(&s->cache.lock);
}

/* Is the image ready for changes: would qcow2_prepare_change() have nothing to do and succeed? */
static inline bool qcow2_may_change(Qcow2State *s)
{
    return __atomic_load_n(&s->autoclear_pending, __ATOMIC_ACQUIRE) == 0 &&
           __atomic_load_n(&s->overlap_loaded, __ATOMIC_ACQUIRE) &&
           !__atomic_load_n(&s->damaged, __ATOMIC_ACQUIRE);
}

/* What is unallocated does not simply read as zeroes. */
static inline bool qcow2_has_backing(BlockDriverState *bs)
{
    return bs->backing || bs->backing_file;
}

/* ---- table.c: metadata past the cache ---- */

/* For messages; during and after co_open. */
const char *any_fn qcow2_name(BlockDriverState *bs);

/* Read metadata without the cache, and write it; what lies past the end of the file reads as
 * zeroes. */
int co_fn qcow2_read_table(BlockDriverState *bs, HostOffset offset, void *buf, size_t bytes);
int co_fn qcow2_write_table(BlockDriverState *bs, HostOffset offset, const void *buf,
                            size_t bytes);

/* ---- page.c: pages of tables ---- */

/* Pages that a chain of steps loaded: they stay until it has got through. */
typedef struct Qcow2Walk {
    Qcow2Page *pins[8];
    unsigned n;
    /* part of another walk, or of freeing: goes over the budget rather than wait for a writeback */
    bool inner;
    bool full;                      /* a step needs a page, and dirty ones have all the memory */
} Qcow2Walk;

/* @page stays until the walk ends, under cache.lock as all of these. */
void any_fn qcow2_walk_pin(Qcow2State *s, Qcow2Walk *w, Qcow2Page *page);
/* Every walk is ended. */
void any_fn qcow2_walk_end(Qcow2State *s, Qcow2Walk *w);
/* writeback.c: after a step that set @w->full: 0 if there is memory now, or -errno. Releases
 * cache.lock meanwhile. */
int co_fn qcow2_walk_make_room(BlockDriverState *bs, Qcow2Walk *w);

/*
 * What @step returns once it has got through: an expression that calls a _try function with &@w, a
 * walk that lives that long. It runs under cache.lock, again and again until it is not -EAGAIN. For
 * the outermost walk of an operation, which holds no lock and runs the writeback that makes room
 * for pages.
 */
#define QCOW2_WALK(bs, w, step) ({                                                  \
        Qcow2State *w##_state = qcow2_state(bs);                                    \
        Qcow2Walk w = { .n = 0 };                                                   \
        int w##_ret;                                                                \
        qcow2_lock(w##_state);                                                      \
        while ((w##_ret = (step)) == -EAGAIN &&                                     \
               (!w.full || (w##_ret = qcow2_walk_make_room(bs, &w)) == 0)) {        \
        }                                                                           \
        qcow2_walk_end(w##_state, &w);                                              \
        qcow2_unlock(w##_state);                                                    \
        w##_ret;                                                                    \
    })

/* The same for a part of another walk, under cache.lock. */
#define QCOW2_WALK_INNER(s, w, step) ({                     \
        Qcow2Walk w = { .inner = true };                    \
        int w##_ret;                                        \
        while ((w##_ret = (step)) == -EAGAIN) {             \
        }                                                   \
        qcow2_walk_end(s, &w);                              \
        w##_ret;                                            \
    })

/*
 * The page at @offset, which belongs to a table of class @cls: 0 if it was in memory all along,
 * else -EAGAIN or -errno.
 */
int co_fn qcow2_page_try(BlockDriverState *bs, Qcow2Walk *w, Qcow2PageClass cls, uint64_t offset,
                          Qcow2Page **ret);

/* The L2 table at @from, which nobody may write to, into @buf (a cluster).  In memory it is newer
 * than on disk if it was written to until a snapshot froze it (I5). */
int co_fn qcow2_table_read_whole(BlockDriverState *bs, HostOffset from, uint8_t *buf);

/* Metadata on disk was changed without the cache; nothing in it is dirty, and nobody allocates. */
void any_fn qcow2_forget_metadata(BlockDriverState *bs);

/* ---- space.c: space in the file for metadata ---- */

/* Before a step changes @page (qcow2_cache_touch()): 0 if its place in the file has space; else
 * that is seen to. */
int co_fn qcow2_page_change_try(BlockDriverState *bs, Qcow2Walk *w, Qcow2Page *page);
/* Zeroes, and space for them, for a new table of @clusters clusters. Not under cache.lock. */
int co_fn qcow2_space_take(BlockDriverState *bs, HostOffset table, uint64_t clusters);
/* These clusters of metadata were just written as a whole.  Under cache.lock. */
void any_fn qcow2_space_note(Qcow2State *s, HostOffset offset, uint64_t clusters);
/* Is that known of the metadata at @offset?  Under cache.lock. */
static inline bool qcow2_space_known(Qcow2State *s, uint64_t offset)
{
    return g_hash_table_contains(s->with_space, GSIZE_TO_POINTER(offset >> s->g.cluster_bits));
}

/* ---- l2.c: from a guest offset to its L2 entry ---- */

/* The page of the active L1 table with entry @index, and where it is in there. */
int co_fn qcow2_l1_entry_try(BlockDriverState *bs, Qcow2Walk *w, uint32_t index,
                             Qcow2Page **ret_page, size_t *ret_pos);

typedef struct Qcow2L2Ref {
    Qcow2Page *page;                /* NULL: there is no L2 table */
    unsigned index;                 /* of the first entry, in the page */
    unsigned count;                 /* entries from there to the end of the page */
    uint64_t guest;                 /* offset of the first entry's cluster */
    bool writable;                  /* the table belongs to the active image alone */
} Qcow2L2Ref;

static inline uint8_t *qcow2_l2_entry(const Qcow2Geometry *g, const Qcow2L2Ref *ref, unsigned i)
{
    return ref->page->buf + (size_t)(ref->index + i) * g->entry_size;
}

/* Without a table, @count is the entries that it would have from there. */
int co_fn qcow2_l2_try(BlockDriverState *bs, Qcow2Walk *w, uint64_t guest, Qcow2L2Ref *ret);
/* As qcow2_l2_try(), but nothing is loaded: false if it is not in memory. */
bool any_fn qcow2_l2_peek(BlockDriverState *bs, uint64_t guest, Qcow2L2Ref *ret);
/* As qcow2_l2_try(); makes the table, or a private copy of it, first if that is necessary. */
int co_fn qcow2_l2_writable_try(BlockDriverState *bs, Qcow2Walk *w, uint64_t guest,
                                 Qcow2L2Ref *ret);

/* ---- refcount.c ---- */

/* The page of the refcount of cluster @cluster_index, and its number in there. *@ret is NULL if
 * there is no refcount block for it. */
int co_fn qcow2_refcount_try(BlockDriverState *bs, Qcow2Walk *w, uint64_t cluster_index,
                              Qcow2Page **ret, size_t *ret_number);
/* log2 of the refcounts in a page. */
static inline unsigned qcow2_page_refcount_bits(const Qcow2Geometry *g)
{
    return __builtin_ctz(g->page_size) + 3 - g->refcount_order;
}
/* Drop one reference to each of @clusters clusters now: nothing on disk refers to them. Not under
 * cache.lock. */
int co_fn qcow2_free_now(BlockDriverState *bs, HostOffset offset, uint64_t clusters);
/* The same; @discard: what is free then goes back to the file system. */
int co_fn qcow2_drop_references(BlockDriverState *bs, HostOffset offset, uint64_t clusters,
                                bool discard);
/* Drop a reference after the next writeback.  Under cache.lock. */
void any_fn qcow2_free_later(Qcow2State *s, HostOffset offset, uint64_t clusters, bool discard);
/* Free what is in @unlinked, whoever else is at it.  Not under cache.lock. */
void co_fn qcow2_free_unlinked(BlockDriverState *bs);
/* As qcow2_free_later() for the clusters of @e, whatever it is; nothing if it has none. */
void any_fn qcow2_free_entry_later(Qcow2State *s, const Qcow2Entry *e, bool discard);

/* ---- allocator.c: host clusters ---- */

/*
 * Reserve at least one and up to @want contiguous clusters, with a refcount of 1 in memory.
 * *@ret_zero: they were never written, so they read as zeroes.
 */
int co_fn qcow2_alloc_try(BlockDriverState *bs, Qcow2Walk *w, uint64_t want,
                           HostOffset *ret_offset, uint64_t *ret_clusters, bool *ret_zero);
/* @want clusters in one piece. Not under cache.lock. */
int co_fn qcow2_alloc_contiguous(BlockDriverState *bs, uint64_t want, HostOffset *ret_offset,
                                 bool *ret_zero);
/* Reserve @bytes, less than a cluster: behind the last compressed data if they fit there, or at
 * least begin there, else at the beginning of a new cluster. */
int co_fn qcow2_pack_try(BlockDriverState *bs, Qcow2Walk *w, uint64_t bytes, uint64_t *ret_offset);

/* ---- overlap.c: would a write hit metadata? ---- */

/* Before the first change: find out where metadata is. */
int co_fn qcow2_overlap_load(BlockDriverState *bs);
/* There is now (or not any more) an L2 table or refcount block (@kind) at @offset. Under
 * cache.lock, as the following. */
void any_fn qcow2_overlap_add(Qcow2State *s, unsigned kind, HostOffset offset);
void any_fn qcow2_overlap_remove(Qcow2State *s, unsigned kind, HostOffset offset);
/* The tables of internal snapshots are those that the header now names.  Not under cache.lock. */
void co_fn qcow2_overlap_reload_snapshots(BlockDriverState *bs);
/* The kinds of metadata that [@offset, @offset + @bytes) hits, of those that the image's options
 * say and that are not in @except. */
unsigned any_fn qcow2_overlaps(Qcow2State *s, unsigned except, HostOffset offset, uint64_t bytes);
/* What pages of that class are themselves. */
unsigned any_fn qcow2_page_kind(Qcow2PageClass cls);
/* 0, or -EIO if it hits something, which is noted as damage then; "@what would have been written
 * over the header". */
int any_fn qcow2_overlap_check(BlockDriverState *bs, unsigned except, HostOffset offset,
                               uint64_t bytes, const char *what);

/* ---- refgrow.c ---- */

/* Make room for the refcount of cluster @cluster_index. Not under cache.lock. */
int co_fn qcow2_refblock_make(BlockDriverState *bs, uint64_t cluster_index);
/* Find where the used part of the file ends: sets tail_cursor. Not under cache.lock. */
int co_fn qcow2_find_tail(BlockDriverState *bs);

/* ---- flush.c: the order of writes ---- */

/* What a writeback is for. */
typedef enum Qcow2WritebackMode {
    QCOW2_WRITEBACK_ROOM,           /* make pages clean */
    /* make durable what guests wrote, too; refcounts may wait (F6) */
    QCOW2_WRITEBACK_FLUSH,
    QCOW2_WRITEBACK_SETTLE,         /* the same, and nothing waits */
} Qcow2WritebackMode;

/* Bring the image on disk up to what is in memory now, in the order that flush.c documents. What
 * nothing on disk refers to any more is in @unlinked then. */
int co_fn qcow2_write_dirty(BlockDriverState *bs, Qcow2WritebackMode mode);

/* ---- writeback.c: when it is written ---- */

/* qcow2_write_dirty() to make pages clean, and free what was unlinked.  No locks held. */
int co_fn qcow2_writeback(BlockDriverState *bs);
/* Before a request that changes metadata: slows it down while too much is dirty. */
int co_fn qcow2_writeback_throttle(BlockDriverState *bs);
/* Before room for a write is reserved: qcow2_prepare_change(), and not more dirty metadata than
 * there may be. */
int co_fn qcow2_prepare_reserve(BlockDriverState *bs);
int co_fn qcow2_co_flush(BlockDriverState *bs, unsigned flags);
void co_fn qcow2_co_reclaim(BlockDriverState *bs);
/* On close, when nobody writes any more: the file's length covers the last cluster, also where a
 * flush could not see to that while others wrote. */
int co_main_fn qcow2_set_file_end(BlockDriverState *bs);

/* ---- damage.c ---- */

/*
 * Metadata makes no sense, as @fmt says; [@offset, @offset + @bytes) of the file would have been
 * hit (@bytes 0: nothing in particular).  From now on nothing changes in a writable image.  Under
 * cache.lock.  Returns -EIO; the operation ends with qcow2_end().
 */
int any_fn qcow2_note_damage(BlockDriverState *bs, uint64_t offset, uint64_t bytes,
                             const char *fmt, ...) G_GNUC_PRINTF(4, 5);
/* Mark the image and tell of what was noted, if nobody has. No locks held. */
void co_fn qcow2_report_damage(BlockDriverState *bs);
/* It was repaired. */
void any_fn qcow2_forget_damage(BlockDriverState *bs);

/* ---- assert.c ---- */

/* The invariants that hold whenever nobody has cache.lock; for builds with QEMU_DEBUG_CHECKS. */
void any_fn qcow2_assert_order(BlockDriverState *bs);

/* The last thing that each operation does; returns @ret. No locks held. */
static inline int co_fn qcow2_end(BlockDriverState *bs, int ret)
{
    if (__atomic_load_n(&qcow2_state(bs)->damage.noted, __ATOMIC_ACQUIRE)) {
        qcow2_report_damage(bs);
    }
    if (QEMU_DEBUG_CHECKS) {
        qcow2_assert_order(bs);
    }
    return ret;
}

/* ---- prepare.c ---- */

/* Before a change of anything; at the first, it is found out where metadata is (overlap.c), and
 * what autoclear bits promise about the image is taken back: bits that are not known are
 * cleared, bitmaps are marked (bitmaps.c). */
int co_fn qcow2_prepare_change(BlockDriverState *bs);

/* ---- header-write.c: the header in place ---- */

/* If it is not known which header is on disk, make it the one that we go by. */
int co_fn qcow2_header_settle(BlockDriverState *bs);
/* Set and clear incompatible feature bits; durable on return.  Version 2 has none. */
int co_fn qcow2_header_mark(BlockDriverState *bs, uint64_t set, uint64_t clear);
/* Before a write that is no change of the disk (a repair): clear autoclear bits that are not
 * known. */
int co_fn qcow2_header_drop_unknown(BlockDriverState *bs);
/* Clear autoclear bits; durable on return.  Under header_lock. */
int co_fn qcow2_header_clear_autoclear(BlockDriverState *bs, uint64_t bits);
/* For other files that change fields of the first sector, under header_lock: a copy of it, and that
 * made durable; after a failure the old one is the header, or header_unknown is set. */
void any_fn qcow2_header_begin_change(Qcow2State *s, uint8_t *sector);
int co_fn qcow2_header_write_sector(BlockDriverState *bs, const uint8_t *sector);
/* backing.c: see BlockDriver.co_set_backing. */
bool co_main_fn qcow2_co_set_backing(BlockDriverState *bs, const char *name, const char *format,
                                     Error **errp);
/* @first becomes the first sector; durable on return.  Under header_lock. */
int co_fn qcow2_header_put(BlockDriverState *bs, const uint8_t *first);
/* Point the header to another refcount table; durable on return. */
int co_fn qcow2_header_set_reftable(BlockDriverState *bs, HostOffset offset, uint32_t clusters);
/* The same, with refcounts of 1 << @order bits. */
int co_fn qcow2_header_set_refcounts(BlockDriverState *bs, HostOffset offset, uint32_t clusters,
                                     unsigned order);
/* Set and clear bits of the field of 8 bytes at @field; durable on return.  Version 3 only. */
int co_fn qcow2_header_set_bits(BlockDriverState *bs, unsigned field, uint64_t set, uint64_t clear);
/* Another table of @n internal snapshots; durable on return. */
int co_fn qcow2_header_set_snapshots(BlockDriverState *bs, uint32_t n, HostOffset offset);
/* Another size and L1 table; durable on return. */
int co_fn qcow2_header_set_size(BlockDriverState *bs, uint64_t size, HostOffset l1_offset,
                                uint32_t l1_size);

/* ---- cache-clean.c: main thread ---- */

/* Once, at opening; @ctx: the main thread's. */
void any_fn qcow2_clean_init(Qcow2State *s, AioContext *ctx);
/* From now on drop what was not used for @seconds; 0: never, which is also the end of it. */
void any_fn qcow2_clean_set_interval(Qcow2State *s, int64_t seconds);
/* Drop clean pages that were not used since the last call.  Not under cache.lock. */
void any_fn qcow2_cache_drop_unused(Qcow2State *s);

/* ---- free-timer.c ---- */

/* Once, at opening; @ctx: the main thread's. */
void any_fn qcow2_free_timer_init(BlockDriverState *bs, AioContext *ctx);
/* The end of it. No locks held. */
void co_main_fn qcow2_free_timer_stop(BlockDriverState *bs);

/* ---- bitmaps.c: when persistent bitmaps on disk are valid ---- */

typedef enum Qcow2BitmapMark {
    QCOW2_MARK_RECORDING,           /* those that record */
    QCOW2_MARK_NAMED,
    QCOW2_MARK_ALL,
} Qcow2BitmapMark;

/* Mark them on disk as in use; durable on return.  -EINVAL: there is no directory of bitmaps, or it
 * makes no sense.  Under bitmaps_lock. */
int co_fn qcow2_bitmaps_mark_in_use(BlockDriverState *bs, Qcow2BitmapMark which, const char *name);
bool main_fn qcow2_can_store_bitmap(BlockDriverState *bs, const char *name, int64_t granularity,
                                    Error **errp);
void any_fn qcow2_bitmaps_undone(BlockDriverState *bs);
/* bitmaps-load.c: make them bitmaps of the node, which is just being opened. */
void co_main_fn qcow2_bitmaps_load(BlockDriverState *bs);
/* bitmaps-store.c: store them if they have changed; nobody writes to the disk, or whoever does
 * waits until they are stored.  0 or -errno; that there is no space for them is logged, and 0. */
int co_main_fn qcow2_bitmaps_store(BlockDriverState *bs);
int co_fn qcow2_co_bitmap_changing(BlockDriverState *bs, const char *name);
/* header-bitmaps.c: the header says that there are @n bitmaps, listed in a directory of @bytes; 0:
 * none.  Durable on return; after a failure the old ones count. */
int co_fn qcow2_header_set_bitmaps(BlockDriverState *bs, uint32_t n, HostOffset directory,
                                   uint64_t bytes);

/* ---- operations of the driver ---- */

/* map.c */
int co_fn qcow2_co_map(BlockDriverState *bs, int64_t offset, int64_t bytes, BdrvExtent *ret);
/* alloc.c */
int co_fn qcow2_co_map_write(BlockDriverState *bs, int64_t offset, int64_t bytes, BdrvAlloc *ret);
int co_fn qcow2_co_map_commit(BlockDriverState *bs, BdrvAlloc *alloc);
void co_fn qcow2_co_map_abort(BlockDriverState *bs, BdrvAlloc *alloc);
/* zero.c */
int co_fn qcow2_co_zero(BlockDriverState *bs, int64_t offset, int64_t bytes, unsigned flags);
int co_fn qcow2_co_discard(BlockDriverState *bs, int64_t offset, int64_t bytes);
int co_fn qcow2_co_make_empty(BlockDriverState *bs);
/* Make clusters [@offset, @end) unallocated, for shrinking; cluster-aligned. */
int co_fn qcow2_unmap(BlockDriverState *bs, int64_t offset, int64_t end);
/* resize.c: an L1 table of @entries, more than there are; durable on return. */
int co_fn qcow2_grow_l1(BlockDriverState *bs, uint64_t entries);
/* vmstate.c */
int64_t any_fn qcow2_vmstate_offset(const BlockDriverState *bs);
int64_t any_fn qcow2_vmstate_end(const BlockDriverState *bs);
int co_fn qcow2_co_vmstate_extend(BlockDriverState *bs, int64_t end);
int co_fn qcow2_co_vmstate_drop(BlockDriverState *bs);
/* compress.c */
int co_fn qcow2_co_read_special(BlockDriverState *bs, const BdrvExtent *extent, int64_t offset,
                                int64_t bytes, IoVec *qiov);
void any_fn qcow2_inflated_unref(Qcow2Inflated *z);
/* @desc gets another content.  Under cache.lock. */
void any_fn qcow2_inflated_forget(Qcow2State *s, uint64_t desc);
/* compress-write.c */
int co_fn qcow2_co_write_compressed(BlockDriverState *bs, int64_t offset, int64_t bytes,
                                    const void *buf, bool *ret_stored);
/* reopen.c */
/* Can the image have what @o asks for? */
bool any_fn qcow2_check_options(BlockDriverState *bs, const Qcow2OpenOptions *o, Error **errp);
/* Set what options decide and can be changed while no request is under way. @discard: of the node.
 */
void any_fn qcow2_apply_options(Qcow2State *s, const Qcow2OpenOptions *o, bool discard);
bool co_main_fn qcow2_co_reopen_prepare(BlockDriverState *bs, const BdrvReopen *to, Error **errp);
void main_fn qcow2_reopen_commit(BlockDriverState *bs, const BdrvReopen *to);
/* resize.c */
bool co_fn qcow2_co_truncate(BlockDriverState *bs, int64_t length, BdrvPrealloc prealloc,
                             Error **errp);
/* check.c */
bool co_fn qcow2_co_check(BlockDriverState *bs, BdrvFix fix, BdrvCheckProgress *progress,
                          BdrvCheckResult *res, Error **errp);
/* Refcounts of 1 << @order bits from now on.  Nobody uses the image meanwhile. */
bool co_fn qcow2_change_refcounts(BlockDriverState *bs, unsigned order,
                                  BdrvCheckProgress *progress, Error **errp);
/* amend.c */
bool co_fn qcow2_co_amend(BlockDriverState *bs, const BdrvAmendOptions *o, bool only_check,
                          BdrvCheckProgress *progress, Error **errp);
/* create.c */
bool co_fn qcow2_co_create(BdrvLink *file, const BdrvCreateOptions *opts, Error **errp);

#endif
