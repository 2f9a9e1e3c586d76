/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The arguments of a line of the human monitor, by what the command says of them. */
#include "qemu/osdep.h"

#include "hmp-internal.h"
#include "qobject/keyval.h"

typedef struct HmpValue {
    bool given;
    char *text;
    int64_t number;             /* a flag or switch: 1 */
} HmpValue;

struct HmpArgs {
    const HmpCommand *cmd;
    HmpValue values[HMP_MAX_PARAMS];    /* in the order of the command's params */
};

typedef struct Parser {
    const char *p;              /* where the line is to be read on */
    const HmpCommand *cmd;
    GString *out;               /* complaints */
} Parser;

static void skip_space(Parser *ps)
{
    while (g_ascii_isspace(*ps->p)) {
        ps->p++;
    }
}

static bool complain(Parser *ps, const char *what)
{
    g_string_append_printf(ps->out, "%s: %s\n", ps->cmd->name, what);
    return false;
}

/* ---- words ---- */

/* What stands for itself in quotes, or what `\c` stands for; 0: nothing does. */
static char escaped(char c)
{
    switch (c) {
    case 'n': return '\n';
    case 'r': return '\r';
    case '\\': case '\'': case '"': return c;
    default: return '\0';
    }
}

static char *quoted(Parser *ps)
{
    g_autoptr(GString) word = g_string_new(NULL);

    for (ps->p++; *ps->p && *ps->p != '"'; ps->p++) {
        char c = *ps->p;
        if (c == '\\' && ps->p[1]) {
            c = escaped(*++ps->p);
            if (!c) {
                g_string_append_printf(ps->out, "unsupported escape code: '\\%c'\n", *ps->p);
                return NULL;
            }
        }
        g_string_append_c(word, c);
    }
    if (!*ps->p) {
        g_string_append(ps->out, "unterminated string\n");
        return NULL;
    }
    ps->p++;
    return g_string_free(g_steal_pointer(&word), FALSE);
}

/* NULL: there is none, or it has been said what is wrong with it. */
static char *next_word(Parser *ps)
{
    const char *begin;

    skip_space(ps);
    if (*ps->p == '"') {
        return quoted(ps);
    }
    begin = ps->p;
    while (*ps->p && !g_ascii_isspace(*ps->p)) {
        ps->p++;
    }
    return ps->p > begin ? g_strndup(begin, ps->p - begin) : NULL;
}

/* ---- kinds ---- */

static bool parse_word(Parser *ps, const HmpParam *param, HmpValue *v)
{
    v->text = next_word(ps);
    if (!v->text) {
        return complain(ps, param->kind == HMP_DEVICE ? "block device name expected" :
                            param->kind == HMP_FILE   ? "filename expected" : "string expected");
    }
    return true;
}

static bool parse_rest(Parser *ps, HmpValue *v)
{
    if (!*ps->p) {
        return complain(ps, "string expected");
    }
    v->text = g_strdup(ps->p);
    ps->p += strlen(ps->p);
    return true;
}

/* Which of its characters can be part of a size; behind them it may go on with something else. */
static size_t size_length(const char *p)
{
    size_t len = g_str_has_prefix(p, "0x") || g_str_has_prefix(p, "0X")
                 ? 2 + strspn(p + 2, "0123456789abcdefABCDEF") : strspn(p, "0123456789.");

    return len + (p[len] && strchr("bBkKmMgGtTpPeE", p[len]));
}

static bool parse_size(Parser *ps, HmpValue *v)
{
    size_t len = size_length(ps->p);
    g_autofree char *text = g_strndup(ps->p, len);
    g_autofree char *in_mib = NULL;
    const char *number = text;
    uint64_t size;

    if (len && g_ascii_isdigit(text[len - 1]) && !g_str_has_prefix(text, "0x")) {
        number = in_mib = g_strdup_printf("%sM", text);
    }
    if (!len || !keyval_parse_size(number, &size, NULL) || size > INT64_MAX) {
        g_string_append(ps->out, "invalid size\n");
        return false;
    }
    ps->p += len;
    v->number = (int64_t)size;
    return true;
}

static bool parse_switch(Parser *ps, HmpValue *v)
{
    size_t len = strcspn(ps->p, " \t\r\n");

    v->number = strncmp(ps->p, "on", len) == 0 && len == 2;
    if (!v->number && (len != 3 || strncmp(ps->p, "off", len) != 0)) {
        g_string_append(ps->out, "Expected 'on' or 'off'\n");
        return false;
    }
    ps->p += len;
    return true;
}

static bool parse_value(Parser *ps, const HmpParam *param, HmpValue *v)
{
    switch (param->kind) {
    case HMP_REST:
        return parse_rest(ps, v);
    case HMP_SIZE:
        return parse_size(ps, v);
    case HMP_INT:
        return hmp_expression(&ps->p, &v->number, ps->out);
    case HMP_SWITCH:
        return parse_switch(ps, v);
    default:
        return parse_word(ps, param, v);
    }
}

/* ---- flags ---- */

static const HmpParam *find_param(const HmpCommand *cmd, const char *name, size_t len)
{
    for (const HmpParam *p = cmd->params; p->kind != HMP_END; p++) {
        if (strncmp(p->name, name, len) == 0 && !p->name[len]) {
            return p;
        }
    }
    return NULL;
}

/* `-n -f`, `-nf`: those that stand together, in any order. */
static bool parse_flags(Parser *ps, HmpArgs *args)
{
    skip_space(ps);
    while (ps->p[0] == '-' && ps->p[1] && !g_ascii_isspace(ps->p[1])) {
        for (ps->p++; *ps->p && !g_ascii_isspace(*ps->p); ps->p++) {
            const HmpParam *param = find_param(ps->cmd, ps->p, 1);
            if (!param || param->kind != HMP_FLAG) {
                g_autofree char *text = g_strdup_printf("unsupported option -%c", *ps->p);
                return complain(ps, text);
            }
            args->values[param - ps->cmd->params] = (HmpValue){ .given = true, .number = 1 };
        }
        skip_space(ps);
    }
    return true;
}

/* ---- a line ---- */

static bool parse(Parser *ps, HmpArgs *args)
{
    for (int i = 0; ps->cmd->params[i].kind != HMP_END; i++) {
        const HmpParam *param = &ps->cmd->params[i];

        skip_space(ps);
        if (param->kind == HMP_FLAG) {
            bool is_first = i == 0 || param[-1].kind != HMP_FLAG;
            if (is_first && !parse_flags(ps, args)) {
                return false;
            }
        } else if (*ps->p || !param->optional) {
            if (!parse_value(ps, param, &args->values[i])) {
                return false;
            }
            args->values[i].given = true;
        }
    }
    skip_space(ps);
    return !*ps->p || complain(ps, "extraneous characters at the end of line");
}

HmpArgs *any_fn hmp_args_parse(const HmpCommand *cmd, const char *text, GString *out)
{
    g_autoptr(HmpArgs) args = g_new0(HmpArgs, 1);
    Parser ps = { .p = text, .cmd = cmd, .out = out };

    args->cmd = cmd;
    return parse(&ps, args) ? g_steal_pointer(&args) : NULL;
}

void any_fn hmp_args_free(HmpArgs *args)
{
    if (args) {
        for (int i = 0; i < HMP_MAX_PARAMS; i++) {
            g_free(args->values[i].text);
        }
        g_free(args);
    }
}

/* ---- looking at them ---- */

/* That one has such an argument is the command's own affair. */
static const HmpValue *value_of(const HmpArgs *args, const char *name)
{
    const HmpParam *param = find_param(args->cmd, name, strlen(name));

    g_assert(param);
    return &args->values[param - args->cmd->params];
}

const char *any_fn hmp_str(const HmpArgs *args, const char *name)
{
    return value_of(args, name)->text;
}

bool any_fn hmp_flag(const HmpArgs *args, const char *letter)
{
    return value_of(args, letter)->given;
}

bool any_fn hmp_switch(const HmpArgs *args, const char *name)
{
    return value_of(args, name)->number;
}

int64_t any_fn hmp_int(const HmpArgs *args, const char *name)
{
    return value_of(args, name)->number;
}

bool any_fn hmp_has(const HmpArgs *args, const char *name)
{
    return value_of(args, name)->given;
}
