/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The machine as a child process: its command line, from its start to its end.
 *
 *      NONE --co_start()--> STARTING --greeted, capabilities--> RUNNING
 *                              |                                   |
 *                              +------- the process has ended -----+--> OVER --co_stop()--> NONE
 */
#include "qemu/osdep.h"

#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "arguments.h"
#include "qemu-internal.h"
#include "qemu/log.h"
#include "qobject/json.h"
#include "qobject/keyval.h"

/* What it may take to end, asked by a command / by a signal, after which somebody else's patience
 * is over (libvirt's is ten seconds). */
#define QUIT_COMMAND_NS (30 * NS_PER_SEC)
#define QUIT_SIGNAL_NS (6 * NS_PER_SEC)
/* Whoever closes its monitor is about to end. */
#define LEAVE_NS (5 * NS_PER_SEC)
/* How long its last words on the monitor are waited for. */
#define LAST_EVENTS_NS (5 * NS_PER_SEC)
/* How long its words wait for whoever reads our standard error. */
#define WORDS_PATIENCE_NS NS_PER_SEC
/* The oldest that can exchange a node's file (blockdev-reopen). */
#define OLDEST_MAJOR 6
#define OLDEST_MINOR 1

typedef enum { NONE, STARTING, RUNNING, OVER } State;

/* An option for it, in its order. */
typedef struct Passed {
    char *name, *value;             /* value: NULL, or made of the rest when it starts */
    QDict *drive;
    MachineDisk *disk;
} Passed;

static State state;
static MachineChild child;
static MachineQmp *qmp;
static GPtrArray *passed;           /* of Passed */
static AioTimer kill_timer;
static char *complaint;             /* why it was ended by us; NULL: it was not */
static Coroutine *over_waiter;      /* co_start() or co_stop() */
static bool quitting;               /* it was asked to end */
static bool unwanted;               /* nobody is to hear of its end */

/* ---- options ---- */

static void main_fn pass(const char *name, char *value, QDict *drive, MachineDisk *disk)
{
    Passed *p = g_new0(Passed, 1);

    p->name = g_strdup(name);
    p->value = value;
    p->drive = drive;
    p->disk = disk;
    if (!passed) {
        passed = g_ptr_array_new();
    }
    g_ptr_array_add(passed, p);
}

void main_fn machine_qemu_pass_option(const char *name, const char *value)
{
    g_autoptr(QDict) options = NULL;
    bool is_machine = strcmp(name, "machine") == 0 || strcmp(name, "M") == 0;

    /* What is ours of -machine is not known there. */
    if (is_machine && strstr(value, MACHINE_OUR_OPTION)) {
        options = keyval_parse_flat(value, "type", NULL);
    }
    if (options) {
        qdict_del(options, MACHINE_OUR_OPTION);
        pass(name, machine_keyval_text(options), NULL, NULL);
    } else if (strcmp(name, "S") != 0) {    /* that always goes down */
        pass(name, g_strdup(value), NULL, NULL);
    }
}

void main_fn machine_qemu_pass_dict(const char *name, const QDict *options)
{
    g_autoptr(QDict) theirs = qdict_copy_shallow(options);

    qdict_del(theirs, MACHINE_OUR_OPTION);
    pass(name, machine_keyval_text(theirs), NULL, NULL);
}

void main_fn machine_qemu_pass_device(const QDict *options, bool json, MachineDisk *disk)
{
    const char *node = disk && blk_bs(disk->blk) ? machine_qemu_node(disk) : NULL;
    g_autoptr(QDict) theirs = disk ? machine_device_options(options, node)
                                   : qdict_copy_shallow(options);

    pass("device", json ? machine_json_text(theirs) : machine_device_text(theirs), NULL,
         disk);
}

void main_fn machine_qemu_pass_drive(const QDict *options, MachineDisk *disk)
{
    pass("drive", NULL, qdict_copy_shallow(options), disk);
}

const char *main_fn machine_qemu_pass_node(MachineDisk *disk)
{
    pass(NULL, NULL, NULL, disk);
    return machine_qemu_node(disk);
}

static void add(GPtrArray *argv, const char *name, char *value)
{
    g_ptr_array_add(argv, g_strconcat("-", name, NULL));
    if (value) {
        g_ptr_array_add(argv, value);
    }
}

static void add_json(GPtrArray *argv, const char *name, QDict *takes)
{
    add(argv, name, json_to_string(QOBJECT(takes)));
    qdict_unref(takes);
}

/* The disk of @p, if it has a medium: its connection, and its nodes before all that uses them. */
static bool main_fn add_disk(GPtrArray *argv, GArray *fds, const Passed *p, char **ret_fd,
                             Error **errp)
{
    if (!p->disk || machine_qemu_link(p->disk) || !blk_bs(p->disk->blk)) {
        return true;
    }
    int fd = machine_qemu_disk_prepare(p->disk, errp);
    if (fd < 0) {
        error_prepend(errp, "%s: ", p->disk->id);
        return false;
    }
    g_array_append_val(fds, fd);
    *ret_fd = g_strdup_printf("%d", fd);
    if (!p->drive) {
        const char *node = machine_qemu_node(p->disk), *link = machine_qemu_link(p->disk);
        add_json(argv, "blockdev",
                 machine_link_options(link, node, *ret_fd, p->disk->read_only));
        add_json(argv, "blockdev", machine_node_options(node, link, p->disk->read_only));
    }
    return true;
}

/* NULL with @errp.  @fds: what it inherits, ends of connections. */
static GPtrArray *main_fn command_line(int monitor_fd, GArray *fds, Error **errp)
{
    g_autoptr(GPtrArray) argv = g_ptr_array_new_with_free_func(g_free);

    g_ptr_array_add(argv, g_strdup(g_get_prgname() ?: "qemu-system-x86_64"));
    add(argv, "S", NULL);
    add(argv, "chardev", g_strdup_printf("socket,id=" MACHINE_MONITOR_ID ",fd=%d", monitor_fd));
    add(argv, "mon", g_strdup("chardev=" MACHINE_MONITOR_ID ",mode=control"));
    for (guint i = 0; passed && i < passed->len; i++) {
        Passed *p = passed->pdata[i];
        g_autofree char *fd = NULL;

        if (!add_disk(argv, fds, p, &fd, errp)) {
            return NULL;
        }
        if (p->drive) {
            p->value = machine_drive_text(p->drive, p->disk->id, machine_qemu_node(p->disk),
                                          machine_qemu_link(p->disk), fd, p->disk->read_only);
        }
        if (p->name) {
            add(argv, p->name, g_steal_pointer(&p->value));
        }
    }
    g_ptr_array_add(argv, NULL);
    return g_steal_pointer(&argv);
}

static void main_fn forget_options(void)
{
    for (guint i = 0; passed && i < passed->len; i++) {
        Passed *p = passed->pdata[i];

        g_free(p->name);
        g_free(p->value);
        qdict_unref(p->drive);
        g_free(p);
    }
    g_clear_pointer(&passed, g_ptr_array_unref);
}

/* ---- the end ---- */

static void kill_it(void *opaque)
{
    context_assert_main();
    if (!complaint) {
        complaint = g_strdup("it did not end when it was asked to");
    }
    machine_child_kill(&child, SIGKILL);
}

static void main_fn kill_within(int64_t ns)
{
    if (kill_timer.heap_index < 0 || clock_ns() + ns < kill_timer.deadline_ns) {
        aio_timer_arm(&kill_timer, clock_ns() + ns);
    }
}

static void broken(void *opaque, bool gone, const char *why)
{
    context_assert_main();
    if (gone) {
        kill_within(LEAVE_NS);
    } else {
        complaint = g_strdup(why);
        machine_child_kill(&child, SIGKILL);
    }
}

/* What an operator is told of an end that nobody asked for. */
static char *main_fn describe_end(void)
{
    const char *how = complaint ?: "nobody has asked it to";
    g_autofree char *words = g_strdup(child.last_words->str);
    char *last = NULL;

    for (char *line = strtok(words, "\n"); line; line = strtok(NULL, "\n")) {
        last = line;
    }
    return g_strdup_printf("the machine (process %d) has ended with status %d: %s%s%s",
                           (int)child.pid, child.status, how, last ? "; its last words: " : "",
                           last ?: "");
}

static void co_main_fn end_entry(void *opaque)
{
    bool started = state == RUNNING;

    machine_qmp_wait_end(qmp, LAST_EVENTS_NS);
    machine_qmp_end(qmp, "it has ended");
    aio_timer_disarm(&kill_timer);
    if (started && !unwanted && (complaint || (child.status != 0 && !quitting))) {
        g_autofree char *text = describe_end();
        log_line("%s", text);
    }
    state = OVER;
    if (over_waiter) {
        coroutine_wake(g_steal_pointer(&over_waiter));
    }
    if (started && !unwanted) {
        machine_callbacks.ended(child.status);
    }
}

static void child_ended(void *opaque)
{
    context_assert_main();
    coroutine_start(end_entry, NULL);
}

static void co_main_fn wait_over(void)
{
    while (state == STARTING || state == RUNNING) {
        over_waiter = coroutine_self();
        coroutine_yield();
    }
}

static void co_main_fn quit_entry(void *opaque)
{
    g_autoptr(QObject) ret = machine_qmp_run(qmp, "quit", NULL, NULL, 0, MACHINE_QMP_AT_ONCE,
                                             QUIT_SIGNAL_NS, NULL);

    if (!ret) {
        machine_child_kill(&child, SIGTERM);
    }
}

void main_fn machine_qemu_quit(MachineQuit why)
{
    if (state != STARTING && state != RUNNING) {
        return;
    }
    quitting = true;
    if (why == MACHINE_QUIT_COMMAND && state == RUNNING) {
        kill_within(QUIT_COMMAND_NS);
        coroutine_start(quit_entry, NULL);
    } else {
        kill_within(QUIT_SIGNAL_NS);
        machine_child_kill(&child, SIGTERM);
    }
}

bool main_fn machine_qemu_is_there(void)
{
    return state == STARTING || state == RUNNING;
}

void co_main_fn machine_qemu_stop(void)
{
    if (state == STARTING || state == RUNNING) {
        unwanted = true;
        machine_child_kill(&child, SIGKILL);
        wait_over();
    }
    if (qmp) {
        machine_qmp_free(g_steal_pointer(&qmp));
    }
    machine_child_finish(&child);
    context_block_anyway();         /* nobody is served any more */
    machine_child_flush_words(WORDS_PATIENCE_NS);
    machine_qemu_disks_stop();
    forget_options();
    g_clear_pointer(&complaint, g_free);
    state = NONE;
}

/* ---- the beginning ---- */

static bool co_main_fn start_process(Error **errp)
{
    g_autoptr(GArray) fds = g_array_new(false, false, sizeof(int));
    g_autoptr(GPtrArray) argv = NULL;
    MachineQmpCallbacks cbs = { .co_event = machine_qemu_event, .broken = broken };
    int monitor[2];
    bool ok = false;

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, monitor) < 0) {
        error_setg_errno(errp, errno, "cannot make a connection to the machine");
        return false;
    }
    g_array_append_val(fds, monitor[1]);
    context_block_anyway();         /* flags, and ends that are the child's now */
    fcntl(monitor[0], F_SETFL, O_NONBLOCK);
    argv = command_line(monitor[1], fds, errp);
    child.on_end = child_ended;
    if (argv) {
        ok = machine_child_start(&child, machine_program(), (char *const *)argv->pdata,
                                 (int *)fds->data, fds->len, errp);
    }
    for (guint i = 0; i < fds->len; i++) {
        close(g_array_index(fds, int, i));
    }
    if (!ok) {
        close(monitor[0]);
        return false;
    }
    machine_close_inherited();
    qmp = machine_qmp_new(monitor[0], &cbs);
    state = STARTING;
    return true;
}

static bool main_fn check_version(QDict *greeting, Error **errp)
{
    QDict *qmp_member = qobject_to_qdict(qdict_get(greeting, "QMP"));
    QDict *version = qobject_to_qdict(qdict_get(qmp_member, "version"));
    QDict *numbers = version ? qobject_to_qdict(qdict_get(version, "qemu")) : NULL;
    int64_t major = 0, minor = 0;

    if (numbers) {
        qobject_get_int(qdict_get(numbers, "major"), &major);
        qobject_get_int(qdict_get(numbers, "minor"), &minor);
    }
    if (major > OLDEST_MAJOR || (major == OLDEST_MAJOR && minor >= OLDEST_MINOR)) {
        return true;
    }
    error_setg(errp, "The machine needs QEMU %d.%d or later, and '%s' is %d.%d", OLDEST_MAJOR,
               OLDEST_MINOR, machine_program(), (int)major, (int)minor);
    return false;
}

static bool co_main_fn greet(Error **errp)
{
    g_autoptr(QObject) ret = NULL;
    QDict *greeting = machine_qmp_greeting(qmp, errp);

    if (!greeting || !check_version(greeting, errp)) {
        return false;
    }
    ret = machine_qmp_run(qmp, "qmp_capabilities", NULL, NULL, 0, MACHINE_QMP_IN_ORDER, -1, errp);
    return ret != NULL;
}

bool co_main_fn machine_qemu_start(int *ret_status, Error **errp)
{
    Error *err = NULL;

    *ret_status = 1;
    quitting = unwanted = false;
    aio_timer_init(&kill_timer, aio_context_current(), kill_it, NULL);
    if (!start_process(errp)) {
        return false;
    }
    if (greet(&err)) {
        state = RUNNING;
        forget_options();
        machine_qemu_find_drives();
        return true;
    }
    /* One that has closed its monitor is about to end by itself. */
    bool by_itself = state == OVER || machine_qmp_is_gone(qmp);
    if (!by_itself) {
        machine_child_kill(&child, SIGKILL);
    }
    wait_over();
    *ret_status = child.status ?: 1;
    if (by_itself && !complaint && child.last_words->len > 0) {
        error_free(err);
    } else {
        error_propagate(errp, err);
    }
    return false;
}
