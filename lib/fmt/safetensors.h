/* safetensors: files and sharded directories, mapped; and a writer.
 *
 * Opening checks every rule of the format (header length, UTF-8, JSON, unique names, dtype and
 * shape, offsets contiguous from 0 to the end of the file, sizes without overflow), so that a
 * reader may index what it got. */
#ifndef ZF_FMT_SAFETENSORS_H
#define ZF_FMT_SAFETENSORS_H

#include <stddef.h>
#include <stdint.h>

#include "base/cplusplus.h"
#include "base/file.h"
#include "tensor/dtype.h"

ZF_BEGIN_DECLS

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
  int file_count;
  char **path;            /* of each file */
  struct zf_map *map;     /* of each file */
  char **metadata;        /* key, value, key, value, ... of the first file's __metadata__ */
  int64_t metadata_count; /* pairs */
};

/* `path` is a .safetensors file, or a directory with model.safetensors,
 * model.safetensors.index.json or, for an adapter, adapter_model.safetensors.  ZF_EUSAGE if there is neither, else ZF_EINVALID with file, tensor
 * and the rule that is broken. */
int zf_st_open(struct zf_st **out, const char *path);

/* The same for one file in memory, for fuzzing and tests: the tensors point into data. */
int zf_st_parse(struct zf_st **out, const void *data, size_t len, const char *name);
void zf_st_free(struct zf_st *store);

/* Sorts the tensors by name; call it after names were added or changed.  ZF_EINVALID for a name
 * that appears twice. */
int zf_st_sort(struct zf_st *store);

const struct zf_st_tensor *zf_st_find(const struct zf_st *store, const char *name); /* or NULL */

/* Writer.  Tensors are declared first; then `fill` writes their bytes to the stream, one tensor at
 * a time, so that no second copy of a model is needed.  It must write exactly the bytes of the
 * tensor. Order in the file: by size of the dtype, largest first, then by name.  __metadata__ holds
 * {"format": "pt"} and `metadata`, nmetadata pairs of key and value.  The file appears under `path`
 * when it is complete (struct zf_out). */
struct zf_st_out {
  const char *name;
  enum zf_dtype type;
  int ndim;
  int64_t shape[ZF_ST_MAXDIM];
  int as_bytes; /* elements of the file are bytes (U8), in which values of any type are stored */
};
typedef int (*zf_st_fill)(void *ctx, int64_t index, FILE *file); /* index into the declared array */
int zf_st_write(const char *path, const struct zf_st_out *tensor, int64_t count,
                const char *const *metadata, int64_t nmetadata, zf_st_fill fill, void *ctx);

ZF_END_DECLS

#endif
