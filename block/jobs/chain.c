/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Holding a part of a backing chain while its base is written. */
#include "qemu/osdep.h"

#include "block/actions.h"
#include "block/jobs/chain.h"
#include "qemu/log.h"

static BlockDriverState *main_fn below_filters(BlockDriverState *bs)
{
    while (bs && bs->drv->is_filter) {
        bs = bs->file->bs;
    }
    return bs;
}

BlockDriverState *main_fn job_next_image(BlockDriverState *bs)
{
    bs = below_filters(bs);
    return bs && bs->backing ? below_filters(bs->backing->bs) : NULL;
}

bool main_fn job_chain_has(BlockDriverState *bs, const BlockDriverState *base)
{
    do {
        bs = job_next_image(bs);
    } while (bs && bs != base);
    return bs != NULL;
}

static void co_main_fn seal(JobChain *c)
{
    for (guint i = 0; i < c->backing->len; i++) {
        BdrvLink *link = c->backing->pdata[i];
        bdrv_link_set_claims(link, CLAIM_READ, CLAIM_ALL & ~(CLAIM_WRITE | CLAIM_RESIZE), NULL);
    }
}

static void co_main_fn free_lists(JobChain *c)
{
    for (guint i = 0; i < c->backing->len; i++) {
        ((BdrvLink *)c->backing->pdata[i])->frozen--;
    }
    for (guint i = 0; i < c->links->len; i++) {
        bdrv_link_free(c->links->pdata[i]);
    }
    g_ptr_array_unref(c->links);
    g_ptr_array_unref(c->backing);
    g_clear_pointer(&c->reopened, g_ptr_array_unref);
    c->base = NULL;
}

/* The chain itself asks for nothing; the job lets nobody else read. */
static bool co_main_fn take_node(JobChain *c, const Job *job, BdrvLink *backing, Error **errp)
{
    bool is_base = backing->bs == c->base;
    unsigned allows = CLAIM_ALL & ~CLAIM_READ & ~CLAIM_PIVOT;

    if (!bdrv_link_set_claims(backing, CLAIM_NONE, CLAIM_ALL, errp)) {
        return false;
    }
    g_ptr_array_add(c->backing, backing);
    backing->frozen++;
    if (!is_base) {
        allows &= ~(CLAIM_WRITE | CLAIM_RESIZE);
    }
    BdrvLink *link = job_link(job, backing->bs, CLAIM_NONE, allows, errp);
    if (link) {
        g_ptr_array_add(c->links, link);
    }
    return link != NULL;
}

static bool co_main_fn make_base_writable(JobChain *c, Error **errp)
{
    g_autoptr(GPtrArray) stores = bdrv_stores(c->base), nodes = g_ptr_array_new();
    g_autoptr(GArray) changes = g_array_new(false, false, sizeof(BdrvReopen));

    for (guint i = 0; i < stores->len; i++) {
        BlockDriverState *bs = stores->pdata[i];
        if (bs->read_only) {
            BdrvReopen to = bdrv_reopen_same(bs);
            to.read_only = false;
            g_ptr_array_add(nodes, bs);
            g_array_append_val(changes, to);
        }
    }
    if (nodes->len == 0) {
        return true;
    }
    if (!bdrv_reopen_prepare(nodes, (BdrvReopen *)changes->data, errp)) {
        return false;
    }
    c->reopened = g_steal_pointer(&nodes);
    return true;
}

bool co_main_fn job_chain_prepare(JobChain *c, const Job *job, BlockDriverState *top,
                                  BlockDriverState *base, Error **errp)
{
    *c = (JobChain){ g_ptr_array_new(), g_ptr_array_new(), base, NULL };
    bool ok = true;

    for (BlockDriverState *bs = below_filters(top); ok && bs != base; ) {
        ok = take_node(c, job, bs->backing, errp);
        bs = below_filters(bs->backing->bs);
    }
    ok = ok && make_base_writable(c, errp);
    if (!ok) {
        seal(c);
        free_lists(c);
    }
    return ok;
}

void main_fn job_chain_commit(JobChain *c)
{
    if (c->reopened) {
        bdrv_reopen_commit(c->reopened);
    }
}

void co_main_fn job_chain_clean(JobChain *c)
{
    if (c->reopened) {
        bdrv_reopen_clean(c->reopened, NULL);
    }
}

void co_main_fn job_chain_abort(JobChain *c)
{
    if (!c->base) {
        return;
    }
    if (c->reopened) {
        bdrv_reopen_abort(c->reopened);
    }
    seal(c);
    free_lists(c);
}

/* Others may have begun to write to the base through the job's end: then it stays writable. */
static bool co_main_fn add_read_only(Transaction *t, const void *args, Error **errp)
{
    const JobChain *c = args;
    GPtrArray *nodes = g_ptr_array_new(), *options = g_ptr_array_new();
    GArray *changes = g_array_new(false, false, sizeof(BdrvReopen));

    for (guint i = 0; i < c->reopened->len; i++) {
        BdrvReopen to = bdrv_reopen_same(c->reopened->pdata[i]);
        to.read_only = true;
        g_ptr_array_add(nodes, c->reopened->pdata[i]);
        g_array_append_val(changes, to);
    }
    return reopen_action_add(t, nodes, changes, options, errp);
}

void co_main_fn job_chain_release(JobChain *c, bool merged)
{
    Error *err = NULL;

    if (!c->base) {
        return;
    }
    if (!merged && c->reopened && !job_run_transaction(add_read_only, c, &err)) {
        log_line("image '%s' stays writable after its job: %s", c->base->filename,
                 error_get_pretty(err));
        error_free(err);
    }
    /* What was merged reads as a mix, and stays so: the links of the chain go with it. */
    if (!merged) {
        seal(c);
    }
    free_lists(c);
}
