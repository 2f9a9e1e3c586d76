/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Taking a job's filter out of the graph again: an action of the transaction that ends the job, or one
 * of its own where the job failed. */
#include "qemu/osdep.h"

#include "block/jobs/jobs-internal.h"
#include "qemu/log.h"

typedef struct FilterRemoval {
    BdrvAction action;
    BlockDriverState *filter;
    BdrvMove move;
    bool *removed;
} FilterRemoval;

static FilterRemoval *of(BdrvAction *a)
{
    return container_of(a, FilterRemoval, action);
}

static bool co_main_fn removal_prepare(BdrvAction *a, Error **errp)
{
    FilterRemoval *r = of(a);

    return bdrv_move_prepare(&r->move, r->filter, r->filter->file->bs, a->ops->holder, errp);
}

static void main_fn removal_commit(BdrvAction *a)
{
    bdrv_move_commit(&of(a)->move);
    *of(a)->removed = true;
}

static void co_main_fn removal_clean(BdrvAction *a)
{
    bdrv_move_clean(&of(a)->move);
}

static void co_main_fn removal_abort(BdrvAction *a)
{
    bdrv_move_abort(&of(a)->move);
}

static const BdrvActionOps removal_ops = {
    .holder        = "a job that ends",
    .instance_size = sizeof(FilterRemoval),
    .co_prepare    = removal_prepare,
    .commit        = removal_commit,
    .co_abort      = removal_abort,
    .co_clean      = removal_clean,
};

bool co_main_fn filter_removal_action_add(Transaction *t, BlockDriverState *filter,
                                          bool *removed, Error **errp)
{
    FilterRemoval *r = transaction_add(t, &removal_ops, g_strdup_printf(
        "take the filter '%s' away", filter->node_name));

    r->filter = filter;
    r->removed = removed;
    if (!transaction_pin(&r->action, filter, 0, errp)) {
        transaction_drop_last(t);
        return false;
    }
    return true;
}

/* ---- by itself ---- */

typedef struct Removal {
    BlockDriverState *filter;
    bool *removed;
} Removal;

static bool co_main_fn add_removal(Transaction *t, const void *args, Error **errp)
{
    const Removal *r = args;

    return filter_removal_action_add(t, r->filter, r->removed, errp);
}

bool co_main_fn job_remove_filter(const Job *job, BlockDriverState *filter)
{
    bool removed = false;
    Removal r = { filter, &removed };
    Error *err = NULL;

    if (!job_run_transaction(add_removal, &r, &err)) {
        log_line("job '%s' has ended, but its filter stays in front of '%s': %s", job->id,
                 filter->filename, error_get_pretty(err));
        error_free(err);
    }
    return removed;
}
