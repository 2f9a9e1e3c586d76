#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""
The generator refuses a schema with a mistake, and says where it is.  Each case is a schema and a
part of the message; the message begins with the file and the line.  And what is conditional is
there exactly when its condition holds.  The arguments are the C compiler.
"""

import glob
import json
import os
import re
import subprocess
import sys
import tempfile

SOURCE = os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', '..')
GENERATOR = os.path.join(SOURCE, 'scripts', 'qapi-gen.py')
GLIB = subprocess.run(['pkg-config', '--cflags', 'glib-2.0'], capture_output=True, text=True,
                      check=True).stdout.split()


def doc(name, *members):
    return '##\n# @%s:\n#\n# Text.\n#\n%s#\n# Since: 0.1\n##\n' % (
        name, ''.join('# @%s: text\n' % m for m in members))


CASES = [
    ("{ 'struct': 'S', 'data': {} }", 'has no doc comment'),
    (doc('T') + "{ 'struct': 'S', 'data': {} }", 'has no doc comment of its own'),
    (doc('S') + "{ 'struct': 'S', 'data': { 'a': 'int' } }", '@a is not documented'),
    (doc('S', 'a', 'b') + "{ 'struct': 'S', 'data': { 'a': 'int' } }", 'S has no @b'),
    (doc('S', 'a') + "{ 'struct': 'S', 'data': { 'a': 'nosuch' } }", "unknown type 'nosuch'"),
    (doc('S', 'A') + "{ 'struct': 'S', 'data': { 'A': 'int' } }", "bad member name 'A'"),
    (doc('S') + "{ 'struct': 'S', 'data': {}, 'x': 'y' }", 'unknown x'),
    (doc('S') + "{ 'struct': 'S', 'data': {} }" + doc('S') + "{ 'struct': 'S', 'data': {} }",
     'defined twice'),
    (doc('S', 'a') + "{ 'struct': 'S', 'data': { 'a': 'int', 'a': 'int' } }", "duplicate 'a'"),
    (doc('E', 'a') + "{ 'enum': 'E', 'data': [ 'a', 'a' ] }", 'has a value twice'),
    (doc('S') + "{ 'struct': 'S', 'data': { }", "expected ','"),
    (doc('S') + "{ 'struct': 'S', 'data': ? }", "stray '?'"),
    ("##\n# @S:\n", 'without #'),
    ("##\n# @S:", 'does not end'),
    (doc('A', 'a', 'b') + "{ 'alternate': 'A', 'data': { 'a': 'int', 'b': 'size' } }",
     'cannot be told apart'),
    (doc('U') + "{ 'union': 'U', 'base': {}, 'discriminator': 'd', 'data': {} }",
     'bad discriminator'),
    (doc('c') + "{ 'command': 'c' }", 'no stanza for c'),
    ("{ 'include': 'nosuch.json' }", 'no file'),
]



def defs(*definitions):
    """Each is its text; the doc comment is made of the names in it."""
    text = ''
    for d in definitions:
        name = re.search(r"'(?:enum|struct|union|alternate|command|event)': '([^']*)'", d).group(1)
        # What is documented: the values of an enum, else the members of data and of an inline base.
        if "'enum'" in d:
            members = re.findall(r"'([^']*)'", re.search(r'\[(.*?)\]', d).group(1))
        elif "'union'" in d:
            inline = re.search(r"'base': \{(.*?)\}", d)
            members = re.findall(r"'\*?([^']*)':", inline.group(1)) if inline else []
        else:
            inline = re.search(r"'data': \{(.*?)\}", d)
            members = re.findall(r"'\*?([^']*)':", inline.group(1)) if inline else []
        text += doc(name, *members) + d + '\n'
    return text


# The last definition is the mistake, unless a number of lines is given; with C names that clash,
# both are named.
CLASHES = [
    # Members.
    (["{ 'struct': 'S', 'data': { 'a-b': 'int', 'a_b': 'int' } }"], 'would both be a_b in C'),
    (["{ 'struct': 'S', 'data': { '*x': 'int', 'has-x': 'bool' } }"], 'would both be has_x in C'),
    (["{ 'struct': 'S', 'data': { 'has_x': 'bool', '*x': 'str' } }"], 'would both be has_x in C'),
    (["{ 'struct': 'S', 'data': { '*errno': 'int', 'has-errno': 'bool' } }"], 'both be has_errno'),
    (["{ 'struct': 'S', 'data': { 'int': 'int', 'q_int': 'int' } }"], 'would both be q_int in C'),
    (["{ 'struct': 'B', 'data': { 'a-b': 'int' } }",
      "{ 'struct': 'S', 'base': 'B', 'data': { 'a_b': 'int' } }"], 'would both be a_b in C'),
    (["{ 'struct': 'B', 'data': { 'a': 'int' } }",
      "{ 'struct': 'S', 'base': 'B', 'data': { '*a': 'int' } }"], 'has a member twice'),
    (["{ 'command': 'c', 'data': { 'a-b': 'int', 'a_b': 'int' } }"], 'would both be a_b in C'),
    (["{ 'event': 'E', 'data': { 'a-b': 'int', 'a_b': 'int' } }"], 'would both be a_b in C'),
    # Unions and alternates.
    (["{ 'enum': 'K', 'data': [ 'x' ] }", "{ 'struct': 'B', 'data': {} }",
      "{ 'union': 'U', 'base': { 'k': 'K', 'u': 'int' }, 'discriminator': 'k',"
      " 'data': { 'x': 'B' } }"], 'would both be u in C'),
    (["{ 'enum': 'K', 'data': [ 'x' ] }",
      "{ 'union': 'U', 'base': { 'k': 'K' }, 'discriminator': 'k', 'data': { 'x': 'int' } }"],
     'the branch x is of type int'),
    (["{ 'enum': 'K', 'data': [ 'x' ] }",
      "{ 'union': 'U', 'base': { 'k': 'K' }, 'discriminator': 'k', 'data': { 'x': 'K' } }"],
     'the branch x is of type K'),
    (["{ 'enum': 'K', 'data': [ 'x' ] }", "{ 'struct': 'B', 'data': { 'k': 'int' } }",
      "{ 'union': 'U', 'base': { 'k': 'K' }, 'discriminator': 'k', 'data': { 'x': 'B' } }"],
     'k is in base and branch'),
    (["{ 'enum': 'K', 'data': [ 'x' ] }", "{ 'struct': 'B', 'data': { 'k': 'int' } }",
      "{ 'union': 'N', 'base': { 'l': 'K' }, 'discriminator': 'l', 'data': { 'x': 'B' } }",
      "{ 'union': 'U', 'base': { 'k': 'K' }, 'discriminator': 'k', 'data': { 'x': 'N' } }"],
     'k is in base and branch'),
    (["{ 'alternate': 'A', 'data': { 'a-b': 'int', 'a_b': 'str' } }"], 'would both be a_b in C'),
    (["{ 'alternate': 'A', 'data': { '*a': 'int' } }"], 'none is optional'),
    # Circles.
    (["{ 'struct': 'S', 'base': 'S', 'data': {} }"], 'S is a part of itself: S has S'),
    (["{ 'struct': 'S', 'base': 'T', 'data': {} }", "{ 'struct': 'T', 'base': 'S', 'data': {} }"],
     'S has T has S', 0),
    (["{ 'enum': 'K', 'data': [ 'x' ] }",
      "{ 'union': 'U', 'base': { 'k': 'K' }, 'discriminator': 'k', 'data': { 'x': 'U' } }"],
     'U is a part of itself'),
    # Bases and arguments.
    (["{ 'enum': 'K', 'data': [ 'x' ] }", "{ 'struct': 'S', 'base': 'K', 'data': {} }"],
     'the base K is no struct'),
    (["{ 'command': 'c', 'data': 'int' }"], 'the arguments of c are an object'),
    (["{ 'enum': 'K', 'data': [ 'x' ] }", "{ 'event': 'E', 'data': 'K' }"],
     'the arguments of E are an object'),
    # Enums.
    (["{ 'enum': 'E', 'data': [ 'a-b', 'a_b' ] }"], 'would both be E_A_B in C'),
    (["{ 'enum': 'E', 'data': [ 'ab', 'AB' ] }"], 'would both be E_AB in C'),
    (["{ 'enum': 'E', 'data': [ 'a', '0x', '-max' ] }"], "bad name of a value '-max'"),
    (["{ 'enum': 'E', 'data': [ 'x' ] }", "{ 'enum': 'F', 'prefix': 'E', 'data': [ 'x' ] }"],
     'would both be E__MAX in C'),
    (["{ 'enum': 'FooBar', 'data': [ 'x' ] }", "{ 'enum': 'Foo', 'data': [ 'bar_x' ] }"],
     'would both be FOO_BAR_X in C'),
    # Types.
    (["{ 'struct': 'A-B', 'data': {} }", "{ 'struct': 'A_B', 'data': {} }"], 'both be A_B in C'),
    (["{ 'struct': 'S', 'data': {} }", "{ 'struct': 'SList', 'data': { 'a': [ 'S' ] } }"],
     'would both be SList in C', 0),
    (["{ 'struct': 'S', 'data': {} }", "{ 'struct': 'S_free', 'data': {} }"], 'both be S_free'),
    (["{ 'struct': 'QDict', 'data': {} }"], 'would both be QDict in C'),
    # Commands and events.
    (["{ 'command': 'a-b' }", "{ 'command': 'a_b' }"], 'would both be'),
    (["{ 'command': 'a-b', 'data': { 'x': 'int' } }",
      "{ 'command': 'a_b', 'data': { 'x': 'int' } }"],
     'would both be QmpABArgs in C'),
    (["{ 'command': 'same1' }", "{ 'command': 'same2' }"], 'would both be qmp_same in C'),
    (["{ 'event': 'A_B' }", "{ 'event': 'a-b' }"], 'would both be qapi_event_send_a_b in C'),
    # Of another form than the language has.
    (["{ 'struct': 'S' }"], 'needs data'),
    (["{ 'struct': 'S', 'data': [ 'a' ] }"], 'members are an object'),
    (["{ 'struct': 'S', 'data': { 'a': [ 'int', 'str' ] } }"], 'a name or an array of one name'),
    (["{ 'struct': 'S', 'data': { 'a': { 'typ': 'int' } } }"], 'expected a name, or an object'),
    (["{ 'struct': 'S', 'data': {}, 'features': 'x' }"], 'features are an array'),
    (["{ 'struct': 'S', 'data': {}, 'features': [ 'x', 'x' ] }"], 'a feature is there twice'),
    (["{ 'command': 'c', 'returns': {} }"], 'returns a type'),
    (["{ 'command': 'c', 'boxed': 'yes' }"], 'boxed is true or false'),
    # Conditions.
    (["{ 'struct': 'S', 'data': {}, 'if': 'zstd' }"], "'if' is the name"),
    (["{ 'struct': 'S', 'data': {}, 'if': { 'all': [] } }"], "'if' is the name"),
    (["{ 'struct': 'S', 'data': {}, 'if': { 'none': 'CONFIG_A' } }"], "'if' is the name"),
    (["{ 'struct': 'T', 'data': {}, 'if': 'CONFIG_A' }",
      "{ 'struct': 'S', 'data': { 'a': [ 'T' ] } }"], 'a is of type TList, which is there only if'),
    (["{ 'struct': 'T', 'data': {}, 'if': 'CONFIG_A' }",
      "{ 'struct': 'S', 'base': 'T', 'data': {} }"], 'its base is of type T'),
    (["{ 'struct': 'T', 'data': {}, 'if': 'CONFIG_A' }", "{ 'command': 'c', 'data': 'T' }"],
     'its arguments is of type T'),
    (["{ 'struct': 'T', 'data': {}, 'if': 'CONFIG_A' }", "{ 'command': 'c', 'returns': 'T' }"],
     'what it returns is of type T'),
]


def generate(d, schema):
    """Run the generator over @schema, in the folder @d; each command has a stanza."""
    path = os.path.join(d, 'schema.json')
    with open(path, 'w', encoding='utf-8') as f:
        f.write(schema + '\n')
    with open(os.path.join(d, 'hx'), 'w', encoding='utf-8') as f:
        for name in re.findall(r"\{ 'command': '([^']*)'", schema):
            if name != 'c' or 'data' in schema or 'returns' in schema:
                f.write('command: %s\nhandler: qmp_%s\n-> {}\n<- {}\n' % (
                    name, name.rstrip('12').replace('-', '_')))
    return subprocess.run([sys.executable, GENERATOR, '-o', os.path.join(d, 'out'), path,
                           os.path.join(d, 'hx')], capture_output=True, text=True, check=False)


def is_refused(schema, part, line=None):
    with tempfile.TemporaryDirectory() as d:
        run = generate(d, schema)
    where = r'^\S*schema\.json:%s: ' % (line or r'\d+')
    ok = run.returncode != 0 and part in run.stderr and re.match(where, run.stderr)
    if not ok:
        print('FAILED: %r, line %s, in\n%s\nwas answered by\n%s' % (part, line, schema, run.stderr))
    return ok


# Of everything that can have a condition there is one with it, and something that stands first or
# alone in its list, for the commas.
CONDITIONAL = """
{ 'enum': 'E', 'data': [ { 'name': 'e1', 'if': 'CONFIG_A' }, { 'name': 'e2', 'features': [ {
  'name': 'f1', 'if': 'CONFIG_A' } ] }, { 'name': 'e3', 'if': { 'not': 'CONFIG_A' } } ] }
{ 'enum': 'OnlyA', 'data': [ { 'name': 'o', 'if': 'CONFIG_A' } ] }
{ 'struct': 'T', 'data': { 'x': 'int' }, 'if': { 'all': [ 'CONFIG_A', { 'not': { 'any': [
  'CONFIG_B', 'CONFIG_C' ] } } ] } }
{ 'struct': 'Base', 'data': { '*b1': { 'type': 'str', 'if': 'CONFIG_A' }, '*b2': { 'type':
  'int', 'if': 'CONFIG_B' } } }
{ 'struct': 'S', 'base': 'Base', 'data': { 's1': { 'type': 'OnlyA', 'if': 'CONFIG_A' } } }
{ 'struct': 'R', 'data': { 'r1': 'E' } }
{ 'union': 'U', 'base': { 'k': 'E' }, 'discriminator': 'k', 'data': { 'e1': 'S', 'e2': { 'type':
  'R2', 'if': 'CONFIG_B' } } }
{ 'struct': 'R2', 'data': { 'r2': [ 'E' ] }, 'if': 'CONFIG_B' }
{ 'alternate': 'Alt', 'data': { 'a1': { 'type': 'int', 'if': 'CONFIG_A' }, 'a2': 'S' } }
{ 'command': 'first1', 'returns': 'T', 'if': { 'all': [ 'CONFIG_A', { 'not': { 'any': [
  'CONFIG_B', 'CONFIG_C' ] } } ] } }
{ 'command': 'second1', 'data': { 'a': { 'type': 'Alt', 'if': 'CONFIG_C' } }, 'returns': 'U',
  'if': { 'any': [ 'CONFIG_B', 'CONFIG_C' ] } }
{ 'command': 'third1', 'data': 'S', 'features': [ { 'name': 'f2', 'if': 'CONFIG_B' }, 'f3' ] }
{ 'event': 'EV', 'data': { 'l': [ 'Alt' ], 'm': { 'type': 'int', 'if': 'CONFIG_A' } }, 'if':
  'CONFIG_C' }
"""


def promised(a, b, c):
    """(meta-type, name) -> what query-qmp-schema is to say of CONDITIONAL."""
    t = a and not (b or c)
    names = [n for n, there in (('first1', t), ('second1', b or c), ('third1', True), ('EV', c))
             if there]
    members = [n for n, there in (('b1', a), ('b2', b), ('s1', a)) if there]
    return {'names': names, 'third1': members, 'features': ['f2', 'f3'] if b else ['f3'],
            'cases': ['e1', 'e2'] if a else ['e2', 'e3'],
            'e2': ['k', 'r2'] if b else ['k'], 'alternatives': 2 if a else 1,
            'e2-features': ['f1'] if a else None}


def seen(infos):
    by_name = {i['name']: i for i in infos}
    args = by_name[by_name['third1']['arg-type']]
    got = {'names': [i['name'] for i in infos if i['meta-type'] in ('command', 'event')],
           'third1': [m['name'] for m in args['members']],
           'features': by_name['third1']['features']}
    if 'second1' in by_name:
        u = by_name[by_name['second1']['ret-type']]
        assert [v['case'] for v in u['variants']] == by_name[u['members'][0]['type']]['values']
        branch = next(v['type'] for v in u['variants'] if v['case'] == 'e2')
        got['cases'] = [v['case'] for v in u['variants']]
        got['e2'] = [m['name'] for m in u['members'] + by_name[branch]['members']]
        e2 = next(m for m in by_name[u['members'][0]['type']]['members'] if m['name'] == 'e2')
        got['e2-features'] = e2.get('features')
    alt = [i for i in infos if i['meta-type'] == 'alternate']
    if alt:
        got['alternatives'] = len(alt[0]['members'])
    return got


def documented(text):
    name = re.search(r"'(?:enum|struct|union|alternate|command|event)': '([^']*)'", text).group(1)
    data = text[:text.index("'discriminator'")] if "'union'" in text else text
    members = (re.findall(r"'name': '(e.|o)'", text) if "'enum'" in text
               else re.findall(r"'\*?([a-z][a-z0-9]?)':", data.replace("'if':", '')))
    features = re.findall(r"'(f\d)'", text) if "'command'" in text else []
    comment = doc(name, *members)
    extra = ''.join('# @%s: text\n' % f for f in features)
    extra = '# Features:\n%s#\n' % extra if extra else ''
    return comment.replace('# Since:', extra + '# Since:') + text + '\n'


def compiler(d):
    return sys.argv[1:] + ['-D_GNU_SOURCE', '-std=gnu11', '-Wall', '-Wundef', '-Werror', '-I', d,
                           '-I', os.path.join(SOURCE, 'include')] + GLIB


def compile_all(d):
    sources = glob.glob(d + '/qapi/*.c')
    assert sources
    subprocess.run(compiler(d) + ['-fsyntax-only'] + sources, check=True)


def introspection(d):
    """The schema as the compiler puts it together."""
    with open(d + '/print.c', 'w', encoding='utf-8') as f:
        f.write('#include <stdio.h>\nextern const char qmp_schema_json[];\n'
                'int main(void)\n{\n    puts(qmp_schema_json);\n    return 0;\n}\n')
    subprocess.run(compiler(d) + ['-o', d + '/print', d + '/print.c',
                                  d + '/qapi/qapi-introspect.c'], check=True)
    return json.loads(subprocess.run([d + '/print'], capture_output=True, check=True).stdout)


def what_is_not_built_is_not_there():
    """The generated C compiles with every combination, and promises what is there."""
    with tempfile.TemporaryDirectory() as d:
        schema = ''.join(documented(text) for text in re.split(r'\n(?=\{)', CONDITIONAL.strip()))
        run = generate(d, schema)
        assert run.returncode == 0, run.stderr
        os.rename(d + '/out', d + '/qapi')
        for bits in range(8):
            abc = [bits >> i & 1 for i in range(3)]
            with open(d + '/config-host.h', 'w', encoding='utf-8') as f:
                f.writelines('#define CONFIG_%s %d\n' % pair for pair in zip('ABC', abc))
            compile_all(d)
            want, got = promised(*abc), seen(introspection(d))
            assert all(want[k] == v for k, v in got.items()), (abc, want, got)


def main():
    failed = 0
    for schema, part in CASES:
        failed += not is_refused(schema, part)
    for definitions, part, *culprit in CLASHES:
        schema = defs(*definitions)
        definition = definitions[culprit[0] if culprit else -1]
        failed += not is_refused(schema, part, schema[:schema.index(definition)].count('\n') + 1)
    what_is_not_built_is_not_there()
    sys.exit(1 if failed else 0)


if __name__ == '__main__':
    main()
