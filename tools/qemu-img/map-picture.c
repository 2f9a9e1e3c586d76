/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The picture of qemu-img map: the disk as bands, a scale, and a legend. */
#include "qemu/osdep.h"

#include "map.h"
#include "picture.h"
#include "qemu/aio.h"

enum {
    MARGIN = 24, AXIS_WIDTH = 92, WIDTH = MARGIN + AXIS_WIDTH + MAP_COLUMNS + MARGIN,
    LEFT = MARGIN + AXIS_WIDTH, TOP = 104, PITCH = MAP_BAND_HEIGHT + 4,
    TITLE_SIZE = 20, TEXT_SIZE = 13, ROW = 22,
    MAX_LISTED = 14,
};

#define COLOR_ZERO    0xd3d6daU
#define COLOR_NOTHING 0xf1f2f4U
#define COLOR_OTHERS  0x8f949bU         /* in the legend */

/* Neighbours in a chain are far apart in hue and in brightness. */
static const PictureColor palette[MAX_LISTED] = {
    0x2f6fb7, 0xee8a2b, 0x3f9b58, 0xc43d4b, 0x8059b5, 0x27a5a3, 0xc8a415, 0xd768a3,
    0x7d5a44, 0x79b4e6, 0x92ba33, 0x4b4f9e, 0xf0a58f, 0x1d5f4d,
};

typedef struct Drawing {
    const MapCells *cells;
    const char *filename;
    Picture *picture;
    int *listed;                    /* layers that the legend has, in the order of the chain */
    int n_listed;
    PictureColor *colors;           /* of each layer */
    Error *err;
} Drawing;

/* ---- which layers matter ---- */

static int by_data(const void *a, const void *b, void *opaque)
{
    const MapCells *c = opaque;
    int x = *(const int *)a, y = *(const int *)b;
    int64_t dx = c->layers[x].data, dy = c->layers[y].data;

    return dx != dy ? (dx < dy ? 1 : -1) : x - y;
}

static int by_place(const void *a, const void *b)
{
    return *(const int *)a - *(const int *)b;
}

/* Of an image without a colour of its own: the further down, the darker. */
static PictureColor shade(const MapCells *c, int layer)
{
    unsigned level = 0xba - 0x64 * layer / c->n_layers;

    return level << 16 | (level + 4) << 8 | (level + 10);
}

/* Those with the most data have a line and a colour of their own. */
static void choose_layers(Drawing *d)
{
    const MapCells *c = d->cells;

    d->listed = g_new(int, c->n_layers);
    d->colors = g_new(PictureColor, c->n_layers);
    for (int i = 0; i < c->n_layers; i++) {
        d->listed[i] = i;
        d->colors[i] = shade(c, i);
    }
    d->n_listed = MIN(c->n_layers, MAX_LISTED);
    g_qsort_with_data(d->listed, c->n_layers, sizeof(int), by_data, (void *)c);
    qsort(d->listed, d->n_listed, sizeof(int), by_place);
    for (int i = 0; i < d->n_listed; i++) {
        d->colors[d->listed[i]] = palette[i];
    }
}

/* ---- the head and the scale ---- */

/* With as many digits as an offset needs; caller frees. */
static char *offset_text(double bytes)
{
    static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
    size_t unit = 0;

    for (; bytes >= 1024 && unit + 1 < G_N_ELEMENTS(units); unit++) {
        bytes /= 1024;
    }
    return g_strdup_printf("%.5g %s", bytes, units[unit]);
}

static void draw_head(const Drawing *d)
{
    const MapCells *c = d->cells;
    g_autofree char *size = offset_text(c->disk_length);
    g_autofree char *from = offset_text(c->start);
    g_autofree char *length = offset_text(c->length);
    g_autofree char *name = picture_text_fit(d->picture, TITLE_SIZE, c->layers[0].filename,
                                             WIDTH - 2 * MARGIN);
    GString *line = g_string_new(NULL);

    picture_text(d->picture, MARGIN, 40, TITLE_SIZE, PICTURE_INK, name);
    g_string_printf(line, "a disk of %s, read from %d image%s", size, c->n_layers,
                    c->n_layers == 1 ? "" : "s");
    if (c->length != c->disk_length) {
        g_string_append_printf(line, "; this is %s of it, from %s on", length, from);
    }
    picture_text(d->picture, MARGIN, 64, TEXT_SIZE, PICTURE_FAINT, line->str);
    g_string_free(line, true);
}

static void draw_scale(const Drawing *d)
{
    const MapCells *c = d->cells;

    for (int quarter = 0; quarter < 4; quarter++) {
        int x = LEFT + quarter * MAP_COLUMNS / 4;
        g_autofree char *text = offset_text(c->band_bytes / 4.0 * quarter);
        g_autofree char *label = g_strconcat("+", text, NULL);

        picture_fill(d->picture, x, TOP - 18, 1, 14, PICTURE_LINE);
        picture_text(d->picture, x + 5, TOP - 8, TEXT_SIZE - 2, PICTURE_FAINT, label);
    }
    for (int band = 0; band < c->bands; band++) {
        g_autofree char *text = offset_text((double)c->start + (double)c->band_bytes * band);
        picture_text_right(d->picture, LEFT - 10, TOP + band * PITCH + 12, TEXT_SIZE - 2,
                           PICTURE_FAINT, text);
    }
}

/* ---- the disk ---- */

static PictureColor color_of(const Drawing *d, uint16_t word)
{
    return word == MAP_NOTHING ? COLOR_NOTHING : word == MAP_ZERO ? COLOR_ZERO : d->colors[word];
}

static void draw_column(const Drawing *d, int band, int column)
{
    const uint16_t *pixels = d->cells->pixels[band][column];
    int bottom = TOP + band * PITCH + MAP_BAND_HEIGHT;

    for (int i = 0, n; i < MAP_BAND_HEIGHT; i += n) {
        for (n = 1; i + n < MAP_BAND_HEIGHT && pixels[i + n] == pixels[i]; n++) {
        }
        picture_fill(d->picture, LEFT + column, bottom - i - n, 1, n, color_of(d, pixels[i]));
    }
}

static void draw_disk(const Drawing *d)
{
    const MapCells *c = d->cells;

    for (int band = 0; band < c->bands; band++) {
        int64_t left = MIN(c->length - c->band_bytes * band, c->band_bytes);
        int columns = ((double)left * MAP_COLUMNS + c->band_bytes - 1) / c->band_bytes;

        for (int column = 0; column < MIN(columns, MAP_COLUMNS); column++) {
            draw_column(d, band, column);
        }
    }
}

/* ---- the legend ---- */

enum {
    COL_NUMBER = MARGIN + 52, COL_NAME = MARGIN + 66, COL_FORMAT = MARGIN + 700,
    COL_FILE = MARGIN + 880, COL_DATA = MARGIN + 1010, COL_PERCENT = MARGIN + 1110,
};

static char *percent_text(const Drawing *d, int64_t bytes)
{
    double percent = d->cells->length ? 100.0 * bytes / d->cells->length : 0;
    const char *about = d->cells->sampled ? "≈ " : "";

    return bytes > 0 && percent < 0.01 ? g_strdup("< 0.01 %")
                                       : g_strdup_printf("%s%.2f %%", about, percent);
}

static void draw_amount(const Drawing *d, int y, int64_t bytes)
{
    g_autofree char *size = img_size_text(bytes);
    g_autofree char *percent = percent_text(d, bytes);

    picture_text_right(d->picture, COL_DATA, y, TEXT_SIZE, PICTURE_INK, size);
    picture_text_right(d->picture, COL_PERCENT, y, TEXT_SIZE, PICTURE_INK, percent);
}

/* A line that is not about one image. */
static void draw_kind(const Drawing *d, int y, PictureColor color, const char *text, int64_t bytes)
{
    picture_fill(d->picture, MARGIN, y - 11, 16, 14, color);
    picture_frame(d->picture, MARGIN, y - 11, 16, 14, PICTURE_LINE);
    picture_text(d->picture, COL_NAME, y, TEXT_SIZE, PICTURE_INK, text);
    draw_amount(d, y, bytes);
}

static void draw_layer(const Drawing *d, int y, int i)
{
    const MapLayer *layer = &d->cells->layers[i];
    g_autofree char *number = g_strdup_printf("%d", i);
    g_autofree char *name = picture_text_fit(d->picture, TEXT_SIZE, layer->filename,
                                             COL_FORMAT - COL_NAME - 16);
    g_autofree char *size = layer->file_size < 0 ? g_strdup("?") : img_size_text(layer->file_size);

    picture_fill(d->picture, MARGIN, y - 11, 16, 14, d->colors[i]);
    picture_text_right(d->picture, COL_NUMBER, y, TEXT_SIZE, PICTURE_FAINT, number);
    picture_text(d->picture, COL_NAME, y, TEXT_SIZE, PICTURE_INK, name);
    picture_text(d->picture, COL_FORMAT, y, TEXT_SIZE, PICTURE_INK, layer->format);
    picture_text_right(d->picture, COL_FILE, y, TEXT_SIZE, PICTURE_INK, size);
    draw_amount(d, y, layer->data);
}

static void draw_legend_head(const Drawing *d, int y)
{
    const char *image = d->cells->n_layers == 1 ? "image" : "image, the disk's own first";

    picture_text(d->picture, COL_NAME, y, TEXT_SIZE, PICTURE_FAINT, image);
    picture_text(d->picture, COL_FORMAT, y, TEXT_SIZE, PICTURE_FAINT, "format");
    picture_text_right(d->picture, COL_FILE, y, TEXT_SIZE, PICTURE_FAINT, "size of file");
    picture_text_right(d->picture, COL_DATA, y, TEXT_SIZE, PICTURE_FAINT, "read from it");
    picture_text_right(d->picture, COL_PERCENT, y, TEXT_SIZE, PICTURE_FAINT, "of the disk");
    picture_fill(d->picture, MARGIN, y + 7, COL_PERCENT - MARGIN, 1, PICTURE_LINE);
}

static void draw_legend(const Drawing *d, int y)
{
    const MapCells *c = d->cells;
    int64_t others = 0;

    draw_legend_head(d, y);
    y += 8;
    for (int i = 0; i < d->n_listed; i++) {
        draw_layer(d, y += ROW, d->listed[i]);
    }
    for (int i = d->n_listed; i < c->n_layers; i++) {
        others += c->layers[d->listed[i]].data;
    }
    if (c->n_layers > d->n_listed) {
        g_autofree char *text = g_strdup_printf("%d images with less; the older, the darker",
                                                c->n_layers - d->n_listed);
        draw_kind(d, y += ROW, COLOR_OTHERS, text, others);
    }
    draw_kind(d, y += ROW, COLOR_ZERO, "zeroes, without data", c->zero);
    draw_kind(d, y += ROW, COLOR_NOTHING, "never written", c->nothing);
}

/* ---- the whole ---- */

static void draw_note(const Drawing *d, int y)
{
    const MapCells *c = d->cells;
    g_autofree char *band = offset_text(c->band_bytes);
    g_autofree char *column = offset_text((double)c->band_bytes / MAP_COLUMNS);
    g_autofree char *text = g_strdup_printf(
        "A band is %s, a column of pixels in it %s: how high a colour stands is its share%s", band,
        column, c->sampled ? ".  In many pieces, of which a part was looked at: estimates." : ".");

    picture_text(d->picture, LEFT, y, TEXT_SIZE - 2, PICTURE_FAINT, text);
}

static int blocking_fn draw_in_thread(void *opaque)
{
    Drawing *d = opaque;
    int below = TOP + d->cells->bands * PITCH, height;

    choose_layers(d);
    height = below + 50 + 8 + ROW * (d->n_listed + (d->cells->n_layers > d->n_listed) + 2) + MARGIN;
    d->picture = picture_new(WIDTH, height, PICTURE_PAPER, &d->err);
    if (!d->picture) {
        return -1;
    }
    draw_head(d);
    draw_scale(d);
    draw_disk(d);
    draw_note(d, below + 14);
    draw_legend(d, below + 50);
    bool ok = picture_save(d->picture, d->filename, &d->err);
    picture_free(d->picture);
    return ok ? 0 : -1;
}

bool co_main_fn img_map_draw(const MapCells *c, const char *filename, Error **errp)
{
    Drawing d = { .cells = c, .filename = filename };
    int ret = thread_pool_co_run(draw_in_thread, &d);

    g_free(d.listed);
    g_free(d.colors);
    error_propagate(errp, d.err);
    return ret == 0;
}
