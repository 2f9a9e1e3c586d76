/* SPDX-License-Identifier: GPL-2.0-or-later */
/* For the files block/protocols/file/new-file*.c. */
#ifndef BLOCK_NEW_FILE_INTERNAL_H
#define BLOCK_NEW_FILE_INTERNAL_H

#include "block/new-file.h"

struct NewFile {
    char *filename;                 /* absolute */
    char *base;                     /* last component */
    int dir_fd;                     /* the directory it is in */
    int fd;
    bool created;                   /* by us */
    bool named;                     /* has its name: always, unless created; main thread */
    bool linked;                    /* got its name just now; by the thread that does it */
    bool claimed;                   /* its locks are held, and it was empty under them */
    struct stat dir_st;             /* of the directory, if created */
    struct stat st;
    const char *refused;            /* why it cannot be used, if that is not an errno */
};

/* (T2): 0 or -errno; the descriptors stay open. */
int blocking_fn new_file_undo(NewFile *t);

#endif
