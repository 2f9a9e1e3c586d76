/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The log of a simulated machine. */
#ifndef TESTS_SIM_INTERNAL_H
#define TESTS_SIM_INTERNAL_H

#include "sim.h"

typedef enum SimKind {
    SIM_WRITE,                      /* data */
    SIM_ZERO,
    SIM_GROW,                       /* at least @offset bytes long */
    SIM_TRUNCATE,                   /* @offset is the new length */
    SIM_LINK, SIM_UNLINK,           /* @name, of the directory */
    SIM_RENAME,                     /* @name becomes @new_name */
    SIM_SYNC,
    SIM_END,                        /* the entry @of has ended */
    SIM_NOTE,
    SIM_DROP,                       /* what a sync of @file that failed has dropped for good */
} SimKind;

#define SIM_DIRECTORY 0             /* the number of the directory among the files */

typedef struct SimEntry {
    SimKind kind;
    int file;                       /* whose change; SIM_DIRECTORY for names */
    int linked;                     /* SIM_LINK: the file */
    bool durable;                   /* by itself when it ends (O_DSYNC) */
    int64_t offset, bytes;
    uint8_t *data;
    char *name, *new_name;
    guint of;
    uint64_t note;
} SimEntry;

/* A file as it was at the start, with what has been folded into it since. */
typedef struct SimInode {
    SimFile content;
    int64_t room;                   /* bytes allocated */
} SimInode;

typedef struct SimLog {
    GPtrArray *entries;             /* of SimEntry */
    GPtrArray *inodes;              /* of SimInode; the directory's is NULL */
    GHashTable *names;              /* name -> number + 1 */
    /* sim_cut() has looked at the entries up to here: what could be folded is in inodes and names.
     */
    guint seen;
    GArray *pending;                /* of SimPending: begun and not folded, in order */
} SimLog;

/* Add an entry; its index. The log takes what it points to. */
guint sim_log_add(SimEntry e);
/* A new file of @bytes of @data (copied); its number. */
int sim_log_new_file(const void *data, int64_t bytes);
void sim_log_clear(void);
/* @name leads to file @number from the start. */
void sim_log_set_name(const char *name, int number);

#endif
