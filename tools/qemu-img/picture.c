/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The sheet that is drawn on, by pixman. */
#include "qemu/osdep.h"

#include "picture-internal.h"

pixman_color_t any_fn picture_pixman_color(PictureColor color)
{
    return (pixman_color_t){
        .red = (color >> 16 & 0xff) * 0x101, .green = (color >> 8 & 0xff) * 0x101,
        .blue = (color & 0xff) * 0x101, .alpha = 0xffff,
    };
}

Picture *blocking_fn picture_new(int width, int height, PictureColor paper, Error **errp)
{
    Picture *p = g_new0(Picture, 1);

    p->width = width;
    p->height = height;
    p->font = picture_font_new(errp);
    if (!p->font) {
        picture_free(p);
        return NULL;
    }
    p->pixels = g_try_new0(uint32_t, (size_t)width * height);
    if (p->pixels) {
        p->image = pixman_image_create_bits(PIXMAN_x8r8g8b8, width, height, p->pixels,
                                            width * sizeof(uint32_t));
    }
    if (!p->image) {
        error_setg(errp, "not enough memory for a picture of %d by %d pixels", width, height);
        picture_free(p);
        return NULL;
    }
    picture_fill(p, 0, 0, width, height, paper);
    return p;
}

void blocking_fn picture_free(Picture *p)
{
    if (p) {
        if (p->image) {
            pixman_image_unref(p->image);
        }
        picture_font_free(p->font);
        g_free(p->pixels);
        g_free(p);
    }
}

void any_fn picture_fill(Picture *p, int x, int y, int width, int height, PictureColor color)
{
    pixman_color_t c = picture_pixman_color(color);
    pixman_box32_t box = {
        .x1 = CLAMP(x, 0, p->width), .y1 = CLAMP(y, 0, p->height),
        .x2 = CLAMP(x + width, 0, p->width), .y2 = CLAMP(y + height, 0, p->height),
    };

    if (box.x1 < box.x2 && box.y1 < box.y2) {
        pixman_image_fill_boxes(PIXMAN_OP_SRC, p->image, &c, 1, &box);
    }
}

void any_fn picture_frame(Picture *p, int x, int y, int width, int height, PictureColor color)
{
    picture_fill(p, x, y, width, 1, color);
    picture_fill(p, x, y + height - 1, width, 1, color);
    picture_fill(p, x, y, 1, height, color);
    picture_fill(p, x + width - 1, y, 1, height, color);
}
