#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Dependencies go down only: no object file uses a function of a floor above its own, none of block/ knows the
commands, the wire or the monitor, and no files use each other in a circle.

floors.py BUILD-DIR

What an object file needs and what another one defines is what the linker sees, so nothing is overlooked;
calls through pointers (a driver's functions, callbacks) are what floors below use to reach up.
"""
import collections
import glob
import os
import subprocess
import sys

# From the ground up.  Floors that stand side by side do not know each other.
FLOORS = [
    ['util'],
    ['block/io'],
    ['block/graph'],
    ['block/dirty-bitmap'],
    ['block/backend', 'block/protocols', 'block/formats', 'block/filters'],
    ['block'],                                  # hold.c, transaction.c: what all kinds of changes share
    ['block/actions', 'block/snapshot'],
    ['block/jobs'],
    ['nbd'],
    ['block/export'],
    ['blockdev', 'machine'],
    ['monitor'],
    ['hmp'],                                    # people's commands call QMP's
]
# A floor may use what stands beside it here.
BESIDE = {('block/snapshot', 'block/protocols')}


# A request to a node makes requests to the nodes below it, of whatever kind.
CIRCLES = [{'block/io/compress.c', 'block/io/write.c', 'block/io/zero.c'}]


def circles(uses):
    """The sets of files of which each reaches all the others.  @uses: file → files that it uses."""
    reach = {}
    for start in uses:
        seen, to_visit = set(), [start]
        while to_visit:
            for there in uses.get(to_visit.pop(), ()):
                if there not in seen:
                    seen.add(there)
                    to_visit.append(there)
        reach[start] = seen
    found = []
    for f in uses:
        circle = {g for g in reach[f] if f in reach.get(g, ())}
        if circle and circle not in found:
            found.append(circle)
    return found


def floor_of(source):
    """block/io/read.c is on block/io; block.c is the heart of block/graph, blockdev.c of blockdev."""
    if source in ('block.c', 'blockdev.c'):
        return {'block.c': 'block/graph', 'blockdev.c': 'blockdev'}[source]
    parts = source.split('/')
    if parts[0] == 'block':
        return '/'.join(parts[:2]) if len(parts) > 2 else 'block'
    return parts[0]


def sources(build):
    """Each object file of the libraries, with the name of its source."""
    for folder in ('block', 'blockdev', 'hmp', 'machine', 'monitor', 'nbd', 'util'):
        for obj in glob.glob('%s/%s/*.a.p/*.o' % (build, folder)) + \
                glob.glob('%s/%s/*.a.p/.*.o' % (build, folder)):
            name = os.path.basename(obj)[:-len('.o')]
            if name.startswith('meson-generated'):
                continue
            name = name.replace('.._', '../').replace('_', '/')
            yield obj, os.path.normpath(os.path.join(folder, name))


def main(build):
    level = {floor: i for i, floors in enumerate(FLOORS) for floor in floors}
    defined, needed = {}, collections.defaultdict(set)
    for obj, source in sources(build):
        for line in subprocess.check_output(['nm', obj], text=True).splitlines():
            kind, symbol = line.split()[-2:]
            if kind == 'U':
                needed[source].add(symbol)
            elif kind in 'TDBR':
                defined[symbol] = source
    assert len(needed) > 100, 'no object files in ' + build
    wrong, edges = [], set()
    for source, symbols in sorted(needed.items()):
        here = floor_of(source)
        for symbol in sorted(symbols):
            there = floor_of(defined.get(symbol, source))
            if there == here:
                continue
            edges.add((here, there))
            if level[there] >= level[here] and (here, there) not in BESIDE:
                wrong.append('%s uses %s() of %s' % (source, symbol, defined[symbol]))
    uses = {source: {defined[s] for s in symbols if s in defined} - {source} for source, symbols in needed.items()}
    for circle in circles(uses):
        if circle not in CIRCLES:
            wrong.append('use each other in a circle: ' + ', '.join(sorted(circle)))
    for line in wrong:
        print(line)
    print('%d files, %d dependencies between floors' % (len(needed), len(edges)))
    return 1 if wrong else 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1]))
