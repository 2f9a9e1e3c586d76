/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Between the files of the human monitor. */
#ifndef MONITOR_HMP_INTERNAL_H
#define MONITOR_HMP_INTERNAL_H

#include "monitor/hmp.h"

/*
 * The arguments that @text has for @cmd.  NULL: what is wrong with them is in @out.  Caller frees
 * with hmp_args_free().
 */
HmpArgs *any_fn hmp_args_parse(const HmpCommand *cmd, const char *text, GString *out);
void any_fn hmp_args_free(HmpArgs *args);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(HmpArgs, hmp_args_free)

/* The value of the expression at *@p, behind which *@p stands then.  False: see @out. */
bool any_fn hmp_expression(const char **p, int64_t *ret, GString *out);

#endif
