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
    int silent_error;               /* an errno with which the caller itself ends it; 0: none */
} ImgTransfer;

/* SIGINT, SIGTERM: what is under way ends, then this fails.  False: it was said why. */
bool co_main_fn img_transfer(const ImgTransfer *t);
/* Did a signal end the last one? */
bool any_fn img_was_interrupted(void);

#endif
