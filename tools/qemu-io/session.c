/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A line of text becomes a command, if its words and the disk are such that it can run. */
#include "qemu/osdep.h"

#include "tools/qemu-io/commands.h"

static const IoCommand *const tables[] = {
    io_read_commands, io_write_commands, io_vector_commands, io_aio_commands, io_image_commands,
    io_status_commands, io_debug_commands, io_process_commands, io_zone_commands,
    io_help_commands,
};

/* ---- which commands there are ---- */

static const IoCommand *table_at(const IoSession *s, size_t i)
{
    return i < G_N_ELEMENTS(tables) ? tables[i] : s->more ? s->more[i - G_N_ELEMENTS(tables)] : NULL;
}

/* The first command in the order of names behind @name (NULL: of all). */
static const IoCommand *next_command(const IoSession *s, const char *name)
{
    const IoCommand *best = NULL, *table;

    for (size_t i = 0; (table = table_at(s, i)); i++) {
        for (const IoCommand *c = table; c->name; c++) {
            if ((!name || strcmp(c->name, name) > 0) &&
                (!best || strcmp(c->name, best->name) < 0)) {
                best = c;
            }
        }
    }
    return best;
}

const IoCommand *any_fn io_command_at(const IoSession *s, size_t i)
{
    const IoCommand *c = next_command(s, NULL);

    while (c && i-- > 0) {
        c = next_command(s, c->name);
    }
    return c;
}

const char *any_fn io_session_command_name(const IoSession *s, size_t i)
{
    const IoCommand *c = io_command_at(s, i);

    return c ? c->name : NULL;
}

const IoCommand *any_fn io_find_command(const IoSession *s, const char *name)
{
    const IoCommand *table;

    for (size_t i = 0; (table = table_at(s, i)); i++) {
        for (const IoCommand *c = table; c->name; c++) {
            if (strcmp(c->name, name) == 0 || g_strcmp0(c->alias, name) == 0) {
                return c;
            }
        }
    }
    return NULL;
}

int any_fn io_usage(IoSession *s, const IoCommand *cmd)
{
    io_print(s, "%s%s%s -- %s\n", cmd->name, cmd->args ? " " : "", cmd->args ?: "",
             cmd->summary);
    return -EINVAL;
}

/* ---- one command ---- */

static bool count_fits(IoSession *s, const IoCommand *c, int n)
{
    if (n >= c->min_args && (c->max_args < 0 || n <= c->max_args)) {
        return true;
    }
    if (c->max_args < 0) {
        io_complain(s, "bad argument count %d to %s, expected at least %d arguments", n, c->name,
                    c->min_args);
    } else if (c->min_args == c->max_args) {
        io_complain(s, "bad argument count %d to %s, expected %d arguments", n, c->name,
                    c->min_args);
    } else {
        io_complain(s, "bad argument count %d to %s, expected between %d and %d arguments", n,
                    c->name, c->min_args, c->max_args);
    }
    return false;
}

/* Can the disk do what @c needs? */
static bool co_main_fn disk_fits(IoSession *s, const IoCommand *c)
{
    if (!(c->needs & IO_NEEDS_NOTHING) && !s->blk) {
        io_complain(s, "no file open, try 'help open'");
        return false;
    }
    return true;
}

static bool co_main_fn may_write(IoSession *s, const IoCommand *c)
{
    Error *err = NULL;

    if (!(c->needs & IO_NEEDS_WRITE) || blk_is_writable(s->blk)) {
        return true;
    }
    error_setg(&err, "Block node is read-only");
    io_complain_err(s, err);
    return false;
}

static int co_main_fn run(IoSession *s, int argc, char **argv)
{
    const IoCommand *c = io_find_command(s, argv[0]);

    if (!c) {
        io_complain(s, "command \"%s\" not found", argv[0]);
        return -EINVAL;
    }
    if (!disk_fits(s, c) || !count_fits(s, c, argc - 1)) {
        return -EINVAL;
    }
    if (!may_write(s, c)) {
        return -EACCES;
    }
    return c->run(s, c, argc, argv);
}

int co_main_fn io_session_run(IoSession *s, const char *line)
{
    g_auto(GStrv) words = g_strsplit(line, " ", -1);
    int n = 0;

    /* Several spaces are one. */
    for (char **from = words; *from; from++) {
        if (**from) {
            char *word = *from;
            *from = words[n];
            words[n++] = word;
        }
    }
    if (n == 0) {
        return 0;
    }
    g_autofree char **argv = g_new0(char *, n + 1);
    memcpy(argv, words, n * sizeof(*argv));
    return run(s, n, argv);
}

bool any_fn io_session_writes(const IoSession *s, const char *line)
{
    g_autofree char *name = NULL;
    const IoCommand *c;

    line += strspn(line, " ");
    name = g_strndup(line, strcspn(line, " "));
    c = io_find_command(s, name);
    return c && c->needs & IO_NEEDS_WRITE;
}

void co_main_fn io_session_settle(IoSession *s)
{
    if (s->asynchronous.running > 0) {
        if (s->blk && blk_bs(s->blk)) {
            bdrv_debug_resume_all(blk_bs(s->blk));
        }
        co_group_wait(&s->asynchronous);
    }
}
