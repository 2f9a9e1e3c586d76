/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What begins a job that copies. */
#include "qemu/osdep.h"

#include "hmp-commands.h"
#include "qapi/qapi-commands.h"

static char *str(const HmpArgs *args, const char *name)
{
    return (char *)hmp_str(args, name);
}

static NewImageMode image_mode(const HmpArgs *args)
{
    return hmp_flag(args, "n") ? NEW_IMAGE_MODE_EXISTING : NEW_IMAGE_MODE_ABSOLUTE_PATHS;
}

static MirrorSyncMode sync_mode(const HmpArgs *args)
{
    return hmp_flag(args, "f") ? MIRROR_SYNC_MODE_FULL : MIRROR_SYNC_MODE_TOP;
}

static void co_main_fn drive_mirror(GString *out, const HmpArgs *args)
{
    DriveMirror q = {
        .device = str(args, "device"), .target = str(args, "target"),
        .format = str(args, "format"), .sync = sync_mode(args), .has_mode = true,
        .mode = image_mode(args), .has_unmap = true, .unmap = true,
    };
    Error *err = NULL;

    qmp_drive_mirror(&q, &err);
    hmp_failed(out, err);
}

static void co_main_fn drive_backup(GString *out, const HmpArgs *args)
{
    DriveBackup q = {
        .device = str(args, "device"), .target = str(args, "target"),
        .format = str(args, "format"), .sync = sync_mode(args), .has_mode = true,
        .mode = image_mode(args), .has_compress = true, .compress = hmp_flag(args, "c"),
    };
    Error *err = NULL;

    qmp_drive_backup(&q, &err);
    hmp_failed(out, err);
}

static void co_main_fn block_stream(GString *out, const HmpArgs *args)
{
    QmpBlockStreamArgs q = {
        .device = str(args, "device"), .base = str(args, "base"),
        .has_speed = hmp_has(args, "speed"), .speed = hmp_int(args, "speed"),
    };
    Error *err = NULL;

    qmp_block_stream(&q, &err);
    hmp_failed(out, err);
}

const HmpCommand hmp_copy_commands[] = {
    { "block_stream", "device [speed [base]]", "copy data from a backing file into a block device",
      block_stream,
      { { "device", HMP_DEVICE }, { "speed", HMP_SIZE, true }, { "base", HMP_STRING, true } } },
    { "drive_backup", "[-n] [-f] [-c] device target [format]", "copy a device as it is now to the "
      "image file target (-n: to the image that is in that file; -f: the whole disk, so that the "
      "result needs no backing file; -c: compressed)", drive_backup,
      { { "n", HMP_FLAG }, { "f", HMP_FLAG }, { "c", HMP_FLAG }, { "device", HMP_DEVICE },
        { "target", HMP_STRING }, { "format", HMP_STRING, true } } },
    { "drive_mirror", "[-n] [-f] device target [format]", "copy a device to the image file target, "
      "and what is written to it as well, until block_job_complete (-n: to the image that is in "
      "that file; -f: the whole disk, so that the result needs no backing file)", drive_mirror,
      { { "n", HMP_FLAG }, { "f", HMP_FLAG }, { "device", HMP_DEVICE }, { "target", HMP_STRING },
        { "format", HMP_STRING, true } } },
    { NULL },
};
