/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qemu-img: makes images, looks at them, copies and changes them while no guest uses them.  A file
 * a sub-command.
 */
#include "qemu/osdep.h"

#include "config-host.h"
#include "img.h"
#include "tools/common/trace.h"

static const struct {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *synopsis;
} commands[] = {
    { "amend", img_amend, "[--object OBJECT] [--image-opts] [-p] [-q] [-f FMT] [-t CACHE] [--force] "
      "-o OPTIONS FILENAME" },
    { "bench", img_bench, "[-c COUNT] [-d DEPTH] [-f FMT] [--flush-interval=FLUSH_INTERVAL] [-i AIO] "
      "[-n] [--no-drain] [-o OFFSET] [--pattern=PATTERN] [-q] [-s BUFFER_SIZE] [-S STEP_SIZE] "
      "[-t CACHE] [-w] [-U] FILENAME" },
    { "bitmap", img_bitmap, "(--merge SOURCE | --add | --remove | --clear | --enable | --disable)... "
      "[-b SOURCE_FILE [-F SOURCE_FMT]] [-g GRANULARITY] [--object OBJECT] [--image-opts | -f FMT] "
      "FILENAME BITMAP" },
    { "check", img_check, "[--object OBJECT] [--image-opts] [-q] [-f FMT] [--output=OFMT] "
      "[-r leaks|all] [-T SRC_CACHE] [-U] FILENAME" },
    { "commit", img_commit, "[--object OBJECT] [--image-opts] [-q] [-f FMT] [-t CACHE] [-b BASE] "
      "[-r RATE_LIMIT] [-d] [-p] FILENAME" },
    { "compare", img_compare, "[--object OBJECT] [--image-opts] [-f FMT] [-F FMT] [-T SRC_CACHE] "
      "[-p] [-q] [-s] [-U] FILENAME1 FILENAME2" },
    { "convert", img_convert, "[--object OBJECT] [--image-opts] [--target-image-opts] "
      "[--target-is-zero] [--bitmaps [--skip-broken-bitmaps]] [-U] [-C] [-c] [-p] [-q] [-n] "
      "[-f FMT] [-t CACHE] [-T SRC_CACHE] [-O OUTPUT_FMT] [-B BACKING_FILE [-F BACKING_FMT]] "
      "[-o OPTIONS] [-l SNAPSHOT] [-S SPARSE_SIZE] [-r RATE_LIMIT] [-m NUM_COROUTINES] [-W] "
      "[--salvage] FILENAME [FILENAME2 [...]] OUTPUT_FILENAME" },
    { "create", img_create, "[--object OBJECT] [-q] [-f FMT] [-b BACKING_FILE [-F BACKING_FMT]] [-u] "
      "[-o OPTIONS] FILENAME [SIZE]" },
    { "dd", img_dd, "[--image-opts] [-U] [-f FMT] [-O OUTPUT_FMT] [bs=BLOCK_SIZE] [count=BLOCKS] "
      "[skip=BLOCKS] if=INPUT of=OUTPUT" },
    { "group", img_group, "create [--object OBJECT] [-q] [-f FMT] [-F BACKING_FMT] [-o OPTIONS] "
      "BASE OVERLAY [BASE OVERLAY]..." },
    { "group", img_group, "commit [--object OBJECT] [-q] [-f FMT] [-t CACHE] [-r RATE_LIMIT] [-d] [-p] "
      "[--force] OVERLAY..." },
    { "group", img_group, "check [--object OBJECT] [--image-opts] [-q] [-f FMT] [--output=OFMT] "
      "[-r leaks|all] [-T SRC_CACHE] [-U] FILENAME..." },
    { "group", img_group, "info [--object OBJECT] [--image-opts] [-f FMT] [--output=OFMT] [-U] "
      "FILENAME..." },
    { "info", img_info, "[--object OBJECT] [--image-opts] [-f FMT] [--output=OFMT] "
      "[--backing-chain] [-U] [PICTURE.png] FILENAME" },
    { "map", img_map, "[--object OBJECT] [--image-opts] [-f FMT] [--start-offset=OFFSET] "
      "[--max-length=LEN] [--output=OFMT] [-U] [PICTURE.png] FILENAME" },
    { "measure", img_measure, "[--output=OFMT] [-O OUTPUT_FMT] [-o OPTIONS] [--size N | "
      "[--object OBJECT] [--image-opts] [-f FMT] [-l SNAPSHOT] FILENAME]" },
    { "rebase", img_rebase, "[--object OBJECT] [--image-opts] [-U] [-q] [-f FMT] [-t CACHE] "
      "[-T SRC_CACHE] [-p] [-u] [-c] -b BACKING_FILE [-F BACKING_FMT] FILENAME" },
    { "resize", img_resize, "[--object OBJECT] [--image-opts] [-f FMT] [--preallocation=PREALLOC] "
      "[-q] [--shrink] FILENAME [+|-]SIZE" },
    { "snapshot", img_snapshot, "[--object OBJECT] [--image-opts] [-U] [-q] [-l | -a SNAPSHOT | "
      "-c SNAPSHOT | -d SNAPSHOT] FILENAME" },
};

#define VERSION_TEXT "qemu-img version " QEMU_VERSION "\n"

void img_help(void)
{
    printf(VERSION_TEXT
           "usage: qemu-img [standard options] command [command options]\n"
           "QEMU disk image utility\n\n"
           "    '-h', '--help'       display this help and exit\n"
           "    '-V', '--version'    output version information and exit\n"
           "    '-T', '--trace'      [[enable=]<pattern>][,events=<file>][,file=<file>]\n"
           "                         specify tracing options\n\n"
           "Command syntax:\n");
    for (size_t i = 0; i < G_N_ELEMENTS(commands); i++) {
        printf("  %s %s\n", commands[i].name, commands[i].synopsis);
    }
    printf("\nSee qemu-img(1).\n");
    exit(0);
}

static int co_main_fn run_command(int argc, char **argv)
{
    const char *name = argv[0];

    for (size_t i = 0; i < G_N_ELEMENTS(commands); i++) {
        if (strcmp(commands[i].name, name) == 0) {
            optind = 0;             /* getopt begins anew */
            return commands[i].run(argc, argv);
        }
    }
    img_usage_error("Command not found: %s", name);
}

/* Options in front of the command; returns the index of its name. */
static int standard_options(int argc, char **argv)
{
    static const struct option longopts[] = {
        { "help", no_argument, NULL, 'h' }, { "version", no_argument, NULL, 'V' },
        { "trace", required_argument, NULL, 'T' }, { 0 },
    };
    Error *err = NULL;
    int c;

    while ((c = img_next_option(argc, argv, "+:hVT:", longopts)) != -1) {
        if (c == 'V') {
            printf(VERSION_TEXT);
            exit(0);
        }
        if (c == 'T' && !tool_trace(optarg, &err)) {
            exit(img_fail(err));
        }
    }
    if (optind >= argc) {
        img_usage_error("Not enough arguments");
    }
    return optind;
}

/* In the event loop's coroutine. */
static int co_main_fn img_entry(int argc, char **argv)
{
    return run_command(argc, argv);
}

int main(int argc, char **argv)
{
    g_set_prgname("qemu-img");
    argv[0] = (char *)g_get_prgname();
    int first = standard_options(argc, argv);
    return tool_run("qemu-img", img_entry, argc - first, argv + first);
}
