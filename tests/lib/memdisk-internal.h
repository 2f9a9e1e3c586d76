/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What memdisk.c (content, crashes, what tests ask for) and memdisk-driver.c share. */
#ifndef TESTS_MEMDISK_INTERNAL_H
#define TESTS_MEMDISK_INTERNAL_H

#include "tests/lib/memdisk.h"

#define SECTOR 512
/* What space is given out in. */
#define BLOCK 4096

typedef struct Image {
    uint8_t *data;
    int64_t length, room;
} Image;

typedef enum OpKind { OP_WRITE, OP_ZERO, OP_TRUNCATE } OpKind;

typedef struct Op {
    OpKind kind;
    int64_t offset, bytes;          /* truncate: @offset is the new length */
    uint8_t *data;                  /* OP_WRITE */
} Op;

struct MemDisk {
    char *name;
    Image now;                      /* as read */
    Image synced;                   /* as a power cut leaves it at least */
    GPtrArray *ops;                 /* from @synced to @now */
    unsigned syncs;
    MemCounts counts;
    int64_t operations;
    int64_t max_bytes;
    bool fixed_length;
    int64_t free_blocks;            /* < 0: without end */
    GHashTable *blocks;             /* numbers of those that are not holes */
    int64_t fail_after;             /* < 0: never */
    int fail_error;
    bool fail_sticky;
    MemFailure failure;
    int flush_error;                /* -errno of a flush that dropped something, or 0 */
    int64_t bad_offset, bad_bytes;
    unsigned shuffle;
    uint64_t shuffle_state;
    void (*on_sync)(MemDisk *d, void *opaque);
    void *on_sync_opaque;
};

/* NULL: there is none of that name. */
MemDisk *memdisk_find(const char *name);
/* Deterministic. */
uint64_t memdisk_random(uint64_t *state);
void memdisk_image_apply(Image *im, const Op *op, int64_t from, int64_t bytes);
/* It happens now and is not synced. */
void memdisk_add_op(MemDisk *d, OpKind kind, int64_t offset, int64_t bytes, const IoVec *qiov);
/* Whole blocks of the range become holes. */
void memdisk_punch(MemDisk *d, int64_t offset, int64_t end);
/* Blocks for the range, all or none: 0 or -ENOSPC. */
int memdisk_take_space(MemDisk *d, int64_t offset, int64_t bytes);

#endif
