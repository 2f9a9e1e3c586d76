/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What all parts of the check need: reading, counting errors, progress. */
#include "qemu/osdep.h"

#include "check.h"

#define PIECE_BYTES (64 * KiB)

static bool is_followed(const Qcow2Check *c)
{
    return c->progress && c->progress->problem;
}

void any_fn qcow2_check_corrupt(Qcow2Check *c, const char *fmt, ...)
{
    c->res->corruptions++;
    if (c->res->first && !is_followed(c)) {
        return;                     /* there may be millions */
    }
    va_list ap;
    va_start(ap, fmt);
    g_autofree char *text = g_strdup_vprintf(fmt, ap);
    va_end(ap);
    if (is_followed(c)) {
        c->progress->problem(c->progress, BDRV_PROBLEM_CORRUPTION, c->fix == BDRV_FIX_ALL, text);
    }
    if (!c->res->first) {
        c->res->first = g_steal_pointer(&text);
    }
}

void any_fn qcow2_check_leak(Qcow2Check *c, uint64_t cluster, uint64_t count, uint32_t references)
{
    c->res->leaks++;
    if (is_followed(c)) {
        g_autofree char *text = g_strdup_printf("cluster %" PRIu64 " refcount=%" PRIu64
                                                " reference=%u", cluster, count, references);
        c->progress->problem(c->progress, BDRV_PROBLEM_LEAK, c->fix != BDRV_FIX_NONE, text);
    }
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

/* How many of @bytes at @offset are a hole or behind the end of the file, or 0. */
static uint64_t co_fn hole_bytes(Qcow2Check *c, uint64_t offset, uint64_t bytes)
{
    int64_t n;

    if (offset >= c->file_length) {
        return bytes;
    }
    int ret = bdrv_co_block_status(c->bs->file, offset, MIN(bytes, c->file_length - offset), 0,
                                   &n, NULL);
    return ret >= 0 && ret & BDRV_BLOCK_ZERO ? ROUND_DOWN(n, 8) : 0;
}

bool co_fn qcow2_check_entries(Qcow2Check *c, uint64_t offset, uint64_t entries,
                               void (*each)(Qcow2Check *c, uint64_t i, uint64_t entry),
                               const char *what)
{
    g_autofree uint8_t *piece = qcow2_check_alloc(c, PIECE_BYTES);
    uint64_t pos = 0, end = entries * 8;

    while (piece && pos < end) {
        uint64_t n = hole_bytes(c, offset + pos, end - pos);

        if (n == 0) {
            n = MIN(PIECE_BYTES, end - pos);
            if (!qcow2_check_read(c, offset + pos, piece, n, what)) {
                return false;
            }
            for (uint64_t i = 0; i < n; i += 8) {
                each(c, (pos + i) / 8, be64_load(piece + i));
            }
        }
        pos += n;
    }
    return piece != NULL;
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
    coroutine_reschedule();         /* everything else on this thread gets its turn */
    c->done++;
    if (c->progress && c->progress->step &&
        !c->progress->step(c->progress, c->done, MAX(c->total, c->done))) {
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
