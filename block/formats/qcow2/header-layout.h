/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef QCOW2_HEADER_LAYOUT_H
#define QCOW2_HEADER_LAYOUT_H

#include "qcow2.h"

typedef struct Qcow2HeaderEdit {
    unsigned version;               /* 2 or 3; 0: stays */
    const char *data_file;          /* another name in its extension, or "": none; NULL: stays */
} Qcow2HeaderEdit;

/* Lay the header out anew; durable on return.  -ENOSPC: it has no room for that.  Nobody uses the
 * image meanwhile. */
int co_fn qcow2_header_edit(BlockDriverState *bs, const Qcow2HeaderEdit *edit);

#endif
