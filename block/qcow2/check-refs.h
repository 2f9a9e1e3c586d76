/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How many references were found to each cluster: a sparse array, as large as what
 * is referenced. */
#ifndef QCOW2_CHECK_REFS_H
#define QCOW2_CHECK_REFS_H

#include "qemu/osdep.h"

/* An active table refers to the cluster, with and without the "copied" flag. */
#define QCOW2_REF_COPIED    (UINT32_C(1) << 31)
#define QCOW2_REF_SHARED    (UINT32_C(1) << 30)
#define QCOW2_REF_COUNT     (QCOW2_REF_SHARED - 1)

typedef struct Qcow2Refs {
    unsigned chunk_bits;            /* log2 of clusters in a chunk */
    GHashTable *chunks;             /* chunk index -> uint32_t[] */
} Qcow2Refs;

void any_fn qcow2_refs_init(Qcow2Refs *r, unsigned chunk_bits);
void any_fn qcow2_refs_destroy(Qcow2Refs *r);
/* One more reference to @cluster; @flags are or'ed in. False: out of memory. */
bool any_fn qcow2_refs_add(Qcow2Refs *r, uint64_t cluster, uint32_t flags);
/* Flags and count; the count saturates. */
uint32_t any_fn qcow2_refs_get(const Qcow2Refs *r, uint64_t cluster);
/* The whole chunk @index, or NULL if nothing in it is referenced. */
const uint32_t *any_fn qcow2_refs_chunk(const Qcow2Refs *r, uint64_t index);

#endif
