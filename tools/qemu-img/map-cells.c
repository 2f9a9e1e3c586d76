/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What qemu-img map draws: a disk of any size and in any number of pieces, in as many pixels as the
 * picture has. */
#include "qemu/osdep.h"

#include "map.h"
#include "qapi/qapi-types.h"

/* A band has no less than this, bytes: a small disk has fewer bands.  One that is smaller yet has
 * one band; a column is a byte at least. */
#define MIN_BAND (256 * KiB)
/* So many looks are taken of what a column shows; of the rest, so many at equal distances. */
#define MAX_LOOKS 64

typedef struct Collect {
    BlockBackend *blk;
    MapCells *cells;
    MapStretch now;                 /* the one that was looked at last */
    /* Of the column that is being looked at: */
    int looks;
    int64_t *bytes;                 /* [layer], then zeroes, then nothing */
    int *kinds;                     /* those that have any, @n_kinds of them */
    int n_kinds;
    int *heights;                   /* pixels of kinds[i] */
} Collect;

/* ---- the layers ---- */

static BlockDriverState *main_fn skip_filters(BlockDriverState *bs)
{
    while (bs->drv->is_filter && bs->file) {
        bs = bs->file->bs;
    }
    return bs;
}

static bool main_fn find_layers(BlockDriverState *top, MapCells *c)
{
    GArray *layers = g_array_new(false, true, sizeof(MapLayer));

    for (BlockDriverState *bs = skip_filters(top); bs;
         bs = bs->backing ? skip_filters(bs->backing->bs) : NULL) {
        g_autoptr(ImageInfo) info = blockdev_image_info(bs);
        MapLayer layer = {
            .filename = g_strdup(bs->filename), .format = g_strdup(bs->drv->name),
            .file_size = info->has_actual_size ? info->actual_size : -1,
        };
        g_array_append_val(layers, layer);
    }
    c->n_layers = layers->len;
    c->layers = (MapLayer *)g_array_free(layers, false);
    if (c->n_layers > MAP_MAX_LAYERS) {
        tool_error("a picture cannot show more than %d images", MAP_MAX_LAYERS);
    }
    return c->n_layers <= MAP_MAX_LAYERS;
}

void any_fn img_map_cells_clear(MapCells *c)
{
    for (int i = 0; i < c->n_layers; i++) {
        g_free(c->layers[i].filename);
        g_free(c->layers[i].format);
    }
    g_free(c->layers);
    g_free(c->pixels);
    *c = (MapCells){ 0 };
}

/* ---- the scale ---- */

/* Five to eight times a power of two, so that offsets are short to write. */
static int64_t band_bytes(int64_t length)
{
    int64_t least = length / MAP_MAX_BANDS + !!(length % MAP_MAX_BANDS), unit = 1;

    least = MAX(least, CLAMP(length, MAP_COLUMNS, MIN_BAND));
    while (unit <= least / 8 && 8 * unit != least) {
        unit *= 2;
    }
    return unit * (least / unit + !!(least % unit));
}

/* Where column @i of a band begins. */
static int64_t column_offset(const MapCells *c, int i)
{
    return c->band_bytes / MAP_COLUMNS * i + c->band_bytes % MAP_COLUMNS * i / MAP_COLUMNS;
}

/* ---- a column ---- */

static int kind_of(const Collect *s)
{
    return !s->now.present ? s->cells->n_layers + 1 :
           s->now.zero     ? s->cells->n_layers :
                             MIN(s->now.depth, s->cells->n_layers - 1);
}

/* In the order of the stack: the last image at the bottom, its overlays on it, then zeroes, then
 * nothing. */
static int rank(const Collect *s, int kind)
{
    return kind < s->cells->n_layers ? -kind : kind;
}

static void count(Collect *s, int64_t bytes)
{
    int kind = kind_of(s), i;

    if (s->bytes[kind] == 0) {
        for (i = s->n_kinds++; i > 0 && rank(s, s->kinds[i - 1]) > rank(s, kind); i--) {
            s->kinds[i] = s->kinds[i - 1];
        }
        s->kinds[i] = kind;
    }
    s->bytes[kind] += bytes;
}

/* The index of what has the most pixels. */
static int tallest(const Collect *s)
{
    int best = 0;

    for (int i = 1; i < s->n_kinds; i++) {
        best = s->heights[i] > s->heights[best] ? i : best;
    }
    return best;
}

/* By their bytes, but an image's data has a pixel if there is any, as long as there are pixels. */
static void share_out(Collect *s, int64_t total)
{
    int sum = 0;

    for (int i = 0; i < s->n_kinds; i++) {
        int height = (double)s->bytes[s->kinds[i]] * MAP_BAND_HEIGHT / total;
        s->heights[i] = MAX(height, s->kinds[i] < s->cells->n_layers);
        sum += s->heights[i];
    }
    for (; sum > MAP_BAND_HEIGHT; sum--) {
        s->heights[tallest(s)]--;
    }
    s->heights[tallest(s)] += MAP_BAND_HEIGHT - sum;
}

static void end_column(Collect *s, int64_t total, uint16_t *pixels)
{
    MapCells *c = s->cells;
    int at = 0;

    share_out(s, total);
    for (int i = 0; i < s->n_kinds; i++) {
        int kind = s->kinds[i];
        uint16_t word = kind < c->n_layers ? kind : kind == c->n_layers ? MAP_ZERO : MAP_NOTHING;
        int64_t *sum = kind < c->n_layers  ? &c->layers[kind].data :
                       kind == c->n_layers ? &c->zero : &c->nothing;
        for (int n = 0; n < s->heights[i]; n++) {
            pixels[at++] = word;
        }
        *sum += s->bytes[kind];
        s->bytes[kind] = 0;
    }
    s->n_kinds = s->looks = 0;
}

/* What is at @pos, up to @end at least; 0 or -errno. */
static int co_main_fn look(Collect *s, int64_t pos, int64_t step)
{
    int ret = img_map_look(s->blk, pos, s->cells->start + s->cells->length - pos, &s->now);

    if (ret == 0 && ++s->looks > MAX_LOOKS && s->now.length < step) {
        s->now.length = step;
        s->cells->sampled = true;
    }
    return ret;
}

static int co_main_fn fill_column(Collect *s, int64_t pos, int64_t end, uint16_t *pixels)
{
    int64_t begin = pos, step = (end - pos) / MAX_LOOKS + 1;

    while (pos < end) {
        if (pos >= s->now.start + s->now.length) {
            int ret = look(s, pos, step);
            if (ret < 0) {
                return ret;
            }
        }
        int64_t n = MIN(end - pos, s->now.length - (pos - s->now.start));
        count(s, n);
        pos += n;
    }
    end_column(s, end - begin, pixels);
    return 0;
}

/* ---- the whole ---- */

static int co_main_fn fill_band(Collect *s, int band)
{
    MapCells *c = s->cells;
    int64_t first = c->band_bytes * band, left = MIN(c->length - first, c->band_bytes);

    for (int i = 0; i < MAP_COLUMNS; i++) {
        int64_t from = column_offset(c, i), to = MIN(column_offset(c, i + 1), left);
        if (from < to) {
            int ret = fill_column(s, c->start + first + from, c->start + first + to,
                                  c->pixels[band][i]);
            if (ret < 0) {
                return ret;
            }
        }
    }
    return 0;
}

bool co_main_fn img_map_collect(BlockBackend *blk, int64_t start, int64_t length, MapCells *ret)
{
    Collect s = { .blk = blk, .cells = ret };
    int result = 0;

    *ret = (MapCells){ .start = start, .length = length, .disk_length = blk_length(blk) };
    blockdev_refresh_sizes();
    if (!find_layers(blk_bs(blk), ret)) {
        return false;
    }
    ret->band_bytes = band_bytes(length);
    ret->bands = length / ret->band_bytes + !!(length % ret->band_bytes);
    ret->pixels = g_malloc0_n(ret->bands, sizeof(ret->pixels[0]));
    s.bytes = g_new0(int64_t, ret->n_layers + 2);
    s.kinds = g_new0(int, ret->n_layers + 2);
    s.heights = g_new0(int, ret->n_layers + 2);
    for (int band = 0; band < ret->bands && result == 0; band++) {
        result = fill_band(&s, band);
    }
    g_free(s.bytes);
    g_free(s.kinds);
    g_free(s.heights);
    if (result < 0) {
        tool_error("Failed to read image metadata: %s", strerror(-result));
    }
    return result == 0;
}
