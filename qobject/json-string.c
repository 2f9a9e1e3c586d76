/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a JSON string stands for. */
#include "qemu/osdep.h"

#include "json-internal.h"

/* The four hex digits at @p, or -1; a NUL is no hex digit, so it never reads past the end. */
static int hex4(const char *p)
{
    int value = 0;

    for (int i = 0; i < 4; i++) {
        int digit = g_ascii_xdigit_value(p[i]);

        if (digit < 0) {
            return -1;
        }
        value = value << 4 | digit;
    }
    return value;
}

bool json_is_noncharacter(gunichar c)
{
    return (c >= 0xfdd0 && c <= 0xfdef) || (c & 0xfffe) == 0xfffe;
}

/* Is one in the valid UTF-8 from @p to @end? */
static bool has_noncharacter(const char *p, const char *end)
{
    for (; p < end; p++) {
        /* Their first bytes are 0xef and above, which no other byte of a character is. */
        if ((unsigned char)*p >= 0xef && json_is_noncharacter(g_utf8_get_char(p))) {
            return true;
        }
    }
    return false;
}

/*
 * The character of the escape \uXXXX at @p (behind the u), which may be half of a pair with the
 * one after it.  Returns how many bytes it takes, 0 and @errp if it is no character.
 */
static int unicode_escape(const char *p, gunichar *ret, Error **errp)
{
    int first = hex4(p), second;

    if (first < 0) {
        error_setg(errp, "JSON parse error, invalid hex escape in string");
        return 0;
    }
    int len = 4;

    *ret = first;
    if (first >= 0xd800 && first <= 0xdbff && p[4] == '\\' && p[5] == 'u') {
        second = hex4(p + 6);
        if (second >= 0xdc00 && second <= 0xdfff) {
            *ret = 0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00);
            len = 10;
        }
    }
    if ((*ret >= 0xd800 && *ret <= 0xdfff) || json_is_noncharacter(*ret)) {
        error_setg(errp, "JSON parse error, \\u%.*s is not a valid Unicode character", len, p);
        return 0;
    }
    return len;
}

/* The escape at @p (behind the backslash), into @out.  Returns how many bytes it takes or 0. */
static int escape(const char *p, GString *out, Error **errp)
{
    static const char names[] = "\"'\\/bfnrt";
    static const char values[] = "\"'\\/\b\f\n\r\t";
    const char *name;
    gunichar c;
    int len;

    if (*p == 'u') {
        len = unicode_escape(p + 1, &c, errp);
        if (len == 0) {
            return 0;
        }
        if (c == 0) {
            g_string_append(out, JSON_NUL);
        } else {
            g_string_append_unichar(out, c);
        }
        return 1 + len;
    }
    name = *p ? strchr(names, *p) : NULL;
    if (!name) {
        error_setg(errp, "JSON parse error, invalid escape sequence in string");
        return 0;
    }
    g_string_append_c(out, values[name - names]);
    return 1;
}

char *json_unescape(const char *text, size_t len, size_t *ret_len, Error **errp)
{
    const char *p = text + 1, *end = text + len - 1;
    GString *out;

    /* Also refuses NUL, halves of surrogate pairs and forms that are too long. */
    if (!g_utf8_validate_len(p, end - p, NULL) || has_noncharacter(p, end)) {
        error_setg(errp, "JSON parse error, invalid UTF-8 sequence in string");
        return NULL;
    }
    out = g_string_sized_new(end - p);
    while (p < end) {
        const char *backslash = memchr(p, '\\', end - p);
        const char *run_end = backslash ? backslash : end;
        int taken;

        g_string_append_len(out, p, run_end - p);
        p = run_end;
        if (p == end) {
            break;
        }
        taken = escape(p + 1, out, errp);
        if (taken == 0) {
            g_string_free(out, TRUE);
            return NULL;
        }
        p += 1 + taken;
    }
    *ret_len = out->len;
    return g_string_free(out, FALSE);
}
