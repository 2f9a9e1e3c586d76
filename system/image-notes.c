/* SPDX-License-Identifier: GPL-2.0-or-later */
/* QEMU says on standard output which images its commands make, and scripts compare it. */
#include "qemu/osdep.h"

#include "block/new-file.h"
#include "block/snapshot.h"
#include "system.h"

static void print_qcow2(const Qcow2CreateOptions *q, int64_t size)
{
    printf("cluster_size=%" PRId64 " extended_l2=%s compression_type=%s size=%" PRId64,
           (int64_t)q->cluster_size, q->extended_l2 ? "on" : "off", "zlib", size);
    if (q->backing_file) {
        printf(" backing_file=%s", q->backing_file);
    }
    if (q->backing_fmt) {
        printf(" backing_fmt=%s", q->backing_fmt);
    }
    printf(" lazy_refcounts=%s refcount_bits=%d\n", q->lazy_refcounts ? "on" : "off",
           q->refcount_bits);
}

static void main_fn note(const char *filename, const char *format, const BdrvCreateOptions *create)
{
    printf("Formatting '%s', fmt=%s ", filename, format);
    if (strcmp(format, "qcow2") == 0) {
        print_qcow2(&create->u.qcow2, create->size);
    } else {
        printf("size=%" PRId64 "\n", create->size);
    }
    fflush(stdout);
}

/* Overlays have the layout of QEMU's, unless the command asks for another one. */
void main_fn system_init_images(void)
{
    const SnapshotLayout layout = { .cluster_size = 64 * KiB, .has_extended_l2 = true };

    snapshot_set_layout(&layout, &error_abort);
    new_file_note = note;
}
