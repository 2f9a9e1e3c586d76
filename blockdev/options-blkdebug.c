/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The plain form of blkdebug's options. */
#include "qemu/osdep.h"

#include "block/blockdev.h"

static void add_inject_error(GPtrArray *rules, const BlkdebugInjectErrorOptions *q)
{
    BlkdebugRule *rule = g_new0(BlkdebugRule, 1);

    if (q->event != BLKDBG_NONE) {
        rule->event = g_strdup(BlkdebugEvent_str(q->event));
    }
    if (q->has_iotype) {
        rule->iotype = g_strdup(BlkdebugIOType_str(q->iotype));
    }
    rule->error = q->has_errno ? CLAMP(q->q_errno, 0, 4095) : EIO;
    rule->sector = q->has_sector && q->sector >= 0 && q->sector < INT64_MAX / 1024
                   ? q->sector : -1;
    rule->nth = q->has_nth ? MIN(q->nth, (uint64_t)INT64_MAX) : 0;
    rule->delay_ns = q->has_delay_ns ? MIN(q->delay_ns, (uint64_t)INT64_MAX) : 0;
    rule->once = q->has_once && q->once;
    rule->state = q->has_state ? CLAMP(q->state, 0, INT_MAX) : 0;
    g_ptr_array_add(rules, rule);
}

static void add_set_state(GPtrArray *rules, const BlkdebugSetStateOptions *q)
{
    BlkdebugRule *rule = g_new0(BlkdebugRule, 1);

    rule->event = g_strdup(BlkdebugEvent_str(q->event));
    rule->sector = -1;
    rule->state = q->has_state ? CLAMP(q->state, 0, INT_MAX) : 0;
    rule->new_state = CLAMP(q->new_state, 0, INT_MAX);
    g_ptr_array_add(rules, rule);
}

static unsigned claims_of(const BlockPermissionList *list)
{
    static const unsigned claims[BLOCK_PERMISSION__MAX] = {
        [BLOCK_PERMISSION_CONSISTENT_READ] = CLAIM_READ,
        [BLOCK_PERMISSION_WRITE]           = CLAIM_WRITE,
        [BLOCK_PERMISSION_WRITE_UNCHANGED] = CLAIM_WRITE_SAME,
        [BLOCK_PERMISSION_RESIZE]          = CLAIM_RESIZE,
    };
    unsigned sum = 0;

    for (; list; list = list->next) {
        sum |= claims[list->value];
    }
    return sum;
}

void any_fn blockdev_blkdebug_to_plain(const BlockdevOptionsBlkdebug *q, BdrvOpenOptions *o)
{
    for (BlkdebugInjectErrorOptionsList *l = q->inject_error; l; l = l->next) {
        add_inject_error(o->u.blkdebug.rules, l->value);
    }
    for (BlkdebugSetStateOptionsList *l = q->set_state; l; l = l->next) {
        add_set_state(o->u.blkdebug.rules, l->value);
    }
    BlkdebugOpenOptions *b = &o->u.blkdebug;
    b->config = q->config && *q->config ? g_strdup(q->config) : NULL;
    b->align = q->has_align ? q->align : 0;
    b->max_transfer = q->has_max_transfer ? q->max_transfer : 0;
    b->opt_write_zero = q->has_opt_write_zero ? q->opt_write_zero : 0;
    b->max_write_zero = q->has_max_write_zero ? q->max_write_zero : 0;
    b->opt_discard = q->has_opt_discard ? q->opt_discard : 0;
    b->max_discard = q->has_max_discard ? q->max_discard : 0;
    b->takes_claims = claims_of(q->take_child_perms);
    b->refuses_claims = claims_of(q->unshare_child_perms);
}
