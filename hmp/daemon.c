/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the daemon has instead of commands about a machine and its drives. */
#include "qemu/osdep.h"

#include "hmp-commands.h"
#include "hmp/hmp.h"
#include "qapi/qapi-commands.h"

static void co_main_fn cont(GString *out, const HmpArgs *args)
{
    Error *err = NULL;

    qmp_cont(&err);
    hmp_failed(out, err);
}

/* A drive is there from the start to the end: what a user looks for here is done by QMP. */
static void main_fn no_drives(GString *out, const HmpArgs *args)
{
    g_string_append(out, "Error: drives are opened by --drive and stay until the daemon ends; a "
                    "disk that comes and goes is a node: QMP blockdev-add and block-export-add, "
                    "block-export-del and blockdev-del\n");
}

static const HmpCommand commands[] = {
    { "cont|c", NULL, "let disks run that an error has stopped", cont },
    { "drive_add", "...", "not while running: says what to do instead", no_drives,
      { { "args", HMP_REST, true } } },
    { "drive_del", "...", "not while running: says what to do instead", no_drives,
      { { "args", HMP_REST, true } } },
    { NULL },
};

void main_fn hmp_daemon_init(void)
{
    monitor_hmp_register(commands);
}
