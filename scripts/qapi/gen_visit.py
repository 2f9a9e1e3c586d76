# SPDX-License-Identifier: GPL-2.0-or-later
"""qapi-parse (JSON values to C types) and qapi-format (the other way)."""

from .cgen import CFile
from .gen_types import compound, enums, lists
from .schema import Alternate, Builtin, Object


def in_fn(t):
    return ('qapi_in_' + t.name) if isinstance(t, Builtin) else 'in_' + t.c


def out_fn(t):
    return ('qapi_out_' + t.name) if isinstance(t, Builtin) else 'out_' + t.c


# ---- qapi-parse

def parse_header(schema):
    out = CFile('JSON values to C types.', 'QAPI_PARSE_H')
    out.include('qapi/qapi-types.h')
    out('/*')
    out(' * FOO_parse: @obj as it came over the wire.  FOO_parse_keyval: as keyval_parse() makes')
    out(' * it, numbers and booleans are strings.  Strict; *ret is set on success only; caller frees.')
    out(' */')
    for t in out.each(compound(schema) + lists(schema)):
        for name in ('parse', 'parse_keyval'):
            out('bool any_fn %s_%s(QObject *obj, %s **ret, Error **errp);' % (t.c, name, t.c))
    return out


def parse_source(schema):
    out = CFile('JSON values to C types.')
    out.include('qapi/input.h', 'qapi/qapi-parse.h')
    for t in out.each(enums(schema) + compound(schema) + lists(schema)):
        out('static bool in_%s(QapiInput *in, QObject *value, void *ret, Error **errp);' % t.c)
    for t in out.each(compound(schema)):
        if isinstance(t, Object):
            out('static bool in_members_%s(QapiInput *in, void *ret, Error **errp);' % t.c)
    out('')
    for t in out.each(enums(schema)):
        parse_enum(out, t)
    for t in out.each(compound(schema)):
        (parse_alternate if isinstance(t, Alternate) else parse_object)(out, t)
    for t in out.each(lists(schema)):
        parse_list(out, t)
    for t in out.each(compound(schema) + lists(schema)):
        for name, keyval in (('parse', 'false'), ('parse_keyval', 'true')):
            out('bool %s_%s(QObject *obj, %s **ret, Error **errp)' % (t.c, name, t.c))
            out('{')
            out('    return qapi_in_top(obj, %s, in_%s, ret, errp);' % (keyval, t.c))
            out('}')
            out('')
    return out


def parse_enum(out, t):
    out('static bool in_%s(QapiInput *in, QObject *value, void *ret, Error **errp)' % t.c)
    out('{')
    out('    int number;')
    out('')
    out('    if (!qapi_in_enum(in, value, &%s_lookup, &number, errp)) {' % t.c)
    out('        return false;')
    out('    }')
    out('    *(%s *)ret = number;' % t.c)
    out('    return true;')
    out('}')
    out('')


def parse_object(out, t):
    out('static bool in_members_%s(QapiInput *in, void *ret, Error **errp)' % t.c)
    out('{')
    if t.members() or t.branches:
        unused = 'G_GNUC_UNUSED ' if all(m.cond for m in t.members()) else ''
        out('    %s%s *obj = ret;' % (unused, t.c))
        out('')
    for m in out.each(t.members()):
        if m.optional:
            has = '&obj->' + m.has_c if m.has_flag else 'NULL'
            call = 'qapi_in_optional(in, "%s", %s, %s, &obj->%s, errp)' % (
                m.name, in_fn(m.type), has, m.c)
        else:
            call = 'qapi_in_required(in, "%s", %s, &obj->%s, errp)' % (
                m.name, in_fn(m.type), m.c)
        out('    if (!%s) {' % call)
        out('        return false;')
        out('    }')
    if t.branches:
        out('    switch (obj->%s) {' % t.tag.c)
        for m in out.each(t.branches.values()):
            out('    case %s:' % t.tag.type.const(m.name))
            out('        return in_members_%s(in, &obj->u.%s, errp);' % (m.type.c, m.c))
        out('    default:')
        out('        return true;')
        out('    }')
    else:
        out('    return true;')
    out('}')
    out('')
    out('static bool in_%s(QapiInput *in, QObject *value, void *ret, Error **errp)' % t.c)
    out('{')
    out('    g_autoptr(%s) obj = g_new0(%s, 1);' % (t.c, t.c))
    out('')
    out('    if (!qapi_in_object(in, value, in_members_%s, obj, errp)) {' % t.c)
    out('        return false;')
    out('    }')
    out('    *(%s **)ret = g_steal_pointer(&obj);' % t.c)
    out('    return true;')
    out('}')
    out('')


def parse_alternate(out, t):
    out('static bool in_%s(QapiInput *in, QObject *value, void *ret, Error **errp)' % t.c)
    out('{')
    out('    static const unsigned mask = 0')
    for m in out.each(t.branches):
        out('        | 1u << ' + m.type.qtype)
    out('        ;')
    out('    g_autoptr(%s) obj = g_new0(%s, 1);' % (t.c, t.c))
    out('    QType type = qapi_in_alternate(in, value, mask, "%s", errp);' % t.name)
    out('    bool ok = false;')
    out('')
    out('    switch (type) {')
    for m in out.each(t.branches):
        out('    case %s:' % m.type.qtype)
        if isinstance(m.type, Object):
            # Set before its members: what was parsed when an error comes is freed by it.
            out('        obj->type = type;')
            out('        ok = qapi_in_object(in, value, in_members_%s, &obj->u.%s, errp);'
                % (m.type.c, m.c))
        else:
            out('        ok = %s(in, value, &obj->u.%s, errp);' % (in_fn(m.type), m.c))
        out('        break;')
    out('    default:')
    out('        break;')
    out('    }')
    out('    if (!ok) {')
    out('        return false;')
    out('    }')
    out('    obj->type = type;')
    out('    *(%s **)ret = g_steal_pointer(&obj);' % t.c)
    out('    return true;')
    out('}')
    out('')


def parse_list(out, t):
    out('static bool in_%s(QapiInput *in, QObject *value, void *ret, Error **errp)' % t.c)
    out('{')
    out('    g_autoptr(%s) head = NULL;' % t.c)
    out('    %s **tail = &head;' % t.c)
    out('    QList *list = qapi_in_list(in, value, errp);')
    out('')
    out('    if (!list) {')
    out('        return false;')
    out('    }')
    out('    for (size_t i = 0; i < qlist_size(list); i++) {')
    out('        %s *link = g_new0(%s, 1);' % (t.c, t.c))
    out('')
    out('        *tail = link;')
    out('        tail = &link->next;')
    out('        if (!qapi_in_element(in, list, i, %s, &link->value, errp)) {' % in_fn(t.element))
    out('            return false;')
    out('        }')
    out('    }')
    out('    *(%s **)ret = g_steal_pointer(&head);' % t.c)
    out('    return true;')
    out('}')
    out('')


# ---- qapi-format

def format_header(schema):
    out = CFile('C types to JSON values.', 'QAPI_FORMAT_H')
    out.include('qapi/qapi-types.h')
    for t in out.each(compound(schema) + lists(schema)):
        out('QObject *any_fn %s_format(const %s *obj);' % (t.c, t.c))
    return out


def format_source(schema):
    out = CFile('C types to JSON values.')
    out.include('qapi/output.h', 'qapi/qapi-format.h')
    for t in out.each(enums(schema) + compound(schema) + lists(schema)):
        out('static QObject *out_%s(const void *member);' % t.c)
    for t in out.each(compound(schema)):
        if isinstance(t, Object):
            out('static void out_members_%s(QDict *dict, const %s *obj);' % (t.c, t.c))
    out('')
    for t in out.each(enums(schema)):
        out('static QObject *out_%s(const void *member)' % t.c)
        out('{')
        out('    return qstring_new(%s_str(*(const %s *)member));' % (t.c, t.c))
        out('}')
        out('')
    for t in out.each(compound(schema)):
        (format_alternate if isinstance(t, Alternate) else format_object)(out, t)
    for t in out.each(lists(schema)):
        format_list(out, t)
    for t in out.each(compound(schema) + lists(schema)):
        out('QObject *%s_format(const %s *obj)' % (t.c, t.c))
        out('{')
        out('    return out_%s(&obj);' % t.c)
        out('}')
        out('')
    return out


def format_object(out, t):
    out('static void out_members_%s(QDict *dict, const %s *obj)' % (t.c, t.c))
    out('{')
    for m in out.each(t.members()):
        put = 'qdict_put(dict, "%s", %s(&obj->%s));' % (m.name, out_fn(m.type), m.c)
        if m.optional:
            flag = m.has_c if m.has_flag else m.c
            out('    if (obj->%s) {' % flag)
            out('        ' + put)
            out('    }')
        else:
            out('    ' + put)
    if t.branches:
        out('    switch (obj->%s) {' % t.tag.c)
        for m in out.each(t.branches.values()):
            out('    case %s:' % t.tag.type.const(m.name))
            out('        out_members_%s(dict, &obj->u.%s);' % (m.type.c, m.c))
            out('        break;')
        out('    default:')
        out('        break;')
        out('    }')
    out('}')
    out('')
    out('static QObject *out_%s(const void *member)' % t.c)
    out('{')
    out('    QDict *dict = qdict_new();')
    out('')
    out('    out_members_%s(dict, *(%s *const *)member);' % (t.c, t.c))
    out('    return QOBJECT(dict);')
    out('}')
    out('')


def format_alternate(out, t):
    out('static QObject *out_%s(const void *member)' % t.c)
    out('{')
    out('    const %s *obj = *(%s *const *)member;' % (t.c, t.c))
    out('')
    out('    switch (obj->type) {')
    for m in out.each(t.branches):
        out('    case %s:' % m.type.qtype)
        if isinstance(m.type, Object):
            out('    {')
            out('        const %s *branch = &obj->u.%s;' % (m.type.c, m.c))
            out('')
            out('        return out_%s(&branch);' % m.type.c)
            out('    }')
        else:
            out('        return %s(&obj->u.%s);' % (out_fn(m.type), m.c))
    out('    default:')
    out('        g_assert_not_reached();')
    out('    }')
    out('}')
    out('')


def format_list(out, t):
    out('static QObject *out_%s(const void *member)' % t.c)
    out('{')
    out('    QList *list = qlist_new();')
    out('')
    out('    for (const %s *l = *(%s *const *)member; l; l = l->next) {' % (t.c, t.c))
    out('        qlist_append(list, %s(&l->value));' % out_fn(t.element))
    out('    }')
    out('    return QOBJECT(list);')
    out('}')
    out('')
