/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Whenever the power goes during a command, the images that were there are consistent and have what
 * guests flushed; a new one is complete, or nobody takes it for an image.  Once the command was
 * answered, what it has made is there to stay.  On a simulated machine (tests/lib/sim.h), cut at
 * every sync and at the end.
 */
#include "qemu/osdep.h"

#include "../lib/qmp-rig.h"
#include "../lib/sim.h"
#include "command-faults.h"

static unsigned states;

static void co_main_fn run_command(void *opaque)
{
    const CommandRow *row = opaque;

    command_set_up(row);
    sim_start(1);
    char *error = command_try(row, NULL);
    g_assert_cmpstr(error, ==, NULL);
    sim_stop();
    qmp_rig_reset();
}

/* Make the working directory what was found. */
static void write_files(GHashTable *files)
{
    GHashTableIter iter;
    void *name, *file;

    g_hash_table_iter_init(&iter, files);
    while (g_hash_table_iter_next(&iter, &name, &file)) {
        SimFile *f = file;
        g_assert_true(g_file_set_contents(name, (char *)f->data, f->length, NULL));
    }
}

static void co_main_fn judge(const CommandRow *row, guint pos, SimCut how, unsigned seed)
{
    g_autoptr(GHashTable) files = sim_cut(pos, how, seed);

    g_test_message("cut at %u of %u (%d, %u)", pos, sim_log_length(), how, seed);
    write_files(files);
    command_check_files(row, pos == sim_log_length());
    qmp_rig_reset();
    states++;
}

static void co_main_fn judge_log(void *opaque)
{
    for (guint pos = 0; pos <= sim_log_length(); pos++) {
        if (sim_log_is_sync(pos) || pos == sim_log_length()) {
            judge(opaque, pos, SIM_CUT_DROP, 0);
            judge(opaque, pos, SIM_CUT_KEEP, 0);
            for (unsigned seed = 0; seed < 8; seed++) {
                judge(opaque, pos, seed % 2 ? SIM_CUT_TORN : SIM_CUT_SUBSET, seed);
            }
        }
    }
}

static void run_row(gconstpointer row)
{
    qmp_rig_run(run_command, (void *)row);
    qmp_rig_run(judge_log, (void *)row);
    g_test_message("so far %u states", states);
}

int main(int argc, char **argv)
{
    g_setenv("QEMU_AIO", "threads", true);
    g_test_init(&argc, &argv, NULL);
    qmp_rig_init(NULL);
    for (const CommandRow *row = command_rows; row->name; row++) {
        if (command_has_files(row) && !row->no_image) {
            g_autofree char *path = g_strdup_printf("/command-cuts/files-are-good/%s", row->name);
            g_test_add_data_func(path, row, run_row);
        }
    }
    return g_test_run();
}
