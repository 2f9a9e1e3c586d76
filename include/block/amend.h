/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Changing what an image is: its version, the width of its refcounts, what it promises. */
#ifndef BLOCK_AMEND_H
#define BLOCK_AMEND_H

#include "block/check.h"

/* What stays as it is is not set. */
typedef struct BdrvAmendOptions {
    int version;                    /* 2 or 3; 0: stays */
    int refcount_bits;              /* 0: stays; checked */
    bool has_lazy_refcounts, lazy_refcounts;
    const char *data_file;          /* another name of the external data file to record, or NULL */
    bool has_data_file_raw, data_file_raw;
    bool has_size;
    int64_t size;                   /* bytes */
} BdrvAmendOptions;

/*
 * Change the image below @link, which nobody else writes to; the link needs CLAIM_WRITE, and
 * CLAIM_RESIZE for another size.  All of @opts is checked first.  Each change is durable by itself,
 * and a power cut leaves it made or not made; so after a failure those before it are made.
 * @progress may be NULL; when it says that this is to end, that is an error as any other.
 */
bool co_main_fn bdrv_co_amend(BdrvLink *link, const BdrvAmendOptions *opts,
                              BdrvCheckProgress *progress, Error **errp);

#endif
