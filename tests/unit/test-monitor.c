/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a QMP client is promised, with handlers that do what a test needs. */
#include "qemu/osdep.h"

#include "monitor/monitor.h"
#include "qapi/qapi-commands.h"
#include "qapi/qapi-events.h"
#include "qemu/limits.h"
#include "qobject/json.h"
#include "test-loop.h"

/* ---- handlers ---- */

static Coroutine *blocked;      /* in query-jobs, until the test wakes it */
static int jobs_done;
static int shutdowns;

/* Takes as long as the test wants. */
bool qmp_query_jobs(JobInfoList **ret, Error **errp)
{
    blocked = coroutine_self();
    coroutine_yield();
    jobs_done++;
    return true;
}

static void main_fn release_command(void)
{
    g_assert_nonnull(blocked);
    coroutine_wake(g_steal_pointer(&blocked));
}

/* Fails like a member of a group. */
bool qmp_query_block(BlockInfoList **ret, Error **errp)
{
    Error *err = NULL;
    ErrorMember member = { .device = "d1", .filename = "/x", .index = 1 };

    error_set_class(&err, ERROR_CLASS_OPEN_FILE_FAILED, "Cannot create '/x'");
    error_set_member(err, &member);
    error_propagate(errp, err);
    return false;
}

static void main_fn count_shutdown(void)
{
    shutdowns++;
    monitor_stop_commands();
}

/* ---- a client ---- */

typedef struct Client {
    int fd;
    GString *buf;
} Client;

static void co_main_fn put(Client *c, const char *text)
{
    size_t len = strlen(text);

    while (len > 0) {
        struct iovec iov = { .iov_base = (void *)text, .iov_len = len };
        struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
        ssize_t n = aio_co_sendmsg(c->fd, &msg, 0);

        g_assert_cmpint(n, >, 0);
        text += n;
        len -= n;
    }
}

/* The next line without its end, or NULL at the end; caller frees. */
static char *co_main_fn get(Client *c)
{
    char *end, *line, bytes[4096];

    while (!(end = strstr(c->buf->str, "\r\n"))) {
        struct iovec iov = { .iov_base = bytes, .iov_len = sizeof(bytes) };
        struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
        ssize_t n = aio_co_recvmsg(c->fd, &msg, 0);

        if (n <= 0) {
            return NULL;
        }
        g_string_append_len(c->buf, bytes, n);
    }
    line = g_strndup(c->buf->str, end - c->buf->str);
    g_string_erase(c->buf, 0, end + 2 - c->buf->str);
    return line;
}

static void co_main_fn expect(Client *c, const char *line)
{
    g_autofree char *got = get(c);

    g_assert_cmpstr(got, ==, line);
}

static void co_main_fn expect_part(Client *c, const char *part)
{
    g_autofree char *got = get(c);

    if (!got || !strstr(got, part)) {
        g_error("expected %s, got %s", part, got);
    }
}

static Client *co_main_fn client_new(bool negotiate)
{
    static int count;
    Client *c = g_new0(Client, 1);
    g_autofree char *chardev = NULL, *id = g_strdup_printf("c%d", count++);
    int fds[2];

    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), ==, 0);
    chardev = g_strdup_printf("socket,id=%s,fd=%d", id, fds[1]);
    monitor_chardev_add(chardev, &error_abort);
    monitor_option_add(id, &error_abort);
    c->fd = fds[0];
    c->buf = g_string_new(NULL);
    expect_part(c, "{\"QMP\": {\"version\": {\"qemu\": {\"micro\": ");
    if (negotiate) {
        put(c, "{'execute':'qmp_capabilities'}");
        expect(c, "{\"return\": {}}");
    }
    return c;
}

static void client_leave(Client *c)
{
    close(c->fd);
    g_string_free(c->buf, TRUE);
    g_free(c);
}

/* Let the monitor do what it has to do. */
static void co_main_fn settle(void)
{
    /* Several rounds of the loop, however slow the machine is. */
    for (int i = 0; i < 20; i++) {
        aio_co_sleep_ns(NS_PER_MS);
    }
}

static void co_main_fn set_up(void)
{
    context_assert_main();
    context_assert_coroutine();
    monitor_init(qmp_commands, count_shutdown);
    monitor_start_commands();
    blocked = NULL;
    jobs_done = shutdowns = 0;
}

/* ---- promises ---- */

static void co_main_fn co_negotiation(void *opaque)
{
    Client *c;

    set_up();
    c = client_new(false);
    put(c, "{'execute':'query-version'}");
    expect(c, "{\"error\": {\"class\": \"CommandNotFound\", \"desc\": \"Expecting capabilities "
              "negotiation with 'qmp_capabilities'\"}}");
    put(c, "{'execute':'qmp_capabilities','arguments':{'enable':['x']}}");
    expect_part(c, "does not accept value 'x'");
    put(c, "{'execute':'qmp_capabilities','id':{'b':[1.5,null]}}");
    expect(c, "{\"return\": {}, \"id\": {\"b\": [1.5, null]}}");
    put(c, "{'execute':'qmp_capabilities'}");
    expect(c, "{\"error\": {\"class\": \"CommandNotFound\", \"desc\": \"Capabilities negotiation "
              "is already complete, command ignored\"}}");
    put(c, "{'exec-oob':'query-version'}");
    expect_part(c, "QMP input member 'exec-oob' is unexpected");
    client_leave(c);
    monitor_shutdown_all();
}

/* Negotiation is as QEMU's: nothing before it, not twice, no oob unless enabled. */
static void test_negotiation(void)
{
    run_co(co_negotiation, NULL);
}

static void co_main_fn co_requests(void *opaque)
{
    static const struct { const char *request, *part; } cases[] = {
        { "[]", "QMP input must be a JSON object" },
        { "{}", "QMP input lacks member 'execute'" },
        { "{'execute':1}", "QMP input member 'execute' must be a string" },
        { "{'execute':'x','y':1}", "QMP input member 'y' is unexpected" },
        { "{'execute':'x','id':7}", "{\"id\": 7, \"error\": {\"class\": \"CommandNotFound\", "
                                    "\"desc\": \"The command x has not been found\"}}" },
        { "{'execute':'quit','arguments':[]}", "'arguments' must be an object" },
        { "{'execute':'quit','arguments':{'x':1}}", "Parameter 'x' is unexpected" },
        { "{'execute':\n", NULL },
        { "}", "JSON parse error, expecting value" },
        { "{'execute':'query-name','id':null}", "{\"return\": {}, \"id\": null}" },
        { "{'execute':'query-block'}", "{\"error\": {\"class\": \"OpenFileFailed\", \"desc\": "
          "\"Cannot create '/x'\", \"data\": {" },
        { "{'execute':'query-block'}", "\"index\": 1" },
        { "{'execute':'human-monitor-command','arguments':{'command-line':'x'}}",
          "{\"return\": \"unknown command: 'x'\\r\\n\"}" },
    };
    Client *c;

    set_up();
    c = client_new(true);
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        put(c, cases[i].request);
        if (cases[i].part) {
            expect_part(c, cases[i].part);
        }
    }
    g_assert_cmpint(shutdowns, ==, 0);
    client_leave(c);
    monitor_shutdown_all();
}

/* Each mistake is named; id is echoed, whatever it is; a failed member goes along as data. */
static void test_requests(void)
{
    run_co(co_requests, NULL);
}

static void co_main_fn co_order(void *opaque)
{
    Client *a, *b;

    set_up();
    a = client_new(true);
    b = client_new(true);
    put(a, "{'execute':'query-jobs','id':1}{'execute':'query-name','id':2}"
           "{'execute':'query-name','id':3}");
    settle();
    put(b, "{'execute':'query-name','id':4}");
    expect(b, "{\"return\": {}, \"id\": 4}");
    release_command();
    expect(a, "{\"return\": [], \"id\": 1}");
    expect(a, "{\"return\": {}, \"id\": 2}");
    expect(a, "{\"return\": {}, \"id\": 3}");
    client_leave(a);
    client_leave(b);
    monitor_shutdown_all();
}

/* One session's commands are answered in order; another session does not wait for them. */
static void test_order(void)
{
    run_co(co_order, NULL);
}

static void co_main_fn co_oob(void *opaque)
{
    Client *c;

    set_up();
    c = client_new(false);
    put(c, "{'execute':'qmp_capabilities','arguments':{'enable':['oob']}}");
    expect(c, "{\"return\": {}}");
    put(c, "{'execute':'query-jobs','id':1}{'execute':'query-name','id':2}"
           "{'exec-oob':'query-name','id':3}{'exec-oob':'query-jobs','id':4}");
    expect(c, "{\"return\": {}, \"id\": 3}");
    expect_part(c, "The command query-jobs does not support OOB");
    release_command();
    expect(c, "{\"return\": [], \"id\": 1}");
    expect(c, "{\"return\": {}, \"id\": 2}");
    put(c, "{'exec-oob':'query-name','execute':'query-name'}");
    expect_part(c, "QMP input member 'execute' clashes with 'exec-oob'");
    client_leave(c);
    monitor_shutdown_all();
}

/* With oob, a command that can be run ahead of others is. */
static void test_oob(void)
{
    run_co(co_oob, NULL);
}

static void co_main_fn co_leaves_early(void *opaque)
{
    Client *c;

    set_up();
    c = client_new(true);
    put(c, "{'execute':'query-jobs'}");
    settle();
    client_leave(c);
    settle();
    g_assert_cmpint(jobs_done, ==, 0);
    release_command();
    settle();
    g_assert_cmpint(jobs_done, ==, 1);
    monitor_shutdown_all();
}

/* A command whose client leaves in the middle is finished. */
static void test_client_leaves_early(void)
{
    run_co(co_leaves_early, NULL);
}

static void co_main_fn co_events(void *opaque)
{
    EventJobStatusChangeArgs args = { .id = (char *)"j", .status = JOB_STATUS_CONCLUDED };
    Client *early, *c;

    set_up();
    early = client_new(false);
    c = client_new(true);
    qapi_event_send_job_status_change(&args);
    expect_part(c, "\"event\": \"JOB_STATUS_CHANGE\", \"data\": {\"status\": \"concluded\", "
                   "\"id\": \"j\"}}");
    put(early, "{'execute':'qmp_capabilities'}");
    expect(early, "{\"return\": {}}");
    client_leave(early);
    client_leave(c);
    monitor_shutdown_all();
}

/* Events come to whoever has negotiated, and to nobody else. */
static void test_events(void)
{
    run_co(co_events, NULL);
}

/* Lines that the client can still read, at most @n of them. */
static int co_main_fn count_lines(Client *c, int n)
{
    int count = 0;
    char *line;

    while (count < n && (line = get(c))) {
        g_free(line);
        count++;
    }
    return count;
}

/* @n events of a MiB, which @quick reads at once. */
static void co_main_fn send_large_events(Client *quick, int n)
{
    g_autofree char *text = g_strnfill(MiB, 'x');
    EventJobStatusChangeArgs args = { .id = text, .status = JOB_STATUS_CONCLUDED };

    for (int i = 0; i < n; i++) {
        qapi_event_send_job_status_change(&args);
        expect_part(quick, "JOB_STATUS_CHANGE");
    }
}

static void co_main_fn co_slow_client(void *opaque)
{
    const int most = MONITOR_MAX_BYTES / MiB;
    Client *slow, *quick;

    set_up();
    slow = client_new(true);
    quick = client_new(true);
    /* Up to the limit all is kept for it ... */
    send_large_events(quick, most - 4);
    g_assert_cmpint(count_lines(slow, most - 4), ==, most - 4);
    /* ... and beyond it, it was cut off: what it can still read ends before that. */
    send_large_events(quick, most + 2);
    put(quick, "{'execute':'query-name'}");
    expect(quick, "{\"return\": {}}");
    g_assert_cmpint(count_lines(slow, most + 2), <, most);
    client_leave(slow);
    client_leave(quick);
    monitor_shutdown_all();
}

/* A client that does not read holds up nobody, and does not fill the memory. */
static void test_slow_client(void)
{
    run_co(co_slow_client, NULL);
}

static void co_main_fn co_quit(void *opaque)
{
    Client *a, *b;

    set_up();
    a = client_new(true);
    b = client_new(true);
    put(a, "{'execute':'quit'}{'execute':'query-name'}");
    expect(a, "{\"return\": {}}");
    g_assert_cmpint(shutdowns, ==, 1);
    put(b, "{'execute':'query-jobs'}");
    settle();
    g_assert_null(blocked);
    monitor_shutdown_all();
    g_assert_null(get(a));
    g_assert_null(get(b));
    client_leave(a);
    client_leave(b);
}

/* After quit no command is begun; the reply arrives, then the connection ends. */
static void test_quit(void)
{
    run_co(co_quit, NULL);
}

static void co_main_fn co_finish(void *opaque)
{
    context_assert_main();
    context_assert_coroutine();
    monitor_finish_commands();
    g_assert_cmpint(jobs_done, ==, 1);
    *(bool *)opaque = true;
}

static void co_main_fn co_finish_commands(void *opaque)
{
    bool finished = false;
    Client *c;

    set_up();
    c = client_new(true);
    put(c, "{'execute':'query-jobs'}{'execute':'query-jobs'}");
    settle();
    coroutine_start(co_finish, &finished);
    settle();
    g_assert_false(finished);
    release_command();
    settle();
    g_assert_true(finished);
    g_assert_null(blocked);
    expect(c, "{\"return\": []}");
    monitor_shutdown_all();
    client_leave(c);
}

/* Before the daemon is taken down the command that is under way ends, and no other begins. */
static void test_finish_commands(void)
{
    run_co(co_finish_commands, NULL);
}

static void co_main_fn co_bad_options(void *opaque)
{
    static const char *const bad[] = {
        "", "socket", "socket,id=x", "socket,id=x,path=a,fd=1", "nosuch,id=x", "socket,path=a",
        "socket,id=x,path=a,wait=off", "socket,id=x,fd=99", "socket,id=x,fd=a", "stdio,id=x,y=1",
        "socket,id=x,path=a,server=maybe", "socket,id=x,path=/nonexistent/a,server=on,wait=off",
        "socket,id=x,path=/nonexistent/a",
    };

    set_up();
    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_autoptr(Error) err = NULL;

        if (monitor_chardev_add(bad[i], &err)) {
            g_error("'%s' was accepted", bad[i]);
        }
    }
    g_assert_false(monitor_option_add("nosuch", NULL));
    g_assert_false(monitor_option_add("x,mode=readline", NULL));
    g_assert_false(monitor_option_add("mode=control", NULL));
    g_assert_false(monitor_qmp_add("unix", NULL));
    g_assert_false(monitor_qmp_add("tcp:1234", NULL));
    monitor_shutdown_all();
}

/* Options that mean nothing are refused, and leave nothing behind. */
static void test_bad_options(void)
{
    run_co(co_bad_options, NULL);
}

int main(int argc, char **argv)
{
    AioContext *ctx = test_loop_init(&argc, &argv);
    int ret;

    g_test_add_func("/monitor/negotiation", test_negotiation);
    g_test_add_func("/monitor/requests", test_requests);
    g_test_add_func("/monitor/order", test_order);
    g_test_add_func("/monitor/oob", test_oob);
    g_test_add_func("/monitor/client-leaves-early", test_client_leaves_early);
    g_test_add_func("/monitor/events", test_events);
    g_test_add_func("/monitor/slow-client", test_slow_client);
    g_test_add_func("/monitor/quit", test_quit);
    g_test_add_func("/monitor/finish-commands", test_finish_commands);
    g_test_add_func("/monitor/bad-options", test_bad_options);
    ret = g_test_run();
    aio_context_free(ctx);
    return ret;
}
