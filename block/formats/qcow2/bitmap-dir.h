/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The directory of persistent bitmaps, parsed once; and what a table of one has. */
#ifndef QCOW2_BITMAP_DIR_H
#define QCOW2_BITMAP_DIR_H

#include "qcow2.h"

#define QCOW2_BITMAP_IN_USE (UINT32_C(1) << 0)  /* not kept up to date on disk */
#define QCOW2_BITMAP_AUTO   (UINT32_C(1) << 1)  /* records what is written */
#define QCOW2_BITMAP_EXTRA  (UINT32_C(1) << 2)  /* who does not know its extra data may use it */

typedef struct Qcow2BitmapEntry {
    HostOffset table;
    uint32_t table_entries;
    uint32_t flags;                 /* QCOW2_BITMAP_ */
    uint8_t granularity_bits;
    char *name;                     /* NULL: not one that can be used here, it is only kept */
    uint8_t *raw;                   /* as on disk, padded; a change of flags goes there, too */
    size_t raw_bytes;
} Qcow2BitmapEntry;

/* The directory as the header says; an array of Qcow2BitmapEntry, empty if there is none.  NULL
 * with *@ret: -EINVAL, it makes no sense, or -errno. */
GPtrArray *co_fn qcow2_bitmap_dir_read(BlockDriverState *bs, int *ret);
/* A new array, which owns its entries. */
GPtrArray *any_fn qcow2_bitmap_dir_new(void);
/* An entry for a bitmap to be written. */
Qcow2BitmapEntry *any_fn qcow2_bitmap_entry_new(const char *name, uint8_t granularity_bits,
                                                HostOffset table, uint32_t table_entries,
                                                uint32_t flags);
Qcow2BitmapEntry *any_fn qcow2_bitmap_entry_copy(const Qcow2BitmapEntry *e);
/* Those that have a name, by it; they stay the array's. */
GHashTable *any_fn qcow2_bitmap_dir_by_name(const GPtrArray *dir);
void any_fn qcow2_bitmap_entry_set_flags(Qcow2BitmapEntry *e, uint32_t flags);
/* All entries behind each other, as on disk; the caller frees.  *@ret_bytes: how much. */
uint8_t *any_fn qcow2_bitmap_dir_format(const GPtrArray *dir, size_t *ret_bytes);

/* The table of @e, in the machine's byte order; the caller frees.  NULL with *@ret: -EINVAL, it
 * cannot be that large or has bits that are reserved, or -errno. */
uint64_t *co_fn qcow2_bitmap_table_read(BlockDriverState *bs, const Qcow2BitmapEntry *e, int *ret);
/* Of an entry of a table: where the data is, 0: nowhere; all ones then? */
#define QCOW2_BITMAP_DATA(entry) ((entry) & QCOW2_OFFSET_MASK)
#define QCOW2_BITMAP_ONES(entry) ((entry) == 1)

#endif
