/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qemu-img group commit: several images, each into its backing file.
 *
 * Every disk reads the same at every moment.  All are opened, locked and looked at before the first
 * byte is written, and all are copied before the first is emptied: whatever fails or ends the
 * program, each image has its whole content, and the command can be given again.
 */
#include "qemu/osdep.h"

#include "block/new-file.h"
#include "commit.h"
#include "group.h"
#include "transfer.h"

typedef struct GroupCommit {
    ImgCommit common;
    bool force;
    GPtrArray *commits;             /* of ImgCommit */
} GroupCommit;

/* ---- before ---- */

/* Of what @filename leads to, and of the file that it records as its base. */
typedef struct Ends {
    bool has_file, has_base;
    BdrvFileId file, base;
} Ends;

static bool co_main_fn look_at_ends(const GroupCommit *g, const char *filename, Ends *ret,
                                    Error **errp)
{
    ToolImage image = { .name = filename, .format = g->common.image.format, .for_info = true };
    BlockBackend *blk = tool_open(&image, errp);

    if (!blk) {
        return false;
    }
    BlockDriverState *bs = blk_bs(blk);
    bool has_backing = bs->backing_file != NULL;
    g_autofree char *path = has_backing && !bdrv_path_has_protocol(bs->backing_file)
                            ? bdrv_path_combine(bs->filename, bs->backing_file) : NULL;
    tool_close(blk);
    if (!has_backing) {
        error_setg(errp, "Image does not have a backing file");
        return false;
    }
    ret->has_file = file_id_of_path_co(filename, &ret->file);
    ret->has_base = path && file_id_of_path_co(path, &ret->base);
    return true;
}

/* Members that stand in each other's way: locks would say so, too, but not who it is. */
static bool check_pair(const char *name, const Ends *a, const char *other_name, const Ends *b,
                       Error **errp)
{
    if (a->has_file && b->has_file && file_id_equal(a->file, b->file)) {
        error_setg(errp, "it is the same file as '%s', another member", other_name);
    } else if (a->has_base && b->has_base && file_id_equal(a->base, b->base)) {
        error_setg(errp, "it has the same backing file as '%s', another member", other_name);
    } else if (a->has_file && b->has_base && file_id_equal(a->file, b->base)) {
        error_setg(errp, "it is the backing file of '%s', another member", other_name);
    } else if (a->has_base && b->has_file && file_id_equal(a->base, b->file)) {
        error_setg(errp, "its backing file '%s' is another member", other_name);
    } else {
        return true;
    }
    return false;
}

static bool co_main_fn check_members(const GroupCommit *g, char **names, int n)
{
    g_autofree Ends *ends = g_new0(Ends, n);
    Error *err = NULL;

    for (int i = 0; i < n; i++) {
        bool ok = look_at_ends(g, names[i], &ends[i], &err);
        for (int k = 0; ok && k < i; k++) {
            ok = check_pair(names[i], &ends[i], names[k], &ends[k], &err);
        }
        if (!ok) {
            img_fail_on(names[i], err);
            return false;
        }
    }
    return true;
}

static bool co_main_fn open_members(GroupCommit *g, char **names, int n)
{
    Error *err = NULL;

    for (int i = 0; i < n; i++) {
        ImgCommit *c = g_new0(ImgCommit, 1);

        *c = g->common;
        c->image.name = names[i];
        g_ptr_array_add(g->commits, c);
        if (!img_commit_open(c, &err)) {
            img_fail_on(names[i], err);
            return false;
        }
    }
    return true;
}

/* ---- the work ---- */

/* False: it was said why, but not of which member. */
static bool co_main_fn commit_members(const GroupCommit *g, const ImgCommit **ret_failed)
{
    for (guint i = 0; i < g->commits->len; i++) {
        ImgCommit *c = g->commits->pdata[i];

        *ret_failed = c;
        if (img_was_interrupted() || !img_commit_copy(c)) {
            return false;
        }
    }
    for (guint i = 0; i < g->commits->len; i++) {
        ImgCommit *c = g->commits->pdata[i];

        *ret_failed = c;
        if (!img_commit_empty(c)) {
            return false;
        }
    }
    return true;
}

static bool co_main_fn run(GroupCommit *g, char **names, int n)
{
    const ImgCommit *failed = NULL;

    if (!check_members(g, names, n) || !open_members(g, names, n) ||
        (!g->force && !img_group_has_room(g->commits))) {
        tool_error("nothing was changed");
        return false;
    }
    img_catch_signals();
    if (!commit_members(g, &failed)) {
        tool_error("%s: not committed; every disk of the group reads as before, and the command "
                   "can be given again", failed->image.name);
        return false;
    }
    return true;
}

static bool co_main_fn close_members(GroupCommit *g)
{
    bool ok = true;

    for (guint i = 0; i < g->commits->len; i++) {
        ok = img_commit_close(g->commits->pdata[i]) && ok;
    }
    g_ptr_array_unref(g->commits);
    return ok;
}

/* ---- the command ---- */

static void co_main_fn parse(int argc, char **argv, GroupCommit *g)
{
    static const struct option longopts[] = {
        { "help", no_argument, NULL, 'h' }, { "force", no_argument, NULL, IMG_OPT_FORCE },
        { "object", required_argument, NULL, IMG_OPT_OBJECT }, { 0 },
    };
    ImgCommit *c = &g->common;
    int opt;

    while ((opt = img_next_option(argc, argv, ":f:ht:dpqr:", longopts)) != -1) {
        switch (opt) {
        case 'f': c->image.format = optarg; break;
        case 't': c->image.cache = img_cache_arg("cache", optarg); break;
        case 'd': c->keep = true; break;
        case 'p': c->progress = true; break;
        case 'q': c->quiet = true; break;
        case 'r': c->speed = img_size_arg("rate limit", optarg, 0, INT64_MAX); break;
        case IMG_OPT_FORCE: g->force = true; break;
        case IMG_OPT_OBJECT: img_add_object(optarg); break;
        }
    }
}

int co_main_fn img_group_commit(int argc, char **argv)
{
    GroupCommit g = { .common.image = { .writable = true, .may_guess_raw = true } };

    parse(argc, argv, &g);
    if (optind == argc) {
        img_usage_error("Expecting overlays");
    }
    g.commits = g_ptr_array_new_with_free_func(g_free);
    bool ok = run(&g, argv + optind, argc - optind);
    ok = close_members(&g) && ok;
    for (int i = optind; i < argc && ok && !g.common.quiet; i++) {
        printf("Committed '%s'\n", argv[i]);
    }
    return ok ? 0 : 1;
}
