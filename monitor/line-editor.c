/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Editing a line.
 *
 * What is typed at the end of a line is shown as it is, so that a script which sends whole lines
 * gets them back whole.  Everything else redraws the line from where it changed: the cursor goes
 * back by that many characters, the new tail is shown and the rest of the screen's line cleared.
 */
#include "qemu/osdep.h"

#include "line-editor.h"

/* Longer lines lose their end: nobody types them, and a client cannot make us keep more. */
#define MAX_LINE (16 * 1024)
#define MAX_HISTORY 64

typedef enum Escape { ESCAPE_NONE, ESCAPE_BEGUN, ESCAPE_CSI } Escape;

struct LineEditor {
    const char *prompt;
    void (*put)(void *opaque, const char *text, size_t len);
    void *opaque;
    const char *(*name)(const char *first, size_t i);
    GString *line;
    size_t cursor;              /* byte of @line that the cursor is in front of */
    Escape escape;
    unsigned escape_number;     /* of ESC [ number ~ */
    bool after_cr;              /* a line feed that follows is the same key */
    GPtrArray *history;         /* lines, the newest last */
    guint shown;                /* of the history; its length: none of them */
    char *typed;                /* the line that was left for one of the history */
};

LineEditor *line_editor_new(const char *prompt,
                            void (*put)(void *opaque, const char *text, size_t len), void *opaque)
{
    LineEditor *e = g_new0(LineEditor, 1);

    e->prompt = prompt;
    e->put = put;
    e->opaque = opaque;
    e->line = g_string_new(NULL);
    e->history = g_ptr_array_new_with_free_func(g_free);
    return e;
}

void line_editor_free(LineEditor *e)
{
    g_string_free(e->line, TRUE);
    g_ptr_array_unref(e->history);
    g_free(e->typed);
    g_free(e);
}

void line_editor_set_names(LineEditor *e, const char *(*name)(const char *first, size_t i))
{
    e->name = name;
}

/* ---- showing ---- */

static void put_text(LineEditor *e, const char *text)
{
    e->put(e->opaque, text, strlen(text));
}

void line_editor_show(LineEditor *e)
{
    put_text(e, e->prompt);
    e->put(e->opaque, e->line->str, e->line->len);
}

static bool continues(char c)
{
    return ((unsigned char)c & 0xc0) == 0x80;
}

/* Characters of @len bytes of UTF-8. */
static unsigned columns(const char *text, size_t len)
{
    unsigned n = 0;

    for (size_t i = 0; i < len; i++) {
        n += !continues(text[i]);
    }
    return n;
}

static void move_back(LineEditor *e, unsigned n)
{
    g_autofree char *text = g_strdup_printf("\033[%uD", n);

    if (n > 0) {
        put_text(e, text);
    }
}

/* The line was changed from byte @from on, in front of which the cursor is on the screen. */
static void redraw(LineEditor *e, size_t from)
{
    e->put(e->opaque, e->line->str + from, e->line->len - from);
    put_text(e, "\033[K");
    move_back(e, columns(e->line->str + e->cursor, e->line->len - e->cursor));
}

static void move_to(LineEditor *e, size_t to)
{
    if (to < e->cursor) {
        move_back(e, columns(e->line->str + to, e->cursor - to));
    } else {
        e->put(e->opaque, e->line->str + e->cursor, to - e->cursor);
    }
    e->cursor = to;
}

/* ---- changing ---- */

static size_t previous(const LineEditor *e, size_t pos)
{
    while (pos > 0 && continues(e->line->str[--pos])) {
        continue;
    }
    return pos;
}

static size_t following(const LineEditor *e, size_t pos)
{
    while (pos < e->line->len && continues(e->line->str[++pos])) {
        continue;
    }
    return pos;
}

static void insert(LineEditor *e, const char *text, size_t len)
{
    if (e->line->len + len > MAX_LINE) {
        return;
    }
    g_string_insert_len(e->line, e->cursor, text, len);
    e->cursor += len;
    if (e->cursor == e->line->len) {
        e->put(e->opaque, text, len);
    } else {
        redraw(e, e->cursor - len);
    }
}

/* @from..@to; the cursor is at either end of it. */
static void erase(LineEditor *e, size_t from, size_t to)
{
    if (from < to) {
        move_to(e, from);
        g_string_erase(e->line, from, to - from);
        redraw(e, from);
    }
}

static void replace(LineEditor *e, const char *text)
{
    move_to(e, 0);
    g_string_assign(e->line, text);
    e->cursor = e->line->len;
    redraw(e, 0);
}

static void erase_word(LineEditor *e)
{
    size_t from = e->cursor;

    while (from > 0 && g_ascii_isspace(e->line->str[from - 1])) {
        from--;
    }
    while (from > 0 && !g_ascii_isspace(e->line->str[from - 1])) {
        from--;
    }
    erase(e, from, e->cursor);
}

/* ---- history ---- */

static void remember(LineEditor *e)
{
    GPtrArray *h = e->history;

    if (e->line->len > 0 &&
        (h->len == 0 || strcmp(h->pdata[h->len - 1], e->line->str) != 0)) {
        g_ptr_array_add(h, g_strdup(e->line->str));
        if (h->len > MAX_HISTORY) {
            g_ptr_array_remove_index(h, 0);
        }
    }
    e->shown = h->len;
    g_clear_pointer(&e->typed, g_free);
}

static void show_history(LineEditor *e, guint i)
{
    if (e->shown == e->history->len) {
        g_free(e->typed);
        e->typed = g_strdup(e->line->str);
    }
    e->shown = i;
    replace(e, i == e->history->len ? e->typed : e->history->pdata[i]);
}

static void older(LineEditor *e)
{
    if (e->shown > 0) {
        show_history(e, e->shown - 1);
    }
}

static void newer(LineEditor *e)
{
    if (e->shown < e->history->len) {
        show_history(e, e->shown + 1);
    }
}

/* ---- completion ---- */

/* Where the word at the cursor begins, if it is the first one (*@ret_first: NULL) or the second
 * one.  Others cannot be completed: SIZE_MAX. */
static size_t word_to_complete(const LineEditor *e, char **ret_first)
{
    const char *line = e->line->str;
    size_t begin = strspn(line, " "), end = begin + strcspn(line + begin, " ");

    *ret_first = NULL;
    if (e->cursor <= end) {
        return MIN(begin, e->cursor);
    }
    *ret_first = g_strndup(line + begin, end - begin);
    begin = end + strspn(line + end, " ");
    return memchr(line + begin, ' ', e->cursor > begin ? e->cursor - begin : 0) ? SIZE_MAX
                                                                              : begin;
}

/* Shows the names that fit, or types on what all of them have in common. */
static void complete(LineEditor *e)
{
    g_autofree char *first = NULL, *common = NULL;
    g_autoptr(GString) list = g_string_new("\r\n");
    size_t begin = e->name ? word_to_complete(e, &first) : SIZE_MAX;
    size_t len = begin < e->cursor ? e->cursor - begin : 0;
    unsigned n = 0;
    const char *name;

    for (size_t i = 0; begin != SIZE_MAX && (name = e->name(first, i)); i++) {
        size_t same = 0;
        if (strncmp(name, e->line->str + begin, len) != 0) {
            continue;
        }
        common = common ?: g_strdup(name);
        while (common[same] && common[same] == name[same]) {
            same++;
        }
        common[same] = '\0';
        g_string_append_printf(list, "%s\r\n", name);
        n++;
    }
    if (n == 1) {
        insert(e, common + len, strlen(common + len));
        insert(e, " ", 1);
    } else if (n > 1 && strlen(common) > len) {
        insert(e, common + len, strlen(common + len));
    } else if (n > 1) {
        put_text(e, list->str);
        line_editor_show(e);
        move_back(e, columns(e->line->str + e->cursor, e->line->len - e->cursor));
    }
}

/* ---- keys ---- */

static void feed_escape(LineEditor *e, char c)
{
    if (e->escape == ESCAPE_BEGUN) {
        e->escape = c == '[' || c == 'O' ? ESCAPE_CSI : ESCAPE_NONE;
        e->escape_number = 0;
        return;
    }
    if (g_ascii_isdigit(c)) {
        e->escape_number = MIN(e->escape_number * 10 + (c - '0'), 99u);
        return;
    }
    if (c == ';') {
        return;
    }
    e->escape = ESCAPE_NONE;
    switch (c == '~' ? (int)e->escape_number : c) {
    case 'A': older(e); break;
    case 'B': newer(e); break;
    case 'C': move_to(e, following(e, e->cursor)); break;
    case 'D': move_to(e, previous(e, e->cursor)); break;
    case 'H': case 1: case 7: move_to(e, 0); break;
    case 'F': case 4: case 8: move_to(e, e->line->len); break;
    case 3: erase(e, e->cursor, following(e, e->cursor)); break;
    }
}

#define CTRL(letter) ((letter) & 0x1f)

static void feed_control(LineEditor *e, char c)
{
    switch (c) {
    case CTRL('A'): move_to(e, 0); break;
    case CTRL('B'): move_to(e, previous(e, e->cursor)); break;
    case CTRL('D'): erase(e, e->cursor, following(e, e->cursor)); break;
    case CTRL('E'): move_to(e, e->line->len); break;
    case CTRL('F'): move_to(e, following(e, e->cursor)); break;
    case CTRL('H'): case 0x7f: erase(e, previous(e, e->cursor), e->cursor); break;
    case CTRL('I'): complete(e); break;
    case CTRL('K'): erase(e, e->cursor, e->line->len); break;
    case CTRL('L'): put_text(e, "\033[H\033[2J"); line_editor_show(e); break;
    case CTRL('N'): newer(e); break;
    case CTRL('P'): older(e); break;
    case CTRL('U'): erase(e, 0, e->cursor); break;
    case CTRL('W'): erase_word(e); break;
    case 0x1b: e->escape = ESCAPE_BEGUN; break;
    }
}

static char *end_line(LineEditor *e)
{
    char *line;

    remember(e);
    put_text(e, "\r\n");
    line = g_strndup(e->line->str, e->line->len);
    g_string_truncate(e->line, 0);
    e->cursor = 0;
    return line;
}

char *line_editor_feed(LineEditor *e, char c)
{
    bool same_key = c == '\n' && e->after_cr;

    e->after_cr = c == '\r';
    if (e->escape != ESCAPE_NONE) {
        feed_escape(e, c);
    } else if (c == '\r' || c == '\n') {
        return same_key ? NULL : end_line(e);
    } else if ((unsigned char)c < ' ' || c == 0x7f) {
        feed_control(e, c);
    } else {
        insert(e, &c, 1);
    }
    return NULL;
}
