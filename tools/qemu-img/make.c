/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Making an image.  Whoever names a file for it has asked for exactly that: what was in the file is
 * gone afterwards.  A file that did not exist is complete when it gets its name, and does not exist
 * if that fails; one that did is only touched when nothing can be refused any more.
 */
#include "qemu/osdep.h"

#include "block/new-file.h"
#include "make.h"

static const BdrvLinkSpec maker = {
    .needs = CLAIM_READ | CLAIM_WRITE | CLAIM_RESIZE, .holder = "qemu-img", .hidden = true,
};

/* ---- the file ---- */

/* What an image is laid out on. */
typedef struct Place {
    NewFile *file;                  /* NULL: it existed */
    BdrvLink *link;
} Place;

static bool co_main_fn open_new(Place *p, Error **errp)
{
    g_autoptr(BdrvOpenOptions) opts = bdrv_open_options_new(new_file_driver(p->file));

    opts->u.file.filename = g_strdup(new_file_name(p->file));
    opts->u.file.fd = new_file_dup(p->file, false, errp);
    p->link = opts->u.file.fd < 0 ? NULL : bdrv_open(opts, &maker, errp);
    return p->link && new_file_claim(p->file, errp);
}

/* A file with something in it, or whatever a protocol leads to. */
static bool co_main_fn open_existing(Place *p, const char *filename, Error **errp)
{
    g_autoptr(BdrvOpenOptions) opts = bdrv_options_from_filename(filename, "raw", NULL, errp);

    if (!opts) {
        return false;
    }
    BdrvOpenOptions *file = opts->file.options ?: opts;
    file->read_only = false;
    file->discard = true;
    p->link = bdrv_open(file, &maker, errp);
    if (!p->link && !g_str_has_prefix(filename, "file:") && bdrv_path_has_protocol(filename)) {
        error_prepend(errp, "Protocol driver '%s' does not support image creation, and opening the "
                      "image failed: ", file->driver);
    }
    return p->link != NULL;
}

static bool co_main_fn open_place(Place *p, const char *filename, Error **errp)
{
    Error *err = NULL;
    bool is_file = g_str_has_prefix(filename, "file:") || !bdrv_path_has_protocol(filename);
    const char *path = g_str_has_prefix(filename, "file:") ? filename + strlen("file:") : filename;

    if (!is_file) {
        return open_existing(p, filename, errp);
    }
    p->file = new_file_prepare(path, &err);
    if (p->file) {
        return open_new(p, errp);
    }
    if (error_get_errno(err) == EEXIST) {
        error_free(err);
        return open_existing(p, filename, errp);
    }
    if (error_get_errno(err)) {
        error_setg_errno(errp, error_get_errno(err), "Could not create '%s'", path);
        error_free(err);
    } else {
        error_propagate(errp, err);
    }
    return false;
}

/* Keep the file, or what was made of it is undone. */
static bool co_main_fn close_place(Place *p, bool keep, Error **errp)
{
    if (keep && p->file) {
        keep = new_file_sync_dir(p->file, errp);
    }
    bdrv_link_free(p->link);
    if (keep && p->file) {
        new_file_commit(p->file);
    } else if (p->file) {
        new_file_abort(p->file);
    }
    return keep;
}

/* ---- the image ---- */

static bool co_main_fn flush(Place *p, const char *filename, Error **errp)
{
    int ret = bdrv_co_flush(p->link, 0);

    if (ret < 0) {
        error_setg_errno(errp, -ret, "Could not write '%s'", filename);
    }
    return ret == 0;
}

/* Not shorter than @opts says: of a device that means that it is large enough. */
static bool co_main_fn set_length(BdrvLink *link, const BdrvCreateOptions *opts, Error **errp)
{
    if (bdrv_truncated_is_zero(link->bs)) {
        return bdrv_co_truncate(link, 0, BDRV_PREALLOC_OFF, errp) &&
               bdrv_co_truncate(link, opts->size, opts->preallocation, errp);
    }
    if (opts->preallocation != BDRV_PREALLOC_OFF) {
        error_setg(errp, "Unsupported preallocation mode");
        return false;
    }
    if (bdrv_length(link->bs) < opts->size) {
        error_setg(errp, "The image file '%s' is too small: it has %" PRId64 " bytes",
                   link->bs->filename, bdrv_length(link->bs));
        return false;
    }
    return true;
}

static bool co_main_fn lay_out(Place *p, const char *format, BdrvCreateOptions *opts, Error **errp)
{
    const BlockDriver *drv = bdrv_find_driver(format);

    opts->has_name = !p->file || new_file_has_name(p->file);
    if (strcmp(format, "raw") == 0 || drv->is_protocol) {
        return set_length(p->link, opts, errp);
    }
    return bdrv_co_create(drv, p->link, opts, errp);
}

/* The file of an external data file, as long as the disk. */
static bool co_main_fn make_data_file(const char *image, const BdrvCreateOptions *opts,
                                      Error **errp)
{
    const char *name = opts->u.qcow2.data_file;
    BdrvCreateOptions file = { .size = opts->size, .preallocation = opts->preallocation };
    Place p = { 0 };

    if (file.preallocation == BDRV_PREALLOC_METADATA) {
        file.preallocation = BDRV_PREALLOC_OFF;
    }
    g_autofree char *path = bdrv_path_has_protocol(name) ? g_strdup(name)
                                                         : bdrv_path_combine(image, name);
    bool ok = open_place(&p, path, errp) && lay_out(&p, "raw", &file, errp) &&
              flush(&p, path, errp);
    return close_place(&p, ok, errp);
}

bool co_main_fn img_make(const char *filename, const char *format, const ImgOptions *options,
                         Error **errp)
{
    BdrvCreateOptions opts;
    Place p = { 0 };

    if (!img_options_to_create(options, &opts, errp)) {
        return false;
    }
    const char *nocow = img_options_get(options, "nocow");
    bool is_nocow = false, is_qcow2 = strcmp(format, "qcow2") == 0;
    if (nocow) {
        keyval_parse_bool(nocow, &is_nocow);
    }
    bdrv_graph_lock();
    bool ok = open_place(&p, filename, errp);
    if (ok && p.file && is_nocow) {
        new_file_set_nocow(p.file);
    }
    ok = ok && (!is_qcow2 || !opts.u.qcow2.data_file || make_data_file(filename, &opts, errp)) &&
         lay_out(&p, format, &opts, errp) && flush(&p, filename, errp);
    ok = close_place(&p, ok, errp);
    bdrv_graph_unlock();
    return ok;
}

/* ---- without a name, for groups ---- */

struct ImgUnnamed {
    Place place;
    char *filename;
};

static bool co_main_fn make_unnamed(ImgUnnamed *u, const char *format, const ImgOptions *options,
                                    Error **errp)
{
    BdrvCreateOptions opts;
    bool is_nocow = false;
    const char *nocow = img_options_get(options, "nocow");

    if (!img_options_to_create(options, &opts, errp)) {
        return false;
    }
    u->place.file = new_file_prepare(u->filename, errp);
    if (!u->place.file || !open_new(&u->place, errp)) {
        return false;
    }
    if (nocow && keyval_parse_bool(nocow, &is_nocow) && is_nocow) {
        new_file_set_nocow(u->place.file);
    }
    return lay_out(&u->place, format, &opts, errp) && flush(&u->place, u->filename, errp);
}

ImgUnnamed *co_main_fn img_make_unnamed(const char *filename, const char *format,
                                        const ImgOptions *options, Error **errp)
{
    ImgUnnamed *u = g_new0(ImgUnnamed, 1);

    u->filename = g_strdup(filename);
    bdrv_graph_lock();
    bool ok = make_unnamed(u, format, options, errp);
    bdrv_graph_unlock();
    if (!ok) {
        img_unnamed_end(u, false);
        return NULL;
    }
    return u;
}

bool main_fn img_unnamed_equal(const ImgUnnamed *a, const ImgUnnamed *b)
{
    return new_file_equal(a->place.file, b->place.file);
}

bool co_main_fn img_unnamed_name(ImgUnnamed *u, Error **errp)
{
    return new_file_give_name(u->place.file, errp);
}

bool co_main_fn img_unnamed_sync(ImgUnnamed *u, Error **errp)
{
    return new_file_sync_dir(u->place.file, errp);
}

void co_main_fn img_unnamed_end(ImgUnnamed *u, bool keep)
{
    if (!u) {
        return;
    }
    bdrv_graph_lock();
    bdrv_link_free(u->place.link);
    bdrv_graph_unlock();
    if (keep) {
        new_file_commit(u->place.file);
    } else {
        new_file_abort(u->place.file);
    }
    g_free(u->filename);
    g_free(u);
}
