/* SPDX-License-Identifier: GPL-2.0-or-later */
/* nbd, a disk that an NBD server has: opening, closing, the driver's table. */
#include "qemu/osdep.h"

#include "block/protocols/nbd/library.h"
#include "block/protocols/nbd/nbd-internal.h"

static void take_options(NbdState *s, const NbdOpenOptions *o)
{
    socket_spec_copy(&s->server, &o->server);
    socket_spec_copy(&s->pinned, &o->server);
    socket_spec_pin(&s->pinned);
    s->address = o->server.kind == SOCKET_UNIX ? g_strdup(o->server.path)
                                               : socket_spec_to_text(&o->server);
    s->export = g_strdup(o->export);
    s->context = g_strdup(o->dirty_bitmap ?: "base:allocation");
    s->is_allocation = strcmp(s->context, "base:allocation") == 0;
    s->reconnect_delay = o->reconnect_delay;
    s->open_timeout = o->open_timeout;
}

static void main_fn free_state(NbdState *s)
{
    nbd_queue_destroy(s);
    socket_spec_clear(&s->server);
    socket_spec_clear(&s->pinned);
    g_clear_pointer(&s->address, g_free);
    g_clear_pointer(&s->export, g_free);
    g_clear_pointer(&s->context, g_free);
}

static bool check_options(const NbdOpenOptions *o, Error **errp)
{
    if (o->tls_creds) {
        error_setg(errp, "Cannot use TLS credentials '%s': the NBD client has no TLS yet",
                   o->tls_creds);
        return false;
    }
    if ((o->export && strlen(o->export) > NBD_MAX_STRING) ||
        (o->dirty_bitmap && strlen(o->dirty_bitmap) > NBD_MAX_STRING)) {
        error_setg(errp, "%s name too long to send to server",
                   o->export && strlen(o->export) > NBD_MAX_STRING ? "export" : "x-dirty-bitmap");
        return false;
    }
    return true;
}

/* Writing is allowed, or not asked for, or given up. */
static bool main_fn check_access(BlockDriverState *bs, const BdrvOpenOptions *opts, Error **errp)
{
    const NbdState *s = bs->opaque;

    if (bs->read_only || !s->info.read_only) {
        return true;
    }
    if (!opts->auto_read_only) {
        error_setg_errno(errp, EACCES, "NBD server '%s' lets export '%s' only be read", s->address,
                         s->export ?: "");
        return false;
    }
    bs->read_only = true;
    return true;
}

static void set_limits(BlockDriverState *bs)
{
    const NbdState *s = bs->opaque;

    bs->length = s->info.length;
    bs->limits.request_alignment = s->info.min_block;
    bs->limits.max_transfer = s->info.max_payload;
    bs->limits.zero_unit = s->info.min_block;
    bs->limits.native_fua = s->info.can_fua;
}

static bool co_main_fn nbd_open(BlockDriverState *bs, const BdrvOpenOptions *opts, Error **errp)
{
    NbdState *s = bs->opaque;

    if (!check_options(&opts->u.nbd, errp) || !nbd_library_load(errp)) {
        return false;
    }
    *s = (NbdState){ .bs = bs, .ctx = aio_context_current(), .info.length = -1 };
    take_options(s, &opts->u.nbd);
    nbd_queue_init(s);
    bool ok = nbd_connect_first(s, errp);
    if (ok) {
        nbd_serve_first(s);
        ok = check_access(bs, opts, errp);
    }
    if (!ok) {
        nbd_disconnect_all(s);
        free_state(s);
        return false;
    }
    bs->filename = nbd_name_from_options(&opts->u.nbd);
    set_limits(bs);
    return true;
}

static int co_main_fn nbd_node_close(BlockDriverState *bs)
{
    nbd_disconnect_all(bs->opaque);
    free_state(bs->opaque);
    return 0;
}

/* A server does not say. */
static int64_t main_fn nbd_get_allocated(BlockDriverState *bs)
{
    return -1;
}

/* ---- changing it while it is open ---- */

static bool same_server(const SocketSpec *a, const SocketSpec *b)
{
    return a->kind == b->kind && g_strcmp0(a->path, b->path) == 0 &&
           g_strcmp0(a->host, b->host) == 0 && g_strcmp0(a->port, b->port) == 0;
}

static bool co_main_fn nbd_reopen_prepare(BlockDriverState *bs, const BdrvReopen *to, Error **errp)
{
    const NbdState *s = bs->opaque;
    const NbdOpenOptions *o = to->options ? &to->options->u.nbd : NULL;
    const char *what = !o ? NULL :
        !same_server(&o->server, &s->server)                                ? "server" :
        g_strcmp0(o->export, s->export) != 0                                ? "export" :
        strcmp(o->dirty_bitmap ?: "base:allocation", s->context) != 0       ? "x-dirty-bitmap" :
        o->reconnect_delay != s->reconnect_delay                            ? "reconnect-delay" :
        o->tls_creds                                                        ? "tls-creds" : NULL;

    if (what) {
        error_setg(errp, "Cannot change the option '%s'", what);
        return false;
    }
    if (!to->read_only && s->info.read_only) {
        error_setg(errp, "Can't reopen read-only mount as read/write");
        return false;
    }
    return true;
}

static const BlockDriver bdrv_nbd = {
    .name              = "nbd",
    .instance_size     = sizeof(NbdState),
    .is_protocol       = true,
    .options_clear     = nbd_options_clear,
    .name_prefixes     = nbd_name_prefixes,
    .options_from_name = nbd_options_from_name,
    .co_open           = nbd_open,
    .co_close          = nbd_node_close,
    .co_reopen_prepare = nbd_reopen_prepare,
    .co_preadv         = nbd_co_preadv,
    .co_pwritev        = nbd_co_pwritev,
    .co_pwrite_zeroes  = nbd_co_pwrite_zeroes,
    .co_pdiscard       = nbd_co_pdiscard,
    .co_block_status   = nbd_co_block_status,
    .co_flush          = nbd_co_flush,
    .give_up_waiting   = nbd_give_up_waiting,
    .get_allocated     = nbd_get_allocated,
};

static void nbd_init(void)
{
    bdrv_register(&bdrv_nbd);
}

block_init(nbd_init);
