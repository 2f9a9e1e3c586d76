/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Debug events on their way down to a node that acts on them, and breakpoints in such a node. */
#include "qemu/osdep.h"

#include "block/io/io-internal.h"

void (*bdrv_debug_note)(const char *text);

void co_fn bdrv_debug_event(BdrvLink *link, const char *event)
{
    for (; link; link = link->bs->file) {
        if (link->bs->drv->debug_event) {
            link->bs->drv->debug_event(link->bs, event);
            return;
        }
        if (!link->bs->drv->is_filter) {
            return;
        }
    }
}

/* The first node from @bs on down that has breakpoints, or NULL. */
static BlockDriverState *find_breaker(BlockDriverState *bs)
{
    while (bs && !bs->drv->break_ops) {
        bs = bs->file ? bs->file->bs : NULL;
    }
    return bs;
}

int main_fn bdrv_debug_breakpoint(BlockDriverState *bs, const char *event, const char *tag)
{
    bs = find_breaker(bs);
    return bs ? bs->drv->break_ops->set(bs, event, tag) : -ENOTSUP;
}

int main_fn bdrv_debug_remove_breakpoint(BlockDriverState *bs, const char *tag)
{
    bs = find_breaker(bs);
    return bs ? bs->drv->break_ops->remove(bs, tag) : -ENOTSUP;
}

int main_fn bdrv_debug_resume(BlockDriverState *bs, const char *tag)
{
    bs = find_breaker(bs);
    return bs ? bs->drv->break_ops->resume(bs, tag) : -ENOTSUP;
}

int co_main_fn bdrv_debug_wait(BlockDriverState *bs, const char *tag)
{
    bs = find_breaker(bs);
    return bs ? bs->drv->break_ops->co_wait(bs, tag) : -ENOTSUP;
}

void main_fn bdrv_debug_resume_all(BlockDriverState *bs)
{
    while ((bs = find_breaker(bs))) {
        bs->drv->break_ops->clear(bs);
        bs = bs->file ? bs->file->bs : NULL;
    }
}
