/* Writing files: under a temporary name and renamed, or directly if it is no regular file. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/file.h"

enum { LINKS = 40, NAMES = 100 };

int zf_open_fd(const char *path, int flags) {
  int fd;
  do fd = open(path, flags | O_CLOEXEC, 0666);
  while (fd < 0 && errno == EINTR);
  return fd;
}

int zf_write_all(int fd, const void *data, size_t count) {
  const char *at = data;
  while (count) {
    ssize_t written = write(fd, at, count);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return written < 0 ? errno : EIO;
    at += written;
    count -= (size_t)written;
  }
  return 0;
}

int zf_sync_fd(int fd) {
  int failed;
  do {
#ifdef __APPLE__
    bad = fsync(fd);
#else
    failed = fdatasync(fd);
#endif
  } while (failed && errno == EINTR);
  return failed && errno != EINVAL && errno != ENOTSUP ? errno : 0;
}

/* --- a stream whose writes survive signals --- */

/* stdio fails at EINTR and loses its buffer, so it writes through these functions. */
#ifdef __linux__
static ssize_t write_cookie(void *cookie, const char *data, size_t len) {
  struct zf_out *out = cookie;
  if (!out->write_errno) out->write_errno = zf_write_all(out->fd, data, len);
  if (!out->write_errno) out->written += (int64_t)len;
  return out->write_errno ? 0 : (ssize_t)len; /* 0: what fopencookie wants in place of -1 */
}

/* Supports ftello() alone, which seeks by 0 from the current position; so it works for pipes,
 * too. */
static int seek_cookie(void *cookie, off64_t *at, int whence) {
  const struct zf_out *out = cookie;
  if (whence != SEEK_CUR || *at) return -1;
  *at = out->written;
  return 0;
}

static FILE *open_stream(struct zf_out *out) {
  return fopencookie(out, "w", (cookie_io_functions_t){.write = write_cookie, .seek = seek_cookie});
}
#else
static int write_cookie(void *cookie, const char *data, int n) {
  struct zf_out *out = cookie;
  if (!out->write_errno) out->write_errno = zf_write_all(out->fd, data, (size_t)n);
  if (!out->write_errno) out->written += n;
  return out->write_errno ? -1 : n;
}

static fpos_t seek_cookie(void *cookie, fpos_t at, int whence) {
  const struct zf_out *out = cookie;
  return whence != SEEK_CUR || at ? -1 : out->written;
}

static FILE *open_stream(struct zf_out *out) {
  return funopen(out, NULL, write_cookie, seek_cookie, NULL);
}
#endif

/* --- the target of links --- */

static char *parent_of(const char *path) {
  const char *slash = strrchr(path, '/');
  if (!slash) return zf_strdup(".");
  return zf_strndup(path, slash == path ? 1 : (size_t)(slash - path));
}

/* The target of the link at `path`, relative to the working directory. */
static char *read_link(const char *path) {
  char text[4096];
  ssize_t len = readlink(path, text, sizeof text - 1);
  if (len < 0) return NULL;
  text[len] = 0;
  if (text[0] == '/') return zf_strdup(text);
  char *dir = parent_of(path), *joined = dir ? zf_path_join(dir, text) : NULL;
  free(dir);
  return joined;
}

/* The name at which the links from `path` end; it need not exist. */
static int follow_links(char **out, const char *path) {
  struct stat st;
  char *at = zf_strdup(path);
  for (int i = 0; i < LINKS; i++) {
    if (!at || lstat(at, &st) || !S_ISLNK(st.st_mode)) break;
    char *next = read_link(at);
    free(at);
    at = next;
  }
  *out = at;
  if (!at) return ZF_ENOMEM;
  if (lstat(at, &st) || !S_ISLNK(st.st_mode)) return 0;
  return zf_error(ZF_EIO, "%s: cannot create: %s", path, strerror(ELOOP));
}

/* The descriptor of stdout or stderr if it is the same file as `st`, else -1. */
static int standard_stream(const struct stat *st) {
  struct stat standard;
  for (int fd = 1; fd <= 2; fd++)
    if (!fstat(fd, &standard) && standard.st_dev == st->st_dev && standard.st_ino == st->st_ino)
      return fd;
  return -1;
}

/* --- opening --- */

static int cannot_create(const struct zf_out *out) {
  return zf_error(ZF_EIO, "%s: cannot create: %s", out->path, strerror(errno));
}

static int open_in_place(struct zf_out *out, const struct stat *st) {
  int standard = standard_stream(st);
  out->fd = standard >= 0 ? dup(standard) : zf_open_fd(out->path, O_WRONLY | O_NOCTTY);
  return out->fd < 0 ? cannot_create(out) : 0;
}

/* Opens a temporary file, NAME.tmp.NUMBER; the number is that of the process, or a higher one if
 * such a file exists. */
static int open_aside(struct zf_out *out, const struct stat *old) {
  for (int i = 0; i < NAMES; i++) {
    out->tmp = zf_asprintf("%s.tmp.%ld", out->target, (long)getpid() + i);
    if (!out->tmp) return ZF_ENOMEM;
    out->fd = zf_open_fd(out->tmp, O_WRONLY | O_CREAT | O_EXCL);
    if (out->fd >= 0) break;
    int rc = errno == EEXIST ? 0 : cannot_create(out);
    free(out->tmp);
    out->tmp = NULL;
    if (rc) return rc;
  }
  if (!out->tmp) return cannot_create(out);
  if (!old) return 0;
  /* The owner is kept if that is allowed.  The mode comes after it, because chown may change it. */
  int chown_failed = fchown(out->fd, old->st_uid, old->st_gid);
  if (!chown_failed || old->st_uid == geteuid()) fchmod(out->fd, old->st_mode & 0777);
  return 0;
}

static int open_target(struct zf_out *out) {
  struct stat st;
  int exists = !stat(out->path, &st);
  if (exists && S_ISDIR(st.st_mode)) {
    errno = EISDIR;
    return cannot_create(out);
  }
  if (exists && (!S_ISREG(st.st_mode) || standard_stream(&st) >= 0)) return open_in_place(out, &st);
  int rc = follow_links(&out->target, out->path);
  if (rc) return rc;
  return open_aside(out, exists ? &st : NULL);
}

int zf_out_open(struct zf_out *out, const char *path) {
  memset(out, 0, sizeof *out);
  out->fd = -1;
  out->path = zf_strdup(path);
  int rc = out->path ? open_target(out) : ZF_ENOMEM;
  if (!rc && !(out->file = open_stream(out))) rc = zf_error(ZF_ENOMEM, "%s: out of memory", path);
  if (rc) zf_out_abort(out);
  return rc;
}

/* --- the end --- */

static int flush(struct zf_out *out) {
  int failed = fflush(out->file) || ferror(out->file);
  failed = fclose(out->file) || failed;
  out->file = NULL;
  int err = out->write_errno;
  if (!err && failed) err = EIO;
  if (!err && out->tmp) err = zf_sync_fd(out->fd);
  if (close(out->fd) && !err && errno != EINTR) err = errno;
  out->fd = -1;
  return err ? zf_error(ZF_EIO, "%s: cannot write: %s", out->path, strerror(err)) : 0;
}

static int rename_into_place(struct zf_out *out) {
  if (rename(out->tmp, out->target))
    return zf_error(ZF_EIO, "%s: cannot rename into place: %s", out->path, strerror(errno));
  free(out->tmp);
  out->tmp = NULL;
  char *dir = parent_of(out->target);
  int rc = dir ? zf_sync_dir(dir) : ZF_ENOMEM;
  free(dir);
  return rc;
}

int zf_out_commit(struct zf_out *out) {
  int rc = flush(out);
  if (!rc && out->tmp) rc = rename_into_place(out);
  zf_out_abort(out);
  return rc;
}

void zf_out_abort(struct zf_out *out) {
  int open = out->path && out->fd >= 0;
  if (out->file) fclose(out->file);
  if (open) close(out->fd);
  if (out->tmp) unlink(out->tmp);
  free(out->tmp);
  free(out->target);
  free(out->path);
  memset(out, 0, sizeof *out);
}

int zf_write_file(const char *path, const void *data, size_t len) {
  struct zf_out out;
  int rc = zf_out_open(&out, path);
  if (rc) return rc;
  fwrite(data, 1, len, out.file);
  return zf_out_commit(&out);
}

int zf_copy_file(const char *from, const char *to) {
  struct zf_map map;
  int rc = zf_map_open(&map, from);
  if (rc) return rc;
  rc = zf_write_file(to, map.data ? (const void *)map.data : "", map.len);
  zf_map_close(&map);
  return rc;
}
