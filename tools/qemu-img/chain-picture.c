/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The picture of qemu-img info: a box for each image, over the one that it is based on. */
#include "qemu/osdep.h"

#include "chain.h"
#include "picture.h"
#include "qemu/aio.h"
#include "qobject/json.h"

enum {
    MARGIN = 24, BOX_WIDTH = 420, BOX_HEIGHT = 92, GAP = 34, GUTTER = 44, HEAD = 64,
    NAME_SIZE = 15, TEXT_SIZE = 12, LINE = 18,
    MIN_ROWS = 10,                  /* so many are below each other before there are columns */
    MAX_BOXES = 400,                /* those behind are left out */
};

#define COLOR_TOP   0xdfeafcU       /* the disk's own image */
#define COLOR_BOX   0xf1f2f4U
#define COLOR_WRONG 0xc43d4bU

typedef struct Drawing {
    const QList *list;
    const char *filename;
    Picture *picture;
    int boxes, rows;
    Error *err;
} Drawing;

static int64_t get_int(const QDict *d, const char *key)
{
    int64_t value = 0;

    qobject_get_int(qdict_get(d, key), &value);
    return value;
}

static const QDict *specific_of(const QDict *d)
{
    const QDict *specific = qobject_to_qdict(qdict_get(d, "format-specific"));

    return specific ? qobject_to_qdict(qdict_get(specific, "data")) : NULL;
}

static bool get_bool(const QDict *d, const char *key)
{
    bool value;

    return d && qobject_get_bool(qdict_get(d, key), &value) && value;
}

/* ---- a box ---- */

static char *sizes_text(const QDict *d)
{
    g_autofree char *disk = img_size_text(get_int(d, "virtual-size"));
    g_autofree char *file = qdict_has(d, "actual-size") ? img_size_text(get_int(d, "actual-size"))
                                                        : g_strdup("?");

    return g_strdup_printf("%s, a disk of %s; the file takes %s", qdict_get_str(d, "format"), disk,
                           file);
}

static size_t count(const QDict *d, const char *key)
{
    const QList *list = d ? qobject_to_qlist(qdict_get(d, key)) : NULL;

    return list ? qlist_size(list) : 0;
}

/* What else it has, on one line; "" if nothing. */
static char *extras_text(const QDict *d)
{
    const QDict *specific = specific_of(d);
    size_t snapshots = count(d, "snapshots"), bitmaps = count(specific, "bitmaps");
    const char *data_file = specific ? qdict_get_str(specific, "data-file") : NULL;
    GString *text = g_string_new(NULL);

    if (qdict_has(d, "cluster-size")) {
        g_autofree char *cluster = img_size_text(get_int(d, "cluster-size"));
        g_string_append_printf(text, "clusters of %s", cluster);
    }
    if (snapshots) {
        g_string_append_printf(text, "%s%zu internal snapshot%s", text->len ? ", " : "", snapshots,
                               snapshots == 1 ? "" : "s");
    }
    if (bitmaps) {
        g_string_append_printf(text, "%s%zu bitmap%s", text->len ? ", " : "", bitmaps,
                               bitmaps == 1 ? "" : "s");
    }
    if (data_file) {
        g_string_append_printf(text, "%sdata in %s", text->len ? ", " : "", data_file);
    }
    return g_string_free(text, false);
}

static void draw_line(const Drawing *d, int x, int y, int size, PictureColor color,
                      const char *text)
{
    g_autofree char *fit = picture_text_fit(d->picture, size, text, BOX_WIDTH - 28);

    picture_text(d->picture, x + 14, y, size, color, fit);
}

static void draw_box(const Drawing *d, int i, int x, int y)
{
    const QDict *image = qobject_to_qdict(qlist_get(d->list, i));
    g_autofree char *base = g_path_get_basename(qdict_get_str(image, "filename"));
    g_autofree char *sizes = sizes_text(image);
    g_autofree char *extras = extras_text(image);
    bool corrupt = get_bool(specific_of(image), "corrupt");

    picture_fill(d->picture, x, y, BOX_WIDTH, BOX_HEIGHT, i == 0 ? COLOR_TOP : COLOR_BOX);
    picture_frame(d->picture, x, y, BOX_WIDTH, BOX_HEIGHT, corrupt ? COLOR_WRONG : PICTURE_FAINT);
    draw_line(d, x, y += 24, NAME_SIZE, PICTURE_INK, base);
    if (strcmp(base, qdict_get_str(image, "filename")) != 0) {
        draw_line(d, x, y += LINE, TEXT_SIZE, PICTURE_FAINT, qdict_get_str(image, "filename"));
    }
    draw_line(d, x, y += LINE, TEXT_SIZE, PICTURE_INK, sizes);
    if (corrupt || get_bool(image, "dirty-flag")) {
        draw_line(d, x, y += LINE, TEXT_SIZE, COLOR_WRONG,
                  corrupt ? "marked as damaged" : "not shut down cleanly");
    } else {
        draw_line(d, x, y += LINE, TEXT_SIZE, PICTURE_INK, extras);
    }
}

/* ---- arrows ---- */

static void draw_head(const Drawing *d, int x, int y)
{
    for (int i = 0; i < 7; i++) {
        picture_fill(d->picture, x - i / 2, y - 1 - i, 1 + i / 2 * 2, 1, PICTURE_INK);
    }
}

static void draw_down(const Drawing *d, int x, int y)
{
    picture_fill(d->picture, x, y, 1, GAP, PICTURE_INK);
    draw_head(d, x, y + GAP);
    picture_text(d->picture, x + 10, y + GAP / 2 + 4, TEXT_SIZE - 1, PICTURE_FAINT,
                 "is based on");
}

/* From the last box of a column to the first of the next. */
static void draw_over(const Drawing *d, int x, int y)
{
    int gutter = x + BOX_WIDTH + GUTTER / 2, next = x + BOX_WIDTH + GUTTER + BOX_WIDTH / 2;
    int above = HEAD - 14, from = y + BOX_HEIGHT / 2;

    picture_fill(d->picture, x + BOX_WIDTH, from, GUTTER / 2, 1, PICTURE_INK);
    picture_fill(d->picture, gutter, above, 1, from - above + 1, PICTURE_INK);
    picture_fill(d->picture, gutter, above, next - gutter, 1, PICTURE_INK);
    picture_fill(d->picture, next, above, 1, HEAD - above, PICTURE_INK);
    draw_head(d, next, HEAD);
}

/* ---- the whole ---- */

static void draw_chain(const Drawing *d)
{
    for (int i = 0; i < d->boxes; i++) {
        int x = MARGIN + i / d->rows * (BOX_WIDTH + GUTTER);
        int y = HEAD + i % d->rows * (BOX_HEIGHT + GAP);

        draw_box(d, i, x, y);
        if (i < d->boxes - 1 && i % d->rows < d->rows - 1) {
            draw_down(d, x + BOX_WIDTH / 2, y + BOX_HEIGHT);
        } else if (i < d->boxes - 1) {
            draw_over(d, x, y);
        }
    }
}

static void draw_title(const Drawing *d)
{
    int images = qlist_size(d->list);
    const QDict *last = qobject_to_qdict(qlist_get(d->list, images - 1));
    const char *below = qdict_get_str(last, "full-backing-filename");
    g_autofree char *text =
        images > d->boxes ? g_strdup_printf("%d images, of which the first %d are shown", images,
                                            d->boxes) :
        below             ? g_strdup_printf("based on %s", below) :
                            g_strdup_printf("%d image%s, the disk's own first", images,
                                            images == 1 ? "" : "s");
    g_autofree char *fit = picture_text_fit(d->picture, TEXT_SIZE + 1, text, BOX_WIDTH);

    picture_text(d->picture, MARGIN, 34, TEXT_SIZE + 1, PICTURE_FAINT, fit);
}

static int blocking_fn draw_in_thread(void *opaque)
{
    Drawing *d = opaque;
    int columns, rows = MIN_ROWS;

    d->boxes = MIN(qlist_size(d->list), (size_t)MAX_BOXES);
    while (rows * rows * (BOX_HEIGHT + GAP) < d->boxes * (BOX_WIDTH + GUTTER)) {
        rows++;                     /* about as wide as it is high */
    }
    columns = DIV_ROUND_UP(d->boxes, rows);
    d->rows = DIV_ROUND_UP(d->boxes, columns);
    d->picture = picture_new(2 * MARGIN + columns * (BOX_WIDTH + GUTTER) - GUTTER,
                             HEAD + d->rows * (BOX_HEIGHT + GAP) - GAP + MARGIN, PICTURE_PAPER,
                             &d->err);
    if (!d->picture) {
        return -1;
    }
    draw_title(d);
    draw_chain(d);
    bool ok = picture_save(d->picture, d->filename, &d->err);
    picture_free(d->picture);
    return ok ? 0 : -1;
}

bool co_main_fn img_chain_draw(const QList *list, const char *filename, Error **errp)
{
    Drawing d = { .list = list, .filename = filename };
    int ret = thread_pool_co_run(draw_in_thread, &d);

    error_propagate(errp, d.err);
    return ret == 0;
}
