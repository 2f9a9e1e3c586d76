/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Numbers of the human monitor are expressions: + - | & ^ * / % ~ and parentheses.  Operators that
 * multiply bind most, then those of bits, then + and -.
 */
#include "qemu/osdep.h"

#include "hmp-internal.h"

/* Deeper than people write, and not so deep that the stack suffers. */
#define MAX_DEPTH 64

typedef struct Expression {
    const char *p;
    GString *out;
    int depth;
    bool failed;
} Expression;

static int64_t fail(Expression *e, const char *fmt, ...) G_GNUC_PRINTF(2, 3);

/* The first complaint is the one that is heard. */
static int64_t fail(Expression *e, const char *fmt, ...)
{
    va_list ap;

    if (!e->failed) {
        va_start(ap, fmt);
        g_string_append_vprintf(e->out, fmt, ap);
        va_end(ap);
        g_string_append_c(e->out, '\n');
    }
    e->failed = true;
    return 0;
}

static void skip_space(Expression *e)
{
    while (g_ascii_isspace(*e->p)) {
        e->p++;
    }
}

static int64_t number(Expression *e)
{
    char *end;

    errno = 0;
    uint64_t value = strtoull(e->p, &end, 0);
    if (errno == ERANGE) {
        return fail(e, "number too large");
    }
    if (end == e->p) {
        return fail(e, "invalid char '%c' in expression", *e->p);
    }
    e->p = end;
    skip_space(e);
    return (int64_t)value;
}

static int64_t sum(Expression *e);

static int64_t in_parentheses(Expression *e)
{
    int64_t value = sum(e);

    if (!e->failed && *e->p != ')') {
        return fail(e, "')' expected");
    }
    e->p += !e->failed;
    skip_space(e);
    return value;
}

static int64_t unary(Expression *e)
{
    int64_t value;
    char c;

    skip_space(e);
    c = *e->p;
    if (c == '\0') {
        return fail(e, "unexpected end of expression");
    }
    if (c == '$') {
        return fail(e, "unknown register");
    }
    if (!strchr("+-~(", c)) {
        return number(e);
    }
    if (++e->depth > MAX_DEPTH) {
        return fail(e, "expression is too deep");
    }
    e->p++;
    if (c == '(') {
        value = in_parentheses(e);
    } else {
        value = unary(e);
        value = c == '-' ? (int64_t)-(uint64_t)value : c == '~' ? ~value : value;
    }
    e->depth--;
    return value;
}

/* What two operands come to; numbers wrap round. */
static int64_t combine(Expression *e, char op, int64_t a, int64_t b)
{
    switch (op) {
    case '+': return (int64_t)((uint64_t)a + (uint64_t)b);
    case '-': return (int64_t)((uint64_t)a - (uint64_t)b);
    case '*': return (int64_t)((uint64_t)a * (uint64_t)b);
    case '&': return a & b;
    case '|': return a | b;
    case '^': return a ^ b;
    }
    if (b == 0) {
        return e->failed ? 0 : fail(e, "division by zero");
    }
    if (b == -1) {
        return op == '/' ? (int64_t)-(uint64_t)a : 0;   /* INT64_MIN / -1 traps */
    }
    return op == '/' ? a / b : a % b;
}

/* Operands that @next parses, with operators of @ops between them. */
static int64_t chain(Expression *e, const char *ops, int64_t (*next)(Expression *e))
{
    int64_t value = next(e);

    while (!e->failed && *e->p && strchr(ops, *e->p)) {
        char op = *e->p++;
        value = combine(e, op, value, next(e));
    }
    return value;
}

static int64_t product(Expression *e)
{
    return chain(e, "*/%", unary);
}

static int64_t bits(Expression *e)
{
    return chain(e, "&|^", product);
}

static int64_t sum(Expression *e)
{
    return chain(e, "+-", bits);
}

bool any_fn hmp_expression(const char **p, int64_t *ret, GString *out)
{
    Expression e = { .p = *p, .out = out };

    *ret = sum(&e);
    *p = e.p;
    return !e.failed;
}
