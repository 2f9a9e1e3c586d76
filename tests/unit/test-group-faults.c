/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * All or none, whatever fails: the n-th system call of a group snapshot fails, n = 1, 2, ... until
 * one runs through.  After each failure everything is as it was, and a repeat succeeds.
 */
#include "qemu/osdep.h"

#include "../lib/fault.h"
#include "../lib/group-rig.h"

#define DISKS 3
static const char *const formats[DISKS] = { "raw", "qcow2", "raw" };

typedef struct Before {
    char *files;
    int nodes, fds;
    BlockDriverState *bases[DISKS];
    int64_t places_held[DISKS];
} Before;

static Before *co_main_fn remember(Rig *r)
{
    Before *b = g_new0(Before, 1);

    b->files = rig_files(r);
    b->nodes = rig_count_nodes();
    b->fds = rig_open_fds();
    for (int i = 0; i < DISKS; i++) {
        b->bases[i] = blk_bs(rig_disk(r, i));
    }
    return b;
}

static void co_main_fn assert_unchanged(Rig *r, Before *b)
{
    g_autofree char *files = rig_files(r);

    g_assert_cmpstr(files, ==, b->files);
    g_assert_cmpint(rig_count_nodes(), ==, b->nodes);
    g_assert_cmpint(rig_open_fds(), ==, b->fds);
    for (int i = 0; i < DISKS; i++) {
        g_assert(blk_bs(rig_disk(r, i)) == b->bases[i]);
        g_assert(!b->bases[i]->read_only);
        g_assert(!b->bases[i]->backing);
    }
}

typedef struct Case {
    unsigned kinds;
    int error;
    bool sticky;
} Case;

/* One snapshot with the @nth call failing; returns whether it succeeded. */
static bool co_main_fn try_once(Rig *r, const Case *c, int nth, int generation)
{
    g_autofree Before *before = remember(r);
    Error *err = NULL;

    fault_arm(c->kinds, nth, c->error, c->sticky);
    bool ok = rig_snapshot(r, generation, &err);
    bool struck = fault_disarm();
    if (ok) {
        g_free(before->files);
        return !struck;             /* a failure that may be passed over: the base stays writable */
    }
    g_assert(struck);
    g_assert(error_get_member(err) && error_get_member(err)->index >= 0);
    g_assert(error_get_member(err)->index < DISKS);
    g_test_message("n = %d: %s", nth, error_get_pretty(err));
    error_free(err);
    assert_unchanged(r, before);
    g_free(before->files);
    return false;
}

static void co_main_fn case_entry(void *opaque)
{
    const Case *c = opaque;
    bool done = false;

    for (int nth = 1; !done; nth++) {
        Rig *r = rig_new(DISKS, formats, 4 * MiB);

        for (int i = 0; i < DISKS; i++) {
            rig_write(r, i, 65536 * i, 8192, 0x50 + i);
        }
        done = try_once(r, c, nth, 1);
        if (!done) {
            /* A failed fdatasync of a base is for ever: then there is nothing to repeat. */
            bool lost = c->kinds & FAULT_SYNC;
            if (!lost) {
                rig_snapshot(r, 2, &error_abort);
            }
        }
        for (int i = 0; i < DISKS; i++) {
            g_assert(rig_verify(r, i, 65536 * i, 8192, 0x50 + i));
            rig_write(r, i, 0, 512, 0x77);
        }
        rig_free(r);
        g_assert_cmpint(nth, <, 500);
    }
}

static void run_case(gconstpointer data)
{
    rig_run(case_entry, (void *)data);
}

int main(int argc, char **argv)
{
    static const Case cases[] = {
        { FAULT_OPEN, EMFILE, false }, { FAULT_OPEN, EACCES, true },
        { FAULT_WRITE, ENOSPC, false }, { FAULT_WRITE, EIO, true },
        { FAULT_SYNC, EIO, false }, { FAULT_SYNC, EIO, true },
        { FAULT_TRUNCATE, ENOSPC, false },
        { FAULT_READ, EIO, false }, { FAULT_READ, EIO, true },
        { FAULT_LOCK, EAGAIN, false },
    };
    static const char *const names[] = {
        "open-once", "open-for-ever", "write-once", "write-for-ever", "sync-once", "sync-for-ever",
        "truncate-once", "read-once", "read-for-ever", "lock-once",
    };

    g_setenv("QEMU_AIO", "threads", true);
    g_test_init(&argc, &argv, NULL);
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *path = g_strdup_printf("/group-faults/nothing-is-left-when-%s-fails",
                                                names[i]);
        g_test_add_data_func(path, &cases[i], run_case);
    }
    return g_test_run();
}
