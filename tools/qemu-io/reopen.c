/* SPDX-License-Identifier: GPL-2.0-or-later */
/* reopen: other options for what is open. */
#include "qemu/osdep.h"

#include "qobject/keyval.h"
#include "tools/qemu-io/program.h"

typedef struct ReopenArgs {
    bool has_mode, read_only;       /* -r, -w */
    bool has_cache;
    ToolCache cache;
    QDict *options;                 /* -o; never NULL once parsed */
} ReopenArgs;

static bool bad(Error **errp, const char *what)
{
    error_setg(errp, "%s", what);
    return false;
}

static bool take_mode(ReopenArgs *r, bool read_only, Error **errp)
{
    if (r->has_mode) {
        return bad(errp, "Only one -r/-w option may be given");
    }
    r->has_mode = true;
    r->read_only = read_only;
    return true;
}

static bool take_letter(ReopenArgs *r, int letter, const char *value, Error **errp)
{
    switch (letter) {
    case 'r': case 'w':
        return take_mode(r, letter == 'r', errp);
    case 'c':
        r->has_cache = true;
        if (!tool_parse_cache(value, &r->cache)) {
            error_setg(errp, "Invalid cache option: %s", value);
            return false;
        }
        return true;
    default:
        if (r->options) {
            qdict_unref(r->options);
        }
        r->options = keyval_parse(value, NULL, NULL, errp);
        return r->options;
    }
}

static bool check(const ReopenArgs *r, Error **errp)
{
    const QDict *cache = qobject_to_qdict(qdict_get(r->options, "cache"));

    if (r->has_mode && qdict_has(r->options, "read-only")) {
        return bad(errp, "Cannot set both -r/-w and 'read-only'");
    }
    if (r->has_cache && cache) {
        return bad(errp, "Cannot set both -c and the cache options");
    }
    return true;
}

/* ---- what the node is to be ---- */

static const char *on_off(bool on)
{
    return on ? "on" : "off";
}

static void main_fn describe_file(QDict *dict, const BlockDriverState *bs)
{
    static const char *const aio[] = {
        [FILE_AIO_THREADS] = "threads", [FILE_AIO_IO_URING] = "io_uring",
        [FILE_AIO_NATIVE] = "native",
    };
    static const char *const locking[] = {
        [FILE_LOCKING_AUTO] = "auto", [FILE_LOCKING_ON] = "on", [FILE_LOCKING_OFF] = "off",
    };

    qdict_put_str(dict, "filename", bs->filename);
    qdict_put_str(dict, "locking", locking[bs->locking]);
    if (bs->aio != FILE_AIO_AUTO) {
        qdict_put_str(dict, "aio", aio[bs->aio]);
    }
}

/* What @bs is now, as far as a client says such things of it, with the nodes below it by name. */
static QDict *main_fn dict_of_node(const BlockDriverState *bs)
{
    QDict *dict = qdict_new(), *cache = qdict_new();

    qdict_put_str(dict, "driver", bs->drv->name);
    qdict_put_str(dict, "node-name", bs->node_name);
    qdict_put_str(dict, "read-only", on_off(bs->read_only));
    qdict_put_str(dict, "force-share", on_off(bs->force_share));
    qdict_put_str(dict, "discard", bs->discard ? "unmap" : "ignore");
    qdict_put_str(dict, "detect-zeroes",
                  bs->detect_zeroes == BDRV_DETECT_ZEROES_ON    ? "on" :
                  bs->detect_zeroes == BDRV_DETECT_ZEROES_UNMAP ? "unmap" : "off");
    qdict_put_str(cache, "direct", on_off(bs->cache_direct));
    qdict_put_str(cache, "no-flush", on_off(bs->cache_no_flush));
    qdict_put(dict, "cache", QOBJECT(cache));
    if (bs->drv->is_protocol && !bs->file) {
        if (bs->drv->get_identity) {
            describe_file(dict, bs);
        }
        return dict;
    }
    if (bs->file) {
        qdict_put_str(dict, strcmp(bs->drv->name, "blkdebug") == 0 ? "image" : "file",
                      bs->file->bs->node_name);
    }
    if (bs->backing) {
        qdict_put_str(dict, "backing", bs->backing->bs->node_name);
    }
    return dict;
}

/* Options of a child become whole with what the child is now. */
static void main_fn complete_child(QDict *options, const char *key, const BdrvLink *link)
{
    QDict *child = qobject_to_qdict(qdict_get(options, key));

    if (child && link) {
        g_autoptr(QDict) now = dict_of_node(link->bs);
        join_options(child, now);
    }
}

/* A node that is to be writable needs that of what it is stored in. */
static void main_fn make_files_writable(QDict *dict, const BlockDriverState *bs)
{
    static const char *const keys[] = { "file", "image" };

    for (int depth = 0; bs->file && bs->file->bs->read_only && depth < 32; depth++) {
        const char *key = keys[strcmp(bs->drv->name, "blkdebug") == 0];
        QDict *file = qobject_to_qdict(qdict_get(dict, key));
        if (file && qdict_has(file, "read-only")) {
            return;                 /* as was said */
        }
        bs = bs->file->bs;
        if (!file) {
            file = dict_of_node(bs);
            qdict_put(dict, key, QOBJECT(file));
        }
        qdict_put_str(file, "read-only", "off");
        dict = file;
    }
}

/* The driver's own options as they were, but for those that others of the same kind replace. */
static void join_own(QDict *dict, const QDict *opened)
{
    static const char *const sizes[] = { "cache-size", "l2-cache-size", "refcount-cache-size" };
    g_autoptr(QDict) own = qdict_copy_shallow(opened);
    bool other_sizes = false;

    for (size_t i = 0; i < G_N_ELEMENTS(sizes); i++) {
        other_sizes |= qdict_has(dict, sizes[i]);
    }
    for (size_t i = 0; other_sizes && i < G_N_ELEMENTS(sizes); i++) {
        qdict_del(own, sizes[i]);
    }
    if (qdict_has(dict, "overlap-check")) {
        qdict_del(own, "overlap-check");
    }
    join_options(dict, own);
}

/* The options of @bs that -o, -r, -w and -c come to. */
static QDict *main_fn wanted(const ReopenArgs *r, const BlockDriverState *bs, const QDict *opened)
{
    QDict *dict = qdict_copy_shallow(r->options);
    g_autoptr(QDict) now = dict_of_node(bs);

    if (r->has_mode) {
        qdict_put_str(dict, "read-only", on_off(r->read_only));
    }
    if (r->has_cache) {
        QDict *cache = qdict_new();
        qdict_put_str(cache, "direct", on_off(r->cache.direct));
        qdict_put_str(cache, "no-flush", on_off(r->cache.no_flush));
        qdict_put(dict, "cache", QOBJECT(cache));
    }
    if (g_strcmp0(qdict_get_str(dict, "read-only"), "off") == 0) {
        make_files_writable(dict, bs);
    }
    complete_child(dict, "file", bs->file);
    complete_child(dict, "image", bs->file);
    complete_child(dict, "backing", bs->backing);
    join_options(dict, now);
    if (opened) {
        join_own(dict, opened);
    }
    return dict;
}

static bool check_driver(const QDict *dict, const BlockDriverState *bs, Error **errp)
{
    const char *driver = qdict_get_str(dict, "driver");

    if (driver && strcmp(driver, bs->drv->name) != 0) {
        return bad(errp, "Cannot change the option 'driver'");
    }
    return true;
}

static bool main_fn check_drivers(const QDict *options, const BlockDriverState *bs, Error **errp)
{
    const QDict *file = qobject_to_qdict(qdict_get(options, "file"));
    const QDict *backing = qobject_to_qdict(qdict_get(options, "backing"));

    return check_driver(options, bs, errp) &&
           (!file || !bs->file || check_driver(file, bs->file->bs, errp)) &&
           (!backing || !bs->backing || check_driver(backing, bs->backing->bs, errp));
}

/* ---- the command ---- */

void any_fn program_note_options(Program *p, const QDict *dict)
{
    g_clear_pointer(&p->own_options, qdict_unref);
    p->own_options = dict ? qdict_copy_shallow(dict) : NULL;
}

/* What the backend claims once the image is, or is not, @read_only.  Somebody else's claims no more
 * than it did. */
static bool co_main_fn set_claims(IoSession *s, bool read_only, Error **errp)
{
    const Program *p = s->opaque;

    if (!p->borrowed) {
        unsigned needs = CLAIM_READ | (read_only ? 0 : CLAIM_WRITE);
        return blk_set_claims(s->blk, needs, CLAIM_ALL, errp);
    }
    return !read_only || blk_set_claims(s->blk, blk_needs(s->blk) & ~(CLAIM_WRITE | CLAIM_RESIZE),
                                        blk_allows(s->blk), errp);
}

static bool co_main_fn set_claims_locked(IoSession *s, bool read_only, Error **errp)
{
    bdrv_graph_lock();
    bool ok = set_claims(s, read_only, errp);
    bdrv_graph_unlock();
    return ok;
}

static bool co_main_fn reopen_node(IoSession *s, BlockDriverState *bs, QDict *dict, Error **errp)
{
    bool was_read_only = bs->read_only;
    Error *err = NULL;
    BdrvOpenOptions *opts = blockdev_options_from_dict(dict, NULL, &err);

    if (!opts) {
        say_of_options(&err, NULL);
        error_propagate(errp, err);
        return false;
    }
    bool read_only = opts->read_only;
    if (read_only && !was_read_only && !set_claims_locked(s, true, errp)) {
        bdrv_open_options_free(opts);
        return false;
    }
    bool ok = blockdev_reopen_as(bs, opts, errp);
    if (!set_claims_locked(s, ok ? read_only : was_read_only, ok ? errp : NULL)) {
        ok = false;
    }
    return ok;
}

static bool co_main_fn reopen(IoSession *s, const ReopenArgs *r, Error **errp)
{
    Program *p = s->opaque;
    BlockDriverState *bs = blk_bs(s->blk);

    if (p->copy_on_read) {
        bs = bs->file->bs;          /* the image that was opened */
    }
    if (!check(r, errp) || !check_drivers(r->options, bs, errp)) {
        return false;
    }
    QDict *dict = wanted(r, bs, p->own_options);
    if (!reopen_node(s, bs, dict, errp)) {
        qdict_unref(dict);
        return false;
    }
    program_note_options(p, dict);
    qdict_unref(dict);
    if (r->has_cache) {
        blk_set_write_cache(s->blk, !r->cache.writethrough);
    }
    return true;
}

static int co_main_fn reopen_command(IoSession *s, const IoCommand *cmd, int argc, char **argv)
{
    ReopenArgs r = { .has_mode = false };
    Error *err = NULL;
    g_auto(IoArgs) a;
    int c, ret = 0;

    io_args_init(&a, s, cmd, argc, argv, "c:o:rw");
    while (ret == 0 && !err && (c = io_args_next(&a))) {
        if (c == '?') {
            ret = io_usage(s, cmd);
        } else {
            take_letter(&r, c, a.value, &err);
        }
    }
    if (ret == 0 && !err && a.values->len > 0) {
        ret = io_usage(s, cmd);
    }
    r.options = r.options ?: qdict_new();
    if (ret == 0 && !err) {
        reopen(s, &r, &err);
    }
    qdict_unref(r.options);
    if (err) {
        io_complain_err(s, err);
        ret = -EINVAL;
    }
    return ret;
}

const IoCommand reopen_commands[] = {
    { .name = "reopen", .run = reopen_command, .max_args = -1,
      .args = "[(-r|-w)] [-c cache] [-o options]",
      .summary = "reopens an image with new options",
      .help =
        " What is not said stays as it is.\n"
        " Example: 'reopen -o lazy-refcounts=on' makes a qcow2 image write its refcounts late.\n"
        "\n"
        " -c, -- the cache mode, as of open -t\n"
        " -o, -- options of the image, as of open -o\n"
        " -r, -- the image cannot be written to any more\n"
        " -w, -- the image can be written to\n" },
    { 0 },
};
