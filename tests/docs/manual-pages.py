#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""
manual-pages.py PROGRAM...

The manual page of each program has the options that --help of it has, and no other; of qemu-img, those of each
command, with every letter that the command takes, and examples that work; and no page has a line that man
complains about.
"""

import os
import re
import string
import subprocess
import sys
import tempfile

TOP = os.path.join(os.path.dirname(os.path.abspath(__file__)), '../..')
# Taken by commands whose help, as that of QEMU's program, does not say so.
QUIETLY = {'--object', '--image-opts', '-U'}
OPTION = re.compile(r'(?<![\w-])--?[A-Za-z][\w-]*')


def run(*args):
    return subprocess.run(args, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)


def page_of(program):
    for section in '18':
        path = os.path.join(TOP, 'docs', 'man', '%s.%s' % (os.path.basename(program), section))
        if os.path.exists(path):
            return path
    sys.exit('%s has no manual page' % program)


def plain(path):
    """The source of a page, without what is for looks."""
    with open(path) as f:
        return re.sub(r'\\f.|"', '', f.read().replace('\\-', '-'))


def entries(text):
    """The options of each entry, which is the line after .TP or .TQ; those of one entry mean the same."""
    tags = re.findall(r'^\.T[PQ].*\n(.*)$', text, re.M)
    return [set(OPTION.findall(re.sub(r'^\.[A-Z]+ ', '', tag))) for tag in tags]


def part(text, head, title):
    """What stands below the heading @title, up to the next of its kind or a larger one."""
    ends = r'\.SH' if head == '.SH' else r'\.S[HS]'
    found = re.search(r'^%s %s\n(.*?)(?=^%s|\Z)' % (re.escape(head), re.escape(title), ends), text, re.M | re.S)
    assert found, 'no %s %s' % (head, title)
    return found[1]


def help_of(program):
    r = run(program, '--help')
    assert r.returncode == 0 and not r.stderr, r
    return r.stdout


def in_left_column(text):
    """Options that a line begins with, after blanks."""
    lines = re.findall(r"^ +('?-.*?)(?:  |$)", text, re.M)
    return {o for line in lines for o in OPTION.findall(line)}


def check_whole(program):
    listed = in_left_column(help_of(program))
    described = set().union(*entries(part(plain(page_of(program)), '.SH', 'OPTIONS')))
    assert len(listed) > 10
    assert listed == described, (program, listed ^ described)


# ---- a program with commands ----

def commands(text):
    """Of each, by name: its options, and in how many forms it is there; the next word of each says which."""
    lines = text.partition('Command syntax:\n')[2].partition('\n\n')[0].splitlines()
    found = {}
    for line in lines:
        options, forms = found.setdefault(line.split()[0], (set(), []))
        options |= set(OPTION.findall(line))
        forms.append(line.split()[1])
    assert len(found) > 10
    return found


def takes(program, command, option):
    return any('unrecognized option' not in run(program, *form, option, 'x').stderr for form in command)


def check_command(program, name, forms, listed, text):
    command = [(name, form) for form in forms] if len(forms) > 1 else [(name,)]
    described = entries(text)
    for options in described:
        # Beside the name that the help has, the page may have others.
        assert not options or options & (listed | QUIETLY), (name, options)
        assert all(takes(program, command, o) for o in options), (name, options)
    known = set().union(*described)
    assert listed <= known, (name, listed - known)
    letters = {'-' + c for c in string.ascii_letters if c != 'h' and takes(program, command, '-' + c)}
    assert letters <= known, (name, letters - known)


def check_commands(program):
    text, page = help_of(program), plain(page_of(program))
    standard = set().union(*entries(part(page, '.SH', 'STANDARD OPTIONS')))
    assert standard == in_left_column(text.partition('Command syntax')[0]), standard
    listed = commands(text)
    described = set(re.findall(r'^\.SS (\w+)$', part(page, '.SH', 'COMMANDS'), re.M))
    assert described == set(listed), described ^ set(listed)
    for name, (options, forms) in listed.items():
        check_command(program, name, forms, options, part(page, '.SS', name))


def check_examples(program):
    """Those that need no server, one after the other."""
    blocks = re.findall(r'^\.nf\n(.*?)^\.fi', part(plain(page_of(program)), '.SH', 'EXAMPLES'), re.M | re.S)
    lines = [line for block in blocks for line in block.splitlines() if '://' not in line]
    assert len(lines) > 6
    # The check in a script is of an image that is not made before.
    lines.insert(0, 'qemu-img create -q -f qcow2 disk.qcow2 1M')
    with tempfile.TemporaryDirectory() as d:
        r = subprocess.run(['sh', '-ec', '\n'.join(lines)], cwd=d, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                           timeout=60, env=dict(os.environ, PATH=os.path.dirname(os.path.abspath(program)) + ':' + os.environ['PATH']))
    assert r.returncode == 0 and 'Images are identical.' in r.stdout, r


def check_looks(path):
    r = run('man', '--warnings', '-E', 'UTF-8', '-l', path)
    assert r.returncode == 0 and not r.stderr, (path, r.stderr)


def main():
    for program in sys.argv[1:]:
        if 'Command syntax:' in help_of(program):
            check_commands(program)
            check_examples(program)
        else:
            check_whole(program)
        check_looks(page_of(program))
        print(os.path.basename(program))


main()
