/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How a job leaves the chain that it worked on. */
#include "qemu/osdep.h"

#include "block/actions.h"
#include "block/jobs/chain.h"
#include "qemu/log.h"

/* ---- the base's length ---- */

typedef struct Growth {
    BlockDriverState *bs;
    int64_t length;
} Growth;

static bool co_main_fn add_growth(Transaction *t, const void *args, Error **errp)
{
    const Growth *g = args;

    return resize_action_add(t, g->bs, g->length, errp);
}

bool co_main_fn job_chain_grow_base(JobChain *c, int64_t length, Error **errp)
{
    Growth g = { c->spec.base, length };

    return bdrv_length(g.bs) >= length || job_run_transaction(add_growth, &g, errp);
}

/* ---- changing it ---- */

/* A list of changes of nodes, which the action takes. */
typedef struct Changes {
    GPtrArray *nodes, *options;
    GArray *changes;
} Changes;

static Changes changes_new(void)
{
    return (Changes){ g_ptr_array_new(), g_ptr_array_new(),
                      g_array_new(false, false, sizeof(BdrvReopen)) };
}

static BdrvReopen *main_fn change_of(Changes *ch, BlockDriverState *bs)
{
    guint i;

    if (!g_ptr_array_find(ch->nodes, bs, &i)) {
        BdrvReopen same = bdrv_reopen_same(bs);
        i = ch->nodes->len;
        g_ptr_array_add(ch->nodes, bs);
        g_array_append_val(ch->changes, same);
    }
    return &g_array_index(ch->changes, BdrvReopen, i);
}

static void main_fn add_read_only_again(const JobChain *c, Changes *ch)
{
    for (guint i = 0; c->reopened && i < c->reopened->len; i++) {
        change_of(ch, c->reopened->pdata[i])->read_only = true;
    }
}

/* From now on only the graph of the transaction itself changes. */
static void co_main_fn let_change(JobChain *c)
{
    job_chain_thaw(c);
    job_chain_give_claims_up(c);
}

bool co_main_fn job_chain_add_finish(JobChain *c, Transaction *t, BlockDriverState *bs,
                                     BlockDriverState *base, const char *name,
                                     const char *format, Error **errp)
{
    Changes ch = changes_new();
    BdrvReopen *change = change_of(&ch, bs);

    let_change(c);
    if ((bs->backing ? bs->backing->bs : NULL) != base) {
        change->backing = (BdrvChildChange){ .replaces = true, .bs = base };
    }
    add_read_only_again(c, &ch);
    return reopen_action_add(t, ch.nodes, ch.changes, ch.options, errp) &&
           backing_name_action_add(t, bs, name, format, errp);
}

void main_fn job_chain_keep_writable(JobChain *c)
{
    g_clear_pointer(&c->reopened, g_ptr_array_unref);
}

static bool co_main_fn add_read_only(Transaction *t, const void *args, Error **errp)
{
    Changes ch = changes_new();

    add_read_only_again(args, &ch);
    return reopen_action_add(t, ch.nodes, ch.changes, ch.options, errp);
}

void co_main_fn job_chain_release(JobChain *c, bool merged)
{
    Error *err = NULL;

    if (!c->links) {
        return;
    }
    if (c->reopened && !job_run_transaction(add_read_only, c, &err)) {
        BlockDriverState *first = c->reopened->pdata[0];
        log_line("image '%s' stays writable after its job: %s", first->filename,
                 error_get_pretty(err));
        error_free(err);
    }
    job_chain_drop(c, merged);
}
