/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a QMP client sends: a stream of JSON, and in it commands with arguments.  No handler is run;
 * each command fails when its arguments have been parsed.
 */
#include "qemu/osdep.h"

#include "qapi/command.h"
#include "qobject/json.h"
#include "tests/fuzz/fuzz.h"

static void co_main_fn try_command(const QmpCommand *cmd, QDict *arguments)
{
    Error *err = NULL;
    QObject *ret = cmd->marshal(arguments, &err);

    g_assert(!ret != !err);
    qobject_unref(ret);
    error_free(err);
}

/* What was printed can be read.  (It may differ: fractions are printed as QEMU prints them.) */
static void check_output(QObject *value)
{
    g_autofree char *text = json_to_string(value);
    QObject *again = json_parse_str(text, &error_abort);

    g_assert_cmpint(qobject_type(again), ==, qobject_type(value));
    qobject_unref(again);
}

static void co_main_fn on_value(void *opaque, QObject *value, Error *err)
{
    QDict *dict = value ? qobject_to_qdict(value) : NULL;

    g_assert(!value != !err);
    if (value) {
        check_output(value);
    }
    if (dict) {
        QObject *args = qdict_get(dict, "arguments");
        const char *name = qdict_get_str(dict, "execute");
        g_autoptr(QDict) none = qdict_new();
        for (const QmpCommand *cmd = qmp_commands; cmd->name; cmd++) {
            if (!name || strcmp(name, cmd->name) == 0) {
                QDict *use = args ? qobject_to_qdict(args) : name ? none : dict;
                try_command(cmd, use ?: none);
            }
        }
    }
    qobject_unref(value);
    error_free(err);
}

static void co_main_fn run(const uint8_t *data, size_t size)
{
    FuzzInput in = { data, size };
    /* The pieces in which the text arrives must make no difference. */
    size_t piece = fuzz_take(&in, 1) ?: SIZE_MAX;
    g_autoptr(JsonStream) stream = json_stream_new(on_value, NULL);

    while (in.size) {
        size_t n = MIN(piece, in.size);
        json_stream_feed(stream, (const char *)in.data, n);
        in.data += n;
        in.size -= n;
    }
    json_stream_end(stream);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_run(run, data, size);
    return 0;
}
