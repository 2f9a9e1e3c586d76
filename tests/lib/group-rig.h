/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Disks in files of a temporary directory, in backends, for tests of the group snapshot. */
#ifndef TESTS_GROUP_RIG_H
#define TESTS_GROUP_RIG_H

#include "block/backend.h"
#include "block/snapshot.h"

typedef struct Rig {
    char *dir;
    GPtrArray *blks;                /* of BlockBackend "disk0", "disk1", ... */
} Rig;

/* @formats: "raw" or "qcow2", one a disk, of @bytes each. */
Rig *co_main_fn rig_new(int disks, const char *const *formats, int64_t bytes);
void co_main_fn rig_free(Rig *r);

BlockBackend *rig_disk(Rig *r, int i);
/* Name of the overlay file of generation @generation; valid until the next call with the same i %
 * 8. */
char *rig_overlay_name(Rig *r, int i, int generation);

/* Take a group snapshot of all disks with default names. */
bool co_main_fn rig_snapshot(Rig *r, int generation, Error **errp);

void co_fn rig_write(Rig *r, int i, int64_t offset, int64_t bytes, uint8_t pattern);
/* All bytes of the range are @pattern. */
bool co_fn rig_verify(Rig *r, int i, int64_t offset, int64_t bytes, uint8_t pattern);

/* Names of the files in the rig's directory, sorted, joined by spaces; caller frees. */
char *rig_files(Rig *r);
/* Open descriptors of this process. */
int rig_open_fds(void);
/* Nodes that exist. */
int main_fn rig_count_nodes(void);

/* Run @entry in a coroutine of the main loop; initialises the loop on first use. */
void rig_run(CoroutineEntry *entry, void *opaque);

#endif
