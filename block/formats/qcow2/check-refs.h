/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How many references were found to each cluster: a sparse array, as large as what
 * is referenced. */
#ifndef QCOW2_CHECK_REFS_H
#define QCOW2_CHECK_REFS_H

#include "qemu/osdep.h"

/* An active table refers to the cluster, with and without the "copied" flag. */
#define QCOW2_REF_COPIED    (UINT32_C(1) << 31)
#define QCOW2_REF_SHARED    (UINT32_C(1) << 30)
/* It is metadata that never moves and is never copied (header, L1 table, ...). */
#define QCOW2_REF_FIXED     (UINT32_C(1) << 29)
#define QCOW2_REF_COUNT     (QCOW2_REF_FIXED - 1)

/* A chunk is 16 KiB.  All of them together: */
#define QCOW2_REFS_CHUNK_BITS   12
#define QCOW2_REFS_MAX_BYTES    (INT64_C(1) << 30)

typedef enum Qcow2RefsState {
    QCOW2_REFS_OK,
    QCOW2_REFS_NO_MEMORY,           /* something could not be added */
    QCOW2_REFS_TOO_MANY,            /* QCOW2_REFS_MAX_BYTES were not enough */
} Qcow2RefsState;

typedef struct Qcow2Refs {
    GHashTable *chunks;             /* chunk index -> uint32_t[] */
    Qcow2RefsState state;
} Qcow2Refs;

void any_fn qcow2_refs_init(Qcow2Refs *r);
void any_fn qcow2_refs_destroy(Qcow2Refs *r);
/* @n more references to cluster @cluster, with @flags.  A failure is remembered in @r. */
void any_fn qcow2_refs_add(Qcow2Refs *r, uint64_t cluster, uint32_t n, uint32_t flags);
/* Count and flags; 0 if there is nothing. */
uint32_t any_fn qcow2_refs_get(const Qcow2Refs *r, uint64_t cluster);
/* Another count, with the flags that are there. */
void any_fn qcow2_refs_set(Qcow2Refs *r, uint64_t cluster, uint32_t count);
/* Indexes of all chunks (clusters >> QCOW2_REFS_CHUNK_BITS), of uint64_t, ascending; caller frees.
 */
GArray *any_fn qcow2_refs_chunks(const Qcow2Refs *r);

#endif
