/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Between info.c and info-text.c; and for who wants to know of a chain. */
#ifndef IMG_INFO_H
#define IMG_INFO_H

#include "img.h"

/*
 * What is known of @image and, if @chain, of what lies below, each as `qemu-img info --output=json`
 * shows it.  NULL: it was said why not.
 */
QList *co_main_fn img_collect_info(const ToolImage *image, bool chain);
/* For people. */
void any_fn img_print_info(const QList *list);

#endif
