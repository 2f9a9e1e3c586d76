/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Holding a part of a backing chain while a job works on it. */
#include "qemu/osdep.h"

#include "block/jobs/chain.h"

BlockDriverState *main_fn job_image(BlockDriverState *bs)
{
    while (bs && bs->drv->is_filter) {
        bs = bs->file ? bs->file->bs : NULL;
    }
    return bs;
}

BlockDriverState *main_fn job_next_image(BlockDriverState *bs)
{
    bs = job_image(bs);
    return bs && bs->backing ? job_image(bs->backing->bs) : NULL;
}

bool main_fn job_chain_has(BlockDriverState *bs, const BlockDriverState *base)
{
    do {
        bs = job_next_image(bs);
    } while (bs && bs != base);
    return bs != NULL;
}

/* ---- taking it ---- */

void main_fn job_chain_thaw(JobChain *c)
{
    for (guint i = 0; !c->thawed && i < c->frozen->len; i++) {
        ((BlockDriverState *)c->frozen->pdata[i])->backing_frozen--;
    }
    c->thawed = true;
}

void co_main_fn job_chain_give_claims_up(JobChain *c)
{
    for (guint i = 0; c->links && i < c->links->len; i++) {
        bdrv_link_set_claims(c->links->pdata[i], CLAIM_NONE, CLAIM_ALL, NULL);
    }
}

/* The chain's links ask for consistent data again. */
static void co_main_fn seal(JobChain *c)
{
    for (guint i = 0; c->spec.merges && i < c->frozen->len; i++) {
        BlockDriverState *bs = c->frozen->pdata[i];
        if (bs->backing) {
            bdrv_link_set_claims(bs->backing, CLAIM_READ,
                                 CLAIM_ALL & ~(CLAIM_WRITE | CLAIM_RESIZE), NULL);
        }
    }
}

/* @merged: what lies between has no user any more.  The job's own links keep readers out of there,
 * and nodes alive. */
static void co_main_fn give_back(JobChain *c, bool merged)
{
    job_chain_give_claims_up(c);
    if (!merged) {
        seal(c);
    }
    job_chain_thaw(c);
    for (guint i = 0; i < c->links->len; i++) {
        bdrv_link_free(c->links->pdata[i]);
    }
    g_clear_pointer(&c->links, g_ptr_array_unref);
    g_clear_pointer(&c->frozen, g_ptr_array_unref);
    g_clear_pointer(&c->reopened, g_ptr_array_unref);
}

static bool co_main_fn keep_node(JobChain *c, const Job *job, BlockDriverState *bs, unsigned allows,
                                 Error **errp)
{
    BdrvLink *own = job_link(job, bs, CLAIM_NONE, allows, errp);

    if (own) {
        g_ptr_array_add(c->links, own);
    }
    return own != NULL;
}

/* Perhaps through filters, which let the job's claims pass. */
static bool main_fn leads_to(const BdrvLink *link, const BlockDriverState *bs)
{
    return link->bs == bs || job_image(link->bs) == bs;
}

/* The backing link of @bs, which is kept, and the node that it leads to. */
static bool co_main_fn take_link(JobChain *c, const Job *job, BlockDriverState *bs, Error **errp)
{
    BdrvLink *link = bs->backing;
    unsigned allows = CLAIM_ALL & ~CLAIM_PIVOT;
    bool mixed = c->spec.merges && !leads_to(link, c->spec.top);

    link->tolerant &= !mixed;       /* its claims are the job's to say */
    if (mixed && !bdrv_link_set_claims(link, CLAIM_NONE, CLAIM_ALL, errp)) {
        return false;
    }
    g_ptr_array_add(c->frozen, bs);
    bs->backing_frozen++;
    if (mixed) {
        allows &= ~CLAIM_READ;
    }
    if (!c->spec.merges || !leads_to(link, c->spec.base)) {
        allows &= ~(CLAIM_WRITE | CLAIM_RESIZE);
    }
    return keep_node(c, job, link->bs, allows, errp);
}

/* The image that the job writes to, if it is not the base: no other may come in front of it. */
static bool co_main_fn keep_writable(JobChain *c, const Job *job, Error **errp)
{
    return !c->spec.writable ||
           keep_node(c, job, c->spec.writable, CLAIM_ALL & ~CLAIM_PIVOT, errp);
}

static bool co_main_fn take_nodes(JobChain *c, const Job *job, Error **errp)
{
    BlockDriverState *bs = job_image(c->spec.above ?: c->spec.top);

    if (!keep_node(c, job, bs, CLAIM_ALL, errp)) {
        return false;
    }
    while (bs != c->spec.base && bs->backing) {
        if (!take_link(c, job, bs, errp)) {
            return false;
        }
        /* Filters between two images are kept by what is above them: nobody exchanges links. */
        bs = job_image(bs->backing->bs);
        if (!keep_node(c, job, bs, CLAIM_ALL, errp)) {
            return false;
        }
    }
    return true;
}

/* What stores @bs, as far as it is read-only, is to be writable. */
static void main_fn add_writable(BlockDriverState *bs, GPtrArray *nodes, GArray *changes)
{
    g_autoptr(GPtrArray) stores = bs ? bdrv_stores(bs) : g_ptr_array_new();

    for (guint i = 0; i < stores->len; i++) {
        bs = stores->pdata[i];
        if (bs->read_only) {
            BdrvReopen to = bdrv_reopen_same(bs);
            to.read_only = false;
            g_ptr_array_add(nodes, bs);
            g_array_append_val(changes, to);
        }
    }
}

static bool co_main_fn make_writable(JobChain *c, Error **errp)
{
    g_autoptr(GPtrArray) nodes = g_ptr_array_new();
    g_autoptr(GArray) changes = g_array_new(false, false, sizeof(BdrvReopen));

    add_writable(c->spec.writable, nodes, changes);
    if (c->spec.merges) {
        add_writable(c->spec.base, nodes, changes);
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

bool co_main_fn job_chain_prepare(JobChain *c, const Job *job, const JobChainSpec *spec,
                                  Error **errp)
{
    *c = (JobChain){ .spec = *spec, .links = g_ptr_array_new(), .frozen = g_ptr_array_new() };
    if (take_nodes(c, job, errp) && keep_writable(c, job, errp) && make_writable(c, errp)) {
        return true;
    }
    give_back(c, false);
    return false;
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
    if (!c->links) {
        return;
    }
    if (c->reopened) {
        bdrv_reopen_abort(c->reopened);
    }
    give_back(c, false);
}

bool co_main_fn job_chain_pin(BdrvAction *a, const JobChainSpec *spec, Error **errp)
{
    for (BlockDriverState *bs = spec->above ?: spec->top; bs; bs = job_next_image(bs)) {
        if (!transaction_pin(a, bs, 0, errp)) {
            return false;
        }
        if (bs == spec->base) {
            break;
        }
    }
    return true;
}

void co_main_fn job_chain_drop(JobChain *c, bool merged)
{
    give_back(c, merged);
}
