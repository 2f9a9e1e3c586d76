#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Only programs print: libraries return errors, send events, or tell the operator by log_line()."""
import os
import re
import subprocess
import sys

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), '../..')
PROGRAMS = ('system/', 'tools/', 'tests/', 'scripts/')
PRINTS = re.compile(r'\b(printf|puts|putchar|perror|vprintf|g_print|g_printerr|g_message|g_warning|g_critical)\s*\(|'
                    r'\bstd(out|err)\b')
ALLOWED = {'util/error.c': 'error_abort, and error_report_err(), which is for programs'}


def main():
    if not os.path.exists(os.path.join(ROOT, '.git')):
        print('skipped: not a git checkout')
        sys.exit(77)
    found = []
    for name in subprocess.check_output(['git', 'ls-files', '*.c'], cwd=ROOT, text=True).split():
        if name.startswith(PROGRAMS) or name in ALLOWED:
            continue
        with open(os.path.join(ROOT, name)) as f:
            found += ['%s:%d: %s' % (name, n, line.strip()) for n, line in enumerate(f, 1) if PRINTS.search(line)]
    print('\n'.join(found))
    sys.exit(1 if found else 0)


main()
