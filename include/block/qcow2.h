/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the qcow2 driver offers beyond the BlockDriver interface. */
#ifndef BLOCK_QCOW2_H
#define BLOCK_QCOW2_H

#include "block/types.h"
#include "qapi/error.h"

#define QCOW2_DEFAULT_CACHE_BUDGET (32 * MiB)

/*
 * Bytes of memory that the metadata of all open qcow2 images may take together; from any thread, at
 * any time.  Every image keeps a small minimum (64 KiB) beyond it, and what requests under
 * way are working on.
 */
void any_fn qcow2_cache_set_global_budget(size_t bytes);
size_t any_fn qcow2_cache_global_budget(void);
/* What they take now. */
size_t any_fn qcow2_cache_global_usage(void);

typedef struct Qcow2CheckResult {
    /* references without refcount, overlapping or invalid tables, ... */
    uint64_t corruptions;
    uint64_t leaks;             /* clusters with a higher refcount than references */
    uint64_t allocated_clusters;    /* guest clusters that have a host cluster of their own */
    uint64_t compressed_clusters;
    uint64_t fragmented_clusters;   /* allocated, not right behind the one before */
    uint64_t total_clusters;        /* guest clusters */
    uint64_t image_end_offset;      /* of the last cluster in use */
    char *first;                /* what the first corruption is, or NULL; owned by the caller */
} Qcow2CheckResult;

/*
 * Compare the refcounts of the image @bs with the references to its clusters.  Changes nothing but
 * flushes a writable @bs first.  Nothing else uses @bs meanwhile.  False if the check itself could
 * not be made (I/O error, out of memory).
 */
bool co_fn qcow2_check(BlockDriverState *bs, Qcow2CheckResult *res, Error **errp);

/* What tools want to know of an image; strings are borrowed from @bs until it is closed. */
typedef struct Qcow2ImageInfo {
    int version;
    int64_t cluster_size;       /* bytes */
    int refcount_bits;
    bool extended_l2, lazy_refcounts, corrupt, dirty, data_file_raw;
    const char *compression_type;   /* "zlib" */
    const char *data_file;      /* as recorded, or NULL */
    uint32_t nb_snapshots, nb_bitmaps;
} Qcow2ImageInfo;

/* @bs is an open qcow2 node. */
void any_fn qcow2_get_info(BlockDriverState *bs, Qcow2ImageInfo *ret);

#endif
