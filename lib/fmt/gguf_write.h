/* Writes GGUF files: version 3, little endian, alignment 32. */
#ifndef ZF_FMT_GGUF_WRITE_H
#define ZF_FMT_GGUF_WRITE_H

#include <stdint.h>

#include "base/cplusplus.h"
#include "fmt/safetensors.h"

ZF_BEGIN_DECLS

enum zf_gguf_value_type { ZF_GGUF_TEXT, ZF_GGUF_U32, ZF_GGUF_F32 };

struct zf_gguf_value {
  const char *key;
  enum zf_gguf_value_type type;
  const char *text; /* UTF-8 */
  uint32_t number;
  float real;
};

/* Writes the keys, then the tensors in the order of the array, whose bytes `fill` writes as for
 * zf_st_write.  Shapes have the outermost dimension first; types are f32, f16 and bf16.  The file
 * appears under `path` when it is complete (struct zf_out).  ZF_EINVALID: a name that is empty, too
 * long (ZF_GGUF_MAXNAME), or stands twice; a shape or type that the format cannot hold. */
int zf_gguf_write(const char *path, const struct zf_gguf_value *value, int64_t nvalue,
                  const struct zf_st_out *tensor, int64_t count, zf_st_fill fill, void *ctx);

ZF_END_DECLS

#endif
