/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Killed at any call of a command, the daemon leaves files that are good: the process ends by
 * SIGKILL at the n-th system call, n = 1, 2, ... until the command runs through.  Each time the
 * images that were there are consistent and have what guests flushed, and of a new one there is
 * nothing, or all of it.
 */
#include "qemu/osdep.h"

#include <sys/wait.h>

#include "../lib/fault.h"
#include "../lib/qmp-rig.h"
#include "command-faults.h"

typedef struct Case {
    const CommandRow *row;
    int nth;                        /* 0: look at what is left */
    bool answered;
} Case;

/* ---- in a process of its own: the command ---- */

static void co_main_fn run_command(void *opaque)
{
    const Case *c = opaque;
    const CommandRow *row = c->row;

    command_set_up(row);
    fault_arm_kill(c->nth);
    char *error = command_try(row, NULL);
    g_assert_cmpstr(error, ==, NULL);
    fault_disarm();
}

static void co_main_fn check_left(void *opaque)
{
    const Case *c = opaque;

    command_check_files(c->row, c->answered);
}

/* ---- the parent ---- */

/* Run @entry in a child in the directory @dir; its wait status. */
static int in_child(const char *dir, CoroutineEntry *entry, Case *c)
{
    pid_t pid = fork();
    int status;

    if (pid == 0) {
        qmp_rig_init(dir);
        qmp_rig_run(entry, c);
        _exit(0);
    }
    g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
    return status;
}

static void empty_dir(const char *path)
{
    g_autoptr(GDir) dir = g_dir_open(path, 0, NULL);
    const char *name;

    while ((name = g_dir_read_name(dir))) {
        g_autofree char *file = g_build_filename(path, name, NULL);
        remove(file);
    }
}

static void run_row(gconstpointer data)
{
    g_autofree char *dir = g_dir_make_tmp("kills-XXXXXX", NULL);
    bool done = false;
    int nth;

    for (nth = 1; !done; nth++) {
        Case c = { data, nth };
        int status = in_child(dir, run_command, &c);
        done = WIFEXITED(status);
        g_assert_true(done ? WEXITSTATUS(status) == 0 : WTERMSIG(status) == SIGKILL);
        c.nth = 0;
        c.answered = done && !c.row->no_image;
        status = in_child(dir, check_left, &c);
        if (status) {
            g_error("killed at call %d: what is left in %s is not right", nth, dir);
        }
        empty_dir(dir);
    }
    g_test_message("killed at %d calls", nth - 2);
    rmdir(dir);
}

int main(int argc, char **argv)
{
    g_setenv("QEMU_AIO", "threads", true);
    g_test_init(&argc, &argv, NULL);
    for (const CommandRow *row = command_rows; row->name; row++) {
        if (command_has_files(row)) {
            g_autofree char *path = g_strdup_printf("/command-kills/files-are-good/%s", row->name);
            g_test_add_data_func(path, row, run_row);
        }
    }
    return g_test_run();
}
