/* SPDX-License-Identifier: GPL-2.0-or-later */
/* --trace: `[[enable=]PATTERN][,events=FILE][,file=FILE]`. */
#include "qemu/osdep.h"

#include "qemu/line-writer.h"
#include "qemu/log.h"
#include "qemu/trace.h"
#include "qobject/keyval.h"
#include "trace.h"

/* A burst of requests is written, not dropped. */
#define MAX_BYTES (4 * MiB)

static LineWriter *writer;
static GString *text;               /* the writer's thread's: lines on their way to the file */
static int file_fd = -1;

static void blocking_fn write_line(void *opaque, int64_t time_us, const char *line)
{
    if (line) {
        g_string_append(text, line);
        g_string_append_c(text, '\n');
    }
    if (!line || text->len > 64 * KiB) {
        line_writer_write_all(file_fd, text->str, text->len);
        g_string_truncate(text, 0);
    }
}

static void put_line(const char *line)
{
    line_writer_put(writer, line);
}

static bool open_file(const char *path, Error **errp)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC | O_NOCTTY, 0640);

    if (fd < 0) {
        error_setg_errno(errp, errno, "Cannot open the trace file '%s'", path);
        return false;
    }
    if (file_fd >= 0) {
        close(file_fd);             /* of an earlier --trace; nothing is written yet */
    }
    file_fd = fd;
    if (!writer) {
        text = g_string_new(NULL);
        writer = line_writer_new("this trace", MAX_BYTES, write_line, NULL);
    }
    trace_set_handler(put_line);
    return true;
}

/* `PATTERN`, or `-PATTERN` to switch off. */
static void enable(const char *pattern)
{
    bool on = pattern[0] != '-';

    if (trace_switch(pattern + !on, on) == 0 && !strpbrk(pattern, "*?")) {
        g_printerr("%s: warning: trace event '%s' does not exist\n", g_get_prgname(),
                   pattern + !on);
    }
}

/* One pattern on each line; empty ones and those that begin with `#` are left out. */
static bool enable_from(const char *path, Error **errp)
{
    g_autofree char *content = NULL;
    g_autoptr(GError) err = NULL;
    g_auto(GStrv) lines = NULL;

    if (!g_file_get_contents(path, &content, NULL, &err)) {
        error_setg(errp, "Cannot read the trace events of '%s': %s", path, err->message);
        return false;
    }
    lines = g_strsplit(content, "\n", -1);
    for (char **line = lines; *line; line++) {
        g_strstrip(*line);
        if (**line && **line != '#') {
            enable(*line);
        }
    }
    return true;
}

static void list_events(void)
{
    for (const TraceEvent *e = trace_events; e->name; e++) {
        puts(e->name);
    }
}

bool tool_trace(const char *value, Error **errp)
{
    g_autoptr(QDict) dict = keyval_parse_flat(value, "enable", errp);
    const char *key;
    QObject *item;

    if (!dict) {
        return false;
    }
    for (size_t i = 0; qdict_member(dict, i, &key, &item); i++) {
        const char *arg = qobject_get_str(item);
        if (strcmp(key, "enable") == 0 && (!strcmp(arg, "help") || !strcmp(arg, "?"))) {
            list_events();
            exit(0);
        } else if (strcmp(key, "enable") == 0) {
            enable(arg);
        } else if (strcmp(key, "events") == 0 ? !enable_from(arg, errp) :
                   strcmp(key, "file") == 0   ? !open_file(arg, errp)   : false) {
            return false;
        } else if (strcmp(key, "events") != 0 && strcmp(key, "file") != 0) {
            error_setg(errp, "Invalid parameter '%s'", key);
            return false;
        }
    }
    return true;
}

void blocking_fn tool_trace_finish(int64_t patience_ns)
{
    if (writer) {
        line_writer_finish(writer, patience_ns);
    }
}
