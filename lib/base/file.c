#include "base/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"

static int fail_errno(const char *path, const char *what) {
  int code = errno == ENOENT || errno == ENOTDIR ? ZF_EUSAGE : ZF_EIO;
  return zf_error(code, "%s: %s: %s", path, what, strerror(errno));
}

int zf_map_fd(struct zf_map *map, int fd, const char *path) {
  struct stat st;
  memset(map, 0, sizeof *map);
  if (fstat(fd, &st)) return fail_errno(path, "cannot stat");
  if (!S_ISREG(st.st_mode)) return zf_error(ZF_EUSAGE, "%s: is not a regular file", path);
  if (st.st_size == 0) return 0;
  void *mapped = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
  if (mapped == MAP_FAILED) return fail_errno(path, "cannot map");
  map->data = mapped;
  map->len = (size_t)st.st_size;
  return 0;
}

int zf_map_open(struct zf_map *map, const char *path) {
  memset(map, 0, sizeof *map);
  int fd = zf_open_fd(path, O_RDONLY);
  if (fd < 0) return fail_errno(path, "cannot open");
  int rc = zf_map_fd(map, fd, path);
  close(fd);
  return rc;
}

void zf_map_close(struct zf_map *map) {
  if (map->data) munmap((void *)map->data, map->len);
  memset(map, 0, sizeof *map);
}

void zf_map_drop(const struct zf_map *map, size_t off, size_t len) {
  size_t page = (size_t)sysconf(_SC_PAGESIZE);
  size_t from = (off + page - 1) / page * page, to = (off + len) / page * page;
  if (map->data && to > from) madvise((void *)(map->data + from), to - from, MADV_DONTNEED);
}

/* Reads a stream to its end. */
static int read_stream(struct zf_buf *buf, FILE *file, const char *path, size_t limit) {
  for (;;) {
    int rc = zf_buf_reserve(buf, 65536);
    if (rc) return rc;
    size_t count = fread(buf->data + buf->len, 1, 65536, file);
    buf->len += count;
    buf->data[buf->len] = 0;
    if (buf->len > limit)
      return zf_error(ZF_EINVALID, "%s: is longer than the %zu bytes allowed", path, limit);
    if (count == 0) return ferror(file) ? fail_errno(path, "cannot read") : 0;
  }
}

int zf_read_file(char **out, size_t *len, const char *path, size_t limit) {
  *out = NULL;
  int is_stdin = !strcmp(path, "-");
  FILE *file = is_stdin ? stdin : fopen(path, "rb");
  if (!file) return fail_errno(path, "cannot open");
  struct zf_buf buf = {0};
  int rc = read_stream(&buf, file, path, limit);
  if (!is_stdin) fclose(file);
  if (rc) {
    zf_buf_free(&buf);
    return rc;
  }
  *out = buf.data;
  if (len) *len = buf.len;
  return 0;
}

int zf_sync_dir(const char *path) {
  int fd = zf_open_fd(path, O_RDONLY);
  if (fd < 0) return fail_errno(path, "cannot open");
  /* Some file systems refuse to sync a directory: they have nothing to sync. */
  int failed = fsync(fd) && errno != EINVAL && errno != ENOTSUP;
  int rc = failed ? fail_errno(path, "cannot sync") : 0;
  close(fd);
  return rc;
}

int zf_exists(const char *path) {
  struct stat st;
  return stat(path, &st) == 0;
}

int zf_is_dir(const char *path) {
  struct stat st;
  return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

int zf_is_stream(const char *path) {
  struct stat st;
  return stat(path, &st) == 0 && !S_ISDIR(st.st_mode) && !S_ISREG(st.st_mode);
}

int zf_mkdirs(const char *path) {
  char *copy = zf_strdup(path);
  if (!copy) return ZF_ENOMEM;
  int rc = 0;
  for (char *end = copy + (*copy != 0);; end++) {
    if (*end != '/' && *end != 0) continue;
    char separator = *end;
    *end = 0;
    if (mkdir(copy, 0777) && errno != EEXIST) {
      rc = zf_error(ZF_EIO, "%s: cannot make the directory: %s", copy, strerror(errno));
      break;
    }
    *end = separator;
    if (!separator) break;
  }
  if (!rc && !zf_is_dir(path)) rc = zf_error(ZF_EIO, "%s: is not a directory", path);
  free(copy);
  return rc;
}

int zf_dir_empty(const char *path) {
  DIR *dir = opendir(path);
  if (!dir) return fail_errno(path, "cannot open the directory");
  struct dirent *entry = readdir(dir);
  while (entry && (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..")))
    entry = readdir(dir);
  closedir(dir);
  return !entry;
}

int64_t zf_file_size(const char *path) {
  struct stat status;
  return stat(path, &status) ? -1 : (int64_t)status.st_size;
}

int zf_scratch_file(const char *directory) {
  char *path = zf_asprintf("%s/.zoft-XXXXXX", directory);
  int file = path ? mkstemp(path) : -1, why = errno;
  if (file >= 0) unlink(path);
  free(path);
  if (file >= 0) return file;
  return path ? zf_error(ZF_EIO, "%s: cannot write a temporary file: %s", directory, strerror(why))
              : ZF_ENOMEM;
}
