#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""
completion.py PROGRAM...

bash completes the programs' options, commands and values: all that --help has, nothing that the program does not
take, also in a shell that somebody types in.
"""

import os
import pty
import re
import select
import shutil
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, '..', 'qmp'))
from rig import main, requires                                          # noqa: E402

requires('bash')
SCRIPT = os.environ.get('COMPLETION') or os.path.join(HERE, '../../contrib/completion/qemu-block.bash')
# By their plain names.
PROGRAMS = {re.sub('.*(?=qemu-)', '', os.path.basename(p)): os.path.abspath(p) for p in sys.argv[1:] if os.sep in p}
sys.argv[1:] = [a for a in sys.argv[1:] if os.sep not in a]
IMG, IO, NBD, QSD = (PROGRAMS.get(n) for n in ('qemu-img', 'qemu-io', 'qemu-nbd', 'qemu-storage-daemon'))
DRIVER = r'''
. "$SCRIPT"
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
complete -p "${1##*/}" >/dev/null || exit 1
function=$(complete -p "${1##*/}"); function=${function#*-F }; function=${function%% *}
"$function" "$1" "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
printf '%s\n' "${COMPREPLY[@]}"
'''


def complete(program, *words, cwd='/'):
    """What bash would offer in place of the last word."""
    r = subprocess.run(['bash', '--norc', '--noprofile', '-c', DRIVER, 'bash', program, *words], capture_output=True, text=True,
                       stdin=subprocess.DEVNULL, timeout=60, cwd=cwd, env=dict(os.environ, SCRIPT=SCRIPT))
    assert r.returncode == 0 and not r.stderr, r
    found = r.stdout.split('\n')[:-1]
    return [] if found == [''] else found


def said(program, *args):
    r = subprocess.run([program, *args], capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60)
    return r.stdout + r.stderr


def img_help():
    """Options of each command; one with several forms has those of all of them."""
    lines = said(IMG, '--help').partition('Command syntax:\n')[2].partition('\n\n')[0].splitlines()
    found = {}
    for line in lines:
        found.setdefault(line.split()[0], set()).update(re.findall(r'(?<![\w-])--?[A-Za-z][\w-]*', line))
    return found


def test_all_options_of_the_help_are_offered():
    commands = img_help()
    assert set(complete(IMG, '')) == set(commands) and len(commands) > 10
    for name, options in commands.items():
        assert set(complete(IMG, name, '-')) == options, name
    for program in PROGRAMS.values():
        lines = re.findall(r"^ +('?-.*?)(?:  |$)", said(program, '--help').partition('Command syntax')[0], re.M)
        options = {o for line in lines for o in re.findall(r'(?<![\w-])--?[A-Za-z][\w-]*', line)}
        assert len(options) > 4 and set(complete(program, '-')) == options, program
        long = max(options, key=len)
        assert complete(program, long[:-1]) == [long]


def wrong_values(program, before, option, values):
    """Those of which the program says that they are none."""
    return [v for v in values if re.search(r'nvalid|nknown|must be used|expecting',
                                           said(program, *before, option, v, '/nosuch/image', *(['1M'] if 'create' in before else [])))]


def test_values_are_those_that_the_program_takes():
    for command, option, at_least in (
            ('check', '-r', {'leaks', 'all'}), ('info', '--output', {'human', 'json'}), ('map', '--output', {'json'}),
            ('check', '-T', {'none', 'unsafe'}), ('commit', '-t', {'writeback', 'directsync'}),
            ('bench', '-i', {'native', 'threads', 'io_uring'}), ('resize', '--preallocation', {'off', 'full'}),
            ('info', '-f', {'raw', 'qcow2'}), ('create', '-f', {'raw', 'qcow2'}), ('convert', '-O', {'raw', 'qcow2'})):
        values = complete(IMG, command, option, '')
        assert at_least <= set(values), (command, option, values)
        assert wrong_values(IMG, [command], option, values) == [], (command, option)
        if option.startswith('--'):
            assert complete(IMG, command, option, '=', values[0][:2])[0] == values[0]
    for option in '--cache', '--aio', '--discard', '--detect-zeroes', '-f':
        values = complete(NBD, option, '')
        assert len(values) > 1 and wrong_values(NBD, [], option, values) == [], option
    for option, value in ('--sandbox', 'on'), ('--object', 'iothread'), ('--chardev', 'socket'):
        assert value in complete(QSD, option, '')
    assert {'qcow2', 'raw', 'file'} <= set(complete(QSD, '--blockdev', 'driver', '=', ''))
    assert complete(QSD, '--export', 'type', '=', 'n') == ['nbd']


def test_options_of_formats_are_offered():
    listed = set(re.findall(r'^  (\w+=)', said(IMG, 'create', '-f', 'qcow2', '-o', 'help', '/nosuch'), re.M))
    assert len(listed) > 10 and set(complete(IMG, 'create', '-f', 'qcow2', '-o', '')) == listed
    assert set(complete(IMG, 'convert', '-O', 'qcow2', '-o', '')) == listed
    assert complete(IMG, 'create', '-f', 'qcow2', '-o', 'compat', '=', '1.1,clu') == ['1.1,cluster_size=']
    assert complete(IMG, 'create', '-f', 'qcow2', '-o', 'compression_type', '=', 'zs') == ['zstd']
    assert 'cluster_size=' not in complete(IMG, 'create', '-f', 'raw', '-o', '')


def test_files_are_offered_where_they_are_meant():
    with tempfile.TemporaryDirectory() as d:
        for name in 'disk one.qcow2', 'disk.raw':
            with open(os.path.join(d, name), 'w'):
                pass
        both = {'disk one.qcow2', 'disk.raw'}
        for words in (['info'], ['info', '-U'], ['check', '-r', 'all'], ['rebase', '-b'], ['compare', 'disk.raw'],
                      ['convert', '-f', 'raw', '-O', 'qcow2'], ['dd', 'if', '='], ['bench', '-n']):
            assert set(complete(IMG, *words, 'di', cwd=d)) == both, words
        assert set(complete(NBD, '-t', 'di', cwd=d)) == both
        for words in ['bench', '-c'], ['convert', '-S'], ['bench', '--pattern', '='], ['dd', 'bs', '=']:
            assert complete(IMG, *words, 'di', cwd=d) == [], words


def test_commands_of_qemu_io_are_offered():
    if not IO:
        return
    offered = complete(IO, '-c', '')
    assert {'read', 'write', 'aio_read', 'map', 'quit'} <= set(offered), offered
    assert set(offered) == set(re.findall(r'^([a-z_]+) .*-- ', said(IO, '-c', 'help'), re.M))


def test_the_key_works_in_a_shell():
    """As somebody types it, with the program on the PATH."""
    name = os.path.basename(IMG)
    pid, fd = pty.fork()
    if pid == 0:
        os.environ.update(PATH=os.path.dirname(IMG) + ':' + os.environ['PATH'], PS1='$ ', TERM='dumb', INPUTRC='/dev/null')
        os.execvp('bash', ['bash', '--norc', '--noprofile', '-i'])
    try:
        os.write(fd, b". '%s'\n%s conv\t--target-is\t\nexit\n" % (os.fsencode(SCRIPT), os.fsencode(name)))
        text, end = '', time.monotonic() + 30
        while 'Must specify' not in text and time.monotonic() < end:
            if select.select([fd], [], [], 1)[0]:
                text += os.read(fd, 4096).decode(errors='replace')
        assert name + ' convert --target-is-zero ' in text.replace('\a', ''), text
        assert 'Must specify image file name' in text, text
    finally:
        os.close(fd)
        os.waitpid(pid, 0)


if not shutil.which('bash') or not IMG:
    sys.exit('completion.py: which programs?')
main(globals())
