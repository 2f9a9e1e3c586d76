/* SPDX-License-Identifier: GPL-2.0-or-later */
/* qemu-io: exercises an image by commands. */
#include "qemu/osdep.h"

#include <getopt.h>

#include "config-host.h"
#include "tools/common/trace.h"
#include "tools/qemu-io/program.h"

enum { OPT_OBJECT = 256, OPT_IMAGE_OPTS };

/* Shown and taken; the option's letter is what a command line calls `val`. */
static const struct {
    struct option option;
    const char *arg, *help;
} options[] = {
    { { "object", required_argument, NULL, OPT_OBJECT }, "OBJECTDEF",
      "make an object, a secret for instance" },
    { { "image-opts", no_argument, NULL, OPT_IMAGE_OPTS }, NULL,
      "the image is named by a list of options" },
    { { "cmd", required_argument, NULL, 'c' }, "COMMAND",
      "do this and end; may be given more than once" },
    { { "format", required_argument, NULL, 'f' }, "FMT", "the format of the image" },
    { { "read-only", no_argument, NULL, 'r' }, NULL, "the image cannot be written to" },
    { { "snapshot", no_argument, NULL, 's' }, NULL, "what is written is gone at the end" },
    { { "nocache", no_argument, NULL, 'n' }, NULL, "not by way of the page cache: -t none" },
    { { "copy-on-read", no_argument, NULL, 'C' }, NULL,
      "what is read of a backing file is copied" },
    { { "misalign", no_argument, NULL, 'm' }, NULL,
      "buffers lie where direct I/O cannot use them" },
    { { "native-aio", no_argument, NULL, 'k' }, NULL, "the same as -i native" },
    { { "aio", required_argument, NULL, 'i' }, "MODE", "threads, native or io_uring" },
    { { "cache", required_argument, NULL, 't' }, "MODE",
      "writethrough (the default), writeback, none, directsync or unsafe" },
    { { "discard", required_argument, NULL, 'd' }, "MODE", "unmap (the default) or ignore" },
    { { "force-share", no_argument, NULL, 'U' }, NULL,
      "also while somebody else writes to the image; with -r" },
    { { "quiet", no_argument, NULL, 'q' }, NULL, "as if each command had -q" },
    { { "expert", no_argument, NULL, 'x' }, NULL, "no effect; other such programs have it" },
    { { "trace", required_argument, NULL, 'T' },
      "[[enable=]PATTERN][,events=FILE][,file=FILE]", "tell when trace points are passed" },
    { { "help", no_argument, NULL, 'h' }, NULL, "show this help and end" },
    { { "version", no_argument, NULL, 'V' }, NULL, "show the version and end" },
};

/* ---- output ---- */

/* Not in the order in which it came to be, if both go to one file: scripts know it so. */
static void put_text(void *opaque, const char *text, bool is_error)
{
    fputs(text, is_error ? stderr : stdout);
}

static void flush_text(void *opaque)
{
    fflush(stdout);
}

static const IoOutput output = { .text = put_text, .flush = flush_text };

static void note(const char *text)
{
    printf("%s\n", text);
}

static void fail(Error *err)
{
    g_printerr("qemu-io: %s\n", error_get_pretty(err));
    error_free(err);
}

static void print_help(void)
{
    printf("Usage: qemu-io [OPTIONS]... [-c STRING]... [file]\n"
           "QEMU Disk exerciser\n\n");
    for (size_t i = 0; i < G_N_ELEMENTS(options); i++) {
        const struct option *o = &options[i].option;
        char letter[8] = "    ";
        if (o->val < 256) {
            snprintf(letter, sizeof(letter), "-%c, ", o->val);
        }
        printf("  %s--%s%s%s\n          %s\n", letter, o->name, options[i].arg ? " " : "",
               options[i].arg ?: "", options[i].help);
    }
    printf("\nSee 'qemu-io -c help' for information on available commands, and qemu-io(1).\n");
}

/* ---- the command line ---- */

typedef struct CommandLine {
    OpenArgs open;
    GPtrArray *commands;            /* of char: -c; borrowed */
    const char *file;               /* or NULL */
    bool misalign, quiet;
    int status;                     /* with `ended`: what the program returns */
    bool ended;
} CommandLine;

static void end_with(CommandLine *l, int status)
{
    l->ended = true;
    l->status = status;
}

/* What is no part of how the image is opened; false: there is no such option. */
static bool co_main_fn take_own(CommandLine *l, int c, char *value, Error **errp)
{
    switch (c) {
    case OPT_OBJECT:
        return tool_add_object(value, errp);
    case OPT_IMAGE_OPTS:
        l->open.image.image_opts = true;
        break;
    case 'c':
        g_ptr_array_add(l->commands, value);
        break;
    case 'f':
        l->open.image.format = value;
        break;
    case 'm':
        l->misalign = true;
        break;
    case 'q':
        l->quiet = true;
        break;
    case 'T':
        return tool_trace(value, errp);
    case 'V':
        printf("qemu-io version %s\n", QEMU_VERSION);
        end_with(l, 0);
        break;
    case 'x':
        break;
    default:                        /* -h, and what getopt has complained about */
        print_help();
        end_with(l, c == 'h' ? 0 : 1);
    }
    return true;
}

static bool co_main_fn take(CommandLine *l, int c, char *value, Error **errp)
{
    bool known;

    return open_args_take(&l->open, c, value, &known, errp) &&
           (known || take_own(l, c, value, errp));
}

static void make_getopt_tables(struct option *longs, GString *letters)
{
    for (size_t i = 0; i < G_N_ELEMENTS(options); i++) {
        longs[i] = options[i].option;
        if (longs[i].val < 256) {
            g_string_append_c(letters, (char)longs[i].val);
            g_string_append(letters, longs[i].has_arg ? ":" : "");
        }
    }
}

static bool co_main_fn parse(CommandLine *l, int argc, char **argv, Error **errp)
{
    struct option longs[G_N_ELEMENTS(options) + 1] = { 0 };
    g_autoptr(GString) letters = g_string_new(NULL);
    int c;

    make_getopt_tables(longs, letters);
    while (!l->ended && (c = getopt_long(argc, argv, letters->str, longs, NULL)) != -1) {
        if (!take(l, c, optarg, errp)) {
            return false;
        }
    }
    if (!l->ended && argc - optind > 1) {
        print_help();
        end_with(l, 1);
    }
    if (!l->ended && l->open.image.format && l->open.image.image_opts) {
        error_setg(errp, "--image-opts and -f are mutually exclusive");
        return false;
    }
    l->file = argv[optind];         /* NULL at its end */
    return true;
}

/* ---- the program ---- */

static bool co_main_fn run_given(IoSession *s, const GPtrArray *commands)
{
    bool ok = true;

    for (guint i = 0; i < commands->len && !s->quit; i++) {
        ok &= io_session_run(s, commands->pdata[i]) == 0;
    }
    return ok;
}

static bool co_main_fn run_lines(IoSession *s)
{
    bool ok = true;
    char *line;

    while (!s->quit && (line = next_line(s))) {
        ok &= io_session_run(s, line) == 0;
        free(line);
    }
    return ok;
}

static int co_main_fn run(const CommandLine *l)
{
    Program program = { .copy_on_read = false };
    const IoCommand *const more[] = { program_commands, reopen_commands, NULL };
    IoSession s = { .out = &output, .more = more, .opaque = &program,
                    .misalign = l->misalign, .quiet = l->quiet };
    OpenArgs open = l->open;
    Error *err = NULL;

    open.image.name = l->file;
    if (l->file && !open_image(&s, &open, &err)) {
        fail(err);
        return 1;
    }
    bool ok = l->commands->len > 0 ? run_given(&s, l->commands) : run_lines(&s);
    return close_image(&s) && ok ? 0 : 1;
}

static int co_main_fn entry(int argc, char **argv)
{
    CommandLine l = { .commands = g_ptr_array_new() };
    Error *err = NULL;

    argv[0] = (char *)g_get_prgname();      /* what getopt_long() says begins with it */
    bdrv_debug_note = note;
    open_args_init(&l.open);
    if (!parse(&l, argc, argv, &err)) {
        fail(err);
        l.status = 1;
    } else if (!l.ended) {
        l.status = run(&l);
    }
    g_ptr_array_unref(l.commands);
    return l.status;
}

int main(int argc, char **argv)
{
    return tool_run("qemu-io", entry, argc, argv);
}
