/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Making images: for create, convert and dd. */
#ifndef IMG_MAKE_H
#define IMG_MAKE_H

#include "create-options.h"

/*
 * Make an image of @format in what @filename names, of the size and with the options of @options;
 * durable on return.  A file that exists is overwritten, unless somebody uses it.
 */
bool co_main_fn img_make(const char *filename, const char *format, const ImgOptions *options,
                         Error **errp);

/* An image that is complete and on disk, but for its name. */
typedef struct ImgUnnamed ImgUnnamed;

/*
 * As img_make(), up to there; a file with something in it is refused.  Where the file existed,
 * empty, or the file system cannot do without, it has its name from the beginning.
 */
ImgUnnamed *co_main_fn img_make_unnamed(const char *filename, const char *format,
                                        const ImgOptions *options, Error **errp);
/* Will both have the same name? */
bool main_fn img_unnamed_equal(const ImgUnnamed *a, const ImgUnnamed *b);
/* It has its name; and, after the second, will have it after a power cut. */
bool co_main_fn img_unnamed_name(ImgUnnamed *u, Error **errp);
bool co_main_fn img_unnamed_sync(ImgUnnamed *u, Error **errp);
/* Closes and frees it; unless @keep, nothing of it is left.  NULL is fine. */
void co_main_fn img_unnamed_end(ImgUnnamed *u, bool keep);

/* What `qemu-img create` is asked for. */
typedef struct ImgCreate {
    const char *filename, *format;
    const char *backing, *backing_format;       /* or NULL */
    const char *options;            /* the list of -o, or NULL */
    int64_t size;                   /* bytes; -1: as the options or the backing file say */
    bool blind;                     /* the backing file is not looked at */
    bool quiet;
} ImgCreate;

/* All that, checked as people expect it; errors do not name the image. */
bool co_main_fn img_create_as(const ImgCreate *c, Error **errp);

#endif
