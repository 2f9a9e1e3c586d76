/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which tables guests have made since a snapshot in the making froze the map.
 *
 * (I5) From the first freeze of a draft on, until it is taken or given up, an L2 table is written
 *      to only if it was made since the last freeze (qcow2_l1_is_writable()).  So what a table had
 *      at the freeze it has for ever, and its references can be raised while guests run.
 * (I6) What was raised is exactly what draft->l1 and draft->orphans lead to: a table that is
 *      replaced after it was raised goes from the one to the other in the same moment.
 */
#include "qemu/osdep.h"

#include "snapshot.h"

void any_fn qcow2_draft_note_table(Qcow2State *s, uint32_t index)
{
    Qcow2Draft *d = s->draft;

    if (!d || !d->frozen) {
        return;
    }
    if (!d->fresh[index]) {
        d->fresh[index] = true;
        g_array_append_val(d->fresh_list, index);
    }
    if (d->l1[index]) {
        g_array_append_val(d->orphans, d->l1[index]);
        d->l1[index] = 0;
    }
}

bool any_fn qcow2_draft_allows(const Qcow2Draft *d, uint32_t index)
{
    return !d->frozen || d->fresh[index];
}

/* L1 tables with more entries are not looked through. */
#define MAX_ENTRIES 4096

void any_fn qcow2_draft_assert(Qcow2State *s)
{
    const Qcow2Draft *d = s->draft;
    guint fresh = 0;

    if (!d || !d->frozen || d->l1_size > MAX_ENTRIES) {
        return;
    }
    assert(!d->taken && d->l1_size == s->l1_size);
    for (uint32_t i = 0; i < d->l1_size; i++) {
        fresh += d->fresh[i];
        assert(!d->fresh[i] || !d->l1[i]);          /* (I6) */
    }
    assert(fresh == d->fresh_list->len);            /* (I5): the next freeze finds them all */
}

/* The core holds the whole node: no request is between reserving and linking. */
uint64_t any_fn qcow2_snapshot_freeze(BlockDriverState *bs)
{
    Qcow2State *s = qcow2_state(bs);
    Qcow2Draft *d = s->draft;

    qcow2_lock(s);
    for (guint i = 0; i < d->fresh_list->len; i++) {
        uint32_t index = g_array_index(d->fresh_list, uint32_t, i);

        d->fresh[index] = false;
        g_array_append_val(d->unraised, index);
    }
    g_array_set_size(d->fresh_list, 0);
    bool first = !d->frozen;
    d->frozen = true;
    uint64_t n = first ? d->l1_size : d->unraised->len;
    qcow2_unlock(s);
    return n;
}
