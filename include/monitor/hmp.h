/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The human monitor: commands that programs add, and their arguments.  docs/design/monitor.md.
 *
 * A command says what arguments it takes; the monitor takes a line apart, and says what is wrong
 * with it, before the command runs.
 */
#ifndef MONITOR_HMP_H
#define MONITOR_HMP_H

#include "qapi/error.h"

/* What an argument is. */
typedef enum HmpKind {
    HMP_END,                    /* behind the last one */
    HMP_FLAG,                   /* `-f` */
    HMP_DEVICE,                 /* a word: a device or node */
    HMP_FILE,                   /* a word: a file */
    HMP_STRING,                 /* a word, or text in double quotes */
    HMP_REST,                   /* the rest of the line as it is */
    HMP_SIZE,                   /* bytes; a number without a suffix is of MiB */
    HMP_INT,                    /* an expression */
    HMP_SWITCH,                 /* on or off */
} HmpKind;

typedef struct HmpParam {
    const char *name;           /* of a flag: its letter */
    HmpKind kind;
    bool optional;
} HmpParam;

#define HMP_MAX_PARAMS 8

/* The arguments of one line. */
typedef struct HmpArgs HmpArgs;

typedef struct HmpCommand {
    const char *name;           /* "quit|q": any of them */
    const char *args, *help;    /* for people; args may be NULL */
    /* Called in a coroutine on the main thread.  What it has to say goes to @out, lines ending in
     * '\n'. */
    void (*co_run)(GString *out, const HmpArgs *args);
    HmpParam params[HMP_MAX_PARAMS];    /* fewer than that: one more is HMP_END */
} HmpCommand;

/*
 * Add @commands, of which the last has no name; they stay the caller's.  No two have the same name.
 * info: `info NAME`.
 */
void main_fn monitor_hmp_register(const HmpCommand *commands);
void main_fn monitor_hmp_register_info(const HmpCommand *commands);

/* What the argument @name is; NULL, false: it was not given.  Owned by @args. */
const char *any_fn hmp_str(const HmpArgs *args, const char *name);
bool any_fn hmp_flag(const HmpArgs *args, const char *letter);
bool any_fn hmp_switch(const HmpArgs *args, const char *name);
/* A size or an integer; 0: it was not given. */
int64_t any_fn hmp_int(const HmpArgs *args, const char *name);
bool any_fn hmp_has(const HmpArgs *args, const char *name);

/* Says "Error: ..." if @err is set, which it takes; returns whether it was. */
bool any_fn hmp_failed(GString *out, Error *err);

/* The output of a command, lines ending in CR LF; caller frees.  One that fails says so in it. */
char *co_main_fn monitor_hmp_run(const char *line);

#endif
