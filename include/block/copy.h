/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The copier: what a bitmap says is to be done is done piece by piece, many pieces at a time, on a
 * thread of its own, until the bitmap is clean.  Guests may make it dirty again meanwhile.
 * docs/design/copy.md.
 */
#ifndef BLOCK_COPY_H
#define BLOCK_COPY_H

#include "block/backend.h"
#include "qemu/hbitmap.h"

typedef enum BdrvCopyKind {
    BDRV_COPY_UNKNOWN,              /* nobody has looked */
    BDRV_COPY_DATA,
    BDRV_COPY_ZERO,                 /* it reads as zeroes */
    BDRV_COPY_NOTHING,              /* the target has it already */
} BdrvCopyKind;

/* A range that is copied as one. */
typedef struct BdrvCopyPiece {
    int64_t offset, bytes;
    BdrvCopyKind kind;
} BdrvCopyPiece;

/*
 * What is done with a piece.  Both functions run in coroutines of the copier's thread, and return 0
 * or -errno, with *@ret_is_write saying whether it is the target that failed.
 */
typedef struct BdrvCopyOps {
    /* What the first *@ret_bytes of the range are, so that one look serves many pieces.  The
     * range's bits are clean by now.  NULL: pieces are not looked at. */
    int (*co_look)(void *opaque, int64_t offset, int64_t bytes, BdrvCopyKind *ret_kind,
                   int64_t *ret_bytes);
    int (*co_copy)(void *opaque, const BdrvCopyPiece *piece, bool *ret_is_write);
} BdrvCopyOps;

typedef struct BdrvCopyParams {
    const BdrvCopyOps *ops;
    void *opaque;
    HBitmap *uncopied;                  /* borrowed */
    int64_t chunk;                  /* bytes of a piece of data, at most; 0: the default */
    int parallel;                   /* pieces at a time; 0: the default */
} BdrvCopyParams;

typedef struct BdrvCopy BdrvCopy;

typedef enum BdrvCopyResult {
    BDRV_COPY_CLEAN,                /* the bitmap is clean, and all pieces are done */
    BDRV_COPY_INTERRUPTED,
    BDRV_COPY_FAILED,               /* pieces that failed are dirty again */
} BdrvCopyResult;

typedef struct BdrvCopyError {
    int error;                      /* -errno */
    bool is_write;
    int64_t offset, bytes;          /* where */
} BdrvCopyError;

/* NULL: the thread cannot be started.  It ends with the last copier. */
BdrvCopy *main_fn bdrv_copy_new(const BdrvCopyParams *params, Error **errp);
void main_fn bdrv_copy_free(BdrvCopy *copy);            /* NULL is fine */

/*
 * Copy until the bitmap is clean, a piece fails, or somebody interrupts.  When it returns nothing
 * is under way.  An interruption that comes while it does not run ends the next run at once.
 */
BdrvCopyResult co_main_fn bdrv_copy_run(BdrvCopy *copy, BdrvCopyError *ret_error);
void main_fn bdrv_copy_interrupt(BdrvCopy *copy);
/* Bytes a second, 0: as fast as possible.  While it does not run. */
void main_fn bdrv_copy_set_speed(BdrvCopy *copy, int64_t speed);
/* Bytes done so far, those that were done twice counted twice; bytes still to be done. */
int64_t any_fn bdrv_copy_done(const BdrvCopy *copy);
int64_t any_fn bdrv_copy_remaining(const BdrvCopy *copy);

/* ---- from a backend to another one ---- */

typedef struct BdrvCopyPair {
    BlockBackend *source, *target;
    bool unmap;                     /* zeroes may become holes */
    bool compress;
} BdrvCopyPair;

int co_fn bdrv_copy_pair_look(const BdrvCopyPair *pair, int64_t offset, int64_t bytes,
                              BdrvCopyKind *ret_kind, int64_t *ret_bytes);
/* The memory that copies keep for the next piece; the last copier's end does that. */
void any_fn bdrv_copy_free_buffers(void);
int co_fn bdrv_copy_pair(const BdrvCopyPair *pair, const BdrvCopyPiece *piece, bool *ret_is_write);

#endif
