/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the qcow2 driver offers beyond the BlockDriver interface. */
#ifndef BLOCK_QCOW2_H
#define BLOCK_QCOW2_H

#include "block/types.h"
#include "qapi/error.h"

/*
 * Bytes of metadata of an image with @opts whose every cluster has a place.  False: there can be no
 * such image.
 */
bool any_fn qcow2_measure(const BdrvCreateOptions *opts, uint64_t *ret, Error **errp);

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

/*
 * What the image in a file of @file_length bytes, of which @buf has the first @len, records as its
 * backing file; caller frees.  NULL: nothing, it is no sound qcow2 image, or *@ret_need bytes are
 * to be shown instead (0: none of this).
 */
char *any_fn qcow2_recorded_backing_file(const uint8_t *buf, size_t len, uint64_t file_length,
                                         size_t *ret_need);
/* As many bytes as the first try takes. */
#define QCOW2_HEADER_FIRST_READ 4096

/* What is qcow2's own in BdrvInfo; strings are borrowed from the node. */
typedef struct Qcow2ImageInfo {
    int version;
    int refcount_bits;
    bool extended_l2, lazy_refcounts, corrupt, data_file_raw;
    const char *compression_type;   /* "zlib" */
    const char *data_file;      /* as recorded, or NULL */
    uint32_t nb_bitmaps;
    const GPtrArray *snapshots;     /* of BdrvSnapshot; borrowed */
} Qcow2ImageInfo;

#endif
