/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a person, or a script in the place of one, is promised by the human monitor. */
#include "qemu/osdep.h"

#include <sys/socket.h>

#include "config-host.h"
#include "monitor/hmp.h"
#include "monitor/monitor.h"
#include "qapi/qapi-commands.h"
#include "test-loop.h"

#define GREETING "QEMU " QEMU_VERSION " monitor - type 'help' for more information\r\n"

/* ---- commands ---- */

static int shutdowns;

static void main_fn count_shutdown(void)
{
    shutdowns++;
    monitor_stop_commands();
}

static void show(GString *out, const HmpArgs *args)
{
    g_string_append_printf(out, "[%s] [%s]%s%s\n", hmp_str(args, "device"),
                           hmp_str(args, "name") ?: "-", hmp_flag(args, "n") ? " n" : "",
                           hmp_flag(args, "f") ? " f" : "");
}

static void size(GString *out, const HmpArgs *args)
{
    g_string_append_printf(out, "%" PRId64 "%s\n", hmp_int(args, "size"),
                           hmp_has(args, "more") ? " and more" : "");
}

static void number(GString *out, const HmpArgs *args)
{
    g_string_append_printf(out, "%" PRId64 "\n", hmp_int(args, "number"));
}

static void rest(GString *out, const HmpArgs *args)
{
    g_string_append_printf(out, "<%s>\n", hmp_str(args, "rest"));
}

static void turn(GString *out, const HmpArgs *args)
{
    g_string_append(out, hmp_switch(args, "on") ? "on\n" : "off\n");
}

static void co_main_fn slow(GString *out, const HmpArgs *args)
{
    context_assert_main();
    context_assert_coroutine();
    aio_co_sleep_ns(20 * NS_PER_MS);
    g_string_append(out, "done\n");
}

static void fail(GString *out, const HmpArgs *args)
{
    Error *err = NULL;

    g_assert_false(hmp_failed(out, NULL));
    error_setg(&err, "No such thing");
    g_assert_true(hmp_failed(out, err));
}

static const HmpCommand commands[] = {
    { "show|s", "[-n] [-f] device [name]", "show words", show,
      { { "n", HMP_FLAG }, { "f", HMP_FLAG }, { "device", HMP_DEVICE },
        { "name", HMP_STRING, true } } },
    { "size", "size", "show a size", size, { { "size", HMP_SIZE }, { "more", HMP_FILE, true } } },
    { "number", "n", "show a number", number, { { "number", HMP_INT } } },
    { "rest", "...", "show a rest", rest, { { "rest", HMP_REST } } },
    { "turn", "on|off", "show a switch", turn, { { "on", HMP_SWITCH } } },
    { "file", "f", "show nothing", show, { { "name", HMP_FILE } } },
    { "slow", NULL, "take a while", slow },
    { "fail", NULL, "fail", fail },
    { NULL },
};

static const HmpCommand info_commands[] = {
    { "thing", "[-x]", "show a thing", slow, { { "x", HMP_FLAG } } },
    { NULL },
};

static void co_main_fn set_up(void)
{
    context_assert_main();
    context_assert_coroutine();
    shutdowns = 0;
    monitor_init(qmp_commands, count_shutdown);
    monitor_hmp_register(commands);
    monitor_hmp_register_info(info_commands);
}

/* ---- a line ---- */

#define TRY(COMMAND) "Try \"help " COMMAND "\" for more information\r\n"

static const struct { const char *line, *output; } lines[] = {
    { "", "" },
    { "  \t ", "" },
    { "show d", "[d] [-]\r\n" },
    { "  s   d  ", "[d] [-]\r\n" },
    { "show -n d x", "[d] [x] n\r\n" },
    { "show -n -f d x", "[d] [x] n f\r\n" },
    { "show -f -n d", "[d] [-] n f\r\n" },
    { "show -fn d", "[d] [-] n f\r\n" },
    { "show - x", "[-] [x]\r\n" },
    { "show \"a b\" \"q\\\"\\\\\\n\"", "[a b] [q\"\\\r\n]\r\n" },
    { "show 'a b'", "['a] [b']\r\n" },
    { "show", "show|s: block device name expected\r\n" TRY("show") },
    { "s -x d", "show|s: unsupported option -x\r\n" TRY("s") },
    { "s d e f", "show|s: extraneous characters at the end of line\r\n" TRY("s") },
    { "show \"d", "unterminated string\r\nshow|s: block device name expected\r\n" TRY("show") },
    { "show d \"\\q\"", "unsupported escape code: '\\q'\r\nshow|s: string expected\r\n"
                        TRY("show") },
    { "show \"d\\", "unterminated string\r\nshow|s: block device name expected\r\n" TRY("show") },
    { "file", "file: filename expected\r\n" TRY("file") },
    { "size 1", "1048576\r\n" },
    { "size 1.5k", "1536\r\n" },
    { "size 7b", "7\r\n" },
    { "size 0x10 x", "16 and more\r\n" },
    { "size 1x", "1048576 and more\r\n" },
    { "size", "invalid size\r\n" TRY("size") },
    { "size -1", "invalid size\r\n" TRY("size") },
    { "size 99999999999999T", "invalid size\r\n" TRY("size") },
    { "size 1 2 3", "size: extraneous characters at the end of line\r\n" TRY("size") },
    { "number 1+2*3-4/2", "5\r\n" },
    { "number (1+2) * -3", "-9\r\n" },
    { "number 0x10|1", "17\r\n" },
    { "number ~0", "-1\r\n" },
    { "number 010", "8\r\n" },
    { "number 7%4^1", "2\r\n" },
    { "number 1/-1", "-1\r\n" },
    { "number -0x8000000000000000/-1", "-9223372036854775808\r\n" },
    { "number", "unexpected end of expression\r\n" TRY("number") },
    { "number 1+", "unexpected end of expression\r\n" TRY("number") },
    { "number (1", "')' expected\r\n" TRY("number") },
    { "number 1/0", "division by zero\r\n" TRY("number") },
    { "number x", "invalid char 'x' in expression\r\n" TRY("number") },
    { "number 1 x", "number: extraneous characters at the end of line\r\n" TRY("number") },
    { "number $pc", "unknown register\r\n" TRY("number") },
    { "number 99999999999999999999", "number too large\r\n" TRY("number") },
    { "rest a  \"b  ", "<a  \"b  >\r\n" },
    { "rest", "rest: string expected\r\n" TRY("rest") },
    { "turn on", "on\r\n" },
    { "turn off", "off\r\n" },
    { "turn o", "Expected 'on' or 'off'\r\n" TRY("turn") },
    { "turn", "Expected 'on' or 'off'\r\n" TRY("turn") },
    { "fail", "Error: No such thing\r\n" },
    { "nosuch x", "unknown command: 'nosuch'\r\n" },
    { "sho d", "unknown command: 'sho'\r\n" },
    { "show|s d", "unknown command: 'show|s'\r\n" },
    { "info nosuch x", "unknown command: 'info nosuch'\r\n" },
    { "info thing", "done\r\n" },
    { "info thing -y", "thing: unsupported option -y\r\n" TRY("info thing") },
    { "help show", "show|s [-n] [-f] device [name] -- show words\r\n" },
    { "help slow", "slow  -- take a while\r\n" },
    { "? s", "show|s [-n] [-f] device [name] -- show words\r\n" },
    { "help info thing", "info thing [-x] -- show a thing\r\n" },
    { "help info", "info thing [-x] -- show a thing\r\n" },
    { "info", "info thing [-x] -- show a thing\r\n" },
    { "help nosuch", "unknown command: 'nosuch'\r\n" },
    { "help info nosuch", "unknown command: 'info nosuch'\r\n" },
};

static void co_main_fn co_lines(void *opaque)
{
    g_autofree char *deep = g_strdup_printf("number %0*d", 100000, 0);

    set_up();
    for (size_t i = 0; i < G_N_ELEMENTS(lines); i++) {
        g_autofree char *output = monitor_hmp_run(lines[i].line);

        g_assert_cmpstr(output, ==, lines[i].output);
    }
    memset(deep + strlen("number "), '(', 100000);
    g_autofree char *output = monitor_hmp_run(deep);
    g_assert_true(g_str_has_prefix(output, "expression is too deep\r\n"));
    g_autofree char *help = monitor_hmp_run("help");
    g_assert_true(strstr(help, "help|? [cmd] -- ") < strstr(help, "show|s "));
}

/* Arguments are taken apart, and what is wrong with them is said, as people know it. */
static void test_lines(void)
{
    run_co(co_lines, NULL);
}

/* ---- sessions ---- */

/* All that a client is sent which sends @input, and then leaves or (quit) is left. */
static char *co_main_fn session(const char *input, size_t len, bool all_at_once)
{
    static int count;
    g_autofree char *chardev = NULL, *id = g_strdup_printf("c%d", count++);
    GString *got = g_string_new(NULL);
    char bytes[4096];
    int fds[2];

    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), ==, 0);
    chardev = g_strdup_printf("socket,id=%s,fd=%d", id, fds[1]);
    monitor_chardev_add(chardev, &error_abort);
    monitor_mon_add(id, &error_abort);
    for (size_t i = 0; i < len; i += all_at_once ? len : 1) {
        g_assert_cmpint(write(fds[0], input + i, all_at_once ? len : 1), ==,
                        all_at_once ? (ssize_t)len : 1);
        if (!all_at_once) {
            aio_co_sleep_ns(NS_PER_MS / 4);
        }
    }
    shutdown(fds[0], SHUT_WR);
    for (;;) {
        struct iovec iov = { .iov_base = bytes, .iov_len = sizeof(bytes) };
        struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
        ssize_t n = aio_co_recvmsg(fds[0], &msg, 0);

        if (n <= 0) {
            break;
        }
        g_string_append_len(got, bytes, n);
    }
    close(fds[0]);
    return g_string_free(got, FALSE);
}

static void co_main_fn expect(const char *input, const char *output)
{
    for (int all = 0; all < 2; all++) {
        g_autofree char *got = session(input, strlen(input), all);

        g_assert_true(g_str_has_prefix(got, GREETING));
        g_assert_cmpstr(got + strlen(GREETING), ==, output);
    }
}

static void co_main_fn co_sessions(void *opaque)
{
    set_up();
    monitor_start_commands();
    expect("", "(qemu) ");
    expect("\n", "(qemu) \r\n(qemu) ");
    expect("slow\nshow a\n", "(qemu) slow\r\ndone\r\n(qemu) show a\r\n[a] [-]\r\n(qemu) ");
    expect("show a\r\nshow b\rshow c\r", "(qemu) show a\r\n[a] [-]\r\n(qemu) show b\r\n[b] [-]\r\n"
           "(qemu) show c\r\n[c] [-]\r\n(qemu) ");
    expect("show a\nshow b", "(qemu) show a\r\n[a] [-]\r\n(qemu) show b");
    expect("show \xc3\xa4\n", "(qemu) show \xc3\xa4\r\n[\xc3\xa4] [-]\r\n(qemu) ");
    monitor_shutdown_all();
}

/* A line is shown, then what it led to, then the prompt; a line that has no end is not run. */
static void test_sessions(void)
{
    run_co(co_sessions, NULL);
}

static void co_main_fn co_quit(void *opaque)
{
    set_up();
    monitor_start_commands();
    g_autofree char *got = session("quit\nshow a\n", 12, true);
    g_assert_cmpstr(got, ==, GREETING "(qemu) quit\r\n");
    g_assert_cmpint(shutdowns, ==, 1);
    monitor_shutdown_all();
}

/* Nothing is run after `quit`. */
static void test_quit(void)
{
    run_co(co_quit, NULL);
}

static void co_main_fn start_later(void *opaque)
{
    context_assert_main();
    context_assert_coroutine();
    aio_co_sleep_ns(20 * NS_PER_MS);
    monitor_start_commands();
}

static void co_main_fn co_start(void *opaque)
{
    set_up();
    coroutine_start(start_later, NULL);
    g_autofree char *got = session("show a\n", 7, true);
    g_assert_cmpstr(got, ==, GREETING "(qemu) show a\r\n[a] [-]\r\n(qemu) ");
    monitor_shutdown_all();
}

/* What is typed before the program is set up waits. */
static void test_start(void)
{
    run_co(co_start, NULL);
}

/* Each line's command with what it does in the end, whatever was shown meanwhile. */
static const struct { const char *typed, *output; } edits[] = {
    { "shiw\b\bow a\n", "[a] [-]" },
    { "xx\x15show a\n", "[a] [-]" },
    { "show a b\x17" "c\n", "[a] [c]" },
    { "how a\x01s\n", "[a] [-]" },
    { "show ab\033[D\033[D\x7f \n", "[ab] [-]" },
    { "show a b\x02\x0b\n", "[a] [-]" },
    { "xshow a\033[H\033[3~\n", "[a] [-]" },
    { "show\x01\x06\033[C\x05 a\n", "[a] [-]" },
    { "show \xc3\xa4\xc3\xb6\x7f\n", "[\xc3\xa4] [-]" },
    { "rest 1\nrest 2\n\033[A\033[A\n", "<1>" },
    { "rest 1\nrest 2\nx\x10\x10\x0e\n", "<2>" },
    { "rest 1\nrest\x10\x0e 3\n", "<3>" },
    { "sho\ta\n", "[a] [-]" },
    { "info t\t\n", "done" },
    { "\x04\x7f\x15\x17\x0b\x10\x0e\033[D\033[C\033[3~\033[99~\033Ox\033xshow a\n", "[a] [-]" },
};

static void co_main_fn co_edits(void *opaque)
{
    set_up();
    monitor_start_commands();
    for (size_t i = 0; i < G_N_ELEMENTS(edits); i++) {
        g_autofree char *got = session(edits[i].typed, strlen(edits[i].typed), true);
        g_autofree char *end = g_strdup_printf("\r\n%s\r\n(qemu) ", edits[i].output);

        if (!g_str_has_suffix(got, end)) {
            g_error("%zu: got %s", i, got);
        }
    }
    g_autofree char *got = session("s\t\t", 3, true);
    g_assert_cmpstr(got, ==, GREETING "(qemu) s\r\nshow\r\nsize\r\nslow\r\n(qemu) s\r\nshow\r\nsize"
                    "\r\nslow\r\n(qemu) s");
    monitor_shutdown_all();
}

/* A line can be edited before it is run, and earlier ones come back. */
static void test_edits(void)
{
    run_co(co_edits, NULL);
}

static void co_main_fn co_long(void *opaque)
{
    g_autofree char *line = g_strnfill(100000, 'x');

    set_up();
    monitor_start_commands();
    line[99999] = '\n';
    g_autofree char *got = session(line, 100000, true);
    g_assert_true(strstr(got, "unknown command: 'xxx"));
    g_assert_cmpuint(strlen(got), <, 80000);
    monitor_shutdown_all();
}

/* A line without an end takes no more memory than a long one. */
static void test_long(void)
{
    run_co(co_long, NULL);
}

static void co_main_fn co_options(void *opaque)
{
    static const struct { const char *mon, *error; } cases[] = {
        { "chardev=x", "chardev \"x\" not found" },
        { "mode=control", "Parameter 'chardev' is missing" },
        { "chardev=n,mode=foo", "Parameter 'mode' does not accept value 'foo'" },
        { "n,pretty=on", "'pretty' is not compatible with HMP monitors" },
        { "chardev=n,mode=control,pretty=x", "Parameter 'pretty' expects 'on' or 'off'" },
    };

    set_up();
    monitor_chardev_add("null,id=n", &error_abort);
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(Error) err = NULL;

        g_assert_false(monitor_mon_add(cases[i].mon, &err));
        g_assert_cmpstr(error_get_pretty(err), ==, cases[i].error);
    }
    g_autoptr(Error) err = NULL, busy = NULL;
    g_assert_false(monitor_hmp_add("foo", &err));
    g_assert_true(monitor_hmp_add("none", &error_abort));
    g_assert_true(monitor_hmp_add("null", &error_abort));
    g_assert_true(monitor_hmp_add("chardev:n", &error_abort));
    g_assert_false(monitor_mon_add("n", &busy));
    g_assert_cmpstr(error_get_pretty(busy), ==, "Device 'n' is in use");
    monitor_shutdown_all();
}

/* -mon and -monitor are as scripts write them. */
static void test_options(void)
{
    run_co(co_options, NULL);
}

int main(int argc, char **argv)
{
    AioContext *ctx = test_loop_init(&argc, &argv);

    g_test_add_func("/hmp/lines", test_lines);
    g_test_add_func("/hmp/sessions", test_sessions);
    g_test_add_func("/hmp/quit", test_quit);
    g_test_add_func("/hmp/start", test_start);
    g_test_add_func("/hmp/edits", test_edits);
    g_test_add_func("/hmp/long-lines", test_long);
    g_test_add_func("/hmp/options", test_options);
    int status = g_test_run();
    aio_context_free(ctx);
    return status;
}
