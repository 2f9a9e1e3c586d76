/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Option strings: key=value, their older flat form, JSON; and what the block layer makes of them.
 */
#include "qemu/osdep.h"

#include "block/blockdev.h"
#include "qapi/qapi-parse.h"
#include "qobject/keyval.h"
#include "qobject/json.h"
#include "tests/fuzz/fuzz.h"

/* As the daemon parses --TYPE. */
#define TRY(TYPE, text, implied_key)                                            \
    ({                                                                          \
        g_autoptr(TYPE) opts_ = NULL;                                           \
        Error *err_ = NULL;                                                     \
        bool is_json_ = false;                                                  \
        g_autoptr(QDict) dict_ = keyval_parse_or_json(text, implied_key, &is_json_, &err_); \
        bool ok_ = dict_ && (is_json_ ? TYPE##_parse(QOBJECT(dict_), &opts_, &err_)    \
                                      : TYPE##_parse_keyval(QOBJECT(dict_), &opts_, &err_)); \
        g_assert(ok_ == !err_);                                                 \
        error_free(err_);                                                       \
        ok_ ? g_steal_pointer(&opts_) : NULL;                                   \
    })

static void try_blockdev(const char *text)
{
    g_autoptr(BlockdevOptions) opts = TRY(BlockdevOptions, text, "driver");
    g_autoptr(BdrvOpenOptions) plain = NULL;
    Error *err = NULL;

    if (opts) {
        plain = blockdev_options_to_plain(opts, &err);
        g_assert(!plain != !err);
        error_free(err);
    }
}

static void try_scalars(const char *text)
{
    uint64_t size;
    bool b;
    Error *err = NULL;

    g_assert(keyval_parse_size(text, &size, &err) == !err);
    error_free(err);
    keyval_parse_bool(text, &b);
}

static void try_keyval(const char *text)
{
    bool help;
    Error *err = NULL;
    g_autoptr(QDict) dict = keyval_parse(text, "implied", &help, &err);

    g_assert(!dict != !err);
    error_free(err);
    err = NULL;
    g_autoptr(QDict) flat = keyval_parse_flat(text, "implied", &err);
    g_assert(!flat != !err);
    error_free(err);
}

static void co_main_fn try_filename(const char *text)
{
    if (g_str_has_prefix(text, "json:")) {
        Error *err = NULL;
        g_autoptr(BdrvOpenOptions) opts = blockdev_options_from_json(text + 5, NULL, &err);
        g_assert(!opts != !err);
        error_free(err);
    }
    Error *err = NULL;
    g_autoptr(BdrvOpenOptions) protocol = bdrv_protocol_options(text, NULL, &err);
    g_assert(!protocol != !err);
    error_free(err);
    g_autofree char *combined = bdrv_path_combine("/images/base.qcow2", text);
    g_assert_nonnull(combined);
    bdrv_path_has_protocol(text);
}

static void co_main_fn run(const uint8_t *data, size_t size)
{
    FuzzInput in = { data, size };
    unsigned kind = fuzz_take(&in, 1);
    g_autofree char *text = g_strndup((const char *)in.data, in.size);

    switch (kind % 8) {
    case 0:
        try_blockdev(text);
        break;
    case 1:
        ObjectOptions_free(TRY(ObjectOptions, text, "qom-type"));
        break;
    case 2:
        BlockExportOptions_free(TRY(BlockExportOptions, text, "type"));
        break;
    case 3:
        NbdServerOptions_free(TRY(NbdServerOptions, text, NULL));
        break;
    case 4:
        try_scalars(text);
        break;
    case 5:
        try_filename(text);
        break;
    default:
        try_keyval(text);
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_run(run, data, size);
    return 0;
}
