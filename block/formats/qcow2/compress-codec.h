/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One cluster, compressed and back: buffers only, on any thread. */
#ifndef QCOW2_COMPRESS_CODEC_H
#define QCOW2_COMPRESS_CODEC_H

#include "qemu/context.h"
#include "qemu/osdep.h"

typedef enum Qcow2Compression {     /* as in the header */
    QCOW2_COMPRESSION_ZLIB,
    QCOW2_COMPRESSION_ZSTD,
} Qcow2Compression;

typedef struct Qcow2Codec {
    Qcow2Compression type;
    const uint8_t *in;
    size_t in_bytes;
    uint8_t *out;
    size_t out_bytes;               /* room; of the result, after compressing */
} Qcow2Codec;

/*
 * Make @out, of exactly @out_bytes, of the stream that begins at @in and ends in [@in, @in +
 * @in_bytes).  0 or -errno: -EIO for a damaged stream.  @opaque is a Qcow2Codec (for
 * thread_pool_co_run).
 */
int any_fn qcow2_inflate(void *opaque);

/* Compress all of @in; @out_bytes becomes the length.  -ENOSPC: it takes more than @out_bytes. */
int any_fn qcow2_deflate(void *opaque);

#endif
