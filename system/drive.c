/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * -drive: a backend with an image, and how it is connected.
 *
 * Some keys are the drive's own; all others, driver and children included, describe the image, as
 * in -blockdev.
 */
#include "qemu/osdep.h"

#include "drive.h"
#include "qobject/keyval.h"
#include "tools/common/options.h"

static const char *const interface_names[DRIVE_IF__MAX] = {
    "none", "ide", "scsi", "floppy", "pflash", "mtd", "sd", "virtio", "xen",
};
/* Drives on a bus; 0: a bus is not spoken of. */
static const int most_on_a_bus[DRIVE_IF__MAX] = { [DRIVE_IF_IDE] = 2, [DRIVE_IF_SCSI] = 7 };

/* ---- keys with two names ---- */

static const struct {
    const char *from, *to;
} aliases[] = {
    { "iops", "throttling.iops-total" }, { "iops_rd", "throttling.iops-read" },
    { "iops_wr", "throttling.iops-write" }, { "bps", "throttling.bps-total" },
    { "bps_rd", "throttling.bps-read" }, { "bps_wr", "throttling.bps-write" },
    { "iops_max", "throttling.iops-total-max" }, { "iops_rd_max", "throttling.iops-read-max" },
    { "iops_wr_max", "throttling.iops-write-max" }, { "bps_max", "throttling.bps-total-max" },
    { "bps_rd_max", "throttling.bps-read-max" }, { "bps_wr_max", "throttling.bps-write-max" },
    { "iops_size", "throttling.iops-size" }, { "group", "throttling.group" },
    { "readonly", "read-only" },
};

static bool replace_aliases(QDict *dict, Error **errp)
{
    for (size_t i = 0; i < G_N_ELEMENTS(aliases); i++) {
        QObject *value = qdict_get(dict, aliases[i].from);
        if (!value) {
            continue;
        }
        if (qdict_has(dict, aliases[i].to)) {
            error_setg(errp, "'%s' and its alias '%s' can't be used at the same time",
                       aliases[i].to, aliases[i].from);
            return false;
        }
        qdict_put(dict, aliases[i].to, qobject_ref(value));
        qdict_del(dict, aliases[i].from);
    }
    return true;
}

/* ---- the drive's own keys ---- */

static bool take_switch(QDict *dict, const char *key, bool *ret, Error **errp)
{
    const char *text = qdict_get_str(dict, key);

    if (text && !keyval_parse_bool(text, ret)) {
        error_setg(errp, "Parameter '%s' expects 'on' or 'off'", key);
        return false;
    }
    qdict_del(dict, key);
    return true;
}

/* -1: not given. */
static bool take_number(QDict *dict, const char *key, int *ret, Error **errp)
{
    const char *text = qdict_get_str(dict, key);
    char *end;

    *ret = -1;
    if (text) {
        gint64 value = g_ascii_strtoll(text, &end, 0);
        if (!*text || *end || value < 0 || value > G_MAXINT) {
            error_setg(errp, "Parameter '%s' expects a number", key);
            return false;
        }
        *ret = (int)value;
        qdict_del(dict, key);
    }
    return true;
}

static bool take_interface(QDict *dict, DriveOptions *d, Error **errp)
{
    const char *text = qdict_get_str(dict, "if");
    int i = 0;

    d->interface = d->default_interface;
    if (!text) {
        return true;
    }
    while (i < DRIVE_IF__MAX && strcmp(text, interface_names[i]) != 0) {
        i++;
    }
    if (i == DRIVE_IF__MAX) {
        error_setg(errp, "unsupported bus type '%s'", text);
        return false;
    }
    d->interface = (DriveInterface)i;
    qdict_del(dict, "if");
    return true;
}

static bool take_media(QDict *dict, DriveOptions *d, Error **errp)
{
    const char *text = qdict_get_str(dict, "media");

    if (text && strcmp(text, "cdrom") != 0 && strcmp(text, "disk") != 0) {
        error_setg(errp, "'%s' invalid media", text);
        return false;
    }
    d->cdrom = text && strcmp(text, "cdrom") == 0;
    d->read_only = d->cdrom;
    qdict_del(dict, "media");
    return true;
}

static bool take_cache(QDict *dict, DriveOptions *d, Error **errp)
{
    const char *text = qdict_get_str(dict, "cache");
    bool writeback = true;

    if (text && !tool_parse_cache(text, &d->cache)) {
        error_setg(errp, "invalid cache option");
        return false;
    }
    qdict_del(dict, "cache");
    writeback = !d->cache.writethrough;
    if (!take_switch(dict, "cache.writeback", &writeback, errp) ||
        !take_switch(dict, "cache.direct", &d->cache.direct, errp) ||
        !take_switch(dict, "cache.no-flush", &d->cache.no_flush, errp)) {
        return false;
    }
    d->cache.writethrough = !writeback;
    return true;
}

static bool take_policy(QDict *dict, const char *key, bool is_write, BlkOnError *ret, Error **errp)
{
    const char *text = qdict_get_str(dict, key);
    int policy = text ? qapi_enum_find(&BlockdevOnError_lookup, text) : BLOCKDEV_ON_ERROR_AUTO;

    if (policy < 0) {
        error_setg(errp, "'%s' invalid %s error action", text, is_write ? "write" : "read");
        return false;
    }
    *ret = blockdev_on_error(true, policy, is_write);
    qdict_del(dict, key);
    return true;
}

static bool take_modes(QDict *dict, DriveOptions *d, Error **errp)
{
    const char *discard = qdict_get_str(dict, "discard"), *aio = qdict_get_str(dict, "aio");

    if (discard && !tool_parse_discard(discard, &d->discard)) {
        error_setg(errp, "Invalid discard option");
        return false;
    }
    if (aio && !tool_parse_aio(aio, &d->aio)) {
        error_setg(errp, "invalid aio option");
        return false;
    }
    qdict_del(dict, "discard");
    qdict_del(dict, "aio");
    return true;
}

static bool take_format(QDict *dict, Error **errp)
{
    const char *format = qdict_get_str(dict, "format");

    if (format && qdict_has(dict, "driver")) {
        error_setg(errp, "Cannot specify both 'driver' and 'format'");
        return false;
    }
    if (format) {
        qdict_put_str(dict, "driver", format);
        qdict_del(dict, "format");
    }
    return true;
}

static char *take_text(QDict *dict, const char *key)
{
    char *text = g_strdup(qdict_get_str(dict, key));

    qdict_del(dict, key);
    return text;
}

/* What stays in @dict describes the image. */
static bool take_own_keys(QDict *dict, DriveOptions *d, Error **errp)
{
    d->id = take_text(dict, "id");
    d->file = take_text(dict, "file");
    if (d->file && !*d->file) {
        g_clear_pointer(&d->file, g_free);
    }
    return replace_aliases(dict, errp) && take_interface(dict, d, errp) &&
           take_media(dict, d, errp) && take_number(dict, "index", &d->index, errp) &&
           take_number(dict, "bus", &d->bus, errp) && take_number(dict, "unit", &d->unit, errp) &&
           take_switch(dict, "read-only", &d->read_only, errp) &&
           take_switch(dict, "snapshot", &d->snapshot, errp) &&
           take_switch(dict, "copy-on-read", &d->copy_on_read, errp) &&
           take_cache(dict, d, errp) && take_modes(dict, d, errp) &&
           take_policy(dict, "werror", true, &d->werror, errp) &&
           take_policy(dict, "rerror", false, &d->rerror, errp) && take_format(dict, errp) &&
           drive_take_limits(dict, d, errp);
}

/* ---- where it is connected ---- */

static bool main_fn is_taken(DriveInterface interface, int bus, int unit)
{
    for (GList *e = drive_list()->head; e; e = e->next) {
        const Drive *d = e->data;
        if (d->interface == interface && d->bus == bus && d->unit == unit) {
            return true;
        }
    }
    return false;
}

static bool main_fn find_place(DriveOptions *d, Error **errp)
{
    int most = most_on_a_bus[d->interface];

    if (d->index >= 0) {
        if (d->bus >= 0 || d->unit >= 0) {
            error_setg(errp, "index cannot be used with bus and unit");
            return false;
        }
        d->bus = most ? d->index / most : 0;
        d->unit = most ? d->index % most : d->index;
    }
    d->bus = MAX(d->bus, 0);
    if (d->unit < 0) {
        for (d->unit = 0; is_taken(d->interface, d->bus, d->unit);) {
            if (++d->unit == most && most) {
                d->unit = 0;
                d->bus++;
            }
        }
    }
    if (most && d->unit >= most) {
        error_setg(errp, "unit %d too big (max is %d)", d->unit, most - 1);
        return false;
    }
    if (d->interface != DRIVE_IF_NONE && is_taken(d->interface, d->bus, d->unit)) {
        error_setg(errp, "drive with bus=%d, unit=%d (index=%d) exists", d->bus, d->unit,
                   d->index);
        return false;
    }
    return true;
}

/* As clients know it from QEMU. */
static void main_fn give_name(DriveOptions *d)
{
    const char *name = interface_names[d->interface];
    bool hd = d->interface == DRIVE_IF_IDE || d->interface == DRIVE_IF_SCSI;
    const char *media = hd ? (d->cdrom ? "-cd" : "-hd") : "";

    if (!d->id) {
        d->id = most_on_a_bus[d->interface]
                ? g_strdup_printf("%s%d%s%d", name, d->bus, media, d->unit)
                : g_strdup_printf("%s%s%d", name, media, d->unit);
    }
}

/* ---- making it ---- */

static bool co_main_fn make(DriveOptions *d, QDict *image, Error **errp)
{
    BdrvLink *link = NULL;

    /* A drive of a name alone is empty. */
    if (d->file || qdict_size(image)) {
        link = drive_open_image(d, image, errp);
        if (!link) {
            return false;
        }
    }
    bdrv_graph_lock();
    bool ok = blockdev_drive_add(d->id, link ? link->bs : NULL, !d->cache.writethrough, errp);
    bdrv_link_free(link);           /* the backend holds the node now */
    bdrv_graph_unlock();
    return ok;
}

static void main_fn enter(const DriveOptions *d, const char *text)
{
    Drive *drive = g_new0(Drive, 1);

    drive->blk = blk_find(d->id);
    drive->interface = d->interface;
    drive->bus = d->bus;
    drive->unit = d->unit;
    drive->cdrom = d->cdrom;
    drive->rerror = d->rerror;
    drive->werror = d->werror;
    drive->text = g_strdup(text);
    blk_set_on_error(drive->blk, d->rerror, d->werror);
    drive_register(drive);
}

static void drive_options_clear(DriveOptions *d)
{
    g_free(d->id);
    g_free(d->file);
    g_free(d->group);
}

bool co_main_fn system_add_drive(const char *value, Error **errp)
{
    DriveOptions d = {
        .default_interface = system_default_interface(), .snapshot = command_line.snapshot,
    };
    g_autoptr(QDict) dict = keyval_parse_flat(value, NULL, errp);
    bool ok = dict && take_own_keys(dict, &d, errp) && find_place(&d, errp);

    if (ok) {
        give_name(&d);
        ok = make(&d, dict, errp);
    }
    if (ok) {
        enter(&d, value);
        ok = !d.limited ||
             blockdev_throttle_backend(blk_find(d.id), d.group ?: d.id, &d.limits, errp);
    }
    drive_options_clear(&d);
    return ok;
}

/* ---- short forms ---- */

static bool co_main_fn add_short(const char *how, const char *file, Error **errp)
{
    g_autoptr(GString) text = g_string_new(how);

    g_string_append(text, ",file=");
    for (const char *p = file; *p; p++) {
        g_string_append(text, *p == ',' ? ",," : (char[]){ *p, '\0' });
    }
    return system_add_drive(text->str, errp);
}

bool co_main_fn system_add_hda(const char *value, Error **errp)
{
    return add_short("index=0,media=disk", value, errp);
}

bool co_main_fn system_add_hdb(const char *value, Error **errp)
{
    return add_short("index=1,media=disk", value, errp);
}

bool co_main_fn system_add_hdc(const char *value, Error **errp)
{
    return add_short("index=2,media=disk", value, errp);
}

bool co_main_fn system_add_hdd(const char *value, Error **errp)
{
    return add_short("index=3,media=disk", value, errp);
}

bool co_main_fn system_add_fda(const char *value, Error **errp)
{
    return add_short("if=floppy,index=0", value, errp);
}

bool co_main_fn system_add_fdb(const char *value, Error **errp)
{
    return add_short("if=floppy,index=1", value, errp);
}

bool co_main_fn system_add_cdrom(const char *value, Error **errp)
{
    return add_short("index=2,media=cdrom", value, errp);
}
