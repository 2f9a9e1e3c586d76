/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The command language of qemu-io, on a disk in memory that keeps nothing; and the configuration
 * files of blkdebug. */
#include "qemu/osdep.h"

#include "block/blockdev.h"
#include "block/filters/blkdebug-internal.h"
#include "tests/fuzz/fuzz.h"
#include "tools/qemu-io/commands.h"

static void put_text(void *opaque, const char *text, bool is_error)
{
    g_assert_nonnull(text);
}

static const IoOutput output = { .text = put_text };

/* What ends the process, takes long, or reads what is on this machine's disks. */
static bool is_harmless(const char *line)
{
    static const char *const not[] = { "abort", "sigraise", "sleep", "wait_break" };
    g_autofree char *word = g_strdup(line + strspn(line, " "));

    word[strcspn(word, " ")] = '\0';
    for (size_t i = 0; i < G_N_ELEMENTS(not); i++) {
        if (strcmp(word, not[i]) == 0) {
            return false;
        }
    }
    return !strstr(line, "-s") && !strpbrk(line, "MGTPEmgtpe");
}

static BlockBackend *co_main_fn open_disk(void)
{
    g_autoptr(BdrvOpenOptions) null = bdrv_open_options_new("null-co");
    g_autoptr(BdrvOpenOptions) opts = bdrv_open_options_new("blkdebug");
    BdrvLinkSpec spec = { .allows = CLAIM_ALL, .holder = "fuzz-io" };
    BlockBackend *blk = blk_new(NULL, CLAIM_READ | CLAIM_WRITE, CLAIM_ALL, &error_abort);

    null->u.null.size = 1 * MiB;
    opts->file.options = g_steal_pointer(&null);
    bdrv_graph_lock();
    BdrvLink *link = bdrv_open(opts, &spec, &error_abort);
    g_assert_true(blk_insert(blk, link->bs, &error_abort));
    bdrv_link_free(link);
    bdrv_graph_unlock();
    return blk;
}

static void co_main_fn run_lines(const char *text)
{
    IoSession s = { .blk = open_disk(), .out = &output, .quiet = strlen(text) % 2 };
    g_auto(GStrv) lines = g_strsplit(text, "\n", 64);

    for (char **line = lines; *line; line++) {
        if (is_harmless(*line)) {
            io_session_run(&s, *line);
        }
    }
    io_session_settle(&s);
    bdrv_graph_lock();
    blk_free(s.blk);
    bdrv_graph_unlock();
}

static void parse_config(const char *text, size_t len)
{
    g_autoptr(GPtrArray) rules = g_ptr_array_new_with_free_func(blkdebug_rule_free);
    Error *err = NULL;

    g_assert(blkdebug_parse_config(text, len, rules, &err) == !err);
    error_free(err);
}

static void co_main_fn run(const uint8_t *data, size_t size)
{
    FuzzInput in = { data, size };
    bool config = fuzz_take(&in, 1) == '#';
    g_autofree char *text = g_strndup((const char *)in.data, in.size);

    if (config) {
        parse_config((const char *)in.data, in.size);
    } else {
        run_lines(text);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_run(run, data, size);
    return 0;
}
