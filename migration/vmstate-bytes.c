/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The bytes of a machine's state in an image: 16 bytes, big-endian, then text.
 *
 *     0   "QGSVMST\0"
 *     8   version, 1
 *     12  bytes of the text, JSON
 */
#include "qemu/osdep.h"

#include "qemu/bswap.h"
#include "qobject/json.h"
#include "vmstate-internal.h"

#define MAGIC "QGSVMST"
#define HEAD_BYTES 16
#define VERSION 1
/* No machine that is not run has more to say; a damaged image does not make us read for ever. */
#define MAX_TEXT (1 * MiB)

bool co_main_fn vmstate_write(BlockDriverState *bs, const QDict *state, int64_t *ret_size,
                              Error **errp)
{
    g_autofree char *text = json_to_string(QOBJECT(state));
    size_t len = strlen(text);
    g_autofree uint8_t *buf = g_malloc0(HEAD_BYTES + len);
    IoVec v;

    memcpy(buf, MAGIC, sizeof(MAGIC));
    be32_store(buf + 8, VERSION);
    be32_store(buf + 12, len);
    memcpy(buf + HEAD_BYTES, text, len);
    iovec_init_buf(&v, buf, HEAD_BYTES + len);
    int ret = bdrv_co_save_vmstate(bs, 0, v.size, &v);
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Error while writing VM state");
        return false;
    }
    *ret_size = v.size;
    return true;
}

static bool co_main_fn read_at(BlockDriverState *bs, int64_t pos, void *buf, size_t len,
                               Error **errp)
{
    IoVec v;

    iovec_init_buf(&v, buf, len);
    int ret = bdrv_co_load_vmstate(bs, pos, len, &v);
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Error while reading VM state");
    }
    return ret == 0;
}

QDict *co_main_fn vmstate_read(BlockDriverState *bs, Error **errp)
{
    uint8_t head[HEAD_BYTES];

    if (!read_at(bs, 0, head, sizeof(head), errp)) {
        return NULL;
    }
    uint32_t len = be32_load(head + 12);
    if (memcmp(head, MAGIC, sizeof(MAGIC)) != 0 || be32_load(head + 8) != VERSION ||
        len > MAX_TEXT) {
        error_setg(errp, "The VM state in the snapshot was not saved by this program without a "
                   "machine");
        return NULL;
    }
    g_autofree char *text = g_malloc0(len + 1);
    if (!read_at(bs, HEAD_BYTES, text, len, errp)) {
        return NULL;
    }
    QObject *state = json_parse(text, len, errp);
    if (state && !qobject_to_qdict(state)) {
        error_setg(errp, "The VM state in the snapshot is damaged");
        qobject_unref(state);
        return NULL;
    }
    return qobject_to_qdict(state);
}
