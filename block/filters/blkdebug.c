/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * blkdebug: passes everything to its file, and fails or delays what its rules say: on a named event
 * of the format above, or on a kind of request, at the n-th match, once or always.  Requests can be
 * stopped at events, too, and be made to have other limits than the file's.
 */
#include "qemu/osdep.h"

#include "block/claims.h"
#include "block/filters/blkdebug-internal.h"
#include "qemu/aio.h"

/* As much as anybody writes by hand. */
#define MAX_CONFIG_BYTES MiB

typedef struct BlkdebugState {
    BlkdebugRules rules;            /* all of them */
    BlkdebugBreaks breaks;
    GPtrArray *given;               /* of BlkdebugRule: without those of the file */
    BlkdebugOpenOptions opts;       /* as it was opened; but for `rules`, owned */
} BlkdebugState;

/* ---- options ---- */

static void blkdebug_options_init(BdrvOpenOptions *opts)
{
    opts->u.blkdebug.rules = g_ptr_array_new_with_free_func(blkdebug_rule_free);
}

static void blkdebug_options_clear(BdrvOpenOptions *opts)
{
    g_ptr_array_unref(opts->u.blkdebug.rules);
    g_free(opts->u.blkdebug.config);
}

static const char *const prefixes[] = { "blkdebug", NULL };

/* blkdebug:CONFIG:IMAGE; CONFIG may be empty. */
static bool blkdebug_options_from_name(const char *name, BdrvOpenOptions *opts, Error **errp)
{
    const char *config = name + strlen("blkdebug:"), *colon = strchr(config, ':');

    if (!colon) {
        error_setg(errp, "'%s' is not of the form blkdebug:CONFIG:IMAGE", name);
        return false;
    }
    const BlockDriver *below = bdrv_find_driver_of_name(colon + 1);
    if (below && (below->is_filter || below->has_file)) {   /* no name is as long as it likes */
        error_setg(errp, "'%s' cannot be below blkdebug by its name", colon + 1);
        return false;
    }
    opts->u.blkdebug.config = colon > config ? g_strndup(config, colon - config) : NULL;
    opts->file.options = bdrv_protocol_options(colon + 1, NULL, errp);
    return opts->file.options;
}

/* ---- its configuration file ---- */

typedef struct ConfigRead {
    const char *path;
    char *text;                     /* MAX_CONFIG_BYTES */
    size_t len;
} ConfigRead;

static int blocking_fn read_config(void *opaque)
{
    ConfigRead *r = opaque;
    int fd = open(r->path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    ssize_t n = fd < 0 ? -1 : 1;

    while (n > 0 && r->len < MAX_CONFIG_BYTES) {
        n = read(fd, r->text + r->len, MAX_CONFIG_BYTES - r->len);
        r->len += MAX(n, 0);
    }
    int err = n < 0 ? -errno : r->len == MAX_CONFIG_BYTES ? -EFBIG : 0;
    if (fd >= 0) {
        close(fd);
    }
    return err;
}

static bool co_main_fn add_config(GPtrArray *rules, const char *path, Error **errp)
{
    g_autofree char *text = g_malloc(MAX_CONFIG_BYTES);
    ConfigRead r = { path, text, 0 };
    int err = thread_pool_co_run(read_config, &r);

    if (err < 0) {
        error_setg_errno(errp, -err, "Could not read blkdebug config file");
        return false;
    }
    if (!blkdebug_parse_config(text, r.len, rules, errp)) {
        error_prepend(errp, "Could not parse blkdebug config file '%s': ", path);
        return false;
    }
    return true;
}

/* ---- what rules and breakpoints make of requests ---- */

/* What the rules make of a request: 0 or -errno, after the delay they ask for. */
static int co_fn apply_rules(BlockDriverState *bs, const char *iotype, int64_t offset,
                             int64_t bytes)
{
    BlkdebugState *s = bs->opaque;
    int64_t delay_ns;
    int ret = blkdebug_rules_request(&s->rules, iotype, offset, bytes, &delay_ns);

    if (delay_ns) {
        aio_co_sleep_ns(delay_ns);
    }
    return ret;
}

static void co_fn blkdebug_event(BlockDriverState *bs, const char *event)
{
    BlkdebugState *s = bs->opaque;
    int64_t delay_ns = blkdebug_rules_event(&s->rules, event);

    if (delay_ns) {
        aio_co_sleep_ns(delay_ns);
    }
    blkdebug_breaks_event(&s->breaks, event);
}

static int set_breakpoint(BlockDriverState *bs, const char *event, const char *tag)
{
    return blkdebug_breaks_set(&((BlkdebugState *)bs->opaque)->breaks, event, tag);
}

static int remove_breakpoint(BlockDriverState *bs, const char *tag)
{
    return blkdebug_breaks_remove(&((BlkdebugState *)bs->opaque)->breaks, tag);
}

static int resume_request(BlockDriverState *bs, const char *tag)
{
    return blkdebug_breaks_resume(&((BlkdebugState *)bs->opaque)->breaks, tag);
}

static int co_main_fn wait_for_request(BlockDriverState *bs, const char *tag)
{
    blkdebug_breaks_wait(&((BlkdebugState *)bs->opaque)->breaks, tag);
    return 0;
}

static void remove_breakpoints(BlockDriverState *bs)
{
    blkdebug_breaks_remove_all(&((BlkdebugState *)bs->opaque)->breaks);
}

static const BdrvBreakOps break_ops = {
    .set     = set_breakpoint,
    .remove  = remove_breakpoint,
    .resume  = resume_request,
    .co_wait = wait_for_request,
    .clear   = remove_breakpoints,
};

/* ---- life ---- */

/* @bytes, if given, has to be a multiple of @unit. */
static bool check_limit(const char *name, int64_t bytes, int64_t unit, Error **errp)
{
    if (bytes < 0 || bytes > INT32_MAX || bytes % unit != 0) {
        error_setg(errp, "Cannot meet constraints with %s %" PRId64, name, bytes);
        return false;
    }
    return true;
}

static bool check_options(const BlkdebugOpenOptions *o, const BlockDriverState *file, Error **errp)
{
    int64_t unit = MAX(o->align, (int64_t)file->limits.request_alignment);

    if (o->align && (!IS_POWER_OF_2(o->align) || o->align > INT32_MAX)) {
        error_setg(errp, "Cannot meet constraints with align %" PRId64, o->align);
        return false;
    }
    return check_limit("max-transfer", o->max_transfer, unit, errp) &&
           check_limit("opt-write-zero", o->opt_write_zero, unit, errp) &&
           check_limit("max-write-zero", o->max_write_zero, MAX(o->opt_write_zero, unit), errp) &&
           check_limit("opt-discard", o->opt_discard, unit, errp) &&
           check_limit("max-discard", o->max_discard, MAX(o->opt_discard, unit), errp);
}

static bool co_main_fn blkdebug_open(BlockDriverState *bs, const BdrvOpenOptions *opts,
                                     Error **errp)
{
    BlkdebugState *s = bs->opaque;
    const BlkdebugOpenOptions *o = &opts->u.blkdebug;

    if (!check_options(o, bs->file->bs, errp)) {
        return false;
    }
    g_autoptr(GPtrArray) all = blkdebug_rules_copy(o->rules);
    if (o->config && !add_config(all, o->config, errp)) {
        return false;
    }
    s->opts = *o;
    /* Claims that the options want are there before anybody uses the node. */
    if (!bdrv_refresh_claims(bs, errp)) {
        return false;
    }
    s->opts.config = g_strdup(o->config);
    s->given = blkdebug_rules_copy(o->rules);
    blkdebug_rules_init(&s->rules, g_steal_pointer(&all));
    blkdebug_breaks_init(&s->breaks);
    bs->length = bdrv_length(bs->file->bs);
    bs->limits = bs->file->bs->limits;
    bs->limits.native_fua = false;      /* a FUA write is a write and a flush to the rules */
    if (o->align) {
        bs->limits.request_alignment = MAX(o->align, bs->limits.request_alignment);
    }
    if (o->max_transfer) {
        bs->limits.max_transfer = o->max_transfer;
    }
    return true;
}

static bool co_main_fn blkdebug_reopen_prepare(BlockDriverState *bs, const BdrvReopen *to,
                                               Error **errp)
{
    const BlkdebugState *s = bs->opaque;
    const BlkdebugOpenOptions *o = to->options ? &to->options->u.blkdebug : NULL, *is = &s->opts;
    const char *what =
        to->file.replaces                                ? "image" :
        !o                                               ? NULL :
        o->align != is->align                            ? "align" :
        g_strcmp0(o->config, is->config) != 0            ? "config" :
        o->max_transfer != is->max_transfer              ? "max-transfer" :
        o->opt_write_zero != is->opt_write_zero          ? "opt-write-zero" :
        o->max_write_zero != is->max_write_zero          ? "max-write-zero" :
        o->opt_discard != is->opt_discard                ? "opt-discard" :
        o->max_discard != is->max_discard                ? "max-discard" :
        o->takes_claims != is->takes_claims              ? "take-child-perms" :
        o->refuses_claims != is->refuses_claims          ? "unshare-child-perms" : NULL;

    if (what) {
        error_setg(errp, "Cannot change the option '%s'", what);
        return false;
    }
    if (o && !blkdebug_same_rules(o->rules, s->given)) {
        error_setg(errp, "Cannot change the options 'inject-error' and 'set-state' of node '%s'",
                   bs->node_name);
        return false;
    }
    return true;
}

static int co_main_fn blkdebug_close(BlockDriverState *bs)
{
    BlkdebugState *s = bs->opaque;

    blkdebug_breaks_destroy(&s->breaks);
    blkdebug_rules_clear(&s->rules);
    g_ptr_array_unref(s->given);
    g_free(s->opts.config);
    return 0;
}

static void main_fn blkdebug_child_claims(BlockDriverState *bs, BdrvLink *link, unsigned needs,
                                          unsigned allows, unsigned *ret_needs,
                                          unsigned *ret_allows)
{
    const BlkdebugState *s = bs->opaque;

    bdrv_filter_child_claims(bs, link, needs, allows, ret_needs, ret_allows);
    *ret_needs |= s->opts.takes_claims;
    *ret_allows &= ~s->opts.refuses_claims;
}

/* ---- requests ---- */

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

/* How far the piece that begins at @offset goes: to @end, or less: to a multiple of @unit, over
 * @max bytes, each of which may be 0. */
static int64_t piece_end(int64_t offset, int64_t end, int64_t unit, int64_t max)
{
    if (unit && offset % unit != 0) {
        end = MIN(end, ROUND_UP(offset, unit));
    } else if (unit && end - offset > unit) {
        end = ROUND_DOWN(end, unit);
    }
    return max ? MIN(end, offset + max) : end;
}

static int co_fn blkdebug_pwrite_zeroes(BlockDriverState *bs, int64_t offset, int64_t bytes,
                                        unsigned flags)
{
    BlkdebugState *s = bs->opaque;
    int ret = apply_rules(bs, "write-zeroes", offset, bytes);

    for (int64_t end = offset + bytes, next; ret == 0 && offset < end; offset = next) {
        next = piece_end(offset, end, s->opts.opt_write_zero, s->opts.max_write_zero);
        ret = bdrv_co_pwrite_zeroes(bs->file, offset, next - offset, flags);
    }
    note_length(bs);
    return ret;
}

static int co_fn blkdebug_pdiscard(BlockDriverState *bs, int64_t offset, int64_t bytes)
{
    BlkdebugState *s = bs->opaque;
    int ret = apply_rules(bs, "discard", offset, bytes);

    for (int64_t end = offset + bytes, next; ret == 0 && offset < end; offset = next) {
        next = piece_end(offset, end, s->opts.opt_discard, s->opts.max_discard);
        ret = bdrv_co_pdiscard(bs->file, offset, next - offset);
    }
    return ret;
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
    .options_init       = blkdebug_options_init,
    .options_clear      = blkdebug_options_clear,
    .name_prefixes      = prefixes,
    .options_from_name  = blkdebug_options_from_name,
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
    .child_claims       = blkdebug_child_claims,
    .debug_event        = blkdebug_event,
    .break_ops          = &break_ops,
};

static void blkdebug_init(void)
{
    bdrv_register(&bdrv_blkdebug);
}

block_init(blkdebug_init);
