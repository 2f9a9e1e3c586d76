/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * blkdebug: passes everything to its file, and fails or delays what its rules say: on a named event
 * of the format above, or on a kind of request, at the n-th match, once or always.
 */
#include "qemu/osdep.h"

#include "block/claims.h"
#include "qemu/aio.h"

typedef struct RuleState {
    const BlkdebugRule *rule;
    int64_t matches;
    bool spent;
} RuleState;

typedef struct BlkdebugState {
    pthread_mutex_t lock;                    /* guards all below */
    int64_t align;                  /* as it was opened */
    GPtrArray *rules;               /* of BlkdebugRule: own copies */
    GArray *states;                 /* of RuleState, one a rule */
    int state;                      /* of the state machine, from 1 */
    int armed_error;                /* an event struck: the next request fails so, or 0 */
} BlkdebugState;

/* ---- options ---- */

void any_fn blkdebug_rule_free(void *opaque)
{
    BlkdebugRule *rule = opaque;

    g_free(rule->event);
    g_free(rule->iotype);
    g_free(rule);
}

static void blkdebug_options_init(BdrvOpenOptions *opts)
{
    opts->u.blkdebug.rules = g_ptr_array_new_with_free_func(blkdebug_rule_free);
}

static void blkdebug_options_clear(BdrvOpenOptions *opts)
{
    g_ptr_array_unref(opts->u.blkdebug.rules);
}

/* ---- rules ---- */

static BlkdebugRule *rule_copy(const BlkdebugRule *rule)
{
    BlkdebugRule *copy = g_memdup2(rule, sizeof(*rule));

    copy->event = g_strdup(rule->event);
    copy->iotype = g_strdup(rule->iotype);
    return copy;
}

/* Counts a match; does the rule strike now?  Lock held. */
static bool rule_strikes(BlkdebugState *s, RuleState *rs)
{
    const BlkdebugRule *r = rs->rule;

    if (rs->spent || (r->state && r->state != s->state)) {
        return false;
    }
    rs->matches++;
    if (r->nth && rs->matches != r->nth) {
        return false;
    }
    rs->spent = r->once;
    if (r->new_state) {
        s->state = r->new_state;
    }
    return true;
}

static bool touches_sector(const BlkdebugRule *r, int64_t offset, int64_t bytes)
{
    int64_t at = r->sector * 512;

    return r->sector < 0 || (at < offset + bytes && at + 512 > offset);
}

/* What the rules make of a request: 0 or -errno, after the delay they ask for. */
static int co_fn apply_rules(BlockDriverState *bs, const char *iotype, int64_t offset,
                             int64_t bytes)
{
    BlkdebugState *s = bs->opaque;
    int64_t delay_ns = 0;
    int error;

    pthread_mutex_lock(&s->lock);
    error = s->armed_error;
    s->armed_error = 0;
    for (guint i = 0; i < s->states->len; i++) {
        RuleState *rs = &g_array_index(s->states, RuleState, i);
        const BlkdebugRule *r = rs->rule;
        if (!r->event && (!r->iotype || strcmp(r->iotype, iotype) == 0) &&
            touches_sector(r, offset, bytes) && rule_strikes(s, rs)) {
            delay_ns += r->delay_ns;
            error = error ?: r->error;
        }
    }
    pthread_mutex_unlock(&s->lock);
    if (delay_ns) {
        aio_co_sleep_ns(delay_ns);
    }
    return -error;
}

static void co_fn blkdebug_event(BlockDriverState *bs, const char *event)
{
    BlkdebugState *s = bs->opaque;
    int64_t delay_ns = 0;

    pthread_mutex_lock(&s->lock);
    for (guint i = 0; i < s->states->len; i++) {
        RuleState *rs = &g_array_index(s->states, RuleState, i);
        const BlkdebugRule *r = rs->rule;
        if (r->event && strcmp(r->event, event) == 0 && rule_strikes(s, rs)) {
            delay_ns += r->delay_ns;
            if (r->error) {
                s->armed_error = r->error;
            }
        }
    }
    pthread_mutex_unlock(&s->lock);
    if (delay_ns) {
        aio_co_sleep_ns(delay_ns);
    }
}

/* ---- the driver ---- */

static bool co_main_fn blkdebug_open(BlockDriverState *bs, const BdrvOpenOptions *opts,
                                     Error **errp)
{
    BlkdebugState *s = bs->opaque;
    const BlkdebugOpenOptions *o = &opts->u.blkdebug;

    if (o->align && (!IS_POWER_OF_2(o->align) || o->align > INT32_MAX)) {
        error_setg(errp, "Cannot meet constraints with align %" PRId64, o->align);
        return false;
    }
    pthread_mutex_init(&s->lock, NULL);
    s->state = 1;
    s->align = o->align;
    s->rules = g_ptr_array_new_with_free_func(blkdebug_rule_free);
    s->states = g_array_new(false, true, sizeof(RuleState));
    for (guint i = 0; i < o->rules->len; i++) {
        RuleState rs = { .rule = rule_copy(o->rules->pdata[i]) };
        g_ptr_array_add(s->rules, (void *)rs.rule);
        g_array_append_val(s->states, rs);
    }
    bs->length = bdrv_length(bs->file->bs);
    bs->limits = bs->file->bs->limits;
    bs->limits.native_fua = false;      /* a FUA write is a write and a flush to the rules */
    if (o->align) {
        bs->limits.request_alignment = MAX(o->align, bs->limits.request_alignment);
    }
    return true;
}

static bool same_rules(const GPtrArray *a, const GPtrArray *b)
{
    for (guint i = 0; a->len == b->len && i < a->len; i++) {
        const BlkdebugRule *x = a->pdata[i], *y = b->pdata[i];
        if (g_strcmp0(x->event, y->event) != 0 || g_strcmp0(x->iotype, y->iotype) != 0 ||
            x->error != y->error || x->sector != y->sector || x->nth != y->nth ||
            x->delay_ns != y->delay_ns || x->once != y->once || x->state != y->state ||
            x->new_state != y->new_state) {
            return false;
        }
    }
    return a->len == b->len;
}

static bool co_main_fn blkdebug_reopen_prepare(BlockDriverState *bs, const BdrvReopen *to,
                                               Error **errp)
{
    const BlkdebugState *s = bs->opaque;
    const BlkdebugOpenOptions *o = to->options ? &to->options->u.blkdebug : NULL;
    const char *what = to->file.replaces           ? "image" :
                       o && o->align != s->align ? "align" : NULL;

    if (what) {
        error_setg(errp, "Cannot change the option '%s'", what);
        return false;
    }
    if (o && !same_rules(o->rules, s->rules)) {
        error_setg(errp, "Cannot change the options 'inject-error' and 'set-state' of node '%s'",
                   bs->node_name);
        return false;
    }
    return true;
}

static int co_main_fn blkdebug_close(BlockDriverState *bs)
{
    BlkdebugState *s = bs->opaque;

    pthread_mutex_destroy(&s->lock);
    g_array_unref(s->states);
    g_ptr_array_unref(s->rules);
    return 0;
}

static int co_fn blkdebug_preadv(BlockDriverState *bs, int64_t offset, int64_t bytes, IoVec *qiov)
{
    int ret = apply_rules(bs, "read", offset, bytes);

    return ret ?: bdrv_co_preadv(bs->file, offset, bytes, qiov);
}

static void note_length(BlockDriverState *bs)
{
    __atomic_store_n(&bs->length, bdrv_length(bs->file->bs), __ATOMIC_RELAXED);
}

static int co_fn blkdebug_pwritev(BlockDriverState *bs, int64_t offset, int64_t bytes,
                                  IoVec *qiov, unsigned flags)
{
    int ret = apply_rules(bs, "write", offset, bytes);

    ret = ret ?: bdrv_co_pwritev(bs->file, offset, bytes, qiov, flags);
    note_length(bs);
    return ret;
}

static int co_fn blkdebug_pwrite_zeroes(BlockDriverState *bs, int64_t offset, int64_t bytes,
                                        unsigned flags)
{
    int ret = apply_rules(bs, "write-zeroes", offset, bytes);

    ret = ret ?: bdrv_co_pwrite_zeroes(bs->file, offset, bytes, flags);
    note_length(bs);
    return ret;
}

static int co_fn blkdebug_pdiscard(BlockDriverState *bs, int64_t offset, int64_t bytes)
{
    int ret = apply_rules(bs, "discard", offset, bytes);

    return ret ?: bdrv_co_pdiscard(bs->file, offset, bytes);
}

static int co_fn blkdebug_flush(BlockDriverState *bs, unsigned flags)
{
    int ret = apply_rules(bs, "flush", 0, INT64_MAX);

    return ret ?: bdrv_co_flush(bs->file, flags);
}

static int co_fn blkdebug_block_status(BlockDriverState *bs, int64_t offset, int64_t bytes,
                                       int64_t *ret_bytes)
{
    int ret = apply_rules(bs, "block-status", offset, bytes);

    if (ret < 0) {
        return ret;
    }
    ret = bdrv_co_block_status(bs->file, offset, bytes, 0, ret_bytes, NULL);
    return ret < 0 ? ret : (ret & BDRV_BLOCK_DATA ? BDRV_STATUS_DATA : 0) |
                           (ret & BDRV_BLOCK_ZERO ? BDRV_STATUS_ZERO : 0);
}

static int co_fn blkdebug_extend(BlockDriverState *bs, int64_t length)
{
    int ret = apply_rules(bs, "truncate", 0, INT64_MAX);

    ret = ret ?: bdrv_co_extend(bs->file, length);
    note_length(bs);
    return ret;
}

static bool co_fn blkdebug_truncate(BlockDriverState *bs, int64_t length, BdrvPrealloc prealloc,
                                    Error **errp)
{
    int ret = apply_rules(bs, "truncate", 0, INT64_MAX);

    if (ret < 0) {
        error_setg_errno(errp, -ret, "Failed to resize '%s'", bs->filename);
        return false;
    }
    return bdrv_co_truncate(bs->file, length, prealloc, errp);
}

static int64_t co_fn blkdebug_getlength(BlockDriverState *bs)
{
    return bdrv_co_getlength(bs->file);
}

static const BlockDriver bdrv_blkdebug = {
    .name               = "blkdebug",
    .instance_size      = sizeof(BlkdebugState),
    .is_protocol        = true,
    .is_filter          = true,
    .options_init   = blkdebug_options_init,
    .options_clear  = blkdebug_options_clear,
    .co_open            = blkdebug_open,
    .co_close           = blkdebug_close,
    .co_reopen_prepare  = blkdebug_reopen_prepare,
    .co_preadv          = blkdebug_preadv,
    .co_pwritev         = blkdebug_pwritev,
    .co_pwrite_zeroes   = blkdebug_pwrite_zeroes,
    .co_pdiscard        = blkdebug_pdiscard,
    .co_block_status    = blkdebug_block_status,
    .co_flush           = blkdebug_flush,
    .co_truncate        = blkdebug_truncate,
    .co_extend          = blkdebug_extend,
    .co_getlength       = blkdebug_getlength,
    .child_claims       = bdrv_filter_child_claims,
    .debug_event        = blkdebug_event,
};

static void blkdebug_init(void)
{
    bdrv_register(&bdrv_blkdebug);
}

block_init(blkdebug_init);
