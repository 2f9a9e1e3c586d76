/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The files that the commands of command-faults.c work on: made before, and judged after a crash.
 */
#include "qemu/osdep.h"

#include "../lib/qmp-rig.h"
#include "block/check.h"
#include "command-faults.h"

#define PATTERN 0x5a

bool command_has_files(const CommandRow *row)
{
    return row->disks[0] || row->left[0];
}

/* ---- requests ---- */

#define LAYERS 0xa0                 /* what "write" steps write: one more each time */

/* Offset and pattern of step @i of @row, if it is a write. */
static bool is_write(const CommandRow *row, int i, int64_t *ret_offset, uint8_t *ret_pattern)
{
    g_auto(GStrv) words = g_strsplit(row->before[i], " ", -1);

    if (strcmp(words[0], "write") != 0) {
        return false;
    }
    *ret_offset = g_ascii_strtoll(words[2], NULL, 10);
    *ret_pattern = LAYERS + i;
    return true;
}

void co_main_fn command_run_before(const CommandRow *row)
{
    for (int i = 0; row->before[i]; i++) {
        g_auto(GStrv) words = g_strsplit(row->before[i], " ", -1);
        int64_t offset;
        uint8_t pattern;

        if (is_write(row, i, &offset, &pattern)) {
            qmp_rig_write(words[1], offset, pattern);
        } else {
            qmp_rig_cmd(row->before[i]);
        }
    }
}

char *co_main_fn command_try(const CommandRow *row, char **ret_data)
{
    char *error = qmp_rig_try(row->request, ret_data);

    for (int i = 0; !error && row->then[i]; i++) {
        error = qmp_rig_try(row->then[i], NULL);
    }
    return error;
}

/* ---- the set-up ---- */

/* A part is flushed, and the rest gives the command's own flushes something to do. */
static void co_main_fn guests_write(const CommandRow *row)
{
    g_auto(GStrv) names = g_strsplit(row->guests ?: "", " ", -1);

    for (char **name = names; *name; name++) {
        BlockBackend *guest = qmp_rig_guest_new(*name);
        qmp_rig_guest_write(guest, 65536, PATTERN);
        g_assert_cmpint(blk_co_flush(guest, NULL), ==, 0);
        qmp_rig_guest_write(guest, 3 * 65536, PATTERN);
        qmp_rig_guest_free(guest);
    }
}

void co_main_fn command_set_up(const CommandRow *row)
{
    for (int i = 0; row->disks[i]; i++) {
        qmp_rig_make_disk(row->disks[i]);
    }
    for (int i = 0; row->drives[i]; i++) {
        qmp_rig_add_drive(row->drives[i]);
    }
    command_run_before(row);
    guests_write(row);
}

/* ---- what a command left ---- */

static void co_main_fn check_pattern(BdrvLink *link, int64_t offset, uint8_t pattern)
{
    uint8_t buf[QMP_RIG_GUEST_BYTES];

    g_assert_cmpint(bdrv_co_pread(link, offset, sizeof(buf), buf), ==, 0);
    for (size_t i = 0; i < sizeof(buf); i++) {
        g_assert_cmphex(buf[i], ==, pattern);
    }
}

/* What guests flushed, and what steps wrote: where they wrote twice, the later. */
static void co_main_fn check_data(const CommandRow *row, BdrvLink *link)
{
    g_autoptr(GHashTable) seen = g_hash_table_new(NULL, NULL);
    int n = 0;

    if (row->guests) {
        check_pattern(link, 65536, PATTERN);
    }
    for (n = 0; row->before[n]; n++) {
    }
    while (n-- > 0) {
        int64_t offset;
        uint8_t pattern;
        if (is_write(row, n, &offset, &pattern) &&
            g_hash_table_add(seen, GSIZE_TO_POINTER(offset))) {
            check_pattern(link, offset, pattern);
        }
    }
}

/* Is it one of those that have @row's data? */
static bool has_data(const CommandRow *row, const char *name, bool answered)
{
    if (!row->whole) {
        return row->guests != NULL;
    }
    return strcmp(name, row->whole) == 0 ||
           (answered && row->copy && strcmp(name, row->copy) == 0);
}

/* An image that is marked as dirty is repaired when it is opened for writing. */
static void co_main_fn open_for_writing(const char *name, const char *format)
{
    g_autoptr(BdrvOpenOptions) opts = bdrv_options_from_filename(name, format, NULL, &error_abort);
    BdrvLinkSpec spec = { .needs = CLAIM_READ | CLAIM_WRITE, .allows = CLAIM_ALL,
                          .holder = "the test" };

    opts->read_only = opts->file.options->read_only = false;
    bdrv_graph_lock();
    bdrv_link_free(bdrv_open(opts, &spec, &error_abort));
    bdrv_graph_unlock();
}

/* Open @name with all that is below it; it is consistent.  @data: it has what was flushed.
 * @size: how large its disk is, 0: any. */
static void co_main_fn check_image(const CommandRow *row, const char *name, const char *format,
                                   bool data, int64_t size)
{
    g_autoptr(BdrvOpenOptions) opts = bdrv_options_from_filename(name, format, NULL, &error_abort);
    BdrvLinkSpec spec = { .needs = CLAIM_READ, .allows = CLAIM_ALL,
                          .holder = "the test" };

    if (row->marks) {
        open_for_writing(name, format);
    }
    opts->read_only = true;
    bdrv_graph_lock();
    BdrvLink *link = bdrv_open(opts, &spec, &error_abort);
    if (strcmp(format, "qcow2") == 0) {
        BdrvCheckResult res;
        bdrv_co_check(link->bs, BDRV_FIX_NONE, NULL, &res, &error_abort);
        g_assert_cmpstr(res.first, ==, NULL);
    }
    if (size) {
        g_assert_cmpint(bdrv_length(link->bs), ==, size);
    }
    if (data) {
        check_data(row, link);
    }
    bdrv_link_free(link);
    bdrv_graph_unlock();
}

/* The raw files that rows make all have this size. */
static bool has_full_size(const char *name)
{
    struct stat st;

    return stat(name, &st) == 0 && st.st_size == 1048576;
}

static bool has_magic(const char *name)
{
    g_autofree char *data = NULL;
    gsize len;

    return g_file_get_contents(name, &data, &len, NULL) && len > 4 &&
           memcmp(data, "QFI\xfb", 4) == 0;
}

/* @name is what a command makes: it is an image once it is all there, and @answered, it is. */
static void co_main_fn check_new(const CommandRow *row, const char *name, bool answered)
{
    if (g_str_has_suffix(name, ".raw")) {
        g_assert_true(!answered || has_full_size(name));
    } else if (g_str_has_suffix(name, ".sock")) {
        /* Nobody's after a crash. */
    } else if (answered || has_magic(name)) {
        check_image(row, name, "qcow2", has_data(row, name, answered), 0);
    }
}

void co_main_fn command_check_files(const CommandRow *row, bool answered)
{
    for (int i = 0; row->disks[i]; i++) {
        g_auto(GStrv) words = g_strsplit(row->disks[i], " ", -1);

        if (strcmp(words[2], "0") == 0) {
            check_new(row, words[0], answered);
        } else {
            check_image(row, words[0], words[1], has_data(row, words[0], answered),
                        answered && i == 0 ? row->size : 0);
        }
    }
    for (int i = 0; row->left[i]; i++) {
        check_new(row, row->left[i], answered);
    }
}
