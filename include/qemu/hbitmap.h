/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A bitmap over a length of bytes: one bit for each granule, and counters above them, so that a
 * search over what is mostly clean is quick.
 *
 * Every function but hbitmap_new() and hbitmap_free() may be called by any number of threads at
 * once and takes no lock; util/hbitmap.c has what then holds.  Offsets and lengths are bytes.
 * Counts of bytes are of whole granules, also of the last one, of which the length may have only a
 * part.
 */
#ifndef QEMU_HBITMAP_H
#define QEMU_HBITMAP_H

#include "qemu/osdep.h"

typedef struct HBitmap HBitmap;

/* The most bits that a bitmap may have: they take 1 GiB of memory, as far as they are used. */
#define HBITMAP_MAX_BITS (INT64_C(1) << 33)

/*
 * A clean bitmap of @length bytes.  @granularity: bytes, a power of two.  NULL: there is no memory,
 * or it would have more than HBITMAP_MAX_BITS.
 */
HBitmap *any_fn hbitmap_new(int64_t length, int64_t granularity);
/* Nobody uses @h any more; NULL: nothing. */
void any_fn hbitmap_free(HBitmap *h);

int64_t any_fn hbitmap_length(const HBitmap *h);
int64_t any_fn hbitmap_granularity(const HBitmap *h);

/*
 * Every granule that [@offset, @offset + @bytes) touches becomes dirty; what lies behind the length
 * is ignored.  Returns the bytes that were not before.
 */
int64_t any_fn hbitmap_set(HBitmap *h, int64_t offset, int64_t bytes);
/*
 * The granules that lie wholly inside of [@offset, @offset + @bytes) become clean: a granule of
 * which only a part was copied stays dirty.  The length ends the last granule.  Returns the bytes
 * that were dirty before.
 */
int64_t any_fn hbitmap_reset(HBitmap *h, int64_t offset, int64_t bytes);
/* Is the granule at @offset dirty?  Behind the length nothing is. */
bool any_fn hbitmap_get(const HBitmap *h, int64_t offset);
/* Dirty bytes.  Never less than what sets that have returned have made dirty. */
int64_t any_fn hbitmap_count(const HBitmap *h);

/*
 * The first dirty area in [@start, @end): it goes from *@ret_offset on for *@ret_bytes, which
 * lie in [@start, @end), before the length and are @max_bytes (> 0) at most.  False: there is none.
 */
bool any_fn hbitmap_next_dirty_area(const HBitmap *h, int64_t start, int64_t end,
                                    int64_t max_bytes, int64_t *ret_offset, int64_t *ret_bytes);
/* The first byte in [@start, @end), and before the length, that is clean; -1: there is none. */
int64_t any_fn hbitmap_next_zero(const HBitmap *h, int64_t start, int64_t end);

/* What is dirty in @src is dirty in @dst, too; granularities and lengths may differ. */
void any_fn hbitmap_merge(HBitmap *dst, const HBitmap *src);

/* hbitmap_truncate() to @length will not fail.  False: no memory, or too many bits. */
bool any_fn hbitmap_reserve(HBitmap *h, int64_t length);
/*
 * Another length.  What it grows by is dirty: a copy of what was there before lacks it.  False, and
 * the length stays: see hbitmap_reserve().  Shrinking does not fail.
 */
bool any_fn hbitmap_truncate(HBitmap *h, int64_t length);
/* The same, but what it grows by is clean: for one that records nothing. */
bool any_fn hbitmap_truncate_clean(HBitmap *h, int64_t length);
/* hbitmap_truncate() if that makes it longer: several threads may do so at once. */
bool any_fn hbitmap_extend(HBitmap *h, int64_t length);

/* ---- as bytes: bit n of the bitmap is bit n % 8, counted from the lowest, of byte n / 8 ---- */

/* Bytes that the whole takes: a multiple of 8, at least 8. */
int64_t any_fn hbitmap_serial_bytes(const HBitmap *h);
/* The serial bytes [@first, @first + @n), multiples of 8; what lies behind the end is 0. */
void any_fn hbitmap_serialize(const HBitmap *h, int64_t first, int64_t n, uint8_t *buf);
/* What is set in @buf becomes dirty, nothing becomes clean; what lies behind the end is ignored. */
void any_fn hbitmap_deserialize(HBitmap *h, int64_t first, int64_t n, const uint8_t *buf);
/* The same with one value for all the bytes that lie in the bitmap: all dirty. */
void any_fn hbitmap_deserialize_ones(HBitmap *h, int64_t first, int64_t n);
/* Has [@first, @first + @n) a dirty bit? */
bool any_fn hbitmap_serial_is_zero(const HBitmap *h, int64_t first, int64_t n);

#endif
