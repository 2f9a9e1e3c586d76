/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The process that is the machine: started, listened to, waited for. */
#include "qemu/osdep.h"

#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "qemu-internal.h"
#include "qemu/channel.h"
#include "qemu/line-writer.h"
#include "qemu/trace.h"

/* Bytes of its last words that are kept for a message, and of one line that it writes. */
#define MAX_WORDS 2048
#define MAX_LINE 4096
/* Bytes of its words that wait until somebody reads our standard error. */
#define MAX_WORDS_WAITING (1 * MiB)
/* How often a child is looked at where the kernel does not tell of its end. */
#define LOOK_AGAIN_NS (20 * NS_PER_MS)
/* Others may have its standard error too; what they write after its end is not waited for. */
#define WORDS_PATIENCE_NS (200 * NS_PER_MS)

/* ---- what it says ---- */

static LineWriter *words_writer;

static void write_words(void *opaque, int64_t time_us, const char *line)
{
    context_block_anyway();         /* the writer's thread */
    if (line) {
        line_writer_write_all(STDERR_FILENO, line, strlen(line));
        line_writer_write_all(STDERR_FILENO, "\n", 1);
    }
}

static void main_fn got_line(MachineChild *c, const char *line)
{
    if (!words_writer) {
        words_writer = line_writer_new("the machine's messages", MAX_WORDS_WAITING, write_words,
                                       NULL);
    }
    line_writer_put(words_writer, line);
    g_string_append(c->last_words, line);
    g_string_append_c(c->last_words, '\n');
    if (c->last_words->len > MAX_WORDS) {
        g_string_erase(c->last_words, 0, c->last_words->len - MAX_WORDS);
    }
}

void blocking_fn machine_child_flush_words(int64_t patience_ns)
{
    if (words_writer) {
        line_writer_finish(words_writer, patience_ns);
    }
}

/* Hand on the lines that are complete, and what is too long to wait for its end. */
static void main_fn take_lines(MachineChild *c, GString *text, bool at_end)
{
    char *end;

    while ((end = memchr(text->str, '\n', text->len)) || text->len > MAX_LINE ||
           (at_end && text->len > 0)) {
        size_t len = end ? (size_t)(end - text->str) : MIN(text->len, (size_t)MAX_LINE);
        g_autofree char *raw = g_strndup(text->str, len);
        g_autofree char *line = machine_qemu_translate(raw);

        got_line(c, line);
        g_string_erase(text, 0, len + (end != NULL));
    }
}

static void main_fn worker_ends(MachineChild *c)
{
    if (--c->workers > 0) {
        return;
    }
    if (c->waiter) {
        coroutine_wake(g_steal_pointer(&c->waiter));
    }
    c->on_end(c->opaque);
}

static void co_main_fn words_entry(void *opaque)
{
    MachineChild *c = opaque;
    g_autoptr(GString) text = g_string_new(NULL);
    char buf[MAX_LINE];

    c->words_co = coroutine_self();
    while (aio_co_poll(c->words_fd, POLLIN, -1) >= 0) {
        context_block_anyway();     /* a pipe that is ready */
        ssize_t n = read(c->words_fd, buf, sizeof(buf));
        if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) {
            break;
        }
        g_string_append_len(text, buf, MAX(n, 0));
        take_lines(c, text, false);
        coroutine_reschedule();
    }
    c->words_co = NULL;
    take_lines(c, text, true);
    worker_ends(c);
}

/* ---- its end ---- */

static void co_main_fn wait_entry(void *opaque)
{
    MachineChild *c = opaque;
    int status = 0;

    for (;;) {
        if (c->pid_fd >= 0) {
            aio_co_poll(c->pid_fd, POLLIN, -1);
        }
        context_block_anyway();     /* it does not wait */
        if (waitpid(c->pid, &status, WNOHANG) == c->pid) {
            break;
        }
        aio_co_sleep_ns(LOOK_AGAIN_NS);
    }
    c->status = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
    c->ended = true;
    trace_machine_child(c->pid, "end", c->status);
    for (int64_t waited = 0; c->words_co && waited < WORDS_PATIENCE_NS; waited += LOOK_AGAIN_NS) {
        aio_co_sleep_ns(LOOK_AGAIN_NS);
    }
    if (c->words_co) {
        aio_co_cancel(c->words_co);
    }
    worker_ends(c);
}

void main_fn machine_child_kill(MachineChild *c, int signal)
{
    if (c->pid > 0 && !c->ended) {
        kill(c->pid, signal);       /* not reaped yet: the number is its own */
    }
}

void co_main_fn machine_child_finish(MachineChild *c)
{
    while (c->workers > 0) {
        c->waiter = coroutine_self();
        coroutine_yield();
    }
    context_block_anyway();         /* a pipe, and a descriptor of the kernel's own */
    if (c->words_fd > 0) {
        close(c->words_fd);
    }
    if (c->pid_fd > 0) {
        close(c->pid_fd);
    }
    if (c->last_words) {
        g_string_free(c->last_words, true);
    }
    *c = (MachineChild){ .words_fd = -1, .pid_fd = -1 };
}

/* ---- its beginning ---- */

static void say(const char *text)
{
    context_block_anyway();         /* the child, before it is another program */
    if (write(STDERR_FILENO, text, strlen(text)) < 0) {
        _exit(126);
    }
}

/* Between fork() and exec: one thread of several is here, so nothing that takes a lock. */
static G_NORETURN void blocking_fn become(const char *path, char *const *argv, char *const *envp,
                                          const int *keep, size_t n_keep, pid_t parent)
{
    sigset_t none;

    /* It has no other use than that of its parent, and its disks are there. */
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) {
        _exit(126);
    }
    if (machine_is_detached()) {
        int fd = open("/dev/null", O_RDWR);
        dup2(fd, STDIN_FILENO);
        dup2(fd, STDOUT_FILENO);
        close(fd);
    }
    for (size_t i = 0; i < n_keep; i++) {
        fcntl(keep[i], F_SETFD, 0);
    }
    for (int s = 1; s < NSIG; s++) {
        signal(s, SIG_DFL);
    }
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    execve(path, argv, envp);
    int error = errno;
    say(argv[0]);
    say(": cannot run '");
    say(path);
    say(error == ENOENT ? "': No such file or directory\n" :
        error == EACCES ? "': Permission denied\n" : "'\n");
    _exit(127);
}

bool co_main_fn machine_child_start(MachineChild *c, const char *path, char *const *argv,
                                    const int *keep, size_t n_keep, Error **errp)
{
    int words[2];
    pid_t parent = getpid();
    g_auto(GStrv) envp = g_environ_setenv(g_get_environ(), MACHINE_CHILD_ENV, "1", true);

    if (pipe2(words, O_CLOEXEC | O_NONBLOCK) < 0) {
        error_setg_errno(errp, errno, "cannot make a pipe for the machine's messages");
        return false;
    }
    context_block_anyway();         /* flags; what the child does is not ours */
    fcntl(words[1], F_SETFL, 0);
    c->pid = fork();
    if (c->pid == 0) {
        dup2(words[1], STDERR_FILENO);
        become(path, argv, envp, keep, n_keep, parent);
    }
    close(words[1]);
    if (c->pid < 0) {
        error_setg_errno(errp, errno, "cannot start a process for the machine");
        close(words[0]);
        return false;
    }
    c->words_fd = words[0];
    c->pid_fd = syscall(SYS_pidfd_open, c->pid, 0);
    c->last_words = g_string_new(NULL);
    c->workers = 2;
    trace_machine_child(c->pid, "begin", 0);
    coroutine_start(words_entry, c);
    coroutine_start(wait_entry, c);
    return true;
}
