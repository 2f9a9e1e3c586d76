/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Internal snapshots: what the files snapshot-*.c offer each other and the driver.
 *
 * What has to hold on disk at every moment, besides (F1) to (F5) of flush.c:
 *
 * (I1) The header's table of snapshots is whole on disk, with the L1 tables that it names and all
 *      that they refer to, refcounts included, before the header, one sector, goes over to it.  So
 *      a power cut leaves a snapshot that is there, or none.
 * (I2) What the header referred to before is given back only after it has gone over, durably.
 * (I3) No L2 table and no cluster that has a reference from a snapshot is "copied", in the active
 *      tables, when the header goes over to that snapshot: nobody writes there in place, whoever
 *      opens the image.  In memory that is true from the freeze on.
 * (I4) While refcounts and "copied" flags go up and down they do not fit each other, which is no
 *      harm to data, and clusters may have references too many.  So an image of version 3 is
 *      marked as dirty meanwhile: whoever opens it for writing after a power cut repairs both.
 */
#ifndef QCOW2_SNAPSHOT_H
#define QCOW2_SNAPSHOT_H

#include "block/internal-snapshot.h"
#include "qcow2.h"

/* ---- snapshot-table.c: the table on disk ---- */

typedef struct Qcow2Snapshot {
    HostOffset l1_offset;           /* cluster-aligned */
    uint32_t l1_size;               /* entries; <= QCOW2_MAX_L1_BYTES */
    BdrvSnapshot *info;             /* owned */
    uint8_t *raw;                   /* owned: the entry as it is on disk */
    size_t raw_bytes;
} Qcow2Snapshot;

/* All internal snapshots; an array of Qcow2Snapshot that the caller frees. *@ret_bytes: length of
 * the table. */
GPtrArray *co_fn qcow2_snapshots_read(BlockDriverState *bs, uint64_t *ret_bytes, Error **errp);
/* An entry of a new snapshot; @info is copied. Caller frees. NULL: its id or name is too long. */
Qcow2Snapshot *any_fn qcow2_snapshot_new(const BdrvSnapshot *info, HostOffset l1_offset,
                                         uint32_t l1_size);
void any_fn qcow2_snapshot_free(void *sn);
/* By id, else by name; the index in @list or -1. */
int any_fn qcow2_snapshot_find(const GPtrArray *list, const char *what);

/* A table in the file, that @list is. */
typedef struct Qcow2SnapshotTable {
    uint32_t n;
    HostOffset offset;              /* @n is 0: of nothing */
    uint64_t bytes;
} Qcow2SnapshotTable;

/* Write @list to new clusters, at once if the file does that; 0 or -errno. */
int co_fn qcow2_snapshot_table_write(BlockDriverState *bs, const GPtrArray *list,
                                     Qcow2SnapshotTable *ret);
/* What the header has. */
Qcow2SnapshotTable any_fn qcow2_snapshot_table(Qcow2State *s);
/* (I1): the header goes over to @table; durable on return. */
int co_fn qcow2_snapshot_table_activate(BlockDriverState *bs, const Qcow2SnapshotTable *table,
                                        const GPtrArray *list);
/* The snapshots in the table are those of @list (of Qcow2Snapshot). */
void any_fn qcow2_snapshots_note(Qcow2State *s, const GPtrArray *list);
/* Give its clusters back: nothing on disk names it. */
void co_fn qcow2_snapshot_table_free(BlockDriverState *bs, const Qcow2SnapshotTable *table);

/* ---- snapshot-refs.c: references of whole maps ---- */

/* Clusters for @bytes at @offset. */
static inline uint64_t qcow2_clusters_for(const Qcow2Geometry *g, uint64_t bytes)
{
    return DIV_ROUND_UP(bytes, g->cluster_size);
}

/* One more reference to the clusters of each of @runs (of Qcow2Free), or to none of them. */
int co_fn qcow2_runs_raise(BlockDriverState *bs, const GArray *runs);
/* One less; what fails is a leak. */
void co_fn qcow2_runs_drop(BlockDriverState *bs, const GArray *runs);
GArray *any_fn qcow2_runs_new(void);
void any_fn qcow2_runs_add(Qcow2State *s, GArray *runs, HostOffset first, uint64_t clusters);
/*
 * The clusters that the entries in @buf, @bytes of the L2 table at @table, refer to.  *@ret_copied
 * becomes true if one of them is "copied".  -EIO: an entry makes no sense.  Under cache.lock.
 */
int any_fn qcow2_table_runs(BlockDriverState *bs, HostOffset table, const uint8_t *buf,
                            size_t bytes, GArray *runs, bool *ret_copied);

/*
 * One more reference to each table that the entries of @l1 lead to, and to all that these refer to;
 * or nothing.  Everything is on disk, and none of it is written to.  No "copied" flags are left in
 * the tables.
 */
int co_fn qcow2_map_raise(BlockDriverState *bs, const uint64_t *l1, uint32_t n);
/* One less; tables may be newer in memory than on disk.  What cannot be read, or dropped, is a
 * leak: the result is the first error. */
int co_fn qcow2_map_drop(BlockDriverState *bs, const uint64_t *l1, uint32_t n);
/* The L1 table at @offset, as on disk; caller frees. */
uint64_t *co_fn qcow2_l1_read(BlockDriverState *bs, HostOffset offset, uint32_t n, int *ret);

/* ---- snapshot-flags.c ---- */

/* All "copied" flags of the active tables fit the refcounts afterwards.  Guests run. */
int co_fn qcow2_flags_refresh(BlockDriverState *bs);
/* The flag of active L1 entry @i.  Under l2_lock. */
int co_fn qcow2_l1_set_copied(BlockDriverState *bs, uint32_t i, bool copied);

/* ---- flush.c ---- */

/* From here to the end the image is marked as dirty, where it can be: (I4) in snapshot.h. */
int co_fn qcow2_unsettled_begin(BlockDriverState *bs);
/* With @settled the mark goes when the image is settled next, which is tried; else it stays. */
void co_fn qcow2_unsettled_end(BlockDriverState *bs, bool settled);

/* ---- snapshot-draft.c, snapshot-create.c: making one ---- */

/* A snapshot that is being made; guarded by cache.lock where guests' requests look at it. */
struct Qcow2Draft {
    Qcow2Snapshot *sn;
    GPtrArray *list;                /* the table with it */
    Qcow2SnapshotTable table;       /* that on disk; n is 0: not written yet */
    bool frozen;                    /* (I5) counts */
    bool taken;                     /* the header has it */
    uint32_t l1_size;
    uint64_t l1_clusters;           /* allocated for its L1 table */
    /* Big-endian entries of tables that have been raised, without flags; 0: not, or none. */
    uint64_t *l1;
    /* Which L1 entries got a new table since the last freeze, and a list of them. */
    uint8_t *fresh;
    GArray *fresh_list;             /* of uint32_t */
    GArray *unraised;               /* of uint32_t: fresh before the last freeze */
    bool all_unraised;              /* all entries: nothing was raised yet */
    GArray *orphans;                /* of uint64_t, as in @l1: raised, and replaced since */
    bool l1_written;                /* the L1 table is in the file, as @l1 was then */
};

/* Does (I5) let the table at L1 entry @index be written to?  Under cache.lock, as the next. */
bool any_fn qcow2_draft_allows(const Qcow2Draft *d, uint32_t index);
/* There is a new table at L1 entry @index. */
void any_fn qcow2_draft_note_table(Qcow2State *s, uint32_t index);

/* May the table be written to that L1 entry number @index, which is @entry, leads to? */
static inline bool qcow2_l1_is_writable(Qcow2State *s, uint32_t index, uint64_t entry)
{
    return entry & QCOW2_COPIED && (!s->draft || qcow2_draft_allows(s->draft, index));
}

/* (I5) and (I6).  Under cache.lock. */
void any_fn qcow2_draft_assert(Qcow2State *s);

int co_fn qcow2_co_snapshot_begin(BlockDriverState *bs, const BdrvSnapshot *sn);
uint64_t any_fn qcow2_snapshot_freeze(BlockDriverState *bs);
int co_fn qcow2_co_snapshot_raise(BlockDriverState *bs);
int co_fn qcow2_co_snapshot_take(BlockDriverState *bs, bool flushed);
void co_fn qcow2_co_snapshot_end(BlockDriverState *bs);
const char *any_fn qcow2_snapshot_id(BlockDriverState *bs);

/* ---- snapshot-delete.c, snapshot-apply.c, snapshot-table.c ---- */

bool co_fn qcow2_co_snapshot_list(BlockDriverState *bs, GPtrArray *ret_list, Error **errp);
bool co_fn qcow2_co_snapshot_delete(BlockDriverState *bs, const char *id, Error **errp);
bool co_fn qcow2_co_snapshot_apply(BlockDriverState *bs, const char *id, int64_t *ret_length,
                                   Error **errp);
/* The header as it was read becomes that of the snapshot @id. */
bool co_fn qcow2_open_snapshot(BlockDriverState *bs, const char *id, Error **errp);

#endif
