/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The words of the block layer; see docs/design/graph.md for the picture. */
#ifndef BLOCK_TYPES_H
#define BLOCK_TYPES_H

#include "qemu/limits.h"

typedef struct BlockBackend BlockBackend;           /* a backend: what a user holds */
typedef struct BlockDriverState BlockDriverState;   /* a node: an opened image */
typedef struct BlockDriver BlockDriver;             /* what an image format or protocol can do */
typedef struct BdrvLink BdrvLink;                   /* an edge: a user's hold on a node */
typedef struct BdrvLinkRole BdrvLinkRole;           /* what links of one kind have in common */
typedef struct BdrvOpenOptions BdrvOpenOptions;     /* how to open a node */
typedef struct BdrvCreateOptions BdrvCreateOptions; /* how to lay out a new image */

/* What a link needs of its node, and what it lets the node's other users do. */
typedef enum BdrvClaim {
    CLAIM_READ       = 1 << 0,  /* read data that is consistent */
    CLAIM_WRITE      = 1 << 1,  /* write anything */
    CLAIM_WRITE_SAME = 1 << 2,  /* write what already reads back */
    CLAIM_RESIZE     = 1 << 3,
    CLAIM_PIVOT      = 1 << 4,  /* put another node in this one's place */
} BdrvClaim;

#define CLAIM_NONE 0u
#define CLAIM_ALL  31u

/* Request flags of the data path. */
typedef enum BdrvReqFlags {
    BDRV_REQ_FUA         = 1 << 0,  /* durable on return */
    BDRV_REQ_MAY_UNMAP   = 1 << 1,  /* write_zeroes may deallocate */
    BDRV_REQ_NO_FALLBACK = 1 << 2,  /* write_zeroes: -ENOTSUP rather than writing buffers */
    /* Writes: store it compressed, whole units of BdrvLimits.compress_unit at a time.  -ENOTSUP
     * from a node that has none; what does not get smaller is stored as it is. */
    BDRV_REQ_WRITE_COMPRESSED = 1 << 3,
} BdrvReqFlags;

typedef enum BdrvDetectZeroes {
    BDRV_DETECT_ZEROES_OFF,
    BDRV_DETECT_ZEROES_ON,
    BDRV_DETECT_ZEROES_UNMAP,
} BdrvDetectZeroes;

#endif
