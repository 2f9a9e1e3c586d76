/* SPDX-License-Identifier: GPL-2.0-or-later */
/* qemu-img bench: requests of one size, some at a time, and how long they take. */
#include "qemu/osdep.h"

#include "img.h"
#include "qemu/aio.h"

#define MAX_REQUEST (1 * GiB)

typedef struct Bench {
    ToolImage image;
    BlockBackend *blk;
    int64_t count, depth, offset, size, step;
    int64_t flush_interval;         /* requests between flushes; 0: none */
    bool write, quiet, no_drain;
    int pattern;

    void *buf;
    int64_t length;                 /* of the disk, bytes */
    int64_t begun, done;            /* requests */
    int64_t in_flight;
    bool flushing;
    int error;                      /* -errno of the first request that failed */
    Coroutine *waiter;              /* who waits for something to end, or NULL */
} Bench;

static void something_ended(Bench *b, int ret)
{
    b->in_flight--;
    if (ret < 0 && !b->error) {
        b->error = ret;
    }
    if (b->waiter) {
        coroutine_wake(g_steal_pointer(&b->waiter));
    }
}

static void co_fn wait_for_something(Bench *b)
{
    b->waiter = coroutine_self();
    coroutine_yield();
}

static void co_fn request_entry(void *opaque)
{
    Bench *b = opaque;
    int64_t offset = b->offset;
    IoVec v;

    b->offset += b->step;
    if (b->length > b->size) {
        b->offset %= b->length;
    }
    offset = MAX(MIN(offset, b->length - b->size), 0);
    iovec_init_buf(&v, b->buf, b->size);
    int ret = b->write ? blk_co_pwritev(b->blk, NULL, offset, b->size, &v, 0)
                       : blk_co_preadv(b->blk, NULL, offset, b->size, &v);
    b->done++;
    something_ended(b, ret);
}

static void co_fn flush_entry(void *opaque)
{
    Bench *b = opaque;
    int ret = blk_co_flush(b->blk, NULL);

    b->flushing = false;
    something_ended(b, ret);
}

/* Every flush_interval-th request: without -n once everything before has ended. */
static void co_main_fn flush(Bench *b)
{
    while (!b->no_drain && b->in_flight > 0) {
        wait_for_something(b);
    }
    b->in_flight++;
    b->flushing = true;
    coroutine_start(flush_entry, b);
    while (!b->no_drain && b->flushing) {
        wait_for_something(b);
    }
}

static void co_main_fn run(Bench *b)
{
    while (b->begun < b->count && !b->error) {
        if (b->in_flight >= b->depth) {
            wait_for_something(b);
            continue;
        }
        b->begun++;
        b->in_flight++;
        coroutine_start(request_entry, b);
        if (b->flush_interval && b->begun % b->flush_interval == 0) {
            flush(b);
        }
    }
    while (b->in_flight > 0) {
        wait_for_something(b);
    }
}

static int co_main_fn bench(Bench *b)
{
    b->length = blk_length(b->blk);
    b->buf = bdrv_try_blockalign(b->size);
    if (!b->buf) {
        tool_error("Cannot allocate %" PRId64 " bytes for the requests", b->size);
        return 1;
    }
    memset(b->buf, b->write ? b->pattern : 0, b->size);
    printf("Sending %" PRId64 " %s requests, %" PRId64 " bytes each, %" PRId64 " in parallel "
           "(starting at offset %" PRId64 ", step size %" PRId64 ")\n", b->count,
           b->write ? "write" : "read", b->size, b->depth, b->offset, b->step);
    if (b->flush_interval) {
        printf("Sending flush every %" PRId64 " %srequests\n", b->flush_interval,
               b->no_drain ? "" : "completed ");
    }
    int64_t begin = clock_ns();
    run(b);
    int64_t spent = clock_ns() - begin;
    free(b->buf);
    if (b->error) {
        tool_error("Failed request: %s", strerror(-b->error));
        return 1;
    }
    printf("Run completed in %.3f seconds.\n", (double)spent / NS_PER_SEC);
    return 0;
}

/* ---- the command line ---- */

static int64_t number_arg(const char *what, const char *arg, int64_t min, int64_t max)
{
    guint64 value;

    if (!g_ascii_string_to_unsigned(arg, 10, min, max, &value, NULL)) {
        tool_error("Invalid %s specified", what);
        exit(1);
    }
    return value;
}

static void take_option(Bench *b, int opt)
{
    switch (opt) {
    case 'c': b->count = number_arg("request count", optarg, 0, INT_MAX); break;
    case 'd': b->depth = number_arg("queue depth", optarg, 1, INT_MAX); break;
    case 'f': b->image.format = optarg; break;
    case 'n': b->image.aio = FILE_AIO_NATIVE; break;
    case 'o': b->offset = img_size_arg("offset", optarg, 0, INT64_MAX); break;
    case 'q': b->quiet = true; break;
    case 's': b->size = img_size_arg("buffer size", optarg, 1, MAX_REQUEST); break;
    case 'S': b->step = img_size_arg("step_size", optarg, 1, INT_MAX); break;
    case 'w': b->write = true; break;
    case 'U': b->image.force_share = true; break;
    case 'i':
        if (!tool_parse_aio(optarg, &b->image.aio)) {
            tool_error("Invalid aio option: %s", optarg);
            exit(1);
        }
        break;
    case 't':
        if (!tool_parse_cache(optarg, &b->image.cache)) {
            tool_error("Invalid cache mode");
            exit(1);
        }
        break;
    case IMG_OPT_PATTERN: b->pattern = number_arg("pattern byte", optarg, 0, 255); break;
    case IMG_OPT_FLUSH_INTERVAL:
        b->flush_interval = number_arg("flush interval", optarg, 0, INT_MAX);
        break;
    case IMG_OPT_NO_DRAIN: b->no_drain = true; break;
    case IMG_OPT_IMAGE_OPTS: b->image.image_opts = true; break;
    }
}

static void co_main_fn parse(int argc, char **argv, Bench *b)
{
    static const struct option longopts[] = {
        { "help", no_argument, NULL, 'h' },
        { "flush-interval", required_argument, NULL, IMG_OPT_FLUSH_INTERVAL },
        { "image-opts", no_argument, NULL, IMG_OPT_IMAGE_OPTS },
        { "no-drain", no_argument, NULL, IMG_OPT_NO_DRAIN },
        { "pattern", required_argument, NULL, IMG_OPT_PATTERN },
        { "force-share", no_argument, NULL, 'U' }, { 0 },
    };
    int opt;

    while ((opt = img_next_option(argc, argv, ":hc:d:f:ni:o:qs:S:t:wU", longopts)) != -1) {
        take_option(b, opt);
    }
    b->image.name = img_only_filename(argc, argv);
    if (!b->write && b->flush_interval) {
        tool_error("--flush-interval is only available in write tests");
        exit(1);
    }
    if (b->flush_interval && b->flush_interval < b->depth) {
        tool_error("Flush interval can't be smaller than depth");
        exit(1);
    }
    img_check_naming(&b->image);
}

int co_main_fn img_bench(int argc, char **argv)
{
    Bench b = { .count = 75000, .depth = 64, .size = 4096 };
    Error *err = NULL;

    parse(argc, argv, &b);
    b.step = b.step ?: b.size;
    b.image.writable = b.write;
    b.blk = tool_open(&b.image, &err);
    if (!b.blk) {
        return img_fail(err);
    }
    int status = bench(&b);
    return tool_close(b.blk) ? status : 1;
}
