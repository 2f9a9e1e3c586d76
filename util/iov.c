/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Scatter/gather lists. */
#include "qemu/osdep.h"

#include "qemu/iov.h"

void any_fn iovec_init(IoVec *v)
{
    v->iov = v->inline_iov;
    v->niov = 0;
    v->nalloc = 0;
    v->size = 0;
}

void any_fn iovec_init_buf(IoVec *v, void *buf, size_t len)
{
    iovec_init(v);
    iovec_add(v, buf, len);
}

void any_fn iovec_destroy(IoVec *v)
{
    if (v->nalloc) {
        g_free(v->iov);
    }
    iovec_init(v);
}

/* Makes room in ->iov for one more element. */
static void reserve_one(IoVec *v)
{
    bool ours = v->nalloc || v->iov == v->inline_iov;
    int room = v->nalloc ? v->nalloc : (int)G_N_ELEMENTS(v->inline_iov);
    struct iovec *iov;

    if (ours && v->niov < room) {
        return;
    }
    if (v->nalloc) {
        v->nalloc *= 2;
        v->iov = g_renew(struct iovec, v->iov, v->nalloc);
        return;
    }
    /* Inline and full, or a slice that is still its source's array. */
    v->nalloc = MAX(16, 2 * v->niov);
    iov = g_new(struct iovec, v->nalloc);
    memcpy(iov, v->iov, v->niov * sizeof(*iov));
    v->iov = iov;
}

void any_fn iovec_add(IoVec *v, void *buf, size_t len)
{
    reserve_one(v);
    v->iov[v->niov++] = (struct iovec){ buf, len };
    v->size += len;
}

/* The element of @src that has byte @offset, which becomes the offset in it; niov: past the end. */
static int find(const IoVec *src, size_t *offset)
{
    int i = 0;

    while (i < src->niov && *offset >= src->iov[i].iov_len) {
        *offset -= src->iov[i++].iov_len;
    }
    return i;
}

void any_fn iovec_add_slice(IoVec *v, const IoVec *src, size_t offset, size_t len)
{
    assert(offset <= src->size && len <= src->size - offset);
    for (int i = find(src, &offset); len > 0; i++) {
        size_t n = MIN(len, src->iov[i].iov_len - offset);

        if (n) {
            iovec_add(v, (char *)src->iov[i].iov_base + offset, n);
        }
        offset = 0;
        len -= n;
    }
}

void any_fn iovec_init_slice(IoVec *v, const IoVec *src, size_t offset, size_t len)
{
    iovec_init(v);
    if (offset == 0 && len == src->size) {
        v->iov = src->iov;      /* @src outlives us: no copy of a long list */
        v->niov = src->niov;
        v->size = len;
        return;
    }
    iovec_add_slice(v, src, offset, len);
}

/* A walk over the bytes [offset, offset + left) of a list. */
typedef struct IoVecWalk {
    int i;
    size_t offset;              /* in element @i */
    size_t left;
    size_t done;                /* bytes of the pieces before the present one */
    char *p;                    /* the present piece */
    size_t n;
} IoVecWalk;

static IoVecWalk walk_start(const IoVec *v, size_t offset, size_t len)
{
    IoVecWalk w = { .left = len };

    w.i = find(v, &offset);
    w.offset = offset;
    return w;
}

static bool walk_next(const IoVec *v, IoVecWalk *w)
{
    w->done += w->n;
    w->left -= w->n;
    w->n = 0;
    for (; w->left && w->i < v->niov && !w->n; w->i++, w->offset = 0) {
        w->p = (char *)v->iov[w->i].iov_base + w->offset;
        w->n = MIN(w->left, v->iov[w->i].iov_len - w->offset);
    }
    return w->n > 0;
}

size_t any_fn iovec_to_buf(const IoVec *v, size_t offset, void *buf, size_t len)
{
    IoVecWalk w = walk_start(v, offset, len);

    while (walk_next(v, &w)) {
        memcpy((char *)buf + w.done, w.p, w.n);
    }
    return w.done;
}

size_t any_fn iovec_from_buf(const IoVec *v, size_t offset, const void *buf, size_t len)
{
    IoVecWalk w = walk_start(v, offset, len);

    while (walk_next(v, &w)) {
        memcpy(w.p, (const char *)buf + w.done, w.n);
    }
    return w.done;
}

size_t any_fn iovec_memset(const IoVec *v, size_t offset, int byte, size_t len)
{
    IoVecWalk w = walk_start(v, offset, len);

    while (walk_next(v, &w)) {
        memset(w.p, byte, w.n);
    }
    return w.done;
}

bool any_fn iovec_is_zero(const IoVec *v)
{
    for (int i = 0; i < v->niov; i++) {
        if (!buffer_is_zero(v->iov[i].iov_base, v->iov[i].iov_len)) {
            return false;
        }
    }
    return true;
}

bool any_fn buffer_is_zero(const void *buf, size_t len)
{
    const unsigned char *p = buf;
    static const unsigned char zeroes[64];
    size_t head = MIN(len, sizeof(zeroes));

    /* Data is mostly told by its ends or its middle, without reading the rest. */
    if (len == 0) {
        return true;
    }
    if (p[0] | p[len / 2] | p[len - 1]) {
        return false;
    }
    /* The head is zero and each byte equals the one @head bytes before it; memcmp() is the
     * fastest code for this that the machine has. */
    return memcmp(p, zeroes, head) == 0 && memcmp(p, p + head, len - head) == 0;
}

bool any_fn iovec_is_aligned(const IoVec *v, size_t align)
{
    for (int i = 0; i < v->niov; i++) {
        if ((uintptr_t)v->iov[i].iov_base % align || v->iov[i].iov_len % align) {
            return false;
        }
    }
    return true;
}
