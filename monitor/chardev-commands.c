/* SPDX-License-Identifier: GPL-2.0-or-later */
/* QMP commands that make, change and remove channels, and look into the memory of one. */
#include "qemu/osdep.h"

#include "monitor-internal.h"
#include "qapi/qapi-commands.h"
#include "qobject/keyval.h"

bool qmp_query_chardev_backends(ChardevBackendInfoList **ret, Error **errp)
{
    ChardevBackendInfoList *list = NULL, **tail = &list;

    for (int i = 0; i < CHARDEV_BACKEND_KIND__MAX; i++) {
        ChardevBackendInfo *info = g_new0(ChardevBackendInfo, 1);

        info->name = g_strdup(ChardevBackendKind_str(i));
        ChardevBackendInfoList_append(&tail, info);
    }
    *ret = list;
    return true;
}

/* ---- making and removing ---- */

static bool co_main_fn make(const char *id, const ChardevBackend *backend, MonitorChardev *old,
                            ChardevReturn **ret, Error **errp)
{
    MonitorChardev *chr = monitor_chardev_new(id, backend, old, errp);

    if (!chr) {
        error_prepend(errp, "Failed to add chardev '%s': ", id);
        return false;
    }
    *ret = g_new0(ChardevReturn, 1);
    (*ret)->pty = g_strdup(chr->pty_name);
    return true;
}

bool co_main_fn qmp_chardev_add(const QmpChardevAddArgs *args, ChardevReturn **ret, Error **errp)
{
    if (monitor_chardev_find(args->id)) {
        error_setg(errp, "Chardev with id '%s' already exists", args->id);
        return false;
    }
    return make(args->id, args->backend, NULL, ret, errp);
}

bool co_main_fn qmp_chardev_change(const QmpChardevChangeArgs *args, ChardevReturn **ret,
                                   Error **errp)
{
    MonitorChardev *old = monitor_chardev_find(args->id);

    if (!old) {
        error_setg(errp, "Chardev '%s' does not exist", args->id);
        return false;
    }
    if (old->in_use) {
        error_setg(errp, "Chardev user does not support chardev hotswap");
        return false;
    }
    return make(args->id, args->backend, old, ret, errp);
}

bool monitor_chardev_change(const char *id, const char *text, Error **errp)
{
    g_autoptr(QDict) options = keyval_parse_flat(text, "backend", errp);
    g_autoptr(ChardevBackend) backend = NULL;
    g_autoptr(ChardevReturn) ret = NULL;
    g_autofree char *given = NULL;

    if (!options) {
        return false;
    }
    qdict_put_str(options, "id", id);
    backend = monitor_chardev_parse(options, &given, errp);
    QmpChardevChangeArgs args = { .id = (char *)id, .backend = backend };
    return backend && qmp_chardev_change(&args, &ret, errp);
}

static MonitorChardev *main_fn find(const char *id, Error **errp)
{
    MonitorChardev *chr = monitor_chardev_find(id);

    if (!chr) {
        error_setg(errp, "Chardev '%s' not found", id);
    }
    return chr;
}

bool co_main_fn qmp_chardev_remove(const QmpChardevRemoveArgs *args, Error **errp)
{
    MonitorChardev *chr = find(args->id, errp);

    if (!chr) {
        return false;
    }
    if (chr->in_use) {
        error_setg(errp, "Chardev '%s' is busy", args->id);
        return false;
    }
    monitor_chardev_remove(chr);
    return true;
}

bool co_main_fn qmp_chardev_send_break(const QmpChardevSendBreakArgs *args, Error **errp)
{
    return find(args->id, errp) != NULL;
}

/* ---- memory ---- */

static MonitorChardev *main_fn find_ring(const char *id, Error **errp)
{
    MonitorChardev *chr = monitor_chardev_find(id);

    if (!chr) {
        error_setg(errp, "Device '%s' not found", id);
        return NULL;
    }
    if (!chr->ring) {
        error_setg(errp, "%s is not a ringbuf device", id);
        return NULL;
    }
    return chr;
}

/* Only letters of the alphabet, padded; glib's decoder leaves out what it does not know. */
static bool is_base64(const char *text)
{
    size_t len = strlen(text), letters = strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnop"
                                                "qrstuvwxyz0123456789+/");

    return len % 4 == 0 && len - letters <= 2 && strspn(text + letters, "=") == len - letters;
}

bool co_main_fn qmp_ringbuf_write(const QmpRingbufWriteArgs *args, Error **errp)
{
    MonitorChardev *chr = find_ring(args->device, errp);
    g_autofree guchar *raw = NULL;
    const char *bytes = args->data;
    gsize len = strlen(bytes);

    if (!chr) {
        return false;
    }
    if (args->has_format && args->format == DATA_FORMAT_BASE64) {
        if (!is_base64(args->data)) {
            error_setg(errp, "Base64 data contains invalid characters");
            return false;
        }
        raw = g_base64_decode(args->data, &len);
        bytes = (char *)raw;
    }
    monitor_chardev_sent(chr, bytes, len);
    return true;
}

/* Bytes of the whole characters at the head of @text; what can be none counts as one byte. */
static size_t whole_characters(const char *text, size_t len)
{
    size_t pos = 0;

    while (pos < len) {
        gunichar c = g_utf8_get_char_validated(text + pos, len - pos);

        if (c == (gunichar)-2 && len - pos < 4 && text[pos] != '\0') {
            break;                          /* the head of one */
        }
        pos += c >= (gunichar)-2 ? 1 : (size_t)g_utf8_skip[(guchar)text[pos]];
    }
    return pos;
}

bool co_main_fn qmp_ringbuf_read(const QmpRingbufReadArgs *args, char **ret, Error **errp)
{
    MonitorChardev *chr = find_ring(args->device, errp);
    g_autofree char *buf = NULL;

    if (!chr) {
        return false;
    }
    if (args->size <= 0) {
        error_setg(errp, "size must be greater than zero");
        return false;
    }
    size_t len = MIN((uint64_t)args->size, monitor_ring_used(chr->ring));
    buf = g_malloc(len + 1);
    monitor_ring_peek(chr->ring, buf, len);
    if (args->has_format && args->format == DATA_FORMAT_BASE64) {
        *ret = g_base64_encode((guchar *)buf, len);
    } else {
        size_t whole = whole_characters(buf, len);

        len = whole > 0 ? whole : len;      /* never stuck */
        *ret = g_utf8_make_valid(buf, len);
    }
    monitor_ring_drop(chr->ring, len);
    return true;
}
