/* Files: mapped for reading, written aside and renamed. */
#ifndef ZF_BASE_FILE_H
#define ZF_BASE_FILE_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* A whole file mapped read-only.  data is NULL for an empty file. */
struct zf_map {
  const unsigned char *data;
  size_t len;
};

/* ZF_EUSAGE when there is no such file, ZF_EIO when it cannot be read. */
int zf_map_open(struct zf_map *map, const char *path);
int zf_map_fd(struct zf_map *map, int fd,
              const char *path); /* of an open file; `path` for messages */
void zf_map_close(struct zf_map *map);

/* Tells the system that the pages of [off, off+len) are not needed soon; they
 * leave resident memory and come back from the file when touched again. */
void zf_map_drop(const struct zf_map *map, size_t off, size_t len);

/* The whole file as a zero-terminated string in *out (the caller frees), its
 * length in *len (may be NULL).  "-" reads standard input.  `limit` bytes at
 * most, else ZF_EINVALID. */
int zf_read_file(char **out, size_t *len, const char *path, size_t limit);

/* A file being written.  What happens depends on what stands at `path`, links followed:
 *
 *   nothing, or a regular file   the text goes to a temporary name beside it; zf_out_commit() flushes,
 *                                syncs, renames and syncs the directory.  Before that nothing is seen
 *                                under `path`; mode and owner of an older file are kept
 *   a device, a pipe, a socket,
 *   or where stdout or stderr go the text is written to it as it comes, and nothing is renamed
 *   a directory                  ZF_EIO
 *
 * The error of any fwrite to `f` is found at commit.  A write that a signal interrupts goes on.
 * The structure stays where it is while the file is open: `f` points to it. */
struct zf_out {
  FILE *file;
  char *path;
  char *target, *tmp;  /* what tmp is renamed to; NULL: written in place */
  int fd, write_errno; /* under f; errno of the first write that failed */
  int64_t written;     /* bytes that went to fd */
};

int zf_out_open(struct zf_out *out, const char *path);
int zf_out_commit(struct zf_out *out); /* on failure nothing is left behind */
void zf_out_abort(struct zf_out *out); /* takes a zeroed or committed one */

/* open() with mode 0666, again where a signal interrupts it: a descriptor, or -1 with errno. */
int zf_open_fd(const char *path, int flags);

/* All of data[0..n) to a descriptor, however often it is interrupted: 0, or errno. */
int zf_write_all(int fd, const void *data, size_t count);

/* Data of a file to the disk: 0, or errno.  Files that cannot be synced are as good as synced. */
int zf_sync_fd(int fd);

/* Writes `len` bytes to `path` by way of a zf_out. */
int zf_write_file(const char *path, const void *data, size_t len);

/* Copies a file by way of a zf_out. */
int zf_copy_file(const char *from, const char *to);

int zf_exists(const char *path);
int zf_is_dir(const char *path);
int zf_is_stream(const char *path); /* a device, pipe or socket: something to write to as it is */
int zf_mkdirs(const char *path);    /* like mkdir -p */
int zf_sync_dir(const char *path);  /* fsync of a directory's entries */

/* 1 when the directory has no entry but . and .., 0 when it has, or a code. */
int zf_dir_empty(const char *path);

#endif
