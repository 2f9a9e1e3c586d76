/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The commands that test-command-faults lets fail, one row for each way of using one. */
#ifndef TESTS_UNIT_COMMAND_FAULTS_H
#define TESTS_UNIT_COMMAND_FAULTS_H

#define ROW_STEPS 8

typedef struct CommandRow {
    const char *name;               /* COMMAND or COMMAND/VARIANT */
    const char *disks[ROW_STEPS];   /* as of qmp_rig_make_disk() */
    const char *drives[ROW_STEPS];  /* values of --drive */
    const char *before[ROW_STEPS];  /* requests that come first */
    const char *guests;             /* nodes or places that a guest has written to and goes on writing to */
    const char *request;
    const char *names;              /* each error has one of these words: what it could not deal with */
    const char *changing;           /* files whose content may be another after a failure */
    const char *left[ROW_STEPS];    /* files that are new after success */
    const char *after[ROW_STEPS];   /* requests that have to succeed afterwards */
    bool is_group;                  /* errors carry their member as data */
} CommandRow;

extern const CommandRow command_rows[];     /* ends with a NULL name */

#endif
