# SPDX-License-Identifier: GPL-2.0-or-later
"""qapi-commands (handlers' prototypes, marshalling, table) and qapi-events."""

from .cgen import CFile
from .schema import Alternate, List, Object


def handler_args(cmd):
    """The parameters of @cmd's handler."""
    if not cmd.gen:
        return 'QDict *arguments, QObject **ret, Error **errp'
    args = []
    if cmd.arg:
        args.append('const %s *args' % cmd.arg.c)
    if cmd.ret:
        args.append('%s*ret' % cmd.ret.c_type)
    return ', '.join(args + ['Error **errp'])


def commands_header(schema, hx):
    out = CFile('Handlers of the QMP commands.', 'QAPI_COMMANDS_H')
    out.include('qapi/command.h', 'qapi/qapi-types.h')
    out('/*')
    out(' * Each runs in a coroutine on the main thread and may yield.  @args is borrowed.  On')
    out(' * success *@ret is set and belongs to the caller; on failure it is left alone and @errp is set.')
    out(' */')
    for cmd in out.each(schema.commands.values()):
        text = 'bool co_main_fn %s(' % hx[cmd.name].handler
        one = text + handler_args(cmd) + ');'
        if len(one) <= 100:
            out(one)
        else:
            out(text + handler_args(cmd).replace(', ', ',\n' + ' ' * 8) + ');')
    return out


def commands_source(schema, hx):
    out = CFile('Marshalling of the QMP commands.')
    out.include('qapi/qapi-commands.h', 'qapi/qapi-format.h', 'qapi/qapi-parse.h',
                'qapi/input.h', 'qapi/output.h')
    for cmd in out.each(schema.commands.values()):
        marshal(out, cmd, hx[cmd.name].handler)
    out('const QmpCommand qmp_commands[] = {')
    for cmd in out.each(schema.commands.values()):
        out('    { "%s", marshal_%s, %s, %s },' % (
            cmd.name, cmd.c, str(cmd.allow_oob).lower(), str(not cmd.success).lower()))
    out('    { NULL, NULL, false, false },')
    out('};')
    return out


def format_list(out, cmd):
    """Of a command that returns a list, which may be long: for any thread."""
    out('static QObject *format_%s(void *value)' % cmd.c)
    out('{')
    out('    g_autoptr(%s) list = value;' % cmd.ret.c)
    out('')
    out('    return %s_format(list);' % cmd.ret.c)
    out('}')
    out('')


def marshal(out, cmd, handler):
    if cmd.gen and isinstance(cmd.ret, List):
        format_list(out, cmd)
    out('static QObject *co_main_fn marshal_%s(QDict *arguments, Error **errp)' % cmd.c)
    out('{')
    if not cmd.gen:
        out('    QObject *ret = NULL;')
        out('')
        out('    if (!%s(arguments, &ret, errp)) {' % handler)
        out('        return NULL;')
        out('    }')
        out('    return ret;')
        out('}')
        out('')
        return
    args = []
    if cmd.arg:
        out('    g_autoptr(%s) args = NULL;' % cmd.arg.c)
        args.append('args')
        parse = '%s_parse(QOBJECT(arguments), &args, errp)' % cmd.arg.c
    else:
        parse = 'qapi_in_nothing(arguments, errp)'
    if cmd.ret:
        if isinstance(cmd.ret, (Alternate, List, Object)):
            out('    g_autoptr(%s) ret = NULL;' % cmd.ret.c)
        elif cmd.ret.name == 'str':
            out('    g_autofree char *ret = NULL;')
        elif cmd.ret.scalar:
            out('    %sret = 0;' % cmd.ret.c_type)
        else:
            out('    g_autoptr(QObject) ret = NULL;')
        args.append('&ret')
    if cmd.arg or cmd.ret:
        out('')
    out('    if (!%s || !%s(%s)) {' % (parse, handler, ', '.join(args + ['errp'])))
    out('        return NULL;')
    out('    }')
    if not cmd.ret:
        out('    return QOBJECT(qdict_new());')
    elif hasattr(cmd.ret, 'json'):
        out('    return qapi_out_%s(&ret);' % cmd.ret.name)
    elif cmd.ret.scalar:
        out('    return qstring_new(%s_str(ret));' % cmd.ret.c)
    elif isinstance(cmd.ret, List):
        out('    size_t length = 0;')
        out('    for (const %s *l = ret; l; l = l->next) {' % cmd.ret.c)
        out('        length++;')
        out('    }')
        out('    return qmp_format_list(g_steal_pointer(&ret), length, format_%s);' % cmd.c)
    else:
        out('    return %s_format(ret);' % cmd.ret.c)
    out('}')
    out('')


def fallbacks(schema, hx):
    """Weak handlers that fail: for tests that link the table without the block layer."""
    out = CFile('Handlers for tests that have no others.')
    out.include('qapi/qapi-commands.h')
    for cmd in out.each(schema.commands.values()):
        head = 'bool __attribute__((weak)) %s(' % hx[cmd.name].handler
        out(head + handler_args(cmd).replace(', ', ',\n' + ' ' * 8) + ')')
        out('{')
        out('    error_setg(errp, "%s has no handler in this program");' % cmd.name)
        out('    return false;')
        out('}')
        out('')
    return out


# ---- events

def events_header(schema):
    out = CFile('Sending of QMP events.', 'QAPI_EVENTS_H')
    out.include('qapi/qapi-types.h')
    out('/* Each goes to every monitor that has finished its negotiation.  @args is borrowed. */')
    for event in out.each(schema.events.values()):
        args = 'const %s *args' % event.arg.c if event.arg else 'void'
        out('void main_fn qapi_event_send_%s(%s);' % (event.c, args))
    return out


def events_source(schema):
    out = CFile('Sending of QMP events.')
    out.include('qapi/event.h', 'qapi/qapi-events.h', 'qapi/qapi-format.h')
    for event in out.each(schema.events.values()):
        args = 'const %s *args' % event.arg.c if event.arg else 'void'
        data = '%s_format(args)' % event.arg.c if event.arg else 'NULL'
        out('void qapi_event_send_%s(%s)' % (event.c, args))
        out('{')
        out('    qapi_event_send("%s", %s);' % (event.name, data))
        out('}')
        out('')
    return out
