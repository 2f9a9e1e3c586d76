/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The exports of a server: found by name, made, and freed once their clients have gone. */
#include "qemu/osdep.h"

#include "nbd/nbd-internal.h"

/* How long clients have to take the last answers of an export that goes. */
#define LAST_ANSWERS_NS NS_PER_SEC

static uint64_t last_serial;

NbdExport *main_fn nbd_find_export(NbdServer *server, const char *name)
{
    return g_hash_table_lookup(server->exports_by_name, name);
}

NbdExport *main_fn nbd_export_new(NbdServer *server, BlockBackend *blk,
                                  const NbdExportOptions *opts, Error **errp)
{
    const char *name = opts->name, *description = opts->description;

    if (strlen(name) > NBD_MAX_STRING) {
        error_setg(errp, "export name '%.20s...' too long", name);
        return NULL;
    }
    if (description && strlen(description) > NBD_MAX_STRING) {
        error_setg(errp, "description '%.20s...' too long", description);
        return NULL;
    }
    if (opts->n_bitmaps > NBD_MAX_BITMAPS) {
        error_setg(errp, "An export has at most %d bitmaps", NBD_MAX_BITMAPS);
        return NULL;
    }
    if (nbd_find_export(server, name)) {
        error_setg(errp, "NBD server already has export named '%s'", name);
        return NULL;
    }
    NbdExport *exp = g_new0(NbdExport, 1);
    exp->name = g_strdup(name);
    exp->serial = ++last_serial;
    exp->description = g_strdup(description);
    exp->server = server;
    exp->blk = blk;
    exp->writable = opts->writable;
    exp->allocation_depth = opts->allocation_depth;
    exp->bitmaps = g_ptr_array_new();
    for (guint i = 0; i < opts->n_bitmaps; i++) {
        g_ptr_array_add(exp->bitmaps, opts->bitmaps[i]);
    }
    exp->iothread = opts->iothread;
    exp->ctx = exp->iothread ? iothread_context(exp->iothread) : server->main_ctx;
    exp->entry.data = exp;
    g_queue_push_tail_link(&server->exports, &exp->entry);
    g_hash_table_insert(server->exports_by_name, exp->name, exp);
    return exp;
}

bool main_fn nbd_export_has_clients(const NbdExport *exp)
{
    return exp->clients > 0;
}

static void main_fn for_each_client(NbdExport *exp, void (*fn)(NbdConn *conn))
{
    for (GList *e = exp->server->conns.head; e; e = e->next) {
        NbdConn *conn = e->data;
        if (conn->exp == exp) {
            fn(conn);
        }
    }
}

static void main_fn drain_timeout_cb(void *opaque)
{
    for_each_client(opaque, nbd_conn_shutdown);
}

void co_main_fn nbd_export_free(NbdExport *exp)
{
    NbdServer *server = exp->server;
    AioTimer timer;

    /* From here to the end of for_each_client() in one go: nobody finds it any more, and who has it
     * is told. */
    g_queue_unlink(&server->exports, &exp->entry);
    g_hash_table_remove(server->exports_by_name, exp->name);
    for_each_client(exp, nbd_conn_end);
    aio_timer_init(&timer, server->main_ctx, drain_timeout_cb, exp);
    aio_timer_arm(&timer, clock_ns() + LAST_ANSWERS_NS);
    while (exp->clients > 0) {
        exp->waiter = coroutine_self();
        coroutine_yield();
    }
    aio_timer_disarm(&timer);
    g_free(exp->name);
    g_free(exp->description);
    g_ptr_array_unref(exp->bitmaps);
    g_free(exp);
}
