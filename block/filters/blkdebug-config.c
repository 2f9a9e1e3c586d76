/* SPDX-License-Identifier: GPL-2.0-or-later */
/* blkdebug's configuration file. */
#include "qemu/osdep.h"

#include "block/filters/blkdebug-internal.h"

typedef enum Section { SECTION_NONE, SECTION_INJECT_ERROR, SECTION_SET_STATE } Section;

typedef struct Parser {
    GPtrArray *rules;
    Section section;
    BlkdebugRule *rule;             /* of the section that goes on; NULL: none */
    int line;
} Parser;

static bool fail(const Parser *p, Error **errp, const char *what)
{
    error_setg(errp, "line %d: %s", p->line, what);
    return false;
}

/* The section, if there is one, has ended. */
static bool end_section(Parser *p, Error **errp)
{
    BlkdebugRule *rule = g_steal_pointer(&p->rule);

    if (!rule) {
        return true;
    }
    g_ptr_array_add(p->rules, rule);
    if (!rule->event) {
        error_setg(errp, "the section that ends before line %d: Missing event name for rule",
                   p->line);
        return false;
    }
    if (strcmp(rule->event, "none") == 0) {
        g_clear_pointer(&rule->event, g_free);
    }
    return true;
}

static bool begin_section(Parser *p, const char *name, Error **errp)
{
    if (!end_section(p, errp)) {
        return false;
    }
    if (strcmp(name, "inject-error") == 0) {
        p->section = SECTION_INJECT_ERROR;
    } else if (strcmp(name, "set-state") == 0) {
        p->section = SECTION_SET_STATE;
    } else {
        return fail(p, errp, "There is no section of this name");
    }
    p->rule = g_new0(BlkdebugRule, 1);
    p->rule->sector = -1;
    p->rule->error = p->section == SECTION_INJECT_ERROR ? EIO : 0;
    return true;
}

/* ---- values ---- */

static bool parse_number(const Parser *p, const char *value, int64_t max, int64_t *ret,
                         Error **errp)
{
    char *end;

    errno = 0;
    int64_t n = g_ascii_strtoll(value, &end, 0);
    if (errno || end == value || *end || n < -1 || n > max) {
        return fail(p, errp, "The value is no number that is possible here");
    }
    *ret = n;
    return true;
}

static bool parse_int(const Parser *p, const char *value, int *ret, Error **errp)
{
    int64_t n;

    if (!parse_number(p, value, INT_MAX, &n, errp)) {
        return false;
    }
    *ret = MAX((int)n, 0);
    return true;
}

static bool parse_switch(const Parser *p, const char *value, bool *ret, Error **errp)
{
    *ret = strcmp(value, "on") == 0 || strcmp(value, "yes") == 0;
    return *ret || strcmp(value, "off") == 0 || strcmp(value, "no") == 0 ||
           fail(p, errp, "The value is neither on nor off");
}

static bool set_event(Parser *p, const char *value, Error **errp)
{
    if (!blkdebug_knows_event(value)) {
        error_setg(errp, "line %d: Invalid event name \"%s\"", p->line, value);
        return false;
    }
    g_free(p->rule->event);
    p->rule->event = g_strdup(value);
    return true;
}

static bool set_iotype(Parser *p, const char *value, Error **errp)
{
    if (!blkdebug_knows_iotype(value)) {
        error_setg(errp, "line %d: Invalid iotype value \"%s\"", p->line, value);
        return false;
    }
    g_free(p->rule->iotype);
    p->rule->iotype = g_strdup(value);
    return true;
}

static bool set_value(Parser *p, const char *key, const char *value, Error **errp)
{
    BlkdebugRule *r = p->rule;
    bool unused;

    if (!r) {
        return fail(p, errp, "It belongs to no section");
    }
    if (strcmp(key, "event") == 0) {
        return set_event(p, value, errp);
    } else if (strcmp(key, "state") == 0) {
        return parse_int(p, value, &r->state, errp);
    } else if (p->section == SECTION_SET_STATE) {
        return strcmp(key, "new_state") == 0 ? parse_int(p, value, &r->new_state, errp)
                                             : fail(p, errp, "Invalid parameter");
    } else if (strcmp(key, "iotype") == 0) {
        return set_iotype(p, value, errp);
    } else if (strcmp(key, "errno") == 0) {
        return parse_int(p, value, &r->error, errp) &&
               (r->error <= 4095 || fail(p, errp, "There is no such error"));
    } else if (strcmp(key, "sector") == 0) {
        return parse_number(p, value, INT64_MAX / 1024, &r->sector, errp);
    } else if (strcmp(key, "once") == 0) {
        return parse_switch(p, value, &r->once, errp);
    } else if (strcmp(key, "immediately") == 0) {
        return parse_switch(p, value, &unused, errp);
    }
    return fail(p, errp, "Invalid parameter");
}

/* ---- lines ---- */

static bool parse_line(Parser *p, char *line, Error **errp)
{
    char *end, *value;

    g_strstrip(line);
    if (!*line || *line == '#') {
        return true;
    }
    size_t len = strlen(line);
    if (*line == '[') {
        if (line[len - 1] != ']') {
            return fail(p, errp, "parse error");
        }
        line[len - 1] = '\0';
        return begin_section(p, line + 1, errp);
    }
    value = strchr(line, '=');
    if (!value) {
        return fail(p, errp, "parse error");
    }
    *value++ = '\0';
    g_strchomp(line);
    g_strchug(value);
    end = *value == '"' ? strchr(value + 1, '"') : NULL;
    if (!end || end[1]) {
        return fail(p, errp, "parse error");
    }
    *end = '\0';
    return set_value(p, line, value + 1, errp);
}

bool any_fn blkdebug_parse_config(const char *text, size_t len, GPtrArray *rules, Error **errp)
{
    Parser p = { .rules = rules };
    bool ok = true;

    if (memchr(text, '\0', len)) {
        error_setg(errp, "it is no text");
        return false;
    }
    g_autofree char *copy = g_strndup(text, len);
    for (char *line = copy, *next; ok && line; line = next) {
        next = strchr(line, '\n');
        if (next) {
            *next++ = '\0';
        }
        p.line++;
        ok = parse_line(&p, line, errp);
    }
    ok = ok && end_section(&p, errp);
    if (p.rule) {
        blkdebug_rule_free(p.rule);
    }
    return ok;
}
