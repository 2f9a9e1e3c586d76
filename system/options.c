/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The options that there are, and reading them. */
#include "qemu/osdep.h"

#include "config-host.h"
#include "monitor/monitor.h"
#include "system.h"
#include "tools/common/options.h"
#include "tools/common/trace.h"

CommandLine command_line;

/* ---- options that are read at once ---- */

static void G_GNUC_NORETURN print_help(void)
{
    printf("Usage: qemu-system-x86_64 [options] [disk_image]\n"
           "Owns the disks of a virtual machine, and runs it with an installed QEMU if there is to "
           "be one.\n\n");
    for (const SystemOption *o = system_options; o->name; o++) {
        if (o->help) {
            printf("  -%s%s%s%s%s\n          %s\n", o->name, o->arg ? " " : "", o->arg ?: "",
                   o->also ? ", " : "", o->also ?: "", o->help);
        }
    }
    printf("\nOther options of QEMU mean something to a machine only: they are handed to it, and "
           "without one\nthey are taken and have no effect.  See qemu-system-x86_64(1).\n");
    exit(0);
}

static void read_help(const char *value)
{
    print_help();
}

static void G_GNUC_NORETURN read_version(const char *value)
{
    printf("QEMU emulator version %s (qemu-group-snapshot %s)\n", SYSTEM_QEMU_VERSION,
           QEMU_VERSION);
    exit(0);
}

static void read_machine(const char *value)
{
    if (strcmp(value, "help") == 0 || strcmp(value, "?") == 0 ||
        strcmp(value, "type=help") == 0) {
        system_print_machines();
        exit(0);
    }
    command_line.machine = value;
}

static void read_accel(const char *value)
{
    command_line.accel = value;
}

static void read_trace(const char *value)
{
    Error *err = NULL;

    if (!tool_trace(value, &err)) {
        error_prepend(&err, "-trace %s: ", value);
        error_report_err(err);
        exit(1);
    }
}

/* guest=NAME,debug-threads=on, or NAME alone. */
static void read_name(const char *value)
{
    g_autoptr(QDict) dict = keyval_parse_flat(value, "guest", NULL);
    const char *name = dict ? qdict_get_str(dict, "guest") : NULL;

    monitor_set_name(name ?: value);
}

static void read_pidfile(const char *value)
{
    command_line.pidfile = value;
}

static void read_log(const char *value)
{
    command_line.log = value;
}

static void read_daemonize(const char *value)
{
    command_line.daemonize = true;
}

static void read_no_defaults(const char *value)
{
    command_line.no_defaults = true;
}

static void read_paused(const char *value)
{
    command_line.paused = true;
}

static void read_snapshot(const char *value)
{
    command_line.snapshot = true;
}

static void read_loadvm(const char *value)
{
    command_line.loadvm = value;
}

static void read_incoming(const char *value)
{
    command_line.incoming = value;
}

static void read_qtest(const char *value)
{
    command_line.qtest = true;
}

/* ---- the table ---- */

#define READ(name_, arg_, fn, text) \
    { .name = name_, .has_arg = (arg_) != NULL, .phase = PHASE_READ, .read = fn, .arg = arg_, \
      .help = text }
#define APPLY(name_, phase_, fn, arg_, text) \
    { .name = name_, .has_arg = true, .phase = phase_, .co_apply = fn, .arg = arg_, .help = text }
#define ALSO(name_, phase_, fn, arg_, also_, text) \
    { .name = name_, .has_arg = true, .phase = phase_, .co_apply = fn, .arg = arg_, \
      .also = also_, .help = text }
#define MACHINE(name_)      { .name = name_, .has_arg = true, .phase = PHASE_MACHINE }
#define MACHINE_FLAG(name_) { .name = name_, .phase = PHASE_MACHINE }

const SystemOption system_options[] = {
    READ("h", NULL, read_help, NULL),
    { .name = "help", .phase = PHASE_READ, .read = read_help, .also = "-h",
      .help = "display this help and exit" },
    READ("version", NULL, read_version, "output version information and exit"),
    { .name = "machine", .has_arg = true, .phase = PHASE_READ, .read = read_machine,
      .arg = "[type=]NAME[,...]", .also = "-M",
      .help = "the machine; 'none': disks and monitors only; x-inner=off: a machine that does not "
              "run" },
    READ("M", "NAME", read_machine, NULL),
    READ("accel", "[accel=]NAME[,...]", read_accel, "how it runs; 'qtest': it does not"),
    APPLY("blockdev", PHASE_NODE, system_add_blockdev, "[driver=]DRIVER,node-name=N[,...]",
          "open an image as node N; the options are those of QMP's blockdev-add"),
    APPLY("drive", PHASE_DRIVE, system_add_drive,
          "[file=FILE][,format=F][,if=KIND][,id=ID][,media=disk|cdrom][,cache=MODE][,...]",
          "open FILE in a drive, and connect it as if= says; format=help lists formats"),
    APPLY("device", PHASE_DEVICE, system_add_device, "MODEL[,id=ID][,drive=NODE][,bus=BUS][,...]",
          "plug in a device; help lists models, MODEL,help its properties"),
    ALSO("hda", PHASE_DRIVE, system_add_hda, "FILE", "-hdb, -hdc, -hdd", "FILE as an IDE disk"),
    APPLY("hdb", PHASE_DRIVE, system_add_hdb, "FILE", NULL),
    APPLY("hdc", PHASE_DRIVE, system_add_hdc, "FILE", NULL),
    APPLY("hdd", PHASE_DRIVE, system_add_hdd, "FILE", NULL),
    ALSO("fda", PHASE_DRIVE, system_add_fda, "FILE", "-fdb", "FILE as a floppy disk"),
    APPLY("fdb", PHASE_DRIVE, system_add_fdb, "FILE", NULL),
    APPLY("cdrom", PHASE_DRIVE, system_add_cdrom, "FILE", "FILE as CD-ROM"),
    READ("snapshot", NULL, read_snapshot, "what is written to drives is gone at the end"),
    APPLY("object", PHASE_OBJECT, tool_add_object, "TYPE,id=ID[,...]",
          "create an object; the options are those of QMP's object-add"),
    APPLY("chardev", PHASE_CHARDEV, monitor_chardev_add, "KIND,id=ID[,...]",
          "a channel; help lists kinds, KIND,help their options"),
    APPLY("mon", PHASE_MONITOR, monitor_mon_add,
          "[chardev=]ID[,mode=readline|control][,pretty=on|off]",
          "a monitor on channel ID, for people or (control) for programs"),
    APPLY("monitor", PHASE_MONITOR, monitor_hmp_add,
          "unix:PATH,server=on|tcp:HOST:PORT|pty|stdio|null|none|chardev:ID",
          "a monitor for people and its channel in one"),
    APPLY("qmp", PHASE_MONITOR, monitor_qmp_add, "unix:PATH,server=on|tcp:HOST:PORT|stdio",
          "a QMP monitor and its channel in one"),
    APPLY("qmp-pretty", PHASE_MONITOR, monitor_qmp_pretty_add, "...", "the same, laid out"),
    READ("loadvm", "TAG", read_loadvm, "begin with a snapshot of the machine, as savevm made it"),
    READ("incoming", "unix:PATH|tcp:HOST:PORT|exec:COMMAND|fd:N|defer", read_incoming,
         "wait for a machine that another process hands over"),
    READ("S", NULL, read_paused, "do not start the machine before 'cont'"),
    READ("nodefaults", NULL, read_no_defaults, "only the devices that are asked for"),
    READ("name", "NAME", read_name, "name that query-name returns"),
    READ("pidfile", "FILE", read_pidfile,
         "write the process id to FILE once started; removed at the end"),
    READ("daemonize", NULL, read_daemonize, "go to the background once started"),
    READ("log", "FILE|syslog|journal|stderr", read_log, "where warnings are logged [stderr]"),
    READ("trace", "[[enable=]PATTERN][,events=FILE][,file=FILE]", read_trace,
         "tell when trace points are passed; help lists them"),
    READ("qtest", "CHANNEL", read_qtest, "for test programs: no machine runs"),

    MACHINE("add-fd"), MACHINE("acpitable"), MACHINE("action"), MACHINE("append"),
    MACHINE("audio"), MACHINE("audiodev"), MACHINE("bios"), MACHINE("boot"), MACHINE("bt"),
    MACHINE("chroot"), MACHINE("compat"), MACHINE("cpu"), MACHINE("d"), MACHINE("D"),
    MACHINE("debugcon"), MACHINE("dfilter"), MACHINE("display"), MACHINE("dtb"),
    MACHINE("dump-vmstate"), MACHINE("echr"), MACHINE("fsdev"), MACHINE("fw_cfg"),
    MACHINE("gdb"), MACHINE("global"), MACHINE("icount"), MACHINE("initrd"),
    MACHINE("k"),
    MACHINE("kernel"), MACHINE("L"), MACHINE("m"), MACHINE("mem-path"), MACHINE("msg"),
    MACHINE("net"), MACHINE("netdev"), MACHINE("nic"), MACHINE("numa"), MACHINE("option-rom"),
    MACHINE("overcommit"), MACHINE("parallel"), MACHINE("plugin"), MACHINE("qtest-log"),
    MACHINE("rtc"), MACHINE("run-with"), MACHINE("runas"), MACHINE("sandbox"), MACHINE("seed"),
    MACHINE("semihosting-config"), MACHINE("serial"), MACHINE("set"), MACHINE("smbios"),
    MACHINE("smp"), MACHINE("spice"), MACHINE("tb-size"), MACHINE("tpmdev"), MACHINE("usbdevice"),
    MACHINE("uuid"), MACHINE("vga"), MACHINE("virtfs"), MACHINE("vnc"), MACHINE("watchdog-action"),
    MACHINE_FLAG("enable-kvm"), MACHINE_FLAG("enable-sync-profile"), MACHINE_FLAG("full-screen"),
    MACHINE_FLAG("mem-prealloc"), MACHINE_FLAG("no-acpi"), MACHINE_FLAG("no-fd-bootchk"),
    MACHINE_FLAG("no-hpet"), MACHINE_FLAG("no-reboot"), MACHINE_FLAG("no-shutdown"),
    MACHINE_FLAG("no-user-config"), MACHINE_FLAG("nographic"), MACHINE_FLAG("only-migratable"),
    MACHINE_FLAG("preconfig"), MACHINE_FLAG("s"), MACHINE_FLAG("semihosting"),
    MACHINE_FLAG("singlestep"), MACHINE_FLAG("usb"), MACHINE_FLAG("win2k-hack"),
    { NULL },
};

/* ---- reading ---- */

static const SystemOption *find_option(const char *name)
{
    const SystemOption *o = system_options;

    while (o->name && strcmp(o->name, name) != 0) {
        o++;
    }
    return o->name ? o : NULL;
}

static void G_GNUC_NORETURN bad_option(const char *text, const char *problem)
{
    g_printerr("%s: %s: %s\n", g_get_prgname(), text, problem);
    exit(1);
}

/* `help` as a value, of what needs nothing but the schema and tables. */
static bool asks_for_help(const SystemOption *o, const char *value)
{
    g_autofree char *model = NULL;

    if (strcmp(o->name, "device") == 0 && (strcmp(value, "help") == 0 || strcmp(value, "?") == 0)) {
        system_print_models();
        return true;
    }
    if (strcmp(o->name, "device") == 0 && g_str_has_suffix(value, ",help")) {
        model = g_strndup(value, strcspn(value, ","));
        if (!system_print_properties(model)) {
            bad_option("-device", "no such model; 'help' lists them");
        }
        return true;
    }
    if (strcmp(o->name, "drive") == 0 && (strstr(value, "format=help") || strstr(value, "format=?"))) {
        system_print_formats();
        return true;
    }
    return (o->phase == PHASE_OBJECT || o->phase == PHASE_CHARDEV || o->phase == PHASE_NODE) &&
           tool_help(o->name, value);
}

static void take(const SystemOption *o, const char *value)
{
    GivenOption given = { o, value };

    if (value && asks_for_help(o, value)) {
        exit(0);
    }
    if (o->phase == PHASE_READ) {
        o->read(value);
    }
    g_array_append_val(command_line.given, given);
}

static bool was_given(const char *option)
{
    bool given = false;

    for (guint i = 0; i < command_line.given->len; i++) {
        const GivenOption *g = &g_array_index(command_line.given, GivenOption, i);
        given |= strcmp(g->option->name, option) == 0;
    }
    return given;
}

/* What a machine cannot begin with at the same time. */
static void check_beginnings(void)
{
    const char *other = was_given("incoming") ? "incoming" :
                        was_given("preconfig") ? "preconfig" : NULL;

    if (other && was_given("loadvm")) {
        g_printerr("%s: '%s' and 'loadvm' options are mutually exclusive\n", g_get_prgname(),
                   other);
        exit(1);
    }
}

void system_read_command_line(int argc, char **argv)
{
    command_line.given = g_array_new(false, false, sizeof(GivenOption));
    for (int i = 1; i < argc; i++) {
        const char *text = argv[i];

        if (text[0] != '-' || !text[1]) {
            take(find_option("hda"), text);
            continue;
        }
        const SystemOption *o = find_option(text + (text[1] == '-' ? 2 : 1));
        if (!o) {
            bad_option(text, "invalid option");
        }
        if (o->has_arg && !argv[i + 1]) {
            bad_option(text, "requires an argument");
        }
        take(o, o->has_arg ? argv[++i] : NULL);
    }
    check_beginnings();
}
