/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Values to text.
 *
 * Scripts compare this output, so it looks like QEMU's: the members of an object come in the order
 * of a hash table of 512 buckets, and in one bucket the one that was put in last comes first.
 */
#include "qemu/osdep.h"

#include "json-internal.h"
#include "qobject-internal.h"
#include "qobject/json.h"

/* The bucket in which a member of this name would be. */
static unsigned bucket(const char *key)
{
    size_t len = strlen(key);
    uint32_t hash = 0x238f13afu * (uint32_t)len;

    for (size_t i = 0; i < len; i++) {
        hash += (uint32_t)(unsigned char)key[i] << (5 * i % 24);
    }
    return (1103515243u * hash + 12345u) % 512;
}

typedef struct EmitEntry {
    const QDictEntry *entry;
    unsigned bucket;
} EmitEntry;

static int compare_entries(const void *va, const void *vb)
{
    const EmitEntry *a = va, *b = vb;

    if (a->bucket != b->bucket) {
        return a->bucket < b->bucket ? -1 : 1;
    }
    return a->entry > b->entry ? -1 : 1;
}

/* A container that is being written: not by recursion, as values may be nested deeply. */
typedef struct EmitLevel {
    const QObject *container;
    EmitEntry *order;           /* of a dict */
    size_t next, len;
} EmitLevel;

static void new_line(GString *out, guint depth)
{
    g_string_append_c(out, '\n');
    for (guint i = 0; i < depth; i++) {
        g_string_append(out, "    ");
    }
}

static void append_escaped(GString *out, gunichar c)
{
    static const char names[] = "\"\\\b\f\n\r\t", letters[] = "\"\\bfnrt";
    const char *name = c < 128 && c ? strchr(names, (int)c) : NULL;

    if (name) {
        g_string_append_c(out, '\\');
        g_string_append_c(out, letters[name - names]);
    } else if (c >= 0x10000) {
        c -= 0x10000;
        g_string_append_printf(out, "\\u%04X\\u%04X", 0xd800 + (c >> 10), 0xdc00 + (c & 0x3ff));
    } else {
        g_string_append_printf(out, "\\u%04X", c);
    }
}

/* The character at @str, escaped; the bytes that it takes. */
static size_t append_character(GString *out, const char *str, size_t len)
{
    gunichar c = *str ? g_utf8_get_char_validated(str, len) : 0;

    if (len >= 2 && memcmp(str, JSON_NUL, 2) == 0) {
        append_escaped(out, 0);
        return 2;
    }
    if (c == (gunichar)-1 || c == (gunichar)-2) {
        append_escaped(out, 0xfffd);
        return 1;
    }
    append_escaped(out, json_is_noncharacter(c) ? 0xfffd : c);
    return *str ? g_utf8_skip[(unsigned char)*str] : 1;
}

/* Text that is not valid UTF-8 (a file's name may not be) becomes U+FFFD. */
static void append_string(GString *out, const char *str, size_t len)
{
    const char *end = str + len;

    g_string_append_c(out, '"');
    while (str < end) {
        const char *run = str;

        while (run < end && *run >= 0x20 && *run < 0x7f && *run != '"' && *run != '\\') {
            run++;
        }
        g_string_append_len(out, str, run - str);
        str = run;
        if (str == end) {
            break;
        }
        str += append_character(out, str, end - str);
    }
    g_string_append_c(out, '"');
}

static void append_scalar(GString *out, const QObject *obj)
{
    g_autofree char *number = NULL;

    switch (qobject_type(obj)) {
    case QTYPE_QNULL:
        g_string_append(out, "null");
        break;
    case QTYPE_QBOOL:
        g_string_append(out, ((const QBool *)obj)->value ? "true" : "false");
        break;
    case QTYPE_QNUM:
        number = qnum_to_string(obj);
        g_string_append(out, number);
        break;
    case QTYPE_QSTRING:
        append_string(out, qobject_get_str(obj), qstring_len(obj));
        break;
    default:
        g_assert_not_reached();
    }
}

/* In the order in which they are printed; the caller frees. */
static EmitEntry *ordered(const QDict *dict)
{
    EmitEntry *order = g_new(EmitEntry, dict->len);

    for (size_t i = 0; i < dict->len; i++) {
        order[i].entry = &dict->entries[i];
        order[i].bucket = bucket(order[i].entry->key);
    }
    if (dict->len > 1) {
        qsort(order, dict->len, sizeof(*order), compare_entries);
    }
    return order;
}

size_t *any_fn json_member_order(const QDict *dict)
{
    g_autofree EmitEntry *order = ordered(dict);
    size_t *indexes = g_new(size_t, dict->len);

    for (size_t i = 0; i < dict->len; i++) {
        indexes[i] = order[i].entry - dict->entries;
    }
    return indexes;
}

static EmitLevel level_for(const QObject *container)
{
    EmitLevel level = { .container = container };

    if (container->type == QTYPE_QLIST) {
        level.len = ((const QList *)container)->len;
        return level;
    }
    level.len = ((const QDict *)container)->len;
    level.order = ordered((const QDict *)container);
    return level;
}

/* What comes before the next member of @level, and the member; NULL at the end. */
static const QObject *next_member(GString *out, EmitLevel *level, guint depth, bool pretty)
{
    const QDictEntry *entry;

    if (level->next == level->len) {
        if (pretty) {
            new_line(out, depth - 1);
        }
        g_string_append_c(out, level->container->type == QTYPE_QDICT ? '}' : ']');
        return NULL;
    }
    if (level->next) {
        g_string_append(out, pretty ? "," : ", ");
    }
    if (pretty) {
        new_line(out, depth);
    }
    if (level->container->type == QTYPE_QLIST) {
        return ((const QList *)level->container)->items[level->next++];
    }
    entry = level->order[level->next++].entry;
    append_string(out, entry->key, strlen(entry->key));
    g_string_append(out, ": ");
    return entry->value;
}

void json_append(GString *out, const QObject *obj, bool pretty)
{
    g_autoptr(GArray) stack = g_array_new(FALSE, FALSE, sizeof(EmitLevel));
    const QObject *value = obj;

    for (;;) {
        EmitLevel *level;

        if (value && (value->type == QTYPE_QDICT || value->type == QTYPE_QLIST)) {
            EmitLevel inner = level_for(value);

            g_string_append_c(out, value->type == QTYPE_QDICT ? '{' : '[');
            g_array_append_val(stack, inner);
        } else if (value) {
            append_scalar(out, value);
        }
        if (stack->len == 0) {
            return;
        }
        level = &g_array_index(stack, EmitLevel, stack->len - 1);
        value = next_member(out, level, stack->len, pretty);
        if (!value) {
            g_free(level->order);
            g_array_set_size(stack, stack->len - 1);
        }
    }
}

char *json_to_string(const QObject *obj)
{
    GString *out = g_string_new(NULL);

    json_append(out, obj, false);
    return g_string_free(out, FALSE);
}

char *json_to_string_pretty(const QObject *obj)
{
    GString *out = g_string_new(NULL);

    json_append(out, obj, true);
    return g_string_free(out, FALSE);
}
