#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""with-prefix.py PREFIX INPUT OUTPUT [NAME=VALUE...]

Copies a text that is installed - a manual page, a completion, a unit - with PREFIX in front of the names of this
project's programs and pages, and of the folders that have such a name; VALUE replaces @NAME@.
"""
import re
import sys

# In a manual page the hyphens are escaped, the title is in capitals, and a change of the font can be in front.
NAME = re.compile(r'(?:(?<![\w-])|(?<=\\f[A-Z]))(qemu(\\?)-(?:img|io|nbd|storage\\?-daemon|system\\?-x86_64|[hq]mp\\?-ref))(?!\w)', re.I)


def main():
    if len(sys.argv) < 4:
        sys.exit(__doc__.strip())
    prefix, source, target = sys.argv[1:4]

    def named(m):
        front = prefix.upper() if m[1].isupper() else prefix
        return (front.replace('-', '\\-') if m[2] else front) + m[1]

    with open(source) as f:
        text = f.read()
    if prefix:
        text = NAME.sub(named, text)
    for pair in sys.argv[4:]:
        name, _, value = pair.partition('=')
        text = text.replace('@%s@' % name, value)
    with open(target, 'w') as f:
        f.write(text)


main()
