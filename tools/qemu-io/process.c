/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is done to the process and its time: sleep, sigraise, abort; quit. */
#include "qemu/osdep.h"

#include <signal.h>

#include "qemu/aio.h"
#include "tools/qemu-io/commands.h"

static int co_main_fn sleep_command(IoSession *s, const IoCommand *cmd, int argc, char **argv)
{
    char *end;

    errno = 0;
    long ms = strtol(argv[1], &end, 0);
    if (errno || end == argv[1] || *end || ms < 0) {
        io_print(s, "%s is not a valid number\n", argv[1]);
        return errno ? -errno : -EINVAL;
    }
    /* Longer than anybody waits. */
    aio_co_sleep_ns(MIN(ms, INT64_MAX / 2 / NS_PER_MS) * NS_PER_MS);
    return 0;
}

static void get_output_out(IoSession *s)
{
    if (s->out->flush) {
        s->out->flush(s->out->opaque);
    }
}

static int co_main_fn sigraise(IoSession *s, const IoCommand *cmd, int argc, char **argv)
{
    int64_t sig;
    int err = io_parse_bytes(s, argv[1], &sig);

    if (err < 0) {
        return err;
    }
    if (sig > NSIG) {
        io_print(s, "signal argument '%s' is too large to be a valid signal\n", argv[1]);
        return -EINVAL;
    }
    get_output_out(s);
    raise((int)sig);
    return 0;
}

static int co_main_fn abort_command(IoSession *s, const IoCommand *cmd, int argc, char **argv)
{
    get_output_out(s);
    abort();
}

static int co_main_fn quit(IoSession *s, const IoCommand *cmd, int argc, char **argv)
{
    s->quit = true;
    return 0;
}

const IoCommand io_process_commands[] = {
    { .name = "sleep", .run = sleep_command, .min_args = 1, .max_args = 1,
      .needs = IO_NEEDS_NOTHING, .summary = "waits for the given value in milliseconds" },
    { .name = "sigraise", .run = sigraise, .min_args = 1, .max_args = 1,
      .needs = IO_NEEDS_NOTHING, .args = "signal", .summary = "raises a signal",
      .help = " Example: 'sigraise 9' ends the process as 'kill -9' does.\n" },
    { .name = "abort", .run = abort_command, .needs = IO_NEEDS_NOTHING,
      .summary = "simulate a program crash using abort(3)" },
    { .name = "quit", .alias = "q", .run = quit, .max_args = -1, .needs = IO_NEEDS_NOTHING,
      .summary = "exit the program" },
    { 0 },
};
