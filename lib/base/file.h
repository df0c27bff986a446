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
int zf_map_open(struct zf_map *m, const char *path);
int zf_map_fd(struct zf_map *m, int fd, const char *path); /* of an open file; `path` for messages */
void zf_map_close(struct zf_map *m);

/* Tells the system that the pages of [off, off+len) are not needed soon; they
 * leave resident memory and come back from the file when touched again. */
void zf_map_drop(const struct zf_map *m, size_t off, size_t len);

/* The whole file as a zero-terminated string in *out (the caller frees), its
 * length in *len (may be NULL).  "-" reads standard input.  `limit` bytes at
 * most, else ZF_EINVALID. */
int zf_read_file(char **out, size_t *len, const char *path, size_t limit);

/* A file being written under a temporary name beside `path`.  Nothing is seen
 * under `path` before zf_out_commit(), which flushes, syncs, renames and syncs
 * the directory.  The write error of any fwrite to `f` is found at commit. */
struct zf_out {
  FILE *f;
  char *path, *tmp;
};

int zf_out_open(struct zf_out *o, const char *path);
int zf_out_commit(struct zf_out *o); /* on failure nothing is left behind */
void zf_out_abort(struct zf_out *o); /* takes a zeroed or committed one */

/* Writes `len` bytes to `path` by way of a zf_out. */
int zf_write_file(const char *path, const void *data, size_t len);

/* Copies a file by way of a zf_out. */
int zf_copy_file(const char *from, const char *to);

int zf_exists(const char *path);
int zf_is_dir(const char *path);
int zf_mkdirs(const char *path);   /* like mkdir -p */
int zf_sync_dir(const char *path); /* fsync of a directory's entries */

/* 1 when the directory has no entry but . and .., 0 when it has, or a code. */
int zf_dir_empty(const char *path);

#endif
