/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a quorum node tells its operator. */
#ifndef BLOCK_QUORUM_H
#define BLOCK_QUORUM_H

#include "qemu/context.h"
#include "qemu/osdep.h"

typedef enum QuorumOp { QUORUM_OP_READ, QUORUM_OP_WRITE, QUORUM_OP_FLUSH } QuorumOp;

/* A child was outvoted or failed, or no quorum was reached.  Strings are valid during the call. */
typedef struct QuorumReport {
    bool failure;                   /* no quorum; else it is about one child */
    const char *node_name;          /* of the quorum node / of the child */
    QuorumOp op;                    /* of the child */
    const char *error;              /* of the child; NULL: it has other data than the others */
    int64_t sector, sectors;        /* of 512 bytes */
} QuorumReport;

/* Called on the main thread; of each child, and of failures of each node, at most once a second. */
void main_fn quorum_set_report_cb(void (*cb)(const QuorumReport *report));

#endif
