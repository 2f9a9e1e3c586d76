/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Lines from standard input.  Reading waits for a person or a pipe, so a thread of the pool does it
 * while requests that commands have begun go on.
 */
#include "qemu/osdep.h"

#include "config-host.h"
#include "qemu/aio.h"
#include "tools/qemu-io/program.h"

#if CONFIG_READLINE
#include <readline/history.h>
#include <readline/readline.h>
#elif CONFIG_LIBEDIT
#include <editline/readline.h>
#endif

#define PROMPT "qemu-io> "

#if CONFIG_READLINE || CONFIG_LIBEDIT
static const IoSession *completed;  /* whose commands are completed */

/* The library's: the @state-th command that begins with @text. */
static char *complete_command(const char *text, int state)
{
    static size_t at;
    const char *name;

    at = state ? at : 0;
    while ((name = io_session_command_name(completed, at++))) {
        if (g_str_has_prefix(name, text)) {
            return strdup(name);
        }
    }
    return NULL;
}

/* The first word is a command, what follows may be a file, which is the library's own business. */
static char **complete(const char *text, int start, int end)
{
    return start == 0 ? rl_completion_matches(text, complete_command) : NULL;
}

static int blocking_fn edit_line(void *opaque)
{
    char **ret = opaque;

    rl_attempted_completion_function = complete;
    *ret = readline(PROMPT);
    if (*ret && **ret) {
        add_history(*ret);
    }
    return 0;
}
#endif

static int blocking_fn read_line(void *opaque)
{
    char **ret = opaque;
    size_t size = 0;
    ssize_t len = getline(ret, &size, stdin);

    if (len < 0) {
        free(*ret);
        *ret = NULL;
    } else if (len > 0 && (*ret)[len - 1] == '\n') {
        (*ret)[len - 1] = '\0';
    }
    return 0;
}

char *co_main_fn next_line(IoSession *s)
{
    char *line = NULL;

#if CONFIG_READLINE || CONFIG_LIBEDIT
    if (isatty(STDIN_FILENO)) {
        completed = s;
        fflush(stdout);
        thread_pool_co_run(edit_line, &line);
        return line;
    }
#endif
    fputs(PROMPT, stdout);
    fflush(stdout);
    thread_pool_co_run(read_line, &line);
    return line;
}
