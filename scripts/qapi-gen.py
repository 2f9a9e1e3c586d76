#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""
Generate C code and documentation from the QAPI schema.

    qapi-gen.py [-o DIR] [--docs DIR] [--fallbacks] SCHEMA HX

SCHEMA is the only description of the wire; HX binds each command to its handler and has an
example of it.  -o writes the C files, --docs the manual, --fallbacks handlers for tests.
"""

import argparse
import os
import sys

from qapi import clashes, gen_commands, gen_docs, gen_introspect, gen_types, gen_visit, hx
from qapi.schema import Schema
from qapi.source import QAPIError


def write(directory, name, text):
    """Only if it changes, so that what depends on it is not built again."""
    path = os.path.join(directory, name)
    try:
        with open(path, encoding='utf-8') as f:
            if f.read() == text:
                return
    except FileNotFoundError:
        pass
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, 'w', encoding='utf-8') as f:
        f.write(text)


def c_files(schema, stanzas):
    return {
        'qapi-types.h': gen_types.header(schema),
        'qapi-types.c': gen_types.source(schema),
        'qapi-parse.h': gen_visit.parse_header(schema),
        'qapi-parse.c': gen_visit.parse_source(schema),
        'qapi-format.h': gen_visit.format_header(schema),
        'qapi-format.c': gen_visit.format_source(schema),
        'qapi-commands.h': gen_commands.commands_header(schema, stanzas),
        'qapi-commands.c': gen_commands.commands_source(schema, stanzas),
        'qapi-events.h': gen_commands.events_header(schema),
        'qapi-events.c': gen_commands.events_source(schema),
        'qapi-introspect.c': gen_introspect.source(schema),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.strip().splitlines()[0])
    parser.add_argument('-o', metavar='DIR', help='write the C files there')
    parser.add_argument('--docs', metavar='DIR', help='write qmp-reference.md and man/ there')
    parser.add_argument('--fallbacks', metavar='FILE', help='write handlers for tests')
    parser.add_argument('schema')
    parser.add_argument('hx')
    args = parser.parse_args()
    try:
        schema = Schema(args.schema)
        stanzas = hx.read(args.hx)
        hx.check(stanzas, schema)
        clashes.check(schema, stanzas)
    except QAPIError as e:
        sys.exit(str(e))
    if args.o:
        for name, out in c_files(schema, stanzas).items():
            write(args.o, name, out.text())
    if args.fallbacks:
        write(os.path.dirname(args.fallbacks) or '.', os.path.basename(args.fallbacks),
              gen_commands.fallbacks(schema, stanzas).text())
    if args.docs:
        write(args.docs, 'qmp-reference.md', gen_docs.markdown(schema, stanzas))
        write(args.docs, 'man/qemu-qmp-ref.7', gen_docs.man(schema, stanzas))


if __name__ == '__main__':
    main()
