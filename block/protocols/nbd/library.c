/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Loading libnbd. */
#include "qemu/osdep.h"

#include <dlfcn.h>

#include "block/protocols/nbd/library.h"
#include "qemu/aio.h"

#define LIBRARY_NAME "libnbd.so.0"

NbdLibrary nbd_library;
static bool is_loaded;              /* main thread */

/* The file systems that it is on may be slow: by a thread of the pool.  @opaque: where to put the
 * reason of a failure. */
static int blocking_fn load(void *opaque)
{
    char **ret_problem = opaque;
    void *handle = dlopen(LIBRARY_NAME, RTLD_NOW | RTLD_LOCAL);

    if (!handle) {
        *ret_problem = g_strdup(dlerror());
        return -1;
    }
#define X(name) \
    nbd_library.name = (__typeof__(nbd_library.name))dlsym(handle, "nbd_" #name); \
    if (!nbd_library.name) { \
        *ret_problem = g_strdup("nbd_" #name " is missing in " LIBRARY_NAME); \
        return -1; \
    }
    NBD_LIBRARY_FUNCTIONS(X)
#undef X
    return 0;
}

bool co_main_fn nbd_library_load(Error **errp)
{
    g_autofree char *problem = NULL;

    /* Two at once load it twice, which is the same library and the same functions. */
    if (!is_loaded && thread_pool_co_run(load, &problem) < 0) {
        error_setg(errp, "NBD disks need libnbd, which cannot be loaded: %s", problem);
        return false;
    }
    is_loaded = true;
    return true;
}
