/* GGUF files (versions 2 and 3, little endian), mapped: keys and tensors.
 *
 *   "GGUF" | version u32 | tensors u64 | keys u64 | key, type, value ... | tensor table | pad | data
 *
 * Opening checks every rule, so that a reader may index what it got: limits, unique names, shapes
 * that fill whole blocks, offsets that continue without a hole to the end of the last tensor. */
#ifndef ZF_FMT_GGUF_H
#define ZF_FMT_GGUF_H

#include <jansson.h>

#include "base/cplusplus.h"
#include "fmt/safetensors.h"

ZF_BEGIN_DECLS

enum {
  ZF_GGUF_MAXNAME = 64, /* bytes of a tensor's name, with its terminating zero */
  ZF_GGUF_MAXDIM = 4,
  ZF_GGUF_MAXCOUNT = 1 << 20, /* keys, tensors */
  ZF_GGUF_MAXARRAY = 1 << 24, /* elements; each takes memory, so fewer than the format's 2^30 */
  ZF_GGUF_SHORT_ARRAY =
      1024, /* arrays up to this length are always kept: one value for each layer */
  ZF_GGUF_MAXSTRING = 1 << 30 /* bytes */
};

/* Types of the values of keys, and of the elements of arrays. */
enum zf_gguf_value_type {
  ZF_GGUF_TEXT,
  ZF_GGUF_U32,
  ZF_GGUF_F32,
  ZF_GGUF_U8,
  ZF_GGUF_I8,
  ZF_GGUF_U16,
  ZF_GGUF_I16,
  ZF_GGUF_I32,
  ZF_GGUF_BOOL,
  ZF_GGUF_U64,
  ZF_GGUF_I64,
  ZF_GGUF_F64,
  ZF_GGUF_VALUE_TYPES
};

struct zf_gguf {
  json_t *keys;     /* {key: value}; strings are UTF-8 */
  json_t *types;    /* {key: enum zf_gguf_value_type}, of an array that of its elements */
  struct zf_st *st; /* tensors under the file's names, outermost dimension first, dtype "Q4_K", ...;
                     * its metadata: the keys as text, without arrays and strings over 200 bytes */
};

/* Opens a file, or a split file by its first part, NAME-00001-of-0000N.gguf; another part is
 * ZF_EUSAGE.  `arrays`: keep all arrays; without it, arrays longer than ZF_GGUF_SHORT_ARRAY are checked,
 * and null stands for them in `keys`.  ZF_EUSAGE if there is no such file, else ZF_EINVALID as
 * "FILE: byte N: ...". */
int zf_gguf_open(struct zf_gguf *out, const char *path, int arrays);

/* The same from memory, for fuzzing and tests: the tensors point into data. */
int zf_gguf_parse(struct zf_gguf *out, const void *data, size_t len, const char *name, int arrays);
void zf_gguf_free(struct zf_gguf *gguf); /* takes a zeroed one */

/* Does the path end in .gguf? */
int zf_is_gguf_path(const char *path);

ZF_END_DECLS

#endif
