/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qemu-storage-daemon: opens disks, exports them to guests, takes QMP commands.
 *
 * The command line is read twice: first what concerns the process itself, then, once the event
 * loop runs, all other options in their order.
 */
#include "qemu/osdep.h"

#include <getopt.h>
#include <malloc.h>
#include <poll.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/signalfd.h>

#include "config-host.h"
#include "monitor/monitor.h"
#include "qapi/qapi-events.h"
#include "qemu/aio.h"
#include "qemu/debug-checks.h"
#include "qemu/log.h"
#include "qemu/systemd.h"
#include "qsd.h"
#include "tools/common/process.h"
#include "tools/common/options.h"

const QsdOption qsd_options[] = {
    { "help", NULL, "display this help and exit", 'h', NULL },
    { "version", NULL, "output version information and exit", 'V', NULL },
    { "blockdev", "[driver=]DRIVER,node-name=N[,...]",
      "open an image as node N; the options are those of QMP's blockdev-add", 0,
      qsd_apply_blockdev },
    { "drive", "id=ID,file=FILE[,format=F][,readonly=on|off][,cache=MODE][,...]",
      "open FILE in a backend called ID", 0, qsd_apply_drive },
    { "object", "iothread|secret|throttle-group,id=ID[,...]",
      "create an object; the options are those of QMP's object-add", 0, tool_add_object },
    { "nbd-server", "addr.type=unix|inet,addr.path=P|addr.host=H,addr.port=P[,id=ID]"
      "[,max-connections=N][,handshake-max-seconds=N]", "start an NBD server", 0,
      qsd_apply_nbd_server },
    { "export", "[type=]nbd,id=ID,node-name=N[,name=NAME][,writable=on|off][,iothread=I][,...]",
      "export node N; the options are those of QMP's block-export-add", 0, qsd_apply_export },
    { "chardev", "socket|stdio|file|pipe|pty|ringbuf|null,id=ID[,path=P][,host=H,port=P][,fd=FD]"
      "[,server=on][,wait=off][,size=BYTES][,logfile=FILE]",
      "a channel for a monitor; --chardev KIND,help lists the options of a kind", 0,
      monitor_chardev_add },
    { "monitor", "[chardev=]ID[,pretty=on|off]", "a QMP monitor on channel ID", 0,
      monitor_option_add },
    { "qmp", "unix:PATH[,server=on,wait=off]|tcp:HOST:PORT[,...]|stdio",
      "a QMP monitor and its channel in one", 0, monitor_qmp_add },
    { "snapshot-layout", "[cluster-size=SIZE][,extended-l2=on|off]",
      "layout of the images that snapshots make [128k, on]", 0, qsd_apply_overlay_layout },
    { "metadata-cache", "SIZE", "memory for the metadata of all qcow2 images together [32M]", 0,
      qsd_apply_metadata_cache },
    { "nbd-memory", "SIZE", "memory for the requests of all NBD clients together [256M]", 0,
      qsd_apply_nbd_memory },
    { "overlay-warnings", "on|off", "warn where an image that is opened for writing is the backing "
      "file of another in its folder [on]", 0, qsd_apply_overlay_warnings },
    { "trace", "[[enable=]PATTERN][,events=FILE][,file=FILE]",
      "tell when trace points are passed; --trace help lists them", 'T', NULL },
    { "name", "NAME", "name that query-name returns", 0, NULL },
    { "pidfile", "FILE", "write the process id to FILE once started; removed at the end", 0, NULL },
    { "daemonize", NULL, "go to the background once started", 0, NULL },
    { "log", "FILE|syslog|journal|stderr",
      "where warnings and events of interest are logged [stderr]", 0, NULL },
    { "sandbox", "on|off", "give up system calls that the daemon does not need [off]", 0, NULL },
    { NULL },
};

typedef struct CommandLine {
    GArray *steps;                  /* of Step, in order */
    const char *pidfile, *log;
    bool daemonize, sandbox;
} CommandLine;

typedef struct Step {
    const QsdOption *option;
    const char *value;
} Step;

static AioContext *main_ctx;
static CommandLine command_line;
static int exit_status;
static bool shutdown_wanted, state_is_being_logged;
static Coroutine *shutdown_waiter;

/* ---- the command line ---- */

static void print_help(void)
{
    printf("Usage: qemu-storage-daemon [options]\n"
           "Serves disk images to guests and takes snapshots of groups of them.\n\n");
    for (const QsdOption *o = qsd_options; o->name; o++) {
        char letter[8] = "    ";
        if (o->letter) {
            snprintf(letter, sizeof(letter), "-%c, ", o->letter);
        }
        printf("  %s--%s%s%s\n          %s\n", letter, o->name, o->arg ? " " : "", o->arg ?: "",
               o->help);
    }
    printf("\nOptions take effect in their order.  What there is: --blockdev driver=help, "
           "--object help,\n--object TYPE,help, --export type=help, --chardev help, "
           "--chardev KIND,help, --trace help.\nSee qemu-storage-daemon(1).\n");
}

static void handle_early(const QsdOption *o, const char *value)
{
    if (strcmp(o->name, "help") == 0) {
        print_help();
        exit(0);
    } else if (strcmp(o->name, "version") == 0) {
        printf("qemu-storage-daemon version %s\n", QEMU_VERSION);
        exit(0);
    } else if (strcmp(o->name, "trace") == 0) {
        Error *err = NULL;
        if (!tool_trace(value, &err)) {
            error_prepend(&err, "--trace %s: ", value);
            error_report_err(err);
            exit(1);
        }
    } else if (strcmp(o->name, "pidfile") == 0) {
        command_line.pidfile = value;
    } else if (strcmp(o->name, "log") == 0) {
        command_line.log = value;
    } else if (strcmp(o->name, "daemonize") == 0) {
        command_line.daemonize = true;
    } else if (strcmp(o->name, "sandbox") == 0) {
        if (strcmp(value, "on") != 0 && strcmp(value, "off") != 0) {
            g_printerr("%s: --sandbox takes 'on' or 'off', not '%s'\n", g_get_prgname(), value);
            exit(1);
        }
        command_line.sandbox = strcmp(value, "on") == 0;
    } else if (strcmp(o->name, "name") == 0) {
        monitor_set_name(value);
    }
}

static int option_of_letter(char letter)
{
    int i = 0;

    while (qsd_options[i].letter != letter) {
        i++;
    }
    return i;
}

static void parse_command_line(int argc, char **argv)
{
    struct option longopts[G_N_ELEMENTS(qsd_options)] = { 0 };
    int c, index;

    for (size_t i = 0; qsd_options[i].name; i++) {
        longopts[i] = (struct option){
            .name = qsd_options[i].name, .val = 1000 + i,
            .has_arg = qsd_options[i].arg ? required_argument : no_argument,
        };
    }
    command_line.steps = g_array_new(false, false, sizeof(Step));
    while ((c = getopt_long(argc, argv, "-hVT:", longopts, &index)) != -1) {
        if (c == 'h' || c == 'V' || c == 'T') {
            index = option_of_letter(c);
        } else if (c >= 1000) {
            index = c - 1000;
        } else {
            if (c == 1) {
                g_printerr("%s: Unexpected argument: %s\n", g_get_prgname(), optarg);
            }
            g_printerr("Try '%s --help' for more information.\n", g_get_prgname());
            exit(1);
        }
        Step step = { &qsd_options[index], optarg };
        if (optarg && qsd_help(step.option->name, optarg)) {
            exit(0);
        }
        if (step.option->co_apply) {
            g_array_append_val(command_line.steps, step);
        } else {
            handle_early(step.option, optarg);
        }
    }
}

/* ---- the end ---- */

static void main_fn want_shutdown(ShutdownCause cause)
{
    EventShutdownArgs ev = { .guest = false, .reason = cause };

    if (shutdown_wanted) {
        return;
    }
    shutdown_wanted = true;
    monitor_stop_commands();
    qapi_event_send_shutdown(&ev);
    if (shutdown_waiter) {
        coroutine_wake(g_steal_pointer(&shutdown_waiter));
    }
}

static void main_fn quit_from_monitor(void)
{
    want_shutdown(SHUTDOWN_CAUSE_HOST_QMP_QUIT);
}

/* ---- signals ---- */

/*
 * A terminal that hangs up takes with it what runs on it in the foreground and has no other log, as
 * with every other program.  To all others SIGHUP says that log files have been moved.
 */
static void main_fn handle_hangup(void)
{
    if (command_line.daemonize || !qsd_log_is_on_stderr()) {
        qsd_log_reopen();
    } else {
        want_shutdown(SHUTDOWN_CAUSE_HOST_SIGNAL);
    }
}

/* What the daemon has open, to the log: for when no monitor can be reached. */
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
            want_shutdown(SHUTDOWN_CAUSE_HOST_SIGNAL);
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
    signal(SIGUSR2, SIG_IGN);       /* nothing yet: it must not end the daemon without a clean-up */
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

/* ---- what the operator is told ---- */

/* The last lines are worth waiting for, but the end of the program does not hang on a reader. */
#define LOG_PATIENCE_NS NS_PER_SEC

/* ---- from start to end ---- */

static bool co_main_fn start(Error **errp)
{
    for (guint i = 0; i < command_line.steps->len && !shutdown_wanted; i++) {
        Step *s = &g_array_index(command_line.steps, Step, i);
        /* Where there is help, it was printed when the command line was read. */
        bool is_help = strcmp(s->value, "help") == 0;
        if (is_help) {
            error_setg(errp, "Help is not available for this option");
        }
        if (is_help || !s->option->co_apply(s->value, errp)) {
            error_prepend(errp, "--%s %s: ", s->option->name, s->value);
            return false;
        }
    }
    if (command_line.pidfile && !tool_pidfile_write(command_line.pidfile, errp)) {
        error_prepend(errp, "--pidfile %s: ", command_line.pidfile);
        return false;
    }
    return true;
}

/* For whoever reads a log of its own later; a terminal is not told. */
static void log_life(const char *what)
{
    if (!qsd_log_is_on_stderr()) {
        log_line("%s", what);
    }
}

/* From now on the log is where it is to be; what start-up said is on standard error by then. */
static void end_of_start(void)
{
    context_block_anyway();         /* nobody is served yet */
    if (command_line.daemonize || !qsd_log_is_on_stderr()) {
        qsd_log_started(LOG_PATIENCE_NS);
    }
}

/* A client that came by a service manager's socket, or early, is told of all exports that options
 * make. */
static void main_fn open_servers(void)
{
    for (NbdServer *s = nbd_server_next(NULL); s; s = nbd_server_next(s)) {
        nbd_server_open(s);
    }
}

static void co_main_fn daemon_entry(void *opaque)
{
    Error *err = NULL;

    if (start(&err)) {
        if (!monitor_is_there() && !nbd_server_next(NULL) && !shutdown_wanted) {
            log_line("warning: nobody can reach this daemon: there is neither a monitor (--qmp, "
                     "--monitor) nor a server (--nbd-server)");
        }
        monitor_start_commands();
        end_of_start();
        open_servers();
        log_life("started, version " QEMU_VERSION);
        tool_daemonize_done(0);
        systemd_notify("READY=1");
        while (!shutdown_wanted) {
            shutdown_waiter = coroutine_self();
            coroutine_yield();
        }
    } else {
        end_of_start();
        g_autofree char *text = g_strdup_printf("cannot start: %s", error_get_pretty(err));
        log_life(text);
        error_report_err(err);
        exit_status = 1;
    }
    systemd_notify("STOPPING=1");
    log_life("ends");
    monitor_finish_commands();
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

int main(int argc, char **argv)
{
    Error *err = NULL;

    g_set_prgname("qemu-storage-daemon");
    /* Mapping and unmapping a buffer for every request stops all threads for a moment each time. */
    mallopt(M_MMAP_THRESHOLD, 4 * MiB);
    mallopt(M_TRIM_THRESHOLD, 16 * MiB);
    argv[0] = (char *)g_get_prgname();      /* what getopt_long() says begins with it */
    parse_command_line(argc, argv);
    if (command_line.daemonize) {
        tool_daemonize();
    }
    if (command_line.sandbox && !qsd_sandbox_enter(&err)) {
        error_report_err(err);
        return 1;
    }
    raise_descriptor_limit();
    int signal_fd = block_signals();
    if (!qsd_log_init(command_line.log, &err)) {
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
    monitor_init(qmp_commands, quit_from_monitor);
    if (QEMU_DEBUG_CHECKS) {
        monitor_set_after_command(bdrv_graph_assert);
    }
    if (command_line.daemonize) {
        monitor_refuse_stdio();
    }
    coroutine_start(signal_entry, GINT_TO_POINTER(signal_fd));
    coroutine_start(daemon_entry, NULL);
    aio_context_run(main_ctx);
    context_block_anyway();         /* the loop has ended */
    log_writer_finish(LOG_PATIENCE_NS);
    tool_trace_finish(LOG_PATIENCE_NS);
    g_array_unref(command_line.steps);
    return exit_status;
}
