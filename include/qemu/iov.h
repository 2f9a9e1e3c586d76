/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Scatter/gather lists of memory. */
#ifndef QEMU_IOV_H
#define QEMU_IOV_H

#include "qemu/osdep.h"

/*
 * A list of buffers that are read or written as one.  The buffers are borrowed.
 * Small lists live inside the struct, so that one on the stack costs nothing.
 */
typedef struct IoVec {
    struct iovec *iov;
    int niov;
    int nalloc;                 /* 0: iov points to memory that is not ours */
    size_t size;                /* bytes, the sum of all iov_len */
    struct iovec inline_iov[4];
} IoVec;

/* Empty list; iovec_destroy() releases it. */
void any_fn iovec_init(IoVec *v);
/* One buffer. */
void any_fn iovec_init_buf(IoVec *v, void *buf, size_t len);
/* The part [@offset, @offset + @len) of @src, which must outlive @v unchanged. */
void any_fn iovec_init_slice(IoVec *v, const IoVec *src, size_t offset, size_t len);
void any_fn iovec_add(IoVec *v, void *buf, size_t len);
/* Appends the part [@offset, @offset + @len) of @src. */
void any_fn iovec_add_slice(IoVec *v, const IoVec *src, size_t offset, size_t len);
void any_fn iovec_destroy(IoVec *v);

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(IoVec, iovec_destroy)

/* All three return the bytes handled; a range past the end is cut. */
size_t any_fn iovec_to_buf(const IoVec *v, size_t offset, void *buf, size_t len);
size_t any_fn iovec_from_buf(const IoVec *v, size_t offset, const void *buf, size_t len);
size_t any_fn iovec_memset(const IoVec *v, size_t offset, int byte, size_t len);

/* All bytes of the list are zero. */
bool any_fn iovec_is_zero(const IoVec *v);
/* All bytes of @buf are zero. */
bool any_fn buffer_is_zero(const void *buf, size_t len);
/* Every buffer's address and length is a multiple of @align. */
bool any_fn iovec_is_aligned(const IoVec *v, size_t align);

#endif
