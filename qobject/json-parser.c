/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Tokens to a value.  Keeps its own stack: how deep a value is nested has nothing to do with how
 * deep the C stack gets.
 */
#include "qemu/osdep.h"

#include <math.h>

#include "json-internal.h"

typedef enum JsonExpect {
    EXPECT_FIRST,               /* the first key or element, or the end */
    EXPECT_KEY,
    EXPECT_COLON,
    EXPECT_VALUE,
    EXPECT_COMMA,               /* or the end */
} JsonExpect;

/* What values take on the heap, with what the allocator adds. */
#define COST_VALUE 48           /* and its place in a list */
#define COST_CONTAINER 144
#define COST_MEMBER 96          /* its place in a dict, in the index, and the key's block */

static bool spend(JsonParser *parser, size_t bytes, Error **errp)
{
    parser->heap += bytes;
    if (parser->heap > JSON_MAX_HEAP) {
        error_setg(errp, "JSON memory limit exceeded");
        return false;
    }
    return true;
}

void json_parser_init(JsonParser *parser)
{
    *parser = (JsonParser){ .stack = g_array_new(FALSE, FALSE, sizeof(JsonLevel)) };
}

void json_parser_reset(JsonParser *parser)
{
    for (guint i = 0; i < parser->stack->len; i++) {
        JsonLevel *level = &g_array_index(parser->stack, JsonLevel, i);

        g_free(level->key);
        qobject_unref(level->container);
    }
    g_array_set_size(parser->stack, 0);
    g_clear_pointer(&parser->value, qobject_unref);
    parser->heap = 0;
}

void json_parser_destroy(JsonParser *parser)
{
    json_parser_reset(parser);
    g_array_free(parser->stack, TRUE);
}

QObject *json_parser_steal(JsonParser *parser)
{
    QObject *value = g_steal_pointer(&parser->value);

    json_parser_reset(parser);
    return value;
}

static JsonLevel *top(JsonParser *parser)
{
    return parser->stack->len
           ? &g_array_index(parser->stack, JsonLevel, parser->stack->len - 1) : NULL;
}

/* Puts @value, which it takes, where one is expected. */
static void add_value(JsonParser *parser, QObject *value)
{
    JsonLevel *level = top(parser);

    if (!level) {
        parser->value = value;
    } else if (level->key) {
        qdict_put((QDict *)level->container, level->key, value);
        g_clear_pointer(&level->key, g_free);
        level->expect = EXPECT_COMMA;
    } else {
        qlist_append((QList *)level->container, value);
        level->expect = EXPECT_COMMA;
    }
}

static bool open_container(JsonParser *parser, QObject *container, Error **errp)
{
    JsonLevel level = { .container = container, .expect = EXPECT_FIRST };

    g_array_append_val(parser->stack, level);
    return spend(parser, COST_CONTAINER, errp);
}

static void close_container(JsonParser *parser)
{
    QObject *container = top(parser)->container;

    g_array_set_size(parser->stack, parser->stack->len - 1);
    add_value(parser, container);
}

/* ---- values ---- */

static QObject *keyword(const char *text, Error **errp)
{
    if (strcmp(text, "true") == 0 || strcmp(text, "false") == 0) {
        return qbool_new(text[0] == 't');
    }
    if (strcmp(text, "null") == 0) {
        return qnull_new();
    }
    error_setg(errp, "JSON parse error, invalid keyword '%.80s'", text);
    return NULL;
}

static QObject *float_number(const char *text, Error **errp)
{
    double value = g_ascii_strtod(text, NULL);

    if (!isfinite(value)) {
        error_setg(errp, "JSON parse error, number '%.80s' is too large", text);
        return NULL;
    }
    return qdouble_new(value);
}

static QObject *integer(const char *text, Error **errp)
{
    int64_t value;
    uint64_t positive;

    errno = 0;
    value = g_ascii_strtoll(text, NULL, 10);
    if (errno == 0) {
        return qint_new(value);
    }
    if (text[0] != '-') {
        errno = 0;
        positive = g_ascii_strtoull(text, NULL, 10);
        if (errno == 0) {
            return quint_new(positive);
        }
    }
    return float_number(text, errp);
}

static QObject *string(JsonParser *parser, const char *text, size_t len, Error **errp)
{
    size_t value_len;
    g_autofree char *value = json_unescape(text, len, &value_len, errp);

    if (!value || !spend(parser, value_len, errp)) {
        return NULL;
    }
    return qstring_new_len(value, value_len);
}

static bool value_token(JsonParser *parser, JsonTokenType type, const char *text, size_t len,
                        Error **errp)
{
    QObject *value;

    switch (type) {
    case JSON_TOKEN_LCURLY:
        return open_container(parser, QOBJECT(qdict_new()), errp);
    case JSON_TOKEN_LSQUARE:
        return open_container(parser, QOBJECT(qlist_new()), errp);
    case JSON_TOKEN_STRING:
        value = string(parser, text, len, errp);
        break;
    case JSON_TOKEN_INTEGER:
        value = integer(text, errp);
        break;
    case JSON_TOKEN_FLOAT:
        value = float_number(text, errp);
        break;
    case JSON_TOKEN_KEYWORD:
        value = keyword(text, errp);
        break;
    default:
        error_setg(errp, "JSON parse error, expecting value");
        return false;
    }
    if (!value) {
        return false;
    }
    add_value(parser, value);
    return spend(parser, COST_VALUE, errp);
}

/* ---- inside of objects and arrays ---- */

static void bad_key(JsonTokenType type, const char *text, Error **errp)
{
    g_autoptr(QObject) word = NULL;

    switch (type) {
    case JSON_TOKEN_RCURLY:
    case JSON_TOKEN_RSQUARE:
    case JSON_TOKEN_COLON:
    case JSON_TOKEN_COMMA:
        error_setg(errp, "JSON parse error, expecting value");
        return;
    case JSON_TOKEN_KEYWORD:
        word = keyword(text, errp);
        if (!word) {
            return;
        }
        break;
    default:
        break;
    }
    error_setg(errp, "JSON parse error, key is not a string in object");
}

static bool key_token(JsonParser *parser, JsonLevel *level, JsonTokenType type, const char *text,
                      size_t len, Error **errp)
{
    size_t key_len;

    if (type != JSON_TOKEN_STRING) {
        bad_key(type, text, errp);
        return false;
    }
    level->key = json_unescape(text, len, &key_len, errp);
    if (!level->key || !spend(parser, COST_MEMBER + key_len, errp)) {
        return false;
    }
    if (qdict_has((QDict *)level->container, level->key)) {
        error_setg(errp, "JSON parse error, duplicate key");
        return false;
    }
    level->expect = EXPECT_COLON;
    return true;
}

static bool dict_token(JsonParser *parser, JsonLevel *level, JsonTokenType type,
                       const char *text, size_t len, Error **errp)
{
    switch (level->expect) {
    case EXPECT_FIRST:
    case EXPECT_COMMA:
        if (type == JSON_TOKEN_RCURLY) {
            close_container(parser);
            return true;
        }
        if (level->expect == EXPECT_FIRST) {
            return key_token(parser, level, type, text, len, errp);
        }
        if (type != JSON_TOKEN_COMMA) {
            error_setg(errp, "JSON parse error, expected separator in dict");
            return false;
        }
        level->expect = EXPECT_KEY;
        return true;
    case EXPECT_KEY:
        return key_token(parser, level, type, text, len, errp);
    case EXPECT_COLON:
        if (type != JSON_TOKEN_COLON) {
            error_setg(errp, "JSON parse error, missing : in object pair");
            return false;
        }
        level->expect = EXPECT_VALUE;
        return true;
    default:
        return value_token(parser, type, text, len, errp);
    }
}

static bool list_token(JsonParser *parser, JsonLevel *level, JsonTokenType type,
                       const char *text, size_t len, Error **errp)
{
    if (type == JSON_TOKEN_RSQUARE && level->expect != EXPECT_VALUE) {
        close_container(parser);
        return true;
    }
    if (level->expect != EXPECT_COMMA) {
        return value_token(parser, type, text, len, errp);
    }
    if (type != JSON_TOKEN_COMMA) {
        error_setg(errp, "JSON parse error, expected separator in list");
        return false;
    }
    level->expect = EXPECT_VALUE;
    return true;
}

bool json_parser_token(JsonParser *parser, JsonTokenType type, const char *text, size_t len,
                       Error **errp)
{
    JsonLevel *level = top(parser);

    if (!level) {
        return value_token(parser, type, text, len, errp);
    }
    if (qobject_type(level->container) == QTYPE_QDICT) {
        return dict_token(parser, level, type, text, len, errp);
    }
    return list_token(parser, level, type, text, len, errp);
}
