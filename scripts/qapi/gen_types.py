# SPDX-License-Identifier: GPL-2.0-or-later
"""qapi-types: C declarations, enum tables, free and clone."""

from .cgen import CFile
from .schema import Alternate, Builtin, Enum, List, Object


def in_order(schema):
    """Types such that those embedded by value come before those that embed them."""
    done, order = set(), []

    def visit(t):
        if t.name in done:
            return
        done.add(t.name)
        for part in t.parts() if isinstance(t, (Object, Alternate)) else ():
            visit(part)
        order.append(t)

    for t in schema.types.values():
        visit(t)
    return order


def compound(schema):
    return [t for t in in_order(schema) if isinstance(t, (Object, Alternate))]


def lists(schema):
    return [t for t in in_order(schema) if isinstance(t, List)]


def enums(schema):
    return [t for t in in_order(schema) if isinstance(t, Enum)]


def list_of(t):
    return (t.name if isinstance(t, Builtin) else t.c) + 'List'


# ---- header

def header(schema):
    out = CFile('C types of the QAPI schema.', 'QAPI_TYPES_H')
    out.include('qapi/enum.h', 'qapi/error.h', 'qobject/qobject.h')
    for t in out.each(enums(schema)):
        enum_decl(out, t)
    for t in out.each(compound(schema) + lists(schema)):
        out('typedef struct %s %s;' % (t.c, t.c))
    out('')
    for t in out.each(compound(schema)):
        struct_decl(out, t)
    for t in out.each(lists(schema)):
        list_decl(out, t)
    return out


def enum_decl(out, t):
    out('typedef enum %s {' % t.c)
    for v in out.each(t.values):
        out('    %s,' % t.const(v.name))
    out('    %s__MAX,' % t.prefix)
    out('} %s;' % t.c)
    out('')
    out('extern const QapiEnum %s_lookup;' % t.c)
    out('const char *any_fn %s_str(%s value);' % (t.c, t.c))
    out('bool any_fn %s_from_str(const char *str, %s *ret, Error **errp);' % (t.c, t.c))
    out('')


def member_decl(out, m):
    if m.has_flag:
        out('    bool %s;' % m.has_c)
    out('    %s%s;' % (m.type.c_type, m.c))


def struct_decl(out, t):
    out('struct %s {' % t.c)
    if isinstance(t, Alternate):
        out('    QType type;')
        branches = t.branches
    else:
        if t.base:
            out('    /* Of %s: */' % t.base.name)
            for m in out.each(t.base.members()):
                member_decl(out, m)
            if t.own_members:
                out('    /* Its own: */')
        for m in out.each(t.own_members):
            member_decl(out, m)
        branches = list((t.branches or {}).values())
        if all(m.cond for m in t.members()):
            out('    char unused;')
    if branches:
        out('    union { /* by @%s */' % ('type' if isinstance(t, Alternate) else t.tag.c))
        for m in out.each(branches):
            by_value = isinstance(m.type, Object)
            out('        %s%s;' % (m.type.c + ' ' if by_value else m.type.c_type, m.c))
        out('    } u;')
    out('};')
    out('')
    out('void any_fn %s_free(%s *obj);' % (t.c, t.c))
    out('%s *any_fn %s_clone(const %s *obj);' % (t.c, t.c, t.c))
    out('G_DEFINE_AUTOPTR_CLEANUP_FUNC(%s, %s_free)' % (t.c, t.c))
    out('')


def list_decl(out, t):
    out('struct %s {' % t.c)
    out('    struct %s *next;' % t.c)
    out('    %svalue;' % t.element.c_type)
    out('};')
    out('')
    out('/* Takes @value; *@tail ends up at the new last link. */')
    out('void any_fn %s_append(%s ***tail, %svalue);' % (t.c, t.c, t.element.c_type))
    out('void any_fn %s_free(%s *list);' % (t.c, t.c))
    out('%s *any_fn %s_clone(const %s *list);' % (t.c, t.c, t.c))
    out('G_DEFINE_AUTOPTR_CLEANUP_FUNC(%s, %s_free)' % (t.c, t.c))
    out('')


# ---- source

def source(schema):
    out = CFile('Enum tables, free and clone of the QAPI types.')
    out.include('qapi/qapi-types.h')
    for t in out.each(enums(schema)):
        enum_source(out, t)
    for t in out.each(compound(schema)):
        out('static void free_members_%s(%s *obj);' % (t.c, t.c))
        out('static void clone_members_%s(%s *dst, const %s *src);' % (t.c, t.c, t.c))
    out('')
    for t in out.each(compound(schema)):
        (alternate_source if isinstance(t, Alternate) else object_source)(out, t)
        pointer_source(out, t)
    for t in out.each(lists(schema)):
        list_source(out, t)
    return out


def enum_source(out, t):
    out('static const char *const %s_names[] = {' % t.c)
    for v in out.each(t.values):
        out('    [%s] = "%s",' % (t.const(v.name), v.name))
    out('};')
    out('')
    out('const QapiEnum %s_lookup = { %s_names, %s__MAX };' % (t.c, t.c, t.prefix))
    out('')
    out('const char *%s_str(%s value)' % (t.c, t.c))
    out('{')
    out('    return qapi_enum_str(&%s_lookup, value);' % t.c)
    out('}')
    out('')
    out('bool %s_from_str(const char *str, %s *ret, Error **errp)' % (t.c, t.c))
    out('{')
    out('    int value = qapi_enum_from_str(&%s_lookup, str, errp);' % t.c)
    out('')
    out('    if (value < 0) {')
    out('        return false;')
    out('    }')
    out('    *ret = value;')
    out('    return true;')
    out('}')
    out('')


def free_stmt(t, expr):
    """C to free a value of @t in the member @expr, or None."""
    if t.scalar:
        return None
    if isinstance(t, Builtin):
        return ('g_free(%s);' if t.name == 'str' else 'qobject_unref(%s);') % expr
    return '%s_free(%s);' % (t.c, expr)


def clone_expr(t, expr):
    if t.scalar:
        return expr
    if isinstance(t, Builtin):
        return ('g_strdup(%s)' if t.name == 'str' else 'qobject_ref(%s)') % expr
    return '%s_clone(%s)' % (t.c, expr)


def object_source(out, t):
    out('static void free_members_%s(%s *obj)' % (t.c, t.c))
    out('{')
    for m in out.each(t.members()):
        stmt = free_stmt(m.type, 'obj->' + m.c)
        if stmt:
            out('    ' + stmt)
    if t.branches:
        out('    switch (obj->%s) {' % t.tag.c)
        for m in out.each(t.branches.values()):
            out('    case %s:' % t.tag.type.const(m.name))
            out('        free_members_%s(&obj->u.%s);' % (m.type.c, m.c))
            out('        break;')
        out('    default:')
        out('        break;')
        out('    }')
    out('}')
    out('')
    out('static void clone_members_%s(%s *dst, const %s *src)' % (t.c, t.c, t.c))
    out('{')
    out('    *dst = *src;')
    for m in out.each(t.members()):
        if not m.type.scalar:
            out('    dst->%s = %s;' % (m.c, clone_expr(m.type, 'src->' + m.c)))
    if t.branches:
        out('    switch (src->%s) {' % t.tag.c)
        for m in out.each(t.branches.values()):
            out('    case %s:' % t.tag.type.const(m.name))
            out('        clone_members_%s(&dst->u.%s, &src->u.%s);' % (m.type.c, m.c, m.c))
            out('        break;')
        out('    default:')
        out('        break;')
        out('    }')
    out('}')
    out('')


def alternate_source(out, t):
    out('static void free_members_%s(%s *obj)' % (t.c, t.c))
    out('{')
    out('    switch (obj->type) {')
    for m in out.each(t.branches):
        out('    case %s:' % m.type.qtype)
        if isinstance(m.type, Object):
            out('        free_members_%s(&obj->u.%s);' % (m.type.c, m.c))
        else:
            stmt = free_stmt(m.type, 'obj->u.' + m.c)
            if stmt:
                out('        ' + stmt)
        out('        break;')
    out('    default:')
    out('        break;')
    out('    }')
    out('}')
    out('')
    out('static void clone_members_%s(%s *dst, const %s *src)' % (t.c, t.c, t.c))
    out('{')
    out('    *dst = *src;')
    out('    switch (src->type) {')
    for m in out.each(t.branches):
        if m.type.scalar:
            continue
        out('    case %s:' % m.type.qtype)
        if isinstance(m.type, Object):
            out('        clone_members_%s(&dst->u.%s, &src->u.%s);' % (m.type.c, m.c, m.c))
        else:
            out('        dst->u.%s = %s;' % (m.c, clone_expr(m.type, 'src->u.' + m.c)))
        out('        break;')
    out('    default:')
    out('        break;')
    out('    }')
    out('}')
    out('')


def pointer_source(out, t):
    out('void %s_free(%s *obj)' % (t.c, t.c))
    out('{')
    out('    if (obj) {')
    out('        free_members_%s(obj);' % t.c)
    out('        g_free(obj);')
    out('    }')
    out('}')
    out('')
    out('%s *%s_clone(const %s *obj)' % (t.c, t.c, t.c))
    out('{')
    out('    %s *copy;' % t.c)
    out('')
    out('    if (!obj) {')
    out('        return NULL;')
    out('    }')
    out('    copy = g_new0(%s, 1);' % t.c)
    out('    clone_members_%s(copy, obj);' % t.c)
    out('    return copy;')
    out('}')
    out('')


def list_source(out, t):
    out('void %s_append(%s ***tail, %svalue)' % (t.c, t.c, t.element.c_type))
    out('{')
    out('    %s *link = g_new0(%s, 1);' % (t.c, t.c))
    out('')
    out('    link->value = value;')
    out('    **tail = link;')
    out('    *tail = &link->next;')
    out('}')
    out('')
    out('void %s_free(%s *list)' % (t.c, t.c))
    out('{')
    out('    while (list) {')
    out('        %s *next = list->next;' % t.c)
    out('')
    stmt = free_stmt(t.element, 'list->value')
    if stmt:
        out('        ' + stmt)
    out('        g_free(list);')
    out('        list = next;')
    out('    }')
    out('}')
    out('')
    out('%s *%s_clone(const %s *list)' % (t.c, t.c, t.c))
    out('{')
    out('    %s *copy = NULL, **tail = &copy;' % t.c)
    out('')
    out('    for (; list; list = list->next) {')
    out('        %s_append(&tail, %s);' % (t.c, clone_expr(t.element, 'list->value')))
    out('    }')
    out('    return copy;')
    out('}')
    out('')
