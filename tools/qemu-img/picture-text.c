/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Text: FreeType makes glyphs of the font, pixman puts them on the sheet. */
#include "qemu/osdep.h"

#include <ft2build.h>
#include FT_FREETYPE_H

#include "config-host.h"
#include "picture-internal.h"

typedef struct Glyph {
    int left, top;                  /* of its pixels, from the pen; @top counts upwards */
    int advance;                    /* of the pen, pixels */
    pixman_image_t *mask;           /* NULL: nothing to be seen */
    uint32_t *bits;                 /* of @mask */
} Glyph;

struct PictureFont {
    FT_Library library;
    FT_Face face;
    GHashTable *glyphs;             /* size and character -> Glyph */
};

static void glyph_free(void *opaque)
{
    Glyph *g = opaque;

    if (g->mask) {
        pixman_image_unref(g->mask);
    }
    g_free(g->bits);
    g_free(g);
}

PictureFont *blocking_fn picture_font_new(Error **errp)
{
    PictureFont *f = g_new0(PictureFont, 1);

    if (FT_Init_FreeType(&f->library) != 0) {
        error_setg(errp, "FreeType, which draws text, cannot start");
        g_free(f);
        return NULL;
    }
    if (FT_New_Face(f->library, CONFIG_PICTURE_FONT, 0, &f->face) != 0) {
        error_setg(errp, "Cannot draw text: no font in '%s'; on Debian the package "
                   "fonts-dejavu-core has it", CONFIG_PICTURE_FONT);
        picture_font_free(f);
        return NULL;
    }
    f->glyphs = g_hash_table_new_full(NULL, NULL, NULL, glyph_free);
    return f;
}

void blocking_fn picture_font_free(PictureFont *f)
{
    if (f) {
        g_clear_pointer(&f->glyphs, g_hash_table_unref);
        if (f->face) {
            FT_Done_Face(f->face);
        }
        FT_Done_FreeType(f->library);
        g_free(f);
    }
}

/* ---- glyphs ---- */

static void copy_mask(Glyph *g, const FT_Bitmap *from)
{
    int stride = ROUND_UP((int)from->width, 4);     /* pixman wants whole words */

    if (!from->width || !from->rows || from->pixel_mode != FT_PIXEL_MODE_GRAY) {
        return;
    }
    g->bits = g_malloc0_n(from->rows, stride);
    for (unsigned row = 0; row < from->rows; row++) {
        memcpy((uint8_t *)g->bits + row * stride, from->buffer + (int)row * from->pitch,
               from->width);
    }
    g->mask = pixman_image_create_bits(PIXMAN_a8, from->width, from->rows, g->bits, stride);
}

static const Glyph *find_glyph(PictureFont *f, int size, gunichar c)
{
    void *key = GUINT_TO_POINTER((guint)size << 21 | c);    /* characters have 21 bits */
    Glyph *g = g_hash_table_lookup(f->glyphs, key);

    if (g) {
        return g;
    }
    g = g_new0(Glyph, 1);
    if (FT_Set_Pixel_Sizes(f->face, 0, size) == 0 &&
        FT_Load_Char(f->face, c, FT_LOAD_RENDER | FT_LOAD_TARGET_LIGHT) == 0) {
        FT_GlyphSlot slot = f->face->glyph;
        g->left = slot->bitmap_left;
        g->top = slot->bitmap_top;
        g->advance = (slot->advance.x + 32) / 64;
        copy_mask(g, &slot->bitmap);
    }
    g_hash_table_insert(f->glyphs, key, g);
    return g;
}

/* ---- text ---- */

int any_fn picture_text(Picture *p, int x, int y, int size, PictureColor color, const char *text)
{
    g_autofree char *valid = g_utf8_make_valid(text, -1);
    pixman_color_t c = picture_pixman_color(color);
    pixman_image_t *ink = pixman_image_create_solid_fill(&c);

    for (const char *at = valid; *at; at = g_utf8_next_char(at)) {
        gunichar character = g_utf8_get_char(at);
        const Glyph *g = find_glyph(p->font, size, g_unichar_isprint(character) ? character
                                                                                : 0xfffd);
        if (g->mask) {
            pixman_image_composite32(PIXMAN_OP_OVER, ink, g->mask, p->image, 0, 0, 0, 0,
                                     x + g->left, y - g->top, pixman_image_get_width(g->mask),
                                     pixman_image_get_height(g->mask));
        }
        x += g->advance;
    }
    pixman_image_unref(ink);
    return x;
}

void any_fn picture_text_right(Picture *p, int x, int y, int size, PictureColor color,
                               const char *text)
{
    picture_text(p, x - picture_text_width(p, size, text), y, size, color, text);
}

int any_fn picture_text_width(Picture *p, int size, const char *text)
{
    g_autofree char *valid = g_utf8_make_valid(text, -1);
    int width = 0;

    for (const char *at = valid; *at; at = g_utf8_next_char(at)) {
        gunichar character = g_utf8_get_char(at);
        width += find_glyph(p->font, size, g_unichar_isprint(character) ? character
                                                                        : 0xfffd)->advance;
    }
    return width;
}

char *any_fn picture_text_fit(Picture *p, int size, const char *text, int width)
{
    char *valid = g_utf8_make_valid(text, -1);
    glong length = g_utf8_strlen(valid, -1);

    if (picture_text_width(p, size, valid) <= width) {
        return valid;
    }
    /* Both ends say something: the folder's name, and the number or suffix of the file's. */
    for (glong keep = MIN(length - 1, width); keep > 1; keep--) {
        g_autofree char *head = g_utf8_substring(valid, 0, keep * 2 / 5);
        g_autofree char *tail = g_utf8_substring(valid, length - (keep - keep * 2 / 5), length);
        g_autofree char *cut = g_strconcat(head, "…", tail, NULL);

        if (picture_text_width(p, size, cut) <= width) {
            g_free(valid);
            return g_steal_pointer(&cut);
        }
    }
    g_free(valid);
    return g_strdup("…");
}
