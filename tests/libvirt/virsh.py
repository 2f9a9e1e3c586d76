# SPDX-License-Identifier: GPL-2.0-or-later
"""
A virsh that stays, since starting one takes longer than most of what it is asked to do.

Where it does not write to a terminal its output is a prompt, the line that it was given, and what comes of it; so a line
begins and ends with an `echo` of words that are spelled in another way in the line itself.
"""

import os
import select
import subprocess
import time


def quoted(word):
    return "'%s'" % word.replace("'", "'\\''")


class Virsh:
    def __init__(self, env):
        self.proc = subprocess.Popen(['virsh', '-q'], env=dict(env, TERM='dumb'), stdin=subprocess.PIPE,
                                     stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.count = 0
        self.output = b''

    def close(self):
        self.proc.kill()
        self.proc.communicate()

    def run(self, args, limit):
        """Whether it succeeded, and what it wrote; TimeoutError."""
        self.count += 1
        begin, end = b'BEGIN%d:' % self.count, b':END%d' % self.count
        line = "echo --str BE''GIN%d: ; %s ; echo --str :E''ND%d\n" % (
            self.count, ' '.join(quoted(a) for a in args), self.count)
        self.output = b''
        self.proc.stdin.write(line.encode())
        self.proc.stdin.flush()
        deadline = time.monotonic() + limit
        while end not in self.output:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self.proc.stdout], [], [], left)[0]:
                raise TimeoutError
            data = os.read(self.proc.stdout.fileno(), 1 << 16)
            if not data:
                raise AssertionError('virsh has ended: %r' % self.output)
            self.output += data
        text = self.output.partition(begin)[2].partition(end)[0].decode(errors='replace')
        return not any(part.startswith('error:') for part in text.splitlines()), text.strip()
