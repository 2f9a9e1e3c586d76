/* SPDX-License-Identifier: GPL-2.0-or-later */
/* qemu-nbd: serves an image by NBD, lists what others serve, and ties both to the kernel. */
#include "qemu/osdep.h"

#include <signal.h>

#include "qnbd.h"
#include "tools/common/process.h"

static QnbdArgs args;

static int co_main_fn entry(int argc, char **argv)
{
    return args.list ? qnbd_list(&args) : qnbd_serve(&args);
}

/* They are read where the program waits for its end. */
static void block_signals(void)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    sigprocmask(SIG_BLOCK, &set, NULL);
}

int main(int argc, char **argv)
{
    g_set_prgname("qemu-nbd");
    argv[0] = (char *)g_get_prgname();          /* what getopt_long() says begins with it */
    qnbd_parse(argc, argv, &args);
    if (args.disconnect) {
        context_block_anyway();                 /* there is no loop */
        return qnbd_disconnect(args.image.name);
    }
    if (!args.list) {
        if (args.fork || (args.device && !args.verbose)) {
            tool_daemonize();
        }
        block_signals();
    }
    return tool_run("qemu-nbd", entry, 0, NULL);
}
