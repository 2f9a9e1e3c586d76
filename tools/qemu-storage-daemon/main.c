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

#include "config-host.h"
#include "hmp/hmp.h"
#include "monitor/monitor.h"
#include "qemu/log.h"
#include "qsd.h"
#include "tools/common/options.h"
#include "tools/common/process.h"
#include "tools/common/serve.h"

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

static CommandLine command_line;

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
        if (optarg && tool_help(step.option->name, optarg)) {
            exit(0);
        }
        if (step.option->co_apply) {
            g_array_append_val(command_line.steps, step);
        } else {
            handle_early(step.option, optarg);
        }
    }
}

/* ---- from start to end ---- */

static bool co_main_fn start(Error **errp)
{
    hmp_daemon_init();
    for (guint i = 0; i < command_line.steps->len && !tool_serve_ends(); i++) {
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
    return true;
}

/* A client that came by a service manager's socket, or early, is told of all exports that options
 * make. */
static void main_fn open_servers(void)
{
    for (NbdServer *s = nbd_server_next(NULL); s; s = nbd_server_next(s)) {
        nbd_server_open(s);
    }
}

static void co_main_fn started(void)
{
    if (!monitor_is_there() && !nbd_server_next(NULL) && !tool_serve_ends()) {
        log_line("warning: nobody can reach this daemon: there is neither a monitor (--qmp, "
                 "--monitor) nor a server (--nbd-server)");
    }
    open_servers();
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
    ToolServe serve = {
        .log = command_line.log, .pidfile = command_line.pidfile,
        .daemonize = command_line.daemonize, .commands = qmp_commands,
        .co_start = start, .co_started = started,
    };
    int status = tool_serve(&serve);
    g_array_unref(command_line.steps);
    return status;
}
