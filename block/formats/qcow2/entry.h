/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * L1 and L2 table entries, and refcounts: pure functions between bytes and checked values.
 *
 * Images with and without extended L2 entries look the same behind this file: a cluster has
 * @subclusters parts (1 or 32), each with a bit in @alloc and one in @zero.
 */
#ifndef QCOW2_ENTRY_H
#define QCOW2_ENTRY_H

#include "types.h"

#define QCOW2_OFFSET_MASK   UINT64_C(0x00fffffffffffe00)
#define QCOW2_COPIED        (UINT64_C(1) << 63)
#define QCOW2_COMPRESSED    (UINT64_C(1) << 62)
#define QCOW2_ZERO          UINT64_C(1)

/* The geometry of an image; constant while it is open. */
typedef struct Qcow2Geometry {
    unsigned cluster_bits;
    uint64_t cluster_size;          /* bytes */
    unsigned subclusters;           /* per cluster: 1, or 32 with extended L2 entries */
    unsigned subcluster_bits;
    uint32_t all_subs;              /* a bit for each subcluster */
    unsigned entry_size;            /* bytes of an L2 entry: 8 or 16 */
    unsigned l2_bits;               /* log2 of entries in an L2 table */
    unsigned refcount_order;        /* log2 of the bits of a refcount */
    unsigned refblock_bits;         /* log2 of refcounts in a refcount block */
    uint32_t page_size;             /* bytes of metadata read and written as one */
    bool has_zero_flag;             /* version 3 */
    bool has_data_file;             /* guest clusters lie at their guest offset in another file */
} Qcow2Geometry;

static inline void qcow2_geometry_init(Qcow2Geometry *g, unsigned cluster_bits, bool extended_l2,
                                       unsigned refcount_order, bool v3, bool data_file)
{
    *g = (Qcow2Geometry){
        .cluster_bits = cluster_bits,
        .cluster_size = UINT64_C(1) << cluster_bits,
        .subclusters = extended_l2 ? 32 : 1,
        .subcluster_bits = cluster_bits - (extended_l2 ? 5 : 0),
        .all_subs = extended_l2 ? UINT32_MAX : 1,
        .entry_size = extended_l2 ? 16 : 8,
        .l2_bits = cluster_bits - (extended_l2 ? 4 : 3),
        .refcount_order = refcount_order,
        .refblock_bits = cluster_bits + 3 - refcount_order,
        .page_size = MIN(UINT32_C(4096), UINT32_C(1) << cluster_bits),
        .has_zero_flag = v3,
        .has_data_file = data_file,
    };
}

/* A cluster of the guest, as its L2 entry has it. */
typedef struct Qcow2Entry {
    bool compressed;                /* then only @desc counts */
    bool has_host;                  /* a host cluster at @host belongs to it */
    bool copied;                    /* and to nobody else: it may be written in place */
    uint64_t host;                  /* bytes */
    uint64_t desc;                  /* compressed: the descriptor, for qcow2_compressed_range() */
    uint32_t alloc;                 /* subclusters whose data is in the host cluster */
    uint32_t zero;                  /* subclusters that read as zeroes; disjoint from @alloc */
} Qcow2Entry;

/* false: the bytes are no entry of a healthy image. @guest: offset of the cluster it is for. */
static inline bool qcow2_entry_decode(const Qcow2Geometry *g, const uint8_t *p, uint64_t guest,
                                      Qcow2Entry *ret)
{
    uint64_t desc = be64_load(p);
    Qcow2Entry e = { .desc = desc };

    if (desc & QCOW2_COMPRESSED) {
        e.compressed = true;
        *ret = e;
        return !g->has_data_file;
    }
    e.host = desc & QCOW2_OFFSET_MASK;
    e.has_host = e.host != 0 || (g->has_data_file && (desc & QCOW2_COPIED));
    e.copied = e.has_host && (desc & QCOW2_COPIED);
    if (g->subclusters > 1) {
        uint64_t bitmap = be64_load(p + 8);
        e.alloc = (uint32_t)bitmap;
        e.zero = bitmap >> 32;
    } else if (desc & QCOW2_ZERO) {
        e.zero = 1;
    } else {
        e.alloc = e.has_host;
    }
    *ret = e;
    return (e.host & (g->cluster_size - 1)) == 0 &&
           (e.alloc & e.zero) == 0 &&
           (e.alloc == 0 || e.has_host) &&
           (e.zero == 0 || g->has_zero_flag) &&
           (!g->has_data_file || !e.has_host || e.host == guest);
}

static inline void qcow2_entry_encode(const Qcow2Geometry *g, const Qcow2Entry *e, uint8_t *p)
{
    uint64_t desc = e->compressed ? e->desc : 0;

    if (!e->compressed && e->has_host) {
        desc = e->host | (e->copied ? QCOW2_COPIED : 0);
    }
    if (g->subclusters > 1) {
        be64_store(p + 8, e->compressed ? 0 : (uint64_t)e->zero << 32 | e->alloc);
    } else if (!e->compressed && e->zero) {
        desc |= QCOW2_ZERO;
    }
    be64_store(p, desc);
}

/* The entries in @buf are "copied" no more; not for images with a data file. */
static inline void qcow2_table_clear_copied(const Qcow2Geometry *g, uint8_t *buf, size_t bytes)
{
    for (size_t pos = 0; pos < bytes; pos += g->entry_size) {
        uint64_t desc = be64_load(buf + pos);

        if (desc & QCOW2_COPIED && !(desc & QCOW2_COMPRESSED)) {
            be64_store(buf + pos, desc & ~QCOW2_COPIED);
        }
    }
}

/* Where the compressed data of descriptor @desc is: at most @ret_bytes from @ret_offset. */
static inline void qcow2_compressed_range(const Qcow2Geometry *g, uint64_t desc,
                                          uint64_t *ret_offset, uint64_t *ret_bytes)
{
    unsigned x = 62 - (g->cluster_bits - 8);
    uint64_t offset = desc & ((UINT64_C(1) << x) - 1) & (QCOW2_MAX_HOST_OFFSET - 1);
    uint64_t sectors = (desc >> x & ((UINT64_C(1) << (62 - x)) - 1)) + 1;

    *ret_offset = offset;
    *ret_bytes = sectors * 512 - (offset & 511);
}

/* The descriptor of @bytes of compressed data at @offset, less than a cluster; 0: they lie too far
 * back in the file for one. */
static inline uint64_t qcow2_compressed_desc(const Qcow2Geometry *g, uint64_t offset,
                                             uint64_t bytes)
{
    unsigned x = 62 - (g->cluster_bits - 8);
    uint64_t sectors = ((offset + bytes - 1) >> 9) - (offset >> 9);

    if (offset + bytes > MIN(UINT64_C(1) << x, QCOW2_MAX_HOST_OFFSET)) {
        return 0;
    }
    return QCOW2_COMPRESSED | sectors << x | offset;
}

/* The host clusters that the compressed data of @desc lies in. */
static inline void qcow2_compressed_clusters(const Qcow2Geometry *g, uint64_t desc,
                                             HostOffset *ret_first, uint64_t *ret_clusters)
{
    uint64_t offset, bytes;

    qcow2_compressed_range(g, desc, &offset, &bytes);
    ret_first->v = ROUND_DOWN(offset, g->cluster_size);
    *ret_clusters = DIV_ROUND_UP(offset + bytes - ret_first->v, g->cluster_size);
}

/* @index-th refcount of 1 << @order bits in @buf. */
static inline uint64_t qcow2_refcount_load(const uint8_t *buf, unsigned order, size_t index)
{
    switch (order) {
    case 0:
    case 1:
    case 2: {
        unsigned bits = 1u << order;
        size_t bit = index << order;
        return buf[bit >> 3] >> (bit & 7) & ((1u << bits) - 1);
    }
    case 3:
        return buf[index];
    case 4:
        return be16_load(buf + index * 2);
    case 5:
        return be32_load(buf + index * 4);
    default:
        return be64_load(buf + index * 8);
    }
}

/* @value fits. */
static inline void qcow2_refcount_store(uint8_t *buf, unsigned order, size_t index, uint64_t value)
{
    switch (order) {
    case 0:
    case 1:
    case 2: {
        unsigned mask = (1u << (1u << order)) - 1;
        size_t bit = index << order;
        uint8_t *p = &buf[bit >> 3];
        *p = (*p & ~(mask << (bit & 7))) | (value & mask) << (bit & 7);
        break;
    }
    case 3:
        buf[index] = value;
        break;
    case 4:
        be16_store(buf + index * 2, value);
        break;
    case 5:
        be32_store(buf + index * 4, value);
        break;
    default:
        be64_store(buf + index * 8, value);
        break;
    }
}

#endif
