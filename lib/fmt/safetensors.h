/* safetensors: files and sharded directories, mapped; and a writer.
 *
 * Every rule of the format is checked at open (header length, UTF-8, JSON, no
 * duplicate names, dtype and shape, offsets contiguous from 0 to the end of the
 * file, sizes without overflow), so that a reader may index what it got. */
#ifndef ZF_FMT_SAFETENSORS_H
#define ZF_FMT_SAFETENSORS_H

#include <stddef.h>
#include <stdint.h>

#include "base/file.h"
#include "tensor/dtype.h"

enum { ZF_ST_MAXDIM = 8, ZF_ST_MAXHEADER = 100000000 /* bytes */ };

struct zf_st_tensor {
  const char *name;  /* owned by the store */
  const char *dtype; /* as spelled in the file: "BF16", "I64", ... */
  int type;          /* enum zf_dtype, or -1 when zoft cannot compute with it */
  int ndim;          /* 0 is a scalar */
  int64_t shape[ZF_ST_MAXDIM];
  int64_t count;             /* product of shape */
  const unsigned char *data; /* mapped, read-only; no alignment is promised */
  size_t bytes;
  int file; /* index of its file */
};

struct zf_st {
  struct zf_st_tensor *tensor; /* sorted by name */
  int64_t count;
  int nfile;
  char **path;        /* of each file */
  struct zf_map *map; /* of each file */
  char **metadata;    /* key, value, key, value, ... of the first file's __metadata__ */
  int64_t nmetadata;  /* pairs */
};

/* `path` is a .safetensors file, or a directory with model.safetensors or
 * model.safetensors.index.json.  ZF_EUSAGE when nothing is there, else
 * ZF_EINVALID with file, tensor and what was wrong. */
int zf_st_open(struct zf_st **out, const char *path);

/* The header and buffer of one file from memory, for fuzzing and tests: the
 * tensors point into data. */
int zf_st_parse(struct zf_st **out, const void *data, size_t len, const char *name);
void zf_st_free(struct zf_st *store);

/* After names were added or changed: sorts by them; one that comes twice is ZF_EINVALID. */
int zf_st_sort(struct zf_st *store);

const struct zf_st_tensor *zf_st_find(const struct zf_st *store, const char *name); /* or NULL */

/* Writer.  Tensors are declared first, then their bytes are produced one tensor
 * at a time by `fill`, which writes exactly `bytes` to the stream, so that no
 * second copy of a model is needed.  Order in the file: dtype size descending, then
 * name.  __metadata__ is {"format":"pt"} and the given pairs.  Temporary file, fsync,
 * rename; nothing under `path` before all is well. */
struct zf_st_out {
  const char *name;
  enum zf_dtype type;
  int ndim;
  int64_t shape[ZF_ST_MAXDIM];
};
typedef int (*zf_st_fill)(void *ctx, int64_t index, FILE *file); /* index into the declared array */
int zf_st_write(const char *path, const struct zf_st_out *tensor, int64_t count,
                const char *const *metadata, int64_t nmetadata, zf_st_fill fill, void *ctx);

#endif
