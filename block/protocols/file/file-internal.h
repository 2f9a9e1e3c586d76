/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The state of a node of the file and host_device drivers, for the files in block/protocols/file/.
 */
#ifndef BLOCK_FILE_INTERNAL_H
#define BLOCK_FILE_INTERNAL_H

#include "block/driver.h"
#include "qemu/aio.h"

/* How a descriptor behaves; see traits.c. */
typedef struct FileTraits {
    BdrvLimits limits;
    bool is_local;                  /* requests wait for disks of this machine and nobody else */
    bool bypasses_cache;            /* O_DIRECT, and that is what it does */
    int64_t block_size;             /* bytes; a part of one is changed in memory */
} FileTraits;

typedef struct FileState {
    int fd;
    int aio_flags;                  /* AIO_THREADS, and AIO_SLOW where @traits say so */
    CoLimit waiting;                /* requests that occupy a thread, ours or the kernel's */
    CoLimit changing;               /* those of them that file_enter_change() lets in */
    bool is_device;
    BdrvFileId id;
    FileTraits traits;              /* of @fd */
    int tail_fd;                    /* the same file without O_DIRECT, -1: not needed yet; atomic */
    bool lacks_zero_range, lacks_punch_hole;    /* learnt from EOPNOTSUPP; relaxed atomics */
    bool used_cache;                /* atomic: something used the page cache since the last sync */
    bool interrupted;               /* preallocations end; main thread */
    int flush_error;                /* atomic: once a sync failed that may have dropped something
                                     * from the page cache, data may be gone for good: the errno
                                     * of that failure, returned by every later flush */

    /* block/protocols/file/allocated.c */
    int64_t allocated;              /* bytes that it occupies, as known last; atomic */
    int64_t look_began_ns;          /* a thread is looking since then; 0: none is */
    Coroutine *look_waiter;         /* a change of @fd, until that thread is done */

    /* Byte-range locks (block/protocols/file/lock.c): bit i: byte 100 + i, bit 16 + i: byte 200 +
     * i. */
    bool locking;
    unsigned locked;                /* held on @fd, as committed */
    unsigned new_locked;            /* being prepared: @locked plus what is new */
    unsigned goal;                  /* what the commit leaves */

    /* Being reopened (block/protocols/file/reopen.c). */
    int new_fd;                     /* prepared, -1: none */
    bool new_read_only;             /* with it */
    FileTraits new_traits;          /* with it */
    int old_fd, old_tail_fd;        /* to be closed in clean, -1: none */
} FileState;

#define FILE_STATE(bs) ((FileState *)(bs)->opaque)

bool co_main_fn file_claims_prepare(BlockDriverState *bs, unsigned needs, unsigned allows,
                                    Error **errp);
void co_main_fn file_claims_commit(BlockDriverState *bs);
void co_main_fn file_claims_abort(BlockDriverState *bs);
bool main_fn file_get_locks(BlockDriverState *bs, unsigned *ret_needs, unsigned *ret_refuses);
/*
 * The locks for a second description of the file: if it is read-only those of a reader that lets
 * nobody write, else those that are held.  Taken without looking at others, whom the first one
 * keeps out; 0 or -errno.
 */
int blocking_fn file_take_locks_on(const FileState *s, int fd, bool read_only);
/* What a description that has @locked has when it is open again. */
unsigned any_fn file_locks_after_reopen(unsigned locked, bool read_only);

bool co_main_fn file_reopen_prepare(BlockDriverState *bs, const BdrvReopen *to, Error **errp);
void main_fn file_reopen_commit(BlockDriverState *bs, const BdrvReopen *to);
void co_main_fn file_reopen_abort(BlockDriverState *bs);
void co_main_fn file_reopen_clean(BlockDriverState *bs);

/* aio=native is only for files that bypass the page cache. */
bool any_fn file_check_native(FileAio aio, bool cache_direct, Error **errp);

int co_fn file_co_preadv(BlockDriverState *bs, int64_t offset, int64_t bytes, IoVec *qiov);
int co_fn file_co_pwritev(BlockDriverState *bs, int64_t offset, int64_t bytes, IoVec *qiov,
                          unsigned flags);
int co_fn file_co_flush(BlockDriverState *bs, unsigned flags);
int co_fn file_co_pwrite_zeroes(BlockDriverState *bs, int64_t offset, int64_t bytes,
                                unsigned flags);
int co_fn file_co_pdiscard(BlockDriverState *bs, int64_t offset, int64_t bytes);
int co_fn file_co_block_status(BlockDriverState *bs, int64_t offset, int64_t bytes,
                               int64_t *ret_bytes);
bool co_fn file_co_truncate(BlockDriverState *bs, int64_t length, BdrvPrealloc prealloc,
                            Error **errp);
bool any_fn file_truncated_is_zero(const BlockDriverState *bs);
void main_fn file_interrupt(BlockDriverState *bs, bool on);
int co_fn file_co_extend(BlockDriverState *bs, int64_t length);
int64_t co_fn file_co_getlength(BlockDriverState *bs);

/* Runs a blocking_fn that never waits for long where the file system is a local one: only elsewhere
 * by a thread.  Returns what it returns. */
int co_fn file_run(const FileState *s, int (*fn)(void *opaque), void *opaque);
/* Close descriptors by a thread: the last close of a file may have to write, or to free its blocks.
 * -1: none. */
void co_fn file_close_fds(int fd, int fd2);
int co_fn file_close_fd(int fd);                    /* the same for one; 0 or -errno */

/*
 * Around a request that has a thread, ours or the kernel's, wait for the disk or the file system:
 * of those a file has so many at a time, and others can have the rest even if none of them returns.
 * @kernel_waits: with io_uring, too.  Returns whether file_leave() is to be called.
 */
bool co_fn file_enter(FileState *s, bool kernel_waits);
void co_fn file_leave(FileState *s, bool entered);
/* The same around a change of the file.  @cached: in the page cache, or of the file's blocks. */
void co_fn file_enter_change(FileState *s, bool cached);
void co_fn file_leave_change(FileState *s, bool cached);

int64_t main_fn file_get_allocated(BlockDriverState *bs);
bool main_fn file_refresh_allocated(BlockDriverState *bs, bool begin);
/* Before the descriptor is closed. */
void co_main_fn file_finish_look(FileState *s);

/* A change of [@offset, @offset + @bytes) without writing: a part of a block is changed in the page
 * cache. */
void any_fn file_note_cached(FileState *s, int64_t offset, int64_t bytes);

/* Length of an open file or block device in bytes, or -errno. */
int64_t blocking_fn file_fd_length(int fd);
/* @direct: @fd has O_DIRECT. */
void blocking_fn file_get_traits(int fd, const struct stat *st, bool direct, FileTraits *t);

#endif
