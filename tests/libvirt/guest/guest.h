/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The program that is process 1 of the guest: it finds disks by their serial numbers, writes to
 * them without end, and does what it is told on a serial line.
 *
 * A writer's record @number goes to slot (number * STEP) mod slots of its disk, so that the newest
 * number tells what each slot has to hold.  Each record says what had been completed on all disks
 * when it was submitted; a set of images is one instant exactly if none of its records has seen
 * more of a disk than the disk's image holds.
 */
#ifndef GUEST_H
#define GUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { MAX_DISKS = 32, RECORD_SIZE = 4096, STEP = 1009 };

#define RECORD_MAGIC "guestrec"

struct record {
    char magic[8];
    uint32_t sum;               /* CRC-32 of what follows, to the end of the record */
    uint32_t index;             /* of the disk */
    uint64_t number;            /* from 1 */
    uint64_t seen[MAX_DISKS];   /* by index of the disk: the newest number that was completed */
    uint8_t body[RECORD_SIZE - 24 - 8 * MAX_DISKS];
};

/* What the kernel calls the disk with this serial number, without "/dev/"; false: none. */
bool disk_by_serial(const char *serial, char *name, size_t size);

/* Calls @fn(@opaque, serial, name, bytes) for each disk that has a serial number. */
void disks_each(void (*fn)(void *opaque, const char *serial, const char *name, uint64_t bytes),
                void *opaque);

/*
 * Starts the writer of a disk, which goes on after the newest record that is there.  @slots: how
 * many it goes round in; not a multiple of STEP.  @pause_us: between two writes.  NULL, or why not.
 */
const char *writer_start(const char *serial, unsigned index, uint64_t slots, unsigned pause_us);

/* Ends it and flushes the disk; NULL, or why not. */
const char *writer_stop(const char *serial);

/* What a writer has done.  @gap_us: the longest time between two completed writes since the last
 * call. */
struct writer_state {
    char serial[64];
    uint64_t number;
    unsigned errors;
    uint64_t gap_us;
};

/* The state of the @i-th writer that was ever started; false if there are not as many. */
bool writer_state(unsigned i, struct writer_state *state);

/* Stops all writers. */
void writers_stop(void);

#endif
