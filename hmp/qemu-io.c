/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qemu-io: its command language, on a disk that is in use.
 *
 * What such a command says goes to the process's standard output, as scripts know it.  On a drive
 * or a device it works by that backend, so that limits and counters apply; requests that it has
 * begun go on after it, and a later one can wait for them.  A node gets a backend for the one
 * command.
 */
#include "qemu/osdep.h"

#include "block/backend.h"
#include "hmp-commands.h"
#include "hmp/hmp.h"
#include "monitor/monitor.h"
#include "tools/qemu-io/commands.h"
#include "tools/qemu-io/reopen.h"

/* How long an answer waits for what was printed before it to be written. */
#define PRINT_PATIENCE_NS NS_PER_SEC

/* Somebody's work on a backend. */
typedef struct Visit {
    IoSession io;
    IoOutput output;
    Program program;
    Coroutine *busy;            /* runs a command; NULL: none runs */
    GString *answer;            /* of that command */
    unsigned needs, allows;     /* claims of the backend before more was needed */
    bool has_more;              /* more is claimed now */
    unsigned more;              /* that */
} Visit;

static GList *visits;           /* of Visit, each of another backend */

/* ---- what commands say ---- */

static void print_text(void *opaque, const char *text, bool is_error)
{
    context_assert_main();
    monitor_print(is_error, text);
}

static void print_now(void *opaque)
{
    context_assert_main();
    context_assert_coroutine();
    monitor_print_wait(PRINT_PATIENCE_NS);
    monitor_flush();
}

/* What belongs to the command itself is its answer. */
static void answer_error(void *opaque, const char *text)
{
    Visit *v = opaque;

    if (v->busy) {
        g_string_append_printf(v->answer, "%s\n", text);
    }
}

static const IoCommand *const more_commands[] = { reopen_commands, NULL };

/* ---- claims ---- */

/* What the command needs that the backend's user does not.  If it cannot be had, the command says
 * so. */
static void co_main_fn claim_more(Visit *v)
{
    BlockBackend *blk = v->io.blk;

    v->needs = blk_needs(blk);
    v->allows = blk_allows(blk);
    v->more = v->needs | CLAIM_READ | CLAIM_WRITE | CLAIM_RESIZE;
    v->has_more = blk_set_claims(blk, v->more, v->allows, NULL);
    if (!v->has_more) {
        v->more &= ~CLAIM_RESIZE | v->needs;
        v->has_more = blk_set_claims(blk, v->more, v->allows, NULL);
    }
}

static void co_main_fn claim_for(Visit *v, const char *line)
{
    BlockBackend *blk = v->io.blk;

    if (!io_session_writes(&v->io, line)) {
        return;
    }
    bdrv_graph_lock();
    if (!blk_is_writable(blk) && !(blk_bs(blk) && blk_bs(blk)->read_only)) {
        claim_more(v);
    }
    bdrv_graph_unlock();
}

/* Nothing that needs more is under way.  What somebody else has claimed meanwhile stays. */
static void co_main_fn give_back(Visit *v)
{
    if (v->has_more && v->io.asynchronous.running == 0) {
        v->has_more = false;
        bdrv_graph_lock();
        if (blk_needs(v->io.blk) == v->more && blk_allows(v->io.blk) == v->allows) {
            blk_set_claims(v->io.blk, v->needs, v->allows, NULL);
        }
        bdrv_graph_unlock();
    }
}

/* ---- visits ---- */

static Visit *main_fn visit_new(BlockBackend *blk)
{
    Visit *v = g_new0(Visit, 1);

    visits = g_list_prepend(visits, v);
    v->output = (IoOutput){
        .text = print_text, .error = answer_error, .flush = print_now, .opaque = v,
    };
    v->program.borrowed = true;
    v->io.blk = blk;
    v->io.out = &v->output;
    v->io.more = more_commands;
    v->io.opaque = &v->program;
    return v;
}

/* What @v's command waits for at a breakpoint, or by `sleep`, it waits for no longer. */
static void main_fn let_go(Visit *v)
{
    if (v->busy && blk_bs(v->io.blk)) {
        bdrv_debug_resume_all(blk_bs(v->io.blk));
    }
    if (v->busy) {
        aio_co_cancel(v->busy);
    }
}

/* The program ends, and would wait for commands. */
static void let_all_go(void)
{
    context_assert_main();
    for (GList *l = visits; l; l = l->next) {
        let_go(l->data);
    }
}

/* A command that runs ends first. */
static void co_main_fn visit_free(Visit *v)
{
    while (v->busy) {
        let_go(v);
        aio_co_sleep_ns(NS_PER_MS);
    }
    io_session_settle(&v->io);
    give_back(v);
    visits = g_list_remove(visits, v);
    program_note_options(&v->program, NULL);
    g_free(v);
}

/* The backend is about to go. */
static void leave(void *opaque)
{
    Visit *v = opaque;

    context_assert_main();
    context_assert_coroutine();
    blk_set_visitor(v->io.blk, NULL, NULL);
    visit_free(v);
}

/* NULL: @blk is about to go. */
static Visit *main_fn visit_of(BlockBackend *blk)
{
    for (GList *l = visits; l; l = l->next) {
        Visit *v = l->data;
        if (v->io.blk == blk) {
            return v;
        }
    }
    Visit *v = visit_new(blk);
    if (!blk_set_visitor(blk, leave, v)) {
        visits = g_list_remove(visits, v);
        g_clear_pointer(&v, g_free);
    }
    return v;
}

void co_main_fn hmp_machine_finish(void)
{
    while (visits) {
        leave(visits->data);
    }
}

static void co_main_fn run(Visit *v, const char *line, GString *answer)
{
    v->busy = coroutine_self();
    v->answer = answer;
    claim_for(v, line);
    io_session_run(&v->io, line);
    give_back(v);
    if (v->io.quit) {           /* it is the program's, which is not this one */
        v->io.quit = false;
        io_complain(&v->io, "command \"quit\" not found");
    }
    v->busy = NULL;
    monitor_print_wait(PRINT_PATIENCE_NS);
}

/* A backend on that node.  NULL, and no error: there is no such node. */
static BlockBackend *co_main_fn backend_of_node(const char *name, Error **errp)
{
    bdrv_graph_lock();
    BlockDriverState *bs = bdrv_find_node(name);
    BlockBackend *blk = bs ? blk_new(NULL, CLAIM_NONE, CLAIM_ALL, errp) : NULL;
    if (blk && !blk_insert(blk, bs, errp)) {
        blk_free(g_steal_pointer(&blk));
    }
    bdrv_graph_unlock();
    return blk;
}

static void co_main_fn run_on_node(const char *name, const char *line, GString *answer,
                                   Error **errp)
{
    Error *err = NULL;
    BlockBackend *blk = backend_of_node(name, &err);

    if (!blk) {
        if (!err) {
            error_setg(&err, "Cannot find device='' nor node-name='%s'", name);
        }
        error_propagate(errp, err);
        return;
    }
    Visit *v = visit_new(blk);
    run(v, line, answer);
    visit_free(v);
    monitor_print_wait(PRINT_PATIENCE_NS);
    bdrv_graph_lock();
    blk_free(blk);
    bdrv_graph_unlock();
}

/* ---- the command ---- */

#define PERIPHERAL "/machine/peripheral/"

/* By its id, its path, or the end of that ("ID/virtio-backend"). */
static BlockBackend *main_fn find_device(const char *name)
{
    g_autofree char *end = g_strdup_printf("/%s", name);
    BlockBackend *blk = blk_find_device(name);

    if (!blk && g_str_has_prefix(name, PERIPHERAL)) {
        blk = blk_find_device(name + strlen(PERIPHERAL));
    }
    if (blk) {
        return blk;
    }
    while ((blk = blk_next(blk))) {
        if (blk_device(blk) && g_str_has_suffix(blk_device(blk)->qdev, end)) {
            return blk;
        }
    }
    return NULL;
}

static void co_main_fn run_on_backend(BlockBackend *blk, const char *name, const char *line,
                                      GString *answer, Error **errp)
{
    Visit *v = visit_of(blk);

    if (!v || v->busy) {
        error_setg(errp, v ? "Another qemu-io command runs on '%s'" : "'%s' is going away", name);
    } else {
        run(v, line, answer);
    }
}

static void co_main_fn run_on(const char *name, bool is_device, const char *line, GString *answer,
                              Error **errp)
{
    BlockBackend *blk = is_device ? find_device(name) : blk_find(name);

    if (blk) {
        run_on_backend(blk, name, line, answer, errp);
    } else if (is_device) {
        error_setg(errp, "Device '%s' not found", name);
    } else {
        run_on_node(name, line, answer, errp);
    }
}

static void co_main_fn qemu_io(GString *out, const HmpArgs *args)
{
    Error *err = NULL;

    run_on(hmp_str(args, "device"), hmp_flag(args, "d"), hmp_str(args, "command"), out, &err);
    hmp_failed(out, err);
}

static const HmpCommand hmp_io_commands[] = {
    { "qemu-io", "[-d] [device] \"[command]\"", "run a qemu-io command on a block device (-d: "
      "[device] is a device ID rather than a drive ID or node name)", qemu_io,
      { { "d", HMP_FLAG }, { "device", HMP_DEVICE }, { "command", HMP_STRING } } },
    { NULL },
};

void main_fn hmp_io_init(void)
{
    monitor_hmp_register(hmp_io_commands);
    monitor_set_on_stop(let_all_go);
}
