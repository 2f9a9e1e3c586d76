/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Running the copier of the block layer to its end, with progress: convert, commit, rebase. */
#ifndef IMG_TRANSFER_H
#define IMG_TRANSFER_H

#include "block/copy.h"
#include "img.h"

typedef struct ImgTransfer {
    const BdrvCopyOps *ops;
    void *opaque;
    int64_t length;                 /* bytes: everything is to be done, once */
    int64_t chunk;                  /* bytes of a piece of data; 0: the default */
    int parallel;                   /* pieces at a time; 0: the default */
    int64_t speed;                  /* bytes a second; 0: no limit */
    bool progress;                  /* show it */
    const char *target;             /* what is incomplete if somebody interrupts; NULL: nothing */
    const char *failed;             /* what an error is called; NULL: by its place */
    int silent_error;               /* an errno with which the caller itself ends it; 0: none */
} ImgTransfer;

/*
 * Turns, on the copier's thread: pieces are read at the same time, but each begins to write after the
 * one before it has begun, so that an image is laid out in the order of the disk.  All zero at
 * first.
 */
typedef struct ImgTurns {
    uint64_t next_ticket, turn;
    GQueue waiting;                 /* of coroutines whose turn has not come */
} ImgTurns;

/*
 * Buffers for pieces, on the copier's thread, which are used again: memory that is fresh for every
 * piece would be zeroed by the kernel each time.  All zero at first.
 */
typedef struct ImgBuffers {
    int n;
    void *free[2 * BDRV_COPY_PARALLEL];
} ImgBuffers;

/* What one of them holds, bytes; pieces can be larger, of disks of many TiB. */
#define IMG_BUFFER_BYTES (2 * BDRV_COPY_CHUNK)

/* One of at least @bytes; NULL: there is no memory. */
void *any_fn img_buffers_get(ImgBuffers *b, size_t bytes);
/* @bytes: as asked for. NULL is fine. */
void any_fn img_buffers_put(ImgBuffers *b, void *buf, size_t bytes);
void any_fn img_buffers_clear(ImgBuffers *b);

/* First thing in a piece: its ticket. */
uint64_t co_fn img_turns_take(ImgTurns *t);
/* Waits until all with an earlier ticket have passed here, and passes. */
void co_fn img_turns_pass(ImgTurns *t, uint64_t ticket);

/* SIGINT, SIGTERM: what is under way ends, then this fails.  False: it was said why. */
bool co_main_fn img_transfer(const ImgTransfer *t);
/* From now on SIGINT and SIGTERM are only noted, the first time; img_transfer() does that, too. */
void img_catch_signals(void);
/* Did a signal end the last one, or come since img_catch_signals()? */
bool any_fn img_was_interrupted(void);

#endif
