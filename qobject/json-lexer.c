/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Bytes to tokens.  Every byte is looked at once, however the input is cut.
 *
 * A byte that cannot go on with the token belongs to the error; the lexer then
 * skips to a byte at which JSON is likely to make sense again, and goes on with that one: a
 * client sees as many errors as from QEMU.
 */
#include "qemu/osdep.h"

#include "json-internal.h"

/* A buffer that was longer than this is not kept for the next token. */
#define KEEP_BYTES 65536

void json_lexer_init(JsonLexer *lexer, JsonTokenFn *emit, void *opaque)
{
    *lexer = (JsonLexer){
        .state = LEX_START,
        .token = g_string_new(NULL),
        .emit = emit,
        .opaque = opaque,
    };
}

void json_lexer_destroy(JsonLexer *lexer)
{
    g_string_free(lexer->token, TRUE);
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Bytes that no valid input has: whoever has lost track of the nesting may send one to resync. */
static bool is_resync(char c)
{
    return (unsigned char)c >= 0xfe;
}

/* A byte at which a broken value certainly ends. */
static bool ends_error(char c)
{
    return is_resync(c) || ((unsigned char)c < 0x20 && c != '\t');
}

static void finish(JsonLexer *lexer, JsonTokenType type)
{
    lexer->state = type >= JSON_TOKEN_ERROR ? LEX_RECOVERY : LEX_START;
    lexer->emit(lexer->opaque, type, lexer->token->str, lexer->token->len);
    if (lexer->token->allocated_len > KEEP_BYTES) {
        g_string_free(lexer->token, TRUE);
        lexer->token = g_string_new(NULL);
    } else {
        g_string_truncate(lexer->token, 0);
    }
}

static bool is_structural(char c)
{
    return c != 0 && strchr("{}[]:,", c);
}

/* The state after the first byte of a token; LEX_START: it is white space or a whole token. */
static void start(JsonLexer *lexer, char c)
{
    static const char structural[] = "{}[]:,";
    static const JsonTokenType types[] = {
        JSON_TOKEN_LCURLY, JSON_TOKEN_RCURLY, JSON_TOKEN_LSQUARE, JSON_TOKEN_RSQUARE,
        JSON_TOKEN_COLON, JSON_TOKEN_COMMA,
    };

    if (c == ' ' || c == '\t' || c == '\r' || c == '\n') {
        return;
    }
    g_string_append_c(lexer->token, c);
    if (is_structural(c)) {
        finish(lexer, types[strchr(structural, c) - structural]);
    } else if (c == '"' || c == '\'') {
        lexer->quote = c;
        lexer->state = LEX_STRING;
    } else if (c == '-') {
        lexer->state = LEX_MINUS;
    } else if (c == '0') {
        lexer->state = LEX_ZERO;
    } else if (is_digit(c)) {
        lexer->state = LEX_DIGITS;
    } else if (c >= 'a' && c <= 'z') {
        lexer->state = LEX_KEYWORD;
    } else {
        finish(lexer, JSON_TOKEN_ERROR);
    }
}

/* The byte after part of a number: the next state, or LEX_START if the number ends before it,
 * or LEX_RECOVERY if that is no number. */
static JsonLexState number_next(JsonLexState state, char c)
{
    bool exponent = c == 'e' || c == 'E';

    switch (state) {
    case LEX_MINUS:
        return c == '0' ? LEX_ZERO : is_digit(c) ? LEX_DIGITS : LEX_RECOVERY;
    case LEX_ZERO:
        return is_digit(c) ? LEX_RECOVERY
               : c == '.' ? LEX_POINT : exponent ? LEX_E : LEX_START;
    case LEX_DIGITS:
        return is_digit(c) ? LEX_DIGITS : c == '.' ? LEX_POINT : exponent ? LEX_E : LEX_START;
    case LEX_POINT:
        return is_digit(c) ? LEX_FRACTION : LEX_RECOVERY;
    case LEX_FRACTION:
        return is_digit(c) ? LEX_FRACTION : exponent ? LEX_E : LEX_START;
    case LEX_E:
        return c == '+' || c == '-' ? LEX_E_SIGN : is_digit(c) ? LEX_E_DIGITS : LEX_RECOVERY;
    case LEX_E_SIGN:
        return is_digit(c) ? LEX_E_DIGITS : LEX_RECOVERY;
    case LEX_E_DIGITS:
        return is_digit(c) ? LEX_E_DIGITS : LEX_START;
    default:
        g_assert_not_reached();
    }
}

static JsonTokenType number_type(JsonLexState state)
{
    return state == LEX_ZERO || state == LEX_DIGITS ? JSON_TOKEN_INTEGER : JSON_TOKEN_FLOAT;
}

static void number(JsonLexer *lexer, char c)
{
    JsonLexState next = number_next(lexer->state, c);

    if (next == LEX_START) {
        finish(lexer, number_type(lexer->state));
        start(lexer, c);
        return;
    }
    g_string_append_c(lexer->token, c);
    if (next == LEX_RECOVERY) {
        finish(lexer, JSON_TOKEN_ERROR);
    } else {
        lexer->state = next;
    }
}

/* Bytes of a string up to its end or that of the buffer; returns how many it took. */
static size_t string_run(JsonLexer *lexer, const char *buf, size_t len)
{
    size_t room = JSON_MAX_TOKEN_BYTES - lexer->token->len;
    size_t n = 0;

    while (n < len && n < room && buf[n] != lexer->quote && buf[n] != '\\' &&
           (unsigned char)buf[n] >= 0x20 && !is_resync(buf[n])) {
        n++;
    }
    g_string_append_len(lexer->token, buf, n);
    if (n == len) {
        return n;
    }
    if (n == room) {
        finish(lexer, JSON_TOKEN_TOO_LONG);
        return n;
    }
    g_string_append_c(lexer->token, buf[n]);
    if (buf[n] == lexer->quote) {
        finish(lexer, JSON_TOKEN_STRING);
    } else if (buf[n] == '\\') {
        lexer->state = LEX_STRING_ESCAPE;
    } else {
        finish(lexer, JSON_TOKEN_ERROR);
    }
    return n + 1;
}

static void byte(JsonLexer *lexer, char c)
{
    switch (lexer->state) {
    case LEX_START:
        start(lexer, c);
        break;
    case LEX_RECOVERY:
        if (is_structural(c) || ends_error(c)) {
            lexer->state = LEX_START;
            start(lexer, c);
        }
        break;
    case LEX_STRING_ESCAPE:
        g_string_append_c(lexer->token, c);
        if ((unsigned char)c < 0x20 || is_resync(c)) {
            finish(lexer, JSON_TOKEN_ERROR);
        } else {
            lexer->state = LEX_STRING;
        }
        break;
    case LEX_KEYWORD:
        if (c >= 'a' && c <= 'z') {
            g_string_append_c(lexer->token, c);
        } else {
            finish(lexer, JSON_TOKEN_KEYWORD);
            start(lexer, c);
        }
        break;
    default:
        number(lexer, c);
        break;
    }
}

void json_lexer_feed(JsonLexer *lexer, const char *buf, size_t len)
{
    while (len > 0) {
        size_t n = 1;

        if (lexer->state == LEX_STRING) {
            n = string_run(lexer, buf, len);
        } else {
            byte(lexer, *buf);
        }
        buf += n;
        len -= n;
        if (lexer->token->len > JSON_MAX_TOKEN_BYTES) {
            finish(lexer, JSON_TOKEN_TOO_LONG);
        }
    }
}

void json_lexer_end(JsonLexer *lexer)
{
    switch (lexer->state) {
    case LEX_START:
        break;
    case LEX_RECOVERY:
        lexer->state = LEX_START;
        break;
    case LEX_ZERO:
    case LEX_DIGITS:
    case LEX_FRACTION:
    case LEX_E_DIGITS:
        finish(lexer, number_type(lexer->state));
        break;
    case LEX_KEYWORD:
        finish(lexer, JSON_TOKEN_KEYWORD);
        break;
    default:
        finish(lexer, JSON_TOKEN_ERROR);
        lexer->state = LEX_START;
        break;
    }
}
