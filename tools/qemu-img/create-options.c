/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The options of a format that stand behind -o. */
#include "qemu/osdep.h"

#include "create-options.h"

typedef enum OptionType { OPTION_STRING, OPTION_SIZE, OPTION_NUMBER, OPTION_BOOL } OptionType;

typedef struct Option {
    const char *name;
    OptionType type;
    const char *help;
    const char *value_by_default;
    bool amend;                     /* it can be changed later */
} Option;

/* In the order in which they are printed. */
static const Option qcow2_options[] = {
    { "cluster_size", OPTION_SIZE, "qcow2 cluster size", "65536", false },
    { "extended_l2", OPTION_BOOL, "Extended L2 tables", "off", false },
    { "preallocation", OPTION_STRING,
      "Preallocation mode (allowed values: off, metadata, falloc, full)", NULL, false },
    { "compression_type", OPTION_STRING, "Compression method used for image cluster compression",
      "zlib", false },
    { "size", OPTION_SIZE, "Virtual disk size", NULL, true },
    { "compat", OPTION_STRING, "Compatibility level (v2 [0.10] or v3 [1.1])", NULL, true },
    { "backing_file", OPTION_STRING, "File name of a base image", NULL, true },
    { "backing_fmt", OPTION_STRING, "Image format of the base image", NULL, true },
    { "data_file", OPTION_STRING, "File name of an external data file", NULL, true },
    { "data_file_raw", OPTION_BOOL, "The external data file must stay valid as a raw image", NULL,
      true },
    { "lazy_refcounts", OPTION_BOOL, "Postpone refcount updates", "off", true },
    { "refcount_bits", OPTION_NUMBER, "Width of a reference count entry in bits", "16", true },
    { NULL },
};

static const Option raw_options[] = {
    { "size", OPTION_SIZE, "Virtual disk size", NULL, false },
    { NULL },
};

static const Option file_options[] = {
    { "size", OPTION_SIZE, "Virtual disk size", NULL, false },
    { "preallocation", OPTION_STRING, "Preallocation mode (allowed values: off, falloc, full)",
      NULL, false },
    { "nocow", OPTION_BOOL, "Turn off copy-on-write (valid only on btrfs)", NULL, false },
    { "extent_size_hint", OPTION_SIZE, "Extent size hint for the image file, 0 to disable", NULL,
      false },
    { NULL },
};

struct ImgOptions {
    const char *format;
    bool with_file;
    GPtrArray *known;               /* of const Option */
    GHashTable *values;             /* name (borrowed from the option) -> text */
};

/* ---- what there is ---- */

static const Option *find(const ImgOptions *o, const char *name)
{
    for (guint i = 0; i < o->known->len; i++) {
        const Option *option = o->known->pdata[i];
        if (strcmp(option->name, name) == 0) {
            return option;
        }
    }
    return NULL;
}

static void add_all(ImgOptions *o, const Option *options)
{
    for (; options->name; options++) {
        if (!find(o, options->name)) {
            g_ptr_array_add(o->known, (void *)options);
        }
    }
}

ImgOptions *any_fn img_options_new(const char *format, bool with_file, Error **errp)
{
    const BlockDriver *drv = bdrv_find_driver(format);
    bool is_file = strcmp(format, "file") == 0 || strcmp(format, "host_device") == 0;

    if (!drv) {
        error_setg(errp, "Unknown file format '%s'", format);
        return NULL;
    }
    if (!drv->co_create && !is_file) {
        error_setg(errp, "Format driver '%s' does not support image creation", format);
        return NULL;
    }
    ImgOptions *o = g_new0(ImgOptions, 1);
    o->format = drv->name;
    o->with_file = with_file;
    o->known = g_ptr_array_new();
    o->values = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, g_free);
    if (strcmp(format, "qcow2") == 0) {
        add_all(o, qcow2_options);
    } else if (!is_file) {
        add_all(o, raw_options);
    }
    if (with_file || is_file) {
        add_all(o, file_options);
    }
    return o;
}

void any_fn img_options_free(ImgOptions *o)
{
    if (o) {
        g_ptr_array_unref(o->known);
        g_hash_table_unref(o->values);
        g_free(o);
    }
}

/* ---- help ---- */

bool any_fn img_options_is_list(const char *list)
{
    size_t len = strlen(list);

    /* Pairs of commas are one in a value: only an odd one at the end separates from nothing. */
    size_t commas = 0;
    while (commas < len && list[len - 1 - commas] == ',') {
        commas++;
    }
    return list[0] != ',' && len > 0 && commas % 2 == 0;
}

char *any_fn img_options_join(char *list, const char *more)
{
    char *joined = list ? g_strdup_printf("%s,%s", list, more) : g_strdup(more);

    g_free(list);
    return joined;
}

bool any_fn img_options_wants_help(const char *list)
{
    g_auto(GStrv) items = g_strsplit(list, ",", -1);

    for (char **item = items; *item; item++) {
        bool is_value = item != items && !item[-1][0];      /* the second of two commas */
        if (!is_value && (!strcmp(*item, "help") || !strcmp(*item, "?"))) {
            return true;
        }
    }
    return false;
}

static int by_name(gconstpointer a, gconstpointer b)
{
    return strcmp((*(const Option *const *)a)->name, (*(const Option *const *)b)->name);
}

static const char *type_text(OptionType type)
{
    static const char *const texts[] = { "str", "size", "num", "bool (on/off)" };

    return texts[type];
}

void any_fn img_options_print_help(const ImgOptions *o, bool amend)
{
    g_autoptr(GPtrArray) sorted = g_ptr_array_new();

    for (guint i = 0; i < o->known->len; i++) {
        const Option *option = o->known->pdata[i];
        if (!amend || option->amend) {
            g_ptr_array_add(sorted, (void *)option);
        }
    }
    g_ptr_array_sort(sorted, by_name);
    if (amend) {
        printf("Amend options for '%s':\n", o->format);
    } else if (o->with_file) {
        printf("Supported options:\n");
    } else {
        printf("Supported %s options:\n", o->format);
    }
    for (guint i = 0; i < sorted->len; i++) {
        const Option *option = sorted->pdata[i];
        g_autofree char *left = g_strdup_printf("%s=<%s>", option->name, type_text(option->type));
        printf("  %-22s - %s\n", left, option->help);
    }
    if (!amend && !o->with_file) {
        printf("\nThe protocol level may support further options.\n"
               "Specify the target filename to include those options.\n");
    }
}

/* ---- values ---- */

/* What is below zero is a large one: whoever takes it says that it is too large. */
static bool check_number(const Option *option, const char *value, Error **errp)
{
    char *end;

    errno = 0;
    strtoull(value, &end, 0);
    if (end == value || *end || errno) {
        error_setg(errp, "Parameter '%s' expects a number", option->name);
        return false;
    }
    return true;
}

static bool check_value(const Option *option, const char *value, Error **errp)
{
    uint64_t n;
    bool b;

    switch (option->type) {
    case OPTION_BOOL:
        if (!keyval_parse_bool(value, &b)) {
            error_setg(errp, "Parameter '%s' expects 'on' or 'off'", option->name);
            return false;
        }
        return true;
    case OPTION_SIZE:
        if (value[0] == '-' && value[1] && !value[1 + strspn(value + 1, "0123456789")]) {
            error_setg(errp, "Value '%s' is out of range for parameter '%s'", value,
                       option->name);
            return false;
        }
        if (!keyval_parse_size(value, &n, NULL)) {
            error_setg(errp, "Parameter '%s' expects a non-negative number below 2^64\n"
                       "Optional suffix k, M, G, T, P or E means kilo-, mega-, giga-, tera-, "
                       "peta-\nand exabytes, respectively.", option->name);
            return false;
        }
        return true;
    case OPTION_NUMBER:
        return check_number(option, value, errp);
    default:
        return true;
    }
}

bool any_fn img_options_set(ImgOptions *o, const char *name, const char *value, Error **errp)
{
    const Option *option = find(o, name);

    if (!option) {
        error_setg(errp, "Invalid parameter '%s'", name);
        return false;
    }
    if (!check_value(option, value, errp)) {
        return false;
    }
    g_hash_table_insert(o->values, (char *)option->name, g_strdup(value));
    return true;
}

bool any_fn img_options_parse(ImgOptions *o, const char *list, Error **errp)
{
    g_autoptr(QDict) dict = keyval_parse_flat(list, NULL, errp);
    const char *key;
    QObject *value;

    for (size_t i = 0; dict && qdict_member(dict, i, &key, &value); i++) {
        if (!img_options_set(o, key, qobject_get_str(value), errp)) {
            return false;
        }
    }
    return dict != NULL;
}

/* `0.10`, `v2`, `1.1`, `v3`; NULL is the newest. */
static bool parse_version(const char *text, int *ret)
{
    bool is_2 = text && (!strcmp(text, "0.10") || !strcmp(text, "v2"));

    *ret = is_2 ? 2 : 3;
    return is_2 || !text || !strcmp(text, "1.1") || !strcmp(text, "v3");
}

bool any_fn img_options_parse_amend(ImgOptions *o, const char *list, Error **errp)
{
    g_autoptr(QDict) dict = keyval_parse_flat(list, NULL, errp);
    const char *key;
    QObject *value;
    int version;

    for (size_t i = 0; dict && qdict_member(dict, i, &key, &value); i++) {
        const Option *option = find(o, key);
        if (option && !option->amend) {
            error_setg(errp, "Invalid parameter '%s'\nThis option is only supported for image "
                       "creation", key);
            return false;
        }
        if (strcmp(key, "compat") == 0 && !parse_version(qobject_get_str(value), &version)) {
            error_setg(errp, "Unknown compatibility level %s", qobject_get_str(value));
            return false;
        }
    }
    return dict && img_options_parse(o, list, errp);
}

bool any_fn img_options_has(const ImgOptions *o, const char *name)
{
    return g_hash_table_contains(o->values, name);
}

const char *any_fn img_options_get(const ImgOptions *o, const char *name)
{
    const Option *option = find(o, name);

    return g_hash_table_lookup(o->values, name) ?: option ? option->value_by_default : NULL;
}

static uint64_t size_of(const char *text)
{
    uint64_t n = 0;

    if (text) {
        keyval_parse_size(text, &n, NULL);
    }
    return n;
}

uint64_t any_fn img_options_size(const ImgOptions *o)
{
    return size_of(g_hash_table_lookup(o->values, "size"));
}

static void append_value(GString *text, const Option *option, const char *value)
{
    bool b;

    switch (option->type) {
    case OPTION_SIZE:
        g_string_append_printf(text, "%" PRIu64, size_of(value));
        break;
    case OPTION_BOOL:
        g_string_append(text, keyval_parse_bool(value, &b) && b ? "on" : "off");
        break;
    default:                        /* as it would have to be given */
        for (; *value; value++) {
            g_string_append_len(text, ",,", *value == ',' ? 2 : 0);
            g_string_append_len(text, value, *value == ',' ? 0 : 1);
        }
    }
}

char *any_fn img_options_text(const ImgOptions *o)
{
    GString *text = g_string_new(NULL);

    for (guint i = 0; i < o->known->len; i++) {
        const Option *option = o->known->pdata[i];
        const char *value = img_options_get(o, option->name);
        if (value) {
            g_string_append_printf(text, "%s%s=", text->len ? " " : "", option->name);
            append_value(text, option, value);
        }
    }
    return g_string_free(text, false);
}

/* ---- for the block layer ---- */

static bool get_bool(const ImgOptions *o, const char *name)
{
    const char *text = img_options_get(o, name);
    bool value;

    return text && keyval_parse_bool(text, &value) && value;
}

static bool get_compression(const ImgOptions *o, int *ret, Error **errp)
{
    const char *text = img_options_get(o, "compression_type");

    *ret = g_strcmp0(text, "zstd") == 0;
    if (text && !*ret && strcmp(text, "zlib") != 0) {
        error_setg(errp, "Parameter 'compression-type' does not accept value '%s'", text);
        return false;
    }
    return true;
}

static bool to_qcow2(const ImgOptions *o, Qcow2CreateOptions *q, Error **errp)
{
    const char *compat = img_options_get(o, "compat");

    if (!parse_version(compat, &q->version)) {
        error_setg(errp, "Parameter 'version' does not accept value '%s'", compat);
        return false;
    }
    if (!get_compression(o, &q->compression_type, errp)) {
        return false;
    }
    q->cluster_size = MIN(size_of(img_options_get(o, "cluster_size")), (uint64_t)INT64_MAX);
    q->extended_l2 = get_bool(o, "extended_l2");
    unsigned long long bits = strtoull(img_options_get(o, "refcount_bits"), NULL, 0);
    q->refcount_bits = MIN(bits, 1000);
    q->lazy_refcounts = get_bool(o, "lazy_refcounts");
    q->backing_file = (char *)img_options_get(o, "backing_file");
    q->backing_fmt = (char *)img_options_get(o, "backing_fmt");
    q->data_file = (char *)img_options_get(o, "data_file");
    q->data_file_raw = get_bool(o, "data_file_raw");
    return true;
}

bool any_fn img_options_to_create(const ImgOptions *o, BdrvCreateOptions *ret, Error **errp)
{
    const char *prealloc = img_options_get(o, "preallocation");
    uint64_t size = img_options_size(o);

    *ret = (BdrvCreateOptions){ .size = MIN(ROUND_UP(MIN(size, (uint64_t)INT64_MAX), 512),
                                            (uint64_t)INT64_MAX) };
    bool is_qcow2 = strcmp(o->format, "qcow2") == 0;
    if (prealloc && !tool_parse_prealloc(prealloc, &ret->preallocation, NULL)) {
        error_setg(errp, is_qcow2 ? "Parameter 'preallocation' does not accept value '%s'"
                                  : "invalid parameter value: %s", prealloc);
        return false;
    }
    if (ret->preallocation == BDRV_PREALLOC_METADATA && !is_qcow2) {
        error_setg(errp, "Unsupported preallocation mode: metadata");
        return false;
    }
    return !is_qcow2 || to_qcow2(o, &ret->u.qcow2, errp);
}
