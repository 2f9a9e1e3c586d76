/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Bytes -> tokens (lexer) -> values (parser) -> the user (stream). */
#ifndef JSON_INTERNAL_H
#define JSON_INTERNAL_H

#include "qobject/json.h"

typedef enum JsonTokenType {
    JSON_TOKEN_LCURLY,
    JSON_TOKEN_RCURLY,
    JSON_TOKEN_LSQUARE,
    JSON_TOKEN_RSQUARE,
    JSON_TOKEN_COLON,
    JSON_TOKEN_COMMA,
    JSON_TOKEN_INTEGER,
    JSON_TOKEN_FLOAT,
    JSON_TOKEN_KEYWORD,
    JSON_TOKEN_STRING,
    JSON_TOKEN_ERROR,           /* no token of JSON; the text is what could not be used */
    JSON_TOKEN_TOO_LONG,
} JsonTokenType;

/* @text has @len bytes and then a NUL; borrowed. */
typedef void JsonTokenFn(void *opaque, JsonTokenType type, const char *text, size_t len);

/* ---- lexer ---- */

typedef enum JsonLexState {
    LEX_START,
    LEX_RECOVERY,               /* after an error: skipping to where JSON may go on */
    LEX_STRING,
    LEX_STRING_ESCAPE,
    LEX_MINUS,
    LEX_ZERO,
    LEX_DIGITS,
    LEX_POINT,
    LEX_FRACTION,
    LEX_E,
    LEX_E_SIGN,
    LEX_E_DIGITS,
    LEX_KEYWORD,
} JsonLexState;

typedef struct JsonLexer {
    JsonLexState state;
    char quote;                 /* of the string, while in one */
    GString *token;
    JsonTokenFn *emit;
    void *opaque;
} JsonLexer;

void any_fn json_lexer_init(JsonLexer *lexer, JsonTokenFn *emit, void *opaque);
void any_fn json_lexer_destroy(JsonLexer *lexer);
void any_fn json_lexer_feed(JsonLexer *lexer, const char *buf, size_t len);
/* The input has ended: emits the token that is not finished, if there is one. */
void any_fn json_lexer_end(JsonLexer *lexer);

/* ---- strings ---- */

/* The value of the string token @text, quotes included; NULL and @errp if it is not valid. */
char *any_fn json_unescape(const char *text, size_t len, size_t *ret_len, Error **errp);

/* ---- parser: builds one value ---- */

typedef struct JsonLevel {
    QObject *container;         /* owned */
    char *key;                  /* of the member being parsed, owned; NULL: none */
    int expect;                 /* JsonExpect */
} JsonLevel;

typedef struct JsonParser {
    GArray *stack;              /* of JsonLevel */
    QObject *value;             /* the finished value */
    size_t heap;                /* what all of it takes, about */
} JsonParser;

void any_fn json_parser_init(JsonParser *parser);
/* Forgets what it has; ready for the next value. */
void any_fn json_parser_reset(JsonParser *parser);
void any_fn json_parser_destroy(JsonParser *parser);
/* The next token; false and @errp if no value goes on like that (then reset it). */
bool any_fn json_parser_token(JsonParser *parser, JsonTokenType type, const char *text,
                              size_t len, Error **errp);
/* Gives the finished value, or NULL. */
QObject *any_fn json_parser_steal(JsonParser *parser);

/* A code point that no text has: U+FDD0 to U+FDEF, and the last two of each plane. */
bool any_fn json_is_noncharacter(gunichar c);

#endif
