/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What users of files and sockets are promised: results, waiting, polling, cancelling. */
#include "qemu/osdep.h"

#include <netinet/in.h>
#include <poll.h>
#include <sys/un.h>

#include "tests/unit/test-loop.h"

/* ---- files ---- */

static int temp_file(void)
{
    g_autofree char *name = g_strdup("/tmp/test-aio-XXXXXX");
    int fd = mkstemp(name);

    g_assert_cmpint(fd, >=, 0);
    unlink(name);
    return fd;
}

static void co_fn file_entry(void *opaque)
{
    int flags = GPOINTER_TO_INT(opaque);
    int fd = temp_file();
    char a[3000], b[5000], back[10000];
    struct iovec two[2] = { { a, sizeof(a) }, { b, sizeof(b) } };
    struct iovec one = { back, sizeof(back) };
    struct stat st;

    memset(a, 'a', sizeof(a));
    memset(b, 'b', sizeof(b));
    g_assert_cmpint(aio_co_pwritev(fd, two, 2, 100, flags), ==, 8000);
    g_assert_cmpint(aio_co_pwritev(fd, two, 1, 8100, flags | AIO_DSYNC), ==, 3000);
    g_assert_cmpint(aio_co_fdatasync(fd, flags), ==, 0);
    /* Short at the end of the file, 0 behind it. */
    g_assert_cmpint(aio_co_preadv(fd, &one, 1, 8000, flags), ==, 3100);
    g_assert_true(back[99] == 'b' && back[100] == 'a' && back[3099] == 'a');
    g_assert_cmpint(aio_co_preadv(fd, &one, 1, 11100, flags), ==, 0);
    memset(a, 0, sizeof(a));
    g_assert_cmpint(aio_co_preadv(fd, two, 2, 99, flags), ==, 8000);
    g_assert_true(a[0] == 0 && a[1] == 'a' && b[0] == 'a' && b[1] == 'b');
    g_assert_cmpint(aio_co_fallocate(fd, 0, 0, 1 << 20, flags), ==, 0);
    g_assert_cmpint(fstat(fd, &st), ==, 0);
    g_assert_cmpint(st.st_size, ==, 1 << 20);
    close(fd);
}

/* Reads, writes, syncs and allocations do what the system calls do. */
static void test_file(void)
{
    run_co(file_entry, GINT_TO_POINTER(0));
    run_co(file_entry, GINT_TO_POINTER(AIO_THREADS));
}

static void co_fn file_error_entry(void *opaque)
{
    int flags = GPOINTER_TO_INT(opaque);
    char buf[16];
    struct iovec iov = { buf, sizeof(buf) };
    int pipefd[2], ro = open("/dev/null", O_RDONLY | O_CLOEXEC);

    g_assert_cmpint(aio_co_preadv(-1, &iov, 1, 0, flags), ==, -EBADF);
    g_assert_cmpint(aio_co_pwritev(ro, &iov, 1, 0, flags), ==, -EBADF);
    g_assert_cmpint(aio_co_fdatasync(-1, flags), ==, -EBADF);
    g_assert_cmpint(pipe(pipefd), ==, 0);
    g_assert_cmpint(aio_co_fallocate(pipefd[1], 0, 0, 1, flags), <, 0);
    close(pipefd[0]);
    close(pipefd[1]);
    close(ro);
}

/* An error comes back as the errno of the system call. */
static void test_file_errors(void)
{
    run_co(file_error_entry, GINT_TO_POINTER(0));
    run_co(file_error_entry, GINT_TO_POINTER(AIO_THREADS));
}

#define FLOOD 6000

static int flood_fd;

/* The same bytes as a thread would move, or -EAGAIN and nothing else that a caller has to know. */
static void co_fn nowait_entry(void *unused)
{
    bool uring = aio_context_backend(aio_context_current()) == AIO_BACKEND_IO_URING;
    int fd = temp_file(), ro = open("/dev/zero", O_RDONLY | O_CLOEXEC), pipefd[2];
    char data[512] = "data", back[512] = "";
    struct iovec out = { data, sizeof(data) }, in = { back, sizeof(back) };

    g_assert_cmpint(pipe(pipefd), ==, 0);
    ssize_t n = aio_co_pwritev(fd, &out, 1, 0, AIO_NOWAIT);
    g_assert_true(n == -EAGAIN || (uring && n == 512));
    g_assert_cmpint(aio_co_pwritev(fd, &out, 1, 0, AIO_NOWAIT | AIO_THREADS), ==, -EAGAIN);
    g_assert_cmpint(aio_co_pwritev(fd, &out, 1, 0, 0), ==, 512);
    n = aio_co_preadv(fd, &in, 1, 0, AIO_NOWAIT);
    g_assert_true(n == -EAGAIN || (uring && n == 512 && memcmp(data, back, 512) == 0));
    /* Nothing is in the pipe, and nothing will be. */
    g_assert_cmpint(aio_co_preadv(pipefd[0], &in, 1, -1, AIO_NOWAIT), ==, -EAGAIN);
    g_assert_cmpint(aio_co_pwritev(ro, &out, 1, 0, AIO_NOWAIT), ==, uring ? -EBADF : -EAGAIN);
    close(pipefd[0]);
    close(pipefd[1]);
    close(ro);
    close(fd);
}

static void test_nowait(void)
{
    run_co(nowait_entry, NULL);
}

static void co_fn flood_member(void *opaque)
{
    uint32_t want = GPOINTER_TO_UINT(opaque), got = ~want;
    struct iovec iov = { &got, sizeof(got) };

    g_assert_cmpint(aio_co_preadv(flood_fd, &iov, 1, 4 * (int64_t)want, 0), ==, 4);
    g_assert_cmpuint(got, ==, want);
}

static void co_fn flood_entry(void *opaque)
{
    CoGroup g = CO_GROUP_INIT;
    g_autofree uint32_t *numbers = g_new(uint32_t, FLOOD);
    struct iovec iov = { numbers, FLOOD * 4 };

    flood_fd = temp_file();
    for (int i = 0; i < FLOOD; i++) {
        numbers[i] = i;
    }
    g_assert_cmpint(aio_co_pwritev(flood_fd, &iov, 1, 0, 0), ==, FLOOD * 4);
    for (int i = 0; i < FLOOD; i++) {
        co_group_start(&g, flood_member, GUINT_TO_POINTER(i));
    }
    co_group_wait(&g);
    close(flood_fd);
}

/* Many more requests at once than any queue of the kernel's holds all succeed. */
static void test_flood(void)
{
    run_co(flood_entry, NULL);
}

/* ---- sockets ---- */

static int pair[2];

static void pair_open(void)
{
    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair),
                    ==, 0);
}

static void pair_close(void)
{
    close(pair[0]);
    close(pair[1]);
}

static ssize_t co_fn receive(int fd, void *buf, size_t len)
{
    struct iovec iov = { buf, len };
    struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

    return aio_co_recvmsg(fd, &msg, 0);
}

static ssize_t co_fn transmit(int fd, const void *buf, size_t len)
{
    struct iovec iov = { (void *)buf, len };
    struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

    return aio_co_sendmsg(fd, &msg, 0);
}

#define STREAM_BYTES (4 << 20)

static void co_fn stream_sender(void *opaque)
{
    g_autofree uint8_t *buf = g_malloc(STREAM_BYTES);
    ssize_t n;

    for (int i = 0; i < STREAM_BYTES; i++) {
        buf[i] = i * 7 + (i >> 12);
    }
    for (size_t done = 0; done < STREAM_BYTES; done += n) {
        n = transmit(pair[0], buf + done, STREAM_BYTES - done);
        g_assert_cmpint(n, >, 0);
    }
    shutdown(pair[0], SHUT_WR);
}

static void co_fn stream_entry(void *opaque)
{
    CoGroup g = CO_GROUP_INIT;
    uint8_t buf[5000];
    ssize_t n;
    int at = 0;

    pair_open();
    co_group_start(&g, stream_sender, NULL);
    while ((n = receive(pair[1], buf, sizeof(buf))) > 0) {
        for (ssize_t i = 0; i < n; i++, at++) {
            g_assert_cmpint(buf[i], ==, (uint8_t)(at * 7 + (at >> 12)));
        }
    }
    g_assert_cmpint(n, ==, 0);
    g_assert_cmpint(at, ==, STREAM_BYTES);
    co_group_wait(&g);
    pair_close();
}

/* A sender that is faster than its receiver waits; every byte arrives, then the end of file. */
static void test_stream(void)
{
    run_co(stream_entry, NULL);
}

static void co_fn duplex_reader(void *opaque)
{
    char c;

    g_assert_cmpint(receive(pair[0], &c, 1), ==, 1);
    g_assert_cmpint(c, ==, 'x');
    *(bool *)opaque = true;
}

static void co_fn duplex_writer(void *opaque)
{
    char buf[4096] = "";

    g_assert_cmpint(transmit(pair[0], buf, sizeof(buf)), >, 0);
    *(bool *)opaque = true;
}

/* Fills the socket's buffer. */
static void stuff(int fd)
{
    char buf[4096] = "";

    while (send(fd, buf, sizeof(buf), MSG_DONTWAIT) > 0) {
    }
}

static void co_fn duplex_entry(void *opaque)
{
    CoGroup g = CO_GROUP_INIT;
    bool read_done = false, write_done = false;
    char buf[4096];

    pair_open();
    stuff(pair[0]);
    co_group_start(&g, duplex_reader, &read_done);
    co_group_start(&g, duplex_writer, &write_done);
    aio_co_sleep_ns(NS_PER_MS);
    g_assert_false(read_done || write_done);
    g_assert_cmpint(send(pair[1], "x", 1, 0), ==, 1);
    while (!read_done) {
        aio_co_sleep_ns(NS_PER_MS);
    }
    g_assert_false(write_done);
    while (recv(pair[1], buf, sizeof(buf), MSG_DONTWAIT) > 0) {
    }
    co_group_wait(&g);
    g_assert_true(write_done);
    pair_close();
}

/* One coroutine may wait to read from a socket while another waits to write to it. */
static void test_read_and_write_at_once(void)
{
    run_co(duplex_entry, NULL);
}

static void co_fn epipe_entry(void *opaque)
{
    pair_open();
    close(pair[1]);
    g_assert_cmpint(transmit(pair[0], "x", 1), ==, -EPIPE);
    close(pair[0]);
}

/* Sending to a peer that is gone is an error and not a signal. */
static void test_no_sigpipe(void)
{
    run_co(epipe_entry, NULL);
}

static struct sockaddr_un listen_addr;

static void co_fn accept_side(void *opaque)
{
    int listener = *(int *)opaque;

    for (int i = 0; i < 5; i++) {
        int fd = aio_co_accept(listener);
        char c;

        g_assert_cmpint(fd, >=, 0);
        g_assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
        g_assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
        g_assert_cmpint(receive(fd, &c, 1), ==, 1);
        g_assert_cmpint(transmit(fd, &c, 1), ==, 1);
        close(fd);
    }
}

static void co_fn connect_side(void *opaque)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    char c = 'q';

    g_assert_cmpint(aio_co_connect(fd, (struct sockaddr *)&listen_addr, sizeof(listen_addr)),
                    ==, 0);
    g_assert_cmpint(transmit(fd, &c, 1), ==, 1);
    c = 0;
    g_assert_cmpint(receive(fd, &c, 1), ==, 1);
    g_assert_cmpint(c, ==, 'q');
    close(fd);
}

static void co_fn connect_entry(void *opaque)
{
    CoGroup g = CO_GROUP_INIT;
    int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    listen_addr.sun_family = AF_UNIX;
    snprintf(listen_addr.sun_path, sizeof(listen_addr.sun_path), "/tmp/test-aio-%d.sock",
             (int)getpid());
    g_assert_cmpint(aio_co_connect(fd, (struct sockaddr *)&listen_addr, sizeof(listen_addr)),
                    ==, -ENOENT);
    close(fd);
    g_assert_cmpint(bind(listener, (struct sockaddr *)&listen_addr, sizeof(listen_addr)), ==, 0);
    /* A queue of one: some of those who connect have to try again. */
    g_assert_cmpint(listen(listener, 0), ==, 0);
    for (int i = 0; i < 5; i++) {
        co_group_start(&g, connect_side, NULL);
    }
    co_group_start(&g, accept_side, &listener);
    co_group_wait(&g);
    close(listener);
    unlink(listen_addr.sun_path);
}

/* Clients that connect faster than they are accepted all get their turn. */
static void test_accept_and_connect(void)
{
    run_co(connect_entry, NULL);
}

static void co_fn refused_entry(void *opaque)
{
    struct sockaddr_in sin = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
    socklen_t len = sizeof(sin);
    int holder = socket(AF_INET, SOCK_STREAM, 0);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    /* A port that is ours and that nobody listens on. */
    g_assert_cmpint(bind(holder, (struct sockaddr *)&sin, len), ==, 0);
    g_assert_cmpint(getsockname(holder, (struct sockaddr *)&sin, &len), ==, 0);
    g_assert_cmpint(aio_co_connect(fd, (struct sockaddr *)&sin, len), ==, -ECONNREFUSED);
    close(fd);
    fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    g_assert_cmpint(listen(holder, 1), ==, 0);
    g_assert_cmpint(aio_co_connect(fd, (struct sockaddr *)&sin, len), ==, 0);
    close(fd);
    close(holder);
}

static void test_tcp_connect(void)
{
    run_co(refused_entry, NULL);
}

/* ---- poll ---- */

static void co_fn poll_entry(void *opaque)
{
    int fd = temp_file(), pipefd[2], other;
    int64_t start;

    /* A regular file is always ready, whatever the kernel thinks of polling it. */
    g_assert_cmpint(aio_co_poll(fd, POLLIN, -1) & POLLIN, ==, POLLIN);
    close(fd);
    g_assert_cmpint(aio_co_poll(fd, POLLIN, -1), ==, -EBADF);
    g_assert_cmpint(aio_co_poll(-1, POLLIN, -1), ==, -EBADF);

    g_assert_cmpint(pipe(pipefd), ==, 0);
    start = clock_ns();
    g_assert_cmpint(aio_co_poll(pipefd[0], POLLIN, 20 * NS_PER_MS), ==, -ETIMEDOUT);
    g_assert_cmpint(clock_ns() - start, >=, 20 * NS_PER_MS);
    g_assert_cmpint(aio_co_poll(pipefd[0], POLLIN, 0), ==, -ETIMEDOUT);
    g_assert_cmpint(aio_co_poll(pipefd[1], POLLOUT, 0), ==, POLLOUT);
    g_assert_cmpint(write(pipefd[1], "x", 1), ==, 1);
    g_assert_cmpint(aio_co_poll(pipefd[0], POLLIN, INT64_MAX), ==, POLLIN);
    close(pipefd[1]);
    g_assert_cmpint(aio_co_poll(pipefd[0], POLLIN, -1), ==, POLLIN | POLLHUP);
    other = pipefd[0];
    close(pipefd[0]);

    /* The same number for another pipe. */
    g_assert_cmpint(pipe(pipefd), ==, 0);
    g_assert_cmpint(pipefd[0], ==, other);
    g_assert_cmpint(aio_co_poll(pipefd[0], POLLIN, 1), ==, -ETIMEDOUT);
    close(pipefd[0]);
    close(pipefd[1]);
}

/* A poll reports readiness, hang-up, its time limit, and the state of the present descriptor. */
static void test_poll(void)
{
    run_co(poll_entry, NULL);
}

/* ---- giving way ---- */

#define CALLS_AT_ONCE 400

typedef struct Quick {
    int fd;
    bool accepts;
    int calls;
} Quick;

/* Nothing here has to wait: all that it wants is there already. */
static void co_fn quick_entry(void *opaque)
{
    Quick *q = opaque;
    char c;

    for (; q->calls < CALLS_AT_ONCE; q->calls++) {
        if (q->accepts) {
            int fd = aio_co_accept(q->fd);
            g_assert_cmpint(fd, >=, 0);
            close(fd);
        } else {
            struct iovec iov = { &c, 1 };
            struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
            g_assert_cmpint(aio_co_recvmsg(q->fd, &msg, 0), ==, 1);
        }
    }
}

/* Starts @q, and sees that a poll ends before @q does. */
static void co_fn expect_a_turn(Quick *q)
{
    CoGroup g = { 0 };
    int pipefd[2];

    g_assert_cmpint(pipe(pipefd), ==, 0);
    g_assert_cmpint(write(pipefd[1], "x", 1), ==, 1);
    co_group_start(&g, quick_entry, q);
    g_assert_cmpint(aio_co_poll(pipefd[0], POLLIN, -1) & POLLIN, !=, 0);
    g_assert_cmpint(q->calls, <, CALLS_AT_ONCE);
    co_group_wait(&g);
    close(pipefd[0]);
    close(pipefd[1]);
}

static void co_fn quick_peer_entry(void *opaque)
{
    char bytes[CALLS_AT_ONCE] = { 0 };

    pair_open();
    g_assert_cmpint(send(pair[1], bytes, sizeof(bytes), 0), ==, sizeof(bytes));
    expect_a_turn(&(Quick){ .fd = pair[0] });
    pair_close();
}

static void co_fn quick_clients_entry(void *opaque)
{
    struct sockaddr_un addr = { .sun_family = AF_UNIX };
    socklen_t len = sizeof(addr);
    int clients[CALLS_AT_ONCE];
    int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    /* An abstract name that the kernel chooses. */
    g_assert_cmpint(bind(listener, (struct sockaddr *)&addr, sizeof(sa_family_t)), ==, 0);
    g_assert_cmpint(listen(listener, CALLS_AT_ONCE), ==, 0);
    g_assert_cmpint(getsockname(listener, (struct sockaddr *)&addr, &len), ==, 0);
    for (int i = 0; i < CALLS_AT_ONCE; i++) {
        clients[i] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        g_assert_cmpint(connect(clients[i], (struct sockaddr *)&addr, len), ==, 0);
    }
    expect_a_turn(&(Quick){ .fd = listener, .accepts = true });
    for (int i = 0; i < CALLS_AT_ONCE; i++) {
        close(clients[i]);
    }
    close(listener);
}

/* A peer that is always faster than we are does not keep the thread from everybody else. */
static void test_quick_peers_let_others_run(void)
{
    run_co(quick_peer_entry, NULL);
    run_co(quick_clients_entry, NULL);
}

/* ---- cancelling ---- */

enum { CANCEL_RECV, CANCEL_SEND, CANCEL_ACCEPT, CANCEL_POLL, CANCEL_SLEEP, CANCEL_KINDS };

typedef struct Victim {
    Coroutine *co;
    int kind, listener;
    int result;
    bool done;
} Victim;

static void co_fn victim_entry(void *opaque)
{
    Victim *v = opaque;
    char buf[4096] = "";
    int64_t start = clock_ns();

    v->co = coroutine_self();
    switch (v->kind) {
    case CANCEL_RECV:
        v->result = receive(pair[0], buf, sizeof(buf));
        break;
    case CANCEL_SEND:
        v->result = transmit(pair[0], buf, sizeof(buf));
        break;
    case CANCEL_ACCEPT:
        v->result = aio_co_accept(v->listener);
        break;
    case CANCEL_POLL:
        v->result = aio_co_poll(pair[0], POLLIN, 3600 * NS_PER_SEC);
        break;
    case CANCEL_SLEEP:
        aio_co_sleep_ns(3600 * NS_PER_SEC);
        v->result = clock_ns() - start < 60 * NS_PER_SEC ? -ECANCELED : 0;
        break;
    }
    v->done = true;
}

static void co_fn cancel_entry(void *opaque)
{
    int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    struct sockaddr_un any = { .sun_family = AF_UNIX };

    g_assert_cmpint(bind(listener, (struct sockaddr *)&any, sizeof(sa_family_t)), ==, 0);
    g_assert_cmpint(listen(listener, 1), ==, 0);
    for (int i = 0; i < CANCEL_KINDS * 3; i++) {
        CoGroup g = CO_GROUP_INIT;
        Victim v = { .kind = i / 3, .listener = listener };

        pair_open();
        stuff(pair[0]);
        co_group_start(&g, victim_entry, &v);
        /* At once; after the kernel has it; and after two turns of the loop. */
        for (int turn = 0; turn < i % 3; turn++) {
            aio_co_sleep_ns(NS_PER_MS);
        }
        g_assert_false(v.done);
        aio_co_cancel(v.co);
        g_assert_false(v.done); /* it runs later, from the loop */
        aio_co_cancel(v.co);    /* a second time changes nothing */
        co_group_wait(&g);
        g_assert_cmpint(v.result, ==, -ECANCELED);
        pair_close();
    }
    close(listener);
}

/* Whatever a coroutine waits for on a socket ends at once when it is cancelled. */
static void test_cancel(void)
{
    run_co(cancel_entry, NULL);
}

static void co_fn plain_waiter(void *opaque)
{
    Coroutine **co = opaque;

    *co = coroutine_self();
    coroutine_yield();
    *co = NULL;
}

static void co_fn cancel_other_entry(void *opaque)
{
    CoGroup g = CO_GROUP_INIT;
    Coroutine *co = NULL;

    co_group_start(&g, plain_waiter, &co);
    aio_co_cancel(co);
    coroutine_reschedule();
    g_assert_nonnull(co);
    coroutine_wake(co);
    co_group_wait(&g);
}

/* Cancelling a coroutine that waits for something else does not wake it. */
static void test_cancel_leaves_others(void)
{
    run_co(cancel_other_entry, NULL);
}

static void co_fn late_receiver(void *opaque)
{
    Victim *v = opaque;
    char c;

    v->co = coroutine_self();
    do {
        v->result = receive(pair[0], &c, 1);
    } while (v->result > 0);
}

static void co_fn cancel_race_entry(void *opaque)
{
    for (int i = 0; i < 2000; i++) {
        CoGroup g = CO_GROUP_INIT;
        Victim v = { 0 };

        pair_open();
        co_group_start(&g, late_receiver, &v);
        if (i & 1) {
            coroutine_reschedule();
        }
        g_assert_cmpint(send(pair[1], "x", 1, 0), ==, 1);
        for (int turn = 0; turn < i % 5; turn++) {
            coroutine_reschedule();
        }
        while (g.running) {     /* in whichever call it is now */
            aio_co_cancel(v.co);
            coroutine_reschedule();
        }
        g_assert_cmpint(v.result, ==, -ECANCELED);
        pair_close();
    }
}

/* A cancellation that meets the arrival of data ends that call or the next, and never hangs. */
static void test_cancel_races_with_data(void)
{
    run_co(cancel_race_entry, NULL);
}

int main(int argc, char **argv)
{
    AioContext *ctx = test_loop_init(&argc, &argv);
    int ret;

    g_test_add_func("/aio/file", test_file);
    g_test_add_func("/aio/file-errors", test_file_errors);
    g_test_add_func("/aio/nowait", test_nowait);
    g_test_add_func("/aio/flood", test_flood);
    g_test_add_func("/aio/stream", test_stream);
    g_test_add_func("/aio/read-and-write-at-once", test_read_and_write_at_once);
    g_test_add_func("/aio/no-sigpipe", test_no_sigpipe);
    g_test_add_func("/aio/accept-and-connect", test_accept_and_connect);
    g_test_add_func("/aio/tcp-connect", test_tcp_connect);
    g_test_add_func("/aio/poll", test_poll);
    g_test_add_func("/aio/quick-peers-let-others-run", test_quick_peers_let_others_run);
    g_test_add_func("/aio/cancel", test_cancel);
    g_test_add_func("/aio/cancel-leaves-others", test_cancel_leaves_others);
    g_test_add_func("/aio/cancel-races-with-data", test_cancel_races_with_data);
    ret = g_test_run();
    aio_context_free(ctx);
    return ret;
}
