/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Telling that an image in use was found to be damaged. */
#ifndef BLOCK_CORRUPTION_H
#define BLOCK_CORRUPTION_H

#include "block/types.h"

typedef struct BdrvCorruption {
    const char *node_name;
    const char *text;
    uint64_t offset, bytes;         /* in the file, of what would have been hit; @bytes 0: not
                                     * known */
    bool fatal;                     /* nothing can be written to the image any more */
} BdrvCorruption;

/* Called on the main thread. */
void main_fn bdrv_set_corruption_cb(void (*cb)(const BdrvCorruption *c));
/* For drivers, which see to it that it is not called often. @text is copied. */
void any_fn bdrv_report_corruption(BlockDriverState *bs, const char *text, uint64_t offset,
                                   uint64_t bytes, bool fatal);

#endif
