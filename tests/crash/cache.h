/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a disk has in its cache and loses with the power: the data of files, from each change until
 * a sync of the file.  Sizes and names are durable at once, as if a journal had them.  All of these
 * are called one at a time, between changes of the files.
 */
#ifndef TESTS_CRASH_CACHE_H
#define TESTS_CRASH_CACHE_H

/* From now on changes are remembered; what is there is durable. */
void cache_start(void);
/* [@offset, @offset + @bytes) of the open file @fd is about to change. */
void cache_note(int fd, off_t offset, size_t bytes);
/* A sync of the file that begins now; what to tell cache_synced() when it has ended. */
unsigned cache_sync_begins(int fd);
/* What was noted of the file before that is durable. */
void cache_synced(int fd, unsigned begun);
/* What was noted of the file before never gets to the disk, whatever is synced later. */
void cache_dropped(int fd);
/* The power is cut, and comes back: files are as the disk has them. */
void cache_cut(void);

#endif
