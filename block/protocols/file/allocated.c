/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The bytes that a file occupies, for queries.  A query is about all disks and waits for none:
 * where asking may take a while it is told what was known last, and a thread asks again.
 */
#include "qemu/osdep.h"

#include "block/protocols/file/file-internal.h"

/* How long a question that has just been asked is worth waiting for. */
#define PATIENCE_NS (100 * NS_PER_MS)

static int blocking_fn look_in_thread(void *opaque)
{
    FileState *s = opaque;
    struct stat st;

    __atomic_store_n(&s->allocated, fstat(s->fd, &st) == 0 ? st.st_blocks * 512 : -1,
                     __ATOMIC_RELAXED);
    return 0;
}

static void co_main_fn look_entry(void *opaque)
{
    FileState *s = opaque;

    thread_pool_co_run_io(look_in_thread, s);
    s->look_began_ns = 0;
    if (s->look_waiter) {
        coroutine_wake(g_steal_pointer(&s->look_waiter));
    }
}

bool main_fn file_refresh_allocated(BlockDriverState *bs, bool begin)
{
    FileState *s = bs->opaque;

    if (s->fd < 0) {                    /* being opened or closed */
        return false;
    }
    if (s->traits.is_local) {
        context_block_anyway();         /* the kernel knows */
        look_in_thread(s);
        return false;
    }
    if (begin && !s->look_began_ns) {
        s->look_began_ns = clock_ns();
        coroutine_start(look_entry, s);
    }
    return s->look_began_ns && clock_ns() - s->look_began_ns < PATIENCE_NS;
}

int64_t main_fn file_get_allocated(BlockDriverState *bs)
{
    return __atomic_load_n(&FILE_STATE(bs)->allocated, __ATOMIC_RELAXED);
}

void co_main_fn file_finish_look(FileState *s)
{
    if (s->look_began_ns) {
        s->look_waiter = coroutine_self();
        coroutine_yield();
    }
}
