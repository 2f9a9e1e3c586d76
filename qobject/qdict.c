/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Dicts: an array of entries, and an index over it once it is long. */
#include "qemu/osdep.h"

#include "qobject-internal.h"

/* Up to here comparing is cheaper than an index, in time and much more so in memory. */
#define MAX_WITHOUT_INDEX 16

QDict *qdict_new(void)
{
    return qobject_alloc(QTYPE_QDICT, sizeof(QDict));
}

QDict *qobject_to_qdict(QObject *obj)
{
    return qobject_type(obj) == QTYPE_QDICT ? (QDict *)obj : NULL;
}

void qdict_free_memory(QDict *dict)
{
    if (dict->index) {
        g_hash_table_unref(dict->index);
    }
    for (size_t i = 0; i < dict->len; i++) {
        g_free(dict->entries[i].key);
    }
    g_free(dict->entries);
    g_free(dict);
}

static QDictEntry *find(const QDict *dict, const char *key)
{
    if (dict->index) {
        gpointer position = g_hash_table_lookup(dict->index, key);

        return position ? &dict->entries[GPOINTER_TO_SIZE(position) - 1] : NULL;
    }
    for (size_t i = 0; i < dict->len; i++) {
        if (strcmp(dict->entries[i].key, key) == 0) {
            return &dict->entries[i];
        }
    }
    return NULL;
}

static void make_index(QDict *dict)
{
    dict->index = g_hash_table_new(g_str_hash, g_str_equal);
    for (size_t i = 0; i < dict->len; i++) {
        g_hash_table_insert(dict->index, dict->entries[i].key, GSIZE_TO_POINTER(i + 1));
    }
}

void qdict_put(QDict *dict, const char *key, QObject *takes)
{
    QDictEntry *entry = find(dict, key);

    assert(takes);
    if (entry) {
        qobject_unref(entry->value);
        entry->value = takes;
        return;
    }
    if (dict->len == dict->room) {
        dict->room = dict->room ? dict->room * 2 : 4;
        dict->entries = g_renew(QDictEntry, dict->entries, dict->room);
    }
    entry = &dict->entries[dict->len++];
    entry->key = g_strdup(key);
    entry->value = takes;
    if (dict->index) {
        g_hash_table_insert(dict->index, entry->key, GSIZE_TO_POINTER(dict->len));
    } else if (dict->len > MAX_WITHOUT_INDEX) {
        make_index(dict);
    }
}

bool qdict_has(const QDict *dict, const char *key)
{
    return find(dict, key) != NULL;
}

QObject *qdict_get(const QDict *dict, const char *key)
{
    QDictEntry *entry = find(dict, key);

    return entry ? entry->value : NULL;
}

bool qdict_del(QDict *dict, const char *key)
{
    QDictEntry *entry = find(dict, key);
    QDictEntry gone;

    if (!entry) {
        return false;
    }
    gone = *entry;
    g_clear_pointer(&dict->index, g_hash_table_unref);
    memmove(entry, entry + 1, (dict->entries + dict->len - (entry + 1)) * sizeof(*entry));
    dict->len--;
    if (dict->len > MAX_WITHOUT_INDEX) {
        make_index(dict);
    }
    g_free(gone.key);
    qobject_unref(gone.value);
    return true;
}

size_t qdict_size(const QDict *dict)
{
    return dict->len;
}

bool qdict_member(const QDict *dict, size_t index, const char **ret_key, QObject **ret_value)
{
    if (index >= dict->len) {
        return false;
    }
    *ret_key = dict->entries[index].key;
    *ret_value = dict->entries[index].value;
    return true;
}

QDict *qdict_copy_shallow(const QDict *dict)
{
    QDict *copy = qdict_new();

    for (size_t i = 0; i < dict->len; i++) {
        qdict_put(copy, dict->entries[i].key, qobject_ref(dict->entries[i].value));
    }
    return copy;
}
