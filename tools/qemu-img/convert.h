/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Between the files of qemu-img convert. */
#ifndef IMG_CONVERT_H
#define IMG_CONVERT_H

#include "transfer.h"

/* What a copy is from and to, and how. */
typedef struct Convert {
    BlockBackend **sources;         /* one behind the other */
    int64_t *ends;                  /* bytes: where each of them ends in the whole */
    size_t n_sources;
    BlockBackend *target;
    const char *target_name;        /* for messages */
    int64_t start;                  /* bytes; where in the first source the whole begins */
    int64_t length;                 /* bytes, of the whole */

    int64_t sparse;                 /* so many zero bytes become a hole; 0: none do */
    bool target_is_zero;            /* it reads as zeroes where nothing is written */
    int64_t backing_length;         /* of the target's backing file, which has what the source's
                                     * backing files have; -1: it has none */
    bool compress;
    bool salvage;                   /* what cannot be read is zeroes */
    bool any_order;                 /* pieces are written as they come */
    int parallel;                   /* pieces at a time; 0: the default */
    int64_t speed;                  /* bytes a second; 0: no limit */
    bool progress, quiet;

    ImgTurns turns;                 /* convert-copy.c's */
    ImgBuffers buffers;
} Convert;

/* Copies everything.  False: it was said why. */
bool co_main_fn img_convert_copy(Convert *c);

/* Bitmaps of the source that are stored with it become bitmaps of the target.  @skip_broken: those
 * that cannot be used are left out with a warning. */
bool main_fn img_check_bitmaps(BlockBackend *source, bool skip_broken, Error **errp);
bool co_main_fn img_copy_bitmaps(BlockBackend *source, BlockBackend *target, bool skip_broken,
                                 Error **errp);

#endif
