/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Hostile qcow2 images: small ones that have everything the format knows, a table of all their
 * fields, values to put there, and edits that change a field and leave the image a legal one.
 */
#ifndef TESTS_QCOW2_HOSTILE_H
#define TESTS_QCOW2_HOSTILE_H

#include "tests/lib/memdisk.h"

typedef struct HostileLayout {
    const char *name;
    int version;
    int64_t cluster_size;
    int refcount_bits;              /* >= 8 */
    bool extended_l2, snapshot, bitmaps, data_file;
} HostileLayout;

extern const HostileLayout hostile_layouts[];
extern const size_t hostile_n_layouts;

/* Clusters of the disks, and what is in them (extended L2: in the image without the snapshot as
 * well).  Those that a test may change; all others must stay. */
#define HOSTILE_CLUSTERS    48
#define HOSTILE_OVERWRITE   2       /* data */
#define HOSTILE_CLEAR       5       /* data */
#define HOSTILE_DISCARD     6       /* data */
#define HOSTILE_NEW         40      /* nowhere */
#define HOSTILE_NEW_PACKED  41      /* nowhere */

typedef enum HostileKind {
    HOSTILE_NUMBER,                 /* a size, a count, flags */
    HOSTILE_OFFSET,                 /* where something is in the file; flags may be in its ends */
    HOSTILE_TEXT,                   /* bytes of a name */
} HostileKind;

typedef struct HostileField {
    char *name;                     /* "header.l1_offset" */
    uint64_t offset;                /* in the file */
    unsigned bytes;                 /* 1, 2, 4 or 8 */
    HostileKind kind;
} HostileField;

typedef struct HostileBed {
    const HostileLayout *layout;
    GByteArray *image;              /* the file */
    GByteArray *data;               /* the external data file, or NULL */
    GArray *fields;                 /* of HostileField */
    uint8_t *guest;                 /* the disk's content */
    int64_t disk_bytes;
} HostileBed;

HostileBed *co_main_fn hostile_bed_new(const HostileLayout *layout);
void hostile_bed_free(HostileBed *bed);

uint64_t hostile_load(const GByteArray *image, uint64_t offset, unsigned bytes);
void hostile_store(GByteArray *image, uint64_t offset, unsigned bytes, uint64_t value);

/* Values for @field that it does not have: extremes, neighbours, misaligned, beyond the end of the
 * file, on top of every other structure and of itself. A GArray of uint64_t. */
GArray *hostile_values(const HostileBed *bed, const HostileField *field);

/* The @n-th legal edit of (a copy of) the bed's @image and the @guest content that it makes: its
 * name, or NULL: there are no more.  "" : it does not apply to this bed. */
const char *hostile_legal_edit(const HostileBed *bed, size_t n, GByteArray *image, uint8_t *guest);

#endif
