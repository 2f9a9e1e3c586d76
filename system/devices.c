/* SPDX-License-Identifier: GPL-2.0-or-later */
/* -device and -blockdev. */
#include "qemu/osdep.h"

#include "qobject/keyval.h"
#include "system.h"
#include "tools/common/options.h"

bool co_main_fn system_add_blockdev(const char *value, Error **errp)
{
    g_autoptr(BlockdevOptions) opts = NULL;

    return TOOL_PARSE_OPTION(BlockdevOptions, value, "driver", &opts, errp) &&
           blockdev_add_node(opts, errp);
}

static QDict *parse(const char *value, Error **errp)
{
    bool is_json;

    if (value[0] != '{') {
        return keyval_parse_flat(value, "driver", errp);
    }
    g_autoptr(QDict) json = keyval_parse_or_json(value, NULL, &is_json, errp);
    return json ? device_options_as_text(json, errp) : NULL;
}

bool co_main_fn system_add_device(const char *value, Error **errp)
{
    g_autoptr(QDict) options = NULL;
    bool json;

    if (device_board() == BOARD_MACHINE) {
        options = value[0] == '{' ? keyval_parse_or_json(value, NULL, &json, errp)
                                  : keyval_parse_flat(value, "driver", errp);
        return options && device_machine_add(options, value, errp);
    }
    options = parse(value, errp);
    return options && device_add(options, false, false, errp);
}
