/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Properties of objects. */
#include "qemu/osdep.h"

#include "block/blockdev.h"
#include "block/objects.h"
#include "qapi/qapi-format.h"
#include "qapi/qapi-parse.h"

/* ---- limits ---- */

static const struct {
    const char *name, *max, *length;
} rate_names[THROTTLE_LIMIT__MAX] = {
#define RATE_NAMES(name) { name, name "-max", name "-max-length" }
    [THROTTLE_BPS_TOTAL] = RATE_NAMES("bps-total"),
    [THROTTLE_BPS_READ] = RATE_NAMES("bps-read"),
    [THROTTLE_BPS_WRITE] = RATE_NAMES("bps-write"),
    [THROTTLE_IOPS_TOTAL] = RATE_NAMES("iops-total"),
    [THROTTLE_IOPS_READ] = RATE_NAMES("iops-read"),
    [THROTTLE_IOPS_WRITE] = RATE_NAMES("iops-write"),
};

static QDict *main_fn current_limits(const UserObject *o)
{
    QDict *limits = qdict_new();
    ThrottleConfig cfg;

    throttle_group_get(o->throttle, &cfg);
    for (int i = 0; i < THROTTLE_LIMIT__MAX; i++) {
        qdict_put_int(limits, rate_names[i].name, cfg.rate[i].avg);
        qdict_put_int(limits, rate_names[i].max, cfg.rate[i].max);
        qdict_put_int(limits, rate_names[i].length, cfg.rate[i].burst_s);
    }
    qdict_put_int(limits, "iops-size", cfg.iops_size);
    return limits;
}

/* Puts the members of @from into @to, those called PREFIXNAME as NAME. */
static void merge(QDict *to, const QDict *from, const char *prefix)
{
    const char *key;
    QObject *value;

    for (size_t i = 0; qdict_member(from, i, &key, &value); i++) {
        if (g_str_has_prefix(key, prefix)) {
            qdict_put(to, key + strlen(prefix), qobject_ref(value));
        }
    }
}

ThrottleLimits *any_fn object_throttle_limits(const ThrottleGroupProperties *props, Error **errp)
{
    g_autoptr(QObject) given = ThrottleGroupProperties_format(props);
    g_autoptr(QDict) limits = qdict_new();
    QDict *given_limits = qobject_to_qdict(qdict_get(qobject_to_qdict(given), "limits"));
    ThrottleLimits *ret = NULL;

    if (given_limits) {
        merge(limits, given_limits, "");
    }
    merge(limits, qobject_to_qdict(given), "x-");
    ThrottleLimits_parse(QOBJECT(limits), &ret, errp);
    return ret;
}

/* What is not given stays as it is. */
static bool main_fn set_limits(UserObject *o, QObject *value, Error **errp)
{
    g_autoptr(QDict) limits = current_limits(o);
    g_autoptr(ThrottleLimits) given = NULL, all = NULL;
    g_autoptr(QObject) plain = NULL;
    ThrottleConfig cfg;

    if (!ThrottleLimits_parse(value, &given, errp)) {
        return false;
    }
    plain = ThrottleLimits_format(given);
    merge(limits, qobject_to_qdict(plain), "");
    if (!ThrottleLimits_parse(QOBJECT(limits), &all, errp) ||
        !blockdev_throttle_config(all, &cfg, errp)) {
        return false;
    }
    throttle_group_set(o->throttle, &cfg);
    return true;
}

/* ---- secrets ---- */

static QObject *main_fn secret_data(const UserObject *o)
{
    if (o->secret_file) {
        return qstring_new("");
    }
    if (o->secret_format == Q_CRYPTO_SECRET_FORMAT_BASE64) {
        g_autofree char *text = g_base64_encode((guchar *)o->secret, o->secret_len);
        return qstring_new(text);
    }
    return qstring_new(o->secret);
}

/* ---- all ---- */

static const ObjectProperty iothread_properties[] = {
    { "type", "string" }, { "poll-max-ns", "int" }, { NULL },
};

static const ObjectProperty secret_properties[] = {
    { "type", "string" }, { "loaded", "bool" }, { "format", "QCryptoSecretFormat" },
    { "file", "string" }, { "data", "string" }, { NULL },
};

static const ObjectProperty throttle_properties[] = {
#define X_RATE(name) { "x-" name, "int" }, { "x-" name "-max", "int" }, \
                     { "x-" name "-max-length", "int" }
    { "type", "string" }, { "limits", "ThrottleLimits" },
    X_RATE("bps-total"), X_RATE("bps-read"), X_RATE("bps-write"),
    X_RATE("iops-total"), X_RATE("iops-read"), X_RATE("iops-write"),
    { "x-iops-size", "int" }, { NULL },
};

const ObjectProperty *any_fn object_properties(ObjectType type)
{
    static const ObjectProperty *const all[] = {
        [OBJECT_TYPE_IOTHREAD] = iothread_properties,
        [OBJECT_TYPE_SECRET] = secret_properties,
        [OBJECT_TYPE_THROTTLE_GROUP] = throttle_properties,
    };

    return all[type];
}

static QObject *main_fn get_secret(const UserObject *o, const char *name)
{
    if (strcmp(name, "loaded") == 0) {
        return qbool_new(true);
    }
    if (strcmp(name, "format") == 0) {
        return qstring_new(QCryptoSecretFormat_str(o->secret_format));
    }
    if (strcmp(name, "file") == 0) {
        return qstring_new(o->secret_file ?: "");
    }
    return strcmp(name, "data") == 0 ? secret_data(o) : NULL;
}

static QObject *main_fn get_throttle(const UserObject *o, const char *name)
{
    g_autoptr(QDict) limits = current_limits(o);

    if (strcmp(name, "limits") == 0) {
        return qobject_ref(QOBJECT(limits));
    }
    QObject *value = g_str_has_prefix(name, "x-") ? qdict_get(limits, name + 2) : NULL;
    return value ? qobject_ref(value) : NULL;
}

QObject *main_fn object_get_property(const UserObject *o, const char *name)
{
    if (strcmp(name, "type") == 0) {
        return qstring_new(ObjectType_str(o->type));
    }
    switch (o->type) {
    case OBJECT_TYPE_IOTHREAD:
        return strcmp(name, "poll-max-ns") == 0 ? qint_new(o->poll_max_ns) : NULL;
    case OBJECT_TYPE_THROTTLE_GROUP:
        return get_throttle(o, name);
    default:
        return get_secret(o, name);
    }
}

static bool main_fn set_poll_max_ns(UserObject *o, QObject *value, Error **errp)
{
    int64_t ns;

    if (!qobject_get_int(value, &ns)) {
        error_setg(errp, "Invalid parameter type for 'poll-max-ns', expected: integer");
        return false;
    }
    if (ns < 0) {
        error_setg(errp, "poll-max-ns value must be in range [0, %" PRId64 "]", INT64_MAX);
        return false;
    }
    o->poll_max_ns = ns;
    return true;
}

bool main_fn object_set_property(UserObject *o, const char *name, QObject *value, Error **errp)
{
    if (o->type == OBJECT_TYPE_IOTHREAD && strcmp(name, "poll-max-ns") == 0) {
        return set_poll_max_ns(o, value, errp);
    }
    if (o->type == OBJECT_TYPE_THROTTLE_GROUP && strcmp(name, "limits") == 0) {
        return set_limits(o, value, errp);
    }
    if (strcmp(name, "type") == 0 || strcmp(name, "loaded") == 0) {
        error_setg(errp, "Property '%s.%s' is not writable", ObjectType_str(o->type), name);
    } else {
        error_setg(errp, "Property cannot be set after initialization");
    }
    return false;
}
