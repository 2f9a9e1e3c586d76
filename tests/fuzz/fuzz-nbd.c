/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A whole conversation with the NBD server, which is the real one: all that a client says is in the
 * input.  Its first byte chooses how much of the handshake has been done before.
 */
#include "qemu/osdep.h"

#include "block/block.h"
#include "nbd/nbd-internal.h"
#include "tests/fuzz/fuzz.h"

#define DISK_BYTES (2 * MiB)
#define MAX_BYTES (128 * KiB)

static struct {
    char *dir;
    NbdServer *server;
} bed;

/* ---- the server, once ---- */

static void co_main_fn add_export(const char *name, bool writable)
{
    g_autoptr(BdrvOpenOptions) opts = bdrv_open_options_new("null-co");
    BdrvLinkSpec spec = { .allows = CLAIM_ALL, .holder = "the test" };
    NbdExportOptions exp = { .name = name, .description = "a disk", .writable = writable,
                             .allocation_depth = true };
    BlockBackend *blk = blk_new(name, CLAIM_READ | (writable ? CLAIM_WRITE : 0), CLAIM_ALL,
                                &error_abort);

    opts->u.null.size = DISK_BYTES;
    opts->u.null.read_zeroes = true;
    opts->read_only = !writable;
    BdrvLink *link = bdrv_open(opts, &spec, &error_abort);
    g_assert_true(blk_insert(blk, link->bs, &error_abort));
    bdrv_link_free(link);
    nbd_export_new(bed.server, blk, &exp, &error_abort);
}

static void remove_dir(void)
{
    g_autofree char *path = g_build_filename(bed.dir, "nbd.sock", NULL);

    unlink(path);
    rmdir(bed.dir);
}

static void co_main_fn start_server(void)
{
    NbdServerLimits limits = { 0 };

    bed.dir = g_dir_make_tmp("fuzz-nbd-XXXXXX", NULL);
    atexit(remove_dir);
    g_autofree char *path = g_build_filename(bed.dir, "nbd.sock", NULL);
    SocketSpec addr = { .kind = SOCKET_UNIX, .path = path };
    bed.server = nbd_server_start("nbd", &addr, &limits, &error_abort);
    add_export("a", true);
    add_export("ro", false);
}

/* ---- a client ---- */

typedef struct Client {
    int fd;
    GByteArray *say;
    CoGroup group;
} Client;

static void co_main_fn speak(void *opaque)
{
    Client *c = opaque;
    struct iovec iov = { c->say->data, c->say->len };
    Channel chan;

    channel_init(&chan, c->fd, c->fd);
    channel_send_all(&chan, &iov, 1);
    shutdown(c->fd, SHUT_WR);
}

static void co_main_fn listen_to_the_end(void *opaque)
{
    Client *c = opaque;
    static uint8_t buf[64 * KiB];
    struct iovec iov = { buf, sizeof(buf) };
    struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

    while (aio_co_recvmsg(c->fd, &msg, 0) > 0) {
        /* what is said is not judged here */
    }
}

static void say_option(GByteArray *say, uint32_t option, const void *data, uint32_t len)
{
    uint8_t head[16];

    be64_store(head, NBD_OPTS_MAGIC);
    be32_store(head + 8, option);
    be32_store(head + 12, len);
    g_byte_array_append(say, head, sizeof(head));
    g_byte_array_append(say, data, len);
}

/* @how, from its lowest bit: flags sent; structured replies, contexts; an export is chosen. */
static void say_handshake(GByteArray *say, unsigned how)
{
    static const uint8_t flags[] = { 0, 0, 0, 3 };
    static const uint8_t contexts[] = "\0\0\0\1a\0\0\0\2" "\0\0\0\x0f" "base:allocation"
        "\0\0\0\x15" "qemu:allocation-depth";
    static const uint8_t go_a[] = "\0\0\0\1a\0\0", go_ro[] = "\0\0\0\2ro\0\0";

    if (how & 1) {
        g_byte_array_append(say, flags, sizeof(flags));
        if (how & 2) {
            say_option(say, NBD_OPT_STRUCTURED_REPLY, "", 0);
            say_option(say, NBD_OPT_SET_META_CONTEXT, contexts, sizeof(contexts) - 1);
        }
        if (how & 4) {
            say_option(say, NBD_OPT_GO, how & 8 ? go_ro : go_a,
                       (how & 8 ? sizeof(go_ro) : sizeof(go_a)) - 1);
        }
    }
}

static void co_main_fn run(const uint8_t *data, size_t size)
{
    Client c = { .say = g_byte_array_new() };
    FuzzInput in = { data, size };

    if (!bed.server) {
        start_server();
    }
    say_handshake(c.say, fuzz_take(&in, 1));
    g_byte_array_append(c.say, in.data, in.size);
    c.fd = socket_connect(&bed.server->addr, &error_abort);
    co_group_start(&c.group, speak, &c);
    co_group_start(&c.group, listen_to_the_end, &c);
    co_group_wait(&c.group);
    close(c.fd);
    g_byte_array_unref(c.say);
    while (bed.server->conns.length > 0) {
        coroutine_reschedule();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > 0 && size < MAX_BYTES) {
        fuzz_run(run, data, size);
    }
    return 0;
}
