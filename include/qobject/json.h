/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * JSON text to values and back, in the dialect that QMP speaks: RFC 8259 plus
 * strings in single quotes and the escape \'.  Strict otherwise: strings are valid
 * UTF-8 without noncharacters such as U+FFFE; a key occurs once in an object; a number
 * that no int64, uint64 or finite double can hold is refused.  The character U+0000,
 * which only an escape can write, is JSON_NUL in strings and keys, so that they end where
 * C strings do; it is printed as the escape again.
 *
 * Every input is bounded, whoever sends it: JSON_MAX_NESTING levels,
 * JSON_MAX_TOKEN_BYTES a token, JSON_MAX_TOKENS and JSON_MAX_HEAP a value.
 */
#ifndef QOBJECT_JSON_H
#define QOBJECT_JSON_H

#include "qapi/error.h"
#include "qemu/limits.h"
#include "qobject/qobject.h"

/* No other text has these bytes, for they are not UTF-8. */
#define JSON_NUL "\xc0\x80"

/* The one value in @text (@len bytes, need not end in NUL); white space around it is fine. */
QObject *any_fn json_parse(const char *text, size_t len, Error **errp);
/* The same for a string; QObject or NULL. */
QObject *any_fn json_parse_str(const char *text, Error **errp);

/* ---- a stream of values ---- */

typedef struct JsonStream JsonStream;

/* One complete value, or an error in its place.  The receiver takes both. */
typedef void JsonStreamEmit(void *opaque, QObject *value, Error *err);

JsonStream *any_fn json_stream_new(JsonStreamEmit *emit, void *opaque);
/* NULL is fine.  Not from inside its own emit. */
void any_fn json_stream_free(JsonStream *s);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(JsonStream, json_stream_free)

/*
 * The next @len bytes, cut anywhere; costs O(@len).  Emits each value as soon as its last byte
 * is here (a number or word outside of any bracket: with the byte after it).  After an error it
 * goes on behind the broken value, or, where that cannot be told, at the next structural or
 * control character; the bytes 0xfe and 0xff always end a broken value.
 */
void any_fn json_stream_feed(JsonStream *s, const char *buf, size_t len);

/* The input has ended: what is incomplete is an error. */
void any_fn json_stream_end(JsonStream *s);

/* ---- output ---- */

/* ASCII with \u escapes; members of objects in the order in which QEMU prints them. */
void any_fn json_append(GString *out, const QObject *obj, bool pretty);
/* The indexes of the members of @dict (qdict_member()) in that order; the caller frees. */
size_t *any_fn json_member_order(const QDict *dict);
/* Caller frees. */
char *any_fn json_to_string(const QObject *obj);
char *any_fn json_to_string_pretty(const QObject *obj);

#endif
