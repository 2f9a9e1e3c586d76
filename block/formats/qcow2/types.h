/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Units and on-disk constants of qcow2. */
#ifndef QCOW2_TYPES_H
#define QCOW2_TYPES_H

#include "qemu/bswap.h"

/* An offset in the image file, as opposed to one in the disk that the guest sees (plain int64_t,
 * as everywhere in the block layer).  Always a cluster's or a table's, never a guest's. */
typedef struct HostOffset {
    uint64_t v;
} HostOffset;

static inline HostOffset host_offset(uint64_t v)
{
    return (HostOffset){ v };
}

static inline HostOffset host_add(HostOffset o, uint64_t bytes)
{
    return (HostOffset){ o.v + bytes };
}

#define QCOW2_MAGIC 0x514649fbu

/* incompatible_features */
#define QCOW2_INCOMPAT_DIRTY        (UINT64_C(1) << 0)
#define QCOW2_INCOMPAT_CORRUPT      (UINT64_C(1) << 1)
#define QCOW2_INCOMPAT_DATA_FILE    (UINT64_C(1) << 2)
#define QCOW2_INCOMPAT_COMPRESSION  (UINT64_C(1) << 3)
#define QCOW2_INCOMPAT_EXTL2        (UINT64_C(1) << 4)
#define QCOW2_INCOMPAT_KNOWN        UINT64_C(0x1f)

/* compatible_features */
#define QCOW2_COMPAT_LAZY_REFCOUNTS (UINT64_C(1) << 0)

/* autoclear_features */
#define QCOW2_AUTOCLEAR_BITMAPS     (UINT64_C(1) << 0)
#define QCOW2_AUTOCLEAR_RAW_DATA    (UINT64_C(1) << 1)

/* Header extensions. */
#define QCOW2_EXT_END               0x00000000u
#define QCOW2_EXT_BACKING_FORMAT    0xe2792acau
#define QCOW2_EXT_FEATURE_NAMES     0x6803f857u
#define QCOW2_EXT_BITMAPS           0x23852875u
#define QCOW2_EXT_CRYPTO            0x0537be77u
#define QCOW2_EXT_DATA_FILE         0x44415441u

/* Offsets of the header's fields, for those that are changed in place. */
#define QCOW2_HDR_BACKING_OFFSET    8
#define QCOW2_HDR_BACKING_SIZE      16
#define QCOW2_HDR_SIZE              24
#define QCOW2_HDR_L1_SIZE           36
#define QCOW2_HDR_L1_OFFSET         40
#define QCOW2_HDR_REFTABLE_OFFSET   48
#define QCOW2_HDR_REFTABLE_CLUSTERS 56
#define QCOW2_HDR_NB_SNAPSHOTS      60
#define QCOW2_HDR_SNAPSHOTS_OFFSET  64
#define QCOW2_HDR_INCOMPATIBLE      72
#define QCOW2_HDR_COMPATIBLE        80
#define QCOW2_HDR_AUTOCLEAR         88
#define QCOW2_HDR_REFCOUNT_ORDER    96
#define QCOW2_HDR_LENGTH            100
#define QCOW2_HDR_V2_LENGTH         72
#define QCOW2_HDR_V3_LENGTH         104     /* without compression_type */

/* Limits, so that no image decides how much memory or time it takes. */
#define QCOW2_MIN_CLUSTER_BITS      9
#define QCOW2_MAX_CLUSTER_BITS      21
#define QCOW2_MAX_REFCOUNT_ORDER    6
#define QCOW2_MAX_L1_BYTES          (32 * MiB)
#define QCOW2_MAX_REFTABLE_BYTES    (8 * MiB)
#define QCOW2_MAX_SNAPSHOTS         65536
#define QCOW2_MAX_SNAPSHOT_TABLE    (64 * MiB)
#define QCOW2_MAX_SNAPSHOT_EXTRA    1024
#define QCOW2_MAX_BITMAPS           65535
#define QCOW2_MAX_BITMAP_DIRECTORY  (64 * MiB)
/* Of one bitmap, uncompressed: QEMU has the same limit. */
#define QCOW2_MAX_BITMAP_BYTES      (512 * MiB)
/* Tables and clusters lie below this: their entries have 56 bits for an offset. */
#define QCOW2_MAX_HOST_OFFSET       (UINT64_C(1) << 56)

#endif
