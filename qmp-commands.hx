# SPDX-License-Identifier: GPL-2.0-or-later
#
# Which function handles each QMP command, and one example of each.  The examples are printed in
# the manual, and tests/docs/qmp-examples.py runs them all against a daemon and compares.
#
# A stanza begins with `command:`.  Then, one a line:
#   handler: C function
#   program: NAME                 that has it, where that is not the daemon
#   disk: FILE SIZE [FORMAT]      a file that is there before
#   options: ARGUMENTS            of the program, more than it has anyway
#   setup: REQUEST                sent before; must succeed; not printed
#   -> REQUEST
#   <- REPLY or EVENT
# Lines that begin with two blanks continue the one before.  In what is expected, ... stands for
# any value, for any rest of an array or object, or inside of a string for any text.

command: qmp_capabilities
handler: qmp_qmp_capabilities
-> { "execute": "qmp_capabilities", "arguments": { "enable": [ "oob" ] } }
<- { "return": {} }

command: query-version
handler: qmp_query_version
-> { "execute": "query-version" }
<- { "return": { "qemu": { "major": ..., "minor": ..., "micro": ... }, "package": ... } }

command: query-commands
handler: qmp_query_commands
-> { "execute": "query-commands" }
<- { "return": [ { "name": "qmp_capabilities" }, { "name": "query-version" }, ... ] }

command: query-name
handler: qmp_query_name
options: --name db1
-> { "execute": "query-name" }
<- { "return": { "name": "db1" } }

command: query-status
handler: qmp_query_status
-> { "execute": "query-status" }
<- { "return": { "status": "running", "singlestep": false, "running": true } }

command: query-chardev
handler: qmp_query_chardev
options: --chardev socket,id=chr0,path=other.sock,server=on,wait=off
-> { "execute": "query-chardev" }
<- { "return": [ { "label": "...", "filename": "...", "frontend-open": true },
                 { "label": "chr0", "filename": "disconnected:unix:other.sock,server=on",
                   "frontend-open": false } ] }

command: query-chardev-backends
handler: qmp_query_chardev_backends
-> { "execute": "query-chardev-backends" }
<- { "return": [ { "name": "file" }, { "name": "pipe" }, { "name": "socket" }, ... ] }

command: chardev-add
handler: qmp_chardev_add
-> { "execute": "chardev-add",
     "arguments": { "id": "log", "backend": {
         "type": "file", "data": { "out": "log.txt", "append": true } } } }
<- { "return": {} }

command: chardev-change
handler: qmp_chardev_change
options: --chardev null,id=log
-> { "execute": "chardev-change",
     "arguments": { "id": "log", "backend": { "type": "ringbuf", "data": { "size": 4096 } } } }
<- { "return": {} }

command: chardev-remove
handler: qmp_chardev_remove
options: --chardev null,id=log
-> { "execute": "chardev-remove", "arguments": { "id": "log" } }
<- { "return": {} }

command: chardev-send-break
handler: qmp_chardev_send_break
options: --chardev null,id=log
-> { "execute": "chardev-send-break", "arguments": { "id": "log" } }
<- { "return": {} }

command: ringbuf-write
handler: qmp_ringbuf_write
options: --chardev ringbuf,id=log
-> { "execute": "ringbuf-write",
     "arguments": { "device": "log", "data": "abcdefgh", "format": "utf8" } }
<- { "return": {} }

command: ringbuf-read
handler: qmp_ringbuf_read
options: --chardev ringbuf,id=log
setup: { "execute": "ringbuf-write", "arguments": { "device": "log", "data": "abcdefgh" } }
-> { "execute": "ringbuf-read",
     "arguments": { "device": "log", "size": 4, "format": "utf8" } }
<- { "return": "abcd" }

command: quit
handler: qmp_quit
-> { "execute": "quit" }
<- { "event": "SHUTDOWN", "timestamp": ...,
     "data": { "guest": false, "reason": "host-qmp-quit" } }
<- { "return": {} }

command: human-monitor-command
handler: qmp_human_monitor_command
-> { "execute": "human-monitor-command", "arguments": { "command-line": "info version" } }
<- { "return": "...\r\n" }

command: query-qmp-schema
handler: qmp_query_qmp_schema
-> { "execute": "query-qmp-schema" }
<- { "return": [ { "name": "qmp_capabilities", "meta-type": "command", ... }, ... ] }

command: object-add
handler: qmp_object_add
-> { "execute": "object-add", "arguments": { "qom-type": "iothread", "id": "iot0" } }
<- { "return": {} }

command: object-del
handler: qmp_object_del
setup: { "execute": "object-add", "arguments": { "qom-type": "iothread", "id": "iot0" } }
-> { "execute": "object-del", "arguments": { "id": "iot0" } }
<- { "return": {} }

command: query-iothreads
handler: qmp_query_iothreads
setup: { "execute": "object-add", "arguments": { "qom-type": "iothread", "id": "iot0" } }
-> { "execute": "query-iothreads" }
<- { "return": [ { "id": "iot0", "thread-id": ..., "poll-max-ns": ..., ... } ] }

command: query-jobs
handler: qmp_query_jobs
disk: new.qcow2 0
setup: { "execute": "blockdev-add",
         "arguments": { "driver": "file", "node-name": "file0", "filename": "new.qcow2" } }
setup: { "execute": "blockdev-create", "arguments": { "job-id": "job0", "options":
         { "driver": "qcow2", "file": "file0", "size": 1073741824 } } }
<- { "event": "JOB_STATUS_CHANGE", "data": { "status": "concluded", "id": "job0" }, ... }
-> { "execute": "query-jobs" }
<- { "return": [ { "id": "job0", "type": "create", "status": "concluded",
                   "current-progress": ..., "total-progress": ... } ] }

command: query-block-jobs
handler: qmp_query_block_jobs
-> { "execute": "query-block-jobs" }
<- { "return": [] }

command: job-dismiss
handler: qmp_job_dismiss
disk: new.qcow2 0
setup: { "execute": "blockdev-add",
         "arguments": { "driver": "file", "node-name": "file0", "filename": "new.qcow2" } }
setup: { "execute": "blockdev-create", "arguments": { "job-id": "job0", "options":
         { "driver": "qcow2", "file": "file0", "size": 1073741824 } } }
<- { "event": "JOB_STATUS_CHANGE", "data": { "status": "concluded", "id": "job0" }, ... }
-> { "execute": "job-dismiss", "arguments": { "id": "job0" } }
<- { "event": "JOB_STATUS_CHANGE", "data": { "status": "null", "id": "job0" }, ... }
<- { "return": {} }

command: job-pause
handler: qmp_job_pause
-> { "execute": "job-pause", "arguments": { "id": "nosuch" } }
<- { "error": { "class": "GenericError", "desc": "Job not found" } }

command: job-resume
handler: qmp_job_resume
-> { "execute": "job-resume", "arguments": { "id": "nosuch" } }
<- { "error": { "class": "GenericError", "desc": "Job not found" } }

command: job-complete
handler: qmp_job_complete
-> { "execute": "job-complete", "arguments": { "id": "nosuch" } }
<- { "error": { "class": "GenericError", "desc": "Job not found" } }

command: job-finalize
handler: qmp_job_finalize
-> { "execute": "job-finalize", "arguments": { "id": "nosuch" } }
<- { "error": { "class": "GenericError", "desc": "Job not found" } }

command: block-job-set-speed
handler: qmp_block_job_set_speed
-> { "execute": "block-job-set-speed", "arguments": { "device": "nosuch", "speed": 1048576 } }
<- { "error": { "class": "DeviceNotActive", "desc": "Block job 'nosuch' not found" } }

command: block-job-pause
handler: qmp_block_job_pause
-> { "execute": "block-job-pause", "arguments": { "device": "nosuch" } }
<- { "error": { "class": "DeviceNotActive", "desc": "Block job 'nosuch' not found" } }

command: block-job-resume
handler: qmp_block_job_resume
-> { "execute": "block-job-resume", "arguments": { "device": "nosuch" } }
<- { "error": { "class": "DeviceNotActive", "desc": "Block job 'nosuch' not found" } }

command: block-job-complete
handler: qmp_block_job_complete
-> { "execute": "block-job-complete", "arguments": { "device": "nosuch" } }
<- { "error": { "class": "DeviceNotActive", "desc": "Block job 'nosuch' not found" } }

command: block-job-cancel
handler: qmp_block_job_cancel
-> { "execute": "block-job-cancel", "arguments": { "device": "nosuch" } }
<- { "error": { "class": "DeviceNotActive", "desc": "Block job 'nosuch' not found" } }

command: block-job-finalize
handler: qmp_block_job_finalize
-> { "execute": "block-job-finalize", "arguments": { "id": "nosuch" } }
<- { "error": { "class": "DeviceNotActive", "desc": "Block job 'nosuch' not found" } }

command: block-job-dismiss
handler: qmp_block_job_dismiss
-> { "execute": "block-job-dismiss", "arguments": { "id": "nosuch" } }
<- { "error": { "class": "DeviceNotActive", "desc": "Block job 'nosuch' not found" } }

command: block-job-change
handler: qmp_block_job_change
-> { "execute": "block-job-change", "arguments": { "id": "nosuch", "copy-mode": "write-blocking" } }
<- { "error": { "class": "DeviceNotActive", "desc": "Block job 'nosuch' not found" } }

command: block-commit
handler: qmp_block_commit
disk: base.qcow2 1M qcow2
disk: top.qcow2 1M qcow2
options: --blockdev qcow2,node-name=top,file.driver=file,file.filename=top.qcow2,backing.driver=qcow2,backing.node-name=base,backing.read-only=on,backing.file.driver=file,backing.file.filename=base.qcow2,backing.file.read-only=on
-> { "execute": "block-commit", "arguments": { "job-id": "job0", "device": "top" } }
<- { "event": "JOB_STATUS_CHANGE", "data": { "status": "created", "id": "job0" }, ... }
<- { "event": "JOB_STATUS_CHANGE", "data": { "status": "running", "id": "job0" }, ... }
<- { "return": {} }
<- { "event": "JOB_STATUS_CHANGE", "data": { "status": "ready", "id": "job0" }, ... }
<- { "event": "BLOCK_JOB_READY", "data": { "device": "job0", "len": 0, "offset": 0, "speed": 0,
     "type": "commit" }, ... }

command: block-stream
handler: qmp_block_stream
disk: base.qcow2 1M qcow2
disk: top.qcow2 1M qcow2
options: --blockdev qcow2,node-name=top,file.driver=file,file.filename=top.qcow2,backing.driver=qcow2,backing.node-name=base,backing.read-only=on,backing.file.driver=file,backing.file.filename=base.qcow2,backing.file.read-only=on
-> { "execute": "block-stream", "arguments": { "job-id": "job0", "device": "top" } }
<- { "event": "JOB_STATUS_CHANGE", "data": { "status": "created", "id": "job0" }, ... }
<- { "event": "JOB_STATUS_CHANGE", "data": { "status": "running", "id": "job0" }, ... }
<- { "return": {} }
<- { "event": "JOB_STATUS_CHANGE", "data": { "status": "waiting", "id": "job0" }, ... }
<- { "event": "JOB_STATUS_CHANGE", "data": { "status": "pending", "id": "job0" }, ... }
<- { "event": "BLOCK_JOB_COMPLETED", "data": { "device": "job0", "len": 1048576,
     "offset": 1048576, "speed": 0, "type": "stream" }, ... }
<- { "event": "JOB_STATUS_CHANGE", "data": { "status": "concluded", "id": "job0" }, ... }
<- { "event": "JOB_STATUS_CHANGE", "data": { "status": "null", "id": "job0" }, ... }

command: change-backing-file
handler: qmp_change_backing_file
disk: base.qcow2 1M qcow2
disk: top.qcow2 1M qcow2
options: --blockdev qcow2,node-name=top,file.driver=file,file.filename=top.qcow2,backing.driver=qcow2,backing.node-name=base,backing.read-only=on,backing.file.driver=file,backing.file.filename=base.qcow2,backing.file.read-only=on
-> { "execute": "change-backing-file", "arguments": {
     "device": "top", "image-node-name": "top", "backing-file": "base.qcow2" } }
<- { "return": {} }

command: blockdev-backup
handler: qmp_blockdev_backup
disk: a.raw 1M
disk: b.raw 1M
options: --blockdev raw,node-name=a,file.driver=file,file.filename=a.raw --blockdev raw,node-name=b,file.driver=file,file.filename=b.raw
-> { "execute": "blockdev-backup", "arguments": {
     "job-id": "job0", "device": "a", "target": "b", "sync": "full" } }
<- { "event": "JOB_STATUS_CHANGE", "data": { "status": "created", "id": "job0" }, ... }
<- { "event": "JOB_STATUS_CHANGE", "data": { "status": "running", "id": "job0" }, ... }
<- { "return": {} }
<- { "event": "JOB_STATUS_CHANGE", "data": { "status": "waiting", "id": "job0" }, ... }
<- { "event": "JOB_STATUS_CHANGE", "data": { "status": "pending", "id": "job0" }, ... }
<- { "event": "BLOCK_JOB_COMPLETED", "data": { "device": "job0", "len": 1048576,
     "offset": 1048576, "speed": 0, "type": "backup" }, ... }
<- { "event": "JOB_STATUS_CHANGE", "data": { "status": "concluded", "id": "job0" }, ... }
<- { "event": "JOB_STATUS_CHANGE", "data": { "status": "null", "id": "job0" }, ... }

command: drive-backup
handler: qmp_drive_backup
disk: a.raw 1M
options: --blockdev raw,node-name=a,file.driver=file,file.filename=a.raw
-> { "execute": "drive-backup", "arguments": {
     "job-id": "job0", "device": "a", "target": "copy.qcow2", "format": "qcow2", "sync": "full" } }
<- { "event": "JOB_STATUS_CHANGE", "data": { "status": "created", "id": "job0" }, ... }
<- { "event": "JOB_STATUS_CHANGE", "data": { "status": "running", "id": "job0" }, ... }
<- { "return": {} }
<- { "event": "JOB_STATUS_CHANGE", "data": { "status": "waiting", "id": "job0" }, ... }

command: drive-mirror
handler: qmp_drive_mirror
disk: a.raw 1M
options: --blockdev raw,node-name=a,file.driver=file,file.filename=a.raw
-> { "execute": "drive-mirror", "arguments": {
     "job-id": "job0", "device": "a", "target": "copy.raw", "sync": "full" } }
<- { "event": "JOB_STATUS_CHANGE", "data": { "status": "created", "id": "job0" }, ... }
<- { "event": "JOB_STATUS_CHANGE", "data": { "status": "running", "id": "job0" }, ... }
<- { "return": {} }
<- { "event": "JOB_STATUS_CHANGE", "data": { "status": "ready", "id": "job0" }, ... }

command: blockdev-mirror
handler: qmp_blockdev_mirror
disk: a.raw 1M
disk: b.raw 1M
options: --blockdev raw,node-name=a,file.driver=file,file.filename=a.raw --blockdev raw,node-name=b,file.driver=file,file.filename=b.raw
-> { "execute": "blockdev-mirror", "arguments": {
     "job-id": "job0", "device": "a", "target": "b", "sync": "full" } }
<- { "event": "JOB_STATUS_CHANGE", "data": { "status": "created", "id": "job0" }, ... }
<- { "event": "JOB_STATUS_CHANGE", "data": { "status": "running", "id": "job0" }, ... }
<- { "return": {} }
<- { "event": "JOB_STATUS_CHANGE", "data": { "status": "ready", "id": "job0" }, ... }
<- { "event": "BLOCK_JOB_READY", "data": { "device": "job0", "len": 1048576, "offset": 1048576,
     "speed": 0, "type": "mirror" }, ... }

command: job-cancel
handler: qmp_job_cancel
disk: new.qcow2 0
setup: { "execute": "blockdev-add",
         "arguments": { "driver": "file", "node-name": "file0", "filename": "new.qcow2" } }
setup: { "execute": "blockdev-create", "arguments": { "job-id": "job0", "options":
         { "driver": "qcow2", "file": "file0", "size": 1073741824 } } }
<- { "event": "JOB_STATUS_CHANGE", "data": { "status": "concluded", "id": "job0" }, ... }
-> { "execute": "job-cancel", "arguments": { "id": "job0" } }
<- { "error": { "class": "GenericError",
                "desc": "Job 'job0' in state 'concluded' cannot accept command verb 'cancel'" } }

command: block_resize
handler: qmp_block_resize
disk: disk.raw 1M
setup: { "execute": "blockdev-add",
         "arguments": { "driver": "file", "node-name": "disk0", "filename": "disk.raw" } }
-> { "execute": "block_resize", "arguments": { "node-name": "disk0", "size": 2097152 } }
<- { "return": {} }

command: block-set-write-threshold
handler: qmp_block_set_write_threshold
setup: { "execute": "blockdev-add", "arguments": { "driver": "null-co", "node-name": "disk0" } }
-> { "execute": "block-set-write-threshold",
     "arguments": { "node-name": "disk0", "write-threshold": 17179869184 } }
<- { "return": {} }

command: block_set_io_throttle
handler: qmp_block_set_io_throttle
disk: disk.raw 1M
options: --drive id=disk0,file=disk.raw,format=raw,if=none
-> { "execute": "block_set_io_throttle",
     "arguments": { "device": "disk0", "bps": 0, "bps_rd": 1048576, "bps_wr": 524288,
                    "iops": 100, "iops_rd": 0, "iops_wr": 0, "iops_max": 1000 } }
<- { "return": {} }

command: blockdev-add
handler: qmp_blockdev_add
disk: disk.qcow2 1G qcow2
-> { "execute": "blockdev-add",
     "arguments": { "driver": "qcow2", "node-name": "disk0",
                    "file": { "driver": "file", "filename": "disk.qcow2" } } }
<- { "return": {} }

command: blockdev-reopen
handler: qmp_blockdev_reopen
disk: disk.qcow2 1G qcow2
setup: { "execute": "blockdev-add",
         "arguments": { "driver": "qcow2", "node-name": "disk0",
                        "file": { "driver": "file", "filename": "disk.qcow2",
                                  "node-name": "file0" } } }
-> { "execute": "blockdev-reopen",
     "arguments": { "options": [
         { "driver": "qcow2", "node-name": "disk0", "file": "file0", "read-only": true } ] } }
<- { "return": {} }

command: blockdev-del
handler: qmp_blockdev_del
setup: { "execute": "blockdev-add", "arguments": { "driver": "null-co", "node-name": "disk0" } }
-> { "execute": "blockdev-del", "arguments": { "node-name": "disk0" } }
<- { "return": {} }

command: blockdev-create
handler: qmp_blockdev_create
-> { "execute": "blockdev-create",
     "arguments": { "job-id": "job0", "options": { "driver": "file", "filename": "new.raw",
                                                   "size": 1048576 } } }
<- { "event": "JOB_STATUS_CHANGE", "data": { "status": "created", "id": "job0" }, ... }
<- { "event": "JOB_STATUS_CHANGE", "data": { "status": "running", "id": "job0" }, ... }
<- { "return": {} }
<- { "event": "JOB_STATUS_CHANGE", "data": { "status": "waiting", "id": "job0" }, ... }
<- { "event": "JOB_STATUS_CHANGE", "data": { "status": "pending", "id": "job0" }, ... }
<- { "event": "JOB_STATUS_CHANGE", "data": { "status": "concluded", "id": "job0" }, ... }

command: blockdev-check
handler: qmp_blockdev_check
disk: disk.qcow2 1G qcow2
setup: { "execute": "blockdev-add",
         "arguments": { "driver": "qcow2", "node-name": "disk0",
                        "file": { "driver": "file", "filename": "disk.qcow2" } } }
-> { "execute": "blockdev-check",
     "arguments": { "job-id": "job0", "node-name": "disk0", "fix": "leaks" } }
<- { "event": "JOB_STATUS_CHANGE", "data": { "status": "created", "id": "job0" }, ... }
<- { "event": "JOB_STATUS_CHANGE", "data": { "status": "running", "id": "job0" }, ... }
<- { "return": {} }
<- { "event": "BLOCKDEV_CHECK_COMPLETED",
     "data": { "id": "job0", "node-name": "disk0",
               "result": { "filename": "disk.qcow2", "format": "qcow2", "check-errors": 0,
                           "image-end-offset": ..., "total-clusters": 16384, "allocated-clusters": 0,
                           "fragmented-clusters": 0, "compressed-clusters": 0 } }, ... }
<- { "event": "JOB_STATUS_CHANGE", "data": { "status": "waiting", "id": "job0" }, ... }
<- { "event": "JOB_STATUS_CHANGE", "data": { "status": "pending", "id": "job0" }, ... }
<- { "event": "JOB_STATUS_CHANGE", "data": { "status": "concluded", "id": "job0" }, ... }

command: query-block
handler: qmp_query_block
disk: disk.raw 1M
options: --drive id=virtio0,file=disk.raw,format=raw,if=none
-> { "execute": "query-block" }
<- { "return": [ { "device": "virtio0", "type": "unknown", "removable": ..., "locked": false,
                   "inserted": { "drv": "raw", "file": ..., "ro": false,
                                 "image": { "virtual-size": 1048576, ... }, ... }, ... } ] }

command: query-named-block-nodes
handler: qmp_query_named_block_nodes
setup: { "execute": "blockdev-add", "arguments": { "driver": "null-co", "node-name": "disk0" } }
-> { "execute": "query-named-block-nodes", "arguments": { "flat": true } }
<- { "return": [ { "node-name": "disk0", "drv": "null-co", "ro": false, ... } ] }

command: query-blockstats
handler: qmp_query_blockstats
setup: { "execute": "blockdev-add", "arguments": { "driver": "null-co", "node-name": "disk0" } }
-> { "execute": "query-blockstats", "arguments": { "query-nodes": true } }
<- { "return": [ { "node-name": "disk0", "stats": { "wr_highest_offset": 0, ... } } ] }

command: nbd-server-start
handler: qmp_nbd_server_start
-> { "execute": "nbd-server-start",
     "arguments": { "addr": { "type": "unix", "data": { "path": "nbd.sock" } } } }
<- { "return": {} }

command: nbd-server-stop
handler: qmp_nbd_server_stop
setup: { "execute": "nbd-server-start",
         "arguments": { "addr": { "type": "unix", "data": { "path": "nbd.sock" } } } }
-> { "execute": "nbd-server-stop" }
<- { "return": {} }

command: nbd-server-add
handler: qmp_nbd_server_add
setup: { "execute": "nbd-server-start",
         "arguments": { "addr": { "type": "unix", "data": { "path": "nbd.sock" } } } }
setup: { "execute": "blockdev-add", "arguments": { "driver": "null-co", "node-name": "disk0" } }
-> { "execute": "nbd-server-add", "arguments": { "device": "disk0", "writable": true } }
<- { "return": {} }

command: nbd-server-remove
handler: qmp_nbd_server_remove
setup: { "execute": "nbd-server-start",
         "arguments": { "addr": { "type": "unix", "data": { "path": "nbd.sock" } } } }
setup: { "execute": "blockdev-add", "arguments": { "driver": "null-co", "node-name": "disk0" } }
setup: { "execute": "nbd-server-add", "arguments": { "device": "disk0", "name": "data" } }
-> { "execute": "nbd-server-remove", "arguments": { "name": "data" } }
<- { "return": {} }
<- { "event": "BLOCK_EXPORT_DELETED", "data": { "id": "data" }, ... }

command: block-export-add
handler: qmp_block_export_add
setup: { "execute": "nbd-server-start",
         "arguments": { "addr": { "type": "unix", "data": { "path": "nbd.sock" } } } }
setup: { "execute": "blockdev-add", "arguments": { "driver": "null-co", "node-name": "disk0" } }
-> { "execute": "block-export-add",
     "arguments": { "type": "nbd", "id": "exp0", "node-name": "disk0", "name": "data",
                    "writable": true } }
<- { "return": {} }

command: block-export-del
handler: qmp_block_export_del
setup: { "execute": "nbd-server-start",
         "arguments": { "addr": { "type": "unix", "data": { "path": "nbd.sock" } } } }
setup: { "execute": "blockdev-add", "arguments": { "driver": "null-co", "node-name": "disk0" } }
setup: { "execute": "block-export-add",
         "arguments": { "type": "nbd", "id": "exp0", "node-name": "disk0" } }
-> { "execute": "block-export-del", "arguments": { "id": "exp0" } }
<- { "return": {} }
<- { "event": "BLOCK_EXPORT_DELETED", "data": { "id": "exp0" }, ... }

command: query-block-exports
handler: qmp_query_block_exports
setup: { "execute": "nbd-server-start",
         "arguments": { "addr": { "type": "unix", "data": { "path": "nbd.sock" } } } }
setup: { "execute": "blockdev-add", "arguments": { "driver": "null-co", "node-name": "disk0" } }
setup: { "execute": "block-export-add",
         "arguments": { "type": "nbd", "id": "exp0", "node-name": "disk0" } }
-> { "execute": "query-block-exports" }
<- { "return": [ { "id": "exp0", "type": "nbd", "node-name": "disk0", "shutting-down": false } ] }

command: qom-list
handler: qmp_qom_list
options: --object iothread,id=io0
-> { "execute": "qom-list", "arguments": { "path": "/objects" } }
<- { "return": [ { "name": "type", "type": "string" },
                 { "name": "io0", "type": "child<iothread>" } ] }

command: qom-get
handler: qmp_qom_get
options: --object throttle-group,id=tg0,x-iops-total=100
-> { "execute": "qom-get", "arguments": { "path": "tg0", "property": "x-iops-total" } }
<- { "return": 100 }

command: qom-set
handler: qmp_qom_set
options: --object throttle-group,id=tg0,limits.iops-total=100
-> { "execute": "qom-set",
     "arguments": { "path": "/objects/tg0", "property": "limits", "value": { "iops-total": 50 } } }
<- { "return": {} }

command: qom-list-types
handler: qmp_qom_list_types
-> { "execute": "qom-list-types", "arguments": { "implements": "user-creatable" } }
<- { "return": [ { "name": "iothread", "parent": "event-loop-base" }, ... ] }

command: qom-list-properties
handler: qmp_qom_list_properties
-> { "execute": "qom-list-properties", "arguments": { "typename": "iothread" } }
<- { "return": [ { "name": "type", "type": "string" }, { "name": "poll-max-ns", "type": "int" } ] }

command: trace-event-get-state
handler: qmp_trace_event_get_state
-> { "execute": "trace-event-get-state", "arguments": { "name": "qmp_ev*" } }
<- { "return": [ { "name": "qmp_event", "state": "disabled", "vcpu": false } ] }

command: trace-event-set-state
handler: qmp_trace_event_set_state
-> { "execute": "trace-event-set-state", "arguments": { "name": "transaction_*", "enable": true } }
<- { "return": {} }

command: cont
handler: qmp_cont
-> { "execute": "cont" }
<- { "return": {} }

command: blockdev-group-snapshot-sync
handler: qmp_blockdev_group_snapshot_sync
disk: data.qcow2 1G qcow2
disk: wal.raw 1M
options: --drive id=virtio0,file=data.qcow2,format=qcow2,if=none
options: --drive id=virtio1,file=wal.raw,format=raw,if=none
-> { "execute": "blockdev-group-snapshot-sync",
     "arguments": { "devlist": [
         { "device": "virtio0", "snapshot-file": "data.snap1", "format": "qcow2" },
         { "device": "virtio1", "snapshot-file": "wal.snap1" } ] } }
<- { "event": "BLOCK_GROUP_SNAPSHOT_COMPLETED",
     "data": { "members": [ { "device": "virtio0", ... }, { "device": "virtio1", ... } ],
               "pause-ns": ..., ... }, ... }
<- { "return": {} }

command: blockdev-snapshot-sync
handler: qmp_blockdev_snapshot_sync
disk: disk.qcow2 1G qcow2
options: --drive id=virtio0,file=disk.qcow2,format=qcow2,if=none
-> { "execute": "blockdev-snapshot-sync",
     "arguments": { "device": "virtio0", "snapshot-file": "disk.snap1",
                    "snapshot-node-name": "snap1" } }
<- { "return": {} }

command: blockdev-snapshot
handler: qmp_blockdev_snapshot
disk: disk.raw 1M
disk: overlay.qcow2 1M qcow2
options: --drive id=virtio0,file=disk.raw,format=raw,if=none
setup: { "execute": "blockdev-add",
         "arguments": { "driver": "qcow2", "node-name": "snap1", "backing": null,
                        "file": { "driver": "file", "filename": "overlay.qcow2" } } }
-> { "execute": "blockdev-snapshot",
     "arguments": { "node": "virtio0", "overlay": "snap1" } }
<- { "return": {} }

command: blockdev-snapshot-internal-sync
handler: qmp_blockdev_snapshot_internal_sync
disk: disk.qcow2 1G qcow2
options: --blockdev driver=qcow2,node-name=disk0,file.driver=file,file.filename=disk.qcow2
-> { "execute": "blockdev-snapshot-internal-sync",
     "arguments": { "device": "disk0", "name": "before-the-upgrade" } }
<- { "return": {} }

command: blockdev-snapshot-delete-internal-sync
handler: qmp_blockdev_snapshot_delete_internal_sync
disk: disk.qcow2 1G qcow2
options: --blockdev driver=qcow2,node-name=disk0,file.driver=file,file.filename=disk.qcow2
setup: { "execute": "blockdev-snapshot-internal-sync",
         "arguments": { "device": "disk0", "name": "before-the-upgrade" } }
-> { "execute": "blockdev-snapshot-delete-internal-sync",
     "arguments": { "device": "disk0", "name": "before-the-upgrade" } }
<- { "return": { "id": "1", "name": "before-the-upgrade", "date-sec": ...,
                 "date-nsec": ..., "vm-clock-sec": 0, "vm-clock-nsec": 0, "vm-state-size": 0 } }

command: transaction
handler: qmp_transaction
disk: a.raw 1M
disk: b.raw 1M
options: --drive id=virtio0,file=a.raw,format=raw,if=none
options: --drive id=virtio1,file=b.raw,format=raw,if=none
-> { "execute": "transaction",
     "arguments": { "actions": [
         { "type": "blockdev-snapshot-sync",
           "data": { "device": "virtio0", "snapshot-file": "a.snap1" } },
         { "type": "blockdev-snapshot-sync",
           "data": { "device": "virtio1", "snapshot-file": "b.snap1" } } ] } }
<- { "return": {} }

command: block-dirty-bitmap-add
handler: qmp_block_dirty_bitmap_add
disk: disk.qcow2 1G qcow2
options: --blockdev driver=qcow2,node-name=disk0,file.driver=file,file.filename=disk.qcow2
-> { "execute": "block-dirty-bitmap-add",
     "arguments": { "node": "disk0", "name": "backup0", "granularity": 65536 } }
<- { "return": {} }

command: block-dirty-bitmap-remove
handler: qmp_block_dirty_bitmap_remove
disk: disk.qcow2 1G qcow2
options: --blockdev driver=qcow2,node-name=disk0,file.driver=file,file.filename=disk.qcow2
setup: { "execute": "block-dirty-bitmap-add",
         "arguments": { "node": "disk0", "name": "backup0" } }
-> { "execute": "block-dirty-bitmap-remove",
     "arguments": { "node": "disk0", "name": "backup0" } }
<- { "return": {} }

command: block-dirty-bitmap-clear
handler: qmp_block_dirty_bitmap_clear
disk: disk.qcow2 1G qcow2
options: --blockdev driver=qcow2,node-name=disk0,file.driver=file,file.filename=disk.qcow2
setup: { "execute": "block-dirty-bitmap-add",
         "arguments": { "node": "disk0", "name": "backup0" } }
-> { "execute": "block-dirty-bitmap-clear",
     "arguments": { "node": "disk0", "name": "backup0" } }
<- { "return": {} }

command: block-dirty-bitmap-enable
handler: qmp_block_dirty_bitmap_enable
disk: disk.qcow2 1G qcow2
options: --blockdev driver=qcow2,node-name=disk0,file.driver=file,file.filename=disk.qcow2
setup: { "execute": "block-dirty-bitmap-add",
         "arguments": { "node": "disk0", "name": "backup0" } }
-> { "execute": "block-dirty-bitmap-enable",
     "arguments": { "node": "disk0", "name": "backup0" } }
<- { "return": {} }

command: block-dirty-bitmap-disable
handler: qmp_block_dirty_bitmap_disable
disk: disk.qcow2 1G qcow2
options: --blockdev driver=qcow2,node-name=disk0,file.driver=file,file.filename=disk.qcow2
setup: { "execute": "block-dirty-bitmap-add",
         "arguments": { "node": "disk0", "name": "backup0" } }
-> { "execute": "block-dirty-bitmap-disable",
     "arguments": { "node": "disk0", "name": "backup0" } }
<- { "return": {} }

command: block-dirty-bitmap-merge
handler: qmp_block_dirty_bitmap_merge
disk: disk.qcow2 1G qcow2
options: --blockdev driver=qcow2,node-name=disk0,file.driver=file,file.filename=disk.qcow2
setup: { "execute": "block-dirty-bitmap-add",
         "arguments": { "node": "disk0", "name": "backup0" } }
setup: { "execute": "block-dirty-bitmap-add",
         "arguments": { "node": "disk0", "name": "backup1" } }
-> { "execute": "block-dirty-bitmap-merge",
     "arguments": { "node": "disk0", "target": "backup0", "bitmaps": [ "backup1" ] } }
<- { "return": {} }

command: x-debug-block-dirty-bitmap-sha256
handler: qmp_x_debug_block_dirty_bitmap_sha256
disk: disk.qcow2 1G qcow2
options: --blockdev driver=qcow2,node-name=disk0,file.driver=file,file.filename=disk.qcow2
setup: { "execute": "block-dirty-bitmap-add",
         "arguments": { "node": "disk0", "name": "backup0" } }
-> { "execute": "x-debug-block-dirty-bitmap-sha256",
     "arguments": { "node": "disk0", "name": "backup0" } }
<- { "return": { "sha256": "..." } }

command: device_add
handler: qmp_device_add
program: qemu-system-x86_64
disk: disk.qcow2 1G qcow2
options: -machine pc,x-inner=off -blockdev driver=qcow2,node-name=disk0,file.driver=file,file.filename=disk.qcow2
-> { "execute": "device_add",
     "arguments": { "driver": "virtio-blk-pci", "id": "vda", "drive": "disk0" } }
<- { "return": {} }

command: device_del
handler: qmp_device_del
program: qemu-system-x86_64
disk: disk.qcow2 1G qcow2
options: -machine pc,x-inner=off -blockdev driver=qcow2,node-name=disk0,file.driver=file,file.filename=disk.qcow2
options: -device virtio-blk-pci,id=vda,drive=disk0
-> { "execute": "device_del", "arguments": { "id": "vda" } }
<- { "event": "DEVICE_DELETED", "data": { "device": "vda", "path": "/machine/peripheral/vda" },
     "timestamp": ... }
<- { "return": {} }

command: eject
handler: qmp_eject
program: qemu-system-x86_64
options: -machine pc,x-inner=off -drive if=none,id=cd,driver=null-co,read-only=on -device ide-cd,id=cd0,drive=cd
-> { "execute": "eject", "arguments": { "id": "cd0" } }
<- { "event": "DEVICE_TRAY_MOVED", "data": { "device": "cd", "id": "cd0", "tray-open": true },
     "timestamp": ... }
<- { "return": {} }

command: blockdev-open-tray
handler: qmp_blockdev_open_tray
program: qemu-system-x86_64
options: -machine pc,x-inner=off -device ide-cd,id=cd0
-> { "execute": "blockdev-open-tray", "arguments": { "id": "cd0" } }
<- { "event": "DEVICE_TRAY_MOVED", "data": { "device": "", "id": "cd0", "tray-open": true },
     "timestamp": ... }
<- { "return": {} }

command: blockdev-close-tray
handler: qmp_blockdev_close_tray
program: qemu-system-x86_64
options: -machine pc,x-inner=off -device ide-cd,id=cd0
setup: { "execute": "blockdev-open-tray", "arguments": { "id": "cd0" } }
-> { "execute": "blockdev-close-tray", "arguments": { "id": "cd0" } }
<- { "event": "DEVICE_TRAY_MOVED", "data": { "device": "", "id": "cd0", "tray-open": false },
     "timestamp": ... }
<- { "return": {} }

command: blockdev-remove-medium
handler: qmp_blockdev_remove_medium
program: qemu-system-x86_64
options: -machine pc,x-inner=off -drive if=none,id=cd,driver=null-co,read-only=on -device ide-cd,id=cd0,drive=cd
setup: { "execute": "blockdev-open-tray", "arguments": { "id": "cd0" } }
-> { "execute": "blockdev-remove-medium", "arguments": { "id": "cd0" } }
<- { "return": {} }

command: blockdev-insert-medium
handler: qmp_blockdev_insert_medium
program: qemu-system-x86_64
options: -machine pc,x-inner=off -blockdev driver=null-co,node-name=disc0,read-only=on -device ide-cd,id=cd0
setup: { "execute": "blockdev-open-tray", "arguments": { "id": "cd0" } }
-> { "execute": "blockdev-insert-medium", "arguments": { "id": "cd0", "node-name": "disc0" } }
<- { "return": {} }

command: blockdev-change-medium
handler: qmp_blockdev_change_medium
program: qemu-system-x86_64
disk: disc.img 1M
options: -machine pc,x-inner=off -device ide-cd,id=cd0
-> { "execute": "blockdev-change-medium",
     "arguments": { "id": "cd0", "filename": "disc.img", "format": "raw" } }
<- { "event": "DEVICE_TRAY_MOVED", "data": { "device": "", "id": "cd0", "tray-open": true },
     "timestamp": ... }
<- { "event": "DEVICE_TRAY_MOVED", "data": { "device": "", "id": "cd0", "tray-open": false },
     "timestamp": ... }
<- { "return": {} }

command: query-target
handler: qmp_query_target
program: qemu-system-x86_64
-> { "execute": "query-target" }
<- { "return": { "arch": "x86_64" } }

command: query-kvm
handler: qmp_query_kvm
program: qemu-system-x86_64
-> { "execute": "query-kvm" }
<- { "return": { "enabled": false, "present": false } }

command: query-machines
handler: qmp_query_machines
program: qemu-system-x86_64
-> { "execute": "query-machines" }
<- { "return": [ { "name": "...", "alias": "pc", "is-default": true, ... }, ... ] }

command: query-cpus-fast
handler: qmp_query_cpus_fast
program: qemu-system-x86_64
-> { "execute": "query-cpus-fast" }
<- { "return": [] }

command: query-balloon
handler: qmp_query_balloon
program: qemu-system-x86_64
options: -machine pc,x-inner=off -m 64 -device virtio-balloon-pci
-> { "execute": "query-balloon" }
<- { "return": { "actual": 67108864 } }

command: balloon
handler: qmp_balloon
program: qemu-system-x86_64
options: -machine pc,x-inner=off -device virtio-balloon-pci
-> { "execute": "balloon", "arguments": { "value": 33554432 } }
<- { "return": {} }

command: query-tpm-models
handler: qmp_query_tpm_models
program: qemu-system-x86_64
-> { "execute": "query-tpm-models" }
<- { "return": [] }

command: query-tpm-types
handler: qmp_query_tpm_types
program: qemu-system-x86_64
-> { "execute": "query-tpm-types" }
<- { "return": [] }

command: query-command-line-options
handler: qmp_query_command_line_options
program: qemu-system-x86_64
-> { "execute": "query-command-line-options", "arguments": { "option": "drive" } }
<- { "return": [ { "option": "drive", "parameters": [] } ] }

command: device-list-properties
handler: qmp_device_list_properties
program: qemu-system-x86_64
-> { "execute": "device-list-properties", "arguments": { "typename": "ide-cd" } }
<- { "return": [ { "name": "account-failed", "type": "OnOffAuto" }, ... ] }

command: stop
handler: qmp_stop
program: qemu-system-x86_64
-> { "execute": "stop" }
<- { "event": "STOP", "timestamp": ... }
<- { "return": {} }

command: system_reset
handler: qmp_system_reset
program: qemu-system-x86_64
-> { "execute": "system_reset" }
<- { "event": "RESET", "data": { "guest": false, "reason": "host-qmp-system-reset" }, "timestamp": ... }
<- { "return": {} }

command: system_powerdown
handler: qmp_system_powerdown
program: qemu-system-x86_64
-> { "execute": "system_powerdown" }
<- { "event": "POWERDOWN", "timestamp": ... }
<- { "return": {} }

command: system_wakeup
handler: qmp_system_wakeup
program: qemu-system-x86_64
-> { "execute": "system_wakeup" }
<- { "error": { "class": "GenericError",
                "desc": "wake-up from suspend is not supported by this guest" } }

command: set-action
handler: qmp_set_action
program: qemu-system-x86_64
-> { "execute": "set-action", "arguments": { "reboot": "shutdown", "shutdown": "pause" } }
<- { "return": {} }

command: query-migrate-capabilities
handler: qmp_query_migrate_capabilities
program: qemu-system-x86_64
-> { "execute": "query-migrate-capabilities" }
<- { "return": [ { "capability": "events", "state": false }, ... ] }

command: migrate-set-capabilities
handler: qmp_migrate_set_capabilities
program: qemu-system-x86_64
-> { "execute": "migrate-set-capabilities",
     "arguments": { "capabilities": [ { "capability": "events", "state": true } ] } }
<- { "return": {} }

command: migrate-set-parameters
handler: qmp_migrate_set_parameters
program: qemu-system-x86_64
-> { "execute": "migrate-set-parameters",
     "arguments": { "block-bitmap-mapping": [
         { "node-name": "disk0", "alias": "data",
           "bitmaps": [ { "name": "backup0", "alias": "b0" } ] } ] } }
<- { "return": {} }

command: query-migrate-parameters
handler: qmp_query_migrate_parameters
program: qemu-system-x86_64
-> { "execute": "query-migrate-parameters" }
<- { "return": {} }

command: snapshot-save
handler: qmp_snapshot_save
program: qemu-system-x86_64
disk: disk.qcow2 1G qcow2
options: -blockdev driver=qcow2,node-name=disk0,file.driver=file,file.filename=disk.qcow2
-> { "execute": "snapshot-save",
     "arguments": { "job-id": "save0", "tag": "before", "vmstate": "disk0", "devices": [] } }
<- { "return": {} }
<- { "event": "JOB_STATUS_CHANGE", "data": { "id": "save0", "status": "concluded" },
     "timestamp": ... }

command: snapshot-load
handler: qmp_snapshot_load
program: qemu-system-x86_64
disk: disk.qcow2 1G qcow2
options: -blockdev driver=qcow2,node-name=disk0,file.driver=file,file.filename=disk.qcow2
-> { "execute": "snapshot-load",
     "arguments": { "job-id": "load0", "tag": "before", "vmstate": "disk0", "devices": [] } }
<- { "return": {} }
<- { "event": "JOB_STATUS_CHANGE", "data": { "id": "load0", "status": "concluded" },
     "timestamp": ... }

command: snapshot-delete
handler: qmp_snapshot_delete
program: qemu-system-x86_64
disk: disk.qcow2 1G qcow2
options: -blockdev driver=qcow2,node-name=disk0,file.driver=file,file.filename=disk.qcow2
-> { "execute": "snapshot-delete",
     "arguments": { "job-id": "delete0", "tag": "before", "devices": [ "disk0" ] } }
<- { "return": {} }
<- { "event": "JOB_STATUS_CHANGE", "data": { "id": "delete0", "status": "concluded" },
     "timestamp": ... }

command: query-migrate
handler: qmp_query_migrate
program: qemu-system-x86_64
setup: { "execute": "migrate", "arguments": { "uri": "exec:cat > machine" } }
-> { "execute": "query-migrate" }
<- { "return": { "status": ..., ... } }

command: migrate
handler: qmp_migrate
program: qemu-system-x86_64
disk: disk.qcow2 1G qcow2
options: -blockdev driver=qcow2,node-name=disk0,file.driver=file,file.filename=disk.qcow2
-> { "execute": "migrate", "arguments": { "uri": "exec:cat > machine" } }
<- { "return": {} }
<- { "event": "STOP", "timestamp": ... }

command: migrate-incoming
handler: qmp_migrate_incoming
program: qemu-system-x86_64
options: -incoming defer
-> { "execute": "migrate-incoming", "arguments": { "uri": "unix:machine.sock" } }
<- { "return": {} }

command: migrate_cancel
handler: qmp_migrate_cancel
program: qemu-system-x86_64
-> { "execute": "migrate_cancel" }
<- { "return": {} }

command: migrate-continue
handler: qmp_migrate_continue
program: qemu-system-x86_64
setup: { "execute": "migrate-set-capabilities",
         "arguments": { "capabilities": [ { "capability": "pause-before-switchover", "state": true },
                                          { "capability": "events", "state": true } ] } }
-> { "execute": "migrate", "arguments": { "uri": "exec:cat > machine" } }
<- { "return": {} }
<- { "event": "MIGRATION", "data": { "status": "pre-switchover" }, "timestamp": ... }
-> { "execute": "migrate-continue", "arguments": { "state": "pre-switchover" } }
<- { "return": {} }
<- { "event": "MIGRATION", "data": { "status": "completed" }, "timestamp": ... }

command: x-blockdev-set-iothread
handler: qmp_x_blockdev_set_iothread
program: qemu-system-x86_64
options: -blockdev driver=null-co,node-name=disk0 -object iothread,id=io0
-> { "execute": "x-blockdev-set-iothread",
     "arguments": { "node-name": "disk0", "iothread": "io0" } }
<- { "return": {} }

command: migrate-start-postcopy
handler: qmp_migrate_start_postcopy
program: qemu-system-x86_64
setup: { "execute": "migrate-set-capabilities",
         "arguments": { "capabilities": [ { "capability": "pause-before-switchover", "state": true } ] } }
setup: { "execute": "migrate", "arguments": { "uri": "exec:cat > machine" } }
-> { "execute": "migrate-start-postcopy" }
<- { "return": {} }
