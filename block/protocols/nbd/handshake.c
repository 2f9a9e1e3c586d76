/* SPDX-License-Identifier: GPL-2.0-or-later */
/* From an address to a connection with a chosen export, within a time; and what libnbd waits for. */
#include "qemu/osdep.h"

#include <poll.h>

#include "block/protocols/nbd/library.h"
#include "block/protocols/nbd/nbd-internal.h"
#include "qemu/limits.h"

/* Connecting goes on in steps, each of which may have to be ended. */
#define CANCEL_AGAIN_NS (100 * NS_PER_MS)

/* ---- libnbd and the event loop ---- */

bool co_main_fn nbd_step(NbdConn *c, int64_t timeout_ns)
{
    unsigned direction = nbd_library.aio_get_direction(c->h);
    int fd = nbd_library.aio_get_fd(c->h);

    if (fd < 0) {
        return false;
    }
    c->polled = direction;
    int events = aio_co_poll(fd, (direction & LIBNBD_AIO_DIRECTION_READ ? POLLIN : 0) |
                                 (direction & LIBNBD_AIO_DIRECTION_WRITE ? POLLOUT : 0),
                             timeout_ns);
    c->polled = 0;
    /* Meanwhile a new request may have found that the connection is gone. */
    if (nbd_library.aio_get_fd(c->h) < 0) {
        return false;
    }
    if (events > 0) {
        /* (N2) */
        bool readable = events & ~POLLOUT && direction & LIBNBD_AIO_DIRECTION_READ;
        int ret = readable ? nbd_library.aio_notify_read(c->h) : nbd_library.aio_notify_write(c->h);
        if (ret < 0) {
            return false;
        }
    }
    return !nbd_library.aio_is_dead(c->h) && !nbd_library.aio_is_closed(c->h);
}

/* ---- errors ---- */

/* What the server says of why it refuses is told to nobody else. */
static int on_debug(void *opaque, const char *function, const char *text)
{
    static const char mark[] = "server error message: ";
    NbdConn *c = opaque;
    const char *said = strstr(text, mark);

    if (said) {
        g_string_assign(c->said, said + strlen(mark));
    }
    return 0;
}

/* libnbd's text without its function's name. */
static const char *libnbd_text(void)
{
    const char *text = nbd_library.get_error();
    const char *colon = text ? strstr(text, ": ") : NULL;

    return !text ? "the connection was closed" :
           colon && g_str_has_prefix(text, "nbd_") ? colon + 2 : text;
}

static void set_refused(const NbdConn *c, int error, Error **errp)
{
    const NbdState *s = c->s;
    g_autofree char *said = c->said->len
                            ? g_strdup_printf("\nserver reported: %s", c->said->str) : g_strdup("");

    if (error == ENOENT) {
        error_setg(errp, "Requested export not available%s", said);
    } else if (error == ENOTSUP || error == ENOTCONN) {
        error_setg(errp, "NBD server '%s' refuses export '%s': it may want TLS, which is not "
                   "supported%s", s->address, s->export ?: "", said);
    } else {
        error_setg(errp, "NBD server '%s' refuses export '%s'%s%s%s", s->address,
                   s->export ?: "", error ? ": " : "", error ? g_strerror(error) : "", said);
    }
}

static void set_failed(const NbdConn *c, Error **errp)
{
    if (c->timed_out) {
        error_setg(errp, "NBD server '%s' did not answer in %d seconds", c->s->address,
                   NBD_CLIENT_HANDSHAKE_SECONDS);
    } else {
        error_setg(errp, "Cannot negotiate with NBD server '%s': %s", c->s->address,
                   libnbd_text());
    }
}

/* ---- steps ---- */

static void end_attempt(void *opaque)
{
    NbdConn *c = opaque;

    c->timed_out = true;
    aio_co_cancel(c->co);
    aio_timer_arm(&c->timer, clock_ns() + CANCEL_AGAIN_NS);
}

static bool co_main_fn connect_socket(NbdConn *c, Error **errp)
{
    NbdState *s = c->s;
    SocketSpec *spec = s->info.length < 0 ? &s->server : &s->pinned;
    Error *err = NULL;

    if (spec->kind == SOCKET_FD && s->pinned.fd < 0) {
        error_setg(errp, "NBD server '%s' cannot be connected to again", s->address);
        return false;
    }
    int fd = socket_connect(spec, &err);
    s->pinned.fd = -1;              /* whatever becomes of it, it is used up */
    if (fd < 0 && c->timed_out) {
        error_free(err);
        error_setg(errp, "Failed to connect to '%s': no answer in %d seconds", s->address,
                   NBD_CLIENT_HANDSHAKE_SECONDS);
    } else {
        error_propagate(errp, err);
    }
    if (fd < 0) {
        return false;
    }
    socket_set_nodelay(fd);
    if (nbd_library.aio_connect_socket(c->h, fd) < 0) {     /* takes it */
        set_failed(c, errp);
        return false;
    }
    return true;
}

static bool prepare_handle(NbdConn *c, Error **errp)
{
    NbdState *s = c->s;
    nbd_debug_callback debug = { .callback = on_debug, .user_data = c };

    c->h = nbd_library.create();
    if (!c->h || nbd_library.set_debug_callback(c->h, debug) < 0 ||
        nbd_library.set_debug(c->h, true) < 0 ||
        nbd_library.set_export_name(c->h, s->export ?: "") < 0 ||
        nbd_library.add_meta_context(c->h, s->context) < 0 ||
        nbd_library.set_tls(c->h, LIBNBD_TLS_DISABLE) < 0 ||
        nbd_library.set_pread_initialize(c->h, false) < 0 ||
        nbd_library.set_opt_mode(c->h, true) < 0) {
        error_setg(errp, "Cannot use libnbd: %s", libnbd_text());
        return false;
    }
    return true;
}

static int on_go(void *opaque, int *error)
{
    *(int *)opaque = *error;
    return 1;
}

/* Until the export is chosen, in whatever way the server knows. */
static bool co_main_fn choose_export(NbdConn *c, Error **errp)
{
    int refused = 0;
    bool asked = false;
    nbd_completion_callback go = { .callback = on_go, .user_data = &refused };

    while (nbd_library.aio_is_ready(c->h) <= 0) {
        if (nbd_library.aio_is_negotiating(c->h) > 0) {
            if (asked) {
                set_refused(c, refused, errp);
                return false;
            }
            asked = true;
            if (nbd_library.aio_opt_go(c->h, go) < 0) {
                set_failed(c, errp);
                return false;
            }
        } else if (!nbd_step(c, -1) || c->timed_out) {
            set_failed(c, errp);
            return false;
        }
    }
    return true;
}

/* ---- what the server says of the export ---- */

static bool check_info(const NbdState *s, NbdExportInfo *i, Error **errp)
{
    if (i->length < 0 || i->length > BDRV_MAX_LENGTH) {
        error_setg(errp, "NBD server '%s' says that export '%s' is longer than a disk can be",
                   s->address, s->export ?: "");
        return false;
    }
    if (!IS_POWER_OF_2(i->min_block) || i->max_payload < i->min_block) {
        error_setg(errp, "NBD server '%s' has impossible block sizes", s->address);
        return false;
    }
    if (i->length % i->min_block) {
        error_setg(errp, "export length %" PRId64 " is not multiple of minimum block size %u",
                   i->length, i->min_block);
        return false;
    }
    return true;
}

static bool read_info(NbdConn *c, NbdExportInfo *i, Error **errp)
{
    struct nbd_handle *h = c->h;
    int64_t min = nbd_library.get_block_size(h, LIBNBD_SIZE_MINIMUM);
    int64_t max = nbd_library.get_block_size(h, LIBNBD_SIZE_MAXIMUM);

    /* libnbd has made nothing of values that the protocol does not allow, and knows 64 KiB as the
     * largest minimum. */
    i->min_block = min > 0 ? min : 1;
    i->max_payload = ROUND_DOWN(max > 0 ? MIN(max, NBD_MAX_PAYLOAD) : NBD_MAX_PAYLOAD,
                                i->min_block);
    i->length = nbd_library.get_size(h);
    i->read_only = nbd_library.is_read_only(h) > 0;
    i->can_flush = nbd_library.can_flush(h) > 0;
    i->can_fua = nbd_library.can_fua(h) > 0;
    i->can_trim = nbd_library.can_trim(h) > 0;
    i->can_zero = nbd_library.can_zero(h) > 0;
    i->can_fast_zero = nbd_library.can_fast_zero(h) > 0;
    i->can_multi_conn = nbd_library.can_multi_conn(h) > 0;
    i->can_status = nbd_library.can_meta_context(h, c->s->context) > 0;
    if (!i->can_status && !c->s->is_allocation) {
        error_setg(errp, "requested x-dirty-bitmap %s not found", c->s->context);
        return false;
    }
    return check_info(c->s, i, errp);
}

bool any_fn nbd_check_same_export(const NbdState *s, const NbdExportInfo *now, Error **errp)
{
    const NbdExportInfo *was = &s->info;
    const char *what =
        now->length != was->length                          ? "length" :
        now->min_block > was->min_block ||
        now->max_payload < was->max_payload                 ? "block sizes" :
        (now->read_only && !was->read_only) ||
        now->can_flush < was->can_flush || now->can_fua < was->can_fua ||
        now->can_trim < was->can_trim || now->can_zero < was->can_zero ||
        now->can_fast_zero < was->can_fast_zero || now->can_status < was->can_status
                                                            ? "abilities" : NULL;

    if (what) {
        error_setg(errp, "NBD server '%s' has another disk as export '%s' than before: its %s "
                   "changed", s->address, s->export ?: "", what);
    }
    return !what;
}

bool co_main_fn nbd_handshake(NbdConn *c, NbdExportInfo *ret, Error **errp)
{
    c->timed_out = false;
    c->said = g_string_new(NULL);
    aio_timer_init(&c->timer, c->s->ctx, end_attempt, c);
    aio_timer_arm(&c->timer, clock_ns() + NBD_CLIENT_HANDSHAKE_SECONDS * NS_PER_SEC);
    bool ok = prepare_handle(c, errp) && connect_socket(c, errp) && choose_export(c, errp) &&
              read_info(c, ret, errp);
    aio_timer_disarm(&c->timer);
    if (c->h) {
        nbd_library.set_debug(c->h, false);
    }
    if (!ok) {
        nbd_library.close(c->h);
        c->h = NULL;
    }
    g_string_free(c->said, TRUE);
    c->said = NULL;
    return ok;
}
