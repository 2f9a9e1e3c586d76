/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The graph: nodes, links, claims; opening, closing and pivoting.
 *
 * The graph changes only on the main thread, only under the graph mutex, and - where a backend
 * with requests reaches the change - only while that backend is quiesced.  Changes come in four
 * steps: prepare (may fail), commit (void, does not yield), abort (undoes a prepare), clean.
 */
#ifndef BLOCK_BLOCK_H
#define BLOCK_BLOCK_H

#include "block/driver.h"
#include "block/options.h"

/* ---- the graph mutex: one command or job completion changes the graph at a time ---- */

void co_main_fn bdrv_graph_lock(void);
void co_main_fn bdrv_graph_unlock(void);
bool co_main_fn bdrv_graph_is_locked_by_self(void);

/* ---- marks: whose node is being changed ---- */

/* Mark @bs as being changed by @owner.  False: somebody else's change, of it or of its claims, has
 * to end first; bdrv_change_wait() returns when any has ended. */
bool main_fn bdrv_change_begin(BlockDriverState *bs, const void *owner);
/* Nothing if it is not marked by @owner. */
void main_fn bdrv_change_end(BlockDriverState *bs, const void *owner);
/* The caller has no marks.  Lets go of the graph mutex meanwhile if it has that. */
void co_main_fn bdrv_change_wait(void);
void main_fn bdrv_change_wake(void);
/* Is @bs, or a node that it reaches by going down, marked? */
bool main_fn bdrv_reaches_changing(BlockDriverState *bs);
/* Before @bs gets a new user: waits as above if it reaches a marked node.  True: nodes have to be
 * looked up again, for @bs may be gone. */
bool co_main_fn bdrv_wait_until_unchanged(BlockDriverState *bs);

/* ---- links ---- */

/*
 * What links of one kind have in common; a static object for each kind.  A link without a role is
 * somebody's who only holds the node; its @holder says who.
 */
typedef struct BdrvLinkRole {
    const char *name;               /* "file", "backing": for messages */
    /* Children: the parent's data or metadata is in the child, so flushing, access, claims and
     * being hidden go down there. */
    bool stores;
    size_t slot;                    /* children: offset of the parent's pointer to this child; 0:
                                     * the parent's driver has its own */
    /* Users other than nodes: "NBD export 'x'", caller frees; do requests along the link wait? */
    char *(*describe)(const BdrvLink *link);
    bool (*is_held)(const BdrvLink *link);
} BdrvLinkRole;

/* The roles of children. */
extern const BdrvLinkRole bdrv_role_file, bdrv_role_data_file, bdrv_role_backing, bdrv_role_target;

struct BdrvLink {
    BlockDriverState *bs;           /* where it leads */
    const BdrvLinkRole *role;       /* NULL: @holder says who holds it */
    bool follows;                   /* a pivot of @bs takes it along */
    bool joins;                     /* it follows from a commit on that is prepared */
    bool tolerant;                  /* a backing link: others may write to @bs while no user of the
                                     * parent relies on what it reads; (C5) in
                                     * block/graph/claims.c */
    unsigned needs, allows;         /* claims, as committed */

    /* The holder: a node, a backend, or (both NULL) what @holder says. */
    BlockDriverState *parent;
    BlockBackend *backend;
    char *holder;                   /* owned */

    /* Core only. */
    GList entry;                    /* in bs->followers or bs->others */
    GList child_entry;              /* in parent->children, from bdrv_add_child() on */
    bool leaving;                   /* another one takes its place: see (C4) in
                                     * block/graph/claims.c */
    unsigned new_needs, new_allows; /* valid while has_new: being prepared */
    bool has_new;
};

typedef struct BdrvLinkSpec {
    const BdrvLinkRole *role;
    bool follows, tolerant;
    unsigned needs, allows;
    BlockDriverState *parent;
    BlockBackend *backend;
    const char *holder;             /* copied */
    bool hidden;                    /* bdrv_open(): so is the new node, until bdrv_show() */
} BdrvLinkSpec;

/*
 * A link to @bs, which it keeps alive, if its claims go together with everybody else's (in this
 * process and, for files, in others); an error names who stands in the way, and a node that nobody
 * else uses by then is closed.
 */
BdrvLink *co_main_fn bdrv_link_new(BlockDriverState *bs, const BdrvLinkSpec *spec, Error **errp);

/* Drops @link (NULL is fine); its node is flushed and closed if nobody else holds it. */
void co_main_fn bdrv_link_free(BdrvLink *link);

/* Change the claims of @link; on failure they stay. Asking for less cannot fail. */
/* The link of @bs to its backing file, if it has one, claims what such a link does now. */
void co_main_fn bdrv_refresh_backing_claims(BlockDriverState *bs);
bool co_main_fn bdrv_link_set_claims(BdrvLink *link, unsigned needs, unsigned allows, Error **errp);

/* The children of a node, in the order in which they came: a loop over BdrvLink *@link. */
#define BDRV_FOREACH_CHILD(bs, link) \
    for (GList *child_ = (bs)->children.head; \
         child_ && ((link) = child_->data, true); child_ = child_->next)

/*
 * Make @link, whose role has a slot, a child of its parent; take it out.  Only while no request is
 * inside the parent.  Links stay the caller's.
 */
void main_fn bdrv_add_child(BdrvLink *link);
BdrvLink *main_fn bdrv_remove_child(BdrvLink *link);       /* NULL is fine; returns @link */

/* "block device 'virtio0'", "node 'base' (as its backing file)": for messages; caller frees. */
char *main_fn bdrv_link_describe(const BdrvLink *link);

/* Recompute the claims on @bs and below from its users as they are now; after a commit that only
 * made them smaller.  An error (a lock that could not be given up) leaves the graph as it is. */
bool co_main_fn bdrv_refresh_claims(BlockDriverState *bs, Error **errp);

/* ---- nodes ---- */

/*
 * Open a node and everything below it.  @opts is borrowed.  The caller gets a link to it of
 * role @spec->role with the claims of @spec; the node lives until its last link is freed.  A hidden
 * node that is described without naming others may be opened, used and closed without the graph
 * mutex.
 */
BdrvLink *co_main_fn bdrv_open(const BdrvOpenOptions *opts, const BdrvLinkSpec *spec, Error **errp);

/* As bdrv_open() for one image that is named, not described: "json:{...}", "nbd://...", "file:PATH"
 * or a path, of format @format (NULL: probe; only for read-only use). @base is the image that names
 * it (for relative names) or NULL. */
BdrvOpenOptions *co_main_fn bdrv_options_from_filename(const char *filename, const char *format,
                                                       const char *base_filename, Error **errp);

/* The name of the format of the file that @file_opts describes, by its first bytes. */
const char *co_main_fn bdrv_probe_format(const BdrvOpenOptions *file_opts, Error **errp);
/* The two halves of it: a "json:" name, and any other one, which stands for a protocol's node. */
BdrvOpenOptions *co_main_fn bdrv_options_from_json_name(const char *filename, const char *format,
                                                        Error **errp);
BdrvOpenOptions *any_fn bdrv_protocol_options(const char *filename, const char *base_filename,
                                              Error **errp);

/* If @opts are for raw: was that found out by looking?  See RawOpenOptions. */
void any_fn bdrv_note_probed(BdrvOpenOptions *opts, bool probed);

/* Understands the JSON of a "json:" name, beside which @format (NULL: none) is recorded; set once
 * at start by whoever knows the wire's types.  NULL (the default): such names are refused. */
extern BdrvOpenOptions *(*bdrv_json_options_parser)(const char *json, const char *format,
                                                    Error **errp);

/* @file is going to be a child of @bs that requests go down to; false: there would be too many
 * below each other. */
bool main_fn bdrv_nest(BlockDriverState *bs, const BlockDriverState *file, Error **errp);

/* NULL if there is none, or it is hidden. */
BlockDriverState *main_fn bdrv_find_node(const char *node_name);
/* All nodes but hidden ones, oldest first; NULL @prev: the first. */
BlockDriverState *main_fn bdrv_next_node(BlockDriverState *prev);
/* How many open nodes have a driver with set_unlimited. */
unsigned main_fn bdrv_limiting_nodes(void);
/* Hidden ones as well. */
BlockDriverState *main_fn bdrv_next_of_all_nodes(BlockDriverState *prev);
/* @bs and all hidden nodes below it are complete: everybody may find them. */
void main_fn bdrv_show(BlockDriverState *bs);
/* A valid, free node name? Error says which it is not. */
bool main_fn bdrv_check_node_name(const char *node_name, Error **errp);
/* Is there a node of that name, hidden or not, or is the name kept for one? */
bool main_fn bdrv_node_name_is_taken(const char *node_name);
/* A drive has that name, or has it no more: nodes and drives are named from one set. */
void main_fn bdrv_set_device_name(const char *name, bool used);
bool main_fn bdrv_name_is_device(const char *name);
/* Keep a free name for a node to come / for nobody any more. */
void main_fn bdrv_reserve_node_name(const char *node_name);
void main_fn bdrv_release_node_name(const char *node_name);

/* Does @name begin with a protocol ("nbd:", "json:"), as opposed to being a path? */
bool any_fn bdrv_path_has_protocol(const char *name);

/* Called on the main thread, once, when @node_name is written beyond the threshold that was set for
 * it. */
void main_fn bdrv_set_write_threshold_cb(void (*cb)(const char *node_name, uint64_t exceeded,
                                                    uint64_t threshold));
/* From now on report the first write beyond @threshold (bytes; 0: none). */
void main_fn bdrv_set_write_threshold(BlockDriverState *bs, uint64_t threshold);
uint64_t main_fn bdrv_get_write_threshold(BlockDriverState *bs);

/* From now on @tracker learns of changes of @bs.  The node owns it from now on. */
void main_fn bdrv_add_write_tracker(BlockDriverState *bs, BdrvWriteTracker *tracker);
/* @tracker, which was added, is released at once or soon: as soon as no thread is inside of it. */
void main_fn bdrv_remove_write_tracker(BdrvWriteTracker *tracker);
/* All trackers of @bs, which nobody uses any more, are released. */
void main_fn bdrv_free_write_trackers(BlockDriverState *bs);

/* ---- pivot ---- */

/*
 * Put @bs_new in front of @bs_top: every follower of @bs_top moves to @bs_new and the other way
 * round.  @bs_new->backing already leads to @bs_top.  All backends that reach either are
 * held (asserted).  Does not fail, yield or allocate.
 */
void main_fn bdrv_append(BlockDriverState *bs_new, BlockDriverState *bs_top);

/* The followers of @a go to @b and the other way round; the same conditions. */
void main_fn bdrv_swap_followers(BlockDriverState *a, BlockDriverState *b);

/*
 * All followers of a node go to another one: onto a filter in front of it, off a filter again, to a
 * copy.  Prepare while guests run, with both nodes marked; then commit while every backend that
 * reaches either is held (asserted; does not fail, yield or allocate) and clean, or abort.
 */
typedef struct BdrvMove {
    BlockDriverState *from, *to;    /* NULL: nothing is prepared */
    BdrvLink *keeper;               /* on @to, with the claims that the followers bring along */
    BdrvLink *filter_link;          /* of @to, to @from; NULL: @to is no filter over it */
} BdrvMove;

/* @holder says who wants it, for messages.  An error names who stands in the way of the users. */
bool co_main_fn bdrv_move_prepare(BdrvMove *m, BlockDriverState *from, BlockDriverState *to,
                                  const char *holder, Error **errp);
void main_fn bdrv_move_commit(BdrvMove *m);
/* Nothing if nothing is prepared. */
void co_main_fn bdrv_move_abort(BdrvMove *m);
void co_main_fn bdrv_move_clean(BdrvMove *m);

/* The filters that jobs have put in front of @bs included: where a new user of the disk has to be,
 * whose writes they must see. */
BlockDriverState *main_fn bdrv_with_implicit(BlockDriverState *bs);
/* Below filters that a job has put in front of it: what its user knows. */
BlockDriverState *main_fn bdrv_skip_implicit(BlockDriverState *bs);

/* Link @backing below the open node @bs, which has none. @needs/@allows as of a backing link that
 * is not in use yet: other users of @backing may go on writing until the pivot. */
bool co_main_fn bdrv_attach_backing(BlockDriverState *bs, BlockDriverState *backing, Error **errp);
/* The same link, which is not there for requests before the caller's bdrv_add_child(). */
BdrvLink *co_main_fn bdrv_backing_link_new(BlockDriverState *bs, BlockDriverState *backing,
                                           Error **errp);

/* The claims of a backing link in use, for the commit of a pivot: in memory only. */
void main_fn bdrv_backing_link_seal(BdrvLink *backing);

/* ---- changing open nodes, in the steps of BlockDriver.co_reopen_prepare ---- */

/* The change that changes nothing. */
BdrvReopen main_fn bdrv_reopen_same(const BlockDriverState *bs);

/*
 * Change @nodes (of BlockDriverState, each once, parents before what is below them),
 * nodes->pdata[i] to @to[i], or none of them.  Refuses to make a node read-only whose users go on
 * writing, one writable on a read-only file, and a file with another content.  After success commit
 * or abort, and clean after commit.
 */
bool co_main_fn bdrv_reopen_prepare(GPtrArray *nodes, const BdrvReopen *to, Error **errp);
/* The settling flush that has to come before the commit, of those nodes that are written to. */
bool co_main_fn bdrv_reopen_flush(GPtrArray *nodes, Error **errp);
/*
 * As bdrv_reopen_prepare() for @bs and what stores it (not its backing chain) as far as nobody else
 * writes there, to make them read-only once a pivot has taken @bs's writers away.  The caller frees
 * the list of nodes.
 */
GPtrArray *co_main_fn bdrv_ro_prepare(BlockDriverState *bs, Error **errp);
void main_fn bdrv_reopen_commit(GPtrArray *nodes);
void co_main_fn bdrv_reopen_abort(GPtrArray *nodes);
/* False: claims that are needed no more could not be given up; the change stands. */
bool co_main_fn bdrv_reopen_clean(GPtrArray *nodes, Error **errp);

/* Every backend from which @bs can be reached is added to @backends (a set). */
void main_fn bdrv_collect_backends(BlockDriverState *bs, GHashTable *backends);

/* Each node that reaches @bs by going down, @bs first, each once.  Caller frees the array. */
GPtrArray *main_fn bdrv_nodes_above(BlockDriverState *bs);

/* @bs and the nodes that store it, not its backing chain; @bs first, each once.  Caller frees the
 * array. */
GPtrArray *main_fn bdrv_stores(BlockDriverState *bs);

/* Does @bs reach @target by going down, once the changes that are prepared are made? */
bool main_fn bdrv_reaches(BlockDriverState *bs, BlockDriverState *target);

/* Create an empty image of format @drv on the node of @file. See BlockDriver.co_create. */
bool co_main_fn bdrv_co_create(const BlockDriver *drv, BdrvLink *file,
                               const BdrvCreateOptions *opts, Error **errp);

/* Record @name (NULL: none), of format @format, as the backing file of the writable node @bs.  What
 * is open stays as it is. */
bool co_main_fn bdrv_co_set_backing_name(BlockDriverState *bs, const char *name,
                                         const char *format, Error **errp);

/* Asserts what has to be true of the graph between commands; nothing in builds without debug
 * checks. */
void main_fn bdrv_graph_assert(void);

/* The program ends: nothing waits any longer, or again, for a server that is gone, nor for long for
 * one that says nothing. */
void main_fn bdrv_give_up_waiting(void);
bool main_fn bdrv_has_given_up_waiting(void);
/* Flush and close whatever is left; nothing uses it any more. */
void co_main_fn bdrv_close_all(void);
/* How many nodes were closed so far without what had been written to them being on disk; their
 * names were logged. */
unsigned any_fn bdrv_lossy_closes(void);
/* Writes what @bs still has to write; a failure is logged and counted there. */
void co_main_fn bdrv_flush_before_close(BlockDriverState *bs);

#endif
