/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What both forms of option strings share. */
#ifndef KEYVAL_INTERNAL_H
#define KEYVAL_INTERNAL_H

#include "qobject/keyval.h"

/*
 * The next item of *@params, which moves behind it: up to a comma that is not doubled.  *@ret_key
 * is what is before `=`, or NULL if there is no `=`; *@ret_value the rest with commas made single.
 * Both are the caller's to free.
 */
void any_fn keyval_next_item(const char **params, char **ret_key, char **ret_value);

#endif
