/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Killed at any call of a command, the daemon leaves files that are good: the process ends by SIGKILL at the
 * n-th system call, n = 1, 2, ... until the command runs through.  Each time the images that were there are
 * consistent and have what guests flushed, and of a new one there is nothing, or all of it.
 */
#include "qemu/osdep.h"

#include <sys/wait.h>

#include "../lib/fault.h"
#include "../lib/qmp-rig.h"
#include "block/qcow2.h"
#include "command-faults.h"

#define GUEST_BYTES 8192
#define PATTERN 0x5a

typedef struct Case {
    const CommandRow *row;
    int nth;                        /* 0: look at what is left */
} Case;

static bool has_files(const CommandRow *row)
{
    return row->disks[0] || row->left[0];
}

/* ---- in a process of its own: the command ---- */

static void co_main_fn guests_write(const CommandRow *row)
{
    g_auto(GStrv) names = g_strsplit(row->guests ?: "", " ", -1);
    g_autofree uint8_t *buf = g_malloc(GUEST_BYTES);
    IoVec v;

    memset(buf, PATTERN, GUEST_BYTES);
    iovec_init_buf(&v, buf, GUEST_BYTES);
    for (char **name = names; *name; name++) {
        BlockBackend *guest = qmp_rig_guest_new(*name);
        g_assert_cmpint(blk_co_pwritev(guest, 65536, GUEST_BYTES, &v, 0), ==, 0);
        g_assert_cmpint(blk_co_flush(guest), ==, 0);
        /* And something that makes the command's own flushes have work. */
        g_assert_cmpint(blk_co_pwritev(guest, 3 * 65536, GUEST_BYTES, &v, 0), ==, 0);
    }
}

static void co_main_fn run_command(void *opaque)
{
    const Case *c = opaque;
    const CommandRow *row = c->row;

    for (int i = 0; row->disks[i]; i++) {
        qmp_rig_make_disk(row->disks[i]);
    }
    for (int i = 0; row->drives[i]; i++) {
        qmp_rig_add_drive(row->drives[i]);
    }
    for (int i = 0; row->before[i]; i++) {
        qmp_rig_cmd(row->before[i]);
    }
    guests_write(row);
    fault_arm_kill(c->nth);
    qmp_rig_cmd(row->request);
    fault_disarm();
}

/* ---- in another: what it left ---- */

static void co_main_fn check_data(BdrvLink *link)
{
    g_autofree uint8_t *buf = g_malloc(GUEST_BYTES);
    IoVec v;

    iovec_init_buf(&v, buf, GUEST_BYTES);
    g_assert_cmpint(bdrv_co_preadv(link, 65536, GUEST_BYTES, &v), ==, 0);
    for (int i = 0; i < GUEST_BYTES; i++) {
        g_assert_cmphex(buf[i], ==, PATTERN);
    }
}

/* Open @name with all that is below it; it is consistent.  @guests_data: it has what was flushed. */
static void co_main_fn check_image(const char *name, const char *format, bool guests_data)
{
    g_autoptr(BdrvOpenOptions) opts = bdrv_options_from_filename(name, format, NULL, &error_abort);
    BdrvLinkSpec spec = { .role = "test", .needs = CLAIM_READ, .allows = CLAIM_ALL,
                          .holder = "the test" };

    opts->read_only = true;
    bdrv_graph_lock();
    BdrvLink *link = bdrv_open(opts, &spec, &error_abort);
    if (strcmp(format, "qcow2") == 0) {
        BdrvCheckResult res;
        bdrv_co_check(link->bs, BDRV_FIX_NONE, NULL, &res, &error_abort);
        g_assert_cmpstr(res.first, ==, NULL);
    }
    if (guests_data) {
        check_data(link);
    }
    bdrv_link_free(link);
    bdrv_graph_unlock();
}

static const char *format_of(const char *name)
{
    return g_str_has_suffix(name, ".raw") ? "raw" : "qcow2";
}

static bool has_magic(const char *name)
{
    g_autofree char *data = NULL;
    gsize len;

    return g_file_get_contents(name, &data, &len, NULL) && len > 4 && memcmp(data, "QFI\xfb", 4) == 0;
}

static void co_main_fn check_left(void *opaque)
{
    const CommandRow *row = ((const Case *)opaque)->row;

    for (int i = 0; row->disks[i]; i++) {
        g_auto(GStrv) words = g_strsplit(row->disks[i], " ", -1);
        bool empty = strcmp(words[2], "0") == 0;
        if (empty) {
            /* A file that a command was to fill in: it is an image once it is all there. */
            if (has_magic(words[0])) {
                check_image(words[0], "qcow2", row->guests != NULL);
            }
        } else {
            check_image(words[0], words[1], row->guests != NULL);
        }
    }
    for (int i = 0; row->left[i]; i++) {
        struct stat st;
        if (stat(row->left[i], &st) == 0 && S_ISREG(st.st_mode) && st.st_size > 0) {
            check_image(row->left[i], format_of(row->left[i]), row->guests != NULL);
        }
    }
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
        if (has_files(row)) {
            g_autofree char *path = g_strdup_printf("/command-kills/files-are-good/%s", row->name);
            g_test_add_data_func(path, row, run_row);
        }
    }
    return g_test_run();
}
