/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * blkverify: whatever is done to the node under test is done to a raw node as well, and both must
 * come to the same.  Where they do not, the request fails and the log says where.
 */
#include "qemu/osdep.h"

#include "block/filters/pass.h"
#include "qemu/log.h"

typedef struct VerifyState {
    BdrvLink *test;                 /* the raw one is the node's file */
} VerifyState;

static const BdrvLinkRole role_test = { .name = "test", .stores = true };

static void verify_options_clear(BdrvOpenOptions *opts)
{
    bdrv_child_option_clear(&opts->u.blkverify.test);
    g_free(opts->u.blkverify.test_name);
}

static const char *const prefixes[] = { "blkverify", NULL };

/* blkverify:RAW:IMAGE */
static bool verify_options_from_name(const char *name, BdrvOpenOptions *opts, Error **errp)
{
    const char *raw = name + strlen("blkverify:"), *colon = strchr(raw, ':');

    if (!colon) {
        error_setg(errp, "'%s' is not of the form blkverify:RAW:IMAGE", name);
        return false;
    }
    const BlockDriver *below = bdrv_find_driver_of_name(colon + 1);
    if (below && below->name_prefixes == prefixes) {        /* no name is as long as it likes */
        error_setg(errp, "'%s' cannot be below blkverify by its name", colon + 1);
        return false;
    }
    g_autofree char *raw_name = g_strndup(raw, colon - raw);
    opts->file.options = bdrv_protocol_options(raw_name, NULL, errp);
    if (!opts->file.options) {
        return false;
    }
    opts->u.blkverify.test_name = g_strdup(colon + 1);
    return true;
}

/* The node under test where only its name is known: as @bs is. */
static BdrvLink *co_main_fn open_named_test(BlockDriverState *bs, const char *name, Error **errp)
{
    g_autoptr(BdrvOpenOptions) opts = bdrv_options_from_filename(name, NULL, NULL, errp);
    BdrvChildOption child = { .options = opts };

    for (BdrvOpenOptions *o = opts; o; o = o->file.options) {
        o->read_only = bs->read_only;
        o->cache_direct = bs->cache_direct;
        o->cache_no_flush = bs->cache_no_flush;
        o->force_share = bs->force_share;
        o->discard = true;
    }
    return opts ? bdrv_open_own_child(bs, &role_test, &child, errp) : NULL;
}

static bool co_main_fn verify_open(BlockDriverState *bs, const BdrvOpenOptions *opts,
                                   Error **errp)
{
    VerifyState *s = bs->opaque;

    const BlkverifyOpenOptions *o = &opts->u.blkverify;
    s->test = o->test_name ? open_named_test(bs, o->test_name, errp)
                           : bdrv_open_own_child(bs, &role_test, &o->test, errp);
    if (!s->test) {
        return false;
    }
    bs->length = bdrv_length(s->test->bs);
    bs->limits.native_fua = true;
    return true;
}

/* ---- requests to both ---- */

typedef struct Half {
    BdrvLink *link;
    int64_t offset, bytes;
    IoVec *qiov;
    unsigned flags;
    bool writes;
    int ret;
} Half;

static void co_fn half_entry(void *opaque)
{
    Half *h = opaque;

    h->ret = h->writes ? bdrv_co_pwritev(h->link, h->offset, h->bytes, h->qiov, h->flags)
                       : bdrv_co_preadv(h->link, h->offset, h->bytes, h->qiov);
}

static void report(const BlockDriverState *bs, const Half *h, const char *what)
{
    log_line("blkverify: node '%s': %s offset=%" PRId64 " bytes=%" PRId64 " %s", bs->node_name,
             h->writes ? "write" : "read", h->offset, h->bytes, what);
}

/* Carries out @test on the node under test and @raw on the raw one; what both come to. */
static int co_fn run_both(BlockDriverState *bs, Half *test, Half *raw)
{
    CoGroup group = CO_GROUP_INIT;

    co_group_start(&group, half_entry, test);
    co_group_start(&group, half_entry, raw);
    co_group_wait(&group);
    if (test->ret != raw->ret) {
        g_autofree char *what = g_strdup_printf("return value mismatch %d != %d", test->ret,
                                                raw->ret);
        report(bs, test, what);
        return -EIO;
    }
    return test->ret;
}

/* Offset of the first byte that differs, or -1. */
static int64_t first_difference(const IoVec *qiov, const uint8_t *buf, int64_t bytes)
{
    uint8_t piece[4096];

    for (int64_t at = 0; at < bytes; at += sizeof(piece)) {
        size_t n = iovec_to_buf(qiov, at, piece, sizeof(piece));
        for (size_t i = 0; memcmp(piece, buf + at, n) != 0 && i < n; i++) {
            if (piece[i] != buf[at + i]) {
                return at + i;
            }
        }
    }
    return -1;
}

static int co_fn verify_preadv(BlockDriverState *bs, int64_t offset, int64_t bytes, IoVec *qiov)
{
    VerifyState *s = bs->opaque;
    uint8_t *buf = bdrv_try_blockalign(bytes);
    IoVec v;

    if (!buf) {
        return -ENOMEM;
    }
    iovec_init_buf(&v, buf, bytes);
    Half test = { .link = s->test, .offset = offset, .bytes = bytes, .qiov = qiov };
    Half raw = { .link = bs->file, .offset = offset, .bytes = bytes, .qiov = &v };
    int ret = run_both(bs, &test, &raw);
    int64_t at = ret == 0 ? first_difference(qiov, buf, bytes) : -1;
    free(buf);
    if (at >= 0) {
        g_autofree char *what = g_strdup_printf("contents mismatch at offset %" PRId64,
                                                offset + at);
        report(bs, &test, what);
        ret = -EIO;
    }
    return ret;
}

static int co_fn verify_pwritev(BlockDriverState *bs, int64_t offset, int64_t bytes, IoVec *qiov,
                                unsigned flags)
{
    VerifyState *s = bs->opaque;
    Half test = { .link = s->test, .offset = offset, .bytes = bytes, .qiov = qiov,
                  .flags = flags, .writes = true };
    Half raw = test;

    raw.link = bs->file;
    return run_both(bs, &test, &raw);
}

/* The raw node only serves to compare: it need not survive. */
static int co_fn verify_flush(BlockDriverState *bs, unsigned flags)
{
    VerifyState *s = bs->opaque;

    return bdrv_co_flush(s->test, flags);
}

static int64_t co_fn verify_getlength(BlockDriverState *bs)
{
    VerifyState *s = bs->opaque;

    return bdrv_co_getlength(s->test);
}

/* Zeroes are written as bytes, and discards do nothing: what they leave need not be the same. */
static const BlockDriver bdrv_blkverify = {
    .name               = "blkverify",
    .instance_size      = sizeof(VerifyState),
    .is_protocol        = true,
    .has_file           = true,
    .name_prefixes  = prefixes,
    .options_from_name = verify_options_from_name,
    .options_clear      = verify_options_clear,
    .co_open            = verify_open,
    .co_reopen_prepare  = filter_cannot_reopen,
    .co_preadv          = verify_preadv,
    .co_pwritev         = verify_pwritev,
    .co_flush           = verify_flush,
    .co_getlength       = verify_getlength,
    .child_claims       = bdrv_filter_child_claims,
};

static void blkverify_init(void)
{
    bdrv_register(&bdrv_blkverify);
}

block_init(blkverify_init);
