/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Metadata that makes no sense, found while the image is in use.
 *
 * (D1) From the moment at which it is found no request begins that would change the image; reads go
 *      on, and what was changed before still reaches the disk.
 * (D2) The image is marked as corrupt, so that the next program knows. It is told of once.
 *
 * The function that finds damage holds cache.lock and cannot wait: it notes the damage down, and
 * the operation that it is part of does the rest at its end.
 */
#include "qemu/osdep.h"

#include "block/corruption.h"
#include "qcow2.h"

int any_fn qcow2_note_damage(BlockDriverState *bs, uint64_t offset, uint64_t bytes,
                             const char *fmt, ...)
{
    Qcow2State *s = qcow2_state(bs);

    if (s->damage.text) {
        return -EIO;                /* one is enough */
    }
    va_list ap;
    va_start(ap, fmt);
    s->damage.text = g_strdup_vprintf(fmt, ap);
    va_end(ap);
    s->damage.offset = offset;
    s->damage.bytes = bytes;
    if (!bs->read_only) {
        __atomic_store_n(&s->damaged, true, __ATOMIC_RELEASE);      /* (D1) */
    }
    __atomic_store_n(&s->damage.noted, true, __ATOMIC_RELEASE);
    return -EIO;
}

void co_fn qcow2_report_damage(BlockDriverState *bs)
{
    Qcow2State *s = qcow2_state(bs);
    bool fatal = !bs->read_only;

    if (!__atomic_exchange_n(&s->damage.noted, false, __ATOMIC_ACQ_REL)) {
        return;                     /* somebody else does it */
    }
    if (fatal) {
        /* Where that fails the image is no worse off than before anybody knew. */
        qcow2_header_mark(bs, QCOW2_INCOMPAT_CORRUPT, 0);
    }
    bdrv_report_corruption(bs, s->damage.text, s->damage.offset, s->damage.bytes, fatal);
}

void any_fn qcow2_forget_damage(BlockDriverState *bs)
{
    Qcow2State *s = qcow2_state(bs);

    qcow2_lock(s);
    g_clear_pointer(&s->damage.text, g_free);
    __atomic_store_n(&s->damaged, false, __ATOMIC_RELEASE);
    qcow2_unlock(s);
}
