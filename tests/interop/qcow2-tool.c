/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The qcow2 driver by hand, for tests that compare it with another implementation.
 *
 *   qcow2-tool create FILE SIZE [OPTION=VALUE...]
 *   qcow2-tool edit FILE STEP...        w:OFFSET:BYTES:PATTERN  c:OFFSET:BYTES:PATTERN (compressed)
 *                                       z:OFFSET:BYTES  u:OFFSET:BYTES  d:OFFSET:BYTES  f:
 *                                       r:BYTES[:PREALLOCATION]
 *   qcow2-tool read FILE                the disk's content on stdout
 *   qcow2-tool check FILE               "CORRUPTIONS LEAKS FIRST-CORRUPTION" on stdout
 *   qcow2-tool repair FILE leaks|all    the same, after the repair
 *   qcow2-tool snapshot FILE list|create|apply|delete [NAME]
 *   qcow2-tool amend FILE OPTION=VALUE...
 *   qcow2-tool read FILE SNAPSHOT       what the disk had then
 *
 * Exits with 1 and a message on stderr if anything fails.
 */
#include "qemu/osdep.h"

#include "block/amend.h"
#include "block/block.h"
#include "block/check.h"
#include "block/internal-snapshot.h"
#include "block/qcow2.h"
#include "qemu/aio.h"

typedef struct Args {
    int argc;
    char **argv;
    bool ok;
    Error *err;
} Args;

static BdrvLink *co_main_fn open_any(const char *driver, const char *path, bool read_only,
                                     bool for_check, const char *snapshot, Error **errp)
{
    g_autoptr(BdrvOpenOptions) opts = NULL;
    BdrvLinkSpec spec = {
        .allows = CLAIM_ALL, .holder = "qcow2-tool",
        .needs = CLAIM_READ | (read_only ? 0 : CLAIM_WRITE | CLAIM_RESIZE),
    };

    opts = bdrv_options_from_filename(path, driver, NULL, errp);
    if (!opts) {
        return NULL;
    }
    opts->read_only = read_only;
    opts->discard = true;
    if (!strcmp(driver, "qcow2")) {
        opts->u.qcow2.for_check = for_check;
        opts->u.qcow2.snapshot = g_strdup(snapshot);
    }
    if (opts->file.options) {
        opts->file.options->read_only = read_only;
        opts->file.options->discard = true;
    }
    return bdrv_open(opts, &spec, errp);
}

static BdrvLink *co_main_fn open_path(const char *driver, const char *path, bool read_only,
                                      bool for_check, Error **errp)
{
    return open_any(driver, path, read_only, for_check, NULL, errp);
}

static BdrvPrealloc parse_prealloc(const char *s)
{
    return !strcmp(s, "metadata") ? BDRV_PREALLOC_METADATA :
           !strcmp(s, "falloc") ? BDRV_PREALLOC_FALLOC :
           !strcmp(s, "full") ? BDRV_PREALLOC_FULL : BDRV_PREALLOC_OFF;
}

static bool parse_option(BdrvCreateOptions *o, char *arg)
{
    Qcow2CreateOptions *q = &o->u.qcow2;
    char *value = strchr(arg, '=');

    if (!value) {
        return false;
    }
    *value++ = 0;
    if (!strcmp(arg, "version")) {
        q->version = atoi(value);
    } else if (!strcmp(arg, "cluster_size")) {
        q->cluster_size = atoll(value);
    } else if (!strcmp(arg, "refcount_bits")) {
        q->refcount_bits = atoi(value);
    } else if (!strcmp(arg, "extended_l2")) {
        q->extended_l2 = atoi(value);
    } else if (!strcmp(arg, "lazy_refcounts")) {
        q->lazy_refcounts = atoi(value);
    } else if (!strcmp(arg, "compression_type")) {
        q->compression_type = atoi(value);
    } else if (!strcmp(arg, "backing_file")) {
        q->backing_file = value;
    } else if (!strcmp(arg, "backing_fmt")) {
        q->backing_fmt = value;
    } else if (!strcmp(arg, "data_file")) {
        q->data_file = value;
    } else if (!strcmp(arg, "data_file_raw")) {
        q->data_file_raw = atoi(value);
    } else if (!strcmp(arg, "preallocation")) {
        o->preallocation = parse_prealloc(value);
    } else {
        return false;
    }
    return true;
}

static bool co_main_fn cmd_create(Args *a, Error **errp)
{
    BdrvCreateOptions o = {
        .size = g_ascii_strtoll(a->argv[3], NULL, 0),
        .u.qcow2 = { .version = 3, .cluster_size = 65536, .refcount_bits = 16 },
    };
    int fd = open(a->argv[2], O_RDWR | O_CREAT | O_TRUNC, 0644);

    if (fd < 0) {
        error_setg_errno(errp, errno, "Cannot create '%s'", a->argv[2]);
        return false;
    }
    close(fd);
    for (int i = 4; i < a->argc; i++) {
        if (!parse_option(&o, a->argv[i])) {
            error_setg(errp, "What is '%s'?", a->argv[i]);
            return false;
        }
    }
    BdrvLink *file = open_path("file", a->argv[2], false, false, errp);
    if (!file) {
        return false;
    }
    bool ok = bdrv_co_create(bdrv_find_driver("qcow2"), file, &o, errp);
    bdrv_link_free(file);
    return ok;
}

static bool co_main_fn edit_step(BdrvLink *link, const char *step, Error **errp)
{
    g_auto(GStrv) part = g_strsplit(step, ":", -1);
    guint n = g_strv_length(part);
    int64_t offset = n > 1 ? g_ascii_strtoll(part[1], NULL, 0) : 0;
    int64_t bytes = n > 2 ? g_ascii_strtoll(part[2], NULL, 0) : 0;
    g_autofree uint8_t *buf = NULL;
    int ret = -EINVAL;

    switch (step[0]) {
    case 'w':
    case 'c':
        buf = g_malloc(bytes);
        memset(buf, atoi(part[3]), bytes);
        ret = bdrv_co_pwrite(link, offset, bytes, buf,
                             step[0] == 'c' ? BDRV_REQ_WRITE_COMPRESSED : 0);
        break;
    case 'z':
        ret = bdrv_co_pwrite_zeroes(link, offset, bytes, 0);
        break;
    case 'u':
        ret = bdrv_co_pwrite_zeroes(link, offset, bytes, BDRV_REQ_MAY_UNMAP);
        break;
    case 'd':
        ret = bdrv_co_pdiscard(link, offset, bytes);
        break;
    case 'f':
        ret = bdrv_co_flush(link, 0);
        break;
    case 'r':
        return bdrv_co_truncate(link, offset, n > 2 ? parse_prealloc(part[2]) : 0, errp);
    }
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Step '%s'", step);
    }
    return ret == 0;
}

static bool co_main_fn cmd_edit(Args *a, Error **errp)
{
    BdrvLink *link = open_path("qcow2", a->argv[2], false, false, errp);
    bool ok = link != NULL;

    for (int i = 3; i < a->argc && ok; i++) {
        ok = edit_step(link, a->argv[i], errp);
    }
    bdrv_link_free(link);
    return ok;
}

static bool co_main_fn cmd_read(Args *a, Error **errp)
{
    BdrvLink *link = open_any("qcow2", a->argv[2], true, false, a->argc > 3 ? a->argv[3] : NULL,
                              errp);
    g_autofree uint8_t *buf = g_malloc(MiB);
    int ret = 0;

    if (!link) {
        return false;
    }
    for (int64_t pos = 0, n; pos < bdrv_length(link->bs) && ret == 0; pos += n) {
        n = MIN(MiB, bdrv_length(link->bs) - pos);
        ret = bdrv_co_pread(link, pos, n, buf);
        if (ret == 0 && fwrite(buf, 1, n, stdout) != (size_t)n) {
            ret = -EIO;
        }
    }
    bdrv_link_free(link);
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Cannot read '%s'", a->argv[2]);
    }
    return ret == 0;
}

static bool co_main_fn cmd_check(Args *a, Error **errp)
{
    bool repair = a->argc > 3;
    BdrvFix fix = !repair ? BDRV_FIX_NONE : !strcmp(a->argv[3], "all") ? BDRV_FIX_ALL
                                                                       : BDRV_FIX_LEAKS;
    BdrvLink *link = open_path("qcow2", a->argv[2], !repair, true, errp);
    BdrvCheckResult res;
    bool ok = link && bdrv_co_check(link->bs, fix, NULL, &res, errp);

    if (ok) {
        printf("%" PRIu64 " %" PRIu64 " %s\n", res.corruptions, res.leaks, res.first ?: "");
        bdrv_check_result_clear(&res);
    }
    bdrv_link_free(link);
    return ok;
}

static bool co_main_fn snapshot_list(BlockDriverState *bs, Error **errp)
{
    g_autoptr(GPtrArray) list = bdrv_co_snapshot_list(bs, errp);

    for (guint i = 0; list && i < list->len; i++) {
        const BdrvSnapshot *sn = list->pdata[i];
        printf("%s %s %" PRIu64 " %u %" PRId64 "\n", sn->id, sn->name, sn->vm_state_size,
               sn->date_sec, sn->disk_size);
    }
    return list != NULL;
}

static bool co_main_fn cmd_snapshot(Args *a, Error **errp)
{
    BdrvLink *link = open_path("qcow2", a->argv[2], false, false, errp);
    const char *verb = a->argv[3], *name = a->argc > 4 ? a->argv[4] : "";
    bool ok = false;

    if (!link) {
        return false;
    }
    if (!strcmp(verb, "list")) {
        ok = snapshot_list(link->bs, errp);
    } else if (!strcmp(verb, "create")) {
        BdrvSnapshot sn = { .name = (char *)name, .date_sec = 1000000000 };
        int ret = bdrv_co_snapshot_create(link->bs, &sn);
        ok = ret == 0;
        if (!ok) {
            error_setg_errno(errp, -ret, "Cannot create");
        }
    } else if (!strcmp(verb, "apply")) {
        ok = bdrv_co_snapshot_apply(link, name, errp);
    } else if (!strcmp(verb, "delete")) {
        ok = bdrv_co_snapshot_delete(link->bs, NULL, name, errp);
    }
    bdrv_link_free(link);
    return ok;
}

static bool co_main_fn cmd_amend(Args *a, Error **errp)
{
    BdrvLink *link = open_path("qcow2", a->argv[2], false, false, errp);
    BdrvAmendOptions o = { 0 };

    for (int i = 3; link && i < a->argc; i++) {
        const char *value = strchr(a->argv[i], '=') + 1;

        if (g_str_has_prefix(a->argv[i], "version=")) {
            o.version = atoi(value);
        } else if (g_str_has_prefix(a->argv[i], "refcount_bits=")) {
            o.refcount_bits = atoi(value);
        } else if (g_str_has_prefix(a->argv[i], "lazy_refcounts=")) {
            o.has_lazy_refcounts = true;
            o.lazy_refcounts = atoi(value);
        } else if (g_str_has_prefix(a->argv[i], "data_file=")) {
            o.data_file = value;
        } else if (g_str_has_prefix(a->argv[i], "data_file_raw=")) {
            o.has_data_file_raw = true;
            o.data_file_raw = atoi(value);
        } else if (g_str_has_prefix(a->argv[i], "size=")) {
            o.has_size = true;
            o.size = atoll(value);
        }
    }
    bool ok = link && bdrv_co_amend(link, &o, NULL, errp);
    bdrv_link_free(link);
    return ok;
}

static void run(void *opaque)
{
    Args *a = opaque;
    const char *cmd = a->argv[1];

    context_assert_main();
    context_assert_coroutine();
    if (!strcmp(cmd, "create") && a->argc > 3) {
        a->ok = cmd_create(a, &a->err);
    } else if (!strcmp(cmd, "edit")) {
        a->ok = cmd_edit(a, &a->err);
    } else if (!strcmp(cmd, "read")) {
        a->ok = cmd_read(a, &a->err);
    } else if (!strcmp(cmd, "check") || (!strcmp(cmd, "repair") && a->argc > 3)) {
        a->ok = cmd_check(a, &a->err);
    } else if (!strcmp(cmd, "amend") && a->argc > 3) {
        a->ok = cmd_amend(a, &a->err);
    } else if (!strcmp(cmd, "snapshot") && a->argc > 3) {
        a->ok = cmd_snapshot(a, &a->err);
    } else {
        error_setg(&a->err, "Unknown command '%s'", cmd);
    }
}

int main(int argc, char **argv)
{
    Args a = { argc, argv, false, NULL };

    if (argc < 3) {
        fprintf(stderr, "qcow2-tool create|edit|read|check|repair|snapshot FILE ...\n");
        return 1;
    }
    context_set_main();
    AioContext *ctx = aio_context_new(AIO_BACKEND_AUTO, &a.err);
    if (ctx) {
        aio_context_run_coroutine(ctx, run, &a);
        aio_context_free(ctx);
    }
    if (a.err) {
        error_report_err(a.err);
    }
    return a.ok ? 0 : 1;
}
