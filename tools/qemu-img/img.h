/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Between the files of qemu-img. */
#ifndef IMG_H
#define IMG_H

#include <getopt.h>

#include "tools/common/tool.h"

/* ---- sub-commands: argv[0] is the command's name; they return the exit status ---- */

int co_main_fn img_amend(int argc, char **argv);
int co_main_fn img_bench(int argc, char **argv);
int co_main_fn img_bitmap(int argc, char **argv);
int co_main_fn img_check(int argc, char **argv);
int co_main_fn img_commit(int argc, char **argv);
int co_main_fn img_compare(int argc, char **argv);
int co_main_fn img_convert(int argc, char **argv);
int co_main_fn img_create(int argc, char **argv);
int co_main_fn img_dd(int argc, char **argv);
int co_main_fn img_group(int argc, char **argv);
int co_main_fn img_info(int argc, char **argv);
int co_main_fn img_map(int argc, char **argv);
int co_main_fn img_measure(int argc, char **argv);
int co_main_fn img_rebase(int argc, char **argv);
int co_main_fn img_resize(int argc, char **argv);
int co_main_fn img_snapshot(int argc, char **argv);

/* ---- main.c ---- */

/* --help of the program and of every command: to standard output, and the end. */
void img_help(void) G_GNUC_NORETURN;

/* ---- args.c: command lines.  What is wrong with one ends the program with status 1. ---- */

/* "qemu-img: ..." and where to find help. */
void img_usage_error(const char *fmt, ...) G_GNUC_PRINTF(1, 2) G_GNUC_NORETURN;

/* Options that have a long name only, of all commands. */
enum {
    IMG_OPT_OBJECT = 256, IMG_OPT_IMAGE_OPTS, IMG_OPT_OUTPUT, IMG_OPT_BACKING_CHAIN,
    IMG_OPT_FLUSH_INTERVAL, IMG_OPT_NO_DRAIN, IMG_OPT_PATTERN, IMG_OPT_ADD, IMG_OPT_REMOVE,
    IMG_OPT_CLEAR, IMG_OPT_ENABLE, IMG_OPT_DISABLE, IMG_OPT_MERGE, IMG_OPT_TARGET_IMAGE_OPTS,
    IMG_OPT_TARGET_IS_ZERO, IMG_OPT_BITMAPS, IMG_OPT_SKIP_BROKEN, IMG_OPT_SALVAGE,
    IMG_OPT_START_OFFSET, IMG_OPT_MAX_LENGTH, IMG_OPT_SIZE, IMG_OPT_SHRINK, IMG_OPT_PREALLOCATION,
    IMG_OPT_FORCE,
};

/* The next option of a command that has @letters (as getopt(3), with a ':' in front) and
 * @longopts; -1: no more.  Asking for help ends the program, too. */
int img_next_option(int argc, char **argv, const char *letters, const struct option *longopts);

void co_main_fn img_add_object(const char *arg);
/* A cache mode, an offset, a format of output. */
ToolCache img_cache_arg(const char *what, const char *arg);
/* "Invalid WHAT specified..." if @arg is no number of bytes from @min to @max. */
int64_t img_size_arg(const char *what, const char *arg, int64_t min, int64_t max);
/* The same with a message and false instead of the end. */
bool img_parse_size(const char *what, const char *arg, int64_t min, int64_t max, int64_t *ret);
/* A plain number. */
int64_t img_number_arg(const char *what, const char *arg, int64_t min, int64_t max);

typedef enum ImgOutput {
    IMG_OUTPUT_HUMAN, IMG_OUTPUT_JSON,
    IMG_OUTPUT_PNG, IMG_OUTPUT_DOT, /* of commands that draw */
} ImgOutput;
ImgOutput img_output_arg(const char *arg);
/* The only argument behind the options, a file name. */
const char *img_only_filename(int argc, char **argv);

/* The arguments -f, --image-opts, -U: all of them go together, but for the first two. */
void img_check_naming(const ToolImage *image);

/* Prints and frees @err; returns 1, an exit status. */
int img_fail(Error *err);
/* "qemu-img: NAME: ...". */
int img_fail_on(const char *name, Error *err);

/* @image to be read, or of it the internal snapshot @snapshot (NULL: none): `snapshot.id=ID`,
 * `snapshot.name=NAME` or one word that is either. */
BlockBackend *co_main_fn img_open_source(const ToolImage *image, const char *snapshot,
                                         Error **errp);

/* ---- text.c ---- */

/* "64 MiB"; caller frees. */
char *img_size_text(int64_t bytes);
/* A value in JSON, as people read it, on standard output; takes @value. */
void img_print_json(QObject *value);

/* ---- progress.c ---- */

/*
 * How far a command is: on a terminal, if it was asked for, and once to standard error whenever the
 * program gets SIGUSR1.
 */
typedef struct ImgProgress ImgProgress;
ImgProgress *main_fn img_progress_new(bool show);
/* @done of @total, whatever their unit is. */
void main_fn img_progress_set(ImgProgress *p, uint64_t done, uint64_t total);
/* The end of the line; frees it.  NULL is fine. */
void main_fn img_progress_end(ImgProgress *p);

#endif
