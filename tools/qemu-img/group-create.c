/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qemu-img group create: an overlay for each of several images, all or none.
 *
 * (G1) Nobody writes to a base from before its overlay is made until all overlays have names: the
 *      bases are open, and say so by their locks.
 * (G2) All overlays are complete and on disk before the first gets its name.  After any failure, and
 *      after SIGINT or SIGTERM, none is there.
 * (G3) Killed at any moment, or without power, each overlay is complete or not there at all.  That
 *      some are there and others are not is possible only from the first name on until the last
 *      one's directory is synced; in between nothing else is done.  The bases do not change, so
 *      that the command can be given again when those are removed.
 * (G2) and (G3) need a file system that knows files without a name (O_TMPFILE) for the moment of
 * being killed; block devices and files that exist, empty, are written to from the beginning.
 */
#include "qemu/osdep.h"

#include "block/snapshot.h"
#include "group.h"
#include "make.h"
#include "qapi/qapi-format.h"
#include "qemu/aio.h"
#include "transfer.h"

typedef struct Member {
    const char *base_name, *overlay;
    BlockBackend *base;
    char *recorded;                 /* the base's name in the overlay */
    ImgUnnamed *image;
} Member;

typedef struct GroupCreate {
    const char *format, *base_format;
    char *options;                  /* NULL: none */
    bool quiet;
    Member *members;
    int n;
} GroupCreate;

/* ---- the bases ---- */

typedef struct SyncTask {
    const char *filename;
} SyncTask;

static int blocking_fn sync_in_thread(void *opaque)
{
    SyncTask *t = opaque;
    int fd = open(t->filename, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    int ret = fd < 0 || fsync(fd) < 0 ? -errno : 0;

    if (fd >= 0) {
        close(fd);
    }
    return ret;
}

/* What was written to @bs by whoever had it before is on disk: an overlay over less would be one
 * over another disk after a power cut. */
static bool co_main_fn sync_base(BlockDriverState *bs, Error **errp)
{
    BdrvFileId id;
    BdrvLink *link;

    BDRV_FOREACH_CHILD(bs, link) {
        if (link->role != &bdrv_role_backing && !sync_base(link->bs, errp)) {
            return false;
        }
    }
    if (bs->drv->get_identity && bs->drv->get_identity(bs, &id)) {
        SyncTask t = { .filename = bs->filename };
        int ret = thread_pool_co_run(sync_in_thread, &t);
        if (ret < 0) {
            error_setg_errno(errp, -ret, "Cannot flush '%s'", bs->filename);
        }
        return ret == 0;
    }
    return true;
}

/* An image that is known to be damaged is not a thing to build on. */
static bool main_fn check_base(BlockDriverState *bs, Error **errp)
{
    g_autoptr(ImageInfo) info = blockdev_image_info(bs);
    g_autoptr(QObject) object = ImageInfo_format(info);
    const QDict *dict = qobject_to_qdict(object);
    const QDict *specific = qobject_to_qdict(qdict_get(dict, "format-specific"));
    const QDict *data = specific ? qobject_to_qdict(qdict_get(specific, "data")) : NULL;
    bool corrupt;

    if (data && qobject_get_bool(qdict_get(data, "corrupt"), &corrupt) && corrupt) {
        error_setg(errp, "its base '%s' is marked as damaged; see qemu-img check", bs->filename);
        return false;
    }
    return true;
}

/*
 * By what name the overlay finds its base: as it is found from there, so that a folder with both
 * can be moved, or else from the root.
 */
static char *recorded_name(const Member *m)
{
    const char *name = m->base_name;
    g_autofree char *base_dir = g_path_get_dirname(name);
    g_autofree char *overlay_dir = g_path_get_dirname(m->overlay);

    if (bdrv_path_has_protocol(name)) {
        return g_strdup(name);
    }
    if (!g_path_is_absolute(name) && strcmp(base_dir, overlay_dir) == 0) {
        g_autofree char *last = g_path_get_basename(name);
        return bdrv_path_has_protocol(last) ? bdrv_path_combine(NULL, name)
                                            : g_steal_pointer(&last);
    }
    return bdrv_path_combine(NULL, name);
}

static bool co_main_fn open_base(const GroupCreate *g, Member *m, Error **errp)
{
    ToolImage image = {
        .name = m->base_name, .format = g->base_format, .blocks = CLAIM_WRITE | CLAIM_RESIZE,
    };

    m->base = tool_open(&image, errp);
    if (!m->base || !check_base(blk_bs(m->base), errp)) {
        return false;
    }
    m->recorded = recorded_name(m);
    return sync_base(blk_bs(m->base), errp);
}

/* ---- the overlays ---- */

static bool co_main_fn make_overlay(const GroupCreate *g, Member *m, Error **errp)
{
    g_autoptr(ImgOptions) o = img_options_new(g->format, true, errp);
    g_autofree char *size = g_strdup_printf("%" PRId64, ROUND_UP(blk_length(m->base), 512));

    if (!o || (g->options && !img_options_parse(o, g->options, errp)) ||
        !img_options_set(o, "backing_file", m->recorded, errp) ||
        !img_options_set(o, "backing_fmt", blk_bs(m->base)->drv->name, errp) ||
        !img_options_set(o, "size", size, errp)) {
        return false;
    }
    m->image = img_make_unnamed(m->overlay, g->format, o, errp);
    for (Member *other = g->members; m->image && other < m; other++) {
        if (img_unnamed_equal(other->image, m->image)) {
            error_setg(errp, "it is the same file as '%s', another overlay of this group",
                       other->overlay);
            return false;
        }
    }
    return m->image != NULL;
}

/* Is there a reason to stop? */
static bool interrupted(Error **errp)
{
    if (img_was_interrupted()) {
        error_setg(errp, "interrupted");
    }
    return img_was_interrupted();
}

/* Everything but (G2)'s names; @ret_failed: the member that could not be done. */
static bool co_main_fn make_all(const GroupCreate *g, const Member **ret_failed, Error **errp)
{
    for (Member *m = g->members; m < g->members + g->n; m++) {
        *ret_failed = m;
        if (interrupted(errp) || !open_base(g, m, errp)) {
            return false;
        }
    }
    for (Member *m = g->members; m < g->members + g->n; m++) {
        *ret_failed = m;
        if (interrupted(errp) || !make_overlay(g, m, errp)) {
            return false;
        }
    }
    return true;
}

static bool co_main_fn name_all(const GroupCreate *g, const Member **ret_failed, Error **errp)
{
    for (Member *m = g->members; m < g->members + g->n; m++) {
        *ret_failed = m;
        if (!img_unnamed_name(m->image, errp)) {
            return false;
        }
    }
    for (Member *m = g->members; m < g->members + g->n; m++) {
        *ret_failed = m;
        if (!img_unnamed_sync(m->image, errp)) {
            return false;
        }
    }
    return true;
}

static bool co_main_fn create(const GroupCreate *g)
{
    const Member *failed = NULL;
    Error *err = NULL;

    img_catch_signals();
    bool ok = make_all(g, &failed, &err) && name_all(g, &failed, &err);
    for (Member *m = g->members; m < g->members + g->n; m++) {
        img_unnamed_end(m->image, ok);
        g_free(m->recorded);
    }
    for (Member *m = g->members; m < g->members + g->n; m++) {
        tool_close(m->base);
    }
    if (!ok) {
        img_fail_on(failed->overlay, err);
        tool_error("no overlay was made");
    }
    return ok;
}

/* ---- the command ---- */

static void co_main_fn parse(int argc, char **argv, GroupCreate *g)
{
    static const struct option longopts[] = {
        { "help", no_argument, NULL, 'h' }, { "object", required_argument, NULL, IMG_OPT_OBJECT },
        { 0 },
    };
    int opt;

    while ((opt = img_next_option(argc, argv, ":F:f:ho:q", longopts)) != -1) {
        switch (opt) {
        case 'F':
            g->base_format = optarg;
            break;
        case 'f':
            g->format = optarg;
            break;
        case 'o':
            if (!img_options_is_list(optarg)) {
                tool_error("Invalid option list: %s", optarg);
                exit(1);
            }
            g->options = img_options_join(g->options, optarg);
            break;
        case 'q':
            g->quiet = true;
            break;
        case IMG_OPT_OBJECT:
            img_add_object(optarg);
        }
    }
}

/* Options that every overlay can have. */
static bool check_options(const GroupCreate *g, Error **errp)
{
    static const char *const own[] = { "backing_file", "backing_fmt", "data_file", "size" };
    g_autoptr(ImgOptions) o = img_options_new(g->format, true, errp);

    if (!o || (g->options && !img_options_parse(o, g->options, errp))) {
        return false;
    }
    for (size_t i = 0; i < G_N_ELEMENTS(own); i++) {
        if (img_options_has(o, own[i])) {
            error_setg(errp, "Option '%s' cannot be the same for all overlays of a group", own[i]);
            return false;
        }
    }
    if (!img_options_set(o, "backing_file", "x", NULL)) {
        error_setg(errp, "Backing file not supported for file format '%s'", g->format);
        return false;
    }
    return true;
}

static int print_options(const GroupCreate *g)
{
    Error *err = NULL;
    g_autoptr(ImgOptions) o = img_options_new(g->format, true, &err);

    if (!o) {
        return img_fail(err);
    }
    img_options_print_help(o, false);
    return 0;
}

int co_main_fn img_group_create(int argc, char **argv)
{
    GroupCreate g = { .format = "qcow2" };
    Error *err = NULL;

    parse(argc, argv, &g);
    g_autofree char *options = g.options;
    if (options && img_options_wants_help(options)) {
        return print_options(&g);
    }
    if (optind == argc || (argc - optind) % 2) {
        img_usage_error("Expecting pairs of a base and an overlay");
    }
    if (!check_options(&g, &err)) {
        return img_fail(err);
    }
    g.n = (argc - optind) / 2;
    g_autofree Member *members = g_new0(Member, g.n);
    g.members = members;
    for (int i = 0; i < g.n; i++) {
        g.members[i].base_name = argv[optind + 2 * i];
        g.members[i].overlay = argv[optind + 2 * i + 1];
    }
    if (!create(&g)) {
        return 1;
    }
    for (int i = 0; i < g.n && !g.quiet; i++) {
        printf("Created '%s' over '%s'\n", g.members[i].overlay, g.members[i].base_name);
    }
    return 0;
}
