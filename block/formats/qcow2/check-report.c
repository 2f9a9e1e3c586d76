/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What all parts of the check need: reading, counting errors, progress. */
#include "qemu/osdep.h"

#include "check.h"

void any_fn qcow2_check_corrupt(Qcow2Check *c, const char *fmt, ...)
{
    if (!c->res->first) {
        va_list ap;
        va_start(ap, fmt);
        c->res->first = g_strdup_vprintf(fmt, ap);
        va_end(ap);
    }
    c->res->corruptions++;
}

bool co_fn qcow2_check_read(Qcow2Check *c, uint64_t offset, void *buf, size_t bytes,
                            const char *what)
{
    int ret = qcow2_read_table(c->bs, host_offset(offset), buf, bytes);

    if (ret < 0) {
        error_setg_errno(c->errp, -ret, "Cannot check '%s': reading %s at %" PRIu64,
                         qcow2_name(c->bs), what, offset);
    }
    return ret == 0;
}

void *any_fn qcow2_check_alloc(Qcow2Check *c, uint64_t bytes)
{
    void *buf = g_try_malloc(MAX(bytes, 1));

    if (!buf) {
        error_setg_errno(c->errp, ENOMEM, "Cannot check \'%s\'", qcow2_name(c->bs));
    }
    return buf;
}

bool co_fn qcow2_check_step(Qcow2Check *c)
{
    c->done++;
    if (c->progress && !c->progress->step(c->progress, c->done, MAX(c->total, c->done))) {
        error_setg(c->errp, "The check of '%s' was cancelled", qcow2_name(c->bs));
        return false;
    }
    if (c->refs.state == QCOW2_REFS_TOO_MANY) {
        error_setg(c->errp, "Cannot check '%s': it has too many clusters: more than %" PRId64
                   " MiB of memory are needed to count their references", qcow2_name(c->bs),
                   QCOW2_REFS_MAX_BYTES / MiB);
    } else if (c->refs.state == QCOW2_REFS_NO_MEMORY) {
        error_setg_errno(c->errp, ENOMEM, "Cannot check \'%s\'", qcow2_name(c->bs));
    }
    return c->refs.state == QCOW2_REFS_OK;
}

bool any_fn qcow2_check_is_counted(const Qcow2Check *c, uint64_t cluster)
{
    uint64_t block = cluster >> c->g->refblock_bits;

    return block < c->n_blocks && qcow2_check_block(c, block) != 0;
}
