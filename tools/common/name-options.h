/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Options of an image beside its name, as nested dicts with text in them. */
#ifndef TOOLS_NAME_OPTIONS_H
#define TOOLS_NAME_OPTIONS_H

#include "block/blockdev.h"
#include "qobject/qobject.h"

/* What @options (key=value,...) and @name (NULL: none) describe together; the options win.  Caller
 * unrefs. */
QDict *co_main_fn name_options(const char *options, const char *name, Error **errp);
/* The same for options in @dict: what @name stands for is added to them. */
bool co_main_fn add_name_options(QDict *dict, const char *name, Error **errp);
/* Options of a backing file that leave open which one get the one that the image records. */
bool co_main_fn complete_backing(QDict *dict, Error **errp);
/* Says what is wrong with options as scripts know it: one that the format @format has not, or (NULL)
 * that cannot be changed; a value that is none. */
void any_fn say_of_options(Error **errp, const char *format);
/* The same for options of nodes below the one that @dict describes, and for a backing file where none
 * can be. */
void any_fn say_of_nested_options(Error **errp, const QDict *dict);
/* Adds what @less has and @dict has not, also of what is inside of them. */
void any_fn join_options(QDict *dict, const QDict *less);

#endif
