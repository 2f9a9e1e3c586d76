/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One image, written, zeroed, flushed and read from several iothreads at once. */
#include "qemu/osdep.h"

#include "qemu/aio.h"
#include "qemu/iothread.h"
#include "tests/lib/qcow2-rig.h"

#define N_THREADS 3
#define N_WORKERS 4                 /* on each */
#define SLICES (N_THREADS * N_WORKERS)
#define DISK_BYTES (24 * MiB)
#define ROUNDS 60

typedef struct Worker {
    BdrvLink *link;
    int index;
    uint64_t seed;
    uint8_t *expect;                /* of the 4 KiB blocks that are this worker's */
    int *running;                   /* atomic */
    Coroutine *waiter;
} Worker;

/* Blocks are dealt out like cards: clusters and L2 pages are everybody's. */
static int64_t block_offset(const Worker *w, int64_t n)
{
    return (n * SLICES + w->index) * 4096;
}

static void co_fn one_round(Worker *w)
{
    int64_t n_blocks = DISK_BYTES / 4096 / SLICES, n = rig_random(&w->seed) % n_blocks;
    uint8_t buf[4096], pattern = 1 + rig_random(&w->seed) % 255;

    unsigned kind = rig_random(&w->seed) % 10;
    switch (kind) {
    case 9:
        g_assert_cmpint(bdrv_co_pdiscard(w->link, block_offset(w, n), 4096), ==, 0);
        g_assert_cmpint(bdrv_co_pread(w->link, block_offset(w, n), 4096, buf), ==, 0);
        g_assert_true(buf[0] == 0 || buf[0] == w->expect[n]);   /* a part of a cluster may stay */
        w->expect[n] = buf[0];
        break;
    case 0:
        g_assert_cmpint(bdrv_co_pwrite_zeroes(w->link, block_offset(w, n), 4096,
                                              BDRV_REQ_MAY_UNMAP), ==, 0);
        w->expect[n] = 0;
        break;
    case 1:
        g_assert_cmpint(bdrv_co_flush(w->link, 0), ==, 0);
        break;
    case 2 ... 6:
        memset(buf, pattern, sizeof(buf));
        g_assert_cmpint(bdrv_co_pwrite(w->link, block_offset(w, n), 4096, buf,
                                       kind == 6 ? BDRV_REQ_WRITE_COMPRESSED : 0), ==, 0);
        w->expect[n] = pattern;
        break;
    default:
        g_assert_cmpint(bdrv_co_pread(w->link, block_offset(w, n), 4096, buf), ==, 0);
        for (int i = 0; i < 4096; i++) {
            g_assert_cmpint(buf[i], ==, w->expect[n]);
        }
        break;
    }
}

static void co_fn worker_entry(void *opaque)
{
    Worker *w = opaque;

    for (int i = 0; i < ROUNDS; i++) {
        one_round(w);
    }
    if (__atomic_sub_fetch(w->running, 1, __ATOMIC_SEQ_CST) == 0) {
        coroutine_wake(w->waiter);
    }
}

static BdrvLink *co_main_fn open_image(const char *path, const char *driver, int64_t cache_size)
{
    g_autoptr(BdrvOpenOptions) opts = NULL;
    BdrvLinkSpec spec = {
        .needs = CLAIM_READ | CLAIM_WRITE | CLAIM_RESIZE, .allows = CLAIM_ALL,
        .holder = "test",
    };

    opts = bdrv_options_from_filename(path, driver, NULL, &error_abort);
    opts->read_only = false;
    opts->discard = true;
    if (opts->file.options) {
        opts->file.options->read_only = false;
        opts->file.options->discard = true;
        opts->u.qcow2.cache_size = cache_size;
        opts->u.qcow2.has_discard_other = opts->u.qcow2.discard_other = true;
        opts->no_backing_open = true;
    }
    return bdrv_open(opts, &spec, &error_abort);
}

static BdrvLink *co_main_fn new_image(const char *path, bool extended_l2, int64_t cluster_size,
                                      int64_t cache_size, bool backing)
{
    BdrvCreateOptions opts = rig_create_options(DISK_BYTES);

    opts.u.qcow2.cluster_size = cluster_size;
    opts.u.qcow2.extended_l2 = extended_l2;
    opts.u.qcow2.backing_file = backing ? (char *)"base" : NULL;
    BdrvLink *file = open_image(path, "file", 0);
    bdrv_co_create(bdrv_find_driver("qcow2"), file, &opts, &error_abort);
    bdrv_link_free(file);
    return open_image(path, "qcow2", cache_size);
}

/* All threads at once on the disk of @link, which is @start everywhere; closes it. */
static void co_main_fn run_on(IOThread **thread, BdrvLink *link, uint8_t start)
{
    Worker worker[SLICES];
    int running = SLICES;

    for (int i = 0; i < SLICES; i++) {
        worker[i] = (Worker){
            .link = link, .index = i, .seed = i, .running = &running, .waiter = coroutine_self(),
            .expect = g_malloc(DISK_BYTES / 4096 / SLICES),
        };
        memset(worker[i].expect, start, DISK_BYTES / 4096 / SLICES);
    }
    for (int i = 0; i < SLICES; i++) {
        coroutine_start_in(iothread_context(thread[i % N_THREADS]), worker_entry, &worker[i]);
    }
    coroutine_yield();
    for (int i = 0; i < SLICES; i++) {
        for (int64_t n = 0; n < DISK_BYTES / 4096 / SLICES; n++) {
            rig_expect(link, block_offset(&worker[i], n), 4096, worker[i].expect[n]);
        }
        g_free(worker[i].expect);
    }
    rig_flush(link);
    rig_check(link);
    rig_close(link);
}

static char *temporary_file(void)
{
    char *path = NULL;
    int fd = g_file_open_tmp("qcow2-threads-XXXXXX", &path, NULL);

    g_assert_cmpint(fd, >=, 0);
    close(fd);
    return path;
}

static void main_fn start_threads(IOThread **thread)
{
    for (int i = 0; i < N_THREADS; i++) {
        thread[i] = iothread_new("t", &error_abort);
    }
}

static void main_fn stop_threads(IOThread **thread)
{
    for (int i = 0; i < N_THREADS; i++) {
        iothread_free(thread[i]);
    }
}

/* With 4 KiB clusters what one gives back is another's soon. */
static void co_main_fn test_iothreads_share_an_image(void)
{
    g_autofree char *path = temporary_file();
    IOThread *thread[N_THREADS];

    start_threads(thread);
    run_on(thread, new_image(path, false, 65536, -1, false), 0);
    run_on(thread, new_image(path, true, 128 * KiB, -1, false), 0);
    run_on(thread, new_image(path, false, 4096, 1, false), 0);
    run_on(thread, new_image(path, false, 4096, -1, false), 0);
    stop_threads(thread);
    unlink(path);
}

/*
 * Over a base with data, and with all tables of both in memory and in use: each first write to a
 * cluster copies the rest of it from below, while others do the same next to it.
 */
static void co_main_fn test_iothreads_share_an_overlay_with_warm_tables(void)
{
    static const struct {
        bool extended_l2;
        int64_t cluster_size;
    } layouts[] = { { false, 65536 }, { true, 128 * KiB }, { false, 16 * KiB } };
    g_autofree char *path = temporary_file(), *base_path = temporary_file();
    IOThread *thread[N_THREADS];

    start_threads(thread);
    for (size_t i = 0; i < G_N_ELEMENTS(layouts); i++) {
        BdrvLink *base = new_image(base_path, false, 65536, -1, false);
        rig_write(base, 0, DISK_BYTES, 0xbb);
        rig_flush(base);
        BdrvLink *link = new_image(path, layouts[i].extended_l2, layouts[i].cluster_size, -1, true);
        g_assert_true(bdrv_attach_backing(link->bs, base->bs, &error_abort));
        /* A sector in each MiB, so that there is a table for it. */
        for (int64_t at = 0; at < DISK_BYTES; at += MiB) {
            rig_write(link, at, 512, 0xbb);
        }
        rig_flush(link);
        rig_expect(link, 0, DISK_BYTES, 0xbb);
        run_on(thread, link, 0xbb);
        rig_expect(base, 0, DISK_BYTES, 0xbb);
        rig_close(base);
    }
    stop_threads(thread);
    unlink(path);
    unlink(base_path);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    rig_add("/qcow2/threads/iothreads-share-an-image", test_iothreads_share_an_image);
    rig_add("/qcow2/threads/iothreads-share-an-overlay-with-warm-tables",
            test_iothreads_share_an_overlay_with_warm_tables);
    return g_test_run();
}
