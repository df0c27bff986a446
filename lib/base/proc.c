#include "base/proc.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#if defined(__APPLE__)
#include <mach-o/dyld.h>
#endif

#include "base/cpu.h"

static const char *own_path(void) {
#if defined(__APPLE__)
  static char path[4096];
  uint32_t n = sizeof path;
  return _NSGetExecutablePath(path, &n) ? NULL : path;
#else
  return "/proc/self/exe";
#endif
}

char *zf_proc_path(void) {
  const char *path = own_path();
  return path ? realpath(path, NULL) : NULL;
}

static double seconds(const struct timeval *timeval) {
  return (double)timeval->tv_sec + 1e-6 * (double)timeval->tv_usec;
}

static int read_all_of(int fd, struct zf_buf *out) {
  char chunk[4096];
  for (;;) {
    ssize_t count = read(fd, chunk, sizeof chunk);
    if (count > 0)
      zf_buf_add(out, chunk, (size_t)count);
    else if (count == 0)
      return zf_buf_ok(out);
    else if (errno != EINTR)
      return zf_error(ZF_EIO, "cannot read what %s wrote: %s", own_path(), strerror(errno));
  }
}

int zf_proc_self(struct zf_proc *proc, struct zf_buf *out, const char *const *argv) {
  int fd[2], state;
  struct rusage usage;
  double start = zf_now();
  const char *path = own_path();
  memset(proc, 0, sizeof *proc);
  if (!path || pipe(fd)) return zf_error(ZF_EIO, "cannot start a process: %s", strerror(errno));
  fflush(NULL);
  pid_t pid = fork();
  if (pid < 0) {
    close(fd[0]);
    close(fd[1]);
    return zf_error(ZF_EIO, "cannot start a process: %s", strerror(errno));
  }
  if (pid == 0) {
    dup2(fd[1], 1);
    close(fd[0]);
    close(fd[1]);
    execv(path, (char *const *)argv);
    _exit(127);
  }
  close(fd[1]);
  int rc = read_all_of(fd[0], out);
  close(fd[0]);
  while (wait4(pid, &state, 0, &usage) < 0)
    if (errno != EINTR) return zf_error(ZF_EIO, "cannot wait for a process: %s", strerror(errno));
  proc->status = WIFEXITED(state) ? WEXITSTATUS(state) : 128 + WTERMSIG(state);
  proc->seconds = zf_now() - start;
  proc->cpu_seconds = seconds(&usage.ru_utime) + seconds(&usage.ru_stime);
  return rc;
}

/* --- energy --- */

#define RAPL "/sys/class/powercap/intel-rapl:"

static int number_in(double *out, int package, const char *name) {
  char path[128];
  snprintf(path, sizeof path, RAPL "%d/%s", package, name);
  FILE *file = fopen(path, "r");
  if (!file) return errno;
  int ok = fscanf(file, "%lf", out) == 1;
  fclose(file);
  return ok ? 0 : EIO;
}

/* Why a counter cannot be read, from errno. */
static const char *counter_error(int err) {
  if (err == ENOENT) return "the machine shows no such counter";
  return err == EACCES ? "only root may read it" : strerror(err);
}

void zf_energy_init(struct zf_energy *energy) {
  memset(energy, 0, sizeof *energy);
#if !defined(__linux__)
  snprintf(energy->why, sizeof energy->why, "RAPL counters are read on Linux alone");
  return;
#endif
  for (; energy->count < 8; energy->count++) {
    double micro;
    int err = number_in(&micro, energy->count, "energy_uj");
    if (err && energy->count == 0)
      snprintf(energy->reason, sizeof energy->reason, RAPL "0/energy_uj: %s", counter_error(err));
    if (err) return;
    energy->last[energy->count] = 1e-6 * micro;
    if (number_in(&micro, energy->count, "max_energy_range_uj")) micro = 0;
    energy->wrap[energy->count] = 1e-6 * micro;
  }
}

double zf_energy_read(struct zf_energy *energy) {
  if (!energy->count) return -1;
  for (int i = 0; i < energy->count; i++) {
    double now;
    if (number_in(&now, i, "energy_uj")) return -1;
    now *= 1e-6;
    energy->sum += now - energy->last[i] + (now < energy->last[i] ? energy->wrap[i] : 0);
    energy->last[i] = now;
  }
  return energy->sum;
}
