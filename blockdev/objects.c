/* SPDX-License-Identifier: GPL-2.0-or-later */
/* object-add, object-del: iothreads, secrets, throttle groups. */
#include "qemu/osdep.h"

#include "block/blockdev.h"
#include "block/objects.h"
#include "qapi/qapi-commands.h"
#include "qemu/id.h"

static GPtrArray *objects;          /* in order of creation */

static UserObject *main_fn find(const char *id)
{
    for (guint i = 0; objects && i < objects->len; i++) {
        UserObject *o = objects->pdata[i];
        if (strcmp(o->id, id) == 0) {
            return o;
        }
    }
    return NULL;
}

UserObject *main_fn blockdev_object_at(guint i)
{
    return objects && i < objects->len ? objects->pdata[i] : NULL;
}

IOThread *main_fn blockdev_find_iothread(const char *id)
{
    UserObject *o = find(id);

    return o ? o->iothread : NULL;
}

const char *main_fn blockdev_find_secret(const char *id, size_t *ret_len)
{
    UserObject *o = find(id);

    if (!o || !o->secret) {
        return NULL;
    }
    *ret_len = o->secret_len;
    return o->secret;
}

static void main_fn object_free(UserObject *o)
{
    if (o->iothread) {
        iothread_free(o->iothread);
    }
    if (o->throttle) {
        throttle_group_unref(o->throttle);
    }
    if (o->secret) {
        explicit_bzero(o->secret, o->secret_len);
        g_free(o->secret);
    }
    g_free(o->secret_file);
    g_free(o->id);
    g_free(o);
}

static bool main_fn check_id(const char *id, Error **errp)
{
    if (!id_is_well_formed(id)) {
        error_setg(errp, "Parameter 'id' expects an identifier");
        return false;
    }
    if (find(id)) {
        error_setg(errp, "attempt to add duplicate property '%s' to object (type 'container')",
                   id);
        return false;
    }
    return true;
}

/* Letters of the alphabet in fours, the last filled up with '='; white space is left out. */
static bool is_base64(const char *text, size_t len)
{
    size_t letters = 0, fill = 0;

    for (size_t i = 0; i < len; i++) {
        if (g_ascii_isspace(text[i])) {
            continue;
        }
        if (text[i] == '=') {
            fill++;
        } else if (fill || !(g_ascii_isalnum(text[i]) || text[i] == '+' || text[i] == '/')) {
            return false;
        }
        letters++;
    }
    return letters % 4 == 0 && fill <= 2;
}

static bool main_fn decode_base64(UserObject *o, Error **errp)
{
    gsize len;

    if (!is_base64(o->secret, o->secret_len)) {
        error_setg(errp, "The content of secret '%s' is not valid base64", o->id);
        return false;
    }
    guchar *raw = g_base64_decode(o->secret, &len);
    explicit_bzero(o->secret, o->secret_len);
    g_free(o->secret);
    o->secret = (char *)raw;
    o->secret_len = len;
    return true;
}

typedef struct SecretTask {
    const char *path;
    char *content;
    size_t len;
    GError *err;
} SecretTask;

static int blocking_fn read_secret_in_thread(void *opaque)
{
    SecretTask *t = opaque;

    g_file_get_contents(t->path, &t->content, &t->len, &t->err);
    return 0;
}

static bool co_main_fn read_secret(UserObject *o, const char *path, Error **errp)
{
    SecretTask t = { .path = path };

    thread_pool_co_run(read_secret_in_thread, &t);
    o->secret = t.content;
    o->secret_len = t.len;
    if (t.err) {
        error_setg(errp, "Unable to read %s: %s", path, t.err->message);
        g_error_free(t.err);
        return false;
    }
    return check_id(o->id, errp);   /* somebody else may have taken it meanwhile */
}

static bool co_main_fn load_secret(UserObject *o, const SecretProperties *p, Error **errp)
{
    if (!p->data == !p->file) {
        error_setg(errp, p->data ? "'file' and 'data' are mutually exclusive"
                                 : "Must provide 'file' or 'data'");
        return false;
    }
    if (p->data) {
        o->secret = g_strdup(p->data);
        o->secret_len = strlen(p->data);
    } else if (!read_secret(o, p->file, errp)) {
        return false;
    }
    o->secret_file = g_strdup(p->file);
    o->secret_format = p->has_format ? p->format : Q_CRYPTO_SECRET_FORMAT_RAW;
    if (o->secret_format == Q_CRYPTO_SECRET_FORMAT_BASE64) {
        return decode_base64(o, errp);
    }
    return true;
}

static bool main_fn make_throttle_group(UserObject *o, const ThrottleGroupProperties *props,
                                        Error **errp)
{
    g_autoptr(ThrottleLimits) limits = object_throttle_limits(props, errp);
    ThrottleConfig cfg;

    if (!limits || !blockdev_throttle_config(limits, &cfg, errp)) {
        return false;
    }
    o->throttle = throttle_group_new(o->id, errp);
    if (o->throttle) {
        throttle_group_set(o->throttle, &cfg);
    }
    return o->throttle != NULL;
}

static bool main_fn make_iothread(UserObject *o, const IothreadProperties *props, Error **errp)
{
    g_autoptr(QObject) poll = qint_new(props->has_poll_max_ns ? props->poll_max_ns : 0);

    if (!object_set_property(o, "poll-max-ns", poll, errp)) {
        return false;
    }
    o->iothread = iothread_new(o->id, errp);
    return o->iothread != NULL;
}

bool co_main_fn blockdev_object_add(const ObjectOptions *opts, Error **errp)
{
    bool ok;

    if (!check_id(opts->id, errp)) {
        return false;
    }
    UserObject *o = g_new0(UserObject, 1);
    o->id = g_strdup(opts->id);
    o->type = opts->qom_type;
    switch (opts->qom_type) {
    case OBJECT_TYPE_IOTHREAD:
        ok = make_iothread(o, &opts->u.iothread, errp);
        break;
    case OBJECT_TYPE_THROTTLE_GROUP:
        ok = make_throttle_group(o, &opts->u.throttle_group, errp);
        break;
    default:
        ok = load_secret(o, &opts->u.secret, errp);
        break;
    }
    if (!ok) {
        object_free(o);
        return false;
    }
    if (!objects) {
        objects = g_ptr_array_new();
    }
    g_ptr_array_add(objects, o);
    return true;
}

bool co_main_fn qmp_object_add(const ObjectOptions *args, Error **errp)
{
    return blockdev_object_add(args, errp);
}

bool co_main_fn qmp_object_del(const QmpObjectDelArgs *args, Error **errp)
{
    UserObject *o = find(args->id);

    if (!o) {
        error_setg(errp, "object '%s' not found", args->id);
        return false;
    }
    if ((o->iothread && iothread_in_use(o->iothread)) ||
        (o->throttle && throttle_group_in_use(o->throttle))) {
        error_setg(errp, "object '%s' is in use, can not be deleted", args->id);
        return false;
    }
    g_ptr_array_remove(objects, o);
    object_free(o);
    return true;
}

bool co_main_fn qmp_query_iothreads(IOThreadInfoList **ret, Error **errp)
{
    IOThreadInfoList *list = NULL, **tail = &list;

    for (guint i = 0; objects && i < objects->len; i++) {
        UserObject *o = objects->pdata[i];
        if (o->iothread) {
            IOThreadInfo *info = g_new0(IOThreadInfo, 1);
            info->id = g_strdup(o->id);
            info->thread_id = iothread_tid(o->iothread);
            info->poll_max_ns = o->poll_max_ns;
            IOThreadInfoList_append(&tail, info);
        }
    }
    *ret = list;
    return true;
}

void main_fn blockdev_delete_all_objects(void)
{
    for (guint i = 0; objects && i < objects->len; i++) {
        object_free(objects->pdata[i]);
    }
    g_clear_pointer(&objects, g_ptr_array_unref);
}
