/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Exports of any type: their backend, their claims, their list. */
#include "qemu/osdep.h"

#include "block/export.h"

#define MAX_DRIVERS 4

static const BlkExportDriver *drivers[MAX_DRIVERS];
static BlkExport *first_export, *last_export;
static void (*deleted_cb)(const char *id);

void any_fn blk_export_register(const BlkExportDriver *drv)
{
    size_t n = 0;

    while (drivers[n]) {
        n++;
    }
    g_assert(n < MAX_DRIVERS);
    drivers[n] = drv;
}

void main_fn blk_export_set_deleted_cb(void (*cb)(const char *id))
{
    deleted_cb = cb;
}

BlkExport *main_fn blk_export_find(const char *id)
{
    for (BlkExport *exp = first_export; exp; exp = exp->next) {
        if (strcmp(exp->id, id) == 0) {
            return exp;
        }
    }
    return NULL;
}

BlkExport *main_fn blk_export_next(BlkExport *prev)
{
    return prev ? prev->next : first_export;
}

bool main_fn blk_export_in_use(BlkExport *exp)
{
    return exp->drv->in_use(exp);
}

static const BlkExportDriver *find_driver(const char *type)
{
    for (size_t i = 0; i < MAX_DRIVERS && drivers[i]; i++) {
        if (strcmp(drivers[i]->type, type) == 0) {
            return drivers[i];
        }
    }
    return NULL;
}

/* A backend for the export, with its node in it. */
static BlockBackend *co_main_fn make_backend(const BlkExportOptions *opts, Error **errp)
{
    unsigned needs = CLAIM_READ | (opts->writable ? CLAIM_WRITE : 0);
    BlockBackend *blk = blk_new_export(opts->id, needs, CLAIM_ALL);

    if (!blk_insert(blk, opts->bs, errp)) {
        blk_free(blk);
        return NULL;
    }
    blk_set_write_cache(blk, !opts->writethrough);
    blk_set_on_error(blk, opts->rerror, opts->werror);
    blk_set_iothread(blk, opts->iothread ? iothread_id(opts->iothread) : NULL);
    return blk;
}

/* ---- bitmaps ---- */

static void co_main_fn take_bitmaps(BlkExport *exp, GPtrArray *bitmaps)
{
    BdrvLinkSpec spec = { .allows = CLAIM_ALL, .holder = "an export of its bitmap" };

    exp->bitmaps = g_ptr_array_new();
    exp->bitmap_links = g_ptr_array_new();
    for (guint i = 0; bitmaps && i < bitmaps->len; i++) {
        BdrvDirtyBitmap *b = bitmaps->pdata[i];

        /* Claims nothing: cannot fail, and does not yield. */
        g_ptr_array_add(exp->bitmap_links,
                        bdrv_link_new(bdrv_dirty_bitmap_node(b), &spec, &error_abort));
        g_ptr_array_add(exp->bitmaps, b);
        bdrv_dirty_bitmap_set_busy(b, "an export");
    }
}

/* No client looks at them any more. */
static void co_main_fn give_bitmaps_up(BlkExport *exp)
{
    for (guint i = 0; i < exp->bitmaps->len; i++) {
        bdrv_dirty_bitmap_set_busy(exp->bitmaps->pdata[i], NULL);
    }
    g_ptr_array_unref(exp->bitmaps);
    for (guint i = 0; i < exp->bitmap_links->len; i++) {
        bdrv_link_free(exp->bitmap_links->pdata[i]);
    }
    g_ptr_array_unref(exp->bitmap_links);
}

/* ---- life ---- */

static void main_fn list_add(BlkExport *exp)
{
    exp->prev = last_export;
    *(last_export ? &last_export->next : &first_export) = exp;
    last_export = exp;
}

static void main_fn list_remove(BlkExport *exp)
{
    *(exp->prev ? &exp->prev->next : &first_export) = exp->next;
    *(exp->next ? &exp->next->prev : &last_export) = exp->prev;
}

/* Without a backend.  Its bitmaps are taken before anything yields: nobody else gets them. */
static BlkExport *co_main_fn export_new(const BlkExportDriver *drv, const BlkExportOptions *opts)
{
    BlkExport *exp = g_malloc0(drv->instance_size);

    exp->drv = drv;
    exp->id = g_strdup(opts->id);
    exp->iothread = opts->iothread;
    if (exp->iothread) {
        iothread_ref(exp->iothread);
    }
    take_bitmaps(exp, opts->bitmaps);
    return exp;
}

static void co_main_fn export_free(BlkExport *exp)
{
    give_bitmaps_up(exp);
    blk_free(exp->blk);
    if (exp->iothread) {
        iothread_unref(exp->iothread);
    }
    g_free(exp->id);
    g_free(exp);
}

BlkExport *co_main_fn blk_export_add(const BlkExportOptions *opts, Error **errp)
{
    const BlkExportDriver *drv = find_driver(opts->type);

    if (!drv) {
        error_setg(errp, "No driver found for the requested export type");
        return NULL;
    }
    /* The backend has the id from the beginning: another command may be adding that export. */
    if (blk_find_export(opts->id)) {
        error_setg(errp, "Block export id '%s' is already in use", opts->id);
        return NULL;
    }
    BlkExport *exp = export_new(drv, opts);
    exp->blk = make_backend(opts, errp);
    if (!exp->blk || !drv->start(exp, opts, errp)) {
        export_free(exp);
        return NULL;
    }
    list_add(exp);
    return exp;
}

/* Exports that are being deleted, also those that nobody finds any more, because letting go of a
 * disk takes as long as the disk likes; and who waits in blk_export_del_all() for the last. */
static int leaving;
static Coroutine *all_gone_waiter;

void co_main_fn blk_export_del(BlkExport *exp)
{
    if (exp->shutting_down) {
        return;                     /* another command is at it */
    }
    exp->shutting_down = true;
    leaving++;
    blk_user_leaves(exp->blk);
    exp->drv->co_stop(exp);         /* as long as its slowest request: nobody else waits for that */

    list_remove(exp);
    g_autofree char *id = g_strdup(exp->id);
    export_free(exp);
    if (deleted_cb) {
        deleted_cb(id);
    }
    if (--leaving == 0 && !first_export && all_gone_waiter) {
        coroutine_wake(g_steal_pointer(&all_gone_waiter));
    }
}

/* Exports that are deleted side by side, where all are: each may wait for a disk. */
#define DEL_ALL_PARALLEL 256

static BlkExport *main_fn next_to_delete(void)
{
    BlkExport *exp = first_export;

    while (exp && exp->shutting_down) {
        exp = exp->next;
    }
    return exp;
}

static void co_main_fn del_entry(void *opaque)
{
    BlkExport *exp;

    while ((exp = next_to_delete())) {
        blk_export_del(exp);
    }
}

void co_main_fn blk_export_del_all(void)
{
    for (int i = 0; i < DEL_ALL_PARALLEL && next_to_delete(); i++) {
        coroutine_start(del_entry, NULL);
    }
    while (first_export || leaving > 0) {
        all_gone_waiter = coroutine_self();
        coroutine_yield();
    }
}
