/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Between the files about -drive. */
#ifndef SYSTEM_DRIVE_H
#define SYSTEM_DRIVE_H

#include "system.h"
#include "tools/common/options.h"

/* What a -drive says that is not about the image itself. */
typedef struct DriveOptions {
    DriveInterface default_interface, interface;
    char *id, *file;                /* NULL: none */
    int index, bus, unit;           /* -1: not given */
    bool cdrom, read_only, snapshot, copy_on_read, discard;
    ToolCache cache;
    FileAio aio;
    BlkOnError werror, rerror;
    bool limited;
    char *group;                    /* of limits; NULL: its own */
    ThrottleConfig limits;
} DriveOptions;

/* The keys "throttling." of @dict. */
bool any_fn drive_take_limits(QDict *dict, DriveOptions *d, Error **errp);

/* Opens what @d and @image, the keys that describe it, say; caller frees under the graph lock. */
BdrvLink *co_main_fn drive_open_image(const DriveOptions *d, const QDict *image, Error **errp);

#endif
