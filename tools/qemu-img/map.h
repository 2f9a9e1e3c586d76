/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Between the files of qemu-img map. */
#ifndef IMG_MAP_H
#define IMG_MAP_H

#include "img.h"

/* A stretch of the disk that is of one kind and lies in one piece. */
typedef struct MapStretch {
    int64_t start, length;
    int depth;                      /* of the image that says what it is */
    bool present;                   /* one does */
    bool zero, data, compressed;
    BlockDriverState *file;         /* NULL: it is nowhere to be read */
    int64_t offset;
} MapStretch;

/* What begins at @start; 0 or -errno. */
int co_main_fn img_map_look(BlockBackend *blk, int64_t start, int64_t bytes, MapStretch *ret);

/* ---- as a picture ---- */

/* What a pixel shows that is not of an image's data. */
enum { MAP_ZERO = 0xfffe, MAP_NOTHING = 0xffff, MAP_MAX_LAYERS = 0xfff0 };

/* The disk is drawn as bands, one below the other, and a band as columns of pixels.  The pixels of
 * a column are shared out among what the bytes are that it stands for. */
#define MAP_COLUMNS 1024
#define MAP_BAND_HEIGHT 16
#define MAP_MAX_BANDS 32

typedef struct MapLayer {
    char *filename, *format;
    int64_t file_size;              /* bytes that it takes in its file system; -1: not known */
    int64_t data;                   /* bytes of the disk that are read from it */
} MapLayer;

typedef struct MapCells {
    int64_t start, length;          /* what is shown, bytes */
    int64_t disk_length;
    int64_t band_bytes;
    int bands;
    MapLayer *layers;               /* the disk's own image first */
    int n_layers;
    int64_t zero, nothing;          /* bytes */
    bool sampled;                   /* somewhere there was more than was looked at */
    /* Layers or MAP_ words of [band][column][height], from below. */
    uint16_t (*pixels)[MAP_COLUMNS][MAP_BAND_HEIGHT];
} MapCells;

/* Of [@start, @start + @length) of @blk's disk.  Memory and the number of looks have limits that do
 * not depend on the image.  False: it was said why. */
bool co_main_fn img_map_collect(BlockBackend *blk, int64_t start, int64_t length, MapCells *ret);
void any_fn img_map_cells_clear(MapCells *c);

/* Draws @c to the file @filename. */
bool co_main_fn img_map_draw(const MapCells *c, const char *filename, Error **errp);

#endif
