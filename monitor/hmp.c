/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The human monitor: finding commands, and help. */
#include "qemu/osdep.h"

#include "daemon.h"
#include "monitor-internal.h"
#include "qapi/qapi-commands.h"

/* Most words of a command line that are looked at. */
#define MAX_WORDS 16

typedef struct HmpCommand {
    const char *name;           /* "quit|q": any of them */
    const char *params;
    const char *help;
    const char *flags;          /* letters of its options */
    int max_args;               /* besides options */
    /* @argv: options as "-x", then arguments. */
    void (*co_run)(GString *out, int argc, char **argv);
} HmpCommand;

static void hmp_help(GString *out, int argc, char **argv);
static void hmp_info(GString *out, int argc, char **argv);

static void co_main_fn hmp_quit(GString *out, int argc, char **argv)
{
    monitor_quit();
}

static void co_main_fn hmp_info_version(GString *out, int argc, char **argv)
{
    g_string_append_printf(out, "%s\n", monitor_version_text());
}

static void co_main_fn hmp_cont(GString *out, int argc, char **argv)
{
    qmp_cont(NULL);
}

/* A drive is there from the start to the end: what a user looks for here is done by QMP. */
static void co_main_fn hmp_no_drives(GString *out, int argc, char **argv)
{
    g_string_append(out, "Error: drives are opened by --drive and stay until the daemon ends; a "
                    "disk that comes and goes is a node: QMP blockdev-add and block-export-add, "
                    "block-export-del and blockdev-del\n");
}

static const HmpCommand info_commands[] = {
    { "block", "[-n] [-v] [device]", "show info of one block device or all block devices "
      "(-n: show named nodes; -v: show details)", "nv", 1, hmp_info_block },
    { "blockstats", "", "show block device statistics", "", 0, hmp_info_blockstats },
    { "chardev", "", "show the character devices", "", 0, hmp_info_chardev },
    { "iothreads", "", "show iothreads", "", 0, hmp_info_iothreads },
    { "jobs", "", "show jobs", "", 0, hmp_info_jobs },
    { "name", "", "show the name of this daemon", "", 0, hmp_info_name },
    { "trace-events", "[name]", "show the trace events that there are, and which are on", "", 1,
      hmp_info_trace_events },
    { "version", "", "show the version of QEMU", "", 0, hmp_info_version },
    { NULL },
};

static const HmpCommand commands[] = {
    { "help|?", "[cmd]", "show the help", NULL, MAX_WORDS, hmp_help },
    { "cont|c", "", "let disks run that an error has stopped", "", 0, hmp_cont },
    { "drive_add", "...", "not while running: says what to do instead", NULL, MAX_WORDS,
      hmp_no_drives },
    { "drive_del", "...", "not while running: says what to do instead", NULL, MAX_WORDS,
      hmp_no_drives },
    { "info", "[subcommand]", "show various information about the system state", NULL, MAX_WORDS,
      hmp_info },
    { "trace-event", "name on|off", "switch the trace events of that name, in which * is any text",
      "", 2, hmp_trace_event },
    { "quit|q", "", "end the daemon", "", 0, hmp_quit },
    { NULL },
};

static bool has_name(const HmpCommand *cmd, const char *name)
{
    g_auto(GStrv) names = g_strsplit(cmd->name, "|", -1);

    return g_strv_contains((const char *const *)names, name);
}

static const HmpCommand *find(const HmpCommand *table, const char *name)
{
    while (table->name && !has_name(table, name)) {
        table++;
    }
    return table->name ? table : NULL;
}

/* ---- help ---- */

static void append_help(GString *out, const char *prefix, const HmpCommand *cmd)
{
    g_string_append_printf(out, "%s%s %s -- %s\n", prefix, cmd->name, cmd->params, cmd->help);
}

static void append_info_help(GString *out)
{
    for (const HmpCommand *cmd = info_commands; cmd->name; cmd++) {
        append_help(out, "info ", cmd);
    }
}

static void append_unknown(GString *out, int argc, char **argv)
{
    g_string_append(out, "unknown command: '");
    for (int i = 0; i < argc; i++) {
        g_string_append_printf(out, "%s%s", i ? " " : "", argv[i]);
    }
    g_string_append(out, "'\n");
}

static void hmp_help(GString *out, int argc, char **argv)
{
    const HmpCommand *cmd = argc ? find(commands, argv[0]) : NULL;

    if (argc == 0) {
        for (cmd = commands; cmd->name; cmd++) {
            append_help(out, "", cmd);
        }
        return;
    }
    if (!cmd) {
        append_unknown(out, argc, argv);
    } else if (cmd->co_run != hmp_info) {
        append_help(out, "", cmd);
    } else if (argc == 1) {
        append_info_help(out);
    } else {
        cmd = find(info_commands, argv[1]);
        if (cmd) {
            append_help(out, "info ", cmd);
        } else {
            append_unknown(out, argc, argv);
        }
    }
}

/* ---- running ---- */

static bool check_args(GString *out, const char *prefix, const HmpCommand *cmd, int argc,
                       char **argv)
{
    const char *problem = NULL;
    g_autofree char *text = NULL;
    int args = 0;

    for (int i = 0; i < argc && !problem; i++) {
        if (argv[i][0] == '-' && argv[i][1]) {
            for (const char *p = argv[i] + 1; *p && !problem; p++) {
                if (!strchr(cmd->flags, *p)) {
                    problem = text = g_strdup_printf("unsupported option -%c", *p);
                }
            }
        } else if (++args > cmd->max_args) {
            problem = "extraneous characters at the end of line";
        }
    }
    if (problem) {
        g_autofree char *name = g_strndup(cmd->name, strcspn(cmd->name, "|"));

        g_string_append_printf(out, "%s: %s\nTry \"help %s%s\" for more information\n", cmd->name,
                               problem, prefix, name);
    }
    return !problem;
}

static void co_main_fn run(GString *out, const char *prefix, const HmpCommand *cmd, int argc,
                           char **argv)
{
    if (!cmd->flags || check_args(out, prefix, cmd, argc, argv)) {
        cmd->co_run(out, argc, argv);
    }
}

static void hmp_info(GString *out, int argc, char **argv)
{
    const HmpCommand *cmd = argc ? find(info_commands, argv[0]) : NULL;

    context_assert_main();
    context_assert_coroutine();
    if (argc == 0) {
        append_info_help(out);
    } else if (cmd) {
        run(out, "info ", cmd, argc - 1, argv + 1);
    } else {
        g_string_append_printf(out, "unknown command: 'info %s'\n", argv[0]);
    }
}

/* The words of @line; at most MAX_WORDS. */
static GPtrArray *split_words(const char *line)
{
    GPtrArray *words = g_ptr_array_new_with_free_func(g_free);

    while (words->len < MAX_WORDS) {
        size_t len;

        line += strspn(line, " \t\r\n");
        len = strcspn(line, " \t\r\n");
        if (len == 0) {
            break;
        }
        g_ptr_array_add(words, g_strndup(line, len));
        line += len;
    }
    return words;
}

char *monitor_hmp_run(const char *command_line)
{
    g_autoptr(GPtrArray) words = split_words(command_line);
    GString *out = g_string_new(NULL);
    char **argv = (char **)words->pdata;
    const HmpCommand *cmd;

    if (words->len > 0) {
        cmd = find(commands, argv[0]);
        if (cmd) {
            run(out, "", cmd, words->len - 1, argv + 1);
        } else {
            append_unknown(out, 1, argv);
        }
    }
    g_string_replace(out, "\n", "\r\n", 0);
    return g_string_free(out, FALSE);
}
