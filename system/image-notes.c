/* SPDX-License-Identifier: GPL-2.0-or-later */
/* QEMU says on standard output which images its commands make, and scripts compare it. */
#include "qemu/osdep.h"

#include "block/new-file.h"
#include "block/snapshot.h"
#include "monitor/monitor.h"
#include "system.h"

static void append_qcow2(GString *text, const Qcow2CreateOptions *q, int64_t size)
{
    g_string_append_printf(text, "cluster_size=%" PRId64 " extended_l2=%s compression_type=zlib "
                           "size=%" PRId64, (int64_t)q->cluster_size,
                           q->extended_l2 ? "on" : "off", size);
    if (q->backing_file) {
        g_string_append_printf(text, " backing_file=%s", q->backing_file);
    }
    if (q->backing_fmt) {
        g_string_append_printf(text, " backing_fmt=%s", q->backing_fmt);
    }
    g_string_append_printf(text, " lazy_refcounts=%s refcount_bits=%d\n",
                           q->lazy_refcounts ? "on" : "off", q->refcount_bits);
}

static void main_fn note(const char *filename, const char *format, const BdrvCreateOptions *create)
{
    g_autoptr(GString) text = g_string_new(NULL);

    g_string_append_printf(text, "Formatting '%s', fmt=%s ", filename, format);
    if (strcmp(format, "qcow2") == 0) {
        append_qcow2(text, &create->u.qcow2, create->size);
    } else {
        g_string_append_printf(text, "size=%" PRId64 "\n", create->size);
    }
    monitor_print(false, text->str);
}

/* Overlays have the layout of QEMU's, unless the command asks for another one. */
void main_fn system_init_images(void)
{
    const SnapshotLayout layout = { .cluster_size = 64 * KiB, .has_extended_l2 = true };

    snapshot_set_layout(&layout, &error_abort);
    new_file_note = note;
}
