/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a QMP request means, and what is answered. */
#include "qemu/osdep.h"

#include "daemon.h"
#include "monitor-internal.h"
#include "qapi/qapi-commands.h"
#include "qapi/qapi-format.h"
#include "qapi/qapi-parse.h"
#include "qemu/trace.h"

const QmpCommand *monitor_commands;
MonitorSession *monitor_current_session;

QObject *qmp_greeting(void)
{
    g_autoptr(VersionInfo) version = monitor_version();
    QDict *greeting = qdict_new(), *qmp = qdict_new();
    QList *capabilities = qlist_new();

    for (int i = 0; i < QMP_CAPABILITY__MAX; i++) {
        qlist_append_str(capabilities, QMPCapability_str(i));
    }
    qdict_put(qmp, "version", VersionInfo_format(version));
    qdict_put(qmp, "capabilities", QOBJECT(capabilities));
    qdict_put(greeting, "QMP", QOBJECT(qmp));
    return QOBJECT(greeting);
}

/* ---- replies ---- */

static void put_id(QDict *reply, QObject *id)
{
    if (id) {
        qdict_put(reply, "id", qobject_ref(id));
    }
}

static QObject *member_data(const ErrorMember *member)
{
    QDict *data = qdict_new();

    if (member->device) {
        qdict_put_str(data, "device", member->device);
    }
    if (member->filename) {
        qdict_put_str(data, "filename", member->filename);
    }
    if (member->index >= 0) {
        qdict_put_int(data, "index", member->index);
    }
    return QOBJECT(data);
}

QObject *qmp_error_reply(Error *err, QObject *id)
{
    QDict *reply = qdict_new(), *error = qdict_new();

    qdict_put_str(error, "class", error_class_name(error_get_class(err)));
    qdict_put_str(error, "desc", error_get_pretty(err));
    if (error_get_member(err)) {
        qdict_put(error, "data", member_data(error_get_member(err)));
    }
    qdict_put(reply, "error", QOBJECT(error));
    put_id(reply, id);
    error_free(err);
    return QOBJECT(reply);
}

/* ---- requests ---- */

typedef struct QmpRequest {
    const char *command;
    bool oob;
    QDict *arguments;           /* borrowed; NULL: none */
} QmpRequest;

static bool parse_command_member(QmpRequest *req, const char *key, QObject *value, Error **errp)
{
    bool oob = strcmp(key, "exec-oob") == 0;

    if (!qobject_get_str(value)) {
        error_setg(errp, "QMP input member '%s' must be a string", key);
        return false;
    }
    if (req->command) {
        error_setg(errp, "QMP input member '%s' clashes with '%s'", key,
                   oob ? "execute" : "exec-oob");
        return false;
    }
    req->command = qobject_get_str(value);
    req->oob = oob;
    return true;
}

static bool parse_request(QObject *obj, bool allow_oob, QmpRequest *req, Error **errp)
{
    QDict *dict = qobject_to_qdict(obj);
    const char *key;
    QObject *value;

    if (!dict) {
        error_setg(errp, "QMP input must be a JSON object");
        return false;
    }
    for (size_t i = 0; qdict_member(dict, i, &key, &value); i++) {
        if (strcmp(key, "execute") == 0 || (allow_oob && strcmp(key, "exec-oob") == 0)) {
            if (!parse_command_member(req, key, value, errp)) {
                return false;
            }
        } else if (strcmp(key, "arguments") == 0) {
            req->arguments = qobject_to_qdict(value);
            if (!req->arguments) {
                error_setg(errp, "QMP input member 'arguments' must be an object");
                return false;
            }
        } else if (strcmp(key, "id") != 0) {
            error_setg(errp, "QMP input member '%s' is unexpected", key);
            return false;
        }
    }
    if (!req->command) {
        error_setg(errp, "QMP input lacks member 'execute'");
        return false;
    }
    return true;
}

bool qmp_is_oob(const QObject *request)
{
    QDict *dict = qobject_to_qdict((QObject *)request);

    return dict && qdict_has(dict, "exec-oob");
}

/* With an interceptor the one without a name stands for what only that may know. */
static const QmpCommand *main_fn find_command(MonitorSession *s, const QmpRequest *req,
                                              Error **errp)
{
    const QmpCommand *cmd = monitor_commands;
    bool is_negotiation = strcmp(req->command, "qmp_capabilities") == 0;

    if (!s->negotiated && !is_negotiation) {
        error_set_class(errp, ERROR_CLASS_COMMAND_NOT_FOUND,
                        "Expecting capabilities negotiation with 'qmp_capabilities'");
        return NULL;
    }
    if (s->negotiated && is_negotiation) {
        error_set_class(errp, ERROR_CLASS_COMMAND_NOT_FOUND,
                        "Capabilities negotiation is already complete, command ignored");
        return NULL;
    }
    while (cmd->name && strcmp(cmd->name, req->command) != 0) {
        cmd++;
    }
    if (!cmd->name && !monitor_has_interceptor()) {
        error_set_class(errp, ERROR_CLASS_COMMAND_NOT_FOUND,
                        "The command %s has not been found", req->command);
        return NULL;
    }
    if (req->oob && cmd->name && !cmd->allow_oob) {
        error_setg(errp, "The command %s does not support OOB", req->command);
        return NULL;
    }
    return cmd;
}

/* NULL without @errp: success that is not answered. */
static void (*after_command)(void);

void main_fn monitor_set_after_command(void (*cb)(void))
{
    after_command = cb;
}

void monitor_after_command(void)
{
    if (after_command) {
        after_command();
    }
}

/* For the client of @s, NULL: for the program itself. */
static QObject *co_main_fn run_command(MonitorSession *s, const QmpCommand *cmd, const char *name,
                                       QDict *arguments, Error **errp)
{
    QObject *ret = NULL;

    if (monitor_intercept(s, name, arguments, cmd->marshal, &ret, errp)) {
        return ret;
    }
    if (!cmd->name) {
        error_set_class(errp, ERROR_CLASS_COMMAND_NOT_FOUND,
                        "The command %s has not been found", name);
        return NULL;
    }
    return cmd->marshal(arguments, errp);
}

static QObject *co_main_fn run(MonitorSession *s, QObject *obj, Error **errp)
{
    QmpRequest req = { .command = NULL };
    g_autoptr(QDict) arguments = NULL;
    const QmpCommand *cmd;
    QObject *ret;

    if (!parse_request(obj, s->oob, &req, errp)) {
        return NULL;
    }
    cmd = find_command(s, &req, errp);
    if (!cmd) {
        return NULL;
    }
    arguments = req.arguments ? (QDict *)qobject_ref(QOBJECT(req.arguments)) : qdict_new();
    monitor_current_session = s;
    trace_qmp_command_begin(s, req.command, req.oob);
    ret = run_command(s, cmd, req.command, arguments, errp);
    trace_qmp_command_end(s, req.command, errp && *errp ? error_get_pretty(*errp) : NULL);
    monitor_after_command();
    if (ret && cmd->no_response) {
        g_clear_pointer(&ret, qobject_unref);
    }
    return ret;
}

QObject *qmp_dispatch(MonitorSession *s, QObject *request)
{
    QDict *dict = qobject_to_qdict(request), *reply;
    QObject *id = dict ? qdict_get(dict, "id") : NULL;
    Error *err = NULL;
    QObject *ret = run(s, request, &err);

    if (err) {
        return qmp_error_reply(err, id);
    }
    if (!ret) {
        return NULL;
    }
    reply = qdict_new();
    qdict_put(reply, "return", ret);
    put_id(reply, id);
    return QOBJECT(reply);
}

bool monitor_call(const char *name, QDict *arguments, QObject **ret, Error **errp)
{
    g_autoptr(QDict) owned = arguments;
    const QmpCommand *cmd = monitor_commands;
    QObject *result;

    while (cmd->name && strcmp(cmd->name, name) != 0) {
        cmd++;
    }
    result = run_command(NULL, cmd, name, owned, errp);
    if (!result) {
        return false;
    }
    if (ret) {
        *ret = result;
    } else {
        qobject_unref(result);
    }
    return true;
}

/* ---- the command that belongs to the session ---- */

bool qmp_qmp_capabilities(QDict *arguments, QObject **ret, Error **errp)
{
    MonitorSession *s = monitor_current_session;
    g_autoptr(QmpQmpCapabilitiesArgs) args = NULL;

    if (!QmpQmpCapabilitiesArgs_parse(QOBJECT(arguments), &args, errp)) {
        return false;
    }
    for (QMPCapabilityList *l = args->enable; l; l = l->next) {
        s->oob |= l->value == QMP_CAPABILITY_OOB;
    }
    s->negotiated = true;
    *ret = QOBJECT(qdict_new());
    return true;
}
