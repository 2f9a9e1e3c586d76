/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The commands that test-command-faults lets fail, one row for each way of using one. */
#ifndef TESTS_UNIT_COMMAND_FAULTS_H
#define TESTS_UNIT_COMMAND_FAULTS_H

#include "qemu/context.h"

#define ROW_STEPS 12

typedef struct CommandRow {
    const char *name;               /* COMMAND or COMMAND/VARIANT */
    const char *disks[ROW_STEPS];   /* as of qmp_rig_make_disk() */
    const char *drives[ROW_STEPS];  /* values of --drive */
    const char *before[ROW_STEPS];  /* requests that come first, or "write NODE OFFSET" */
    const char *guests;             /* nodes or backends that a guest has written to and goes on
                                     * writing to */
    const char *request;
    const char *then[ROW_STEPS];    /* requests that belong to it: what its jobs are told once they
                                     * wait */
    const char *names;              /* each error has one of these words: what it could not deal
                                     * with */
    bool marks;                     /* an image stays marked as dirty where that cannot be undone */
    const char *changing;           /* files whose content may be another after a failure */
    const char *left[ROW_STEPS];    /* files that are new after success */
    const char *after[ROW_STEPS];   /* requests that have to succeed afterwards */
    int64_t size;                   /* of the first disk once it was answered, bytes; 0: any */
    const char *whole;              /* the file of a disk that has all that was written, always */
    const char *copy;               /* a file that has it, too, once all was answered */
    bool is_job;                    /* how it fails is a cause alone, as clients know it */
    bool no_image;                  /* what is new is no disk's: nothing is promised of it */
    bool is_group;                  /* errors carry their member as data */
} CommandRow;

extern const CommandRow command_rows[];     /* ends with a NULL name */

/* ---- files (command-files.c) ---- */

/* Does it work on files? */
bool any_fn command_has_files(const CommandRow *row);
/* All of @row->before. */
void co_main_fn command_run_before(const CommandRow *row);
/* Do what @row is about; NULL, or the error (caller frees) and its data, as of qmp_rig_try(). */
char *co_main_fn command_try(const CommandRow *row, char **ret_data);
/* Up to where the request can be sent; guests have written, and flushed a part of it. */
void co_main_fn command_set_up(const CommandRow *row);
/*
 * In a directory as a crash has left it: what was there is consistent and has all that was flushed;
 * what the command makes is not there, or nobody takes it for an image, or it is complete.
 * @answered: it is.
 */
void co_main_fn command_check_files(const CommandRow *row, bool answered);

#endif
