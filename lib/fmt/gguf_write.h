/* Writes GGUF files: version 3, little endian, alignment 32. */
#ifndef ZF_FMT_GGUF_WRITE_H
#define ZF_FMT_GGUF_WRITE_H

#include <jansson.h>
#include <stdint.h>

#include "base/cplusplus.h"
#include "fmt/gguf.h"
#include "fmt/safetensors.h"

ZF_BEGIN_DECLS

/* A key and its value: `json`, a scalar or an array of them, or without that the member of the type. */
struct zf_gguf_value {
  const char *key;
  enum zf_gguf_value_type type; /* of the value, or of each element of an array */
  const char *text;             /* ZF_GGUF_TEXT: UTF-8 */
  uint32_t number;              /* ZF_GGUF_U32 */
  float real;                   /* ZF_GGUF_F32 */
  json_t *json;                 /* of any type; NULL: one of the members above */
};

/* A list of keys that grows and owns its keys and values. */
struct zf_gguf_values {
  struct zf_gguf_value *value;
  int64_t count, cap;
};

/* Sets a key, which replaces an older value of it.  Takes over `json`, also after a failure; NULL is
 * ZF_ENOMEM. */
int zf_gguf_values_set(struct zf_gguf_values *values, const char *key, enum zf_gguf_value_type type,
                       json_t *json);
int zf_gguf_values_text(struct zf_gguf_values *values, const char *key, const char *text);
int zf_gguf_values_u32(struct zf_gguf_values *values, const char *key, int64_t number);
int zf_gguf_values_f32(struct zf_gguf_values *values, const char *key, double number);
int zf_gguf_values_bool(struct zf_gguf_values *values, const char *key, int yes);
const struct zf_gguf_value *zf_gguf_values_find(const struct zf_gguf_values *values,
                                                const char *key); /* or NULL */
void zf_gguf_values_free(struct zf_gguf_values *values);          /* takes a zeroed one */

/* Writes the keys, then the tensors in the order of the array, whose bytes `fill` writes as for
 * zf_st_write.  Shapes have the outermost dimension first; types are f32, f16 and bf16.  The file
 * appears under `path` when it is complete (struct zf_out).  ZF_EINVALID: a name that is empty, too
 * long (ZF_GGUF_MAXNAME), or stands twice; a shape or type that the format cannot hold; a value that
 * its type cannot hold. */
int zf_gguf_write(const char *path, const struct zf_gguf_value *value, int64_t nvalue,
                  const struct zf_st_out *tensor, int64_t count, zf_st_fill fill, void *ctx);

/* --- a file whose rows come in any order --- */

struct zf_gguf_tensor_out {
  const char *name;
  enum zf_dtype type; /* any that GGUF has a number for, blocks included */
  int ndim;           /* 1 to ZF_GGUF_MAXDIM */
  int64_t shape[4];   /* outermost dimension first; whole blocks in the innermost */
};

struct zf_gguf_out;

/* Writes the keys and the tensor table; rows follow.  A row has the bytes of the innermost dimension:
 * zf_dtype_bytes(type, columns).  The file appears under `path` at zf_gguf_out_close.  Values and tensors
 * are copied.  Errors as of zf_gguf_write; ZF_EUSAGE: `path` is a device or a pipe. */
int zf_gguf_out_open(struct zf_gguf_out **out, const char *path, const struct zf_gguf_value *value,
                     int64_t nvalue, const struct zf_gguf_tensor_out *tensor, int64_t count);

/* The same in parts of at most `limit` bytes of tensors each, a tensor at least: `path` NAME.gguf becomes
 * NAME-00001-of-0000N.gguf and so on, with the keys split.no, split.count and split.tensors.count; other
 * keys are in the first part.  One part, or limit 0: as zf_gguf_out_open. */
int zf_gguf_out_open_parts(struct zf_gguf_out **out, const char *path,
                           const struct zf_gguf_value *value, int64_t nvalue,
                           const struct zf_gguf_tensor_out *tensor, int64_t count, int64_t limit);

/* Writes `rows` rows of tensor number `tensor` from row `first` on, encoded in its type; any order, each
 * row once.  Thread-safe is not needed.  ZF_EIO; ZF_EFAIL: a row outside the tensor, or twice. */
int zf_gguf_out_rows(struct zf_gguf_out *out, int64_t tensor, int64_t first, int64_t rows,
                     const void *data);

/* Checks that all rows came and leaves the data to the system, so that the file, or the first part, can
 * be read under the name *tmp (owned by `out`) before it gets its own.  With parts, *tmp is NULL. */
int zf_gguf_out_flush(struct zf_gguf_out *out, const char **tmp);

/* Flushes, syncs, renames; frees `out`, also after a failure, which leaves nothing behind. */
int zf_gguf_out_close(struct zf_gguf_out *out);
void zf_gguf_out_drop(struct zf_gguf_out *out); /* takes NULL; nothing is left behind */

ZF_END_DECLS

#endif
