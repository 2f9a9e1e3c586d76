/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The command line. */
#include "qemu/osdep.h"

#include <getopt.h>

#include "config-host.h"
#include "qemu/limits.h"
#include "qnbd.h"
#include "tools/common/trace.h"

enum {
    OPT_CACHE = 256, OPT_AIO, OPT_DISCARD, OPT_DETECT_ZEROES, OPT_OBJECT, OPT_TLS_CREDS,
    OPT_TLS_AUTHZ, OPT_TLS_HOSTNAME, OPT_IMAGE_OPTS, OPT_FORK, OPT_PID_FILE, OPT_SELINUX_LABEL,
};

static const struct option longopts[] = {
    { "help", no_argument, NULL, 'h' },
    { "version", no_argument, NULL, 'V' },
    { "bind", required_argument, NULL, 'b' },
    { "port", required_argument, NULL, 'p' },
    { "socket", required_argument, NULL, 'k' },
    { "offset", required_argument, NULL, 'o' },
    { "read-only", no_argument, NULL, 'r' },
    { "allocation-depth", no_argument, NULL, 'A' },
    { "bitmap", required_argument, NULL, 'B' },
    { "connect", required_argument, NULL, 'c' },
    { "disconnect", no_argument, NULL, 'd' },
    { "list", no_argument, NULL, 'L' },
    { "snapshot", no_argument, NULL, 's' },
    { "load-snapshot", required_argument, NULL, 'l' },
    { "nocache", no_argument, NULL, 'n' },
    { "cache", required_argument, NULL, OPT_CACHE },
    { "aio", required_argument, NULL, OPT_AIO },
    { "discard", required_argument, NULL, OPT_DISCARD },
    { "detect-zeroes", required_argument, NULL, OPT_DETECT_ZEROES },
    { "shared", required_argument, NULL, 'e' },
    { "format", required_argument, NULL, 'f' },
    { "persistent", no_argument, NULL, 't' },
    { "verbose", no_argument, NULL, 'v' },
    { "object", required_argument, NULL, OPT_OBJECT },
    { "export-name", required_argument, NULL, 'x' },
    { "description", required_argument, NULL, 'D' },
    { "tls-creds", required_argument, NULL, OPT_TLS_CREDS },
    { "tls-authz", required_argument, NULL, OPT_TLS_AUTHZ },
    { "tls-hostname", required_argument, NULL, OPT_TLS_HOSTNAME },
    { "image-opts", no_argument, NULL, OPT_IMAGE_OPTS },
    { "trace", required_argument, NULL, 'T' },
    { "fork", no_argument, NULL, OPT_FORK },
    { "pid-file", required_argument, NULL, OPT_PID_FILE },
    { "selinux-label", required_argument, NULL, OPT_SELINUX_LABEL },
    { 0 },
};

static void G_GNUC_NORETURN help(void)
{
    printf("Usage: qemu-nbd [OPTIONS] FILE\n"
           "  or:  qemu-nbd -L [OPTIONS]\n"
           "Serves a disk image by NBD\n\n"
           "  -h, --help                display this help and exit\n"
           "  -V, --version             output version information and exit\n\n"
           "Where and for whom:\n"
           "  -p, --port=PORT           port to listen on (default " QNBD_DEFAULT_PORT ")\n"
           "  -b, --bind=IFACE          address to listen on (default 0.0.0.0)\n"
           "  -k, --socket=PATH         unix socket to listen on instead\n"
           "  -e, --shared=NUM          so many clients at a time (default 1; 0: any number)\n"
           "  -t, --persistent          go on when the last client has left\n"
           "  -v, --verbose             keep standard error, and say more\n"
           "  -x, --export-name=NAME    name of the export (default: empty)\n"
           "  -D, --description=TEXT    what the export is, for people\n\n"
           "What:\n"
           "  -f, --format=FORMAT       image format (raw, qcow2, ...)\n"
           "      --image-opts          FILE is a list of image options\n"
           "  -r, --read-only           clients may only read\n"
           "  -o, --offset=OFFSET       begin at this byte of the image\n"
           "  -s, --snapshot            keep what is written only as long as this runs\n"
           "  -l, --load-snapshot=WHICH serve an internal snapshot, read-only: snapshot.id=ID,\n"
           "                            snapshot.name=NAME, or ID_OR_NAME\n"
           "  -A, --allocation-depth    clients may ask in which layer data lies\n"
           "  -B, --bitmap=NAME         clients may ask for this bitmap\n\n"
           "How:\n"
           "  -n, --nocache             as --cache=none\n"
           "      --cache=MODE          none, writeback (default), writethrough, directsync, unsafe\n"
           "      --aio=MODE            native, io_uring, threads\n"
           "      --discard=MODE        ignore, unmap\n"
           "      --detect-zeroes=MODE  off, on, unmap\n"
           "      --object TYPE,id=ID,...  create an object\n"
           "      --fork                go to the background once clients can connect\n"
           "      --pid-file=PATH       write the process's number to this file\n"
           "  -T, --trace [[enable=]PATTERN][,events=FILE][,file=FILE]  trace\n"
           "      --tls-creds=ID, --tls-authz=ID, --tls-hostname=NAME, --selinux-label=LABEL\n"
           "                            refused: not there yet\n\n"
           "Other servers, and the kernel:\n"
           "  -L, --list                list what a server exports\n"
           "  -c, --connect=DEV         serve FILE to the kernel's block device DEV\n"
           "  -d, --disconnect          let the block device FILE go\n\n"
           "See qemu-nbd(8).\n");
    exit(0);
}

static void G_GNUC_NORETURN G_GNUC_PRINTF(1, 2) wrong(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    char *text = g_strdup_vprintf(fmt, ap);
    va_end(ap);
    tool_error("%s", text);
    g_free(text);
    exit(1);
}

static void once(bool *seen, const char *what)
{
    if (*seen) {
        wrong("%s can only be specified once", what);
    }
    *seen = true;
}

/* ---- values ---- */

static uint64_t parse_offset(const char *text)
{
    uint64_t value;
    char *end;

    errno = 0;
    value = g_ascii_strtoull(text, &end, 0);
    if (end == text || *end || errno || strchr(text, '-') || value > INT64_MAX) {
        wrong("Invalid offset '%s'", text);
    }
    return value;
}

static int parse_shared(const char *text)
{
    char *end;
    long value = strtol(text, &end, 0);

    if (end == text || *end || value < 0 || value > INT_MAX) {
        wrong("Invalid shared device number '%s'", text);
    }
    return value;
}

static void check_length(const char *what, const char *text)
{
    if (strlen(text) > NBD_MAX_STRING) {
        wrong("%s '%s' too long", what, text);
    }
}

static void set_cache(QnbdArgs *a, const char *mode)
{
    once(&a->has_cache, "-n and --cache");
    if (!tool_parse_cache(mode, &a->image.cache)) {
        wrong("Invalid cache mode `%s'", mode);
    }
}

static void G_GNUC_NORETURN refuse_tls(const char *option)
{
    wrong("%s: TLS is not supported yet", option);
}

/* ---- options ---- */

static void image_option(QnbdArgs *a, int opt)
{
    ToolImage *i = &a->image;

    switch (opt) {
    case 'f': i->format = optarg; return;
    case 'r': i->writable = false; return;
    case 's': a->snapshot = true; return;
    case 'l': a->load_snapshot = optarg; i->writable = false; return;
    case 'o': a->offset = parse_offset(optarg); return;
    case 'n': set_cache(a, "none"); return;
    case OPT_CACHE: set_cache(a, optarg); return;
    case OPT_IMAGE_OPTS: i->image_opts = true; return;
    case OPT_AIO:
        once(&a->has_aio, "--aio");
        if (!tool_parse_aio(optarg, &i->aio)) {
            wrong("Invalid aio mode '%s'", optarg);
        }
        return;
    case OPT_DISCARD:
        once(&a->has_discard, "--discard");
        if (!tool_parse_discard(optarg, &i->discard)) {
            wrong("Invalid discard mode `%s'", optarg);
        }
        return;
    case OPT_DETECT_ZEROES:
        if (!tool_parse_detect_zeroes(optarg, &i->detect_zeroes)) {
            wrong("Failed to parse detect_zeroes mode: invalid parameter value: %s", optarg);
        }
        return;
    }
}

static void take_option(QnbdArgs *a, int opt)
{
    Error *err = NULL;

    switch (opt) {
    case 'h': help();
    case 'V':
        printf("qemu-nbd " QEMU_VERSION "\n");
        exit(0);
    case 'b': a->bind = optarg; return;
    case 'p': a->port = optarg; return;
    case 'k':
        a->path = optarg;
        if (optarg[0] != '/') {
            wrong("socket path must be absolute");
        }
        return;
    case 'e': a->shared = parse_shared(optarg); return;
    case 't': a->persistent = true; return;
    case 'v': a->verbose = true; return;
    case 'x': check_length("export name", a->name = optarg); return;
    case 'D': check_length("export description", a->description = optarg); return;
    case 'A': a->allocation_depth = true; return;
    case 'B': g_ptr_array_add(a->bitmaps, optarg); return;
    case 'L': a->list = true; return;
    case 'c': a->device = optarg; return;
    case 'd': a->disconnect = true; return;
    case 'T':
        if (!tool_trace(optarg, &err)) {
            wrong("%s", error_get_pretty(err));
        }
        return;
    case OPT_OBJECT: g_ptr_array_add(a->objects, optarg); return;
    case OPT_FORK: a->fork = true; return;
    case OPT_PID_FILE: a->pid_file = optarg; return;
    case OPT_TLS_CREDS: refuse_tls("--tls-creds");
    case OPT_TLS_AUTHZ: refuse_tls("--tls-authz");
    case OPT_TLS_HOSTNAME: refuse_tls("--tls-hostname");
    case OPT_SELINUX_LABEL: wrong("--selinux-label: SELinux labels are not supported");
    case '?':
        wrong("Try `qemu-nbd --help' for more information.");
    default:
        image_option(a, opt);
    }
}

/* ---- what fits together ---- */

static void check_activation(QnbdArgs *a)
{
    const char *pid = getenv("LISTEN_PID"), *count = getenv("LISTEN_FDS");

    if (!pid || !count || strtol(pid, NULL, 10) != getpid() || strtol(count, NULL, 10) < 1) {
        return;
    }
    if (strtol(count, NULL, 10) > 1) {
        wrong("qemu-nbd does not support socket activation with LISTEN_FDS > 1");
    }
    if (fcntl(3, F_GETFD) < 0) {
        wrong("Socket activation failed: invalid file descriptor fd = 3: %s", g_strerror(errno));
    }
    const char *what = a->path ? "Unix socket" : a->bind ? "The interface" : a->port
                       ? "TCP port number" : a->device ? "NBD device" : NULL;
    if (what) {
        wrong("%s can't be set when using socket activation", what);
    }
    a->has_fd = true;
    unsetenv("LISTEN_PID");
    unsetenv("LISTEN_FDS");
}

static void check_list(const QnbdArgs *a, int left)
{
    if (left > 0) {
        wrong("List mode is incompatible with a file name");
    }
    if (a->name || a->description || a->device || a->disconnect || a->shared != 1 || a->offset ||
        a->image.format || a->snapshot || a->has_cache || a->has_aio || a->has_discard ||
        a->bitmaps->len || a->allocation_depth || a->image.image_opts) {
        wrong("List mode is incompatible with per-device settings");
    }
    if (a->fork) {
        wrong("List mode is incompatible with forking");
    }
}

static void check(QnbdArgs *a, int argc, char **argv)
{
    if (a->list) {
        check_list(a, argc - optind);
        return;
    }
    if (argc - optind != 1) {
        wrong("Invalid number of arguments\nTry `qemu-nbd --help' for more information.");
    }
    a->image.name = argv[optind];
    if (a->disconnect) {
        return;
    }
    if (a->image.image_opts && a->image.format) {
        wrong("--image-opts and -f are mutually exclusive");
    }
    if (a->image.detect_zeroes == BDRV_DETECT_ZEROES_UNMAP && !a->image.discard) {
        wrong("setting detect-zeroes to unmap is not allowed without setting discard operation to "
              "unmap");
    }
    check_activation(a);
}

void qnbd_parse(int argc, char **argv, QnbdArgs *a)
{
    int opt;

    *a = (QnbdArgs){
        .image.writable = true, .shared = 1, .bitmaps = g_ptr_array_new(),
        .objects = g_ptr_array_new(),
    };
    while ((opt = getopt_long(argc, argv, "hVb:o:p:rsnc:dvk:e:f:tl:x:T:D:AB:L", longopts,
                              NULL)) != -1) {
        take_option(a, opt);
    }
    check(a, argc, argv);
}

void qnbd_address(const QnbdArgs *a, SocketSpec *ret)
{
    *ret = (SocketSpec){ .fd = -1 };
    if (a->has_fd) {
        ret->kind = SOCKET_FD;
        ret->fd = 3;
    } else if (a->path) {
        ret->kind = SOCKET_UNIX;
        ret->path = g_strdup(a->path);
    } else {
        ret->kind = SOCKET_INET;
        ret->host = g_strdup(a->bind ?: "0.0.0.0");
        ret->port = g_strdup(a->port ?: QNBD_DEFAULT_PORT);
    }
}
