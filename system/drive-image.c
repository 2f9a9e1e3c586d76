/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The image of a -drive: its options, with those of the drive that go for the nodes below it. */
#include "qemu/osdep.h"

#include "block/activity.h"
#include "drive.h"
#include "qobject/keyval.h"
#include "tools/common/name-options.h"
#include "tools/common/snapshot-file.h"

/* Children below each other in options that people write. */
#define MAX_LEVELS 32

static const char *on_off(bool on)
{
    return on ? "on" : "off";
}

/* Whether the cache of @node has @mode: as it says, or as what is above it has. */
static bool cache_mode(const QDict *cache, const char *mode, bool above)
{
    const char *value = cache ? qdict_get_str(cache, mode) : NULL;
    bool on = above;

    if (value) {
        keyval_parse_bool(value, &on);      /* what is nonsense is told later */
    }
    return on;
}

typedef struct Modes {
    bool direct, no_flush, read_only, discard;
} Modes;

/* What is said of a node is so for those below it, where these do not say it; backing files are
 * only read. */
static void fill_in_modes(QDict *node, Modes m, int levels)
{
    const QDict *said = qobject_to_qdict(qdict_get(node, "cache"));
    QDict *below, *cache = qdict_new(), *modes = qdict_new();

    m.direct = cache_mode(said, "direct", m.direct);
    m.no_flush = cache_mode(said, "no-flush", m.no_flush);
    qdict_put_str(cache, "direct", on_off(m.direct));
    qdict_put_str(cache, "no-flush", on_off(m.no_flush));
    qdict_put(modes, "cache", QOBJECT(cache));
    qdict_put_str(modes, "read-only", on_off(m.read_only));
    qdict_put_str(modes, "discard", m.discard ? "unmap" : "ignore");
    join_options(node, modes);
    qdict_unref(modes);
    m.discard = true;
    below = qobject_to_qdict(qdict_get(node, "file"));
    if (below && levels > 0) {
        fill_in_modes(below, m, levels - 1);
    }
    m.read_only = true;
    below = qobject_to_qdict(qdict_get(node, "backing"));
    if (below && levels > 0) {
        fill_in_modes(below, m, levels - 1);
    }
}

/* What is to become of reads and writes of the file itself. */
static void set_aio(BdrvOpenOptions *opts, FileAio aio)
{
    while (opts->file.options) {
        opts = opts->file.options;
    }
    if (aio != FILE_AIO_AUTO &&
        (strcmp(opts->driver, "file") == 0 || strcmp(opts->driver, "host_device") == 0)) {
        opts->u.file.aio = aio;
    }
}

static BdrvOpenOptions *behind_copy_on_read(BdrvOpenOptions *opts)
{
    BdrvOpenOptions *filter = bdrv_open_options_new("copy-on-read");

    filter->discard = opts->discard;
    filter->file.options = opts;
    return filter;
}

static BdrvOpenOptions *co_main_fn image_options(const DriveOptions *d, const QDict *image,
                                                 Error **errp)
{
    g_autoptr(QDict) dict = keyval_from_json(image, errp);
    const char *format = dict ? qdict_get_str(dict, "driver") : NULL;
    g_autofree char *given = g_strdup(format);

    if (!dict || (d->file && !add_name_options(dict, d->file, errp))) {
        return NULL;
    }
    Modes modes = {
        .direct = d->cache.direct, .no_flush = d->cache.no_flush, .discard = d->discard,
        .read_only = d->read_only || d->snapshot,
    };
    Error *err = NULL;
    BdrvOpenOptions *opts = NULL;
    if (complete_backing(dict, &err)) {
        fill_in_modes(dict, modes, MAX_LEVELS);
        opts = blockdev_options_from_dict(dict, NULL, &err);
    }
    if (!opts) {
        say_of_options(&err, given);
        say_of_nested_options(&err, dict);
        error_propagate(errp, err);
        return NULL;
    }
    if (strcmp(opts->driver, "raw") == 0 && opts->u.raw.probed) {
        bdrv_note_probed(opts, !d->read_only);
    }
    set_aio(opts, d->aio);
    return opts;
}

/* With what is to be in front of it. */
static BdrvOpenOptions *co_main_fn all_options(const DriveOptions *d, const QDict *image,
                                               BdrvLink **ret_file, Error **errp)
{
    BdrvOpenOptions *opts = image_options(d, image, errp);

    if (opts && d->copy_on_read && d->read_only) {
        error_setg(errp, "Can't use copy-on-read on read-only device");
        bdrv_open_options_free(opts);
        return NULL;
    }
    if (opts && d->snapshot) {
        opts = below_snapshot(opts, ret_file, errp);
    }
    return opts && d->copy_on_read ? behind_copy_on_read(opts) : opts;
}

BdrvLink *co_main_fn drive_open_image(const DriveOptions *d, const QDict *image, Error **errp)
{
    BdrvLinkSpec spec = { .allows = CLAIM_ALL, .holder = "-drive" };
    BdrvLink *overlay_file = NULL;
    g_autoptr(BdrvOpenOptions) opts = NULL;

    /* What is written to a temporary overlay is nobody else's. */
    bool inactive = bdrv_open_inactive(false);
    bdrv_open_inactive(inactive && !d->snapshot);
    opts = all_options(d, image, &overlay_file, errp);
    bdrv_graph_lock();
    BdrvLink *link = opts ? bdrv_open(opts, &spec, errp) : NULL;
    if (link && link->bs->guards_first_sector) {
        tool_warn_of_guess(d->file ?: "");
    }
    bdrv_link_free(overlay_file);
    bdrv_graph_unlock();
    bdrv_open_inactive(inactive);
    return link;
}

void system_print_formats(void)
{
    g_autoptr(GString) names = g_string_new(NULL);

    for (size_t i = 0; i < BLOCKDEV_DRIVER__MAX; i++) {
        g_string_append_printf(names, " %s", BlockdevDriver_str((BlockdevDriver)i));
    }
    printf("Supported formats:%s\nSupported formats (read-only):%s\n", names->str, names->str);
}
