/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Between the files of qemu-storage-daemon. */
#ifndef QSD_H
#define QSD_H

#include "block/blockdev.h"
#include "tools/common/trace.h"

/* Options in the order in which they take effect: the order on the command line. */
typedef struct QsdOption {
    const char *name;               /* long option */
    const char *arg;                /* as shown by --help, NULL: takes none */
    const char *help;
    int letter;                     /* short option, or 0 */
    /* Carries the option out at start-up, in a coroutine; NULL: main.c looks at it before. */
    bool (*co_apply)(const char *value, Error **errp);
} QsdOption;

extern const QsdOption qsd_options[];       /* ends with a NULL name */

bool co_main_fn qsd_apply_blockdev(const char *value, Error **errp);
bool co_main_fn qsd_apply_drive(const char *value, Error **errp);
bool co_main_fn qsd_apply_export(const char *value, Error **errp);
bool co_main_fn qsd_apply_nbd_server(const char *value, Error **errp);
bool co_main_fn qsd_apply_overlay_layout(const char *value, Error **errp);
bool co_main_fn qsd_apply_metadata_cache(const char *value, Error **errp);
bool co_main_fn qsd_apply_overlay_warnings(const char *value, Error **errp);
bool co_main_fn qsd_apply_nbd_memory(const char *value, Error **errp);

/* sandbox.c: give up system calls that the daemon does not need, for all threads. */
bool qsd_sandbox_enter(Error **errp);

#endif
