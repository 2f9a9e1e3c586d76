/* SPDX-License-Identifier: GPL-2.0-or-later */
/* break, remove_break, resume, wait_break: requests that stop at an event, in a blkdebug node. */
#include "qemu/osdep.h"

#include "tools/qemu-io/commands.h"

/* What goes wrong without a node. */
static BlockDriverState *co_main_fn node(IoSession *s)
{
    return blk_bs(s->blk);
}

static int co_main_fn set_break(IoSession *s, const IoCommand *cmd, int argc, char **argv)
{
    int ret = !node(s) ? -ENOMEDIUM : bdrv_debug_breakpoint(node(s), argv[1], argv[2]);

    if (ret < 0) {
        io_print(s, "Could not set breakpoint: %s\n", g_strerror(-ret));
    }
    return ret;
}

static int co_main_fn remove_break(IoSession *s, const IoCommand *cmd, int argc, char **argv)
{
    int ret = !node(s) ? -ENOMEDIUM : bdrv_debug_remove_breakpoint(node(s), argv[1]);

    if (ret < 0) {
        io_print(s, "Could not remove breakpoint %s: %s\n", argv[1], g_strerror(-ret));
    }
    return ret;
}

static int co_main_fn resume(IoSession *s, const IoCommand *cmd, int argc, char **argv)
{
    int ret = !node(s) ? -ENOMEDIUM : bdrv_debug_resume(node(s), argv[1]);

    if (ret < 0) {
        io_print(s, "Could not resume request: %s\n", g_strerror(-ret));
    }
    return ret;
}

static int co_main_fn wait_break(IoSession *s, const IoCommand *cmd, int argc, char **argv)
{
    int ret = !node(s) ? -ENOMEDIUM : bdrv_debug_wait(node(s), argv[1]);

    if (ret < 0) {
        io_print(s, "Could not wait for breakpoint %s: %s\n", argv[1], g_strerror(-ret));
    }
    return ret;
}

const IoCommand io_debug_commands[] = {
    { .name = "break", .run = set_break, .min_args = 2, .max_args = 2, .args = "event tag",
      .summary = "sets a breakpoint on event and tags the stopped request as tag" },
    { .name = "remove_break", .run = remove_break, .min_args = 1, .max_args = 1, .args = "tag",
      .summary = "remove a breakpoint by tag" },
    { .name = "resume", .run = resume, .min_args = 1, .max_args = 1, .args = "tag",
      .summary = "resumes the request tagged as tag" },
    { .name = "wait_break", .run = wait_break, .min_args = 1, .max_args = 1, .args = "tag",
      .summary = "waits for the suspension of a request" },
    { 0 },
};
