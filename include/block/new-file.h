/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The file that a command is going to put a new image in: made so that nothing that was there is
 * harmed, and undone so that nothing is left.
 *
 * (T1) A regular file that is not empty is never touched; nor is one that another process has
 *      claimed by its locks.  Nothing is written before new_file_claim(), which looks again, under
 *      the locks of this command's node.
 * (T2) The undo changes what this command has changed, under the same locks.  A file that did not
 *      exist is gone after new_file_abort(), unless its name leads to another file by then; an
 *      empty one that was claimed is empty again.
 * (T3) A new file has a name only from new_file_give_name() or new_file_sync_dir() on, where the
 *      file system can do that (O_TMPFILE): whenever the process is killed before, nothing is left.
 *      After the second one the name survives a power cut.
 */
#ifndef BLOCK_NEW_FILE_H
#define BLOCK_NEW_FILE_H

#include "block/driver.h"

typedef struct NewFile NewFile;

/* Told of the image that a command is about to lay out in a new file, on the main thread; NULL:
 * nobody is. */
extern void (*new_file_note)(const char *filename, const char *format,
                             const BdrvCreateOptions *create);

/*
 * Opens or creates @filename (relative: to the working directory) for writing.  Refuses a non-empty
 * regular file ("File exists"), a name that no snapshot of it could record, and anything but
 * regular files and block devices, without waiting for either.
 */
NewFile *co_main_fn new_file_prepare(const char *filename, Error **errp);
const char *any_fn new_file_name(const NewFile *t);       /* absolute */
BdrvFileId any_fn new_file_id(const NewFile *t);
/* Can it be found already, or does it get its name when it is complete? */
bool any_fn new_file_has_name(const NewFile *t);
/* "file" or "host_device". */
const char *any_fn new_file_driver(const NewFile *t);
/*
 * A descriptor for the node that the image is made with, of which there is one at a time; -1 with
 * @errp set.  The locks that the node has when it is closed stay until the file is kept or undone.
 */
int co_main_fn new_file_dup(NewFile *t, bool direct, Error **errp);
/* The node on the file has its locks, and writing begins.  "File exists": somebody else began
 * first. */
bool co_main_fn new_file_claim(NewFile *t, Error **errp);
/* Ask the file system to write the file in place, while it is empty; most do so anyway and know no
 * such wish. */
void co_main_fn new_file_set_nocow(NewFile *t);
/*
 * Takes room in the file system for [@offset, @offset + @bytes) of the file, whose length stays as
 * it is.  True also where the file system cannot do that.
 */
bool co_main_fn new_file_reserve(NewFile *t, int64_t offset, int64_t bytes, Error **errp);
/* The same file, or going to be, under whatever names. */
bool any_fn new_file_equal(const NewFile *a, const NewFile *b);
/* The content is complete and synced: gives a new file its name, which a power cut may still take
 * away.  "File exists": somebody else has taken it since. */
bool co_main_fn new_file_give_name(NewFile *t, Error **errp);
/* Does that if it was not done, and syncs the directory. */
bool co_main_fn new_file_sync_dir(NewFile *t, Error **errp);
/*
 * Afterwards @node, the one that the image was made with, and @t have the file open under the name
 * that it got from new_file_sync_dir(), with the same locks; at no moment is it without them.  No
 * request to @node is under way, and nobody else sees it yet.  False, and nothing has changed: the
 * name leads to another file by now ("File exists"), or it cannot be opened.
 */
bool co_main_fn new_file_open_by_name(NewFile *t, BlockDriverState *node, Error **errp);
/* Undo and free; nothing has it open any more. NULL is fine. */
void co_main_fn new_file_abort(NewFile *t);
/* Keep and free. NULL is fine. */
void co_main_fn new_file_commit(NewFile *t);

/* Identity of what @path leads to now.  False: nothing, or neither file nor block device. */
bool blocking_fn file_id_of_path(const char *path, BdrvFileId *ret_id);
/* The same, by a thread of the pool. */
bool co_main_fn file_id_of_path_co(const char *path, BdrvFileId *ret_id);
BdrvFileId any_fn file_id_of_stat(const struct stat *st);
bool any_fn file_id_equal(BdrvFileId a, BdrvFileId b);

#endif
