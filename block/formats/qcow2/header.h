/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The header of a qcow2 file, parsed once: code behind this file never sees the raw one. */
#ifndef QCOW2_HEADER_H
#define QCOW2_HEADER_H

#include "block/qcow2.h"
#include "entry.h"
#include "qapi/error.h"

typedef struct Qcow2Header {
    unsigned version;               /* 2 or 3 */
    Qcow2Geometry geometry;
    uint64_t size;                  /* of the disk, bytes; <= BDRV_MAX_LENGTH */
    HostOffset l1_offset;           /* cluster-aligned */
    uint32_t l1_size;               /* entries; covers @size; <= QCOW2_MAX_L1_BYTES */
    HostOffset reftable_offset;     /* cluster-aligned, not 0 */
    uint32_t reftable_clusters;     /* >= 1; <= QCOW2_MAX_REFTABLE_BYTES */
    /* What is wrong with the two, which are 0 then; NULL: nothing.  Such an image can be repaired,
     * and is of no other use. Owned. */
    char *reftable_problem;
    uint32_t nb_snapshots;          /* <= QCOW2_MAX_SNAPSHOTS */
    HostOffset snapshots_offset;    /* cluster-aligned */
    uint64_t incompatible, compatible, autoclear;
    uint32_t header_length;
    unsigned compression_type;      /* 0 zlib, 1 zstd */
    char *backing_file, *backing_format, *data_file;    /* owned; NULL: not recorded */
    bool has_bitmaps;               /* and the bit that says that they are valid */
    uint32_t nb_bitmaps;            /* <= QCOW2_MAX_BITMAPS */
    uint64_t bitmap_directory_size; /* <= QCOW2_MAX_BITMAP_DIRECTORY */
    HostOffset bitmap_directory;    /* cluster-aligned */
} Qcow2Header;

/*
 * Parse and check the header in @buf, the first @len bytes of the file @name (for messages), whose
 * length is @file_length.  QCOW2_HEADER_FIRST_READ bytes are enough unless the cluster is larger
 * and its header extensions are, too.  Everything the struct's comments promise holds on success.
 * *@ret_need (on failure): 0, or how many bytes of the file to show instead, more than @len.
 * qcow2_header_clear() releases what is in @ret on success.
 */
bool any_fn qcow2_header_parse(const uint8_t *buf, size_t len, uint64_t file_length,
                               const char *name, Qcow2Header *ret, size_t *ret_need,
                               Error **errp);

void any_fn qcow2_header_clear(Qcow2Header *header);

/* Entries that an L1 table needs for a disk of @size bytes. */
uint64_t any_fn qcow2_l1_entries_for(const Qcow2Geometry *g, uint64_t size);

/* 100 for a qcow2 header, else 0. */
int any_fn qcow2_probe(const uint8_t *buf, size_t len);

#endif
