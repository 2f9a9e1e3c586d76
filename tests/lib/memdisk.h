/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A disk in memory, for tests: the protocol driver "memdisk", opened by the name of a MemDisk.
 *
 * It remembers what was written since the last flush as a list, as a real disk with a volatile
 * cache would have it, so that a test can ask for every state in which a power cut could have left
 * it: what was synced, plus any choice of the later writes, each whole, not at all, or torn
 * between 512-byte sectors.
 */
#ifndef TESTS_MEMDISK_H
#define TESTS_MEMDISK_H

#include "block/driver.h"

typedef struct MemDisk MemDisk;

/* @name is copied; one of each name at a time. */
MemDisk *memdisk_new(const char *name);
void memdisk_free(MemDisk *d);
/* Beyond @bytes (40 MiB) it is full: a damaged image may ask for anything. */
void memdisk_set_max_bytes(MemDisk *d, int64_t bytes);

/* Options to open it. */
BdrvOpenOptions *memdisk_options(MemDisk *d, bool read_only);

/* ---- content, now, as a reader sees it ---- */

int64_t memdisk_length(MemDisk *d);
void memdisk_read(MemDisk *d, int64_t offset, int64_t bytes, void *buf);
/* Changes the content and nothing else (synced at once); grows it. */
void memdisk_poke(MemDisk *d, int64_t offset, int64_t bytes, const void *buf);
/* Becomes @data, synced. */
void memdisk_set_content(MemDisk *d, const void *data, int64_t bytes);
/* Becomes a synced copy of the file @path; false if that cannot be read. */
bool memdisk_load(MemDisk *d, const char *path);
bool memdisk_save(MemDisk *d, const char *path);

/* ---- crashes ---- */

/* Flushes so far, and operations (writes, zeroes, discards, truncates) that no flush
 * has covered. */
unsigned memdisk_syncs(MemDisk *d);
unsigned memdisk_unsynced(MemDisk *d);

typedef enum MemCrash {
    MEM_CRASH_DROP_ALL,             /* only what was synced */
    MEM_CRASH_KEEP_ALL,             /* everything: the process died, not the machine */
    MEM_CRASH_RANDOM,               /* each operation kept or dropped */
    MEM_CRASH_TORN,                 /* the same for each 512-byte sector of each operation */
    MEM_CRASH_PREFIX,               /* the first few, in order */
    MEM_CRASH_SUBSET,               /* the seed says which: bit i stands for operation i % 64 */
} MemCrash;

/* Makes @to what @d is after a crash right now; @seed chooses. */
void memdisk_crash(MemDisk *d, MemDisk *to, MemCrash how, uint64_t seed);

/* Called in front of each flush, while the unsynced operations are still that; NULL: none. */
void memdisk_on_sync(MemDisk *d, void (*cb)(MemDisk *d, void *opaque), void *opaque);

/* ---- faults ---- */

/* @bytes are free on the file system: who writes to a hole, or behind the end, when they are
 * used up gets ENOSPC, and discards free them again. < 0: no end of it. */
void memdisk_set_free_space(MemDisk *d, int64_t bytes);
int64_t memdisk_free_space(MemDisk *d);
/* A device: @bytes long for ever.  It can be truncated to less, which changes nothing. */
void memdisk_fix_length(MemDisk *d, int64_t bytes);

/* The operation after @after more of them fails with @error, and the one after that works again
 * (@sticky: does not).  Counts reads, writes, zeroes, discards, flushes and truncates. @after <
 * 0: never. */
void memdisk_fail(MemDisk *d, int64_t after, int error, bool sticky);
/* From now on writes that touch the range fail. */
void memdisk_set_bad(MemDisk *d, int64_t offset, int64_t bytes);

typedef enum MemFailure {
    MEM_FAILURE_NOTHING,            /* an operation that fails has done nothing */
    MEM_FAILURE_ALL,                /* what was asked for: only the answer was lost */
    MEM_FAILURE_TORN,               /* a write: some of its sectors */
    /*
     * A flush: some of what it covered was not written and never will be, though reads show it
     * still. As the file driver does then, all later flushes of the disk fail, too. Other
     * operations: as MEM_FAILURE_NOTHING.
     */
    MEM_FAILURE_DROPPED,
} MemFailure;

/* What operations that fail have done from now on. */
void memdisk_set_failure(MemDisk *d, MemFailure failure);
/* Operations so far. */
int64_t memdisk_operations(MemDisk *d);
/* Requests give way to other coroutines this often (0: never), so that they get mixed up. */
void memdisk_shuffle(MemDisk *d, unsigned one_in);

typedef struct MemCounts {
    unsigned reads, writes, zeroes, discards, flushes;
} MemCounts;

MemCounts memdisk_counts(MemDisk *d);

#endif
