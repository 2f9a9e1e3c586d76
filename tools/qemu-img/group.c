/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qemu-img group: what the daemon does for the disks of a guest together, while no guest runs.  An
 * error names the member that it is about.
 */
#include "qemu/osdep.h"

#include "group.h"

static const struct {
    const char *name;
    int (*run)(int argc, char **argv);
} commands[] = {
    { "create", img_group_create },
    { "commit", img_group_commit },
    { "check", img_group_check },
    { "info", img_group_info },
};

int co_main_fn img_group(int argc, char **argv)
{
    const char *name = argc > 1 ? argv[1] : NULL;

    if (name && (strcmp(name, "-h") == 0 || strcmp(name, "--help") == 0)) {
        img_help();
    }
    for (size_t i = 0; name && i < G_N_ELEMENTS(commands); i++) {
        if (strcmp(commands[i].name, name) == 0) {
            optind = 0;             /* getopt begins anew */
            return commands[i].run(argc - 1, argv + 1);
        }
    }
    img_usage_error("Expecting 'create', 'commit', 'check' or 'info' behind 'group'");
}
