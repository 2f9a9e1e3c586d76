/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The bytes of a migration, big-endian:
 *
 *     0   "QGSMIGR1"
 *     8   u32: bytes of the text
 *     12  the text, JSON: { "running", "trays", "bitmaps": [ { ..., "bytes" } ] }
 *         the bits of each bitmap in turn, as many bytes as it says
 *     ..  "QGSMIGRE"
 */
#include "qemu/osdep.h"

#include "migration-internal.h"
#include "qemu/bswap.h"
#include "qobject/json.h"

#define MAGIC "QGSMIGR1"
#define END   "QGSMIGRE"
#define MAGIC_BYTES 8

/* More than that is no machine: a peer does not make us use memory without end. */
#define MAX_TEXT (16 * MiB)
#define MAX_BITS (1 * GiB)

void main_fn migration_stream_clear(MigrationStream *s)
{
    qobject_unref(QOBJECT(s->state));
    if (s->bits) {
        g_ptr_array_unref(s->bits);
    }
    *s = (MigrationStream){ NULL };
}

/* ---- to the other side ---- */

static int co_main_fn send_bytes(Channel *c, const void *buf, size_t len)
{
    struct iovec iov = { (void *)buf, len };

    return len ? channel_send_all(c, &iov, 1) : 0;
}

bool co_main_fn migration_send(Channel *c, const MigrationStream *s, Error **errp)
{
    g_autofree char *text = json_to_string(QOBJECT(s->state));
    uint8_t head[MAGIC_BYTES + 4];
    int ret;

    memcpy(head, MAGIC, MAGIC_BYTES);
    be32_store(head + MAGIC_BYTES, strlen(text));
    ret = send_bytes(c, head, sizeof(head));
    if (ret == 0) {
        ret = send_bytes(c, text, strlen(text));
    }
    for (guint i = 0; i < s->bits->len && ret == 0; i++) {
        gsize len;
        const void *bits = g_bytes_get_data(s->bits->pdata[i], &len);
        ret = send_bytes(c, bits, len);
    }
    if (ret == 0) {
        ret = send_bytes(c, END, MAGIC_BYTES);
    }
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Cannot send the machine");
    }
    return ret == 0;
}

/* ---- from the other side ---- */

static bool co_main_fn recv_bytes(Channel *c, void *buf, size_t len, Error **errp)
{
    int ret = len ? channel_recv_all(c, buf, len) : 0;

    if (ret < 0) {
        error_setg_errno(errp, -ret, "Cannot receive the machine");
    }
    return ret == 0;
}

static bool co_main_fn recv_text(Channel *c, MigrationStream *ret, Error **errp)
{
    uint8_t head[MAGIC_BYTES + 4];

    if (!recv_bytes(c, head, sizeof(head), errp)) {
        return false;
    }
    migration_set_status(MIGRATION_STATUS_ACTIVE);     /* not before something comes */
    uint32_t len = be32_load(head + MAGIC_BYTES);
    if (memcmp(head, MAGIC, MAGIC_BYTES) != 0 || len > MAX_TEXT) {
        error_setg(errp, "What comes is no machine that this program has sent");
        return false;
    }
    g_autofree char *text = g_try_malloc(len + 1);
    if (!text) {
        error_setg_errno(errp, ENOMEM, "Cannot receive the machine");
        return false;
    }
    if (!recv_bytes(c, text, len, errp)) {
        return false;
    }
    QObject *state = json_parse(text, len, errp);
    ret->state = qobject_to_qdict(state);
    if (state && !ret->state) {
        error_setg(errp, "What comes is no machine: its state is no object");
        qobject_unref(state);
    }
    return ret->state != NULL;
}

static bool co_main_fn recv_bits(Channel *c, MigrationStream *ret, Error **errp)
{
    QList *bitmaps = qobject_to_qlist(qdict_get(ret->state, "bitmaps"));

    for (size_t i = 0; bitmaps && i < qlist_size(bitmaps); i++) {
        QDict *bitmap = qobject_to_qdict(qlist_get(bitmaps, i));
        uint64_t len = 0;
        if (!bitmap || !qobject_get_uint(qdict_get(bitmap, "bytes"), &len) || len > MAX_BITS) {
            error_setg(errp, "What comes is no machine: a bitmap has no or too many bytes");
            return false;
        }
        uint8_t *bits = g_try_malloc(MAX(len, 1));
        if (!bits || !recv_bytes(c, bits, len, errp)) {
            if (!bits) {
                error_setg_errno(errp, ENOMEM, "Cannot receive the machine");
            }
            g_free(bits);
            return false;
        }
        g_ptr_array_add(ret->bits, g_bytes_new_take(bits, len));
    }
    return true;
}

bool co_main_fn migration_recv(Channel *c, MigrationStream *ret, Error **errp)
{
    uint8_t end[MAGIC_BYTES];

    *ret = (MigrationStream){
        .bits = g_ptr_array_new_with_free_func((GDestroyNotify)g_bytes_unref),
    };
    if (!recv_text(c, ret, errp) || !recv_bits(c, ret, errp) ||
        !recv_bytes(c, end, sizeof(end), errp)) {
        migration_stream_clear(ret);
        return false;
    }
    if (memcmp(end, END, MAGIC_BYTES) != 0) {
        error_setg(errp, "What comes is no whole machine");
        migration_stream_clear(ret);
        return false;
    }
    return true;
}
