/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Options as they stand on a command line: `key=value,other.key=value`. */
#ifndef QOBJECT_KEYVAL_H
#define QOBJECT_KEYVAL_H

#include "qapi/error.h"
#include "qobject/qobject.h"

/*
 * `a.b=c,d=e` as nested dicts with strings as leaves.  A comma in a value is written twice.
 * Dicts whose keys are all numbers 0..n-1 become lists.  A first item without `=` is the
 * value of @implied_key (NULL: none).  An empty string is an empty dict.
 * If @ret_help is not NULL, `help` or `?` alone as an item is taken out and sets *@ret_help.
 */
QDict *any_fn keyval_parse(const char *params, const char *implied_key, bool *ret_help,
                           Error **errp);

/*
 * Either of the two forms an option may have: JSON if it begins with `{`, else keyval.
 * *@ret_is_json says which: parse the result with FOO_parse() or FOO_parse_keyval().
 */
QDict *any_fn keyval_parse_or_json(const char *params, const char *implied_key,
                                   bool *ret_is_json, Error **errp);

/*
 * JSON by the rules of keyval: keys may have dots, and numbers and switches may be text.  `null`
 * stays. Parse the result with FOO_parse_keyval().
 */
QDict *any_fn keyval_from_json(const QDict *json, Error **errp);

/*
 * The older, flat form (-drive): keys are not split at dots, `key` alone means `key=on`, `nokey`
 * alone `key=off`.  The last of several values of a key counts.
 */
QDict *any_fn keyval_parse_flat(const char *params, const char *implied_key, Error **errp);

/* `4096`, `64k`, `1.5G` (powers of 1024; b k M G T P E, either case), `0x1000`: bytes. */
bool any_fn keyval_parse_size(const char *str, uint64_t *ret, Error **errp);

/* on, yes, true, y / off, no, false, n. */
bool any_fn keyval_parse_bool(const char *str, bool *ret);

#endif
