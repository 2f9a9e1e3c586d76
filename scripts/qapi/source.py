# SPDX-License-Identifier: GPL-2.0-or-later
"""Reading schema files: tokens, expressions and doc comments, with their positions."""

import os
import re


class QAPIError(Exception):
    """A mistake in the schema: says where it is and what it is."""

    def __init__(self, where, text):
        super().__init__('%s: %s' % (where, text))


class Doc:
    """A doc comment: of a definition (name is set) or free text for the manual."""

    def __init__(self, where):
        self.where = where
        self.name = None
        self.body = []          # lines
        self.members = {}       # name -> lines
        self.features = {}      # name -> lines
        self.sections = {}      # 'Returns', 'Errors', 'Since' -> lines

    def text(self):
        return _tidy(self.body)

    def section(self, name):
        return _tidy(self.sections.get(name, []))

    def member(self, name):
        return _tidy(self.members.get(name, []))

    def feature(self, name):
        return _tidy(self.features.get(name, []))


def _tidy(lines):
    return '\n'.join(line.strip() for line in lines).strip()


_TOKEN = re.compile(r"""
    (?P<space>[ \t\r]+) | (?P<newline>\n) | (?P<doc>\#\#[^\n]*) | (?P<comment>\#[^\n]*)
  | (?P<string>'[^'\n]*') | (?P<word>true|false) | (?P<punct>[{}\[\]:,])
""", re.VERBOSE)

_SECTION = re.compile(r'(Returns|Errors|Since):\s*(.*)$')


class SourceFile:
    """One schema file and what it includes, as a flat list of (expression, doc, where)."""

    def __init__(self, path, seen=None):
        self.path = path
        self.seen = seen if seen is not None else set()
        self.seen.add(os.path.abspath(path))
        self.items = []
        with open(path, encoding='utf-8') as f:
            self.text = f.read()
        self.pos = 0
        self.line = 1
        self._next()
        self._read_all()

    def where(self):
        return '%s:%d' % (self.path, self.line)

    def _next(self):
        """Advance to the next token: kind and text; kind 'end' at the end."""
        while self.pos < len(self.text):
            m = _TOKEN.match(self.text, self.pos)
            if not m:
                raise QAPIError(self.where(), 'stray %r' % self.text[self.pos])
            self.pos = m.end()
            if m.lastgroup == 'newline':
                self.line += 1
            elif m.lastgroup not in ('space', 'comment'):
                self.kind, self.token = m.lastgroup, m.group()
                return
        self.kind, self.token = 'end', ''

    def _expect(self, token):
        if self.token != token:
            raise QAPIError(self.where(), 'expected %r, found %r' % (token, self.token))
        self._next()

    def _value(self):
        kind, token = self.kind, self.token
        if kind == 'string':
            self._next()
            return token[1:-1]
        if kind == 'word':
            self._next()
            return token == 'true'
        if token == '[':
            return self._list()
        if token == '{':
            return self._dict()
        raise QAPIError(self.where(), 'expected a value, found %r' % token)

    def _list(self):
        self._expect('[')
        values = []
        while self.token != ']':
            if values:
                self._expect(',')
            values.append(self._value())
        self._expect(']')
        return values

    def _dict(self):
        self._expect('{')
        values = {}
        while self.token != '}':
            if values:
                self._expect(',')
            if self.kind != 'string':
                raise QAPIError(self.where(), 'expected a name, found %r' % self.token)
            key = self.token[1:-1]
            self._next()
            self._expect(':')
            if key in values:
                raise QAPIError(self.where(), 'duplicate %r' % key)
            values[key] = self._value()
        self._expect('}')
        return values

    def _read_all(self):
        doc = None
        while self.kind != 'end':
            if self.kind == 'doc':
                if doc and doc.name:
                    raise QAPIError(doc.where, 'doc comment without a definition')
                doc = self._doc()
                if not doc.name:
                    self.items.append((None, doc, doc.where))
                    doc = None
                continue
            where = self.where()
            expr = self._dict()
            if 'include' in expr:
                if doc:
                    raise QAPIError(doc.where, 'doc comment without a definition')
                self._include(expr['include'], where)
                continue
            self.items.append((expr, doc, where))
            doc = None

    def _include(self, name, where):
        path = os.path.join(os.path.dirname(self.path), str(name))
        if not os.path.isfile(path):
            raise QAPIError(where, 'there is no file %s to include' % path)
        if os.path.abspath(path) not in self.seen:
            self.items.extend(SourceFile(path, self.seen).items)

    def _doc(self):
        """From the token `##` up to the next line that is `##`."""
        doc = Doc(self.where())
        lines = []
        end = self.text.find('\n', self.pos) + 1
        while True:
            stop = self.text.find('\n', end)
            if stop < 0:
                raise QAPIError(doc.where, 'doc comment does not end')
            line = self.text[end:stop]
            end = stop + 1
            self.line += 1
            if line.strip() == '##':
                break
            if not line.startswith('#'):
                raise QAPIError(self.where(), 'line of a doc comment without #')
            lines.append(line[1:])
        self.line += 1
        self.pos = end
        _fill_doc(doc, lines)
        self._next()
        return doc


def _fill_doc(doc, lines):
    """Sort the lines of a doc comment into its parts."""
    first = next((line.strip() for line in lines if line.strip()), '')
    named = re.match(r'@([^: ]+):$', first)
    if not named:
        doc.body = lines
        return
    doc.name = named.group(1)
    lines = lines[[line.strip() for line in lines].index(first) + 1:]
    part, table = doc.body, doc.members
    for line in lines:
        text = line.strip()
        member = re.match(r'@([^: ]+):\s*(.*)$', text)
        section = _SECTION.match(text)
        if member:
            if member.group(1) in table:
                raise QAPIError(doc.where, '@%s is documented twice' % member.group(1))
            part = table[member.group(1)] = [member.group(2)]
        elif text == 'Features:':
            table = doc.features
        elif section:
            part = doc.sections[section.group(1)] = [section.group(2)]
        else:
            part.append(line)
