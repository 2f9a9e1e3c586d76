/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "qemu/osdep.h"

#include "command-faults.h"

#define CMD(name, args) "{'execute':'" name "','arguments':{" args "}}"

#define ADD_FILE(node, file) \
    CMD("blockdev-add", "'driver':'file','node-name':'" node "','filename':'" file "'")
#define ADD_NULL(node) CMD("blockdev-add", "'driver':'null-co','node-name':'" node "'")
#define ADD_RAW(node, file) \
    CMD("blockdev-add", "'driver':'raw','node-name':'" node "','discard':'unmap'," \
        "'file':{'driver':'file','filename':'" file "'}")
#define ADD_QCOW2(node, file, more) \
    CMD("blockdev-add", "'driver':'qcow2','node-name':'" node "'," more \
        "'file':{'driver':'file','filename':'" file "'}")
#define DEL(node) CMD("blockdev-del", "'node-name':'" node "'")
#define CREATE(options) CMD("blockdev-create", "'job-id':'job0','options':{" options "}")
#define CREATE_FILE(prealloc) \
    CREATE("'driver':'file','filename':'new.raw','size':1048576,'preallocation':'" prealloc "'")
#define CREATE_QCOW2(more) \
    CREATE("'driver':'qcow2','file':'file0','size':4194304" more)
#define RESIZE(size) CMD("block_resize", "'node-name':'disk0','size':" size)
#define LISTEN(more) \
    CMD("nbd-server-start", \
        "'addr':{'type':'unix','data':{'path':'nbd.sock'}}" more)
#define EXPORT(more) \
    CMD("block-export-add", "'type':'nbd','id':'exp0','node-name':'disk0','writable':true" more)
#define REOPEN(node, file, more) \
    CMD("blockdev-reopen", "'options':[{'driver':'qcow2','node-name':'" node "'," more \
        "'file':{'driver':'file','filename':'" file "'}}]")
#define REOPEN_FILE(file) \
    CMD("blockdev-reopen", "'options':[{'driver':'qcow2','node-name':'disk0','file':'" file "'}]")
#define STOP "{'execute':'nbd-server-stop'}"
#define IOTHREAD CMD("object-add", "'qom-type':'iothread','id':'iot0'")
#define THROTTLE_GROUP \
    CMD("object-add", "'qom-type':'throttle-group','id':'tg0','limits':{'iops-total':9}")
#define CHARDEV(command, type, data) \
    CMD(command, "'id':'chr0','backend':{'type':'" type "','data':{" data "}}")
#define CHARDEV_REMOVE CMD("chardev-remove", "'id':'chr0'")
#define BITMAP(verb, name, more) \
    CMD("block-dirty-bitmap-" verb, "'node':'disk0','name':'" name "'" more)
#define BITMAP_ADD BITMAP("add", "b", ",'persistent':true")
#define BITMAP_DISK .disks = { "a.qcow2 qcow2 4194304" }, .guests = "disk0", \
    .changing = "a.qcow2", .names = "disk0 a.qcow2 b"
#define INTERNAL_DISK .disks = { "a.qcow2 qcow2 4194304" }, .guests = "disk0", \
    .changing = "a.qcow2", .names = "disk0 a.qcow2 s", .marks = true
#define INTERNAL(verb, name) \
    CMD("blockdev-snapshot-" verb "internal-sync", "'device':'disk0','name':'" name "'")
#define INTERNAL_ACTION(device) \
    "{'type':'blockdev-snapshot-internal-sync','data':{'device':'" device "','name':'s'}}"
#define SNAPSHOT(device, file) "'device':'" device "','snapshot-file':'" file "'"

#define TELL(verb) CMD("job-" verb, "'id':'job0'")
#define TELL_DISK(verb, more) CMD("block-job-" verb, "'device':'job0'" more)
#define JOB_OPTIONS "'job-id':'job0','auto-dismiss':false,"
#define MIRROR(more) \
    CMD("blockdev-mirror", JOB_OPTIONS "'device':'disk0','target':'copy','sync':'full'" more)
#define BACKUP_OPTIONS JOB_OPTIONS "'device':'disk0','target':'copy',"
#define BACKUP(more) CMD("blockdev-backup", BACKUP_OPTIONS more)
/* A disk with something in it, and an image for its copy. */
#define DISK_AND_COPY \
    .disks = { "a.qcow2 qcow2 1048576", "b.qcow2 qcow2 1048576" }, \
    .guests = "disk0", .changing = "a.qcow2 b.qcow2", .names = "disk0 a.qcow2 copy b.qcow2 job", \
    .whole = "a.qcow2", .copy = "b.qcow2", .is_job = true
#define DISK_AND_COPY_NODES \
    ADD_QCOW2("disk0", "a.qcow2", ""), "write disk0 131072", "write disk0 327680", \
    ADD_QCOW2("copy", "b.qcow2", "")
/* The same, where the command makes the image. */
#define DISK_TO_COPY \
    .disks = { "a.qcow2 qcow2 1048576" }, .guests = "disk0", .changing = "a.qcow2", \
    .names = "disk0 a.qcow2 copy.qcow2 job", .whole = "a.qcow2", .copy = "copy.qcow2", \
    .is_job = true
#define DISK_TO_COPY_NODES \
    ADD_QCOW2("disk0", "a.qcow2", ""), "write disk0 131072", "write disk0 327680"
/* Three images, each with something of its own and something that hides another one's. */
#define CHAIN_NODE(node, file) \
    "'driver':'qcow2','node-name':'" node "','file':{'driver':'file','filename':'" file "'}"
#define CHAIN_NODES \
    ADD_QCOW2("disk0", "a.qcow2", ""), "write disk0 131072", "write disk0 262144", DEL("disk0"), \
    ADD_QCOW2("disk0", "m.qcow2", ""), "write disk0 262144", "write disk0 327680", DEL("disk0"), \
    CMD("blockdev-add", CHAIN_NODE("disk0", "t.qcow2") ",'backing':{" \
        CHAIN_NODE("middle", "m.qcow2") ",'backing':{" CHAIN_NODE("base", "a.qcow2") "}}"), \
    "write disk0 393216"
#define CHAIN \
    .disks = { "a.qcow2 qcow2 1048576", "m.qcow2 qcow2 1048576 a.qcow2 qcow2", \
               "t.qcow2 qcow2 1048576 m.qcow2 qcow2" }, \
    .guests = "disk0", .changing = "a.qcow2 m.qcow2 t.qcow2", .whole = "t.qcow2", .is_job = true, \
    .names = "disk0 t.qcow2 middle m.qcow2 base a.qcow2 job"

#define RAW_DRIVE "id=virtio0,file=a.raw,format=raw,if=none,discard=unmap"
#define QCOW2_DRIVE "id=virtio1,file=b.qcow2,format=qcow2,if=none"
#define TWO_DRIVES \
    .disks = { "a.raw raw 1048576", "b.qcow2 qcow2 4194304" }, \
    .drives = { RAW_DRIVE, QCOW2_DRIVE }, \
    .guests = "virtio0 virtio1", .changing = "b.qcow2"

const CommandRow command_rows[] = {
    /* ---- nodes ---- */
    { "blockdev-add/file", .disks = { "a.raw raw 1048576" }, .names = "a.raw",
      .request = ADD_FILE("disk0", "a.raw"), .after = { DEL("disk0") } },
    { "blockdev-add/raw", .disks = { "a.raw raw 1048576" }, .names = "a.raw",
      .request = ADD_RAW("disk0", "a.raw"), .after = { DEL("disk0") } },
    { "blockdev-add/qcow2", .disks = { "a.qcow2 qcow2 1048576" }, .names = "a.qcow2",
      .request = ADD_QCOW2("disk0", "a.qcow2", ""), .after = { DEL("disk0") } },
    { "blockdev-add/chain",
      .disks = { "a.raw raw 1048576", "b.qcow2 qcow2 1048576 a.raw raw",
                 "c.qcow2 qcow2 1048576 b.qcow2 qcow2" },
      .names = "a.raw b.qcow2 c.qcow2",
      .request = ADD_QCOW2("disk0", "c.qcow2", ""), .after = { DEL("disk0") } },
    { "blockdev-add/given-backing",
      .disks = { "a.raw raw 1048576", "b.qcow2 qcow2 1048576" },
      .before = { ADD_RAW("base", "a.raw") }, .names = "a.raw b.qcow2",
      .request = ADD_QCOW2("disk0", "b.qcow2", "'backing':'base',"),
      .after = { DEL("disk0"), DEL("base") } },
    { "blockdev-add/copy-before-write",
      .disks = { "a.raw raw 1048576", "b.qcow2 qcow2 1048576" },
      .before = { ADD_RAW("disk0", "a.raw") }, .names = "a.raw b.qcow2 filter",
      .request = CMD("blockdev-add", "'driver':'copy-before-write','node-name':'filter',"
                     "'file':'disk0','target':{'driver':'qcow2','backing':'disk0',"
                     "'file':{'driver':'file','filename':'b.qcow2'}}"),
      .after = { DEL("filter"), DEL("disk0") } },
    { "blockdev-add/quorum", .disks = { "a.raw raw 1048576", "b.raw raw 1048576" },
      .names = "a.raw b.raw",
      .request = CMD("blockdev-add", "'driver':'quorum','node-name':'filter','vote-threshold':2,"
                     "'children':[{'driver':'file','filename':'a.raw'},"
                     "{'driver':'file','filename':'b.raw'}]"),
      .after = { DEL("filter") } },
    { "blockdev-del/raw", .disks = { "a.raw raw 1048576" }, .before = { ADD_RAW("disk0", "a.raw") },
      .request = DEL("disk0"), .after = { ADD_RAW("disk0", "a.raw") } },
    { "blockdev-del/chain",
      .disks = { "a.raw raw 1048576", "b.qcow2 qcow2 1048576 a.raw raw" },
      .before = { ADD_QCOW2("disk0", "b.qcow2", "") },
      .request = DEL("disk0"), .after = { ADD_QCOW2("disk0", "b.qcow2", "") } },

    { "blockdev-reopen/read-only", .disks = { "a.qcow2 qcow2 1048576" },
      .before = { ADD_QCOW2("disk0", "a.qcow2", "") }, .names = "disk0 a.qcow2",
      .changing = "a.qcow2", .request = REOPEN("disk0", "a.qcow2", "'read-only':true,"),
      .after = { REOPEN("disk0", "a.qcow2", "") } },
    { "blockdev-reopen/writable", .disks = { "a.qcow2 qcow2 1048576" },
      .before = { ADD_QCOW2("disk0", "a.qcow2", "'read-only':true,") }, .names = "disk0 a.qcow2",
      .request = REOPEN("disk0", "a.qcow2", "") },
    { "blockdev-reopen/cache", .disks = { "a.qcow2 qcow2 1048576" },
      .before = { ADD_QCOW2("disk0", "a.qcow2", "") }, .guests = "disk0",
      .names = "disk0 a.qcow2", .changing = "a.qcow2",
      .request = REOPEN("disk0", "a.qcow2", "'cache':{'direct':true},"),
      .after = { REOPEN("disk0", "a.qcow2", "") } },
    { "blockdev-reopen/backing", .disks = { "b.qcow2 qcow2 1048576" },
      .before = { ADD_NULL("base"), ADD_QCOW2("disk0", "b.qcow2", "") },
      .guests = "disk0", .names = "disk0 base b.qcow2", .changing = "b.qcow2",
      .request = REOPEN("disk0", "b.qcow2", "'backing':'base',"),
      .after = { REOPEN("disk0", "b.qcow2", "'backing':null,"), DEL("base") } },

    { "blockdev-reopen/file", .disks = { "a.qcow2 qcow2 1048576" },
      .before = { ADD_FILE("file0", "a.qcow2"),
                  CMD("blockdev-add", "'driver':'blkdebug','node-name':'filter','image':'file0'"),
                  CMD("blockdev-add", "'driver':'qcow2','node-name':'disk0','file':'file0'") },
      .guests = "disk0", .names = "disk0 filter a.qcow2", .changing = "a.qcow2",
      .request = REOPEN_FILE("filter"),
      .after = { REOPEN_FILE("file0"), DEL("filter") } },

    /* ---- new images ---- */
    { "blockdev-create/file", .names = "new.raw", .left = { "new.raw" },
      .request = CREATE_FILE("off"), .after = { ADD_FILE("disk0", "new.raw") } },
    { "blockdev-create/file-falloc", .names = "new.raw", .left = { "new.raw" },
      .request = CREATE_FILE("falloc"), .after = { ADD_FILE("disk0", "new.raw") } },
    { "blockdev-create/file-full", .names = "new.raw", .left = { "new.raw" },
      .request = CREATE_FILE("full"), .after = { ADD_FILE("disk0", "new.raw") } },
    { "blockdev-create/empty-file", .disks = { "new.raw raw 0" }, .names = "new.raw",
      .left = { "new.raw" }, .request = CREATE_FILE("off"),
      .after = { ADD_FILE("disk0", "new.raw") } },
    { "blockdev-create/qcow2", .disks = { "new.qcow2 raw 0" },
      .before = { ADD_FILE("file0", "new.qcow2") }, .names = "new.qcow2 file0",
      .changing = "new.qcow2", .request = CREATE_QCOW2(""),
      .after = { DEL("file0"), ADD_QCOW2("disk0", "new.qcow2", "") } },
    { "blockdev-create/qcow2-metadata", .disks = { "new.qcow2 raw 0" },
      .before = { ADD_FILE("file0", "new.qcow2") }, .names = "new.qcow2 file0",
      .changing = "new.qcow2", .request = CREATE_QCOW2(",'preallocation':'metadata'"),
      .after = { DEL("file0"), ADD_QCOW2("disk0", "new.qcow2", "") } },
    { "blockdev-create/qcow2-falloc", .disks = { "new.qcow2 raw 0" },
      .before = { ADD_FILE("file0", "new.qcow2") }, .names = "new.qcow2 file0",
      .changing = "new.qcow2", .request = CREATE_QCOW2(",'preallocation':'falloc'"),
      .after = { DEL("file0"), ADD_QCOW2("disk0", "new.qcow2", "") } },
    { "blockdev-create/qcow2-full", .disks = { "new.qcow2 raw 0" },
      .before = { ADD_FILE("file0", "new.qcow2") }, .names = "new.qcow2 file0",
      .changing = "new.qcow2", .request = CREATE_QCOW2(",'preallocation':'full'"),
      .after = { DEL("file0"), ADD_QCOW2("disk0", "new.qcow2", "") } },
    { "blockdev-check", .disks = { "a.qcow2 qcow2 4194304" },
      .before = { ADD_QCOW2("disk0", "a.qcow2", "") }, .names = "disk0 a.qcow2",
      .request = CMD("blockdev-check", "'job-id':'job0','node-name':'disk0','fix':'all'"),
      .after = { DEL("disk0") } },
    { "job-dismiss", .before = { CREATE_FILE("off") },
      .request = CMD("job-dismiss", "'id':'job0'") },

    /* ---- length ---- */
    { "block_resize/raw-grow", .disks = { "a.raw raw 1048576" },
      .before = { ADD_RAW("disk0", "a.raw") }, .guests = "disk0", .names = "disk0 a.raw",
      .request = RESIZE("2097152"), .size = 2097152 },
    { "block_resize/raw-shrink", .disks = { "a.raw raw 1048576" },
      .before = { ADD_RAW("disk0", "a.raw") }, .guests = "disk0", .names = "disk0 a.raw",
      .changing = "a.raw", .request = RESIZE("524288"), .size = 524288 },
    { "block_resize/qcow2-grow", .disks = { "a.qcow2 qcow2 4194304" },
      .before = { ADD_QCOW2("disk0", "a.qcow2", "") }, .guests = "disk0", .changing = "a.qcow2",
      .names = "disk0 a.qcow2", .request = RESIZE("1073741824"), .size = 1073741824 },
    { "block_resize/qcow2-shrink", .disks = { "a.qcow2 qcow2 1073741824" },
      .before = { ADD_QCOW2("disk0", "a.qcow2", "") }, .guests = "disk0", .changing = "a.qcow2",
      .names = "disk0 a.qcow2", .request = RESIZE("4194304"), .size = 4194304 },
    { "block_resize/overlay", .disks = { "b.qcow2 qcow2 1048576" },
      .before = { ADD_NULL("base"), ADD_QCOW2("disk0", "b.qcow2", "'backing':'base',") },
      .guests = "disk0",
      .names = "disk0 b.qcow2", .changing = "b.qcow2", .request = RESIZE("8388608"),
      .size = 8388608 },

    /* ---- settings ---- */
    { "cont", TWO_DRIVES, .request = "{'execute':'cont'}" },
    { "block-set-write-threshold", .before = { ADD_NULL("disk0") },
      .request = CMD("block-set-write-threshold", "'node-name':'disk0','write-threshold':4096") },
    { "block_set_io_throttle", TWO_DRIVES,
      .request = CMD("block_set_io_throttle", "'device':'virtio0','bps':0,'bps_rd':1048576000,"
                     "'bps_wr':0,'iops':0,'iops_rd':0,'iops_wr':0") },

    /* ---- objects ---- */
    { "object-add/iothread", .request = IOTHREAD, .names = "iot0",
      .after = { CMD("object-del", "'id':'iot0'") } },
    { "object-add/throttle-group",
      .request = THROTTLE_GROUP,
      .after = { CMD("object-del", "'id':'tg0'") } },
    { "object-add/secret", .request = CMD("object-add", "'qom-type':'secret','id':'s0','data':'x'"),
      .after = { CMD("object-del", "'id':'s0'") } },
    { "object-del", .before = { IOTHREAD }, .request = CMD("object-del", "'id':'iot0'"),
      .after = { IOTHREAD } },
    { "qom-set", .before = { THROTTLE_GROUP },
      .request = CMD("qom-set", "'path':'tg0','property':'limits','value':{'iops-total':8}") },

    /* ---- channels ---- */
    { "chardev-add/file", .names = "out.txt", .left = { "out.txt" }, .no_image = true,
      .request = CHARDEV("chardev-add", "file", "'out':'out.txt'"), .after = { CHARDEV_REMOVE } },
    { "chardev-add/socket", .names = "chr.sock", .left = { "chr.sock" },
      .request = CHARDEV("chardev-add", "socket",
                         "'addr':{'type':'unix','data':{'path':'chr.sock'}}"),
      .after = { CHARDEV_REMOVE } },
    { "chardev-add/ringbuf", .request = CHARDEV("chardev-add", "ringbuf", "'logfile':'log.txt'"),
      .names = "log.txt", .left = { "log.txt" }, .no_image = true, .after = { CHARDEV_REMOVE } },
    { "chardev-change", .before = { CHARDEV("chardev-add", "null", "") }, .names = "out.txt",
      .request = CHARDEV("chardev-change", "file", "'out':'out.txt'"), .left = { "out.txt" },
      .no_image = true, .after = { CHARDEV_REMOVE } },
    { "chardev-remove", .before = { CHARDEV("chardev-add", "null", "") },
      .request = CHARDEV_REMOVE },
    { "chardev-send-break", .before = { CHARDEV("chardev-add", "null", "") },
      .request = CMD("chardev-send-break", "'id':'chr0'"), .after = { CHARDEV_REMOVE } },
    { "ringbuf-write", .before = { CHARDEV("chardev-add", "ringbuf", "") },
      .request = CMD("ringbuf-write", "'device':'chr0','data':'text'"),
      .after = { CHARDEV_REMOVE } },
    { "ringbuf-read", .before = { CHARDEV("chardev-add", "ringbuf", "") },
      .request = CMD("ringbuf-read", "'device':'chr0','size':4"), .after = { CHARDEV_REMOVE } },
    { "trace-event-set-state",
      .request = CMD("trace-event-set-state", "'name':'job_state','enable':false") },

    /* ---- exports ---- */
    { "nbd-server-start/unix", .names = "nbd.sock", .left = { "nbd.sock" }, .request = LISTEN(""),
      .after = { STOP } },
    { "nbd-server-start/inet", .names = "127.0.0.1",
      .request = CMD("nbd-server-start",
                     "'addr':{'type':'inet','data':{'host':'127.0.0.1','port':'0'}}"),
      .after = { STOP } },
    { "nbd-server-stop", .before = { LISTEN(""), ADD_NULL("disk0"), EXPORT("") }, .request = STOP,
      .after = { LISTEN("") } },
    { "nbd-server-add", .before = { LISTEN(""), ADD_NULL("disk0") },
      .request = CMD("nbd-server-add", "'device':'disk0','writable':true"),
      .after = { CMD("nbd-server-remove", "'name':'disk0'") } },
    { "nbd-server-remove",
      .before = { LISTEN(""), ADD_NULL("disk0"), CMD("nbd-server-add", "'device':'disk0'") },
      .request = CMD("nbd-server-remove", "'name':'disk0'"),
      .after = { CMD("nbd-server-add", "'device':'disk0'") } },
    { "block-export-add/file", .disks = { "a.raw raw 1048576" },
      .before = { LISTEN(""), ADD_RAW("disk0", "a.raw") }, .names = "disk0 a.raw",
      .request = EXPORT(""), .after = { CMD("block-export-del", "'id':'exp0'") } },
    { "block-export-add/iothread", .before = { LISTEN(""), ADD_NULL("disk0"), IOTHREAD },
      .request = EXPORT(",'iothread':'iot0'"),
      .after = { CMD("block-export-del", "'id':'exp0'"), CMD("object-del", "'id':'iot0'") } },
    { "block-export-del", .disks = { "a.qcow2 qcow2 1048576" },
      .before = { LISTEN(""), ADD_QCOW2("disk0", "a.qcow2", ""), EXPORT("") },
      .request = CMD("block-export-del", "'id':'exp0'"), .after = { DEL("disk0") } },

    /* ---- bitmaps ---- */
    { "block-dirty-bitmap-add", BITMAP_DISK, .before = { ADD_QCOW2("disk0", "a.qcow2", "") },
      .request = BITMAP_ADD, .after = { BITMAP("remove", "b", "") } },
    { "block-dirty-bitmap-remove", BITMAP_DISK,
      .before = { ADD_QCOW2("disk0", "a.qcow2", ""), BITMAP_ADD },
      .request = BITMAP("remove", "b", ""), .after = { BITMAP_ADD } },
    { "block-dirty-bitmap-clear/stored", BITMAP_DISK,
      .before = { ADD_QCOW2("disk0", "a.qcow2", ""), BITMAP_ADD, DEL("disk0"),
                  ADD_QCOW2("disk0", "a.qcow2", "") },
      .request = BITMAP("clear", "b", ""), .after = { BITMAP("clear", "b", "") } },
    { "block-dirty-bitmap-enable", BITMAP_DISK,
      .before = { ADD_QCOW2("disk0", "a.qcow2", ""), BITMAP_ADD },
      .request = BITMAP("enable", "b", "") },
    { "block-dirty-bitmap-disable", BITMAP_DISK,
      .before = { ADD_QCOW2("disk0", "a.qcow2", ""), BITMAP_ADD },
      .request = BITMAP("disable", "b", "") },
    { "block-dirty-bitmap-merge", BITMAP_DISK,
      .before = { ADD_QCOW2("disk0", "a.qcow2", ""), BITMAP_ADD, BITMAP("add", "c", "") },
      .request = CMD("block-dirty-bitmap-merge",
                     "'node':'disk0','target':'b','bitmaps':['c']") },
    { "x-debug-block-dirty-bitmap-sha256", BITMAP_DISK,
      .before = { ADD_QCOW2("disk0", "a.qcow2", ""), BITMAP_ADD },
      .request = CMD("x-debug-block-dirty-bitmap-sha256", "'node':'disk0','name':'b'") },
    /* ---- snapshots inside of images ---- */
    { "blockdev-snapshot-internal-sync", INTERNAL_DISK,
      .before = { ADD_QCOW2("disk0", "a.qcow2", ""), "write disk0 131072" },
      .request = INTERNAL("", "s"), .after = { INTERNAL("delete-", "s") } },
    { "blockdev-snapshot-internal-sync/two", .disks = { "a.qcow2 qcow2 4194304",
                                                        "b.qcow2 qcow2 4194304" },
      .guests = "disk0", .changing = "a.qcow2 b.qcow2",
      .names = "disk0 disk1 a.qcow2 b.qcow2 s", .marks = true, .whole = "a.qcow2",
      .before = { ADD_QCOW2("disk0", "a.qcow2", ""), ADD_QCOW2("disk1", "b.qcow2", ""),
                  "write disk0 131072" },
      .request = CMD("transaction", "'actions':[" INTERNAL_ACTION("disk0") ","
                     INTERNAL_ACTION("disk1") "]"),
      .after = { INTERNAL("delete-", "s") } },
    { "blockdev-snapshot-delete-internal-sync", INTERNAL_DISK,
      .before = { ADD_QCOW2("disk0", "a.qcow2", ""), "write disk0 131072", INTERNAL("", "s"),
                  "write disk0 327680" },
      .request = INTERNAL("delete-", "s"), .after = { INTERNAL("", "s") } },

    { "blockdev-del/bitmap", .disks = { "a.qcow2 qcow2 4194304" }, .changing = "a.qcow2",
      .names = "disk0 a.qcow2", .before = { ADD_QCOW2("disk0", "a.qcow2", ""), BITMAP_ADD },
      .request = DEL("disk0"), .after = { ADD_QCOW2("disk0", "a.qcow2", "") } },

    /* ---- snapshots ---- */
    { "blockdev-snapshot-sync/bitmap", .disks = { "a.qcow2 qcow2 4194304" }, .guests = "disk0",
      .changing = "a.qcow2", .names = "disk0 a.qcow2 a.snap",
      .before = { ADD_QCOW2("disk0", "a.qcow2", ""), BITMAP_ADD },
      .request = CMD("blockdev-snapshot-sync", "'node-name':'disk0','snapshot-node-name':'top',"
                     "'snapshot-file':'a.snap'"), .left = { "a.snap" } },
    { "blockdev-snapshot-sync/carried-bitmap", .disks = { "a.qcow2 qcow2 4194304" },
      .guests = "disk0", .changing = "a.qcow2", .names = "disk0 a.qcow2 a.snap",
      .before = { ADD_QCOW2("disk0", "a.qcow2", ""), BITMAP_ADD, BITMAP("add", "c", "") },
      .request = CMD("blockdev-snapshot-sync", "'node-name':'disk0','snapshot-node-name':'top',"
                     "'snapshot-file':'a.snap','bitmaps':'carry'"), .left = { "a.snap" } },
    { "blockdev-group-snapshot-sync/new", TWO_DRIVES, .is_group = true,
      .names = "virtio0 virtio1 a.snap b.snap",
      .request = CMD("blockdev-group-snapshot-sync", "'devlist':[{" SNAPSHOT("virtio0", "a.snap")
                     "},{" SNAPSHOT("virtio1", "b.snap") ",'snapshot-node-name':'top'}]"),
      .left = { "a.snap", "b.snap" } },
    { "blockdev-group-snapshot-sync/existing",
      .disks = { "a.raw raw 1048576", "b.qcow2 qcow2 4194304", "a.snap qcow2 1048576 a.raw raw",
                 "b.snap qcow2 4194304 b.qcow2 qcow2" },
      .drives = { RAW_DRIVE, QCOW2_DRIVE }, .guests = "virtio0 virtio1", .changing = "b.qcow2",
      .names = "virtio0 virtio1 a.snap b.snap", .is_group = true,
      .request = CMD("blockdev-group-snapshot-sync",
                     "'devlist':[{" SNAPSHOT("virtio0", "a.snap") ",'mode':'existing'},"
                     "{" SNAPSHOT("virtio1", "b.snap") ",'mode':'existing'}]") },
    { "blockdev-group-snapshot-sync/empty-file",
      .disks = { "a.raw raw 1048576", "a.snap raw 0" }, .drives = { RAW_DRIVE },
      .guests = "virtio0", .names = "virtio0 a.snap", .is_group = true,
      .request = CMD("blockdev-group-snapshot-sync", "'devlist':[{" SNAPSHOT("virtio0", "a.snap")
                     "}]") },
    { "blockdev-snapshot-sync", TWO_DRIVES, .names = "virtio1 b.snap",
      .request = CMD("blockdev-snapshot-sync", SNAPSHOT("virtio1", "b.snap")),
      .left = { "b.snap" } },
    { "blockdev-snapshot",
      .disks = { "a.raw raw 1048576", "a.snap qcow2 1048576 a.raw raw" }, .drives = { RAW_DRIVE },
      .before = { ADD_QCOW2("top", "a.snap", "'backing':null,") }, .guests = "virtio0",
      .names = "virtio0 a.snap top",
      .request = CMD("blockdev-snapshot", "'node':'virtio0','overlay':'top'") },
    { "transaction", TWO_DRIVES, .names = "virtio0 virtio1 a.snap b.snap",
      .request = CMD("transaction", "'actions':[{'type':'blockdev-snapshot-sync','data':{"
                     SNAPSHOT("virtio0", "a.snap") "}},{'type':'blockdev-snapshot-sync','data':{"
                     SNAPSHOT("virtio1", "b.snap") "}}]"),
      .left = { "a.snap", "b.snap" } },

    /* ---- jobs ---- */
    { "blockdev-mirror/raw", .disks = { "a.raw raw 1048576", "b.raw raw 1048576" },
      .before = { ADD_RAW("disk0", "a.raw"), "write disk0 131072", ADD_RAW("copy", "b.raw") },
      .guests = "disk0", .changing = "a.raw b.raw", .whole = "a.raw", .copy = "b.raw",
      .names = "disk0 a.raw copy b.raw job", .is_job = true, .request = MIRROR(""),
      .then = { TELL("complete") }, .after = { DEL("disk0") } },
    { "blockdev-mirror/pivot", DISK_AND_COPY, .before = { DISK_AND_COPY_NODES },
      .request = MIRROR(""), .then = { TELL("complete") }, .after = { DEL("disk0") } },
    { "blockdev-mirror/stay", DISK_AND_COPY, .before = { DISK_AND_COPY_NODES },
      .request = MIRROR(",'filter-node-name':'filter','copy-mode':'write-blocking'"),
      .then = { TELL_DISK("cancel", "") }, .after = { DEL("copy") } },
    { "blockdev-mirror/told-by-its-id", DISK_AND_COPY, .before = { DISK_AND_COPY_NODES },
      .request = MIRROR(",'auto-finalize':false"),
      .then = { TELL("pause"), TELL("resume"), TELL("complete"), TELL("finalize") },
      .after = { DEL("disk0") } },
    { "blockdev-mirror/told-as-a-block-job", DISK_AND_COPY, .before = { DISK_AND_COPY_NODES },
      .request = MIRROR(",'auto-finalize':false"),
      .then = { TELL_DISK("pause", ""), TELL_DISK("resume", ""),
                TELL_DISK("set-speed", ",'speed':1073741824"),
                CMD("block-job-change", "'id':'job0','copy-mode':'write-blocking'"),
                TELL_DISK("complete", ""), CMD("block-job-finalize", "'id':'job0'"),
                CMD("block-job-dismiss", "'id':'job0'") },
      .after = { DEL("disk0") } },
    { "blockdev-backup/full", DISK_AND_COPY, .before = { DISK_AND_COPY_NODES },
      .request = BACKUP("'sync':'full'"), .after = { DEL("copy") } },
    { "blockdev-backup/bitmap", DISK_AND_COPY,
      .before = { ADD_QCOW2("disk0", "a.qcow2", ""), BITMAP_ADD, "write disk0 131072",
                  "write disk0 327680", ADD_QCOW2("copy", "b.qcow2", "") },
      .request = BACKUP("'sync':'incremental','bitmap':'b'"), .after = { DEL("copy") } },
    { "transaction/blockdev-backup",
      .disks = { "a.qcow2 qcow2 1048576", "b.qcow2 qcow2 1048576", "c.raw raw 1048576",
                 "d.raw raw 1048576" },
      .before = { DISK_AND_COPY_NODES, ADD_RAW("disk1", "c.raw"), ADD_RAW("copy1", "d.raw") },
      .guests = "disk0 disk1", .changing = "a.qcow2 b.qcow2 c.raw d.raw", .whole = "a.qcow2",
      .copy = "b.qcow2", .is_job = true,
      .names = "disk0 a.qcow2 copy b.qcow2 disk1 c.raw copy1 d.raw job",
      .request = CMD("transaction", "'properties':{'completion-mode':'grouped'},'actions':["
                     "{'type':'blockdev-backup','data':{" BACKUP_OPTIONS "'sync':'full'}},"
                     "{'type':'blockdev-backup','data':{'job-id':'job1','auto-dismiss':false,"
                     "'device':'disk1','target':'copy1','sync':'full'}}]"),
      .after = { DEL("copy"), DEL("copy1") } },
    { "drive-backup", DISK_TO_COPY, .before = { DISK_TO_COPY_NODES },
      .request = CMD("drive-backup", JOB_OPTIONS "'device':'disk0','target':'copy.qcow2',"
                     "'format':'qcow2','sync':'full'"), .left = { "copy.qcow2" } },
    { "drive-mirror", DISK_TO_COPY, .before = { DISK_TO_COPY_NODES },
      .request = CMD("drive-mirror", JOB_OPTIONS "'device':'disk0','target':'copy.qcow2',"
                     "'format':'qcow2','sync':'full'"), .left = { "copy.qcow2" },
      .then = { TELL("complete") }, .after = { DEL("disk0") } },
    { "block-commit/middle", CHAIN, .before = { CHAIN_NODES },
      .request = CMD("block-commit", JOB_OPTIONS "'device':'disk0','top-node':'middle',"
                     "'base-node':'base'") },
    { "block-commit/active", CHAIN, .before = { CHAIN_NODES }, .copy = "a.qcow2",
      .request = CMD("block-commit", JOB_OPTIONS "'device':'disk0','base-node':'base'"),
      .then = { TELL("complete") }, .after = { DEL("disk0") } },
    { "block-stream/all", CHAIN, .before = { CHAIN_NODES },
      .request = CMD("block-stream", JOB_OPTIONS "'device':'disk0'") },
    { "block-stream/to-base", CHAIN, .before = { CHAIN_NODES },
      .request = CMD("block-stream", JOB_OPTIONS "'device':'disk0','base-node':'base'") },
    { "block-stream/middle", CHAIN, .before = { CHAIN_NODES },
      .request = CMD("block-stream", JOB_OPTIONS "'device':'middle'") },
    { "change-backing-file", CHAIN, .before = { CHAIN_NODES },
      .request = CMD("change-backing-file", "'device':'disk0','image-node-name':'middle',"
                     "'backing-file':'./a.qcow2'") },
    { NULL },
};
