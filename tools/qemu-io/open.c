/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Opening and closing images: the commands open and close. */
#include "qemu/osdep.h"

#include "qobject/keyval.h"
#include "tools/qemu-io/program.h"

/* ---- options ---- */

void any_fn open_args_init(OpenArgs *a)
{
    *a = (OpenArgs){
        .image = { .writable = true, .discard = true, .cache.writethrough = true,
                   .plain_errors = true },
    };
}

static bool bad_option(const char *what, const char *value, Error **errp)
{
    error_setg(errp, "Invalid %s option: %s", what, value);
    return false;
}

bool any_fn open_args_take(OpenArgs *a, int letter, const char *value, bool *ret_known,
                           Error **errp)
{
    *ret_known = true;
    switch (letter) {
    case 'C': a->copy_on_read = true; break;
    case 'd':
        return tool_parse_discard(value, &a->image.discard) || bad_option("discard", value, errp);
    case 'i':
        return tool_parse_aio(value, &a->image.aio) || bad_option("aio", value, errp);
    case 'k': a->image.aio = FILE_AIO_NATIVE; break;
    case 'n': return tool_parse_cache("none", &a->image.cache);
    case 'r': a->image.writable = false; break;
    case 's': a->snapshot = true; break;
    case 't':
        return tool_parse_cache(value, &a->image.cache) || bad_option("cache", value, errp);
    case 'U': a->image.force_share = true; break;
    default: *ret_known = false;
    }
    return true;
}

/* ---- opening ---- */

static BdrvOpenOptions *behind_copy_on_read(BdrvOpenOptions *opts)
{
    BdrvOpenOptions *filter = bdrv_open_options_new("copy-on-read");

    filter->discard = opts->discard;
    filter->file.options = opts;
    return filter;
}

/* Whether the options say that it is read-only, else what @ret is already. */
static bool take_read_only(const QDict *dict, bool *ret, Error **errp)
{
    const char *value = qdict_get_str(dict, "read-only");

    if (value && !keyval_parse_bool(value, ret)) {
        error_setg(errp, "Parameter 'read-only' expects 'on' or 'off'");
        return false;
    }
    return true;
}

/* What `-o` leaves open is as the letters say. */
static void fill_in_modes(QDict *dict, const ToolImage *image, bool read_only)
{
    g_autoptr(QDict) modes = qdict_new();

    qdict_put_str(modes, "discard", image->discard ? "unmap" : "ignore");
    qdict_put_str(modes, "read-only", read_only ? "on" : "off");
    qdict_put_str(modes, "force-share", image->force_share ? "on" : "off");
    join_options(dict, modes);
}

/* With @image as it is opened then. */
static BdrvOpenOptions *co_main_fn with_options(Program *p, const OpenArgs *a, ToolImage *image,
                                                Error **errp)
{
    g_autoptr(QDict) dict = image->image_opts ? name_options(image->name, NULL, errp)
                                              : name_options(a->options ?: "", image->name, errp);
    bool read_only = !image->writable;

    if (!dict || !take_read_only(dict, &read_only, errp)) {
        return NULL;
    }
    if (read_only && image->writable && !a->snapshot) {
        error_setg(errp, "Block node is read-only");
        return NULL;
    }
    image->writable = !read_only && !a->snapshot;
    image->image_opts = true;
    fill_in_modes(dict, image, read_only);
    if (!complete_backing(dict, errp)) {
        return NULL;
    }
    program_note_options(p, dict);
    Error *err = NULL;
    BdrvOpenOptions *opts = blockdev_options_from_dict(dict, image->format, &err);
    if (!opts) {
        say_of_options(&err, qdict_get_str(dict, "driver"));
        error_propagate(errp, err);
        return NULL;
    }
    return tool_image_options_of(image, opts, errp);
}

static BdrvOpenOptions *co_main_fn image_options(Program *p, const OpenArgs *a, ToolImage *image,
                                                 Error **errp)
{
    if (image->force_share && image->writable) {
        error_setg(errp, "force-share=on can only be used with read-only images");
        return NULL;
    }
    if (a->copy_on_read && !image->writable) {
        error_setg(errp, "Can't use copy-on-read on read-only device");
        return NULL;
    }
    image->writable &= !a->snapshot;
    bool described = a->options || image->image_opts || g_str_has_prefix(image->name, "json:");
    return described ? with_options(p, a, image, errp) : tool_image_options(image, errp);
}

static BlockBackend *co_main_fn open_args(Program *p, const OpenArgs *a, Error **errp)
{
    g_autoptr(BdrvOpenOptions) opts = NULL;
    ToolImage image = a->image;
    BdrvLink *overlay = NULL;

    opts = image_options(p, a, &image, errp);
    if (opts && a->snapshot) {
        image.writable = a->image.writable;
        opts = below_snapshot(g_steal_pointer(&opts), &overlay, errp);
    }
    if (opts && a->copy_on_read) {
        opts = behind_copy_on_read(g_steal_pointer(&opts));
    }
    BlockBackend *blk = opts ? tool_open_options(&image, opts, errp) : NULL;
    if (overlay) {
        bdrv_graph_lock();
        bdrv_link_free(overlay);    /* the image holds it now */
        bdrv_graph_unlock();
    }
    p->copy_on_read = a->copy_on_read;
    return blk;
}

bool co_main_fn open_image(IoSession *s, const OpenArgs *a, Error **errp)
{
    bool named = a->image.name && !a->image.image_opts;

    if (s->blk) {
        error_setg(errp, "file open already, try 'help close'");
        return false;
    }
    s->blk = open_args(s->opaque, a, errp);
    if (!s->blk) {
        error_prepend(errp, "can't open%s%s: ", named ? " device " : "",
                      named ? a->image.name : "");
    }
    return s->blk;
}

bool co_main_fn close_image(IoSession *s)
{
    io_session_settle(s);
    program_note_options(s->opaque, NULL);
    return tool_close(g_steal_pointer(&s->blk));
}

/* ---- commands ---- */

static int co_main_fn open_command(IoSession *s, const IoCommand *cmd, int argc, char **argv)
{
    Error *err = NULL;
    g_auto(IoArgs) args;
    bool known;
    OpenArgs a;
    int c;

    open_args_init(&a);
    io_args_init(&args, s, cmd, argc, argv, "snCro:ki:t:d:U");
    while ((c = io_args_next(&args))) {
        if (c == 'o') {
            a.options = args.value;
        } else if (c == '?') {
            return io_usage(s, cmd);
        } else if (!open_args_take(&a, c, args.value, &known, &err)) {
            io_complain_err(s, err);
            return -EINVAL;
        }
    }
    if (args.values->len > 1 || (!args.values->len && !a.options)) {
        return io_usage(s, cmd);
    }
    a.image.name = args.values->len ? args.values->pdata[0] : NULL;
    if (!open_image(s, &a, &err)) {
        io_complain_err(s, err);
        return -EINVAL;
    }
    return 0;
}

static int co_main_fn close_command(IoSession *s, const IoCommand *cmd, int argc, char **argv)
{
    return close_image(s) ? 0 : -EIO;
}

const IoCommand program_commands[] = {
    { .name = "open", .alias = "o", .run = open_command, .min_args = 1, .max_args = -1,
      .needs = IO_NEEDS_NOTHING,
      .args = "[-rsCnkU] [-t cache] [-d discard] [-o options] [path]",
      .summary = "open the file specified by path",
      .help =
        " Example: 'open -n -o driver=raw /tmp/data' opens a raw image, past the page cache.\n"
        "\n"
        " -C, -- what is read of a backing file is copied\n"
        " -d, -- unmap (the default) or ignore: what becomes of discards\n"
        " -i, -- threads, native or io_uring\n"
        " -k, -- the same as -i native\n"
        " -n, -- not by way of the page cache: -t none\n"
        " -o, -- options of the image, as in --image-opts\n"
        " -r, -- the image cannot be written to\n"
        " -s, -- what is written is gone after closing\n"
        " -t, -- writethrough (the default), writeback, none, directsync or unsafe\n"
        " -U, -- also while somebody else writes to it; with -r\n" },
    { .name = "close", .alias = "c", .run = close_command,
      .summary = "close the current open file" },
    { 0 },
};
