/* What the files of the safetensors reader share. */
#ifndef ZF_FMT_ST_INTERNAL_H
#define ZF_FMT_ST_INTERNAL_H

#include "fmt/safetensors.h"

/* Appends the tensors of one file, which lies at data[0..len), to the store under
 * the index of the next file.  The caller maps the file first and records the map;
 * `name` is kept as the file's path.  ZF_EINVALID. */
int zf_st_add(struct zf_st *store, const unsigned char *data, size_t len, const char *name);

/* Room for one more file: its path and an empty map. */
int zf_st_add_slot(struct zf_st *store, const char *name);

/* Maps a file and adds it. */
int zf_st_add_file(struct zf_st *store, const char *path);

/* Adds all shards that the index file `path` names, from its directory `dir`. */
int zf_st_add_index(struct zf_st *store, const char *path, const char *dir);

#endif
