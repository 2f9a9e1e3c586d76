/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Between the files of commands. */
#ifndef QEMU_IO_COMMANDS_H
#define QEMU_IO_COMMANDS_H

#include "tools/qemu-io/session.h"

/* The most bytes of one request: what fits an int in whole sectors. */
#define IO_MAX_BYTES ((int64_t)(INT_MAX / 512) * 512)

/* ---- a command ---- */

typedef enum IoNeeds {
    IO_NEEDS_NOTHING = 1 << 0,      /* works without an open image */
    IO_NEEDS_WRITE   = 1 << 1,      /* not on an image that can only be read */
} IoNeeds;

struct IoCommand {
    const char *name, *alias;       /* alias: or NULL */
    /* @argv[0] is the name as it was given.  0 or -errno, which has been said. */
    int (*run)(IoSession *s, const IoCommand *cmd, int argc, char **argv);
    int min_args, max_args;         /* beside the name; max_args -1: any number */
    unsigned needs;                 /* IoNeeds */
    const char *args, *summary;
    const char *help;               /* more lines, or NULL */
};

/* One table for each file; the last command has no name. */
extern const IoCommand io_read_commands[], io_write_commands[], io_aio_commands[];
extern const IoCommand io_vector_commands[], io_image_commands[], io_status_commands[];
extern const IoCommand io_debug_commands[], io_process_commands[], io_zone_commands[];
extern const IoCommand io_help_commands[];

/* The command of that name or alias; NULL: there is none. */
const IoCommand *any_fn io_find_command(const IoSession *s, const char *name);
/* Number @i in the order of names; NULL: there are no more. */
const IoCommand *any_fn io_command_at(const IoSession *s, size_t i);

/* Says how @cmd is used, in one line; returns -EINVAL. */
int any_fn io_usage(IoSession *s, const IoCommand *cmd);

/* ---- saying something ---- */

void any_fn io_print(IoSession *s, const char *fmt, ...) G_GNUC_PRINTF(2, 3);
/* About the command itself: to where errors go. */
void any_fn io_complain(IoSession *s, const char *fmt, ...) G_GNUC_PRINTF(2, 3);
/* Takes @err. */
void any_fn io_complain_err(IoSession *s, Error *err);

/* ---- arguments ---- */

/* Goes through options: `-q`, `-P VALUE`, in any order with other arguments, `--` ends them. */
typedef struct IoArgs {
    IoSession *s;
    const IoCommand *cmd;
    const char *letters;            /* as getopt(3) takes them */
    int argc;
    char **argv;
    int index;                      /* of the argument that is looked at */
    const char *next;               /* more letters of the same argument */
    bool only_values;               /* `--` was met */
    const char *value;              /* of the option that was returned last */
    GPtrArray *values;              /* what is no option, in order; borrowed strings */
} IoArgs;

void any_fn io_args_init(IoArgs *a, IoSession *s, const IoCommand *cmd, int argc, char **argv,
                         const char *letters);
/* The next option's letter; 0: there are no more; '?': one that there is not, which has been
 * said. */
int any_fn io_args_next(IoArgs *a);
void any_fn io_args_clear(IoArgs *a);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(IoArgs, io_args_clear)

/* A number of bytes with an optional suffix, 0..INT64_MAX; -EINVAL or -ERANGE, which has been
 * said. */
int any_fn io_parse_bytes(IoSession *s, const char *text, int64_t *ret);
/* The same for a length of one request. */
int any_fn io_parse_length(IoSession *s, const char *text, int64_t *ret);
/* 0..255, or -EINVAL, which has been said. */
int any_fn io_parse_pattern(IoSession *s, const char *text, int *ret);

/* ---- numbers for people ---- */

/* "1.500 KiB"; caller frees. */
char *any_fn io_human_bytes(double bytes);

/* What is asked of the report on a request. */
typedef struct IoReport {
    bool quiet;
    bool machine;                   /* -C */
} IoReport;

/* "VERB DONE/WANTED bytes at offset ...", and how long it took since @start_ns. */
void any_fn io_report(IoSession *s, IoReport how, const char *verb, int64_t start_ns,
                      int64_t offset, int64_t wanted, int64_t done);

/* ---- buffers ---- */

/* @len bytes of @pattern; NULL: there is not so much memory, which has been said. */
void *any_fn io_buffer_new(IoSession *s, size_t len, int pattern);
void any_fn io_buffer_free(IoSession *s, void *buf);
/* The bytes of @buf, 16 on a line, the first one called @offset. */
void any_fn io_dump(IoSession *s, const void *buf, size_t len, int64_t offset);
bool any_fn io_buffer_is(const void *buf, int pattern, size_t len);

/*
 * @vec has a buffer for each length in @lengths, of what io_buffer_new() returned (*@ret_buf).
 * -errno: it has been said.
 */
int any_fn io_vector_new(IoSession *s, IoVec *vec, char *const *lengths, guint n, int pattern,
                         void **ret_buf);

/* ---- requests, of one buffer ---- */

int co_main_fn io_failed(IoSession *s, const char *what, int ret);

#endif
