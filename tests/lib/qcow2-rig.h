/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A qcow2 image on a MemDisk, for unit tests. */
#ifndef TESTS_QCOW2_RIG_H
#define TESTS_QCOW2_RIG_H

#include "block/block.h"
#include "block/qcow2.h"
#include "tests/lib/memdisk.h"
#include "util/sanitizer.h"

/* Tests that go through all cases take every RIG_STRIDE-th where the address sanitizer makes each
 * of them ten times as long. */
#define RIG_STRIDE (SANITIZE_ADDRESS ? 8 : 1)

/* g_test_add_func() for a test that runs as a coroutine of the main thread. */
void rig_add(const char *path, void (*fn)(void));

/* Create options at their defaults: version 3, 64 KiB clusters, 16 bit refcounts. */
BdrvCreateOptions rig_create_options(int64_t size);
/* Aborts the test if it fails. */
void co_main_fn rig_create(MemDisk *d, const BdrvCreateOptions *opts);
bool co_main_fn rig_try_create(MemDisk *d, const BdrvCreateOptions *opts, Error **errp);

/* A big-endian number of the image, as memdisk_read() and memdisk_poke(). */
uint64_t rig_load64(MemDisk *d, int64_t offset);
void rig_poke64(MemDisk *d, int64_t offset, uint64_t value);

typedef struct RigOpen {
    bool read_only;
    int64_t cache_size;             /* 0: default */
    unsigned no_overlap_checks;     /* QCOW2_OL_ bits to leave out of all */
    bool lazy_refcounts;            /* as an option */
    bool for_check;                 /* damaged as it may be */
    bool keep_space;                /* pass-discard-request off */
    bool discard_other;             /* pass-discard-other */
    const char *snapshot;           /* is the disk */
    MemDisk *data_file;
    BdrvLink *backing;              /* its node is linked below */
} RigOpen;

BdrvLink *co_main_fn rig_try_open(MemDisk *d, const RigOpen *how, Error **errp);
BdrvLink *co_main_fn rig_open(MemDisk *d, const RigOpen *how);     /* NULL: defaults */
void co_main_fn rig_close(BdrvLink *link);

/* Aborts unless the image is free of corruptions; returns the leaks. */
uint64_t co_main_fn rig_check(BdrvLink *link);

void co_fn rig_write(BdrvLink *link, int64_t offset, int64_t bytes, uint8_t pattern);
void co_fn rig_zero(BdrvLink *link, int64_t offset, int64_t bytes, unsigned flags);
void co_fn rig_discard(BdrvLink *link, int64_t offset, int64_t bytes);
void co_fn rig_flush(BdrvLink *link);
/* Aborts unless every byte of the range is @pattern. */
void co_fn rig_expect(BdrvLink *link, int64_t offset, int64_t bytes, uint8_t pattern);

/* Deterministic random numbers. */
uint64_t rig_random(uint64_t *state);

#endif
