/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Committing one image, in steps: for commit and group commit. */
#ifndef IMG_COMMIT_H
#define IMG_COMMIT_H

#include "transfer.h"

typedef struct ImgCommit {
    ToolImage image;                /* writable */
    const char *base_name;          /* NULL: the backing file */
    bool keep, quiet, progress;     /* @keep: the image is not emptied */
    int64_t speed;                  /* bytes a second; 0: no limit */

    BlockBackend *top, *base;       /* of img_commit_open() */
    ImgBuffers buffers;
} ImgCommit;

/* Opens the chain, for writing where that will be done; nothing is changed yet. */
bool co_main_fn img_commit_open(ImgCommit *c, Error **errp);
/* Everything is in the base, for good; the image still has it, too.  False: it was said why. */
bool co_main_fn img_commit_copy(ImgCommit *c);
/* Afterwards: the image has nothing any more, unless it is to keep it.  False: it was said why. */
bool co_main_fn img_commit_empty(ImgCommit *c);
/* Also after a failure.  False: it was said why. */
bool co_main_fn img_commit_close(ImgCommit *c);

#endif
