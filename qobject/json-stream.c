/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Values out of a stream of bytes.
 *
 * Braces and brackets are counted apart from parsing: a value that is broken inside is skipped up
 * to where its brackets are closed, and is one error, not one for each of its tokens.
 */
#include "qemu/osdep.h"

#include "json-internal.h"

struct JsonStream {
    JsonLexer lexer;
    JsonParser parser;
    JsonStreamEmit *emit;
    void *opaque;
    int64_t braces, brackets;   /* open ones */
    int64_t tokens;             /* of this value */
    Error *error;               /* of this value, not reported yet */
    bool skipping;              /* this value is broken */
};

static void next_value(JsonStream *s)
{
    json_parser_reset(&s->parser);
    g_clear_pointer(&s->error, error_free);
    s->braces = s->brackets = s->tokens = 0;
    s->skipping = false;
}

/* Takes @err; the value's remaining tokens are skipped. */
static void broken(JsonStream *s, Error *err)
{
    json_parser_reset(&s->parser);
    s->skipping = true;
    s->error = err;
}

/* As broken(), but reports it now: the end of the value may be far away. */
static void broken_now(JsonStream *s, Error *err)
{
    broken(s, NULL);
    s->emit(s->opaque, NULL, err);
}

/* The value's brackets are closed (or closed once too often). */
static void value_ends(JsonStream *s)
{
    QObject *value = NULL;
    Error *err = g_steal_pointer(&s->error);
    bool reported = s->skipping && !err;

    if (!s->skipping) {
        value = json_parser_steal(&s->parser);
        if (!value) {
            error_setg(&err, "JSON parse error, expecting value");
        }
    }
    next_value(s);
    if (!reported) {
        s->emit(s->opaque, value, err);
    }
}

static void count_brackets(JsonStream *s, JsonTokenType type)
{
    switch (type) {
    case JSON_TOKEN_LCURLY:
        s->braces++;
        break;
    case JSON_TOKEN_RCURLY:
        s->braces--;
        break;
    case JSON_TOKEN_LSQUARE:
        s->brackets++;
        break;
    case JSON_TOKEN_RSQUARE:
        s->brackets--;
        break;
    default:
        break;
    }
}

static void parse_token(JsonStream *s, JsonTokenType type, const char *text, size_t len)
{
    Error *err = NULL;

    if (s->braces + s->brackets > JSON_MAX_NESTING) {
        error_setg(&err, "JSON nesting depth limit exceeded");
        broken_now(s, err);
    } else if (++s->tokens > JSON_MAX_TOKENS) {
        error_setg(&err, "JSON token count limit exceeded");
        broken_now(s, err);
    } else if (!json_parser_token(&s->parser, type, text, len, &err)) {
        broken(s, err);
    }
}

static void token(void *opaque, JsonTokenType type, const char *text, size_t len)
{
    JsonStream *s = opaque;
    Error *err = NULL;

    if (type >= JSON_TOKEN_ERROR) {
        /* Nobody knows where this value was to end: what follows is a new one. */
        if (type == JSON_TOKEN_TOO_LONG) {
            error_setg(&err, "JSON token size limit exceeded");
        } else {
            error_setg(&err, "JSON parse error, stray '%.80s'", text);
        }
        next_value(s);
        s->emit(s->opaque, NULL, err);
        return;
    }
    count_brackets(s, type);
    if (!s->skipping) {
        parse_token(s, type, text, len);
    }
    if (s->braces < 0 || s->brackets < 0 || (s->braces == 0 && s->brackets == 0)) {
        value_ends(s);
    }
}

JsonStream *json_stream_new(JsonStreamEmit *emit, void *opaque)
{
    JsonStream *s = g_new0(JsonStream, 1);

    json_lexer_init(&s->lexer, token, s);
    json_parser_init(&s->parser);
    s->emit = emit;
    s->opaque = opaque;
    return s;
}

void json_stream_free(JsonStream *s)
{
    if (s) {
        next_value(s);
        json_lexer_destroy(&s->lexer);
        json_parser_destroy(&s->parser);
        g_free(s);
    }
}

void json_stream_feed(JsonStream *s, const char *buf, size_t len)
{
    json_lexer_feed(&s->lexer, buf, len);
}

void json_stream_end(JsonStream *s)
{
    Error *err = NULL;

    json_lexer_end(&s->lexer);
    if (s->braces == 0 && s->brackets == 0) {
        return;
    }
    if (s->skipping) {
        err = g_steal_pointer(&s->error);
    } else {
        error_setg(&err, "JSON parse error, premature end of input");
    }
    next_value(s);
    if (err) {
        s->emit(s->opaque, NULL, err);
    }
}

/* ---- a single value ---- */

typedef struct SingleValue {
    QObject *value;
    Error *err;                 /* the first */
} SingleValue;

static void take_single(void *opaque, QObject *value, Error *err)
{
    SingleValue *single = opaque;

    if (single->err) {
        qobject_unref(value);
        error_free(err);
    } else if (err) {
        single->err = err;
    } else if (single->value) {
        qobject_unref(value);
        error_setg(&single->err, "JSON parse error, more than one value");
    } else {
        single->value = value;
    }
}

QObject *json_parse(const char *text, size_t len, Error **errp)
{
    SingleValue single = { NULL, NULL };
    g_autoptr(JsonStream) s = json_stream_new(take_single, &single);

    json_stream_feed(s, text, len);
    json_stream_end(s);
    if (!single.err && !single.value) {
        error_setg(&single.err, "JSON parse error, no value");
    }
    if (single.err) {
        qobject_unref(single.value);
        error_propagate(errp, single.err);
        return NULL;
    }
    return single.value;
}

QObject *json_parse_str(const char *text, Error **errp)
{
    return json_parse(text, strlen(text), errp);
}
