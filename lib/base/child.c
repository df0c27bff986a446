#include "base/child.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/cpu.h"

extern char **environ;

enum { SLICE = 100, GRACE = 2000, PAUSE = 10 }; /* milliseconds */

struct zf_child {
  pid_t pid;
  int in, out;        /* its standard input and output: our ends */
  struct zf_buf rest; /* bytes read behind the last line that was asked for */
  int failed;         /* it did not answer: it is ended without a wait */
};

/* --- start --- */

static int make_pipe(int fd[2]) {
  if (pipe(fd)) return zf_error(ZF_EIO, "cannot make a pipe: %s", strerror(errno));
  for (int i = 0; i < 2; i++) fcntl(fd[i], F_SETFD, FD_CLOEXEC);
  return 0;
}

static void ignore_broken_pipes(void) {
  struct sigaction action;
  if (!sigaction(SIGPIPE, NULL, &action) && action.sa_handler == SIG_DFL) signal(SIGPIPE, SIG_IGN);
}

static int spawn(struct zf_child *child, const char *command, int stdin_fd, int stdout_fd) {
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  sigset_t defaults;
  char *const argv[] = {"sh", "-c", (char *)command, NULL};
  posix_spawn_file_actions_init(&actions);
  posix_spawnattr_init(&attributes);
  posix_spawn_file_actions_adddup2(&actions, stdin_fd, 0);
  posix_spawn_file_actions_adddup2(&actions, stdout_fd, 1);
  sigemptyset(&defaults);
  sigaddset(&defaults, SIGPIPE);
  sigaddset(&defaults, SIGINT);
  sigaddset(&defaults, SIGTERM);
  posix_spawnattr_setsigdefault(&attributes, &defaults);
  posix_spawnattr_setpgroup(&attributes, 0);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
  int failed = posix_spawn(&child->pid, "/bin/sh", &actions, &attributes, argv, environ);
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
  return failed ? zf_error(ZF_EIO, "cannot start a shell: %s", strerror(failed)) : 0;
}

static void close_fd(int *fd) {
  if (*fd >= 0) close(*fd);
  *fd = -1;
}

int zf_child_open(struct zf_child **out, const char *command) {
  int in[2] = {-1, -1}, from[2] = {-1, -1};
  *out = NULL;
  struct zf_child *child = zf_calloc(1, sizeof *child);
  if (!child) return ZF_ENOMEM;
  child->in = child->out = -1;
  ignore_broken_pipes();
  int rc = make_pipe(in);
  if (!rc) rc = make_pipe(from);
  if (!rc) rc = spawn(child, command, in[0], from[1]);
  close_fd(&in[0]);
  close_fd(&from[1]);
  child->in = in[1];
  child->out = from[0];
  if (rc) {
    zf_child_close(child);
    return rc;
  }
  fcntl(child->in, F_SETFL, O_NONBLOCK);
  fcntl(child->out, F_SETFL, O_NONBLOCK);
  *out = child;
  return 0;
}

/* --- lines --- */

/* An exchange that is under way. */
struct exchange {
  struct zf_child *child;
  const char *text;
  size_t len;
  int64_t lines; /* that are missing */
  struct zf_buf *out;
};

/* Waits up to `pauses` pauses for the end of the process; 1: it has ended. */
static int has_ended(struct zf_child *child, int *state, int pauses) {
  for (int i = 0;; i++) {
    pid_t pid = waitpid(child->pid, state, WNOHANG);
    if (pid == child->pid || (pid < 0 && errno == ECHILD)) {
      child->pid = 0;
      return 1;
    }
    if (i >= pauses) return 0;
    poll(NULL, 0, PAUSE);
  }
}

static int ended(struct zf_child *child) {
  int state = 0;
  child->failed = 1;
  if (!has_ended(child, &state, GRACE / PAUSE))
    return zf_error(ZF_EFAIL, "it closed its standard output");
  if (WIFSIGNALED(state)) return zf_error(ZF_EFAIL, "it was ended by signal %d", WTERMSIG(state));
  return zf_error(ZF_EFAIL, "it ended with exit status %d", WEXITSTATUS(state));
}

/* Moves whole lines from the rest to the output. */
static void take_lines(struct exchange *exchange) {
  struct zf_buf *rest = &exchange->child->rest;
  size_t taken = 0;
  while (exchange->lines > 0) {
    const char *line = rest->data + taken,
               *end = rest->len > taken ? memchr(line, '\n', rest->len - taken) : NULL;
    if (!end) break;
    zf_buf_add(exchange->out, line, (size_t)(end + 1 - line));
    taken += (size_t)(end + 1 - line);
    exchange->lines--;
  }
  if (!taken) return;
  rest->len -= taken;
  memmove(rest->data, rest->data + taken, rest->len + 1);
}

static int read_some(struct exchange *exchange) {
  char chunk[4096];
  ssize_t count = read(exchange->child->out, chunk, sizeof chunk);
  if (count < 0) return errno == EAGAIN || errno == EINTR ? 0 : ended(exchange->child);
  if (count == 0) return ended(exchange->child);
  zf_buf_add(&exchange->child->rest, chunk, (size_t)count);
  take_lines(exchange);
  int rc = zf_buf_ok(&exchange->child->rest);
  return rc ? rc : zf_buf_ok(exchange->out);
}

/* A process that closed its input may still have written why; reading finds its end. */
static void write_some(struct exchange *exchange) {
  ssize_t count = write(exchange->child->in, exchange->text, exchange->len);
  if (count < 0 && (errno == EAGAIN || errno == EINTR)) return;
  size_t written = count < 0 ? exchange->len : (size_t)count;
  exchange->text += written;
  exchange->len -= written;
}

/* Lines that nobody asked for. */
static int check_rest(struct zf_child *child) {
  if (!child->rest.len) return 0;
  child->failed = 1;
  return zf_error(ZF_EFAIL, "it wrote more than a line for each line: '%.*s'",
                  (int)strcspn(child->rest.data, "\n"), child->rest.data);
}

/* One wait for input or output, of a slice of time. */
static int wait_slice(struct exchange *exchange) {
  struct zf_child *child = exchange->child;
  struct pollfd fds[2] = {{.fd = child->out, .events = POLLIN},
                          {.fd = exchange->len ? child->in : -1, .events = POLLOUT}};
  if (poll(fds, 2, SLICE) <= 0) return 0;
  if (fds[1].revents) write_some(exchange);
  return fds[0].revents ? read_some(exchange) : 0;
}

int zf_child_exchange(struct zf_child *child, const char *text, size_t len, int64_t lines,
                      double timeout, int (*stopped)(void *ctx), void *ctx, struct zf_buf *out) {
  struct exchange exchange = {child, text, len, lines, out};
  double since = zf_now();
  int rc = check_rest(child);
  while (!rc && exchange.lines > 0) {
    int64_t missing = exchange.lines;
    if ((rc = wait_slice(&exchange))) break;
    if (exchange.lines < missing) since = zf_now();
    child->failed = 1;
    if (stopped && stopped(ctx)) return zf_error(ZF_ESTOPPED, "interrupted");
    if (exchange.lines > 0 && zf_now() - since > timeout)
      return zf_error(ZF_EFAIL, "no answer within %g seconds", timeout);
    child->failed = 0;
  }
  return rc ? rc : check_rest(child);
}

/* --- end --- */

void zf_child_close(struct zf_child *child) {
  int state;
  if (!child) return;
  close_fd(&child->in);
  close_fd(&child->out);
  if (child->pid > 0 && (child->failed || !has_ended(child, &state, GRACE / PAUSE))) {
    kill(-child->pid, SIGTERM);
    if (!has_ended(child, &state, GRACE / PAUSE)) {
      kill(-child->pid, SIGKILL);
      while (waitpid(child->pid, &state, 0) < 0)
        if (errno != EINTR) break;
    }
  }
  zf_buf_free(&child->rest);
  free(child);
}
