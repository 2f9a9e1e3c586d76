/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How a command line asks for a picture. */
#include "qemu/osdep.h"

#include "chain.h"
#include "config-host.h"
#include "picture.h"
#include "qemu/aio.h"

ImgOutput img_output_or_picture_arg(const char *arg, bool dot)
{
    if (dot && strcmp(arg, "dot") == 0) {
        return IMG_OUTPUT_DOT;
    }
    if (strcmp(arg, "png") != 0) {
        return img_output_arg(arg);
    }
    if (!CONFIG_PICTURES) {
        tool_error("--output=png: this program was built without pictures, for which it needs "
                   "pixman, libpng, FreeType and the font DejaVu Sans (./configure "
                   "-Dpictures=enabled)");
        exit(1);
    }
    return IMG_OUTPUT_PNG;
}

typedef struct CheckTask {
    const char *filename;
    Error *err;
} CheckTask;

static int blocking_fn check_in_thread(void *opaque)
{
    CheckTask *t = opaque;

    return picture_check_file(t->filename, &t->err) ? 0 : -1;
}

const char *co_main_fn img_picture_arg(int argc, char **argv)
{
    if (optind != argc - 2) {
        img_usage_error("Expecting a file for the picture and one image file name");
    }
    CheckTask t = { .filename = argv[optind++] };
    if (thread_pool_co_run(check_in_thread, &t) < 0) {
        exit(img_fail(t.err));
    }
    return t.filename;
}
