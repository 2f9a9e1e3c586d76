#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""
System calls that may wait for a disk, a file system, a name server or another process are made by functions with the
word blocking_fn (include/qemu/context.h), and these are called by each other, or given to a thread; by nobody else.
"""
import os
import re
import subprocess
import sys

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), '../..')
# Programs may wait before their loop begins and after it has ended.
LEFT_OUT = ('tools/', 'tests/', 'scripts/')

BLOCKING = '''
    access canonicalize_file_name chdir chmod chown close copy_file_range creat dprintf faccessat fallocate fchmod
    fclose fcntl fdatasync fdopen fflush fgets fopen fprintf fputs fread fstat fstatat fstatfs fstatvfs fsync
    ftruncate fwrite getaddrinfo getdelim getline getnameinfo gethostbyname ioctl link linkat lseek lstat mkdir
    mkdirat mkdtemp mkostemp mkstemp mknod nanosleep open openat opendir pclose poll popen posix_fallocate
    posix_fadvise pread preadv preadv2 pthread_join pwrite pwritev pwritev2 read readdir readlink readlinkat readv
    realpath remove rename renameat renameat2 rmdir scandir select sendfile sleep splice stat statfs statvfs statx
    symlink symlinkat sync sync_file_range syncfs syslog system tempnam truncate unlink unlinkat usleep utimensat
    vdprintf vfprintf wait waitpid write writev
    g_access g_chdir g_chmod g_creat g_dir_open g_dir_read_name g_file_get_contents g_file_open_tmp g_file_read_link
    g_file_set_contents g_file_test g_fopen g_get_current_dir g_lstat g_mkdir g_mkdir_with_parents g_mkdtemp g_mkstemp
    g_open g_print g_printerr g_remove g_rename g_rmdir g_spawn_sync g_stat g_unlink g_usleep io_uring_wait_cqe
'''.split()
CALL = re.compile(r'(?<![\w.>])(%s)\s*\(' % '|'.join(BLOCKING))

# Functions that make such a call on a loop, and why it does not wait there.  Each must be needed.
ALLOWED = {
    # sockets, pipes and descriptors of the kernel's own, none of which waits when it is looked at or closed
    ('monitor/chardev-files.c', 'is_open'): 'polls without waiting',
    ('monitor/chardev-files.c', 'monitor_pty_wait'): 'inotify, without waiting',
    ('monitor/chardev-info.c', 'end_of'): 'numbers, not names',
    ('monitor/chardev-open.c', 'check_fd'): 'fstat of what is open',
    ('monitor/chardev-open.c', 'connect_to_server'): 'flags',
    ('monitor/chardev-open.c', 'monitor_chardev_close'): 'a socket',
    ('monitor/server.c', 'accept_clients'): 'a socket',
    ('machine/qemu/child.c', 'machine_child_finish'): 'a pipe and a descriptor of a process',
    ('machine/qemu/child.c', 'machine_child_start'): 'a pipe, and flags',
    ('machine/qemu/child.c', 'say'): 'the child, before it is another program',
    ('machine/qemu/child.c', 'wait_entry'): 'looks whether it has ended, without waiting',
    ('machine/qemu/child.c', 'words_entry'): 'a pipe that is ready',
    ('machine/qemu/client.c', 'machine_outgoing_free'): 'a copy of a descriptor',
    ('machine/qemu/request.c', 'outgoing_new'): 'a copy of a descriptor',
    ('machine/qemu/disk.c', 'add_link'): 'a socket',
    ('machine/qemu/disk.c', 'connect_to_us'): 'flags',
    ('machine/qemu/qemu.c', 'start_process'): 'flags, and sockets',
    ('migration/address.c', 'parse_fd'): 'flags',
    ('monitor/intercept.c', 'monitor_drop_fds'): "closed as a client's own would be",
    ('nbd/server.c', 'accept_entry'): 'a socket',
    ('system/options.c', 'check_beginnings'): 'before the loop begins, and the end',
    ('system/options.c', 'bad_option'): 'before the loop begins, and the end',
    ('util/channel.c', 'channel_close'): 'sockets, pipes or terminals',
    ('util/channel.c', 'channel_is_dead'): 'polls without waiting',
    ('util/channel.c', 'kind_of'): 'fstat of what is open',
    ('util/channel.c', 'move'): 'it is ready, and a pipe then takes PIPE_BUF bytes',
    ('util/sockets.c', 'listen_fd'): 'flags',
    ('util/sockets.c', 'socket_connect'): 'flags',
    ('util/sockets-common.c', 'socket_connect_to'): 'a socket',
    ('util/sockets-common.c', 'socket_listener_close'): 'sockets',
    ('util/aio-context.c', 'aio_context_free'): 'an eventfd',
    ('util/aio-context.c', 'aio_context_new'): 'an eventfd',
    ('util/aio-ready.c', 'write_event'): 'an eventfd that is read before it is full',
    ('util/aio-epoll.c', 'epoll_destroy'): 'an epoll descriptor',
    ('util/aio-epoll.c', 'epoll_init'): 'an epoll descriptor',
    ('util/aio-epoll.c', 'epoll_poll'): 'an eventfd that is ready',
    # threads that run a loop, and are told to end
    ('util/iothread.c', 'iothread_free'): 'joins it',
    ('util/iothread.c', 'iothread_new'): 'joins one that could not begin',
    # when the program begins, or is to abort
    ('util/aio-uring.c', 'wait_for_event'): 'for the thread sanitizer only',
    ('util/error.c', 'error_handle_abort'): 'the last words',
    ('util/error.c', 'error_report_err'): 'for programs',
    ('util/systemd.c', 'systemd_listen_fd'): 'flags',
    ('util/systemd.c', 'systemd_notify'): 'a socket',
}

# Give a blocking_fn to a thread.
RUNNERS = re.compile(r'\b(thread_pool_co_run|thread_pool_co_run_io|file_run|pthread_create|line_writer_new)\s*\(')


def strip(text):
    """Without comments and the contents of strings; as many lines."""
    def blank(m):
        return '""' if m.group(0)[0] in '"\'' else re.sub(r'[^\n]', '', m.group(0)) or ' '
    return re.sub(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\])*"|\'(?:\\.|[^\'\\])*\'', blank, text, flags=re.S)


def functions(text):
    """(head, name, line of the body, body) of each function; preprocessor lines are left out."""
    text = re.sub(r'^#.*?(?<!\\)$', '', text, flags=re.M | re.S) if '#' in text else text
    for m in re.finditer(r'^([a-zA-Z_][^;{}=]*?\b(\w+)\s*\([^;{}]*\))\s*\n\{\n(.*?)^\}', text, re.M | re.S):
        yield m.group(1), m.group(2), text.count('\n', 0, m.start(3)) + 1, m.group(3)


def statement_around(body, pos):
    return body[body.rfind(';', 0, pos) + 1:body.find(';', pos)]


def read(name):
    with open(os.path.join(ROOT, name)) as f:
        return strip(f.read())


def main():
    if not os.path.exists(os.path.join(ROOT, '.git')):
        print('skipped: not a git checkout')
        sys.exit(77)
    names = [n for n in subprocess.check_output(['git', 'ls-files', '*.c', '*.h'], cwd=ROOT, text=True).split()
             if not n.startswith(LEFT_OUT) and os.path.exists(os.path.join(ROOT, n))]
    texts = {n: read(n) for n in names}
    public = set()
    for n, text in texts.items():
        if n.endswith('.h'):
            public |= set(re.findall(r'\bblocking_fn\s+(\w+)\s*\(', text))
    found, unused, count = [], dict(ALLOWED), 0
    for n, text in texts.items():
        static = set(re.findall(r'^static\b[^;{}=]*\bblocking_fn\s+(\w+)\s*\(', text, re.M))
        blocking = public | static
        mention = re.compile(r'(?<![\w.>])(%s)\b(\s*\()?' % '|'.join(sorted(blocking) or ['-']))
        for head, name, line, body in functions(text):
            count += 1
            if 'blocking_fn' in head or name in blocking:
                continue
            anyway = 'context_block_anyway()' in body
            for m in CALL.finditer(body):
                if (n, name) in ALLOWED:
                    unused.pop((n, name), None)
                elif not anyway:
                    found.append('%s:%d: %s() calls %s()' % (n, line + body.count('\n', 0, m.start()), name, m.group(1)))
            for m in mention.finditer(body):
                where = '%s:%d: %s()' % (n, line + body.count('\n', 0, m.start()), name)
                if m.group(2) and not anyway:
                    found.append('%s calls %s(), which is a blocking_fn' % (where, m.group(1)))
                elif not m.group(2) and not RUNNERS.search(statement_around(body, m.start())):
                    found.append('%s gives %s() to something that is no thread' % (where, m.group(1)))
    found += ['%s: %s() is allowed what it does not do' % k for k in unused]
    if count < 500:
        found.append('only %d functions were found' % count)
    print('\n'.join(found))
    sys.exit(1 if found else 0)


main()
