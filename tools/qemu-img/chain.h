/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Pictures of chains, and how commands ask for pictures. */
#ifndef IMG_CHAIN_H
#define IMG_CHAIN_H

#include "img.h"

/* As img_output_arg(), of a command that draws; @dot: Graphviz text as well.  Without what pictures
 * need, asking for one ends the program. */
ImgOutput img_output_or_picture_arg(const char *arg, bool dot);
/* The first argument behind the options, a file that a picture may go to; the others are left. */
const char *co_main_fn img_picture_arg(int argc, char **argv);

/* Draw the chain @list, of what img_collect_info() knows, to the file @filename. */
bool co_main_fn img_chain_draw(const QList *list, const char *filename, Error **errp);
/* Lists of that kind as one graph, to standard output; an image that several have is there once. */
void any_fn img_chain_print_dot(QList *const *lists, size_t n);

#endif
