/* Writing files: aside and renamed, or straight into what is not a regular file. */
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

int zf_write_all(int fd, const void *data, size_t n) {
  const char *p = data;
  while (n) {
    ssize_t k = write(fd, p, n);
    if (k < 0 && errno == EINTR) continue;
    if (k <= 0) return k < 0 ? errno : EIO;
    p += k;
    n -= (size_t)k;
  }
  return 0;
}

int zf_sync_fd(int fd) {
  int bad;
  do {
#ifdef __APPLE__
    bad = fsync(fd);
#else
    bad = fdatasync(fd);
#endif
  } while (bad && errno == EINTR);
  return bad && errno != EINVAL && errno != ENOTSUP ? errno : 0;
}

/* --- a stream whose writes are never cut short by a signal --- */

/* stdio gives up at EINTR and forgets what it held, so it writes through this. */
#ifdef __linux__
static ssize_t put(void *cookie, const char *data, size_t n) {
  struct zf_out *o = cookie;
  if (!o->err) o->err = zf_write_all(o->fd, data, n);
  if (!o->err) o->done += (int64_t)n;
  return o->err ? 0 : (ssize_t)n; /* 0: what fopencookie wants in place of -1 */
}

/* ftello() asks with nothing to move by; that is all that can be told of a pipe, too. */
static int tell(void *cookie, off64_t *at, int whence) {
  const struct zf_out *o = cookie;
  if (whence != SEEK_CUR || *at) return -1;
  *at = o->done;
  return 0;
}

static FILE *stream_of(struct zf_out *o) {
  return fopencookie(o, "w", (cookie_io_functions_t){.write = put, .seek = tell});
}
#else
static int put(void *cookie, const char *data, int n) {
  struct zf_out *o = cookie;
  if (!o->err) o->err = zf_write_all(o->fd, data, (size_t)n);
  if (!o->err) o->done += n;
  return o->err ? -1 : n;
}

static fpos_t tell(void *cookie, fpos_t at, int whence) {
  const struct zf_out *o = cookie;
  return whence != SEEK_CUR || at ? -1 : o->done;
}

static FILE *stream_of(struct zf_out *o) {
  return funopen(o, NULL, put, tell, NULL);
}
#endif

/* --- where to --- */

static char *parent_of(const char *path) {
  const char *slash = strrchr(path, '/');
  if (!slash) return zf_strdup(".");
  return zf_strndup(path, slash == path ? 1 : (size_t)(slash - path));
}

/* What the link at `path` names, seen from here. */
static char *read_link(const char *path) {
  char text[4096];
  ssize_t n = readlink(path, text, sizeof text - 1);
  if (n < 0) return NULL;
  text[n] = 0;
  if (text[0] == '/') return zf_strdup(text);
  char *dir = parent_of(path), *whole = dir ? zf_path_join(dir, text) : NULL;
  free(dir);
  return whole;
}

/* The name that links from `path` end at, whether something is there or not. */
static int follow(char **out, const char *path) {
  struct stat st;
  char *at = zf_strdup(path);
  for (int i = 0; at && i < LINKS && !lstat(at, &st) && S_ISLNK(st.st_mode); i++) {
    char *next = read_link(at);
    free(at);
    at = next;
  }
  *out = at;
  if (!at) return ZF_ENOMEM;
  if (lstat(at, &st) || !S_ISLNK(st.st_mode)) return 0;
  return zf_error(ZF_EIO, "%s: cannot create: %s", path, strerror(ELOOP));
}

/* stdout or stderr, when they are the same file as `st`; else -1. */
static int standard_stream(const struct stat *st) {
  struct stat own;
  for (int fd = 1; fd <= 2; fd++)
    if (!fstat(fd, &own) && own.st_dev == st->st_dev && own.st_ino == st->st_ino) return fd;
  return -1;
}

/* --- opening --- */

static int cannot_create(const struct zf_out *o) {
  return zf_error(ZF_EIO, "%s: cannot create: %s", o->path, strerror(errno));
}

static int open_in_place(struct zf_out *o, const struct stat *st) {
  int standard = standard_stream(st);
  o->fd = standard >= 0 ? dup(standard) : zf_open_fd(o->path, O_WRONLY | O_NOCTTY);
  return o->fd < 0 ? cannot_create(o) : 0;
}

/* A name that no file has: NAME.tmp.NUMBER, the number that of the process if it is free. */
static int open_aside(struct zf_out *o, const struct stat *old) {
  for (int i = 0; i < NAMES; i++) {
    o->tmp = zf_asprintf("%s.tmp.%ld", o->target, (long)getpid() + i);
    if (!o->tmp) return ZF_ENOMEM;
    o->fd = zf_open_fd(o->tmp, O_WRONLY | O_CREAT | O_EXCL);
    if (o->fd >= 0) break;
    int rc = errno == EEXIST ? 0 : cannot_create(o);
    free(o->tmp);
    o->tmp = NULL;
    if (rc) return rc;
  }
  if (!o->tmp) return cannot_create(o);
  if (!old) return 0;
  /* Another's file stays another's where that is allowed; a mode is copied after its owner. */
  int given = fchown(o->fd, old->st_uid, old->st_gid);
  if (!given || old->st_uid == geteuid()) fchmod(o->fd, old->st_mode & 0777);
  return 0;
}

static int open_target(struct zf_out *o) {
  struct stat st;
  int there = !stat(o->path, &st);
  if (there && S_ISDIR(st.st_mode)) {
    errno = EISDIR;
    return cannot_create(o);
  }
  if (there && (!S_ISREG(st.st_mode) || standard_stream(&st) >= 0)) return open_in_place(o, &st);
  int rc = follow(&o->target, o->path);
  return rc ? rc : open_aside(o, there ? &st : NULL);
}

int zf_out_open(struct zf_out *o, const char *path) {
  memset(o, 0, sizeof *o);
  o->fd = -1;
  o->path = zf_strdup(path);
  int rc = o->path ? open_target(o) : ZF_ENOMEM;
  if (!rc && !(o->file = stream_of(o))) rc = zf_error(ZF_ENOMEM, "%s: out of memory", path);
  if (rc) zf_out_abort(o);
  return rc;
}

/* --- the end --- */

static int flush(struct zf_out *o) {
  int bad = fflush(o->file) || ferror(o->file);
  bad = fclose(o->file) || bad;
  o->file = NULL;
  int err = o->err ? o->err : bad ? EIO : 0;
  if (!err && o->tmp) err = zf_sync_fd(o->fd);
  if (close(o->fd) && !err && errno != EINTR) err = errno;
  o->fd = -1;
  return err ? zf_error(ZF_EIO, "%s: cannot write: %s", o->path, strerror(err)) : 0;
}

static int rename_into_place(struct zf_out *o) {
  if (rename(o->tmp, o->target))
    return zf_error(ZF_EIO, "%s: cannot rename into place: %s", o->path, strerror(errno));
  free(o->tmp);
  o->tmp = NULL;
  char *dir = parent_of(o->target);
  int rc = dir ? zf_sync_dir(dir) : ZF_ENOMEM;
  free(dir);
  return rc;
}

int zf_out_commit(struct zf_out *o) {
  int rc = flush(o);
  if (!rc && o->tmp) rc = rename_into_place(o);
  zf_out_abort(o);
  return rc;
}

void zf_out_abort(struct zf_out *o) {
  int open = o->path && o->fd >= 0;
  if (o->file) fclose(o->file);
  if (open) close(o->fd);
  if (o->tmp) unlink(o->tmp);
  free(o->tmp);
  free(o->target);
  free(o->path);
  memset(o, 0, sizeof *o);
}

int zf_write_file(const char *path, const void *data, size_t len) {
  struct zf_out o;
  int rc = zf_out_open(&o, path);
  if (rc) return rc;
  fwrite(data, 1, len, o.file);
  return zf_out_commit(&o);
}

int zf_copy_file(const char *from, const char *to) {
  struct zf_map m;
  int rc = zf_map_open(&m, from);
  if (rc) return rc;
  rc = zf_write_file(to, m.data ? (const void *)m.data : "", m.len);
  zf_map_close(&m);
  return rc;
}
