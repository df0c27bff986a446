/* Files: mapped for reading; written under a temporary name, then renamed. */
#ifndef ZF_BASE_FILE_H
#define ZF_BASE_FILE_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/cplusplus.h"

ZF_BEGIN_DECLS

/* A whole file, mapped read-only.  data is NULL for an empty file. */
struct zf_map {
  const unsigned char *data;
  size_t len;
};

/* ZF_EUSAGE if there is no such file, ZF_EIO if it cannot be read.  zf_map_fd maps an open file;
 * `path` is for messages. */
int zf_map_open(struct zf_map *map, const char *path);
int zf_map_fd(struct zf_map *map, int fd, const char *path);
void zf_map_close(struct zf_map *map);

/* Drops the whole pages within [off,off+len) from resident memory; the system reads them again from
 * the file when they are touched. */
void zf_map_drop(const struct zf_map *map, size_t off, size_t len);

/* Reads a whole file into *out, a zero-terminated string that the caller frees; its length goes to
 * *len, which may be NULL.  "-" is standard input.  ZF_EINVALID if the file is longer than `limit`
 * bytes. */
int zf_read_file(char **out, size_t *len, const char *path, size_t limit);

/* A file being written.  What happens depends on what `path` is, with links followed:
 *
 *   nothing, or a regular file   the data goes to a temporary file in the same directory;
 *                                zf_out_commit() flushes, syncs and renames it, then syncs the
 *                                directory.  Before that nothing changes under `path`.  Mode
 *                                and owner of an older file are kept
 *   a device, pipe or socket,    the data is written to it directly, and nothing is renamed
 *   or the file that stdout or
 *   stderr go to
 *   a directory                  ZF_EIO
 *
 * zf_out_commit() reports the error of any earlier fwrite to `file`.  A write that a signal
 * interrupts is continued.  The structure must not move while the file is open: `file` points to
 * it. */
struct zf_out {
  FILE *file;
  char *path;
  char *target, *tmp;  /* tmp is renamed to target; NULL: written directly */
  int fd, write_errno; /* the descriptor of file; errno of the first write that failed */
  int64_t written;     /* bytes written to fd */
};

int zf_out_open(struct zf_out *out, const char *path);
int zf_out_commit(struct zf_out *out); /* on failure nothing is left behind */
void zf_out_abort(struct zf_out *out); /* takes a zeroed or committed one */

/* open() with mode 0666, repeated if a signal interrupts it: a descriptor, or -1 with errno. */
int zf_open_fd(const char *path, int flags);

/* Writes all of data[0..count), also if signals interrupt it: 0, or errno. */
int zf_write_all(int fd, const void *data, size_t count);

/* Writes the data of a file to the disk: 0, or errno.  A file that cannot be synced gives 0. */
int zf_sync_fd(int fd);

/* These write through a zf_out. */
int zf_write_file(const char *path, const void *data, size_t len);
int zf_copy_file(const char *from, const char *to);

int64_t zf_file_size(const char *path); /* bytes; -1: there is no such file */

/* A temporary file without a name in `directory`, open for reading and writing: a descriptor, or ZF_EIO. */
int zf_scratch_file(const char *directory);

int zf_exists(const char *path);
int zf_is_dir(const char *path);
int zf_is_stream(const char *path); /* a device, pipe or socket */
int zf_mkdirs(const char *path);    /* like mkdir -p */
int zf_sync_dir(const char *path);  /* fsync of a directory's entries */

/* 1 if the directory has no entries but . and .., 0 if it has, or a code. */
int zf_dir_empty(const char *path);

ZF_END_DECLS

#endif
