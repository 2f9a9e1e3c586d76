/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "qemu/osdep.h"
#include "tools/common/tool.h"

static int co_main_fn entry(int argc, char **argv)
{
    Error *err = NULL;
    BlockBackend *blk = tool_open(&(ToolImage){ .name = argv[1], .image_opts = argc > 2 }, &err);
    if (!blk) { error_report_err(err); return 1; }
    printf("%s %ld\n", blk_bs(blk)->drv->name, (long)blk_length(blk));
    tool_close(blk);
    return 0;
}
int main(int argc, char **argv)
{
    return tool_run("qemu-img", entry, argc, argv);
}
