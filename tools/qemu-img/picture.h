/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Drawing pictures and writing them as PNG files.  All of it is one thread's at a time. */
#ifndef IMG_PICTURE_H
#define IMG_PICTURE_H

#include "qapi/error.h"

typedef struct Picture Picture;

/* 0xRRGGBB */
typedef uint32_t PictureColor;

#define PICTURE_INK   0x24292fu         /* text */
#define PICTURE_FAINT 0x6a737du         /* text that matters less, axes */
#define PICTURE_PAPER 0xffffffu
#define PICTURE_LINE  0xc8ccd1u

/* All one colour; NULL: the font is not there, or no memory. */
Picture *blocking_fn picture_new(int width, int height, PictureColor paper, Error **errp);
void blocking_fn picture_free(Picture *p);                      /* NULL is fine */

/* Pixels from the upper left corner; what is outside of the picture is left out. */
void any_fn picture_fill(Picture *p, int x, int y, int width, int height, PictureColor color);
/* A line of one pixel around that, on its inside. */
void any_fn picture_frame(Picture *p, int x, int y, int width, int height, PictureColor color);

/*
 * Text in UTF-8 (what is not, is marked as such), @size pixels high, on the line @y; returns where
 * it ends.  picture_text_width() is how wide it is.
 */
int any_fn picture_text(Picture *p, int x, int y, int size, PictureColor color, const char *text);
/* The same, ending at @x. */
void any_fn picture_text_right(Picture *p, int x, int y, int size, PictureColor color,
                               const char *text);
int any_fn picture_text_width(Picture *p, int size, const char *text);
/* @text if it is no wider than @width, else its beginning and its end around dots; caller frees. */
char *any_fn picture_text_fit(Picture *p, int size, const char *text, int width);

/*
 * May a picture be written to @filename?  Not over anything else than a picture: whoever swaps the
 * names on a command line keeps the disk.
 */
bool blocking_fn picture_check_file(const char *filename, Error **errp);
/* Writes all of it or nothing: a regular file is replaced when the new one is complete. */
bool blocking_fn picture_save(const Picture *p, const char *filename, Error **errp);

#endif
