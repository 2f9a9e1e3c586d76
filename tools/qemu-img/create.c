/* SPDX-License-Identifier: GPL-2.0-or-later */
/* qemu-img create */
#include "qemu/osdep.h"

#include "make.h"

/* ---- what it shall be ---- */

static bool set_backing(ImgOptions *o, const ImgCreate *c, Error **errp)
{
    if (c->backing && !img_options_set(o, "backing_file", c->backing, NULL)) {
        error_setg(errp, "Backing file not supported for file format '%s'", c->format);
        return false;
    }
    if (c->backing_format && !img_options_set(o, "backing_fmt", c->backing_format, NULL)) {
        error_setg(errp, "Backing format not supported for file format '%s'", c->format);
        return false;
    }
    const char *backing = img_options_get(o, "backing_file");
    if (backing && strcmp(backing, c->filename) == 0) {
        error_setg(errp, "Error: Trying to create an image with the same filename as the backing "
                   "file");
        return false;
    }
    if (backing && !*backing) {
        error_setg(errp, "Expected backing file name, got empty string");
        return false;
    }
    return true;
}

/* As it is found next to the image. */
static char *backing_path(const ImgCreate *c, const char *backing)
{
    if (bdrv_path_has_protocol(backing) || bdrv_path_has_protocol(c->filename) ||
        !strchr(c->filename, '/')) {
        return g_strdup(backing);
    }
    return bdrv_path_combine(c->filename, backing);
}

/* The size of the disk below, which must be there. */
static bool co_main_fn look_at_backing(ImgOptions *o, const ImgCreate *c, int64_t *ret_size,
                                       Error **errp)
{
    const char *backing = img_options_get(o, "backing_file");
    const char *format = img_options_get(o, "backing_fmt");
    g_autofree char *path = backing_path(c, backing);
    ToolImage image = { .name = path, .format = format };
    Error *err = NULL;
    g_autoptr(BdrvOpenOptions) opts =
        bdrv_options_from_filename(path, format, NULL, &err);
    for (BdrvOpenOptions *level = opts; level; level = level->file.options) {
        level->force_share = true;  /* only its length is asked for: it may be in use */
    }
    BlockBackend *blk = opts ? tool_open_options(&image, opts, &err) : NULL;

    if (!blk) {
        const char *text = error_get_pretty(err), *prefix = "Could not open '";
        /* The image's name need not be there twice. */
        const char *twice = g_str_has_prefix(text, prefix) ? strstr(text, "': Could not") : NULL;
        error_setg(errp, "%s\nCould not open backing image.", twice ? twice + 3 : text);
        error_free(err);
        return false;
    }
    *ret_size = blk_length(blk);
    g_autofree char *found = g_strdup(blk_bs(blk)->drv->name);
    tool_close(blk);
    if (!format) {
        error_setg(errp, "Backing file specified without backing format\nDetected format of %s.",
                   found);
        return false;
    }
    return true;
}

static bool co_main_fn set_size(ImgOptions *o, const ImgCreate *c, Error **errp)
{
    bool has_backing = img_options_get(o, "backing_file") != NULL;
    int64_t size = c->size, backing_size = -1;

    if (size >= 0 && img_options_has(o, "size")) {
        error_setg(errp, "The image size must be specified only once");
        return false;
    }
    if (size < 0 && img_options_has(o, "size")) {
        size = MIN(img_options_size(o), (uint64_t)INT64_MAX);
    }
    if (has_backing && !c->blind && !look_at_backing(o, c, &backing_size, errp)) {
        return false;
    }
    if (has_backing && c->blind && !img_options_get(o, "backing_fmt")) {
        error_setg(errp, "Backing file specified without backing format");
        return false;
    }
    if (size < 0) {
        size = backing_size;
    }
    if (size < 0) {
        error_setg(errp, "Image creation needs a size parameter");
        return false;
    }
    g_autofree char *text = g_strdup_printf("%" PRId64, size);
    return img_options_set(o, "size", text, errp);
}

bool co_main_fn img_create_as(const ImgCreate *c, Error **errp)
{
    g_autoptr(ImgOptions) o = img_options_new(c->format, true, errp);

    if (!o) {
        return false;
    }
    if (bdrv_path_has_protocol(c->filename) && !g_str_has_prefix(c->filename, "file:")) {
        g_autoptr(BdrvOpenOptions) known = bdrv_options_from_filename(c->filename, "raw", NULL,
                                                                      errp);
        if (!known) {
            return false;
        }
    }
    if ((c->options && !img_options_parse(o, c->options, errp)) || !set_backing(o, c, errp) ||
        !set_size(o, c, errp)) {
        return false;
    }
    if (!c->quiet) {
        g_autofree char *text = img_options_text(o);
        printf("Formatting '%s', fmt=%s %s\n", c->filename, c->format, text);
        fflush(stdout);
    }
    return img_make(c->filename, c->format, o, errp);
}

/* ---- the command ---- */

static int print_help(const ImgCreate *c)
{
    Error *err = NULL;
    g_autoptr(ImgOptions) o = img_options_new(c->format, c->filename != NULL, &err);

    if (!o) {
        return img_fail(err);
    }
    img_options_print_help(o, false);
    return 0;
}

static void co_main_fn parse(int argc, char **argv, ImgCreate *c, char **options)
{
    static const struct option longopts[] = {
        { "help", no_argument, NULL, 'h' }, { "object", required_argument, NULL, IMG_OPT_OBJECT },
        { 0 },
    };
    int opt;

    while ((opt = img_next_option(argc, argv, ":F:b:f:ho:qu", longopts)) != -1) {
        switch (opt) {
        case 'F':
            c->backing_format = optarg;
            break;
        case 'b':
            c->backing = optarg;
            break;
        case 'f':
            c->format = optarg;
            break;
        case 'o':
            if (!img_options_is_list(optarg)) {
                tool_error("Invalid option list: %s", optarg);
                exit(1);
            }
            *options = img_options_join(*options, optarg);
            break;
        case 'q':
            c->quiet = true;
            break;
        case 'u':
            c->blind = true;
            break;
        case IMG_OPT_OBJECT:
            img_add_object(optarg);
        }
    }
}

int co_main_fn img_create(int argc, char **argv)
{
    ImgCreate c = { .format = "raw", .size = -1 };
    g_autofree char *options = NULL;
    Error *err = NULL;

    parse(argc, argv, &c, &options);
    c.filename = optind < argc ? argv[optind++] : NULL;
    c.options = options;
    if (options && img_options_wants_help(options)) {
        return print_help(&c);
    }
    if (!c.filename) {
        img_usage_error("Expecting image file name");
    }
    if (optind < argc && !img_parse_size("image size", argv[optind++], 0, INT64_MAX, &c.size)) {
        return 1;
    }
    if (optind < argc) {
        img_usage_error("Unexpected argument: %s", argv[optind]);
    }
    return img_create_as(&c, &err) ? 0 : img_fail_on(c.filename, err);
}
