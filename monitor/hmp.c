/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The human monitor: which commands there are, running one, and help. */
#include "qemu/osdep.h"

#include "daemon.h"
#include "hmp-internal.h"
#include "monitor-internal.h"

/* Of HmpCommand, in the order of names. */
static GPtrArray *commands, *info_commands;

/* ---- the commands that there are ---- */

static bool has_name(const HmpCommand *cmd, const char *name, size_t len)
{
    for (const char *p = cmd->name; *p; p += p[strcspn(p, "|")] ? strcspn(p, "|") + 1 : strlen(p)) {
        if (strcspn(p, "|") == len && strncmp(p, name, len) == 0) {
            return true;
        }
    }
    return false;
}

static const HmpCommand *find(const GPtrArray *table, const char *name, size_t len)
{
    for (guint i = 0; i < table->len; i++) {
        if (has_name(table->pdata[i], name, len)) {
            return table->pdata[i];
        }
    }
    return NULL;
}

static int compare(const void *a, const void *b)
{
    const HmpCommand *const *x = a, *const *y = b;

    return strcmp((*x)->name, (*y)->name);
}

static void main_fn add(GPtrArray **table, const HmpCommand *list)
{
    if (!*table) {
        *table = g_ptr_array_new();
    }
    for (; list->name; list++) {
        g_assert(!find(*table, list->name, strcspn(list->name, "|")));
        g_ptr_array_add(*table, (void *)list);
    }
    g_ptr_array_sort(*table, compare);
}

void monitor_hmp_register(const HmpCommand *list)
{
    add(&commands, list);
}

void monitor_hmp_register_info(const HmpCommand *list)
{
    add(&info_commands, list);
}

const char *monitor_hmp_name(const char *first, size_t i)
{
    const GPtrArray *table = !first || strcmp(first, "help") == 0 ? commands :
                             strcmp(first, "info") == 0           ? info_commands : NULL;
    const HmpCommand *cmd = table && i < table->len ? table->pdata[i] : NULL;
    static char name[64];

    if (!cmd) {
        return NULL;
    }
    g_strlcpy(name, cmd->name, MIN(sizeof(name), strcspn(cmd->name, "|") + 1));
    return name;
}

/* ---- help ---- */

static void append_help(GString *out, const char *prefix, const HmpCommand *cmd)
{
    g_string_append_printf(out, "%s%s %s -- %s\n", prefix, cmd->name, cmd->args ?: "", cmd->help);
}

static void append_all_help(GString *out, const char *prefix, const GPtrArray *table)
{
    for (guint i = 0; i < table->len; i++) {
        append_help(out, prefix, table->pdata[i]);
    }
}

static size_t word_length(const char *p)
{
    return strcspn(p, " \t\r\n");
}

static const char *skip_space(const char *p)
{
    return p + strspn(p, " \t\r\n");
}

static bool is_info(const HmpCommand *cmd)
{
    return strcmp(cmd->name, "info") == 0;
}

static void main_fn hmp_help(GString *out, const HmpArgs *args)
{
    const char *topic = skip_space(hmp_str(args, "name") ?: "");
    const HmpCommand *cmd = find(commands, topic, word_length(topic));
    const char *sub = skip_space(topic + word_length(topic));

    if (!*topic) {
        append_all_help(out, "", commands);
    } else if (cmd && is_info(cmd) && !*sub) {
        append_all_help(out, "info ", info_commands);
    } else if (cmd && is_info(cmd) && find(info_commands, sub, word_length(sub))) {
        append_help(out, "info ", find(info_commands, sub, word_length(sub)));
    } else if (cmd && !is_info(cmd)) {
        append_help(out, "", cmd);
    } else {
        g_string_append_printf(out, "unknown command: '%s'\n", topic);
    }
}

/* ---- commands about the monitor itself ---- */

static void main_fn hmp_info(GString *out, const HmpArgs *args)
{
    append_all_help(out, "info ", info_commands);
}

static void main_fn hmp_quit(GString *out, const HmpArgs *args)
{
    monitor_quit();
}

static const HmpCommand own_commands[] = {
    { "help|?", "[cmd]", "show the help", hmp_help, { { "name", HMP_REST, true } } },
    { "info", "[subcommand]", "show various information about the system state", hmp_info },
    { "quit|q", NULL, "quit the emulator", hmp_quit },
    { NULL },
};

void monitor_hmp_init(void)
{
    g_clear_pointer(&commands, g_ptr_array_unref);
    g_clear_pointer(&info_commands, g_ptr_array_unref);
    monitor_hmp_register(own_commands);
    monitor_hmp_register_info((const HmpCommand[]){ { NULL } });
}

/* ---- running ---- */

/* The command that @line begins with, *@ret_end being where its arguments are; NULL: see @out. */
static const HmpCommand *look_up(const char *line, const char **ret_end, GString *out)
{
    size_t len = word_length(line);
    const char *sub = skip_space(line + len);
    const HmpCommand *cmd = find(commands, line, len);

    *ret_end = line + len;
    if (cmd && is_info(cmd) && *sub) {
        cmd = find(info_commands, sub, word_length(sub));
        *ret_end = sub + word_length(sub);
    }
    if (!cmd) {
        g_string_append_printf(out, "unknown command: '%.*s'\n", (int)(*ret_end - line), line);
    }
    return cmd;
}

bool any_fn hmp_failed(GString *out, Error *err)
{
    if (!err) {
        return false;
    }
    g_string_append_printf(out, "Error: %s\n", error_get_pretty(err));
    error_free(err);
    return true;
}

void monitor_hmp_execute(GString *out, const char *line)
{
    const char *end;

    line = skip_space(line);
    if (!*line || monitor_intercept_line(out, line)) {
        return;
    }
    const HmpCommand *cmd = look_up(line, &end, out);
    if (!cmd) {
        return;
    }
    g_autoptr(HmpArgs) args = hmp_args_parse(cmd, end, out);
    if (!args) {
        g_string_append_printf(out, "Try \"help %.*s\" for more information\n", (int)(end - line),
                               line);
        return;
    }
    cmd->co_run(out, args);
}

char *monitor_hmp_run(const char *line)
{
    GString *out = g_string_new(NULL);

    monitor_hmp_execute(out, line);
    g_string_replace(out, "\n", "\r\n", 0);
    return g_string_free(out, FALSE);
}
