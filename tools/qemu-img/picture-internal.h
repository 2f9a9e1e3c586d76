/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Between the files that draw. */
#ifndef IMG_PICTURE_INTERNAL_H
#define IMG_PICTURE_INTERNAL_H

#include <pixman.h>

#include "picture.h"

/* Glyphs of one font, of which it remembers those that were drawn. */
typedef struct PictureFont PictureFont;

struct Picture {
    int width, height;              /* pixels */
    uint32_t *pixels;               /* rows from the top, 0x00RRGGBB */
    pixman_image_t *image;          /* of @pixels */
    PictureFont *font;
};

PictureFont *blocking_fn picture_font_new(Error **errp);
void blocking_fn picture_font_free(PictureFont *f);             /* NULL is fine */

pixman_color_t any_fn picture_pixman_color(PictureColor color);

#endif
