/* SPDX-License-Identifier: GPL-2.0-or-later */
/* null-co, null-aio: take every write and keep nothing.  Two names of one driver. */
#include "qemu/osdep.h"

#include "block/driver.h"
#include "qemu/aio.h"

typedef struct NullState {
    int64_t latency_ns;
    bool read_zeroes;
} NullState;

static void null_options_init(BdrvOpenOptions *opts)
{
    opts->u.null.size = GiB;
}

/* The short name, or a description if that would lead to another disk. */
static char *make_filename(const char *driver, const NullOpenOptions *o)
{
    if (!o->has_size && !o->has_read_zeroes) {
        return g_strdup_printf("%s://", driver);
    }
    GString *s = g_string_new("json:{");
    if (o->has_read_zeroes) {
        g_string_append_printf(s, "\"read-zeroes\": %s, ", o->read_zeroes ? "true" : "false");
    }
    g_string_append_printf(s, "\"driver\": \"%s\"", driver);
    if (o->has_size) {
        g_string_append_printf(s, ", \"size\": %" PRId64, o->size);
    }
    g_string_append_c(s, '}');
    return g_string_free(s, FALSE);
}

static const char *const null_co_prefixes[] = { "null-co", NULL };
static const char *const null_aio_prefixes[] = { "null-aio", NULL };

/* All of it has to be said by other options. */
static bool null_options_from_name(const char *name, BdrvOpenOptions *opts, Error **errp)
{
    size_t n = strlen(opts->driver);

    if (strncmp(name, opts->driver, n) != 0 || strcmp(name + n, "://") != 0) {
        error_setg(errp, "The only allowed filename for this driver is '%s://'", opts->driver);
        return false;
    }
    return true;
}

static bool co_main_fn null_open(BlockDriverState *bs, const BdrvOpenOptions *opts, Error **errp)
{
    NullState *s = bs->opaque;
    const NullOpenOptions *o = &opts->u.null;

    if (o->size < 0 || o->size > BDRV_MAX_LENGTH || o->latency_ns < 0) {
        error_setg(errp, "Cannot open a %s node: size and latency must be positive",
                   bs->drv->name);
        return false;
    }
    s->latency_ns = o->latency_ns;
    s->read_zeroes = o->read_zeroes;
    bs->length = o->size;
    bs->filename = make_filename(bs->drv->name, o);
    return true;
}

static bool co_main_fn null_reopen_prepare(BlockDriverState *bs, const BdrvReopen *to, Error **errp)
{
    const NullState *s = bs->opaque;
    const NullOpenOptions *o = to->options ? &to->options->u.null : NULL;
    const char *what = !o                             ? NULL :
                       o->size != bdrv_length(bs)      ? "size" :
                       o->latency_ns != s->latency_ns   ? "latency-ns" :
                       o->read_zeroes != s->read_zeroes ? "read-zeroes" : NULL;

    if (what) {
        error_setg(errp, "Cannot change the option '%s'", what);
    }
    return !what;
}

static int co_fn null_delay(BlockDriverState *bs)
{
    NullState *s = bs->opaque;

    if (s->latency_ns) {
        aio_co_sleep_ns(s->latency_ns);
    }
    return 0;
}

static int co_fn null_preadv(BlockDriverState *bs, int64_t offset, int64_t bytes, IoVec *qiov)
{
    /* Whatever read-zeroes promises: never what the memory held before. */
    iovec_memset(qiov, 0, 0, bytes);
    return null_delay(bs);
}

static int co_fn null_pwritev(BlockDriverState *bs, int64_t offset, int64_t bytes, IoVec *qiov,
                              unsigned flags)
{
    return null_delay(bs);
}

static int co_fn null_pwrite_zeroes(BlockDriverState *bs, int64_t offset, int64_t bytes,
                                    unsigned flags)
{
    return null_delay(bs);
}

static int co_fn null_pdiscard(BlockDriverState *bs, int64_t offset, int64_t bytes)
{
    return null_delay(bs);
}

static int co_fn null_block_status(BlockDriverState *bs, int64_t offset, int64_t bytes,
                                   int64_t *ret_bytes)
{
    NullState *s = bs->opaque;

    *ret_bytes = bytes;
    return s->read_zeroes ? BDRV_STATUS_ZERO : BDRV_STATUS_DATA;
}

static int co_fn null_flush(BlockDriverState *bs, unsigned flags)
{
    return null_delay(bs);
}

#define NULL_DRIVER_OPS                         \
    .instance_size      = sizeof(NullState),    \
    .is_protocol        = true,                 \
    .options_init       = null_options_init,    \
    .options_from_name  = null_options_from_name, \
    .co_open            = null_open,            \
    .co_reopen_prepare  = null_reopen_prepare,  \
    .co_preadv          = null_preadv,          \
    .co_pwritev         = null_pwritev,         \
    .co_pwrite_zeroes   = null_pwrite_zeroes,   \
    .co_pdiscard        = null_pdiscard,        \
    .co_block_status    = null_block_status,    \
    .co_flush           = null_flush

static const BlockDriver bdrv_null_co = {
    .name = "null-co", .name_prefixes = null_co_prefixes, NULL_DRIVER_OPS
};
static const BlockDriver bdrv_null_aio = {
    .name = "null-aio", .name_prefixes = null_aio_prefixes, NULL_DRIVER_OPS
};

static void null_init(void)
{
    bdrv_register(&bdrv_null_co);
    bdrv_register(&bdrv_null_aio);
}

block_init(null_init);
