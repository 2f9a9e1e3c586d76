/* SPDX-License-Identifier: GPL-2.0-or-later */
/* help, and commands that there are nowhere yet. */
#include "qemu/osdep.h"

#include "tools/qemu-io/commands.h"

static void help_line(IoSession *s, const IoCommand *c, const char *called)
{
    io_print(s, "%s %s%s-- %s\n", called, c->args ?: "", c->args ? " " : "", c->summary);
}

static int co_main_fn help(IoSession *s, const IoCommand *cmd, int argc, char **argv)
{
    const IoCommand *c;

    if (argc == 2) {
        c = io_find_command(s, argv[1]);
        if (!c) {
            io_print(s, "command %s not found\n", argv[1]);
            return -EINVAL;
        }
        help_line(s, c, argv[1]);
        if (c->help) {
            io_print(s, "\n%s\n", c->help);
        }
        return 0;
    }
    for (size_t i = 0; (c = io_command_at(s, i)); i++) {
        help_line(s, c, c->name);
    }
    io_print(s, "\nUse 'help commandname' for extended help.\n");
    return 0;
}

const IoCommand io_help_commands[] = {
    { .name = "help", .alias = "?", .run = help, .max_args = 1, .needs = IO_NEEDS_NOTHING,
      .args = "[command]", .summary = "help for one or all commands" },
    { 0 },
};

/* ---- zones ---- */

static int co_main_fn zone_command(IoSession *s, const IoCommand *cmd, int argc, char **argv)
{
    io_print(s, "%s failed: zones of a device are not supported: %s\n", cmd->name,
             g_strerror(ENOTSUP));
    return -ENOTSUP;
}

#define ZONE_COMMAND(name_, alias_, args_, max, summary_)                                   \
    { .name = name_, .alias = alias_, .run = zone_command, .min_args = 2, .max_args = max,  \
      .args = args_, .summary = summary_ " (not supported)" }

const IoCommand io_zone_commands[] = {
    ZONE_COMMAND("zone_report", "zrp", "offset number", 2, "report zone information"),
    ZONE_COMMAND("zone_open", "zo", "offset len", 2, "explicit open a range of zones"),
    ZONE_COMMAND("zone_close", "zc", "offset len", 2, "close a range of zones"),
    ZONE_COMMAND("zone_finish", "zf", "offset len", 2, "finish a range of zones"),
    ZONE_COMMAND("zone_reset", "zrs", "offset len", 2, "reset a zone write pointer"),
    ZONE_COMMAND("zone_append", "zap", "offset len [len..]", -1, "append write a number of bytes"),
    { 0 },
};
