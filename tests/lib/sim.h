/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A simulated machine below the real code: from a seed, with virtual time and one thread.  The
 * calls that reach the kernel are wrapped at link time (sim_dep), so nothing above knows of it.
 * Thread backend only.
 *
 *   time      passes when nobody can go on, and then at once; the clock says so
 *   disk      every blocking call takes a random while, so that completions come in any order
 *   log       what was done to the files of one directory, and to their names
 *   faults    short transfers, a full disk, the n-th call failing
 *   power     every state of the files and names that a cut could have left, from the log
 *
 * (L1) A change is durable once a sync of the same file, or of the directory if it is one of names,
 *      that began after the change had ended has itself ended.
 *      A change of data that a sync dropped is never durable.
 * (L2) After a cut there is what was durable, and any choice of the other changes that had begun:
 *      each whole or not at all, or for writes any of their 512-byte sectors.  Those of one file
 *      that are there are applied in their order.
 */
#ifndef TESTS_SIM_H
#define TESTS_SIM_H

#include "qemu/osdep.h"

/* From now on calls are simulated; the files in the working directory are the disk, durable as they
 * are. */
void sim_start(uint64_t seed);
/* Back to the kernel and the real clock.  The log stays until the next start. */
void sim_stop(void);
/* Deterministic random numbers: one stream for the machine's own choices and the test's. */
uint64_t sim_random(void);

typedef enum SimPace {
    SIM_PACE_DISKS,                 /* each step takes the time of a disk; at the start */
    SIM_PACE_QUICK,                 /* ... or lets others run first, or takes some microseconds */
} SimPace;

/* How long the steps of blocking calls take from now on. Where they are quick, what others do
 * between two steps of somebody is found by choosing who goes on, not by waiting. */
void sim_set_pace(SimPace pace);
/* Microseconds or more pass, or nothing but turns of others. */
void co_fn sim_take_a_while(void);

/* ---- faults: while started ---- */

/* Every so-many-th transfer is a short one; 0: none. */
void sim_set_short_transfers(unsigned one_in);
/* The disk has room for files to grow by so many bytes; < 0: any. */
void sim_set_room(int64_t bytes);
/* The call (of those on files or names) after @after more fails with @error, once; @after < 0:
 * none. */
void sim_fail_call(int64_t after, int error);

typedef enum SimFailure {
    SIM_FAILURE_NOTHING,            /* a call that fails has done nothing; at the start */
    SIM_FAILURE_ALL,                /* ... what was asked, or a part of a write; not of names */
    SIM_FAILURE_DROPPED,            /* only syncs fail, and no later one covers what this one did */
} SimFailure;

/* What the call that fails has done. */
void sim_set_failure(SimFailure failure);

/* ---- the log ---- */

/* Something that the test wants to find in the log at this moment. */
void sim_note(uint64_t note);

/* A position in the log is before its first entry (0), between two, or behind the last
 * (sim_log_length()). */
guint sim_log_length(void);
/* Is the entry behind @pos a note? Its value. */
bool sim_log_note(guint pos, uint64_t *ret_note);
/* Does the entry behind @pos make something durable (the end of a sync), so that a cut here has the
 * most to choose from? */
bool sim_log_is_sync(guint pos);
/* The same run gives the same number. */
uint64_t sim_log_hash(void);

/* ---- power cuts ---- */

typedef enum SimCut {
    SIM_CUT_DROP,                   /* only what was durable */
    SIM_CUT_KEEP,                   /* all: the process died */
    SIM_CUT_SUBSET,                 /* any of the other changes */
    SIM_CUT_TORN,                   /* any of their sectors */
    SIM_CUT_KINDS
} SimCut;

typedef struct SimFile {
    uint8_t *data;
    int64_t length;
} SimFile;

/* name -> SimFile: what is found after a cut at @pos; @seed chooses.  Positions of successive calls
 * must not go down.  Caller unrefs. */
GHashTable *sim_cut(guint pos, SimCut how, uint64_t seed);

#endif
