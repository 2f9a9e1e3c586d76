/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Numbers of a fixed byte order in memory of any alignment: what formats and protocols have on disk
 * and wire. */
#ifndef QEMU_BSWAP_H
#define QEMU_BSWAP_H

#include "qemu/osdep.h"

#define BSWAP_ACCESSORS(bits)                                               \
    static inline uint##bits##_t be##bits##_load(const void *p)             \
    {                                                                       \
        uint##bits##_t v;                                                   \
        memcpy(&v, p, sizeof(v));                                           \
        return GUINT##bits##_FROM_BE(v);                                    \
    }                                                                       \
    static inline uint##bits##_t le##bits##_load(const void *p)             \
    {                                                                       \
        uint##bits##_t v;                                                   \
        memcpy(&v, p, sizeof(v));                                           \
        return GUINT##bits##_FROM_LE(v);                                    \
    }                                                                       \
    static inline void be##bits##_store(void *p, uint##bits##_t v)          \
    {                                                                       \
        v = GUINT##bits##_TO_BE(v);                                         \
        memcpy(p, &v, sizeof(v));                                           \
    }                                                                       \
    static inline void le##bits##_store(void *p, uint##bits##_t v)          \
    {                                                                       \
        v = GUINT##bits##_TO_LE(v);                                         \
        memcpy(p, &v, sizeof(v));                                           \
    }

BSWAP_ACCESSORS(16)
BSWAP_ACCESSORS(32)
BSWAP_ACCESSORS(64)

#undef BSWAP_ACCESSORS

#endif
