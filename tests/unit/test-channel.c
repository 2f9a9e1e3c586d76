/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the NBD server and the monitor are promised of a peer, whatever descriptors it is behind. */
#include "qemu/osdep.h"

#include <sys/socket.h>

#include "qemu/channel.h"
#include "tests/unit/test-loop.h"

#define BYTES (1 * MiB)             /* more than a socket or pipe takes at once */

/* Two ends of something that carries bytes. */
typedef struct Ends {
    Channel here, there;
    CoGroup group;
} Ends;

static void make_sockets(Ends *e)
{
    int fds[2];

    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), ==, 0);
    channel_init(&e->here, fds[0], fds[0]);
    channel_init(&e->there, fds[1], fds[1]);
    e->group = (CoGroup)CO_GROUP_INIT;
}

static void make_pipes(Ends *e)
{
    int to[2], from[2];

    g_assert_cmpint(pipe2(to, O_NONBLOCK | O_CLOEXEC), ==, 0);
    g_assert_cmpint(pipe2(from, O_NONBLOCK | O_CLOEXEC), ==, 0);
    channel_init(&e->here, from[0], to[1]);
    channel_init(&e->there, to[0], from[1]);
    e->group = (CoGroup)CO_GROUP_INIT;
}

static uint8_t pattern(size_t i)
{
    return i ^ (i >> 8) ^ (i >> 16);
}

static void co_fn send_pattern(void *opaque)
{
    Ends *e = opaque;
    g_autofree uint8_t *buf = g_malloc(BYTES);
    struct iovec iov[3] = { { buf, 1 }, { buf + 1, 0 }, { buf + 1, BYTES - 1 } };

    for (size_t i = 0; i < (size_t)BYTES; i++) {
        buf[i] = pattern(i);
    }
    g_assert_cmpint(channel_send_all(&e->here, iov, G_N_ELEMENTS(iov)), ==, 0);
}

static void co_fn transfer(Ends *e)
{
    g_autofree uint8_t *buf = g_malloc(BYTES);

    co_group_start(&e->group, send_pattern, e);
    g_assert_cmpint(channel_recv_all(&e->there, buf, BYTES), ==, 0);
    co_group_wait(&e->group);
    for (size_t i = 0; i < (size_t)BYTES; i++) {
        g_assert_cmpint(buf[i], ==, pattern(i));
    }
    channel_close(&e->here);
    g_assert_cmpint(channel_recv_all(&e->there, buf, 1), ==, -ECONNRESET);
    struct iovec iov = { buf, 1 };
    g_assert_cmpint(channel_recv(&e->there, &iov, 1), ==, 0);
    g_assert_cmpint(channel_send_all(&e->there, &iov, 1), ==, -EPIPE);
    channel_close(&e->there);
}

/* However little the system takes at once, all bytes arrive in order; then comes the end. */
static void co_fn transfer_entry(void *opaque)
{
    Ends e;

    make_sockets(&e);
    transfer(&e);
    make_pipes(&e);
    transfer(&e);
}

static void test_transfer(void)
{
    signal(SIGPIPE, SIG_IGN);
    run_co(transfer_entry, NULL);
}

/* Files, which are always ready and cannot be polled: a script may be standard input. */
static void co_fn file_entry(void *opaque)
{
    g_autofree char *name = g_strdup("/tmp/test-channel-XXXXXX");
    int out = mkstemp(name), in = open(name, O_RDONLY | O_CLOEXEC);
    char text[] = "text", back[8];
    struct iovec iov = { text, 4 };
    Channel c;

    unlink(name);
    channel_init(&c, in, out);
    g_assert_cmpint(channel_send_all(&c, &iov, 1), ==, 0);
    iov = (struct iovec){ back, sizeof(back) };
    g_assert_cmpint(channel_recv(&c, &iov, 1), ==, 4);
    g_assert_cmpmem(back, 4, text, 4);
    g_assert_cmpint(channel_recv(&c, &iov, 1), ==, 0);
    channel_close(&c);
}

static void note_sent(void *opaque, const char *bytes, size_t len)
{
    g_string_append_len(opaque, bytes, len);
}

static Coroutine *receiver;

static void co_fn receive_nothing(void *opaque)
{
    struct iovec iov = { NULL, 0 };

    receiver = coroutine_self();
    g_assert_cmpint(channel_recv(opaque, &iov, 1), ==, -ECANCELED);
}

/* Nobody is at the other end: nothing comes, and what is sent is only heard by who asked for it. */
static void co_fn nothing_entry(void *opaque)
{
    char a[] = "ab", b[] = "c";
    struct iovec iov[2] = { { a, 2 }, { b, 1 } };
    g_autoptr(GString) heard = g_string_new(NULL);
    CoGroup group = CO_GROUP_INIT;
    Channel c;

    channel_init(&c, -1, -1);
    c.sent = note_sent;
    c.opaque = heard;
    g_assert_cmpint(channel_send_all(&c, iov, 2), ==, 0);
    g_assert_cmpstr(heard->str, ==, "abc");
    co_group_start(&group, receive_nothing, &c);
    aio_co_sleep_ns(NS_PER_MS);
    aio_co_cancel(receiver);
    co_group_wait(&group);
    channel_close(&c);
}

static void test_nothing(void)
{
    run_co(nothing_entry, NULL);
}

static void test_file(void)
{
    run_co(file_entry, NULL);
}

static void co_fn hang_up(void *opaque)
{
    Ends *e = opaque;

    aio_co_sleep_ns(0);
    channel_hangup(&e->here);
}

/* The end of the peer is seen although nothing is read, and ends what waits. */
static void co_fn hangup_entry(void *opaque)
{
    char byte = 0;
    struct iovec iov = { &byte, 1 };
    Ends e;

    make_sockets(&e);
    g_assert_cmpint(channel_send(&e.here, &iov, 1), ==, 1);
    g_assert_cmpint(channel_wait_hangup(&e.there, 0), ==, -ETIMEDOUT);
    co_group_start(&e.group, hang_up, &e);
    g_assert_cmpint(channel_wait_hangup(&e.there, -1), ==, 0);
    co_group_wait(&e.group);
    g_assert_true(channel_is_dead(&e.here));
    g_assert_cmpint(channel_recv(&e.there, &iov, 1), ==, 1);
    g_assert_cmpint(channel_recv(&e.there, &iov, 1), ==, 0);
    channel_close(&e.here);
    channel_close(&e.there);
}

static void test_hangup(void)
{
    run_co(hangup_entry, NULL);
}

/* Input can end by itself: what there is to say is still said. */
static void co_fn end_input_entry(void *opaque)
{
    char byte = 'x';
    struct iovec iov = { &byte, 1 };
    Ends e;

    make_sockets(&e);
    channel_end_input(&e.here);
    g_assert_cmpint(channel_recv(&e.here, &iov, 1), ==, 0);
    g_assert_false(channel_is_dead(&e.here));
    g_assert_cmpint(channel_send(&e.here, &iov, 1), ==, 1);
    g_assert_cmpint(channel_recv(&e.there, &iov, 1), ==, 1);
    channel_close(&e.here);
    channel_close(&e.there);
}

static void test_end_input(void)
{
    run_co(end_input_entry, NULL);
}

int main(int argc, char **argv)
{
    test_loop_init(&argc, &argv);
    g_test_add_func("/channel/transfer", test_transfer);
    g_test_add_func("/channel/file", test_file);
    g_test_add_func("/channel/nothing", test_nothing);
    g_test_add_func("/channel/hangup", test_hangup);
    g_test_add_func("/channel/end-input", test_end_input);
    return g_test_run();
}
