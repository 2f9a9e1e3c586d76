/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A program that serves, from start to end: signals, log, monitors, block layer. */
#include "qemu/osdep.h"

#include <malloc.h>
#include <poll.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/signalfd.h>

#include "block/backend.h"
#include "block/blockdev.h"
#include "config-host.h"
#include "hmp/hmp.h"
#include "log.h"
#include "monitor/hmp.h"
#include "monitor/monitor.h"
#include "process.h"
#include "qapi/qapi-events.h"
#include "qemu/aio.h"
#include "qemu/debug-checks.h"
#include "qemu/log.h"
#include "qemu/systemd.h"
#include "serve.h"
#include "trace.h"

/* The last lines are worth waiting for, but the end of the program does not hang on a reader. */
#define LOG_PATIENCE_NS NS_PER_SEC

static const ToolServe *serve;
static AioContext *main_ctx;
static int exit_status;
static bool shutdown_wanted, state_is_being_logged;
static Coroutine *shutdown_waiter;

/* ---- the end ---- */

void main_fn tool_serve_end(ShutdownCause cause, bool by_guest)
{
    EventShutdownArgs ev = { .guest = by_guest, .reason = cause };

    if (shutdown_wanted ||
        (serve->ask_end && serve->ask_end(cause == SHUTDOWN_CAUSE_HOST_SIGNAL))) {
        return;
    }
    qapi_event_send_shutdown(&ev);
    tool_serve_over(exit_status);
}

void main_fn tool_serve_over(int status)
{
    if (shutdown_wanted) {
        return;
    }
    exit_status = status;
    shutdown_wanted = true;
    monitor_stop_commands();
    if (shutdown_waiter) {
        coroutine_wake(g_steal_pointer(&shutdown_waiter));
    }
}

bool main_fn tool_serve_ends(void)
{
    return shutdown_wanted;
}

void main_fn tool_serve_set_status(int status)
{
    exit_status = status;
}

static void main_fn quit_from_monitor(void)
{
    tool_serve_end(SHUTDOWN_CAUSE_HOST_QMP_QUIT, false);
}

/* ---- signals ---- */

/*
 * A terminal that hangs up takes with it what runs on it in the foreground and has no other log, as
 * with every other program.  To all others SIGHUP says that log files have been moved.
 */
static void main_fn handle_hangup(void)
{
    if (serve->daemonize || !tool_log_is_on_stderr()) {
        tool_log_reopen();
    } else {
        tool_serve_end(SHUTDOWN_CAUSE_HOST_SIGNAL, false);
    }
}

/* What the program has open, to the log: for when no monitor can be reached. */
static void co_main_fn log_state_entry(void *opaque)
{
    static const char *const commands[] = { "info version", "info block", "info block -n" };
    unsigned lines = 0;

    for (size_t i = 0; i < G_N_ELEMENTS(commands); i++) {
        g_autofree char *text = monitor_hmp_run(commands[i]);
        g_auto(GStrv) list = g_strsplit(text, "\r\n", -1);
        log_line("state: %s", commands[i]);
        for (char **line = list; *line; line++) {
            if (**line) {
                log_line("state:   %s", *line);
                lines++;
            }
        }
    }
    log_line("state: end, %u lines", lines);
    state_is_being_logged = false;
}

static void co_main_fn signal_entry(void *opaque)
{
    int fd = GPOINTER_TO_INT(opaque);
    struct signalfd_siginfo info;

    /* Forever: a second signal during the shutdown changes nothing about it. */
    while (aio_co_poll(fd, POLLIN, -1) >= 0) {
        if (read(fd, &info, sizeof(info)) != sizeof(info)) {
            continue;
        }
        if (info.ssi_signo == SIGUSR1) {
            if (!state_is_being_logged && !shutdown_wanted) {
                state_is_being_logged = true;
                coroutine_start(log_state_entry, NULL);
            }
        } else if (info.ssi_signo == SIGHUP) {
            handle_hangup();
        } else {
            tool_serve_end(SHUTDOWN_CAUSE_HOST_SIGNAL, false);
        }
    }
    close(fd);
}

/* The signals that mean something, as a descriptor; before there are threads. */
static int block_signals(void)
{
    static const int handled[] = { SIGTERM, SIGINT, SIGHUP, SIGUSR1 };
    sigset_t set;

    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);       /* a file that gets too large is an error of that request */
    signal(SIGUSR2, SIG_IGN);       /* nothing yet: it must not end the program without a clean-up */
    sigemptyset(&set);
    for (size_t i = 0; i < G_N_ELEMENTS(handled); i++) {
        sigaddset(&set, handled[i]);
    }
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

/* Many disks and clients take many descriptors: as many as we may have. */
static void raise_descriptor_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

/* ---- from start to end ---- */

/* For whoever reads a log of its own later; a terminal is not told. */
static void log_life(const char *what)
{
    if (!tool_log_is_on_stderr()) {
        log_line("%s", what);
    }
}

/* From now on the log is where it is to be; what start-up said is on standard error by then. */
static void end_of_start(void)
{
    context_block_anyway();         /* whoever came already waits for the loop anyway */
    if (serve->daemonize || !tool_log_is_on_stderr()) {
        tool_log_started(LOG_PATIENCE_NS);
    }
}

static bool co_main_fn start(Error **errp)
{
    if (!serve->co_start(errp)) {
        return false;
    }
    if (serve->pidfile && !tool_pidfile_write(serve->pidfile, errp)) {
        error_prepend(errp, "--pidfile %s: ", serve->pidfile);
        return false;
    }
    return true;
}

static void co_main_fn run_until_shutdown(void)
{
    monitor_start_commands();
    if (serve->co_started) {
        serve->co_started();
    }
    end_of_start();
    log_life("started, version " QEMU_VERSION);
    tool_daemonize_done(0);
    systemd_notify("READY=1");
    while (!shutdown_wanted) {
        shutdown_waiter = coroutine_self();
        coroutine_yield();
    }
}

static void co_main_fn end(void)
{
    systemd_notify("STOPPING=1");
    log_life("ends");
    blk_lift_limits_of_nodes();     /* commands and jobs may wait for requests that wait there */
    bdrv_give_up_waiting();         /* or for a server that may never come back */
    monitor_finish_commands();
    if (serve->co_end) {
        serve->co_end();
    }
    unsigned lossy = bdrv_lossy_closes();
    blockdev_shutdown();
    if (bdrv_lossy_closes() != lossy) {
        exit_status = 1;
    }
    monitor_shutdown_all();
    tool_pidfile_remove();
    tool_daemonize_done(exit_status);
    aio_context_quit(main_ctx);
}

static void co_main_fn serve_entry(void *opaque)
{
    Error *err = NULL;

    if (start(&err)) {
        run_until_shutdown();
    } else {
        end_of_start();
        g_autofree char *text = g_strdup_printf("cannot start: %s", err ? error_get_pretty(err)
                                                                : "somebody has said why");
        log_life(text);
        if (err) {
            error_report_err(err);
        }
        exit_status = exit_status ?: 1;
    }
    end();
}

int tool_serve(const ToolServe *program)
{
    Error *err = NULL;

    serve = program;
    raise_descriptor_limit();
    int signal_fd = block_signals();
    if (!tool_log_init(serve->log, &err)) {
        error_report_err(err);
        return 1;
    }
    context_set_main();
    main_ctx = aio_context_new(AIO_BACKEND_AUTO, &err);
    if (!main_ctx) {
        error_report_err(err);
        return 1;
    }
    blockdev_init();
    monitor_init(serve->commands, quit_from_monitor);
    hmp_init();
    if (QEMU_DEBUG_CHECKS) {
        monitor_set_after_command(bdrv_graph_assert);
    }
    if (serve->daemonize) {
        monitor_refuse_stdio();
    }
    coroutine_start(signal_entry, GINT_TO_POINTER(signal_fd));
    coroutine_start(serve_entry, NULL);
    aio_context_run(main_ctx);
    context_block_anyway();         /* the loop has ended */
    log_writer_finish(LOG_PATIENCE_NS);
    tool_trace_finish(LOG_PATIENCE_NS);
    return exit_status;
}
