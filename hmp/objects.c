/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Objects and channels, made and removed; the memory of a channel. */
#include "qemu/osdep.h"

#include "hmp-commands.h"
#include "monitor/monitor.h"
#include "qapi/qapi-commands.h"
#include "qapi/qapi-parse.h"
#include "qobject/keyval.h"

static char *str(const HmpArgs *args, const char *name)
{
    return (char *)hmp_str(args, name);
}

/* ---- objects ---- */

static ObjectOptions *parse_object(const char *text, Error **errp)
{
    bool is_json;
    g_autoptr(QDict) dict = keyval_parse_or_json(text, "qom-type", &is_json, errp);
    ObjectOptions *opts = NULL;

    if (dict && is_json) {
        ObjectOptions_parse(QOBJECT(dict), &opts, errp);
    } else if (dict) {
        ObjectOptions_parse_keyval(QOBJECT(dict), &opts, errp);
    }
    return opts;
}

static void co_main_fn object_add(GString *out, const HmpArgs *args)
{
    Error *err = NULL;
    g_autoptr(ObjectOptions) opts = parse_object(hmp_str(args, "object"), &err);

    if (opts) {
        qmp_object_add(opts, &err);
    }
    hmp_failed(out, err);
}

static void co_main_fn object_del(GString *out, const HmpArgs *args)
{
    QmpObjectDelArgs q = { .id = str(args, "id") };
    Error *err = NULL;

    qmp_object_del(&q, &err);
    hmp_failed(out, err);
}

/* ---- channels ---- */

static void co_main_fn chardev_add(GString *out, const HmpArgs *args)
{
    Error *err = NULL;

    monitor_chardev_add(hmp_str(args, "args"), &err);
    hmp_failed(out, err);
}

static void co_main_fn chardev_change(GString *out, const HmpArgs *args)
{
    Error *err = NULL;

    monitor_chardev_change(hmp_str(args, "id"), hmp_str(args, "args"), &err);
    hmp_failed(out, err);
}

static void co_main_fn chardev_remove(GString *out, const HmpArgs *args)
{
    QmpChardevRemoveArgs q = { .id = str(args, "id") };
    Error *err = NULL;

    qmp_chardev_remove(&q, &err);
    hmp_failed(out, err);
}

static void co_main_fn chardev_send_break(GString *out, const HmpArgs *args)
{
    QmpChardevSendBreakArgs q = { .id = str(args, "id") };
    Error *err = NULL;

    qmp_chardev_send_break(&q, &err);
    hmp_failed(out, err);
}

static void co_main_fn ringbuf_write(GString *out, const HmpArgs *args)
{
    QmpRingbufWriteArgs q = { .device = str(args, "device"), .data = str(args, "data") };
    Error *err = NULL;

    qmp_ringbuf_write(&q, &err);
    hmp_failed(out, err);
}

/* What is no text is shown as its number. */
static void append_text(GString *out, const char *text)
{
    for (; *text; text++) {
        if (*text == '\\') {
            g_string_append(out, "\\\\");
        } else if (((unsigned char)*text < ' ' && *text != '\n' && *text != '\t') ||
                   *text == 0x7f) {
            g_string_append_printf(out, "\\u%04X", (unsigned)(unsigned char)*text);
        } else {
            g_string_append_c(out, *text);
        }
    }
    g_string_append_c(out, '\n');
}

static void co_main_fn ringbuf_read(GString *out, const HmpArgs *args)
{
    QmpRingbufReadArgs q = { .device = str(args, "device"), .size = hmp_int(args, "size") };
    g_autofree char *text = NULL;
    Error *err = NULL;

    qmp_ringbuf_read(&q, &text, &err);
    if (!hmp_failed(out, err)) {
        append_text(out, text);
    }
}

const HmpCommand hmp_object_commands[] = {
    { "chardev-add", "args", "add chardev", chardev_add, { { "args", HMP_STRING } } },
    { "chardev-change", "id args", "change chardev", chardev_change,
      { { "id", HMP_STRING }, { "args", HMP_STRING } } },
    { "chardev-remove", "id", "remove chardev", chardev_remove, { { "id", HMP_STRING } } },
    { "chardev-send-break", "id", "send a break on chardev", chardev_send_break,
      { { "id", HMP_STRING } } },
    { "object_add", "[qom-type=]type,id=str[,prop=value][,...]", "create QOM object", object_add,
      { { "object", HMP_REST } } },
    { "object_del", "id", "destroy QOM object", object_del, { { "id", HMP_STRING } } },
    { "ringbuf_read", "device size", "Read from a ring buffer character device", ringbuf_read,
      { { "device", HMP_STRING }, { "size", HMP_INT } } },
    { "ringbuf_write", "device data", "Write to a ring buffer character device", ringbuf_write,
      { { "device", HMP_STRING }, { "data", HMP_STRING } } },
    { NULL },
};
