/* What the files of the GGUF reader share. */
#ifndef ZF_FMT_GGUF_INTERNAL_H
#define ZF_FMT_GGUF_INTERNAL_H

#include "base/buf.h"
#include "fmt/gguf.h"
#include "fmt/gguf_write.h"

/* Types of tensors, by their number in the file: values and bytes of a block, and the dtype that zoft
 * computes with. */
struct zf_gguf_tensor_type {
  uint32_t id;
  const char *name;
  int block, bytes, type; /* type: enum zf_dtype, or -1 */
};

/* The row with this number, or of this dtype; NULL: there is none. */
const struct zf_gguf_tensor_type *zf_gguf_tensor_type(uint32_t id);
const struct zf_gguf_tensor_type *zf_gguf_type_of(enum zf_dtype type);

/* Types of values by their number in the file. */
enum { ZF_GGUF_ID_ARRAY = 9, ZF_GGUF_IDS = 13 };
extern const struct zf_gguf_id {
  enum zf_gguf_value_type type;
  int bytes; /* of a value; of a string and an array those before its contents */
  int is_signed;
} zf_gguf_ids[ZF_GGUF_IDS];
uint32_t zf_gguf_id_of(enum zf_gguf_value_type type);

/* Offsets of data in a file that zoft writes are multiples of this. */
enum { ZF_GGUF_ALIGN = 32 };

/* Appends everything before the data: the keys `value` and `more`, and the tensors.  Errors as of
 * zf_gguf_write. */
struct zf_gguf_head {
  const struct zf_gguf_value *value, *more;
  int64_t nvalue, nmore;
  const struct zf_gguf_tensor_out *tensor;
  int64_t count;
};
int zf_gguf_put_head(struct zf_buf *buf, const struct zf_gguf_head *head);

/* Bytes of a row of the tensor (its innermost dimension), the number of its rows, and the bytes of all
 * with the padding behind them.  ZF_EINVALID, without a message, where the format cannot hold it. */
struct zf_gguf_extent {
  int64_t row_bytes, rows, bytes, padded;
};
int zf_gguf_measure(struct zf_gguf_extent *extent, const struct zf_gguf_tensor_out *tensor);

/* One file, whole or a part. */
int zf_gguf_open_part(struct zf_gguf *out, const char *path, int arrays);

/* Adds the tensors of the other parts where the keys say that `path` is the first of several. */
int zf_gguf_add_parts(struct zf_gguf *gguf, const char *path);

#endif
