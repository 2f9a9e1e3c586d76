/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Whether there is room for a group's data: what an image has and its base has no room for yet, for
 * all bases in one file system together.  A qcow2 file may have free clusters inside, so that this
 * can be more than what is needed in the end.
 */
#include "qemu/osdep.h"

#include <sys/statvfs.h>

#include "commit.h"
#include "group.h"
#include "qemu/aio.h"

/* One file system. */
typedef struct Store {
    dev_t dev;
    char *filename;                 /* a base that lies there */
    int64_t free, needed;           /* bytes */
} Store;

typedef struct StatTask {
    const char *filename;
    dev_t dev;
    int64_t free;
    bool is_file;
} StatTask;

static int blocking_fn stat_in_thread(void *opaque)
{
    StatTask *t = opaque;
    struct statvfs fs;
    struct stat st;

    if (stat(t->filename, &st) < 0 || statvfs(t->filename, &fs) < 0) {
        return -errno;
    }
    t->is_file = S_ISREG(st.st_mode);
    t->dev = st.st_dev;
    uint64_t blocks = geteuid() == 0 ? fs.f_bfree : fs.f_bavail;
    t->free = MIN(blocks, (uint64_t)INT64_MAX / fs.f_frsize) * fs.f_frsize;
    return 0;
}

/* How much of the first *@ret_bytes of [@pos, @pos + @bytes) the base has to make room for; or
 * -errno. */
static int64_t co_main_fn needed_at(const ImgCommit *c, int64_t pos, int64_t bytes,
                                    int64_t *ret_bytes)
{
    int64_t base_length = blk_length(c->base), n = bytes, m;

    blk_begin(c->top);
    int ret = bdrv_co_is_allocated_above(blk_root(c->top), blk_bs(c->base), pos, bytes, &n);
    if (ret > 0) {
        ret = bdrv_co_block_status(blk_root(c->top), pos, n, 0, &n, NULL);
        ret = ret < 0 ? ret : !(ret & BDRV_BLOCK_ZERO);
    }
    blk_end(c->top);
    *ret_bytes = n;
    if (ret <= 0 || pos >= base_length) {
        return ret > 0 ? n : ret;
    }
    blk_begin(c->base);
    ret = bdrv_co_block_status(blk_root(c->base), pos, MIN(n, base_length - pos), 1, &m, NULL);
    blk_end(c->base);
    *ret_bytes = ret < 0 ? n : m;
    return ret < 0 ? ret : ret & BDRV_BLOCK_DATA ? 0 : m;
}

/* Bytes; -errno: it cannot be looked at. */
static int64_t co_main_fn needed_by(const ImgCommit *c)
{
    int64_t length = blk_length(c->top), sum = 0, n;

    for (int64_t pos = 0; pos < length; pos += n) {
        int64_t needed = needed_at(c, pos, length - pos, &n);
        if (needed < 0) {
            return needed;
        }
        sum += needed;
    }
    return sum;
}

/* The file that what is written to @bs ends up in; NULL: it is none. */
static const char *main_fn file_of(const BlockDriverState *bs)
{
    while (bs->data_file || bs->file) {
        bs = bs->data_file ? bs->data_file->bs : bs->file->bs;
    }
    return bs->drv->get_identity ? bs->filename : NULL;
}

/* Adds what @c needs to what its file system has to have. */
static bool co_main_fn add_member(GArray *stores, const ImgCommit *c)
{
    StatTask t = { .filename = file_of(blk_bs(c->base)) };

    if (!t.filename || thread_pool_co_run(stat_in_thread, &t) < 0) {
        return true;                /* not to be known */
    }
    if (!t.is_file) {
        if (blk_length(c->base) < blk_length(c->top)) {
            tool_error("%s: its base '%s' has %" PRId64 " bytes, and %" PRId64 " are needed",
                       c->image.name, t.filename, blk_length(c->base), blk_length(c->top));
            return false;
        }
        return true;
    }
    int64_t needed = needed_by(c);
    if (needed < 0) {
        tool_error("%s: Failed to read image metadata: %s", c->image.name, strerror(-needed));
        return false;
    }
    for (guint i = 0; i < stores->len; i++) {
        Store *s = &g_array_index(stores, Store, i);
        if (s->dev == t.dev) {
            s->needed += MIN(needed, INT64_MAX - s->needed);
            return true;
        }
    }
    Store store = { t.dev, g_strdup(t.filename), t.free, needed };
    g_array_append_val(stores, store);
    return true;
}

bool co_main_fn img_group_has_room(const GPtrArray *commits)
{
    GArray *stores = g_array_new(false, true, sizeof(Store));
    bool ok = true;

    for (guint i = 0; ok && i < commits->len; i++) {
        ok = add_member(stores, commits->pdata[i]);
    }
    for (guint i = 0; i < stores->len; i++) {
        Store *s = &g_array_index(stores, Store, i);
        if (ok && s->needed > s->free) {
            g_autofree char *needed = img_size_text(s->needed), *left = img_size_text(s->free);
            tool_error("the file system of '%s' has %s left, and up to %s are needed; --force "
                       "tries it", s->filename, left, needed);
            ok = false;
        }
        g_free(s->filename);
    }
    g_array_free(stores, true);
    return ok;
}
