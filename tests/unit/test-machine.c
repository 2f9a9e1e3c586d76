/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A machine that is a hostile, broken or dying process: what the program around it is promised.
 * Each child is a few lines of bash behind a greeting that is right.
 */
#include "qemu/osdep.h"

#include <signal.h>

#include "machine/machine.h"
#include "tests/unit/test-loop.h"

#define GREETING "{\"QMP\":{\"version\":{\"qemu\":{\"micro\":0,\"minor\":2,\"major\":7}," \
                 "\"package\":\"\"},\"capabilities\":[]}}"

static char *folder, *script;
static int ended_status, events;
static bool has_ended;
static Coroutine *end_waiter;

/* ---- the program around the machine ---- */

static void got_event(QObject *event)
{
    events++;
    qobject_unref(event);
}

static void device_deleted(MachineDisk *disk)
{
    g_assert_not_reached();
}

static void state_changed(MachineDisk *disk)
{
    g_assert_not_reached();
}

static void ended(int status)
{
    g_assert_false(has_ended);
    has_ended = true;
    ended_status = status;
    if (end_waiter) {
        coroutine_wake(g_steal_pointer(&end_waiter));
    }
}

static void co_main_fn wait_end(void)
{
    while (!has_ended) {
        end_waiter = coroutine_self();
        coroutine_yield();
    }
}

/* What follows runs with the monitor as descriptors 3 and 4, and `hello` and `answer TEXT` (to the
 * next request). */
static void write_child(const char *body)
{
    g_autofree char *text = g_strdup_printf(
        "#!/bin/bash\n"
        "fd=${3##*fd=}\n"
        "exec 3>&$fd 4<&$fd\n"
        "hello() { echo '" GREETING "' >&3; }\n"
        "ask() { read -r request <&4; id=${request##*\\\"id\\\": }; id=${id%%%%[,\\}]*}; }\n"
        "answer() { ask; echo \"{$1, \\\"id\\\": $id}\" >&3; }\n"
        "ok() { answer '\"return\": {}'; }\n"
        "ready() { hello; ok; answer '\"return\": []'; }\n"
        "%s\n", body);

    g_assert_true(g_file_set_contents(script, text, -1, NULL));
    g_assert_cmpint(chmod(script, 0755), ==, 0);
}

static bool co_main_fn start(const char *body, int *status, Error **errp)
{
    MachineCallbacks cbs = { .event = got_event, .co_device_deleted = device_deleted,
                             .state_changed = state_changed, .ended = ended };

    write_child(body);
    has_ended = false;
    events = 0;
    machine_set_callbacks(&cbs);
    return machine_co_start(status, errp);
}

static QObject *co_main_fn command(const char *name, Error **errp)
{
    g_autoptr(QDict) arguments = qdict_new();
    QObject *ret = NULL;

    g_assert_true(machine_co_intercept(name, arguments, NULL, NULL, 0, &ret, errp));
    return ret;
}

static void co_main_fn assert_no_start(const char *body, int status, const char *why)
{
    Error *err = NULL;
    int got = -1;

    g_assert_false(start(body, &got, &err));
    g_assert_cmpint(got, ==, status);
    g_assert_true(!why == !err);
    if (why && !strstr(error_get_pretty(err), why)) {
        g_error("'%s' does not say '%s'", error_get_pretty(err), why);
    }
    error_free(err);
    machine_co_stop();
    g_assert_false(has_ended);
}

static void co_main_fn assert_fails(const char *name, const char *why)
{
    Error *err = NULL;

    g_assert_null(command(name, &err));
    if (!strstr(error_get_pretty(err), why)) {
        g_error("'%s' does not say '%s'", error_get_pretty(err), why);
    }
    error_free(err);
}

static void co_main_fn start_ok(const char *body)
{
    int status;

    g_assert_true(start(body, &status, &error_abort));
}

static void co_main_fn end_with(int status)
{
    wait_end();
    g_assert_cmpint(ended_status, ==, status);
    machine_co_stop();
}

/* ---- it does not start ---- */

static void co_main_fn dies_at_once(void *opaque)
{
    assert_no_start("echo 'no such option' >&2; exit 3", 3, NULL);
    assert_no_start("exit 0", 1, "has closed its monitor");
    assert_no_start("kill -ABRT $$", 134, "has closed its monitor");
}

static void co_main_fn is_too_old(void *opaque)
{
    assert_no_start("echo '{\"QMP\":{\"version\":{\"qemu\":{\"micro\":0,\"minor\":0,"
                    "\"major\":6}}}}' >&3; exec sleep 100", 137, "6.1 or later");
}

static void co_main_fn sends_garbage(void *opaque)
{
    assert_no_start("echo hello >&3; exec sleep 100", 137, "not JSON");
    assert_no_start("echo '[1]' >&3; exec sleep 100", 137, "no message of QMP");
    assert_no_start("echo '{\"event\": \"STOP\"}' >&3; exec sleep 100", 137, "no message of QMP");
    assert_no_start("hello; echo '{\"return\": {}, \"id\": 77}' >&3; exec sleep 100", 137,
                    "answers what it was not asked");
    assert_no_start("hello; echo '{\"return\": {}}' >&3; exec sleep 100", 137,
                    "answers what it was not asked");
}

/* A nesting, a string and a list without an end: each has its bound in the parser. */
static void co_main_fn sends_without_end(void *opaque)
{
    assert_no_start("while :; do echo -n '[[[[[[[[' >&3; done", 137, "not JSON");
    assert_no_start("echo -n '\"' >&3; while cat /proc/self/environ >&3; do :; done", 137,
                    "not JSON");
}

static void quit_by_signal(void *opaque)
{
    context_assert_main();
    machine_quit(MACHINE_QUIT_SIGNAL);
}

static void co_main_fn never_greets(void *opaque)
{
    AioTimer timer;

    aio_timer_init(&timer, aio_context_current(), quit_by_signal, NULL);
    aio_timer_arm(&timer, clock_ns() + 300 * NS_PER_MS);
    assert_no_start("exec sleep 100", 143, "has not started");
}

/* ---- it runs ---- */

static void co_main_fn never_answers(void *opaque)
{
    AioTimer timer;
    int64_t begin = clock_ns();

    start_ok("trap '' TERM; ready; while :; do sleep 1; done");
    aio_timer_init(&timer, aio_context_current(), quit_by_signal, NULL);
    aio_timer_arm(&timer, begin + 100 * NS_PER_MS);
    machine_co_refresh();           /* gives up by itself */
    g_assert_cmpint(clock_ns() - begin, <, 5 * NS_PER_SEC);
    assert_fails("query-status", "it has closed its monitor");
    g_assert_cmpint(clock_ns() - begin, <, 9 * NS_PER_SEC);
    end_with(137);
    assert_fails("query-status", "There is no machine");
}

static void co_main_fn dies_under_a_command(void *opaque)
{
    start_ok("ready; ask; kill -SEGV $$");
    assert_fails("query-status", "it has closed its monitor");
    end_with(139);
    start_ok("ready; ask; echo '{\"return\": ' >&3; exit 5");
    assert_fails("query-status", "it has closed its monitor");
    end_with(5);
}

static void co_main_fn answers_wrongly(void *opaque)
{
    start_ok("ready; answer '\"error\": 7'; answer '\"error\": {\"class\": \"DeviceNotFound\", "
             "\"desc\": \"gone\"}'; ok; ask; echo '}' >&3; exec sleep 100");
    assert_fails("query-status", "does not say what is wrong");
    assert_fails("query-status", "gone");
    qobject_unref(command("query-status", &error_abort));
    assert_fails("query-status", "not JSON");
    end_with(137);
}

/* Events before a reply are told before it, events behind it behind. */
static void co_main_fn keeps_the_order(void *opaque)
{
    start_ok("ready; e='{\"event\": \"RESET\", \"timestamp\": {}}'; ask; "
             "echo \"$e$e{\\\"return\\\": {}, \\\"id\\\": $id}$e$e$e\" >&3; ok; exec sleep 100");
    qobject_unref(command("query-status", &error_abort));
    g_assert_cmpint(events, ==, 2);
    qobject_unref(command("query-status", &error_abort));
    g_assert_cmpint(events, ==, 5);
    machine_co_stop();
}

static void co_main_fn floods_with_events(void *opaque)
{
    int64_t begin = clock_ns();

    start_ok("ready; e='{\"event\": \"RESET\", \"timestamp\": {}}'; e=$e$e$e$e$e$e$e$e; "
             "while :; do echo \"$e$e$e$e\" >&3; done");
    while (events < 1000) {
        aio_co_sleep_ns(10 * NS_PER_MS);
    }
    machine_quit(MACHINE_QUIT_SIGNAL);
    end_with(143);
    g_assert_cmpint(clock_ns() - begin, <, 20 * NS_PER_SEC);
}

static void co_main_fn ends_when_told(void *opaque)
{
    start_ok("ready; ok; exit 0");
    machine_quit(MACHINE_QUIT_COMMAND);
    machine_quit(MACHINE_QUIT_SIGNAL);          /* a second time changes nothing */
    wait_end();
    g_assert_true(ended_status == 0 || ended_status == 143);
    machine_co_stop();
}

/* ---- choosing ---- */

static void test_without_a_machine_where_none_is_wanted(void)
{
    static const MachineWish wishes[] = {
        { .machine = "none" }, { .machine = "type=none" }, { .machine = "pc,accel=qtest" },
        { .machine = "pc,x-inner=off" }, { .machine = "pc", .accel = "qtest" },
        { .accel = "qtest,x=y" }, { .qtest = true },
    };

    for (size_t i = 0; i < G_N_ELEMENTS(wishes); i++) {
        context_block_anyway();
        g_assert_true(machine_choose(&wishes[i], &error_abort));
        g_assert_false(machine_is_real());
    }
}

static void test_a_machine_that_cannot_be_is_an_error(void)
{
    MachineWish wish = { .machine = "pc" };
    Error *err = NULL;

    context_block_anyway();
    g_setenv("QEMU_INNER", "/nonexistent/qemu", true);
    g_assert_false(machine_choose(&wish, &err));
    g_clear_pointer(&err, error_free);
    g_setenv("QEMU_INNER", "/proc/self/exe", true);
    g_assert_false(machine_choose(&wish, &err));
    g_clear_pointer(&err, error_free);
    g_setenv("QEMU_INNER_OF", "1", true);
    g_setenv("QEMU_INNER", script, true);
    g_assert_false(machine_choose(&wish, &err));
    g_assert_nonnull(strstr(error_get_pretty(err), "its own machine"));
    g_clear_pointer(&err, error_free);
    g_unsetenv("QEMU_INNER_OF");
}

/* ---- all of them ---- */

static void run_it(gconstpointer entry)
{
    MachineWish wish = { .machine = "pc" };

    context_block_anyway();
    g_setenv("QEMU_INNER", script, true);
    g_assert_true(machine_choose(&wish, &error_abort));
    g_assert_true(machine_is_real());
    run_co((CoroutineEntry *)entry, NULL);
}

static const struct {
    const char *promise;
    CoroutineEntry *entry;
} promises[] = {
    { "what-it-said-before-it-died-is-all-that-is-said", dies_at_once },
    { "one-that-is-too-old-is-refused", is_too_old },
    { "garbage-ends-it", sends_garbage },
    { "a-message-without-end-ends-it", sends_without_end },
    { "a-signal-ends-one-that-never-greets", never_greets },
    { "nothing-hangs-on-one-that-never-answers", never_answers },
    { "a-command-under-which-it-dies-fails", dies_under_a_command },
    { "wrong-answers-are-errors", answers_wrongly },
    { "events-keep-their-place-among-replies", keeps_the_order },
    { "a-flood-of-events-can-be-ended", floods_with_events },
    { "it-ends-when-told-and-its-status-is-ours", ends_when_told },
};

int main(int argc, char **argv)
{
    AioContext *ctx = test_loop_init(&argc, &argv);
    int ret;

    signal(SIGPIPE, SIG_IGN);
    folder = g_dir_make_tmp("machine-XXXXXX", NULL);
    script = g_build_filename(folder, "child", NULL);
    write_child("exit 1");
    g_test_add_func("/machine/without-one-where-none-is-wanted",
                    test_without_a_machine_where_none_is_wanted);
    g_test_add_func("/machine/one-that-cannot-be-is-an-error",
                    test_a_machine_that_cannot_be_is_an_error);
    for (size_t i = 0; i < G_N_ELEMENTS(promises); i++) {
        g_autofree char *path = g_strconcat("/machine/", promises[i].promise, NULL);
        g_test_add_data_func(path, promises[i].entry, run_it);
    }
    ret = g_test_run();
    unlink(script);
    rmdir(folder);
    aio_context_free(ctx);
    return ret;
}
