# SPDX-License-Identifier: GPL-2.0-or-later
"""
Conditions: whether a part of the schema is built.

A condition is the name of a symbol of config-host.h, which is 0 or 1, or { 'all': [ ... ] },
{ 'any': [ ... ] } or { 'not': ... } of conditions.  The compiler decides, so generated files and
the manual are the same in every build.
"""

import re

from .source import QAPIError


class Cond:
    """Holds if all its @parts do, which are expressions of C.  False in python if there are none."""

    def __init__(self, parts=()):
        self.parts = tuple(dict.fromkeys(parts))

    def __bool__(self):
        return bool(self.parts)

    def __eq__(self, other):
        return set(self.parts) == set(other.parts)

    def __and__(self, other):
        return Cond(self.parts + other.parts)

    def implies(self, other):
        return set(other.parts) <= set(self.parts)

    def negated(self):
        c = self.c()
        return Cond(['!' + (c if re.fullmatch(r'\w+', c) else '(%s)' % c)])

    def c(self):
        return ' && '.join(self.parts) or '1'

    def text(self):
        """For the manual."""
        text = self.c().replace(' && ', ' and ').replace(' || ', ' or ').replace('!', 'not ')
        return re.sub(r'CONFIG_\w+', lambda m: '`%s`' % m.group(), text)


ALWAYS = Cond()


def any_of(conds):
    """Holds if one of @conds does."""
    conds = list(dict.fromkeys(c.c() for c in conds))
    if '1' in conds:
        return ALWAYS
    return Cond([conds[0] if len(conds) == 1 else
                 '(%s)' % ' || '.join('(%s)' % c if ' && ' in c else c for c in conds)])


def parse(expr, where):
    if expr is None:
        return ALWAYS
    if isinstance(expr, str) and re.fullmatch('CONFIG_[A-Z0-9_]+', expr):
        return Cond([expr])
    if isinstance(expr, dict) and len(expr) == 1:
        (key, value), = expr.items()
        if key == 'not':
            return parse(value, where).negated()
        if key in ('all', 'any') and isinstance(value, list) and value:
            parts = [parse(v, where) for v in value]
            return any_of(parts) if key == 'any' else Cond(p for c in parts for p in c.parts)
    raise QAPIError(where, "'if' is the name of a CONFIG_ symbol, or all, any or not of others; "
                           'found %r' % (expr,))
