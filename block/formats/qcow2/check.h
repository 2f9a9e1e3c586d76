/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of the check share: check.c (the whole), check-walk.c (counting references),
 * repair.c, check-report.c (what these need). */
#ifndef QCOW2_CHECK_H
#define QCOW2_CHECK_H

#include "block/check.h"
#include "check-refs.h"
#include "qcow2.h"

/* An L2 table that L1 tables refer to. */
typedef struct Qcow2TableUse {
    uint64_t offset;
    uint64_t guest;                 /* where the first entry that refers to it puts it */
    uint32_t count;                 /* L1 entries that refer to it */
    bool active;                    /* the active L1 table does */
    bool walked;
    unsigned fixed;                 /* the repair: a bit for each round that is done with it */
} Qcow2TableUse;

typedef struct Qcow2Check {
    BlockDriverState *bs;
    const Qcow2Geometry *g;
    BdrvCheckResult *res;
    BdrvCheckProgress *progress;    /* or NULL */
    BdrvFix fix;                    /* what follows the check */
    uint64_t done, total;           /* progress, in tables */
    uint64_t file_length;
    uint64_t file_clusters;         /* rounded up */

    uint8_t *reftable;              /* of @n_blocks entries; those that count nothing are 0 */
    uint64_t n_blocks;
    uint8_t *l1;                    /* the active L1 table, as on disk */
    uint32_t l1_size;               /* entries */
    GHashTable *tables;             /* Qcow2TableUse by its @offset */
    Qcow2Refs refs;                 /* references found */

    /* What the repair has to know. */
    bool rebuild;                   /* refcounts cannot be corrected where they are */
    /* References that could not be followed: what seems to be leaked may be in use. */
    bool incomplete;

    uint8_t *table;                 /* a cluster, for L2 tables and the like */
    uint64_t next_host;             /* for fragmentation */
    Error **errp;
} Qcow2Check;

/* ---- check-report.c ---- */

/* Count one more corruption. */
void any_fn qcow2_check_corrupt(Qcow2Check *c, const char *fmt, ...) G_GNUC_PRINTF(2, 3);
/* Count one more cluster with a higher refcount than it has references. */
void any_fn qcow2_check_leak(Qcow2Check *c, uint64_t cluster, uint64_t count, uint32_t references);
/* Read metadata; a failure is an error of the check. */
bool co_fn qcow2_check_read(Qcow2Check *c, uint64_t offset, void *buf, size_t bytes,
                            const char *what);
/* Call @each for the entries, big-endian numbers of 8 bytes, of the table at @offset, but not
 * for those that are 0 because nothing was written there: a table costs as much as it has on
 * disk, and no memory. */
bool co_fn qcow2_check_entries(Qcow2Check *c, uint64_t offset, uint64_t entries,
                               void (*each)(Qcow2Check *c, uint64_t i, uint64_t entry),
                               const char *what);
void *any_fn qcow2_check_alloc(Qcow2Check *c, uint64_t bytes);
/* A table was dealt with. False: the check was told to end. */
bool co_fn qcow2_check_step(Qcow2Check *c);
/* In long loops over clusters, of which @i is the next: now and then everything else on this thread
 * gets its turn. */
static inline void co_fn qcow2_check_yield(uint64_t i)
{
    if (i % 32768 == 32767) {
        coroutine_reschedule();
    }
}
/* Does a refcount block cover @cluster? */
bool any_fn qcow2_check_is_counted(const Qcow2Check *c, uint64_t cluster);
/* Offset of refcount block @i, or 0. */
static inline uint64_t qcow2_check_block(const Qcow2Check *c, uint64_t i)
{
    return be64_load(c->reftable + i * 8);
}

/* ---- check-walk.c ---- */

/* Count every reference that the format knows. */
bool co_fn qcow2_check_walk(Qcow2Check *c);
/* @n references to each cluster of [@offset, @offset + @bytes), which is bounded by the caller. */
void any_fn qcow2_check_mark(Qcow2Check *c, uint64_t offset, uint64_t bytes, uint32_t n,
                             uint32_t flags);
/* Does it lie where neither the file nor a refcount reaches?  Such a reference is none: the place
 * reads as zeroes, and nothing keeps it free. */
bool any_fn qcow2_check_past_end(const Qcow2Check *c, uint64_t offset);
/* May the L2 table at @offset be changed where it is? */
bool any_fn qcow2_check_table_ok(const Qcow2Check *c, uint64_t offset);

/* ---- repair.c ---- */

/*
 * Repair what @c, a complete check, found.  Nothing of the image's metadata is in memory, and
 * nothing of what @c has is valid afterwards.
 */
bool co_fn qcow2_repair(Qcow2Check *c, BdrvFix fix);
/* Write the refcounts that @c, a complete check that found no corruption, has counted, in the width
 * that @g says, which is @c's but for that, and have the header go over to them (K3). */
bool co_fn qcow2_rewrite_refcounts(Qcow2Check *c, const Qcow2Geometry *g);

#endif
