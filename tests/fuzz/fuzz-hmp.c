/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What somebody types at the monitor for people: keys and escape sequences, and in them lines with
 * arguments of every kind.  No command does anything.
 */
#include "qemu/osdep.h"

#include "monitor/hmp.h"
#include "monitor/line-editor.h"
#include "monitor/monitor.h"
#include "tests/fuzz/fuzz.h"

static void nothing(GString *out, const HmpArgs *args)
{
    g_string_append(out, "done\n");
}

static const HmpCommand commands[] = {
    { "words", NULL, "words", nothing,
      { { "n", HMP_FLAG }, { "f", HMP_FLAG }, { "device", HMP_DEVICE }, { "x", HMP_FLAG },
        { "file", HMP_FILE, true }, { "text", HMP_STRING, true } } },
    { "numbers", NULL, "numbers", nothing,
      { { "size", HMP_SIZE }, { "number", HMP_INT }, { "other", HMP_INT, true } } },
    { "switch|s", NULL, "a switch", nothing, { { "on", HMP_SWITCH }, { "rest", HMP_REST, true } } },
    { NULL },
};

static const HmpCommand info_commands[] = {
    { "thing", NULL, "a thing", nothing, { { "v", HMP_FLAG }, { "what", HMP_STRING, true } } },
    { NULL },
};

static const QmpCommand no_commands[] = { { NULL } };

/* What is shown is bounded by what was typed: a line is redrawn once for a key. */
static void show(void *opaque, const char *text, size_t len)
{
    g_assert_cmpuint(len, <=, 64 * 1024);
}

static const char *name_at(const char *first, size_t i)
{
    static const char *const names[] = { "words", "work", "numbers", "switch" };

    return i < G_N_ELEMENTS(names) ? names[i] : NULL;
}

static void no_shutdown(void)
{
}

static void co_main_fn run(const uint8_t *data, size_t size)
{
    g_autoptr(LineEditor) editor = line_editor_new("> ", show, NULL);

    monitor_init(no_commands, no_shutdown);
    monitor_hmp_register(commands);
    monitor_hmp_register_info(info_commands);
    line_editor_set_names(editor, name_at);
    for (size_t i = 0; i < size; i++) {
        g_autofree char *line = line_editor_feed(editor, (char)data[i]);

        if (line) {
            g_autofree char *output = monitor_hmp_run(line);
            g_assert_true(!*output || g_str_has_suffix(output, "\r\n"));
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_run(run, data, size);
    return 0;
}
