/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * QEMU_DEBUG_CHECKS is 1 in builds with buildtype=debug or a sanitizer, else 0: there, invariants
 * are checked that are too much work for an assert() that everybody runs.
 *
 *     if (QEMU_DEBUG_CHECKS) {
 *         thing_assert_order(thing);
 *     }
 *
 * As with every assert, what a file, a guest or a client can influence is no matter for such a
 * check.
 */
#ifndef QEMU_DEBUG_CHECKS_H
#define QEMU_DEBUG_CHECKS_H

#include "config-host.h"

#endif
